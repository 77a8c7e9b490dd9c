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
 * Options that one verb has, or several:
 *     #define SET_OPTIONS(OPT) OPT(set, TEXT, ...) HF_CLI_OPTIONS(OPT)
 *     #define SET_ROW(...) HF_OPTION_ROW(struct set_values, __VA_ARGS__)
 *     HF_CLI_VALUES(set, SET_OPTIONS, SET_ROW)
 * A verb is a function with them
 *     static enum hf_err job_show(const struct set_values *values, const struct hf_option_rest *rest, struct hf_error *err)
 * and one line in the table at the end of its file: whose options, its name, how its arguments are called and how many
 * they are (least, most), what `holdfast help` says of it, and what its own help says.
 *     #define COMMANDS(VERB) \
 *         VERB(job_show, set, "job", "show", "[SET]", 0, 1, "Show one job", "Shows one job.")
 *     HF_CLI_TABLE(hf_cli_job_commands, COMMANDS)
 */
#define HF_CLI_VALUES(values_name, options_of, row)                                                \
    struct values_name##_values {                                                                  \
        HF_OPTION_MEMBERS(options_of)                                                              \
    };                                                                                             \
    static const struct hf_option values_name##_rows[] = {options_of(row)};
#define HF_CLI_COMMAND(name, values_name, command_name, argument_text, least, most, text)          \
    static const struct hf_option_table name##_table = {                                           \
        .command = (command_name),                                                                 \
        .arguments = (argument_text),                                                              \
        .summary = (text),                                                                         \
        .options = values_name##_rows,                                                             \
        .count = HF_ARRAY_LEN(values_name##_rows),                                                 \
        .min_arguments = (least),                                                                  \
        .max_arguments = (most),                                                                   \
        .values_bytes = sizeof(struct values_name##_values),                                       \
        .no_environment = true,                                                                    \
    };                                                                                             \
    static enum hf_err name##_command(int argc, char *const *argv, struct hf_error *err)           \
    {                                                                                              \
        HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest = {.help = false};              \
        struct values_name##_values values = {0};                                                  \
        bool go = false;                                                                           \
        enum hf_err code = hf_cli_parse(&name##_table, argc, argv, &values, &rest, &go, err);      \
        if (code == HF_ERR_OK && go) {                                                             \
            code = name(&values, &rest, err);                                                      \
        }                                                                                          \
        hf_option_fini(&name##_table, &values);                                                    \
        return code;                                                                               \
    }
#define HF_CLI_VERB_COMMAND(name, values, noun, verb, arguments, least, most, summary, text)       \
    HF_CLI_COMMAND(name, values, "holdfast " noun " " verb, arguments, least, most, text)
#define HF_CLI_VERB_ENTRY(name, values, noun, verb, arguments, least, most, summary, text)         \
    {noun, verb, summary, name##_command, &name##_table},
#define HF_CLI_TABLE(name, commands)                                                               \
    commands(HF_CLI_VERB_COMMAND) const struct hf_command name[] = {                               \
        commands(HF_CLI_VERB_ENTRY){NULL, NULL, NULL, NULL, NULL},                                 \
    };

/* Of the commands that restore into a directory. */
#define HF_CLI_ONTO_OPTIONS(OPT)                                                                   \
    OPT(onto, FLAG, "false", 0, 0, OPT_NONE,                                                       \
        "The directory holds an earlier restore, or the files of a stopped mongod: write only "    \
        "what "                                                                                    \
        "differs, remove what the snapshot does not have")                                         \
    OPT(leave_foreign, FLAG, "false", 0, 0, OPT_NONE,                                              \
        "With --onto: leave files there that are no database's; else they are refused")

/* The server that the values' own options name, and a session with it. */
#define HF_CLI_SERVER(values)                                                                      \
    ((const struct hf_cli_session_options){.profile = (values)->profile,                           \
                                           .server = (values)->server,                             \
                                           .ca_file = (values)->ca_file,                           \
                                           .project = (values)->project})
#define HF_CLI_OPEN(values, session, err)                                                          \
    hf_cli_session_open(&HF_CLI_SERVER(values), (session), (err))

#endif
