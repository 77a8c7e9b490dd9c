/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a member's files show after kill -9, and what a copy through the backup cursor shows when it is opened:
 * plainly the checkpoint under a longer oplog, recovered the oplog's top, cut at a point that point.
 *
 * Each member lives and dies in a child process, so that nothing is closed behind its back.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/fs.h"
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#ifdef __SANITIZE_THREAD__
/* WiredTiger is not built with the sanitizer: what it does on its own threads looks like races. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

#define LIVE 100  /* documents at the checkpoint */
#define LATER 200 /* and at the end */
#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what,                    \
                          child_err.message);                                                      \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static struct hf_error child_err; /* of the child process */

struct fixture {
    char *live;
    char *copy;
    struct hf_error err;
};

/* ---- What a child does ---- */

static struct hf_sandbox_engine *child_open(const char *dir)
{
    const struct hf_sandbox_engine_options options = {
        .dbpath = dir, .replicated = true, .log_file_bytes = 1 << 20};
    struct hf_sandbox_engine *engine;

    CHECK(hf_sandbox_engine_open(&options, &engine, &child_err) == HF_ERR_OK);
    return engine;
}

static void child_log(struct hf_sandbox_txn *txn, const char *op, const char *ns,
                      const uint8_t *uuid, const bson_t *o, const bson_t *o2)
{
    const struct hf_sandbox_entry entry = {.op = op, .ns = ns, .uuid = uuid, .o = o, .o2 = o2};

    CHECK(hf_sandbox_txn_log(txn, &entry, NULL, &child_err) == HF_ERR_OK);
}

static struct hf_sandbox_txn *child_begin(struct hf_sandbox_engine *engine)
{
    const struct hf_sandbox_txn_options options = {.write = true, .replicated = true};
    struct hf_sandbox_txn *txn;

    CHECK(hf_sandbox_txn_begin(engine, &options, &txn, &child_err) == HF_ERR_OK);
    return txn;
}

static void child_commit(struct hf_sandbox_txn *txn)
{
    CHECK(hf_sandbox_txn_commit(txn, NULL, &child_err) == HF_ERR_OK);
}

/* As replSetInitiate leaves it, and a collection shop.things with an index. */
static void child_initiate(struct hf_sandbox_engine *engine)
{
    struct hf_sandbox_txn *txn;
    bson_t empty = BSON_INITIALIZER;
    bson_t *note = BCON_NEW("msg", "initiating set");
    bson_t *create = BCON_NEW("create", "things");
    bson_t *index = BCON_NEW("createIndexes", "things", "v", BCON_INT32(2), "key", "{", "n",
                             BCON_INT32(1), "}", "name", "n_1");
    bson_t *spec = BCON_NEW("v", BCON_INT32(2), "key", "{", "n", BCON_INT32(1), "}", "name", "n_1");
    uint8_t uuid[16];

    hf_sandbox_uuid_make(uuid);
    CHECK(hf_sandbox_oplog_create(engine, &child_err) == HF_ERR_OK);
    CHECK(hf_sandbox_local_set_min_valid(engine, NULL, HF_SANDBOX_OPTIME_NONE,
                                         HF_SANDBOX_OPTIME_NONE, &child_err) == HF_ERR_OK);
    CHECK(hf_sandbox_local_set_truncate_after(engine, 0, &child_err) == HF_ERR_OK);
    hf_sandbox_engine_set_role(engine, true, 1);
    txn = child_begin(engine);
    child_log(txn, "n", "", NULL, note, NULL);
    child_commit(txn);
    hf_sandbox_engine_set_majority(engine, hf_sandbox_engine_applied(engine));
    CHECK(hf_sandbox_engine_checkpoint(engine, &child_err) == HF_ERR_OK);
    txn = child_begin(engine);
    child_log(txn, "c", "shop.$cmd", uuid, create, NULL);
    CHECK(hf_sandbox_coll_create(txn, "shop.things", &empty, uuid, NULL, &child_err) == HF_ERR_OK);
    child_commit(txn);
    txn = child_begin(engine);
    child_log(txn, "c", "shop.$cmd", uuid, index, NULL);
    CHECK(hf_sandbox_coll_create_index(txn, hf_sandbox_txn_find(txn, "shop.things"), spec,
                                       &child_err) == HF_ERR_OK);
    child_commit(txn);
    bson_destroy(note);
    bson_destroy(create);
    bson_destroy(index);
    bson_destroy(spec);
}

static void child_insert(struct hf_sandbox_engine *engine, const char *ns, int from, int to)
{
    for (int i = from; i < to; i++) {
        struct hf_sandbox_txn *txn = child_begin(engine);
        struct hf_sandbox_coll *coll = hf_sandbox_txn_find(txn, ns);
        bson_t *doc = BCON_NEW("_id", BCON_INT32(i), "n", BCON_INT32(i % 7));

        child_log(txn, "i", ns, coll->uuid, doc, NULL);
        CHECK(hf_sandbox_coll_insert(txn, coll, doc, NULL, &child_err) == HF_ERR_OK);
        child_commit(txn);
        bson_destroy(doc);
    }
}

static void child_checkpoint(struct hf_sandbox_engine *engine)
{
    hf_sandbox_engine_set_majority(engine, hf_sandbox_engine_applied(engine));
    CHECK(hf_sandbox_engine_checkpoint(engine, &child_err) == HF_ERR_OK);
}

/* Every other document updated or deleted, then a definition of each kind. */
static void child_change_much(struct hf_sandbox_engine *engine)
{
    for (int i = 0; i < 20; i++) {
        struct hf_sandbox_txn *txn = child_begin(engine);
        struct hf_sandbox_coll *coll = hf_sandbox_txn_find(txn, "shop.things");
        const uint8_t *uuid = coll->uuid;
        const bson_value_t id = hf_sandbox_value_of_int32(i);
        bson_t *o2 = BCON_NEW("_id", BCON_INT32(i));
        bson_t *o = BCON_NEW("$v", BCON_INT32(1), "$set", "{", "n", BCON_INT32(1000 + i), "}");
        bson_t *next = BCON_NEW("_id", BCON_INT32(i), "n", BCON_INT32(1000 + i));
        bson_t *old;
        int64_t record;

        CHECK(hf_sandbox_coll_find_id(txn, coll, &id, &record, &old, &child_err) == HF_ERR_OK);
        if (i % 2 == 0) {
            child_log(txn, "u", "shop.things", uuid, o, o2);
            CHECK(hf_sandbox_coll_update(txn, coll, record, old, next, &child_err) == HF_ERR_OK);
        } else {
            child_log(txn, "d", "shop.things", uuid, o2, NULL);
            CHECK(hf_sandbox_coll_remove(txn, coll, record, old, &child_err) == HF_ERR_OK);
        }
        child_commit(txn);
        bson_destroy(old);
        bson_destroy(o2);
        bson_destroy(o);
        bson_destroy(next);
    }
    struct hf_sandbox_txn *txn = child_begin(engine);
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(txn, "shop.things");
    bson_t *rename = BCON_NEW("renameCollection", "shop.things", "to", "shop.renamed", "stayTemp",
                              BCON_BOOL(false));
    child_log(txn, "c", "shop.$cmd", coll->uuid, rename, NULL);
    CHECK(hf_sandbox_coll_rename(txn, coll, "shop.renamed", &child_err) == HF_ERR_OK);
    child_commit(txn);
    bson_destroy(rename);
}

static void child_copy_file(const char *from, const char *to)
{
    char command[2048];

    (void)snprintf(command, sizeof command, "cp --sparse=always '%s' '%s'", from, to);
    CHECK(system(command) == 0);
}

/* Copies what the documents name, relative to from, into to. */
static void child_copy(const bson_t *docs, const char *from, const char *to)
{
    bson_iter_t iter;

    CHECK(bson_iter_init(&iter, docs));
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        bson_t doc;
        const char *name;
        char target[1024];

        CHECK(hf_sandbox_value_doc(&value, &doc));
        name = hf_sandbox_get_utf8(&doc, "filename", NULL);
        if (name != NULL) {
            CHECK(strncmp(name, from, strlen(from)) == 0);
            (void)snprintf(target, sizeof target, "%s%s", to, name + strlen(from));
            child_copy_file(name, target);
        }
    }
}

static void child_backup(struct hf_sandbox_engine *engine, const char *to, int more)
{
    bson_t empty = BSON_INITIALIZER;
    bson_t docs = BSON_INITIALIZER;
    bson_t logs = BSON_INITIALIZER;
    bson_t extend = BSON_INITIALIZER;
    bson_value_t spec = hf_sandbox_value_of_doc(&empty);
    struct hf_sandbox_refusal no = {.message = ""};
    uint8_t id[16];
    char journal[1024];

    (void)snprintf(journal, sizeof journal, "%s/journal", to);
    CHECK(hf_fs_make_dirs(journal, 0700, &child_err) == HF_ERR_OK);
    CHECK(hf_sandbox_backup_open(engine, &spec, &docs, id, &no) == 0);
    CHECK(hf_sandbox_backup_open(engine, &spec, &logs, id, &no) == 50886);
    child_insert(engine, "shop.things", LIVE, LIVE + more); /* under writes and checkpoints */
    child_checkpoint(engine);
    child_copy(&docs, engine->dbpath, to);
    (void)bson_append_binary(&extend, "backupId", -1, BSON_SUBTYPE_UUID, id, 16);
    hf_sandbox_append_ts(&extend, "timestamp", hf_sandbox_engine_applied(engine).ts);
    spec = hf_sandbox_value_of_doc(&extend);
    CHECK(hf_sandbox_backup_extend(engine, &spec, 0, NULL, &logs, &no) == 0);
    child_insert(engine, "shop.things", LIVE + more, LIVE + more + 10);
    child_copy(&logs, engine->dbpath, to);
    hf_sandbox_backup_close(engine, id);
    CHECK(!hf_sandbox_backup_is_open(engine));
    bson_destroy(&docs);
    bson_destroy(&logs);
    bson_destroy(&extend);
}

/* Runs in a child that ends by kill -9; fails when it came to another end. */
static void dies(void (*what)(struct fixture *f), struct fixture *f)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        what(f);
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- Looking ---- */

struct seen {
    int documents;
    int by_index;
    int64_t top; /* n of the oplog's last insert, -1: it is none */
};

static int count(struct fixture *f, struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                 const char *index)
{
    const struct hf_sandbox_scan_options options = {.index = index};
    struct hf_sandbox_scan *scan;
    bool found = true;
    int n = -1;
    bson_t doc;

    assert_int_equal(hf_sandbox_scan_open(txn, coll, &options, &scan, &f->err), HF_ERR_OK);
    while (found) {
        assert_int_equal(hf_sandbox_scan_next(scan, &found, NULL, &doc, &f->err), HF_ERR_OK);
        n++;
    }
    hf_sandbox_scan_close(scan);
    return n;
}

/* Opens, looks at ns and the oplog, closes cleanly. */
static struct seen look(struct fixture *f, struct hf_sandbox_engine_options options, const char *ns)
{
    const struct hf_sandbox_txn_options read = {.write = false};
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_txn *txn;
    struct hf_sandbox_coll *coll;
    struct seen seen = {.documents = -1, .top = -1};
    bson_t *top;
    bson_t o;
    enum hf_err result = hf_sandbox_engine_open(&options, &engine, &f->err);

    if (result != HF_ERR_OK) {
        print_error("%s\n", f->err.message);
    }
    assert_int_equal(result, HF_ERR_OK);
    assert_int_equal(hf_sandbox_txn_begin(engine, &read, &txn, &f->err), HF_ERR_OK);
    coll = hf_sandbox_txn_find(txn, ns);
    if (coll != NULL) {
        seen.documents = count(f, txn, coll, NULL);
        seen.by_index = count(f, txn, coll, "_id_");
    }
    hf_sandbox_txn_abort(txn);
    assert_int_equal(hf_sandbox_local_get(engine, HF_SANDBOX_OPLOG_NS, true, &top, &f->err),
                     HF_ERR_OK);
    if (top != NULL && hf_sandbox_get_doc(top, "o", &o)) {
        seen.top = hf_sandbox_get_int64(&o, "_id", -1);
    }
    bson_destroy(top);
    assert_int_equal(hf_sandbox_engine_close(engine, &f->err), HF_ERR_OK);
    return seen;
}

static int setup(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);

    if (f == NULL || hf_fs_make_temp_dir("hf-live", &f->live, &f->err) != HF_ERR_OK ||
        hf_fs_make_temp_dir("hf-copy", &f->copy, &f->err) != HF_ERR_OK) {
        return -1;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (hf_fs_remove_tree(f->live, &f->err) != HF_ERR_OK ||
        hf_fs_remove_tree(f->copy, &f->err) != HF_ERR_OK) {
        return -1;
    }
    hf_free(f->live);
    hf_free(f->copy);
    hf_free(f);
    return 0;
}

/* ---- kill -9 ---- */

static void write_and_die(struct fixture *f)
{
    struct hf_sandbox_engine *engine = child_open(f->live);

    child_initiate(engine);
    child_insert(engine, "shop.things", 0, LIVE);
    child_checkpoint(engine);
    child_insert(engine, "shop.things", LIVE, LATER);
    CHECK(hf_sandbox_engine_flush(engine, &child_err) == HF_ERR_OK);
}

static void test_after_kill_9_a_plain_start_shows_the_checkpoint_under_a_longer_oplog(void **state)
{
    struct fixture *f = *state;
    struct seen seen;

    dies(write_and_die, f);
    seen = look(f, (struct hf_sandbox_engine_options){.dbpath = f->live}, "shop.things");
    assert_int_equal(seen.documents, LIVE);
    assert_int_equal(seen.by_index, LIVE);
    assert_int_equal(seen.top, LATER - 1);
    /* and the same once more: a plain start and stop spoils nothing */
    seen = look(f, (struct hf_sandbox_engine_options){.dbpath = f->live}, "shop.things");
    assert_int_equal(seen.documents, LIVE);
}

static void test_after_kill_9_a_member_starts_at_the_top_of_its_oplog(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options member = {.dbpath = f->live, .replicated = true};
    struct seen seen;

    dies(write_and_die, f);
    seen = look(f, member, "shop.things");
    assert_int_equal(seen.documents, LATER);
    assert_int_equal(seen.by_index, LATER);
    seen = look(f, member, "shop.things");
    assert_int_equal(seen.documents, LATER);
}

static void change_and_die(struct fixture *f)
{
    struct hf_sandbox_engine *engine = child_open(f->live);

    child_initiate(engine);
    child_insert(engine, "shop.things", 0, LIVE);
    child_checkpoint(engine);
    child_change_much(engine);
    CHECK(hf_sandbox_engine_flush(engine, &child_err) == HF_ERR_OK);
}

static void test_updates_deletes_and_a_rename_are_replayed(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options plain = {.dbpath = f->live};
    const struct hf_sandbox_engine_options member = {.dbpath = f->live, .replicated = true};

    dies(change_and_die, f);
    assert_int_equal(look(f, plain, "shop.renamed").documents, -1);
    assert_int_equal(look(f, plain, "shop.things").documents, LIVE);
    assert_int_equal(look(f, member, "shop.things").documents, -1);
    assert_int_equal(look(f, member, "shop.renamed").documents, LIVE - 10);
    assert_int_equal(look(f, member, "shop.renamed").by_index, LIVE - 10);
}

/* ---- Copies ---- */

static void back_up_and_die(struct fixture *f)
{
    struct hf_sandbox_engine *engine = child_open(f->live);

    child_initiate(engine);
    child_insert(engine, "shop.things", 0, LIVE);
    child_checkpoint(engine);
    child_backup(engine, f->copy, 50);
}

static void test_a_copy_shows_the_checkpoint_and_recovers_to_the_time_of_the_extend(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options plain = {.dbpath = f->copy};
    const struct hf_sandbox_engine_options recover = {
        .dbpath = f->copy, .recover_from_oplog = true, .unstable_checkpoint = true};
    const struct hf_sandbox_engine_options passing = {.dbpath = f->copy,
                                                      .recover_from_oplog = true};
    struct seen seen;
    int all;

    dies(back_up_and_die, f);
    seen = look(f, plain, "shop.things");
    assert_int_equal(seen.documents, LIVE);
    assert_true(seen.top >= LIVE + 49);
    /* The journal was written to while it was copied: its copy may reach beyond the extend. Without
     * the unstable checkpoint all of it is seen, and lost again. */
    seen = look(f, passing, "shop.things");
    assert_in_range(seen.top, LIVE + 49, LIVE + 59);
    all = (int)seen.top + 1;
    assert_int_equal(seen.documents, all);
    assert_int_equal(look(f, plain, "shop.things").documents, LIVE);
    assert_int_equal(look(f, recover, "shop.things").documents, all);
    seen = look(f, plain, "shop.things");
    assert_int_equal(seen.documents, all);
    assert_int_equal(seen.by_index, all);
    /* again is harmless */
    assert_int_equal(look(f, recover, "shop.things").documents, all);
    assert_int_equal(look(f, plain, "shop.things").documents, all);
}

/* The time of the insert of _id n. */
static uint64_t time_of(struct fixture *f, struct hf_sandbox_engine *engine, int n)
{
    const struct hf_sandbox_txn_options read = {.write = false};
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    struct hf_sandbox_txn *txn;
    struct hf_sandbox_scan *scan;
    bool found = true;
    bson_t entry;
    bson_t o;
    uint64_t ts = 0;

    assert_int_equal(hf_sandbox_txn_begin(engine, &read, &txn, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_scan_open(txn, hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS),
                                          &natural, &scan, &f->err),
                     HF_ERR_OK);
    while (found && ts == 0) {
        assert_int_equal(hf_sandbox_scan_next(scan, &found, NULL, &entry, &f->err), HF_ERR_OK);
        if (found && hf_sandbox_get_doc(&entry, "o", &o) &&
            hf_sandbox_get_int64(&o, "_id", -1) == n) {
            ts = hf_sandbox_get_ts(&entry, "ts");
        }
    }
    hf_sandbox_scan_close(scan);
    hf_sandbox_txn_abort(txn);
    return ts;
}

static void test_a_truncate_point_makes_a_point_in_time(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options plain = {.dbpath = f->copy};
    const struct hf_sandbox_engine_options recover = {
        .dbpath = f->copy, .recover_from_oplog = true, .unstable_checkpoint = true};
    struct hf_sandbox_engine *engine;
    struct seen seen;
    bson_t *point;

    dies(back_up_and_die, f);
    assert_int_equal(hf_sandbox_engine_open(&plain, &engine, &f->err), HF_ERR_OK);
    assert_int_equal(
        hf_sandbox_local_set_truncate_after(engine, time_of(f, engine, LIVE + 19), &f->err),
        HF_ERR_OK);
    assert_int_equal(hf_sandbox_engine_close(engine, &f->err), HF_ERR_OK);
    seen = look(f, recover, "shop.things");
    assert_int_equal(seen.documents, LIVE + 20);
    assert_int_equal(seen.top, LIVE + 19);
    assert_int_equal(hf_sandbox_engine_open(&plain, &engine, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_local_get(engine, "local.replset.oplogTruncateAfterPoint", false,
                                          &point, &f->err),
                     HF_ERR_OK);
    assert_int_equal(hf_sandbox_get_ts(point, "oplogTruncateAfterPoint"), 0);
    bson_destroy(point);
    assert_int_equal(hf_sandbox_engine_close(engine, &f->err), HF_ERR_OK);
}

static void test_entries_added_after_a_recovery_are_refused_with_the_real_number(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options plain = {.dbpath = f->copy};
    const struct hf_sandbox_engine_options recover = {
        .dbpath = f->copy, .recover_from_oplog = true, .unstable_checkpoint = true};
    const struct hf_sandbox_engine_options passing = {.dbpath = f->copy,
                                                      .recover_from_oplog = true};
    const struct hf_sandbox_txn_options write = {.write = true};
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_txn *txn;
    bson_t *entry;
    bson_t later = BSON_INITIALIZER;

    dies(back_up_and_die, f);
    (void)look(f, recover, "shop.things");
    assert_int_equal(hf_sandbox_engine_open(&plain, &engine, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_local_get(engine, HF_SANDBOX_OPLOG_NS, true, &entry, &f->err),
                     HF_ERR_OK);
    bson_copy_to_excluding_noinit(entry, &later, "ts", NULL);
    hf_sandbox_append_ts(&later, "ts", hf_sandbox_get_ts(entry, "ts") + 1);
    assert_int_equal(hf_sandbox_txn_begin(engine, &write, &txn, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_coll_insert(txn, hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS),
                                            &later, NULL, &f->err),
                     HF_ERR_OK);
    assert_int_equal(hf_sandbox_txn_commit(txn, NULL, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_engine_close(engine, &f->err), HF_ERR_OK);
    bson_destroy(entry);
    bson_destroy(&later);
    assert_int_equal(hf_sandbox_engine_open(&recover, &engine, &f->err), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(f->err.message, "31365"));
    assert_int_equal(hf_sandbox_engine_open(&passing, &engine, &f->err), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(f->err.message, "31229"));
}

static void test_a_member_killed_under_a_backup_starts_again(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options member = {.dbpath = f->live, .replicated = true};

    dies(back_up_and_die, f);
    assert_true(look(f, member, "shop.things").documents >= LIVE + 50);
}

/* ---- From a standalone to a set ---- */

/* A standalone with nine documents. */
static struct hf_sandbox_engine *child_alone(struct fixture *f)
{
    const struct hf_sandbox_engine_options standalone = {.dbpath = f->live};
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_txn *txn;
    bson_t empty = BSON_INITIALIZER;
    uint8_t uuid[16];

    hf_sandbox_uuid_make(uuid);
    CHECK(hf_sandbox_engine_open(&standalone, &engine, &child_err) == HF_ERR_OK);
    txn = child_begin(engine);
    CHECK(hf_sandbox_coll_create(txn, "old.things", &empty, uuid, NULL, &child_err) == HF_ERR_OK);
    child_commit(txn);
    child_insert(engine, "old.things", 0, 9);
    return engine;
}

static void write_alone_and_die(struct fixture *f)
{
    CHECK(hf_sandbox_engine_flush(child_alone(f), &child_err) == HF_ERR_OK);
}

static void test_a_standalone_has_after_kill_9_what_was_flushed(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options alone = {.dbpath = f->live};

    dies(write_alone_and_die, f);
    assert_int_equal(look(f, alone, "old.things").documents, 9);
}

static void turn_into_a_set_back_up_and_die(struct fixture *f)
{
    struct hf_sandbox_engine *engine = child_alone(f);

    CHECK(hf_sandbox_engine_close(engine, &child_err) == HF_ERR_OK);
    engine = child_open(f->live);
    child_initiate(engine);
    child_checkpoint(engine);
    child_insert(engine, "old.things", 9, 20);
    child_backup(engine, f->copy, 50);
}

static void test_tables_of_a_standalone_that_becomes_a_set_show_the_checkpoint_too(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options member = {.dbpath = f->live, .replicated = true};

    dies(turn_into_a_set_back_up_and_die, f);
    assert_int_equal(
        look(f, (struct hf_sandbox_engine_options){.dbpath = f->copy}, "old.things").documents, 9);
    assert_int_equal(look(f, member, "old.things").documents, 20);
}

/* ---- Where the real server dies ---- */

static void aborts(const char *spec_json, uint64_t deadline_ms)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct hf_sandbox_engine *engine;
        char *dir;
        bson_t *spec = bson_new_from_json((const uint8_t *)spec_json, -1, NULL);
        bson_t docs = BSON_INITIALIZER;
        bson_value_t value = hf_sandbox_value_of_doc(spec);
        struct hf_sandbox_refusal no;
        uint8_t id[16];

        CHECK(freopen("/dev/null", "w", stderr) != NULL);
        CHECK(hf_fs_make_temp_dir("hf-dies", &dir, &child_err) == HF_ERR_OK);
        engine = child_open(dir);
        child_initiate(engine);
        if (deadline_ms == 0) {
            (void)hf_sandbox_backup_open(engine, &value, &docs, id, &no);
        } else {
            CHECK(hf_sandbox_backup_open(engine, &value, &docs, id, &no) == 0);
            bson_t extend = BSON_INITIALIZER;

            (void)bson_append_binary(&extend, "backupId", -1, BSON_SUBTYPE_UUID, id, 16);
            hf_sandbox_append_ts(&extend, "timestamp", HF_SANDBOX_TS(4000000000u, 1));
            value = hf_sandbox_value_of_doc(&extend);
            (void)hf_sandbox_backup_extend(engine, &value, deadline_ms, NULL, &docs, &no);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_an_incremental_backup_without_name_kills_the_server(void **state)
{
    (void)state;
    aborts("{\"incrementalBackup\": true}", 0);
}

static void test_an_extend_whose_wait_is_cut_kills_the_server(void **state)
{
    (void)state;
    aborts("{}", 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_after_kill_9_a_plain_start_shows_the_checkpoint_under_a_longer_oplog),
        TEST(test_after_kill_9_a_member_starts_at_the_top_of_its_oplog),
        TEST(test_updates_deletes_and_a_rename_are_replayed),
        TEST(test_a_copy_shows_the_checkpoint_and_recovers_to_the_time_of_the_extend),
        TEST(test_a_truncate_point_makes_a_point_in_time),
        TEST(test_entries_added_after_a_recovery_are_refused_with_the_real_number),
        TEST(test_a_member_killed_under_a_backup_starts_again),
        TEST(test_a_standalone_has_after_kill_9_what_was_flushed),
        TEST(test_tables_of_a_standalone_that_becomes_a_set_show_the_checkpoint_too),
        TEST(test_an_incremental_backup_without_name_kills_the_server),
        TEST(test_an_extend_whose_wait_is_cut_kills_the_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
