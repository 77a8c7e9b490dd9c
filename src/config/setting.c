/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of settings, and their values from text and back.
 */
#include "config/setting.h"

#include <inttypes.h>
#include <stdio.h>

#include "config/option_internal.h"

#define HOUR_S 3600
#define DIGITS_MAX 12

const struct hf_setting hf_settings[HF_SET_COUNT] = {
#define HF_SETTING_ROW(id, setting_type, name_text, option_name, default_text, least, most, text)  \
    [HF_SET_##id] = {.name = (name_text),                                                          \
                     .type = HF_SETTING_##setting_type,                                            \
                     .option = (option_name),                                                      \
                     .standard = (default_text),                                                   \
                     .min = (least),                                                               \
                     .max = (most),                                                                \
                     .help = (text)},
    HF_SETTINGS(HF_SETTING_ROW)
#undef HF_SETTING_ROW
};

enum hf_setting_id hf_setting_find(struct hf_str name)
{
    size_t i = 0;

    while (i < HF_SET_COUNT && !hf_str_equal_c(name, hf_settings[i].name)) {
        i++;
    }
    return (enum hf_setting_id)i;
}

enum hf_err hf_setting_unknown(struct hf_str name, const char *source, struct hf_error *err)
{
    const char *nearest = NULL;
    size_t nearest_distance = 4;

    for (size_t i = 0; i < HF_SET_COUNT; i++) {
        size_t distance = hf_option_distance(name, hf_str_of(hf_settings[i].name));
        if (distance < nearest_distance) {
            nearest_distance = distance;
            nearest = hf_settings[i].name;
        }
    }
    if (nearest != NULL) {
        return hf_fail(err, HF_ERR_INVALID, "%s: there is no such setting; hint: did you mean %s?",
                       source, nearest);
    }
    return hf_fail(err, HF_ERR_INVALID,
                   "%s: there is no such setting; hint: holdfast settings list", source);
}

void hf_setting_range(enum hf_setting_id id, char *out, size_t out_len)
{
    const struct hf_setting *setting = &hf_settings[id];

    switch (setting->type) {
    case HF_SETTING_OF_DAY:
        (void)snprintf(out, out_len, "6, 8, 12 or 24");
        return;
    case HF_SETTING_URL:
        (void)snprintf(out, out_len, "http://HOST:PORT or https://HOST:PORT");
        return;
    case HF_SETTING_NUMBER:
    case HF_SETTING_HOURS:
    case HF_SETTING_OR_NONE:
        break;
    }
    (void)snprintf(out, out_len, "%" PRIu64 " to %" PRIu64 "%s%s", setting->min, setting->max,
                   setting->type == HF_SETTING_HOURS ? ", also 1.5" : "",
                   setting->type == HF_SETTING_OR_NONE ? ", or none" : "");
}

/* "1.5" as thousandths; false for what is no such number. */
static bool parse_thousandths(const char *text, uint64_t *out)
{
    size_t whole = strcspn(text, ".");
    const char *fraction = text[whole] == '.' ? text + whole + 1 : "";
    size_t digits = strlen(fraction);
    uint64_t part = 0, number = 0;

    if (whole == 0 || whole > DIGITS_MAX || digits > 3 || (text[whole] == '.' && digits == 0) ||
        !hf_parse_u64((struct hf_str){text, whole}, &number) ||
        (digits > 0 && !hf_parse_u64(hf_str_of(fraction), &part))) {
        return false;
    }
    for (; digits > 0 && digits < 3; digits++) {
        part *= 10;
    }
    *out = number * 1000 + part;
    return true;
}

static bool is_url(const char *text)
{
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;
    size_t len = strlen(text);

    if (scheme == 0 || text[scheme] == '\0' || text[scheme] == '/' || text[len - 1] == '/') {
        return false;
    }
    for (size_t i = scheme; i < len; i++) {
        if (text[i] <= ' ' || text[i] >= 0x7F || strchr("@\"\\<>?#", text[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static bool parse_number(const struct hf_setting *setting, const char *text, uint64_t *out)
{
    uint64_t thousandths = 0;

    if (setting->type == HF_SETTING_OR_NONE && strcmp(text, "none") == 0) {
        *out = 0;
        return true;
    }
    if (!parse_thousandths(text, &thousandths) || thousandths < setting->min * 1000 ||
        thousandths > setting->max * 1000) {
        return false;
    }
    if (setting->type == HF_SETTING_HOURS) {
        *out = thousandths * HOUR_S / 1000;
        return true;
    }
    *out = thousandths / 1000;
    return thousandths % 1000 == 0 && (setting->type != HF_SETTING_OF_DAY || *out == 6 ||
                                       *out == 8 || *out == 12 || *out == 24);
}

enum hf_err hf_setting_parse(enum hf_setting_id id, const char *text, const char *source,
                             struct hf_setting_value *out, struct hf_error *err)
{
    const struct hf_setting *setting = &hf_settings[id];
    struct hf_setting_value value = {.number = 0};
    char range[96];
    bool good = strlen(text) < sizeof value.text;

    if (good && setting->type == HF_SETTING_URL) {
        good = text[0] == '\0' || (strlen(text) <= setting->max && is_url(text));
        (void)snprintf(value.text, sizeof value.text, "%s", text);
    } else {
        good = good && parse_number(setting, text, &value.number);
    }
    if (!good) {
        hf_setting_range(id, range, sizeof range);
        return hf_fail(err, HF_ERR_INVALID, "%s: \"%.100s\" is no value; allowed: %s", source, text,
                       range);
    }
    *out = value;
    return HF_ERR_OK;
}

void hf_setting_text(enum hf_setting_id id, const struct hf_setting_value *value,
                     char out[HF_SETTING_TEXT_BYTES])
{
    const struct hf_setting *setting = &hf_settings[id];
    uint64_t thousandths = value->number * 1000 / HOUR_S;

    if (setting->type == HF_SETTING_URL) {
        memcpy(out, value->text, HF_SETTING_TEXT_BYTES);
    } else if (setting->type == HF_SETTING_OR_NONE && value->number == 0) {
        (void)snprintf(out, HF_SETTING_TEXT_BYTES, "none");
    } else if (setting->type == HF_SETTING_HOURS && value->number % HOUR_S != 0) {
        (void)snprintf(out, HF_SETTING_TEXT_BYTES, "%" PRIu64 ".%03" PRIu64, thousandths / 1000,
                       thousandths % 1000);
    } else {
        (void)snprintf(out, HF_SETTING_TEXT_BYTES, "%" PRIu64,
                       setting->type == HF_SETTING_HOURS ? value->number / HOUR_S : value->number);
    }
}

enum hf_err hf_setting_markdown(struct hf_buf *out, struct hf_error *err)
{
    if (hf_buf_append_text(out,
                           "| setting | default | allowed | option | meaning |\n"
                           "|---|---|---|---|---|\n",
                           err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < HF_SET_COUNT; i++) {
        const struct hf_setting *setting = &hf_settings[i];
        char range[96], dashed[HF_OPTION_NAME_BYTES];
        hf_setting_range((enum hf_setting_id)i, range, sizeof range);
        hf_option_dashed(setting->option, dashed);
        if (hf_buf_appendf(out, err, "| `%s` | %s | %s | %s%s%s | %s. |\n", setting->name,
                           setting->standard, range, dashed[0] == '\0' ? "" : "`--", dashed,
                           dashed[0] == '\0' ? "" : "`", setting->help) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}
