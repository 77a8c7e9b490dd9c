/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was found and counted, as documents.
 */
#include "oplog/find.h"
#include "os/clock.h"

struct found_list {
    struct hf_json *results; /* borrowed */
    uint64_t most, count;
    bool cut;
};

static enum hf_err add_found(void *context, const struct hf_oplog_found *found, bool *more,
                             struct hf_error *err)
{
    struct found_list *list = context;

    (void)err;
    if (list->count == list->most) {
        list->cut = true;
        *more = false;
        return HF_ERR_OK;
    }
    struct hf_json *json = hf_json_object();
    hf_json_set_u64(json, "seconds", found->optime.seconds);
    hf_json_set_u64(json, "increment", found->optime.increment);
    hf_json_set_integer(json, "term", found->optime.term);
    hf_json_set_text(json, "kind", hf_oplog_kind_word(found->kind));
    hf_json_set_str(json, "ns", found->ns);
    if (found->command.len > 0) {
        hf_json_set_str(json, "command", found->command);
    }
    if (found->id[0] != '\0') {
        hf_json_set_text(json, "id", found->id);
    }
    if (found->in_transaction) {
        hf_json_set_bool(json, "inTransaction", true);
    }
    hf_json_append_take(list->results, json);
    list->count++;
    return HF_ERR_OK;
}

enum hf_err hf_oplog_find_to_json(const struct hf_oplog_filter *filter, uint64_t most,
                                  struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    struct found_list list = {.results = hf_json_array(), .most = most};

    hf_json_set_take(json, "results", list.results);
    if (hf_oplog_find(filter, add_found, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_u64(json, "totalCount", list.count);
    hf_json_set_bool(json, "more", list.cut);
    *out = HF_TAKE(json);
    return HF_ERR_OK;
}

static struct hf_json *count_document(const struct hf_oplog_count *one, bool by_minute)
{
    struct hf_json *json = hf_json_object();

    if (by_minute) {
        char date[HF_TIME_TEXT_BYTES];
        hf_time_format((uint64_t)one->minute * 60, date);
        hf_json_set_text(json, "minute", date);
    }
    hf_json_set_text(json, "ns", one->ns);
    for (unsigned kind = 1; kind <= HF_OPLOG_KIND_MAX; kind++) {
        if (one->kinds[kind] > 0) {
            hf_json_set_u64(json, hf_oplog_kind_word((enum hf_oplog_kind)kind), one->kinds[kind]);
        }
    }
    return json;
}

enum hf_err hf_oplog_count_to_json(const struct hf_oplog_filter *filter, bool by_minute,
                                   struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_oplog_counts_fini) struct hf_oplog_counts counts = {.items = NULL};

    if (hf_oplog_count(filter, by_minute, &counts, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = hf_json_array();
    for (size_t i = 0; i < counts.count; i++) {
        hf_json_append_take(*out, count_document(&counts.items[i], by_minute));
    }
    return HF_ERR_OK;
}
