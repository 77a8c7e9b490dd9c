/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cursors between commands: batches, who may go on with one, how one ends. Where documents come from is find.c's.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base64.h"
#include "sandbox/server_internal.h"

#define DEFAULT_FIRST_BATCH 101
#define AWAIT_DEFAULT_MS 1000
#define POLL_MS 50

struct hf_sandbox_cursor *hf_sandbox_cursor_create(struct hf_sandbox_call *call, const char *ns)
{
    struct hf_sandbox_cursor *cursor = hf_alloc_zero(sizeof *cursor);

    HF_ASSERT(cursor != NULL);
    (void)snprintf(cursor->ns, sizeof cursor->ns, "%s", ns);
    (void)snprintf(cursor->user, sizeof cursor->user, "%s", call->conn->user);
    cursor->session = call->session;
    cursor->command = bson_copy(call->command);
    cursor->created_wall_ms = hf_clock_wall_ms();
    cursor->used_wall_ms = cursor->created_wall_ms;
    cursor->used_mono_ms = hf_clock_mono_ms();
    return cursor;
}

void hf_sandbox_cursor_destroy(struct hf_sandbox_server *server, struct hf_sandbox_cursor *cursor)
{
    if (cursor == NULL) {
        return;
    }
    if (cursor->backup) {
        hf_sandbox_backup_close(server->options.engine, cursor->backup_id);
    }
    hf_sandbox_find_destroy(cursor->find);
    hf_sandbox_docs_fini(&cursor->docs);
    bson_destroy(cursor->command);
    hf_free(cursor);
}

/* ---- Batches ---- */

/* Moves documents into the batch; *more false when there are none left for now. */
static int32_t fill_batch(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                          int64_t size, bson_t *batch, bool *more)
{
    uint32_t count = 0;
    bool ended = false;

    while (count < size) {
        if (cursor->docs_at == cursor->docs.count) {
            hf_sandbox_docs_fini(&cursor->docs);
            cursor->docs_at = 0;
            if (cursor->find == NULL || ended) {
                break;
            }
            int32_t code = hf_sandbox_find_fill(call, cursor, size - count, &ended);
            if (code != 0) {
                return code;
            }
            if (ended && !cursor->tailable) {
                hf_sandbox_find_destroy(HF_TAKE(cursor->find));
            }
            continue;
        }
        const bson_t *doc = cursor->docs.items[cursor->docs_at];
        if (count > 0 && batch->len + doc->len > HF_SANDBOX_BATCH_MAX_BYTES) {
            break;
        }
        bson_value_t value = hf_sandbox_value_of_doc(doc);
        hf_sandbox_append_element(batch, &count, &value);
        cursor->docs_at++;
    }
    cursor->docs_returned += count;
    *more = cursor->docs_at < cursor->docs.count || cursor->find != NULL;
    return 0;
}

static void append_cursor(struct hf_sandbox_call *call, const struct hf_sandbox_cursor *cursor,
                          const char *name, const bson_t *batch)
{
    bson_t doc;

    bson_append_document_begin(call->reply, "cursor", -1, &doc);
    if (!cursor->id_first) {
        bson_append_array(&doc, name, -1, batch);
    }
    bson_append_int64(&doc, "id", -1, cursor->id);
    bson_append_utf8(&doc, "ns", -1, cursor->ns, -1);
    if (cursor->id_first) {
        bson_append_array(&doc, name, -1, batch);
    }
    bson_append_document_end(call->reply, &doc);
}

int32_t hf_sandbox_cursor_begin_take(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                                     int64_t batch_size, bool single)
{
    struct hf_sandbox_server *server = call->server;
    bson_t batch = BSON_INITIALIZER;
    bool more = false;
    int32_t code =
        fill_batch(call, cursor, batch_size < 0 ? DEFAULT_FIRST_BATCH : batch_size, &batch, &more);

    if (code == 0 && !single && (more || cursor->tailable)) {
        while (cursor->id <= 0) {
            hf_random_bytes(&cursor->id, sizeof cursor->id);
            cursor->id &= INT64_MAX;
        }
    }
    if (code == 0) {
        cursor->batches_returned = 1;
        append_cursor(call, cursor, "firstBatch", &batch);
    }
    bson_destroy(&batch);
    if (cursor->id != 0) {
        HF_LOCKED(&server->cursors_mutex);
        cursor->next = server->cursors;
        server->cursors = cursor;
    } else {
        hf_sandbox_cursor_destroy(server, cursor);
    }
    return code;
}

/* ---- Going on ---- */

static void session_text(const struct hf_sandbox_session *session, char *out, size_t out_len)
{
    const uint8_t *id = session->id;
    char uid[HF_BASE64_LEN(32) + 1];

    hf_base64_encode(hf_bytes_of(session->uid, sizeof session->uid), uid);
    (void)snprintf(out, out_len,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x - %s",
                   id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10],
                   id[11], id[12], id[13], id[14], id[15], uid);
}

static int32_t check_session(const struct hf_sandbox_call *call,
                             const struct hf_sandbox_cursor *cursor)
{
    char opened[128];
    char now[128];

    session_text(&cursor->session, opened, sizeof opened);
    session_text(&call->session, now, sizeof now);
    if (cursor->session.given && !call->session.given) {
        return hf_sandbox_refuse(
            call->no, 50737,
            "Cannot run getMore on cursor %lld, which was created in session %s, without an lsid",
            (long long)cursor->id, opened);
    }
    if (!cursor->session.given && call->session.given) {
        return hf_sandbox_refuse(
            call->no, 50736,
            "Cannot run getMore on cursor %lld, which was not created in a session, in session %s",
            (long long)cursor->id, now);
    }
    if (cursor->session.given && (memcmp(cursor->session.id, call->session.id, 16) != 0 ||
                                  memcmp(cursor->session.uid, call->session.uid, 32) != 0)) {
        return hf_sandbox_refuse(
            call->no, 50738,
            "Cannot run getMore on cursor %lld, which was created in session %s, in session %s",
            (long long)cursor->id, opened, now);
    }
    return 0;
}

static bool owns(const struct hf_sandbox_call *call, const struct hf_sandbox_cursor *cursor)
{
    return strcmp(call->conn->user, cursor->user) == 0;
}

/* Under the lock: nobody ends a pinned cursor but the one who pinned it. */
static int32_t pin(const struct hf_sandbox_call *call, int64_t id, const char *ns,
                   struct hf_sandbox_cursor **out)
{
    struct hf_sandbox_cursor *cursor;

    HF_LOCKED(&call->server->cursors_mutex);
    for (cursor = call->server->cursors; cursor != NULL && cursor->id != id;
         cursor = cursor->next) {
    }
    if (cursor == NULL || atomic_load(&cursor->killed)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_CURSOR_NOT_FOUND, "cursor id %lld not found",
                                 (long long)id);
    }
    if (strcmp(cursor->ns, ns) != 0) {
        return hf_sandbox_refuse(
            call->no, HF_SANDBOX_UNAUTHORIZED,
            "Requested getMore on namespace '%s', but cursor belongs to a different namespace %s",
            ns, cursor->ns);
    }
    if (!owns(call, cursor)) {
        return hf_sandbox_call_denied(call);
    }
    if (cursor->pinned) {
        return hf_sandbox_refuse(call->no, 12051, "cursor already in use (id: %lld).",
                                 (long long)id);
    }
    int32_t code = check_session(call, cursor);
    cursor->pinned = code == 0;
    *out = cursor;
    return code;
}

/* Gives the cursor back, or ends it. */
static void unpin(struct hf_sandbox_server *server, struct hf_sandbox_cursor *cursor, bool keep)
{
    hf_mutex_lock(&server->cursors_mutex);
    cursor->pinned = false;
    cursor->used_wall_ms = hf_clock_wall_ms();
    cursor->used_mono_ms = hf_clock_mono_ms();
    keep = keep && !atomic_load(&cursor->killed);
    for (struct hf_sandbox_cursor **at = &server->cursors; !keep && *at != NULL;
         at = &(*at)->next) {
        if (*at == cursor) {
            *at = cursor->next;
            break;
        }
    }
    hf_mutex_unlock(&server->cursors_mutex);
    if (!keep) {
        hf_sandbox_cursor_destroy(server, cursor);
    }
}

/* Fills the batch; with awaitData an empty one waits for what comes. */
static int32_t next_batch(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                          int64_t size, uint64_t wait_ms, bson_t *batch, bool *more)
{
    uint64_t deadline = hf_clock_mono_ms() + wait_ms;

    for (;;) {
        uint64_t top = hf_sandbox_engine_applied(call->engine).ts;
        int32_t code = fill_batch(call, cursor, size, batch, more);
        uint64_t now = hf_clock_mono_ms();

        if (code != 0 || !bson_empty(batch) || !cursor->await_data || now >= deadline ||
            atomic_load(&cursor->killed)) {
            return code;
        }
        if (top == 0) {
            hf_cancel_sleep(call->cancel, POLL_MS);
        } else {
            (void)hf_sandbox_engine_wait_oplog(call->engine, top, UINT64_MAX, deadline - now,
                                               call->cancel);
        }
        code = hf_sandbox_call_check(call);
        if (code != 0) {
            return code;
        }
    }
}

int32_t hf_sandbox_cmd_get_more(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor = NULL;
    int64_t id = hf_sandbox_get_int64(call->command, "getMore", 0);
    const char *coll = hf_sandbox_get_utf8(call->command, "collection", "");
    int64_t size = hf_sandbox_get_int64(call->command, "batchSize", 0);
    int64_t max_time_ms = hf_sandbox_get_int64(call->command, "maxTimeMS", 0);
    char ns[HF_SANDBOX_NS_BYTES];
    bson_t batch = BSON_INITIALIZER;
    bool more = false;
    int32_t code;

    (void)snprintf(ns, sizeof ns, "%s.%s", call->db, coll);
    code = pin(call, id, ns, &cursor);
    if (code != 0) {
        return code;
    }
    if (max_time_ms > 0 && !cursor->await_data) {
        unpin(call->server, cursor, true);
        return hf_sandbox_refuse(
            call->no, HF_SANDBOX_BAD_VALUE,
            "cannot set maxTimeMS on getMore command for a non-awaitData cursor");
    }
    code = next_batch(call, cursor, size <= 0 ? INT32_MAX : size,
                      max_time_ms > 0 ? (uint64_t)max_time_ms : AWAIT_DEFAULT_MS, &batch, &more);
    bool keep = code == 0 && (more || cursor->tailable);
    if (code == 0) {
        bson_t doc;
        cursor->batches_returned++;
        bson_append_document_begin(call->reply, "cursor", -1, &doc);
        bson_append_array(&doc, "nextBatch", -1, &batch);
        bson_append_int64(&doc, "id", -1, keep ? id : 0);
        bson_append_utf8(&doc, "ns", -1, cursor->ns, -1);
        bson_append_document_end(call->reply, &doc);
    }
    bson_destroy(&batch);
    unpin(call->server, cursor, keep);
    return code;
}

/* ---- Ends ---- */

enum ending { END_KILL, END_IDLE, END_ALL };

struct ending_of {
    enum ending why;
    int64_t id;
    uint64_t now_ms, timeout_ms;
};

static bool ends(const struct ending_of *of, const struct hf_sandbox_cursor *cursor)
{
    switch (of->why) {
    case END_KILL:
        return cursor->id == of->id;
    case END_IDLE:
        return !cursor->pinned && !cursor->no_timeout &&
               of->now_ms - cursor->used_mono_ms >= of->timeout_ms;
    case END_ALL:
        break;
    }
    return true;
}

/* Takes cursors out and destroys them; a pinned one ends when its command does. */
static bool end_cursors(struct hf_sandbox_server *server, const struct ending_of *of)
{
    struct hf_sandbox_cursor *ended = NULL;
    bool any = false;

    hf_mutex_lock(&server->cursors_mutex);
    for (struct hf_sandbox_cursor **at = &server->cursors; *at != NULL;) {
        struct hf_sandbox_cursor *cursor = *at;
        bool chosen = !atomic_load(&cursor->killed) && ends(of, cursor);

        any = any || chosen;
        if (chosen && !cursor->pinned) {
            *at = cursor->next;
            cursor->next = ended;
            ended = cursor;
        } else {
            if (chosen) {
                atomic_store(&cursor->killed, true);
            }
            at = &cursor->next;
        }
    }
    hf_mutex_unlock(&server->cursors_mutex);
    while (ended != NULL) {
        struct hf_sandbox_cursor *next = ended->next;
        hf_sandbox_cursor_destroy(server, ended);
        ended = next;
    }
    return any;
}

void hf_sandbox_cursors_reap(struct hf_sandbox_server *server)
{
    struct ending_of idle = {.why = END_IDLE,
                             .now_ms = hf_clock_mono_ms(),
                             .timeout_ms = atomic_load(&server->cursor_timeout_ms)};

    (void)end_cursors(server, &idle);
}

void hf_sandbox_cursors_close_all(struct hf_sandbox_server *server)
{
    (void)end_cursors(server, &(struct ending_of){.why = END_ALL});
}

static bool is_foreign(struct hf_sandbox_call *call, int64_t id)
{
    HF_LOCKED(&call->server->cursors_mutex);
    for (struct hf_sandbox_cursor *cursor = call->server->cursors; cursor != NULL;
         cursor = cursor->next) {
        if (cursor->id == id) {
            return !owns(call, cursor);
        }
    }
    return false;
}

int32_t hf_sandbox_cmd_kill_cursors(struct hf_sandbox_call *call)
{
    static const char *const empty[] = {"cursorsAlive", "cursorsUnknown"};
    bson_t killed = BSON_INITIALIZER;
    bson_t missing = BSON_INITIALIZER;
    uint32_t killed_count = 0;
    uint32_t missing_count = 0;
    bson_iter_t iter;
    bson_t list;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "cursors", &list) || !bson_iter_init(&iter, &list)) {
        return hf_sandbox_refuse(call->no, HF_SANDBOX_FAILED_TO_PARSE,
                                 "Field 'cursors' must be an array");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        int64_t id = 0;
        if (!hf_sandbox_as_int64(bson_iter_value(&iter), &id)) {
            code = hf_sandbox_refuse(call->no, HF_SANDBOX_FAILED_TO_PARSE,
                                     "Cursor ids must be numbers");
        } else if (is_foreign(call, id) &&
                   !hf_sandbox_call_may(call, "killAnyCursor", NULL, NULL)) {
            code = hf_sandbox_call_denied(call);
        } else if (end_cursors(call->server, &(struct ending_of){.why = END_KILL, .id = id})) {
            hf_sandbox_append_element(&killed, &killed_count, bson_iter_value(&iter));
        } else {
            hf_sandbox_append_element(&missing, &missing_count, bson_iter_value(&iter));
        }
    }
    bson_append_array(call->reply, "cursorsKilled", -1, &killed);
    bson_append_array(call->reply, "cursorsNotFound", -1, &missing);
    bson_reinit(&missing);
    for (size_t i = 0; i < HF_ARRAY_LEN(empty); i++) {
        bson_append_array(call->reply, empty[i], -1, &missing);
    }
    bson_destroy(&killed);
    bson_destroy(&missing);
    return code;
}

static bson_t *describe(const struct hf_sandbox_server *server,
                        const struct hf_sandbox_cursor *cursor)
{
    bson_t *doc = bson_new();
    bson_t inner;

    bson_append_utf8(doc, "type", -1, "idleCursor", -1);
    bson_append_utf8(doc, "host", -1, server->host, -1);
    bson_append_utf8(doc, "ns", -1, cursor->ns, -1);
    if (cursor->session.given) {
        bson_append_document_begin(doc, "lsid", -1, &inner);
        bson_append_binary(&inner, "id", -1, BSON_SUBTYPE_UUID, cursor->session.id, 16);
        bson_append_binary(&inner, "uid", -1, BSON_SUBTYPE_BINARY, cursor->session.uid, 32);
        bson_append_document_end(doc, &inner);
    }
    bson_append_utf8(doc, "planSummary", -1, cursor->find == NULL ? "" : "COLLSCAN", -1);
    bson_append_document_begin(doc, "cursor", -1, &inner);
    bson_append_int64(&inner, "cursorId", -1, cursor->id);
    bson_append_date_time(&inner, "createdDate", -1, (int64_t)cursor->created_wall_ms);
    bson_append_date_time(&inner, "lastAccessDate", -1, (int64_t)cursor->used_wall_ms);
    /* The real server counts no document for a backup cursor. */
    bson_append_int64(&inner, "nDocsReturned", -1, cursor->backup ? 0 : cursor->docs_returned);
    bson_append_int64(&inner, "nBatchesReturned", -1, cursor->batches_returned);
    bson_append_bool(&inner, "noCursorTimeout", -1, cursor->no_timeout);
    bson_append_bool(&inner, "tailable", -1, cursor->tailable);
    bson_append_bool(&inner, "awaitData", -1, cursor->await_data);
    bson_append_document(&inner, "originatingCommand", -1, cursor->command);
    bson_append_document_end(doc, &inner);
    return doc;
}

int32_t hf_sandbox_cursors_list(struct hf_sandbox_call *call, struct hf_sandbox_docs *out)
{
    int32_t code = 0;

    HF_LOCKED(&call->server->cursors_mutex);
    for (struct hf_sandbox_cursor *cursor = call->server->cursors; code == 0 && cursor != NULL;
         cursor = cursor->next) {
        if (!cursor->pinned) {
            code = hf_sandbox_docs_add_take(out, describe(call->server, cursor), call->no);
        }
    }
    return code;
}
