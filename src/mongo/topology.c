/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members of a replica set, put together from hello, replSetGetStatus and replSetGetConfig of one member; and
 * finding such a member from a seed list. Must not judge whether a member is fit for anything.
 */
#include "mongo/topology.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "mongo/client_internal.h"
#include "mongo/hello_internal.h"

struct state_name {
    enum hf_mongo_state state;
    char name[12];
};

static const struct state_name state_names[] = {
    {HF_MONGO_STARTUP, "STARTUP"},     {HF_MONGO_PRIMARY, "PRIMARY"},
    {HF_MONGO_SECONDARY, "SECONDARY"}, {HF_MONGO_RECOVERING, "RECOVERING"},
    {HF_MONGO_STARTUP2, "STARTUP2"},   {HF_MONGO_UNKNOWN, "UNKNOWN"},
    {HF_MONGO_ARBITER, "ARBITER"},     {HF_MONGO_DOWN, "DOWN"},
    {HF_MONGO_ROLLBACK, "ROLLBACK"},   {HF_MONGO_REMOVED, "REMOVED"},
};

const char *hf_mongo_state_name(enum hf_mongo_state state)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(state_names); i++) {
        if (state_names[i].state == state) {
            return state_names[i].name;
        }
    }
    return "UNKNOWN";
}

enum hf_mongo_state hf_mongo_state_from_name(const char *name)
{
    for (size_t i = 0; name != NULL && i < HF_ARRAY_LEN(state_names); i++) {
        if (strcmp(state_names[i].name, name) == 0) {
            return state_names[i].state;
        }
    }
    return HF_MONGO_UNKNOWN;
}

static enum hf_mongo_state state_of_number(int64_t number)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(state_names); i++) {
        if ((int64_t)state_names[i].state == number) {
            return state_names[i].state;
        }
    }
    return HF_MONGO_UNKNOWN;
}

const struct hf_mongo_member *hf_mongo_set_member(const struct hf_mongo_set *set, const char *host)
{
    for (size_t i = 0; i < set->member_count; i++) {
        if (strcasecmp(set->members[i].host, host) == 0) {
            return &set->members[i];
        }
    }
    return NULL;
}

/* ---- hello ---- */

enum hf_err hf_mongo_parse_hello(const bson_t *reply, struct hf_mongo_hello *out,
                                 struct hf_error *err)
{
    const char *message = hf_mongo_get_text(reply, "msg");

    *out = (struct hf_mongo_hello){
        .config_server = hf_mongo_get_int(reply, "configsvr", 0) != 0,
        .primary = hf_mongo_get_bool(reply, "isWritablePrimary",
                                     hf_mongo_get_bool(reply, "ismaster", false)),
        .secondary = hf_mongo_get_bool(reply, "secondary", false),
        .hidden = hf_mongo_get_bool(reply, "hidden", false),
        .arbiter = hf_mongo_get_bool(reply, "arbiterOnly", false),
        .read_only = hf_mongo_get_bool(reply, "readOnly", false),
        .last_write = hf_mongo_get_optime(reply, "lastWrite.opTime"),
        .majority = hf_mongo_get_optime(reply, "lastWrite.majorityOpTime"),
    };
    if (hf_mongo_copy_text(out->set_name, sizeof out->set_name, hf_mongo_get_text(reply, "setName"),
                           "setName", err) != HF_ERR_OK ||
        hf_mongo_copy_text(out->me, sizeof out->me, hf_mongo_get_text(reply, "me"), "me", err) !=
            HF_ERR_OK ||
        hf_mongo_copy_text(out->primary_host, sizeof out->primary_host,
                           hf_mongo_get_text(reply, "primary"), "primary", err) != HF_ERR_OK) {
        return hf_wrap(err, "hello");
    }
    if (message != NULL && strcmp(message, "isdbgrid") == 0) {
        out->role = HF_MONGO_ROLE_MONGOS;
    } else if (out->set_name[0] != '\0') {
        out->role = HF_MONGO_ROLE_MEMBER;
    } else if (hf_mongo_get_bool(reply, "isreplicaset", false)) {
        out->role = HF_MONGO_ROLE_NOT_INITIATED;
    } else {
        out->role = HF_MONGO_ROLE_STANDALONE;
    }
    return HF_ERR_OK;
}

static void add_host(struct hf_mongo_hosts *hosts, const char *host)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (strcasecmp(hosts->names[i], host) == 0) {
            return;
        }
    }
    if (hosts->count < HF_MONGO_MAX_MEMBERS) {
        (void)snprintf(hosts->names[hosts->count++], HF_MONGO_HOST_BYTES, "%s", host);
    }
}

void hf_mongo_parse_hello_hosts(const bson_t *reply, struct hf_mongo_hosts *out)
{
    static const char lists[][12] = {"hosts", "passives"};

    for (size_t i = 0; i < HF_ARRAY_LEN(lists); i++) {
        bson_t list;
        bson_iter_t iter;

        if (!hf_mongo_get_doc(reply, lists[i], &list) || !bson_iter_init(&iter, &list)) {
            continue;
        }
        while (bson_iter_next(&iter)) {
            const char *host = hf_mongo_get_text(&list, bson_iter_key(&iter));
            if (host != NULL && strlen(host) < HF_MONGO_HOST_BYTES) {
                add_host(out, host);
            }
        }
    }
}

/* ---- The set ---- */

/* The member's entry in replSetGetStatus. */
static bool find_status(const bson_t *status, int64_t id, bson_t *out)
{
    bson_t members;
    bson_iter_t iter;

    if (!hf_mongo_get_doc(status, "members", &members) || !bson_iter_init(&iter, &members)) {
        return false;
    }
    while (bson_iter_next(&iter)) {
        if (hf_mongo_iter_doc(&iter, out) && hf_mongo_get_int(out, "_id", -1) == id) {
            return true;
        }
    }
    return false;
}

static uint64_t not_negative(int64_t value)
{
    return value > 0 ? (uint64_t)value : 0;
}

static enum hf_err parse_member(const bson_t *config, const bson_t *status,
                                struct hf_mongo_member *out, struct hf_error *err)
{
    const char *host = hf_mongo_get_text(config, "host");
    int64_t votes = hf_mongo_get_int(config, "votes", 1);
    bson_t seen;

    *out = (struct hf_mongo_member){
        .id = hf_mongo_get_int(config, "_id", -1),
        .state = HF_MONGO_UNKNOWN,
        .hidden = hf_mongo_get_bool(config, "hidden", false),
        .arbiter = hf_mongo_get_bool(config, "arbiterOnly", false),
        .priority = hf_mongo_get_real(config, "priority", 1),
        .votes = votes > 0 ? 1 : 0,
        /* Renamed in 5.0. */
        .delay_s = not_negative(hf_mongo_get_int(config, "secondaryDelaySecs",
                                                 hf_mongo_get_int(config, "slaveDelay", 0))),
        .lag_s = HF_MONGO_LAG_UNKNOWN,
        .optime = {.term = -1},
    };
    if (host == NULL || host[0] == '\0' || out->id < 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "replSetGetConfig: a member without host or _id");
    }
    if (hf_mongo_copy_text(out->host, sizeof out->host, host, "a member's host", err) !=
        HF_ERR_OK) {
        return hf_wrap(err, "replSetGetConfig");
    }
    /* A member that was just added may be missing in the status: unknown, unhealthy. */
    if (find_status(status, out->id, &seen)) {
        out->state = state_of_number(hf_mongo_get_int(&seen, "state", -1));
        out->self = hf_mongo_get_bool(&seen, "self", false);
        out->healthy = hf_mongo_get_bool(&seen, "health", false);
        out->optime = hf_mongo_get_optime(&seen, "optime");
    }
    return HF_ERR_OK;
}

/* Behind the primary; without one behind the newest member, which is the best that anybody can become. */
static void compute_lags(struct hf_mongo_set *set)
{
    struct hf_mongo_ts newest = {0, 0};
    bool from_primary = false;

    for (size_t i = 0; i < set->member_count; i++) {
        const struct hf_mongo_member *member = &set->members[i];
        bool is_primary = member->state == HF_MONGO_PRIMARY;

        if (is_primary && !from_primary) {
            from_primary = true;
            newest = member->optime.ts;
        } else if (is_primary == from_primary &&
                   hf_mongo_ts_compare(member->optime.ts, newest) > 0) {
            newest = member->optime.ts;
        }
    }
    for (size_t i = 0; i < set->member_count; i++) {
        struct hf_mongo_member *member = &set->members[i];

        if (!hf_mongo_ts_is_null(member->optime.ts) && !hf_mongo_ts_is_null(newest)) {
            member->lag_s = newest.seconds > member->optime.ts.seconds
                                ? newest.seconds - member->optime.ts.seconds
                                : 0;
        }
    }
}

/* Two members may both believe to be primary for a moment; the one that hello names is the one followed. */
static void find_primary(struct hf_mongo_set *set, const struct hf_mongo_hello *hello)
{
    for (size_t i = 0; i < set->member_count; i++) {
        const struct hf_mongo_member *member = &set->members[i];

        if (member->state == HF_MONGO_PRIMARY && member->healthy &&
            (set->primary[0] == '\0' ||
             (hello != NULL && strcasecmp(hello->primary_host, member->host) == 0))) {
            memcpy(set->primary, member->host, sizeof set->primary);
        }
    }
}

enum hf_err hf_mongo_parse_set(const bson_t *config, const bson_t *status,
                               const struct hf_mongo_hello *hello, struct hf_mongo_set *out,
                               struct hf_error *err)
{
    bson_t members;
    bson_iter_t iter;
    bson_iter_t id;
    const char *name = hf_mongo_get_text(config, "config._id");

    memset(out, 0, sizeof *out);
    if (name == NULL || !hf_mongo_get_doc(config, "config.members", &members) ||
        !bson_iter_init(&iter, &members)) {
        return hf_fail(err, HF_ERR_CORRUPT, "replSetGetConfig: no name or no members");
    }
    if (hf_mongo_copy_text(out->name, sizeof out->name, name, "the set's name", err) != HF_ERR_OK) {
        return hf_wrap(err, "replSetGetConfig");
    }
    if (hf_mongo_get(config, "config.settings.replicaSetId", &id) && BSON_ITER_HOLDS_OID(&id)) {
        bson_oid_to_string(bson_iter_oid(&id), out->id_hex);
    }
    out->config_version = hf_mongo_get_int(config, "config.version", 0);
    out->term = hf_mongo_get_int(status, "term", -1);
    out->majority = hf_mongo_get_optime(status, "optimes.lastCommittedOpTime");
    while (bson_iter_next(&iter)) {
        bson_t member;

        if (out->member_count == HF_MONGO_MAX_MEMBERS) {
            return hf_fail(err, HF_ERR_LIMIT, "set %s has more than %d members", out->name,
                           HF_MONGO_MAX_MEMBERS);
        }
        if (!hf_mongo_iter_doc(&iter, &member)) {
            return hf_fail(err, HF_ERR_CORRUPT, "replSetGetConfig: a member is no document");
        }
        if (parse_member(&member, status, &out->members[out->member_count], err) != HF_ERR_OK) {
            return hf_wrap(err, "set %s", out->name);
        }
        out->member_count++;
    }
    find_primary(out, hello);
    compute_lags(out);
    return HF_ERR_OK;
}

/* ---- Reading ---- */

static enum hf_err run_simple(struct hf_mongo_client *client, const char *name, bson_t *reply,
                              struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;

    (void)BSON_APPEND_INT32(&command, name, 1);
    bson_destroy(reply);
    return hf_mongo_command(client, "admin", &command, NULL, reply, err);
}

static enum hf_err refuse_role(const char *host, const struct hf_mongo_hello *hello,
                               struct hf_error *err)
{
    switch (hello->role) {
    case HF_MONGO_ROLE_MEMBER:
        if (!hello->arbiter) {
            return HF_ERR_OK;
        }
        /* It keeps no users, so it can authenticate nobody. */
        return hf_fail(err, HF_ERR_UNSUPPORTED, "%s: an arbiter of set %s, which holds no data",
                       host, hello->set_name);
    case HF_MONGO_ROLE_MONGOS:
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s: a mongos; hint: name the members of the replica set", host);
    case HF_MONGO_ROLE_NOT_INITIATED:
        return hf_fail(err, HF_ERR_UNSUPPORTED, "%s: a member that is not initiated", host);
    case HF_MONGO_ROLE_STANDALONE:
    case HF_MONGO_ROLE_UNKNOWN:
    default:
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s: a standalone; hint: backups need a replica set, one member is enough",
                       host);
    }
}

static enum hf_err read_set(struct hf_mongo_client *client, struct hf_mongo_hosts *hosts,
                            struct hf_mongo_set *out, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t hello_reply = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t status = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t config = BSON_INITIALIZER;
    struct hf_mongo_hello hello;

    bson_destroy(&hello_reply);
    if (hf_mongo_hello(client, &hello_reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hosts != NULL) {
        hf_mongo_parse_hello_hosts(&hello_reply, hosts);
    }
    if (hf_mongo_parse_hello(&hello_reply, &hello, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", client->host);
    }
    if (refuse_role(client->host, &hello, err) != HF_ERR_OK ||
        run_simple(client, "replSetGetStatus", &status, err) != HF_ERR_OK ||
        run_simple(client, "replSetGetConfig", &config, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_parse_set(&config, &status, &hello, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", client->host);
    }
    memcpy(out->answered, client->host, sizeof out->answered);
    return HF_ERR_OK;
}

enum hf_err hf_mongo_set_read(struct hf_mongo_client *client, struct hf_mongo_set *out,
                              struct hf_error *err)
{
    return read_set(client, NULL, out, err);
}

/* ---- Finding ---- */

/* What nobody answering means: one that answered and refused says more than one that was silent. */
static void keep_worst(struct hf_error *all, const struct hf_error *one)
{
    struct hf_error before = *all;
    bool says_more = hf_err_retry(before.code) && !hf_err_retry(one->code);

    if (before.code == HF_ERR_OK) {
        *all = *one;
    } else {
        (void)hf_fail(all, says_more ? one->code : before.code, "%s; %s", before.message,
                      one->message);
    }
}

enum hf_err hf_mongo_set_find(const char *seeds, const struct hf_mongo_options *options,
                              const struct hf_cancel *cancel, struct hf_mongo_set *out,
                              struct hf_error *err)
{
    struct hf_error all = {.code = HF_ERR_OK};
    struct hf_error one;
    HF_CLEANUP(hf_free) struct hf_mongo_hosts *hosts = hf_alloc_zero(sizeof *hosts);

    if (hosts == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "find the set");
    }
    if (hf_mongo_parse_seeds(seeds, hosts, err) != HF_ERR_OK) {
        return hf_wrap(err, "find the set");
    }
    struct hf_mongo_options member = *options;
    if (member.uri == NULL && strncmp(seeds, "mongodb://", strlen("mongodb://")) == 0) {
        member.uri = seeds;
    }
    /* The list grows while it is walked: each answer may name further hosts. */
    for (size_t i = 0; i < hosts->count; i++) {
        HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;

        if (hf_cancel_check(cancel, err) != HF_ERR_OK) {
            return hf_wrap(err, "find the set");
        }
        member.host = hosts->names[i];
        hf_error_clear(&one);
        if (hf_mongo_client_open(&member, &client, &one) == HF_ERR_OK &&
            read_set(client, hosts, out, &one) == HF_ERR_OK) {
            return HF_ERR_OK;
        }
        if (one.code == HF_ERR_INVALID) {
            /* An option that cannot be: every host would say the same. */
            return hf_fail(err, one.code, "find the set: %s", one.message);
        }
        keep_worst(&all, &one);
    }
    return hf_fail(err, all.code, "find the set: %s", all.message);
}
