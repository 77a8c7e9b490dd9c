/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's settings over the API: what is obeyed, and the catalog's changed.
 */
#include "server/api.h"
#include "server/settings.h"

static struct hf_json *setting_document(struct hf_server_call *call, enum hf_setting_id id)
{
    struct hf_json *json = hf_json_object();
    struct hf_setting_value value;
    char text[HF_SETTING_TEXT_BYTES], range[96];

    enum hf_setting_source source = hf_settings_get(call->app->settings, id, &value);
    hf_setting_text(id, &value, text);
    hf_setting_range(id, range, sizeof range);
    hf_json_set_text(json, "name", hf_settings[id].name);
    hf_json_set_text(json, "value", text);
    hf_json_set_text(json, "source", hf_setting_source_word(source));
    hf_json_set_text(json, "default", hf_settings[id].standard);
    hf_json_set_text(json, "allowed", range);
    hf_json_set_text(json, "help", hf_settings[id].help);
    return json;
}

void hf_api_server_settings(struct hf_server_call *call)
{
    struct hf_json *results = hf_json_array();
    const struct hf_call_page page = {.number = 1, .size = HF_SET_COUNT};

    for (size_t i = 0; i < HF_SET_COUNT; i++) {
        hf_json_append_take(results, setting_document(call, (enum hf_setting_id)i));
    }
    hf_reply_list(call, &page, results, HF_SET_COUNT);
}

/* False: it was answered. */
static bool find_setting(struct hf_server_call *call, enum hf_setting_id *out)
{
    const char *name = call->parameters[0];
    struct hf_error err;

    *out = hf_setting_find(hf_str_of(name));
    if (*out != HF_SET_COUNT) {
        return true;
    }
    (void)!hf_setting_unknown(hf_str_of(name), name, &err); /* err tells it */
    hf_reply_error(call, &err, NULL);
    return false;
}

static void change(struct hf_server_call *call, enum hf_setting_id id, const char *text)
{
    struct hf_error err;

    if (hf_settings_set(call->app, id, text, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_json(call, 200, setting_document(call, id));
}

void hf_api_set_server_setting(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"value", HF_JSON_TEXT}, {NULL, HF_JSON_NULL}};
    enum hf_setting_id id = HF_SET_COUNT;

    if (!hf_call_body_only(call, members) || !find_setting(call, &id)) {
        return;
    }
    const char *text = hf_json_get_text(call->body, "value");
    if (text == NULL) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_ATTRIBUTE", "value is missing");
        return;
    }
    change(call, id, text);
}

void hf_api_unset_server_setting(struct hf_server_call *call)
{
    enum hf_setting_id id = HF_SET_COUNT;

    if (find_setting(call, &id)) {
        change(call, id, NULL);
    }
}
