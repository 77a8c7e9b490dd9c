/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a living source, brought to points in it and beyond by its server, and what must not pass silently. The same
 * on the sandbox and on the mongod that HOLDFAST_TEST_MONGOD names.
 */
#include "support/replay_kit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "mongo/backup_cursor.h"
#include "mongo/mongod.h"
#include "mongo/oplog.h"
#include "oplog/replay_internal.h"
#include "os/clock.h"
#include "support/run.h"

#define PATIENCE_MS 60000
#define ENTRIES_MAX ((size_t)256 << 20)
#define CAPPED "ring"

/* The data at one moment of the source. */
struct moment {
    struct hf_mongo_optime at;
    struct hf_mongo_data data;
};

static struct group {
    char *program, *dir, *copied;
    struct world world;
    struct hf_buf entries;
    struct hf_base_snapshot base;
    struct moment early, late; /* in the copy's oplog; behind its end */
    struct hf_mongo_optime last;
} g;

#define OK(call) EXPECT_OK(call, &err)

/* ---- The source ---- */

static void run_in(struct hf_mongo_client *client, const char *command)
{
    struct hf_error err;
    OK(hf_mongo_run(client, "app", command, NULL, &err));
}

/* Documents, an index build, a capped collection that overflows, a drop; `round` makes names. */
static void write_round(struct hf_mongo_client *client, unsigned round)
{
    char command[2048];
    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(
            command, sizeof command,
            "{\"insert\": \"a\", \"documents\": [{\"_id\": \"%u-%u\", \"n\": %u}, {\"_id\": "
            "\"%u-%u-b\", \"n\": %u}]}",
            round, i, i, round, i, i);
        run_in(client, command);
    }
    run_in(client,
           "{\"update\": \"a\", \"updates\": [{\"q\": {\"n\": {\"$lt\": 9}}, \"u\": {\"$inc\": "
           "{\"n\": 1000}}, \"multi\": true}]}");
    run_in(client,
           "{\"delete\": \"a\", \"deletes\": [{\"q\": {\"n\": {\"$gte\": 50, \"$lt\": 60}}, "
           "\"limit\": 0}]}");
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(command, sizeof command,
                       "{\"insert\": \"" CAPPED "\", \"documents\": [{\"_id\": \"%u-%u\"}]}", round,
                       i);
        run_in(client, command);
    }
    (void)snprintf(command, sizeof command,
                   "{\"createIndexes\": \"a\", \"indexes\": [{\"key\": {\"k%u\": 1}, \"name\": "
                   "\"by_k%u\"}]}",
                   round, round);
    run_in(client, command);
    (void)snprintf(command, sizeof command, "{\"create\": \"new_%u\"}", round);
    run_in(client, command);
    (void)snprintf(command, sizeof command,
                   "{\"insert\": \"lost_%u\", \"documents\": [{\"_id\": 1}]}", round);
    run_in(client, command);
    (void)snprintf(command, sizeof command, "{\"drop\": \"lost_%u\"}", round);
    run_in(client, command);
}

static void look_at(struct hf_mongo_client *client, struct moment *out)
{
    struct hf_mongo_data_options options = {.database = "app", .count = true};
    struct hf_error err;
    OK(hf_mongo_oplog_last(client, &out->at, &err));
    OK(hf_mongo_data_read(client, &options, &out->data, &err));
}

static void copy_file(const char *from_dir, const char *name, const char *to_dir)
{
    HF_CLEANUP(hf_free)
    char *command = hf_asprintf("mkdir -p '%s/journal' && cp '%s/%s' '%s/%s'", to_dir, from_dir,
                                name, to_dir, name);
    assert_int_equal(system(command), 0);
}

/* A backup cursor is opened, the source goes on, the cursor is extended over that. */
static void take_copy(struct hf_mongod *member, struct hf_mongo_client *client, const char *dbpath)
{
    HF_CLEANUP(hf_mongo_backup_names_fini) struct hf_mongo_backup_names names = {.count = 0};
    struct hf_mongo_options address = {.host = hf_mongod_host(member)};
    struct hf_mongo_backup_options options = {.client = &address};
    HF_CLEANUP(hf_mongo_backup_destroy) struct hf_mongo_backup *backup = NULL;
    struct hf_mongo_optime end;
    struct hf_error err;
    size_t count = 0;

    OK(hf_mongo_backup_prepare(&options, &backup, &err));
    OK(hf_mongo_backup_open(backup, NULL, &err));
    const struct hf_mongo_backup_metadata *metadata = hf_mongo_backup_metadata(backup);
    write_round(client, 2);
    look_at(client, &g.early);
    write_round(client, 3);
    OK(hf_mongo_oplog_last(client, &end, &err));
    OK(hf_mongo_wait_majority(client, end.ts, PATIENCE_MS, NULL, NULL, &err));
    const struct hf_mongo_backup_file *files = hf_mongo_backup_files(backup, &count);
    for (size_t i = 0; i < count; i++) {
        copy_file(dbpath, files[i].path, g.copied);
    }
    OK(hf_mongo_backup_extend(backup, end.ts, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        copy_file(dbpath, names.paths[i], g.copied);
    }
    struct hf_optime committed = {end.ts.seconds, end.ts.increment, end.term};
    g.base = (struct hf_base_snapshot){
        .id = fixed_id(0x51),
        .capture = 1,
        .checkpoint = {metadata->checkpoint.seconds, metadata->checkpoint.increment, -1},
        .oplog_end = committed,
        .committed = committed,
    };
    OK(hf_mongo_backup_close(backup, &err));
}

static void read_entries(const char *dbpath)
{
    struct hf_recover *server = look_into(g.program, dbpath);
    struct hf_recover_walk *walk = NULL;
    struct hf_mongo_ts all = {0, 0};
    struct hf_error err;
    bool more = true;

    hf_buf_init(&g.entries, ENTRIES_MAX);
    OK(hf_recover_walk_open(server, all, true, &walk, &err));
    while (more) {
        struct hf_bytes entry;
        OK(hf_recover_walk_next(walk, &g.last, &entry, &more, &err));
        if (more) {
            OK(hf_buf_append(&g.entries, entry, &err));
        }
    }
    hf_recover_walk_close(walk);
    OK(hf_recover_stop(server, &err));
}

static int begin(void **state)
{
    static const char *const arguments[] = {"--syncdelay", "1", NULL};
    struct hf_error err;
    struct hf_mongod *member = NULL;
    struct hf_mongo_client *client = NULL;
    char primary[HF_MONGO_HOST_BYTES];
    bool clean = false;

    (void)state;
    g.program = find_mongod();
    OK(hf_fs_make_temp_dir("hf-replay", &g.dir, &err));
    g.copied = hf_asprintf("%s/copied", g.dir);
    HF_CLEANUP(hf_free) char *dbpath = hf_asprintf("%s/source", g.dir);
    struct hf_mongod_options options = {
        .program = g.program, .dbpath = dbpath, .repl_set = "rs0", .arguments = arguments};
    OK(hf_mongod_start(&options, NULL, &member, &err));
    const char *host = hf_mongod_host(member);
    OK(hf_mongod_initiate("rs0", &host, 1, NULL, PATIENCE_MS, NULL, primary, &err));
    OK(hf_mongod_client(member, &client, &err));
    run_in(client, "{\"create\": \"" CAPPED "\", \"capped\": true, \"size\": 65536, \"max\": 10}");
    write_round(client, 1);
    HF_CLEANUP(hf_free) char *real = NULL;
    OK(hf_path_real(dbpath, &real, &err));
    take_copy(member, client, real);
    write_round(client, 4);
    look_at(client, &g.late);
    write_round(client, 5);
    hf_mongo_client_close(client);
    OK(hf_mongod_stop(member, 0, &clean, &err));
    assert_true(clean);
    read_entries(dbpath);
    OK(hf_fs_remove_tree(dbpath, &err));
    world_begin(&g.world);
    put_entries(&g.world, hf_buf_bytes(&g.entries), 40);
    return 0;
}

static int end(void **state)
{
    struct hf_error err;
    (void)state;
    world_end(&g.world);
    hf_mongo_data_fini(&g.early.data);
    hf_mongo_data_fini(&g.late.data);
    hf_buf_fini(&g.entries);
    OK(hf_fs_remove_tree(g.dir, &err));
    hf_free(g.dir);
    hf_free(g.copied);
    hf_free(g.program);
    return 0;
}

/* ---- A directory of a test ---- */

struct work {
    char *dbpath;
    struct planned planned;
};

static struct hf_target target_of(struct hf_mongo_ts ts)
{
    return (struct hf_target){
        .kind = HF_TARGET_TIMESTAMP, .seconds = ts.seconds, .increment = ts.increment};
}

static void work_begin(struct work *work, const char *name, struct hf_mongo_ts to)
{
    struct hf_target target = target_of(to);
    work->dbpath = hf_asprintf("%s/%s", g.dir, name);
    copy_directory(g.copied, work->dbpath);
    planned_begin(&work->planned, &g.world, &g.base, &target);
}

static void work_end(struct work *work)
{
    struct hf_error err;
    planned_end(&work->planned);
    OK(hf_fs_remove_tree(work->dbpath, &err));
    hf_free(work->dbpath);
}

static enum hf_err run_work(struct work *work, struct hf_replay_result *result,
                            struct hf_error *err)
{
    planned_rewind(&g.world, &work->planned);
    return replay_with(g.program, work->dbpath, &work->planned, result, err);
}

static void expect_words(const struct hf_error *err, const char *words)
{
    if (strstr(err->message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err->message);
    }
}

static void expect_moment(const struct work *work, const struct moment *moment)
{
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data data = {.database_count = 0};
    struct hf_mongo_data_options options = {.database = "app", .count = true};
    struct hf_recover *server = look_into(g.program, work->dbpath);
    struct hf_recover_state state;
    struct hf_error err;

    OK(hf_mongo_data_read(hf_recover_client(server), &options, &data, &err));
    OK(hf_recover_state_read(server, &state, &err));
    assert_int_equal(hf_mongo_ts_compare(state.last.ts, moment->at.ts), 0);
    assert_int_equal(state.last.term, moment->at.term);
    assert_int_equal(data.databases[0].collection_count,
                     moment->data.databases[0].collection_count);
    for (size_t i = 0; i < data.databases[0].collection_count; i++) {
        const struct hf_mongo_collection *one = &data.databases[0].collections[i];
        const struct hf_mongo_collection *wanted = &moment->data.databases[0].collections[i];
        struct hf_recover_count count;
        assert_string_equal(one->name, wanted->name);
        OK(hf_recover_count(server, "app", one->name, &count, &err));
        assert_int_equal(count.fast, count.counted); /* what recovery left wrong was set right */
        if (strcmp(one->name, CAPPED) != 0) {
            assert_string_equal(one->md5, wanted->md5);
            assert_int_equal(one->count, wanted->count);
        }
    }
    OK(hf_recover_stop(server, &err));
}

/* ---- Tests ---- */

static void test_a_copy_is_brought_beyond_its_own_end(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "beyond", g.late.at.ts);
    assert_true(work.planned.point.inserts);
    OK(run_work(&work, &result, &err));
    assert_true(result.inserted > 130 && result.compared > 200);
    assert_int_equal(result.top.increment, g.late.at.ts.increment);
    expect_moment(&work, &g.late);
    HF_CLEANUP(hf_free) char *log = hf_asprintf("%s.replay-fill.log", work.dbpath);
    assert_false(hf_fs_exists(log)); /* logs are for failures */
    work_end(&work);
}

static void test_a_copy_is_cut_before_its_own_end(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "before", g.early.at.ts);
    assert_false(work.planned.point.inserts);
    OK(run_work(&work, &result, &err));
    assert_int_equal(result.inserted, 0);
    assert_true(result.compared > 0);
    expect_moment(&work, &g.early);
    work_end(&work);
}

static void test_a_copy_without_stored_entries_is_cut_by_its_own_oplog(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "alone", g.early.at.ts);
    struct hf_replay_point *point = &work.planned.point;
    point->last = point->read_after = (struct hf_optime){.term = -1};
    /* A date: up to the end of a second, or in between two entries. */
    point->truncate_after = (struct hf_optime){g.early.at.ts.seconds, g.early.at.ts.increment, -1};
    OK(run_work(&work, &result, &err));
    assert_true(result.looked_at > 0);
    expect_moment(&work, &g.early);
    work_end(&work);
}

static void test_done_is_done_and_another_point_needs_another_copy(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result again = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "again", g.early.at.ts);
    OK(run_work(&work, &result, &err));
    assert_false(result.done_before);
    OK(run_work(&work, &again, &err));
    assert_true(again.done_before);
    expect_moment(&work, &g.early);
    struct hf_target later = target_of(g.late.at.ts);
    planned_end(&work.planned);
    planned_begin(&work.planned, &g.world, &g.base, &later);
    assert_int_equal(run_work(&work, &again, &err), HF_ERR_CONFLICT);
    expect_words(&err, "cannot be brought on to");
    expect_words(&err, "hint: restore it anew");
    /* Without the mark the server itself refuses: entries came after a run. */
    OK(hf_replay_forget(work.dbpath, &err));
    work.planned.point.copy_has =
        (struct hf_optime){g.early.at.ts.seconds, g.early.at.ts.increment, g.early.at.term};
    if (run_work(&work, &again, &err) != HF_ERR_LOST) {
        fail_msg("not lost: %s", err.message);
    }
    expect_words(&err, "hint: restore the directory anew");
    work_end(&work);
}

static void test_a_mark_that_outlived_its_files_is_noticed(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "mark", g.early.at.ts);
    OK(run_work(&work, &result, &err));
    HF_CLEANUP(hf_free)
    char *command = hf_asprintf("cd '%s' && mv " HF_REPLAY_MARK " .. && rm -rf '%s' && cp -a '%s' "
                                "'%s' && mv ../" HF_REPLAY_MARK " '%s/'",
                                work.dbpath, work.dbpath, g.copied, work.dbpath, work.dbpath);
    assert_int_equal(system(command), 0);
    assert_int_equal(run_work(&work, &result, &err), HF_ERR_LOST);
    expect_words(&err, "they were changed since");
    HF_CLEANUP(hf_free) char *mark = hf_path_join(work.dbpath, HF_REPLAY_MARK);
    OK(hf_fs_publish_replace(mark, hf_bytes_of("{", 1), 0600, &err));
    assert_int_equal(run_work(&work, &result, &err), HF_ERR_LOST);
    expect_words(&err, HF_REPLAY_MARK " tells how far an earlier replay came and cannot be read");
    work_end(&work);
}

/* A history that has another entry where the copy has one. */
static enum hf_err next_changed(void *context, struct hf_bytes *entry, bool *more,
                                struct hf_error *err)
{
    static uint8_t changed[65536];
    struct planned *planned = context;
    struct hf_oplog_entry found;
    struct hf_bson_element term;

    if (hf_replay_chain_next(planned->reader, entry, more, err) != HF_ERR_OK || !*more) {
        return err->code;
    }
    EXPECT_OK(hf_oplog_entry_read(*entry, &found, err), err);
    if (hf_optime_compare_ts(&found.optime, &g.base.committed) <= 0 ||
        !hf_bson_find(*entry, "t", &term)) {
        return HF_ERR_OK;
    }
    memcpy(changed, entry->data, entry->len);
    changed[(size_t)(term.value.data - entry->data)]++;
    *entry = hf_bytes_of(changed, entry->len);
    return HF_ERR_OK;
}

static void test_entries_that_the_source_rolled_back_are_told(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "rolled", g.late.at.ts);
    work.planned.point.last.term++;
    struct hf_replay_options options = {.program = g.program,
                                        .dbpath = work.dbpath,
                                        .point = &work.planned.point,
                                        .next = next_changed,
                                        .next_context = &work.planned};
    /* The copy holds entries behind what is certain, and the history has those of another term. */
    struct hf_optime certain = g.base.committed;
    g.base.committed = (struct hf_optime){g.early.at.ts.seconds, g.early.at.ts.increment, 1};
    enum hf_err code = hf_replay_run(&options, &result, &err);
    g.base.committed = certain;
    assert_int_equal(code, HF_ERR_CONFLICT);
    expect_words(&err, "the source rolled it back after this snapshot");
    expect_words(&err, "hint: take an earlier snapshot");
    /* Nothing was lost: to a point before that the copy is good. */
    struct hf_target early = target_of(g.early.at.ts);
    planned_end(&work.planned);
    planned_begin(&work.planned, &g.world, &g.base, &early);
    OK(run_work(&work, &result, &err));
    expect_moment(&work, &g.early);
    work_end(&work);
}

static void test_a_copy_that_lacks_entries_is_told(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "lacks", g.late.at.ts);
    work.planned.point.copy_has = work.planned.point.last;
    assert_int_equal(run_work(&work, &result, &err), HF_ERR_CORRUPT);
    expect_words(&err, "the copy does not hold the entry");
    work_end(&work);
}

static void test_entries_that_are_not_the_planned_ones_are_refused(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "short", g.late.at.ts);
    work.planned.point.last.increment++;
    work.planned.point.truncate_after = work.planned.point.last;
    struct hf_replay_options options = {.program = g.program,
                                        .dbpath = work.dbpath,
                                        .point = &work.planned.point,
                                        .next = hf_replay_chain_next,
                                        .next_context = work.planned.reader};
    assert_int_equal(hf_replay_run(&options, &result, &err), HF_ERR_INVALID);
    expect_words(&err, "the entries end with");
    work_end(&work);
}

/* ---- Programs that are none, or not the right ones ---- */

static char *make_program(const char *name, const char *script)
{
    char *path = hf_asprintf("%s/%s", g.dir, name);
    struct hf_error err;
    OK(hf_fs_publish_replace(path, hf_bytes_of_str(hf_str_of(script)), 0700, &err));
    return path;
}

static enum hf_err run_as(struct work *work, const char *program, const char *version,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    planned_rewind(&g.world, &work->planned);
    struct hf_replay_options options = {.program = program,
                                        .server_version = version,
                                        .dbpath = work->dbpath,
                                        .point = &work->planned.point,
                                        .next = hf_replay_chain_next,
                                        .next_context = work->planned.reader};
    return hf_replay_run(&options, &result, err);
}

static void test_a_program_that_will_not_do_is_refused_before_anything_is_touched(void **state)
{
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "program", g.late.at.ts);
    assert_int_equal(run_as(&work, "/nowhere/mongod", NULL, &err), HF_ERR_INVALID);
    expect_words(&err, "/nowhere/mongod is not a program that can be started");
    assert_int_equal(run_as(&work, "no-such-mongod", NULL, &err), HF_ERR_INVALID);
    expect_words(&err, "no program no-such-mongod in PATH");
    HF_CLEANUP(hf_free) char *other = make_program("other", "#!/bin/sh\necho hello\n");
    assert_int_equal(run_as(&work, other, NULL, &err), HF_ERR_INVALID);
    expect_words(&err, "does not name a \"db version\"");
    HF_CLEANUP(hf_free)
    char *newer = make_program("newer", "#!/bin/sh\necho db version v5.0.3\n");
    assert_int_equal(run_as(&work, newer, "4.4.6-8", &err), HF_ERR_UNSUPPORTED);
    expect_words(&err, "the program is version 5.0.3 and the files are of 4.4.6-8");
    HF_CLEANUP(hf_free) char *mark = hf_path_join(work.dbpath, HF_REPLAY_MARK);
    assert_false(hf_fs_exists(mark));
    OK(run_as(&work, g.program, "4.4.6-8", &err));
    expect_moment(&work, &g.late);
    work_end(&work);
}

/* A server that is started for recovery and does not recover: entries are there, and nobody applied them. */
static void test_a_recovery_that_does_nothing_is_no_success(void **state)
{
    struct work work;
    struct hf_error err;
    HF_CLEANUP(hf_free)
    char *script = hf_asprintf("#!/bin/bash\nargs=()\nwhile [ $# -gt 0 ]; do\n"
                               "case \"$2\" in recoverFrom*|takeUnstable*) shift 2;;\n"
                               "*) args+=(\"$1\"); shift;; esac\ndone\nexec '%s' \"${args[@]}\"\n",
                               g.program);
    HF_CLEANUP(hf_free) char *lazy = make_program("lazy", script);

    (void)state;
    work_begin(&work, "lazy-db", g.late.at.ts);
    assert_int_equal(run_as(&work, lazy, NULL, &err), HF_ERR_LOST);
    expect_words(&err, "recover from the oplog: the server did not take the truncation point");
    /* One that recovers and forgets at its end. */
    OK(run_as(&work, g.program, NULL, &err));
    expect_moment(&work, &g.late);
    work_end(&work);
}

static void test_a_server_that_dies_is_told_and_the_next_call_goes_on(void **state)
{
    static const char *const when[] = {"replay-fill.log", "replay-recover.log", "replay-look.log"};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "dies", g.late.at.ts);
    for (size_t i = 0; i < HF_ARRAY_LEN(when); i++) {
        HF_CLEANUP(hf_free)
        char *script =
            hf_asprintf("#!/bin/sh\ncase \"$*\" in *%s*) echo the disk is full >&2; exit "
                        "14;; esac\nexec '%s' \"$@\"\n",
                        when[i], g.program);
        HF_CLEANUP(hf_free) char *dying = make_program("dying", script);
        assert_int_equal(run_as(&work, dying, NULL, &err), HF_ERR_INTERNAL);
        expect_words(&err, "ended with exit code 14");
        expect_words(&err, "the disk is full");
    }
    OK(run_as(&work, g.program, NULL, &err));
    expect_moment(&work, &g.late);
    work_end(&work);
}

static void test_a_directory_that_is_in_use_or_none_is_refused(void **state)
{
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "used", g.late.at.ts);
    struct hf_recover *server = look_into(g.program, work.dbpath);
    assert_int_equal(run_as(&work, g.program, NULL, &err), HF_ERR_CONFLICT);
    expect_words(&err, "a server has ");
    OK(hf_recover_stop(server, &err));
    char *real = work.dbpath;
    work.dbpath = g.dir;
    assert_int_equal(run_as(&work, g.program, NULL, &err), HF_ERR_NOT_FOUND);
    expect_words(&err, "is no restored data directory");
    work.dbpath = real;
    work_end(&work);
}

/* ---- Killed ---- */

/* The servers of one that was killed die with it; their locks a moment later. */
static enum hf_err run_patiently(struct work *work, struct hf_replay_result *result,
                                 struct hf_error *err)
{
    uint64_t deadline = hf_clock_mono_ms() + PATIENCE_MS;
    enum hf_err code = run_work(work, result, err);
    while (code == HF_ERR_CONFLICT && hf_clock_mono_ms() < deadline) {
        hf_cancel_sleep(NULL, 50);
        code = run_work(work, result, err);
    }
    return code;
}

/* Runs the replay in a process of its own, which dies when it has written its mark for the nth time; 0: it does not. */
static pid_t run_apart(struct work *work, uint64_t nth)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct hf_replay_result result = {.note_count = 0};
        struct hf_error err;
        if (nth != 0) {
            hf_fault_arm_death("oplog.replay.marked", nth);
        }
        enum hf_err code = run_patiently(work, &result, &err);
        if (code != HF_ERR_OK) {
            print_message("%s\n", err.message);
        }
        _exit(code == HF_ERR_OK ? 0 : code == HF_ERR_LOST ? 2 : 1);
    }
    return child;
}

/* True when it was killed. It may also have ended well, or said that the directory is lost. */
static bool was_killed(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
        fail_msg("it failed");
    }
    return WIFSIGNALED(status);
}

/* True when the replay reached its point; else it says what to do. */
static bool goes_on(struct work *work)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    struct hf_error err;
    enum hf_err code = run_patiently(work, &result, &err);

    if (code != HF_ERR_OK && code != HF_ERR_LOST) {
        fail_msg("%s", err.message);
    }
    if (code == HF_ERR_OK) {
        expect_moment(work, &g.late);
    } else {
        expect_words(&err, "hint: restore the directory anew");
    }
    return code == HF_ERR_OK;
}

static void test_killed_at_each_mark_it_goes_on(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= HF_REPLAY_DONE; nth++) {
        struct work work;
        work_begin(&work, "marked", g.late.at.ts);
        assert_true(was_killed(run_apart(&work, nth)));
        assert_true(goes_on(&work) || real_mongod() != NULL);
        work_end(&work);
    }
}

static void test_killed_at_any_time_it_goes_on(void **state)
{
    uint64_t seed = run_setting("HF_TEST_SEED", 7);
    size_t rounds = run_is_soak() ? 60 : 1;
    size_t killed = 0;
    size_t anew = 0;

    (void)state;
    for (size_t round = 0; round < rounds; round++) {
        struct work work;
        work_begin(&work, "killed", g.late.at.ts);
        for (size_t kill_count = 0; kill_count < 3; kill_count++) {
            pid_t child = run_apart(&work, 0);
            hf_cancel_sleep(NULL, run_random(&seed) % 1500 + 50);
            (void)kill(child, SIGKILL); /* it may have ended: it waits to be asked for */
            killed += was_killed(child);
        }
        anew += !goes_on(&work); /* it is said, and that is all that can be asked */
        work_end(&work);
    }
    print_message("%zu of %zu killed, %zu of %zu to be restored anew\n", killed, rounds * 3, anew,
                  rounds);
    /* A kill in the middle of the first start on a copy can spoil it, on any server. */
    assert_true(anew < rounds || rounds == 1);
}

/* ---- A new set of it ---- */

static void test_it_becomes_a_new_set_that_keeps_its_oplog(void **state)
{
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result again = {.note_count = 0};
    struct work work;
    struct hf_error err;

    (void)state;
    work_begin(&work, "set", g.late.at.ts);
    OK(run_work(&work, &result, &err));
    uint16_t port = hf_free_port();
    HF_CLEANUP(hf_free)
    char *members = hf_asprintf("[{\"_id\": 0, \"host\": \"127.0.0.1:%u\"}]", port);
    HF_CLEANUP(hf_free) char *log = hf_asprintf("%s.set.log", work.dbpath);
    struct hf_recover_options options = {
        .program = g.program, .dbpath = work.dbpath, .log_path = log};
    /* {_id: "admin.u", user: "u", db: "admin"}, which the source knows nothing of; its role would come behind it. */
    static const char user[] = "\x30\0\0\0\x02_id\0\x08\0\0\0admin.u\0\x02user\0\x02\0\0\0u\0"
                               "\x02"
                               "db\0\x06\0\0\0admin\0";
    HF_CLEANUP(hf_mongo_login_fini) struct hf_mongo_login login = {.name = ""};
    assert_int_equal(sizeof user, 0x30);
    assert_int_equal(hf_mongo_login_set(&login, "admin.u", hf_bytes_of(user, 0x2f), &err),
                     HF_ERR_CORRUPT);
    OK(hf_mongo_login_set(&login, "admin.u", hf_bytes_of(user, sizeof user), &err));
    struct hf_recover_set set = {
        .name = "rs1", .members = members, .replica_set_id = {1, 2, 3}, .login = &login};
    OK(hf_recover_set_config(&options, &set, &err));
    OK(hf_recover_set_config(&options, &set, &err)); /* may be repeated */
    OK(run_work(&work, &again, &err));               /* and so may the replay */
    assert_true(again.done_before);
    OK(hf_replay_forget(work.dbpath, &err));
    OK(hf_replay_forget(work.dbpath, &err));

    struct hf_mongod *member = NULL;
    struct hf_mongo_client *client = NULL;
    struct hf_mongo_optime written;
    bool clean = false;
    struct hf_mongod_options start = {
        .program = g.program, .dbpath = work.dbpath, .repl_set = "rs1", .port = port};
    OK(hf_mongod_start(&start, NULL, &member, &err));
    OK(hf_mongod_client(member, &client, &err));
    uint64_t deadline = hf_clock_mono_ms() + PATIENCE_MS;
    while (
        hf_mongo_write(client, "app",
                       "{\"insert\": \"after\", \"documents\": [{\"_id\": 1}], \"writeConcern\": "
                       "{\"w\": \"majority\"}}",
                       &written, NULL, &err) != HF_ERR_OK) {
        if (hf_clock_mono_ms() > deadline) {
            fail_msg("no primary: %s", err.message);
        }
        hf_cancel_sleep(NULL, 100);
    }
    HF_CLEANUP(hf_buf_fini) struct hf_buf users = HF_BUF_INIT(65536);
    OK(hf_mongo_run(client, "admin", "{\"find\": \"system.users\"}", &users, &err));
    assert_non_null(strstr(hf_buf_text(&users), "\"admin.u\""));
    struct hf_mongo_optime kept;
    OK(hf_mongo_oplog_find(client, g.late.at.ts, &kept, &err));
    assert_int_equal(kept.term, g.late.at.term);
    assert_true(written.term > g.late.at.term);
    hf_mongo_client_close(client);
    OK(hf_mongod_stop(member, 0, &clean, &err));
    work_end(&work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_is_brought_beyond_its_own_end),
        cmocka_unit_test(test_a_copy_is_cut_before_its_own_end),
        cmocka_unit_test(test_a_copy_without_stored_entries_is_cut_by_its_own_oplog),
        cmocka_unit_test(test_done_is_done_and_another_point_needs_another_copy),
        cmocka_unit_test(test_a_mark_that_outlived_its_files_is_noticed),
        cmocka_unit_test(test_entries_that_the_source_rolled_back_are_told),
        cmocka_unit_test(test_a_copy_that_lacks_entries_is_told),
        cmocka_unit_test(test_entries_that_are_not_the_planned_ones_are_refused),
        cmocka_unit_test(test_a_program_that_will_not_do_is_refused_before_anything_is_touched),
        cmocka_unit_test(test_a_recovery_that_does_nothing_is_no_success),
        cmocka_unit_test(test_a_server_that_dies_is_told_and_the_next_call_goes_on),
        cmocka_unit_test(test_a_directory_that_is_in_use_or_none_is_refused),
        cmocka_unit_test(test_killed_at_each_mark_it_goes_on),
        cmocka_unit_test(test_killed_at_any_time_it_goes_on),
        cmocka_unit_test(test_it_becomes_a_new_set_that_keeps_its_oplog),
    };
    return cmocka_run_group_tests_name("oplog/replay", tests, begin, end);
}
