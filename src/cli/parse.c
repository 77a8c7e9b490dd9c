/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all commands do with their arguments.
 */
#include <stdio.h>

#include "cli/define.h"

/* The environment names only what every command may take from it: an option of one command must not change another. */
enum hf_err hf_cli_parse(const struct hf_option_table *table, int argc, char *const *argv,
                         void *values, struct hf_option_rest *rest, bool *go, struct hf_error *err)
{
    const struct hf_option_input input = {.argc = argc, .argv = argv, .environment = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf help = HF_BUF_INIT((size_t)1 << 20);

    *go = false;
    if (hf_option_parse(table, &input, values, rest, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", table->command);
    }
    if (!rest->help) {
        *go = true;
        return HF_ERR_OK;
    }
    if (hf_option_help(table, &help, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)fwrite(help.data, 1, help.len, stdout);
    return HF_ERR_OK;
}

enum hf_err hf_cli_need(const char *option, const struct hf_option_rest *rest, const char *what,
                        const char **out, struct hf_error *err)
{
    if (option != NULL && option[0] != '\0') {
        *out = option;
        return HF_ERR_OK;
    }
    if (rest->arguments.count > 0) {
        *out = rest->arguments.values[0];
        return HF_ERR_OK;
    }
    return hf_fail(err, HF_ERR_INVALID, "--%s is missing; hint: --help lists the options", what);
}
