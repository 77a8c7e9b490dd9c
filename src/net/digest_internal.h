/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of an Authorization header of the Digest scheme, for digest.c alone.
 */
#ifndef HF_NET_DIGEST_INTERNAL_H
#define HF_NET_DIGEST_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

/* A target in it may be as long as targets get; the rest is short. */
#define HF_DIGEST_HEADER_MAX_BYTES ((size_t)20 * 1024)

/* NULL where the header does not say; all point into text. */
struct hf_digest_fields {
    const char *username, *realm, *nonce, *uri, *response, *algorithm, *cnonce, *nc, *qop;
    char *text; /* owned */
};

enum hf_digest_parsed { HF_DIGEST_PARSED, HF_DIGEST_OTHER_SCHEME, HF_DIGEST_BROKEN };

/* On anything but PARSED nothing is owned and *why says what is wrong. */
enum hf_digest_parsed hf_digest_fields_parse(const char *header, struct hf_digest_fields *fields,
                                             const char **why);
void hf_digest_fields_fini(struct hf_digest_fields *fields);

#endif
