/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured log. An event name is an interface, listed in docs/user/events.md. Never document contents, never
 * secrets, nothing once per block.
 */
#ifndef HF_BASE_LOG_H
#define HF_BASE_LOG_H

#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"

enum hf_log_level { HF_LOG_DEBUG, HF_LOG_INFO, HF_LOG_WARN, HF_LOG_ERROR };

enum hf_log_field_type { HF_LOG_END, HF_LOG_TEXT, HF_LOG_NUMBER };

struct hf_log_field {
    enum hf_log_field_type type;
    const char *name;
    const char *text; /* borrowed for the call; NULL prints as "" */
    uint64_t number;
};

#define HF_STR(field_name, field_text)                                                             \
    ((struct hf_log_field){.type = HF_LOG_TEXT, .name = (field_name), .text = (field_text)})
#define HF_U64(field_name, field_number)                                                           \
    ((struct hf_log_field){.type = HF_LOG_NUMBER, .name = (field_name), .number = (field_number)})

struct hf_log;

/* Lines go to stream (borrowed, outlives the log): "<UTC time> <level> <event> name=value ...", or one JSON object a
 * line when json. NULL on no memory. Any thread may log; one write(2) a line. */
HF_MUST_CHECK struct hf_log *hf_log_create(FILE *stream, enum hf_log_level lowest, int json);
/* Any thread. */
void hf_log_set_level(struct hf_log *log, enum hf_log_level lowest);
void hf_log_destroy(struct hf_log *log);
HF_CLEANUP_DEFINE(hf_log_destroy, struct hf_log *)

/* fields ends with type HF_LOG_END. A NULL log swallows everything. */
void hf_log_event(struct hf_log *log, enum hf_log_level level, const char *event,
                  const struct hf_log_field *fields);

#define HF_LOG_AT(log, level, event, ...)                                                          \
    hf_log_event(log, level, event,                                                                \
                 (const struct hf_log_field[]){__VA_ARGS__ __VA_OPT__(, ){.type = HF_LOG_END}})
#define hf_log_debug(log, event, ...) HF_LOG_AT(log, HF_LOG_DEBUG, event __VA_OPT__(, ) __VA_ARGS__)
#define hf_log_info(log, event, ...) HF_LOG_AT(log, HF_LOG_INFO, event __VA_OPT__(, ) __VA_ARGS__)
#define hf_log_warn(log, event, ...) HF_LOG_AT(log, HF_LOG_WARN, event __VA_OPT__(, ) __VA_ARGS__)
#define hf_log_error(log, event, ...) HF_LOG_AT(log, HF_LOG_ERROR, event __VA_OPT__(, ) __VA_ARGS__)

#endif
