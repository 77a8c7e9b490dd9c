/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all messages share, for the files that encode and decode them.
 */
#ifndef HF_FORMAT_MESSAGE_INTERNAL_H
#define HF_FORMAT_MESSAGE_INTERNAL_H

#include "format/message.h"

/* An object with the protocol's version. NULL on no memory. */
struct hf_json *hf_msg_begin(void);
HF_MUST_CHECK enum hf_err hf_msg_end(struct hf_json *json, struct hf_buf *out,
                                     struct hf_error *err);
/* Within the limits, an object, of this protocol; what names the message. */
HF_MUST_CHECK enum hf_err hf_msg_open(struct hf_str in, const char *what, struct hf_json **out,
                                      struct hf_error *err);

/* The content of a tail task. NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_task_tail_to_json(const struct hf_task_tail *tail,
                                                   struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_task_tail_from_json(const struct hf_json *json,
                                                 struct hf_task_tail *out, struct hf_error *err);

/* A step of a restore onto a set. NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_task_target_to_json(const struct hf_task_target *target,
                                                     struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_task_target_from_json(const struct hf_json *json,
                                                   struct hf_task_target *out,
                                                   struct hf_error *err);
void hf_task_target_fini(struct hf_task_target *target);

/* The report of a target's step, as the member "report" of its finish. */
HF_MUST_CHECK enum hf_err hf_msg_report_to_json(const struct hf_msg_finish *finish,
                                                struct hf_json *json, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_msg_report_from_json(const struct hf_json *json,
                                                  struct hf_msg_finish *out, struct hf_error *err);

#endif
