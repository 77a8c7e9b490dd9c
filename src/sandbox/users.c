/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users and roles as documents of admin.system.users and admin.system.roles, logging in, and what a connection may do.
 * A right is looked up each time it is asked for, so that a change counts at once.
 */
#include <stdio.h>
#include <string.h>

#include "sandbox/client.h"
#include "sandbox/server_internal.h"

#define ROLES_NS "admin.system.roles"
#define SYSTEM_USER "local.__system" /* what members log in as */
#define ROLE_DEPTH 8

/* The document of a user or role, the caller's; id is "db.name". */
static bson_t *find_doc(const struct hf_sandbox_call *call, const char *ns, const char *id)
{
    bson_value_t value = hf_sandbox_value_of_utf8(id);

    return hf_sandbox_call_lookup(call, ns, &value, NULL);
}

/* ---- Rights ---- */

/* Whether one of the privileges and roles in the document allows it. */
static bool doc_allows(const struct hf_sandbox_call *call, const char *ns, const char *id,
                       const struct hf_sandbox_deed *deed, unsigned depth)
{
    OWNED_DOC *doc = depth == 0 ? NULL : find_doc(call, ns, id);
    bson_t none = BSON_INITIALIZER, privileges = none, roles = none, one;
    bool allowed = false;

    if (doc != NULL) {
        (void)hf_sandbox_get_doc(doc, "privileges", &privileges);
        (void)hf_sandbox_get_doc(doc, "roles", &roles);
    }
    HF_SANDBOX_EACH (iter, &privileges, !allowed) {
        allowed = hf_sandbox_value_doc(bson_iter_value(&iter), &one) &&
                  hf_sandbox_privilege_allows(&one, deed);
    }
    HF_SANDBOX_EACH (iter, &roles, !allowed) {
        if (hf_sandbox_value_doc(bson_iter_value(&iter), &one)) {
            const char *role = hf_sandbox_get_utf8(&one, "role", "");
            const char *db = hf_sandbox_get_utf8(&one, "db", "");
            char role_id[HF_SANDBOX_NS_BYTES];
            (void)snprintf(role_id, sizeof role_id, "%s.%s", db, role);
            allowed = hf_sandbox_role_allows(role, db, deed) ||
                      doc_allows(call, ROLES_NS, role_id, deed, depth - 1);
        }
    }
    return allowed;
}

bool hf_sandbox_call_may(const struct hf_sandbox_call *call, const char *action, const char *db,
                         const char *coll)
{
    const struct hf_sandbox_deed deed = {.action = action, .db = db, .coll = coll};
    const char *user = call->conn->user;

    return call->server->options.auth == NULL ||
           (user[0] == '\0' ? hf_sandbox_role_allows("__localhost", "admin", &deed)
            : strcmp(user, SYSTEM_USER) == 0
                ? hf_sandbox_role_allows("__system", "admin", &deed)
                : doc_allows(call, HF_SANDBOX_USERS_NS, user, &deed, ROLE_DEPTH));
}

/* ---- Logging in ---- */

static int32_t refuse_login(struct hf_sandbox_call *call)
{
    call->conn->scram = (struct hf_sandbox_scram){.nonce = ""};
    return REFUSE(call, AUTHENTICATION_FAILED, "Authentication failed.");
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

/* A member's first command to another one. */
int32_t hf_sandbox_cmd_join(struct hf_sandbox_call *call)
{
    const struct hf_secret *key = hf_sandbox_repl_key(call->repl);

    if (key == NULL || !hf_sandbox_client_proves(call->command, key)) {
        return REFUSE(call, AUTHENTICATION_FAILED, "the key files differ");
    }
    (void)snprintf(call->conn->user, sizeof call->conn->user, SYSTEM_USER);
    return 0;
}

int32_t hf_sandbox_cmd_sasl_start(struct hf_sandbox_call *call)
{
    const char *mechanism = hf_sandbox_get_utf8(call->command, "mechanism", "");
    struct hf_sandbox_scram *scram = &call->conn->scram;
    OWNED_DOC *user = NULL;
    char id[HF_SANDBOX_NS_BYTES];
    char challenge[HF_SANDBOX_SCRAM_TEXT_BYTES];

    if (hf_sandbox_scram_start(scram, mechanism, payload_of(call))) {
        (void)snprintf(id, sizeof id, "%s.%s", call->db, scram->user);
        user = strcmp(id, SYSTEM_USER) == 0 ? NULL : find_doc(call, HF_SANDBOX_USERS_NS, id);
    }
    return user != NULL && hf_sandbox_scram_challenge(scram, user, challenge)
               ? answer_login(call, false, challenge)
               : refuse_login(call);
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

int32_t hf_sandbox_cmd_connection_status(struct hf_sandbox_call *call)
{
    const char *user = call->conn->user;
    size_t len = strcspn(user, ".");
    char db[HF_SANDBOX_NS_BYTES];
    bson_t info, users, one;

    bson_append_document_begin(call->reply, "authInfo", -1, &info);
    bson_append_array_begin(&info, "authenticatedUsers", -1, &users);
    if (user[0] != '\0') {
        (void)snprintf(db, sizeof db, "%.*s", (int)len, user);
        bson_append_document_begin(&users, "0", -1, &one);
        BCON_APPEND(&one, "user", BCON_UTF8(user + len + 1), "db", BCON_UTF8(db));
        bson_append_document_end(&users, &one);
    }
    bson_append_array_end(&info, &users);
    bson_append_document_end(call->reply, &info);
    return 0;
}

void hf_sandbox_append_mechanisms(struct hf_sandbox_call *call, const char *user, bson_t *reply)
{
    OWNED_DOC *doc = find_doc(call, HF_SANDBOX_USERS_NS, user);

    if (doc != NULL) {
        BCON_APPEND(reply, "saslSupportedMechs", "[", "SCRAM-SHA-1", "SCRAM-SHA-256", "]");
    }
}

/* ---- createUser, createRole ---- */

/* roles: ["name" | {role, db}], in the form in which they are stored. One that is unknown gives nothing. */
static void append_roles(const struct hf_sandbox_call *call, bson_t *out)
{
    bson_t roles = BSON_INITIALIZER, array, role;
    uint32_t index = 0;

    (void)hf_sandbox_get_doc(call->command, "roles", &roles);
    bson_append_array_begin(out, "roles", -1, &array);
    HF_SANDBOX_EACH (iter, &roles, true) {
        OWNED_DOC *stored = BSON_ITER_HOLDS_UTF8(&iter)
                                ? BCON_NEW("role", BCON_UTF8(bson_iter_utf8(&iter, NULL)), "db",
                                           BCON_UTF8(call->db))
                            : hf_sandbox_value_doc(bson_iter_value(&iter), &role) ? bson_copy(&role)
                                                                                  : bson_new();
        hf_sandbox_append_doc(&array, &index, stored);
    }
    bson_append_array_end(out, &array);
}

int32_t hf_sandbox_body_create_user(struct hf_sandbox_work *work)
{
    struct hf_sandbox_call *call = work->call;
    bool is_user = strcmp(call->name, "createUser") == 0;
    const char *name = hf_sandbox_get_utf8(call->command, call->name, "");
    const char *password = hf_sandbox_get_utf8(call->command, "pwd", "");
    OWNED_DOC *old = NULL;
    OWNED_DOC *doc = bson_new();
    struct hf_sandbox_entry entry = {
        .op = "i", .ns = is_user ? HF_SANDBOX_USERS_NS : ROLES_NS, .o = doc};
    struct hf_sandbox_coll *coll;
    uint8_t user_id[HF_SANDBOX_UUID_BYTES];
    char id[HF_SANDBOX_NS_BYTES];
    bson_t privileges;
    int32_t code;

    if (name[0] == '\0' ||
        (is_user ? password[0] == '\0'
                 : !hf_sandbox_get_doc(call->command, "privileges", &privileges))) {
        return REFUSE(call, BAD_VALUE, "a name and a pwd or privileges are needed");
    }
    (void)snprintf(id, sizeof id, "%s.%s", call->db, name);
    old = find_doc(call, entry.ns, id);
    if (old != NULL) {
        return REFUSE(call, DUPLICATE_KEY, "%s already exists", id);
    }
    bson_append_utf8(doc, "_id", -1, id, -1);
    if (is_user) {
        hf_sandbox_uuid_make(user_id);
        BCON_APPEND(doc, "userId", BCON_BIN(BSON_SUBTYPE_UUID, user_id, sizeof user_id), "user",
                    BCON_UTF8(name), "db", BCON_UTF8(call->db));
        hf_sandbox_scram_append_credentials(doc, name, password);
    } else {
        BCON_APPEND(doc, "role", BCON_UTF8(name), "db", BCON_UTF8(call->db), "privileges",
                    BCON_ARRAY(&privileges));
    }
    append_roles(call, doc);
    code = hf_sandbox_work_need_coll(work, entry.ns, &coll);
    if (code != 0) {
        return code;
    }
    entry.uuid = coll->uuid;
    return hf_sandbox_work_perform(work, &entry);
}
