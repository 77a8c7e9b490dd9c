/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks into packs, packs into the store.
 *
 *   free -> open (begin) -> closed (full; threads may still fill their slots) -> queue -> put -> free
 *
 * PACKS buffers exist: two are open (blocks, tree), the others are on their way or free. A place in the open pack is
 * reserved under the mutex, compression comes before and encryption after it, outside. Who fills the last slot of a
 * closed pack hands it to the queue; the queue has room for all packs, so that nobody waits there.
 *
 * A capture that is small enough to fit in one pack puts its blocks and its tree as one object, among the trees: a
 * frequent small capture costs one put (store-format.md 5).
 */
#include "snapshot/packer.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "os/process.h"
#include "snapshot/retry.h"

#define PACKS 5
#define SENDERS 2

struct pack {
    struct hf_pack_writer *writer; /* owned */
    enum hf_object_kind kind;
    uint32_t number;
    uint32_t filling; /* slots reserved and not filled */
    bool closed;
};

enum { OPEN_DATA, OPEN_TREE, OPEN_COUNT };

struct hf_packer {
    struct hf_packer_options options;
    struct pack packs[PACKS];
    struct hf_thread *senders[SENDERS]; /* owned */
    struct hf_queue *queue;             /* owned; of struct pack */
    struct hf_mutex mutex;              /* guards: all below, and the fields of packs */
    struct hf_cond changed;             /* a pack became free, or an error came */
    struct pack *free[PACKS];
    size_t free_count;
    struct pack *open[OPEN_COUNT];
    uint64_t packs_begun;
    uint64_t packs_sent; /* handed to the queue */
    struct hf_packer_sums sums;
    bool failed;
    struct hf_error error; /* the first one */
};

static void fail_packer(struct hf_packer *packer, const struct hf_error *error)
{
    HF_LOCKED(&packer->mutex);
    if (!packer->failed) {
        packer->failed = true;
        packer->error = *error;
    }
    hf_cond_broadcast(&packer->changed);
}

/* ---- putting ---- */

static enum hf_err put_object(struct hf_packer *packer, const struct hf_object_name *name,
                              struct hf_bytes object, struct hf_error *err)
{
    struct hf_object_text text = hf_object_name_text(name);
    struct hf_retry retry = {.cancel = packer->options.cancel};
    enum hf_err code;
    do {
        code = HF_FAULT("snapshot.packer.put", err);
        if (code == HF_ERR_OK) {
            code = hf_store_put(packer->options.store, hf_str_of(text.text), object, NULL, err);
        }
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    if (code != HF_ERR_OK) {
        return code;
    }
    if (packer->options.progress != NULL) {
        atomic_fetch_add(&packer->options.progress->bytes_stored, object.len);
    }
    HF_LOCKED(&packer->mutex);
    packer->sums.stored_bytes += object.len;
    return HF_ERR_OK;
}

static struct hf_object_name object_name(const struct hf_packer *packer, enum hf_object_kind kind,
                                         uint32_t first, uint32_t last)
{
    return (struct hf_object_name){
        .kind = kind,
        .job = packer->options.keyring->job,
        .writer = packer->options.writer,
        .first = hf_position(packer->options.capture, first),
        .last = hf_position(packer->options.capture, last),
    };
}

static void note_durable(struct hf_packer *packer, uint32_t number)
{
    if (packer->options.durable != NULL) {
        packer->options.durable(packer->options.context, number);
    }
}

static enum hf_err put_pack(struct hf_packer *packer, struct pack *pack, struct hf_error *err)
{
    struct hf_bytes object;
    struct hf_object_name name = object_name(packer, pack->kind, pack->number, pack->number);
    if (hf_pack_writer_finish(pack->writer, &object, err) != HF_ERR_OK ||
        put_object(packer, &name, object, err) != HF_ERR_OK) {
        return hf_wrap(err, "pack %" PRIu64 "/%" PRIu32, packer->options.capture, pack->number);
    }
    note_durable(packer, pack->number);
    return HF_ERR_OK;
}

static void free_pack(struct hf_packer *packer, struct pack *pack)
{
    HF_LOCKED(&packer->mutex);
    pack->closed = false;
    packer->free[packer->free_count++] = pack;
    hf_cond_broadcast(&packer->changed);
}

static bool has_failed(struct hf_packer *packer)
{
    HF_LOCKED(&packer->mutex);
    return packer->failed;
}

static void send_packs(void *argument)
{
    struct hf_packer *packer = argument;
    void *item = NULL;
    (void)hf_stand_back_thread(packer->options.nice); /* refused, it works as others do */
    while (hf_queue_pop(packer->queue, &item)) {
        struct pack *pack = item;
        struct hf_error err;
        if (!has_failed(packer) && put_pack(packer, pack, &err) != HF_ERR_OK) {
            fail_packer(packer, &err);
        }
        free_pack(packer, pack);
    }
}

/* ---- beginning and end ---- */

enum hf_err hf_packer_create(const struct hf_packer_options *options, struct hf_packer **out,
                             struct hf_error *err)
{
    struct hf_packer *made = hf_alloc_zero(sizeof *made);
    if (made == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "packer");
    }
    made->options = *options;
    hf_mutex_init(&made->mutex);
    hf_cond_init(&made->changed);
    HF_CLEANUP(hf_packer_destroy) struct hf_packer *packer = made;
    packer->queue = hf_queue_create(PACKS);
    if (packer->queue == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "packer");
    }
    struct hf_pack_writer_options writer = {.keyring = options->keyring,
                                            .target_bytes = options->pack_bytes};
    for (size_t i = 0; i < PACKS; i++) {
        if (hf_pack_writer_create(&writer, &packer->packs[i].writer, err) != HF_ERR_OK) {
            return hf_wrap(err, "packer");
        }
        packer->free[packer->free_count++] = &packer->packs[i];
    }
    for (size_t i = 0; i < SENDERS; i++) {
        if (hf_thread_start("hf-put", send_packs, packer, &packer->senders[i], err) != HF_ERR_OK) {
            return hf_wrap(err, "packer");
        }
    }
    *out = HF_TAKE(packer);
    return HF_ERR_OK;
}

static void stop_senders(struct hf_packer *packer)
{
    hf_queue_close(packer->queue);
    for (size_t i = 0; i < SENDERS; i++) {
        hf_thread_join(HF_TAKE(packer->senders[i]));
    }
}

void hf_packer_destroy(struct hf_packer *packer)
{
    if (packer == NULL) {
        return;
    }
    if (packer->queue != NULL) {
        struct hf_error stopped;
        (void)hf_fail(&stopped, HF_ERR_CANCELLED, "the capture was stopped");
        fail_packer(packer, &stopped);
        stop_senders(packer);
        hf_queue_destroy(packer->queue);
    }
    for (size_t i = 0; i < PACKS; i++) {
        hf_pack_writer_destroy(packer->packs[i].writer);
    }
    hf_cond_fini(&packer->changed);
    hf_mutex_fini(&packer->mutex);
    hf_free(packer);
}

/* ---- adding; all of these under the mutex ---- */

/* Hands a closed pack over once nobody fills it. */
static void send_when_filled(struct hf_packer *packer, struct pack *pack)
{
    if (pack->closed && pack->filling == 0) {
        packer->packs_sent++;
        /* Never full: it has room for all packs. Closed only when nobody adds any more. */
        if (!hf_queue_push(packer->queue, pack)) {
            packer->free[packer->free_count++] = pack;
        }
    }
}

static void close_open(struct hf_packer *packer, size_t which)
{
    struct pack *pack = HF_TAKE(packer->open[which]);
    pack->closed = true;
    send_when_filled(packer, pack);
}

static enum hf_err open_pack(struct hf_packer *packer, size_t which, struct hf_error *err)
{
    struct pack *pack = packer->free[--packer->free_count];
    struct hf_pack_begin begin = {
        .kind = which == OPEN_DATA ? HF_OBJECT_DATA : HF_OBJECT_TREE,
        .capture = packer->options.capture,
        .pack = (uint32_t)(packer->packs_begun <= HF_PACK_MAX ? packer->packs_begun
                                                              : (uint64_t)HF_PACK_MAX + 1),
    };
    hf_random_bytes(begin.salt, sizeof begin.salt);
    if (hf_pack_writer_begin(pack->writer, &begin, err) != HF_ERR_OK) {
        packer->free[packer->free_count++] = pack;
        return err->code;
    }
    packer->packs_begun++;
    packer->sums.packs++;
    pack->kind = begin.kind;
    pack->number = begin.pack;
    pack->filling = 0;
    pack->closed = false;
    packer->open[which] = pack;
    return HF_ERR_OK;
}

static enum hf_err reserve(struct hf_packer *packer, size_t which, const struct hf_block_body *body,
                           struct pack **pack, struct hf_pack_slot *slot, struct hf_error *err)
{
    HF_LOCKED(&packer->mutex);
    for (;;) {
        if (packer->failed) {
            *err = packer->error;
            return err->code;
        }
        struct pack *open = packer->open[which];
        if (open != NULL && hf_pack_writer_reserve(open->writer, body, slot)) {
            open->filling++;
            *pack = open;
            return HF_ERR_OK;
        }
        if (open != NULL) {
            close_open(packer, which);
        } else if (packer->free_count > 0) {
            if (open_pack(packer, which, err) != HF_ERR_OK) {
                return err->code;
            }
        } else {
            hf_cond_wait(&packer->changed, &packer->mutex);
        }
    }
}

enum hf_err hf_packer_add(struct hf_packer *packer, enum hf_object_kind kind,
                          struct hf_block_coder *coder, struct hf_bytes plain,
                          const struct hf_hash *hash, struct hf_ref *ref, struct hf_error *err)
{
    struct hf_block_body body;
    struct hf_pack_slot slot;
    struct pack *pack = NULL;
    size_t which = kind == HF_OBJECT_DATA ? OPEN_DATA : OPEN_TREE;
    if (hf_block_compress(coder, plain, &body, err) != HF_ERR_OK ||
        reserve(packer, which, &body, &pack, &slot, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_pack_writer_fill(pack->writer, &slot, coder, &body, err);
    *ref = (struct hf_ref){
        .hash = *hash,
        .address = {.capture = packer->options.capture,
                    .pack = pack->number,
                    .ordinal = slot.ordinal},
        .stored_bytes = slot.stored_bytes,
    };
    if (code != HF_ERR_OK) {
        fail_packer(packer, err); /* the slot holds rubbish: this pack must not be put */
    }
    HF_LOCKED(&packer->mutex);
    pack->filling--;
    send_when_filled(packer, pack);
    return code;
}

/* ---- the end ---- */

/* One object of both open packs, when nothing was sent before and both fit. *done says whether it was so. */
static enum hf_err put_small(struct hf_packer *packer, bool *done, struct hf_error *err)
{
    struct pack *data = packer->open[OPEN_DATA];
    struct pack *tree = packer->open[OPEN_TREE];
    size_t target =
        packer->options.pack_bytes == 0 ? HF_PACK_TARGET_BYTES : packer->options.pack_bytes;
    if (data == NULL || tree == NULL || packer->packs_sent > 0 ||
        hf_pack_writer_bytes(data->writer) + hf_pack_writer_bytes(tree->writer) > target) {
        return HF_ERR_OK;
    }
    struct hf_object_writer_options options = {.kind = HF_OBJECT_TREE,
                                               .job = packer->options.keyring->job,
                                               .max_bytes = HF_STORE_OBJECT_MAX_BYTES};
    HF_CLEANUP(hf_object_writer_destroy) struct hf_object_writer *writer = NULL;
    if (hf_object_writer_create(&options, &writer, err) != HF_ERR_OK) {
        return err->code;
    }
    struct pack *const both[] = {data, tree};
    for (size_t i = 0; i < HF_ARRAY_LEN(both); i++) {
        struct hf_bytes part;
        HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
        uint64_t need = 0;
        if (hf_pack_writer_finish(both[i]->writer, &part, err) != HF_ERR_OK ||
            hf_footer_decode(part, part.len, &need, &footer, err) != HF_ERR_OK) {
            return err->code;
        }
        for (uint32_t b = 0; b < footer.block_count; b++) {
            const struct hf_footer_block *block = &footer.blocks[b];
            struct hf_bytes stored = hf_bytes_of(part.data + block->place, block->stored_bytes);
            if (hf_object_writer_add(writer, &footer.runs[block->run], block, stored, err) !=
                HF_ERR_OK) {
                return err->code;
            }
        }
    }
    struct hf_bytes object;
    uint32_t first = data->number < tree->number ? data->number : tree->number;
    uint32_t last = data->number < tree->number ? tree->number : data->number;
    struct hf_object_name name = object_name(packer, HF_OBJECT_TREE, first, last);
    if (hf_object_writer_finish(writer, &object, err) != HF_ERR_OK ||
        put_object(packer, &name, object, err) != HF_ERR_OK) {
        return hf_wrap(err, "pack %" PRIu64 "/%" PRIu32, packer->options.capture, last);
    }
    note_durable(packer, data->number);
    note_durable(packer, tree->number);
    *done = true;
    return HF_ERR_OK;
}

enum hf_err hf_packer_finish(struct hf_packer *packer, struct hf_packer_sums *out,
                             struct hf_error *err)
{
    bool done = false;
    if (!has_failed(packer) && put_small(packer, &done, err) != HF_ERR_OK) {
        fail_packer(packer, err);
    }
    {
        HF_LOCKED(&packer->mutex);
        for (size_t i = 0; i < OPEN_COUNT; i++) {
            if (packer->open[i] != NULL && done) {
                packer->free[packer->free_count++] = HF_TAKE(packer->open[i]);
            } else if (packer->open[i] != NULL) {
                close_open(packer, i);
            }
        }
    }
    stop_senders(packer);
    HF_LOCKED(&packer->mutex);
    if (packer->failed) {
        *err = packer->error;
        return err->code;
    }
    *out = packer->sums;
    return HF_ERR_OK;
}
