/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there is: the members of a replica set, the facts about one server, and whether it can be
 * backed up.
 *
 * Reading and deciding are separate: hf_mongo_backup_check decides over plain facts, without a
 * connection.
 */
#ifndef HF_MONGO_TOPOLOGY_H
#define HF_MONGO_TOPOLOGY_H

#include "base/thread.h"
#include "mongo/client.h"

/* The numbers are the server's (`state` of replSetGetStatus). */
enum hf_mongo_state {
    HF_MONGO_STARTUP = 0,
    HF_MONGO_PRIMARY = 1,
    HF_MONGO_SECONDARY = 2,
    HF_MONGO_RECOVERING = 3,
    HF_MONGO_STARTUP2 = 5,
    HF_MONGO_UNKNOWN = 6,
    HF_MONGO_ARBITER = 7,
    HF_MONGO_DOWN = 8,
    HF_MONGO_ROLLBACK = 9,
    HF_MONGO_REMOVED = 10,
};
/* "PRIMARY". */
const char *hf_mongo_state_name(enum hf_mongo_state state);
/* UNKNOWN for a name that is none. */
enum hf_mongo_state hf_mongo_state_from_name(const char *name);

#define HF_MONGO_LAG_UNKNOWN UINT64_MAX

struct hf_mongo_member {
    char host[HF_MONGO_HOST_BYTES]; /* as the set's configuration names it */
    int64_t id;                     /* _id in the configuration */
    enum hf_mongo_state state;
    bool healthy; /* as the answering member sees it */
    bool self;    /* the answering member */
    bool hidden, arbiter;
    double priority;
    uint32_t votes;
    uint64_t delay_s;
    uint64_t lag_s; /* behind the primary (else behind the newest member); HF_MONGO_LAG_UNKNOWN */
    struct hf_mongo_optime optime;
};

struct hf_mongo_set {
    char name[HF_MONGO_NAME_BYTES];
    char id_hex[25]; /* settings.replicaSetId; empty when the configuration has none */
    int64_t term;
    int64_t config_version;
    char primary[HF_MONGO_HOST_BYTES];  /* empty when there is none */
    char answered[HF_MONGO_HOST_BYTES]; /* the address that was asked */
    struct hf_mongo_optime
        majority; /* newest majority committed entry; ts null when not known yet */
    size_t member_count;
    struct hf_mongo_member members[HF_MONGO_MAX_MEMBERS];
};

/* NULL when no member has that "host:port". */
const struct hf_mongo_member *hf_mongo_set_member(const struct hf_mongo_set *set, const char *host);

/* The set as this member sees it: hello, replSetGetStatus, replSetGetConfig. UNSUPPORTED when it is
 * in no set. */
HF_MUST_CHECK enum hf_err hf_mongo_set_read(struct hf_mongo_client *client,
                                            struct hf_mongo_set *out, struct hf_error *err);

/*
 * Finds the set from a seed list (mongodb:// URI or "host:port,..."): asks the seeds in order, then
 * the hosts they name, until a data-bearing member answers all. options gives credentials, TLS and
 * time-outs; its host is not used, its uri may be NULL or the seed list itself. When nobody answers
 * the error tells what each one said.
 */
HF_MUST_CHECK enum hf_err hf_mongo_set_find(const char *seeds,
                                            const struct hf_mongo_options *options,
                                            const struct hf_cancel *cancel,
                                            struct hf_mongo_set *out, struct hf_error *err);

enum hf_mongo_edition {
    HF_MONGO_EDITION_UNKNOWN,
    HF_MONGO_COMMUNITY,
    HF_MONGO_ENTERPRISE,
    HF_MONGO_PERCONA,
};
/* "Percona Server for MongoDB". */
const char *hf_mongo_edition_name(enum hf_mongo_edition edition);

enum hf_mongo_role {
    HF_MONGO_ROLE_UNKNOWN,
    HF_MONGO_ROLE_STANDALONE,
    HF_MONGO_ROLE_MONGOS,
    HF_MONGO_ROLE_MEMBER,
    HF_MONGO_ROLE_NOT_INITIATED, /* started with --replSet, no configuration yet */
};

enum hf_mongo_shard_role { HF_MONGO_SHARD_NONE, HF_MONGO_SHARD_SHARDSVR, HF_MONGO_SHARD_CONFIGSVR };

/* About one server. What could not be read is empty, 0 or false, and `missing` tells why. */
struct hf_mongo_facts {
    char host[HF_MONGO_HOST_BYTES]; /* asked */
    char me[HF_MONGO_HOST_BYTES];   /* how the set calls it; empty outside of sets */
    char set_name[HF_MONGO_NAME_BYTES];
    enum hf_mongo_role role;
    enum hf_mongo_shard_role shard_role;
    bool primary, secondary, hidden, arbiter, read_only;

    char version[HF_MONGO_NAME_BYTES]; /* "4.4.6-8" */
    uint32_t version_major, version_minor, version_patch;
    enum hf_mongo_edition edition;
    char fcv[HF_MONGO_NAME_BYTES];        /* "4.4" */
    char fcv_target[HF_MONGO_NAME_BYTES]; /* not empty while an up- or downgrade is under way */
    uint32_t fcv_major, fcv_minor;
    char engine[HF_MONGO_NAME_BYTES]; /* "wiredTiger" */
    bool backup_cursor_open;
    bool encrypted;

    uint64_t pid;
    uint64_t cursor_timeout_ms; /* 0: not known */
    struct hf_mongo_optime last_write, majority;

    char *dbpath; /* owned; NULL when not known */
    bool directory_per_db, directory_for_indexes;
    bool options_known; /* getCmdLineOpts was allowed */
    /* owned; plain JSON object with the start options that a restored copy needs
     * (storage.directoryPerDB, storage.engine, storage.wiredTiger..., never a secret); "{}" when
     * none or not known */
    char *restore_options;

    char missing[512]; /* sentences about rights that are missing and what is not known for it; else
                          empty */
};

/*
 * hello, buildInfo, getParameter, serverStatus, getCmdLineOpts. A refused right that the check
 * below needs is DENIED and names command and role; one that only costs comfort (getCmdLineOpts,
 * cursorTimeoutMillis) goes to `missing`. After success the caller ends it with hf_mongo_facts_fini; after a failure *out is empty.
 */
HF_MUST_CHECK enum hf_err hf_mongo_facts_read(struct hf_mongo_client *client,
                                              struct hf_mongo_facts *out, struct hf_error *err);
void hf_mongo_facts_fini(struct hf_mongo_facts *facts);
HF_CLEANUP_DEFINE_VALUE(hf_mongo_facts_fini, struct hf_mongo_facts)

/*
 * Can this server give a backup cursor? Refused by name, UNSUPPORTED: mongos, standalone, not initiated, arbiter,
 * another engine, an edition or version without the stage, FCV below 4.2. CONFLICT: neither primary nor secondary just
 * now. A cursor that is open already is no reason to refuse: hf_mongo_backup_open waits for its end.
 */
HF_MUST_CHECK enum hf_err hf_mongo_backup_check(const struct hf_mongo_facts *facts,
                                                struct hf_error *err);

#endif
