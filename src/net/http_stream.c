/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer that is written piece by piece: a ring between a producer, which waits while it is full, and
 * the event loop, which suspends the connection while it is empty.
 */
#include "base/alloc.h"
#include "net/http_server_internal.h"

#define BLOCK_BYTES ((size_t)256 * 1024) /* what the library asks for at once */

struct hf_http_stream {
    struct hf_http_request *request; /* held */
    uint64_t size_bytes;

    struct hf_mutex mutex;  /* guards: all below; taken before the server's */
    struct hf_cond changed; /* room, or the client is gone */
    unsigned holders;       /* producer, library */
    uint8_t *ring;          /* owned */
    size_t capacity, at, len;
    uint64_t written_bytes;
    bool finished, complete;
    bool gone;    /* the library is done with the answer */
    bool starved; /* the reader suspended the connection */
};

static void let_go(struct hf_http_stream *stream)
{
    hf_mutex_lock(&stream->mutex);
    unsigned left = --stream->holders;
    hf_mutex_unlock(&stream->mutex);
    if (left > 0) {
        return;
    }
    hf_http_request_let_go(stream->request);
    hf_cond_fini(&stream->changed);
    hf_mutex_fini(&stream->mutex);
    hf_free(stream->ring);
    hf_free(stream);
}

/* The stream's mutex is held, and the request's connection is on its event loop: this one. */
static ssize_t starve(struct hf_http_stream *stream)
{
    struct hf_http_request *request = stream->request;

    HF_LOCKED(&request->server->mutex);
    if (atomic_load(&request->gone) || atomic_load(&request->server->stopping)) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    hf_http_request_suspend(request);
    stream->starved = true;
    return 0;
}

static ssize_t read_stream(void *context, uint64_t position, char *out, size_t max)
{
    struct hf_http_stream *stream = context;

    (void)position;
    HF_LOCKED(&stream->mutex);
    if ((stream->finished && !stream->complete) ||
        atomic_load(&stream->request->server->stopping)) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (stream->len == 0) {
        return stream->finished ? MHD_CONTENT_READER_END_OF_STREAM : starve(stream);
    }
    size_t count = stream->len < max ? stream->len : max;
    size_t straight = stream->capacity - stream->at;
    size_t first = count < straight ? count : straight;
    memcpy(out, stream->ring + stream->at, first);
    memcpy(out + first, stream->ring, count - first);
    stream->at = (stream->at + count) % stream->capacity;
    stream->len -= count;
    hf_cond_signal(&stream->changed);
    return (ssize_t)count;
}

/* The library has no more use for the answer: sent whole, or the connection is closed. */
static void on_response_freed(void *context)
{
    struct hf_http_stream *stream = context;

    hf_mutex_lock(&stream->mutex);
    stream->gone = true;
    hf_cond_broadcast(&stream->changed);
    hf_mutex_unlock(&stream->mutex);
    let_go(stream);
}

/* The stream's mutex is held. */
static void feed(struct hf_http_stream *stream)
{
    struct hf_http_request *request = stream->request;

    if (stream->starved) {
        stream->starved = false;
        HF_LOCKED(&request->server->mutex);
        if (request->suspended) {
            hf_http_request_resume(request);
        }
    }
}

static struct hf_http_stream *create(struct hf_http_request *request, uint64_t size_bytes)
{
    struct hf_http_server *server = request->server;
    struct hf_http_stream *stream = hf_alloc_zero(sizeof *stream);

    if (stream == NULL) {
        return NULL;
    }
    stream->capacity = server->stream_buffer_bytes;
    stream->ring = hf_alloc(stream->capacity);
    if (stream->ring == NULL) {
        hf_free(stream);
        return NULL;
    }
    hf_mutex_init(&stream->mutex);
    hf_cond_init(&stream->changed);
    stream->request = request;
    stream->size_bytes = size_bytes;
    stream->holders = 1;
    hf_mutex_lock(&server->mutex);
    request->holders++;
    hf_mutex_unlock(&server->mutex);
    return stream;
}

static struct MHD_Response *build_response(struct hf_http_stream *stream,
                                           const struct hf_http_answer *answer)
{
    uint64_t size =
        stream->size_bytes == HF_HTTP_STREAM_SIZE_UNKNOWN ? MHD_SIZE_UNKNOWN : stream->size_bytes;
    struct MHD_Response *response = MHD_create_response_from_callback(
        size, BLOCK_BYTES, read_stream, stream, on_response_freed);

    if (response == NULL) {
        return NULL;
    }
    hf_mutex_lock(&stream->mutex);
    stream->holders++; /* the library, until on_response_freed */
    hf_mutex_unlock(&stream->mutex);
    if (!hf_http_request_add_headers(response, answer)) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

struct hf_http_stream *hf_http_respond_stream(struct hf_http_request *request,
                                              const struct hf_http_answer *answer,
                                              uint64_t size_bytes)
{
    struct hf_http_stream *stream = create(request, size_bytes);
    struct MHD_Response *response = stream == NULL ? NULL : build_response(stream, answer);

    if (!hf_http_request_answer(request, response, answer->status)) {
        if (stream != NULL) {
            let_go(stream);
        }
        return NULL;
    }
    return stream;
}

enum hf_err hf_http_stream_write(struct hf_http_stream *stream, struct hf_bytes bytes,
                                 struct hf_error *err)
{
    HF_LOCKED(&stream->mutex);
    HF_ASSERT(!stream->finished);
    if (bytes.len > stream->size_bytes - stream->written_bytes) {
        return hf_fail(err, HF_ERR_INVALID, "answer stream: more than the %llu bytes announced",
                       (unsigned long long)stream->size_bytes);
    }
    while (bytes.len > 0) {
        while (stream->len == stream->capacity && !stream->gone) {
            hf_cond_wait(&stream->changed, &stream->mutex);
        }
        if (stream->gone) {
            return hf_fail(err, HF_ERR_UNAVAILABLE, "the client went away");
        }
        size_t end = (stream->at + stream->len) % stream->capacity;
        size_t room = stream->capacity - stream->len, straight = stream->capacity - end;
        size_t count = bytes.len < room ? bytes.len : room;
        count = count < straight ? count : straight;
        memcpy(stream->ring + end, bytes.data, count);
        stream->len += count;
        stream->written_bytes += count;
        bytes.data += count;
        bytes.len -= count;
        feed(stream);
    }
    return HF_ERR_OK;
}

static void end_writing(struct hf_http_stream *stream, bool complete)
{
    HF_LOCKED(&stream->mutex);
    stream->finished = true;
    stream->complete = complete && (stream->size_bytes == HF_HTTP_STREAM_SIZE_UNKNOWN ||
                                    stream->written_bytes == stream->size_bytes);
    feed(stream);
}

void hf_http_stream_finish(struct hf_http_stream *stream, bool complete)
{
    end_writing(stream, complete);
    let_go(stream);
}

bool hf_http_stream_finish_sent(struct hf_http_stream *stream, bool complete)
{
    struct hf_http_request *request = stream->request;

    end_writing(stream, complete);
    hf_mutex_lock(&request->server->mutex);
    while (!request->over) {
        hf_cond_wait(&request->server->request_over, &request->server->mutex);
    }
    hf_mutex_unlock(&request->server->mutex);
    bool sent = stream->complete && !atomic_load(&request->gone);
    let_go(stream);
    return sent;
}
