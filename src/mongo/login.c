/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is logged in, and its documents, with the rights of that user alone. Roles that come with the server have no
 * document; those that have one may be made of others.
 */
#include "mongo/login.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/secret.h"
#include "mongo/client_internal.h"
#include "mongo/reply_internal.h"

#define ROLES_MAX 64

void hf_mongo_login_fini(struct hf_mongo_login *login)
{
    if (login->documents != NULL) {
        hf_wipe(login->documents, login->len);
    }
    hf_free(login->documents);
    *login = (struct hf_mongo_login){.name = ""};
}

enum hf_err hf_mongo_login_set(struct hf_mongo_login *login, const char *name,
                               struct hf_bytes documents, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_login_fini) struct hf_mongo_login fresh = {.name = ""};

    for (size_t at = 0; at < documents.len;) {
        bson_t one;
        size_t left = documents.len - at;
        uint32_t len = left < 5 ? 0 : hf_load_le32(documents.data + at);
        if (len < 5 || len > left || !bson_init_static(&one, documents.data + at, len) ||
            !bson_validate(&one, BSON_VALIDATE_NONE, NULL)) {
            return hf_fail(err, HF_ERR_CORRUPT, "what was kept of user %.200s is no document",
                           name);
        }
        at += len;
    }
    if (hf_mongo_copy_text(fresh.name, sizeof fresh.name, name, "user", err) != HF_ERR_OK) {
        return err->code;
    }
    if (documents.len > 0) {
        fresh.documents = hf_alloc(documents.len);
        if (fresh.documents == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "user %.200s", name);
        }
        memcpy(fresh.documents, documents.data, documents.len);
        fresh.len = documents.len;
    }
    hf_mongo_login_fini(login);
    *login = fresh;
    fresh = (struct hf_mongo_login){.name = ""};
    return HF_ERR_OK;
}

/* ---- Reading ---- */

struct reading {
    struct hf_mongo_client *client;
    struct hf_buf documents;
    char *roles[ROLES_MAX]; /* owned: "db.role", each once */
    size_t role_count;
};

static void reading_fini(struct reading *reading)
{
    if (reading->documents.data != NULL) {
        hf_wipe(reading->documents.data, reading->documents.len);
    }
    hf_buf_fini(&reading->documents);
    for (size_t i = 0; i < reading->role_count; i++) {
        hf_free(reading->roles[i]);
    }
}
HF_CLEANUP_DEFINE_VALUE(reading_fini, struct reading)

static enum hf_err add_role(struct reading *reading, const bson_t *role, struct hf_error *err)
{
    const char *name = hf_mongo_get_text(role, "role"), *db = hf_mongo_get_text(role, "db");
    HF_CLEANUP(hf_free)
    char *id = hf_asprintf("%s.%s", db == NULL ? "" : db, name == NULL ? "" : name);

    if (id == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "role");
    }
    for (size_t i = 0; i < reading->role_count; i++) {
        if (strcmp(reading->roles[i], id) == 0) {
            return HF_ERR_OK;
        }
    }
    if (reading->role_count == ROLES_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "it has more than %d roles", ROLES_MAX);
    }
    reading->roles[reading->role_count++] = HF_TAKE(id);
    return HF_ERR_OK;
}

static enum hf_err take_document(void *argument, const bson_t *document, struct hf_error *err)
{
    struct reading *reading = argument;
    bson_t roles, role;
    bson_iter_t iter;

    if (hf_buf_append(&reading->documents, hf_bytes_of(bson_get_data(document), document->len),
                      err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_mongo_get_doc(document, "roles", &roles) || !bson_iter_init(&iter, &roles)) {
        return HF_ERR_OK;
    }
    while (bson_iter_next(&iter)) {
        if (hf_mongo_iter_doc(&iter, &role) && add_role(reading, &role, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err read_document(struct reading *reading, const char *collection, const char *id,
                                 struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    bson_t filter;

    (void)BSON_APPEND_UTF8(&command, "find", collection);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
    (void)BSON_APPEND_UTF8(&filter, "_id", id);
    (void)bson_append_document_end(&command, &filter);
    return hf_mongo_walk(reading->client, "admin", &command, take_document, reading, err) ==
                   HF_ERR_OK
               ? HF_ERR_OK
               : hf_wrap(err, "%s of %.200s in admin.%s", "the document", id, collection);
}

/* "db.user" of the first one that the connection is logged in as; empty: nobody. */
static enum hf_err read_name(struct hf_mongo_client *client, char out[HF_MONGO_LOGIN_NAME_BYTES],
                             struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    out[0] = '\0';
    (void)BSON_APPEND_INT32(&command, "connectionStatus", 1);
    bson_destroy(&reply);
    if (hf_mongo_command(client, "admin", &command, NULL, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *user = hf_mongo_get_text(&reply, "authInfo.authenticatedUsers.0.user");
    const char *db = hf_mongo_get_text(&reply, "authInfo.authenticatedUsers.0.db");
    if (user != NULL && db != NULL &&
        snprintf(out, HF_MONGO_LOGIN_NAME_BYTES, "%s.%s", db, user) >= HF_MONGO_LOGIN_NAME_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "the name of its user is too long");
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_login_read(struct hf_mongo_client *client, struct hf_mongo_login *out,
                                struct hf_error *err)
{
    HF_CLEANUP(reading_fini)
    struct reading reading = {.client = client, .documents = HF_BUF_INIT(HF_MONGO_LOGIN_BYTES)};
    char name[HF_MONGO_LOGIN_NAME_BYTES];

    if (read_name(client, name, err) != HF_ERR_OK) {
        return err->code;
    }
    if (name[0] != '\0' && read_document(&reading, "system.users", name, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < reading.role_count; i++) { /* it grows */
        if (read_document(&reading, "system.roles", reading.roles[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_mongo_login_set(out, name, hf_buf_bytes(&reading.documents), err);
}
