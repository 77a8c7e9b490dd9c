/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store holds, with no catalog.
 */
#include "snapshot/list.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "snapshot/keys.h"
#include "snapshot/retry.h"

#define PAGE_NAMES 1000
#define JOBS_MAX ((size_t)1000000)
#define SNAPSHOTS_MAX ((size_t)1000000)

static enum hf_err list_page(struct hf_store *store, struct hf_str prefix, struct hf_str after,
                             size_t max, struct hf_store_list *page, struct hf_error *err)
{
    struct hf_retry retry = {.tries = 0};
    enum hf_err code;
    do {
        code = hf_store_list(store, prefix, after, max, page, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    return code;
}

/* ---- jobs ---- */

void hf_job_list_fini(struct hf_job_list *list)
{
    hf_free(list->jobs);
    *list = (struct hf_job_list){.jobs = NULL};
}

static enum hf_err add_job(struct hf_job_list *list, const struct hf_id *job, struct hf_error *err)
{
    if (list->count == JOBS_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %zu jobs", JOBS_MAX);
    }
    /* Grown one by one: jobs are few beside the lists that lead to them. */
    struct hf_id *grown = hf_realloc_array(list->jobs, list->count + 1, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list of jobs");
    }
    list->jobs = grown;
    list->jobs[list->count++] = *job;
    return HF_ERR_OK;
}

enum hf_err hf_list_jobs(struct hf_store *store, struct hf_job_list *out, struct hf_error *err)
{
    HF_CLEANUP(hf_job_list_fini) struct hf_job_list list = {.jobs = NULL};
    char after[64] = "j/";
    for (;;) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        struct hf_id job;
        if (list_page(store, hf_str_of("j/"), hf_str_of(after), 1, &page, err) != HF_ERR_OK) {
            return hf_wrap(err, "list jobs");
        }
        if (page.count == 0) {
            break;
        }
        struct hf_str name = hf_str_of(page.entries[0].name);
        struct hf_str id = {.data = name.data + 2, .len = (size_t)2 * HF_ID_BYTES};
        if (name.len < 2 + id.len || !hf_id_parse(id, &job)) {
            /* Not ours: goes past this one name only. */
            if (name.len >= sizeof after) {
                return hf_fail(err, HF_ERR_CORRUPT, "list jobs: a foreign name: %s", name.data);
            }
            (void)snprintf(after, sizeof after, "%s", name.data);
            continue;
        }
        if (add_job(&list, &job, err) != HF_ERR_OK) {
            return hf_wrap(err, "list jobs");
        }
        /* One look-up a job: '0' is the character behind '/'. */
        (void)snprintf(after, sizeof after, "j/%s0", hf_id_text(&job).text);
    }
    *out = list;
    list = (struct hf_job_list){.jobs = NULL};
    return HF_ERR_OK;
}

/* ---- manifests of a job ---- */

void hf_capture_list_fini(struct hf_capture_list *list)
{
    hf_free(list->captures);
    *list = (struct hf_capture_list){.captures = NULL};
}

static enum hf_err add_captures(struct hf_capture_list *list, const struct hf_store_list *page,
                                struct hf_error *err)
{
    if (list->count + page->count > SNAPSHOTS_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %zu manifests", SNAPSHOTS_MAX);
    }
    uint64_t *grown =
        hf_realloc_array(list->captures, list->count + page->count + 1, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list of manifests");
    }
    list->captures = grown;
    for (size_t i = 0; i < page->count; i++) {
        struct hf_object_name name;
        struct hf_error ignored;
        if (hf_object_name_parse(hf_str_of(page->entries[i].name), &name, &ignored) == HF_ERR_OK) {
            list->captures[list->count++] = name.capture;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_list_captures(struct hf_store *store, const struct hf_id *job,
                             struct hf_capture_list *out, struct hf_error *err)
{
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list list = {.captures = NULL};
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_MANIFEST, job);
    struct hf_object_text after = {.text = ""};
    for (;;) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        if (list_page(store, hf_str_of(prefix.text), hf_str_of(after.text), PAGE_NAMES, &page,
                      err) != HF_ERR_OK ||
            add_captures(&list, &page, err) != HF_ERR_OK) {
            return hf_wrap(err, "list manifests of job %s", hf_id_text(job).text);
        }
        if (!page.more || page.count == 0) {
            break;
        }
        (void)snprintf(after.text, sizeof after.text, "%s", page.entries[page.count - 1].name);
    }
    *out = list;
    list = (struct hf_capture_list){.captures = NULL};
    return HF_ERR_OK;
}

enum hf_err hf_list_read_manifest(struct hf_store *store, const struct hf_id *job, uint64_t capture,
                                  const struct hf_keyring *keyring, struct hf_manifest *out,
                                  struct hf_manifest_read *read, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_object_text name = hf_object_name_text(
        &(struct hf_object_name){.kind = HF_OBJECT_MANIFEST, .job = *job, .capture = capture});
    struct hf_retry retry = {.tries = 0};
    enum hf_err code;
    do {
        code = hf_store_get(store, hf_str_of(name.text), HF_MANIFEST_MAX_BYTES, &bytes, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    if (code != HF_ERR_OK) {
        return code;
    }
    if (hf_manifest_decode(hf_buf_bytes(&bytes), keyring, &manifest, read, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", name.text);
    }
    if (!hf_id_equal(&manifest.job, job) || manifest.capture != capture) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: holds manifest %" PRIu64 " of job %s", name.text,
                       manifest.capture, hf_id_text(&manifest.job).text);
    }
    *out = manifest;
    manifest = (struct hf_manifest){.capture = 0};
    return HF_ERR_OK;
}

/* ---- snapshots ---- */

void hf_snapshot_list_fini(struct hf_snapshot_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        hf_manifest_fini(&list->items[i].manifest);
    }
    hf_free(list->items);
    *list = (struct hf_snapshot_list){.items = NULL};
}

struct lister {
    const struct hf_list_options *options; /* borrowed */
    struct hf_snapshot_list list;
    size_t capacity;
};

static enum hf_err room_for_one(struct lister *lister, struct hf_error *err)
{
    size_t max = lister->options->max == 0 ? SNAPSHOTS_MAX : lister->options->max;
    if (lister->list.count >= max) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %zu snapshots", max);
    }
    if (lister->list.count == lister->capacity) {
        size_t wanted = lister->capacity == 0 ? 16 : lister->capacity * 2;
        struct hf_listed_snapshot *grown =
            hf_realloc_array(lister->list.items, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "list of %zu snapshots", wanted);
        }
        lister->list.items = grown;
        lister->capacity = wanted;
    }
    return HF_ERR_OK;
}

static enum hf_err add_snapshot(struct lister *lister, const struct hf_id *job, uint64_t capture,
                                const struct hf_keyring *keyring, struct hf_error *err)
{
    if (room_for_one(lister, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_listed_snapshot *item = &lister->list.items[lister->list.count];
    struct hf_manifest_read read = {.kind = HF_MANIFEST_SNAPSHOT};
    *item = (struct hf_listed_snapshot){.code = HF_ERR_OK};
    enum hf_err code = hf_list_read_manifest(lister->options->store, job, capture, keyring,
                                             &item->manifest, &read, err);
    if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && read.kind == HF_MANIFEST_VOID)) {
        hf_manifest_fini(&item->manifest);
        return HF_ERR_OK; /* it went since the list was made, or never was one */
    }
    if (code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED || code == HF_ERR_LIMIT) {
        item->manifest.job = *job;
        item->manifest.capture = capture;
        item->code = code;
        (void)snprintf(item->problem, sizeof item->problem, "%.255s", err->message);
    } else if (code != HF_ERR_OK) {
        return code;
    }
    item->seal_state = read.seal_state;
    if (!lister->options->with_roots) {
        struct hf_tree_sums sums = item->manifest.root.sums;
        hf_tree_root_fini(&item->manifest.root);
        item->manifest.root.sums = sums;
    }
    lister->list.count++;
    return HF_ERR_OK;
}

static enum hf_err list_job(struct lister *lister, const struct hf_id *job, struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list captures = {.captures = NULL};
    const struct hf_keyring *known = NULL;
    /* Keys that do not open leave the seals unchecked; the list says so. */
    if (hf_job_keys_load(lister->options->store, lister->options->store_key, job, &keyring, err) ==
        HF_ERR_OK) {
        known = &keyring;
    }
    if (hf_list_captures(lister->options->store, job, &captures, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < captures.count; i++) {
        if (add_snapshot(lister, job, captures.captures[i], known, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_list_snapshots(const struct hf_list_options *options, struct hf_snapshot_list *out,
                              struct hf_error *err)
{
    struct lister lister = {.options = options};
    HF_CLEANUP(hf_job_list_fini) struct hf_job_list jobs = {.jobs = NULL};
    enum hf_err code = HF_ERR_OK;
    if (options->job != NULL) {
        code = list_job(&lister, options->job, err);
    } else {
        code = hf_list_jobs(options->store, &jobs, err);
        for (size_t i = 0; i < jobs.count && code == HF_ERR_OK; i++) {
            code = list_job(&lister, &jobs.jobs[i], err);
        }
    }
    if (code != HF_ERR_OK) {
        hf_snapshot_list_fini(&lister.list);
        return hf_wrap(err, "list snapshots of %s", hf_store_url(options->store));
    }
    *out = lister.list;
    return HF_ERR_OK;
}

enum hf_err hf_list_find_snapshot(struct hf_store *store, const struct hf_store_key *store_key,
                                  const struct hf_id *snapshot, struct hf_manifest *out,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_snapshot_list_fini) struct hf_snapshot_list list = {.items = NULL};
    struct hf_list_options options = {.store = store, .store_key = store_key, .with_roots = true};
    const struct hf_listed_snapshot *unreadable = NULL;
    if (hf_list_snapshots(&options, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < list.count; i++) {
        struct hf_listed_snapshot *item = &list.items[i];
        if (item->code != HF_ERR_OK) {
            unreadable = item;
        } else if (hf_id_equal(&item->manifest.snapshot, snapshot)) {
            *out = item->manifest;
            item->manifest = (struct hf_manifest){.capture = 0};
            return HF_ERR_OK;
        }
    }
    if (unreadable != NULL) {
        return hf_fail(err, unreadable->code,
                       "snapshot %s is not among those of %s that can be read: %s",
                       hf_id_text(snapshot).text, hf_store_url(store), unreadable->problem);
    }
    return hf_fail(err, HF_ERR_NOT_FOUND, "snapshot %s is not in %s", hf_id_text(snapshot).text,
                   hf_store_url(store));
}
