/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read -> told (event) -> wanted (snapshot) -> kept. Cut off anywhere before its end, the next check finds the same, and
 * tells it, once more perhaps.
 */
#include "server/flow_check.h"

#include <stdio.h>

#include "backup/job.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "server/events.h"
#include "server/fleet.h"
#include "server/flow_tail.h"
#include "server/keep.h"
#include "server/stores.h"
#include "snapshot/keys.h"

#define CAS_TRIES 8

enum hf_err hf_flow_check_last(struct hf_server_app *app, const struct hf_id *job,
                               struct hf_json **document, struct hf_error *err)
{
    struct hf_catalog_document found = {.json = NULL};

    *document = NULL;
    enum hf_err code =
        hf_catalog_get(app->catalog, HF_KIND_CHECK, hf_id_text(job).text, &found, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    if (code == HF_ERR_OK) {
        *document = HF_TAKE(found.json);
        hf_catalog_document_fini(&found);
    }
    return code;
}

enum hf_err hf_flow_check_bad(struct hf_server_app *app, const struct hf_id *job,
                              struct hf_object_name **names, size_t *count, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *document = NULL;

    *names = NULL;
    *count = 0;
    if (hf_flow_check_last(app, job, &document, err) != HF_ERR_OK) {
        return err->code;
    }
    return document == NULL ? HF_ERR_OK : hf_check_bad_from_json(document, names, count, err);
}

/* ---- One check ---- */

static enum hf_err read_head(struct hf_server_app *app, const struct hf_id *job,
                             struct hf_check_head *out, struct hf_error *err)
{
    struct hf_head_record head;

    *out = (struct hf_check_head){.last = {.term = -1}};
    enum hf_err code = hf_keep_head_get(app->catalog, job, &head, NULL, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    /* What is known to be lost was told; a head in another store says nothing of this one. */
    if (code == HF_ERR_OK && head.next_cause[0] == '\0' && !hf_optime_is_none(&head.last)) {
        (void)!hf_hex_decode(hf_str_of(head.hash), out->hash.bytes, sizeof out->hash.bytes);
        (void)snprintf(out->object, sizeof out->object, "%s", head.object);
        out->last = head.last;
    }
    return code;
}

static enum hf_err read_all(struct hf_server_app *app, const struct hf_job_record *job,
                            struct hf_check_report *report, struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {0};
    struct hf_check_options options = {.keyring = &keyring, .cancel = app->cancel};
    struct hf_open_store at;

    /* A store that is away has lost nothing. */
    if (hf_stores_open_oplog(app, &job->id, &at, &keyring, err) != HF_ERR_OK ||
        hf_flow_oplog_store_here(at.store, err) != HF_ERR_OK ||
        read_head(app, &job->id, &options.head, err) != HF_ERR_OK) {
        return err->code;
    }
    options.store = at.store;
    return hf_oplog_check(&options, report, err);
}

/* "of 3 faults the first: damaged j/…: …". */
static void describe(const struct hf_check_report *report, char *out, size_t out_len)
{
    const struct hf_check_fault *first = &report->faults[0];
    char lost[256] = "no entry is lost by it";

    if (first->loses) {
        (void)snprintf(
            lost, sizeof lost,
            "lost is what came after %s%s%s: what is saved behind it needs a snapshot",
            hf_optime_is_none(&first->lost_after) ? "the beginning"
                                                  : hf_optime_text(&first->lost_after).text,
            hf_optime_is_none(&first->lost_until) ? "" : " and before ",
            hf_optime_is_none(&first->lost_until) ? "" : hf_optime_text(&first->lost_until).text);
    }
    (void)snprintf(out, out_len, "a check of the stored oplog found %llu fault%s: %s%s%s: %.*s; %s",
                   (unsigned long long)report->fault_total,
                   report->fault_total == 1 ? "" : "s, first", hf_check_fault_word(first->kind),
                   first->object[0] == '\0' ? "" : " ", first->object, HF_CHAIN_TEXT_BYTES,
                   first->text, lost);
}

static enum hf_err tell(struct hf_server_app *app, const struct hf_job_record *job,
                        const struct hf_check_report *report, struct hf_error *err)
{
    char text[HF_RECORD_ERROR_BYTES];
    const struct hf_event_wish event = {
        .job = job->id, .set_name = job->set_name, .type = HF_EVENT_OPLOG_DAMAGED, .text = text};

    describe(report, text, sizeof text);
    if (HF_FAULT("server.check.read", err) != HF_ERR_OK ||
        hf_event_tell(app, &event, err) != HF_ERR_OK ||
        HF_FAULT("server.check.told", err) != HF_ERR_OK ||
        hf_flow_want_snapshot(app, &job->id, text, err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_FAULT("server.check.wanted", err);
}

/* The last word counts, whoever had another meanwhile. */
static enum hf_err keep(struct hf_server_app *app, const struct hf_id *job,
                        const struct hf_json *document, struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(job);

    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};
        enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_CHECK, id.text, &old, err);
        if (code == HF_ERR_OK) {
            code = hf_catalog_replace(app->catalog, HF_KIND_CHECK, id.text, old.revision, document,
                                      HF_CATALOG_SYNCED, err);
        } else if (code == HF_ERR_NOT_FOUND) {
            code = hf_catalog_insert(app->catalog, HF_KIND_CHECK, id.text, document,
                                     HF_CATALOG_SYNCED, err);
        }
        if (code == HF_ERR_OK) {
            return HF_FAULT("server.check.kept", err);
        }
        if (code != HF_ERR_CONFLICT && code != HF_ERR_EXISTS && code != HF_ERR_NOT_FOUND) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "check of job %s: its record changes too often", id.text);
}

/* A check may read for hours; a job that was terminated since has nothing that could be damaged. */
static enum hf_err is_stored(struct hf_server_app *app, const struct hf_job_record *seen,
                             struct hf_error *err)
{
    struct hf_job_record job;

    if (hf_keep_job_get(app->catalog, &seen->id, &job, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_job_does(&job).stored && job.ended_s == seen->ended_s
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CANCELLED, "the job is %s", hf_job_state_word(job.state));
}

/* Whoever terminates the job removes the record before the job is gone: one that was put behind that goes with it. */
static enum hf_err keep_of_stored(struct hf_server_app *app, const struct hf_job_record *job,
                                  const struct hf_json *document, struct hf_error *err)
{
    struct hf_catalog_document late = {.json = NULL};
    struct hf_error why;

    enum hf_err code = keep(app, &job->id, document, err);
    if (code != HF_ERR_OK || is_stored(app, job, &why) != HF_ERR_CANCELLED) {
        return code;
    }
    code = hf_catalog_get(app->catalog, HF_KIND_CHECK, hf_id_text(&job->id).text, &late, err);
    if (code == HF_ERR_OK) {
        code = hf_catalog_remove(app->catalog, HF_KIND_CHECK, late.id, late.revision, err);
        hf_catalog_document_fini(&late);
    }
    if (code == HF_ERR_OK || code == HF_ERR_NOT_FOUND) {
        *err = why;
    }
    return err->code;
}

static enum hf_err check(struct hf_server_app *app, const struct hf_job_record *job, bool by_hand,
                         struct hf_json **document, struct hf_error *err)
{
    HF_CLEANUP(hf_check_report_fini) struct hf_check_report report = {.faults = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *before = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *now = NULL;
    uint64_t started_s = hf_flow_now_s();

    if (read_all(app, job, &report, err) != HF_ERR_OK || is_stored(app, job, err) != HF_ERR_OK ||
        hf_flow_check_last(app, &job->id, &before, err) != HF_ERR_OK) {
        return err->code;
    }
    now = hf_check_to_json(&report);
    hf_json_set_text(now, "id", hf_id_text(&job->id).text);
    hf_json_set_text(now, "projectId", hf_id_text(&job->project).text);
    hf_json_set_text(now, "setName", job->set_name);
    hf_json_set_u64(now, "startedS", started_s);
    hf_json_set_u64(now, "endedS", hf_flow_now_s());
    hf_json_set_bool(now, "byHand", by_hand);
    if ((hf_check_has_news(before, now) && tell(app, job, &report, err) != HF_ERR_OK) ||
        keep_of_stored(app, job, now, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(app->log, "oplog.checked", HF_STR("set", job->set_name),
                HF_U64("slices", report.slices), HF_U64("entries", report.entries),
                HF_U64("bytes", report.bytes), HF_U64("faults", report.fault_total));
    *document = HF_TAKE(now);
    return HF_ERR_OK;
}

enum hf_err hf_flow_check(struct hf_server_app *app, const struct hf_job_record *job, bool by_hand,
                          struct hf_json **document, struct hf_error *err)
{
    *document = NULL;
    if (atomic_exchange(&app->checking, true)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "a check of a stored oplog is under way; hint: ask again when it has ended");
    }
    enum hf_err code = check(app, job, by_hand, document, err);
    atomic_store(&app->checking, false);
    return code == HF_ERR_OK ? code : hf_wrap(err, "check of the oplog of set %s", job->set_name);
}

/* ---- On schedule ---- */

static enum hf_err is_due(struct hf_server_app *app, const struct hf_job_record *job, bool *due,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *last = NULL;
    uint64_t now_s = hf_flow_now_s();

    if (hf_flow_check_last(app, &job->id, &last, err) != HF_ERR_OK) {
        return err->code;
    }
    uint64_t since_s = last == NULL ? job->created_s : hf_json_get_u64(last, "endedS", 0);
    /* A time that is still to come was written by a clock that has been set back since. */
    *due = now_s < since_s || now_s - since_s >= app->oplog_check_s;
    return HF_ERR_OK;
}

enum hf_err hf_flow_check_tick(struct hf_server_app *app, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    struct hf_error first = {.code = HF_ERR_OK};

    if (app->oplog_check_s == 0) {
        return HF_ERR_OK;
    }
    if (hf_fleet_jobs(app, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < jobs.count && !hf_cancel_requested(app->cancel); i++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *document = NULL;
        struct hf_error one;
        bool due = false;
        if (!hf_job_does(&jobs.items[i]).stored) {
            continue;
        }
        enum hf_err code = is_due(app, &jobs.items[i], &due, &one);
        if (code == HF_ERR_OK && due) {
            code = hf_flow_check(app, &jobs.items[i], false, &document, &one);
        }
        /* One by hand goes on: the next tick asks again. A job that was terminated meanwhile has none. */
        if (code != HF_ERR_OK && code != HF_ERR_CONFLICT && code != HF_ERR_CANCELLED &&
            !hf_cancel_requested(app->cancel)) {
            hf_log_warn(app->log, "oplog.check.failed", HF_STR("set", jobs.items[i].set_name),
                        HF_STR("error", one.message));
            first = first.code == HF_ERR_OK ? one : first;
        }
    }
    *err = first;
    return first.code;
}
