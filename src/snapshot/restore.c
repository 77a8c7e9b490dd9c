/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore into an empty directory.
 *
 *   mark -> (files made at full size, their blocks into the window -> window read in address order and written -> the
 *   window's whole files synced) again and again -> directories synced -> restoreInfo.txt -> mark removed
 *
 * The mark stands from before the first file until all is durable: a database must not be started beside it.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "snapshot/restore_internal.h"

#define MARK_TEXT                                                                                  \
    "A restore into this directory is under way, or died. Do not start a database on it.\n"        \
    "restore %016" PRIx64 "\n"

struct restore {
    const struct hf_restore_options *options; /* borrowed */
    struct hf_restore_writer writer;
    struct hf_lock_file
        *lock; /* owned: on the mark, so that a restore onto these files knows that we live */
    bool made_directory;
    struct hf_restore_result result;
};

/* ---- making files; the caller's thread ---- */

/* Makes the file at its full size, all of it a hole. */
static enum hf_err make_file(struct restore *restore, const struct hf_file_entry *entry,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;
    if (hf_restore_path(restore->options, entry->path, &path, err) != HF_ERR_OK ||
        hf_restore_make_file(&restore->writer, path, entry, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_restore_add_file_take(&restore->writer, HF_TAKE(path));
    return HF_ERR_OK;
}

static enum hf_err add_blocks(struct restore *restore, const struct hf_file_entry *entry,
                              uint64_t node_index, const struct hf_node *node, struct hf_error *err)
{
    struct hf_restore_writer *writer = &restore->writer;
    for (unsigned i = 0; i < node->count; i++) {
        uint64_t block = node_index * HF_NODE_REFS + i;
        uint32_t len = hf_block_length(entry->size_bytes, entry->block_bytes, block);
        if (hf_ref_is_zero(&node->refs[i])) {
            hf_progress_add_done(restore->options->progress, len);
            continue;
        }
        if (writer->window.count == writer->window.capacity &&
            hf_restore_flush(writer, HF_RESTORE_LAST_GOES_ON, err) != HF_ERR_OK) {
            return err->code;
        }
        writer->window.items[writer->window.count++] = (struct hf_fetch_item){
            .ref = node->refs[i],
            .plain_bytes = len,
            .file = (uint32_t)(writer->file_count - 1),
            .offset = block * entry->block_bytes,
        };
    }
    return HF_ERR_OK;
}

static enum hf_err restore_file(struct restore *restore, const struct hf_file_entry *entry,
                                struct hf_error *err)
{
    uint64_t blocks = hf_block_count(entry->size_bytes, entry->block_bytes);
    uint64_t nodes = hf_tree_nodes(blocks, 1);
    struct hf_restore_writer *writer = &restore->writer;
    if (writer->file_count == HF_RESTORE_WINDOW_FILES &&
        hf_restore_flush(writer, HF_RESTORE_ALL_WHOLE, err) != HF_ERR_OK) {
        return err->code;
    }
    if (make_file(restore, entry, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint64_t i = 0; i < nodes; i++) {
        struct hf_node node;
        if (hf_cancel_check(restore->options->cancel, err) != HF_ERR_OK ||
            hf_tree_file_refs(writer->reader, writer->coder, entry, i, &node, err) != HF_ERR_OK ||
            add_blocks(restore, entry, i, &node, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    restore->result.files++;
    restore->result.bytes += entry->size_bytes;
    return HF_ERR_OK;
}

static enum hf_err restore_files(struct restore *restore, struct hf_error *err)
{
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *walk = NULL;
    const struct hf_file_entry *entry = NULL;
    struct hf_restore_writer *writer = &restore->writer;
    if (hf_file_walk_create(writer->reader, writer->coder, restore->options->root, &walk, err) !=
            HF_ERR_OK ||
        hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    while (entry != NULL) {
        hf_restore_show_file(restore->options, entry->path);
        /* Not wrapped with this file's path: what fails here may be a block of an earlier one. */
        if (restore_file(restore, entry, err) != HF_ERR_OK ||
            hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_restore_flush(writer, HF_RESTORE_ALL_WHOLE, err);
}

/* ---- the directory ---- */

/*
 * A restore that died before its mark had a name left the mark's temporary, alone: nothing of it can be in use. With
 * anything beside it the directory is somebody's, and all of it stays.
 */
static enum hf_err sweep_leftover(const char *path, struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    enum hf_err code = hf_fs_list(path, HF_RESTORE_NAMES_MAX, &list, err);
    for (size_t i = 0; i < list.count; i++) {
        if (!hf_fs_is_temporary_name(list.names[i])) {
            return HF_ERR_OK;
        }
    }
    if (code != HF_ERR_OK || list.count == 0) {
        return code == HF_ERR_NOT_FOUND || code == HF_ERR_LIMIT ? HF_ERR_OK : code;
    }
    return hf_fs_sweep_temporaries(path, err);
}

static enum hf_err directory_is_empty(const char *path, bool *exists, struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    enum hf_err code = hf_fs_list(path, HF_RESTORE_NAMES_MAX, &list, err);
    *exists = code != HF_ERR_NOT_FOUND;
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    if (code == HF_ERR_LIMIT || (code == HF_ERR_OK && list.count > 0)) {
        for (size_t i = 0; code == HF_ERR_OK && i < list.count; i++) {
            if (strcmp(list.names[i], HF_RESTORE_MARK_NAME) == 0) {
                return hf_fail(
                    err, HF_ERR_EXISTS,
                    "%s holds a restore that did not end; hint: empty it first, or let the "
                    "restore go on with --onto",
                    path);
            }
        }
        return hf_fail(err, HF_ERR_EXISTS,
                       "%s is not empty; hint: a restore goes into an empty one, or with --onto "
                       "onto a database's files",
                       path);
    }
    return code;
}

/*
 * When only the last step of its making failed the mark stands, and would keep the next restore out. The number in it
 * tells it from one that another restore put there meanwhile.
 */
static void remove_own_mark(const struct restore *restore, const char *mark,
                            const struct hf_buf *text)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf there = HF_BUF_INIT(HF_RESTORE_MARK_BYTES);
    struct hf_error ignored; /* the failure that led here is the one to tell */
    if (hf_fs_read_whole(mark, HF_RESTORE_MARK_BYTES, &there, &ignored) == HF_ERR_OK &&
        there.len == text->len && memcmp(there.data, text->data, text->len) == 0 &&
        hf_fs_remove(mark, &ignored) != HF_ERR_OK) {
        hf_log_warn(restore->options->log, "restore.left_behind",
                    HF_STR("directory", restore->options->directory));
        return;
    }
    if (restore->made_directory &&
        hf_fs_remove_dir(restore->options->directory, &ignored) != HF_ERR_OK) {
        return; /* an empty directory does no harm, and one that is not empty is another's */
    }
}

static enum hf_err begin_directory(struct restore *restore, struct hf_error *err)
{
    const char *path = restore->options->directory;
    bool exists = false;
    uint64_t number;
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_RESTORE_MARK_BYTES);
    HF_CLEANUP(hf_free) char *mark = hf_path_join(path, HF_RESTORE_MARK_NAME);
    if (mark == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (sweep_leftover(path, err) != HF_ERR_OK ||
        directory_is_empty(path, &exists, err) != HF_ERR_OK ||
        hf_fs_make_dirs(path, HF_RESTORE_DIR_MODE, err) != HF_ERR_OK) {
        return err->code;
    }
    restore->made_directory = !exists;
    hf_random_bytes(&number, sizeof number);
    if (hf_buf_appendf(&text, err, MARK_TEXT, number) != HF_ERR_OK) {
        return err->code;
    }
    /* EXISTS here: another restore began at the same time, and what lies there is its own. */
    if (hf_fs_publish_new(mark, hf_buf_bytes(&text), 0600, err) != HF_ERR_OK ||
        hf_lock_file_borrow(mark, &restore->lock, err) != HF_ERR_OK) {
        remove_own_mark(restore, mark, &text);
        return err->code;
    }
    return HF_ERR_OK;
}

static enum hf_err end_directory(struct restore *restore, struct hf_error *err)
{
    const struct hf_restore_options *options = restore->options;
    HF_CLEANUP(hf_free) char *mark = hf_path_join(options->directory, HF_RESTORE_MARK_NAME);
    HF_CLEANUP(hf_free) char *info = hf_path_join(options->directory, HF_RESTORE_INFO_NAME);
    if (mark == NULL || info == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (hf_restore_sync_dirs(&restore->writer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (options->restore_info != NULL) {
        struct hf_bytes text = hf_bytes_of_str(hf_str_of(options->restore_info));
        if (hf_fs_publish_new(info, text, 0600, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (HF_FAULT("snapshot.restore.end", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fs_remove(mark, err);
}

static enum hf_err remove_entry(const char *path, struct hf_error *err)
{
    struct hf_file_info info;

    if (hf_fs_lstat(path, &info, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NOT_FOUND ? HF_ERR_OK : err->code;
    }
    return info.kind == HF_FILE_DIR ? hf_fs_remove_tree(path, err)
                                    : hf_fs_remove_scratch(path, err);
}

/*
 * After a failure: takes away what was written, the mark last. What cannot be removed stays beside it. When only the sync
 * after the mark's end failed, it is put back first: part of the files must not lie there without it. All of them may.
 */
static void undo_directory(struct restore *restore)
{
    const char *path = restore->options->directory;
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    HF_CLEANUP(hf_free) char *mark = hf_path_join(path, HF_RESTORE_MARK_NAME);
    struct hf_error ignored;
    bool marked = mark != NULL &&
                  (hf_fs_exists(mark) ||
                   hf_fs_publish_new(mark, hf_bytes_of(NULL, 0), 0600, &ignored) == HF_ERR_OK);
    bool all_gone = marked && hf_fs_list(path, HF_RESTORE_NAMES_MAX, &list, &ignored) == HF_ERR_OK;
    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(list.names[i], HF_RESTORE_MARK_NAME) == 0) {
            continue;
        }
        HF_CLEANUP(hf_free) char *name = hf_path_join(path, list.names[i]);
        all_gone = name != NULL && remove_entry(name, &ignored) == HF_ERR_OK && all_gone;
    }
    if (!all_gone || hf_fs_remove(mark, &ignored) != HF_ERR_OK) {
        hf_log_warn(restore->options->log, "restore.left_behind", HF_STR("directory", path));
        return;
    }
    if (restore->made_directory && hf_fs_remove_dir(path, &ignored) != HF_ERR_OK) {
        return; /* an empty directory does no harm */
    }
}

/* ---- the run ---- */

static enum hf_err fail_into(const struct hf_restore_options *options, struct hf_error *err)
{
    if (err->code == HF_ERR_NO_SPACE) {
        (void)hf_hint(err, "make room on its disk, or restore into another directory");
    }
    return hf_wrap(err, "restore into %s", options->directory);
}

static void restore_fini(struct restore *restore)
{
    hf_restore_writer_fini(&restore->writer);
    hf_lock_file_drop(restore->lock);
}
HF_CLEANUP_DEFINE_VALUE(restore_fini, struct restore)

static enum hf_err restore_into(const struct hf_restore_options *options,
                                struct hf_restore_result *out, struct hf_error *err)
{
    HF_CLEANUP(restore_fini) struct restore restore = {.options = options};
    struct hf_restore_writer *writer = &restore.writer;
    hf_restore_writer_init(writer, options);
    if (hf_restore_writer_open(writer, err) != HF_ERR_OK ||
        begin_directory(&restore, err) != HF_ERR_OK) {
        return fail_into(options, err);
    }
    if (restore_files(&restore, err) != HF_ERR_OK || end_directory(&restore, err) != HF_ERR_OK) {
        struct hf_error ignored;
        if (hf_restore_close_files(writer, &ignored) != HF_ERR_OK) {
            hf_error_clear(&ignored); /* the first error is the one to report */
        }
        undo_directory(&restore);
        return fail_into(options, err);
    }
    restore.result.read_bytes = hf_fetcher_read_bytes(writer->fetcher);
    restore.result.written_bytes = atomic_load(&writer->written_bytes);
    *out = restore.result;
    return HF_ERR_OK;
}

enum hf_err hf_restore_run(const struct hf_restore_options *options, struct hf_restore_result *out,
                           struct hf_error *err)
{
    hf_progress_phase(options->progress, options->onto ? HF_PROGRESS_ONTO : "restore");
    if (options->progress != NULL) {
        atomic_store(&options->progress->bytes_total, options->root->sums.bytes);
        atomic_store(&options->progress->files_total, options->root->sums.files);
    }
    return options->onto ? hf_restore_onto(options, out, err) : restore_into(options, out, err);
}
