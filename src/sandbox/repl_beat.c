/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats: each member asks every other one, on a thread and a connection for each.
 *
 * Question and answer both say what the sender is and has, so that one exchange teaches both. Whoever has the newer
 * configuration gives it along: in the answer at once, else in the next question.
 */
#include <stdio.h>

#include "sandbox/repl_internal.h"

/* ---- What is said ---- */

/* Under state: term, state, optimes of this member. */
static void append_self(struct hf_sandbox_repl *repl, bson_t *out)
{
    struct hf_sandbox_optime applied = hf_sandbox_engine_applied(repl->engine);

    (void)BSON_APPEND_INT64(out, "term", repl->term);
    (void)BSON_APPEND_INT32(out, "state", (int32_t)repl->mine);
    (void)BSON_APPEND_INT64(out, "v", repl->config == NULL ? -2 : repl->config->version);
    (void)BSON_APPEND_INT64(out, "configTerm", repl->config == NULL ? -1 : repl->config->term);
    hf_sandbox_append_optime(out, "opTime", applied);
    hf_sandbox_append_optime(out, "durableOpTime", hf_sandbox_engine_durable(repl->engine));
    hf_sandbox_append_optime(out, "lastCommitted",
                             repl->mine == HF_SANDBOX_ARBITER
                                 ? repl->committed_seen
                                 : hf_sandbox_engine_majority(repl->engine));
    (void)BSON_APPEND_UTF8(out, "syncingTo", repl->source);
    if (repl->mine == HF_SANDBOX_PRIMARY) {
        hf_sandbox_append_ts(out, "electionTime", repl->election_ts);
    }
}

/* Under state: takes in what another member said of itself. */
static void learn(struct hf_sandbox_repl *repl, size_t place, const bson_t *said)
{
    struct hf_sandbox_view *view = &repl->views[place];
    struct hf_sandbox_optime committed = hf_sandbox_get_optime(said, "lastCommitted");
    uint64_t now = hf_clock_mono_ms();
    int64_t term = hf_sandbox_get_int64(said, "term", -1);
    bool was_primary = repl->primary == (int)place;

    if (!view->up) {
        view->up = true;
        view->up_since_ms = now;
        hf_cond_broadcast(&repl->changed);
    }
    view->replied_mono_ms = now;
    view->state = (enum hf_sandbox_state)hf_sandbox_get_int64(said, "state", HF_SANDBOX_UNKNOWN);
    view->term = term;
    view->config_version = hf_sandbox_get_int64(said, "v", -2);
    view->config_term = hf_sandbox_get_int64(said, "configTerm", -1);
    view->applied = hf_sandbox_get_optime(said, "opTime");
    view->durable = hf_sandbox_get_optime(said, "durableOpTime");
    view->election_ts = hf_sandbox_get_ts(said, "electionTime");
    (void)snprintf(view->source, sizeof view->source, "%s",
                   hf_sandbox_get_utf8(said, "syncingTo", ""));
    view->message[0] = '\0';
    hf_sandbox_repl_see_term(repl, term);
    if (committed.ts > repl->committed_seen.ts) {
        repl->committed_seen = committed;
    }
    if (view->state == HF_SANDBOX_PRIMARY && term == repl->term &&
        repl->mine != HF_SANDBOX_PRIMARY) {
        hf_sandbox_repl_put_off_election(repl);
        if (!was_primary) {
            repl->primary = (int)place;
            repl->topology++;
            hf_cond_broadcast(&repl->changed);
        }
    } else if (was_primary && view->state != HF_SANDBOX_PRIMARY) {
        repl->primary = -1;
        repl->topology++;
        hf_cond_broadcast(&repl->changed);
    }
    hf_sandbox_repl_advance(repl);
}

/* A newer configuration that came along is read and put to use. */
static void take_config(struct hf_sandbox_repl *repl, const bson_t *message)
{
    struct hf_sandbox_config *config;
    struct hf_error err;
    bson_t doc;
    bool newer;

    if (!hf_sandbox_get_doc(message, "config", &doc)) {
        return;
    }
    hf_mutex_lock(&repl->state);
    newer = hf_sandbox_config_is_newer(repl, hf_sandbox_get_int64(&doc, "term", 0),
                                       hf_sandbox_get_int64(&doc, "version", 0));
    hf_mutex_unlock(&repl->state);
    if (!newer) {
        return;
    }
    if (hf_sandbox_config_read(repl, &doc, &config, &err) != HF_ERR_OK ||
        hf_sandbox_repl_make_local(repl, &err) != HF_ERR_OK ||
        hf_sandbox_config_install_take(repl, config, &err) != HF_ERR_OK) {
        hf_log_warn(repl->log, "repl.config_refused", HF_STR("error", err.message));
    }
}

/* ---- Asking ---- */

/* Under state: the question for a member. */
static void build_question(struct hf_sandbox_repl *repl, size_t place, bson_t *out)
{
    const struct hf_sandbox_view *view = &repl->views[place];
    const struct hf_sandbox_config *config = repl->config;

    (void)BSON_APPEND_UTF8(out, "replSetHeartbeat", config->set);
    (void)BSON_APPEND_UTF8(out, "from", config->self < 0 ? "" : config->members[config->self].host);
    (void)BSON_APPEND_INT32(out, "fromId",
                            config->self < 0 ? -1 : config->members[config->self].id);
    append_self(repl, out);
    if (view->replied_mono_ms != 0 &&
        (view->config_term < config->term ||
         (view->config_term == config->term && view->config_version < config->version))) {
        (void)BSON_APPEND_DOCUMENT(out, "config", config->doc);
    }
}

/* Under state: the member of that place did not answer. */
static void lose(struct hf_sandbox_repl *repl, size_t place, const char *message)
{
    struct hf_sandbox_view *view = &repl->views[place];

    if (view->up) {
        view->up = false;
        hf_cond_broadcast(&repl->changed);
    }
    view->state = HF_SANDBOX_DOWN;
    (void)snprintf(view->message, sizeof view->message, "%.127s", message);
    if (repl->primary == (int)place) {
        repl->primary = -1;
        repl->topology++;
        hf_cond_broadcast(&repl->changed);
    }
}

/* One question and its answer. */
static void beat(struct hf_sandbox_repl *repl, size_t place, const char *host, uint64_t timeout_ms,
                 struct hf_sandbox_client **client)
{
    struct hf_error err;
    bson_t question = BSON_INITIALIZER;
    bson_t *answer = NULL;
    uint64_t before = hf_clock_mono_ms();
    enum hf_err result = HF_ERR_OK;
    bool same;

    hf_mutex_lock(&repl->state);
    build_question(repl, place, &question);
    hf_mutex_unlock(&repl->state);
    if (*client == NULL) {
        result =
            hf_sandbox_client_open(host, hf_sandbox_repl_key_of(repl), timeout_ms, client, &err);
    }
    if (result == HF_ERR_OK) {
        result = hf_sandbox_client_run(*client, &question, timeout_ms, &answer, &err);
    }
    bson_destroy(&question);
    hf_mutex_lock(&repl->state);
    same = place < repl->config->count && strcmp(repl->config->members[place].host, host) == 0;
    if (same && result == HF_ERR_OK) {
        repl->views[place].ping_ms = hf_clock_mono_ms() - before;
        repl->views[place].replied_wall_ms = hf_clock_wall_ms();
        learn(repl, place, answer);
    } else if (same) {
        lose(repl, place, err.message);
    }
    hf_mutex_unlock(&repl->state);
    if (result == HF_ERR_OK) {
        take_config(repl, answer);
    } else if (*client != NULL) {
        hf_sandbox_client_close(*client);
        *client = NULL;
    }
    bson_destroy(answer);
}

void hf_sandbox_beat_run(struct hf_sandbox_repl *repl, size_t place)
{
    struct hf_sandbox_client *client = NULL;
    char host[HF_SANDBOX_HOST_BYTES] = "";
    uint64_t generation = 0;
    uint64_t due = 0;

    while (!hf_sandbox_repl_stopping(repl)) {
        uint64_t timeout_ms = 0;
        bool idle;

        hf_mutex_lock(&repl->state);
        idle = place >= repl->config->count || repl->config->members[place].self ||
               repl->config->self < 0;
        if (idle || (hf_clock_mono_ms() < due && generation == repl->beat_generation)) {
            (void)hf_cond_wait_for(&repl->changed, &repl->state, 50);
            hf_mutex_unlock(&repl->state);
            continue;
        }
        generation = repl->beat_generation;
        due = hf_clock_mono_ms() + repl->config->heartbeat_ms;
        timeout_ms = repl->config->timeout_ms;
        if (strcmp(host, repl->config->members[place].host) != 0) {
            hf_sandbox_client_close(HF_TAKE(client));
            (void)snprintf(host, sizeof host, "%s", repl->config->members[place].host);
        }
        hf_mutex_unlock(&repl->state);
        beat(repl, place, host, timeout_ms, &client);
    }
    hf_sandbox_client_close(client);
}

/* ---- Answering ---- */

int32_t hf_sandbox_beat_answer(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                               struct hf_sandbox_refusal *no)
{
    const char *set = hf_sandbox_get_utf8(command, "replSetHeartbeat", "");
    const char *from = hf_sandbox_get_utf8(command, "from", "");

    if (strcmp(set, repl->options->repl_set) != 0) {
        return hf_sandbox_refuse(no, 99,
                                 "Our set name of %s does not match the set name %s reported by "
                                 "remote node",
                                 repl->options->repl_set, set);
    }
    take_config(repl, command);
    HF_LOCKED(&repl->state);
    if (hf_sandbox_get_true(command, "checkEmpty") && repl->config != NULL) {
        return hf_sandbox_refuse(no, 23, "%s is already in a set", repl->options->repl_set);
    }
    (void)BSON_APPEND_UTF8(reply, "set", repl->options->repl_set);
    for (size_t i = 0; repl->config != NULL && i < repl->config->count; i++) {
        if (strcmp(repl->config->members[i].host, from) == 0 && !repl->config->members[i].self) {
            repl->views[i].called_wall_ms = hf_clock_wall_ms();
            learn(repl, i, command);
        }
    }
    append_self(repl, reply);
    if (repl->config != NULL &&
        (hf_sandbox_get_int64(command, "configTerm", -1) < repl->config->term ||
         hf_sandbox_get_int64(command, "v", -2) < repl->config->version) &&
        bson_has_field(command, "v")) {
        (void)BSON_APPEND_DOCUMENT(reply, "config", repl->config->doc);
    }
    return 0;
}
