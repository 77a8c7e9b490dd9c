/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices out of entries: when one closes, what is refused, where a new chain begins, what its index counts.
 */
#include "support/oplog_kit.h"

struct fixture {
    struct hf_keyring ring;
    struct hf_slicer *slicer;
    struct hf_buf entry, object;
    struct hf_object_name name;
};

static void begin(struct fixture *f, uint64_t target_bytes)
{
    f->ring = fixed_keyring(true);
    f->slicer = make_slicer(&f->ring, 0x20, target_bytes, NULL);
    hf_buf_init(&f->entry, HF_SLICE_ENTRY_MAX_BYTES);
    hf_buf_init(&f->object, HF_SLICE_OBJECT_MAX_BYTES);
}

static void end(struct fixture *f)
{
    hf_slicer_destroy(f->slicer);
    hf_buf_fini(&f->entry);
    hf_buf_fini(&f->object);
}

static bool offer(struct fixture *f, const struct made_entry *made, uint64_t now_ms)
{
    struct hf_error err;
    bool taken = false;
    hf_buf_clear(&f->entry);
    make_entry(made, &f->entry);
    EXPECT_OK(hf_slicer_add(f->slicer, hf_buf_bytes(&f->entry), now_ms, &taken, &err), &err);
    return taken;
}

static struct made_entry insert_at(uint32_t seconds, uint32_t increment)
{
    return (struct made_entry){
        .optime = {.seconds = seconds, .increment = increment, .term = 1},
        .op = "i",
        .ns = "shop.orders",
        .id = increment,
    };
}

static void close_slice(struct fixture *f, struct hf_slice_header *header,
                        struct hf_slice_index *index)
{
    struct hf_error err;
    EXPECT_OK(hf_slicer_close(f->slicer, &f->name, &f->object, &err), &err);
    read_slice(&f->ring, &f->object, header, index);
    EXPECT_OK(hf_slice_check_name(header, &f->name, &err), &err);
}

static void test_recorded_oplog_in_slices_chains_up(void **state)
{
    struct hf_error err;
    struct fixture f;
    HF_CLEANUP(hf_free) uint8_t *bytes = recorded_oplog();
    struct hf_bytes left = hf_bytes_of(bytes, RECORDED_BYTES);
    struct hf_chain_hasher *hasher = NULL;
    struct hf_hash hash = {{0}};
    struct hf_hash before = {{0}};
    struct hf_optime previous = {.term = -1};
    uint64_t entries = 0, noops = 0, inserts = 0, others = 0;
    unsigned slices = 0;
    (void)state;
    begin(&f, 100000);
    EXPECT_OK(hf_chain_hasher_create(&f.ring, &hasher, &err), &err);
    while (left.len > 0 || !hf_slicer_is_empty(f.slicer)) {
        struct hf_bytes rest = left;
        struct hf_bytes entry;
        bool taken = false;
        if (left.len > 0) {
            EXPECT_OK(hf_slice_take_entry(&rest, &entry, &err), &err);
            EXPECT_OK(hf_slicer_add(f.slicer, entry, 0, &taken, &err), &err);
        }
        if (taken) {
            hf_chain_hash(hasher, &hash, entry);
            left = rest;
            continue;
        }
        HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
        HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
        close_slice(&f, &header, &index);
        assert_int_equal(header.cause, slices == 0 ? HF_CHAIN_FIRST : HF_CHAIN_NONE);
        assert_true(slices == 0 || hf_optime_equal(&header.previous, &previous));
        assert_true(hf_hash_equal(&header.hash_before, &before));
        assert_true(hf_hash_equal(&header.hash_after, &hash));
        assert_int_equal(header.sequence, entries);
        before = header.hash_after;
        previous = header.last;
        entries += header.entry_count;
        noops += header.noop_count;
        for (uint32_t i = 0; i < index.count_count; i++) {
            inserts += index.counts[i].kind == HF_OPLOG_INSERT ? index.counts[i].operations : 0;
            others += index.counts[i].space == 0;
        }
        slices++;
    }
    assert_int_equal(entries, RECORDED_ENTRIES);
    assert_int_equal(noops, 243);
    assert_true(inserts > 9365); /* those inside transactions too */
    assert_int_equal(others, 0);
    assert_true(slices > 5);
    struct hf_chain_point point = hf_slicer_point(f.slicer);
    assert_int_equal(point.sequence, entries);
    assert_int_equal(point.previous.seconds, 1795450667);
    hf_chain_hasher_destroy(hasher);
    end(&f);
}

static void test_closes_by_age_and_waits_with_noops_alone(void **state)
{
    struct fixture f;
    struct made_entry noop = insert_at(100, 1);
    struct made_entry deed = insert_at(100, 2);
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    (void)state;
    noop.op = "n";
    noop.ns = "";
    begin(&f, 0);
    assert_true(hf_slicer_wait_ms(f.slicer, 5000) == UINT64_MAX);
    assert_false(hf_slicer_due(f.slicer, UINT64_MAX / 2));
    assert_true(offer(&f, &noop, 1000));
    assert_int_equal(hf_slicer_wait_ms(f.slicer, 1000), 300000);
    assert_false(hf_slicer_due(f.slicer, 300999));
    assert_true(hf_slicer_due(f.slicer, 301000));
    /* A deed has ten seconds of its own, and no more than what was left. */
    assert_true(offer(&f, &deed, 200000));
    assert_int_equal(hf_slicer_wait_ms(f.slicer, 200000), 10000);
    assert_true(hf_slicer_due(f.slicer, 210000));
    close_slice(&f, &header, NULL);
    assert_int_equal(header.noop_count, 1);
    hf_slice_header_fini(&header);
    noop.optime.increment = 3;
    deed.optime.increment = 4;
    assert_true(offer(&f, &noop, 1000));
    assert_true(offer(&f, &deed, 299000));
    assert_int_equal(hf_slicer_wait_ms(f.slicer, 299000), 2000);
    end(&f);
}

static void test_closes_by_size_before_the_next_entry(void **state)
{
    struct fixture f;
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    uint32_t increment = 0;
    (void)state;
    begin(&f, 1000000);
    for (;;) {
        struct made_entry made = insert_at(100, ++increment);
        made.pad_bytes = 100000;
        made.pad_seed = increment;
        if (!offer(&f, &made, 0)) {
            break;
        }
        assert_true(increment < 100);
        assert_int_equal(hf_slicer_due(f.slicer, 0), increment >= 10);
    }
    assert_int_equal(increment, 11);
    close_slice(&f, &header, NULL);
    assert_int_equal(header.entry_count, 10);
    assert_int_equal(header.last.increment, 10);
    end(&f);
}

static void test_refuses_what_does_not_come_after(void **state)
{
    struct hf_error err;
    struct fixture f;
    struct made_entry made = insert_at(100, 5);
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    bool taken = false;
    (void)state;
    begin(&f, 0);
    made.optime.term = 3;
    assert_true(offer(&f, &made, 0));
    for (unsigned after = 0; after < 2; after++) {
        const struct hf_optime wrong[] = {{100, 5, 3}, {100, 4, 3}, {99, 9, 4}, {100, 6, 2}};
        for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
            made.optime = wrong[i];
            hf_buf_clear(&f.entry);
            make_entry(&made, &f.entry);
            EXPECT_ERROR(hf_slicer_add(f.slicer, hf_buf_bytes(&f.entry), 0, &taken, &err),
                         HF_ERR_CONFLICT, "does not come after 100.5/3", &err);
        }
        if (after == 0) { /* and so behind a closed slice */
            close_slice(&f, &header, NULL);
        }
    }
    EXPECT_ERROR(hf_slicer_add(f.slicer, hf_bytes_of("\5\0\0\0", 5), 0, &taken, &err),
                 HF_ERR_CORRUPT, "no field op", &err);
    assert_true(hf_slicer_is_empty(f.slicer));
    made.optime = (struct hf_optime){100, 6, 4};
    assert_true(offer(&f, &made, 0));
    end(&f);
}

static void test_a_break_begins_a_chain_that_names_the_one_before(void **state)
{
    struct fixture f;
    struct made_entry made = insert_at(100, 5);
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    (void)state;
    begin(&f, 0);
    assert_true(offer(&f, &made, 0));
    close_slice(&f, &header, NULL);
    hf_slice_header_fini(&header);
    hf_slicer_break(f.slicer, HF_CHAIN_ROLLBACK, "4.4");
    made = insert_at(90, 1);
    made.optime.term = 2;
    assert_true(offer(&f, &made, 0)); /* earlier, of another history */
    close_slice(&f, &header, NULL);
    assert_int_equal(header.cause, HF_CHAIN_ROLLBACK);
    assert_true(hf_optime_is_none(&header.previous));
    assert_int_equal(header.broken_after.seconds, 100);
    assert_int_equal(header.sequence, 0);
    assert_string_equal(hf_chain_cause_word(header.cause), "rollback");
    end(&f);
}

/* version NULL: the entry does not say; target: it is being changed. How: "" a whole document, else the modifier's name. */
static void append_fcv(struct hf_buf *buf, uint32_t increment, const char *how, const char *version,
                       bool target)
{
    size_t start = bson_begin(buf);
    bson_text(buf, "op", "u");
    bson_text(buf, "ns", "admin.system.version");
    size_t nested[3] = {bson_nested(buf, HF_BSON_DOCUMENT, "o")}, depth = 1;
    if (how[0] != '\0') {
        nested[depth++] = bson_nested(buf, HF_BSON_DOCUMENT, how);
    }
    if (strcmp(how, "diff") == 0) {
        nested[depth++] = bson_nested(buf, HF_BSON_DOCUMENT, "u");
    }
    if (version != NULL) {
        bson_text(buf, "version", version);
    }
    if (target) {
        bson_text(buf, "targetVersion", "5.0");
    }
    while (depth > 0) {
        bson_end(buf, nested[--depth]);
    }
    size_t o2 = bson_nested(buf, HF_BSON_DOCUMENT, "o2");
    bson_text(buf, "_id", "featureCompatibilityVersion");
    bson_end(buf, o2);
    bson_timestamp(buf, "ts", 100, increment);
    bson_int64(buf, "t", 1);
    bson_end(buf, start);
}

static void test_a_change_of_fcv_begins_a_chain_by_itself(void **state)
{
    struct hf_error err;
    struct fixture f;
    struct made_entry made = insert_at(100, 5);
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    bool taken = true;
    (void)state;
    begin(&f, 0);
    assert_true(offer(&f, &made, 0));
    hf_buf_clear(&f.entry);
    append_fcv(&f.entry, 6, "$set", "4.4", true);
    EXPECT_OK(hf_slicer_add(f.slicer, hf_buf_bytes(&f.entry), 0, &taken, &err), &err);
    assert_false(taken);
    close_slice(&f, &header, NULL);
    assert_string_equal(header.fcv, "4.4");
    hf_slice_header_fini(&header);
    EXPECT_OK(hf_slicer_add(f.slicer, hf_buf_bytes(&f.entry), 0, &taken, &err), &err);
    assert_true(taken);
    close_slice(&f, &header, NULL);
    assert_int_equal(header.cause, HF_CHAIN_FCV_CHANGED);
    assert_int_equal(header.broken_after.increment, 5);
    assert_string_equal(header.fcv, "");
    hf_slice_header_fini(&header);
    /* Also at a start, whose own cause matters less; what ended is still named. */
    hf_slicer_break(f.slicer, HF_CHAIN_RESTORED, NULL);
    hf_buf_clear(&f.entry);
    append_fcv(&f.entry, 9, "", NULL, false);
    EXPECT_OK(hf_slicer_add(f.slicer, hf_buf_bytes(&f.entry), 0, &taken, &err), &err);
    close_slice(&f, &header, NULL);
    assert_int_equal(header.cause, HF_CHAIN_FCV_CHANGED);
    assert_int_equal(header.broken_after.increment, 6);
    end(&f);
}

static void test_the_new_fcv_is_read_from_its_entry(void **state)
{
    static const struct {
        const char *how, *version;
        bool target;
        const char *fcv;
    } ways[] = {{"$set", "4.4", false, "4.4"}, {"", "4.2", false, "4.2"},
                {"diff", "5.0", false, "5.0"}, {"$set", "4.2", true, ""},
                {"diff", "4.4", true, ""},     {"", NULL, false, ""},
                {"other", "4.4", false, ""}};
    struct hf_error err;
    struct fixture f;
    bool taken = true;
    (void)state;
    begin(&f, 0);
    for (uint32_t i = 0; i < HF_ARRAY_LEN(ways); i++) {
        HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
        hf_buf_clear(&f.entry);
        append_fcv(&f.entry, 6 + i, ways[i].how, ways[i].version, ways[i].target);
        EXPECT_OK(hf_slicer_add(f.slicer, hf_buf_bytes(&f.entry), 0, &taken, &err), &err);
        assert_true(taken);
        close_slice(&f, &header, NULL);
        assert_int_equal(header.cause, HF_CHAIN_FCV_CHANGED);
        assert_string_equal(header.fcv, ways[i].fcv);
    }
    end(&f);
}

static void test_a_slice_may_begin_with_an_entry_of_many_blocks(void **state)
{
    static const size_t sizes[] = {600000, 100, 700000, 800000};
    struct fixture f;
    struct hf_optime previous = {.term = -1};
    (void)state;
    begin(&f, 0);
    for (uint32_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
        HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
        struct made_entry made = insert_at(100, 5 + i);
        made.pad_bytes = sizes[i];
        made.pad_seed = i;
        if (i == HF_ARRAY_LEN(sizes) - 1) {
            hf_slicer_break(f.slicer, HF_CHAIN_ROLLED_OVER, NULL);
        }
        assert_true(offer(&f, &made, 0));
        close_slice(&f, &header, NULL);
        assert_int_equal(header.blocks[0].more, sizes[i] > HF_SLICE_BLOCK_BYTES);
        assert_true(hf_optime_equal(&header.previous, &previous) ||
                    header.cause == HF_CHAIN_ROLLED_OVER);
        if (header.blocks[0].more) { /* no entry has ended in it: what is before the slice */
            assert_true(hf_optime_equal(&header.blocks[0].last, &header.previous));
        }
        previous = header.last;
    }
    /* None is zeros on disk, whatever term it has in memory: here 0. */
    static const uint8_t zeros[16];
    size_t header_bytes = hf_load_le32(f.object.data + f.object.len - 24);
    assert_memory_equal(f.object.data + f.object.len - 24 - header_bytes + 72, zeros, 16);
    end(&f);
}

static void test_a_day_and_the_terms_of_a_slice_end(void **state)
{
    struct fixture f;
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    (void)state;
    begin(&f, 0);
    struct made_entry made = insert_at(6000, 1);
    assert_true(offer(&f, &made, 0));
    made = insert_at(6000 + 1439 * 60 + 59, 1);
    assert_true(offer(&f, &made, 0));
    made = insert_at(6000 + 1440 * 60, 1);
    assert_false(offer(&f, &made, 0));
    close_slice(&f, &header, NULL);
    hf_slice_header_fini(&header);
    for (uint32_t term = 1; term <= HF_SLICE_TERMS_MAX + 1; term++) {
        made = insert_at(200000, term);
        made.optime.term = term;
        assert_int_equal(offer(&f, &made, 0), term <= HF_SLICE_TERMS_MAX);
    }
    close_slice(&f, &header, NULL);
    assert_int_equal(header.term_count, HF_SLICE_TERMS_MAX);
    assert_int_equal(header.terms[63].term, 64);
    end(&f);
}

static void test_hostile_namespaces_become_others(void **state)
{
    struct fixture f;
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    char names[3][270];
    uint64_t operations = 0, others = 0;
    (void)state;
    begin(&f, 0);
    /* 1,100 names over 100 minutes would be 110,000 counts. */
    for (uint32_t i = 0; i < 110000; i++) {
        struct made_entry made = insert_at(6000 + i / 1100 * 60, i + 1);
        (void)snprintf(names[0], sizeof names[0], "db.%0200u", (unsigned)(i % 1100));
        made.ns = names[0];
        assert_true(offer(&f, &made, 0));
    }
    close_slice(&f, &header, &index);
    assert_int_equal(index.namespace_count, 1000);
    assert_true(index.count_count <= HF_SLICE_ROWS_MAX);
    for (uint32_t i = 0; i < index.count_count; i++) {
        operations += index.counts[i].operations;
        others += index.counts[i].space == 0 ? index.counts[i].operations : 0;
    }
    assert_int_equal(operations, 110000); /* each is counted somewhere */
    assert_true(others >= 10000);
    (void)snprintf(names[1], sizeof names[1], "db.%0200u", 1099U);
    (void)snprintf(names[2], sizeof names[2], "db.%0200u", 7U);
    /* Block 0 ends before the thousandth name. */
    assert_true(hf_slice_index_may_have(&index, 1, hf_str_of(names[1])));
    assert_false(hf_slice_index_may_have(&index, 0, hf_str_of(names[1])));
    assert_true(hf_slice_index_space(&index, hf_str_of(names[2])) > 0);
    assert_true(hf_slice_index_may_have(&index, 0, hf_str_of(names[2])));
    end(&f);
}

static void test_neither_a_start_nor_a_place_is_refused(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_slicer *slicer = NULL;
    struct hf_slicer_options options = {.keyring = &ring, .writer = fixed_id(1)};
    (void)state;
    EXPECT_ERROR(hf_slicer_create(&options, &slicer, &err), HF_ERR_INVALID, "neither", &err);
    options.start.cause = HF_CHAIN_FIRST;
    options.start.sequence = 4;
    EXPECT_ERROR(hf_slicer_create(&options, &slicer, &err), HF_ERR_INVALID, "neither", &err);
    options.start.sequence = 0;
    options.target_bytes = HF_SLICER_TARGET_MAX_BYTES + 1;
    EXPECT_ERROR(hf_slicer_create(&options, &slicer, &err), HF_ERR_INVALID, "are allowed", &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_oplog_in_slices_chains_up),
        cmocka_unit_test(test_closes_by_age_and_waits_with_noops_alone),
        cmocka_unit_test(test_closes_by_size_before_the_next_entry),
        cmocka_unit_test(test_refuses_what_does_not_come_after),
        cmocka_unit_test(test_a_break_begins_a_chain_that_names_the_one_before),
        cmocka_unit_test(test_a_change_of_fcv_begins_a_chain_by_itself),
        cmocka_unit_test(test_the_new_fcv_is_read_from_its_entry),
        cmocka_unit_test(test_a_slice_may_begin_with_an_entry_of_many_blocks),
        cmocka_unit_test(test_a_day_and_the_terms_of_a_slice_end),
        cmocka_unit_test(test_hostile_namespaces_become_others),
        cmocka_unit_test(test_neither_a_start_nor_a_place_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
