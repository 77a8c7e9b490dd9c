/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client from the inside, for the other files of this room only: commands as BSON.
 */
#ifndef HF_MONGO_CLIENT_INTERNAL_H
#define HF_MONGO_CLIENT_INTERNAL_H

#include <mongoc/mongoc.h>

#include "mongo/client.h"

struct hf_mongo_client {
    mongoc_client_t *driver; /* owned */
    char host[HF_MONGO_HOST_BYTES];
};

/* A session by its id. Goes with its client: ended before that is closed. */
struct hf_mongo_session {
    mongoc_client_session_t
        *driver; /* owned; NULL: the driver gives none for this member, the id is ours */
    uint8_t id[16];
};
HF_MUST_CHECK enum hf_err hf_mongo_session_start(struct hf_mongo_client *client,
                                                 struct hf_mongo_session *out,
                                                 struct hf_error *err);
void hf_mongo_session_fini(struct hf_mongo_session *session);
HF_CLEANUP_DEFINE_VALUE(hf_mongo_session_fini, struct hf_mongo_session)
/* Into the driver's options, or into the command itself. */
bool hf_mongo_session_append(const struct hf_mongo_session *session, bson_t *command, bson_t *opts,
                             bson_error_t *error);

/*
 * Runs one command, once. session may be NULL. reply is always initialised and must be destroyed by the caller; it
 * has the server's answer also when that is a refusal.
 */
HF_MUST_CHECK enum hf_err hf_mongo_command(struct hf_mongo_client *client, const char *database,
                                           const bson_t *command,
                                           const struct hf_mongo_session *session, bson_t *reply,
                                           struct hf_error *err);

/* Gets each document of a cursor; anything but OK ends the walk and is its result. */
typedef enum hf_err (*hf_mongo_visit_bson)(void *argument, const bson_t *document,
                                           struct hf_error *err);
/* Runs a command that answers with a cursor, walks its batches, kills it when the walk ends early. */
HF_MUST_CHECK enum hf_err hf_mongo_walk(struct hf_mongo_client *client, const char *database,
                                        const bson_t *command, hf_mongo_visit_bson visit,
                                        void *argument, struct hf_error *err);

/* An error that the driver made itself (no reply): network, selection, authentication. */
enum hf_err hf_mongo_fail_driver(struct hf_error *err, const char *host, const char *what,
                                 const bson_error_t *error);

/* hello, or isMaster where the server does not know hello. */
HF_MUST_CHECK enum hf_err hf_mongo_hello(struct hf_mongo_client *client, bson_t *reply,
                                         struct hf_error *err);

/* Extended JSON to BSON; INVALID says where it is wrong. *out is always
 * initialised; the caller destroys it. */
HF_MUST_CHECK enum hf_err hf_mongo_json_to_bson(const char *json, bson_t *out,
                                                struct hf_error *err);

/* The URI for one member: base's credentials and options, host in place of its hosts; free with hf_free. */
HF_MUST_CHECK enum hf_err hf_mongo_member_uri(const char *base, const char *host, char **out,
                                              struct hf_error *err);

#endif
