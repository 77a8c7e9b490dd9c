/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox's engine: documents, indexes, conflicts, the oplog's times.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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

struct fixture {
    char *dir;
    struct hf_sandbox_engine *engine;
    struct hf_error err;
};

static int setup(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);

    if (f == NULL || hf_fs_make_temp_dir("hf-engine", &f->dir, &f->err) != HF_ERR_OK) {
        return -1;
    }
    const struct hf_sandbox_engine_options options = {.dbpath = f->dir, .replicated = true};
    if (hf_sandbox_engine_open(&options, &f->engine, &f->err) != HF_ERR_OK ||
        hf_sandbox_oplog_create(f->engine, &f->err) != HF_ERR_OK ||
        hf_sandbox_local_set_truncate_after(f->engine, 0, &f->err) != HF_ERR_OK) {
        print_error("%s\n", f->err.message);
        return -1;
    }
    hf_sandbox_engine_set_role(f->engine, true, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;

    if (hf_sandbox_engine_close(f->engine, &f->err) != HF_ERR_OK) {
        print_error("%s\n", f->err.message);
        return -1;
    }
    hf_sandbox_ignore(hf_fs_remove_tree(f->dir, &err));
    hf_free(f->dir);
    hf_free(f);
    return 0;
}

static struct hf_sandbox_txn *begin(struct fixture *f)
{
    const struct hf_sandbox_txn_options options = {.write = true, .replicated = true};
    struct hf_sandbox_txn *txn;

    assert_int_equal(hf_sandbox_txn_begin(f->engine, &options, &txn, &f->err), HF_ERR_OK);
    return txn;
}

/* An entry that says nothing, to give the change after it a time. */
static struct hf_sandbox_optime log_note(struct fixture *f, struct hf_sandbox_txn *txn)
{
    bson_t o = BSON_INITIALIZER;
    struct hf_sandbox_optime optime;
    const struct hf_sandbox_entry entry = {.op = "n", .ns = "", .o = &o};

    assert_int_equal(hf_sandbox_txn_log(txn, &entry, &optime, &f->err), HF_ERR_OK);
    bson_destroy(&o);
    return optime;
}

static void commit(struct fixture *f, struct hf_sandbox_txn *txn)
{
    enum hf_err result = hf_sandbox_txn_commit(txn, NULL, &f->err);

    if (result != HF_ERR_OK) {
        print_error("%s\n", f->err.message);
    }
    assert_int_equal(result, HF_ERR_OK);
}

static void create(struct fixture *f, const char *ns, const char *options_json)
{
    struct hf_sandbox_txn *txn = begin(f);
    bson_t *options = bson_new_from_json((const uint8_t *)options_json, -1, NULL);
    uint8_t uuid[16];

    hf_sandbox_uuid_make(uuid);
    (void)log_note(f, txn);
    assert_int_equal(hf_sandbox_coll_create(txn, ns, options, uuid, NULL, &f->err), HF_ERR_OK);
    commit(f, txn);
    bson_destroy(options);
}

static enum hf_err insert(struct fixture *f, const char *ns, const char *json)
{
    struct hf_sandbox_txn *txn = begin(f);
    bson_t *doc = bson_new_from_json((const uint8_t *)json, -1, NULL);
    enum hf_err result;

    (void)log_note(f, txn);
    result = hf_sandbox_coll_insert(txn, hf_sandbox_txn_find(txn, ns), doc, NULL, &f->err);
    if (result == HF_ERR_OK) {
        commit(f, txn);
    } else {
        hf_sandbox_txn_abort(txn);
    }
    bson_destroy(doc);
    return result;
}

static enum hf_err create_index(struct fixture *f, const char *ns, const char *json)
{
    struct hf_sandbox_txn *txn = begin(f);
    bson_t *spec = bson_new_from_json((const uint8_t *)json, -1, NULL);
    enum hf_err result;

    (void)log_note(f, txn);
    result = hf_sandbox_coll_create_index(txn, hf_sandbox_txn_find(txn, ns), spec, &f->err);
    if (result == HF_ERR_OK) {
        commit(f, txn);
    } else {
        hf_sandbox_txn_abort(txn);
    }
    bson_destroy(spec);
    return result;
}

/* The _ids that a scan shows, as one text. */
static void scan_ids(struct fixture *f, const char *ns, struct hf_sandbox_scan_options options,
                     uint64_t read_ts, char *out, size_t out_len)
{
    const struct hf_sandbox_txn_options read = {.read_ts = read_ts};
    struct hf_sandbox_txn *txn;
    struct hf_sandbox_scan *scan;
    bool found;
    bson_t doc;
    size_t len = 0;

    out[0] = '\0';
    assert_int_equal(hf_sandbox_txn_begin(f->engine, &read, &txn, &f->err), HF_ERR_OK);
    assert_int_equal(
        hf_sandbox_scan_open(txn, hf_sandbox_txn_find(txn, ns), &options, &scan, &f->err),
        HF_ERR_OK);
    for (;;) {
        assert_int_equal(hf_sandbox_scan_next(scan, &found, NULL, &doc, &f->err), HF_ERR_OK);
        if (!found) {
            break;
        }
        len += (size_t)snprintf(out + len, out_len - len, "%d ",
                                (int)hf_sandbox_get_int64(&doc, "_id", -1));
    }
    hf_sandbox_scan_close(scan);
    hf_sandbox_txn_abort(txn);
}

static void test_a_document_is_found_by_its_id_changed_and_removed(void **state)
{
    struct fixture *f = *state;
    const bson_value_t id = hf_sandbox_value_of_int32(7);
    struct hf_sandbox_txn *txn;
    struct hf_sandbox_coll *coll;
    bson_t *old;
    bson_t *next = BCON_NEW("_id", BCON_INT32(7), "a", BCON_INT32(2));
    int64_t record;

    create(f, "app.c", "{}");
    assert_int_equal(insert(f, "app.c", "{\"_id\": 7, \"a\": 1}"), HF_ERR_OK);
    txn = begin(f);
    coll = hf_sandbox_txn_find(txn, "app.c");
    assert_int_equal(hf_sandbox_coll_find_id(txn, coll, &id, &record, &old, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_get_int64(old, "a", 0), 1);
    (void)log_note(f, txn);
    assert_int_equal(hf_sandbox_coll_update(txn, coll, record, old, next, &f->err), HF_ERR_OK);
    bson_destroy(old);
    commit(f, txn);

    txn = begin(f);
    coll = hf_sandbox_txn_find(txn, "app.c");
    assert_int_equal(coll->table->records, 1);
    assert_int_equal(hf_sandbox_coll_find_id(txn, coll, &id, &record, &old, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_get_int64(old, "a", 0), 2);
    (void)log_note(f, txn);
    assert_int_equal(hf_sandbox_coll_remove(txn, coll, record, old, &f->err), HF_ERR_OK);
    bson_destroy(old);
    assert_int_equal(hf_sandbox_coll_find_id(txn, coll, &id, &record, &old, &f->err), HF_ERR_OK);
    assert_null(old);
    commit(f, txn);
    bson_destroy(next);
}

static void test_a_duplicate_key_names_index_and_key(void **state)
{
    struct fixture *f = *state;
    struct hf_sandbox_txn *txn;
    bson_t *doc = BCON_NEW("_id", BCON_INT32(2), "a", "{", "b", BCON_INT32(5), "}");
    bson_t value;
    char *text;

    create(f, "app.c", "{}");
    assert_int_equal(
        create_index(f, "app.c",
                     "{\"v\": 2, \"unique\": true, \"key\": {\"a.b\": 1}, \"name\": \"a.b_1\"}"),
        HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 1, \"a\": {\"b\": 5.0}}"), HF_ERR_OK);
    txn = begin(f);
    (void)log_note(f, txn);
    assert_int_equal(
        hf_sandbox_coll_insert(txn, hf_sandbox_txn_find(txn, "app.c"), doc, NULL, &f->err),
        HF_ERR_EXISTS);
    assert_string_equal(f->err.message, "duplicate key in app.c, index a.b_1");
    assert_string_equal(hf_sandbox_get_utf8(hf_sandbox_txn_duplicate(txn), "name", ""), "a.b_1");
    assert_true(hf_sandbox_get_doc(hf_sandbox_txn_duplicate(txn), "keyValue", &value));
    text = bson_as_relaxed_extended_json(&value, NULL);
    assert_string_equal(text, "{ \"a.b\" : 5 }");
    bson_free(text);
    hf_sandbox_txn_abort(txn);
    bson_destroy(doc);
}

static void test_an_index_build_over_duplicates_fails_and_leaves_no_index(void **state)
{
    struct fixture *f = *state;
    struct hf_sandbox_txn *txn;

    create(f, "app.c", "{}");
    assert_int_equal(insert(f, "app.c", "{\"_id\": 1, \"a\": 5}"), HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 2, \"a\": 5}"), HF_ERR_OK);
    assert_int_equal(
        create_index(f, "app.c",
                     "{\"v\": 2, \"unique\": true, \"key\": {\"a\": 1}, \"name\": \"a_1\"}"),
        HF_ERR_EXISTS);
    txn = begin(f);
    assert_int_equal(hf_sandbox_txn_find(txn, "app.c")->index_count, 1);
    hf_sandbox_txn_abort(txn);
}

static void test_only_unique_indexes_have_keys_and_a_sparse_one_not_for_every_document(void **state)
{
    struct fixture *f = *state;
    char ids[64];

    create(f, "app.c", "{}");
    assert_int_equal(create_index(f, "app.c",
                                  "{\"v\": 2, \"unique\": true, \"key\": {\"a.b\": 1, \"c\": 1}, "
                                  "\"name\": \"once\", \"sparse\": true}"),
                     HF_ERR_OK);
    assert_int_equal(
        create_index(f, "app.c", "{\"v\": 2, \"key\": {\"c\": 1}, \"name\": \"plain\"}"),
        HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 1, \"c\": 1}"), HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 2, \"c\": 1, \"a\": {\"b\": 1}}"), HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 3, \"c\": 1.0}"), HF_ERR_EXISTS);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 4}"), HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 5}"), HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 6, \"a\": [{\"b\": 1}]}"), HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 7, \"a\": [{\"b\": 2}]}"), HF_ERR_OK);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 8, \"a\": [{\"b\": 2.0}]}"), HF_ERR_EXISTS);
    scan_ids(f, "app.c", (struct hf_sandbox_scan_options){.index = "_id_"}, 0, ids, sizeof ids);
    assert_string_equal(ids, "1 2 4 5 6 7 ");
}

static void test_two_writers_of_one_document_the_second_conflicts(void **state)
{
    struct fixture *f = *state;
    const bson_value_t id = hf_sandbox_value_of_int32(1);
    bson_t *next = BCON_NEW("_id", BCON_INT32(1), "a", BCON_INT32(2));
    struct hf_sandbox_txn *slow;
    struct hf_sandbox_coll *coll;
    bson_t *old;
    int64_t record;

    create(f, "app.c", "{}");
    assert_int_equal(insert(f, "app.c", "{\"_id\": 1, \"a\": 1}"), HF_ERR_OK);
    slow = begin(f);
    coll = hf_sandbox_txn_find(slow, "app.c");
    assert_int_equal(hf_sandbox_coll_find_id(slow, coll, &id, &record, &old, &f->err), HF_ERR_OK);

    struct hf_sandbox_txn *quick = begin(f);
    (void)log_note(f, quick);
    assert_int_equal(hf_sandbox_coll_update(quick, hf_sandbox_txn_find(quick, "app.c"), record, old,
                                            next, &f->err),
                     HF_ERR_OK);
    commit(f, quick);

    (void)log_note(f, slow);
    assert_int_equal(hf_sandbox_coll_update(slow, coll, record, old, next, &f->err),
                     HF_ERR_CONFLICT);
    hf_sandbox_txn_abort(slow);
    bson_destroy(old);
    bson_destroy(next);
}

static void test_a_dropped_collection_takes_no_more_writes(void **state)
{
    struct fixture *f = *state;
    bson_t *doc = BCON_NEW("_id", BCON_INT32(1));
    const struct hf_sandbox_entry insert_it = {.op = "i", .ns = "app.c", .o = doc};
    struct hf_sandbox_txn *writer;
    struct hf_sandbox_txn *dropper;

    create(f, "app.c", "{}");
    writer = begin(f);
    assert_non_null(hf_sandbox_txn_find(writer, "app.c"));
    dropper = begin(f);
    (void)log_note(f, dropper);
    assert_int_equal(hf_sandbox_coll_drop(dropper, hf_sandbox_txn_find(dropper, "app.c"), &f->err),
                     HF_ERR_OK);
    commit(f, dropper);
    assert_int_equal(hf_sandbox_txn_log(writer, &insert_it, NULL, &f->err), HF_ERR_CONFLICT);
    hf_sandbox_txn_abort(writer);
    bson_destroy(doc);
}

static void test_a_capped_collection_lets_its_oldest_fall_out(void **state)
{
    struct fixture *f = *state;
    char ids[64];

    create(f, "app.c", "{\"capped\": true, \"size\": 4096, \"max\": 3}");
    for (int i = 1; i <= 5; i++) {
        char json[32];

        (void)snprintf(json, sizeof json, "{\"_id\": %d}", i);
        assert_int_equal(insert(f, "app.c", json), HF_ERR_OK);
    }
    scan_ids(f, "app.c", (struct hf_sandbox_scan_options){.index = NULL}, 0, ids, sizeof ids);
    assert_string_equal(ids, "3 4 5 ");
}

static void test_the_past_can_be_read_since_the_majority_point(void **state)
{
    struct fixture *f = *state;
    struct hf_sandbox_optime then;
    char ids[64];

    create(f, "app.c", "{}");
    assert_int_equal(insert(f, "app.c", "{\"_id\": 1}"), HF_ERR_OK);
    then = hf_sandbox_engine_applied(f->engine);
    hf_sandbox_engine_set_majority(f->engine, then);
    assert_int_equal(insert(f, "app.c", "{\"_id\": 2}"), HF_ERR_OK);
    scan_ids(f, "app.c", (struct hf_sandbox_scan_options){.index = NULL}, then.ts, ids, sizeof ids);
    assert_string_equal(ids, "1 ");
    scan_ids(f, "app.c", (struct hf_sandbox_scan_options){.index = NULL}, 0, ids, sizeof ids);
    assert_string_equal(ids, "1 2 ");
}

static void test_a_secondary_refuses_writes_and_keeps_its_oplog(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_txn_options options = {.write = true, .replicated = true};
    struct hf_sandbox_txn *txn;

    hf_sandbox_engine_set_role(f->engine, false, 2);
    assert_int_equal(hf_sandbox_txn_begin(f->engine, &options, &txn, &f->err), HF_ERR_DENIED);
    assert_string_equal(f->err.message, "not primary");
    hf_sandbox_engine_set_role(f->engine, true, 2);
    txn = begin(f);
    assert_int_equal(log_note(f, txn).term, 2);
    hf_sandbox_txn_abort(txn);
}

static void test_a_second_engine_on_the_directory_is_refused(void **state)
{
    struct fixture *f = *state;
    const struct hf_sandbox_engine_options options = {.dbpath = f->dir};
    struct hf_sandbox_engine *second;

    assert_int_equal(hf_sandbox_engine_open(&options, &second, &f->err), HF_ERR_CONFLICT);
}

/* ---- Transactions of sessions ---- */

static struct hf_sandbox_txn *begin_multi(struct fixture *f)
{
    const struct hf_sandbox_txn_options options = {
        .write = true, .replicated = true, .multi = true};
    struct hf_sandbox_txn *txn;

    assert_int_equal(hf_sandbox_txn_begin(f->engine, &options, &txn, &f->err), HF_ERR_OK);
    return txn;
}

static void insert_in(struct fixture *f, struct hf_sandbox_txn *txn, const char *ns, int id)
{
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(txn, ns);
    bson_t *doc = BCON_NEW("_id", BCON_INT32(id));
    const struct hf_sandbox_entry entry = {.op = "i", .ns = ns, .uuid = coll->uuid, .o = doc};

    assert_int_equal(hf_sandbox_txn_log(txn, &entry, NULL, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_coll_insert(txn, coll, doc, NULL, &f->err), HF_ERR_OK);
    bson_destroy(doc);
}

static int64_t records(struct fixture *f, const char *ns, uint64_t read_ts)
{
    const struct hf_sandbox_txn_options options = {.read_ts = read_ts};
    struct hf_sandbox_txn *txn;
    struct hf_sandbox_scan *scan;
    bool found = true;
    bson_t doc;
    int64_t count = -1;

    assert_int_equal(hf_sandbox_txn_begin(f->engine, &options, &txn, &f->err), HF_ERR_OK);
    assert_int_equal(hf_sandbox_scan_open(txn, hf_sandbox_txn_find(txn, ns),
                                          &(struct hf_sandbox_scan_options){.index = NULL}, &scan,
                                          &f->err),
                     HF_ERR_OK);
    for (; found; count++) {
        assert_int_equal(hf_sandbox_scan_next(scan, &found, NULL, &doc, &f->err), HF_ERR_OK);
    }
    hf_sandbox_scan_close(scan);
    hf_sandbox_txn_abort(txn);
    return count;
}

static void test_a_sessions_transaction_gathers_and_appears_at_the_time_of_its_entries(void **state)
{
    struct fixture *f = *state;
    struct hf_sandbox_txn *data, *under;
    struct hf_sandbox_optime before, at;
    size_t count;

    create(f, "a.c", "{}");
    data = begin_multi(f);
    before = hf_sandbox_engine_applied(f->engine);
    insert_in(f, data, "a.c", 1);
    insert_in(f, data, "a.c", 2);
    assert_int_equal(insert(f, "a.c", "{\"_id\": 3}"), HF_ERR_OK); /* it holds nobody up */
    assert_int_equal(records(f, "a.c", 0), 1);
    (void)hf_sandbox_txn_ops(data, &count);
    assert_int_equal(count, 2);
    under = begin(f);
    at = log_note(f, under);
    assert_true(at.ts > before.ts);
    assert_int_equal(hf_sandbox_txn_join(data, under, &f->err), HF_ERR_OK);
    commit(f, under);
    assert_int_equal(records(f, "a.c", 0), 3);
    assert_int_equal(records(f, "a.c", at.ts - 1), 1);
    assert_int_equal(records(f, "a.c", at.ts), 3);
}

static void test_times_that_are_reserved_are_given_to_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct hf_sandbox_txn *txn = begin(f);
    bson_t o = BSON_INITIALIZER;
    const struct hf_sandbox_entry entry = {
        .op = "n", .ns = "", .o = &o, .before = 1000, .behind = 2000};
    struct hf_sandbox_optime first = log_note(f, txn), at, next;

    assert_int_equal(hf_sandbox_txn_log(txn, &entry, &at, &f->err), HF_ERR_OK);
    commit(f, txn);
    txn = begin(f);
    next = log_note(f, txn);
    commit(f, txn);
    assert_true(at.ts > first.ts + 1000);
    assert_true(next.ts > at.ts + 2000);
    bson_destroy(&o);
}

static void test_a_sessions_transaction_does_not_outlive_its_collection(void **state)
{
    struct fixture *f = *state;
    struct hf_sandbox_txn *data, *under;

    create(f, "a.c", "{}");
    data = begin_multi(f);
    insert_in(f, data, "a.c", 1);
    assert_int_equal(create_index(f, "a.c", "{\"v\": 2, \"key\": {\"n\": 1}, \"name\": \"n_1\"}"),
                     HF_ERR_OK);
    under = begin(f);
    (void)log_note(f, under);
    assert_int_equal(hf_sandbox_txn_join(data, under, &f->err), HF_ERR_CONFLICT);
    hf_sandbox_txn_abort(under);
    assert_int_equal(records(f, "a.c", 0), 0);
    data = begin_multi(f);
    insert_in(f, data, "a.c", 1);
    assert_true(hf_sandbox_txn_pin(data, NULL)); /* then nobody changes it */
    assert_int_equal(create_index(f, "a.c", "{\"v\": 2, \"key\": {\"m\": 1}, \"name\": \"m_1\"}"),
                     HF_ERR_CONFLICT);
    hf_sandbox_txn_abort(data);
    assert_int_equal(create_index(f, "a.c", "{\"v\": 2, \"key\": {\"m\": 1}, \"name\": \"m_1\"}"),
                     HF_ERR_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_document_is_found_by_its_id_changed_and_removed),
        TEST(test_a_duplicate_key_names_index_and_key),
        TEST(test_an_index_build_over_duplicates_fails_and_leaves_no_index),
        TEST(test_only_unique_indexes_have_keys_and_a_sparse_one_not_for_every_document),
        TEST(test_two_writers_of_one_document_the_second_conflicts),
        TEST(test_a_dropped_collection_takes_no_more_writes),
        TEST(test_a_capped_collection_lets_its_oldest_fall_out),
        TEST(test_the_past_can_be_read_since_the_majority_point),
        TEST(test_a_secondary_refuses_writes_and_keeps_its_oplog),
        TEST(test_a_sessions_transaction_gathers_and_appears_at_the_time_of_its_entries),
        TEST(test_times_that_are_reserved_are_given_to_nobody_else),
        TEST(test_a_sessions_transaction_does_not_outlive_its_collection),
        TEST(test_a_second_engine_on_the_directory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
