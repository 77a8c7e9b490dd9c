/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who calls: API keys by HTTP digest, agent keys as bearer tokens. Keys live in the catalog; of an agent key only its
 * SHA-256 is kept, of an API key the digest's HA1 (the scheme needs it: docs/design/threat-model.md).
 */
#ifndef HF_SERVER_AUTH_H
#define HF_SERVER_AUTH_H

#include "base/error.h"
#include "catalog/catalog.h"
#include "format/ids.h"
#include "net/digest.h"
#include "net/http_server.h"
#include "server/roles.h"

struct hf_server_auth;

HF_MUST_CHECK enum hf_err hf_server_auth_create(struct hf_catalog *catalog,
                                                struct hf_server_auth **out, struct hf_error *err);
void hf_server_auth_destroy(struct hf_server_auth *auth);
HF_CLEANUP_DEFINE(hf_server_auth_destroy, struct hf_server_auth *)

/* Makes an API key: public part 8 lower-case letters, private part UUID text (rest-api.md 1.4). */
struct hf_server_api_key {
    char public_key[16];
    char private_key[40];
};
struct hf_server_key_wish {
    struct hf_id id;      /* by which the API knows it */
    struct hf_id project; /* that calls are about which name none; may be none */
    const char *desc;
    const struct hf_grants *grants;
};
HF_MUST_CHECK enum hf_err hf_server_auth_make_api_key(struct hf_server_auth *auth,
                                                      const struct hf_server_key_wish *wish,
                                                      struct hf_server_api_key *out,
                                                      struct hf_error *err);
/* Makes an agent key: "hfa_" and 64 hexadecimal digits. */
#define HF_AGENT_KEY_BYTES 80
HF_MUST_CHECK enum hf_err hf_server_auth_make_agent_key(struct hf_server_auth *auth,
                                                        const struct hf_server_key_wish *wish,
                                                        char out[HF_AGENT_KEY_BYTES],
                                                        struct hf_error *err);

/* What a caller proved. */
struct hf_server_caller {
    struct hf_id project; /* of the key; none: it is for several */
    char user[HF_DIGEST_USER_MAX_BYTES];
    struct hf_grants grants; /* of an API key */
};
/* False: not known; challenge gets the WWW-Authenticate value to answer 401 with. */
bool hf_server_auth_api(struct hf_server_auth *auth, const struct hf_http_request *request,
                        struct hf_server_caller *out, char challenge[HF_DIGEST_CHALLENGE_BYTES]);
/* UNAUTHENTICATED when the token is missing or unknown. */
HF_MUST_CHECK enum hf_err hf_server_auth_agent(struct hf_server_auth *auth,
                                               const struct hf_http_request *request,
                                               struct hf_server_caller *out, struct hf_error *err);

#endif
