/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit of reading is a block, or all blocks of one large entry. A unit is proved whole before any entry of it is
 * handed out.
 */
#include "oplog/slice_reader.h"

#include <inttypes.h>

#include "base/alloc.h"

struct hf_slice_reader {
    struct hf_store *store;           /* borrowed: outlives us */
    const struct hf_keyring *keyring; /* borrowed: outlives us */
    struct hf_block_coder *coder;     /* owned */
    struct hf_chain_hasher *hasher;   /* owned */
    uint8_t *stored;                  /* owned: one stored block */
    struct hf_buf plain;              /* owned: the unit */
    bool is_open;
    struct hf_object_name name;
    struct hf_slice_header header;
    uint32_t next_block;      /* first block behind the unit */
    struct hf_hash unit_hash; /* before the unit's first entry */
    size_t at;                /* bytes of the unit that were handed out */
};

static enum hf_err need_more(struct hf_store *store, struct hf_str text, uint64_t need,
                             struct hf_buf *tail, uint64_t *size, struct hf_error *err)
{
    if (need > HF_SLICE_OBJECT_MAX_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "%.*s: a header of %" PRIu64 " bytes", HF_STR_ARG(text),
                       need);
    }
    return hf_store_get_tail(store, text, (size_t)need, tail, size, err);
}

enum hf_err hf_slice_fetch_header(struct hf_store *store, const struct hf_object_name *name,
                                  const struct hf_keyring *keyring, struct hf_slice_header *out,
                                  struct hf_error *err)
{
    struct hf_object_text text = hf_object_name_text(name);
    struct hf_str key = hf_str_of(text.text);
    HF_CLEANUP(hf_buf_fini) struct hf_buf tail = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    uint64_t size = 0;
    uint64_t need = 0;
    if (hf_store_get_tail(store, key, HF_SLICE_GUESS_BYTES, &tail, &size, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_slice_header_decode(hf_buf_bytes(&tail), size, keyring, &need, &header, err) !=
        HF_ERR_OK) {
        return hf_wrap(err, "%s", text.text);
    }
    if (need > 0) {
        if (need_more(store, key, need, &tail, &size, err) != HF_ERR_OK) {
            return err->code;
        }
        if (hf_slice_header_decode(hf_buf_bytes(&tail), size, keyring, &need, &header, err) !=
            HF_ERR_OK) {
            return hf_wrap(err, "%s", text.text);
        }
        if (need > 0) {
            return hf_fail(err, HF_ERR_CORRUPT, "%s: its header is cut off", text.text);
        }
    }
    if (hf_slice_check_name(&header, name, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", text.text);
    }
    *out = header;
    header.blocks = NULL;
    return HF_ERR_OK;
}

enum hf_err hf_slice_reader_create(struct hf_store *store, const struct hf_keyring *keyring,
                                   struct hf_slice_reader **out, struct hf_error *err)
{
    HF_CLEANUP(hf_slice_reader_destroy)
    struct hf_slice_reader *reader = hf_alloc_zero(sizeof *reader);
    struct hf_block_coder_options options = {.keyring = keyring};
    if (reader == NULL ||
        (reader->stored = hf_alloc(HF_SLICE_BLOCK_BYTES + HF_AEAD_TAG_BYTES)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "prepare to read oplog slices");
    }
    reader->store = store;
    reader->keyring = keyring;
    /* The last part of an entry is decrypted before its length is known to be too much. */
    hf_buf_init(&reader->plain, HF_SLICE_ENTRY_MAX_BYTES + HF_SLICE_BLOCK_BYTES);
    if (hf_block_coder_create(&options, &reader->coder, err) != HF_ERR_OK ||
        hf_chain_hasher_create(keyring, &reader->hasher, err) != HF_ERR_OK) {
        return hf_wrap(err, "prepare to read oplog slices");
    }
    *out = HF_TAKE(reader);
    return HF_ERR_OK;
}

void hf_slice_reader_destroy(struct hf_slice_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    hf_block_coder_destroy(reader->coder);
    hf_chain_hasher_destroy(reader->hasher);
    hf_slice_header_fini(&reader->header);
    hf_buf_fini(&reader->plain);
    hf_free(reader->stored);
    hf_free(reader);
}

/* Stands before that block. */
static void stand_before(struct hf_slice_reader *reader, uint32_t block)
{
    reader->next_block = block;
    reader->unit_hash =
        block == 0 ? reader->header.hash_before : reader->header.blocks[block - 1].hash;
    reader->at = 0;
    hf_buf_clear(&reader->plain);
}

static bool same_name(const struct hf_object_name *a, const struct hf_object_name *b)
{
    return hf_id_equal(&a->job, &b->job) && hf_id_equal(&a->writer, &b->writer) &&
           a->round == b->round && hf_optime_equal(&a->first_optime, &b->first_optime) &&
           hf_optime_equal(&a->last_optime, &b->last_optime);
}

enum hf_err hf_slice_reader_open(struct hf_slice_reader *reader, const struct hf_object_name *name,
                                 struct hf_error *err)
{
    if (!reader->is_open || !same_name(&reader->name, name)) {
        struct hf_slice_header header = {.blocks = NULL};
        if (hf_slice_fetch_header(reader->store, name, reader->keyring, &header, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        hf_slice_header_fini(&reader->header);
        reader->header = header;
        reader->name = *name;
        reader->is_open = true;
    }
    stand_before(reader, 0);
    return HF_ERR_OK;
}

enum hf_err hf_slice_reader_open_anew(struct hf_slice_reader *reader,
                                      const struct hf_object_name *name, struct hf_error *err)
{
    struct hf_object_text text = hf_object_name_text(name);
    uint8_t head[HF_SLICE_HEAD_BYTES];
    reader->is_open = false;
    if (hf_store_get_range(reader->store, hf_str_of(text.text), 0, head, sizeof head, err) !=
            HF_ERR_OK ||
        hf_slice_reader_open(reader, name, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_slice_check_head(hf_bytes_of(head, sizeof head), &name->job, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", text.text);
    }
    return HF_ERR_OK;
}

const struct hf_slice_header *hf_slice_reader_header(const struct hf_slice_reader *reader)
{
    HF_ASSERT(reader->is_open);
    return &reader->header;
}

enum hf_err hf_slice_reader_index(struct hf_slice_reader *reader, struct hf_slice_index *out,
                                  struct hf_error *err)
{
    struct hf_object_text text = hf_object_name_text(&reader->name);
    HF_CLEANUP(hf_free) uint8_t *stored = hf_alloc(reader->header.index_stored_bytes);
    if (stored == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: index", text.text);
    }
    if (hf_store_get_range(reader->store, hf_str_of(text.text), reader->header.index_place, stored,
                           reader->header.index_stored_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_slice_open_index(reader->coder, &reader->header,
                            hf_bytes_of(stored, reader->header.index_stored_bytes), out,
                            err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", text.text);
    }
    return HF_ERR_OK;
}

static enum hf_err append_block(struct hf_slice_reader *reader, uint32_t i, struct hf_error *err)
{
    struct hf_object_text text = hf_object_name_text(&reader->name);
    const struct hf_slice_block *block = &reader->header.blocks[i];
    if (hf_store_get_range(reader->store, hf_str_of(text.text), block->place, reader->stored,
                           block->stored_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_buf_reserve(&reader->plain, block->plain_bytes, err) != HF_ERR_OK ||
        hf_slice_open_block(reader->coder, &reader->header, i,
                            hf_bytes_of(reader->stored, block->stored_bytes),
                            reader->plain.data + reader->plain.len, err) != HF_ERR_OK) {
        if (err->code == HF_ERR_LIMIT) {
            err->code = HF_ERR_CORRUPT; /* an entry that nobody could have written */
        }
        return hf_wrap(err, "%s", text.text);
    }
    reader->plain.len += block->plain_bytes;
    return HF_ERR_OK;
}

/* Order, count, last optime and running hash of the unit whose last block is `block`. */
static enum hf_err prove_unit(struct hf_slice_reader *reader, const struct hf_slice_block *block,
                              const struct hf_optime *before, struct hf_error *err)
{
    struct hf_bytes left = hf_buf_bytes(&reader->plain);
    struct hf_hash hash = reader->unit_hash;
    struct hf_optime last = *before;
    uint32_t count = 0;
    while (left.len > 0) {
        struct hf_bytes bytes;
        struct hf_oplog_entry entry;
        if (hf_slice_take_entry(&left, &bytes, err) != HF_ERR_OK ||
            hf_oplog_entry_read(bytes, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
        /* A set's very first entry has no term. */
        if (hf_optime_compare_ts(&last, &entry.optime) >= 0 ||
            (!hf_optime_is_none(&last) && entry.optime.term < last.term)) {
            return hf_fail(err, HF_ERR_CORRUPT, "entry %s behind %s",
                           hf_optime_text(&entry.optime).text, hf_optime_text(&last).text);
        }
        hf_chain_hash(reader->hasher, &hash, bytes);
        last = entry.optime;
        count++;
    }
    if (count != block->entry_count || !hf_optime_equal(&last, &block->last)) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "%" PRIu32 " entries up to %s where the header says %" PRIu32 " up to %s",
                       count, hf_optime_text(&last).text, block->entry_count,
                       hf_optime_text(&block->last).text);
    }
    if (!hf_hash_equal(&hash, &block->hash)) {
        return hf_fail(err, HF_ERR_CORRUPT, "entries up to %s do not match the running hash",
                       hf_optime_text(&last).text);
    }
    return HF_ERR_OK;
}

static enum hf_err check_first(struct hf_slice_reader *reader, struct hf_error *err)
{
    struct hf_bytes left = hf_buf_bytes(&reader->plain);
    struct hf_bytes bytes;
    struct hf_oplog_entry entry;
    if (hf_slice_take_entry(&left, &bytes, err) != HF_ERR_OK ||
        hf_oplog_entry_read(bytes, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_optime_equal(&entry.optime, &reader->header.first)) {
        return hf_fail(err, HF_ERR_CORRUPT, "begins with %s where the header says %s",
                       hf_optime_text(&entry.optime).text,
                       hf_optime_text(&reader->header.first).text);
    }
    return HF_ERR_OK;
}

/* Loads the unit that begins at next_block. */
static enum hf_err load_unit(struct hf_slice_reader *reader, struct hf_error *err)
{
    uint32_t first = reader->next_block;
    uint32_t i = first;
    const struct hf_slice_header *header = &reader->header;
    struct hf_optime before = first == 0 ? header->previous : header->blocks[first - 1].last;
    stand_before(reader, first);
    for (;; i++) {
        HF_ASSERT(i < header->block_count);
        if (append_block(reader, i, err) != HF_ERR_OK) {
            hf_buf_clear(&reader->plain);
            return err->code;
        }
        if (!header->blocks[i].more) {
            break;
        }
    }
    if (prove_unit(reader, &header->blocks[i], &before, err) != HF_ERR_OK ||
        (first == 0 && check_first(reader, err) != HF_ERR_OK)) {
        hf_buf_clear(&reader->plain);
        return hf_wrap(err, "%s: block %" PRIu32, hf_object_name_text(&reader->name).text, i);
    }
    reader->next_block = i + 1;
    return HF_ERR_OK;
}

/* The next entry of the unit without moving on; false at the unit's end. */
static bool peek(struct hf_slice_reader *reader, struct hf_oplog_entry *out)
{
    struct hf_error err;
    struct hf_bytes bytes;
    if (reader->at == reader->plain.len) {
        return false;
    }
    struct hf_bytes left =
        hf_bytes_of(reader->plain.data + reader->at, reader->plain.len - reader->at);
    /* It was read once when the unit was proved. */
    HF_ASSERT(hf_slice_take_entry(&left, &bytes, &err) == HF_ERR_OK &&
              hf_oplog_entry_read(bytes, out, &err) == HF_ERR_OK);
    return true;
}

enum hf_err hf_slice_reader_seek(struct hf_slice_reader *reader, const struct hf_optime *after,
                                 struct hf_error *err)
{
    const struct hf_slice_header *header = &reader->header;
    struct hf_oplog_entry entry;
    uint32_t block = 0;
    HF_ASSERT(reader->is_open);
    while (block < header->block_count &&
           (header->blocks[block].more ||
            hf_optime_compare_ts(&header->blocks[block].last, after) <= 0)) {
        block++;
    }
    /* Back to the first part of a large entry. */
    while (block > 0 && header->blocks[block - 1].more) {
        block--;
    }
    stand_before(reader, block);
    for (;;) {
        if (peek(reader, &entry)) {
            if (hf_optime_compare_ts(&entry.optime, after) > 0) {
                return HF_ERR_OK;
            }
            reader->at += entry.bytes.len;
        } else if (reader->next_block == header->block_count) {
            return HF_ERR_OK;
        } else if (load_unit(reader, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

enum hf_err hf_slice_reader_next(struct hf_slice_reader *reader, struct hf_oplog_entry *out,
                                 bool *more, struct hf_error *err)
{
    HF_ASSERT(reader->is_open);
    *more = false;
    while (!peek(reader, out)) {
        if (reader->next_block == reader->header.block_count) {
            return HF_ERR_OK;
        }
        if (load_unit(reader, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    reader->at += out->bytes.len;
    *more = true;
    return HF_ERR_OK;
}

void hf_slice_reader_hash(struct hf_slice_reader *reader, struct hf_hash *out)
{
    struct hf_error err;
    struct hf_bytes left = hf_bytes_of(reader->plain.data, reader->at);
    *out = reader->unit_hash;
    while (left.len > 0) {
        struct hf_bytes bytes;
        HF_ASSERT(hf_slice_take_entry(&left, &bytes, &err) == HF_ERR_OK);
        hf_chain_hash(reader->hasher, out, bytes);
    }
}
