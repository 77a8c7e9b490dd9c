/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds how much of the memory that requests and answers in flight take: one task's objects, one address's messages.
 * What all together may take is the HTTP server's; this keeps one of them from taking it all. Any thread.
 */
#ifndef HF_SERVER_SHARES_H
#define HF_SERVER_SHARES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define HF_SHARE_NAME_BYTES 80

struct hf_server_shares;

HF_MUST_CHECK enum hf_err hf_server_shares_create(struct hf_server_shares **out,
                                                  struct hf_error *err);
void hf_server_shares_destroy(struct hf_server_shares *shares);
HF_CLEANUP_DEFINE(hf_server_shares_destroy, struct hf_server_shares *)

/* False when whose would hold more than max_bytes; a first one is let in whatever its size. */
HF_MUST_CHECK bool hf_server_shares_enter(struct hf_server_shares *shares, const char *whose,
                                          uint64_t bytes, uint64_t max_bytes);
void hf_server_shares_leave(struct hf_server_shares *shares, const char *whose, uint64_t bytes);

#endif
