/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine can do at all with the bytes of a directory: read, hash, compress, encrypt and back, on one core and
 * on all, a CPU second, and write durably. Beside these numbers a rate of the product says how much of the machine it uses.
 *
 *   machine_limits DIR SCRATCH     prints one JSON object of bytes a second; SCRATCH is a directory for synced writes
 *
 * Measures the room codec in blocks of the usual size, on a sample spread over all files. Knows no store.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "codec/aead.h"
#include "codec/compress.h"
#include "codec/hash.h"
#include "codec/json.h"
#include "os/fs.h"

#define BLOCK_BYTES ((size_t)256 << 10)
#define SAMPLE_BYTES ((size_t)256 << 20)
#define BLOCKS_MAX (SAMPLE_BYTES / BLOCK_BYTES)
#define FILES_MAX ((size_t)100000)
#define THREADS_MAX 64
#define WRITES 16
#define WRITE_BYTES ((size_t)16 << 20)

struct file_name {
    char *path; /* owned */
    uint64_t size_bytes;
};

struct sample {
    struct file_name *files; /* owned */
    size_t file_count, file_capacity;
    uint64_t total_bytes;
    uint8_t *plain;  /* owned; blocks one after another */
    uint8_t *packed; /* owned; as plain, compressed, a bound apart */
    size_t packed_len[BLOCKS_MAX];
    size_t block_count;
    uint64_t packed_bytes;
};

static void sample_fini(struct sample *sample)
{
    for (size_t i = 0; i < sample->file_count; i++) {
        hf_free(sample->files[i].path);
    }
    hf_free(sample->files);
    hf_free(sample->plain);
    hf_free(sample->packed);
}
HF_CLEANUP_DEFINE_VALUE(sample_fini, struct sample)

static double now_s(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- The sample ---- */

static enum hf_err add_file(struct sample *sample, const char *path, uint64_t size_bytes,
                            struct hf_error *err)
{
    if (sample->file_count == sample->file_capacity) {
        size_t wanted = sample->file_capacity == 0 ? 256 : sample->file_capacity * 2;
        struct file_name *grown =
            wanted > FILES_MAX ? NULL : hf_realloc_array(sample->files, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for %zu files", wanted);
        }
        sample->files = grown;
        sample->file_capacity = wanted;
    }
    char *copy = hf_strdup(path);
    if (copy == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    sample->files[sample->file_count++] = (struct file_name){copy, size_bytes};
    sample->total_bytes += size_bytes;
    return HF_ERR_OK;
}

static enum hf_err find_files(struct sample *sample, const char *dir, struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {.names = NULL};

    if (hf_fs_list(dir, FILES_MAX, &names, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < names.count; i++) {
        HF_CLEANUP(hf_free) char *path = hf_path_join(dir, names.names[i]);
        struct hf_file_info info;
        if (path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        if (hf_fs_lstat(path, &info, err) != HF_ERR_OK ||
            (info.kind == HF_FILE_DIR && find_files(sample, path, err) != HF_ERR_OK) ||
            (info.kind == HF_FILE_REGULAR &&
             add_file(sample, path, info.size_bytes, err) != HF_ERR_OK)) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* Every nth whole block of every file. */
static enum hf_err read_sample(struct sample *sample, struct hf_error *err)
{
    uint64_t every = sample->total_bytes / SAMPLE_BYTES + 1;
    uint64_t count = 0;

    for (size_t i = 0; i < sample->file_count; i++) {
        HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
        const struct file_name *name = &sample->files[i];
        if (hf_file_open(name->path, HF_OPEN_READ, 0, &file, err) != HF_ERR_OK) {
            return err->code;
        }
        for (uint64_t at = 0; at + BLOCK_BYTES <= name->size_bytes; at += BLOCK_BYTES) {
            size_t got = 0;
            if (count++ % every != 0 || sample->block_count == BLOCKS_MAX) {
                continue;
            }
            uint8_t *to = sample->plain + sample->block_count * BLOCK_BYTES;
            if (hf_file_read_at(file, at, to, BLOCK_BYTES, &got, err) != HF_ERR_OK) {
                return err->code;
            }
            sample->block_count += got == BLOCK_BYTES ? 1 : 0;
        }
    }
    return sample->block_count == 0 ? hf_fail(err, HF_ERR_INVALID, "no file has a whole block")
                                    : HF_ERR_OK;
}

static enum hf_err pack_sample(struct sample *sample, struct hf_error *err)
{
    HF_CLEANUP(hf_compressor_destroy) struct hf_compressor *compressor = hf_compressor_create(1);
    size_t bound = hf_compress_bound(BLOCK_BYTES);

    if (compressor == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < sample->block_count; i++) {
        if (hf_compress(compressor, hf_bytes_of(sample->plain + i * BLOCK_BYTES, BLOCK_BYTES),
                        sample->packed + i * bound, bound, &sample->packed_len[i],
                        err) != HF_ERR_OK) {
            return err->code;
        }
        sample->packed_bytes += sample->packed_len[i];
    }
    return HF_ERR_OK;
}

static enum hf_err make_sample(const char *dir, struct sample *sample, struct hf_error *err)
{
    sample->plain = hf_alloc_array(BLOCKS_MAX, BLOCK_BYTES);
    sample->packed = hf_alloc_array(BLOCKS_MAX, hf_compress_bound(BLOCK_BYTES));
    if (sample->plain == NULL || sample->packed == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the sample");
    }
    if (find_files(sample, dir, err) != HF_ERR_OK || read_sample(sample, err) != HF_ERR_OK) {
        return err->code;
    }
    return pack_sample(sample, err);
}

/* ---- Work on blocks ---- */

enum work { READ, HASH, COMPRESS, SEAL, CHECKSUM, CAPTURE, DECOMPRESS, RESTORE, WORK_COUNT };
static const char *const work_names[] = {
    "read", "hmac_sha256",        "zstd_1",          "aes_256_gcm",
    "xxh3", "hash_compress_seal", "zstd_decompress", "open_decompress_hash"};

struct hand {
    const struct sample *sample;
    enum work work;
    size_t first, step;
    struct hf_thread *thread;
    struct hf_hmac *hmac;                 /* owned */
    struct hf_aead *aead;                 /* owned */
    struct hf_compressor *compressor;     /* owned */
    struct hf_decompressor *decompressor; /* owned */
    uint8_t *out, *sealed;                /* owned */
    uint64_t sum;                         /* so that nothing is optimised away */
    uint64_t bytes;
    bool failed;
};

static void hand_fini(struct hand *hand)
{
    hf_hmac_destroy(hand->hmac);
    hf_aead_destroy(hand->aead);
    hf_compressor_destroy(hand->compressor);
    hf_decompressor_destroy(hand->decompressor);
    hf_free(hand->out);
    hf_free(hand->sealed);
}

static enum hf_err hand_init(struct hand *hand, struct hf_error *err)
{
    static const uint8_t key[HF_AEAD_KEY_BYTES] = {1};
    size_t room = hf_compress_bound(BLOCK_BYTES) + HF_AEAD_TAG_BYTES;

    hand->compressor = hf_compressor_create(1);
    hand->decompressor = hf_decompressor_create();
    hand->out = hf_alloc_zero(room);
    hand->sealed = hf_alloc_zero(room);
    if (hand->compressor == NULL || hand->decompressor == NULL || hand->out == NULL ||
        hand->sealed == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_aead_create(key, &hand->aead, err) != HF_ERR_OK ||
        hf_hmac_create(hf_bytes_of(key, sizeof key), &hand->hmac, err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_ERR_OK;
}

static enum hf_err seal(struct hand *hand, struct hf_bytes bytes, struct hf_error *err)
{
    static const uint8_t nonce[HF_AEAD_NONCE_BYTES] = {2};

    return hf_aead_seal(hand->aead, nonce, hf_bytes_of(nonce, sizeof nonce), bytes, hand->sealed,
                        err);
}

/* Opening costs what sealing costs (one pass of GCM), and needs no block sealed for it beforehand. */
static enum hf_err do_block(struct hand *hand, size_t index, struct hf_error *err)
{
    const struct sample *sample = hand->sample;
    struct hf_bytes plain = hf_bytes_of(sample->plain + index * BLOCK_BYTES, BLOCK_BYTES);
    size_t bound = hf_compress_bound(BLOCK_BYTES), len = 0;
    struct hf_bytes packed = hf_bytes_of(sample->packed + index * bound, sample->packed_len[index]);
    struct hf_hash hash = {.bytes = {0}};
    enum hf_err code = HF_ERR_OK;

    if (hand->work == HASH || hand->work == CAPTURE) {
        hf_hmac_sha256(hand->hmac, plain, &hash);
    }
    if (hand->work == COMPRESS || hand->work == CAPTURE) {
        code = hf_compress(hand->compressor, plain, hand->out, bound, &len, err);
    }
    if (code == HF_ERR_OK && hand->work == CAPTURE) {
        code = seal(hand, len < plain.len ? hf_bytes_of(hand->out, len) : plain, err);
    }
    if (hand->work == SEAL) {
        code = seal(hand, plain, err);
    }
    if (hand->work == CHECKSUM) {
        hand->sum += hf_xxh3(plain);
    }
    if (hand->work == RESTORE) {
        code = seal(hand, packed, err);
    }
    if (code == HF_ERR_OK && (hand->work == DECOMPRESS || hand->work == RESTORE)) {
        code = hf_decompress(hand->decompressor, packed, hand->out, BLOCK_BYTES, err);
    }
    if (hand->work == RESTORE) {
        hf_hmac_sha256(hand->hmac, hf_bytes_of(hand->out, BLOCK_BYTES), &hash);
    }
    hand->sum += hash.bytes[0];
    hand->bytes += BLOCK_BYTES;
    return code;
}

/* Reads whole files, not the sample: from wherever they are, the page cache as a rule. */
static enum hf_err read_file(struct hand *hand, size_t index, struct hf_error *err)
{
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    size_t got = 1;

    if (hf_file_open(hand->sample->files[index].path, HF_OPEN_READ, 0, &file, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint64_t at = 0; got > 0; at += got) {
        if (hf_file_read_at(file, at, hand->out, BLOCK_BYTES, &got, err) != HF_ERR_OK) {
            return err->code;
        }
        hand->bytes += got;
    }
    return HF_ERR_OK;
}

static void run_hand(void *argument)
{
    struct hand *hand = argument;
    size_t count = hand->work == READ ? hand->sample->file_count : hand->sample->block_count;
    struct hf_error err;

    for (size_t i = hand->first; i < count && !hand->failed; i += hand->step) {
        hand->failed =
            (hand->work == READ ? read_file(hand, i, &err) : do_block(hand, i, &err)) != HF_ERR_OK;
    }
}

struct rate {
    double wall, cpu; /* bytes a second; a CPU second is what others on the machine disturb least */
};

/* The rate of that work on so many threads. */
static enum hf_err measure(const struct sample *sample, enum work work, unsigned threads,
                           struct rate *out, struct hf_error *err)
{
    struct hand hands[THREADS_MAX] = {{.failed = false}};
    enum hf_err code = HF_ERR_OK;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < threads && code == HF_ERR_OK; i++) {
        hands[i].sample = sample;
        hands[i].work = work;
        hands[i].first = i;
        hands[i].step = threads;
        code = hand_init(&hands[i], err);
    }
    double began_s = now_s(CLOCK_MONOTONIC), began_cpu_s = now_s(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned i = 0; i < threads && code == HF_ERR_OK; i++) {
        code = hf_thread_start("hand", run_hand, &hands[i], &hands[i].thread, err);
    }
    for (unsigned i = 0; i < threads; i++) {
        hf_thread_join(hands[i].thread);
        bytes += hands[i].bytes;
        if (hands[i].failed && code == HF_ERR_OK) {
            code = hf_fail(err, HF_ERR_INTERNAL, "%s failed", work_names[work]);
        }
    }
    out->wall = (double)bytes / (now_s(CLOCK_MONOTONIC) - began_s);
    out->cpu = (double)bytes / (now_s(CLOCK_PROCESS_CPUTIME_ID) - began_cpu_s);
    for (unsigned i = 0; i < threads; i++) {
        hand_fini(&hands[i]);
    }
    return code;
}

/* Objects as a store writes them: whole, synced, one after another. */
static enum hf_err measure_writes(const struct sample *sample, const char *dir, double *out,
                                  struct hf_error *err)
{
    size_t len = WRITE_BYTES < sample->block_count * BLOCK_BYTES
                     ? WRITE_BYTES
                     : sample->block_count * BLOCK_BYTES;
    double began_s = now_s(CLOCK_MONOTONIC);

    for (unsigned i = 0; i < WRITES; i++) {
        HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/write-%u", dir, i);
        if (path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        if (hf_fs_publish_new(path, hf_bytes_of(sample->plain, len), 0600, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    *out = (double)(len * WRITES) / (now_s(CLOCK_MONOTONIC) - began_s);
    for (unsigned i = 0; i < WRITES; i++) {
        HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/write-%u", dir, i);
        if (path != NULL && hf_fs_remove_scratch(path, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err run(const char *dir, const char *scratch, struct hf_error *err)
{
    HF_CLEANUP(sample_fini) struct sample sample = {.block_count = 0};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 20);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned cores = online < 1 ? 1 : online > THREADS_MAX ? THREADS_MAX : (unsigned)online;
    double writes = 0;

    if (make_sample(dir, &sample, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_json *one = hf_json_object(), *all = hf_json_object(), *cpu = hf_json_object();
    hf_json_set_take(json, "one_core", one);
    hf_json_set_take(json, "all_cores", all);
    hf_json_set_take(json, "cpu_second", cpu);
    for (unsigned work = READ; work < WORK_COUNT; work++) {
        struct rate single, full;
        if (measure(&sample, (enum work)work, 1, &single, err) != HF_ERR_OK ||
            measure(&sample, (enum work)work, cores, &full, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_json_set_real(one, work_names[work], single.wall);
        hf_json_set_real(all, work_names[work], full.wall);
        hf_json_set_real(cpu, work_names[work], single.cpu);
    }
    hf_json_set_u64(json, "cores", cores);
    hf_json_set_u64(json, "sample_bytes", sample.block_count * BLOCK_BYTES);
    hf_json_set_u64(json, "sample_packed_bytes", sample.packed_bytes);
    if (measure_writes(&sample, scratch, &writes, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_real(json, "write_synced", writes);
    if (hf_json_encode(json, 0, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)printf("%s\n", hf_buf_text(&text));
    return HF_ERR_OK;
}

int main(int argc, char **argv)
{
    struct hf_error err;

    hf_error_clear(&err);
    if (argc != 3) {
        (void)fprintf(stderr, "usage: machine_limits DIR SCRATCH\n");
        return 2;
    }
    if (run(argv[1], argv[2], &err) != HF_ERR_OK) {
        (void)fprintf(stderr, "machine_limits: %s\n", err.message);
        return 1;
    }
    return 0;
}
