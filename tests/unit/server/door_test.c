/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every route with every role, for a project of its own, another one and one that does not exist. What should be stands here
 * a second time, in words of its own: a change of the product's tables has to be meant.
 */
#include <stdio.h>

#include "server/door.h"
#include "server/server_internal.h"
#include "support/format_kit.h"

#define OWN "050505050505050505050505"

/* r read, g ranges, b backup, s snapshot, a alerts, k agents' keys, K keys, e/f/m organization, G global read, A/C administration, O owner */
static const struct {
    const char *role, *may;
} roles[] = {
    {"GROUP_READ_ONLY", "r"},
    {"GROUP_BACKUP_ADMIN", "rgb"},
    {"GROUP_OWNER", "rgbakK"},
    {"GROUP_MONITORING_ADMIN", "ra"},
    {"GROUP_AUTOMATION_ADMIN", "r"},
    {"GROUP_USER_ADMIN", "rK"},
    {"GROUP_DATA_ACCESS_ADMIN", "r"},
    {"GROUP_DATA_ACCESS_READ_WRITE", "r"},
    {"GROUP_DATA_ACCESS_READ_ONLY", "r"},
    {"ORG_OWNER", "rgbakKefm"},
    {"ORG_GROUP_CREATOR", "em"},
    {"ORG_MEMBER", "e"},
    {"ORG_READ_ONLY", "re"},
    {"GLOBAL_READ_ONLY", "rgeGA"},
    {"GLOBAL_BACKUP_ADMIN", "rgbseGAC"},
    {"GLOBAL_OWNER", "rgbsakKefmGACO"},
    {"GLOBAL_MONITORING_ADMIN", "raeG"},
    {"GLOBAL_AUTOMATION_ADMIN", "re"},
    {"GLOBAL_USER_ADMIN", "rKef"},
};

/* o: no key; *: any key */
#define G "/api/public/v1.0/groups/*"
#define C G "/clusters/*"
#define ORG "/api/public/v1.0/orgs/*"
#define P "/api/private/v1.0"
static const struct {
    const char *method, *path;
    char needs;
} routes[] = {
    {"GET", "/monitor/health", 'o'},
    {"GET", "/metrics", 'o'},
    {"GET", "/api/private/unauth/version", 'o'},
    {"GET", "/backup/restore/v2/pull/*/*/*", 'o'},
    {"GET", "/api/public/v1.0", '*'},
    {"GET", "/api/public/v1.0/groups", '*'},
    {"GET", "/api/public/v1.0/groups/byName/*", '*'},
    {"POST", "/api/public/v1.0/groups", '*'}, /* the body says where, and the handler looks */
    {"GET", "/api/public/v1.0/orgs", '*'},
    {"POST", "/api/public/v1.0/orgs", 'O'},
    {"GET", ORG, 'e'},
    {"GET", ORG "/groups", 'e'},
    {"GET", ORG "/apiKeys", 'f'},
    {"POST", ORG "/apiKeys", 'f'},
    {"GET", ORG "/apiKeys/*", 'f'},
    {"DELETE", ORG "/apiKeys/*", 'f'},
    {"GET", G, 'r'},
    {"GET", G "/clusters", 'r'},
    {"GET", C, 'r'},
    {"GET", G "/backupConfigs", 'r'},
    {"GET", G "/backupConfigs/*", 'r'},
    {"PATCH", G "/backupConfigs/*", 'b'},
    {"GET", G "/backupConfigs/*/availableMembers", 'r'},
    {"GET", G "/backupConfigs/*/snapshotSchedule", 'r'},
    {"PATCH", G "/backupConfigs/*/snapshotSchedule", 'b'},
    {"GET", C "/snapshots", 'r'},
    {"POST", C "/snapshots/onDemandSnapshot", 's'},
    {"GET", C "/snapshots/*", 'r'},
    {"PATCH", C "/snapshots/*", 'b'},
    {"DELETE", C "/snapshots/*", 'b'},
    {"GET", C "/restoreJobs", 'r'},
    {"POST", C "/restoreJobs/restorableTimeRanges", 'g'},
    {"POST", C "/restoreJobs", 'b'},
    {"GET", C "/restoreJobs/*", 'r'},
    {"GET", G "/apiKeys", 'K'},
    {"POST", G "/apiKeys", 'K'},
    {"DELETE", G "/apiKeys/*", 'K'},
    {"GET", G "/agentapikeys", 'k'},
    {"POST", G "/agentapikeys", 'k'},
    {"DELETE", G "/agentapikeys/*", 'k'},
    {"GET", "/api/public/v1.0/admin/apiKeys", 'O'},
    {"POST", "/api/public/v1.0/admin/apiKeys", 'O'},
    {"GET", "/api/public/v1.0/admin/apiKeys/*", 'O'},
    {"DELETE", "/api/public/v1.0/admin/apiKeys/*", 'O'},
    {"GET", G "/alerts", 'r'},
    {"GET", G "/alerts/*", 'r'},
    {"PATCH", G "/alerts/*", 'a'},
    {"GET", "/api/public/v1.0/globalAlerts", 'G'},
    {"GET", G "/alertConfigs", 'r'},
    {"GET", "/api/public/v1.0/alertConfigs/matchers/fieldNames", '*'},
    {"GET", "/api/public/v1.0/globalAlertConfigs", 'G'},
    {"GET", "/api/public/v1.0/globalAlertConfigs/*", 'G'},
    {"PATCH", "/api/public/v1.0/globalAlertConfigs/*", 'C'},
    {"DELETE", "/api/public/v1.0/globalAlertConfigs/*", 'C'},
    {"GET", G "/maintenanceWindows", 'r'},
    {"POST", G "/maintenanceWindows", 'a'},
    {"GET", G "/maintenanceWindows/*", 'r'},
    {"PATCH", G "/maintenanceWindows/*", 'a'},
    {"DELETE", G "/maintenanceWindows/*", 'a'},
    {"GET", G "/events", 'r'},
    {"GET", G "/events/*", 'r'},
    {"GET", "/api/public/v1.0/globalEvents", 'G'},
    {"GET", P "/status", 'r'},
    {"GET", P "/agents", 'r'},
    {"GET", P "/jobs", 'r'},
    {"GET", P "/jobs/*", 'r'},
    {"POST", P "/jobs/*/forceTerminate", 'b'},
    {"GET", P "/jobs/*/whyMember", 'r'},
    {"GET", P "/jobs/*/log", 'r'},
    {"GET", P "/queue", 'r'},
    {"GET", P "/jobs/*/ranges", 'g'},
    {"GET", P "/jobs/*/policy", 'r'},
    {"PATCH", P "/jobs/*/policy", 'b'},
    {"POST", P "/jobs/*/policy/simulate", 'r'},
    {"GET", P "/events", 'r'},
    {"GET", P "/events/*", 'r'},
    {"GET", P "/jobs/*/oplog/find", 'b'},
    {"GET", P "/jobs/*/oplog/diff", 'b'},
    {"POST", P "/jobs/*/oplog/check", 'b'},
    {"GET", P "/snapshots", 'r'},
    {"POST", P "/snapshots", 's'},
    {"GET", P "/snapshots/*", 'r'},
    {"PATCH", P "/snapshots/*", 'b'},
    {"DELETE", P "/snapshots/*", 'b'},
    {"POST", P "/snapshots/*/cancel", 'b'},
    {"POST", P "/snapshots/*/verify", 'b'},
    {"GET", P "/snapshots/*/tar", 'b'},
    {"GET", P "/snapshots/*/oplog", 'b'},
    {"GET", P "/snapshots/*/oplog/entries", 'b'},
    {"GET", P "/restores", 'r'},
    {"POST", P "/restores", 'b'},
    {"GET", P "/restores/*", 'r'},
    {"POST", P "/restores/*/cancel", 'b'},
    {"GET", P "/settings", 'O'},
    {"PATCH", P "/settings/*", 'O'},
    {"DELETE", P "/settings/*", 'O'},
    {"GET", P "/stores", 'A'},
    {"POST", P "/stores", 'C'},
    {"PATCH", P "/stores/*", 'C'},
    {"DELETE", P "/stores/*", 'C'},
    {"GET", P "/servers", 'A'},
    {"PATCH", P "/servers/*", 'C'},
    {"DELETE", P "/servers/*", 'C'},
    {"GET", P "/assignment", 'A'},
    {"PUT", P "/assignment", 'C'},
    {"GET", P "/store/usage", 'r'},
    {"POST", P "/store/groom", 'C'},
    {"POST", P "/store/check", 'C'},
    {"POST", P "/links", 'b'},
};

/* The char of what the route needs; 0: the matrix does not know it. */
static char needs_of(const struct hf_route *route)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(routes); i++) {
        if (strcmp(routes[i].method, route->method) == 0 &&
            strcmp(routes[i].path, route->path) == 0) {
            return routes[i].needs;
        }
    }
    return 0;
}

struct place {
    const char *name;
    struct hf_id project, org;
    bool seen; /* the role is for it */
};

static void expect(struct hf_server_app *app, const struct hf_route *route, char needs, size_t role,
                   const struct place *place)
{
    const struct hf_role *known = hf_role_of(roles[role].role);
    assert_non_null(known);
    const struct hf_grants grants = {
        .items = {{.role = known,
                   .target = known->level == HF_ROLE_PROJECT ? fixed_id(5)
                             : known->level == HF_ROLE_ORG   ? fixed_id(0x15)
                                                             : (struct hf_id){{0}}}},
        .count = 1};
    bool of_org = strchr("efm", needs) != NULL;
    const struct hf_id_text id = hf_id_text(of_org ? &place->org : &place->project);
    const char *const parameters[HF_CALL_PARAMETERS_MAX] = {id.text, OWN, OWN, OWN};
    bool in_path = strncmp(route->path, G, sizeof G - 1) == 0;
    const struct hf_door_call call = {.route = route,
                                      .grants = &grants,
                                      .parameters = parameters,
                                      .named = in_path ? NULL : id.text,
                                      .usual = fixed_id(5)};
    struct hf_door_answer answer;
    struct hf_error err;
    bool global = known->level == HF_ROLE_GLOBAL;
    bool may = strchr(roles[role].may, needs) != NULL;
    bool of_installation = strchr("GACO", needs) != NULL;
    bool inside = (place->seen && (!of_org || known->level != HF_ROLE_PROJECT)) ||
                  (global && strcmp(place->name, "missing") != 0);
    int want = 0;
    if (needs == 'o' || needs == '*') {
        want = 200;
    } else if (of_installation) {
        want = may && global ? 200 : 401;
    } else if (!inside) {
        want = in_path ? 401 : 404;
    } else {
        want = may ? 200 : 401;
    }
    enum hf_err code = hf_door_open(app, &call, &answer, &err);
    int got = code == HF_ERR_OK ? 200 : hf_err_http(code);
    if (got != want) {
        fail_msg("%s %s as %s, %s project: %d, and should be %d", route->method, route->path,
                 roles[role].role, place->name, got, want);
    }
    if (got == 200 && !of_installation && !of_org && needs != 'o' && needs != '*') {
        assert_true(hf_id_equal(&answer.project, &place->project));
    }
    if (got == 401) {
        const char *word = in_path && !inside ? "NOT_IN_GROUP" : "USER_UNAUTHORIZED";
        assert_string_equal(answer.public_code, word);
    }
}

static void app_begin(struct hf_server_app *app)
{
    struct hf_error err;
    const struct hf_catalog_options options = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    const struct hf_project_record own = {.id = fixed_id(5), .org = fixed_id(0x15), .name = "own"};
    const struct hf_project_record other = {.id = fixed_id(6), .name = "other"};
    const struct hf_org_record orgs[] = {{.id = fixed_id(0x15), .name = "own"},
                                         {.id = fixed_id(0x16), .name = "first"}};
    *app = (struct hf_server_app){.first_project = own.id, .first_org = fixed_id(0x16)};
    EXPECT_OK(hf_catalog_mem_create(&options, &app->catalog, &err), &err);
    EXPECT_OK(hf_keep_project_insert(app->catalog, &own, &err), &err);
    EXPECT_OK(hf_keep_project_insert(app->catalog, &other, &err), &err);
    for (size_t i = 0; i < HF_ARRAY_LEN(orgs); i++) {
        EXPECT_OK(hf_keep_org_insert(app->catalog, &orgs[i], &err), &err);
    }
}

static void test_every_route_every_role_own_other_and_missing(void **state)
{
    struct hf_server_app app;
    const struct place places[] = {{"own", fixed_id(5), fixed_id(0x15), true},
                                   {"other", fixed_id(6), fixed_id(0x16), false},
                                   {"missing", fixed_id(7), fixed_id(0x17), false}};
    (void)state;
    app_begin(&app);
    assert_int_equal(hf_role_count, HF_ARRAY_LEN(roles));
    for (size_t i = 0; i < hf_server_route_count; i++) {
        const struct hf_route *route = &hf_server_routes[i];
        char needs = needs_of(route);
        if (needs == 0) {
            fail_msg("%s %s is not in the matrix", route->method, route->path);
        }
        for (size_t role = 0; role < HF_ARRAY_LEN(roles); role++) {
            for (size_t k = 0; k < HF_ARRAY_LEN(places); k++) {
                expect(&app, route, needs, role, &places[k]);
            }
        }
    }
    assert_int_equal(hf_server_route_count, HF_ARRAY_LEN(routes));
    hf_catalog_close(app.catalog);
}

static const struct hf_route any = {.method = "GET", .path = P "/jobs", .right = HF_RIGHT_READ};

static enum hf_err enter(struct hf_server_app *app, const struct hf_door_call *call,
                         struct hf_door_answer *answer, struct hf_error *err)
{
    return hf_door_open(app, call, answer, err);
}

static void test_a_project_is_named_or_the_only_one(void **state)
{
    struct hf_server_app app;
    struct hf_door_answer answer;
    struct hf_error err;
    const struct hf_role *reader = hf_role_of("GROUP_READ_ONLY");
    struct hf_grants grants = {.items = {{reader, fixed_id(6)}, {reader, fixed_id(5)}}, .count = 1};
    struct hf_door_call call = {.route = &any, .grants = &grants};
    (void)state;
    app_begin(&app);
    EXPECT_OK(enter(&app, &call, &answer, &err), &err);
    const struct hf_id other = fixed_id(6), own = fixed_id(5);
    assert_true(hf_id_equal(&answer.project, &other));
    grants.count = 2;
    EXPECT_ERROR(enter(&app, &call, &answer, &err), HF_ERR_INVALID, "for several projects", &err);
    assert_string_equal(answer.public_code, "MISSING_QUERY_PARAMETER");
    call.named = "own";
    EXPECT_OK(enter(&app, &call, &answer, &err), &err);
    assert_true(hf_id_equal(&answer.project, &own));
    call.named = "nowhere";
    EXPECT_ERROR(enter(&app, &call, &answer, &err), HF_ERR_NOT_FOUND, "no project nowhere", &err);
    /* What no key is for says the same as what is not there. */
    grants.count = 1;
    call.named = "own";
    EXPECT_ERROR(enter(&app, &call, &answer, &err), HF_ERR_NOT_FOUND, "no project own", &err);
    call.named = NULL;
    call.usual = own;
    EXPECT_ERROR(enter(&app, &call, &answer, &err), HF_ERR_NOT_FOUND, "no project", &err);
    hf_catalog_close(app.catalog);
}

static void test_a_route_that_names_no_right_is_closed(void **state)
{
    struct hf_server_app app;
    struct hf_door_answer answer;
    struct hf_error err;
    const struct hf_route forgotten = {.method = "GET", .path = P "/new"};
    const struct hf_grants owner = {.items = {{.role = hf_role_of("GLOBAL_OWNER")}}, .count = 1};
    const struct hf_door_call call = {.route = &forgotten, .grants = &owner};
    (void)state;
    app_begin(&app);
    EXPECT_ERROR(enter(&app, &call, &answer, &err), HF_ERR_UNAUTHENTICATED, "no role", &err);
    hf_catalog_close(app.catalog);
}

static void test_roles_that_cannot_be_read_give_nothing(void **state)
{
    static const char text[] = "[{\"roleName\":\"GROUP_OWNER\"},{\"roleName\":\"ROOT\"},7,"
                               "{\"roleName\":\"GROUP_OWNER\",\"groupId\":\"x\"},"
                               "{\"roleName\":\"GROUP_OWNER\",\"orgId\":\"" OWN "\"},"
                               "{\"roleName\":\"GROUP_READ_ONLY\",\"groupId\":\"" OWN "\"}]";
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_grants grants;
    struct hf_error err;
    (void)state;
    EXPECT_OK(hf_json_decode(hf_str_of(text), 4096, &json, &err), &err);
    hf_grants_decode(json, &grants);
    assert_int_equal(grants.count, 1);
    assert_string_equal(grants.items[0].role->name, "GROUP_READ_ONLY");
    hf_grants_decode(NULL, &grants);
    assert_int_equal(grants.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_route_every_role_own_other_and_missing),
        cmocka_unit_test(test_a_project_is_named_or_the_only_one),
        cmocka_unit_test(test_a_route_that_names_no_right_is_closed),
        cmocka_unit_test(test_roles_that_cannot_be_read_give_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
