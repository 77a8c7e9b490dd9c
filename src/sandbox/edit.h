/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A document with one path changed: what updates are made of.
 */
#ifndef HF_SANDBOX_EDIT_H
#define HF_SANDBOX_EDIT_H

#include "sandbox/code.h"
#include "sandbox/value.h"

/*
 * doc becomes doc with `path` set to value (made where it is missing, arrays padded with null), or removed when value
 * is missing (an array element becomes null). PATH_NOT_VIABLE when a scalar stands in the way.
 */
HF_MUST_CHECK int32_t hf_sandbox_edit(bson_t **doc, const char *path, const bson_value_t *value,
                                      struct hf_sandbox_refusal *no);

#endif
