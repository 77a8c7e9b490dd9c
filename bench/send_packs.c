/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs of 16 MiB, as many at a time as there are threads: through a server with the agent's driver, or straight onto a
 * disk, synced. The two side by side say what the server costs. bench/way_through.py starts it.
 *
 *   send_packs server URL KEY_FILE TASK ATTEMPT JOB WRITER CAPTURE COUNT THREADS [CA_FILE]
 *   send_packs disk DIR COUNT THREADS
 *
 * Prints one JSON object. The packs are whole ones of the capture, since the server looks; their blocks are random, not
 * encrypted, and differ in every pack. Making them costs the same on both ways.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "codec/json.h"
#include "format/pack.h"
#include "os/clock.h"
#include "os/fs.h"
#include "store/remote.h"

#define PACK_BYTES ((size_t)16 << 20) /* of blocks */
#define BLOCK_BYTES ((size_t)256 << 10)
#define THREADS_MAX 16

/* What all threads share. */
struct work {
    struct hf_store *store; /* owned; NULL: onto the disk */
    const char *dir;
    struct hf_keyring keyring; /* of the job: without encryption */
    struct hf_id writer;
    uint64_t capture;
    uint32_t first; /* pack: later than those of an earlier run */
    uint64_t count;
    _Atomic uint64_t next;
    uint8_t *content; /* owned; random, constant once filled */
};

static void work_fini(struct work *work)
{
    hf_store_close(work->store);
    hf_free(work->content);
}
HF_CLEANUP_DEFINE_VALUE(work_fini, struct work)

struct hand {
    struct work *work;
    struct hf_thread *thread;
    struct hf_error err;
};

/* ---- One pack after another ---- */

struct bench {
    struct hf_pack_writer *pack;  /* owned */
    struct hf_block_coder *coder; /* owned */
    uint8_t *content;             /* owned; of one pack */
};

static void bench_fini(struct bench *bench)
{
    hf_pack_writer_destroy(bench->pack);
    hf_block_coder_destroy(bench->coder);
    hf_free(bench->content);
}
HF_CLEANUP_DEFINE_VALUE(bench_fini, struct bench)

static enum hf_err bench_open(const struct work *work, struct bench *bench, struct hf_error *err)
{
    const struct hf_pack_writer_options packing = {.keyring = &work->keyring};
    const struct hf_block_coder_options coding = {.keyring = &work->keyring};

    bench->content = hf_alloc(PACK_BYTES);
    if (bench->content == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a pack");
    }
    memcpy(bench->content, work->content, PACK_BYTES);
    return hf_pack_writer_create(&packing, &bench->pack, err) == HF_ERR_OK
               ? hf_block_coder_create(&coding, &bench->coder, err)
               : err->code;
}

static enum hf_err make(const struct work *work, struct bench *bench, uint32_t number,
                        struct hf_bytes *object, struct hf_error *err)
{
    struct hf_pack_begin begin = {
        .kind = HF_OBJECT_DATA, .capture = work->capture, .pack = work->first + number};

    /* Every page differs from that of every other pack: no disk can find two alike. */
    for (size_t at = 0; at < PACK_BYTES; at += 4096) {
        hf_store_le64(bench->content + at, begin.pack);
    }
    hf_random_bytes(begin.salt, sizeof begin.salt);
    if (hf_pack_writer_begin(bench->pack, &begin, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t at = 0; at < PACK_BYTES; at += BLOCK_BYTES) {
        const struct hf_block_body body = {.bytes = hf_bytes_of(bench->content + at, BLOCK_BYTES),
                                           .plain_bytes = BLOCK_BYTES,
                                           .codec = HF_BLOCK_PLAIN};
        struct hf_pack_slot slot;
        if (!hf_pack_writer_reserve(bench->pack, &body, &slot)) {
            return hf_fail(err, HF_ERR_INTERNAL, "a pack of 16 MiB has no room for 16 MiB");
        }
        if (hf_pack_writer_fill(bench->pack, &slot, bench->coder, &body, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_pack_writer_finish(bench->pack, object, err);
}

static enum hf_err put(const struct work *work, uint32_t number, struct hf_bytes object,
                       struct hf_error *err)
{
    if (work->store == NULL) {
        HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/pack-%u", work->dir, (unsigned)number);
        return path == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                            : hf_fs_publish_new(path, object, 0600, err);
    }
    uint64_t position = hf_position(work->capture, work->first + number);
    const struct hf_object_name name = {.kind = HF_OBJECT_DATA,
                                        .job = work->keyring.job,
                                        .writer = work->writer,
                                        .first = position,
                                        .last = position};
    struct hf_object_text text = hf_object_name_text(&name);
    return hf_store_put(work->store, hf_str_of(text.text), object, NULL, err);
}

static enum hf_err send_all(struct work *work, struct hf_error *err)
{
    HF_CLEANUP(bench_fini) struct bench bench = {.pack = NULL};

    if (bench_open(work, &bench, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        struct hf_bytes object;
        uint64_t number = atomic_fetch_add(&work->next, 1);
        if (number >= work->count) {
            return HF_ERR_OK;
        }
        if (make(work, &bench, (uint32_t)number, &object, err) != HF_ERR_OK ||
            put(work, (uint32_t)number, object, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

static void run_hand(void *argument)
{
    struct hand *hand = argument;

    hf_error_clear(&hand->err);
    if (send_all(hand->work, &hand->err) != HF_ERR_OK) {
        atomic_store(&hand->work->next, hand->work->count);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static enum hf_err report(uint64_t bytes, double seconds, double cpu_s, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(4096);

    hf_json_set_u64(json, "bytes", bytes);
    hf_json_set_real(json, "seconds", seconds);
    hf_json_set_real(json, "cpu_seconds", cpu_s);
    if (hf_json_encode(json, 0, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)printf("%s\n", hf_buf_text(&text));
    return HF_ERR_OK;
}

static enum hf_err run(struct work *work, unsigned threads, struct hf_error *err)
{
    struct hand hands[THREADS_MAX];
    enum hf_err code = HF_ERR_OK;

    work->content = hf_alloc(PACK_BYTES);
    if (work->content == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_random_bytes(work->content, PACK_BYTES);
    work->first = (uint32_t)(hf_clock_wall_ms() / 100 % (1 << 24) / 2);
    uint64_t began_ms = hf_clock_mono_ms();
    double began_cpu_s = cpu_seconds();
    for (unsigned i = 0; i < threads; i++) {
        hands[i] = (struct hand){.work = work, .thread = NULL};
        hf_error_clear(&hands[i].err);
        if (code == HF_ERR_OK) {
            code = hf_thread_start("send", run_hand, &hands[i], &hands[i].thread, err);
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        hf_thread_join(hands[i].thread);
        if (hands[i].err.code != HF_ERR_OK && code == HF_ERR_OK) {
            code = hands[i].err.code;
            *err = hands[i].err;
        }
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    return report(work->count * PACK_BYTES, (double)(hf_clock_mono_ms() - began_ms) / 1e3,
                  cpu_seconds() - began_cpu_s, err);
}

static enum hf_err read_key(const char *path, struct hf_secret *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(4096);

    if (hf_fs_read_whole(path, 4095, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    while (text.len > 0 && text.data[text.len - 1] == '\n') {
        text.len--;
    }
    bool set = hf_secret_set(out, hf_buf_bytes(&text));
    hf_wipe(text.data, text.len);
    return set ? HF_ERR_OK : hf_fail(err, HF_ERR_INVALID, "%s: not a key", path);
}

/* words: URL KEY_FILE TASK ATTEMPT JOB WRITER CAPTURE COUNT THREADS [CA_FILE] */
static enum hf_err open_server(char **words, int count, struct work *work, struct hf_error *err)
{
    HF_CLEANUP(hf_secret_wipe) struct hf_secret key = {.len = 0};
    struct hf_store_remote_options options = {
        .base_url = words[0], .ca_file = count > 9 ? words[9] : NULL, .bearer = &key};

    if (!hf_id_parse(hf_str_of(words[2]), &options.task) ||
        !hf_id_parse(hf_str_of(words[3]), &options.attempt) ||
        !hf_id_parse(hf_str_of(words[4]), &work->keyring.job) ||
        !hf_id_parse(hf_str_of(words[5]), &work->writer) ||
        !hf_parse_u64(hf_str_of(words[6]), &work->capture)) {
        return hf_fail(err, HF_ERR_INVALID, "an id has 24 hexadecimal digits, a capture a number");
    }
    if (read_key(words[1], &key, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_store_remote_open(&options, &work->store, err);
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: send_packs server URL KEY_FILE TASK ATTEMPT JOB WRITER CAPTURE "
                          "COUNT THREADS [CA_FILE]\n"
                          "       send_packs disk DIR COUNT THREADS\n");
    return 2;
}

int main(int argc, char **argv)
{
    HF_CLEANUP(work_fini) struct work work = {.store = NULL, .capture = 1};
    bool server = argc > 1 && strcmp(argv[1], "server") == 0;
    int counts = server ? 9 : 3;
    uint64_t threads = 0;
    struct hf_error err;

    hf_error_clear(&err);
    if (argc < 2 ||
        (server ? argc != 11 && argc != 12 : argc != 5 || strcmp(argv[1], "disk") != 0) ||
        !hf_parse_u64(hf_str_of(argv[counts]), &work.count) ||
        !hf_parse_u64(hf_str_of(argv[counts + 1]), &threads) || threads == 0 ||
        threads > THREADS_MAX) {
        return usage();
    }
    work.dir = server ? NULL : argv[2];
    if ((server && open_server(argv + 2, argc - 2, &work, &err) != HF_ERR_OK) ||
        run(&work, (unsigned)threads, &err) != HF_ERR_OK) {
        (void)fprintf(stderr, "send_packs: %s\n", err.message);
        return 1;
    }
    return 0;
}
