/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rights: actions on resources, the built-in roles that give them, and the roles users made.
 */
#ifndef HF_SANDBOX_ROLES_H
#define HF_SANDBOX_ROLES_H

#include "sandbox/engine.h"
#include "sandbox/value.h"

#define HF_SANDBOX_ACTION_TABLE(X)                                                                 \
    X(FIND, "find")                                                                                \
    X(INSERT, "insert")                                                                            \
    X(UPDATE, "update")                                                                            \
    X(REMOVE, "remove")                                                                            \
    X(CREATE_COLLECTION, "createCollection")                                                       \
    X(DROP_COLLECTION, "dropCollection")                                                           \
    X(CREATE_INDEX, "createIndex")                                                                 \
    X(DROP_INDEX, "dropIndex")                                                                     \
    X(COLL_MOD, "collMod")                                                                         \
    X(COLL_STATS, "collStats")                                                                     \
    X(DB_HASH, "dbHash")                                                                           \
    X(DB_STATS, "dbStats")                                                                         \
    X(LIST_COLLECTIONS, "listCollections")                                                         \
    X(LIST_INDEXES, "listIndexes")                                                                 \
    X(KILL_CURSORS, "killCursors")                                                                 \
    X(VALIDATE, "validate")                                                                        \
    X(DROP_DATABASE, "dropDatabase")                                                               \
    X(RENAME_SAME_DB, "renameCollectionSameDB")                                                    \
    X(CONVERT_TO_CAPPED, "convertToCapped")                                                        \
    X(EMPTY_CAPPED, "emptycapped")                                                                 \
    X(CREATE_USER, "createUser")                                                                   \
    X(DROP_USER, "dropUser")                                                                       \
    X(GRANT_ROLE, "grantRole")                                                                     \
    X(REVOKE_ROLE, "revokeRole")                                                                   \
    X(CREATE_ROLE, "createRole")                                                                   \
    X(DROP_ROLE, "dropRole")                                                                       \
    X(VIEW_USER, "viewUser")                                                                       \
    X(VIEW_ROLE, "viewRole")                                                                       \
    X(CHANGE_PASSWORD, "changePassword")                                                           \
    X(CHANGE_CUSTOM_DATA, "changeCustomData")                                                      \
    X(LIST_DATABASES, "listDatabases")                                                             \
    X(SERVER_STATUS, "serverStatus")                                                               \
    X(REPL_SET_GET_STATUS, "replSetGetStatus")                                                     \
    X(REPL_SET_GET_CONFIG, "replSetGetConfig")                                                     \
    X(REPL_SET_CONFIGURE, "replSetConfigure")                                                      \
    X(REPL_SET_STATE_CHANGE, "replSetStateChange")                                                 \
    X(GET_CMD_LINE_OPTS, "getCmdLineOpts")                                                         \
    X(GET_PARAMETER, "getParameter")                                                               \
    X(SET_PARAMETER, "setParameter")                                                               \
    X(GET_LOG, "getLog")                                                                           \
    X(HOST_INFO, "hostInfo")                                                                       \
    X(INPROG, "inprog")                                                                            \
    X(KILL_OP, "killop")                                                                           \
    X(KILL_ANY_CURSOR, "killAnyCursor")                                                            \
    X(KILL_ANY_SESSION, "killAnySession")                                                          \
    X(FSYNC, "fsync")                                                                              \
    X(UNLOCK, "unlock")                                                                            \
    X(SHUTDOWN, "shutdown")                                                                        \
    X(APPEND_OPLOG_NOTE, "appendOplogNote")                                                        \
    X(APPLY_OPS, "applyOps")                                                                       \
    X(LIST_SHARDS, "listShards")                                                                   \
    X(GET_SHARD_MAP, "getShardMap")                                                                \
    X(TOP, "top")                                                                                  \
    X(INTERNAL, "internal")

enum hf_sandbox_action_number {
#define HF_SANDBOX_ACTION_ENUM(name, text) HF_SANDBOX_ACT_NUMBER_##name,
    HF_SANDBOX_ACTION_TABLE(HF_SANDBOX_ACTION_ENUM)
#undef HF_SANDBOX_ACTION_ENUM
        HF_SANDBOX_ACT_COUNT
};

#define HF_SANDBOX_ACT(name) (UINT64_C(1) << HF_SANDBOX_ACT_NUMBER_##name)
#define HF_SANDBOX_ACT_ALL ((UINT64_C(1) << HF_SANDBOX_ACT_COUNT) - 1)

enum hf_sandbox_resource {
    HF_SANDBOX_RES_CLUSTER,
    HF_SANDBOX_RES_NORMAL, /* every database but local and config, without system collections; in db where given */
    HF_SANDBOX_RES_DB,   /* all of db; "" is every database */
    HF_SANDBOX_RES_COLL, /* coll of db; "" is every database */
    HF_SANDBOX_RES_ANY,  /* anyResource */
};

struct hf_sandbox_right {
    enum hf_sandbox_resource resource;
    char db[64];
    char coll[128];
    uint64_t actions;
};

#define HF_SANDBOX_RIGHTS_MAX 64
#define HF_SANDBOX_ROLES_MAX 64

struct hf_sandbox_role_name {
    char role[64];
    char db[64];
};

/* Who is logged in on a connection and what that gives. */
struct hf_sandbox_rights {
    bool known; /* somebody is logged in */
    char user[128];
    char db[64];
    struct hf_sandbox_right list[HF_SANDBOX_RIGHTS_MAX];
    size_t count;
    struct hf_sandbox_role_name roles[HF_SANDBOX_ROLES_MAX]; /* inherited ones too */
    size_t role_count;
    uint64_t generation, read_at_ms;
};

/* The action's bit; 0 for a name that the sandbox does not know (it then gives nothing). */
uint64_t hf_sandbox_action_named(const char *name);
/* key: the names of the actions, as an array. */
void hf_sandbox_append_actions(bson_t *doc, const char *key, uint64_t actions);
/* Adds what the built-in role gives; false when there is no such role. */
bool hf_sandbox_role_builtin(const char *role, const char *db, struct hf_sandbox_rights *rights);
/* Adds a privilege document {resource: {..}, actions: [..]}; false when it is malformed. */
bool hf_sandbox_rights_add_privilege(struct hf_sandbox_rights *rights, const bson_t *privilege);
void hf_sandbox_rights_add(struct hf_sandbox_rights *rights, enum hf_sandbox_resource resource,
                           const char *db, const char *coll, uint64_t actions);
/* coll NULL: the whole database; db NULL: the cluster. */
bool hf_sandbox_rights_allow(const struct hf_sandbox_rights *rights, uint64_t action,
                             const char *db, const char *coll);

#endif
