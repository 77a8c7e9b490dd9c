/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongod's command line, as far as the sandbox knows it. What an option does is main.c's. One that is not in the table
 * is refused, as mongod does.
 */
#include "sandbox/options.h"

#include <stdlib.h>

#include "base/bytes.h"

/* As they were given; NULL: not. */
struct given {
    const char *port, *oplog_size, *sync_delay, *cache, *parameter;
};

/* Those that can be given at start; the rest is refused, as startupRecoveryForRestore is by the real 4.4.6. */
static const char *const parameters[] = {
    "cursorTimeoutMillis",
    "disableLogicalSessionCacheRefresh",
    "recoverFromOplogAsStandalone",
    "takeUnstableCheckpointOnShutdown",
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
static enum hf_err take_option(struct hf_sandbox_options *out, struct given *given, int *at,
                               struct hf_error *err)
{
    const struct {
        const char *name;
        const char **value;
    } rows[] = {
        {"--auth", &out->auth},
        {"--bind_ip", &out->bind_ip},
        {"--dbpath", &out->dbpath},
        {"--keyFile", &out->key_file},
        {"--logpath", &out->log_path},
        {"--oplogSize", &given->oplog_size},
        {"--port", &given->port},
        {"--replSet", &out->repl_set},
        {"--setParameter", &given->parameter},
        {"--syncdelay", &given->sync_delay},
        {"--wiredTigerCacheSizeGB", &given->cache},
    };
    const char *argument = out->argv[(*at)++];
    size_t row = 0;

    while (row < HF_ARRAY_LEN(rows) && strcmp(rows[row].name, argument) != 0) {
        row++;
    }
    if (row == HF_ARRAY_LEN(rows)) {
        return hf_fail(err, HF_ERR_INVALID, "Error parsing command line: unrecognised option '%s'",
                       argument);
    }
    *rows[row].value = row == 0 ? argument : *at < out->argc ? out->argv[*at] : NULL;
    *at += row == 0 ? 0 : 1;
    if (*rows[row].value == NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "Error parsing command line: the required argument for option '%s' is "
                       "missing",
                       argument);
    }
    return rows[row].value == &given->parameter ? set_parameter(out, given->parameter, err)
                                                : HF_ERR_OK;
}

static enum hf_err read_number(const char *name, const char *text, uint64_t max, uint64_t *out,
                               struct hf_error *err)
{
    return text == NULL || (hf_parse_u64(hf_str_of(text), out) && *out <= max)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_INVALID, "Bad value for --%s: %s", name, text);
}

static bool is_set(const struct hf_sandbox_options *options, const char *parameter)
{
    bson_iter_t iter;

    return bson_iter_init_find(&iter, &options->set_parameters, parameter) &&
           strcmp(bson_iter_utf8(&iter, NULL), "true") == 0;
}

enum hf_err hf_sandbox_options_parse(int argc, const char *const *argv,
                                     struct hf_sandbox_options *out, struct hf_error *err)
{
    struct given given = {.port = NULL};

    *out = (struct hf_sandbox_options){.argc = argc,
                                       .argv = argv,
                                       .dbpath = "/data/db",
                                       .bind_ip = "localhost",
                                       .port = 27017,
                                       .sync_delay_s = 60};
    bson_init(&out->set_parameters);
    for (int at = 1; at < argc;) {
        if (take_option(out, &given, &at, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (read_number("port", given.port, 65535, &out->port, err) != HF_ERR_OK ||
        read_number("oplogSize", given.oplog_size, 1 << 20, &out->oplog_size_mb, err) !=
            HF_ERR_OK ||
        read_number("syncdelay", given.sync_delay, 86400, &out->sync_delay_s, err) != HF_ERR_OK) {
        return err->code;
    }
    out->auth = out->auth == NULL ? out->key_file : out->auth;
    out->cache_bytes =
        given.cache == NULL ? 0 : (uint64_t)(strtod(given.cache, NULL) * 1073741824.0);
    out->recover_from_oplog_as_standalone = is_set(out, "recoverFromOplogAsStandalone");
    out->take_unstable_checkpoint_on_shutdown = is_set(out, "takeUnstableCheckpointOnShutdown");
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
