/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a capture: steps 4 to 8 of store-format.md 5, and giving up.
 *
 * How an attempt ends:
 *   agent OK   -> check -> manifest -> look again -> COMPLETE -> claims dropped
 *   any of these refused (CORRUPT, LOST…)            -> FAILED, manifest gone, claim dropped
 *   agent stopped, cut off, silent                   -> void -> ABANDONED, claim kept for adoption
 *   agent failed for good (no space, no rights…)     -> void -> FAILED, claim dropped
 *   the store does not answer                        -> FINISHING stays; tried again
 */
#include <stdio.h>

#include "backup/job.h"
#include "backup/lifecycle.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "server/flow.h"
#include "server/flow_internal.h"
#include "server/flow_tail.h"
#include "server/rounds.h"
#include "server/stores.h"
#include "snapshot/commit.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"

#define CAS_TRIES 8

/* ---- Small moves, each one compare-and-set ---- */

enum hf_err hf_flow_end_task(struct hf_server_app *app, const struct hf_id *id,
                             const struct hf_error *outcome, struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_task_record task;
        uint64_t revision = 0;

        enum hf_err code = hf_keep_task_get(app->catalog, id, &task, &revision, err);
        if (code == HF_ERR_NOT_FOUND || (code == HF_ERR_OK && task.state == HF_TASK_ENDED)) {
            return HF_ERR_OK;
        }
        if (code != HF_ERR_OK ||
            hf_task_move(&task, HF_TASK_ENDED, hf_flow_now_s(), err) != HF_ERR_OK) {
            return err->code;
        }
        if (outcome != NULL) {
            (void)snprintf(task.error_class, sizeof task.error_class, "%s",
                           hf_err_name(outcome->code));
            (void)snprintf(task.error, sizeof task.error, "%s", outcome->message);
        }
        code = hf_keep_task_replace(app->catalog, &task, &revision, err);
        if (code == HF_ERR_OK) {
            hf_flow_notify(app, &task.agent);
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "task %s changes too often", hf_id_text(id).text);
}

enum hf_err hf_flow_end_job_lease(struct hf_server_app *app, const struct hf_id *job_id,
                                  const struct hf_id *snapshot,
                                  const struct hf_snapshot_record *ended, struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_job_record job;
        uint64_t revision = 0;

        if (hf_keep_job_get(app->catalog, job_id, &job, &revision, err) != HF_ERR_OK) {
            return err->code == HF_ERR_NOT_FOUND ? HF_ERR_OK : err->code;
        }
        if (!hf_job_end_capture(&job, snapshot)) {
            return HF_ERR_OK;
        }
        if (ended != NULL) {
            hf_job_note_attempt(&job, ended);
        }
        enum hf_err code = hf_keep_job_replace(app->catalog, &job, &revision, err);
        if (code == HF_ERR_OK) {
            hf_rounds_wake(app->rounds, &job.id);
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "job %s changes too often", hf_id_text(job_id).text);
}

enum hf_err hf_flow_end_snapshot(struct hf_server_app *app, struct hf_snapshot_record *record,
                                 enum hf_snapshot_state to, const struct hf_error *why,
                                 struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_snapshot_record now;
        uint64_t revision = 0;

        if (hf_keep_snapshot_get(app->catalog, &record->id, &now, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        if (now.state != HF_SNAPSHOT_IN_PROGRESS) {
            *record = now;
            return HF_ERR_OK;
        }
        struct hf_snapshot_record next = to == HF_SNAPSHOT_COMPLETE ? *record : now;
        if (hf_snapshot_move(&next, to, hf_flow_now_s(), err) != HF_ERR_OK) {
            return err->code;
        }
        if (why != NULL) {
            (void)snprintf(next.error_class, sizeof next.error_class, "%s", hf_err_name(why->code));
            (void)snprintf(next.error, sizeof next.error, "%s", why->message);
        }
        enum hf_err code = hf_keep_snapshot_replace(app->catalog, &next, &revision, err);
        if (code == HF_ERR_OK) {
            *record = next;
        }
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "snapshot %s changes too often", hf_id_text(&record->id).text);
}

void hf_flow_forget_finish(struct hf_server_app *app, const struct hf_id *task)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error ignored;

    /* A leftover only takes room: the task says that it has ended. */
    if (hf_catalog_get(app->catalog, HF_KIND_FINISH, hf_id_text(task).text, &document, &ignored) ==
        HF_ERR_OK) {
        (void)!hf_catalog_remove(app->catalog, HF_KIND_FINISH, document.id, document.revision,
                                 &ignored);
    }
}

enum hf_err hf_flow_wind_up(struct hf_server_app *app, const struct hf_snapshot_record *record,
                            struct hf_error *err)
{
    struct hf_error outcome = {.code = HF_ERR_OK, .message = ""};
    struct hf_open_store at = {.store = NULL};

    if (record->state != HF_SNAPSHOT_ABANDONED &&
        hf_stores_get(app, &record->store, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    if (record->state == HF_SNAPSHOT_FAILED || record->state == HF_SNAPSHOT_ABANDONED) {
        outcome.code = hf_err_from_name(record->error_class);
        (void)snprintf(outcome.message, sizeof outcome.message, "%.*s",
                       (int)sizeof outcome.message - 1, record->error);
    }
    /* A manifest whose second look failed: a death may have come between FAILED and its end. */
    if (record->state == HF_SNAPSHOT_FAILED &&
        hf_commit_drop_failed(at.store, &record->job, record->capture, err) != HF_ERR_OK) {
        return err->code;
    }
    /* Adopted claims go with a COMPLETE snapshot only: until then a later attempt may need them. */
    if (record->state == HF_SNAPSHOT_COMPLETE && record->adopted_capture != 0 &&
        hf_commit_drop_claim(at.store, &record->job, &record->adopted_writer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (record->state != HF_SNAPSHOT_ABANDONED &&
        hf_commit_drop_claim(at.store, &record->job, &record->writer, err) != HF_ERR_OK) {
        return err->code;
    }
    if (HF_FAULT("server.finish.claims_dropped", err) != HF_ERR_OK ||
        hf_flow_end_job_lease(app, &record->job, &record->id, record, err) != HF_ERR_OK ||
        hf_flow_end_task(app, &record->task, &outcome, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_flow_forget_finish(app, &record->task);
    if (record->state == HF_SNAPSHOT_COMPLETE) {
        hf_log_info(app->log, "snapshot.complete", HF_STR("snapshot", hf_id_text(&record->id).text),
                    HF_STR("set", record->set_name), HF_U64("bytes", record->bytes),
                    HF_U64("new_bytes", record->new_bytes),
                    HF_U64("stored_bytes", record->stored_bytes));
    } else {
        hf_log_error(
            app->log, "snapshot.failed", HF_STR("snapshot", hf_id_text(&record->id).text),
            HF_STR("set", record->set_name), HF_STR("job", hf_id_text(&record->job).text),
            HF_STR("member", record->member), HF_STR("agent", hf_id_text(&record->agent).text),
            HF_STR("state", hf_snapshot_state_word(record->state)), HF_STR("error", record->error));
    }
    return HF_ERR_OK;
}

/* ---- After the agent ---- */

/* What is kept is what was understood, not what came: as text it is no longer than a message may be. */
static enum hf_err finish_document(const struct hf_msg_finish *finish, struct hf_json **out,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);

    if (hf_msg_finish_encode(finish, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "finish");
    }
    return hf_json_decode((struct hf_str){(const char *)text.data, text.len}, HF_MESSAGE_MAX_BYTES,
                          out, err);
}

enum hf_err hf_flow_note_finish(struct hf_server_app *app, const struct hf_msg_finish *finish,
                                bool *fresh, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_task_record task;
    uint64_t revision = 0;

    *fresh = false;
    if (hf_keep_task_get(app->catalog, &finish->task, &task, &revision, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_id_equal(&task.attempt, &finish->attempt) ||
        !hf_id_equal(&task.agent, &finish->agent)) {
        return hf_fail(err, HF_ERR_LOST, "task %s has gone to another attempt",
                       hf_id_text(&task.id).text);
    }
    if (task.kind != finish->kind) {
        return hf_fail(err, HF_ERR_INVALID, "finish: kind: task %s is a %s",
                       hf_id_text(&task.id).text, hf_task_kind_name(task.kind));
    }
    if (task.state == HF_TASK_FINISHING || task.state == HF_TASK_ENDED) {
        return HF_ERR_OK;
    }
    if (finish_document(finish, &json, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_catalog_insert(app->catalog, HF_KIND_FINISH, hf_id_text(&task.id).text,
                                         json, HF_CATALOG_SYNCED, err);
    if ((code != HF_ERR_OK && code != HF_ERR_EXISTS) ||
        hf_task_move(&task, HF_TASK_FINISHING, hf_flow_now_s(), err) != HF_ERR_OK ||
        HF_FAULT("server.finish.noted", err) != HF_ERR_OK ||
        hf_keep_task_replace(app->catalog, &task, &revision, err) != HF_ERR_OK) {
        /* A poll may have changed the task meanwhile: the agent sends its finish again. */
        return err->code == HF_ERR_CONFLICT ? hf_fail(err, HF_ERR_BUSY, "task %s is being changed",
                                                      hf_id_text(&task.id).text)
                                            : err->code;
    }
    *fresh = true;
    return HF_ERR_OK;
}

static enum hf_err read_finish(struct hf_server_app *app, const struct hf_id *task,
                               struct hf_msg_finish *out, struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES * 2);

    if (hf_catalog_get(app->catalog, HF_KIND_FINISH, hf_id_text(task).text, &document, err) !=
            HF_ERR_OK ||
        hf_json_encode(document.json, 0, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_msg_finish_decode((struct hf_str){(const char *)text.data, text.len}, out, err);
}

static void fill_record(struct hf_snapshot_record *record, const struct hf_msg_finish *finish)
{
    const struct hf_facts *facts = &finish->facts;
    const struct hf_tree_sums *sums = &finish->root.sums;

    (void)snprintf(record->fcv, sizeof record->fcv, "%s", facts->fcv);
    (void)snprintf(record->server_version, sizeof record->server_version, "%s",
                   facts->server_version);
    (void)snprintf(record->engine, sizeof record->engine, "%s", facts->engine);
    record->checkpoint = facts->checkpoint;
    record->oplog_end = facts->oplog_end;
    record->committed = facts->committed;
    record->files = sums->files;
    record->bytes = sums->bytes;
    record->new_bytes = sums->new_bytes;
    record->stored_bytes = sums->stored_bytes;
    record->read_bytes = sums->read_bytes;
    record->blocks_reused = sums->blocks_reused;
    record->blocks_new = sums->blocks_new;
    record->blocks_zero = sums->blocks_zero;
    record->files_skipped = sums->files_skipped;
}

/* Manifest of the newest snapshot before this one, whose number and seal the new one carries. */
static enum hf_err fill_predecessor(struct hf_store *store, const struct hf_keyring *keyring,
                                    struct hf_manifest *manifest, struct hf_error *err)
{
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list captures = {0};

    if (hf_list_captures(store, &manifest->job, &captures, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = captures.count; i-- > 0;) {
        HF_CLEANUP(hf_manifest_fini) struct hf_manifest before = {0};
        struct hf_manifest_read read;

        if (captures.captures[i] >= manifest->capture) {
            continue;
        }
        enum hf_err code = hf_list_read_manifest(store, &manifest->job, captures.captures[i],
                                                 keyring, &before, &read, err);
        if (code == HF_ERR_OK && read.kind == HF_MANIFEST_SNAPSHOT) {
            manifest->predecessor = before.capture;
            manifest->predecessor_seal = before.seal;
            return HF_ERR_OK;
        }
        if (code != HF_ERR_OK && hf_err_retry(code)) {
            return code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err fill_manifest(struct hf_server_app *app, const struct hf_snapshot_record *record,
                                 struct hf_msg_finish *finish, const struct hf_keyring *keyring,
                                 struct hf_manifest *out, struct hf_error *err)
{
    struct hf_open_store at;
    struct hf_project_record project = {.name = ""};

    out->job = record->job;
    out->capture = record->capture;
    out->writer = record->writer;
    out->snapshot = record->id;
    out->project = record->project;
    out->cluster = record->cluster;
    /* A project that went meanwhile left no name. */
    enum hf_err code = hf_keep_project_get(app->catalog, &record->project, &project, NULL, err);
    if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
        return code;
    }
    (void)snprintf(out->project_name, sizeof out->project_name, "%s", project.name);
    (void)snprintf(out->cluster_name, sizeof out->cluster_name, "%s", record->set_name);
    out->encrypted = record->encrypted;
    out->created_s = record->created_s;
    out->expires_s = record->expires_s;
    out->parent = record->parent_capture;
    memcpy(out->adopted, finish->adopted, sizeof out->adopted);
    out->adopted_count = finish->adopted_count;
    out->facts = finish->facts;
    finish->facts = (struct hf_facts){0};
    out->root = finish->root;
    finish->root = (struct hf_tree_root){0};
    return hf_stores_get(app, &record->store, &at, err) == HF_ERR_OK
               ? fill_predecessor(at.store, keyring, out, err)
               : err->code;
}

/* Only attempts that the record was given may be adopted, whatever the agent says (keeps I5). */
static enum hf_err check_adopted(const struct hf_snapshot_record *record,
                                 const struct hf_msg_finish *finish, struct hf_error *err)
{
    for (size_t i = 0; i < finish->adopted_count; i++) {
        if (record->adopted_capture == 0 || finish->adopted[i].capture != record->adopted_capture ||
            !hf_id_equal(&finish->adopted[i].writer, &record->adopted_writer)) {
            return hf_fail(err, HF_ERR_CORRUPT,
                           "the agent adopted capture %llu, which was not offered to it",
                           (unsigned long long)finish->adopted[i].capture);
        }
    }
    return HF_ERR_OK;
}

/* What the agent found out must be of the set and member that it was sent to, and not contradict itself. Clocks are not
 * asked: those of three hosts need not agree. */
static enum hf_err check_facts(const struct hf_snapshot_record *record,
                               const struct hf_facts *facts, struct hf_error *err)
{
    if (strcmp(facts->set_name, record->set_name) != 0 ||
        strcmp(facts->member, record->member) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "the facts are of member %s of set %s, the capture is of %s of set %s",
                       facts->member, facts->set_name, record->member, record->set_name);
    }
    if (hf_optime_compare(&facts->oplog_start, &facts->oplog_end) > 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "the facts' oplog ends before it starts");
    }
    return HF_ERR_OK;
}

/* Steps 4 and 5. */
static enum hf_err check_and_put(struct hf_server_app *app, struct hf_snapshot_record *record,
                                 struct hf_msg_finish *finish, struct hf_manifest *manifest,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {0};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest parent = {0};
    struct hf_manifest_read read;
    struct hf_commit_check_result found = {0};
    struct hf_open_store at;

    if (check_facts(record, &finish->facts, err) != HF_ERR_OK ||
        check_adopted(record, finish, err) != HF_ERR_OK ||
        hf_stores_get(app, &record->store, &at, err) != HF_ERR_OK ||
        hf_stores_load_keys(&at, &record->job, &keyring, err) != HF_ERR_OK) {
        return err->code;
    }
    if (record->parent_capture != 0) {
        enum hf_err code = hf_list_read_manifest(at.store, &record->job, record->parent_capture,
                                                 &keyring, &parent, &read, err);
        if (code == HF_ERR_NOT_FOUND) {
            return hf_fail(err, HF_ERR_LOST,
                           "the parent, capture %llu, was deleted meanwhile; hint: take it again",
                           (unsigned long long)record->parent_capture);
        }
        /* A parent that cannot be read was no parent for the agent either (fill_parent). */
        if (code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED) {
            record->parent_capture = 0;
        } else if (code != HF_ERR_OK) {
            return code;
        }
    }
    const struct hf_commit_check_options check = {
        .store = at.store,
        .keyring = &keyring,
        .capture = record->capture,
        .writer = record->writer,
        .adopted = finish->adopted,
        .adopted_count = finish->adopted_count,
        .root = &finish->root,
        .parent = record->parent_capture == 0 ? NULL : &parent.root,
        .cancel = app->cancel,
    };
    if (hf_commit_check(&check, &found, err) != HF_ERR_OK ||
        HF_FAULT("server.finish.checked", err) != HF_ERR_OK) {
        return err->code;
    }
    if (found.blocks_healed > 0) {
        hf_log_info(app->log, "snapshot.healed", HF_STR("snapshot", hf_id_text(&record->id).text),
                    HF_STR("set", record->set_name), HF_U64("blocks", found.blocks_healed));
    }
    fill_record(record, finish);
    if (fill_manifest(app, record, finish, &keyring, manifest, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_commit_manifest(at.store, &keyring, manifest, err) != HF_ERR_OK) {
        return err->code;
    }
    record->manifest_s = hf_flow_now_s();
    return HF_ERR_OK;
}

/* FAILED, then the manifest, then the claim (store-format.md 5). */
static enum hf_err fail_snapshot(struct hf_server_app *app, struct hf_snapshot_record *record,
                                 const struct hf_error *why, struct hf_error *err)
{
    if (hf_flow_end_snapshot(app, record, HF_SNAPSHOT_FAILED, why, err) != HF_ERR_OK) {
        return err->code;
    }
    if (HF_FAULT("server.fail.recorded", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_flow_wind_up(app, record, err);
}

/* Steps 6 to 8, for a manifest that stands. */
static enum hf_err complete(struct hf_server_app *app, struct hf_snapshot_record *record,
                            const struct hf_manifest *manifest, struct hf_error *err)
{
    struct hf_open_store at;

    if (hf_stores_get(app, &record->store, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_commit_look_again(at.store, manifest, err);
    if (code == HF_ERR_LOST) {
        struct hf_error why = *err;
        return fail_snapshot(app, record, &why, err);
    }
    if (code != HF_ERR_OK || HF_FAULT("server.finish.looked_again", err) != HF_ERR_OK ||
        hf_flow_end_snapshot(app, record, HF_SNAPSHOT_COMPLETE, NULL, err) != HF_ERR_OK ||
        HF_FAULT("server.finish.completed", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_flow_wind_up(app, record, err);
}

/* For an attempt whose manifest is there already: after a death between 5 and 7, or when giving up came too late. */
static enum hf_err complete_from_store(struct hf_server_app *app, struct hf_snapshot_record *record,
                                       struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {0};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {0};
    HF_CLEANUP(hf_msg_finish_fini) struct hf_msg_finish finish = {0};
    struct hf_manifest_read read;
    struct hf_open_store at;

    if (hf_stores_get(app, &record->store, &at, err) != HF_ERR_OK ||
        hf_stores_load_keys(&at, &record->job, &keyring, err) != HF_ERR_OK ||
        hf_list_read_manifest(at.store, &record->job, record->capture, &keyring, &manifest, &read,
                              err) != HF_ERR_OK) {
        return err->code;
    }
    finish.root.sums = manifest.root.sums;
    if (hf_facts_copy(&manifest.facts, &finish.facts, err) != HF_ERR_OK) {
        return err->code;
    }
    fill_record(record, &finish);
    record->parent_capture = manifest.parent;
    return complete(app, record, &manifest, err);
}

/* Errors after which the same work may go well, so that its packs are kept for the next attempt to adopt. */
static bool worth_adopting(enum hf_err code)
{
    return hf_err_retry(code) || code == HF_ERR_LOST || code == HF_ERR_CANCELLED;
}

/* The store takes nothing, for as long as somebody leaves it full, read-only or broken. */
static bool takes_nothing(enum hf_err code)
{
    return code == HF_ERR_NO_SPACE || code == HF_ERR_DENIED || code == HF_ERR_IO;
}

/*
 * The void, then ABANDONED or FAILED; or COMPLETE when a manifest stands. The void stays: with it, whatever this agent may
 * still send can never become a snapshot. Where the store takes not even that, the record must not wait for it: it is
 * FAILED, which no one completes any more (step 7 is a compare-and-set), and a manifest that appears after all goes with
 * the winding up.
 */
enum hf_err hf_flow_agent_failed(struct hf_server_app *app, struct hf_snapshot_record *record,
                                 const struct hf_error *why, struct hf_error *err)
{
    enum hf_snapshot_state to =
        worth_adopting(why->code) ? HF_SNAPSHOT_ABANDONED : HF_SNAPSHOT_FAILED;
    enum hf_give_up_outcome outcome = HF_GIVEN_UP;
    struct hf_open_store at;

    if (hf_stores_get(app, &record->store, &at, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_commit_give_up(at.store, &record->job, record->capture, &outcome, err);
    if (takes_nothing(code)) {
        hf_log_warn(app->log, "snapshot.void_not_put",
                    HF_STR("snapshot", hf_id_text(&record->id).text),
                    HF_STR("error", err->message));
        to = HF_SNAPSHOT_FAILED;
    } else if (code != HF_ERR_OK || HF_FAULT("server.give_up.void_put", err) != HF_ERR_OK) {
        return err->code;
    }
    if (outcome == HF_MANIFEST_STANDS) {
        return complete_from_store(app, record, err);
    }
    if (hf_flow_end_snapshot(app, record, to, why, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_flow_wind_up(app, record, err);
}

enum hf_err hf_flow_give_up(struct hf_server_app *app, const struct hf_id *task_id, const char *why,
                            struct hf_error *err)
{
    struct hf_snapshot_record record;
    struct hf_task_record task;
    struct hf_error reason;

    if (hf_keep_task_get(app->catalog, task_id, &task, NULL, err) != HF_ERR_OK ||
        hf_keep_snapshot_get(app->catalog, &task.snapshot, &record, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    if (record.state != HF_SNAPSHOT_IN_PROGRESS) {
        return hf_flow_wind_up(app, &record, err);
    }
    (void)hf_fail(&reason, HF_ERR_LOST, "%s", why);
    return hf_flow_agent_failed(app, &record, &reason, err);
}

enum hf_err hf_flow_not_given(struct hf_server_app *app, const struct hf_task_record *task,
                              const struct hf_error *why, struct hf_error *err)
{
    struct hf_snapshot_record record;

    if (task->kind == HF_TASK_TARGET) {
        struct hf_msg_finish refused = {.code = why->code};
        (void)snprintf(refused.message, sizeof refused.message, "%s", why->message);
        return hf_flow_finish_target(app, task, &refused, err);
    }
    if (task->kind == HF_TASK_RESTORE) {
        struct hf_msg_finish refused = {.code = why->code};
        (void)snprintf(refused.message, sizeof refused.message, "%s", why->message);
        return hf_flow_finish_restore(app, task, &refused, err);
    }
    if (task->kind == HF_TASK_TAIL) {
        return hf_flow_tail_finish(app, task, why->code, why->message, err);
    }
    if (hf_keep_snapshot_get(app->catalog, &task->snapshot, &record, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return record.state == HF_SNAPSHOT_IN_PROGRESS ? hf_flow_agent_failed(app, &record, why, err)
                                                   : hf_flow_wind_up(app, &record, err);
}

/* What the agent says of its phases, however it ended. Of a record that has ended since nothing is noted. */
static enum hf_err note_times(struct hf_server_app *app, const struct hf_task_record *task,
                              const struct hf_msg_finish *finish, struct hf_snapshot_record *record,
                              struct hf_error *err)
{
    enum hf_err code = HF_ERR_CONFLICT;

    for (unsigned tries = 0; code == HF_ERR_CONFLICT && tries < CAS_TRIES; tries++) {
        uint64_t revision = 0;
        if (hf_keep_snapshot_get(app->catalog, &task->snapshot, record, &revision, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        if (record->state != HF_SNAPSHOT_IN_PROGRESS || record->sent_s != 0) {
            return HF_ERR_OK;
        }
        record->sent_s = task->seen_s;
        record->times = finish->times;
        code = hf_keep_snapshot_replace(app->catalog, record, &revision, err);
    }
    return code;
}

static enum hf_err finish_capture(struct hf_server_app *app, const struct hf_task_record *task,
                                  struct hf_msg_finish *finish, struct hf_error *err)
{
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {0};
    struct hf_snapshot_record record;

    if (note_times(app, task, finish, &record, err) != HF_ERR_OK) {
        return err->code;
    }
    if (record.state != HF_SNAPSHOT_IN_PROGRESS) {
        return hf_flow_wind_up(app, &record, err);
    }
    if (finish->code != HF_ERR_OK) {
        struct hf_error why = {.code = finish->code};
        (void)snprintf(why.message, sizeof why.message, "%s", finish->message);
        return hf_flow_agent_failed(app, &record, &why, err);
    }
    enum hf_err code = check_and_put(app, &record, finish, &manifest, err);
    if (code == HF_ERR_EXISTS) {
        /* Our own manifest of an earlier try, or another server's for the same attempt. */
        return complete_from_store(app, &record, err);
    }
    if (code == HF_ERR_OK) {
        code = HF_FAULT("server.finish.manifest_put", err);
    }
    if (code != HF_ERR_OK) {
        struct hf_error why = *err;
        if (hf_err_retry(code) || code == HF_ERR_CANCELLED) {
            return code;
        }
        (void)hf_wrap(&why, "finish snapshot %s", hf_id_text(&record.id).text);
        return hf_flow_agent_failed(app, &record, &why, err);
    }
    return complete(app, &record, &manifest, err);
}

void hf_flow_take_replay(const struct hf_msg_replay *replay, struct hf_restore_point *point)
{
    point->top = replay->top;
    point->compared = replay->compared;
    point->inserted = replay->inserted;
    point->inserted_bytes = replay->inserted_bytes;
    point->validated = replay->validated;
    point->wrong = replay->wrong;
    (void)snprintf(point->notes, sizeof point->notes, "%s", replay->notes);
}

enum hf_err hf_flow_finish_restore(struct hf_server_app *app, const struct hf_task_record *task,
                                   const struct hf_msg_finish *finish, struct hf_error *err)
{
    struct hf_error outcome = {.code = finish->code};
    struct hf_restore_record restore;
    uint64_t revision = 0;

    (void)snprintf(outcome.message, sizeof outcome.message, "%s", finish->message);
    if (hf_keep_restore_get(app->catalog, &task->restore, &restore, &revision, err) != HF_ERR_OK) {
        return err->code;
    }
    if (restore.point.wanted && outcome.code == HF_ERR_OK && !finish->replay.done) {
        /* It passed over what it does not know, and the directory holds the snapshot as it was taken. */
        (void)hf_fail(&outcome, HF_ERR_UNSUPPORTED,
                      "the agent does not know points in time: the directory holds the snapshot; "
                      "hint: update the agent");
    }
    if (restore.state == HF_RESTORE_IN_PROGRESS) {
        enum hf_restore_state to = outcome.code == HF_ERR_OK          ? HF_RESTORE_FINISHED
                                   : outcome.code == HF_ERR_CANCELLED ? HF_RESTORE_KILLED
                                                                      : HF_RESTORE_BROKEN;
        if (hf_restore_move(&restore, to, hf_flow_now_s(), err) != HF_ERR_OK) {
            return err->code;
        }
        restore.files = finish->restored_files;
        restore.bytes = finish->restored_bytes;
        restore.written_bytes = finish->written_bytes;
        restore.removed_files = finish->removed_files;
        hf_flow_take_replay(&finish->replay, &restore.point);
        if (outcome.code != HF_ERR_OK) {
            (void)snprintf(restore.error_class, sizeof restore.error_class, "%s",
                           hf_err_name(outcome.code));
            (void)snprintf(restore.error, sizeof restore.error, "%.*s",
                           (int)sizeof restore.error - 1, outcome.message);
        }
        if (hf_keep_restore_replace(app->catalog, &restore, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_log_info(app->log, "restore.ended", HF_STR("restore", hf_id_text(&restore.id).text),
                    HF_STR("state", hf_restore_state_word(restore.state)),
                    HF_STR("error", restore.error));
        if (restore.point.wrong > 0) {
            hf_log_warn(app->log, "restore.left_wrong",
                        HF_STR("restore", hf_id_text(&restore.id).text),
                        HF_U64("count", restore.point.wrong), HF_STR("notes", restore.point.notes));
        }
    }
    if (hf_flow_end_task(app, &task->id, &outcome, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_flow_forget_finish(app, &task->id);
    return HF_ERR_OK;
}

bool hf_flow_begin_ending(struct hf_server_app *app, const struct hf_id *task)
{
    HF_LOCKED(&app->ending_mutex);
    for (size_t i = 0; i < app->ending_count; i++) {
        if (hf_id_equal(&app->ending[i], task)) {
            return false;
        }
    }
    if (app->ending_count == HF_SERVER_ENDING_MAX) {
        return false;
    }
    app->ending[app->ending_count++] = *task;
    return true;
}

void hf_flow_finish_ending(struct hf_server_app *app, const struct hf_id *task)
{
    HF_LOCKED(&app->ending_mutex);
    for (size_t i = 0; i < app->ending_count; i++) {
        if (hf_id_equal(&app->ending[i], task)) {
            app->ending[i] = app->ending[--app->ending_count];
            return;
        }
    }
}

static enum hf_err finish_step(struct hf_server_app *app, const struct hf_task_record *task,
                               const struct hf_msg_finish *finish, struct hf_error *err)
{
    if (hf_flow_finish_target(app, task, finish, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_flow_forget_finish(app, &task->id);
    hf_flow_target_drive(app, &task->restore);
    return HF_ERR_OK;
}

static enum hf_err finish_task(struct hf_server_app *app, const struct hf_id *task_id,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_msg_finish_fini) struct hf_msg_finish finish = {0};
    struct hf_task_record task;

    if (hf_keep_task_get(app->catalog, task_id, &task, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    if (task.state == HF_TASK_ENDED) {
        return HF_ERR_OK;
    }
    if (read_finish(app, task_id, &finish, err) != HF_ERR_OK) {
        struct hf_error why = *err;
        (void)hf_wrap(&why, "finish of task %s", hf_id_text(task_id).text);
        /* What cannot be read today cannot be tomorrow: the job must not stay taken for ever. */
        return hf_err_retry(why.code) ? hf_wrap(err, "finish of task %s", hf_id_text(task_id).text)
                                      : hf_flow_not_given(app, &task, &why, err);
    }
    switch (task.kind) {
    case HF_TASK_CAPTURE:
        return finish_capture(app, &task, &finish, err);
    case HF_TASK_RESTORE:
        return hf_flow_finish_restore(app, &task, &finish, err);
    case HF_TASK_TAIL:
        return hf_flow_tail_finish(app, &task, finish.code, finish.message, err);
    case HF_TASK_TARGET:
        return finish_step(app, &task, &finish, err);
    }
    return hf_fail(err, HF_ERR_INTERNAL, "task %s is of no kind", hf_id_text(task_id).text);
}

enum hf_err hf_flow_finish(struct hf_server_app *app, const struct hf_id *task_id,
                           struct hf_error *err)
{
    if (!hf_flow_begin_ending(app, task_id)) {
        return HF_ERR_OK;
    }
    enum hf_err code = finish_task(app, task_id, err);
    hf_flow_finish_ending(app, task_id);
    return code;
}
