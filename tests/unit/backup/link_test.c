/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a delivery, and what a Range header asks for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backup/link.h"

static void expect(const struct hf_link_record *link, uint64_t now_s, unsigned transfers,
                   const char *word)
{
    assert_string_equal(hf_link_status_word(hf_link_status(link, now_s, transfers)), word);
}

static void test_the_words_of_a_delivery(void **state)
{
    struct hf_link_record link = {.expires_s = 100, .max_downloads = 2};

    (void)state;
    expect(&link, 99, 0, "READY");
    expect(&link, 99, 1, "IN_PROGRESS");
    assert_true(hf_link_is_open(&link, 99));
    assert_false(hf_link_is_open(&link, 100));
    expect(&link, 100, 0, "EXPIRED");
    expect(&link, 100, 1, "IN_PROGRESS"); /* it began in time */
    link.transfer = HF_LINK_IN_PROGRESS;
    expect(&link, 99, 0, "INTERRUPTED"); /* nobody sends it any more */
    link.transfer = HF_LINK_INTERRUPTED;
    expect(&link, 99, 0, "INTERRUPTED");
    expect(&link, 100, 0, "EXPIRED");
    link.transfer = HF_LINK_FAILED;
    expect(&link, 99, 0, "FAILED");
    link.downloads = 1;
    assert_true(hf_link_is_open(&link, 99));
    link.downloads = 2;
    assert_false(hf_link_is_open(&link, 99));
    expect(&link, 99, 1, "MAX_DOWNLOADS_EXCEEDED");
    expect(&link, 100, 0, "MAX_DOWNLOADS_EXCEEDED");
}

static void test_what_a_point_needs_is_leased_to_the_link_s_end(void **state)
{
    struct hf_link_record link = {.expires_s = 100, .max_downloads = 1};

    (void)state;
    assert_false(hf_link_leases(&link, 50)); /* of no point */
    link.lease_from = (struct hf_optime){.seconds = 7, .increment = 3, .term = -1};
    assert_true(hf_link_leases(&link, 99));
    link.downloads = 1; /* the archive is there, and not yet at its point */
    assert_false(hf_link_is_open(&link, 99));
    assert_true(hf_link_leases(&link, 99));
    assert_false(hf_link_leases(&link, 100));
}

static void test_a_record_comes_back_as_it_was(void **state)
{
    struct hf_link_record link = {.expires_s = 100,
                                  .max_downloads = HF_LINK_NO_LIMIT,
                                  .downloads = 7,
                                  .gzip = true,
                                  .lease_from = {.seconds = 7, .increment = 3, .term = -1},
                                  .transfer = HF_LINK_INTERRUPTED,
                                  .sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                                  .nonce = "0123456789abcdef0123456789abcdef",
                                  .file = "rs0-1-2.tar.gz"};
    struct hf_link_record back;
    struct hf_error err;

    (void)state;
    memset(&link.id, 1, sizeof link.id);
    memset(&link.snapshot, 2, sizeof link.snapshot);
    memset(&link.job, 3, sizeof link.job);
    memset(&link.project, 4, sizeof link.project);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_link_record_encode(&link);
    assert_non_null(json);
    assert_int_equal(hf_link_record_decode(json, &back, &err), HF_ERR_OK);
    assert_memory_equal(&back, &link, sizeof link);
}

static void test_ranges(void **state)
{
    static const struct {
        const char *header;
        enum hf_link_range range;
        uint64_t from, to;
    } cases[] = {
        {NULL, HF_LINK_RANGE_WHOLE, 0, 1000},
        {"bytes=0-", HF_LINK_RANGE_PART, 0, 1000},
        {"bytes=10-", HF_LINK_RANGE_PART, 10, 1000},
        {"bytes=10-10", HF_LINK_RANGE_PART, 10, 11},
        {"bytes=10-999", HF_LINK_RANGE_PART, 10, 1000},
        {"bytes=10-5000", HF_LINK_RANGE_PART, 10, 1000},
        {"bytes=999-", HF_LINK_RANGE_PART, 999, 1000},
        {"bytes=1000-", HF_LINK_RANGE_NONE, 0, 1000},
        {"bytes=18446744073709551615-", HF_LINK_RANGE_NONE, 0, 1000},
        {"bytes=-1", HF_LINK_RANGE_PART, 999, 1000},
        {"bytes=-5000", HF_LINK_RANGE_PART, 0, 1000},
        {"bytes=-0", HF_LINK_RANGE_NONE, 0, 1000},
        {"bytes=10-9", HF_LINK_RANGE_WHOLE, 0, 1000},
        {"bytes=-", HF_LINK_RANGE_WHOLE, 0, 1000},
        {"bytes=", HF_LINK_RANGE_WHOLE, 0, 1000},
        {"bytes=1-2,5-6", HF_LINK_RANGE_WHOLE, 0, 1000},
        {"bytes=a-2", HF_LINK_RANGE_WHOLE, 0, 1000},
        {"bytes=1-2x", HF_LINK_RANGE_WHOLE, 0, 1000},
        {"bytes=18446744073709551616-", HF_LINK_RANGE_WHOLE, 0, 1000},
        {"blocks=1-2", HF_LINK_RANGE_WHOLE, 0, 1000},
        {"", HF_LINK_RANGE_WHOLE, 0, 1000},
    };

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        uint64_t from = 7, to = 7;
        if (hf_link_parse_range(cases[i].header, 1000, &from, &to) != cases[i].range ||
            from != cases[i].from || to != cases[i].to) {
            fail_msg("%s: %llu to %llu", cases[i].header, (unsigned long long)from,
                     (unsigned long long)to);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_words_of_a_delivery),
        cmocka_unit_test(test_what_a_point_needs_is_leased_to_the_link_s_end),
        cmocka_unit_test(test_a_record_comes_back_as_it_was),
        cmocka_unit_test(test_ranges),
    };
    return cmocka_run_group_tests_name("backup/link", tests, NULL, NULL);
}
