/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of oplog entries: the recorded oplog of a real server gives the recorded counts; entries made by hand give each
 * fact; no length that an entry claims is believed.
 */
#include "support/oplog_kit.h"

struct counts {
    const char *name;
    unsigned wanted, found;
};

static void count(struct counts *counts, size_t len, const char *name)
{
    for (size_t i = 0; i < len; i++) {
        if (strcmp(counts[i].name, name) == 0) {
            counts[i].found++;
            return;
        }
    }
    fail_msg("an entry of kind %s", name);
}

static void test_recorded_oplog_gives_the_recorded_counts(void **state)
{
    /* From oplog-slice.json. */
    struct counts counts[] = {
        {"c:abortTransaction", 1, 0},
        {"c:applyOps", 341, 0},
        {"c:collMod", 1, 0},
        {"c:commitIndexBuild", 13, 0},
        {"c:commitTransaction", 1, 0},
        {"c:create", 61, 0},
        {"c:createIndexes", 3, 0},
        {"c:drop", 4, 0},
        {"c:dropDatabase", 1, 0},
        {"c:dropIndexes", 1, 0},
        {"c:renameCollection", 3, 0},
        {"c:startIndexBuild", 13, 0},
        {"d", 734, 0},
        {"i", 9365, 0},
        {"n", 243, 0},
        {"u", 980, 0},
    };
    struct hf_error err;
    HF_CLEANUP(hf_free) uint8_t *bytes = recorded_oplog();
    struct hf_bytes left = hf_bytes_of(bytes, RECORDED_BYTES);
    struct hf_optime last = {.term = -1};
    unsigned entries = 0, inner = 0, ids = 0, partial = 0, prepared = 0, retryable = 0;
    size_t largest = 0;
    (void)state;
    while (left.len > 0) {
        struct hf_bytes bytes_of_entry;
        struct hf_oplog_entry entry;
        struct hf_oplog_entry operation;
        struct hf_oplog_inner walk;
        bool more = true;
        char name[64];
        EXPECT_OK(hf_slice_take_entry(&left, &bytes_of_entry, &err), &err);
        EXPECT_OK(hf_oplog_entry_read(bytes_of_entry, &entry, &err), &err);
        assert_true(hf_optime_compare_ts(&last, &entry.optime) < 0);
        assert_true(entry.optime.term == (entries == 0 ? -1 : 1));
        last = entry.optime;
        (void)snprintf(name, sizeof name, "%.*s%s%.*s", HF_STR_ARG(entry.op),
                       entry.kind == HF_OPLOG_COMMAND ? ":" : "", (int)entry.command.len,
                       entry.command.data == NULL ? "" : entry.command.data);
        count(counts, HF_ARRAY_LEN(counts), name);
        ids += entry.id.key.data != NULL;
        partial += entry.partial_txn;
        prepared += entry.prepare;
        retryable += entry.txn_number >= 0 && entry.lsid.len > 0;
        if (entry.commit) {
            assert_true(entry.commit_seconds > 1795450498 && entry.has_previous);
        }
        largest = entry.bytes.len > largest ? entry.bytes.len : largest;
        hf_oplog_inner_begin(&entry, &walk);
        for (;;) {
            EXPECT_OK(hf_oplog_inner_next(&walk, &operation, &more, &err), &err);
            if (!more) {
                break;
            }
            assert_true(hf_optime_equal(&operation.optime, &entry.optime));
            assert_true(operation.kind != HF_OPLOG_OTHER && operation.depth == 1);
            inner++;
        }
        entries++;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(counts); i++) {
        if (counts[i].found != counts[i].wanted) {
            fail_msg("%s: %u, recorded were %u", counts[i].name, counts[i].found, counts[i].wanted);
        }
    }
    assert_int_equal(entries, RECORDED_ENTRIES);
    assert_int_equal(largest, 263261);
    assert_int_equal(last.seconds, 1795450667);
    assert_int_equal(last.increment, 68);
    /* Every insert, update and delete names its document. */
    assert_int_equal(ids, 9365 + 980 + 734);
    assert_int_equal(prepared, 2);
    assert_true(partial > 0 && inner > 341 && retryable > 300);
}

static void read_made(const struct made_entry *made, struct hf_buf *buf, struct hf_oplog_entry *out)
{
    struct hf_error err;
    hf_buf_clear(buf);
    make_entry(made, buf);
    EXPECT_OK(hf_oplog_entry_read(hf_buf_bytes(buf), out, &err), &err);
}

static void expect_space(const struct hf_oplog_entry *entry, unsigned i, const char *wanted)
{
    char room[HF_OPLOG_SPACE_BYTES];
    struct hf_str name;
    assert_true(i < hf_oplog_space_count(entry));
    assert_true(hf_oplog_space(entry, i, room, &name));
    if (!hf_str_equal_c(name, wanted)) {
        fail_msg("%.*s instead of %s", HF_STR_ARG(name), wanted);
    }
}

static void test_namespaces_of_operations_and_commands(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT((size_t)1 << 20);
    struct hf_oplog_entry entry;
    struct made_entry made = {
        .optime = {.seconds = 7, .increment = 8, .term = 3}, .op = "i", .ns = "shop.orders"};
    int64_t id = 0;
    (void)state;
    made.id = 99;
    read_made(&made, &buf, &entry);
    expect_space(&entry, 0, "shop.orders");
    assert_true(hf_bson_integer(&entry.id, &id) && id == 99);
    assert_int_equal(entry.optime.term, 3);

    made.op = "c";
    made.ns = "shop.$cmd";
    made.command = "drop";
    made.command_value = "orders.old";
    read_made(&made, &buf, &entry);
    expect_space(&entry, 0, "shop.orders.old");
    assert_true(entry.id.key.data == NULL);

    made.command = "somethingNew";
    read_made(&made, &buf, &entry);
    expect_space(&entry, 0, "shop.orders.old");

    hf_buf_clear(&buf);
    size_t start = bson_begin(&buf);
    bson_text(&buf, "op", "c");
    bson_text(&buf, "ns", "shop.$cmd");
    size_t o = bson_nested(&buf, HF_BSON_DOCUMENT, "o");
    bson_text(&buf, "renameCollection", "shop.a");
    bson_text(&buf, "to", "archive.b");
    bson_end(&buf, o);
    bson_timestamp(&buf, "ts", 7, 9);
    bson_end(&buf, start);
    struct hf_error err;
    EXPECT_OK(hf_oplog_entry_read(hf_buf_bytes(&buf), &entry, &err), &err);
    assert_int_equal(hf_oplog_space_count(&entry), 2);
    expect_space(&entry, 0, "shop.a");
    expect_space(&entry, 1, "archive.b");
    assert_int_equal(entry.optime.term, -1);

    hf_buf_clear(&buf);
    start = bson_begin(&buf);
    bson_text(&buf, "op", "c");
    bson_text(&buf, "ns", "shop.$cmd");
    o = bson_nested(&buf, HF_BSON_DOCUMENT, "o");
    bson_int64(&buf, "dropDatabase", 1);
    bson_end(&buf, o);
    bson_timestamp(&buf, "ts", 7, 9);
    bson_end(&buf, start);
    EXPECT_OK(hf_oplog_entry_read(hf_buf_bytes(&buf), &entry, &err), &err);
    expect_space(&entry, 0, "shop");

    /* 256 bytes are one too many: it has no name that an index would take. */
    char name[257];
    memset(name, 'x', 256);
    name[256] = '\0';
    made = (struct made_entry){.optime = {.seconds = 7, .increment = 8}, .op = "d", .ns = name};
    read_made(&made, &buf, &entry);
    char room[HF_OPLOG_SPACE_BYTES];
    struct hf_str space;
    assert_false(hf_oplog_space(&entry, 0, room, &space));
    made.op = "c";
    made.command = "drop";
    made.command_value = name;
    made.ns = "db.$cmd";
    read_made(&made, &buf, &entry);
    assert_false(hf_oplog_space(&entry, 0, room, &space));
}

static void test_the_version_document_is_recognised(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT((size_t)1 << 20);
    struct hf_oplog_entry entry;
    (void)state;
    for (unsigned way = 0; way < 2; way++) {
        hf_buf_clear(&buf);
        size_t start = bson_begin(&buf);
        bson_text(&buf, "op", "u");
        bson_text(&buf, "ns", way == 0 ? "admin.system.version" : "shop.system.version");
        size_t o = bson_nested(&buf, HF_BSON_DOCUMENT, "o");
        bson_int64(&buf, "$v", 1);
        bson_end(&buf, o);
        o = bson_nested(&buf, HF_BSON_DOCUMENT, "o2");
        bson_text(&buf, "_id", "featureCompatibilityVersion");
        bson_end(&buf, o);
        bson_timestamp(&buf, "ts", 7, 9);
        bson_end(&buf, start);
        EXPECT_OK(hf_oplog_entry_read(hf_buf_bytes(&buf), &entry, &err), &err);
        assert_int_equal(entry.fcv, way == 0);
    }
}

/* applyOps of levels nested one in the other, each with one insert before the next. */
static void append_nested(struct hf_buf *buf, unsigned levels)
{
    size_t o = bson_nested(buf, HF_BSON_DOCUMENT, "o");
    size_t array = bson_nested(buf, HF_BSON_ARRAY, "applyOps");
    size_t item = bson_nested(buf, HF_BSON_DOCUMENT, "0");
    bson_text(buf, "op", "i");
    bson_text(buf, "ns", "shop.orders");
    size_t document = bson_nested(buf, HF_BSON_DOCUMENT, "o");
    bson_int64(buf, "_id", levels);
    bson_end(buf, document);
    bson_end(buf, item);
    if (levels > 1) {
        item = bson_nested(buf, HF_BSON_DOCUMENT, "1");
        bson_text(buf, "op", "c");
        bson_text(buf, "ns", "admin.$cmd");
        append_nested(buf, levels - 1);
        bson_end(buf, item);
    }
    bson_end(buf, array);
    bson_bool(buf, "prepare", levels == 3);
    bson_end(buf, o);
}

static void test_nested_operations_to_a_depth(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT((size_t)1 << 20);
    struct hf_oplog_entry entry, operation;
    struct hf_oplog_inner inner;
    bool more = false;
    (void)state;
    size_t start = bson_begin(&buf);
    bson_text(&buf, "op", "c");
    bson_text(&buf, "ns", "admin.$cmd");
    append_nested(&buf, 3);
    bson_timestamp(&buf, "ts", 7, 9);
    bson_end(&buf, start);
    EXPECT_OK(hf_oplog_entry_read(hf_buf_bytes(&buf), &entry, &err), &err);
    assert_true(entry.prepare);
    assert_int_equal(hf_oplog_space_count(&entry), 0);
    hf_oplog_inner_begin(&entry, &inner);
    EXPECT_OK(hf_oplog_inner_next(&inner, &operation, &more, &err), &err);
    assert_true(more && operation.kind == HF_OPLOG_INSERT && operation.depth == 1);
    EXPECT_OK(hf_oplog_inner_next(&inner, &operation, &more, &err), &err);
    assert_true(more && operation.kind == HF_OPLOG_INSERT && operation.depth == 2);
    /* The third level is told as what it is, and not looked into. */
    EXPECT_OK(hf_oplog_inner_next(&inner, &operation, &more, &err), &err);
    assert_true(more && operation.kind == HF_OPLOG_COMMAND && operation.apply_ops.len > 0);
    EXPECT_OK(hf_oplog_inner_next(&inner, &operation, &more, &err), &err);
    assert_false(more);
}

static void test_what_is_no_entry_is_refused_by_field(void **state)
{
    static const struct {
        const char *left_out, *text;
    } cases[] = {{"ts", "no field ts"},
                 {"op", "no field op"},
                 {"ns", "no field ns"},
                 {"o", "no field o"},
                 {"", "field ts stands there twice"}};
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT((size_t)1 << 20);
    struct hf_oplog_entry entry;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        hf_buf_clear(&buf);
        size_t start = bson_begin(&buf);
        for (unsigned n = 0; n < (i == 4 ? 2U : 1U) && strcmp(cases[i].left_out, "ts") != 0; n++) {
            bson_timestamp(&buf, "ts", 7, 9);
        }
        if (strcmp(cases[i].left_out, "op") != 0) {
            bson_text(&buf, "op", "i");
        }
        if (strcmp(cases[i].left_out, "ns") != 0) {
            bson_text(&buf, "ns", "a.b");
        }
        if (strcmp(cases[i].left_out, "o") != 0) {
            bson_end(&buf, bson_nested(&buf, HF_BSON_DOCUMENT, "o"));
        }
        bson_end(&buf, start);
        EXPECT_ERROR(hf_oplog_entry_read(hf_buf_bytes(&buf), &entry, &err), HF_ERR_CORRUPT,
                     cases[i].text, &err);
    }
    hf_buf_clear(&buf);
    size_t start = bson_begin(&buf);
    bson_int64(&buf, "ts", 9);
    bson_end(&buf, start);
    EXPECT_ERROR(hf_oplog_entry_read(hf_buf_bytes(&buf), &entry, &err), HF_ERR_CORRUPT,
                 "field ts is of another type", &err);
}

static void test_no_changed_or_cut_byte_is_read_past_the_end(void **state)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT((size_t)1 << 20);
    struct hf_error err;
    struct hf_oplog_entry entry, operation;
    struct hf_oplog_inner inner;
    unsigned refused = 0;
    (void)state;
    size_t start = bson_begin(&buf);
    bson_text(&buf, "op", "c");
    bson_text(&buf, "ns", "admin.$cmd");
    append_nested(&buf, 2);
    bson_timestamp(&buf, "ts", 7, 9);
    bson_end(&buf, start);
    /* Each byte changed to each of some values; the copy has no byte behind, so the sanitizer sees a step too far. */
    for (size_t at = 0; at < buf.len; at++) {
        static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
        for (size_t v = 0; v < sizeof values; v++) {
            HF_CLEANUP(hf_free) uint8_t *copy = hf_alloc(buf.len);
            bool more = true;
            memcpy(copy, buf.data, buf.len);
            copy[at] = values[v];
            if (hf_oplog_entry_read(hf_bytes_of(copy, buf.len), &entry, &err) != HF_ERR_OK) {
                refused++;
                continue;
            }
            hf_oplog_inner_begin(&entry, &inner);
            while (more && hf_oplog_inner_next(&inner, &operation, &more, &err) == HF_ERR_OK) {
            }
        }
        HF_CLEANUP(hf_free) uint8_t *cut = hf_alloc(at + 1);
        memcpy(cut, buf.data, at);
        assert_int_equal(hf_oplog_entry_read(hf_bytes_of(cut, at), &entry, &err), HF_ERR_CORRUPT);
    }
    assert_true(refused > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_oplog_gives_the_recorded_counts),
        cmocka_unit_test(test_namespaces_of_operations_and_commands),
        cmocka_unit_test(test_the_version_document_is_recognised),
        cmocka_unit_test(test_nested_operations_to_a_depth),
        cmocka_unit_test(test_what_is_no_entry_is_refused_by_field),
        cmocka_unit_test(test_no_changed_or_cut_byte_is_read_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
