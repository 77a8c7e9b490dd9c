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
            if (count > 0 && batch->len + doc->len > HF_SANDBOX_BATCH_MAX_BYTES) {
                break;
            }
            hf_sandbox_append_doc(batch, &count, doc);
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

/*
 * Takes the cursor. Appends `cursor` to the reply, with a batch under that name, an empty one only at the deadline where
 * the cursor awaits data. Then lays it by for the next command, or ends it.
 */
static int32_t answer_take(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                           int64_t size, uint64_t deadline, const char *name)
{
    OWNED_DOC *batch = bson_new();
    bool more = false;
    int32_t code;

    for (;;) {
        uint64_t top = hf_sandbox_engine_applied(call->engine).ts;
        code = fill_batch(call, cursor, size, batch, &more);
        uint64_t now = hf_clock_mono_ms();
        if (code != 0 || !bson_empty(batch) || !cursor->await_data || now >= deadline) {
            break;
        }
        (void)hf_sandbox_engine_wait_oplog(call->engine, top, UINT64_MAX, deadline - now,
                                           call->cancel);
        code = hf_sandbox_call_check(call);
        if (code != 0) {
            break;
        }
    }
    bool keep = code == 0 && (more || cursor->tailable) &&
                !hf_sandbox_get_true(call->command, "singleBatch");
    while (keep && cursor->id <= 0) {
        hf_random_bytes(&cursor->id, sizeof cursor->id);
        cursor->id &= INT64_MAX;
    }
    if (code == 0) {
        BCON_APPEND(call->reply, "cursor", "{", name, BCON_ARRAY(batch), "id",
                    BCON_INT64(keep ? cursor->id : 0), "ns", BCON_UTF8(cursor->ns), "}");
    }
    if (!keep) {
        hf_sandbox_cursor_destroy(call->server, cursor);
        return code;
    }
    cursor->batches_returned++;
    cursor->used_wall_ms = hf_clock_wall_ms();
    cursor->used_mono_ms = hf_clock_mono_ms();
    HF_LOCKED(&call->server->cursors_mutex);
    cursor->next = call->server->cursors;
    call->server->cursors = cursor;
    return code;
}

int32_t hf_sandbox_cursor_begin_take(struct hf_sandbox_call *call, struct hf_sandbox_cursor *cursor,
                                     int32_t code)
{
    bson_t options;

    if (code != 0) {
        hf_sandbox_cursor_destroy(call->server, cursor);
        return code;
    }
    if (!hf_sandbox_get_doc(call->command, "cursor", &options)) {
        options = *call->command;
    }
    return answer_take(call, cursor,
                       hf_sandbox_get_int64(&options, "batchSize", DEFAULT_FIRST_BATCH), 0,
                       "firstBatch");
}

/* ---- Going on ---- */

/* "UUID - uid", or "none" */
static void session_text(const struct hf_sandbox_session *session, char out[128])
{
    OWNED_DOC *doc = BCON_NEW("", BCON_BIN(BSON_SUBTYPE_UUID, session->id, sizeof session->id));
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(128);
    char uid[HF_BASE64_LEN(32) + 1];
    const char *id;

    hf_sandbox_doc_text(doc, &text); /* { : UUID("..") } */
    id = hf_buf_text(&text);
    HF_ASSERT(id != NULL);
    hf_base64_encode(hf_bytes_of(session->uid, sizeof session->uid), uid);
    (void)snprintf(out, 128, session->given ? "%.36s - %s" : "none", id + 10, uid);
}

static int32_t check_session(const struct hf_sandbox_call *call,
                             const struct hf_sandbox_cursor *cursor)
{
    const struct hf_sandbox_session *opened = &cursor->session, *now = &call->session;
    char texts[2][128];

    if (opened->given == now->given && memcmp(opened->id, now->id, sizeof now->id) == 0) {
        return 0;
    }
    session_text(opened, texts[0]);
    session_text(now, texts[1]);
    return hf_sandbox_refuse(
        call->no,
        !opened->given ? 50736
        : now->given   ? 50738
                       : 50737,
        "Cannot run getMore on cursor %lld, which was created in session %s, in session %s",
        (long long)cursor->id, texts[0], texts[1]);
}

static bool owns(const struct hf_sandbox_call *call, const struct hf_sandbox_cursor *cursor)
{
    return memcmp(call->session.uid, cursor->session.uid, sizeof call->session.uid) == 0;
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

/* Takes the cursor of the command out: nobody else finds one that is in use. */
static int32_t take(const struct hf_sandbox_call *call, struct hf_sandbox_cursor **out)
{
    int64_t id = hf_sandbox_get_int64(call->command, "getMore", 0);
    const char *coll = hf_sandbox_get_utf8(call->command, "collection", "");
    size_t db_len = strlen(call->db);
    struct hf_sandbox_cursor **at;
    int32_t code;

    HF_LOCKED(&call->server->cursors_mutex);
    at = find_cursor(call, id);
    if (*at == NULL) {
        return REFUSE(call, CURSOR_NOT_FOUND, "cursor id %lld not found", (long long)id);
    }
    if (strncmp((*at)->ns, call->db, db_len) != 0 || (*at)->ns[db_len] != '.' ||
        strcmp((*at)->ns + db_len + 1, coll) != 0) {
        return REFUSE(
            call, UNAUTHORIZED,
            "Requested getMore on namespace '%s.%s', but cursor belongs to a different namespace "
            "%s",
            call->db, coll, (*at)->ns);
    }
    code = owns(call, *at) ? check_session(call, *at) : hf_sandbox_call_denied(call);
    if (code == 0 && !(*at)->await_data &&
        hf_sandbox_get_int64(call->command, "maxTimeMS", 0) > 0) {
        code = REFUSE(call, BAD_VALUE,
                      "cannot set maxTimeMS on getMore command for a non-awaitData cursor");
    }
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
    uint64_t deadline = hf_clock_mono_ms() + (uint64_t)(wait_ms > 0 ? wait_ms : AWAIT_DEFAULT_MS);
    int32_t code = take(call, &cursor);

    return code != 0
               ? code
               : answer_take(call, cursor, size <= 0 ? INT32_MAX : size, deadline, "nextBatch");
}

/* ---- Ends ---- */

bool hf_sandbox_cursors_end(struct hf_sandbox_server *server, int64_t id, uint64_t idle_ms)
{
    struct hf_sandbox_cursor *ended = NULL;
    bool any = false;

    hf_mutex_lock(&server->cursors_mutex);
    uint64_t now = hf_clock_mono_ms();
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
    for (struct hf_sandbox_cursor *next; ended != NULL; ended = next) {
        next = ended->next;
        any = true;
        hf_sandbox_cursor_destroy(server, ended);
    }
    return any;
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
    bson_t list;
    int32_t code = 0;

    if (!hf_sandbox_get_doc(call->command, "cursors", &list)) {
        return REFUSE(call, FAILED_TO_PARSE, "Field 'cursors' must be an array");
    }
    HF_SANDBOX_EACH (iter, &list, code == 0) {
        int64_t id = bson_iter_as_int64(&iter);
        if (is_foreign(call, id) && !hf_sandbox_call_may(call, "killAnyCursor", NULL, NULL)) {
            code = hf_sandbox_call_denied(call);
        } else {
            bool killed = id != 0 && hf_sandbox_cursors_end(call->server, id, 0);
            hf_sandbox_append_element(&lists[killed], &counts[killed], bson_iter_value(&iter));
        }
    }
    BCON_APPEND(call->reply, "cursorsKilled", BCON_ARRAY(&lists[true]), "cursorsNotFound",
                BCON_ARRAY(&lists[false]), "cursorsAlive", "[", "]", "cursorsUnknown", "[", "]");
    bson_destroy(&lists[true]);
    bson_destroy(&lists[false]);
    return code;
}

int32_t hf_sandbox_cursors_list(struct hf_sandbox_call *call, struct hf_sandbox_docs *out)
{
    const struct hf_sandbox_cursor *cursor;
    int32_t code = 0;

    HF_LOCKED(&call->server->cursors_mutex);
    for (cursor = call->server->cursors; code == 0 && cursor != NULL; cursor = cursor->next) {
        bson_t *doc = BCON_NEW("type", "idleCursor", "host", BCON_UTF8(call->server->host), "ns",
                               BCON_UTF8(cursor->ns));
        if (cursor->session.given) {
            BCON_APPEND(doc, "lsid", "{", "id", BCON_BIN(BSON_SUBTYPE_UUID, cursor->session.id, 16),
                        "uid", BCON_BIN(BSON_SUBTYPE_BINARY, cursor->session.uid, 32), "}");
        }
        BCON_APPEND(doc, "planSummary", BCON_UTF8(cursor->stages == NULL ? "" : "COLLSCAN"),
                    "cursor", "{", "cursorId", BCON_INT64(cursor->id), "createdDate",
                    BCON_DATE_TIME((int64_t)cursor->created_wall_ms), "lastAccessDate",
                    BCON_DATE_TIME((int64_t)cursor->used_wall_ms), "nDocsReturned",
                    /* The real server counts no document for a backup cursor. */
                    BCON_INT64(cursor->backup ? 0 : cursor->docs_returned), "nBatchesReturned",
                    BCON_INT64(cursor->batches_returned), "noCursorTimeout",
                    BCON_BOOL(cursor->no_timeout), "tailable", BCON_BOOL(cursor->tailable),
                    "awaitData", BCON_BOOL(cursor->await_data), "originatingCommand",
                    BCON_DOCUMENT(cursor->command), "}");
        code = hf_sandbox_docs_add_take(out, doc, call->no);
    }
    return code;
}
