/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongod's command line, as far as the sandbox knows it. What an option does is main.c's. One that is not in the table
 * is refused, as mongod does.
 */
#include "sandbox/options.h"

#include <stdio.h>

#include "base/bytes.h"
#include "sandbox/optime.h"

/* Those that can be given at start; the rest is refused, as startupRecoveryForRestore is by the real 4.4.6. */
static const char *const parameters[] = {
    "cursorTimeoutMillis",
    "disableLogicalSessionCacheRefresh",
    "enableTestCommands",
    "maxNumberOfTransactionOperationsInSingleOplogEntry",
    "recoverFromOplogAsStandalone",
    "recoverToOplogTimestamp",
    "sandboxVersion", /* what it says it is */
    "takeUnstableCheckpointOnShutdown",
    "transactionLifetimeLimitSeconds",
    "ttlMonitorEnabled",
};

static enum hf_err set_parameter(struct hf_sandbox_options *out, const char *text,
                                 struct hf_error *err)
{
    size_t len = strcspn(text, "=");

    for (size_t i = 0; text[len] == '=' && i < HF_ARRAY_LEN(parameters); i++) {
        if (hf_str_equal_c((struct hf_str){text, len}, parameters[i])) {
            bson_append_utf8(&out->set_parameters, parameters[i], -1, text + len + 1, -1);
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "Illegal --setParameter parameter: \"%s\"", text);
}

/* One "--name value"; *at moves past it. */
static enum hf_err take_option(struct hf_sandbox_options *out, int *at, struct hf_error *err)
{
    const struct {
        const char *name, **text;
        uint64_t *number, max;
    } rows[] = {
        {"--auth", &out->auth, NULL, 0}, /* the first two have no value */
        {"--queryableBackupMode", &out->queryable, NULL, 0},
        {"--bind_ip", &out->bind_ip, NULL, 0},
        {"--dbpath", &out->dbpath, NULL, 0},
        {"--keyFile", &out->key_file, NULL, 0},
        {"--logpath", &out->log_path, NULL, 0},
        {"--oplogSize", NULL, &out->oplog_size_mb, 1 << 20},
        {"--port", NULL, &out->port, 65535},
        {"--replSet", &out->repl_set, NULL, 0},
        {"--setParameter", NULL, NULL, 0},
        {"--syncdelay", NULL, &out->sync_delay_s, 86400},
        {"--wiredTigerCacheSizeGB", &out->cache_gb, NULL, 0},
    };
    const char *name = out->argv[(*at)++];
    size_t row = 0;

    while (row < HF_ARRAY_LEN(rows) && strcmp(rows[row].name, name) != 0) {
        row++;
    }
    const char *value = row < 2 ? name : *at < out->argc ? out->argv[(*at)++] : NULL;
    if (row == HF_ARRAY_LEN(rows) || value == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "Error parsing command line: %s '%s'",
                       row == HF_ARRAY_LEN(rows) ? "unrecognised option"
                                                 : "an argument is missing for option",
                       name);
    }
    if (rows[row].text != NULL) {
        *rows[row].text = value;
    } else if (rows[row].number == NULL) {
        return set_parameter(out, value, err);
    } else if (!hf_parse_u64(hf_str_of(value), rows[row].number) ||
               *rows[row].number > rows[row].max) {
        return hf_fail(err, HF_ERR_INVALID, "Bad value for %s: %s", name, value);
    }
    return HF_ERR_OK;
}

const char *hf_sandbox_options_version(const struct hf_sandbox_options *options)
{
    bson_iter_t iter;

    return bson_iter_init_find(&iter, &options->set_parameters, "sandboxVersion")
               ? bson_iter_utf8(&iter, NULL)
               : HF_SANDBOX_VERSION;
}

bool hf_sandbox_options_is_set(const struct hf_sandbox_options *options, const char *parameter)
{
    bson_iter_t iter;

    return bson_iter_init_find(&iter, &options->set_parameters, parameter) &&
           strcmp(bson_iter_utf8(&iter, NULL), "true") == 0;
}

/* {timestamp: Timestamp(S, I)}, and what excludes each other. */
static enum hf_err check(struct hf_sandbox_options *out, struct hf_error *err)
{
    unsigned seconds, increment;
    bson_iter_t iter;

    if (bson_iter_init_find(&iter, &out->set_parameters, "recoverToOplogTimestamp")) {
        if (out->queryable == NULL || sscanf(bson_iter_utf8(&iter, NULL), "%*[^T]Timestamp(%u, %u)",
                                             &seconds, &increment) != 2) {
            return hf_fail(err, HF_ERR_INVALID,
                           "recoverToOplogTimestamp is {timestamp: Timestamp(S, I)}, with "
                           "--queryableBackupMode");
        }
        out->recover_to_ts = HF_SANDBOX_TS(seconds, increment);
    }
    return out->repl_set != NULL && hf_sandbox_options_is_set(out, "recoverFromOplogAsStandalone")
               ? hf_fail(err, HF_ERR_INVALID,
                         "Cannot set parameter 'recoverFromOplogAsStandalone' when 'replSet' is "
                         "specified")
               : HF_ERR_OK;
}

enum hf_err hf_sandbox_options_parse(int argc, const char *const *argv,
                                     struct hf_sandbox_options *out, struct hf_error *err)
{
    *out = (struct hf_sandbox_options){.argc = argc,
                                       .argv = argv,
                                       .dbpath = "/data/db",
                                       .bind_ip = "localhost",
                                       .port = 27017,
                                       .sync_delay_s = 60};
    bson_init(&out->set_parameters);
    for (int at = 1; at < argc;) {
        if (take_option(out, &at, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    out->auth = out->auth == NULL ? out->key_file : out->auth;
    return check(out, err);
}

void hf_sandbox_options_append_parsed(const struct hf_sandbox_options *options, bson_t *parsed)
{
    BCON_APPEND(parsed, "net", "{", "bindIp", BCON_UTF8(options->bind_ip), "port",
                BCON_INT32((int32_t)options->port), "}", "storage", "{", "dbPath",
                BCON_UTF8(options->dbpath), "}", "setParameter",
                BCON_DOCUMENT(&options->set_parameters));
    if (options->repl_set != NULL) {
        BCON_APPEND(parsed, "replication", "{", "replSetName", BCON_UTF8(options->repl_set), "}");
    }
    if (options->auth != NULL) {
        BCON_APPEND(parsed, "security", "{", "authorization", "enabled", "}");
    }
}
