/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of this host that are not our children: how one was started, whether it still runs, and starting it again so
 * that it outlives us. It must not know what they are.
 */
#ifndef HF_OS_PROGRAM_H
#define HF_OS_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define HF_PROGRAM_ARGUMENTS_MAX 1024

struct hf_program {
    char *path;      /* owned; of the executable */
    char **argv;     /* owned, NULL at the end */
    char *directory; /* owned; it runs in */
    char *
        output; /* owned; the file that its standard output goes to; NULL: none that can be named */
    uint32_t user, group;
    uint64_t pid,
        started; /* of the running one: pid and `started` tell it from a later one with its number */
};
void hf_program_fini(struct hf_program *program);
HF_CLEANUP_DEFINE_VALUE(hf_program_fini, struct hf_program)

/* NOT_FOUND when there is no such process; DENIED when we may not look at it (which takes its user, or root). */
HF_MUST_CHECK enum hf_err hf_program_look(uint64_t pid, struct hf_program *out,
                                          struct hf_error *err);
/* False when it ended, also when nobody has collected it yet, or its number was given to another one. */
bool hf_program_runs(uint64_t pid, uint64_t started);
/* DENIED, or NOT_FOUND when it is gone. */
HF_MUST_CHECK enum hf_err hf_program_signal(uint64_t pid, uint64_t started, int signal_number,
                                            struct hf_error *err);
/*
 * In a session of its own, as its user (which takes root, when it is another one), with our environment less what begins
 * with HOLDFAST_. Output is appended to `output`, or goes nowhere. Returns when it runs, or says why not; its pid is not
 * known here, since it may go to the background by itself.
 */
HF_MUST_CHECK enum hf_err hf_program_start(const struct hf_program *program, struct hf_error *err);

#endif
