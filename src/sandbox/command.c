/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a message to a command and its reply: who may run what on which node, and the fields that every reply has.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "codec/hash.h"
#include "sandbox/server_internal.h"

/* Whom a command asks for rights: nobody, who is logged in, the cluster, that through `admin` only, .. */
enum scope { SCOPE_NONE, SCOPE_USER, SCOPE_CLUSTER, SCOPE_ADMIN, SCOPE_DB, SCOPE_COLL };
/* On which nodes it runs. */
enum node { NODE_ANY, NODE_READ, NODE_WRITE };

struct command {
    const char *name;
    int32_t (*call)(struct hf_sandbox_call *call); /* one of the two */
    int32_t (*body)(struct hf_sandbox_work *work);
    enum node node;
    enum scope scope;
    const char *action;
};

#define CALL_ROW(name, fn, node, scope, action)                                                    \
    {name, hf_sandbox_cmd_##fn, NULL, NODE_##node, SCOPE_##scope, action},
#define BODY_ROW(name, fn, node, scope, action)                                                    \
    {name, NULL, hf_sandbox_body_##fn, NODE_##node, SCOPE_##scope, action},

static const struct command commands[] = {HF_SANDBOX_CALL_TABLE(CALL_ROW)
                                              HF_SANDBOX_BODY_TABLE(BODY_ROW)
                                          /* what members ask each other */
                                          CALL_ROW(NULL, repl, ANY, CLUSTER, "internal")};

/* Drivers write some names in small letters. */
static const struct command *find_command(const char *name)
{
    const struct command *at = commands;

    while (at->name != NULL && strcasecmp(at->name, name) != 0) {
        at++;
    }
    return at->name != NULL || hf_sandbox_repl_is_member_command(name) ? at : NULL;
}

/* ---- Helpers for commands ---- */

int32_t hf_sandbox_call_check(const struct hf_sandbox_call *call)
{
    if (hf_cancel_requested(call->cancel)) {
        return REFUSE(call, INTERRUPTED_AT_SHUTDOWN, "interrupted at shutdown");
    }
    return call->deadline_ms != 0 && hf_clock_mono_ms() >= call->deadline_ms
               ? REFUSE(call, MAX_TIME_MS_EXPIRED, "operation exceeded time limit")
               : 0;
}

int32_t hf_sandbox_call_make_ns(const struct hf_sandbox_call *call, const char *db,
                                const char *coll, char out[HF_SANDBOX_NS_BYTES])
{
    int len = snprintf(out, HF_SANDBOX_NS_BYTES, "%s.%s", db, coll == NULL ? "" : coll);
    size_t db_len = strlen(db);

    if (coll == NULL) {
        return REFUSE(call, INVALID_NAMESPACE, "collection name has invalid type for command %s",
                      call->name);
    }
    return db_len > 0 && db_len < 64 && strpbrk(db, "/\\. \"$") == NULL && coll[0] != '\0' &&
                   coll[0] != '.' && strchr(coll, '$') == NULL && len < HF_SANDBOX_NS_BYTES
               ? 0
               : REFUSE(call, INVALID_NAMESPACE, "Invalid namespace specified '%.300s'", out);
}

int32_t hf_sandbox_call_denied(const struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_SANDBOX_MESSAGE_BYTES - 256);
    const char *shown;

    hf_sandbox_doc_text(call->command, &text);
    shown = hf_buf_text(&text);
    return REFUSE(call, UNAUTHORIZED, "not authorized on %s to execute command %s", call->db,
                  shown == NULL ? call->name : shown);
}

bson_t *hf_sandbox_call_lookup(const struct hf_sandbox_call *call, const char *ns,
                               const bson_value_t *id, bool *any)
{
    const struct hf_sandbox_txn_options options = {.write = false};
    struct hf_error err = {.code = HF_ERR_CONFLICT};
    bson_t *doc = NULL;

    while (err.code == HF_ERR_CONFLICT && hf_sandbox_call_check(call) == 0) {
        HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
        struct hf_sandbox_coll *coll = NULL;
        int64_t record;

        err.code = hf_sandbox_txn_begin(call->engine, &options, &txn, &err);
        coll = err.code == HF_ERR_OK ? hf_sandbox_txn_find(txn, ns) : NULL;
        if (any != NULL) {
            *any = coll != NULL;
        }
        if (coll != NULL && id->value_type == BSON_TYPE_TIMESTAMP) {
            record = (int64_t)HF_SANDBOX_TS(id->value.v_timestamp.timestamp,
                                            id->value.v_timestamp.increment);
            err.code = hf_sandbox_coll_get(txn, coll, record, &doc, &err);
        } else if (coll != NULL) {
            err.code = hf_sandbox_coll_find_id(txn, coll, id, &record, &doc, &err);
        }
    }
    return doc;
}

void hf_sandbox_call_await(struct hf_sandbox_call *call)
{
    struct hf_sandbox_optime optime = call->optime;
    struct hf_sandbox_refusal no;
    char name[HF_SANDBOX_CODE_NAME_BYTES];
    struct hf_error err;
    bson_t doc;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "writeConcern", &doc)) {
        return;
    }
    const struct hf_sandbox_write_concern concern = {
        .majority = strcmp(hf_sandbox_get_utf8(&doc, "w", ""), "majority") == 0,
        .w = (int32_t)hf_sandbox_get_int64(&doc, "w", 1),
        .journal = hf_sandbox_get_true(&doc, "j"),
        .timeout_ms = (uint64_t)hf_sandbox_get_int64(&doc, "wtimeout", 0)};
    if (optime.ts == 0) {
        optime = hf_sandbox_engine_applied(call->engine);
    }
    if (hf_sandbox_repl_enabled(call->repl)) {
        code = hf_sandbox_repl_await(call->repl, optime, &concern, call->cancel, &no);
    } else if ((concern.journal || concern.majority) &&
               hf_sandbox_engine_flush(call->engine, &err) != HF_ERR_OK) {
        code = hf_sandbox_refuse(&no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
    }
    if (code != 0) {
        bson_append_document_begin(call->reply, "writeConcernError", -1, &doc);
        BCON_APPEND(&doc, "code", BCON_INT32(code), "codeName",
                    BCON_UTF8(hf_sandbox_code_name(code, name)), "errmsg", BCON_UTF8(no.message));
        if (code == HF_SANDBOX_WRITE_CONCERN_FAILED) {
            BCON_APPEND(&doc, "errInfo", "{", "wtimeout", BCON_BOOL(true), "}");
        }
        bson_append_document_end(call->reply, &doc);
    }
}

/* ---- Checks before a command runs ---- */

static int32_t check_rights(const struct hf_sandbox_call *call, const struct command *command)
{
    enum scope scope = command->scope;
    bson_value_t nobody = hf_sandbox_value_of_utf8("");
    bool any_user = true;
    const char *coll = hf_sandbox_get_utf8(call->command, call->name, "");

    if (scope == SCOPE_NONE || call->server->options.auth == NULL) {
        return 0;
    }
    if (call->conn->user[0] == '\0') {
        bson_destroy(hf_sandbox_call_lookup(call, HF_SANDBOX_USERS_NS, &nobody, &any_user));
    }
    if (call->conn->user[0] == '\0' && (any_user || !call->conn->loopback)) {
        return REFUSE(call, UNAUTHORIZED, "command %s requires authentication", call->name);
    }
    return scope == SCOPE_USER ||
                   hf_sandbox_call_may(call, command->action, scope < SCOPE_DB ? NULL : call->db,
                                       scope == SCOPE_COLL ? coll : NULL)
               ? 0
               : hf_sandbox_call_denied(call);
}

static int32_t check_node(const struct hf_sandbox_call *call, enum node node)
{
    bson_t preference;

    if (node == NODE_ANY || strcmp(call->db, "local") == 0 ||
        hf_sandbox_repl_writable(call->repl)) {
        return 0;
    }
    if (node == NODE_WRITE) {
        return REFUSE(call, NOT_WRITABLE_PRIMARY, "not master");
    }
    if (!hf_sandbox_get_doc(call->command, "$readPreference", &preference) ||
        strcmp(hf_sandbox_get_utf8(&preference, "mode", "primary"), "primary") == 0) {
        return REFUSE(call, NOT_PRIMARY_NO_SECONDARY_OK, "not master and slaveOk=false");
    }
    return hf_sandbox_repl_readable(call->repl)
               ? 0
               : REFUSE(call, NOT_PRIMARY_OR_SECONDARY,
                        "node is not in primary or recovering state");
}

static int32_t read_session(struct hf_sandbox_call *call)
{
    const char *user = call->conn->user;
    struct hf_hash uid;
    bson_value_t id;

    call->txn_number = hf_sandbox_get_int64(call->command, "txnNumber", -1);
    call->in_multi = bson_has_field(call->command, "autocommit");
    if (hf_sandbox_get_path(call->command, "lsid.id", &id) && id.value_type == BSON_TYPE_BINARY &&
        id.value.v_binary.data_len == sizeof call->session.id) {
        call->session.given = true;
        memcpy(call->session.id, id.value.v_binary.data, sizeof call->session.id);
    }
    hf_sha256(hf_bytes_of(user, strlen(user)), &uid);
    memcpy(call->session.uid, uid.bytes, sizeof call->session.uid);
    return (call->txn_number < 0 || call->session.given) &&
                   (!call->in_multi || call->txn_number >= 0)
               ? 0
               : REFUSE(call, INVALID_OPTIONS, "a transaction number needs a session's id");
}

static int32_t run_body(struct hf_sandbox_work *work, void *context)
{
    const struct command *command = context;

    bson_reinit(work->call->reply);
    return command->body(work);
}

static int32_t run(struct hf_sandbox_call *call, const struct command *command)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    bool writes = command->node == NODE_WRITE;
    const char *coll = hf_sandbox_get_utf8(call->command, call->name, NULL);
    int32_t code = 0;

    (void)snprintf(call->ns, sizeof call->ns, "%s.$cmd", call->db);
    if (command->scope == SCOPE_COLL ||
        (command->call == hf_sandbox_cmd_aggregate && coll != NULL)) {
        code = hf_sandbox_call_make_ns(call, call->db, coll, call->ns);
    }
    if (code != 0 || command->call != NULL) {
        return code != 0 ? code : command->call(call);
    }
    code = hf_sandbox_work_run(&work, writes ? hf_sandbox_work_kind_of(call->ns) : WORK_READ,
                               run_body, (void *)(uintptr_t)command);
    if (code == 0 && writes) {
        hf_sandbox_call_await(call);
    }
    return code;
}

static int32_t run_checked(struct hf_sandbox_call *call)
{
    const struct command *command = find_command(call->name);
    int64_t max_time_ms = hf_sandbox_get_int64(call->command, "maxTimeMS", 0);
    bson_t collation;
    int32_t code;

    if (command == NULL) {
        return REFUSE(call, COMMAND_NOT_FOUND, "no such command: '%s'", call->name);
    }
    if (max_time_ms > 0 && command->call != hf_sandbox_cmd_get_more) {
        call->deadline_ms = hf_clock_mono_ms() + (uint64_t)max_time_ms;
    }
    code = check_rights(call, command);
    if (code == 0 && hf_sandbox_get_doc(call->command, "collation", &collation) &&
        strcmp(hf_sandbox_get_utf8(&collation, "locale", "simple"), "simple") != 0) {
        code = REFUSE(call, NOT_IMPLEMENTED, "collations are not in the sandbox");
    }
    if (code == 0 && command->scope == SCOPE_ADMIN && strcmp(call->db, "admin") != 0) {
        code = REFUSE(call, UNAUTHORIZED, "%s may only be run against the admin database.",
                      call->name);
    }
    code = code != 0 ? code : read_session(call);
    code = code != 0 ? code : check_node(call, call->in_multi ? NODE_WRITE : command->node);
    if (code == 0 && (call->in_multi || command->node == NODE_WRITE)) {
        code = hf_sandbox_multis_ready(call);
    }
    code = code != 0 || !call->in_multi ? code : hf_sandbox_multi_take(call);
    code = code != 0 ? code : run(call, command);
    hf_sandbox_multi_give(call, code);
    return code;
}

/* ---- The fields of every reply ---- */

static void append_error(const struct hf_sandbox_call *call, int32_t code)
{
    bool of_state = code == HF_SANDBOX_NOT_WRITABLE_PRIMARY ||
                    code == HF_SANDBOX_NOT_PRIMARY_OR_SECONDARY ||
                    code == HF_SANDBOX_NOT_PRIMARY_NO_SECONDARY_OK;
    char name[HF_SANDBOX_CODE_NAME_BYTES];

    bson_reinit(call->reply);
    if (of_state) {
        hf_sandbox_repl_append_topology(call->repl, call->reply);
    }
    BCON_APPEND(call->reply, "ok", BCON_DOUBLE(0), "errmsg", BCON_UTF8(call->no->message));
    if (call->no->code > 0) {
        BCON_APPEND(call->reply, "code", BCON_INT32(code), "codeName",
                    BCON_UTF8(hf_sandbox_code_name(code, name)));
    }
    /* Drivers of this age try again only where the server says so: a transaction as a whole, .. */
    bool end =
        strcmp(call->name, "commitTransaction") == 0 || strcmp(call->name, "abortTransaction") == 0;
    bool lost = of_state || code == HF_SANDBOX_INTERRUPTED_AT_SHUTDOWN;
    if (call->in_multi &&
        (code == HF_SANDBOX_NO_SUCH_TRANSACTION || code == HF_SANDBOX_WRITE_CONFLICT ||
         code == HF_SANDBOX_PREPARED_TRANSACTION_IN_PROGRESS || (lost && !end))) {
        BCON_APPEND(call->reply, "errorLabels", "[", "TransientTransactionError", "]");
    } else if (call->txn_number >= 0 && lost) { /* .. or a single write, or its end */
        BCON_APPEND(call->reply, "errorLabels", "[", "RetryableWriteError", "]");
    }
}

static void finish(struct hf_sandbox_call *call, int32_t code)
{
    static const uint8_t no_hash[20] = {0};
    enum hf_sandbox_state state = hf_sandbox_repl_state(call->repl);
    uint64_t applied = hf_sandbox_engine_applied(call->engine).ts;

    if (code == 0) {
        bson_append_double(call->reply, "ok", -1, 1);
    } else {
        append_error(call, code);
    }
    if (hf_sandbox_repl_enabled(call->repl) && applied != 0 &&
        (state == HF_SANDBOX_PRIMARY || state == HF_SANDBOX_SECONDARY ||
         state == HF_SANDBOX_RECOVERING)) {
        BCON_APPEND(call->reply, "$clusterTime", "{", "clusterTime", HF_SANDBOX_BCON_TS(applied),
                    "signature", "{", "hash",
                    BCON_BIN(BSON_SUBTYPE_BINARY, no_hash, sizeof no_hash), "keyId", BCON_INT64(0),
                    "}", "}");
        hf_sandbox_append_ts(call->reply, "operationTime",
                             call->optime.ts != 0 ? call->optime.ts : applied);
    }
}

void hf_sandbox_command_run(struct hf_sandbox_conn *conn, const bson_t *command, bson_t *reply)
{
    struct hf_sandbox_refusal no = {0};
    bson_iter_t iter;
    struct hf_sandbox_call call = {
        .server = conn->server,
        .conn = conn,
        .engine = conn->server->engine,
        .repl = conn->server->repl,
        .command = command,
        .name = bson_iter_init(&iter, command) && bson_iter_next(&iter) ? bson_iter_key(&iter) : "",
        .db = hf_sandbox_get_utf8(command, "$db", ""),
        .reply = reply,
        .no = &no,
        .cancel = &conn->server->stop,
        .txn_number = -1,
        .optime = HF_SANDBOX_OPTIME_NONE,
    };

    finish(&call, run_checked(&call));
}
