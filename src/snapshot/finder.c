/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where blocks lie.
 *
 * Objects are kept ascending by their last position, with the least first position of all that follow: a search starts
 * at the first object whose range ends at or after the address and stops where no later one begins at or before it.
 * Footers are kept with their object, the least recently used going first.
 */
#include "snapshot/finder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "snapshot/retry.h"

#define PAGE_NAMES 1000
#define OBJECTS_MAX ((size_t)64 << 20)

struct object {
    uint64_t first, last;
    uint64_t least_first; /* of this object and all after it */
    struct hf_id writer;
    uint32_t round;
    bool damaged;               /* its footer could not be read */
    struct kept_footer *footer; /* owned; NULL when it is not kept */
};

struct object_list {
    struct object *items; /* owned */
    size_t count, capacity;
};

struct kept_footer {
    struct hf_footer footer;
    struct object *object; /* borrowed: the object that has us */
    struct kept_footer *newer, *older;
};

enum { LIST_DATA, LIST_TREE, LIST_COUNT };

struct hf_finder {
    struct hf_store *store;        /* borrowed: outlives us */
    struct hf_object_cache *cache; /* borrowed: outlives us */
    struct hf_id job;
    size_t footers_max_bytes;
    struct hf_mutex mutex; /* guards: all below */
    struct hf_cond listed;
    bool listing;
    uint64_t lists_begun;
    uint64_t lists_ended; /* the newest list that is in use began as this one */
    struct object_list lists[LIST_COUNT];
    struct kept_footer *newest, *oldest;
    size_t kept_bytes;
};

enum hf_err hf_finder_create(const struct hf_finder_options *options, struct hf_finder **out,
                             struct hf_error *err)
{
    struct hf_finder *finder = hf_alloc_zero(sizeof *finder);
    if (finder == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "block finder");
    }
    finder->store = options->store;
    finder->cache = options->cache;
    finder->job = options->job;
    finder->footers_max_bytes = options->footers_max_bytes;
    hf_mutex_init(&finder->mutex);
    hf_cond_init(&finder->listed);
    *out = finder;
    return HF_ERR_OK;
}

/* ---- footers in memory; under the mutex ---- */

static void unlink_footer(struct hf_finder *finder, struct kept_footer *kept)
{
    *(kept->newer == NULL ? &finder->newest : &kept->newer->older) = kept->older;
    *(kept->older == NULL ? &finder->oldest : &kept->older->newer) = kept->newer;
    kept->newer = NULL;
    kept->older = NULL;
}

static void link_newest(struct hf_finder *finder, struct kept_footer *kept)
{
    kept->newer = NULL;
    kept->older = finder->newest;
    *(finder->newest == NULL ? &finder->oldest : &finder->newest->newer) = kept;
    finder->newest = kept;
}

static void drop_footer(struct hf_finder *finder, struct kept_footer *kept)
{
    unlink_footer(finder, kept);
    finder->kept_bytes -= hf_footer_memory(&kept->footer);
    if (kept->object != NULL) {
        kept->object->footer = NULL;
    }
    hf_footer_fini(&kept->footer);
    hf_free(kept);
}

static void keep_footer(struct hf_finder *finder, struct object *object, struct kept_footer *kept)
{
    size_t bytes = hf_footer_memory(&kept->footer);
    while (finder->oldest != NULL && finder->kept_bytes + bytes > finder->footers_max_bytes) {
        drop_footer(finder, finder->oldest);
    }
    kept->object = object;
    object->footer = kept;
    finder->kept_bytes += bytes;
    link_newest(finder, kept);
}

static void free_list(struct hf_finder *finder, struct object_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].footer != NULL) {
            drop_footer(finder, list->items[i].footer);
        }
    }
    hf_free(list->items);
    *list = (struct object_list){.items = NULL};
}

void hf_finder_destroy(struct hf_finder *finder)
{
    if (finder == NULL) {
        return;
    }
    for (size_t i = 0; i < LIST_COUNT; i++) {
        free_list(finder, &finder->lists[i]);
    }
    hf_cond_fini(&finder->listed);
    hf_mutex_fini(&finder->mutex);
    hf_free(finder);
}

/* ---- listing ---- */

static enum hf_object_kind kind_of_list(size_t list)
{
    return list == LIST_DATA ? HF_OBJECT_DATA : HF_OBJECT_TREE;
}

static enum hf_err add_object(struct object_list *list, const struct hf_object_name *name,
                              struct hf_error *err)
{
    if (list->count == list->capacity) {
        size_t wanted = list->capacity == 0 ? 64 : list->capacity * 2;
        if (wanted > OBJECTS_MAX) {
            return hf_fail(err, HF_ERR_LIMIT, "a job of more than %zu objects", OBJECTS_MAX);
        }
        struct object *grown = hf_realloc_array(list->items, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "list of %zu objects", wanted);
        }
        list->items = grown;
        list->capacity = wanted;
    }
    list->items[list->count++] = (struct object){
        .first = name->first, .last = name->last, .writer = name->writer, .round = name->round};
    return HF_ERR_OK;
}

/* One page after `after`; *last gets the page's last name, empty at the end. */
static enum hf_err list_page(struct hf_finder *finder, struct hf_str prefix,
                             struct object_list *list, struct hf_object_text *last,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
    struct hf_retry retry = {.tries = 0};
    enum hf_err code;
    do {
        code = hf_store_list(finder->store, prefix, hf_str_of(last->text), PAGE_NAMES, &page, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    if (code != HF_ERR_OK) {
        return code;
    }
    for (size_t i = 0; i < page.count; i++) {
        struct hf_object_name name;
        struct hf_error ignored;
        /* A name that is none of ours holds no block of ours. */
        if (hf_object_name_parse(hf_str_of(page.entries[i].name), &name, &ignored) == HF_ERR_OK &&
            add_object(list, &name, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (page.more && page.count > 0) {
        (void)snprintf(last->text, sizeof last->text, "%s", page.entries[page.count - 1].name);
    } else {
        last->text[0] = '\0';
    }
    return HF_ERR_OK;
}

/* The order of names: last, span, round, writer. */
static int by_name(const void *left, const void *right)
{
    const struct object *a = left;
    const struct object *b = right;
    if (a->last != b->last) {
        return a->last < b->last ? -1 : 1;
    }
    if (a->first != b->first) {
        return a->first > b->first ? -1 : 1;
    }
    if (a->round != b->round) {
        return a->round < b->round ? -1 : 1;
    }
    return memcmp(a->writer.bytes, b->writer.bytes, HF_ID_BYTES);
}

static enum hf_err list_objects(struct hf_finder *finder, size_t which, struct object_list *list,
                                struct hf_error *err)
{
    struct hf_object_text prefix = hf_object_prefix(kind_of_list(which), &finder->job);
    struct hf_object_text last = {.text = ""};
    do {
        if (list_page(finder, hf_str_of(prefix.text), list, &last, err) != HF_ERR_OK) {
            return err->code;
        }
    } while (last.text[0] != '\0');
    if (list->count > 0) {
        qsort(list->items, list->count, sizeof *list->items, by_name);
    }
    uint64_t least = UINT64_MAX;
    for (size_t i = list->count; i > 0; i--) {
        struct object *object = &list->items[i - 1];
        least = object->first < least ? object->first : least;
        object->least_first = least;
    }
    return HF_ERR_OK;
}

/* Footers move from the old list to the same objects of the new one. Under the mutex. */
static void replace_list(struct hf_finder *finder, struct object_list *old,
                         struct object_list *fresh)
{
    size_t at = 0;
    for (size_t i = 0; i < fresh->count; i++) {
        struct object *object = &fresh->items[i];
        while (at < old->count && by_name(&old->items[at], object) < 0) {
            at++;
        }
        if (at < old->count && by_name(&old->items[at], object) == 0) {
            object->footer = HF_TAKE(old->items[at].footer);
            if (object->footer != NULL) {
                object->footer->object = object;
            }
        }
    }
    free_list(finder, old);
    *old = *fresh;
    *fresh = (struct object_list){.items = NULL};
}

static enum hf_err make_lists(struct hf_finder *finder, uint64_t number, struct hf_error *err)
{
    struct object_list fresh[LIST_COUNT] = {{.items = NULL}, {.items = NULL}};
    enum hf_err code = HF_ERR_OK;
    for (size_t i = 0; i < LIST_COUNT && code == HF_ERR_OK; i++) {
        code = list_objects(finder, i, &fresh[i], err);
    }
    HF_LOCKED(&finder->mutex);
    for (size_t i = 0; i < LIST_COUNT; i++) {
        if (code == HF_ERR_OK) {
            replace_list(finder, &finder->lists[i], &fresh[i]);
        } else {
            free_list(finder, &fresh[i]);
        }
    }
    if (code == HF_ERR_OK) {
        finder->lists_ended = number;
    }
    finder->listing = false;
    hf_cond_broadcast(&finder->listed);
    return code;
}

enum hf_err hf_finder_refresh(struct hf_finder *finder, struct hf_error *err)
{
    uint64_t number;
    {
        HF_LOCKED(&finder->mutex);
        /* A list under way began before this call: wait for it, then for one that did not. keeps I10 */
        uint64_t wanted = finder->lists_begun + 1;
        while (finder->listing) {
            hf_cond_wait(&finder->listed, &finder->mutex);
        }
        if (finder->lists_ended >= wanted) {
            return HF_ERR_OK;
        }
        finder->listing = true;
        number = ++finder->lists_begun;
    }
    return make_lists(finder, number, err);
}

/* ---- finding ---- */

static enum hf_err load_footer(struct hf_finder *finder, const struct hf_object_name *name,
                               struct kept_footer *kept, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf tail = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    uint64_t size_bytes = 0;
    uint64_t need = HF_FOOTER_GUESS_BYTES;
    while (need != 0) {
        uint64_t asked = need;
        if (hf_object_cache_tail(finder->cache, name, (size_t)need, &tail, &size_bytes, err) !=
                HF_ERR_OK ||
            hf_footer_decode(hf_buf_bytes(&tail), size_bytes, &need, &kept->footer, err) !=
                HF_ERR_OK) {
            return err->code;
        }
        if (need > HF_STORE_OBJECT_MAX_BYTES || (need != 0 && need <= asked)) {
            return hf_fail(err, HF_ERR_CORRUPT, "the object is shorter than its footer");
        }
    }
    enum hf_err code = hf_footer_check_name(&kept->footer, name, err);
    if (code != HF_ERR_OK) {
        hf_footer_fini(&kept->footer);
    }
    return code;
}

/* Under the mutex. The first object at or after `from` whose range covers the position; NULL: there is none. */
static struct object *next_covering(struct object_list *list, uint64_t position, size_t from,
                                    const struct hf_id *writer)
{
    for (size_t i = from; i < list->count; i++) {
        struct object *object = &list->items[i];
        if (object->least_first > position) {
            return NULL;
        }
        if (object->first <= position && object->last >= position &&
            (writer == NULL || hf_id_equal(writer, &object->writer))) {
            return object;
        }
    }
    return NULL;
}

static size_t first_ending_at(const struct object_list *list, uint64_t position)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->items[middle].last < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct hf_object_name name_of(const struct hf_finder *finder, size_t list,
                                     const struct object *object)
{
    return (struct hf_object_name){.kind = kind_of_list(list),
                                   .job = finder->job,
                                   .writer = object->writer,
                                   .first = object->first,
                                   .last = object->last,
                                   .round = object->round};
}

/* Loads the footer of an object that was seen under the mutex; the object is found again by its name, since the list
 * may have been replaced meanwhile. */
static enum hf_err bring_footer(struct hf_finder *finder, size_t list,
                                const struct hf_object_name *name, struct hf_error *err)
{
    struct kept_footer *kept = hf_alloc_zero(sizeof *kept);
    if (kept == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "footer");
    }
    enum hf_err code = load_footer(finder, name, kept, err);
    HF_LOCKED(&finder->mutex);
    struct object probe = {
        .first = name->first, .last = name->last, .writer = name->writer, .round = name->round};
    struct object_list *objects = &finder->lists[list];
    struct object *object = objects->count == 0 ? NULL
                                                : bsearch(&probe, objects->items, objects->count,
                                                          sizeof probe, by_name);
    if (code == HF_ERR_OK && object != NULL && object->footer == NULL) {
        keep_footer(finder, object, kept);
        return HF_ERR_OK;
    }
    if (code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED) {
        if (object != NULL) {
            object->damaged = true;
        }
        (void)hf_wrap(err, "%s", hf_object_name_text(name).text);
    }
    if (code == HF_ERR_OK) {
        hf_footer_fini(&kept->footer);
    }
    hf_free(kept);
    return code;
}

/* What one look through one list found. */
struct look {
    unsigned skip; /* candidates still to pass over */
    bool found;
    bool damage;  /* a footer that could hold the block cannot be read */
    bool missing; /* a footer has to be brought first: its object's name */
    struct hf_object_name name;
};

/* Under the mutex. */
static void look_through(struct hf_finder *finder, size_t which, const struct hf_find *find,
                         struct look *look, struct hf_found_block *out)
{
    struct object_list *list = &finder->lists[which];
    uint64_t position = hf_address_position(&find->address);
    size_t from = first_ending_at(list, position);
    struct object *object;
    while ((object = next_covering(list, position, from, find->writer)) != NULL) {
        from = (size_t)(object - list->items) + 1;
        if (object->damaged) {
            look->damage = true;
            look->name = name_of(finder, which, object);
            continue;
        }
        if (object->footer == NULL) {
            look->missing = true;
            look->name = name_of(finder, which, object);
            return;
        }
        struct kept_footer *kept = object->footer;
        unlink_footer(finder, kept);
        link_newest(finder, kept);
        const struct hf_footer_block *block = hf_footer_find(&kept->footer, &find->address);
        const struct hf_footer_block *end = kept->footer.blocks + kept->footer.block_count;
        for (; block != NULL && block < end && hf_address_equal(&block->address, &find->address);
             block++) {
            if (look->skip > 0) {
                look->skip--;
                continue;
            }
            out->object = name_of(finder, which, object);
            out->block = *block;
            out->origin = kept->footer.runs[block->run];
            look->found = true;
            return;
        }
    }
}

enum hf_err hf_finder_find(struct hf_finder *finder, const struct hf_find *find,
                           struct hf_found_block *out, struct hf_error *err)
{
    size_t first = find->first == HF_OBJECT_TREE ? LIST_TREE : LIST_DATA;
    const size_t order[LIST_COUNT] = {first, LIST_COUNT - 1 - first};
    for (;;) {
        struct look look = {.skip = find->candidate};
        size_t which = first;
        {
            HF_LOCKED(&finder->mutex);
            for (size_t i = 0; i < LIST_COUNT && !look.found && !look.missing; i++) {
                which = order[i];
                look_through(finder, which, find, &look, out);
            }
        }
        if (look.found) {
            return HF_ERR_OK;
        }
        if (!look.missing) {
            if (look.damage && find->candidate == 0) {
                return hf_fail(err, HF_ERR_CORRUPT, "block %s: %s: its footer cannot be read",
                               hf_address_text(&find->address).text,
                               hf_object_name_text(&look.name).text);
            }
            return hf_fail(err, HF_ERR_NOT_FOUND, "block %s is in no object",
                           hf_address_text(&find->address).text);
        }
        enum hf_err code = bring_footer(finder, which, &look.name, err);
        if (code == HF_ERR_NOT_FOUND) {
            /* It went since the list was made: what it held is in another object, or is no more. keeps I10 */
            code = hf_finder_refresh(finder, err);
        }
        if (code != HF_ERR_OK && code != HF_ERR_CORRUPT && code != HF_ERR_UNSUPPORTED) {
            return code;
        }
    }
}
