/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member's life in its set: threads, state, and the coordinator that does what is due.
 *
 * The coordinator wakes twenty times a second: it starts a thread for each member to beat, calls an election when the
 * primary is silent or is a lesser one, steps down when it hears of a higher term or no longer hears a majority, moves
 * the majority point, writes a no-op when the set is idle.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/fs.h"
#include "sandbox/repl_internal.h"

#define TICK_MS 50
#define KEY_FILE_MAX 4096
#define TAKEOVER_AFTER_MS                                                                          \
    2000 /* of a primary's silence-free life before a higher priority takes over */

/* ---- State ---- */

const char *hf_sandbox_state_name(enum hf_sandbox_state state)
{
    static const char *const names[] = {"STARTUP",    "PRIMARY",  "SECONDARY",
                                        "RECOVERING", "(unused)", "STARTUP2",
                                        "UNKNOWN",    "ARBITER",  "(not reachable/healthy)",
                                        "ROLLBACK",   "REMOVED"};

    return (size_t)state < HF_ARRAY_LEN(names) ? names[state] : "UNKNOWN";
}

void hf_sandbox_repl_set_state(struct hf_sandbox_repl *repl, enum hf_sandbox_state state)
{
    if (repl->mine != state) {
        repl->mine = state;
        repl->topology++;
        hf_log_info(repl->log, "repl.state", HF_STR("state", hf_sandbox_state_name(state)));
    }
    hf_cond_broadcast(&repl->changed);
}

void hf_sandbox_repl_see_term(struct hf_sandbox_repl *repl, int64_t term)
{
    if (term <= repl->term) {
        return;
    }
    repl->term = term;
    if (repl->mine == HF_SANDBOX_PRIMARY) {
        repl->step_down_wanted = true;
        hf_cond_broadcast(&repl->changed);
    }
}

void hf_sandbox_repl_put_off_election(struct hf_sandbox_repl *repl)
{
    uint64_t election_ms = repl->config == NULL ? 10000 : repl->config->election_ms;
    uint32_t random;

    if (repl->config != NULL && repl->config->voters == 1) {
        repl->election_due_ms = hf_clock_mono_ms(); /* nobody else could be primary */
        return;
    }
    hf_random_bytes(&random, sizeof random);
    repl->election_due_ms =
        hf_clock_mono_ms() + election_ms + random % (election_ms * 15 / 100 + 1);
}

bool hf_sandbox_repl_stopping(const struct hf_sandbox_repl *repl)
{
    return hf_cancel_requested(&repl->stopping);
}

const struct hf_secret *hf_sandbox_repl_key_of(const struct hf_sandbox_repl *repl)
{
    return repl->has_key ? &repl->key : NULL;
}

const struct hf_secret *hf_sandbox_repl_key(const struct hf_sandbox_repl *repl)
{
    return hf_sandbox_repl_key_of(repl);
}

bool hf_sandbox_repl_enabled(const struct hf_sandbox_repl *repl)
{
    return repl->options->repl_set != NULL;
}

enum hf_sandbox_state hf_sandbox_repl_state(struct hf_sandbox_repl *repl)
{
    HF_LOCKED(&repl->state);
    return repl->mine;
}

bool hf_sandbox_repl_writable(struct hf_sandbox_repl *repl)
{
    return !hf_sandbox_repl_enabled(repl) || hf_sandbox_repl_state(repl) == HF_SANDBOX_PRIMARY;
}

bool hf_sandbox_repl_readable(struct hf_sandbox_repl *repl)
{
    enum hf_sandbox_state state = hf_sandbox_repl_state(repl);

    return !hf_sandbox_repl_enabled(repl) || state == HF_SANDBOX_PRIMARY ||
           state == HF_SANDBOX_SECONDARY;
}

int64_t hf_sandbox_repl_term(struct hf_sandbox_repl *repl)
{
    HF_LOCKED(&repl->state);
    return repl->term;
}

bool hf_sandbox_repl_wants_restart(struct hf_sandbox_repl *repl)
{
    HF_LOCKED(&repl->state);
    return repl->restart_wanted;
}

/* ---- The majority point ---- */

static int newest_first(const void *a, const void *b)
{
    return -hf_sandbox_optime_compare(*(const struct hf_sandbox_optime *)a,
                                      *(const struct hf_sandbox_optime *)b);
}

/* What enough members with a vote have; only entries of the primary's own term count. */
static void advance_primary(struct hf_sandbox_repl *repl)
{
    const struct hf_sandbox_config *config = repl->config;
    struct hf_sandbox_optime have[HF_SANDBOX_MEMBERS_MAX];
    size_t count = 0;
    struct hf_sandbox_optime point;

    for (size_t i = 0; i < config->count; i++) {
        if (config->members[i].votes == 0 || config->members[i].arbiter) {
            continue;
        }
        if (config->members[i].self) {
            have[count++] = config->journaled_majority ? hf_sandbox_engine_durable(repl->engine)
                                                       : hf_sandbox_engine_applied(repl->engine);
        } else {
            have[count++] =
                config->journaled_majority ? repl->views[i].durable : repl->views[i].applied;
        }
    }
    if (count < (size_t)config->write_majority) {
        return;
    }
    qsort(have, count, sizeof *have, newest_first);
    point = have[config->write_majority - 1];
    if (point.term == repl->term && point.ts > hf_sandbox_engine_majority(repl->engine).ts) {
        hf_sandbox_engine_set_majority(repl->engine, point);
        if (repl->election.available_wall_ms == 0) {
            repl->election.available_wall_ms = hf_clock_wall_ms();
        }
    }
}

void hf_sandbox_repl_advance(struct hf_sandbox_repl *repl)
{
    if (repl->config == NULL) {
        return;
    }
    if (repl->mine == HF_SANDBOX_PRIMARY) {
        advance_primary(repl);
    } else if (repl->mine == HF_SANDBOX_SECONDARY &&
               repl->committed_seen.term == hf_sandbox_engine_applied(repl->engine).term) {
        hf_sandbox_engine_set_majority(repl->engine, repl->committed_seen);
    }
    hf_cond_broadcast(&repl->changed);
}

enum hf_err hf_sandbox_repl_note(struct hf_sandbox_repl *repl, const bson_t *o,
                                 struct hf_error *err)
{
    const struct hf_sandbox_txn_options options = {.write = true, .replicated = true};
    const struct hf_sandbox_entry entry = {.op = "n", .ns = "", .o = o};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;

    if (hf_sandbox_txn_begin(repl->engine, &options, &txn, err) != HF_ERR_OK ||
        hf_sandbox_txn_log(txn, &entry, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
}

/* ---- The coordinator ---- */

struct beater {
    struct hf_sandbox_repl *repl;
    size_t place;
};

static void beater_run(void *argument)
{
    struct beater beater = *(struct beater *)argument;

    hf_free(argument);
    hf_sandbox_beat_run(beater.repl, beater.place);
}

static void start_beaters(struct hf_sandbox_repl *repl, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct beater *beater;
        struct hf_error err;

        if (repl->beaters[i] != NULL || (beater = hf_alloc(sizeof *beater)) == NULL) {
            continue;
        }
        *beater = (struct beater){.repl = repl, .place = i};
        if (hf_thread_start("beat", beater_run, beater, &repl->beaters[i], &err) != HF_ERR_OK) {
            repl->beaters[i] = NULL;
            hf_free(beater);
        }
    }
}

/* Under state: a primary that hears fewer than a majority is none. */
static bool is_alone(const struct hf_sandbox_repl *repl, uint64_t now)
{
    const struct hf_sandbox_config *config = repl->config;
    int32_t heard = 0;

    if (now - repl->primary_since_ms < config->election_ms) {
        return false;
    }
    for (size_t i = 0; i < config->count; i++) {
        bool recent =
            config->members[i].self || (repl->views[i].replied_mono_ms != 0 &&
                                        now - repl->views[i].replied_mono_ms < config->election_ms);

        heard += config->members[i].votes != 0 && recent ? 1 : 0;
    }
    return heard < config->vote_majority;
}

/* Under state: who may be primary should be, when he has all. */
static bool should_take_over(const struct hf_sandbox_repl *repl)
{
    const struct hf_sandbox_config *config = repl->config;
    int primary = repl->primary;

    return primary >= 0 && primary != config->self &&
           config->members[config->self].priority > config->members[primary].priority &&
           repl->views[primary].state == HF_SANDBOX_PRIMARY &&
           hf_sandbox_ts_seconds(hf_sandbox_engine_applied(repl->engine).ts) + 2 >=
               hf_sandbox_ts_seconds(repl->views[primary].applied.ts) &&
           hf_clock_wall_ms() / 1000 >
               hf_sandbox_ts_seconds(repl->views[primary].election_ts) + TAKEOVER_AFTER_MS / 1000;
}

/* Under state: why an election is due now; NULL: none is. */
static const char *campaign_reason(struct hf_sandbox_repl *repl, uint64_t now)
{
    const struct hf_sandbox_config *config = repl->config;

    if (repl->mine != HF_SANDBOX_SECONDARY || config->self < 0 ||
        config->members[config->self].priority <= 0) {
        repl->step_up_wanted = false;
        return NULL;
    }
    if (repl->step_up_wanted) {
        repl->step_up_wanted = false;
        return "stepUpRequest";
    }
    if (now < repl->frozen_until_ms) {
        return NULL;
    }
    if (now >= repl->election_due_ms) {
        return "electionTimeout";
    }
    return should_take_over(repl) ? "priorityTakeover" : NULL;
}

static void write_noop(struct hf_sandbox_repl *repl)
{
    uint64_t every_s = 10;
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    bson_t *o;
    struct hf_error err;

    if (!hf_parse_u64(hf_str_of(hf_sandbox_options_parameter(repl->options,
                                                             "periodicNoopIntervalSecs", "10")),
                      &every_s) ||
        strcmp(hf_sandbox_options_parameter(repl->options, "writePeriodicNoops", "true"),
               "false") == 0 ||
        hf_clock_wall_ms() / 1000 < hf_sandbox_ts_seconds(applied.ts) + every_s ||
        hf_sandbox_engine_fsync_locked(repl->engine)) {
        return;
    }
    o = BCON_NEW("msg", "periodic noop");
    if (hf_sandbox_repl_note(repl, o, &err) != HF_ERR_OK && err.code != HF_ERR_DENIED) {
        hf_log_warn(repl->log, "repl.noop_failed", HF_STR("error", err.message));
    }
    bson_destroy(o);
}

static void coordinate(struct hf_sandbox_repl *repl)
{
    uint64_t now = hf_clock_mono_ms();
    const char *reason = NULL;
    bool down = false;
    bool primary;
    int64_t term;
    size_t count;

    hf_mutex_lock(&repl->state);
    if (repl->config == NULL) {
        (void)hf_cond_wait_for(&repl->changed, &repl->state, TICK_MS);
        hf_mutex_unlock(&repl->state);
        return;
    }
    count = repl->config->count;
    term = repl->term;
    primary = repl->mine == HF_SANDBOX_PRIMARY;
    hf_sandbox_repl_advance(repl);
    if (primary) {
        down = repl->step_down_wanted || is_alone(repl, now);
    } else {
        reason = campaign_reason(repl, now);
    }
    if (!down && reason == NULL) {
        (void)hf_cond_wait_for(&repl->changed, &repl->state, TICK_MS);
    }
    hf_mutex_unlock(&repl->state);
    start_beaters(repl, count);
    if (down) {
        hf_sandbox_vote_step_down(repl, term);
    } else if (reason != NULL) {
        hf_sandbox_vote_campaign(repl, reason);
    } else if (primary) {
        write_noop(repl);
    }
    hf_sandbox_serve_reap(repl, false);
}

static void coordinator_run(void *argument)
{
    struct hf_sandbox_repl *repl = argument;

    while (!hf_sandbox_repl_stopping(repl)) {
        coordinate(repl);
    }
}

static void syncer_run(void *argument)
{
    hf_sandbox_sync_run(argument);
}

/* ---- Beginning and end ---- */

static enum hf_err read_key(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(KEY_FILE_MAX);
    uint8_t key[HF_SECRET_MAX_BYTES];
    size_t len = 0;

    if (repl->options->key_file == NULL) {
        return HF_ERR_OK;
    }
    if (hf_fs_read_whole(repl->options->key_file, KEY_FILE_MAX, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "key file");
    }
    for (size_t i = 0; i < text.len && len < sizeof key; i++) {
        if (!isspace(text.data[i])) {
            key[len++] = text.data[i];
        }
    }
    repl->has_key = len >= 6 && hf_secret_set(&repl->key, hf_bytes_of(key, len));
    hf_wipe(key, sizeof key);
    return repl->has_key ? HF_ERR_OK
                         : hf_fail(err, HF_ERR_INVALID, "key file %s: 6 to %d characters",
                                   repl->options->key_file, HF_SECRET_MAX_BYTES);
}

static enum hf_err load(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    if (read_key(repl, err) != HF_ERR_OK || !hf_sandbox_repl_enabled(repl)) {
        return repl->options->key_file == NULL || repl->has_key ? HF_ERR_OK : err->code;
    }
    repl->term = hf_sandbox_engine_applied(repl->engine).term;
    repl->term = repl->term < 0 ? 0 : repl->term;
    if (hf_sandbox_vote_load(repl, err) != HF_ERR_OK ||
        hf_sandbox_config_load(repl, err) != HF_ERR_OK ||
        hf_thread_start("replsync", syncer_run, repl, &repl->syncer, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_thread_start("replcoord", coordinator_run, repl, &repl->coordinator, err);
}

enum hf_err hf_sandbox_repl_start(struct hf_sandbox_engine *engine,
                                  const struct hf_sandbox_options *options, struct hf_log *log,
                                  struct hf_cancel *shutdown, struct hf_sandbox_repl **out,
                                  struct hf_error *err)
{
    struct hf_sandbox_repl *repl = hf_alloc_zero(sizeof *repl);

    if (repl == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start replication");
    }
    repl->engine = engine;
    repl->options = options;
    repl->log = log;
    repl->shutdown = shutdown;
    repl->primary = -1;
    repl->committed_seen = HF_SANDBOX_OPTIME_NONE;
    repl->started_mono_ms = hf_clock_mono_ms();
    hf_cancel_init(&repl->stopping);
    bson_oid_init(&repl->process_id, NULL);
    hf_mutex_init(&repl->state);
    hf_mutex_init(&repl->apply);
    hf_cond_init(&repl->changed);
    *out = repl;
    return load(repl, err); /* the caller stops it either way */
}

void hf_sandbox_repl_stop(struct hf_sandbox_repl *repl)
{
    if (repl == NULL) {
        return;
    }
    hf_cancel_request(&repl->stopping);
    hf_mutex_lock(&repl->state);
    hf_cond_broadcast(&repl->changed);
    hf_mutex_unlock(&repl->state);
    hf_thread_join(repl->coordinator);
    hf_thread_join(repl->syncer);
    for (size_t i = 0; i < HF_SANDBOX_MEMBERS_MAX; i++) {
        hf_thread_join(repl->beaters[i]);
    }
    if (hf_sandbox_repl_state(repl) == HF_SANDBOX_PRIMARY) {
        hf_sandbox_vote_step_down(repl, repl->term);
    }
    hf_sandbox_serve_reap(repl, true);
    hf_sandbox_config_destroy(repl->config);
    hf_secret_wipe(&repl->key);
    hf_cond_fini(&repl->changed);
    hf_mutex_fini(&repl->state);
    hf_mutex_fini(&repl->apply);
    hf_free(repl);
}
