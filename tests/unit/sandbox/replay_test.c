/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded oplog of a real server, replayed from its first entry: the collections must be what the real server's
 * were, by options, UUID, indexes, number and hash. What an entry of each kind does, and what ends a recovery.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/compress.h"
#include "codec/hash.h"
#include "os/fs.h"
#include "sandbox/engine_internal.h"
#include "sandbox/pipeline.h"
#include "sandbox/value.h"

#ifdef __SANITIZE_THREAD__
/* WiredTiger is not built with the sanitizer: what it does on its own threads looks like races. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

#define OPLOG_BYTES 6844024
#define OPLOG_ENTRIES 11765
#define FILE_MAX_BYTES (16 << 20)

struct fixture {
    char *dir;
    struct hf_sandbox_engine *engine;
    struct hf_error err;
};

#define OK(call) assert_int_equal(must(call, &f->err), HF_ERR_OK)

static enum hf_err must(enum hf_err result, const struct hf_error *err)
{
    if (result != HF_ERR_OK) {
        print_error("%s\n", err->message);
    }
    return result;
}

static int setup(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);

    *state = f;
    return f == NULL || hf_fs_make_temp_dir("hf-replay", &f->dir, &f->err) != HF_ERR_OK ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->engine != NULL) {
        hf_sandbox_ignore(hf_sandbox_engine_close(f->engine, &f->err)); /* the test has failed */
    }
    int result = hf_fs_remove_tree(f->dir, &f->err) == HF_ERR_OK ? 0 : -1;

    hf_free(f->dir);
    hf_free(f);
    return result;
}

static char *fixture_path(const char *name)
{
    const char *fixtures = getenv("HF_TEST_FIXTURES");
    char *path = hf_asprintf("%s/%s", fixtures == NULL ? "tests/fixtures" : fixtures, name);

    assert_non_null(path);
    return path;
}

static void read_fixture(struct fixture *f, const char *name, struct hf_buf *out)
{
    HF_CLEANUP(hf_free) char *path = fixture_path(name);

    OK(hf_fs_read_whole(path, FILE_MAX_BYTES, out, &f->err));
}

/* ---- Engines and entries ---- */

static void open_as(struct fixture *f, struct hf_sandbox_engine_options options)
{
    options.dbpath = f->dir;
    options.log_file_bytes = 1 << 20;
    OK(hf_sandbox_engine_open(&options, &f->engine, &f->err));
}

static void open_plain(struct fixture *f)
{
    open_as(f, (struct hf_sandbox_engine_options){.replicated = false});
}

static const struct hf_sandbox_engine_options recovering = {.recover_from_oplog = true,
                                                            .unstable_checkpoint = true};

static void shut(struct fixture *f)
{
    OK(hf_sandbox_engine_close(f->engine, &f->err));
    f->engine = NULL;
}

/* A member whose history is that entry, with a checkpoint at it. What a real one writes before it has an oplog is one
 * collection, whose UUID an entry names later. */
static void begin_with(struct fixture *f, const bson_t *entry)
{
    static const uint8_t uuid[HF_SANDBOX_UUID_BYTES] = {0xb8, 0x9e, 0xce, 0xb0, 0xd3, 0xd9,
                                                        0x47, 0xa3, 0x9d, 0x97, 0x74, 0xc9,
                                                        0x6e, 0x20, 0x68, 0x83};
    HF_CLEANUP(bson_destroy)
    bson_t *fcv = BCON_NEW("_id", "featureCompatibilityVersion", "version", "4.4");
    const bson_t none = BSON_INITIALIZER;
    struct hf_sandbox_coll *coll;
    struct hf_sandbox_txn *txn;

    open_as(f, (struct hf_sandbox_engine_options){.replicated = true});
    OK(hf_sandbox_oplog_create(f->engine, &f->err));
    OK(hf_sandbox_local_set_min_valid(f->engine, NULL, HF_SANDBOX_OPTIME_NONE,
                                      HF_SANDBOX_OPTIME_NONE, &f->err));
    OK(hf_sandbox_txn_begin(f->engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_REPLAY), &txn, &f->err));
    OK(hf_sandbox_oplog_put(txn, entry, &f->err));
    OK(hf_sandbox_coll_create(txn, "admin.system.version", &none, uuid, &coll, &f->err));
    OK(hf_sandbox_coll_insert(txn, coll, fcv, NULL, &f->err));
    OK(hf_sandbox_txn_commit(txn, NULL, &f->err));
    OK(hf_sandbox_engine_set_stable(f->engine, hf_sandbox_get_ts(entry, "ts"), &f->err));
    OK(hf_sandbox_engine_checkpoint(f->engine, &f->err));
    shut(f);
}

static struct hf_sandbox_txn *write_local(struct fixture *f)
{
    const struct hf_sandbox_txn_options write = {.write = true};
    struct hf_sandbox_txn *txn;

    OK(hf_sandbox_txn_begin(f->engine, &write, &txn, &f->err));
    return txn;
}

static void add_entry(struct fixture *f, struct hf_sandbox_txn *txn, const bson_t *entry)
{
    OK(hf_sandbox_coll_insert(txn, hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS), entry, NULL,
                              &f->err));
}

/* ---- The recorded oplog ---- */

/* Into a new data directory: the first entry as its history, the others as a plain standalone adds them. */
static void add_recorded(struct fixture *f)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf packed = HF_BUF_INIT(FILE_MAX_BYTES);
    HF_CLEANUP(hf_decompressor_destroy)
    struct hf_decompressor *decompressor = hf_decompressor_create();
    HF_CLEANUP(hf_free) uint8_t *bytes = hf_alloc_zero(OPLOG_BYTES);
    struct hf_sandbox_txn *txn = NULL;
    size_t at = 0, count = 0;
    bson_t entry;

    assert_true(bytes != NULL && decompressor != NULL);
    read_fixture(f, "oplog-slice.bson.zst", &packed);
    OK(hf_decompress(decompressor, hf_buf_bytes(&packed), bytes, OPLOG_BYTES, &f->err));
    for (; at < OPLOG_BYTES; at += entry.len, count++) {
        assert_true(bson_init_static(&entry, bytes + at, hf_load_le32(bytes + at)));
        if (count == 0) {
            begin_with(f, &entry);
            open_plain(f);
        } else {
            txn = txn == NULL ? write_local(f) : txn;
            add_entry(f, txn, &entry);
        }
        if (count > 0 && count % 1000 == 0) {
            OK(hf_sandbox_txn_commit(HF_TAKE(txn), NULL, &f->err));
        }
    }
    OK(hf_sandbox_txn_commit(txn, NULL, &f->err));
    shut(f);
    assert_int_equal(count, OPLOG_ENTRIES);
}

/* ---- Comparing with what the real server had ---- */

static int64_t hash(struct fixture *f, struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                    char hex[33])
{
    const struct hf_sandbox_scan_options natural = {.index = NULL};
    HF_CLEANUP(hf_sandbox_docs_fini) struct hf_sandbox_docs docs = {.items = NULL};
    HF_CLEANUP(bson_destroy)
    bson_t *stages = BCON_NEW("0", "{", "$sort", "{", "_id", BCON_INT32(1), "}", "}");
    HF_CLEANUP(hf_md5_destroy) struct hf_md5 *md5 = hf_md5_create();
    struct hf_sandbox_refusal no;
    struct hf_sandbox_scan *scan;
    bool found = true;
    bson_t doc;

    assert_non_null(md5);
    OK(hf_sandbox_scan_open(txn, coll, &natural, &scan, &f->err));
    while (found) {
        OK(hf_sandbox_scan_next(scan, &found, NULL, &doc, &f->err));
        if (found) {
            assert_int_equal(hf_sandbox_docs_add_take(&docs, bson_copy(&doc), &no), 0);
        }
    }
    hf_sandbox_scan_close(scan);
    if (!coll->capped) {
        assert_int_equal(hf_sandbox_pipeline_run(stages, 0, &docs, &no), 0);
    }
    for (size_t i = 0; i < docs.count; i++) {
        hf_md5_update(md5, hf_bytes_of(bson_get_data(docs.items[i]), docs.items[i]->len));
    }
    hf_md5_end(md5, hex);
    return (int64_t)docs.count;
}

static void assert_doc_equal(const char *what, const bson_t *have, const bson_t *want)
{
    if (!bson_equal(have, want)) {
        char *texts[] = {bson_as_canonical_extended_json(have, NULL),
                         bson_as_canonical_extended_json(want, NULL)};

        print_error("%s: %s, not %s\n", what, texts[0], texts[1]);
        bson_free(texts[0]);
        bson_free(texts[1]);
        fail();
    }
}

/* The indexes are in no order. */
static void compare_indexes(struct hf_sandbox_coll *coll, const bson_t *want)
{
    assert_int_equal(coll->index_count, bson_count_keys(want));
    HF_SANDBOX_EACH (iter, want, true) {
        const struct hf_sandbox_index *index;
        bson_t spec;

        assert_true(hf_sandbox_value_doc(bson_iter_value(&iter), &spec));
        index = hf_sandbox_coll_index_named(coll, hf_sandbox_get_utf8(&spec, "name", ""));
        if (index == NULL) {
            print_error("%s has no index %s\n", coll->ns, hf_sandbox_get_utf8(&spec, "name", ""));
            fail();
        }
        assert_doc_equal(coll->ns, index->spec, &spec);
    }
}

/* A capped collection that overflowed holds all that ever was in it: recovery lets nothing fall out. */
static void compare_coll(struct fixture *f, struct hf_sandbox_txn *txn, const char *ns,
                         const bson_t *want)
{
    struct hf_sandbox_coll *coll = hf_sandbox_txn_find(txn, ns);
    int64_t count = hf_sandbox_get_int64(want, "count", -1);
    bson_t options, indexes;
    bson_value_t uuid;
    char hex[33];

    if (coll == NULL) {
        print_error("%s is missing\n", ns);
        fail();
    }
    assert_true(hf_sandbox_get_doc(want, "options", &options) &&
                hf_sandbox_get_doc(want, "indexes", &indexes) &&
                hf_sandbox_get(want, "uuid", &uuid));
    assert_doc_equal(ns, coll->options, &options);
    assert_memory_equal(coll->uuid, uuid.value.v_binary.data, HF_SANDBOX_UUID_BYTES);
    compare_indexes(coll, &indexes);
    if (strcmp(ns, "shop.audit") == 0) {
        assert_true(hash(f, txn, coll, hex) >= count);
        return;
    }
    if (hash(f, txn, coll, hex) != count ||
        strcmp(hex, hf_sandbox_get_utf8(want, "dbHash", "")) != 0) {
        print_error("%s: %lld documents, not %lld; hash %s\n", ns,
                    (long long)hash(f, txn, coll, hex), (long long)count, hex);
        fail();
    }
}

/* Every collection of the point, and no other. */
static void compare(struct fixture *f, const bson_t *point)
{
    HF_CLEANUP(hf_free) struct hf_sandbox_coll **list = NULL;
    struct hf_sandbox_txn *txn;
    bson_t databases, database, colls, coll;
    size_t expected = 0, count, others = 0;

    OK(hf_sandbox_txn_begin(f->engine, HF_SANDBOX_READS, &txn, &f->err));
    assert_true(hf_sandbox_get_doc(point, "databases", &databases));
    HF_SANDBOX_EACH (db, &databases, true) {
        assert_true(hf_sandbox_value_doc(bson_iter_value(&db), &database) &&
                    hf_sandbox_get_doc(&database, "collections", &colls));
        HF_SANDBOX_EACH (one, &colls, true) {
            HF_CLEANUP(hf_free)
            char *ns = hf_asprintf("%s.%s", bson_iter_key(&db), bson_iter_key(&one));

            assert_true(ns != NULL && hf_sandbox_value_doc(bson_iter_value(&one), &coll));
            if (strcmp(hf_sandbox_get_utf8(&coll, "type", ""), "collection") == 0) {
                compare_coll(f, txn, ns, &coll);
                expected++;
            }
        }
    }
    OK(hf_sandbox_txn_list(txn, NULL, &list, &count, &f->err));
    for (size_t i = 0; i < count; i++) {
        others += !list[i]->local;
    }
    assert_int_equal(others, expected);
    hf_sandbox_txn_abort(txn);
}

static void replay_to(struct fixture *f, const char *name)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(FILE_MAX_BYTES);
    HF_CLEANUP(bson_destroy) bson_t *expect = NULL;
    bson_t points, point;

    read_fixture(f, "expect-after.json", &text);
    expect = bson_new_from_json(text.data, (ssize_t)text.len, NULL);
    assert_true(expect != NULL && hf_sandbox_get_doc(expect, "points", &points));
    add_recorded(f);
    HF_SANDBOX_EACH (iter, &points, true) {
        assert_true(hf_sandbox_value_doc(bson_iter_value(&iter), &point));
        if (strcmp(hf_sandbox_get_utf8(&point, "name", ""), name) == 0) {
            break;
        }
    }
    open_plain(f);
    OK(hf_sandbox_local_set_truncate_after(f->engine, hf_sandbox_get_ts(&point, "ts"), &f->err));
    shut(f);
    open_as(f, recovering);
    compare(f, &point);
    assert_int_equal(hf_sandbox_engine_applied(f->engine).ts, hf_sandbox_get_ts(&point, "ts"));
    shut(f);
    open_plain(f); /* and they stay */
    compare(f, &point);
    shut(f);
}

static void test_the_recorded_oplog_gives_the_recorded_hashes_after_ordinary_writes(void **state)
{
    replay_to(*state, "P1");
}

static void test_the_recorded_oplog_gives_the_recorded_hashes_after_definitions(void **state)
{
    replay_to(*state, "P2");
}

static void test_the_recorded_oplog_gives_the_recorded_hashes_after_transactions(void **state)
{
    replay_to(*state, "P3");
}

/* ---- Kinds of entries ---- */

#define FIRST_S 1700000000
#define UI(n) "'ui': {'$binary': {'base64': 'AAAAAAAAAAAAAAAAAAAAA" n "==', 'subType': '04'}}"
#define SESSION                                                                                    \
    "'lsid': {'id': {'$binary': {'base64': 'F1AfaPJPRGugzKm9FZHPzw==', 'subType': '04'}}}, "       \
    "'txnNumber': {'$numberLong': '1'}, "
#define BEFORE(i) "'prevOpTime': {'ts': {'$timestamp': {'t': 1700000000, 'i': " #i "}}, 't': 1}"
#define NONE_BEFORE "'prevOpTime': {'ts': {'$timestamp': {'t': 0, 'i': 0}}, 't': -1}"
#define CREATE(name, n) "{'op': 'c', 'ns': 's.$cmd', " UI(n) ", 'o': {'create': '" name "'}}"
#define INSERT(name, n, id) "{'op': 'i', 'ns': 's." name "', " UI(n) ", 'o': {'_id': " #id "}}"

/* With single quotes for double ones; ts, t, wall and v are added, ts counts up from 1. */
static bson_t *entry_of(const char *json, uint32_t i)
{
    HF_CLEANUP(hf_free) char *text = hf_strdup(json);
    bson_t *entry;

    assert_non_null(text);
    for (char *at = text; (at = strchr(at, '\'')) != NULL;) {
        *at = '"';
    }
    entry = bson_new_from_json((const uint8_t *)text, -1, NULL);
    assert_non_null(entry);
    BCON_APPEND(entry, "ts", BCON_TIMESTAMP(FIRST_S, (int32_t)i), "t", BCON_INT64(1), "wall",
                BCON_DATE_TIME(0), "v", BCON_INT64(2));
    return entry;
}

/* A member whose oplog has these entries behind the checkpoint. */
static void have(struct fixture *f, const char *const *entries, uint32_t count)
{
    HF_CLEANUP(bson_destroy)
    bson_t *first = entry_of("{'op': 'n', 'ns': '', 'o': {'msg': 'initiating set'}}", 1);
    struct hf_sandbox_txn *txn;

    begin_with(f, first);
    open_plain(f);
    txn = write_local(f);
    for (uint32_t i = 0; i < count; i++) {
        HF_CLEANUP(bson_destroy) bson_t *entry = entry_of(entries[i], i + 2);

        add_entry(f, txn, entry);
    }
    OK(hf_sandbox_txn_commit(txn, NULL, &f->err));
    shut(f);
}

#define HAVE(...)                                                                                  \
    have(f, (const char *const[]){__VA_ARGS__}, HF_ARRAY_LEN(((const char *const[]){__VA_ARGS__})))

static void assert_ends(struct fixture *f, const char *message)
{
    struct hf_sandbox_engine_options options = recovering;

    options.dbpath = f->dir;
    assert_int_not_equal(hf_sandbox_engine_open(&options, &f->engine, &f->err), HF_ERR_OK);
    if (strstr(f->err.message, message) == NULL) {
        print_error("%s\n", f->err.message);
        fail();
    }
    f->engine = NULL;
}

/* A checkpoint at the entry with that number. */
static void checkpoint_at(struct fixture *f, uint32_t i)
{
    open_as(f, (struct hf_sandbox_engine_options){.replicated = true});
    OK(hf_sandbox_engine_set_stable(f->engine, HF_SANDBOX_TS(FIRST_S, i), &f->err));
    OK(hf_sandbox_engine_checkpoint(f->engine, &f->err));
    shut(f);
}

/* Takes entries out of the oplog by hand, on a plain standalone, which is left open. */
static void lose_entries(struct fixture *f, uint32_t from, uint32_t to)
{
    struct hf_sandbox_txn *txn;
    struct hf_sandbox_coll *oplog;

    open_plain(f);
    txn = write_local(f);
    oplog = hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS);
    for (uint32_t i = from; i <= to; i++) {
        int64_t record = (int64_t)HF_SANDBOX_TS(FIRST_S, i);
        HF_CLEANUP(bson_destroy) bson_t *entry = NULL;

        OK(hf_sandbox_coll_get(txn, oplog, record, &entry, &f->err));
        OK(hf_sandbox_coll_remove(txn, oplog, record, entry, &f->err));
    }
    OK(hf_sandbox_txn_commit(txn, NULL, &f->err));
}

/* -1: there is no such collection. */
static int64_t count_of(struct fixture *f, const char *ns)
{
    struct hf_sandbox_txn *txn;
    struct hf_sandbox_coll *coll;
    char hex[33];
    int64_t count = -1;

    OK(hf_sandbox_txn_begin(f->engine, HF_SANDBOX_READS, &txn, &f->err));
    coll = hf_sandbox_txn_find(txn, ns);
    count = coll == NULL ? -1 : hash(f, txn, coll, hex);
    hf_sandbox_txn_abort(txn);
    return count;
}

static void test_an_entry_of_an_unknown_command_ends_the_recovery_by_its_name(void **state)
{
    struct fixture *f = *state;

    HAVE(CREATE("a", "A"), "{'op': 'c', 'ns': 's.$cmd', 'o': {'frobnicate': 'a'}}",
         INSERT("a", "A", 1));
    assert_ends(f, "apply the entry of 1700000000.3: Unknown oplog entry command type: frobnicate");
    assert_ends(f, "frobnicate"); /* and nothing of it is taken for done */
}

static void test_an_unknown_command_inside_applyops_ends_the_recovery_too(void **state)
{
    struct fixture *f = *state;

    HAVE("{'op': 'c', 'ns': 'admin.$cmd', 'o': {'applyOps': [{'op': 'c', 'ns': 's.$cmd', 'o': "
         "{'frobnicate': 1}}]}}");
    assert_ends(f, "Unknown oplog entry command type: frobnicate");
}

static void test_definitions_change_options_and_indexes(void **state)
{
    struct fixture *f = *state;
    struct hf_sandbox_txn *txn;
    struct hf_sandbox_coll *coll;

    HAVE(
        CREATE("a", "A"), INSERT("a", "A", 1),
        "{'op': 'c', 'ns': 's.$cmd', " UI("A") ", 'o': {'createIndexes': 'a', 'v': 2, 'key': {'n': "
                                               "1}, 'name': 'n_1', 'expireAfterSeconds': 5}}",
        "{'op': 'c', 'ns': 's.$cmd', " UI("A") ", 'o': {'collMod': 'a', 'index': {'name': 'n_1', "
                                               "'hidden': true}}}",
        "{'op': 'c', 'ns': 's.$cmd', " UI("A") ", 'o': {'collMod': 'a', 'index': {'name': 'n_1', "
                                               "'expireAfterSeconds': 7}}}",
        "{'op': 'c', 'ns': 's.$cmd', " UI("A") ", 'o': {'collMod': 'a', 'validator': {'n': 1}, "
                                               "'validationLevel': 'strict'}}",
        CREATE("b", "Q"), INSERT("b", "Q", 1), INSERT("b", "Q", 2),
        "{'op': 'c', 'ns': 's.$cmd', " UI("Q") ", 'o': {'convertToCapped': 'b', 'size': 4096}}",
        "{'op': 'c', 'ns': 's.$cmd', " UI("Q") ", 'o': {'emptycapped': 'b'}}", INSERT("b", "Q", 3));
    open_as(f, recovering);
    OK(hf_sandbox_txn_begin(f->engine, HF_SANDBOX_READS, &txn, &f->err));
    coll = hf_sandbox_txn_find(txn, "s.a");
    assert_non_null(coll);
    assert_true(hf_sandbox_get_true(coll->indexes[1]->spec, "hidden"));
    assert_int_equal(hf_sandbox_get_int64(coll->indexes[1]->spec, "expireAfterSeconds", 0), 7);
    assert_string_equal(hf_sandbox_get_utf8(coll->options, "validationLevel", ""), "strict");
    coll = hf_sandbox_txn_find(txn, "s.b");
    assert_true(coll != NULL && coll->capped && coll->cap_bytes == 4096);
    hf_sandbox_txn_abort(txn);
    assert_int_equal(count_of(f, "s.b"), 1);
    shut(f);
}

static void test_a_build_that_was_aborted_leaves_no_index(void **state)
{
    struct fixture *f = *state;
    struct hf_sandbox_txn *txn;

    HAVE(CREATE("a", "A"), INSERT("a", "A", 1),
         "{'op': 'c', 'ns': 's.$cmd', " UI("A") ", 'o': {'startIndexBuild': 'a', 'indexes': [{'v': "
                                                "2, 'key': {'n': 1}, 'name': 'n_1'}]}}",
         "{'op': 'c', 'ns': 's.$cmd', " UI("A") ", 'o': {'abortIndexBuild': 'a', 'indexes': [{'v': "
                                                "2, 'key': {'n': 1}, 'name': 'n_1'}]}}");
    open_as(f, recovering);
    OK(hf_sandbox_txn_begin(f->engine, HF_SANDBOX_READS, &txn, &f->err));
    assert_int_equal(hf_sandbox_txn_find(txn, "s.a")->index_count, 1);
    hf_sandbox_txn_abort(txn);
    shut(f);
}

#define TRANSACTION(ops, more, before)                                                             \
    "{" SESSION "'op': 'c', 'ns': 'admin.$cmd', 'o': {'applyOps': [" ops "]" more "}, " before "}"
#define SESSIONS                                                                                   \
    CREATE("a", "A"),                                                                              \
        "{'op': 'c', 'ns': 'config.$cmd', " UI("g") ", 'o': {'create': 'transactions'}}"

/* Its document in config.transactions; the caller's. */
static bson_t *session_of(struct fixture *f)
{
    struct hf_sandbox_scan *scan;
    struct hf_sandbox_txn *txn;
    bool found;
    bson_t doc, *copy;

    OK(hf_sandbox_txn_begin(f->engine, HF_SANDBOX_READS, &txn, &f->err));
    OK(hf_sandbox_scan_open(txn, hf_sandbox_txn_find(txn, "config.transactions"),
                            &(struct hf_sandbox_scan_options){.index = NULL}, &scan, &f->err));
    OK(hf_sandbox_scan_next(scan, &found, NULL, &doc, &f->err));
    assert_true(found);
    copy = bson_copy(&doc);
    hf_sandbox_scan_close(scan);
    hf_sandbox_txn_abort(txn);
    return copy;
}

static void assert_session(struct fixture *f, const char *state, uint32_t start)
{
    HF_CLEANUP(bson_destroy) bson_t *doc = session_of(f);

    assert_string_equal(hf_sandbox_get_utf8(doc, "state", ""), state);
    assert_int_equal((uint32_t)hf_sandbox_get_optime(doc, "startOpTime").ts, start);
}

static void test_a_transaction_of_several_entries_takes_effect_with_the_last(void **state)
{
    struct fixture *f = *state;

    HAVE(SESSIONS, TRANSACTION(INSERT("a", "A", 1), ", 'partialTxn': true", NONE_BEFORE),
         TRANSACTION(INSERT("a", "A", 2) "," CREATE("b", "Q"), ", 'partialTxn': true", BEFORE(4)),
         TRANSACTION(INSERT("b", "Q", 1), ", 'count': {'$numberLong': '4'}", BEFORE(5)));
    open_plain(f); /* as far as the second part */
    OK(hf_sandbox_local_set_truncate_after(f->engine, HF_SANDBOX_TS(FIRST_S, 5), &f->err));
    shut(f);
    open_as(f, (struct hf_sandbox_engine_options){.recover_from_oplog = true});
    assert_int_equal(count_of(f, "s.a"), 0);
    assert_int_equal(count_of(f, "s.b"), -1);
    assert_session(f, "inProgress", 4);
    shut(f);
    open_plain(f); /* nothing was kept: to the end */
    struct hf_sandbox_txn *txn = write_local(f);
    HF_CLEANUP(bson_destroy)
    bson_t *last =
        entry_of(TRANSACTION(INSERT("b", "Q", 1), ", 'count': {'$numberLong': '4'}", BEFORE(5)), 6);
    add_entry(f, txn, last);
    OK(hf_sandbox_txn_commit(txn, NULL, &f->err));
    shut(f);
    open_as(f, recovering);
    assert_int_equal(count_of(f, "s.a"), 2);
    assert_int_equal(count_of(f, "s.b"), 1);
    assert_session(f, "committed", 0);
    shut(f);
}

#define PREPARED                                                                                   \
    TRANSACTION(INSERT("a", "A", 1), ", 'partialTxn': true", NONE_BEFORE),                         \
        TRANSACTION(INSERT("a", "A", 2), ", 'prepare': true", BEFORE(4))
#define END(command) "{" SESSION "'op': 'c', 'ns': 'admin.$cmd', 'o': {" command "}, " BEFORE(5) "}"

static void test_a_prepared_transaction_takes_effect_when_it_is_committed(void **state)
{
    struct fixture *f = *state;

    HAVE(SESSIONS, PREPARED, INSERT("a", "A", 3),
         END("'commitTransaction': 1, 'commitTimestamp': {'$timestamp': {'t': 1700000000, 'i': "
             "5}}"));
    open_plain(f);
    OK(hf_sandbox_local_set_truncate_after(f->engine, HF_SANDBOX_TS(FIRST_S, 6), &f->err));
    shut(f);
    open_as(f, recovering);
    assert_int_equal(count_of(f, "s.a"), 1);
    assert_session(f, "prepared", 4);
    shut(f);
}

static void test_a_commit_finds_what_was_prepared_before_the_checkpoint(void **state)
{
    struct fixture *f = *state;

    HAVE(SESSIONS, PREPARED);
    checkpoint_at(f, 5);
    open_plain(f);
    struct hf_sandbox_txn *txn = write_local(f);
    HF_CLEANUP(bson_destroy) bson_t *commit = entry_of(END("'commitTransaction': 1"), 6);
    add_entry(f, txn, commit);
    OK(hf_sandbox_txn_commit(txn, NULL, &f->err));
    assert_int_equal(count_of(f, "s.a"), 0);
    shut(f);
    open_as(f, recovering);
    assert_int_equal(count_of(f, "s.a"), 2);
    assert_session(f, "committed", 0);
    shut(f);
}

static void test_a_prepared_transaction_that_is_aborted_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    HAVE(SESSIONS, PREPARED, END("'abortTransaction': 1"));
    open_as(f, recovering);
    assert_int_equal(count_of(f, "s.a"), 0);
    assert_session(f, "aborted", 0);
    shut(f);
}

static void test_a_commit_whose_parts_are_missing_ends_the_recovery(void **state)
{
    struct fixture *f = *state;

    HAVE(SESSIONS, INSERT("a", "A", 9), INSERT("a", "A", 10),
         "{" SESSION
         "'op': 'c', 'ns': 'admin.$cmd', 'o': {'commitTransaction': 1}, " BEFORE(7) "}");
    assert_ends(f, "the oplog no longer has the entry of 1700000000.7 of a transaction");
}

static void test_a_transaction_that_names_itself_as_its_part_ends_the_recovery(void **state)
{
    struct fixture *f = *state;

    HAVE(SESSIONS, INSERT("a", "A", 9), END("'commitTransaction': 1"));
    assert_ends(f, "the oplog no longer has the entry of 1700000000.5 of a transaction");
}

static void test_a_list_of_the_command_applyops_needs_no_session(void **state)
{
    struct fixture *f = *state;

    HAVE(CREATE("a", "A"),
         "{'op': 'c', 'ns': 'admin.$cmd', 'o': {'applyOps': [" INSERT("a", "A", 1) "," INSERT(
             "a", "A", 2) "], 'lsid': {'id': 1}, '$db': 'admin'}}");
    open_as(f, recovering);
    assert_int_equal(count_of(f, "s.a"), 2);
    shut(f);
}

static void test_data_ahead_of_the_oplog_are_fatal_40313(void **state)
{
    struct fixture *f = *state;

    HAVE(CREATE("a", "A"), INSERT("a", "A", 1), INSERT("a", "A", 2));
    checkpoint_at(f, 4);
    lose_entries(f, 4, 4);
    shut(f);
    assert_ends(f, "40313");
}

static void test_a_point_below_the_oplogs_first_entry_is_fatal_40296(void **state)
{
    struct fixture *f = *state;

    HAVE(CREATE("a", "A"), INSERT("a", "A", 1), INSERT("a", "A", 2));
    lose_entries(f, 1, 3);
    OK(hf_sandbox_local_set_truncate_after(f->engine, HF_SANDBOX_TS(FIRST_S, 2), &f->err));
    shut(f);
    assert_ends(f, "40296");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_recorded_oplog_gives_the_recorded_hashes_after_ordinary_writes),
        TEST(test_the_recorded_oplog_gives_the_recorded_hashes_after_definitions),
        TEST(test_the_recorded_oplog_gives_the_recorded_hashes_after_transactions),
        TEST(test_an_entry_of_an_unknown_command_ends_the_recovery_by_its_name),
        TEST(test_an_unknown_command_inside_applyops_ends_the_recovery_too),
        TEST(test_definitions_change_options_and_indexes),
        TEST(test_a_build_that_was_aborted_leaves_no_index),
        TEST(test_a_transaction_of_several_entries_takes_effect_with_the_last),
        TEST(test_a_prepared_transaction_takes_effect_when_it_is_committed),
        TEST(test_a_commit_finds_what_was_prepared_before_the_checkpoint),
        TEST(test_a_prepared_transaction_that_is_aborted_leaves_nothing),
        TEST(test_a_commit_whose_parts_are_missing_ends_the_recovery),
        TEST(test_a_transaction_that_names_itself_as_its_part_ends_the_recovery),
        TEST(test_data_ahead_of_the_oplog_are_fatal_40313),
        TEST(test_a_point_below_the_oplogs_first_entry_is_fatal_40296),
        TEST(test_a_list_of_the_command_applyops_needs_no_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
