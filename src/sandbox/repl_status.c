/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a member says of itself and the set: hello, replSetGetStatus, replSetGetConfig, serverStatus. Fields, their
 * order and their types are those of the recorded answers.
 */
#include <stdio.h>

#include "sandbox/repl_internal.h"

const char *hf_sandbox_state_name(enum hf_sandbox_state state)
{
    static const char *const names[] = {"STARTUP",  "PRIMARY",  "SECONDARY", "RECOVERING",
                                        "(unused)", "STARTUP2", "UNKNOWN",   "ARBITER",
                                        "DOWN",     "ROLLBACK", "REMOVED"};

    return (size_t)state < HF_ARRAY_LEN(names) ? names[state] : "UNKNOWN";
}

/* ---- hello ---- */

void hf_sandbox_repl_append_topology(struct hf_sandbox_repl *repl, bson_t *reply)
{
    HF_LOCKED(&repl->state);
    BCON_APPEND(reply, "topologyVersion", "{", "processId", BCON_OID(&repl->process_id), "counter",
                BCON_INT64(repl->topology), "}");
}

/* hosts: who may become primary; passives: who may not but is seen; hidden ones are in none. */
static void append_hosts(const struct hf_sandbox_config *config, bson_t *reply)
{
    static const char *const names[] = {"hosts", "passives", "arbiters"};

    for (int list = 0; list < 3; list++) {
        HF_CLEANUP(bson_destroy) bson_t *hosts = bson_new();
        uint32_t count = 0;

        for (size_t i = 0; i < config->count; i++) {
            const struct hf_sandbox_member *member = &config->members[i];
            const bson_value_t host = hf_sandbox_value_of_utf8(member->host);

            if (!member->hidden && list == (member->arbiter ? 2 : member->priority <= 0)) {
                hf_sandbox_append_element(hosts, &count, &host);
            }
        }
        if (count > 0 || list == 0) {
            (void)bson_append_array(reply, names[list], -1, hosts);
        }
    }
}

static void append_last_write(struct hf_sandbox_repl *repl, bson_t *reply)
{
    struct hf_sandbox_optime applied = repl->mine == HF_SANDBOX_ARBITER
                                           ? repl->committed_seen
                                           : hf_sandbox_engine_applied(repl->engine);
    struct hf_sandbox_optime majority = hf_sandbox_repl_committed(repl);
    HF_CLEANUP(bson_destroy)
    bson_t *write = BCON_NEW("opTime", HF_SANDBOX_BCON_OPTIME(applied), "lastWriteDate",
                             HF_SANDBOX_BCON_DATE_OF(applied.ts));

    if (majority.ts != 0) {
        BCON_APPEND(write, "majorityOpTime", HF_SANDBOX_BCON_OPTIME(majority), "majorityWriteDate",
                    HF_SANDBOX_BCON_DATE_OF(majority.ts));
    }
    (void)BSON_APPEND_DOCUMENT(reply, "lastWrite", write);
}

/* What is told of this member itself only where it is so. */
static void append_self(const struct hf_sandbox_config *config, bson_t *reply)
{
    const struct hf_sandbox_member *self = &config->members[config->self];
    char path[32];
    bson_value_t tags;
    bson_t doc;

    if (self->arbiter) {
        (void)BSON_APPEND_BOOL(reply, "arbiterOnly", true);
    } else if (self->priority <= 0) {
        (void)BSON_APPEND_BOOL(reply, "passive", true);
    }
    if (self->hidden) {
        (void)BSON_APPEND_BOOL(reply, "hidden", true);
    }
    (void)snprintf(path, sizeof path, "members.%d.tags", config->self);
    if (hf_sandbox_get_path(config->doc, path, &tags) && hf_sandbox_value_doc(&tags, &doc) &&
        !bson_empty(&doc)) {
        (void)BSON_APPEND_DOCUMENT(reply, "tags", &doc);
    }
    (void)BSON_APPEND_UTF8(reply, "me", self->host);
}

static void append_repl(struct hf_sandbox_repl *repl, bool legacy, bson_t *reply)
{
    const char *primary_field = legacy ? "ismaster" : "isWritablePrimary";
    bson_oid_t election = {.bytes = {0x7f, 0xff, 0xff, 0xff}};

    HF_LOCKED(&repl->state);
    const struct hf_sandbox_config *config = repl->config;
    bool primary = repl->mine == HF_SANDBOX_PRIMARY;
    if (config == NULL) {
        BCON_APPEND(reply, primary_field, BCON_BOOL(false), "secondary", BCON_BOOL(false), "info",
                    "Does not have a valid replica set config", "isreplicaset", BCON_BOOL(true));
        return;
    }
    append_hosts(config, reply);
    BCON_APPEND(reply, "setName", BCON_UTF8(repl->options->repl_set), "setVersion",
                BCON_INT32((int32_t)config->version), primary_field, BCON_BOOL(primary),
                "secondary", BCON_BOOL(repl->mine == HF_SANDBOX_SECONDARY));
    if (repl->primary >= 0) {
        (void)BSON_APPEND_UTF8(reply, "primary", config->members[repl->primary].host);
    }
    if (config->self >= 0) {
        append_self(config, reply);
    }
    if (primary) {
        hf_sandbox_put_record(election.bytes + 4, repl->won_term);
        (void)BSON_APPEND_OID(reply, "electionId", &election);
    }
    append_last_write(repl, reply);
}

void hf_sandbox_repl_append_hello(struct hf_sandbox_repl *repl, bool legacy, bson_t *reply)
{
    if (!hf_sandbox_repl_enabled(repl)) {
        (void)bson_append_bool(reply, legacy ? "ismaster" : "isWritablePrimary", -1, true);
    }
    hf_sandbox_repl_append_topology(repl, reply);
    if (hf_sandbox_repl_enabled(repl)) {
        append_repl(repl, legacy, reply);
    }
}

void hf_sandbox_repl_append_server_status(struct hf_sandbox_repl *repl, bson_t *reply)
{
    bson_t section;

    if (hf_sandbox_repl_enabled(repl)) {
        (void)BSON_APPEND_DOCUMENT_BEGIN(reply, "repl", &section);
        hf_sandbox_repl_append_topology(repl, &section);
        append_repl(repl, true, &section);
        (void)BSON_APPEND_INT32(&section, "rbid", 1);
        (void)bson_append_document_end(reply, &section);
    }
}

bool hf_sandbox_repl_wait_topology(struct hf_sandbox_repl *repl, const bson_t *known,
                                   uint64_t timeout_ms, const struct hf_cancel *cancel)
{
    uint64_t deadline_ms = hf_clock_mono_ms() + timeout_ms;
    bson_value_t process;

    HF_LOCKED(&repl->state);
    if (!hf_sandbox_get(known, "processId", &process) || process.value_type != BSON_TYPE_OID ||
        !bson_oid_equal(&process.value.v_oid, &repl->process_id)) {
        return true;
    }
    while (repl->topology == hf_sandbox_get_int64(known, "counter", -1)) {
        if (hf_clock_mono_ms() >= deadline_ms || hf_cancel_requested(cancel) ||
            hf_sandbox_repl_stopping(repl)) {
            return false;
        }
        (void)hf_cond_wait_for(&repl->changed, &repl->state, 50);
    }
    return true;
}

/* ---- replSetGetStatus ---- */

static void append_optimes(struct hf_sandbox_repl *repl, bson_t *reply)
{
    struct hf_sandbox_optime applied = repl->views[repl->config->self].applied;
    struct hf_sandbox_optime durable = repl->views[repl->config->self].durable;
    struct hf_sandbox_optime majority = hf_sandbox_repl_committed(repl);

    BCON_APPEND(reply, "optimes", "{", "lastCommittedOpTime", HF_SANDBOX_BCON_OPTIME(majority),
                "lastCommittedWallTime", HF_SANDBOX_BCON_DATE_OF(majority.ts),
                "readConcernMajorityOpTime", HF_SANDBOX_BCON_OPTIME(majority),
                "readConcernMajorityWallTime", HF_SANDBOX_BCON_DATE_OF(majority.ts),
                "appliedOpTime", HF_SANDBOX_BCON_OPTIME(applied), "durableOpTime",
                HF_SANDBOX_BCON_OPTIME(durable), "lastAppliedWallTime",
                HF_SANDBOX_BCON_DATE_OF(applied.ts), "lastDurableWallTime",
                HF_SANDBOX_BCON_DATE_OF(durable.ts), "}");
}

/* syncSourceHost and syncSourceId: a secondary's is the primary, as long as there is one. */
static void append_source(const struct hf_sandbox_repl *repl, enum hf_sandbox_state state,
                          bson_t *out)
{
    const struct hf_sandbox_member *source = state == HF_SANDBOX_SECONDARY && repl->primary >= 0
                                                 ? &repl->config->members[repl->primary]
                                                 : NULL;

    BCON_APPEND(out, "syncSourceHost", BCON_UTF8(source == NULL ? "" : source->host),
                "syncSourceId", BCON_INT32(source == NULL ? -1 : source->id));
}

/* Under state: one of members[]; of this member itself there is no heartbeat to tell of. */
static void append_member(struct hf_sandbox_repl *repl, size_t place, bson_t *out)
{
    const struct hf_sandbox_member *member = &repl->config->members[place];
    struct hf_sandbox_view view = repl->views[place];

    BCON_APPEND(
        out, "_id", BCON_INT32(member->id), "name", BCON_UTF8(member->host), "health",
        BCON_DOUBLE(view.up ? 1.0 : 0.0), "state", BCON_INT32((int32_t)view.state), "stateStr",
        BCON_UTF8(hf_sandbox_state_name(view.state)), "uptime",
        BCON_INT32(view.up ? (int32_t)((hf_clock_mono_ms() - view.up_since_ms) / 1000) : 0));
    if (!member->arbiter) {
        hf_sandbox_append_optime(out, "optime", view.applied);
        if (!member->self) {
            hf_sandbox_append_optime(out, "optimeDurable", view.durable);
            BCON_APPEND(out, "optimeDurableDate", HF_SANDBOX_BCON_DATE_OF(view.durable.ts));
        }
        BCON_APPEND(out, "optimeDate", HF_SANDBOX_BCON_DATE_OF(view.applied.ts));
    }
    if (!member->self) {
        BCON_APPEND(out, "lastHeartbeat", BCON_DATE_TIME((int64_t)view.replied_wall_ms),
                    "lastHeartbeatRecv", BCON_DATE_TIME((int64_t)view.called_wall_ms), "pingMs",
                    BCON_INT64(0));
    }
    (void)BSON_APPEND_UTF8(out, "lastHeartbeatMessage", "");
    append_source(repl, view.state, out);
    (void)BSON_APPEND_UTF8(out, "infoMessage", "");
    if (view.state == HF_SANDBOX_PRIMARY) {
        BCON_APPEND(out, "electionTime", HF_SANDBOX_BCON_TS(view.election_ts), "electionDate",
                    HF_SANDBOX_BCON_DATE_OF(view.election_ts));
    }
    BCON_APPEND(out, "configVersion", BCON_INT32((int32_t)view.config_version), "configTerm",
                BCON_INT32((int32_t)view.config_term));
    if (member->self) {
        (void)BSON_APPEND_BOOL(out, "self", true);
    }
}

int32_t hf_sandbox_status_answer(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    HF_CLEANUP(bson_destroy) bson_t *members = bson_new();
    struct hf_sandbox_engine_status status;
    const struct hf_sandbox_config *config;
    uint32_t count = 0;

    hf_sandbox_engine_status(repl->engine, &status);
    HF_LOCKED(&repl->state);
    config = repl->config;
    if (config->self < 0) {
        return hf_sandbox_refuse(ask->no, 93,
                                 "Our replica set config is invalid or we are not a "
                                 "member of it");
    }
    hf_sandbox_repl_advance(repl);
    BCON_APPEND(ask->reply, "set", BCON_UTF8(repl->options->repl_set), "date",
                BCON_DATE_TIME((int64_t)hf_clock_wall_ms()), "myState",
                BCON_INT32((int32_t)repl->mine), "term", BCON_INT64(repl->term));
    append_source(repl, repl->mine, ask->reply);
    BCON_APPEND(ask->reply, "heartbeatIntervalMillis", BCON_INT64((int64_t)config->heartbeat_ms),
                "majorityVoteCount", BCON_INT32(config->vote_majority), "writeMajorityCount",
                BCON_INT32(config->write_majority), "votingMembersCount",
                BCON_INT32(config->voters), "writableVotingMembersCount",
                BCON_INT32(config->writable_voters));
    append_optimes(repl, ask->reply);
    hf_sandbox_append_ts(ask->reply, "lastStableRecoveryTimestamp", status.stable_checkpoint_ts);
    if (repl->election != NULL) {
        (void)bson_append_document(ask->reply, repl->election_name, -1, repl->election);
    }
    for (size_t i = 0; i < config->count; i++) {
        HF_CLEANUP(bson_destroy) bson_t *one = bson_new();

        append_member(repl, i, one);
        const bson_value_t value = hf_sandbox_value_of_doc(one);
        hf_sandbox_append_element(members, &count, &value);
    }
    (void)BSON_APPEND_ARRAY(ask->reply, "members", members);
    return 0;
}

int32_t hf_sandbox_status_config(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    HF_LOCKED(&repl->state);
    (void)BSON_APPEND_DOCUMENT(ask->reply, "config", repl->config->doc);
    return 0;
}
