/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted list of what was looked at or heard of, under one mutex. What nobody asked about for an hour is forgotten.
 */
#include "server/heard.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/thread.h"

#define FORGET_AFTER_MS ((uint64_t)3600 * 1000)
#define SWEEP_EVERY_MS ((uint64_t)600 * 1000)

struct entry {
    struct hf_id id;
    enum hf_heard_kind kind;
    bool noted;         /* since the last look: the mark of the next one is no news */
    uint64_t mark;      /* of the last look */
    uint64_t since_ms;  /* on our clock: when it was heard of, or its mark first seen */
    uint64_t before_ms; /* the silence that was known then */
    uint64_t used_ms;   /* on our clock: when it was last noted or looked at */
};

struct hf_server_heard {
    struct hf_mutex mutex; /* guards: all below */
    uint64_t now_ms;       /* for how long we have listened */
    uint64_t swept_ms;
    struct entry *entries; /* owned; by kind and id */
    size_t count, capacity;
};

enum hf_err hf_server_heard_create(struct hf_server_heard **out, struct hf_error *err)
{
    struct hf_server_heard *heard = hf_alloc_zero(sizeof *heard);

    if (heard == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_mutex_init(&heard->mutex);
    *out = heard;
    return HF_ERR_OK;
}

void hf_server_heard_destroy(struct hf_server_heard *heard)
{
    if (heard != NULL) {
        hf_mutex_fini(&heard->mutex);
        hf_free(heard->entries);
        hf_free(heard);
    }
}

/* The mutex is held. */
static void sweep(struct hf_server_heard *heard)
{
    size_t kept = 0;

    for (size_t i = 0; i < heard->count; i++) {
        if (heard->now_ms - heard->entries[i].used_ms < FORGET_AFTER_MS) {
            heard->entries[kept++] = heard->entries[i];
        }
    }
    heard->count = kept;
    heard->swept_ms = heard->now_ms;
}

void hf_server_heard_listen(struct hf_server_heard *heard, uint64_t listened_ms)
{
    if (heard == NULL) {
        return;
    }
    HF_LOCKED(&heard->mutex);
    heard->now_ms += listened_ms;
    if (heard->now_ms - heard->swept_ms >= SWEEP_EVERY_MS) {
        sweep(heard);
    }
}

static int compare(const struct entry *entry, enum hf_heard_kind kind, const struct hf_id *id)
{
    return entry->kind != kind ? (entry->kind < kind ? -1 : 1)
                               : memcmp(entry->id.bytes, id->bytes, sizeof id->bytes);
}

/* The entry, or NULL; *place is where it stands or belongs. The mutex is held. */
static struct entry *find(struct hf_server_heard *heard, enum hf_heard_kind kind,
                          const struct hf_id *id, size_t *place)
{
    size_t low = 0, high = heard->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(&heard->entries[middle], kind, id);
        if (order == 0) {
            *place = middle;
            return &heard->entries[middle];
        }
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    *place = low;
    return NULL;
}

/* A new entry, heard of now; NULL without memory: then it is heard of at the next look. The mutex is held. */
static struct entry *add(struct hf_server_heard *heard, enum hf_heard_kind kind,
                         const struct hf_id *id, size_t place)
{
    if (heard->count == heard->capacity) {
        size_t capacity = heard->capacity == 0 ? 64 : heard->capacity * 2;
        struct entry *more = hf_realloc_array(heard->entries, capacity, sizeof *more);
        if (more == NULL) {
            return NULL;
        }
        heard->entries = more;
        heard->capacity = capacity;
    }
    struct entry *entry = &heard->entries[place];
    memmove(entry + 1, entry, (heard->count++ - place) * sizeof *entry);
    *entry = (struct entry){
        .id = *id, .kind = kind, .since_ms = heard->now_ms, .used_ms = heard->now_ms};
    return entry;
}

void hf_server_heard_note(struct hf_server_heard *heard, enum hf_heard_kind kind,
                          const struct hf_id *id)
{
    size_t place = 0;

    if (heard == NULL) {
        return;
    }
    HF_LOCKED(&heard->mutex);
    struct entry *entry = find(heard, kind, id, &place);
    entry = entry != NULL ? entry : add(heard, kind, id, place);
    if (entry != NULL) {
        entry->noted = true;
        entry->since_ms = entry->used_ms = heard->now_ms;
        entry->before_ms = 0;
    }
}

uint64_t hf_server_heard_silent_s(struct hf_server_heard *heard, enum hf_heard_kind kind,
                                  const struct hf_id *id, uint64_t mark, uint64_t known_s)
{
    size_t place = 0;

    if (heard == NULL) {
        return 0;
    }
    HF_LOCKED(&heard->mutex);
    struct entry *entry = find(heard, kind, id, &place);
    bool is_news = entry == NULL || (!entry->noted && entry->mark != mark);
    entry = entry != NULL ? entry : add(heard, kind, id, place);
    if (entry == NULL) {
        return 0;
    }
    if (is_news) {
        entry->since_ms = heard->now_ms;
        entry->before_ms = known_s < UINT64_MAX / 2000 ? known_s * 1000 : UINT64_MAX / 2;
    }
    entry->noted = false;
    entry->mark = mark;
    entry->used_ms = heard->now_ms;
    return (entry->before_ms + (heard->now_ms - entry->since_ms)) / 1000;
}
