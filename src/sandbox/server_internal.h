/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the wire side share: the server, its connections, one call of a command, cursors.
 */
#ifndef HF_SANDBOX_SERVER_INTERNAL_H
#define HF_SANDBOX_SERVER_INTERNAL_H

#include <stdatomic.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "sandbox/docs.h"
#include "sandbox/match.h"
#include "sandbox/roles.h"
#include "sandbox/scram.h"
#include "sandbox/server.h"
#include "sandbox/value.h"
#include "sandbox/wire.h"

#define HF_SANDBOX_VERSION "4.4.6-8"
#define HF_SANDBOX_BATCH_MAX_BYTES (16 * 1024 * 1024)
#define HF_SANDBOX_DOC_MAX (16 * 1024 * 1024)

struct hf_sandbox_session {
    bool given;
    uint8_t id[16];
    uint8_t uid[32]; /* SHA-256 of "user@db", or of nothing */
};

/* ---- Cursors (cursor.c) ---- */

struct hf_sandbox_find; /* how a cursor reads on in a collection (find.c) */

struct hf_sandbox_cursor {
    int64_t id;
    char ns[HF_SANDBOX_NS_BYTES];
    char user[HF_SANDBOX_NS_BYTES]; /* "name@db" of who opened it; "" without access control */
    struct hf_sandbox_session session;
    bool tailable, await_data, no_timeout;
    bool id_first; /* listCollections and its like name the id before the batch */
    bool backup;   /* its end closes the backup */
    uint8_t backup_id[HF_SANDBOX_UUID_BYTES];
    bson_t *command; /* owned: that opened it */
    uint64_t created_wall_ms, used_wall_ms, used_mono_ms;
    int64_t docs_returned, batches_returned;
    struct hf_sandbox_docs docs; /* what is still to be returned, from docs_at on */
    size_t docs_at;
    struct hf_sandbox_find *find; /* owned; NULL: docs are all there is (any more) */
    bool pinned;                  /* in use by a command; guards: cursors_mutex */
    atomic_bool killed;           /* set under cursors_mutex; ends when its command does */
    struct hf_sandbox_cursor *next;
};

struct hf_sandbox_conn;

struct hf_sandbox_server {
    struct hf_sandbox_server_options options;
    int listener;
    char host[256]; /* name and port */
    char pretty_host
        [256]; /* the port only where it is not the usual one, as serverStatus shows it */
    uint64_t started_mono_ms;
    atomic_bool stopping;
    struct hf_thread *accept_thread, *reap_thread;
    atomic_int_fast32_t next_conn_id;
    atomic_int_fast32_t next_request_id;
    atomic_int_fast64_t next_op_id;
    atomic_uint_fast64_t cursor_timeout_ms;
    atomic_uint_fast64_t users_generation; /* grows when users or roles may have changed */
    atomic_int_fast64_t counts[6];         /* enum hf_sandbox_counter */
    struct hf_mutex conns_mutex;           /* guards: conns, and each one's current operation */
    struct hf_sandbox_conn *conns;
    size_t conn_count;
    struct hf_mutex cursors_mutex; /* guards: cursors, and their pinned */
    struct hf_sandbox_cursor *cursors;
};

enum hf_sandbox_counter {
    COUNT_INSERT,
    COUNT_QUERY,
    COUNT_UPDATE,
    COUNT_DELETE,
    COUNT_GETMORE,
    COUNT_COMMAND
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
    struct hf_sandbox_scram *scram; /* owned: a conversation under way, and for whom */
    char scram_user[128];
    char scram_db[64];
    bool scram_short; /* the client does not want the empty last exchange */
    struct hf_sandbox_rights rights;
    struct hf_cancel cancel; /* of the current operation */
    int64_t op_id;           /* 0: idle */
    char op_name[64];
    char op_ns[HF_SANDBOX_NS_BYTES];
    uint64_t op_started_ms;
};

/* One command on its way. */
struct hf_sandbox_call {
    struct hf_sandbox_server *server;
    struct hf_sandbox_conn *conn;
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_repl *repl;
    const bson_t *command;
    const char *name; /* as sent */
    const char *db;
    bson_t *reply;
    struct hf_sandbox_refusal *no;
    const struct hf_cancel *cancel;
    uint64_t deadline_ms; /* on hf_clock_mono_ms, from maxTimeMS; 0: none */
    struct hf_sandbox_session session;
    int64_t txn_number; /* -1: none */
    bool
        error_in_reply; /* a refusal that the server returns rather than throws: other order, maybe no code */
    struct hf_sandbox_optime optime; /* of its last write; ts 0: none */
};

/* ---- command.c ---- */

/* Runs one command; reply is complete afterwards. */
void hf_sandbox_command_run(struct hf_sandbox_conn *conn, const bson_t *command, bson_t *reply);
/* Interrupted, past maxTimeMS, shutting down: the code. For loops and before waits. */
int32_t hf_sandbox_call_check(const struct hf_sandbox_call *call);
/* "db.coll" from the command's first field. INVALID_NAMESPACE when it is no name. */
int32_t hf_sandbox_call_ns(const struct hf_sandbox_call *call, char out[HF_SANDBOX_NS_BYTES]);
int32_t hf_sandbox_make_ns(const char *db, const char *coll, char out[HF_SANDBOX_NS_BYTES],
                           struct hf_sandbox_refusal *no);
/* UNAUTHORIZED as recorded. */
int32_t hf_sandbox_call_denied(const struct hf_sandbox_call *call);
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
/* The code for work->err, which an engine's function just filled. */
int32_t hf_sandbox_work_refuse(struct hf_sandbox_work *work);
/* Writes to `local` are not replicated; reads take the command's readConcern. */
enum hf_sandbox_work_kind hf_sandbox_work_kind_of(const char *ns);
/* The collection, created (and logged) when it is missing. */
int32_t hf_sandbox_work_need_coll(struct hf_sandbox_work *work, const char *ns,
                                  struct hf_sandbox_coll **out);
/* Logs {o} as "c" of the database, with the collection's uuid (may be NULL). */
int32_t hf_sandbox_work_log_command(struct hf_sandbox_work *work, const char *db,
                                    const uint8_t *uuid, const bson_t *o, const bson_t *o2);

struct hf_sandbox_query {
    const struct hf_sandbox_matcher *matcher; /* NULL: all */
    bool backward;                            /* natural order */
    int64_t after_record;                     /* natural order: go on behind it */
    bool natural;                             /* no index, whatever the matcher says */
};
/* Returns false to end the scan. The document is a view. */
typedef bool (*hf_sandbox_query_visit)(int64_t record, const bson_t *doc, void *context);
/* True when an index will do it: then all is to be read at once. */
bool hf_sandbox_query_by_index(const struct hf_sandbox_coll *coll,
                               const struct hf_sandbox_query *query);
int32_t hf_sandbox_query_run(struct hf_sandbox_work *work, struct hf_sandbox_coll *coll,
                             const struct hf_sandbox_query *query, hf_sandbox_query_visit visit,
                             void *context);

/* ---- cursor.c ---- */

/* Takes cursor, which gets an id when it must live on (more to come, or tailable), and appends `cursor` to the reply.
 * batch_size: -1 when not given. single: closes it after the batch. */
int32_t hf_sandbox_cursor_begin_take(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                                     int64_t batch_size, bool single);
struct hf_sandbox_cursor *hf_sandbox_cursor_create(struct hf_sandbox_call *call, const char *ns);
void hf_sandbox_cursor_destroy(struct hf_sandbox_server *server, struct hf_sandbox_cursor *cursor);
/* Ends cursors that were idle for too long, or of a session; all when server stops. */
void hf_sandbox_cursors_reap(struct hf_sandbox_server *server);
void hf_sandbox_cursors_end_session(struct hf_sandbox_server *server, const uint8_t id[16]);
void hf_sandbox_cursors_close_all(struct hf_sandbox_server *server);
/* idleCursor documents of $currentOp. */
int32_t hf_sandbox_cursors_list(struct hf_sandbox_call *call, struct hf_sandbox_docs *out);
int32_t hf_sandbox_cmd_get_more(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_kill_cursors(struct hf_sandbox_call *call);

/* ---- find.c ---- */

/* Adds documents to cursor->docs until batch_bytes or count is reached or the end; *ended at the end. */
int32_t hf_sandbox_find_fill(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                             int64_t count, bool *ended);
void hf_sandbox_find_destroy(struct hf_sandbox_find *find);
int32_t hf_sandbox_cmd_find(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_count(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_distinct(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_aggregate(struct hf_sandbox_call *call);

/* ---- retry.c: writes that a client may send twice ---- */

struct hf_sandbox_statement { /* one that was done before, under the same txnNumber */
    int32_t id;
    bson_t *entry; /* owned: its oplog entry */
};

struct hf_sandbox_retry {
    bson_t *lead;                      /* owned: {lsid, txnNumber}; NULL: not a retryable write */
    struct hf_sandbox_optime previous; /* last entry of this txnNumber */
    struct hf_sandbox_statement *done; /* owned */
    size_t done_count;
};

/* Reads what the session did under this txnNumber; TRANSACTION_TOO_OLD when it is past it. */
int32_t hf_sandbox_retry_begin(struct hf_sandbox_call *call, struct hf_sandbox_retry *out);
void hf_sandbox_retry_fini(struct hf_sandbox_retry *retry);
HF_CLEANUP_DEFINE_VALUE(hf_sandbox_retry_fini, struct hf_sandbox_retry)
/* The oplog entry of the statement, NULL when it was not done yet. */
const bson_t *hf_sandbox_retry_find(const struct hf_sandbox_retry *retry, int32_t statement);
/* Stores, in the transaction of the write, that `last` was the session's last entry. */
int32_t hf_sandbox_retry_record(struct hf_sandbox_work *work, const struct hf_sandbox_retry *retry,
                                struct hf_sandbox_optime last);
/* The `o` of the oplog entry at that time (an image of findAndModify); NULL when it is gone. The caller's. */
bson_t *hf_sandbox_retry_image(struct hf_sandbox_call *call, uint64_t ts);

/* ---- write.c ---- */

int32_t hf_sandbox_cmd_insert(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_update(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_delete(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_find_and_modify(struct hf_sandbox_call *call);

/* ---- ddl.c ---- */

int32_t hf_sandbox_cmd_create(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_drop(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_drop_database(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_rename(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_create_indexes(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_drop_indexes(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_coll_mod(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_empty_capped(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_append_note(struct hf_sandbox_call *call);

/* ---- list.c ---- */

int32_t hf_sandbox_cmd_list_databases(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_list_collections(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_list_indexes(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_db_hash(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_validate(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_coll_stats(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_db_stats(struct hf_sandbox_call *call);

/* ---- status.c ---- */

int32_t hf_sandbox_cmd_hello(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_ping(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_build_info(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_get_cmd_line_opts(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_get_parameter(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_set_parameter(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_server_status(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_host_info(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_whatsmyuri(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_get_log(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_current_op(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_kill_op(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_fsync(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_fsync_unlock(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_shutdown(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_start_session(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_end_sessions(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_repl(struct hf_sandbox_call *call);
/* Operations under way, as documents of $currentOp. */
int32_t hf_sandbox_ops_list(struct hf_sandbox_call *call, struct hf_sandbox_docs *out);

/* ---- users.c ---- */

int32_t hf_sandbox_cmd_sasl_start(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_sasl_continue(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_logout(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_connection_status(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_create_user(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_update_user(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_drop_user(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_users_info(struct hf_sandbox_call *call);
int32_t hf_sandbox_cmd_create_role(struct hf_sandbox_call *call);
/* The user's mechanisms for hello's saslSupportedMechs. */
void hf_sandbox_append_mechanisms(struct hf_sandbox_call *call, const char *user, bson_t *reply);
/* Reads the user's rights anew when they may have changed. True when nobody has logged in, unless the exception for
 * localhost holds. */
bool hf_sandbox_refresh_rights(struct hf_sandbox_call *call);

#endif
