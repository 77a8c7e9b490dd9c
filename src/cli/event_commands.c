/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened that an operator should know of.
 */
#include <stdio.h>
#include <string.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "net/url.h"

#define LIST_OPTIONS(OPT)                                                                          \
    OPT(set, TEXT, "", 0, 200, OPT_NONE, "Only those of this replica set")                         \
    OPT(type, TEXT, "", 0, 100, OPT_NONE, "Only those of this type, as in OPLOG_GAP")              \
    HF_CLI_OPTIONS(OPT)
HF_CLI_VALUES(event_list, LIST_OPTIONS)

static enum hf_err event_list(const struct event_list_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    static const char *const titles[] = {"AT (UTC)", "TYPE", "SET", "WHAT"};
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session;
    HF_CLEANUP(hf_buf_fini) struct hf_buf target = HF_BUF_INIT(4096);
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
    bool first = true;

    (void)rest;
    session.client = NULL;
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        hf_buf_appendf(&target, err, "%s/events", HF_CLI_PRIVATE) != HF_ERR_OK ||
        (values->set[0] != '\0' &&
         hf_url_add_parameter(&target, &first, "set", hf_str_of(values->set), err) != HF_ERR_OK) ||
        (values->type[0] != '\0' &&
         hf_url_add_parameter(&target, &first, "type", hf_str_of(values->type), err) !=
             HF_ERR_OK)) {
        return err->code;
    }
    const char *text = hf_buf_text(&target);
    if (text == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_cli_all_pages(&session, text, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(list, err);
    }
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        char at[32];
        hf_cli_time(hf_json_get_u64(one, "createdS", 0), at);
        const char *cells[] = {at, hf_cli_text(one, "type", ""), hf_cli_text(one, "setName", ""),
                               hf_cli_text(one, "text", "")};
        hf_cli_table_row(table, cells);
    }
    hf_cli_table_print(table);
    return HF_ERR_OK;
}

#define LIST_ROW(...) HF_OPTION_ROW(struct event_list_values, __VA_ARGS__)
HF_CLI_COMMAND(event_list, LIST_OPTIONS(LIST_ROW), "holdfast event list", "",
               "Lists what happened that somebody should know of, newest first.", 0, 0)

const struct hf_command hf_cli_event_commands[] = {
    {"event", "list", "List what happened", event_list_command, &event_list_table},
    {NULL, NULL, NULL, NULL, NULL},
};
