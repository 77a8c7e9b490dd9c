/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data path under failure: capture, seal, verify, restore (into a directory and as tar), delete and groom over a
 * store on disk. Each allocation, each fault point and each call to the system of each of them fails in turn, once, and
 * with all that follow (support/disk.h refuses the calls).
 *
 * Each failure is told, in words that name a file, an object or a directory, and with the class that fits: no failed
 * allocation is called damage. Nothing leaks: no memory (the sanitizer), no descriptor, no thread. Nothing stays: no
 * manifest without its snapshot, no temporary file, no half-restored directory without its mark. What was whole before
 * is whole after. And what goes well in spite of it went well: it is looked at.
 *
 * A share by default, HF_TEST_SEED (printed) says which and HF_TEST_EVERY how far apart; HOLDFAST_SOAK takes all.
 */
#include "support/snapshot_kit.h"

#include "base/fault.h"
#include "snapshot/groom.h"
#include "snapshot/list.h"
#include "support/disk.h"
#include "support/run.h"

#define FILES 4
#define BLOCK_BYTES 4096
#define PACK_BYTES ((size_t)96 << 10)
#define SHARE 10    /* failures of each kind and act in a short run, once and for good */
#define LIMIT_S 120 /* for one act; longer is a dead end */

/* Under LeakSanitizer: non-zero when memory was lost so far. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

struct fixture {
    struct kit kit; /* its store is opened anew for each failure */
    char *template; /* a store with versions 1 and 2 and a dead capture's packs */
    char *world;    /* watched: what an act works in */
    char *store_dir, *target, *journal, *cache;
    char *sources[3];
    struct hf_manifest manifests[2];
    /* of the act that runs */
    struct kit_attempt attempt;
    struct hf_capture_files files;
    struct hf_capture_result result;
    struct hf_manifest sealed;
    struct hf_verify_report report;
    uint64_t tar_bytes;
    uint64_t seed;
    bool removal_failed; /* whoever cannot remove leaves things behind */
};

static char current[200];   /* what is failing, for messages and the alarm */
static unsigned complaints; /* each is printed; a test ends with none */

#define COMPLAIN(...)                                                                              \
    do {                                                                                           \
        print_message("%s: ", current);                                                            \
        print_message(__VA_ARGS__);                                                                \
        print_message("\n");                                                                       \
        complaints++;                                                                              \
    } while (0)
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            COMPLAIN("%s", #condition);                                                            \
        }                                                                                          \
    } while (0)

/* ---- Sources and stores ---- */

static void write_source(const char *dir, size_t version)
{
    static const char *const names[FILES] = {"WiredTiger", "collection-1.wt", "sub/index-2.wt",
                                             "sub/empty"};
    static const size_t sizes[FILES] = {46, 700000, 60001, 0};
    struct hf_error err;
    for (size_t i = 0; i < FILES; i++) {
        char *path = hf_path_join(dir, names[i]);
        char *parent = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
        struct hf_file *file = NULL;
        uint8_t *bytes = hf_alloc(sizes[i] + 8);
        assert_non_null(bytes);
        for (size_t at = 0; at < sizes[i]; at += 8) {
            bool changed = version == 2 && at / 40000 % 4 == 1;
            hf_store_le64(bytes + at, at / 30000 % 5 == 4 ? 0 : disk_mix(changed ? 5 : i, at, 3));
        }
        KIT_OK(hf_fs_make_dirs(parent, 0700, &err), &err);
        KIT_OK(hf_file_open(path, HF_OPEN_CREATE_NEW, 0600, &file, &err), &err);
        KIT_OK(hf_file_write_at(file, 0, hf_bytes_of(bytes, sizes[i]), &err), &err);
        hf_file_drop(file);
        hf_free(bytes);
        hf_free(parent);
        hf_free(path);
    }
}

static void copy_tree(const char *from, const char *to)
{
    struct hf_error err;
    struct hf_dir_list list;
    KIT_OK(hf_fs_make_dirs(to, 0700, &err), &err);
    KIT_OK(hf_fs_list(from, 1000, &list, &err), &err);
    for (size_t i = 0; i < list.count; i++) {
        char *source = hf_path_join(from, list.names[i]);
        char *target = hf_path_join(to, list.names[i]);
        struct hf_file_info info;
        KIT_OK(hf_fs_lstat(source, &info, &err), &err);
        if (info.kind == HF_FILE_DIR) {
            copy_tree(source, target);
        } else {
            /* Objects never change: a link is a copy. */
            assert_int_equal(syscall(SYS_linkat, AT_FDCWD, source, AT_FDCWD, target, 0), 0);
        }
        hf_free(source);
        hf_free(target);
    }
    hf_dir_list_fini(&list);
}

static void open_store(struct fixture *f)
{
    struct hf_error err;
    const struct hf_store_fs_options options = {.root = f->store_dir};
    KIT_OK(hf_store_fs_open(&options, &f->kit.store, &err), &err);
}

/* A world as at the beginning: the template's store, nothing restored. */
static void begin_world(struct fixture *f)
{
    struct hf_error err;
    disk_watch_nothing();
    hf_store_close(HF_TAKE(f->kit.store));
    KIT_OK(hf_fs_remove_tree(f->world, &err), &err);
    copy_tree(f->template, f->store_dir);
    char *source = hf_path_join(f->world, "source");
    copy_tree(f->sources[2], source);
    hf_free(source);
    char *journals = hf_path_join(f->world, "journal");
    KIT_OK(hf_fs_make_dirs(journals, 0700, &err), &err);
    hf_free(journals);
    open_store(f);
}

/* ---- What stands in the store ---- */

/* Names of all objects of the job, ascending. Free with hf_store_list_fini. */
static void list_objects(struct fixture *f, struct hf_store_list *out)
{
    struct hf_error err;
    KIT_OK(hf_store_list(f->kit.store, hf_str_of("j/"), hf_str_of(""), 1000, out, &err), &err);
}

static bool is_temporary(const char *dir, char *found, size_t found_len)
{
    struct hf_error err;
    struct hf_dir_list list;
    bool any = false;
    KIT_OK(hf_fs_list(dir, 1000, &list, &err), &err);
    for (size_t i = 0; i < list.count && !any; i++) {
        char *path = hf_path_join(dir, list.names[i]);
        struct hf_file_info info;
        KIT_OK(hf_fs_lstat(path, &info, &err), &err);
        any = strncmp(list.names[i], ".hf-tmp-", 8) == 0;
        if (any) {
            (void)snprintf(found, found_len, "%s", path);
        } else if (info.kind == HF_FILE_DIR) {
            any = is_temporary(path, found, found_len);
        }
        hf_free(path);
    }
    hf_dir_list_fini(&list);
    return any;
}

static void expect_no_temporary(struct fixture *f)
{
    char found[1024] = "";
    if (is_temporary(f->world, found, sizeof found)) {
        COMPLAIN("%s stays", found);
    }
}

/* Every object but those of writer (its packs are garbage to be adopted or groomed, its claim stands) is as it was. */
static void expect_objects(struct fixture *f, const struct hf_id *writer, const char *also)
{
    struct hf_store_list now;
    list_objects(f, &now);
    size_t own = 0;
    for (size_t i = 0; i < now.count; i++) {
        const char *name = now.entries[i].name;
        char *path = hf_path_join(f->template, name);
        if (writer != NULL && strstr(name, hf_id_text(writer).text) != NULL) {
            own++;
        } else if (also != NULL && strcmp(name, also) == 0) {
            own++;
        } else if (!hf_fs_exists(path)) {
            COMPLAIN("object %s stays", name);
        }
        hf_free(path);
    }
    char *jobs = hf_path_join(f->template, "j");
    struct hf_capture_files before = {.items = NULL};
    kit_list_files(jobs, "", &before);
    if (now.count - own != before.count) {
        COMPLAIN("of %zu objects %zu are left", before.count, now.count - own);
    }
    hf_capture_files_fini(&before);
    hf_free(jobs);
    hf_store_list_fini(&now);
}

/* ---- The acts: begin (nothing fails there), run, look (after a success), mourn (after a failure) ---- */

struct act {
    const char *name;
    void (*begin)(struct fixture *f);
    enum hf_err (*run)(struct fixture *f, unsigned workers, struct hf_error *err);
    void (*look)(struct fixture *f);
    void (*mourn)(struct fixture *f);
};

static void begin_capture(struct fixture *f)
{
    struct hf_error err;
    char *source = hf_path_join(f->world, "source");
    f->attempt = kit_begin(&f->kit);
    kit_list_files(source, "", &f->files);
    KIT_OK(hf_capture_read_lines(&f->files, source, &f->kit.keyring, &err), &err);
    hf_free(source);
}

static enum hf_err run_capture(struct fixture *f, unsigned workers, struct hf_error *err)
{
    char root[DISK_PATH_BYTES];
    (void)snprintf(root, sizeof root, "%s/source", f->world);
    const struct hf_capture_options options = {
        .store = f->kit.store,
        .keyring = &f->kit.keyring,
        .capture = f->attempt.capture,
        .writer = f->attempt.writer,
        .root = root,
        .files = &f->files,
        .parent = {.capture = f->manifests[0].capture, .root = &f->manifests[0].root},
        .journal_path = f->journal,
        .cache_dir = f->cache,
        .workers = workers,
        .block_bytes = BLOCK_BYTES,
        .pack_bytes = PACK_BYTES,
    };
    return hf_capture_run(&options, &f->result, err);
}

static void expect_restored(struct fixture *f, const struct hf_tree_root *root)
{
    struct hf_error err;
    struct hf_restore_result result;
    char *dir = kit_path(&f->kit, "looked-at");
    const struct hf_restore_options options = {.store = f->kit.store,
                                               .keyring = &f->kit.keyring,
                                               .root = root,
                                               .directory = dir,
                                               .workers = 1};
    KIT_OK(hf_restore_run(&options, &result, &err), &err);
    kit_expect_same_tree(f->sources[2], dir);
    KIT_OK(hf_fs_remove_tree(dir, &err), &err);
    hf_free(dir);
}

static void look_at_capture(struct fixture *f)
{
    expect_restored(f, &f->result.root);
    expect_objects(f, &f->attempt.writer, NULL);
}

static void mourn_capture(struct fixture *f)
{
    assert_null(f->result.root.lists);
    expect_objects(f, &f->attempt.writer, NULL);
}

static void begin_seal(struct fixture *f)
{
    struct hf_error err;
    begin_capture(f);
    KIT_OK(run_capture(f, 1, &err), &err);
    kit_fill_manifest(&f->kit, &f->attempt, &f->manifests[0], &f->sealed);
    f->sealed.root = f->result.root;
    f->result.root = (struct hf_tree_root){.lists = NULL};
}

static enum hf_err run_seal(struct fixture *f, unsigned workers, struct hf_error *err)
{
    struct hf_commit_check_result checked;
    const struct hf_commit_check_options check = {
        .store = f->kit.store,
        .keyring = &f->kit.keyring,
        .capture = f->attempt.capture,
        .writer = f->attempt.writer,
        .root = &f->sealed.root,
        .parent = &f->manifests[0].root,
        .sample_one_in = 2,
    };
    (void)workers;
    if (hf_commit_check(&check, &checked, err) != HF_ERR_OK ||
        hf_commit_manifest(f->kit.store, &f->kit.keyring, &f->sealed, err) != HF_ERR_OK ||
        hf_commit_look_again(f->kit.store, &f->sealed, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_commit_drop_claim(f->kit.store, &f->kit.job, &f->attempt.writer, err);
}

static struct hf_object_text manifest_name(struct fixture *f, uint64_t capture)
{
    return hf_object_name_text(&(struct hf_object_name){
        .kind = HF_OBJECT_MANIFEST, .job = f->kit.job, .capture = capture});
}

/* A manifest that stands is whole, and so is what it reaches. */
static void look_at_seal(struct fixture *f)
{
    struct hf_error err;
    struct hf_manifest_read read;
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    KIT_OK(hf_list_read_manifest(f->kit.store, &f->kit.job, f->attempt.capture, &f->kit.keyring,
                                 &manifest, &read, &err),
           &err);
    expect_restored(f, &manifest.root);
    expect_objects(f, &f->attempt.writer, manifest_name(f, f->attempt.capture).text);
}

static void mourn_seal(struct fixture *f)
{
    struct hf_error err;
    uint64_t size_bytes;
    const struct hf_object_text name = manifest_name(f, f->attempt.capture);
    if (hf_store_size(f->kit.store, hf_str_of(name.text), &size_bytes, &err) == HF_ERR_OK) {
        look_at_seal(f); /* it was put, and the failure came after */
    } else {
        assert_int_equal(err.code, HF_ERR_NOT_FOUND);
        expect_objects(f, &f->attempt.writer, NULL);
    }
}

static void begin_nothing(struct fixture *f)
{
    (void)f;
}

static enum hf_err run_verify(struct fixture *f, unsigned workers, struct hf_error *err)
{
    const struct hf_verify_options options = {
        .store = f->kit.store, .level = HF_VERIFY_CONTENT, .workers = workers};
    return hf_verify_store(&options, &f->kit.key, &f->report, err);
}

static void look_at_verify(struct fixture *f)
{
    assert_int_equal(f->report.snapshots, 2);
    assert_true(f->report.blocks > 100 && f->report.objects > 10);
    expect_objects(f, NULL, NULL);
}

static void mourn_verify(struct fixture *f)
{
    expect_objects(f, NULL, NULL);
}

static enum hf_err restore(struct fixture *f, unsigned workers, bool onto, struct hf_error *err)
{
    struct hf_restore_result result;
    const struct hf_restore_options options = {
        .store = f->kit.store,
        .keyring = &f->kit.keyring,
        .root = &f->manifests[1].root,
        .directory = f->target,
        .restore_info = "what it is\n",
        .workers = workers,
        .onto = onto,
    };
    return hf_restore_run(&options, &result, err);
}

static enum hf_err run_restore(struct fixture *f, unsigned workers, struct hf_error *err)
{
    return restore(f, workers, false, err);
}

static void look_at_restore(struct fixture *f)
{
    struct hf_error err;
    char *mark = hf_path_join(f->target, HF_RESTORE_MARK_NAME);
    char *info = hf_path_join(f->target, HF_RESTORE_INFO_NAME);
    assert_false(hf_fs_exists(mark));
    KIT_OK(hf_fs_remove(info, &err), &err);
    kit_expect_same_tree(f->sources[2], f->target);
    hf_free(mark);
    hf_free(info);
}

/* Nothing is left; where removing failed too, what is left is marked, or whole. */
static void mourn_restore(struct fixture *f)
{
    struct hf_error err;
    char *mark = hf_path_join(f->target, HF_RESTORE_MARK_NAME);
    struct hf_dir_list list = {.names = NULL};
    bool marked = hf_fs_exists(mark);
    size_t files = 0;
    if (hf_fs_exists(f->target)) {
        KIT_OK(hf_fs_list(f->target, 1000, &list, &err), &err);
    }
    for (size_t i = 0; i < list.count; i++) {
        files += strncmp(list.names[i], ".hf-tmp-", 8) != 0;
    }
    if (list.count > 0 && !f->removal_failed) {
        COMPLAIN("%s stays%s", list.names[0], marked ? "" : ", and no mark");
    } else if (files > 0 && !marked) {
        look_at_restore(f);
    }
    hf_dir_list_fini(&list);
    hf_free(mark);
    expect_objects(f, NULL, NULL);
}

/* Version 1 lies there, and an engine's file that version 2 does not have. */
static void begin_onto(struct fixture *f)
{
    struct hf_error err;
    struct hf_restore_result result;
    struct hf_file *file = NULL;
    const struct hf_restore_options options = {
        .store = f->kit.store,
        .keyring = &f->kit.keyring,
        .root = &f->manifests[0].root,
        .directory = f->target,
        .restore_info = "what it was\n",
        .workers = 1,
    };
    char *old = hf_path_join(f->target, "old/1.wt");
    char *dir = hf_path_join(f->target, "old");
    KIT_OK(hf_restore_run(&options, &result, &err), &err);
    KIT_OK(hf_fs_make_dirs(dir, 0700, &err), &err);
    KIT_OK(hf_file_open(old, HF_OPEN_CREATE_NEW, 0600, &file, &err), &err);
    hf_file_drop(file);
    hf_free(old);
    hf_free(dir);
}

static enum hf_err run_onto(struct fixture *f, unsigned workers, struct hf_error *err)
{
    return restore(f, workers, true, err);
}

/* With the mark the next one goes on; without it nothing was changed, or all is done. */
static void mourn_onto(struct fixture *f)
{
    struct hf_error err;
    char *mark = hf_path_join(f->target, HF_RESTORE_MARK_NAME);
    char *old = hf_path_join(f->target, "old/1.wt");
    char *dir = hf_path_join(f->target, "old");
    char *info = hf_path_join(f->target, HF_RESTORE_INFO_NAME);
    char *lock = hf_path_join(f->target, "mongod.lock");
    if (hf_fs_exists(mark)) {
        KIT_OK(run_onto(f, 1, &err), &err);
    }
    if (hf_fs_exists(old)) {
        KIT_OK(hf_fs_remove_tree(dir, &err), &err);
        KIT_OK(hf_fs_remove(info, &err), &err);
        if (hf_fs_exists(lock) && f->removal_failed) {
            KIT_OK(hf_fs_remove(lock, &err), &err);
        }
        KIT_OK(hf_fs_sweep_temporaries(f->target, &err), &err);
        kit_expect_same_tree(f->sources[1], f->target);
    } else {
        look_at_restore(f);
    }
    hf_free(mark);
    hf_free(old);
    hf_free(dir);
    hf_free(info);
    hf_free(lock);
    expect_objects(f, NULL, NULL);
}

static enum hf_err count_tar(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    struct fixture *f = context;
    (void)err;
    f->tar_bytes += bytes.len;
    return HF_ERR_OK;
}

static struct hf_restore_tar_options tar_options(struct fixture *f, unsigned workers)
{
    return (struct hf_restore_tar_options){
        .store = f->kit.store,
        .keyring = &f->kit.keyring,
        .root = &f->manifests[1].root,
        .top = "snapshot",
        .workers = workers,
        .sink = count_tar,
        .context = f,
    };
}

static enum hf_err run_tar(struct fixture *f, unsigned workers, struct hf_error *err)
{
    struct hf_restore_result result;
    const struct hf_restore_tar_options options = tar_options(f, workers);
    f->tar_bytes = 0;
    return hf_restore_tar(&options, &result, err);
}

static void look_at_tar(struct fixture *f)
{
    struct hf_error err;
    uint64_t size = 0;
    const struct hf_restore_tar_options options = tar_options(f, 1);
    KIT_OK(hf_restore_tar_size(&options, &size, &err), &err);
    assert_int_equal(f->tar_bytes, size);
}

static enum hf_err run_delete(struct fixture *f, unsigned workers, struct hf_error *err)
{
    (void)workers;
    return hf_commit_delete_manifest(f->kit.store, &f->kit.job, f->manifests[0].capture, err);
}

static void look_at_delete(struct fixture *f)
{
    struct hf_error err;
    struct hf_capture_list captures;
    KIT_OK(hf_list_captures(f->kit.store, &f->kit.job, &captures, &err), &err);
    assert_int_equal(captures.count, 1);
    assert_int_equal(captures.captures[0], f->manifests[1].capture);
    hf_capture_list_fini(&captures);
}

static void mourn_delete(struct fixture *f)
{
    struct hf_error err;
    KIT_OK(run_delete(f, 1, &err), &err);
    look_at_delete(f);
}

static void begin_groom(struct fixture *f)
{
    struct hf_error err;
    KIT_OK(run_delete(f, 1, &err), &err);
}

static enum hf_err run_groom(struct fixture *f, unsigned workers, struct hf_error *err)
{
    struct hf_groom_result result;
    const struct hf_groom_options options = {.store = f->kit.store,
                                             .keyring = &f->kit.keyring,
                                             .living_percent = 100,
                                             .known_captures = &f->manifests[1].capture,
                                             .known_count = 1};
    (void)workers;
    return hf_groom_job(&options, &result, err);
}

static void look_at_groom(struct fixture *f)
{
    struct hf_store_list now;
    expect_restored(f, &f->manifests[1].root);
    kit_expect_no_damage(&f->kit, HF_VERIFY_STORED);
    list_objects(f, &now);
    struct hf_capture_files before = {.items = NULL};
    kit_list_files(f->template, "", &before);
    assert_true(now.count < before.count - 4);
    hf_capture_files_fini(&before);
    hf_store_list_fini(&now);
}

/* What lives is whole at every instant, and the next two grooms do the rest. */
static void mourn_groom(struct fixture *f)
{
    struct hf_error err;
    expect_restored(f, &f->manifests[1].root);
    KIT_OK(run_groom(f, 1, &err), &err);
    KIT_OK(run_groom(f, 1, &err), &err);
    look_at_groom(f);
}

static const struct act acts[] = {
    {"capture", begin_capture, run_capture, look_at_capture, mourn_capture},
    {"seal", begin_seal, run_seal, look_at_seal, mourn_seal},
    {"verify", begin_nothing, run_verify, look_at_verify, mourn_verify},
    {"restore", begin_nothing, run_restore, look_at_restore, mourn_restore},
    {"onto", begin_onto, run_onto, look_at_restore, mourn_onto},
    {"tar", begin_nothing, run_tar, look_at_tar, mourn_verify},
    {"delete", begin_nothing, run_delete, look_at_delete, mourn_delete},
    {"groom", begin_groom, run_groom, look_at_groom, mourn_groom},
};

/* ---- Failing ---- */

enum failure { OF_ALLOCATION, OF_POINT, OF_CALL };
static const char *const failure_words[] = {"allocation", "fault point", "call"};

static void fail_from(enum failure failure, uint64_t nth, uint64_t times)
{
    hf_fault_disarm_all();
    disk_fail(0, 0);
    if (failure == OF_ALLOCATION) {
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, times);
    } else if (failure == OF_POINT) {
        hf_fault_arm_nth("*", HF_ERR_IO, nth, times);
    } else {
        disk_fail(nth, times);
    }
}

/* True when something was made to fail. */
static bool fail_no_more(enum failure failure, uint64_t nth)
{
    uint64_t passes =
        failure == OF_ALLOCATION ? hf_fault_passes("base.alloc") : hf_fault_passes(NULL);
    hf_fault_disarm_all();
    the_disk->fail_at = 0;
    return failure == OF_CALL ? the_disk->failed > 0 : passes >= nth;
}

static size_t count_entries(const char *dir)
{
    struct hf_error err;
    struct hf_dir_list list;
    KIT_OK(hf_fs_list(dir, 100000, &list, &err), &err);
    size_t count = list.count;
    hf_dir_list_fini(&list);
    return count;
}

static void fini_act(struct fixture *f)
{
    hf_capture_files_fini(&f->files);
    hf_capture_result_fini(&f->result);
    f->result = (struct hf_capture_result){.packs = 0};
    hf_manifest_fini(&f->sealed);
    f->sealed = (struct hf_manifest){.capture = 0};
    hf_verify_report_fini(&f->report);
}

/* The message names a path, an object or a file of the source; for want of memory, whose memory it was. */
static bool names_something(enum failure failure, const char *message)
{
    static const char *const names[] = {"/", "WiredTiger", "collection-1.wt", "manifest "};
    static const char *const wider[] = {"capture ", "archive snapshot", "job "};
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        if (strstr(message, names[i]) != NULL) {
            return true;
        }
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(wider); i++) {
        if (failure == OF_ALLOCATION && strstr(message, wider[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void expect_told(enum failure failure, const struct hf_error *err)
{
    if (strlen(err->message) < 8 || strstr(err->message, "(null)") != NULL ||
        !names_something(failure, err->message) ||
        (failure == OF_ALLOCATION) != (err->code == HF_ERR_NO_MEMORY)) {
        COMPLAIN("%s: %s", hf_err_name(err->code), err->message);
    }
}

/* What a verification that came to its end says: damage, where a call failed under it; never for want of memory. */
static bool is_told_as_damage(const struct fixture *f, enum failure failure)
{
    for (size_t i = 0; i < f->report.kept_count; i++) {
        const struct hf_damage *damage = &f->report.damages[i];
        if (failure == OF_ALLOCATION || damage->code != HF_ERR_IO ||
            (damage->object[0] == '\0' && damage->path[0] == '\0' && damage->capture == 0) ||
            damage->message[0] == '\0') {
            COMPLAIN("called damage: '%s' '%s' capture %llu: %s: %s", damage->object, damage->path,
                     (unsigned long long)damage->capture, hf_err_name(damage->code),
                     damage->message);
        }
    }
    return f->report.damage_count > 0;
}

/* A thread that was joined is still listed for a moment. */
static void expect_one_thread(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    uint64_t until_ms = hf_clock_mono_ms() + 20000;
    while (count_entries("/proc/self/task") != 1) {
        if (hf_clock_mono_ms() > until_ms) {
            COMPLAIN("a thread stays");
            return;
        }
        (void)nanosleep(&moment, NULL);
    }
}

/* False when nothing failed: the act is over before its nth. */
static bool fail_once(struct fixture *f, const struct act *act, enum failure failure, uint64_t nth,
                      uint64_t times)
{
    struct hf_error err = {.message = ""};
    (void)snprintf(current, sizeof current, "%s, %s %llu%s", act->name, failure_words[failure],
                   (unsigned long long)nth, times == 0 ? " and all later ones" : "");
    (void)alarm(LIMIT_S);
    begin_world(f);
    act->begin(f);
    size_t descriptors = count_entries("/proc/self/fd");
    disk_watch(f->world, NULL);
    fail_from(failure, nth, times);
    enum hf_err code = act->run(f, 1 + nth % 2, &err);
    bool failed = fail_no_more(failure, nth);
    disk_watch_nothing();
    if (failure == OF_CALL && failed) {
        size_t used = strlen(current);
        (void)snprintf(current + used, sizeof current - used, " (%s)", the_disk->failed_call);
    }
    EXPECT(code == HF_ERR_OK || failed);
    /* Removing takes memory and calls of its own. */
    f->removal_failed =
        times == 0 || (failure == OF_CALL && (strncmp(the_disk->failed_call, "unlink", 6) == 0 ||
                                              strncmp(the_disk->failed_call, "rmdir", 5) == 0));
    if (code != HF_ERR_OK) {
        expect_told(failure, &err);
        act->mourn(f);
    } else if (!is_told_as_damage(f, failure)) {
        act->look(f);
    }
    if (!f->removal_failed) {
        expect_no_temporary(f);
    }
    fini_act(f);
    if (count_entries("/proc/self/fd") != descriptors) {
        COMPLAIN("%zu descriptors, %zu before", count_entries("/proc/self/fd"), descriptors);
    }
    expect_one_thread();
    return failed;
}

/* How often an act that nothing disturbs passes a place where it could fail. */
static uint64_t count_places(struct fixture *f, const struct act *act, enum failure failure)
{
    struct hf_error err;
    begin_world(f);
    act->begin(f);
    disk_watch(f->world, NULL);
    hf_fault_disarm_all();
    KIT_OK(act->run(f, 1, &err), &err);
    uint64_t count = failure == OF_ALLOCATION ? hf_fault_passes("base.alloc")
                     : failure == OF_POINT    ? hf_fault_passes(NULL)
                                              : the_disk->all_calls;
    disk_watch_nothing();
    act->look(f);
    fini_act(f);
    return count;
}

static void torture(struct fixture *f, const struct act *act, enum failure failure)
{
    bool all = run_is_soak();
    uint64_t places = count_places(f, act, failure);
    uint64_t step = run_setting("HF_TEST_EVERY", all ? 1 : 1 + places / SHARE);
    uint64_t failures = 0;
    for (uint64_t times = 0; times <= 1; times++) {
        for (uint64_t nth = 1 + (f->seed + times) % step; nth < places * 2 + 100; nth += step) {
            if (!fail_once(f, act, failure, nth, times)) {
                break;
            }
            failures++;
        }
    }
    print_message("%s: %llu places of %s, %llu failures\n", act->name, (unsigned long long)places,
                  failure_words[failure], (unsigned long long)failures);
    if (__lsan_do_recoverable_leak_check != NULL && __lsan_do_recoverable_leak_check() != 0) {
        COMPLAIN("memory is lost, of %s failures before this one", act->name);
    }
}

static void torture_all(struct fixture *f, enum failure failure)
{
#ifdef HF_FAULTS
    complaints = 0;
    for (size_t i = 0; i < HF_ARRAY_LEN(acts); i++) {
        const char *only = getenv("HF_TEST_ONLY");
        if (only == NULL || strcmp(only, acts[i].name) == 0) {
            torture(f, &acts[i], failure);
        }
    }
    assert_int_equal(complaints, 0);
#else
    (void)f;
    (void)failure;
    skip();
#endif
}

static void test_an_allocation_that_fails_is_told_and_leaves_no_trace(void **state)
{
    torture_all(*state, OF_ALLOCATION);
}

static void test_a_fault_point_that_fails_is_told_and_leaves_no_trace(void **state)
{
    torture_all(*state, OF_POINT);
}

static void test_a_system_call_that_fails_is_told_and_leaves_no_trace(void **state)
{
    torture_all(*state, OF_CALL);
}

/* ---- The template ---- */

static void dead_end(int signal_number)
{
    (void)signal_number;
    (void)!syscall(SYS_write, STDERR_FILENO, current, strlen(current));
    (void)!syscall(SYS_write, STDERR_FILENO, ": no end\n", 9);
    abort();
}

/* Two snapshots, and the packs of a capture that died. */
static void fill_template(struct fixture *f)
{
    struct hf_error err;
    struct hf_capture_result result = {.packs = 0};
    f->kit.block_bytes = BLOCK_BYTES;
    f->kit.pack_bytes = PACK_BYTES;
    kit_snapshot(&f->kit, f->sources[1], NULL, &f->manifests[0]);
    struct kit_attempt dead = kit_begin(&f->kit);
    KIT_OK(kit_run_capture(&f->kit, &dead, f->sources[2], &f->manifests[0], &result, &err), &err);
    KIT_OK(hf_commit_drop_claim(f->kit.store, &f->kit.job, &dead.writer, &err), &err);
    hf_capture_result_fini(&result);
    kit_snapshot(&f->kit, f->sources[2], &f->manifests[0], &f->manifests[1]);
    hf_store_close(HF_TAKE(f->kit.store));
    hf_capture_result_fini(&f->kit.last);
    f->kit.last = (struct hf_capture_result){.packs = 0};
}

static int make_fixture(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    assert_non_null(f);
    if (the_disk == NULL) {
        disk_make();
    }
    kit_open(&f->kit, &(struct kit_options){.on_disk = true});
    f->template = kit_path(&f->kit, "store");
    f->world = kit_path(&f->kit, "world");
    f->store_dir = kit_path(&f->kit, "world/store");
    f->target = kit_path(&f->kit, "world/target");
    f->journal = kit_path(&f->kit, "world/journal/job");
    f->cache = kit_path(&f->kit, "world/cache");
    for (size_t version = 1; version <= 2; version++) {
        f->sources[version] = kit_path(&f->kit, version == 1 ? "source-1" : "source-2");
        write_source(f->sources[version], version);
    }
    fill_template(f);
    f->seed = run_seed();
    print_message("seed %llu\n", (unsigned long long)f->seed);
    (void)signal(SIGALRM, dead_end);
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    struct fixture *f = *state;
    (void)alarm(0);
    disk_watch_nothing();
    hf_manifest_fini(&f->manifests[0]);
    hf_manifest_fini(&f->manifests[1]);
    for (size_t version = 1; version <= 2; version++) {
        hf_free(f->sources[version]);
    }
    hf_free(f->template);
    hf_free(f->world);
    hf_free(f->store_dir);
    hf_free(f->target);
    hf_free(f->journal);
    hf_free(f->cache);
    kit_close(&f->kit);
    hf_free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_allocation_that_fails_is_told_and_leaves_no_trace,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(test_a_fault_point_that_fails_is_told_and_leaves_no_trace,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(test_a_system_call_that_fails_is_told_and_leaves_no_trace,
                                        make_fixture, drop_fixture),
    };
    kit_use_all();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
