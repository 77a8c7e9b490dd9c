/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the built-in roles give, as one table, and the question whether a set of rights allows something. Where users
 * and roles are stored is users.c's business.
 */
#include "sandbox/roles.h"

#include <stdio.h>
#include <string.h>

#define ACT(name) HF_SANDBOX_ACT(name)

#define ACTS_READ                                                                                  \
    (ACT(FIND) | ACT(COLL_STATS) | ACT(DB_HASH) | ACT(DB_STATS) | ACT(LIST_COLLECTIONS) |          \
     ACT(LIST_INDEXES) | ACT(KILL_CURSORS))
#define ACTS_WRITE                                                                                 \
    (ACTS_READ | ACT(INSERT) | ACT(UPDATE) | ACT(REMOVE) | ACT(CREATE_COLLECTION) |                \
     ACT(DROP_COLLECTION) | ACT(CREATE_INDEX) | ACT(DROP_INDEX) | ACT(RENAME_SAME_DB) |            \
     ACT(CONVERT_TO_CAPPED) | ACT(EMPTY_CAPPED))
#define ACTS_DB_ADMIN                                                                              \
    (ACT(COLL_STATS) | ACT(DB_HASH) | ACT(DB_STATS) | ACT(LIST_COLLECTIONS) | ACT(LIST_INDEXES) |  \
     ACT(VALIDATE) | ACT(COLL_MOD) | ACT(CREATE_COLLECTION) | ACT(CREATE_INDEX) |                  \
     ACT(DROP_COLLECTION) | ACT(DROP_DATABASE) | ACT(DROP_INDEX) | ACT(RENAME_SAME_DB) |           \
     ACT(CONVERT_TO_CAPPED))
#define ACTS_USER_ADMIN                                                                            \
    (ACT(CREATE_USER) | ACT(DROP_USER) | ACT(GRANT_ROLE) | ACT(REVOKE_ROLE) | ACT(CREATE_ROLE) |   \
     ACT(DROP_ROLE) | ACT(VIEW_USER) | ACT(VIEW_ROLE) | ACT(CHANGE_PASSWORD) |                     \
     ACT(CHANGE_CUSTOM_DATA))
#define ACTS_MONITOR                                                                               \
    (ACT(SERVER_STATUS) | ACT(REPL_SET_GET_STATUS) | ACT(REPL_SET_GET_CONFIG) |                    \
     ACT(GET_CMD_LINE_OPTS) | ACT(GET_PARAMETER) | ACT(GET_LOG) | ACT(HOST_INFO) | ACT(INPROG) |   \
     ACT(LIST_DATABASES) | ACT(LIST_SHARDS) | ACT(GET_SHARD_MAP) | ACT(TOP))
#define ACTS_HOST                                                                                  \
    (ACT(FSYNC) | ACT(UNLOCK) | ACT(SHUTDOWN) | ACT(KILL_OP) | ACT(SET_PARAMETER) |                \
     ACT(KILL_ANY_CURSOR) | ACT(KILL_ANY_SESSION))
#define ACTS_CLUSTER                                                                               \
    (ACT(REPL_SET_CONFIGURE) | ACT(REPL_SET_STATE_CHANGE) | ACT(REPL_SET_GET_STATUS) |             \
     ACT(REPL_SET_GET_CONFIG) | ACT(APPEND_OPLOG_NOTE) | ACT(LIST_SHARDS) | ACT(GET_SHARD_MAP))

#define RES_CLUSTER HF_SANDBOX_RES_CLUSTER
#define RES_NORMAL HF_SANDBOX_RES_NORMAL
#define RES_DB HF_SANDBOX_RES_DB
#define RES_COLL HF_SANDBOX_RES_COLL
#define RES_ANY HF_SANDBOX_RES_ANY

/* db "@": the database of the role, which may then be any; else the role lives in admin. */
struct role_row {
    const char *role;
    enum hf_sandbox_resource resource;
    const char *db, *coll;
    uint64_t actions;
};

static const struct role_row role_rows[] = {
    {"read", RES_NORMAL, "@", "", ACTS_READ},
    {"readWrite", RES_NORMAL, "@", "", ACTS_WRITE},
    {"dbAdmin", RES_NORMAL, "@", "", ACTS_DB_ADMIN},
    {"userAdmin", RES_DB, "@", "", ACTS_USER_ADMIN},
    {"dbOwner", RES_NORMAL, "@", "", ACTS_WRITE | ACTS_DB_ADMIN},
    {"dbOwner", RES_DB, "@", "", ACTS_USER_ADMIN},
    {"readAnyDatabase", RES_NORMAL, "", "", ACTS_READ},
    {"readAnyDatabase", RES_CLUSTER, "", "", ACT(LIST_DATABASES)},
    {"readWriteAnyDatabase", RES_NORMAL, "", "", ACTS_WRITE},
    {"readWriteAnyDatabase", RES_CLUSTER, "", "", ACT(LIST_DATABASES)},
    {"dbAdminAnyDatabase", RES_NORMAL, "", "", ACTS_DB_ADMIN},
    {"dbAdminAnyDatabase", RES_CLUSTER, "", "", ACT(LIST_DATABASES)},
    {"userAdminAnyDatabase", RES_DB, "", "", ACTS_USER_ADMIN},
    {"userAdminAnyDatabase", RES_CLUSTER, "", "", ACT(LIST_DATABASES)},
    {"userAdminAnyDatabase", RES_COLL, "admin", "system.users", ACTS_READ},
    {"userAdminAnyDatabase", RES_COLL, "admin", "system.roles", ACTS_READ},
    {"backup", RES_CLUSTER, "", "",
     ACT(LIST_DATABASES) | ACT(APPEND_OPLOG_NOTE) | ACT(GET_PARAMETER) | ACT(SERVER_STATUS) |
         ACT(LIST_SHARDS)},
    {"backup", RES_DB, "", "",
     ACT(FIND) | ACT(LIST_COLLECTIONS) | ACT(LIST_INDEXES) | ACT(COLL_STATS)},
    {"restore", RES_CLUSTER, "", "", ACT(GET_PARAMETER) | ACT(LIST_DATABASES)},
    {"restore", RES_NORMAL, "", "", ACTS_WRITE | ACT(COLL_MOD)},
    {"restore", RES_DB, "", "", ACTS_USER_ADMIN},
    {"restore", RES_COLL, "admin", "system.version",
     ACT(FIND) | ACT(INSERT) | ACT(UPDATE) | ACT(REMOVE)},
    {"clusterMonitor", RES_CLUSTER, "", "", ACTS_MONITOR},
    {"clusterMonitor", RES_DB, "", "", ACT(COLL_STATS) | ACT(DB_STATS)},
    {"clusterMonitor", RES_DB, "config", "", ACTS_READ},
    {"clusterMonitor", RES_COLL, "local", "system.replset", ACT(FIND)},
    {"hostManager", RES_CLUSTER, "", "", ACTS_HOST},
    {"hostManager", RES_DB, "", "", ACT(KILL_CURSORS)},
    {"clusterManager", RES_CLUSTER, "", "", ACTS_CLUSTER},
    {"clusterManager", RES_DB, "config", "", ACTS_READ | ACT(INSERT) | ACT(UPDATE) | ACT(REMOVE)},
    {"clusterAdmin", RES_CLUSTER, "", "", ACTS_MONITOR | ACTS_HOST | ACTS_CLUSTER},
    {"clusterAdmin", RES_DB, "", "",
     ACT(COLL_STATS) | ACT(DB_STATS) | ACT(KILL_CURSORS) | ACT(DROP_DATABASE)},
    {"clusterAdmin", RES_DB, "config", "", ACTS_READ | ACT(INSERT) | ACT(UPDATE) | ACT(REMOVE)},
    {"clusterAdmin", RES_COLL, "local", "system.replset", ACT(FIND)},
    {"root", RES_CLUSTER, "", "", HF_SANDBOX_ACT_ALL & ~ACT(INTERNAL)},
    {"root", RES_NORMAL, "", "", HF_SANDBOX_ACT_ALL & ~ACT(INTERNAL)},
    {"root", RES_DB, "", "", ACTS_USER_ADMIN | ACTS_READ | ACT(VALIDATE)},
    {"root", RES_DB, "config", "", ACTS_WRITE},
    {"__system", RES_ANY, "", "", HF_SANDBOX_ACT_ALL},
};

static const char *const action_names[] = {
#define HF_SANDBOX_ACTION_NAME(name, text) text,
    HF_SANDBOX_ACTION_TABLE(HF_SANDBOX_ACTION_NAME)
#undef HF_SANDBOX_ACTION_NAME
};

uint64_t hf_sandbox_action_named(const char *name)
{
    if (strcmp(name, "anyAction") == 0) {
        return HF_SANDBOX_ACT_ALL;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(action_names); i++) {
        if (strcmp(action_names[i], name) == 0) {
            return UINT64_C(1) << i;
        }
    }
    return 0;
}

void hf_sandbox_append_actions(bson_t *doc, const char *key, uint64_t actions)
{
    bson_t array;
    uint32_t index = 0;

    bson_append_array_begin(doc, key, -1, &array);
    for (size_t i = 0; i < HF_ARRAY_LEN(action_names); i++) {
        if ((actions & UINT64_C(1) << i) != 0) {
            bson_value_t name = hf_sandbox_value_of_utf8(action_names[i]);
            hf_sandbox_append_element(&array, &index, &name);
        }
    }
    bson_append_array_end(doc, &array);
}

void hf_sandbox_rights_add(struct hf_sandbox_rights *rights, enum hf_sandbox_resource resource,
                           const char *db, const char *coll, uint64_t actions)
{
    struct hf_sandbox_right *right;

    if (rights->count == HF_SANDBOX_RIGHTS_MAX) {
        return; /* fewer rights than asked for is the safe side */
    }
    right = &rights->list[rights->count++];
    right->resource = resource;
    right->actions = actions;
    (void)snprintf(right->db, sizeof right->db, "%s", db);
    (void)snprintf(right->coll, sizeof right->coll, "%s", coll);
}

bool hf_sandbox_role_builtin(const char *role, const char *db, struct hf_sandbox_rights *rights)
{
    bool found = false;

    for (size_t i = 0; i < HF_ARRAY_LEN(role_rows); i++) {
        const struct role_row *row = &role_rows[i];
        bool own = strcmp(row->db, "@") == 0;

        if (strcmp(row->role, role) == 0 && (own || strcmp(db, "admin") == 0)) {
            hf_sandbox_rights_add(rights, row->resource, own ? db : row->db, row->coll,
                                  row->actions);
            found = true;
        }
    }
    return found;
}

bool hf_sandbox_rights_add_privilege(struct hf_sandbox_rights *rights, const bson_t *privilege)
{
    uint64_t actions = 0;
    bson_t resource;
    bson_t list;
    bson_iter_t iter;

    if (!hf_sandbox_get_doc(privilege, "resource", &resource) ||
        !hf_sandbox_get_doc(privilege, "actions", &list) || !bson_iter_init(&iter, &list)) {
        return false;
    }
    while (bson_iter_next(&iter)) {
        if (!BSON_ITER_HOLDS_UTF8(&iter)) {
            return false;
        }
        actions |= hf_sandbox_action_named(bson_iter_utf8(&iter, NULL));
    }
    const char *db = hf_sandbox_get_utf8(&resource, "db", NULL);
    const char *coll = hf_sandbox_get_utf8(&resource, "collection", NULL);
    if (hf_sandbox_get_true(&resource, "anyResource")) {
        hf_sandbox_rights_add(rights, RES_ANY, "", "", actions);
    } else if (hf_sandbox_get_true(&resource, "cluster")) {
        hf_sandbox_rights_add(rights, RES_CLUSTER, "", "", actions);
    } else if (db != NULL && coll != NULL) {
        hf_sandbox_rights_add(rights, coll[0] != '\0' ? RES_COLL : RES_NORMAL, db, coll, actions);
    } else {
        return false;
    }
    return true;
}

static bool covers(const struct hf_sandbox_right *right, const char *db, const char *coll)
{
    bool in_db = db != NULL && (right->db[0] == '\0' || strcmp(right->db, db) == 0);
    bool internal = db != NULL && right->db[0] == '\0' &&
                    (strcmp(db, "local") == 0 || strcmp(db, "config") == 0);

    switch (right->resource) {
    case HF_SANDBOX_RES_ANY:
        return true;
    case HF_SANDBOX_RES_CLUSTER:
        return db == NULL;
    case HF_SANDBOX_RES_NORMAL:
        return in_db && !internal && (coll == NULL || strncmp(coll, "system.", 7) != 0);
    case HF_SANDBOX_RES_DB:
        return in_db;
    case HF_SANDBOX_RES_COLL:
        return in_db && coll != NULL && strcmp(right->coll, coll) == 0;
    }
    return false;
}

bool hf_sandbox_rights_allow(const struct hf_sandbox_rights *rights, uint64_t action,
                             const char *db, const char *coll)
{
    for (size_t i = 0; i < rights->count; i++) {
        if ((rights->list[i].actions & action) != 0 && covers(&rights->list[i], db, coll)) {
            return true;
        }
    }
    return false;
}
