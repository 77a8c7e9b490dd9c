/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table with every type of option, as a command would declare it.
 */
#ifndef HF_TESTS_UNIT_CONFIG_SAMPLE_H
#define HF_TESTS_UNIT_CONFIG_SAMPLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config/option.h"

#define SAMPLE_OPTIONS(OPT)                                                                        \
    OPT(data_dir, PATH, "", 0, 0, OPT_REQUIRED, "Directory of the catalog and the keys")           \
    OPT(listen, TEXT, "127.0.0.1:8080", 1, 64, OPT_NONE, "Address to listen at")                   \
    OPT(block_size_bytes, SIZE, "auto", 65536, 16777216, OPT_NEW_ONLY,                             \
        "Block size of new files; auto goes by file size")                                         \
    OPT(lag_warn, SECONDS, "60s", 1, 86400, OPT_RELOAD, "Warn when a tail falls this far behind")  \
    OPT(workers, NUMBER, "4", 1, 64, OPT_NONE, "Threads that move data")                           \
    OPT(verbose, FLAG, "false", 0, 0, OPT_NONE, "Say more")                                        \
    OPT(encrypt, FLAG, "true", 0, 0, OPT_NEW_ONLY, "Encrypt new jobs")                             \
    OPT(member, LIST, "", 0, 0, OPT_NONE, "A member this agent serves, as host:port")              \
    OPT(key_file, SECRET_FILE, "", 0, 0, OPT_NONE, "File with the key of the store")               \
    OPT(quota, SIZE, "", 0, 0, OPT_NONE, "Bytes that may be used")                                 \
    OPT(slow_down, NUMBER, "0", 0, 0, OPT_HIDDEN, "For tests")

struct sample {
    HF_OPTION_MEMBERS(SAMPLE_OPTIONS)
};

#define ROW(...) HF_OPTION_ROW(struct sample, __VA_ARGS__)
static const struct hf_option rows[] = {SAMPLE_OPTIONS(ROW)};

static const struct hf_option_table table = {
    .command = "holdfast sample",
    .arguments = "[FILE]",
    .summary = "Shows what options can do. It does nothing else, but says so at a length that no "
               "line of a hundred "
               "columns can hold.",
    .options = rows,
    .count = HF_ARRAY_LEN(rows),
    .max_arguments = 1,
    .values_bytes = sizeof(struct sample),
    .config_file = true,
};

#endif
