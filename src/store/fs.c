/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "fs": an object is the file `<root>/<name>`, published by link so that nothing is ever
 * written over, in directories that are made as they are needed. Any number of processes may use
 * one root. Must not know what the objects hold.
 *
 * Directories are kept when their last object goes. Removing one could take it away between another
 * process's making it durable and its putting into it; kept, "this directory is durable" stays true
 * once it was true. There are a few for each job, so what stays of an ended one is some empty
 * directories.
 */
#include "os/fs.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "store/fs_internal.h"
#include "store/url.h"

#define OBJECT_MODE 0440 /* an object never changes */
#define DIR_MODE 0750
/* How often a put begins again when others delete, sweep or put the same name meanwhile. */
#define PUT_TRIES 16
/* Directories remembered as durable; beyond it all are forgotten, which costs a few syncs. */
#define KNOWN_MAX 65536
#define ROOM_HINT "make room, or delete snapshots and groom"
#define COMPARE_BYTES ((size_t)256 << 10)

static struct hf_store_fs *fs_of(struct hf_store *store)
{
    return (struct hf_store_fs *)store;
}

static enum hf_err path_of(const struct hf_store_fs *fs, struct hf_str name, char **out,
                           struct hf_error *err)
{
    *out = name.len == 0 ? hf_strdup(fs->root) : hf_asprintf("%s/%.*s", fs->root, HF_STR_ARG(name));
    return *out != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
}

/* "j/01" of "j/01/p"; empty for a name in the root. */
static struct hf_str parent_of(struct hf_str name)
{
    size_t len = name.len;
    while (len > 0 && name.data[len - 1] != '/') {
        len--;
    }
    return (struct hf_str){.data = name.data, .len = len == 0 ? 0 : len - 1};
}

/* The object that stands where a directory of name should be; empty when there is none. */
static struct hf_str object_in_the_way(const struct hf_store_fs *fs, struct hf_str name)
{
    for (struct hf_str dir = parent_of(name); dir.len > 0; dir = parent_of(dir)) {
        struct hf_error ignored;
        HF_CLEANUP(hf_free) char *path = NULL;
        struct hf_file_info info;
        if (path_of(fs, dir, &path, &ignored) == HF_ERR_OK &&
            hf_fs_stat(path, &info, &ignored) == HF_ERR_OK) {
            return info.kind == HF_FILE_DIR ? (struct hf_str){.data = NULL, .len = 0} : dir;
        }
    }
    return (struct hf_str){.data = NULL, .len = 0};
}

bool hf_store_fs_object_above(const struct hf_store_fs *fs, struct hf_str name)
{
    return object_in_the_way(fs, name).len > 0;
}

/* Facts of an object. A directory of that name, or an object in place of a directory, is NOT_FOUND
 * like nothing at all. */
static enum hf_err object_info(const struct hf_store_fs *fs, struct hf_str name, const char *path,
                               struct hf_file_info *out, struct hf_error *err)
{
    if (hf_fs_stat(path, out, err) != HF_ERR_OK) {
        if (err->code != HF_ERR_NOT_FOUND && object_in_the_way(fs, name).len == 0) {
            return err->code;
        }
        return hf_fail(err, HF_ERR_NOT_FOUND, "no such object");
    }
    if (out->kind == HF_FILE_DIR) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "no such object");
    }
    if (out->kind != HF_FILE_REGULAR) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s is not a regular file", path);
    }
    return HF_ERR_OK;
}

/* ---- Directories ---- */

/* Under the mutex. The place of the first known directory that is not below dir. */
static size_t known_place(const struct hf_store_fs *fs, struct hf_str dir)
{
    size_t low = 0;
    size_t high = fs->known_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (hf_str_compare(hf_str_of(fs->known[middle]), dir) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_known(struct hf_store_fs *fs, struct hf_str dir)
{
    HF_LOCKED(&fs->mutex);
    size_t at = known_place(fs, dir);
    return at < fs->known_count && hf_str_equal_c(dir, fs->known[at]);
}

static void forget_all(struct hf_store_fs *fs)
{
    HF_LOCKED(&fs->mutex);
    for (size_t i = 0; i < fs->known_count; i++) {
        hf_free(fs->known[i]);
    }
    fs->known_count = 0;
}

/* Remembering is an optimisation: without memory for it nothing is lost. */
static void remember(struct hf_store_fs *fs, struct hf_str dir)
{
    HF_CLEANUP(hf_free) char *copy = hf_strndup(dir.data, dir.len);
    HF_LOCKED(&fs->mutex);
    size_t at = known_place(fs, dir);
    if (copy == NULL || fs->known_count == KNOWN_MAX ||
        (at < fs->known_count && hf_str_equal_c(dir, fs->known[at]))) {
        return;
    }
    if (fs->known_count % 64 == 0) {
        char **known = hf_realloc_array(fs->known, fs->known_count + 64, sizeof *fs->known);
        if (known == NULL) {
            return;
        }
        fs->known = known;
    }
    memmove(fs->known + at + 1, fs->known + at, (fs->known_count - at) * sizeof *fs->known);
    fs->known[at] = HF_TAKE(copy);
    fs->known_count++;
}

/*
 * Makes one directory whose parents are there. It is synced in its parent even when it was there
 * before: another process may have made it a moment ago and not have come to its own sync, and what
 * is put into it must not get lost with it.
 */
static enum hf_err make_dir(struct hf_store_fs *fs, struct hf_str dir, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;
    HF_CLEANUP(hf_free) char *parent = NULL;
    if (path_of(fs, dir, &path, err) != HF_ERR_OK ||
        path_of(fs, parent_of(dir), &parent, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_fs_make_dirs(path, DIR_MODE, err) != HF_ERR_OK ||
        hf_fs_sync_dir(parent, err) != HF_ERR_OK ||
        hf_fs_sweep_temporaries(path, err) != HF_ERR_OK) {
        return err->code;
    }
    remember(fs, dir);
    return HF_ERR_OK;
}

static enum hf_err make_dirs_of(struct hf_store_fs *fs, struct hf_str name, struct hf_error *err)
{
    struct hf_str dir = parent_of(name);
    if (dir.len == 0 || is_known(fs, dir)) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i <= dir.len; i++) {
        struct hf_str upper = {.data = dir.data, .len = i};
        if ((i < dir.len && dir.data[i] != '/') || is_known(fs, upper)) {
            continue;
        }
        if (make_dir(fs, upper, err) != HF_ERR_OK) {
            struct hf_str object = object_in_the_way(fs, name);
            return object.len == 0
                       ? err->code
                       : hf_fail(err, HF_ERR_EXISTS, "%.*s is an object, nothing can lie below it",
                                 HF_STR_ARG(object));
        }
    }
    return HF_ERR_OK;
}

/* ---- Put ---- */

static enum hf_err equals_file(const char *path, uint64_t size_bytes, struct hf_bytes content,
                               bool *equal, struct hf_error *err)
{
    *equal = false;
    if (size_bytes != content.len) {
        return HF_ERR_OK;
    }
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    HF_CLEANUP(hf_free) uint8_t *piece = hf_alloc(COMPARE_BYTES);
    if (piece == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory to compare %s", path);
    }
    if (hf_file_open(path, HF_OPEN_READ, 0, &file, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t at = 0; at < content.len;) {
        size_t want = content.len - at < COMPARE_BYTES ? content.len - at : COMPARE_BYTES;
        size_t got = 0;
        if (hf_file_read_at(file, at, piece, want, &got, err) != HF_ERR_OK) {
            return err->code;
        }
        if (got != want || memcmp(piece, content.data + at, want) != 0) {
            return HF_ERR_OK;
        }
        at += want;
    }
    *equal = true;
    return HF_ERR_OK;
}

/* NOT_FOUND: the name is free. OK: the same bytes are there, and durable. EXISTS: something else
 * has the name. */
static enum hf_err compare_existing(struct hf_store_fs *fs, struct hf_str name, const char *path,
                                    struct hf_bytes content, struct hf_error *err)
{
    struct hf_file_info info;
    if (hf_fs_lstat(path, &info, err) != HF_ERR_OK) {
        struct hf_str object = object_in_the_way(fs, name);
        return object.len == 0
                   ? err->code
                   : hf_fail(err, HF_ERR_EXISTS, "%.*s is an object, nothing can lie below it",
                             HF_STR_ARG(object));
    }
    if (info.kind == HF_FILE_DIR) {
        return hf_fail(err, HF_ERR_EXISTS, "objects lie, or lay, below this name");
    }
    bool equal = false;
    if (info.kind == HF_FILE_REGULAR &&
        equals_file(path, info.size_bytes, content, &equal, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!equal) {
        return hf_fail(err, HF_ERR_EXISTS, "it is there already, with other bytes");
    }
    /* Whoever put it may not have come to its syncs yet; its content was synced before it had this
     * name. */
    HF_CLEANUP(hf_free) char *dir = NULL;
    if (make_dirs_of(fs, name, err) != HF_ERR_OK ||
        path_of(fs, parent_of(name), &dir, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fs_sync_dir(dir, err);
}

/* Counts the put as under way, and checks that with it, and all others under way, the reserve stays
 * free. */
static enum hf_err begin_put(struct hf_store_fs *fs, size_t len, bool use_reserve,
                             struct hf_error *err)
{
    hf_mutex_lock(&fs->mutex);
    fs->in_flight_bytes += len;
    uint64_t in_flight = fs->in_flight_bytes;
    hf_mutex_unlock(&fs->mutex);
    if (use_reserve) {
        return HF_ERR_OK;
    }
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    if (hf_fs_space(fs->root, &free_bytes, &total_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    if (free_bytes < fs->reserve_bytes || free_bytes - fs->reserve_bytes < in_flight) {
        return hf_fail(err, HF_ERR_NO_SPACE,
                       "%llu bytes are free, of which %llu are kept for grooming; hint: " ROOM_HINT,
                       (unsigned long long)free_bytes, (unsigned long long)fs->reserve_bytes);
    }
    return HF_ERR_OK;
}

static void end_put(struct hf_store_fs *fs, size_t len)
{
    HF_LOCKED(&fs->mutex);
    fs->in_flight_bytes -= len;
}

static enum hf_err publish(struct hf_store_fs *fs, struct hf_str name, const char *path,
                           struct hf_bytes content, struct hf_error *err)
{
    for (int try = 0; try < PUT_TRIES; try++) {
        if (make_dirs_of(fs, name, err) != HF_ERR_OK) {
            return err->code;
        }
        enum hf_err code = hf_fs_publish_new(path, content, OBJECT_MODE, err);
        if (code == HF_ERR_EXISTS) {
            code = compare_existing(fs, name, path, content, err);
        } else if (code == HF_ERR_NOT_FOUND) {
            /* Our temporary file was swept by a process that just opened the store, or the
             * directory was removed. */
            forget_all(fs);
        }
        if (code != HF_ERR_NOT_FOUND) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_UNAVAILABLE, "it was put and deleted by others %d times meanwhile",
                   PUT_TRIES);
}

static enum hf_err fs_put(struct hf_store *store, struct hf_str name, struct hf_bytes content,
                          const struct hf_store_put_options *options, struct hf_error *err)
{
    struct hf_store_fs *fs = fs_of(store);
    if (fs->read_only) {
        return hf_fail(err, HF_ERR_DENIED, "the store was opened for reading only");
    }
    HF_CLEANUP(hf_free) char *path = NULL;
    if (path_of(fs, name, &path, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = compare_existing(fs, name, path, content, err);
    if (code != HF_ERR_NOT_FOUND) {
        return code;
    }
    code = begin_put(fs, content.len, options->use_reserve, err);
    if (code == HF_ERR_OK) {
        code = publish(fs, name, path, content, err);
        if (code == HF_ERR_NO_SPACE) {
            (void)hf_hint(err, ROOM_HINT);
        }
    }
    end_put(fs, content.len);
    return code;
}

/* ---- Get ---- */

static enum hf_err open_object(struct hf_store_fs *fs, struct hf_str name, struct hf_file **out,
                               uint64_t *size_bytes, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    struct hf_file_info info;
    if (path_of(fs, name, &path, err) != HF_ERR_OK ||
        object_info(fs, name, path, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_file_open(path, HF_OPEN_READ, 0, &file, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NOT_FOUND ? hf_fail(err, HF_ERR_NOT_FOUND, "no such object")
                                             : err->code;
    }
    /* Of the file that is open: between the look and the opening another may have got the name. */
    if (hf_file_info(file, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    *size_bytes = info.size_bytes;
    *out = HF_TAKE(file);
    return HF_ERR_OK;
}

/* Appends len bytes at offset; the file is known to have them. */
static enum hf_err read_piece(struct hf_file *file, uint64_t offset, size_t len, struct hf_buf *out,
                              struct hf_error *err)
{
    size_t got = 0;
    if (hf_buf_reserve(out, len, err) != HF_ERR_OK ||
        hf_file_read_at(file, offset, out->data + out->len, len, &got, err) != HF_ERR_OK) {
        return err->code;
    }
    if (got != len) {
        return hf_fail(err, HF_ERR_CORRUPT, "it ends after %llu bytes, it had more a moment ago",
                       (unsigned long long)(offset + got));
    }
    out->len += len;
    return HF_ERR_OK;
}

static enum hf_err fs_get(struct hf_store *store, struct hf_str name, size_t max,
                          struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    uint64_t size_bytes = 0;
    if (open_object(fs_of(store), name, &file, &size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    if (size_bytes > max) {
        return hf_fail(err, HF_ERR_LIMIT, "it has %llu bytes, at most %zu are taken",
                       (unsigned long long)size_bytes, max);
    }
    return read_piece(file, 0, (size_t)size_bytes, out, err);
}

static enum hf_err fs_get_range(struct hf_store *store, struct hf_str name, uint64_t offset,
                                uint8_t *out, size_t len, struct hf_error *err)
{
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    uint64_t size_bytes = 0;
    size_t got = 0;
    if (open_object(fs_of(store), name, &file, &size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    if (offset <= size_bytes && len <= size_bytes - offset &&
        hf_file_read_at(file, offset, out, len, &got, err) != HF_ERR_OK) {
        return err->code;
    }
    if (offset > size_bytes || got != len) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "it ends after %llu bytes, %zu at %llu were expected to be there",
                       (unsigned long long)size_bytes, len, (unsigned long long)offset);
    }
    return HF_ERR_OK;
}

static enum hf_err fs_get_tail(struct hf_store *store, struct hf_str name, size_t len,
                               struct hf_buf *out, uint64_t *size_bytes, struct hf_error *err)
{
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    uint64_t size = 0;
    if (open_object(fs_of(store), name, &file, &size, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t tail = len < size ? len : (size_t)size;
    if (read_piece(file, size - tail, tail, out, err) != HF_ERR_OK) {
        return err->code;
    }
    *size_bytes = size;
    return HF_ERR_OK;
}

static enum hf_err fs_size(struct hf_store *store, struct hf_str name, uint64_t *size_bytes,
                           struct hf_error *err)
{
    struct hf_store_fs *fs = fs_of(store);
    HF_CLEANUP(hf_free) char *path = NULL;
    struct hf_file_info info;
    if (path_of(fs, name, &path, err) != HF_ERR_OK ||
        object_info(fs, name, path, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    *size_bytes = info.size_bytes;
    return HF_ERR_OK;
}

/* ---- Delete ---- */

static enum hf_err fs_remove(struct hf_store *store, struct hf_str name, struct hf_error *err)
{
    struct hf_store_fs *fs = fs_of(store);
    if (fs->read_only) {
        return hf_fail(err, HF_ERR_DENIED, "the store was opened for reading only");
    }
    HF_CLEANUP(hf_free) char *path = NULL;
    HF_CLEANUP(hf_free) char *dir = NULL;
    struct hf_file_info info;
    if (path_of(fs, name, &path, err) != HF_ERR_OK ||
        path_of(fs, parent_of(name), &dir, err) != HF_ERR_OK) {
        return err->code;
    }
    if (object_info(fs, name, path, &info, err) == HF_ERR_OK &&
        hf_fs_remove(path, err) == HF_ERR_OK) {
        return HF_ERR_OK;
    }
    if (err->code != HF_ERR_NOT_FOUND) {
        return err->code;
    }
    /* Who removed it may have died before the sync: "it is not there" must be as durable as a
     * deletion. */
    struct hf_error sync_error;
    if (hf_fs_sync_dir(dir, &sync_error) != HF_ERR_OK && hf_fs_exists(dir) &&
        object_in_the_way(fs, name).len == 0) {
        *err = sync_error;
        return err->code;
    }
    return hf_fail(err, HF_ERR_NOT_FOUND, "no such object");
}

/* ---- Open and close ---- */

static void fs_close(struct hf_store *store)
{
    struct hf_store_fs *fs = fs_of(store);
    forget_all(fs);
    hf_free(fs->known);
    hf_free(fs->root);
    hf_free(fs->base.url);
    hf_mutex_fini(&fs->mutex);
    hf_free(fs);
}

/* The file system's own: what it writes into a new file, whichever host it runs on. */
static enum hf_err fs_clock(struct hf_store *store, uint64_t *now_s, struct hf_error *err)
{
    struct hf_store_fs *fs = fs_of(store);
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    struct hf_file_info info;
    struct hf_error ignored;
    uint64_t number = 0;

    if (fs->read_only) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "nothing is written");
    }
    hf_random_bytes(&number, sizeof number);
    HF_CLEANUP(hf_free)
    char *path = hf_asprintf("%s/.hf-tmp-clock-%016llx", fs->root, (unsigned long long)number);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
    }
    if (hf_file_open(path, HF_OPEN_CREATE_NEW, OBJECT_MODE, &file, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_file_info(file, &info, err);
    (void)!hf_fs_remove_scratch(path, &ignored); /* a sweep takes what stays */
    if (code == HF_ERR_OK) {
        *now_s = info.mtime_ns < 0 ? 0 : (uint64_t)info.mtime_ns / 1000000000;
    }
    return code;
}

static const struct hf_store_driver fs_driver = {
    .kind = "fs",
    .put = fs_put,
    .get = fs_get,
    .get_range = fs_get_range,
    .get_tail = fs_get_tail,
    .size = fs_size,
    .list = hf_store_fs_list,
    .remove = fs_remove,
    .clock = fs_clock,
    .close = fs_close,
};

/*
 * Publishes one name twice. Its name is that of a temporary file, so that no list shows it and a
 * later sweep takes what a crash leaves of it.
 */
static enum hf_err probe(struct hf_store_fs *fs, struct hf_error *err)
{
    uint64_t number = 0;
    hf_random_bytes(&number, sizeof number);
    HF_CLEANUP(hf_free)
    char *path = hf_asprintf("%s/.hf-tmp-probe-%016llx", fs->root, (unsigned long long)number);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
    }
    if (hf_fs_publish_new(path, hf_bytes_of("first", 5), OBJECT_MODE, err) != HF_ERR_OK) {
        return hf_wrap(err, "try to write an object, which needs hard links");
    }
    struct hf_error ignored;
    bool refused =
        hf_fs_publish_new(path, hf_bytes_of("second", 6), OBJECT_MODE, &ignored) == HF_ERR_EXISTS;
    HF_CLEANUP(hf_buf_fini) struct hf_buf content = HF_BUF_INIT(16);
    bool kept = hf_fs_read_whole(path, 16, &content, &ignored) == HF_ERR_OK &&
                hf_bytes_equal(hf_buf_bytes(&content), hf_bytes_of("first", 5));
    fs->base.abilities.put_if_absent = refused && kept;
    return hf_fs_remove_scratch(path, err);
}

static enum hf_err prepare(struct hf_store_fs *fs, const struct hf_store_fs_options *options,
                           struct hf_error *err)
{
    struct hf_file_info info;
    if (options->create && !options->read_only &&
        hf_fs_make_dirs(options->root, DIR_MODE, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_fs_stat(options->root, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    if (info.kind != HF_FILE_DIR) {
        return hf_fail(err, HF_ERR_INVALID, "it is not a directory");
    }
    if (hf_path_real(options->root, &fs->root, err) != HF_ERR_OK ||
        hf_store_url_of_path(fs->root, &fs->base.url, err) != HF_ERR_OK) {
        return err->code;
    }
    /* One kernel's directories: what a link made is listed at once. */
    fs->base.abilities.consistent_list = true;
    if (options->read_only) {
        return HF_ERR_OK;
    }
    if (hf_store_fs_sweep(fs, err) != HF_ERR_OK) {
        return err->code;
    }
    return probe(fs, err);
}

enum hf_err hf_store_fs_open(const struct hf_store_fs_options *options, struct hf_store **out,
                             struct hf_error *err)
{
    struct hf_store_fs *fs = hf_alloc_zero(sizeof *fs);
    if (fs == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "open store %s", options->root);
    }
    hf_mutex_init(&fs->mutex);
    fs->base.driver = &fs_driver;
    fs->read_only = options->read_only;
    fs->reserve_bytes =
        options->reserve_bytes == 0 ? 2 * HF_STORE_OBJECT_MAX_BYTES : options->reserve_bytes;
    if (prepare(fs, options, err) != HF_ERR_OK) {
        fs_close(&fs->base);
        return hf_wrap(err, "open store %s", options->root);
    }
    *out = &fs->base;
    return HF_ERR_OK;
}
