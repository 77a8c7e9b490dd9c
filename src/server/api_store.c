/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own calls about the upkeep of the snapshot store: what each job takes there, and work that is asked for by hand. Asking
 * only writes it down; how far it is stands in the usage.
 */
#include "base/alloc.h"
#include "server/api.h"
#include "server/flow_groom.h"
#include "server/server_internal.h"

#define JOBS_MAX 100000

/* What works on the job at this moment; NULL: nothing. */
static const struct hf_slot_record *slot_of(const struct hf_flow_upkeep_slots *slots,
                                            const struct hf_id *job)
{
    for (size_t i = 0; i < slots->count; i++) {
        if (!slots->free[i] && hf_id_equal(&slots->items[i].job, job)) {
            return &slots->items[i];
        }
    }
    return NULL;
}

static struct hf_json *usage_document(const struct hf_server_call *call,
                                      const struct hf_usage_record *usage)
{
    struct hf_flow_upkeep_slots slots = {.count = 0};
    struct hf_error ignored; /* then nothing is said of what goes on */
    (void)!hf_flow_upkeep_slots(call->app, &usage->store, &slots, &ignored);
    const struct hf_slot_record *slot = slot_of(&slots, &usage->id);
    struct hf_json *json = hf_usage_record_encode(usage);
    struct hf_upkeep_choice due;

    hf_upkeep_decide(usage, &call->app->upkeep, hf_flow_now_s(), &due);
    const struct hf_stores_names names = hf_stores_names(call->app, &usage->store, &usage->store);
    hf_json_set_text(json, "storeName", names.snapshots[0] == '\0' ? NULL : names.snapshots);
    hf_json_set_real(json, "livingRatio", hf_usage_living_ratio(usage));
    hf_json_set_text(json, "state",
                     slot != NULL && slot->work == HF_UPKEEP_GROOM ? "GROOMING"
                     : hf_usage_is_stale(usage)                    ? "STALE"
                                                                   : "ACCURATE");
    hf_json_set_text(json, "work", hf_upkeep_word(slot == NULL ? HF_UPKEEP_NONE : slot->work));
    hf_json_set_text(json, "due", hf_upkeep_word(due.work));
    hf_json_set_text(json, "why", due.why);
    hf_json_set_bool(json, "asked",
                     usage->asked_count_s != 0 || usage->asked_groom_s != 0 ||
                         usage->asked_check_s != 0);
    return json;
}

void hf_api_store_usage(struct hf_server_call *call)
{
    const struct hf_id_text project = hf_id_text(&call->project);
    const struct hf_catalog_query query = {
        .index = "projectId", .equals_text = project.text, .limit = JOBS_MAX};
    HF_CLEANUP(hf_keep_usages_fini) struct hf_keep_usages usages = {0};
    struct hf_call_page page;
    struct hf_error err;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (hf_keep_usage_find(call->app->catalog, &query, &usages, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < usages.count; i++) {
        if (i / page.size == page.number - 1) {
            hf_json_append_take(results, usage_document(call, &usages.items[i]));
        }
    }
    hf_reply_list(call, &page, results, usages.count);
}

/* Of the body's "jobId"; all jobs without. False: it was answered. */
static bool find_job(struct hf_server_call *call, struct hf_id *out)
{
    const char *job = hf_json_get_text(call->body, "jobId");

    *out = (struct hf_id){.bytes = {0}};
    if (job != NULL && !hf_id_parse(hf_str_of(job), out)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE", "jobId is 24 hexadecimal digits");
        return false;
    }
    return true;
}

static void ask(struct hf_server_call *call, const struct hf_flow_upkeep_wish *wish)
{
    struct hf_error err;
    uint64_t jobs = 0;

    if (hf_flow_upkeep_ask(call->app, wish, &jobs, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "work", hf_upkeep_word(wish->work));
    hf_json_set_u64(json, "jobs", jobs);
    hf_reply_json(call, 202, json);
}

void hf_api_store_groom(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"jobId", HF_JSON_TEXT},
                                                    {"dryRun", HF_JSON_BOOL},
                                                    {"livingPercent", HF_JSON_INTEGER},
                                                    {NULL, HF_JSON_NULL}};
    struct hf_flow_upkeep_wish wish = {.work = HF_UPKEEP_GROOM};

    if (!hf_call_body_only(call, members) || !find_job(call, &wish.job)) {
        return;
    }
    int64_t percent = hf_json_get_integer(call->body, "livingPercent", 0);
    if (percent < 0 || percent > 100) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                      "livingPercent must be 1 to 100, or 0: as by itself");
        return;
    }
    wish.living_percent = (unsigned)percent;
    if (hf_json_get_bool(call->body, "dryRun", false)) {
        wish.work = HF_UPKEEP_COUNT;
    }
    ask(call, &wish);
}

void hf_api_store_check(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {
        {"jobId", HF_JSON_TEXT}, {"full", HF_JSON_BOOL}, {NULL, HF_JSON_NULL}};
    struct hf_flow_upkeep_wish wish = {.work = HF_UPKEEP_CHECK};

    if (hf_call_body_only(call, members) && find_job(call, &wish.job)) {
        wish.full = hf_json_get_bool(call->body, "full", false);
        ask(call, &wish);
    }
}
