/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "remote": a store behind the server, through the rights of one task. The wire is in
 * docs/format/agent-objects.md. Must not know what the objects are, nor which store answers behind
 * the server.
 *
 * Every call is tried again while what went wrong may pass; all of them may be repeated without
 * harm, puts because equal bytes count as done. Whatever comes back carries a checksum, which is
 * compared before anything is believed.
 */
#include "store/remote.h"

#include <stdio.h>

#include "base/alloc.h"
#include "codec/hash.h"
#include "codec/json.h"
#include "format/message.h"
#include "net/http_client.h"
#include "os/clock.h"
#include "store/driver.h"

#define DEFAULT_RETRY_MS (10 * 60 * 1000)
#define DEFAULT_PAUSE_MS 250
#define PAUSE_MAX_MS 30000
#define RETRY_AFTER_MAX_S 60
/* Bytes changed on their way come right when sent again; bytes stored wrong do not. */
#define CHECKSUM_TRIES 3
#define CLIENTS_KEPT 16
#define LIST_MAX 1000
#define TARGET_BYTES (2 * HF_STORE_NAME_MAX_BYTES + 128)

struct remote_store {
    struct hf_store base;
    char *base_url; /* owned */
    char *ca_file;  /* owned; or NULL */
    struct hf_secret bearer;
    struct hf_id_text task, attempt;
    const struct hf_cancel *cancel; /* borrowed */
    uint64_t retry_ms, pause_ms;
    uint32_t idle_timeout_ms;
    struct hf_mutex mutex;                        /* guards: all below */
    struct hf_http_client *clients[CLIENTS_KEPT]; /* owned: idle, one for each caller at a time */
    size_t client_count;
};

/* Where the body of a good answer goes: a buffer, or a place of known length. */
struct receiver {
    struct hf_buf *buf;
    size_t max;     /* of buf */
    uint8_t *place; /* when buf is NULL */
    size_t capacity, len;
    bool overflow; /* of place: more came than was asked for */
};

/* One request with what it sends and gets. */
struct request {
    const char *method;
    const char *target;
    const char *range; /* header; NULL: none */
    struct hf_bytes body;
    struct receiver *receiver; /* NULL: the reply keeps the body */
};

static struct remote_store *remote_of(struct hf_store *store)
{
    return (struct remote_store *)store;
}

/* ---- Clients ---- */

static enum hf_err take_client(struct remote_store *remote, struct hf_http_client **out,
                               struct hf_error *err)
{
    hf_mutex_lock(&remote->mutex);
    struct hf_http_client *client =
        remote->client_count > 0 ? remote->clients[--remote->client_count] : NULL;
    hf_mutex_unlock(&remote->mutex);
    if (client != NULL) {
        *out = client;
        return HF_ERR_OK;
    }
    char bearer[HF_SECRET_MAX_BYTES + 1];
    memcpy(bearer, remote->bearer.data, remote->bearer.len);
    bearer[remote->bearer.len] = '\0';
    const struct hf_http_client_options options = {
        .base_url = remote->base_url,
        .ca_file = remote->ca_file,
        .bearer = remote->bearer.len == 0 ? NULL : bearer,
        .cancel = remote->cancel,
        .idle_timeout_ms = remote->idle_timeout_ms,
    };
    enum hf_err code = hf_http_client_create(&options, out, err);
    hf_wipe(bearer, sizeof bearer);
    return code;
}

static void give_back(struct remote_store *remote, struct hf_http_client *client)
{
    hf_mutex_lock(&remote->mutex);
    if (remote->client_count < CLIENTS_KEPT) {
        remote->clients[remote->client_count++] = client;
        client = NULL;
    }
    hf_mutex_unlock(&remote->mutex);
    hf_http_client_destroy(client);
}

/* ---- One try ---- */

static enum hf_err receive(void *context, struct hf_bytes piece, struct hf_error *err)
{
    struct receiver *receiver = context;
    if (receiver->buf == NULL) {
        if (piece.len > receiver->capacity - receiver->len) {
            receiver->overflow = true;
            return hf_fail(err, HF_ERR_CORRUPT, "the answer is longer than what was asked for");
        }
        memcpy(receiver->place + receiver->len, piece.data, piece.len);
        receiver->len += piece.len;
        return HF_ERR_OK;
    }
    if (piece.len > receiver->max - receiver->buf->len) {
        return hf_fail(err, HF_ERR_LIMIT, "it has more than the %zu bytes that are taken",
                       receiver->max);
    }
    return hf_buf_append(receiver->buf, piece, err);
}

static void receiver_clear(struct receiver *receiver)
{
    if (receiver != NULL) {
        receiver->len = 0;
        receiver->overflow = false;
        if (receiver->buf != NULL) {
            hf_buf_clear(receiver->buf);
        }
    }
}

static struct hf_bytes received(const struct receiver *receiver)
{
    return receiver->buf != NULL ? hf_buf_bytes(receiver->buf)
                                 : hf_bytes_of(receiver->place, receiver->len);
}

/* The class and words of an answer that is no success. */
static enum hf_err refused(const struct hf_http_reply *reply, struct hf_error *err)
{
    struct hf_error told;
    struct hf_str body = {.data = (const char *)reply->body.data, .len = reply->body.len};
    hf_msg_error_decode(body, reply->status, &told);
    return hf_fail(err, told.code, "the server answers: %s", told.message);
}

static enum hf_err check_sum(const struct hf_http_reply *reply, const struct receiver *receiver,
                             struct hf_error *err)
{
    const char *text = hf_http_reply_header(reply, "Holdfast-Checksum");
    uint64_t want;
    if (text == NULL || strlen(text) != 16 || !hf_parse_hex_u64(hf_str_of(text), &want)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the answer has no checksum");
    }
    if (hf_xxh3(received(receiver)) != want) {
        return hf_fail(err, HF_ERR_CORRUPT, "the answer does not have its checksum %s", text);
    }
    return HF_ERR_OK;
}

static enum hf_err call_once(struct remote_store *remote, const struct request *request,
                             struct hf_http_reply *reply, struct hf_error *err)
{
    char checksum[17];
    struct hf_http_header headers[6] = {
        {"Holdfast-Protocol", "1"},
        {"Holdfast-Task", remote->task.text},
        {"Holdfast-Attempt", remote->attempt.text},
    };
    struct hf_http_call call = {.method = request->method,
                                .target = request->target,
                                .headers = headers,
                                .header_count = 3};
    const struct hf_http_sink sink = {.write = receive, .context = request->receiver};
    if (strcmp(request->method, "PUT") == 0) {
        snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)hf_xxh3(request->body));
        headers[call.header_count++] = (struct hf_http_header){"Holdfast-Checksum", checksum};
        headers[call.header_count++] =
            (struct hf_http_header){"Content-Type", "application/octet-stream"};
        call.body = request->body;
    }
    if (request->range != NULL) {
        headers[call.header_count++] = (struct hf_http_header){"Range", request->range};
    }
    call.sink = request->receiver == NULL ? NULL : &sink;
    struct hf_http_client *client = NULL;
    if (take_client(remote, &client, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_http_client_call(client, &call, reply, err);
    give_back(remote, client);
    if (code != HF_ERR_OK) {
        return code;
    }
    if (reply->status < 200 || reply->status > 299) {
        return refused(reply, err);
    }
    return request->receiver == NULL ? HF_ERR_OK : check_sum(reply, request->receiver, err);
}

/* ---- Tries ---- */

static bool may_pass(enum hf_err code)
{
    return code == HF_ERR_UNAVAILABLE || code == HF_ERR_BUSY || code == HF_ERR_TIMEOUT;
}

/* How long to wait: what the server says, or the doubled pause, less up to a quarter so that agents
 * spread. */
static uint64_t pause_of(const struct hf_http_reply *reply, uint64_t pause_ms)
{
    const char *after = hf_http_reply_header(reply, "Retry-After");
    uint64_t seconds;
    if (after != NULL && hf_parse_u64(hf_str_of(after), &seconds)) {
        seconds = seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : seconds;
        return seconds * 1000 > pause_ms ? seconds * 1000 : pause_ms;
    }
    uint8_t random;
    hf_random_bytes(&random, sizeof random);
    return pause_ms - pause_ms * random / 1024;
}

static enum hf_err call(struct remote_store *remote, const struct request *request,
                        struct hf_http_reply *reply, struct hf_error *err)
{
    uint64_t begin_ms = hf_clock_mono_ms();
    uint64_t pause_ms = remote->pause_ms;
    for (unsigned try = 1;; try++) {
        receiver_clear(request->receiver);
        enum hf_err code = call_once(remote, request, reply, err);
        /* A body that changed on its way; not one that was longer than asked for. */
        bool changed = code == HF_ERR_CORRUPT && request->receiver != NULL &&
                       !request->receiver->overflow && reply->status < 300 && try < CHECKSUM_TRIES;
        if (code == HF_ERR_OK || (!may_pass(code) && !changed)) {
            return code;
        }
        uint64_t wait_ms = pause_of(reply, pause_ms);
        uint64_t spent_ms = hf_clock_mono_ms() - begin_ms;
        if (spent_ms + wait_ms >= remote->retry_ms) {
            return hf_wrap(err, "tried %u times in %llu s", try,
                           (unsigned long long)(spent_ms / 1000));
        }
        hf_cancel_sleep(remote->cancel, wait_ms);
        if (hf_cancel_check(remote->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        pause_ms = pause_ms > PAUSE_MAX_MS / 2 ? PAUSE_MAX_MS : pause_ms * 2;
    }
}

/* ---- Calls ---- */

/* Names hold nothing that a URL would have to escape. */
static void object_target(struct hf_str name, char out[TARGET_BYTES])
{
    snprintf(out, TARGET_BYTES, "/agent/v1/objects/%.*s", HF_STR_ARG(name));
}

static enum hf_err remote_put(struct hf_store *store, struct hf_str name, struct hf_bytes content,
                              const struct hf_store_put_options *options, struct hf_error *err)
{
    (void)options; /* the reserve is the server's to give */
    char target[TARGET_BYTES];
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    hf_http_reply_init(&reply, HF_MESSAGE_MAX_BYTES);
    object_target(name, target);
    const struct request request = {.method = "PUT", .target = target, .body = content};
    return call(remote_of(store), &request, &reply, err);
}

static enum hf_err remote_get(struct hf_store *store, struct hf_str name, size_t max,
                              struct hf_buf *out, struct hf_error *err)
{
    char target[TARGET_BYTES];
    struct receiver receiver = {.buf = out, .max = max};
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    hf_http_reply_init(&reply, HF_MESSAGE_MAX_BYTES);
    object_target(name, target);
    const struct request request = {.method = "GET", .target = target, .receiver = &receiver};
    enum hf_err code = call(remote_of(store), &request, &reply, err);
    if (code == HF_ERR_OK && reply.status != 200) {
        /* A part has a checksum of its own. */
        code = hf_fail(err, HF_ERR_CORRUPT, "the answer is not the whole object (HTTP status %d)",
                       reply.status);
    }
    if (code != HF_ERR_OK) {
        hf_buf_clear(out);
    }
    return code;
}

/* "bytes 3-6/10": first and size. */
static bool parse_content_range(const char *text, uint64_t *first, uint64_t *size_bytes)
{
    const char *dash = text == NULL ? NULL : strchr(text, '-');
    const char *slash = dash == NULL ? NULL : strchr(dash, '/');
    if (slash == NULL || strncmp(text, "bytes ", 6) != 0) {
        return false;
    }
    return hf_parse_u64((struct hf_str){.data = text + 6, .len = (size_t)(dash - text) - 6},
                        first) &&
           hf_parse_u64(hf_str_of(slash + 1), size_bytes);
}

/* A part of an object; which part came, and the whole's size, are the answer's own words. */
static enum hf_err get_part(struct remote_store *remote, struct hf_str name, const char *range,
                            struct receiver *receiver, uint64_t *first, uint64_t *size_bytes,
                            struct hf_error *err)
{
    char target[TARGET_BYTES];
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    hf_http_reply_init(&reply, HF_MESSAGE_MAX_BYTES);
    object_target(name, target);
    const struct request request = {
        .method = "GET", .target = target, .range = range, .receiver = receiver};
    if (call(remote, &request, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (reply.status != 206 ||
        !parse_content_range(hf_http_reply_header(&reply, "Content-Range"), first, size_bytes)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the answer to a range is no range (HTTP status %d)",
                       reply.status);
    }
    return HF_ERR_OK;
}

static enum hf_err remote_get_tail(struct hf_store *store, struct hf_str name, size_t len,
                                   struct hf_buf *out, uint64_t *size_bytes, struct hf_error *err)
{
    struct remote_store *remote = remote_of(store);
    /* HTTP has no range of nothing: one byte is asked for and not kept. */
    size_t asked = len == 0 ? 1 : len < HF_STORE_OBJECT_MAX_BYTES ? len : HF_STORE_OBJECT_MAX_BYTES;
    char range[48];
    uint8_t byte;
    struct receiver receiver = {.buf = out, .max = asked};
    uint64_t first = 0;
    uint64_t size = 0;
    if (len == 0) {
        receiver = (struct receiver){.place = &byte, .capacity = 1};
    }
    snprintf(range, sizeof range, "bytes=-%zu", asked);
    if (get_part(remote, name, range, &receiver, &first, &size, err) != HF_ERR_OK) {
        hf_buf_clear(out);
        return err->code;
    }
    if (received(&receiver).len != (asked < size ? asked : size)) {
        hf_buf_clear(out);
        return hf_fail(err, HF_ERR_CORRUPT, "the answer has %zu of the last %zu of %llu bytes",
                       received(&receiver).len, asked, (unsigned long long)size);
    }
    *size_bytes = size;
    return HF_ERR_OK;
}

/* Not HEAD: its answers have no body, so errors could not be told from one another. */
static enum hf_err remote_size(struct hf_store *store, struct hf_str name, uint64_t *size_bytes,
                               struct hf_error *err)
{
    struct hf_buf none = HF_BUF_INIT(0);
    return remote_get_tail(store, name, 0, &none, size_bytes, err);
}

static enum hf_err ends_early(uint64_t size_bytes, uint64_t offset, size_t len,
                              struct hf_error *err)
{
    return hf_fail(err, HF_ERR_CORRUPT,
                   "it ends after %llu bytes, %zu at %llu were expected to be there",
                   (unsigned long long)size_bytes, len, (unsigned long long)offset);
}

static enum hf_err remote_get_range(struct hf_store *store, struct hf_str name, uint64_t offset,
                                    uint8_t *out, size_t len, struct hf_error *err)
{
    char range[64];
    struct receiver receiver = {.place = out, .capacity = len};
    uint64_t first = 0;
    uint64_t size = 0;
    /* What cannot be a range of any object needs only the size. */
    if (len == 0 || len > HF_STORE_OBJECT_MAX_BYTES || offset > UINT64_MAX - len) {
        if (remote_size(store, name, &size, err) != HF_ERR_OK) {
            return err->code;
        }
        return len == 0 && offset <= size ? HF_ERR_OK : ends_early(size, offset, len, err);
    }
    snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)offset,
             (unsigned long long)(offset + len - 1));
    if (get_part(remote_of(store), name, range, &receiver, &first, &size, err) != HF_ERR_OK) {
        return err->code;
    }
    if (first != offset || receiver.len != len) {
        return ends_early(size, offset, len, err);
    }
    return HF_ERR_OK;
}

/* ---- List ---- */

/* Takes one object of a page over; what it says is checked against what was asked. */
static enum hf_err add_object(struct hf_store_lister *lister, const struct hf_json *item,
                              struct hf_error *err)
{
    const char *text = NULL;
    uint64_t size_bytes = 0;
    size_t before = lister->list->count;
    if (hf_json_need_text(item, "name", &text, err) != HF_ERR_OK ||
        hf_json_need_u64(item, "size", 0, INT64_MAX, &size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_str name = hf_str_of(text);
    if (hf_store_name_check(name, err) != HF_ERR_OK) {
        return err->code;
    }
    if (before > 0) {
        lister->after = hf_str_of(lister->list->entries[before - 1].name);
    }
    if (!hf_store_lister_wants(lister, name)) {
        return hf_fail(err, HF_ERR_INVALID, "%s was not asked for, or comes out of order", text);
    }
    if (hf_store_lister_add(lister, name, size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    return lister->list->count > before
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_INVALID, "there are more names than were asked for");
}

/* Stricter than messages are elsewhere: a member that is missing must not pass for "nothing is
 * there" (keeps I10). */
static enum hf_err add_page(struct hf_store_lister *lister, struct hf_str body, bool *more,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *page = NULL;
    struct hf_json *objects = NULL;
    if (hf_json_decode(body, HF_MESSAGE_MAX_BYTES, &page, err) != HF_ERR_OK ||
        hf_json_need_array(page, "objects", &objects, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *more_json = hf_json_get(page, "more");
    if (more_json == NULL || hf_json_type(more_json) != HF_JSON_BOOL) {
        return hf_fail(err, HF_ERR_INVALID, "member more: neither true nor false");
    }
    *more = hf_json_get_bool(page, "more", false);
    if (*more && hf_json_count(objects) == 0) {
        return hf_fail(err, HF_ERR_INVALID, "it has no names and says that there are more");
    }
    for (size_t i = 0; i < hf_json_count(objects); i++) {
        if (add_object(lister, hf_json_at(objects, i), err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err get_page(struct remote_store *remote, struct hf_store_lister *lister, bool *more,
                            struct hf_error *err)
{
    char target[TARGET_BYTES];
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    hf_http_reply_init(&reply, HF_MESSAGE_MAX_BYTES);
    size_t left = lister->max_entries - lister->list->count;
    struct hf_str after = lister->after;
    if (lister->list->count > 0) {
        after = hf_str_of(lister->list->entries[lister->list->count - 1].name);
    }
    snprintf(target, sizeof target, "/agent/v1/objects?prefix=%.*s&after=%.*s&max=%zu",
             HF_STR_ARG(lister->prefix), HF_STR_ARG(after), left < LIST_MAX ? left : LIST_MAX);
    const struct request request = {.method = "GET", .target = target};
    if (call(remote, &request, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_str body = {.data = (const char *)reply.body.data, .len = reply.body.len};
    if (add_page(lister, body, more, err) != HF_ERR_OK) {
        err->code = err->code == HF_ERR_NO_MEMORY ? HF_ERR_NO_MEMORY : HF_ERR_CORRUPT;
        return hf_wrap(err, "the answer");
    }
    return HF_ERR_OK;
}

static enum hf_err remote_list(struct hf_store *store, struct hf_str prefix, struct hf_str after,
                               size_t max_entries, struct hf_store_list *out, struct hf_error *err)
{
    struct hf_store_lister lister = {
        .prefix = prefix, .after = after, .max_entries = max_entries, .list = out};
    bool more = true;
    while (more && out->count < max_entries) {
        if (get_page(remote_of(store), &lister, &more, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    out->more = more;
    return HF_ERR_OK;
}

static enum hf_err remote_remove(struct hf_store *store, struct hf_str name, struct hf_error *err)
{
    (void)store, (void)name;
    return hf_fail(err, HF_ERR_DENIED, "deletions are the server's own");
}

/* ---- Open and close ---- */

static void remote_close(struct hf_store *store)
{
    struct remote_store *remote = remote_of(store);
    for (size_t i = 0; i < remote->client_count; i++) {
        hf_http_client_destroy(remote->clients[i]);
    }
    hf_secret_wipe(&remote->bearer);
    hf_mutex_fini(&remote->mutex);
    hf_free(remote->base_url);
    hf_free(remote->ca_file);
    hf_free(remote->base.url);
    hf_free(remote);
}

static const struct hf_store_driver remote_driver = {
    .kind = "remote",
    .put = remote_put,
    .get = remote_get,
    .get_range = remote_get_range,
    .get_tail = remote_get_tail,
    .size = remote_size,
    .list = remote_list,
    .remove = remote_remove,
    .close = remote_close,
};

enum hf_err hf_store_remote_open(const struct hf_store_remote_options *options,
                                 struct hf_store **out, struct hf_error *err)
{
    struct remote_store *remote = hf_alloc_zero(sizeof *remote);
    if (remote == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "open store behind %s", options->base_url);
    }
    hf_mutex_init(&remote->mutex);
    remote->base.driver = &remote_driver;
    /* The protocol promises both: the server refuses other bytes under a taken name, and lists what
     * it acknowledged. */
    remote->base.abilities =
        (struct hf_store_abilities){.put_if_absent = true, .consistent_list = true};
    remote->task = hf_id_text(&options->task);
    remote->attempt = hf_id_text(&options->attempt);
    remote->cancel = options->cancel;
    remote->retry_ms = options->retry_ms == 0 ? DEFAULT_RETRY_MS : options->retry_ms;
    remote->pause_ms = options->pause_ms == 0 ? DEFAULT_PAUSE_MS : options->pause_ms;
    remote->idle_timeout_ms = options->idle_timeout_ms;
    if (options->bearer != NULL) {
        remote->bearer = *options->bearer;
    }
    remote->base_url = hf_strdup(options->base_url);
    remote->base.url = hf_strdup(options->base_url);
    remote->ca_file = options->ca_file == NULL ? NULL : hf_strdup(options->ca_file);
    struct hf_http_client *client = NULL;
    if (remote->base_url == NULL || remote->base.url == NULL ||
        (options->ca_file != NULL && remote->ca_file == NULL)) {
        (void)hf_fail(err, HF_ERR_NO_MEMORY, "no memory for its options");
        goto close_store;
    }
    if (take_client(remote, &client, err) != HF_ERR_OK) {
        goto close_store;
    }
    give_back(remote, client);
    *out = &remote->base;
    return HF_ERR_OK;

close_store:
    remote_close(&remote->base);
    return hf_wrap(err, "open store behind %s", options->base_url);
}
