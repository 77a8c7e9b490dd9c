/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the segments of all chains. A slice is opened for its index first: where that says that nothing concerns the
 * namespace, its blocks are not read.
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

static enum hf_err may_concern(const struct hf_oplog_filter *filter, bool *may,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};

    *may = true;
    if (filter->ns == NULL) {
        return HF_ERR_OK;
    }
    if (hf_slice_reader_index(filter->reader, &index, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t row = hf_slice_row_bytes(index.namespace_count);
    for (uint32_t block = 0; block < index.block_count; block++) {
        if (index.touched[block * row] & 1) { /* others: nobody knows which */
            return HF_ERR_OK;
        }
    }
    for (uint32_t i = 0; i < index.namespace_count; i++) {
        if (is_within(index.namespaces[i], filter->ns)) {
            return HF_ERR_OK;
        }
    }
    *may = false;
    return HF_ERR_OK;
}

static bool is_behind(const struct hf_optime *optime, const struct hf_optime *bound)
{
    return !hf_optime_is_none(bound) && hf_optime_compare_ts(optime, bound) > 0;
}

static enum hf_err look_into(struct finding *finding, const struct hf_chain_segment *segment,
                             struct hf_error *err)
{
    const struct hf_oplog_filter *filter = finding->filter;
    struct hf_optime after = segment->after;
    bool more = true;

    if (hf_slice_reader_open(filter->reader, &filter->chains->links[segment->link].name, err) !=
            HF_ERR_OK ||
        may_concern(filter, &more, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!more) {
        return HF_ERR_OK;
    }
    if (hf_optime_compare_ts(&filter->after, &after) > 0) { /* none is before all */
        after = filter->after;
    }
    if (hf_slice_reader_seek(filter->reader, &after, err) != HF_ERR_OK) {
        return err->code;
    }
    while (finding->more) {
        struct hf_oplog_entry entry;
        if (filter->cancel != NULL && hf_cancel_requested(filter->cancel)) {
            return hf_fail(err, HF_ERR_CANCELLED, "cancelled");
        }
        if (hf_slice_reader_next(filter->reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!more || is_behind(&entry.optime, &segment->to) ||
            is_behind(&entry.optime, &filter->to)) {
            return HF_ERR_OK;
        }
        if (look_at(finding, &entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_oplog_find(const struct hf_oplog_filter *filter, hf_oplog_find_sink sink,
                          void *context, struct hf_error *err)
{
    struct finding finding = {.filter = filter, .sink = sink, .context = context, .more = true};

    for (size_t c = 0; c < filter->chains->count; c++) {
        const struct hf_chain *chain = &filter->chains->items[c];
        for (size_t i = 0; i < chain->segment_count && finding.more; i++) {
            const struct hf_chain_segment *segment = &chain->segments[i];
            /* Its last entry is not behind `after`, or its first is behind `to`. */
            if ((!hf_optime_is_none(&filter->after) &&
                 hf_optime_compare_ts(&segment->to, &filter->after) <= 0) ||
                (!hf_optime_is_none(&filter->to) &&
                 hf_optime_compare_ts(&segment->after, &filter->to) >= 0)) {
                continue;
            }
            if (look_into(&finding, segment, err) != HF_ERR_OK) {
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
