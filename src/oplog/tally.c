/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two open hash tables, one of names and one of (minute, namespace, kind), that are never more than half full.
 *
 * Counts of others have rows set aside: a minute and a kind each. So every operation is counted somewhere.
 */
#include "oplog/tally.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "codec/hash.h"

#define NAME_SLOTS 2048U
#define COUNT_SLOTS 65536U
#define NAMED_ROWS_MAX (HF_SLICE_ROWS_MAX - HF_SLICE_MINUTES_MAX * HF_OPLOG_KIND_MAX)
#define TEXT_BYTES ((size_t)HF_SLICE_NAMESPACES_MAX * HF_SLICE_NAMESPACE_MAX_BYTES)
#define TOUCHED_ROW_BYTES ((size_t)(HF_SLICE_NAMESPACES_MAX + 1 + 7) / 8)

struct hf_tally {
    struct hf_str names[HF_SLICE_NAMESPACES_MAX]; /* into text */
    uint16_t name_slots[NAME_SLOTS];              /* number of the name, 0: free */
    uint32_t name_count;
    size_t text_bytes;
    struct hf_slice_count *counts; /* owned: COUNT_SLOTS; operations 0: free */
    uint32_t count_count, named_count;
    uint8_t *text;         /* owned: TEXT_BYTES */
    uint8_t *touched;      /* owned: BLOCKS_MAX rows */
    uint32_t touched_rows; /* rows that may be other than zero */
};

enum hf_err hf_tally_create(struct hf_tally **out, struct hf_error *err)
{
    HF_CLEANUP(hf_tally_destroy) struct hf_tally *tally = hf_alloc_zero(sizeof *tally);
    if (tally == NULL ||
        (tally->counts = hf_alloc_zero(COUNT_SLOTS * sizeof *tally->counts)) == NULL ||
        (tally->text = hf_alloc(TEXT_BYTES)) == NULL ||
        (tally->touched = hf_alloc_zero(HF_SLICE_BLOCKS_MAX * TOUCHED_ROW_BYTES)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "prepare to count operations");
    }
    *out = HF_TAKE(tally);
    return HF_ERR_OK;
}

void hf_tally_destroy(struct hf_tally *tally)
{
    if (tally != NULL) {
        hf_free(tally->counts);
        hf_free(tally->text);
        hf_free(tally->touched);
        hf_free(tally);
    }
}

void hf_tally_clear(struct hf_tally *tally)
{
    memset(tally->name_slots, 0, sizeof tally->name_slots);
    memset(tally->counts, 0, COUNT_SLOTS * sizeof *tally->counts);
    memset(tally->touched, 0, tally->touched_rows * TOUCHED_ROW_BYTES);
    tally->touched_rows = 0;
    tally->name_count = 0;
    tally->text_bytes = 0;
    tally->count_count = tally->named_count = 0;
}

/* The name's number; a new one while there is room, else 0. */
static uint32_t number_of(struct hf_tally *tally, struct hf_str name)
{
    uint32_t slot = (uint32_t)hf_xxh3(hf_bytes_of_str(name)) % NAME_SLOTS;
    while (tally->name_slots[slot] != 0) {
        if (hf_str_equal(tally->names[tally->name_slots[slot] - 1], name)) {
            return tally->name_slots[slot];
        }
        slot = (slot + 1) % NAME_SLOTS;
    }
    if (tally->name_count == HF_SLICE_NAMESPACES_MAX) {
        return 0;
    }
    char *at = (char *)tally->text + tally->text_bytes;
    if (name.len > 0) {
        memcpy(at, name.data, name.len);
    }
    tally->names[tally->name_count] = (struct hf_str){.data = at, .len = name.len};
    tally->text_bytes += name.len;
    tally->name_slots[slot] = (uint16_t)++tally->name_count;
    return tally->name_count;
}

/* The row of (minute, space, kind); NULL when it is not there and new ones of names are no longer taken. */
static struct hf_slice_count *row_of(struct hf_tally *tally, uint32_t minute, uint32_t space,
                                     enum hf_oplog_kind kind)
{
    uint32_t slot = (minute * 2654435761U ^ space * 40503U * 65537U ^ (uint32_t)kind * 97U);
    slot = (slot ^ slot >> 15) % COUNT_SLOTS;
    for (;; slot = (slot + 1) % COUNT_SLOTS) {
        struct hf_slice_count *row = &tally->counts[slot];
        if (row->operations == 0) {
            if (space != 0 && tally->named_count == NAMED_ROWS_MAX) {
                return NULL;
            }
            HF_ASSERT(tally->count_count < HF_SLICE_ROWS_MAX);
            *row = (struct hf_slice_count){
                .minute = minute, .space = (uint16_t)space, .kind = (uint8_t)kind};
            tally->count_count++;
            tally->named_count += space != 0;
            return row;
        }
        if (row->minute == minute && row->space == space && row->kind == (uint8_t)kind) {
            return row;
        }
    }
}

static void count_one(struct hf_tally *tally, uint32_t minute, uint32_t space,
                      enum hf_oplog_kind kind, const struct hf_slice_spot *spot)
{
    struct hf_slice_count *row = row_of(tally, minute, space, kind);
    if (row == NULL) {
        row = row_of(tally, minute, 0, kind);
    }
    if (row->operations < UINT32_MAX) {
        row->operations++;
    }
    /* By its own name though its count may be with the others: that is what blocks are skipped by. */
    for (uint32_t block = spot->first_block; block <= spot->last_block; block++) {
        tally->touched[block * TOUCHED_ROW_BYTES + space / 8] |= (uint8_t)(1U << space % 8);
    }
}

static void count_operation(struct hf_tally *tally, const struct hf_oplog_entry *operation,
                            const struct hf_slice_spot *spot)
{
    uint32_t minute = operation->optime.seconds / 60;
    unsigned spaces = hf_oplog_space_count(operation);
    for (unsigned i = 0; i < spaces; i++) {
        char room[HF_OPLOG_SPACE_BYTES];
        struct hf_str name;
        uint32_t space = hf_oplog_space(operation, i, room, &name) ? number_of(tally, name) : 0;
        count_one(tally, minute, space, operation->kind, spot);
    }
    if (spaces == 0) { /* an applyOps too deep to look into */
        count_one(tally, minute, 0, HF_OPLOG_OTHER, spot);
    }
}

void hf_tally_add(struct hf_tally *tally, const struct hf_oplog_entry *entry,
                  const struct hf_slice_spot *spot)
{
    HF_ASSERT(spot->last_block < HF_SLICE_BLOCKS_MAX);
    if (tally->touched_rows <= spot->last_block) {
        tally->touched_rows = spot->last_block + 1;
    }
    if (entry->apply_ops.len == 0) {
        count_operation(tally, entry, spot);
        return;
    }
    struct hf_oplog_inner inner;
    struct hf_oplog_entry operation;
    struct hf_error ignored;
    bool more = true;
    hf_oplog_inner_begin(entry, &inner);
    while (more) {
        if (hf_oplog_inner_next(&inner, &operation, &more, &ignored) != HF_ERR_OK) {
            /* Stored as it came; what cannot be read is there for whoever looks into others. */
            count_one(tally, entry->optime.seconds / 60, 0, HF_OPLOG_OTHER, spot);
            return;
        }
        if (more) {
            count_operation(tally, &operation, spot);
        }
    }
}

static int compare_counts(const void *left, const void *right)
{
    const struct hf_slice_count *a = left;
    const struct hf_slice_count *b = right;
    if (a->minute != b->minute) {
        return a->minute < b->minute ? -1 : 1;
    }
    if (a->space != b->space) {
        return a->space < b->space ? -1 : 1;
    }
    return (int)a->kind - (int)b->kind;
}

enum hf_err hf_tally_index(const struct hf_tally *tally, uint32_t block_count,
                           struct hf_slice_index *out, struct hf_error *err)
{
    HF_CLEANUP(hf_slice_index_fini)
    struct hf_slice_index index = {.namespace_count = tally->name_count,
                                   .block_count = block_count};
    size_t row_bytes = hf_slice_row_bytes(tally->name_count);
    HF_ASSERT(block_count >= tally->touched_rows);
    index.namespaces = hf_alloc_array((size_t)tally->name_count + 1, sizeof *index.namespaces);
    index.text = hf_alloc(tally->text_bytes + 1);
    index.touched = hf_alloc_zero(block_count * row_bytes);
    index.counts = hf_alloc_array((size_t)tally->count_count + 1, sizeof *index.counts);
    if (index.namespaces == NULL || index.text == NULL || index.touched == NULL ||
        index.counts == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "index of a slice");
    }
    memcpy(index.text, tally->text, tally->text_bytes);
    size_t at = 0;
    for (uint32_t i = 0; i < tally->name_count; i++) {
        index.namespaces[i] =
            (struct hf_str){.data = (const char *)index.text + at, .len = tally->names[i].len};
        at += tally->names[i].len;
    }
    for (uint32_t block = 0; block < tally->touched_rows; block++) {
        memcpy(index.touched + block * row_bytes, tally->touched + block * TOUCHED_ROW_BYTES,
               row_bytes);
    }
    for (uint32_t slot = 0; slot < COUNT_SLOTS; slot++) {
        if (tally->counts[slot].operations > 0) {
            index.counts[index.count_count++] = tally->counts[slot];
        }
    }
    qsort(index.counts, index.count_count, sizeof *index.counts, compare_counts);
    *out = index;
    index = (struct hf_slice_index){.namespaces = NULL};
    return HF_ERR_OK;
}
