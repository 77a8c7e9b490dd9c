/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The place in the oplog and the stretch that is being read.
 *
 *   RESTING -- the commit point lies behind the place: find from the place to it (begin_stretch) --> READING
 *   READING -- the cursor has ended, or something failed (drop_stretch, disconnect)              --> RESTING
 *
 * The first entry of every stretch is the one at the place itself: that it is there proves that nothing is missing.
 */
#include "mongo/oplog_tail.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "mongo/client_internal.h"
#include "mongo/hello_internal.h"
#include "mongo/oplog.h"
#include "os/clock.h"

#define PAUSE_FIRST_MS 25
#define PAUSE_MAX_MS 400
/* A connection that was cut without a word is noticed after so long. */
#define SOCKET_TIMEOUT_MS 10000
#define FIRST_DOCS 1000
#define DOCS_MAX 200000

struct hf_mongo_tail {
    struct hf_mongo_tail_options options;
    struct hf_mongo_client *client; /* owned; NULL: not connected */
    struct hf_mongo_session session;
    bool in_session;
    struct hf_mongo_optime at; /* the place */
    bool inclusive;            /* the entry at the place was not handed out yet */
    struct hf_mongo_optime committed;
    int64_t cursor;  /* 0: RESTING */
    bool at_is_next; /* the next document must be the entry at the place */
    uint64_t docs;   /* asked for at once */
    uint64_t behind_since_ms;
};

struct hf_mongo_tail_batch {
    uint8_t *reply;       /* owned; of the library's heap */
    struct hf_bytes left; /* elements of the array of documents that were not handed out yet */
    struct hf_mongo_tail_batch_facts facts;
};

static struct hf_optime plain(struct hf_mongo_optime optime)
{
    return (struct hf_optime){
        .seconds = optime.ts.seconds, .increment = optime.ts.increment, .term = optime.term};
}

static bool same(struct hf_mongo_optime a, struct hf_mongo_optime b)
{
    return hf_mongo_ts_compare(a.ts, b.ts) == 0 && a.term == b.term;
}

/* ---- Batches ---- */

void hf_mongo_tail_batch_destroy(struct hf_mongo_tail_batch *batch)
{
    if (batch != NULL) {
        bson_free(batch->reply);
        hf_free(batch);
    }
}

struct hf_mongo_tail_batch_facts hf_mongo_tail_batch_facts(const struct hf_mongo_tail_batch *batch)
{
    return batch->facts;
}

/*
 * The next document of an array's elements: type, name, NUL, the document. False at the end of them, or at something else:
 * then `left` is more than the closing NUL. By hand, because the library's iterator cannot lie in memory of ours: it asks for
 * more alignment than allocations have.
 */
static bool next_document(struct hf_bytes *left, struct hf_bytes *document)
{
    const uint8_t *end_of_name =
        left->len == 0 || left->data[0] != 0x03 ? NULL : memchr(left->data, '\0', left->len);
    size_t at = end_of_name == NULL ? 0 : (size_t)(end_of_name - left->data) + 1;

    if (end_of_name == NULL || left->len - at < HF_SLICE_ENTRY_MIN_BYTES) {
        return false;
    }
    size_t len = hf_load_le32(left->data + at);
    if (len < HF_SLICE_ENTRY_MIN_BYTES || len > left->len - at) {
        return false;
    }
    *document = hf_bytes_of(left->data + at, len);
    *left = hf_bytes_of(left->data + at + len, left->len - at - len);
    return true;
}

bool hf_mongo_tail_batch_next(struct hf_mongo_tail_batch *batch, struct hf_bytes *entry)
{
    return next_document(&batch->left, entry);
}

/* ---- The connection ---- */

static void drop_stretch(struct hf_mongo_tail *tail)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t ids;
    struct hf_error ignored;

    if (tail->cursor != 0 && tail->client != NULL) {
        (void)BSON_APPEND_UTF8(&command, "killCursors", "oplog.rs");
        (void)BSON_APPEND_ARRAY_BEGIN(&command, "cursors", &ids);
        (void)BSON_APPEND_INT64(&ids, "0", tail->cursor);
        (void)bson_append_array_end(&command, &ids);
        /* The server forgets an idle cursor by itself. */
        (void)!hf_mongo_command(tail->client, "local", &command,
                                tail->in_session ? &tail->session : NULL, &reply, &ignored);
    }
    tail->cursor = 0;
}

static void disconnect(struct hf_mongo_tail *tail)
{
    tail->cursor = 0;
    if (tail->in_session) {
        hf_mongo_session_fini(&tail->session);
        tail->in_session = false;
    }
    hf_mongo_client_close(HF_TAKE(tail->client));
}

static enum hf_err connect_tail(struct hf_mongo_tail *tail, struct hf_error *err)
{
    struct hf_error ignored;

    if (tail->client != NULL) {
        return HF_ERR_OK;
    }
    if (hf_mongo_client_open(&tail->options.client, &tail->client, err) != HF_ERR_OK) {
        return err->code;
    }
    /* A getMore has to come from the session of its cursor (50738). */
    tail->in_session = hf_mongo_session_start(tail->client, &tail->session, &ignored) == HF_ERR_OK;
    return HF_ERR_OK;
}

/* What a stretch ran into is no verdict on the place: only a missing entry is. */
static enum hf_err interrupted(struct hf_mongo_tail *tail, struct hf_error *err)
{
    if (err->code != HF_ERR_NO_MEMORY && err->code != HF_ERR_CANCELLED &&
        err->code != HF_ERR_DENIED && err->code != HF_ERR_UNAUTHENTICATED) {
        err->code = HF_ERR_UNAVAILABLE;
    }
    disconnect(tail);
    return hf_wrap(err, "tail the oplog");
}

/* A member that can be read, of the set that is meant. */
static enum hf_err ask(struct hf_mongo_tail *tail, struct hf_mongo_hello *hello,
                       struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    if (connect_tail(tail, err) != HF_ERR_OK) {
        return interrupted(tail, err);
    }
    bson_destroy(&reply);
    if (hf_mongo_hello(tail->client, &reply, err) != HF_ERR_OK ||
        hf_mongo_parse_hello(&reply, hello, err) != HF_ERR_OK) {
        return interrupted(tail, err);
    }
    if (!hello->primary && !hello->secondary) {
        drop_stretch(tail);
        return hf_fail(err, HF_ERR_UNAVAILABLE,
                       "%s is neither primary nor secondary now; hint: it recovers, rolls back, or "
                       "was removed from its set",
                       tail->client->host);
    }
    if (tail->options.set_name != NULL && strcmp(hello->set_name, tail->options.set_name) != 0) {
        drop_stretch(tail);
        return hf_fail(err, HF_ERR_CONFLICT, "%s belongs to set %s now, not to %s",
                       tail->client->host, hello->set_name, tail->options.set_name);
    }
    if (!hf_mongo_ts_is_null(hello->majority.ts)) {
        tail->committed = hello->majority;
    }
    return HF_ERR_OK;
}

/* ---- A stretch ---- */

/*
 * The member's newest entry is older than the place. A member that lags catches up; but an entry that was committed is
 * on every primary, so a primary without it, or with a heartbeat that says so for longer than one may be old, has another
 * history.
 */
static enum hf_err judge_behind(struct hf_mongo_tail *tail, const struct hf_mongo_hello *hello,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_mongo_set *set = hf_alloc_zero(sizeof *set);
    uint64_t now_ms = hf_clock_mono_ms();
    uint64_t limit_ms =
        tail->options.behind_ms != 0 ? tail->options.behind_ms : HF_MONGO_TAIL_BEHIND_MS;

    if (set == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_mongo_set_read(tail->client, set, err) != HF_ERR_OK) {
        return interrupted(tail, err);
    }
    const struct hf_mongo_member *primary = hf_mongo_set_member(set, set->primary);
    bool lacks = primary != NULL && primary->healthy && !hf_mongo_ts_is_null(primary->optime.ts) &&
                 hf_mongo_ts_compare(primary->optime.ts, tail->at.ts) < 0;
    if (!lacks) {
        tail->behind_since_ms = 0;
    } else if (tail->behind_since_ms == 0) {
        tail->behind_since_ms = now_ms;
    }
    if (lacks && (hello->primary || now_ms - tail->behind_since_ms >= limit_ms)) {
        tail->behind_since_ms = 0;
        return hf_fail(err, HF_ERR_LOST,
                       "%s: the newest entry of the set, (%u, %u), is older than (%u, %u)",
                       tail->client->host, primary->optime.ts.seconds, primary->optime.ts.increment,
                       tail->at.ts.seconds, tail->at.ts.increment);
    }
    return hf_fail(err, HF_ERR_UNAVAILABLE,
                   "%s has entries up to (%u, %u) only, and is to go on behind (%u, %u): it lags",
                   tail->client->host, hello->last_write.ts.seconds, hello->last_write.ts.increment,
                   tail->at.ts.seconds, tail->at.ts.increment);
}

static enum hf_err missing(struct hf_mongo_tail *tail, struct hf_error *err)
{
    drop_stretch(tail);
    return hf_fail(err, HF_ERR_LOST, "%s: the oplog does not have the entry (%u, %u) of term %lld",
                   tail->client->host, tail->at.ts.seconds, tail->at.ts.increment,
                   (long long)tail->at.term);
}

/* ts null when the bytes are no document with one. */
static struct hf_mongo_optime optime_of(struct hf_bytes bytes)
{
    bson_t document;

    if (!bson_init_static(&document, bytes.data, bytes.len)) {
        return (struct hf_mongo_optime){.term = -1};
    }
    /* The first entry of a set has no term (observed 5). */
    return (struct hf_mongo_optime){.ts = hf_mongo_get_ts(&document, "ts"),
                                    .term = hf_mongo_get_int(&document, "t", -1)};
}

/* Counts the documents that follow, and reads the last one's optime. */
static enum hf_err count(struct hf_mongo_tail_batch *batch, struct hf_error *err)
{
    struct hf_mongo_optime last = {.term = -1};
    struct hf_bytes left = batch->left, document = hf_bytes_of(NULL, 0);

    while (next_document(&left, &document)) {
        batch->facts.entries++;
        batch->facts.bytes += document.len;
    }
    if (left.len != 1) {
        return hf_fail(err, HF_ERR_CORRUPT, "a batch has something that is no document");
    }
    if (batch->facts.entries > 0) {
        last = optime_of(document);
        if (hf_mongo_ts_is_null(last.ts)) {
            return hf_fail(err, HF_ERR_CORRUPT, "an oplog entry without ts");
        }
    }
    batch->facts.last = plain(last);
    return HF_ERR_OK;
}

/* The entry at the place comes first. It is handed out only where that was not done yet. */
static enum hf_err check_first(struct hf_mongo_tail *tail, struct hf_mongo_tail_batch *batch,
                               struct hf_error *err)
{
    struct hf_bytes left = batch->left, document;

    if (!next_document(&left, &document) || !same(optime_of(document), tail->at)) {
        return missing(tail, err);
    }
    if (!tail->inclusive) {
        batch->left = left;
    }
    tail->at_is_next = false;
    return HF_ERR_OK;
}

/* The elements of the array at path, within the reply, whose bytes the batch takes. */
static bool take_documents(struct hf_mongo_tail_batch *batch, bson_t *reply, const char *path)
{
    bson_t documents;
    uint32_t len = 0;

    batch->reply = bson_destroy_with_steal(reply, true, &len);
    bson_init(reply);
    bson_t whole;
    if (batch->reply == NULL || !bson_init_static(&whole, batch->reply, len) ||
        !hf_mongo_get_doc(&whole, path, &documents)) {
        return false;
    }
    batch->left = hf_bytes_of(bson_get_data(&documents) + 4, documents.len - 4);
    return true;
}

/* Runs the command and takes what it brought. *out stays NULL when that was nothing new. */
static enum hf_err take_reply(struct hf_mongo_tail *tail, const bson_t *command, const char *path,
                              struct hf_mongo_tail_batch **out, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    HF_CLEANUP(hf_mongo_tail_batch_destroy)
    struct hf_mongo_tail_batch *batch = hf_alloc_zero(sizeof *batch);
    size_t aim =
        tail->options.batch_bytes != 0 ? tail->options.batch_bytes : HF_MONGO_TAIL_BATCH_BYTES;

    if (batch == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    bson_destroy(&reply);
    if (hf_mongo_command(tail->client, "local", command, tail->in_session ? &tail->session : NULL,
                         &reply, err) != HF_ERR_OK) {
        return interrupted(tail, err);
    }
    tail->cursor = hf_mongo_get_int(&reply, "cursor.id", 0);
    if (!take_documents(batch, &reply, path)) {
        (void)hf_fail(err, HF_ERR_CORRUPT, "%s: a cursor's reply without %s", tail->client->host,
                      path);
        return interrupted(tail, err);
    }
    if (tail->at_is_next && check_first(tail, batch, err) != HF_ERR_OK) {
        return err->code;
    }
    if (count(batch, err) != HF_ERR_OK) {
        (void)hf_wrap(err, "%s", tail->client->host);
        return interrupted(tail, err);
    }
    const struct hf_mongo_tail_batch_facts *facts = &batch->facts;
    if (facts->entries == 0) {
        return HF_ERR_OK;
    }
    batch->facts.committed = plain(tail->committed);
    tail->docs = aim * facts->entries / facts->bytes;
    tail->docs = tail->docs < 1 ? 1 : tail->docs > DOCS_MAX ? DOCS_MAX : tail->docs;
    hf_mongo_tail_from(tail, facts->last);
    *out = HF_TAKE(batch);
    return HF_ERR_OK;
}

static enum hf_err begin_stretch(struct hf_mongo_tail *tail, struct hf_mongo_tail_batch **out,
                                 struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    struct hf_mongo_hello hello;
    bson_t filter, part;

    if (ask(tail, &hello, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_mongo_optime bound = hello.majority;
    if (hf_mongo_ts_compare(hello.last_write.ts, tail->at.ts) < 0) {
        return judge_behind(tail, &hello, err);
    }
    tail->behind_since_ms = 0;
    if (hf_mongo_ts_compare(bound.ts, tail->at.ts) == 0 && bound.term != tail->at.term) {
        return missing(tail, err);
    }
    if (hf_mongo_ts_compare(bound.ts, tail->at.ts) < (tail->inclusive ? 0 : 1)) {
        return HF_ERR_OK;
    }
    (void)BSON_APPEND_UTF8(&command, "find", "oplog.rs");
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&filter, "ts", &part);
    (void)BSON_APPEND_TIMESTAMP(&part, "$gte", tail->at.ts.seconds, tail->at.ts.increment);
    (void)BSON_APPEND_TIMESTAMP(&part, "$lte", bound.ts.seconds, bound.ts.increment);
    (void)bson_append_document_end(&filter, &part);
    (void)bson_append_document_end(&command, &filter);
    (void)BSON_APPEND_INT64(&command, "batchSize", (int64_t)tail->docs + 1);
    /* Before 4.4 a server finds the place by it; later ones do so anyway, and pass it over. */
    (void)BSON_APPEND_BOOL(&command, "oplogReplay", true);
    tail->at_is_next = true;
    return take_reply(tail, &command, "cursor.firstBatch", out, err);
}

static enum hf_err go_on(struct hf_mongo_tail *tail, struct hf_mongo_tail_batch **out,
                         struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;

    (void)BSON_APPEND_INT64(&command, "getMore", tail->cursor);
    (void)BSON_APPEND_UTF8(&command, "collection", "oplog.rs");
    (void)BSON_APPEND_INT64(&command, "batchSize", (int64_t)tail->docs);
    return take_reply(tail, &command, "cursor.nextBatch", out, err);
}

enum hf_err hf_mongo_tail_read(struct hf_mongo_tail *tail, uint64_t wait_ms,
                               struct hf_mongo_tail_batch **out, struct hf_error *err)
{
    uint64_t until_ms = hf_clock_mono_ms() + wait_ms, pause_ms = PAUSE_FIRST_MS;

    *out = NULL;
    for (;;) {
        if (hf_cancel_check(tail->options.cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        enum hf_err code =
            tail->cursor != 0 ? go_on(tail, out, err) : begin_stretch(tail, out, err);
        if (code != HF_ERR_OK || *out != NULL) {
            return code;
        }
        uint64_t now_ms = hf_clock_mono_ms();
        if (tail->cursor == 0 && now_ms >= until_ms) {
            return HF_ERR_OK;
        }
        if (tail->cursor == 0) {
            hf_cancel_sleep(tail->options.cancel,
                            until_ms - now_ms < pause_ms ? until_ms - now_ms : pause_ms);
            pause_ms = pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms * 2;
        }
    }
}

/* ---- The place ---- */

void hf_mongo_tail_from(struct hf_mongo_tail *tail, struct hf_optime previous)
{
    tail->at = (struct hf_mongo_optime){
        .ts = {.seconds = previous.seconds, .increment = previous.increment},
        .term = previous.term};
    tail->inclusive = false;
}

enum hf_err hf_mongo_tail_from_committed(struct hf_mongo_tail *tail, uint32_t lead_s,
                                         struct hf_error *err)
{
    struct hf_mongo_hello hello;

    drop_stretch(tail);
    if (ask(tail, &hello, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_ts_is_null(hello.majority.ts)) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: nothing is majority committed yet",
                       tail->client->host);
    }
    tail->at = hello.majority;
    tail->inclusive = true;
    if (lead_s == 0) {
        return HF_ERR_OK;
    }
    /* The committed one is there, so there is a first one up to it. */
    struct hf_mongo_ts from = {
        .seconds = hello.majority.ts.seconds > lead_s ? hello.majority.ts.seconds - lead_s : 0};
    if (hf_mongo_oplog_find_from(tail->client, from, &tail->at, err) != HF_ERR_OK) {
        return interrupted(tail, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_tail_from_oldest(struct hf_mongo_tail *tail, struct hf_error *err)
{
    struct hf_mongo_oplog_window window;
    struct hf_mongo_hello hello;

    drop_stretch(tail);
    if (ask(tail, &hello, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_oplog_window(tail->client, &window, err) != HF_ERR_OK) {
        return interrupted(tail, err);
    }
    tail->at = window.oldest;
    tail->inclusive = true;
    return HF_ERR_OK;
}

enum hf_err hf_mongo_tail_why(struct hf_mongo_tail *tail, enum hf_chain_cause *cause,
                              struct hf_error *err)
{
    struct hf_mongo_oplog_window window;
    struct hf_mongo_hello hello;
    struct hf_mongo_optime found;

    drop_stretch(tail);
    if (ask(tail, &hello, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_oplog_window(tail->client, &window, err) != HF_ERR_OK) {
        return interrupted(tail, err);
    }
    if (hf_mongo_ts_compare(tail->at.ts, window.oldest.ts) < 0) {
        /* An oplog that still has the entry that began its set has lost nothing: it never had it. */
        *cause = window.begins_the_set ? HF_CHAIN_RECREATED : HF_CHAIN_ROLLED_OVER;
        return HF_ERR_OK;
    }
    if (hf_mongo_ts_compare(tail->at.ts, window.newest.ts) > 0) {
        *cause = HF_CHAIN_RECREATED;
        return HF_ERR_OK;
    }
    enum hf_err code = hf_mongo_oplog_find(tail->client, tail->at.ts, &found, err);
    if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
        return interrupted(tail, err);
    }
    if (code == HF_ERR_OK && found.term == tail->at.term) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: the entry (%u, %u) is there again",
                       tail->client->host, found.ts.seconds, found.ts.increment);
    }
    *cause = HF_CHAIN_ROLLBACK;
    return HF_ERR_OK;
}

struct hf_optime hf_mongo_tail_committed(const struct hf_mongo_tail *tail)
{
    return plain(tail->committed);
}

enum hf_err hf_mongo_tail_fcv(struct hf_mongo_tail *tail, char *out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_mongo_facts *facts = hf_alloc_zero(sizeof *facts);

    if (facts == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (connect_tail(tail, err) != HF_ERR_OK ||
        hf_mongo_read_fcv(tail->client, facts, err) != HF_ERR_OK) {
        return interrupted(tail, err);
    }
    (void)snprintf(out, HF_WORD_BYTES, "%.63s", facts->fcv_target[0] == '\0' ? facts->fcv : "");
    return HF_ERR_OK;
}

/* ---- Life ---- */

enum hf_err hf_mongo_tail_create(const struct hf_mongo_tail_options *options,
                                 struct hf_mongo_tail **out, struct hf_error *err)
{
    struct hf_mongo_tail *tail = hf_alloc_zero(sizeof *tail);

    if (tail == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    tail->options = *options;
    if (tail->options.client.socket_timeout_ms == 0) {
        tail->options.client.socket_timeout_ms = SOCKET_TIMEOUT_MS;
    }
    tail->docs = FIRST_DOCS;
    *out = tail;
    return HF_ERR_OK;
}

void hf_mongo_tail_destroy(struct hf_mongo_tail *tail)
{
    if (tail != NULL) {
        drop_stretch(tail);
        disconnect(tail);
        hf_free(tail);
    }
}
