/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "mem": objects in memory, kept sorted by name. It is the model that the other drivers are
 * held against, so it is plain before it is fast. Must not know about files.
 */
#include "base/alloc.h"
#include "base/thread.h"
#include "store/driver.h"

struct object {
    char *name;    /* owned */
    uint8_t *data; /* owned */
    size_t len;
};

struct mem_store {
    struct hf_store base;
    struct hf_mutex mutex;   /* guards: all below */
    struct object **objects; /* owned, ascending by name */
    size_t count;
    size_t capacity;
};

static struct mem_store *mem_of(struct hf_store *store)
{
    return (struct mem_store *)store;
}

static void object_free(struct object *object)
{
    if (object != NULL) {
        hf_free(object->name);
        hf_free(object->data);
        hf_free(object);
    }
}
HF_CLEANUP_DEFINE(object_free, struct object *)

/* The place of the first object whose name is not below the given one. */
static size_t place_of(const struct mem_store *mem, struct hf_str name)
{
    size_t low = 0;
    size_t high = mem->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (hf_str_compare(hf_str_of(mem->objects[middle]->name), name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct object *find(const struct mem_store *mem, struct hf_str name)
{
    size_t at = place_of(mem, name);
    return at < mem->count && hf_str_equal_c(name, mem->objects[at]->name) ? mem->objects[at]
                                                                           : NULL;
}

static enum hf_err need(const struct mem_store *mem, struct hf_str name, struct object **out,
                        struct hf_error *err)
{
    *out = find(mem, name);
    return *out != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NOT_FOUND, "no such object");
}

/* A file system cannot have a name that is another's directory; no driver may. */
static enum hf_err check_directories(const struct mem_store *mem, struct hf_str name,
                                     struct hf_error *err)
{
    for (size_t i = 0; i < name.len; i++) {
        struct hf_str above = {.data = name.data, .len = i};
        if (name.data[i] == '/' && find(mem, above) != NULL) {
            return hf_fail(err, HF_ERR_EXISTS, "%.*s is an object, nothing can lie below it",
                           HF_STR_ARG(above));
        }
    }
    char below[HF_STORE_NAME_MAX_BYTES + 2];
    memcpy(below, name.data, name.len);
    below[name.len] = '/';
    struct hf_str dir = {.data = below, .len = name.len + 1};
    size_t at = place_of(mem, dir);
    if (at < mem->count && hf_str_starts_with(hf_str_of(mem->objects[at]->name), dir)) {
        return hf_fail(err, HF_ERR_EXISTS, "objects lie below this name");
    }
    return HF_ERR_OK;
}

static enum hf_err make_room(struct mem_store *mem, struct hf_error *err)
{
    if (mem->count < mem->capacity) {
        return HF_ERR_OK;
    }
    size_t capacity = mem->capacity == 0 ? 64 : mem->capacity * 2;
    struct object **objects = hf_realloc_array(mem->objects, capacity, sizeof *mem->objects);
    if (objects == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for %zu objects", capacity);
    }
    mem->objects = objects;
    mem->capacity = capacity;
    return HF_ERR_OK;
}

static enum hf_err mem_put(struct hf_store *store, struct hf_str name, struct hf_bytes content,
                           const struct hf_store_put_options *options, struct hf_error *err)
{
    (void)options;
    struct mem_store *mem = mem_of(store);
    HF_CLEANUP(object_free) struct object *object = hf_alloc_zero(sizeof *object);
    if (object == NULL || (object->name = hf_strndup(name.data, name.len)) == NULL ||
        (object->data = hf_alloc_huge(content.len)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for an object of %zu bytes", content.len);
    }
    if (content.len > 0) {
        memcpy(object->data, content.data, content.len);
    }
    object->len = content.len;

    HF_LOCKED(&mem->mutex);
    const struct object *old = find(mem, name);
    if (old != NULL) {
        return hf_bytes_equal(content, hf_bytes_of(old->data, old->len))
                   ? HF_ERR_OK
                   : hf_fail(err, HF_ERR_EXISTS, "it is there already, with other bytes");
    }
    if (check_directories(mem, name, err) != HF_ERR_OK || make_room(mem, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t at = place_of(mem, name);
    memmove(mem->objects + at + 1, mem->objects + at, (mem->count - at) * sizeof *mem->objects);
    mem->objects[at] = HF_TAKE(object);
    mem->count++;
    return HF_ERR_OK;
}

static enum hf_err mem_get(struct hf_store *store, struct hf_str name, size_t max,
                           struct hf_buf *out, struct hf_error *err)
{
    struct mem_store *mem = mem_of(store);
    HF_LOCKED(&mem->mutex);
    struct object *object;
    if (need(mem, name, &object, err) != HF_ERR_OK) {
        return err->code;
    }
    if (object->len > max) {
        return hf_fail(err, HF_ERR_LIMIT, "it has %zu bytes, at most %zu are taken", object->len,
                       max);
    }
    return hf_buf_append(out, hf_bytes_of(object->data, object->len), err);
}

static enum hf_err mem_get_range(struct hf_store *store, struct hf_str name, uint64_t offset,
                                 uint8_t *out, size_t len, struct hf_error *err)
{
    struct mem_store *mem = mem_of(store);
    HF_LOCKED(&mem->mutex);
    struct object *object;
    if (need(mem, name, &object, err) != HF_ERR_OK) {
        return err->code;
    }
    if (offset > object->len || len > object->len - offset) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "it ends after %zu bytes, %zu at %llu were expected to be there",
                       object->len, len, (unsigned long long)offset);
    }
    if (len > 0) {
        memcpy(out, object->data + offset, len);
    }
    return HF_ERR_OK;
}

static enum hf_err mem_get_tail(struct hf_store *store, struct hf_str name, size_t len,
                                struct hf_buf *out, uint64_t *size_bytes, struct hf_error *err)
{
    struct mem_store *mem = mem_of(store);
    HF_LOCKED(&mem->mutex);
    struct object *object;
    if (need(mem, name, &object, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t tail = len < object->len ? len : object->len;
    if (hf_buf_append(out, hf_bytes_of(object->data + (object->len - tail), tail), err) !=
        HF_ERR_OK) {
        return err->code;
    }
    *size_bytes = object->len;
    return HF_ERR_OK;
}

static enum hf_err mem_size(struct hf_store *store, struct hf_str name, uint64_t *size_bytes,
                            struct hf_error *err)
{
    struct mem_store *mem = mem_of(store);
    HF_LOCKED(&mem->mutex);
    struct object *object;
    if (need(mem, name, &object, err) != HF_ERR_OK) {
        return err->code;
    }
    *size_bytes = object->len;
    return HF_ERR_OK;
}

static enum hf_err mem_list(struct hf_store *store, struct hf_str prefix, struct hf_str after,
                            size_t max_entries, struct hf_store_list *out, struct hf_error *err)
{
    struct mem_store *mem = mem_of(store);
    struct hf_store_lister lister = {
        .prefix = prefix, .after = after, .max_entries = max_entries, .capacity = 0, .list = out};
    HF_LOCKED(&mem->mutex);
    size_t at = place_of(mem, hf_str_compare(prefix, after) > 0 ? prefix : after);
    for (; at < mem->count && !out->more; at++) {
        struct hf_str name = hf_str_of(mem->objects[at]->name);
        if (!hf_str_starts_with(name, prefix) && hf_str_compare(name, prefix) > 0) {
            break;
        }
        if (hf_store_lister_add(&lister, name, mem->objects[at]->len, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err mem_remove(struct hf_store *store, struct hf_str name, struct hf_error *err)
{
    struct mem_store *mem = mem_of(store);
    HF_LOCKED(&mem->mutex);
    struct object *object;
    if (need(mem, name, &object, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t at = place_of(mem, name);
    mem->count--;
    memmove(mem->objects + at, mem->objects + at + 1, (mem->count - at) * sizeof *mem->objects);
    object_free(object);
    return HF_ERR_OK;
}

static void mem_close(struct hf_store *store)
{
    struct mem_store *mem = mem_of(store);
    for (size_t i = 0; i < mem->count; i++) {
        object_free(mem->objects[i]);
    }
    hf_free(mem->objects);
    hf_mutex_fini(&mem->mutex);
    hf_free(mem->base.url);
    hf_free(mem);
}

static const struct hf_store_driver mem_driver = {
    .kind = "mem",
    .put = mem_put,
    .get = mem_get,
    .get_range = mem_get_range,
    .get_tail = mem_get_tail,
    .size = mem_size,
    .list = mem_list,
    .remove = mem_remove,
    .close = mem_close,
};

enum hf_err hf_store_mem_create(struct hf_store **out, struct hf_error *err)
{
    struct mem_store *mem = hf_alloc_zero(sizeof *mem);
    char *url = hf_strdup("mem:");
    if (mem == NULL || url == NULL) {
        hf_free(mem);
        hf_free(url);
        return hf_fail(err, HF_ERR_NO_MEMORY, "create a store in memory");
    }
    mem->base.driver = &mem_driver;
    mem->base.url = url;
    mem->base.abilities =
        (struct hf_store_abilities){.put_if_absent = true, .consistent_list = true};
    hf_mutex_init(&mem->mutex);
    *out = &mem->base;
    return HF_ERR_OK;
}
