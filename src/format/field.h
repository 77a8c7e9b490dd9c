/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of JSON objects as values of this room: texts with a limit, ids, optimes, binary in base64. For the files of
 * this room; knows no message.
 *
 * Each get leaves *out as it was when the member is missing, and fails with INVALID, naming it, when it is of another
 * type, too large or malformed.
 */
#ifndef HF_FORMAT_FIELD_H
#define HF_FORMAT_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/json.h"
#include "format/ids.h"
#include "format/manifest.h"

/* capacity counts the NUL. */
HF_MUST_CHECK enum hf_err hf_field_text(const struct hf_json *json, const char *key, char *out,
                                        size_t capacity, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_field_u64(const struct hf_json *json, const char *key, uint64_t max,
                                       uint64_t *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_field_u32(const struct hf_json *json, const char *key, uint32_t *out,
                                       struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_field_bool(const struct hf_json *json, const char *key, bool *out,
                                        struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_field_id(const struct hf_json *json, const char *key,
                                      struct hf_id *out, struct hf_error *err);
/* The member must be there. */
HF_MUST_CHECK enum hf_err hf_field_need_id(const struct hf_json *json, const char *key,
                                           struct hf_id *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_field_optime(const struct hf_json *json, const char *key,
                                          struct hf_optime *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_field_adopted(const struct hf_json *json, const char *key,
                                           struct hf_adopted *out, size_t *count,
                                           struct hf_error *err);
/* Base64 text of at most max bytes; out is cleared first. */
HF_MUST_CHECK enum hf_err hf_field_binary(const struct hf_json *json, const char *key,
                                          struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_field_root(const struct hf_json *json, const char *key,
                                        struct hf_tree_root *out, struct hf_error *err);

/* A none id and a none optime are left out. */
void hf_field_set_id(struct hf_json *json, const char *key, const struct hf_id *id);
void hf_field_set_optime(struct hf_json *json, const char *key, const struct hf_optime *optime);
void hf_field_set_text(struct hf_json *json, const char *key,
                       const char *text); /* "" is left out */
void hf_field_set_adopted(struct hf_json *json, const char *key, const struct hf_adopted *adopted,
                          size_t count);
HF_MUST_CHECK enum hf_err hf_field_set_binary(struct hf_json *json, const char *key,
                                              struct hf_bytes bytes, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_field_set_root(struct hf_json *json, const char *key,
                                            const struct hf_tree_root *root, struct hf_error *err);

#endif
