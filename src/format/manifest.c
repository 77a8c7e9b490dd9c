/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests and voids as bytes (docs/format/manifest.md).
 *
 * The body of the envelope: kind (1), zeros (3); then of a manifest: JSON (blob), root (blob), kind of seal (1), seal
 * (32); of a void: job (12), capture LE64.
 */
#include "format/manifest.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "format/envelope.h"
#include "format/field.h"

#define KIND_SNAPSHOT 1
#define KIND_VOID 2
#define SEAL_KEYED 1
#define SEAL_CHECKSUM 2
#define ROOT_MAX_BYTES ((size_t)HF_LISTS_MAX * HF_REF_BYTES + 4096)

static const struct hf_envelope frame = {
    .magic = "HFmanifs", .what = "manifest", .version = 1, .max_bytes = HF_MANIFEST_MAX_BYTES};

void hf_manifest_fini(struct hf_manifest *manifest)
{
    hf_facts_fini(&manifest->facts);
    hf_json_drop(manifest->policy);
    hf_free(manifest->sets);
    hf_tree_root_fini(&manifest->root);
    manifest->policy = NULL;
    manifest->sets = NULL;
    manifest->set_count = 0;
}

static struct hf_json *sets_to_json(const struct hf_manifest *manifest)
{
    struct hf_json *array = hf_json_array();
    for (size_t i = 0; i < manifest->set_count; i++) {
        const struct hf_snapshot_set *set = &manifest->sets[i];
        struct hf_json *item = hf_json_object();
        hf_json_set_text(item, "set", set->set_name);
        hf_field_set_id(item, "job", &set->job);
        hf_json_set_u64(item, "capture", set->capture);
        hf_json_append_take(array, item);
    }
    return array;
}

static struct hf_json *to_json(const struct hf_manifest *manifest)
{
    struct hf_json *json = hf_json_object();
    if (json == NULL) {
        return NULL;
    }
    hf_field_set_id(json, "job", &manifest->job);
    hf_json_set_u64(json, "capture", manifest->capture);
    hf_field_set_id(json, "writer", &manifest->writer);
    hf_field_set_id(json, "snapshot", &manifest->snapshot);
    hf_field_set_id(json, "project", &manifest->project);
    hf_field_set_id(json, "cluster", &manifest->cluster);
    hf_field_set_text(json, "projectName", manifest->project_name);
    hf_field_set_text(json, "clusterName", manifest->cluster_name);
    hf_json_set_bool(json, "encrypted", manifest->encrypted);
    hf_json_set_bool(json, "sharded", manifest->sharded);
    hf_json_set_u64(json, "createdS", manifest->created_s);
    hf_json_set_u64(json, "expiresS", manifest->expires_s);
    hf_json_set_u64(json, "parent", manifest->parent);
    hf_field_set_adopted(json, "adopted", manifest->adopted, manifest->adopted_count);
    hf_json_set_take(json, "facts", hf_facts_to_json(&manifest->facts));
    if (manifest->policy != NULL) {
        hf_json_set_take(json, "policy", hf_json_copy(manifest->policy));
    }
    if (manifest->set_count > 0) {
        hf_json_set_take(json, "sets", sets_to_json(manifest));
    }
    if (manifest->predecessor != 0) {
        char seal[2 * HF_HASH_BYTES + 1];
        hf_hex_encode(hf_bytes_of(manifest->predecessor_seal.bytes, HF_HASH_BYTES), seal);
        hf_json_set_u64(json, "predecessor", manifest->predecessor);
        hf_json_set_text(json, "predecessorSeal", seal);
    }
    return json;
}

/* The seal over the body so far, its own kind included. */
static enum hf_err make_seal(struct hf_bytes body, uint8_t kind, const struct hf_keyring *keyring,
                             struct hf_seal *out, struct hf_error *err)
{
    struct hf_hash hash;
    if (kind == SEAL_KEYED) {
        HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = NULL;
        if (hf_hmac_create(hf_bytes_of(keyring->seal_key, HF_KEY_BYTES), &hmac, err) != HF_ERR_OK) {
            return hf_wrap(err, "seal");
        }
        hf_hmac_sha256(hmac, body, &hash);
    } else {
        hf_sha256(body, &hash);
    }
    memcpy(out->bytes, hash.bytes, HF_HASH_BYTES);
    return HF_ERR_OK;
}

static enum hf_err encode_body(const struct hf_manifest *manifest, struct hf_buf *body,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = to_json(manifest);
    HF_CLEANUP(hf_buf_fini) struct hf_buf part = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "manifest");
    }
    if (hf_buf_append_le(body, KIND_SNAPSHOT, 4, err) != HF_ERR_OK ||
        hf_json_encode(json, 0, &part, err) != HF_ERR_OK ||
        hf_buf_append_blob(body, hf_buf_bytes(&part), err) != HF_ERR_OK) {
        return err->code;
    }
    hf_buf_clear(&part);
    if (hf_tree_root_encode(&manifest->root, &part, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_buf_append_blob(body, hf_buf_bytes(&part), err);
}

enum hf_err hf_manifest_encode(struct hf_manifest *manifest, const struct hf_keyring *keyring,
                               struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf body = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    uint8_t kind = keyring->encrypted ? SEAL_KEYED : SEAL_CHECKSUM;
    if (kind == SEAL_KEYED && !keyring->has_seal_key) {
        return hf_fail(err, HF_ERR_DENIED, "manifest: the seal key is not at hand");
    }
    HF_ASSERT(manifest->capture >= 1 && manifest->capture <= HF_CAPTURE_MAX &&
              hf_id_equal(&manifest->job, &keyring->job));
    struct hf_seal seal;
    if (encode_body(manifest, &body, err) != HF_ERR_OK ||
        hf_buf_append_le(&body, kind, 1, err) != HF_ERR_OK ||
        make_seal(hf_buf_bytes(&body), kind, keyring, &seal, err) != HF_ERR_OK ||
        hf_buf_append(&body, hf_bytes_of(seal.bytes, HF_HASH_BYTES), err) != HF_ERR_OK ||
        hf_envelope_write(&frame, hf_buf_bytes(&body), out, err) != HF_ERR_OK) {
        return hf_wrap(err, "encode manifest");
    }
    manifest->seal = seal;
    return HF_ERR_OK;
}

enum hf_err hf_void_encode(const struct hf_id *job, uint64_t capture, struct hf_buf *out,
                           struct hf_error *err)
{
    uint8_t body[4 + HF_ID_BYTES + 8];
    hf_store_le32(body, KIND_VOID);
    memcpy(body + 4, job->bytes, HF_ID_BYTES);
    hf_store_le64(body + 4 + HF_ID_BYTES, capture);
    return hf_envelope_write(&frame, hf_bytes_of(body, sizeof body), out, err);
}

static enum hf_err sets_from_json(const struct hf_json *json, struct hf_manifest *manifest,
                                  struct hf_error *err)
{
    const struct hf_json *array = hf_json_get_array(json, "sets");
    size_t count = array == NULL ? 0 : hf_json_count(array);
    if (count > HF_SETS_MAX) {
        return hf_fail(err, HF_ERR_INVALID, "sets: %zu, at most %d are allowed", count,
                       HF_SETS_MAX);
    }
    if (count == 0) {
        return HF_ERR_OK;
    }
    manifest->sets = hf_alloc_zero(count * sizeof *manifest->sets);
    if (manifest->sets == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "sets");
    }
    manifest->set_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct hf_json *item = hf_json_at(array, i);
        struct hf_snapshot_set *set = &manifest->sets[i];
        if (hf_field_text(item, "set", set->set_name, sizeof set->set_name, err) != HF_ERR_OK ||
            hf_field_need_id(item, "job", &set->job, err) != HF_ERR_OK ||
            hf_field_u64(item, "capture", HF_CAPTURE_MAX, &set->capture, err) != HF_ERR_OK) {
            return hf_wrap(err, "sets");
        }
    }
    return HF_ERR_OK;
}

static enum hf_err predecessor_from_json(const struct hf_json *json, struct hf_manifest *manifest,
                                         struct hf_error *err)
{
    const char *seal = hf_json_get_text(json, "predecessorSeal");
    if (hf_field_u64(json, "predecessor", HF_CAPTURE_MAX, &manifest->predecessor, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (manifest->predecessor != 0 &&
        (seal == NULL ||
         !hf_hex_decode(hf_str_of(seal), manifest->predecessor_seal.bytes, HF_HASH_BYTES))) {
        return hf_fail(err, HF_ERR_INVALID, "predecessorSeal: not %d hexadecimal digits",
                       2 * HF_HASH_BYTES);
    }
    return HF_ERR_OK;
}

static enum hf_err from_json(const struct hf_json *json, struct hf_manifest *manifest,
                             struct hf_error *err)
{
    struct hf_json *facts = NULL;
    if (hf_field_need_id(json, "job", &manifest->job, err) != HF_ERR_OK ||
        hf_json_need_u64(json, "capture", 1, HF_CAPTURE_MAX, &manifest->capture, err) !=
            HF_ERR_OK ||
        hf_field_need_id(json, "writer", &manifest->writer, err) != HF_ERR_OK ||
        hf_field_need_id(json, "snapshot", &manifest->snapshot, err) != HF_ERR_OK ||
        hf_field_id(json, "project", &manifest->project, err) != HF_ERR_OK ||
        hf_field_id(json, "cluster", &manifest->cluster, err) != HF_ERR_OK ||
        hf_field_text(json, "projectName", manifest->project_name, sizeof manifest->project_name,
                      err) != HF_ERR_OK ||
        hf_field_text(json, "clusterName", manifest->cluster_name, sizeof manifest->cluster_name,
                      err) != HF_ERR_OK ||
        hf_field_bool(json, "encrypted", &manifest->encrypted, err) != HF_ERR_OK ||
        hf_field_bool(json, "sharded", &manifest->sharded, err) != HF_ERR_OK ||
        hf_field_u64(json, "createdS", INT64_MAX, &manifest->created_s, err) != HF_ERR_OK ||
        hf_field_u64(json, "expiresS", INT64_MAX, &manifest->expires_s, err) != HF_ERR_OK ||
        hf_field_u64(json, "parent", HF_CAPTURE_MAX, &manifest->parent, err) != HF_ERR_OK ||
        hf_field_adopted(json, "adopted", manifest->adopted, &manifest->adopted_count, err) !=
            HF_ERR_OK ||
        predecessor_from_json(json, manifest, err) != HF_ERR_OK ||
        sets_from_json(json, manifest, err) != HF_ERR_OK ||
        hf_json_need_object(json, "facts", &facts, err) != HF_ERR_OK ||
        hf_facts_from_json(facts, &manifest->facts, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *policy = hf_json_get_object(json, "policy");
    if (policy != NULL && (manifest->policy = hf_json_copy(policy)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "policy");
    }
    return HF_ERR_OK;
}

static enum hf_err check_seal(struct hf_bytes sealed, uint8_t kind, struct hf_bytes seal,
                              const struct hf_keyring *keyring, enum hf_seal_state *state,
                              struct hf_error *err)
{
    if (kind == SEAL_KEYED && (keyring == NULL || !keyring->has_seal_key)) {
        *state = HF_SEAL_UNCHECKED;
        return HF_ERR_OK;
    }
    if (kind == SEAL_CHECKSUM && keyring != NULL && keyring->encrypted) {
        /* Else a forger would simply leave the key out. */
        return hf_fail(err, HF_ERR_CORRUPT, "manifest: a job with keys, and no key sealed it");
    }
    struct hf_seal wanted;
    if (make_seal(sealed, kind, keyring, &wanted, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_secret_equal(hf_bytes_of(wanted.bytes, HF_HASH_BYTES), seal)) {
        return hf_fail(err, HF_ERR_CORRUPT, "manifest: its seal does not match");
    }
    *state = HF_SEAL_PROVED;
    return HF_ERR_OK;
}

static enum hf_err decode_snapshot(struct hf_reader *reader, const struct hf_keyring *keyring,
                                   struct hf_manifest *manifest, enum hf_seal_state *state,
                                   struct hf_error *err)
{
    struct hf_bytes text = hf_reader_blob(reader, HF_MANIFEST_MAX_BYTES);
    struct hf_bytes root = hf_reader_blob(reader, ROOT_MAX_BYTES);
    uint8_t kind = hf_reader_u8(reader);
    struct hf_bytes sealed = hf_bytes_of(reader->data, reader->at);
    struct hf_bytes seal = hf_reader_bytes(reader, HF_HASH_BYTES);
    if (reader->failed || hf_reader_left(reader) != 0 ||
        (kind != SEAL_KEYED && kind != SEAL_CHECKSUM)) {
        return hf_fail(err, HF_ERR_CORRUPT, "manifest: its parts do not fit its length");
    }
    if (check_seal(sealed, kind, seal, keyring, state, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_str json_text = {.data = (const char *)text.data, .len = text.len};
    if (hf_json_decode(json_text, HF_MANIFEST_MAX_BYTES, &json, err) != HF_ERR_OK ||
        hf_tree_root_decode(root, &manifest->root, err) != HF_ERR_OK ||
        from_json(json, manifest, err) != HF_ERR_OK) {
        if (err->code == HF_ERR_INVALID) {
            err->code = HF_ERR_CORRUPT; /* it was stored, nobody asked for it */
        }
        return hf_wrap(err, "manifest");
    }
    memcpy(manifest->seal.bytes, seal.data, HF_HASH_BYTES);
    return HF_ERR_OK;
}

enum hf_err hf_manifest_decode(struct hf_bytes in, const struct hf_keyring *keyring,
                               struct hf_manifest *out, struct hf_manifest_read *read,
                               struct hf_error *err)
{
    struct hf_bytes body;
    if (hf_envelope_read(&frame, in, &body, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_reader reader = hf_reader_of(body);
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_manifest_read how = {.kind = HF_MANIFEST_SNAPSHOT, .seal_state = HF_SEAL_PROVED};
    uint64_t kind = hf_reader_le(&reader, 4);
    if (kind == KIND_VOID) {
        struct hf_bytes job = hf_reader_bytes(&reader, HF_ID_BYTES);
        manifest.capture = hf_reader_le(&reader, 8);
        if (reader.failed || hf_reader_left(&reader) != 0 || manifest.capture == 0 ||
            manifest.capture > HF_CAPTURE_MAX) {
            return hf_fail(err, HF_ERR_CORRUPT, "void: its parts do not fit its length");
        }
        memcpy(manifest.job.bytes, job.data, HF_ID_BYTES);
        how.kind = HF_MANIFEST_VOID;
    } else if (kind == KIND_SNAPSHOT) {
        if (decode_snapshot(&reader, keyring, &manifest, &how.seal_state, err) != HF_ERR_OK) {
            return err->code;
        }
    } else {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "manifest of unknown kind %" PRIu64, kind);
    }
    if (keyring != NULL && !hf_id_equal(&keyring->job, &manifest.job)) {
        return hf_fail(err, HF_ERR_CORRUPT, "manifest of another job"); /* keeps I9 */
    }
    *out = manifest;
    *read = how;
    manifest = (struct hf_manifest){.capture = 0};
    return HF_ERR_OK;
}
