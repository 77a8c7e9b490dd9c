/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rights: what the built-in roles allow, and what a privilege of a role that a user made allows.
 */
#ifndef HF_SANDBOX_ROLES_H
#define HF_SANDBOX_ROLES_H

#include <bson/bson.h>
#include <stdbool.h>

/* An action on something: db NULL is the cluster, coll NULL the whole database. */
struct hf_sandbox_deed {
    const char *action, *db, *coll;
};

bool hf_sandbox_role_builtin(const char *role, const char *db);
/* False too when there is no such role. */
bool hf_sandbox_role_allows(const char *role, const char *db, const struct hf_sandbox_deed *deed);
/* {resource: {..}, actions: [..]}; a malformed one allows nothing. */
bool hf_sandbox_privilege_allows(const bson_t *privilege, const struct hf_sandbox_deed *deed);

#endif
