/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a restore, written by several threads. Blocks wait in a window, which is read in address order; what was
 * read is written in place, and the window's whole files are synced.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "snapshot/restore_internal.h"

/* Written at once where so many bytes follow each other (docs/design/performance.md). */
#define WRITE_BYTES ((size_t)1 << 20)

/* ---- files that are open; any thread ---- */

static enum hf_err open_file(struct hf_restore_writer *writer, uint32_t number,
                             struct hf_file **out, struct hf_error *err)
{
    return hf_file_open(writer->files[number].path, HF_OPEN_WRITE, 0, out, err);
}

/* *slot is NULL when the file is the caller's alone. */
static enum hf_err take_file(struct hf_restore_writer *writer, uint32_t number,
                             struct hf_file **file, struct hf_restore_slot **slot,
                             struct hf_error *err)
{
    struct hf_restore_slot *wanted = &writer->slots[number % HF_RESTORE_OPEN_FILES];
    {
        HF_LOCKED(&writer->mutex);
        if (wanted->file != NULL && wanted->number == number) {
            wanted->users++;
            *file = wanted->file;
            *slot = wanted;
            return HF_ERR_OK;
        }
    }
    struct hf_file *opened = NULL;
    struct hf_file *old = NULL;
    if (open_file(writer, number, &opened, err) != HF_ERR_OK) {
        return err->code;
    }
    {
        HF_LOCKED(&writer->mutex);
        *slot = NULL;
        if (wanted->users == 0) {
            old = wanted->file;
            *wanted = (struct hf_restore_slot){.file = opened, .number = number, .users = 1};
            *slot = wanted;
        }
    }
    *file = opened;
    return old == NULL ? HF_ERR_OK : hf_file_close(old, err);
}

static enum hf_err give_file_back(struct hf_restore_writer *writer, struct hf_file *file,
                                  struct hf_restore_slot *slot, struct hf_error *err)
{
    if (slot == NULL) {
        return hf_file_close(file, err);
    }
    HF_LOCKED(&writer->mutex);
    slot->users--;
    return HF_ERR_OK;
}

enum hf_err hf_restore_close_files(struct hf_restore_writer *writer, struct hf_error *err)
{
    enum hf_err code = HF_ERR_OK;
    for (size_t i = 0; i < HF_RESTORE_OPEN_FILES; i++) {
        struct hf_file *file = HF_TAKE(writer->slots[i].file);
        if (file != NULL && code == HF_ERR_OK) {
            code = hf_file_close(file, err);
        } else {
            hf_file_drop(file);
        }
    }
    return code;
}

/* ---- writing; any thread ---- */

/* plain.data is NULL for zeros. */
static enum hf_err write_range(struct hf_restore_writer *writer, const struct hf_fetch_item *item,
                               struct hf_bytes plain, struct hf_error *err)
{
    struct hf_file *file = NULL;
    struct hf_restore_slot *slot = NULL;
    struct hf_progress *progress = writer->options->progress;
    hf_rate_take(&writer->rate, plain.len, writer->options->cancel);
    if (HF_FAULT("snapshot.restore.write", err) != HF_ERR_OK ||
        take_file(writer, item->file, &file, &slot, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = plain.data == NULL
                           ? hf_file_zero(file, item->offset, plain.len, err)
                           : hf_file_write_at_uncached(file, item->offset, plain, err);
    struct hf_error second;
    enum hf_err back = give_file_back(writer, file, slot, &second);
    if (code == HF_ERR_OK && back != HF_ERR_OK) {
        *err = second;
        code = back;
    }
    atomic_fetch_add(&writer->written_bytes, plain.len);
    if (progress != NULL) {
        atomic_fetch_add(&progress->bytes_new, plain.len);
    }
    hf_progress_add_done(progress, plain.len);
    return code;
}

static enum hf_err write_block(void *context, const struct hf_fetch_item *item,
                               struct hf_bytes plain, struct hf_error *err)
{
    return write_range(context, item, plain, err);
}

enum hf_err hf_restore_write(struct hf_restore_writer *writer, const struct hf_fetch_item *item,
                             struct hf_bytes plain, struct hf_error *err)
{
    return write_range(writer, item, plain, err);
}

enum hf_err hf_restore_write_zeros(struct hf_restore_writer *writer,
                                   const struct hf_fetch_item *item, struct hf_error *err)
{
    return write_range(writer, item, (struct hf_bytes){.len = item->plain_bytes}, err);
}

/* The first damage ends the restore, with file and place named. */
static enum hf_err name_damage(void *context, const struct hf_fetch_item *item,
                               const struct hf_error *damage, struct hf_error *err)
{
    const struct hf_restore_writer *writer = context;
    *err = *damage;
    return hf_wrap(err, "%s at %" PRIu64, writer->files[item->file].path, item->offset);
}

/* For reading: a file onto which nothing had to be written may be one that we must not write. */
static enum hf_err sync_file(void *context, unsigned worker, size_t item, struct hf_error *err)
{
    struct hf_restore_writer *writer = context;
    (void)worker;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    if (hf_file_open(writer->files[item].path, HF_OPEN_READ, 0, &file, err) != HF_ERR_OK ||
        hf_file_sync(file, err) != HF_ERR_OK) {
        return err->code;
    }
    if (writer->options->progress != NULL) {
        atomic_fetch_add(&writer->options->progress->files_done, 1);
    }
    return hf_file_close(HF_TAKE(file), err);
}

enum hf_err hf_restore_flush(struct hf_restore_writer *writer, enum hf_restore_rest rest,
                             struct hf_error *err)
{
    size_t whole = writer->file_count - (rest == HF_RESTORE_LAST_GOES_ON ? 1 : 0);
    struct hf_pool_work sync = {
        .count = whole,
        .workers = writer->workers,
        .cancel = writer->options->cancel,
        .run = sync_file,
        .context = writer,
    };
    if (hf_fetcher_run(writer->fetcher, &writer->window, err) != HF_ERR_OK ||
        hf_restore_close_files(writer, err) != HF_ERR_OK || hf_pool_run(&sync, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < whole; i++) {
        hf_free(writer->files[i].path);
    }
    if (whole < writer->file_count) {
        writer->files[0] = writer->files[whole];
    }
    writer->file_count -= whole;
    return HF_ERR_OK;
}

/* ---- making files; the caller's thread ---- */

static bool is_reserved(const struct hf_restore_options *options, struct hf_str path)
{
    return hf_str_equal_c(path, HF_RESTORE_MARK_NAME) ||
           (options->restore_info != NULL && hf_str_equal_c(path, HF_RESTORE_INFO_NAME));
}

enum hf_err hf_restore_path(const struct hf_restore_options *options, struct hf_str path,
                            char **out, struct hf_error *err)
{
    if (!hf_path_is_safe_relative(path) || is_reserved(options, path)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%.*s: a path that may not be restored",
                       HF_STR_ARG(path));
    }
    *out = hf_asprintf("%s/%.*s", options->directory, HF_STR_ARG(path));
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "path") : HF_ERR_OK;
}

/* The last directory made is nearly always the one. */
enum hf_err hf_restore_make_parent(struct hf_restore_writer *writer, const char *path,
                                   struct hf_error *err)
{
    const char *slash = strrchr(path, '/');
    HF_CLEANUP(hf_free) char *dir = hf_strndup(path, (size_t)(slash - path));
    if (dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "directory");
    }
    size_t len = (size_t)(slash - path);
    for (size_t i = writer->dir_count; i > 0; i--) {
        const char *made = writer->dirs[i - 1];
        if (strcmp(made, dir) == 0) {
            return HF_ERR_OK;
        }
        /* All paths below a directory stand together: what is not below ours ends the search. */
        if (strncmp(made, dir, len) != 0 || made[len] != '/') {
            break;
        }
    }
    if (writer->dir_count == writer->dir_capacity) {
        size_t wanted = writer->dir_capacity == 0 ? 16 : writer->dir_capacity * 2;
        char **grown = hf_realloc_array(writer->dirs, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "directories");
        }
        writer->dirs = grown;
        writer->dir_capacity = wanted;
    }
    if (hf_fs_make_dirs(dir, HF_RESTORE_DIR_MODE, err) != HF_ERR_OK) {
        return err->code;
    }
    writer->dirs[writer->dir_count++] = HF_TAKE(dir);
    return HF_ERR_OK;
}

enum hf_err hf_restore_make_file(struct hf_restore_writer *writer, const char *path,
                                 const struct hf_file_entry *entry, struct hf_error *err)
{
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    if (hf_restore_make_parent(writer, path, err) != HF_ERR_OK ||
        hf_file_open(path, HF_OPEN_CREATE_NEW, entry->mode | 0600, &file, err) != HF_ERR_OK ||
        hf_file_truncate(file, entry->size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_file_close(HF_TAKE(file), err);
}

void hf_restore_add_file_take(struct hf_restore_writer *writer, char *path)
{
    HF_ASSERT(writer->file_count < HF_RESTORE_WINDOW_FILES);
    writer->files[writer->file_count++].path = path;
}

void hf_restore_show_file(const struct hf_restore_options *options, struct hf_str path)
{
    char name[HF_PROGRESS_NAME_BYTES];
    size_t len = path.len < sizeof name ? path.len : sizeof name - 1;
    memcpy(name, path.data, len);
    name[len] = '\0';
    hf_progress_file(options->progress, name);
}

enum hf_err hf_restore_sync_dirs(struct hf_restore_writer *writer, struct hf_error *err)
{
    for (size_t i = 0; i < writer->dir_count; i++) {
        if (hf_fs_sync_dir(writer->dirs[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- the writer itself ---- */

void hf_restore_writer_init(struct hf_restore_writer *writer,
                            const struct hf_restore_options *options)
{
    *writer = (struct hf_restore_writer){.options = options,
                                         .workers = hf_pool_workers(options->workers)};
    hf_mutex_init(&writer->mutex);
    hf_rate_init(&writer->rate, options->rate_bytes_s);
}

void hf_restore_writer_fini(struct hf_restore_writer *writer)
{
    struct hf_error ignored;
    if (hf_restore_close_files(writer, &ignored) != HF_ERR_OK) {
        hf_error_clear(&ignored); /* only after another failure are any open here */
    }
    hf_fetcher_destroy(writer->fetcher);
    hf_fetch_window_fini(&writer->window);
    hf_block_coder_destroy(writer->coder);
    hf_tree_reader_destroy(writer->reader);
    for (size_t i = 0; i < writer->file_count; i++) {
        hf_free(writer->files[i].path);
    }
    hf_free(writer->files);
    for (size_t i = 0; i < writer->dir_count; i++) {
        hf_free(writer->dirs[i]);
    }
    hf_free(writer->dirs);
    hf_rate_fini(&writer->rate);
    hf_mutex_fini(&writer->mutex);
}

enum hf_err hf_restore_writer_open(struct hf_restore_writer *writer, struct hf_error *err)
{
    const struct hf_restore_options *options = writer->options;
    struct hf_tree_reader_options reader = {.store = options->store, .keyring = options->keyring};
    struct hf_block_coder_options coding = {.keyring = options->keyring};
    writer->files = hf_alloc_zero(HF_RESTORE_WINDOW_FILES * sizeof *writer->files);
    if (writer->files == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "restore");
    }
    if (hf_tree_reader_create(&reader, &writer->reader, err) != HF_ERR_OK ||
        hf_block_coder_create(&coding, &writer->coder, err) != HF_ERR_OK ||
        hf_fetch_window_init(&writer->window, HF_FETCH_WINDOW_ITEMS, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_fetcher_options fetcher = {
        .reader = writer->reader,
        .keyring = options->keyring,
        .workers = writer->workers,
        .depth = HF_FETCH_CONTENT,
        .run_bytes = WRITE_BYTES,
        .cancel = options->cancel,
        .on_block = write_block,
        .on_damage = name_damage,
        .context = writer,
    };
    return hf_fetcher_create(&fetcher, &writer->fetcher, err);
}
