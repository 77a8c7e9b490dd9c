/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One main, one table of subcommands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "cli/command.h"
#include "main/services.h"
#include "mongo/client.h"

static const struct hf_command services[] = {
    {"server", NULL, "Run the server: API, ingest, catalog", hf_main_server,
     &hf_main_server_options},
    {"agent", NULL, "Run the agent beside the members of a set", hf_main_agent,
     &hf_main_agent_options},
    {NULL, NULL, NULL, NULL, NULL},
};
/* The tables one after the other, beginning with 0; NULL after the last. */
static const struct hf_command *table_at(size_t index)
{
    return index == 0 ? services : hf_cli_tables[index - 1];
}

static void print_commands(FILE *to)
{
    (void)fprintf(to, "usage: holdfast <command> [options]; holdfast <command> --help\n\n");
    for (size_t i = 0; table_at(i) != NULL; i++) {
        for (const struct hf_command *command = table_at(i); command->noun != NULL; command++) {
            char name[64];
            /* "server status" has the noun that "server" has alone: both are shown. */
            (void)snprintf(name, sizeof name, "%s%s%s", command->noun,
                           command->verb == NULL ? "" : " ",
                           command->verb == NULL ? "" : command->verb);
            (void)fprintf(to, "  %-18s %s\n", name, command->summary);
        }
    }
}

/* Every command's options, in Markdown: docs/user/options.md is this text. */
static enum hf_err print_manual(struct hf_error *err)
{
    for (size_t i = 0; table_at(i) != NULL; i++) {
        for (const struct hf_command *command = table_at(i); command->noun != NULL; command++) {
            HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 20);
            if (command->options == NULL) {
                continue;
            }
            if (hf_option_markdown(command->options, &text, err) != HF_ERR_OK) {
                return err->code;
            }
            (void)printf("%.*s\n", (int)text.len, (const char *)text.data);
        }
    }
    return HF_ERR_OK;
}

/* The entry for noun and verb; *used counts the words that it took. */
static const struct hf_command *find(int argc, char *const *argv, int *used)
{
    const struct hf_command *alone = NULL;

    for (size_t i = 0; table_at(i) != NULL; i++) {
        for (const struct hf_command *command = table_at(i); command->noun != NULL; command++) {
            if (strcmp(command->noun, argv[0]) != 0) {
                continue;
            }
            if (command->verb == NULL) {
                alone = command;
            } else if (argc > 1 && strcmp(command->verb, argv[1]) == 0) {
                *used = 2;
                return command;
            }
        }
    }
    *used = 1;
    return alone;
}

/* The verbs of a noun, for a message. */
static void list_verbs(const char *noun, char *out, size_t out_len)
{
    out[0] = '\0';
    for (size_t i = 0; table_at(i) != NULL; i++) {
        for (const struct hf_command *command = table_at(i); command->noun != NULL; command++) {
            if (strcmp(command->noun, noun) == 0 && command->verb != NULL) {
                size_t at = strlen(out);
                (void)snprintf(out + at, out_len - at, "%s%s", at == 0 ? "" : ", ", command->verb);
            }
        }
    }
}

static int usage_error(char *const *argv)
{
    char verbs[256];

    list_verbs(argv[0], verbs, sizeof verbs);
    if (verbs[0] != '\0') {
        (void)fprintf(stderr, "holdfast: '%s' needs one of: %s\n", argv[0], verbs);
    } else {
        (void)fprintf(stderr, "holdfast: there is no command '%s'; hint: holdfast help\n", argv[0]);
    }
    return hf_err_exit(HF_ERR_INVALID);
}

int main(int argc, char **argv)
{
    struct hf_error err;
    int used = 0;

    hf_alloc_settle();
    hf_error_clear(&err);
    hf_mongo_unname_counters();
#ifdef HF_FAULTS
    const char *faults = getenv("HOLDFAST_FAULTS");
    if (faults != NULL && hf_fault_parse(faults, &err) != HF_ERR_OK) {
        (void)fprintf(stderr, "holdfast: HOLDFAST_FAULTS: %s\n", err.message);
        return hf_err_exit(err.code);
    }
#endif
    if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        print_commands(argc < 2 ? stderr : stdout);
        return argc < 2 ? hf_err_exit(HF_ERR_INVALID) : 0;
    }
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
        (void)printf("holdfast %s\n", HF_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "manual") == 0 && argc == 2) {
        if (print_manual(&err) != HF_ERR_OK) {
            (void)fprintf(stderr, "holdfast: %s\n", err.message);
            return hf_err_exit(err.code);
        }
        return 0;
    }
    const struct hf_command *command = find(argc - 1, argv + 1, &used);
    if (command == NULL) {
        return usage_error(argv + 1);
    }
    if (command->run(argc - 1 - used, argv + 1 + used, &err) != HF_ERR_OK) {
        (void)fflush(stdout);
        (void)fprintf(stderr, "holdfast: %s\n", err.message);
        return hf_err_exit(err.code);
    }
    return 0;
}
