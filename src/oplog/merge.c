/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of slices after the other:
 *
 *   gather    slices of a chain that follow on one another and fit into one
 *   write     their entries, each proved as it is read, into one object; what came out is compared with what went in
 *   put       durable, and found again under its name
 *   delete    what it replaces, if nobody began to use it meanwhile
 *
 * A crash after `put` leaves both. The chains are the same then, because equal hashes say so, and the next merge
 * finds the old ones covered: same entries within the range of a slice of a higher round.
 */
#include "oplog/merge.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "oplog/chain_internal.h"
#include "oplog/slicer.h"
#include "os/clock.h"

struct merge {
    const struct hf_merge_options *options;
    const struct hf_chains *chains;
    struct hf_slice_reader *reader; /* owned */
    struct hf_buf object;           /* of the merged slice */
    struct hf_merge_result result;
    struct hf_error damage; /* the first that was met; the other slices are merged all the same */
    bool damaged;
};

/* Slices of a chain that may become one. */
struct run {
    size_t *links; /* owned array; into chains->links */
    size_t count;
    struct hf_slice_header first; /* owned: of the first one */
    uint64_t object_bytes, plain_bytes;
    uint32_t terms; /* at most so many */
};

static void run_clear(struct run *run)
{
    hf_slice_header_fini(&run->first);
    run->first = (struct hf_slice_header){.blocks = NULL};
    run->count = 0;
    run->object_bytes = run->plain_bytes = 0;
    run->terms = 0;
}

static void run_fini(struct run *run)
{
    run_clear(run);
    hf_free(run->links);
}
HF_CLEANUP_DEFINE_VALUE(run_fini, struct run)

static void merge_fini(struct merge *merge)
{
    hf_slice_reader_destroy(merge->reader);
    hf_buf_fini(&merge->object);
}
HF_CLEANUP_DEFINE_VALUE(merge_fini, struct merge)

static const struct hf_slice_link *link_at(const struct merge *merge, size_t i)
{
    return &merge->chains->links[i];
}

static enum hf_err ask_in_use(const struct merge *merge, struct hf_optime *from,
                              struct hf_error *err)
{
    *from = (struct hf_optime){.seconds = 0};
    return merge->options->in_use == NULL
               ? HF_ERR_OK
               : merge->options->in_use(merge->options->context, from, err);
}

static bool is_free(const struct hf_slice_link *link, const struct hf_optime *in_use)
{
    return hf_optime_is_none(in_use) || hf_optime_compare_ts(&link->name.last_optime, in_use) < 0;
}

static enum hf_err delete_slice(struct merge *merge, const struct hf_slice_link *link,
                                struct hf_error *err)
{
    const struct hf_object_text name = hf_object_name_text(&link->name);
    enum hf_err code = hf_store_delete(merge->options->store, hf_str_of(name.text), err);
    if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
        return hf_wrap(err, "delete merged oplog slice");
    }
    merge->result.deleted++;
    return HF_FAULT("oplog.merge.deleted", err);
}

/* ---- What an earlier merge left ---- */

/* Damage is told at the end: it keeps nobody from merging what is sound. */
static enum hf_err note_damage(struct merge *merge, struct hf_error *err)
{
    if (!hf_chain_is_damage(err->code)) {
        return err->code;
    }
    if (!merge->damaged) {
        merge->damaged = true;
        merge->damage = *err;
    }
    return HF_ERR_OK;
}

/* Same job's history: the running hash behind the small one's last entry is the large one's there. */
static enum hf_err is_covered(struct merge *merge, const struct hf_slice_link *small,
                              const struct hf_slice_link *large, bool *covered,
                              struct hf_error *err)
{
    struct hf_oplog_entry entry;
    struct hf_hash hash;
    bool more = false;
    *covered = false;
    /* Standing behind the small one's last entry, the reader knows the hash there; it must have that very entry. */
    if (hf_slice_reader_open(merge->reader, &large->name, err) != HF_ERR_OK ||
        hf_slice_reader_seek(merge->reader, &small->previous, err) != HF_ERR_OK) {
        return note_damage(merge, err);
    }
    hf_slice_reader_hash(merge->reader, &hash);
    if (!hf_hash_equal(&hash, &small->hash_before)) {
        return HF_ERR_OK;
    }
    do {
        if (hf_slice_reader_next(merge->reader, &entry, &more, err) != HF_ERR_OK) {
            return note_damage(merge, err);
        }
    } while (more && hf_optime_compare_ts(&entry.optime, &small->name.last_optime) < 0);
    hf_slice_reader_hash(merge->reader, &hash);
    *covered = more && hf_optime_equal(&entry.optime, &small->name.last_optime) &&
               hf_hash_equal(&hash, &small->hash_after);
    return HF_ERR_OK;
}

static bool may_cover(const struct hf_slice_link *large, const struct hf_slice_link *small)
{
    return large->problem == NULL && small->problem == NULL &&
           large->name.round > small->name.round &&
           hf_optime_compare_ts(&large->name.first_optime, &small->name.first_optime) <= 0 &&
           hf_optime_compare_ts(&small->name.last_optime, &large->name.last_optime) <= 0;
}

static enum hf_err delete_if_covered(struct merge *merge, const struct hf_slice_link *large,
                                     const struct hf_slice_link *small, struct hf_error *err)
{
    struct hf_optime in_use;
    bool covered = false;
    if (!may_cover(large, small)) {
        return HF_ERR_OK;
    }
    if (hf_cancel_check(merge->options->cancel, err) != HF_ERR_OK ||
        is_covered(merge, small, large, &covered, err) != HF_ERR_OK ||
        ask_in_use(merge, &in_use, err) != HF_ERR_OK) {
        return err->code;
    }
    return covered && is_free(small, &in_use) ? delete_slice(merge, small, err) : HF_ERR_OK;
}

/* Links come by their last entry: what one covers lies beside it. */
static enum hf_err delete_covered_by(struct merge *merge, size_t large_at, struct hf_error *err)
{
    const struct hf_slice_link *large = link_at(merge, large_at);
    for (size_t i = large_at; i > 0; i--) {
        const struct hf_slice_link *small = link_at(merge, i - 1);
        if (hf_optime_compare_ts(&small->name.last_optime, &large->name.first_optime) < 0) {
            break;
        }
        if (delete_if_covered(merge, large, small, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    for (size_t i = large_at + 1; i < merge->chains->link_count; i++) {
        const struct hf_slice_link *small = link_at(merge, i);
        if (hf_optime_compare_ts(&small->name.last_optime, &large->name.last_optime) > 0) {
            break;
        }
        if (delete_if_covered(merge, large, small, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* *left: something was there, so that the chains are to be loaded again before more is merged. */
static enum hf_err delete_leftovers(struct merge *merge, bool *left, struct hf_error *err)
{
    uint64_t before = merge->result.deleted;
    for (size_t i = 0; i < merge->chains->link_count; i++) {
        if (link_at(merge, i)->name.round > 0 && delete_covered_by(merge, i, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    *left = merge->result.deleted > before;
    return HF_ERR_OK;
}

/* ---- One run ---- */

/* The entries of all of them, into the slicer. *fits false: a limit that only the entries show. */
static enum hf_err copy_entries(struct merge *merge, const struct run *run,
                                struct hf_slicer *slicer, bool *fits, struct hf_error *err)
{
    *fits = true;
    for (size_t i = 0; i < run->count && *fits; i++) {
        const struct hf_slice_link *link = link_at(merge, run->links[i]);
        bool more = true;
        if (hf_cancel_check(merge->options->cancel, err) != HF_ERR_OK ||
            hf_slice_reader_open(merge->reader, &link->name, err) != HF_ERR_OK) {
            return err->code;
        }
        merge->result.bytes_read += link->object_bytes;
        while (*fits) {
            struct hf_oplog_entry entry;
            if (hf_slice_reader_next(merge->reader, &entry, &more, err) != HF_ERR_OK) {
                return err->code;
            }
            if (!more) {
                break;
            }
            if (hf_slicer_add(slicer, entry.bytes, 0, fits, err) != HF_ERR_OK) {
                return hf_wrap(err, "merge oplog slices");
            }
        }
    }
    return HF_ERR_OK;
}

/* What came out must be what went in, whatever the slices said of themselves. */
static enum hf_err compare(const struct merge *merge, const struct run *run,
                           const struct hf_object_name *name, const struct hf_chain_point *point,
                           struct hf_error *err)
{
    const struct hf_slice_link *first = link_at(merge, run->links[0]);
    const struct hf_slice_link *last = link_at(merge, run->links[run->count - 1]);
    uint64_t entries = 0;
    for (size_t i = 0; i < run->count; i++) {
        entries += link_at(merge, run->links[i])->entry_count;
    }
    if (!hf_optime_equal(&name->first_optime, &first->name.first_optime) ||
        !hf_optime_equal(&name->last_optime, &last->name.last_optime) ||
        !hf_hash_equal(&point->hash, &last->hash_after) ||
        point->sequence != first->sequence + entries) {
        return hf_fail(
            err, HF_ERR_CORRUPT, "merge oplog slices %s to %s: what they hold is not what they say",
            hf_object_name_text(&first->name).text, hf_object_name_text(&last->name).text);
    }
    return HF_ERR_OK;
}

static enum hf_err put_merged(struct merge *merge, const struct hf_object_name *name,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    const struct hf_object_text text = hf_object_name_text(name);
    if (HF_FAULT("oplog.merge.put", err) != HF_ERR_OK ||
        hf_store_put(merge->options->store, hf_str_of(text.text), hf_buf_bytes(&merge->object),
                     NULL, err) != HF_ERR_OK ||
        HF_FAULT("oplog.merge.written", err) != HF_ERR_OK ||
        hf_slice_fetch_header(merge->options->store, name, merge->options->keyring, &header, err) !=
            HF_ERR_OK) {
        return hf_wrap(err, "put merged oplog slice");
    }
    merge->result.written++;
    merge->result.bytes_written += merge->object.len;
    return HF_ERR_OK;
}

static enum hf_err make_slicer(const struct merge *merge, const struct run *run,
                               struct hf_slicer **out, struct hf_error *err)
{
    const struct hf_slice_header *first = &run->first;
    struct hf_slicer_options options = {
        .keyring = merge->options->keyring,
        .round = link_at(merge, run->links[0])->name.round + 1,
        .set_name = first->set_name,
        .member = first->member,
        .fcv = first->fcv,
        .start = {.previous = first->previous,
                  .hash = first->hash_before,
                  .sequence = first->sequence,
                  .cause = first->cause,
                  .broken_after = first->broken_after},
        .target_bytes = HF_SLICER_TARGET_MAX_BYTES,
    };
    hf_random_bytes(options.writer.bytes, sizeof options.writer.bytes);
    return hf_slicer_create(&options, out, err);
}

static enum hf_err delete_run(struct merge *merge, const struct run *run, struct hf_error *err)
{
    struct hf_optime in_use;
    if (ask_in_use(merge, &in_use, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < run->count; i++) {
        const struct hf_slice_link *link = link_at(merge, run->links[i]);
        if (is_free(link, &in_use) && delete_slice(merge, link, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err merge_run(struct merge *merge, const struct run *run, struct hf_error *err)
{
    HF_CLEANUP(hf_slicer_destroy) struct hf_slicer *slicer = NULL;
    struct hf_object_name name;
    bool fits = false;
    if (make_slicer(merge, run, &slicer, err) != HF_ERR_OK ||
        copy_entries(merge, run, slicer, &fits, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!fits) {
        return HF_ERR_OK; /* they stay as they are */
    }
    if (hf_slicer_close(slicer, &name, &merge->object, err) != HF_ERR_OK) {
        return hf_wrap(err, "merge oplog slices");
    }
    const struct hf_chain_point point = hf_slicer_point(slicer);
    if (compare(merge, run, &name, &point, err) != HF_ERR_OK ||
        put_merged(merge, &name, err) != HF_ERR_OK) {
        return err->code;
    }
    return delete_run(merge, run, err);
}

/* ---- Gathering ---- */

static uint64_t target_of(const struct merge *merge)
{
    return merge->options->target_bytes == 0 ? HF_MERGE_TARGET_BYTES : merge->options->target_bytes;
}

static size_t least_of(const struct merge *merge)
{
    size_t least = merge->options->least == 0 ? HF_MERGE_LEAST : merge->options->least;
    return least < 2 ? 2 : least;
}

static bool is_whole(const struct merge *merge, const struct hf_chain_segment *segment)
{
    const struct hf_slice_link *link = link_at(merge, segment->link);
    return hf_optime_equal(&segment->after, &link->previous) &&
           hf_optime_equal(&segment->to, &link->name.last_optime);
}

/* A slice that may be merged at all. */
static bool may_merge(const struct merge *merge, const struct hf_chain *chain, size_t segment,
                      const struct hf_optime *in_use)
{
    const struct hf_slice_link *link = link_at(merge, chain->segments[segment].link);
    bool newest = chain->end == HF_CHAIN_OPEN && segment + 1 == chain->segment_count;
    return !newest && link->problem == NULL && is_whole(merge, &chain->segments[segment]) &&
           is_free(link, in_use) && link->name.last_optime.seconds < merge->options->before_s &&
           link->object_bytes < target_of(merge) && link->name.round < UINT16_MAX;
}

/* Terms of the slice that the run does not end with. */
static uint32_t new_terms(const struct merge *merge, const struct run *run,
                          const struct hf_slice_header *header)
{
    bool same =
        run->count > 0 && header->term_count > 0 &&
        header->terms[0].term == link_at(merge, run->links[run->count - 1])->name.last_optime.term;
    return header->term_count - (same ? 1 : 0);
}

/* By what the list and the headers say; what only the entries show is seen when they are copied. */
static bool has_room(const struct merge *merge, const struct run *run,
                     const struct hf_slice_link *link, const struct hf_slice_header *header)
{
    const struct hf_slice_link *first = link_at(merge, run->links[0]);
    return run->object_bytes + link->object_bytes <= target_of(merge) &&
           run->plain_bytes + link->plain_bytes <= HF_SLICE_PLAIN_MAX_BYTES &&
           run->terms + new_terms(merge, run, header) <= HF_SLICE_TERMS_MAX &&
           link->name.last_optime.seconds / 60 - first->name.first_optime.seconds / 60 <
               HF_SLICE_MINUTES_MAX;
}

static bool goes_with(const struct merge *merge, const struct run *run,
                      const struct hf_slice_link *link, const struct hf_slice_header *header)
{
    const struct hf_slice_link *last = link_at(merge, run->links[run->count - 1]);
    return link->name.round == last->name.round && link->cause == HF_CHAIN_NONE &&
           hf_optime_equal(&link->previous, &last->name.last_optime) &&
           hf_hash_equal(&link->hash_before, &last->hash_after) &&
           strcmp(header->set_name, run->first.set_name) == 0 &&
           strcmp(header->member, run->first.member) == 0 &&
           strcmp(header->fcv, run->first.fcv) == 0;
}

static void run_add(const struct merge *merge, struct run *run, size_t i,
                    struct hf_slice_header *header)
{
    const struct hf_slice_link *link = link_at(merge, i);
    run->terms += new_terms(merge, run, header);
    run->links[run->count++] = i;
    run->object_bytes += link->object_bytes;
    run->plain_bytes += link->plain_bytes;
    if (run->count == 1) {
        run->first = *header; /* taken over */
        *header = (struct hf_slice_header){.blocks = NULL};
    }
}

/* full: nothing more can come to it, so a few are enough. */
static enum hf_err end_run(struct merge *merge, struct run *run, bool full, struct hf_error *err)
{
    size_t least = full ? (least_of(merge) + 3) / 4 : least_of(merge);
    enum hf_err code = HF_ERR_OK;
    if (run->count >= (least < 2 ? 2 : least)) {
        code = merge_run(merge, run, err);
        code = code == HF_ERR_OK ? code : note_damage(merge, err);
    }
    run_clear(run);
    return code;
}

static bool is_enough(const struct merge *merge)
{
    return merge->options->runs_max != 0 && merge->result.written >= merge->options->runs_max;
}

static enum hf_err merge_chain(struct merge *merge, const struct hf_chain *chain,
                               struct hf_error *err)
{
    HF_CLEANUP(run_fini) struct run run = {.links = NULL};
    struct hf_optime in_use;
    run.links = hf_alloc_array(chain->segment_count + 1, sizeof *run.links);
    if (run.links == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "merge oplog slices");
    }
    if (ask_in_use(merge, &in_use, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < chain->segment_count && !is_enough(merge); i++) {
        HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
        size_t at = chain->segments[i].link;
        const struct hf_slice_link *link = link_at(merge, at);
        if (!may_merge(merge, chain, i, &in_use)) {
            if (end_run(merge, &run, false, err) != HF_ERR_OK) {
                return err->code;
            }
            continue;
        }
        if (hf_cancel_check(merge->options->cancel, err) != HF_ERR_OK ||
            hf_slice_fetch_header(merge->options->store, &link->name, merge->options->keyring,
                                  &header, err) != HF_ERR_OK) {
            return err->code;
        }
        if (run.count > 0) {
            bool with = goes_with(merge, &run, link, &header);
            if ((!with || !has_room(merge, &run, link, &header)) &&
                end_run(merge, &run, with, err) != HF_ERR_OK) {
                return err->code;
            }
        }
        run_add(merge, &run, at, &header);
    }
    return is_enough(merge) ? HF_ERR_OK : end_run(merge, &run, false, err);
}

enum hf_err hf_merge_slices(const struct hf_merge_options *options, const struct hf_chains *chains,
                            struct hf_merge_result *out, struct hf_error *err)
{
    HF_CLEANUP(merge_fini)
    struct merge merge = {.options = options, .chains = chains};
    bool left = false;
    hf_buf_init(&merge.object, HF_SLICE_OBJECT_MAX_BYTES);
    enum hf_err code = hf_slice_reader_create(options->store, options->keyring, &merge.reader, err);
    if (code == HF_ERR_OK) {
        code = delete_leftovers(&merge, &left, err);
    }
    for (size_t i = 0; code == HF_ERR_OK && !left && i < chains->count && !is_enough(&merge); i++) {
        code = merge_chain(&merge, &chains->items[i], err);
    }
    if (code == HF_ERR_OK && merge.damaged) {
        *err = merge.damage;
        code = err->code;
    }
    *out = merge.result;
    return code;
}
