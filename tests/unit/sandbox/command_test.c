/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands against an engine of their own, as a standalone and without a socket: what they answer, field by field, and
 * the lives of cursors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "os/fs.h"
#include "sandbox/server_internal.h"

#ifdef __SANITIZE_THREAD__
/* WiredTiger is not built with the sanitizer: what it does on its own threads looks like races. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

struct fixture {
    char *dir;
    struct hf_cancel shutdown;
    struct hf_sandbox_server own, *server;
    struct hf_sandbox_conn *conn;
    struct hf_error err;
    bson_t *reply;
};

static int setup(void **state)
{
    struct fixture *f = NULL;

    assert_int_equal(posix_memalign((void **)&f, 128, sizeof *f), 0); /* it holds a bson_t */
    memset(f, 0, sizeof *f);
    f->server = &f->own;
    f->conn = hf_alloc_zero(sizeof *f->conn);
    if (f->conn == NULL || hf_fs_make_temp_dir("hf-command", &f->dir, &f->err) != HF_ERR_OK) {
        return -1;
    }
    const char *const argv[] = {"holdfast-sandbox", "--dbpath", f->dir, "--port", "27017"};
    const struct hf_sandbox_engine_options engine_options = {.dbpath = f->dir};
    hf_cancel_init(&f->shutdown);
    if (hf_sandbox_options_parse(5, argv, &f->server->options, &f->err) != HF_ERR_OK ||
        hf_sandbox_engine_open(&engine_options, &f->server->engine, &f->err) != HF_ERR_OK ||
        hf_sandbox_repl_start(f->server->engine, &f->server->options, NULL, &f->server->repl,
                              &f->err) != HF_ERR_OK) {
        print_error("%s\n", f->err.message);
        return -1;
    }
    f->server->shutdown = &f->shutdown;
    hf_mutex_init(&f->server->cursors_mutex);
    atomic_store(&f->server->cursor_timeout_ms, 600000);
    (void)snprintf(f->server->host, sizeof f->server->host, "host:27017");
    f->conn->server = f->server;
    f->conn->loopback = true;
    f->server->conns = f->conn;
    f->reply = bson_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;

    (void)hf_sandbox_cursors_end(f->server, 0, 0);
    hf_sandbox_repl_stop(f->server->repl);
    assert_int_equal(hf_sandbox_engine_close(f->server->engine, &err), HF_ERR_OK);
    hf_mutex_fini(&f->server->cursors_mutex);
    bson_destroy(&f->server->options.set_parameters);
    assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    bson_destroy(f->reply);
    hf_free(f->conn);
    hf_free(f->dir);
    free(f);
    return 0;
}

/* Runs the command (JSON without $db) on database app, or admin where the text begins with '@'. */
static const bson_t *run(struct fixture *f, const char *format, ...) HF_PRINTF(2, 3);

static const bson_t *run(struct fixture *f, const char *format, ...)
{
    char json[4096];
    bson_error_t error;
    bson_t *command;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(json, sizeof json, format, args);
    va_end(args);
    command = bson_new_from_json((const uint8_t *)json + (json[0] == '@'), -1, &error);
    if (command == NULL) {
        fail_msg("%s: %s", json, error.message);
    }
    bson_append_utf8(command, "$db", -1, json[0] == '@' ? "admin" : "app", -1);
    bson_reinit(f->reply);
    hf_sandbox_command_run(f->conn, command, f->reply);
    bson_destroy(command);
    return f->reply;
}

static void assert_reply(struct fixture *f, const char *json)
{
    bson_error_t error;
    bson_t *wanted = bson_new_from_json((const uint8_t *)json, -1, &error);

    if (wanted == NULL) {
        fail_msg("%s: %s", json, error.message);
    }
    if (!bson_equal(f->reply, wanted)) {
        fail_msg("got %s, wanted %s", bson_as_canonical_extended_json(f->reply, NULL), json);
    }
    bson_destroy(wanted);
}

static int64_t number(struct fixture *f, const char *path)
{
    bson_value_t value;
    int64_t out = -1;

    if (!hf_sandbox_get_path(f->reply, path, &value) || !hf_sandbox_as_int64(&value, &out)) {
        fail_msg("no %s in %s", path, bson_as_canonical_extended_json(f->reply, NULL));
    }
    return out;
}

static void assert_refused(struct fixture *f, int32_t code, const char *message)
{
    assert_true(bson_has_field(f->reply, "errmsg"));
    assert_int_equal(number(f, "code"), code);
    assert_string_equal(hf_sandbox_get_utf8(f->reply, "errmsg", ""), message);
}

static void fill(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++) {
        run(f, "{\"insert\": \"c\", \"documents\": [{\"_id\": %d, \"a\": %d}]}", i, i % 3);
        assert_int_equal(number(f, "n"), 1);
    }
}

static void test_what_is_no_command_is_refused(void **state)
{
    struct fixture *f = *state;

    run(f, "{\"noSuchCommand\": 1}");
    assert_reply(f, "{\"ok\": 0.0, \"errmsg\": \"no such command: 'noSuchCommand'\", \"code\": 59, "
                    "\"codeName\": \"CommandNotFound\"}");
    run(f, "{\"find\": \"a$b\"}");
    assert_refused(f, 73, "Invalid namespace specified 'app.a$b'");
    run(f, "{\"find\": 5}");
    assert_refused(f, 73, "collection name has invalid type for command find");
    run(f, "{\"getParameter\": 1, \"x\": 1}");
    assert_refused(f, 13, "getParameter may only be run against the admin database.");
    run(f, "@{\"getParameter\": 1, \"x\": 1}");
    assert_reply(f, "{\"ok\": 0.0, \"errmsg\": \"no option found to get\"}");
    run(f, "{\"insert\": \"c\", \"documents\": [{}], \"autocommit\": false, \"startTransaction\": "
           "true}");
    assert_refused(f, 72, "a transaction number needs a session's id");
    run(f, "{\"insert\": \"c\", \"documents\": [{}], \"autocommit\": false, \"startTransaction\": "
           "true, \"txnNumber\": 1, \"lsid\": {\"id\": {\"$binary\": {\"base64\": "
           "\"F1AfaPJPRGugzKm9FZHPzw==\", \"subType\": \"04\"}}}}");
    assert_refused(f, 20, "Transaction numbers are only allowed on a replica set member or mongos");
}

static void test_a_cursor_hands_out_batches_until_its_end(void **state)
{
    struct fixture *f = *state;
    int64_t id;

    fill(f, 5);
    run(f, "{\"find\": \"c\", \"batchSize\": 2}");
    id = number(f, "cursor.id");
    assert_int_not_equal(id, 0);
    assert_int_equal(number(f, "cursor.firstBatch.1._id"), 1);
    run(f, "{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"other\"}", (long long)id);
    assert_int_equal(number(f, "code"), 13);
    run(f, "{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"c\", \"batchSize\": 2}",
        (long long)id);
    assert_int_equal(number(f, "cursor.nextBatch.1._id"), 3);
    run(f, "{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"c\", \"batchSize\": 2}",
        (long long)id);
    assert_reply(f, "{\"cursor\": {\"nextBatch\": [{\"_id\": 4, \"a\": 1}], \"id\": "
                    "{\"$numberLong\": \"0\"}, \"ns\": \"app.c\"}, \"ok\": 1.0}");
    run(f, "{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"c\"}", (long long)id);
    assert_int_equal(number(f, "code"), 43);
}

static void test_idle_cursors_are_ended_and_the_backup_with_them(void **state)
{
    struct fixture *f = *state;
    int64_t id;

    fill(f, 1);
    run(f, "@{\"aggregate\": 1, \"pipeline\": [{\"$backupCursor\": {}}], \"cursor\": "
           "{\"batchSize\": 0}}");
    id = number(f, "cursor.id");
    run(f, "@{\"aggregate\": 1, \"pipeline\": [{\"$backupCursor\": {}}], \"cursor\": {}}");
    assert_refused(f, 50886,
                   "The existing backup cursor must be closed before $backupCursor can succeed.");
    run(f,
        "@{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"$cmd.aggregate\", "
        "\"batchSize\": 1}",
        (long long)id);
    assert_true(
        hf_sandbox_get_path(f->reply, "cursor.nextBatch.0.metadata.backupId", &(bson_value_t){0}));
    (void)hf_sandbox_cursors_end(f->server, 0, atomic_load(&f->server->cursor_timeout_ms));
    assert_true(hf_sandbox_backup_is_open(f->server->engine));
    atomic_store(&f->server->cursor_timeout_ms, 0);
    (void)hf_sandbox_cursors_end(f->server, 0, atomic_load(&f->server->cursor_timeout_ms));
    assert_false(hf_sandbox_backup_is_open(f->server->engine));
    run(f, "@{\"getMore\": {\"$numberLong\": \"%lld\"}, \"collection\": \"$cmd.aggregate\"}",
        (long long)id);
    assert_int_equal(number(f, "code"), 43);
}

static void test_stages_after_the_backup_cursor_leave_it_open(void **state)
{
    struct fixture *f = *state;

    run(f, "@{\"aggregate\": 1, \"pipeline\": [{\"$backupCursor\": {}}, {\"$match\": "
           "{\"filename\": {\"$exists\": true}}}, "
           "{\"$count\": \"files\"}], \"cursor\": {}}");
    assert_true(number(f, "cursor.firstBatch.0.files") > 3);
    assert_true(hf_sandbox_backup_is_open(f->server->engine));
    run(f, "@{\"killCursors\": \"$cmd.aggregate\", \"cursors\": [{\"$numberLong\": \"%lld\"}]}",
        (long long)number(f, "cursor.id"));
    assert_false(hf_sandbox_backup_is_open(f->server->engine));
    run(f, "{\"aggregate\": \"c\", \"pipeline\": [], \"cursor\": {}, \"noCursorTimeout\": true}");
    assert_refused(f, 9, "unrecognized field 'noCursorTimeout'");
}

static void test_writes_say_how_many_and_what_went_wrong(void **state)
{
    struct fixture *f = *state;

    fill(f, 6);
    run(f, "{\"insert\": \"c\", \"documents\": [{\"_id\": 9}, {\"_id\": 1}, {\"_id\": 10}], "
           "\"ordered\": false}");
    assert_reply(f, "{\"n\": 2, \"writeErrors\": [{\"index\": 1, \"code\": 11000, \"keyPattern\": "
                    "{\"_id\": 1}, \"keyValue\": {\"_id\": 1}, "
                    "\"errmsg\": \"E11000 duplicate key error collection: app.c index: _id_ dup "
                    "key: { _id: 1 }\"}], \"ok\": 1.0}");
    run(f, "{\"update\": \"c\", \"updates\": [{\"q\": {\"a\": 1}, \"u\": {\"$inc\": {\"n\": 1}}, "
           "\"multi\": true}, "
           "{\"q\": {\"_id\": 77}, \"u\": {\"$set\": {\"x\": 1}}, \"upsert\": true}, {\"q\": "
           "{\"_id\": 9}, \"u\": {\"$unset\": {\"none\": 1}}}]}");
    assert_reply(
        f,
        "{\"n\": 4, \"upserted\": [{\"index\": 1, \"_id\": 77}], \"nModified\": 2, \"ok\": 1.0}");
    run(f, "{\"update\": \"c\", \"updates\": [{\"q\": {}, \"u\": {\"$foo\": {\"n\": 1}}}, {\"q\": "
           "{}, \"u\": {\"$set\": {\"z\": 1}}}]}");
    assert_reply(f, "{\"n\": 0, \"nModified\": 0, \"writeErrors\": [{\"index\": 0, \"code\": 9, "
                    "\"errmsg\": \"Unknown modifier: $foo\"}], \"ok\": 1.0}");
    run(f, "{\"delete\": \"c\", \"deletes\": [{\"q\": {\"a\": 2}, \"limit\": 0}, {\"q\": {\"a\": "
           "0}, \"limit\": 1}]}");
    assert_reply(f, "{\"n\": 3, \"ok\": 1.0}");
    run(f, "{\"findAndModify\": \"c\", \"query\": {\"a\": 1}, \"sort\": {\"_id\": -1}, \"update\": "
           "{\"$set\": {\"b\": 2}}, \"fields\": {\"a\": 0}}");
    assert_reply(f, "{\"lastErrorObject\": {\"n\": 1, \"updatedExisting\": true}, \"value\": "
                    "{\"_id\": 4, \"n\": 1}, \"ok\": 1.0}");
    run(f, "{\"findAndModify\": \"c\", \"query\": {\"_id\": 400}, \"remove\": true}");
    assert_reply(f, "{\"lastErrorObject\": {\"n\": 0}, \"value\": null, \"ok\": 1.0}");
    run(f, "{\"count\": \"c\", \"query\": {\"b\": 2}}");
    assert_reply(f, "{\"n\": 1, \"ok\": 1.0}");
    run(f, "{\"distinct\": \"c\", \"key\": \"a\"}");
    assert_reply(f, "{\"values\": [0, 1], \"ok\": 1.0}");
}

static void test_a_definition_comes_and_goes_once(void **state)
{
    struct fixture *f = *state;

    fill(f, 3);
    run(f, "{\"createIndexes\": \"c\", \"indexes\": [{\"key\": {\"a\": 1}, \"name\": \"a_1\"}]}");
    assert_reply(f, "{\"createdCollectionAutomatically\": false, \"numIndexesBefore\": 1, "
                    "\"numIndexesAfter\": 2, \"ok\": 1.0}");
    run(f, "{\"createIndexes\": \"c\", \"indexes\": [{\"key\": {\"a\": 1}, \"name\": \"b\"}]}");
    assert_string_equal(hf_sandbox_get_utf8(f->reply, "note", ""), "all indexes already exist");
    run(f, "{\"create\": \"c\"}");
    assert_refused(f, 48, "Collection already exists. NS: app.c");
    run(f, "@{\"renameCollection\": \"app.c\", \"to\": \"app.d\"}");
    assert_reply(f, "{\"ok\": 1.0}");
    run(f, "{\"validate\": \"d\"}");
    assert_int_equal(number(f, "keysPerIndex.a_1"), 3);
    assert_true(hf_sandbox_get_true(f->reply, "valid"));
    run(f, "{\"dropIndexes\": \"d\", \"index\": \"none\"}");
    assert_refused(f, 27, "index not found with name [none]");
    run(f, "{\"drop\": \"d\"}");
    assert_reply(f, "{\"nIndexesWas\": 2, \"ns\": \"app.d\", \"ok\": 1.0}");
    run(f, "{\"drop\": \"d\"}");
    assert_refused(f, 26, "ns not found");
}

static void test_equal_documents_hash_alike_in_any_order(void **state)
{
    struct fixture *f = *state;
    char first[64];
    bson_value_t hash;

    run(f, "{\"insert\": \"a\", \"documents\": [{\"_id\": 1}, {\"_id\": 2, \"x\": 1}]}");
    run(f, "{\"insert\": \"b\", \"documents\": [{\"_id\": 2, \"x\": 1}, {\"_id\": 1}]}");
    run(f, "{\"dbHash\": 1}");
    assert_true(hf_sandbox_get_path(f->reply, "collections.a", &hash));
    (void)snprintf(first, sizeof first, "%s", hash.value.v_utf8.str);
    assert_true(hf_sandbox_get_path(f->reply, "collections.b", &hash));
    assert_string_equal(hash.value.v_utf8.str, first);
    run(f,
        "{\"update\": \"b\", \"updates\": [{\"q\": {\"_id\": 1}, \"u\": {\"$set\": {\"x\": 0}}}]}");
    run(f, "{\"dbHash\": 1}");
    assert_true(hf_sandbox_get_path(f->reply, "collections.b", &hash));
    assert_string_not_equal(hash.value.v_utf8.str, first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_no_command_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_cursor_hands_out_batches_until_its_end, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_idle_cursors_are_ended_and_the_backup_with_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_stages_after_the_backup_cursor_leave_it_open, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_writes_say_how_many_and_what_went_wrong, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_definition_comes_and_goes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_equal_documents_hash_alike_in_any_order, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
