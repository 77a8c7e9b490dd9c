/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Oplog slices: a stretch of one job's oplog as an object (store-format.md section 6; docs/format/oplog-slice.md).
 *
 * An entry is opaque but for its length in its first four bytes; its optime and what the index counts are handed in.
 * Knows neither stores nor what a restorable range is.
 */
#ifndef HF_FORMAT_SLICE_H
#define HF_FORMAT_SLICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"
#include "format/block.h"
#include "format/ids.h"
#include "format/keyring.h"
#include "format/manifest.h"

#define HF_SLICE_ENTRY_MIN_BYTES ((size_t)5)
#define HF_SLICE_ENTRY_MAX_BYTES (((size_t)16 << 20) + ((size_t)16 << 10))
#define HF_SLICE_BLOCK_BYTES ((uint32_t)256 << 10) /* plain; a larger entry lies in several */
#define HF_SLICE_BLOCKS_MAX ((uint32_t)4096)
#define HF_SLICE_PLAIN_MAX_BYTES ((uint64_t)256 << 20)
#define HF_SLICE_STORED_MAX_BYTES ((uint64_t)44 << 20) /* of the blocks */
#define HF_SLICE_OBJECT_MAX_BYTES ((size_t)48 << 20)
#define HF_SLICE_TERMS_MAX ((uint32_t)64)
#define HF_SLICE_NAMESPACES_MAX ((uint32_t)1000) /* beyond: counted as others */
#define HF_SLICE_NAMESPACE_MAX_BYTES ((size_t)255)
#define HF_SLICE_MINUTES_MAX ((uint32_t)1440)
#define HF_SLICE_ROWS_MAX ((uint32_t)32768)
/* What a reader asks for first: the header of a slice of 8 MiB nearly always. */
#define HF_SLICE_GUESS_BYTES ((size_t)16 << 10)

/* Why a chain begins where it does; the same word says why the one before ended. */
#define HF_CHAIN_CAUSE_TABLE(X)                                                                    \
    X(NONE, "none", "the slice goes on where its predecessor ended")                               \
    X(FIRST, "first", "the job's first slice")                                                     \
    X(ROLLED_OVER, "rolledOver", "the source's oplog no longer held the entry to go on from")      \
    X(ROLLBACK, "rollback", "the source rolled back entries that had been stored")                 \
    X(FCV_CHANGED, "fcvChanged", "the feature compatibility version changed")                      \
    X(RECREATED, "recreated", "the source's oplog was made anew or emptied")                       \
    X(RESTORED, "restored", "the set was itself restored")                                         \
    X(TOPOLOGY, "topology", "the cluster's members or shards changed")                             \
    X(STORE_CHANGED, "storeChanged", "the job's oplog store was changed")                          \
    X(STORE_LOST, "storeLost", "the oplog store no longer held the slice to go on from")           \
    X(RESUMED, "resumed", "the job had been stopped")

enum hf_chain_cause {
#define HF_CHAIN_CAUSE_ENUM(name, word, what) HF_CHAIN_##name,
    HF_CHAIN_CAUSE_TABLE(HF_CHAIN_CAUSE_ENUM)
#undef HF_CHAIN_CAUSE_ENUM
        HF_CHAIN_CAUSE_COUNT
};
const char *hf_chain_cause_word(enum hf_chain_cause cause);
const char *hf_chain_cause_text(enum hf_chain_cause cause);

/* False for a word that is none. */
bool hf_chain_cause_parse(const char *word, enum hf_chain_cause *out);

/* A place in a chain: behind `previous`, or (previous none) at the start of one. */
struct hf_chain_point {
    struct hf_optime previous;
    struct hf_hash hash;           /* after it; zero at a start */
    uint64_t sequence;             /* entries of the chain up to and with it */
    enum hf_chain_cause cause;     /* of a start; NONE behind a previous */
    struct hf_optime broken_after; /* of a start: the last entry of the chain before, or none */
};
/* INVALID: what is neither a start nor a place. */
HF_MUST_CHECK enum hf_err hf_chain_point_check(const struct hf_chain_point *point,
                                               struct hf_error *err);

/* "1795450667.68/1": seconds, increment, term, for messages. */
struct hf_optime_text {
    char text[56];
};
struct hf_optime_text hf_optime_text(const struct hf_optime *optime);
bool hf_optime_equal(const struct hf_optime *a, const struct hf_optime *b);
/* By seconds and increment alone: the order of the oplog. */
int hf_optime_compare_ts(const struct hf_optime *a, const struct hf_optime *b);

/* ---- The running hash ---- */

/* One thread at a time. */
struct hf_chain_hasher;
HF_MUST_CHECK enum hf_err hf_chain_hasher_create(const struct hf_keyring *keyring,
                                                 struct hf_chain_hasher **out,
                                                 struct hf_error *err);
void hf_chain_hasher_destroy(struct hf_chain_hasher *hasher);
HF_CLEANUP_DEFINE(hf_chain_hasher_destroy, struct hf_chain_hasher *)
/* *hash, the value before the entry (all zero at a chain's start), becomes the value after it. */
void hf_chain_hash(struct hf_chain_hasher *hasher, struct hf_hash *hash, struct hf_bytes entry);

/* ---- Header ---- */

struct hf_slice_term {
    int64_t term;
    uint32_t seconds, increment; /* of the first entry of this slice under it */
};

struct hf_slice_block {
    uint32_t place, stored_bytes, plain_bytes;
    uint32_t entry_count; /* entries that end here; 0 with `more` */
    uint8_t codec;
    bool more;             /* all of it is a part of one entry, which goes on in the next block */
    uint64_t checksum;     /* XXH3 of the stored bytes */
    struct hf_optime last; /* of the last entry that ended here or before */
    struct hf_hash hash;   /* running, after that entry */
};

struct hf_slice_header {
    struct hf_id job;
    struct hf_id writer;
    uint32_t round;
    struct hf_optime first, last;
    struct hf_optime previous; /* the predecessor's last; none: the chain begins here */
    enum hf_chain_cause cause; /* NONE exactly when there is a predecessor */
    struct hf_optime
        broken_after;  /* last entry of the chain that had to end; none if there was none */
    uint64_t sequence; /* entries of the chain before this slice */
    uint32_t entry_count, noop_count;
    uint64_t plain_bytes;
    struct hf_hash hash_before, hash_after;
    char set_name[HF_NAME_BYTES];
    char member[HF_NAME_BYTES];   /* host:port that was tailed */
    char fcv[HF_WORD_BYTES];      /* empty: not known */
    struct hf_pack_origin origin; /* capture and pack are 0 */
    struct hf_slice_term terms[HF_SLICE_TERMS_MAX];
    uint32_t term_count;
    struct hf_slice_block *blocks; /* owned */
    uint32_t block_count;
    uint32_t index_place, index_stored_bytes, index_plain_bytes;
    uint8_t index_codec;
    uint64_t index_checksum;
    uint64_t object_bytes;
    bool proved; /* its HMAC was checked; else only the checksum */
};
void hf_slice_header_fini(struct hf_slice_header *header);
HF_CLEANUP_DEFINE_VALUE(hf_slice_header_fini, struct hf_slice_header)

/* The name that the header says. */
struct hf_object_name hf_slice_name(const struct hf_slice_header *header);
/* CORRUPT when the object lies under another name than the header says (keeps I9). */
HF_MUST_CHECK enum hf_err hf_slice_check_name(const struct hf_slice_header *header,
                                              const struct hf_object_name *name,
                                              struct hf_error *err);

/*
 * tail: the last bytes of an object of object_bytes. When they hold less than the header, *need says how many bytes are
 * needed and the code is OK with out untouched; else *need is 0. keyring NULL: the HMAC is not checked. CORRUPT,
 * UNSUPPORTED (version, cipher, cause).
 */
HF_MUST_CHECK enum hf_err hf_slice_header_decode(struct hf_bytes tail, uint64_t object_bytes,
                                                 const struct hf_keyring *keyring, uint64_t *need,
                                                 struct hf_slice_header *out, struct hf_error *err);
/* The object's first bytes: magic, version, job. */
#define HF_SLICE_HEAD_BYTES 32
HF_MUST_CHECK enum hf_err hf_slice_check_head(struct hf_bytes object, const struct hf_id *job,
                                              struct hf_error *err);

/*
 * An object that an agent brings: head, header and name belong together. INVALID, and nothing is read with a key: its
 * HMAC and its blocks are for whoever takes it into a chain.
 */
HF_MUST_CHECK enum hf_err
hf_slice_check_put(struct hf_bytes object, const struct hf_object_name *name, struct hf_error *err);

/* Stored bytes of block i to plain ones; out holds plain_bytes. CORRUPT, DENIED. */
HF_MUST_CHECK enum hf_err hf_slice_open_block(struct hf_block_coder *coder,
                                              const struct hf_slice_header *header, uint32_t i,
                                              struct hf_bytes stored, uint8_t *out,
                                              struct hf_error *err);
/* The next entry of a block's plain bytes, which *left loses. CORRUPT when its length does not fit. */
HF_MUST_CHECK enum hf_err hf_slice_take_entry(struct hf_bytes *left, struct hf_bytes *entry,
                                              struct hf_error *err);

/* ---- Index ---- */

/* Kinds of operations that are counted; the values are stored. */
enum hf_oplog_kind {
    HF_OPLOG_INSERT = 1,
    HF_OPLOG_UPDATE = 2,
    HF_OPLOG_DELETE = 3,
    HF_OPLOG_COMMAND = 4,
    HF_OPLOG_NOOP = 5,
    HF_OPLOG_OTHER = 6,
};
#define HF_OPLOG_KIND_MAX 6

struct hf_slice_count {
    uint32_t minute; /* seconds of the timestamp / 60 */
    uint16_t space;  /* 0: others; n: namespaces[n - 1] */
    uint8_t kind;    /* enum hf_oplog_kind */
    uint32_t operations;
};

struct hf_slice_index {
    struct hf_str *namespaces; /* owned array; the text is borrowed from `text` */
    uint32_t namespace_count;
    uint8_t *text;    /* owned */
    uint8_t *touched; /* owned: block_count rows of hf_slice_row_bytes; bit n: block has space n */
    uint32_t block_count;
    struct hf_slice_count *counts; /* owned; ascending by minute, space, kind */
    uint32_t count_count;
};
void hf_slice_index_fini(struct hf_slice_index *index);
HF_CLEANUP_DEFINE_VALUE(hf_slice_index_fini, struct hf_slice_index)
static inline size_t hf_slice_row_bytes(uint32_t namespace_count)
{
    return ((size_t)namespace_count + 1 + 7) / 8;
}
/* 0 (others) when the slice has no such name of its own. */
uint32_t hf_slice_index_space(const struct hf_slice_index *index, struct hf_str ns);
/* False only when the block certainly has no operation on that namespace. */
bool hf_slice_index_may_have(const struct hf_slice_index *index, uint32_t block, struct hf_str ns);
HF_MUST_CHECK enum hf_err hf_slice_index_encode(const struct hf_slice_index *index,
                                                struct hf_buf *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_slice_index_decode(struct hf_bytes in, struct hf_slice_index *out,
                                                struct hf_error *err);
/* From the stored bytes at header->index_place. */
HF_MUST_CHECK enum hf_err hf_slice_open_index(struct hf_block_coder *coder,
                                              const struct hf_slice_header *header,
                                              struct hf_bytes stored, struct hf_slice_index *out,
                                              struct hf_error *err);

/* ---- Writer ---- */

struct hf_slice_writer;
HF_MUST_CHECK enum hf_err hf_slice_writer_create(const struct hf_keyring *keyring,
                                                 struct hf_slice_writer **out,
                                                 struct hf_error *err);
void hf_slice_writer_destroy(struct hf_slice_writer *writer);
HF_CLEANUP_DEFINE(hf_slice_writer_destroy, struct hf_slice_writer *)
/* Empties the writer. salt: fresh random bytes, never used before. */
void hf_slice_writer_begin(struct hf_slice_writer *writer, const struct hf_hash *hash_before,
                           const uint8_t salt[HF_PACK_SALT_BYTES]);
/* Where an entry came to lie. */
struct hf_slice_spot {
    uint32_t first_block, last_block;
};
/* True when one more entry of that size keeps every limit of a slice. An empty writer has room for any entry. */
bool hf_slice_writer_has_room(const struct hf_slice_writer *writer, size_t entry_bytes);
/* The caller has seen to the order of optimes. After an error the writer is to be begun anew. */
HF_MUST_CHECK enum hf_err hf_slice_writer_add(struct hf_slice_writer *writer, struct hf_bytes entry,
                                              const struct hf_optime *optime,
                                              struct hf_slice_spot *spot, struct hf_error *err);
/* Stored bytes of the closed blocks, and plain bytes of the open one. */
uint64_t hf_slice_writer_bytes(const struct hf_slice_writer *writer);
uint32_t hf_slice_writer_entries(const struct hf_slice_writer *writer);
/* Running hash after the last entry. */
const struct hf_hash *hf_slice_writer_hash(const struct hf_slice_writer *writer);
/* Closes the open block; its number of blocks then is final. */
HF_MUST_CHECK enum hf_err hf_slice_writer_close(struct hf_slice_writer *writer, uint32_t *blocks,
                                                struct hf_error *err);
/*
 * The whole object (out is cleared first). Of `header` the caller fills job to noop_count without entry_count, the texts
 * and the terms; the rest is the writer's. Closed before; index->block_count is that number.
 */
HF_MUST_CHECK enum hf_err hf_slice_writer_finish(struct hf_slice_writer *writer,
                                                 const struct hf_slice_header *header,
                                                 const struct hf_slice_index *index,
                                                 struct hf_buf *out, struct hf_error *err);

#endif
