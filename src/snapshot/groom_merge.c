/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying living blocks together.
 *
 * Neighbours in the order of names form groups: objects below the living ratio, and small ones. An output takes the whole
 * range of its inputs and the next round, so it sorts after them: an ascending list that misses an input cannot miss the
 * output. Stored bytes are copied unchanged, after their checksum was compared.
 */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "snapshot/groom_internal.h"
#include "snapshot/retry.h"

#define OUTPUT_BYTES ((size_t)16 << 20) /* living bytes of a group */
#define SMALL_BYTES ((uint64_t)8 << 20)
/* Fewer small neighbours are not worth copying, unless the job has too many objects altogether. */
#define WORTHWHILE 8
#define OBJECTS_ALLOWED 64

enum hf_err hf_groom_read_footer(struct hf_groom *groom, const struct hf_groom_object *object,
                                 struct hf_footer *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf tail = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    struct hf_object_name full = hf_groom_name(groom, object);
    struct hf_object_text name = hf_object_name_text(&full);
    uint64_t need = HF_FOOTER_GUESS_BYTES;
    while (need != 0) {
        uint64_t asked = need;
        uint64_t size_bytes = 0;
        struct hf_retry retry = {.cancel = groom->options->cancel};
        enum hf_err code;
        do {
            code = hf_store_get_tail(groom->options->store, hf_str_of(name.text), (size_t)need,
                                     &tail, &size_bytes, err);
        } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
        if (code != HF_ERR_OK ||
            hf_footer_decode(hf_buf_bytes(&tail), size_bytes, &need, out, err) != HF_ERR_OK) {
            return hf_wrap(err, "%s", name.text);
        }
        if (need > HF_STORE_OBJECT_MAX_BYTES || (need != 0 && need <= asked)) {
            return hf_fail(err, HF_ERR_CORRUPT, "%s: shorter than its footer", name.text);
        }
    }
    enum hf_err code = hf_footer_check_name(out, &full, err);
    if (code != HF_ERR_OK) {
        hf_footer_fini(out);
    }
    return code;
}

enum hf_err hf_groom_delete(struct hf_groom *groom, struct hf_groom_object *object,
                            struct hf_error *err)
{
    struct hf_object_name full = hf_groom_name(groom, object);
    struct hf_object_text name = hf_object_name_text(&full);
    if (!groom->options->only_look) {
        struct hf_retry retry = {.cancel = groom->options->cancel};
        enum hf_err code;
        do {
            code = HF_FAULT("snapshot.groom.delete", err);
            if (code == HF_ERR_OK) {
                code = hf_store_delete(groom->options->store, hf_str_of(name.text), err);
            }
        } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
            return hf_wrap(err, "delete %s", name.text);
        }
    }
    object->deleted = true;
    groom->result.objects_deleted++;
    groom->result.bytes_after -= object->size_bytes;
    return HF_ERR_OK;
}

/* ---- one group ---- */

struct group {
    size_t first, end; /* of groom->objects */
    uint64_t living_bytes, size_bytes;
    unsigned needy; /* below the living ratio */
    unsigned members;
};

struct output {
    struct hf_object_writer *writer; /* owned */
    struct hf_marks *added;          /* owned: addresses in it */
    struct hf_buf input;
    uint64_t first, last;
    uint32_t round;
};

static void output_fini(struct output *output)
{
    hf_object_writer_destroy(output->writer);
    hf_marks_destroy(output->added);
    hf_buf_fini(&output->input);
}
HF_CLEANUP_DEFINE_VALUE(output_fini, struct output)

static bool is_candidate(const struct hf_groom_object *object)
{
    return !object->claimed && !object->unreadable && !object->deleted &&
           object->round < HF_ROUND_MAX;
}

static bool is_needy(const struct hf_groom *groom, const struct hf_groom_object *object)
{
    return object->replaced ||
           (object->dead_blocks > 0 && (uint64_t)object->living_bytes * 100 <
                                           (uint64_t)object->size_bytes * groom->living_percent);
}

static struct hf_bytes stored_bytes(const struct output *output,
                                    const struct hf_footer_block *block)
{
    return hf_bytes_of(output->input.data + block->place, block->stored_bytes);
}

static bool is_whole(const struct output *output, const struct hf_footer_block *block)
{
    return hf_xxh3(stored_bytes(output, block)) == block->checksum;
}

static bool same_name(const struct hf_object_name *a, const struct hf_object_name *b)
{
    return a->kind == b->kind && a->first == b->first && a->last == b->last &&
           a->round == b->round && hf_id_equal(&a->writer, &b->writer);
}

/* True when another object holds the block as it was written: a groom that works on that one copies it, being whole. */
static bool is_whole_elsewhere(struct hf_groom *groom, const struct hf_object_name *name,
                               const struct hf_address *address)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf stored = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    struct hf_found_block found;
    struct hf_error ignored;
    for (unsigned candidate = 0;
         hf_tree_find(groom->reader, address, candidate, &found, &ignored) == HF_ERR_OK;
         candidate++) {
        uint32_t len = found.block.stored_bytes;
        hf_buf_clear(&stored);
        if (!same_name(&found.object, name) &&
            hf_buf_reserve(&stored, len, &ignored) == HF_ERR_OK &&
            hf_tree_read_range(groom->reader, &found.object, found.block.place, stored.data, len,
                               &ignored) == HF_ERR_OK &&
            hf_xxh3(hf_bytes_of(stored.data, len)) == found.block.checksum) {
            return true;
        }
    }
    return false;
}

/* True when each living block of the input is as it was written, or is so elsewhere. keeps I8 */
static bool living_are_whole(struct hf_groom *groom, const struct output *output,
                             const struct hf_object_name *name, const struct hf_footer *footer)
{
    for (uint32_t i = 0; i < footer->block_count; i++) {
        const struct hf_footer_block *block = &footer->blocks[i];
        if (hf_marks_has(groom->marks, &block->address) && !is_whole(output, block) &&
            !is_whole_elsewhere(groom, name, &block->address)) {
            return false;
        }
    }
    return true;
}

/* Adds an input's living blocks. *taken false: it is damaged or does not fit, and stays as it is. */
static enum hf_err add_input(struct hf_groom *groom, struct output *output,
                             const struct hf_groom_object *object, bool *taken,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    struct hf_object_name full = hf_groom_name(groom, object);
    struct hf_object_text name = hf_object_name_text(&full);
    uint64_t need = 0;
    *taken = false;
    enum hf_err code = hf_store_get(groom->options->store, hf_str_of(name.text),
                                    HF_STORE_OBJECT_MAX_BYTES, &output->input, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK; /* another groom was here */
    }
    if (code != HF_ERR_OK) {
        return hf_wrap(err, "%s", name.text);
    }
    if (hf_footer_decode(hf_buf_bytes(&output->input), output->input.len, &need, &footer, err) !=
            HF_ERR_OK ||
        !living_are_whole(groom, output, &full, &footer)) {
        return HF_ERR_OK;
    }
    for (uint32_t i = 0; i < footer.block_count; i++) {
        const struct hf_footer_block *block = &footer.blocks[i];
        /* A second copy in the same output is left out: two grooms at once had made it. */
        if (!hf_marks_has(groom->marks, &block->address) ||
            hf_marks_has(output->added, &block->address) || !is_whole(output, block)) {
            continue;
        }
        if (hf_object_writer_add(output->writer, &footer.runs[block->run], block,
                                 stored_bytes(output, block), err) != HF_ERR_OK ||
            hf_marks_set(output->added, &block->address, err) != HF_ERR_OK) {
            return hf_wrap(err, "%s", name.text);
        }
    }
    output->first = object->first < output->first ? object->first : output->first;
    output->last = object->last > output->last ? object->last : output->last;
    output->round = object->round > output->round ? object->round : output->round;
    *taken = true;
    return HF_ERR_OK;
}

static enum hf_err put_output(struct hf_groom *groom, struct output *output,
                              enum hf_object_kind kind, struct hf_error *err)
{
    struct hf_bytes object;
    struct hf_object_name name = {
        .kind = kind,
        .job = groom->options->keyring->job,
        .first = output->first,
        .last = output->last,
        .round = output->round + 1,
    };
    /* Room is kept for grooming: it is what ends a full disk. */
    struct hf_store_put_options options = {.use_reserve = true};
    hf_random_bytes(name.writer.bytes, sizeof name.writer.bytes);
    if (hf_object_writer_finish(output->writer, &object, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_object_text text = hf_object_name_text(&name);
    struct hf_retry retry = {.cancel = groom->options->cancel};
    enum hf_err code;
    do {
        code = HF_FAULT("snapshot.groom.put", err);
        if (code == HF_ERR_OK) {
            code = hf_store_put(groom->options->store, hf_str_of(text.text), object, &options, err);
        }
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    if (code != HF_ERR_OK) {
        return hf_wrap(err, "put %s", text.text);
    }
    groom->result.objects_written++;
    groom->result.bytes_after += object.len;
    return HF_ERR_OK;
}

static enum hf_err merge_group(struct hf_groom *groom, const struct group *group,
                               struct hf_error *err)
{
    enum hf_object_kind kind = groom->objects[group->first].tree ? HF_OBJECT_TREE : HF_OBJECT_DATA;
    struct hf_object_writer_options options = {
        .kind = kind, .job = groom->options->keyring->job, .max_bytes = HF_STORE_OBJECT_MAX_BYTES};
    HF_CLEANUP(output_fini)
    struct output output = {.input = {.max = HF_STORE_OBJECT_MAX_BYTES}, .first = UINT64_MAX};
    HF_CLEANUP(hf_free)
    bool *taken = hf_alloc_zero((group->end - group->first) * sizeof *taken);
    if (taken == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "group of objects");
    }
    if (hf_object_writer_create(&options, &output.writer, err) != HF_ERR_OK ||
        hf_marks_create(&output.added, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = group->first; i < group->end; i++) {
        if (hf_cancel_check(groom->options->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        if (is_candidate(&groom->objects[i]) &&
            add_input(groom, &output, &groom->objects[i], &taken[i - group->first], err) !=
                HF_ERR_OK) {
            return err->code;
        }
    }
    /* Nothing to put: every living block of the group is damaged there, and whole elsewhere. */
    if (hf_object_writer_count(output.writer) > 0 &&
        put_output(groom, &output, kind, err) != HF_ERR_OK) {
        return err->code;
    }
    /* keeps I8: only now, and only those whose living blocks are all in it */
    for (size_t i = group->first; i < group->end; i++) {
        if (taken[i - group->first] &&
            hf_groom_delete(groom, &groom->objects[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- all groups ---- */

static bool is_worth_it(const struct hf_groom *groom, const struct group *group)
{
    uint64_t allowed = groom->result.living_bytes / SMALL_BYTES + OBJECTS_ALLOWED;
    uint64_t now = groom->result.objects_seen - groom->result.objects_deleted;
    unsigned enough = now > allowed ? 2 : WORTHWHILE;
    return group->needy > 0 || group->members >= enough;
}

static enum hf_err end_group(struct hf_groom *groom, struct group *group, struct hf_error *err)
{
    enum hf_err code = HF_ERR_OK;
    if (group->members > 0 && is_worth_it(groom, group)) {
        groom->result.objects_copied += group->members;
        if (groom->options->only_look) {
            groom->result.bytes_after -= group->size_bytes - group->living_bytes;
        } else {
            code = merge_group(groom, group, err);
        }
    }
    *group = (struct group){.members = 0};
    return code;
}

enum hf_err hf_groom_merge(struct hf_groom *groom, struct hf_error *err)
{
    struct group group = {.members = 0};
    for (size_t i = 0; i < groom->count; i++) {
        const struct hf_groom_object *object = &groom->objects[i];
        if (object->deleted) {
            continue;
        }
        bool needy = is_needy(groom, object);
        bool joins = is_candidate(object) && (needy || object->size_bytes < SMALL_BYTES);
        bool fits = group.members > 0 && groom->objects[group.first].tree == object->tree &&
                    group.living_bytes + object->living_bytes <= OUTPUT_BYTES;
        if (group.members > 0 && (!joins || !fits) && end_group(groom, &group, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!joins) {
            continue;
        }
        if (group.members == 0) {
            group.first = i;
        }
        group.end = i + 1;
        group.members++;
        group.needy += needy ? 1 : 0;
        group.living_bytes += object->living_bytes;
        group.size_bytes += object->size_bytes;
    }
    return end_group(groom, &group, err);
}
