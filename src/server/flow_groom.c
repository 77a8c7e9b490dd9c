/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upkeep of the snapshot store.
 *
 *   take a slot -> count | groom | check -> what came of it into the job's record -> give the slot back
 *
 * The slot only keeps works from treading on each other's toes: whoever lost it without noticing does no harm
 * (store-format.md 5). A server that dies in the middle leaves a slot that is free after a while, and a job whose record
 * says that the work is still due.
 */
#include "server/flow_groom.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "backup/job.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "server/events.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/keep.h"
#include "server/stores.h"
#include "snapshot/commit.h"
#include "snapshot/groom.h"
#include "snapshot/keys.h"
#include "snapshot/verify.h"

#define JOBS_MAX 100000
#define TRIES 16
#define RENEW_EVERY_MS ((uint64_t)60 * 1000)
#define TOLD_FAILURES 3 /* that have another cause than damage: the store may be back at once */

/* ---- Records ---- */

static enum hf_err load_usages(struct hf_server_app *app, struct hf_keep_usages *out,
                               struct hf_error *err)
{
    const struct hf_catalog_query query = {.limit = JOBS_MAX};

    return hf_keep_usage_find(app->catalog, &query, out, err);
}

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, HF_ID_BYTES);
}

static enum hf_err add_usage(struct hf_server_app *app, const struct hf_job_record *job,
                             struct hf_error *err)
{
    struct hf_usage_record usage = {
        .id = job->id, .project = job->project, .store = job->store, .created_s = hf_flow_now_s()};

    (void)snprintf(usage.set_name, sizeof usage.set_name, "%s", job->set_name);
    enum hf_err code = hf_keep_usage_insert(app->catalog, &usage, err);
    return code == HF_ERR_EXISTS ? HF_ERR_OK : code;
}

/* Each job that has something stored has a record, and no record is without such a job. */
static enum hf_err match_jobs(struct hf_server_app *app, struct hf_error *err)
{
    const struct hf_catalog_query query = {.limit = JOBS_MAX};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    HF_CLEANUP(hf_keep_usages_fini) struct hf_keep_usages usages = {0};

    if (hf_keep_job_find(app->catalog, &query, &jobs, err) != HF_ERR_OK ||
        load_usages(app, &usages, err) != HF_ERR_OK) {
        return err->code;
    }
    /* Jobs that have nothing in the store need no upkeep. */
    size_t stored = 0;
    for (size_t i = 0; i < jobs.count; i++) {
        if (hf_job_does(&jobs.items[i]).stored) {
            jobs.items[stored++] = jobs.items[i];
        }
    }
    jobs.count = stored;
    /* Both begin with their ids. */
    qsort(jobs.items, jobs.count, sizeof *jobs.items, by_id);
    qsort(usages.items, usages.count, sizeof *usages.items, by_id);
    size_t at = 0;
    for (size_t i = 0; i < jobs.count; i++) {
        while (at < usages.count && by_id(&usages.items[at], &jobs.items[i]) < 0) {
            at++;
        }
        if ((at == usages.count || by_id(&usages.items[at], &jobs.items[i]) != 0) &&
            add_usage(app, &jobs.items[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    at = 0;
    for (size_t i = 0; i < usages.count; i++) {
        while (at < jobs.count && by_id(&jobs.items[at], &usages.items[i]) < 0) {
            at++;
        }
        if (at == jobs.count || by_id(&jobs.items[at], &usages.items[i]) != 0) {
            struct hf_usage_record record;
            uint64_t revision = 0;
            struct hf_error ignored; /* the next look removes it */
            if (hf_keep_usage_get(app->catalog, &usages.items[i].id, &record, &revision,
                                  &ignored) == HF_ERR_OK) {
                (void)!hf_catalog_remove(app->catalog, HF_KIND_USAGE, hf_id_text(&record.id).text,
                                         revision, &ignored);
            }
        }
    }
    return HF_ERR_OK;
}

/* Changes a job's record, whoever else does. */
static enum hf_err change_usage(struct hf_server_app *app, const struct hf_id *job,
                                void (*change)(struct hf_usage_record *usage, const void *what),
                                const void *what, struct hf_error *err)
{
    enum hf_err code = HF_ERR_CONFLICT;

    for (unsigned tries = 0; code == HF_ERR_CONFLICT && tries < TRIES; tries++) {
        struct hf_usage_record usage;
        uint64_t revision = 0;
        code = hf_keep_usage_get(app->catalog, job, &usage, &revision, err);
        if (code == HF_ERR_OK) {
            change(&usage, what);
            code = hf_keep_usage_replace(app->catalog, &usage, &revision, err);
        }
    }
    return code;
}

void hf_flow_keep_verified(struct hf_server_app *app, const struct hf_id *snapshot,
                           const char *level, const char *problem)
{
    for (unsigned tries = 0; tries < TRIES; tries++) {
        struct hf_snapshot_record record;
        struct hf_job_record job;
        uint64_t revision = 0;
        struct hf_error err;

        if (hf_keep_snapshot_get(app->catalog, snapshot, &record, &revision, &err) != HF_ERR_OK ||
            hf_keep_job_get(app->catalog, &record.job, &job, NULL, &err) != HF_ERR_OK) {
            return;
        }
        record.verified_s = hf_flow_now_s();
        record.verified_capture = job.next_capture - 1;
        record.verified_ok = problem[0] == '\0';
        (void)snprintf(record.verified_level, sizeof record.verified_level, "%s", level);
        (void)snprintf(record.verified_error, sizeof record.verified_error, "%s", problem);
        enum hf_err code = hf_keep_snapshot_replace(app->catalog, &record, &revision, &err);
        if (code != HF_ERR_CONFLICT) {
            return;
        }
    }
}

/* ---- Slots ---- */

enum hf_err hf_flow_upkeep_slots(struct hf_server_app *app, const struct hf_id *store,
                                 struct hf_flow_upkeep_slots *out, struct hf_error *err)
{
    uint64_t factor = hf_stores_load_factor(app, store);

    *out = (struct hf_flow_upkeep_slots){.count = app->upkeep_slots};
    if (factor > out->count) {
        out->count = factor < HF_UPKEEP_SLOTS_MAX ? (size_t)factor : HF_UPKEEP_SLOTS_MAX;
    }
    HF_ASSERT(out->count <= HF_UPKEEP_SLOTS_MAX);
    for (size_t i = 0; i < out->count; i++) {
        const struct hf_id id = hf_upkeep_slot_id(store, (unsigned)i);
        enum hf_err code =
            hf_keep_slot_get(app->catalog, &id, &out->items[i], &out->revisions[i], err);
        if (code == HF_ERR_NOT_FOUND) {
            out->items[i] = (struct hf_slot_record){.id = id, .store = *store};
            out->revisions[i] = 0;
        } else if (code != HF_ERR_OK) {
            return code;
        }
        const struct hf_slot_record *slot = &out->items[i];
        out->free[i] = hf_slot_is_free(
            slot, &app->process, hf_fleet_process_is_gone(app, &slot->server),
            hf_server_heard_silent_s(app->heard, HF_HEARD_SLOT, &id, slot->seen_s, 0));
    }
    return HF_ERR_OK;
}

/* What one thread does: its slot, and the job. */
struct work {
    struct hf_server_app *app;
    struct hf_slot_record slot;
    uint64_t revision;
    struct hf_usage_record usage; /* as it was when the work was chosen */
    struct hf_upkeep_choice choice;
    struct hf_open_store at;
    struct hf_keyring keyring;
    struct hf_keep_snapshots snapshots; /* owned: of the job */
    uint64_t began_s;
    struct hf_cancel stop; /* of the renewal */
};

static enum hf_err keep_slot(struct work *work, struct hf_error *err)
{
    if (work->revision == 0) {
        enum hf_err code = hf_keep_slot_insert(work->app->catalog, &work->slot, err);
        work->revision = code == HF_ERR_OK ? 1 : 0;
        return code;
    }
    return hf_keep_slot_replace(work->app->catalog, &work->slot, &work->revision, err);
}

static void renew_loop(void *argument)
{
    struct work *work = argument;

    while (!hf_cancel_requested(&work->stop)) {
        struct hf_error ignored; /* then another takes it: no harm */
        hf_cancel_sleep(&work->stop, RENEW_EVERY_MS);
        if (!hf_cancel_requested(&work->stop)) {
            work->slot.seen_s = hf_flow_now_s();
            (void)!keep_slot(work, &ignored);
        }
    }
}

/* A free slot for the chosen job; false: another was quicker. */
static bool take_slot(struct work *work, const struct hf_flow_upkeep_slots *slots)
{
    struct hf_server_app *app = work->app;

    for (size_t i = 0; i < slots->count; i++) {
        struct hf_error ignored;
        if (!slots->free[i]) {
            continue;
        }
        work->slot = slots->items[i];
        work->revision = slots->revisions[i];
        work->slot.server = app->process;
        work->slot.job = work->usage.id;
        work->slot.work = work->choice.work;
        work->slot.started_s = work->began_s;
        work->slot.seen_s = work->began_s;
        if (keep_slot(work, &ignored) == HF_ERR_OK) {
            return true;
        }
    }
    return false;
}

static void give_slot_back(struct work *work)
{
    struct hf_error ignored; /* it is free by itself after a while */

    work->slot.server = (struct hf_id){.bytes = {0}};
    work->slot.job = (struct hf_id){.bytes = {0}};
    work->slot.work = HF_UPKEEP_NONE;
    (void)!keep_slot(work, &ignored);
}

/* ---- The works ---- */

static enum hf_err is_known(void *context, uint64_t capture, bool *known, struct hf_error *err)
{
    struct work *work = context;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots now = {0};

    *known = false;
    if (hf_keep_snapshots_of(work->app->catalog, &work->usage.id, &now, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < now.count; i++) {
        *known = *known ||
                 (now.items[i].capture == capture && now.items[i].state == HF_SNAPSHOT_COMPLETE);
    }
    return HF_ERR_OK;
}

static enum hf_err walk_job(struct work *work, bool only_look, struct hf_groom_result *out,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_free)
    uint64_t *known = hf_alloc_array(work->snapshots.count + 1, sizeof *known);
    size_t count = 0;

    if (known == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list of snapshots");
    }
    for (size_t i = 0; i < work->snapshots.count; i++) {
        if (work->snapshots.items[i].state == HF_SNAPSHOT_COMPLETE) {
            known[count++] = work->snapshots.items[i].capture;
        }
    }
    const struct hf_groom_options options = {
        .store = work->at.store,
        .keyring = &work->keyring,
        .living_percent = work->choice.living_percent,
        .known_captures = known,
        .known_count = count,
        .is_known = is_known,
        .context = work,
        .only_look = only_look,
        .cancel = work->app->cancel,
    };
    return hf_groom_job(&options, out, err);
}

/* Voids whose days are over go: they would be listed for ever. */
static enum hf_err drop_voids(struct work *work, struct hf_error *err)
{
    for (size_t i = 0; i < work->snapshots.count; i++) {
        struct hf_snapshot_record record = work->snapshots.items[i];
        uint64_t revision = 0;
        if (!hf_upkeep_void_is_over(&record, hf_flow_now_s())) {
            continue;
        }
        if (hf_commit_drop_void(work->at.store, &record.job, record.capture, err) != HF_ERR_OK ||
            hf_keep_snapshot_get(work->app->catalog, &work->snapshots.items[i].id, &record,
                                 &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        record.void_dropped = true;
        enum hf_err code = hf_keep_snapshot_replace(work->app->catalog, &record, &revision, err);
        if (code != HF_ERR_OK && code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return HF_ERR_OK;
}

struct counted {
    const struct work *work;
    struct hf_groom_result result;
};

static void note_count(struct hf_usage_record *usage, const void *what)
{
    const struct counted *counted = what;
    const struct hf_groom_result *result = &counted->result;

    usage->snapshots = result->manifests;
    usage->objects = result->objects_seen;
    usage->claimed_objects = result->objects_claimed;
    usage->unreadable_objects = result->objects_unreadable;
    usage->object_bytes = result->bytes_before;
    usage->living_bytes = result->living_bytes;
    usage->dead_bytes = result->dead_bytes;
    usage->living_blocks = result->living_blocks;
    usage->dead_blocks = result->dead_blocks;
    usage->going_objects = result->objects_deleted;
    usage->copied_objects = result->objects_copied;
    usage->freed_bytes = result->bytes_before - result->bytes_after;
    hf_usage_counted(usage, &counted->work->usage, counted->work->began_s);
}

static enum hf_err run_count(struct work *work, struct hf_error *err)
{
    struct counted counted = {.work = work};

    if (drop_voids(work, err) != HF_ERR_OK ||
        walk_job(work, true, &counted.result, err) != HF_ERR_OK ||
        change_usage(work->app, &work->usage.id, note_count, &counted, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(work->app->log, "store.counted", HF_STR("set", work->usage.set_name),
                HF_U64("living_bytes", counted.result.living_bytes),
                HF_U64("dead_bytes", counted.result.dead_bytes),
                HF_U64("objects", counted.result.objects_seen));
    return HF_ERR_OK;
}

static void note_groom(struct hf_usage_record *usage, const void *what)
{
    const struct counted *counted = what;

    usage->groomed_deleted = counted->result.objects_deleted;
    usage->groomed_written = counted->result.objects_written;
    usage->groomed_before_bytes = counted->result.bytes_before;
    usage->groomed_after_bytes = counted->result.bytes_after;
    hf_usage_groomed(usage, &counted->work->usage, hf_flow_now_s());
}

static enum hf_err run_groom(struct work *work, struct hf_error *err)
{
    struct counted counted = {.work = work};

    if (walk_job(work, false, &counted.result, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = HF_FAULT("server.upkeep.groomed", err);
    if (code == HF_ERR_OK) {
        code = change_usage(work->app, &work->usage.id, note_groom, &counted, err);
    }
    if (code == HF_ERR_OK) {
        hf_log_info(work->app->log, "store.groomed", HF_STR("set", work->usage.set_name),
                    HF_STR("why", work->choice.why),
                    HF_U64("deleted", counted.result.objects_deleted),
                    HF_U64("written", counted.result.objects_written),
                    HF_U64("bytes_before", counted.result.bytes_before),
                    HF_U64("bytes_after", counted.result.bytes_after));
    }
    return code;
}

/* ---- Check ---- */

struct check {
    struct work *work;
    struct hf_verify_report report; /* owned */
    uint64_t damaged_snapshots;
    struct hf_buf names; /* of damaged snapshots, as many as go into an event */
    char first[256];     /* what is wrong with the first of them */
};

static const struct hf_snapshot_record *find_capture(const struct work *work, uint64_t capture)
{
    for (size_t i = 0; i < work->snapshots.count; i++) {
        if (work->snapshots.items[i].capture == capture) {
            return &work->snapshots.items[i];
        }
    }
    return NULL;
}

static enum hf_err note_snapshot(void *context, uint64_t capture, uint64_t damages,
                                 const struct hf_damage *first, struct hf_error *err)
{
    struct check *check = context;
    const struct hf_snapshot_record *snapshot = find_capture(check->work, capture);
    char problem[HF_RECORD_ERROR_BYTES] = "damaged; more damage was found than is kept";

    (void)err;
    if (damages == 0) {
        /* A sample says nothing of the rest. */
        if (check->work->choice.full && snapshot != NULL) {
            hf_flow_keep_verified(check->work->app, &snapshot->id, "content", "");
        }
        return HF_ERR_OK;
    }
    check->damaged_snapshots++;
    if (first != NULL) {
        (void)snprintf(problem, sizeof problem, "%s%s%s", first->path,
                       first->path[0] == '\0' ? "" : ": ", first->message);
    }
    if (snapshot != NULL) {
        hf_flow_keep_verified(check->work->app, &snapshot->id, "content", problem);
        if (check->names.len == 0) {
            (void)snprintf(check->first, sizeof check->first, "%.250s", problem);
        }
        struct hf_error
            ignored; /* no room: those that are named will do, each record has its own */
        (void)!hf_buf_appendf(&check->names, &ignored, "%s%s", check->names.len == 0 ? "" : ", ",
                              hf_id_text(&snapshot->id).text);
    }
    return HF_ERR_OK;
}

static void note_check(struct hf_usage_record *usage, const void *what)
{
    const struct check *check = what;

    usage->checked_snapshots = check->report.snapshots;
    usage->checked_blocks = check->report.blocks;
    usage->checked_bytes = check->report.bytes;
    usage->damages = check->report.damage_count;
    usage->damaged_snapshots = check->damaged_snapshots;
    hf_usage_checked(usage, &check->work->usage, check->work->choice.full, hf_flow_now_s());
}

static enum hf_err tell_damage(struct check *check, struct hf_error *err)
{
    struct work *work = check->work;
    char text[HF_RECORD_ERROR_BYTES];

    (void)snprintf(text, sizeof text,
                   "%" PRIu64 " of %" PRIu64 " snapshots are damaged: %.*s; the first: %s; hint: "
                   "the next snapshot reads the blocks again from the source, and the check after "
                   "it says which are whole",
                   check->damaged_snapshots, check->report.snapshots, (int)check->names.len,
                   (const char *)check->names.data, check->first);
    return hf_event_tell(work->app,
                         &(struct hf_event_wish){.job = work->usage.id,
                                                 .set_name = work->usage.set_name,
                                                 .type = HF_EVENT_STORE_DAMAGED,
                                                 .text = text},
                         err);
}

static enum hf_err check_job(struct check *check, struct hf_error *err)
{
    struct work *work = check->work;
    const struct hf_verify_job_options options = {
        .verify = {.store = work->at.store,
                   .level = HF_VERIFY_CONTENT,
                   .workers = 1,
                   .one_in = work->choice.full ? 0 : HF_UPKEEP_SHARES,
                   .share = (unsigned)work->usage.check_share,
                   .cancel = work->app->cancel},
        .keyring = &work->keyring,
        .on_snapshot = note_snapshot,
        .context = check,
    };

    if (hf_verify_job(&options, &check->report, err) != HF_ERR_OK ||
        change_usage(work->app, &work->usage.id, note_check, check, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(work->app->log, "store.checked", HF_STR("set", work->usage.set_name),
                HF_STR("how", work->choice.full ? "full" : "sample"),
                HF_U64("snapshots", check->report.snapshots), HF_U64("bytes", check->report.bytes),
                HF_U64("damages", check->report.damage_count));
    return check->damaged_snapshots == 0 ? HF_ERR_OK : tell_damage(check, err);
}

static enum hf_err run_check(struct work *work, struct hf_error *err)
{
    struct check check = {.work = work, .names = HF_BUF_INIT(HF_RECORD_ERROR_BYTES / 2)};

    enum hf_err code = check_job(&check, err);
    hf_verify_report_fini(&check.report);
    hf_buf_fini(&check.names);
    return code;
}

/* ---- One work ---- */

struct failed {
    const struct work *work;
    const struct hf_error *why;
    uint64_t now_s;
};

static void note_failure(struct hf_usage_record *usage, const void *what)
{
    const struct failed *failed = what;

    hf_usage_failed(usage, &failed->work->choice, failed->why, failed->now_s);
}

static void tell_failure(struct work *work, const struct hf_error *why)
{
    struct hf_server_app *app = work->app;
    const struct failed failed = {.work = work, .why = why, .now_s = hf_flow_now_s()};
    const char *word = hf_upkeep_word(work->choice.work);
    struct hf_error err;
    char text[HF_RECORD_ERROR_BYTES];

    hf_log_warn(app->log, "store.upkeep.failed", HF_STR("set", work->usage.set_name),
                HF_STR("work", word), HF_STR("error", why->message));
    if (change_usage(app, &work->usage.id, note_failure, &failed, &err) != HF_ERR_OK) {
        hf_log_warn(app->log, "store.upkeep.failed", HF_STR("set", work->usage.set_name),
                    HF_STR("work", word), HF_STR("error", err.message));
        return;
    }
    bool damage = why->code == HF_ERR_CORRUPT || why->code == HF_ERR_NOT_FOUND;
    if (work->usage.failures + 1 != (damage ? 1 : TOLD_FAILURES)) {
        return;
    }
    (void)snprintf(text, sizeof text, "%s failed: %.900s", word, why->message);
    if (hf_event_tell(app,
                      &(struct hf_event_wish){.job = work->usage.id,
                                              .set_name = work->usage.set_name,
                                              .type = HF_EVENT_UPKEEP_FAILED,
                                              .text = text},
                      &err) != HF_ERR_OK) {
        hf_log_warn(app->log, "store.upkeep.failed", HF_STR("set", work->usage.set_name),
                    HF_STR("work", word), HF_STR("error", err.message));
    }
}

static enum hf_err run(struct work *work, struct hf_error *err)
{
    if (hf_keep_snapshots_of(work->app->catalog, &work->usage.id, &work->snapshots, err) !=
            HF_ERR_OK ||
        hf_stores_open_snapshots(work->app, &work->usage.id, &work->at, &work->keyring, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    return work->choice.work == HF_UPKEEP_COUNT   ? run_count(work, err)
           : work->choice.work == HF_UPKEEP_GROOM ? run_groom(work, err)
                                                  : run_check(work, err);
}

static void run_with_renewal(struct work *work)
{
    struct hf_thread *thread = NULL;
    struct hf_error err;

    hf_cancel_init(&work->stop);
    enum hf_err code = hf_thread_start("hf-renewal", renew_loop, work, &thread, &err);
    if (code == HF_ERR_OK) {
        code = run(work, &err);
        hf_cancel_request(&work->stop);
        hf_thread_join(thread);
    }
    if (code != HF_ERR_OK && !hf_cancel_requested(work->app->cancel)) {
        tell_failure(work, &err);
    }
    hf_keep_snapshots_fini(&work->snapshots);
    hf_keyring_wipe(&work->keyring);
    give_slot_back(work);
}

static int by_store(const void *a, const void *b)
{
    const struct hf_usage_record *one = a, *other = b;

    return memcmp(&one->store, &other->store, HF_ID_BYTES);
}

/* What is due in one store, if a slot of it is free. */
static enum hf_err choose_in(struct work *work, const struct hf_usage_record *usages, size_t count,
                             const struct hf_keep_jobs *jobs, bool *busy, bool *found,
                             struct hf_error *err)
{
    struct hf_server_app *app = work->app;
    struct hf_upkeep_policy policy = app->upkeep;
    struct hf_flow_upkeep_slots slots;

    policy.off[HF_UPKEEP_GROOM] = policy.off[HF_UPKEEP_CHECK] =
        !hf_fleet_does(app, HF_SERVER_GROOM);
    policy.off[HF_UPKEEP_COUNT] = !hf_fleet_does(app, HF_SERVER_USAGE);

    if (hf_flow_upkeep_slots(app, &usages[0].store, &slots, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        busy[i] = !hf_fleet_has(jobs, &usages[i].id); /* another server's */
        for (size_t k = 0; k < slots.count; k++) {
            busy[i] =
                busy[i] || (!slots.free[k] && hf_id_equal(&slots.items[k].job, &usages[i].id));
        }
    }
    hf_upkeep_choose(usages, busy, count, &policy, work->began_s, &work->choice);
    if (work->choice.work == HF_UPKEEP_NONE) {
        return HF_ERR_OK;
    }
    work->usage = usages[work->choice.index];
    *found = take_slot(work, &slots);
    return HF_ERR_OK;
}

/* The first store, of those in which something is due, that has a slot free. */
static enum hf_err choose(struct work *work, bool *found, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_usages_fini) struct hf_keep_usages usages = {0};
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {0};
    HF_CLEANUP(hf_free) bool *busy = NULL;
    size_t of_store = 0;

    *found = false;
    work->began_s = hf_flow_now_s();
    if (load_usages(work->app, &usages, err) != HF_ERR_OK ||
        hf_fleet_jobs(work->app, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    busy = hf_alloc_array(usages.count + 1, sizeof *busy);
    if (busy == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "list of jobs");
    }
    qsort(usages.items, usages.count, sizeof *usages.items, by_store);
    for (size_t at = 0; at < usages.count && !*found; at += of_store) {
        const struct hf_usage_record *first = &usages.items[at];
        of_store = 1;
        while (at + of_store < usages.count && by_store(first, first + of_store) == 0) {
            of_store++;
        }
        if (choose_in(work, first, of_store, &jobs, busy, found, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_upkeep_tick(struct hf_server_app *app, struct hf_error *err)
{
    bool found = true;

    if (match_jobs(app, err) != HF_ERR_OK) {
        return err->code;
    }
    while (found && !hf_cancel_requested(app->cancel)) {
        struct work work = {.app = app};
        if (choose(&work, &found, err) != HF_ERR_OK) {
            return err->code;
        }
        if (found) {
            run_with_renewal(&work);
        }
    }
    return HF_ERR_OK;
}

/* ---- By hand ---- */

struct asked {
    const struct hf_flow_upkeep_wish *wish;
    uint64_t now_s;
};

static void note_wish(struct hf_usage_record *usage, const void *what)
{
    const struct asked *asked = what;

    hf_usage_ask(usage,
                 &(struct hf_upkeep_choice){.work = asked->wish->work,
                                            .full = asked->wish->full,
                                            .living_percent = asked->wish->living_percent},
                 asked->now_s);
}

enum hf_err hf_flow_upkeep_ask(struct hf_server_app *app, const struct hf_flow_upkeep_wish *wish,
                               uint64_t *count, struct hf_error *err)
{
    const struct asked asked = {.wish = wish, .now_s = hf_flow_now_s()};
    HF_CLEANUP(hf_keep_usages_fini) struct hf_keep_usages usages = {0};
    bool all = hf_id_is_none(&wish->job);

    *count = 0;
    if (match_jobs(app, err) != HF_ERR_OK || load_usages(app, &usages, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < usages.count; i++) {
        if (!all && !hf_id_equal(&usages.items[i].id, &wish->job)) {
            continue;
        }
        if (change_usage(app, &usages.items[i].id, note_wish, &asked, err) != HF_ERR_OK) {
            return err->code;
        }
        *count += 1;
    }
    if (*count == 0 && !all) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "there is no job %s", hf_id_text(&wish->job).text);
    }
    atomic_store(&app->upkeep_wanted, true);
    return HF_ERR_OK;
}
