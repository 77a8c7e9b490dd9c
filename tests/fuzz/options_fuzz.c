/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options from each of their sources; the first byte chooses: arguments, environment (parts end with NUL), a
 * configuration file. The table has every type.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "config/option.h"
#include "os/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OPTIONS(OPT)                                                                               \
    OPT(data_dir, PATH, "d", 0, 0, OPT_NONE, "Directory")                                          \
    OPT(listen, TEXT, "127.0.0.1:8080", 1, 64, OPT_NONE, "Address")                                \
    OPT(block_size_bytes, SIZE, "auto", 65536, 16777216, OPT_NEW_ONLY, "Block size")               \
    OPT(lag_warn, SECONDS, "60s", 1, 86400, OPT_RELOAD, "Warn")                                    \
    OPT(workers, NUMBER, "4", 1, 64, OPT_NONE, "Threads")                                          \
    OPT(verbose, FLAG, "false", 0, 0, OPT_NONE, "Say more")                                        \
    OPT(member, LIST, "", 0, 0, OPT_NONE, "A member")                                              \
    OPT(key_file, SECRET_FILE, "", 0, 0, OPT_NONE, "A key")                                        \
    OPT(quota, SIZE, "", 0, 0, OPT_NONE, "Bytes")

struct values {
    HF_OPTION_MEMBERS(OPTIONS)
};
#define ROW(...) HF_OPTION_ROW(struct values, __VA_ARGS__)
static const struct hf_option rows[] = {OPTIONS(ROW)};
static const struct hf_option_table table = {
    .command = "holdfast sample",
    .arguments = "[FILE]",
    .summary = "Nothing.",
    .options = rows,
    .count = HF_ARRAY_LEN(rows),
    .max_arguments = 2,
    .values_bytes = sizeof(struct values),
    .config_file = true,
};

#define WORDS_MAX 32
static char *directory;

static void remove_directory(void)
{
    struct hf_error err;
    (void)!hf_fs_remove_tree(directory, &err);
}

static void parse(const struct hf_option_input *input)
{
    struct values values = {.quota = 0};
    struct hf_option_rest rest = {.help = false};
    struct hf_error err;
    if (hf_option_parse(&table, input, &values, &rest, &err) == HF_ERR_OK && !rest.help) {
        HF_ASSERT(values.workers >= 1 && values.workers <= 64);
        HF_ASSERT(values.lag_warn >= 1 && values.lag_warn <= 86400);
        HF_ASSERT(values.block_size_bytes == 0 ||
                  (values.block_size_bytes >= 65536 && values.block_size_bytes <= 16777216));
        HF_ASSERT(strlen(values.listen) >= 1 && strlen(values.listen) <= 64);
    }
    hf_option_rest_fini(&rest);
    hf_option_fini(&table, &values);
}

static void parse_file(const uint8_t *data, size_t size)
{
    struct hf_error err;
    if (directory == NULL) {
        HF_ASSERT(hf_fs_make_temp_dir("hf-fuzz", &directory, &err) == HF_ERR_OK);
        (void)atexit(remove_directory);
    }
    HF_CLEANUP(hf_free) char *path = hf_path_join(directory, "conf");
    FILE *file = fopen(path, "wb");
    HF_ASSERT(file != NULL && fwrite(data, 1, size, file) == size);
    fclose(file);
    char name[] = "--config";
    char *const words[] = {name, path};
    parse(&(struct hf_option_input){.argc = 2, .argv = words});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *words[WORDS_MAX + 1] = {NULL};
    const char *environment[WORDS_MAX + 1] = {NULL};
    int count = 0;
    if (size < 1) {
        return 0;
    }
    if (data[0] % 3 == 2) {
        parse_file(data + 1, size - 1);
        return 0;
    }
    HF_CLEANUP(hf_free) char *copy = hf_alloc_zero(size);
    memcpy(copy, data + 1, size - 1);
    for (size_t at = 0; at < size - 1 && count < WORDS_MAX; at += strlen(copy + at) + 1) {
        words[count] = copy + at;
        environment[count++] = copy + at;
    }
    if (data[0] % 3 == 0) {
        parse(&(struct hf_option_input){.argc = count, .argv = words});
    } else {
        parse(&(struct hf_option_input){.argc = 0, .argv = words, .environment = environment});
    }
    return 0;
}
