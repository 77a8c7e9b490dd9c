/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verification of a whole store: every object for itself, without a key, then every snapshot of every job.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "format/claim.h"
#include "format/pack.h"
#include "format/storemark.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"
#include "snapshot/pool.h"
#include "snapshot/verify_internal.h"

#define PAGE_NAMES 256

/* ---- objects ---- */

struct object_check {
    const struct hf_verify_options *options; /* borrowed */
    const struct hf_store_key *store_key;    /* borrowed; NULL: what needs it is passed over */
    struct hf_verify_report *report;         /* borrowed */
    const struct hf_store_list *page;        /* borrowed */
    struct hf_mutex mutex;                   /* guards: report */
};

static enum hf_err check_mark(struct hf_bytes object, const struct hf_object_name *name,
                              struct hf_error *err)
{
    struct hf_storemark mark;
    if (hf_storemark_decode(object, &mark, err) != HF_ERR_OK) {
        return err->code;
    }
    return mark.epoch == name->epoch
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CORRUPT, "holds the mark of epoch %" PRIu32, mark.epoch);
}

static enum hf_err check_claim(struct hf_bytes object, const struct hf_object_name *name,
                               struct hf_error *err)
{
    struct hf_claim claim;
    if (hf_claim_decode(object, &claim, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_id_equal(&claim.job, &name->job) && hf_id_equal(&claim.writer, &name->writer)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CORRUPT, "holds the claim of writer %s of job %s",
                         hf_id_text(&claim.writer).text, hf_id_text(&claim.job).text);
}

/* Keys that another store key wraps (one from before a rotation) cannot be looked into; that is no damage. */
static enum hf_err check_keys(struct hf_bytes object, const struct hf_object_name *name,
                              const struct hf_store_key *store_key, struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
    enum hf_err code = hf_keyring_unwrap(object, &name->job, store_key, &keyring, err);
    return code == HF_ERR_DENIED ? HF_ERR_OK : code;
}

/* Everything that can be known of an object of blocks without a key. */
static enum hf_err check_blocks(struct hf_bytes object, const struct hf_object_name *name,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    uint64_t need = 0;
    if (hf_object_check_header(object, &name->job, err) != HF_ERR_OK ||
        hf_footer_decode(object, object.len, &need, &footer, err) != HF_ERR_OK ||
        hf_footer_check_name(&footer, name, err) != HF_ERR_OK) {
        return err->code;
    }
    if (need != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "the object is shorter than its footer");
    }
    for (uint32_t i = 0; i < footer.block_count; i++) {
        const struct hf_footer_block *block = &footer.blocks[i];
        uint64_t position = hf_address_position(&block->address);
        if (hf_xxh3(hf_bytes_of(object.data + block->place, block->stored_bytes)) !=
            block->checksum) {
            return hf_fail(err, HF_ERR_CORRUPT,
                           "block %s at %" PRIu32 ": stored bytes do not match their checksum",
                           hf_address_text(&block->address).text, block->place);
        }
        if (position < name->first || position > name->last) {
            return hf_fail(err, HF_ERR_CORRUPT, "block %s lies outside the name's range",
                           hf_address_text(&block->address).text);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err check_object(const struct object_check *check, struct hf_bytes object,
                                const struct hf_object_name *name, struct hf_error *err)
{
    if (name->kind == HF_OBJECT_MARK) {
        return check_mark(object, name, err);
    }
    if (name->kind == HF_OBJECT_CLAIM) {
        return check_claim(object, name, err);
    }
    if (name->kind == HF_OBJECT_KEYS) {
        return check_keys(object, name, check->store_key, err);
    }
    return check_blocks(object, name, err);
}

static enum hf_err run_object(void *context, unsigned worker, size_t item, struct hf_error *err)
{
    struct object_check *check = context;
    const struct hf_store_entry *entry = &check->page->entries[item];
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    struct hf_object_name name;
    (void)worker;
    if (hf_object_name_parse(hf_str_of(entry->name), &name, err) != HF_ERR_OK) {
        return HF_ERR_OK; /* not ours: nothing is promised of it */
    }
    enum hf_err code = hf_store_get(check->options->store, hf_str_of(entry->name),
                                    HF_STORE_OBJECT_MAX_BYTES, &bytes, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK; /* groomed since the list was made */
    }
    if (code == HF_ERR_OK) {
        code = check_object(check, hf_buf_bytes(&bytes), &name, err);
    }
    HF_LOCKED(&check->mutex);
    check->report->objects++;
    if (code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED || code == HF_ERR_IO ||
        code == HF_ERR_LIMIT) {
        struct hf_damage what = {.job = name.job, .object = entry->name};
        struct hf_error damage = *err;
        return hf_verify_note(check->report, &what, &damage, err);
    }
    return code;
}

/* All objects of a kind; job is NULL for marks. */
static enum hf_err verify_objects(const struct hf_verify_options *options,
                                  const struct hf_store_key *store_key, const struct hf_id *job,
                                  enum hf_object_kind kind, struct hf_verify_report *report,
                                  struct hf_error *err)
{
    struct hf_object_text prefix = hf_object_prefix(kind, job);
    struct hf_object_text after = {.text = ""};
    struct object_check check = {.options = options, .store_key = store_key, .report = report};
    enum hf_err code = HF_ERR_OK;
    bool more = true;
    hf_mutex_init(&check.mutex);
    while (more && code == HF_ERR_OK) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        code = hf_store_list(options->store, hf_str_of(prefix.text), hf_str_of(after.text),
                             PAGE_NAMES, &page, err);
        if (code == HF_ERR_OK) {
            struct hf_pool_work work = {
                .count = page.count,
                .workers = hf_pool_workers(options->workers),
                .cancel = options->cancel,
                .run = run_object,
                .context = &check,
            };
            check.page = &page;
            code = hf_pool_run(&work, err);
        }
        more = page.more && page.count > 0;
        if (more) {
            (void)snprintf(after.text, sizeof after.text, "%s", page.entries[page.count - 1].name);
        }
    }
    hf_mutex_fini(&check.mutex);
    return code;
}

/* ---- snapshots ---- */

static bool is_damage(enum hf_err code)
{
    return code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED || code == HF_ERR_DENIED ||
           code == HF_ERR_LIMIT || code == HF_ERR_IO;
}

static enum hf_err note_manifest(struct hf_verify_report *report, const struct hf_id *job,
                                 uint64_t capture, struct hf_error *err)
{
    struct hf_object_text name = hf_object_name_text(
        &(struct hf_object_name){.kind = HF_OBJECT_MANIFEST, .job = *job, .capture = capture});
    struct hf_damage what = {.job = *job, .capture = capture, .object = name.text};
    struct hf_error damage = *err;
    return hf_verify_note(report, &what, &damage, err);
}

/* What a job's manifests are verified with. */
struct job_look {
    const struct hf_verify_options *options; /* borrowed */
    struct hf_id job;
    const struct hf_keyring *keyring;  /* borrowed; NULL: only what needs no key */
    struct hf_tree_verifier *verifier; /* owned; NULL without a keyring */
    const struct hf_error *keys; /* borrowed; why the keys cannot be read, if they are damaged */
    struct hf_verify_report *report;                 /* borrowed */
    const struct hf_verify_job_options *job_options; /* borrowed; NULL: nobody hears of snapshots */
};

static enum hf_err verify_capture(const struct job_look *look, uint64_t capture,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_manifest_read read;
    enum hf_err code = hf_list_read_manifest(look->options->store, &look->job, capture,
                                             look->keyring, &manifest, &read, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK; /* deleted since the list was made */
    }
    if (is_damage(code)) {
        return note_manifest(look->report, &look->job, capture, err);
    }
    if (code != HF_ERR_OK || read.kind != HF_MANIFEST_SNAPSHOT) {
        return code;
    }
    if (look->keys != NULL) {
        struct hf_damage what = {
            .job = look->job, .capture = capture, .snapshot = manifest.snapshot};
        return hf_verify_note(look->report, &what, look->keys, err);
    }
    return look->verifier == NULL ? HF_ERR_OK
                                  : hf_tree_verifier_run(look->verifier, &manifest, err);
}

/* A snapshot that went while it was looked at, and whose blocks a groom took, is not damaged: nothing is said of it. */
static void forget_if_gone(const struct job_look *look, uint64_t capture, uint64_t before,
                           size_t kept_before)
{
    struct hf_verify_report *report = look->report;
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_manifest_read read;
    struct hf_error ignored;
    if (report->damage_count == before ||
        hf_list_read_manifest(look->options->store, &look->job, capture, look->keyring, &manifest,
                              &read, &ignored) != HF_ERR_NOT_FOUND) {
        return;
    }
    report->damage_count = before;
    while (report->kept_count > kept_before) {
        struct hf_damage *damage = &report->damages[--report->kept_count];
        hf_free(damage->object);
        hf_free(damage->path);
        hf_free(damage->message);
    }
}

/* Tells what the capture's look found: the damages beyond those that were there before. */
static enum hf_err tell_capture(const struct job_look *look, uint64_t capture, uint64_t before,
                                size_t kept_before, struct hf_error *err)
{
    const struct hf_verify_report *report = look->report;
    const struct hf_damage *first =
        report->kept_count > kept_before ? &report->damages[kept_before] : NULL;
    return look->job_options == NULL
               ? HF_ERR_OK
               : look->job_options->on_snapshot(look->job_options->context, capture,
                                                report->damage_count - before, first, err);
}

static enum hf_err verify_captures(struct job_look *look, const struct hf_capture_list *captures,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_tree_verifier_destroy) struct hf_tree_verifier *verifier = NULL;
    if (look->keyring != NULL && hf_tree_verifier_create(look->options, look->keyring, look->report,
                                                         &verifier, err) != HF_ERR_OK) {
        return err->code;
    }
    look->verifier = verifier;
    for (size_t i = 0; i < captures->count; i++) {
        uint64_t before = look->report->damage_count;
        size_t kept_before = look->report->kept_count;
        if (verify_capture(look, captures->captures[i], err) != HF_ERR_OK) {
            return err->code;
        }
        forget_if_gone(look, captures->captures[i], before, kept_before);
        if (tell_capture(look, captures->captures[i], before, kept_before, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_verify_job(const struct hf_verify_job_options *options, struct hf_verify_report *out,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_verify_report_fini) struct hf_verify_report report = {.damages = NULL};
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list captures = {.captures = NULL};
    const struct hf_id *job = &options->keyring->job;
    struct job_look look = {.options = &options->verify,
                            .job = *job,
                            .keyring = options->keyring,
                            .report = &report,
                            .job_options = options};
    hf_progress_phase(options->verify.progress, "verify");
    if (hf_list_captures(options->verify.store, job, &captures, err) != HF_ERR_OK ||
        verify_captures(&look, &captures, err) != HF_ERR_OK) {
        return hf_wrap(err, "verify job %s", hf_id_text(job).text);
    }
    *out = report;
    report = (struct hf_verify_report){.damages = NULL};
    return HF_ERR_OK;
}

static enum hf_err verify_job(const struct hf_verify_options *options,
                              const struct hf_store_key *store_key, const struct hf_id *job,
                              struct hf_verify_report *report, struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list captures = {.captures = NULL};
    /* Keys and claims are small and decide much: they are looked at on every level. */
    static const enum hf_object_kind kinds[] = {HF_OBJECT_KEYS, HF_OBJECT_CLAIM, HF_OBJECT_DATA,
                                                HF_OBJECT_TREE};
    size_t kind_count = options->level >= HF_VERIFY_STORED ? HF_ARRAY_LEN(kinds) : 2;
    for (size_t i = 0; i < kind_count; i++) {
        if (verify_objects(options, store_key, job, kinds[i], report, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_list_captures(options->store, job, &captures, err) != HF_ERR_OK) {
        return err->code;
    }
    if (captures.count == 0) {
        return HF_ERR_OK;
    }
    struct job_look look = {.options = options, .job = *job, .report = report};
    struct hf_error keys;
    enum hf_err code = hf_job_keys_load(options->store, store_key, job, &keyring, err);
    if (code == HF_ERR_OK) {
        look.keyring = &keyring;
    } else if (code == HF_ERR_NOT_FOUND || (is_damage(code) && code != HF_ERR_DENIED) ||
               (code == HF_ERR_DENIED && store_key != NULL)) {
        keys = *err;
        look.keys = &keys;
    } else if (code != HF_ERR_DENIED) {
        return code; /* DENIED without the key: what needs none is looked at */
    }
    return verify_captures(&look, &captures, err);
}

enum hf_err hf_verify_store(const struct hf_verify_options *options,
                            const struct hf_store_key *store_key, struct hf_verify_report *out,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_verify_report_fini) struct hf_verify_report report = {.damages = NULL};
    HF_CLEANUP(hf_job_list_fini) struct hf_job_list jobs = {.jobs = NULL};
    hf_progress_phase(options->progress, "verify");
    if (store_key != NULL && hf_id_is_none(&store_key->store)) {
        store_key = NULL; /* as hf_store_keys_open gives it for a store without a key */
    }
    if (verify_objects(options, store_key, NULL, HF_OBJECT_MARK, &report, err) != HF_ERR_OK ||
        hf_list_jobs(options->store, &jobs, err) != HF_ERR_OK) {
        return hf_wrap(err, "verify %s", hf_store_url(options->store));
    }
    for (size_t i = 0; i < jobs.count; i++) {
        if (verify_job(options, store_key, &jobs.jobs[i], &report, err) != HF_ERR_OK) {
            return hf_wrap(err, "verify %s", hf_store_url(options->store));
        }
    }
    *out = report;
    report = (struct hf_verify_report){.damages = NULL};
    return HF_ERR_OK;
}
