/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of addresses: a hash table of packs, each with a bit a block. The first 64 blocks of a pack lie in the table
 * itself: a pack of 256 KiB blocks has no more.
 */
#include "snapshot/marks.h"

#include "base/alloc.h"
#include "codec/hash.h"

#define FIRST_CAPACITY ((size_t)1024)
#define WORD_BITS 64

struct marked_pack {
    uint64_t position; /* 0: empty; captures begin at 1, so no pack has it */
    uint64_t first;
    uint64_t *more; /* owned; words from the second on */
    uint32_t more_words;
};

struct hf_marks {
    struct marked_pack *packs; /* owned */
    size_t count, capacity;    /* a power of two */
};

enum hf_err hf_marks_create(struct hf_marks **out, struct hf_error *err)
{
    struct hf_marks *marks = hf_alloc_zero(sizeof *marks);
    if (marks == NULL ||
        (marks->packs = hf_alloc_zero(FIRST_CAPACITY * sizeof *marks->packs)) == NULL) {
        hf_free(marks);
        return hf_fail(err, HF_ERR_NO_MEMORY, "marks");
    }
    marks->capacity = FIRST_CAPACITY;
    *out = marks;
    return HF_ERR_OK;
}

void hf_marks_destroy(struct hf_marks *marks)
{
    if (marks == NULL) {
        return;
    }
    for (size_t i = 0; i < marks->capacity; i++) {
        hf_free(marks->packs[i].more);
    }
    hf_free(marks->packs);
    hf_free(marks);
}

/* The place of a pack, or the empty one where it belongs. */
static size_t place_of(const struct marked_pack *packs, size_t capacity, uint64_t position)
{
    uint8_t key[8];
    hf_store_le64(key, position);
    size_t at = (size_t)hf_xxh3(hf_bytes_of(key, sizeof key)) & (capacity - 1);
    while (packs[at].position != 0 && packs[at].position != position) {
        at = (at + 1) & (capacity - 1);
    }
    return at;
}

bool hf_marks_has(const struct hf_marks *marks, const struct hf_address *address)
{
    const struct marked_pack *pack =
        &marks->packs[place_of(marks->packs, marks->capacity, hf_address_position(address))];
    uint32_t word = address->ordinal / WORD_BITS;
    uint64_t bit = (uint64_t)1 << address->ordinal % WORD_BITS;
    if (pack->position == 0) {
        return false;
    }
    if (word == 0) {
        return (pack->first & bit) != 0;
    }
    return word - 1 < pack->more_words && (pack->more[word - 1] & bit) != 0;
}

static enum hf_err grow_table(struct hf_marks *marks, struct hf_error *err)
{
    size_t wanted = marks->capacity * 2;
    size_t bytes = 0;
    struct marked_pack *grown = NULL;
    if (hf_mul_size(wanted, sizeof *grown, &bytes)) {
        grown = hf_alloc_zero(bytes);
    }
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "marks of %zu packs", wanted);
    }
    for (size_t i = 0; i < marks->capacity; i++) {
        if (marks->packs[i].position != 0) {
            grown[place_of(grown, wanted, marks->packs[i].position)] = marks->packs[i];
        }
    }
    hf_free(marks->packs);
    marks->packs = grown;
    marks->capacity = wanted;
    return HF_ERR_OK;
}

static enum hf_err grow_pack(struct marked_pack *pack, uint32_t words, struct hf_error *err)
{
    uint64_t *grown = hf_realloc_array(pack->more, words, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "marks of a pack");
    }
    memset(grown + pack->more_words, 0, (words - pack->more_words) * sizeof *grown);
    pack->more = grown;
    pack->more_words = words;
    return HF_ERR_OK;
}

enum hf_err hf_marks_set(struct hf_marks *marks, const struct hf_address *address,
                         struct hf_error *err)
{
    uint64_t position = hf_address_position(address);
    if (marks->count >= marks->capacity / 4 * 3 && grow_table(marks, err) != HF_ERR_OK) {
        return err->code;
    }
    struct marked_pack *pack = &marks->packs[place_of(marks->packs, marks->capacity, position)];
    if (pack->position == 0) {
        pack->position = position;
        marks->count++;
    }
    uint32_t word = address->ordinal / WORD_BITS;
    uint64_t bit = (uint64_t)1 << address->ordinal % WORD_BITS;
    if (word == 0) {
        pack->first |= bit;
        return HF_ERR_OK;
    }
    if (word > pack->more_words && grow_pack(pack, word, err) != HF_ERR_OK) {
        return err->code;
    }
    pack->more[word - 1] |= bit;
    return HF_ERR_OK;
}
