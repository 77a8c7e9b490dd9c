/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the segments of all chains. Where a namespace is asked for, the index of a slice decides which blocks are read; the
 * entries decide what is found.
 */
#include "oplog/find.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"

static const char *const kind_words[HF_OPLOG_KIND_MAX + 1] = {
    [0] = "",
    [HF_OPLOG_INSERT] = "insert",
    [HF_OPLOG_UPDATE] = "update",
    [HF_OPLOG_DELETE] = "delete",
    [HF_OPLOG_COMMAND] = "command",
    [HF_OPLOG_NOOP] = "noop",
    [HF_OPLOG_OTHER] = "other",
};

const char *hf_oplog_kind_word(enum hf_oplog_kind kind)
{
    return kind_words[kind];
}

bool hf_oplog_kind_parse(const char *word, enum hf_oplog_kind *out)
{
    for (unsigned i = 1; i <= HF_OPLOG_KIND_MAX; i++) {
        if (strcmp(kind_words[i], word) == 0) {
            *out = (enum hf_oplog_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- One operation ---- */

static void hex_text(struct hf_bytes bytes, char *out, size_t out_len)
{
    size_t used = 0;

    for (size_t i = 0; i < bytes.len && used + 3 <= out_len; i++) {
        used += (size_t)snprintf(out + used, out_len - used, "%02x", bytes.data[i]);
    }
}

static double real_of(struct hf_bytes bytes)
{
    uint64_t raw = hf_load_le64(bytes.data);
    double value;

    memcpy(&value, &raw, sizeof value);
    return value;
}

/* Numbers, texts, object ids and UUIDs; whole numbers look the same in all their types. */
static void id_text(const struct hf_bson_element *id, char out[HF_OPLOG_ID_TEXT_BYTES])
{
    struct hf_bytes value = id->value;

    out[0] = '\0';
    if (id->key.data == NULL) {
        return;
    }
    if (id->type == HF_BSON_INT32 && value.len == 4) {
        (void)snprintf(out, HF_OPLOG_ID_TEXT_BYTES, "%" PRId32, (int32_t)hf_load_le32(value.data));
    } else if (id->type == HF_BSON_INT64 && value.len == 8) {
        (void)snprintf(out, HF_OPLOG_ID_TEXT_BYTES, "%" PRId64, (int64_t)hf_load_le64(value.data));
    } else if (id->type == HF_BSON_DOUBLE && value.len == 8) {
        (void)snprintf(out, HF_OPLOG_ID_TEXT_BYTES, "%.17g", real_of(value));
    } else if (id->type == HF_BSON_STRING && value.len > 5) {
        (void)snprintf(out, HF_OPLOG_ID_TEXT_BYTES, "%.*s", (int)(value.len - 5),
                       (const char *)value.data + 4);
    } else if (id->type == HF_BSON_OBJECT_ID && value.len == 12) {
        hex_text(value, out, HF_OPLOG_ID_TEXT_BYTES);
    } else if (id->type == HF_BSON_BINARY && value.len == 21) {
        hex_text(hf_bytes_of(value.data + 5, 16), out, HF_OPLOG_ID_TEXT_BYTES);
    }
}

/* "shop" has "shop.orders" in it, and itself. */
static bool is_within(struct hf_str ns, const char *wanted)
{
    size_t len = strlen(wanted);

    if (ns.len < len || memcmp(ns.data, wanted, len) != 0) {
        return false;
    }
    return ns.len == len || (strchr(wanted, '.') == NULL && ns.data[len] == '.');
}

struct finding {
    const struct hf_oplog_filter *filter;
    hf_oplog_find_sink sink;
    void *context;
    bool more;
};

static bool wants_kind(const struct hf_oplog_filter *filter, enum hf_oplog_kind kind)
{
    unsigned kinds = filter->kinds == 0 ? ~(1u << HF_OPLOG_NOOP) : filter->kinds;
    return (kinds & 1u << kind) != 0;
}

static enum hf_err hand_over(struct finding *finding, const struct hf_oplog_entry *entry,
                             struct hf_error *err)
{
    const struct hf_oplog_filter *filter = finding->filter;
    struct hf_oplog_found found = {.optime = entry->optime,
                                   .wall_ms = entry->wall_ms,
                                   .kind = entry->kind,
                                   .command = entry->command,
                                   .in_transaction = entry->depth > 0};

    if (!wants_kind(filter, entry->kind)) {
        return HF_ERR_OK;
    }
    id_text(&entry->id, found.id);
    if (filter->id != NULL && strcmp(filter->id, found.id) != 0) {
        return HF_ERR_OK;
    }
    for (unsigned i = 0; i < hf_oplog_space_count(entry) && finding->more; i++) {
        char room[HF_OPLOG_SPACE_BYTES];
        bool named = hf_oplog_space(entry, i, room, &found.ns);
        if (!named) {
            found.ns = (struct hf_str){"", 0};
        }
        if ((filter->ns == NULL || (named && is_within(found.ns, filter->ns))) &&
            finding->sink(finding->context, &found, &finding->more, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* The entry, or what is inside it. */
static enum hf_err look_at(struct finding *finding, const struct hf_oplog_entry *entry,
                           struct hf_error *err)
{
    struct hf_oplog_inner inner;
    struct hf_oplog_entry one;
    bool more = true;

    if (entry->apply_ops.len == 0) {
        return hand_over(finding, entry, err);
    }
    hf_oplog_inner_begin(entry, &inner);
    for (;;) {
        if (hf_oplog_inner_next(&inner, &one, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!more || !finding->more) {
            return HF_ERR_OK;
        }
        if (hand_over(finding, &one, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

/* ---- Slices ---- */

static bool is_later(const struct hf_optime *a, const struct hf_optime *b)
{
    return hf_optime_compare_ts(a, b) > 0;
}

/* False only when the block certainly has nothing on the namespace, or on any of the database. */
static bool may_concern(const struct hf_slice_index *index, uint32_t block, const char *ns)
{
    if (strchr(ns, '.') != NULL) {
        return hf_slice_index_may_have(index, block, hf_str_of(ns));
    }
    if (index->touched[block * hf_slice_row_bytes(index->namespace_count)] & 1) { /* others */
        return true;
    }
    for (uint32_t i = 0; i < index->namespace_count; i++) {
        if (is_within(index->namespaces[i], ns) &&
            hf_slice_index_may_have(index, block, index->namespaces[i])) {
            return true;
        }
    }
    return false;
}

/* Entries of the open slice that are greater than `after`, up to and with `to`. */
static enum hf_err read_span(struct finding *finding, const struct hf_optime *after,
                             const struct hf_optime *to, struct hf_error *err)
{
    struct hf_slice_reader *reader = finding->filter->reader;
    struct hf_oplog_entry entry = {.optime = *after};
    bool more = true;

    if (hf_slice_reader_seek(reader, after, err) != HF_ERR_OK) {
        return err->code;
    }
    while (finding->more && is_later(to, &entry.optime)) { /* what lies behind is not even loaded */
        if (hf_cancel_check(finding->filter->cancel, err) != HF_ERR_OK ||
            hf_slice_reader_next(reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!more || is_later(&entry.optime, to)) {
            return HF_ERR_OK;
        }
        if (look_at(finding, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* The open slice, by runs of blocks that the index does not rule out. */
static enum hf_err look_into(struct finding *finding, const struct hf_optime *after,
                             const struct hf_optime *to, struct hf_error *err)
{
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    struct hf_slice_reader *reader = finding->filter->reader;
    const struct hf_slice_header *header = hf_slice_reader_header(reader);
    const char *ns = finding->filter->ns;
    uint32_t block = 0;

    if (ns == NULL) {
        return read_span(finding, after, to, err);
    }
    if (hf_slice_reader_index(reader, &index, err) != HF_ERR_OK) {
        return err->code;
    }
    while (block < header->block_count && finding->more) {
        const struct hf_optime *from = block == 0 ? after : &header->blocks[block - 1].last;
        uint32_t end = block;
        while (end < header->block_count && may_concern(&index, end, ns)) {
            end++;
        }
        if (end > block) {
            const struct hf_optime *last = &header->blocks[end - 1].last;
            from = is_later(after, from) ? after : from;
            last = is_later(last, to) ? to : last;
            if (is_later(last, from) && read_span(finding, from, last, err) != HF_ERR_OK) {
                return err->code;
            }
        }
        block = end + 1;
    }
    return HF_ERR_OK;
}

static enum hf_err look_through(struct finding *finding, const struct hf_chain_segment *segment,
                                struct hf_error *err)
{
    const struct hf_oplog_filter *filter = finding->filter;
    const struct hf_optime *after = &segment->after;
    const struct hf_optime *to = &segment->to;

    if (is_later(&filter->after, after)) { /* none is before all */
        after = &filter->after;
    }
    if (!hf_optime_is_none(&filter->to) && is_later(to, &filter->to)) {
        to = &filter->to;
    }
    if (!is_later(to, after)) {
        return HF_ERR_OK;
    }
    return hf_slice_reader_open(filter->reader, &filter->chains->links[segment->link].name, err) ==
                   HF_ERR_OK
               ? look_into(finding, after, to, err)
               : err->code;
}

enum hf_err hf_oplog_find(const struct hf_oplog_filter *filter, hf_oplog_find_sink sink,
                          void *context, struct hf_error *err)
{
    struct finding finding = {.filter = filter, .sink = sink, .context = context, .more = true};

    for (size_t c = 0; c < filter->chains->count; c++) {
        const struct hf_chain *chain = &filter->chains->items[c];
        for (size_t i = 0; i < chain->segment_count && finding.more; i++) {
            enum hf_err code = look_through(&finding, &chain->segments[i], err);
            if (hf_chain_gone(code, err) != HF_ERR_OK) {
                return hf_wrap(err, "search the oplog");
            }
        }
    }
    return HF_ERR_OK;
}

/* ---- Counts ---- */

void hf_oplog_counts_fini(struct hf_oplog_counts *counts)
{
    for (size_t i = 0; i < counts->count; i++) {
        hf_free(counts->items[i].ns);
    }
    hf_free(counts->items);
    *counts = (struct hf_oplog_counts){.items = NULL};
}

struct counting {
    struct hf_oplog_counts *counts;
    bool by_minute;
};

static int compare(const struct hf_oplog_count *item, uint32_t minute, struct hf_str ns)
{
    if (item->minute != minute) {
        return item->minute < minute ? -1 : 1;
    }
    size_t len = strlen(item->ns);
    int order = memcmp(item->ns, ns.data, len < ns.len ? len : ns.len);
    return order != 0 ? order : len < ns.len ? -1 : len > ns.len;
}

static enum hf_err insert_count(struct hf_oplog_counts *counts, size_t at, uint32_t minute,
                                struct hf_str ns, struct hf_error *err)
{
    if (counts->count == HF_OPLOG_COUNTED_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %zu lines; hint: a shorter time, or --ns",
                       HF_OPLOG_COUNTED_MAX);
    }
    if (counts->count == counts->capacity) {
        size_t capacity = counts->capacity == 0 ? 64 : counts->capacity * 2;
        struct hf_oplog_count *grown = hf_realloc_array(counts->items, capacity, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "count operations");
        }
        counts->items = grown;
        counts->capacity = capacity;
    }
    char *name = hf_strndup(ns.data, ns.len);
    if (name == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "count operations");
    }
    memmove(&counts->items[at + 1], &counts->items[at],
            (counts->count - at) * sizeof *counts->items);
    counts->items[at] = (struct hf_oplog_count){.minute = minute, .ns = name};
    counts->count++;
    return HF_ERR_OK;
}

static enum hf_err add_one(void *context, const struct hf_oplog_found *found, bool *more,
                           struct hf_error *err)
{
    struct counting *counting = context;
    struct hf_oplog_counts *counts = counting->counts;
    uint32_t minute = counting->by_minute ? found->optime.seconds / 60 : 0;
    size_t low = 0, high = counts->count;

    (void)more;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&counts->items[middle], minute, found->ns) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if ((low == counts->count || compare(&counts->items[low], minute, found->ns) != 0) &&
        insert_count(counts, low, minute, found->ns, err) != HF_ERR_OK) {
        return err->code;
    }
    counts->items[low].kinds[found->kind]++;
    return HF_ERR_OK;
}

enum hf_err hf_oplog_count(const struct hf_oplog_filter *filter, bool by_minute,
                           struct hf_oplog_counts *out, struct hf_error *err)
{
    HF_CLEANUP(hf_oplog_counts_fini) struct hf_oplog_counts counts = {.items = NULL};
    struct counting counting = {.counts = &counts, .by_minute = by_minute};

    if (hf_oplog_find(filter, add_one, &counting, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = counts;
    counts = (struct hf_oplog_counts){.items = NULL};
    return HF_ERR_OK;
}
