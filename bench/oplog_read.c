/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast can a member's oplog be read from its oldest entry to its commit point? With the driver's own cursor, which is what the
 * tail is measured against, and with the tail's reader, which ends where the rest of a tail begins.
 *
 *   oplog_read plain|tail HOST
 */
#include <stdio.h>
#include <string.h>

#include "mongo/client_internal.h"
#include "mongo/oplog.h"
#include "mongo/oplog_tail.h"
#include "os/clock.h"

struct sum {
    uint64_t entries, bytes;
};

static enum hf_err read_plain(const char *host, struct sum *sum, struct hf_error *err)
{
    const struct hf_mongo_options options = {.host = host};
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_mongo_optime last;
    const bson_t *document;
    bson_error_t error;

    if (hf_mongo_client_open(&options, &client, err) != HF_ERR_OK ||
        hf_mongo_oplog_last(client, &last, err) != HF_ERR_OK) {
        return err->code;
    }
    mongoc_collection_t *oplog = mongoc_client_get_collection(client->driver, "local", "oplog.rs");
    bson_t *filter =
        BCON_NEW("ts", "{", "$lte", BCON_TIMESTAMP(last.ts.seconds, last.ts.increment), "}");
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(oplog, filter, NULL, NULL);
    while (mongoc_cursor_next(cursor, &document)) {
        sum->entries++;
        sum->bytes += document->len;
    }
    enum hf_err code = mongoc_cursor_error(cursor, &error)
                           ? hf_fail(err, HF_ERR_UNAVAILABLE, "%s", error.message)
                           : HF_ERR_OK;
    mongoc_cursor_destroy(cursor);
    bson_destroy(filter);
    mongoc_collection_destroy(oplog);
    return code;
}

static enum hf_err read_tail(const char *host, struct sum *sum, struct hf_error *err)
{
    const struct hf_mongo_tail_options options = {.client = {.host = host}};
    HF_CLEANUP(hf_mongo_tail_destroy) struct hf_mongo_tail *tail = NULL;

    if (hf_mongo_tail_create(&options, &tail, err) != HF_ERR_OK ||
        hf_mongo_tail_from_oldest(tail, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        HF_CLEANUP(hf_mongo_tail_batch_destroy) struct hf_mongo_tail_batch *batch = NULL;
        struct hf_bytes entry;
        if (hf_mongo_tail_read(tail, 0, &batch, err) != HF_ERR_OK) {
            return err->code;
        }
        if (batch == NULL) {
            return HF_ERR_OK;
        }
        while (hf_mongo_tail_batch_next(batch, &entry)) {
            sum->entries++;
            sum->bytes += entry.len;
        }
    }
}

int main(int argc, char **argv)
{
    struct sum sum = {0, 0};
    struct hf_error err;

    if (argc != 3 || (strcmp(argv[1], "plain") != 0 && strcmp(argv[1], "tail") != 0)) {
        (void)fprintf(stderr, "usage: oplog_read plain|tail HOST\n");
        return 2;
    }
    uint64_t began_ms = hf_clock_mono_ms();
    enum hf_err code = strcmp(argv[1], "plain") == 0 ? read_plain(argv[2], &sum, &err)
                                                     : read_tail(argv[2], &sum, &err);
    uint64_t took_ms = hf_clock_mono_ms() - began_ms;
    if (code != HF_ERR_OK) {
        (void)fprintf(stderr, "oplog_read: %s\n", err.message);
        return 1;
    }
    (void)printf("{\"entries\": %llu, \"bytes\": %llu, \"ms\": %llu}\n",
                 (unsigned long long)sum.entries, (unsigned long long)sum.bytes,
                 (unsigned long long)took_ms);
    return 0;
}
