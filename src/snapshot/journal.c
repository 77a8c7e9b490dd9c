/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of finished nodes.
 *
 * Header: 0 magic "HFjournl", 8 version LE16, 10 zeros (2), 12 job, 24 capture LE64, 32 writer, 44 zero LE32, 48 XXH3.
 * Records: 0 length of the body LE32, 4 XXH3 of the body LE64, 12 body. A body: 0 kind (1 durable pack, 2 node);
 * of a pack: 1 number LE32; of a node: 1 block size LE32, 5 node LE64, 13 count, 14 path (LE16 length, bytes), references.
 *
 * A reader keeps 24 bytes a node in memory and reads the references when they are asked for.
 */
#include "snapshot/journal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "codec/hash.h"
#include "os/fs.h"

#define JOURNAL_MAGIC "HFjournl"
#define JOURNAL_VERSION 1
#define HEADER_BYTES 56
#define RECORD_HEAD_BYTES 12
#define BODY_MAX_BYTES (16 + HF_PATH_MAX_BYTES + HF_NODE_REFS * HF_REF_BYTES)
#define BODY_FIXED_BYTES 14
#define KIND_DURABLE 1
#define KIND_NODE 2
#define CHUNK_BYTES ((size_t)256 << 10)

struct hf_journal_writer {
    struct hf_mutex mutex; /* guards: file, failed */
    struct hf_file *file;  /* owned */
    bool failed;
};

static void encode_header(const struct hf_journal_id *id, uint8_t out[HEADER_BYTES])
{
    memset(out, 0, HEADER_BYTES);
    memcpy(out, JOURNAL_MAGIC, 8);
    hf_store_le16(out + 8, JOURNAL_VERSION);
    memcpy(out + 12, id->job.bytes, HF_ID_BYTES);
    hf_store_le64(out + 24, id->capture);
    memcpy(out + 32, id->writer.bytes, HF_ID_BYTES);
    hf_store_le64(out + 48, hf_xxh3(hf_bytes_of(out, 48)));
}

enum hf_err hf_journal_create(const char *path, const struct hf_journal_id *id,
                              struct hf_journal_writer **out, struct hf_error *err)
{
    struct hf_journal_writer *made = hf_alloc_zero(sizeof *made);
    if (made == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "journal");
    }
    hf_mutex_init(&made->mutex);
    HF_CLEANUP(hf_journal_close) struct hf_journal_writer *journal = made;
    uint8_t header[HEADER_BYTES];
    encode_header(id, header);
    if (hf_fs_remove_scratch(path, err) != HF_ERR_OK ||
        hf_file_open(path, HF_OPEN_APPEND, 0600, &journal->file, err) != HF_ERR_OK ||
        hf_file_append(journal->file, hf_bytes_of(header, sizeof header), err) != HF_ERR_OK) {
        return hf_wrap(err, "journal");
    }
    *out = HF_TAKE(journal);
    return HF_ERR_OK;
}

void hf_journal_close(struct hf_journal_writer *journal)
{
    if (journal == NULL) {
        return;
    }
    hf_file_drop(journal->file);
    hf_mutex_fini(&journal->mutex);
    hf_free(journal);
}

/* record: room for the head, then the body. */
static void append_record(struct hf_journal_writer *journal, uint8_t *record, size_t body_len)
{
    struct hf_error ignored;
    hf_store_le32(record, (uint32_t)body_len);
    hf_store_le64(record + 4, hf_xxh3(hf_bytes_of(record + RECORD_HEAD_BYTES, body_len)));
    HF_LOCKED(&journal->mutex);
    if (!journal->failed &&
        hf_file_append(journal->file, hf_bytes_of(record, RECORD_HEAD_BYTES + body_len),
                       &ignored) != HF_ERR_OK) {
        journal->failed = true; /* a torn record ends it for every reader */
    }
}

void hf_journal_note_node(struct hf_journal_writer *journal, const struct hf_journal_place *place,
                          const struct hf_node *node)
{
    uint8_t record[RECORD_HEAD_BYTES + BODY_MAX_BYTES];
    uint8_t *body = record + RECORD_HEAD_BYTES;
    if (journal == NULL) {
        return;
    }
    body[0] = KIND_NODE;
    hf_store_le32(body + 1, place->block_bytes);
    hf_store_le64(body + 5, place->node);
    body[13] = node->count;
    hf_store_le16(body + BODY_FIXED_BYTES, (uint16_t)place->path.len);
    size_t len = BODY_FIXED_BYTES + 2;
    memcpy(body + len, place->path.data, place->path.len);
    len += place->path.len;
    for (unsigned i = 0; i < node->count; i++) {
        hf_ref_encode(&node->refs[i], body + len);
        len += HF_REF_BYTES;
    }
    append_record(journal, record, len);
}

void hf_journal_note_durable(struct hf_journal_writer *journal, uint32_t pack)
{
    uint8_t record[RECORD_HEAD_BYTES + 5];
    if (journal == NULL) {
        return;
    }
    record[RECORD_HEAD_BYTES] = KIND_DURABLE;
    hf_store_le32(record + RECORD_HEAD_BYTES + 1, pack);
    append_record(journal, record, 5);
}

/* ---- reading ---- */

struct indexed_node {
    uint64_t key; /* of path, block size and node */
    uint64_t at;  /* of the body in the file */
    uint32_t len;
};

struct hf_journal_reader {
    struct hf_file *file; /* owned */
    uint64_t capture;
    uint8_t *durable; /* owned; a bit a pack */
    size_t durable_bytes;
    struct indexed_node *nodes; /* owned; ascending by key, then place */
    size_t count, capacity;
};

void hf_journal_drop(struct hf_journal_reader *journal)
{
    if (journal == NULL) {
        return;
    }
    hf_file_drop(journal->file);
    hf_free(journal->durable);
    hf_free(journal->nodes);
    hf_free(journal);
}

static uint64_t place_key(struct hf_str path, uint32_t block_bytes, uint64_t node)
{
    uint8_t tail[20];
    hf_store_le64(tail, hf_xxh3(hf_bytes_of_str(path)));
    hf_store_le32(tail + 8, block_bytes);
    hf_store_le64(tail + 12, node);
    return hf_xxh3(hf_bytes_of(tail, sizeof tail));
}

static enum hf_err index_durable(struct hf_journal_reader *journal, struct hf_bytes body,
                                 struct hf_error *err)
{
    uint32_t pack = hf_load_le32(body.data + 1);
    size_t byte = pack / 8;
    if (pack > HF_PACK_MAX) {
        return HF_ERR_OK;
    }
    if (byte >= journal->durable_bytes) {
        size_t wanted = (byte + 1) * 2 + 64;
        uint8_t *grown = hf_realloc_array(journal->durable, wanted, 1);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "journal");
        }
        memset(grown + journal->durable_bytes, 0, wanted - journal->durable_bytes);
        journal->durable = grown;
        journal->durable_bytes = wanted;
    }
    journal->durable[byte] = (uint8_t)(journal->durable[byte] | 1u << pack % 8);
    return HF_ERR_OK;
}

/* The parts of a node's body; false when it is not one. */
static bool parse_node(struct hf_bytes body, struct hf_journal_place *place, unsigned *count,
                       const uint8_t **refs)
{
    if (body.len < BODY_FIXED_BYTES + 2 || body.data[0] != KIND_NODE) {
        return false;
    }
    *count = body.data[13];
    size_t path_len = hf_load_le16(body.data + BODY_FIXED_BYTES);
    place->block_bytes = hf_load_le32(body.data + 1);
    place->node = hf_load_le64(body.data + 5);
    place->path =
        (struct hf_str){.data = (const char *)body.data + BODY_FIXED_BYTES + 2, .len = path_len};
    *refs = body.data + BODY_FIXED_BYTES + 2 + path_len;
    return *count >= 1 && *count <= HF_NODE_REFS &&
           body.len == BODY_FIXED_BYTES + 2 + path_len + (size_t)*count * HF_REF_BYTES;
}

static enum hf_err index_node(struct hf_journal_reader *journal, struct hf_bytes body, uint64_t at,
                              struct hf_error *err)
{
    struct hf_journal_place place;
    unsigned count = 0;
    const uint8_t *refs = NULL;
    if (!parse_node(body, &place, &count, &refs)) {
        return HF_ERR_OK;
    }
    if (journal->count == journal->capacity) {
        size_t wanted = journal->capacity == 0 ? 256 : journal->capacity * 2;
        struct indexed_node *grown =
            hf_realloc_array(journal->nodes, wanted, sizeof *journal->nodes);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "journal of %zu nodes", wanted);
        }
        journal->nodes = grown;
        journal->capacity = wanted;
    }
    journal->nodes[journal->count++] = (struct indexed_node){
        .key = place_key(place.path, place.block_bytes, place.node),
        .at = at,
        .len = (uint32_t)body.len,
    };
    return HF_ERR_OK;
}

static int by_key(const void *left, const void *right)
{
    const struct indexed_node *a = left;
    const struct indexed_node *b = right;
    if (a->key != b->key) {
        return a->key < b->key ? -1 : 1;
    }
    return a->at < b->at ? -1 : a->at > b->at;
}

/* Indexes the records in a piece that begins at `at`; *used is where the first one that is not whole begins, *torn is
 * set where nothing after it can be believed. */
static enum hf_err index_piece(struct hf_journal_reader *journal, struct hf_bytes piece,
                               uint64_t at, size_t *used, bool *torn, struct hf_error *err)
{
    size_t done = 0;
    while (piece.len - done >= RECORD_HEAD_BYTES) {
        const uint8_t *record = piece.data + done;
        size_t len = hf_load_le32(record);
        if (len == 0 || len > BODY_MAX_BYTES) {
            *torn = true;
            break;
        }
        if (piece.len - done - RECORD_HEAD_BYTES < len) {
            break;
        }
        struct hf_bytes body = hf_bytes_of(record + RECORD_HEAD_BYTES, len);
        if (hf_load_le64(record + 4) != hf_xxh3(body)) {
            *torn = true;
            break;
        }
        enum hf_err code = HF_ERR_OK;
        if (body.data[0] == KIND_DURABLE && body.len == 5) {
            code = index_durable(journal, body, err);
        } else if (body.data[0] == KIND_NODE) {
            code = index_node(journal, body, at + done + RECORD_HEAD_BYTES, err);
        }
        if (code != HF_ERR_OK) {
            return code;
        }
        done += RECORD_HEAD_BYTES + len;
    }
    *used = done;
    return HF_ERR_OK;
}

static enum hf_err index_all(struct hf_journal_reader *journal, struct hf_error *err)
{
    HF_CLEANUP(hf_free) uint8_t *chunk = hf_alloc(CHUNK_BYTES);
    if (chunk == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "journal");
    }
    uint64_t at = HEADER_BYTES;
    for (;;) {
        size_t got = 0;
        size_t used = 0;
        bool torn = false;
        if (hf_file_read_at(journal->file, at, chunk, CHUNK_BYTES, &got, err) != HF_ERR_OK ||
            index_piece(journal, hf_bytes_of(chunk, got), at, &used, &torn, err) != HF_ERR_OK) {
            return err->code;
        }
        if (used == 0 || torn) {
            break;
        }
        at += used;
    }
    if (journal->count > 0) {
        qsort(journal->nodes, journal->count, sizeof *journal->nodes, by_key);
    }
    return HF_ERR_OK;
}

enum hf_err hf_journal_open(const char *path, const struct hf_journal_id *id,
                            struct hf_journal_reader **out, struct hf_error *err)
{
    HF_CLEANUP(hf_journal_drop)
    struct hf_journal_reader *journal = hf_alloc_zero(sizeof *journal);
    uint8_t wanted[HEADER_BYTES];
    uint8_t found[HEADER_BYTES];
    size_t got = 0;
    if (journal == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "journal");
    }
    journal->capture = id->capture;
    encode_header(id, wanted);
    if (hf_file_open(path, HF_OPEN_READ, 0, &journal->file, err) != HF_ERR_OK ||
        hf_file_read_at(journal->file, 0, found, sizeof found, &got, err) != HF_ERR_OK) {
        return hf_wrap(err, "journal");
    }
    if (got != sizeof found || memcmp(found, wanted, sizeof found) != 0) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "journal %s is not of attempt %" PRIu64, path,
                       id->capture);
    }
    if (index_all(journal, err) != HF_ERR_OK) {
        return hf_wrap(err, "journal");
    }
    *out = HF_TAKE(journal);
    return HF_ERR_OK;
}

static bool is_durable(const struct hf_journal_reader *journal, uint32_t pack)
{
    size_t byte = pack / 8;
    return byte < journal->durable_bytes && (journal->durable[byte] >> pack % 8 & 1) != 0;
}

/* Fills out from one record when it is of that place. */
static enum hf_err read_node(struct hf_journal_reader *journal, const struct indexed_node *indexed,
                             const struct hf_journal_place *place, struct hf_node *out, bool *there,
                             struct hf_error *err)
{
    uint8_t body[BODY_MAX_BYTES];
    size_t got = 0;
    if (hf_file_read_at(journal->file, indexed->at, body, indexed->len, &got, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_journal_place found;
    unsigned count = 0;
    const uint8_t *refs = NULL;
    if (got != indexed->len || !parse_node(hf_bytes_of(body, got), &found, &count, &refs) ||
        !hf_str_equal(found.path, place->path) || found.node != place->node ||
        found.block_bytes != place->block_bytes) {
        return HF_ERR_OK;
    }
    out->level = 1;
    out->count = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        struct hf_error ignored;
        /* keeps I5: only what that attempt itself wrote, and only what is durable */
        if (hf_ref_decode(refs + (size_t)i * HF_REF_BYTES, &out->refs[i], &ignored) != HF_ERR_OK ||
            out->refs[i].address.capture != journal->capture ||
            !is_durable(journal, out->refs[i].address.pack)) {
            memset(&out->refs[i], 0, sizeof out->refs[i]);
        }
    }
    *there = true;
    return HF_ERR_OK;
}

enum hf_err hf_journal_find(struct hf_journal_reader *journal, const struct hf_journal_place *place,
                            struct hf_node *out, bool *there, struct hf_error *err)
{
    uint64_t key = place_key(place->path, place->block_bytes, place->node);
    size_t low = 0;
    size_t high = journal->count;
    *there = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (journal->nodes[middle].key < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < journal->count && journal->nodes[low].key == key && !*there; low++) {
        if (read_node(journal, &journal->nodes[low], place, out, there, err) != HF_ERR_OK) {
            return hf_wrap(err, "journal");
        }
    }
    return HF_ERR_OK;
}
