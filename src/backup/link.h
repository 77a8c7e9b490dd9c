/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a link is worth at a moment: the words of a delivery (restore.md 4.2), and whether its snapshot is needed.
 *
 *   READY --first byte--> IN_PROGRESS --last byte went out, counted--> READY, or MAX_DOWNLOADS_EXCEEDED
 *                         IN_PROGRESS --the connection or the server died--> INTERRUPTED, and may go on
 *                         IN_PROGRESS --the archive cannot be made--> FAILED, and may be tried again
 *   all of them --expires--> EXPIRED
 *
 * Knows no clock, no HTTP and no key.
 */
#ifndef HF_BACKUP_LINK_H
#define HF_BACKUP_LINK_H

#include "backup/records.h"

enum hf_link_status {
    HF_LINK_STATUS_READY,
    HF_LINK_STATUS_IN_PROGRESS,
    HF_LINK_STATUS_INTERRUPTED,
    HF_LINK_STATUS_FAILED,
    HF_LINK_STATUS_EXPIRED,
    HF_LINK_STATUS_MAX_DOWNLOADS_EXCEEDED,
};

/* transfers: downloads that this server sends at the moment. */
enum hf_link_status hf_link_status(const struct hf_link_record *link, uint64_t now_s,
                                   unsigned transfers);
/* "EXPIRED" */
const char *hf_link_status_word(enum hf_link_status status);
/* A download may begin. */
bool hf_link_is_open(const struct hf_link_record *link, uint64_t now_s);
/* Slices from its lease_from on, and its snapshot, are needed to bring to its point what was downloaded. */
bool hf_link_leases(const struct hf_link_record *link, uint64_t now_s);

/* Content-Range's first and last byte of one Range header over an archive of size_bytes (RFC 9110 14.2). */
enum hf_link_range {
    HF_LINK_RANGE_WHOLE, /* none, or one that is not understood and therefore ignored: status 200 */
    HF_LINK_RANGE_PART,  /* 206 */
    HF_LINK_RANGE_NONE,  /* 416 */
};
enum hf_link_range hf_link_parse_range(const char *header, uint64_t size_bytes, uint64_t *from,
                                       uint64_t *to);

#endif
