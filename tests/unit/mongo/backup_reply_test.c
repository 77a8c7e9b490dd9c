/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backup cursor's recorded replies mean, and what no server shall make us believe.
 */
#include "unit/mongo/recorded.h"

#include <string.h>

#include "mongo/backup_internal.h"

static void add_recorded(struct hf_mongo_listing *listing, const char *name, size_t expected)
{
    HF_REPLY bson_t *reply = recorded(name);
    struct hf_error err;
    size_t added = 0;

    if (hf_mongo_listing_add_reply(listing, reply, &added, &err) != HF_ERR_OK) {
        fail_msg("%s: %s", name, err.message);
    }
    assert_int_equal(added, expected);
}

static void test_metadata_and_files_of_one_batch(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 1000};
    HF_REPLY bson_t *reply = recorded("backupCursor-open-primary");
    struct hf_error err;
    size_t added = 0;

    assert_int_equal(hf_mongo_listing_add_reply(&listing, reply, &added, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_finish(&listing, &err), HF_ERR_OK);

    assert_int_equal(listing.count, added - 1);
    assert_string_equal(listing.metadata.dbpath, "/data/db");
    assert_int_equal(listing.metadata.backup_id[0], 0x91);
    assert_int_equal(listing.metadata.backup_id[15], 0x2f);
    assert_int_equal(listing.metadata.oplog_start.ts.seconds, 1795449928);
    assert_int_equal(listing.metadata.oplog_start.term, -1);
    assert_int_equal(listing.metadata.oplog_end.ts.increment, 104);
    assert_int_equal(listing.metadata.oplog_end.term, 1);
    assert_int_equal(listing.metadata.checkpoint.seconds, 1795449951);
    assert_int_equal(listing.metadata.checkpoint.increment, 367);
    assert_false(listing.metadata.has_incremental);
    assert_string_equal(listing.files[0].path, "WiredTiger");
    assert_int_equal(listing.files[0].size_bytes, 47);
    assert_false(listing.files[0].has_range);
}

static void test_a_list_in_batches_of_ten_ends_at_the_first_empty_one(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 1000};
    HF_REPLY bson_t *last = recorded("backupCursor-batchSize-10-getMore-4");
    struct hf_error err;
    size_t added = 1;
    size_t in_last = 0;

    add_recorded(&listing, "backupCursor-open-batchSize-10", 10);
    add_recorded(&listing, "backupCursor-batchSize-10-getMore-1", 10);
    add_recorded(&listing, "backupCursor-batchSize-10-getMore-2", 10);
    HF_REPLY bson_t *third = recorded("backupCursor-batchSize-10-getMore-3");
    assert_int_equal(hf_mongo_listing_add_reply(&listing, third, &in_last, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_add_reply(&listing, last, &added, &err), HF_ERR_OK);

    assert_true(in_last > 0 && in_last <= 10);
    assert_int_equal(added, 0);
    assert_int_equal(hf_mongo_listing_finish(&listing, &err), HF_ERR_OK);
    assert_int_equal(listing.count, 29 + in_last);
    for (size_t i = 1; i < listing.count; i++) {
        assert_true(strcmp(listing.files[i - 1].path, listing.files[i].path) < 0);
    }
}

static void test_an_empty_first_batch_is_not_yet_the_end(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 1000};
    struct hf_error err;

    add_recorded(&listing, "backupCursor-open-batchSize-0", 0);
    assert_int_equal(hf_mongo_listing_finish(&listing, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "the backup cursor ended without metadata");
}

static void test_a_keep_alive_brings_nothing(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 1000};

    add_recorded(&listing, "backupCursor-getMore-keepalive", 0);
}

static void test_a_standalones_metadata_is_refused(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 1000};
    HF_REPLY bson_t *reply = recorded("backupCursor-open-standalone");
    struct hf_error err;
    size_t added = 0;

    assert_int_equal(hf_mongo_listing_add_reply(&listing, reply, &added, &err), HF_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "metadata without checkpointTimestamp"));
}

static void test_incremental_fields_are_read_where_a_server_has_them(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 1000};
    HF_REPLY bson_t *metadata = bson_of(
        "{\"metadata\": {\"backupId\": {\"$binary\": {\"base64\": \"kZpmkP2gQBiFHaLquFGDLw==\", "
        "\"subType\": \"04\"}}, \"dbpath\": \"/d/\", \"oplogStart\": {\"ts\": {\"$timestamp\": "
        "{\"t\": 1, \"i\": 1}}, \"t\": 1}, \"oplogEnd\": {\"ts\": {\"$timestamp\": {\"t\": 2, "
        "\"i\": 1}}, \"t\": 1}, \"checkpointTimestamp\": {\"$timestamp\": {\"t\": 2, \"i\": 1}}, "
        "\"incrementalBackup\": true, \"disableIncrementalBackup\": false, \"blockSize\": 16, "
        "\"thisBackupName\": \"b\", \"srcBackupName\": \"a\"}}");
    HF_REPLY bson_t *range = bson_of(
        "{\"filename\": \"/d/x.wt\", \"fileSize\": 100, \"offset\": {\"$numberLong\": \"16\"}, "
        "\"length\": {\"$numberLong\": \"32\"}}");
    struct hf_error err;

    assert_int_equal(hf_mongo_listing_add(&listing, metadata, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_add(&listing, range, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_add(&listing, range, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_finish(&listing, &err), HF_ERR_OK);
    assert_true(listing.metadata.has_incremental);
    assert_true(listing.metadata.incremental);
    assert_int_equal(listing.metadata.block_size_mb, 16);
    assert_string_equal(listing.metadata.this_backup_name, "b");
    assert_string_equal(listing.metadata.src_backup_name, "a");
    assert_true(listing.files[0].has_range);
    assert_int_equal(listing.files[0].offset, 16);
    assert_int_equal(listing.files[0].length, 32);
}

static void test_only_files_below_dbpath_become_paths(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"/data/db", "/data/db2/x"},   {"/data/db", "/data/db"},
        {"/data/db", "/etc/passwd"},   {"/data/db", "/data/db/../x"},
        {"/data/db", "/data/db/a//b"}, {"/data/db", "x"},
        {"/data/db", "/data/db/./x"},  {"/data/db", ""},
        {"/data/db/", "/data/dbx"},
    };
    struct hf_error err;

    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        char *path = NULL;
        if (hf_mongo_relative_path(bad[i][0], bad[i][1], &path, &err) != HF_ERR_CORRUPT) {
            fail_msg("%s below %s: %s", bad[i][1], bad[i][0], path);
        }
        assert_null(path);
    }
    HF_CLEANUP(hf_free) char *journal = NULL;
    HF_CLEANUP(hf_free) char *slash = NULL;
    HF_CLEANUP(hf_free) char *root = NULL;
    assert_int_equal(hf_mongo_relative_path("/data/db", "/data/db/journal/WiredTigerLog.0000000001",
                                            &journal, &err),
                     HF_ERR_OK);
    assert_string_equal(journal, "journal/WiredTigerLog.0000000001");
    assert_int_equal(hf_mongo_relative_path("/data/db/", "/data/db/a.wt", &slash, &err), HF_ERR_OK);
    assert_string_equal(slash, "a.wt");
    assert_int_equal(hf_mongo_relative_path("/", "/a.wt", &root, &err), HF_ERR_OK);
    assert_string_equal(root, "a.wt");
}

static const char small_metadata[] =
    "{\"metadata\": {\"backupId\": {\"$binary\": {\"base64\": \"kZpmkP2gQBiFHaLquFGDLw==\", "
    "\"subType\": \"04\"}}, \"dbpath\": \"/d\", \"oplogStart\": {\"ts\": {\"$timestamp\": "
    "{\"t\": 1, \"i\": 1}}}, \"oplogEnd\": {\"ts\": {\"$timestamp\": {\"t\": 2, \"i\": 1}}}, "
    "\"checkpointTimestamp\": {\"$timestamp\": {\"t\": 2, \"i\": 1}}}}";

static void expect_bad_document(const char *json, enum hf_err code, const char *words)
{
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 2};
    HF_REPLY bson_t *metadata = bson_of(small_metadata);
    HF_REPLY bson_t *document = bson_of(json);
    struct hf_error err;

    assert_int_equal(hf_mongo_listing_add(&listing, metadata, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_add(&listing, document, &err), code);
    if (strstr(err.message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err.message);
    }
}

static void test_odd_documents_are_refused(void **state)
{
    (void)state;
    expect_bad_document(small_metadata, HF_ERR_CORRUPT, "metadata twice");
    expect_bad_document("{}", HF_ERR_CORRUPT, "neither metadata nor a file");
    expect_bad_document("{\"filename\": 1}", HF_ERR_CORRUPT, "neither metadata nor a file");
    expect_bad_document("{\"filename\": \"/d/x\"}", HF_ERR_CORRUPT, "file /d/x: no fileSize");
    expect_bad_document("{\"filename\": \"/d/x\", \"fileSize\": -1}", HF_ERR_CORRUPT,
                        "no fileSize");
    expect_bad_document("{\"filename\": \"/d/x\", \"fileSize\": 1, \"length\": -1}", HF_ERR_CORRUPT,
                        "no usable offset and length");
    expect_bad_document("{\"filename\": \"/e/x\", \"fileSize\": 1}", HF_ERR_CORRUPT,
                        "backup cursor: file /e/x is not below dbpath /d");
}

static void test_files_before_metadata_twice_or_too_many_are_refused(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing early = {.limit = 10};
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 2};
    HF_REPLY bson_t *metadata = bson_of(small_metadata);
    HF_REPLY bson_t *file = bson_of("{\"filename\": \"/d/x\", \"fileSize\": 1}");
    struct hf_error err;

    assert_int_equal(hf_mongo_listing_add(&early, file, &err), HF_ERR_CORRUPT);
    assert_int_equal(hf_mongo_listing_add(&listing, metadata, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_finish(&listing, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "the backup cursor listed no file");
    assert_int_equal(hf_mongo_listing_add(&listing, file, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_add(&listing, file, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_listing_finish(&listing, &err), HF_ERR_CORRUPT);
    assert_string_equal(err.message, "the backup cursor lists x twice");
}

static void test_the_limit_of_files_holds(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 64};
    HF_REPLY bson_t *metadata = bson_of(small_metadata);
    HF_REPLY bson_t *file = bson_of("{\"filename\": \"/d/x\", \"fileSize\": 1}");
    struct hf_error err;

    assert_int_equal(hf_mongo_listing_add(&listing, metadata, &err), HF_ERR_OK);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(hf_mongo_listing_add(&listing, file, &err), HF_ERR_OK);
    }
    assert_int_equal(hf_mongo_listing_add(&listing, file, &err), HF_ERR_LIMIT);
    assert_non_null(strstr(err.message, "more than 64 files"));
}

static void test_extend_names_the_journal(void **state)
{
    (void)state;
    HF_CLEANUP(hf_mongo_backup_names_fini) struct hf_mongo_backup_names names = {.paths = NULL};
    HF_REPLY bson_t *reply = recorded("backupCursorExtend");
    bson_t first;
    struct hf_error err;

    assert_true(hf_mongo_get_doc(reply, "cursor.firstBatch.0", &first));
    assert_int_equal(hf_mongo_names_add(&names, "/data/db", &first, &err), HF_ERR_OK);
    assert_int_equal(names.count, 1);
    assert_string_equal(names.paths[0], "journal/WiredTigerLog.0000000002");
    assert_int_equal(hf_mongo_names_add(&names, "/other", &first, &err), HF_ERR_CORRUPT);
    assert_int_equal(names.count, 1);
}

static void test_a_close_counts_only_when_the_id_comes_back_as_killed(void **state)
{
    (void)state;
    HF_REPLY bson_t *killed = recorded("killCursors-backupCursor");
    HF_REPLY bson_t *again = recorded("killCursors-backupCursor-second-time");
    HF_REPLY bson_t *alive = bson_of("{\"cursorsKilled\": [], \"cursorsAlive\": [5], \"ok\": 1}");
    const int64_t id = 3027546893494865699;
    struct hf_error err;

    assert_int_equal(hf_mongo_parse_killed(killed, id, &err), HF_ERR_OK);
    assert_int_equal(hf_mongo_parse_killed(killed, id + 1, &err), HF_ERR_INTERNAL);
    assert_int_equal(hf_mongo_parse_killed(again, id, &err), HF_ERR_LOST);
    assert_string_equal(err.message, "the backup cursor was gone before it was closed");
    assert_int_equal(hf_mongo_parse_killed(alive, 5, &err), HF_ERR_INTERNAL);
}

static void test_an_idle_backup_cursor_is_recognised_and_described(void **state)
{
    (void)state;
    HF_REPLY bson_t *reply = recorded("currentOp-idle-backupCursor");
    struct hf_mongo_cursor_seen seen;
    bson_t document;
    char text[512];

    assert_true(hf_mongo_get_doc(reply, "cursor.firstBatch.0", &document));
    assert_true(hf_mongo_parse_current_op(&document, &seen));
    assert_false(seen.running);
    assert_true(seen.has_lsid);
    assert_true(seen.cursor_id == 3027546893494865699);
    hf_mongo_describe_cursor(&seen, text, sizeof text);
    assert_non_null(strstr(text, "session 4f74"));
    assert_non_null(strstr(text, ", open since 2026-11-"));
    assert_non_null(strstr(text, ", last used 2026-11-"));
}

static void test_other_operations_are_not_taken_for_a_backup_cursor(void **state)
{
    (void)state;
    static const char *const others[] = {
        "{}",
        "{\"type\": \"idleSession\"}",
        "{\"type\": \"idleCursor\", \"cursor\": {\"cursorId\": {\"$numberLong\": \"9\"}, "
        "\"originatingCommand\": {\"find\": \"x\"}}}",
        "{\"type\": \"idleCursor\", \"cursor\": {\"cursorId\": {\"$numberLong\": \"9\"}, "
        "\"originatingCommand\": {\"aggregate\": 1, \"pipeline\": [{\"$currentOp\": {}}]}}}",
        "{\"type\": \"idleCursor\", \"cursor\": {\"originatingCommand\": {\"pipeline\": "
        "[{\"$backupCursor\": {}}]}}}",
    };
    struct hf_mongo_cursor_seen seen;

    for (size_t i = 0; i < HF_ARRAY_LEN(others); i++) {
        HF_REPLY bson_t *document = bson_of(others[i]);
        assert_false(hf_mongo_parse_current_op(document, &seen));
    }
    HF_REPLY bson_t *opening =
        bson_of("{\"type\": \"op\", \"command\": {\"aggregate\": 1, \"pipeline\": "
                "[{\"$backupCursor\": {}}]}, \"effectiveUsers\": [{\"user\": \"pbm\"}]}");
    assert_true(hf_mongo_parse_current_op(opening, &seen));
    assert_true(seen.running);
    assert_string_equal(seen.user, "pbm");
}

static void test_the_keep_alive_is_well_inside_the_time_out(void **state)
{
    (void)state;
    assert_int_equal(hf_mongo_keep_alive_ms(600000), 30000);
    assert_int_equal(hf_mongo_keep_alive_ms(60000), 6000);
    assert_int_equal(hf_mongo_keep_alive_ms(2000), 200);
    assert_int_equal(hf_mongo_keep_alive_ms(100), 200);
    assert_int_equal(hf_mongo_keep_alive_ms(0), 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata_and_files_of_one_batch),
        cmocka_unit_test(test_a_list_in_batches_of_ten_ends_at_the_first_empty_one),
        cmocka_unit_test(test_an_empty_first_batch_is_not_yet_the_end),
        cmocka_unit_test(test_a_keep_alive_brings_nothing),
        cmocka_unit_test(test_a_standalones_metadata_is_refused),
        cmocka_unit_test(test_incremental_fields_are_read_where_a_server_has_them),
        cmocka_unit_test(test_only_files_below_dbpath_become_paths),
        cmocka_unit_test(test_odd_documents_are_refused),
        cmocka_unit_test(test_files_before_metadata_twice_or_too_many_are_refused),
        cmocka_unit_test(test_the_limit_of_files_holds),
        cmocka_unit_test(test_extend_names_the_journal),
        cmocka_unit_test(test_a_close_counts_only_when_the_id_comes_back_as_killed),
        cmocka_unit_test(test_an_idle_backup_cursor_is_recognised_and_described),
        cmocka_unit_test(test_other_operations_are_not_taken_for_a_backup_cursor),
        cmocka_unit_test(test_the_keep_alive_is_well_inside_the_time_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
