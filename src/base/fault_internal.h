/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For siblings that pass a fault point without an error to fill: the allocator, whose failures
 * carry no message.
 */
#ifndef HF_BASE_FAULT_INTERNAL_H
#define HF_BASE_FAULT_INTERNAL_H

#include "base/error.h"

/* Counts the pass; the code to fail with, or HF_ERR_OK; or dies. */
HF_MUST_CHECK enum hf_err hf_fault_pass(const char *point);

#endif
