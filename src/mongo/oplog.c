/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in the oplog of one member. Waiting is done here, on the client's side, by polling hello: a wait inside the
 * server kills it when it is interrupted (observed 2). Must not know what the points are for.
 */
#include "mongo/oplog.h"

#include <string.h>

#include "mongo/client_internal.h"
#include "mongo/hello_internal.h"
#include "os/clock.h"

#define POLL_MS 100
#define RECONNECT_MS 1000

enum hf_err hf_mongo_last_write(struct hf_mongo_client *client, struct hf_mongo_optime *applied,
                                struct hf_mongo_optime *majority, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    struct hf_mongo_hello hello;

    bson_destroy(&reply);
    if (hf_mongo_hello(client, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_parse_hello(&reply, &hello, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", client->host);
    }
    if (applied != NULL) {
        *applied = hello.last_write;
    }
    if (majority != NULL) {
        *majority = hello.majority;
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_wait_majority(struct hf_mongo_client *client, struct hf_mongo_ts ts,
                                   uint64_t limit_ms, const struct hf_cancel *cancel,
                                   struct hf_mongo_optime *majority, struct hf_error *err)
{
    uint64_t deadline = hf_clock_mono_ms() + limit_ms;

    for (;;) {
        struct hf_mongo_optime seen = {.term = -1};

        enum hf_err result = hf_mongo_last_write(client, NULL, &seen, err);
        if (result == HF_ERR_OK && hf_mongo_ts_compare(seen.ts, ts) >= 0) {
            if (majority != NULL) {
                *majority = seen;
            }
            return HF_ERR_OK;
        }
        if (result != HF_ERR_OK && !hf_err_retry(result)) {
            return hf_wrap(err, "wait for the majority");
        }
        if (hf_clock_mono_ms() >= deadline) {
            return result != HF_ERR_OK
                       ? hf_wrap(err, "wait for the majority")
                       : hf_fail(err, HF_ERR_TIMEOUT,
                                 "%s: (%u, %u) was not majority committed within %llu ms, only "
                                 "(%u, %u); hint: is a majority of the members up and not too far "
                                 "behind?",
                                 client->host, ts.seconds, ts.increment,
                                 (unsigned long long)limit_ms, seen.ts.seconds, seen.ts.increment);
        }
        hf_cancel_sleep(cancel, result == HF_ERR_OK ? POLL_MS : RECONNECT_MS);
        if (hf_cancel_check(cancel, err) != HF_ERR_OK) {
            return hf_wrap(err, "%s: wait for the majority", client->host);
        }
    }
}

struct entry_visit {
    struct hf_mongo_optime optime;
    bool found, initiates;
};

static enum hf_err visit_entry(void *argument, const bson_t *document, struct hf_error *err)
{
    struct entry_visit *visit = argument;

    visit->optime.ts = hf_mongo_get_ts(document, "ts");
    /* The first entry of a set has none (observed 5). */
    visit->optime.term = hf_mongo_get_int(document, "t", -1);
    visit->found = true;
    const char *text = hf_mongo_get_text(document, "o.msg");
    visit->initiates =
        visit->optime.term == -1 && text != NULL && strcmp(text, "initiating set") == 0;
    if (hf_mongo_ts_is_null(visit->optime.ts)) {
        return hf_fail(err, HF_ERR_CORRUPT, "an oplog entry without ts");
    }
    return HF_ERR_OK;
}

enum wanted_entry { ENTRY_AT, ENTRY_FROM, ENTRY_OLDEST, ENTRY_NEWEST };

/* ts for the first two. Only what the visit reads is fetched. */
static enum hf_err find_entry(struct hf_mongo_client *client, enum wanted_entry which,
                              const struct hf_mongo_ts *ts, struct entry_visit *visit,
                              struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    bson_t filter;
    bson_t part;

    *visit = (struct entry_visit){.found = false};
    (void)BSON_APPEND_UTF8(&command, "find", "oplog.rs");
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &filter);
    if (which == ENTRY_AT) {
        (void)BSON_APPEND_TIMESTAMP(&filter, "ts", ts->seconds, ts->increment);
    } else if (which == ENTRY_FROM) {
        (void)BSON_APPEND_DOCUMENT_BEGIN(&filter, "ts", &part);
        (void)BSON_APPEND_TIMESTAMP(&part, "$gte", ts->seconds, ts->increment);
        (void)bson_append_document_end(&filter, &part);
    }
    (void)bson_append_document_end(&command, &filter);
    if (which == ENTRY_FROM) {
        /* Before 4.4 a server finds the place by it; later ones do so anyway, and pass it over. */
        (void)BSON_APPEND_BOOL(&command, "oplogReplay", true);
    } else if (which != ENTRY_AT) {
        (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "sort", &part);
        (void)BSON_APPEND_INT32(&part, "$natural", which == ENTRY_OLDEST ? 1 : -1);
        (void)bson_append_document_end(&command, &part);
    }
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "projection", &part);
    (void)BSON_APPEND_INT32(&part, "ts", 1);
    (void)BSON_APPEND_INT32(&part, "t", 1);
    (void)BSON_APPEND_INT32(&part, "o.msg", 1);
    (void)bson_append_document_end(&command, &part);
    (void)BSON_APPEND_INT32(&command, "limit", 1);
    (void)BSON_APPEND_BOOL(&command, "singleBatch", true);
    if (hf_mongo_walk(client, "local", &command, visit_entry, visit, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog");
    }
    if (!visit->found) {
        return ts != NULL ? hf_fail(err, HF_ERR_NOT_FOUND, "%s: the oplog has no entry (%u, %u)%s",
                                    client->host, ts->seconds, ts->increment,
                                    which == ENTRY_FROM ? " or later" : "")
                          : hf_fail(err, HF_ERR_NOT_FOUND, "%s: the oplog is empty", client->host);
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_oplog_find(struct hf_mongo_client *client, struct hf_mongo_ts ts,
                                struct hf_mongo_optime *out, struct hf_error *err)
{
    struct entry_visit visit;

    if (find_entry(client, ENTRY_AT, &ts, &visit, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = visit.optime;
    return HF_ERR_OK;
}

enum hf_err hf_mongo_oplog_find_from(struct hf_mongo_client *client, struct hf_mongo_ts ts,
                                     struct hf_mongo_optime *out, struct hf_error *err)
{
    struct entry_visit visit;

    if (find_entry(client, ENTRY_FROM, &ts, &visit, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = visit.optime;
    return HF_ERR_OK;
}

enum hf_err hf_mongo_oplog_last(struct hf_mongo_client *client, struct hf_mongo_optime *out,
                                struct hf_error *err)
{
    struct entry_visit visit;

    if (find_entry(client, ENTRY_NEWEST, NULL, &visit, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = visit.optime;
    return HF_ERR_OK;
}

enum hf_err hf_mongo_oplog_window(struct hf_mongo_client *client, struct hf_mongo_oplog_window *out,
                                  struct hf_error *err)
{
    struct entry_visit first, last;

    if (find_entry(client, ENTRY_OLDEST, NULL, &first, err) != HF_ERR_OK ||
        find_entry(client, ENTRY_NEWEST, NULL, &last, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = (struct hf_mongo_oplog_window){
        .oldest = first.optime, .newest = last.optime, .begins_the_set = first.initiates};
    return HF_ERR_OK;
}

enum hf_err hf_mongo_oplog_confirm(struct hf_mongo_client *client, struct hf_mongo_optime optime,
                                   struct hf_error *err)
{
    struct hf_mongo_optime seen;

    enum hf_err result = hf_mongo_oplog_find(client, optime.ts, &seen, err);
    if (result == HF_ERR_NOT_FOUND) {
        struct hf_error missing = *err;
        return hf_fail(err, HF_ERR_LOST, "%s: rolled back, or it has left the oplog",
                       missing.message);
    }
    if (result != HF_ERR_OK) {
        return result;
    }
    if (seen.term != optime.term) {
        return hf_fail(err, HF_ERR_LOST,
                       "%s: the entry (%u, %u) has term %lld, not %lld: it was rolled back",
                       client->host, optime.ts.seconds, optime.ts.increment, (long long)seen.term,
                       (long long)optime.term);
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_append_note(struct hf_mongo_client *client, const char *text,
                                 struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t data;

    (void)BSON_APPEND_INT32(&command, "appendOplogNote", 1);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "data", &data);
    (void)BSON_APPEND_UTF8(&data, "msg", text);
    (void)bson_append_document_end(&command, &data);
    return hf_mongo_command(client, "admin", &command, NULL, &reply, err);
}
