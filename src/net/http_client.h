/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP client: one call at a time over a kept connection, bodies of any size in both directions.
 *
 * No retries, no redirects: who calls decides. A token never leaves over plain HTTP except to
 * loopback.
 */
#ifndef HF_NET_HTTP_CLIENT_H
#define HF_NET_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/thread.h"
#include "net/http.h"

struct hf_http_client;

/* Zero means the default. Everything is copied, but for cancel. */
struct hf_http_client_options {
    const char *base_url;   /* "https://host:8443" or with a path in front of every target. Several,
                               with commas: after a call that had no answer, or 503, the next one */
    const char *ca_file;    /* PEM file of trusted certificates; NULL: the system's */
    const char *pinned_key; /* "sha256//<base64>" of the server's public key; without ca_file the
                               pin alone decides */
    const char *proxy;      /* URL; default none, whatever the environment says */
    const char *user_agent; /* default "holdfast/<version>" */
    const char *bearer;     /* token; not together with user */
    const char *user;       /* HTTP digest with password */
    const char *password;
    const struct hf_cancel *cancel; /* borrowed: outlives the client; noticed within 50 ms */
    uint32_t connect_timeout_ms;    /* default 10 s */
    uint32_t total_timeout_ms;      /* of one call; default none */
    uint32_t idle_timeout_ms;       /* no byte moved either way; default 60 s */
    bool allow_insecure;            /* a bearer over plain HTTP to other hosts than loopback */
    bool no_private_address;        /* DENIED for an address of a private network or of this host,
                                       whatever name it has */
};

/* INVALID for an unusable URL or option, DENIED for credentials over plain HTTP to another host. */
HF_MUST_CHECK enum hf_err hf_http_client_create(const struct hf_http_client_options *options,
                                                struct hf_http_client **out, struct hf_error *err);
void hf_http_client_destroy(struct hf_http_client *client);
HF_CLEANUP_DEFINE(hf_http_client_destroy, struct hf_http_client *)

/* A body to send, pulled. */
struct hf_http_source {
    /* Puts at most capacity bytes at buffer; *len 0 is the end. An error ends the call with it. */
    enum hf_err (*read)(void *context, uint8_t *buffer, size_t capacity, size_t *len,
                        struct hf_error *err);
    /* Back to the first byte, when the server asks again (digest); NULL: such a call fails. */
    enum hf_err (*rewind)(void *context, struct hf_error *err);
    void *context;
    uint64_t size_bytes; /* HF_HTTP_SIZE_UNKNOWN sends chunks */
};
#define HF_HTTP_SIZE_UNKNOWN UINT64_MAX

/* Where a body goes that need not fit in memory. */
struct hf_http_sink {
    /* May block. An error ends the call with it. */
    enum hf_err (*write)(void *context, struct hf_bytes piece, struct hf_error *err);
    void *context;
};

/* What is asked; all borrowed for the call. */
struct hf_http_call {
    const char *method; /* NULL: "GET" */
    const char *target; /* path and query, percent-encoded by the caller; begins with "/" */
    const struct hf_http_header *headers;
    size_t header_count;
    struct hf_bytes body;                /* unless source */
    const struct hf_http_source *source; /* or NULL */
    const struct hf_http_sink
        *sink;                 /* takes the body of a 2xx answer; or NULL: it goes into the reply */
    uint32_t total_timeout_ms; /* 0: the client's */
    uint32_t idle_timeout_ms;  /* 0: the client's; a long poll needs more than the server's wait */
    const struct hf_cancel *interrupt; /* or NULL: ends this call alone, as the client's cancel */
};

#define HF_HTTP_REPLY_HEADERS_MAX_BYTES ((size_t)64 * 1024)

struct hf_http_reply {
    int status;
    struct hf_buf body;         /* what did not go into the sink */
    struct hf_buf headers;      /* internal: "name\0value\0" each */
    uint64_t body_length_bytes; /* of the body, wherever it went */
};

/* A longer body (one that does not go into a sink) ends the call with HF_ERR_LIMIT. A reply may be
 * used again: every call empties it first and keeps its memory. */
void hf_http_reply_init(struct hf_http_reply *reply, size_t body_max_bytes);
void hf_http_reply_fini(struct hf_http_reply *reply);
HF_CLEANUP_DEFINE_VALUE(hf_http_reply_fini, struct hf_http_reply)
/* The first header of that name (any case), borrowed from the reply; NULL when absent. */
const char *hf_http_reply_header(const struct hf_http_reply *reply, const char *name);

/*
 * HF_ERR_OK when an answer came whole, whatever its status. Else the message reads
 * "GET https://host/target: <what happened>": UNAVAILABLE nobody answers or the connection broke,
 * TIMEOUT, CANCELLED, DENIED the server's certificate is not trusted, LIMIT, or what source or sink
 * said. One thread at a time.
 */
HF_MUST_CHECK enum hf_err hf_http_client_call(struct hf_http_client *client,
                                              const struct hf_http_call *call,
                                              struct hf_http_reply *reply, struct hf_error *err);

/* Sets *err from an answer that is not 2xx: class by status, message "PUT https://host/target: 404
 * Not Found" and the first line of a short text body. */
enum hf_err hf_http_client_fail_status(const struct hf_http_client *client,
                                       const struct hf_http_call *call,
                                       const struct hf_http_reply *reply, struct hf_error *err);

#endif
