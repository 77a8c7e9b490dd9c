/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this server give a backup cursor? A decision over plain facts, made before anything is opened: a cursor left
 * behind by a trial would hold back the server (mechanics 1). Must not talk to anybody.
 */
#include <string.h>

#include "mongo/topology.h"

/* The first release of each line that has the stage (mechanics 1). */
#define PERCONA_42_PATCH 15
#define PERCONA_44_PATCH 6

const char *hf_mongo_edition_name(enum hf_mongo_edition edition)
{
    switch (edition) {
    case HF_MONGO_COMMUNITY:
        return "MongoDB Community";
    case HF_MONGO_ENTERPRISE:
        return "MongoDB Enterprise";
    case HF_MONGO_PERCONA:
        return "Percona Server for MongoDB";
    case HF_MONGO_EDITION_UNKNOWN:
    default:
        return "unknown edition";
    }
}

static enum hf_err check_role(const struct hf_mongo_facts *facts, struct hf_error *err)
{
    switch (facts->role) {
    case HF_MONGO_ROLE_MEMBER:
        break;
    case HF_MONGO_ROLE_MONGOS:
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s is a mongos; hint: back up the members of each shard and of the config "
                       "servers",
                       facts->host);
    case HF_MONGO_ROLE_STANDALONE:
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s is a standalone: without an oplog a copy cannot be brought to one point "
                       "in time; hint: start it with --replSet, one member is enough",
                       facts->host);
    case HF_MONGO_ROLE_NOT_INITIATED:
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s is not initiated: it has no replica set configuration yet; hint: "
                       "replSetInitiate, or add it to its set",
                       facts->host);
    case HF_MONGO_ROLE_UNKNOWN:
    default:
        return hf_fail(err, HF_ERR_UNSUPPORTED, "%s: its role is not known", facts->host);
    }
    if (facts->arbiter) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "%s is an arbiter of %s, which holds no data",
                       facts->host, facts->set_name);
    }
    if (!facts->primary && !facts->secondary) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s is neither primary nor secondary just now (starting, recovering, in "
                       "rollback or initial sync)",
                       facts->host);
    }
    return HF_ERR_OK;
}

static bool version_has_stage(const struct hf_mongo_facts *facts)
{
    uint32_t major = facts->version_major;
    uint32_t minor = facts->version_minor;

    if (major != 4) {
        return major > 4;
    }
    if (facts->edition == HF_MONGO_ENTERPRISE) {
        return minor >= 2;
    }
    return (minor == 2 && facts->version_patch >= PERCONA_42_PATCH) ||
           (minor == 4 && facts->version_patch >= PERCONA_44_PATCH) || minor > 4;
}

static enum hf_err check_server(const struct hf_mongo_facts *facts, struct hf_error *err)
{
    if (facts->edition != HF_MONGO_ENTERPRISE && facts->edition != HF_MONGO_PERCONA) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s runs %s %s, which has no $backupCursor; hint: MongoDB Enterprise 4.2, "
                       "or Percona Server for MongoDB 4.2.15 or 4.4.6, or later",
                       facts->host, hf_mongo_edition_name(facts->edition), facts->version);
    }
    if (!version_has_stage(facts)) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s runs %s %s, too old for $backupCursor; hint: Enterprise 4.2, Percona "
                       "4.2.15 or 4.4.6, or later",
                       facts->host, hf_mongo_edition_name(facts->edition), facts->version);
    }
    if (strcmp(facts->engine, "wiredTiger") != 0) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s uses the storage engine %s; only wiredTiger has a backup cursor",
                       facts->host, facts->engine[0] != '\0' ? facts->engine : "(not known)");
    }
    if (facts->fcv_major < 4 || (facts->fcv_major == 4 && facts->fcv_minor < 2)) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s has feature compatibility version %s; 4.2 or higher is needed; hint: "
                       "setFeatureCompatibilityVersion on the primary",
                       facts->host, facts->fcv[0] != '\0' ? facts->fcv : "(not known)");
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_backup_check(const struct hf_mongo_facts *facts, struct hf_error *err)
{
    if (check_role(facts, err) != HF_ERR_OK) {
        return err->code;
    }
    return check_server(facts, err);
}
