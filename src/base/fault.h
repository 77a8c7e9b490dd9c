/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault points: named places where a promise could break. A test arms one with an error, or a process is told by
 * HOLDFAST_FAULTS to fail or die there. Gone where HF_FAULTS is not defined (release builds).
 */
#ifndef HF_BASE_FAULT_H
#define HF_BASE_FAULT_H

#include <stdint.h>

#include "base/error.h"

/* In a function returning enum hf_err: `if (HF_FAULT("store.fs.put", err) != HF_ERR_OK) return err->code;` */
#ifdef HF_FAULTS
#define HF_FAULT(point, err) hf_fault_hit(point, err)
#else
#define HF_FAULT(point, err) ((void)(err), (enum hf_err)HF_ERR_OK)
#endif

/* Counts the pass; when armed sets *err ("injected fault at <point>") and returns its code, or dies (SIGKILL). */
HF_MUST_CHECK enum hf_err hf_fault_hit(const char *point, struct hf_error *err);

/* The next pass of point fails with code. */
void hf_fault_arm(const char *point, enum hf_err code);
/* The nth pass from now (1 is the next); times passes in a row fail, 0 for all later ones. */
void hf_fault_arm_nth(const char *point, enum hf_err code, uint64_t nth, uint64_t times);
/* The nth pass kills the process with SIGKILL. */
void hf_fault_arm_death(const char *point, uint64_t nth);
void hf_fault_disarm_all(void);
/* How often point was passed since disarm_all; over all points but base.alloc when NULL. */
uint64_t hf_fault_passes(const char *point);
/*
 * Parses "point=NOT_FOUND;point:3=die;*:17=die" (the 17th pass of any point but base.alloc, whose thousands of passes
 * would drown the others); a program's main hands it getenv("HOLDFAST_FAULTS"). NULL arms nothing. UNSUPPORTED for a
 * text in a build without fault points.
 */
HF_MUST_CHECK enum hf_err hf_fault_parse(const char *text, struct hf_error *err);

#endif
