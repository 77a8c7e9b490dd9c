/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of a member, under mongod's own names.
 */
#ifndef HF_SANDBOX_OPTIONS_H
#define HF_SANDBOX_OPTIONS_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct hf_sandbox_options {
    int argc; /* as the process was called, for getCmdLineOpts */
    const char *const *argv;
    const char *dbpath, *bind_ip; /* all texts point into argv */
    const char *repl_set;         /* NULL: a standalone */
    const char *key_file;         /* NULL: members trust each other */
    const char *log_path;         /* NULL: standard output */
    const char *auth;             /* not NULL: --auth, or a key file */
    const char *queryable;        /* not NULL: --queryableBackupMode */
    uint64_t recover_to_ts;       /* recoverToOplogTimestamp; 0: not given */
    uint64_t port, oplog_size_mb; /* 0: the default */
    uint64_t sync_delay_s;        /* between checkpoints; 0: none but the last */
    const char *cache_gb;         /* NULL: the default */
    bson_t set_parameters;        /* owned: name: value as text, in the order given */
};

/* Parses argv[1] on, which is borrowed. INVALID names the option. */
HF_MUST_CHECK enum hf_err hf_sandbox_options_parse(int argc, const char *const *argv,
                                                   struct hf_sandbox_options *out,
                                                   struct hf_error *err);
#define HF_SANDBOX_VERSION "4.4.6-8"
/* That, or what a test wants it to say. */
const char *hf_sandbox_options_version(const struct hf_sandbox_options *options);
/* Whether the parameter was set to true. */
bool hf_sandbox_options_is_set(const struct hf_sandbox_options *options, const char *parameter);
/* The `parsed` document of getCmdLineOpts. */
void hf_sandbox_options_append_parsed(const struct hf_sandbox_options *options, bson_t *parsed);

#endif
