/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: the driver's own where it gives one, else one of ours. The driver takes a hidden member for one that
 * holds no data and gives it no session; yet hidden members are what backups are best taken from, and the server
 * itself takes any UUID for a session. Must not know what a session is used for.
 */
#include <string.h>

#include "mongo/client_internal.h"
#include "mongo/reply_internal.h"
#include "os/clock.h"

HF_CLEANUP_DEFINE(mongoc_session_opts_destroy, mongoc_session_opt_t *)

/* RFC 4122, version 4. */
static void make_uuid(uint8_t out[16])
{
    hf_random_bytes(out, 16);
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

static enum hf_err start_own(struct hf_mongo_client *client, struct hf_mongo_session *out,
                             struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t hello = BSON_INITIALIZER;

    bson_destroy(&hello);
    if (hf_mongo_hello(client, &hello, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_get_int(&hello, "logicalSessionTimeoutMinutes", 0) <= 0) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s: start session: the server has no sessions; hint: a member that is not "
                       "initiated, or a release before 3.6",
                       client->host);
    }
    make_uuid(out->id);
    return HF_ERR_OK;
}

enum hf_err hf_mongo_session_start(struct hf_mongo_client *client, struct hf_mongo_session *out,
                                   struct hf_error *err)
{
    HF_CLEANUP(mongoc_session_opts_destroy)
    mongoc_session_opt_t *opts = mongoc_session_opts_new();
    bson_error_t error = {0};

    memset(out, 0, sizeof *out);
    /* No read waits for a write here; without this the driver adds clauses that no status command knows. */
    mongoc_session_opts_set_causal_consistency(opts, false);
    out->driver = mongoc_client_start_session(client->driver, opts, &error);
    if (out->driver != NULL) {
        if (hf_mongo_get_uuid(mongoc_client_session_get_lsid(out->driver), "id", out->id)) {
            return HF_ERR_OK;
        }
        hf_mongo_session_fini(out);
        return hf_fail(err, HF_ERR_INTERNAL, "%s: a session without id", client->host);
    }
    if (error.domain == MONGOC_ERROR_CLIENT && error.code == MONGOC_ERROR_CLIENT_SESSION_FAILURE) {
        return start_own(client, out, err);
    }
    return hf_mongo_fail_driver(err, client->host, "start session", &error);
}

void hf_mongo_session_fini(struct hf_mongo_session *session)
{
    if (session->driver != NULL) {
        mongoc_client_session_destroy(session->driver);
        session->driver = NULL;
    }
}

bool hf_mongo_session_append(const struct hf_mongo_session *session, bson_t *command, bson_t *opts,
                             bson_error_t *error)
{
    bson_t lsid;

    if (session->driver != NULL) {
        return mongoc_client_session_append(session->driver, opts, error);
    }
    (void)BSON_APPEND_DOCUMENT_BEGIN(command, "lsid", &lsid);
    (void)BSON_APPEND_BINARY(&lsid, "id", BSON_SUBTYPE_UUID, session->id, sizeof session->id);
    return bson_append_document_end(command, &lsid);
}
