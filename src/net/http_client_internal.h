/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between http_client.c and http_reply.c.
 */
#ifndef HF_NET_HTTP_CLIENT_INTERNAL_H
#define HF_NET_HTTP_CLIENT_INTERNAL_H

#include <curl/curl.h>

#include "net/http_client.h"

void hf_http_reply_clear(struct hf_http_reply *reply);
/* One line of a header block as curl hands it over; a status line begins a new block. */
HF_MUST_CHECK enum hf_err hf_http_reply_add_line(struct hf_http_reply *reply, struct hf_str line,
                                                 struct hf_error *err);
/* The first line of a text body, cut; "" when there is none or it is not text. */
void hf_http_reply_first_line(const struct hf_http_reply *reply, char *out, size_t out_len);
/* Sets *err from a curl code (OK stays OK). text: curl's own words, may be "". */
enum hf_err hf_http_client_fail_curl(CURLcode code, const char *text, int os_error,
                                     struct hf_error *err);

#endif
