/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user of the target among those of the restored data. All members of a set must come to the same: documents byte by
 * byte, and where the data have no collection for them, one with the same UUID.
 */
#include <string.h>

#include "codec/hash.h"
#include "mongo/recover_internal.h"

#define USERS "system.users"
#define ROLES "system.roles"

static enum hf_err is_there(struct hf_recover *recover, const char *collection, bool *out,
                            struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t filter, found;

    (void)BSON_APPEND_INT32(&command, "listCollections", 1);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
    (void)BSON_APPEND_UTF8(&filter, "name", collection);
    (void)bson_append_document_end(&command, &filter);
    bson_destroy(&reply);
    if (hf_recover_command(recover, "admin", &command, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = hf_mongo_get_doc(&reply, "cursor.firstBatch.0", &found);
    return HF_ERR_OK;
}

/* A version 4 UUID out of the seed. */
static void make_uuid(struct hf_bytes seed, const char *collection, uint8_t out[16])
{
    struct hf_hash hash;
    uint8_t text[64] = {0};
    size_t len = strlen(collection);

    HF_ASSERT(seed.len + len <= sizeof text);
    memcpy(text, seed.data, seed.len);
    memcpy(text + seed.len, collection, len);
    hf_sha256(hf_bytes_of(text, seed.len + len), &hash);
    memcpy(out, hash.bytes, 16);
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

/* `create` takes no UUID; an operation of the oplog does. The server adds the collection's own index itself. */
static enum hf_err make_collection(struct hf_recover *recover, const char *collection,
                                   struct hf_bytes seed, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t list, operation, create, index, key;
    uint8_t uuid[16];

    make_uuid(seed, collection, uuid);
    (void)BSON_APPEND_ARRAY_BEGIN(&command, "applyOps", &list);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &operation);
    (void)BSON_APPEND_UTF8(&operation, "op", "c");
    (void)BSON_APPEND_UTF8(&operation, "ns", "admin.$cmd");
    (void)BSON_APPEND_BINARY(&operation, "ui", BSON_SUBTYPE_UUID, uuid, sizeof uuid);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&operation, "o", &create);
    (void)BSON_APPEND_UTF8(&create, "create", collection);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&create, "idIndex", &index);
    (void)BSON_APPEND_INT32(&index, "v", 2);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&index, "key", &key);
    (void)BSON_APPEND_INT32(&key, "_id", 1);
    (void)bson_append_document_end(&index, &key);
    (void)BSON_APPEND_UTF8(&index, "name", "_id_");
    (void)bson_append_document_end(&create, &index);
    (void)bson_append_document_end(&operation, &create);
    (void)bson_append_document_end(&list, &operation);
    (void)bson_append_array_end(&command, &list);
    bson_destroy(&reply);
    return hf_recover_command(recover, "admin", &command, &reply, err);
}

/* In place of one with its _id; only_new: not then. */
static enum hf_err put_document(struct hf_recover *recover, const bson_t *document, bool only_new,
                                struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    const char *id = hf_mongo_get_text(document, "_id");
    bson_t list, one, query;

    if (id == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "a user or role without a name");
    }
    if (only_new) {
        (void)BSON_APPEND_UTF8(&command, "insert", ROLES);
        (void)BSON_APPEND_ARRAY_BEGIN(&command, "documents", &list);
        (void)BSON_APPEND_DOCUMENT(&list, "0", document);
    } else {
        (void)BSON_APPEND_UTF8(&command, "update", USERS);
        (void)BSON_APPEND_ARRAY_BEGIN(&command, "updates", &list);
        (void)BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &one);
        (void)BSON_APPEND_DOCUMENT_BEGIN(&one, "q", &query);
        (void)BSON_APPEND_UTF8(&query, "_id", id);
        (void)bson_append_document_end(&one, &query);
        (void)BSON_APPEND_DOCUMENT(&one, "u", document);
        (void)BSON_APPEND_BOOL(&one, "upsert", true);
        (void)bson_append_document_end(&list, &one);
    }
    (void)bson_append_array_end(&command, &list);
    bson_destroy(&reply);
    enum hf_err code = hf_recover_command(recover, "admin", &command, &reply, err);
    return code == HF_ERR_EXISTS && only_new ? HF_ERR_OK : code;
}

enum hf_err hf_recover_keep_login(struct hf_recover *recover, const struct hf_mongo_login *login,
                                  struct hf_bytes seed, struct hf_error *err)
{
    bool there = false;

    for (size_t at = 0; at < login->len;) {
        const char *collection = at == 0 ? USERS : ROLES;
        uint32_t len = hf_load_le32(login->documents + at);
        bson_t document;
        if (!bson_init_static(&document, login->documents + at, len)) {
            return hf_fail(err, HF_ERR_CORRUPT, "user %.200s", login->name);
        }
        if (is_there(recover, collection, &there, err) != HF_ERR_OK ||
            (!there && make_collection(recover, collection, seed, err) != HF_ERR_OK) ||
            put_document(recover, &document, at > 0, err) != HF_ERR_OK) {
            return hf_wrap(err, "keep user %.200s", login->name);
        }
        at += len;
    }
    return HF_ERR_OK;
}
