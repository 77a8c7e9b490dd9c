/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a store with one job, and the steps of a snapshot as server and agent do them together.
 */
#ifndef HF_TESTS_SNAPSHOT_KIT_H
#define HF_TESTS_SNAPSHOT_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/fs.h"
#include "snapshot/capture.h"
#include "snapshot/commit.h"
#include "snapshot/groom.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"
#include "snapshot/restore.h"
#include "snapshot/verify.h"

/* Shows the message of an error that should not be. */
#define KIT_OK(call, error)                                                                        \
    do {                                                                                           \
        enum hf_err kit_code_ = (call);                                                            \
        if (kit_code_ != HF_ERR_OK) {                                                              \
            fail_msg("%s: %s: %s", #call, hf_err_name(kit_code_), (error)->message);               \
        }                                                                                          \
    } while (0)

struct kit {
    char *dir; /* scratch */
    struct hf_store *store;
    struct hf_storemark mark;
    struct hf_store_key key;
    struct hf_id job;
    struct hf_keyring keyring;
    /* for the next captures */
    unsigned workers;
    unsigned nice;
    size_t pack_bytes;
    uint32_t block_bytes;
    const char *journal_path;
    const char *cache_dir;
    const struct hf_adopted *adopted;
    size_t adopted_count;
    bool read_all;
    bool prove_parent;
    struct hf_capture_result last; /* its root is moved out */
};

struct kit_options {
    bool plain;
    bool on_disk; /* driver fs, below the scratch directory */
};

static struct hf_id kit_id(void)
{
    struct hf_id id;
    hf_random_bytes(id.bytes, sizeof id.bytes);
    return id;
}

static char *kit_path(const struct kit *kit, const char *name)
{
    char *path = hf_path_join(kit->dir, name);
    assert_non_null(path);
    return path;
}

static void kit_open(struct kit *kit, const struct kit_options *options)
{
    struct hf_error err;
    *kit = (struct kit){.job = kit_id()};
    KIT_OK(hf_fs_make_temp_dir("hf-snapshot-test", &kit->dir, &err), &err);
    char *store_path = kit_path(kit, "store");
    char *key_path = kit_path(kit, "store.key");
    struct hf_store_fs_options fs = {.root = store_path, .create = true};
    if (options->on_disk) {
        KIT_OK(hf_store_fs_open(&fs, &kit->store, &err), &err);
    } else {
        KIT_OK(hf_store_mem_create(&kit->store, &err), &err);
    }
    struct hf_store_create_options create = {
        .installation = kit_id(), .plain = options->plain, .key_file = key_path, .now_s = 1};
    KIT_OK(hf_store_keys_create(kit->store, &create, &kit->mark, &kit->key, &err), &err);
    KIT_OK(hf_job_keys_create(kit->store, &kit->mark, &kit->key, &kit->job, &kit->keyring, &err),
           &err);
    hf_free(store_path);
    hf_free(key_path);
}

static void kit_close(struct kit *kit)
{
    struct hf_error err;
    hf_capture_result_fini(&kit->last);
    hf_store_close(kit->store);
    KIT_OK(hf_fs_remove_tree(kit->dir, &err), &err);
    hf_free(kit->dir);
}

/* Adds every file below dir/prefix, with its size as listed. */
static void kit_list_files(const char *dir, const char *prefix, struct hf_capture_files *files)
{
    struct hf_error err;
    struct hf_dir_list list;
    char *here = prefix[0] == '\0' ? hf_strdup(dir) : hf_path_join(dir, prefix);
    KIT_OK(hf_fs_list(here, 100000, &list, &err), &err);
    for (size_t i = 0; i < list.count; i++) {
        char *relative =
            prefix[0] == '\0' ? hf_strdup(list.names[i]) : hf_path_join(prefix, list.names[i]);
        char *path = hf_path_join(dir, relative);
        struct hf_file_info info;
        KIT_OK(hf_fs_stat(path, &info, &err), &err);
        if (info.kind == HF_FILE_DIR) {
            kit_list_files(dir, relative, files);
        } else {
            KIT_OK(hf_capture_files_add(files, relative, info.size_bytes, NULL, &err), &err);
        }
        hf_free(path);
        hf_free(relative);
    }
    hf_dir_list_fini(&list);
    hf_free(here);
}

/* What a capture and its commit are about. */
struct kit_attempt {
    uint64_t capture;
    struct hf_id writer;
};

/* Steps 1 and 2: number and claim. */
static struct kit_attempt kit_begin(struct kit *kit)
{
    struct hf_error err;
    struct kit_attempt attempt = {.writer = kit_id()};
    struct hf_commit_next next = {.store = kit->store, .job = &kit->job};
    KIT_OK(hf_commit_next_capture(&next, &attempt.capture, &err), &err);
    struct hf_claim claim = {
        .job = kit->job, .writer = attempt.writer, .capture = attempt.capture, .started_s = 1};
    KIT_OK(hf_commit_claim(kit->store, &claim, &err), &err);
    return attempt;
}

/* Step 3, of all files below dir. */
static enum hf_err kit_run_capture(struct kit *kit, const struct kit_attempt *attempt,
                                   const char *dir, const struct hf_manifest *parent,
                                   struct hf_capture_result *out, struct hf_error *err)
{
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files files = {.items = NULL};
    kit_list_files(dir, "", &files);
    KIT_OK(hf_capture_read_lines(&files, dir, &kit->keyring, err), err);
    struct hf_capture_options options = {
        .store = kit->store,
        .keyring = &kit->keyring,
        .capture = attempt->capture,
        .writer = attempt->writer,
        .root = dir,
        .files = &files,
        .workers = kit->workers == 0 ? 3 : kit->workers,
        .nice = kit->nice,
        .pack_bytes = kit->pack_bytes,
        .block_bytes = kit->block_bytes,
        .journal_path = kit->journal_path,
        .cache_dir = kit->cache_dir,
        .adopted = kit->adopted,
        .adopted_count = kit->adopted_count,
        .read_all = kit->read_all,
        .prove_parent = kit->prove_parent,
    };
    if (parent != NULL) {
        options.parent =
            (struct hf_capture_parent){.capture = parent->capture, .root = &parent->root};
    }
    return hf_capture_run(&options, out, err);
}

static void kit_fill_manifest(const struct kit *kit, const struct kit_attempt *attempt,
                              const struct hf_manifest *parent, struct hf_manifest *out)
{
    *out = (struct hf_manifest){
        .job = kit->job,
        .capture = attempt->capture,
        .writer = attempt->writer,
        .snapshot = kit_id(),
        .encrypted = kit->keyring.encrypted,
        .parent = parent == NULL ? 0 : parent->capture,
        .created_s = 1795450521,
    };
    (void)snprintf(out->facts.set_name, sizeof out->facts.set_name, "rs0");
    (void)snprintf(out->facts.server_version, sizeof out->facts.server_version, "4.4.6");
    out->facts.checkpoint = (struct hf_optime){.seconds = 1795450521, .increment = 3, .term = -1};
}

/* Steps 4 to 8. Takes the result's root. */
static enum hf_err kit_commit(struct kit *kit, const struct kit_attempt *attempt,
                              const struct hf_manifest *parent, struct hf_capture_result *result,
                              struct hf_manifest *out, struct hf_error *err)
{
    struct hf_commit_check_options check = {
        .store = kit->store,
        .keyring = &kit->keyring,
        .capture = attempt->capture,
        .writer = attempt->writer,
        .adopted = result->adopted,
        .adopted_count = result->adopted_count,
        .root = &result->root,
        .parent = parent == NULL ? NULL : &parent->root,
        .sample_one_in = 2,
    };
    struct hf_commit_check_result checked;
    enum hf_err code = hf_commit_check(&check, &checked, err);
    if (code != HF_ERR_OK) {
        return code;
    }
    kit_fill_manifest(kit, attempt, parent, out);
    memcpy(out->adopted, result->adopted, sizeof out->adopted);
    out->adopted_count = result->adopted_count;
    out->root = result->root;
    result->root = (struct hf_tree_root){.lists = NULL};
    code = hf_commit_manifest(kit->store, &kit->keyring, out, err);
    if (code == HF_ERR_OK) {
        code = hf_commit_look_again(kit->store, out, err);
    }
    if (code == HF_ERR_OK) {
        for (size_t i = 0; i < out->adopted_count; i++) {
            KIT_OK(hf_commit_drop_claim(kit->store, &kit->job, &out->adopted[i].writer, err), err);
        }
        KIT_OK(hf_commit_drop_claim(kit->store, &kit->job, &attempt->writer, err), err);
    }
    return code;
}

/* A whole snapshot of dir. Free *out with hf_manifest_fini. */
static void kit_snapshot(struct kit *kit, const char *dir, const struct hf_manifest *parent,
                         struct hf_manifest *out)
{
    struct hf_error err;
    struct kit_attempt attempt = kit_begin(kit);
    hf_capture_result_fini(&kit->last);
    kit->last = (struct hf_capture_result){.packs = 0};
    KIT_OK(kit_run_capture(kit, &attempt, dir, parent, &kit->last, &err), &err);
    struct hf_tree_sums sums = kit->last.root.sums;
    KIT_OK(kit_commit(kit, &attempt, parent, &kit->last, out, &err), &err);
    kit->last.root.sums = sums;
}

static void kit_restore(struct kit *kit, const struct hf_manifest *manifest, const char *dir)
{
    struct hf_error err;
    struct hf_restore_options options = {
        .store = kit->store,
        .keyring = &kit->keyring,
        .root = &manifest->root,
        .directory = dir,
        .workers = 3,
    };
    struct hf_restore_result result;
    KIT_OK(hf_restore_run(&options, &result, &err), &err);
    assert_int_equal(result.files, manifest->root.sums.files);
    assert_int_equal(result.bytes, manifest->root.sums.bytes);
}

static void kit_expect_no_damage(struct kit *kit, enum hf_verify_level level)
{
    struct hf_error err;
    struct hf_verify_options options = {.store = kit->store, .level = level, .workers = 3};
    HF_CLEANUP(hf_verify_report_fini) struct hf_verify_report report = {.damages = NULL};
    KIT_OK(hf_verify_store(&options, &kit->key, &report, &err), &err);
    if (report.damage_count > 0) {
        fail_msg("damage: %s %s: %s", report.damages[0].object, report.damages[0].path,
                 report.damages[0].message);
    }
}

/* SHA-256 of a file, as text. */
static void kit_file_hash(const char *path, char out[65])
{
    struct hf_error err;
    struct hf_file *file = NULL;
    struct hf_sha256 *sha = hf_sha256_create();
    uint8_t *chunk = hf_alloc((size_t)1 << 20);
    uint64_t at = 0;
    size_t got = 1;
    struct hf_hash hash;
    assert_non_null(sha);
    assert_non_null(chunk);
    KIT_OK(hf_file_open(path, HF_OPEN_READ, 0, &file, &err), &err);
    while (got > 0) {
        KIT_OK(hf_file_read_at(file, at, chunk, (size_t)1 << 20, &got, &err), &err);
        hf_sha256_update(sha, hf_bytes_of(chunk, got));
        at += got;
    }
    hf_sha256_end(sha, &hash);
    hf_hex_encode(hf_bytes_of(hash.bytes, sizeof hash.bytes), out);
    hf_sha256_destroy(sha);
    hf_file_drop(file);
    hf_free(chunk);
}

static void kit_expect_same_file(const char *a, const char *b)
{
    struct hf_error err;
    struct hf_file_info left;
    struct hf_file_info right;
    char left_hash[65];
    char right_hash[65];
    KIT_OK(hf_fs_stat(a, &left, &err), &err);
    KIT_OK(hf_fs_stat(b, &right, &err), &err);
    if (left.size_bytes != right.size_bytes) {
        fail_msg("%s and %s differ in size", a, b);
    }
    kit_file_hash(a, left_hash);
    kit_file_hash(b, right_hash);
    if (strcmp(left_hash, right_hash) != 0) {
        fail_msg("%s and %s differ", a, b);
    }
}

/* Both directories hold the same files with the same bytes. */
static void kit_expect_same_tree(const char *a, const char *b)
{
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files left = {.items = NULL};
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files right = {.items = NULL};
    kit_list_files(a, "", &left);
    kit_list_files(b, "", &right);
    if (left.count != right.count) {
        fail_msg("%s has %zu files, %s has %zu", a, left.count, b, right.count);
    }
    for (size_t i = 0; i < left.count; i++) {
        char *from = hf_path_join(a, left.items[i].path);
        char *to = hf_path_join(b, right.items[i].path);
        assert_string_equal(left.items[i].path, right.items[i].path);
        kit_expect_same_file(from, to);
        hf_free(from);
        hf_free(to);
    }
}

/* Silences "unused": every program uses some of the kit. */
static inline void kit_use_all(void)
{
    (void)kit_restore;
    (void)kit_snapshot;
    (void)kit_expect_same_tree;
    (void)kit_expect_no_damage;
    (void)kit_close;
    (void)kit_open;
}

#endif
