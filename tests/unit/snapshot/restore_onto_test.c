/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore onto files that lie there already: what is equal is neither fetched nor touched, what differs is written, what
 * the snapshot does not have goes, and whatever stands in the way is refused by name before anything is changed.
 */
#include "support/snapshot_kit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "snapshot/tree.h"

#define BLOCK ((uint32_t)4096)
#define INFO "which moment it is\n"

struct fixture {
    struct kit kit;
    char *source, *target; /* owned */
    char *like;            /* owned; NULL: none */
    struct hf_manifest manifest;
    struct hf_restore_result result;
    struct hf_error err;
    bool leave_foreign;
};

static char *below(const char *dir, const char *name)
{
    char *path = hf_path_join(dir, name);
    assert_non_null(path);
    return path;
}

/* Bytes that differ from block to block and from seed to seed; put where the file has them. */
static void write_at(const char *dir, const char *name, uint64_t offset, size_t len, uint64_t seed)
{
    struct hf_error err;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    HF_CLEANUP(hf_free) char *path = below(dir, name);
    HF_CLEANUP(hf_free) char *parent = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
    HF_CLEANUP(hf_free) uint8_t *bytes = hf_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        uint64_t z = (seed * 1000003 + offset + i) * UINT64_C(0x9e3779b97f4a7c15);
        bytes[i] = (uint8_t)(z >> 56);
    }
    KIT_OK(hf_fs_make_dirs(parent, 0700, &err), &err);
    KIT_OK(hf_file_open(path, HF_OPEN_CREATE, 0600, &file, &err), &err);
    if (len > 0) {
        KIT_OK(hf_file_write_at(file, offset, hf_bytes_of(bytes, len), &err), &err);
    }
}

static void set_size(const char *dir, const char *name, uint64_t size)
{
    HF_CLEANUP(hf_free) char *path = below(dir, name);
    assert_int_equal(truncate(path, (off_t)size), 0);
}

static void forget(const char *dir, const char *name)
{
    HF_CLEANUP(hf_free) char *path = below(dir, name);
    assert_int_equal(unlink(path), 0);
}

static bool is_there(const char *dir, const char *name)
{
    HF_CLEANUP(hf_free) char *path = below(dir, name);
    return hf_fs_exists(path);
}

static struct hf_file_info info_of(const char *dir, const char *name)
{
    struct hf_error err;
    struct hf_file_info info;
    HF_CLEANUP(hf_free) char *path = below(dir, name);
    KIT_OK(hf_fs_lstat(path, &info, &err), &err);
    return info;
}

static void make_source(const char *dir)
{
    write_at(dir, "WiredTiger", 0, 50, 1);
    write_at(dir, "WiredTiger.backup", 0, 3 * BLOCK + 17, 2);
    write_at(dir, "a.wt", 0, 10 * BLOCK, 3);
    write_at(dir, "app/b.wt", 0, 300 * BLOCK + 5, 4); /* nodes of two levels */
    write_at(dir, "empty.wt", 0, 0, 5);
    write_at(dir, "journal/WiredTigerLog.0000000001", 0, 2 * BLOCK, 6);
    write_at(dir, "sparse.wt", 20 * BLOCK, BLOCK, 7); /* holes, one block, and a hole behind it */
    set_size(dir, "sparse.wt", 200 * BLOCK);
    write_at(dir, "storage.bson", 0, 114, 8);
}

static enum hf_err restore_onto(struct fixture *f)
{
    const struct hf_restore_options options = {
        .store = f->kit.store,
        .keyring = &f->kit.keyring,
        .root = &f->manifest.root,
        .directory = f->target,
        .restore_info = INFO,
        .workers = 3,
        .onto = true,
        .leave_foreign = f->leave_foreign,
        .like = f->like,
    };
    f->result = (struct hf_restore_result){.files = 0};
    return hf_restore_run(&options, &f->result, &f->err);
}

/* As an earlier restore left it, restoreInfo.txt included. */
static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    const struct kit_options options = {.on_disk = true};
    assert_non_null(f);
    kit_open(&f->kit, &options);
    f->kit.block_bytes = BLOCK;
    f->source = kit_path(&f->kit, "source");
    f->target = kit_path(&f->kit, "target");
    make_source(f->source);
    kit_snapshot(&f->kit, f->source, NULL, &f->manifest);
    kit_restore(&f->kit, &f->manifest, f->target);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    hf_fault_disarm_all();
    hf_manifest_fini(&f->manifest);
    hf_free(f->source);
    hf_free(f->target);
    hf_free(f->like);
    kit_close(&f->kit);
    hf_free(f);
    return 0;
}

/* The source's files, restoreInfo.txt, and nothing else. */
static void expect_restored(struct fixture *f)
{
    assert_true(is_there(f->target, HF_RESTORE_INFO_NAME));
    assert_false(is_there(f->target, HF_RESTORE_MARK_NAME));
    forget(f->target, HF_RESTORE_INFO_NAME);
    kit_expect_same_tree(f->source, f->target);
}

static void expect_refused(struct fixture *f, enum hf_err code, const char *text)
{
    char before[65];
    char after[65];
    HF_CLEANUP(hf_free) char *path = below(f->target, "a.wt");
    kit_file_hash(path, before);
    assert_int_equal(restore_onto(f), code);
    if (strstr(f->err.message, text) == NULL) {
        fail_msg("'%s' lacks '%s'", f->err.message, text);
    }
    kit_file_hash(path, after);
    assert_string_equal(before, after);
    assert_false(is_there(f->target, HF_RESTORE_MARK_NAME));
    assert_false(is_there(f->target, "mongod.lock"));
}

static void test_what_is_equal_is_neither_fetched_nor_touched(void **state)
{
    struct fixture *f = *state;
    struct hf_file_info before = info_of(f->target, "app/b.wt");
    KIT_OK(restore_onto(f), &f->err);
    struct hf_file_info after = info_of(f->target, "app/b.wt");
    assert_int_equal(before.mtime_ns, after.mtime_ns);
    assert_int_equal(before.ctime_ns, after.ctime_ns);
    assert_int_equal(before.inode, after.inode);
    /* storage.bson alone is made unreadable for the time. */
    assert_int_equal(f->result.written_bytes, 114);
    assert_int_equal(f->result.equal_bytes, f->manifest.root.sums.bytes - 114);
    assert_true(f->result.read_bytes < 1024);
    assert_int_equal(f->result.files, 8);
    assert_int_equal(f->result.removed_files, 0);
    expect_restored(f);
}

static void test_only_the_blocks_that_differ_are_written(void **state)
{
    struct fixture *f = *state;
    write_at(f->target, "a.wt", 5 * BLOCK + 7, 1, 100);
    write_at(f->target, "app/b.wt", 129 * BLOCK, 2 * BLOCK, 101);
    write_at(f->target, "app/b.wt", 300 * BLOCK, 5, 102);
    KIT_OK(restore_onto(f), &f->err);
    assert_int_equal(f->result.written_bytes, 3 * BLOCK + 5 + 114);
    expect_restored(f);
}

static void test_shorter_longer_missing_and_empty_files(void **state)
{
    struct fixture *f = *state;
    set_size(f->target, "a.wt", 3 * BLOCK + 9);
    write_at(f->target, "app/b.wt", 300 * BLOCK + 5, 70000, 103);
    write_at(f->target, "empty.wt", 0, 10, 104);
    forget(f->target, "journal/WiredTigerLog.0000000001");
    HF_CLEANUP(hf_free) char *journal = below(f->target, "journal");
    assert_int_equal(rmdir(journal), 0);
    KIT_OK(restore_onto(f), &f->err);
    assert_int_equal(f->result.written_bytes, 7 * BLOCK + 2 * BLOCK + 114);
    expect_restored(f);
}

static void test_holes_and_zeros(void **state)
{
    struct fixture *f = *state;
    write_at(f->target, "sparse.wt", 100 * BLOCK, 3 * BLOCK, 105); /* data in a hole */
    HF_CLEANUP(hf_free) char *sparse = below(f->target, "sparse.wt");
    int fd = open(sparse, O_RDWR | O_CLOEXEC);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * BLOCK, BLOCK),
                     0);
    assert_int_equal(close(fd), 0);
    uint64_t disk_bytes = info_of(f->target, "sparse.wt").disk_bytes;
    KIT_OK(restore_onto(f), &f->err);
    assert_int_equal(f->result.written_bytes, 4 * BLOCK + 114);
    assert_true(info_of(f->target, "sparse.wt").disk_bytes < disk_bytes);
    expect_restored(f);
}

static void test_what_the_snapshot_does_not_have_goes(void **state)
{
    struct fixture *f = *state;
    write_at(f->target, "WiredTiger.turtle", 0, 100, 110);
    write_at(f->target, "WiredTiger.lock", 0, 21, 110);
    write_at(f->target, "WiredTigerHS.wt", 0, 5000, 110);
    write_at(f->target, "journal/WiredTigerPreplog.0000000001", 0, 100, 110);
    write_at(f->target, "gone/collection/7.wt", 0, 100, 110);
    write_at(f->target, "gone/index/8.wt", 0, 100, 110);
    write_at(f->target, "_tmp/extsort.1", 0, 100, 110);
    write_at(f->target, "mongod.lock", 0, 5, 110);
    write_at(f->target, ".hf-tmp-0123456789abcdef", 0, 5, 110);
    write_at(f->target, "diagnostic.data/metrics.1", 0, 5, 110);
    write_at(f->target, "rollback/app.b/removed.1.bson", 0, 5, 110);
    KIT_OK(restore_onto(f), &f->err);
    assert_int_equal(f->result.removed_files, 8);
    assert_false(is_there(f->target, "gone"));
    assert_false(is_there(f->target, "_tmp"));
    assert_true(is_there(f->target, "diagnostic.data/metrics.1"));
    assert_true(is_there(f->target, "rollback/app.b/removed.1.bson"));
    forget(f->target, "diagnostic.data/metrics.1");
    forget(f->target, "rollback/app.b/removed.1.bson");
    expect_restored(f);
}

static void test_what_is_no_databases_is_refused_or_left(void **state)
{
    struct fixture *f = *state;
    write_at(f->target, "notes.txt", 0, 10, 111);
    write_at(f->target, "app/keep.me", 0, 10, 111);
    expect_refused(f, HF_ERR_CONFLICT, "app/keep.me, notes.txt; hint: ");
    f->leave_foreign = true;
    KIT_OK(restore_onto(f), &f->err);
    assert_true(is_there(f->target, "notes.txt"));
    forget(f->target, "notes.txt");
    forget(f->target, "app/keep.me");
    expect_restored(f);
}

static void test_what_a_replay_left_goes(void **state)
{
    struct fixture *f = *state;
    write_at(f->target, "holdfast-replay.json", 0, 10, 111);
    KIT_OK(restore_onto(f), &f->err);
    assert_false(is_there(f->target, "holdfast-replay.json"));
    expect_restored(f);
}

static void test_keys_that_the_snapshot_does_not_have_are_refused(void **state)
{
    struct fixture *f = *state;
    write_at(f->target, "key.db/WiredTiger.wt", 0, 10, 112);
    expect_refused(f, HF_ERR_CONFLICT, "key.db/WiredTiger.wt; hint: ");
    f->leave_foreign = true;
    KIT_OK(restore_onto(f), &f->err);
    assert_true(is_there(f->target, "key.db/WiredTiger.wt"));
}

static void test_links_are_refused(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_free) char *file = below(f->target, "a.wt");
    HF_CLEANUP(hf_free) char *other = below(f->kit.dir, "other");
    HF_CLEANUP(hf_free) char *link_path = below(f->target, "latest");
    f->leave_foreign = true;
    assert_int_equal(link(file, other), 0);
    expect_refused(f, HF_ERR_CONFLICT, "a.wt has 2 names");
    assert_int_equal(unlink(other), 0);
    assert_int_equal(symlink("a.wt", link_path), 0);
    expect_refused(f, HF_ERR_CONFLICT, "latest is a symbolic link");
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(rename(file, other), 0);
    assert_int_equal(symlink(other, file), 0);
    expect_refused(f, HF_ERR_CONFLICT, "a.wt is a symbolic link");
}

static void test_a_directory_that_is_no_databases_is_refused(void **state)
{
    struct fixture *f = *state;
    f->manifest.root.sums.files = 8;
    forget(f->target, "WiredTiger.backup");
    expect_refused(f, HF_ERR_CONFLICT, "holds neither an earlier restore nor a database's files");
    hf_free(f->target);
    f->target = kit_path(&f->kit, "nowhere");
    assert_int_equal(restore_onto(f), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(f->err.message, "leave --onto out"));
    assert_false(hf_fs_exists(f->target));
}

/* The lock of another process, held until the pipe is closed. */
static pid_t hold(const char *path, bool record, int *release)
{
    int ready[2];
    int go[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct hf_error err;
        struct hf_lock_file *lock = NULL;
        struct flock wanted = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        bool held = record ? fcntl(fd, F_SETLK, &wanted) == 0
                           : hf_lock_file_take(path, &lock, &err) == HF_ERR_OK;
        (void)close(go[1]);
        (void)!write(ready[1], &byte, 1);
        (void)!read(go[0], &byte, 1);
        _exit(held ? 0 : 1);
    }
    (void)close(go[0]);
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    *release = go[1];
    return pid;
}

static void let_go(pid_t pid, int release)
{
    int status = 0;
    (void)close(release);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_a_directory_in_use_is_refused(void **state)
{
    static const struct {
        const char *name;
        bool record;
        const char *text;
    } uses[] = {{"mongod.lock", false, "mongod.lock: process "},
                {"WiredTiger.lock", true, "WiredTiger.lock: process "},
                {HF_RESTORE_MARK_NAME, false, "another restore into the directory is under way"}};
    struct fixture *f = *state;
    for (size_t i = 0; i < HF_ARRAY_LEN(uses); i++) {
        int release = -1;
        HF_CLEANUP(hf_free) char *path = below(f->target, uses[i].name);
        pid_t pid = hold(path, uses[i].record, &release);
        assert_int_equal(restore_onto(f), HF_ERR_CONFLICT);
        if (strstr(f->err.message, uses[i].text) == NULL) {
            fail_msg("'%s' lacks '%s'", f->err.message, uses[i].text);
        }
        let_go(pid, release);
        forget(f->target, uses[i].name);
    }
    kit_expect_same_tree(f->source, f->target);
}

/* Spoils the only stored copy of a file's first block. */
static void damage_block_of(struct fixture *f, const char *name)
{
    struct hf_error err;
    HF_CLEANUP(hf_tree_reader_destroy) struct hf_tree_reader *reader = NULL;
    HF_CLEANUP(hf_block_coder_destroy) struct hf_block_coder *coder = NULL;
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *walk = NULL;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    const struct hf_tree_reader_options reading = {.store = f->kit.store,
                                                   .keyring = &f->kit.keyring};
    const struct hf_block_coder_options coding = {.keyring = &f->kit.keyring};
    const struct hf_file_entry *entry = NULL;
    struct hf_found_block found;
    const uint8_t bytes[8] = {0};
    KIT_OK(hf_tree_reader_create(&reading, &reader, &err), &err);
    KIT_OK(hf_block_coder_create(&coding, &coder, &err), &err);
    KIT_OK(hf_file_walk_create(reader, coder, &f->manifest.root, &walk, &err), &err);
    KIT_OK(hf_file_walk_seek(walk, hf_str_of(name), &entry, &err), &err);
    assert_non_null(entry);
    KIT_OK(hf_tree_find(reader, &entry->refs[0].address, 0, &found, &err), &err);
    HF_CLEANUP(hf_free) char *store = kit_path(&f->kit, "store");
    HF_CLEANUP(hf_free)
    char *path = below(store, hf_object_name_text(&found.object).text);
    assert_int_equal(chmod(path, 0600), 0);
    KIT_OK(hf_file_open(path, HF_OPEN_WRITE, 0, &file, &err), &err);
    KIT_OK(hf_file_write_at(file, found.block.place + 4, hf_bytes_of(bytes, sizeof bytes), &err),
           &err);
}

static void test_a_damaged_block_is_missed_only_where_it_is_needed(void **state)
{
    struct fixture *f = *state;
    damage_block_of(f, "WiredTiger.backup");
    write_at(f->target, "WiredTiger.backup", 2 * BLOCK, BLOCK, 120);
    KIT_OK(restore_onto(f), &f->err);
    write_at(f->target, "WiredTiger.backup", 0, BLOCK, 121);
    assert_int_equal(restore_onto(f), HF_ERR_CORRUPT);
    assert_non_null(strstr(f->err.message, "/WiredTiger.backup at 0: "));
    assert_true(is_there(f->target, HF_RESTORE_MARK_NAME));
}

/* The process dies at the nth pass of any fault point. False: it came to its end. */
static bool dies(struct fixture *f, uint64_t nth)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct hf_error err;
        char text[32];
        (void)snprintf(text, sizeof text, "*:%llu=die", (unsigned long long)nth);
        if (hf_fault_parse(text, &err) != HF_ERR_OK) {
            _exit(2);
        }
        _exit(restore_onto(f) == HF_ERR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
    }
    assert_int_equal(status, 0);
    return false;
}

static void differ(struct fixture *f)
{
    write_at(f->target, "a.wt", 2 * BLOCK, 6 * BLOCK, 130);
    write_at(f->target, "app/b.wt", 100 * BLOCK, 4 * BLOCK, 130);
    set_size(f->target, "app/b.wt", 290 * BLOCK);
    write_at(f->target, "sparse.wt", 50 * BLOCK, BLOCK, 130);
    write_at(f->target, "old.wt", 0, 2 * BLOCK, 130);
    write_at(f->target, "WiredTiger.turtle", 0, 50, 130);
    write_at(f->target, "storage.bson", 0, 20, 130);
    if (is_there(f->target, "empty.wt")) {
        forget(f->target, "empty.wt");
    }
}

static void copy_tree(const char *from, const char *to)
{
    struct hf_error err;
    int status = 0;
    KIT_OK(hf_fs_remove_tree(to, &err), &err);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("cp", "cp", "-a", from, to, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Nothing was changed yet: what a restore puts there first is left out of the comparison. */
static void expect_untouched(struct fixture *f, const char *before)
{
    struct hf_error err;
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {.names = NULL};
    KIT_OK(hf_fs_list(f->target, 1000, &names, &err), &err);
    for (size_t i = 0; i < names.count; i++) {
        if (strncmp(names.names[i], ".hf-tmp-", 8) == 0 ||
            strcmp(names.names[i], "mongod.lock") == 0) {
            forget(f->target, names.names[i]);
        }
    }
    kit_expect_same_tree(before, f->target);
}

/* With the mark, or untouched, or whole: no fourth. Going on ends well from each. */
static void test_a_death_anywhere_leaves_the_mark_and_the_next_goes_on(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_free) char *before = kit_path(&f->kit, "before");
    uint64_t deaths = 0;
    differ(f);
    copy_tree(f->target, before);
    for (uint64_t nth = 1; dies(f, nth); nth++) {
        deaths++;
        if (is_there(f->target, HF_RESTORE_MARK_NAME)) {
            KIT_OK(restore_onto(f), &f->err);
            expect_restored(f);
        } else if (is_there(f->target, "old.wt")) {
            expect_untouched(f, before);
        } else {
            expect_restored(f);
        }
        copy_tree(before, f->target);
    }
    print_message("%llu deaths\n", (unsigned long long)deaths);
    assert_true(deaths > 60);
    expect_restored(f);
}

/* What a restore into an empty directory left when it died. */
static void test_a_restore_that_died_is_gone_on_with(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    int status = 0;
    KIT_OK(hf_fs_remove_tree(f->target, &err), &err);
    pid_t pid = fork();
    if (pid == 0) {
        hf_fault_arm_death("snapshot.restore.write", 5);
        kit_restore(&f->kit, &f->manifest, f->target);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_true(is_there(f->target, HF_RESTORE_MARK_NAME));
    KIT_OK(restore_onto(f), &f->err);
    /* Of the bytes that are no holes some lay there. */
    assert_true(f->result.written_bytes < f->manifest.root.sums.bytes - 199 * BLOCK);
    expect_restored(f);
}

static void test_a_failure_leaves_the_mark_and_says_so(void **state)
{
    struct fixture *f = *state;
    differ(f);
    hf_fault_arm("snapshot.restore.write", HF_ERR_NO_SPACE);
    assert_int_equal(restore_onto(f), HF_ERR_NO_SPACE);
    assert_non_null(strstr(f->err.message, "a mixture now"));
    assert_true(is_there(f->target, HF_RESTORE_MARK_NAME));
    assert_false(is_there(f->target, HF_RESTORE_INFO_NAME));
    KIT_OK(restore_onto(f), &f->err);
    expect_restored(f);
}

/* ---- Beside other files ---- */

#define DATA_BYTES(f)                                                                              \
    ((f)->manifest.root.sums.bytes - 199 * (uint64_t)BLOCK) /* without the holes */

/* The restored files are those of a member that runs; the new ones are to be made from them. */
static void make_like(struct fixture *f)
{
    f->like = f->target;
    f->target = kit_path(&f->kit, "beside");
}

/* Restores, and the files that were only looked at are as they were. */
static void restore_beside(struct fixture *f)
{
    HF_CLEANUP(hf_free) char *copy = kit_path(&f->kit, "copy");
    HF_CLEANUP(hf_free) char *command = hf_asprintf("cp -a %s %s", f->like, copy);
    assert_int_equal(system(command), 0); /* NOLINT */
    KIT_OK(restore_onto(f), &f->err);
    kit_expect_same_tree(copy, f->like);
    expect_restored(f);
}

static void test_blocks_of_other_files_are_taken_and_not_fetched(void **state)
{
    struct fixture *f = *state;
    make_like(f);
    restore_beside(f);
    assert_int_equal(f->result.reused_bytes, DATA_BYTES(f));
    assert_int_equal(f->result.read_bytes, 0);
    assert_int_equal(f->result.written_bytes, DATA_BYTES(f));
    assert_int_equal(info_of(f->target, "sparse.wt").disk_bytes,
                     info_of(f->source, "sparse.wt").disk_bytes);
}

static void test_what_other_files_do_not_have_is_fetched(void **state)
{
    struct fixture *f = *state;
    make_like(f);
    write_at(f->like, "a.wt", 5 * BLOCK + 7, 1, 100);
    set_size(f->like, "app/b.wt", 290 * BLOCK + 1);
    write_at(f->like, "sparse.wt", 100 * BLOCK, 3 * BLOCK, 105);
    forget(f->like, "journal/WiredTigerLog.0000000001");
    write_at(f->like, "mine", 0, 99, 106);
    restore_beside(f);
    assert_int_equal(f->result.reused_bytes, DATA_BYTES(f) - BLOCK - 10 * BLOCK - 5 - 2 * BLOCK);
    assert_true(f->result.read_bytes > 0);
}

static void test_no_other_files_are_no_failure(void **state)
{
    struct fixture *f = *state;
    make_like(f);
    struct hf_error err;
    KIT_OK(hf_fs_remove_tree(f->like, &err), &err);
    KIT_OK(restore_onto(f), &f->err);
    assert_int_equal(f->result.reused_bytes, 0);
    expect_restored(f);
}

static void test_a_restore_beside_that_died_is_gone_on_with(void **state)
{
    struct fixture *f = *state;
    unsigned deaths = 0;
    make_like(f);
    for (uint64_t nth = 1;; nth += 40) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) {
            hf_fault_arm_death("snapshot.restore.reuse", nth);
            _exit(restore_onto(f) == HF_ERR_OK ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            break;
        }
        deaths++;
        assert_true(is_there(f->target, HF_RESTORE_MARK_NAME));
    }
    assert_true(deaths > 1);
    expect_restored(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
        TEST(test_what_is_equal_is_neither_fetched_nor_touched),
        TEST(test_blocks_of_other_files_are_taken_and_not_fetched),
        TEST(test_what_other_files_do_not_have_is_fetched),
        TEST(test_no_other_files_are_no_failure),
        TEST(test_a_restore_beside_that_died_is_gone_on_with),
        TEST(test_only_the_blocks_that_differ_are_written),
        TEST(test_shorter_longer_missing_and_empty_files),
        TEST(test_holes_and_zeros),
        TEST(test_what_the_snapshot_does_not_have_goes),
        TEST(test_what_is_no_databases_is_refused_or_left),
        TEST(test_what_a_replay_left_goes),
        TEST(test_keys_that_the_snapshot_does_not_have_are_refused),
        TEST(test_links_are_refused),
        TEST(test_a_directory_that_is_no_databases_is_refused),
        TEST(test_a_directory_in_use_is_refused),
        TEST(test_a_damaged_block_is_missed_only_where_it_is_needed),
        TEST(test_a_death_anywhere_leaves_the_mark_and_the_next_goes_on),
        TEST(test_a_restore_that_died_is_gone_on_with),
        TEST(test_a_failure_leaves_the_mark_and_says_so),
    };
    kit_use_all();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
