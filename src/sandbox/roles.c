/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the built-in roles give, as one table. Where users and roles are stored is users.c's business.
 */
#include <string.h>

#include "sandbox/server_internal.h"

/* Actions that no command of the sandbox asks for are left out. */
#define LOOK " dbHash listCollections listIndexes "
#define READ " find" LOOK
#define WRITE                                                                                      \
    READ "createCollection dropCollection createIndex dropIndex renameCollectionSameDB insert "    \
         "update remove "
#define USERS " createUser createRole "
#define MONITOR                                                                                    \
    " serverStatus replSetGetStatus replSetGetConfig getCmdLineOpts getParameter inprog "          \
    "listDatabases "
#define HOST " fsync unlock shutdown setParameter killAnyCursor "
#define MANAGE                                                                                     \
    " replSetConfigure replSetStateChange replSetGetStatus replSetGetConfig appendOplogNote "      \
    "setFeatureCompatibilityVersion "
#define EVERYTHING WRITE USERS MONITOR HOST MANAGE "validate dropDatabase "

/* Where: a database and all in it; "@" the role's own, which may then be any; "*" every one; "-" every one but local,
 * config and system collections, which "@" leaves out too; NULL the cluster. */
static const struct row {
    const char *role, *where, *actions;
} rows[] = {
    {"read", "@", READ},
    {"readWrite", "@", WRITE},
    {"readAnyDatabase", "-", READ},
    {"readAnyDatabase", NULL, " listDatabases "},
    {"backup", NULL, " listDatabases appendOplogNote getParameter serverStatus "},
    {"backup", "*", " find listCollections listIndexes "},
    {"restore", NULL, " getParameter listDatabases "},
    {"restore", "-", WRITE},
    {"restore", "*", USERS},
    {"clusterMonitor", NULL, MONITOR},
    {"clusterMonitor", "config", READ},
    {"hostManager", NULL, HOST},
    {"clusterManager", NULL, MANAGE},
    {"clusterManager", "config", WRITE},
    {"clusterAdmin", NULL, MONITOR HOST MANAGE},
    {"clusterAdmin", "*", " dropDatabase "},
    {"clusterAdmin", "config", WRITE},
    {"root", NULL, EVERYTHING},
    {"root", "-", EVERYTHING},
    {"root", "*", USERS READ "validate "},
    {"__system", NULL, EVERYTHING "internal "},
    {"__system", "*", EVERYTHING},
    /* Until there is a user, a client on the same host may make the first one, and the set. */
    {"__localhost", "admin", USERS},
    {"__localhost", NULL, MANAGE "shutdown "},
};

static bool is_in(const char *actions, const char *action)
{
    const char *at = strstr(actions, action);

    while (at != NULL && (at[-1] != ' ' || at[strlen(action)] != ' ')) {
        at = strstr(at + 1, action);
    }
    return at != NULL;
}

/* own: the database that "@" stands for. */
static bool covers(const char *where, const char *own, const struct hf_sandbox_deed *deed)
{
    const char *db = deed->db;

    if (where == NULL || db == NULL) {
        return where == NULL && db == NULL;
    }
    if ((where[0] == '@' || where[0] == '-') && deed->coll != NULL &&
        strncmp(deed->coll, "system.", 7) == 0) {
        return false;
    }
    return where[0] == '-' ? strcmp(db, "local") != 0 && strcmp(db, "config") != 0
                           : where[0] == '*' || strcmp(where[0] == '@' ? own : where, db) == 0;
}

bool hf_sandbox_role_allows(const char *role, const char *db, const struct hf_sandbox_deed *deed)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        bool own = rows[i].where != NULL && rows[i].where[0] == '@';
        if (strcmp(rows[i].role, role) == 0 && (own || strcmp(db, "admin") == 0) &&
            is_in(rows[i].actions, deed->action) && covers(rows[i].where, db, deed)) {
            return true;
        }
    }
    return false;
}

bool hf_sandbox_privilege_allows(const bson_t *privilege, const struct hf_sandbox_deed *deed)
{
    bson_t where, actions;
    bool named = false;

    if (!hf_sandbox_get_doc(privilege, "resource", &where) ||
        !hf_sandbox_get_doc(privilege, "actions", &actions)) {
        return false;
    }
    HF_SANDBOX_EACH (iter, &actions, !named) {
        named =
            BSON_ITER_HOLDS_UTF8(&iter) && strcmp(bson_iter_utf8(&iter, NULL), deed->action) == 0;
    }
    const char *coll = hf_sandbox_get_utf8(&where, "collection", "");
    return named &&
           (hf_sandbox_get_true(&where, "cluster")
                ? deed->db == NULL
                : covers("@", hf_sandbox_get_utf8(&where, "db", ""), deed) &&
                      (coll[0] == '\0' || (deed->coll != NULL && strcmp(coll, deed->coll) == 0)));
}
