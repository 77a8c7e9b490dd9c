/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever dies, and whenever: a server and its agent live through a first start, two captures, a deletion, a groom and
 * a restore. One such life is counted; then, for each call that changes the disk and for each fault point in turn, a
 * life dies there (SIGKILL), the disk may forget what was not synced (support/disk.h), and both start again as always.
 *
 * Afterwards: no attempt is left open; every snapshot that was listed restores to its bytes; a manifest stands for
 * exactly the listed ones; an unlisted one is not served; the next capture is complete and sends nothing again that a
 * finished pack holds; what a restore left without its mark is whole; all that is stored verifies; and when all is
 * deleted, two grooms leave nothing (I1 to I5, I8, I11).
 *
 * HF_TEST_SEED chooses the points of a short run (printed), HF_TEST_EVERY how far they lie apart; HOLDFAST_SOAK takes
 * all of them, and each call three times: everything kept, only what was synced, torn.
 */
#include "crash/server/life.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>
#include <sys/wait.h>

#include "base/fault.h"
#include "codec/hash.h"
#include "snapshot/commit.h"
#include "snapshot/groom.h"
#include "snapshot/journal.h"
#include "snapshot/list.h"
#include "snapshot/verify.h"
#include "support/disk.h"
#include "support/run.h"

#define VERSIONS 2
#define FILES 5
#define SHORT_POINTS 36
#define LIMIT_S 300 /* for one life, on a machine that is very busy */
#define GROOMS 2
#define SECOND_CALLS 600 /* a recovery makes about so many */

/* What a life has been told before it died; shared with the children. */
struct story {
    bool listed[VERSIONS + 1];
    bool delete_asked, deleted;
    bool restored_first, restored;
    bool target_gone;              /* a recovery has looked at it, and removes it */
    bool all_gone;                 /* a recovery deletes everything */
    uint64_t reused[VERSIONS + 1]; /* blocks, by the life that nothing disturbed */
    uint64_t fault_passes;
    uint64_t deaths, second_deaths, adopted; /* for the last line */
};

struct fixture {
    char *dir;
    char *world; /* watched */
    char *attic; /* see disk.h */
    char *sources[VERSIONS + 1];
    struct story *story;
    uint64_t seed;
};

/* ---- The two versions of the source ---- */

static const char *const file_names[FILES] = {"WiredTiger", "collection-0.wt", "collection-2.wt",
                                              "journal/log-1", "index/index-1.wt"};
/* Several nodes of 128 blocks, one of a few, an odd end, a small file, an empty one. */
static const size_t file_sizes[FILES] = {46, 1300000, 200000, 70001, 0};

static void write_source(const char *dir, size_t version)
{
    struct hf_error err;
    for (size_t i = 0; i < FILES; i++) {
        char *path = hf_path_join(dir, file_names[i]);
        char *parent = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
        struct hf_file *file = NULL;
        size_t len = file_sizes[i] + (i == 2 ? version * 9000 : 0);
        uint8_t *bytes = hf_alloc(len + 8);
        assert_non_null(bytes);
        for (size_t at = 0; at < len; at += 8) {
            /* The second version has changed stretches, and holes, among the rest. */
            bool changed = version == 2 && at / 50000 % 4 == 1;
            bool zero = at / 30000 % 5 == 4;
            hf_store_le64(bytes + at, zero ? 0 : disk_mix(i * 2 + (changed ? 2 : 1), at, 7));
        }
        assert_int_equal(hf_fs_make_dirs(parent, 0700, &err), HF_ERR_OK);
        assert_int_equal(hf_file_open(path, HF_OPEN_CREATE_NEW, 0600, &file, &err), HF_ERR_OK);
        assert_int_equal(hf_file_write_at(file, 0, hf_bytes_of(bytes, len), &err), HF_ERR_OK);
        hf_file_drop(file);
        hf_free(bytes);
        hf_free(parent);
        hf_free(path);
    }
}

static void expect_same_file(const char *a, const char *b)
{
    struct hf_error err;
    struct hf_buf left = HF_BUF_INIT((size_t)4 << 20);
    struct hf_buf right = HF_BUF_INIT((size_t)4 << 20);
    LIFE_OK(hf_fs_read_whole(a, (size_t)4 << 20, &left, &err), &err);
    LIFE_OK(hf_fs_read_whole(b, (size_t)4 << 20, &right, &err), &err);
    if (left.len != right.len || (left.len > 0 && memcmp(left.data, right.data, left.len) != 0)) {
        LIFE_FAIL("%s and %s differ", a, b);
    }
    hf_buf_fini(&left);
    hf_buf_fini(&right);
}

/* dir holds the files of a version, and extra ones beside them. */
static void expect_version(const struct fixture *f, const char *dir, size_t version, size_t extra)
{
    struct hf_capture_files found = {.items = NULL};
    life_list_files(dir, "", &found);
    LIFE_CHECK(found.count == FILES + extra);
    for (size_t i = 0; i < FILES; i++) {
        char *restored = hf_path_join(dir, file_names[i]);
        char *source = hf_path_join(f->sources[version], file_names[i]);
        expect_same_file(source, restored);
        hf_free(restored);
        hf_free(source);
    }
    hf_capture_files_fini(&found);
}

/* ---- The life that dies ---- */

static void groom(struct life *life)
{
    struct hf_error err;
    struct hf_keyring keyring;
    struct hf_keep_snapshots snapshots;
    struct hf_groom_result result;
    uint64_t known[64];
    size_t count = 0;
    life_load_keys(life, &keyring);
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        if (snapshots.items[i].state == HF_SNAPSHOT_COMPLETE) {
            LIFE_CHECK(count < HF_ARRAY_LEN(known));
            known[count++] = snapshots.items[i].capture;
        }
    }
    const struct hf_groom_options options = {.store = life->server.app.store,
                                             .keyring = &keyring,
                                             .living_percent = 100,
                                             .known_captures = known,
                                             .known_count = count};
    LIFE_OK(hf_groom_job(&options, &result, &err), &err);
    hf_keep_snapshots_fini(&snapshots);
    hf_keyring_wipe(&keyring);
}

/* The second time onto what the first time left. */
static void restore_into_target(struct life *life, const struct hf_id *snapshot, bool onto)
{
    struct hf_error err;
    struct hf_restore_record restore;
    char *target = hf_path_join(life->restore_root, "target");
    const struct hf_flow_restore_wish wish = {.project = life->server.app.first_project,
                                              .snapshot = *snapshot,
                                              .directory = target,
                                              .onto = onto};
    LIFE_OK(hf_flow_restore(&life->server.app, &wish, &restore, &err), &err);
    life_work(life);
    struct hf_id id = restore.id;
    LIFE_OK(hf_keep_restore_get(life->server.app.catalog, &id, &restore, NULL, &err), &err);
    if (restore.state != HF_RESTORE_FINISHED) {
        LIFE_FAIL("the restore is %s: %s", hf_restore_state_word(restore.state), restore.error);
    }
    hf_free(target);
}

static void live(struct fixture *f)
{
    struct hf_error err;
    struct life life;
    struct hf_snapshot_record first;
    struct hf_snapshot_record second;
    struct story *story = f->story;
    life_begin(&life, f->world);
    memcpy(life.sources, f->sources, sizeof life.sources);
    life_start_server(&life);
    life_start_agent(&life);
    life_start_job(&life);
    life_take(&life, 1, &first);
    story->listed[1] = true;
    life_take(&life, 2, &second);
    story->listed[2] = true;
    if (story->reused[2] == 0) {
        story->reused[1] = first.blocks_reused;
        story->reused[2] = second.blocks_reused;
    }
    restore_into_target(&life, &first.id, false);
    story->restored_first = true;
    story->delete_asked = true;
    LIFE_OK(hf_flow_delete(&life.server.app, &first.id, &err), &err);
    story->deleted = true;
    groom(&life);
    restore_into_target(&life, &second.id, true);
    story->restored = true;
    life_stop(&life);
    story->fault_passes = hf_fault_passes(NULL);
}

/* ---- The life after ---- */

/* Blocks of a version that finished packs of a dead attempt hold, as its journal tells. */
static uint64_t blocks_in_journal(struct life *life, const struct hf_snapshot_record *record)
{
    struct hf_error err;
    struct hf_journal_reader *journal = NULL;
    char *base = NULL;
    uint64_t count = 0;
    const struct hf_journal_id id = {
        .job = record->job, .capture = record->capture, .writer = record->writer};
    LIFE_OK(hf_agent_state_journal(life->state, &record->job, &base, &err), &err);
    char *path = hf_asprintf("%s.%010llx", base, (unsigned long long)record->capture);
    if (hf_journal_open(path, &id, &journal, &err) == HF_ERR_OK) {
        for (size_t i = 0; i < FILES; i++) {
            for (uint64_t node = 0; node * 128 * LIFE_BLOCK_BYTES < file_sizes[i] + 20000; node++) {
                const struct hf_journal_place place = {.path = hf_str_of(file_names[i]),
                                                       .block_bytes = LIFE_BLOCK_BYTES,
                                                       .node = node};
                struct hf_node refs;
                bool there = false;
                LIFE_OK(hf_journal_find(journal, &place, &refs, &there, &err), &err);
                for (unsigned k = 0; there && k < refs.count; k++) {
                    count += refs.refs[k].address.capture == record->capture;
                }
            }
        }
    }
    hf_journal_drop(journal);
    hf_free(path);
    hf_free(base);
    return count;
}

/* A deletion that was cut off is finished by asking again. */
static void finish_deletions(struct life *life)
{
    struct hf_error err;
    struct hf_keep_snapshots snapshots;
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        if (snapshots.items[i].state == HF_SNAPSHOT_EXPIRED) {
            LIFE_OK(hf_flow_delete(&life->server.app, &snapshots.items[i].id, &err), &err);
        }
    }
    hf_keep_snapshots_fini(&snapshots);
}

static void expect_what_was_told(struct life *life, const struct story *story)
{
    struct hf_keep_snapshots snapshots;
    bool complete[VERSIONS + 1] = {false};
    bool expired[VERSIONS + 1] = {false};
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        size_t version = (size_t)(one->description[0] - '0');
        LIFE_CHECK(version == 1 || version == 2);
        if (one->state == HF_SNAPSHOT_IN_PROGRESS) {
            LIFE_FAIL("snapshot %zu is still open", version);
        }
        complete[version] = complete[version] || one->state == HF_SNAPSHOT_COMPLETE;
        expired[version] = expired[version] || one->state == HF_SNAPSHOT_EXPIRED;
    }
    LIFE_CHECK(!story->listed[1] || complete[1] || story->all_gone ||
               (story->delete_asked && expired[1]));
    LIFE_CHECK(!story->listed[2] || complete[2] || story->all_gone);
    LIFE_CHECK(!story->deleted || !complete[1]);
    hf_keep_snapshots_fini(&snapshots);
}

/* A manifest stands for exactly the snapshots that are listed; no other is served. */
static void expect_only_listed_manifests(struct life *life)
{
    struct hf_error err;
    struct hf_keyring keyring;
    struct hf_keep_snapshots snapshots;
    struct hf_capture_list captures;
    life_load_keys(life, &keyring);
    life_snapshots(life, &snapshots);
    LIFE_OK(hf_list_captures(life->server.app.store, &life->job.id, &captures, &err), &err);
    size_t listed = 0;
    size_t standing = 0;
    for (size_t i = 0; i < snapshots.count; i++) {
        struct hf_flow_reading reading = {0};
        bool served =
            hf_flow_open(&life->server.app, &snapshots.items[i].id, &reading, &err) == HF_ERR_OK;
        LIFE_CHECK(served == (snapshots.items[i].state == HF_SNAPSHOT_COMPLETE));
        listed += served;
        hf_flow_reading_fini(&reading);
    }
    for (size_t i = 0; i < captures.count; i++) {
        struct hf_manifest manifest = {0};
        struct hf_manifest_read read;
        LIFE_OK(hf_list_read_manifest(life->server.app.store, &life->job.id, captures.captures[i],
                                      &keyring, &manifest, &read, &err),
                &err);
        standing += read.kind == HF_MANIFEST_SNAPSHOT;
        hf_manifest_fini(&manifest);
    }
    if (standing != listed) {
        LIFE_FAIL("%zu manifests stand, %zu snapshots are listed", standing, listed);
    }
    hf_capture_list_fini(&captures);
    hf_keep_snapshots_fini(&snapshots);
    hf_keyring_wipe(&keyring);
}

static void expect_restores(const struct fixture *f, struct life *life)
{
    struct hf_error err;
    struct hf_keep_snapshots snapshots;
    char *dir = hf_path_join(f->dir, "looked-at");
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        struct hf_flow_reading reading = {0};
        struct hf_restore_result result;
        if (snapshots.items[i].state != HF_SNAPSHOT_COMPLETE) {
            continue;
        }
        LIFE_OK(hf_flow_open(&life->server.app, &snapshots.items[i].id, &reading, &err), &err);
        const struct hf_restore_options options = {.store = life->server.app.store,
                                                   .keyring = &reading.keyring,
                                                   .root = &reading.manifest.root,
                                                   .directory = dir,
                                                   .workers = 1};
        LIFE_OK(hf_restore_run(&options, &result, &err), &err);
        expect_version(f, dir, (size_t)(snapshots.items[i].description[0] - '0'), 0);
        LIFE_OK(hf_fs_remove_tree(dir, &err), &err);
        hf_flow_reading_fini(&reading);
    }
    hf_keep_snapshots_fini(&snapshots);
    hf_free(dir);
}

/* The newest snapshot that is listed, restored onto whatever lies there. False: none is. */
static bool go_on(struct life *life, const char *target)
{
    struct hf_error err;
    struct hf_keep_snapshots snapshots;
    struct hf_flow_reading reading = {0};
    struct hf_restore_result result;
    const struct hf_snapshot_record *newest = NULL;
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        if (one->state == HF_SNAPSHOT_COMPLETE &&
            (newest == NULL || one->capture > newest->capture)) {
            newest = one;
        }
    }
    if (newest != NULL) {
        LIFE_OK(hf_flow_open(&life->server.app, &newest->id, &reading, &err), &err);
        const struct hf_restore_options options = {.store = life->server.app.store,
                                                   .keyring = &reading.keyring,
                                                   .root = &reading.manifest.root,
                                                   .directory = target,
                                                   .restore_info = "gone on with\n",
                                                   .workers = 1,
                                                   .onto = true};
        LIFE_OK(hf_restore_run(&options, &result, &err), &err);
        hf_flow_reading_fini(&reading);
    }
    hf_keep_snapshots_fini(&snapshots);
    return newest != NULL;
}

/* One file differs in size between the versions. */
static size_t version_of(const char *target)
{
    struct hf_error err;
    struct hf_file_info info;
    char *path = hf_path_join(target, file_names[2]);
    LIFE_OK(hf_fs_stat(path, &info, &err), &err);
    hf_free(path);
    return info.size_bytes == file_sizes[2] + 2 * 9000 ? 2 : 1;
}

/*
 * Files without the mark are a restore that was finished, of the first snapshot or of the second; files with it can be
 * gone on with.
 */
static void expect_whole_or_marked(const struct fixture *f, struct life *life)
{
    struct hf_error err;
    struct hf_dir_list list = {.names = NULL};
    struct story *story = f->story;
    char *target = hf_path_join(life->restore_root, "target");
    char *mark = hf_path_join(target, HF_RESTORE_MARK_NAME);
    bool there = hf_fs_exists(target);
    bool going_on = !story->target_gone && hf_fs_exists(mark) && go_on(life, target);
    size_t files = 0;
    size_t beside = 1; /* restoreInfo.txt */
    if (there) {
        LIFE_OK(hf_fs_list(target, 1000, &list, &err), &err);
    }
    for (size_t i = 0; i < list.count; i++) {
        /* Of the mark itself, before it has its name; of a restore that only looked. */
        bool early =
            strncmp(list.names[i], ".hf-tmp-", 8) == 0 || strcmp(list.names[i], "mongod.lock") == 0;
        files += !early;
        beside += early;
    }
    if (story->restored) {
        LIFE_CHECK(story->target_gone || version_of(target) == 2);
    }
    if (!story->target_gone &&
        (going_on || story->restored_first || (files > 0 && !hf_fs_exists(mark)))) {
        LIFE_CHECK(!hf_fs_exists(mark));
        LIFE_CHECK(!going_on || beside == 1);
        expect_version(f, target, version_of(target), beside);
    }
    story->target_gone = true;
    hf_dir_list_fini(&list);
    if (there) {
        LIFE_OK(hf_fs_remove_tree(target, &err), &err);
    }
    hf_free(mark);
    hf_free(target);
}

static void expect_no_damage(struct life *life)
{
    struct hf_error err;
    struct hf_verify_report report = {.damages = NULL};
    const struct hf_verify_options options = {
        .store = life->server.app.store, .level = HF_VERIFY_CONTENT, .workers = 1};
    LIFE_OK(hf_verify_store(&options, &life->server.app.key, &report, &err), &err);
    if (report.damage_count > 0) {
        LIFE_FAIL("damage: %s %s: %s", report.damages[0].object, report.damages[0].path,
                  report.damages[0].message);
    }
    hf_verify_report_fini(&report);
}

static void expect_nothing_below(struct life *life, enum hf_object_kind kind)
{
    struct hf_error err;
    struct hf_store_list list;
    const struct hf_object_text prefix = hf_object_prefix(kind, &life->job.id);
    LIFE_OK(hf_store_list(life->server.app.store, hf_str_of(prefix.text), hf_str_of(""), 1000,
                          &list, &err),
            &err);
    if (list.count > 0) {
        LIFE_FAIL("%zu objects are left, the first is %s", list.count, list.entries[0].name);
    }
    hf_store_list_fini(&list);
}

/* I11: all snapshots deleted and all claims old, nothing stays. */
static void end_everything(struct life *life, struct story *story)
{
    struct hf_error err;
    struct hf_keep_snapshots snapshots;
    the_disk->clock_ahead_s += HF_CLAIM_KEPT_S + 24 * 3600;
    story->all_gone = true;
    life_say_hello(life);
    life_resume(life);
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        if (snapshots.items[i].state == HF_SNAPSHOT_COMPLETE) {
            LIFE_OK(hf_flow_delete(&life->server.app, &snapshots.items[i].id, &err), &err);
        }
    }
    hf_keep_snapshots_fini(&snapshots);
    for (unsigned i = 0; i < GROOMS; i++) {
        groom(life);
    }
    expect_nothing_below(life, HF_OBJECT_DATA);
    expect_nothing_below(life, HF_OBJECT_TREE);
    expect_nothing_below(life, HF_OBJECT_CLAIM);
}

/* The next capture: complete, and what finished packs hold is not sent again. */
static void take_the_next(struct life *life, struct story *story, size_t version,
                          uint64_t finished_blocks)
{
    struct hf_snapshot_record record;
    life_take(life, version, &record);
    uint64_t least = story->reused[version] + finished_blocks;
    if (record.blocks_reused < least) {
        LIFE_FAIL(
            "%llu blocks were sent again: %llu reused, %llu expected (%llu in finished packs)",
            (unsigned long long)(least - record.blocks_reused),
            (unsigned long long)record.blocks_reused, (unsigned long long)least,
            (unsigned long long)finished_blocks);
    }
}

/* The version that the next capture takes: that of an attempt that it may adopt, if there is one. */
static size_t choose_next(struct life *life, struct story *story, uint64_t *finished_blocks)
{
    struct hf_keep_snapshots snapshots;
    size_t version = 1;
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        if (snapshots.items[i].state == HF_SNAPSHOT_COMPLETE) {
            version = 2;
        }
    }
    const struct hf_snapshot_record *adoptable =
        hf_snapshot_choose_adopted(snapshots.items, snapshots.count, LIFE_MEMBER, hf_flow_now_s());
    *finished_blocks = 0;
    if (adoptable != NULL) {
        version = (size_t)(adoptable->description[0] - '0');
        *finished_blocks = blocks_in_journal(life, adoptable);
        story->adopted += *finished_blocks > 0;
    }
    hf_keep_snapshots_fini(&snapshots);
    return version;
}

static void recover(struct fixture *f)
{
    struct life life;
    struct story *story = f->story;
    uint64_t finished_blocks = 0;
    life_begin(&life, f->world);
    memcpy(life.sources, f->sources, sizeof life.sources);
    life_start_server(&life);
    life_start_agent(&life);
    life_start_job(&life);
    life_work(&life);
    /* What nobody speaks for is given up after its time. */
    hf_server_heard_listen(life.server.app.heard, (HF_TASK_SILENT_MAX_S + 1) * UINT64_C(1000));
    life_say_hello(&life);
    life_resume(&life);
    life_work(&life);
    expect_what_was_told(&life, story);
    finish_deletions(&life);
    expect_only_listed_manifests(&life);
    expect_restores(f, &life);
    expect_whole_or_marked(f, &life);
    size_t version = choose_next(&life, story, &finished_blocks);
    take_the_next(&life, story, version, finished_blocks);
    expect_only_listed_manifests(&life);
    expect_no_damage(&life);
    expect_restores(f, &life);
    end_everything(&life, story);
    life_stop(&life);
}

/* ---- Dying ---- */

enum death { AT_CALL, AT_FAULT_POINT };

/* What became of a child: true when it died of SIGKILL, false when it came to its end. */
static bool run_child(struct fixture *f, void (*body)(struct fixture *f), enum death death,
                      uint64_t nth)
{
    int status = 0;
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(LIMIT_S);
        if (nth > 0 && death == AT_CALL) {
            the_disk->die_at = nth;
        } else if (nth > 0) {
            hf_fault_arm_death("*", nth);
        }
        body(f);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && nth > 0) {
        return true;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("%s at %s %llu, seed %llu: status %x", nth > 0 ? "death" : "life after a death",
                 death == AT_CALL ? "call" : "fault point", (unsigned long long)nth,
                 (unsigned long long)f->seed, (unsigned)status);
    }
    return false;
}

static void begin_world(struct fixture *f)
{
    struct hf_error err;
    struct story *story = f->story;
    disk_watch_nothing();
    assert_int_equal(hf_fs_remove_tree(f->world, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_remove_tree(f->attic, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs(f->world, 0700, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs(f->attic, 0700, &err), HF_ERR_OK);
    memset(story->listed, 0, sizeof story->listed);
    story->delete_asked = story->deleted = story->restored_first = story->restored = false;
    story->target_gone = story->all_gone = false;
    the_disk->clock_ahead_s = 0;
    disk_watch(f->world, f->attic);
}

/* A death and the life after it; where the disk was torn that one dies too, somewhere, and a third goes on. */
static void die_once(struct fixture *f, enum death death, uint64_t nth, enum disk_loss loss)
{
    struct hf_error err;
    begin_world(f);
    print_message("death at %s %llu, %s\n", death == AT_CALL ? "call" : "fault point",
                  (unsigned long long)nth,
                  loss == DISK_LOSS_NONE  ? "all is kept"
                  : loss == DISK_LOSS_ALL ? "only what was synced is kept"
                                          : "what was not synced is torn");
    f->story->deaths += run_child(f, live, death, nth);
    disk_cut_power(loss, disk_mix(f->seed, nth, 1));
    if (loss == DISK_LOSS_SOME) {
        assert_int_equal(hf_fs_make_dirs(f->attic, 0700, &err), HF_ERR_OK);
        disk_watch(f->world, f->attic);
        f->story->second_deaths +=
            run_child(f, recover, AT_CALL, 1 + disk_mix(f->seed, nth, 2) % SECOND_CALLS);
        disk_cut_power(loss, disk_mix(f->seed, nth, 3));
    }
    (void)run_child(f, recover, death, 0);
}

static void count_points(struct fixture *f, uint64_t *calls, uint64_t *passes)
{
    begin_world(f);
    assert_false(run_child(f, live, AT_CALL, 0));
    *calls = the_disk->calls;
    *passes = f->story->fault_passes;
    print_message("a life makes %llu calls that change the disk and passes %llu fault points\n",
                  (unsigned long long)*calls, (unsigned long long)*passes);
    for (size_t i = 0; i < HF_ARRAY_LEN(disk_kind_words); i++) {
        print_message("  %s %llu", disk_kind_words[i], (unsigned long long)the_disk->kinds[i]);
    }
    print_message("\n");
    assert_true(*calls > 500 && *passes > 200);
    assert_true(f->story->restored && f->story->reused[2] > 0);
    /* The end of an undisturbed life stands any power cut. */
    disk_cut_power(DISK_LOSS_ALL, f->seed);
    assert_false(run_child(f, recover, AT_CALL, 0));
}

/* losses: how many kinds of death each point gets, in turn when it is not all. */
static void die_everywhere(struct fixture *f, enum death death, uint64_t points, size_t losses)
{
    static const enum disk_loss kinds[] = {DISK_LOSS_NONE, DISK_LOSS_ALL, DISK_LOSS_SOME};
    bool all = run_is_soak();
    uint64_t step = run_setting("HF_TEST_EVERY", all ? 1 : 1 + points / (SHORT_POINTS / 2));
    uint64_t turn = f->seed;
    for (uint64_t nth = 1 + f->seed % step; nth <= points; nth += step, turn++) {
        for (size_t i = 0; i < (all ? losses : 1); i++) {
            die_once(f, death, nth, kinds[(turn + i) % HF_ARRAY_LEN(kinds)]);
        }
    }
}

static void test_a_death_at_any_call_or_fault_point_loses_nothing(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    uint64_t calls = 0;
    uint64_t passes = 0;
    count_points(f, &calls, &passes);
    die_everywhere(f, AT_CALL, calls, 3);
    die_everywhere(f, AT_FAULT_POINT, passes, 1);
    print_message(
        "%llu lives died, %llu of those after them too; %llu had finished packs to adopt\n",
        (unsigned long long)f->story->deaths, (unsigned long long)f->story->second_deaths,
        (unsigned long long)f->story->adopted);
#else
    (void)state;
    skip();
#endif
}

static int make_fixture(void **state)
{
    struct hf_error err;
    struct fixture *f = hf_alloc_zero(sizeof *f);
    char *made = NULL;
    assert_non_null(f);
    disk_make();
    f->story =
        mmap(NULL, sizeof *f->story, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(f->story != MAP_FAILED);
    assert_int_equal(hf_fs_make_temp_dir("hf-crash-test", &made, &err), HF_ERR_OK);
    assert_int_equal(hf_path_real(made, &f->dir, &err), HF_ERR_OK);
    hf_free(made);
    f->world = hf_path_join(f->dir, "world");
    f->attic = hf_path_join(f->dir, "attic");
    for (size_t version = 1; version <= VERSIONS; version++) {
        f->sources[version] = hf_asprintf("%s/source-%zu", f->dir, version);
        write_source(f->sources[version], version);
    }
    f->seed = run_seed();
    print_message("seed %llu\n", (unsigned long long)f->seed);
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    struct hf_error err;
    struct fixture *f = *state;
    disk_watch_nothing();
    assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    for (size_t version = 1; version <= VERSIONS; version++) {
        hf_free(f->sources[version]);
    }
    hf_free(f->dir);
    hf_free(f->world);
    hf_free(f->attic);
    hf_free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_death_at_any_call_or_fault_point_loses_nothing,
                                        make_fixture, drop_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
