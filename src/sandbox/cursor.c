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

struct hf_sandbox_cursor *hf_sandbox_cursor_create(struct hf_sandbox_call *call, const char *ns)
{
    struct hf_sandbox_cursor *cursor = hf_alloc_zero(sizeof *cursor);

    HF_ASSERT(cursor != NULL);
    (void)snprintf(cursor->ns, sizeof cursor->ns, "%s", ns);
    (void)snprintf(cursor->user, sizeof cursor->user, "%s", call->conn->user);
    cursor->session = call->session;
    cursor->command = bson_copy(call->command);
    cursor->created_wall_ms = hf_clock_wall_ms();
    return cursor;
}

void hf_sandbox_cursor_destroy(struct hf_sandbox_server *server, struct hf_sandbox_cursor *cursor)
{
    if (cursor == NULL) {
        return;
    }
    if (cursor->backup) {
        hf_sandbox_backup_close(server->engine, cursor->backup_id);
    }
    bson_destroy(cursor->stages);
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
    int32_t code = 0;

    while (code == 0 && count < size) {
        if (cursor->docs_at < cursor->docs.count) {
            const bson_t *doc = cursor->docs.items[cursor->docs_at];
            bson_value_t value = hf_sandbox_value_of_doc(doc);
            if (count > 0 && batch->len + doc->len > HF_SANDBOX_BATCH_MAX_BYTES) {
                break;
            }
            hf_sandbox_append_element(batch, &count, &value);
            cursor->docs_at++;
            continue;
        }
        hf_sandbox_docs_fini(&cursor->docs);
        cursor->docs_at = 0;
        if (cursor->stages == NULL || ended) {
            break;
        }
        code = hf_sandbox_find_fill(call, cursor, size - count, &ended);
        if (ended && !cursor->tailable) {
            bson_destroy(HF_TAKE(cursor->stages));
        }
    }
    cursor->docs_returned += count;
    *more = cursor->docs_at < cursor->docs.count || cursor->stages != NULL;
    return code;
}

/* Fills the batch, an empty one until the deadline where the cursor awaits data. */
static int32_t await_batch(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                           int64_t size, uint64_t deadline, bson_t *batch, bool *more)
{
    for (;;) {
        uint64_t top = hf_sandbox_engine_applied(call->engine).ts;
        int32_t code = fill_batch(call, cursor, size, batch, more);
        uint64_t now = hf_clock_mono_ms();

        if (code != 0 || !bson_empty(batch) || !cursor->await_data || now >= deadline) {
            return code;
        }
        (void)hf_sandbox_engine_wait_oplog(call->engine, top, UINT64_MAX, deadline - now,
                                           call->cancel);
        code = hf_sandbox_call_check(call);
        if (code != 0) {
            return code;
        }
    }
}

/* Appends `cursor` to the reply, with the batch under that name; *keep: the cursor lives on. */
static int32_t answer(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor, int64_t size,
                      uint64_t deadline, const char *name, bool *keep)
{
    bson_t batch = BSON_INITIALIZER;
    bson_t doc;
    bool more = false;
    int32_t code = await_batch(call, cursor, size, deadline, &batch, &more);

    *keep = code == 0 && (more || cursor->tailable) && !cursor->single;
    while (*keep && cursor->id <= 0) {
        hf_random_bytes(&cursor->id, sizeof cursor->id);
        cursor->id &= INT64_MAX;
    }
    if (code == 0) {
        cursor->batches_returned++;
        bson_append_document_begin(call->reply, "cursor", -1, &doc);
        if (!cursor->id_first) {
            bson_append_array(&doc, name, -1, &batch);
        }
        bson_append_int64(&doc, "id", -1, *keep ? cursor->id : 0);
        bson_append_utf8(&doc, "ns", -1, cursor->ns, -1);
        if (cursor->id_first) {
            bson_append_array(&doc, name, -1, &batch);
        }
        bson_append_document_end(call->reply, &doc);
    }
    bson_destroy(&batch);
    return code;
}

/* Lays the cursor by for the next command, or ends it. */
static void settle_take(struct hf_sandbox_server *server, struct hf_sandbox_cursor *cursor,
                        bool keep)
{
    if (!keep) {
        hf_sandbox_cursor_destroy(server, cursor);
        return;
    }
    cursor->used_wall_ms = hf_clock_wall_ms();
    cursor->used_mono_ms = hf_clock_mono_ms();
    HF_LOCKED(&server->cursors_mutex);
    cursor->next = server->cursors;
    server->cursors = cursor;
}

int32_t hf_sandbox_cursor_begin_take(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                                     int64_t batch_size, bool single)
{
    bool keep = false;
    int32_t code;

    cursor->single = single;
    code = answer(call, cursor, batch_size < 0 ? DEFAULT_FIRST_BATCH : batch_size, 0, "firstBatch",
                  &keep);
    cursor->id_first = false;
    settle_take(call->server, cursor, keep);
    return code;
}

/* ---- Going on ---- */

/* "UUID - uid" */
static void session_text(const struct hf_sandbox_session *session, char *out, size_t out_len)
{
    OWNED_DOC *doc = BCON_NEW("", BCON_BIN(BSON_SUBTYPE_UUID, session->id, sizeof session->id));
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(128);
    char uid[HF_BASE64_LEN(32) + 1];
    const char *id;

    hf_sandbox_doc_text(doc, &text); /* { : UUID("..") } */
    id = hf_buf_text(&text);
    HF_ASSERT(id != NULL);
    hf_base64_encode(hf_bytes_of(session->uid, sizeof session->uid), uid);
    (void)snprintf(out, out_len, "%.36s - %s", id + 10, uid);
}

static int32_t check_session(const struct hf_sandbox_call *call,
                             const struct hf_sandbox_cursor *cursor)
{
    const struct hf_sandbox_session *opened = &cursor->session;
    const struct hf_sandbox_session *now = &call->session;
    char texts[2][128];

    if (opened->given == now->given && memcmp(opened->id, now->id, sizeof now->id) == 0 &&
        memcmp(opened->uid, now->uid, sizeof now->uid) == 0) {
        return 0;
    }
    session_text(opened, texts[0], sizeof texts[0]);
    session_text(now, texts[1], sizeof texts[1]);
    return hf_sandbox_refuse(
        call->no,
        !opened->given ? 50736
        : now->given   ? 50738
                       : 50737,
        "Cannot run getMore on cursor %lld, which was created in session %s, in session %s",
        (long long)cursor->id, opened->given ? texts[0] : "none", now->given ? texts[1] : "none");
}

static bool owns(const struct hf_sandbox_call *call, const struct hf_sandbox_cursor *cursor)
{
    return strcmp(call->conn->user, cursor->user) == 0;
}

/* Under the lock: the link to the cursor, to NULL where there is none. */
static struct hf_sandbox_cursor **find_cursor(const struct hf_sandbox_call *call, int64_t id)
{
    struct hf_sandbox_cursor **at = &call->server->cursors;

    while (*at != NULL && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

/* Takes the cursor out: nobody else finds one that is in use. */
static int32_t take(const struct hf_sandbox_call *call, int64_t id, const char *ns,
                    struct hf_sandbox_cursor **out)
{
    struct hf_sandbox_cursor **at;
    int32_t code;

    HF_LOCKED(&call->server->cursors_mutex);
    at = find_cursor(call, id);
    if (*at == NULL) {
        return REFUSE(call, CURSOR_NOT_FOUND, "cursor id %lld not found", (long long)id);
    }
    if (strcmp((*at)->ns, ns) != 0) {
        return REFUSE(
            call, UNAUTHORIZED,
            "Requested getMore on namespace '%s', but cursor belongs to a different namespace %s",
            ns, (*at)->ns);
    }
    code = owns(call, *at) ? check_session(call, *at) : hf_sandbox_call_denied(call);
    if (code == 0) {
        *out = *at;
        *at = (*out)->next;
    }
    return code;
}

int32_t hf_sandbox_cmd_get_more(struct hf_sandbox_call *call)
{
    struct hf_sandbox_cursor *cursor = NULL;
    int64_t size = hf_sandbox_get_int64(call->command, "batchSize", 0);
    int64_t wait_ms = hf_sandbox_get_int64(call->command, "maxTimeMS", 0);
    char ns[HF_SANDBOX_NS_BYTES];
    bool keep = true;
    int32_t code;

    (void)snprintf(ns, sizeof ns, "%s.%s", call->db,
                   hf_sandbox_get_utf8(call->command, "collection", ""));
    code = take(call, hf_sandbox_get_int64(call->command, "getMore", 0), ns, &cursor);
    if (code != 0) {
        return code;
    }
    if (wait_ms > 0 && !cursor->await_data) {
        code = REFUSE(call, BAD_VALUE,
                      "cannot set maxTimeMS on getMore command for a non-awaitData cursor");
    } else {
        code = answer(call, cursor, size <= 0 ? INT32_MAX : size,
                      hf_clock_mono_ms() + (uint64_t)(wait_ms > 0 ? wait_ms : AWAIT_DEFAULT_MS),
                      "nextBatch", &keep);
    }
    settle_take(call->server, cursor, keep);
    return code;
}

/* ---- Ends ---- */

/* Takes cursors out and destroys them: that with the id (0: any) that have been idle for so long. */
static bool end_cursors(struct hf_sandbox_server *server, int64_t id, uint64_t idle_ms)
{
    struct hf_sandbox_cursor *ended = NULL;
    uint64_t now;
    bool any;

    hf_mutex_lock(&server->cursors_mutex);
    now = hf_clock_mono_ms();
    for (struct hf_sandbox_cursor **at = &server->cursors; *at != NULL;) {
        struct hf_sandbox_cursor *cursor = *at;

        if ((id == 0 || cursor->id == id) && now - cursor->used_mono_ms >= idle_ms &&
            (idle_ms == 0 || !cursor->no_timeout)) {
            *at = cursor->next;
            cursor->next = ended;
            ended = cursor;
        } else {
            at = &cursor->next;
        }
    }
    hf_mutex_unlock(&server->cursors_mutex);
    any = ended != NULL;
    while (ended != NULL) {
        struct hf_sandbox_cursor *next = ended->next;
        hf_sandbox_cursor_destroy(server, ended);
        ended = next;
    }
    return any;
}

void hf_sandbox_cursors_reap(struct hf_sandbox_server *server)
{
    (void)end_cursors(server, 0, atomic_load(&server->cursor_timeout_ms));
}

void hf_sandbox_cursors_close_all(struct hf_sandbox_server *server)
{
    (void)end_cursors(server, 0, 0);
}

static bool is_foreign(struct hf_sandbox_call *call, int64_t id)
{
    const struct hf_sandbox_cursor *cursor;

    HF_LOCKED(&call->server->cursors_mutex);
    cursor = *find_cursor(call, id);
    return cursor != NULL && !owns(call, cursor);
}

int32_t hf_sandbox_cmd_kill_cursors(struct hf_sandbox_call *call)
{
    bson_t lists[2] = {BSON_INITIALIZER, BSON_INITIALIZER}; /* not found, killed */
    uint32_t counts[2] = {0, 0};
    bson_t none = BSON_INITIALIZER;
    bson_iter_t iter;
    bson_t list;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "cursors", &list) || !bson_iter_init(&iter, &list)) {
        return REFUSE(call, FAILED_TO_PARSE, "Field 'cursors' must be an array");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        int64_t id = bson_iter_as_int64(&iter);
        if (is_foreign(call, id) && !hf_sandbox_call_may(call, "killAnyCursor", NULL, NULL)) {
            code = hf_sandbox_call_denied(call);
        } else {
            bool killed = id != 0 && end_cursors(call->server, id, 0);
            hf_sandbox_append_element(&lists[killed], &counts[killed], bson_iter_value(&iter));
        }
    }
    bson_append_array(call->reply, "cursorsKilled", -1, &lists[true]);
    bson_append_array(call->reply, "cursorsNotFound", -1, &lists[false]);
    bson_append_array(call->reply, "cursorsAlive", -1, &none);
    bson_append_array(call->reply, "cursorsUnknown", -1, &none);
    bson_destroy(&lists[true]);
    bson_destroy(&lists[false]);
    bson_destroy(&none);
    return code;
}

static bson_t *describe(const struct hf_sandbox_server *server,
                        const struct hf_sandbox_cursor *cursor)
{
    bson_t *doc = BCON_NEW("type", "idleCursor", "host", BCON_UTF8(server->host), "ns",
                           BCON_UTF8(cursor->ns));

    if (cursor->session.given) {
        BCON_APPEND(doc, "lsid", "{", "id", BCON_BIN(BSON_SUBTYPE_UUID, cursor->session.id, 16),
                    "uid", BCON_BIN(BSON_SUBTYPE_BINARY, cursor->session.uid, 32), "}");
    }
    BCON_APPEND(doc, "planSummary", BCON_UTF8(cursor->stages == NULL ? "" : "COLLSCAN"), "cursor",
                "{", "cursorId", BCON_INT64(cursor->id), "createdDate",
                BCON_DATE_TIME((int64_t)cursor->created_wall_ms), "lastAccessDate",
                BCON_DATE_TIME((int64_t)cursor->used_wall_ms), "nDocsReturned",
                /* The real server counts no document for a backup cursor. */
                BCON_INT64(cursor->backup ? 0 : cursor->docs_returned), "nBatchesReturned",
                BCON_INT64(cursor->batches_returned), "noCursorTimeout",
                BCON_BOOL(cursor->no_timeout), "tailable", BCON_BOOL(cursor->tailable), "awaitData",
                BCON_BOOL(cursor->await_data), "originatingCommand", BCON_DOCUMENT(cursor->command),
                "}");
    return doc;
}

int32_t hf_sandbox_cursors_list(struct hf_sandbox_call *call, struct hf_sandbox_docs *out)
{
    int32_t code = 0;

    HF_LOCKED(&call->server->cursors_mutex);
    for (struct hf_sandbox_cursor *cursor = call->server->cursors; code == 0 && cursor != NULL;
         cursor = cursor->next) {
        code = hf_sandbox_docs_add_take(out, describe(call->server, cursor), call->no);
    }
    return code;
}
