/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that hold blocks: header, stored blocks of one or more packs, checksummed footer
 * (docs/format/objects.md, pack.md).
 *
 * A pack writer fills one pack (several threads at once); an object writer puts stored blocks of
 * any packs together unchanged, for grooming, healing and copying; a footer says what an object
 * holds.
 */
#ifndef HF_FORMAT_PACK_H
#define HF_FORMAT_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"
#include "format/block.h"
#include "format/ids.h"

#define HF_PACK_TARGET_BYTES                                                                       \
    ((size_t)16 << 20) /* stored blocks of a pack, unless one block alone is larger */
#define HF_PACK_BLOCKS_MAX ((uint32_t)65536)
#define HF_OBJECT_HEADER_BYTES 32
#define HF_OBJECT_TRAILER_BYTES 24
#define HF_OBJECT_RUNS_MAX ((uint32_t)65536)
#define HF_OBJECT_BLOCKS_MAX ((uint32_t)1 << 20)
/* What a reader asks for first: holds the footer of a pack of 256 KiB blocks many times over. */
#define HF_FOOTER_GUESS_BYTES ((size_t)16 << 10)
/* A pack object is never larger. */
#define HF_PACK_OBJECT_MAX_BYTES ((size_t)20 << 20)

/* ---- Footer ---- */

struct hf_footer_block {
    struct hf_address address;
    uint32_t place; /* offset in the object */
    uint32_t stored_bytes;
    uint32_t plain_bytes;
    uint32_t run;      /* index into runs */
    uint64_t checksum; /* XXH3 of the stored bytes: needs no key */
    uint8_t codec;
};

struct hf_footer {
    struct hf_id job;
    enum hf_object_kind kind;    /* HF_OBJECT_DATA or HF_OBJECT_TREE */
    struct hf_pack_origin *runs; /* owned */
    uint32_t run_count;
    struct hf_footer_block *blocks; /* owned; ascending by address */
    uint32_t block_count;
    uint64_t object_bytes;
    uint64_t footer_bytes; /* trailer included */
};
void hf_footer_fini(struct hf_footer *footer);
HF_CLEANUP_DEFINE_VALUE(hf_footer_fini, struct hf_footer)

/*
 * tail: the last bytes of an object of object_bytes. When they hold less than the whole footer,
 * *need says how many bytes are needed and the code is OK with out untouched; else *need is 0.
 * CORRUPT, UNSUPPORTED (version or cipher).
 */
HF_MUST_CHECK enum hf_err hf_footer_decode(struct hf_bytes tail, uint64_t object_bytes,
                                           uint64_t *need, struct hf_footer *out,
                                           struct hf_error *err);
/* The first block with that address; NULL when it is not there. A healed object may hold an address
 * twice: the next ones follow it in blocks. */
const struct hf_footer_block *hf_footer_find(const struct hf_footer *footer,
                                             const struct hf_address *address);
/* Bytes in memory, for caches. */
size_t hf_footer_memory(const struct hf_footer *footer);
/* CORRUPT when header or name say another job or kind than the footer. header: the object's first
 * bytes, or empty. */
HF_MUST_CHECK enum hf_err hf_footer_check_name(const struct hf_footer *footer,
                                               const struct hf_object_name *name,
                                               struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_object_check_header(struct hf_bytes object, const struct hf_id *job,
                                                 struct hf_error *err);

/*
 * A whole object as a capture may put it: header, footer and name say the same; each block is one of the name's range,
 * has an address of its own and stored bytes of its own; nothing is asked of the memory that such an object does not
 * need. INVALID or UNSUPPORTED, saying what is not so. No key is needed, and what the blocks hold is not looked at.
 */
HF_MUST_CHECK enum hf_err hf_object_check_put(struct hf_bytes object,
                                              const struct hf_object_name *name,
                                              struct hf_error *err);

/* ---- Pack writer ---- */

struct hf_pack_writer;

struct hf_pack_writer_options {
    const struct hf_keyring *keyring; /* borrowed: outlives the writer */
    size_t target_bytes;              /* 0 means HF_PACK_TARGET_BYTES; smaller for tests */
};
HF_MUST_CHECK enum hf_err hf_pack_writer_create(const struct hf_pack_writer_options *options,
                                                struct hf_pack_writer **out, struct hf_error *err);
void hf_pack_writer_destroy(struct hf_pack_writer *writer);
HF_CLEANUP_DEFINE(hf_pack_writer_destroy, struct hf_pack_writer *)

struct hf_pack_begin {
    enum hf_object_kind kind; /* HF_OBJECT_DATA or HF_OBJECT_TREE */
    uint64_t capture;
    uint32_t pack;
    uint8_t salt[HF_PACK_SALT_BYTES]; /* fresh random bytes, never used before */
};
/* Empties the writer and begins that pack, with the newest data key. */
HF_MUST_CHECK enum hf_err hf_pack_writer_begin(struct hf_pack_writer *writer,
                                               const struct hf_pack_begin *begin,
                                               struct hf_error *err);

struct hf_pack_slot {
    uint32_t ordinal;
    uint32_t place;
    uint32_t stored_bytes;
};
/* Takes the place of one block. False when the pack has no room for it (an empty pack always has).
 * The caller serialises reserve, count and finish; hf_pack_writer_fill may run on any thread, once
 * for each slot. */
HF_MUST_CHECK bool hf_pack_writer_reserve(struct hf_pack_writer *writer,
                                          const struct hf_block_body *body,
                                          struct hf_pack_slot *out);
HF_MUST_CHECK enum hf_err hf_pack_writer_fill(struct hf_pack_writer *writer,
                                              const struct hf_pack_slot *slot,
                                              struct hf_block_coder *coder,
                                              const struct hf_block_body *body,
                                              struct hf_error *err);
uint32_t hf_pack_writer_count(const struct hf_pack_writer *writer);
/* Stored bytes of the blocks so far. */
size_t hf_pack_writer_bytes(const struct hf_pack_writer *writer);
/* Writes the footer; every reserved slot was filled. The object is borrowed until the next begin.
 */
HF_MUST_CHECK enum hf_err hf_pack_writer_finish(struct hf_pack_writer *writer,
                                                struct hf_bytes *object, struct hf_error *err);

/* ---- Object writer: stored blocks put together unchanged ---- */

struct hf_object_writer;

struct hf_object_writer_options {
    enum hf_object_kind kind;
    struct hf_id job;
    size_t max_bytes; /* of the whole object; at most 64 MiB */
};
HF_MUST_CHECK enum hf_err hf_object_writer_create(const struct hf_object_writer_options *options,
                                                  struct hf_object_writer **out,
                                                  struct hf_error *err);
void hf_object_writer_destroy(struct hf_object_writer *writer);
HF_CLEANUP_DEFINE(hf_object_writer_destroy, struct hf_object_writer *)
/* True when a block of that size, of a new run or not, still fits. */
bool hf_object_writer_fits(const struct hf_object_writer *writer, uint32_t stored_bytes);
/* Copies the stored bytes after checking them against block->checksum (CORRUPT when they differ).
 */
HF_MUST_CHECK enum hf_err hf_object_writer_add(struct hf_object_writer *writer,
                                               const struct hf_pack_origin *origin,
                                               const struct hf_footer_block *block,
                                               struct hf_bytes stored, struct hf_error *err);
uint32_t hf_object_writer_count(const struct hf_object_writer *writer);
/* Borrowed until destroy. */
HF_MUST_CHECK enum hf_err hf_object_writer_finish(struct hf_object_writer *writer,
                                                  struct hf_bytes *object, struct hf_error *err);

#endif
