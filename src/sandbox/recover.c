/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the files as they lie there to data at the top of the oplog: the normal start of a set's
 * member, and on demand of a standalone.
 *
 *   cut     entries after oplogTruncateAfterPoint go (a primary's crash, a restore to a point)
 *   replay  from the stable checkpoint, or from minvalid's `begin` where the last checkpoint was
 *           unstable, to the top
 *   note    `begin` becomes the top; the truncate point is reset
 *
 * Where mongod ends itself with an assertion this ends the start with its number in the message.
 */
#include "os/fs.h"
#include "sandbox/engine_internal.h"
#include "sandbox/value.h"

#define REPLAY_BATCH 100

static enum hf_err cut(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *doc = NULL;
    uint64_t after;

    if (hf_sandbox_local_get(engine, "local.replset.oplogTruncateAfterPoint", false, &doc, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    after = doc == NULL ? 0 : hf_sandbox_get_ts(doc, "oplogTruncateAfterPoint");
    if (after == 0) {
        return HF_ERR_OK;
    }
    /* What a checkpoint holds cannot be undone. */
    after = after < engine->checkpoint_ts ? engine->checkpoint_ts : after;
    return hf_sandbox_oplog_cut(engine, after, err) != HF_ERR_OK
               ? err->code
               : hf_sandbox_local_set_truncate_after(engine, 0, err);
}

/* Entries after *from in one transaction, each at its own time; *from moves on. A definition stands
 * alone: what it changes must be seen by whoever comes next. */
static enum hf_err replay_batch(struct hf_sandbox_engine *engine, uint64_t *from, uint64_t *count,
                                bool *more, struct hf_error *err)
{
    const struct hf_sandbox_scan_options options = {.from_record = (int64_t)*from + 1};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    bool command = false;

    *more = false;
    if (hf_sandbox_txn_begin(engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_REPLAY), &txn, err) !=
            HF_ERR_OK ||
        hf_sandbox_scan_open(txn, hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS), &options, &scan,
                             err) != HF_ERR_OK) {
        return err->code;
    }
    txn->no_trim = true;
    for (int i = 0; i < REPLAY_BATCH && !command; i++) {
        bool found;
        bson_t entry;

        if (hf_sandbox_scan_next(scan, &found, NULL, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        command = found && strcmp(hf_sandbox_get_utf8(&entry, "op", ""), "c") == 0;
        if (!found || (command && i > 0) ||
            (engine->options.recover_to_ts != 0 &&
             hf_sandbox_get_ts(&entry, "ts") > engine->options.recover_to_ts)) {
            break;
        }
        if (hf_sandbox_txn_stamp(txn, &entry, err) != HF_ERR_OK ||
            hf_sandbox_apply(txn, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        *from = txn->last.ts;
        (*count)++;
        *more = true;
    }
    hf_sandbox_scan_close(HF_TAKE(scan));
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* `begin` of minvalid says up to where the data are applied, for after an unstable checkpoint. */
static enum hf_err note_applied(struct hf_sandbox_engine *engine, const bson_t *min_valid,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(bson_destroy) bson_t *top = NULL;

    if (hf_sandbox_local_get(engine, HF_SANDBOX_OPLOG_NS, true, &top, err) != HF_ERR_OK ||
        hf_sandbox_txn_begin(engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_REPLAY), &txn, err) !=
            HF_ERR_OK ||
        hf_sandbox_txn_stamp(txn, top, err) != HF_ERR_OK ||
        hf_sandbox_local_set_min_valid(engine, txn, hf_sandbox_optime_of(min_valid),
                                       hf_sandbox_optime_of(top), err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

static enum hf_err replay(struct hf_sandbox_engine *engine, uint64_t from, const bson_t *min_valid,
                          struct hf_error *err)
{
    uint64_t count = 0;
    bool more = true;

    if (from > engine->applied.ts) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "fatal assertion 40313: the data are ahead of the oplog's top");
    }
    while (more) {
        if (replay_batch(engine, &from, &count, &more, err) != HF_ERR_OK) {
            return hf_wrap(err, "recovery from the oplog");
        }
    }
    hf_log_info(engine->log, "engine.recovered", HF_U64("entries", count),
                HF_U64("top_s", hf_sandbox_ts_seconds(engine->applied.ts)),
                HF_U64("top_i", hf_sandbox_ts_increment(engine->applied.ts)));
    return count == 0 || min_valid == NULL ? HF_ERR_OK : note_applied(engine, min_valid, err);
}

static enum hf_err replay_from_start(struct hf_sandbox_engine *engine, const bson_t *min_valid,
                                     struct hf_error *err)
{
    uint64_t begin = min_valid == NULL ? 0 : hf_sandbox_get_optime(min_valid, "begin").ts;

    if (engine->checkpoint_ts != 0) {
        return replay(engine, engine->checkpoint_ts, min_valid, err);
    }
    if (engine->options.recover_from_oplog && !engine->options.unstable_checkpoint) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "fatal assertion 31229: recovery needs a stable checkpoint");
    }
    if (engine->options.recover_from_oplog && begin != engine->applied.ts) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "fatal assertion 31365: the unstable checkpoint is not at the oplog's top");
    }
    /* Without `begin` the data are at the top already. */
    return begin == 0 ? HF_ERR_OK : replay(engine, begin, min_valid, err);
}

/* Read-only from its start on: the metadata file must be there, the oplog stays as it is. But a clean
 * stop keeps what was replayed, as the real server does. */
static enum hf_err look_back(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(engine->dbpath, "storage.bson");
    uint64_t upto = engine->options.recover_to_ts;
    struct hf_file_info info;

    if (path == NULL || hf_fs_stat(path, &info, err) != HF_ERR_OK) {
        return hf_fail(err, HF_ERR_NOT_FOUND,
                       "Server was started in read-only mode, but the storage metadata file was "
                       "not found.");
    }
    if (engine->options.recover_to_ts != 0) {
        if (engine->checkpoint_ts == 0) {
            return hf_fail(err, HF_ERR_UNSUPPORTED,
                           "Cannot use 'recoverToOplogTimestamp' without a stable checkpoint");
        }
        if (hf_sandbox_oplog_load_top(engine, err) != HF_ERR_OK ||
            replay(engine, engine->checkpoint_ts, NULL, err) != HF_ERR_OK) {
            return err->code;
        }
        upto = upto < engine->applied.ts ? upto : engine->applied.ts;
        if (upto > engine->checkpoint_ts &&
            hf_sandbox_engine_set_stable(engine, upto, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    engine->read_only = true;
    engine->accepts_writes = false;
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_recover(struct hf_sandbox_engine *engine, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *min_valid = NULL;
    const struct hf_sandbox_engine_options *options = &engine->options;

    if (options->queryable) {
        return look_back(engine, err);
    }
    if (!options->replicated && !options->recover_from_oplog) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_oplog_load_top(engine, err) != HF_ERR_OK || engine->applied.ts == 0) {
        return err->code;
    }
    if (cut(engine, err) != HF_ERR_OK ||
        hf_sandbox_local_get(engine, "local.replset.minvalid", false, &min_valid, err) !=
            HF_ERR_OK ||
        replay_from_start(engine, min_valid, err) != HF_ERR_OK) {
        return err->code;
    }
    engine->read_only = options->recover_from_oplog;
    engine->accepts_writes = engine->accepts_writes && !engine->read_only;
    return HF_ERR_OK;
}
