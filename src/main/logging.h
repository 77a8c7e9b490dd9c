/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a long-lived process: where it goes, in which form, and its file opened anew when the system has rotated it.
 */
#ifndef HF_MAIN_LOGGING_H
#define HF_MAIN_LOGGING_H

#include <stdio.h>

#include "base/error.h"
#include "base/log.h"

#define HF_LOG_OPTIONS(OPT)                                                                        \
    OPT(log_level, TEXT, "info", 0, 0, OPT_RELOAD,                                                 \
        "Lowest level that is logged: debug, info, warn or error")                                 \
    OPT(log_format, TEXT, "text", 0, 0, OPT_NONE,                                                  \
        "text: a line for people and logfmt readers; json: one JSON object a line")                \
    OPT(log_file, PATH, "", 0, 4096, OPT_NONE,                                                     \
        "Log into this file, which is opened anew at SIGHUP; otherwise to standard error")

struct hf_logging {
    struct hf_log *log; /* owned */
    FILE *file;         /* owned; NULL: standard error */
    char *path;         /* owned; NULL: the same */
};
struct hf_logging_options {
    const char *level, *format, *file; /* as the options say */
};
HF_MUST_CHECK enum hf_err hf_logging_open(const struct hf_logging_options *options,
                                          struct hf_logging *out, struct hf_error *err);
void hf_logging_close(struct hf_logging *logging);
HF_CLEANUP_DEFINE_VALUE(hf_logging_close, struct hf_logging)
/* Lines go on into the old file until the new one is open, and stay there when that fails. Any thread. */
HF_MUST_CHECK enum hf_err hf_logging_reopen(struct hf_logging *logging, struct hf_error *err);
/* The level's word; INVALID names what is allowed. */
HF_MUST_CHECK enum hf_err hf_logging_level(const char *word, enum hf_log_level *out,
                                           struct hf_error *err);

#endif
