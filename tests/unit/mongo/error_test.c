/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every refusal that was recorded from a real server has the class, and the words, that tell what to do.
 */
#include "unit/mongo/recorded.h"

#include <string.h>

struct refusal {
    const char *name;
    enum hf_err class;
    const char *words[3]; /* all of them are in the message */
};

static const struct refusal refusals[] = {
    {"err-appendOplogNote-secondary", HF_ERR_UNAVAILABLE, {"h:1: appendOplogNote: ", NULL}},
    {"err-authentication-failed-18",
     HF_ERR_UNAUTHENTICATED,
     {"Authentication failed.", "(code 18 AuthenticationFailed)", "hint: check user"}},
    {"err-backupCursor-arbiter-13436",
     HF_ERR_UNSUPPORTED,
     {"h:1: $backupCursor: ", "(code 13436 NotPrimaryOrSecondary)", "hint: an arbiter"}},
    {"err-backupCursor-getMore-maxTimeMS", HF_ERR_INVALID, {"h:1: getMore: cannot set maxTimeMS"}},
    {"err-backupCursor-getMore-wrong-session-50738", HF_ERR_LOST, {"(code 50738"}},
    {"err-backupCursor-mongos-40324",
     HF_ERR_UNSUPPORTED,
     {"Unrecognized pipeline stage name: '$backupCursor' (code 40324 Location40324)",
      "hint: a mongos, or a server without this stage"}},
    {"err-backupCursor-name-without-incremental-72", HF_ERR_INVALID, {"(code 72"}},
    {"err-backupCursor-not-initiated-13436",
     HF_ERR_UNSUPPORTED,
     {"not in primary or recovering state", "a member that is not initiated"}},
    {"err-backupCursor-on-collection-73", HF_ERR_INVALID, {"(code 73 InvalidNamespace)"}},
    {"err-backupCursor-second-50886",
     HF_ERR_BUSY,
     {"existing backup cursor must be closed", "hint: it is another's backup cursor, not ours"}},
    {"err-backupCursor-string-9", HF_ERR_INVALID, {"(code 9 FailedToParse)"}},
    {"err-backupCursor-unknown-option-9", HF_ERR_INVALID, {"(code 9 FailedToParse)"}},
    {"err-backupCursor-while-fsyncLocked-50887",
     HF_ERR_BUSY,
     {"currently fsyncLocked", "hint: fsyncLock and a backup cursor exclude each other"}},
    {"err-backupCursorExtend-int-timestamp-14", HF_ERR_INVALID, {"$backupCursorExtend: "}},
    {"err-backupCursorExtend-missing-timestamp-72", HF_ERR_INVALID, {"(code 72"}},
    {"err-backupCursorExtend-mongos", HF_ERR_UNSUPPORTED, {"(code 40324", "hint: a mongos"}},
    {"err-backupCursorExtend-not-open-50886", HF_ERR_LOST, {"backup cursor is not open"}},
    {"err-backupCursorExtend-string-id-14", HF_ERR_INVALID, {"must be a UUID value"}},
    {"err-backupCursorExtend-unknown-field-9", HF_ERR_INVALID, {"(code 9"}},
    {"err-backupCursorExtend-wrong-id-29094", HF_ERR_LOST, {"does not match active backup"}},
    {"err-fsyncLock-while-backupCursor-50884", HF_ERR_BUSY, {"(code 50884"}},
    {"err-fsyncUnlock-not-locked", HF_ERR_INTERNAL, {"fsyncUnlock called when not locked"}},
    {"err-getMore-after-idle-timeout-43", HF_ERR_LOST, {"(code 43 CursorNotFound)"}},
    {"err-getMore-cursor-not-found-43", HF_ERR_LOST, {"(code 43 CursorNotFound)"}},
    {"err-getParameter-unknown", HF_ERR_UNSUPPORTED, {"no option found to get"}},
    {"err-insert-secondary", HF_ERR_UNAVAILABLE, {"insert: not master (code 10107"}},
    {"err-moveChunk-conflict", HF_ERR_INTERNAL, {"h:1: "}},
    {"err-replSetGetStatus-mongos", HF_ERR_UNSUPPORTED, {"not supported through mongos"}},
    {"err-replSetGetStatus-not-initiated", HF_ERR_UNSUPPORTED, {"(code 94 NotYetInitialized)"}},
    {"err-replSetGetStatus-standalone", HF_ERR_UNSUPPORTED, {"not running with --replSet"}},
    {"err-unauthenticated-13",
     HF_ERR_UNAUTHENTICATED,
     {"replSetGetStatus requires authentication", "hint: check user"}},
    {"err-unauthenticated-backupCursor-13", HF_ERR_UNAUTHENTICATED, {"requires authentication"}},
    {"err-unauthorized-appendOplogNote-reader-13",
     HF_ERR_DENIED,
     {"hint: appendOplogNote needs the role backup"}},
    {"err-unauthorized-backupCursor-appreader-13",
     HF_ERR_DENIED,
     {"hint: $backupCursor needs the role backup"}},
    {"err-unauthorized-backupCursor-host-13", HF_ERR_DENIED, {"needs the role backup"}},
    {"err-unauthorized-backupCursor-minimal-13", HF_ERR_DENIED, {"needs the role backup"}},
    {"err-unauthorized-backupCursor-monitor-13", HF_ERR_DENIED, {"needs the role backup"}},
    {"err-unauthorized-dbHash-capture-13", HF_ERR_DENIED, {"dbHash needs the role"}},
    {"err-unauthorized-fcv-reader-13",
     HF_ERR_DENIED,
     {"hint: getParameter needs the role clusterMonitor"}},
    {"err-unauthorized-find-oplog-reader-13", HF_ERR_DENIED, {"hint: find needs the role backup"}},
    {"err-unauthorized-getCmdLineOpts-reader-13",
     HF_ERR_DENIED,
     {"getCmdLineOpts needs the role clusterMonitor"}},
    {"err-unauthorized-killCursors-foreign-backup", HF_ERR_DENIED, {"action killAnyCursor"}},
    {"err-unauthorized-killCursors-foreign-finder", HF_ERR_DENIED, {"action killAnyCursor"}},
    {"err-unauthorized-killCursors-foreign-reader", HF_ERR_DENIED, {"action killAnyCursor"}},
    {"err-unauthorized-replSetGetConfig-reader-13",
     HF_ERR_DENIED,
     {"replSetGetConfig needs the role clusterMonitor"}},
    {"err-unauthorized-serverStatus-reader-13",
     HF_ERR_DENIED,
     {"serverStatus needs the role clusterMonitor"}},
    {"err-unknown-command-59", HF_ERR_UNSUPPORTED, {"no such command"}},
};

static void test_each_recorded_refusal_has_its_class_and_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(refusals); i++) {
        HF_REPLY bson_t *reply = recorded(refusals[i].name);
        HF_REPLY bson_t *request = recorded_part(refusals[i].name, "request");
        struct hf_error err;

        enum hf_err class =
            hf_mongo_reply_check("h:1", hf_mongo_command_name(request), reply, &err);

        if (class != refusals[i].class) {
            fail_msg("%s: %s: %s", refusals[i].name, hf_err_name(class), err.message);
        }
        for (size_t j = 0; j < 3 && refusals[i].words[j] != NULL; j++) {
            if (strstr(err.message, refusals[i].words[j]) == NULL) {
                fail_msg("%s: no '%s' in: %s", refusals[i].name, refusals[i].words[j], err.message);
            }
        }
    }
}

/* A new recording must not be forgotten above. */
static void test_no_recorded_refusal_is_left_out(void **state)
{
    (void)state;
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/recorded", getenv("HF_TEST_FIXTURES"));
    struct hf_dir_list list;
    struct hf_error err;
    size_t seen = 0;

    assert_int_equal(hf_fs_list(path, 10000, &list, &err), HF_ERR_OK);
    for (size_t i = 0; i < list.count; i++) {
        seen += strncmp(list.names[i], "err-", 4) == 0;
    }
    assert_int_equal(seen, HF_ARRAY_LEN(refusals));
    hf_dir_list_fini(&list);
}

static void test_a_refused_command_is_not_repeated_with_its_session(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = recorded("err-unauthorized-serverStatus-reader-13");
    struct hf_error err;

    assert_int_equal(hf_mongo_reply_check("h:1", "serverStatus", reply, &err), HF_ERR_DENIED);
    assert_null(strstr(err.message, "lsid"));
    assert_non_null(strstr(err.message, "not authorized on admin to execute command (code 13"));
}

static void test_every_other_recorded_answer_is_no_refusal(void **state)
{
    (void)state;
    static const char *const good[] = {"hello-primary",
                                       "isMaster-arbiter",
                                       "buildInfo",
                                       "killCursors-backupCursor-second-time",
                                       "backupCursor-open-primary",
                                       "appendOplogNote"};
    for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
        HF_REPLY bson_t *reply = recorded(good[i]);
        struct hf_error err;
        assert_int_equal(hf_mongo_reply_check("h:1", good[i], reply, &err), HF_ERR_OK);
        assert_int_equal(hf_mongo_reply_code(reply), 0);
    }
}

static void test_write_errors_inside_an_ok_reply_are_errors(void **state)
{
    (void)state;
    struct hf_error err;
    HF_REPLY bson_t *duplicate =
        bson_of("{\"ok\": 1, \"n\": 0, \"writeErrors\": [{\"index\": 0, \"code\": 11000, "
                "\"errmsg\": \"E11000 duplicate key\"}]}");
    HF_REPLY bson_t *late = bson_of("{\"ok\": 1, \"writeConcernError\": {\"code\": 64, "
                                    "\"codeName\": \"WriteConcernFailed\", \"errmsg\": \"waiting "
                                    "for replication timed out\"}}");

    assert_int_equal(hf_mongo_reply_check("h:1", "insert", duplicate, &err), HF_ERR_EXISTS);
    assert_string_equal(err.message, "h:1: insert: E11000 duplicate key (code 11000)");
    assert_int_equal(hf_mongo_reply_code(duplicate), 11000);
    assert_int_equal(hf_mongo_reply_check("h:1", "insert", late, &err), HF_ERR_TIMEOUT);
    assert_int_equal(hf_mongo_reply_code(late), 64);
}

static void test_a_conflict_with_a_checkpoint_may_be_tried_again(void **state)
{
    (void)state;
    assert_true(hf_err_retry(hf_mongo_error_class(50915, "A checkpoint took place")));
    assert_true(hf_err_retry(hf_mongo_error_class(50917, NULL)));
    assert_int_equal(hf_mongo_error_class(987654, "never seen"), HF_ERR_INTERNAL);
}

static void test_a_driver_error_without_a_reply_names_host_and_command(void **state)
{
    (void)state;
    struct hf_error err;
    bson_error_t error = {.domain = MONGOC_ERROR_STREAM, .message = "connection refused"};

    assert_int_equal(hf_mongo_fail_driver(&err, "h:1", "hello", &error), HF_ERR_UNAVAILABLE);
    assert_string_equal(err.message, "h:1: hello: connection refused");
    error = (bson_error_t){.domain = MONGOC_ERROR_CLIENT,
                           .code = MONGOC_ERROR_CLIENT_AUTHENTICATE,
                           .message = "Authentication failed."};
    assert_int_equal(hf_mongo_fail_driver(&err, "h:1", "hello", &error), HF_ERR_UNAUTHENTICATED);
    error =
        (bson_error_t){.domain = MONGOC_ERROR_CLIENT,
                       .code = MONGOC_ERROR_CLIENT_AUTHENTICATE,
                       .message = "Failed to send \"saslStart\" command with database \"admin\": "
                                  "Failed to read 4 bytes: socket error or timeout"};
    assert_int_equal(hf_mongo_fail_driver(&err, "h:1", "hello", &error), HF_ERR_UNAVAILABLE);
    error = (bson_error_t){.domain = MONGOC_ERROR_CLIENT,
                           .code = MONGOC_ERROR_STREAM_CONNECT,
                           .message = "socket timeout calling hello on 'h:1'"};
    assert_int_equal(hf_mongo_fail_driver(&err, "h:1", "getMore", &error), HF_ERR_UNAVAILABLE);
    error = (bson_error_t){.domain = MONGOC_ERROR_PROTOCOL,
                           .code = MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION,
                           .message = "too old"};
    assert_int_equal(hf_mongo_fail_driver(&err, "h:1", "hello", &error), HF_ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_recorded_refusal_has_its_class_and_words),
        cmocka_unit_test(test_no_recorded_refusal_is_left_out),
        cmocka_unit_test(test_a_refused_command_is_not_repeated_with_its_session),
        cmocka_unit_test(test_every_other_recorded_answer_is_no_refusal),
        cmocka_unit_test(test_write_errors_inside_an_ok_reply_are_errors),
        cmocka_unit_test(test_a_conflict_with_a_checkpoint_may_be_tried_again),
        cmocka_unit_test(test_a_driver_error_without_a_reply_names_host_and_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
