/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the passes of the periodic work take, for /metrics: what becomes slow as a catalog grows is seen before it hurts.
 */
#ifndef HF_SERVER_PASSES_H
#define HF_SERVER_PASSES_H

#include <stdint.h>

#include "base/thread.h"

enum hf_server_pass {
    HF_PASS_RESUME,
    HF_PASS_TAILS,
    HF_PASS_SCHEDULE,
    HF_PASS_JOBS,
    HF_PASS_ALERTS,
    HF_PASS_NOTICES,
};
#define HF_PASSES 6

struct hf_server_pass_times {
    uint64_t count, total_ms, last_ms;
};
struct hf_server_passes {
    struct hf_mutex mutex; /* guards: times */
    struct hf_server_pass_times times[HF_PASSES];
};

void hf_server_passes_init(struct hf_server_passes *passes);
void hf_server_passes_fini(struct hf_server_passes *passes);
/* One has ended that began then, by the monotonic clock. Any thread. */
void hf_server_pass_note(struct hf_server_passes *passes, enum hf_server_pass which,
                         uint64_t began_ms);
struct hf_server_pass_times hf_server_pass_times(struct hf_server_passes *passes,
                                                 enum hf_server_pass which);
/* "resume" */
const char *hf_server_pass_word(enum hf_server_pass which);

#endif
