/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Head, header and blocks of an oplog slice (docs/format/oplog-slice.md). A header is believed only after its checksum,
 * its HMAC where there is a key, its counts and every place were checked against the object's size.
 */
#include "format/slice_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "codec/hash.h"

#define HEAD_MAGIC "HFslice_"
#define HEADER_MAGIC "HFslhead"
#define END_MAGIC "HFslend_"
#define MAGIC_BYTES 8
#define VERSION 1
#define FLAG_MORE 1

const char *hf_chain_cause_word(enum hf_chain_cause cause)
{
    static const char *const words[] = {
#define CAUSE_WORD(name, word, what) [HF_CHAIN_##name] = word,
        HF_CHAIN_CAUSE_TABLE(CAUSE_WORD)
#undef CAUSE_WORD
    };
    return words[cause];
}

const char *hf_chain_cause_text(enum hf_chain_cause cause)
{
    static const char *const texts[] = {
#define CAUSE_TEXT(name, word, what) [HF_CHAIN_##name] = what,
        HF_CHAIN_CAUSE_TABLE(CAUSE_TEXT)
#undef CAUSE_TEXT
    };
    return texts[cause];
}

bool hf_chain_cause_parse(const char *word, enum hf_chain_cause *out)
{
    for (unsigned i = 0; i < HF_CHAIN_CAUSE_COUNT; i++) {
        if (strcmp(hf_chain_cause_word((enum hf_chain_cause)i), word) == 0) {
            *out = (enum hf_chain_cause)i;
            return true;
        }
    }
    return false;
}

enum hf_err hf_chain_point_check(const struct hf_chain_point *point, struct hf_error *err)
{
    static const struct hf_hash zero;
    bool begins = hf_optime_is_none(&point->previous);
    if (begins != (point->cause != HF_CHAIN_NONE) || begins != (point->sequence == 0) ||
        begins != hf_hash_equal(&point->hash, &zero)) {
        return hf_fail(err, HF_ERR_INVALID, "neither a chain's start nor a place in one");
    }
    return HF_ERR_OK;
}

struct hf_optime_text hf_optime_text(const struct hf_optime *optime)
{
    struct hf_optime_text out;
    (void)snprintf(out.text, sizeof out.text, "%" PRIu32 ".%" PRIu32 "/%" PRId64, optime->seconds,
                   optime->increment, optime->term);
    return out;
}

bool hf_optime_equal(const struct hf_optime *a, const struct hf_optime *b)
{
    return hf_optime_compare(a, b) == 0;
}

int hf_optime_compare_ts(const struct hf_optime *a, const struct hf_optime *b)
{
    uint64_t left = (uint64_t)a->seconds << 32 | a->increment;
    uint64_t right = (uint64_t)b->seconds << 32 | b->increment;
    return left == right ? 0 : left < right ? -1 : 1;
}

/* ---- Keys and the running hash ---- */

enum hf_err hf_slice_hmac(const struct hf_keyring *keyring, const char *info, struct hf_hmac **out,
                          struct hf_error *err)
{
    uint8_t key[HF_KEY_BYTES];
    enum hf_err code = hf_hkdf_sha256(hf_bytes_of(keyring->hash_key, HF_KEY_BYTES),
                                      hf_bytes_of(keyring->job.bytes, HF_ID_BYTES),
                                      hf_bytes_of_str(hf_str_of(info)), key, sizeof key, err);
    if (code == HF_ERR_OK) {
        code = hf_hmac_create(hf_bytes_of(key, sizeof key), out, err);
    }
    hf_wipe(key, sizeof key);
    return code == HF_ERR_OK ? code : hf_wrap(err, "key for oplog slices");
}

struct hf_chain_hasher {
    struct hf_hmac *hmac; /* owned */
};

enum hf_err hf_chain_hasher_create(const struct hf_keyring *keyring, struct hf_chain_hasher **out,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_chain_hasher_destroy)
    struct hf_chain_hasher *hasher = hf_alloc_zero(sizeof *hasher);
    if (hasher == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "running hash");
    }
    if (hf_slice_hmac(keyring, HF_SLICE_CHAIN_INFO, &hasher->hmac, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = HF_TAKE(hasher);
    return HF_ERR_OK;
}

void hf_chain_hasher_destroy(struct hf_chain_hasher *hasher)
{
    if (hasher != NULL) {
        hf_hmac_destroy(hasher->hmac);
        hf_free(hasher);
    }
}

void hf_chain_hash(struct hf_chain_hasher *hasher, struct hf_hash *hash, struct hf_bytes entry)
{
    hf_hmac_begin(hasher->hmac);
    hf_hmac_update(hasher->hmac, hf_bytes_of(hash->bytes, HF_HASH_BYTES));
    hf_hmac_update(hasher->hmac, entry);
    hf_hmac_end(hasher->hmac, hash);
}

/* ---- Head ---- */

void hf_slice_head_encode(const struct hf_id *job, uint8_t out[HF_SLICE_HEAD_BYTES])
{
    memcpy(out, HEAD_MAGIC, MAGIC_BYTES);
    hf_store_le16(out + 8, VERSION);
    hf_store_le16(out + 10, 0);
    memcpy(out + 12, job->bytes, HF_ID_BYTES);
    hf_store_le64(out + 24, hf_xxh3(hf_bytes_of(out, 24)));
}

static enum hf_err refuse_version(unsigned version, struct hf_error *err)
{
    return hf_fail(err, HF_ERR_UNSUPPORTED,
                   "oplog slice of format version %u, this program reads version %d", version,
                   VERSION);
}

enum hf_err hf_slice_check_head(struct hf_bytes object, const struct hf_id *job,
                                struct hf_error *err)
{
    if (object.len < HF_SLICE_HEAD_BYTES || memcmp(object.data, HEAD_MAGIC, MAGIC_BYTES) != 0 ||
        hf_load_le64(object.data + 24) != hf_xxh3(hf_bytes_of(object.data, 24))) {
        return hf_fail(err, HF_ERR_CORRUPT, "not an oplog slice");
    }
    unsigned version = hf_load_le16(object.data + 8);
    if (version != VERSION) {
        return refuse_version(version, err);
    }
    if (memcmp(object.data + 12, job->bytes, HF_ID_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "oplog slice of another job"); /* keeps I9 */
    }
    return HF_ERR_OK;
}

/* ---- Header, written ---- */

void hf_slice_header_fini(struct hf_slice_header *header)
{
    hf_free(header->blocks);
    header->blocks = NULL;
    header->block_count = 0;
}

static void put_optime(uint8_t *at, const struct hf_optime *optime)
{
    HF_ASSERT(optime->term >= -1 && optime->term < INT64_MAX);
    hf_store_le32(at, optime->seconds);
    hf_store_le32(at + 4, optime->increment);
    /* None is zeros, whatever term it has in memory. */
    hf_store_le64(at + 8, hf_optime_is_none(optime) ? 0 : (uint64_t)(optime->term + 1));
}

static enum hf_err append_text(struct hf_buf *out, const char *text, struct hf_error *err)
{
    size_t len = strlen(text);
    return hf_buf_append_le(out, len, 2, err) != HF_ERR_OK
               ? err->code
               : hf_buf_append(out, hf_bytes_of(text, len), err);
}

static void encode_fixed(const struct hf_slice_header *header, uint8_t at[HF_SLICE_FIXED_BYTES])
{
    memset(at, 0, HF_SLICE_FIXED_BYTES);
    memcpy(at, HEADER_MAGIC, MAGIC_BYTES);
    hf_store_le16(at + 8, VERSION);
    memcpy(at + 12, header->job.bytes, HF_ID_BYTES);
    memcpy(at + 24, header->writer.bytes, HF_ID_BYTES);
    hf_store_le32(at + 36, header->round);
    put_optime(at + 40, &header->first);
    put_optime(at + 56, &header->last);
    put_optime(at + 72, &header->previous);
    hf_store_le32(at + 88, (uint32_t)header->cause);
    put_optime(at + 96, &header->broken_after);
    hf_store_le64(at + 112, header->sequence);
    hf_store_le32(at + 120, header->entry_count);
    hf_store_le32(at + 124, header->noop_count);
    hf_store_le64(at + 128, header->plain_bytes);
    memcpy(at + 136, header->hash_before.bytes, HF_HASH_BYTES);
    memcpy(at + 168, header->hash_after.bytes, HF_HASH_BYTES);
    hf_store_le32(at + 200, header->origin.key_version);
    hf_store_le32(at + 204, header->origin.cipher);
    memcpy(at + 208, header->origin.salt, HF_PACK_SALT_BYTES);
    hf_store_le32(at + 240, header->term_count);
    hf_store_le32(at + 244, header->block_count);
}

static void encode_block_row(const struct hf_slice_block *block,
                             uint8_t at[HF_SLICE_BLOCK_ROW_BYTES])
{
    hf_store_le32(at, block->place);
    hf_store_le32(at + 4, block->stored_bytes);
    hf_store_le32(at + 8, block->plain_bytes);
    hf_store_le32(at + 12, block->entry_count);
    at[16] = block->codec;
    at[17] = block->more ? FLAG_MORE : 0;
    hf_store_le16(at + 18, 0);
    hf_store_le64(at + 20, block->checksum);
    put_optime(at + 28, &block->last);
    memcpy(at + 44, block->hash.bytes, HF_HASH_BYTES);
}

static enum hf_err append_tables(const struct hf_slice_header *header, struct hf_buf *out,
                                 struct hf_error *err)
{
    uint8_t row[HF_SLICE_BLOCK_ROW_BYTES];
    for (uint32_t i = 0; i < header->term_count; i++) {
        struct hf_optime first = {.seconds = header->terms[i].seconds,
                                  .increment = header->terms[i].increment,
                                  .term = header->terms[i].term};
        put_optime(row, &first);
        if (hf_buf_append(out, hf_bytes_of(row, HF_SLICE_TERM_BYTES), err) != HF_ERR_OK) {
            return err->code;
        }
    }
    for (uint32_t i = 0; i < header->block_count; i++) {
        encode_block_row(&header->blocks[i], row);
        if (hf_buf_append(out, hf_bytes_of(row, sizeof row), err) != HF_ERR_OK) {
            return err->code;
        }
    }
    memset(row, 0, HF_SLICE_INDEX_ROW_BYTES);
    hf_store_le32(row, header->index_place);
    hf_store_le32(row + 4, header->index_stored_bytes);
    hf_store_le32(row + 8, header->index_plain_bytes);
    row[12] = header->index_codec;
    hf_store_le64(row + 16, header->index_checksum);
    return hf_buf_append(out, hf_bytes_of(row, HF_SLICE_INDEX_ROW_BYTES), err);
}

enum hf_err hf_slice_header_encode(const struct hf_slice_header *header, struct hf_hmac *hmac,
                                   struct hf_buf *out, struct hf_error *err)
{
    uint8_t fixed[HF_SLICE_FIXED_BYTES];
    struct hf_hash mac;
    size_t start = out->len;
    encode_fixed(header, fixed);
    if (hf_buf_append(out, hf_bytes_of(fixed, sizeof fixed), err) != HF_ERR_OK ||
        append_text(out, header->set_name, err) != HF_ERR_OK ||
        append_text(out, header->member, err) != HF_ERR_OK ||
        append_text(out, header->fcv, err) != HF_ERR_OK ||
        append_tables(header, out, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_hmac_sha256(hmac, hf_bytes_of(out->data + start, out->len - start), &mac);
    if (hf_buf_append(out, hf_bytes_of(mac.bytes, HF_HASH_BYTES), err) != HF_ERR_OK ||
        hf_buf_append_le(out, out->len - start, 4, err) != HF_ERR_OK ||
        hf_buf_append_le(out, 0, 4, err) != HF_ERR_OK) {
        return err->code;
    }
    /* The checksum covers the length behind the header too. */
    uint64_t sum = hf_xxh3(hf_bytes_of(out->data + start, out->len - start));
    if (hf_buf_append_le(out, sum, 8, err) != HF_ERR_OK ||
        hf_buf_append(out, hf_bytes_of(END_MAGIC, MAGIC_BYTES), err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_ERR_OK;
}

/* ---- Header, read ---- */

static void get_optime(struct hf_reader *reader, struct hf_optime *out)
{
    out->seconds = (uint32_t)hf_reader_le(reader, 4);
    out->increment = (uint32_t)hf_reader_le(reader, 4);
    uint64_t term = hf_reader_le(reader, 8);
    if (term > (uint64_t)INT64_MAX) {
        reader->failed = true;
        term = 0;
    }
    out->term = (int64_t)term - 1;
}

static void get_hash(struct hf_reader *reader, struct hf_hash *out)
{
    struct hf_bytes bytes = hf_reader_bytes(reader, HF_HASH_BYTES);
    if (bytes.len == HF_HASH_BYTES) {
        memcpy(out->bytes, bytes.data, HF_HASH_BYTES);
    }
}

static void get_id(struct hf_reader *reader, struct hf_id *out)
{
    struct hf_bytes bytes = hf_reader_bytes(reader, HF_ID_BYTES);
    if (bytes.len == HF_ID_BYTES) {
        memcpy(out->bytes, bytes.data, HF_ID_BYTES);
    }
}

static void get_text(struct hf_reader *reader, char *out, size_t capacity)
{
    size_t len = (size_t)hf_reader_le(reader, 2);
    if (len >= capacity) {
        reader->failed = true;
        return;
    }
    struct hf_bytes bytes = hf_reader_bytes(reader, len);
    if (bytes.len == len &&
        memchr(bytes.len == 0 ? (const uint8_t *)"" : bytes.data, 0, len) == NULL) {
        if (len > 0) {
            memcpy(out, bytes.data, len);
        }
        out[len] = '\0';
    } else {
        reader->failed = true;
    }
}

static enum hf_err read_fixed(struct hf_reader *reader, struct hf_slice_header *header,
                              struct hf_error *err)
{
    (void)hf_reader_bytes(reader, MAGIC_BYTES);
    unsigned version = (unsigned)hf_reader_le(reader, 2);
    if (version != VERSION) {
        return refuse_version(version, err);
    }
    if (hf_reader_le(reader, 2) != 0) {
        reader->failed = true;
    }
    get_id(reader, &header->job);
    get_id(reader, &header->writer);
    header->round = (uint32_t)hf_reader_le(reader, 4);
    get_optime(reader, &header->first);
    get_optime(reader, &header->last);
    get_optime(reader, &header->previous);
    uint64_t cause = hf_reader_le(reader, 8);
    get_optime(reader, &header->broken_after);
    header->sequence = hf_reader_le(reader, 8);
    header->entry_count = (uint32_t)hf_reader_le(reader, 4);
    header->noop_count = (uint32_t)hf_reader_le(reader, 4);
    header->plain_bytes = hf_reader_le(reader, 8);
    get_hash(reader, &header->hash_before);
    get_hash(reader, &header->hash_after);
    header->origin.key_version = (uint32_t)hf_reader_le(reader, 4);
    uint32_t cipher = (uint32_t)hf_reader_le(reader, 4);
    struct hf_bytes salt = hf_reader_bytes(reader, HF_PACK_SALT_BYTES);
    header->term_count = (uint32_t)hf_reader_le(reader, 4);
    header->block_count = (uint32_t)hf_reader_le(reader, 4);
    if (reader->failed) {
        return hf_fail(err, HF_ERR_CORRUPT, "header is cut off or malformed");
    }
    if (cipher != HF_CIPHER_NONE && cipher != HF_CIPHER_AES256_GCM) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "unknown cipher %" PRIu32, cipher);
    }
    if (cause >= HF_CHAIN_CAUSE_COUNT) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "unknown cause %" PRIu64 " of a chain's start",
                       cause);
    }
    header->origin.cipher = (uint8_t)cipher;
    header->cause = (enum hf_chain_cause)cause;
    memcpy(header->origin.salt, salt.data, HF_PACK_SALT_BYTES);
    return HF_ERR_OK;
}

static bool is_zero_hash(const struct hf_hash *hash)
{
    static const struct hf_hash zero;
    return hf_hash_equal(hash, &zero);
}

/* What the fixed part says of itself holds together. */
static enum hf_err check_fixed(const struct hf_slice_header *h, struct hf_error *err)
{
    bool starts = h->cause != HF_CHAIN_NONE;
    if (h->round > UINT16_MAX || hf_id_is_none(&h->writer) || hf_optime_is_none(&h->first) ||
        hf_optime_compare_ts(&h->first, &h->last) > 0 || h->first.term > h->last.term ||
        (h->entry_count == 1) != (hf_optime_compare_ts(&h->first, &h->last) == 0) ||
        starts != hf_optime_is_none(&h->previous) || starts != (h->sequence == 0) ||
        starts != is_zero_hash(&h->hash_before) ||
        (!starts && (hf_optime_compare_ts(&h->previous, &h->first) >= 0 ||
                     h->previous.term > h->first.term)) ||
        (!starts && !hf_optime_is_none(&h->broken_after)) ||
        (h->origin.cipher == HF_CIPHER_NONE) != (h->origin.key_version == 0)) {
        return hf_fail(err, HF_ERR_CORRUPT, "header contradicts itself");
    }
    if (h->entry_count == 0 || h->noop_count > h->entry_count || h->term_count == 0 ||
        h->term_count > HF_SLICE_TERMS_MAX || h->block_count == 0 ||
        h->block_count > HF_SLICE_BLOCKS_MAX || h->sequence > UINT64_MAX / 2 ||
        h->plain_bytes > HF_SLICE_PLAIN_MAX_BYTES ||
        h->plain_bytes < (uint64_t)h->entry_count * HF_SLICE_ENTRY_MIN_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "header: %" PRIu32 " entries, %" PRIu32 " terms, %" PRIu32
                       " blocks, %" PRIu64 " bytes",
                       h->entry_count, h->term_count, h->block_count, h->plain_bytes);
    }
    return HF_ERR_OK;
}

static enum hf_err read_terms(struct hf_reader *reader, struct hf_slice_header *header,
                              struct hf_error *err)
{
    for (uint32_t i = 0; i < header->term_count; i++) {
        struct hf_optime first = {.seconds = 0};
        get_optime(reader, &first);
        header->terms[i] = (struct hf_slice_term){
            .term = first.term, .seconds = first.seconds, .increment = first.increment};
        const struct hf_slice_term *before = i == 0 ? NULL : &header->terms[i - 1];
        struct hf_optime other = {.seconds = before == NULL ? 0 : before->seconds,
                                  .increment = before == NULL ? 0 : before->increment};
        if (reader->failed || (i == 0 && !hf_optime_equal(&first, &header->first)) ||
            (i > 0 && (first.term <= before->term || hf_optime_compare_ts(&first, &other) <= 0)) ||
            hf_optime_compare_ts(&first, &header->last) > 0 ||
            (i + 1 == header->term_count && first.term != header->last.term)) {
            return hf_fail(err, HF_ERR_CORRUPT, "header: terms out of order");
        }
    }
    return HF_ERR_OK;
}

static void read_block_row(struct hf_reader *reader, struct hf_slice_block *block)
{
    block->place = (uint32_t)hf_reader_le(reader, 4);
    block->stored_bytes = (uint32_t)hf_reader_le(reader, 4);
    block->plain_bytes = (uint32_t)hf_reader_le(reader, 4);
    block->entry_count = (uint32_t)hf_reader_le(reader, 4);
    block->codec = hf_reader_u8(reader);
    uint8_t flags = hf_reader_u8(reader);
    block->more = (flags & FLAG_MORE) != 0;
    if ((flags & ~FLAG_MORE) != 0 || hf_reader_le(reader, 2) != 0) {
        reader->failed = true;
    }
    block->checksum = hf_reader_le(reader, 8);
    get_optime(reader, &block->last);
    get_hash(reader, &block->hash);
}

/* Blocks lie one behind the other, and so do their entries. */
static enum hf_err check_block(const struct hf_slice_header *header, uint32_t i, uint64_t place,
                               struct hf_error *err)
{
    const struct hf_slice_block *block = &header->blocks[i];
    const struct hf_slice_block *before = i == 0 ? NULL : &header->blocks[i - 1];
    bool continues = before != NULL && before->more;
    struct hf_optime floor = before != NULL ? before->last : header->previous;
    const struct hf_hash *hash = before != NULL ? &before->hash : &header->hash_before;
    int order = hf_optime_compare_ts(&floor, &block->last);
    if (block->codec > HF_BLOCK_ZSTD) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "block %" PRIu32 " with unknown codec %u", i,
                       (unsigned)block->codec);
    }
    bool good = block->place == place && block->stored_bytes > 0 && block->plain_bytes > 0 &&
                block->plain_bytes <= HF_SLICE_BLOCK_BYTES &&
                block->stored_bytes <= HF_SLICE_BLOCK_BYTES + HF_AEAD_TAG_BYTES;
    if (block->more) {
        good = good && block->entry_count == 0 && block->plain_bytes == HF_SLICE_BLOCK_BYTES &&
               order == 0 && floor.term == block->last.term && hf_hash_equal(hash, &block->hash);
    } else {
        good = good && block->entry_count > 0 && (!continues || block->entry_count == 1) &&
               order < 0 && floor.term <= block->last.term && !hf_hash_equal(hash, &block->hash);
    }
    if (!good) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: block %" PRIu32 " contradicts the rest", i);
    }
    return HF_ERR_OK;
}

static enum hf_err check_sums(const struct hf_slice_header *header, uint64_t place,
                              struct hf_error *err)
{
    uint64_t entries = 0;
    uint64_t plain = 0;
    for (uint32_t i = 0; i < header->block_count; i++) {
        entries += header->blocks[i].entry_count;
        plain += header->blocks[i].plain_bytes;
    }
    const struct hf_slice_block *last = &header->blocks[header->block_count - 1];
    if (entries != header->entry_count || plain != header->plain_bytes || last->more ||
        !hf_optime_equal(&last->last, &header->last) ||
        !hf_hash_equal(&last->hash, &header->hash_after) || header->index_place != place) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: its blocks do not add up");
    }
    return HF_ERR_OK;
}

static enum hf_err read_blocks(struct hf_reader *reader, struct hf_slice_header *header,
                               struct hf_error *err)
{
    uint64_t place = HF_SLICE_HEAD_BYTES;
    if (hf_reader_left(reader) != (size_t)header->block_count * HF_SLICE_BLOCK_ROW_BYTES +
                                      HF_SLICE_INDEX_ROW_BYTES + HF_HASH_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: its length does not fit its counts");
    }
    header->blocks = hf_alloc_array(header->block_count, sizeof *header->blocks);
    if (header->blocks == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "header of %" PRIu32 " blocks", header->block_count);
    }
    for (uint32_t i = 0; i < header->block_count; i++) {
        read_block_row(reader, &header->blocks[i]);
        if (reader->failed) {
            return hf_fail(err, HF_ERR_CORRUPT, "header: malformed block %" PRIu32, i);
        }
        if (check_block(header, i, place, err) != HF_ERR_OK) {
            return err->code;
        }
        place += header->blocks[i].stored_bytes;
    }
    header->index_place = (uint32_t)hf_reader_le(reader, 4);
    header->index_stored_bytes = (uint32_t)hf_reader_le(reader, 4);
    header->index_plain_bytes = (uint32_t)hf_reader_le(reader, 4);
    header->index_codec = hf_reader_u8(reader);
    bool zero = hf_reader_le(reader, 3) == 0;
    header->index_checksum = hf_reader_le(reader, 8);
    if (header->index_codec > HF_BLOCK_ZSTD) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "index with unknown codec %u",
                       (unsigned)header->index_codec);
    }
    if (!zero || header->index_plain_bytes == 0 || header->index_stored_bytes == 0 ||
        header->index_plain_bytes > HF_SLICE_INDEX_MAX_BYTES ||
        header->index_stored_bytes > HF_SLICE_INDEX_MAX_BYTES + HF_AEAD_TAG_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: its index contradicts itself");
    }
    return check_sums(header, place, err);
}

/* Checks magic, length and checksum of the trailer; *len gets the header's length without it. */
static enum hf_err decode_trailer(struct hf_bytes tail, uint64_t object_bytes, size_t *len,
                                  struct hf_error *err)
{
    if (object_bytes > HF_SLICE_OBJECT_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "a slice of %" PRIu64 " bytes, %zu are allowed",
                       object_bytes, HF_SLICE_OBJECT_MAX_BYTES);
    }
    if (tail.len < HF_SLICE_TRAILER_BYTES || tail.len > object_bytes ||
        memcmp(tail.data + tail.len - MAGIC_BYTES, END_MAGIC, MAGIC_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "the object does not end in a slice's header");
    }
    const uint8_t *trailer = tail.data + tail.len - HF_SLICE_TRAILER_BYTES;
    size_t header_len = hf_load_le32(trailer);
    if (header_len < HF_SLICE_FIXED_BYTES || hf_load_le32(trailer + 4) != 0 ||
        header_len > HF_SLICE_HEADER_MAX_BYTES ||
        header_len + HF_SLICE_TRAILER_BYTES + HF_SLICE_HEAD_BYTES > object_bytes) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "a header of %zu bytes in an object of %" PRIu64 " bytes", header_len,
                       object_bytes);
    }
    *len = header_len;
    return HF_ERR_OK;
}

static enum hf_err decode_header(struct hf_bytes bytes, uint64_t object_bytes,
                                 struct hf_slice_header *header, struct hf_error *err)
{
    struct hf_reader reader = hf_reader_of(bytes);
    if (read_fixed(&reader, header, err) != HF_ERR_OK || check_fixed(header, err) != HF_ERR_OK) {
        return err->code;
    }
    get_text(&reader, header->set_name, sizeof header->set_name);
    get_text(&reader, header->member, sizeof header->member);
    get_text(&reader, header->fcv, sizeof header->fcv);
    if (reader.failed) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: malformed text");
    }
    if (read_terms(&reader, header, err) != HF_ERR_OK ||
        read_blocks(&reader, header, err) != HF_ERR_OK) {
        return err->code;
    }
    if ((uint64_t)header->index_place + header->index_stored_bytes + bytes.len +
            HF_SLICE_TRAILER_BYTES !=
        object_bytes) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: its parts do not fill the object");
    }
    return HF_ERR_OK;
}

static enum hf_err check_mac(struct hf_bytes bytes, const struct hf_keyring *keyring,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = NULL;
    struct hf_hash mac;
    size_t len = bytes.len - HF_HASH_BYTES;
    if (hf_slice_hmac(keyring, HF_SLICE_HEADER_INFO, &hmac, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_hmac_sha256(hmac, hf_bytes_of(bytes.data, len), &mac);
    if (memcmp(mac.bytes, bytes.data + len, HF_HASH_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "header does not verify under the job's key: forged, or of another job");
    }
    return HF_ERR_OK;
}

enum hf_err hf_slice_header_decode(struct hf_bytes tail, uint64_t object_bytes,
                                   const struct hf_keyring *keyring, uint64_t *need,
                                   struct hf_slice_header *out, struct hf_error *err)
{
    size_t len = 0;
    *need = 0;
    if (decode_trailer(tail, object_bytes, &len, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t whole = len + HF_SLICE_TRAILER_BYTES;
    if (tail.len < whole) {
        *need = whole;
        return HF_ERR_OK;
    }
    const uint8_t *start = tail.data + tail.len - whole;
    if (hf_load_le64(start + len + 8) != hf_xxh3(hf_bytes_of(start, len + 8)) ||
        memcmp(start, HEADER_MAGIC, MAGIC_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: checksum does not match");
    }
    HF_CLEANUP(hf_slice_header_fini)
    struct hf_slice_header header = {.object_bytes = object_bytes, .proved = keyring != NULL};
    if (keyring != NULL && check_mac(hf_bytes_of(start, len), keyring, err) != HF_ERR_OK) {
        return err->code;
    }
    if (decode_header(hf_bytes_of(start, len), object_bytes, &header, err) != HF_ERR_OK) {
        return err->code;
    }
    if (keyring != NULL && !hf_id_equal(&header.job, &keyring->job)) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: slice of another job"); /* keeps I9 */
    }
    *out = header;
    header.blocks = NULL;
    return HF_ERR_OK;
}

struct hf_object_name hf_slice_name(const struct hf_slice_header *header)
{
    return (struct hf_object_name){
        .kind = HF_OBJECT_OPLOG,
        .job = header->job,
        .writer = header->writer,
        .round = header->round,
        .first_optime = header->first,
        .last_optime = header->last,
    };
}

enum hf_err hf_slice_check_name(const struct hf_slice_header *header,
                                const struct hf_object_name *name, struct hf_error *err)
{
    struct hf_object_name own = hf_slice_name(header);
    struct hf_object_text text = hf_object_name_text(&own);
    struct hf_object_text wanted = hf_object_name_text(name);
    if (name->kind != HF_OBJECT_OPLOG || strcmp(text.text, wanted.text) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "header: this is %s under another name", text.text);
    }
    return HF_ERR_OK;
}

/* ---- Blocks ---- */

enum hf_err hf_slice_open_block(struct hf_block_coder *coder, const struct hf_slice_header *header,
                                uint32_t i, struct hf_bytes stored, uint8_t *out,
                                struct hf_error *err)
{
    HF_ASSERT(i < header->block_count);
    const struct hf_slice_block *row = &header->blocks[i];
    struct hf_stored_block block = {
        .ordinal = i, .plain_bytes = row->plain_bytes, .codec = row->codec, .stored = stored};
    if (stored.len != row->stored_bytes || hf_xxh3(stored) != row->checksum) {
        return hf_fail(err, HF_ERR_CORRUPT, "block %" PRIu32 ": checksum does not match", i);
    }
    if (hf_block_open(coder, &header->origin, &block, NULL, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "block %" PRIu32, i);
    }
    return HF_ERR_OK;
}

enum hf_err hf_slice_take_entry(struct hf_bytes *left, struct hf_bytes *entry, struct hf_error *err)
{
    size_t len = left->len < 4 ? 0 : hf_load_le32(left->data);
    if (len < HF_SLICE_ENTRY_MIN_BYTES || len > HF_SLICE_ENTRY_MAX_BYTES || len > left->len) {
        return hf_fail(err, HF_ERR_CORRUPT, "an entry of %zu bytes where %zu are left", len,
                       left->len);
    }
    *entry = hf_bytes_of(left->data, len);
    *left = hf_bytes_of(left->data + len, left->len - len);
    return HF_ERR_OK;
}

enum hf_err hf_slice_check_put(struct hf_bytes object, const struct hf_object_name *name,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    uint64_t need = 0;

    enum hf_err code = hf_slice_check_head(object, &name->job, err);
    if (code == HF_ERR_OK) {
        code = hf_slice_header_decode(object, object.len, NULL, &need, &header, err);
    }
    if (code == HF_ERR_OK && need != 0) {
        code = hf_fail(err, HF_ERR_INVALID, "a header of %llu bytes", (unsigned long long)need);
    }
    if (code == HF_ERR_OK) {
        code = hf_slice_check_name(&header, name, err);
    }
    if (code == HF_ERR_CORRUPT) {
        err->code = HF_ERR_INVALID; /* nothing is damaged here: it came so */
    }
    return code == HF_ERR_OK ? code : hf_wrap(err, "%s", hf_object_name_text(name).text);
}
