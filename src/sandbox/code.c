/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes and their names. Nothing here knows what a code means to anybody.
 */
#include "sandbox/code.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

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
    switch (code) {
#define HF_SANDBOX_CODE_CASE(name, number, text)                                                   \
    case number:                                                                                   \
        return text;
        HF_SANDBOX_CODE_TABLE(HF_SANDBOX_CODE_CASE)
    default:
        (void)snprintf(out, HF_SANDBOX_CODE_NAME_BYTES, "Location%d", (int)code);
        return out;
    }
}
