/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A temporary server on a restored directory from the inside, for recover*.c only.
 */
#ifndef HF_MONGO_RECOVER_INTERNAL_H
#define HF_MONGO_RECOVER_INTERNAL_H

#include "mongo/client_internal.h"
#include "mongo/mongod.h"
#include "mongo/recover.h"
#include "mongo/reply_internal.h"

struct hf_recover {
    struct hf_mongod *mongod;       /* owned */
    struct hf_mongo_client *client; /* owned */
    const struct hf_cancel *cancel; /* borrowed: outlives us */
    bool writable;
};

/*
 * Runs one command; a reply that refuses is an error. When the server has died meanwhile, the error tells how it ended.
 * reply is always initialised and must be destroyed by the caller.
 */
HF_MUST_CHECK enum hf_err hf_recover_command(struct hf_recover *recover, const char *database,
                                             const bson_t *command, bson_t *reply,
                                             struct hf_error *err);
/* The same for a command as extended JSON whose reply nobody needs. */
HF_MUST_CHECK enum hf_err hf_recover_run(struct hf_recover *recover, const char *database,
                                         const char *command, struct hf_error *err);

/* The user's document and its roles' into `admin`; seed is the same on all members (recover_login.c). */
HF_MUST_CHECK enum hf_err hf_recover_keep_login(struct hf_recover *recover,
                                                const struct hf_mongo_login *login,
                                                struct hf_bytes seed, struct hf_error *err);

#endif
