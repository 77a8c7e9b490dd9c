/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side of HTTP digest authentication (rest-api 1.3). Two things keep state: the secret
 * that makes nonces their own proof, and the table of nonces in use. Users are the caller's.
 */
#include "net/digest.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "codec/hash.h"
#include "net/digest_internal.h"
#include "net/http.h"
#include "os/clock.h"

#define DEFAULT_REALM "MMS Public API"
#define DEFAULT_LIFETIME_MS ((uint32_t)300 * 1000)
#define DEFAULT_SLOTS 4096
#define SLOTS_MAX ((size_t)1 << 22)
#define WAYS 4
#define WINDOW 64 /* how far behind the highest nc one may come, on parallel connections */
#define SECRET_BYTES 32

/* A nonce: when, which, and the proof that it is ours. */
#define NONCE_TIME_BYTES 8
#define NONCE_KEY_BYTES 16 /* time and random number */
#define NONCE_PROOF_BYTES 16
#define NONCE_BYTES (NONCE_KEY_BYTES + NONCE_PROOF_BYTES)

struct slot {
    uint8_t key[NONCE_KEY_BYTES];
    uint64_t issued_ms; /* 0: free */
    uint64_t highest;   /* nc */
    uint64_t seen;      /* bit n: highest - n was used */
};

/* Nonces whose numbers lead here. One that was pushed out takes all older ones, seen or not, with
 * it: a nonce that may have been used is never taken for a new one. */
struct slot_set {
    struct slot slots[WAYS];
    uint64_t forgotten_ms;
};

struct hf_digest {
    char realm[HF_DIGEST_REALM_MAX_BYTES];
    uint32_t lifetime_ms;
    size_t set_count;
    struct hf_mutex mutex; /* guards: hmac, sets */
    struct hf_hmac *hmac;  /* owned */
    struct slot_set *sets; /* owned */
};

static bool realm_is_usable(const char *realm)
{
    size_t len = strlen(realm);

    return len > 0 && len < HF_DIGEST_REALM_MAX_BYTES && strpbrk(realm, ",\"\\:\r\n") == NULL;
}

enum hf_err hf_digest_create(const struct hf_digest_options *options, struct hf_digest **out,
                             struct hf_error *err)
{
    const char *realm = options->realm == NULL ? DEFAULT_REALM : options->realm;
    size_t slots = options->replay_slots == 0 ? DEFAULT_SLOTS : options->replay_slots;
    uint8_t random[SECRET_BYTES];

    if (!realm_is_usable(realm)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "digest realm: empty, too long, or with a comma, colon, quote or backslash");
    }
    if (slots > SLOTS_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "digest: %zu replay slots, the limit is %zu", slots,
                       SLOTS_MAX);
    }
    HF_CLEANUP(hf_digest_destroy) struct hf_digest *digest = hf_alloc_zero(sizeof *digest);
    if (digest == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "digest: no memory");
    }
    hf_mutex_init(&digest->mutex);
    memcpy(digest->realm, realm, strlen(realm) + 1);
    digest->lifetime_ms =
        options->nonce_lifetime_ms == 0 ? DEFAULT_LIFETIME_MS : options->nonce_lifetime_ms;
    digest->set_count = (slots + WAYS - 1) / WAYS;
    digest->sets = hf_alloc_zero(digest->set_count * sizeof *digest->sets);
    if (digest->sets == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "digest: no memory for %zu replay slots", slots);
    }
    hf_random_bytes(random, sizeof random);
    struct hf_bytes secret =
        options->secret.len > 0 ? options->secret : hf_bytes_of(random, sizeof random);
    enum hf_err code = hf_hmac_create(secret, &digest->hmac, err);
    hf_wipe(random, sizeof random);
    if (code != HF_ERR_OK) {
        return hf_wrap(err, "digest");
    }
    *out = HF_TAKE(digest);
    return HF_ERR_OK;
}

void hf_digest_destroy(struct hf_digest *digest)
{
    if (digest == NULL) {
        return;
    }
    hf_hmac_destroy(digest->hmac);
    hf_free(digest->sets);
    hf_mutex_fini(&digest->mutex);
    hf_free(digest);
}

static void prove(struct hf_digest *digest, const uint8_t key[NONCE_KEY_BYTES],
                  uint8_t proof[NONCE_PROOF_BYTES])
{
    struct hf_hash hash;

    hf_mutex_lock(&digest->mutex);
    hf_hmac_begin(digest->hmac);
    hf_hmac_update(digest->hmac, hf_bytes_of(key, NONCE_KEY_BYTES));
    hf_hmac_update(digest->hmac, hf_bytes_of(digest->realm, strlen(digest->realm)));
    hf_hmac_end(digest->hmac, &hash);
    hf_mutex_unlock(&digest->mutex);
    memcpy(proof, hash.bytes, NONCE_PROOF_BYTES);
}

void hf_digest_challenge(struct hf_digest *digest, uint64_t now_ms, bool stale,
                         char out[HF_DIGEST_CHALLENGE_BYTES])
{
    uint8_t nonce[NONCE_BYTES];
    char text[2 * NONCE_BYTES + 1];

    hf_store_le64(nonce, now_ms);
    hf_random_bytes(nonce + NONCE_TIME_BYTES, NONCE_KEY_BYTES - NONCE_TIME_BYTES);
    prove(digest, nonce, nonce + NONCE_KEY_BYTES);
    hf_hex_encode(hf_bytes_of(nonce, sizeof nonce), text);
    /* The clients parse this by text search: order, spaces, case and quotes are as they need them.
     */
    int len =
        snprintf(out, HF_DIGEST_CHALLENGE_BYTES,
                 "Digest realm=\"%s\", domain=\"\", nonce=\"%s\", algorithm=MD5, qop=\"auth\", "
                 "stale=%s",
                 digest->realm, text, stale ? "true" : "false");
    HF_ASSERT(len > 0 && len < HF_DIGEST_CHALLENGE_BYTES);
}

static void hash_text(enum hf_digest_algorithm algorithm, struct hf_bytes text, char out[65])
{
    if (algorithm == HF_DIGEST_MD5) {
        hf_md5_hex(text, out);
    } else {
        hf_sha256_hex(text, out);
    }
}

void hf_digest_ha1(const struct hf_digest *digest, enum hf_digest_algorithm algorithm,
                   struct hf_str user, struct hf_bytes password, char out[65])
{
    uint8_t text[HF_DIGEST_USER_MAX_BYTES + HF_DIGEST_REALM_MAX_BYTES + HF_SECRET_MAX_BYTES + 2];
    size_t realm_len = strlen(digest->realm), len = 0;

    HF_ASSERT(user.len <= HF_DIGEST_USER_MAX_BYTES && password.len <= HF_SECRET_MAX_BYTES);
    memcpy(text, user.data, user.len);
    len += user.len;
    text[len++] = ':';
    memcpy(text + len, digest->realm, realm_len);
    len += realm_len;
    text[len++] = ':';
    memcpy(text + len, password.data, password.len);
    len += password.len;
    hash_text(algorithm, hf_bytes_of(text, len), out);
    hf_wipe(text, sizeof text);
}

/* What is known of the request once the header has been read. */
struct claim {
    enum hf_digest_algorithm algorithm;
    uint64_t nc; /* 1 without qop: such a nonce serves once */
    bool has_qop;
};

static bool is_hex(const char *text)
{
    return text[strspn(text, "0123456789abcdefABCDEF")] == '\0';
}

static bool read_nc(const char *text, uint64_t *out)
{
    size_t len = strlen(text);
    uint8_t bytes[8];
    char padded[17];

    if (len == 0 || len > 16) {
        return false;
    }
    memset(padded, '0', 16 - len);
    memcpy(padded + 16 - len, text, len + 1);
    if (!hf_hex_decode(hf_str_of(padded), bytes, sizeof bytes)) {
        return false;
    }
    *out = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        *out = *out << 8 | bytes[i];
    }
    return *out != 0;
}

/* NULL when the fields make sense, else why not. */
static const char *read_claim(const struct hf_digest *digest,
                              const struct hf_digest_request *request,
                              const struct hf_digest_fields *fields, struct claim *claim)
{
    *claim = (struct claim){.nc = 1, .has_qop = fields->qop != NULL};
    if (fields->username == NULL || fields->realm == NULL || fields->nonce == NULL ||
        fields->uri == NULL || fields->response == NULL) {
        return "a field is missing";
    }
    if (strlen(fields->username) >= HF_DIGEST_USER_MAX_BYTES) {
        return "the user name is too long";
    }
    if (strcmp(fields->realm, digest->realm) != 0) {
        return "another realm";
    }
    if (fields->algorithm == NULL || hf_http_name_equal(fields->algorithm, "MD5")) {
        claim->algorithm = HF_DIGEST_MD5;
    } else if (hf_http_name_equal(fields->algorithm, "SHA-256")) {
        claim->algorithm = HF_DIGEST_SHA256;
    } else {
        return "another algorithm";
    }
    if (claim->has_qop) {
        if (!hf_http_name_equal(fields->qop, "auth")) {
            return "another qop";
        }
        if (fields->cnonce == NULL || fields->nc == NULL) {
            return "a field is missing";
        }
        if (!read_nc(fields->nc, &claim->nc)) {
            return "nc is not a number";
        }
    }
    if (strlen(fields->response) != (claim->algorithm == HF_DIGEST_MD5 ? 32u : 64u) ||
        !is_hex(fields->response)) {
        return "the response is not a hash";
    }
    if (strcmp(fields->uri, request->target) != 0) {
        return "another target";
    }
    return NULL;
}

/* False for an unknown user; ha1 is then one that nobody has, made with the same work. */
static bool find_ha1(const struct hf_digest *digest, const struct hf_digest_users *users,
                     const struct claim *claim, const char *user, char ha1[65])
{
    struct hf_digest_credential credential = {.is_ha1 = false};
    size_t expected = claim->algorithm == HF_DIGEST_MD5 ? 32 : 64;
    bool known = users->find(users->context, hf_str_of(user), claim->algorithm, &credential);

    if (known && credential.is_ha1) {
        known = credential.value.len == expected;
        memcpy(ha1, credential.value.data, known ? expected : 0);
        ha1[known ? expected : 0] = '\0';
    } else {
        uint8_t nobody[SECRET_BYTES];
        hf_random_bytes(nobody, sizeof nobody);
        struct hf_bytes password = known ? hf_bytes_of(credential.value.data, credential.value.len)
                                         : hf_bytes_of(nobody, sizeof nobody);
        hf_digest_ha1(digest, claim->algorithm, hf_str_of(user), password, ha1);
    }
    hf_secret_wipe(&credential.value);
    return known;
}

/* False when memory ran out. */
static bool expect_response(const struct hf_digest_request *request,
                            const struct hf_digest_fields *fields, const struct claim *claim,
                            const char *ha1, char out[65])
{
    HF_CLEANUP(hf_buf_fini)
    struct hf_buf text = HF_BUF_INIT(2 * HF_DIGEST_HEADER_MAX_BYTES);
    struct hf_error err;
    char ha2[65];

    if (hf_buf_appendf(&text, &err, "%s:%s", request->method, fields->uri) != HF_ERR_OK) {
        return false;
    }
    hash_text(claim->algorithm, hf_buf_bytes(&text), ha2);
    hf_buf_clear(&text);
    enum hf_err code = claim->has_qop
                           ? hf_buf_appendf(&text, &err, "%s:%s:%s:%s:auth:%s", ha1, fields->nonce,
                                            fields->nc, fields->cnonce, ha2)
                           : hf_buf_appendf(&text, &err, "%s:%s:%s", ha1, fields->nonce, ha2);
    if (code != HF_ERR_OK) {
        return false;
    }
    hash_text(claim->algorithm, hf_buf_bytes(&text), out);
    hf_wipe(text.data, text.len);
    return true;
}

static bool response_matches(const char *response, const char *expected)
{
    uint8_t given[32], wanted[32];
    size_t len = strlen(expected) / 2;

    return hf_hex_decode(hf_str_of(response), given, len) &&
           hf_hex_decode(hf_str_of(expected), wanted, len) &&
           hf_secret_equal(hf_bytes_of(given, len), hf_bytes_of(wanted, len));
}

static struct slot *find_slot(struct slot_set *set, const uint8_t key[NONCE_KEY_BYTES])
{
    for (size_t i = 0; i < WAYS; i++) {
        if (set->slots[i].issued_ms != 0 && memcmp(set->slots[i].key, key, NONCE_KEY_BYTES) == 0) {
            return &set->slots[i];
        }
    }
    return NULL;
}

/* The slot to give to a nonce that is new: a free one, else the oldest, which is forgotten. */
static struct slot *replace_slot(struct slot_set *set)
{
    struct slot *oldest = &set->slots[0];

    for (size_t i = 1; i < WAYS; i++) {
        if (set->slots[i].issued_ms < oldest->issued_ms) {
            oldest = &set->slots[i];
        }
    }
    if (oldest->issued_ms > set->forgotten_ms) {
        set->forgotten_ms = oldest->issued_ms;
    }
    return oldest;
}

/* False when this nc was used with this nonce, or nobody can tell. The mutex is held. */
static bool use_nc(struct slot_set *set, const uint8_t key[NONCE_KEY_BYTES], uint64_t issued_ms,
                   uint64_t nc)
{
    struct slot *slot = find_slot(set, key);

    if (slot == NULL) {
        if (issued_ms <= set->forgotten_ms) {
            return false;
        }
        slot = replace_slot(set);
        *slot = (struct slot){.issued_ms = issued_ms, .highest = nc, .seen = 1};
        memcpy(slot->key, key, NONCE_KEY_BYTES);
        return true;
    }
    if (nc > slot->highest) {
        uint64_t ahead = nc - slot->highest;
        slot->seen = (ahead < WINDOW ? slot->seen << ahead : 0) | 1;
        slot->highest = nc;
        return true;
    }
    uint64_t behind = slot->highest - nc;
    if (behind >= WINDOW || (slot->seen >> behind & 1) != 0) {
        return false;
    }
    slot->seen |= UINT64_C(1) << behind;
    return true;
}

/* NULL when the nonce is ours, fresh and not used with this nc, which is noted; else why not. */
static const char *use_nonce(struct hf_digest *digest, const char *text, uint64_t nc,
                             uint64_t now_ms)
{
    uint8_t nonce[NONCE_BYTES], proof[NONCE_PROOF_BYTES];

    if (strlen(text) != 2 * sizeof nonce || !hf_hex_decode(hf_str_of(text), nonce, sizeof nonce)) {
        return "the nonce is not ours";
    }
    prove(digest, nonce, proof);
    if (!hf_secret_equal(hf_bytes_of(nonce + NONCE_KEY_BYTES, NONCE_PROOF_BYTES),
                         hf_bytes_of(proof, NONCE_PROOF_BYTES))) {
        return "the nonce is not ours";
    }
    uint64_t issued_ms = hf_load_le64(nonce);
    uint64_t apart_ms = now_ms > issued_ms ? now_ms - issued_ms : issued_ms - now_ms;
    if (apart_ms > digest->lifetime_ms || issued_ms == 0) {
        return "the nonce is old";
    }
    uint64_t number = hf_load_le64(nonce + NONCE_TIME_BYTES);
    hf_mutex_lock(&digest->mutex);
    bool unused = use_nc(&digest->sets[number % digest->set_count], nonce, issued_ms, nc);
    hf_mutex_unlock(&digest->mutex);
    return unused ? NULL : "the nonce was used";
}

static enum hf_digest_outcome check_fields(struct hf_digest *digest,
                                           const struct hf_digest_request *request,
                                           const struct hf_digest_users *users,
                                           const struct hf_digest_fields *fields, const char **why)
{
    struct claim claim;
    char ha1[65], expected[65];

    *why = read_claim(digest, request, fields, &claim);
    if (*why != NULL) {
        return HF_DIGEST_MALFORMED;
    }
    bool known = find_ha1(digest, users, &claim, fields->username, ha1);
    bool computed = expect_response(request, fields, &claim, ha1, expected);
    bool matches = computed && response_matches(fields->response, expected);
    hf_wipe(ha1, sizeof ha1);
    hf_wipe(expected, sizeof expected);
    if (!known || !matches) {
        *why = computed ? "unknown user or wrong response" : "no memory";
        return HF_DIGEST_REFUSED;
    }
    *why = use_nonce(digest, fields->nonce, claim.nc, request->now_ms);
    return *why == NULL ? HF_DIGEST_ACCEPTED : HF_DIGEST_STALE;
}

enum hf_digest_outcome hf_digest_check(struct hf_digest *digest,
                                       const struct hf_digest_request *request,
                                       const struct hf_digest_users *users,
                                       char user[HF_DIGEST_USER_MAX_BYTES], const char **why)
{
    struct hf_digest_fields fields;
    enum hf_digest_outcome outcome = HF_DIGEST_ABSENT;

    user[0] = '\0';
    *why = "no header";
    if (request->authorization == NULL) {
        return HF_DIGEST_ABSENT;
    }
    switch (hf_digest_fields_parse(request->authorization, &fields, why)) {
    case HF_DIGEST_OTHER_SCHEME:
        return HF_DIGEST_ABSENT;
    case HF_DIGEST_BROKEN:
        return HF_DIGEST_MALFORMED;
    case HF_DIGEST_PARSED:
        outcome = check_fields(digest, request, users, &fields, why);
        if (outcome == HF_DIGEST_ACCEPTED) {
            memcpy(user, fields.username, strlen(fields.username) + 1);
            *why = "accepted";
        }
        hf_digest_fields_fini(&fields);
        break;
    }
    return outcome;
}
