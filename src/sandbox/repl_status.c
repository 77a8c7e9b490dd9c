/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a member says of itself and the set: hello, replSetGetStatus, replSetGetConfig, serverStatus. Fields, their
 * order and their types are those of the recorded answers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sandbox/repl_internal.h"

/* ---- hello ---- */

void hf_sandbox_repl_append_topology(struct hf_sandbox_repl *repl, bson_t *reply)
{
    bson_t version;

    HF_LOCKED(&repl->state);
    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "topologyVersion", &version);
    (void)BSON_APPEND_OID(&version, "processId", &repl->process_id);
    (void)BSON_APPEND_INT64(&version, "counter", repl->topology);
    (void)bson_append_document_end(reply, &version);
}

enum list { HOSTS, PASSIVES, ARBITERS };

/* hosts: who may become primary; passives: who may not but is seen; hidden ones are in none. */
static bool is_in(const struct hf_sandbox_member *member, enum list list)
{
    if (member->hidden) {
        return false;
    }
    if (member->arbiter) {
        return list == ARBITERS;
    }
    return list == (member->priority > 0 ? HOSTS : PASSIVES);
}

static void append_list(const struct hf_sandbox_config *config, const char *name, enum list list,
                        bson_t *reply)
{
    bson_t hosts;
    uint32_t at = 0;

    for (size_t i = 0; i < config->count; i++) {
        char text[16];
        const char *key;

        if (!is_in(&config->members[i], list)) {
            continue;
        }
        if (at == 0) {
            (void)bson_append_array_begin(reply, name, -1, &hosts);
        }
        (void)bson_uint32_to_string(at++, &key, text, sizeof text);
        (void)bson_append_utf8(&hosts, key, -1, config->members[i].host, -1);
    }
    if (at > 0) {
        (void)bson_append_array_end(reply, &hosts);
    } else if (list == HOSTS) {
        (void)bson_append_array_begin(reply, name, -1, &hosts);
        (void)bson_append_array_end(reply, &hosts);
    }
}

static void append_last_write(struct hf_sandbox_repl *repl, bson_t *reply)
{
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    struct hf_sandbox_optime majority = hf_sandbox_engine_majority(repl->engine);
    bson_t write;

    if (repl->mine == HF_SANDBOX_ARBITER) {
        applied = majority = repl->committed_seen;
    }
    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "lastWrite", &write);
    hf_sandbox_append_optime(&write, "opTime", applied);
    (void)BSON_APPEND_DATE_TIME(&write, "lastWriteDate",
                                (int64_t)hf_sandbox_ts_seconds(applied.ts) * 1000);
    if (majority.ts != 0) {
        hf_sandbox_append_optime(&write, "majorityOpTime", majority);
        (void)BSON_APPEND_DATE_TIME(&write, "majorityWriteDate",
                                    (int64_t)hf_sandbox_ts_seconds(majority.ts) * 1000);
    }
    (void)bson_append_document_end(reply, &write);
}

/* The member's own tags, as {name: value}; nothing when it has none. */
static void append_tags(const struct hf_sandbox_config *config, bson_t *reply)
{
    bson_t members;
    bson_t member;
    bson_t tags;
    char key[16];

    (void)snprintf(key, sizeof key, "%d", config->self);
    if (hf_sandbox_get_doc(config->doc, "members", &members) &&
        hf_sandbox_get_doc(&members, key, &member) && hf_sandbox_get_doc(&member, "tags", &tags) &&
        !bson_empty(&tags)) {
        (void)BSON_APPEND_DOCUMENT(reply, "tags", &tags);
    }
}

/* Under state. */
static void append_member_of_set(struct hf_sandbox_repl *repl, bool legacy, bson_t *reply)
{
    const struct hf_sandbox_config *config = repl->config;
    const struct hf_sandbox_member *self = config->self < 0 ? NULL : &config->members[config->self];
    bool primary = repl->mine == HF_SANDBOX_PRIMARY;
    bson_oid_t election;

    append_list(config, "hosts", HOSTS, reply);
    append_list(config, "passives", PASSIVES, reply);
    append_list(config, "arbiters", ARBITERS, reply);
    (void)BSON_APPEND_UTF8(reply, "setName", config->set);
    (void)BSON_APPEND_INT32(reply, "setVersion", (int32_t)config->version);
    (void)bson_append_bool(reply, legacy ? "ismaster" : "isWritablePrimary", -1, primary);
    (void)BSON_APPEND_BOOL(reply, "secondary", repl->mine == HF_SANDBOX_SECONDARY);
    if (repl->primary >= 0) {
        (void)BSON_APPEND_UTF8(reply, "primary", config->members[repl->primary].host);
    }
    if (self != NULL) {
        if (self->arbiter) {
            (void)BSON_APPEND_BOOL(reply, "arbiterOnly", true);
        }
        if (!self->arbiter && self->priority <= 0) {
            (void)BSON_APPEND_BOOL(reply, "passive", true);
        }
        if (self->hidden) {
            (void)BSON_APPEND_BOOL(reply, "hidden", true);
        }
        append_tags(config, reply);
        (void)BSON_APPEND_UTF8(reply, "me", self->host);
    }
    if (primary) {
        memset(&election, 0, sizeof election);
        memcpy(election.bytes, "\x7f\xff\xff\xff", 4);
        for (size_t i = 0; i < 8; i++) {
            election.bytes[4 + i] = (uint8_t)((uint64_t)repl->term >> (8 * (7 - i)));
        }
        (void)BSON_APPEND_OID(reply, "electionId", &election);
    }
    append_last_write(repl, reply);
}

static void append_repl(struct hf_sandbox_repl *repl, bool legacy, bson_t *reply)
{
    HF_LOCKED(&repl->state);
    if (repl->config != NULL) {
        append_member_of_set(repl, legacy, reply);
        return;
    }
    (void)bson_append_bool(reply, legacy ? "ismaster" : "isWritablePrimary", -1, false);
    (void)BSON_APPEND_BOOL(reply, "secondary", false);
    (void)BSON_APPEND_UTF8(reply, "info", "Does not have a valid replica set config");
    (void)BSON_APPEND_BOOL(reply, "isreplicaset", true);
}

void hf_sandbox_repl_append_hello(struct hf_sandbox_repl *repl, bool legacy, bson_t *reply)
{
    if (!hf_sandbox_repl_enabled(repl)) {
        (void)bson_append_bool(reply, legacy ? "ismaster" : "isWritablePrimary", -1, true);
        hf_sandbox_repl_append_topology(repl, reply);
        return;
    }
    hf_sandbox_repl_append_topology(repl, reply);
    append_repl(repl, legacy, reply);
    if (repl->options->config_server) {
        (void)BSON_APPEND_INT32(reply, "configsvr", 2);
    }
}

void hf_sandbox_repl_append_server_status(struct hf_sandbox_repl *repl, bson_t *reply)
{
    bson_t section;

    if (!hf_sandbox_repl_enabled(repl)) {
        return;
    }
    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "repl", &section);
    hf_sandbox_repl_append_topology(repl, &section);
    append_repl(repl, true, &section);
    (void)BSON_APPEND_INT32(&section, "rbid", 1);
    (void)bson_append_document_end(reply, &section);
}

bool hf_sandbox_repl_wait_topology(struct hf_sandbox_repl *repl, const bson_t *known,
                                   uint64_t timeout_ms, const struct hf_cancel *cancel)
{
    uint64_t deadline_ms = hf_clock_mono_ms() + timeout_ms;
    int64_t counter = hf_sandbox_get_int64(known, "counter", -1);
    bson_value_t process;

    HF_LOCKED(&repl->state);
    if (!hf_sandbox_get(known, "processId", &process) || process.value_type != BSON_TYPE_OID ||
        !bson_oid_equal(&process.value.v_oid, &repl->process_id)) {
        return true;
    }
    while (repl->topology == counter) {
        uint64_t now = hf_clock_mono_ms();

        if (now >= deadline_ms || hf_cancel_requested(cancel) || hf_sandbox_repl_stopping(repl)) {
            return false;
        }
        (void)hf_cond_wait_for(&repl->changed, &repl->state,
                               deadline_ms - now < 50 ? deadline_ms - now : 50);
    }
    return true;
}

/* ---- replSetGetStatus ---- */

static int32_t refuse_without_config(struct hf_sandbox_repl *repl, struct hf_sandbox_refusal *no)
{
    if (!hf_sandbox_repl_enabled(repl)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NO_REPLICATION_ENABLED,
                                 "not running with --replSet");
    }
    HF_LOCKED(&repl->state);
    return repl->config != NULL ? 0
                                : hf_sandbox_refuse(no, HF_SANDBOX_NOT_YET_INITIALIZED,
                                                    "no replset config has been received");
}

/* `wall` of the entry at that time. */
static int64_t wall_of(struct hf_sandbox_repl *repl, struct hf_sandbox_optime optime)
{
    bson_t *entry;
    struct hf_error err;
    bson_value_t wall = {.value_type = BSON_TYPE_EOD};
    int64_t result = (int64_t)hf_sandbox_ts_seconds(optime.ts) * 1000;

    if (optime.ts != 0 &&
        hf_sandbox_oplog_at_or_below(repl->engine, optime.ts, &entry, &err) == HF_ERR_OK &&
        entry != NULL) {
        if (hf_sandbox_get(entry, "wall", &wall) && wall.value_type == BSON_TYPE_DATE_TIME) {
            result = wall.value.v_datetime;
        }
        bson_destroy(entry);
    }
    return result;
}

static void append_optimes(struct hf_sandbox_repl *repl, bson_t *reply)
{
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    struct hf_sandbox_optime durable = hf_sandbox_engine_durable(repl->engine);
    struct hf_sandbox_optime majority = hf_sandbox_engine_majority(repl->engine);
    int64_t majority_wall;
    bson_t optimes;

    if (repl->mine == HF_SANDBOX_ARBITER) {
        applied = majority = repl->committed_seen;
    }
    majority_wall = wall_of(repl, majority);
    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "optimes", &optimes);
    hf_sandbox_append_optime(&optimes, "lastCommittedOpTime", majority);
    (void)BSON_APPEND_DATE_TIME(&optimes, "lastCommittedWallTime", majority_wall);
    hf_sandbox_append_optime(&optimes, "readConcernMajorityOpTime", majority);
    (void)BSON_APPEND_DATE_TIME(&optimes, "readConcernMajorityWallTime", majority_wall);
    hf_sandbox_append_optime(&optimes, "appliedOpTime", applied);
    hf_sandbox_append_optime(&optimes, "durableOpTime", durable);
    (void)BSON_APPEND_DATE_TIME(&optimes, "lastAppliedWallTime", wall_of(repl, applied));
    (void)BSON_APPEND_DATE_TIME(&optimes, "lastDurableWallTime", wall_of(repl, durable));
    (void)bson_append_document_end(reply, &optimes);
}

static void append_candidate(const struct hf_sandbox_repl *repl, bson_t *reply)
{
    const struct hf_sandbox_election *election = &repl->election;
    bson_t metrics;

    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "electionCandidateMetrics", &metrics);
    (void)BSON_APPEND_UTF8(&metrics, "lastElectionReason", election->reason);
    (void)BSON_APPEND_DATE_TIME(&metrics, "lastElectionDate", (int64_t)election->at_wall_ms);
    (void)BSON_APPEND_INT64(&metrics, "electionTerm", election->term);
    hf_sandbox_append_optime(&metrics, "lastCommittedOpTimeAtElection", election->committed);
    hf_sandbox_append_optime(&metrics, "lastSeenOpTimeAtElection", election->seen);
    (void)BSON_APPEND_INT32(&metrics, "numVotesNeeded", repl->config->vote_majority);
    (void)BSON_APPEND_DOUBLE(&metrics, "priorityAtElection", election->priority);
    (void)BSON_APPEND_INT64(&metrics, "electionTimeoutMillis", (int64_t)repl->config->election_ms);
    (void)BSON_APPEND_INT64(&metrics, "numCatchUpOps", 0);
    (void)BSON_APPEND_DATE_TIME(&metrics, "newTermStartDate", (int64_t)election->new_term_wall_ms);
    if (election->available_wall_ms != 0) {
        (void)BSON_APPEND_DATE_TIME(&metrics, "wMajorityWriteAvailabilityDate",
                                    (int64_t)election->available_wall_ms);
    }
    (void)bson_append_document_end(reply, &metrics);
}

static void append_participant(const struct hf_sandbox_repl *repl, bson_t *reply)
{
    const struct hf_sandbox_election *election = &repl->election;
    bson_t metrics;

    (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "electionParticipantMetrics", &metrics);
    (void)BSON_APPEND_BOOL(&metrics, "votedForCandidate", true);
    (void)BSON_APPEND_INT64(&metrics, "electionTerm", election->term);
    (void)BSON_APPEND_DATE_TIME(&metrics, "lastVoteDate", (int64_t)election->at_wall_ms);
    (void)BSON_APPEND_INT32(&metrics, "electionCandidateMemberId", election->candidate_id);
    (void)BSON_APPEND_UTF8(&metrics, "voteReason", "");
    hf_sandbox_append_optime(&metrics, "lastAppliedOpTimeAtElection", election->applied);
    hf_sandbox_append_optime(&metrics, "maxAppliedOpTimeInSet", election->seen);
    (void)BSON_APPEND_DOUBLE(&metrics, "priorityAtElection", election->priority);
    if (election->new_term_applied_ms != 0) {
        (void)BSON_APPEND_DATE_TIME(&metrics, "newTermStartDate",
                                    (int64_t)election->new_term_wall_ms);
        (void)BSON_APPEND_DATE_TIME(&metrics, "newTermAppliedDate",
                                    (int64_t)election->new_term_applied_ms);
    }
    (void)bson_append_document_end(reply, &metrics);
}

static int32_t id_of(const struct hf_sandbox_repl *repl, const char *host)
{
    for (size_t i = 0; i < repl->config->count; i++) {
        if (host[0] != '\0' && strcmp(repl->config->members[i].host, host) == 0) {
            return repl->config->members[i].id;
        }
    }
    return -1;
}

static void append_member_times(const struct hf_sandbox_view *view, bool self,
                                struct hf_sandbox_optime applied, bson_t *out)
{
    hf_sandbox_append_optime(out, "optime", applied);
    if (!self) {
        hf_sandbox_append_optime(out, "optimeDurable", view->durable);
    }
    (void)BSON_APPEND_DATE_TIME(out, "optimeDate",
                                (int64_t)hf_sandbox_ts_seconds(applied.ts) * 1000);
    if (!self) {
        (void)BSON_APPEND_DATE_TIME(out, "optimeDurableDate",
                                    (int64_t)hf_sandbox_ts_seconds(view->durable.ts) * 1000);
    }
}

/* Under state: one of members[]; of this member itself there is no heartbeat to tell of. */
static void append_member(struct hf_sandbox_repl *repl, size_t place, bson_t *out)
{
    const struct hf_sandbox_member *member = &repl->config->members[place];
    const struct hf_sandbox_view *view = &repl->views[place];
    enum hf_sandbox_state state = member->self ? repl->mine : view->state;
    bool healthy = member->self || view->up;
    const char *source = member->self ? repl->source : view->source;
    uint64_t since = member->self ? repl->started_mono_ms : view->up_since_ms;
    uint64_t elected = member->self ? repl->election_ts : view->election_ts;

    (void)BSON_APPEND_INT32(out, "_id", member->id);
    (void)BSON_APPEND_UTF8(out, "name", member->host);
    (void)BSON_APPEND_DOUBLE(out, "health", healthy ? 1.0 : 0.0);
    (void)BSON_APPEND_INT32(out, "state", (int32_t)state);
    (void)BSON_APPEND_UTF8(out, "stateStr", hf_sandbox_state_name(state));
    (void)BSON_APPEND_INT32(out, "uptime",
                            healthy ? (int32_t)((hf_clock_mono_ms() - since) / 1000) : 0);
    if (!member->arbiter) {
        append_member_times(view, member->self,
                            member->self ? hf_sandbox_engine_applied(repl->engine) : view->applied,
                            out);
    }
    if (!member->self) {
        (void)BSON_APPEND_DATE_TIME(out, "lastHeartbeat", (int64_t)view->replied_wall_ms);
        (void)BSON_APPEND_DATE_TIME(out, "lastHeartbeatRecv", (int64_t)view->called_wall_ms);
        (void)BSON_APPEND_INT64(out, "pingMs", (int64_t)view->ping_ms);
        (void)BSON_APPEND_UTF8(out, "lastHeartbeatMessage", view->message);
    }
    (void)BSON_APPEND_UTF8(out, "syncSourceHost", source);
    (void)BSON_APPEND_INT32(out, "syncSourceId", id_of(repl, source));
    (void)BSON_APPEND_UTF8(out, "infoMessage", "");
    if (state == HF_SANDBOX_PRIMARY) {
        hf_sandbox_append_ts(out, "electionTime", elected);
        (void)BSON_APPEND_DATE_TIME(out, "electionDate",
                                    (int64_t)hf_sandbox_ts_seconds(elected) * 1000);
    }
    (void)BSON_APPEND_INT32(out, "configVersion",
                            (int32_t)(member->self ? repl->config->version : view->config_version));
    (void)BSON_APPEND_INT32(out, "configTerm",
                            (int32_t)(member->self ? repl->config->term : view->config_term));
    if (member->self) {
        (void)BSON_APPEND_BOOL(out, "self", true);
        (void)BSON_APPEND_UTF8(out, "lastHeartbeatMessage", "");
    }
}

int32_t hf_sandbox_repl_get_status(struct hf_sandbox_repl *repl, bson_t *reply,
                                   struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_engine_status status;
    const struct hf_sandbox_config *config;
    bson_t members;

    if (refuse_without_config(repl, no) != 0) {
        return no->code;
    }
    hf_sandbox_engine_status(repl->engine, &status);
    HF_LOCKED(&repl->state);
    config = repl->config;
    (void)BSON_APPEND_UTF8(reply, "set", config->set);
    (void)BSON_APPEND_DATE_TIME(reply, "date", (int64_t)hf_clock_wall_ms());
    (void)BSON_APPEND_INT32(reply, "myState", (int32_t)repl->mine);
    (void)BSON_APPEND_INT64(reply, "term", repl->term);
    (void)BSON_APPEND_UTF8(reply, "syncSourceHost", repl->source);
    (void)BSON_APPEND_INT32(reply, "syncSourceId", id_of(repl, repl->source));
    (void)BSON_APPEND_INT64(reply, "heartbeatIntervalMillis", (int64_t)config->heartbeat_ms);
    (void)BSON_APPEND_INT32(reply, "majorityVoteCount", config->vote_majority);
    (void)BSON_APPEND_INT32(reply, "writeMajorityCount", config->write_majority);
    (void)BSON_APPEND_INT32(reply, "votingMembersCount", config->voters);
    (void)BSON_APPEND_INT32(reply, "writableVotingMembersCount", config->writable_voters);
    append_optimes(repl, reply);
    hf_sandbox_append_ts(reply, "lastStableRecoveryTimestamp", status.stable_checkpoint_ts);
    if (repl->mine == HF_SANDBOX_PRIMARY && repl->election.candidate) {
        append_candidate(repl, reply);
    } else if (repl->election.participant) {
        append_participant(repl, reply);
    }
    (void)BSON_APPEND_ARRAY_BEGIN(reply, "members", &members);
    for (size_t i = 0; i < config->count; i++) {
        char text[16];
        const char *key;
        bson_t one;

        (void)bson_uint32_to_string((uint32_t)i, &key, text, sizeof text);
        (void)bson_append_document_begin(&members, key, -1, &one);
        append_member(repl, i, &one);
        (void)bson_append_document_end(&members, &one);
    }
    (void)bson_append_array_end(reply, &members);
    return 0;
}

int32_t hf_sandbox_repl_get_config(struct hf_sandbox_repl *repl, bson_t *reply,
                                   struct hf_sandbox_refusal *no)
{
    if (refuse_without_config(repl, no) != 0) {
        return no->code;
    }
    HF_LOCKED(&repl->state);
    (void)BSON_APPEND_DOCUMENT(reply, "config", repl->config->doc);
    return 0;
}
