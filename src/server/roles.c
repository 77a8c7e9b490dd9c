/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table, and what follows from several roles together.
 */
#include "server/roles.h"

#include "base/bytes.h"

#define CAN(right) ((uint32_t)1 << HF_RIGHT_##right)
#define EVERYTHING (((uint32_t)1 << HF_RIGHTS) - 2) /* all but the unsaid */
#define OF_PROJECT                                                                                 \
    (CAN(READ) | CAN(RANGES) | CAN(BACKUP) | CAN(ALERTS) | CAN(AGENT_KEYS) | CAN(KEYS))
#define OF_ORG (CAN(ORG_READ) | CAN(ORG_KEYS) | CAN(MAKE_PROJECT))

/* Where the reference is silent: owners restore, so they see the ranges; who may only manage members or monitoring reads. */
const struct hf_role hf_roles[] = {
    {"GROUP_READ_ONLY", HF_ROLE_PROJECT, CAN(READ)},
    {"GROUP_BACKUP_ADMIN", HF_ROLE_PROJECT, CAN(READ) | CAN(RANGES) | CAN(BACKUP)},
    {"GROUP_OWNER", HF_ROLE_PROJECT, OF_PROJECT},
    {"GROUP_MONITORING_ADMIN", HF_ROLE_PROJECT, CAN(READ) | CAN(ALERTS)},
    {"GROUP_AUTOMATION_ADMIN", HF_ROLE_PROJECT, CAN(READ)},
    {"GROUP_USER_ADMIN", HF_ROLE_PROJECT, CAN(READ) | CAN(KEYS)},
    {"GROUP_DATA_ACCESS_ADMIN", HF_ROLE_PROJECT, CAN(READ)},
    {"GROUP_DATA_ACCESS_READ_WRITE", HF_ROLE_PROJECT, CAN(READ)},
    {"GROUP_DATA_ACCESS_READ_ONLY", HF_ROLE_PROJECT, CAN(READ)},
    {"ORG_OWNER", HF_ROLE_ORG, OF_PROJECT | OF_ORG},
    {"ORG_GROUP_CREATOR", HF_ROLE_ORG, CAN(ORG_READ) | CAN(MAKE_PROJECT)},
    {"ORG_MEMBER", HF_ROLE_ORG, CAN(ORG_READ)},
    {"ORG_READ_ONLY", HF_ROLE_ORG, CAN(READ) | CAN(ORG_READ)},
    {"GLOBAL_READ_ONLY", HF_ROLE_GLOBAL,
     CAN(READ) | CAN(RANGES) | CAN(ORG_READ) | CAN(GLOBAL_READ) | CAN(ADMIN_READ)},
    {"GLOBAL_BACKUP_ADMIN", HF_ROLE_GLOBAL,
     CAN(READ) | CAN(RANGES) | CAN(BACKUP) | CAN(SNAPSHOT) | CAN(ORG_READ) | CAN(GLOBAL_READ) |
         CAN(ADMIN_READ) | CAN(ADMIN)},
    {"GLOBAL_OWNER", HF_ROLE_GLOBAL, EVERYTHING},
    {"GLOBAL_MONITORING_ADMIN", HF_ROLE_GLOBAL,
     CAN(READ) | CAN(ALERTS) | CAN(ORG_READ) | CAN(GLOBAL_READ)},
    {"GLOBAL_AUTOMATION_ADMIN", HF_ROLE_GLOBAL, CAN(READ) | CAN(ORG_READ)},
    {"GLOBAL_USER_ADMIN", HF_ROLE_GLOBAL, CAN(READ) | CAN(KEYS) | CAN(ORG_READ) | CAN(ORG_KEYS)},
};
const size_t hf_role_count = HF_ARRAY_LEN(hf_roles);

bool hf_right_is_of_project(enum hf_right right)
{
    return right >= HF_RIGHT_READ && right <= HF_RIGHT_KEYS;
}

bool hf_right_is_of_org(enum hf_right right)
{
    return right >= HF_RIGHT_ORG_READ && right <= HF_RIGHT_MAKE_PROJECT;
}

bool hf_right_is_global(enum hf_right right)
{
    return right >= HF_RIGHT_GLOBAL_READ && right <= HF_RIGHT_OWNER;
}

const char *hf_right_word(enum hf_right right)
{
    static const char *const words[HF_RIGHTS] = {
        [HF_RIGHT_UNSAID] = "nothing",
        [HF_RIGHT_OPEN] = "ask without a key",
        [HF_RIGHT_CALLER] = "see what its key is for",
        [HF_RIGHT_READ] = "read",
        [HF_RIGHT_RANGES] = "see what can be restored",
        [HF_RIGHT_BACKUP] = "change backup and restore",
        [HF_RIGHT_SNAPSHOT] = "take a snapshot on demand",
        [HF_RIGHT_ALERTS] = "acknowledge alerts",
        [HF_RIGHT_AGENT_KEYS] = "manage keys of agents",
        [HF_RIGHT_KEYS] = "manage API keys of the project",
        [HF_RIGHT_ORG_READ] = "see the organization",
        [HF_RIGHT_ORG_KEYS] = "manage API keys of the organization",
        [HF_RIGHT_MAKE_PROJECT] = "make projects in the organization",
        [HF_RIGHT_GLOBAL_READ] = "read alerts and events of all projects",
        [HF_RIGHT_ADMIN_READ] = "read stores and upkeep",
        [HF_RIGHT_ADMIN] = "change stores, order upkeep",
        [HF_RIGHT_OWNER] = "manage organizations and global keys",
    };

    return words[right];
}

const struct hf_role *hf_role_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < hf_role_count; i++) {
        if (strcmp(hf_roles[i].name, name) == 0) {
            return &hf_roles[i];
        }
    }
    return NULL;
}

static const char *target_name(enum hf_role_level level)
{
    return level == HF_ROLE_PROJECT ? "groupId" : level == HF_ROLE_ORG ? "orgId" : NULL;
}

void hf_grants_decode(const struct hf_json *list, struct hf_grants *out)
{
    *out = (struct hf_grants){.count = 0};
    for (size_t i = 0; i < hf_json_count(list) && out->count < HF_GRANTS_MAX; i++) {
        const struct hf_json *one = hf_json_at(list, i);
        struct hf_grant grant = {.role = hf_role_of(hf_json_get_text(one, "roleName"))};
        if (grant.role == NULL) {
            continue;
        }
        const char *name = target_name(grant.role->level);
        const char *target = name == NULL ? NULL : hf_json_get_text(one, name);
        if (name == NULL || (target != NULL && hf_id_parse(hf_str_of(target), &grant.target) &&
                             !hf_id_is_none(&grant.target))) {
            out->items[out->count++] = grant;
        }
    }
}

struct hf_json *hf_grants_encode(const struct hf_grants *grants)
{
    struct hf_json *list = hf_json_array();

    for (size_t i = 0; i < grants->count; i++) {
        const struct hf_grant *grant = &grants->items[i];
        struct hf_json *one = hf_json_object();
        const char *name = target_name(grant->role->level);
        hf_json_set_text(one, "roleName", grant->role->name);
        if (name != NULL) {
            hf_json_set_text(one, name, hf_id_text(&grant->target).text);
        }
        hf_json_append_take(list, one);
    }
    return list;
}

uint32_t hf_grants_rights(const struct hf_grants *grants, const struct hf_id *project,
                          const struct hf_id *org)
{
    uint32_t rights = 0;

    for (size_t i = 0; i < grants->count; i++) {
        const struct hf_grant *grant = &grants->items[i];
        bool there = grant->role->level == HF_ROLE_GLOBAL ||
                     (grant->role->level == HF_ROLE_PROJECT && project != NULL &&
                      hf_id_equal(project, &grant->target)) ||
                     (grant->role->level == HF_ROLE_ORG && org != NULL && !hf_id_is_none(org) &&
                      hf_id_equal(org, &grant->target));
        rights |= there ? grant->role->rights : 0;
    }
    return rights;
}
