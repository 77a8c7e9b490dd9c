/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users and roles as documents of admin.system.users and admin.system.roles, logging in, and what a connection may do.
 * Reading and writing those documents goes through the ordinary commands, so they replicate as any other.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/server_internal.h"

#define ROLE_DEPTH 8
#define RIGHTS_FRESH_MS 1000

/* ---- The documents ---- */

/* Runs another command in the name of the server itself. */
static int32_t run_inside(struct hf_sandbox_call *call,
                          int32_t (*run)(struct hf_sandbox_call *inner), const char *name,
                          const bson_t *command, bson_t *reply)
{
    struct hf_sandbox_call inner = *call;
    int32_t code;

    inner.command = command;
    inner.name = name;
    inner.db = "admin";
    inner.reply = reply;
    inner.session.given = false;
    inner.txn_number = -1;
    code = run(&inner);
    call->optime = inner.optime;
    return code;
}

/* What a find on admin.<coll> brings; NULL when it brings nothing. The caller's. */
static bson_t *find_all(struct hf_sandbox_call *call, const char *coll, const bson_t *filter)
{
    bson_t *command = BCON_NEW("find", BCON_UTF8(coll), "filter", BCON_DOCUMENT(filter),
                               "singleBatch", BCON_BOOL(true), "batchSize", BCON_INT32(100000));
    bson_t reply = BSON_INITIALIZER;
    bson_t *found = NULL;
    bson_t cursor;
    bson_t batch;

    if (run_inside(call, hf_sandbox_cmd_find, "find", command, &reply) == 0 &&
        hf_sandbox_get_doc(&reply, "cursor", &cursor) &&
        hf_sandbox_get_doc(&cursor, "firstBatch", &batch) && !bson_empty(&batch)) {
        found = bson_copy(&batch);
    }
    bson_destroy(command);
    bson_destroy(&reply);
    return found;
}

/* The document of a user or role: _id is "db.name". */
static bson_t *find_named(struct hf_sandbox_call *call, const char *coll, const char *db,
                          const char *name)
{
    char id[256];
    bson_t *filter;
    bson_t *all;
    bson_t *found = NULL;
    bson_t first;

    (void)snprintf(id, sizeof id, "%s.%s", db, name);
    filter = BCON_NEW("_id", BCON_UTF8(id));
    all = find_all(call, coll, filter);
    if (all != NULL && hf_sandbox_get_doc(all, "0", &first)) {
        found = bson_copy(&first);
    }
    bson_destroy(all);
    bson_destroy(filter);
    return found;
}

/* Inserts, updates or deletes; *n how many. A write error becomes the refusal. */
static int32_t write_doc(struct hf_sandbox_call *call,
                         int32_t (*run)(struct hf_sandbox_call *inner), const char *name,
                         const bson_t *command, int64_t *n)
{
    bson_t reply = BSON_INITIALIZER;
    bson_t errors;
    bson_t first;
    int32_t code = run_inside(call, run, name, command, &reply);

    if (code == 0 && hf_sandbox_get_doc(&reply, "writeErrors", &errors) &&
        hf_sandbox_get_doc(&errors, "0", &first)) {
        code = hf_sandbox_refuse(call->no, (int32_t)hf_sandbox_get_int64(&first, "code", 1), "%s",
                                 hf_sandbox_get_utf8(&first, "errmsg", ""));
    }
    *n = hf_sandbox_get_int64(&reply, "n", 0);
    bson_destroy(&reply);
    atomic_fetch_add(&call->server->users_generation, 1);
    return code;
}

/* ---- Rights of a connection ---- */

static void add_role(struct hf_sandbox_call *call, struct hf_sandbox_rights *rights,
                     const char *role, const char *db, unsigned depth);

static void add_roles(struct hf_sandbox_call *call, struct hf_sandbox_rights *rights,
                      const bson_t *doc, unsigned depth)
{
    bson_iter_t iter;
    bson_t roles;

    if (depth == 0 || !hf_sandbox_get_doc(doc, "roles", &roles) || !bson_iter_init(&iter, &roles)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        bson_t role;
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &role)) {
            add_role(call, rights, hf_sandbox_get_utf8(&role, "role", ""),
                     hf_sandbox_get_utf8(&role, "db", ""), depth - 1);
        }
    }
}

static void add_role(struct hf_sandbox_call *call, struct hf_sandbox_rights *rights,
                     const char *role, const char *db, unsigned depth)
{
    bson_iter_t iter;
    bson_t privileges;
    bson_t *doc;

    if (rights->role_count < HF_SANDBOX_ROLES_MAX) {
        struct hf_sandbox_role_name *name = &rights->roles[rights->role_count++];
        (void)snprintf(name->role, sizeof name->role, "%s", role);
        (void)snprintf(name->db, sizeof name->db, "%s", db);
    }
    if (hf_sandbox_role_builtin(role, db, rights)) {
        return;
    }
    doc = find_named(call, "system.roles", db, role);
    if (doc != NULL && hf_sandbox_get_doc(doc, "privileges", &privileges) &&
        bson_iter_init(&iter, &privileges)) {
        while (bson_iter_next(&iter)) {
            bson_t privilege;
            if (hf_sandbox_value_doc(bson_iter_value(&iter), &privilege)) {
                (void)hf_sandbox_rights_add_privilege(rights, &privilege);
            }
        }
    }
    if (doc != NULL) {
        add_roles(call, rights, doc, depth);
    }
    bson_destroy(doc);
}

static void clear_rights(struct hf_sandbox_rights *rights)
{
    rights->count = 0;
    rights->role_count = 0;
}

/* Until there is a user, a connection from this host may make the first one, and the set. */
static bool exception_holds(struct hf_sandbox_call *call)
{
    struct hf_sandbox_rights *rights = &call->conn->rights;
    bson_t none = BSON_INITIALIZER;
    bson_t *users;

    clear_rights(rights);
    if (!call->conn->loopback) {
        return false;
    }
    users = find_all(call, "system.users", &none);
    if (users != NULL) {
        bson_destroy(users);
        return false;
    }
    hf_sandbox_rights_add(rights, HF_SANDBOX_RES_DB, "admin", "",
                          HF_SANDBOX_ACT(CREATE_USER) | HF_SANDBOX_ACT(CREATE_ROLE) |
                              HF_SANDBOX_ACT(GRANT_ROLE));
    hf_sandbox_rights_add(rights, HF_SANDBOX_RES_CLUSTER, "", "",
                          HF_SANDBOX_ACT(REPL_SET_CONFIGURE) | HF_SANDBOX_ACT(REPL_SET_GET_STATUS) |
                              HF_SANDBOX_ACT(REPL_SET_GET_CONFIG) | HF_SANDBOX_ACT(SHUTDOWN));
    return true;
}

bool hf_sandbox_refresh_rights(struct hf_sandbox_call *call)
{
    struct hf_sandbox_rights *rights = &call->conn->rights;
    uint64_t generation = atomic_load(&call->server->users_generation);
    uint64_t now = hf_clock_mono_ms();
    bson_t *user;

    if (!rights->known) {
        return !exception_holds(call);
    }
    if (rights->generation == generation && rights->read_at_ms != 0 &&
        now - rights->read_at_ms < RIGHTS_FRESH_MS) {
        return false;
    }
    rights->generation = generation;
    rights->read_at_ms = now;
    clear_rights(rights);
    if (strcmp(rights->user, "__system") == 0 && strcmp(rights->db, "local") == 0) {
        (void)hf_sandbox_role_builtin("__system", "admin", rights);
        return false;
    }
    user = find_named(call, "system.users", rights->db, rights->user);
    if (user == NULL) {
        rights->known = false; /* dropped meanwhile */
        return true;
    }
    add_roles(call, rights, user, ROLE_DEPTH);
    bson_destroy(user);
    return false;
}

/* ---- Logging in ---- */

static int32_t refuse_login(struct hf_sandbox_call *call)
{
    hf_sandbox_scram_destroy(HF_TAKE(call->conn->scram));
    call->error_in_reply = true;
    return hf_sandbox_refuse(call->no, HF_SANDBOX_AUTHENTICATION_FAILED, "Authentication failed.");
}

static void answer_login(struct hf_sandbox_call *call, bool done, const char *payload)
{
    bson_append_int32(call->reply, "conversationId", -1, 1);
    bson_append_bool(call->reply, "done", -1, done);
    bson_append_binary(call->reply, "payload", -1, BSON_SUBTYPE_BINARY, (const uint8_t *)payload,
                       (uint32_t)strlen(payload));
}

static bool get_payload(const struct hf_sandbox_call *call, struct hf_bytes *out)
{
    bson_value_t value;

    if (!hf_sandbox_get(call->command, "payload", &value)) {
        return false;
    }
    if (value.value_type == BSON_TYPE_BINARY) {
        *out = hf_bytes_of(value.value.v_binary.data, value.value.v_binary.data_len);
    } else if (value.value_type == BSON_TYPE_UTF8) {
        *out = hf_bytes_of(value.value.v_utf8.str, value.value.v_utf8.len);
    } else {
        return false;
    }
    return true;
}

/* The stored credentials of the user for the mechanism; those of __system are made from the key file. */
static bson_t *find_credentials(struct hf_sandbox_call *call, enum hf_sandbox_scram_kind kind)
{
    const struct hf_secret *key = hf_sandbox_repl_key(call->repl);
    struct hf_sandbox_conn *conn = call->conn;
    bson_t *doc;
    bson_t *found = NULL;
    bson_t all;
    bson_t one;

    if (strcmp(conn->scram_user, "__system") == 0 && strcmp(conn->scram_db, "local") == 0) {
        char *password = key == NULL ? NULL : hf_strndup((const char *)key->data, key->len);
        doc = bson_new();
        if (password != NULL) {
            hf_sandbox_scram_append_credentials(kind, "__system", password, doc);
            hf_wipe(password, strlen(password));
            hf_free(password);
        }
        if (hf_sandbox_get_doc(doc, hf_sandbox_scram_name(kind), &one)) {
            found = bson_copy(&one);
        }
    } else {
        doc = find_named(call, "system.users", conn->scram_db, conn->scram_user);
        if (doc != NULL && hf_sandbox_get_doc(doc, "credentials", &all) &&
            hf_sandbox_get_doc(&all, hf_sandbox_scram_name(kind), &one)) {
            found = bson_copy(&one);
        }
    }
    bson_destroy(doc);
    return found;
}

int32_t hf_sandbox_cmd_sasl_start(struct hf_sandbox_call *call)
{
    const char *mechanism = hf_sandbox_get_utf8(call->command, "mechanism", "");
    struct hf_sandbox_conn *conn = call->conn;
    enum hf_sandbox_scram_kind kind = HF_SANDBOX_SCRAM_SHA_256;
    struct hf_bytes payload;
    bson_t *credentials;
    bson_t options;
    char *challenge;

    hf_sandbox_scram_destroy(HF_TAKE(conn->scram));
    if (strcmp(mechanism, hf_sandbox_scram_name(HF_SANDBOX_SCRAM_SHA_1)) == 0) {
        kind = HF_SANDBOX_SCRAM_SHA_1;
    } else if (strcmp(mechanism, hf_sandbox_scram_name(kind)) != 0) {
        return hf_sandbox_refuse(
            call->no, 334, "Received authentication for mechanism %.100s which is not enabled",
            mechanism);
    }
    if (!get_payload(call, &payload)) {
        return refuse_login(call);
    }
    (void)snprintf(conn->scram_db, sizeof conn->scram_db, "%s", call->db);
    conn->scram_short = hf_sandbox_get_doc(call->command, "options", &options) &&
                        hf_sandbox_get_true(&options, "skipEmptyExchange");
    conn->scram = hf_sandbox_scram_start(kind, payload, conn->scram_user, sizeof conn->scram_user);
    credentials = conn->scram == NULL ? NULL : find_credentials(call, kind);
    challenge = credentials == NULL ? NULL : hf_sandbox_scram_challenge(conn->scram, credentials);
    bson_destroy(credentials);
    if (challenge == NULL) {
        return refuse_login(call);
    }
    answer_login(call, false, challenge);
    hf_free(challenge);
    return 0;
}

int32_t hf_sandbox_cmd_sasl_continue(struct hf_sandbox_call *call)
{
    struct hf_sandbox_conn *conn = call->conn;
    struct hf_bytes payload;
    char *last;

    if (conn->scram == NULL || !get_payload(call, &payload)) {
        return conn->scram == NULL ? hf_sandbox_refuse(call->no, HF_SANDBOX_PROTOCOL_ERROR,
                                                       "No SASL session state found")
                                   : refuse_login(call);
    }
    if (hf_sandbox_scram_done(conn->scram)) {
        answer_login(call, true, "");
        hf_sandbox_scram_destroy(HF_TAKE(conn->scram));
        return 0;
    }
    last = hf_sandbox_scram_finish(conn->scram, payload);
    if (last == NULL) {
        return refuse_login(call);
    }
    conn->rights = (struct hf_sandbox_rights){.known = true};
    (void)snprintf(conn->rights.user, sizeof conn->rights.user, "%s", conn->scram_user);
    (void)snprintf(conn->rights.db, sizeof conn->rights.db, "%s", conn->scram_db);
    answer_login(call, conn->scram_short, last);
    hf_free(last);
    if (conn->scram_short) {
        hf_sandbox_scram_destroy(HF_TAKE(conn->scram));
    }
    return 0;
}

int32_t hf_sandbox_cmd_logout(struct hf_sandbox_call *call)
{
    call->conn->rights = (struct hf_sandbox_rights){0};
    return 0;
}

static void append_mechanism_names(const bson_t *user, const char *key, bson_t *out)
{
    bson_t credentials;
    bson_t array;
    uint32_t index = 0;

    bson_append_array_begin(out, key, -1, &array);
    for (int kind = 0;
         hf_sandbox_get_doc(user, "credentials", &credentials) && kind < HF_SANDBOX_SCRAM_KINDS;
         kind++) {
        bson_value_t name =
            hf_sandbox_value_of_utf8(hf_sandbox_scram_name((enum hf_sandbox_scram_kind)kind));
        if (bson_has_field(&credentials, name.value.v_utf8.str)) {
            hf_sandbox_append_element(&array, &index, &name);
        }
    }
    bson_append_array_end(out, &array);
}

void hf_sandbox_append_mechanisms(struct hf_sandbox_call *call, const char *user, bson_t *reply)
{
    size_t db_len = strcspn(user, ".");
    char db[64];
    bson_t *doc;

    if (user[db_len] == '\0' || db_len >= sizeof db) {
        return;
    }
    memcpy(db, user, db_len);
    db[db_len] = '\0';
    doc = strcmp(user, "local.__system") == 0
              ? BCON_NEW("credentials", "{", "SCRAM-SHA-256", BCON_INT32(1), "}")
              : find_named(call, "system.users", db, user + db_len + 1);
    if (doc != NULL) {
        append_mechanism_names(doc, "saslSupportedMechs", reply);
        bson_destroy(doc);
    }
}

/* ---- connectionStatus ---- */

static void append_privilege(const struct hf_sandbox_right *right, bson_t *array, uint32_t *index)
{
    bson_t *doc = bson_new();
    bson_t inner;
    bson_value_t value;

    bson_append_document_begin(doc, "resource", -1, &inner);
    if (right->resource == HF_SANDBOX_RES_CLUSTER || right->resource == HF_SANDBOX_RES_ANY) {
        bson_append_bool(&inner, right->resource == HF_SANDBOX_RES_ANY ? "anyResource" : "cluster",
                         -1, true);
    } else {
        bson_append_utf8(&inner, "db", -1, right->db, -1);
        bson_append_utf8(&inner, "collection", -1, right->coll, -1);
    }
    bson_append_document_end(doc, &inner);
    hf_sandbox_append_actions(doc, "actions", right->actions);
    value = hf_sandbox_value_of_doc(doc);
    hf_sandbox_append_element(array, index, &value);
    bson_destroy(doc);
}

int32_t hf_sandbox_cmd_connection_status(struct hf_sandbox_call *call)
{
    const struct hf_sandbox_rights *rights = &call->conn->rights;
    bson_t info;
    bson_t array;
    uint32_t index = 0;

    if (rights->known) {
        (void)hf_sandbox_refresh_rights(call);
    }
    bson_append_document_begin(call->reply, "authInfo", -1, &info);
    bson_append_array_begin(&info, "authenticatedUsers", -1, &array);
    if (rights->known) {
        BCON_APPEND(&array, "0", "{", "user", BCON_UTF8(rights->user), "db", BCON_UTF8(rights->db),
                    "}");
    }
    bson_append_array_end(&info, &array);
    bson_append_array_begin(&info, "authenticatedUserRoles", -1, &array);
    for (size_t i = 0; rights->known && i < rights->role_count; i++) {
        bson_t *role = BCON_NEW("role", BCON_UTF8(rights->roles[i].role), "db",
                                BCON_UTF8(rights->roles[i].db));
        bson_value_t value = hf_sandbox_value_of_doc(role);
        hf_sandbox_append_element(&array, &index, &value);
        bson_destroy(role);
    }
    bson_append_array_end(&info, &array);
    if (hf_sandbox_get_true(call->command, "showPrivileges")) {
        index = 0;
        bson_append_array_begin(&info, "authenticatedUserPrivileges", -1, &array);
        for (size_t i = 0; rights->known && i < rights->count; i++) {
            append_privilege(&rights->list[i], &array, &index);
        }
        bson_append_array_end(&info, &array);
    }
    bson_append_document_end(call->reply, &info);
    return 0;
}

/* ---- Managing users and roles ---- */

/* roles: ["name" | {role, db}] in the form in which they are stored; each must exist. */
static int32_t read_roles(struct hf_sandbox_call *call, bson_t *out)
{
    struct hf_sandbox_rights *probe = hf_alloc_zero(sizeof *probe);
    bson_iter_t iter;
    bson_t roles;
    uint32_t index = 0;
    int32_t code = 0;

    HF_ASSERT(probe != NULL);
    for (bool more =
             hf_sandbox_get_doc(call->command, "roles", &roles) && bson_iter_init(&iter, &roles);
         more && code == 0 && bson_iter_next(&iter);) {
        bool named = BSON_ITER_HOLDS_UTF8(&iter);
        bson_t doc = BSON_INITIALIZER;
        (void)hf_sandbox_value_doc(bson_iter_value(&iter), &doc);
        const char *role =
            named ? bson_iter_utf8(&iter, NULL) : hf_sandbox_get_utf8(&doc, "role", "");
        const char *db = named ? call->db : hf_sandbox_get_utf8(&doc, "db", "");
        bson_t *custom = NULL;
        probe->count = 0;
        if (!hf_sandbox_role_builtin(role, db, probe)) {
            custom = find_named(call, "system.roles", db, role);
            code = custom != NULL ? 0
                                  : hf_sandbox_refuse(call->no, HF_SANDBOX_ROLE_NOT_FOUND,
                                                      "Could not find role: %s@%s", role, db);
            bson_destroy(custom);
        }
        bson_t *stored = BCON_NEW("role", BCON_UTF8(role), "db", BCON_UTF8(db));
        bson_value_t value = hf_sandbox_value_of_doc(stored);
        hf_sandbox_append_element(out, &index, &value);
        bson_destroy(stored);
    }
    hf_free(probe);
    return code;
}

static void append_credentials(struct hf_sandbox_call *call, const char *user, bson_t *doc)
{
    const char *password = hf_sandbox_get_utf8(call->command, "pwd", "");
    bson_iter_t iter;
    bson_t wanted;
    bson_t credentials;
    bool chosen = hf_sandbox_get_doc(call->command, "mechanisms", &wanted);

    bson_append_document_begin(doc, "credentials", -1, &credentials);
    for (int kind = 0; kind < HF_SANDBOX_SCRAM_KINDS; kind++) {
        bool use = !chosen;
        for (bool more = chosen && bson_iter_init(&iter, &wanted); more && bson_iter_next(&iter);) {
            use = use || (BSON_ITER_HOLDS_UTF8(&iter) &&
                          strcmp(bson_iter_utf8(&iter, NULL),
                                 hf_sandbox_scram_name((enum hf_sandbox_scram_kind)kind)) == 0);
        }
        if (use) {
            hf_sandbox_scram_append_credentials((enum hf_sandbox_scram_kind)kind, user, password,
                                                &credentials);
        }
    }
    bson_append_document_end(doc, &credentials);
}

static int32_t insert_doc(struct hf_sandbox_call *call, const char *coll, const bson_t *doc)
{
    bson_t *command =
        BCON_NEW("insert", BCON_UTF8(coll), "documents", "[", BCON_DOCUMENT(doc), "]");
    int64_t n;
    int32_t code = write_doc(call, hf_sandbox_cmd_insert, "insert", command, &n);

    bson_destroy(command);
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    return code;
}

int32_t hf_sandbox_cmd_create_user(struct hf_sandbox_call *call)
{
    const char *user = hf_sandbox_get_utf8(call->command, call->name, "");
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    bson_t roles = BSON_INITIALIZER;
    bson_value_t custom;
    char *key;
    bson_t *doc;
    int32_t code;

    if (user[0] == '\0' || strlen(user) > 100 || !bson_has_field(call->command, "pwd") ||
        !bson_has_field(call->command, "roles")) {
        bson_destroy(&roles);
        return hf_sandbox_refuse(call->no, HF_SANDBOX_BAD_VALUE,
                                 "createUser needs a name, a pwd and roles");
    }
    code = read_roles(call, &roles);
    hf_sandbox_uuid_make(id);
    key = hf_asprintf("%s.%s", call->db, user);
    HF_ASSERT(key != NULL);
    doc = BCON_NEW("_id", BCON_UTF8(key), "userId", BCON_BIN(BSON_SUBTYPE_UUID, id, 16), "user",
                   BCON_UTF8(user), "db", BCON_UTF8(call->db));
    append_credentials(call, user, doc);
    bson_append_array(doc, "roles", -1, &roles);
    if (hf_sandbox_get(call->command, "customData", &custom)) {
        hf_sandbox_append(doc, "customData", &custom);
    }
    code = code != 0 ? code : insert_doc(call, "system.users", doc);
    if (code == HF_SANDBOX_DUPLICATE_KEY) {
        code = hf_sandbox_refuse(call->no, 51003, "User \"%s@%s\" already exists", user, call->db);
    }
    bson_destroy(doc);
    bson_destroy(&roles);
    hf_free(key);
    return code;
}

int32_t hf_sandbox_cmd_create_role(struct hf_sandbox_call *call)
{
    const char *role = hf_sandbox_get_utf8(call->command, call->name, "");
    bson_t roles = BSON_INITIALIZER;
    bson_t privileges;
    char *key;
    bson_t *doc;
    int32_t code;

    if (role[0] == '\0' || strlen(role) > 60 ||
        !hf_sandbox_get_doc(call->command, "privileges", &privileges)) {
        bson_destroy(&roles);
        return hf_sandbox_refuse(call->no, HF_SANDBOX_BAD_VALUE,
                                 "createRole needs a name and privileges");
    }
    code = read_roles(call, &roles);
    key = hf_asprintf("%s.%s", call->db, role);
    HF_ASSERT(key != NULL);
    doc = BCON_NEW("_id", BCON_UTF8(key), "role", BCON_UTF8(role), "db", BCON_UTF8(call->db));
    bson_append_array(doc, "privileges", -1, &privileges);
    bson_append_array(doc, "roles", -1, &roles);
    code = code != 0 ? code : insert_doc(call, "system.roles", doc);
    if (code == HF_SANDBOX_DUPLICATE_KEY) {
        code = hf_sandbox_refuse(call->no, 51002, "Role \"%s@%s\" already exists", role, call->db);
    }
    bson_destroy(doc);
    bson_destroy(&roles);
    hf_free(key);
    return code;
}

/* Runs the command built for "db.user"; USER_NOT_FOUND when it hit nothing. */
static int32_t change_user(struct hf_sandbox_call *call,
                           int32_t (*run)(struct hf_sandbox_call *inner), const char *name,
                           const bson_t *command)
{
    int64_t n = 0;
    int32_t code = write_doc(call, run, name, command, &n);

    if (code == 0 && n == 0) {
        code = hf_sandbox_refuse(call->no, HF_SANDBOX_USER_NOT_FOUND, "User '%s@%s' not found",
                                 hf_sandbox_get_utf8(call->command, call->name, ""), call->db);
    }
    if (code == 0) {
        hf_sandbox_call_await(call);
    }
    return code;
}

int32_t hf_sandbox_cmd_update_user(struct hf_sandbox_call *call)
{
    const char *user = hf_sandbox_get_utf8(call->command, call->name, "");
    char *key = hf_asprintf("%s.%s", call->db, user);
    bson_t roles = BSON_INITIALIZER;
    bson_t set = BSON_INITIALIZER;
    bson_t *command;
    int32_t code = read_roles(call, &roles);

    HF_ASSERT(key != NULL);
    if (bson_has_field(call->command, "pwd")) {
        append_credentials(call, user, &set);
    }
    if (bson_has_field(call->command, "roles")) {
        bson_append_array(&set, "roles", -1, &roles);
    }
    command = BCON_NEW("update", BCON_UTF8("system.users"), "updates", "[", "{", "q", "{", "_id",
                       BCON_UTF8(key), "}", "u", "{", "$set", BCON_DOCUMENT(&set), "}", "}", "]");
    code = code != 0 ? code : change_user(call, hf_sandbox_cmd_update, "update", command);
    bson_destroy(command);
    bson_destroy(&set);
    bson_destroy(&roles);
    hf_free(key);
    return code;
}

int32_t hf_sandbox_cmd_drop_user(struct hf_sandbox_call *call)
{
    char *key = hf_asprintf("%s.%s", call->db, hf_sandbox_get_utf8(call->command, call->name, ""));
    bson_t *command;
    int32_t code;

    HF_ASSERT(key != NULL);
    command = BCON_NEW("delete", BCON_UTF8("system.users"), "deletes", "[", "{", "q", "{", "_id",
                       BCON_UTF8(key), "}", "limit", BCON_INT32(1), "}", "]");
    code = change_user(call, hf_sandbox_cmd_delete, "delete", command);
    bson_destroy(command);
    hf_free(key);
    return code;
}

static void append_user(const bson_t *user, bool credentials, bson_t *array, uint32_t *index)
{
    static const char *const kept[] = {"_id",         "userId", "user",      "db",
                                       "credentials", "roles",  "customData"};
    bson_t *doc = bson_new();
    bson_value_t value;

    for (size_t i = 0; i < HF_ARRAY_LEN(kept); i++) {
        if (hf_sandbox_get(user, kept[i], &value) &&
            (credentials || strcmp(kept[i], "credentials") != 0)) {
            hf_sandbox_append(doc, kept[i], &value);
        }
    }
    append_mechanism_names(user, "mechanisms", doc);
    value = hf_sandbox_value_of_doc(doc);
    hf_sandbox_append_element(array, index, &value);
    bson_destroy(doc);
}

int32_t hf_sandbox_cmd_users_info(struct hf_sandbox_call *call)
{
    bson_value_t which = hf_sandbox_value_missing;
    bson_t filter = BSON_INITIALIZER;
    bson_t *users;
    bson_t named;
    bson_t array;
    bson_iter_t iter;
    uint32_t index = 0;

    (void)hf_sandbox_get(call->command, call->name, &which);
    if (which.value_type == BSON_TYPE_UTF8) {
        hf_sandbox_append(&filter, "user", &which);
        bson_append_utf8(&filter, "db", -1, call->db, -1);
    } else if (which.value_type == BSON_TYPE_DOCUMENT && hf_sandbox_value_doc(&which, &named)) {
        bson_append_utf8(&filter, "user", -1, hf_sandbox_get_utf8(&named, "user", ""), -1);
        bson_append_utf8(&filter, "db", -1, hf_sandbox_get_utf8(&named, "db", ""), -1);
    } else {
        bson_append_utf8(&filter, "db", -1, call->db, -1);
    }
    users = find_all(call, "system.users", &filter);
    bson_append_array_begin(call->reply, "users", -1, &array);
    for (bool more = users != NULL && bson_iter_init(&iter, users);
         more && bson_iter_next(&iter);) {
        bson_t user;
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &user)) {
            append_user(&user, hf_sandbox_get_true(call->command, "showCredentials"), &array,
                        &index);
        }
    }
    bson_append_array_end(call->reply, &array);
    bson_destroy(users);
    bson_destroy(&filter);
    return 0;
}
