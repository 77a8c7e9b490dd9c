/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Units of work: a WiredTiger transaction, the changes of the catalog that go with it, and its place in the oplog.
 *
 * The oplog's lock is a token, not a mutex, since a client's transaction moves from thread to thread. Whoever holds it
 * is alone in giving out times, so that what is visible of the oplog never has a hole.
 */
#include <inttypes.h>
#include <stdio.h>

#include "os/clock.h"
#include "sandbox/engine_internal.h"

enum origin {
    FROM_CLIENT,
    FROM_OPLOG,   /* recovery or a secondary: writes though this node takes none */
    FROM_KEEPING, /* the engine's own notes: also while writes are locked out */
};

static enum hf_err begin(struct hf_sandbox_engine *engine,
                         const struct hf_sandbox_txn_options *options, enum origin origin,
                         struct hf_sandbox_txn **out, struct hf_error *err)
{
    struct hf_sandbox_txn *txn = hf_alloc_zero(sizeof *txn);
    char config[128] = "isolation=snapshot";
    int code;

    if (txn == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "begin a transaction");
    }
    txn->engine = engine;
    txn->write = options->write;
    txn->replicated = options->replicated && engine->options.replicated;
    txn->replay = origin == FROM_OPLOG;
    txn->last = HF_SANDBOX_OPTIME_NONE;
    if (options->write) {
        hf_mutex_lock(&engine->state);
        while (engine->fsync_locks > 0 && origin != FROM_KEEPING) {
            hf_cond_wait(&engine->writers_gone, &engine->state);
        }
        if (origin == FROM_CLIENT &&
            (engine->read_only || (txn->replicated && !engine->accepts_writes))) {
            hf_mutex_unlock(&engine->state);
            hf_free(txn);
            return hf_fail(err, HF_ERR_DENIED,
                           engine->read_only ? "Cannot execute a write operation in read-only mode"
                                             : "not primary");
        }
        engine->writers++;
        hf_mutex_unlock(&engine->state);
    }
    if (options->read_ts != 0) {
        (void)snprintf(config, sizeof config,
                       "isolation=snapshot,read_timestamp=%" PRIx64
                       ",roundup_timestamps=(read=true)",
                       options->read_ts);
    }
    if (hf_sandbox_session_take(engine, &txn->session, err) != HF_ERR_OK) {
        txn->session = NULL;
        hf_sandbox_txn_abort(txn);
        return err->code;
    }
    code = txn->session->begin_transaction(txn->session, config);
    if (code != 0) {
        (void)hf_sandbox_wt_fail(err, code, "begin a transaction");
        hf_sandbox_session_give(engine, txn->session);
        txn->session = NULL;
        hf_sandbox_txn_abort(txn);
        return err->code;
    }
    *out = txn;
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_txn_begin(struct hf_sandbox_engine *engine,
                                 const struct hf_sandbox_txn_options *options,
                                 struct hf_sandbox_txn **out, struct hf_error *err)
{
    return begin(engine, options, FROM_CLIENT, out, err);
}

enum hf_err hf_sandbox_txn_begin_replay(struct hf_sandbox_engine *engine,
                                        struct hf_sandbox_txn **out, struct hf_error *err)
{
    const struct hf_sandbox_txn_options options = {.write = true};

    return begin(engine, &options, FROM_OPLOG, out, err);
}

enum hf_err hf_sandbox_txn_begin_keeping(struct hf_sandbox_engine *engine,
                                         struct hf_sandbox_txn **out, struct hf_error *err)
{
    const struct hf_sandbox_txn_options options = {.write = true};

    return begin(engine, &options, FROM_KEEPING, out, err);
}

/* ---- The end ---- */

static void free_txn(struct hf_sandbox_txn *txn)
{
    struct hf_sandbox_engine *engine = txn->engine;

    for (size_t i = 0; i < txn->use_count; i++) {
        hf_sandbox_coll_drop_reference(txn->uses[i].coll);
    }
    for (size_t i = 0; i < txn->staged_count; i++) {
        hf_sandbox_coll_drop_reference(txn->staged[i].before);
        hf_sandbox_coll_drop_reference(txn->staged[i].after);
    }
    hf_mutex_lock(&engine->state);
    if (txn->holds_oplog) {
        engine->oplog_held = false;
        hf_cond_broadcast(&engine->oplog_free);
    }
    if (txn->write) {
        engine->writers--;
        if (engine->writers == 0) {
            hf_cond_broadcast(&engine->writers_gone);
        }
    }
    hf_mutex_unlock(&engine->state);
    if (txn->session != NULL) {
        hf_sandbox_session_give(engine, txn->session);
    }
    bson_destroy(txn->duplicate_pattern);
    bson_destroy(txn->duplicate_value);
    hf_free(txn->uses);
    hf_free(txn->staged);
    hf_free(txn->made_idents);
    hf_free(txn);
}

void hf_sandbox_txn_abort(struct hf_sandbox_txn *txn)
{
    if (txn == NULL) {
        return;
    }
    if (txn->session != NULL) {
        (void)txn->session->rollback_transaction(txn->session, NULL);
    }
    for (size_t i = 0; i < txn->ident_count; i++) {
        hf_sandbox_drop_later(txn->engine, txn->made_idents[i], 0, NULL);
    }
    free_txn(txn);
}

enum hf_err hf_sandbox_txn_commit(struct hf_sandbox_txn *txn, struct hf_sandbox_optime *optime,
                                  struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;
    int code = txn->session->commit_transaction(txn->session, NULL);

    hf_error_clear(err);
    if (code != 0) {
        (void)hf_sandbox_wt_fail(err, code, "commit");
        for (size_t i = 0; i < txn->ident_count; i++) {
            hf_sandbox_drop_later(engine, txn->made_idents[i], 0, NULL);
        }
        free_txn(txn);
        return err->code;
    }
    hf_sandbox_catalog_publish(txn);
    for (size_t i = 0; i < txn->use_count; i++) {
        struct hf_sandbox_use *use = &txn->uses[i];

        atomic_fetch_add(&use->coll->table->records, use->records);
        atomic_fetch_add(&use->coll->table->bytes, use->bytes);
    }
    hf_mutex_lock(&engine->state);
    if (txn->last.ts != 0) {
        engine->applied = txn->last;
        engine->applied_wall = txn->last_wall;
        if (txn->last.ts > engine->last_ts) {
            engine->last_ts = txn->last.ts;
        }
        if (txn->reserved_until > engine->last_ts) {
            engine->last_ts = txn->reserved_until;
        }
        hf_cond_broadcast(&engine->grown);
    }
    if (optime != NULL) {
        *optime = txn->last.ts != 0 ? txn->last : engine->applied;
    }
    hf_mutex_unlock(&engine->state);
    free_txn(txn);
    return HF_ERR_OK;
}

/* ---- The oplog's lock, and times ---- */

static enum hf_err stale_check(struct hf_sandbox_txn *txn, struct hf_error *err)
{
    for (size_t i = 0; i < txn->use_count; i++) {
        if (txn->uses[i].written && atomic_load(&txn->uses[i].coll->stale)) {
            return hf_fail(err, HF_ERR_CONFLICT, "%s was changed meanwhile", txn->uses[i].coll->ns);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_txn_hold(struct hf_sandbox_txn *txn, struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;

    if (txn->holds_oplog) {
        return HF_ERR_OK;
    }
    hf_mutex_lock(&engine->state);
    while (engine->oplog_held) {
        hf_cond_wait(&engine->oplog_free, &engine->state);
    }
    if (txn->replicated && !engine->accepts_writes) {
        hf_mutex_unlock(&engine->state);
        return hf_fail(err, HF_ERR_DENIED, "not primary");
    }
    engine->oplog_held = true;
    txn->holds_oplog = true;
    hf_mutex_unlock(&engine->state);
    return stale_check(txn, err);
}

static enum hf_err set_commit_time(struct hf_sandbox_txn *txn, uint64_t ts, struct hf_error *err)
{
    char config[64];
    int code;

    (void)snprintf(config, sizeof config, "commit_timestamp=%" PRIx64, ts);
    code = txn->session->timestamp_transaction(txn->session, config);
    return code == 0 ? HF_ERR_OK : hf_sandbox_wt_fail(err, code, "stamp the transaction");
}

enum hf_err hf_sandbox_txn_stamp(struct hf_sandbox_txn *txn, struct hf_sandbox_optime optime,
                                 int64_t wall, struct hf_error *err)
{
    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK ||
        set_commit_time(txn, optime.ts, err) != HF_ERR_OK) {
        return err->code;
    }
    txn->last = optime;
    txn->last_wall = wall;
    return HF_ERR_OK;
}

/* The next time that nobody has had: the clock's second, or one more than the last. */
static uint64_t next_ts(struct hf_sandbox_txn *txn)
{
    struct hf_sandbox_engine *engine = txn->engine;
    uint64_t now = HF_SANDBOX_TS(hf_clock_wall_ms() / 1000, 1);
    uint64_t last;

    hf_mutex_lock(&engine->state);
    last = engine->last_ts;
    hf_mutex_unlock(&engine->state);
    if (txn->last.ts > last) {
        last = txn->last.ts;
    }
    return now > last ? now : last + 1;
}

enum hf_err hf_sandbox_txn_reserve(struct hf_sandbox_txn *txn, uint32_t count, struct hf_error *err)
{
    uint64_t first;

    if (!txn->replicated || count == 0) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK) {
        return err->code;
    }
    first = next_ts(txn);
    txn->last.ts = first - 1;
    txn->reserved_until = first + count - 1;
    return HF_ERR_OK;
}

static void build_entry(const struct hf_sandbox_entry *entry, struct hf_sandbox_optime optime,
                        int64_t wall, bson_t *out)
{
    if (entry->lead != NULL) {
        (void)bson_concat(out, entry->lead);
    }
    (void)BSON_APPEND_UTF8(out, "op", entry->op);
    (void)BSON_APPEND_UTF8(out, "ns", entry->ns);
    if (entry->uuid != NULL) {
        (void)bson_append_binary(out, "ui", -1, BSON_SUBTYPE_UUID, entry->uuid,
                                 HF_SANDBOX_UUID_BYTES);
    }
    (void)BSON_APPEND_DOCUMENT(out, "o", entry->o);
    if (entry->o2 != NULL) {
        (void)BSON_APPEND_DOCUMENT(out, "o2", entry->o2);
    }
    if (entry->pre_image.ts != 0) {
        hf_sandbox_append_optime(out, "preImageOpTime", entry->pre_image);
    }
    hf_sandbox_append_ts(out, "ts", optime.ts);
    if (optime.term >= 0) {
        (void)BSON_APPEND_INT64(out, "t", optime.term);
    }
    (void)BSON_APPEND_DATE_TIME(out, "wall", wall);
    (void)BSON_APPEND_INT64(out, "v", 2);
    if (entry->tail != NULL) {
        (void)bson_concat(out, entry->tail);
    }
}

enum hf_err hf_sandbox_txn_log(struct hf_sandbox_txn *txn, const struct hf_sandbox_entry *entry,
                               struct hf_sandbox_optime *optime, struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;
    struct hf_sandbox_optime mine = HF_SANDBOX_OPTIME_NONE;
    bson_t doc = BSON_INITIALIZER;
    int64_t wall = (int64_t)hf_clock_wall_ms();
    enum hf_err result;

    if (optime != NULL) {
        *optime = mine;
    }
    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!txn->replicated) {
        return HF_ERR_OK;
    }
    mine.ts = txn->last.ts < txn->reserved_until ? txn->last.ts + 1 : next_ts(txn);
    mine.term = engine->term;
    build_entry(entry, mine, wall, &doc);
    result = hf_sandbox_txn_stamp(txn, mine, wall, err);
    if (result == HF_ERR_OK) {
        result = hf_sandbox_oplog_put(txn, mine.ts, &doc, err);
    }
    bson_destroy(&doc);
    if (optime != NULL) {
        *optime = mine;
    }
    return result;
}

/* ---- Collections in use ---- */

/* Keeps the reference until the end. NULL when memory ran out: as if it were not there. */
static struct hf_sandbox_use *use_take(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll)
{
    for (size_t i = 0; i < txn->use_count; i++) {
        if (txn->uses[i].coll == coll) {
            hf_sandbox_coll_drop_reference(coll);
            return &txn->uses[i];
        }
    }
    if (!HF_SANDBOX_ROOM(txn->uses, txn->use_count, txn->use_capacity)) {
        hf_sandbox_coll_drop_reference(coll);
        return NULL;
    }
    txn->uses[txn->use_count] = (struct hf_sandbox_use){.coll = coll};
    return &txn->uses[txn->use_count++];
}

enum hf_err hf_sandbox_txn_writes(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *coll,
                                  int64_t records, int64_t bytes, struct hf_error *err)
{
    struct hf_sandbox_use *use;

    atomic_fetch_add(&coll->references, 1);
    use = use_take(txn, coll);
    if (use == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "write %s", coll->ns);
    }
    use->written = true;
    use->records += records;
    use->bytes += bytes;
    if (atomic_load(&coll->stale)) {
        return hf_fail(err, HF_ERR_CONFLICT, "%s was changed meanwhile", coll->ns);
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_txn_stage(struct hf_sandbox_txn *txn, struct hf_sandbox_coll *before,
                                 struct hf_sandbox_coll *after_take, struct hf_error *err)
{
    if (!HF_SANDBOX_ROOM(txn->staged, txn->staged_count, txn->staged_capacity)) {
        hf_sandbox_coll_drop_reference(after_take);
        return hf_fail(err, HF_ERR_NO_MEMORY, "change the catalog");
    }
    if (before != NULL) {
        atomic_fetch_add(&before->references, 1);
    }
    txn->staged[txn->staged_count++] =
        (struct hf_sandbox_staged){.before = before, .after = after_take};
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_txn_made(struct hf_sandbox_txn *txn, const char *ident, struct hf_error *err)
{
    if (!HF_SANDBOX_ROOM(txn->made_idents, txn->ident_count, txn->ident_capacity)) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "make %s", ident);
    }
    (void)snprintf(txn->made_idents[txn->ident_count++], HF_SANDBOX_IDENT_BYTES, "%s", ident);
    return HF_ERR_OK;
}

static bool is_match(const struct hf_sandbox_coll *coll, const char *ns, const uint8_t *uuid)
{
    if (coll == NULL) {
        return false;
    }
    return ns != NULL ? strcmp(coll->ns, ns) == 0
                      : uuid != NULL && memcmp(coll->uuid, uuid, HF_SANDBOX_UUID_BYTES) == 0;
}

/* What the transaction itself changed comes first, the newest change before older ones. True when it decides. */
static bool find_staged(const struct hf_sandbox_txn *txn, const char *ns, const uint8_t *uuid,
                        struct hf_sandbox_coll **out)
{
    for (size_t i = txn->staged_count; i-- > 0;) {
        if (is_match(txn->staged[i].after, ns, uuid)) {
            *out = txn->staged[i].after;
            return true;
        }
        if (is_match(txn->staged[i].before, ns, uuid)) {
            *out = NULL;
            return true;
        }
    }
    return false;
}

struct hf_sandbox_coll *hf_sandbox_txn_find(struct hf_sandbox_txn *txn, const char *ns)
{
    struct hf_sandbox_coll *coll;
    struct hf_sandbox_use *use;

    if (find_staged(txn, ns, NULL, &coll)) {
        return coll;
    }
    coll = hf_sandbox_catalog_find(txn->engine, ns);
    if (coll == NULL) {
        return NULL;
    }
    use = use_take(txn, coll);
    return use == NULL ? NULL : use->coll;
}

struct hf_sandbox_coll *hf_sandbox_txn_find_uuid(struct hf_sandbox_txn *txn,
                                                 const uint8_t uuid[HF_SANDBOX_UUID_BYTES])
{
    struct hf_sandbox_engine *engine = txn->engine;
    struct hf_sandbox_coll *coll = NULL;
    struct hf_sandbox_use *use;

    if (find_staged(txn, NULL, uuid, &coll)) {
        return coll;
    }
    hf_mutex_lock(&engine->catalog);
    for (size_t i = 0; i < engine->coll_count && coll == NULL; i++) {
        if (is_match(engine->colls[i], NULL, uuid)) {
            coll = engine->colls[i];
            atomic_fetch_add(&coll->references, 1);
        }
    }
    hf_mutex_unlock(&engine->catalog);
    if (coll == NULL) {
        return NULL;
    }
    use = use_take(txn, coll);
    return use == NULL ? NULL : use->coll;
}

static bool in_database(const struct hf_sandbox_coll *coll, const char *db)
{
    size_t len = db == NULL ? 0 : strlen(db);

    return db == NULL || (strncmp(coll->ns, db, len) == 0 && coll->ns[len] == '.');
}

enum hf_err hf_sandbox_txn_list(struct hf_sandbox_txn *txn, const char *db,
                                struct hf_sandbox_coll ***out, size_t *count, struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;
    struct hf_sandbox_coll **list;
    size_t n = 0;

    hf_mutex_lock(&engine->catalog);
    list = hf_alloc_array(engine->coll_count + 1, sizeof(struct hf_sandbox_coll *));
    for (size_t i = 0; list != NULL && i < engine->coll_count; i++) {
        if (in_database(engine->colls[i], db)) {
            list[n++] = engine->colls[i];
            atomic_fetch_add(&engine->colls[i]->references, 1);
        }
    }
    hf_mutex_unlock(&engine->catalog);
    if (list == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list collections");
    }
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        struct hf_sandbox_use *use = use_take(txn, list[i]);

        if (use != NULL) {
            list[(*count)++] = use->coll;
        }
    }
    *out = list;
    return HF_ERR_OK;
}

const struct hf_sandbox_duplicate *hf_sandbox_txn_duplicate(const struct hf_sandbox_txn *txn)
{
    return txn->duplicate_pattern == NULL ? NULL : &txn->duplicate;
}
