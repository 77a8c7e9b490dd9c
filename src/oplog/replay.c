/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a directory from a restored snapshot to a point in time. Must not know where entries come from.
 *
 *   fresh, filling   the oplog is filled, and says where recovery ends (replay_fill.c): begins anew after a stop
 *     -> recovering  the one run of recovery, and a look at what it did: may be repeated, for this point only
 *     -> recovered   counts are set right by a plain server: may be repeated
 *     -> done
 *
 * Each phase is durable in the directory before its work begins. Entries that are added after a run of recovery end the
 * next one fatally (mongodb-observed.md 6): so from `recovering` on there is no way to another point.
 */
#include "oplog/replay.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "mongo/data.h"
#include "oplog/replay_internal.h"
#include "os/fs.h"

struct run {
    const struct hf_replay_options *options;
    struct hf_replay_mark mark;
    struct hf_replay_names names;
    struct hf_replay_builds builds;
    struct hf_replay_result result;
    struct hf_recover_options server;
    char *log_path; /* owned */
};

static void run_fini(struct run *run)
{
    hf_replay_names_fini(&run->names);
    hf_replay_builds_fini(&run->builds);
    hf_replay_result_fini(&run->result);
    hf_free(HF_TAKE(run->log_path));
}
HF_CLEANUP_DEFINE_VALUE(run_fini, struct run)

void hf_replay_result_fini(struct hf_replay_result *result)
{
    for (size_t i = 0; i < result->note_count; i++) {
        hf_free(result->notes[i].name);
        hf_free(result->notes[i].text);
    }
    hf_free(result->notes);
    result->notes = NULL;
    result->note_count = 0;
}

struct hf_replay_point hf_replay_point_of(const struct hf_plan *plan,
                                          const struct hf_base_snapshot *base)
{
    return (struct hf_replay_point){
        .checkpoint = base->checkpoint,
        .copy_has = plan->copy_has,
        .read_after = plan->read_after,
        /* Without links nothing of the chain is read: the copy's own oplog is cut. */
        .last = plan->link_count > 0 ? plan->last : (struct hf_optime){.term = -1},
        .truncate_after = plan->truncate_after,
        .inserts = plan->inserts,
    };
}

enum hf_err hf_replay_chain_next(void *context, struct hf_bytes *entry, bool *more,
                                 struct hf_error *err)
{
    struct hf_oplog_entry found;

    if (hf_chain_reader_next(context, &found, more, err) != HF_ERR_OK) {
        return err->code;
    }
    if (*more) {
        *entry = found.bytes;
    }
    return HF_ERR_OK;
}

static char *log_path(const struct hf_replay_options *options, const char *what)
{
    return options->log_dir != NULL ? hf_asprintf("%s/replay-%s.log", options->log_dir, what)
                                    : hf_asprintf("%s.replay-%s.log", options->dbpath, what);
}

/* They are for finding out why it failed. */
static void remove_logs(const struct hf_replay_options *options)
{
    static const char *const all[] = {"version", "fill", "recover", "look"};

    for (size_t i = 0; i < HF_ARRAY_LEN(all); i++) {
        HF_CLEANUP(hf_free) char *path = log_path(options, all[i]);
        if (path != NULL) {
            hf_recover_remove_log(path);
        }
    }
}

/* Each start has a log of its own, named by what it is for. */
static enum hf_err name_log(struct run *run, const char *what, struct hf_error *err)
{
    hf_free(HF_TAKE(run->log_path));
    run->log_path = log_path(run->options, what);
    run->server.log_path = run->log_path;
    return run->log_path != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "name of a log");
}

static enum hf_err move_to(struct run *run, enum hf_replay_phase phase, struct hf_error *err)
{
    run->mark.phase = phase;
    if (hf_replay_mark_write(run->options->dbpath, &run->mark, err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_FAULT("oplog.replay.marked", err);
}

/* ---- Before anything is touched ---- */

static enum hf_err check_directory(const struct hf_replay_options *options, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *metadata = hf_path_join(options->dbpath, "WiredTiger");
    HF_CLEANUP(hf_free) char *server = hf_path_join(options->dbpath, "mongod.lock");
    HF_CLEANUP(hf_free) char *engine = hf_path_join(options->dbpath, "WiredTiger.lock");
    HF_CLEANUP(hf_lock_file_drop) struct hf_lock_file *lock = NULL;
    struct hf_file_info info;

    if (metadata == NULL || server == NULL || engine == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", options->dbpath);
    }
    if (hf_fs_stat(metadata, &info, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s is no restored data directory", options->dbpath);
    }
    enum hf_err result = hf_lock_file_borrow(server, &lock, err);
    if (result == HF_ERR_OK || result == HF_ERR_NOT_FOUND) {
        result = hf_lock_file_check_records(engine, err);
    }
    return result == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "a server has %s open", options->dbpath);
}

static enum hf_err check_program(struct run *run, struct hf_error *err)
{
    const struct hf_replay_options *options = run->options;
    char version[HF_MONGO_NAME_BYTES];

    if (name_log(run, "version", err) != HF_ERR_OK ||
        hf_recover_version(options->program, run->log_path, version, err) != HF_ERR_OK) {
        return err->code;
    }
    if (options->server_version == NULL) {
        return HF_ERR_OK;
    }
    return hf_recover_check_version(version, options->server_version, err) == HF_ERR_OK
               ? HF_ERR_OK
               : hf_wrap(err, "%s", options->program);
}

/* Where an earlier call stopped; from the recovery on only the same point will do. */
static enum hf_err take_up(struct run *run, struct hf_error *err)
{
    struct hf_replay_mark wanted = hf_replay_mark_of(run->options->point);
    struct hf_replay_mark found;

    if (hf_replay_mark_read(run->options->dbpath, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    if (found.phase <= HF_REPLAY_FILLING) {
        run->mark = wanted;
        run->mark.phase = found.phase;
        return HF_ERR_OK;
    }
    if (!hf_replay_mark_same_point(&found, &wanted)) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "the directory was brought to %s before, and cannot be brought on to %s; "
                       "hint: restore it anew",
                       hf_optime_text(&found.top).text,
                       hf_optime_text(&wanted.truncate_after).text);
    }
    run->mark = found;
    run->result.done_before = found.phase == HF_REPLAY_DONE;
    return HF_ERR_OK;
}

/* ---- Filling ---- */

static enum hf_err fill(struct run *run, struct hf_error *err)
{
    struct hf_replay_fill_options options = {
        .run = run->options,
        .server = &run->server,
        .taken_up = run->mark.phase == HF_REPLAY_FILLING,
        .names = &run->names,
        .builds = &run->builds,
        .result = &run->result,
    };

    if (move_to(run, HF_REPLAY_FILLING, err) != HF_ERR_OK ||
        name_log(run, "fill", err) != HF_ERR_OK ||
        hf_replay_fill(&options, &run->mark, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_info(run->options->log, "replay.filled", HF_STR("directory", run->options->dbpath),
                HF_U64("compared", run->result.compared), HF_U64("inserted", run->result.inserted),
                HF_U64("bytes", run->result.inserted_bytes));
    return move_to(run, HF_REPLAY_RECOVERING, err);
}

/* After a stop the entries are read for their namespaces and index builds alone. */
static enum hf_err read_again(struct run *run, struct hf_error *err)
{
    struct hf_replay_source source;

    hf_replay_source_begin(&source, run->options);
    if (hf_optime_is_none(&run->options->point->last)) {
        run->names.all =
            true; /* what the copy itself held is replayed and cannot be told any more */
        return HF_ERR_OK;
    }
    for (;;) {
        if (hf_replay_source_next(&source, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!source.more) {
            return HF_ERR_OK;
        }
        hf_replay_names_add(&run->names, &source.entry);
        if (hf_replay_builds_add(&run->builds, &source.entry, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

/* ---- Recovery ---- */

/* Nothing is believed: the top of the oplog, what was applied, the point that has to be gone. */
static enum hf_err check_recovered(const struct run *run, const struct hf_recover_state *state,
                                   struct hf_error *err)
{
    struct hf_optime top = hf_replay_optime(state->last);
    struct hf_optime begin = hf_replay_optime(state->begin);

    if (!hf_optime_equal(&top, &run->mark.top)) {
        return hf_fail(err, HF_ERR_LOST, "the oplog ends with %s and has to end with %s",
                       hf_optime_text(&top).text, hf_optime_text(&run->mark.top).text);
    }
    if (!hf_mongo_ts_is_null(state->truncate_after)) {
        return hf_fail(err, HF_ERR_LOST,
                       "the server did not take the truncation point (%u, %u): no recovery ran",
                       state->truncate_after.seconds, state->truncate_after.increment);
    }
    if (run->mark.applies && (!state->has_begin || !hf_optime_equal(&begin, &run->mark.top))) {
        return hf_fail(err, HF_ERR_LOST, "the server applied entries up to %s only, not to %s",
                       state->has_begin ? hf_optime_text(&begin).text : "its checkpoint",
                       hf_optime_text(&run->mark.top).text);
    }
    return HF_ERR_OK;
}

static enum hf_err recover(struct run *run, struct hf_error *err)
{
    HF_CLEANUP(hf_recover_drop) struct hf_recover *server = NULL;
    struct hf_recover_state state;
    enum hf_recover_mode mode = run->mark.many ? HF_RECOVER_REPLAY_MANY : HF_RECOVER_REPLAY;

    hf_progress_phase(run->options->progress, "replay: recover");
    if (name_log(run, "recover", err) != HF_ERR_OK ||
        hf_recover_start(&run->server, mode, &server, err) != HF_ERR_OK ||
        hf_recover_state_read(server, &state, err) != HF_ERR_OK ||
        check_recovered(run, &state, err) != HF_ERR_OK ||
        hf_recover_stop(HF_TAKE(server), err) != HF_ERR_OK) {
        return hf_wrap(err, "recover from the oplog");
    }
    hf_log_info(run->options->log, "replay.recovered", HF_STR("directory", run->options->dbpath),
                HF_STR("top", hf_optime_text(&run->mark.top).text));
    return move_to(run, HF_REPLAY_RECOVERED, err);
}

/* ---- Looking ---- */

static enum hf_err add_note(struct run *run, const char *name, bool mended, const char *text,
                            struct hf_error *err)
{
    struct hf_replay_result *result = &run->result;
    struct hf_replay_note *notes =
        hf_realloc_array(result->notes, result->note_count + 1, sizeof *notes);
    struct hf_replay_note note = {
        .name = hf_strdup(name), .text = hf_strdup(text), .mended = mended};

    if (notes != NULL) {
        result->notes = notes;
    }
    if (notes == NULL || note.name == NULL || note.text == NULL) {
        hf_free(note.name);
        hf_free(note.text);
        return hf_fail(err, HF_ERR_NO_MEMORY, "what was found in %s", name);
    }
    result->notes[result->note_count++] = note;
    if (mended) {
        hf_log_info(run->options->log, "replay.collection.mended", HF_STR("name", name),
                    HF_STR("text", text));
    } else {
        hf_log_warn(run->options->log, "replay.collection.differs", HF_STR("name", name),
                    HF_STR("text", text));
    }
    return HF_ERR_OK;
}

static enum hf_err judge(struct run *run, const char *name, const struct hf_recover_count *count,
                         struct hf_error *err)
{
    char text[512];

    if (!count->valid) {
        (void)snprintf(text, sizeof text, "validate found it damaged: %s", count->problem);
        return add_note(run, name, false, text, err);
    }
    if (count->validated) {
        (void)snprintf(text, sizeof text,
                       "the server reported %llu documents and holds %llu; validate set it right",
                       (unsigned long long)count->fast, (unsigned long long)count->counted);
        if (add_note(run, name, true, text, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (count->capped && ((count->most > 0 && count->counted > count->most) ||
                          (count->most_bytes > 0 && count->bytes > count->most_bytes))) {
        (void)snprintf(text, sizeof text,
                       "capped, and holds more than it may (%llu documents, %llu bytes): the "
                       "oldest ones were removed at the source already; they go with the next "
                       "insert",
                       (unsigned long long)count->counted, (unsigned long long)count->bytes);
        return add_note(run, name, false, text, err);
    }
    return HF_ERR_OK;
}

static enum hf_err look_at(struct run *run, struct hf_recover *server, const char *name,
                           struct hf_error *err)
{
    struct hf_recover_count count;
    const char *dot = strchr(name, '.');

    if (dot == NULL || strncmp(name, "local.", 6) == 0) {
        return HF_ERR_OK;
    }
    HF_CLEANUP(hf_free) char *database = hf_asprintf("%.*s", (int)(dot - name), name);
    if (database == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", name);
    }
    hf_progress_file(run->options->progress, name);
    if (hf_recover_count(server, database, dot + 1, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    run->result.looked_at += count.is_collection ? 1 : 0;
    run->result.validated += count.validated ? 1 : 0;
    return judge(run, name, &count, err);
}

static enum hf_err look_at_all(struct run *run, struct hf_recover *server, struct hf_error *err)
{
    struct hf_mongo_data_options options = {.no_hash = true, .cancel = run->options->cancel};
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data data = {.database_count = 0};

    if (hf_mongo_data_read(hf_recover_client(server), &options, &data, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < data.database_count; i++) {
        const struct hf_mongo_database *database = &data.databases[i];
        for (size_t j = 0; j < database->collection_count; j++) {
            HF_CLEANUP(hf_free)
            char *name = hf_asprintf("%s.%s", database->name, database->collections[j].name);
            if (name == NULL) {
                return hf_fail(err, HF_ERR_NO_MEMORY, "look at collections");
            }
            if (look_at(run, server, name, err) != HF_ERR_OK) {
                return err->code;
            }
        }
    }
    return HF_ERR_OK;
}

static enum hf_err look_at_each(struct run *run, struct hf_recover *server, struct hf_error *err)
{
    if (run->names.all) {
        return look_at_all(run, server, err);
    }
    for (size_t i = 0; i < run->names.count; i++) {
        if (look_at(run, server, run->names.names[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err note_build(struct run *run, const char *collection, const char *index,
                              struct hf_error *err)
{
    char text[512];

    (void)snprintf(text, sizeof text,
                   "the build of its index %s had begun and not ended at that point: it comes "
                   "without it; hint: make the index again",
                   index);
    return add_note(run, collection, false, text, err);
}

static enum hf_err note_half_made(void *context, const struct hf_recover_half_made *one,
                                  struct hf_error *err)
{
    struct run *run = context;

    return hf_replay_builds_know(&run->builds, one->build)
               ? HF_ERR_OK
               : note_build(run, one->collection, one->index, err);
}

/* Builds that were under way at the point: their indexes are not there. */
static enum hf_err look_at_builds(struct run *run, struct hf_recover *server, struct hf_error *err)
{
    for (size_t i = 0; i < run->builds.count; i++) {
        const struct hf_replay_build *build = &run->builds.items[i];
        if (build->committed || !hf_optime_is_none(&build->abort)) {
            continue;
        }
        for (size_t j = 0; j < build->index_count; j++) {
            if (note_build(run, build->collection, build->indexes[j], err) != HF_ERR_OK) {
                return err->code;
            }
        }
    }
    /* Those that were begun before the checkpoint are in no replayed entry. */
    return hf_recover_half_made(server, note_half_made, run, err);
}

/* A mark that outlived its files would make of untouched ones a directory that looks done. */
static enum hf_err check_kept(const struct run *run, const struct hf_recover_state *state,
                              struct hf_error *err)
{
    struct hf_optime top = hf_replay_optime(state->last);
    struct hf_optime begin = hf_replay_optime(state->begin);
    bool new_set = state->min_valid.ts.seconds == 0 && state->min_valid.ts.increment == 1;

    if (!hf_optime_equal(&top, &run->mark.top) ||
        (run->mark.applies && !new_set &&
         (!state->has_begin || !hf_optime_equal(&begin, &run->mark.top)))) {
        return hf_fail(err, HF_ERR_LOST,
                       "%s tells of a replay to %s, and the files are of %s: they were changed "
                       "since; hint: restore the directory anew",
                       HF_REPLAY_MARK, hf_optime_text(&run->mark.top).text,
                       hf_optime_text(&top).text);
    }
    return HF_ERR_OK;
}

static enum hf_err look(struct run *run, struct hf_error *err)
{
    HF_CLEANUP(hf_recover_drop) struct hf_recover *server = NULL;
    struct hf_recover_state state;

    hf_progress_phase(run->options->progress, "replay: look");
    if (name_log(run, "look", err) != HF_ERR_OK ||
        hf_recover_start(&run->server, HF_RECOVER_PLAIN, &server, err) != HF_ERR_OK ||
        hf_recover_state_read(server, &state, err) != HF_ERR_OK ||
        check_kept(run, &state, err) != HF_ERR_OK ||
        look_at_builds(run, server, err) != HF_ERR_OK ||
        look_at_each(run, server, err) != HF_ERR_OK ||
        hf_recover_stop(HF_TAKE(server), err) != HF_ERR_OK) {
        return hf_wrap(err, "look at the collections");
    }
    return run->mark.phase == HF_REPLAY_DONE ? HF_ERR_OK : move_to(run, HF_REPLAY_DONE, err);
}

/* ---- All ---- */

static enum hf_err run_phases(struct run *run, struct hf_error *err)
{
    if (check_directory(run->options, err) != HF_ERR_OK || check_program(run, err) != HF_ERR_OK ||
        take_up(run, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err result =
        run->mark.phase <= HF_REPLAY_FILLING ? fill(run, err) : read_again(run, err);
    if (result == HF_ERR_OK && run->mark.phase == HF_REPLAY_RECOVERING) {
        result = recover(run, err);
    }
    return result == HF_ERR_OK ? look(run, err) : result;
}

enum hf_err hf_replay_run(const struct hf_replay_options *options, struct hf_replay_result *out,
                          struct hf_error *err)
{
    HF_CLEANUP(run_fini) struct run run = {.options = options};

    HF_ASSERT(options->next != NULL || hf_optime_is_none(&options->point->last));
    run.server = (struct hf_recover_options){
        .program = options->program,
        .dbpath = options->dbpath,
        .arguments = options->arguments,
        .cancel = options->cancel,
    };
    if (run_phases(&run, err) != HF_ERR_OK) {
        return hf_wrap(err, "bring %s to %s", options->dbpath,
                       hf_optime_text(&options->point->truncate_after).text);
    }
    remove_logs(options);
    run.result.top = run.mark.top;
    *out = run.result;
    run.result = (struct hf_replay_result){.note_count = 0};
    return HF_ERR_OK;
}
