/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Units of work: a WiredTiger transaction, the changes of the catalog that go with it, and its
 * place in the oplog.
 *
 * Whoever holds the oplog's lock is alone in giving out times and in changing the catalog, so that
 * what is visible of the oplog never has a hole, and nobody writes by a catalog of the past.
 */
#include <inttypes.h>
#include <stdio.h>

#include "os/clock.h"
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

/* Ends it in any case. */
static void finish(struct hf_sandbox_txn *txn, bool committed)
{
    struct hf_sandbox_engine *engine = txn->engine;

    hf_mutex_lock(&engine->catalog);
    for (size_t i = 0; committed && i < txn->drop_count; i++) {
        txn->drops[i].ts = txn->last.ts;
        *HF_SANDBOX_PUSH(engine->drops, engine->drop_count) = txn->drops[i];
    }
    hf_mutex_unlock(&engine->catalog);
    for (size_t i = 0; i < txn->coll_count; i++) {
        struct hf_sandbox_coll *coll = txn->colls[i];

        if (committed) {
            atomic_fetch_add(&coll->table->records, coll->records);
            atomic_fetch_add(&coll->table->bytes, coll->bytes);
        }
        if (txn->pinned) {
            atomic_fetch_sub(&coll->table->pins, 1);
        }
        hf_sandbox_coll_destroy(coll);
    }
    if (committed && txn->catalog_changed) {
        atomic_fetch_add(&engine->catalog_version, 1);
    }
    hf_mutex_lock(&engine->state);
    if (txn->holds_oplog) {
        engine->oplog_held = false;
        hf_cond_broadcast(&engine->changed);
    }
    if (txn->write) {
        engine->writers--;
        hf_cond_broadcast(&engine->changed);
    }
    hf_mutex_unlock(&engine->state);
    if (txn->session != NULL) {
        hf_sandbox_session_give(engine, txn->session);
    }
    for (size_t i = 0; i < txn->op_count; i++) {
        bson_destroy(txn->ops[i]);
    }
    hf_free(txn->ops);
    bson_destroy(txn->duplicate);
    hf_free(txn->colls);
    hf_free(txn->drops);
    hf_free(txn);
}

static enum hf_err enter(struct hf_sandbox_txn *txn, enum hf_sandbox_origin origin,
                         struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;

    HF_LOCKED(&engine->state);
    while (engine->fsync_locks > 0 && origin != HF_SANDBOX_KEEPING) {
        hf_cond_wait(&engine->changed, &engine->state);
    }
    if (origin == HF_SANDBOX_CLIENT &&
        (engine->read_only || (txn->replicated && !engine->accepts_writes))) {
        return hf_fail(err, HF_ERR_DENIED,
                       engine->read_only ? "Cannot execute a write operation in read-only mode"
                                         : "not primary");
    }
    engine->writers++;
    txn->write = true;
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_txn_begin(struct hf_sandbox_engine *engine,
                                 const struct hf_sandbox_txn_options *options,
                                 struct hf_sandbox_txn **out, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = hf_alloc_zero(sizeof *txn);
    char config[128] = "isolation=snapshot";

    if (txn == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "begin a transaction");
    }
    txn->engine = engine;
    txn->replicated = options->replicated && engine->options.replicated;
    txn->multi = options->multi;
    txn->last = HF_SANDBOX_OPTIME_NONE;
    if (options->read_ts != 0) {
        (void)snprintf(config, sizeof config,
                       "isolation=snapshot,read_timestamp=%" PRIx64
                       ",roundup_timestamps=(read=true)",
                       options->read_ts);
    }
    if ((options->write && enter(txn, options->origin, err) != HF_ERR_OK) ||
        hf_sandbox_session_take(engine, &txn->session, err) != HF_ERR_OK) {
        return err->code;
    }
    /* Before the snapshot: what is committed in between makes a needless conflict at most. */
    txn->catalog_seen = engine->catalog_version;
    if (hf_sandbox_wt(err, txn->session->begin_transaction(txn->session, config),
                      "begin a transaction") != HF_ERR_OK) {
        return err->code;
    }
    *out = HF_TAKE(txn);
    return HF_ERR_OK;
}

void hf_sandbox_txn_abort(struct hf_sandbox_txn *txn)
{
    if (txn != NULL) {
        if (txn->session != NULL) {
            (void)txn->session->rollback_transaction(txn->session, NULL);
        }
        finish(txn, false);
    }
}

enum hf_err hf_sandbox_txn_commit(struct hf_sandbox_txn *txn, struct hf_sandbox_optime *optime,
                                  struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;
    int code = txn->session->commit_transaction(txn->session, NULL);

    hf_mutex_lock(&engine->state);
    if (code == 0 && txn->last.ts != 0) {
        engine->applied = txn->last;
        engine->applied_wall = txn->last_wall;
        hf_cond_broadcast(&engine->changed);
    }
    if (optime != NULL) {
        *optime = txn->last.ts != 0 ? txn->last : engine->applied;
    }
    hf_mutex_unlock(&engine->state);
    finish(txn, code == 0);
    return hf_sandbox_wt(err, code, "commit");
}

const bson_t *hf_sandbox_txn_duplicate(const struct hf_sandbox_txn *txn)
{
    return txn->duplicate;
}

int64_t hf_sandbox_txn_wall(const struct hf_sandbox_txn *txn)
{
    return txn->last_wall;
}

/* ---- The oplog's lock, and times ---- */

enum hf_err hf_sandbox_txn_hold(struct hf_sandbox_txn *txn, struct hf_error *err)
{
    struct hf_sandbox_engine *engine = txn->engine;

    if (txn->holds_oplog || txn->multi) {
        return HF_ERR_OK;
    }
    HF_LOCKED(&engine->state);
    while (engine->oplog_held) {
        hf_cond_wait(&engine->changed, &engine->state);
    }
    if (txn->replicated && !engine->accepts_writes) {
        return hf_fail(err, HF_ERR_DENIED, "not primary");
    }
    engine->oplog_held = true;
    txn->holds_oplog = true;
    return txn->catalog_seen == engine->catalog_version
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CONFLICT, "the catalog was changed meanwhile");
}

enum hf_err hf_sandbox_txn_stamp(struct hf_sandbox_txn *txn, const bson_t *entry,
                                 struct hf_error *err)
{
    bson_value_t wall = {.value_type = BSON_TYPE_DATE_TIME};
    char config[64];

    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)hf_sandbox_get(entry, "wall", &wall);
    txn->last = hf_sandbox_optime_of(entry);
    txn->last_wall = wall.value.v_datetime;
    (void)snprintf(config, sizeof config, "commit_timestamp=%" PRIx64, txn->last.ts);
    return hf_sandbox_wt(err, txn->session->timestamp_transaction(txn->session, config),
                         "stamp the transaction");
}

/* The next time that nobody has had: the clock's second, or one more than the last. */
static struct hf_sandbox_optime next_optime(const struct hf_sandbox_txn *txn,
                                            const struct hf_sandbox_entry *entry)
{
    struct hf_sandbox_engine *engine = txn->engine;
    uint64_t now = HF_SANDBOX_TS(hf_clock_wall_ms() / 1000, 1);
    uint64_t last;
    uint64_t mine;

    HF_LOCKED(&engine->state);
    last = txn->last.ts > engine->applied.ts ? txn->last.ts : engine->applied.ts;
    last = last > engine->reserved_ts ? last : engine->reserved_ts;
    mine = (now > last ? now : last + 1) + entry->before;
    engine->reserved_ts = mine + entry->behind;
    return (struct hf_sandbox_optime){.ts = mine, .term = engine->term};
}

static bson_t *build_entry(const struct hf_sandbox_entry *entry, struct hf_sandbox_optime optime)
{
    bson_t *out = entry->lead == NULL ? bson_new() : bson_copy(entry->lead);

    BCON_APPEND(out, "op", BCON_UTF8(entry->op), "ns", BCON_UTF8(entry->ns));
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
    BCON_APPEND(out, "wall", BCON_DATE_TIME((int64_t)hf_clock_wall_ms()), "v", BCON_INT64(2));
    if (entry->tail != NULL) {
        (void)bson_concat(out, entry->tail);
    }
    return out;
}

static void gather(struct hf_sandbox_txn *txn, const struct hf_sandbox_entry *entry)
{
    bson_t *op = BCON_NEW("op", BCON_UTF8(entry->op), "ns", BCON_UTF8(entry->ns));

    if (entry->uuid != NULL) {
        (void)bson_append_binary(op, "ui", -1, BSON_SUBTYPE_UUID, entry->uuid,
                                 HF_SANDBOX_UUID_BYTES);
    }
    (void)BSON_APPEND_DOCUMENT(op, "o", entry->o);
    if (entry->o2 != NULL) {
        (void)BSON_APPEND_DOCUMENT(op, "o2", entry->o2);
    }
    *HF_SANDBOX_PUSH(txn->ops, txn->op_count) = op;
}

enum hf_err hf_sandbox_txn_log(struct hf_sandbox_txn *txn, const struct hf_sandbox_entry *entry,
                               struct hf_sandbox_optime *optime, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *doc = NULL;
    struct hf_sandbox_optime mine = HF_SANDBOX_OPTIME_NONE;

    if (hf_sandbox_txn_hold(txn, err) != HF_ERR_OK) {
        return err->code;
    }
    if (txn->multi) {
        gather(txn, entry);
    } else if (txn->replicated) {
        mine = next_optime(txn, entry);
    }
    if (optime != NULL) {
        *optime = mine;
    }
    if (mine.ts == 0) {
        return HF_ERR_OK;
    }
    doc = build_entry(entry, mine);
    /* Those of retryable writes are noted once for many. */
    return hf_sandbox_oplog_put(txn, doc, err) != HF_ERR_OK || entry->op[0] != 'c'
               ? err->code
               : hf_sandbox_note_session(txn, doc, err);
}

/* ---- Transactions of sessions ---- */

bson_t *const *hf_sandbox_txn_ops(const struct hf_sandbox_txn *txn, size_t *count)
{
    *count = txn->op_count;
    return txn->ops;
}

/* What it took for the definition of its collections still is. */
static bool is_current(const struct hf_sandbox_txn *data, const struct hf_sandbox_txn *now)
{
    bool same = true;

    for (size_t i = 0; same && i < data->coll_count; i++) {
        const char *ns = data->colls[i]->ns;
        HF_CLEANUP(bson_destroy) bson_t *seen = NULL;
        HF_CLEANUP(bson_destroy) bson_t *there = NULL;

        if (!data->colls[i]->made) {
            same = hf_sandbox_table_get(data->session, HF_SANDBOX_CATALOG,
                                        hf_bytes_of(ns, strlen(ns)), &seen) == 0 &&
                   hf_sandbox_table_get(now->session, HF_SANDBOX_CATALOG,
                                        hf_bytes_of(ns, strlen(ns)), &there) == 0 &&
                   seen != NULL && there != NULL && bson_equal(seen, there);
        }
    }
    return same;
}

bool hf_sandbox_txn_pin(struct hf_sandbox_txn *data, const struct hf_sandbox_txn *now)
{
    if (now != NULL && !is_current(data, now)) {
        return false;
    }
    for (size_t i = 0; !data->pinned && i < data->coll_count; i++) {
        atomic_fetch_add(&data->colls[i]->table->pins, 1);
    }
    data->pinned = true;
    return true;
}

enum hf_err hf_sandbox_txn_join(struct hf_sandbox_txn *data, struct hf_sandbox_txn *under,
                                struct hf_error *err)
{
    char config[64];
    int code;

    (void)snprintf(config, sizeof config, "commit_timestamp=%" PRIx64, under->last.ts);
    if (!is_current(data, under)) {
        hf_sandbox_txn_abort(data);
        return hf_fail(err, HF_ERR_CONFLICT, "a collection was defined otherwise meanwhile");
    }
    data->last = under->last;
    code = data->session->commit_transaction(data->session, config);
    finish(data, code == 0);
    return hf_sandbox_wt(err, code, "commit a session's transaction");
}
