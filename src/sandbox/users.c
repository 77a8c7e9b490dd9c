/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users and roles as documents of admin.system.users and admin.system.roles, logging in, and what a connection may do.
 * A right is looked up each time it is asked for, so that a change counts at once.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/roles.h"
#include "sandbox/server_internal.h"

#define USERS_NS "admin.system.users"
#define ROLES_NS "admin.system.roles"
#define SYSTEM_USER "local.__system" /* what members log in as */
#define ROLE_DEPTH 8

/* The document of a user or role, the caller's; id is "db.name". NULL when there is none. *any: whether there is
 * such a collection. */
static bson_t *find_doc(const struct hf_sandbox_call *call, const char *ns, const char *id,
                        bool *any)
{
    const struct hf_sandbox_txn_options options = {.write = false};
    bson_value_t key = hf_sandbox_value_of_utf8(id);
    bson_t *doc = NULL;
    struct hf_error err = {.code = HF_ERR_CONFLICT};

    while (err.code == HF_ERR_CONFLICT && hf_sandbox_call_check(call) == 0) {
        HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
        struct hf_sandbox_coll *coll;
        int64_t record;

        err.code = HF_ERR_OK;
        if (hf_sandbox_txn_begin(call->engine, &options, &txn, &err) == HF_ERR_OK) {
            coll = hf_sandbox_txn_find(txn, ns);
            *any = coll != NULL;
            if (coll != NULL) {
                (void)!hf_sandbox_coll_find_id(txn, coll, &key, &record, &doc, &err);
            }
        }
    }
    return doc;
}

/* ---- Rights ---- */

static bool role_allows(const struct hf_sandbox_call *call, const char *role, const char *db,
                        const struct hf_sandbox_deed *deed, unsigned depth);

/* Whether one of the roles, or privileges, that the document lists allows it. */
static bool doc_allows(const struct hf_sandbox_call *call, const bson_t *doc,
                       const struct hf_sandbox_deed *deed, unsigned depth)
{
    static const char *const lists[] = {"privileges", "roles"};
    bson_iter_t iter;
    bson_t list, one;

    for (size_t i = 0; i < HF_ARRAY_LEN(lists); i++) {
        if (!hf_sandbox_get_doc(doc, lists[i], &list) || !bson_iter_init(&iter, &list)) {
            continue;
        }
        while (bson_iter_next(&iter)) {
            if (hf_sandbox_value_doc(bson_iter_value(&iter), &one) &&
                (i == 0 ? hf_sandbox_privilege_allows(&one, deed)
                        : role_allows(call, hf_sandbox_get_utf8(&one, "role", ""),
                                      hf_sandbox_get_utf8(&one, "db", ""), deed, depth - 1))) {
                return true;
            }
        }
    }
    return false;
}

static bool role_allows(const struct hf_sandbox_call *call, const char *role, const char *db,
                        const struct hf_sandbox_deed *deed, unsigned depth)
{
    HF_CLEANUP(bson_destroy) bson_t *doc = NULL;
    char id[HF_SANDBOX_NS_BYTES];
    bool any;

    if (depth == 0 || hf_sandbox_role_builtin(role, db)) {
        return depth > 0 && hf_sandbox_role_allows(role, db, deed);
    }
    (void)snprintf(id, sizeof id, "%s.%s", db, role);
    doc = find_doc(call, ROLES_NS, id, &any);
    return doc != NULL && doc_allows(call, doc, deed, depth);
}

bool hf_sandbox_call_known(const struct hf_sandbox_call *call)
{
    bool any = true;

    if (call->conn->user[0] != '\0') {
        return true;
    }
    bson_destroy(find_doc(call, USERS_NS, "", &any));
    return call->conn->loopback && !any;
}

bool hf_sandbox_call_may(const struct hf_sandbox_call *call, const char *action, const char *db,
                         const char *coll)
{
    const struct hf_sandbox_deed deed = {.action = action, .db = db, .coll = coll};
    HF_CLEANUP(bson_destroy) bson_t *user = NULL;
    bool any;

    if (!call->server->options.options->auth) {
        return true;
    }
    if (call->conn->user[0] == '\0') {
        return hf_sandbox_role_allows("__localhost", "admin", &deed);
    }
    if (strcmp(call->conn->user, SYSTEM_USER) == 0) {
        return hf_sandbox_role_allows("__system", "admin", &deed);
    }
    user = find_doc(call, USERS_NS, call->conn->user, &any);
    return user != NULL && doc_allows(call, user, &deed, ROLE_DEPTH);
}

/* ---- Logging in ---- */

static int32_t refuse_login(struct hf_sandbox_call *call)
{
    call->conn->scram = (struct hf_sandbox_scram){.challenged = false};
    call->error_in_reply = true;
    return hf_sandbox_refuse(call->no, HF_SANDBOX_AUTHENTICATION_FAILED, "Authentication failed.");
}

static int32_t answer_login(struct hf_sandbox_call *call, bool done, const char *payload)
{
    BCON_APPEND(call->reply, "conversationId", BCON_INT32(1), "done", BCON_BOOL(done), "payload",
                BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)payload, (uint32_t)strlen(payload)));
    return 0;
}

static struct hf_bytes payload_of(const struct hf_sandbox_call *call)
{
    bson_value_t value;

    return hf_sandbox_get(call->command, "payload", &value) && value.value_type == BSON_TYPE_BINARY
               ? hf_bytes_of(value.value.v_binary.data, value.value.v_binary.data_len)
               : hf_bytes_of("", 0);
}

/* The user with stored credentials; those of __system are made from the key file. */
static bson_t *find_user(const struct hf_sandbox_call *call, const char *id)
{
    const struct hf_secret *key = hf_sandbox_repl_key(call->repl);
    char password[HF_SECRET_MAX_BYTES + 1];
    bson_t *doc;
    bson_t credentials;
    bool any;

    if (key == NULL || strcmp(id, SYSTEM_USER) != 0) {
        return find_doc(call, USERS_NS, id, &any);
    }
    (void)snprintf(password, sizeof password, "%.*s", (int)key->len, (const char *)key->data);
    doc = bson_new();
    bson_append_document_begin(doc, "credentials", -1, &credentials);
    hf_sandbox_scram_append_credentials(HF_SANDBOX_SCRAM_SHA_256, "__system", password,
                                        &credentials);
    bson_append_document_end(doc, &credentials);
    hf_wipe(password, sizeof password);
    return doc;
}

int32_t hf_sandbox_cmd_sasl_start(struct hf_sandbox_call *call)
{
    const char *mechanism = hf_sandbox_get_utf8(call->command, "mechanism", "");
    struct hf_sandbox_scram *scram = &call->conn->scram;
    enum hf_sandbox_scram_kind kind =
        strcmp(mechanism, "SCRAM-SHA-1") == 0 ? HF_SANDBOX_SCRAM_SHA_1 : HF_SANDBOX_SCRAM_SHA_256;
    HF_CLEANUP(bson_destroy) bson_t *user = NULL;
    char id[HF_SANDBOX_NS_BYTES];
    char challenge[HF_SANDBOX_SCRAM_TEXT_BYTES];
    bson_t all, one;

    if (strcmp(mechanism, hf_sandbox_scram_name(kind)) != 0) {
        return hf_sandbox_refuse(
            call->no, 334, "Received authentication for mechanism %.100s which is not enabled",
            mechanism);
    }
    if (!hf_sandbox_scram_start(scram, kind, payload_of(call))) {
        return refuse_login(call);
    }
    (void)snprintf(id, sizeof id, "%s.%s", call->db, scram->user);
    user = find_user(call, id);
    if (user == NULL || !hf_sandbox_get_doc(user, "credentials", &all) ||
        !hf_sandbox_get_doc(&all, mechanism, &one) ||
        !hf_sandbox_scram_challenge(scram, &one, challenge)) {
        return refuse_login(call);
    }
    return answer_login(call, false, challenge);
}

int32_t hf_sandbox_cmd_sasl_continue(struct hf_sandbox_call *call)
{
    struct hf_sandbox_conn *conn = call->conn;
    char last[HF_SANDBOX_SCRAM_TEXT_BYTES];

    if (!hf_sandbox_scram_finish(&conn->scram, payload_of(call), last)) {
        return refuse_login(call);
    }
    (void)snprintf(conn->user, sizeof conn->user, "%s.%s", call->db, conn->scram.user);
    return answer_login(call, true, last);
}

void hf_sandbox_append_mechanisms(struct hf_sandbox_call *call, const char *user, bson_t *reply)
{
    HF_CLEANUP(bson_destroy) bson_t *doc = find_user(call, user);
    bson_t credentials, array;
    uint32_t index = 0;

    if (doc == NULL || !hf_sandbox_get_doc(doc, "credentials", &credentials)) {
        return;
    }
    bson_append_array_begin(reply, "saslSupportedMechs", -1, &array);
    for (int kind = 0; kind < HF_SANDBOX_SCRAM_KINDS; kind++) {
        bson_value_t name =
            hf_sandbox_value_of_utf8(hf_sandbox_scram_name((enum hf_sandbox_scram_kind)kind));
        if (bson_has_field(&credentials, name.value.v_utf8.str)) {
            hf_sandbox_append_element(&array, &index, &name);
        }
    }
    bson_append_array_end(reply, &array);
}

/* ---- createUser, createRole ---- */

/* roles: ["name" | {role, db}] in the form in which they are stored; each must exist. */
static int32_t append_roles(struct hf_sandbox_call *call, bson_t *out)
{
    bson_iter_t iter;
    bson_t roles, array;
    uint32_t index = 0;

    bson_append_array_begin(out, "roles", -1, &array);
    for (bool more =
             hf_sandbox_get_doc(call->command, "roles", &roles) && bson_iter_init(&iter, &roles);
         more && bson_iter_next(&iter);) {
        HF_CLEANUP(bson_destroy) bson_t *stored = NULL;
        HF_CLEANUP(bson_destroy) bson_t *made = NULL;
        bool named = BSON_ITER_HOLDS_UTF8(&iter);
        bson_t doc = BSON_INITIALIZER;
        char id[HF_SANDBOX_NS_BYTES];
        bool any;

        (void)hf_sandbox_value_doc(bson_iter_value(&iter), &doc);
        const char *role =
            named ? bson_iter_utf8(&iter, NULL) : hf_sandbox_get_utf8(&doc, "role", "");
        const char *db = named ? call->db : hf_sandbox_get_utf8(&doc, "db", "");
        (void)snprintf(id, sizeof id, "%s.%s", db, role);
        if (!hf_sandbox_role_builtin(role, db) &&
            (made = find_doc(call, ROLES_NS, id, &any)) == NULL) {
            bson_append_array_end(out, &array);
            return hf_sandbox_refuse(call->no, HF_SANDBOX_ROLE_NOT_FOUND,
                                     "Could not find role: %s@%s", role, db);
        }
        stored = BCON_NEW("role", BCON_UTF8(role), "db", BCON_UTF8(db));
        bson_value_t value = hf_sandbox_value_of_doc(stored);
        hf_sandbox_append_element(&array, &index, &value);
    }
    bson_append_array_end(out, &array);
    return 0;
}

static void append_credentials(const char *user, const char *password, bson_t *doc)
{
    bson_t credentials;

    bson_append_document_begin(doc, "credentials", -1, &credentials);
    for (int kind = 0; kind < HF_SANDBOX_SCRAM_KINDS; kind++) {
        hf_sandbox_scram_append_credentials((enum hf_sandbox_scram_kind)kind, user, password,
                                            &credentials);
    }
    bson_append_document_end(doc, &credentials);
}

int32_t hf_sandbox_body_create_user(struct hf_sandbox_work *work, const char *ns)
{
    struct hf_sandbox_call *call = work->call;
    bool is_user = strcmp(call->name, "createUser") == 0;
    const char *name = hf_sandbox_get_utf8(call->command, call->name, "");
    const char *password = hf_sandbox_get_utf8(call->command, "pwd", "");
    HF_CLEANUP(bson_destroy) bson_t *doc = bson_new();
    struct hf_sandbox_coll *coll;
    uint8_t id[HF_SANDBOX_UUID_BYTES];
    char key[HF_SANDBOX_NS_BYTES];
    bson_value_t privileges;
    int32_t code;

    (void)ns;
    if (name[0] == '\0' || strlen(name) > 100 ||
        (is_user ? password[0] == '\0'
                 : !hf_sandbox_get(call->command, "privileges", &privileges))) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_BAD_VALUE, "%s needs a name and %s",
                                 call->name, is_user ? "a pwd" : "privileges");
    }
    (void)snprintf(key, sizeof key, "%s.%s", call->db, name);
    bson_append_utf8(doc, "_id", -1, key, -1);
    if (is_user) {
        hf_sandbox_uuid_make(id);
        bson_append_binary(doc, "userId", -1, BSON_SUBTYPE_UUID, id, sizeof id);
    }
    BCON_APPEND(doc, is_user ? "user" : "role", BCON_UTF8(name), "db", BCON_UTF8(call->db));
    if (is_user) {
        append_credentials(name, password, doc);
    } else {
        hf_sandbox_append(doc, "privileges", &privileges);
    }
    code = append_roles(call, doc);
    code = code != 0 ? code : hf_sandbox_work_need_coll(work, is_user ? USERS_NS : ROLES_NS, &coll);
    code = code != 0 ? code : hf_sandbox_work_insert(work, coll, doc, NULL);
    return code != HF_SANDBOX_DUPLICATE_KEY
               ? code
               : hf_sandbox_refuse(call->no, is_user ? 51003 : 51002, "%s \"%s@%s\" already exists",
                                   is_user ? "User" : "Role", name, call->db);
}
