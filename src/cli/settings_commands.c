/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands on the server's settings (config/setting.h), over its API.
 */
#include <stdio.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"

#define PRIVATE HF_CLI_PRIVATE

#define PLAIN_ROW(...) HF_OPTION_ROW(struct plain_values, __VA_ARGS__)
HF_CLI_VALUES(plain, HF_CLI_OPTIONS, PLAIN_ROW)

static void setting_row(struct hf_cli_table *table, const struct hf_json *one)
{
    const char *cells[] = {hf_cli_text(one, "name", ""), hf_cli_text(one, "value", ""),
                           hf_cli_text(one, "source", ""), hf_cli_text(one, "allowed", ""),
                           hf_cli_text(one, "help", "")};
    hf_cli_table_row(table, cells);
}

static const char *const setting_titles[] = {"SETTING", "VALUE", "SOURCE", "ALLOWED", "MEANING"};
static const struct hf_cli_listing setting_listing = {
    .titles = setting_titles, .columns = HF_ARRAY_LEN(setting_titles), .row = setting_row};

static enum hf_err settings_list(const struct plain_values *values,
                                 const struct hf_option_rest *rest, struct hf_error *err)
{
    (void)rest;
    return hf_cli_list(&HF_CLI_SERVER(values), PRIVATE "/settings", &setting_listing, values->json,
                       err);
}

/* value NULL: out of the catalog. Checked here too, so that a wrong name gets into no path. */
static enum hf_err change(const struct plain_values *values, const char *name, const char *value,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *setting = NULL;
    struct hf_setting_value parsed;
    char target[256];

    enum hf_setting_id id = hf_setting_find(hf_str_of(name));
    if (id == HF_SET_COUNT) {
        return hf_setting_unknown(hf_str_of(name), name, err);
    }
    if (value != NULL && hf_setting_parse(id, value, name, &parsed, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_text(body, "value", value == NULL ? "" : value);
    (void)snprintf(target, sizeof target, PRIVATE "/settings/%s", name);
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_cli_call(&session, value == NULL ? "DELETE" : "PATCH", target,
                    value == NULL ? NULL : body, &setting, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(setting, err);
    }
    (void)printf("%s is %s, by %s\n", name, hf_cli_text(setting, "value", ""),
                 hf_cli_text(setting, "source", ""));
    return HF_ERR_OK;
}

static enum hf_err settings_set(const struct plain_values *values,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    return change(values, rest->arguments.values[0], rest->arguments.values[1], err);
}

static enum hf_err settings_unset(const struct plain_values *values,
                                  const struct hf_option_rest *rest, struct hf_error *err)
{
    return change(values, rest->arguments.values[0], NULL, err);
}

/* docs/user/settings.md has it. */
static enum hf_err settings_table(const struct plain_values *values,
                                  const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 16);

    (void)values;
    (void)rest;
    if (hf_setting_markdown(&text, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)printf("%.*s", (int)text.len, (const char *)text.data);
    return HF_ERR_OK;
}

#define COMMANDS(VERB)                                                                             \
    VERB(settings_list, plain, "settings", "list", "", 0, 0, "List the server's settings",         \
         "Lists the settings under the reference's names: what is obeyed, and whether an option, " \
         "the configuration file or the catalog says so.")                                         \
    VERB(settings_set, plain, "settings", "set", "SETTING VALUE", 2, 2, "Change a setting",        \
         "Writes a setting into the catalog. An option of the server and its configuration file "  \
         "win over it.")                                                                           \
    VERB(settings_unset, plain, "settings", "unset", "SETTING", 1, 1, "Take a setting back",       \
         "Takes a setting out of the catalog.")                                                    \
    VERB(settings_table, plain, "settings", "manual", "", 0, 0, "Print all settings in Markdown",  \
         "Prints the table of docs/user/settings.md; asks no server.")
HF_CLI_TABLE(hf_cli_settings_commands, COMMANDS)
