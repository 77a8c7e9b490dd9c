/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a role allows (rest-api.md 1.4): the one table that the checks and docs/user/roles.md come from. Knows no HTTP and
 * no catalog.
 */
#ifndef HF_SERVER_ROLES_H
#define HF_SERVER_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/json.h"
#include "format/ids.h"

/* What a route may need. A route that names none is closed to everybody. */
enum hf_right {
    HF_RIGHT_UNSAID,
    HF_RIGHT_OPEN,   /* no key */
    HF_RIGHT_CALLER, /* any key; the handler shows what the key may see */
    /* In a project. */
    HF_RIGHT_READ,
    HF_RIGHT_RANGES,     /* which instants can be restored */
    HF_RIGHT_BACKUP,     /* jobs, schedules, snapshots' expiry, restores and what is in a backup */
    HF_RIGHT_SNAPSHOT,   /* one on demand */
    HF_RIGHT_ALERTS,     /* acknowledges */
    HF_RIGHT_AGENT_KEYS, /* of agents */
    HF_RIGHT_KEYS,       /* of programs, in the project */
    /* In an organization. */
    HF_RIGHT_ORG_READ,
    HF_RIGHT_ORG_KEYS,     /* of programs, in the organization */
    HF_RIGHT_MAKE_PROJECT, /* in it */
    /* In the installation. */
    HF_RIGHT_GLOBAL_READ, /* alerts and events of all projects */
    HF_RIGHT_ADMIN_READ,  /* stores, assignment, upkeep */
    HF_RIGHT_ADMIN,
    HF_RIGHT_OWNER, /* organizations, global keys */
};
#define HF_RIGHTS 17

bool hf_right_is_of_project(enum hf_right right);
bool hf_right_is_of_org(enum hf_right right);
bool hf_right_is_global(enum hf_right right);
/* For people, lower case. */
const char *hf_right_word(enum hf_right right);

enum hf_role_level { HF_ROLE_PROJECT, HF_ROLE_ORG, HF_ROLE_GLOBAL };
struct hf_role {
    const char *name; /* as the API has it */
    enum hf_role_level level;
    uint32_t rights; /* bit 1 << enum hf_right */
};
extern const struct hf_role hf_roles[];
extern const size_t hf_role_count;
/* NULL: there is none of that name. */
const struct hf_role *hf_role_of(const char *name);

/* A role somewhere. */
struct hf_grant {
    const struct hf_role *role;
    struct hf_id target; /* project or organization; none for global ones */
};
#define HF_GRANTS_MAX 64
struct hf_grants {
    struct hf_grant items[HF_GRANTS_MAX];
    size_t count;
};
/* [{"roleName", "groupId" or "orgId"}]; what is not understood gives nothing. */
void hf_grants_decode(const struct hf_json *list, struct hf_grants *out);
/* NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_grants_encode(const struct hf_grants *grants);

/* All rights there: in the project, which is the organization's. Without a project (NULL) those in the organization, without
 * that either those in the installation. */
uint32_t hf_grants_rights(const struct hf_grants *grants, const struct hf_id *project,
                          const struct hf_id *org);
static inline bool hf_rights_have(uint32_t rights, enum hf_right right)
{
    return (rights >> right & 1) != 0;
}

#endif
