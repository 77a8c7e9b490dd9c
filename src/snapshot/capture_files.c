/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of files of a capture, and what the engine says of them.
 *
 * WiredTiger.backup is text, a line with a key and a line with its value in turn. The value of `file:<path>` is the
 * engine's line of that file: it names the file's last checkpoint, and equal lines mean equal data of that checkpoint.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "format/filelist.h"
#include "snapshot/capture_internal.h"

#define LINES_FILE "WiredTiger.backup"
#define CHUNK_BYTES ((size_t)256 << 10)
/* A longer value is passed over, and its file read. */
#define LINE_MAX_BYTES ((size_t)16 << 20)
#define KEY_PREFIX "file:"
#define CHECKPOINT "checkpoint=("

void hf_capture_files_fini(struct hf_capture_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        hf_free(files->items[i].path);
    }
    hf_free(files->items);
    *files = (struct hf_capture_files){.items = NULL};
}

enum hf_err hf_capture_files_add(struct hf_capture_files *files, const char *path,
                                 uint64_t listed_bytes, struct hf_capture_file **added,
                                 struct hf_error *err)
{
    if (!hf_path_is_safe_relative(hf_str_of(path))) {
        return hf_fail(err, HF_ERR_INVALID, "a file outside its directory: %.200s", path);
    }
    if (files->count >= HF_SNAPSHOT_FILES_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %" PRIu64 " files", HF_SNAPSHOT_FILES_MAX);
    }
    if (files->count == files->capacity) {
        size_t wanted = files->capacity == 0 ? 64 : files->capacity * 2;
        struct hf_capture_file *grown =
            hf_realloc_array(files->items, wanted, sizeof *files->items);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "list of %zu files", wanted);
        }
        files->items = grown;
        files->capacity = wanted;
    }
    struct hf_capture_file file = {.path = hf_strdup(path), .listed_bytes = listed_bytes};
    if (file.path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list of files");
    }
    files->items[files->count] = file;
    if (added != NULL) {
        *added = &files->items[files->count];
    }
    files->count++;
    return HF_ERR_OK;
}

/* ---- the engine's lines ---- */

struct line_reader {
    struct hf_file *file; /* owned */
    uint8_t *chunk;       /* owned */
    size_t len, used;
    uint64_t at;
    struct hf_buf line;
    bool too_long;
    bool end;
};

static void line_reader_fini(struct line_reader *reader)
{
    hf_file_drop(reader->file);
    hf_free(reader->chunk);
    hf_buf_fini(&reader->line);
}
HF_CLEANUP_DEFINE_VALUE(line_reader_fini, struct line_reader)

/* The next line, in reader->line; end is set when there is none. */
static enum hf_err next_line(struct line_reader *reader, struct hf_error *err)
{
    hf_buf_clear(&reader->line);
    reader->too_long = false;
    for (;;) {
        if (reader->used == reader->len) {
            if (hf_file_read_at(reader->file, reader->at, reader->chunk, CHUNK_BYTES, &reader->len,
                                err) != HF_ERR_OK) {
                return err->code;
            }
            reader->used = 0;
            reader->at += reader->len;
            if (reader->len == 0) {
                reader->end = true; /* a last line without its end is torn: left out */
                return HF_ERR_OK;
            }
        }
        const uint8_t *from = reader->chunk + reader->used;
        size_t left = reader->len - reader->used;
        const uint8_t *end = memchr(from, '\n', left);
        size_t taken = end == NULL ? left : (size_t)(end - from);
        if (reader->line.len + taken > LINE_MAX_BYTES) {
            reader->too_long = true;
        } else if (hf_buf_append(&reader->line, hf_bytes_of(from, taken), err) != HF_ERR_OK) {
            return err->code;
        }
        reader->used += taken + (end == NULL ? 0 : 1);
        if (end != NULL) {
            return HF_ERR_OK;
        }
    }
}

static bool names_checkpoint(struct hf_bytes value)
{
    const uint8_t *at = memmem(value.data, value.len, CHECKPOINT, sizeof CHECKPOINT - 1);
    if (at == NULL) {
        return false;
    }
    size_t after = (size_t)(at - value.data) + sizeof CHECKPOINT - 1;
    return after < value.len && value.data[after] != ')';
}

static int by_path(const void *left, const void *right)
{
    const struct hf_capture_file *const *a = left;
    const struct hf_capture_file *const *b = right;
    return strcmp((*a)->path, (*b)->path);
}

static struct hf_capture_file *find_file(struct hf_capture_file **sorted, size_t count,
                                         struct hf_str path)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (hf_str_compare(hf_str_of(sorted[middle]->path), path) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && hf_str_equal_c(path, sorted[low]->path) ? sorted[low] : NULL;
}

static enum hf_err note_lines(struct line_reader *reader, struct hf_capture_file **sorted,
                              size_t count, struct hf_block_coder *coder, struct hf_error *err)
{
    for (;;) {
        if (next_line(reader, err) != HF_ERR_OK) {
            return err->code;
        }
        if (reader->end) {
            return HF_ERR_OK;
        }
        struct hf_capture_file *file = NULL;
        struct hf_bytes key = hf_buf_bytes(&reader->line);
        size_t prefix = sizeof KEY_PREFIX - 1;
        if (!reader->too_long && key.len > prefix && memcmp(key.data, KEY_PREFIX, prefix) == 0) {
            struct hf_str path = {.data = (const char *)key.data + prefix, .len = key.len - prefix};
            file = find_file(sorted, count, path);
        }
        if (next_line(reader, err) != HF_ERR_OK) {
            return err->code;
        }
        struct hf_bytes value = hf_buf_bytes(&reader->line);
        if (file != NULL && !reader->end && !reader->too_long && names_checkpoint(value)) {
            file->has_line = true;
            hf_block_hash(coder, value, &file->line_hash);
        }
    }
}

enum hf_err hf_capture_read_lines(struct hf_capture_files *files, const char *root,
                                  const struct hf_keyring *keyring, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(root, LINES_FILE);
    HF_CLEANUP(hf_free)
    struct hf_capture_file **sorted = hf_alloc_array(files->count, sizeof *sorted);
    HF_CLEANUP(line_reader_fini)
    struct line_reader reader = {.chunk = hf_alloc(CHUNK_BYTES), .line = {.max = LINE_MAX_BYTES}};
    HF_CLEANUP(hf_block_coder_destroy) struct hf_block_coder *coder = NULL;
    struct hf_block_coder_options options = {.keyring = keyring};
    if (path == NULL || sorted == NULL || reader.chunk == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "read the engine's lines");
    }
    enum hf_err code = hf_file_open(path, HF_OPEN_READ, 0, &reader.file, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK; /* nothing is known: every file is read */
    }
    for (size_t i = 0; i < files->count; i++) {
        sorted[i] = &files->items[i];
    }
    if (files->count > 0) {
        qsort(sorted, files->count, sizeof *sorted, by_path);
    }
    if (code != HF_ERR_OK || hf_block_coder_create(&options, &coder, err) != HF_ERR_OK ||
        note_lines(&reader, sorted, files->count, coder, err) != HF_ERR_OK) {
        return hf_wrap(err, "read the engine's lines");
    }
    return HF_ERR_OK;
}
