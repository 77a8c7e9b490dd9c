/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes and their names. Nothing here knows what a code means to anybody.
 */
#include "sandbox/code.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct code_row {
    int32_t code;
    const char *name;
};

static const struct code_row code_rows[] = {
#define HF_SANDBOX_CODE_ROW(name, number, text) {number, text},
    HF_SANDBOX_CODE_TABLE(HF_SANDBOX_CODE_ROW)
#undef HF_SANDBOX_CODE_ROW
};

int32_t hf_sandbox_refuse(struct hf_sandbox_refusal *out, int32_t code, const char *format, ...)
{
    va_list args;

    out->code = code;
    va_start(args, format);
    (void)vsnprintf(out->message, sizeof out->message, format, args);
    va_end(args);
    return code;
}

const char *hf_sandbox_code_name(int32_t code, char out[HF_SANDBOX_CODE_NAME_BYTES])
{
    for (size_t i = 0; i < HF_ARRAY_LEN(code_rows); i++) {
        if (code_rows[i].code == code) {
            return code_rows[i].name;
        }
    }
    (void)snprintf(out, HF_SANDBOX_CODE_NAME_BYTES, "Location%d", (int)code);
    return out;
}
