/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to value and back to words, by type. Must not know where a text came from beyond its name.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "config/option_internal.h"
#include "os/fs.h"

#define TEXT_MAX_BYTES 65536
#define SHOWN_BYTES 100
#define LIST_MAX_VALUES 1024

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first: the way a limit is written. */
static const struct unit size_units[] = {
    {"TiB", (uint64_t)1 << 40},
    {"GiB", (uint64_t)1 << 30},
    {"MiB", (uint64_t)1 << 20},
    {"KiB", (uint64_t)1 << 10},
    {"B", 1},
};
static const struct unit second_units[] = {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}};

static const struct unit *units_of(enum hf_option_type type, size_t *count)
{
    if (type == HF_OPTION_SIZE) {
        *count = HF_ARRAY_LEN(size_units);
        return size_units;
    }
    if (type == HF_OPTION_SECONDS) {
        *count = HF_ARRAY_LEN(second_units);
        return second_units;
    }
    *count = 0;
    return NULL;
}

static void format_number(enum hf_option_type type, uint64_t number, char *out, size_t out_len)
{
    size_t count;
    const struct unit *units = units_of(type, &count);
    for (size_t i = 0; i < count; i++) {
        if (number >= units[i].factor && number % units[i].factor == 0) {
            bool plain = type == HF_OPTION_SIZE && units[i].factor == 1;
            snprintf(out, out_len, "%llu%s", (unsigned long long)(number / units[i].factor),
                     plain ? "" : units[i].suffix);
            return;
        }
    }
    snprintf(out, out_len, "%llu", (unsigned long long)number);
}

static bool is_number(enum hf_option_type type)
{
    return type == HF_OPTION_SIZE || type == HF_OPTION_SECONDS || type == HF_OPTION_NUMBER;
}

void hf_option_range(const struct hf_option *option, char *out, size_t out_len)
{
    char min[32];
    char max[32];
    const char *characters = is_number(option->type) ? "" : " characters";
    format_number(option->type, option->min, min, sizeof min);
    format_number(option->type, option->max, max, sizeof max);
    out[0] = '\0';
    if (option->type == HF_OPTION_FLAG || option->type == HF_OPTION_SECRET_FILE) {
        return;
    }
    if (option->min > 0 && option->max > 0) {
        snprintf(out, out_len, "%s to %s%s", min, max, characters);
    } else if (option->max > 0) {
        snprintf(out, out_len, "at most %s%s", max, characters);
    } else if (option->min > 0) {
        snprintf(out, out_len, "at least %s%s", min, characters);
    }
}

void *hf_option_member(const struct hf_option *option, void *values)
{
    return (char *)values + option->offset;
}

/* "source: "text" is not ...; allowed: ...": the one form of every refusal. */
static enum hf_err refuse(const struct hf_option *option, const char *source, const char *text,
                          const char *what, const char *form, struct hf_error *err)
{
    char range[128];
    char shown[SHOWN_BYTES + 1];
    hf_option_range(option, range, sizeof range);
    size_t len = 0;
    for (; len < SHOWN_BYTES && text[len] != '\0'; len++) {
        shown[len] = (unsigned char)text[len] < ' ' ? '?' : text[len];
    }
    shown[len] = '\0';
    return hf_fail(
        err, HF_ERR_INVALID, "%s: \"%s%s\" %s; allowed: %s%s%s%s", source, shown,
        text[len] == '\0' ? "" : "...", what, form, form[0] != '\0' && range[0] != '\0' ? ", " : "",
        range,
        is_number(option->type) && strcmp(option->default_text, "auto") == 0 ? ", or auto" : "");
}

static const char *form_of(enum hf_option_type type)
{
    switch (type) {
    case HF_OPTION_SIZE:
        return "bytes, or with KiB, MiB, GiB or TiB";
    case HF_OPTION_SECONDS:
        return "seconds, or with s, m, h or d";
    case HF_OPTION_NUMBER:
        return "a whole number";
    case HF_OPTION_FLAG:
        return "true or false";
    case HF_OPTION_TEXT:
    case HF_OPTION_PATH:
    case HF_OPTION_LIST:
    case HF_OPTION_SECRET_FILE:
        break;
    }
    return "";
}

/* "16 MiB", "16MiB", "90s", "7". */
static bool read_number(enum hf_option_type type, const char *text, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (digits == 0 || !hf_parse_u64((struct hf_str){.data = text, .len = digits}, &number)) {
        return false;
    }
    const char *suffix = text + digits;
    if (suffix[0] == '\0') {
        *out = number;
        return true;
    }
    suffix += suffix[0] == ' ';
    size_t count;
    const struct unit *units = units_of(type, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(suffix, units[i].suffix) == 0) {
            return !__builtin_mul_overflow(number, units[i].factor, out);
        }
    }
    return false;
}

static enum hf_err set_number(const struct hf_option *option, const char *text, const char *source,
                              uint64_t *out, struct hf_error *err)
{
    uint64_t number;
    if (strcmp(option->default_text, "auto") == 0 && strcmp(text, "auto") == 0) {
        *out = 0;
        return HF_ERR_OK;
    }
    if (!read_number(option->type, text, &number)) {
        return refuse(option, source, text,
                      option->type == HF_OPTION_SIZE      ? "is not a size"
                      : option->type == HF_OPTION_SECONDS ? "is not a duration"
                                                          : "is not a number",
                      form_of(option->type), err);
    }
    if (number < option->min || (option->max > 0 && number > option->max)) {
        return refuse(option, source, text, number < option->min ? "is too small" : "is too large",
                      "", err);
    }
    *out = number;
    return HF_ERR_OK;
}

static enum hf_err set_flag(const struct hf_option *option, const char *text, const char *source,
                            bool *out, struct hf_error *err)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < HF_ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return HF_ERR_OK;
        }
    }
    return refuse(option, source, text, "is neither yes nor no", form_of(option->type), err);
}

static enum hf_err check_text(const struct hf_option *option, const char *text, const char *source,
                              struct hf_error *err)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == '\x7f') {
            return refuse(option, source, text, "holds a control character", "printable text", err);
        }
    }
    if (len < option->min || len > (option->max > 0 ? option->max : TEXT_MAX_BYTES)) {
        return refuse(option, source, text, len < option->min ? "is too short" : "is too long",
                      option->min == 0 && option->max == 0 ? "at most 65536 characters" : "", err);
    }
    return HF_ERR_OK;
}

static enum hf_err set_text(const struct hf_option *option, const char *text, const char *source,
                            char **out, struct hf_error *err)
{
    /* The empty default is "not given", whatever the bounds of what is given. */
    bool unset = text == option->default_text && text[0] == '\0';
    if (!unset && check_text(option, text, source, err) != HF_ERR_OK) {
        return err->code;
    }
    char *copy = hf_strdup(text);
    if (copy == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: no memory for its value", source);
    }
    hf_free(*out);
    *out = copy;
    return HF_ERR_OK;
}

static void list_clear(struct hf_option_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        hf_free(list->values[i]);
    }
    hf_free(list->values);
    *list = (struct hf_option_list){.values = NULL, .count = 0};
}
HF_CLEANUP_DEFINE_VALUE(list_clear, struct hf_option_list)

static enum hf_err append(const struct hf_option *option, const char *text, const char *source,
                          struct hf_option_list *list, struct hf_error *err)
{
    if (check_text(option, text, source, err) != HF_ERR_OK) {
        return err->code;
    }
    if (text[0] == '\0') {
        return refuse(option, source, text, "is empty", "text", err);
    }
    if (list->count == LIST_MAX_VALUES) {
        return hf_fail(err, HF_ERR_INVALID,
                       "%s: \"%.100s\" is one value too many; allowed: at most %d", source, text,
                       LIST_MAX_VALUES);
    }
    char **longer = hf_realloc_array(list->values, list->count + 1, sizeof *list->values);
    if (longer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: no memory for its value", source);
    }
    list->values = longer;
    if ((list->values[list->count] = hf_strdup(text)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: no memory for its value", source);
    }
    list->count++;
    return HF_ERR_OK;
}

enum hf_err hf_option_append(const struct hf_option *option, const char *text, const char *source,
                             void *values, struct hf_error *err)
{
    HF_ASSERT(option->type == HF_OPTION_LIST);
    return append(option, text, source, hf_option_member(option, values), err);
}

static enum hf_err set_list(const struct hf_option *option, const char *text, bool split,
                            const char *source, struct hf_option_list *out, struct hf_error *err)
{
    HF_CLEANUP(list_clear) struct hf_option_list list = {.values = NULL, .count = 0};
    do {
        size_t len = split ? strcspn(text, ",") : strlen(text);
        HF_CLEANUP(hf_free) char *value = hf_strndup(text, len);
        if (value == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "%s: no memory for its value", source);
        }
        /* Of the parts between commas, empty ones say nothing. */
        if ((len > 0 || !split) && append(option, value, source, &list, err) != HF_ERR_OK) {
            return err->code;
        }
        text += len + (text[len] != '\0');
    } while (*text != '\0');
    list_clear(out);
    *out = list;
    list = (struct hf_option_list){.values = NULL, .count = 0};
    return HF_ERR_OK;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static enum hf_err read_secret(const char *path, const char *source, struct hf_secret *out,
                               struct hf_error *err)
{
    struct hf_file_info info;
    if (hf_fs_stat(path, &info, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", source);
    }
    if (info.kind != HF_FILE_REGULAR) {
        return hf_fail(err, HF_ERR_INVALID,
                       "%s: \"%s\" is not a file; allowed: a file with the secret", source, path);
    }
    if ((info.mode & 077) != 0) {
        return hf_fail(
            err, HF_ERR_DENIED,
            "%s: \"%s\" has mode %03o, others may read or change it; allowed: 600 or less; "
            "hint: chmod 600 %s",
            source, path, info.mode & 0777, path);
    }
    /* White space around the secret does not count for its length. */
    struct hf_buf content = HF_BUF_INIT(HF_SECRET_MAX_BYTES + 64);
    enum hf_err code = hf_fs_read_whole(path, content.max, &content, err);
    if (code == HF_ERR_OK) {
        struct hf_bytes secret = hf_buf_bytes(&content);
        while (secret.len > 0 && is_space(secret.data[secret.len - 1])) {
            secret.len--;
        }
        while (secret.len > 0 && is_space(secret.data[0])) {
            secret.data++;
            secret.len--;
        }
        if (secret.len == 0) {
            code = hf_fail(err, HF_ERR_INVALID, "\"%s\" is empty; allowed: a file with the secret",
                           path);
        } else if (!hf_secret_set(out, secret)) {
            code = hf_fail(err, HF_ERR_LIMIT, "the secret in \"%s\" is longer than %d bytes", path,
                           HF_SECRET_MAX_BYTES);
        }
    }
    if (content.data != NULL) {
        hf_wipe(content.data, content.capacity);
    }
    hf_buf_fini(&content);
    return code == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "%s", source);
}

static enum hf_err set_secret(const struct hf_option *option, const char *text, const char *source,
                              struct hf_option_secret *out, struct hf_error *err)
{
    HF_CLEANUP(hf_secret_wipe) struct hf_secret secret = {.len = 0};
    if ((text[0] != '\0' && read_secret(text, source, &secret, err) != HF_ERR_OK) ||
        set_text(option, text, source, &out->path, err) != HF_ERR_OK) {
        return err->code;
    }
    out->secret = secret;
    return HF_ERR_OK;
}

enum hf_err hf_option_set(const struct hf_option *option, const char *text, bool split,
                          const char *source, void *values, struct hf_error *err)
{
    switch (option->type) {
    case HF_OPTION_TEXT:
    case HF_OPTION_PATH:
        return set_text(option, text, source, hf_option_member(option, values), err);
    case HF_OPTION_SIZE:
    case HF_OPTION_SECONDS:
    case HF_OPTION_NUMBER:
        return set_number(option, text, source, hf_option_member(option, values), err);
    case HF_OPTION_FLAG:
        return set_flag(option, text, source, hf_option_member(option, values), err);
    case HF_OPTION_LIST:
        return set_list(option, text, split, source, hf_option_member(option, values), err);
    case HF_OPTION_SECRET_FILE:
        return set_secret(option, text, source, hf_option_member(option, values), err);
    }
    return hf_fail(err, HF_ERR_INTERNAL, "%s: an option of type %d", source, (int)option->type);
}

void hf_option_fini(const struct hf_option_table *table, void *values)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct hf_option *option = &table->options[i];
        void *member = hf_option_member(option, values);
        if (option->type == HF_OPTION_TEXT || option->type == HF_OPTION_PATH) {
            hf_free(*(char **)member);
        } else if (option->type == HF_OPTION_LIST) {
            list_clear(member);
        } else if (option->type == HF_OPTION_SECRET_FILE) {
            struct hf_option_secret *secret = member;
            hf_free(secret->path);
            hf_secret_wipe(&secret->secret);
        }
    }
    memset(values, 0, table->values_bytes);
}

void hf_option_rest_fini(struct hf_option_rest *rest)
{
    list_clear(&rest->arguments);
    rest->help = false;
}

/* ---- Comparing ---- */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

static bool same_list(const struct hf_option_list *a, const struct hf_option_list *b)
{
    for (size_t i = 0; a->count == b->count && i < a->count; i++) {
        if (!same_text(a->values[i], b->values[i])) {
            return false;
        }
    }
    return a->count == b->count;
}

bool hf_option_same(const struct hf_option *option, const void *a, const void *b)
{
    const void *left = (const unsigned char *)a + option->offset;
    const void *right = (const unsigned char *)b + option->offset;

    switch (option->type) {
    case HF_OPTION_TEXT:
    case HF_OPTION_PATH:
        return same_text(*(char *const *)left, *(char *const *)right);
    case HF_OPTION_SIZE:
    case HF_OPTION_SECONDS:
    case HF_OPTION_NUMBER:
        return *(const uint64_t *)left == *(const uint64_t *)right;
    case HF_OPTION_FLAG:
        return *(const bool *)left == *(const bool *)right;
    case HF_OPTION_LIST:
        return same_list(left, right);
    case HF_OPTION_SECRET_FILE:
        return same_text(((const struct hf_option_secret *)left)->path,
                         ((const struct hf_option_secret *)right)->path);
    }
    return false;
}
