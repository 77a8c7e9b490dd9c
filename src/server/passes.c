/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of times behind one mutex. Must not know what a pass does.
 */
#include "server/passes.h"

#include "os/clock.h"

static const char *const words[HF_PASSES] = {"resume", "tails",  "schedule",
                                             "jobs",   "alerts", "notices"};

void hf_server_passes_init(struct hf_server_passes *passes)
{
    *passes = (struct hf_server_passes){.times = {{0}}};
    hf_mutex_init(&passes->mutex);
}

void hf_server_passes_fini(struct hf_server_passes *passes)
{
    hf_mutex_fini(&passes->mutex);
}

void hf_server_pass_note(struct hf_server_passes *passes, enum hf_server_pass which,
                         uint64_t began_ms)
{
    uint64_t took_ms = hf_clock_mono_ms() - began_ms;

    HF_LOCKED(&passes->mutex);
    struct hf_server_pass_times *times = &passes->times[which];
    times->count++;
    times->total_ms += took_ms;
    times->last_ms = took_ms;
}

struct hf_server_pass_times hf_server_pass_times(struct hf_server_passes *passes,
                                                 enum hf_server_pass which)
{
    HF_LOCKED(&passes->mutex);
    return passes->times[which];
}

const char *hf_server_pass_word(enum hf_server_pass which)
{
    return words[which];
}
