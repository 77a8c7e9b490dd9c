/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progress: atomics that workers add to, a consistent enough view for whoever looks, and the one
 * way to show it. It must not know what is being done.
 */
#include "base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void hf_progress_init(struct hf_progress *progress)
{
    atomic_init(&progress->bytes_total, 0);
    atomic_init(&progress->bytes_done, 0);
    atomic_init(&progress->files_total, 0);
    atomic_init(&progress->files_done, 0);
    atomic_init(&progress->bytes_new, 0);
    atomic_init(&progress->bytes_stored, 0);
    atomic_init(&progress->started_ms, 0);
    hf_mutex_init(&progress->mutex);
    progress->phase[0] = '\0';
    progress->current[0] = '\0';
}

void hf_progress_fini(struct hf_progress *progress)
{
    hf_mutex_fini(&progress->mutex);
}

void hf_progress_start(struct hf_progress *progress, uint64_t now_ms)
{
    if (progress != NULL) {
        /* 0 means "not started"; a clock that begins at 0 loses a millisecond. */
        atomic_store(&progress->started_ms, now_ms == 0 ? 1 : now_ms);
    }
}

/* Copies as much as fits, never half a UTF-8 character. */
static void copy_cut(char *out, size_t out_len, const char *text)
{
    size_t len = strnlen(text, out_len);
    if (len >= out_len) {
        len = out_len - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80) {
            len--;
        }
    }
    memcpy(out, text, len);
    out[len] = '\0';
}

void hf_progress_phase(struct hf_progress *progress, const char *phase)
{
    if (progress != NULL) {
        HF_LOCKED(&progress->mutex);
        copy_cut(progress->phase, sizeof progress->phase, phase);
    }
}

void hf_progress_file(struct hf_progress *progress, const char *name)
{
    if (progress != NULL) {
        HF_LOCKED(&progress->mutex);
        copy_cut(progress->current, sizeof progress->current, name);
    }
}

void hf_progress_add_done(struct hf_progress *progress, uint64_t bytes)
{
    if (progress != NULL) {
        atomic_fetch_add_explicit(&progress->bytes_done, bytes, memory_order_relaxed);
    }
}

static void rate_and_left(struct hf_progress_view *view)
{
    view->left_s = UINT64_MAX;
    view->rate_bytes_s = 0;
    if (view->elapsed_ms == 0) {
        return;
    }
    if (view->bytes_done <= UINT64_MAX / 1000) {
        view->rate_bytes_s = view->bytes_done * 1000 / view->elapsed_ms;
    } else {
        view->rate_bytes_s = view->bytes_done / view->elapsed_ms * 1000;
    }
    if (view->rate_bytes_s > 0 && view->bytes_total > 0) {
        uint64_t to_do =
            view->bytes_total > view->bytes_done ? view->bytes_total - view->bytes_done : 0;
        view->left_s = to_do / view->rate_bytes_s + (to_do % view->rate_bytes_s != 0);
    }
}

void hf_progress_view(struct hf_progress *progress, uint64_t now_ms, struct hf_progress_view *out)
{
    memset(out, 0, sizeof *out);
    out->left_s = UINT64_MAX;
    if (progress == NULL) {
        return;
    }
    uint64_t started_ms = atomic_load(&progress->started_ms);
    out->bytes_total = atomic_load(&progress->bytes_total);
    out->bytes_done = atomic_load(&progress->bytes_done);
    out->files_total = atomic_load(&progress->files_total);
    out->files_done = atomic_load(&progress->files_done);
    out->bytes_new = atomic_load(&progress->bytes_new);
    out->bytes_stored = atomic_load(&progress->bytes_stored);
    out->elapsed_ms = started_ms == 0 || now_ms < started_ms ? 0 : now_ms - started_ms;
    rate_and_left(out);
    HF_LOCKED(&progress->mutex);
    memcpy(out->phase, progress->phase, sizeof out->phase);
    memcpy(out->current, progress->current, sizeof out->current);
}

void hf_format_bytes(uint64_t bytes, char *out, size_t out_len)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        (void)snprintf(out, out_len, "%" PRIu64 " B", bytes);
        return;
    }
    double value = (double)bytes;
    size_t unit = 0;
    /* 1023.5 would show as 1024: the next unit's 1.0 is meant. */
    while (value >= 1023.5 && unit + 1 < HF_ARRAY_LEN(units)) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, out_len, "%.*f %s", value < 99.95 ? 1 : 0, value, units[unit]);
}

static void format_left(uint64_t seconds, char *out, size_t out_len)
{
    if (seconds < 60) {
        (void)snprintf(out, out_len, "  %" PRIu64 " s left", seconds);
    } else if (seconds < 3600) {
        (void)snprintf(out, out_len, "  %" PRIu64 " min %" PRIu64 " s left", seconds / 60,
                       seconds % 60);
    } else {
        (void)snprintf(out, out_len, "  %" PRIu64 " h %" PRIu64 " min left", seconds / 3600,
                       seconds / 60 % 60);
    }
}

void hf_progress_format(const struct hf_progress_view *view, char *out, size_t out_len)
{
    char share[48] = "", done[16], rate[16], left[40] = "", total[24] = "";
    const char *what = view->current[0] != '\0' ? view->current : view->phase;

    hf_format_bytes(view->bytes_done, done, sizeof done);
    hf_format_bytes(view->rate_bytes_s, rate, sizeof rate);
    if (view->bytes_total > 0) {
        char text[16];
        double percent = 100.0 * (double)view->bytes_done / (double)view->bytes_total;
        hf_format_bytes(view->bytes_total, text, sizeof text);
        /* What is not finished never shows as 100 %. */
        if (view->bytes_done < view->bytes_total && percent > 99.9) {
            percent = 99.9;
        }
        (void)snprintf(share, sizeof share, "%6.1f %%  ", percent);
        (void)snprintf(total, sizeof total, " of %s", text);
    }
    if (view->left_s != UINT64_MAX) {
        format_left(view->left_s, left, sizeof left);
    }
    (void)snprintf(out, out_len, "%s%s%s  %s/s%s%s%s", share, done, total, rate, left,
                   what[0] == '\0' ? "" : "  ", what);
}
