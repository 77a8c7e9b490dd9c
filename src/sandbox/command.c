/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a message to a command and its reply: the table of commands, who may run what on which node, and the fields
 * that every reply has.
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

struct command_row {
    const char *name;
    int32_t (*call)(struct hf_sandbox_call *call); /* one of the two */
    int32_t (*body)(struct hf_sandbox_work *work, const char *ns);
    enum node node;
    enum scope scope;
    const char *action;
};

#define CALL_ROW(name, fn, node, scope, action)                                                    \
    {name, hf_sandbox_cmd_##fn, NULL, NODE_##node, SCOPE_##scope, action},
#define BODY_ROW(name, fn, node, scope, action)                                                    \
    {name, NULL, hf_sandbox_body_##fn, NODE_##node, SCOPE_##scope, action},

static const struct command_row rows[] = {HF_SANDBOX_CALL_TABLE(CALL_ROW)
                                              HF_SANDBOX_BODY_TABLE(BODY_ROW)};
static const struct command_row member_row = {"",       hf_sandbox_cmd_repl, NULL,
                                              NODE_ANY, SCOPE_CLUSTER,       "internal"};

/* Drivers write some names in small letters. */
static const struct command_row *find_row(const char *name)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        if (strcasecmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return hf_sandbox_repl_is_member_command(name) ? &member_row : NULL;
}

/* ---- Helpers for commands ---- */

int32_t hf_sandbox_call_check(const struct hf_sandbox_call *call)
{
    if (hf_cancel_requested(call->cancel)) {
        return atomic_load(&call->server->stopping)
                   ? hf_sandbox_refuse(call->no, HF_SANDBOX_INTERRUPTED_AT_SHUTDOWN,
                                       "interrupted at shutdown")
                   : hf_sandbox_refuse(call->no, HF_SANDBOX_INTERRUPTED,
                                       "operation was interrupted");
    }
    if (call->deadline_ms != 0 && hf_clock_mono_ms() >= call->deadline_ms) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_MAX_TIME_MS_EXPIRED,
                                 "operation exceeded time limit");
    }
    return 0;
}

int32_t hf_sandbox_make_ns(const char *db, const char *coll, char out[HF_SANDBOX_NS_BYTES],
                           struct hf_sandbox_refusal *no)
{
    int len = snprintf(out, HF_SANDBOX_NS_BYTES, "%s.%s", db, coll);
    size_t db_len = strlen(db);
    bool oplog = strcmp(out, "local.oplog.rs") == 0;

    if (db_len == 0 || db_len > 63 || strpbrk(db, "/\\. \"$") != NULL || coll[0] == '\0' ||
        coll[0] == '.' || (strchr(coll, '$') != NULL && !oplog) || len < 0 ||
        len >= HF_SANDBOX_NS_BYTES) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_NAMESPACE,
                                 "Invalid namespace specified '%.300s'", out);
    }
    return 0;
}

int32_t hf_sandbox_call_ns(const struct hf_sandbox_call *call, char out[HF_SANDBOX_NS_BYTES])
{
    const char *coll = hf_sandbox_get_utf8(call->command, call->name, NULL);

    if (coll == NULL) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_INVALID_NAMESPACE,
                                 "collection name has invalid type for command %s", call->name);
    }
    return hf_sandbox_make_ns(call->db, coll, out, call->no);
}

int32_t hf_sandbox_call_denied(const struct hf_sandbox_call *call)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_SANDBOX_MESSAGE_BYTES - 256);
    const char *shown;

    hf_sandbox_doc_text(call->command, &text);
    shown = hf_buf_text(&text);
    return hf_sandbox_refuse(call->no, HF_SANDBOX_UNAUTHORIZED,
                             "not authorized on %s to execute command %s", call->db,
                             shown == NULL ? call->name : shown);
}

void hf_sandbox_call_await(struct hf_sandbox_call *call)
{
    struct hf_sandbox_write_concern concern = {.w = 1};
    struct hf_sandbox_optime optime = call->optime;
    struct hf_sandbox_refusal no;
    char name[HF_SANDBOX_CODE_NAME_BYTES];
    struct hf_error err;
    bson_t doc;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "writeConcern", &doc)) {
        return;
    }
    concern.majority = strcmp(hf_sandbox_get_utf8(&doc, "w", ""), "majority") == 0;
    concern.w = (int32_t)hf_sandbox_get_int64(&doc, "w", 1);
    concern.journal = hf_sandbox_get_true(&doc, "j");
    concern.timeout_ms = (uint64_t)hf_sandbox_get_int64(&doc, "wtimeout", 0);
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

static int32_t check_rights(const struct hf_sandbox_call *call, const struct command_row *row)
{
    bool of_cluster = row->scope == SCOPE_CLUSTER || row->scope == SCOPE_ADMIN;
    const char *coll = hf_sandbox_get_utf8(call->command, call->name, "");

    if (row->scope == SCOPE_NONE || !call->server->options.options->auth) {
        return 0;
    }
    if (!hf_sandbox_call_known(call)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_UNAUTHORIZED,
                                 "command %s requires authentication", call->name);
    }
    return row->scope == SCOPE_USER ||
                   hf_sandbox_call_may(call, row->action, of_cluster ? NULL : call->db,
                                       row->scope == SCOPE_COLL ? coll : NULL)
               ? 0
               : hf_sandbox_call_denied(call);
}

static int32_t check_node(const struct hf_sandbox_call *call, const struct command_row *row)
{
    bson_t preference;

    if (row->node == NODE_ANY || strcmp(call->db, "local") == 0 ||
        hf_sandbox_repl_writable(call->repl)) {
        return 0;
    }
    if (row->node == NODE_WRITE) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_WRITABLE_PRIMARY, "not master");
    }
    if (!hf_sandbox_get_doc(call->command, "$readPreference", &preference) ||
        strcmp(hf_sandbox_get_utf8(&preference, "mode", "primary"), "primary") == 0) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_PRIMARY_NO_SECONDARY_OK,
                                 "not master and slaveOk=false");
    }
    return hf_sandbox_repl_readable(call->repl)
               ? 0
               : hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_PRIMARY_OR_SECONDARY,
                                   "node is not in primary or recovering state");
}

static int32_t read_session(struct hf_sandbox_call *call)
{
    struct hf_hash uid;
    bson_value_t id;
    bson_t lsid;

    call->txn_number = hf_sandbox_get_int64(call->command, "txnNumber", -1);
    if (bson_has_field(call->command, "autocommit")) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "transactions of several statements are not in the sandbox");
    }
    if (!hf_sandbox_get_doc(call->command, "lsid", &lsid)) {
        return call->txn_number < 0
                   ? 0
                   : hf_sandbox_refuse(
                         call->no, HF_SANDBOX_INVALID_OPTIONS,
                         "Transaction number requires a session ID to also be specified");
    }
    if (!hf_sandbox_get(&lsid, "id", &id) || id.value_type != BSON_TYPE_BINARY ||
        id.value.v_binary.data_len != 16) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_TYPE_MISMATCH, "lsid.id must be a UUID");
    }
    call->session.given = true;
    memcpy(call->session.id, id.value.v_binary.data, 16);
    hf_sha256(hf_bytes_of(call->conn->user, strlen(call->conn->user)), &uid);
    memcpy(call->session.uid, uid.bytes, sizeof call->session.uid);
    return 0;
}

struct body {
    const struct command_row *row;
    char ns[HF_SANDBOX_NS_BYTES];
};

static int32_t run_body(struct hf_sandbox_work *work, void *context)
{
    const struct body *body = context;

    bson_reinit(work->call->reply);
    return body->row->body(work, body->ns);
}

static int32_t run(struct hf_sandbox_call *call, const struct command_row *row)
{
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    struct body body = {.row = row};
    bool writes = row->node == NODE_WRITE;
    int32_t code = 0;

    if (row->call != NULL) {
        return row->call(call);
    }
    if (row->scope == SCOPE_COLL) {
        code = hf_sandbox_call_ns(call, body.ns);
    } else {
        (void)snprintf(body.ns, sizeof body.ns, "%s.$cmd", call->db);
    }
    if (code == 0) {
        code = hf_sandbox_work_run(&work, writes ? hf_sandbox_work_kind_of(body.ns) : WORK_READ,
                                   run_body, &body);
    }
    if (code == 0 && writes) {
        hf_sandbox_call_await(call);
    }
    return code;
}

static int32_t run_checked(struct hf_sandbox_call *call)
{
    const struct command_row *row = find_row(call->name);
    int64_t max_time_ms;
    bson_t collation;
    int32_t code;

    if (row == NULL) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_COMMAND_NOT_FOUND, "no such command: '%s'",
                                 call->name);
    }
    if (call->db == NULL) {
        call->db = "";
        return hf_sandbox_refuse(call->no, 40571, "OP_MSG requests require a $db argument");
    }
    max_time_ms = hf_sandbox_get_int64(call->command, "maxTimeMS", 0);
    if (max_time_ms > 0 && row->call != hf_sandbox_cmd_get_more) {
        call->deadline_ms = hf_clock_mono_ms() + (uint64_t)max_time_ms;
    }
    code = check_rights(call, row);
    if (code == 0 && hf_sandbox_get_doc(call->command, "collation", &collation) &&
        strcmp(hf_sandbox_get_utf8(&collation, "locale", "simple"), "simple") != 0) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "collations are not in the sandbox");
    }
    if (code == 0 && row->scope == SCOPE_ADMIN && strcmp(call->db, "admin") != 0) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_UNAUTHORIZED,
                                 "%s may only be run against the admin database.", call->name);
    }
    code = code != 0 ? code : read_session(call);
    code = code != 0 ? code : check_node(call, row);
    return code != 0 ? code : run(call, row);
}

/* ---- The fields of every reply ---- */

static void append_cluster_time(uint64_t ts, bson_t *reply)
{
    static const uint8_t no_hash[20] = {0};

    BCON_APPEND(reply, "$clusterTime", "{", "clusterTime", HF_SANDBOX_BCON_TS(ts), "signature", "{",
                "hash", BCON_BIN(BSON_SUBTYPE_BINARY, no_hash, sizeof no_hash), "keyId",
                BCON_INT64(0), "}", "}");
}

/* Drivers of this age retry a write only where the server says that they may. */
static bool is_retried(int32_t code)
{
    return code == HF_SANDBOX_NOT_WRITABLE_PRIMARY || code == HF_SANDBOX_INTERRUPTED_AT_SHUTDOWN ||
           code == HF_SANDBOX_NOT_PRIMARY_NO_SECONDARY_OK ||
           code == HF_SANDBOX_NOT_PRIMARY_OR_SECONDARY || code == 189 || code == 91 ||
           code == 11602;
}

static void append_error(const struct hf_sandbox_call *call, int32_t code, bson_t *reply)
{
    char name[HF_SANDBOX_CODE_NAME_BYTES];

    BCON_APPEND(reply, "ok", BCON_DOUBLE(0), "errmsg", BCON_UTF8(call->no->message));
    if (call->no->code > 0) {
        BCON_APPEND(reply, "code", BCON_INT32(code), "codeName",
                    BCON_UTF8(hf_sandbox_code_name(code, name)));
        if (call->txn_number >= 0 && is_retried(code)) {
            BCON_APPEND(reply, "errorLabels", "[", "RetryableWriteError", "]");
        }
    }
}

/* What a command returns stands before the times; what it throws, between them. */
static void finish(struct hf_sandbox_call *call, int32_t code)
{
    enum hf_sandbox_state state = hf_sandbox_repl_state(call->repl);
    uint64_t applied = hf_sandbox_engine_applied(call->engine).ts;
    bool timed = hf_sandbox_repl_enabled(call->repl) && applied != 0 &&
                 (state == HF_SANDBOX_PRIMARY || state == HF_SANDBOX_SECONDARY ||
                  state == HF_SANDBOX_RECOVERING);
    uint64_t operation = call->optime.ts != 0 ? call->optime.ts : applied;
    bool thrown = code != 0 && !call->error_in_reply;
    /* A node outside of any configuration throws these two from within the command. */
    bool within =
        code == HF_SANDBOX_NOT_YET_INITIALIZED || code == HF_SANDBOX_NO_REPLICATION_ENABLED;

    if (thrown) {
        bson_reinit(call->reply);
        if (code == HF_SANDBOX_NOT_WRITABLE_PRIMARY ||
            code == HF_SANDBOX_NOT_PRIMARY_OR_SECONDARY ||
            code == HF_SANDBOX_NOT_PRIMARY_NO_SECONDARY_OK) {
            hf_sandbox_repl_append_topology(call->repl, call->reply);
        }
        if (timed && !within) {
            hf_sandbox_append_ts(call->reply, "operationTime", operation);
        }
    }
    if (code == 0) {
        bson_append_double(call->reply, "ok", -1, 1);
    } else {
        append_error(call, code, call->reply);
    }
    if (timed) {
        append_cluster_time(applied, call->reply);
        if (!thrown) {
            hf_sandbox_append_ts(call->reply, "operationTime", operation);
        }
    }
}

static void begin_operation(struct hf_sandbox_conn *conn, const struct hf_sandbox_call *call)
{
    const char *target = hf_sandbox_get_utf8(call->command, call->name, "$cmd");

    HF_LOCKED(&conn->server->conns_mutex);
    hf_cancel_init(&conn->cancel);
    if (atomic_load(&conn->server->stopping)) {
        hf_cancel_request(&conn->cancel);
    }
    conn->op_id = atomic_fetch_add(&conn->server->next_op_id, 1);
    conn->op_started_ms = hf_clock_wall_ms();
    (void)snprintf(conn->op_name, sizeof conn->op_name, "%s", call->name);
    (void)snprintf(conn->op_ns, sizeof conn->op_ns, "%s.%s", call->db == NULL ? "" : call->db,
                   target);
}

static void count_command(struct hf_sandbox_server *server, const char *name)
{
    static const char *const names[] = {"insert", "find", "update", "delete", "getMore"};
    size_t which = COUNT_COMMAND;

    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        which = strcmp(name, names[i]) == 0 ? i : which;
    }
    /* Inserts count by document, where they are made. */
    if (which != COUNT_INSERT) {
        atomic_fetch_add(&server->counts[which], 1);
    }
}

void hf_sandbox_command_run(struct hf_sandbox_conn *conn, const bson_t *command, bson_t *reply)
{
    struct hf_sandbox_refusal no = {0};
    struct hf_sandbox_call call = {
        .server = conn->server,
        .conn = conn,
        .engine = conn->server->options.engine,
        .repl = conn->server->options.repl,
        .command = command,
        .name = "",
        .db = hf_sandbox_get_utf8(command, "$db", NULL),
        .reply = reply,
        .no = &no,
        .cancel = &conn->cancel,
        .txn_number = -1,
        .optime = HF_SANDBOX_OPTIME_NONE,
    };
    bson_iter_t iter;
    int32_t code;

    if (bson_iter_init(&iter, command) && bson_iter_next(&iter)) {
        call.name = bson_iter_key(&iter);
    }
    begin_operation(conn, &call);
    count_command(conn->server, call.name);
    code = run_checked(&call);
    finish(&call, code);
    HF_LOCKED(&conn->server->conns_mutex);
    conn->op_id = 0;
}
