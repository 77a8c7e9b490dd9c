/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help, manual and schema, all from the one table.
 */
#include "unit/config/sample.h"

static const char help_text[] =
    "usage: holdfast sample [options] [FILE]\n"
    "\n"
    "Shows what options can do. It does nothing else, but says so at a length that no line of a "
    "hundred\n"
    "columns can hold.\n"
    "\n"
    "options:\n"
    "  --data-dir PATH           Directory of the catalog and the keys (required)\n"
    "  --listen TEXT             Address to listen at (default 127.0.0.1:8080, 1 to 64 "
    "characters)\n"
    "  --block-size-bytes SIZE   Block size of new files; auto goes by file size (default auto, "
    "64KiB to\n"
    "                            16MiB, for new things only)\n"
    "  --lag-warn DURATION       Warn when a tail falls this far behind (default 60s, 1s to 1d)\n"
    "  --workers NUMBER          Threads that move data (default 4, 1 to 64)\n"
    "  --verbose                 Say more\n"
    "  --encrypt                 Encrypt new jobs (default true, for new things only)\n"
    "  --member TEXT...          A member this agent serves, as host:port (may be given several "
    "times)\n"
    "  --key-file FILE           File with the key of the store\n"
    "  --quota SIZE              Bytes that may be used\n"
    "  --config PATH             Configuration file with lines \"name: value\"; options and "
    "environment win\n"
    "                            over it\n"
    "  --help                    Print this\n"
    "\n"
    "Every option can also be set by an environment variable: --some-name by HOLDFAST_SOME_NAME.\n";

static void test_help_shows_every_option_within_100_columns(void **state)
{
    (void)state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(65536);
    assert_int_equal(hf_option_help(&table, &out, &err), HF_ERR_OK);
    const char *text = hf_buf_text(&out);
    assert_string_equal(text, help_text);
    size_t column = 0;
    for (; *text != '\0'; text++) {
        column = *text == '\n' ? 0 : column + 1;
        assert_true(column <= 100);
    }
}

static void test_markdown_is_a_table(void **state)
{
    (void)state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(65536);
    assert_int_equal(hf_option_markdown(&table, &out, &err), HF_ERR_OK);
    const char *text = hf_buf_text(&out);
    assert_non_null(strstr(text, "## holdfast sample\n\n    holdfast sample [options] [FILE]\n\n"));
    assert_non_null(
        strstr(text, "| `--data-dir PATH` | `HOLDFAST_DATA_DIR` |  |  | Directory of the catalog "
                     "and the keys. Required. |\n"));
    assert_non_null(
        strstr(text, "| `--lag-warn DURATION` | `HOLDFAST_LAG_WARN` | 60s | 1s to 1d | Warn when a "
                     "tail falls this far behind. May be changed while running. |\n"));
    assert_non_null(strstr(text, "| `--config PATH` | `HOLDFAST_CONFIG` |"));
    assert_null(strstr(text, "slow"));
}

static void test_the_man_page_escapes_what_roff_would_read(void **state)
{
    (void)state;
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(65536);
    assert_int_equal(hf_option_man(&table, &out, &err), HF_ERR_OK);
    const char *text = hf_buf_text(&out);
    const char head[] = ".TH HOLDFAST\\-SAMPLE 1\n.SH NAME\nholdfast sample\n";
    assert_int_equal(strncmp(text, head, strlen(head)), 0);
    assert_non_null(strstr(text,
                           ".TP\n.B \\-\\-data\\-dir PATH\nDirectory of the catalog and the keys "
                           "(required).\nEnvironment: HOLDFAST_DATA_DIR.\n"));
    assert_null(strstr(text, "slow"));
}

static void test_the_schema_says_the_same_to_programs(void **state)
{
    (void)state;
    HF_CLEANUP(hf_json_drop) struct hf_json *schema = hf_option_schema(&table);
    assert_non_null(schema);
    assert_int_equal(hf_json_count(schema), table.count - 1);
    struct hf_json *row = hf_json_at(schema, 2);
    assert_string_equal(hf_json_get_text(row, "name"), "block_size_bytes");
    assert_string_equal(hf_json_get_text(row, "type"), "size");
    assert_string_equal(hf_json_get_text(row, "default"), "auto");
    assert_int_equal(hf_json_get_u64(row, "minimum", 0), 65536);
    assert_int_equal(hf_json_get_u64(row, "maximum", 0), 16777216);
    assert_true(hf_json_get_bool(row, "newOnly", false));
    assert_false(hf_json_get_bool(row, "required", true));
    row = hf_json_at(schema, 0);
    assert_true(hf_json_get_bool(row, "required", false));
    assert_null(hf_json_get(row, "maximum"));
}

static void test_a_command_without_environment_does_not_speak_of_it(void **state)
{
    (void)state;
    struct hf_error err;
    struct hf_option_table plain = table;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(65536);
    plain.no_environment = true;
    plain.config_file = false;

    assert_int_equal(hf_option_help(&plain, &out, &err), HF_ERR_OK);
    assert_int_equal(hf_option_markdown(&plain, &out, &err), HF_ERR_OK);
    assert_int_equal(hf_option_man(&plain, &out, &err), HF_ERR_OK);
    const char *text = hf_buf_text(&out);
    assert_null(strstr(text, "HOLDFAST_"));
    assert_null(strstr(text, "nvironment"));
    assert_non_null(strstr(text, "| option | default | allowed | meaning |\n|---|---|---|---|\n"
                                 "| `--data-dir PATH` |  |  | Directory of the catalog"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_shows_every_option_within_100_columns),
        cmocka_unit_test(test_markdown_is_a_table),
        cmocka_unit_test(test_the_man_page_escapes_what_roff_would_read),
        cmocka_unit_test(test_the_schema_says_the_same_to_programs),
        cmocka_unit_test(test_a_command_without_environment_does_not_speak_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
