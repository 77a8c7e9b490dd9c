/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions of several commands: which session has one, how it ends, what its oplog entries look like.
 *
 *   open       begun by the first command: a transaction of the engine that gathers what it logs
 *   prepared   its operations are in the oplog; it is only open still to keep others away from what it changed
 *   committed, aborted
 *
 * The entries and the session's document are written by a transaction of their own, which the data are joined to. What
 * is prepared outlives its primary: the next one does the operations again, from the oplog.
 */
#include <stdlib.h>
#include <string.h>

#include "sandbox/server_internal.h"

#define TRANSACTIONS_NS "config.transactions"
#define LIFETIME_S 60

bson_t *hf_sandbox_session_doc(const struct hf_sandbox_session *session)
{
    return BCON_NEW("id", BCON_BIN(BSON_SUBTYPE_UUID, session->id, 16), "uid",
                    BCON_BIN(BSON_SUBTYPE_BINARY, session->uid, 32));
}

/* ---- The list; under its lock ---- */

static struct hf_sandbox_multi *find(const struct hf_sandbox_server *server,
                                     const struct hf_sandbox_session *session)
{
    struct hf_sandbox_multi *at = server->multis;

    while (at != NULL && (memcmp(at->session.id, session->id, sizeof session->id) != 0 ||
                          memcmp(at->session.uid, session->uid, sizeof session->uid) != 0)) {
        at = at->next;
    }
    return at;
}

static void set_state(struct hf_sandbox_multi *multi, enum hf_sandbox_multi_state state)
{
    multi->state = state;
    multi->used_mono_ms = hf_clock_mono_ms();
}

static void abandon(struct hf_sandbox_multi *multi)
{
    if (multi->txn != NULL) {
        hf_sandbox_txn_abort(HF_TAKE(multi->txn));
        set_state(multi, MULTI_ABORTED);
    }
}

static struct hf_sandbox_multi *add(struct hf_sandbox_server *server,
                                    const struct hf_sandbox_session *session)
{
    struct hf_sandbox_multi *multi = hf_alloc_zero(sizeof *multi);

    HF_ASSERT(multi != NULL);
    multi->session = *session;
    multi->next = server->multis;
    server->multis = multi;
    return multi;
}

/* Those of which nothing more can be said than config.transactions does. */
static void remove_ended(struct hf_sandbox_server *server, uint64_t age_ms)
{
    for (struct hf_sandbox_multi **at = &server->multis; *at != NULL;) {
        struct hf_sandbox_multi *multi = *at;

        if (!multi->busy && multi->txn == NULL &&
            hf_clock_mono_ms() - multi->used_mono_ms >= age_ms) {
            *at = multi->next;
            hf_free(multi);
        } else {
            at = &multi->next;
        }
    }
}

/* A number among the start parameters. */
static uint64_t parameter(const struct hf_sandbox_server *server, const char *name,
                          uint64_t fallback)
{
    const char *text = hf_sandbox_get_utf8(&server->options.set_parameters, name, "");
    uint64_t value = 0;

    return hf_parse_u64(hf_str_of(text), &value) && value > 0 ? value : fallback;
}

void hf_sandbox_multis_sweep(struct hf_sandbox_server *server, bool all)
{
    bool gone = all || !hf_sandbox_repl_writable(server->repl);
    uint64_t most_ms = 1000 * parameter(server, "transactionLifetimeLimitSeconds", LIFETIME_S);

    HF_LOCKED(&server->multis_mutex);
    for (struct hf_sandbox_multi *multi = server->multis; multi != NULL; multi = multi->next) {
        if (!multi->busy && (gone || (multi->state == MULTI_OPEN &&
                                      hf_clock_mono_ms() - multi->used_mono_ms >= most_ms))) {
            abandon(multi);
        }
    }
    remove_ended(server, gone ? 0 : 1000 * LIFETIME_S);
}

/* ---- A new primary ---- */

static bool read_session(const bson_t *doc, struct hf_sandbox_session *out)
{
    bson_value_t id, uid;

    *out = (struct hf_sandbox_session){.given = true};
    if (!hf_sandbox_get_path(doc, "_id.id", &id) || !hf_sandbox_get_path(doc, "_id.uid", &uid) ||
        id.value_type != BSON_TYPE_BINARY || uid.value_type != BSON_TYPE_BINARY ||
        id.value.v_binary.data_len != sizeof out->id ||
        uid.value.v_binary.data_len != sizeof out->uid) {
        return false;
    }
    memcpy(out->id, id.value.v_binary.data, sizeof out->id);
    memcpy(out->uid, uid.value.v_binary.data, sizeof out->uid);
    return true;
}

/* doc: of config.transactions. */
static enum hf_err take_up(struct hf_sandbox_call *call, const bson_t *doc, int64_t term,
                           struct hf_error *err)
{
    const struct hf_sandbox_txn_options options = {
        .origin = HF_SANDBOX_KEEPING, .write = true, .replicated = true, .multi = true};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_optime last = hf_sandbox_get_optime(doc, "lastWriteOpTime");
    struct hf_sandbox_session session;
    struct hf_sandbox_multi *multi;

    if (hf_sandbox_txn_begin(call->engine, &options, &txn, err) != HF_ERR_OK ||
        hf_sandbox_apply_before(txn, last, err) != HF_ERR_OK || !read_session(doc, &session)) {
        return err->code;
    }
    multi = find(call->server, &session);
    multi = multi != NULL ? multi : add(call->server, &session);
    multi->number = hf_sandbox_get_int64(doc, "txnNum", -1);
    multi->term = term;
    multi->last = last;
    (void)hf_sandbox_txn_pin(txn, NULL);
    multi->txn = HF_TAKE(txn);
    set_state(multi, MULTI_PREPARED);
    return HF_ERR_OK;
}

static enum hf_err take_up_all(struct hf_sandbox_call *call, int64_t term, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    bson_t **docs = NULL;
    size_t count = 0;

    if (hf_sandbox_txn_begin(call->engine, &(struct hf_sandbox_txn_options){.write = false}, &txn,
                             err) == HF_ERR_OK &&
        hf_sandbox_txn_prepared(txn, &docs, &count, err) == HF_ERR_OK) {
        for (size_t i = 0; i < count && err->code == HF_ERR_OK; i++) {
            (void)!take_up(call, docs[i], term, err);
        }
    }
    for (size_t i = 0; i < count; i++) {
        bson_destroy(docs[i]);
    }
    hf_free(docs);
    return err->code;
}

int32_t hf_sandbox_multis_ready(struct hf_sandbox_call *call)
{
    struct hf_sandbox_server *server = call->server;
    int64_t term = hf_sandbox_repl_term(call->repl);
    struct hf_error err;

    if (!hf_sandbox_repl_enabled(call->repl)) {
        return 0;
    }
    hf_error_clear(&err);
    HF_LOCKED(&server->multis_mutex);
    if (server->multis_term == term) {
        return 0;
    }
    for (struct hf_sandbox_multi *multi = server->multis; multi != NULL; multi = multi->next) {
        if (!multi->busy) {
            abandon(multi);
        }
    }
    if (take_up_all(call, term, &err) != HF_ERR_OK) {
        return REFUSE(call, INTERNAL_ERROR, "%s", err.message);
    }
    server->multis_term = term;
    return 0;
}

/* ---- A command's transaction ---- */

static int32_t check_command(const struct hf_sandbox_call *call, bool end, bool start)
{
    static const char allowed[] =
        " find getmore aggregate distinct insert update delete findandmodify create "
        "createindexes committransaction aborttransaction "
        "preparetransaction ";
    char name[64] = " ";

    for (size_t i = 0; i < sizeof name - 3 && call->name[i] != '\0'; i++) {
        name[i + 1] = (char)(call->name[i] | 0x20);
        name[i + 2] = ' ';
    }
    if (strstr(allowed, name) == NULL) {
        return REFUSE(call, OPERATION_NOT_SUPPORTED_IN_TRANSACTION,
                      "Cannot run '%s' in a multi-document transaction.", call->name);
    }
    if (!end && (strcmp(call->db, "admin") == 0 || strcmp(call->db, "config") == 0 ||
                 strcmp(call->db, "local") == 0)) {
        return REFUSE(call, OPERATION_NOT_SUPPORTED_IN_TRANSACTION,
                      "Cannot run command against the '%s' database in a transaction", call->db);
    }
    if (end && strcmp(call->db, "admin") != 0) {
        return REFUSE(call, UNAUTHORIZED, "%s may only be run against the admin database.",
                      call->name);
    }
    if (!hf_sandbox_engine_replicated(call->engine)) {
        return REFUSE(call, ILLEGAL_OPERATION,
                      "Transaction numbers are only allowed on a replica set member or mongos");
    }
    if (!end && bson_has_field(call->command, "writeConcern")) {
        return REFUSE(call, INVALID_OPTIONS,
                      "writeConcern is not allowed within a multi-statement transaction");
    }
    return start || !bson_has_field(call->command, "readConcern")
               ? 0
               : REFUSE(call, INVALID_OPTIONS,
                        "Only the first command in a transaction may specify a readConcern");
}

/* Each entry of a transaction is noted there, in the transaction that writes the entry. */
static int32_t need_transactions(struct hf_sandbox_work *work, void *context)
{
    struct hf_sandbox_coll *coll;

    (void)context;
    return hf_sandbox_work_need_coll(work, TRANSACTIONS_NS, &coll);
}

static int32_t start_one(struct hf_sandbox_call *call, struct hf_sandbox_multi *multi)
{
    const struct hf_sandbox_txn_options options = {
        .write = true, .replicated = true, .multi = true};
    HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work work = {.call = call};
    int32_t code = hf_sandbox_work_run(&work, WORK_WRITE, need_transactions, NULL);

    call->optime = HF_SANDBOX_OPTIME_NONE;
    if (code == 0) {
        code = hf_sandbox_work_code(
            &work, hf_sandbox_txn_begin(call->engine, &options, &multi->txn, &work.err));
    }
    multi->number = call->txn_number;
    multi->last = HF_SANDBOX_OPTIME_NONE;
    set_state(multi, code == 0 ? MULTI_OPEN : MULTI_ABORTED);
    return code;
}

/* The session's, made from config.transactions where it is not known (any more), and busy. */
static struct hf_sandbox_multi *reserve(struct hf_sandbox_call *call)
{
    struct hf_sandbox_server *server = call->server;
    OWNED_DOC *session = hf_sandbox_session_doc(&call->session);
    bson_value_t id = hf_sandbox_value_of_doc(session);
    OWNED_DOC *doc = hf_sandbox_call_lookup(call, TRANSACTIONS_NS, &id, NULL);
    struct hf_sandbox_multi *multi;

    HF_LOCKED(&server->multis_mutex);
    while ((multi = find(server, &call->session)) != NULL && multi->busy) {
        hf_cond_wait(&server->multis_changed, &server->multis_mutex);
    }
    if (multi == NULL) {
        multi = add(server, &call->session);
        multi->number = -1;
    }
    if (multi->txn == NULL && doc != NULL &&
        hf_sandbox_get_int64(doc, "txnNum", -1) > multi->number) {
        const char *state = hf_sandbox_get_utf8(doc, "state", "");
        multi->number = hf_sandbox_get_int64(doc, "txnNum", -1);
        multi->last = hf_sandbox_get_optime(doc, "lastWriteOpTime");
        set_state(multi, strcmp(state, "committed") == 0 ? MULTI_COMMITTED : MULTI_ABORTED);
    }
    multi->term = server->multis_term;
    multi->busy = true;
    return multi;
}

static int32_t check_state(const struct hf_sandbox_call *call, const struct hf_sandbox_multi *multi,
                           bool end)
{
    long long number = (long long)call->txn_number, active = (long long)multi->number;
    bool committing = strcmp(call->name, "commitTransaction") == 0;

    if (number != active) {
        return REFUSE(call, NO_SUCH_TRANSACTION,
                      "Given transaction number %lld does not match any in-progress transactions. "
                      "The active transaction number is %lld",
                      number, active);
    }
    if (multi->state == MULTI_COMMITTED) {
        return committing ? 0
                          : REFUSE(call, TRANSACTION_COMMITTED,
                                   "Transaction %lld has been committed.", number);
    }
    if (multi->state == MULTI_ABORTED) {
        return REFUSE(call, NO_SUCH_TRANSACTION, "Transaction %lld has been aborted.", number);
    }
    return end || multi->state == MULTI_OPEN
               ? 0
               : REFUSE(call, PREPARED_TRANSACTION_IN_PROGRESS,
                        "Cannot call any operation other than abort, prepare or commit on a "
                        "prepared transaction");
}

int32_t hf_sandbox_multi_take(struct hf_sandbox_call *call)
{
    bool end = strstr(call->name, "Transaction") != NULL;
    bool start = hf_sandbox_get_true(call->command, "startTransaction");
    struct hf_sandbox_multi *multi;
    int32_t code = check_command(call, end, start);

    if (code != 0) {
        return code;
    }
    call->multi = multi = reserve(call);
    if (call->txn_number < multi->number) {
        return REFUSE(call, TRANSACTION_TOO_OLD,
                      "Cannot start transaction %lld on this session because a newer transaction "
                      "with txnNumber %lld has already started on this session.",
                      (long long)call->txn_number, (long long)multi->number);
    }
    if (!start) {
        return check_state(call, multi, end);
    }
    if (call->txn_number == multi->number) {
        return REFUSE(call, CONFLICTING_OPERATION_IN_PROGRESS,
                      "Only servers in a sharded cluster can start a new transaction at the active "
                      "transaction number");
    }
    if (multi->state == MULTI_PREPARED && multi->txn != NULL) {
        return REFUSE(call, PREPARED_TRANSACTION_IN_PROGRESS,
                      "the session's transaction before is prepared");
    }
    abandon(multi);     /* a session goes on to the next: the last is forgotten */
    call->multi = NULL; /* it is begun by what belongs to none */
    code = start_one(call, multi);
    call->multi = multi;
    return code;
}

/* What an error of a command does to the session's open transaction, but where the command was none of its. */
static bool ends_it(const struct hf_sandbox_call *call, int32_t code)
{
    return (code != 0 || call->multi_failed) && call->txn_number == call->multi->number &&
           code != HF_SANDBOX_CONFLICTING_OPERATION_IN_PROGRESS;
}

void hf_sandbox_multi_give(struct hf_sandbox_call *call, int32_t code)
{
    struct hf_sandbox_server *server = call->server;
    struct hf_sandbox_multi *multi = call->multi;

    if (multi == NULL) {
        return;
    }
    HF_LOCKED(&server->multis_mutex);
    if (multi->term != server->multis_term || (multi->state == MULTI_OPEN && ends_it(call, code))) {
        abandon(multi);
    }
    multi->busy = false;
    call->multi = NULL;
    hf_cond_broadcast(&server->multis_changed);
}

/* ---- Its entries ---- */

struct ending {
    struct hf_sandbox_call *call;
    struct hf_sandbox_multi *multi;
    struct hf_sandbox_optime last; /* the entry before, then the one that was written */
};

static int32_t log_one(struct hf_sandbox_work *under, struct ending *ending, const bson_t *o,
                       uint64_t before, uint64_t behind)
{
    OWNED_DOC *session = hf_sandbox_session_doc(&ending->multi->session);
    OWNED_DOC *lead =
        BCON_NEW("lsid", BCON_DOCUMENT(session), "txnNumber", BCON_INT64(ending->multi->number));
    OWNED_DOC *tail = BCON_NEW("prevOpTime", HF_SANDBOX_BCON_OPTIME(ending->last));
    const struct hf_sandbox_entry entry = {.lead = lead,
                                           .op = "c",
                                           .ns = "admin.$cmd",
                                           .o = o,
                                           .tail = tail,
                                           .before = before,
                                           .behind = behind};

    return hf_sandbox_work_code(under,
                                hf_sandbox_txn_log(under->txn, &entry, &ending->last, &under->err));
}

/* As many operations an entry as may be, each with a time of its own reserved for it: the entries get the first ones,
 * but for the one that prepares, which gets the last. */
static int32_t log_ops(struct hf_sandbox_work *under, struct ending *ending, bool prepare)
{
    uint64_t most = parameter(ending->call->server,
                              "maxNumberOfTransactionOperationsInSingleOplogEntry", UINT64_MAX);
    uint64_t entries = 0;
    size_t count, at = 0;
    bson_t *const *ops = hf_sandbox_txn_ops(ending->multi->txn, &count);
    int32_t code = 0;

    ending->last = HF_SANDBOX_OPTIME_NONE;
    do {
        OWNED_DOC *list = bson_new();
        OWNED_DOC *o = bson_new();
        uint32_t length = 0;

        while (at < count && length < most &&
               (length == 0 || list->len + ops[at]->len <= HF_SANDBOX_DOC_MAX)) {
            hf_sandbox_append_doc(list, &length, ops[at++]);
        }
        bool last = at == count;
        uint64_t left = count > 0 ? count - 1 - entries : 0; /* times after this one's */
        BCON_APPEND(o, "applyOps", BCON_ARRAY(list));
        if (!last) {
            BCON_APPEND(o, "partialTxn", BCON_BOOL(true));
        } else if (prepare) {
            BCON_APPEND(o, "prepare", BCON_BOOL(true));
        }
        if (last && entries > 0) {
            BCON_APPEND(o, "count", BCON_INT64((int64_t)count));
        }
        code = log_one(under, ending, o, last && prepare ? left : 0, last && !prepare ? left : 0);
        entries++;
    } while (code == 0 && at < count);
    return code;
}

static int32_t log_prepare(struct hf_sandbox_work *under, void *context)
{
    struct ending *ending = context;

    if (!hf_sandbox_txn_pin(ending->multi->txn, under->txn)) {
        hf_sandbox_txn_abort(HF_TAKE(ending->multi->txn));
        return hf_sandbox_work_code(under, HF_ERR_CONFLICT);
    }
    return log_ops(under, ending, true);
}

static int32_t log_commit(struct hf_sandbox_work *under, void *context)
{
    struct ending *ending = context;
    OWNED_DOC *o = BCON_NEW("commitTransaction", BCON_INT32(1));
    int32_t code;

    if (ending->multi->state == MULTI_PREPARED) {
        hf_sandbox_append_ts(o, "commitTimestamp",
                             hf_sandbox_get_ts(ending->call->command, "commitTimestamp"));
        ending->last = ending->multi->last;
        code = log_one(under, ending, o, 0, 0);
    } else {
        code = log_ops(under, ending, false);
    }
    return code != 0 ? code
                     : hf_sandbox_work_code(under, hf_sandbox_txn_join(HF_TAKE(ending->multi->txn),
                                                                       under->txn, &under->err));
}

static int32_t log_abort(struct hf_sandbox_work *under, void *context)
{
    struct ending *ending = context;
    OWNED_DOC *o = BCON_NEW("abortTransaction", BCON_INT32(1));

    ending->last = ending->multi->last;
    return log_one(under, ending, o, 0, 0);
}

/* The entries in a transaction of their own, which waits for no fsync lock: that waits for us. It is tried again only
 * as long as the data are not joined to it. */
static int32_t write_entries(struct ending *ending, hf_sandbox_work_body body)
{
    const struct hf_sandbox_txn_options options = {
        .origin = HF_SANDBOX_KEEPING, .write = true, .replicated = true};
    struct hf_sandbox_call *call = ending->call;
    int32_t code = HF_SANDBOX_WRITE_CONFLICT;

    while (code == HF_SANDBOX_WRITE_CONFLICT && ending->multi->txn != NULL) {
        HF_CLEANUP(hf_sandbox_work_fini) struct hf_sandbox_work under = {.call = call};

        code = hf_sandbox_work_code(
            &under, hf_sandbox_txn_begin(call->engine, &options, &under.txn, &under.err));
        code = code != 0 ? code : body(&under, ending);
        if (code == 0) {
            code = hf_sandbox_work_code(
                &under, hf_sandbox_txn_commit(HF_TAKE(under.txn), &call->optime, &under.err));
            /* The data may be committed by now: what their entries say must not be lost. */
            HF_ASSERT(code == 0 || ending->multi->txn != NULL);
        }
    }
    if (code == 0) {
        ending->multi->last = ending->last;
    } else if (ending->multi->txn == NULL) {
        set_state(ending->multi, MULTI_ABORTED);
    }
    return code;
}

/* ---- Commands ---- */

static int32_t check_end(const struct hf_sandbox_call *call)
{
    return call->multi != NULL
               ? 0
               : REFUSE(call, INVALID_OPTIONS, "%s must be run within a transaction", call->name);
}

static int32_t check_timestamp(const struct hf_sandbox_call *call)
{
    const struct hf_sandbox_multi *multi = call->multi;
    uint64_t ts = hf_sandbox_get_ts(call->command, "commitTimestamp");
    const char *no = NULL;

    if (multi->state == MULTI_OPEN && ts != 0) {
        no = "commitTransaction cannot provide commitTimestamp to unprepared transaction.";
    } else if (multi->state == MULTI_PREPARED && ts == 0) {
        no = "commitTransaction must provide commitTimestamp to prepared transaction.";
    } else if (multi->state == MULTI_PREPARED && ts < multi->last.ts) {
        no = "'commitTimestamp' must be greater than or equal to 'prepareTimestamp'";
    } else if (multi->state == MULTI_PREPARED &&
               hf_sandbox_engine_majority(call->engine).ts < multi->last.ts) {
        no = "commitTransaction for a prepared transaction cannot be run before its prepare oplog "
             "entry has been majority committed";
    }
    return no == NULL ? 0 : REFUSE(call, INVALID_OPTIONS, "%s", no);
}

static int32_t commit(struct hf_sandbox_call *call)
{
    struct hf_sandbox_multi *multi = call->multi;
    struct ending ending = {.call = call, .multi = multi};
    size_t count;
    int32_t code = check_timestamp(call);

    if (code != 0 || multi->state == MULTI_COMMITTED) {
        call->optime = multi->last; /* a retry waits for the same */
        return code;
    }
    (void)hf_sandbox_txn_ops(multi->txn, &count);
    if (multi->state == MULTI_OPEN && count == 0) { /* it only read */
        abandon(multi);
    } else {
        code = write_entries(&ending, log_commit);
    }
    if (code == 0) {
        set_state(multi, MULTI_COMMITTED);
    }
    return code;
}

/* commitTransaction, abortTransaction */
int32_t hf_sandbox_cmd_end_transaction(struct hf_sandbox_call *call)
{
    struct ending ending = {.call = call, .multi = call->multi};
    int32_t code = check_end(call);

    if (code == 0 && strcmp(call->name, "commitTransaction") == 0) {
        code = commit(call);
    } else if (code == 0) {
        code = call->multi->state == MULTI_PREPARED ? write_entries(&ending, log_abort) : 0;
        if (code == 0) {
            abandon(call->multi);
        }
    }
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    return code;
}

int32_t hf_sandbox_cmd_prepare_transaction(struct hf_sandbox_call *call)
{
    struct ending ending = {.call = call, .multi = call->multi};
    int32_t code = check_end(call);

    if (code == 0 && call->multi->state == MULTI_OPEN) {
        code = write_entries(&ending, log_prepare);
        if (code == 0) {
            set_state(call->multi, MULTI_PREPARED);
        }
    }
    if (code == 0) {
        hf_sandbox_append_ts(call->reply, "prepareTimestamp", call->multi->last.ts);
        hf_sandbox_call_await(call);
    }
    return code;
}
