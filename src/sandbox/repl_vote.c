/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elections: a candidate asks, voters answer, a winner takes over, a loser of its majority steps down.
 *
 * A vote is given once a term, only to who has at least one's own entries, and is on disk before it is said. A
 * campaign asks first whether it would win (dry run), so that a member that was cut off disturbs nobody with new terms.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sandbox/repl_internal.h"

#define ELECTION_NS "local.replset.election"
#define VOTE_TIMEOUT_MS 2000
#define FIRST_RETRY_MS 500

/* ---- The last vote ---- */

enum hf_err hf_sandbox_vote_load(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    bson_t *doc;

    if (hf_sandbox_local_get(repl->engine, ELECTION_NS, &doc, err) != HF_ERR_OK) {
        return err->code;
    }
    if (doc != NULL) {
        repl->voted_term = hf_sandbox_get_int64(doc, "term", 0);
        repl->term = repl->voted_term > repl->term ? repl->voted_term : repl->term;
        bson_destroy(doc);
    }
    return HF_ERR_OK;
}

static enum hf_err store_vote(struct hf_sandbox_repl *repl, int64_t term, int64_t candidate,
                              struct hf_error *err)
{
    bson_t fields = BSON_INITIALIZER;
    enum hf_err result;

    (void)BSON_APPEND_INT64(&fields, "term", term);
    (void)BSON_APPEND_INT64(&fields, "candidateIndex", candidate);
    result = hf_sandbox_local_set(repl->engine, NULL, ELECTION_NS, NULL, &fields, err);
    bson_destroy(&fields);
    return result != HF_ERR_OK ? result : hf_sandbox_engine_flush(repl->engine, err);
}

/* ---- Voting ---- */

/* Under state: why not; NULL: yes. */
static const char *objection(const struct hf_sandbox_repl *repl, const bson_t *command,
                             int64_t term, bool dry_run)
{
    struct hf_sandbox_optime theirs = hf_sandbox_get_optime(command, "lastAppliedOpTime");
    struct hf_sandbox_optime ours = hf_sandbox_engine_applied(repl->engine);

    if (repl->config == NULL || repl->config->self < 0) {
        return "not in a set";
    }
    if (strcmp(hf_sandbox_get_utf8(command, "setName", ""), repl->config->set) != 0) {
        return "candidate's set name differs from mine";
    }
    if (hf_sandbox_get_int64(command, "configTerm", 0) < repl->config->term ||
        (hf_sandbox_get_int64(command, "configTerm", 0) == repl->config->term &&
         hf_sandbox_get_int64(command, "configVersion", 0) < repl->config->version)) {
        return "candidate's config is older than mine";
    }
    if (term < repl->term) {
        return "candidate's term is lower than mine";
    }
    if (hf_sandbox_optime_compare(theirs, ours) < 0) {
        return "candidate's data is staler than mine";
    }
    if (!dry_run && term <= repl->voted_term) {
        return "already voted for another candidate this term";
    }
    return NULL;
}

int32_t hf_sandbox_vote_answer(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                               struct hf_sandbox_refusal *no)
{
    bool dry_run = hf_sandbox_get_true(command, "dryRun");
    int64_t term = hf_sandbox_get_int64(command, "term", -1);
    int64_t candidate = hf_sandbox_get_int64(command, "candidateIndex", -1);
    struct hf_error err;
    const char *reason;

    hf_mutex_lock(&repl->state);
    reason = objection(repl, command, term, dry_run);
    if (!dry_run && reason == NULL) {
        hf_sandbox_repl_see_term(repl, term);
        repl->voted_term = term;
        hf_sandbox_repl_put_off_election(repl);
        if (candidate >= 0 && candidate < (int64_t)repl->config->count) {
            repl->election = (struct hf_sandbox_election){
                .participant = true,
                .term = term,
                .at_wall_ms = hf_clock_wall_ms(),
                .candidate_id = repl->config->members[candidate].id,
                .applied = hf_sandbox_engine_applied(repl->engine),
                .seen = hf_sandbox_get_optime(command, "lastAppliedOpTime"),
                .priority = repl->config->members[repl->config->self].priority};
        }
    }
    hf_mutex_unlock(&repl->state);
    if (!dry_run && reason == NULL && store_vote(repl, term, candidate, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
    }
    (void)BSON_APPEND_INT64(reply, "term", hf_sandbox_repl_term(repl));
    (void)BSON_APPEND_BOOL(reply, "voteGranted", reason == NULL);
    (void)BSON_APPEND_UTF8(reply, "reason", reason == NULL ? "" : reason);
    return 0;
}

/* ---- Running ---- */

struct ballot {
    char hosts[HF_SANDBOX_MEMBERS_MAX][HF_SANDBOX_HOST_BYTES];
    bool up[HF_SANDBOX_MEMBERS_MAX];
    size_t count;
    int32_t needed;
    bson_t *question; /* owned */
    int64_t term;
};

/* Under state. */
static void prepare(struct hf_sandbox_repl *repl, int64_t term, bool dry_run, struct ballot *out)
{
    const struct hf_sandbox_config *config = repl->config;

    out->count = 0;
    out->needed = config->vote_majority - (config->members[config->self].votes != 0 ? 1 : 0);
    out->term = term;
    for (size_t i = 0; i < config->count; i++) {
        if (!config->members[i].self && config->members[i].votes != 0) {
            out->up[out->count] = repl->views[i].up;
            memcpy(out->hosts[out->count++], config->members[i].host, HF_SANDBOX_HOST_BYTES);
        }
    }
    out->question = bson_new();
    (void)BSON_APPEND_INT32(out->question, "replSetRequestVotes", 1);
    (void)BSON_APPEND_UTF8(out->question, "setName", config->set);
    (void)BSON_APPEND_BOOL(out->question, "dryRun", dry_run);
    (void)BSON_APPEND_INT64(out->question, "term", term);
    (void)BSON_APPEND_INT64(out->question, "candidateIndex", config->self);
    (void)BSON_APPEND_INT64(out->question, "configVersion", config->version);
    (void)BSON_APPEND_INT64(out->question, "configTerm", config->term);
    hf_sandbox_append_optime(out->question, "lastAppliedOpTime",
                             hf_sandbox_engine_applied(repl->engine));
}

static bool ask(struct hf_sandbox_repl *repl, const struct ballot *ballot, const char *host)
{
    HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
    struct hf_error err;
    bson_t *reply = NULL;
    bool granted;

    if (hf_sandbox_client_open(host, hf_sandbox_repl_key_of(repl), VOTE_TIMEOUT_MS, &client,
                               &err) != HF_ERR_OK ||
        hf_sandbox_client_run(client, ballot->question, VOTE_TIMEOUT_MS, &reply, &err) !=
            HF_ERR_OK) {
        return false;
    }
    granted = hf_sandbox_get_true(reply, "voteGranted");
    if (!granted) {
        hf_log_info(repl->log, "repl.vote_denied", HF_STR("by", host),
                    HF_STR("reason", hf_sandbox_get_utf8(reply, "reason", "")));
    }
    hf_mutex_lock(&repl->state);
    hf_sandbox_repl_see_term(repl, hf_sandbox_get_int64(reply, "term", -1));
    hf_mutex_unlock(&repl->state);
    bson_destroy(reply);
    return granted;
}

/* Asks one after the other; those who do not answer heartbeats only as long as there are not enough. */
static bool collect(struct hf_sandbox_repl *repl, struct ballot *ballot)
{
    int32_t got = 0;

    for (int down = 0; down < 2; down++) {
        for (size_t i = 0; i < ballot->count; i++) {
            if (ballot->up[i] == (down == 0) && (down == 0 || got < ballot->needed)) {
                got += ask(repl, ballot, ballot->hosts[i]) ? 1 : 0;
            }
        }
    }
    bson_destroy(ballot->question);
    return got >= ballot->needed;
}

/* ---- Taking over ---- */

static enum hf_err create_if_missing(struct hf_sandbox_repl *repl, const char *name,
                                     struct hf_error *err)
{
    const struct hf_sandbox_txn_options options = {.write = true, .replicated = true};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    char ns[HF_SANDBOX_NS_BYTES];
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    bson_t empty = BSON_INITIALIZER;
    bson_t *o;
    enum hf_err result = HF_ERR_OK;

    (void)snprintf(ns, sizeof ns, "config.%s", name);
    hf_sandbox_uuid_make(uuid);
    if (hf_sandbox_txn_begin(repl->engine, &options, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_sandbox_txn_find(txn, ns) != NULL) {
        return HF_ERR_OK;
    }
    o = BCON_NEW("create", BCON_UTF8(name), "idIndex", "{", "v", BCON_INT32(2), "key", "{", "_id",
                 BCON_INT32(1), "}", "name", "_id_", "}");
    const struct hf_sandbox_entry entry = {.op = "c", .ns = "config.$cmd", .uuid = uuid, .o = o};
    result = hf_sandbox_txn_log(txn, &entry, NULL, err);
    bson_destroy(o);
    if (result != HF_ERR_OK ||
        hf_sandbox_coll_create(txn, ns, &empty, uuid, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* The configuration carries the term of its primary. */
static enum hf_err renew_config(struct hf_sandbox_repl *repl, int64_t term, struct hf_error *err)
{
    struct hf_sandbox_config *config;
    bson_t doc = BSON_INITIALIZER;
    enum hf_err result;

    hf_mutex_lock(&repl->state);
    bson_copy_to_excluding_noinit(repl->config->doc, &doc, "term", NULL);
    hf_mutex_unlock(&repl->state);
    (void)BSON_APPEND_INT64(&doc, "term", term);
    result = hf_sandbox_config_read(repl, &doc, &config, err);
    bson_destroy(&doc);
    return result != HF_ERR_OK ? result : hf_sandbox_config_install_take(repl, config, err);
}

/* The term begins with entries of its own; then others may write. */
static enum hf_err begin_term(struct hf_sandbox_repl *repl, int64_t term, struct hf_error *err)
{
    bson_t *note = BCON_NEW("msg", "new primary");
    enum hf_err result;

    hf_mutex_lock(&repl->apply); /* a batch under way ends first */
    hf_sandbox_engine_set_role(repl->engine, true, term);
    hf_mutex_unlock(&repl->apply);
    result = create_if_missing(repl, "transactions", err);
    if (result == HF_ERR_OK) {
        result = hf_sandbox_repl_note(repl, note, err);
    }
    if (result == HF_ERR_OK) {
        result = create_if_missing(repl, "system.indexBuilds", err);
    }
    bson_destroy(note);
    return result;
}

static void win(struct hf_sandbox_repl *repl, int64_t term)
{
    struct hf_error err;
    bool mine;

    hf_mutex_lock(&repl->state);
    mine = repl->term == term && repl->mine == HF_SANDBOX_SECONDARY;
    if (mine) {
        repl->election_ts = HF_SANDBOX_TS(hf_clock_wall_ms() / 1000, 1);
        repl->primary = repl->config->self;
        repl->primary_since_ms = hf_clock_mono_ms();
        repl->source[0] = '\0';
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_PRIMARY);
    }
    hf_mutex_unlock(&repl->state);
    if (!mine) {
        return;
    }
    if (begin_term(repl, term, &err) != HF_ERR_OK || renew_config(repl, term, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.take_over_failed", HF_STR("error", err.message));
        hf_sandbox_vote_step_down(repl, term);
        return;
    }
    hf_mutex_lock(&repl->state);
    repl->election.new_term_wall_ms = hf_clock_wall_ms();
    repl->beat_generation++;
    repl->topology++;
    hf_cond_broadcast(&repl->changed);
    hf_mutex_unlock(&repl->state);
    hf_log_info(repl->log, "repl.primary", HF_U64("term", (uint64_t)term));
}

void hf_sandbox_vote_campaign(struct hf_sandbox_repl *repl, const char *reason)
{
    struct ballot ballot;
    struct hf_error err;
    int64_t term;

    hf_mutex_lock(&repl->state);
    hf_sandbox_repl_put_off_election(repl);
    term = repl->term;
    prepare(repl, term, true, &ballot);
    hf_mutex_unlock(&repl->state);
    if (!collect(repl, &ballot)) {
        hf_log_info(repl->log, "repl.election_lost", HF_STR("phase", "dry run"));
        if (term == 0) { /* a new set, whose members do not all know of it yet */
            hf_mutex_lock(&repl->state);
            repl->election_due_ms = hf_clock_mono_ms() + FIRST_RETRY_MS;
            hf_mutex_unlock(&repl->state);
        }
        return;
    }
    hf_mutex_lock(&repl->state);
    if (repl->term != term || repl->mine != HF_SANDBOX_SECONDARY) {
        hf_mutex_unlock(&repl->state);
        return;
    }
    term = ++repl->term;
    repl->voted_term = term;
    prepare(repl, term, false, &ballot);
    repl->election = (struct hf_sandbox_election){
        .candidate = true,
        .reason = reason,
        .at_wall_ms = hf_clock_wall_ms(),
        .term = term,
        .committed = hf_sandbox_engine_majority(repl->engine),
        .seen = hf_sandbox_engine_applied(repl->engine),
        .priority = repl->config->members[repl->config->self].priority};
    hf_mutex_unlock(&repl->state);
    if (store_vote(repl, term, repl->config->self, &err) != HF_ERR_OK) {
        bson_destroy(ballot.question);
        hf_log_error(repl->log, "repl.vote_not_stored", HF_STR("error", err.message));
        return;
    }
    if (!collect(repl, &ballot)) {
        hf_log_info(repl->log, "repl.election_lost", HF_U64("term", (uint64_t)term));
        return;
    }
    win(repl, term);
}

/* ---- Stepping down ---- */

void hf_sandbox_vote_step_down(struct hf_sandbox_repl *repl, int64_t term)
{
    struct hf_error err;
    bool was;

    hf_mutex_lock(&repl->apply);
    hf_mutex_lock(&repl->state);
    was = repl->mine == HF_SANDBOX_PRIMARY;
    hf_sandbox_engine_set_role(repl->engine, false, term);
    if (was) {
        repl->primary = -1;
        repl->election.candidate = false;
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_SECONDARY);
        hf_sandbox_repl_put_off_election(repl);
        repl->beat_generation++;
    }
    repl->step_down_wanted = false;
    hf_mutex_unlock(&repl->state);
    hf_mutex_unlock(&repl->apply);
    /* A secondary's oplog has no holes to cut. */
    if (was && hf_sandbox_local_set_truncate_after(repl->engine, 0, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.step_down", HF_STR("error", err.message));
    }
    if (was) {
        hf_log_info(repl->log, "repl.stepped_down", HF_U64("term", (uint64_t)term));
    }
}

/* Under state: an electable member that has all we have; its place, or -1. */
static int successor(const struct hf_sandbox_repl *repl, struct hf_sandbox_optime applied)
{
    for (size_t i = 0; i < repl->config->count; i++) {
        const struct hf_sandbox_view *view = &repl->views[i];

        if (!repl->config->members[i].self && repl->config->members[i].priority > 0 && view->up &&
            view->state == HF_SANDBOX_SECONDARY &&
            hf_sandbox_optime_compare(view->applied, applied) >= 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Waits for one, writes shut out or not; -1 at the deadline. */
static int await_successor(struct hf_sandbox_repl *repl, uint64_t deadline_ms)
{
    int place = -1;

    HF_LOCKED(&repl->state);
    for (;;) {
        place = successor(repl, hf_sandbox_engine_applied(repl->engine));
        if (place >= 0 || repl->config->data_members < 2 || hf_clock_mono_ms() >= deadline_ms ||
            hf_sandbox_repl_stopping(repl)) {
            return place;
        }
        (void)hf_cond_wait_for(&repl->changed, &repl->state, 20);
    }
}

/* Tells the successor not to wait for its time-out. */
static void hand_over(struct hf_sandbox_repl *repl, int place)
{
    HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
    bson_t *command = BCON_NEW("replSetStepUp", BCON_INT32(1), "skipDryRun", BCON_BOOL(true));
    bson_t *reply = NULL;
    char host[HF_SANDBOX_HOST_BYTES];
    struct hf_error err;

    hf_mutex_lock(&repl->state);
    memcpy(host, repl->config->members[place].host, sizeof host);
    hf_mutex_unlock(&repl->state);
    if (hf_sandbox_client_open(host, hf_sandbox_repl_key_of(repl), VOTE_TIMEOUT_MS, &client,
                               &err) != HF_ERR_OK ||
        hf_sandbox_client_run(client, command, VOTE_TIMEOUT_MS, &reply, &err) != HF_ERR_OK) {
        hf_log_info(repl->log, "repl.hand_over_failed", HF_STR("error", err.message));
    }
    bson_destroy(reply);
    bson_destroy(command);
}

int32_t hf_sandbox_repl_step_down(struct hf_sandbox_repl *repl, const bson_t *command,
                                  bson_t *reply, struct hf_sandbox_refusal *no)
{
    int64_t seconds = hf_sandbox_get_int64(command, "replSetStepDown", 60);
    int64_t wait_s = hf_sandbox_get_int64(command, "secondaryCatchUpPeriodSecs", 10);
    bool force = hf_sandbox_get_true(command, "force");
    uint64_t deadline_ms = hf_clock_mono_ms() + (uint64_t)(wait_s < 0 ? 0 : wait_s) * 1000;
    int64_t term = hf_sandbox_repl_term(repl);
    int place;

    (void)reply;
    if (!hf_sandbox_repl_enabled(repl)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NO_REPLICATION_ENABLED,
                                 "not running with --replSet");
    }
    if (seconds < 0 ||
        (wait_s >= seconds && bson_has_field(command, "secondaryCatchUpPeriodSecs"))) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE,
                                 "stepdown period must be longer than secondaryCatchUpPeriodSecs");
    }
    if (hf_sandbox_repl_state(repl) != HF_SANDBOX_PRIMARY) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NOT_WRITABLE_PRIMARY,
                                 "not primary so can't step down");
    }
    /* Writers are shut out while a successor catches up with the last of them. */
    hf_sandbox_engine_set_role(repl->engine, false, term);
    place = await_successor(repl, deadline_ms);
    if (place < 0 && !force) {
        hf_mutex_lock(&repl->state);
        if (repl->mine == HF_SANDBOX_PRIMARY && repl->term == term) {
            hf_sandbox_engine_set_role(repl->engine, true, term);
        }
        hf_mutex_unlock(&repl->state);
        return hf_sandbox_refuse(no, 262,
                                 "No electable secondaries caught up as of the time limit. Please "
                                 "use the replSetStepDown command with the argument {force: true} "
                                 "to force node to step down.");
    }
    hf_mutex_lock(&repl->state);
    repl->frozen_until_ms = hf_clock_mono_ms() + (uint64_t)seconds * 1000;
    hf_mutex_unlock(&repl->state);
    hf_sandbox_vote_step_down(repl, term);
    if (place >= 0) {
        hand_over(repl, place);
    }
    return 0;
}
