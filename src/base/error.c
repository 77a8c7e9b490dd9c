/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: the table behind the classes, and messages built inside the caller's struct. Texts are
 * formatted into a local buffer first, so that an argument may be the very message that is about to
 * be replaced.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct error_class {
    const char *name;
    const char *meaning;
    bool retry;
    int http;
    int exit;
};

#define HINT "; hint: "

static const struct error_class error_classes[] = {
#define ERROR_CLASS(name_, retry_, http_, exit_, what_)                                            \
    [HF_ERR_##name_] = {                                                                           \
        .name = #name_, .meaning = (what_), .retry = (retry_), .http = (http_), .exit = (exit_)},
    HF_ERR_TABLE(ERROR_CLASS)
#undef ERROR_CLASS
};

static const struct error_class *class_of(enum hf_err code)
{
    size_t index = (size_t)code;
    return &error_classes[index < HF_ARRAY_LEN(error_classes) ? index : HF_ERR_INTERNAL];
}

/*
 * Formats into out. A text that does not fit ends in "..." at a character boundary, so that nobody
 * takes the part for the whole.
 */
static size_t HF_PRINTF(3, 0)
    format_text(char *out, size_t out_len, const char *format, va_list arguments)
{
    int wanted = vsnprintf(out, out_len, format, arguments);
    if (wanted < 0) {
        out[0] = '\0';
        return 0;
    }
    if ((size_t)wanted < out_len) {
        return (size_t)wanted;
    }
    size_t cut = out_len - sizeof "...";
    while (cut > 0 && ((unsigned char)out[cut] & 0xC0) == 0x80) {
        cut--;
    }
    memcpy(out + cut, "...", sizeof "...");
    return cut + 3;
}

enum hf_err hf_fail(struct hf_error *err, enum hf_err code, const char *format, ...)
{
    char text[HF_ERROR_MESSAGE_BYTES];
    va_list arguments;

    HF_ASSERT(code != HF_ERR_OK);
    va_start(arguments, format);
    size_t len = format_text(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(err->message, text, len + 1);
    err->code = code;
    return code;
}

static enum hf_err code_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOENT:
        return HF_ERR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return HF_ERR_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return HF_ERR_DENIED;
    case EEXIST:
        return HF_ERR_EXISTS;
    case ENOMEM:
        return HF_ERR_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return HF_ERR_BUSY;
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return HF_ERR_UNAVAILABLE;
    default:
        return HF_ERR_IO;
    }
}

enum hf_err hf_fail_errno(struct hf_error *err, int errno_value, const char *format, ...)
{
    char cause[96];
    char text[HF_ERROR_MESSAGE_BYTES];
    va_list arguments;

    const char *description = strerrordesc_np(errno_value);
    int cause_len = description != NULL
                        ? snprintf(cause, sizeof cause, ": %s", description)
                        : snprintf(cause, sizeof cause, ": error %d of the system", errno_value);
    HF_ASSERT(cause_len > 0 && (size_t)cause_len < sizeof cause);
    va_start(arguments, format);
    /* The cause always fits: a long description of the deed is cut for it. */
    size_t len = format_text(text, sizeof text - (size_t)cause_len, format, arguments);
    va_end(arguments);
    memcpy(text + len, cause, (size_t)cause_len + 1);
    memcpy(err->message, text, len + (size_t)cause_len + 1);
    err->code = code_of_errno(errno_value);
    if (err->code == HF_ERR_BUSY) {
        (void)hf_hint(err, "raise the limit of open files (LimitNOFILE, ulimit -n)");
    }
    return err->code;
}

enum hf_err hf_wrap(struct hf_error *err, const char *format, ...)
{
    char frame[HF_ERROR_MESSAGE_BYTES];
    va_list arguments;

    HF_ASSERT(err->code != HF_ERR_OK);
    va_start(arguments, format);
    int frame_len = vsnprintf(frame, sizeof frame, format, arguments);
    va_end(arguments);
    size_t old_len = strnlen(err->message, sizeof err->message - 1);
    if (frame_len < 0 || (size_t)frame_len + 2 + old_len >= sizeof err->message) {
        return err->code;
    }
    memmove(err->message + frame_len + 2, err->message, old_len);
    memcpy(err->message, frame, (size_t)frame_len);
    memcpy(err->message + frame_len, ": ", 2);
    err->message[(size_t)frame_len + 2 + old_len] = '\0';
    return err->code;
}

enum hf_err hf_hint(struct hf_error *err, const char *text)
{
    HF_ASSERT(err->code != HF_ERR_OK);
    size_t len = strnlen(err->message, sizeof err->message - 1);
    size_t hint_len = strlen(HINT) + strlen(text);
    if (strstr(err->message, HINT) == NULL && len + hint_len < sizeof err->message) {
        (void)snprintf(err->message + len, sizeof err->message - len, HINT "%s", text);
    }
    return err->code;
}

void hf_error_clear(struct hf_error *err)
{
    err->code = HF_ERR_OK;
    err->message[0] = '\0';
}

const char *hf_err_name(enum hf_err code)
{
    return class_of(code)->name;
}

const char *hf_err_meaning(enum hf_err code)
{
    return class_of(code)->meaning;
}

bool hf_err_retry(enum hf_err code)
{
    return class_of(code)->retry;
}

int hf_err_http(enum hf_err code)
{
    return class_of(code)->http;
}

int hf_err_exit(enum hf_err code)
{
    return class_of(code)->exit;
}

enum hf_err hf_err_from_name(const char *name)
{
    for (size_t i = 0; name != NULL && i < HF_ARRAY_LEN(error_classes); i++) {
        if (strcmp(error_classes[i].name, name) == 0) {
            return (enum hf_err)i;
        }
    }
    return HF_ERR_INTERNAL;
}
