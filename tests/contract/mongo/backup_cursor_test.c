/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a backup cursor against a scripted server: in one session from open to close, patient with
 * checkpoints and others' cursors, never left open, never anybody else's.
 */
#include "contract/mongo/scripted_server.h"

#include "base/fault.h"
#include "mongo/backup_cursor.h"
#include "os/clock.h"

#define CURSOR_ID 6516894435815646432LL

/* What the server shall do. Written before the commands come, or atomic. */
struct script {
    unsigned conflicts; /* $backupCursor answers 50915 so often first */
    unsigned busy;      /* then 50886 so often */
    bool break_on_open; /* the connection breaks while it opens; the cursor is there */
    bool standalone;    /* the metadata of a standalone */
    atomic_bool lost;   /* getMore answers 43 */
    atomic_bool breaks; /* getMore breaks the connection */
    unsigned opened, batches;
    uint8_t lsid[16]; /* of the open cursor */
};

static void answer_open(struct script *script, const bson_t *command, bson_t *reply)
{
    script->opened++;
    (void)hf_mongo_get_uuid(command, "lsid.id", script->lsid);
    script_recorded(reply, script->standalone ? "backupCursor-open-standalone"
                                              : "backupCursor-open-batchSize-10");
}

static void answer_more(struct script *script, bson_t *reply)
{
    static const char *const names[] = {
        "backupCursor-batchSize-10-getMore-1", "backupCursor-batchSize-10-getMore-2",
        "backupCursor-batchSize-10-getMore-3", "backupCursor-batchSize-10-getMore-4"};

    script_recorded(reply, names[script->batches < 3 ? script->batches : 3]);
    script->batches++;
}

/* The idle cursor of $currentOp, with the session of ours. */
static void answer_current_op(const struct script *script, bson_t *reply)
{
    bson_t cursor;
    bson_t batch;
    bson_t document;
    bson_t lsid;
    bson_t inner;

    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "cursor", &cursor);
    (void)BSON_APPEND_INT64(&cursor, "id", 0);
    (void)BSON_APPEND_UTF8(&cursor, "ns", "admin.$cmd.aggregate");
    (void)BSON_APPEND_ARRAY_BEGIN(&cursor, "firstBatch", &batch);
    if (script->opened > 0) {
        HF_REPLY bson_t *origin = bson_of("{\"pipeline\": [{\"$backupCursor\": {}}]}");
        (void)BSON_APPEND_DOCUMENT_BEGIN(&batch, "0", &document);
        (void)BSON_APPEND_UTF8(&document, "type", "idleCursor");
        (void)BSON_APPEND_DOCUMENT_BEGIN(&document, "lsid", &lsid);
        (void)BSON_APPEND_BINARY(&lsid, "id", BSON_SUBTYPE_UUID, script->lsid, 16);
        (void)bson_append_document_end(&document, &lsid);
        (void)BSON_APPEND_DOCUMENT_BEGIN(&document, "cursor", &inner);
        (void)BSON_APPEND_INT64(&inner, "cursorId", CURSOR_ID);
        (void)BSON_APPEND_DOCUMENT(&inner, "originatingCommand", origin);
        (void)bson_append_document_end(&document, &inner);
        (void)bson_append_document_end(&batch, &document);
    }
    (void)bson_append_array_end(&cursor, &batch);
    (void)bson_append_document_end(reply, &cursor);
}

static void answer_kill(const bson_t *command, bson_t *reply)
{
    bson_t killed;

    (void)BSON_APPEND_ARRAY_BEGIN(reply, "cursorsKilled", &killed);
    (void)BSON_APPEND_INT64(&killed, "0", hf_mongo_get_int(command, "cursors.0", 0));
    (void)bson_append_array_end(reply, &killed);
}

static enum script_action play(void *argument, const char *name, const bson_t *command,
                               bson_t *reply)
{
    struct script *script = argument;

    if (strcmp(name, "$backupCursor") == 0) {
        if (script->conflicts > 0) {
            script->conflicts--;
            script_json(reply, "{\"ok\": 0, \"code\": 50915, \"codeName\": \"Location50915\", "
                               "\"errmsg\": \"A checkpoint took place while opening a backup "
                               "cursor.\"}");
        } else if (script->busy > 0) {
            script->busy--;
            script_recorded(reply, "err-backupCursor-second-50886");
        } else {
            answer_open(script, command, reply);
            return script->break_on_open ? SCRIPT_BREAK : SCRIPT_REPLY;
        }
    } else if (strcmp(name, "getMore") == 0) {
        if (atomic_load(&script->breaks)) {
            return SCRIPT_BREAK;
        }
        if (atomic_load(&script->lost)) {
            script_recorded(reply, "err-getMore-cursor-not-found-43");
        } else {
            answer_more(script, reply);
        }
    } else if (strcmp(name, "$currentOp") == 0) {
        answer_current_op(script, reply);
    } else if (strcmp(name, "$backupCursorExtend") == 0) {
        script_recorded(reply, "backupCursorExtend");
    } else if (strcmp(name, "killCursors") == 0) {
        if (atomic_load(&script->lost)) {
            HF_REPLY bson_t *none = bson_of("{\"cursorsKilled\": [], \"ok\": 1}");
            bson_t gone;
            (void)bson_concat(reply, none);
            (void)BSON_APPEND_ARRAY_BEGIN(reply, "cursorsNotFound", &gone);
            (void)BSON_APPEND_INT64(&gone, "0", hf_mongo_get_int(command, "cursors.0", 0));
            (void)bson_append_array_end(reply, &gone);
        } else {
            answer_kill(command, reply);
        }
    }
    return SCRIPT_REPLY;
}

static struct hf_mongo_backup *prepare(struct scripted_server *server, uint64_t cursor_timeout_ms)
{
    struct hf_mongo_options client = {.host = server->host};
    struct hf_mongo_backup_options options = {
        .client = &client,
        .cursor_timeout_ms = cursor_timeout_ms,
        .patience_ms = 1,
    };
    struct hf_mongo_backup *backup = NULL;
    struct hf_error err;

    if (hf_mongo_backup_prepare(&options, &backup, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return backup;
}
#define BACKUP HF_CLEANUP(hf_mongo_backup_destroy) struct hf_mongo_backup

static void expect_words(const struct hf_error *err, const char *words)
{
    if (strstr(err->message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err->message);
    }
}

static void open_well(struct hf_mongo_backup *backup)
{
    struct hf_error err;

    if (hf_mongo_backup_open(backup, NULL, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
}

static void test_the_session_is_known_before_the_cursor_and_serves_all_its_life(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 0);
    struct hf_error err;
    size_t count = 0;
    static const char *const names[] = {"$backupCursor", "getMore", "killCursors"};

    assert_int_equal(strlen(hf_mongo_backup_lsid(backup)), 32);
    assert_int_equal(script_count(server, "$backupCursor"), 0);
    open_well(backup);
    const struct hf_mongo_backup_file *files = hf_mongo_backup_files(backup, &count);
    assert_true(count > 29);
    assert_string_equal(files[0].path, "WiredTiger");
    assert_string_equal(hf_mongo_backup_metadata(backup)->dbpath, "/data/db");
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_OK);

    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        HF_REPLY bson_t *sent = script_nth(server, names[i], 0);
        uint8_t lsid[16];
        char hex[33];
        bson_iter_t iter;

        assert_non_null(sent);
        assert_true(hf_mongo_get_uuid(sent, "lsid.id", lsid));
        hf_hex_encode(hf_bytes_of(lsid, 16), hex);
        assert_string_equal(hex, hf_mongo_backup_lsid(backup));
        assert_false(bson_iter_init_find(&iter, sent, "maxTimeMS"));
        assert_false(bson_iter_init_find(&iter, sent, "readConcern"));
    }
    HF_REPLY bson_t *open = script_nth(server, "$backupCursor", 0);
    bson_t stage;
    assert_true(hf_mongo_get_doc(open, "pipeline.0.$backupCursor", &stage));
    assert_int_equal(bson_count_keys(&stage), 0);
    assert_int_equal(script_count(server, "getMore"), 4);
    assert_int_equal(script_count(server, "killCursors"), 1);
}

/* The driver gives a hidden member no session; backups are best taken there. */
static void test_a_hidden_member_gets_a_session_too(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-hidden", play, &script);
    BACKUP *backup = prepare(server, 600000);
    struct hf_error err;
    static const char *const names[] = {"$backupCursor", "getMore", "killCursors"};

    open_well(backup);
    assert_int_equal(hf_mongo_backup_ping(backup, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_OK);
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        HF_REPLY bson_t *sent = script_nth(server, names[i], 0);
        uint8_t lsid[16];
        char hex[33];

        assert_non_null(sent);
        assert_true(hf_mongo_get_uuid(sent, "lsid.id", lsid));
        hf_hex_encode(hf_bytes_of(lsid, 16), hex);
        assert_string_equal(hex, hf_mongo_backup_lsid(backup));
    }
}

static void test_a_member_without_sessions_is_refused(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-hidden", play, &script);
    struct hf_mongo_options client = {.host = server->host};
    struct hf_mongo_backup_options options = {.client = &client};
    BACKUP *backup = NULL;
    struct hf_error err;
    bson_t *old = bson_new();

    bson_copy_to_excluding_noinit(server->hello, old, "logicalSessionTimeoutMinutes", NULL);
    bson_destroy(server->hello);
    server->hello = old;
    assert_int_equal(hf_mongo_backup_prepare(&options, &backup, &err), HF_ERR_UNSUPPORTED);
    expect_words(&err, "start session: the server has no sessions");
}

static void test_a_checkpoint_in_the_way_is_tried_again(void **state)
{
    (void)state;
    struct script script = {.conflicts = 1};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 0);

    open_well(backup);
    assert_int_equal(script_count(server, "$backupCursor"), 2);
}

static void test_checkpoints_without_end_are_given_up_after_the_tries(void **state)
{
    (void)state;
    struct script script = {.conflicts = 100};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    struct hf_mongo_options client = {.host = server->host};
    struct hf_mongo_backup_options options = {.client = &client, .tries = 2};
    BACKUP *backup = NULL;
    struct hf_error err;

    assert_int_equal(hf_mongo_backup_prepare(&options, &backup, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_backup_open(backup, NULL, &err), HF_ERR_UNAVAILABLE);
    expect_words(&err, "open the backup cursor: tried 2 times: 127.0.0.1:");
    expect_words(&err, "A checkpoint took place");
    assert_int_equal(script_count(server, "killCursors"), 0);
}

static void test_anothers_cursor_is_waited_for_and_then_named(void **state)
{
    (void)state;
    struct script script = {.busy = 1000, .opened = 1, .lsid = {0xab, 0xcd}};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 0);
    struct hf_error err;

    assert_int_equal(hf_mongo_backup_open(backup, NULL, &err), HF_ERR_BUSY);
    expect_words(&err, "The existing backup cursor must be closed");
    expect_words(&err, "it is another's backup cursor, not ours (session abcd0000");
    assert_int_equal(script_count(server, "killCursors"), 0);
}

static void test_a_wait_can_be_cancelled(void **state)
{
    (void)state;
    struct script script = {.conflicts = 100};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 0);
    struct hf_cancel cancel;
    struct hf_error err;

    hf_cancel_init(&cancel);
    hf_cancel_request(&cancel);
    assert_int_equal(hf_mongo_backup_open(backup, &cancel, &err), HF_ERR_CANCELLED);
    assert_int_equal(script_count(server, "$backupCursor"), 0);
}

static void test_a_standalone_is_refused_and_its_cursor_closed(void **state)
{
    (void)state;
    struct script script = {.standalone = true};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 0);
    struct hf_error err;

    assert_int_equal(hf_mongo_backup_open(backup, NULL, &err), HF_ERR_UNSUPPORTED);
    expect_words(&err, "open the backup cursor: backup cursor: metadata without checkpoint");
    HF_REPLY bson_t *kill = script_nth(server, "killCursors", 0);
    assert_true(hf_mongo_get_int(kill, "cursors.0", 0) == CURSOR_ID);
}

static void test_an_injected_fault_while_reading_closes_the_cursor(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 0);
    struct hf_error err;

    hf_fault_arm("mongo.backup.read", HF_ERR_IO);
    assert_int_equal(hf_mongo_backup_open(backup, NULL, &err), HF_ERR_IO);
    hf_fault_disarm_all();
    assert_int_equal(script_count(server, "killCursors"), 1);
}

static void test_a_close_that_failed_is_not_taken_for_done(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 0);
    struct hf_error err;

    open_well(backup);
    hf_fault_arm_nth("mongo.backup.close", HF_ERR_IO, 1, 2);
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_IO);
    expect_words(&err, "close the backup cursor: injected fault");
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_IO);
    assert_int_equal(script_count(server, "killCursors"), 0);
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_OK);
    hf_fault_disarm_all();
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_OK);
    assert_int_equal(script_count(server, "killCursors"), 1);
}

static void test_destroy_closes_what_is_open(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);

    {
        BACKUP *backup = prepare(server, 0);
        open_well(backup);
    }
    assert_int_equal(script_count(server, "killCursors"), 1);
}

static void test_the_keeper_asks_while_the_caller_copies(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 2000);
    struct hf_error err;
    uint64_t deadline = hf_clock_mono_ms() + 10000;

    open_well(backup);
    size_t after_open = script_count(server, "getMore");
    while (script_count(server, "getMore") < after_open + 3 && hf_clock_mono_ms() < deadline) {
        hf_cancel_sleep(NULL, 20);
        assert_int_equal(hf_mongo_backup_alive(backup, &err), HF_ERR_OK);
    }
    assert_true(script_count(server, "getMore") >= after_open + 3);
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_OK);
}

static void test_a_ping_asks_at_once(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 600000);
    struct hf_error err;

    open_well(backup);
    size_t before = script_count(server, "getMore");
    assert_int_equal(hf_mongo_backup_ping(backup, &err), HF_ERR_OK);
    assert_int_equal(script_count(server, "getMore"), before + 1);
}

static void test_a_lost_cursor_is_noticed_and_stays_lost(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 600000);
    struct hf_mongo_backup_names names;
    struct hf_error err;

    open_well(backup);
    atomic_store(&script.lost, true);
    assert_int_equal(hf_mongo_backup_ping(backup, &err), HF_ERR_LOST);
    expect_words(&err, "backup cursor lost: 127.0.0.1:");
    expect_words(&err, "(code 43 CursorNotFound)");
    assert_int_equal(hf_mongo_backup_alive(backup, &err), HF_ERR_LOST);
    assert_int_equal(hf_mongo_backup_ping(backup, &err), HF_ERR_LOST);
    assert_int_equal(hf_mongo_backup_extend(backup, (struct hf_mongo_ts){1, 1}, &names, &err),
                     HF_ERR_LOST);
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_LOST);
    expect_words(&err, "gone before it was closed");
}

static void test_silence_longer_than_the_time_out_is_a_loss(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 500);
    struct hf_error err = {.code = HF_ERR_OK};
    uint64_t deadline = hf_clock_mono_ms() + 30000;

    open_well(backup);
    atomic_store(&script.breaks, true);
    while (hf_mongo_backup_alive(backup, &err) == HF_ERR_OK && hf_clock_mono_ms() < deadline) {
        hf_cancel_sleep(NULL, 20);
    }
    assert_int_equal(err.code, HF_ERR_LOST);
    expect_words(&err, "longer than it lives idle");
    /* The server may still have it: it is closed all the same. */
    atomic_store(&script.breaks, false);
    assert_int_equal(hf_mongo_backup_close(backup, &err), HF_ERR_OK);
}

static void test_a_connection_that_breaks_while_opening_leaves_no_cursor(void **state)
{
    (void)state;
    struct script script = {.break_on_open = true};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 0);
    struct hf_error err;

    assert_int_equal(hf_mongo_backup_open(backup, NULL, &err), HF_ERR_UNAVAILABLE);
    assert_int_equal(script_count(server, "$backupCursor"), 1);
    HF_REPLY bson_t *kill = script_nth(server, "killCursors", 0);
    assert_non_null(kill);
    assert_true(hf_mongo_get_int(kill, "cursors.0", 0) == CURSOR_ID);
}

static void test_extend_asks_only_for_what_is_majority_committed(void **state)
{
    (void)state;
    struct script script = {.conflicts = 0};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    BACKUP *backup = prepare(server, 600000);
    HF_CLEANUP(hf_mongo_backup_names_fini) struct hf_mongo_backup_names names = {.count = 0};
    struct hf_error err;

    open_well(backup);
    assert_int_equal(
        hf_mongo_backup_extend(backup, (struct hf_mongo_ts){1895449951, 1}, &names, &err),
        HF_ERR_CONFLICT);
    expect_words(&err, "(1895449951, 1) is not majority committed yet");
    assert_int_equal(script_count(server, "$backupCursorExtend"), 0);
    assert_int_equal(
        hf_mongo_backup_extend(backup, (struct hf_mongo_ts){1795449951, 1}, &names, &err),
        HF_ERR_OK);
    assert_int_equal(names.count, 2);
    assert_string_equal(names.paths[1], "journal/WiredTigerLog.0000000001");
    HF_REPLY bson_t *sent = script_nth(server, "$backupCursorExtend", 0);
    struct hf_mongo_ts ts = hf_mongo_get_ts(sent, "pipeline.0.$backupCursorExtend.timestamp");
    uint8_t id[16];
    bson_iter_t iter;
    assert_int_equal(ts.seconds, 1795449951);
    assert_true(hf_mongo_get_uuid(sent, "pipeline.0.$backupCursorExtend.backupId", id));
    assert_memory_equal(id, hf_mongo_backup_metadata(backup)->backup_id, 16);
    assert_false(bson_iter_init_find(&iter, sent, "maxTimeMS"));
    /* The keeper went on. */
    assert_int_equal(hf_mongo_backup_ping(backup, &err), HF_ERR_OK);
}

static void test_a_left_over_cursor_is_closed_only_by_its_own_session(void **state)
{
    (void)state;
    struct script script = {.opened = 1, .lsid = {0xab, 0xcd}};
    SCRIPTED *server = script_start("hello-primary", play, &script);
    struct hf_mongo_options options = {.host = server->host};
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_error err;
    bool found = true;

    assert_int_equal(hf_mongo_client_open(&options, &client, &err), HF_ERR_OK);
    assert_int_equal(
        hf_mongo_backup_close_leftover(client, "11111111111111111111111111111111", &found, &err),
        HF_ERR_OK);
    assert_false(found);
    assert_int_equal(script_count(server, "killCursors"), 0);
    assert_int_equal(
        hf_mongo_backup_close_leftover(client, "abcd0000000000000000000000000000", &found, &err),
        HF_ERR_OK);
    assert_true(found);
    assert_int_equal(script_count(server, "killCursors"), 1);
    assert_int_equal(hf_mongo_backup_close_leftover(client, "abcd", &found, &err), HF_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_session_is_known_before_the_cursor_and_serves_all_its_life),
        cmocka_unit_test(test_a_hidden_member_gets_a_session_too),
        cmocka_unit_test(test_a_member_without_sessions_is_refused),
        cmocka_unit_test(test_a_checkpoint_in_the_way_is_tried_again),
        cmocka_unit_test(test_checkpoints_without_end_are_given_up_after_the_tries),
        cmocka_unit_test(test_anothers_cursor_is_waited_for_and_then_named),
        cmocka_unit_test(test_a_wait_can_be_cancelled),
        cmocka_unit_test(test_a_standalone_is_refused_and_its_cursor_closed),
        cmocka_unit_test(test_an_injected_fault_while_reading_closes_the_cursor),
        cmocka_unit_test(test_a_close_that_failed_is_not_taken_for_done),
        cmocka_unit_test(test_destroy_closes_what_is_open),
        cmocka_unit_test(test_the_keeper_asks_while_the_caller_copies),
        cmocka_unit_test(test_a_ping_asks_at_once),
        cmocka_unit_test(test_a_lost_cursor_is_noticed_and_stays_lost),
        cmocka_unit_test(test_silence_longer_than_the_time_out_is_a_loss),
        cmocka_unit_test(test_a_connection_that_breaks_while_opening_leaves_no_cursor),
        cmocka_unit_test(test_extend_asks_only_for_what_is_majority_committed),
        cmocka_unit_test(test_a_left_over_cursor_is_closed_only_by_its_own_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
