/* SPDX-License-Identifier: Apache-2.0 */
#include "support/format_kit.h"

#include "format/ids.h"

static void test_an_id_is_24_lower_case_digits(void **state)
{
    struct hf_id id;
    (void)state;
    assert_true(hf_id_parse(hf_str_of("0123456789abcdef01234567"), &id));
    assert_string_equal(hf_id_text(&id).text, "0123456789abcdef01234567");
    assert_false(hf_id_parse(hf_str_of("0123456789ABCDEF01234567"), &id));
    assert_false(hf_id_parse(hf_str_of("0123456789abcdef0123456"), &id));
    assert_false(hf_id_parse(hf_str_of("0123456789abcdef012345678"), &id));
    assert_false(hf_id_parse(hf_str_of("0123456789abcdef0123456g"), &id));
}

static void test_optimes_order_by_time_then_term(void **state)
{
    struct hf_optime a = {.seconds = 1, .increment = 2, .term = 3};
    struct hf_optime b = {.seconds = 1, .increment = 3, .term = 1};
    struct hf_optime c = {.seconds = 1, .increment = 2, .term = 4};
    (void)state;
    assert_true(hf_optime_compare(&a, &b) < 0);
    assert_true(hf_optime_compare(&b, &c) > 0);
    assert_true(hf_optime_compare(&a, &c) < 0);
    assert_int_equal(hf_optime_compare(&a, &a), 0);
}

static void expect_round_trip(const struct hf_object_name *name, const char *text)
{
    struct hf_error err;
    struct hf_object_name parsed;
    assert_string_equal(hf_object_name_text(name).text, text);
    EXPECT_OK(hf_object_name_parse(hf_str_of(text), &parsed, &err), &err);
    assert_string_equal(hf_object_name_text(&parsed).text, text);
    assert_int_equal(parsed.kind, name->kind);
    assert_true(hf_str_starts_with(hf_str_of(text),
                                   hf_str_of(hf_object_prefix(name->kind, &name->job).text)));
}

#define JOB "j/101112131415161718191a1b"
#define WRITER "202122232425262728292a2b"

static void test_every_kind_of_name_is_built_and_parsed(void **state)
{
    struct hf_id job = fixed_id(0x10);
    struct hf_id writer = fixed_id(0x20);
    (void)state;
    expect_round_trip(&(struct hf_object_name){.kind = HF_OBJECT_MARK, .epoch = 18},
                      "holdfast/00000012");
    expect_round_trip(
        &(struct hf_object_name){.kind = HF_OBJECT_KEYS, .job = job, .key = 1, .wrap = 2},
        JOB "/k/00000001-00000002");
    expect_round_trip(
        &(struct hf_object_name){.kind = HF_OBJECT_CLAIM, .job = job, .writer = writer},
        JOB "/c/" WRITER);
    expect_round_trip(&(struct hf_object_name){.kind = HF_OBJECT_DATA,
                                               .job = job,
                                               .writer = writer,
                                               .first = hf_position(2, 3),
                                               .last = hf_position(7, 9),
                                               .round = 4},
                      JOB "/p/0000000007000009-0000000005000006-0004-" WRITER);
    expect_round_trip(&(struct hf_object_name){.kind = HF_OBJECT_TREE,
                                               .job = job,
                                               .writer = writer,
                                               .first = hf_position(HF_CAPTURE_MAX, HF_PACK_MAX),
                                               .last = hf_position(HF_CAPTURE_MAX, HF_PACK_MAX),
                                               .round = HF_ROUND_MAX},
                      JOB "/t/ffffffffffffffff-0000000000000000-ffff-" WRITER);
    expect_round_trip(
        &(struct hf_object_name){.kind = HF_OBJECT_MANIFEST, .job = job, .capture = 0x1234},
        JOB "/m/0000001234");
    expect_round_trip(
        &(struct hf_object_name){
            .kind = HF_OBJECT_OPLOG,
            .job = job,
            .writer = writer,
            .first_optime = {.seconds = 1, .increment = 2, .term = -1},
            .last_optime = {.seconds = 3, .increment = 4, .term = 5},
        },
        JOB "/o/00000003000000040000000000000006-00000001000000020000000000000000-0000-" WRITER);
}

static void test_names_that_nobody_wrote_are_refused(void **state)
{
    static const char *const names[] = {
        "",
        "x",
        "holdfast/1",
        "holdfast/0000001g",
        "holdfast/000000123",
        JOB "/m/000000123",
        JOB "/m/00000012345",
        JOB "/m/000000ABCD",
        JOB "/q/0000001234",
        JOB "/p/0000000007000009-0000000007000010-0004-" WRITER, /* span beyond last */
        JOB "/p/0000000007000009-0000000005000006-0004-" WRITER "/x",
        JOB "/c/" WRITER "0",
        "j/101112131415161718191A1B/m/0000001234",
        "k/101112131415161718191a1b/m/0000001234",
    };
    struct hf_error err;
    struct hf_object_name parsed;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        EXPECT_ERROR(hf_object_name_parse(hf_str_of(names[i]), &parsed, &err), HF_ERR_INVALID,
                     "no name of an object: ", &err);
    }
}

/* store-format.md 2: an output sorts after every one of its inputs. */
static void test_an_output_sorts_after_its_inputs(void **state)
{
    struct hf_object_name input = {.kind = HF_OBJECT_DATA,
                                   .job = fixed_id(1),
                                   .writer = fixed_id(0xf0),
                                   .first = hf_position(5, 1),
                                   .last = hf_position(9, 0)};
    struct hf_object_name wider = input;
    struct hf_object_name again = input;
    (void)state;
    wider.first = hf_position(4, 0);
    wider.writer = fixed_id(1);
    again.round = 1;
    again.writer = fixed_id(1);
    assert_true(strcmp(hf_object_name_text(&input).text, hf_object_name_text(&wider).text) < 0);
    assert_true(strcmp(hf_object_name_text(&input).text, hf_object_name_text(&again).text) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_is_24_lower_case_digits),
        cmocka_unit_test(test_optimes_order_by_time_then_term),
        cmocka_unit_test(test_every_kind_of_name_is_built_and_parsed),
        cmocka_unit_test(test_names_that_nobody_wrote_are_refused),
        cmocka_unit_test(test_an_output_sorts_after_its_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
