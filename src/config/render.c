/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table in words: --help, the manual, the schema.
 */
#include <stdio.h>

#include "config/option_internal.h"

#define HELP_COLUMNS 100
#define HELP_INDENT 28 /* where the help texts begin */

/*
 * --config is no row of the table, because it decides where values come from; it is shown like one.
 */
static const struct hf_option config_option = {
    .name = "config",
    .type = HF_OPTION_PATH,
    .default_text = "",
    .help = "Configuration file with lines \"name: value\"; options and environment win over it",
};

const char *hf_option_value_name(enum hf_option_type type)
{
    switch (type) {
#define VALUE_NAME(name, member, value)                                                            \
    case HF_OPTION_##name:                                                                         \
        return value;
        HF_OPTION_TYPES(VALUE_NAME)
#undef VALUE_NAME
    }
    return "";
}

const char *hf_option_type_name(enum hf_option_type type)
{
    switch (type) {
    case HF_OPTION_TEXT:
        return "text";
    case HF_OPTION_PATH:
        return "path";
    case HF_OPTION_SIZE:
        return "size";
    case HF_OPTION_SECONDS:
        return "seconds";
    case HF_OPTION_NUMBER:
        return "number";
    case HF_OPTION_FLAG:
        return "flag";
    case HF_OPTION_LIST:
        return "list";
    case HF_OPTION_SECRET_FILE:
        return "secretFile";
    }
    return "";
}

/* "--data-dir PATH" */
static void option_head(const struct hf_option *option, char *out, size_t out_len)
{
    char dashed[HF_OPTION_NAME_BYTES];
    const char *value = hf_option_value_name(option->type);
    hf_option_dashed(option->name, dashed);
    snprintf(out, out_len, "--%s%s%s%s", dashed, value[0] == '\0' ? "" : " ", value,
             option->type == HF_OPTION_LIST ? "..." : "");
}

/* " (required)", " (default 60s, 1s to 1d)"; "" when there is nothing to say. */
static void option_facts(const struct hf_option *option, char *out, size_t out_len)
{
    char range[128];
    hf_option_range(option, range, sizeof range);
    bool has_default =
        option->default_text[0] != '\0' &&
        !(option->type == HF_OPTION_FLAG && strcmp(option->default_text, "false") == 0);
    const char *parts[5];
    size_t count = 0;
    char default_text[256];
    if ((option->flags & OPT_REQUIRED) != 0) {
        parts[count++] = "required";
    }
    if (has_default) {
        snprintf(default_text, sizeof default_text, "default %.200s", option->default_text);
        parts[count++] = default_text;
    }
    if (range[0] != '\0') {
        parts[count++] = range;
    }
    if (option->type == HF_OPTION_LIST) {
        parts[count++] = "may be given several times";
    }
    if ((option->flags & OPT_NEW_ONLY) != 0) {
        parts[count++] = "for new things only";
    }
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && at < out_len; i++) {
        at += (size_t)snprintf(out + at, out_len - at, "%s%s", i == 0 ? " (" : ", ", parts[i]);
    }
    if (count > 0 && at < out_len) {
        snprintf(out + at, out_len - at, ")");
    }
}

/* Appends words, breaking before column HELP_COLUMNS; *column is where the line is. */
static enum hf_err wrap(const char *text, size_t indent, size_t *column, struct hf_buf *out,
                        struct hf_error *err)
{
    bool first = true;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (len > 0) {
            bool fits = *column + (first ? 0 : 1) + len <= HELP_COLUMNS;
            enum hf_err code = HF_ERR_OK;
            if (!fits && *column > indent) {
                code = hf_buf_appendf(out, err, "\n%*s", (int)indent, "");
                *column = indent;
            } else if (!first) {
                code = hf_buf_append_text(out, " ", err);
                *column += 1;
            }
            if (code != HF_ERR_OK || hf_buf_append(out, hf_bytes_of(text, len), err) != HF_ERR_OK) {
                return err->code;
            }
            *column += len;
            first = false;
        }
        text += len + (text[len] == ' ');
    }
    return HF_ERR_OK;
}

static enum hf_err help_option(const struct hf_option *option, struct hf_buf *out,
                               struct hf_error *err)
{
    char head[128];
    char facts[512];
    char text[1536];
    option_head(option, head, sizeof head);
    option_facts(option, facts, sizeof facts);
    snprintf(text, sizeof text, "%.1000s%s", option->help, facts);
    size_t column = 2 + strlen(head);
    if (hf_buf_appendf(out, err, "  %s", head) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code;
    if (column + 2 > HELP_INDENT) {
        code = hf_buf_appendf(out, err, "\n%*s", HELP_INDENT, "");
    } else {
        code = hf_buf_appendf(out, err, "%*s", (int)(HELP_INDENT - column), "");
    }
    column = HELP_INDENT;
    if (code != HF_ERR_OK || wrap(text, HELP_INDENT, &column, out, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_buf_append_text(out, "\n", err);
}

enum hf_err hf_option_help(const struct hf_option_table *table, struct hf_buf *out,
                           struct hf_error *err)
{
    size_t column = 0;
    if (hf_buf_appendf(out, err, "usage: %s [options]%s%s\n\n", table->command,
                       table->arguments[0] == '\0' ? "" : " ", table->arguments) != HF_ERR_OK ||
        wrap(table->summary, 0, &column, out, err) != HF_ERR_OK ||
        hf_buf_append_text(out, "\n\noptions:\n", err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < table->count; i++) {
        if ((table->options[i].flags & OPT_HIDDEN) == 0 &&
            help_option(&table->options[i], out, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (table->config_file && help_option(&config_option, out, err) != HF_ERR_OK) {
        return err->code;
    }
    static const struct hf_option help_row = {
        .name = "help", .type = HF_OPTION_FLAG, .default_text = "", .help = "Print this"};
    if (help_option(&help_row, out, err) != HF_ERR_OK || table->no_environment) {
        return err->code;
    }
    column = 0;
    if (hf_buf_append_text(out, "\n", err) != HF_ERR_OK ||
        wrap("Every option can also be set by an environment variable: --some-name by "
             "HOLDFAST_SOME_NAME.",
             0, &column, out, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_buf_append_text(out, "\n", err);
}

/* ---- Markdown ---- */

/* '|' ends a cell of a table. */
static enum hf_err append_cell(const char *text, struct hf_buf *out, struct hf_error *err)
{
    for (; *text != '\0'; text++) {
        if (*text == '|' && hf_buf_append_text(out, "\\", err) != HF_ERR_OK) {
            return err->code;
        }
        if (hf_buf_append(out, hf_bytes_of(text, 1), err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err markdown_option(const struct hf_option_table *table,
                                   const struct hf_option *option, struct hf_buf *out,
                                   struct hf_error *err)
{
    char head[128];
    char environment[HF_OPTION_NAME_BYTES];
    char range[128];
    option_head(option, head, sizeof head);
    hf_option_environment_name(option->name, environment);
    hf_option_range(option, range, sizeof range);
    if (hf_buf_appendf(out, err, "| `%s` | ", head) != HF_ERR_OK ||
        (!table->no_environment && hf_buf_appendf(out, err, "`%s` | ", environment) != HF_ERR_OK) ||
        append_cell(option->default_text, out, err) != HF_ERR_OK ||
        hf_buf_appendf(out, err, " | %s | ", range) != HF_ERR_OK ||
        append_cell(option->help, out, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_buf_appendf(
        out, err, ".%s%s%s%s |\n", (option->flags & OPT_REQUIRED) != 0 ? " Required." : "",
        option->type == HF_OPTION_LIST ? " May be given several times." : "",
        (option->flags & OPT_NEW_ONLY) != 0 ? " For new things only." : "",
        (option->flags & OPT_RELOAD) != 0 ? " May be changed while running." : "");
}

enum hf_err hf_option_markdown(const struct hf_option_table *table, struct hf_buf *out,
                               struct hf_error *err)
{
    if (hf_buf_appendf(out, err,
                       "## %s\n\n    %s [options]%s%s\n\n%s\n\n"
                       "| option |%s default | allowed | meaning |\n|---|%s---|---|---|\n",
                       table->command, table->command, table->arguments[0] == '\0' ? "" : " ",
                       table->arguments, table->summary,
                       table->no_environment ? "" : " environment |",
                       table->no_environment ? "" : "---|") != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < table->count; i++) {
        if ((table->options[i].flags & OPT_HIDDEN) == 0 &&
            markdown_option(table, &table->options[i], out, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return table->config_file ? markdown_option(table, &config_option, out, err) : HF_ERR_OK;
}

/* ---- Man page ---- */

/*
 * roff: a backslash is \e, a hyphen that is one is \-, a line must not begin with a dot or quote.
 */
static enum hf_err append_roff(const char *text, struct hf_buf *out, struct hf_error *err)
{
    enum hf_err code =
        *text == '.' || *text == '\'' ? hf_buf_append_text(out, "\\&", err) : HF_ERR_OK;
    for (; *text != '\0' && code == HF_ERR_OK; text++) {
        if (*text == '\\') {
            code = hf_buf_append_text(out, "\\e", err);
        } else if (*text == '-') {
            code = hf_buf_append_text(out, "\\-", err);
        } else {
            code = hf_buf_append(out, hf_bytes_of(text, 1), err);
        }
    }
    return code;
}

static enum hf_err man_option(const struct hf_option_table *table, const struct hf_option *option,
                              struct hf_buf *out, struct hf_error *err)
{
    char head[128];
    char facts[512];
    char environment[HF_OPTION_NAME_BYTES];
    option_head(option, head, sizeof head);
    option_facts(option, facts, sizeof facts);
    hf_option_environment_name(option->name, environment);
    if (hf_buf_append_text(out, ".TP\n.B ", err) != HF_ERR_OK ||
        append_roff(head, out, err) != HF_ERR_OK ||
        hf_buf_append_text(out, "\n", err) != HF_ERR_OK ||
        append_roff(option->help, out, err) != HF_ERR_OK ||
        append_roff(facts, out, err) != HF_ERR_OK) {
        return err->code;
    }
    return table->no_environment ? hf_buf_append_text(out, ".\n", err)
                                 : hf_buf_appendf(out, err, ".\nEnvironment: %s.\n", environment);
}

enum hf_err hf_option_man(const struct hf_option_table *table, struct hf_buf *out,
                          struct hf_error *err)
{
    char title[128];
    size_t i = 0;
    for (; table->command[i] != '\0' && i < sizeof title - 1; i++) {
        char c = table->command[i];
        title[i] = c == ' ' ? '-' : (c >= 'a' && c <= 'z') ? (char)(c - 'a' + 'A') : c;
    }
    title[i] = '\0';
    if (hf_buf_append_text(out, ".TH ", err) != HF_ERR_OK ||
        append_roff(title, out, err) != HF_ERR_OK ||
        hf_buf_append_text(out, " 1\n.SH NAME\n", err) != HF_ERR_OK ||
        append_roff(table->command, out, err) != HF_ERR_OK ||
        hf_buf_append_text(out, "\n.SH SYNOPSIS\n.B ", err) != HF_ERR_OK ||
        append_roff(table->command, out, err) != HF_ERR_OK ||
        hf_buf_append_text(out, "\n[options] ", err) != HF_ERR_OK ||
        append_roff(table->arguments, out, err) != HF_ERR_OK ||
        hf_buf_append_text(out, "\n.SH DESCRIPTION\n", err) != HF_ERR_OK ||
        append_roff(table->summary, out, err) != HF_ERR_OK ||
        hf_buf_append_text(out, "\n.SH OPTIONS\n", err) != HF_ERR_OK) {
        return err->code;
    }
    for (i = 0; i < table->count; i++) {
        if ((table->options[i].flags & OPT_HIDDEN) == 0 &&
            man_option(table, &table->options[i], out, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return table->config_file ? man_option(table, &config_option, out, err) : HF_ERR_OK;
}

/* ---- Schema ---- */

struct hf_json *hf_option_schema(const struct hf_option_table *table)
{
    struct hf_json *schema = hf_json_array();
    for (size_t i = 0; schema != NULL && i < table->count; i++) {
        const struct hf_option *option = &table->options[i];
        if ((option->flags & OPT_HIDDEN) != 0) {
            continue;
        }
        struct hf_json *row = hf_json_object();
        hf_json_set_text(row, "name", option->name);
        hf_json_set_text(row, "type", hf_option_type_name(option->type));
        hf_json_set_text(row, "default", option->default_text);
        if (option->min > 0) {
            hf_json_set_u64(row, "minimum", option->min);
        }
        if (option->max > 0) {
            hf_json_set_u64(row, "maximum", option->max);
        }
        hf_json_set_bool(row, "required", (option->flags & OPT_REQUIRED) != 0);
        hf_json_set_bool(row, "newOnly", (option->flags & OPT_NEW_ONLY) != 0);
        hf_json_set_bool(row, "reload", (option->flags & OPT_RELOAD) != 0);
        hf_json_set_text(row, "help", option->help);
        hf_json_append_take(schema, row);
    }
    return schema;
}
