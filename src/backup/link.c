/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pure decisions about a link.
 */
#include "backup/link.h"

bool hf_link_is_open(const struct hf_link_record *link, uint64_t now_s)
{
    return link->downloads < link->max_downloads && now_s < link->expires_s;
}

bool hf_link_leases(const struct hf_link_record *link, uint64_t now_s)
{
    return !hf_optime_is_none(&link->lease_from) && now_s < link->expires_s;
}

enum hf_link_status hf_link_status(const struct hf_link_record *link, uint64_t now_s,
                                   unsigned transfers)
{
    if (link->downloads >= link->max_downloads) {
        return HF_LINK_STATUS_MAX_DOWNLOADS_EXCEEDED;
    }
    if (transfers > 0) { /* one that began in time goes on to its end */
        return HF_LINK_STATUS_IN_PROGRESS;
    }
    if (now_s >= link->expires_s) {
        return HF_LINK_STATUS_EXPIRED;
    }
    switch (link->transfer) {
    case HF_LINK_IN_PROGRESS: /* of a server that died since */
    case HF_LINK_INTERRUPTED:
        return HF_LINK_STATUS_INTERRUPTED;
    case HF_LINK_FAILED:
        return HF_LINK_STATUS_FAILED;
    case HF_LINK_READY:
        break;
    }
    return HF_LINK_STATUS_READY;
}

const char *hf_link_status_word(enum hf_link_status status)
{
    static const char *const words[] = {"READY",  "IN_PROGRESS", "INTERRUPTED",
                                        "FAILED", "EXPIRED",     "MAX_DOWNLOADS_EXCEEDED"};

    return words[status];
}

/* The digits at *at; false for none, or a number beyond all. */
static bool take_number(const char **at, uint64_t *out)
{
    size_t len = strspn(*at, "0123456789");
    struct hf_str digits = {*at, len};

    *at += len;
    return len > 0 && hf_parse_u64(digits, out);
}

enum hf_link_range hf_link_parse_range(const char *header, uint64_t size_bytes, uint64_t *from,
                                       uint64_t *to)
{
    static const char unit[] = "bytes=";
    uint64_t first = 0, last = UINT64_MAX;

    *from = 0;
    *to = size_bytes;
    if (header == NULL || strncmp(header, unit, sizeof unit - 1) != 0) {
        return HF_LINK_RANGE_WHOLE;
    }
    const char *at = header + sizeof unit - 1;
    bool has_first = *at != '-';
    if ((has_first && !take_number(&at, &first)) || *at++ != '-') {
        return HF_LINK_RANGE_WHOLE;
    }
    bool has_last = *at != '\0';
    if ((has_last && !take_number(&at, &last)) || *at != '\0' || (!has_first && !has_last) ||
        (has_first && last < first)) {
        return HF_LINK_RANGE_WHOLE; /* several ranges too: the whole is a right answer to them */
    }
    if (!has_first) { /* the last so many bytes */
        first = last < size_bytes ? size_bytes - last : 0;
        if (last == 0) {
            return HF_LINK_RANGE_NONE;
        }
        last = UINT64_MAX;
    }
    if (first >= size_bytes) {
        return HF_LINK_RANGE_NONE;
    }
    *from = first;
    *to = last < size_bytes - 1 ? last + 1 : size_bytes;
    return HF_LINK_RANGE_PART;
}
