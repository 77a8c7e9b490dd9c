/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a message to a command and its reply: the table of commands, who may run what on which node, and the fields
 * that every reply has.
 */
#include <stdio.h>
#include <string.h>

#include "codec/hash.h"
#include "sandbox/server_internal.h"

/* Whom a command asks for rights. */
enum scope { SCOPE_NONE, SCOPE_USER, SCOPE_CLUSTER, SCOPE_DB, SCOPE_COLL };
/* On which nodes it runs. */
enum node { NODE_ANY, NODE_READ, NODE_WRITE };

#define ADMIN 1U /* only on database admin */

struct command_row {
    const char *name;
    int32_t (*run)(struct hf_sandbox_call *call);
    enum node node;
    enum scope scope;
    uint64_t action;
    unsigned flags;
};

#define ACT(name) HF_SANDBOX_ACT(name)

static const struct command_row rows[] = {
    {"hello", hf_sandbox_cmd_hello, NODE_ANY, SCOPE_NONE, 0, 0},
    {"isMaster", hf_sandbox_cmd_hello, NODE_ANY, SCOPE_NONE, 0, 0},
    {"ismaster", hf_sandbox_cmd_hello, NODE_ANY, SCOPE_NONE, 0, 0},
    {"ping", hf_sandbox_cmd_ping, NODE_ANY, SCOPE_NONE, 0, 0},
    {"buildInfo", hf_sandbox_cmd_build_info, NODE_ANY, SCOPE_NONE, 0, 0},
    {"buildinfo", hf_sandbox_cmd_build_info, NODE_ANY, SCOPE_NONE, 0, 0},
    {"whatsmyuri", hf_sandbox_cmd_whatsmyuri, NODE_ANY, SCOPE_NONE, 0, 0},
    {"connectionStatus", hf_sandbox_cmd_connection_status, NODE_ANY, SCOPE_NONE, 0, 0},
    {"saslStart", hf_sandbox_cmd_sasl_start, NODE_ANY, SCOPE_NONE, 0, 0},
    {"saslContinue", hf_sandbox_cmd_sasl_continue, NODE_ANY, SCOPE_NONE, 0, 0},
    {"logout", hf_sandbox_cmd_logout, NODE_ANY, SCOPE_NONE, 0, 0},
    {"startSession", hf_sandbox_cmd_start_session, NODE_ANY, SCOPE_USER, 0, 0},
    {"endSessions", hf_sandbox_cmd_end_sessions, NODE_ANY, SCOPE_NONE, 0, 0},
    {"refreshSessions", hf_sandbox_cmd_ping, NODE_ANY, SCOPE_USER, 0, 0},
    {"killSessions", hf_sandbox_cmd_end_sessions, NODE_ANY, SCOPE_USER, 0, 0},
    {"find", hf_sandbox_cmd_find, NODE_READ, SCOPE_COLL, ACT(FIND), 0},
    {"getMore", hf_sandbox_cmd_get_more, NODE_ANY, SCOPE_USER, 0, 0},
    {"killCursors", hf_sandbox_cmd_kill_cursors, NODE_ANY, SCOPE_USER, 0, 0},
    {"count", hf_sandbox_cmd_count, NODE_READ, SCOPE_COLL, ACT(FIND), 0},
    {"distinct", hf_sandbox_cmd_distinct, NODE_READ, SCOPE_COLL, ACT(FIND), 0},
    {"aggregate", hf_sandbox_cmd_aggregate, NODE_READ, SCOPE_USER, 0, 0},
    {"insert", hf_sandbox_cmd_insert, NODE_WRITE, SCOPE_COLL, ACT(INSERT), 0},
    {"update", hf_sandbox_cmd_update, NODE_WRITE, SCOPE_COLL, ACT(UPDATE), 0},
    {"delete", hf_sandbox_cmd_delete, NODE_WRITE, SCOPE_COLL, ACT(REMOVE), 0},
    {"findAndModify", hf_sandbox_cmd_find_and_modify, NODE_WRITE, SCOPE_COLL, ACT(UPDATE), 0},
    {"findandmodify", hf_sandbox_cmd_find_and_modify, NODE_WRITE, SCOPE_COLL, ACT(UPDATE), 0},
    {"create", hf_sandbox_cmd_create, NODE_WRITE, SCOPE_COLL, ACT(CREATE_COLLECTION), 0},
    {"drop", hf_sandbox_cmd_drop, NODE_WRITE, SCOPE_COLL, ACT(DROP_COLLECTION), 0},
    {"dropDatabase", hf_sandbox_cmd_drop_database, NODE_WRITE, SCOPE_DB, ACT(DROP_DATABASE), 0},
    {"renameCollection", hf_sandbox_cmd_rename, NODE_WRITE, SCOPE_USER, 0, ADMIN},
    {"createIndexes", hf_sandbox_cmd_create_indexes, NODE_WRITE, SCOPE_COLL, ACT(CREATE_INDEX), 0},
    {"dropIndexes", hf_sandbox_cmd_drop_indexes, NODE_WRITE, SCOPE_COLL, ACT(DROP_INDEX), 0},
    {"deleteIndexes", hf_sandbox_cmd_drop_indexes, NODE_WRITE, SCOPE_COLL, ACT(DROP_INDEX), 0},
    {"collMod", hf_sandbox_cmd_coll_mod, NODE_WRITE, SCOPE_COLL, ACT(COLL_MOD), 0},
    {"emptycapped", hf_sandbox_cmd_empty_capped, NODE_WRITE, SCOPE_COLL, ACT(EMPTY_CAPPED), 0},
    {"appendOplogNote", hf_sandbox_cmd_append_note, NODE_WRITE, SCOPE_CLUSTER,
     ACT(APPEND_OPLOG_NOTE), ADMIN},
    {"listDatabases", hf_sandbox_cmd_list_databases, NODE_READ, SCOPE_CLUSTER, ACT(LIST_DATABASES),
     ADMIN},
    {"listCollections", hf_sandbox_cmd_list_collections, NODE_READ, SCOPE_DB, ACT(LIST_COLLECTIONS),
     0},
    {"listIndexes", hf_sandbox_cmd_list_indexes, NODE_READ, SCOPE_COLL, ACT(LIST_INDEXES), 0},
    {"dbHash", hf_sandbox_cmd_db_hash, NODE_READ, SCOPE_DB, ACT(DB_HASH), 0},
    {"dbhash", hf_sandbox_cmd_db_hash, NODE_READ, SCOPE_DB, ACT(DB_HASH), 0},
    {"validate", hf_sandbox_cmd_validate, NODE_READ, SCOPE_COLL, ACT(VALIDATE), 0},
    {"collStats", hf_sandbox_cmd_coll_stats, NODE_READ, SCOPE_COLL, ACT(COLL_STATS), 0},
    {"collstats", hf_sandbox_cmd_coll_stats, NODE_READ, SCOPE_COLL, ACT(COLL_STATS), 0},
    {"dbStats", hf_sandbox_cmd_db_stats, NODE_READ, SCOPE_DB, ACT(DB_STATS), 0},
    {"dbstats", hf_sandbox_cmd_db_stats, NODE_READ, SCOPE_DB, ACT(DB_STATS), 0},
    {"fsync", hf_sandbox_cmd_fsync, NODE_ANY, SCOPE_CLUSTER, ACT(FSYNC), ADMIN},
    {"fsyncUnlock", hf_sandbox_cmd_fsync_unlock, NODE_ANY, SCOPE_CLUSTER, ACT(UNLOCK), ADMIN},
    {"getCmdLineOpts", hf_sandbox_cmd_get_cmd_line_opts, NODE_ANY, SCOPE_CLUSTER,
     ACT(GET_CMD_LINE_OPTS), ADMIN},
    {"getParameter", hf_sandbox_cmd_get_parameter, NODE_ANY, SCOPE_CLUSTER, ACT(GET_PARAMETER),
     ADMIN},
    {"setParameter", hf_sandbox_cmd_set_parameter, NODE_ANY, SCOPE_CLUSTER, ACT(SET_PARAMETER),
     ADMIN},
    {"serverStatus", hf_sandbox_cmd_server_status, NODE_ANY, SCOPE_CLUSTER, ACT(SERVER_STATUS), 0},
    {"hostInfo", hf_sandbox_cmd_host_info, NODE_ANY, SCOPE_CLUSTER, ACT(HOST_INFO), 0},
    {"getLog", hf_sandbox_cmd_get_log, NODE_ANY, SCOPE_CLUSTER, ACT(GET_LOG), ADMIN},
    {"currentOp", hf_sandbox_cmd_current_op, NODE_ANY, SCOPE_CLUSTER, ACT(INPROG), ADMIN},
    {"killOp", hf_sandbox_cmd_kill_op, NODE_ANY, SCOPE_CLUSTER, ACT(KILL_OP), ADMIN},
    {"shutdown", hf_sandbox_cmd_shutdown, NODE_ANY, SCOPE_CLUSTER, ACT(SHUTDOWN), ADMIN},
    {"replSetGetStatus", hf_sandbox_cmd_repl, NODE_ANY, SCOPE_CLUSTER, ACT(REPL_SET_GET_STATUS),
     ADMIN},
    {"replSetGetConfig", hf_sandbox_cmd_repl, NODE_ANY, SCOPE_CLUSTER, ACT(REPL_SET_GET_CONFIG),
     ADMIN},
    {"replSetInitiate", hf_sandbox_cmd_repl, NODE_ANY, SCOPE_CLUSTER, ACT(REPL_SET_CONFIGURE),
     ADMIN},
    {"replSetReconfig", hf_sandbox_cmd_repl, NODE_ANY, SCOPE_CLUSTER, ACT(REPL_SET_CONFIGURE),
     ADMIN},
    {"replSetStepDown", hf_sandbox_cmd_repl, NODE_ANY, SCOPE_CLUSTER, ACT(REPL_SET_STATE_CHANGE),
     ADMIN},
    {"replSetFreeze", hf_sandbox_cmd_repl, NODE_ANY, SCOPE_CLUSTER, ACT(REPL_SET_STATE_CHANGE),
     ADMIN},
    {"replSetStepUp", hf_sandbox_cmd_repl, NODE_ANY, SCOPE_CLUSTER, ACT(REPL_SET_STATE_CHANGE),
     ADMIN},
    {"createUser", hf_sandbox_cmd_create_user, NODE_WRITE, SCOPE_DB, ACT(CREATE_USER), 0},
    {"updateUser", hf_sandbox_cmd_update_user, NODE_WRITE, SCOPE_DB, ACT(GRANT_ROLE), 0},
    {"dropUser", hf_sandbox_cmd_drop_user, NODE_WRITE, SCOPE_DB, ACT(DROP_USER), 0},
    {"usersInfo", hf_sandbox_cmd_users_info, NODE_READ, SCOPE_DB, ACT(VIEW_USER), 0},
    {"createRole", hf_sandbox_cmd_create_role, NODE_WRITE, SCOPE_DB, ACT(CREATE_ROLE), 0},
};

static const struct command_row member_row = {
    "", hf_sandbox_cmd_repl, NODE_ANY, SCOPE_CLUSTER, ACT(INTERNAL), 0};

static const struct command_row *find_row(const char *name)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) {
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

static void read_write_concern(const bson_t *doc, struct hf_sandbox_write_concern *out)
{
    const char *tag = hf_sandbox_get_utf8(doc, "w", NULL);

    out->majority = tag != NULL && strcmp(tag, "majority") == 0;
    out->w = (int32_t)hf_sandbox_get_int64(doc, "w", 1);
    out->journal = hf_sandbox_get_true(doc, "j") || hf_sandbox_get_true(doc, "fsync");
    out->timeout_ms = (uint64_t)hf_sandbox_get_int64(doc, "wtimeout", 0);
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
    read_write_concern(&doc, &concern);
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
        bson_append_int32(&doc, "code", -1, code);
        bson_append_utf8(&doc, "codeName", -1, hf_sandbox_code_name(code, name), -1);
        bson_append_utf8(&doc, "errmsg", -1, no.message, -1);
        if (code == HF_SANDBOX_WRITE_CONCERN_FAILED) {
            bson_t info;
            bson_append_document_begin(&doc, "errInfo", -1, &info);
            bson_append_bool(&info, "wtimeout", -1, true);
            bson_append_document_end(&doc, &info);
        }
        bson_append_document_end(call->reply, &doc);
    }
}

/* ---- Checks before a command runs ---- */

static int32_t check_rights(struct hf_sandbox_call *call, const struct command_row *row)
{
    const struct hf_sandbox_rights *rights = &call->conn->rights;
    const char *coll = hf_sandbox_get_utf8(call->command, call->name, "");
    bool allowed = true;

    if (row->scope == SCOPE_NONE || !call->server->options.options->auth) {
        return 0;
    }
    if (hf_sandbox_refresh_rights(call)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_UNAUTHORIZED,
                                 "command %s requires authentication", call->name);
    }
    if (row->scope == SCOPE_CLUSTER) {
        allowed = hf_sandbox_rights_allow(rights, row->action, NULL, NULL);
    } else if (row->scope != SCOPE_USER) {
        allowed = hf_sandbox_rights_allow(rights, row->action, call->db,
                                          row->scope == SCOPE_DB ? NULL : coll);
    }
    return allowed ? 0 : hf_sandbox_call_denied(call);
}

static bool secondary_ok(const bson_t *command)
{
    bson_t preference;

    return hf_sandbox_get_doc(command, "$readPreference", &preference) &&
           strcmp(hf_sandbox_get_utf8(&preference, "mode", "primary"), "primary") != 0;
}

static int32_t check_node(const struct hf_sandbox_call *call, const struct command_row *row)
{
    if (row->node == NODE_ANY || strcmp(call->db, "local") == 0 ||
        hf_sandbox_repl_writable(call->repl)) {
        return 0;
    }
    if (row->node == NODE_WRITE) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_WRITABLE_PRIMARY, "not master");
    }
    if (!secondary_ok(call->command)) {
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
    const struct hf_sandbox_rights *rights = &call->conn->rights;
    struct hf_hash uid;
    bson_value_t id;
    bson_t lsid;
    char user[HF_SANDBOX_NS_BYTES] = "";

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
    if (rights->known) {
        (void)snprintf(user, sizeof user, "%s@%s", rights->user, rights->db);
    }
    hf_sha256(hf_bytes_of(user, strlen(user)), &uid);
    memcpy(call->session.uid, uid.bytes, sizeof call->session.uid);
    return 0;
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
    if (max_time_ms > 0 && row->run != hf_sandbox_cmd_get_more) {
        call->deadline_ms = hf_clock_mono_ms() + (uint64_t)max_time_ms;
    }
    code = check_rights(call, row);
    if (code == 0 && hf_sandbox_get_doc(call->command, "collation", &collation) &&
        strcmp(hf_sandbox_get_utf8(&collation, "locale", "simple"), "simple") != 0) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "collations are not in the sandbox");
    }
    if (code == 0 && (row->flags & ADMIN) != 0 && strcmp(call->db, "admin") != 0) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_UNAUTHORIZED,
                                 "%s may only be run against the admin database.", call->name);
    }
    code = code != 0 ? code : read_session(call);
    code = code != 0 ? code : check_node(call, row);
    return code != 0 ? code : row->run(call);
}

/* ---- The fields of every reply ---- */

static void append_cluster_time(uint64_t ts, bson_t *reply)
{
    static const uint8_t no_hash[20] = {0};
    bson_t outer;
    bson_t signature;

    bson_append_document_begin(reply, "$clusterTime", -1, &outer);
    hf_sandbox_append_ts(&outer, "clusterTime", ts);
    bson_append_document_begin(&outer, "signature", -1, &signature);
    bson_append_binary(&signature, "hash", -1, BSON_SUBTYPE_BINARY, no_hash, sizeof no_hash);
    bson_append_int64(&signature, "keyId", -1, 0);
    bson_append_document_end(&outer, &signature);
    bson_append_document_end(reply, &outer);
}

/* Drivers of this age retry a write only where the server says that they may. */
static void append_labels(const struct hf_sandbox_call *call, int32_t code, bson_t *reply)
{
    static const int32_t retried[] = {HF_SANDBOX_NOT_WRITABLE_PRIMARY,
                                      HF_SANDBOX_INTERRUPTED_AT_SHUTDOWN,
                                      HF_SANDBOX_NOT_PRIMARY_NO_SECONDARY_OK,
                                      HF_SANDBOX_NOT_PRIMARY_OR_SECONDARY,
                                      189,
                                      91,
                                      11602};
    bson_t labels;

    for (size_t i = 0; call->txn_number >= 0 && i < HF_ARRAY_LEN(retried); i++) {
        if (retried[i] == code) {
            bson_append_array_begin(reply, "errorLabels", -1, &labels);
            bson_append_utf8(&labels, "0", -1, "RetryableWriteError", -1);
            bson_append_array_end(reply, &labels);
        }
    }
}

static void append_error(const struct hf_sandbox_call *call, int32_t code, bson_t *reply)
{
    char name[HF_SANDBOX_CODE_NAME_BYTES];

    bson_append_double(reply, "ok", -1, 0);
    bson_append_utf8(reply, "errmsg", -1, call->no->message, -1);
    if (call->no->code > 0) {
        bson_append_int32(reply, "code", -1, code);
        bson_append_utf8(reply, "codeName", -1, hf_sandbox_code_name(code, name), -1);
        append_labels(call, code, reply);
    }
}

static void finish(struct hf_sandbox_call *call, int32_t code)
{
    enum hf_sandbox_state state = hf_sandbox_repl_state(call->repl);
    uint64_t applied = hf_sandbox_engine_applied(call->engine).ts;
    bool timed = hf_sandbox_repl_enabled(call->repl) && applied != 0 &&
                 (state == HF_SANDBOX_PRIMARY || state == HF_SANDBOX_SECONDARY ||
                  state == HF_SANDBOX_RECOVERING);
    uint64_t operation = call->optime.ts != 0 ? call->optime.ts : applied;

    if (code == 0 || call->error_in_reply) {
        if (code == 0) {
            bson_append_double(call->reply, "ok", -1, 1);
        } else {
            append_error(call, code, call->reply);
        }
        if (timed) {
            append_cluster_time(applied, call->reply);
            hf_sandbox_append_ts(call->reply, "operationTime", operation);
        }
        return;
    }
    bson_reinit(call->reply);
    if (code == HF_SANDBOX_NOT_WRITABLE_PRIMARY || code == HF_SANDBOX_NOT_PRIMARY_OR_SECONDARY ||
        code == HF_SANDBOX_NOT_PRIMARY_NO_SECONDARY_OK) {
        hf_sandbox_repl_append_topology(call->repl, call->reply);
    }
    /* A node outside of any configuration throws these two from within the command. */
    bool returned =
        code == HF_SANDBOX_NOT_YET_INITIALIZED || code == HF_SANDBOX_NO_REPLICATION_ENABLED;
    if (timed && !returned) {
        hf_sandbox_append_ts(call->reply, "operationTime", operation);
    }
    append_error(call, code, call->reply);
    if (timed) {
        append_cluster_time(applied, call->reply);
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

static void end_operation(struct hf_sandbox_conn *conn)
{
    HF_LOCKED(&conn->server->conns_mutex);
    conn->op_id = 0;
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
    end_operation(conn);
}
