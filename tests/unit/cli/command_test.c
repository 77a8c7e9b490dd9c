/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of commands: each entry stands under the name that its own options give, and is fit for the manual.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/command.h"

static void for_each(void (*check)(const struct hf_command *command))
{
    size_t count = 0;

    for (size_t i = 0; hf_cli_tables[i] != NULL; i++) {
        for (const struct hf_command *command = hf_cli_tables[i]; command->noun != NULL;
             command++) {
            check(command);
            count++;
        }
    }
    assert_true(count > 10);
}

static void check_name(const struct hf_command *command)
{
    char name[128];

    (void)snprintf(name, sizeof name, "holdfast %s%s%s", command->noun,
                   command->verb == NULL ? "" : " ", command->verb == NULL ? "" : command->verb);
    if (command->options == NULL) {
        assert_string_equal(name, "holdfast sandbox");
        return;
    }
    assert_string_equal(command->options->command, name);
}

static void test_a_command_has_the_name_that_its_options_say(void **state)
{
    (void)state;
    for_each(check_name);
}

static void check_texts(const struct hf_command *command)
{
    assert_non_null(command->run);
    assert_true(command->summary[0] != '\0');
    if (command->options == NULL) {
        return;
    }
    assert_true(command->options->no_environment);
    for (size_t i = 0; i < command->options->count; i++) {
        const char *help = command->options->options[i].help;
        size_t len = strlen(help);
        assert_true(len > 0);
        assert_true(help[len - 1] != '.');
    }
}

static void test_every_option_has_a_sentence_without_a_full_stop(void **state)
{
    (void)state;
    for_each(check_texts);
}

static void check_help(const struct hf_command *command)
{
    static char help[] = "--help";
    char *argv[] = {help, NULL};
    struct hf_error err;

    if (command->options != NULL) {
        assert_int_equal(command->run(1, argv, &err), HF_ERR_OK);
    }
}

static void test_help_needs_no_server(void **state)
{
    (void)state;
    for_each(check_help);
}

static void check_unknown(const struct hf_command *command)
{
    static char wrong[] = "--no-such-thing";
    char *argv[] = {wrong, NULL};
    struct hf_error err;

    if (command->options != NULL) {
        assert_int_equal(command->run(1, argv, &err), HF_ERR_INVALID);
        assert_non_null(strstr(err.message, "--no-such-thing: there is no such option"));
    }
}

static void test_an_unknown_option_is_refused_by_name(void **state)
{
    (void)state;
    for_each(check_unknown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_command_has_the_name_that_its_options_say),
        cmocka_unit_test(test_every_option_has_a_sentence_without_a_full_stop),
        cmocka_unit_test(test_help_needs_no_server),
        cmocka_unit_test(test_an_unknown_option_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
