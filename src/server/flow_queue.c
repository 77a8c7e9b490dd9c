/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document of the queue, what waits and what runs, and the beginnings.
 */
#include "server/flow_queue.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "server/fleet.h"
#include "server/flow_internal.h"

#define CAS_TRIES 8
#define WAITING_MAX 100000
#define RUNNING_MAX 100000
/* Snapshots that one pass tries to begin. */
#define BEGINS_MAX 64
/* A holder whose document stands still for so long has died: a beginning takes a few seconds at most. */
#define HOLDER_SILENT_MS 30000
/* The oldest turns are forgotten: their projects come first again, as they would. */
#define TURNS_MAX 1000
#define BOOK_ID "snapshots"

/* ---- The document ---- */

struct book {
    uint64_t revision;
    struct hf_id holder; /* none: free */
    struct hf_turn_taken turns[TURNS_MAX];
    size_t count;
};

static void decode_book(const struct hf_json *json, struct book *out)
{
    const struct hf_json *turns = hf_json_get_array(json, "turns");
    const char *holder = hf_json_get_text(json, "holder");

    if (holder != NULL && !hf_id_parse(hf_str_of(holder), &out->holder)) {
        out->holder = (struct hf_id){0};
    }
    for (size_t i = 0; i < hf_json_count(turns) && out->count < TURNS_MAX; i++) {
        const struct hf_json *one = hf_json_at(turns, i);
        const char *project = hf_json_get_text(one, "projectId");
        if (project != NULL && hf_id_parse(hf_str_of(project), &out->turns[out->count].project)) {
            out->turns[out->count++].turn = hf_json_get_u64(one, "turn", 0);
        }
    }
}

static struct hf_json *encode_book(const struct book *book)
{
    struct hf_json *json = hf_json_object(), *turns = hf_json_array();

    if (!hf_id_is_none(&book->holder)) {
        hf_json_set_text(json, "holder", hf_id_text(&book->holder).text);
    }
    for (size_t i = 0; i < book->count; i++) {
        struct hf_json *one = hf_json_object();
        hf_json_set_text(one, "projectId", hf_id_text(&book->turns[i].project).text);
        hf_json_set_u64(one, "turn", book->turns[i].turn);
        hf_json_append_take(turns, one);
    }
    hf_json_set_take(json, "turns", turns);
    return json;
}

static enum hf_err read_book(struct hf_server_app *app, struct book *out, struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};

    *out = (struct book){.revision = 0};
    enum hf_err code = hf_catalog_get(app->catalog, HF_KIND_QUEUE, BOOK_ID, &document, err);
    if (code == HF_ERR_OK) {
        decode_book(document.json, out);
        out->revision = document.revision;
    }
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}

/* CONFLICT when another process changed it. */
static enum hf_err write_book(struct hf_server_app *app, struct book *book, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = encode_book(book);

    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code =
        book->revision == 0
            ? hf_catalog_insert(app->catalog, HF_KIND_QUEUE, BOOK_ID, json, HF_CATALOG_SYNCED, err)
            : hf_catalog_replace(app->catalog, HF_KIND_QUEUE, BOOK_ID, book->revision, json,
                                 HF_CATALOG_SYNCED, err);
    book->revision += code == HF_ERR_OK;
    return code == HF_ERR_EXISTS ? hf_fail(err, HF_ERR_CONFLICT, "the queue was made just now")
                                 : code;
}

/* CONFLICT while another process has it. */
static enum hf_err take_book(struct hf_server_app *app, struct book *book, struct hf_error *err)
{
    uint64_t now_ms = hf_clock_mono_ms();

    if (read_book(app, book, err) != HF_ERR_OK) {
        return err->code;
    }
    bool mine = hf_id_is_none(&book->holder) || hf_id_equal(&book->holder, &app->process);
    if (!mine && !hf_fleet_process_is_gone(app, &book->holder)) {
        if (app->queue_seen_revision != book->revision) {
            app->queue_seen_revision = book->revision;
            app->queue_seen_ms = now_ms;
        }
        if (now_ms - app->queue_seen_ms < HOLDER_SILENT_MS) {
            return hf_fail(err, HF_ERR_CONFLICT, "another server begins snapshots");
        }
    }
    book->holder = app->process;
    return write_book(app, book, err);
}

static void note_turn(struct book *book, const struct hf_id *project)
{
    uint64_t last = 0;
    size_t place = book->count, oldest = 0;

    for (size_t i = 0; i < book->count; i++) {
        last = book->turns[i].turn > last ? book->turns[i].turn : last;
        oldest = book->turns[i].turn < book->turns[oldest].turn ? i : oldest;
        place = hf_id_equal(&book->turns[i].project, project) ? i : place;
    }
    if (place == TURNS_MAX) {
        place = oldest;
    } else if (place == book->count) {
        book->count++;
    }
    book->turns[place] = (struct hf_turn_taken){.project = *project, .turn = last + 1};
}

/* ---- What waits, what runs ---- */

struct scene {
    struct hf_catalog_list documents; /* of what waits */
    struct hf_keep_snapshots snapshots;
    struct hf_turn_entry *waiting, *running; /* owned */
    const struct hf_json **sources;          /* owned; of what waits, borrowed from documents */
    char (*hosts)[HF_NAME_BYTES];            /* owned: of what runs */
    size_t waiting_count, running_count;
};

static void scene_fini(struct scene *scene)
{
    hf_catalog_list_fini(&scene->documents);
    hf_keep_snapshots_fini(&scene->snapshots);
    hf_free(scene->waiting);
    hf_free(scene->sources);
    hf_free(scene->running);
    hf_free(scene->hosts);
}
HF_CLEANUP_DEFINE_VALUE(scene_fini, struct scene)

static bool id_of(const struct hf_json *json, const char *key, struct hf_id *out)
{
    const char *text = hf_json_get_text(json, key);

    return text != NULL && hf_id_parse(hf_str_of(text), out);
}

/* Five members of thirty: of 10,000 documents that makes a difference. */
static bool read_waiting(const struct hf_catalog_document *document, struct hf_turn_entry *out)
{
    const struct hf_json *json = document->json;
    const char *host = hf_json_get_text(json, "host");

    *out = (struct hf_turn_entry){.host = host == NULL ? "" : host,
                                  .latest_s = hf_json_get_u64(json, "queueS", 0),
                                  .owed_s = hf_json_get_u64(json, "owedS", 0)};
    if (!id_of(json, "storeId", &out->store)) {
        out->store = (struct hf_id){0}; /* a document of before, until it is looked at */
    }
    return hf_id_parse(hf_str_of(document->id), &out->job) &&
           id_of(json, "projectId", &out->project);
}

static enum hf_err load_running(struct hf_server_app *app, struct scene *scene,
                                struct hf_error *err)
{
    const struct hf_catalog_query query = {.index = "state",
                                           .equals_text =
                                               hf_snapshot_state_word(HF_SNAPSHOT_IN_PROGRESS),
                                           .limit = RUNNING_MAX};

    if (hf_keep_snapshot_find(app->catalog, &query, &scene->snapshots, err) != HF_ERR_OK) {
        return err->code;
    }
    scene->running_count = scene->snapshots.count;
    scene->running = hf_alloc_array(scene->running_count + 1, sizeof *scene->running);
    scene->hosts = hf_alloc_array(scene->running_count + 1, sizeof *scene->hosts);
    if (scene->running == NULL || scene->hosts == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < scene->running_count; i++) {
        const struct hf_snapshot_record *one = &scene->snapshots.items[i];
        struct hf_str host = hf_member_host(one->member);
        (void)snprintf(scene->hosts[i], sizeof scene->hosts[i], "%.*s", HF_STR_ARG(host));
        scene->running[i] = (struct hf_turn_entry){
            .job = one->job, .project = one->project, .store = one->store, .host = scene->hosts[i]};
    }
    return HF_ERR_OK;
}

static enum hf_err load_waiting(struct hf_server_app *app, struct scene *scene,
                                struct hf_error *err)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_SCHEDULE,
                                           .index = "queueS",
                                           .has_range = true,
                                           .minimum = 1,
                                           .maximum = INT64_MAX,
                                           .limit = WAITING_MAX};

    if (hf_catalog_find(app->catalog, &query, &scene->documents, err) != HF_ERR_OK) {
        return err->code;
    }
    scene->waiting = hf_alloc_array(scene->documents.count + 1, sizeof *scene->waiting);
    scene->sources = hf_alloc_array(scene->documents.count + 1, sizeof(struct hf_json *));
    if (scene->waiting == NULL || scene->sources == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < scene->documents.count; i++) {
        scene->sources[scene->waiting_count] = scene->documents.documents[i].json;
        scene->waiting_count +=
            read_waiting(&scene->documents.documents[i], &scene->waiting[scene->waiting_count]);
    }
    return HF_ERR_OK;
}

static struct hf_turns_view view_of(const struct hf_server_app *app, const struct scene *scene,
                                    const struct book *book)
{
    return (struct hf_turns_view){.waiting = scene->waiting,
                                  .waiting_count = scene->waiting_count,
                                  .running = scene->running,
                                  .running_count = scene->running_count,
                                  .turns = book->turns,
                                  .turn_count = book->count,
                                  .at_once = {.total = app->snapshots_at_once,
                                              .per_store = app->snapshots_per_store,
                                              .per_host = app->snapshots_per_host}};
}

/* ---- Beginnings ---- */

/* Again when another change came first: that the snapshot has begun is true whatever else changed. */
static enum hf_err note_begun(struct hf_server_app *app, const struct hf_id *job,
                              const struct hf_snapshot_record *snapshot, struct hf_error *err)
{
    for (unsigned tries = 0; tries < CAS_TRIES; tries++) {
        struct hf_schedule_record record;
        uint64_t revision = 0;
        if (hf_keep_schedule_get(app->catalog, job, &record, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_schedule_note_member(&record, snapshot->member);
        hf_schedule_begun(&record, &snapshot->id, hf_flow_now_s());
        enum hf_err code = hf_keep_schedule_replace(app->catalog, &record, &revision, err);
        if (code != HF_ERR_CONFLICT) {
            return code;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "the schedule of job %s changes too often",
                   hf_id_text(job).text);
}

/* What goes by itself is no failure: another snapshot of the job runs, the host has enough to do, the job was stopped. */
static enum hf_err note_refused(struct hf_server_app *app, struct hf_schedule_record *record,
                                uint64_t revision, const struct hf_error *why, struct hf_error *err)
{
    enum hf_schedule_patience patience = why->code == HF_ERR_CONFLICT || why->code == HF_ERR_BUSY
                                             ? HF_SCHEDULE_SOON
                                             : HF_SCHEDULE_LATER;
    bool fresh = strncmp(record->problem, why->message, sizeof record->problem - 1) != 0;

    hf_schedule_refused(record, why->message, patience, hf_flow_now_s());
    if (fresh && patience == HF_SCHEDULE_LATER) {
        hf_log_warn(app->log, "schedule.not_taken", HF_STR("set", record->set_name),
                    HF_STR("error", why->message));
    } else {
        hf_log_debug(app->log, "schedule.waits", HF_STR("set", record->set_name),
                     HF_STR("why", why->message));
    }
    enum hf_err code = hf_keep_schedule_replace(app->catalog, record, &revision, err);
    return code == HF_ERR_CONFLICT ? HF_ERR_OK : code;
}

static enum hf_err begin_one(struct hf_server_app *app, const struct hf_id *id, bool *begun,
                             struct hf_error *err)
{
    struct hf_schedule_record record;
    struct hf_snapshot_record taken = {.member = ""};
    struct hf_error why;
    uint64_t revision = 0;

    *begun = false;
    enum hf_err code = hf_keep_schedule_get(app->catalog, id, &record, &revision, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
    }
    if (!hf_schedule_may_begin(&record, hf_flow_now_s())) {
        return hf_flow_schedule_look(app, id, err); /* out of the queue */
    }
    const struct hf_flow_wish wish = {.job = id,
                                      .set_name = record.set_name,
                                      .description = "by schedule",
                                      .automatic = true,
                                      .host_limit = app->snapshots_per_host};
    if (hf_flow_take(app, &wish, &taken, &why) != HF_ERR_OK) {
        hf_schedule_note_member(&record, taken.member);
        return note_refused(app, &record, revision, &why, err);
    }
    *begun = true;
    /* A death here: the snapshot goes on, and what is owed is paid by it when it is complete. */
    return HF_FAULT("server.schedule.begun", err) != HF_ERR_OK ? err->code
                                                               : note_begun(app, id, &taken, err);
}

/* OK too when another process took the queue over: then *went_on is false. */
static enum hf_err begin_next(struct hf_server_app *app, struct book *book,
                              const struct hf_turn_entry *entry, bool *begun, bool *went_on,
                              struct hf_error *err)
{
    struct hf_error why;

    *begun = *went_on = false;
    note_turn(book, &entry->project);
    enum hf_err code = write_book(app, book, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_CONFLICT ? HF_ERR_OK : code;
    }
    *went_on = true;
    if (begin_one(app, &entry->job, begun, &why) != HF_ERR_OK) {
        hf_log_warn(app->log, "schedule.look.failed", HF_STR("job", hf_id_text(&entry->job).text),
                    HF_STR("error", why.message));
    }
    return HF_ERR_OK;
}

static enum hf_err begin_some(struct hf_server_app *app, struct book *book,
                              const struct scene *scene, struct hf_error *err)
{
    HF_CLEANUP(hf_turns_destroy) struct hf_turns *turns = NULL;
    const struct hf_turns_view view = view_of(app, scene, book);
    enum hf_turn_why why = HF_TURN_GOES;
    size_t at = 0;

    if (hf_turns_create(&view, &turns, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned tries = 0; tries < BEGINS_MAX && hf_turns_next(turns, &at, &why) &&
                             !hf_cancel_requested(app->cancel);) {
        bool begun = false, went_on = false;
        if (why == HF_TURN_TOTAL) {
            return HF_ERR_OK;
        }
        if (why != HF_TURN_GOES) {
            continue;
        }
        if (begin_next(app, book, &scene->waiting[at], &begun, &went_on, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!went_on) {
            return HF_ERR_OK;
        }
        if (!begun) {
            hf_turns_refused(turns);
        }
        tries++;
    }
    return HF_ERR_OK;
}

/* Nothing could begin, and nothing has changed since: worth another look after a while only. */
#define IDLE_MS 5000

static bool is_idle(struct hf_server_app *app, uint64_t waiting, uint64_t running)
{
    const struct hf_queue_idle *idle = &app->queue_idle;

    return idle->waiting == waiting && idle->running == running &&
           hf_clock_mono_ms() - idle->since_ms < IDLE_MS;
}

/* *room false: there is nothing to begin, or no room for it. */
static enum hf_err look_for_room(struct hf_server_app *app, bool *room, struct hf_error *err)
{
    const struct hf_catalog_query running_query = {
        .kind = HF_KIND_SNAPSHOT,
        .index = "state",
        .equals_text = hf_snapshot_state_word(HF_SNAPSHOT_IN_PROGRESS)};
    const struct hf_catalog_query waiting_query = {.kind = HF_KIND_SCHEDULE,
                                                   .index = "queueS",
                                                   .has_range = true,
                                                   .minimum = 1,
                                                   .maximum = INT64_MAX};
    uint64_t running = 0, waiting = 0;

    if (hf_catalog_count(app->catalog, &waiting_query, &waiting, err) != HF_ERR_OK ||
        hf_catalog_count(app->catalog, &running_query, &running, err) != HF_ERR_OK) {
        return err->code;
    }
    *room = waiting > 0 && running < app->snapshots_at_once && !is_idle(app, waiting, running);
    app->queue_idle =
        *room ? (struct hf_queue_idle){waiting, running, hf_clock_mono_ms()} : app->queue_idle;
    return HF_ERR_OK;
}

/* The document is ours. Only now what runs is counted: nobody begins one beside us. */
static enum hf_err begin_from(struct hf_server_app *app, struct book *book, struct hf_error *err)
{
    HF_CLEANUP(scene_fini) struct scene scene = {.waiting = NULL};
    uint64_t revision = book->revision;

    if (load_running(app, &scene, err) != HF_ERR_OK ||
        load_waiting(app, &scene, err) != HF_ERR_OK ||
        begin_some(app, book, &scene, err) != HF_ERR_OK) {
        return err->code;
    }
    if (book->revision != revision) {
        app->queue_idle = (struct hf_queue_idle){.waiting = 0};
    }
    return HF_ERR_OK;
}

enum hf_err hf_flow_queue_begin(struct hf_server_app *app, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct book *book = NULL;
    struct hf_error ignored; /* the queue was taken over, or is, when its document stands still */
    bool room = false;

    if (look_for_room(app, &room, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!room) {
        return HF_ERR_OK;
    }
    book = hf_alloc(sizeof *book);
    if (book == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code = take_book(app, book, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_CONFLICT ? HF_ERR_OK : code; /* the next tick sees */
    }
    code = begin_from(app, book, err);
    book->holder = (struct hf_id){0};
    (void)!write_book(app, book, &ignored);
    return code;
}

/* ---- For people ---- */

/* What waits in no queue: the job is paused, or tried again later, or has one that runs. */
static void wait_text(const struct hf_schedule_record *record, char *out, size_t out_len)
{
    char until[HF_TIME_TEXT_BYTES];
    uint64_t now_s = hf_flow_now_s();
    uint64_t paused_s = hf_policy_paused_until(&record->policy, now_s);

    if (!record->active) {
        (void)snprintf(out, out_len, "the job to be started again");
    } else if (!hf_id_is_none(&record->attempt)) {
        (void)snprintf(out, out_len, "the snapshot of the set that is being taken");
    } else if (paused_s != 0) {
        hf_time_format(paused_s, until);
        (void)snprintf(out, out_len, "the end of its pause, %s", until);
    } else if (record->not_before_s > now_s) {
        hf_time_format(record->not_before_s, until);
        (void)snprintf(out, out_len, "another try at %s: %s", until, record->problem);
    } else {
        (void)snprintf(out, out_len, "its next look, or a snapshot of the set that is being taken");
    }
}

static struct hf_json *describe(const struct hf_json *schedule)
{
    struct hf_json *json = hf_json_object();
    const char *host = hf_json_get_text(schedule, "host");

    hf_json_set_text(json, "jobId", hf_json_get_text(schedule, "id"));
    hf_json_set_text(json, "setName", hf_json_get_text(schedule, "setName"));
    hf_json_set_text(json, "projectId", hf_json_get_text(schedule, "projectId"));
    hf_json_set_text(json, "host", host);
    hf_json_set_u64(json, "owedS", hf_json_get_u64(schedule, "owedS", 0));
    return json;
}

static bool is_of(const struct hf_json *schedule, const struct hf_id *project)
{
    struct hf_id id;

    return id_of(schedule, "projectId", &id) && hf_id_equal(&id, project);
}

static enum hf_err show_places(struct hf_server_app *app, const struct scene *scene,
                               const struct hf_id *project, struct hf_json *out,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_turns_destroy) struct hf_turns *turns = NULL;
    HF_CLEANUP(hf_free) struct book *book = hf_alloc(sizeof *book);
    enum hf_turn_why why = HF_TURN_GOES;
    size_t at = 0;

    if (book == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (read_book(app, book, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_turns_view view = view_of(app, scene, book);
    if (hf_turns_create(&view, &turns, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint64_t place = 1; hf_turns_next(turns, &at, &why); place++) {
        const struct hf_json *schedule = scene->sources[at];
        if (is_of(schedule, project)) {
            struct hf_json *json = describe(schedule);
            hf_json_set_u64(json, "place", place);
            hf_json_set_u64(json, "latestS", scene->waiting[at].latest_s);
            hf_json_set_text(json, "waitsFor", hf_turn_why_text(why));
            hf_json_append_take(out, json);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err show_others(struct hf_server_app *app, const struct hf_id *project,
                               struct hf_json *out, struct hf_error *err)
{
    const struct hf_catalog_query query = {.kind = HF_KIND_SCHEDULE,
                                           .index = "owedS",
                                           .has_range = true,
                                           .minimum = 1,
                                           .maximum = INT64_MAX,
                                           .limit = WAITING_MAX};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list found = {.documents = NULL};
    char why[HF_RECORD_ERROR_BYTES + 128];

    if (hf_catalog_find(app->catalog, &query, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < found.count; i++) {
        const struct hf_json *schedule = found.documents[i].json;
        struct hf_schedule_record record;
        if (hf_json_get_u64(schedule, "queueS", 0) != 0 || !is_of(schedule, project)) {
            continue;
        }
        if (hf_schedule_record_decode(schedule, &record, err) != HF_ERR_OK) {
            return hf_wrap(err, "catalog: schedule %s", found.documents[i].id);
        }
        struct hf_json *json = describe(schedule);
        wait_text(&record, why, sizeof why);
        hf_json_set_text(json, "waitsFor", why);
        hf_json_append_take(out, json);
    }
    return HF_ERR_OK;
}

struct hf_json *hf_flow_queue_show(struct hf_server_app *app, const struct hf_id *project,
                                   struct hf_error *err)
{
    HF_CLEANUP(scene_fini) struct scene scene = {.waiting = NULL};
    struct hf_json *json = hf_json_object(), *jobs = hf_json_array();

    if (load_running(app, &scene, err) != HF_ERR_OK ||
        load_waiting(app, &scene, err) != HF_ERR_OK ||
        show_places(app, &scene, project, jobs, err) != HF_ERR_OK ||
        show_others(app, project, jobs, err) != HF_ERR_OK) {
        hf_json_drop(json);
        hf_json_drop(jobs);
        return NULL;
    }
    hf_json_set_u64(json, "waiting", scene.waiting_count);
    hf_json_set_u64(json, "running", scene.running_count);
    hf_json_set_take(json, "jobs", jobs);
    return json;
}
