/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The insides of the HTTP server, for its files alone: http_server.c starts and stops, http_watch.c
 * accepts and waits, http_receive.c is called by libmicrohttpd, http_request.c holds what a request is
 * and answers it, http_stream.c answers piece by piece.
 *
 * Locks: stream->mutex before server->mutex; under neither is anything that blocks or calls the
 * application. The library's own locks come after ours.
 */
#ifndef HF_NET_HTTP_SERVER_INTERNAL_H
#define HF_NET_HTTP_SERVER_INTERNAL_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "net/http_server.h"

/* One TCP connection. */
struct hf_http_connection {
    struct hf_http_connection *previous, *next; /* in server->connections */
    int fd;                                     /* the library's */
    uint64_t receiving_since_ms;                /* 0: a request is being worked on or answered */
    bool hung_up;                               /* the peer has sent its last byte */
    struct hf_http_request *suspended;          /* the one that is, or NULL */
};

struct hf_http_request {
    struct hf_http_server *server; /* counted */
    unsigned holders;              /* guarded by server->mutex: library, application, watch */

    /* Set before on_headers, then constant. */
    char *target; /* owned */
    char *text;   /* owned: what method and headers point into */
    const char *method;
    struct hf_http_header *headers; /* owned */
    size_t header_count;
    char peer[64];
    bool is_tls, expects_continue, seen_by_application;

    /* Used by the event loop until the request is handed over, then constant until the answer. */
    struct hf_buf body;
    uint64_t body_max_bytes, discarded_bytes;
    bool started, discards;

    /* Guarded by server->mutex. */
    uint64_t reserved_bytes;
    struct MHD_Connection *connection; /* NULL once the library is done with the request */
    struct hf_http_connection *peer_connection;
    struct MHD_Response *response; /* owned: the answer until it is queued */
    unsigned status;
    bool handed_over; /* on_request was or is being called */
    bool held;        /* the application owes the answer */
    bool keep;        /* hf_http_keep was called */
    bool answered;    /* an answer was taken, of the application or the server's own */
    bool suspended;   /* off the event loop, in server->suspended */
    bool told;        /* on_deadline or on_gone was called for it */
    bool over;        /* the library is done with it; how, says gone */
    uint64_t deadline_ms;
    struct hf_http_request *previous, *next; /* in server->suspended */

    atomic_bool gone;
    void *user; /* the application's */
};

struct hf_http_server {
    struct hf_http_handler handler;
    struct hf_log *log;
    uint64_t short_told_ms; /* the watch's thread only */
    struct MHD_Daemon *daemon;
    struct hf_thread *watch;
    int listen_fd, epoll_fd, wake_fd;
    uint16_t port;
    unsigned connection_limit;
    uint32_t receive_timeout_s, retry_after_s;
    size_t header_max_bytes, stream_buffer_bytes;
    uint64_t bodies_max_bytes, discard_max_bytes;
    atomic_bool stopping;

    struct hf_mutex mutex; /* guards: all below, and what struct hf_http_request says */
    struct hf_cond quiet;  /* answering became 0 */
    struct hf_cond request_over;
    unsigned holders; /* who started it, and every request */
    struct hf_http_connection *connections;
    struct hf_http_request *suspended;
    struct hf_http_server_stats stats;
    uint64_t answering;       /* answers taken and not yet sent */
    uint64_t wake_at_ms;      /* when the watch thread looks at deadlines next */
    uint64_t accept_again_ms; /* not before, where accepting failed */
    bool look;                /* a request was suspended whose peer had hung up */
    bool accepting;           /* the listening socket is in the epoll set */
};

/* http_server.c */
void hf_http_server_let_go(struct hf_http_server *server);

/* http_watch.c */
void hf_http_watch_run(void *server);
void hf_http_watch_wake(struct hf_http_server *server);
void hf_http_watch_on_connection(void *server, struct MHD_Connection *connection,
                                 void **socket_context, enum MHD_ConnectionNotificationCode code);

/* http_receive.c: the library's callbacks */
void *hf_http_receive_on_target(void *server, const char *target,
                                struct MHD_Connection *connection);
enum MHD_Result hf_http_receive_on_access(void *server, struct MHD_Connection *connection,
                                          const char *url, const char *method, const char *version,
                                          const char *upload, size_t *upload_len, void **request);
void hf_http_receive_on_completed(void *server, struct MHD_Connection *connection, void **request,
                                  enum MHD_RequestTerminationCode code);

/* Of a target in a log: what follows may be a secret, since links carry their key in the path. */
#define HF_HTTP_LOGGED_TARGET_BYTES 48

/* http_request.c */
struct hf_http_request *hf_http_request_create(struct hf_http_server *server, const char *target);
/* One holder less; the last one frees. The mutex is not held. */
void hf_http_request_let_go(struct hf_http_request *request);
/* NULL on no memory or an impossible header. The body is copied, or taken over when take is not NULL. */
struct MHD_Response *hf_http_request_build_response(const struct hf_http_answer *answer,
                                                    struct hf_buf *take);
/* False on no memory or an impossible header. */
bool hf_http_request_add_headers(struct MHD_Response *response,
                                 const struct hf_http_answer *answer);
/* What the server says by itself. NULL on no memory. The mutex is not held. */
struct MHD_Response *hf_http_request_build_refusal(struct hf_http_request *request,
                                                   enum hf_http_refusal why, unsigned *status);
/* Makes response the request's answer, unless it has one or the library is done with it: then false, and
 * the response stays the caller's to destroy once the mutex is free. NULL cuts the connection. Resumes a
 * suspended request. The mutex is held. */
bool hf_http_request_set_answer(struct hf_http_request *request, struct MHD_Response *response,
                                unsigned status);
/* The server's own answer, at any time, from any thread that holds the request. */
void hf_http_request_refuse(struct hf_http_request *request, enum hf_http_refusal why);
/* The application's answer: its hold ends. response is taken over; NULL: the client is told 500. */
bool hf_http_request_answer(struct hf_http_request *request, struct MHD_Response *response,
                            int status);
/* Takes the connection off its event loop / puts it back. The mutex is held; suspend on the event loop only. */
void hf_http_request_suspend(struct hf_http_request *request);
void hf_http_request_resume(struct hf_http_request *request);
/* Asks for more of what all bodies share. The mutex is held. */
bool hf_http_request_reserve(struct hf_http_request *request, uint64_t bytes);
/* Frees the body. The mutex is not held. */
void hf_http_request_drop_body(struct hf_http_request *request);

#endif
