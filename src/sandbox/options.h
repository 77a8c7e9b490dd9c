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
    int argc; /* borrowed: as the process was called, for getCmdLineOpts */
    const char *const *argv;
    const char *dbpath;  /* all texts point into argv */
    const char *bind_ip; /* "localhost" when not given: 127.0.0.1 */
    uint16_t port;
    const char *repl_set; /* NULL: a standalone */
    const char *key_file; /* NULL: members trust each other */
    const char *log_path; /* NULL: standard output */
    const char *pid_file; /* NULL: none */
    bool auth;            /* --auth, or a key file */
    bool shard_server, config_server;
    uint64_t oplog_size_mb; /* 0: the default */
    uint64_t sync_delay_s;  /* between checkpoints; 0: none but the last */
    bool recover_from_oplog_as_standalone;
    bool take_unstable_checkpoint_on_shutdown;
    bool queryable_backup_mode;
    uint64_t recover_to_ts;   /* recoverToOplogTimestamp, with the mode above; 0: not given */
    uint64_t cache_bytes;     /* --wiredTigerCacheSizeGB; 0: the default */
    const char *const *given; /* owned: for each row of the table the text given, NULL: none */
    bson_t set_parameters;    /* owned: name: value as text, in the order given; unknown names were
                              refused */
};

/* Parses argv[1] on. INVALID names the option. */
HF_MUST_CHECK enum hf_err hf_sandbox_options_parse(int argc, const char *const *argv,
                                                   struct hf_sandbox_options *out,
                                                   struct hf_error *err);
void hf_sandbox_options_fini(struct hf_sandbox_options *options);
/* The `parsed` document of getCmdLineOpts: net, replication, storage, systemLog, setParameter,
 * security. */
void hf_sandbox_options_append_parsed(const struct hf_sandbox_options *options, bson_t *parsed);
/* The text given with --setParameter, else fallback. */
const char *hf_sandbox_options_parameter(const struct hf_sandbox_options *options, const char *name,
                                         const char *fallback);

#endif
