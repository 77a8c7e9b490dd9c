/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the built-in roles give, as one table. Where users and roles are stored is users.c's business.
 */
#include "sandbox/roles.h"

#include <string.h>

#include "sandbox/value.h"

enum resource {
    CLUSTER,
    NORMAL, /* a database without its system collections; every one: without local and config too */
    DB,     /* all of a database */
    COLL,
    ANY,
};

/* Actions that no command of the sandbox asks for are left out. */
#define LOOK " collStats dbHash dbStats listCollections listIndexes "
#define READ " find" LOOK
#define SHAPE " createCollection dropCollection createIndex dropIndex renameCollectionSameDB "
#define CHANGE " insert update remove "
#define USERS " createUser createRole "
#define MONITOR                                                                                    \
    " serverStatus replSetGetStatus replSetGetConfig getCmdLineOpts getParameter inprog "          \
    "listDatabases "
#define HOST " fsync unlock shutdown setParameter killAnyCursor "
#define MANAGE                                                                                     \
    " replSetConfigure replSetStateChange replSetGetStatus replSetGetConfig appendOplogNote "
#define EVERYTHING READ SHAPE CHANGE USERS MONITOR HOST MANAGE " validate dropDatabase "

/* db "": every database. "@": the role's own, which may then be any; else the role lives in admin. */
static const struct row {
    const char *role;
    enum resource resource;
    const char *db, *coll;
    const char *actions;
} rows[] = {
    {"read", NORMAL, "@", "", READ},
    {"readWrite", NORMAL, "@", "", READ SHAPE CHANGE},
    {"dbAdmin", NORMAL, "@", "", LOOK SHAPE " validate dropDatabase "},
    {"userAdmin", DB, "@", "", USERS},
    {"dbOwner", NORMAL, "@", "", READ SHAPE CHANGE " validate dropDatabase "},
    {"dbOwner", DB, "@", "", USERS},
    {"readAnyDatabase", NORMAL, "", "", READ},
    {"readAnyDatabase", CLUSTER, "", "", " listDatabases "},
    {"readWriteAnyDatabase", NORMAL, "", "", READ SHAPE CHANGE},
    {"readWriteAnyDatabase", CLUSTER, "", "", " listDatabases "},
    {"dbAdminAnyDatabase", NORMAL, "", "", LOOK SHAPE " validate dropDatabase "},
    {"dbAdminAnyDatabase", CLUSTER, "", "", " listDatabases "},
    {"userAdminAnyDatabase", DB, "", "", USERS},
    {"userAdminAnyDatabase", CLUSTER, "", "", " listDatabases "},
    {"backup", CLUSTER, "", "", " listDatabases appendOplogNote getParameter serverStatus "},
    {"backup", DB, "", "", " find listCollections listIndexes collStats "},
    {"restore", CLUSTER, "", "", " getParameter listDatabases "},
    {"restore", NORMAL, "", "", READ SHAPE CHANGE},
    {"restore", DB, "", "", USERS},
    {"clusterMonitor", CLUSTER, "", "", MONITOR},
    {"clusterMonitor", DB, "", "", " collStats dbStats "},
    {"clusterMonitor", DB, "config", "", READ},
    {"clusterMonitor", COLL, "local", "system.replset", READ},
    {"hostManager", CLUSTER, "", "", HOST},
    {"clusterManager", CLUSTER, "", "", MANAGE},
    {"clusterManager", DB, "config", "", READ CHANGE},
    {"clusterAdmin", CLUSTER, "", "", MONITOR HOST MANAGE},
    {"clusterAdmin", DB, "", "", " collStats dbStats dropDatabase "},
    {"clusterAdmin", DB, "config", "", READ CHANGE},
    {"root", CLUSTER, "", "", EVERYTHING},
    {"root", NORMAL, "", "", EVERYTHING},
    {"root", DB, "", "", USERS READ " validate "},
    {"root", DB, "config", "", READ SHAPE CHANGE},
    {"__system", ANY, "", "", EVERYTHING " internal "},
    /* Until there is a user, a client on the same host may make the first one, and the set. */
    {"__localhost", DB, "admin", "", USERS},
    {"__localhost", CLUSTER, "", "", MANAGE " shutdown "},
};

static bool is_in(const char *actions, const char *action)
{
    size_t len = strlen(action);

    for (const char *at = actions; (at = strstr(at, action)) != NULL; at += len) {
        if (at[-1] == ' ' && at[len] == ' ') {
            return true;
        }
    }
    return false;
}

static bool covers(enum resource resource, const char *db, const char *coll,
                   const struct hf_sandbox_deed *deed)
{
    bool in_db = deed->db != NULL && (db[0] == '\0' || strcmp(db, deed->db) == 0);
    bool internal = in_db && db[0] == '\0' &&
                    (strcmp(deed->db, "local") == 0 || strcmp(deed->db, "config") == 0);

    switch (resource) {
    case ANY:
        return true;
    case CLUSTER:
        return deed->db == NULL;
    case NORMAL:
        return in_db && !internal && (deed->coll == NULL || strncmp(deed->coll, "system.", 7) != 0);
    case DB:
        return in_db;
    case COLL:
        return in_db && deed->coll != NULL && strcmp(coll, deed->coll) == 0;
    }
    return false;
}

static bool is_row(const struct row *row, const char *role, const char *db)
{
    return strcmp(row->role, role) == 0 && (row->db[0] == '@' || strcmp(db, "admin") == 0);
}

bool hf_sandbox_role_builtin(const char *role, const char *db)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        if (is_row(&rows[i], role, db)) {
            return true;
        }
    }
    return false;
}

bool hf_sandbox_role_allows(const char *role, const char *db, const struct hf_sandbox_deed *deed)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        if (is_row(row, role, db) && is_in(row->actions, deed->action) &&
            covers(row->resource, row->db[0] == '@' ? db : row->db, row->coll, deed)) {
            return true;
        }
    }
    return false;
}

bool hf_sandbox_privilege_allows(const bson_t *privilege, const struct hf_sandbox_deed *deed)
{
    bson_t where, actions;
    bson_iter_t iter;

    if (!hf_sandbox_get_doc(privilege, "resource", &where) ||
        !hf_sandbox_get_doc(privilege, "actions", &actions) || !bson_iter_init(&iter, &actions)) {
        return false;
    }
    const char *db = hf_sandbox_get_utf8(&where, "db", NULL);
    const char *coll = hf_sandbox_get_utf8(&where, "collection", "");
    enum resource resource = hf_sandbox_get_true(&where, "anyResource") ? ANY
                             : hf_sandbox_get_true(&where, "cluster")   ? CLUSTER
                             : coll[0] != '\0'                          ? COLL
                                                                        : NORMAL;
    bool named = false;
    while (bson_iter_next(&iter)) {
        const char *action = BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
        named = named || strcmp(action, deed->action) == 0 || strcmp(action, "anyAction") == 0;
    }
    return named && (db != NULL || resource == ANY || resource == CLUSTER) &&
           covers(resource, db == NULL ? "" : db, coll, deed);
}
