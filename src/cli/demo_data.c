/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo's data: what is loaded and changed in phases, and a writer that never pauses and keeps a journal.
 *
 * An ordinary server cannot be asked for its past: the journal is how the demo knows what was there at a snapshot's time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/api.h"
#include "cli/demo_internal.h"
#include "mongo/oplog.h"
#include "os/clock.h"

#define DOCUMENTS 1000
#define DEFINE_EVERY 200
#define MADE_KEPT 3
#define JOURNAL_MAX ((size_t)2000000)
#define PAUSE_MS 2
#define CHECKPOINT_LIMIT_MS 120000
#define WRITES_LIMIT_MS 60000

/* ---- The writer ---- */

struct hf_demo_writer {
    struct hf_mongo_client *client;
    struct hf_thread *thread;
    struct hf_cancel stop;
    struct hf_mutex mutex; /* guards: journal, count, error */
    struct hf_demo_write *journal;
    size_t count, capacity;
    struct hf_error error;
};

static enum hf_err note(struct hf_demo_writer *writer, const struct hf_demo_write *write,
                        struct hf_error *err)
{
    HF_LOCKED(&writer->mutex);
    if (writer->count == writer->capacity) {
        size_t capacity = writer->capacity == 0 ? 4096 : writer->capacity * 2;
        struct hf_demo_write *more =
            capacity > JOURNAL_MAX ? NULL
                                   : hf_realloc_array(writer->journal, capacity, sizeof *more);
        if (more == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "the journal is full");
        }
        writer->journal = more;
        writer->capacity = capacity;
    }
    writer->journal[writer->count++] = *write;
    return HF_ERR_OK;
}

static enum hf_err put_one(struct hf_demo_writer *writer, int64_t id, int64_t value,
                           struct hf_error *err)
{
    struct hf_demo_write write = {.kind = HF_DEMO_PUT, .id = id, .value = value};
    struct hf_mongo_optime optime;
    char command[512];

    (void)snprintf(command, sizeof command,
                   "{\"update\":\"writes\",\"updates\":[{\"q\":{\"_id\":{\"$numberLong\":\"%lld\"}}"
                   ",\"u\":{\"_id\":"
                   "{\"$numberLong\":\"%lld\"},\"value\":{\"$numberLong\":\"%lld\"},\"text\":"
                   "\"value %lld of document "
                   "%lld\"},\"upsert\":true}]}",
                   (long long)id, (long long)id, (long long)value, (long long)value, (long long)id);
    if (hf_mongo_write(writer->client, "journal", command, &optime, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    write.ts = optime.ts;
    return note(writer, &write, err);
}

static enum hf_err remove_one(struct hf_demo_writer *writer, int64_t id, struct hf_error *err)
{
    struct hf_demo_write write = {.kind = HF_DEMO_REMOVE, .id = id};
    struct hf_mongo_optime optime;
    char command[256];

    (void)snprintf(command, sizeof command,
                   "{\"delete\":\"writes\",\"deletes\":[{\"q\":{\"_id\":{\"$numberLong\":\"%lld\"}}"
                   ",\"limit\":1}]}",
                   (long long)id);
    if (hf_mongo_write(writer->client, "journal", command, &optime, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    write.ts = optime.ts;
    return note(writer, &write, err);
}

static enum hf_err define(struct hf_demo_writer *writer, uint32_t number, struct hf_error *err)
{
    const struct hf_demo_write made = {.kind = HF_DEMO_CREATE, .collection = number};
    char command[64];

    (void)snprintf(command, sizeof command, "{\"create\":\"made_%u\"}", number);
    if (hf_mongo_run(writer->client, "journal", command, NULL, err) != HF_ERR_OK ||
        note(writer, &made, err) != HF_ERR_OK || number < MADE_KEPT) {
        return err->code;
    }
    const struct hf_demo_write dropped = {.kind = HF_DEMO_DROP, .collection = number - MADE_KEPT};
    (void)snprintf(command, sizeof command, "{\"drop\":\"made_%u\"}", number - MADE_KEPT);
    if (hf_mongo_run(writer->client, "journal", command, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return note(writer, &dropped, err);
}

static void write_loop(void *argument)
{
    struct hf_demo_writer *writer = argument;
    struct hf_error err;
    uint64_t state = 88172645463325252u;

    hf_error_clear(&err);
    for (int64_t n = 0; !hf_cancel_requested(&writer->stop); n++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        int64_t id = (int64_t)(state % DOCUMENTS);
        enum hf_err code = n % DEFINE_EVERY == 0
                               ? define(writer, (uint32_t)(n / DEFINE_EVERY), &err)
                           : n % 10 == 9 ? remove_one(writer, id, &err)
                                         : put_one(writer, id, n, &err);
        if (code != HF_ERR_OK) {
            HF_LOCKED(&writer->mutex);
            writer->error = err;
            return;
        }
        hf_cancel_sleep(&writer->stop, PAUSE_MS);
    }
}

enum hf_err hf_demo_writer_start(struct hf_demo *demo, struct hf_demo_writer **out,
                                 struct hf_error *err)
{
    struct hf_demo_writer *writer = hf_alloc_zero(sizeof *writer);

    if (writer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_mutex_init(&writer->mutex);
    hf_cancel_init(&writer->stop);
    if (hf_demo_primary(demo, &writer->client, err) != HF_ERR_OK ||
        hf_thread_start("hf-writer", write_loop, writer, &writer->thread, err) != HF_ERR_OK) {
        hf_demo_writer_destroy(writer);
        return err->code;
    }
    *out = writer;
    return HF_ERR_OK;
}

/* What ended the writer before it was asked to stop. */
static enum hf_err writer_error(struct hf_demo_writer *writer, struct hf_error *err)
{
    HF_LOCKED(&writer->mutex);
    if (writer->error.code != HF_ERR_OK) {
        *err = writer->error;
        return hf_wrap(err, "the demo's writer");
    }
    return HF_ERR_OK;
}

enum hf_err hf_demo_writer_stop(struct hf_demo_writer *writer, struct hf_error *err)
{
    hf_cancel_request(&writer->stop);
    hf_thread_join(HF_TAKE(writer->thread));
    return writer_error(writer, err);
}

void hf_demo_writer_destroy(struct hf_demo_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    hf_cancel_request(&writer->stop);
    hf_thread_join(writer->thread);
    hf_mongo_client_close(writer->client);
    hf_mutex_fini(&writer->mutex);
    hf_free(writer->journal);
    hf_free(writer);
}

uint64_t hf_demo_writer_count(struct hf_demo_writer *writer)
{
    HF_LOCKED(&writer->mutex);
    return writer->count;
}

enum hf_err hf_demo_writer_wait(struct hf_demo_writer *writer, uint64_t writes,
                                const struct hf_cancel *cancel, struct hf_error *err)
{
    uint64_t until_ms = hf_clock_mono_ms() + WRITES_LIMIT_MS;

    while (hf_demo_writer_count(writer) < writes) {
        if (hf_cancel_check(cancel, err) != HF_ERR_OK || writer_error(writer, err) != HF_ERR_OK) {
            return err->code;
        }
        if (hf_clock_mono_ms() > until_ms) {
            return hf_fail(err, HF_ERR_TIMEOUT,
                           "the demo's writer made %llu of %llu writes in %d s",
                           (unsigned long long)hf_demo_writer_count(writer),
                           (unsigned long long)writes, WRITES_LIMIT_MS / 1000);
        }
        hf_cancel_sleep(cancel, 10);
    }
    return HF_ERR_OK;
}

/* ---- Definitions out of the oplog ---- */

static bool number_of(const char *name, uint32_t *out)
{
    uint64_t number = 0;

    if (name == NULL || strncmp(name, "made_", 5) != 0 ||
        !hf_parse_u64(hf_str_of(name + 5), &number)) {
        return false;
    }
    *out = (uint32_t)number;
    return true;
}

static bool ts_of(const struct hf_json *entry, const char *key, struct hf_mongo_ts *out)
{
    const struct hf_json *inner = hf_json_get_object(hf_json_get_object(entry, key), "$timestamp");

    *out = (struct hf_mongo_ts){.seconds = (uint32_t)hf_json_get_u64(inner, "t", 0),
                                .increment = (uint32_t)hf_json_get_u64(inner, "i", 0)};
    return inner != NULL;
}

static enum hf_err take_entry(void *argument, struct hf_str document, struct hf_error *err)
{
    struct hf_demo_writer *writer = argument;
    HF_CLEANUP(hf_json_drop) struct hf_json *entry = NULL;
    struct hf_mongo_ts ts;
    uint32_t number = 0;

    if (hf_json_decode(document, (size_t)1 << 24, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *o = hf_json_get_object(entry, "o");
    bool made = number_of(hf_json_get_text(o, "create"), &number);
    if ((!made && !number_of(hf_json_get_text(o, "drop"), &number)) || !ts_of(entry, "ts", &ts)) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < writer->count; i++) {
        struct hf_demo_write *write = &writer->journal[i];
        if (write->kind == (made ? HF_DEMO_CREATE : HF_DEMO_DROP) && write->collection == number) {
            write->ts = ts;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_demo_writer_find_definitions(struct hf_demo_writer *writer, struct hf_demo *demo,
                                            struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;

    if (hf_demo_primary(demo, &client, err) != HF_ERR_OK ||
        hf_mongo_run_cursor(
            client, "local",
            "{\"find\":\"oplog.rs\",\"filter\":{\"op\":\"c\",\"ns\":\"journal.$cmd\"}}", take_entry,
            writer, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < writer->count; i++) {
        if (hf_mongo_ts_is_null(writer->journal[i].ts)) {
            return hf_fail(err, HF_ERR_INTERNAL, "the oplog does not show when made_%u was %s",
                           writer->journal[i].collection,
                           writer->journal[i].kind == HF_DEMO_CREATE ? "created" : "dropped");
        }
    }
    return HF_ERR_OK;
}

/* ---- What the journal says ---- */

struct replay {
    int64_t values[DOCUMENTS]; /* -1: not there */
    int64_t at;
};

static enum hf_err next_document(void *argument, uint64_t index, struct hf_mongo_doc *doc,
                                 bool *done, struct hf_error *err)
{
    struct replay *replay = argument;
    char text[96];

    (void)index;
    (void)err;
    while (replay->at < DOCUMENTS && replay->values[replay->at] < 0) {
        replay->at++;
    }
    if (replay->at == DOCUMENTS) {
        *done = true;
        return HF_ERR_OK;
    }
    int64_t id = replay->at++, value = replay->values[id];
    (void)snprintf(text, sizeof text, "value %lld of document %lld", (long long)value,
                   (long long)id);
    hf_mongo_doc_int64(doc, "_id", id);
    hf_mongo_doc_int64(doc, "value", value);
    hf_mongo_doc_text(doc, "text", hf_str_of(text));
    return HF_ERR_OK;
}

/* Collections that were made and not dropped by then. */
static enum hf_err replay_definitions(const struct hf_demo_writer *writer, struct hf_mongo_ts ts,
                                      struct hf_mongo_client *into, struct hf_error *err)
{
    for (size_t i = 0; i < writer->count; i++) {
        const struct hf_demo_write *write = &writer->journal[i];
        bool there = write->kind == HF_DEMO_CREATE && hf_mongo_ts_compare(write->ts, ts) <= 0;
        for (size_t k = i + 1; there && k < writer->count; k++) {
            there = !(writer->journal[k].kind == HF_DEMO_DROP &&
                      writer->journal[k].collection == write->collection &&
                      hf_mongo_ts_compare(writer->journal[k].ts, ts) <= 0);
        }
        if (there) {
            char command[64];
            (void)snprintf(command, sizeof command, "{\"create\":\"made_%u\"}", write->collection);
            if (hf_mongo_run(into, "journal", command, NULL, err) != HF_ERR_OK) {
                return err->code;
            }
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_demo_writer_replay(const struct hf_demo_writer *writer, struct hf_mongo_ts ts,
                                  struct hf_mongo_client *into, struct hf_error *err)
{
    struct replay replay = {.at = 0};
    const struct hf_mongo_insert_options options = {.database = "journal", .collection = "writes"};
    struct hf_mongo_insert_result result;
    bool written = false;

    for (size_t i = 0; i < DOCUMENTS; i++) {
        replay.values[i] = -1;
    }
    for (size_t i = 0; i < writer->count; i++) {
        const struct hf_demo_write *write = &writer->journal[i];
        if (hf_mongo_ts_compare(write->ts, ts) <= 0 &&
            (write->kind == HF_DEMO_PUT || write->kind == HF_DEMO_REMOVE)) {
            replay.values[write->id] = write->kind == HF_DEMO_PUT ? write->value : -1;
            written = written || write->kind == HF_DEMO_PUT;
        }
    }
    if (written &&
        (hf_mongo_run(into, "journal", "{\"create\":\"writes\"}", NULL, err) != HF_ERR_OK ||
         hf_mongo_insert_generated(into, &options, next_document, &replay, &result, err) !=
             HF_ERR_OK)) {
        return err->code;
    }
    return replay_definitions(writer, ts, into, err);
}

/* ---- Loading and changing ---- */

struct generator {
    uint64_t state;
    uint64_t first_id;
    uint64_t bytes_left;
    uint64_t bytes_each;
    void (*build)(struct generator *generator, uint64_t id, struct hf_mongo_doc *doc);
};

static uint64_t next_random(struct generator *generator)
{
    generator->state ^= generator->state << 13;
    generator->state ^= generator->state >> 7;
    generator->state ^= generator->state << 17;
    return generator->state;
}

static void build_order(struct generator *generator, uint64_t id, struct hf_mongo_doc *doc)
{
    static const char *const words[] = {
        "amber", "basalt",  "cedar", "delta",   "ember",  "fjord", "granite", "harbour",
        "iris",  "juniper", "kelp",  "lantern", "meadow", "north", "orchid",  "pebble"};
    char text[256] = "";
    size_t used = 0;

    for (unsigned i = 0; i < 20; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s ",
                                 words[next_random(generator) % HF_ARRAY_LEN(words)]);
    }
    hf_mongo_doc_int64(doc, "_id", (int64_t)id);
    hf_mongo_doc_text(doc, "customer",
                      hf_str_of(words[next_random(generator) % HF_ARRAY_LEN(words)]));
    hf_mongo_doc_int64(doc, "number", (int64_t)(next_random(generator) % 1000000));
    hf_mongo_doc_double(doc, "total", (double)(next_random(generator) % 100000) / 100);
    hf_mongo_doc_text(doc, "note", hf_str_of(text));
    hf_mongo_doc_begin_array(doc, "items");
    for (unsigned i = 0; i < 4; i++) {
        hf_mongo_doc_int32(doc, "", (int32_t)(next_random(generator) % 5000));
    }
    hf_mongo_doc_end(doc);
}

static void build_point(struct generator *generator, uint64_t id, struct hf_mongo_doc *doc)
{
    hf_mongo_doc_int64(doc, "_id", (int64_t)id);
    hf_mongo_doc_date(doc, "at", (int64_t)(1700000000000u + id * 1000));
    hf_mongo_doc_int32(doc, "sensor", (int32_t)(next_random(generator) % 200));
    hf_mongo_doc_double(doc, "value", (double)(next_random(generator) % 1000000) / 1000);
}

static void build_blob(struct generator *generator, uint64_t id, struct hf_mongo_doc *doc)
{
    uint64_t noise[4096];

    for (size_t i = 0; i < HF_ARRAY_LEN(noise); i++) {
        noise[i] = next_random(generator);
    }
    hf_mongo_doc_int64(doc, "_id", (int64_t)id);
    hf_mongo_doc_binary(doc, "data", hf_bytes_of(noise, sizeof noise));
}

static enum hf_err generate(void *argument, uint64_t index, struct hf_mongo_doc *doc, bool *done,
                            struct hf_error *err)
{
    struct generator *generator = argument;

    (void)err;
    if (generator->bytes_left < generator->bytes_each) {
        *done = true;
        return HF_ERR_OK;
    }
    generator->bytes_left -= generator->bytes_each;
    generator->build(generator, generator->first_id + index, doc);
    return HF_ERR_OK;
}

struct plan {
    const char *database, *collection;
    unsigned percent; /* of the size */
    uint64_t bytes_each;
    void (*build)(struct generator *generator, uint64_t id, struct hf_mongo_doc *doc);
};
static const struct plan plans[] = {
    {"shop", "orders", 55, 330, build_order},
    {"metrics", "points", 20, 75, build_point},
    {"files", "blobs", 25, 32800, build_blob},
};

static enum hf_err insert_phase(struct hf_mongo_client *client, unsigned phase, uint64_t size_bytes,
                                struct hf_demo_loaded *out, struct hf_error *err)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(plans); i++) {
        struct generator generator = {
            .state = 0x9e3779b97f4a7c15u + phase * 977 + i,
            .first_id = (uint64_t)phase * 1000000000u,
            /* Later phases add a hundredth. */
            .bytes_left = size_bytes / (phase == 0 ? 100 : 10000) * plans[i].percent,
            .bytes_each = plans[i].bytes_each,
            .build = plans[i].build,
        };
        const struct hf_mongo_insert_options options = {.database = plans[i].database,
                                                        .collection = plans[i].collection,
                                                        .cancel = hf_cli_cancel()};
        struct hf_mongo_insert_result result;
        if (hf_mongo_insert_generated(client, &options, generate, &generator, &result, err) !=
            HF_ERR_OK) {
            return err->code;
        }
        out->documents += result.documents;
        out->bytes += result.bytes;
    }
    return HF_ERR_OK;
}

struct statement {
    const char *database, *command;
};

static enum hf_err run_all(struct hf_mongo_client *client, const struct statement *statements,
                           size_t count, struct hf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (hf_mongo_run(client, statements[i].database, statements[i].command, NULL, err) !=
            HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static const struct statement first_definitions[] = {
    {"shop", "{\"createIndexes\":\"orders\",\"indexes\":[{\"key\":{\"customer\":1,\"number\":-1},"
             "\"name\":\"by_customer\"},"
             "{\"key\":{\"number\":1},\"name\":\"by_number\"}]}"},
    {"metrics", "{\"createIndexes\":\"points\",\"indexes\":[{\"key\":{\"sensor\":1,\"at\":1},"
                "\"name\":\"by_sensor\"}]}"},
    {"shop", "{\"create\":\"empty\"}"},
    {"shop", "{\"create\":\"to_be_dropped\"}"},
};
/* About one document in a hundred is changed, one in three hundred goes. */
static const struct statement changes[] = {
    {"shop", "{\"update\":\"orders\",\"updates\":[{\"q\":{\"_id\":{\"$mod\":[101,7]}},\"u\":{\"$"
             "set\":{\"note\":"
             "\"changed after the first snapshot\"},\"$inc\":{\"number\":1}},\"multi\":true}]}"},
    {"metrics",
     "{\"delete\":\"points\",\"deletes\":[{\"q\":{\"_id\":{\"$mod\":[307,11]}},\"limit\":0}]}"},
    {"shop", "{\"drop\":\"to_be_dropped\"}"},
    {"shop", "{\"create\":\"made_later\"}"},
    {"shop", "{\"dropIndexes\":\"orders\",\"index\":\"by_number\"}"},
};

enum hf_err hf_demo_load(struct hf_demo *demo, unsigned phase, uint64_t size_bytes,
                         struct hf_demo_loaded *out, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    const struct hf_mongo_data_options options = {.cancel = hf_cli_cancel()};
    struct hf_mongo_optime optime;

    if (hf_demo_primary(demo, &client, err) != HF_ERR_OK ||
        hf_mongo_last_write(client, &optime, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    out->first = optime.ts;
    if (insert_phase(client, phase, size_bytes, out, err) != HF_ERR_OK ||
        (phase == 0 ? run_all(client, first_definitions, HF_ARRAY_LEN(first_definitions), err)
                    : run_all(client, changes, HF_ARRAY_LEN(changes), err)) != HF_ERR_OK ||
        hf_mongo_last_write(client, &optime, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    out->last = optime.ts;
    return hf_mongo_data_read(client, &options, &out->data, err);
}

/* ---- Checkpoints ---- */

static enum hf_err checkpoint_one(const char *host, struct hf_mongo_ts ts, struct hf_error *err)
{
    const struct hf_mongo_options options = {.host = host, .socket_timeout_ms = 120000};
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    uint64_t until_ms = hf_clock_mono_ms() + CHECKPOINT_LIMIT_MS;

    if (hf_mongo_client_open(&options, &client, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf reply = HF_BUF_INIT((size_t)1 << 20);
        HF_CLEANUP(hf_json_drop) struct hf_json *status = NULL;
        struct hf_mongo_ts stable;

        if (hf_cancel_check(hf_cli_cancel(), err) != HF_ERR_OK ||
            hf_mongo_run(client, "admin", "{\"fsync\":1}", NULL, err) != HF_ERR_OK ||
            hf_mongo_run(client, "admin", "{\"replSetGetStatus\":1}", &reply, err) != HF_ERR_OK ||
            hf_json_decode((struct hf_str){(const char *)reply.data, reply.len}, (size_t)1 << 20,
                           &status, err) != HF_ERR_OK) {
            return err->code;
        }
        if (ts_of(status, "lastStableRecoveryTimestamp", &stable) &&
            hf_mongo_ts_compare(stable, ts) >= 0) {
            return HF_ERR_OK;
        }
        if (hf_clock_mono_ms() > until_ms) {
            return hf_fail(err, HF_ERR_TIMEOUT,
                           "%s made no checkpoint at or after (%u, %u) in %d s", host, ts.seconds,
                           ts.increment, CHECKPOINT_LIMIT_MS / 1000);
        }
        hf_cancel_sleep(hf_cli_cancel(), 250);
    }
}

enum hf_err hf_demo_checkpoint(struct hf_demo *demo, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_mongo_optime optime;

    if (hf_demo_primary(demo, &client, err) != HF_ERR_OK ||
        hf_mongo_last_write(client, &optime, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned i = 0; i < HF_DEMO_MEMBERS; i++) {
        if (checkpoint_one(hf_mongod_host(demo->members[i]), optime.ts, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}
