/* SPDX-License-Identifier: Apache-2.0 */
/* What a long test is told about its run: a seed, how much of it, and where its files may lie. */
#ifndef HF_TESTS_RUN_H
#define HF_TESTS_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "os/clock.h"
#include "os/fs.h"

/* The number in an environment variable, or fallback. */
static inline uint64_t run_setting(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    uint64_t value = fallback;
    if (text != NULL && !hf_parse_u64(hf_str_of(text), &value)) {
        fail_msg("%s=%s is not a number", name, text);
    }
    return value;
}

/* Whether all is asked for (`make soak`), and not a share. */
static inline bool run_is_soak(void)
{
    const char *soak = getenv("HOLDFAST_SOAK");
    return soak != NULL && soak[0] != '\0';
}

/*
 * Which share of the places a run takes: HF_TEST_SEED, another one each time in a soak, and else always the same, so that
 * what passed here passes elsewhere. Printed by who uses it.
 */
static inline uint64_t run_seed(void)
{
    return run_setting("HF_TEST_SEED", run_is_soak() ? hf_clock_wall_ms() / 1000 : 1);
}

/* splitmix64: the same numbers everywhere for a seed. */
static inline uint64_t run_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* For a test that is not about durability: its files lie in memory where that has so much room. */
static inline void run_in_memory(uint64_t room_bytes)
{
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    struct hf_error ignored;
    if (getenv("TMPDIR") == NULL &&
        hf_fs_space("/dev/shm", &free_bytes, &total_bytes, &ignored) == HF_ERR_OK &&
        free_bytes > room_bytes) {
        (void)setenv("TMPDIR", "/dev/shm", 1);
    }
}

#endif
