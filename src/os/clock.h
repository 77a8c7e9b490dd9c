/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks and random bytes of the system.
 */
#ifndef HF_OS_CLOCK_H
#define HF_OS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* Milliseconds since 1970, UTC. */
uint64_t hf_clock_wall_ms(void);
/* Milliseconds on CLOCK_BOOTTIME: never goes back, counts sleep. For deadlines and fencing (store-format 5). */
uint64_t hf_clock_mono_ms(void);
/* "2026-11-25T03:31:17Z"; out holds HF_TIME_TEXT_BYTES. */
#define HF_TIME_TEXT_BYTES 32
void hf_time_format(uint64_t seconds, char *out);
/* Reads ISO 8601 as rest-api.md 1.6 says for "dates in" (date only, minutes, offsets; no zone is UTC). False if it is not. */
HF_MUST_CHECK bool hf_time_parse(struct hf_str text, uint64_t *seconds);
/* Random bytes of the kernel, good for keys. */
void hf_random_bytes(void *out, size_t len);

#endif
