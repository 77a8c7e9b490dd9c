/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request targets: percent-encoding, splitting into segments and query parameters.
 *
 * A target is split first and decoded afterwards, so that "%2F" stays inside its segment.
 */
#ifndef HF_NET_URL_H
#define HF_NET_URL_H

#include "base/buf.h"

/* Appends text so that it is one path segment, or one query name or value: everything but A-Z a-z
 * 0-9 - . _ ~ becomes %XX. */
HF_MUST_CHECK enum hf_err hf_url_encode(struct hf_buf *out, struct hf_str text,
                                        struct hf_error *err);
/* Appends "?name=value" or "&name=value", both encoded; *first starts true and is cleared. */
HF_MUST_CHECK enum hf_err hf_url_add_parameter(struct hf_buf *out, bool *first, const char *name,
                                               struct hf_str value, struct hf_error *err);

#define HF_URL_TARGET_MAX_BYTES ((size_t)16 * 1024)
#define HF_URL_SEGMENTS_MAX 32
#define HF_URL_PARAMETERS_MAX 64

struct hf_url_parameter {
    const char *name;  /* decoded, NUL at the end, none within */
    const char *value; /* "" when there is no "=" */
};

/* A target taken apart. Initialise with {0}; the texts live until fini. */
struct hf_url_target {
    struct hf_str path;  /* raw, borrowed from the input */
    struct hf_str query; /* raw, without "?", borrowed from the input */
    const char
        *segments[HF_URL_SEGMENTS_MAX]; /* decoded; "/" has none; a trailing slash adds none */
    size_t segment_count;
    bool trailing_slash;
    struct hf_url_parameter parameters[HF_URL_PARAMETERS_MAX]; /* in their order, duplicates kept */
    size_t parameter_count;
    char *text; /* owned: what segments and parameters point into */
};

/*
 * INVALID, saying what: no leading "/", "%" without two digits, "%00", an empty segment within, the
 * segments "." and
 * ".."; LIMIT: too long, too many segments or parameters. In the query "+" is a space. Bytes above
 * 127 pass.
 */
HF_MUST_CHECK enum hf_err hf_url_target_parse(struct hf_url_target *target, struct hf_str raw,
                                              struct hf_error *err);
void hf_url_target_fini(struct hf_url_target *target);
HF_CLEANUP_DEFINE_VALUE(hf_url_target_fini, struct hf_url_target)
/* The value; NULL when absent. */
const char *hf_url_target_parameter(const struct hf_url_target *target, const char *name);
/* *value NULL when absent; INVALID "query parameter pageNum is given 2 times". */
HF_MUST_CHECK enum hf_err hf_url_target_once(const struct hf_url_target *target, const char *name,
                                             const char **value, struct hf_error *err);

#endif
