/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore as a tar stream.
 *
 * The caller's thread goes through the files and plans pieces: headers, zeros, and stretches of data that workers fetch
 * ahead. Pieces leave in the order in which they were planned; when PIECES_A_WORKER * workers of data are under way, the
 * next one waits until the oldest has left. Memory is these pieces, 4 MiB each.
 *
 * Of a stretch of the archive only the pieces that it touches are planned: what lies before it is counted, from the
 * list of files alone, and no block and no node of it is read.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "os/fs.h"
#include "snapshot/fetch.h"
#include "snapshot/restore.h"
#include "snapshot/tar.h"

#define PIECES_A_WORKER 3
#define PIECE_BYTES ((size_t)4 << 20)
#define PIECE_ITEMS 64
#define ZEROS_BYTES ((size_t)64 << 10)
#define DIR_MODE 0700
#define INFO_MODE 0600

struct piece {
    struct piece *next; /* the one planned after it */
    uint64_t at;        /* in the archive */
    uint8_t *bytes;     /* owned; NULL: zeros */
    uint64_t len;
    struct hf_fetch_item items[PIECE_ITEMS]; /* of a stretch of data */
    size_t item_count;
    bool fetched; /* guarded by the mutex */
};

struct tar_run {
    const struct hf_restore_tar_options *options; /* borrowed */
    struct hf_tree_reader *reader;                /* owned */
    struct hf_block_coder *coder;                 /* owned; the caller's thread */
    struct hf_fetcher *fetcher;                   /* owned */
    struct hf_queue *work;                        /* owned; of struct piece */
    unsigned workers;
    struct piece *oldest, *newest; /* owned; the caller's thread */
    struct piece *open;            /* owned; data that is still planned */
    size_t data_under_way;
    uint64_t planned; /* of the archive, wanted or not */
    struct hf_buf last_dir;
    struct hf_mutex mutex; /* guards: fetched of pieces, failed, error */
    struct hf_cond changed;
    bool failed;
    struct hf_error error;
    struct hf_restore_result result;
};

struct tar_worker {
    struct tar_run *run;
    unsigned number;
};

static void free_piece(struct piece *piece)
{
    if (piece != NULL) {
        hf_free(piece->bytes);
        hf_free(piece);
    }
}

/* ---- workers ---- */

static enum hf_err take_block(void *context, const struct hf_fetch_item *item,
                              struct hf_bytes plain, struct hf_error *err)
{
    (void)context;
    (void)err;
    memcpy(item->into, plain.data, plain.len);
    return HF_ERR_OK;
}

static void fail_run(struct tar_run *run, const struct hf_error *error)
{
    HF_LOCKED(&run->mutex);
    if (!run->failed) {
        run->failed = true;
        run->error = *error;
    }
    hf_cond_broadcast(&run->changed);
}

static void fetch_pieces(void *argument)
{
    const struct tar_worker *worker = argument;
    struct tar_run *run = worker->run;
    void *item = NULL;
    while (hf_queue_pop(run->work, &item)) {
        struct piece *piece = item;
        struct hf_error err;
        if (hf_fetcher_run_some(run->fetcher, worker->number, piece->items, piece->item_count,
                                &err) != HF_ERR_OK) {
            fail_run(run, &err);
        }
        HF_LOCKED(&run->mutex);
        piece->fetched = true;
        hf_cond_broadcast(&run->changed);
    }
}

/* ---- leaving ---- */

/* A piece touches the stretch that is wanted; what of it lies outside stays. */
static enum hf_err emit(struct tar_run *run, const struct piece *piece, struct hf_error *err)
{
    uint64_t from = run->options->from_bytes, to = run->options->to_bytes;
    uint64_t skip = from > piece->at ? from - piece->at : 0;
    uint64_t len = to != 0 && to < piece->at + piece->len ? to - piece->at : piece->len;
    return run->options->sink(run->options->context,
                              hf_bytes_of(piece->bytes + skip, (size_t)(len - skip)), err);
}

static enum hf_err emit_zeros(struct tar_run *run, uint64_t len, struct hf_error *err)
{
    static const uint8_t zeros[ZEROS_BYTES];
    while (len > 0) {
        size_t now = len < sizeof zeros ? (size_t)len : sizeof zeros;
        if (hf_cancel_check(run->options->cancel, err) != HF_ERR_OK ||
            run->options->sink(run->options->context, hf_bytes_of(zeros, now), err) != HF_ERR_OK) {
            return err->code;
        }
        len -= now;
    }
    return HF_ERR_OK;
}

static enum hf_err wait_for_piece(struct tar_run *run, const struct piece *piece,
                                  struct hf_error *err)
{
    HF_LOCKED(&run->mutex);
    while (!piece->fetched && !run->failed) {
        hf_cond_wait(&run->changed, &run->mutex);
    }
    if (run->failed) {
        *err = run->error;
        return err->code;
    }
    return HF_ERR_OK;
}

static enum hf_err emit_oldest(struct tar_run *run, struct hf_error *err)
{
    struct piece *piece = run->oldest;
    if (hf_cancel_check(run->options->cancel, err) != HF_ERR_OK) {
        return err->code;
    }
    if (piece->item_count > 0) {
        if (wait_for_piece(run, piece, err) != HF_ERR_OK) {
            return err->code;
        }
        run->data_under_way--;
    }
    run->oldest = piece->next;
    if (run->oldest == NULL) {
        run->newest = NULL;
    }
    enum hf_err code =
        piece->bytes == NULL ? emit_zeros(run, piece->len, err) : emit(run, piece, err);
    if (piece->bytes == NULL || piece->item_count > 0) {
        hf_progress_add_done(run->options->progress, piece->len);
    }
    free_piece(piece);
    return code;
}

/* ---- planning ---- */

/* Nothing of the next len bytes is wanted. */
static bool is_outside(const struct tar_run *run, uint64_t len)
{
    const struct hf_restore_tar_options *options = run->options;
    return run->planned + len <= options->from_bytes ||
           (options->to_bytes != 0 && run->planned >= options->to_bytes);
}

static void link_piece(struct tar_run *run, struct piece *piece)
{
    *(run->newest == NULL ? &run->oldest : &run->newest->next) = piece;
    run->newest = piece;
}

/* The data planned so far becomes a piece of work. */
static enum hf_err close_open(struct tar_run *run, struct hf_error *err)
{
    if (run->open == NULL) {
        return HF_ERR_OK;
    }
    while (run->data_under_way >= (size_t)run->workers * PIECES_A_WORKER) {
        if (emit_oldest(run, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    struct piece *piece = HF_TAKE(run->open);
    link_piece(run, piece);
    run->data_under_way++;
    if (!hf_queue_push(run->work, piece)) {
        return hf_fail(err, HF_ERR_INTERNAL, "the workers are gone");
    }
    return HF_ERR_OK;
}

static enum hf_err plan_bytes(struct tar_run *run, struct hf_bytes bytes, struct hf_error *err)
{
    if (is_outside(run, bytes.len)) {
        run->planned += bytes.len;
        return HF_ERR_OK;
    }
    if (close_open(run, err) != HF_ERR_OK) {
        return err->code;
    }
    struct piece *piece = hf_alloc_zero(sizeof *piece);
    if (piece == NULL || (piece->bytes = hf_alloc(bytes.len)) == NULL) {
        free_piece(piece);
        return hf_fail(err, HF_ERR_NO_MEMORY, "piece of an archive");
    }
    memcpy(piece->bytes, bytes.data, bytes.len);
    piece->at = run->planned;
    piece->len = bytes.len;
    run->planned += bytes.len;
    link_piece(run, piece);
    return HF_ERR_OK;
}

static enum hf_err plan_zeros(struct tar_run *run, uint64_t len, struct hf_error *err)
{
    uint64_t from = run->planned, to = from + len;
    run->planned = to;
    from = from < run->options->from_bytes ? run->options->from_bytes : from;
    to = run->options->to_bytes != 0 && to > run->options->to_bytes ? run->options->to_bytes : to;
    if (from >= to) {
        return HF_ERR_OK;
    }
    len = to - from;
    if (close_open(run, err) != HF_ERR_OK) {
        return err->code;
    }
    if (run->newest != NULL && run->newest->bytes == NULL) {
        run->newest->len += len;
        return HF_ERR_OK;
    }
    struct piece *piece = hf_alloc_zero(sizeof *piece);
    if (piece == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "piece of an archive");
    }
    piece->at = from;
    piece->len = len;
    link_piece(run, piece);
    return HF_ERR_OK;
}

static enum hf_err plan_block(struct tar_run *run, const struct hf_ref *ref, uint32_t len,
                              struct hf_error *err)
{
    if (is_outside(run, len)) {
        run->planned += len;
        return HF_ERR_OK;
    }
    if (run->open != NULL &&
        (run->open->item_count == PIECE_ITEMS || run->open->len + len > PIECE_BYTES) &&
        close_open(run, err) != HF_ERR_OK) {
        return err->code;
    }
    if (run->open == NULL) {
        size_t room = len > PIECE_BYTES ? len : PIECE_BYTES;
        run->open = hf_alloc_zero(sizeof *run->open);
        if (run->open == NULL || (run->open->bytes = hf_alloc(room)) == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "piece of an archive");
        }
        run->open->at = run->planned;
    }
    run->open->items[run->open->item_count++] = (struct hf_fetch_item){
        .ref = *ref,
        .plain_bytes = len,
        .into = run->open->bytes + run->open->len,
    };
    run->open->len += len;
    run->planned += len;
    return HF_ERR_OK;
}

static enum hf_err plan_header(struct tar_run *run, const struct hf_tar_member *member,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf header = HF_BUF_INIT((size_t)32 << 10);
    if (hf_tar_append_header(member, &header, err) != HF_ERR_OK) {
        return err->code;
    }
    return plan_bytes(run, hf_buf_bytes(&header), err);
}

/* Calls each directory of a path that the one before did not have. Paths come sorted, so each comes once. */
static enum hf_err each_new_directory(
    const struct hf_restore_tar_options *options, struct hf_buf *last_dir, struct hf_str path,
    enum hf_err (*each)(void *context, const struct hf_tar_member *member, struct hf_error *err),
    void *context, struct hf_error *err)
{
    size_t dir_len = 0;
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] != '/') {
            continue;
        }
        dir_len = i + 1;
        if (last_dir->len >= dir_len && memcmp(last_dir->data, path.data, dir_len) == 0) {
            continue;
        }
        HF_CLEANUP(hf_free)
        char *name = hf_asprintf("%s/%.*s", options->top, (int)i, path.data);
        if (name == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "path");
        }
        struct hf_tar_member member = {
            .path = name, .directory = true, .mode = DIR_MODE, .mtime_s = options->mtime_s};
        if (each(context, &member, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    hf_buf_clear(last_dir);
    return hf_buf_append(last_dir, hf_bytes_of(path.data, dir_len), err);
}

static enum hf_err plan_directory(void *context, const struct hf_tar_member *member,
                                  struct hf_error *err)
{
    return plan_header(context, member, err);
}

static char *member_path(const struct hf_restore_tar_options *options, struct hf_str path)
{
    return hf_asprintf("%s/%.*s", options->top, HF_STR_ARG(path));
}

static enum hf_err plan_content(struct tar_run *run, const struct hf_file_entry *entry,
                                struct hf_error *err)
{
    uint64_t nodes = hf_tree_nodes(hf_block_count(entry->size_bytes, entry->block_bytes), 1);
    const uint64_t node_bytes = (uint64_t)HF_NODE_REFS * entry->block_bytes;
    for (uint64_t i = 0; i < nodes; i++) {
        uint64_t left = entry->size_bytes - i * node_bytes;
        struct hf_node node;
        if (is_outside(run, left < node_bytes ? left : node_bytes)) {
            run->planned += left < node_bytes ? left : node_bytes;
            continue;
        }
        if (hf_tree_file_refs(run->reader, run->coder, entry, i, &node, err) != HF_ERR_OK) {
            return err->code;
        }
        for (unsigned r = 0; r < node.count; r++) {
            uint32_t len =
                hf_block_length(entry->size_bytes, entry->block_bytes, i * HF_NODE_REFS + r);
            enum hf_err code = hf_ref_is_zero(&node.refs[r])
                                   ? plan_zeros(run, len, err)
                                   : plan_block(run, &node.refs[r], len, err);
            if (code != HF_ERR_OK) {
                return code;
            }
        }
    }
    return plan_zeros(run, hf_tar_padding(entry->size_bytes), err);
}

static enum hf_err plan_file(struct tar_run *run, const struct hf_file_entry *entry,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = member_path(run->options, entry->path);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    struct hf_tar_member member = {.path = path,
                                   .mode = entry->mode,
                                   .size_bytes = entry->size_bytes,
                                   .mtime_s = run->options->mtime_s};
    hf_progress_file(run->options->progress, path);
    if (each_new_directory(run->options, &run->last_dir, entry->path, plan_directory, run, err) !=
            HF_ERR_OK ||
        plan_header(run, &member, err) != HF_ERR_OK || plan_content(run, entry, err) != HF_ERR_OK) {
        return err->code;
    }
    run->result.files++;
    run->result.bytes += entry->size_bytes;
    if (run->options->progress != NULL) {
        atomic_fetch_add(&run->options->progress->files_done, 1);
    }
    return HF_ERR_OK;
}

/* The top directory and restoreInfo.txt. */
static enum hf_err plan_start(struct tar_run *run, struct hf_error *err)
{
    const struct hf_restore_tar_options *options = run->options;
    struct hf_tar_member top = {
        .path = options->top, .directory = true, .mode = DIR_MODE, .mtime_s = options->mtime_s};
    if (plan_header(run, &top, err) != HF_ERR_OK) {
        return err->code;
    }
    if (options->restore_info == NULL) {
        return HF_ERR_OK;
    }
    struct hf_bytes text = hf_bytes_of_str(hf_str_of(options->restore_info));
    HF_CLEANUP(hf_free) char *path = member_path(options, hf_str_of(HF_RESTORE_INFO_NAME));
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    struct hf_tar_member info = {
        .path = path, .mode = INFO_MODE, .size_bytes = text.len, .mtime_s = options->mtime_s};
    if (plan_header(run, &info, err) != HF_ERR_OK || plan_bytes(run, text, err) != HF_ERR_OK) {
        return err->code;
    }
    return plan_zeros(run, hf_tar_padding(text.len), err);
}

static enum hf_err plan_all(struct tar_run *run, struct hf_error *err)
{
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *walk = NULL;
    const struct hf_file_entry *entry = NULL;
    if (plan_start(run, err) != HF_ERR_OK ||
        hf_file_walk_create(run->reader, run->coder, run->options->root, &walk, err) != HF_ERR_OK ||
        hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    while (entry != NULL &&
           (run->options->to_bytes == 0 || run->planned < run->options->to_bytes)) {
        if (plan_file(run, entry, err) != HF_ERR_OK) {
            return hf_wrap(err, "%.*s", HF_STR_ARG(entry->path));
        }
        if (hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (close_open(run, err) != HF_ERR_OK || plan_zeros(run, HF_TAR_END_BYTES, err) != HF_ERR_OK) {
        return err->code;
    }
    if (run->options->from_bytes > run->planned) {
        return hf_fail(err, HF_ERR_INVALID, "byte %" PRIu64 " of an archive of %" PRIu64,
                       run->options->from_bytes, run->planned);
    }
    while (run->oldest != NULL) {
        if (emit_oldest(run, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- the run ---- */

static void tar_run_fini(struct tar_run *run)
{
    while (run->oldest != NULL) {
        struct piece *next = run->oldest->next;
        free_piece(run->oldest);
        run->oldest = next;
    }
    free_piece(run->open);
    hf_queue_destroy(run->work);
    hf_fetcher_destroy(run->fetcher);
    hf_block_coder_destroy(run->coder);
    hf_tree_reader_destroy(run->reader);
    hf_buf_fini(&run->last_dir);
    hf_cond_fini(&run->changed);
    hf_mutex_fini(&run->mutex);
}
HF_CLEANUP_DEFINE_VALUE(tar_run_fini, struct tar_run)

static enum hf_err open_reader(struct tar_run *run, struct hf_error *err)
{
    const struct hf_restore_tar_options *options = run->options;
    struct hf_tree_reader_options reader = {.store = options->store, .keyring = options->keyring};
    struct hf_block_coder_options coding = {.keyring = options->keyring};
    if (!hf_path_is_safe_relative(hf_str_of(options->top)) || strchr(options->top, '/') != NULL) {
        return hf_fail(err, HF_ERR_INVALID, "no name for a top directory: %.200s", options->top);
    }
    if (hf_tree_reader_create(&reader, &run->reader, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_block_coder_create(&coding, &run->coder, err);
}

static enum hf_err open_workers(struct tar_run *run, struct hf_error *err)
{
    struct hf_fetcher_options fetcher = {
        .reader = run->reader,
        .keyring = run->options->keyring,
        .workers = run->workers,
        .depth = HF_FETCH_CONTENT,
        .cancel = run->options->cancel,
        .on_block = take_block,
    };
    run->work = hf_queue_create((size_t)run->workers * PIECES_A_WORKER + 1);
    if (run->work == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "queue of pieces");
    }
    return hf_fetcher_create(&fetcher, &run->fetcher, err);
}

static enum hf_err run_workers(struct tar_run *run, struct hf_error *err)
{
    struct hf_thread *threads[HF_POOL_WORKERS_MAX] = {NULL};
    struct tar_worker workers[HF_POOL_WORKERS_MAX];
    enum hf_err code = HF_ERR_OK;
    for (unsigned i = 0; i < run->workers && code == HF_ERR_OK; i++) {
        workers[i] = (struct tar_worker){.run = run, .number = i};
        code = hf_thread_start("hf-tar", fetch_pieces, &workers[i], &threads[i], err);
    }
    if (code == HF_ERR_OK) {
        code = plan_all(run, err);
    }
    hf_queue_close(run->work);
    for (unsigned i = 0; i < run->workers; i++) {
        hf_thread_join(threads[i]);
    }
    return code;
}

enum hf_err hf_restore_tar(const struct hf_restore_tar_options *options,
                           struct hf_restore_result *out, struct hf_error *err)
{
    HF_CLEANUP(tar_run_fini)
    struct tar_run run = {.options = options, .last_dir = {.max = HF_PATH_MAX_BYTES}};
    hf_mutex_init(&run.mutex);
    hf_cond_init(&run.changed);
    run.workers = hf_pool_workers(options->workers);
    hf_progress_phase(options->progress, "restore");
    if (options->progress != NULL) {
        atomic_store(&options->progress->bytes_total, options->root->sums.bytes);
        atomic_store(&options->progress->files_total, options->root->sums.files);
    }
    if (open_reader(&run, err) != HF_ERR_OK || open_workers(&run, err) != HF_ERR_OK ||
        run_workers(&run, err) != HF_ERR_OK) {
        return hf_wrap(err, "restore as archive %s", options->top);
    }
    run.result.read_bytes = hf_fetcher_read_bytes(run.fetcher);
    *out = run.result;
    return HF_ERR_OK;
}

/* ---- the size beforehand ---- */

static enum hf_err count_member(void *context, const struct hf_tar_member *member,
                                struct hf_error *err)
{
    uint64_t *total = context;
    HF_CLEANUP(hf_buf_fini) struct hf_buf header = HF_BUF_INIT((size_t)32 << 10);
    if (hf_tar_append_header(member, &header, err) != HF_ERR_OK) {
        return err->code;
    }
    *total += header.len;
    if (!member->directory) {
        *total += member->size_bytes + hf_tar_padding(member->size_bytes);
    }
    return HF_ERR_OK;
}

static enum hf_err count_path(const struct hf_restore_tar_options *options, struct hf_str path,
                              uint64_t size_bytes, uint64_t *total, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *name = member_path(options, path);
    if (name == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "path");
    }
    struct hf_tar_member member = {.path = name, .size_bytes = size_bytes};
    return count_member(total, &member, err);
}

enum hf_err hf_restore_tar_size(const struct hf_restore_tar_options *options, uint64_t *out,
                                struct hf_error *err)
{
    HF_CLEANUP(tar_run_fini)
    struct tar_run run = {.options = options, .last_dir = {.max = HF_PATH_MAX_BYTES}};
    HF_CLEANUP(hf_file_walk_destroy) struct hf_file_walk *walk = NULL;
    const struct hf_file_entry *entry = NULL;
    uint64_t total = HF_TAR_END_BYTES;
    struct hf_tar_member top = {.path = options->top, .directory = true};
    hf_mutex_init(&run.mutex);
    hf_cond_init(&run.changed);
    if (open_reader(&run, err) != HF_ERR_OK || count_member(&total, &top, err) != HF_ERR_OK ||
        (options->restore_info != NULL &&
         count_path(options, hf_str_of(HF_RESTORE_INFO_NAME), strlen(options->restore_info), &total,
                    err) != HF_ERR_OK) ||
        hf_file_walk_create(run.reader, run.coder, options->root, &walk, err) != HF_ERR_OK ||
        hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
        return hf_wrap(err, "size of an archive");
    }
    while (entry != NULL) {
        if (each_new_directory(options, &run.last_dir, entry->path, count_member, &total, err) !=
                HF_ERR_OK ||
            count_path(options, entry->path, entry->size_bytes, &total, err) != HF_ERR_OK ||
            hf_file_walk_next(walk, &entry, err) != HF_ERR_OK) {
            return hf_wrap(err, "size of an archive");
        }
    }
    *out = total;
    return HF_ERR_OK;
}
