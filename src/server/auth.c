/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys in the catalog, looked up at every call: a key that is removed is refused at the next one.
 */
#include "server/auth.h"

#include <stdio.h>

#include "backup/records.h"
#include "base/alloc.h"
#include "codec/hash.h"
#include "os/clock.h"

struct hf_server_auth {
    struct hf_catalog *catalog; /* borrowed */
    struct hf_digest *digest;
};

enum hf_err hf_server_auth_create(struct hf_catalog *catalog, struct hf_server_auth **out,
                                  struct hf_error *err)
{
    const struct hf_digest_options options = {.realm = NULL};
    struct hf_server_auth *auth = hf_alloc_zero(sizeof *auth);

    if (auth == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    auth->catalog = catalog;
    if (hf_digest_create(&options, &auth->digest, err) != HF_ERR_OK) {
        hf_free(auth);
        return err->code;
    }
    *out = auth;
    return HF_ERR_OK;
}

void hf_server_auth_destroy(struct hf_server_auth *auth)
{
    if (auth != NULL) {
        hf_digest_destroy(auth->digest);
        hf_free(auth);
    }
}

enum hf_err hf_server_auth_make_api_key(struct hf_server_auth *auth,
                                        const struct hf_server_key_wish *wish,
                                        struct hf_server_api_key *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    uint8_t random[24];
    char hex[33], ha1[65];

    hf_random_bytes(random, sizeof random);
    for (size_t i = 0; i < 8; i++) {
        out->public_key[i] = (char)('a' + random[16 + i] % 26);
    }
    out->public_key[8] = '\0';
    hf_hex_encode(hf_bytes_of(random, 16), hex);
    (void)snprintf(out->private_key, sizeof out->private_key, "%.8s-%.4s-%.4s-%.4s-%.12s", hex,
                   hex + 8, hex + 12, hex + 16, hex + 20);
    struct hf_str user = hf_str_of(out->public_key);
    struct hf_bytes password = hf_bytes_of(out->private_key, strlen(out->private_key));
    hf_json_set_text(json, "id", hf_id_text(&wish->id).text);
    hf_json_set_text(json, "desc", wish->desc);
    hf_json_set_text(json, "publicKey", out->public_key);
    hf_json_set_text(json, "tail", out->private_key + strlen(out->private_key) - 4);
    if (!hf_id_is_none(&wish->project)) {
        hf_json_set_text(json, "projectId", hf_id_text(&wish->project).text);
    }
    hf_json_set_take(json, "roles", hf_grants_encode(wish->grants));
    hf_digest_ha1(auth->digest, HF_DIGEST_MD5, user, password, ha1);
    hf_json_set_text(json, "ha1Md5", ha1);
    hf_digest_ha1(auth->digest, HF_DIGEST_SHA256, user, password, ha1);
    hf_json_set_text(json, "ha1Sha256", ha1);
    hf_json_set_u64(json, "createdS", hf_clock_wall_ms() / 1000);
    return hf_catalog_insert(auth->catalog, HF_KIND_API_KEY, out->public_key, json,
                             HF_CATALOG_SYNCED, err);
}

enum hf_err hf_server_auth_make_agent_key(struct hf_server_auth *auth,
                                          const struct hf_server_key_wish *wish,
                                          char out[HF_AGENT_KEY_BYTES], struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    uint8_t random[32];
    char hex[65], id[65];

    hf_random_bytes(random, sizeof random);
    hf_hex_encode(hf_bytes_of(random, sizeof random), hex);
    (void)snprintf(out, HF_AGENT_KEY_BYTES, "hfa_%s", hex);
    /* 256 random bits need no slow hash: nobody can try them all. */
    hf_sha256_hex(hf_bytes_of(out, strlen(out)), id);
    hf_json_set_text(json, "projectId", hf_id_text(&wish->project).text);
    hf_json_set_text(json, "id", hf_id_text(&wish->id).text);
    hf_json_set_text(json, "desc", wish->desc);
    hf_json_set_text(json, "tail", out + strlen(out) - 4);
    hf_json_set_u64(json, "createdS", hf_clock_wall_ms() / 1000);
    return hf_catalog_insert(auth->catalog, HF_KIND_AGENT_KEY, id, json, HF_CATALOG_SYNCED, err);
}

static bool is_key_name(struct hf_str user)
{
    for (size_t i = 0; i < user.len; i++) {
        if (user.data[i] < 'a' || user.data[i] > 'z') {
            return false;
        }
    }
    return user.len > 0 && user.len < 16;
}

static bool find_user(void *context, struct hf_str user, enum hf_digest_algorithm algorithm,
                      struct hf_digest_credential *out)
{
    struct hf_server_auth *auth = context;
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error ignored;
    char id[16];

    if (!is_key_name(user)) {
        return false;
    }
    (void)snprintf(id, sizeof id, "%.*s", HF_STR_ARG(user));
    if (hf_catalog_get(auth->catalog, HF_KIND_API_KEY, id, &document, &ignored) != HF_ERR_OK) {
        return false;
    }
    const char *ha1 =
        hf_json_get_text(document.json, algorithm == HF_DIGEST_MD5 ? "ha1Md5" : "ha1Sha256");
    out->is_ha1 = true;
    return ha1 != NULL && hf_secret_set(&out->value, hf_bytes_of(ha1, strlen(ha1)));
}

static bool project_of(struct hf_server_auth *auth, const char *kind, const char *id,
                       struct hf_id *out)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error ignored;

    if (hf_catalog_get(auth->catalog, kind, id, &document, &ignored) != HF_ERR_OK) {
        return false;
    }
    const char *project = hf_json_get_text(document.json, "projectId");
    return project != NULL && hf_id_parse(hf_str_of(project), out);
}

/* A key from before there were roles is the one that the first start made for the installation's owner. */
static bool read_key(struct hf_server_auth *auth, const char *id, struct hf_server_caller *out)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error ignored;

    out->project = (struct hf_id){{0}};
    if (hf_catalog_get(auth->catalog, HF_KIND_API_KEY, id, &document, &ignored) != HF_ERR_OK) {
        return false;
    }
    const char *project = hf_json_get_text(document.json, "projectId");
    const struct hf_json *roles = hf_json_get(document.json, "roles");
    if (project != NULL && !hf_id_parse(hf_str_of(project), &out->project)) {
        return false;
    }
    hf_grants_decode(hf_json_get_array(document.json, "roles"), &out->grants);
    if (roles == NULL) {
        out->grants.items[out->grants.count++].role = hf_role_of("GLOBAL_OWNER");
    }
    return true;
}

bool hf_server_auth_api(struct hf_server_auth *auth, const struct hf_http_request *request,
                        struct hf_server_caller *out, char challenge[HF_DIGEST_CHALLENGE_BYTES])
{
    const struct hf_digest_users users = {.find = find_user, .context = auth};
    const struct hf_digest_request asked = {
        .method = hf_http_request_method(request),
        .target = hf_http_request_target(request),
        .authorization = hf_http_request_header(request, "Authorization"),
        .now_ms = hf_clock_mono_ms(),
    };
    const char *why = NULL;

    enum hf_digest_outcome outcome = hf_digest_check(auth->digest, &asked, &users, out->user, &why);
    if (outcome == HF_DIGEST_ACCEPTED && read_key(auth, out->user, out)) {
        return true;
    }
    hf_digest_challenge(auth->digest, asked.now_ms, outcome == HF_DIGEST_STALE, challenge);
    return false;
}

enum hf_err hf_server_auth_agent(struct hf_server_auth *auth, const struct hf_http_request *request,
                                 struct hf_server_caller *out, struct hf_error *err)
{
    static const char scheme[] = "Bearer ";
    const char *header = hf_http_request_header(request, "Authorization");
    char id[65];

    out->user[0] = '\0';
    if (header != NULL && strncmp(header, scheme, sizeof scheme - 1) == 0) {
        const char *token = header + sizeof scheme - 1;
        hf_sha256_hex(hf_bytes_of(token, strlen(token)), id);
        if (project_of(auth, HF_KIND_AGENT_KEY, id, &out->project)) {
            return HF_ERR_OK;
        }
    }
    return hf_fail(
        err, HF_ERR_UNAUTHENTICATED,
        "the agent key is not known here; hint: use the key file that this server wrote");
}
