/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client is logged in with, as the server keeps it: the user's document and those of the roles that were made for
 * it. So that it can be kept when all other data, `admin` too, become another server's. Must not know why.
 */
#ifndef HF_MONGO_LOGIN_H
#define HF_MONGO_LOGIN_H

#include "mongo/client.h"

#define HF_MONGO_LOGIN_NAME_BYTES 512
#define HF_MONGO_LOGIN_BYTES ((size_t)256 << 10)

/* The documents hold what a password is proved with: never logged, noted in files of mode 0600 only, wiped. */
struct hf_mongo_login {
    char name[HF_MONGO_LOGIN_NAME_BYTES]; /* "admin.holdfast"; empty: nobody is logged in */
    uint8_t *documents; /* owned; BSON one after the other: the user's, then the roles' */
    size_t len;         /* of documents; 0: the server has none of that user (it asks elsewhere) */
};
void hf_mongo_login_fini(struct hf_mongo_login *login);
HF_CLEANUP_DEFINE_VALUE(hf_mongo_login_fini, struct hf_mongo_login)

/* DENIED: the user may not read admin.system.users (the role `backup` may). */
HF_MUST_CHECK enum hf_err hf_mongo_login_read(struct hf_mongo_client *client,
                                              struct hf_mongo_login *out, struct hf_error *err);
/* Copied. CORRUPT for what is no row of documents. */
HF_MUST_CHECK enum hf_err hf_mongo_login_set(struct hf_mongo_login *login, const char *name,
                                             struct hf_bytes documents, struct hf_error *err);

#endif
