/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journals around a capture: `<journal_path>.<capture>`, one an attempt. Those of adopted attempts are read; any
 * other attempt's is removed, nobody will ask for it again.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "snapshot/capture_internal.h"

#define NAMES_MAX 100000

static char *journal_name(const char *path, uint64_t capture)
{
    return hf_asprintf("%s.%010" PRIx64, path, capture);
}

/* The capture number at the end of a journal's name; 0 when it is none of ours. */
static uint64_t journal_number(struct hf_str name, struct hf_str base)
{
    uint64_t number = 0;
    if (name.len != base.len + 11 || !hf_str_starts_with(name, base) ||
        name.data[base.len] != '.') {
        return 0;
    }
    struct hf_str digits = {.data = name.data + base.len + 1, .len = 10};
    return hf_parse_hex_u64(digits, &number) ? number : 0;
}

static bool is_adopted(const struct hf_capture_options *options, uint64_t capture)
{
    for (size_t i = 0; i < options->adopted_count; i++) {
        if (options->adopted[i].capture == capture) {
            return true;
        }
    }
    return false;
}

static void remove_others(const struct hf_capture_options *options)
{
    const char *slash = strrchr(options->journal_path, '/');
    struct hf_str base = hf_str_of(slash == NULL ? options->journal_path : slash + 1);
    HF_CLEANUP(hf_free)
    char *dir = slash == NULL
                    ? hf_strdup(".")
                    : hf_strndup(options->journal_path, (size_t)(slash - options->journal_path));
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    struct hf_error ignored;
    if (dir == NULL || hf_fs_list(dir, NAMES_MAX, &list, &ignored) != HF_ERR_OK) {
        return; /* they stay until a later capture; they only take room */
    }
    for (size_t i = 0; i < list.count; i++) {
        uint64_t number = journal_number(hf_str_of(list.names[i]), base);
        if (number == 0 || is_adopted(options, number)) {
            continue;
        }
        HF_CLEANUP(hf_free) char *path = journal_name(options->journal_path, number);
        if (path == NULL || hf_fs_remove_scratch(path, &ignored) != HF_ERR_OK) {
            continue; /* as above */
        }
    }
}

enum hf_err hf_capture_open_journals(struct hf_capture *capture, struct hf_error *err)
{
    const struct hf_capture_options *options = capture->options;
    if (options->journal_path == NULL) {
        return HF_ERR_OK;
    }
    remove_others(options);
    struct hf_journal_id id = {.job = options->keyring->job};
    for (size_t i = 0; i < options->adopted_count; i++) {
        HF_CLEANUP(hf_free)
        char *path = journal_name(options->journal_path, options->adopted[i].capture);
        if (path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "journal");
        }
        id.capture = options->adopted[i].capture;
        id.writer = options->adopted[i].writer;
        enum hf_err code = hf_journal_open(path, &id, &capture->adopted[i], err);
        if (code == HF_ERR_NO_MEMORY) {
            return code;
        }
        if (code != HF_ERR_OK) {
            hf_log_info(options->log, "capture.journal_unusable", HF_STR("journal", path),
                        HF_STR("error", err->message));
        }
    }
    HF_CLEANUP(hf_free) char *own = journal_name(options->journal_path, options->capture);
    id.capture = options->capture;
    id.writer = options->writer;
    if (own == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "journal");
    }
    if (hf_journal_create(own, &id, &capture->journal, err) == HF_ERR_NO_MEMORY) {
        return err->code;
    }
    if (capture->journal == NULL) {
        hf_log_warn(options->log, "capture.no_journal", HF_STR("error", err->message));
    }
    return HF_ERR_OK;
}

void hf_capture_close_journals(struct hf_capture *capture)
{
    for (size_t i = 0; i < HF_ADOPTED_MAX; i++) {
        hf_journal_drop(HF_TAKE(capture->adopted[i]));
    }
    hf_journal_close(HF_TAKE(capture->journal));
}
