/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading stretches of objects, with whole copies of tree objects in a directory.
 *
 * A copy is the file `hf-tree-<job>-<last>-<span>-<round>-<writer>`. When the directory outgrows its limit all copies
 * go: they are cheap to fetch again, and which will be wanted is not known.
 */
#include "snapshot/object_cache.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "os/fs.h"
#include "snapshot/retry.h"

#define DEFAULT_MAX_BYTES ((uint64_t)1 << 30)
#define FILES_MAX 100000
#define COPY_PREFIX "hf-tree-"

struct hf_object_cache {
    struct hf_store *store; /* borrowed: outlives us */
    char *dir;              /* owned; NULL: nothing is kept */
    uint64_t max_bytes;
    struct hf_mutex mutex; /* guards: fetching, kept_bytes */
    struct hf_cond fetched;
    bool fetching; /* one object at a time */
    uint64_t kept_bytes;
};

/* Bytes of all copies in the directory; removes them too when asked to. */
static uint64_t walk_copies(const char *dir, bool remove)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    struct hf_error ignored;
    uint64_t total = 0;
    if (hf_fs_list(dir, FILES_MAX, &list, &ignored) != HF_ERR_OK) {
        return 0;
    }
    for (size_t i = 0; i < list.count; i++) {
        if (!hf_str_starts_with(hf_str_of(list.names[i]), hf_str_of(COPY_PREFIX))) {
            continue;
        }
        HF_CLEANUP(hf_free) char *path = hf_path_join(dir, list.names[i]);
        struct hf_file_info info;
        if (path != NULL && hf_fs_lstat(path, &info, &ignored) == HF_ERR_OK) {
            total += info.size_bytes;
            if (remove) {
                if (hf_fs_remove_scratch(path, &ignored) != HF_ERR_OK) {
                    continue; /* a copy that stays does no harm */
                }
            }
        }
    }
    return total;
}

enum hf_err hf_object_cache_create(const struct hf_object_cache_options *options,
                                   struct hf_object_cache **out, struct hf_error *err)
{
    struct hf_object_cache *cache = hf_alloc_zero(sizeof *cache);
    if (cache == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "object cache");
    }
    hf_mutex_init(&cache->mutex);
    hf_cond_init(&cache->fetched);
    HF_CLEANUP(hf_object_cache_destroy) struct hf_object_cache *owned = cache;
    cache->store = options->store;
    cache->max_bytes = options->max_bytes == 0 ? DEFAULT_MAX_BYTES : options->max_bytes;
    if (options->dir != NULL) {
        cache->dir = hf_strdup(options->dir);
        if (cache->dir == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "object cache");
        }
        if (hf_fs_make_dirs(cache->dir, 0700, err) != HF_ERR_OK ||
            hf_fs_sweep_temporaries(cache->dir, err) != HF_ERR_OK) {
            return hf_wrap(err, "object cache");
        }
        cache->kept_bytes = walk_copies(cache->dir, false);
    }
    *out = HF_TAKE(owned);
    return HF_ERR_OK;
}

void hf_object_cache_destroy(struct hf_object_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    hf_cond_fini(&cache->fetched);
    hf_mutex_fini(&cache->mutex);
    hf_free(cache->dir);
    hf_free(cache);
}

static char *copy_path(const struct hf_object_cache *cache, const struct hf_object_name *object)
{
    struct hf_object_text name = hf_object_name_text(object);
    const char *last_part = strrchr(name.text, '/');
    return hf_asprintf("%s/" COPY_PREFIX "%s-%s", cache->dir, hf_id_text(&object->job).text,
                       last_part == NULL ? name.text : last_part + 1);
}

static enum hf_err get_whole(struct hf_object_cache *cache, const struct hf_object_name *object,
                             struct hf_buf *out, struct hf_error *err)
{
    struct hf_object_text name = hf_object_name_text(object);
    struct hf_retry retry = {.tries = 0};
    enum hf_err code;
    do {
        code =
            hf_store_get(cache->store, hf_str_of(name.text), HF_STORE_OBJECT_MAX_BYTES, out, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    return code;
}

static enum hf_err fetch_copy(struct hf_object_cache *cache, const struct hf_object_name *object,
                              const char *path, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    if (get_whole(cache, object, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    bool full;
    {
        HF_LOCKED(&cache->mutex);
        full = cache->kept_bytes + bytes.len > cache->max_bytes;
    }
    if (full) {
        (void)walk_copies(cache->dir, true);
    }
    enum hf_err code = hf_fs_publish_replace(path, hf_buf_bytes(&bytes), 0600, err);
    HF_LOCKED(&cache->mutex);
    cache->kept_bytes = (full ? 0 : cache->kept_bytes) + (code == HF_ERR_OK ? bytes.len : 0);
    return code;
}

/* Opens the kept copy, fetching it first when it is not there. */
static enum hf_err open_copy(struct hf_object_cache *cache, const struct hf_object_name *object,
                             struct hf_file **out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = copy_path(cache, object);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "object cache");
    }
    if (hf_file_open(path, HF_OPEN_READ, 0, out, err) == HF_ERR_OK) {
        return HF_ERR_OK;
    }
    hf_mutex_lock(&cache->mutex);
    while (cache->fetching) {
        hf_cond_wait(&cache->fetched, &cache->mutex);
    }
    cache->fetching = true;
    hf_mutex_unlock(&cache->mutex);
    /* Another thread may have fetched it while this one waited. */
    enum hf_err code = hf_file_open(path, HF_OPEN_READ, 0, out, err);
    if (code != HF_ERR_OK) {
        code = fetch_copy(cache, object, path, err);
        if (code == HF_ERR_OK) {
            code = hf_file_open(path, HF_OPEN_READ, 0, out, err);
        }
    }
    hf_mutex_lock(&cache->mutex);
    cache->fetching = false;
    hf_cond_broadcast(&cache->fetched);
    hf_mutex_unlock(&cache->mutex);
    return code;
}

static bool is_kept(const struct hf_object_cache *cache, const struct hf_object_name *object)
{
    return cache->dir != NULL && object->kind == HF_OBJECT_TREE;
}

/* A disk that fails must not stop a capture that the store could serve: only the store's own words count. */
static bool copy_is_at_fault(enum hf_err code)
{
    return code == HF_ERR_IO || code == HF_ERR_NO_SPACE || code == HF_ERR_DENIED ||
           code == HF_ERR_BUSY || code == HF_ERR_LIMIT;
}

enum hf_err hf_object_cache_range(struct hf_object_cache *cache,
                                  const struct hf_object_name *object, uint64_t offset,
                                  uint8_t *out, size_t len, struct hf_error *err)
{
    if (is_kept(cache, object)) {
        HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
        size_t got = 0;
        enum hf_err code = open_copy(cache, object, &file, err);
        if (code == HF_ERR_OK) {
            code = hf_file_read_at(file, offset, out, len, &got, err);
            if (code == HF_ERR_OK && got == len) {
                return HF_ERR_OK;
            }
            hf_object_cache_forget(cache, object);
        } else if (!copy_is_at_fault(code)) {
            return code;
        }
    }
    struct hf_object_text name = hf_object_name_text(object);
    struct hf_retry retry = {.tries = 0};
    enum hf_err code;
    do {
        code = hf_store_get_range(cache->store, hf_str_of(name.text), offset, out, len, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    return code;
}

static enum hf_err tail_of_copy(struct hf_file *file, size_t len, struct hf_buf *out,
                                uint64_t *size_bytes, struct hf_error *err)
{
    struct hf_file_info info;
    if (hf_file_info(file, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t wanted = info.size_bytes < len ? (size_t)info.size_bytes : len;
    size_t got = 0;
    hf_buf_clear(out);
    if (hf_buf_reserve(out, wanted + 1, err) != HF_ERR_OK ||
        hf_file_read_at(file, info.size_bytes - wanted, out->data, wanted, &got, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    if (got != wanted) {
        return hf_fail(err, HF_ERR_IO, "the kept copy of an object shrank");
    }
    out->len = wanted;
    *size_bytes = info.size_bytes;
    return HF_ERR_OK;
}

enum hf_err hf_object_cache_tail(struct hf_object_cache *cache, const struct hf_object_name *object,
                                 size_t len, struct hf_buf *out, uint64_t *size_bytes,
                                 struct hf_error *err)
{
    if (is_kept(cache, object)) {
        HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
        enum hf_err code = open_copy(cache, object, &file, err);
        if (code == HF_ERR_OK) {
            if (tail_of_copy(file, len, out, size_bytes, err) == HF_ERR_OK) {
                return HF_ERR_OK;
            }
            hf_object_cache_forget(cache, object);
        } else if (!copy_is_at_fault(code)) {
            return code;
        }
    }
    struct hf_object_text name = hf_object_name_text(object);
    struct hf_retry retry = {.tries = 0};
    enum hf_err code;
    do {
        code = hf_store_get_tail(cache->store, hf_str_of(name.text), len, out, size_bytes, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    return code;
}

void hf_object_cache_forget(struct hf_object_cache *cache, const struct hf_object_name *object)
{
    struct hf_error ignored;
    if (!is_kept(cache, object)) {
        return;
    }
    HF_CLEANUP(hf_free) char *path = copy_path(cache, object);
    if (path == NULL || hf_fs_remove_scratch(path, &ignored) != HF_ERR_OK) {
        return; /* it stays, and is read around: every block is proved by its hash */
    }
}
