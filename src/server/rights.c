/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rights of tasks, out of the catalog, and the count of what captures put.
 */
#include "server/rights.h"

#include <inttypes.h>
#include <stdio.h>

#include "backup/records.h"
#include "base/alloc.h"
#include "format/slice.h"
#include "os/clock.h"
#include "server/keep.h"
#include "server/stores.h"

/* How long a right is believed without asking the catalog: object calls come hundreds a second. A task given up meanwhile
 * only puts garbage of its own writer: its manifest's name is void by then (store-format.md 5). */
#define RIGHT_KEPT_MS 1000
#define RIGHTS_MAX 256
#define TALLIES_MAX 256
/* What the smallest object counts as: many tiny ones cost the store more than their bytes. */
#define OBJECT_LEAST_BYTES ((uint64_t)256 << 10)
#define RECOUNT_MS 1000
#define PAGE_NAMES 1000
/* Slices that a tail may have put and not told of: one that is sent, one that is being filled, and some to spare. */
#define TAIL_AHEAD_MAX_BYTES (4 * (uint64_t)HF_SLICE_OBJECT_MAX_BYTES)

struct right {
    struct hf_task_record task;
    struct hf_id writer; /* of a capture, as the two below */
    uint64_t capture, put_max_bytes;
    struct hf_job_stores stores;
    uint64_t until_ms;
};

/* What an attempt has in the store, puts under way included. */
struct tally {
    struct hf_id task; /* none: free */
    uint64_t bytes;
    uint64_t counted_ms; /* when the store was asked; 0: not yet */
    uint64_t slices;     /* of a tail: of its job's head when bytes began anew */
    uint64_t used_ms;
};

struct hf_server_rights {
    struct hf_server_app *app;
    struct hf_mutex mutex; /* guards: all below */
    struct right rights[RIGHTS_MAX];
    size_t right_next;
    struct tally tallies[TALLIES_MAX];
};

enum hf_err hf_server_rights_create(struct hf_server_app *app, struct hf_server_rights **out,
                                    struct hf_error *err)
{
    struct hf_server_rights *rights = hf_alloc_zero(sizeof *rights);

    if (rights == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    rights->app = app;
    hf_mutex_init(&rights->mutex);
    *out = rights;
    return HF_ERR_OK;
}

void hf_server_rights_destroy(struct hf_server_rights *rights)
{
    if (rights != NULL) {
        hf_mutex_fini(&rights->mutex);
        hf_free(rights);
    }
}

/* ---- What is allowed ---- */

/* Those that its kind of task may use: one that is away hinders nobody else. */
static enum hf_err find_stores(struct hf_server_rights *rights, struct right *right,
                               struct hf_error *err)
{
    switch (right->task.kind) {
    case HF_TASK_CAPTURE:
        return hf_stores_snapshots_of_job_id(rights->app, &right->task.job,
                                             &right->stores.snapshots, err);
    case HF_TASK_TAIL:
        return hf_stores_oplog_of_job_id(rights->app, &right->task.job, &right->stores.oplog, err);
    case HF_TASK_RESTORE:
    case HF_TASK_TARGET:
        break;
    }
    /* Without a point in time it needs no slice. */
    if (hf_stores_oplog_of_job_id(rights->app, &right->task.job, &right->stores.oplog, err) !=
        HF_ERR_OK) {
        right->stores.oplog.store = NULL;
    }
    return hf_stores_snapshots_of_job_id(rights->app, &right->task.job, &right->stores.snapshots,
                                         err);
}

static enum hf_err look_up_right(struct hf_server_rights *rights, const struct hf_id *task,
                                 struct right *out, struct hf_error *err)
{
    uint64_t now_ms = hf_clock_mono_ms();
    struct right right = {.until_ms = now_ms + RIGHT_KEPT_MS};

    hf_mutex_lock(&rights->mutex);
    for (size_t i = 0; i < RIGHTS_MAX; i++) {
        if (rights->rights[i].until_ms > now_ms && hf_id_equal(&rights->rights[i].task.id, task)) {
            *out = rights->rights[i];
            hf_mutex_unlock(&rights->mutex);
            return HF_ERR_OK;
        }
    }
    hf_mutex_unlock(&rights->mutex);
    if (hf_keep_task_get(rights->app->catalog, task, &right.task, NULL, err) != HF_ERR_OK ||
        find_stores(rights, &right, err) != HF_ERR_OK) {
        return err->code;
    }
    if (right.task.kind == HF_TASK_CAPTURE) {
        struct hf_snapshot_record snapshot;
        if (hf_keep_snapshot_get(rights->app->catalog, &right.task.snapshot, &snapshot, NULL,
                                 err) != HF_ERR_OK) {
            return err->code;
        }
        right.writer = snapshot.writer;
        right.capture = snapshot.capture;
        /* Attempts that an earlier release began have none. */
        right.put_max_bytes = snapshot.put_max_bytes == 0 ? UINT64_MAX : snapshot.put_max_bytes;
    }
    if (right.task.kind == HF_TASK_TAIL) {
        right.writer = right.task.writer;
        right.put_max_bytes = TAIL_AHEAD_MAX_BYTES;
    }
    HF_LOCKED(&rights->mutex);
    rights->rights[rights->right_next++ % RIGHTS_MAX] = right;
    *out = right;
    return HF_ERR_OK;
}

/* A capture compares with what earlier ones put; a restore may go on in the oplog; a tail sees nothing else. */
static bool is_readable(const struct right *right, enum hf_object_kind kind)
{
    if (kind == HF_OBJECT_OPLOG) {
        return right->task.kind != HF_TASK_CAPTURE;
    }
    return right->task.kind != HF_TASK_TAIL &&
           (kind == HF_OBJECT_DATA || kind == HF_OBJECT_TREE || kind == HF_OBJECT_MANIFEST);
}

/* Slices may lie in a store of their own. */
static enum hf_err store_of(const struct right *right, enum hf_object_kind kind,
                            struct hf_store **out, struct hf_error *err)
{
    *out = kind == HF_OBJECT_OPLOG ? right->stores.oplog.store : right->stores.snapshots.store;
    return *out != NULL ? HF_ERR_OK
                        : hf_fail(err, HF_ERR_UNAVAILABLE,
                                  "the store of the job's oplog is not there; hint: holdfast store "
                                  "list says why");
}

static enum hf_err allow_list(const struct right *right, const struct hf_server_object_call *call,
                              struct hf_server_permit *out, struct hf_error *err)
{
    static const enum hf_object_kind kinds[] = {HF_OBJECT_DATA, HF_OBJECT_TREE, HF_OBJECT_MANIFEST,
                                                HF_OBJECT_OPLOG};

    for (size_t i = 0; i < HF_ARRAY_LEN(kinds); i++) {
        struct hf_object_text prefix = hf_object_prefix(kinds[i], &right->task.job);
        if (hf_str_starts_with(call->name, hf_str_of(prefix.text)) &&
            is_readable(right, kinds[i])) {
            return store_of(right, kinds[i], &out->store, err);
        }
    }
    return hf_fail(err, HF_ERR_DENIED, "task %s may not list %.*s", call->task,
                   HF_STR_ARG(call->name));
}

/*
 * A pack's name says which addresses it may hold, and readers look there for them: one that reaches beyond its own
 * capture, or sorts behind it as a groom's output does, would be asked for the blocks of other snapshots.
 */
static bool may_put(const struct right *right, const struct hf_object_name *name)
{
    if (right->task.kind == HF_TASK_TAIL) {
        return name->kind == HF_OBJECT_OPLOG && hf_id_equal(&name->writer, &right->writer) &&
               name->round == 0;
    }
    return right->task.kind == HF_TASK_CAPTURE &&
           (name->kind == HF_OBJECT_DATA || name->kind == HF_OBJECT_TREE) &&
           hf_id_equal(&name->writer, &right->writer) && name->round == 0 &&
           hf_position_capture(name->first) == right->capture &&
           hf_position_capture(name->last) == right->capture;
}

enum hf_err hf_server_rights_allow(struct hf_server_rights *rights,
                                   const struct hf_server_object_call *call,
                                   struct hf_server_permit *out, struct hf_error *err)
{
    struct hf_id task, attempt;
    struct right right;

    if (call->task == NULL || !hf_id_parse(hf_str_of(call->task), &task) || call->attempt == NULL ||
        !hf_id_parse(hf_str_of(call->attempt), &attempt)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "headers Holdfast-Task and Holdfast-Attempt must name a task");
    }
    if (look_up_right(rights, &task, &right, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_id_equal(&right.task.attempt, &attempt) || right.task.state == HF_TASK_ENDED) {
        return hf_fail(err, HF_ERR_LOST, "task %s has ended or gone to another attempt",
                       call->task);
    }
    if (!hf_id_equal(&right.task.project, &call->project)) {
        return hf_fail(err, HF_ERR_DENIED, "task %s belongs to another project", call->task);
    }
    *out = (struct hf_server_permit){.task = task,
                                     .job = right.task.job,
                                     .writer = right.writer,
                                     .tail = right.task.kind == HF_TASK_TAIL,
                                     .capture = right.capture,
                                     .put_max_bytes = right.put_max_bytes};
    if (call->list) {
        return allow_list(&right, call, out, err);
    }
    if (hf_object_name_parse(call->name, &out->name, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_id_equal(&out->name.job, &right.task.job) ||
        !(call->put ? may_put(&right, &out->name) : is_readable(&right, out->name.kind))) {
        return hf_fail(err, HF_ERR_DENIED, "task %s may not %s %.*s", call->task,
                       call->put ? "put" : "read", HF_STR_ARG(call->name));
    }
    return store_of(&right, out->name.kind, &out->store, err);
}

/* ---- How much ---- */

static uint64_t counts_as(uint64_t bytes)
{
    return bytes < OBJECT_LEAST_BYTES ? OBJECT_LEAST_BYTES : bytes;
}

/* What the store has of this attempt, of one kind. Names sort by the capture first. */
static enum hf_err count_kind(const struct hf_server_permit *permit, enum hf_object_kind kind,
                              uint64_t *sum, struct hf_error *err)
{
    struct hf_object_text after = {.text = ""};
    char prefix[HF_OBJECT_NAME_BYTES + 24];

    (void)snprintf(prefix, sizeof prefix, "%s%010" PRIx64,
                   hf_object_prefix(kind, &permit->job).text, permit->capture);
    for (;;) {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        if (hf_store_list(permit->store, hf_str_of(prefix), hf_str_of(after.text), PAGE_NAMES,
                          &page, err) != HF_ERR_OK) {
            return err->code;
        }
        for (size_t i = 0; i < page.count; i++) {
            struct hf_object_name name;
            struct hf_error ignored;
            if (hf_object_name_parse(hf_str_of(page.entries[i].name), &name, &ignored) ==
                    HF_ERR_OK &&
                hf_id_equal(&name.writer, &permit->writer)) {
                *sum += counts_as(page.entries[i].size_bytes);
            }
        }
        if (!page.more || page.count == 0) {
            return HF_ERR_OK;
        }
        (void)snprintf(after.text, sizeof after.text, "%s", page.entries[page.count - 1].name);
    }
}

/* Under the mutex. The task's tally; the one that was not used for longest makes room for a new one. */
static struct tally *tally_of(struct hf_server_rights *rights, const struct hf_id *task)
{
    struct tally *oldest = &rights->tallies[0];

    for (size_t i = 0; i < TALLIES_MAX; i++) {
        struct tally *one = &rights->tallies[i];
        if (hf_id_equal(&one->task, task)) {
            return one;
        }
        oldest = one->used_ms < oldest->used_ms ? one : oldest;
    }
    *oldest = (struct tally){.task = *task};
    return oldest;
}

/* False when the store has to be asked first, or there is no room. */
static bool book(struct hf_server_rights *rights, const struct hf_server_permit *permit,
                 uint64_t bytes, bool *counted_now)
{
    uint64_t now_ms = hf_clock_mono_ms();
    HF_LOCKED(&rights->mutex);
    struct tally *tally = tally_of(rights, &permit->task);
    bool fits =
        tally->bytes <= permit->put_max_bytes && bytes <= permit->put_max_bytes - tally->bytes;

    tally->used_ms = now_ms;
    *counted_now = tally->counted_ms != 0 && tally->counted_ms + RECOUNT_MS > now_ms;
    if ((tally->counted_ms == 0 && !permit->tail) || !fits) {
        return false;
    }
    tally->bytes += bytes;
    return true;
}

/* The agent may put here and tell another server: the head shows it. */
static bool tail_was_told(struct hf_server_rights *rights, const struct hf_server_permit *permit)
{
    struct hf_head_record head;
    struct hf_error ignored;

    if (hf_keep_head_get(rights->app->catalog, &permit->job, &head, NULL, &ignored) != HF_ERR_OK ||
        !hf_id_equal(&head.task, &permit->task)) {
        return false;
    }
    HF_LOCKED(&rights->mutex);
    struct tally *tally = tally_of(rights, &permit->task);
    bool moved = head.slices != tally->slices;
    tally->bytes = moved ? 0 : tally->bytes;
    tally->slices = head.slices;
    return moved;
}

enum hf_err hf_server_rights_book(struct hf_server_rights *rights,
                                  const struct hf_server_permit *permit, uint64_t bytes,
                                  struct hf_error *err)
{
    uint64_t there = 0;
    bool counted_now = false;

    if (book(rights, permit, counts_as(bytes), &counted_now)) {
        return HF_ERR_OK;
    }
    if (permit->tail && tail_was_told(rights, permit) &&
        book(rights, permit, counts_as(bytes), &counted_now)) {
        return HF_ERR_OK;
    }
    if (permit->tail) {
        return hf_fail(err, HF_ERR_LIMIT,
                       "the tail has put %" PRIu64 " bytes of slices and more, and told of none",
                       permit->put_max_bytes);
    }
    if (!counted_now) {
        if (count_kind(permit, HF_OBJECT_DATA, &there, err) != HF_ERR_OK ||
            count_kind(permit, HF_OBJECT_TREE, &there, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_mutex_lock(&rights->mutex);
        struct tally *tally = tally_of(rights, &permit->task);
        tally->bytes = there;
        tally->counted_ms = hf_clock_mono_ms();
        hf_mutex_unlock(&rights->mutex);
        if (book(rights, permit, counts_as(bytes), &counted_now)) {
            return HF_ERR_OK;
        }
    }
    return hf_fail(
        err, HF_ERR_LIMIT,
        "capture %" PRIu64 " may put %" PRIu64
        " bytes into the store, and has; hint: the limit is a quarter more than the member's "
        "data, and 1 GiB, or --capture-limit",
        permit->capture, permit->put_max_bytes);
}

void hf_server_rights_unbook(struct hf_server_rights *rights, const struct hf_server_permit *permit,
                             uint64_t bytes)
{
    HF_LOCKED(&rights->mutex);
    struct tally *tally = tally_of(rights, &permit->task);

    bytes = counts_as(bytes);
    tally->bytes -= bytes < tally->bytes ? bytes : tally->bytes;
}

void hf_server_rights_told(struct hf_server_rights *rights, const struct hf_id *task)
{
    HF_LOCKED(&rights->mutex);
    tally_of(rights, task)->bytes = 0;
}
