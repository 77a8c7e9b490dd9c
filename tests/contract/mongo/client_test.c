/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client against a scripted server: connections, refusals, cursors, facts, finding a set, loading.
 */
#include "contract/mongo/scripted_server.h"

#include "mongo/data.h"
#include "mongo/oplog.h"
#include "mongo/topology.h"
#include "os/process.h"

static struct hf_mongo_client *connect_to(struct scripted_server *server)
{
    struct hf_mongo_options options = {.host = server->host};
    struct hf_mongo_client *client = NULL;
    struct hf_error err;

    if (hf_mongo_client_open(&options, &client, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return client;
}
#define CLIENT HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client

static void expect_words(const struct hf_error *err, const char *words)
{
    if (strstr(err->message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err->message);
    }
}

static enum script_action answer_ok(void *argument, const char *name, const bson_t *command,
                                    bson_t *reply)
{
    (void)argument;
    (void)name;
    (void)command;
    (void)reply;
    return SCRIPT_REPLY;
}

static void test_nobody_there_is_unavailable_and_named(void **state)
{
    (void)state;
    char host[32];
    struct hf_mongo_options options = {.host = host, .connect_timeout_ms = 500};
    struct hf_mongo_client *client = NULL;
    struct hf_error err;

    (void)snprintf(host, sizeof host, "127.0.0.1:%u", hf_free_port());
    assert_int_equal(hf_mongo_client_open(&options, &client, &err), HF_ERR_UNAVAILABLE);
    expect_words(&err, "connect: 127.0.0.1:");
    assert_null(client);
}

static void test_options_that_cannot_be_are_told_before_anything_is_sent(void **state)
{
    (void)state;
    struct hf_mongo_client *client = NULL;
    struct hf_error err;
    struct hf_mongo_options two = {.uri = "mongodb://a:1,b:1"};
    struct hf_mongo_options no_user = {.host = "a:1", .password_file = "/nowhere"};
    struct hf_mongo_options no_file = {.host = "a:1", .user = "u", .password_file = "/nowhere"};
    struct hf_mongo_options bad_uri = {.uri = "mongodb://a:1/?tls=perhaps"};

    assert_int_equal(hf_mongo_client_open(&two, &client, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "connect: 2 hosts where one is meant");
    assert_int_equal(hf_mongo_client_open(&no_user, &client, &err), HF_ERR_INVALID);
    expect_words(&err, "a password file without a user");
    assert_int_equal(hf_mongo_client_open(&no_file, &client, &err), HF_ERR_NOT_FOUND);
    expect_words(&err, "connect: a:1: password file");
    assert_int_equal(hf_mongo_client_open(&bad_uri, &client, &err), HF_ERR_INVALID);
    expect_words(&err, "connect: a:1: ");
}

static void test_a_command_goes_and_its_reply_comes_as_extended_json(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_ok, NULL);
    CLIENT *client = connect_to(server);
    HF_CLEANUP(hf_buf_fini) struct hf_buf reply = HF_BUF_INIT(1 << 20);
    struct hf_error err;

    assert_string_equal(hf_mongo_client_host(client), server->host);
    assert_int_equal(
        hf_mongo_run(client, "app", "{\"ping\": {\"$numberInt\": \"1\"}}", &reply, &err),
        HF_ERR_OK);
    assert_string_equal(hf_buf_text(&reply), "{ \"ok\" : { \"$numberDouble\" : \"1.0\" } }");
    HF_REPLY bson_t *sent = script_nth(server, "ping", 0);
    assert_string_equal(hf_mongo_get_text(sent, "$db"), "app");
    assert_int_equal(hf_mongo_run(client, "app", "{\"ping\": ", NULL, &err), HF_ERR_INVALID);
    expect_words(&err, "command: not extended JSON");
}

static enum script_action refuse_thrice(void *argument, const char *name, const bson_t *command,
                                        bson_t *reply)
{
    (void)argument;
    (void)command;
    if (strcmp(name, "drop") == 0) {
        return SCRIPT_BREAK;
    }
    script_recorded(reply, "err-insert-secondary");
    return SCRIPT_REPLY;
}

static void test_a_refusal_and_a_broken_connection_name_server_and_command(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", refuse_thrice, NULL);
    CLIENT *client = connect_to(server);
    struct hf_error err;

    assert_int_equal(hf_mongo_run(client, "app", "{\"insert\": \"x\"}", NULL, &err),
                     HF_ERR_UNAVAILABLE);
    expect_words(&err, server->host);
    expect_words(&err, ": insert: not master (code 10107 NotWritablePrimary)");
    assert_int_equal(hf_mongo_run(client, "app", "{\"drop\": \"x\"}", NULL, &err),
                     HF_ERR_UNAVAILABLE);
    expect_words(&err, ": drop: ");
    /* Never sent twice by the driver. */
    assert_int_equal(script_count(server, "insert"), 1);
    assert_int_equal(script_count(server, "drop"), 1);
}

static enum script_action answer_cursor(void *argument, const char *name, const bson_t *command,
                                        bson_t *reply)
{
    (void)argument;
    (void)command;
    if (strcmp(name, "find") == 0) {
        script_json(reply, "{\"cursor\": {\"id\": {\"$numberLong\": \"77\"}, \"ns\": \"app.a.b\", "
                           "\"firstBatch\": [{\"n\": 1}, {\"n\": 2}]}, \"ok\": 1}");
    } else if (strcmp(name, "getMore") == 0) {
        script_json(reply, "{\"cursor\": {\"id\": {\"$numberLong\": \"0\"}, \"ns\": \"app.a.b\", "
                           "\"nextBatch\": [{\"n\": 3}]}, \"ok\": 1}");
    }
    return SCRIPT_REPLY;
}

struct seen_documents {
    unsigned count, stop_at;
    char last[64];
};

static enum hf_err see_document(void *argument, struct hf_str document, struct hf_error *err)
{
    struct seen_documents *seen = argument;

    (void)snprintf(seen->last, sizeof seen->last, "%s", document.data);
    seen->count++;
    return seen->count == seen->stop_at ? hf_fail(err, HF_ERR_INVALID, "enough") : HF_ERR_OK;
}

static void test_a_cursor_is_walked_through_all_batches_in_one_session(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_cursor, NULL);
    CLIENT *client = connect_to(server);
    struct seen_documents seen = {.count = 0};
    struct hf_error err;
    uint8_t first[16];
    uint8_t second[16];

    assert_int_equal(
        hf_mongo_run_cursor(client, "app", "{\"find\": \"a.b\"}", see_document, &seen, &err),
        HF_ERR_OK);
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.last, "{ \"n\" : { \"$numberInt\" : \"3\" } }");
    HF_REPLY bson_t *find = script_nth(server, "find", 0);
    HF_REPLY bson_t *more = script_nth(server, "getMore", 0);
    assert_int_equal(hf_mongo_get_int(more, "getMore", 0), 77);
    assert_string_equal(hf_mongo_get_text(more, "collection"), "a.b");
    assert_true(hf_mongo_get_uuid(find, "lsid.id", first));
    assert_true(hf_mongo_get_uuid(more, "lsid.id", second));
    assert_memory_equal(first, second, 16);
    assert_int_equal(script_count(server, "killCursors"), 0);
}

static void test_a_walk_that_ends_early_kills_its_cursor(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_cursor, NULL);
    CLIENT *client = connect_to(server);
    struct seen_documents seen = {.stop_at = 1};
    struct hf_error err;

    assert_int_equal(
        hf_mongo_run_cursor(client, "app", "{\"find\": \"a.b\"}", see_document, &seen, &err),
        HF_ERR_INVALID);
    expect_words(&err, ": find: enough");
    HF_REPLY bson_t *kill = script_nth(server, "killCursors", 0);
    assert_int_equal(hf_mongo_get_int(kill, "cursors.0", 0), 77);
}

/* ---- Facts ---- */

struct refused_commands {
    const char *names[4];
    bool by_find;
};

static enum script_action answer_facts(void *argument, const char *name, const bson_t *command,
                                       bson_t *reply)
{
    const struct refused_commands *refused = argument;
    bson_iter_t iter;
    bool fcv = bson_iter_init_find(&iter, command, "featureCompatibilityVersion");

    for (size_t i = 0; refused != NULL && i < 4 && refused->names[i] != NULL; i++) {
        if (strcmp(refused->names[i], name) == 0 ||
            (fcv && strcmp(refused->names[i], "fcv") == 0)) {
            script_recorded(reply, "err-unauthorized-serverStatus-reader-13");
            return SCRIPT_REPLY;
        }
    }
    script_recorded(reply, strcmp(name, "buildInfo") == 0        ? "buildInfo"
                           : strcmp(name, "serverStatus") == 0   ? "serverStatus-secondary"
                           : strcmp(name, "getCmdLineOpts") == 0 ? "getCmdLineOpts-mongod"
                           : strcmp(name, "find") == 0           ? "find-fcv-document"
                           : fcv ? "getParameter-featureCompatibilityVersion"
                                 : "getParameter-cursorTimeoutMillis");
    return SCRIPT_REPLY;
}

static void test_facts_of_a_secondary(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-secondary", answer_facts, NULL);
    CLIENT *client = connect_to(server);
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_facts_read(client, &facts, &err), HF_ERR_OK);
    assert_string_equal(facts.host, server->host);
    assert_string_equal(facts.me, "host-b.example.net:27017");
    assert_string_equal(facts.set_name, "rs0");
    assert_true(facts.secondary);
    assert_string_equal(facts.fcv, "4.4");
    assert_string_equal(facts.engine, "wiredTiger");
    assert_string_equal(facts.dbpath, "/data/db");
    assert_int_equal(facts.cursor_timeout_ms, 600000);
    assert_string_equal(facts.missing, "");
    assert_int_equal(hf_mongo_backup_check(&facts, &err), HF_ERR_OK);
}

static void test_rights_that_only_save_trouble_may_be_missing(void **state)
{
    (void)state;
    struct refused_commands refused = {.names = {"getParameter", "getCmdLineOpts"}};
    SCRIPTED *server = script_start("hello-secondary", answer_facts, &refused);
    CLIENT *client = connect_to(server);
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_facts_read(client, &facts, &err), HF_ERR_OK);
    assert_string_equal(facts.fcv, "4.4"); /* from the document behind the parameter */
    assert_int_equal(facts.cursor_timeout_ms, 0);
    assert_null(facts.dbpath);
    assert_false(facts.options_known);
    assert_string_equal(facts.missing,
                        "cursorTimeoutMillis not known: getParameter needs clusterMonitor; start "
                        "options and dbPath not known: getCmdLineOpts needs clusterMonitor");
}

static void test_rights_that_the_check_needs_are_named(void **state)
{
    (void)state;
    struct refused_commands no_status = {.names = {"serverStatus"}};
    struct refused_commands no_fcv = {.names = {"fcv", "find"}};
    SCRIPTED *first = script_start("hello-secondary", answer_facts, &no_status);
    SCRIPTED *second = script_start("hello-secondary", answer_facts, &no_fcv);
    CLIENT *one = connect_to(first);
    CLIENT *two = connect_to(second);
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_facts_read(one, &facts, &err), HF_ERR_DENIED);
    expect_words(&err, "facts: 127.0.0.1:");
    expect_words(&err, "hint: serverStatus needs the role clusterMonitor");
    assert_int_equal(hf_mongo_facts_read(two, &facts, &err), HF_ERR_DENIED);
    expect_words(&err, "hint: getParameter needs the role clusterMonitor");
}

static void test_a_mongos_is_asked_nothing_it_does_not_know(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-mongos", answer_facts, NULL);
    CLIENT *client = connect_to(server);
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    struct hf_error err;

    assert_int_equal(hf_mongo_facts_read(client, &facts, &err), HF_ERR_OK);
    assert_int_equal(script_count(server, "serverStatus"), 0);
    assert_int_equal(hf_mongo_backup_check(&facts, &err), HF_ERR_UNSUPPORTED);
    expect_words(&err, "is a mongos");
}

/* ---- Finding a set ---- */

static enum script_action answer_set(void *argument, const char *name, const bson_t *command,
                                     bson_t *reply)
{
    const struct refused_commands *refused = argument;

    (void)command;
    if (refused != NULL && strcmp(refused->names[0], name) == 0) {
        script_recorded(reply, "err-unauthorized-replSetGetConfig-reader-13");
    } else if (strcmp(name, "replSetGetStatus") == 0) {
        script_recorded(reply, "replSetGetStatus-secondary");
    } else if (strcmp(name, "replSetGetConfig") == 0) {
        script_recorded(reply, "replSetGetConfig");
    }
    return SCRIPT_REPLY;
}

/* The recorded hello names hosts that do not exist: the search must not go on to them. */
static void without_hosts(struct scripted_server *server)
{
    bson_t *hello = bson_new();
    bson_copy_to_excluding_noinit(server->hello, hello, "hosts", "passives", NULL);
    bson_destroy(server->hello);
    server->hello = hello;
}

static void test_a_set_is_found_past_an_arbiter_and_a_dead_seed(void **state)
{
    (void)state;
    SCRIPTED *arbiter = script_start("hello-arbiter", answer_set, NULL);
    SCRIPTED *member = script_start("hello-secondary", answer_set, NULL);
    struct hf_mongo_options options = {.connect_timeout_ms = 500};
    struct hf_mongo_set set;
    struct hf_error err;
    char seeds[256];

    (void)snprintf(seeds, sizeof seeds, "127.0.0.1:%u,%s,%s", hf_free_port(), arbiter->host,
                   member->host);
    assert_int_equal(hf_mongo_set_find(seeds, &options, NULL, &set, &err), HF_ERR_OK);
    assert_string_equal(set.name, "rs0");
    assert_string_equal(set.answered, member->host);
    assert_string_equal(set.primary, "host-a.example.net:27017");
}

static void test_when_nobody_answers_each_one_is_quoted(void **state)
{
    (void)state;
    struct refused_commands refused = {.names = {"replSetGetConfig"}};
    SCRIPTED *standalone = script_start("hello-standalone", answer_set, NULL);
    SCRIPTED *member = script_start("hello-secondary", answer_set, &refused);
    struct hf_mongo_options options = {.connect_timeout_ms = 500};
    struct hf_mongo_set set;
    struct hf_error err;
    char seeds[256];

    without_hosts(member);
    (void)snprintf(seeds, sizeof seeds, "mongodb://127.0.0.1:%u,%s,%s/?replicaSet=rs0",
                   hf_free_port(), standalone->host, member->host);
    assert_int_equal(hf_mongo_set_find(seeds, &options, NULL, &set, &err), HF_ERR_UNSUPPORTED);
    expect_words(&err, "find the set: connect: 127.0.0.1:");
    expect_words(&err, ": a standalone; hint: backups need a replica set");
    expect_words(&err, "replSetGetConfig needs the role clusterMonitor");
}

static void test_a_cancelled_search_stops(void **state)
{
    (void)state;
    struct hf_mongo_options options = {.connect_timeout_ms = 500};
    struct hf_cancel cancel;
    struct hf_mongo_set set;
    struct hf_error err;

    hf_cancel_init(&cancel);
    hf_cancel_request(&cancel);
    assert_int_equal(hf_mongo_set_find("127.0.0.1:1", &options, &cancel, &set, &err),
                     HF_ERR_CANCELLED);
}

/* ---- Oplog ---- */

static enum script_action answer_oplog(void *argument, const char *name, const bson_t *command,
                                       bson_t *reply)
{
    bson_iter_t iter;
    (void)argument;

    if (strcmp(name, "find") == 0 && bson_iter_init_find(&iter, command, "sort")) {
        script_recorded(reply, "find-oplog-last");
    } else if (strcmp(name, "find") == 0) {
        struct hf_mongo_ts ts = hf_mongo_get_ts(command, "filter.ts");
        script_json(reply, ts.increment == 1
                               ? "{\"cursor\": {\"id\": 0, \"ns\": \"local.oplog.rs\", "
                                 "\"firstBatch\": [{\"ts\": {\"$timestamp\": {\"t\": 9, \"i\": "
                                 "1}}, \"t\": {\"$numberLong\": \"3\"}}]}, \"ok\": 1}"
                               : "{\"cursor\": {\"id\": 0, \"ns\": \"local.oplog.rs\", "
                                 "\"firstBatch\": []}, \"ok\": 1}");
    }
    return SCRIPT_REPLY;
}

static void test_an_entry_is_confirmed_by_ts_and_term(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_oplog, NULL);
    CLIENT *client = connect_to(server);
    struct hf_mongo_optime optime = {.ts = {9, 1}, .term = 3};
    struct hf_mongo_optime last;
    struct hf_error err;

    assert_int_equal(hf_mongo_oplog_confirm(client, optime, &err), HF_ERR_OK);
    optime.term = 2;
    assert_int_equal(hf_mongo_oplog_confirm(client, optime, &err), HF_ERR_LOST);
    expect_words(&err, "the entry (9, 1) has term 3, not 2: it was rolled back");
    optime.ts.increment = 2;
    assert_int_equal(hf_mongo_oplog_confirm(client, optime, &err), HF_ERR_LOST);
    expect_words(&err, "the oplog has no entry (9, 2): rolled back");
    assert_int_equal(hf_mongo_oplog_find(client, optime.ts, &last, &err), HF_ERR_NOT_FOUND);
    assert_int_equal(hf_mongo_oplog_last(client, &last, &err), HF_ERR_OK);
    assert_int_equal(last.ts.seconds, 1795449955);
    assert_int_equal(last.term, 1);
}

static void test_the_wait_for_the_majority_has_a_limit_and_can_be_cancelled(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_ok, NULL);
    CLIENT *client = connect_to(server);
    struct hf_mongo_optime majority;
    struct hf_mongo_ts there = {1795449951, 367};
    struct hf_mongo_ts not_there = {1895449951, 1};
    struct hf_cancel cancel;
    struct hf_error err;

    assert_int_equal(hf_mongo_wait_majority(client, there, 0, NULL, &majority, &err), HF_ERR_OK);
    assert_true(hf_mongo_ts_compare(majority.ts, there) >= 0);
    assert_int_equal(hf_mongo_wait_majority(client, not_there, 150, NULL, NULL, &err),
                     HF_ERR_TIMEOUT);
    expect_words(&err, "(1895449951, 1) was not majority committed within 150 ms, only (179544");
    hf_cancel_init(&cancel);
    hf_cancel_request(&cancel);
    assert_int_equal(hf_mongo_wait_majority(client, not_there, 60000, &cancel, NULL, &err),
                     HF_ERR_CANCELLED);
}

/* ---- Loading ---- */

static enum script_action answer_insert(void *argument, const char *name, const bson_t *command,
                                        bson_t *reply)
{
    bson_t documents;
    (void)argument;

    if (strcmp(name, "insert") == 0 && hf_mongo_get_doc(command, "documents", &documents)) {
        (void)BSON_APPEND_INT32(reply, "n", (int32_t)bson_count_keys(&documents));
        script_json(reply, "{\"opTime\": {\"ts\": {\"$timestamp\": {\"t\": 50, \"i\": 6}}, \"t\": "
                           "{\"$numberLong\": \"2\"}}, \"ok\": 1}");
    }
    return SCRIPT_REPLY;
}

static enum hf_err generate(void *argument, uint64_t index, struct hf_mongo_doc *doc, bool *done,
                            struct hf_error *err)
{
    const uint64_t *count = argument;

    *done = index == *count;
    hf_mongo_doc_int64(doc, "_id", (int64_t)index);
    hf_mongo_doc_text(doc, "text", hf_str_of("Größe"));
    hf_mongo_doc_text(doc, "latin",
                      hf_str_of("Gr\xf6\xdf"
                                "e"));
    hf_mongo_doc_begin_array(doc, "list");
    hf_mongo_doc_int32(doc, NULL, 7);
    hf_mongo_doc_begin_object(doc, NULL);
    hf_mongo_doc_bool(doc, "yes", true);
    hf_mongo_doc_end(doc);
    hf_mongo_doc_null(doc, NULL);
    hf_mongo_doc_end(doc);
    hf_mongo_doc_double(doc, "d", 0.5);
    hf_mongo_doc_date(doc, "at", 1000);
    hf_mongo_doc_binary(doc, "bin", hf_bytes_of("ab", 2));
    hf_mongo_doc_object_id(doc, "oid", (const uint8_t *)"twelve bytes");
    return hf_mongo_doc_json(doc, "{\"j\": {\"$numberLong\": \"5\"}}", err);
}

static void test_generated_documents_arrive_in_batches(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_insert, NULL);
    CLIENT *client = connect_to(server);
    uint64_t count = 25;
    struct hf_mongo_insert_options options = {
        .database = "app", .collection = "c", .batch_documents = 10, .write_concern = "{\"w\": 1}"};
    struct hf_mongo_insert_result result;
    struct hf_error err;
    bson_t first;

    if (hf_mongo_insert_generated(client, &options, generate, &count, &result, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(result.documents, 25);
    assert_int_equal(result.last.ts.seconds, 50);
    assert_int_equal(result.last.term, 2);
    assert_int_equal(script_count(server, "insert"), 3);
    HF_REPLY bson_t *batch = script_nth(server, "insert", 2);
    assert_int_equal(hf_mongo_get_int(batch, "documents.0._id", -1), 20);
    assert_int_equal(hf_mongo_get_int(batch, "documents.4._id", -1), 24);
    assert_int_equal(hf_mongo_get_int(batch, "writeConcern.w", -1), 1);
    assert_true(hf_mongo_get_doc(batch, "documents.4", &first));
    char *json = bson_as_canonical_extended_json(&first, NULL);
    assert_string_equal(
        json, "{ \"_id\" : { \"$numberLong\" : \"24\" }, \"text\" : \"Größe\", \"latin\" : "
              "\"Gr??e\", \"list\" : [ { \"$numberInt\" : \"7\" }, { \"yes\" : true }, null ], "
              "\"d\" : { \"$numberDouble\" : \"0.5\" }, \"at\" : { \"$date\" : { \"$numberLong\" "
              ": \"1000\" } }, \"bin\" : { \"$binary\" : { \"base64\" : \"YWI=\", \"subType\" : "
              "\"00\" } }, \"oid\" : { \"$oid\" : \"7477656c7665206279746573\" }, \"j\" : { "
              "\"$numberLong\" : \"5\" } }");
    bson_free(json);
}

static void test_a_batch_is_bounded_in_bytes(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_insert, NULL);
    CLIENT *client = connect_to(server);
    uint64_t count = 9;
    struct hf_mongo_insert_options options = {
        .database = "app", .collection = "c", .batch_bytes = 500};
    struct hf_mongo_insert_result result;
    struct hf_error err;

    assert_int_equal(hf_mongo_insert_generated(client, &options, generate, &count, &result, &err),
                     HF_ERR_OK);
    assert_int_equal(result.documents, 9);
    assert_true(script_count(server, "insert") >= 3);
    assert_true(result.bytes > 9 * 100);
}

static enum hf_err generate_open_array(void *argument, uint64_t index, struct hf_mongo_doc *doc,
                                       bool *done, struct hf_error *err)
{
    (void)argument;
    (void)err;
    *done = false;
    hf_mongo_doc_int64(doc, "_id", (int64_t)index);
    if (index == 3) {
        hf_mongo_doc_begin_array(doc, "list");
        hf_mongo_doc_begin_object(doc, NULL);
    }
    return HF_ERR_OK;
}

static void test_a_document_that_is_not_ended_is_refused_with_its_number(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_insert, NULL);
    CLIENT *client = connect_to(server);
    struct hf_mongo_insert_options options = {.database = "app", .collection = "c"};
    struct hf_mongo_insert_result result;
    struct hf_error err;

    assert_int_equal(
        hf_mongo_insert_generated(client, &options, generate_open_array, NULL, &result, &err),
        HF_ERR_INVALID);
    assert_string_equal(err.message,
                        "insert into app.c: document 3: an object or array was not ended");
    assert_int_equal(result.documents, 0);
}

static void test_a_write_gives_its_optime(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_insert, NULL);
    CLIENT *client = connect_to(server);
    struct hf_mongo_optime optime;
    struct hf_error err;

    assert_int_equal(hf_mongo_write(client, "app",
                                    "{\"insert\": \"c\", \"documents\": [{\"_id\": 1}]}", &optime,
                                    NULL, &err),
                     HF_ERR_OK);
    assert_int_equal(optime.ts.seconds, 50);
    assert_int_equal(optime.ts.increment, 6);
    assert_int_equal(optime.term, 2);
}

/* ---- Data ---- */

static enum script_action answer_data(void *argument, const char *name, const bson_t *command,
                                      bson_t *reply)
{
    (void)argument;
    if (strcmp(name, "listDatabases") == 0) {
        script_json(reply, "{\"databases\": [{\"name\": \"local\"}, {\"name\": \"app\"}], \"ok\": "
                           "1}");
    } else if (strcmp(name, "listCollections") == 0) {
        script_recorded(reply, "listCollections-app");
    } else if (strcmp(name, "dbHash") == 0) {
        script_recorded(reply, "dbHash-app-primary");
    } else if (strcmp(name, "$count") == 0) {
        const char *of = hf_mongo_get_text(command, "aggregate");
        script_json(reply, of != NULL && strcmp(of, "orders") == 0
                               ? "{\"cursor\": {\"id\": 0, \"ns\": \"app.orders\", "
                                 "\"firstBatch\": [{\"n\": 12}]}, \"ok\": 1}"
                               : "{\"cursor\": {\"id\": 0, \"ns\": \"app.events\", "
                                 "\"firstBatch\": []}, \"ok\": 1}");
    }
    return SCRIPT_REPLY;
}

static void test_databases_and_collections_are_sorted_with_hashes_and_counts(void **state)
{
    (void)state;
    SCRIPTED *server = script_start("hello-primary", answer_data, NULL);
    CLIENT *client = connect_to(server);
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data data = {.databases = NULL};
    struct hf_mongo_data_options options = {.count = true};
    struct hf_error err;

    if (hf_mongo_data_read(client, &options, &data, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(data.database_count, 1);
    assert_string_equal(data.databases[0].name, "app");
    assert_string_equal(data.databases[0].md5, "95963b96618b53e3f3d51ccd7d2c9ae5");
    assert_int_equal(data.databases[0].collection_count, 2);
    assert_string_equal(data.databases[0].collections[0].name, "events");
    assert_true(data.databases[0].collections[0].capped);
    assert_int_equal(data.databases[0].collections[0].count, 0);
    const struct hf_mongo_collection *orders = hf_mongo_data_collection(&data, "app", "orders");
    assert_non_null(orders);
    assert_string_equal(orders->md5, "63e4e80b5cf50b58fe525a99ef802744");
    assert_int_equal(orders->count, 12);
    assert_string_equal(orders->options, "{ }");
    assert_null(hf_mongo_data_collection(&data, "app", "none"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_there_is_unavailable_and_named),
        cmocka_unit_test(test_options_that_cannot_be_are_told_before_anything_is_sent),
        cmocka_unit_test(test_a_command_goes_and_its_reply_comes_as_extended_json),
        cmocka_unit_test(test_a_refusal_and_a_broken_connection_name_server_and_command),
        cmocka_unit_test(test_a_cursor_is_walked_through_all_batches_in_one_session),
        cmocka_unit_test(test_a_walk_that_ends_early_kills_its_cursor),
        cmocka_unit_test(test_facts_of_a_secondary),
        cmocka_unit_test(test_rights_that_only_save_trouble_may_be_missing),
        cmocka_unit_test(test_rights_that_the_check_needs_are_named),
        cmocka_unit_test(test_a_mongos_is_asked_nothing_it_does_not_know),
        cmocka_unit_test(test_a_set_is_found_past_an_arbiter_and_a_dead_seed),
        cmocka_unit_test(test_when_nobody_answers_each_one_is_quoted),
        cmocka_unit_test(test_a_cancelled_search_stops),
        cmocka_unit_test(test_an_entry_is_confirmed_by_ts_and_term),
        cmocka_unit_test(test_the_wait_for_the_majority_has_a_limit_and_can_be_cancelled),
        cmocka_unit_test(test_generated_documents_arrive_in_batches),
        cmocka_unit_test(test_a_batch_is_bounded_in_bytes),
        cmocka_unit_test(test_a_document_that_is_not_ended_is_refused_with_its_number),
        cmocka_unit_test(test_a_write_gives_its_optime),
        cmocka_unit_test(test_databases_and_collections_are_sorted_with_hashes_and_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
