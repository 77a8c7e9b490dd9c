/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks chains segment by segment and block by block. The index of a slice decides which blocks are read; the entries
 * decide what is found.
 */
#include "oplog/search.h"

static bool is_about(const struct hf_oplog_entry *operation, const char *space)
{
    unsigned count = hf_oplog_space_count(operation);

    for (unsigned i = 0; i < count; i++) {
        char room[HF_OPLOG_SPACE_BYTES];
        struct hf_str name;
        if (hf_oplog_space(operation, i, room, &name) && hf_str_equal_c(name, space)) {
            return true;
        }
    }
    return false;
}

static enum hf_err offer(struct hf_oplog_search *search, const struct hf_oplog_entry *operation,
                         struct hf_error *err)
{
    return search->space == NULL || is_about(operation, search->space)
               ? search->found(search->context, operation, err)
               : HF_ERR_OK;
}

static enum hf_err offer_entry(struct hf_oplog_search *search, const struct hf_oplog_entry *entry,
                               struct hf_error *err)
{
    struct hf_oplog_inner inner;
    bool more = true;

    if (entry->apply_ops.len == 0) {
        return offer(search, entry, err);
    }
    hf_oplog_inner_begin(entry, &inner);
    while (more) {
        struct hf_oplog_entry operation;
        if (hf_oplog_inner_next(&inner, &operation, &more, err) != HF_ERR_OK ||
            (more && offer(search, &operation, err) != HF_ERR_OK)) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static bool is_later(const struct hf_optime *a, const struct hf_optime *b)
{
    return hf_optime_compare_ts(a, b) > 0;
}

/* Entries that are greater than `after`, up to `to`, of the open slice. */
static enum hf_err read_span(struct hf_oplog_search *search, const struct hf_optime *after,
                             const struct hf_optime *to, struct hf_error *err)
{
    if (hf_slice_reader_seek(search->reader, after, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        struct hf_oplog_entry entry;
        bool more = false;
        if (hf_cancel_check(search->cancel, err) != HF_ERR_OK ||
            hf_slice_reader_next(search->reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!more || is_later(&entry.optime, to)) {
            return HF_ERR_OK;
        }
        if (offer_entry(search, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

/* Block by block: those that the index rules out are passed. */
static enum hf_err search_blocks(struct hf_oplog_search *search, const struct hf_optime *after,
                                 const struct hf_optime *to, struct hf_error *err)
{
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespace_count = 0};
    const struct hf_slice_header *header = hf_slice_reader_header(search->reader);
    struct hf_optime before = header->previous;

    if (search->space != NULL && hf_slice_reader_index(search->reader, &index, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint32_t i = 0; i < header->block_count; i++) {
        const struct hf_optime *end = &header->blocks[i].last;
        const struct hf_optime *from = is_later(after, &before) ? after : &before;
        const struct hf_optime *until = is_later(end, to) ? to : end;
        bool wanted =
            is_later(until, from) &&
            (search->space == NULL || hf_slice_index_may_have(&index, i, hf_str_of(search->space)));
        search->blocks_read += wanted;
        search->blocks_passed += !wanted;
        if (wanted && read_span(search, from, until, err) != HF_ERR_OK) {
            return err->code;
        }
        before = *end;
    }
    return HF_ERR_OK;
}

static enum hf_err search_chain(struct hf_oplog_search *search, const struct hf_chain *chain,
                                struct hf_error *err)
{
    for (size_t i = 0; i < chain->segment_count; i++) {
        const struct hf_chain_segment *segment = &chain->segments[i];
        const struct hf_optime *after =
            is_later(&search->after, &segment->after) ? &search->after : &segment->after;
        const struct hf_optime *to =
            !hf_optime_is_none(&search->to) && is_later(&segment->to, &search->to) ? &search->to
                                                                                   : &segment->to;
        if (is_later(to, after) &&
            (hf_slice_reader_open(search->reader, &search->chains->links[segment->link].name,
                                  err) != HF_ERR_OK ||
             search_blocks(search, after, to, err) != HF_ERR_OK)) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_oplog_search_run(struct hf_oplog_search *search, struct hf_error *err)
{
    search->blocks_read = search->blocks_passed = 0;
    for (size_t i = 0; i < search->chains->count; i++) {
        if (search_chain(search, &search->chains->items[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}
