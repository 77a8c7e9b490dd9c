/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP server: event loops that read a request whole into bounded memory, hand it over, and send
 * the answer whenever and from wherever it comes. Knows no routes and no users.
 *
 * Life of a request: on_headers (may answer), then the body is collected, then on_request, which
 * calls hf_http_respond, hf_http_respond_stream or hf_http_keep. Of a kept request any thread
 * answers later, exactly once, whatever has happened meanwhile (client gone, deadline, shutdown);
 * the request pointer is dead after that call.
 */
#ifndef HF_NET_HTTP_SERVER_H
#define HF_NET_HTTP_SERVER_H

#include "base/buf.h"
#include "base/log.h"
#include "base/thread.h"
#include "net/http.h"

struct hf_http_server;
struct hf_http_request;
struct hf_http_stream;

/* Why the server answers by itself. */
enum hf_http_refusal {
    HF_HTTP_REFUSE_TOO_LARGE, /* 413: body longer than on_headers allowed */
    HF_HTTP_REFUSE_BUSY,      /* 429 with Retry-After: bodies in flight are at their limit */
    HF_HTTP_REFUSE_SHUTDOWN,  /* 503: the server stops */
    HF_HTTP_REFUSE_DEADLINE,  /* 503: nobody answered a kept request in time */
    HF_HTTP_REFUSE_MALFORMED, /* 400: two lengths, or a transfer encoding other than chunked */
    HF_HTTP_REFUSE_HEADERS,   /* 431: headers longer than allowed */
    HF_HTTP_REFUSE_UNANSWERED /* 500: on_request neither answered nor kept */
};

/* A plain answer; all borrowed for the call. Content-Length, Date and Connection are the server's.
 */
struct hf_http_answer {
    int status;
    const struct hf_http_header *headers;
    size_t header_count;
    struct hf_bytes body;
};

/* All run on an event-loop or the server's watch thread and must not block. */
struct hf_http_handler {
    void *context;
    /* Headers are there, the body is not. Returns the most bytes of body to collect; 0: it is read
     * and thrown away. May call hf_http_respond (not keep): the body is then thrown away and
     * on_request not called. NULL: 1 MiB. */
    uint64_t (*on_headers)(void *context, struct hf_http_request *request);
    /* The request is whole. */
    void (*on_request)(void *context, struct hf_http_request *request);
    /* The deadline given to hf_http_keep has passed and nobody has answered. Whoever holds the
     * request still owes its one answer: take it off the waiting list and answer here if it is
     * still on it. NULL: the server answers 503. */
    void (*on_deadline)(void *context, struct hf_http_request *request);
    /* The client of a kept request went away. As on_deadline: the answer is still owed (and thrown
     * away). May be NULL. */
    void (*on_gone)(void *context, struct hf_http_request *request);
    /* The request is over: the place to free what hf_http_request_set_user hung on it. Called once
     * for every request that on_headers saw, on whichever thread was last. May be NULL. */
    void (*on_end)(void *context, struct hf_http_request *request);
    /* Fills *answer for what the server answers by itself (headers and body must outlive the call:
     * constants); it comes with status set. NULL: no body. Retry-After is added by the server. */
    void (*on_refuse)(void *context, const struct hf_http_request *request,
                      enum hf_http_refusal why, struct hf_http_answer *answer);
};

/* Zero means the default. Copied but for log. */
struct hf_http_server_options {
    const char *address;      /* numeric or a name; default "127.0.0.1" */
    uint16_t port;            /* 0: the system picks */
    const char *tls_cert_pem; /* contents, not names; both or none */
    const char *tls_key_pem;
    struct hf_http_handler handler;
    struct hf_log *log;        /* borrowed: outlives the server; may be NULL */
    unsigned thread_count;     /* event loops; default one a CPU, at most 8 */
    unsigned connection_limit; /* default 4096, shared out evenly among the loops */
    uint32_t idle_timeout_s;   /* of a connection that is not kept by the application; default 60 */
    uint32_t receive_timeout_s; /* from request line to end of body; default 300 */
    size_t header_max_bytes;    /* default 32 KiB */
    uint64_t bodies_max_bytes;  /* of all requests at once; default 256 MiB */
    uint64_t discard_max_bytes; /* read and thrown away of one body before the connection is cut;
                                   default 64 MiB */
    uint32_t retry_after_s;     /* with 429 and 503; default 2 */
    size_t stream_buffer_bytes; /* of one stream; default 1 MiB */
};

/* Listens and serves when it returns. CONFLICT when the address is taken. */
HF_MUST_CHECK enum hf_err hf_http_server_start(const struct hf_http_server_options *options,
                                               struct hf_http_server **out, struct hf_error *err);
uint16_t hf_http_server_port(const struct hf_http_server *server);
/* Stops accepting, answers kept requests 503, cuts streams, gives answers under way 5 s, joins the
 * threads, frees. Requests still held by the application stay valid until they are answered; of the
 * callbacks only on_end may run afterwards, for these. */
void hf_http_server_stop(struct hf_http_server *server);
HF_CLEANUP_DEFINE(hf_http_server_stop, struct hf_http_server *)

struct hf_http_server_stats {
    uint64_t connections; /* open */
    uint64_t requests;    /* begun and not over */
    uint64_t kept;        /* of these, waiting for the application */
    uint64_t body_bytes;  /* reserved for bodies */
};
void hf_http_server_stats(struct hf_http_server *server, struct hf_http_server_stats *out);

/* What was asked; borrowed from the request. Any thread that holds it. */
const char *hf_http_request_method(const struct hf_http_request *request);
/* Raw, with its query, percent-encoding untouched. */
const char *hf_http_request_target(const struct hf_http_request *request);
/* First header of that name (any case); NULL when absent. */
const char *hf_http_request_header(const struct hf_http_request *request, const char *name);
/* Numeric, without port; IPv4 also when it came mapped into IPv6. */
const char *hf_http_request_peer(const struct hf_http_request *request);
bool hf_http_request_is_tls(const struct hf_http_request *request);
/* Empty in on_headers, or when thrown away. Valid until the answer. */
struct hf_bytes hf_http_request_body(const struct hf_http_request *request);
/* True once the client is known to be gone: work for it may stop; the answer is still owed. */
bool hf_http_request_gone(const struct hf_http_request *request);
/* One pointer of the application's that travels with the request (owned by the application). */
void hf_http_request_set_user(struct hf_http_request *request, void *user);
void *hf_http_request_user(const struct hf_http_request *request);

/* In on_request only: another thread will answer. deadline_ms: as hf_clock_mono_ms, 0 for none. */
void hf_http_keep(struct hf_http_request *request, uint64_t deadline_ms);

/* The answer. True when it was taken for sending, false when it came too late (gone, deadline,
 * shutdown) or memory ran out (the client then sees 500 or a cut). Either way the request is dead
 * for the caller. */
bool hf_http_respond(struct hf_http_request *request, const struct hf_http_answer *answer);
/* Short for a text body with one Content-Type. */
bool hf_http_respond_text(struct hf_http_request *request, int status, const char *content_type,
                          const char *text);
/* The body is handed over: *body is emptied, the server frees it after sending. */
bool hf_http_respond_buf_take(struct hf_http_request *request, const struct hf_http_answer *answer,
                              struct hf_buf *body);

/*
 * An answer whose body is written afterwards by a producer (a thread of the application, never an
 * event loop). answer->body is ignored. size_bytes HF_HTTP_STREAM_SIZE_UNKNOWN sends chunks. NULL
 * as false above; else the caller owes hf_http_stream_finish.
 */
#define HF_HTTP_STREAM_SIZE_UNKNOWN UINT64_MAX
HF_MUST_CHECK struct hf_http_stream *hf_http_respond_stream(struct hf_http_request *request,
                                                            const struct hf_http_answer *answer,
                                                            uint64_t size_bytes);
/* Waits while the buffer is full. UNAVAILABLE "the client went away", INVALID more than size_bytes.
 */
HF_MUST_CHECK enum hf_err hf_http_stream_write(struct hf_http_stream *stream, struct hf_bytes bytes,
                                               struct hf_error *err);
/* Ends and frees. Not complete, or fewer bytes than size_bytes: the connection is cut, so that the
 * client sees a broken transfer. Does not wait for the sending. */
void hf_http_stream_finish(struct hf_http_stream *stream, bool complete);
/* The same, and waits for the sending: true when the system took every byte for a client that was still there. Bounded
 * by the idle timeout of a client that takes nothing more. */
HF_MUST_CHECK bool hf_http_stream_finish_sent(struct hf_http_stream *stream, bool complete);

#endif
