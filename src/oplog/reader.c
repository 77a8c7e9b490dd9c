/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a chain's segments. Each slice proves its own entries; that the slices belong together was proved by the chain.
 * Between them only the order is looked at again, and that what is read is what was listed.
 */
#include "oplog/reader.h"

#include "base/alloc.h"

struct hf_chain_reader {
    const struct hf_chains *chains; /* borrowed: outlives us */
    const struct hf_chain *chain;   /* borrowed: outlives us */
    struct hf_slice_reader *reader; /* borrowed: outlives us */
    struct hf_optime last, to;      /* handed out last; where it ends */
    size_t segment;
    bool is_open; /* the segment's slice */
};

static enum hf_err check_reach(const struct hf_chain_reader_options *options,
                               struct hf_chain_reader *reader, struct hf_error *err)
{
    const struct hf_chain *chain = reader->chain;
    struct hf_hash hash;
    bool found = false;
    if (hf_optime_is_none(&options->after)) {
        found = true;
    } else if (hf_chain_hash_at(reader->chains, chain, reader->reader, &options->after, &found,
                                &hash, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!found) {
        return hf_fail(err, HF_ERR_INVALID, "the chain of %s to %s does not have the entry %s",
                       hf_optime_text(&chain->first).text, hf_optime_text(&chain->last).text,
                       hf_optime_text(&options->after).text);
    }
    if (hf_optime_compare_ts(&reader->to, &chain->last) > 0 ||
        hf_optime_compare_ts(&reader->to, &reader->last) < 0) {
        return hf_fail(err, HF_ERR_INVALID, "the chain of %s to %s does not reach from %s to %s",
                       hf_optime_text(&chain->first).text, hf_optime_text(&chain->last).text,
                       hf_optime_text(&reader->last).text, hf_optime_text(&reader->to).text);
    }
    return HF_ERR_OK;
}

enum hf_err hf_chain_reader_open(const struct hf_chain_reader_options *options,
                                 struct hf_chain_reader **out, struct hf_error *err)
{
    HF_ASSERT(options->chain < options->chains->count);
    HF_CLEANUP(hf_chain_reader_close)
    struct hf_chain_reader *reader = hf_alloc_zero(sizeof *reader);
    if (reader == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "read a chain of oplog slices");
    }
    reader->chains = options->chains;
    reader->chain = &options->chains->items[options->chain];
    reader->reader = options->reader;
    reader->last = hf_optime_is_none(&options->after) ? reader->chain->after : options->after;
    reader->to = hf_optime_is_none(&options->to) ? reader->chain->last : options->to;
    if (check_reach(options, reader, err) != HF_ERR_OK) {
        return err->code;
    }
    /* The first segment that has anything later. */
    while (reader->segment < reader->chain->segment_count &&
           hf_optime_compare_ts(&reader->chain->segments[reader->segment].to, &reader->last) <= 0) {
        reader->segment++;
    }
    *out = HF_TAKE(reader);
    return HF_ERR_OK;
}

void hf_chain_reader_close(struct hf_chain_reader *reader)
{
    hf_free(reader);
}

static enum hf_err open_segment(struct hf_chain_reader *reader, struct hf_error *err)
{
    const struct hf_chain_segment *segment = &reader->chain->segments[reader->segment];
    const struct hf_slice_link *link = &reader->chains->links[segment->link];
    if (hf_slice_reader_open(reader->reader, &link->name, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_slice_header *header = hf_slice_reader_header(reader->reader);
    if (!hf_hash_equal(&header->hash_before, &link->hash_before) ||
        !hf_hash_equal(&header->hash_after, &link->hash_after)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: it is not the slice that was listed",
                       hf_object_name_text(&link->name).text);
    }
    if (hf_slice_reader_seek(reader->reader, &reader->last, err) != HF_ERR_OK) {
        return err->code;
    }
    reader->is_open = true;
    return HF_ERR_OK;
}

enum hf_err hf_chain_reader_next(struct hf_chain_reader *reader, struct hf_oplog_entry *out,
                                 bool *more, struct hf_error *err)
{
    *more = false;
    while (reader->segment < reader->chain->segment_count &&
           hf_optime_compare_ts(&reader->last, &reader->to) < 0) {
        const struct hf_chain_segment *segment = &reader->chain->segments[reader->segment];
        bool found = false;
        if (!reader->is_open && open_segment(reader, err) != HF_ERR_OK) {
            return err->code;
        }
        if (hf_slice_reader_next(reader->reader, out, &found, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!found || hf_optime_compare_ts(&out->optime, &segment->to) > 0) {
            reader->segment++;
            reader->is_open = false;
            continue;
        }
        if (hf_optime_compare_ts(&out->optime, &reader->to) > 0) {
            break;
        }
        if (!hf_optime_is_none(&reader->last) && out->optime.term < reader->last.term) {
            return hf_fail(err, HF_ERR_CORRUPT, "chain of oplog slices: entry %s behind %s",
                           hf_optime_text(&out->optime).text, hf_optime_text(&reader->last).text);
        }
        reader->last = out->optime;
        *more = true;
        return HF_ERR_OK;
    }
    reader->segment = reader->chain->segment_count; /* it stays at its end */
    return HF_ERR_OK;
}
