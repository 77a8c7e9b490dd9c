/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One command in a few lines: its options as a table, a function that gets them parsed. For the command files only.
 */
#ifndef HF_CLI_DEFINE_H
#define HF_CLI_DEFINE_H

#include "cli/command.h"
#include "cli/session.h"
#include "config/option.h"

/* Parses into values (zeroed by the caller); prints the help when asked for it: *go is false then. */
HF_MUST_CHECK enum hf_err hf_cli_parse(const struct hf_option_table *table, int argc,
                                       char *const *argv, void *values, struct hf_option_rest *rest,
                                       bool *go, struct hf_error *err);

/* The one positional argument, or the option's text; INVALID names what is missing. */
HF_MUST_CHECK enum hf_err hf_cli_need(const char *option, const struct hf_option_rest *rest,
                                      const char *what, const char **out, struct hf_error *err);

/*
 * HF_CLI_COMMAND(take, TAKE_OPTIONS, "holdfast snapshot take", "", "Takes …", 0, 1) needs before it
 *     static enum hf_err take(const struct take_values *values, const struct hf_option_rest *rest, struct hf_error *err)
 * and makes `take_command` for the table of commands. HF_CLI_VALUES comes before that function.
 */
#define HF_CLI_VALUES(name, options)                                                               \
    struct name##_values {                                                                         \
        HF_OPTION_MEMBERS(options)                                                                 \
    };
#define HF_CLI_COMMAND(name, row, command_name, argument_text, text, least, most)                  \
    static const struct hf_option name##_rows[] = {row};                                           \
    static const struct hf_option_table name##_table = {                                           \
        .command = (command_name),                                                                 \
        .arguments = (argument_text),                                                              \
        .summary = (text),                                                                         \
        .options = name##_rows,                                                                    \
        .count = HF_ARRAY_LEN(name##_rows),                                                        \
        .min_arguments = (least),                                                                  \
        .max_arguments = (most),                                                                   \
        .values_bytes = sizeof(struct name##_values),                                              \
        .no_environment = true,                                                                    \
    };                                                                                             \
    static enum hf_err name##_command(int argc, char *const *argv, struct hf_error *err)           \
    {                                                                                              \
        HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest = {.help = false};              \
        struct name##_values values = {0};                                                         \
        bool go = false;                                                                           \
        enum hf_err code = hf_cli_parse(&name##_table, argc, argv, &values, &rest, &go, err);      \
        if (code == HF_ERR_OK && go) {                                                             \
            code = name(&values, &rest, err);                                                      \
        }                                                                                          \
        hf_option_fini(&name##_table, &values);                                                    \
        return code;                                                                               \
    }

/* Of the commands that restore into a directory. */
#define HF_CLI_ONTO_OPTIONS(OPT)                                                                   \
    OPT(onto, FLAG, "false", 0, 0, OPT_NONE,                                                       \
        "The directory holds an earlier restore, or the files of a stopped mongod: write only "    \
        "what "                                                                                    \
        "differs, remove what the snapshot does not have")                                         \
    OPT(leave_foreign, FLAG, "false", 0, 0, OPT_NONE,                                              \
        "With --onto: leave files there that are no database's; else they are refused")

/* Opens the session that the values' own options describe. */
#define HF_CLI_OPEN(values, session, err)                                                          \
    hf_cli_session_open(&(const struct hf_cli_session_options){.profile = (values)->profile,       \
                                                               .server = (values)->server,         \
                                                               .ca_file = (values)->ca_file},      \
                        (session), (err))

#endif
