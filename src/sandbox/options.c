/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongod's command line, as far as the sandbox knows it: one table says name, place in getCmdLineOpts, type.
 *
 * What an option does is main.c's. An option that is not in the table is refused, as mongod does.
 */
#include "sandbox/options.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

enum type { TEXT, INT, REAL, FLAG };
enum { BIND_IP, PORT, OPLOG_SIZE, REPL_SET, AUTH, KEY_FILE, DB_PATH, SYNC_DELAY, CACHE, LOG_PATH };

/* Sorted by place, so that documents can be built in one pass. */
static const struct row {
    const char *name; /* after "--" */
    const char *place;
    enum type type;
    uint64_t max;
} rows[HF_SANDBOX_OPTION_COUNT] = {
    [BIND_IP] = {"bind_ip", "net.bindIp", TEXT, 0},
    [PORT] = {"port", "net.port", INT, 65535},
    [OPLOG_SIZE] = {"oplogSize", "replication.oplogSizeMB", INT, 1 << 20},
    [REPL_SET] = {"replSet", "replication.replSetName", TEXT, 0},
    [AUTH] = {"auth", "security.authorization", FLAG, 0},
    [KEY_FILE] = {"keyFile", "security.keyFile", TEXT, 0},
    [DB_PATH] = {"dbpath", "storage.dbPath", TEXT, 0},
    [SYNC_DELAY] = {"syncdelay", "storage.syncPeriodSecs", REAL, 86400},
    [CACHE] = {"wiredTigerCacheSizeGB", "storage.wiredTiger.engineConfig.cacheSizeGB", REAL, 0},
    [LOG_PATH] = {"logpath", "systemLog.path", TEXT, 0},
};

/* Those that can be given at start; the rest is refused, as startupRecoveryForRestore is by the real 4.4.6. */
static const char *const parameters[] = {
    "cursorTimeoutMillis",
    "disableLogicalSessionCacheRefresh",
    "recoverFromOplogAsStandalone",
    "takeUnstableCheckpointOnShutdown",
    "ttlMonitorEnabled",
};

/* Whether text is name, or begins with "name="; *value is what follows the sign, else NULL. */
static bool is_named(const char *text, const char *name, const char **value)
{
    size_t len = strlen(name);

    *value = text[len < strlen(text) ? len : strlen(text)] == '=' ? text + len + 1 : NULL;
    return strncmp(text, name, len) == 0 && (text[len] == '\0' || text[len] == '=');
}

static enum hf_err set_parameter(struct hf_sandbox_options *out, const char *text,
                                 struct hf_error *err)
{
    const char *value;

    for (size_t i = 0; i < HF_ARRAY_LEN(parameters); i++) {
        if (is_named(text, parameters[i], &value) && value != NULL) {
            bson_append_utf8(&out->set_parameters, parameters[i], -1, value, -1);
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "Illegal --setParameter parameter: \"%s\"", text);
}

/* One "--name value" or "--name=value"; *at moves past it. */
static enum hf_err take_option(struct hf_sandbox_options *out, int *at, struct hf_error *err)
{
    const char *argument = out->argv[(*at)++];
    const char *name = strncmp(argument, "--", 2) == 0 ? argument + 2 : "";
    const char *value = NULL;
    size_t row = 0;
    bool is_parameter;

    while (row < HF_SANDBOX_OPTION_COUNT && !is_named(name, rows[row].name, &value)) {
        row++;
    }
    is_parameter = row == HF_SANDBOX_OPTION_COUNT && is_named(name, "setParameter", &value);
    if (row == HF_SANDBOX_OPTION_COUNT && !is_parameter) {
        return hf_fail(err, HF_ERR_INVALID, "Error parsing command line: unrecognised option '%s'",
                       argument);
    }
    if (!is_parameter && rows[row].type == FLAG) {
        value = "true";
    } else if (value == NULL && *at < out->argc) {
        value = out->argv[(*at)++];
    }
    if (value == NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "Error parsing command line: the required argument for option '%s' is "
                       "missing",
                       argument);
    }
    if (is_parameter) {
        return set_parameter(out, value, err);
    }
    out->given[row] = value;
    return HF_ERR_OK;
}

static enum hf_err read_number(const struct hf_sandbox_options *options, size_t row, uint64_t *out,
                               struct hf_error *err)
{
    const char *text = options->given[row];

    if (text != NULL && (!hf_parse_u64(hf_str_of(text), out) || *out > rows[row].max)) {
        return hf_fail(err, HF_ERR_INVALID, "Bad value for --%s: %s", rows[row].name, text);
    }
    return HF_ERR_OK;
}

static bool is_set(const struct hf_sandbox_options *options, const char *parameter)
{
    bson_iter_t iter;

    return bson_iter_init_find(&iter, &options->set_parameters, parameter) &&
           (strcmp(bson_iter_utf8(&iter, NULL), "true") == 0 ||
            strcmp(bson_iter_utf8(&iter, NULL), "1") == 0);
}

enum hf_err hf_sandbox_options_parse(int argc, const char *const *argv,
                                     struct hf_sandbox_options *out, struct hf_error *err)
{
    const char **given = out->given;

    *out =
        (struct hf_sandbox_options){.argc = argc, .argv = argv, .port = 27017, .sync_delay_s = 60};
    bson_init(&out->set_parameters);
    for (int at = 1; at < argc;) {
        if (take_option(out, &at, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    out->dbpath = given[DB_PATH] == NULL ? "/data/db" : given[DB_PATH];
    out->bind_ip = given[BIND_IP] == NULL ? "localhost" : given[BIND_IP];
    out->repl_set = given[REPL_SET];
    out->key_file = given[KEY_FILE];
    out->log_path = given[LOG_PATH];
    out->auth = given[AUTH] != NULL || out->key_file != NULL;
    out->recover_from_oplog_as_standalone = is_set(out, "recoverFromOplogAsStandalone");
    out->take_unstable_checkpoint_on_shutdown = is_set(out, "takeUnstableCheckpointOnShutdown");
    if (given[CACHE] != NULL) {
        out->cache_bytes = (uint64_t)(strtod(given[CACHE], NULL) * 1073741824.0);
    }
    if (read_number(out, PORT, &out->port, err) != HF_ERR_OK ||
        read_number(out, OPLOG_SIZE, &out->oplog_size_mb, err) != HF_ERR_OK ||
        read_number(out, SYNC_DELAY, &out->sync_delay_s, err) != HF_ERR_OK) {
        return err->code;
    }
    return out->recover_from_oplog_as_standalone && out->repl_set != NULL
               ? hf_fail(err, HF_ERR_INVALID,
                         "Cannot set parameter 'recoverFromOplogAsStandalone' when 'replSet' is "
                         "specified")
               : HF_ERR_OK;
}

void hf_sandbox_options_fini(struct hf_sandbox_options *options)
{
    bson_destroy(&options->set_parameters);
}

static void append_value(bson_t *out, const char *key, enum type type, const char *text)
{
    if (type == FLAG) {
        bson_append_utf8(out, key, -1, "enabled", -1);
    } else if (type == INT) {
        bson_append_int32(out, key, -1, (int32_t)strtol(text, NULL, 10));
    } else if (type == REAL) {
        bson_append_double(out, key, -1, strtod(text, NULL));
    } else {
        bson_append_utf8(out, key, -1, text, -1);
    }
}

/* The rows from *at on whose places begin with the prefix of len bytes. */
static void append_level(const struct hf_sandbox_options *options, size_t *at, size_t len,
                         bson_t *out)
{
    const char *prefix = rows[*at].place;

    while (*at < HF_SANDBOX_OPTION_COUNT && strncmp(rows[*at].place, prefix, len) == 0) {
        const char *rest = rows[*at].place + len;
        size_t part = strcspn(rest, ".");
        bson_t inner;

        if (options->given[*at] == NULL) {
            (*at)++;
        } else if (rest[part] == '\0') {
            append_value(out, rest, rows[*at].type, options->given[*at]);
            (*at)++;
        } else {
            bson_append_document_begin(out, rest, (int)part, &inner);
            append_level(options, at, len + part + 1, &inner);
            bson_append_document_end(out, &inner);
        }
    }
}

void hf_sandbox_options_append_parsed(const struct hf_sandbox_options *options, bson_t *parsed)
{
    size_t at = 0;

    append_level(options, &at, 0, parsed);
    if (!bson_empty(&options->set_parameters)) {
        bson_append_document(parsed, "setParameter", -1, &options->set_parameters);
    }
}
