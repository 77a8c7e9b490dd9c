/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other members ask for: the oplog, a copy of everything. And clients: to wait until enough members have a write.
 */
#include <stdio.h>

#include "sandbox/repl_internal.h"

#define BATCH_BYTES (4 << 20)
#define BATCH_COUNT 5000
#define COPY_IDLE_MS 60000

static void append_key(uint32_t at, char text[16], const char **key)
{
    (void)bson_uint32_to_string(at, key, text, 16);
}

/* ---- The oplog ---- */

/* Which of the entries named in the list, newest first, is in our oplog too. */
static int32_t answer_common(struct hf_sandbox_repl *repl, const bson_t *list, bson_t *reply,
                             struct hf_sandbox_refusal *no)
{
    bson_iter_t iter;

    if (!bson_iter_init(&iter, list)) {
        return 0;
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t value = *bson_iter_value(&iter);
        struct hf_sandbox_optime wanted;
        struct hf_error err;
        bson_t doc;
        bson_t *entry;
        bool same;

        if (!hf_sandbox_value_doc(&value, &doc)) {
            continue;
        }
        wanted = hf_sandbox_optime_of(&doc);
        if (hf_sandbox_oplog_at_or_below(repl->engine, wanted.ts, &entry, &err) != HF_ERR_OK) {
            return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
        }
        same = entry != NULL && hf_sandbox_get_ts(entry, "ts") == wanted.ts &&
               hf_sandbox_optime_of(entry).term == wanted.term;
        bson_destroy(entry);
        if (same) {
            hf_sandbox_append_optime(reply, "common", wanted);
            return 0;
        }
    }
    return 0;
}

/* Under state: what the asking member has. */
static void note_progress(struct hf_sandbox_repl *repl, const bson_t *command)
{
    int64_t id = hf_sandbox_get_int64(command, "memberId", -1);

    hf_sandbox_repl_see_term(repl, hf_sandbox_get_int64(command, "term", -1));
    for (size_t i = 0; repl->config != NULL && i < repl->config->count; i++) {
        if (repl->config->members[i].id == id && !repl->config->members[i].self) {
            repl->views[i].applied = hf_sandbox_get_optime(command, "after");
            repl->views[i].durable = hf_sandbox_get_optime(command, "durable");
            repl->views[i].replied_mono_ms = hf_clock_mono_ms();
        }
    }
    hf_sandbox_repl_advance(repl);
}

static enum hf_err append_entries(struct hf_sandbox_repl *repl, uint64_t after, bson_t *reply,
                                  struct hf_error *err)
{
    const struct hf_sandbox_txn_options read = {.write = false};
    const struct hf_sandbox_scan_options options = {.after_record = (int64_t)after};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    struct hf_sandbox_scan *scan = NULL;
    size_t bytes = 0;
    bson_t list;
    enum hf_err result;

    if (hf_sandbox_txn_begin(repl->engine, &read, &txn, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)BSON_APPEND_ARRAY_BEGIN(reply, "entries", &list);
    result = hf_sandbox_scan_open(txn, hf_sandbox_txn_find(txn, HF_SANDBOX_OPLOG_NS), &options,
                                  &scan, err);
    for (uint32_t i = 0; result == HF_ERR_OK && i < BATCH_COUNT && bytes < BATCH_BYTES; i++) {
        char text[16];
        const char *key;
        bool found;
        bson_t entry;

        result = hf_sandbox_scan_next(scan, &found, NULL, &entry, err);
        if (result != HF_ERR_OK || !found) {
            break;
        }
        append_key(i, text, &key);
        (void)bson_append_document(&list, key, -1, &entry);
        bytes += entry.len;
    }
    hf_sandbox_scan_close(scan);
    (void)bson_append_array_end(reply, &list);
    return result;
}

/* Is the asking member's newest entry one of ours? Else it says why it cannot go on here. */
static enum hf_err check_after(struct hf_sandbox_repl *repl, struct hf_sandbox_optime after,
                               bool *go_on, bson_t *reply, struct hf_error *err)
{
    bson_t *entry;

    *go_on = false;
    if (hf_sandbox_oplog_at_or_below(repl->engine, after.ts, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    if (entry == NULL) {
        (void)BSON_APPEND_BOOL(reply, "stale", true);
        return HF_ERR_OK;
    }
    *go_on = hf_sandbox_get_ts(entry, "ts") == after.ts &&
             hf_sandbox_optime_of(entry).term == after.term;
    bson_destroy(entry);
    if (!*go_on && (after.ts <= hf_sandbox_engine_applied(repl->engine).ts ||
                    hf_sandbox_repl_state(repl) == HF_SANDBOX_PRIMARY)) {
        (void)BSON_APPEND_BOOL(reply, "diverged", true);
    }
    return HF_ERR_OK;
}

int32_t hf_sandbox_serve_oplog(struct hf_sandbox_repl *repl, const bson_t *command, bson_t *reply,
                               const struct hf_cancel *cancel, struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_optime after = hf_sandbox_get_optime(command, "after");
    struct hf_error err;
    bson_t list;
    bool go_on;

    if (hf_sandbox_get_doc(command, "common", &list)) {
        return answer_common(repl, &list, reply, no);
    }
    hf_mutex_lock(&repl->state);
    note_progress(repl, command);
    hf_mutex_unlock(&repl->state);
    if (check_after(repl, after, &go_on, reply, &err) != HF_ERR_OK) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
    }
    if (go_on) {
        (void)hf_sandbox_engine_wait_oplog(
            repl->engine, after.ts, hf_sandbox_get_ts(command, "knownCommitted"),
            (uint64_t)hf_sandbox_get_int64(command, "waitMS", 0), cancel);
        if (append_entries(repl, after.ts, reply, &err) != HF_ERR_OK) {
            return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
        }
    }
    hf_sandbox_append_optime(reply, "lastCommitted", hf_sandbox_engine_majority(repl->engine));
    HF_LOCKED(&repl->state);
    (void)BSON_APPEND_INT64(reply, "term", repl->term);
    (void)BSON_APPEND_BOOL(reply, "primary", repl->mine == HF_SANDBOX_PRIMARY);
    return 0;
}

/* ---- Copies ---- */

struct hf_sandbox_copy {
    int64_t id;
    struct hf_sandbox_txn *txn; /* owned: the moment that is copied */
    uint64_t used_ms;
    struct hf_sandbox_copy *next;
};

/* Out of the list: whoever has it is alone with it. */
static struct hf_sandbox_copy *take_copy(struct hf_sandbox_repl *repl, int64_t id)
{
    HF_LOCKED(&repl->state);
    for (struct hf_sandbox_copy **at = &repl->copies; *at != NULL; at = &(*at)->next) {
        if ((*at)->id == id) {
            struct hf_sandbox_copy *copy = *at;

            *at = copy->next;
            return copy;
        }
    }
    return NULL;
}

static void give_copy(struct hf_sandbox_repl *repl, struct hf_sandbox_copy *copy)
{
    HF_LOCKED(&repl->state);
    copy->used_ms = hf_clock_mono_ms();
    copy->next = repl->copies;
    repl->copies = copy;
}

static void free_copy(struct hf_sandbox_copy *copy)
{
    if (copy != NULL) {
        hf_sandbox_txn_abort(copy->txn);
        hf_free(copy);
    }
}

static void append_collection(const struct hf_sandbox_coll *coll, bson_t *out)
{
    bson_t indexes;

    (void)BSON_APPEND_UTF8(out, "ns", coll->ns);
    (void)bson_append_binary(out, "uuid", -1, BSON_SUBTYPE_UUID, coll->uuid, HF_SANDBOX_UUID_BYTES);
    (void)BSON_APPEND_DOCUMENT(out, "options", coll->options);
    (void)BSON_APPEND_ARRAY_BEGIN(out, "indexes", &indexes);
    for (size_t i = 0; i < coll->index_count; i++) {
        char text[16];
        const char *key;

        append_key((uint32_t)i, text, &key);
        (void)bson_append_document(&indexes, key, -1, coll->indexes[i]->spec);
    }
    (void)bson_append_array_end(out, &indexes);
}

static enum hf_err append_collections(struct hf_sandbox_copy *copy, bson_t *reply,
                                      struct hf_error *err)
{
    struct hf_sandbox_coll **list;
    size_t count;
    uint32_t at = 0;
    bson_t array;

    if (hf_sandbox_txn_list(copy->txn, NULL, &list, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)BSON_APPEND_ARRAY_BEGIN(reply, "collections", &array);
    for (size_t i = 0; i < count; i++) {
        char text[16];
        const char *key;
        bson_t one;

        if (!list[i]->local) {
            append_key(at++, text, &key);
            (void)bson_append_document_begin(&array, key, -1, &one);
            append_collection(list[i], &one);
            (void)bson_append_document_end(&array, &one);
        }
    }
    (void)bson_append_array_end(reply, &array);
    hf_free(list);
    return HF_ERR_OK;
}

/* With the oplog held nothing is half done: the snapshot is all that its newest entry says, and no more. */
static enum hf_err open_copy(struct hf_sandbox_repl *repl, struct hf_sandbox_copy *copy,
                             bson_t *reply, struct hf_error *err)
{
    const struct hf_sandbox_txn_options read = {.write = false};
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *holder = NULL;
    bson_t *entry = NULL;

    if (hf_sandbox_txn_begin_keeping(repl->engine, &holder, err) != HF_ERR_OK ||
        hf_sandbox_txn_hold(holder, err) != HF_ERR_OK ||
        hf_sandbox_txn_begin(repl->engine, &read, &copy->txn, err) != HF_ERR_OK ||
        hf_sandbox_oplog_end(repl->engine, false, &entry, err) != HF_ERR_OK ||
        append_collections(copy, reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (entry == NULL) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "this member has no oplog yet");
    }
    (void)BSON_APPEND_DOCUMENT(reply, "entry", entry);
    (void)BSON_APPEND_INT64(reply, "copyId", copy->id);
    bson_destroy(entry);
    return HF_ERR_OK;
}

int32_t hf_sandbox_serve_copy_open(struct hf_sandbox_repl *repl, bson_t *reply,
                                   struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_copy *copy = hf_alloc_zero(sizeof *copy);
    struct hf_error err;

    if (copy == NULL) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "out of memory");
    }
    hf_random_bytes(&copy->id, sizeof copy->id);
    copy->id &= INT64_MAX;
    if (open_copy(repl, copy, reply, &err) != HF_ERR_OK) {
        free_copy(copy);
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
    }
    give_copy(repl, copy);
    return 0;
}

static enum hf_err append_docs(struct hf_sandbox_copy *copy, const char *ns, int64_t after,
                               bson_t *reply, struct hf_error *err)
{
    const struct hf_sandbox_scan_options options = {.after_record = after};
    struct hf_sandbox_coll *coll = NULL;
    struct hf_sandbox_scan *scan = NULL;
    int64_t last = after;
    size_t bytes = 0;
    bool found = true;
    bson_t list;
    enum hf_err result;

    /* By the versions that were listed: a collection dropped or renamed since is still to be read. */
    for (size_t i = 0; i < copy->txn->use_count && coll == NULL; i++) {
        coll = strcmp(copy->txn->uses[i].coll->ns, ns) == 0 ? copy->txn->uses[i].coll : NULL;
    }
    if (coll == NULL) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "no collection %s", ns);
    }
    (void)BSON_APPEND_ARRAY_BEGIN(reply, "docs", &list);
    result = hf_sandbox_scan_open(copy->txn, coll, &options, &scan, err);
    for (uint32_t i = 0; result == HF_ERR_OK && bytes < BATCH_BYTES; i++) {
        char text[16];
        const char *key;
        bson_t doc;

        result = hf_sandbox_scan_next(scan, &found, &last, &doc, err);
        if (result != HF_ERR_OK || !found) {
            break;
        }
        append_key(i, text, &key);
        (void)bson_append_document(&list, key, -1, &doc);
        bytes += doc.len;
    }
    hf_sandbox_scan_close(scan);
    (void)bson_append_array_end(reply, &list);
    (void)BSON_APPEND_INT64(reply, "last", last);
    (void)BSON_APPEND_BOOL(reply, "done", !found);
    return result;
}

int32_t hf_sandbox_serve_copy_next(struct hf_sandbox_repl *repl, const bson_t *command,
                                   bson_t *reply, struct hf_sandbox_refusal *no)
{
    struct hf_sandbox_copy *copy =
        take_copy(repl, hf_sandbox_get_int64(command, "_sandboxCopyNext", 0));
    struct hf_error err;
    enum hf_err result;

    if (copy == NULL) {
        return hf_sandbox_refuse(no, HF_SANDBOX_CURSOR_NOT_FOUND, "no such copy");
    }
    result = append_docs(copy, hf_sandbox_get_utf8(command, "ns", ""),
                         hf_sandbox_get_int64(command, "after", 0), reply, &err);
    give_copy(repl, copy);
    return result == HF_ERR_OK
               ? 0
               : hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
}

void hf_sandbox_serve_copy_close(struct hf_sandbox_repl *repl, int64_t id)
{
    free_copy(take_copy(repl, id));
}

void hf_sandbox_serve_reap(struct hf_sandbox_repl *repl, bool all)
{
    uint64_t now = hf_clock_mono_ms();

    for (;;) {
        int64_t id = 0;

        hf_mutex_lock(&repl->state);
        for (struct hf_sandbox_copy *copy = repl->copies; copy != NULL; copy = copy->next) {
            id = all || now - copy->used_ms > COPY_IDLE_MS ? copy->id : id;
        }
        hf_mutex_unlock(&repl->state);
        if (id == 0) {
            return;
        }
        free_copy(take_copy(repl, id));
    }
}

/* ---- Commands between members ---- */

static const char *const member_commands[] = {
    "replSetHeartbeat",   "replSetRequestVotes", "replSetFreeze",    "replSetStepUp",
    "_sandboxFetchOplog", "_sandboxCopyOpen",    "_sandboxCopyNext", "_sandboxCopyClose"};

bool hf_sandbox_repl_is_member_command(const char *name)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(member_commands); i++) {
        if (strcmp(member_commands[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int32_t freeze(struct hf_sandbox_repl *repl, const bson_t *command,
                      struct hf_sandbox_refusal *no)
{
    int64_t seconds = hf_sandbox_get_int64(command, "replSetFreeze", 0);

    HF_LOCKED(&repl->state);
    if (repl->mine == HF_SANDBOX_PRIMARY) {
        return hf_sandbox_refuse(no, 95,
                                 "cannot freeze node when primary or running for "
                                 "election. state: Primary");
    }
    repl->frozen_until_ms = seconds <= 0 ? 0 : hf_clock_mono_ms() + (uint64_t)seconds * 1000;
    return 0;
}

int32_t hf_sandbox_repl_member_command(struct hf_sandbox_repl *repl, const char *name,
                                       const bson_t *command, bson_t *reply,
                                       const struct hf_cancel *cancel,
                                       struct hf_sandbox_refusal *no)
{
    if (!hf_sandbox_repl_enabled(repl)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NO_REPLICATION_ENABLED,
                                 "not running with --replSet");
    }
    if (strcmp(name, "replSetHeartbeat") == 0) {
        return hf_sandbox_beat_answer(repl, command, reply, no);
    }
    if (strcmp(name, "replSetRequestVotes") == 0) {
        return hf_sandbox_vote_answer(repl, command, reply, no);
    }
    if (strcmp(name, "replSetFreeze") == 0) {
        return freeze(repl, command, no);
    }
    if (strcmp(name, "replSetStepUp") == 0) {
        HF_LOCKED(&repl->state);
        repl->step_up_wanted = true;
        hf_cond_broadcast(&repl->changed);
        return 0;
    }
    if (strcmp(name, "_sandboxFetchOplog") == 0) {
        return hf_sandbox_serve_oplog(repl, command, reply, cancel, no);
    }
    if (strcmp(name, "_sandboxCopyOpen") == 0) {
        return hf_sandbox_serve_copy_open(repl, reply, no);
    }
    if (strcmp(name, "_sandboxCopyNext") == 0) {
        return hf_sandbox_serve_copy_next(repl, command, reply, no);
    }
    hf_sandbox_serve_copy_close(repl, hf_sandbox_get_int64(command, "_sandboxCopyClose", 0));
    return 0;
}

/* ---- Write concern ---- */

/* Under state: how many members have it. */
static int32_t members_with(struct hf_sandbox_repl *repl, struct hf_sandbox_optime optime,
                            bool durable)
{
    int32_t count = 0;

    for (size_t i = 0; repl->config != NULL && i < repl->config->count; i++) {
        struct hf_sandbox_optime have = durable ? repl->views[i].durable : repl->views[i].applied;

        if (repl->config->members[i].self) {
            have = durable ? hf_sandbox_engine_durable(repl->engine)
                           : hf_sandbox_engine_applied(repl->engine);
        }
        count += !repl->config->members[i].arbiter && have.ts >= optime.ts ? 1 : 0;
    }
    return count;
}

static bool is_reached(struct hf_sandbox_repl *repl, struct hf_sandbox_optime optime,
                       const struct hf_sandbox_write_concern *concern)
{
    if (concern->majority) {
        return hf_sandbox_engine_majority(repl->engine).ts >= optime.ts;
    }
    return members_with(repl, optime, concern->journal) >= concern->w;
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
        return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "%s", err.message);
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
