/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a job's chain between catalog and oplog store.
 */
#include <stdio.h>

#include "backup/job.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "oplog/chain.h"
#include "server/events.h"
#include "server/flow_check.h"
#include "server/flow_schedule.h"
#include "server/flow_tail.h"
#include "server/keep.h"
#include "server/rounds.h"
#include "server/stores.h"
#include "snapshot/keys.h"

#define CAS_TRIES 8
#define PAGE_NAMES 1000

/* ---- Telling ---- */

enum hf_err hf_flow_want_snapshot(struct hf_server_app *app, const struct hf_id *id,
                                  const char *why, struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_job_record job;
        uint64_t revision = 0;

        if (hf_keep_job_get(app->catalog, id, &job, &revision, err) != HF_ERR_OK) {
            return err->code == HF_ERR_NOT_FOUND ? HF_ERR_OK : err->code;
        }
        if (!hf_job_does(&job).takes_snapshots) {
            return HF_ERR_OK; /* its restart wants one */
        }
        hf_job_want_snapshot(&job, why, hf_flow_now_s());
        enum hf_err code = hf_keep_job_replace(app->catalog, &job, &revision, err);
        if (code == HF_ERR_OK) {
            hf_rounds_wake(app->rounds, &job.id);
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "job %s changes too often", hf_id_text(id).text);
}

/* A gap needs a new base, unless the job's policy says that this kind waits for the schedule. */
static enum hf_err want_base(struct hf_server_app *app, const struct hf_head_record *head,
                             struct hf_error *err)
{
    struct hf_policy policy = {.no_fcv_snapshot = false};

    if (strcmp(head->cause, hf_chain_cause_word(HF_CHAIN_FCV_CHANGED)) == 0 &&
        hf_flow_policy(app, &head->id, &policy, err) != HF_ERR_OK) {
        return err->code;
    }
    return policy.no_fcv_snapshot ? HF_ERR_OK
                                  : hf_flow_want_snapshot(app, &head->id, head->gap_text, err);
}

enum hf_err hf_flow_head_tell(struct hf_server_app *app, struct hf_head_record *head,
                              uint64_t *revision, struct hf_error *err)
{
    const struct hf_event_wish event = {.id = head->gap,
                                        .job = head->id,
                                        .set_name = head->set_name,
                                        .type = HF_EVENT_OPLOG_GAP,
                                        .text = head->gap_text};

    if (hf_id_is_none(&head->gap)) {
        return HF_ERR_OK;
    }
    if (hf_event_tell(app, &event, err) != HF_ERR_OK ||
        HF_FAULT("server.tail.gap_told", err) != HF_ERR_OK ||
        want_base(app, head, err) != HF_ERR_OK ||
        HF_FAULT("server.tail.snapshot_wanted", err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_head_record told = *head;
    told.gap = (struct hf_id){{0}};
    told.gap_text[0] = '\0';
    if (hf_keep_head_replace(app->catalog, &told, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    *head = told;
    return HF_ERR_OK;
}

/* ---- Moving ---- */

enum hf_err hf_flow_head_move(struct hf_server_app *app, struct hf_head_record *head,
                              uint64_t *revision, const struct hf_slice_header *slice, bool *moved,
                              struct hf_error *err)
{
    const struct hf_id gap = hf_flow_new_id();
    struct hf_head_record next;
    struct hf_open_store at;

    if (hf_stores_oplog_of_job_id(app, &head->id, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    /* A gap that was not told yet would be forgotten over the next one. */
    if (slice->cause != HF_CHAIN_NONE && hf_flow_head_tell(app, head, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    next = *head;
    if (hf_head_take(&next, slice, hf_flow_now_s(), &gap, moved, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!*moved) {
        return HF_ERR_OK;
    }
    (void)snprintf(next.store, sizeof next.store, "%s", hf_store_url(at.store));
    if (hf_keep_head_replace(app->catalog, &next, revision, err) != HF_ERR_OK ||
        HF_FAULT("server.tail.head_moved", err) != HF_ERR_OK) {
        return err->code;
    }
    *head = next;
    if (slice->cause != HF_CHAIN_NONE) {
        hf_log_info(app->log, "oplog.chain.begun", HF_STR("set", head->set_name),
                    HF_STR("cause", head->cause),
                    HF_STR("first", hf_optime_text(&slice->first).text),
                    HF_STR("member", slice->member));
    }
    return HF_ERR_OK;
}

/* ---- What the store says ---- */

enum hf_err hf_flow_oplog_store_here(struct hf_store *store, struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list found = {.entries = NULL};
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_MARK, NULL);

    enum hf_err code = hf_store_list(store, hf_str_of(prefix.text), hf_str_of(""), 1, &found, err);
    if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && found.count == 0)) {
        return hf_fail(err, HF_ERR_UNAVAILABLE,
                       "oplog store %s has no mark; hint: mount its file system; where it was "
                       "emptied on purpose, start the server again",
                       hf_store_url(store));
    }
    return code;
}

/* The chain that a tailer goes on from: the newest history, greatest term first. NULL: none can be gone on from. */
static const struct hf_chain *newest_chain(const struct hf_chains *chains)
{
    const struct hf_chain *best = NULL;

    for (size_t i = 0; i < chains->count; i++) {
        const struct hf_chain *one = &chains->items[i];
        const struct hf_chain_segment *last = &one->segments[one->segment_count - 1];
        if (one->end == HF_CHAIN_DIVERGED ||
            !hf_optime_equal(&last->to, &chains->links[last->link].name.last_optime)) {
            continue;
        }
        if (best == NULL || one->last.term > best->last.term ||
            (one->last.term == best->last.term &&
             hf_optime_compare_ts(&one->last, &best->last) > 0)) {
            best = one;
        }
    }
    return best;
}

/* Where a job's slices lie, and its keys. */
struct source {
    struct hf_store *store;
    struct hf_keyring keyring;
};

static void source_fini(struct source *source)
{
    hf_keyring_wipe(&source->keyring);
}
HF_CLEANUP_DEFINE_VALUE(source_fini, struct source)

static enum hf_err open_source(struct hf_server_app *app, const struct hf_id *job,
                               struct source *out, struct hf_error *err)
{
    struct hf_open_store at;

    if (hf_stores_open_oplog(app, job, &at, &out->keyring, err) != HF_ERR_OK) {
        return err->code;
    }
    out->store = at.store;
    return HF_ERR_OK;
}

/* The head as the store's slices tell it. *found false: there is no chain to go on from. */
static enum hf_err head_from_store(struct hf_server_app *app, const struct source *from,
                                   struct hf_head_record *head, bool *found, struct hf_error *err)
{
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    HF_CLEANUP(hf_free) struct hf_object_name *bad = NULL;
    struct hf_chains_options options = {.store = from->store, .keyring = &from->keyring};

    *found = false;
    /* A store that is away has no slices either, and its chain has not ended for that. */
    if (hf_flow_oplog_store_here(from->store, err) != HF_ERR_OK ||
        hf_flow_check_bad(app, &head->id, &bad, &options.bad_count, err) != HF_ERR_OK) {
        return err->code;
    }
    options.bad = bad;
    if (hf_chains_load(&options, &chains, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_chain *chain = newest_chain(&chains);
    if (chain == NULL) {
        /* Slices that none can go on from are no first chain's. */
        if (chains.link_count > 0 && head->next_cause[0] == '\0') {
            hf_head_lose(head, HF_CHAIN_STORE_LOST);
        }
        return HF_ERR_OK;
    }
    const struct hf_chain_segment *last = &chain->segments[chain->segment_count - 1];
    if (hf_slice_fetch_header(from->store, &chains.links[last->link].name, &from->keyring, &header,
                              err) != HF_ERR_OK) {
        return err->code;
    }
    hf_head_set(head, &header);
    (void)snprintf(head->store, sizeof head->store, "%s", hf_store_url(from->store));
    (void)snprintf(head->cause, sizeof head->cause, "%s",
                   chain->start == HF_CHAIN_CAUSE ? hf_chain_cause_word(chain->start_cause)
                                                  : hf_chain_edge_word(chain->start));
    head->chain_first = chain->first;
    head->next_cause[0] = '\0';
    head->moved_s = header.last.seconds;
    *found = true;
    hf_log_info(app->log, "oplog.head.found", HF_STR("set", head->set_name),
                HF_STR("last", hf_optime_text(&head->last).text), HF_STR("slice", head->object),
                HF_U64("slices", chains.link_count));
    return HF_ERR_OK;
}

enum hf_err hf_flow_head_open(struct hf_server_app *app, const struct hf_job_record *job,
                              struct hf_head_record *out, uint64_t *revision, struct hf_error *err)
{
    HF_CLEANUP(source_fini) struct source from = {.store = NULL};
    bool found = false;

    enum hf_err code = hf_keep_head_get(app->catalog, &job->id, out, revision, err);
    if (code != HF_ERR_NOT_FOUND) {
        return code;
    }
    *out = (struct hf_head_record){
        .id = job->id, .project = job->project, .last = {.term = -1}, .chain_first = {.term = -1}};
    (void)snprintf(out->set_name, sizeof out->set_name, "%s", job->set_name);
    if (open_source(app, &job->id, &from, err) != HF_ERR_OK ||
        head_from_store(app, &from, out, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    code = hf_keep_head_insert(app->catalog, out, err);
    if (code == HF_ERR_EXISTS) {
        return hf_keep_head_get(app->catalog, &job->id, out, revision, err);
    }
    *revision = 1;
    return code;
}

/* "j/<job>/o/<last>-": what names of slices that end with that entry begin with. */
static void prefix_of(const struct hf_object_name *name, char *out, size_t out_len)
{
    const struct hf_object_text text = hf_object_name_text(name);
    const char *dash = strchr(text.text, '-');

    (void)snprintf(out, out_len, "%.*s", dash == NULL ? 0 : (int)(dash - text.text + 1), text.text);
}

/* Any slice that ends with the head's entry will do: merged ones have other names. */
static enum hf_err is_there(struct hf_store *store, const struct hf_object_name *name, bool *there,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list found = {.entries = NULL};
    char prefix[HF_OBJECT_NAME_BYTES];

    prefix_of(name, prefix, sizeof prefix);
    if (hf_store_list(store, hf_str_of(prefix), hf_str_of(""), 1, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    *there = found.count > 0;
    return HF_ERR_OK;
}

/* By compare-and-set, unless nothing changed. */
static enum hf_err put_head(struct hf_server_app *app, const struct hf_head_record *next,
                            struct hf_head_record *head, uint64_t *revision, struct hf_error *err)
{
    if (strcmp(next->object, head->object) == 0 &&
        strcmp(next->next_cause, head->next_cause) == 0) {
        return HF_ERR_OK;
    }
    if (hf_keep_head_replace(app->catalog, next, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    *head = *next;
    return HF_ERR_OK;
}

/* The slice that the head stands at is not in the store, or there never was one: what is there decides. */
static enum hf_err find_anew(struct hf_server_app *app, const struct source *from,
                             struct hf_head_record *head, uint64_t *revision, struct hf_error *err)
{
    struct hf_head_record next = *head;
    bool found = false;
    bool moved_away = strcmp(head->store, hf_store_url(from->store)) != 0;

    if (head_from_store(app, from, &next, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!found && !hf_optime_is_none(&head->last)) {
        hf_head_lose(&next, moved_away ? HF_CHAIN_STORE_CHANGED : HF_CHAIN_STORE_LOST);
    }
    if (strcmp(next.next_cause, head->next_cause) != 0 && next.next_cause[0] != '\0') {
        hf_log_warn(app->log, "oplog.head.lost", HF_STR("set", head->set_name),
                    HF_STR("slice", head->object), HF_STR("cause", next.next_cause),
                    HF_STR("store", hf_store_url(from->store)));
    }
    return put_head(app, &next, head, revision, err);
}

/* Whether the slice to go on from is in the store. */
static enum hf_err check_there(struct hf_server_app *app, const struct source *from,
                               struct hf_head_record *head, uint64_t *revision,
                               struct hf_error *err)
{
    struct hf_head_record next = *head;
    struct hf_object_name name;
    bool there = false;

    if (!hf_optime_is_none(&head->last)) {
        if (hf_object_name_parse(hf_str_of(head->object), &name, err) != HF_ERR_OK ||
            is_there(from->store, &name, &there, err) != HF_ERR_OK) {
            return hf_wrap(err, "head of the oplog of set %s", head->set_name);
        }
    }
    if (!there) {
        return find_anew(app, from, head, revision, err);
    }
    if (strcmp(head->next_cause, hf_chain_cause_word(HF_CHAIN_STORE_LOST)) == 0 ||
        strcmp(head->next_cause, hf_chain_cause_word(HF_CHAIN_STORE_CHANGED)) == 0) {
        next.next_cause[0] = '\0'; /* it has come back */
    }
    return put_head(app, &next, head, revision, err);
}

/* What cannot be read, or stands elsewhere, is not taken up; the store's chains say what it is. */
static enum hf_err take_up(struct hf_server_app *app, const struct source *from, const char *text,
                           struct hf_head_record *head, uint64_t *revision, struct hf_error *err)
{
    HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
    struct hf_object_name name;
    struct hf_error ignored;
    bool moved = false;

    if (hf_object_name_parse(hf_str_of(text), &name, &ignored) != HF_ERR_OK ||
        name.kind != HF_OBJECT_OPLOG) {
        return HF_ERR_OK;
    }
    enum hf_err code = hf_slice_fetch_header(from->store, &name, &from->keyring, &header, err);
    if (code == HF_ERR_OK && strcmp(header.set_name, head->set_name) == 0) {
        struct hf_head_record probe = *head;
        if (hf_head_take(&probe, &header, 0, &head->id, &moved, &ignored) == HF_ERR_OK && moved) {
            code = hf_flow_head_move(app, head, revision, &header, &moved, err);
            if (code == HF_ERR_OK) {
                hf_log_info(app->log, "oplog.slice.taken_up", HF_STR("set", head->set_name),
                            HF_STR("slice", text));
            }
        }
    }
    return code == HF_ERR_OK || !hf_err_retry(code) ? HF_ERR_OK : code;
}

static enum hf_err take_up_newer(struct hf_server_app *app, const struct source *from,
                                 struct hf_head_record *head, uint64_t *revision,
                                 struct hf_error *err)
{
    const struct hf_object_text all = hf_object_prefix(HF_OBJECT_OPLOG, &head->id);
    char after[HF_OBJECT_NAME_BYTES];
    bool more = true;

    (void)snprintf(after, sizeof after, "%s", head->object);
    while (more) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        if (hf_store_list(from->store, hf_str_of(all.text), hf_str_of(after), PAGE_NAMES, &page,
                          err) != HF_ERR_OK) {
            return err->code;
        }
        for (size_t i = 0; i < page.count && !hf_cancel_requested(app->cancel); i++) {
            if (take_up(app, from, page.entries[i].name, head, revision, err) != HF_ERR_OK) {
                return err->code;
            }
        }
        more = page.more && page.count > 0 && !hf_cancel_requested(app->cancel);
        if (more) {
            (void)snprintf(after, sizeof after, "%.*s", (int)sizeof after - 1,
                           page.entries[page.count - 1].name);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_head_catch_up(struct hf_server_app *app, struct hf_head_record *head,
                                  uint64_t *revision, struct hf_error *err)
{
    HF_CLEANUP(source_fini) struct source from = {.store = NULL};

    if (open_source(app, &head->id, &from, err) != HF_ERR_OK ||
        check_there(app, &from, head, revision, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_optime_is_none(&head->last) ? HF_ERR_OK
                                          : take_up_newer(app, &from, head, revision, err);
}
