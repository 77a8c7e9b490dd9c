/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats, by which members and their configuration become known, and elections: a candidate asks, voters answer, a
 * winner takes over, a loser of its majority steps down.
 *
 * Question and answer of a heartbeat both say what the sender is and has; whoever has the newer configuration gives it
 * along. A vote is given once a term, only to who has at least one's own entries, not while a primary is there that
 * should stay, and is on disk before it is said. A candidate's term becomes its own when it has won: one that was cut
 * off disturbs nobody.
 */
#include <stdio.h>

#include "sandbox/repl_internal.h"

#define ELECTION_NS "local.replset.election"
#define ASK_TIMEOUT_MS 2000 /* at most: one that hangs delays what else the coordinator does */
#define FIRST_RETRY_MS 500

/* ---- Heartbeats ---- */

/* Under state: what this member is and has; with the configuration for whoever has an older one. */
static void append_self(struct hf_sandbox_repl *repl, int64_t config_term, int64_t version,
                        bson_t *out)
{
    const struct hf_sandbox_config *config = repl->config;
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    struct hf_sandbox_optime durable = hf_sandbox_engine_durable(repl->engine);
    struct hf_sandbox_optime committed = hf_sandbox_repl_committed(repl);

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

/* Under state: takes in what another member said of itself; NULL: it does not answer. */
static void learn(struct hf_sandbox_repl *repl, size_t place, const bson_t *said)
{
    struct hf_sandbox_view *view = &repl->views[place];
    uint64_t now = hf_clock_mono_ms();
    bool primary = false;

    if (said == NULL) {
        view->up = false;
        view->state = HF_SANDBOX_DOWN;
    } else {
        struct hf_sandbox_optime committed = hf_sandbox_get_optime(said, "lastCommitted");
        int64_t term = hf_sandbox_get_int64(said, "term", -1);

        *view = (struct hf_sandbox_view){
            .up = true,
            .state = (enum hf_sandbox_state)hf_sandbox_get_int64(said, "state", HF_SANDBOX_UNKNOWN),
            .applied = hf_sandbox_get_optime(said, "opTime"),
            .durable = hf_sandbox_get_optime(said, "durableOpTime"),
            .config_version = hf_sandbox_get_int64(said, "v", -2),
            .config_term = hf_sandbox_get_int64(said, "configTerm", -1),
            .heard_mono_ms = now,
            .replied_wall_ms = view->replied_wall_ms,
            .called_wall_ms = view->called_wall_ms,
            .up_since_ms = view->up ? view->up_since_ms : now,
            .election_ts = hf_sandbox_get_ts(said, "electionTime")};
        hf_sandbox_repl_see_term(repl, term);
        if (committed.ts > repl->committed_seen.ts) {
            repl->committed_seen = committed;
        }
        primary = view->state == HF_SANDBOX_PRIMARY && term == repl->term &&
                  repl->mine != HF_SANDBOX_PRIMARY;
    }
    if (primary) {
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

    if (hf_sandbox_get_doc(message, "config", &doc) &&
        hf_sandbox_config_install(repl, &doc, &err) != HF_ERR_OK) {
        hf_log_warn(repl->log, "repl.config_refused", HF_STR("error", err.message));
    }
}

/* One question and its answer; false past the last member. */
static bool beat(struct hf_sandbox_repl *repl, size_t place)
{
    HF_CLEANUP(bson_destroy) bson_t *question = NULL;
    HF_CLEANUP(bson_destroy) bson_t *answer = NULL;
    struct hf_sandbox_view *view = &repl->views[place];
    char host[HF_SANDBOX_HOST_BYTES] = "";
    struct hf_sandbox_peer peer = hf_sandbox_repl_peer(repl, host, ASK_TIMEOUT_MS);
    struct hf_error err;

    {
        HF_LOCKED(&repl->state);
        if (place >= repl->config->count || repl->config->self < 0 ||
            repl->config->members[place].self) {
            return place < repl->config->count;
        }
        memcpy(host, repl->config->members[place].host, sizeof host);
        question = BCON_NEW("replSetHeartbeat", BCON_UTF8(repl->options->repl_set), "from",
                            BCON_UTF8(repl->config->members[repl->config->self].host));
        append_self(repl, view->config_term, view->config_version, question);
    }
    if (hf_sandbox_client_run(&repl->peers[place], &peer, question, &answer, &err) == HF_ERR_OK) {
        take_config(repl, answer);
    }
    HF_LOCKED(&repl->state);
    if (place < repl->config->count &&
        strcmp(repl->config->members[place].host, host) == 0) { /* still the same there */
        view->replied_wall_ms = answer != NULL ? hf_clock_wall_ms() : view->replied_wall_ms;
        learn(repl, place, answer);
    }
    return true;
}

void hf_sandbox_vote_beat_all(struct hf_sandbox_repl *repl)
{
    for (size_t i = 0; !hf_sandbox_repl_stopping(repl) && beat(repl, i); i++) {
    }
}

int32_t hf_sandbox_vote_answer_beat(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    const char *set = hf_sandbox_get_utf8(ask->command, "replSetHeartbeat", "");
    const char *from = hf_sandbox_get_utf8(ask->command, "from", "");

    if (strcmp(set, repl->options->repl_set) != 0) {
        return hf_sandbox_refuse(ask->no, 99, "Our set name of %s does not match the set name %s",
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

    if (hf_sandbox_local_get(repl->engine, ELECTION_NS, false, &doc, err) != HF_ERR_OK) {
        return err->code;
    }
    repl->voted_term = doc == NULL ? 0 : hf_sandbox_get_int64(doc, "term", 0);
    repl->term = hf_sandbox_engine_applied(repl->engine).term;
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
                             int64_t term, int64_t candidate)
{
    const struct hf_sandbox_config *config = repl->config;

    if (config->self < 0 || candidate < 0 || candidate >= (int64_t)config->count) {
        return "not in a set with the candidate";
    }
    if (hf_sandbox_config_compare(repl, hf_sandbox_get_int64(command, "configTerm", 0),
                                  hf_sandbox_get_int64(command, "configVersion", 0)) < 0) {
        return "candidate's config is older than mine";
    }
    if (term <= repl->voted_term || term <= repl->term) {
        return "candidate's term is lower than mine, or I voted in it";
    }
    if (repl->primary >= 0 &&
        config->members[repl->primary].priority >= config->members[candidate].priority) {
        return "there is a primary";
    }
    return hf_sandbox_optime_compare(hf_sandbox_get_optime(command, "lastAppliedOpTime"),
                                     hf_sandbox_engine_applied(repl->engine)) < 0
               ? "candidate's data is staler than mine"
               : NULL;
}

/* Under state: what replSetGetStatus tells of the last election. */
static void note_election(struct hf_sandbox_repl *repl, const char *name, bson_t *metrics_take)
{
    bson_destroy(repl->election);
    repl->election = metrics_take;
    repl->election_name = name;
}

int32_t hf_sandbox_vote_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    struct hf_sandbox_optime seen = hf_sandbox_get_optime(ask->command, "lastAppliedOpTime");
    int64_t term = hf_sandbox_get_int64(ask->command, "term", -1);
    int64_t candidate = hf_sandbox_get_int64(ask->command, "candidateIndex", 0);
    struct hf_error err;
    const char *reason;

    hf_mutex_lock(&repl->state);
    reason = objection(repl, ask->command, term, candidate);
    if (reason == NULL) {
        const struct hf_sandbox_member *members = repl->config->members;

        hf_sandbox_repl_see_term(repl, term);
        repl->voted_term = term;
        hf_sandbox_repl_put_off_election(repl);
        note_election(
            repl, "electionParticipantMetrics",
            BCON_NEW("votedForCandidate", BCON_BOOL(true), "electionTerm", BCON_INT64(term),
                     "lastVoteDate", BCON_DATE_TIME((int64_t)hf_clock_wall_ms()),
                     "electionCandidateMemberId", BCON_INT32(members[candidate].id), "voteReason",
                     "", "lastAppliedOpTimeAtElection", HF_SANDBOX_BCON_OPTIME(applied),
                     "maxAppliedOpTimeInSet", HF_SANDBOX_BCON_OPTIME(seen), "priorityAtElection",
                     BCON_DOUBLE(members[repl->config->self].priority)));
    }
    BCON_APPEND(ask->reply, "term", BCON_INT64(repl->term), "voteGranted",
                BCON_BOOL(reason == NULL), "reason", BCON_UTF8(reason == NULL ? "" : reason));
    hf_mutex_unlock(&repl->state);
    return reason != NULL
               ? 0
               : hf_sandbox_repl_result(store_vote(repl, term, candidate, &err), &err, ask->no);
}

/* One command to one member, on a connection of its own. */
static enum hf_err tell(struct hf_sandbox_repl *repl, const char *host, const bson_t *command,
                        bson_t **reply, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
    const struct hf_sandbox_peer peer = hf_sandbox_repl_peer(repl, host, ASK_TIMEOUT_MS);

    return hf_sandbox_client_run(&client, &peer, command, reply, err);
}

static bool ask_for_vote(struct hf_sandbox_repl *repl, const char *host, const bson_t *question)
{
    HF_CLEANUP(bson_destroy) bson_t *reply = NULL;
    struct hf_error err;

    if (tell(repl, host, question, &reply, &err) == HF_ERR_OK &&
        hf_sandbox_get_true(reply, "voteGranted")) {
        return true;
    }
    hf_log_info(
        repl->log, "repl.vote_denied", HF_STR("by", host),
        HF_STR("reason", reply == NULL ? err.message : hf_sandbox_get_utf8(reply, "reason", "")));
    return false;
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
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    const struct hf_sandbox_entry entry = {.op = "c", .ns = "config.$cmd", .uuid = uuid, .o = o};
    const bson_t empty = BSON_INITIALIZER;
    char ns[HF_SANDBOX_NS_BYTES];

    (void)snprintf(ns, sizeof ns, "config.%s", name);
    hf_sandbox_uuid_make(uuid);
    if (hf_sandbox_txn_begin(repl->engine, &options, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_sandbox_txn_find(txn, ns) != NULL) {
        return HF_ERR_OK;
    }
    return hf_sandbox_txn_log(txn, &entry, NULL, err) != HF_ERR_OK ||
                   hf_sandbox_coll_create(txn, ns, &empty, uuid, NULL, err) != HF_ERR_OK
               ? err->code
               : hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
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
static void take_over(struct hf_sandbox_repl *repl, int64_t term, const char *reason)
{
    HF_CLEANUP(bson_destroy) bson_t *note = BCON_NEW("msg", "new primary");
    struct hf_sandbox_optime applied;
    struct hf_sandbox_optime majority = hf_sandbox_engine_majority(repl->engine);
    int64_t won_ms = (int64_t)hf_clock_wall_ms();
    struct hf_error err;
    bool good;

    HF_LOCKED(&repl->apply);
    applied = hf_sandbox_engine_applied(repl->engine);
    hf_sandbox_engine_set_role(repl->engine, true, term);
    good = create_if_missing(repl, "transactions", &err) == HF_ERR_OK &&
           hf_sandbox_repl_note(repl, note, &err) == HF_ERR_OK &&
           create_if_missing(repl, "system.indexBuilds", &err) == HF_ERR_OK &&
           renew_config(repl, term, &err) == HF_ERR_OK;
    HF_LOCKED(&repl->state);
    if (!good || repl->term > term || repl->mine != HF_SANDBOX_SECONDARY) {
        hf_sandbox_engine_set_role(repl->engine, false, term);
        hf_log_error(repl->log, "repl.take_over_failed",
                     HF_STR("error", good ? "another one has a higher term" : err.message));
        return;
    }
    repl->term = term;
    repl->won_term = term;
    repl->election_ts = HF_SANDBOX_TS(hf_clock_wall_ms() / 1000, 1);
    repl->primary = repl->config->self;
    repl->primary_since_ms = hf_clock_mono_ms();
    repl->step_down_wanted = false;
    note_election(repl, "electionCandidateMetrics",
                  BCON_NEW("lastElectionReason", BCON_UTF8(reason), "lastElectionDate",
                           BCON_DATE_TIME(won_ms), "electionTerm", BCON_INT64(term),
                           "lastCommittedOpTimeAtElection", HF_SANDBOX_BCON_OPTIME(majority),
                           "lastSeenOpTimeAtElection", HF_SANDBOX_BCON_OPTIME(applied),
                           "numVotesNeeded", BCON_INT32(repl->config->vote_majority),
                           "priorityAtElection",
                           BCON_DOUBLE(repl->config->members[repl->primary].priority),
                           "electionTimeoutMillis", BCON_INT64((int64_t)repl->config->election_ms),
                           "numCatchUpOps", BCON_INT64(0), "newTermStartDate",
                           BCON_DATE_TIME((int64_t)hf_clock_wall_ms())));
    hf_sandbox_repl_set_state(repl, HF_SANDBOX_PRIMARY);
    hf_log_info(repl->log, "repl.primary", HF_U64("term", (uint64_t)term));
}

/* Asks all who answer heartbeats, one after the other. */
void hf_sandbox_vote_campaign(struct hf_sandbox_repl *repl, const char *reason)
{
    HF_CLEANUP(bson_destroy) bson_t *question = NULL;
    char hosts[HF_SANDBOX_MEMBERS_MAX][HF_SANDBOX_HOST_BYTES];
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    const struct hf_sandbox_config *config;
    struct hf_error err;
    int64_t term, self;
    int32_t needed;
    size_t count = 0;

    hf_mutex_lock(&repl->state);
    config = repl->config;
    hf_sandbox_repl_put_off_election(repl);
    if (repl->term == 0) { /* a new set, whose members do not all know of it yet */
        repl->election_due_ms = hf_clock_mono_ms() + FIRST_RETRY_MS;
    }
    term = (repl->term > repl->voted_term ? repl->term : repl->voted_term) + 1;
    repl->voted_term = term;
    self = config->self;
    needed = config->vote_majority - (config->members[self].votes != 0);
    for (size_t i = 0; i < config->count; i++) {
        if (!config->members[i].self && config->members[i].votes != 0 && repl->views[i].up) {
            memcpy(hosts[count++], config->members[i].host, HF_SANDBOX_HOST_BYTES);
        }
    }
    question =
        BCON_NEW("replSetRequestVotes", BCON_INT32(1), "setName",
                 BCON_UTF8(repl->options->repl_set), "term", BCON_INT64(term), "candidateIndex",
                 BCON_INT64(self), "configVersion", BCON_INT64(config->version), "configTerm",
                 BCON_INT64(config->term), "lastAppliedOpTime", HF_SANDBOX_BCON_OPTIME(applied));
    hf_mutex_unlock(&repl->state);
    if (store_vote(repl, term, self, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.vote_not_stored", HF_STR("error", err.message));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        needed -= ask_for_vote(repl, hosts[i], question);
    }
    if (needed > 0) {
        hf_log_info(repl->log, "repl.election_lost", HF_U64("term", (uint64_t)term));
    } else {
        take_over(repl, term, reason);
    }
}

/* ---- Stepping down ---- */

void hf_sandbox_vote_step_down(struct hf_sandbox_repl *repl)
{
    struct hf_error err;
    bool was;

    {
        HF_LOCKED(&repl->apply);
        HF_LOCKED(&repl->state);
        repl->step_down_wanted = false;
        was = repl->mine == HF_SANDBOX_PRIMARY;
        if (was) {
            hf_sandbox_engine_set_role(repl->engine, false, repl->term);
            repl->primary = -1;
            note_election(repl, NULL, NULL);
            hf_sandbox_repl_put_off_election(repl);
            hf_sandbox_repl_set_state(repl, HF_SANDBOX_SECONDARY);
            hf_log_info(repl->log, "repl.stepped_down", HF_U64("term", (uint64_t)repl->term));
        }
    }
    /* A secondary's oplog has no holes to cut. */
    if (was && hf_sandbox_local_set_truncate_after(repl->engine, 0, &err) != HF_ERR_OK) {
        hf_log_error(repl->log, "repl.step_down", HF_STR("error", err.message));
    }
}

/* Under state: an electable member that has all we have; NULL: none. */
static const char *successor(const struct hf_sandbox_repl *repl)
{
    for (size_t i = 0; i < repl->config->count; i++) {
        const struct hf_sandbox_member *member = &repl->config->members[i];
        const struct hf_sandbox_view *view = &repl->views[i];

        if (!member->self && member->priority > 0 && view->up &&
            view->state == HF_SANDBOX_SECONDARY &&
            hf_sandbox_optime_compare(view->applied, hf_sandbox_engine_applied(repl->engine)) >=
                0) {
            return member->host;
        }
    }
    return NULL;
}

/* Writers are shut out while a successor catches up with the last of them; it need not wait for its time-out. */
int32_t hf_sandbox_vote_hand_over(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    HF_CLEANUP(bson_destroy) bson_t *step_up = BCON_NEW("replSetStepUp", BCON_INT32(1));
    HF_CLEANUP(bson_destroy) bson_t *ignored = NULL;
    int64_t seconds = hf_sandbox_get_int64(ask->command, "replSetStepDown", 60);
    int64_t wait_s = hf_sandbox_get_int64(ask->command, "secondaryCatchUpPeriodSecs", 10);
    uint64_t deadline_ms = hf_clock_mono_ms() + (uint64_t)(wait_s < 0 ? 0 : wait_s) * 1000;
    char host[HF_SANDBOX_HOST_BYTES] = "";
    const char *found;
    struct hf_error err;

    if (hf_sandbox_repl_state(repl) != HF_SANDBOX_PRIMARY) {
        return hf_sandbox_refuse(ask->no, HF_SANDBOX_NOT_WRITABLE_PRIMARY,
                                 "not primary so can't step down");
    }
    hf_sandbox_engine_set_role(repl->engine, false, hf_sandbox_repl_term(repl));
    {
        HF_LOCKED(&repl->state);
        while ((found = successor(repl)) == NULL && repl->config->data_members > 1 &&
               hf_clock_mono_ms() < deadline_ms && !hf_sandbox_repl_stopping(repl)) {
            (void)hf_cond_wait_for(&repl->changed, &repl->state, 20);
        }
        if (found == NULL && !hf_sandbox_get_true(ask->command, "force")) {
            if (repl->mine == HF_SANDBOX_PRIMARY) {
                hf_sandbox_engine_set_role(repl->engine, true, repl->term);
            }
            return hf_sandbox_refuse(ask->no, 262,
                                     "No electable secondaries caught up as of the time limit. "
                                     "Please use the replSetStepDown command with the argument "
                                     "{force: true} to force node to step down.");
        }
        repl->frozen_until_ms = hf_clock_mono_ms() + (uint64_t)(seconds < 0 ? 0 : seconds) * 1000;
        (void)snprintf(host, sizeof host, "%s", found == NULL ? "" : found);
    }
    hf_sandbox_vote_step_down(repl);
    if (host[0] != '\0' && tell(repl, host, step_up, &ignored, &err) != HF_ERR_OK) {
        hf_log_info(repl->log, "repl.hand_over_failed", HF_STR("error", err.message));
    }
    return 0;
}
