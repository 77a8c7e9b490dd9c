/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verification of snapshots and stores.
 *
 * A tree is visited; its blocks gather in a window, which is looked at in address order by all workers. What was found
 * whole is remembered, so that the next snapshot passes over what it shares; what lies in a window with damage is not,
 * so that damage is reported for every snapshot that it touches.
 */
#include "snapshot/verify.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "codec/hash.h"
#include "snapshot/fetch.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"
#include "snapshot/marks.h"
#include "snapshot/verify_internal.h"
#include "snapshot/visit.h"

#define WINDOW_PATHS ((size_t)65536)

void hf_verify_report_fini(struct hf_verify_report *report)
{
    for (size_t i = 0; i < report->kept_count; i++) {
        hf_free(report->damages[i].object);
        hf_free(report->damages[i].path);
        hf_free(report->damages[i].message);
    }
    hf_free(report->damages);
    *report = (struct hf_verify_report){.damages = NULL};
}

enum hf_err hf_verify_note(struct hf_verify_report *report, const struct hf_damage *what,
                           const struct hf_error *damage, struct hf_error *err)
{
    report->damage_count++;
    if (report->kept_count == HF_DAMAGE_KEPT_MAX) {
        return HF_ERR_OK;
    }
    if (report->damages == NULL) {
        report->damages = hf_alloc_array(HF_DAMAGE_KEPT_MAX, sizeof *report->damages);
        if (report->damages == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "report of damage");
        }
    }
    struct hf_damage kept = *what;
    kept.code = damage->code;
    kept.object = hf_strdup(what->object == NULL ? "" : what->object);
    kept.path = hf_strdup(what->path == NULL ? "" : what->path);
    kept.message = hf_strdup(damage->message);
    if (kept.object == NULL || kept.path == NULL || kept.message == NULL) {
        hf_free(kept.object);
        hf_free(kept.path);
        hf_free(kept.message);
        return hf_fail(err, HF_ERR_NO_MEMORY, "report of damage");
    }
    report->damages[report->kept_count++] = kept;
    return HF_ERR_OK;
}

/* ---- one job's trees ---- */

struct hf_tree_verifier {
    const struct hf_verify_options *options; /* borrowed */
    const struct hf_keyring *keyring;        /* borrowed */
    struct hf_tree_reader *reader;           /* owned */
    struct hf_block_coder *coder;            /* owned */
    struct hf_fetcher *fetcher;              /* owned */
    struct hf_fetcher *finder; /* owned; for what is not in the sample; NULL: all is */
    struct hf_marks *marks;    /* owned: what was found whole */
    struct hf_fetch_window window;
    struct hf_fetch_window others; /* not in the sample */
    char **paths;                  /* owned; of the files in the window */
    size_t path_count;
    struct hf_address *pending; /* owned: lists and nodes above the window's blocks */
    size_t pending_count, pending_capacity;
    const struct hf_manifest *manifest; /* borrowed: the snapshot that is looked at */
    struct hf_verify_report *report;    /* borrowed */
    struct hf_mutex mutex;              /* guards: report, window_damage */
    uint64_t window_damage;
};

void hf_tree_verifier_destroy(struct hf_tree_verifier *verifier)
{
    if (verifier == NULL) {
        return;
    }
    hf_fetcher_destroy(verifier->fetcher);
    hf_fetcher_destroy(verifier->finder);
    hf_block_coder_destroy(verifier->coder);
    hf_tree_reader_destroy(verifier->reader);
    hf_marks_destroy(verifier->marks);
    hf_fetch_window_fini(&verifier->window);
    hf_fetch_window_fini(&verifier->others);
    for (size_t i = 0; i < verifier->path_count; i++) {
        hf_free(verifier->paths[i]);
    }
    hf_free(verifier->paths);
    hf_free(verifier->pending);
    hf_mutex_fini(&verifier->mutex);
    hf_free(verifier);
}

static enum hf_err note(struct hf_tree_verifier *verifier, const char *path, uint64_t offset,
                        const struct hf_address *address, const struct hf_error *damage,
                        struct hf_error *err)
{
    /* The path is only borrowed for the call. */
    HF_CLEANUP(hf_free) char *copy = hf_strdup(path);
    if (copy == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "report of damage");
    }
    struct hf_damage what = {
        .capture = verifier->manifest->capture,
        .job = verifier->manifest->job,
        .snapshot = verifier->manifest->snapshot,
        .path = copy,
        .offset = offset,
        .address = *address,
    };
    HF_LOCKED(&verifier->mutex);
    verifier->window_damage++;
    return hf_verify_note(verifier->report, &what, damage, err);
}

static enum hf_err block_damage(void *context, const struct hf_fetch_item *item,
                                const struct hf_error *damage, struct hf_error *err)
{
    struct hf_tree_verifier *verifier = context;
    return note(verifier, verifier->paths[item->file], item->offset, &item->ref.address, damage,
                err);
}

static enum hf_err block_whole(void *context, const struct hf_fetch_item *item,
                               struct hf_bytes plain, struct hf_error *err)
{
    const struct hf_tree_verifier *verifier = context;
    (void)plain;
    (void)err;
    hf_progress_add_done(verifier->options->progress, item->plain_bytes);
    return HF_ERR_OK;
}

enum hf_err hf_tree_verifier_create(const struct hf_verify_options *options,
                                    const struct hf_keyring *keyring,
                                    struct hf_verify_report *report, struct hf_tree_verifier **out,
                                    struct hf_error *err)
{
    struct hf_tree_verifier *made = hf_alloc_zero(sizeof *made);
    if (made == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "verification");
    }
    hf_mutex_init(&made->mutex);
    HF_CLEANUP(hf_tree_verifier_destroy) struct hf_tree_verifier *verifier = made;
    struct hf_tree_reader_options reader = {.store = options->store, .keyring = keyring};
    struct hf_block_coder_options coding = {.keyring = keyring};
    verifier->options = options;
    verifier->keyring = keyring;
    verifier->report = report;
    verifier->paths = hf_alloc_array(WINDOW_PATHS, sizeof *verifier->paths);
    if (verifier->paths == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "verification");
    }
    if (hf_tree_reader_create(&reader, &verifier->reader, err) != HF_ERR_OK ||
        hf_block_coder_create(&coding, &verifier->coder, err) != HF_ERR_OK ||
        hf_marks_create(&verifier->marks, err) != HF_ERR_OK ||
        hf_fetch_window_init(&verifier->window, HF_FETCH_WINDOW_ITEMS, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_fetcher_options fetcher = {
        .reader = verifier->reader,
        .keyring = keyring,
        .workers = hf_pool_workers(options->workers),
        .depth = (enum hf_fetch_depth)options->level,
        .cancel = options->cancel,
        .on_block = block_whole,
        .on_damage = block_damage,
        .context = verifier,
    };
    if (hf_fetcher_create(&fetcher, &verifier->fetcher, err) != HF_ERR_OK) {
        return err->code;
    }
    fetcher.depth = HF_FETCH_FIND;
    if (options->one_in > 1 &&
        (hf_fetcher_create(&fetcher, &verifier->finder, err) != HF_ERR_OK ||
         hf_fetch_window_init(&verifier->others, HF_FETCH_WINDOW_ITEMS, err) != HF_ERR_OK)) {
        return err->code;
    }
    *out = HF_TAKE(verifier);
    return HF_ERR_OK;
}

static enum hf_err mark_window(struct hf_tree_verifier *verifier,
                               const struct hf_fetch_window *window, size_t count,
                               struct hf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (hf_marks_set(verifier->marks, &window->items[i].ref.address, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* Remembers the window's blocks and what stands above them as whole, unless any of it was not. */
static enum hf_err flush_window(struct hf_tree_verifier *verifier, struct hf_error *err)
{
    size_t count = verifier->window.count;
    size_t other_count = verifier->others.count;
    if (hf_fetcher_run(verifier->fetcher, &verifier->window, err) != HF_ERR_OK ||
        (other_count > 0 &&
         hf_fetcher_run(verifier->finder, &verifier->others, err) != HF_ERR_OK)) {
        return err->code;
    }
    bool whole = verifier->window_damage == 0;
    if (whole && (mark_window(verifier, &verifier->window, count, err) != HF_ERR_OK ||
                  mark_window(verifier, &verifier->others, other_count, err) != HF_ERR_OK)) {
        return err->code;
    }
    for (size_t i = 0; whole && i < verifier->pending_count; i++) {
        if (hf_marks_set(verifier->marks, &verifier->pending[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    for (size_t i = 0; i < verifier->path_count; i++) {
        hf_free(verifier->paths[i]);
    }
    verifier->path_count = 0;
    verifier->pending_count = 0;
    return HF_ERR_OK;
}

static bool skip(void *context, const struct hf_ref *ref)
{
    const struct hf_tree_verifier *verifier = context;
    return hf_marks_has(verifier->marks, &ref->address);
}

static enum hf_err add_path(struct hf_tree_verifier *verifier, const struct hf_file_entry *entry,
                            struct hf_error *err)
{
    char *path = hf_strndup(entry->path.data, entry->path.len);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    verifier->paths[verifier->path_count++] = path;
    return HF_ERR_OK;
}

static enum hf_err begin_file(void *context, const struct hf_file_entry *entry,
                              struct hf_error *err)
{
    struct hf_tree_verifier *verifier = context;
    verifier->report->files++;
    if (verifier->path_count == WINDOW_PATHS && flush_window(verifier, err) != HF_ERR_OK) {
        return err->code;
    }
    return add_path(verifier, entry, err);
}

/* By packs, so that what is read lies together. */
static bool is_in_sample(const struct hf_tree_verifier *verifier, const struct hf_address *address)
{
    uint8_t key[8];
    if (verifier->finder == NULL) {
        return true;
    }
    hf_store_le64(key, hf_address_position(address));
    return hf_xxh3(hf_bytes_of(key, sizeof key)) % verifier->options->one_in ==
           verifier->options->share % verifier->options->one_in;
}

static enum hf_err visit_block(void *context, const struct hf_visit_place *place,
                               const struct hf_ref *ref, struct hf_error *err)
{
    struct hf_tree_verifier *verifier = context;
    const struct hf_file_entry *entry = place->entry;
    if (hf_marks_has(verifier->marks, &ref->address)) {
        return HF_ERR_OK;
    }
    bool in_sample = is_in_sample(verifier, &ref->address);
    struct hf_fetch_window *window = in_sample ? &verifier->window : &verifier->others;
    if (window->count == window->capacity) {
        if (flush_window(verifier, err) != HF_ERR_OK ||
            add_path(verifier, entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    uint32_t len = hf_block_length(entry->size_bytes, entry->block_bytes, place->block);
    verifier->report->blocks++;
    verifier->report->bytes += in_sample ? len : 0;
    window->items[window->count++] = (struct hf_fetch_item){
        .ref = *ref,
        .plain_bytes = len,
        .file = (uint32_t)(verifier->path_count - 1),
        .offset = place->block * entry->block_bytes,
    };
    return HF_ERR_OK;
}

static enum hf_err remember(void *context, const struct hf_visit_place *place,
                            const struct hf_ref *ref, struct hf_error *err)
{
    struct hf_tree_verifier *verifier = context;
    (void)place;
    verifier->report->blocks++;
    if (verifier->pending_count == verifier->pending_capacity) {
        size_t wanted = verifier->pending_capacity == 0 ? 256 : verifier->pending_capacity * 2;
        struct hf_address *grown = hf_realloc_array(verifier->pending, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "verification");
        }
        verifier->pending = grown;
        verifier->pending_capacity = wanted;
    }
    verifier->pending[verifier->pending_count++] = ref->address;
    return HF_ERR_OK;
}

static enum hf_err tree_damage(void *context, const struct hf_visit_place *place,
                               const struct hf_ref *ref, const struct hf_error *damage,
                               struct hf_error *err)
{
    struct hf_tree_verifier *verifier = context;
    HF_CLEANUP(hf_free)
    char *path = place->entry == NULL ? hf_strdup("")
                                      : hf_strndup(place->entry->path.data, place->entry->path.len);
    uint64_t offset = place->entry == NULL ? 0 : place->block * place->entry->block_bytes;
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    return note(verifier, path, offset, &ref->address, damage, err);
}

enum hf_err hf_tree_verifier_run(struct hf_tree_verifier *verifier,
                                 const struct hf_manifest *manifest, struct hf_error *err)
{
    struct hf_visitor visitor = {
        .skip = skip,
        .block = visit_block,
        .done = remember,
        .damage = tree_damage,
        .file = begin_file,
        .context = verifier,
        .cancel = verifier->options->cancel,
    };
    verifier->manifest = manifest;
    /* Once a snapshot shows damage, nothing of it is remembered: a node whose blocks lie in an earlier, damaged window
     * must not be passed over in the next snapshot. */
    verifier->window_damage = 0;
    verifier->report->snapshots++;
    if (hf_visit_tree(verifier->reader, verifier->coder, &manifest->root, &visitor, err) !=
            HF_ERR_OK ||
        flush_window(verifier, err) != HF_ERR_OK) {
        return hf_wrap(err, "verify snapshot %" PRIu64 " of job %s", manifest->capture,
                       hf_id_text(&manifest->job).text);
    }
    return HF_ERR_OK;
}

enum hf_err hf_verify_snapshot(const struct hf_verify_options *options,
                               const struct hf_keyring *keyring, const struct hf_manifest *manifest,
                               struct hf_verify_report *out, struct hf_error *err)
{
    HF_CLEANUP(hf_verify_report_fini) struct hf_verify_report report = {.damages = NULL};
    HF_CLEANUP(hf_tree_verifier_destroy) struct hf_tree_verifier *verifier = NULL;
    hf_progress_phase(options->progress, "verify");
    if (options->progress != NULL) {
        atomic_store(&options->progress->bytes_total, manifest->root.sums.bytes);
        atomic_store(&options->progress->files_total, manifest->root.sums.files);
    }
    if (hf_tree_verifier_create(options, keyring, &report, &verifier, err) != HF_ERR_OK ||
        hf_tree_verifier_run(verifier, manifest, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = report;
    report = (struct hf_verify_report){.damages = NULL};
    return HF_ERR_OK;
}
