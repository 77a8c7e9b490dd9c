/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of the API: what was asked, who asks, and the ways to answer. A handler runs on a worker thread and answers
 * exactly once.
 */
#ifndef HF_SERVER_CALL_H
#define HF_SERVER_CALL_H

#include "codec/json.h"
#include "format/ids.h"
#include "net/http_server.h"
#include "net/url.h"
#include "server/app.h"
#include "server/roles.h"

struct hf_server;     /* server_internal.h */
struct hf_call_audit; /* audit.h */

#define HF_CALL_PARAMETERS_MAX 4

struct hf_server_call {
    struct hf_server *server;        /* borrowed */
    struct hf_server_app *app;       /* borrowed */
    struct hf_http_request *request; /* NULL once it was answered */
    const char *method;
    struct hf_url_target target;
    struct hf_id project; /* what the call is about: door.h */
    struct hf_id org;     /* of the path; none: it has none */
    struct hf_grants grants;
    uint32_t rights;   /* in the project, or in the installation */
    bool all_projects; /* about the installation */
    char user[128];    /* public key of the caller; empty for agents */
    const char
        *parameters[HF_CALL_PARAMETERS_MAX]; /* the path's variable segments, in their order */
    struct hf_json *body;                    /* decoded; NULL when the call has none */
    struct hf_call_audit *audit;             /* owned; NULL: nothing is changed */
};

/* The variable segment as an id. On failure the call was answered with the public code (INVALID_…_ID, 404). */
HF_MUST_CHECK bool hf_call_id(struct hf_server_call *call, size_t index, const char *public_code,
                              struct hf_id *out);
/* Query flag "true"/"false"; on failure the call was answered 400. */
HF_MUST_CHECK bool hf_call_flag(struct hf_server_call *call, const char *name, bool fallback,
                                bool *out);
HF_MUST_CHECK bool hf_call_number(struct hf_server_call *call, const char *name, uint64_t min,
                                  uint64_t max, uint64_t fallback, uint64_t *out);
/* What a body may hold; a NULL name ends the list. */
struct hf_call_member {
    const char *name;
    enum hf_json_type type; /* HF_JSON_NULL: the handler sees for itself */
};
/* False, and answered 400, when the body has a member that is not in the list (INVALID_ATTRIBUTE) or is of another type
 * (INVALID_JSON_ATTRIBUTE). Null counts as absent. */
HF_MUST_CHECK bool hf_call_body_only(struct hf_server_call *call,
                                     const struct hf_call_member *members);

/* Answers with a document; takes it, NULL is answered 500. Honours `pretty` and `envelope`. */
void hf_reply_json(struct hf_server_call *call, int status, struct hf_json *document);
void hf_reply_empty(struct hf_server_call *call, int status);
/*
 * Answers with the error body of rest-api.md 1.8 and, beside it, "errorClass", our own class. public_code NULL: one
 * that fits the class.
 */
void hf_reply_error(struct hf_server_call *call, const struct hf_error *err,
                    const char *public_code);
void hf_reply_fail(struct hf_server_call *call, enum hf_err code, const char *public_code,
                   const char *format, ...) HF_PRINTF(4, 5);

/* An answer whose status no class has: 405 with the methods that are allowed, 415. */
struct hf_reply_refusal {
    int status;
    const char *public_code;
    const char *detail;
    const char *allow; /* NULL: no such header */
};
void hf_reply_refuse(struct hf_server_call *call, const struct hf_reply_refusal *refusal);

/* Where a list stands (rest-api.md 1.7). */
struct hf_call_page {
    uint64_t number; /* from 1 */
    uint64_t size;   /* at most 500 */
};
/* False, and answered, for a page that cannot be. */
HF_MUST_CHECK bool hf_call_page(struct hf_server_call *call, struct hf_call_page *out);
/* {"links", "results", "totalCount"}; takes results. */
void hf_reply_list(struct hf_server_call *call, const struct hf_call_page *page,
                   struct hf_json *results, uint64_t total);
/* "https://host:port" as the caller addressed us. */
void hf_reply_base_url(const struct hf_server_call *call, char *out, size_t out_len);
/* Appends {"href": this server's address + path, "rel"} to the document's "links". */
void hf_reply_link(struct hf_server_call *call, struct hf_json *document, const char *rel,
                   const char *path);

/* On every answer as X-MongoDB-Service-Version. Clients take it apart at "; " and "=" (rest-api.md 1.2); a build outside of
 * git has no better hash. */
#define HF_REPLY_VERSION                                                                           \
    "gitHash=0000000000000000000000000000000000000000; versionString=" HF_VERSION

#endif
