/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongod's command line, as far as the sandbox knows it: one table says name, place in getCmdLineOpts, type.
 *
 * What an option does is main.c's. An option that is not in the table is refused, as mongod does.
 */
#include "sandbox/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "sandbox/optime.h"

enum type { TEXT, INT, REAL, FLAG, FLAG_OFF };

/* Sorted by place, so that documents can be built in one pass. */
static const struct row {
    const char *name; /* after "--" */
    const char *place;
    enum type type;
} rows[] = {
    {"bind_ip", "net.bindIp", TEXT},
    {"bind_ip_all", "net.bindIpAll", FLAG},
    {"ipv6", "net.ipv6", FLAG},
    {"port", "net.port", INT},
    {"nounixsocket", "net.unixDomainSocket.enabled", FLAG_OFF},
    {"pidfilepath", "processManagement.pidFilePath", TEXT},
    {"enableMajorityReadConcern", "replication.enableMajorityReadConcern", TEXT},
    {"oplogSize", "replication.oplogSizeMB", INT},
    {"replSet", "replication.replSetName", TEXT},
    {"auth", "security.authorization", FLAG},
    {"keyFile", "security.keyFile", TEXT},
    {"configsvr", "sharding.clusterRole", FLAG},
    {"shardsvr", "sharding.clusterRole", FLAG},
    {"dbpath", "storage.dbPath", TEXT},
    {"journal", "storage.journal.enabled", FLAG},
    {"queryableBackupMode", "storage.queryableBackupMode", FLAG},
    {"storageEngine", "storage.engine", TEXT},
    {"syncdelay", "storage.syncPeriodSecs", REAL},
    {"wiredTigerCacheSizeGB", "storage.wiredTiger.engineConfig.cacheSizeGB", REAL},
    {"logappend", "systemLog.logAppend", FLAG},
    {"logpath", "systemLog.path", TEXT},
    {"quiet", "systemLog.quiet", FLAG},
};
#define ROW_COUNT HF_ARRAY_LEN(rows)

/* Parameters that can be given at start; the rest is refused, as startupRecoveryForRestore is by the real 4.4.6. */
static const char *const parameters[] = {
    "authenticationMechanisms",
    "cursorTimeoutMillis",
    "disableLogicalSessionCacheRefresh",
    "enableTestCommands",
    "logLevel",
    "maxNumberOfTransactionOperationsInSingleOplogEntry",
    "periodicNoopIntervalSecs",
    "recoverFromOplogAsStandalone",
    "recoverToOplogTimestamp",
    "skipShardingConfigurationChecks",
    "takeUnstableCheckpointOnShutdown",
    "transactionLifetimeLimitSeconds",
    "ttlMonitorEnabled",
    "wiredTigerFileHandleCloseIdleTime",
    "writePeriodicNoops",
};

static const char *given(const struct hf_sandbox_options *options, const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return options->given[i];
        }
    }
    return NULL;
}

static bool is_yes(const char *text)
{
    return text != NULL && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0);
}

const char *hf_sandbox_options_parameter(const struct hf_sandbox_options *options, const char *name,
                                         const char *fallback)
{
    bson_iter_t iter;

    if (bson_iter_init_find(&iter, &options->set_parameters, name) && BSON_ITER_HOLDS_UTF8(&iter)) {
        return bson_iter_utf8(&iter, NULL);
    }
    return fallback;
}

static enum hf_err set_parameter(struct hf_sandbox_options *out, const char *text,
                                 struct hf_error *err)
{
    const char *equals = strchr(text, '=');

    for (size_t i = 0; equals != NULL && i < HF_ARRAY_LEN(parameters); i++) {
        if (strlen(parameters[i]) == (size_t)(equals - text) &&
            strncmp(parameters[i], text, (size_t)(equals - text)) == 0) {
            (void)bson_append_utf8(&out->set_parameters, parameters[i], -1, equals + 1, -1);
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "Illegal --setParameter parameter: \"%s\"", text);
}

/* One "--name value" or "--name=value"; *at moves past it. */
static enum hf_err take_option(struct hf_sandbox_options *out, const char **values, int *at,
                               struct hf_error *err)
{
    const char *argument = out->argv[*at];
    size_t len = strcspn(argument, "=");
    const char *value = argument[len] == '=' ? argument + len + 1 : NULL;
    bool is_parameter = len == 14 && strncmp(argument, "--setParameter", len) == 0;
    size_t row = ROW_COUNT;

    for (size_t i = 0; i < ROW_COUNT && len > 2; i++) {
        if (strncmp(argument, "--", 2) == 0 && strlen(rows[i].name) == len - 2 &&
            strncmp(argument + 2, rows[i].name, len - 2) == 0) {
            row = i;
        }
    }
    (*at)++;
    if (row == ROW_COUNT && !is_parameter) {
        return hf_fail(err, HF_ERR_INVALID, "Error parsing command line: unrecognised option '%s'",
                       argument);
    }
    if (!is_parameter && (rows[row].type == FLAG || rows[row].type == FLAG_OFF)) {
        values[row] = "true";
        return HF_ERR_OK;
    }
    if (value == NULL) {
        if (*at >= out->argc) {
            return hf_fail(err, HF_ERR_INVALID,
                           "Error parsing command line: the required argument for option '%s' is "
                           "missing",
                           argument);
        }
        value = out->argv[(*at)++];
    }
    if (is_parameter) {
        return set_parameter(out, value, err);
    }
    values[row] = value;
    return HF_ERR_OK;
}

static enum hf_err read_number(const struct hf_sandbox_options *options, const char *name,
                               uint64_t max, uint64_t *out, struct hf_error *err)
{
    const char *text = given(options, name);

    if (text != NULL && (!hf_parse_u64(hf_str_of(text), out) || *out > max)) {
        return hf_fail(err, HF_ERR_INVALID, "Bad value for --%s: %s", name, text);
    }
    return HF_ERR_OK;
}

/* '{timestamp: Timestamp(S, I)}' in any spacing, or its extended JSON: the first two numbers count. */
static uint64_t read_timestamp(const char *text)
{
    unsigned long long numbers[2] = {0, 0};
    size_t count = 0;

    for (const char *at = text; *at != '\0' && count < 2;) {
        if (*at >= '0' && *at <= '9') {
            char *end;

            numbers[count++] = strtoull(at, &end, 10);
            at = end;
        } else {
            at++;
        }
    }
    return HF_SANDBOX_TS(numbers[0], numbers[1]);
}

static enum hf_err read_values(struct hf_sandbox_options *out, struct hf_error *err)
{
    uint64_t port = 27017;
    const char *cache = given(out, "wiredTigerCacheSizeGB");
    const char *to = hf_sandbox_options_parameter(out, "recoverToOplogTimestamp", NULL);

    out->dbpath = given(out, "dbpath") == NULL ? "/data/db" : given(out, "dbpath");
    out->bind_ip = given(out, "bind_ip") == NULL ? "localhost" : given(out, "bind_ip");
    out->bind_ip = given(out, "bind_ip_all") != NULL ? "0.0.0.0" : out->bind_ip;
    out->repl_set = given(out, "replSet");
    out->key_file = given(out, "keyFile");
    out->log_path = given(out, "logpath");
    out->pid_file = given(out, "pidfilepath");
    out->auth = given(out, "auth") != NULL || out->key_file != NULL;
    out->shard_server = given(out, "shardsvr") != NULL;
    out->config_server = given(out, "configsvr") != NULL;
    out->queryable_backup_mode = given(out, "queryableBackupMode") != NULL;
    out->recover_from_oplog_as_standalone =
        is_yes(hf_sandbox_options_parameter(out, "recoverFromOplogAsStandalone", NULL));
    out->take_unstable_checkpoint_on_shutdown =
        is_yes(hf_sandbox_options_parameter(out, "takeUnstableCheckpointOnShutdown", NULL));
    out->recover_to_ts = to == NULL ? 0 : read_timestamp(to);
    out->sync_delay_s = 60;
    out->cache_bytes = cache == NULL ? 0 : (uint64_t)(strtod(cache, NULL) * 1073741824.0);
    if (read_number(out, "port", 65535, &port, err) != HF_ERR_OK ||
        read_number(out, "oplogSize", 1 << 20, &out->oplog_size_mb, err) != HF_ERR_OK ||
        read_number(out, "syncdelay", 86400, &out->sync_delay_s, err) != HF_ERR_OK) {
        return err->code;
    }
    out->port = (uint16_t)port;
    if (given(out, "storageEngine") != NULL &&
        strcmp(given(out, "storageEngine"), "wiredTiger") != 0) {
        return hf_fail(err, HF_ERR_INVALID,
                       "Cannot start server with an unknown storage engine: %s",
                       given(out, "storageEngine"));
    }
    if (out->recover_from_oplog_as_standalone && out->repl_set != NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "Cannot set parameter 'recoverFromOplogAsStandalone' when "
                       "'replSet' is specified");
    }
    if (out->recover_to_ts != 0 && !out->queryable_backup_mode) {
        return hf_fail(err, HF_ERR_INVALID, "recoverToOplogTimestamp needs --queryableBackupMode");
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_options_parse(int argc, const char *const *argv,
                                     struct hf_sandbox_options *out, struct hf_error *err)
{
    const char **values = hf_alloc_zero(ROW_COUNT * sizeof *values);
    int at = 1;

    *out = (struct hf_sandbox_options){.argc = argc, .argv = argv, .given = values};
    bson_init(&out->set_parameters);
    if (values == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "read the command line");
    }
    while (at < argc) {
        if (take_option(out, values, &at, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return read_values(out, err);
}

void hf_sandbox_options_fini(struct hf_sandbox_options *options)
{
    bson_destroy(&options->set_parameters);
    hf_free((void *)(uintptr_t)options->given);
}

static void append_value(bson_t *out, const char *key, const struct row *row, const char *text)
{
    if (row->type == FLAG && strcmp(row->place, "security.authorization") == 0) {
        (void)BSON_APPEND_UTF8(out, key, "enabled");
    } else if (row->type == FLAG && strcmp(row->place, "sharding.clusterRole") == 0) {
        (void)BSON_APPEND_UTF8(out, key, row->name);
    } else if (row->type == FLAG) {
        (void)BSON_APPEND_BOOL(out, key, true);
    } else if (row->type == FLAG_OFF) {
        (void)BSON_APPEND_BOOL(out, key, false);
    } else if (row->type == INT) {
        (void)BSON_APPEND_INT32(out, key, (int32_t)strtol(text, NULL, 10));
    } else if (row->type == REAL) {
        (void)BSON_APPEND_DOUBLE(out, key, strtod(text, NULL));
    } else {
        (void)BSON_APPEND_UTF8(out, key, text);
    }
}

/* The rows from *at on whose places begin with the prefix of len bytes. */
static void append_level(const struct hf_sandbox_options *options, size_t *at, size_t len,
                         bson_t *out)
{
    const char *prefix = rows[*at].place;

    while (*at < ROW_COUNT && strncmp(rows[*at].place, prefix, len) == 0) {
        const char *rest = rows[*at].place + len;
        size_t part = strcspn(rest, ".");
        char key[64];
        bson_t inner;

        if (options->given[*at] == NULL) {
            (*at)++;
            continue;
        }
        (void)snprintf(key, sizeof key, "%.*s", (int)part, rest);
        if (rest[part] == '\0') {
            append_value(out, key, &rows[*at], options->given[*at]);
            (*at)++;
        } else {
            (void)BSON_APPEND_DOCUMENT_BEGIN(out, key, &inner);
            append_level(options, at, len + part + 1, &inner);
            (void)bson_append_document_end(out, &inner);
        }
    }
}

void hf_sandbox_options_append_parsed(const struct hf_sandbox_options *options, bson_t *parsed)
{
    size_t at = 0;

    append_level(options, &at, 0, parsed);
    if (!bson_empty(&options->set_parameters)) {
        (void)BSON_APPEND_DOCUMENT(parsed, "setParameter", &options->set_parameters);
    }
}
