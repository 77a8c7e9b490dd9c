/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices written, chains, ranges, a plan, reading, a check and pruning, while allocations and calls to the store fail:
 * each in turn, once and for good. A failure is told with its own class and is never called damage; nothing leaks (the
 * sanitizer); what is in the store afterwards is what was acknowledged, and the same act then succeeds on it.
 *
 * A share by default (HF_TEST_EVERY says how far apart); HOLDFAST_SOAK takes all.
 */
#include "support/chain_kit.h"

#include "base/fault.h"
#include "oplog/ranges.h"
#include "store/faulty.h"

struct result {
    size_t chains, ranges, links, pruned;
    uint64_t entries, checked;
};

/* Reads what the store has, all the way. */
static enum hf_err read_all(struct hf_store *store, const struct hf_keyring *ring,
                            struct result *out, struct hf_error *err)
{
    HF_CLEANUP(hf_slice_reader_destroy) struct hf_slice_reader *slices = NULL;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    HF_CLEANUP(hf_ranges_fini) struct hf_ranges ranges = {.chains = NULL};
    HF_CLEANUP(hf_plan_fini) struct hf_plan plan = {.links = NULL};
    HF_CLEANUP(hf_chain_reader_close) struct hf_chain_reader *reader = NULL;
    HF_CLEANUP(hf_chain_report_fini) struct hf_chain_report report = {.faults = NULL};
    HF_CLEANUP(hf_free) size_t *prunable = NULL;
    struct hf_base_snapshot base = {.id = fixed_id(1),
                                    .checkpoint = {100, 5, -1},
                                    .oplog_end = {100, 9, 1},
                                    .committed = {100, 9, 1}};
    struct hf_chains_options load = {.store = store, .keyring = ring};
    struct hf_ranges_options compute = {.chains = &chains, .snapshots = &base, .snapshot_count = 1};
    struct hf_target target = {.kind = HF_TARGET_TIMESTAMP, .seconds = 100, .increment = 13};
    struct hf_prune_options prune = {.window_start_s = 200};
    *out = (struct result){.chains = 0};
    if (hf_slice_reader_create(store, ring, &slices, err) != HF_ERR_OK ||
        hf_chains_load(&load, &chains, err) != HF_ERR_OK) {
        return err->code;
    }
    compute.reader = slices;
    if (hf_ranges_compute(&compute, &ranges, err) != HF_ERR_OK ||
        hf_ranges_plan(&ranges, &target, NULL, slices, &plan, err) != HF_ERR_OK ||
        hf_ranges_prunable(&ranges, &prune, &prunable, &out->pruned, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < chains.link_count; i++) {
        assert_null(chains.links[i].problem); /* nothing is damaged here */
    }
    struct hf_chain_reader_options options = {.chains = &chains,
                                              .chain = ranges.items[plan.range].chain,
                                              .reader = slices,
                                              .after = plan.read_after,
                                              .to = plan.last};
    if (hf_chain_reader_open(&options, &reader, err) != HF_ERR_OK) {
        return err->code;
    }
    for (bool more = true; more;) {
        struct hf_oplog_entry entry;
        if (hf_chain_reader_next(reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        out->entries += more;
    }
    if (hf_chain_check(&chains, &chains.items[0], slices, &report, err) != HF_ERR_OK) {
        return err->code;
    }
    assert_int_equal(report.fault_count, 0);
    out->checked = report.entries;
    out->chains = chains.count;
    out->ranges = ranges.count;
    out->links = plan.link_count;
    return HF_ERR_OK;
}

/* One slice of increments from..to into the store; those above `other` are of term 2. */
static enum hf_err write_slice(struct hf_slicer *slicer, struct hf_store *store, uint32_t from,
                               uint32_t to, uint32_t other, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    struct hf_object_name name;
    for (uint32_t i = from; i <= to; i++) {
        /* A document of fixed bytes, so that making the entry needs no memory. */
        uint8_t entry[] = "\x00\x00\x00\x00\x02op\x00\x02\x00\x00\x00i\x00\x02ns\x00\x04\x00\x00"
                          "\x00"
                          "a.b\x00\x03o\x00\x05\x00\x00\x00\x00\x11ts\x00........\x12t\x00"
                          "........";
        bool taken = false;
        size_t len = sizeof entry;
        hf_store_le32(entry, (uint32_t)len);
        hf_store_le32(entry + len - 8 - 3 - 9, i);
        hf_store_le32(entry + len - 8 - 3 - 5, 100);
        hf_store_le64(entry + len - 9, i > other ? 2 : 1);
        if (hf_slicer_add(slicer, hf_bytes_of(entry, len), 0, &taken, err) != HF_ERR_OK) {
            return err->code;
        }
        assert_true(taken);
    }
    if (hf_slicer_close(slicer, &name, &object, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_store_put(store, hf_str_of(hf_object_name_text(&name).text), hf_buf_bytes(&object),
                        NULL, err);
}

static enum hf_err make_slicer_or_fail(const struct hf_keyring *ring, uint8_t writer,
                                       const struct hf_chain_point *start, struct hf_slicer **out,
                                       struct hf_error *err)
{
    struct hf_slicer_options options = {
        .keyring = ring, .writer = fixed_id(writer), .set_name = "rs0", .start = *start};
    return hf_slicer_create(&options, out, err);
}

/* Two tailers, who differ after 14. */
static enum hf_err write_all(struct hf_store *store, const struct hf_keyring *ring,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_slicer_destroy) struct hf_slicer *one = NULL;
    HF_CLEANUP(hf_slicer_destroy) struct hf_slicer *two = NULL;
    struct hf_chain_point point = {.cause = HF_CHAIN_FIRST};
    if (make_slicer_or_fail(ring, 0x20, &point, &one, err) != HF_ERR_OK ||
        write_slice(one, store, 1, 10, 99, err) != HF_ERR_OK) {
        return err->code;
    }
    point = hf_slicer_point(one);
    if (make_slicer_or_fail(ring, 0x40, &point, &two, err) != HF_ERR_OK ||
        write_slice(one, store, 11, 16, 99, err) != HF_ERR_OK ||
        write_slice(two, store, 11, 17, 14, err) != HF_ERR_OK ||
        write_slice(one, store, 17, 20, 99, err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_ERR_OK;
}

static void expect_whole(struct hf_store *store, const struct hf_keyring *ring)
{
    struct hf_error err;
    struct result result;
    EXPECT_OK(read_all(store, ring, &result, &err), &err);
    assert_int_equal(result.chains, 3);
    assert_int_equal(result.ranges, 1);
    assert_int_equal(result.entries, 8);      /* 6 to 13 */
    assert_int_equal(result.checked, 10 + 7); /* of two slices, whole */
    assert_int_equal(result.links, 2);
    assert_int_equal(result.pruned, 2); /* all but the newest of each open branch */
}

static uint64_t setting(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    uint64_t value = 0;
    return text != NULL && hf_parse_u64(hf_str_of(text), &value) && value > 0 ? value : fallback;
}

static uint64_t every(uint64_t passes, uint64_t share)
{
    const char *soak = getenv("HOLDFAST_SOAK");
    uint64_t step = soak != NULL && soak[0] != '\0' ? 1 : passes / share + 1;
    return setting("HF_TEST_EVERY", step);
}

static void test_each_allocation_fails(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_store *store = NULL;
    uint64_t refused = 0;
    (void)state;
    EXPECT_OK(hf_store_mem_create(&store, &err), &err);
    hf_fault_disarm_all();
    EXPECT_OK(write_all(store, &ring, &err), &err);
    uint64_t write_passes = hf_fault_passes("base.alloc");
    hf_fault_disarm_all();
    expect_whole(store, &ring);
    uint64_t read_passes = hf_fault_passes("base.alloc");
    print_message("%llu allocations to write, %llu to read\n", (unsigned long long)write_passes,
                  (unsigned long long)read_passes);
    for (uint64_t times = 0; times < 2; times++) {
        for (uint64_t n = 1; n <= read_passes; n += every(read_passes, 150)) {
            struct result result;
            hf_fault_disarm_all();
            hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, n, times);
            enum hf_err code = read_all(store, &ring, &result, &err);
            hf_fault_disarm_all();
            if (code != HF_ERR_NO_MEMORY && code != HF_ERR_OK) {
                fail_msg("allocation %llu: %s: %s", (unsigned long long)n, hf_err_name(code),
                         err.message);
            }
            refused += code == HF_ERR_NO_MEMORY;
        }
        for (uint64_t n = 1; n <= write_passes; n += every(write_passes, 100)) {
            struct hf_store *other = NULL;
            EXPECT_OK(hf_store_mem_create(&other, &err), &err);
            hf_fault_disarm_all();
            hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, n, times);
            enum hf_err code = write_all(other, &ring, &err);
            hf_fault_disarm_all();
            if (code != HF_ERR_NO_MEMORY && code != HF_ERR_LOST && code != HF_ERR_OK) {
                fail_msg("allocation %llu: %s: %s", (unsigned long long)n, hf_err_name(code),
                         err.message);
            }
            refused += code != HF_ERR_OK;
            if (code == HF_ERR_OK) {
                expect_whole(other, &ring);
            }
            hf_store_close(other);
        }
    }
    expect_whole(store, &ring);
    assert_true(refused > 50);
    hf_store_close(store);
}

static void test_each_call_to_the_store_fails(void **state)
{
    static const enum hf_err codes[] = {HF_ERR_UNAVAILABLE, HF_ERR_IO, HF_ERR_TIMEOUT,
                                        HF_ERR_CANCELLED};
    static const enum hf_store_call calls[] = {HF_STORE_CALL_GET, HF_STORE_CALL_LIST};
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_store *store = NULL;
    struct result result;
    unsigned told = 0;
    (void)state;
    EXPECT_OK(hf_store_mem_create(&store, &err), &err);
    EXPECT_OK(write_all(store, &ring, &err), &err);
    EXPECT_OK(hf_store_faulty_create_take(store, &store, &err), &err);
    for (size_t c = 0; c < HF_ARRAY_LEN(calls); c++) {
        hf_store_faulty_clear(store);
        uint64_t before = hf_store_faulty_calls(store, calls[c]);
        expect_whole(store, &ring);
        uint64_t passes = hf_store_faulty_calls(store, calls[c]) - before;
        assert_true(passes > 0);
        for (uint64_t n = 1; n <= passes; n++) {
            struct hf_store_fault fault = {
                .call = calls[c], .nth = n, .times = 1, .code = codes[n % HF_ARRAY_LEN(codes)]};
            hf_store_faulty_clear(store);
            hf_store_faulty_add(store, &fault);
            enum hf_err code = read_all(store, &ring, &result, &err);
            if (code != fault.code) {
                fail_msg("call %llu: %s instead of %s", (unsigned long long)n, hf_err_name(code),
                         hf_err_name(fault.code));
            }
            told++;
        }
    }
    hf_store_faulty_clear(store);
    expect_whole(store, &ring);
    assert_true(told > 20);
    hf_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_each_call_to_the_store_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
