/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options: one line in one table each. Struct, parser, --help, environment, schema and manual
 * derive from the table. Must not know what any option does.
 *
 *     #define SERVER_OPTIONS(OPT)                                                                       \
 *         OPT(data_dir, PATH, "", 0, 0, OPT_REQUIRED, "Directory of the catalog and the keys")            \
 *         OPT(lag_warn, SECONDS, "60s", 1, 86400, OPT_RELOAD, "Warn when a tail falls this far behind")
 *     struct hf_server_options {
 *         HF_OPTION_MEMBERS(SERVER_OPTIONS)
 *     };
 *     #define ROW(...) HF_OPTION_ROW(struct hf_server_options, __VA_ARGS__)
 *     static const struct hf_option rows[] = {SERVER_OPTIONS(ROW)};
 *
 * data_dir is `--data-dir` on the command line, `HOLDFAST_DATA_DIR` in the environment, `data_dir`
 * in the file. A later source wins: default, configuration file, environment, command line.
 */
#ifndef HF_CONFIG_OPTION_H
#define HF_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/secret.h"
#include "codec/json.h"
#include "config/setting.h"

struct hf_option_list {
    char **values; /* owned */
    size_t count;
};

struct hf_option_secret {
    char *path;              /* owned; empty: not given */
    struct hf_secret secret; /* the file's content, without white space around it */
};

/* What a type is in the struct, and how its value is called in help. min and max bound the number;
 * the length of TEXT, PATH and each value of LIST; both 0: no bounds. */
/*    type         member                    value      */
#define HF_OPTION_TYPES(X)                                                                         \
    X(TEXT, char *, "TEXT")                                                                        \
    X(PATH, char *, "PATH")                                                                        \
    X(SIZE, uint64_t, "SIZE")        /* bytes: 65536, 64KiB, 16MiB, 2GiB, 1TiB */                  \
    X(SECONDS, uint64_t, "DURATION") /* 90, 90s, 15m, 2h, 1d */                                    \
    X(NUMBER, uint64_t, "NUMBER")                                                                  \
    X(FLAG, bool, "") /* --name, --no-name, or true or false */                                    \
    X(LIST, struct hf_option_list,                                                                 \
      "TEXT") /* given once for each value; in the environment "a,b" */                            \
    X(SECRET_FILE, struct hf_option_secret,                                                        \
      "FILE") /* refused when others than its owner may read it */

enum hf_option_type {
#define HF_OPTION_TYPE_ENUM(type, member, value) HF_OPTION_##type,
    HF_OPTION_TYPES(HF_OPTION_TYPE_ENUM)
#undef HF_OPTION_TYPE_ENUM
};

enum hf_option_flag {
    OPT_NONE = 0,
    OPT_REQUIRED = 1, /* one of the sources must give it */
    OPT_NEW_ONLY = 2, /* changes what is made from now on, nothing that is there */
    OPT_RELOAD = 4,   /* may be changed while the program runs */
    OPT_HIDDEN = 8,   /* for tests; not in help and manual */
};

struct hf_option {
    const char *name; /* [a-z0-9_]+ */
    enum hf_option_type type;
    const char
        *default_text; /* "auto" of a SIZE, SECONDS or NUMBER: "auto" may be given, and is 0 */
    uint64_t min, max;
    unsigned flags;
    const char *help; /* a sentence without full stop */
    size_t offset;    /* of the member in the struct */
};

#define HF_OPTION_C_TEXT char *
#define HF_OPTION_C_PATH char *
#define HF_OPTION_C_SIZE uint64_t
#define HF_OPTION_C_SECONDS uint64_t
#define HF_OPTION_C_NUMBER uint64_t
#define HF_OPTION_C_FLAG bool
#define HF_OPTION_C_LIST struct hf_option_list
#define HF_OPTION_C_SECRET_FILE struct hf_option_secret

#define HF_OPTION_MEMBER(name, type, default_text, min, max, flags, help) HF_OPTION_C_##type name;
#define HF_OPTION_MEMBERS(table) table(HF_OPTION_MEMBER)
#define HF_OPTION_ROW(struct_type, member, option_type, default_value, minimum, maximum,           \
                      option_flags, help_text)                                                     \
    {.name = #member,                                                                              \
     .type = HF_OPTION_##option_type,                                                              \
     .default_text = (default_value),                                                              \
     .min = (minimum),                                                                             \
     .max = (maximum),                                                                             \
     .flags = (option_flags),                                                                      \
     .help = (help_text),                                                                          \
     .offset = offsetof(struct_type, member)},

struct hf_option_table {
    const char *command;   /* "holdfast server" */
    const char *arguments; /* "SNAPSHOT [FILE]"; "" when it takes none */
    const char *summary;   /* a sentence or more, for help and manual */
    const struct hf_option *options;
    size_t count;
    size_t min_arguments, max_arguments;
    size_t values_bytes; /* sizeof of the struct */
    bool config_file;    /* has --config FILE and HOLDFAST_CONFIG */
    bool has_settings;   /* its file may hold those of config/setting.h too */
    bool no_environment; /* its options are not read from HOLDFAST_…, and help does not say so */
};

struct hf_option_input {
    int argc;
    char *const *argv;              /* what follows the command's name */
    const char *const *environment; /* "NAME=value", NULL at the end; NULL: none */
};

/* What is left beside the options. */
struct hf_option_rest {
    struct hf_option_list arguments;
    bool help; /* --help or -h was given: nothing else was read, the values are the defaults */
    struct hf_setting_layer settings; /* as the file says under the reference's names */
    struct hf_setting_layer
        options; /* as an option says that means the same, wherever it is given */
};
void hf_option_rest_fini(struct hf_option_rest *rest);
HF_CLEANUP_DEFINE_VALUE(hf_option_rest_fini, struct hf_option_rest)

/*
 * Fills the struct at values (as large as table->values_bytes) from all sources; on failure it is
 * left empty. INVALID names option, source, value and what is allowed; NOT_FOUND and the like name
 * the file.
 */
HF_MUST_CHECK enum hf_err hf_option_parse(const struct hf_option_table *table,
                                          const struct hf_option_input *input, void *values,
                                          struct hf_option_rest *rest, struct hf_error *err);
/*
 * Frees what the struct owns and wipes secrets. A zeroed struct, and one finished before, is fine.
 */
void hf_option_fini(const struct hf_option_table *table, void *values);

/* NULL when there is none of that name ('-' and '_' are the same). */
const struct hf_option *hf_option_find(const struct hf_option_table *table, struct hf_str name);
/*
 * Sets one option, as a reload or a REST call does. A LIST is replaced by one value, or by those
 * between commas when `split`. source: "--data-dir", "data_dir in holdfast.conf line 3": what the
 * message begins with.
 */
HF_MUST_CHECK enum hf_err hf_option_set(const struct hf_option *option, const char *text,
                                        bool split, const char *source, void *values,
                                        struct hf_error *err);
/* One more value of a LIST. */
HF_MUST_CHECK enum hf_err hf_option_append(const struct hf_option *option, const char *text,
                                           const char *source, void *values, struct hf_error *err);

/* The option has the same value in both structs. A file's secret is the same when its path is. */
HF_MUST_CHECK bool hf_option_same(const struct hf_option *option, const void *a, const void *b);

/* What --help prints: at most 100 columns. */
HF_MUST_CHECK enum hf_err hf_option_help(const struct hf_option_table *table, struct hf_buf *out,
                                         struct hf_error *err);
/* A section of the manual, in Markdown; a man page (section 1) in roff. */
HF_MUST_CHECK enum hf_err hf_option_markdown(const struct hf_option_table *table,
                                             struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_option_man(const struct hf_option_table *table, struct hf_buf *out,
                                        struct hf_error *err);
/* An array of {"name","type","default","minimum","maximum","required","newOnly","reload","help"};
 * NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_option_schema(const struct hf_option_table *table);

#endif
