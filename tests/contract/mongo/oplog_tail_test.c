/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail of an oplog against a scripted member whose oplog, commit point and role change under it: no entry is missing, none comes
 * twice, none comes before it is committed, and a changed history is called by its name.
 */
#include "contract/mongo/scripted_server.h"

#include "mongo/oplog_tail.h"
#include "os/clock.h"

#define ENTRIES_MAX 64

struct entry {
    uint32_t seconds, increment;
    int64_t term; /* -1: none, as the entry that initiates a set */
};

struct script {
    struct hf_mutex mutex; /* guards: all below */
    struct entry entries[ENTRIES_MAX];
    size_t count;
    size_t committed; /* so many of the entries */
    bool primary, secondary, initiates;
    char set_name[16];
    struct entry primary_at; /* what the status says of the primary, where it is another member */
    size_t batch_max;        /* documents in a batch, whatever is asked for */
    struct entry upto;       /* of the open cursor */
    size_t next;             /* its place */
    bool open;
    unsigned breaks;       /* so many getMore break the connection */
    unsigned lost;         /* so many answer 43 */
    unsigned bad;          /* so many finds answer something that is no document */
    unsigned finds, mores; /* that came */
};

static int compare(const struct entry *a, const struct entry *b)
{
    struct hf_mongo_ts left = {a->seconds, a->increment}, right = {b->seconds, b->increment};
    return hf_mongo_ts_compare(left, right);
}

static void append_optime(bson_t *doc, const char *key, const struct entry *entry)
{
    bson_t inside;
    (void)BSON_APPEND_DOCUMENT_BEGIN(doc, key, &inside);
    (void)BSON_APPEND_TIMESTAMP(&inside, "ts", entry->seconds, entry->increment);
    (void)BSON_APPEND_INT64(&inside, "t", entry->term);
    (void)bson_append_document_end(doc, &inside);
}

static void append_entry(const struct script *script, bson_t *batch, const char *key, size_t i)
{
    const struct entry *entry = &script->entries[i];
    bson_t doc, o;
    (void)BSON_APPEND_DOCUMENT_BEGIN(batch, key, &doc);
    (void)BSON_APPEND_UTF8(&doc, "op", "n");
    (void)BSON_APPEND_DOCUMENT_BEGIN(&doc, "o", &o);
    (void)BSON_APPEND_UTF8(&o, "msg", script->initiates && i == 0 ? "initiating set" : "some");
    (void)bson_append_document_end(&doc, &o);
    (void)BSON_APPEND_TIMESTAMP(&doc, "ts", entry->seconds, entry->increment);
    if (entry->term >= 0) {
        (void)BSON_APPEND_INT64(&doc, "t", entry->term);
    }
    (void)bson_append_document_end(batch, &doc);
}

static void answer_hello(const struct script *script, bson_t *reply)
{
    bson_t write;
    (void)BSON_APPEND_BOOL(reply, "ismaster", script->primary);
    (void)BSON_APPEND_BOOL(reply, "isWritablePrimary", script->primary);
    (void)BSON_APPEND_BOOL(reply, "secondary", script->secondary);
    (void)BSON_APPEND_UTF8(reply, "setName", script->set_name);
    (void)BSON_APPEND_UTF8(reply, "me", "one:1");
    (void)BSON_APPEND_INT32(reply, "minWireVersion", 0);
    (void)BSON_APPEND_INT32(reply, "maxWireVersion", 9);
    (void)BSON_APPEND_INT32(reply, "maxBsonObjectSize", 16777216);
    (void)BSON_APPEND_INT32(reply, "maxMessageSizeBytes", 48000000);
    (void)BSON_APPEND_INT32(reply, "maxWriteBatchSize", 100000);
    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "lastWrite", &write);
    (void)BSON_APPEND_DATE_TIME(&write, "lastWriteDate", 1700000000000); /* the driver needs it */
    if (script->count > 0) {
        append_optime(&write, "opTime", &script->entries[script->count - 1]);
    }
    if (script->committed > 0) {
        append_optime(&write, "majorityOpTime", &script->entries[script->committed - 1]);
    }
    (void)bson_append_document_end(reply, &write);
}

/* From script->next to upto, as many as fit. */
static void answer_batch(struct script *script, const char *name, size_t limit, bool alone,
                         bson_t *reply)
{
    bson_t cursor, batch;
    size_t given = 0;
    char key[24];
    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "cursor", &cursor);
    (void)BSON_APPEND_ARRAY_BEGIN(&cursor, name, &batch);
    limit = limit < script->batch_max ? limit : script->batch_max;
    if (script->bad > 0) {
        script->bad--;
        (void)BSON_APPEND_INT32(&batch, "0", 7);
    }
    while (given < limit && script->next < script->count &&
           compare(&script->entries[script->next], &script->upto) <= 0) {
        (void)snprintf(key, sizeof key, "%zu", given++);
        append_entry(script, &batch, key, script->next++);
    }
    script->open = !alone && script->next < script->count &&
                   compare(&script->entries[script->next], &script->upto) <= 0;
    (void)bson_append_array_end(&cursor, &batch);
    (void)BSON_APPEND_INT64(&cursor, "id", script->open ? 77 : 0);
    (void)BSON_APPEND_UTF8(&cursor, "ns", "local.oplog.rs");
    (void)bson_append_document_end(reply, &cursor);
}

static void answer_find(struct script *script, const bson_t *command, bson_t *reply)
{
    struct hf_mongo_ts from = hf_mongo_get_ts(command, "filter.ts.$gte");
    struct hf_mongo_ts upto = hf_mongo_get_ts(command, "filter.ts.$lte");
    if (hf_mongo_ts_is_null(upto)) {
        upto = (struct hf_mongo_ts){UINT32_MAX, 0};
    }
    struct hf_mongo_ts exact = hf_mongo_get_ts(command, "filter.ts");
    int64_t natural = hf_mongo_get_int(command, "sort.$natural", 0);
    size_t limit = (size_t)hf_mongo_get_int(command, "batchSize", 1);

    if (natural != 0) {
        script->next = natural > 0 || script->count == 0 ? 0 : script->count - 1;
        script->upto = (struct entry){UINT32_MAX, 0, 0};
        limit = 1;
    } else if (!hf_mongo_ts_is_null(exact)) {
        script->upto = (struct entry){exact.seconds, exact.increment, 0};
        from = exact;
    } else {
        script->finds++;
        script->upto = (struct entry){upto.seconds, upto.increment, 0};
    }
    for (size_t i = 0; natural == 0 && i <= script->count; i++) {
        struct entry at = {from.seconds, from.increment, 0};
        script->next = i;
        if (i < script->count && compare(&script->entries[i], &at) >= 0) {
            break;
        }
    }
    answer_batch(script, "firstBatch", limit, hf_mongo_get_bool(command, "singleBatch", false),
                 reply);
}

static void answer_status(const struct script *script, const char *name, bson_t *reply)
{
    if (strcmp(name, "replSetGetConfig") == 0) {
        script_json(reply,
                    "{\"config\": {\"_id\": \"rs0\", \"version\": 1, \"term\": 1, \"members\": ["
                    "{\"_id\": 0, \"host\": \"one:1\", \"priority\": 1.0, \"votes\": 1},"
                    "{\"_id\": 1, \"host\": \"two:2\", \"priority\": 1.0, \"votes\": 1}]}}");
        return;
    }
    bson_t members, one;
    (void)BSON_APPEND_UTF8(reply, "set", "rs0");
    (void)BSON_APPEND_INT32(reply, "myState", script->primary ? 1 : 2);
    (void)BSON_APPEND_INT64(reply, "term", 1);
    (void)BSON_APPEND_ARRAY_BEGIN(reply, "members", &members);
    for (int i = 0; i < 2; i++) {
        bool self = i == 0;
        (void)BSON_APPEND_DOCUMENT_BEGIN(&members, self ? "0" : "1", &one);
        (void)BSON_APPEND_INT32(&one, "_id", i);
        (void)BSON_APPEND_UTF8(&one, "name", self ? "one:1" : "two:2");
        (void)BSON_APPEND_DOUBLE(&one, "health", 1);
        (void)BSON_APPEND_INT32(&one, "state", self == script->primary ? 1 : 2);
        append_optime(&one, "optime",
                      self ? &script->entries[script->count - 1] : &script->primary_at);
        if (self) {
            (void)BSON_APPEND_BOOL(&one, "self", true);
        }
        (void)bson_append_document_end(&members, &one);
    }
    (void)bson_append_array_end(reply, &members);
}

static enum script_action play(void *argument, const char *name, const bson_t *command,
                               bson_t *reply)
{
    struct script *script = argument;
    HF_LOCKED(&script->mutex);

    if (strcasecmp(name, "hello") == 0 || strcasecmp(name, "isMaster") == 0) {
        answer_hello(script, reply);
    } else if (strcmp(name, "find") == 0) {
        answer_find(script, command, reply);
    } else if (strcmp(name, "getMore") == 0) {
        script->mores++;
        if (script->breaks > 0) {
            script->breaks--;
            return SCRIPT_BREAK;
        }
        if (script->lost > 0 || !script->open) {
            script->lost -= script->lost > 0;
            script_json(reply, "{\"ok\": 0, \"code\": 43, \"errmsg\": \"cursor id 77 not found\"}");
        } else {
            answer_batch(script, "nextBatch", (size_t)hf_mongo_get_int(command, "batchSize", 1),
                         false, reply);
        }
    } else if (strncmp(name, "replSetGet", 10) == 0) {
        answer_status(script, name, reply);
    } else if (strcmp(name, "getParameter") == 0) {
        script_json(reply, "{\"featureCompatibilityVersion\": {\"version\": \"4.2\"}}");
    }
    return SCRIPT_REPLY;
}

/* ---- The tests' hands ---- */

struct fixture {
    struct script script;
    struct scripted_server *server;
    struct hf_mongo_tail *tail;
    struct entry got[ENTRIES_MAX * 4];
    size_t got_count;
};

/* Entries (100, 1) to (100, count) of term 1, all committed; the first one initiates the set where that is said. */
static void begin(struct fixture *f, size_t count, bool initiates)
{
    struct hf_error err;

    memset(f, 0, sizeof *f);
    hf_mutex_init(&f->script.mutex);
    for (size_t i = 0; i < count; i++) {
        f->script.entries[i] = (struct entry){100, (uint32_t)i + 1, initiates && i == 0 ? -1 : 1};
    }
    f->script.count = f->script.committed = count;
    f->script.primary = true;
    f->script.initiates = initiates;
    f->script.batch_max = 3;
    (void)snprintf(f->script.set_name, sizeof f->script.set_name, "rs0");
    f->server = script_start(NULL, play, &f->script);
    const struct hf_mongo_tail_options options = {
        .client = {.host = f->server->host}, .set_name = "rs0", .behind_ms = 400};
    assert_int_equal(hf_mongo_tail_create(&options, &f->tail, &err), HF_ERR_OK);
}

static void end(struct fixture *f)
{
    hf_mongo_tail_destroy(f->tail);
    script_stop(f->server);
    hf_mutex_fini(&f->script.mutex);
}

static void from(struct fixture *f, uint32_t seconds, uint32_t increment, int64_t term)
{
    hf_mongo_tail_from(f->tail, (struct hf_optime){seconds, increment, term});
}

/* One call; what it brought goes to got. */
static enum hf_err read_once(struct fixture *f, uint64_t wait_ms, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_tail_batch_destroy) struct hf_mongo_tail_batch *batch = NULL;
    struct hf_bytes bytes;

    enum hf_err code = hf_mongo_tail_read(f->tail, wait_ms, &batch, err);
    uint64_t count = 0, size = 0;
    while (batch != NULL && hf_mongo_tail_batch_next(batch, &bytes)) {
        bson_t doc;
        assert_true(bson_init_static(&doc, bytes.data, bytes.len));
        struct hf_mongo_ts ts = hf_mongo_get_ts(&doc, "ts");
        f->got[f->got_count++] =
            (struct entry){ts.seconds, ts.increment, hf_mongo_get_int(&doc, "t", -1)};
        count++;
        size += bytes.len;
    }
    if (batch != NULL) {
        struct hf_mongo_tail_batch_facts facts = hf_mongo_tail_batch_facts(batch);
        assert_true(count > 0);
        assert_int_equal(facts.entries, count);
        assert_int_equal(facts.bytes, size);
        assert_int_equal(facts.last.increment, f->got[f->got_count - 1].increment);
        assert_true(facts.committed.seconds > facts.last.seconds ||
                    facts.committed.increment >= facts.last.increment);
    }
    return code;
}

/* Until nothing comes any more. */
static void read_all(struct fixture *f)
{
    struct hf_error err;
    size_t before;

    do {
        before = f->got_count;
        if (read_once(f, 0, &err) != HF_ERR_OK) {
            fail_msg("%s", err.message);
        }
    } while (f->got_count > before);
}

static void expect_got(const struct fixture *f, uint32_t first, uint32_t last)
{
    assert_int_equal(f->got_count, last - first + 1);
    for (uint32_t i = 0; i < f->got_count; i++) {
        assert_int_equal(f->got[i].increment, first + i);
    }
}

static void expect_lost(struct fixture *f, enum hf_chain_cause cause)
{
    struct hf_error err;
    enum hf_chain_cause why = HF_CHAIN_NONE;

    assert_int_equal(read_once(f, 0, &err), HF_ERR_LOST);
    assert_int_equal(hf_mongo_tail_why(f->tail, &why, &err), HF_ERR_OK);
    assert_string_equal(hf_chain_cause_word(why), hf_chain_cause_word(cause));
}

/* ---- The tests ---- */

static void test_goes_on_behind_the_very_entry(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 20, false);
    from(&f, 100, 4, 1);
    read_all(&f);
    expect_got(&f, 5, 20);
    /* And from there, when more has come: nothing twice. */
    hf_mutex_lock(&f.script.mutex);
    f.script.entries[20] = (struct entry){100, 21, 2};
    f.script.count = f.script.committed = 21;
    hf_mutex_unlock(&f.script.mutex);
    read_all(&f);
    expect_got(&f, 5, 21);
    assert_int_equal(f.got[16].term, 2);
    end(&f);
}

static void test_starts_with_the_newest_or_the_oldest_entry(void **state)
{
    struct fixture f;
    struct hf_error err;
    (void)state;
    begin(&f, 9, true);
    assert_int_equal(hf_mongo_tail_from_committed(f.tail, 0, &err), HF_ERR_OK);
    read_all(&f);
    expect_got(&f, 9, 9);
    f.got_count = 0;
    assert_int_equal(hf_mongo_tail_from_oldest(f.tail, &err), HF_ERR_OK);
    read_all(&f);
    expect_got(&f, 1, 9);
    assert_int_equal(f.got[0].term, -1);
    /* The entry without a term is one to go on behind, too. */
    f.got_count = 0;
    from(&f, 100, 1, -1);
    read_all(&f);
    expect_got(&f, 2, 9);
    end(&f);
}

static void test_a_first_start_reaches_back_but_not_behind_the_oldest_entry(void **state)
{
    struct fixture f;
    struct hf_error err;
    (void)state;
    begin(&f, 9, true);
    for (uint32_t i = 0; i < 9; i++) {
        f.script.entries[i].seconds = 100 + 10 * i;
    }
    f.script.committed = 8; /* (170, 8) */
    assert_int_equal(hf_mongo_tail_from_committed(f.tail, 30, &err), HF_ERR_OK);
    read_all(&f);
    expect_got(&f, 5, 8); /* (140, 5) is 30 s older */
    f.got_count = 0;
    assert_int_equal(hf_mongo_tail_from_committed(f.tail, 29, &err), HF_ERR_OK);
    read_all(&f);
    expect_got(&f, 6, 8);
    f.got_count = 0;
    assert_int_equal(hf_mongo_tail_from_committed(f.tail, 500, &err), HF_ERR_OK);
    read_all(&f);
    expect_got(&f, 1, 8);
    assert_int_equal(f.got[0].term, -1);
    end(&f);
}

static void test_what_is_not_committed_does_not_come(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 10, false);
    f.script.committed = 6;
    from(&f, 100, 2, 1);
    read_all(&f);
    expect_got(&f, 3, 6);
    hf_mutex_lock(&f.script.mutex);
    /* What was not committed is rolled back, and others take its place. */
    f.script.entries[6] = (struct entry){100, 7, 2};
    f.script.count = f.script.committed = 7;
    hf_mutex_unlock(&f.script.mutex);
    read_all(&f);
    expect_got(&f, 3, 7);
    assert_int_equal(f.got[4].term, 2);
    end(&f);
}

static void test_nothing_committed_yet_is_waited_for(void **state)
{
    struct fixture f;
    struct hf_error err;
    (void)state;
    begin(&f, 3, true);
    f.script.committed = 0;
    assert_int_equal(hf_mongo_tail_from_committed(f.tail, 0, &err), HF_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "nothing is majority committed yet"));
    from(&f, 100, 2, 1);
    read_all(&f);
    assert_int_equal(f.got_count, 0);
    end(&f);
}

static void test_a_history_that_changed_is_called_by_its_name(void **state)
{
    struct fixture f;
    struct hf_error err;
    enum hf_chain_cause why = HF_CHAIN_NONE;
    (void)state;
    begin(&f, 10, false);
    from(&f, 100, 4, 2); /* the same time, another term */
    expect_lost(&f, HF_CHAIN_ROLLBACK);
    from(&f, 100, 10, 2); /* also at the commit point itself */
    expect_lost(&f, HF_CHAIN_ROLLBACK);
    from(&f, 90, 1, 1);
    expect_lost(&f, HF_CHAIN_ROLLED_OVER);
    from(&f, 101, 1, 1); /* newer than all that this primary has */
    expect_lost(&f, HF_CHAIN_RECREATED);
    hf_mutex_lock(&f.script.mutex);
    f.script.entries[9].seconds = 102;
    hf_mutex_unlock(&f.script.mutex);
    from(&f, 101, 1, 1); /* between two that are there */
    expect_lost(&f, HF_CHAIN_ROLLBACK);
    hf_mutex_lock(&f.script.mutex);
    f.script.initiates = true;
    f.script.entries[0].term = -1;
    hf_mutex_unlock(&f.script.mutex);
    from(&f, 90, 1, 1); /* an oplog that has lost nothing never had it */
    expect_lost(&f, HF_CHAIN_RECREATED);
    /* There after all: no cause is made up. */
    from(&f, 100, 4, 1);
    assert_int_equal(hf_mongo_tail_why(f.tail, &why, &err), HF_ERR_UNAVAILABLE);
    assert_int_equal(f.got_count, 0);
    end(&f);
}

static void test_a_secondary_behind_the_place_is_waited_for(void **state)
{
    struct fixture f;
    struct hf_error err;
    (void)state;
    begin(&f, 10, false);
    f.script.primary = false;
    f.script.secondary = true;
    f.script.primary_at = (struct entry){105, 1, 1};
    from(&f, 104, 1, 1);
    assert_int_equal(read_once(&f, 0, &err), HF_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "it lags"));
    /* A heartbeat that says the primary lacks it may be old: it is believed when it still says so later. */
    hf_mutex_lock(&f.script.mutex);
    f.script.primary_at = (struct entry){103, 1, 1};
    hf_mutex_unlock(&f.script.mutex);
    assert_int_equal(read_once(&f, 0, &err), HF_ERR_UNAVAILABLE);
    uint64_t until_ms = hf_clock_mono_ms() + 60000;
    enum hf_err code = HF_ERR_UNAVAILABLE;
    while (code == HF_ERR_UNAVAILABLE && hf_clock_mono_ms() < until_ms) {
        hf_cancel_sleep(NULL, 50);
        code = read_once(&f, 0, &err);
    }
    assert_int_equal(code, HF_ERR_LOST);
    /* It catches up: all is well. */
    hf_mutex_lock(&f.script.mutex);
    f.script.entries[10] = (struct entry){104, 1, 1};
    f.script.entries[11] = (struct entry){104, 2, 1};
    f.script.count = f.script.committed = 12;
    hf_mutex_unlock(&f.script.mutex);
    read_all(&f);
    assert_int_equal(f.got_count, 1);
    assert_int_equal(f.got[0].seconds, 104);
    end(&f);
}

static void test_a_cursor_or_a_connection_that_breaks_costs_nothing(void **state)
{
    struct fixture f;
    struct hf_error err;
    unsigned failures = 0;
    (void)state;
    begin(&f, 40, false);
    f.script.breaks = 2;
    from(&f, 100, 1, 1);
    for (size_t i = 0; i < 60; i++) {
        enum hf_err code = read_once(&f, 0, &err);
        assert_true(code == HF_ERR_OK || code == HF_ERR_UNAVAILABLE);
        failures += code != HF_ERR_OK;
        hf_mutex_lock(&f.script.mutex);
        f.script.lost = i == 8;
        f.script.bad = i == 12;
        hf_mutex_unlock(&f.script.mutex);
    }
    expect_got(&f, 2, 40);
    assert_true(failures >= 3);
    end(&f);
}

static void test_a_member_that_cannot_be_read_is_away(void **state)
{
    struct fixture f;
    struct hf_error err;
    (void)state;
    begin(&f, 10, false);
    from(&f, 100, 1, 1);
    f.script.primary = false;
    assert_int_equal(read_once(&f, 0, &err), HF_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "neither primary nor secondary"));
    hf_mutex_lock(&f.script.mutex);
    f.script.secondary = true;
    (void)snprintf(f.script.set_name, sizeof f.script.set_name, "rs1");
    hf_mutex_unlock(&f.script.mutex);
    assert_int_equal(read_once(&f, 0, &err), HF_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "belongs to set rs1 now, not to rs0"));
    hf_mutex_lock(&f.script.mutex);
    (void)snprintf(f.script.set_name, sizeof f.script.set_name, "rs0");
    hf_mutex_unlock(&f.script.mutex);
    read_all(&f);
    expect_got(&f, 2, 10);
    char fcv[HF_WORD_BYTES];
    assert_int_equal(hf_mongo_tail_fcv(f.tail, fcv, &err), HF_ERR_OK);
    assert_string_equal(fcv, "4.2");
    end(&f);
}

static void test_a_cancelled_read_ends(void **state)
{
    struct fixture f;
    struct hf_error err;
    struct hf_cancel cancel;
    struct hf_mongo_tail_batch *batch = NULL;
    (void)state;
    begin(&f, 10, false);
    hf_mongo_tail_destroy(f.tail);
    hf_cancel_init(&cancel);
    hf_cancel_request(&cancel);
    const struct hf_mongo_tail_options options = {.client = {.host = f.server->host},
                                                  .cancel = &cancel};
    assert_int_equal(hf_mongo_tail_create(&options, &f.tail, &err), HF_ERR_OK);
    from(&f, 100, 10, 1);
    assert_int_equal(hf_mongo_tail_read(f.tail, 600000, &batch, &err), HF_ERR_CANCELLED);
    assert_null(batch);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on_behind_the_very_entry),
        cmocka_unit_test(test_starts_with_the_newest_or_the_oldest_entry),
        cmocka_unit_test(test_a_first_start_reaches_back_but_not_behind_the_oldest_entry),
        cmocka_unit_test(test_what_is_not_committed_does_not_come),
        cmocka_unit_test(test_nothing_committed_yet_is_waited_for),
        cmocka_unit_test(test_a_history_that_changed_is_called_by_its_name),
        cmocka_unit_test(test_a_secondary_behind_the_place_is_waited_for),
        cmocka_unit_test(test_a_cursor_or_a_connection_that_breaks_costs_nothing),
        cmocka_unit_test(test_a_member_that_cannot_be_read_is_away),
        cmocka_unit_test(test_a_cancelled_read_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
