/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each update operator makes of an old value. Shared with update.c only.
 */
#ifndef HF_SANDBOX_UPDATE_OPS_H
#define HF_SANDBOX_UPDATE_OPS_H

#include "sandbox/code.h"
#include "sandbox/value.h"

enum hf_sandbox_update_op {
    HF_SANDBOX_UPDATE_SET,
    HF_SANDBOX_UPDATE_SET_ON_INSERT,
    HF_SANDBOX_UPDATE_UNSET,
    HF_SANDBOX_UPDATE_INC,
    HF_SANDBOX_UPDATE_MUL,
    HF_SANDBOX_UPDATE_MIN,
    HF_SANDBOX_UPDATE_MAX,
    HF_SANDBOX_UPDATE_PUSH,
    HF_SANDBOX_UPDATE_ADD_TO_SET,
    HF_SANDBOX_UPDATE_PULL,
    HF_SANDBOX_UPDATE_PULL_ALL,
    HF_SANDBOX_UPDATE_POP,
    HF_SANDBOX_UPDATE_CURRENT_DATE,
    HF_SANDBOX_UPDATE_RENAME_TO,
};

/* "$set"; false for what is not an operator. */
bool hf_sandbox_update_op_named(const char *name, enum hf_sandbox_update_op *out);

struct hf_sandbox_update_step {
    enum hf_sandbox_update_op op;
    const char *path;             /* for messages */
    const bson_value_t *old;      /* missing where there is nothing */
    const bson_value_t *argument; /* of the operator */
    int64_t now_ms;
};

struct hf_sandbox_update_result {
    bson_value_t value; /* missing: the field goes */
    bool owned;         /* value is the caller's to destroy */
    bool unchanged;     /* nothing is to be done */
    bool appended;      /* an array that only grew at its end */
};

HF_MUST_CHECK int32_t hf_sandbox_update_compute(const struct hf_sandbox_update_step *step,
                                                struct hf_sandbox_update_result *out,
                                                struct hf_sandbox_refusal *no);

/* a + b or a * b with the server's rules for types; also for $sum and $add. TYPE_MISMATCH names what is no number. */
HF_MUST_CHECK int32_t hf_sandbox_arithmetic(char operation, const bson_value_t *a,
                                            const bson_value_t *b, bson_value_t *out,
                                            struct hf_sandbox_refusal *no);

#endif
