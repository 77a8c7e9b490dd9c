/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored oplog for whoever brings a downloaded snapshot to a point on a machine of their own (restore.md 7.4): the plan
 * for that base, and the entries it asks for, page by page. Nothing is kept between pages: who asks says where it stands, so a
 * broken connection, a restart of the server and a merge of slices cost one page.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "oplog/reader.h"
#include "server/api.h"
#include "server/points.h"

#define PAGE_MAX_BYTES ((size_t)4 << 20)
/* A slice may be merged, or pruned, between the look at the store and the reading. */
#define READ_TRIES 3

/* One base and one point of it, as the stores have it now. */
struct planned {
    struct hf_points *points;
    struct hf_plan plan;
};

static void planned_fini(struct planned *planned)
{
    hf_plan_fini(&planned->plan);
    hf_points_destroy(planned->points);
    *planned = (struct planned){.points = NULL};
}
HF_CLEANUP_DEFINE_VALUE(planned_fini, struct planned)

/* ---- What is asked ---- */

/* The same words as in the body of a restore. False: it was answered. */
static bool take_target(struct hf_server_call *call, struct hf_target *out)
{
    static const char *const names[] = {"pointInTimeUTCMillis", "oplogTs", "oplogInc"};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    struct hf_error err;
    bool wanted = false;

    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        const char *text = hf_url_target_parameter(&call->target, names[i]);
        if (text != NULL) {
            hf_json_set_text(body, names[i], text);
        }
    }
    if (hf_points_target_from_json(body, &wanted, out, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, "INVALID_QUERY_PARAMETER");
        return false;
    }
    if (!wanted) {
        hf_reply_fail(call, HF_ERR_INVALID, "MISSING_QUERY_PARAMETER",
                      "which point? pointInTimeUTCMillis, or oplogTs and oplogInc say it");
    }
    return wanted;
}

/* "SECONDS.INCREMENT.TERM"; absent: none. False: it was answered. */
static bool take_optime(struct hf_server_call *call, const char *name, struct hf_optime *out)
{
    const char *text = hf_url_target_parameter(&call->target, name);
    char again[sizeof(struct hf_optime_text)];

    *out = (struct hf_optime){.term = -1};
    if (text == NULL) {
        return true;
    }
    if (sscanf(text, "%" SCNu32 ".%" SCNu32 ".%" SCNd64, &out->seconds, &out->increment,
               &out->term) == 3) {
        (void)snprintf(again, sizeof again, "%" PRIu32 ".%" PRIu32 ".%" PRId64, out->seconds,
                       out->increment, out->term);
        if (strcmp(again, text) == 0) {
            return true;
        }
    }
    hf_reply_fail(call, HF_ERR_INVALID, "INVALID_QUERY_PARAMETER",
                  "%s is '%.64s', not SECONDS.INCREMENT.TERM", name, text);
    return false;
}

/* ---- The plan ---- */

static enum hf_err plan_it(struct hf_server_call *call, const struct hf_snapshot_record *snapshot,
                           const struct hf_target *target, struct planned *out,
                           struct hf_error *err)
{
    if (hf_points_load(call->app, &snapshot->job, &out->points, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_ranges *ranges = &out->points->ranges;
    enum hf_err code =
        hf_ranges_plan(ranges, target, &snapshot->id, out->points->reader, &out->plan, err);
    if (code == HF_ERR_INVALID) {
        /* A point that no snapshot reaches is told with the nearest ones. */
        HF_CLEANUP(hf_plan_fini) struct hf_plan other = {.links = NULL};
        struct hf_error why = *err;
        code = hf_ranges_plan(ranges, target, NULL, out->points->reader, &other, err);
        if (code == HF_ERR_OK) {
            *err = why;
            return err->code;
        }
    }
    return code;
}

static void set_optime(struct hf_json *json, const char *name, const struct hf_optime *optime)
{
    struct hf_json *value = hf_json_object();

    if (!hf_optime_is_none(optime)) {
        hf_json_set_u64(value, "seconds", optime->seconds);
        hf_json_set_u64(value, "increment", optime->increment);
        hf_json_set_integer(value, "term", optime->term);
    }
    hf_json_set_take(json, name, value);
}

void hf_api_snapshot_oplog(struct hf_server_call *call)
{
    HF_CLEANUP(planned_fini) struct planned planned = {.points = NULL};
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    struct hf_snapshot_record snapshot;
    struct hf_target target;
    struct hf_error err;

    if (!hf_api_find_snapshot(call, 0, &snapshot) || !take_target(call, &target)) {
        return;
    }
    if (hf_flow_open(call->app, &snapshot.id, &reading, &err) != HF_ERR_OK ||
        plan_it(call, &snapshot, &target, &planned, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    const struct hf_plan *plan = &planned.plan;
    const struct hf_facts *facts = &reading.manifest.facts;
    const bool reads = plan->link_count > 0;
    struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "snapshotId", hf_id_text(&snapshot.id).text);
    hf_json_set_text(json, "serverVersion", facts->server_version);
    if (facts->engine_options != NULL) {
        hf_json_set_take(json, "engineOptions", hf_json_hold(facts->engine_options));
    }
    set_optime(json, "checkpoint", &planned.points->ranges.snapshots[plan->snapshot].checkpoint);
    set_optime(json, "copyHas", &plan->copy_has);
    set_optime(json, "readAfter", &plan->read_after);
    /* Nothing of the chain is read: the copy's own oplog is cut. */
    set_optime(json, "last", reads ? &plan->last : &(struct hf_optime){.term = -1});
    set_optime(json, "truncateAfter", &plan->truncate_after);
    hf_json_set_bool(json, "inserts", plan->inserts);
    hf_json_set_u64(json, "entriesMax", plan->entries_max);
    hf_json_set_u64(json, "bytesMax", plan->bytes_max);
    hf_reply_json(call, 200, json);
}

/* ---- The entries ---- */

struct page {
    struct hf_optime after, last;
    size_t most_bytes;
    struct hf_buf body;
};

static void page_fini(struct page *page)
{
    hf_buf_fini(&page->body);
}
HF_CLEANUP_DEFINE_VALUE(page_fini, struct page)

static enum hf_err read_page(const struct planned *planned, struct page *page, struct hf_error *err)
{
    HF_CLEANUP(hf_chain_reader_close) struct hf_chain_reader *reader = NULL;
    const struct hf_chain_reader_options options = {
        .chains = &planned->points->chains,
        .chain = planned->points->ranges.items[planned->plan.range].chain,
        .reader = planned->points->reader,
        .after = page->after,
        .to = planned->plan.last,
    };

    hf_buf_clear(&page->body);
    if (planned->plan.link_count == 0 || !hf_optime_equal(&planned->plan.last, &page->last)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "the stored oplog has another history by now, which does not end with the "
                       "entry %s; hint: restore the snapshot anew and ask again",
                       hf_optime_text(&page->last).text);
    }
    if (hf_chain_reader_open(&options, &reader, err) != HF_ERR_OK) {
        return err->code;
    }
    for (bool more = true; more && page->body.len < page->most_bytes;) {
        struct hf_oplog_entry entry;
        if (hf_chain_reader_next(reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
        if (more && hf_buf_append(&page->body, entry.bytes, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

void hf_api_snapshot_entries(struct hf_server_call *call)
{
    HF_CLEANUP(planned_fini) struct planned planned = {.points = NULL};
    HF_CLEANUP(page_fini)
    struct page page = {.body = HF_BUF_INIT(PAGE_MAX_BYTES + HF_SLICE_ENTRY_MAX_BYTES)};
    struct hf_snapshot_record snapshot;
    struct hf_target target;
    struct hf_error err;
    uint64_t most = 0;
    enum hf_err code = HF_ERR_NOT_FOUND;

    if (!hf_api_find_snapshot(call, 0, &snapshot) || !take_target(call, &target) ||
        !take_optime(call, "after", &page.after) || !take_optime(call, "last", &page.last) ||
        !hf_call_number(call, "bytes", 1, PAGE_MAX_BYTES, PAGE_MAX_BYTES, &most)) {
        return;
    }
    page.most_bytes = (size_t)most;
    for (unsigned i = 0; i < READ_TRIES && code == HF_ERR_NOT_FOUND; i++) {
        planned_fini(&planned);
        code = plan_it(call, &snapshot, &target, &planned, &err);
        code = code == HF_ERR_OK ? read_page(&planned, &page, &err) : code;
    }
    if (code != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    const struct hf_http_header headers[] = {{"Content-Type", "application/octet-stream"},
                                             {"X-MongoDB-Service-Version", HF_REPLY_VERSION}};
    const struct hf_http_answer answer = {
        .status = 200, .headers = headers, .header_count = HF_ARRAY_LEN(headers)};
    (void)hf_http_respond_buf_take(HF_TAKE(call->request), &answer, &page.body);
}
