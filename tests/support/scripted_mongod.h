/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a mongod that plays a part. It knows just the commands that are said to a temporary server
 * (mongo/recover.h), starts at once, is of whatever release the directory says, and lies where it is told to. A test
 * program is this server itself when it is called with mongod's arguments: its main begins with scripted_mongod().
 *
 * What it holds stands in one file of the directory, written at a clean stop as a server would.
 */
#ifndef HF_TESTS_SCRIPTED_MONGOD_H
#define HF_TESTS_SCRIPTED_MONGOD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <arpa/inet.h>
#include <bson/bson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

#define SCRIPTED_ENTRIES_MAX 4096
#define SCRIPTED_FILE "scripted.bson"
#define SCRIPTED_ARGUMENTS                                                                         \
    "scripted.arguments" /* of each start, a line each; and changes of indexes */

struct scripted_ts {
    uint32_t t, i;
};

struct scripted_entry {
    bson_t *document;
    struct scripted_ts ts;
    int64_t term;
};

/* What a directory holds; a test makes one with scripted_write. */
struct scripted {
    char dir[1024];
    int version[3];
    bool many;                            /* knows startupRecoveryForRestore */
    bool half;                            /* a build of by_n was under way at the checkpoint */
    int by_n;                             /* 0: not there, 1: half made, 2: whole */
    char lie[32];                         /* what it does wrong; empty: nothing */
    struct scripted_ts checkpoint, point; /* point: oplogTruncateAfterPoint */
    struct scripted_ts seen_point;        /* the one that the last recovery found */
    struct scripted_entry begin;          /* document unused; ts 0: none */
    struct scripted_entry entries[SCRIPTED_ENTRIES_MAX];
    size_t count;
    bool stop;
};

static inline int scripted_compare(struct scripted_ts a, struct scripted_ts b)
{
    return a.t != b.t ? (a.t < b.t ? -1 : 1) : a.i != b.i ? (a.i < b.i ? -1 : 1) : 0;
}

static inline bool scripted_lies(const struct scripted *s, const char *lie)
{
    return strcmp(s->lie, lie) == 0;
}

static inline bool scripted_find(const bson_t *from, const char *path, bson_iter_t *out)
{
    bson_iter_t iter;
    return bson_iter_init(&iter, from) && bson_iter_find_descendant(&iter, path, out);
}

static inline struct scripted_ts scripted_get_ts(const bson_t *from, const char *path)
{
    struct scripted_ts ts = {0, 0};
    bson_iter_t iter;
    if (scripted_find(from, path, &iter) && BSON_ITER_HOLDS_TIMESTAMP(&iter)) {
        bson_iter_timestamp(&iter, &ts.t, &ts.i);
    }
    return ts;
}

static inline int64_t scripted_get_int(const bson_t *from, const char *path, int64_t fallback)
{
    bson_iter_t iter;
    return scripted_find(from, path, &iter) ? bson_iter_as_int64(&iter) : fallback;
}

static inline bool scripted_get_document(const bson_t *from, const char *path, bson_t *out)
{
    bson_iter_t iter;
    const uint8_t *data = NULL;
    uint32_t len = 0;
    if (!scripted_find(from, path, &iter)) {
        return false;
    }
    if (BSON_ITER_HOLDS_ARRAY(&iter)) {
        bson_iter_array(&iter, &len, &data);
    } else if (BSON_ITER_HOLDS_DOCUMENT(&iter)) {
        bson_iter_document(&iter, &len, &data);
    }
    return data != NULL && bson_init_static(out, data, len);
}

/* Takes document. */
static inline void scripted_add_take(struct scripted *s, bson_t *document)
{
    struct scripted_entry *entry = &s->entries[s->count++];
    assert_true(s->count < SCRIPTED_ENTRIES_MAX);
    *entry = (struct scripted_entry){.document = document,
                                     .ts = scripted_get_ts(document, "ts"),
                                     .term = scripted_get_int(document, "t", -1)};
}

static inline void scripted_remove(struct scripted *s, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        bson_destroy(s->entries[i].document);
    }
    memmove(s->entries + from, s->entries + from + count,
            (s->count - from - count) * sizeof *s->entries);
    s->count -= count;
}

static inline void scripted_fini(struct scripted *s)
{
    scripted_remove(s, 0, s->count);
}

/* ---- Its file ---- */

static inline void scripted_append_ts(bson_t *out, const char *key, struct scripted_ts ts)
{
    (void)bson_append_timestamp(out, key, -1, ts.t, ts.i);
}

static inline void scripted_write(const struct scripted *s)
{
    char path[1200];
    bson_t all = BSON_INITIALIZER;
    bson_t entries = BSON_INITIALIZER;
    (void)snprintf(path, sizeof path, "%s/" SCRIPTED_FILE, s->dir);
    for (size_t i = 0; i < s->count; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "%zu", i);
        (void)bson_append_document(&entries, key, -1, s->entries[i].document);
    }
    for (size_t i = 0; i < 3; i++) {
        char key[3] = {'v', (char)('0' + i), '\0'};
        (void)bson_append_int32(&all, key, -1, s->version[i]);
    }
    (void)bson_append_bool(&all, "many", -1, s->many);
    (void)bson_append_bool(&all, "half", -1, s->half);
    (void)bson_append_int32(&all, "by_n", -1, s->by_n);
    (void)bson_append_utf8(&all, "lie", -1, s->lie, -1);
    scripted_append_ts(&all, "checkpoint", s->checkpoint);
    scripted_append_ts(&all, "point", s->point);
    scripted_append_ts(&all, "seen", s->seen_point);
    scripted_append_ts(&all, "begin", s->begin.ts);
    (void)bson_append_int64(&all, "term", -1, s->begin.term);
    (void)bson_append_array(&all, "oplog", -1, &entries);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bson_get_data(&all), 1, all.len, file), all.len);
    assert_int_equal(fclose(file), 0);
    bson_destroy(&entries);
    bson_destroy(&all);
}

static inline void scripted_read(struct scripted *s, const char *dir)
{
    char path[1200];
    bson_t entries;
    bson_iter_t iter;
    memset(s, 0, sizeof *s);
    (void)snprintf(s->dir, sizeof s->dir, "%s", dir);
    (void)snprintf(path, sizeof path, "%s/" SCRIPTED_FILE, dir);
    bson_reader_t *reader = bson_reader_new_from_file(path, NULL);
    assert_non_null(reader);
    const bson_t *all = bson_reader_read(reader, NULL);
    assert_non_null(all);
    s->version[0] = (int)scripted_get_int(all, "v0", 0);
    s->version[1] = (int)scripted_get_int(all, "v1", 0);
    s->version[2] = (int)scripted_get_int(all, "v2", 0);
    s->many = scripted_find(all, "many", &iter) && bson_iter_bool(&iter);
    s->half = scripted_find(all, "half", &iter) && bson_iter_bool(&iter);
    s->by_n = (int)scripted_get_int(all, "by_n", 0);
    assert_true(scripted_find(all, "lie", &iter));
    (void)snprintf(s->lie, sizeof s->lie, "%s", bson_iter_utf8(&iter, NULL));
    s->checkpoint = scripted_get_ts(all, "checkpoint");
    s->point = scripted_get_ts(all, "point");
    s->seen_point = scripted_get_ts(all, "seen");
    s->begin.ts = scripted_get_ts(all, "begin");
    s->begin.term = scripted_get_int(all, "term", -1);
    assert_true(scripted_get_document(all, "oplog", &entries));
    assert_true(bson_iter_init(&iter, &entries));
    while (bson_iter_next(&iter)) {
        const uint8_t *data;
        uint32_t len;
        bson_iter_document(&iter, &len, &data);
        scripted_add_take(s, bson_new_from_data(data, len));
    }
    bson_reader_destroy(reader);
}

/* ---- Recovery ---- */

static inline void scripted_recover(struct scripted *s)
{
    const struct scripted_ts none = {0, 0};
    bool exclusive = s->version[0] < 4 || (s->version[0] == 4 && s->version[1] < 4);
    if (scripted_lies(s, "no recovery")) {
        return;
    }
    s->seen_point = s->point;
    while (s->count > 0 && scripted_compare(s->point, none) != 0 &&
           !scripted_lies(s, "cuts nothing")) {
        int order = scripted_compare(s->entries[s->count - 1].ts, s->point);
        if (order < 0 || (order == 0 && !exclusive)) {
            break;
        }
        scripted_remove(s, s->count - 1, 1);
    }
    if (scripted_lies(s, "cuts more")) {
        scripted_remove(s, s->count - 1, 1);
    }
    s->point = none;
    size_t applied = s->count - (scripted_lies(s, "applies less") ? 2 : 1);
    if (!scripted_lies(s, "applies nothing") &&
        scripted_compare(s->entries[applied].ts, s->checkpoint) > 0) {
        s->begin = s->entries[applied];
        s->begin.document = NULL;
    }
}

/* ---- Commands ---- */

static inline void scripted_cursor(bson_t *reply, const char *space, const bson_t *batch)
{
    bson_t cursor;
    (void)bson_append_document_begin(reply, "cursor", -1, &cursor);
    (void)bson_append_array(&cursor, "firstBatch", -1, batch);
    (void)bson_append_int64(&cursor, "id", -1, 0);
    (void)bson_append_utf8(&cursor, "ns", -1, space, -1);
    (void)bson_append_document_end(reply, &cursor);
}

static inline void scripted_find_oplog(struct scripted *s, const bson_t *command, bson_t *reply)
{
    bson_t batch = BSON_INITIALIZER;
    bson_iter_t iter;
    const struct scripted_ts after = scripted_get_ts(command, "filter.ts.$gt");
    const struct scripted_ts exact = scripted_get_ts(command, "filter.ts");
    bool has_exact = scripted_find(command, "filter.ts", &iter) && BSON_ITER_HOLDS_TIMESTAMP(&iter);
    bool back = scripted_get_int(command, "sort.$natural", 1) < 0;
    int64_t limit = scripted_get_int(command, "limit", 0);
    uint32_t found = 0;
    for (size_t n = 0; n < s->count && (limit == 0 || found < limit); n++) {
        const struct scripted_entry *entry = &s->entries[back ? s->count - 1 - n : n];
        char key[16];
        if (scripted_compare(entry->ts, after) <= 0 ||
            (has_exact && scripted_compare(entry->ts, exact) != 0)) {
            continue;
        }
        (void)snprintf(key, sizeof key, "%u", found++);
        (void)bson_append_document(&batch, key, -1, entry->document);
    }
    scripted_cursor(reply, "local.oplog.rs", &batch);
    bson_destroy(&batch);
}

static inline void scripted_find_state(struct scripted *s, const char *collection, bson_t *reply)
{
    const struct scripted_ts none = {0, 0};
    bson_t batch = BSON_INITIALIZER;
    bson_t document;
    bson_t begin;
    (void)bson_append_document_begin(&batch, "0", -1, &document);
    if (strcmp(collection, "replset.minvalid") == 0) {
        scripted_append_ts(&document, "ts", s->begin.ts);
        (void)bson_append_int64(&document, "t", -1, s->begin.term);
        if (scripted_compare(s->begin.ts, none) != 0) {
            (void)bson_append_document_begin(&document, "begin", -1, &begin);
            scripted_append_ts(&begin, "ts", s->begin.ts);
            (void)bson_append_int64(&begin, "t", -1, s->begin.term);
            (void)bson_append_document_end(&document, &begin);
        }
    } else {
        scripted_append_ts(&document, "oplogTruncateAfterPoint", s->point);
    }
    (void)bson_append_document_end(&batch, &document);
    scripted_cursor(reply, "local.state", &batch);
    bson_destroy(&batch);
}

/* The oplog's cap bites: the oldest entries up to the checkpoint go. */
static inline void scripted_eat(struct scripted *s)
{
    while (s->count > 1 && scripted_compare(s->entries[0].ts, s->checkpoint) <= 0) {
        scripted_remove(s, 0, 1);
    }
}

static inline int64_t scripted_insert(struct scripted *s, const bson_t *command)
{
    bson_t documents;
    bson_iter_t iter;
    int64_t count = 0;
    assert_true(scripted_get_document(command, "documents", &documents));
    assert_true(bson_iter_init(&iter, &documents));
    while (bson_iter_next(&iter)) {
        const uint8_t *data;
        uint32_t len;
        bson_iter_document(&iter, &len, &data);
        scripted_add_take(s, bson_new_from_data(data, len));
        count++;
    }
    if (scripted_lies(s, "eats")) {
        scripted_eat(s);
    }
    if (scripted_lies(s, "takes fewer")) {
        scripted_remove(s, s->count - 1, 1);
        count--;
    }
    return count;
}

static inline void scripted_update(struct scripted *s, const bson_t *command, bson_t *reply)
{
    const struct scripted_ts point =
        scripted_get_ts(command, "updates.0.u.$set.oplogTruncateAfterPoint");
    const struct scripted_ts entry = scripted_get_ts(command, "updates.0.q.ts");
    int32_t matched = 0;
    if (point.t != 0) {
        s->point = point;
        matched = 1;
    }
    for (size_t i = 0; i < s->count && point.t == 0; i++) {
        if (scripted_compare(s->entries[i].ts, entry) == 0) {
            bson_t *changed = bson_new();
            bson_copy_to_excluding_noinit(s->entries[i].document, changed, "op", NULL);
            (void)bson_append_utf8(changed, "op", -1, "n", -1);
            bson_destroy(s->entries[i].document);
            s->entries[i].document = changed;
            matched = 1;
        }
    }
    (void)bson_append_int32(reply, "n", -1, matched);
}

/* Its note of the build, the one collection, and the indexes of that. */
static inline void scripted_find_builds(struct scripted *s, bson_t *reply)
{
    static const uint8_t collection[16] = "abcdef9876543210";
    bson_t batch = BSON_INITIALIZER;
    bson_t document;
    bson_t names;
    if (s->half) {
        (void)bson_append_document_begin(&batch, "0", -1, &document);
        (void)bson_append_binary(&document, "_id", -1, BSON_SUBTYPE_UUID,
                                 (const uint8_t *)"0123456789abcdef", 16);
        (void)bson_append_binary(&document, "collectionUUID", -1, BSON_SUBTYPE_UUID, collection,
                                 16);
        (void)bson_append_array_begin(&document, "indexNames", -1, &names);
        (void)bson_append_utf8(&names, "0", -1, "by_n", -1);
        (void)bson_append_array_end(&document, &names);
        (void)bson_append_document_end(&batch, &document);
    }
    scripted_cursor(reply, "config.system.indexBuilds", &batch);
    bson_destroy(&batch);
}

static inline void scripted_list_indexes(struct scripted *s, bson_t *reply)
{
    bson_t batch = BSON_INITIALIZER;
    bson_t document;
    bson_t spec;
    (void)bson_append_document_begin(&batch, "0", -1, &document);
    (void)bson_append_utf8(&document, "name", -1, "_id_", -1);
    (void)bson_append_document_end(&batch, &document);
    if (s->by_n != 0) {
        (void)bson_append_document_begin(&batch, "1", -1, &document);
        if (s->by_n == 1) {
            (void)bson_append_document_begin(&document, "spec", -1, &spec);
            (void)bson_append_utf8(&spec, "name", -1, "by_n", -1);
            (void)bson_append_document_end(&document, &spec);
        } else {
            (void)bson_append_utf8(&document, "name", -1, "by_n", -1);
        }
        (void)bson_append_document_end(&batch, &document);
    }
    scripted_cursor(reply, "shop.orders", &batch);
    bson_destroy(&batch);
}

/* Beside its arguments. */
static inline void HF_PRINTF(2, 3) scripted_note(const struct scripted *s, const char *format, ...)
{
    char path[1200];
    va_list arguments;
    (void)snprintf(path, sizeof path, "%s/" SCRIPTED_ARGUMENTS, s->dir);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    va_start(arguments, format);
    (void)vfprintf(file, format, arguments);
    va_end(arguments);
    assert_int_equal(fclose(file), 0);
}

/* False: refused. */
static inline bool scripted_command(struct scripted *s, const bson_t *command, bson_t *reply)
{
    bson_iter_t first;
    bson_iter_t iter;
    bson_t part;
    assert_true(bson_iter_init(&first, command) && bson_iter_next(&first));
    const char *name = bson_iter_key(&first);
    const char *collection = BSON_ITER_HOLDS_UTF8(&first) ? bson_iter_utf8(&first, NULL) : "";
    if (strcasecmp(name, "ismaster") == 0 || strcmp(name, "hello") == 0) {
        (void)bson_append_bool(reply, "ismaster", -1, true);
        (void)bson_append_bool(reply, "helloOk", -1, true);
        (void)bson_append_bool(reply, "isWritablePrimary", -1, true);
        (void)bson_append_int32(reply, "maxBsonObjectSize", -1, 16 << 20);
        (void)bson_append_int32(reply, "maxMessageSizeBytes", -1, 48000000);
        (void)bson_append_int32(reply, "maxWriteBatchSize", -1, 100000);
        (void)bson_append_int32(reply, "minWireVersion", -1, 0);
        (void)bson_append_int32(reply, "maxWireVersion", -1, 9);
    } else if (strcmp(name, "buildInfo") == 0) {
        char text[48];
        (void)snprintf(text, sizeof text, "%d.%d.%d", s->version[0], s->version[1], s->version[2]);
        (void)bson_append_utf8(reply, "version", -1, text, -1);
        (void)bson_append_array_begin(reply, "versionArray", -1, &part);
        for (int i = 0; i < 3; i++) {
            char key[2] = {(char)('0' + i), '\0'};
            (void)bson_append_int32(&part, key, -1, s->version[i]);
        }
        (void)bson_append_array_end(reply, &part);
    } else if (strcmp(name, "getParameter") == 0) {
        return s->many && bson_iter_init_find(&iter, command, "startupRecoveryForRestore");
    } else if (strcmp(name, "find") == 0 && strcmp(collection, "oplog.rs") == 0) {
        scripted_find_oplog(s, command, reply);
    } else if (strcmp(name, "find") == 0 && strcmp(collection, "system.indexBuilds") == 0) {
        scripted_find_builds(s, reply);
    } else if (strcmp(name, "listIndexes") == 0) {
        scripted_list_indexes(s, reply);
    } else if (strcmp(name, "find") == 0) {
        scripted_find_state(s, collection, reply);
    } else if (strcmp(name, "insert") == 0) {
        (void)bson_append_int32(reply, "n", -1, (int32_t)scripted_insert(s, command));
    } else if (strcmp(name, "update") == 0) {
        scripted_update(s, command, reply);
    } else if (strcmp(name, "listCollections") == 0) {
        /* Whatever is asked for is a collection. */
        bson_t batch = BSON_INITIALIZER;
        (void)bson_append_document_begin(&batch, "0", -1, &part);
        (void)bson_append_utf8(&part, "name", -1, "orders", -1);
        (void)bson_append_utf8(&part, "type", -1, "collection", -1);
        (void)bson_append_document_end(&batch, &part);
        scripted_cursor(reply, "app.$cmd.listCollections", &batch);
        bson_destroy(&batch);
    } else if (strcmp(name, "listDatabases") == 0) {
        bson_t all;
        (void)bson_append_array_begin(reply, "databases", -1, &all);
        if (s->half) {
            (void)bson_append_document_begin(&all, "0", -1, &part);
            (void)bson_append_utf8(&part, "name", -1, "shop", -1);
            (void)bson_append_document_end(&all, &part);
        }
        (void)bson_append_array_end(reply, &all);
    } else if (strcmp(name, "aggregate") == 0) {
        bson_t none = BSON_INITIALIZER;
        scripted_cursor(reply, "app.a", &none);
        bson_destroy(&none);
    } else if (strcmp(name, "count") == 0) {
        (void)bson_append_int32(reply, "n", -1, 0);
    } else if (strcmp(name, "dropIndexes") == 0 || strcmp(name, "createIndexes") == 0) {
        bool made = bson_iter_init(&iter, command) &&
                    bson_iter_find_descendant(&iter, "indexes.0.name", &first);
        if (!made) {
            (void)bson_iter_init_find(&first, command, "index");
        }
        scripted_note(s, "%s %s %s\n", name, collection, bson_iter_utf8(&first, NULL));
        s->by_n = made ? 2 : 0;
    } else if (strcmp(name, "shutdown") == 0) {
        s->stop = true;
    } else {
        return strcmp(name, "ping") == 0 || strcmp(name, "endSessions") == 0;
    }
    return true;
}

/* ---- The wire ---- */

#define SCRIPTED_MESSAGE_MAX (32 << 20)

static inline bool scripted_take(int fd, void *out, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t got = read(fd, (uint8_t *)out + at, len - at);
        if (got <= 0) {
            return false;
        }
        at += (size_t)got;
    }
    return true;
}

static inline uint32_t scripted_le32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void scripted_put_le32(uint8_t *at, uint32_t value)
{
    for (size_t i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

/* OP_QUERY (2004) is the driver's first word, OP_MSG (2013) all others. */
static inline bool scripted_serve_one(struct scripted *s, int fd)
{
    uint8_t header[16];
    uint8_t answer[36] = {0};
    bson_t command;
    bson_t reply = BSON_INITIALIZER;
    if (!scripted_take(fd, header, sizeof header)) {
        return false;
    }
    uint32_t len = scripted_le32(header) - 16;
    bool query = scripted_le32(header + 12) == 2004;
    assert_true(len < SCRIPTED_MESSAGE_MAX);
    uint8_t *body = malloc(len + 1);
    assert_non_null(body);
    if (!scripted_take(fd, body, len)) {
        free(body);
        return false;
    }
    size_t at = query ? 4 + strlen((const char *)body + 4) + 1 + 8 : 5;
    assert_true(bson_init_static(&command, body + at, scripted_le32(body + at)));
    bool good = scripted_command(s, &command, &reply);
    if (!good) {
        (void)bson_append_utf8(&reply, "errmsg", -1, "no option found to get", -1);
    }
    (void)bson_append_double(&reply, "ok", -1, good ? 1 : 0);
    size_t head = query ? 36 : 21;
    scripted_put_le32(answer, (uint32_t)head + reply.len);
    memcpy(answer + 8, header + 4, 4);
    scripted_put_le32(answer + 12, query ? 1 : 2013);
    if (query) {
        scripted_put_le32(answer + 32, 1);
    }
    /* In one piece: the second of two would wait for the first one's acknowledgement. */
    uint8_t *whole = malloc(head + reply.len);
    assert_non_null(whole);
    memcpy(whole, answer, head);
    memcpy(whole + head, bson_get_data(&reply), reply.len);
    bool sent = write(fd, whole, head + reply.len) == (ssize_t)(head + reply.len);
    free(whole);
    bson_destroy(&reply);
    free(body);
    return sent;
}

static inline void scripted_serve(struct scripted *s, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    struct pollfd polls[32] = {{.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN}};
    nfds_t count = 1;
    int on = 1;
    (void)setsockopt(polls[0].fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(polls[0].fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(polls[0].fd, 32), 0);
    while (!s->stop) {
        assert_true(poll(polls, count, -1) > 0);
        if (polls[0].revents != 0 && count < 32) {
            polls[count++] =
                (struct pollfd){.fd = accept(polls[0].fd, NULL, NULL), .events = POLLIN};
        }
        for (nfds_t i = 1; i < count && !s->stop; i++) {
            if (polls[i].revents != 0 && !scripted_serve_one(s, polls[i].fd)) {
                (void)close(polls[i].fd);
                polls[i] = polls[--count];
                break; /* the others say again that they wait */
            }
        }
    }
}

/* The program as that server; does not return then. Returns when the program was called as a test. */
static inline void scripted_mongod(int argc, char **argv)
{
    static struct scripted s;
    const char *dir = NULL;
    char path[1200];
    uint16_t port = 0;
    bool recovers = false;
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("db version v4.4.6-8\n");
        exit(0);
    }
    for (int i = 1; i + 1 < argc; i++) {
        dir = strcmp(argv[i], "--dbpath") == 0 ? argv[i + 1] : dir;
        port = strcmp(argv[i], "--port") == 0 ? (uint16_t)strtoul(argv[i + 1], NULL, 10) : port;
        recovers = recovers || strcmp(argv[i + 1], "recoverFromOplogAsStandalone=true") == 0;
    }
    if (dir == NULL) {
        return;
    }
    (void)snprintf(path, sizeof path, "%s/" SCRIPTED_ARGUMENTS, dir);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    for (int i = 1; i < argc; i++) {
        (void)fprintf(file, "%s%c", argv[i], i + 1 == argc ? '\n' : ' ');
    }
    (void)fclose(file);
    scripted_read(&s, dir);
    if (recovers) {
        scripted_recover(&s);
    }
    scripted_serve(&s, port);
    if (recovers && scripted_lies(&s, "forgets")) {
        exit(0);
    }
    scripted_write(&s);
    exit(0);
}

#endif
