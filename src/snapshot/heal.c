/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Healing.
 *
 * Healed blocks gather in one object, among the data, whose range of positions covers their addresses. No claim guards
 * it: its blocks live by the manifests that reach their addresses, or are dead (store-format.md 5).
 */
#include "snapshot/heal.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "format/pack.h"
#include "os/clock.h"
#include "snapshot/retry.h"

struct hf_healer {
    struct hf_store *store;           /* borrowed */
    const struct hf_keyring *keyring; /* borrowed */
    struct hf_tree_reader *reader;    /* borrowed */
    struct hf_block_coder *coder;     /* owned */
    struct hf_object_writer *writer;  /* owned; NULL: nothing waits */
    uint64_t first, last;             /* positions of what waits */
    struct hf_buf plain, stored;
    uint64_t healed;
};

enum hf_err hf_healer_create(struct hf_store *store, const struct hf_keyring *keyring,
                             struct hf_tree_reader *reader, struct hf_healer **out,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_healer_destroy) struct hf_healer *healer = hf_alloc_zero(sizeof *healer);
    struct hf_block_coder_options coding = {.keyring = keyring};
    if (healer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "healer");
    }
    healer->store = store;
    healer->keyring = keyring;
    healer->reader = reader;
    hf_buf_init(&healer->plain, HF_BLOCK_MAX_BYTES);
    hf_buf_init(&healer->stored, HF_BLOCK_MAX_BYTES + HF_AEAD_TAG_BYTES);
    if (hf_block_coder_create(&coding, &healer->coder, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = HF_TAKE(healer);
    return HF_ERR_OK;
}

void hf_healer_destroy(struct hf_healer *healer)
{
    if (healer == NULL) {
        return;
    }
    hf_object_writer_destroy(healer->writer);
    hf_block_coder_destroy(healer->coder);
    hf_buf_fini(&healer->plain);
    hf_buf_fini(&healer->stored);
    hf_free(healer);
}

/* Puts what waits. */
static enum hf_err flush(struct hf_healer *healer, struct hf_error *err)
{
    struct hf_bytes object;
    struct hf_object_name name = {
        .kind = HF_OBJECT_DATA,
        .job = healer->keyring->job,
        .first = healer->first,
        .last = healer->last,
    };
    /* Healing may use what is kept free, as grooming may. */
    struct hf_store_put_options options = {.use_reserve = true};
    struct hf_retry retry = {.tries = 0};
    if (healer->writer == NULL) {
        return HF_ERR_OK;
    }
    hf_random_bytes(name.writer.bytes, sizeof name.writer.bytes);
    if (hf_object_writer_finish(healer->writer, &object, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_object_text text = hf_object_name_text(&name);
    enum hf_err code;
    do {
        code = hf_store_put(healer->store, hf_str_of(text.text), object, &options, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    hf_object_writer_destroy(HF_TAKE(healer->writer));
    return code == HF_ERR_OK ? code : hf_wrap(err, "put %s", text.text);
}

/* The content in healer->plain, under that address. */
static enum hf_err add(struct hf_healer *healer, const struct hf_address *address,
                       struct hf_error *err)
{
    const struct hf_data_key *key = hf_keyring_newest(healer->keyring);
    struct hf_block_body body;
    struct hf_pack_origin origin = {
        .capture = address->capture,
        .pack = address->pack,
        .key_version = key == NULL ? 0 : key->version,
        .cipher = key == NULL ? HF_CIPHER_NONE : HF_CIPHER_AES256_GCM,
    };
    /* A salt of its own for every block: a key and a nonce are used once. */
    hf_random_bytes(origin.salt, sizeof origin.salt);
    hf_buf_clear(&healer->stored);
    if (hf_block_compress(healer->coder, hf_buf_bytes(&healer->plain), &body, err) != HF_ERR_OK) {
        return err->code;
    }
    uint32_t stored_bytes = hf_block_stored_bytes(&body, origin.cipher);
    if (hf_buf_reserve(&healer->stored, stored_bytes, err) != HF_ERR_OK ||
        hf_block_seal(healer->coder, &origin, address->ordinal, &body, healer->stored.data, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    healer->stored.len = stored_bytes;
    struct hf_footer_block block = {
        .address = *address,
        .stored_bytes = stored_bytes,
        .plain_bytes = body.plain_bytes,
        .checksum = hf_xxh3(hf_buf_bytes(&healer->stored)),
        .codec = body.codec,
    };
    if (healer->writer != NULL && !hf_object_writer_fits(healer->writer, stored_bytes) &&
        flush(healer, err) != HF_ERR_OK) {
        return err->code;
    }
    uint64_t position = hf_address_position(address);
    if (healer->writer == NULL) {
        struct hf_object_writer_options options = {.kind = HF_OBJECT_DATA,
                                                   .job = healer->keyring->job,
                                                   .max_bytes = HF_PACK_OBJECT_MAX_BYTES};
        if (hf_object_writer_create(&options, &healer->writer, err) != HF_ERR_OK) {
            return err->code;
        }
        healer->first = position;
        healer->last = position;
    }
    healer->first = position < healer->first ? position : healer->first;
    healer->last = position > healer->last ? position : healer->last;
    return hf_object_writer_add(healer->writer, &origin, &block, hf_buf_bytes(&healer->stored),
                                err);
}

enum hf_err hf_healer_heal(struct hf_healer *healer, const struct hf_ref *old,
                           const struct hf_ref *good, struct hf_error *err)
{
    HF_ASSERT(hf_hash_equal(&old->hash, &good->hash));
    enum hf_err code = hf_tree_read_block(healer->reader, healer->coder, old, &healer->plain, err);
    if (code == HF_ERR_OK) {
        return HF_ERR_OK;
    }
    if (code != HF_ERR_CORRUPT && code != HF_ERR_NOT_FOUND && code != HF_ERR_IO) {
        return code;
    }
    if (hf_tree_read_block(healer->reader, healer->coder, good, &healer->plain, err) != HF_ERR_OK ||
        add(healer, &old->address, err) != HF_ERR_OK) {
        return hf_wrap(err, "heal block %s", hf_address_text(&old->address).text);
    }
    healer->healed++;
    return HF_ERR_OK;
}

enum hf_err hf_healer_finish(struct hf_healer *healer, uint64_t *healed, struct hf_error *err)
{
    *healed = healer->healed;
    return flush(healer, err);
}
