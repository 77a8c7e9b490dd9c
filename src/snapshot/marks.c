/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of addresses: a hash table of packs, each with a bit a block.
 *
 * A pack takes 16 bytes in the table and whole words for its bits, up to the highest that is set. The table is made of many
 * small ones that grow each for itself and by little: a large set is never there twice while it grows.
 */
#include "snapshot/marks.h"

#include "base/alloc.h"
#include "codec/hash.h"

#define SHARDS 256
#define WORD_BITS 64

struct marked_pack {
    uint64_t position; /* 0: empty; captures begin at 1, so no pack has it */
    uint32_t at;       /* of its words in the shard's */
    uint32_t word_count;
};

struct shard {
    struct marked_pack *packs; /* owned */
    uint64_t *words;           /* owned */
    uint64_t *seen;            /* owned; NULL until the first is; as many as are used */
    uint32_t count, capacity;
    uint32_t used, word_capacity;
};

struct hf_marks {
    struct shard shards[SHARDS];
};

enum hf_err hf_marks_create(struct hf_marks **out, struct hf_error *err)
{
    struct hf_marks *marks = hf_alloc_zero(sizeof *marks);
    if (marks == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "marks");
    }
    *out = marks;
    return HF_ERR_OK;
}

void hf_marks_destroy(struct hf_marks *marks)
{
    if (marks == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        hf_free(marks->shards[i].packs);
        hf_free(marks->shards[i].words);
        hf_free(marks->shards[i].seen);
    }
    hf_free(marks);
}

size_t hf_marks_memory(const struct hf_marks *marks)
{
    size_t bytes = sizeof *marks;
    for (size_t i = 0; i < SHARDS; i++) {
        const struct shard *shard = &marks->shards[i];
        bytes += shard->capacity * sizeof *shard->packs +
                 shard->word_capacity * sizeof *shard->words +
                 (shard->seen == NULL ? 0 : shard->used * sizeof *shard->seen);
    }
    return bytes;
}

static uint64_t hash_of(uint64_t position)
{
    uint8_t key[8];
    hf_store_le64(key, position);
    return hf_xxh3(hf_bytes_of(key, sizeof key));
}

/* The place of a pack, or the empty one where it belongs. The low bits chose the shard. */
static size_t place_of(const struct marked_pack *packs, uint32_t capacity, uint64_t hash,
                       uint64_t position)
{
    size_t at = (size_t)((hash >> 32) * capacity >> 32);
    while (packs[at].position != 0 && packs[at].position != position) {
        at = at + 1 == capacity ? 0 : at + 1;
    }
    return at;
}

/* Where the address has its bit, and in which shard; false when it has none. */
static bool find_word(const struct hf_marks *marks, const struct hf_address *address,
                      size_t *number, uint32_t *at)
{
    uint64_t position = hf_address_position(address);
    uint64_t hash = hash_of(position);
    const struct shard *shard = &marks->shards[hash % SHARDS];
    uint32_t word = address->ordinal / WORD_BITS;
    if (shard->capacity == 0) {
        return false;
    }
    const struct marked_pack *pack =
        &shard->packs[place_of(shard->packs, shard->capacity, hash, position)];
    *number = hash % SHARDS;
    *at = pack->at + word;
    return pack->position != 0 && word < pack->word_count;
}

static uint64_t bit_of(const struct hf_address *address)
{
    return (uint64_t)1 << address->ordinal % WORD_BITS;
}

bool hf_marks_has(const struct hf_marks *marks, const struct hf_address *address)
{
    size_t shard = 0;
    uint32_t at = 0;
    return find_word(marks, address, &shard, &at) &&
           (marks->shards[shard].words[at] & bit_of(address)) != 0;
}

enum hf_err hf_marks_see(struct hf_marks *marks, const struct hf_address *address, bool *again,
                         struct hf_error *err)
{
    size_t number = 0;
    uint32_t at = 0;
    bool found = find_word(marks, address, &number, &at);
    HF_ASSERT(found);
    struct shard *shard = &marks->shards[number];
    if (shard->seen == NULL) {
        shard->seen = hf_alloc_array(shard->used, sizeof *shard->seen);
        if (shard->seen == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "marks of what is seen");
        }
        memset(shard->seen, 0, shard->used * sizeof *shard->seen);
    }
    *again = (shard->seen[at] & bit_of(address)) != 0;
    shard->seen[at] |= bit_of(address);
    return HF_ERR_OK;
}

static enum hf_err grow_table(struct shard *shard, struct hf_error *err)
{
    uint32_t wanted = shard->capacity + shard->capacity / 4 + 8;
    struct marked_pack *grown =
        wanted < shard->capacity ? NULL : hf_alloc_array(wanted, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "marks of many packs");
    }
    memset(grown, 0, wanted * sizeof *grown);
    for (uint32_t i = 0; i < shard->capacity; i++) {
        uint64_t position = shard->packs[i].position;
        if (position != 0) {
            grown[place_of(grown, wanted, hash_of(position), position)] = shard->packs[i];
        }
    }
    hf_free(shard->packs);
    shard->packs = grown;
    shard->capacity = wanted;
    return HF_ERR_OK;
}

/* Room for so many more words at the end. */
static enum hf_err reserve_words(struct shard *shard, uint32_t more, struct hf_error *err)
{
    uint64_t needed = (uint64_t)shard->used + more;
    if (needed <= shard->word_capacity) {
        return HF_ERR_OK;
    }
    uint64_t wanted = needed + needed / 4 + 8;
    uint64_t *grown =
        wanted > UINT32_MAX ? NULL : hf_realloc_array(shard->words, (size_t)wanted, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "marks of many blocks");
    }
    shard->words = grown;
    shard->word_capacity = (uint32_t)wanted;
    return HF_ERR_OK;
}

/* In place when its words are the last, which they mostly are: a pack's blocks are marked together. Else with room to spare,
 * since what it leaves behind is lost. */
static enum hf_err grow_pack(struct shard *shard, struct marked_pack *pack, uint32_t words,
                             struct hf_error *err)
{
    bool last = pack->word_count > 0 && pack->at + pack->word_count == shard->used;
    if (!last && words < pack->word_count + pack->word_count / 2) {
        words = pack->word_count + pack->word_count / 2;
    }
    uint32_t more = last ? words - pack->word_count : words;
    if (reserve_words(shard, more, err) != HF_ERR_OK) {
        return err->code;
    }
    memset(shard->words + shard->used, 0, more * sizeof *shard->words);
    if (!last) {
        memcpy(shard->words + shard->used, shard->words + pack->at,
               pack->word_count * sizeof *shard->words);
        pack->at = shard->used;
    }
    shard->used += more;
    pack->word_count = words;
    return HF_ERR_OK;
}

enum hf_err hf_marks_set(struct hf_marks *marks, const struct hf_address *address,
                         struct hf_error *err)
{
    uint64_t position = hf_address_position(address);
    uint64_t hash = hash_of(position);
    struct shard *shard = &marks->shards[hash % SHARDS];
    uint32_t word = address->ordinal / WORD_BITS;
    HF_ASSERT(shard->seen == NULL);
    if (shard->count >= shard->capacity / 5 * 4 && grow_table(shard, err) != HF_ERR_OK) {
        return err->code;
    }
    struct marked_pack *pack =
        &shard->packs[place_of(shard->packs, shard->capacity, hash, position)];
    if (pack->position == 0) {
        *pack = (struct marked_pack){.position = position};
        shard->count++;
    }
    if (word >= pack->word_count && grow_pack(shard, pack, word + 1, err) != HF_ERR_OK) {
        return err->code;
    }
    shard->words[pack->at + word] |= bit_of(address);
    return HF_ERR_OK;
}
