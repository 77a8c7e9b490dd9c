/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a data directory may look like: each shape either comes back as it was, or is refused with one error that names
 * the file. Memory stays bounded, however many files there are.
 *
 * A share runs unless HOLDFAST_SOAK is set: then there are 100,000 files.
 */
#include "support/run.h"
#include "support/snapshot_kit.h"

#include <malloc.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/thread.h"
#include "store/faulty.h"

#define ROOM_BYTES ((uint64_t)4 << 30)
#define NOBODY 65534
#define TIB ((uint64_t)1 << 40)

struct shape {
    struct kit kit;
    char *source; /* owned */
    char *target; /* owned */
    struct hf_capture_files files;
    struct hf_progress progress;
    uint64_t rate_bytes_s;
};

static void open_shape(struct shape *shape)
{
    struct hf_error err;
    *shape = (struct shape){.source = NULL};
    kit_open(&shape->kit, &(struct kit_options){.on_disk = true});
    shape->source = kit_path(&shape->kit, "source");
    shape->target = kit_path(&shape->kit, "restored");
    hf_progress_init(&shape->progress);
    KIT_OK(hf_fs_make_dirs(shape->source, 0700, &err), &err);
}

static void close_shape(struct shape *shape)
{
    hf_capture_files_fini(&shape->files);
    hf_progress_fini(&shape->progress);
    hf_free(shape->source);
    hf_free(shape->target);
    kit_close(&shape->kit);
}

static void write_file(const struct shape *shape, const char *name, const void *bytes, size_t len)
{
    struct hf_error err;
    struct hf_file *file = NULL;
    HF_CLEANUP(hf_free) char *path = hf_path_join(shape->source, name);
    HF_CLEANUP(hf_free) char *dir = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
    KIT_OK(hf_fs_make_dirs(dir, 0700, &err), &err);
    KIT_OK(hf_file_open(path, HF_OPEN_CREATE, 0600, &file, &err), &err);
    if (len > 0) {
        KIT_OK(hf_file_write_at(file, 0, hf_bytes_of(bytes, len), &err), &err);
    }
    KIT_OK(hf_file_close(file, &err), &err);
}

static void write_text(const struct shape *shape, const char *name, const char *text)
{
    write_file(shape, name, text, strlen(text));
}

/* Text of `len` bytes that is not the same anywhere. */
static void write_much(const struct shape *shape, const char *name, size_t len)
{
    uint8_t *bytes = hf_alloc(len + 8);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i += 8) {
        hf_store_le64(bytes + i, (i + len) * 0x9e3779b97f4a7c15u);
    }
    write_file(shape, name, bytes, len);
    hf_free(bytes);
}

static void list_file(struct shape *shape, const char *name, uint64_t listed_bytes)
{
    struct hf_error err;
    KIT_OK(hf_capture_files_add(&shape->files, name, listed_bytes, NULL, &err), &err);
}

/* A capture of the listed files, not committed. */
static enum hf_err capture(struct shape *shape, const struct kit_attempt *attempt,
                           const struct hf_manifest *parent, struct hf_capture_result *out,
                           struct hf_error *err)
{
    struct hf_capture_options options = {
        .store = shape->kit.store,
        .keyring = &shape->kit.keyring,
        .capture = attempt->capture,
        .writer = attempt->writer,
        .root = shape->source,
        .files = &shape->files,
        .workers = 2,
        .rate_bytes_s = shape->rate_bytes_s,
        .progress = &shape->progress,
    };
    if (parent != NULL) {
        options.parent =
            (struct hf_capture_parent){.capture = parent->capture, .root = &parent->root};
    }
    return hf_capture_run(&options, out, err);
}

static void snapshot(struct shape *shape, const struct hf_manifest *parent, struct hf_manifest *out)
{
    struct hf_error err;
    struct kit_attempt attempt = kit_begin(&shape->kit);
    HF_CLEANUP(hf_capture_result_fini) struct hf_capture_result result = {.packs = 0};
    KIT_OK(capture(shape, &attempt, parent, &result, &err), &err);
    KIT_OK(kit_commit(&shape->kit, &attempt, parent, &result, out, &err), &err);
}

/* Refused, with that class, and the file named; nothing is left behind that a groom would not take. */
static void expect_refused(struct shape *shape, enum hf_err code, const char *name,
                           const char *words)
{
    struct hf_error err;
    struct kit_attempt attempt = kit_begin(&shape->kit);
    HF_CLEANUP(hf_capture_result_fini) struct hf_capture_result result = {.packs = 0};
    enum hf_err found = capture(shape, &attempt, NULL, &result, &err);
    if (found != code) {
        fail_msg("%s: %s instead of %s: %s", name, hf_err_name(found), hf_err_name(code),
                 found == HF_ERR_OK ? "" : err.message);
    }
    if (strstr(err.message, name) == NULL || strstr(err.message, words) == NULL) {
        fail_msg("neither '%s' nor '%s' in: %s", name, words, err.message);
    }
    KIT_OK(hf_commit_drop_claim(shape->kit.store, &shape->kit.job, &attempt.writer, &err), &err);
}

static enum hf_err append_bytes(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    struct hf_file *file = context;
    return hf_file_append(file, bytes, err);
}

/* As an archive, unpacked by the system's own tar. */
static void expect_it_comes_back_in_a_tar(struct shape *shape, const struct hf_manifest *manifest)
{
    struct hf_error err;
    struct hf_restore_result result;
    struct hf_file *file = NULL;
    int status = 0;
    pid_t child = 0;
    HF_CLEANUP(hf_free) char *archive = kit_path(&shape->kit, "snapshot.tar");
    HF_CLEANUP(hf_free) char *into = kit_path(&shape->kit, "unpacked");
    HF_CLEANUP(hf_free) char *top = hf_path_join(into, "rs0");
    KIT_OK(hf_fs_make_dirs(into, 0700, &err), &err);
    KIT_OK(hf_file_open(archive, HF_OPEN_APPEND, 0600, &file, &err), &err);
    struct hf_restore_tar_options options = {
        .store = shape->kit.store,
        .keyring = &shape->kit.keyring,
        .root = &manifest->root,
        .top = "rs0",
        .workers = 2,
        .sink = append_bytes,
        .context = file,
    };
    KIT_OK(hf_restore_tar(&options, &result, &err), &err);
    KIT_OK(hf_file_close(file, &err), &err);
    char *arguments[] = {(char[]){"tar"}, (char[]){"-xf"}, archive, (char[]){"-C"}, into, NULL};
    assert_int_equal(posix_spawnp(&child, "tar", NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    kit_expect_same_tree(shape->source, top);
}

/* The whole way of all that lies in the source. */
static void expect_it_comes_back(struct shape *shape)
{
    struct hf_manifest manifest;
    kit_list_files(shape->source, "", &shape->files);
    snapshot(shape, NULL, &manifest);
    kit_restore(&shape->kit, &manifest, shape->target);
    kit_expect_same_tree(shape->source, shape->target);
    kit_expect_no_damage(&shape->kit, HF_VERIFY_CONTENT);
    expect_it_comes_back_in_a_tar(shape, &manifest);
    hf_manifest_fini(&manifest);
}

/* ---- names ---- */

static void test_names_with_every_byte_come_back(void **state)
{
    struct shape shape;
    char name[600];
    (void)state;
    open_shape(&shape);
    for (unsigned byte = 1; byte < 256; byte++) {
        if (byte == '/') {
            continue;
        }
        (void)snprintf(name, sizeof name, "a%cz", (char)byte);
        write_text(&shape, name, name);
        (void)snprintf(name, sizeof name, "%c%c%c", (char)byte, (char)byte, (char)byte);
        write_text(&shape, name, name);
        (void)snprintf(name, sizeof name, "dir%c/in%c", (char)byte, (char)byte);
        write_text(&shape, name, name);
    }
    memset(name, 'n', 255);
    name[255] = '\0';
    write_text(&shape, name, "the longest name");
    memset(name + 255, '/', 1);
    memset(name + 256, 'm', 255);
    name[511] = '\0';
    name[0] = 'N';
    write_text(&shape, name, "the longest name in a directory of the longest name");
    expect_it_comes_back(&shape);
    assert_int_equal(shape.files.count, 3 * 254 + 2);
    close_shape(&shape);
}

static void test_names_that_lead_outside_are_refused(void **state)
{
    static const char *const names[] = {"",      "/etc/passwd", "../x", "a/../../x", "a//b",
                                        "a/./b", ".",           "a/..", "a/"};
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files files = {.items = NULL};
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        assert_int_equal(hf_capture_files_add(&files, names[i], 0, NULL, &err), HF_ERR_INVALID);
        assert_non_null(strstr(err.message, names[i]));
    }
    assert_int_equal(files.count, 0);
}

static void test_the_mark_of_a_restore_is_no_name_for_a_file(void **state)
{
    struct shape shape;
    struct hf_manifest manifest;
    struct hf_error err;
    (void)state;
    open_shape(&shape);
    write_text(&shape, HF_RESTORE_MARK_NAME, "x");
    list_file(&shape, HF_RESTORE_MARK_NAME, 1);
    snapshot(&shape, NULL, &manifest);
    struct hf_restore_options options = {.store = shape.kit.store,
                                         .keyring = &shape.kit.keyring,
                                         .root = &manifest.root,
                                         .directory = shape.target};
    struct hf_restore_result result;
    assert_int_equal(hf_restore_run(&options, &result, &err), HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, HF_RESTORE_MARK_NAME));
    assert_false(hf_fs_exists(shape.target));
    hf_manifest_fini(&manifest);
    close_shape(&shape);
}

static void test_a_file_that_is_listed_twice_is_refused(void **state)
{
    struct shape shape;
    (void)state;
    open_shape(&shape);
    write_text(&shape, "twice.wt", "x");
    list_file(&shape, "twice.wt", 1);
    list_file(&shape, "twice.wt", 1);
    expect_refused(&shape, HF_ERR_INVALID, "twice.wt", "listed twice");
    close_shape(&shape);
}

/* ---- sizes ---- */

static void test_nothing_at_all_and_empty_files_come_back(void **state)
{
    struct shape shape;
    struct hf_manifest nothing;
    struct hf_manifest manifest;
    struct hf_error err;
    (void)state;
    open_shape(&shape);
    snapshot(&shape, NULL, &nothing);
    kit_restore(&shape.kit, &nothing, shape.target);
    kit_expect_same_tree(shape.source, shape.target);
    KIT_OK(hf_fs_remove_tree(shape.target, &err), &err);
    write_text(&shape, "empty", "");
    write_text(&shape, "sub/empty", "");
    list_file(&shape, "empty", 0);
    list_file(&shape, "sub/empty", HF_LISTED_UNKNOWN);
    snapshot(&shape, &nothing, &manifest);
    kit_restore(&shape.kit, &manifest, shape.target);
    kit_expect_same_tree(shape.source, shape.target);
    hf_manifest_fini(&nothing);
    hf_manifest_fini(&manifest);
    close_shape(&shape);
}

/* Sizes around those where a file gets another shape: inline references, one node, two levels, another block size. */
static void test_sizes_at_each_edge_come_back(void **state)
{
    static const size_t edges[] = {65536, 8 * 65536, 128 * 65536, (size_t)64 << 20};
    struct shape shape;
    char name[64];
    (void)state;
    open_shape(&shape);
    for (size_t i = 0; i < HF_ARRAY_LEN(edges); i++) {
        for (size_t way = 0; way < 3; way++) {
            (void)snprintf(name, sizeof name, "size-%zu.wt", edges[i] - 1 + way);
            write_much(&shape, name, edges[i] - 1 + way);
        }
    }
    expect_it_comes_back(&shape);
    close_shape(&shape);
}

static void make_sparse(const struct shape *shape, const char *name, uint64_t size_bytes)
{
    struct hf_error err;
    struct hf_file *file = NULL;
    HF_CLEANUP(hf_free) char *path = hf_path_join(shape->source, name);
    KIT_OK(hf_file_open(path, HF_OPEN_CREATE, 0600, &file, &err), &err);
    KIT_OK(hf_file_truncate(file, size_bytes, &err), &err);
    hf_file_drop(file);
}

static void write_at(const char *dir, const char *name, uint64_t at, const char *text)
{
    struct hf_error err;
    struct hf_file *file = NULL;
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, name);
    KIT_OK(hf_file_open(path, HF_OPEN_WRITE, 0, &file, &err), &err);
    KIT_OK(hf_file_write_at(file, at, hf_bytes_of(text, strlen(text)), &err), &err);
    hf_file_drop(file);
}

static void expect_at(const char *dir, const char *name, uint64_t at, const char *text)
{
    struct hf_error err;
    struct hf_file *file = NULL;
    char found[64];
    size_t got = 0;
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, name);
    KIT_OK(hf_file_open(path, HF_OPEN_READ, 0, &file, &err), &err);
    KIT_OK(hf_file_read_at(file, at, found, strlen(text), &got, &err), &err);
    assert_int_equal(got, strlen(text));
    assert_memory_equal(found, text, strlen(text));
    hf_file_drop(file);
}

/* Where there is something in a file: the stretches of data. */
static uint64_t count_data(const char *dir, const char *name)
{
    struct hf_error err;
    struct hf_file *file = NULL;
    uint64_t total = 0;
    uint64_t start = 0;
    uint64_t end = 0;
    struct hf_file_info info;
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, name);
    KIT_OK(hf_file_open(path, HF_OPEN_READ, 0, &file, &err), &err);
    KIT_OK(hf_file_info(file, &info, &err), &err);
    while (end < info.size_bytes) {
        KIT_OK(hf_file_next_data(file, end, &start, &end, &err), &err);
        total += end - start;
    }
    hf_file_drop(file);
    return total;
}

static void test_a_sparse_file_of_a_tebibyte_comes_back_sparse(void **state)
{
    static const struct {
        uint64_t at;
        const char *text;
    } places[] = {{0, "the first bytes"},
                  {TIB / 3, "somewhere"},
                  {TIB / 2 - 3, "across a border"},
                  {TIB - 14, "the last bytes"}};
    struct shape shape;
    struct hf_manifest manifest;
    struct hf_manifest second;
    struct hf_file_info info;
    struct hf_error err;
    (void)state;
    open_shape(&shape);
    make_sparse(&shape, "sparse.wt", TIB);
    for (size_t i = 0; i < HF_ARRAY_LEN(places); i++) {
        write_at(shape.source, "sparse.wt", places[i].at, places[i].text);
    }
    list_file(&shape, "sparse.wt", TIB);
    snapshot(&shape, NULL, &manifest);
    assert_int_equal(manifest.root.sums.bytes, TIB);
    assert_true(manifest.root.sums.read_bytes <= (uint64_t)32 << 20);
    kit_restore(&shape.kit, &manifest, shape.target);
    HF_CLEANUP(hf_free) char *path = hf_path_join(shape.target, "sparse.wt");
    KIT_OK(hf_fs_stat(path, &info, &err), &err);
    assert_int_equal(info.size_bytes, TIB);
    /* Blocks of 1 MiB are restored whole; all else is a hole still. */
    assert_true(count_data(shape.target, "sparse.wt") <= (uint64_t)16 << 20);
    for (size_t i = 0; i < HF_ARRAY_LEN(places); i++) {
        expect_at(shape.target, "sparse.wt", places[i].at, places[i].text);
    }
    /* Nothing else: what the blocks hold beside the texts is zero, as their hashes prove once more. */
    snapshot(&shape, &manifest, &second);
    assert_int_equal(second.root.sums.blocks_new, 0);
    kit_expect_no_damage(&shape.kit, HF_VERIFY_CONTENT);
    hf_manifest_fini(&manifest);
    hf_manifest_fini(&second);
    close_shape(&shape);
}

static void test_a_file_beyond_the_limit_is_refused(void **state)
{
    struct shape shape;
    struct hf_error err;
    struct hf_file *file = NULL;
    (void)state;
    open_shape(&shape);
    make_sparse(&shape, "too-large.wt", 0);
    HF_CLEANUP(hf_free) char *path = hf_path_join(shape.source, "too-large.wt");
    KIT_OK(hf_file_open(path, HF_OPEN_WRITE, 0, &file, &err), &err);
    bool possible = hf_file_truncate(file, HF_FILE_MAX_BYTES + 1, &err) == HF_ERR_OK;
    hf_file_drop(file);
    if (possible) { /* not every file system has such files */
        list_file(&shape, "too-large.wt", HF_LISTED_UNKNOWN);
        expect_refused(&shape, HF_ERR_LIMIT, "too-large.wt", "are allowed");
    }
    close_shape(&shape);
    if (!possible) {
        skip();
    }
}

/* ---- files that change while they are read ---- */

struct changer {
    struct shape *shape;
    const char *name;
    bool shrinks;
    uint64_t after_bytes; /* of progress */
    struct hf_cancel stop;
    bool done;
};

/* Waits until the capture has read so much, then cuts the file off; or lets it grow until it is told to stop. */
static void change_file(void *argument)
{
    struct changer *changer = argument;
    struct hf_error err;
    struct hf_file *file = NULL;
    HF_CLEANUP(hf_free) char *path = hf_path_join(changer->shape->source, changer->name);
    KIT_OK(hf_file_open(path, HF_OPEN_WRITE, 0, &file, &err), &err);
    while (atomic_load(&changer->shape->progress.bytes_done) < changer->after_bytes &&
           !hf_cancel_requested(&changer->stop)) {
        hf_cancel_sleep(&changer->stop, 1);
    }
    if (changer->shrinks) {
        KIT_OK(hf_file_truncate(file, 0, &err), &err);
    }
    for (uint64_t at = (uint64_t)8 << 20; !changer->shrinks; at += 6) {
        KIT_OK(hf_file_write_at(file, at, hf_bytes_of("growing", 7), &err), &err);
        changer->done = true;
        if (hf_cancel_requested(&changer->stop)) {
            break;
        }
    }
    hf_file_drop(file);
}

static struct hf_thread *start_changer(struct changer *changer)
{
    struct hf_error err;
    struct hf_thread *thread = NULL;
    hf_cancel_init(&changer->stop);
    KIT_OK(hf_thread_start("changer", change_file, changer, &thread, &err), &err);
    return thread;
}

static void expect_prefix(const struct shape *shape, const char *name, uint64_t size_bytes)
{
    struct hf_error err;
    struct hf_file_info info;
    HF_CLEANUP(hf_free) char *source = hf_path_join(shape->source, name);
    HF_CLEANUP(hf_free) char *target = hf_path_join(shape->target, name);
    KIT_OK(hf_fs_stat(target, &info, &err), &err);
    assert_int_equal(info.size_bytes, size_bytes);
    assert_int_equal(truncate(source, (off_t)size_bytes), 0);
    kit_expect_same_file(source, target);
}

/* What is listed counts: 8 MiB, which stand still while the file grows behind them. */
static void test_a_file_that_grows_while_it_is_read_has_its_listed_size(void **state)
{
    struct shape shape;
    struct hf_manifest manifest;
    const uint64_t listed = (uint64_t)8 << 20;
    (void)state;
    open_shape(&shape);
    write_much(&shape, "grows.wt", (size_t)listed);
    list_file(&shape, "grows.wt", listed);
    shape.rate_bytes_s = (uint64_t)32 << 20;
    struct changer changer = {
        .shape = &shape, .name = "grows.wt", .after_bytes = (uint64_t)1 << 20};
    struct hf_thread *thread = start_changer(&changer);
    snapshot(&shape, NULL, &manifest);
    hf_cancel_request(&changer.stop);
    hf_thread_join(thread);
    assert_true(changer.done);
    kit_restore(&shape.kit, &manifest, shape.target);
    expect_prefix(&shape, "grows.wt", listed);
    hf_manifest_fini(&manifest);
    close_shape(&shape);
}

static void test_a_file_that_shrinks_while_it_is_read_is_refused(void **state)
{
    struct shape shape;
    (void)state;
    open_shape(&shape);
    write_much(&shape, "shrinks.wt", (size_t)32 << 20);
    list_file(&shape, "shrinks.wt", HF_LISTED_UNKNOWN);
    shape.rate_bytes_s = (uint64_t)16 << 20;
    struct changer changer = {
        .shape = &shape, .name = "shrinks.wt", .shrinks = true, .after_bytes = (uint64_t)1 << 20};
    struct hf_thread *thread = start_changer(&changer);
    expect_refused(&shape, HF_ERR_CONFLICT, "shrinks.wt", "shrank while it was read");
    hf_thread_join(thread);
    close_shape(&shape);
}

/* Nothing is read of a hole: that it is gone shows all the same. */
static void test_a_sparse_file_that_shrinks_while_it_is_read_is_refused(void **state)
{
    struct shape shape;
    (void)state;
    open_shape(&shape);
    make_sparse(&shape, "shrinks.wt", TIB);
    list_file(&shape, "shrinks.wt", HF_LISTED_UNKNOWN);
    struct changer changer = {
        .shape = &shape, .name = "shrinks.wt", .shrinks = true, .after_bytes = (uint64_t)1 << 20};
    struct hf_thread *thread = start_changer(&changer);
    expect_refused(&shape, HF_ERR_CONFLICT, "shrinks.wt", "shrank while it was read");
    hf_thread_join(thread);
    close_shape(&shape);
}

static void test_a_file_that_is_shorter_than_listed_is_refused(void **state)
{
    struct shape shape;
    (void)state;
    open_shape(&shape);
    write_text(&shape, "sub/short.wt", "12345");
    list_file(&shape, "sub/short.wt", 6);
    expect_refused(&shape, HF_ERR_CONFLICT, "sub/short.wt", "shorter than listed: 5 of 6 bytes");
    close_shape(&shape);
}

/* ---- files that are not there, or may not be read ---- */

static void test_a_listed_file_that_is_gone_is_refused_unless_it_is_optional(void **state)
{
    struct shape shape;
    struct hf_manifest manifest;
    (void)state;
    open_shape(&shape);
    write_text(&shape, "there.wt", "x");
    list_file(&shape, "there.wt", 1);
    list_file(&shape, "db/gone.wt", 4096);
    expect_refused(&shape, HF_ERR_NOT_FOUND, "db/gone.wt", "a listed file is gone");
    shape.files.items[1].optional = true;
    snapshot(&shape, NULL, &manifest);
    assert_int_equal(manifest.root.sums.files, 1);
    hf_manifest_fini(&manifest);
    close_shape(&shape);
}

static void expect_denied(struct shape *shape, const char *name)
{
    shape->files.count = 0;
    list_file(shape, name, HF_LISTED_UNKNOWN);
    expect_refused(shape, HF_ERR_DENIED, name, "Permission denied");
    hf_free(shape->files.items[0].path);
    shape->files.count = 0;
}

static void test_a_listed_file_that_may_not_be_read_is_refused(void **state)
{
    struct shape shape;
    (void)state;
    bool is_root = geteuid() == 0;
    /* Nothing is denied to root. */
    if (is_root && seteuid(NOBODY) != 0) {
        skip();
    }
    open_shape(&shape);
    write_text(&shape, "secret.wt", "x");
    write_text(&shape, "closed/inside.wt", "x");
    HF_CLEANUP(hf_free) char *secret = hf_path_join(shape.source, "secret.wt");
    HF_CLEANUP(hf_free) char *closed = hf_path_join(shape.source, "closed");
    assert_int_equal(chmod(secret, 0), 0);
    assert_int_equal(chmod(closed, 0), 0);
    expect_denied(&shape, "secret.wt");
    expect_denied(&shape, "closed/inside.wt");
    assert_int_equal(chmod(closed, 0700), 0);
    close_shape(&shape);
    if (is_root) {
        assert_int_equal(seteuid(0), 0);
    }
}

/* ---- links ---- */

static void make_link(const struct shape *shape, const char *to, const char *name)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(shape->source, name);
    assert_int_equal(symlink(to, path), 0);
}

/* A journal on another disk, a database's directory elsewhere, a single file elsewhere: what is listed below the links is
 * read through them, and comes back as plain directories and files. */
static void test_files_behind_symbolic_links_come_back(void **state)
{
    struct shape shape;
    struct hf_manifest manifest;
    struct hf_error err;
    (void)state;
    open_shape(&shape);
    HF_CLEANUP(hf_free) char *disk = kit_path(&shape.kit, "other-disk");
    HF_CLEANUP(hf_free) char *source = hf_strdup(shape.source);
    hf_free(shape.source);
    shape.source = hf_strdup(disk);
    write_much(&shape, "journal/WiredTigerLog.0000000001", 300000);
    write_much(&shape, "sales/collection-7.wt", 100000);
    write_much(&shape, "alone.wt", 70000);
    hf_free(shape.source);
    shape.source = hf_strdup(source);
    write_text(&shape, "WiredTiger", "WiredTiger\n");
    make_link(&shape, "../other-disk/journal", "journal");
    HF_CLEANUP(hf_free) char *absolute = hf_path_join(disk, "sales");
    make_link(&shape, absolute, "sales");
    make_link(&shape, "../other-disk/alone.wt", "alone.wt");
    list_file(&shape, "WiredTiger", HF_LISTED_UNKNOWN);
    list_file(&shape, "journal/WiredTigerLog.0000000001", 300000);
    list_file(&shape, "sales/collection-7.wt", 100000);
    list_file(&shape, "alone.wt", 70000);
    snapshot(&shape, NULL, &manifest);
    kit_restore(&shape.kit, &manifest, shape.target);
    for (size_t i = 0; i < shape.files.count; i++) {
        struct hf_file_info info;
        HF_CLEANUP(hf_free) char *from = hf_path_join(shape.source, shape.files.items[i].path);
        HF_CLEANUP(hf_free) char *to = hf_path_join(shape.target, shape.files.items[i].path);
        kit_expect_same_file(from, to);
        KIT_OK(hf_fs_lstat(to, &info, &err), &err);
        assert_int_equal(info.kind, HF_FILE_REGULAR);
    }
    hf_manifest_fini(&manifest);
    close_shape(&shape);
}

static void test_links_to_nothing_and_to_what_is_no_file_are_refused(void **state)
{
    struct shape shape;
    (void)state;
    open_shape(&shape);
    HF_CLEANUP(hf_free) char *pipe = kit_path(&shape.kit, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    make_link(&shape, "no-such-file", "dangling.wt");
    make_link(&shape, "loop.wt", "loop.wt");
    make_link(&shape, "..", "directory.wt");
    make_link(&shape, "../pipe", "pipe.wt");
    static const struct {
        const char *name;
        enum hf_err code;
    } cases[] = {{"dangling.wt", HF_ERR_NOT_FOUND},
                 {"loop.wt", HF_ERR_IO},
                 {"directory.wt", HF_ERR_INVALID},
                 {"pipe.wt", HF_ERR_INVALID}};
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        list_file(&shape, cases[i].name, HF_LISTED_UNKNOWN);
        expect_refused(&shape, cases[i].code, cases[i].name, "");
        hf_free(shape.files.items[0].path);
        shape.files.count = 0;
    }
    close_shape(&shape);
}

/* ---- layouts ---- */

/* directoryPerDB and directoryForIndexes: files in directories of directories, which the engine names as they lie. */
static void
test_directories_for_databases_and_indexes_come_back_and_are_not_read_again(void **state)
{
    static const char *const names[] = {"admin/collection/0-1.wt",    "admin/index/1-1.wt",
                                        "local/collection/2-1.wt",    "local/index/3-1.wt",
                                        "sales.eu/collection/4-1.wt", "sales%2Eus/index/5-1.wt"};
    HF_CLEANUP(hf_buf_fini) struct hf_buf lines = HF_BUF_INIT((size_t)1 << 20);
    struct shape shape;
    struct hf_manifest first;
    struct hf_manifest second;
    struct hf_error err;
    (void)state;
    open_shape(&shape);
    KIT_OK(hf_buf_appendf(&lines, &err, "WiredTiger version string\nWiredTiger 10.0.0\n"), &err);
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        write_much(&shape, names[i], 100000 + i);
        KIT_OK(hf_buf_appendf(&lines, &err,
                              "file:%s\nchecksum=on,checkpoint=(WiredTigerCheckpoint.7="
                              "(addr=\"%zu\",order=7)),id=%zu\n",
                              names[i], i, i),
               &err);
    }
    write_file(&shape, "WiredTiger.backup", lines.data, lines.len);
    write_text(&shape, "WiredTiger", "WiredTiger\n");
    kit_list_files(shape.source, "", &shape.files);
    KIT_OK(hf_capture_read_lines(&shape.files, shape.source, &shape.kit.keyring, &err), &err);
    snapshot(&shape, NULL, &first);
    snapshot(&shape, &first, &second);
    assert_int_equal(second.root.sums.files_skipped, HF_ARRAY_LEN(names));
    kit_restore(&shape.kit, &second, shape.target);
    kit_expect_same_tree(shape.source, shape.target);
    hf_manifest_fini(&first);
    hf_manifest_fini(&second);
    close_shape(&shape);
}

/* ---- many files ---- */

static bool forget_peak(void)
{
    FILE *refs = fopen("/proc/self/clear_refs", "we");
    if (refs == NULL) {
        return false;
    }
    bool written = fputs("5", refs) >= 0;
    return fclose(refs) == 0 && written;
}

/* Sampled where a sanitizer's own allocator holds back what was freed, which is not the product's: what is allocated is
 * asked for there, again and again. */
#if defined(__SANITIZE_ADDRESS__)
size_t __sanitizer_get_current_allocated_bytes(void); /* gcc has no header for it */
/* What is allocated and never touched counts here, and so do the test's own store's names of 100,000 directories; what is
 * resident is measured where there is no sanitizer. */
#define MEMORY_MAX_BYTES ((uint64_t)(run_is_soak() ? 256 : 192) << 20)

static uint64_t sampled_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes();
}

static uint64_t peak_bytes(void)
{
    return 0;
}
#else
#define MEMORY_MAX_BYTES ((uint64_t)128 << 20)

static uint64_t sampled_bytes(void)
{
    return 0;
}

/* The greatest resident memory of this process since forget_peak. */
static uint64_t peak_bytes(void)
{
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "re");
    assert_non_null(status);
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            assert_int_equal(sscanf(line + 6, "%llu", &kilobytes), 1);
        }
    }
    assert_int_equal(fclose(status), 0);
    return (uint64_t)kilobytes << 10;
}
#endif

struct watch {
    struct hf_thread *thread;
    struct hf_cancel stop;
    uint64_t most_bytes;
};

static void watch_memory(void *argument)
{
    struct watch *watch = argument;
    while (!hf_cancel_requested(&watch->stop)) {
        uint64_t now = sampled_bytes();
        watch->most_bytes = now > watch->most_bytes ? now : watch->most_bytes;
        hf_cancel_sleep(&watch->stop, 2);
    }
}

static void begin_watch(struct watch *watch)
{
    struct hf_error err;
    *watch = (struct watch){.thread = NULL};
    hf_cancel_init(&watch->stop);
    KIT_OK(hf_thread_start("watch", watch_memory, watch, &watch->thread, &err), &err);
    (void)malloc_trim(
        0); /* agent and server are processes of their own: what the step before held is not counted */
    (void)forget_peak(); /* without it the peak of the earlier steps counts too: more, not less */
}

static void end_watch(struct watch *watch, const char *step)
{
    hf_cancel_request(&watch->stop);
    hf_thread_join(watch->thread);
    uint64_t peak = peak_bytes();
    watch->most_bytes = peak > watch->most_bytes ? peak : watch->most_bytes;
    print_message("%s: %llu MiB\n", step, (unsigned long long)(watch->most_bytes >> 20));
    if (watch->most_bytes > MEMORY_MAX_BYTES) {
        fail_msg("%s takes %llu MiB", step, (unsigned long long)(watch->most_bytes >> 20));
    }
}

static enum hf_err count_bytes(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    uint64_t *total = context;
    (void)err;
    *total += bytes.len;
    return HF_ERR_OK;
}

static void tar_it(struct shape *shape, const struct hf_manifest *manifest)
{
    struct hf_error err;
    struct hf_restore_result result;
    uint64_t total = 0;
    uint64_t promised = 0;
    struct hf_restore_tar_options options = {
        .store = shape->kit.store,
        .keyring = &shape->kit.keyring,
        .root = &manifest->root,
        .top = "rs0",
        .workers = 2,
        .sink = count_bytes,
        .context = &total,
    };
    KIT_OK(hf_restore_tar_size(&options, &promised, &err), &err);
    KIT_OK(hf_restore_tar(&options, &result, &err), &err);
    assert_int_equal(total, promised);
    assert_int_equal(result.files, manifest->root.sums.files);
}

/* Writes the files anew whose number is divisible: many databases, each a directory with its files, as directoryPerDB
 * lays them out. */
static void make_many(struct shape *shape, size_t count, size_t divisor)
{
    char name[64];
    uint8_t bytes[4096]; /* nothing that zstd could make small: packs are to be full */
    for (size_t i = 0; i < count; i += divisor) {
        /* A third of them lie in directories of their own. */
        if (i % 3 == 0) {
            (void)snprintf(name, sizeof name, "db-%zu/collection-%zu.wt", i, i);
        } else {
            (void)snprintf(name, sizeof name, "index-%zu.wt", i);
        }
        uint64_t random = i * 1000 + divisor;
        for (size_t b = 0; b < sizeof bytes; b += 8) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            hf_store_le64(bytes + b, random ^ random >> 29);
        }
        write_file(shape, name, bytes, i % 5 == 0 ? 0 : 20 + i % 4000);
        if (divisor == 1) {
            list_file(shape, name, HF_LISTED_UNKNOWN);
        }
    }
}

/* Captures and commits, each within its memory. */
static void snapshot_in_bounds(struct shape *shape, const struct hf_manifest *parent,
                               struct hf_manifest *out)
{
    struct hf_error err;
    struct watch watch;
    HF_CLEANUP(hf_capture_result_fini) struct hf_capture_result result = {.packs = 0};
    struct kit_attempt attempt = kit_begin(&shape->kit);
    /* So slow that every pack buffer of the capture is full and waits. */
    struct hf_store_fault slow = {
        .call = HF_STORE_CALL_PUT, .code = HF_ERR_OK, .delay_ms = run_is_soak() ? 500 : 1};
    hf_store_faulty_add(shape->kit.store, &slow);
    begin_watch(&watch);
    KIT_OK(capture(shape, &attempt, parent, &result, &err), &err);
    end_watch(&watch, parent == NULL ? "capture" : "capture with a parent");
    hf_store_faulty_clear(shape->kit.store);
    begin_watch(&watch);
    KIT_OK(kit_commit(&shape->kit, &attempt, parent, &result, out, &err), &err);
    end_watch(&watch, "commit");
}

static void test_many_files_come_back_in_bounded_memory(void **state)
{
    struct shape shape;
    struct hf_manifest first;
    struct hf_manifest second;
    struct hf_error err;
    struct watch watch;
    size_t count = run_is_soak() ? 100000 : 4000;
    (void)state;
    open_shape(&shape);
    KIT_OK(hf_store_faulty_create_take(shape.kit.store, &shape.kit.store, &err), &err);
    make_many(&shape, count, 1);
    snapshot_in_bounds(&shape, NULL, &first);
    make_many(&shape, count, 2);
    snapshot_in_bounds(&shape, &first, &second);
    assert_in_range(second.root.sums.blocks_new, 1, count / 2);
    begin_watch(&watch);
    kit_expect_no_damage(&shape.kit, HF_VERIFY_CONTENT);
    end_watch(&watch, "verify");
    begin_watch(&watch);
    tar_it(&shape, &second);
    end_watch(&watch, "tar");
    begin_watch(&watch);
    kit_restore(&shape.kit, &second, shape.target);
    end_watch(&watch, "restore");
    kit_expect_same_tree(shape.source, shape.target);
    hf_manifest_fini(&first);
    hf_manifest_fini(&second);
    close_shape(&shape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_files_come_back_in_bounded_memory),
        cmocka_unit_test(test_names_with_every_byte_come_back),
        cmocka_unit_test(test_names_that_lead_outside_are_refused),
        cmocka_unit_test(test_the_mark_of_a_restore_is_no_name_for_a_file),
        cmocka_unit_test(test_a_file_that_is_listed_twice_is_refused),
        cmocka_unit_test(test_nothing_at_all_and_empty_files_come_back),
        cmocka_unit_test(test_sizes_at_each_edge_come_back),
        cmocka_unit_test(test_a_sparse_file_of_a_tebibyte_comes_back_sparse),
        cmocka_unit_test(test_a_file_beyond_the_limit_is_refused),
        cmocka_unit_test(test_a_file_that_grows_while_it_is_read_has_its_listed_size),
        cmocka_unit_test(test_a_file_that_shrinks_while_it_is_read_is_refused),
        cmocka_unit_test(test_a_sparse_file_that_shrinks_while_it_is_read_is_refused),
        cmocka_unit_test(test_a_file_that_is_shorter_than_listed_is_refused),
        cmocka_unit_test(test_a_listed_file_that_is_gone_is_refused_unless_it_is_optional),
        cmocka_unit_test(test_a_listed_file_that_may_not_be_read_is_refused),
        cmocka_unit_test(test_files_behind_symbolic_links_come_back),
        cmocka_unit_test(test_links_to_nothing_and_to_what_is_no_file_are_refused),
        cmocka_unit_test(
            test_directories_for_databases_and_indexes_come_back_and_are_not_read_again),
    };
    kit_use_all();
    run_in_memory(ROOM_BYTES);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
