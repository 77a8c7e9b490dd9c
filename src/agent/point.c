/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan is made again here: the server's may be minutes old, and what is replayed must be what is read. Only slices
 * from the base's checkpoint to the last planned entry are looked at, whatever else the store holds.
 */
#include "agent/point.h"

#include <stdio.h>

#include "oplog/replay.h"

struct reaching {
    const struct hf_agent_work *work;
    const struct hf_agent_reach *reach;
    struct hf_slice_reader *reader; /* owned */
    struct hf_chains chains;
    struct hf_ranges ranges;
    struct hf_plan plan;
    struct hf_chain_reader *entries; /* owned */
};

static void reaching_fini(struct reaching *reaching)
{
    hf_chain_reader_close(reaching->entries);
    hf_plan_fini(&reaching->plan);
    hf_ranges_fini(&reaching->ranges);
    hf_chains_fini(&reaching->chains);
    hf_slice_reader_destroy(reaching->reader);
}
HF_CLEANUP_DEFINE_VALUE(reaching_fini, struct reaching)

static struct hf_optime later(struct hf_optime a, struct hf_optime b)
{
    return hf_optime_compare_ts(&a, &b) < 0 ? b : a;
}

/* The slices from the checkpoint on, up to what the plan and the judgement of the base need. */
static enum hf_err load(struct reaching *reaching, struct hf_error *err)
{
    const struct hf_task_point *point = reaching->reach->point;
    const struct hf_keyring *keyring = &reaching->work->task->keyring;
    const struct hf_chains_options options = {
        .store = reaching->reach->store,
        .keyring = keyring,
        .from = point->checkpoint,
        .to = later(point->last, later(point->oplog_end, point->committed)),
    };

    if (hf_slice_reader_create(reaching->reach->store, keyring, &reaching->reader, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    return hf_chains_load(&options, &reaching->chains, err);
}

/* A plan for the very entry that the server's ends with. */
static enum hf_err plan(struct reaching *reaching, const struct hf_base_snapshot *base,
                        struct hf_error *err)
{
    const struct hf_optime *last = &reaching->reach->point->last;
    const struct hf_target target = {
        .kind = HF_TARGET_TIMESTAMP, .seconds = last->seconds, .increment = last->increment};

    if (load(reaching, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_ranges_options options = {.chains = &reaching->chains,
                                              .snapshots = base,
                                              .snapshot_count = 1,
                                              .reader = reaching->reader};
    enum hf_err code = hf_ranges_compute(&options, &reaching->ranges, err);
    if (code == HF_ERR_OK) {
        code = hf_ranges_plan(&reaching->ranges, &target, &base->id, reaching->reader,
                              &reaching->plan, err);
    }
    if (code == HF_ERR_INVALID || code == HF_ERR_NOT_FOUND) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "the stored oplog no longer leads from snapshot %s to %s; hint: ask again, "
                       "the server then plans from what is there now",
                       hf_id_text(&base->id).text, hf_optime_text(last).text);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    if (!hf_optime_equal(&reaching->plan.last, last)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "the stored oplog leads to %s now, and the server planned %s; hint: ask "
                       "again",
                       hf_optime_text(&reaching->plan.last).text, hf_optime_text(last).text);
    }
    const struct hf_chain_reader_options reading = {
        .chains = &reaching->chains,
        .chain = reaching->ranges.items[reaching->plan.range].chain,
        .reader = reaching->reader,
        .after = reaching->plan.read_after,
        .to = reaching->plan.last,
    };
    if (reading.chain == HF_NO_CHAIN) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "no stored oplog goes on from snapshot %s any more; hint: ask again",
                       hf_id_text(&base->id).text);
    }
    return hf_chain_reader_open(&reading, &reaching->entries, err);
}

/* The base's own oplog is enough: it is cut at the point that was asked for. */
static void plan_alone(struct reaching *reaching, const struct hf_base_snapshot *base)
{
    const struct hf_task_point *point = reaching->reach->point;
    const struct hf_target target = {
        .kind = point->date ? HF_TARGET_DATE : HF_TARGET_TIMESTAMP,
        .seconds = point->seconds,
        .increment = point->increment,
    };

    reaching->plan.limit = hf_target_limit(&target);
    reaching->plan.last.term = -1;
    reaching->plan.read_after.term = -1;
    reaching->plan.truncate_after = reaching->plan.limit;
    reaching->plan.copy_has = later(base->checkpoint, base->committed);
}

static void note(struct hf_msg_replay *out, const struct hf_replay_note *one)
{
    size_t used = strlen(out->notes);

    (void)snprintf(out->notes + used, sizeof out->notes - used, "%s%s: %s", used == 0 ? "" : "\n",
                   one->name, one->text);
    out->wrong += !one->mended;
}

static void tell(const struct hf_replay_result *result, struct hf_msg_replay *out)
{
    *out = (struct hf_msg_replay){
        .done = true,
        .top = result->top,
        .compared = result->compared,
        .inserted = result->inserted,
        .inserted_bytes = result->inserted_bytes,
        .validated = result->validated,
    };
    /* What is wrong first: the text has an end. */
    for (unsigned mended = 0; mended < 2; mended++) {
        for (size_t i = 0; i < result->note_count; i++) {
            if (result->notes[i].mended == (mended == 1)) {
                note(out, &result->notes[i]);
            }
        }
    }
}

static enum hf_err replay(struct reaching *reaching, const struct hf_base_snapshot *base,
                          struct hf_msg_replay *out, struct hf_error *err)
{
    HF_CLEANUP(hf_replay_arguments_fini) struct hf_replay_arguments arguments = {.values = NULL};
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.notes = NULL};
    const struct hf_agent_reach *reach = reaching->reach;
    const struct hf_task_point *target = reach->point;
    const struct hf_replay_point point = hf_replay_point_of(&reaching->plan, base);

    if (hf_replay_arguments_make(target->engine_options, &arguments, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_replay_options options = {
        .program = reach->program == NULL ? "mongod" : reach->program,
        .server_version = target->server_version[0] == '\0' ? NULL : target->server_version,
        .dbpath = reach->directory,
        .arguments = (const char *const *)arguments.values,
        .point = &point,
        .next = reaching->entries == NULL ? NULL : hf_replay_chain_next,
        .next_context = reaching->entries,
        .progress = reaching->work->progress,
        .cancel = reaching->work->cancel,
        .log = reaching->work->context->log,
    };
    /* The files are new: what an earlier restore into the same directory kept in mind is about others. */
    if (hf_replay_forget(reach->directory, err) != HF_ERR_OK ||
        hf_replay_run(&options, &result, err) != HF_ERR_OK ||
        hf_replay_forget(reach->directory, err) != HF_ERR_OK) {
        return err->code;
    }
    tell(&result, out);
    return HF_ERR_OK;
}

enum hf_err hf_agent_reach_point(const struct hf_agent_work *work,
                                 const struct hf_agent_reach *reach, struct hf_msg_replay *out,
                                 struct hf_error *err)
{
    HF_CLEANUP(reaching_fini) struct reaching reaching = {.work = work, .reach = reach};
    const struct hf_base_snapshot base = {
        .id = *reach->snapshot,
        .capture = reach->capture,
        .checkpoint = reach->point->checkpoint,
        .oplog_end = reach->point->oplog_end,
        .committed = reach->point->committed,
    };

    hf_progress_phase(work->progress, "planning");
    if (hf_optime_is_none(&reach->point->last)) {
        plan_alone(&reaching, &base);
    } else if (plan(&reaching, &base, err) != HF_ERR_OK) {
        return hf_wrap(err, "plan the replay");
    }
    if (replay(&reaching, &base, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "replay in %s, which is no whole restore now", reach->directory);
    }
    return HF_ERR_OK;
}
