/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress of a long work, the same everywhere: current file, bytes and files done and to do, rate, time left.
 * The worker adds, anyone reads; the reader brings the clock.
 */
#ifndef HF_BASE_PROGRESS_H
#define HF_BASE_PROGRESS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/thread.h"

#define HF_PROGRESS_NAME_BYTES 512
/* The phase in which bytes_new counts what differed from files that lay there. */
#define HF_PROGRESS_ONTO "restore onto"

struct hf_progress {
    atomic_uint_fast64_t bytes_total;
    atomic_uint_fast64_t bytes_done;
    atomic_uint_fast64_t files_total;
    atomic_uint_fast64_t files_done;
    atomic_uint_fast64_t bytes_new;    /* not in the parent; of a restore: written */
    atomic_uint_fast64_t bytes_stored; /* after compression, sent */
    atomic_uint_fast64_t started_ms;   /* monotonic; 0 before the start */
    struct hf_mutex mutex;             /* guards: phase, current */
    char phase[32];
    char current[HF_PROGRESS_NAME_BYTES];
};

/* What a reader sees; plain value, also what goes over the wire and onto the screen. */
struct hf_progress_view {
    uint64_t bytes_total, bytes_done, files_total, files_done, bytes_new, bytes_stored;
    uint64_t elapsed_ms;
    uint64_t rate_bytes_s; /* over the whole time */
    uint64_t left_s;       /* UINT64_MAX when unknown */
    char phase[32];
    char current[HF_PROGRESS_NAME_BYTES];
};

void hf_progress_init(struct hf_progress *progress);
void hf_progress_fini(struct hf_progress *progress);
HF_CLEANUP_DEFINE_VALUE(hf_progress_fini, struct hf_progress)
/* All of these accept a NULL progress and do nothing. */
void hf_progress_start(struct hf_progress *progress, uint64_t now_ms);
void hf_progress_phase(struct hf_progress *progress, const char *phase);
void hf_progress_file(struct hf_progress *progress, const char *name);
void hf_progress_add_done(struct hf_progress *progress, uint64_t bytes);
void hf_progress_view(struct hf_progress *progress, uint64_t now_ms, struct hf_progress_view *out);
/* "  42.0 %  1.2 GiB of 2.9 GiB  310 MiB/s  6 s left  collection-7.wt"; out_len at least 128. */
void hf_progress_format(const struct hf_progress_view *view, char *out, size_t out_len);
/* "1.2 GiB"; out_len at least 16. */
void hf_format_bytes(uint64_t bytes, char *out, size_t out_len);

#endif
