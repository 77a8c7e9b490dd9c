/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands about the server itself: handshake, status, parameters, operations, replication's commands.
 */
#include <inttypes.h>
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
    bson_append_int32(call->reply, "maxBsonObjectSize", -1, HF_SANDBOX_DOC_MAX);
    bson_append_int32(call->reply, "maxMessageSizeBytes", -1, HF_SANDBOX_MESSAGE_MAX_BYTES);
    bson_append_int32(call->reply, "maxWriteBatchSize", -1, 100000);
    bson_append_date_time(call->reply, "localTime", -1, (int64_t)hf_clock_wall_ms());
    bson_append_int32(call->reply, "logicalSessionTimeoutMinutes", -1, 30);
    bson_append_int32(call->reply, "connectionId", -1, call->conn->id);
    bson_append_int32(call->reply, "minWireVersion", -1, 0);
    bson_append_int32(call->reply, "maxWireVersion", -1, 9);
    bson_append_bool(call->reply, "readOnly", -1, hf_sandbox_engine_read_only(call->engine));
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
    static const char *const build[] = {"distmod",   "distarch",  "cc",        "ccflags",
                                        "cxx",       "cxxflags",  "linkflags", "target_arch",
                                        "target_os", "cppdefines"};
    static const char *const engines[] = {"biggie", "devnull", "ephemeralForTest", "wiredTiger"};
    static const int32_t version[] = {4, 4, 7, -100};
    bson_t *reply = call->reply;
    bson_t inner;
    uint32_t index = 0;

    bson_append_utf8(reply, "version", -1, HF_SANDBOX_VERSION, -1);
    bson_append_utf8(reply, "psmdbVersion", -1, HF_SANDBOX_VERSION, -1);
    bson_append_utf8(reply, "gitVersion", -1, "holdfast-sandbox-" HF_VERSION, -1);
    bson_append_array_begin(reply, "modules", -1, &inner);
    bson_append_array_end(reply, &inner);
    BCON_APPEND(reply, "allocator", BCON_UTF8("system"), "javascriptEngine", BCON_UTF8("none"),
                "sysInfo", BCON_UTF8("deprecated"));
    bson_append_array_begin(reply, "versionArray", -1, &inner);
    for (size_t i = 0; i < HF_ARRAY_LEN(version); i++) {
        bson_value_t value = hf_sandbox_value_of_int32(version[i]);
        hf_sandbox_append_element(&inner, &index, &value);
    }
    bson_append_array_end(reply, &inner);
    BCON_APPEND(reply, "openssl", "{", "running", BCON_UTF8("OpenSSL 3"), "compiled",
                BCON_UTF8("OpenSSL 3"), "}");
    bson_append_document_begin(reply, "buildEnvironment", -1, &inner);
    for (size_t i = 0; i < HF_ARRAY_LEN(build); i++) {
        const char *value = strcmp(build[i], "target_os") == 0 ? "linux"
                            : i == 1 || i == 7                 ? "x86_64"
                                                               : "";
        bson_append_utf8(&inner, build[i], -1, value, -1);
    }
    bson_append_document_end(reply, &inner);
    BCON_APPEND(reply, "bits", BCON_INT32(64), "debug", BCON_BOOL(false), "maxBsonObjectSize",
                BCON_INT32(HF_SANDBOX_DOC_MAX));
    bson_append_array_begin(reply, "storageEngines", -1, &inner);
    index = 0;
    for (size_t i = 0; i < HF_ARRAY_LEN(engines); i++) {
        bson_value_t value = hf_sandbox_value_of_utf8(engines[i]);
        hf_sandbox_append_element(&inner, &index, &value);
    }
    bson_append_array_end(reply, &inner);
    return 0;
}

/* ---- Options and parameters ---- */

int32_t hf_sandbox_cmd_get_cmd_line_opts(struct hf_sandbox_call *call)
{
    const struct hf_sandbox_options *options = call->server->options.options;
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
    bool found = false;
    bson_iter_t iter;
    int32_t code = 0;

    if (all || bson_has_field(call->command, "cursorTimeoutMillis")) {
        bson_append_int64(call->reply, "cursorTimeoutMillis", -1,
                          (int64_t)atomic_load(&call->server->cursor_timeout_ms));
        found = true;
    }
    if (all || bson_has_field(call->command, "featureCompatibilityVersion")) {
        append_version(call);
        found = true;
    }
    if (code == 0 && bson_iter_init(&iter, &call->server->options.options->set_parameters)) {
        while (bson_iter_next(&iter)) {
            const char *name = bson_iter_key(&iter);
            if ((all || bson_has_field(call->command, name)) &&
                !bson_has_field(call->reply, name)) {
                hf_sandbox_append(call->reply, name, bson_iter_value(&iter));
                found = true;
            }
        }
    }
    if (code == 0 && !found) {
        (void)hf_sandbox_refuse(call->no, -1, "no option found to get");
        return -1;
    }
    return code;
}

int32_t hf_sandbox_cmd_set_parameter(struct hf_sandbox_call *call)
{
    int64_t timeout_ms = hf_sandbox_get_int64(call->command, "cursorTimeoutMillis", -1);
    bson_iter_t iter;

    if (timeout_ms < 0) {
        const char *name =
            bson_iter_init(&iter, call->command) && bson_iter_next(&iter) && bson_iter_next(&iter)
                ? bson_iter_key(&iter)
                : "";
        return hf_sandbox_refuse(
            call->no, HF_SANDBOX_INVALID_OPTIONS,
            "attempted to set unrecognized parameter [%s], use help:true to see options ", name);
    }
    bson_append_int64(
        call->reply, "was", -1,
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

static void append_storage_engine(struct hf_sandbox_call *call)
{
    struct hf_sandbox_engine_status status = {0};
    bson_t inner;

    hf_sandbox_engine_status(call->engine, &status);
    bson_append_document_begin(call->reply, "storageEngine", -1, &inner);
    bson_append_utf8(&inner, "name", -1, "wiredTiger", -1);
    bson_append_bool(&inner, "supportsCommittedReads", -1, true);
    hf_sandbox_append_ts(&inner, "oldestRequiredTimestampForCrashRecovery",
                         status.oldest_required_ts);
    bson_append_bool(&inner, "supportsPendingDrops", -1, true);
    bson_append_int64(&inner, "dropPendingIdents", -1, (int64_t)status.drop_pending);
    bson_append_bool(&inner, "supportsTwoPhaseIndexBuild", -1, true);
    bson_append_bool(&inner, "supportsSnapshotReadConcern", -1, true);
    bson_append_bool(&inner, "readOnly", -1, hf_sandbox_engine_read_only(call->engine));
    bson_append_bool(&inner, "persistent", -1, true);
    bson_append_bool(&inner, "backupCursorOpen", -1, status.backup_open);
    bson_append_document_end(call->reply, &inner);
}

int32_t hf_sandbox_cmd_server_status(struct hf_sandbox_call *call)
{
    struct hf_sandbox_server *server = call->server;
    uint64_t uptime_ms = hf_clock_mono_ms() - server->started_mono_ms;

    bson_append_utf8(call->reply, "host", -1, server->host, -1);
    bson_append_utf8(call->reply, "version", -1, HF_SANDBOX_VERSION, -1);
    bson_append_utf8(call->reply, "process", -1, "mongod", -1);
    bson_append_int64(call->reply, "pid", -1, (int64_t)getpid());
    bson_append_double(call->reply, "uptime", -1, (double)(uptime_ms / 1000));
    bson_append_date_time(call->reply, "localTime", -1, (int64_t)hf_clock_wall_ms());
    append_counters("opcounters", call->reply);
    append_counters("opcountersRepl", call->reply);
    hf_sandbox_repl_append_server_status(call->repl, call->reply);
    append_storage_engine(call);
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
        bson_value_t value = hf_sandbox_value_of_doc(docs.items[i]);
        hf_sandbox_append_element(&array, &index, &value);
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
        bson_append_int32(call->reply, "numFiles", -1, 1);
        return 0;
    }
    code = hf_sandbox_engine_fsync_lock(call->engine, &count, call->no);
    if (code == 0) {
        bson_append_utf8(call->reply, "info", -1,
                         "now locked against writes, use db.fsyncUnlock() to unlock", -1);
        bson_append_int64(call->reply, "lockCount", -1, count);
        bson_append_utf8(call->reply, "seeAlso", -1, "http://dochub.mongodb.org/core/fsynccommand",
                         -1);
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
    bson_append_utf8(call->reply, "info", -1, "fsyncUnlock completed", -1);
    bson_append_int64(call->reply, "lockCount", -1, count);
    return 0;
}

int32_t hf_sandbox_cmd_shutdown(struct hf_sandbox_call *call)
{
    if (call->server->options.options->auth == NULL && !call->conn->loopback) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_UNAUTHORIZED,
                                 "shutdown must run from localhost when running db without auth");
    }
    hf_log_info(call->server->options.log, "sandbox.shutdown.asked",
                HF_STR("client", call->conn->client));
    hf_cancel_request(call->server->options.shutdown);
    return 0;
}

/* ---- Replication ---- */

int32_t hf_sandbox_cmd_repl(struct hf_sandbox_call *call)
{
    struct hf_sandbox_repl *repl = call->repl;

    if (strcmp(call->name, "replSetGetStatus") == 0) {
        return hf_sandbox_repl_get_status(repl, call->reply, call->no);
    }
    if (strcmp(call->name, "replSetGetConfig") == 0) {
        return hf_sandbox_repl_get_config(repl, call->reply, call->no);
    }
    if (strcmp(call->name, "replSetInitiate") == 0) {
        return hf_sandbox_repl_initiate(repl, call->command, call->reply, call->no);
    }
    if (strcmp(call->name, "replSetReconfig") == 0) {
        return hf_sandbox_repl_reconfig(repl, call->command, call->reply, call->no);
    }
    if (strcmp(call->name, "replSetStepDown") == 0) {
        return hf_sandbox_repl_step_down(repl, call->command, call->reply, call->no);
    }
    return hf_sandbox_repl_member_command(repl, call->name, call->command, call->reply,
                                          call->cancel, call->no);
}
