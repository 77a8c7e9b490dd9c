/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a slice costs per entry, on one thread, without network or disk: writing (facts, running hash, index, compression,
 * encryption) and reading (decryption, decompression, order, running hash), for entries of several sizes.
 *
 *     oplog_slices [ENTRIES]      default 200,000 of each size
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "oplog/slice_reader.h"
#include "oplog/slicer.h"

/* CPU time of this thread: other work on the machine does not count. */
static double cpu_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void must(enum hf_err code, const struct hf_error *err)
{
    if (code != HF_ERR_OK) {
        fprintf(stderr, "oplog_slices: %s\n", err->message);
        exit(1);
    }
}

static void put_field(struct hf_buf *out, uint8_t type, const char *key, const void *value,
                      size_t len)
{
    struct hf_error err;
    must(hf_buf_append_le(out, type, 1, &err), &err);
    must(hf_buf_append(out, hf_bytes_of(key, strlen(key) + 1), &err), &err);
    must(hf_buf_append(out, hf_bytes_of(value, len), &err), &err);
}

/* An insert as a 4.4 writes it for a retryable write, with a document of text, half of it random letters. */
static void make_entry(struct hf_buf *out, uint32_t i, size_t document_bytes)
{
    static const char words[] = "the quick brown fox jumps over the lazy dog while it rains ";
    struct hf_error err;
    uint8_t number[12] = {0};
    hf_buf_clear(out);
    must(hf_buf_append_le(out, 0, 4, &err), &err);
    put_field(out, HF_BSON_STRING, "op", "\2\0\0\0i", 6);
    put_field(out, HF_BSON_STRING, "ns", "\x0c\0\0\0shop.orders", 16);
    put_field(out, HF_BSON_DOCUMENT, "o", "", 0);
    size_t start = out->len;
    must(hf_buf_append_le(out, 0, 4, &err), &err);
    hf_store_le32(number, i * 2654435761U);
    hf_store_le32(number + 4, i);
    put_field(out, HF_BSON_OBJECT_ID, "_id", number, 12);
    put_field(out, HF_BSON_STRING, "text", "", 0);
    must(hf_buf_append_le(out, document_bytes + 1, 4, &err), &err);
    uint64_t state = (uint64_t)i * 0x9e3779b97f4a7c15ULL + 1;
    for (size_t at = 0; at < document_bytes; at++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char letter =
            at % 2 == 0 ? words[(at + i) % (sizeof words - 1)] : (char)('a' + (state >> 33) % 26);
        must(hf_buf_append(out, hf_bytes_of(&letter, 1), &err), &err);
    }
    must(hf_buf_append_le(out, 0, 2, &err), &err);
    hf_store_le32(out->data + start, (uint32_t)(out->len - start));
    hf_store_le32(number, i + 1);
    hf_store_le32(number + 4, 1795450498);
    put_field(out, HF_BSON_TIMESTAMP, "ts", number, 8);
    hf_store_le64(number, 1);
    put_field(out, HF_BSON_INT64, "t", number, 8);
    must(hf_buf_append_le(out, 0, 1, &err), &err);
    hf_store_le32(out->data, (uint32_t)out->len);
}

struct totals {
    double write_s, read_s;
    uint64_t plain_bytes, stored_bytes, slices;
};

static void read_back(struct hf_store *store, struct hf_slice_reader *reader,
                      const struct hf_object_name *name, struct hf_bytes object,
                      struct totals *totals)
{
    struct hf_error err;
    struct hf_oplog_entry entry;
    bool more = true;
    struct hf_str text = hf_str_of(hf_object_name_text(name).text);
    must(hf_store_put(store, text, object, NULL, &err), &err);
    double start = cpu_s();
    must(hf_slice_reader_open(reader, name, &err), &err);
    while (more) {
        must(hf_slice_reader_next(reader, &entry, &more, &err), &err);
    }
    totals->read_s += cpu_s() - start;
    must(hf_store_delete(store, text, &err), &err);
    totals->stored_bytes += object.len;
    totals->slices++;
}

static void run(uint32_t entries, size_t document_bytes)
{
    struct hf_error err;
    struct hf_keyring ring = {.encrypted = true, .data_key_count = 1};
    struct hf_store *store = NULL;
    struct hf_slicer *slicer = NULL;
    struct hf_slice_reader *reader = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_buf_fini) struct hf_buf object = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
    struct totals totals = {0};
    memset(ring.job.bytes, 1, sizeof ring.job.bytes);
    ring.data_keys[0].version = 1;
    struct hf_slicer_options options = {
        .keyring = &ring, .writer = ring.job, .start = {.cause = HF_CHAIN_FIRST}};
    must(hf_store_mem_create(&store, &err), &err);
    must(hf_slicer_create(&options, &slicer, &err), &err);
    must(hf_slice_reader_create(store, &ring, &reader, &err), &err);
    for (uint32_t i = 0; i < entries;) {
        bool taken = false;
        make_entry(&entry, i, document_bytes);
        double start = cpu_s();
        must(hf_slicer_add(slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
        bool last = i + 1 == entries;
        bool full = !taken || last || hf_slicer_due(slicer, 0);
        struct hf_object_name name;
        if (full) {
            must(hf_slicer_close(slicer, &name, &object, &err), &err);
        }
        totals.write_s += cpu_s() - start;
        if (full) {
            read_back(store, reader, &name, hf_buf_bytes(&object), &totals);
        }
        if (taken) {
            totals.plain_bytes += entry.len;
            i++;
        }
    }
    double per_write = totals.write_s / entries;
    double per_read = totals.read_s / entries;
    printf("%5zu bytes an entry: write %5.2f us (%4.1f %% of a core at 50,000/s, %4.0f MB/s), read "
           "%5.2f us (%4.0f MB/s), stored %2.0f %%, %" PRIu64 " slices\n",
           (size_t)(totals.plain_bytes / entries), per_write * 1e6, per_write * 50000 * 100,
           (double)totals.plain_bytes / totals.write_s / 1e6, per_read * 1e6,
           (double)totals.plain_bytes / totals.read_s / 1e6,
           100.0 * (double)totals.stored_bytes / (double)totals.plain_bytes, totals.slices);
    hf_slice_reader_destroy(reader);
    hf_slicer_destroy(slicer);
    hf_store_close(store);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {60, 200, 700, 3000};
    uint64_t entries = 200000;
    if (argc > 1 &&
        (!hf_parse_u64(hf_str_of(argv[1]), &entries) || entries == 0 || entries > 100000000)) {
        fprintf(stderr, "usage: oplog_slices [ENTRIES]\n");
        return 2;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(sizes); i++) {
        run((uint32_t)entries, sizes[i]);
    }
    return 0;
}
