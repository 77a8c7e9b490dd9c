/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own calls about the server processes of this catalog: what each does, and what it is asked to do. The members are named
 * as those of a daemon in rest-api.md where there is such a name.
 */
#include "base/alloc.h"
#include "server/api.h"
#include "server/fleet.h"

/* By enum hf_server_switch. */
static const char *const switch_members[HF_SERVER_SWITCHES] = {
    "backupJobsEnabled", "garbageCollectionEnabled", "resourceUsageEnabled", "restoreJobsEnabled",
    "assignmentEnabled"};

static struct hf_json *labels_of(const char *text)
{
    struct hf_json *labels = hf_json_array();

    for (size_t len = 0; *text != '\0'; text += len + (text[len] == ',')) {
        char label[HF_SERVER_LABELS_BYTES];
        len = strcspn(text, ",");
        memcpy(label, text, len);
        label[len] = '\0';
        hf_json_append_text(labels, label);
    }
    return labels;
}

static struct hf_json *server_document(const struct hf_fleet_member *member)
{
    const struct hf_server_record *record = &member->record;
    struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "name", record->name);
    hf_json_set_text(json, "id", hf_id_text(&record->id).text);
    hf_json_set_text(json, "machine", record->host);
    hf_json_set_text(json, "url", record->url);
    hf_json_set_text(json, "release", record->release);
    hf_json_set_u64(json, "pid", record->pid);
    hf_json_set_u64(json, "startedS", record->started_s);
    hf_json_set_u64(json, "seenS", record->seen_s);
    hf_json_set_u64(json, "silentS", member->silent_s);
    hf_json_set_text(json, "state",
                     record->ended            ? "ENDED"
                     : !member->alive         ? "DEAD"
                     : record->drained_s != 0 ? "DRAINED"
                     : record->draining       ? "DRAINING"
                                              : "RUNNING");
    hf_json_set_u64(json, "jobs", member->jobs);
    for (size_t i = 0; i < HF_SERVER_SWITCHES; i++) {
        hf_json_set_bool(json, switch_members[i], !record->off[i]);
    }
    hf_json_set_u64(json, "numWorkers", record->workers);
    hf_json_set_u64(json, "loadFactor", record->load_factor == 0 ? 1 : record->load_factor);
    hf_json_set_take(json, "labels", labels_of(record->labels));
    hf_json_set_bool(json, "draining", record->draining);
    return json;
}

void hf_api_servers(struct hf_server_call *call)
{
    HF_CLEANUP(hf_free) struct hf_fleet_list *all = hf_alloc_zero(sizeof *all);
    struct hf_call_page page;

    if (!hf_call_page(call, &page)) {
        return;
    }
    if (all == NULL) {
        hf_reply_fail(call, HF_ERR_NO_MEMORY, NULL, "no memory");
        return;
    }
    hf_fleet_list(call->app, all);
    struct hf_json *results = hf_json_array();
    for (size_t i = 0; i < all->count; i++) {
        if (i / page.size == page.number - 1) {
            hf_json_append_take(results, server_document(&all->items[i]));
        }
    }
    hf_reply_list(call, &page, results, all->count);
}

/* "a,b" of ["a", "b"]. */
static bool read_labels(struct hf_server_call *call, const struct hf_json *labels,
                        char out[HF_SERVER_LABELS_BYTES])
{
    size_t used = 0;

    for (size_t i = 0; i < hf_json_count(labels); i++) {
        const char *label = hf_json_text(hf_json_at(labels, i));
        size_t len = label == NULL ? 0 : strlen(label);
        if (len == 0 || strchr(label, ',') != NULL || used + len + 2 > HF_SERVER_LABELS_BYTES) {
            hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE",
                          "labels are texts without commas, %d bytes together at most",
                          HF_SERVER_LABELS_BYTES - 2);
            return false;
        }
        if (used > 0) {
            out[used++] = ',';
        }
        memcpy(out + used, label, len);
        used += len;
    }
    out[used] = '\0';
    return true;
}

/* Absent: NULL. False: it was answered. */
static bool read_u64(struct hf_server_call *call, const char *name, uint64_t most, uint64_t *value,
                     const uint64_t **out)
{
    int64_t number = hf_json_get_integer(call->body, name, 0);

    *out = NULL;
    if (hf_json_get(call->body, name) == NULL) {
        return true;
    }
    if (number < 0 || (uint64_t)number > most) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE", "%s is not 0 to %llu", name,
                      (unsigned long long)most);
        return false;
    }
    *value = (uint64_t)number;
    *out = value;
    return true;
}

void hf_api_set_server(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"backupJobsEnabled", HF_JSON_BOOL},
                                                    {"garbageCollectionEnabled", HF_JSON_BOOL},
                                                    {"resourceUsageEnabled", HF_JSON_BOOL},
                                                    {"restoreJobsEnabled", HF_JSON_BOOL},
                                                    {"assignmentEnabled", HF_JSON_BOOL},
                                                    {"numWorkers", HF_JSON_INTEGER},
                                                    {"loadFactor", HF_JSON_INTEGER},
                                                    {"labels", HF_JSON_ARRAY},
                                                    {"draining", HF_JSON_BOOL},
                                                    {NULL, HF_JSON_NULL}};
    const struct hf_id id = hf_fleet_server_id(call->parameters[0]);
    HF_CLEANUP(hf_free) struct hf_fleet_list *all = hf_alloc_zero(sizeof *all);
    struct hf_fleet_member answer = {.alive = true};
    struct hf_fleet_wish wish = {.labels = NULL};
    char labels[HF_SERVER_LABELS_BYTES];
    uint64_t workers = 0, load_factor = 0;
    struct hf_error err;

    if (!hf_call_body_only(call, members) ||
        !read_u64(call, "numWorkers", 1000, &workers, &wish.workers) ||
        !read_u64(call, "loadFactor", 100, &load_factor, &wish.load_factor)) {
        return;
    }
    for (size_t i = 0; i < HF_SERVER_SWITCHES; i++) {
        wish.change[i] = hf_json_get(call->body, switch_members[i]) != NULL;
        wish.on[i] = hf_json_get_bool(call->body, switch_members[i], true);
    }
    if (hf_json_get(call->body, "labels") != NULL) {
        if (!read_labels(call, hf_json_get_array(call->body, "labels"), labels)) {
            return;
        }
        wish.labels = labels;
    }
    if (hf_json_get(call->body, "draining") != NULL) {
        wish.drain = hf_json_get_bool(call->body, "draining", false);
        wish.undrain = !wish.drain;
    }
    if (hf_fleet_set(call->app, &id, &wish, &answer.record, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    if (all != NULL) {
        hf_fleet_list(call->app, all);
        const struct hf_fleet_member *seen = hf_fleet_find(all, &id);
        answer.silent_s = seen == NULL ? 0 : seen->silent_s;
        answer.alive = seen == NULL || seen->alive;
        answer.jobs = seen == NULL ? 0 : seen->jobs;
    }
    hf_reply_json(call, 200, server_document(&answer));
}

void hf_api_remove_server(struct hf_server_call *call)
{
    const struct hf_id id = hf_fleet_server_id(call->parameters[0]);
    struct hf_error err;

    if (hf_fleet_remove(call->app, &id, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_reply_empty(call, 200);
}
