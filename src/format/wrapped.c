/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store's key and what it wraps (docs/format/keys.md).
 *
 * Wrapped keys: an envelope whose body is kind (1: in the clear, 2: AES-256-GCM), zeros (3), job (12), store (12), salt
 * (32), then the keyring as JSON, or that encrypted. The wrapping key comes from store key and salt, once for each
 * wrapping, so the nonce is zero; the 60 bytes before are authenticated.
 */
#include "format/wrapped.h"

#include "base/alloc.h"
#include "codec/aead.h"
#include "codec/base64.h"
#include "format/envelope.h"

#define KIND_CLEAR 1
#define KIND_GCM 2
#define HEAD_BYTES (4 + HF_ID_BYTES + HF_ID_BYTES + HF_WRAP_SALT_BYTES)
#define WRAP_INFO "holdfast wrap 1"
#define CHECK_INFO "holdfast store key check 1"
#define KEY_TITLE "holdfast store key 1"
#define JSON_MAX_BYTES ((size_t)32 << 10)

static const struct hf_envelope frame = {
    .magic = "HFjobkey", .what = "keys of a job", .version = 1, .max_bytes = 64 << 10};

void hf_store_key_wipe(struct hf_store_key *key)
{
    hf_wipe(key, sizeof *key);
}

enum hf_err hf_store_key_encode(const struct hf_store_key *key, struct hf_buf *out,
                                struct hf_error *err)
{
    char text[HF_BASE64_LEN(HF_KEY_BYTES) + 1];
    hf_base64_encode(hf_bytes_of(key->key, HF_KEY_BYTES), text);
    enum hf_err code = hf_buf_appendf(out, err, "%s\nstore: %s\nkey: %s\n", KEY_TITLE,
                                      hf_id_text(&key->store).text, text);
    hf_wipe(text, sizeof text);
    return code;
}

/* The next line without its end, "\r" included. */
static struct hf_str next_line(struct hf_str *text)
{
    const char *end = memchr(text->data, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t)(end - text->data);
    struct hf_str line = {.data = text->data, .len = len};
    size_t taken = end == NULL ? len : len + 1;
    text->data += taken;
    text->len -= taken;
    if (line.len > 0 && line.data[line.len - 1] == '\r') {
        line.len--;
    }
    return line;
}

static bool take_value(struct hf_str *line, const char *name)
{
    struct hf_str prefix = hf_str_of(name);
    if (!hf_str_starts_with(*line, prefix)) {
        return false;
    }
    line->data += prefix.len;
    line->len -= prefix.len;
    return true;
}

enum hf_err hf_store_key_decode(struct hf_str text, struct hf_store_key *out, struct hf_error *err)
{
    HF_CLEANUP(hf_store_key_wipe) struct hf_store_key key = {.key = {0}};
    if (text.len == 0 || !hf_str_equal_c(next_line(&text), KEY_TITLE)) {
        return hf_fail(err, HF_ERR_INVALID, "not a store's key file: its first line is not \"%s\"",
                       KEY_TITLE);
    }
    struct hf_str store = next_line(&text);
    struct hf_str secret = next_line(&text);
    size_t len = 0;
    if (!take_value(&store, "store: ") || !hf_id_parse(store, &key.store)) {
        return hf_fail(err, HF_ERR_INVALID, "key file: its second line names no store");
    }
    if (!take_value(&secret, "key: ") ||
        hf_base64_decode(secret, key.key, HF_KEY_BYTES, &len, err) != HF_ERR_OK ||
        len != HF_KEY_BYTES) {
        return hf_fail(err, HF_ERR_INVALID, "key file: its third line holds no key");
    }
    if (text.len != 0) {
        return hf_fail(err, HF_ERR_INVALID, "key file: more than three lines");
    }
    *out = key;
    return HF_ERR_OK;
}

enum hf_err hf_store_key_check(const struct hf_store_key *key, struct hf_hash *out,
                               struct hf_error *err)
{
    return hf_hkdf_sha256(
        hf_bytes_of(key->key, HF_KEY_BYTES), hf_bytes_of(key->store.bytes, HF_ID_BYTES),
        hf_bytes_of(CHECK_INFO, sizeof CHECK_INFO - 1), out->bytes, HF_HASH_BYTES, err);
}

static enum hf_err make_wrap_cipher(const struct hf_store_key *store_key, const uint8_t *salt,
                                    struct hf_aead **out, struct hf_error *err)
{
    uint8_t key[HF_AEAD_KEY_BYTES];
    enum hf_err code = hf_hkdf_sha256(
        hf_bytes_of(store_key->key, HF_KEY_BYTES), hf_bytes_of(salt, HF_WRAP_SALT_BYTES),
        hf_bytes_of(WRAP_INFO, sizeof WRAP_INFO - 1), key, sizeof key, err);
    if (code == HF_ERR_OK) {
        code = hf_aead_create(key, out, err);
    }
    hf_wipe(key, sizeof key);
    return code;
}

static void buf_wipe_fini(struct hf_buf *buf)
{
    if (buf->data != NULL) {
        hf_wipe(buf->data, buf->capacity);
    }
    hf_buf_fini(buf);
}
HF_CLEANUP_DEFINE_VALUE(buf_wipe_fini, struct hf_buf)

static enum hf_err append_keys(const struct hf_keyring *keyring,
                               const struct hf_wrap_options *options, struct hf_buf *body,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop)
    struct hf_json *json =
        hf_keyring_to_json(keyring, &(struct hf_keyring_json_options){.with_seal = true});
    HF_CLEANUP(buf_wipe_fini) struct hf_buf text = HF_BUF_INIT(JSON_MAX_BYTES);
    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "keys of a job");
    }
    /* Room at once: growing would leave copies of the keys behind in freed memory. */
    if (hf_buf_reserve(&text, JSON_MAX_BYTES / 2, err) != HF_ERR_OK ||
        hf_json_encode(json, 0, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    if (options->store_key == NULL) {
        return hf_buf_append(body, hf_buf_bytes(&text), err);
    }
    static const uint8_t nonce[HF_AEAD_NONCE_BYTES];
    HF_CLEANUP(hf_aead_destroy) struct hf_aead *aead = NULL;
    if (make_wrap_cipher(options->store_key, options->salt, &aead, err) != HF_ERR_OK ||
        hf_buf_reserve(body, text.len + HF_AEAD_TAG_BYTES, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_aead_seal(aead, nonce, hf_bytes_of(body->data, HEAD_BYTES), hf_buf_bytes(&text),
                     body->data + body->len, err) != HF_ERR_OK) {
        return err->code;
    }
    body->len += text.len + HF_AEAD_TAG_BYTES;
    return HF_ERR_OK;
}

enum hf_err hf_keyring_wrap(const struct hf_keyring *keyring, const struct hf_wrap_options *options,
                            struct hf_buf *out, struct hf_error *err)
{
    if (keyring->encrypted != (options->store_key != NULL)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "wrap keys: a job is encrypted where its store has a key, and only there");
    }
    HF_CLEANUP(buf_wipe_fini) struct hf_buf body = HF_BUF_INIT(JSON_MAX_BYTES);
    if (hf_buf_append_le(&body, options->store_key == NULL ? KIND_CLEAR : KIND_GCM, 4, err) !=
            HF_ERR_OK ||
        hf_buf_append(&body, hf_bytes_of(keyring->job.bytes, HF_ID_BYTES), err) != HF_ERR_OK ||
        hf_buf_append(&body, hf_bytes_of(options->store.bytes, HF_ID_BYTES), err) != HF_ERR_OK ||
        hf_buf_append(&body, hf_bytes_of(options->salt, HF_WRAP_SALT_BYTES), err) != HF_ERR_OK ||
        append_keys(keyring, options, &body, err) != HF_ERR_OK ||
        hf_envelope_write(&frame, hf_buf_bytes(&body), out, err) != HF_ERR_OK) {
        return hf_wrap(err, "wrap keys of job %s", hf_id_text(&keyring->job).text);
    }
    return HF_ERR_OK;
}

static enum hf_err decode_keys(struct hf_bytes text, struct hf_keyring *ring, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_str json_text = {.data = (const char *)text.data, .len = text.len};
    if (hf_json_decode(json_text, JSON_MAX_BYTES, &json, err) != HF_ERR_OK ||
        hf_keyring_from_json(json, ring, err) != HF_ERR_OK) {
        if (err->code != HF_ERR_NO_MEMORY) {
            err->code = HF_ERR_CORRUPT;
        }
        return err->code;
    }
    return HF_ERR_OK;
}

static enum hf_err open_keys(struct hf_bytes body, uint64_t kind,
                             const struct hf_store_key *store_key, struct hf_keyring *ring,
                             struct hf_error *err)
{
    struct hf_bytes rest = hf_bytes_of(body.data + HEAD_BYTES, body.len - HEAD_BYTES);
    if (kind == KIND_CLEAR) {
        return decode_keys(rest, ring, err);
    }
    if (store_key == NULL) {
        return hf_fail(err, HF_ERR_DENIED, "the store's key is needed; hint: --key-file");
    }
    if (rest.len <= HF_AEAD_TAG_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "too short");
    }
    static const uint8_t nonce[HF_AEAD_NONCE_BYTES];
    HF_CLEANUP(hf_aead_destroy) struct hf_aead *aead = NULL;
    HF_CLEANUP(buf_wipe_fini) struct hf_buf text = HF_BUF_INIT(JSON_MAX_BYTES);
    if (make_wrap_cipher(store_key, body.data + HEAD_BYTES - HF_WRAP_SALT_BYTES, &aead, err) !=
            HF_ERR_OK ||
        hf_buf_reserve(&text, rest.len, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code =
        hf_aead_open(aead, nonce, hf_bytes_of(body.data, HEAD_BYTES), rest, text.data, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_CORRUPT
                   ? hf_fail(err, HF_ERR_DENIED, "the store's key does not open them")
                   : code;
    }
    text.len = rest.len - HF_AEAD_TAG_BYTES;
    return decode_keys(hf_buf_bytes(&text), ring, err);
}

enum hf_err hf_keyring_unwrap(struct hf_bytes in, const struct hf_id *job,
                              const struct hf_store_key *store_key, struct hf_keyring *out,
                              struct hf_error *err)
{
    struct hf_bytes body;
    if (hf_envelope_read(&frame, in, &body, err) != HF_ERR_OK) {
        return err->code;
    }
    if (body.len < HEAD_BYTES || body.len > JSON_MAX_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "keys of a job: %zu bytes", body.len);
    }
    uint64_t kind = hf_load_le32(body.data);
    if (kind != KIND_CLEAR && kind != KIND_GCM) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "keys of a job: unknown kind of wrapping %u",
                       (unsigned)kind);
    }
    if (memcmp(body.data + 4, job->bytes, HF_ID_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "keys of another job"); /* keeps I9 */
    }
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring ring = {.encrypted = false};
    if (open_keys(body, kind, store_key, &ring, err) != HF_ERR_OK) {
        return hf_wrap(err, "keys of job %s", hf_id_text(job).text);
    }
    if (!hf_id_equal(&ring.job, job) || ring.encrypted != (kind == KIND_GCM)) {
        return hf_fail(err, HF_ERR_CORRUPT, "keys of job %s: they contradict their wrapping",
                       hf_id_text(job).text);
    }
    *out = ring;
    return HF_ERR_OK;
}
