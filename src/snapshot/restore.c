/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore into an empty directory.
 *
 *   mark -> (files made at full size, their blocks into the window -> window read in address order and written -> the
 *   window's whole files synced) again and again -> directories synced -> restoreInfo.txt -> mark removed
 *
 * The mark stands from before the first file until all is durable: a database must not be started beside it.
 */
#include "snapshot/restore.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "os/fs.h"
#include "snapshot/fetch.h"
#include "snapshot/rate.h"

#define WINDOW_FILES ((size_t)4096)
#define OPEN_FILES 128
#define NAMES_MAX 1000000
#define DIR_MODE 0700
#define MARK_TEXT                                                                                  \
    "A restore into this directory is under way, or died. Do not start a database on it.\n"        \
    "restore %016" PRIx64 "\n"
#define MARK_BYTES ((size_t)4096)

struct restored_file {
    char *path; /* owned; full */
};

/* Open files are shared by the workers; a slot serves file numbers that are equal modulo OPEN_FILES. */
struct open_slot {
    struct hf_file *file; /* owned */
    uint32_t number;
    unsigned users;
};

struct restore {
    const struct hf_restore_options *options; /* borrowed */
    struct hf_tree_reader *reader;            /* owned */
    struct hf_block_coder *coder;             /* owned; the caller's thread */
    struct hf_fetcher *fetcher;               /* owned */
    struct hf_fetch_window window;
    struct hf_rate rate;
    unsigned workers;
    struct restored_file *files; /* owned; of the window */
    size_t file_count;
    char **dirs; /* owned: every directory with files, to be synced */
    size_t dir_count, dir_capacity;
    struct hf_mutex mutex; /* guards: slots */
    struct open_slot slots[OPEN_FILES];
    bool made_directory;
    struct hf_restore_result result;
};

/* ---- files that are open; any thread ---- */

static enum hf_err open_file(struct restore *restore, uint32_t number, struct hf_file **out,
                             struct hf_error *err)
{
    return hf_file_open(restore->files[number].path, HF_OPEN_WRITE, 0, out, err);
}

/* *slot is NULL when the file is the caller's alone. */
static enum hf_err take_file(struct restore *restore, uint32_t number, struct hf_file **file,
                             struct open_slot **slot, struct hf_error *err)
{
    struct open_slot *wanted = &restore->slots[number % OPEN_FILES];
    {
        HF_LOCKED(&restore->mutex);
        if (wanted->file != NULL && wanted->number == number) {
            wanted->users++;
            *file = wanted->file;
            *slot = wanted;
            return HF_ERR_OK;
        }
    }
    struct hf_file *opened = NULL;
    struct hf_file *old = NULL;
    if (open_file(restore, number, &opened, err) != HF_ERR_OK) {
        return err->code;
    }
    {
        HF_LOCKED(&restore->mutex);
        *slot = NULL;
        if (wanted->users == 0) {
            old = wanted->file;
            *wanted = (struct open_slot){.file = opened, .number = number, .users = 1};
            *slot = wanted;
        }
    }
    *file = opened;
    return old == NULL ? HF_ERR_OK : hf_file_close(old, err);
}

static enum hf_err give_file_back(struct restore *restore, struct hf_file *file,
                                  struct open_slot *slot, struct hf_error *err)
{
    if (slot == NULL) {
        return hf_file_close(file, err);
    }
    HF_LOCKED(&restore->mutex);
    slot->users--;
    return HF_ERR_OK;
}

static enum hf_err close_files(struct restore *restore, struct hf_error *err)
{
    enum hf_err code = HF_ERR_OK;
    for (size_t i = 0; i < OPEN_FILES; i++) {
        struct hf_file *file = HF_TAKE(restore->slots[i].file);
        if (file != NULL && code == HF_ERR_OK) {
            code = hf_file_close(file, err);
        } else {
            hf_file_drop(file);
        }
    }
    return code;
}

/* ---- writing; any thread ---- */

static enum hf_err write_block(void *context, const struct hf_fetch_item *item,
                               struct hf_bytes plain, struct hf_error *err)
{
    struct restore *restore = context;
    struct hf_file *file = NULL;
    struct open_slot *slot = NULL;
    hf_rate_take(&restore->rate, plain.len, restore->options->cancel);
    if (HF_FAULT("snapshot.restore.write", err) != HF_ERR_OK ||
        take_file(restore, item->file, &file, &slot, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_file_write_at(file, item->offset, plain, err);
    if (code == HF_ERR_OK) {
        hf_file_flush_hint(file, item->offset, plain.len);
    }
    struct hf_error second;
    enum hf_err back = give_file_back(restore, file, slot, &second);
    if (code == HF_ERR_OK && back != HF_ERR_OK) {
        *err = second;
        code = back;
    }
    hf_progress_add_done(restore->options->progress, plain.len);
    return code;
}

/* The first damage ends the restore, with file and place named. */
static enum hf_err name_damage(void *context, const struct hf_fetch_item *item,
                               const struct hf_error *damage, struct hf_error *err)
{
    const struct restore *restore = context;
    *err = *damage;
    return hf_wrap(err, "%s at %" PRIu64, restore->files[item->file].path, item->offset);
}

static enum hf_err sync_file(void *context, unsigned worker, size_t item, struct hf_error *err)
{
    struct restore *restore = context;
    (void)worker;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    if (open_file(restore, (uint32_t)item, &file, err) != HF_ERR_OK ||
        hf_file_sync(file, err) != HF_ERR_OK) {
        return err->code;
    }
    if (restore->options->progress != NULL) {
        atomic_fetch_add(&restore->options->progress->files_done, 1);
    }
    return hf_file_close(HF_TAKE(file), err);
}

/* Reads and writes the window, and syncs its files. keep_last: the last file goes on in the next window. */
static enum hf_err flush_window(struct restore *restore, bool keep_last, struct hf_error *err)
{
    size_t whole = restore->file_count - (keep_last ? 1 : 0);
    struct hf_pool_work sync = {
        .count = whole,
        .workers = restore->workers,
        .cancel = restore->options->cancel,
        .run = sync_file,
        .context = restore,
    };
    if (hf_fetcher_run(restore->fetcher, &restore->window, err) != HF_ERR_OK ||
        close_files(restore, err) != HF_ERR_OK || hf_pool_run(&sync, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < whole; i++) {
        hf_free(restore->files[i].path);
    }
    if (keep_last) {
        restore->files[0] = restore->files[whole];
    }
    restore->file_count = keep_last ? 1 : 0;
    return HF_ERR_OK;
}

/* ---- making files; the caller's thread ---- */

/* Makes the directory of a file and remembers it. Paths come sorted: the last one made is nearly always the one. */
static enum hf_err make_parent(struct restore *restore, const char *path, struct hf_error *err)
{
    const char *slash = strrchr(path, '/');
    HF_CLEANUP(hf_free) char *dir = hf_strndup(path, (size_t)(slash - path));
    if (dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "directory");
    }
    size_t len = (size_t)(slash - path);
    for (size_t i = restore->dir_count; i > 0; i--) {
        const char *made = restore->dirs[i - 1];
        if (strcmp(made, dir) == 0) {
            return HF_ERR_OK;
        }
        /* All paths below a directory stand together: what is not below ours ends the search. */
        if (strncmp(made, dir, len) != 0 || made[len] != '/') {
            break;
        }
    }
    if (restore->dir_count == restore->dir_capacity) {
        size_t wanted = restore->dir_capacity == 0 ? 16 : restore->dir_capacity * 2;
        char **grown = hf_realloc_array(restore->dirs, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "directories");
        }
        restore->dirs = grown;
        restore->dir_capacity = wanted;
    }
    if (hf_fs_make_dirs(dir, DIR_MODE, err) != HF_ERR_OK) {
        return err->code;
    }
    restore->dirs[restore->dir_count++] = HF_TAKE(dir);
    return HF_ERR_OK;
}

static bool is_reserved(const struct hf_restore_options *options, struct hf_str path)
{
    return hf_str_equal_c(path, HF_RESTORE_MARK_NAME) ||
           (options->restore_info != NULL && hf_str_equal_c(path, HF_RESTORE_INFO_NAME));
}

/* Makes the file at its full size, all of it a hole. */
static enum hf_err make_file(struct restore *restore, const struct hf_file_entry *entry,
                             struct hf_error *err)
{
    if (!hf_path_is_safe_relative(entry->path) || is_reserved(restore->options, entry->path)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%.*s: a path that may not be restored",
                       HF_STR_ARG(entry->path));
    }
    HF_CLEANUP(hf_free)
    char *path = hf_asprintf("%s/%.*s", restore->options->directory, HF_STR_ARG(entry->path));
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (make_parent(restore, path, err) != HF_ERR_OK ||
        hf_file_open(path, HF_OPEN_CREATE_NEW, entry->mode | 0600, &file, err) != HF_ERR_OK ||
        hf_file_truncate(file, entry->size_bytes, err) != HF_ERR_OK ||
        hf_file_close(HF_TAKE(file), err) != HF_ERR_OK) {
        return err->code;
    }
    restore->files[restore->file_count].path = HF_TAKE(path);
    restore->file_count++;
    return HF_ERR_OK;
}

static enum hf_err add_blocks(struct restore *restore, const struct hf_file_entry *entry,
                              uint64_t node_index, const struct hf_node *node, struct hf_error *err)
{
    for (unsigned i = 0; i < node->count; i++) {
        uint64_t block = node_index * HF_NODE_REFS + i;
        uint32_t len = hf_block_length(entry->size_bytes, entry->block_bytes, block);
        if (hf_ref_is_zero(&node->refs[i])) {
            hf_progress_add_done(restore->options->progress, len);
            continue;
        }
        if (restore->window.count == restore->window.capacity &&
            flush_window(restore, true, err) != HF_ERR_OK) {
            return err->code;
        }
        restore->window.items[restore->window.count++] = (struct hf_fetch_item){
            .ref = node->refs[i],
            .plain_bytes = len,
            .file = (uint32_t)(restore->file_count - 1),
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
    if (restore->file_count == WINDOW_FILES && flush_window(restore, false, err) != HF_ERR_OK) {
        return err->code;
    }
    if (make_file(restore, entry, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint64_t i = 0; i < nodes; i++) {
        struct hf_node node;
        if (hf_cancel_check(restore->options->cancel, err) != HF_ERR_OK ||
            hf_tree_file_refs(restore->reader, restore->coder, entry, i, &node, err) != HF_ERR_OK ||
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
    if (hf_file_walk_create(restore->reader, restore->coder, restore->options->root, &walk, err) !=
            HF_ERR_OK ||
        hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    while (entry != NULL) {
        char name[HF_PROGRESS_NAME_BYTES];
        size_t len = entry->path.len < sizeof name ? entry->path.len : sizeof name - 1;
        memcpy(name, entry->path.data, len);
        name[len] = '\0';
        hf_progress_file(restore->options->progress, name);
        /* Not wrapped with this file's path: what fails here may be a block of an earlier one. */
        if (restore_file(restore, entry, err) != HF_ERR_OK ||
            hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return flush_window(restore, false, err);
}

/* ---- the directory ---- */

static enum hf_err directory_is_empty(const char *path, bool *exists, struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    enum hf_err code = hf_fs_list(path, NAMES_MAX, &list, err);
    *exists = code != HF_ERR_NOT_FOUND;
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    if (code == HF_ERR_LIMIT || (code == HF_ERR_OK && list.count > 0)) {
        for (size_t i = 0; code == HF_ERR_OK && i < list.count; i++) {
            if (strcmp(list.names[i], HF_RESTORE_MARK_NAME) == 0) {
                return hf_fail(err, HF_ERR_EXISTS,
                               "%s holds a restore that did not end; hint: empty it first", path);
            }
        }
        return hf_fail(err, HF_ERR_EXISTS,
                       "%s is not empty; hint: a restore goes into an empty one", path);
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
    HF_CLEANUP(hf_buf_fini) struct hf_buf there = HF_BUF_INIT(MARK_BYTES);
    struct hf_error ignored; /* the failure that led here is the one to tell */
    if (hf_fs_read_whole(mark, MARK_BYTES, &there, &ignored) == HF_ERR_OK &&
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
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(MARK_BYTES);
    HF_CLEANUP(hf_free) char *mark = hf_path_join(path, HF_RESTORE_MARK_NAME);
    if (mark == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (directory_is_empty(path, &exists, err) != HF_ERR_OK ||
        hf_fs_make_dirs(path, DIR_MODE, err) != HF_ERR_OK) {
        return err->code;
    }
    restore->made_directory = !exists;
    hf_random_bytes(&number, sizeof number);
    if (hf_buf_appendf(&text, err, MARK_TEXT, number) != HF_ERR_OK) {
        return err->code;
    }
    /* EXISTS here: another restore began at the same time, and what lies there is its own. */
    if (hf_fs_publish_new(mark, hf_buf_bytes(&text), 0600, err) != HF_ERR_OK) {
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
    for (size_t i = 0; i < restore->dir_count; i++) {
        if (hf_fs_sync_dir(restore->dirs[i], err) != HF_ERR_OK) {
            return err->code;
        }
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
    bool all_gone = marked && hf_fs_list(path, NAMES_MAX, &list, &ignored) == HF_ERR_OK;
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

static void restore_fini(struct restore *restore)
{
    struct hf_error ignored;
    if (close_files(restore, &ignored) != HF_ERR_OK) {
        hf_error_clear(&ignored); /* only after another failure are any open here */
    }
    hf_fetcher_destroy(restore->fetcher);
    hf_fetch_window_fini(&restore->window);
    hf_block_coder_destroy(restore->coder);
    hf_tree_reader_destroy(restore->reader);
    for (size_t i = 0; i < restore->file_count; i++) {
        hf_free(restore->files[i].path);
    }
    hf_free(restore->files);
    for (size_t i = 0; i < restore->dir_count; i++) {
        hf_free(restore->dirs[i]);
    }
    hf_free(restore->dirs);
    hf_rate_fini(&restore->rate);
    hf_mutex_fini(&restore->mutex);
}
HF_CLEANUP_DEFINE_VALUE(restore_fini, struct restore)

static enum hf_err open_parts(struct restore *restore, struct hf_error *err)
{
    const struct hf_restore_options *options = restore->options;
    struct hf_tree_reader_options reader = {.store = options->store, .keyring = options->keyring};
    struct hf_block_coder_options coding = {.keyring = options->keyring};
    restore->files = hf_alloc_zero(WINDOW_FILES * sizeof *restore->files);
    if (restore->files == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "restore");
    }
    if (hf_tree_reader_create(&reader, &restore->reader, err) != HF_ERR_OK ||
        hf_block_coder_create(&coding, &restore->coder, err) != HF_ERR_OK ||
        hf_fetch_window_init(&restore->window, HF_FETCH_WINDOW_ITEMS, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_fetcher_options fetcher = {
        .reader = restore->reader,
        .keyring = options->keyring,
        .workers = restore->workers,
        .depth = HF_FETCH_CONTENT,
        .cancel = options->cancel,
        .on_block = write_block,
        .on_damage = name_damage,
        .context = restore,
    };
    return hf_fetcher_create(&fetcher, &restore->fetcher, err);
}

enum hf_err hf_restore_run(const struct hf_restore_options *options, struct hf_restore_result *out,
                           struct hf_error *err)
{
    HF_CLEANUP(restore_fini) struct restore restore = {.options = options};
    hf_mutex_init(&restore.mutex);
    hf_rate_init(&restore.rate, options->rate_bytes_s);
    restore.workers = hf_pool_workers(options->workers);
    hf_progress_phase(options->progress, "restore");
    if (options->progress != NULL) {
        atomic_store(&options->progress->bytes_total, options->root->sums.bytes);
        atomic_store(&options->progress->files_total, options->root->sums.files);
    }
    if (open_parts(&restore, err) != HF_ERR_OK || begin_directory(&restore, err) != HF_ERR_OK) {
        return hf_wrap(err, "restore into %s", options->directory);
    }
    if (restore_files(&restore, err) != HF_ERR_OK || end_directory(&restore, err) != HF_ERR_OK) {
        struct hf_error ignored;
        if (close_files(&restore, &ignored) != HF_ERR_OK) {
            hf_error_clear(&ignored); /* the first error is the one to report */
        }
        undo_directory(&restore);
        return hf_wrap(err, "restore into %s", options->directory);
    }
    restore.result.read_bytes = hf_fetcher_read_bytes(restore.fetcher);
    *out = restore.result;
    return HF_ERR_OK;
}
