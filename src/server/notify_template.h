/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A webhook's body by a template of the operator's: text with {{name}} where a member of the usual body is to stand. Knows no
 * receiver.
 */
#ifndef HF_SERVER_NOTIFY_TEMPLATE_H
#define HF_SERVER_NOTIFY_TEMPLATE_H

#include "base/buf.h"
#include "codec/json.h"

#define HF_NOTICE_TEMPLATE_MAX_BYTES ((size_t)64 * 1024)

/* The names that may stand there; NULL at the end. One that an alert does not have (a set's, of a disk) is empty text. */
extern const char *const hf_notice_names[];

/*
 * Appends the template with the values in their places, escaped as in a JSON string when as_json, and then the whole must be
 * JSON. INVALID for a name that is none, braces that do not close, a result that is no JSON.
 */
HF_MUST_CHECK enum hf_err hf_notice_render(struct hf_str template, const struct hf_json *body,
                                           bool as_json, struct hf_buf *out, struct hf_error *err);

#endif
