/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secondary: it takes its source's oplog entry by entry, byte for byte, and does what they say at their times.
 *
 * Entry and effect are one transaction, so its oplog and its data never part. When its newest entry is not in the
 * source's oplog it rolls back: it notes the last common entry as the point to cut at and starts again, which brings
 * the data from the stable checkpoint to that point. Nothing a majority had can be lost by it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sandbox/repl_internal.h"

#define FETCH_WAIT_MS 1000
#define FETCH_TIMEOUT_MS 10000
#define GROUP_MAX 200    /* entries in one transaction */
#define COMMON_CHUNK 500 /* entries compared in one question */
#define RETRY_MS 200
#define STALE_RETRY_MS 5000

/* ---- The source ---- */

/* Under state: the primary; without one, whoever is ahead (for a new member: has anything). */
static bool choose(struct hf_sandbox_repl *repl, char host[HF_SANDBOX_HOST_BYTES])
{
    const struct hf_sandbox_config *config = repl->config;
    struct hf_sandbox_optime ours = hf_sandbox_engine_applied(repl->engine);
    int best = -1;

    host[0] = '\0';
    for (size_t i = 0; i < config->count; i++) {
        const struct hf_sandbox_view *view = &repl->views[i];

        if (config->members[i].self || config->members[i].arbiter || !view->up ||
            (view->state != HF_SANDBOX_PRIMARY && view->state != HF_SANDBOX_SECONDARY) ||
            view->applied.ts == 0) {
            continue;
        }
        if ((int)i == repl->primary ||
            (repl->primary < 0 && (repl->mine == HF_SANDBOX_STARTUP2 ||
                                   hf_sandbox_optime_compare(view->applied, ours) > 0))) {
            best = (int)i;
        }
    }
    if (best >= 0) {
        memcpy(host, config->members[best].host, HF_SANDBOX_HOST_BYTES);
    }
    memcpy(repl->source, host, HF_SANDBOX_HOST_BYTES);
    return best >= 0;
}

static bool may_follow(struct hf_sandbox_repl *repl, const char *host)
{
    char best[HF_SANDBOX_HOST_BYTES];

    HF_LOCKED(&repl->state);
    return repl->mine == HF_SANDBOX_SECONDARY && choose(repl, best) && strcmp(best, host) == 0;
}

/* ---- Applying ---- */

static bool is_command(const bson_t *entry)
{
    return strcmp(hf_sandbox_get_utf8(entry, "op", ""), "c") == 0;
}

/* Entries from *iter on in one transaction; a command stands alone. *iter stands on the last one done. */
static enum hf_err apply_group(struct hf_sandbox_repl *repl, bson_iter_t *iter, bool *ended,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_optime last = HF_SANDBOX_OPTIME_NONE;
    bson_iter_t ahead = *iter;
    int count = 0;

    if (hf_sandbox_txn_begin_replay(repl->engine, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    *ended = false;
    while (count < GROUP_MAX) {
        bson_t entry;
        bson_value_t value;
        bson_value_t wall;

        if (!bson_iter_next(&ahead)) {
            *ended = true;
            break;
        }
        value = *bson_iter_value(&ahead);
        if (!hf_sandbox_value_doc(&value, &entry) || !hf_sandbox_get(&entry, "wall", &wall)) {
            return hf_fail(err, HF_ERR_CORRUPT, "the source sent what is no oplog entry");
        }
        if (is_command(&entry) && count > 0) {
            break;
        }
        last = hf_sandbox_optime_of(&entry);
        if (hf_sandbox_txn_stamp(txn, last, wall.value.v_datetime, err) != HF_ERR_OK ||
            hf_sandbox_oplog_put(txn, last.ts, &entry, err) != HF_ERR_OK ||
            hf_sandbox_apply(txn, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        *iter = ahead;
        count++;
        if (is_command(&entry)) {
            break;
        }
    }
    if (count == 0) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_local_set_min_valid(repl->engine, txn, last, last, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* For replSetGetStatus: when a new primary's first entry got here. */
static void note_new_term(struct hf_sandbox_repl *repl, const bson_t *entries)
{
    bson_iter_t iter;

    if (!bson_iter_init(&iter, entries)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        bson_t entry;
        bson_t o;
        bson_value_t wall;

        if (hf_sandbox_value_doc(&value, &entry) && hf_sandbox_get_doc(&entry, "o", &o) &&
            strcmp(hf_sandbox_get_utf8(&o, "msg", ""), "new primary") == 0 &&
            hf_sandbox_get(&entry, "wall", &wall)) {
            HF_LOCKED(&repl->state);
            repl->election.new_term_wall_ms = (uint64_t)wall.value.v_datetime;
            repl->election.new_term_applied_ms = hf_clock_wall_ms();
        }
    }
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

        hf_mutex_lock(&repl->apply);
        if (hf_sandbox_repl_state(repl) != HF_SANDBOX_SECONDARY) {
            hf_mutex_unlock(&repl->apply);
            return;
        }
        result = apply_group(repl, &at, &ended, &err);
        hf_mutex_unlock(&repl->apply);
        if (result == HF_ERR_OK) {
            iter = at;
        } else if (result == HF_ERR_CONFLICT) {
            ended = false; /* the group as a whole once more */
        } else {
            hf_log_error(repl->log, "repl.apply_failed", HF_STR("error", err.message));
            (void)fprintf(stderr, "fatal: %s\n", err.message);
            abort();
        }
    }
    if (hf_sandbox_engine_flush(repl->engine, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.flush_failed", HF_STR("error", err.message));
    }
}

/* ---- Rolling back ---- */

static enum hf_err append_own(struct hf_sandbox_repl *repl, uint64_t *before, bson_t *list,
                              struct hf_error *err)
{
    const struct hf_sandbox_txn_options read = {.write = false};
    const struct hf_sandbox_scan_options options = {.backward = true,
                                                    .after_record = (int64_t)*before};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_scan *scan = NULL;
    enum hf_err result;
    bool found = true;

    if (hf_sandbox_txn_begin(repl->engine, &read, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    result = hf_sandbox_scan_open(txn, hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS), &options,
                                  &scan, err);
    for (uint32_t i = 0; result == HF_ERR_OK && i < COMMON_CHUNK; i++) {
        bson_t entry;
        char text[16];
        const char *key;

        result = hf_sandbox_scan_next(scan, &found, NULL, &entry, err);
        if (result != HF_ERR_OK || !found) {
            break;
        }
        (void)bson_uint32_to_string(i, &key, text, sizeof text);
        hf_sandbox_append_optime(list, key, hf_sandbox_optime_of(&entry));
        *before = hf_sandbox_get_ts(&entry, "ts");
    }
    hf_sandbox_scan_close(scan);
    return result;
}

/* The newest entry that both have; ts 0: there is none. */
static enum hf_err find_common(struct hf_sandbox_repl *repl, struct hf_sandbox_client *client,
                               struct hf_sandbox_optime *out, struct hf_error *err)
{
    uint64_t before = INT64_MAX;

    for (;;) {
        bson_t list = BSON_INITIALIZER;
        bson_t *command;
        bson_t *reply = NULL;
        enum hf_err result = append_own(repl, &before, &list, err);
        bool empty = bson_empty(&list);

        *out = HF_SANDBOX_OPTIME_NONE;
        command = BCON_NEW("_sandboxFetchOplog", BCON_INT32(1), "common", BCON_ARRAY(&list));
        if (result == HF_ERR_OK && !empty) {
            result = hf_sandbox_client_run(client, command, FETCH_TIMEOUT_MS, &reply, err);
        }
        if (reply != NULL) {
            *out = hf_sandbox_get_optime(reply, "common");
            bson_destroy(reply);
        }
        bson_destroy(command);
        bson_destroy(&list);
        if (result != HF_ERR_OK || empty || out->ts != 0) {
            return result;
        }
    }
}

static void roll_back(struct hf_sandbox_repl *repl, struct hf_sandbox_client *client)
{
    struct hf_sandbox_optime common;
    struct hf_error err;

    if (find_common(repl, client, &common, &err) != HF_ERR_OK) {
        hf_log_warn(repl->log, "repl.rollback", HF_STR("error", err.message));
        return;
    }
    hf_log_warn(repl->log, "repl.rollback", HF_U64("to_s", hf_sandbox_ts_seconds(common.ts)),
                HF_U64("to_i", hf_sandbox_ts_increment(common.ts)));
    if (common.ts == 0) {
        hf_mutex_lock(&repl->state);
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_STARTUP2); /* another history: copy all */
        hf_mutex_unlock(&repl->state);
        return;
    }
    if (hf_sandbox_local_set_truncate_after(repl->engine, common.ts, &err) != HF_ERR_OK ||
        hf_sandbox_engine_flush(repl->engine, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.rollback", HF_STR("error", err.message));
        return;
    }
    hf_mutex_lock(&repl->state);
    hf_sandbox_repl_set_state(repl, HF_SANDBOX_ROLLBACK);
    repl->restart_wanted = true;
    hf_mutex_unlock(&repl->state);
    hf_cancel_request(repl->shutdown);
}

/* ---- Following ---- */

static bson_t *build_fetch(struct hf_sandbox_repl *repl)
{
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    bson_t *command = bson_new();

    (void)BSON_APPEND_INT32(command, "_sandboxFetchOplog", 1);
    hf_sandbox_append_optime(command, "after", applied);
    hf_sandbox_append_optime(command, "durable", hf_sandbox_engine_durable(repl->engine));
    hf_sandbox_append_ts(command, "knownCommitted", hf_sandbox_engine_majority(repl->engine).ts);
    (void)BSON_APPEND_INT32(command, "waitMS", FETCH_WAIT_MS);
    HF_LOCKED(&repl->state);
    (void)BSON_APPEND_INT64(command, "term", repl->term);
    (void)BSON_APPEND_INT32(command, "memberId", repl->config->members[repl->config->self].id);
    return command;
}

/* What the source says beside the entries. */
static void learn(struct hf_sandbox_repl *repl, const bson_t *reply)
{
    struct hf_sandbox_optime committed = hf_sandbox_get_optime(reply, "lastCommitted");

    HF_LOCKED(&repl->state);
    hf_sandbox_repl_see_term(repl, hf_sandbox_get_int64(reply, "term", -1));
    if (committed.ts > repl->committed_seen.ts) {
        repl->committed_seen = committed;
    }
    if (hf_sandbox_get_true(reply, "primary")) {
        hf_sandbox_repl_put_off_election(repl);
    }
}

/* After its entries are applied, what it calls committed is a part of our history too. */
static void commit_point(struct hf_sandbox_repl *repl, const bson_t *reply)
{
    HF_LOCKED(&repl->state);
    if (repl->mine == HF_SANDBOX_SECONDARY) {
        hf_sandbox_engine_set_majority(repl->engine, hf_sandbox_get_optime(reply, "lastCommitted"));
        hf_sandbox_repl_advance(repl);
    }
}

static void too_stale(struct hf_sandbox_repl *repl)
{
    hf_log_error(repl->log, "repl.too_stale");
    hf_mutex_lock(&repl->state);
    hf_sandbox_repl_set_state(repl, HF_SANDBOX_RECOVERING);
    hf_mutex_unlock(&repl->state);
    hf_cancel_sleep(&repl->stopping, STALE_RETRY_MS);
    hf_mutex_lock(&repl->state);
    hf_sandbox_repl_set_state(repl, HF_SANDBOX_SECONDARY); /* perhaps another source has more */
    hf_mutex_unlock(&repl->state);
}

static void follow(struct hf_sandbox_repl *repl, const char *host)
{
    HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
    struct hf_error err;

    if (hf_sandbox_client_open(host, hf_sandbox_repl_key_of(repl), FETCH_TIMEOUT_MS, &client,
                               &err) != HF_ERR_OK) {
        hf_cancel_sleep(&repl->stopping, RETRY_MS);
        return;
    }
    while (!hf_sandbox_repl_stopping(repl) && may_follow(repl, host)) {
        bson_t *command = build_fetch(repl);
        bson_t *reply = NULL;
        bson_t entries;
        enum hf_err result = hf_sandbox_client_run(client, command, FETCH_TIMEOUT_MS, &reply, &err);

        bson_destroy(command);
        if (result != HF_ERR_OK) {
            hf_log_info(repl->log, "repl.source_lost", HF_STR("error", err.message));
            hf_cancel_sleep(&repl->stopping, RETRY_MS);
            return;
        }
        learn(repl, reply);
        if (hf_sandbox_get_true(reply, "stale")) {
            bson_destroy(reply);
            too_stale(repl);
            return;
        }
        if (hf_sandbox_get_true(reply, "diverged")) {
            bson_destroy(reply);
            roll_back(repl, client);
            return;
        }
        if (hf_sandbox_get_doc(reply, "entries", &entries)) {
            apply_all(repl, &entries);
            commit_point(repl, reply);
            note_new_term(repl, &entries);
        }
        bson_destroy(reply);
    }
}

void hf_sandbox_sync_run(struct hf_sandbox_repl *repl)
{
    while (!hf_sandbox_repl_stopping(repl)) {
        char host[HF_SANDBOX_HOST_BYTES] = "";
        enum hf_sandbox_state state;
        struct hf_error err;
        bool any = false;

        hf_mutex_lock(&repl->state);
        state = repl->mine;
        if (repl->config != NULL && repl->config->self >= 0 &&
            (state == HF_SANDBOX_SECONDARY || state == HF_SANDBOX_STARTUP2)) {
            any = choose(repl, host);
        }
        if (!any) {
            (void)hf_cond_wait_for(&repl->changed, &repl->state, 100);
        }
        hf_mutex_unlock(&repl->state);
        if (!any) {
            continue;
        }
        if (state == HF_SANDBOX_SECONDARY) {
            follow(repl, host);
        } else if (hf_sandbox_copy_all(repl, host, &err) != HF_ERR_OK) {
            hf_log_warn(repl->log, "repl.initial_sync_failed", HF_STR("error", err.message));
            hf_cancel_sleep(&repl->stopping, RETRY_MS);
        }
    }
}
