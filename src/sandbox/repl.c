/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member's life in its set: threads, state, the coordinator that does what is due, and waiting for a write concern.
 *
 * The coordinator wakes twenty times a second: it asks the others how they are, calls an election when the primary is
 * silent or is a lesser one, steps down when it hears of a higher term or no longer hears a majority, moves the majority
 * point, writes a no-op when the set is idle.
 */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "os/fs.h"
#include "sandbox/repl_internal.h"

#define TICK_MS 50
#define NOOP_EVERY_S 10
#define KEY_FILE_MAX 4096
#define TAKEOVER_AFTER_S 2 /* a primary lives that long before a higher priority takes over */

/* ---- State ---- */

void hf_sandbox_repl_set_state(struct hf_sandbox_repl *repl, enum hf_sandbox_state state)
{
    if (repl->mine != state) {
        repl->mine = state;
        repl->topology++;
        repl->beat_due_ms = 0; /* tell everybody */
        hf_log_info(repl->log, "repl.state", HF_STR("state", hf_sandbox_state_name(state)));
    }
    hf_cond_broadcast(&repl->changed);
}

void hf_sandbox_repl_see_term(struct hf_sandbox_repl *repl, int64_t term)
{
    if (term > repl->term) {
        repl->term = term;
        repl->step_down_wanted = repl->mine == HF_SANDBOX_PRIMARY;
    }
}

void hf_sandbox_repl_put_off_election(struct hf_sandbox_repl *repl)
{
    uint64_t election_ms = repl->config->election_ms;
    uint32_t random;

    hf_random_bytes(&random, sizeof random);
    repl->election_due_ms = hf_clock_mono_ms();
    if (repl->config->voters > 1) { /* else nobody else could be primary */
        repl->election_due_ms += election_ms + random % (election_ms * 15 / 100 + 1);
    }
}

bool hf_sandbox_repl_stopping(const struct hf_sandbox_repl *repl)
{
    return hf_cancel_requested(&repl->stopping);
}

const struct hf_secret *hf_sandbox_repl_key(const struct hf_sandbox_repl *repl)
{
    return repl->has_key ? &repl->key : NULL;
}

struct hf_sandbox_peer hf_sandbox_repl_peer(const struct hf_sandbox_repl *repl, const char *host,
                                            uint64_t timeout_ms)
{
    return (struct hf_sandbox_peer){
        .host = host, .key = hf_sandbox_repl_key(repl), .timeout_ms = timeout_ms};
}

int32_t hf_sandbox_repl_result(enum hf_err result, const struct hf_error *err,
                               struct hf_sandbox_refusal *no)
{
    return result == HF_ERR_OK
               ? 0
               : hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err->message);
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
    return hf_sandbox_repl_writable(repl) || hf_sandbox_repl_state(repl) == HF_SANDBOX_SECONDARY;
}

int64_t hf_sandbox_repl_term(struct hf_sandbox_repl *repl)
{
    HF_LOCKED(&repl->state);
    return repl->term;
}

/* ---- The majority point, and who has what ---- */

static int newest_first(const void *a, const void *b)
{
    return -hf_sandbox_optime_compare(*(const struct hf_sandbox_optime *)a,
                                      *(const struct hf_sandbox_optime *)b);
}

struct hf_sandbox_optime hf_sandbox_repl_committed(struct hf_sandbox_repl *repl)
{
    return repl->mine == HF_SANDBOX_ARBITER ? repl->committed_seen
                                            : hf_sandbox_engine_majority(repl->engine);
}

static void look_at_self(struct hf_sandbox_repl *repl)
{
    bool arbiter = repl->mine == HF_SANDBOX_ARBITER;

    if (repl->config != NULL && repl->config->self >= 0) {
        repl->views[repl->config->self] = (struct hf_sandbox_view){
            .up = true,
            .state = repl->mine,
            .applied = arbiter ? repl->committed_seen : hf_sandbox_engine_applied(repl->engine),
            .durable = hf_sandbox_engine_durable(repl->engine),
            .heard_mono_ms = hf_clock_mono_ms(),
            .up_since_ms = repl->started_mono_ms,
            .election_ts = repl->election_ts,
            .config_version = repl->config->version,
            .config_term = repl->config->term};
    }
}

/* What enough members with a vote have on disk; only entries of the primary's own term count. */
static void advance_primary(struct hf_sandbox_repl *repl)
{
    const struct hf_sandbox_config *config = repl->config;
    struct hf_sandbox_optime have[HF_SANDBOX_MEMBERS_MAX];
    struct hf_sandbox_optime point;
    size_t count = 0;

    for (size_t i = 0; i < config->count; i++) {
        if (config->members[i].votes != 0 && !config->members[i].arbiter) {
            have[count++] = repl->views[i].durable;
        }
    }
    qsort(have, count, sizeof *have, newest_first);
    point = have[config->write_majority - 1];
    if (point.term == repl->term && point.ts > hf_sandbox_engine_majority(repl->engine).ts) {
        hf_sandbox_engine_set_majority(repl->engine, point);
        if (!bson_has_field(repl->election, "wMajorityWriteAvailabilityDate")) {
            (void)BSON_APPEND_DATE_TIME(repl->election, "wMajorityWriteAvailabilityDate",
                                        (int64_t)hf_clock_wall_ms());
        }
    }
}

/* For replSetGetStatus: when the first entry of the primary we voted for was here. */
static void note_new_term(struct hf_sandbox_repl *repl, int64_t applied_term)
{
    int64_t now_ms = (int64_t)hf_clock_wall_ms();

    if (repl->election != NULL && !bson_has_field(repl->election, "newTermStartDate") &&
        applied_term >= hf_sandbox_get_int64(repl->election, "electionTerm", 0)) {
        BCON_APPEND(repl->election, "newTermStartDate", BCON_DATE_TIME(now_ms),
                    "newTermAppliedDate", BCON_DATE_TIME(now_ms));
    }
}

void hf_sandbox_repl_advance(struct hf_sandbox_repl *repl)
{
    int64_t applied_term = hf_sandbox_engine_applied(repl->engine).term;

    look_at_self(repl);
    if (repl->mine == HF_SANDBOX_PRIMARY) {
        advance_primary(repl);
    } else if (repl->mine == HF_SANDBOX_SECONDARY) {
        note_new_term(repl, applied_term);
        if (repl->committed_seen.term == applied_term) {
            hf_sandbox_engine_set_majority(repl->engine, repl->committed_seen);
        }
    }
    hf_cond_broadcast(&repl->changed);
}

static bool is_reached(struct hf_sandbox_repl *repl, struct hf_sandbox_optime optime,
                       const struct hf_sandbox_write_concern *concern)
{
    int32_t count = 0;

    look_at_self(repl);
    if (concern->majority) {
        return hf_sandbox_engine_majority(repl->engine).ts >= optime.ts;
    }
    for (size_t i = 0; i < repl->config->count; i++) {
        const struct hf_sandbox_view *view = &repl->views[i];

        count += !repl->config->members[i].arbiter &&
                 (concern->journal ? view->durable : view->applied).ts >= optime.ts;
    }
    return count >= concern->w;
}

int32_t hf_sandbox_repl_await(struct hf_sandbox_repl *repl, struct hf_sandbox_optime optime,
                              const struct hf_sandbox_write_concern *concern,
                              const struct hf_cancel *cancel, struct hf_sandbox_refusal *no)
{
    uint64_t deadline_ms =
        concern->timeout_ms == 0 ? UINT64_MAX : hf_clock_mono_ms() + concern->timeout_ms;
    struct hf_error err;

    if ((concern->journal || concern->majority) &&
        hf_sandbox_engine_flush(repl->engine, &err) != HF_ERR_OK) {
        return hf_sandbox_repl_result(err.code, &err, no);
    }
    if (!hf_sandbox_repl_enabled(repl) || (!concern->majority && concern->w <= 1)) {
        return 0;
    }
    HF_LOCKED(&repl->state);
    if (repl->config == NULL || concern->w > repl->config->data_members) {
        return hf_sandbox_refuse(no, HF_SANDBOX_UNSATISFIABLE_WRITE_CONCERN,
                                 "Not enough data-bearing nodes");
    }
    hf_sandbox_repl_advance(repl);
    while (!is_reached(repl, optime, concern)) {
        if (hf_cancel_requested(cancel) || hf_sandbox_repl_stopping(repl)) {
            return hf_sandbox_refuse(no, HF_SANDBOX_INTERRUPTED_AT_SHUTDOWN,
                                     "operation was interrupted");
        }
        if (repl->mine != HF_SANDBOX_PRIMARY) {
            return hf_sandbox_refuse(no, HF_SANDBOX_NOT_WRITABLE_PRIMARY,
                                     "Primary stepped down while waiting for replication");
        }
        if (hf_clock_mono_ms() >= deadline_ms) {
            return hf_sandbox_refuse(no, HF_SANDBOX_WRITE_CONCERN_FAILED,
                                     "waiting for replication timed out");
        }
        (void)hf_cond_wait_for(&repl->changed, &repl->state, 20);
    }
    return 0;
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

/* Under state: a primary that hears fewer than a majority is none. */
static bool is_alone(const struct hf_sandbox_repl *repl, uint64_t now)
{
    const struct hf_sandbox_config *config = repl->config;
    int32_t heard = 0;

    for (size_t i = 0; i < config->count; i++) {
        heard += config->members[i].votes != 0 &&
                 now - repl->views[i].heard_mono_ms < config->election_ms;
    }
    return heard < config->vote_majority && now - repl->primary_since_ms >= config->election_ms;
}

/* Under state: who may be primary should be, when he has all. */
static bool should_take_over(const struct hf_sandbox_repl *repl)
{
    const struct hf_sandbox_member *members = repl->config->members;
    const struct hf_sandbox_view *view = &repl->views[repl->primary < 0 ? 0 : repl->primary];

    return repl->primary >= 0 && !members[repl->primary].self &&
           members[repl->config->self].priority > members[repl->primary].priority &&
           view->state == HF_SANDBOX_PRIMARY &&
           hf_sandbox_ts_seconds(hf_sandbox_engine_applied(repl->engine).ts) + 2 >=
               hf_sandbox_ts_seconds(view->applied.ts) &&
           hf_clock_wall_ms() / 1000 > hf_sandbox_ts_seconds(view->election_ts) + TAKEOVER_AFTER_S;
}

/* Under state: why an election is due now; NULL: none is. */
static const char *campaign_reason(struct hf_sandbox_repl *repl, uint64_t now)
{
    const struct hf_sandbox_config *config = repl->config;
    bool asked = repl->step_up_wanted;

    repl->step_up_wanted = false;
    if (repl->mine != HF_SANDBOX_SECONDARY || config->members[config->self].priority <= 0) {
        return NULL;
    }
    if (asked || now < repl->frozen_until_ms) {
        return asked ? "stepUpRequest" : NULL;
    }
    return now >= repl->election_due_ms ? "electionTimeout"
           : should_take_over(repl)     ? "priorityTakeover"
                                        : NULL;
}

static void write_noop(struct hf_sandbox_repl *repl)
{
    HF_CLEANUP(bson_destroy) bson_t *o = BCON_NEW("msg", "periodic noop");
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);
    struct hf_error err;

    if (hf_clock_wall_ms() / 1000 >= hf_sandbox_ts_seconds(applied.ts) + NOOP_EVERY_S &&
        !hf_sandbox_engine_fsync_locked(repl->engine) &&
        hf_sandbox_repl_note(repl, o, &err) != HF_ERR_OK && err.code != HF_ERR_DENIED) {
        hf_log_warn(repl->log, "repl.noop_failed", HF_STR("error", err.message));
    }
}

static void coordinate(struct hf_sandbox_repl *repl)
{
    uint64_t now;
    const char *reason = NULL;
    bool beat = false, down = false, primary = false;

    hf_mutex_lock(&repl->state);
    (void)hf_cond_wait_for(&repl->changed, &repl->state, TICK_MS);
    if (repl->config != NULL && repl->config->self >= 0) {
        hf_sandbox_repl_advance(repl);
        now = hf_clock_mono_ms();
        primary = repl->mine == HF_SANDBOX_PRIMARY;
        down = primary && (repl->step_down_wanted || is_alone(repl, now));
        reason = campaign_reason(repl, now);
        beat = now >= repl->beat_due_ms;
        repl->beat_due_ms = beat ? now + repl->config->heartbeat_ms : repl->beat_due_ms;
    }
    hf_mutex_unlock(&repl->state);
    if (beat) {
        hf_sandbox_vote_beat_all(repl);
    }
    if (down) {
        hf_sandbox_vote_step_down(repl);
    } else if (reason != NULL) {
        hf_sandbox_vote_campaign(repl, reason);
    } else if (primary) {
        write_noop(repl);
    }
}

static void coordinator_run(void *argument)
{
    while (!hf_sandbox_repl_stopping(argument)) {
        coordinate(argument);
    }
}

/* ---- Commands ---- */

static int32_t step_up(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    (void)ask;
    HF_LOCKED(&repl->state);
    repl->step_up_wanted = true;
    hf_cond_broadcast(&repl->changed);
    return 0;
}

static const struct {
    const char *name;
    int32_t (*answer)(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask);
    bool between_members, asks_config;
} commands[] = {
    {"replSetGetStatus", hf_sandbox_status_answer, false, true},
    {"replSetGetConfig", hf_sandbox_status_config, false, true},
    {"replSetInitiate", hf_sandbox_config_initiate, false, false},
    {"replSetReconfig", hf_sandbox_config_reconfig, false, true},
    {"replSetStepDown", hf_sandbox_vote_hand_over, false, true},
    {"replSetHeartbeat", hf_sandbox_vote_answer_beat, true, false},
    {"replSetRequestVotes", hf_sandbox_vote_answer, true, true},
    {"replSetStepUp", step_up, true, true},
    {"_sandboxFetchOplog", hf_sandbox_sync_answer, true, true},
    {"_sandboxCopy", hf_sandbox_copy_answer, true, true},
};

bool hf_sandbox_repl_is_member_command(const char *name)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(commands); i++) {
        if (commands[i].between_members && strcmp(commands[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

int32_t hf_sandbox_repl_command(struct hf_sandbox_repl *repl, const struct hf_sandbox_ask *ask)
{
    size_t at = 0;

    while (strcasecmp(commands[at].name, ask->name) != 0) {
        at++;
        HF_ASSERT(at < HF_ARRAY_LEN(commands));
    }
    if (!hf_sandbox_repl_enabled(repl)) {
        return hf_sandbox_refuse(ask->no, HF_SANDBOX_NO_REPLICATION_ENABLED,
                                 "not running with --replSet");
    }
    if (commands[at].asks_config && hf_sandbox_repl_state(repl) == HF_SANDBOX_STARTUP) {
        return hf_sandbox_refuse(ask->no, HF_SANDBOX_NOT_YET_INITIALIZED,
                                 "no replset config has been received");
    }
    return commands[at].answer(repl, ask);
}

/* ---- Beginning and end ---- */

static enum hf_err read_key(struct hf_sandbox_repl *repl, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(KEY_FILE_MAX);
    size_t len = 0;

    if (hf_fs_read_whole(repl->options->key_file, KEY_FILE_MAX, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "key file");
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!isspace(text.data[i])) {
            text.data[len++] = text.data[i];
        }
    }
    repl->has_key = len >= 6 && hf_secret_set(&repl->key, hf_bytes_of(text.data, len));
    hf_wipe(text.data, text.len);
    return repl->has_key ? HF_ERR_OK
                         : hf_fail(err, HF_ERR_INVALID, "key file %s: 6 to %d characters",
                                   repl->options->key_file, HF_SECRET_MAX_BYTES);
}

enum hf_err hf_sandbox_repl_start(struct hf_sandbox_engine *engine,
                                  const struct hf_sandbox_options *options, struct hf_log *log,
                                  struct hf_sandbox_repl **out, struct hf_error *err)
{
    struct hf_sandbox_repl *repl = hf_alloc_zero(sizeof *repl);
    HF_CLEANUP(bson_destroy) bson_t *config = NULL;

    HF_ASSERT(repl != NULL);
    *repl = (struct hf_sandbox_repl){.engine = engine,
                                     .options = options,
                                     .log = log,
                                     .primary = -1,
                                     .committed_seen = HF_SANDBOX_OPTIME_NONE,
                                     .started_mono_ms = hf_clock_mono_ms()};
    hf_cancel_init(&repl->stopping);
    bson_oid_init(&repl->process_id, NULL);
    hf_mutex_init(&repl->state);
    hf_mutex_init(&repl->apply);
    hf_cond_init(&repl->changed);
    *out = repl;
    if (options->key_file != NULL && read_key(repl, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_sandbox_repl_enabled(repl)) {
        return HF_ERR_OK;
    }
    if (hf_sandbox_vote_load(repl, err) != HF_ERR_OK ||
        hf_sandbox_local_get(engine, HF_SANDBOX_CONFIG_NS, false, &config, err) != HF_ERR_OK ||
        (config != NULL && hf_sandbox_config_install(repl, config, err) != HF_ERR_OK) ||
        hf_thread_start("replsync", hf_sandbox_sync_run, repl, &repl->syncer, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_thread_start("replcoord", coordinator_run, repl, &repl->coordinator, err);
}

void hf_sandbox_repl_stop(struct hf_sandbox_repl *repl)
{
    if (repl == NULL) {
        return;
    }
    hf_cancel_request(&repl->stopping);
    hf_thread_join(repl->coordinator);
    hf_thread_join(repl->syncer);
    hf_sandbox_vote_step_down(repl);
    for (size_t i = 0; i < HF_SANDBOX_MEMBERS_MAX; i++) {
        hf_sandbox_client_close(repl->peers[i]);
    }
    hf_sandbox_config_destroy(repl->config);
    bson_destroy(repl->election);
    hf_secret_wipe(&repl->key);
    hf_cond_fini(&repl->changed);
    hf_mutex_fini(&repl->state);
    hf_mutex_fini(&repl->apply);
    hf_free(repl);
}
