/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a running server knows of links: the secret that their keys are made of, and the downloads that it sends just now.
 *
 * A key is HMAC-SHA-256 of the link's id and nonce under the secret. The secret lies in a file beside the catalog
 * (link.key), so the catalog alone opens no link, and the address of a link can be shown for as long as it lives. A
 * lost file is made anew: links of before are dead then, nothing else is.
 */
#ifndef HF_SERVER_LINKS_H
#define HF_SERVER_LINKS_H

#include "backup/records.h"
#include "base/error.h"

#define HF_LINK_KEY_BYTES 65 /* 64 digits and NUL */

struct hf_server_links;
struct hf_server_transfer;

/* Reads the secret, or makes it, durably. */
HF_MUST_CHECK enum hf_err hf_server_links_create(const char *key_path, struct hf_server_links **out,
                                                 struct hf_error *err);
void hf_server_links_destroy(struct hf_server_links *links);

/* All below: any thread. */

void hf_server_links_key(struct hf_server_links *links, const struct hf_link_record *link,
                         char out[HF_LINK_KEY_BYTES]);
/* In constant time for a key of the right length. */
HF_MUST_CHECK bool hf_server_links_key_is(struct hf_server_links *links,
                                          const struct hf_link_record *link, const char *key);

/* A download begins; NULL on no memory. */
HF_MUST_CHECK struct hf_server_transfer *hf_server_links_begin(struct hf_server_links *links,
                                                               const struct hf_id *link);
void hf_server_links_end(struct hf_server_links *links, struct hf_server_transfer *transfer);
/* Downloads of it under way; NULL knows of none. */
unsigned hf_server_links_under_way(struct hf_server_links *links, const struct hf_id *link);
/* They shall stop. */
void hf_server_links_cut(struct hf_server_links *links, const struct hf_id *link);
HF_MUST_CHECK bool hf_server_links_is_cut(struct hf_server_links *links,
                                          const struct hf_server_transfer *transfer);
/*
 * Waits until no other download of the link is between its last byte and being counted, and keeps others from it until
 * this one ends: so that of two at the end at once no more than are allowed come to it.
 */
void hf_server_links_last_byte(struct hf_server_links *links, struct hf_server_transfer *transfer);

#endif
