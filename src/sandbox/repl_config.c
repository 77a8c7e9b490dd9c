/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations of the set: read, filled up with defaults as mongod shows them, stored in local.system.replset, put to
 * use. Initiate and reconfig.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/repl_internal.h"

void hf_sandbox_config_destroy(struct hf_sandbox_config *config)
{
    if (config != NULL) {
        bson_destroy(config->doc);
        hf_free(config);
    }
}
HF_CLEANUP_DEFINE(hf_sandbox_config_destroy, struct hf_sandbox_config *)

/* ---- Reading ---- */

/* A member is this one when it has our port and a socket can be bound to its address. */
static bool is_self(const struct hf_sandbox_repl *repl, const char *host)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    const char *colon = strrchr(host, ':');
    struct addrinfo *list;
    char name[HF_SANDBOX_HOST_BYTES];
    bool found = false;

    (void)snprintf(name, sizeof name, "%.*s", (int)(colon - host), host);
    if (strtoul(colon + 1, NULL, 10) != repl->options->port ||
        getaddrinfo(name, "0", &hints, &list) != 0) {
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

/* Adds it to the counts, and to the list as it is shown. */
static enum hf_err read_member(struct hf_sandbox_repl *repl, const bson_t *in,
                               struct hf_sandbox_config *config, bson_t *shown,
                               struct hf_error *err)
{
    struct hf_sandbox_member *member = &config->members[config->count];
    const char *host = hf_sandbox_get_utf8(in, "host", "");
    bson_value_t priority = hf_sandbox_value_of_double(1);
    bson_t tags = BSON_INITIALIZER;
    char key[16];

    (void)hf_sandbox_get(in, "priority", &priority);
    (void)hf_sandbox_get_doc(in, "tags", &tags);
    (void)snprintf(member->host, sizeof member->host, "%s%s", host,
                   strrchr(host, ':') != NULL ? "" : ":27017");
    member->id = (int32_t)hf_sandbox_get_int64(in, "_id", -1);
    member->arbiter = hf_sandbox_get_true(in, "arbiterOnly");
    member->hidden = hf_sandbox_get_true(in, "hidden");
    member->priority = member->arbiter ? 0 : hf_sandbox_as_double(&priority);
    member->votes = (int32_t)hf_sandbox_get_int64(in, "votes", 1);
    if (host[0] == '\0' || strlen(host) >= sizeof member->host - 6 || member->id < 0 ||
        ((member->hidden || member->votes == 0) && member->priority != 0)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "a member needs _id and host, and priority 0 when it is hidden or has no "
                       "vote: %s",
                       member->host);
    }
    member->self = is_self(repl, member->host);
    (void)snprintf(key, sizeof key, "%zu", config->count);
    BCON_APPEND(shown, key, "{", "_id", BCON_INT32(member->id), "host", BCON_UTF8(member->host),
                "arbiterOnly", BCON_BOOL(member->arbiter), "buildIndexes", BCON_BOOL(true),
                "hidden", BCON_BOOL(member->hidden), "priority", BCON_DOUBLE(member->priority),
                "tags", BCON_DOCUMENT(&tags), "slaveDelay", BCON_INT64(0), "votes",
                BCON_INT32(member->votes), "}");
    config->self = member->self ? (int)config->count : config->self;
    config->voters += member->votes != 0;
    config->writable_voters += member->votes != 0 && !member->arbiter;
    config->data_members += !member->arbiter;
    config->count++;
    return HF_ERR_OK;
}

static enum hf_err read_members(struct hf_sandbox_repl *repl, const bson_t *in,
                                struct hf_sandbox_config *config, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *shown = bson_new();
    bson_t list, member;
    bson_iter_t iter;
    bool good = hf_sandbox_get_doc(in, "members", &list) && bson_iter_init(&iter, &list);

    while (good && bson_iter_next(&iter)) {
        good = config->count < HF_SANDBOX_MEMBERS_MAX &&
               hf_sandbox_value_doc(bson_iter_value(&iter), &member);
        if (good && read_member(repl, &member, config, shown, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (!good || config->writable_voters == 0) {
        return hf_fail(err, HF_ERR_INVALID,
                       "it has no members, too many, or none with data and a vote");
    }
    config->vote_majority = config->voters / 2 + 1;
    config->write_majority = config->vote_majority < config->writable_voters
                                 ? config->vote_majority
                                 : config->writable_voters;
    (void)BSON_APPEND_ARRAY(config->doc, "members", shown);
    return HF_ERR_OK;
}

static void read_settings(const bson_t *in, struct hf_sandbox_config *config)
{
    bson_t given = BSON_INITIALIZER;
    bson_oid_t id;
    bson_value_t old;

    (void)hf_sandbox_get_doc(in, "settings", &given);
    config->heartbeat_ms = (uint64_t)hf_sandbox_get_int64(&given, "heartbeatIntervalMillis", 2000);
    config->election_ms = (uint64_t)hf_sandbox_get_int64(&given, "electionTimeoutMillis", 10000);
    bson_oid_init(&id, NULL);
    if (hf_sandbox_get(&given, "replicaSetId", &old) && old.value_type == BSON_TYPE_OID) {
        id = old.value.v_oid;
    }
    BCON_APPEND(config->doc, "settings", "{", "chainingAllowed", BCON_BOOL(true),
                "heartbeatIntervalMillis", BCON_INT32((int32_t)config->heartbeat_ms),
                "heartbeatTimeoutSecs",
                BCON_INT32((int32_t)hf_sandbox_get_int64(&given, "heartbeatTimeoutSecs", 10)),
                "electionTimeoutMillis", BCON_INT32((int32_t)config->election_ms),
                "catchUpTimeoutMillis", BCON_INT32(-1), "catchUpTakeoverDelayMillis",
                BCON_INT32(30000), "getLastErrorModes", "{", "}", "getLastErrorDefaults", "{", "w",
                BCON_INT32(1), "wtimeout", BCON_INT32(0), "}", "replicaSetId", BCON_OID(&id), "}");
}

static enum hf_err read_config(struct hf_sandbox_repl *repl, const bson_t *doc,
                               struct hf_sandbox_config **out, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_config_destroy)
    struct hf_sandbox_config *config = hf_alloc_zero(sizeof *config);
    const char *set = hf_sandbox_get_utf8(doc, "_id", "");

    HF_ASSERT(config != NULL);
    config->self = -1;
    config->version = hf_sandbox_get_int64(doc, "version", 1);
    config->term = hf_sandbox_get_int64(doc, "term", 0);
    config->doc = BCON_NEW("_id", BCON_UTF8(set), "version", BCON_INT32((int32_t)config->version),
                           "term", BCON_INT32((int32_t)config->term), "protocolVersion",
                           BCON_INT64(1), "writeConcernMajorityJournalDefault", BCON_BOOL(true));
    if (strcmp(set, repl->options->repl_set) != 0) {
        return hf_fail(err, HF_ERR_INVALID, "its set name %s differs from command line set name %s",
                       set, repl->options->repl_set);
    }
    if (read_members(repl, doc, config, err) != HF_ERR_OK) {
        return err->code;
    }
    read_settings(doc, config);
    *out = HF_TAKE(config);
    return HF_ERR_OK;
}

/* ---- Storing and putting to use ---- */

int hf_sandbox_config_compare(const struct hf_sandbox_repl *repl, int64_t term, int64_t version)
{
    const struct hf_sandbox_config *ours = repl->config;

    if (ours == NULL) {
        return 1;
    }
    return term != ours->term ? (term > ours->term ? 1 : -1)
                              : (version > ours->version) - (version < ours->version);
}

/* What is known of a member goes with it to its new place. */
static void carry_views(struct hf_sandbox_repl *repl, const struct hf_sandbox_config *config)
{
    struct hf_sandbox_view old[HF_SANDBOX_MEMBERS_MAX];
    int primary = repl->primary;

    memcpy(old, repl->views, sizeof old);
    repl->primary = -1;
    for (size_t i = 0; i < config->count; i++) {
        repl->views[i] = (struct hf_sandbox_view){.applied = HF_SANDBOX_OPTIME_NONE,
                                                  .durable = HF_SANDBOX_OPTIME_NONE,
                                                  .state = HF_SANDBOX_UNKNOWN,
                                                  .config_term = -1};
        for (size_t j = 0; repl->config != NULL && j < repl->config->count; j++) {
            if (strcmp(repl->config->members[j].host, config->members[i].host) == 0) {
                repl->views[i] = old[j];
                repl->primary = primary == (int)j ? (int)i : repl->primary;
            }
        }
    }
}

/* The local collections a member has, made where they are missing, and the configuration in its own. */
static enum hf_err store(struct hf_sandbox_repl *repl, const struct hf_sandbox_config *config,
                         struct hf_error *err)
{
    static const char *const names[] = {
        HF_SANDBOX_CONFIG_NS,          "local.system.rollback.id",
        "local.replset.election",      "local.replset.minvalid",
        "local.replset.initialSyncId", "local.replset.oplogTruncateAfterPoint"};
    HF_CLEANUP(bson_destroy) bson_t *fields = bson_new();
    const bson_value_t id = hf_sandbox_value_of_utf8(repl->options->repl_set);

    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        if (hf_sandbox_local_create(repl->engine, names[i], NULL, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    bson_copy_to_excluding_noinit(config->doc, fields, "_id", NULL);
    return hf_sandbox_local_set(repl->engine, NULL, HF_SANDBOX_CONFIG_NS, &id, fields, err) !=
                   HF_ERR_OK
               ? err->code
               : hf_sandbox_engine_flush(repl->engine, err);
}

enum hf_err hf_sandbox_config_install(struct hf_sandbox_repl *repl, const bson_t *doc,
                                      struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_config_destroy) struct hf_sandbox_config *config = NULL;
    HF_CLEANUP(bson_destroy) bson_t *min_valid = NULL;
    bool has_data, newer;

    if (read_config(repl, doc, &config, err) != HF_ERR_OK) {
        return hf_wrap(err, "configuration of the set");
    }
    hf_mutex_lock(&repl->state);
    newer = hf_sandbox_config_compare(repl, config->term, config->version) > 0;
    hf_mutex_unlock(&repl->state);
    if (!newer) {
        return HF_ERR_OK;
    }
    if (store(repl, config, err) != HF_ERR_OK ||
        hf_sandbox_local_get(repl->engine, "local.replset.minvalid", false, &min_valid, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    /* The remains of a copy that was cut short are none. */
    has_data = hf_sandbox_engine_applied(repl->engine).ts != 0 &&
               (min_valid == NULL || !hf_sandbox_get_true(min_valid, "doingInitialSync"));
    HF_LOCKED(&repl->state);
    if (hf_sandbox_config_compare(repl, config->term, config->version) <= 0) {
        return HF_ERR_OK; /* a newer one came meanwhile */
    }
    carry_views(repl, config);
    hf_sandbox_config_destroy(repl->config);
    repl->config = HF_TAKE(config);
    repl->topology++;
    repl->beat_due_ms = 0;
    if (repl->config->self < 0) {
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_REMOVED);
    } else if (repl->config->members[repl->config->self].arbiter) {
        hf_sandbox_repl_set_state(repl, HF_SANDBOX_ARBITER);
    } else if (repl->mine == HF_SANDBOX_STARTUP || repl->mine == HF_SANDBOX_REMOVED) {
        hf_sandbox_repl_put_off_election(repl);
        hf_sandbox_repl_set_state(repl, has_data ? HF_SANDBOX_SECONDARY : HF_SANDBOX_STARTUP2);
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_repl_begin_history(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy)
    bson_t *fields = BCON_NEW("wallTime", BCON_DATE_TIME((int64_t)hf_clock_wall_ms()));
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];
    bson_value_t id = {.value_type = BSON_TYPE_BINARY};

    hf_sandbox_uuid_make(uuid);
    id.value.v_binary.subtype = BSON_SUBTYPE_UUID;
    id.value.v_binary.data = uuid;
    id.value.v_binary.data_len = sizeof uuid;
    if (hf_sandbox_local_set(repl->engine, NULL, "local.replset.initialSyncId", &id, fields, err) !=
            HF_ERR_OK ||
        hf_sandbox_local_set_truncate_after(repl->engine, 0, err) != HF_ERR_OK ||
        hf_sandbox_local_set_min_valid(repl->engine, NULL, HF_SANDBOX_OPTIME_NONE,
                                       HF_SANDBOX_OPTIME_NONE, err) != HF_ERR_OK ||
        hf_sandbox_engine_set_stable(repl->engine, hf_sandbox_engine_applied(repl->engine).ts,
                                     err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_engine_checkpoint(repl->engine, err);
}

/* ---- Initiate and reconfig ---- */

/* The oplog's first entry, which has no term, and with it what a fresh node knows: its feature version. */
static enum hf_err write_first_entry(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    const struct hf_sandbox_txn_options options = {.write = true, .replicated = true};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    HF_CLEANUP(bson_destroy) bson_t *o = BCON_NEW("msg", "initiating set");
    HF_CLEANUP(bson_destroy)
    bson_t *version = BCON_NEW("_id", "featureCompatibilityVersion", "version", "4.4");
    const bson_t empty = BSON_INITIALIZER;
    const struct hf_sandbox_entry entry = {.op = "n", .ns = "", .o = o};
    struct hf_sandbox_coll *coll;
    uint8_t uuid[HF_SANDBOX_UUID_BYTES];

    hf_sandbox_uuid_make(uuid);
    if (hf_sandbox_txn_begin(repl->engine, &options, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_log(txn, &entry, NULL, err) != HF_ERR_OK ||
        (hf_sandbox_txn_find(txn, "admin.system.version") == NULL &&
         (hf_sandbox_coll_create(txn, "admin.system.version", &empty, uuid, &coll, err) !=
              HF_ERR_OK ||
          hf_sandbox_coll_insert(txn, coll, version, NULL, err) != HF_ERR_OK))) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* With the oplog's lock shut to others; the member becomes primary only by an election. */
static enum hf_err make_history(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    enum hf_err result;

    if (hf_sandbox_oplog_create(repl->engine, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_sandbox_engine_set_role(repl->engine, true, -1);
    result = write_first_entry(repl, err);
    hf_sandbox_engine_set_role(repl->engine, false, 0);
    return result != HF_ERR_OK ? result : hf_sandbox_repl_begin_history(repl, err);
}

int32_t hf_sandbox_config_initiate(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    HF_CLEANUP(hf_sandbox_config_destroy) struct hf_sandbox_config *config = NULL;
    struct hf_error err;
    bson_t doc;

    if (hf_sandbox_repl_state(repl) != HF_SANDBOX_STARTUP) {
        return hf_sandbox_refuse(ask->no, 23, "already initialized");
    }
    if (!hf_sandbox_get_doc(ask->command, "replSetInitiate", &doc)) {
        return hf_sandbox_refuse(ask->no, HF_SANDBOX_TYPE_MISMATCH, "no configuration specified");
    }
    if (read_config(repl, &doc, &config, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(ask->no, 93, "%s", err.message);
    }
    if (config->self < 0) {
        return hf_sandbox_refuse(ask->no, 93, "no host in the new configuration is this node");
    }
    if (make_history(repl, &err) != HF_ERR_OK ||
        hf_sandbox_config_install(repl, config->doc, &err) != HF_ERR_OK) {
        return hf_sandbox_repl_result(err.code, &err, ask->no);
    }
    HF_LOCKED(&repl->state);
    repl->election_due_ms = hf_clock_mono_ms() + 300; /* nobody else can be primary */
    return 0;
}

int32_t hf_sandbox_config_reconfig(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    HF_CLEANUP(bson_destroy) bson_t *given = bson_new();
    HF_CLEANUP(bson_destroy) bson_t *note = NULL;
    struct hf_error err;
    bson_t doc;
    int64_t version, old_version;

    if (hf_sandbox_repl_state(repl) != HF_SANDBOX_PRIMARY) {
        return hf_sandbox_refuse(ask->no, HF_SANDBOX_NOT_WRITABLE_PRIMARY,
                                 "replSetReconfig should only be run on a writable PRIMARY");
    }
    if (!hf_sandbox_get_doc(ask->command, "replSetReconfig", &doc)) {
        return hf_sandbox_refuse(ask->no, HF_SANDBOX_TYPE_MISMATCH, "no configuration specified");
    }
    version = hf_sandbox_get_int64(&doc, "version", 0);
    bson_copy_to_excluding_noinit(&doc, given, "term", NULL);
    hf_mutex_lock(&repl->state);
    (void)BSON_APPEND_INT64(given, "term", repl->config->term);
    old_version = repl->config->version;
    hf_mutex_unlock(&repl->state);
    if (version <= old_version) {
        return hf_sandbox_refuse(ask->no, 103, "the version must be greater than the old one");
    }
    if (hf_sandbox_config_install(repl, given, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(ask->no, 103, "%s", err.message);
    }
    note = BCON_NEW("msg", "Reconfig set", "version", BCON_INT32((int32_t)version));
    return hf_sandbox_repl_result(hf_sandbox_repl_note(repl, note, &err), &err, ask->no);
}
