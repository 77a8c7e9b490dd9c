/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "fs": listing in the byte order of whole names, and sweeping what crashed puts left. Must
 * not write objects.
 *
 * The order of a directory's names is not the order of what lies below: '-' and '.' are smaller
 * than '/', so of the directory `a` and the files `a-1` and `a0` the order is a-1, a/..., a0. A
 * directory therefore waits until all names that begin with its own and go on with a smaller byte
 * were given.
 */
#include "base/alloc.h"
#include "os/fs.h"
#include "store/fs_internal.h"

#define DIR_MAX_NAMES ((size_t)16 << 20)
/* As many names are looked at when sweeping at open. */
#define SWEEP_MAX_NAMES 20000
#define TEMPORARY_PREFIX ".hf-tmp-"

/* Walks down; `name` is the directory, with its '/', empty for the root. */
struct walk {
    const struct hf_store_fs *fs;
    struct hf_store_lister lister;
    char name[HF_STORE_NAME_MAX_BYTES + 2];
    size_t len;
};

static enum hf_err walk_dir(struct walk *walk, struct hf_error *err);

/* Puts a component behind the directory's name; false when that is no name of an object or
 * directory of ours. */
static bool walk_enter(struct walk *walk, const char *component)
{
    struct hf_error ignored;
    size_t len = strlen(component);
    if (walk->len + len > HF_STORE_NAME_MAX_BYTES ||
        hf_store_name_check((struct hf_str){.data = component, .len = len}, &ignored) !=
            HF_ERR_OK) {
        return false;
    }
    memcpy(walk->name + walk->len, component, len);
    walk->len += len;
    walk->name[walk->len] = '\0';
    return true;
}

static void walk_leave(struct walk *walk, size_t len)
{
    walk->len = len;
    walk->name[len] = '\0';
}

static struct hf_str walk_name(const struct walk *walk)
{
    return (struct hf_str){.data = walk->name, .len = walk->len};
}

/* Everything below the directory dir/component. */
static enum hf_err walk_below(struct walk *walk, const char *component, struct hf_error *err)
{
    size_t len = walk->len;
    if (!walk_enter(walk, component)) {
        return HF_ERR_OK;
    }
    enum hf_err code = HF_ERR_OK;
    if (walk->len < HF_STORE_NAME_MAX_BYTES) {
        walk->name[walk->len++] = '/';
        walk->name[walk->len] = '\0';
        if (hf_store_lister_wants_below(&walk->lister, walk_name(walk))) {
            code = walk_dir(walk, err);
        }
    }
    walk_leave(walk, len);
    return code;
}

/* Follows a symbolic link. gone: nothing is there any more. */
static enum hf_err info_of(const struct walk *walk, struct hf_file_info *out, bool *gone,
                           struct hf_error *err)
{
    *gone = false;
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/%s", walk->fs->root, walk->name);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
    }
    enum hf_err code = hf_fs_lstat(path, out, err);
    if (code == HF_ERR_NOT_FOUND) {
        *gone = true;
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK || out->kind != HF_FILE_SYMLINK) {
        return code;
    }
    /* A link to nothing may be to a disk that is not mounted: to pass over it would hide what lies
     * there. */
    return hf_fs_stat(path, out, err) == HF_ERR_OK
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_UNAVAILABLE, "%s is a symbolic link to nothing", path);
}

/* Gives the component if it is an object; *is_dir when it is a directory to come back to. */
static enum hf_err walk_one(struct walk *walk, const char *component, bool *is_dir,
                            struct hf_error *err)
{
    *is_dir = false;
    size_t len = walk->len;
    if (!walk_enter(walk, component)) {
        return HF_ERR_OK;
    }
    enum hf_err code = HF_ERR_OK;
    walk->name[walk->len] = '/';
    bool below = hf_store_lister_wants_below(
        &walk->lister, (struct hf_str){.data = walk->name, .len = walk->len + 1});
    walk->name[walk->len] = '\0';
    if (below || hf_store_lister_wants(&walk->lister, walk_name(walk))) {
        struct hf_file_info info;
        bool gone;
        code = info_of(walk, &info, &gone, err);
        if (code == HF_ERR_OK && !gone) {
            *is_dir = info.kind == HF_FILE_DIR;
            if (info.kind == HF_FILE_REGULAR) {
                code = hf_store_lister_add(&walk->lister, walk_name(walk), info.size_bytes, err);
            }
        }
    }
    walk_leave(walk, len);
    return code;
}

/* True when all that lies below the directory comes before the name beside it. */
static bool dir_before(const char *dir, const char *name)
{
    size_t len = strlen(dir);
    return strncmp(name, dir, len) != 0 || (unsigned char)name[len] > '/';
}

static enum hf_err walk_names(struct walk *walk, const struct hf_dir_list *names,
                              struct hf_error *err)
{
    /* Each waiting directory begins with the name of the one below it in the pile, so there are at
     * most as many as a component has bytes, and the topmost is the first to come. */
    const char *waiting[HF_STORE_COMPONENT_MAX_BYTES + 1];
    size_t waiting_count = 0;
    for (size_t i = 0; i <= names->count; i++) {
        const char *name = i < names->count ? names->names[i] : NULL;
        while (waiting_count > 0 &&
               (name == NULL || dir_before(waiting[waiting_count - 1], name))) {
            if (walk_below(walk, waiting[--waiting_count], err) != HF_ERR_OK) {
                return err->code;
            }
        }
        bool is_dir = false;
        if (name == NULL || walk->lister.list->more) {
            break;
        }
        if (walk_one(walk, name, &is_dir, err) != HF_ERR_OK) {
            return err->code;
        }
        if (is_dir) {
            HF_ASSERT(waiting_count < HF_ARRAY_LEN(waiting));
            waiting[waiting_count++] = name;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err walk_dir(struct walk *walk, struct hf_error *err)
{
    if (walk->lister.list->more) {
        return HF_ERR_OK;
    }
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {.names = NULL, .count = 0};
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/%s", walk->fs->root, walk->name);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
    }
    enum hf_err code = hf_fs_list(path, DIR_MAX_NAMES, &names, err);
    if (code == HF_ERR_NOT_FOUND && walk->len > 0) {
        return HF_ERR_OK;
    }
    return code == HF_ERR_OK ? walk_names(walk, &names, err) : code;
}

enum hf_err hf_store_fs_list(struct hf_store *store, struct hf_str prefix, struct hf_str after,
                             size_t max_entries, struct hf_store_list *out, struct hf_error *err)
{
    struct walk walk = {
        .fs = (const struct hf_store_fs *)store,
        .lister = {.prefix = prefix, .after = after, .max_entries = max_entries, .list = out},
        .len = 0,
    };
    while (walk.len < prefix.len &&
           memchr(prefix.data + walk.len, '/', prefix.len - walk.len) != NULL) {
        const char *slash = memchr(prefix.data + walk.len, '/', prefix.len - walk.len);
        walk.len = (size_t)(slash - prefix.data) + 1;
    }
    memcpy(walk.name, prefix.data, walk.len);
    walk.name[walk.len] = '\0';
    /* The prefix' directory may be no directory: then nothing begins with it. */
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/%s", walk.fs->root, walk.name);
    struct hf_file_info info;
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
    }
    if (walk.len > 0) {
        path[strlen(path) - 1] = '\0'; /* without the '/', a file is not an error but a file */
        if (hf_fs_stat(path, &info, err) != HF_ERR_OK) {
            return err->code == HF_ERR_NOT_FOUND || hf_store_fs_object_above(walk.fs, prefix)
                       ? HF_ERR_OK
                       : err->code;
        }
        if (info.kind != HF_FILE_DIR) {
            return HF_ERR_OK;
        }
    }
    return walk_dir(&walk, err);
}

/* ---- Sweeping ---- */

static enum hf_err sweep_dir(const char *path, size_t *budget, struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {.names = NULL, .count = 0};
    enum hf_err code = hf_fs_list(path, *budget, &names, err);
    if (code == HF_ERR_LIMIT || code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    *budget -= names.count;
    bool found = false;
    for (size_t i = 0; i < names.count && !found; i++) {
        found = hf_str_starts_with(hf_str_of(names.names[i]), hf_str_of(TEMPORARY_PREFIX));
    }
    if (found && hf_fs_sweep_temporaries(path, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i<names.count && * budget> 0; i++) {
        struct hf_error ignored;
        struct hf_file_info info;
        HF_CLEANUP(hf_free) char *below = hf_path_join(path, names.names[i]);
        if (below == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
        }
        bool ours = hf_store_name_check(hf_str_of(names.names[i]), &ignored) == HF_ERR_OK &&
                    hf_fs_lstat(below, &info, &ignored) == HF_ERR_OK && info.kind == HF_FILE_DIR;
        if (ours && sweep_dir(below, budget, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_fs_sweep(const struct hf_store_fs *fs, struct hf_error *err)
{
    size_t budget = SWEEP_MAX_NAMES;
    return sweep_dir(fs->root, &budget, err);
}
