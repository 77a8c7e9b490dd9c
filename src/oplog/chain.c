/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists a job's slices, reads their headers, answers where an entry is, checks a chain.
 *
 * A slice that is listed and then gone was merged or pruned meanwhile: the list is made anew (keeps I10).
 */
#include "oplog/chain_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"

#define PAGE_NAMES 1000
#define LISTS_MAX 5

const char *hf_chain_edge_word(enum hf_chain_edge edge)
{
    static const char *const words[] = {"open",    "cause",    "missing",
                                        "damaged", "diverged", "pruned"};
    return words[edge];
}

enum hf_err hf_chain_gone(enum hf_err code, struct hf_error *err)
{
    if (code != HF_ERR_NOT_FOUND) {
        return code;
    }
    const struct hf_error gone = *err;
    return hf_fail(err, HF_ERR_UNAVAILABLE,
                   "%.*s: it went while it was being read; hint: it was merged or is no longer "
                   "kept: ask again",
                   HF_CHAIN_TEXT_BYTES, gone.message);
}

bool hf_chain_is_damage(enum hf_err code)
{
    return code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED || code == HF_ERR_DENIED ||
           code == HF_ERR_LIMIT;
}

enum hf_err hf_chain_mark(struct hf_slice_link *link, const char *problem, struct hf_error *err)
{
    if (link->problem == NULL && (link->problem = hf_strdup(problem)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list oplog slices");
    }
    return HF_ERR_OK;
}

static void links_fini(struct hf_chains *chains)
{
    for (size_t i = 0; i < chains->link_count; i++) {
        hf_free(chains->links[i].problem);
    }
    hf_free(chains->links);
    chains->links = NULL;
    chains->link_count = 0;
}

void hf_chains_fini(struct hf_chains *chains)
{
    hf_chain_items_fini(chains);
    links_fini(chains);
}

/* ---- Listing ---- */

static bool is_between(const struct hf_chains_options *options, const struct hf_object_name *name)
{
    return (hf_optime_is_none(&options->from) ||
            hf_optime_compare_ts(&name->last_optime, &options->from) >= 0) &&
           (hf_optime_is_none(&options->to) ||
            hf_optime_compare_ts(&name->first_optime, &options->to) <= 0);
}

static enum hf_err add_page(const struct hf_chains_options *options, struct hf_chains *chains,
                            const struct hf_store_list *page, struct hf_error *err)
{
    const struct hf_id *job = &options->keyring->job;
    if (chains->link_count + page->count > HF_CHAIN_SLICES_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "job %s: more than %zu oplog slices",
                       hf_id_text(job).text, HF_CHAIN_SLICES_MAX);
    }
    struct hf_slice_link *grown =
        hf_realloc_array(chains->links, chains->link_count + page->count + 1, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list oplog slices");
    }
    chains->links = grown;
    for (size_t i = 0; i < page->count; i++) {
        struct hf_slice_link link = {.object_bytes = page->entries[i].size_bytes};
        struct hf_error ignored;
        /* A name that is none of ours is nobody's slice. */
        if (hf_object_name_parse(hf_str_of(page->entries[i].name), &link.name, &ignored) ==
                HF_ERR_OK &&
            link.name.kind == HF_OBJECT_OPLOG && is_between(options, &link.name)) {
            chains->links[chains->link_count++] = link;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err list_links(const struct hf_chains_options *options, struct hf_chains *chains,
                              struct hf_error *err)
{
    const struct hf_id *job = &options->keyring->job;
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_OPLOG, job);
    HF_CLEANUP(hf_free) char *after = hf_strdup("");
    bool more = true;
    while (more) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        if (after == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "list oplog slices");
        }
        if (hf_store_list(options->store, hf_str_of(prefix.text), hf_str_of(after), PAGE_NAMES,
                          &page, err) != HF_ERR_OK ||
            add_page(options, chains, &page, err) != HF_ERR_OK) {
            return hf_wrap(err, "list oplog slices");
        }
        more = page.more && page.count > 0;
        if (more) {
            hf_free(after);
            after = hf_strdup(page.entries[page.count - 1].name);
        }
    }
    return HF_ERR_OK;
}

static bool is_bad(const struct hf_chains_options *options, const struct hf_object_name *name)
{
    struct hf_object_text text = hf_object_name_text(name);
    for (size_t i = 0; i < options->bad_count; i++) {
        struct hf_object_text bad = hf_object_name_text(&options->bad[i]);
        if (strcmp(bad.text, text.text) == 0) {
            return true;
        }
    }
    return false;
}

static enum hf_err read_link(const struct hf_chains_options *options, struct hf_slice_link *link,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    if (is_bad(options, &link->name)) {
        char problem[HF_CHAIN_TEXT_BYTES];
        (void)snprintf(problem, sizeof problem, "%s: a check found it damaged",
                       hf_object_name_text(&link->name).text);
        return hf_chain_mark(link, problem, err);
    }
    const struct hf_slice_link *known =
        options->cache == NULL
            ? NULL
            : hf_chain_cache_find(options->cache, &link->name, link->object_bytes);
    if (known != NULL) {
        *link = *known;
        return HF_ERR_OK;
    }
    enum hf_err code =
        hf_slice_fetch_header(options->store, &link->name, options->keyring, &header, err);
    if (code != HF_ERR_OK) {
        return hf_chain_is_damage(code) ? hf_chain_mark(link, err->message, err) : code;
    }
    link->previous = header.previous;
    link->broken_after = header.broken_after;
    link->cause = header.cause;
    link->sequence = header.sequence;
    link->entry_count = header.entry_count;
    link->plain_bytes = header.plain_bytes;
    link->hash_before = header.hash_before;
    link->hash_after = header.hash_after;
    return HF_ERR_OK;
}

enum hf_err hf_chains_rebuild(struct hf_chains *chains, struct hf_slice_reader *reader,
                              struct hf_error *err)
{
    bool damaged = true;
    while (damaged) {
        hf_chain_items_fini(chains);
        if (hf_chain_build(chains, reader, &damaged, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_chains_condemn(struct hf_chains *chains, size_t link, const char *problem,
                              struct hf_slice_reader *reader, struct hf_error *err)
{
    HF_ASSERT(link < chains->link_count);
    return hf_chain_mark(&chains->links[link], problem, err) == HF_ERR_OK
               ? hf_chains_rebuild(chains, reader, err)
               : err->code;
}

/* One try: NOT_FOUND when a slice went while it was being looked at. */
static enum hf_err load_once(const struct hf_chains_options *options,
                             struct hf_slice_reader *reader, struct hf_chains *chains,
                             struct hf_error *err)
{
    if (list_links(options, chains, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NOT_FOUND ? hf_fail(err, HF_ERR_IO, "list oplog slices")
                                             : err->code;
    }
    for (size_t i = 0; i < chains->link_count; i++) {
        if (read_link(options, &chains->links[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_chains_rebuild(chains, reader, err);
}

enum hf_err hf_chains_load(const struct hf_chains_options *options, struct hf_chains *out,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_slice_reader_destroy) struct hf_slice_reader *reader = NULL;
    if (hf_slice_reader_create(options->store, options->keyring, &reader, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned list = 1;; list++) {
        HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
        enum hf_err code = load_once(options, reader, &chains, err);
        if (code == HF_ERR_OK) {
            *out = chains;
            chains = (struct hf_chains){.links = NULL};
            return HF_ERR_OK;
        }
        if (code != HF_ERR_NOT_FOUND || list == LISTS_MAX) {
            return code == HF_ERR_NOT_FOUND
                       ? hf_fail(err, HF_ERR_UNAVAILABLE,
                                 "oplog slices of job %s: they go while they are being read",
                                 hf_id_text(&options->keyring->job).text)
                       : code;
        }
    }
}

/* ---- Where an entry is ---- */

size_t hf_chain_find_segment(const struct hf_chain *chain, const struct hf_optime *optime)
{
    size_t low = 0;
    size_t high = chain->segment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (hf_optime_compare_ts(&chain->segments[middle].to, optime) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == chain->segment_count ||
        hf_optime_compare_ts(&chain->segments[low].after, optime) >= 0) {
        return chain->segment_count;
    }
    return low;
}

enum hf_err hf_chain_floor_in(struct hf_slice_reader *reader, const struct hf_slice_link *link,
                              const struct hf_optime *optime, struct hf_optime *found,
                              struct hf_hash *hash, struct hf_error *err)
{
    if (hf_slice_reader_open(reader, &link->name, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_slice_header *header = hf_slice_reader_header(reader);
    uint32_t block = 0;
    while (block < header->block_count &&
           (header->blocks[block].more ||
            hf_optime_compare_ts(&header->blocks[block].last, optime) <= 0)) {
        block++;
    }
    while (block > 0 && header->blocks[block - 1].more) {
        block--;
    }
    *found = block == 0 ? header->previous : header->blocks[block - 1].last;
    *hash = block == 0 ? header->hash_before : header->blocks[block - 1].hash;
    if (block == header->block_count || hf_optime_equal(found, optime)) {
        return HF_ERR_OK;
    }
    /* The block that has it, from its start; the one behind is not touched, since its last entry is later. */
    if (hf_slice_reader_seek(reader, found, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        struct hf_oplog_entry entry;
        bool more = false;
        if (hf_slice_reader_next(reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!more || hf_optime_compare_ts(&entry.optime, optime) > 0) {
            return HF_ERR_OK;
        }
        *found = entry.optime;
        hf_slice_reader_hash(reader, hash);
    }
}

static enum hf_err floor_and_hash(const struct hf_chains *chains, const struct hf_chain *chain,
                                  struct hf_slice_reader *reader, const struct hf_optime *optime,
                                  struct hf_optime *found, struct hf_hash *hash,
                                  struct hf_error *err)
{
    *found = (struct hf_optime){.term = -1};
    if (hf_optime_compare_ts(optime, &chain->last) >= 0) {
        *found = chain->last;
        *hash = chain->hash_last;
        return HF_ERR_OK;
    }
    size_t segment = hf_chain_find_segment(chain, optime);
    if (segment == chain->segment_count) {
        if (!hf_optime_is_none(&chain->after) && hf_optime_compare_ts(&chain->after, optime) <= 0) {
            *found = chain->after;
            *hash = chain->hash_after;
        }
        return HF_ERR_OK;
    }
    const struct hf_slice_link *link = &chains->links[chain->segments[segment].link];
    return hf_chain_floor_in(reader, link, optime, found, hash, err);
}

enum hf_err hf_chain_floor(const struct hf_chains *chains, const struct hf_chain *chain,
                           struct hf_slice_reader *reader, const struct hf_optime *optime,
                           struct hf_optime *found, struct hf_error *err)
{
    struct hf_hash hash;
    return floor_and_hash(chains, chain, reader, optime, found, &hash, err);
}

enum hf_err hf_chain_hash_at(const struct hf_chains *chains, const struct hf_chain *chain,
                             struct hf_slice_reader *reader, const struct hf_optime *optime,
                             bool *found, struct hf_hash *hash, struct hf_error *err)
{
    struct hf_optime at;
    *found = false;
    if (floor_and_hash(chains, chain, reader, optime, &at, hash, err) != HF_ERR_OK) {
        return err->code;
    }
    *found = !hf_optime_is_none(&at) && hf_optime_equal(&at, optime);
    return HF_ERR_OK;
}

struct hf_chain_point hf_chain_head(const struct hf_chains *chains, const struct hf_chain *chain)
{
    const struct hf_chain_segment *segment = &chain->segments[chain->segment_count - 1];
    const struct hf_slice_link *link = &chains->links[segment->link];
    HF_ASSERT(chain->end != HF_CHAIN_DIVERGED &&
              hf_optime_equal(&segment->to, &link->name.last_optime));
    return (struct hf_chain_point){.previous = chain->last,
                                   .hash = chain->hash_last,
                                   .sequence = link->sequence + link->entry_count};
}

/* ---- Check ---- */

void hf_chain_report_fini(struct hf_chain_report *report)
{
    hf_free(report->faults);
    report->faults = NULL;
    report->fault_count = 0;
}

static enum hf_err add_fault(struct hf_chain_report *report, size_t link, const char *text,
                             struct hf_error *err)
{
    struct hf_chain_fault *grown =
        hf_realloc_array(report->faults, report->fault_count + 1, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "check of a chain");
    }
    report->faults = grown;
    grown[report->fault_count].link = link;
    (void)snprintf(grown[report->fault_count].text, sizeof grown->text, "%.*s",
                   HF_CHAIN_TEXT_BYTES - 1, text);
    report->fault_count++;
    return HF_ERR_OK;
}

enum hf_err hf_chain_check_slice(const struct hf_slice_link *link, struct hf_slice_reader *reader,
                                 struct hf_chain_report *report, struct hf_error *err)
{
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    struct hf_oplog_entry entry;
    bool more = true;
    if (hf_slice_reader_open_anew(reader, &link->name, err) != HF_ERR_OK ||
        hf_slice_reader_index(reader, &index, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_slice_header *header = hf_slice_reader_header(reader);
    if (!hf_hash_equal(&header->hash_before, &link->hash_before) ||
        !hf_hash_equal(&header->hash_after, &link->hash_after)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: it is not the slice that was listed",
                       hf_object_name_text(&link->name).text);
    }
    while (more) {
        if (hf_slice_reader_next(reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        report->entries += more;
        report->bytes += more ? entry.bytes.len : 0;
    }
    report->slices++;
    return HF_ERR_OK;
}

enum hf_err hf_chain_check(const struct hf_chains *chains, const struct hf_chain *chain,
                           struct hf_slice_reader *reader, struct hf_chain_report *out,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_chain_report_fini) struct hf_chain_report report = {.faults = NULL};
    for (size_t i = 0; i < chain->segment_count; i++) {
        size_t link = chain->segments[i].link;
        enum hf_err code = hf_chain_check_slice(&chains->links[link], reader, &report, err);
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND && !hf_chain_is_damage(code)) {
            return hf_wrap(err, "check of a chain");
        }
        if (code != HF_ERR_OK && add_fault(&report, link, err->message, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    *out = report;
    report.faults = NULL;
    return HF_ERR_OK;
}
