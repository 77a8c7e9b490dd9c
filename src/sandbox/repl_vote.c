/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats, by which members and their configuration become known, and elections: a candidate asks, voters answer, a
 * winner takes over, a loser of its majority steps down.
 *
 * Question and answer of a heartbeat both say what the sender is and has; whoever has the newer configuration gives it
 * along. A vote is given once a term, only to who has at least one's own entries, and is on disk before it is said. A
 * campaign asks first whether it would win (dry run), so that a member that was cut off disturbs nobody with new terms.
 */
#include <stdio.h>

#include "sandbox/repl_internal.h"

#define ELECTION_NS "local.replset.election"
#define VOTE_TIMEOUT_MS 2000
#define BEAT_TIMEOUT_MS 2000 /* at most: one that hangs delays what else the coordinator does */
#define FIRST_RETRY_MS 500

/* ---- Heartbeats ---- */

/* Under state: what this member is and has; with the configuration for whoever has an older one. */
static void append_self(struct hf_sandbox_repl *repl, int64_t config_term, int64_t version,
                        bson_t *out)
{
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    struct hf_sandbox_optime durable = hf_sandbox_engine_durable(repl->engine);
    struct hf_sandbox_optime committed = repl->mine == HF_SANDBOX_ARBITER
                                             ? repl->committed_seen
                                             : hf_sandbox_engine_majority(repl->engine);
    const struct hf_sandbox_config *config = repl->config;

    BCON_APPEND(out, "term", BCON_INT64(repl->term), "state", BCON_INT32((int32_t)repl->mine), "v",
                BCON_INT64(config == NULL ? -2 : config->version), "configTerm",
                BCON_INT64(config == NULL ? -1 : config->term), "opTime",
                HF_SANDBOX_BCON_OPTIME(applied), "durableOpTime", HF_SANDBOX_BCON_OPTIME(durable),
                "lastCommitted", HF_SANDBOX_BCON_OPTIME(committed), "electionTime",
                HF_SANDBOX_BCON_TS(repl->election_ts));
    if (config != NULL && hf_sandbox_config_compare(repl, config_term, version) < 0) {
        (void)BSON_APPEND_DOCUMENT(out, "config", config->doc);
    }
}

/* Under state. */
static void set_primary(struct hf_sandbox_repl *repl, int place)
{
    if (repl->primary != place) {
        repl->primary = place;
        repl->topology++;
        hf_cond_broadcast(&repl->changed);
    }
}

/* Under state: takes in what another member said of itself. */
static void learn(struct hf_sandbox_repl *repl, size_t place, const bson_t *said)
{
    struct hf_sandbox_view *view = &repl->views[place];
    struct hf_sandbox_optime committed = hf_sandbox_get_optime(said, "lastCommitted");
    int64_t term = hf_sandbox_get_int64(said, "term", -1);

    view->heard_mono_ms = hf_clock_mono_ms();
    view->up_since_ms = view->up ? view->up_since_ms : view->heard_mono_ms;
    view->up = true;
    view->state = (enum hf_sandbox_state)hf_sandbox_get_int64(said, "state", HF_SANDBOX_UNKNOWN);
    view->config_version = hf_sandbox_get_int64(said, "v", -2);
    view->config_term = hf_sandbox_get_int64(said, "configTerm", -1);
    view->applied = hf_sandbox_get_optime(said, "opTime");
    view->durable = hf_sandbox_get_optime(said, "durableOpTime");
    view->election_ts = hf_sandbox_get_ts(said, "electionTime");
    hf_sandbox_repl_see_term(repl, term);
    if (committed.ts > repl->committed_seen.ts) {
        repl->committed_seen = committed;
    }
    if (view->state == HF_SANDBOX_PRIMARY && term == repl->term &&
        repl->mine != HF_SANDBOX_PRIMARY) {
        hf_sandbox_repl_put_off_election(repl);
        set_primary(repl, (int)place);
    } else if (repl->primary == (int)place) {
        set_primary(repl, -1);
    }
    hf_sandbox_repl_advance(repl);
}

/* A newer configuration that came along is put to use. */
static void take_config(struct hf_sandbox_repl *repl, const bson_t *message)
{
    struct hf_error err;
    bson_t doc;
    bool newer;

    if (!hf_sandbox_get_doc(message, "config", &doc)) {
        return;
    }
    hf_mutex_lock(&repl->state);
    newer = hf_sandbox_config_compare(repl, hf_sandbox_get_int64(&doc, "term", 0),
                                      hf_sandbox_get_int64(&doc, "version", 0)) > 0;
    hf_mutex_unlock(&repl->state);
    if (newer && (hf_sandbox_repl_make_local(repl, &err) != HF_ERR_OK ||
                  hf_sandbox_config_install(repl, &doc, &err) != HF_ERR_OK)) {
        hf_log_warn(repl->log, "repl.config_refused", HF_STR("error", err.message));
    }
}

/* One question and its answer. */
static void beat(struct hf_sandbox_repl *repl, size_t place)
{
    HF_CLEANUP(bson_destroy) bson_t *question = NULL;
    HF_CLEANUP(bson_destroy) bson_t *answer = NULL;
    struct hf_sandbox_view *view = &repl->views[place];
    char host[HF_SANDBOX_HOST_BYTES] = "";
    struct hf_sandbox_peer peer = hf_sandbox_repl_peer(repl, host, BEAT_TIMEOUT_MS);
    struct hf_error err;
    enum hf_err result;

    hf_mutex_lock(&repl->state);
    memcpy(host, repl->config->members[place].host, sizeof host);
    peer.timeout_ms =
        repl->config->timeout_ms < BEAT_TIMEOUT_MS ? repl->config->timeout_ms : BEAT_TIMEOUT_MS;
    question = BCON_NEW("replSetHeartbeat", BCON_UTF8(repl->options->repl_set), "from",
                        BCON_UTF8(repl->config->members[repl->config->self].host));
    append_self(repl, view->config_term, view->config_version, question);
    hf_mutex_unlock(&repl->state);
    result = hf_sandbox_client_run(&repl->peers[place], &peer, question, &answer, &err);
    if (result == HF_ERR_OK) {
        take_config(repl, answer);
    }
    HF_LOCKED(&repl->state);
    if (place >= repl->config->count || strcmp(repl->config->members[place].host, host) != 0) {
        return; /* another one stands there now */
    }
    if (result == HF_ERR_OK) {
        view->replied_wall_ms = hf_clock_wall_ms();
        learn(repl, place, answer);
        return;
    }
    view->up = false;
    view->state = HF_SANDBOX_DOWN;
    if (repl->primary == (int)place) {
        set_primary(repl, -1);
    }
}

void hf_sandbox_vote_beat_all(struct hf_sandbox_repl *repl)
{
    for (size_t i = 0; !hf_sandbox_repl_stopping(repl); i++) {
        bool end, skip;

        hf_mutex_lock(&repl->state);
        end = i >= repl->config->count || repl->config->self < 0;
        skip = !end && repl->config->members[i].self;
        hf_mutex_unlock(&repl->state);
        if (end) {
            return;
        }
        if (!skip) {
            beat(repl, i);
        }
    }
}

int32_t hf_sandbox_vote_answer_beat(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    const char *set = hf_sandbox_get_utf8(ask->command, "replSetHeartbeat", "");
    const char *from = hf_sandbox_get_utf8(ask->command, "from", "");

    if (strcmp(set, repl->options->repl_set) != 0) {
        return hf_sandbox_refuse(ask->no, 99,
                                 "Our set name of %s does not match the set name %s reported by "
                                 "remote node",
                                 repl->options->repl_set, set);
    }
    take_config(repl, ask->command);
    HF_LOCKED(&repl->state);
    for (size_t i = 0; repl->config != NULL && i < repl->config->count; i++) {
        if (strcmp(repl->config->members[i].host, from) == 0 && !repl->config->members[i].self) {
            repl->views[i].called_wall_ms = hf_clock_wall_ms();
            learn(repl, i, ask->command);
        }
    }
    append_self(repl, hf_sandbox_get_int64(ask->command, "configTerm", -1),
                hf_sandbox_get_int64(ask->command, "v", -2), ask->reply);
    return 0;
}

/* ---- Voting ---- */

enum hf_err hf_sandbox_vote_load(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *doc = NULL;

    if (hf_sandbox_local_get(repl->engine, ELECTION_NS, &doc, err) != HF_ERR_OK) {
        return err->code;
    }
    repl->voted_term = doc == NULL ? 0 : hf_sandbox_get_int64(doc, "term", 0);
    repl->term = repl->voted_term > repl->term ? repl->voted_term : repl->term;
    return HF_ERR_OK;
}

static enum hf_err store_vote(struct hf_sandbox_repl *repl, int64_t term, int64_t candidate,
                              struct hf_error *err)
{
    HF_CLEANUP(bson_destroy)
    bson_t *fields = BCON_NEW("term", BCON_INT64(term), "candidateIndex", BCON_INT64(candidate));

    return hf_sandbox_local_set(repl->engine, NULL, ELECTION_NS, NULL, fields, err) != HF_ERR_OK
               ? err->code
               : hf_sandbox_engine_flush(repl->engine, err);
}

/* Under state: why not; NULL: yes. */
static const char *objection(const struct hf_sandbox_repl *repl, const bson_t *command,
                             int64_t term, bool dry_run)
{
    if (repl->config == NULL || repl->config->self < 0) {
        return "not in a set";
    }
    if (hf_sandbox_config_compare(repl, hf_sandbox_get_int64(command, "configTerm", 0),
                                  hf_sandbox_get_int64(command, "configVersion", 0)) < 0) {
        return "candidate's config is older than mine";
    }
    if (term < repl->term) {
        return "candidate's term is lower than mine";
    }
    if (hf_sandbox_optime_compare(hf_sandbox_get_optime(command, "lastAppliedOpTime"),
                                  hf_sandbox_engine_applied(repl->engine)) < 0) {
        return "candidate's data is staler than mine";
    }
    return !dry_run && term <= repl->voted_term ? "already voted for another candidate this term"
                                                : NULL;
}

/* Under state: what replSetGetStatus tells of the last election. */
static void note_election(struct hf_sandbox_repl *repl, const char *name, bson_t *metrics_take)
{
    bson_destroy(repl->election);
    repl->election = metrics_take;
    repl->election_name = name;
}

/* Under state. */
static void note_vote(struct hf_sandbox_repl *repl, int64_t candidate, int64_t term,
                      struct hf_sandbox_optime seen)
{
    const struct hf_sandbox_member *members = repl->config->members;
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);

    note_election(
        repl, "electionParticipantMetrics",
        BCON_NEW("votedForCandidate", BCON_BOOL(true), "electionTerm", BCON_INT64(term),
                 "lastVoteDate", BCON_DATE_TIME((int64_t)hf_clock_wall_ms()),
                 "electionCandidateMemberId",
                 BCON_INT32(candidate < (int64_t)repl->config->count ? members[candidate].id : -1),
                 "voteReason", "", "lastAppliedOpTimeAtElection", HF_SANDBOX_BCON_OPTIME(applied),
                 "maxAppliedOpTimeInSet", HF_SANDBOX_BCON_OPTIME(seen), "priorityAtElection",
                 BCON_DOUBLE(members[repl->config->self].priority)));
}

int32_t hf_sandbox_vote_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    bool dry_run = hf_sandbox_get_true(ask->command, "dryRun");
    int64_t term = hf_sandbox_get_int64(ask->command, "term", -1);
    int64_t candidate = hf_sandbox_get_int64(ask->command, "candidateIndex", 0);
    struct hf_error err;
    const char *reason;

    hf_mutex_lock(&repl->state);
    reason = objection(repl, ask->command, term, dry_run);
    if (!dry_run && reason == NULL) {
        hf_sandbox_repl_see_term(repl, term);
        repl->voted_term = term;
        hf_sandbox_repl_put_off_election(repl);
        note_vote(repl, candidate, term, hf_sandbox_get_optime(ask->command, "lastAppliedOpTime"));
    }
    BCON_APPEND(ask->reply, "term", BCON_INT64(repl->term), "voteGranted",
                BCON_BOOL(reason == NULL), "reason", BCON_UTF8(reason == NULL ? "" : reason));
    hf_mutex_unlock(&repl->state);
    return !dry_run && reason == NULL && store_vote(repl, term, candidate, &err) != HF_ERR_OK
               ? hf_sandbox_repl_internal_error(ask->no, &err)
               : 0;
}

/* ---- Running ---- */

/* One command to one member, on a connection of its own. */
static enum hf_err tell(struct hf_sandbox_repl *repl, const char *host, const bson_t *command,
                        bson_t **reply, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
    const struct hf_sandbox_peer peer = hf_sandbox_repl_peer(repl, host, VOTE_TIMEOUT_MS);

    return hf_sandbox_client_run(&client, &peer, command, reply, err);
}

static bool ask_for_vote(struct hf_sandbox_repl *repl, const char *host, const bson_t *question)
{
    HF_CLEANUP(bson_destroy) bson_t *reply = NULL;
    struct hf_error err;

    if (tell(repl, host, question, &reply, &err) != HF_ERR_OK) {
        return false;
    }
    if (!hf_sandbox_get_true(reply, "voteGranted")) {
        hf_log_info(repl->log, "repl.vote_denied", HF_STR("by", host),
                    HF_STR("reason", hf_sandbox_get_utf8(reply, "reason", "")));
    }
    HF_LOCKED(&repl->state);
    hf_sandbox_repl_see_term(repl, hf_sandbox_get_int64(reply, "term", -1));
    return hf_sandbox_get_true(reply, "voteGranted");
}

/* Asks all who answer heartbeats, one after the other; true with a majority. */
static bool collect(struct hf_sandbox_repl *repl, int64_t term, bool dry_run)
{
    HF_CLEANUP(bson_destroy) bson_t *question = NULL;
    char hosts[HF_SANDBOX_MEMBERS_MAX][HF_SANDBOX_HOST_BYTES];
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    const struct hf_sandbox_config *config;
    int32_t needed;
    size_t count = 0;

    hf_mutex_lock(&repl->state);
    config = repl->config;
    needed = config->vote_majority - (config->members[config->self].votes != 0);
    for (size_t i = 0; i < config->count; i++) {
        if (!config->members[i].self && config->members[i].votes != 0 && repl->views[i].up) {
            memcpy(hosts[count++], config->members[i].host, HF_SANDBOX_HOST_BYTES);
        }
    }
    question = BCON_NEW(
        "replSetRequestVotes", BCON_INT32(1), "setName", BCON_UTF8(repl->options->repl_set),
        "dryRun", BCON_BOOL(dry_run), "term", BCON_INT64(term), "candidateIndex",
        BCON_INT64(config->self), "configVersion", BCON_INT64(config->version), "configTerm",
        BCON_INT64(config->term), "lastAppliedOpTime", HF_SANDBOX_BCON_OPTIME(applied));
    hf_mutex_unlock(&repl->state);
    for (size_t i = 0; i < count; i++) {
        needed -= ask_for_vote(repl, hosts[i], question);
    }
    return needed <= 0;
}

/* ---- Taking over ---- */

static enum hf_err create_if_missing(struct hf_sandbox_repl *repl, const char *name,
                                     struct hf_error *err)
{
    const struct hf_sandbox_txn_options options = {.write = true, .replicated = true};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(bson_destroy)
    bson_t *o = BCON_NEW("create", BCON_UTF8(name), "idIndex", "{", "v", BCON_INT32(2), "key", "{",
                         "_id", BCON_INT32(1), "}", "name", "_id_", "}");
    const bson_t empty = BSON_INITIALIZER;
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    const struct hf_sandbox_entry entry = {.op = "c", .ns = "config.$cmd", .uuid = uuid, .o = o};
    char ns[HF_SANDBOX_NS_BYTES];

    (void)snprintf(ns, sizeof ns, "config.%s", name);
    hf_sandbox_uuid_make(uuid);
    if (hf_sandbox_txn_begin(repl->engine, &options, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_sandbox_txn_find(txn, ns) != NULL) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_txn_log(txn, &entry, NULL, err) != HF_ERR_OK ||
        hf_sandbox_coll_create(txn, ns, &empty, uuid, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* The configuration carries the term of its primary. */
static enum hf_err renew_config(struct hf_sandbox_repl *repl, int64_t term, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *doc = bson_new();

    hf_mutex_lock(&repl->state);
    bson_copy_to_excluding_noinit(repl->config->doc, doc, "term", NULL);
    hf_mutex_unlock(&repl->state);
    (void)BSON_APPEND_INT64(doc, "term", term);
    return hf_sandbox_config_install(repl, doc, err);
}

/* The term begins with entries of its own; only then is the member primary, so that nobody's write comes before them. A
 * batch of the old primary's that is being applied ends first. */
static void take_over(struct hf_sandbox_repl *repl, int64_t term)
{
    HF_CLEANUP(bson_destroy) bson_t *note = BCON_NEW("msg", "new primary");
    struct hf_error err;
    bool good;

    HF_LOCKED(&repl->apply);
    hf_sandbox_engine_set_role(repl->engine, true, term);
    good = create_if_missing(repl, "transactions", &err) == HF_ERR_OK &&
           hf_sandbox_repl_note(repl, note, &err) == HF_ERR_OK &&
           create_if_missing(repl, "system.indexBuilds", &err) == HF_ERR_OK &&
           renew_config(repl, term, &err) == HF_ERR_OK;
    HF_LOCKED(&repl->state);
    if (!good || repl->term != term || repl->mine != HF_SANDBOX_SECONDARY) {
        hf_sandbox_engine_set_role(repl->engine, false, term);
        hf_log_error(repl->log, "repl.take_over_failed",
                     HF_STR("error", good ? "another one has a higher term" : err.message));
        return;
    }
    repl->election_ts = HF_SANDBOX_TS(hf_clock_wall_ms() / 1000, 1);
    repl->primary = repl->config->self;
    repl->primary_since_ms = hf_clock_mono_ms();
    (void)BSON_APPEND_DATE_TIME(repl->election, "newTermStartDate", (int64_t)hf_clock_wall_ms());
    hf_sandbox_repl_set_state(repl, HF_SANDBOX_PRIMARY);
    hf_log_info(repl->log, "repl.primary", HF_U64("term", (uint64_t)term));
}

void hf_sandbox_vote_campaign(struct hf_sandbox_repl *repl, const char *reason)
{
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    struct hf_sandbox_optime majority = hf_sandbox_engine_majority(repl->engine);
    struct hf_error err;
    int64_t term;

    hf_mutex_lock(&repl->state);
    hf_sandbox_repl_put_off_election(repl);
    if (repl->term == 0) { /* a new set, whose members do not all know of it yet */
        repl->election_due_ms = hf_clock_mono_ms() + FIRST_RETRY_MS;
    }
    term = repl->term;
    hf_mutex_unlock(&repl->state);
    if (!collect(repl, term, true)) {
        hf_log_info(repl->log, "repl.election_lost", HF_STR("phase", "dry run"));
        return;
    }
    hf_mutex_lock(&repl->state);
    if (repl->term != term || repl->mine != HF_SANDBOX_SECONDARY) {
        hf_mutex_unlock(&repl->state);
        return;
    }
    repl->voted_term = repl->term = ++term;
    note_election(repl, "electionCandidateMetrics",
                  BCON_NEW("lastElectionReason", BCON_UTF8(reason), "lastElectionDate",
                           BCON_DATE_TIME((int64_t)hf_clock_wall_ms()), "electionTerm",
                           BCON_INT64(term), "lastCommittedOpTimeAtElection",
                           HF_SANDBOX_BCON_OPTIME(majority), "lastSeenOpTimeAtElection",
                           HF_SANDBOX_BCON_OPTIME(applied), "numVotesNeeded",
                           BCON_INT32(repl->config->vote_majority), "priorityAtElection",
                           BCON_DOUBLE(repl->config->members[repl->config->self].priority),
                           "electionTimeoutMillis", BCON_INT64((int64_t)repl->config->election_ms),
                           "numCatchUpOps", BCON_INT64(0)));
    int self = repl->config->self;
    hf_mutex_unlock(&repl->state);
    if (store_vote(repl, term, self, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.vote_not_stored", HF_STR("error", err.message));
    } else if (!collect(repl, term, false)) {
        hf_log_info(repl->log, "repl.election_lost", HF_STR("phase", "vote"));
    } else {
        take_over(repl, term);
    }
}

/* ---- Stepping down ---- */

void hf_sandbox_vote_step_down(struct hf_sandbox_repl *repl, int64_t term)
{
    struct hf_error err;

    hf_mutex_lock(&repl->apply);
    hf_mutex_lock(&repl->state);
    bool was = repl->mine == HF_SANDBOX_PRIMARY;
    if (was) {
        hf_sandbox_engine_set_role(repl->engine, false, term);
        repl->primary = -1;
        note_election(repl, NULL, NULL);
        hf_sandbox_repl_put_off_election(repl);
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_SECONDARY);
        hf_log_info(repl->log, "repl.stepped_down", HF_U64("term", (uint64_t)term));
    }
    repl->step_down_wanted = false;
    hf_mutex_unlock(&repl->state);
    hf_mutex_unlock(&repl->apply);
    /* A secondary's oplog has no holes to cut. */
    if (was && hf_sandbox_local_set_truncate_after(repl->engine, 0, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.step_down", HF_STR("error", err.message));
    }
}

/* Waits for an electable member that has all we have, writes shut out; false at the deadline. */
static bool await_successor(struct hf_sandbox_repl *repl, uint64_t deadline_ms,
                            char host[HF_SANDBOX_HOST_BYTES])
{
    HF_LOCKED(&repl->state);
    for (;;) {
        for (size_t i = 0; i < repl->config->count; i++) {
            const struct hf_sandbox_member *member = &repl->config->members[i];
            const struct hf_sandbox_view *view = &repl->views[i];

            if (!member->self && member->priority > 0 && view->up &&
                view->state == HF_SANDBOX_SECONDARY &&
                hf_sandbox_optime_compare(view->applied, hf_sandbox_engine_applied(repl->engine)) >=
                    0) {
                memcpy(host, member->host, HF_SANDBOX_HOST_BYTES);
                return true;
            }
        }
        if (repl->config->data_members < 2 || hf_clock_mono_ms() >= deadline_ms ||
            hf_sandbox_repl_stopping(repl)) {
            return false;
        }
        (void)hf_cond_wait_for(&repl->changed, &repl->state, 20);
    }
}

int32_t hf_sandbox_repl_step_down(struct hf_sandbox_repl *repl, const bson_t *command,
                                  bson_t *reply, struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(bson_destroy) bson_t *step_up = BCON_NEW("replSetStepUp", BCON_INT32(1));
    HF_CLEANUP(bson_destroy) bson_t *ignored = NULL;
    int64_t seconds = hf_sandbox_get_int64(command, "replSetStepDown", 60);
    int64_t wait_s = hf_sandbox_get_int64(command, "secondaryCatchUpPeriodSecs", 10);
    uint64_t deadline_ms = hf_clock_mono_ms() + (uint64_t)(wait_s < 0 ? 0 : wait_s) * 1000;
    int64_t term = hf_sandbox_repl_term(repl);
    char host[HF_SANDBOX_HOST_BYTES];
    struct hf_error err;
    bool found;

    (void)reply;
    if (!hf_sandbox_repl_enabled(repl)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NO_REPLICATION_ENABLED,
                                 "not running with --replSet");
    }
    if (hf_sandbox_repl_state(repl) != HF_SANDBOX_PRIMARY) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NOT_WRITABLE_PRIMARY,
                                 "not primary so can't step down");
    }
    /* Writers are shut out while a successor catches up with the last of them. */
    hf_sandbox_engine_set_role(repl->engine, false, term);
    found = await_successor(repl, deadline_ms, host);
    hf_mutex_lock(&repl->state);
    if (!found && !hf_sandbox_get_true(command, "force")) {
        hf_sandbox_engine_set_role(repl->engine, repl->mine == HF_SANDBOX_PRIMARY, repl->term);
        hf_mutex_unlock(&repl->state);
        return hf_sandbox_refuse(no, 262,
                                 "No electable secondaries caught up as of the time limit. Please "
                                 "use the replSetStepDown command with the argument {force: true} "
                                 "to force node to step down.");
    }
    repl->frozen_until_ms = hf_clock_mono_ms() + (uint64_t)(seconds < 0 ? 0 : seconds) * 1000;
    hf_mutex_unlock(&repl->state);
    hf_sandbox_vote_step_down(repl, term);
    /* The successor need not wait for its time-out. */
    if (found && tell(repl, host, step_up, &ignored, &err) != HF_ERR_OK) {
        hf_log_info(repl->log, "repl.hand_over_failed", HF_STR("error", err.message));
    }
    return 0;
}
