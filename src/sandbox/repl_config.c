/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations of the set: read and checked, filled up with defaults as mongod shows them, stored in
 * local.system.replset, put to use. Initiate and reconfig.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/process.h"
#include "sandbox/repl_internal.h"

#define CONFIG_NS "local.system.replset"
#define PROBE_MS 5000

void hf_sandbox_config_destroy(struct hf_sandbox_config *config)
{
    if (config != NULL) {
        bson_destroy(config->doc);
        hf_free(config);
    }
}

/* ---- Which member is this one ---- */

/* An address is ours when a socket can be bound to it. */
static bool is_local_name(const char *name)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *list;
    bool found = false;

    if (getaddrinfo(name, "0", &hints, &list) != 0) {
        return false;
    }
    for (struct addrinfo *at = list; at != NULL && !found; at = at->ai_next) {
        int fd = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd >= 0) {
            found = bind(fd, at->ai_addr, at->ai_addrlen) == 0;
            (void)close(fd);
        }
    }
    freeaddrinfo(list);
    return found;
}

static bool is_self(const struct hf_sandbox_repl *repl, const char *host)
{
    const char *colon = strrchr(host, ':');
    char name[HF_SANDBOX_HOST_BYTES];

    if (colon == NULL || strtoul(colon + 1, NULL, 10) != repl->options->port) {
        return false;
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)(colon - host), host);
    return is_local_name(name);
}

/* ---- Reading ---- */

static enum hf_err read_member(struct hf_sandbox_repl *repl, const bson_t *in,
                               struct hf_sandbox_config *config, bson_t *shown,
                               struct hf_error *err)
{
    struct hf_sandbox_member *member = &config->members[config->count];
    const char *host = hf_sandbox_get_utf8(in, "host", "");
    bson_value_t value;
    bson_t tags = BSON_INITIALIZER;
    bool has_port = strrchr(host, ':') != NULL;

    if (host[0] == '\0' || strlen(host) >= sizeof member->host - 6 ||
        !hf_sandbox_get(in, "_id", &value)) {
        return hf_fail(err, HF_ERR_INVALID, "a member has no _id or no host");
    }
    (void)snprintf(member->host, sizeof member->host, "%s%s", host, has_port ? "" : ":27017");
    member->id = (int32_t)hf_sandbox_get_int64(in, "_id", 0);
    member->arbiter = hf_sandbox_get_true(in, "arbiterOnly");
    member->hidden = hf_sandbox_get_true(in, "hidden");
    member->priority = member->arbiter ? 0 : 1;
    if (hf_sandbox_get(in, "priority", &value)) {
        member->priority = member->arbiter ? 0 : hf_sandbox_as_double(&value);
    }
    member->votes = (int32_t)hf_sandbox_get_int64(in, "votes", 1);
    member->delay_s = hf_sandbox_get_int64(in, "slaveDelay", 0);
    member->self = is_self(repl, member->host);
    if ((member->hidden || member->delay_s != 0 || member->votes == 0) && member->priority != 0) {
        return hf_fail(err, HF_ERR_INVALID,
                       "priority must be 0 when hidden=true, a delay is set "
                       "or it has no vote: %s",
                       member->host);
    }
    for (size_t i = 0; i < config->count; i++) {
        if (config->members[i].id == member->id ||
            strcmp(config->members[i].host, member->host) == 0) {
            return hf_fail(err, HF_ERR_INVALID, "two members have the same _id or host: %s",
                           member->host);
        }
    }
    (void)BSON_APPEND_INT32(shown, "_id", member->id);
    (void)BSON_APPEND_UTF8(shown, "host", member->host);
    (void)BSON_APPEND_BOOL(shown, "arbiterOnly", member->arbiter);
    (void)BSON_APPEND_BOOL(shown, "buildIndexes", true);
    (void)BSON_APPEND_BOOL(shown, "hidden", member->hidden);
    (void)BSON_APPEND_DOUBLE(shown, "priority", member->priority);
    (void)BSON_APPEND_DOCUMENT(shown, "tags",
                               hf_sandbox_get_doc(in, "tags", &tags) ? &tags : &tags);
    (void)BSON_APPEND_INT64(shown, "slaveDelay", member->delay_s);
    (void)BSON_APPEND_INT32(shown, "votes", member->votes);
    config->self = member->self ? (int)config->count : config->self;
    config->count++;
    return HF_ERR_OK;
}

static void count_members(struct hf_sandbox_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct hf_sandbox_member *member = &config->members[i];

        config->voters += member->votes != 0 ? 1 : 0;
        config->writable_voters += member->votes != 0 && !member->arbiter ? 1 : 0;
        config->data_members += member->arbiter ? 0 : 1;
    }
    config->vote_majority = config->voters / 2 + 1;
    config->write_majority = config->vote_majority < config->writable_voters
                                 ? config->vote_majority
                                 : config->writable_voters;
}

static void append_settings(const bson_t *in, struct hf_sandbox_config *config, bson_t *shown)
{
    bson_t given = BSON_INITIALIZER;
    bson_t settings;
    bson_t inner;
    bson_value_t id;
    bson_oid_t fresh;

    (void)hf_sandbox_get_doc(in, "settings", &given);
    config->heartbeat_ms = (uint64_t)hf_sandbox_get_int64(&given, "heartbeatIntervalMillis", 2000);
    config->timeout_ms = (uint64_t)hf_sandbox_get_int64(&given, "heartbeatTimeoutSecs", 10) * 1000;
    config->election_ms = (uint64_t)hf_sandbox_get_int64(&given, "electionTimeoutMillis", 10000);
    (void)BSON_APPEND_DOCUMENT_BEGIN(shown, "settings", &settings);
    (void)BSON_APPEND_BOOL(&settings, "chainingAllowed", true);
    (void)BSON_APPEND_INT32(&settings, "heartbeatIntervalMillis", (int32_t)config->heartbeat_ms);
    (void)BSON_APPEND_INT32(&settings, "heartbeatTimeoutSecs",
                            (int32_t)(config->timeout_ms / 1000));
    (void)BSON_APPEND_INT32(&settings, "electionTimeoutMillis", (int32_t)config->election_ms);
    (void)BSON_APPEND_INT32(&settings, "catchUpTimeoutMillis", -1);
    (void)BSON_APPEND_INT32(&settings, "catchUpTakeoverDelayMillis", 30000);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&settings, "getLastErrorModes", &inner);
    (void)bson_append_document_end(&settings, &inner);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&settings, "getLastErrorDefaults", &inner);
    (void)BSON_APPEND_INT32(&inner, "w", 1);
    (void)BSON_APPEND_INT32(&inner, "wtimeout", 0);
    (void)bson_append_document_end(&settings, &inner);
    if (hf_sandbox_get(&given, "replicaSetId", &id) && id.value_type == BSON_TYPE_OID) {
        hf_sandbox_append(&settings, "replicaSetId", &id);
    } else {
        bson_oid_init(&fresh, NULL);
        (void)BSON_APPEND_OID(&settings, "replicaSetId", &fresh);
    }
    (void)bson_append_document_end(shown, &settings);
}

static enum hf_err read_members(struct hf_sandbox_repl *repl, const bson_t *in,
                                struct hf_sandbox_config *config, struct hf_error *err)
{
    bson_t list;
    bson_t shown;
    bson_iter_t iter;

    if (!hf_sandbox_get_doc(in, "members", &list) || !bson_iter_init(&iter, &list)) {
        return hf_fail(err, HF_ERR_INVALID, "it has no members");
    }
    (void)BSON_APPEND_ARRAY_BEGIN(config->doc, "members", &shown);
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        bson_t member;
        bson_t one = BSON_INITIALIZER;
        enum hf_err result;

        if (config->count == HF_SANDBOX_MEMBERS_MAX || !hf_sandbox_value_doc(&value, &member)) {
            return hf_fail(err, HF_ERR_INVALID, "a member is no document, or there are too many");
        }
        result = read_member(repl, &member, config, &one, err);
        (void)bson_append_document(&shown, bson_iter_key(&iter), -1, &one);
        bson_destroy(&one);
        if (result != HF_ERR_OK) {
            return result;
        }
    }
    (void)bson_append_array_end(config->doc, &shown);
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_config_read(struct hf_sandbox_repl *repl, const bson_t *doc,
                                   struct hf_sandbox_config **out, struct hf_error *err)
{
    struct hf_sandbox_config *config = hf_alloc_zero(sizeof *config);
    const char *set = hf_sandbox_get_utf8(doc, "_id", "");
    bson_value_t journaled;

    if (config == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "read a configuration");
    }
    config->doc = bson_new();
    config->self = -1;
    config->version = hf_sandbox_get_int64(doc, "version", 1);
    config->term = hf_sandbox_get_int64(doc, "term", 0);
    config->journaled_majority =
        !hf_sandbox_get(doc, "writeConcernMajorityJournalDefault", &journaled) ||
        hf_sandbox_is_true(&journaled);
    (void)snprintf(config->set, sizeof config->set, "%s", set);
    (void)BSON_APPEND_UTF8(config->doc, "_id", config->set);
    (void)BSON_APPEND_INT32(config->doc, "version", (int32_t)config->version);
    (void)BSON_APPEND_INT32(config->doc, "term", (int32_t)config->term);
    if (hf_sandbox_get_true(doc, "configsvr") || repl->options->config_server) {
        (void)BSON_APPEND_BOOL(config->doc, "configsvr", true);
    }
    (void)BSON_APPEND_INT64(config->doc, "protocolVersion", 1);
    (void)BSON_APPEND_BOOL(config->doc, "writeConcernMajorityJournalDefault",
                           config->journaled_majority);
    if (strcmp(set, repl->options->repl_set == NULL ? "" : repl->options->repl_set) != 0) {
        (void)hf_fail(err, HF_ERR_INVALID,
                      "Rejecting initiate with a set name that differs from command line set "
                      "name, initiate set name: %s, command line set name: %s",
                      set, repl->options->repl_set == NULL ? "" : repl->options->repl_set);
        hf_sandbox_config_destroy(config);
        return err->code;
    }
    if (read_members(repl, doc, config, err) != HF_ERR_OK) {
        hf_sandbox_config_destroy(config);
        return err->code;
    }
    append_settings(doc, config, config->doc);
    count_members(config);
    if (config->count == 0 || config->voters == 0) {
        hf_sandbox_config_destroy(config);
        return hf_fail(err, HF_ERR_INVALID, "no member has a vote");
    }
    *out = config;
    return HF_ERR_OK;
}

/* ---- Storing ---- */

bool hf_sandbox_config_is_newer(const struct hf_sandbox_repl *repl, int64_t term, int64_t version)
{
    if (repl->config == NULL) {
        return true;
    }
    return term != repl->config->term ? term > repl->config->term : version > repl->config->version;
}

static enum hf_err store(struct hf_sandbox_repl *repl, const struct hf_sandbox_config *config,
                         struct hf_error *err)
{
    const bson_value_t id = hf_sandbox_value_of_utf8(config->set);
    bson_t fields = BSON_INITIALIZER;
    enum hf_err result;

    bson_copy_to_excluding_noinit(config->doc, &fields, "_id", NULL);
    result = hf_sandbox_local_set(repl->engine, NULL, CONFIG_NS, &id, &fields, err);
    bson_destroy(&fields);
    return result != HF_ERR_OK ? result : hf_sandbox_engine_flush(repl->engine, err);
}

/* What is known of a member goes with it to its new place. */
static void carry_views(struct hf_sandbox_repl *repl, const struct hf_sandbox_config *config)
{
    struct hf_sandbox_view old[HF_SANDBOX_MEMBERS_MAX];
    int primary = repl->primary;

    memcpy(old, repl->views, sizeof old);
    memset(repl->views, 0, sizeof repl->views);
    repl->primary = -1;
    for (size_t i = 0; i < config->count; i++) {
        repl->views[i].applied = repl->views[i].durable = HF_SANDBOX_OPTIME_NONE;
        repl->views[i].state = HF_SANDBOX_UNKNOWN;
        for (size_t j = 0; repl->config != NULL && j < repl->config->count; j++) {
            if (strcmp(repl->config->members[j].host, config->members[i].host) == 0) {
                repl->views[i] = old[j];
                repl->primary = primary == (int)j ? (int)i : repl->primary;
            }
        }
    }
}

/* Data, and not the remains of a copy that was cut short. */
static enum hf_err look_for_data(struct hf_sandbox_repl *repl, bool *has_data, struct hf_error *err)
{
    bson_t *doc;

    if (hf_sandbox_local_get(repl->engine, "local.replset.minvalid", &doc, err) != HF_ERR_OK) {
        return err->code;
    }
    *has_data = hf_sandbox_engine_applied(repl->engine).ts != 0 &&
                (doc == NULL || !hf_sandbox_get_true(doc, "doingInitialSync"));
    bson_destroy(doc);
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_config_install_take(struct hf_sandbox_repl *repl,
                                           struct hf_sandbox_config *config, struct hf_error *err)
{
    bool has_data;

    if (look_for_data(repl, &has_data, err) != HF_ERR_OK || store(repl, config, err) != HF_ERR_OK) {
        hf_sandbox_config_destroy(config);
        return err->code;
    }
    HF_LOCKED(&repl->state);
    if (!hf_sandbox_config_is_newer(repl, config->term, config->version) &&
        repl->config->version != config->version) {
        hf_sandbox_config_destroy(config);
        return HF_ERR_OK; /* a newer one came meanwhile */
    }
    carry_views(repl, config);
    hf_sandbox_config_destroy(repl->config);
    repl->config = config;
    repl->topology++;
    repl->beat_generation++;
    if (config->self < 0) {
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_REMOVED);
    } else if (config->members[config->self].arbiter) {
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_ARBITER);
    } else if (repl->mine == HF_SANDBOX_STARTUP || repl->mine == HF_SANDBOX_REMOVED) {
        hf_sandbox_repl_set_state(repl, has_data ? HF_SANDBOX_SECONDARY : HF_SANDBOX_STARTUP2);
        hf_sandbox_repl_put_off_election(repl);
    }
    hf_cond_broadcast(&repl->changed);
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_config_load(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    struct hf_sandbox_config *config;
    bson_t *doc;
    enum hf_err result;

    if (hf_sandbox_local_get(repl->engine, CONFIG_NS, &doc, err) != HF_ERR_OK || doc == NULL) {
        return doc == NULL ? HF_ERR_OK : err->code;
    }
    result = hf_sandbox_config_read(repl, doc, &config, err);
    bson_destroy(doc);
    return result != HF_ERR_OK ? hf_wrap(err, "stored configuration of the set")
                               : hf_sandbox_config_install_take(repl, config, err);
}

enum hf_err hf_sandbox_repl_make_local(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    static const char *const names[] = {
        "local.system.replset",        "local.system.rollback.id",
        "local.replset.election",      "local.replset.minvalid",
        "local.replset.initialSyncId", "local.replset.oplogTruncateAfterPoint"};
    bson_t *doc;

    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        if (hf_sandbox_local_create(repl->engine, names[i], NULL, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_sandbox_local_get(repl->engine, "local.replset.minvalid", &doc, err) != HF_ERR_OK) {
        return err->code;
    }
    if (doc == NULL && hf_sandbox_local_set_min_valid(repl->engine, NULL, HF_SANDBOX_OPTIME_NONE,
                                                      HF_SANDBOX_OPTIME_NONE, err) != HF_ERR_OK) {
        return err->code;
    }
    bson_destroy(doc);
    return HF_ERR_OK;
}

/* ---- Initiate ---- */

/* The oplog with its first entry, which has no term, and with it what a fresh node knows: its feature version. */
static enum hf_err first_entry(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    const struct hf_sandbox_txn_options options = {.write = true, .replicated = true};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    bson_t *o = BCON_NEW("msg", "initiating set");
    bson_t *version = BCON_NEW("_id", "featureCompatibilityVersion", "version", "4.4");
    bson_t empty = BSON_INITIALIZER;
    const struct hf_sandbox_entry entry = {.op = "n", .ns = "", .o = o};
    struct hf_sandbox_coll *coll;
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    enum hf_err result;

    hf_sandbox_uuid_make(uuid);
    hf_sandbox_engine_set_role(repl->engine, true, -1);
    result = hf_sandbox_txn_begin(repl->engine, &options, &txn, err);
    if (result == HF_ERR_OK) {
        result = hf_sandbox_txn_log(txn, &entry, NULL, err);
    }
    if (result == HF_ERR_OK && hf_sandbox_txn_find(txn, "admin.system.version") == NULL) {
        result = hf_sandbox_coll_create(txn, "admin.system.version", &empty, uuid, &coll, err);
        if (result == HF_ERR_OK) {
            result = hf_sandbox_coll_insert(txn, coll, version, NULL, err);
        }
    }
    if (result == HF_ERR_OK) {
        result = hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
    }
    hf_sandbox_txn_abort(HF_TAKE(txn));
    hf_sandbox_engine_set_role(repl->engine, false, 0);
    bson_destroy(o);
    bson_destroy(version);
    return result;
}

static enum hf_err begin_history(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    bson_t fields = BSON_INITIALIZER;
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    bson_value_t value = {.value_type = BSON_TYPE_BINARY};
    enum hf_err result;

    hf_sandbox_uuid_make(id);
    value.value.v_binary.subtype = BSON_SUBTYPE_UUID;
    value.value.v_binary.data = id;
    value.value.v_binary.data_len = sizeof id;
    (void)BSON_APPEND_DATE_TIME(&fields, "wallTime", (int64_t)hf_clock_wall_ms());
    result = hf_sandbox_oplog_create(repl->engine, err);
    if (result == HF_ERR_OK) {
        result = hf_sandbox_repl_make_local(repl, err);
    }
    if (result == HF_ERR_OK) {
        result = hf_sandbox_local_set(repl->engine, NULL, "local.replset.initialSyncId", &value,
                                      &fields, err);
    }
    bson_destroy(&fields);
    if (result != HF_ERR_OK || first_entry(repl, err) != HF_ERR_OK ||
        hf_sandbox_engine_set_stable(repl->engine, hf_sandbox_engine_applied(repl->engine).ts,
                                     err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_engine_checkpoint(repl->engine, err);
}

/* replSetInitiate without a configuration: a set of this member alone. */
static void default_config(const struct hf_sandbox_repl *repl, bson_t *out)
{
    char name[256];
    char host[HF_SANDBOX_HOST_BYTES + 8];
    bson_t members;
    bson_t member;

    hf_host_name(name, sizeof name);
    (void)snprintf(host, sizeof host, "%s:%u",
                   strcmp(repl->options->bind_ip, "localhost") == 0 || !is_local_name(name)
                       ? "localhost"
                       : name,
                   (unsigned)repl->options->port);
    (void)BSON_APPEND_UTF8(out, "_id", repl->options->repl_set);
    (void)BSON_APPEND_INT32(out, "version", 1);
    (void)BSON_APPEND_ARRAY_BEGIN(out, "members", &members);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&members, "0", &member);
    (void)BSON_APPEND_INT32(&member, "_id", 0);
    (void)BSON_APPEND_UTF8(&member, "host", host);
    (void)bson_append_document_end(&members, &member);
    (void)bson_append_array_end(out, &members);
}

/* Everyone must answer, and be in no set yet. */
static int32_t probe_all(struct hf_sandbox_repl *repl, const struct hf_sandbox_config *config,
                         struct hf_sandbox_refusal *no)
{
    bson_t *command = BCON_NEW("replSetHeartbeat", BCON_UTF8(config->set), "checkEmpty",
                               BCON_BOOL(true), "term", BCON_INT64(0));
    int32_t code = 0;

    for (size_t i = 0; i < config->count && code == 0; i++) {
        struct hf_sandbox_client *client = NULL;
        bson_t *reply = NULL;
        struct hf_error err;

        if (config->members[i].self) {
            continue;
        }
        if (hf_sandbox_client_open(config->members[i].host, hf_sandbox_repl_key_of(repl), PROBE_MS,
                                   &client, &err) != HF_ERR_OK ||
            hf_sandbox_client_run(client, command, PROBE_MS, &reply, &err) != HF_ERR_OK) {
            code = hf_sandbox_refuse(no, 74,
                                     "replSetInitiate quorum check failed because not all "
                                     "proposed set members responded affirmatively: %s failed "
                                     "with %s",
                                     config->members[i].host, err.message);
        }
        bson_destroy(reply);
        hf_sandbox_client_close(client);
    }
    bson_destroy(command);
    return code;
}

static int32_t initiate_with(struct hf_sandbox_repl *repl, const bson_t *doc,
                             struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_config *config;
    struct hf_error err;
    int32_t code;

    if (hf_sandbox_config_read(repl, doc, &config, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, 93, "%s", err.message);
    }
    if (config->self < 0) {
        hf_sandbox_config_destroy(config);
        return hf_sandbox_refuse(no, 93,
                                 "No host described in new configuration with %s for "
                                 "replica set maps to this node",
                                 repl->options->repl_set);
    }
    code = probe_all(repl, config, no);
    if (code != 0) {
        hf_sandbox_config_destroy(config);
        return code;
    }
    if (begin_history(repl, &err) != HF_ERR_OK) {
        hf_sandbox_config_destroy(config);
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
    }
    if (hf_sandbox_config_install_take(repl, config, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
    }
    hf_mutex_lock(&repl->state);
    repl->election_due_ms = hf_clock_mono_ms() + 300; /* nobody else can be primary */
    hf_mutex_unlock(&repl->state);
    return 0;
}

int32_t hf_sandbox_repl_initiate(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                                 struct hf_sandbox_refusal *no)
{
    bson_t doc;
    bson_t made = BSON_INITIALIZER;
    bool initiated;
    int32_t code;

    (void)reply;
    if (!hf_sandbox_repl_enabled(repl)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NO_REPLICATION_ENABLED,
                                 "This node was not started with the replSet option");
    }
    hf_mutex_lock(&repl->state);
    initiated = repl->config != NULL;
    hf_mutex_unlock(&repl->state);
    if (initiated) {
        return hf_sandbox_refuse(no, 23, "already initialized");
    }
    if (!hf_sandbox_get_doc(command, "replSetInitiate", &doc) || bson_empty(&doc)) {
        default_config(repl, &made);
        code = initiate_with(repl, &made, no);
    } else if (!bson_has_field(&doc, "members")) {
        default_config(repl, &made);
        code = initiate_with(repl, &made, no);
    } else {
        code = initiate_with(repl, &doc, no);
    }
    bson_destroy(&made);
    return code;
}

int32_t hf_sandbox_repl_reconfig(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                                 struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_config *config;
    struct hf_error err;
    bson_t doc;
    bson_t given = BSON_INITIALIZER;
    bson_t *note;
    bool force = hf_sandbox_get_true(command, "force");
    int64_t version;
    int64_t term;
    enum hf_err result;

    (void)reply;
    if (!hf_sandbox_get_doc(command, "replSetReconfig", &doc)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH, "no configuration specified");
    }
    hf_mutex_lock(&repl->state);
    version = repl->config == NULL ? -1 : repl->config->version;
    term = repl->config == NULL ? -1 : repl->config->term;
    hf_mutex_unlock(&repl->state);
    if (version < 0) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NOT_YET_INITIALIZED,
                                 "no replset config has been received");
    }
    if (!force && hf_sandbox_repl_state(repl) != HF_SANDBOX_PRIMARY) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NOT_WRITABLE_PRIMARY,
                                 "replSetReconfig should only be run on a writable PRIMARY");
    }
    if (hf_sandbox_get_int64(&doc, "version", 0) <= version && !force) {
        return hf_sandbox_refuse(no, 103,
                                 "New replica set configuration version must be greater than old");
    }
    bson_copy_to_excluding_noinit(&doc, &given, "term", "version", NULL);
    (void)BSON_APPEND_INT64(&given, "version",
                            force ? version + 1 : hf_sandbox_get_int64(&doc, "version", 0));
    (void)BSON_APPEND_INT64(&given, "term", term);
    result = hf_sandbox_config_read(repl, &given, &config, &err);
    bson_destroy(&given);
    if (result != HF_ERR_OK) {
        return hf_sandbox_refuse(no, 103, "%s", err.message);
    }
    version = config->version;
    if (hf_sandbox_config_install_take(repl, config, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
    }
    if (hf_sandbox_repl_state(repl) == HF_SANDBOX_PRIMARY) {
        note = BCON_NEW("msg", "Reconfig set", "version", BCON_INT32((int32_t)version));
        result = hf_sandbox_repl_note(repl, note, &err);
        bson_destroy(note);
    }
    return result == HF_ERR_OK
               ? 0
               : hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
}
