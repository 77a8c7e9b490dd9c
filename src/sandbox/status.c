/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about the server itself: handshake, status, parameters, operations, replication's commands.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/server_internal.h"

/* ---- Handshake ---- */

int32_t hf_sandbox_cmd_hello(struct hf_sandbox_call *call)
{
    bool legacy = strcmp(call->name, "hello") != 0;
    int64_t await_ms = hf_sandbox_get_int64(call->command, "maxAwaitTimeMS", -1);
    const char *user = hf_sandbox_get_utf8(call->command, "saslSupportedMechs", NULL);
    bson_t known;

    if (await_ms > 0 && hf_sandbox_get_doc(call->command, "topologyVersion", &known)) {
        (void)hf_sandbox_repl_wait_topology(call->repl, &known, (uint64_t)await_ms, call->cancel);
    }
    hf_sandbox_repl_append_hello(call->repl, legacy, call->reply);
    if (hf_sandbox_get_true(call->command, "helloOk")) {
        bson_append_bool(call->reply, "helloOk", -1, true);
    }
    BCON_APPEND(call->reply, "maxBsonObjectSize", BCON_INT32(HF_SANDBOX_DOC_MAX),
                "maxMessageSizeBytes", BCON_INT32(HF_SANDBOX_MESSAGE_MAX_BYTES),
                "maxWriteBatchSize", BCON_INT32(100000), "localTime",
                BCON_DATE_TIME((int64_t)hf_clock_wall_ms()), "logicalSessionTimeoutMinutes",
                BCON_INT32(30), "connectionId", BCON_INT32(call->conn->id), "minWireVersion",
                BCON_INT32(0), "maxWireVersion", BCON_INT32(9), "readOnly",
                BCON_BOOL(hf_sandbox_engine_read_only(call->engine)));
    if (user != NULL) {
        hf_sandbox_append_mechanisms(call, user, call->reply);
    }
    return 0;
}

int32_t hf_sandbox_cmd_ping(struct hf_sandbox_call *call)
{
    (void)call;
    return 0;
}

int32_t hf_sandbox_cmd_build_info(struct hf_sandbox_call *call)
{
    const char *version = hf_sandbox_options_version(&call->server->options);

    BCON_APPEND(call->reply, "version", BCON_UTF8(version), "psmdbVersion", BCON_UTF8(version),
                "gitVersion", "holdfast-sandbox-" HF_VERSION, "modules", "[", "]", "allocator",
                "system", "javascriptEngine", "none", "sysInfo", "deprecated", "versionArray", "[",
                BCON_INT32(4), BCON_INT32(4), BCON_INT32(7), BCON_INT32(-100), "]", "openssl", "{",
                "running", "OpenSSL 3", "compiled", "OpenSSL 3", "}", "buildEnvironment", "{",
                "distmod", "", "distarch", "x86_64", "cc", "", "ccflags", "", "cxx", "", "cxxflags",
                "", "linkflags", "", "target_arch", "x86_64", "target_os", "linux", "cppdefines",
                "", "}", "bits", BCON_INT32(64), "debug", BCON_BOOL(false), "maxBsonObjectSize",
                BCON_INT32(HF_SANDBOX_DOC_MAX), "storageEngines", "[", "biggie", "devnull",
                "ephemeralForTest", "wiredTiger", "]");
    return 0;
}

/* ---- Options and parameters ---- */

int32_t hf_sandbox_cmd_get_cmd_line_opts(struct hf_sandbox_call *call)
{
    const struct hf_sandbox_options *options = &call->server->options;
    uint32_t index = 0;
    bson_t inner;

    bson_append_array_begin(call->reply, "argv", -1, &inner);
    for (int i = 0; i < options->argc; i++) {
        bson_value_t value = hf_sandbox_value_of_utf8(options->argv[i]);
        hf_sandbox_append_element(&inner, &index, &value);
    }
    bson_append_array_end(call->reply, &inner);
    bson_append_document_begin(call->reply, "parsed", -1, &inner);
    hf_sandbox_options_append_parsed(options, &inner);
    bson_append_document_end(call->reply, &inner);
    return 0;
}

static void append_version(const struct hf_sandbox_call *call)
{
    bson_value_t id = hf_sandbox_value_of_utf8("featureCompatibilityVersion");
    OWNED_DOC *doc = hf_sandbox_call_lookup(call, "admin.system.version", &id, NULL);

    BCON_APPEND(call->reply, "featureCompatibilityVersion", "{", "version",
                BCON_UTF8(doc == NULL ? "4.4" : hf_sandbox_get_utf8(doc, "version", "4.4")), "}");
}

int32_t hf_sandbox_cmd_get_parameter(struct hf_sandbox_call *call)
{
    bool all = strcmp(hf_sandbox_get_utf8(call->command, call->name, ""), "*") == 0;

    if (all || bson_has_field(call->command, "cursorTimeoutMillis")) {
        (void)BSON_APPEND_INT64(call->reply, "cursorTimeoutMillis",
                                (int64_t)atomic_load(&call->server->cursor_timeout_ms));
    }
    if (all || bson_has_field(call->command, "featureCompatibilityVersion")) {
        append_version(call);
    }
    HF_SANDBOX_EACH (iter, &call->server->options.set_parameters, true) {
        const char *name = bson_iter_key(&iter);

        if ((all || bson_has_field(call->command, name)) && !bson_has_field(call->reply, name)) {
            hf_sandbox_append(call->reply, name, bson_iter_value(&iter));
        }
    }
    return bson_empty(call->reply) ? hf_sandbox_refuse(call->no, -1, "no option found to get") : 0;
}

int32_t hf_sandbox_cmd_set_parameter(struct hf_sandbox_call *call)
{
    int64_t timeout_ms = hf_sandbox_get_int64(call->command, "cursorTimeoutMillis", -1);

    if (timeout_ms < 0) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_OPTIONS,
                                 "attempted to set unrecognized parameter, use help:true to see "
                                 "options ");
    }
    (void)BSON_APPEND_INT64(
        call->reply, "was",
        (int64_t)atomic_exchange(&call->server->cursor_timeout_ms, (uint64_t)timeout_ms));
    return 0;
}

/* ---- Status ---- */

/* Nobody reads how many there were. */
static void append_counters(const char *name, bson_t *reply)
{
    BCON_APPEND(reply, name, "{", "insert", BCON_INT64(0), "query", BCON_INT64(0), "update",
                BCON_INT64(0), "delete", BCON_INT64(0), "getmore", BCON_INT64(0), "command",
                BCON_INT64(0), "}");
}

int32_t hf_sandbox_cmd_server_status(struct hf_sandbox_call *call)
{
    struct hf_sandbox_server *server = call->server;
    struct hf_sandbox_engine_status status = {0};

    BCON_APPEND(call->reply, "host", BCON_UTF8(server->host), "version", HF_SANDBOX_VERSION,
                "process", "mongod", "pid", BCON_INT64((int64_t)getpid()), "uptime",
                BCON_DOUBLE((double)((hf_clock_mono_ms() - server->started_mono_ms) / 1000)),
                "localTime", BCON_DATE_TIME((int64_t)hf_clock_wall_ms()));
    append_counters("opcounters", call->reply);
    append_counters("opcountersRepl", call->reply);
    hf_sandbox_repl_append_server_status(call->repl, call->reply);
    hf_sandbox_engine_status(call->engine, &status);
    BCON_APPEND(call->reply, "storageEngine", "{", "name", "wiredTiger", "supportsCommittedReads",
                BCON_BOOL(true), "oldestRequiredTimestampForCrashRecovery",
                HF_SANDBOX_BCON_TS(status.oldest_required_ts), "supportsPendingDrops",
                BCON_BOOL(true), "dropPendingIdents", BCON_INT64((int64_t)status.drop_pending),
                "supportsTwoPhaseIndexBuild", BCON_BOOL(true), "supportsSnapshotReadConcern",
                BCON_BOOL(true), "readOnly", BCON_BOOL(hf_sandbox_engine_read_only(call->engine)),
                "persistent", BCON_BOOL(true), "backupCursorOpen", BCON_BOOL(status.backup_open),
                "}");
    return 0;
}

/* ---- Operations ---- */

int32_t hf_sandbox_ops_list(struct hf_sandbox_call *call, struct hf_sandbox_docs *out)
{
    bson_t *doc = BCON_NEW("type", "op", "host", BCON_UTF8(call->server->host), "connectionId",
                           BCON_INT32(call->conn->id), "client", BCON_UTF8(call->conn->client),
                           "active", BCON_BOOL(true), "op", "command", "ns", "admin.$cmd",
                           "command", "{", call->name, BCON_INT32(1), "}");

    return hf_sandbox_docs_add_take(out, doc, call->no);
}

int32_t hf_sandbox_cmd_current_op(struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_sandbox_docs_fini) struct hf_sandbox_docs docs = {0};
    uint32_t index = 0;
    bson_t array;
    int32_t code = hf_sandbox_ops_list(call, &docs);

    bson_append_array_begin(call->reply, "inprog", -1, &array);
    for (size_t i = 0; i < docs.count; i++) {
        hf_sandbox_append_doc(&array, &index, docs.items[i]);
    }
    bson_append_array_end(call->reply, &array);
    return code;
}

/* ---- fsync, shutdown ---- */

int32_t hf_sandbox_cmd_fsync(struct hf_sandbox_call *call)
{
    struct hf_error err;
    int64_t count = 0;
    int32_t code;

    if (!hf_sandbox_get_true(call->command, "lock")) {
        if (hf_sandbox_engine_checkpoint(call->engine, &err) != HF_ERR_OK) {
            return hf_sandbox_refuse(call->no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
        }
        (void)BSON_APPEND_INT32(call->reply, "numFiles", 1);
        return 0;
    }
    code = hf_sandbox_engine_fsync_lock(call->engine, &count, call->no);
    if (code == 0) {
        BCON_APPEND(call->reply, "info",
                    "now locked against writes, use db.fsyncUnlock() to unlock", "lockCount",
                    BCON_INT64(count), "seeAlso", "http://dochub.mongodb.org/core/fsynccommand");
    }
    return code;
}

int32_t hf_sandbox_cmd_fsync_unlock(struct hf_sandbox_call *call)
{
    int64_t count = 0;

    if (hf_sandbox_engine_fsync_unlock(call->engine, &count, call->no) != 0) {
        call->no->code = -1; /* the real server names no code here */
        return -1;
    }
    BCON_APPEND(call->reply, "info", "fsyncUnlock completed", "lockCount", BCON_INT64(count));
    return 0;
}

int32_t hf_sandbox_cmd_shutdown(struct hf_sandbox_call *call)
{
    if (call->server->options.auth == NULL && !call->conn->loopback) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_UNAUTHORIZED,
                                 "shutdown must run from localhost when running db without auth");
    }
    hf_log_info(call->server->log, "sandbox.shutdown.asked", HF_STR("client", call->conn->client));
    hf_cancel_request(call->server->shutdown);
    return 0;
}

/* ---- Replication ---- */

int32_t hf_sandbox_cmd_repl(struct hf_sandbox_call *call)
{
    const struct hf_sandbox_ask ask = {.name = call->name,
                                       .command = call->command,
                                       .reply = call->reply,
                                       .cancel = call->cancel,
                                       .no = call->no};

    return hf_sandbox_repl_command(call->repl, &ask);
}
