/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the files as they lie there to data at the top of the oplog: the normal start of a set's member, and on demand
 * of a standalone.
 *
 *   cut     entries after oplogTruncateAfterPoint go (a primary's crash, a restore to a point in time)
 *   replay  from the stable checkpoint, or from minvalid's `begin` where the last checkpoint was unstable, to the top
 *   note    `begin` becomes the top; the truncate point is reset
 *
 * Where mongod ends itself with an assertion this ends the start with the same number in the message.
 */
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define REPLAY_BATCH 100

static enum hf_err cut(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    bson_t *doc;
    bson_t *kept;
    uint64_t after;

    if (hf_sandbox_local_get(engine, "local.replset.oplogTruncateAfterPoint", &doc, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    after = doc == NULL ? 0 : hf_sandbox_get_ts(doc, "oplogTruncateAfterPoint");
    bson_destroy(doc);
    if (after == 0) {
        return HF_ERR_OK;
    }
    if (after < engine->checkpoint_ts) {
        after = engine->checkpoint_ts; /* what a checkpoint holds cannot be undone */
    }
    if (hf_sandbox_oplog_at_or_below(engine, after, &kept, err) != HF_ERR_OK) {
        return err->code;
    }
    if (kept == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "fatal assertion 40296: no oplog entry at or below the truncate point");
    }
    bson_destroy(kept);
    if (hf_sandbox_oplog_cut(engine, after, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_local_set_truncate_after(engine, 0, err);
}

/* Up to REPLAY_BATCH entries after *from in one transaction, each at its own time; *from moves on. A definition stands
 * alone: what it changes must be seen by whoever comes next. */
static enum hf_err replay_batch(struct hf_sandbox_engine *engine, uint64_t *from, uint64_t *count,
                                bool *more, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    const struct hf_sandbox_scan_options options = {.after_record = (int64_t)*from};
    struct hf_sandbox_coll *oplog;

    *more = false;
    if (hf_sandbox_txn_begin_replay(engine, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    txn->no_trim = true;
    oplog = hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS);
    if (hf_sandbox_scan_open(txn, oplog, &options, &scan, err) != HF_ERR_OK) {
        return err->code;
    }
    for (int i = 0; i < REPLAY_BATCH; i++) {
        bool found;
        bson_t entry;
        struct hf_sandbox_optime optime;

        if (hf_sandbox_scan_next(scan, &found, NULL, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!found) {
            break;
        }
        if (strcmp(hf_sandbox_get_utf8(&entry, "op", ""), "c") == 0 && i > 0) {
            *more = true;
            break;
        }
        optime = hf_sandbox_optime_of(&entry);
        if (engine->options.recover_to_ts != 0 && optime.ts > engine->options.recover_to_ts) {
            break;
        }
        if (hf_sandbox_txn_stamp(txn, optime, engine->applied_wall, err) != HF_ERR_OK ||
            hf_sandbox_apply(txn, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        *from = optime.ts;
        (*count)++;
        *more = true;
        if (strcmp(hf_sandbox_get_utf8(&entry, "op", ""), "c") == 0) {
            break;
        }
    }
    hf_sandbox_scan_close(HF_TAKE(scan));
    if (!*more) {
        return HF_ERR_OK;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* `begin` of minvalid says up to where the data are applied: a set's member needs it after an unstable checkpoint. */
static enum hf_err note_applied(struct hf_sandbox_engine *engine, const bson_t *min_valid,
                                struct hf_sandbox_optime top, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_optime valid = HF_SANDBOX_OPTIME_NONE;

    if (min_valid == NULL) {
        return HF_ERR_OK;
    }
    valid = hf_sandbox_optime_of(min_valid);
    if (hf_sandbox_txn_begin_replay(engine, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_stamp(txn, top, engine->applied_wall, err) != HF_ERR_OK ||
        hf_sandbox_local_set_min_valid(engine, txn, valid, top, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

static enum hf_err replay(struct hf_sandbox_engine *engine, uint64_t from, const bson_t *min_valid,
                          struct hf_error *err)
{
    struct hf_sandbox_optime top = engine->applied;
    int64_t wall = engine->applied_wall;
    uint64_t count = 0;
    bool more = true;

    if (from > top.ts) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "fatal assertion 40313: the data are ahead of the oplog's top");
    }
    while (more) {
        if (replay_batch(engine, &from, &count, &more, err) != HF_ERR_OK) {
            return hf_wrap(err, "recovery from the oplog");
        }
    }
    engine->applied = engine->durable = top;
    engine->applied_wall = wall;
    hf_log_info(engine->log, "engine.recovered", HF_U64("entries", count),
                HF_U64("top_s", hf_sandbox_ts_seconds(top.ts)),
                HF_U64("top_i", hf_sandbox_ts_increment(top.ts)));
    if (engine->options.recover_to_ts != 0) {
        return HF_ERR_OK; /* only to be looked at */
    }
    return count == 0 ? HF_ERR_OK : note_applied(engine, min_valid, top, err);
}

static enum hf_err replay_from_start(struct hf_sandbox_engine *engine, const bson_t *min_valid,
                                     struct hf_error *err)
{
    struct hf_sandbox_optime begin =
        min_valid == NULL ? HF_SANDBOX_OPTIME_NONE : hf_sandbox_get_optime(min_valid, "begin");

    if (engine->checkpoint_ts != 0) {
        return replay(engine, engine->checkpoint_ts, min_valid, err);
    }
    if (engine->options.recover_from_oplog) {
        if (!engine->options.unstable_checkpoint) {
            return hf_fail(err, HF_ERR_UNSUPPORTED,
                           "fatal assertion 31229: recovery needs a stable checkpoint");
        }
        if (begin.ts != engine->applied.ts) {
            return hf_fail(err, HF_ERR_UNSUPPORTED,
                           "fatal assertion 31365: the unstable checkpoint is not at the "
                           "oplog's top");
        }
        hf_log_info(engine->log, "engine.recovered", HF_U64("entries", 0));
        return HF_ERR_OK;
    }
    /* Without `begin` the data are at the top already. */
    return begin.ts == 0 ? HF_ERR_OK : replay(engine, begin.ts, min_valid, err);
}

enum hf_err hf_sandbox_recover(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    bson_t *min_valid;
    enum hf_err result;

    if (engine->options.recover_to_ts != 0) {
        engine->options.recover_from_oplog = true;
    }
    if (engine->oplog == NULL ||
        (!engine->options.replicated && !engine->options.recover_from_oplog)) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_oplog_load_top(engine, err) != HF_ERR_OK) {
        return err->code;
    }
    if (engine->applied.ts == 0) {
        return HF_ERR_OK;
    }
    if ((engine->options.recover_to_ts == 0 && cut(engine, err) != HF_ERR_OK) ||
        hf_sandbox_local_get(engine, "local.replset.minvalid", &min_valid, err) != HF_ERR_OK) {
        return err->code;
    }
    result = replay_from_start(engine, min_valid, err);
    bson_destroy(min_valid);
    if (result == HF_ERR_OK && engine->options.recover_from_oplog) {
        engine->read_only = true;
        engine->accepts_writes = false;
    }
    return result;
}
