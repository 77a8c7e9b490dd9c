/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills a copy's oplog. What it holds already is compared with the history entry by entry, so filling again after a stop
 * finds its own entries and goes on behind them. Nothing is removed: what the copy holds beyond the point is cut by the
 * server's recovery.
 */
#include <inttypes.h>

#include "mongo/oplog.h"
#include "oplog/replay_internal.h"

/* ---- The caller's entries ---- */

void hf_replay_source_begin(struct hf_replay_source *source, const struct hf_replay_options *run)
{
    *source = (struct hf_replay_source){.run = run, .before = run->point->read_after};
}

enum hf_err hf_replay_source_next(struct hf_replay_source *source, struct hf_error *err)
{
    const struct hf_replay_options *run = source->run;
    const struct hf_optime *last = &run->point->last;
    struct hf_bytes bytes = {.data = NULL};
    bool had = source->more;

    if (had) {
        source->before = source->entry.optime;
    }
    source->more = false;
    if (hf_optime_is_none(last)) {
        return HF_ERR_OK;
    }
    if (run->next(run->next_context, &bytes, &source->more, err) != HF_ERR_OK) {
        return hf_wrap(err, "entries of the oplog store");
    }
    if (!source->more) {
        return hf_optime_equal(&source->before, last)
                   ? HF_ERR_OK
                   : hf_fail(err, HF_ERR_INVALID, "the entries end with %s, not with %s",
                             hf_optime_text(&source->before).text, hf_optime_text(last).text);
    }
    if (hf_oplog_entry_read(bytes, &source->entry, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_optime *optime = &source->entry.optime;
    if (!hf_optime_is_none(&source->before) && hf_optime_compare_ts(optime, &source->before) <= 0) {
        return hf_fail(err, HF_ERR_INVALID, "the entry %s comes after %s",
                       hf_optime_text(optime).text, hf_optime_text(&source->before).text);
    }
    return hf_optime_compare_ts(optime, last) <= 0
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_INVALID, "the entry %s lies behind %s",
                         hf_optime_text(optime).text, hf_optime_text(last).text);
}

/* ---- The copy's entries ---- */

struct fill {
    const struct hf_replay_fill_options *options;
    const struct hf_replay_point *point;
    struct hf_recover *server;    /* owned */
    struct hf_recover_walk *walk; /* owned; NULL: the copy has no more that matter */
    struct hf_recover_fill *put;  /* owned; NULL: nothing was put yet */
    bool large;                   /* the server takes large entries */
    struct hf_recover_state before;
    struct hf_replay_source source;
    bool has_own; /* own is set: the copy's next entry */
    struct hf_optime own;
    struct hf_optime top; /* the last one that stays, so far */
};

static void fill_fini(struct fill *fill)
{
    hf_recover_fill_drop(fill->put);
    hf_recover_walk_close(fill->walk);
    hf_recover_drop(fill->server);
}
HF_CLEANUP_DEFINE_VALUE(fill_fini, struct fill)

/* What has to be known of an entry that recovery will replay. */
static enum hf_err note_entry(const struct fill *fill, const struct hf_oplog_entry *entry,
                              struct hf_error *err)
{
    hf_replay_names_add(fill->options->names, entry);
    return hf_replay_builds_add(fill->options->builds, entry, err);
}

/* The copy's next entry up to the point; the walk is closed behind it. */
static enum hf_err own_next(struct fill *fill, struct hf_error *err)
{
    const struct hf_optime *limit = &fill->point->truncate_after;
    struct hf_mongo_optime optime;
    struct hf_bytes bytes;
    bool more = false;

    fill->has_own = false;
    if (fill->walk == NULL) {
        return HF_ERR_OK;
    }
    if (hf_recover_walk_next(fill->walk, &optime, &bytes, &more, err) != HF_ERR_OK) {
        return err->code;
    }
    if (more) {
        fill->own = hf_replay_optime(optime);
        fill->has_own = hf_optime_compare_ts(&fill->own, limit) <= 0;
    }
    if (!fill->has_own) {
        hf_recover_walk_close(HF_TAKE(fill->walk));
    } else if (hf_optime_is_none(&fill->point->last)) {
        /* The copy alone tells what its recovery touches. */
        struct hf_oplog_entry entry;
        if (hf_oplog_entry_read(bytes, &entry, err) != HF_ERR_OK) {
            return hf_wrap(err, "the copy's entry %s", hf_optime_text(&fill->own).text);
        }
        return note_entry(fill, &entry, err);
    }
    return HF_ERR_OK;
}

static enum hf_err walk_from(struct fill *fill, const struct hf_optime *after, struct hf_error *err)
{
    return hf_recover_walk_open(fill->server, hf_replay_ts(after),
                                hf_optime_is_none(&fill->point->last), &fill->walk, err);
}

/* ---- Putting ---- */

/* One more start with what large entries need; the walk goes on where it stood. */
static enum hf_err make_large(struct fill *fill, struct hf_error *err)
{
    const struct hf_recover_options *server = fill->options->server;
    bool walked = fill->walk != NULL;

    if (fill->put != NULL && hf_recover_fill_flush(fill->put, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_recover_fill_drop(HF_TAKE(fill->put));
    hf_recover_walk_close(HF_TAKE(fill->walk));
    if (hf_recover_stop(HF_TAKE(fill->server), err) != HF_ERR_OK ||
        hf_recover_start(server, HF_RECOVER_PLAIN_LARGE, &fill->server, err) != HF_ERR_OK) {
        return err->code;
    }
    fill->large = true;
    /* Behind the entry in hand: it was read already. */
    return walked ? walk_from(fill, &fill->own, err) : HF_ERR_OK;
}

static enum hf_err put(struct fill *fill, struct hf_error *err)
{
    const struct hf_oplog_entry *entry = &fill->source.entry;
    struct hf_replay_result *result = fill->options->result;

    if (hf_optime_compare_ts(&entry->optime, &fill->point->copy_has) <= 0) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "the copy does not hold the entry %s, though it was made to hold all up to "
                       "%s; hint: verify the snapshot, and restore it anew or take an earlier one",
                       hf_optime_text(&entry->optime).text,
                       hf_optime_text(&fill->point->copy_has).text);
    }
    if (hf_recover_entry_is_large(entry->bytes) && !fill->large &&
        make_large(fill, err) != HF_ERR_OK) {
        return err->code;
    }
    if (fill->put == NULL && hf_recover_fill_begin(fill->server, &fill->put, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_recover_fill_add(fill->put, entry->bytes, err) != HF_ERR_OK) {
        return hf_wrap(err, "entry %s", hf_optime_text(&entry->optime).text);
    }
    result->inserted++;
    result->inserted_bytes += entry->bytes.len;
    hf_progress_add_done(fill->options->run->progress, entry->bytes.len);
    return HF_ERR_OK;
}

static enum hf_err fail_rolled_back(const struct fill *fill, struct hf_error *err)
{
    return hf_fail(err, HF_ERR_CONFLICT,
                   "the copy holds the entry %s, which the stored oplog does not have: the source "
                   "rolled it back after this snapshot, which is no base for a later point; hint: "
                   "take an earlier snapshot",
                   hf_optime_text(&fill->own).text);
}

/* The caller's next entry against the copy's next one. */
static enum hf_err step(struct fill *fill, struct hf_error *err)
{
    struct hf_replay_source *source = &fill->source;
    int order = !fill->has_own  ? -1
                : !source->more ? 1
                                : hf_optime_compare_ts(&source->entry.optime, &fill->own);
    bool theirs = !hf_optime_is_none(&fill->point->last);

    if (theirs &&
        (order > 0 || (order == 0 && !hf_optime_equal(&source->entry.optime, &fill->own)))) {
        return fail_rolled_back(fill, err);
    }
    if (order < 0 && put(fill, err) != HF_ERR_OK) {
        return err->code;
    }
    fill->top = order < 0 ? source->entry.optime : fill->own;
    if (order >= 0) {
        fill->options->result->compared++;
        if (own_next(fill, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (order <= 0) {
        return note_entry(fill, &source->entry, err) == HF_ERR_OK
                   ? hf_replay_source_next(source, err)
                   : err->code;
    }
    return HF_ERR_OK;
}

static enum hf_err merge(struct fill *fill, struct hf_error *err)
{
    const struct hf_optime *after = &fill->point->read_after;
    struct hf_optime before_first;

    hf_replay_source_begin(&fill->source, fill->options->run);
    if (hf_replay_source_next(&fill->source, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_optime_is_none(&fill->point->last)) {
        after = &fill->point->checkpoint;
    } else if (hf_optime_is_none(after) && fill->source.more) {
        /* The history begins in the copy: what stands before its first entry is the copy's alone. */
        before_first = fill->source.entry.optime;
        before_first.seconds -= before_first.increment == 0 ? 1 : 0;
        before_first.increment--;
        after = &before_first;
    }
    if (walk_from(fill, after, err) != HF_ERR_OK || own_next(fill, err) != HF_ERR_OK) {
        return err->code;
    }
    while (fill->has_own || fill->source.more) {
        if (step(fill, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return fill->put == NULL ? HF_ERR_OK : hf_recover_fill_flush(fill->put, err);
}

/* ---- Before and after ---- */

/* What recovery starts from has to be there: the entry at the checkpoint, or the one before it. */
static enum hf_err check_start(struct fill *fill, const struct hf_recover_state *state,
                               struct hf_error *err)
{
    struct hf_optime first = hf_replay_optime(state->first);
    const struct hf_optime *read_after = &fill->point->read_after;

    if (hf_mongo_ts_is_null(state->first.ts)) {
        /* Seen after a kill in the middle of the first start on a copy. */
        return hf_fail(err, HF_ERR_LOST, "the copy has no oplog; hint: restore the directory anew");
    }
    if (hf_optime_compare_ts(&first, &fill->point->checkpoint) > 0) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "the oplog of the copy begins with %s, behind its checkpoint %s; hint: "
                       "restore the directory anew",
                       hf_optime_text(&first).text, hf_optime_text(&fill->point->checkpoint).text);
    }
    if (hf_optime_is_none(read_after) || hf_optime_compare_ts(read_after, &first) < 0) {
        return HF_ERR_OK;
    }
    struct hf_mongo_optime wanted = {.ts = hf_replay_ts(read_after), .term = read_after->term};
    enum hf_err result = hf_mongo_oplog_confirm(hf_recover_client(fill->server), wanted, err);
    return result != HF_ERR_LOST
               ? result
               : hf_fail(err, HF_ERR_CONFLICT,
                         "the copy does not hold the entry %s, from which on the stored oplog is "
                         "read: the snapshot is no base of this history; hint: take another one",
                         hf_optime_text(read_after).text);
}

/*
 * The checkpoint shows indexes of a build that was under way, and recovery neither goes on with it nor takes it away. Where
 * the build is committed its indexes are made here, of the documents at the checkpoint, and recovery keeps them up.
 */
static enum hf_err end_half_made(struct fill *fill, const struct hf_replay_build *build,
                                 struct hf_error *err)
{
    if (!hf_optime_is_none(&build->start)) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < build->index_count; i++) {
        if (hf_recover_drop_index(fill->server, build->collection, build->indexes[i], err) !=
            HF_ERR_OK) {
            return hf_wrap(err, "an index that was being built at the checkpoint");
        }
    }
    if (build->committed &&
        hf_recover_make_indexes(fill->server, build->collection,
                                hf_bytes_of(build->specs, build->specs_len), err) != HF_ERR_OK) {
        return hf_wrap(err, "an index that was being built at the checkpoint");
    }
    return HF_ERR_OK;
}

/*
 * A build that was under way at the checkpoint and has no end up to the point: a standalone would keep its half for ever,
 * and never get rid of the collection. It is named when the collections are looked at.
 */
static enum hf_err drop_half_made(void *context, const struct hf_recover_half_made *one,
                                  struct hf_error *err)
{
    struct fill *fill = context;

    if (hf_replay_builds_know(fill->options->builds, one->build)) {
        return HF_ERR_OK;
    }
    return hf_recover_drop_index(fill->server, one->collection, one->index, err) == HF_ERR_OK
               ? HF_ERR_OK
               : hf_wrap(err, "an index that was being built at the checkpoint");
}

/* Recovery dies of the entries of builds that are not committed at the point. */
static enum hf_err still_builds(struct fill *fill, struct hf_error *err)
{
    const struct hf_replay_builds *builds = fill->options->builds;

    for (size_t i = 0; i < builds->count; i++) {
        const struct hf_replay_build *build = &builds->items[i];
        const struct hf_optime *entries[] = {&build->start, &build->abort};
        if (end_half_made(fill, build, err) != HF_ERR_OK) {
            return err->code;
        }
        for (size_t j = 0; j < HF_ARRAY_LEN(entries); j++) {
            if (!hf_optime_is_none(entries[j]) &&
                hf_recover_make_noop(fill->server, hf_replay_ts(entries[j]), err) != HF_ERR_OK) {
                return hf_wrap(err, "index build %s of %s", hf_optime_text(entries[j]).text,
                               build->collection);
            }
        }
    }
    return hf_recover_half_made(fill->server, drop_half_made, fill, err);
}

static enum hf_err finish(struct fill *fill, struct hf_replay_mark *mark, struct hf_error *err)
{
    struct hf_recover_state after;

    if (still_builds(fill, err) != HF_ERR_OK ||
        hf_recover_set_truncate(fill->server, hf_replay_ts(&fill->top), err) != HF_ERR_OK ||
        hf_recover_state_read(fill->server, &after, err) != HF_ERR_OK ||
        check_start(fill, &after, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_ts_compare(after.last.ts, hf_replay_ts(&fill->top)) < 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "the oplog ends with %s after it was filled up to %s",
                       hf_optime_text(&(struct hf_optime){after.last.ts.seconds,
                                                          after.last.ts.increment, after.last.term})
                           .text,
                       hf_optime_text(&fill->top).text);
    }
    mark->top = fill->top;
    mark->applies = hf_optime_compare_ts(&fill->top, &fill->point->checkpoint) > 0;
    mark->many = after.knows_many && fill->options->result->inserted > 0;
    return hf_recover_stop(HF_TAKE(fill->server), err);
}

/* Without a later entry the point is the one at the checkpoint, or the last before it. */
static enum hf_err find_floor(struct fill *fill, struct hf_error *err)
{
    struct hf_mongo_optime found;

    fill->top = fill->point->checkpoint;
    enum hf_err result = hf_mongo_oplog_find(hf_recover_client(fill->server),
                                             hf_replay_ts(&fill->point->checkpoint), &found, err);
    if (result == HF_ERR_OK) {
        fill->top = hf_replay_optime(found);
    }
    return result == HF_ERR_NOT_FOUND
               ? hf_fail(err, HF_ERR_CORRUPT,
                         "the oplog of the copy does not hold the entry %s of its checkpoint",
                         hf_optime_text(&fill->point->checkpoint).text)
               : result;
}

/*
 * A kill in the middle of the first start on a copy spoils it in more ways than can be told apart: seen are no oplog, an
 * oplog that cannot be read, and a server that asks for a repair.
 */
static enum hf_err open_copy(struct fill *fill, struct hf_error *err)
{
    const struct hf_replay_fill_options *options = fill->options;

    if (hf_recover_start(options->server, HF_RECOVER_PLAIN, &fill->server, err) == HF_ERR_OK &&
        hf_recover_state_read(fill->server, &fill->before, err) == HF_ERR_OK) {
        return HF_ERR_OK;
    }
    if (options->taken_up && err->code == HF_ERR_INTERNAL) {
        struct hf_error why = *err;
        return hf_fail(err, HF_ERR_LOST,
                       "an earlier replay stopped here, and the server cannot go on from these "
                       "files: %s; hint: restore the directory anew",
                       why.message);
    }
    return err->code;
}

enum hf_err hf_replay_fill(const struct hf_replay_fill_options *options,
                           struct hf_replay_mark *mark, struct hf_error *err)
{
    HF_CLEANUP(fill_fini)
    struct fill fill = {.options = options, .point = options->run->point};

    hf_progress_phase(options->run->progress, "replay: fill");
    if (open_copy(&fill, err) != HF_ERR_OK || check_start(&fill, &fill.before, err) != HF_ERR_OK ||
        find_floor(&fill, err) != HF_ERR_OK || merge(&fill, err) != HF_ERR_OK) {
        return hf_wrap(err, "fill the oplog");
    }
    hf_recover_fill_drop(HF_TAKE(fill.put));
    return finish(&fill, mark, err) == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "fill the oplog");
}
