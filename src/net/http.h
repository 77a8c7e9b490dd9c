/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What HTTP client and server share: a header, and what a status means as an error class.
 */
#ifndef HF_NET_HTTP_H
#define HF_NET_HTTP_H

#include "base/error.h"

/* Borrowed. */
struct hf_http_header {
    const char *name;
    const char *value;
};

/* True when name is a token and value holds no control characters: nothing in it can end the header
 * line. */
HF_MUST_CHECK bool hf_http_header_valid(const struct hf_http_header *header);
/* Header names are compared without case, ASCII only. */
bool hf_http_name_equal(const char *a, const char *b);
/* What a client may conclude from a status: 2xx OK, 401 UNAUTHENTICATED, 404 NOT_FOUND, 409
 * CONFLICT, 413 LIMIT, 429 BUSY, 503 UNAVAILABLE, 507 NO_SPACE...; other 4xx INVALID, other 5xx
 * INTERNAL, anything else UNSUPPORTED. */
enum hf_err hf_http_status_class(int status);
/* "Not Found"; "Unknown" for a number without a phrase. */
const char *hf_http_status_phrase(int status);

#endif
