/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File entries and lists as bytes (docs/format/tree.md). A path from a list is checked before anyone sees it: a restore
 * would write there.
 */
#include "format/filelist.h"

#include <inttypes.h>

#define LIST_MAGIC "HFls"
#define LIST_VERSION 1
#define LIST_HEADER_BYTES 12
#define LIST_CUT_ONE_IN 100
#define WITNESS_LINE 1

static unsigned log2_of(uint32_t power)
{
    return (unsigned)__builtin_ctz(power);
}

static bool path_is_safe(struct hf_str path)
{
    if (path.len == 0 || path.len > HF_PATH_MAX_BYTES ||
        memchr(path.data, '\0', path.len) != NULL) {
        return false;
    }
    size_t start = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.data[i] != '/') {
            continue;
        }
        size_t len = i - start;
        const char *part = path.data + start;
        if (len == 0 || (len == 1 && part[0] == '.') ||
            (len == 2 && part[0] == '.' && part[1] == '.')) {
            return false;
        }
        start = i + 1;
    }
    return true;
}

/* The number of references that size and block size ask for. */
static bool shape_is_right(const struct hf_file_entry *entry)
{
    uint64_t blocks = hf_block_count(entry->size_bytes, entry->block_bytes);
    unsigned depth = hf_tree_depth(blocks);
    return entry->depth == depth && entry->ref_count == (depth == 0 ? blocks : 1);
}

enum hf_err hf_file_entry_encode(const struct hf_file_entry *entry, struct hf_buf *out,
                                 struct hf_error *err)
{
    if (!path_is_safe(entry->path) || entry->size_bytes > HF_FILE_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "%.*s: a path or size that no snapshot may hold",
                       (int)(entry->path.len < 200 ? entry->path.len : 200), entry->path.data);
    }
    HF_ASSERT(entry->block_bytes >= HF_BLOCK_MIN_BYTES &&
              entry->block_bytes <= HF_BLOCK_MAX_BYTES && shape_is_right(entry));
    const struct hf_witness *seen = &entry->witness;
    uint8_t fixed[76];
    hf_store_le64(fixed, entry->size_bytes);
    fixed[8] = (uint8_t)log2_of(entry->block_bytes);
    fixed[9] = entry->depth;
    fixed[10] = entry->ref_count;
    fixed[11] = seen->has_line ? WITNESS_LINE : 0;
    hf_store_le32(fixed + 12, entry->mode);
    hf_store_le64(fixed + 16, seen->device);
    hf_store_le64(fixed + 24, seen->inode);
    hf_store_le64(fixed + 32, seen->disk_bytes);
    hf_store_le64(fixed + 40, seen->listed_bytes);
    hf_store_le64(fixed + 48, (uint64_t)seen->mtime_ns);
    hf_store_le64(fixed + 56, (uint64_t)seen->ctime_ns);
    hf_store_le64(fixed + 64, seen->seen_ms);
    hf_store_le32(fixed + 72, 0);
    uint8_t refs[HF_INLINE_REFS_MAX * HF_REF_BYTES];
    for (unsigned i = 0; i < entry->ref_count; i++) {
        hf_ref_encode(&entry->refs[i], refs + (size_t)i * HF_REF_BYTES);
    }
    if (hf_buf_append_le(out, entry->path.len, 2, err) != HF_ERR_OK ||
        hf_buf_append(out, hf_bytes_of_str(entry->path), err) != HF_ERR_OK ||
        hf_buf_append(out, hf_bytes_of(fixed, sizeof fixed), err) != HF_ERR_OK ||
        (seen->has_line &&
         hf_buf_append(out, hf_bytes_of(seen->line_hash.bytes, HF_HASH_BYTES), err) != HF_ERR_OK) ||
        hf_buf_append(out, hf_bytes_of(refs, (size_t)entry->ref_count * HF_REF_BYTES), err) !=
            HF_ERR_OK) {
        return hf_wrap(err, "file entry");
    }
    return HF_ERR_OK;
}

bool hf_list_cuts_after(struct hf_str path)
{
    return hf_xxh3(hf_bytes_of_str(path)) % LIST_CUT_ONE_IN == 0;
}

enum hf_err hf_list_encode(struct hf_bytes entries, uint32_t entry_count, struct hf_buf *out,
                           struct hf_error *err)
{
    HF_ASSERT(entry_count >= 1 && entry_count <= HF_LIST_ENTRIES_MAX);
    uint8_t header[LIST_HEADER_BYTES] = {0};
    memcpy(header, LIST_MAGIC, 4);
    header[4] = LIST_VERSION;
    hf_store_le32(header + 8, entry_count);
    hf_buf_clear(out);
    if (hf_buf_append(out, hf_bytes_of(header, sizeof header), err) != HF_ERR_OK ||
        hf_buf_append(out, entries, err) != HF_ERR_OK) {
        return hf_wrap(err, "file list");
    }
    return HF_ERR_OK;
}

enum hf_err hf_list_open(struct hf_bytes list, struct hf_list_reader *out, struct hf_error *err)
{
    struct hf_reader reader = hf_reader_of(list);
    struct hf_bytes magic = hf_reader_bytes(&reader, 4);
    unsigned version = hf_reader_u8(&reader);
    uint64_t zeros = hf_reader_le(&reader, 3);
    uint64_t count = hf_reader_le(&reader, 4);
    if (reader.failed || memcmp(magic.data, LIST_MAGIC, 4) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "not a file list");
    }
    if (version != LIST_VERSION) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "file list of format version %u, this program reads version %d", version,
                       LIST_VERSION);
    }
    if (zeros != 0 || count < 1 || count > HF_LIST_ENTRIES_MAX) {
        return hf_fail(err, HF_ERR_CORRUPT, "file list of %" PRIu64 " entries", count);
    }
    *out = (struct hf_list_reader){
        .reader = reader, .left = (uint32_t)count, .previous = {.data = NULL, .len = 0}};
    return HF_ERR_OK;
}

static enum hf_err decode_entry(struct hf_reader *reader, struct hf_file_entry *entry,
                                struct hf_error *err)
{
    size_t path_len = (size_t)hf_reader_le(reader, 2);
    struct hf_bytes path = hf_reader_bytes(reader, path_len);
    entry->path = (struct hf_str){.data = (const char *)path.data, .len = path.len};
    entry->size_bytes = hf_reader_le(reader, 8);
    unsigned block_log2 = hf_reader_u8(reader);
    entry->depth = hf_reader_u8(reader);
    entry->ref_count = hf_reader_u8(reader);
    unsigned flags = hf_reader_u8(reader);
    entry->mode = (uint32_t)hf_reader_le(reader, 4);
    struct hf_witness *seen = &entry->witness;
    seen->device = hf_reader_le(reader, 8);
    seen->inode = hf_reader_le(reader, 8);
    seen->disk_bytes = hf_reader_le(reader, 8);
    seen->listed_bytes = hf_reader_le(reader, 8);
    seen->mtime_ns = (int64_t)hf_reader_le(reader, 8);
    seen->ctime_ns = (int64_t)hf_reader_le(reader, 8);
    seen->seen_ms = hf_reader_le(reader, 8);
    uint64_t zeros = hf_reader_le(reader, 4);
    seen->has_line = (flags & WITNESS_LINE) != 0;
    memset(&seen->line_hash, 0, sizeof seen->line_hash);
    if (seen->has_line) {
        struct hf_bytes hash = hf_reader_bytes(reader, HF_HASH_BYTES);
        if (hash.len == HF_HASH_BYTES) {
            memcpy(seen->line_hash.bytes, hash.data, HF_HASH_BYTES);
        }
    }
    if (reader->failed || zeros != 0 || flags > WITNESS_LINE || !path_is_safe(entry->path)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an entry that cannot be read");
    }
    if (block_log2 < log2_of(HF_BLOCK_MIN_BYTES) || block_log2 > log2_of(HF_BLOCK_MAX_BYTES) ||
        entry->size_bytes > HF_FILE_MAX_BYTES || entry->mode > 07777) {
        return hf_fail(err, HF_ERR_CORRUPT, "%.*s: size, block size or mode is out of range",
                       HF_STR_ARG(entry->path));
    }
    entry->block_bytes = (uint32_t)1 << block_log2;
    if (entry->ref_count > HF_INLINE_REFS_MAX || !shape_is_right(entry)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%.*s: %u references do not fit its size",
                       HF_STR_ARG(entry->path), (unsigned)entry->ref_count);
    }
    for (unsigned i = 0; i < entry->ref_count; i++) {
        struct hf_bytes ref = hf_reader_bytes(reader, HF_REF_BYTES);
        if (ref.len != HF_REF_BYTES || hf_ref_decode(ref.data, &entry->refs[i], err) != HF_ERR_OK) {
            return hf_fail(err, HF_ERR_CORRUPT, "%.*s: reference %u cannot be read",
                           HF_STR_ARG(entry->path), i);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_list_next(struct hf_list_reader *list, struct hf_file_entry *entry, bool *more,
                         struct hf_error *err)
{
    if (list->left == 0) {
        *more = false;
        if (hf_reader_left(&list->reader) != 0) {
            return hf_fail(err, HF_ERR_CORRUPT, "file list: bytes after its last entry");
        }
        return HF_ERR_OK;
    }
    struct hf_file_entry found = {.size_bytes = 0};
    if (decode_entry(&list->reader, &found, err) != HF_ERR_OK) {
        return hf_wrap(err, "file list");
    }
    if (list->previous.data != NULL && hf_str_compare(list->previous, found.path) >= 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "file list: %.*s is out of order",
                       HF_STR_ARG(found.path));
    }
    list->previous = found.path;
    list->left--;
    *entry = found;
    *more = true;
    return HF_ERR_OK;
}
