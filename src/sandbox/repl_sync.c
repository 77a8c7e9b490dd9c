/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secondary: it takes the primary's oplog entry by entry, byte for byte, and does what they say at their times. And the
 * source's side of it.
 *
 * Entry and effect are one transaction, so its oplog and its data never part. When its newest entry is not in the
 * primary's oplog, or what comes next is no longer there, it copies everything anew: a majority had nothing that is lost
 * by it.
 */
#include <stdlib.h>

#include "sandbox/repl_internal.h"

#define FETCH_WAIT_MS 1000
#define FETCH_TIMEOUT_MS 10000
#define GROUP_MAX 200 /* entries in one transaction */
#define RETRY_MS 200

/* Under state: the source is the primary. */
static bool choose(const struct hf_sandbox_repl *repl, char host[HF_SANDBOX_HOST_BYTES])
{
    bool any = repl->config != NULL && repl->primary >= 0 && repl->primary != repl->config->self;

    if (any) {
        memcpy(host, repl->config->members[repl->primary].host, HF_SANDBOX_HOST_BYTES);
    }
    return any;
}

/* ---- Applying ---- */

/* Entries from *iter on in one transaction; a command stands alone. *iter stands on the last one done. */
static enum hf_err apply_group(struct hf_sandbox_repl *repl, bson_iter_t *iter, bool *ended,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_optime last = HF_SANDBOX_OPTIME_NONE;
    bson_iter_t ahead = *iter;
    bool command = false;

    if (hf_sandbox_txn_begin(repl->engine, HF_SANDBOX_WRITES_AS(HF_SANDBOX_REPLAY), &txn, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    for (int count = 0; count < GROUP_MAX && !command; count++) {
        bson_t entry;

        *ended = !bson_iter_next(&ahead);
        if (*ended) {
            break;
        }
        if (!hf_sandbox_value_doc(bson_iter_value(&ahead), &entry) ||
            !bson_has_field(&entry, "wall")) {
            return hf_fail(err, HF_ERR_CORRUPT, "the source sent what is no oplog entry");
        }
        command = strcmp(hf_sandbox_get_utf8(&entry, "op", ""), "c") == 0;
        if (command && count > 0) {
            break;
        }
        last = hf_sandbox_optime_of(&entry);
        if (hf_sandbox_oplog_put(txn, &entry, err) != HF_ERR_OK ||
            hf_sandbox_apply(txn, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        *iter = ahead;
    }
    if (last.ts == 0) {
        return HF_ERR_OK;
    }
    return hf_sandbox_local_set_min_valid(repl->engine, txn, last, last, err) != HF_ERR_OK
               ? err->code
               : hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* What cannot be applied ends the process, as mongod does: going on would make another history. */
static void apply_all(struct hf_sandbox_repl *repl, const bson_t *entries)
{
    struct hf_error err;
    bson_iter_t iter;
    bool ended = !bson_iter_init(&iter, entries);

    while (!ended) {
        bson_iter_t at = iter;
        enum hf_err result;

        HF_LOCKED(&repl->apply);
        if (hf_sandbox_repl_state(repl) != HF_SANDBOX_SECONDARY) {
            return;
        }
        result = apply_group(repl, &at, &ended, &err);
        if (result == HF_ERR_OK) {
            iter = at;
        } else if (result == HF_ERR_CONFLICT) {
            ended = false; /* the group as a whole once more */
        } else {
            hf_log_error(repl->log, "repl.apply_failed", HF_STR("error", err.message));
            abort();
        }
    }
    if (hf_sandbox_engine_flush(repl->engine, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.flush_failed", HF_STR("error", err.message));
    }
}

/* ---- Following ---- */

/* One question to the source; false: time to look for another one. What the source says beside the entries holds once
 * these are applied: what it calls committed is then a part of our history. */
static bool fetch(struct hf_sandbox_repl *repl, struct hf_sandbox_client **client, const char *host)
{
    HF_CLEANUP(bson_destroy) bson_t *command = NULL;
    HF_CLEANUP(bson_destroy) bson_t *reply = NULL;
    const struct hf_sandbox_peer peer = hf_sandbox_repl_peer(repl, host, FETCH_TIMEOUT_MS);
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    struct hf_sandbox_optime durable = hf_sandbox_engine_durable(repl->engine);
    uint64_t known = hf_sandbox_engine_majority(repl->engine).ts;
    struct hf_sandbox_optime committed;
    struct hf_error err;
    char best[HF_SANDBOX_HOST_BYTES];
    bson_t entries;

    {
        HF_LOCKED(&repl->state);
        if (repl->mine != HF_SANDBOX_SECONDARY || !choose(repl, best) || strcmp(best, host) != 0) {
            return false;
        }
        command = BCON_NEW(
            "_sandboxFetchOplog", BCON_INT32(1), "after", HF_SANDBOX_BCON_OPTIME(applied),
            "durable", HF_SANDBOX_BCON_OPTIME(durable), "knownCommitted", HF_SANDBOX_BCON_TS(known),
            "waitMS", BCON_INT32(FETCH_WAIT_MS), "term", BCON_INT64(repl->term), "memberId",
            BCON_INT32(repl->config->members[repl->config->self].id));
    }
    if (hf_sandbox_client_run(client, &peer, command, &reply, &err) != HF_ERR_OK) {
        hf_log_info(repl->log, "repl.source_lost", HF_STR("error", err.message));
        hf_cancel_sleep(&repl->stopping, RETRY_MS);
        return false;
    }
    if (hf_sandbox_get_doc(reply, "entries", &entries)) {
        apply_all(repl, &entries);
    }
    committed = hf_sandbox_get_optime(reply, "lastCommitted");
    HF_LOCKED(&repl->state);
    if (hf_sandbox_get_true(reply, "diverged") && repl->mine == HF_SANDBOX_SECONDARY) {
        hf_log_warn(repl->log, "repl.diverged", HF_STR("source", host));
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_STARTUP2);
        return false;
    }
    hf_sandbox_repl_see_term(repl, hf_sandbox_get_int64(reply, "term", -1));
    if (committed.ts > repl->committed_seen.ts) {
        repl->committed_seen = committed;
    }
    hf_sandbox_repl_put_off_election(repl);
    if (repl->mine == HF_SANDBOX_SECONDARY && bson_has_field(reply, "entries")) {
        hf_sandbox_engine_set_majority(repl->engine, committed);
    }
    hf_sandbox_repl_advance(repl);
    return true;
}

void hf_sandbox_sync_run(void *argument)
{
    struct hf_sandbox_repl *repl = argument;

    while (!hf_sandbox_repl_stopping(repl)) {
        HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
        char host[HF_SANDBOX_HOST_BYTES];
        enum hf_sandbox_state state;
        struct hf_error err;
        bool any;

        hf_mutex_lock(&repl->state);
        state = repl->mine;
        any = (state == HF_SANDBOX_SECONDARY || state == HF_SANDBOX_STARTUP2) && choose(repl, host);
        if (!any) {
            (void)hf_cond_wait_for(&repl->changed, &repl->state, 100);
        }
        hf_mutex_unlock(&repl->state);
        if (any && state == HF_SANDBOX_SECONDARY) {
            while (!hf_sandbox_repl_stopping(repl) && fetch(repl, &client, host)) {
            }
        } else if (any && hf_sandbox_copy_all(repl, host, &err) != HF_ERR_OK) {
            hf_log_warn(repl->log, "repl.initial_sync_failed", HF_STR("error", err.message));
            hf_cancel_sleep(&repl->stopping, RETRY_MS);
        }
    }
}

/* ---- Answering as the source ---- */

/* The entries after that one; *there false when we do not have it. */
static enum hf_err append_entries(struct hf_sandbox_repl *repl, struct hf_sandbox_optime after,
                                  bool *there, bson_t *reply, struct hf_error *err)
{
    const struct hf_sandbox_scan_options options = {.from_record = (int64_t)after.ts};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(hf_sandbox_scan_close) struct hf_sandbox_scan *scan = NULL;
    HF_CLEANUP(bson_destroy) bson_t *list = bson_new();
    uint32_t count = 0;
    bson_t entry;

    if (hf_sandbox_txn_begin(repl->engine, HF_SANDBOX_READS, &txn, err) != HF_ERR_OK ||
        hf_sandbox_scan_open(txn, hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS), &options, &scan,
                             err) != HF_ERR_OK ||
        hf_sandbox_scan_next(scan, there, NULL, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    *there = *there && hf_sandbox_optime_of(&entry).ts == after.ts &&
             hf_sandbox_optime_of(&entry).term == after.term;
    for (bool more = *there; more && list->len < HF_SANDBOX_REPL_BATCH_BYTES;) {
        if (hf_sandbox_scan_next(scan, &more, NULL, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        if (more) {
            const bson_value_t value = hf_sandbox_value_of_doc(&entry);

            hf_sandbox_append_element(list, &count, &value);
        }
    }
    if (*there) {
        (void)BSON_APPEND_ARRAY(reply, "entries", list);
    }
    return HF_ERR_OK;
}

/* The question says what the asking member has. */
int32_t hf_sandbox_sync_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    struct hf_sandbox_optime after = hf_sandbox_get_optime(ask->command, "after");
    int64_t id = hf_sandbox_get_int64(ask->command, "memberId", -1);
    struct hf_sandbox_optime majority;
    struct hf_error err;
    bool there;

    hf_mutex_lock(&repl->state);
    hf_sandbox_repl_see_term(repl, hf_sandbox_get_int64(ask->command, "term", -1));
    for (size_t i = 0; i < repl->config->count; i++) {
        if (repl->config->members[i].id == id && !repl->config->members[i].self) {
            repl->views[i].applied = after;
            repl->views[i].durable = hf_sandbox_get_optime(ask->command, "durable");
            repl->views[i].heard_mono_ms = hf_clock_mono_ms();
        }
    }
    hf_sandbox_repl_advance(repl);
    hf_mutex_unlock(&repl->state);
    (void)hf_sandbox_engine_wait_oplog(
        repl->engine, after.ts, hf_sandbox_get_ts(ask->command, "knownCommitted"),
        (uint64_t)hf_sandbox_get_int64(ask->command, "waitMS", 0), ask->cancel);
    if (append_entries(repl, after, &there, ask->reply, &err) != HF_ERR_OK) {
        return hf_sandbox_repl_result(err.code, &err, ask->no);
    }
    majority = hf_sandbox_engine_majority(repl->engine);
    HF_LOCKED(&repl->state);
    if (repl->mine != HF_SANDBOX_PRIMARY) {
        return hf_sandbox_refuse(ask->no, HF_SANDBOX_NOT_WRITABLE_PRIMARY, "not primary");
    }
    BCON_APPEND(ask->reply, "diverged", BCON_BOOL(!there), "lastCommitted",
                HF_SANDBOX_BCON_OPTIME(majority), "term", BCON_INT64(repl->term));
    return 0;
}
