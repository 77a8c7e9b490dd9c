/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sources of options and their order.
 */
#include "base/alloc.h"
#include "os/fs.h"
#include "unit/config/sample.h"

struct fixture {
    struct sample values;
    struct hf_option_rest rest;
    struct hf_error err;
    char *dir;
    char *file; /* a configuration file, when one was written */
};

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    assert_non_null(f);
    assert_int_equal(hf_fs_make_temp_dir("hf-config", &f->dir, &f->err), HF_ERR_OK);
    f->file = hf_path_join(f->dir, "holdfast.conf");
    assert_non_null(f->file);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    hf_option_fini(&table, &f->values);
    hf_option_rest_fini(&f->rest);
    assert_int_equal(hf_fs_remove_tree(f->dir, &f->err), HF_ERR_OK);
    hf_free(f->dir);
    hf_free(f->file);
    hf_free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *text)
{
    assert_int_equal(
        hf_fs_publish_replace(f->file, hf_bytes_of_str(hf_str_of(text)), 0600, &f->err), HF_ERR_OK);
}

/* Parses; each list ends with NULL. */
static enum hf_err parse(struct fixture *f, const char *const *arguments,
                         const char *const *environment)
{
    char *argv[16];
    int argc = 0;
    for (; arguments[argc] != NULL; argc++) {
        argv[argc] = hf_strdup(arguments[argc]);
        assert_non_null(argv[argc]);
    }
    hf_option_fini(&table, &f->values);
    hf_option_rest_fini(&f->rest);
    struct hf_option_input input = {.argc = argc, .argv = argv, .environment = environment};
    enum hf_err code = hf_option_parse(&table, &input, &f->values, &f->rest, &f->err);
    for (int i = 0; i < argc; i++) {
        hf_free(argv[i]);
    }
    return code;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
#define NO_ENV ((const char *const[]){NULL})

static void assert_good(struct fixture *f, enum hf_err code)
{
    if (code != HF_ERR_OK) {
        fail_msg("%s", f->err.message);
    }
}

static void assert_message(struct fixture *f, const char *expected)
{
    assert_string_equal(f->err.message, expected);
}

static void test_defaults_hold_where_nothing_is_given(void **state)
{
    struct fixture *f = *state;
    assert_good(f, parse(f, ARGS("--data-dir", "/d"), NO_ENV));
    assert_string_equal(f->values.data_dir, "/d");
    assert_string_equal(f->values.listen, "127.0.0.1:8080");
    assert_int_equal(f->values.block_size_bytes, 0);
    assert_int_equal(f->values.lag_warn, 60);
    assert_int_equal(f->values.workers, 4);
    assert_false(f->values.verbose);
    assert_true(f->values.encrypt);
    assert_int_equal(f->values.member.count, 0);
    assert_string_equal(f->values.key_file.path, "");
    assert_int_equal(f->values.key_file.secret.len, 0);
    assert_int_equal(f->values.quota, 0);
    assert_int_equal(f->rest.arguments.count, 0);
    assert_false(f->rest.help);
}

static void test_both_spellings_of_the_command_line(void **state)
{
    struct fixture *f = *state;
    assert_good(
        f, parse(f,
                 ARGS("--data-dir=/d=e", "--listen", ":1", "--lag-warn=2h", "--workers", "8",
                      "--verbose", "--no-encrypt", "--member", "a:1", "--member=b:2,c:3", "file"),
                 NO_ENV));
    assert_string_equal(f->values.data_dir, "/d=e");
    assert_string_equal(f->values.listen, ":1");
    assert_int_equal(f->values.lag_warn, 7200);
    assert_int_equal(f->values.workers, 8);
    assert_true(f->values.verbose);
    assert_false(f->values.encrypt);
    assert_int_equal(f->values.member.count, 2);
    assert_string_equal(f->values.member.values[0], "a:1");
    assert_string_equal(f->values.member.values[1], "b:2,c:3");
    assert_int_equal(f->rest.arguments.count, 1);
    assert_string_equal(f->rest.arguments.values[0], "file");
    assert_good(f, parse(f, ARGS("--verbose=no", "--data_dir", "x", "--", "--data-dir"), NO_ENV));
    assert_false(f->values.verbose);
    assert_string_equal(f->values.data_dir, "x");
    assert_string_equal(f->rest.arguments.values[0], "--data-dir");
    assert_good(f, parse(f, ARGS("--data-dir", "--x", "-"), NO_ENV));
    assert_string_equal(f->values.data_dir, "--x");
    assert_string_equal(f->rest.arguments.values[0], "-");
}

static void test_a_stronger_source_wins(void **state)
{
    struct fixture *f = *state;
    write_file(
        f,
        "data_dir: /file\nlisten: file:1\nworkers = 5\nmember: f:1\nmember: f:2\nlag-warn: 5m\n");
    HF_CLEANUP(hf_free) char *config = hf_asprintf("HOLDFAST_CONFIG=%s", f->file);
    const char *const environment[] = {config,
                                       "HOLDFAST_LISTEN=env:1",
                                       "HOLDFAST_WORKERS=6",
                                       "HOLDFAST_MEMBER=e:1,e:2,",
                                       "HOLDFAST_DATA_DIR=",
                                       NULL};
    assert_good(f, parse(f, ARGS("--workers", "7"), environment));
    assert_string_equal(f->values.data_dir, "/file"); /* the variable is empty */
    assert_string_equal(f->values.listen, "env:1");
    assert_int_equal(f->values.workers, 7);
    assert_int_equal(f->values.lag_warn, 300);
    assert_int_equal(f->values.member.count, 2);
    assert_string_equal(f->values.member.values[1], "e:2");
    /*
     * The command line's file wins over the environment's, and a list of the command line over all.
     */
    assert_good(f, parse(f, ARGS("--member", "c:1", "--config", f->file), environment));
    assert_int_equal(f->values.member.count, 1);
    assert_string_equal(f->values.member.values[0], "c:1");
}

static void test_the_file_has_comments_quotes_and_blank_lines(void **state)
{
    struct fixture *f = *state;
    write_file(
        f, "# comment\n\n  \t\n   # more\n data_dir :  /a b  \r\nlisten=\"  q \"\nverbose: yes");
    assert_good(f, parse(f, ARGS("--config", f->file), NO_ENV));
    assert_string_equal(f->values.data_dir, "/a b");
    assert_string_equal(f->values.listen, "  q ");
    assert_true(f->values.verbose);
}

static void test_errors_in_the_file_name_file_and_line(void **state)
{
    struct fixture *f = *state;
    struct {
        const char *text, *message;
    } cases[] = {
        {"data_dir: /d\nworkers: many\n",
         "workers in %s line 2: \"many\" is not a number; allowed: a whole number, 1 to 64"},
        {"\n\nworkerz: 3\n",
         "workerz in %s line 3: there is no such option; hint: did you mean --workers?"},
        {"colour: red\n",
         "colour in %s line 1: there is no such option; hint: holdfast sample --help "
         "lists them all"},
        {"nonsense\n", "%s line 1: \"nonsense\" is no setting; allowed: name: value, or # comment"},
        {"workers: 1\nworkers: 2\n", "workers in %s line 2: \"2\" is a second value; allowed: one"},
        {"listen:\n", "listen in %s line 1: \"\" is too short; allowed: 1 to 64 characters"},
        {"config: x\n",
         "config in %s line 1: there is no such option; hint: holdfast sample --help "
         "lists them all"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        write_file(f, cases[i].text);
        const char *place = strstr(cases[i].message, "%s");
        HF_CLEANUP(hf_free)
        char *expected = hf_asprintf("holdfast sample: %.*s%s%s", (int)(place - cases[i].message),
                                     cases[i].message, f->file, place + 2);
        assert_int_equal(parse(f, ARGS("--config", f->file), NO_ENV), HF_ERR_INVALID);
        assert_message(f, expected);
        assert_null(f->values.data_dir);
    }
}

static void test_a_missing_or_binary_file_is_an_error(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, ARGS("--config", f->file), NO_ENV), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(f->err.message, "holdfast sample: configuration file: "));
    assert_non_null(strstr(f->err.message, f->file));
    assert_int_equal(hf_fs_publish_new(f->file, hf_bytes_of("data_dir: a\0b\n", 14), 0600, &f->err),
                     HF_ERR_OK);
    assert_int_equal(parse(f, ARGS("--config", f->file), NO_ENV), HF_ERR_INVALID);
    assert_non_null(strstr(f->err.message, "NUL byte"));
}

static void test_errors_of_the_command_line(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, ARGS("--dta-dir", "/d"), NO_ENV), HF_ERR_INVALID);
    assert_message(
        f, "holdfast sample: --dta-dir: there is no such option; hint: did you mean --data-dir?");
    assert_int_equal(parse(f, ARGS("--data-dir"), NO_ENV), HF_ERR_INVALID);
    assert_message(f,
                   "holdfast sample: --data-dir: its value is missing; allowed: --data-dir PATH");
    assert_int_equal(parse(f, ARGS("--config"), NO_ENV), HF_ERR_INVALID);
    assert_message(f, "holdfast sample: --config: its value is missing; allowed: --config FILE");
    assert_int_equal(parse(f, ARGS("--data-dir", "a", "--data-dir=b"), NO_ENV), HF_ERR_INVALID);
    assert_message(f, "holdfast sample: --data-dir: \"b\" is a second value; allowed: one");
    assert_int_equal(parse(f, ARGS("-v"), NO_ENV), HF_ERR_INVALID);
    assert_message(f, "holdfast sample: -v: there is no such option; hint: holdfast sample --help "
                      "lists them all");
    assert_int_equal(parse(f, ARGS("--no-workers"), NO_ENV), HF_ERR_INVALID);
    assert_non_null(strstr(f->err.message, "--no-workers: there is no such option"));
    assert_int_equal(parse(f, ARGS("--data-dir=d", "one", "two"), NO_ENV), HF_ERR_INVALID);
    assert_message(f, "holdfast sample: argument \"two\" is one too many; allowed: [FILE]");
    assert_int_equal(parse(f, ARGS("--config", "a", "--config", "b"), NO_ENV), HF_ERR_INVALID);
    assert_message(f, "holdfast sample: --config: \"b\" is a second file; allowed: one");
    assert_int_equal(parse(f, ARGS("--verbose=maybe"), NO_ENV), HF_ERR_INVALID);
    assert_message(
        f, "holdfast sample: --verbose: \"maybe\" is neither yes nor no; allowed: true or false");
    assert_int_equal(parse(f, ARGS("--member", ""), NO_ENV), HF_ERR_INVALID);
    assert_non_null(strstr(f->err.message, "--member: \"\" is empty"));
}

static void test_errors_of_the_environment_name_the_variable(void **state)
{
    struct fixture *f = *state;
    const char *const environment[] = {"HOLDFAST_LAG_WARN=2w", NULL};
    assert_int_equal(parse(f, ARGS("--data-dir=d"), environment), HF_ERR_INVALID);
    assert_message(
        f, "holdfast sample: HOLDFAST_LAG_WARN in the environment: \"2w\" is not a duration; "
           "allowed: seconds, or with s, m, h or d, 1s to 1d");
}

static void test_what_is_required_and_missing_is_named_with_every_way_to_give_it(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, ARGS("--workers", "2"), NO_ENV), HF_ERR_INVALID);
    assert_message(f, "holdfast sample: --data-dir is missing; hint: give --data-dir PATH, or set "
                      "HOLDFAST_DATA_DIR, or in the configuration file data_dir");
    const char *const environment[] = {"HOLDFAST_DATA_DIR=/e", NULL};
    assert_good(f, parse(f, ARGS("--workers", "2"), environment));
}

static void test_a_missing_argument_is_named(void **state)
{
    struct fixture *f = *state;
    struct hf_option_table strict = table;
    strict.arguments = "SNAPSHOT";
    strict.min_arguments = 1;
    char option[] = "--data-dir=d";
    char *argv[] = {option};
    struct hf_option_input input = {.argc = 1, .argv = argv};
    assert_int_equal(hf_option_parse(&strict, &input, &f->values, &f->rest, &f->err),
                     HF_ERR_INVALID);
    assert_message(f, "holdfast sample: an argument is missing; allowed: holdfast sample SNAPSHOT");
}

static void test_help_is_answered_whatever_else_is_wrong(void **state)
{
    struct fixture *f = *state;
    assert_good(f, parse(f, ARGS("--nonsense", "--help"), NO_ENV));
    assert_true(f->rest.help);
    assert_int_equal(f->values.workers, 4);
    assert_good(f, parse(f, ARGS("-h"), NO_ENV));
    assert_true(f->rest.help);
    assert_good(f, parse(f, ARGS("--data-dir=d", "--", "--help"), NO_ENV));
    assert_false(f->rest.help);
}

static void test_a_value_that_looks_like_the_config_option_is_a_value(void **state)
{
    struct fixture *f = *state;
    assert_good(f, parse(f, ARGS("--data-dir", "--config", "x"), NO_ENV));
    assert_string_equal(f->values.data_dir, "--config");
    assert_string_equal(f->rest.arguments.values[0], "x");
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_defaults_hold_where_nothing_is_given),
        WITH(test_both_spellings_of_the_command_line),
        WITH(test_a_stronger_source_wins),
        WITH(test_the_file_has_comments_quotes_and_blank_lines),
        WITH(test_errors_in_the_file_name_file_and_line),
        WITH(test_a_missing_or_binary_file_is_an_error),
        WITH(test_errors_of_the_command_line),
        WITH(test_errors_of_the_environment_name_the_variable),
        WITH(test_what_is_required_and_missing_is_named_with_every_way_to_give_it),
        WITH(test_a_missing_argument_is_named),
        WITH(test_help_is_answered_whatever_else_is_wrong),
        WITH(test_a_value_that_looks_like_the_config_option_is_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
