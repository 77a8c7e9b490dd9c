/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claim, manifest, second look, giving up: the small steps of a commit. The check before the manifest is in
 * commit_check.c.
 */
#include "snapshot/commit.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/fault.h"
#include "snapshot/list.h"
#include "snapshot/retry.h"

#define PAGE_NAMES 1000
#define CLAIMS_MAX 100000
/* More attempts than ever follow one another without a trace in the store but a claim. */
#define HIDDEN_NUMBERS 1000

static struct hf_object_text claim_name(const struct hf_id *job, const struct hf_id *writer)
{
    return hf_object_name_text(
        &(struct hf_object_name){.kind = HF_OBJECT_CLAIM, .job = *job, .writer = *writer});
}

static struct hf_object_text manifest_name(const struct hf_id *job, uint64_t capture)
{
    return hf_object_name_text(
        &(struct hf_object_name){.kind = HF_OBJECT_MANIFEST, .job = *job, .capture = capture});
}

static enum hf_err put(struct hf_store *store, const struct hf_object_text *name,
                       const struct hf_buf *bytes, struct hf_error *err)
{
    /* Claims, manifests and voids may use what is kept free: they are what ends a full disk. */
    struct hf_store_put_options options = {.use_reserve = true};
    struct hf_retry retry = {.tries = 0};
    enum hf_err code;
    do {
        code = hf_store_put(store, hf_str_of(name->text), hf_buf_bytes(bytes), &options, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    return code;
}

static enum hf_err delete_object(struct hf_store *store, const struct hf_object_text *name,
                                 struct hf_error *err)
{
    struct hf_retry retry = {.tries = 0};
    enum hf_err code;
    do {
        code = hf_store_delete(store, hf_str_of(name->text), err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

/* ---- numbers ---- */

/* The highest capture number in the names of one kind. Objects sort by their last position, so the last name has it. */
static enum hf_err highest_of(struct hf_store *store, const struct hf_id *job,
                              enum hf_object_kind kind, uint64_t *highest, struct hf_error *err)
{
    struct hf_object_text prefix = hf_object_prefix(kind, job);
    struct hf_object_text after = {.text = ""};
    for (;;) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        if (hf_store_list(store, hf_str_of(prefix.text), hf_str_of(after.text), PAGE_NAMES, &page,
                          err) != HF_ERR_OK) {
            return err->code;
        }
        for (size_t i = 0; i < page.count; i++) {
            struct hf_object_name name;
            struct hf_error ignored;
            if (hf_object_name_parse(hf_str_of(page.entries[i].name), &name, &ignored) !=
                HF_ERR_OK) {
                continue;
            }
            uint64_t capture =
                kind == HF_OBJECT_MANIFEST ? name.capture : hf_position_capture(name.last);
            *highest = capture > *highest ? capture : *highest;
        }
        if (!page.more || page.count == 0) {
            return HF_ERR_OK;
        }
        (void)snprintf(after.text, sizeof after.text, "%s", page.entries[page.count - 1].name);
    }
}

/* Damage of the claim itself. A version that this release does not know is another's work, and refused. */
static bool is_damage(enum hf_err code)
{
    return code == HF_ERR_CORRUPT || code == HF_ERR_LIMIT || code == HF_ERR_IO;
}

/*
 * A claim that cannot be read hides its number, and may lie there for days: the next number leaves room for it (keeps I2).
 */
static enum hf_err highest_claim(const struct hf_commit_next *next, uint64_t *highest,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_SMALL_OBJECT_MAX_BYTES);
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_CLAIM, next->job);
    bool hidden = false;
    if (hf_store_list(next->store, hf_str_of(prefix.text), hf_str_of(""), CLAIMS_MAX, &list, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < list.count; i++) {
        struct hf_claim claim = {.capture = 0};
        enum hf_err code = hf_store_get(next->store, hf_str_of(list.entries[i].name),
                                        HF_SMALL_OBJECT_MAX_BYTES, &bytes, err);
        if (code == HF_ERR_NOT_FOUND) {
            continue; /* its capture ended since */
        }
        if (code == HF_ERR_OK) {
            code = hf_claim_decode(hf_buf_bytes(&bytes), &claim, err);
        }
        if (is_damage(code)) {
            hf_log_warn(next->log, "job.claim_damaged", HF_STR("object", list.entries[i].name),
                        HF_STR("error", err->message));
            hidden = true;
            continue;
        }
        if (code != HF_ERR_OK) {
            return hf_wrap(err, "%s", list.entries[i].name);
        }
        *highest = claim.capture > *highest ? claim.capture : *highest;
    }
    *highest += hidden ? HIDDEN_NUMBERS : 0;
    return HF_ERR_OK;
}

enum hf_err hf_commit_next_capture(const struct hf_commit_next *next, uint64_t *out,
                                   struct hf_error *err)
{
    uint64_t highest = next->known;
    if (highest_of(next->store, next->job, HF_OBJECT_MANIFEST, &highest, err) != HF_ERR_OK ||
        highest_of(next->store, next->job, HF_OBJECT_DATA, &highest, err) != HF_ERR_OK ||
        highest_of(next->store, next->job, HF_OBJECT_TREE, &highest, err) != HF_ERR_OK ||
        highest_claim(next, &highest, err) != HF_ERR_OK) {
        return hf_wrap(err, "next capture of job %s", hf_id_text(next->job).text);
    }
    if (highest >= HF_CAPTURE_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "job %s has no capture numbers left",
                       hf_id_text(next->job).text);
    }
    *out = highest + 1;
    return HF_ERR_OK;
}

/* ---- claim ---- */

enum hf_err hf_commit_claim(struct hf_store *store, const struct hf_claim *claim,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_SMALL_OBJECT_MAX_BYTES);
    struct hf_object_text name = claim_name(&claim->job, &claim->writer);
    if (hf_claim_encode(claim, &bytes, err) != HF_ERR_OK ||
        put(store, &name, &bytes, err) != HF_ERR_OK) {
        return hf_wrap(err, "claim of capture %" PRIu64, claim->capture);
    }
    return HF_ERR_OK;
}

enum hf_err hf_commit_drop_claim(struct hf_store *store, const struct hf_id *job,
                                 const struct hf_id *writer, struct hf_error *err)
{
    struct hf_object_text name = claim_name(job, writer);
    if (delete_object(store, &name, err) != HF_ERR_OK) {
        return hf_wrap(err, "drop a claim");
    }
    return HF_ERR_OK;
}

/* ---- manifest ---- */

/* What stands under the name where ours was refused. */
static enum hf_err what_stands(struct hf_store *store, const struct hf_id *job, uint64_t capture,
                               enum hf_manifest_kind *out, struct hf_error *err)
{
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_manifest_read read;
    if (hf_list_read_manifest(store, job, capture, NULL, &manifest, &read, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = read.kind;
    return HF_ERR_OK;
}

enum hf_err hf_commit_manifest(struct hf_store *store, const struct hf_keyring *keyring,
                               struct hf_manifest *manifest, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    struct hf_object_text name = manifest_name(&manifest->job, manifest->capture);
    if (HF_FAULT("snapshot.commit.before_manifest", err) != HF_ERR_OK ||
        hf_manifest_encode(manifest, keyring, &bytes, err) != HF_ERR_OK) {
        return hf_wrap(err, "manifest %" PRIu64, manifest->capture);
    }
    enum hf_err code = put(store, &name, &bytes, err); /* keeps I3: last of all */
    if (code == HF_ERR_EXISTS) {
        enum hf_manifest_kind kind;
        code = what_stands(store, &manifest->job, manifest->capture, &kind, err);
        if (code == HF_ERR_OK) {
            code = kind == HF_MANIFEST_VOID
                       ? hf_fail(err, HF_ERR_LOST, "the attempt was given up: a void stands there")
                       : hf_fail(err, HF_ERR_EXISTS, "another manifest stands there"); /* I2 */
        }
    }
    if (code == HF_ERR_OK) {
        code = HF_FAULT("snapshot.commit.after_manifest", err);
    }
    return code == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "manifest %" PRIu64, manifest->capture);
}

static enum hf_err claim_stands(struct hf_store *store, const struct hf_id *job,
                                const struct hf_id *writer, struct hf_error *err)
{
    struct hf_object_text name = claim_name(job, writer);
    uint64_t size = 0;
    enum hf_err code = hf_store_size(store, hf_str_of(name.text), &size, err);
    if (code == HF_ERR_NOT_FOUND) {
        return hf_fail(err, HF_ERR_LOST, "the claim of writer %s is gone", hf_id_text(writer).text);
    }
    return code;
}

enum hf_err hf_commit_look_again(struct hf_store *store, const struct hf_manifest *manifest,
                                 struct hf_error *err)
{
    enum hf_err code = claim_stands(store, &manifest->job, &manifest->writer, err);
    for (size_t i = 0; i < manifest->adopted_count && code == HF_ERR_OK; i++) {
        code = claim_stands(store, &manifest->job, &manifest->adopted[i].writer, err);
    }
    if (code == HF_ERR_OK && manifest->parent != 0) {
        enum hf_manifest_kind kind = HF_MANIFEST_VOID;
        code = what_stands(store, &manifest->job, manifest->parent, &kind, err);
        if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && kind == HF_MANIFEST_VOID)) {
            code = hf_fail(err, HF_ERR_LOST, "the parent, snapshot %" PRIu64 ", is gone",
                           manifest->parent);
        }
    }
    return code == HF_ERR_OK ? HF_ERR_OK
                             : hf_wrap(err, "second look at %" PRIu64, manifest->capture);
}

enum hf_err hf_commit_give_up(struct hf_store *store, const struct hf_id *job, uint64_t capture,
                              enum hf_give_up_outcome *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_SMALL_OBJECT_MAX_BYTES);
    struct hf_object_text name = manifest_name(job, capture);
    if (hf_void_encode(job, capture, &bytes, err) != HF_ERR_OK) {
        return hf_wrap(err, "give up %" PRIu64, capture);
    }
    enum hf_err code = put(store, &name, &bytes, err);
    if (code == HF_ERR_OK) {
        *out = HF_GIVEN_UP;
        return HF_ERR_OK;
    }
    if (code == HF_ERR_EXISTS) {
        *out = HF_MANIFEST_STANDS; /* equal bytes count as put: what stands there is no void */
        return HF_ERR_OK;
    }
    return hf_wrap(err, "give up %" PRIu64, capture);
}

enum hf_err hf_commit_delete_manifest(struct hf_store *store, const struct hf_id *job,
                                      uint64_t capture, struct hf_error *err)
{
    struct hf_object_text name = manifest_name(job, capture);
    if (delete_object(store, &name, err) != HF_ERR_OK) {
        return hf_wrap(err, "delete manifest %" PRIu64, capture);
    }
    return HF_ERR_OK;
}

enum hf_err hf_commit_drop_failed(struct hf_store *store, const struct hf_id *job, uint64_t capture,
                                  struct hf_error *err)
{
    enum hf_manifest_kind kind = HF_MANIFEST_SNAPSHOT;

    enum hf_err code = what_stands(store, job, capture, &kind, err);
    if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && kind == HF_MANIFEST_VOID)) {
        return HF_ERR_OK;
    }
    /* One that cannot be read is no void, whose bytes are known. */
    if (code != HF_ERR_OK && code != HF_ERR_CORRUPT && code != HF_ERR_UNSUPPORTED) {
        return hf_wrap(err, "look at manifest %" PRIu64, capture);
    }
    return hf_commit_delete_manifest(store, job, capture, err);
}

enum hf_err hf_commit_drop_void(struct hf_store *store, const struct hf_id *job, uint64_t capture,
                                struct hf_error *err)
{
    enum hf_manifest_kind kind = HF_MANIFEST_SNAPSHOT;

    enum hf_err code = what_stands(store, job, capture, &kind, err);
    if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && kind != HF_MANIFEST_VOID)) {
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return hf_wrap(err, "look at manifest %" PRIu64, capture);
    }
    return hf_commit_delete_manifest(store, job, capture, err);
}
