/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the wire side share: the server, its connections, one call of a command, cursors.
 */
#ifndef HF_SANDBOX_SERVER_INTERNAL_H
#define HF_SANDBOX_SERVER_INTERNAL_H

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/log.h"
#include "os/clock.h"
#include "sandbox/engine.h"
#include "sandbox/pipeline.h"
#include "sandbox/repl.h"
#include "sandbox/value.h"
#include "sandbox/wire.h"

#define HF_SANDBOX_BATCH_MAX_BYTES (16 * 1024 * 1024)
#define HF_SANDBOX_DOC_MAX (16 * 1024 * 1024)

/* OWNED_DOC *name = ..: destroyed with its scope. */
#define OWNED_DOC HF_CLEANUP(bson_destroy) bson_t
#define REFUSE(call, name, ...) hf_sandbox_refuse((call)->no, HF_SANDBOX_##name, __VA_ARGS__)

/* ---- Logging in (scram.c): SCRAM, RFC 5802 and 7677, the server's half ---- */

#define HF_SANDBOX_SCRAM_TEXT_BYTES 512

/* A conversation; all zeros: none. */
struct hf_sandbox_scram {
    size_t kind; /* SCRAM-SHA-1, SCRAM-SHA-256 */
    char user[128];
    char nonce[HF_SANDBOX_SCRAM_TEXT_BYTES]; /* the client's, then both; "": no challenge is open */
    char said[4 * HF_SANDBOX_SCRAM_TEXT_BYTES];
    uint8_t stored_key[32], server_key[32];
};

/* credentials: {<mechanism>: {iterationCount, salt, storedKey, serverKey}, ..} of the password. */
void hf_sandbox_scram_append_credentials(bson_t *doc, const char *user, const char *password);
/* Reads the client's first message, with the user's name in it. False when it is malformed. */
bool hf_sandbox_scram_start(struct hf_sandbox_scram *scram, const char *mechanism,
                            struct hf_bytes payload);
/* The server's first message, from the user's credentials. False when these are none. */
bool hf_sandbox_scram_challenge(struct hf_sandbox_scram *scram, const bson_t *user,
                                char out[HF_SANDBOX_SCRAM_TEXT_BYTES]);
/* Checks the client's proof; the server's last message. False when it is wrong. */
bool hf_sandbox_scram_finish(struct hf_sandbox_scram *scram, struct hf_bytes payload,
                             char out[HF_SANDBOX_SCRAM_TEXT_BYTES]);

/* ---- Rights (roles.c) ---- */

#define HF_SANDBOX_USERS_NS "admin.system.users"

/* An action on something: db NULL is the cluster, coll NULL the whole database. */
struct hf_sandbox_deed {
    const char *action, *db, *coll;
};
/* Of a built-in role; false too when there is no such role. */
bool hf_sandbox_role_allows(const char *role, const char *db, const struct hf_sandbox_deed *deed);
/* {resource: {..}, actions: [..]}; a malformed one allows nothing. */
bool hf_sandbox_privilege_allows(const bson_t *privilege, const struct hf_sandbox_deed *deed);

struct hf_sandbox_session {
    bool given;
    uint8_t id[16];
    uint8_t uid[32]; /* SHA-256 of the user, or of nothing */
};

/* ---- Cursors (cursor.c) ---- */

struct hf_sandbox_cursor {
    int64_t id;
    char ns[HF_SANDBOX_NS_BYTES];
    struct hf_sandbox_session session; /* of who opened it */
    bool tailable, await_data, no_timeout;
    bool backup; /* its end closes the backup */
    uint8_t backup_id[HF_SANDBOX_UUID_BYTES];
    bson_t *command; /* owned: that opened it */
    uint64_t created_wall_ms, used_wall_ms, used_mono_ms;
    int64_t docs_returned, batches_returned;
    struct hf_sandbox_docs docs; /* what is still to be returned, from docs_at on */
    size_t docs_at;
    /* How it reads on in its collection (find.c). */
    bson_t *stages;      /* owned; NULL: docs are all there is (any more) */
    bool backward;       /* natural order */
    bool whole;          /* all at once: there is no place to go on from */
    int64_t skip, limit; /* still to come; limit 0: none */
    int64_t position;    /* the last record seen */
    struct hf_sandbox_cursor *next;
};

/* ---- Transactions of sessions (multi.c) ---- */

enum hf_sandbox_multi_state { MULTI_OPEN, MULTI_PREPARED, MULTI_COMMITTED, MULTI_ABORTED };

/* What is known of a session's last one. */
struct hf_sandbox_multi {
    struct hf_sandbox_multi *next;
    struct hf_sandbox_session session;
    int64_t number; /* its txnNumber */
    int64_t term;   /* of the primary that it runs on */
    enum hf_sandbox_multi_state state;
    struct hf_sandbox_txn *txn;    /* owned; while open or prepared */
    struct hf_sandbox_optime last; /* prepared, committed: its newest entry */
    uint64_t used_mono_ms;         /* since when it is what it is */
    bool busy; /* a command has it: all but the session is that one's, lock or no lock */
};

/* ---- The server (server.c) ---- */

struct hf_sandbox_conn;

struct hf_sandbox_server { /* the first five are the caller's, and outlive it */
    struct hf_sandbox_options options;
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_repl *repl;
    struct hf_log *log;
    struct hf_cancel *shutdown; /* the command `shutdown` requests it; main.c waits for it */
    int listener;
    char host[256]; /* the name, and the port where it is not the usual one */
    uint64_t started_mono_ms;
    struct hf_cancel stop;    /* interrupts every operation */
    struct hf_thread *thread; /* accepts connections, ends idle cursors */
    atomic_int_fast32_t next_conn_id, next_request_id;
    atomic_uint_fast64_t cursor_timeout_ms;
    struct hf_sandbox_conn *conns; /* of the thread */
    struct hf_mutex cursors_mutex; /* guards: cursors */
    struct hf_sandbox_cursor *cursors;
    struct hf_mutex multis_mutex; /* guards all below; taken before any lock of the engine */
    struct hf_cond multis_changed;
    struct hf_sandbox_multi *multis;
    int64_t multis_term; /* in which what was prepared is held; -1: none */
};

struct hf_sandbox_conn {
    struct hf_sandbox_server *server; /* borrowed: outlives it */
    struct hf_sandbox_conn *next;
    struct hf_thread *thread;
    atomic_bool done;
    int fd;
    int32_t id;
    bool loopback;
    char client[80];
    struct hf_sandbox_scram scram;  /* a log-in under way */
    char user[HF_SANDBOX_NS_BYTES]; /* who is logged in, as "db.name"; "": nobody */
};

/* Listens when it returns. */
HF_MUST_CHECK enum hf_err hf_sandbox_server_start(struct hf_sandbox_server *server,
                                                  struct hf_error *err);
/* Operations are interrupted (11600), then everything is joined. Does nothing when it was not started. */
void hf_sandbox_server_stop(struct hf_sandbox_server *server);

/* One command on its way. */
struct hf_sandbox_call {
    struct hf_sandbox_server *server;
    struct hf_sandbox_conn *conn;
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_repl *repl;
    const bson_t *command;
    const char *name; /* as sent */
    const char *db;
    char ns
        [HF_SANDBOX_NS_BYTES]; /* of the first field where that names a collection, else "db.$cmd" */
    bson_t *reply;
    struct hf_sandbox_refusal *no;
    const struct hf_cancel *cancel;
    uint64_t deadline_ms; /* on hf_clock_mono_ms, from maxTimeMS; 0: none */
    struct hf_sandbox_session session;
    int64_t txn_number;              /* -1: none */
    bool in_multi;                   /* autocommit: false: it belongs to a transaction */
    bool multi_failed;               /* an error ended it, though the answer may be ok */
    struct hf_sandbox_multi *multi;  /* of its session, while it runs; NULL: none */
    struct hf_sandbox_optime optime; /* of its last write; ts 0: none */
};

/* ---- command.c ---- */

/* Runs one command; reply is complete afterwards. */
void hf_sandbox_command_run(struct hf_sandbox_conn *conn, const bson_t *command, bson_t *reply);
/* Interrupted, past maxTimeMS, shutting down: the code. For loops and before waits. */
int32_t hf_sandbox_call_check(const struct hf_sandbox_call *call);
/* "db.coll"; INVALID_NAMESPACE when it is no name. coll NULL: the command's first field is no text. */
int32_t hf_sandbox_call_make_ns(const struct hf_sandbox_call *call, const char *db,
                                const char *coll, char out[HF_SANDBOX_NS_BYTES]);
/* UNAUTHORIZED as recorded. */
int32_t hf_sandbox_call_denied(const struct hf_sandbox_call *call);
/* Whether who is logged in may do it (users.c); always without access control. db NULL: on the cluster; coll NULL: on
 * the whole database. */
bool hf_sandbox_call_may(const struct hf_sandbox_call *call, const char *action, const char *db,
                         const char *coll);
/* The document with this _id, of the oplog the entry at this time, as it is now; the caller's, NULL: none. *any (may be
 * NULL): there is such a collection. */
bson_t *hf_sandbox_call_lookup(const struct hf_sandbox_call *call, const char *ns,
                               const bson_value_t *id, bool *any);
/* Waits for the command's writeConcern; a failure becomes writeConcernError in the reply. */
void hf_sandbox_call_await(struct hf_sandbox_call *call);

/* ---- work.c: transactions of commands ---- */

struct hf_sandbox_work {
    struct hf_sandbox_call *call;
    struct hf_sandbox_txn *txn;
    struct hf_error err;
    bson_t *duplicate; /* owned: {keyPattern, keyValue} after 11000 */
};

typedef int32_t (*hf_sandbox_work_body)(struct hf_sandbox_work *work, void *context);

enum hf_sandbox_work_kind { WORK_READ, WORK_WRITE, WORK_WRITE_LOCAL };

/* Runs body in a transaction, again and again while somebody else is first; sets call->optime after a write. */
int32_t hf_sandbox_work_run(struct hf_sandbox_work *work, enum hf_sandbox_work_kind kind,
                            hf_sandbox_work_body body, void *context);
void hf_sandbox_work_fini(struct hf_sandbox_work *work);
HF_CLEANUP_DEFINE_VALUE(hf_sandbox_work_fini, struct hf_sandbox_work)
/* The code for what an engine's function just returned, and put into work->err; 0 for success. */
int32_t hf_sandbox_work_code(struct hf_sandbox_work *work, enum hf_err result);
/* Writes to `local` are not replicated; reads take the command's readConcern. */
enum hf_sandbox_work_kind hf_sandbox_work_kind_of(const char *ns);

struct hf_sandbox_query {
    const bson_t *filter; /* NULL: all */
    bool backward;        /* natural order */
    int64_t after_record; /* natural order: go on behind it */
};
/* Returns false to end the scan. The document is a view. */
typedef bool (*hf_sandbox_query_visit)(int64_t record, const bson_t *doc, void *context);
int32_t hf_sandbox_query_run(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                             const struct hf_sandbox_query *query, hf_sandbox_query_visit visit,
                             void *context);

/* ---- multi.c ---- */

/* {id, uid}: the session's key in config.transactions, which oplog entries carry too. */
bson_t *hf_sandbox_session_doc(const struct hf_sandbox_session *session);
/* On a new primary: takes up what is prepared, before anybody writes. */
int32_t hf_sandbox_multis_ready(struct hf_sandbox_call *call);
/* Gives the command its session's transaction, begun where it asks for it. */
int32_t hf_sandbox_multi_take(struct hf_sandbox_call *call);
/* After the command, which had that code: an error ends an open transaction. */
void hf_sandbox_multi_give(struct hf_sandbox_call *call, int32_t code);
/* Ends what is too old, or on no primary any more; all where `all`. */
void hf_sandbox_multis_sweep(struct hf_sandbox_server *server, bool all);

/* ---- cursor.c ---- */

/* Takes cursor, which gets an id when it must live on (more to come, or tailable), and appends `cursor` to the reply. A
 * code of what came before ends it (NULL: nothing to end) and is returned. */
int32_t hf_sandbox_cursor_begin_take(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                                     int32_t code);
struct hf_sandbox_cursor *hf_sandbox_cursor_create(struct hf_sandbox_call *call, const char *ns);
void hf_sandbox_cursor_destroy(struct hf_sandbox_server *server, struct hf_sandbox_cursor *cursor);
/* Ends the cursors that were idle for so long (0: all), of that id (0: any). True when there was one. */
bool hf_sandbox_cursors_end(struct hf_sandbox_server *server, int64_t id, uint64_t idle_ms);
/* idleCursor documents of $currentOp. */
int32_t hf_sandbox_cursors_list(struct hf_sandbox_call *call, struct hf_sandbox_docs *out);

/* ---- find.c ---- */

/* Adds documents to cursor->docs until count or the size of a batch is reached or the end; *ended at the end. */
int32_t hf_sandbox_find_fill(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                             int64_t count, bool *ended);

/* ---- The commands: name, function, on which node, whom it asks for the right, to do what ---- */

#define HF_SANDBOX_CALL_TABLE(X)                                                                   \
    X("hello", hello, ANY, NONE, "")                                                               \
    X("isMaster", hello, ANY, NONE, "")                                                            \
    X("ping", ping, ANY, NONE, "")                                                                 \
    X("endSessions", ping, ANY, NONE, "")                                                          \
    X("buildInfo", build_info, ANY, NONE, "")                                                      \
    X("_sandboxJoin", join, ANY, NONE, "")                                                         \
    X("connectionStatus", connection_status, ANY, NONE, "")                                        \
    X("saslStart", sasl_start, ANY, NONE, "")                                                      \
    X("saslContinue", sasl_continue, ANY, NONE, "")                                                \
    X("find", find, READ, COLL, "find")                                                            \
    X("getMore", get_more, ANY, USER, "")                                                          \
    X("killCursors", kill_cursors, ANY, USER, "")                                                  \
    X("count", count, READ, COLL, "find")                                                          \
    X("distinct", distinct, READ, COLL, "find")                                                    \
    X("aggregate", aggregate, READ, USER, "")                                                      \
    X("insert", write, WRITE, COLL, "insert")                                                      \
    X("update", write, WRITE, COLL, "update")                                                      \
    X("delete", write, WRITE, COLL, "remove")                                                      \
    X("findAndModify", find_and_modify, WRITE, COLL, "update")                                     \
    X("commitTransaction", end_transaction, WRITE, USER, "")                                       \
    X("abortTransaction", end_transaction, WRITE, USER, "")                                        \
    X("prepareTransaction", prepare_transaction, WRITE, CLUSTER, "internal")                       \
    X("fsync", fsync, ANY, ADMIN, "fsync")                                                         \
    X("fsyncUnlock", fsync_unlock, ANY, ADMIN, "unlock")                                           \
    X("getCmdLineOpts", get_cmd_line_opts, ANY, ADMIN, "getCmdLineOpts")                           \
    X("getParameter", get_parameter, ANY, ADMIN, "getParameter")                                   \
    X("setParameter", set_parameter, ANY, ADMIN, "setParameter")                                   \
    X("serverStatus", server_status, ANY, CLUSTER, "serverStatus")                                 \
    X("currentOp", current_op, ANY, ADMIN, "inprog")                                               \
    X("shutdown", shutdown, ANY, ADMIN, "shutdown")                                                \
    X("replSetGetStatus", repl, ANY, ADMIN, "replSetGetStatus")                                    \
    X("replSetGetConfig", repl, ANY, ADMIN, "replSetGetConfig")                                    \
    X("replSetInitiate", repl, ANY, ADMIN, "replSetConfigure")                                     \
    X("replSetReconfig", repl, ANY, ADMIN, "replSetConfigure")                                     \
    X("replSetStepDown", repl, ANY, ADMIN, "replSetStateChange")

/* These run in a transaction, again and again while somebody else is first, with an empty reply each time. A write then
 * waits for its writeConcern. */
#define HF_SANDBOX_BODY_TABLE(X)                                                                   \
    X("create", create, WRITE, COLL, "createCollection")                                           \
    X("applyOps", apply_ops, WRITE, ADMIN, "internal")                                             \
    X("drop", drop, WRITE, COLL, "dropCollection")                                                 \
    X("dropDatabase", drop_database, WRITE, DB, "dropDatabase")                                    \
    X("renameCollection", rename, WRITE, USER, "")                                                 \
    X("createIndexes", create_indexes, WRITE, COLL, "createIndex")                                 \
    X("dropIndexes", drop_indexes, WRITE, COLL, "dropIndex")                                       \
    X("appendOplogNote", append_note, WRITE, ADMIN, "appendOplogNote")                             \
    X("setFeatureCompatibilityVersion", set_version, WRITE, CLUSTER,                               \
      "setFeatureCompatibilityVersion")                                                            \
    X("createUser", create_user, WRITE, DB, "createUser")                                          \
    X("createRole", create_user, WRITE, DB, "createRole")                                          \
    X("listDatabases", list_databases, READ, ADMIN, "listDatabases")                               \
    X("listCollections", list_collections, READ, DB, "listCollections")                            \
    X("listIndexes", list_indexes, READ, COLL, "listIndexes")                                      \
    X("dbHash", db_hash, READ, DB, "dbHash")                                                       \
    X("validate", validate, READ, COLL, "validate")

#define HF_SANDBOX_DECLARE_CALL(name, fn, node, scope, action)                                     \
    int32_t hf_sandbox_cmd_##fn(struct hf_sandbox_call *call);
#define HF_SANDBOX_DECLARE_BODY(name, fn, node, scope, action)                                     \
    int32_t hf_sandbox_body_##fn(struct hf_sandbox_work *work);
HF_SANDBOX_CALL_TABLE(HF_SANDBOX_DECLARE_CALL)
HF_SANDBOX_BODY_TABLE(HF_SANDBOX_DECLARE_BODY)

/* ---- What they share ---- */

/* The collection of the call; refused when there is none (ddl.c). */
int32_t hf_sandbox_work_find(struct hf_sandbox_work *work, struct hf_sandbox_coll **out);
/* The collection, created when it is missing (ddl.c). */
int32_t hf_sandbox_work_need_coll(struct hf_sandbox_work *work, const char *ns,
                                  struct hf_sandbox_coll **out);
/* Logs the entry (but in `local`) and does what it says (ddl.c). */
int32_t hf_sandbox_work_perform(struct hf_sandbox_work *work, const struct hf_sandbox_entry *entry);
/* The operation that asks, as a document of $currentOp (status.c). */
int32_t hf_sandbox_ops_list(struct hf_sandbox_call *call, struct hf_sandbox_docs *out);
/* The mechanisms of the user "db.name", for hello's saslSupportedMechs (users.c). */
void hf_sandbox_append_mechanisms(struct hf_sandbox_call *call, const char *user, bson_t *reply);

#endif
