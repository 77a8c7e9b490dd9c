/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in the directory of a restore onto files, before anything is changed: is it a database's, and what of it does
 * the snapshot not have?
 *
 * A name that is not the snapshot's is one of three. An engine's or a server's own: it goes, at the end. Kept: what holds
 * no part of the data (diagnostic.data, rollback, lost+found). Foreign, all else: it is the operator's, so the restore
 * refuses, or leaves it where it is. Nothing is ever done through a symbolic link, or to a file that has two names.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "snapshot/restore_internal.h"

#define DEEPEST_DIRECTORY 64
#define FOREIGN_NAMED 3
#define KEYS_DIRECTORY "key.db"
#define TEMPORARY_PREFIX ".hf-tmp-"

struct local_file {
    char *path; /* owned; relative */
    enum hf_file_kind kind;
    uint64_t names;
};

struct looker {
    const struct hf_restore_options *options; /* borrowed */
    struct hf_restore_look *look;             /* borrowed */
    struct local_file *files;                 /* owned */
    size_t count, capacity;
    bool snapshot_has_keys;
    size_t foreign_count;
    char foreign[FOREIGN_NAMED][256];
};

static void looker_fini(struct looker *looker)
{
    for (size_t i = 0; i < looker->count; i++) {
        hf_free(looker->files[i].path);
    }
    hf_free(looker->files);
}
HF_CLEANUP_DEFINE_VALUE(looker_fini, struct looker)

void hf_restore_look_fini(struct hf_restore_look *look)
{
    for (size_t i = 0; i < look->extra_count; i++) {
        hf_free(look->extra[i]);
    }
    hf_free(look->extra);
    *look = (struct hf_restore_look){.extra = NULL};
}

/* ---- whose is a name? ---- */

static bool begins_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends_with(const char *text, const char *with)
{
    size_t len = strlen(text);
    return len >= strlen(with) && strcmp(text + len - strlen(with), with) == 0;
}

/* At the top of a dbPath; none of it is a part of the data. */
static bool is_kept_directory(const char *path)
{
    return strcmp(path, "diagnostic.data") == 0 || strcmp(path, "rollback") == 0 ||
           strcmp(path, "lost+found") == 0;
}

/* Written anew, or removed, by every restore. */
static bool is_own(const char *path)
{
    return strcmp(path, HF_RESTORE_MARK_NAME) == 0 || strcmp(path, HF_RESTORE_INFO_NAME) == 0;
}

static bool is_key_file(struct hf_str path)
{
    struct hf_str dir = hf_str_of(KEYS_DIRECTORY);
    return path.len > dir.len && memcmp(path.data, dir.data, dir.len) == 0;
}

/* Whatever directory it lies in: directoryPerDB, directoryForIndexes and journal make some. */
static bool is_database_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    return begins_with(name, "WiredTiger") || ends_with(name, ".wt") ||
           begins_with(name, TEMPORARY_PREFIX) || begins_with(path, "_tmp/") ||
           strcmp(path, HF_RESTORE_LOCK_NAME) == 0 || strcmp(path, HF_RESTORE_METADATA_NAME) == 0 ||
           strcmp(path, HF_RESTORE_REPLAY_NAME) == 0;
}

/* ---- listing ---- */

static enum hf_err add_file(struct looker *looker, char *path, const struct hf_file_info *info,
                            struct hf_error *err)
{
    if (looker->count == HF_RESTORE_NAMES_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "%s: more than %d files", looker->options->directory,
                       HF_RESTORE_NAMES_MAX);
    }
    if (looker->count == looker->capacity) {
        size_t wanted = looker->capacity == 0 ? 256 : looker->capacity * 2;
        struct local_file *grown = hf_realloc_array(looker->files, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "list of %zu files", wanted);
        }
        looker->files = grown;
        looker->capacity = wanted;
    }
    char *own = hf_strdup(path);
    if (own == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list of files");
    }
    looker->files[looker->count++] =
        (struct local_file){.path = own, .kind = info->kind, .names = info->names};
    return HF_ERR_OK;
}

static enum hf_err list_directory(struct looker *looker, const char *below, unsigned depth,
                                  struct hf_error *err);

static enum hf_err list_entry(struct looker *looker, const char *below, const char *name,
                              unsigned depth, struct hf_error *err)
{
    HF_CLEANUP(hf_free)
    char *path = below[0] == '\0' ? hf_strdup(name) : hf_path_join(below, name);
    HF_CLEANUP(hf_free)
    char *full = path == NULL ? NULL : hf_path_join(looker->options->directory, path);
    struct hf_file_info info;
    if (full == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (hf_fs_lstat(full, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    if (is_own(path) || (info.kind == HF_FILE_DIR && is_kept_directory(path))) {
        return HF_ERR_OK;
    }
    if (add_file(looker, path, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    return info.kind == HF_FILE_DIR ? list_directory(looker, path, depth + 1, err) : HF_ERR_OK;
}

static enum hf_err list_directory(struct looker *looker, const char *below, unsigned depth,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    HF_CLEANUP(hf_free)
    char *full = below[0] == '\0' ? hf_strdup(looker->options->directory)
                                  : hf_path_join(looker->options->directory, below);
    if (full == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (depth > DEEPEST_DIRECTORY) {
        return hf_fail(err, HF_ERR_LIMIT, "%s: more than %d directories deep", full,
                       DEEPEST_DIRECTORY);
    }
    if (hf_fs_list(full, HF_RESTORE_NAMES_MAX, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < list.count; i++) {
        if (list_entry(looker, below, list.names[i], depth, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static int by_path(const void *left, const void *right)
{
    return strcmp(((const struct local_file *)left)->path,
                  ((const struct local_file *)right)->path);
}

/* ---- comparing with the snapshot ---- */

static enum hf_err add_extra(struct hf_restore_look *look, char **path, struct hf_error *err)
{
    if (look->extra_count == look->extra_capacity) {
        size_t wanted = look->extra_capacity == 0 ? 64 : look->extra_capacity * 2;
        char **grown = hf_realloc_array(look->extra, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "list of %zu files", wanted);
        }
        look->extra = grown;
        look->extra_capacity = wanted;
    }
    look->extra[look->extra_count++] = HF_TAKE(*path);
    return HF_ERR_OK;
}

static void note_foreign(struct looker *looker, const char *path)
{
    if (looker->foreign_count < FOREIGN_NAMED) {
        char *name = looker->foreign[looker->foreign_count];
        size_t len = strlen(path);
        size_t most = sizeof looker->foreign[0] - 1;
        /* The end of a long one tells more. */
        (void)snprintf(name, most + 1, "%s", path + (len > most ? len - most : 0));
    }
    looker->foreign_count++;
}

static enum hf_err not_in_snapshot(struct looker *looker, struct local_file *file,
                                   struct hf_error *err)
{
    if (file->kind == HF_FILE_SYMLINK) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s is a symbolic link, and none is followed; hint: restore into an empty "
                       "directory, or move the link away",
                       file->path);
    }
    if (file->kind == HF_FILE_DIR) {
        return HF_ERR_OK; /* what is in it counts */
    }
    if (file->kind == HF_FILE_REGULAR && is_database_file(file->path)) {
        return add_extra(looker->look, &file->path, err);
    }
    note_foreign(looker, file->path);
    return HF_ERR_OK;
}

static enum hf_err in_snapshot(const struct local_file *file, struct hf_error *err)
{
    if (file->kind == HF_FILE_SYMLINK) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s is a symbolic link, and none is followed; hint: restore into an empty "
                       "directory",
                       file->path);
    }
    if (file->kind != HF_FILE_REGULAR) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s is no file, and the snapshot has a file of that name; hint: restore "
                       "into an empty directory",
                       file->path);
    }
    if (file->names > 1) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s has %" PRIu64 " names (hard links), and writing into it would change "
                       "the others too; hint: restore into an empty directory, or make it a copy",
                       file->path, file->names);
    }
    return HF_ERR_OK;
}

static int compare_paths(const char *local, struct hf_str path)
{
    size_t len = strlen(local);
    int order = memcmp(local, path.data, len < path.len ? len : path.len);
    return order != 0 ? order : (len > path.len) - (len < path.len);
}

/* One file of the snapshot, after all that lie there and sort before it. */
static enum hf_err meet_entry(struct looker *looker, size_t *at, struct hf_str path,
                              struct hf_error *err)
{
    int order = -1;
    while (*at < looker->count && (order = compare_paths(looker->files[*at].path, path)) < 0) {
        if (not_in_snapshot(looker, &looker->files[*at], err) != HF_ERR_OK) {
            return err->code;
        }
        (*at)++;
    }
    if (*at < looker->count && order == 0) {
        return in_snapshot(&looker->files[(*at)++], err);
    }
    return HF_ERR_OK;
}

static void note_entry(struct looker *looker, struct hf_str path)
{
    struct hf_restore_look *look = looker->look;
    look->snapshot_has_lock |= hf_str_equal_c(path, HF_RESTORE_LOCK_NAME);
    look->snapshot_has_metadata |= hf_str_equal_c(path, HF_RESTORE_METADATA_NAME);
    looker->snapshot_has_keys |= is_key_file(path);
}

static enum hf_err meet_snapshot(const struct hf_restore_look_options *options,
                                 struct looker *looker, struct hf_error *err)
{
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *walk = NULL;
    const struct hf_file_entry *entry = NULL;
    size_t at = 0;
    if (hf_file_walk_create(options->reader, options->coder, looker->options->root, &walk, err) !=
            HF_ERR_OK ||
        hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    while (entry != NULL) {
        note_entry(looker, entry->path);
        if (hf_cancel_check(looker->options->cancel, err) != HF_ERR_OK ||
            meet_entry(looker, &at, entry->path, err) != HF_ERR_OK ||
            hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    for (; at < looker->count; at++) {
        if (not_in_snapshot(looker, &looker->files[at], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* The keys of an encrypted engine are the only ones: a snapshot that has none is of another database. */
static void spare_keys(struct looker *looker)
{
    struct hf_restore_look *look = looker->look;
    size_t kept = 0;
    for (size_t i = 0; i < look->extra_count; i++) {
        if (!looker->snapshot_has_keys && is_key_file(hf_str_of(look->extra[i]))) {
            note_foreign(looker, look->extra[i]);
            hf_free(look->extra[i]);
        } else {
            look->extra[kept++] = look->extra[i];
        }
    }
    look->extra_count = kept;
}

static enum hf_err refuse_foreign(const struct looker *looker, struct hf_error *err)
{
    char more[48] = "";
    if (looker->foreign_count > FOREIGN_NAMED) {
        (void)snprintf(more, sizeof more, " and %zu more", looker->foreign_count - FOREIGN_NAMED);
    }
    return hf_fail(err, HF_ERR_CONFLICT,
                   "no part of a database, and not the snapshot's: %s%s%s%s%s%s; hint: move it "
                   "away, or let it stay there with --leave-foreign",
                   looker->foreign[0], looker->foreign_count > 1 ? ", " : "", looker->foreign[1],
                   looker->foreign_count > 2 ? ", " : "", looker->foreign[2], more);
}

enum hf_err hf_restore_look(const struct hf_restore_look_options *options,
                            struct hf_restore_look *out, struct hf_error *err)
{
    HF_CLEANUP(looker_fini) struct looker looker = {.options = options->restore, .look = out};
    *out = (struct hf_restore_look){.extra = NULL};
    if (list_directory(&looker, "", 0, err) != HF_ERR_OK) {
        return err->code;
    }
    if (looker.count > 0) {
        qsort(looker.files, looker.count, sizeof *looker.files, by_path);
    }
    for (size_t i = 0; i < looker.count; i++) {
        out->has_metadata |= strcmp(looker.files[i].path, HF_RESTORE_METADATA_NAME) == 0;
    }
    if (meet_snapshot(options, &looker, err) != HF_ERR_OK) {
        return err->code;
    }
    spare_keys(&looker);
    if (looker.foreign_count > 0 && !options->restore->leave_foreign) {
        return refuse_foreign(&looker, err);
    }
    return HF_ERR_OK;
}

/* ---- is it a database's? ---- */

/* Sets *out when a file of that name lies there, and leaves it alone otherwise. */
static enum hf_err find_file(const char *directory, const char *name, bool *out,
                             struct hf_error *err)
{
    struct hf_file_info info;
    HF_CLEANUP(hf_free) char *path = hf_path_join(directory, name);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (hf_fs_lstat(path, &info, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NOT_FOUND ? HF_ERR_OK : err->code;
    }
    *out |= info.kind == HF_FILE_REGULAR;
    return HF_ERR_OK;
}

enum hf_err hf_restore_is_database(const char *directory, struct hf_error *err)
{
    bool engine = false;   /* the engine was there */
    bool tables = false;   /* and says what tables it has */
    bool restored = false; /* by us, to the end or not */
    struct hf_file_info info;
    if (hf_fs_stat(directory, &info, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NOT_FOUND
                   ? hf_fail(err, HF_ERR_NOT_FOUND,
                             "%s is not there; hint: leave --onto out for a new directory",
                             directory)
                   : err->code;
    }
    if (find_file(directory, "WiredTiger", &engine, err) != HF_ERR_OK ||
        find_file(directory, "WiredTiger.turtle", &tables, err) != HF_ERR_OK ||
        find_file(directory, "WiredTiger.backup", &tables, err) != HF_ERR_OK ||
        find_file(directory, HF_RESTORE_MARK_NAME, &restored, err) != HF_ERR_OK ||
        find_file(directory, HF_RESTORE_INFO_NAME, &restored, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!(engine && tables) && !restored) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "%s holds neither an earlier restore nor a database's files "
                       "(WiredTiger, WiredTiger.turtle); hint: leave --onto out for an empty "
                       "directory",
                       directory);
    }
    return HF_ERR_OK;
}
