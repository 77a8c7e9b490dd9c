/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore onto files that lie there already: an earlier restore's, or a stopped member's. Only what differs is fetched
 * and written.
 *
 *   lock -> look (refuses, or knows what goes at the end) -> mark -> metadata made unreadable
 *     -> (files cut or made at their size; units of them read and hashed, what differs into the window -> window fetched
 *        and written -> the window's whole files synced) again and again
 *     -> directories synced -> files that the snapshot does not have removed -> metadata -> restoreInfo.txt -> mark removed
 *
 * A block on the disk is believed only when its hash is that of the snapshot's. Every file is synced, those that are equal
 * too: what a killed process wrote may lie in the page cache alone.
 *
 * In between the directory holds a mixture. The mark says so to us, and a database is kept off: while we live by the lock
 * on mongod.lock, after our death by storage.bson, which no mongod can read then. Whoever starts such a restore again goes
 * on, because what was written is equal now.
 *
 * With `like` it may begin with nothing: new files then share the blocks of the old ones where the file system can do that,
 * and are compared like any others.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "snapshot/restore_onto_internal.h"

/* One worker's piece of a file, so that the last ones end together. */
#define UNIT_BYTES ((uint32_t)8 << 20)
#define UNITS ((size_t)16384)
#define MARK_TEXT                                                                                  \
    "A restore onto the files in this directory is under way, or died: they are a mixture. Do "    \
    "not start a database\non them. The same restore, started again, goes on.\n"                   \
    "restore %016" PRIx64 "\n"
#define FENCE_TEXT "holdfast: a restore onto these files did not end; they are a mixture\n"

/* ---- files; the caller's thread ---- */

static enum hf_err flush(struct hf_restore_onto *onto, enum hf_restore_rest rest,
                         struct hf_error *err)
{
    struct hf_restore_writer *writer = &onto->writer;
    size_t last = writer->file_count;
    if (hf_restore_flush(writer, rest, err) != HF_ERR_OK) {
        return err->code;
    }
    if (writer->file_count > 0) {
        onto->entries[0] = onto->entries[last - 1];
    }
    return HF_ERR_OK;
}

/* The lock and the look were before; whoever changed the file since then is not to be written over. */
static enum hf_err set_size(struct hf_restore_onto *onto, const char *path,
                            const struct hf_file_entry *entry, const struct hf_file_info *info,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    if (info->kind != HF_FILE_REGULAR || info->names > 1) {
        return hf_fail(err, HF_ERR_CONFLICT, "%s is no file of one name any more", path);
    }
    if (hf_restore_make_parent(&onto->writer, path, err) != HF_ERR_OK) {
        return err->code;
    }
    if (info->size_bytes == entry->size_bytes) {
        return HF_ERR_OK;
    }
    if (HF_FAULT("snapshot.restore.cut", err) != HF_ERR_OK ||
        hf_file_open(path, HF_OPEN_WRITE, 0, &file, err) != HF_ERR_OK ||
        hf_file_truncate(file, entry->size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_file_close(HF_TAKE(file), err);
}

/* Whatever it comes to, the file is compared afterwards. */
static enum hf_err share_blocks(const struct hf_restore_onto *onto, const char *path,
                                const struct hf_file_entry *entry, struct hf_error *err)
{
    HF_CLEANUP(hf_file_drop) struct hf_file *from = NULL;
    HF_CLEANUP(hf_file_drop) struct hf_file *to = NULL;
    struct hf_error ignored;
    if (onto->options->like == NULL || entry->size_bytes == 0) {
        return HF_ERR_OK;
    }
    HF_CLEANUP(hf_free)
    char *like = hf_asprintf("%s/%.*s", onto->options->like, HF_STR_ARG(entry->path));
    if (like == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (hf_file_open(like, HF_OPEN_READ, 0, &from, &ignored) != HF_ERR_OK) {
        return HF_ERR_OK;
    }
    if (hf_file_open(path, HF_OPEN_WRITE, 0, &to, err) != HF_ERR_OK ||
        (hf_file_clone(from, to) && hf_file_truncate(to, entry->size_bytes, err) != HF_ERR_OK)) {
        return err->code;
    }
    return hf_file_close(HF_TAKE(to), err);
}

static enum hf_err begin_file(struct hf_restore_onto *onto, const struct hf_file_entry *entry,
                              struct hf_error *err)
{
    struct hf_restore_writer *writer = &onto->writer;
    HF_CLEANUP(hf_free) char *path = NULL;
    struct hf_file_info info;
    if (hf_restore_path(onto->options, entry->path, &path, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_fs_lstat(path, &info, err);
    if (code == HF_ERR_NOT_FOUND) {
        code = hf_restore_make_file(writer, path, entry, err) != HF_ERR_OK
                   ? err->code
                   : share_blocks(onto, path, entry, err);
    } else if (code == HF_ERR_OK) {
        code = set_size(onto, path, entry, &info, err);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    struct hf_file_entry *kept = &onto->entries[writer->file_count];
    *kept = *entry;
    kept->path.data = path + strlen(path) - entry->path.len;
    hf_restore_add_file_take(writer, HF_TAKE(path));
    return HF_ERR_OK;
}

static enum hf_err add_unit(struct hf_restore_onto *onto, uint64_t first, uint32_t count,
                            struct hf_error *err)
{
    struct hf_fetch_window *window = &onto->writer.window;
    if ((onto->unit_count == UNITS ||
         window->count + onto->block_count + count > window->capacity) &&
        hf_restore_compare_units(onto, err) != HF_ERR_OK) {
        return err->code;
    }
    if (window->count + count > window->capacity &&
        flush(onto, HF_RESTORE_LAST_GOES_ON, err) != HF_ERR_OK) {
        return err->code;
    }
    onto->units[onto->unit_count++] = (struct hf_restore_unit){
        .first = first, .count = count, .file = (uint32_t)(onto->writer.file_count - 1)};
    onto->block_count += count;
    return HF_ERR_OK;
}

static enum hf_err finish_window(struct hf_restore_onto *onto, struct hf_error *err)
{
    return hf_restore_compare_units(onto, err) == HF_ERR_OK ? flush(onto, HF_RESTORE_ALL_WHOLE, err)
                                                            : err->code;
}

static enum hf_err restore_file(struct hf_restore_onto *onto, const struct hf_file_entry *entry,
                                struct hf_error *err)
{
    uint64_t blocks = hf_block_count(entry->size_bytes, entry->block_bytes);
    uint32_t most = UNIT_BYTES / entry->block_bytes;
    most = most == 0 ? 1 : most > HF_NODE_REFS ? HF_NODE_REFS : most;
    if (onto->writer.file_count == HF_RESTORE_WINDOW_FILES &&
        finish_window(onto, err) != HF_ERR_OK) {
        return err->code;
    }
    if (begin_file(onto, entry, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint64_t first = 0; first < blocks; first += most) {
        uint32_t count = blocks - first < most ? (uint32_t)(blocks - first) : most;
        if (hf_cancel_check(onto->options->cancel, err) != HF_ERR_OK ||
            add_unit(onto, first, count, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    onto->result.files++;
    onto->result.bytes += entry->size_bytes;
    return HF_ERR_OK;
}

/* The metadata waits: until all else is durable no database is to read it. */
static enum hf_err restore_files(struct hf_restore_onto *onto, struct hf_error *err)
{
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *walk = NULL;
    const struct hf_file_entry *entry = NULL;
    struct hf_restore_writer *writer = &onto->writer;
    if (hf_file_walk_create(writer->reader, writer->coder, onto->options->root, &walk, err) !=
            HF_ERR_OK ||
        hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    while (entry != NULL) {
        enum hf_err code = HF_ERR_OK;
        if (hf_str_equal_c(entry->path, HF_RESTORE_METADATA_NAME)) {
            onto->metadata = *entry;
            onto->metadata.path = hf_str_of(HF_RESTORE_METADATA_NAME);
        } else {
            code = restore_file(onto, entry, err);
        }
        if (code != HF_ERR_OK || hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (finish_window(onto, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_restore_sync_dirs(writer, err);
}

/* ---- the directory ---- */

static enum hf_err join(const struct hf_restore_onto *onto, const char *name, char **out,
                        struct hf_error *err)
{
    *out = hf_path_join(onto->options->directory, name);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "path") : HF_ERR_OK;
}

/* Nobody uses the directory, and no database or other restore can begin to while the lock is held. */
static enum hf_err lock_directory(struct hf_restore_onto *onto, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *lock = NULL;
    HF_CLEANUP(hf_free) char *mark = NULL;
    HF_CLEANUP(hf_free) char *engine = NULL;
    HF_CLEANUP(hf_file_drop) struct hf_file *empty = NULL;
    HF_CLEANUP(hf_lock_file_drop) struct hf_lock_file *other = NULL;
    if (join(onto, HF_RESTORE_LOCK_NAME, &lock, err) != HF_ERR_OK ||
        join(onto, HF_RESTORE_MARK_NAME, &mark, err) != HF_ERR_OK ||
        join(onto, "WiredTiger.lock", &engine, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_fs_exists(lock)) {
        if (hf_file_open(lock, HF_OPEN_CREATE_NEW, 0600, &empty, err) != HF_ERR_OK) {
            return err->code;
        }
        onto->made_lock = true;
    }
    if (hf_lock_file_borrow(lock, &onto->lock, err) != HF_ERR_OK ||
        hf_lock_file_check_records(engine, err) != HF_ERR_OK) {
        return err->code == HF_ERR_CONFLICT
                   ? hf_wrap(err, "a database or a restore uses the directory")
                   : err->code;
    }
    if (hf_lock_file_borrow(mark, &other, err) != HF_ERR_OK && err->code != HF_ERR_NOT_FOUND) {
        return hf_wrap(err, "another restore into the directory is under way");
    }
    onto->had_mark = other != NULL;
    return HF_ERR_OK;
}

static enum hf_err look(struct hf_restore_onto *onto, struct hf_error *err)
{
    const struct hf_restore_look_options options = {
        .restore = onto->options, .reader = onto->writer.reader, .coder = onto->writer.coder};
    return hf_restore_look(&options, &onto->look, err);
}

/* In place, so that it keeps its owner. */
static enum hf_err raise_fence(struct hf_restore_onto *onto, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    if (!onto->look.has_metadata && !onto->look.snapshot_has_metadata) {
        return HF_ERR_OK;
    }
    if (join(onto, HF_RESTORE_METADATA_NAME, &path, err) != HF_ERR_OK ||
        HF_FAULT("snapshot.restore.fence", err) != HF_ERR_OK ||
        hf_file_open(path, HF_OPEN_CREATE, 0600, &file, err) != HF_ERR_OK ||
        hf_file_write_at(file, 0, hf_bytes_of_str(hf_str_of(FENCE_TEXT)), err) != HF_ERR_OK ||
        hf_file_truncate(file, strlen(FENCE_TEXT), err) != HF_ERR_OK ||
        hf_file_sync(file, err) != HF_ERR_OK || hf_file_close(HF_TAKE(file), err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fs_sync_dir(onto->options->directory, err);
}

static enum hf_err put_mark(struct hf_restore_onto *onto, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *mark = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_RESTORE_MARK_BYTES);
    uint64_t number;
    hf_random_bytes(&number, sizeof number);
    if (join(onto, HF_RESTORE_MARK_NAME, &mark, err) != HF_ERR_OK ||
        hf_buf_appendf(&text, err, MARK_TEXT, number) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fs_publish_replace(mark, hf_buf_bytes(&text), 0600, err);
}

/* From here on the directory holds a mixture. restoreInfo.txt told of files that are no more. */
static enum hf_err begin_mixture(struct hf_restore_onto *onto, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *info = NULL;
    if (join(onto, HF_RESTORE_INFO_NAME, &info, err) != HF_ERR_OK ||
        raise_fence(onto, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_fs_remove(info, err) != HF_ERR_OK && err->code != HF_ERR_NOT_FOUND) {
        return err->code;
    }
    return HF_ERR_OK;
}

/* Takes away the directories that became empty, from the deepest up. One that is not empty stays, and does no harm. */
static void remove_empty(const struct hf_restore_onto *onto, char *path)
{
    struct hf_error ignored;
    char *slash = strrchr(path, '/');
    while (slash != NULL && (size_t)(slash - path) > strlen(onto->options->directory)) {
        *slash = '\0';
        if (hf_fs_remove_dir(path, &ignored) != HF_ERR_OK) {
            return;
        }
        slash = strrchr(path, '/');
    }
}

static bool same_directory(const char *a, const char *b)
{
    const char *slash_a = strrchr(a, '/');
    const char *slash_b = strrchr(b, '/');
    size_t len_a = slash_a == NULL ? 0 : (size_t)(slash_a - a);
    size_t len_b = slash_b == NULL ? 0 : (size_t)(slash_b - b);
    return len_a == len_b && strncmp(a, b, len_a) == 0;
}

/* The lock and the metadata go last, by their own. */
static enum hf_err remove_extra(struct hf_restore_onto *onto, struct hf_error *err)
{
    const struct hf_restore_look *look = &onto->look;
    for (size_t i = 0; i < look->extra_count; i++) {
        const char *name = look->extra[i];
        HF_CLEANUP(hf_free) char *path = NULL;
        if (join(onto, name, &path, err) != HF_ERR_OK) {
            return err->code;
        }
        if (strcmp(name, HF_RESTORE_LOCK_NAME) != 0 &&
            strcmp(name, HF_RESTORE_METADATA_NAME) != 0) {
            if (HF_FAULT("snapshot.restore.extra", err) != HF_ERR_OK ||
                hf_fs_remove_scratch(path, err) != HF_ERR_OK) {
                return err->code;
            }
            onto->result.removed_files++;
        }
        if (i + 1 == look->extra_count || !same_directory(name, look->extra[i + 1])) {
            HF_CLEANUP(hf_free)
            char *dir = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
            if (dir == NULL) {
                return hf_fail(err, HF_ERR_NO_MEMORY, "path");
            }
            if (hf_fs_sync_dir(dir, err) != HF_ERR_OK) {
                return err->code;
            }
            remove_empty(onto, path);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err restore_metadata(struct hf_restore_onto *onto, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;
    if (onto->look.snapshot_has_metadata) {
        return restore_file(onto, &onto->metadata, err) == HF_ERR_OK ? finish_window(onto, err)
                                                                     : err->code;
    }
    if (!onto->look.has_metadata) {
        return HF_ERR_OK;
    }
    onto->result.removed_files++;
    return join(onto, HF_RESTORE_METADATA_NAME, &path, err) == HF_ERR_OK ? hf_fs_remove(path, err)
                                                                         : err->code;
}

static enum hf_err end_mixture(struct hf_restore_onto *onto, struct hf_error *err)
{
    const struct hf_restore_options *options = onto->options;
    HF_CLEANUP(hf_free) char *mark = NULL;
    HF_CLEANUP(hf_free) char *info = NULL;
    HF_CLEANUP(hf_free) char *lock = NULL;
    if (join(onto, HF_RESTORE_MARK_NAME, &mark, err) != HF_ERR_OK ||
        join(onto, HF_RESTORE_INFO_NAME, &info, err) != HF_ERR_OK ||
        join(onto, HF_RESTORE_LOCK_NAME, &lock, err) != HF_ERR_OK ||
        remove_extra(onto, err) != HF_ERR_OK || restore_metadata(onto, err) != HF_ERR_OK) {
        return err->code;
    }
    if (options->restore_info != NULL &&
        hf_fs_publish_replace(info, hf_bytes_of_str(hf_str_of(options->restore_info)), 0600, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    if (HF_FAULT("snapshot.restore.end", err) != HF_ERR_OK ||
        (!onto->look.snapshot_has_lock && hf_fs_remove(lock, err) != HF_ERR_OK)) {
        return err->code;
    }
    return hf_fs_remove(mark, err);
}

/* ---- the run ---- */

static void onto_fini(struct hf_restore_onto *onto)
{
    for (unsigned i = 0; onto->comparers != NULL && i < onto->writer.workers; i++) {
        hf_block_coder_destroy(onto->comparers[i].coder);
        hf_free(onto->comparers[i].buffer);
        hf_free(onto->comparers[i].like);
    }
    hf_free(onto->comparers);
    hf_free(onto->units);
    hf_free(onto->entries);
    hf_restore_writer_fini(&onto->writer);
    hf_restore_look_fini(&onto->look);
    hf_lock_file_drop(onto->lock);
    hf_mutex_fini(&onto->mutex);
}
HF_CLEANUP_DEFINE_VALUE(onto_fini, struct hf_restore_onto)

static enum hf_err open_parts(struct hf_restore_onto *onto, struct hf_error *err)
{
    struct hf_restore_writer *writer = &onto->writer;
    struct hf_block_coder_options coding = {.keyring = onto->options->keyring};
    if (hf_restore_writer_open(writer, err) != HF_ERR_OK) {
        return err->code;
    }
    onto->entries = hf_alloc_zero(HF_RESTORE_WINDOW_FILES * sizeof *onto->entries);
    onto->units = hf_alloc_zero(UNITS * sizeof *onto->units);
    onto->comparers = hf_alloc_zero(writer->workers * sizeof *onto->comparers);
    if (onto->entries == NULL || onto->units == NULL || onto->comparers == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "restore");
    }
    for (unsigned i = 0; i < writer->workers; i++) {
        if (hf_block_coder_create(&coding, &onto->comparers[i].coder, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* What cannot be removed does no harm: an empty mongod.lock, a mark on files that are whole. */
static void remove_unused(const struct hf_restore_onto *onto, const char *name)
{
    struct hf_error ignored;
    HF_CLEANUP(hf_free) char *path = hf_path_join(onto->options->directory, name);
    if (path != NULL && hf_fs_remove_scratch(path, &ignored) != HF_ERR_OK) {
        hf_error_clear(&ignored);
    }
}

/* Files to go on with; or, where others are like them, nothing at all. */
static enum hf_err need_files(const struct hf_restore_onto *onto, struct hf_error *err)
{
    const char *directory = onto->options->directory;
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    if (onto->options->like != NULL) {
        if (hf_fs_make_dirs(directory, HF_RESTORE_DIR_MODE, err) != HF_ERR_OK ||
            hf_fs_list(directory, HF_RESTORE_NAMES_MAX, &list, err) != HF_ERR_OK) {
            return err->code;
        }
        if (list.count == 0) {
            return HF_ERR_OK;
        }
    }
    return hf_restore_is_database(directory, err);
}

/* Up to the mark. After a failure all is as it was. */
static enum hf_err prepare(struct hf_restore_onto *onto, struct hf_error *err)
{
    if (open_parts(onto, err) != HF_ERR_OK || need_files(onto, err) != HF_ERR_OK) {
        return err->code;
    }
    if (lock_directory(onto, err) == HF_ERR_OK && look(onto, err) == HF_ERR_OK) {
        if (put_mark(onto, err) == HF_ERR_OK) {
            return HF_ERR_OK;
        }
        if (!onto->had_mark) {
            remove_unused(onto, HF_RESTORE_MARK_NAME);
        }
    }
    if (onto->made_lock) {
        remove_unused(onto, HF_RESTORE_LOCK_NAME);
    }
    return err->code;
}

static void tell_removed(const struct hf_restore_onto *onto)
{
    if (onto->result.removed_files > 0) {
        hf_log_info(onto->options->log, "restore.removed",
                    HF_STR("directory", onto->options->directory),
                    HF_U64("files", onto->result.removed_files),
                    HF_STR("first", onto->look.extra_count > 0 ? onto->look.extra[0] : ""));
    }
}

enum hf_err hf_restore_onto(const struct hf_restore_options *options, struct hf_restore_result *out,
                            struct hf_error *err)
{
    HF_CLEANUP(onto_fini) struct hf_restore_onto onto = {.options = options};
    hf_restore_writer_init(&onto.writer, options);
    hf_mutex_init(&onto.mutex);
    if (prepare(&onto, err) != HF_ERR_OK) {
        return hf_wrap(err, "restore onto %s", options->directory);
    }
    if (begin_mixture(&onto, err) != HF_ERR_OK || restore_files(&onto, err) != HF_ERR_OK ||
        end_mixture(&onto, err) != HF_ERR_OK) {
        return hf_wrap(err,
                       "restore onto %s (a mixture now, as its mark says; the same restore, "
                       "started again, goes on)",
                       options->directory);
    }
    tell_removed(&onto);
    onto.result.read_bytes = hf_fetcher_read_bytes(onto.writer.fetcher);
    onto.result.written_bytes = atomic_load(&onto.writer.written_bytes);
    onto.result.compared_bytes = atomic_load(&onto.compared_bytes);
    onto.result.equal_bytes = atomic_load(&onto.equal_bytes);
    onto.result.reused_bytes = atomic_load(&onto.reused_bytes);
    *out = onto.result;
    return HF_ERR_OK;
}
