/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sources of options, from the weakest to the strongest: defaults, configuration file,
 * environment, command line. A stronger source replaces what a weaker one gave, lists as a whole;
 * within one source nothing but a list may be given twice, because one of the two would be ignored
 * in silence.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "config/option_internal.h"
#include "os/fs.h"

#define FILE_MAX_BYTES ((size_t)1 << 20)
#define SOURCE_BYTES 320
#define CONFIG_NAME "config"

enum source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_COMMAND_LINE };

struct parser {
    const struct hf_option_table *table;
    void *values;         /* borrowed */
    enum source *sources; /* owned: where each option's value came from */
    struct hf_option_rest *rest;
};

void hf_option_dashed(const char *name, char *out)
{
    size_t i = 0;
    for (; name[i] != '\0' && i < HF_OPTION_NAME_BYTES - 1; i++) {
        out[i] = name[i] == '_' ? '-' : name[i];
    }
    out[i] = '\0';
}

void hf_option_environment_name(const char *name, char *out)
{
    int at = snprintf(out, HF_OPTION_NAME_BYTES, "HOLDFAST_");
    size_t i = (size_t)at;
    for (; *name != '\0' && i < HF_OPTION_NAME_BYTES - 1; name++, i++) {
        out[i] = *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
    }
    out[i] = '\0';
}

static bool same_name(const char *name, struct hf_str text)
{
    size_t len = strlen(name);
    if (len != text.len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (name[i] != (text.data[i] == '-' ? '_' : text.data[i])) {
            return false;
        }
    }
    return true;
}

const struct hf_option *hf_option_find(const struct hf_option_table *table, struct hf_str name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (same_name(table->options[i].name, name)) {
            return &table->options[i];
        }
    }
    return NULL;
}

/* How many letters must be changed, added or dropped; names are short. */
size_t hf_option_distance(struct hf_str a, struct hf_str b)
{
    size_t row[HF_OPTION_NAME_BYTES];
    if (a.len >= HF_OPTION_NAME_BYTES || b.len >= HF_OPTION_NAME_BYTES) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = a.data[i - 1] == '-' ? '_' : a.data[i - 1];
            size_t best = diagonal + (x != b.data[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[b.len];
}

static enum hf_err unknown(const struct hf_option_table *table, struct hf_str name,
                           const char *source, struct hf_error *err)
{
    const char *nearest = NULL;
    size_t nearest_distance = 3;
    for (size_t i = 0; i < table->count; i++) {
        size_t d = hf_option_distance(name, hf_str_of(table->options[i].name));
        if (d < nearest_distance && (table->options[i].flags & OPT_HIDDEN) == 0) {
            nearest = table->options[i].name;
            nearest_distance = d;
        }
    }
    if (nearest == NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "%s: there is no such option; hint: %s --help lists them all", source,
                       table->command);
    }
    char dashed[HF_OPTION_NAME_BYTES];
    hf_option_dashed(nearest, dashed);
    return hf_fail(err, HF_ERR_INVALID, "%s: there is no such option; hint: did you mean --%s?",
                   source, dashed);
}

/* Gives a value to an option, in the order of the sources. */
static enum hf_err give(struct parser *parser, const struct hf_option *option, const char *text,
                        enum source from, const char *source, struct hf_error *err)
{
    enum source *before = &parser->sources[option - parser->table->options];
    if (*before == from && from != SOURCE_DEFAULT) {
        if (option->type == HF_OPTION_LIST) {
            return hf_option_append(option, text, source, parser->values, err);
        }
        return hf_fail(err, HF_ERR_INVALID, "%s: \"%.100s\" is a second value; allowed: one",
                       source, text);
    }
    *before = from;
    bool split = from == SOURCE_DEFAULT || from == SOURCE_ENVIRONMENT;
    return hf_option_set(option, text, split, source, parser->values, err);
}

/* ---- Defaults ---- */

static enum hf_err read_defaults(struct parser *parser, struct hf_error *err)
{
    for (size_t i = 0; i < parser->table->count; i++) {
        const struct hf_option *option = &parser->table->options[i];
        bool number = option->type == HF_OPTION_SIZE || option->type == HF_OPTION_SECONDS ||
                      option->type == HF_OPTION_NUMBER || option->type == HF_OPTION_FLAG;
        if (number && option->default_text[0] == '\0') {
            continue; /* required, or 0: the struct is zeroed */
        }
        char source[SOURCE_BYTES];
        snprintf(source, sizeof source, "default of %s", option->name);
        if (give(parser, option, option->default_text, SOURCE_DEFAULT, source, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- Configuration file ---- */

static struct hf_str trim(struct hf_str text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && strchr(" \t\r", text.data[text.len - 1]) != NULL) {
        text.len--;
    }
    return text;
}

/* A setting under the reference's name, which no option has: options hold no dots. */
static enum hf_err give_setting(struct parser *parser, struct hf_str key, const char *text,
                                const char *source, struct hf_error *err)
{
    enum hf_setting_id id = hf_setting_find(key);

    if (id == HF_SET_COUNT) {
        return hf_setting_unknown(key, source, err);
    }
    if (parser->rest->settings.given[id]) {
        return hf_fail(err, HF_ERR_INVALID, "%s: \"%.100s\" is a second value; allowed: one",
                       source, text);
    }
    parser->rest->settings.given[id] = true;
    return hf_setting_parse(id, text, source, &parser->rest->settings.values[id], err);
}

static enum hf_err read_line(struct parser *parser, struct hf_str line, const char *where,
                             struct hf_error *err)
{
    line = trim(line);
    if (line.len == 0 || line.data[0] == '#') {
        return HF_ERR_OK;
    }
    size_t at = 0;
    while (at < line.len && line.data[at] != ':' && line.data[at] != '=') {
        at++;
    }
    if (at == line.len) {
        return hf_fail(err, HF_ERR_INVALID,
                       "%s: \"%.*s\" is no setting; allowed: name: value, or # comment", where,
                       (int)(line.len < 100 ? line.len : 100), line.data);
    }
    struct hf_str key = trim((struct hf_str){.data = line.data, .len = at});
    struct hf_str value =
        trim((struct hf_str){.data = line.data + at + 1, .len = line.len - at - 1});
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"') {
        value.data++;
        value.len -= 2;
    }
    char source[SOURCE_BYTES];
    snprintf(source, sizeof source, "%.*s in %s", (int)(key.len < 64 ? key.len : 64), key.data,
             where);
    HF_CLEANUP(hf_free) char *text = hf_strndup(value.data, value.len);
    if (text == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: no memory for its value", source);
    }
    if (parser->table->has_settings && memchr(key.data, '.', key.len) != NULL) {
        return give_setting(parser, key, text, source, err);
    }
    const struct hf_option *option = hf_option_find(parser->table, key);
    if (option == NULL) {
        return unknown(parser->table, key, source, err);
    }
    return give(parser, option, text, SOURCE_FILE, source, err);
}

static enum hf_err read_file(struct parser *parser, const char *path, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf content = HF_BUF_INIT(FILE_MAX_BYTES);
    if (hf_fs_read_whole(path, FILE_MAX_BYTES, &content, err) != HF_ERR_OK) {
        return hf_wrap(err, "configuration file");
    }
    if (content.len > 0 && memchr(content.data, '\0', content.len) != NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "configuration file %s: it holds a NUL byte; allowed: text", path);
    }
    const char *at = (const char *)content.data;
    size_t left = content.len;
    for (unsigned number = 1; left > 0; number++) {
        const char *end = memchr(at, '\n', left);
        size_t len = end == NULL ? left : (size_t)(end - at);
        char where[256];
        snprintf(where, sizeof where, "%.200s line %u", path, number);
        if (read_line(parser, (struct hf_str){.data = at, .len = len}, where, err) != HF_ERR_OK) {
            return err->code;
        }
        len += end != NULL;
        at += len;
        left -= len;
    }
    return HF_ERR_OK;
}

/* ---- Environment ---- */

static const char *environment_value(const struct hf_option_input *input, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; input->environment != NULL && input->environment[i] != NULL; i++) {
        const char *line = input->environment[i];
        if (strncmp(line, name, len) == 0 && line[len] == '=') {
            return line + len + 1;
        }
    }
    return NULL;
}

static enum hf_err read_environment(struct parser *parser, const struct hf_option_input *input,
                                    struct hf_error *err)
{
    for (size_t i = 0; i < parser->table->count; i++) {
        const struct hf_option *option = &parser->table->options[i];
        char name[HF_OPTION_NAME_BYTES];
        char source[SOURCE_BYTES];
        hf_option_environment_name(option->name, name);
        snprintf(source, sizeof source, "%s in the environment", name);
        const char *value = environment_value(input, name);
        /* An empty variable is how many launchers say "not set". */
        if (value != NULL && value[0] != '\0' &&
            give(parser, option, value, SOURCE_ENVIRONMENT, source, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- Command line ---- */

static enum hf_err keep_argument(struct parser *parser, const char *text, struct hf_error *err)
{
    struct hf_option_list *arguments = &parser->rest->arguments;
    if (arguments->count == parser->table->max_arguments) {
        return hf_fail(
            err, HF_ERR_INVALID, "argument \"%.100s\" is one too many; allowed: %s", text,
            parser->table->arguments[0] == '\0' ? "options only" : parser->table->arguments);
    }
    char **longer =
        hf_realloc_array(arguments->values, arguments->count + 1, sizeof *arguments->values);
    if (longer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the arguments");
    }
    arguments->values = longer;
    if ((arguments->values[arguments->count] = hf_strdup(text)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the arguments");
    }
    arguments->count++;
    return HF_ERR_OK;
}

static bool is_config(const struct hf_option_table *table, struct hf_str name)
{
    return table->config_file && hf_str_equal_c(name, CONFIG_NAME);
}

/* One "--name" with what follows; *used gets how many arguments were taken. */
static enum hf_err read_option(struct parser *parser, char *const *argv, int left, int *used,
                               struct hf_error *err)
{
    const char *text = argv[0] + 2;
    struct hf_str name = {.data = text, .len = strcspn(text, "=")};
    const char *value = text[name.len] == '=' ? text + name.len + 1 : NULL;
    char source[SOURCE_BYTES];
    snprintf(source, sizeof source, "--%.*s", (int)(name.len < 64 ? name.len : 64), name.data);
    const struct hf_option *option = hf_option_find(parser->table, name);
    bool negated = false;
    *used = 1;
    if (option == NULL && value == NULL && hf_str_starts_with(name, hf_str_of("no-"))) {
        option = hf_option_find(parser->table, hf_str_of(text + 3));
        negated = option != NULL && option->type == HF_OPTION_FLAG;
    }
    bool config = is_config(parser->table, name);
    if (!config && (option == NULL || (!negated && !same_name(option->name, name)))) {
        return unknown(parser->table, name, source, err);
    }
    if (!config && option->type == HF_OPTION_FLAG) {
        return give(parser, option,
                    value != NULL ? value
                    : negated     ? "false"
                                  : "true",
                    SOURCE_COMMAND_LINE, source, err);
    }
    if (value == NULL) {
        if (left < 2) {
            return hf_fail(err, HF_ERR_INVALID, "%s: its value is missing; allowed: %s %s", source,
                           source, config ? "FILE" : hf_option_value_name(option->type));
        }
        value = argv[1];
        *used = 2;
    }
    return config ? HF_ERR_OK : give(parser, option, value, SOURCE_COMMAND_LINE, source, err);
}

static enum hf_err read_command_line(struct parser *parser, const struct hf_option_input *input,
                                     struct hf_error *err)
{
    bool only_arguments = false;
    for (int i = 0; i < input->argc;) {
        const char *text = input->argv[i];
        int used = 1;
        enum hf_err code = HF_ERR_OK;
        if (!only_arguments && strcmp(text, "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && strncmp(text, "--", 2) == 0) {
            code = read_option(parser, input->argv + i, input->argc - i, &used, err);
        } else if (!only_arguments && text[0] == '-' && text[1] != '\0') {
            code = unknown(parser->table, hf_str_of(text + 1), text, err);
        } else {
            code = keep_argument(parser, text, err);
        }
        if (code != HF_ERR_OK) {
            return code;
        }
        i += used;
    }
    return HF_ERR_OK;
}

/* The file that the command line, or else the environment, names; NULL for none. It is read before
 * both. */
static enum hf_err find_config(const struct hf_option_table *table,
                               const struct hf_option_input *input, const char **path,
                               struct hf_error *err)
{
    *path = NULL;
    if (!table->config_file) {
        return HF_ERR_OK;
    }
    for (int i = 0; i < input->argc && strcmp(input->argv[i], "--") != 0; i++) {
        const char *text = input->argv[i];
        const char *value = NULL;
        if (strncmp(text, "--config=", 9) == 0) {
            value = text + 9;
        } else if (strcmp(text, "--config") == 0 && i + 1 < input->argc) {
            value = input->argv[++i];
        } else if (strncmp(text, "--", 2) == 0 && strchr(text, '=') == NULL) {
            /* What follows may be the value of this option, and look like anything. */
            const struct hf_option *option = hf_option_find(table, hf_str_of(text + 2));
            i += option != NULL && option->type != HF_OPTION_FLAG;
        }
        if (value != NULL && *path != NULL) {
            return hf_fail(err, HF_ERR_INVALID,
                           "--config: \"%.100s\" is a second file; allowed: one", value);
        }
        *path = value != NULL ? value : *path;
    }
    if (*path == NULL) {
        *path = environment_value(input, "HOLDFAST_CONFIG");
        *path = *path != NULL && **path == '\0' ? NULL : *path;
    }
    return HF_ERR_OK;
}

static enum hf_err check_complete(const struct parser *parser, struct hf_error *err)
{
    const struct hf_option_table *table = parser->table;
    for (size_t i = 0; i < table->count; i++) {
        const struct hf_option *option = &table->options[i];
        if ((option->flags & OPT_REQUIRED) == 0 || parser->sources[i] != SOURCE_DEFAULT) {
            continue;
        }
        char dashed[HF_OPTION_NAME_BYTES];
        char environment[HF_OPTION_NAME_BYTES];
        hf_option_dashed(option->name, dashed);
        hf_option_environment_name(option->name, environment);
        return hf_fail(err, HF_ERR_INVALID, "--%s is missing; hint: give --%s %s%s%s%s%s", dashed,
                       dashed, hf_option_value_name(option->type),
                       table->no_environment ? "" : ", or set ",
                       table->no_environment ? "" : environment,
                       table->config_file ? ", or in the configuration file " : "",
                       table->config_file ? option->name : "");
    }
    if (parser->rest->arguments.count < table->min_arguments) {
        return hf_fail(err, HF_ERR_INVALID, "an argument is missing; allowed: %s %s",
                       table->command, table->arguments);
    }
    return HF_ERR_OK;
}

static bool wants_help(const struct hf_option_input *input)
{
    for (int i = 0; i < input->argc && strcmp(input->argv[i], "--") != 0; i++) {
        if (strcmp(input->argv[i], "--help") == 0 || strcmp(input->argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

/* Options that mean what a setting means, as far as somebody gave them. */
static void note_settings(struct parser *parser)
{
    for (size_t i = 0; parser->table->has_settings && i < HF_SET_COUNT; i++) {
        const struct hf_option *option =
            hf_option_find(parser->table, hf_str_of(hf_settings[i].option));
        if (option != NULL && parser->sources[option - parser->table->options] != SOURCE_DEFAULT) {
            parser->rest->options.given[i] = true;
            parser->rest->options.values[i].number =
                *(uint64_t *)hf_option_member(option, parser->values);
        }
    }
}

static enum hf_err parse(struct parser *parser, const struct hf_option_input *input,
                         struct hf_error *err)
{
    const char *config = NULL;
    if (read_defaults(parser, err) != HF_ERR_OK) {
        return err->code;
    }
    if (wants_help(input)) {
        parser->rest->help = true;
        return HF_ERR_OK;
    }
    if (find_config(parser->table, input, &config, err) != HF_ERR_OK ||
        (config != NULL && read_file(parser, config, err) != HF_ERR_OK) ||
        read_environment(parser, input, err) != HF_ERR_OK ||
        read_command_line(parser, input, err) != HF_ERR_OK) {
        return err->code;
    }
    note_settings(parser);
    return check_complete(parser, err);
}

enum hf_err hf_option_parse(const struct hf_option_table *table,
                            const struct hf_option_input *input, void *values,
                            struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_free)
    enum source *sources = hf_alloc_zero((table->count + 1) * sizeof *sources);
    memset(values, 0, table->values_bytes);
    *rest = (struct hf_option_rest){.help = false};
    if (sources == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the options");
    }
    struct parser parser = {.table = table, .values = values, .sources = sources, .rest = rest};
    if (parse(&parser, input, err) != HF_ERR_OK) {
        hf_option_fini(table, values);
        hf_option_rest_fini(rest);
        return hf_wrap(err, "%s", table->command);
    }
    return HF_ERR_OK;
}
