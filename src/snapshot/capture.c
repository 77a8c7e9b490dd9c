/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture, from the list of files to the root of the new tree.
 *
 * The caller's thread goes through the files in order of their paths, beside the parent's; it takes over what the engine
 * says is unchanged and hands out units of the rest. Workers do the work (capture_work.c). At the end the entries, which
 * wait in memory encoded (some 250 bytes a file), become lists. Memory: five packs, a read buffer a worker, the parent's
 * nodes through a bounded cache.
 */
#include "snapshot/capture_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "os/clock.h"

#define UNITS_WAITING_A_WORKER 2
#define WORKERS_MAX 64
#define SMALL_FILE_BYTES ((uint64_t)64 << 20)
#define HUGE_FILE_BYTES ((uint64_t)256 << 30)
#define SMALL_BLOCK_BYTES ((uint32_t)64 << 10)
#define NORMAL_BLOCK_BYTES ((uint32_t)256 << 10)
#define HUGE_BLOCK_BYTES ((uint32_t)1 << 20)
/* A file is cut anew when it is this many times too large for its block size. */
#define RECUT_GROWTH 8
/* A ctime that young proves nothing: the file may change within its tick (mongodb-observed 7.1). */
#define CTIME_SETTLED_MS 2000

void hf_capture_result_fini(struct hf_capture_result *result)
{
    hf_tree_root_fini(&result->root);
}

/* ---- shared with workers ---- */

void hf_capture_fail(struct hf_capture *capture, const struct hf_error *error)
{
    HF_LOCKED(&capture->mutex);
    if (!capture->failed) {
        capture->failed = true;
        capture->error = *error;
    }
    hf_cond_broadcast(&capture->file_done);
}

bool hf_capture_has_failed(struct hf_capture *capture)
{
    HF_LOCKED(&capture->mutex);
    return capture->failed;
}

enum hf_err hf_capture_encode_entry(const struct hf_file_entry *entry, struct hf_captured *out,
                                    struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    if (hf_file_entry_encode(entry, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    out->entry = hf_alloc(bytes.len);
    if (out->entry == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "entry");
    }
    memcpy(out->entry, bytes.data, bytes.len);
    out->len = bytes.len;
    return HF_ERR_OK;
}

enum hf_err hf_capture_add_entry(struct hf_capture *capture, const struct hf_captured *captured,
                                 struct hf_error *err)
{
    HF_LOCKED(&capture->mutex);
    if (capture->captured_count == capture->captured_capacity) {
        size_t wanted = capture->captured_capacity == 0 ? 256 : capture->captured_capacity * 2;
        struct hf_captured *grown =
            hf_realloc_array(capture->captured, wanted, sizeof *capture->captured);
        if (grown == NULL) {
            hf_free(captured->entry);
            return hf_fail(err, HF_ERR_NO_MEMORY, "entries of %zu files", wanted);
        }
        capture->captured = grown;
        capture->captured_capacity = wanted;
    }
    capture->captured[capture->captured_count++] = *captured;
    return HF_ERR_OK;
}

/* ---- deciding ---- */

/* Kept while the file lives: cutting anew stores everything again. */
static uint32_t block_size(const struct hf_capture_options *options, uint64_t size_bytes,
                           const struct hf_file_entry *parent)
{
    const struct {
        uint64_t from;
        uint32_t block_bytes;
    } sizes[] = {{HUGE_FILE_BYTES, HUGE_BLOCK_BYTES},
                 {SMALL_FILE_BYTES, NORMAL_BLOCK_BYTES},
                 {0, SMALL_BLOCK_BYTES}};
    uint32_t now = SMALL_BLOCK_BYTES;
    uint32_t at_least = SMALL_BLOCK_BYTES;
    for (size_t i = HF_ARRAY_LEN(sizes); i > 0; i--) {
        now = size_bytes >= sizes[i - 1].from ? sizes[i - 1].block_bytes : now;
        at_least =
            size_bytes / RECUT_GROWTH >= sizes[i - 1].from ? sizes[i - 1].block_bytes : at_least;
    }
    if (parent != NULL && (parent->block_bytes >= at_least || options->block_bytes != 0)) {
        return parent->block_bytes;
    }
    return options->block_bytes != 0 ? options->block_bytes : now;
}

/* The engine says that the file is as the parent has it (store-format.md 4). */
static bool engine_says_same(const struct hf_capture_file *file, const struct hf_file_info *info,
                             const struct hf_file_entry *parent)
{
    const struct hf_witness *then = &parent->witness;
    return file->has_line && then->has_line && hf_hash_equal(&file->line_hash, &then->line_hash) &&
           info->device == then->device && info->inode == then->inode &&
           info->size_bytes >= parent->size_bytes;
}

/* Every witness is equal and was settled: then the bytes must be, too. */
static bool must_be_same(const struct hf_capture_file *file, const struct hf_file_info *info,
                         const struct hf_file_entry *parent)
{
    const struct hf_witness *then = &parent->witness;
    int64_t settled_ms = (int64_t)then->seen_ms - CTIME_SETTLED_MS;
    return engine_says_same(file, info, parent) && info->size_bytes == then->disk_bytes &&
           info->mtime_ns == then->mtime_ns && info->ctime_ns == then->ctime_ns &&
           file->listed_bytes == then->listed_bytes && then->listed_bytes == then->disk_bytes &&
           then->ctime_ns / 1000000 < settled_ms;
}

static enum hf_err size_to_read(const struct hf_capture_file *file, const struct hf_file_info *info,
                                uint64_t *out, struct hf_error *err)
{
    *out = file->listed_bytes == HF_LISTED_UNKNOWN ? info->size_bytes : file->listed_bytes;
    if (info->kind != HF_FILE_REGULAR) {
        return hf_fail(err, HF_ERR_INVALID, "not a regular file");
    }
    if (info->size_bytes < *out) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "shorter than listed: %" PRIu64 " of %" PRIu64 " bytes", info->size_bytes,
                       *out);
    }
    if (*out > HF_FILE_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "%" PRIu64 " bytes, %" PRIu64 " are allowed", *out,
                       HF_FILE_MAX_BYTES);
    }
    return HF_ERR_OK;
}

/* ---- handing out ---- */

struct round {
    struct hf_capture *capture;
    uint64_t number;
    struct hf_file_walk *parent;  /* owned; NULL without a parent */
    struct hf_block_coder *coder; /* borrowed */
    uint64_t files_skipped;
};

/* The parent's entry of that path. A damaged list is passed over: its files count as unknown. */
static enum hf_err parent_entry(struct round *round, const char *path,
                                const struct hf_file_entry **out, struct hf_error *err)
{
    *out = NULL;
    while (round->parent != NULL) {
        enum hf_err code = hf_file_walk_seek(round->parent, hf_str_of(path), out, err);
        if (code != HF_ERR_CORRUPT && code != HF_ERR_NOT_FOUND) {
            return code;
        }
        atomic_fetch_add(&round->capture->damaged_parent_nodes, 1);
        hf_log_warn(round->capture->options->log, "capture.parent_damaged", HF_STR("file", path),
                    HF_STR("error", err->message));
    }
    return HF_ERR_OK;
}

static enum hf_err take_over(struct round *round, const struct hf_capture_file *file,
                             const struct hf_file_entry *parent, struct hf_error *err)
{
    struct hf_progress *progress = round->capture->options->progress;
    struct hf_captured captured = {.path = file->path, .round = round->number};
    if (hf_capture_encode_entry(parent, &captured, err) != HF_ERR_OK ||
        hf_capture_add_entry(round->capture, &captured, err) != HF_ERR_OK) {
        return err->code;
    }
    round->files_skipped++;
    hf_progress_add_done(progress, parent->size_bytes);
    if (progress != NULL) {
        atomic_fetch_add(&progress->files_done, 1);
    }
    return HF_ERR_OK;
}

static void fill_entry(struct hf_capture_open *open, const struct hf_capture_file *file,
                       const struct hf_file_info *info, uint64_t size_bytes)
{
    struct hf_file_entry *entry = &open->entry;
    entry->path = hf_str_of(open->path);
    entry->size_bytes = size_bytes;
    entry->mode = info->mode & 07777;
    entry->witness = (struct hf_witness){
        .has_line = file->has_line,
        .line_hash = file->line_hash,
        .device = info->device,
        .inode = info->inode,
        .disk_bytes = info->size_bytes,
        .listed_bytes = file->listed_bytes,
        .mtime_ns = info->mtime_ns,
        .ctime_ns = info->ctime_ns,
        .seen_ms = hf_clock_wall_ms(),
    };
}

static enum hf_err open_for_reading(struct round *round, const struct hf_capture_file *file,
                                    const char *full_path, const struct hf_file_entry *parent,
                                    struct hf_capture_open **out, struct hf_error *err)
{
    struct hf_capture *capture = round->capture;
    HF_CLEANUP(hf_capture_open_destroy)
    struct hf_capture_open *open = hf_capture_open_create(capture, file->path);
    struct hf_file_info info;
    uint64_t size_bytes = 0;
    if (open == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "file");
    }
    if (hf_file_open(full_path, HF_OPEN_READ, 0, &open->file, err) != HF_ERR_OK ||
        hf_file_info(open->file, &info, err) != HF_ERR_OK ||
        size_to_read(file, &info, &size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    open->round = round->number;
    fill_entry(open, file, &info, size_bytes);
    struct hf_file_entry *entry = &open->entry;
    entry->block_bytes = block_size(capture->options, size_bytes, parent);
    open->block_count = hf_block_count(size_bytes, entry->block_bytes);
    entry->depth = (uint8_t)hf_tree_depth(open->block_count);
    entry->ref_count = (uint8_t)(entry->depth == 0 ? open->block_count : 1);
    if (parent != NULL && parent->block_bytes == entry->block_bytes) {
        open->compares = true;
        open->must_be_same = must_be_same(file, &info, parent);
        open->parent = *parent;
        open->parent.path = entry->path;
    }
    *out = HF_TAKE(open);
    return HF_ERR_OK;
}

/* Takes the file: it ends with its last unit, or here when there is none. */
static enum hf_err hand_out_take(struct hf_capture *capture, struct hf_capture_open *open,
                                 struct hf_error *err)
{
    uint64_t blocks = open->block_count;
    uint64_t units = blocks / HF_UNIT_BLOCKS + (blocks % HF_UNIT_BLOCKS != 0 ? 1 : 0);
    {
        HF_LOCKED(&capture->mutex);
        capture->files_open++;
    }
    /* One more than there are units: the file lives until all are handed out. */
    open->units_left = units + 1;
    enum hf_err code = HF_ERR_OK;
    for (uint64_t i = 0; i < units; i++) {
        struct hf_capture_unit *unit = NULL;
        if (code == HF_ERR_OK) {
            unit = hf_alloc(sizeof *unit);
        }
        if (unit == NULL) {
            if (code == HF_ERR_OK) {
                code = hf_fail(err, HF_ERR_NO_MEMORY, "unit of work");
                hf_capture_fail(capture, err);
            }
            hf_capture_unit_done(open);
            continue;
        }
        uint64_t first = i * HF_UNIT_BLOCKS;
        uint64_t left = blocks - first;
        *unit = (struct hf_capture_unit){
            .open = open,
            .first = first,
            .count = left < HF_UNIT_BLOCKS ? (uint32_t)left : HF_UNIT_BLOCKS,
        };
        if (!hf_queue_push(capture->units, unit)) { /* closed only after the last file */
            hf_free(unit);
            hf_capture_unit_done(open);
        }
    }
    hf_capture_unit_done(open);
    return code;
}

static enum hf_err capture_file(struct round *round, const struct hf_capture_file *file,
                                struct hf_error *err)
{
    struct hf_capture *capture = round->capture;
    const struct hf_capture_options *options = capture->options;
    const struct hf_file_entry *parent = NULL;
    struct hf_file_info info;
    HF_CLEANUP(hf_free) char *full_path = hf_path_join(options->root, file->path);
    if (full_path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    if (parent_entry(round, file->path, &parent, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_fs_stat(full_path, &info, err);
    if (code == HF_ERR_NOT_FOUND && file->optional) {
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? hf_wrap(err, "a listed file is gone") : code;
    }
    if (parent != NULL && !options->read_all && !options->prove_parent && !file->always_read &&
        engine_says_same(file, &info, parent)) {
        return take_over(round, file, parent, err);
    }
    if (file->listed_bytes == HF_LISTED_UNKNOWN && options->progress != NULL) {
        atomic_fetch_add(&options->progress->bytes_total, info.size_bytes);
    }
    struct hf_capture_open *open = NULL;
    if (open_for_reading(round, file, full_path, parent, &open, err) != HF_ERR_OK) {
        return err->code;
    }
    return hand_out_take(capture, open, err);
}

static void wait_for_files(struct hf_capture *capture)
{
    HF_LOCKED(&capture->mutex);
    while (capture->files_open > 0) {
        hf_cond_wait(&capture->file_done, &capture->mutex);
    }
}

static int by_path(const void *left, const void *right)
{
    const struct hf_capture_file *const *a = left;
    const struct hf_capture_file *const *b = right;
    return strcmp((*a)->path, (*b)->path);
}

static void announce(struct hf_progress *progress, const struct hf_capture_files *files)
{
    if (progress == NULL) {
        return;
    }
    atomic_fetch_add(&progress->files_total, files->count);
    for (size_t i = 0; i < files->count; i++) {
        if (files->items[i].listed_bytes != HF_LISTED_UNKNOWN) {
            atomic_fetch_add(&progress->bytes_total, files->items[i].listed_bytes);
        }
    }
}

static enum hf_err run_sorted(struct round *round, struct hf_capture_file **sorted, size_t count,
                              struct hf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(sorted[i - 1]->path, sorted[i]->path) == 0) {
            return hf_fail(err, HF_ERR_INVALID, "%s: listed twice", sorted[i]->path);
        }
        if (hf_capture_has_failed(round->capture)) {
            return HF_ERR_OK; /* the first error is reported */
        }
        if (hf_cancel_check(round->capture->options->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        if (capture_file(round, sorted[i], err) != HF_ERR_OK) {
            return hf_wrap(err, "%s", sorted[i]->path);
        }
    }
    return HF_ERR_OK;
}

/* Captures these files; returns when all are in. */
static enum hf_err run_round(struct round *round, const struct hf_capture_files *files,
                             struct hf_error *err)
{
    struct hf_capture *capture = round->capture;
    HF_CLEANUP(hf_free)
    struct hf_capture_file **sorted = hf_alloc_array(files->count, sizeof *sorted);
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *walk = NULL;
    if (sorted == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list of %zu files", files->count);
    }
    for (size_t i = 0; i < files->count; i++) {
        sorted[i] = &files->items[i];
    }
    if (files->count > 0) {
        qsort(sorted, files->count, sizeof *sorted, by_path);
    }
    if (capture->reader != NULL &&
        hf_file_walk_create(capture->reader, round->coder, capture->options->parent.root, &walk,
                            err) != HF_ERR_OK) {
        return err->code;
    }
    round->parent = walk;
    announce(capture->options->progress, files);
    if (run_sorted(round, sorted, files->count, err) != HF_ERR_OK) {
        hf_capture_fail(capture, err);
    }
    wait_for_files(capture);
    round->parent = NULL;
    HF_LOCKED(&capture->mutex);
    if (capture->failed) {
        *err = capture->error;
        return err->code;
    }
    return HF_ERR_OK;
}

/* ---- the run ---- */

static void capture_fini(struct hf_capture *capture)
{
    hf_packer_destroy(capture->packer);
    hf_capture_close_journals(capture);
    hf_tree_reader_destroy(capture->reader);
    hf_queue_destroy(capture->units);
    hf_rate_fini(&capture->rate);
    for (size_t i = 0; i < capture->captured_count; i++) {
        hf_free(capture->captured[i].entry);
    }
    hf_free(capture->captured);
    hf_cond_fini(&capture->file_done);
    hf_mutex_fini(&capture->mutex);
}
HF_CLEANUP_DEFINE_VALUE(capture_fini, struct hf_capture)

static void note_durable(void *context, uint32_t pack)
{
    const struct hf_capture *capture = context;
    hf_journal_note_durable(capture->journal, pack);
}

static enum hf_err check_options(const struct hf_capture_options *options, struct hf_error *err)
{
    uint32_t block = options->block_bytes;
    if (options->capture == 0 || options->capture > HF_CAPTURE_MAX ||
        options->adopted_count > HF_ADOPTED_MAX || options->parent.capture >= options->capture) {
        return hf_fail(err, HF_ERR_INVALID, "its number, parent or adopted attempts are wrong");
    }
    if (block != 0 &&
        (block < HF_BLOCK_MIN_BYTES || block > HF_BLOCK_MAX_BYTES || (block & (block - 1)) != 0)) {
        return hf_fail(err, HF_ERR_INVALID, "block size %" PRIu32 " is no power of two in range",
                       block);
    }
    return HF_ERR_OK;
}

static enum hf_err open_parts(struct hf_capture *capture, unsigned workers, struct hf_error *err)
{
    const struct hf_capture_options *options = capture->options;
    struct hf_packer_options packer = {
        .store = options->store,
        .keyring = options->keyring,
        .capture = options->capture,
        .writer = options->writer,
        .pack_bytes = options->pack_bytes,
        .nice = options->nice,
        .progress = options->progress,
        .cancel = options->cancel,
        .durable = note_durable,
        .context = capture,
    };
    struct hf_tree_reader_options reader = {
        .store = options->store,
        .keyring = options->keyring,
        /* A kept copy may be whole where the store's own is not. */
        .cache_dir = options->prove_parent ? NULL : options->cache_dir,
    };
    capture->units = hf_queue_create((size_t)workers * UNITS_WAITING_A_WORKER);
    if (capture->units == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "queue of units");
    }
    if (hf_capture_open_journals(capture, err) != HF_ERR_OK ||
        (options->parent.capture != 0 &&
         hf_tree_reader_create(&reader, &capture->reader, err) != HF_ERR_OK)) {
        return err->code;
    }
    return hf_packer_create(&packer, &capture->packer, err);
}

/* All rounds: the given files, then what `more` adds as long as it adds any. */
static enum hf_err run_rounds(struct hf_capture *capture, struct hf_block_coder *coder,
                              struct hf_capture_files *added, uint64_t *files_skipped,
                              struct hf_error *err)
{
    const struct hf_capture_options *options = capture->options;
    struct round round = {.capture = capture, .number = 0, .coder = coder};
    enum hf_err code = run_round(&round, options->files, err);
    if (code == HF_ERR_OK && options->more != NULL) {
        code = options->more(options->context, added, err);
        round.number = 1;
        if (code == HF_ERR_OK && added->count > 0) {
            code = run_round(&round, added, err);
        }
    }
    *files_skipped = round.files_skipped;
    return code;
}

static enum hf_err run_with_workers(struct hf_capture *capture, unsigned workers,
                                    struct hf_block_coder *coder, struct hf_capture_files *added,
                                    uint64_t *files_skipped, struct hf_error *err)
{
    struct hf_thread *threads[WORKERS_MAX] = {NULL};
    enum hf_err code = HF_ERR_OK;
    for (unsigned i = 0; i < workers && code == HF_ERR_OK; i++) {
        code = hf_thread_start("hf-capture", hf_capture_work, capture, &threads[i], err);
    }
    if (code == HF_ERR_OK) {
        code = run_rounds(capture, coder, added, files_skipped, err);
    }
    hf_queue_close(capture->units);
    for (unsigned i = 0; i < workers; i++) {
        hf_thread_join(threads[i]);
    }
    return code;
}

static void fill_result(struct hf_capture *capture, const struct hf_packer_sums *packed,
                        uint64_t files_skipped, struct hf_capture_result *result)
{
    struct hf_tree_sums *sums = &result->root.sums;
    sums->new_bytes = atomic_load(&capture->new_bytes);
    sums->stored_bytes = packed->stored_bytes;
    sums->read_bytes = atomic_load(&capture->read_bytes);
    sums->blocks_reused = atomic_load(&capture->blocks_reused);
    sums->blocks_new = atomic_load(&capture->blocks_new);
    sums->blocks_zero = atomic_load(&capture->blocks_zero);
    sums->files_skipped = files_skipped;
    result->damaged_parent_nodes = atomic_load(&capture->damaged_parent_nodes);
    result->packs = packed->packs;
    for (size_t i = 0; i < capture->options->adopted_count; i++) {
        if (atomic_load(&capture->adopted_used[i])) {
            result->adopted[result->adopted_count++] = capture->options->adopted[i];
        }
    }
}

enum hf_err hf_capture_run(const struct hf_capture_options *options, struct hf_capture_result *out,
                           struct hf_error *err)
{
    HF_CLEANUP(capture_fini) struct hf_capture capture = {.options = options};
    HF_CLEANUP(hf_block_coder_destroy) struct hf_block_coder *coder = NULL;
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files added = {.items = NULL};
    HF_CLEANUP(hf_capture_result_fini) struct hf_capture_result result = {.packs = 0};
    struct hf_block_coder_options coding = {.keyring = options->keyring, .level = options->level};
    struct hf_packer_sums packed = {.packs = 0};
    uint64_t files_skipped = 0;
    unsigned workers = options->workers == 0 ? hf_thread_cpu_count() : options->workers;
    workers = workers > WORKERS_MAX ? WORKERS_MAX : workers;
    hf_mutex_init(&capture.mutex);
    hf_cond_init(&capture.file_done);
    hf_rate_init(&capture.rate, options->rate_bytes_s);
    hf_progress_phase(options->progress, "capture");
    if (check_options(options, err) != HF_ERR_OK ||
        hf_block_coder_create(&coding, &coder, err) != HF_ERR_OK ||
        open_parts(&capture, workers, err) != HF_ERR_OK ||
        run_with_workers(&capture, workers, coder, &added, &files_skipped, err) != HF_ERR_OK ||
        hf_capture_make_lists(&capture, coder, &result.root, err) != HF_ERR_OK ||
        hf_packer_finish(capture.packer, &packed, err) != HF_ERR_OK) {
        return hf_wrap(err, "capture %" PRIu64, options->capture);
    }
    fill_result(&capture, &packed, files_skipped, &result);
    *out = result;
    result = (struct hf_capture_result){.packs = 0};
    return HF_ERR_OK;
}
