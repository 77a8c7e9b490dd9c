/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Index builds among the replayed entries. A recovery of 4.4 dies of one that is begun and not ended at the point, and of
 * one that is aborted; so entries of builds that are not committed are made no-ops before it. One that is committed and was
 * begun before the checkpoint is not taken up again by a standalone: its commit does nothing, its indexes stay half made,
 * and a drop of their collection is tried for ever; so they are made whole before. Must not know how.
 */
#include <string.h>

#include "base/alloc.h"
#include "oplog/replay_internal.h"

#define BUILDS_MAX ((size_t)100000)

static void build_fini(struct hf_replay_build *build)
{
    for (size_t i = 0; i < build->index_count; i++) {
        hf_free(build->indexes[i]);
    }
    hf_free(build->indexes);
    hf_free(build->collection);
    hf_free(build->specs);
    *build = (struct hf_replay_build){.index_count = 0};
}
HF_CLEANUP_DEFINE_VALUE(build_fini, struct hf_replay_build)

void hf_replay_builds_fini(struct hf_replay_builds *builds)
{
    for (size_t i = 0; i < builds->count; i++) {
        build_fini(&builds->items[i]);
    }
    hf_free(builds->items);
    *builds = (struct hf_replay_builds){.count = 0};
}

/* Names in the array `indexes` of the command, and the array itself. */
static enum hf_err read_indexes(struct hf_bytes o, struct hf_replay_build *out,
                                struct hf_error *err)
{
    struct hf_bson_element array;
    struct hf_bson_element element;
    struct hf_bson_walk walk;

    if (!hf_bson_find(o, "indexes", &array) || array.type != HF_BSON_ARRAY ||
        hf_bson_begin(array.value, &walk, err) != HF_ERR_OK) {
        return HF_ERR_OK; /* an abort need not name them */
    }
    out->specs = hf_alloc(array.value.len);
    if (out->specs == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "index builds");
    }
    memcpy(out->specs, array.value.data, array.value.len);
    out->specs_len = array.value.len;
    while (hf_bson_next(&walk, &element)) {
        struct hf_bson_element found;
        struct hf_str name;
        if (element.type != HF_BSON_DOCUMENT || !hf_bson_find(element.value, "name", &found) ||
            !hf_bson_text(&found, &name)) {
            continue;
        }
        char **grown = hf_realloc_array(out->indexes, out->index_count + 1, sizeof *out->indexes);
        if (grown != NULL) {
            out->indexes = grown;
            grown[out->index_count] = hf_asprintf("%.*s", (int)name.len, name.data);
        }
        if (grown == NULL || grown[out->index_count] == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "index builds");
        }
        out->index_count++;
    }
    return HF_ERR_OK;
}

bool hf_replay_builds_know(const struct hf_replay_builds *builds, const uint8_t uuid[16])
{
    for (size_t i = 0; i < builds->count; i++) {
        if (memcmp(builds->items[i].uuid, uuid, 16) == 0) {
            return true;
        }
    }
    return false;
}

static struct hf_replay_build *find(struct hf_replay_builds *builds, const uint8_t uuid[16])
{
    for (size_t i = builds->count; i > 0; i--) {
        if (memcmp(builds->items[i - 1].uuid, uuid, 16) == 0) {
            return &builds->items[i - 1];
        }
    }
    return NULL;
}

static void forget(struct hf_replay_builds *builds, struct hf_replay_build *build)
{
    if (build != NULL) {
        build_fini(build);
        *build = builds->items[--builds->count];
    }
}

static enum hf_err remember(struct hf_replay_builds *builds, const struct hf_oplog_entry *entry,
                            const uint8_t uuid[16], struct hf_replay_build **out,
                            struct hf_error *err)
{
    HF_CLEANUP(build_fini) struct hf_replay_build build = {.index_count = 0};
    char room[HF_OPLOG_SPACE_BYTES];
    struct hf_str name;

    if (builds->count >= BUILDS_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %zu index builds at a time", BUILDS_MAX);
    }
    struct hf_replay_build *grown =
        hf_realloc_array(builds->items, builds->count + 1, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "index builds");
    }
    builds->items = grown;
    memcpy(build.uuid, uuid, 16);
    build.start.term = build.abort.term = -1;
    if (!hf_oplog_space(entry, 0, room, &name)) {
        return hf_fail(err, HF_ERR_CORRUPT, "the index build %s is of no collection",
                       hf_optime_text(&entry->optime).text);
    }
    build.collection = hf_asprintf("%.*s", (int)name.len, name.data);
    if (build.collection == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "index builds");
    }
    if (read_indexes(entry->o, &build, err) != HF_ERR_OK) {
        return err->code;
    }
    grown[builds->count] = build;
    build = (struct hf_replay_build){.index_count = 0};
    *out = &grown[builds->count++];
    return HF_ERR_OK;
}

enum hf_err hf_replay_builds_add(struct hf_replay_builds *builds,
                                 const struct hf_oplog_entry *entry, struct hf_error *err)
{
    struct hf_bson_element id;
    uint8_t uuid[16];

    if (entry->kind != HF_OPLOG_COMMAND) {
        return HF_ERR_OK;
    }
    bool start = hf_str_equal_c(entry->command, "startIndexBuild");
    bool abort = hf_str_equal_c(entry->command, "abortIndexBuild");
    if (!start && !abort && !hf_str_equal_c(entry->command, "commitIndexBuild")) {
        return HF_ERR_OK;
    }
    /* Length (4), subtype (1), bytes. */
    if (!hf_bson_find(entry->o, "indexBuildUUID", &id) || id.type != HF_BSON_BINARY ||
        id.value.len != 5 + sizeof uuid) {
        return hf_fail(err, HF_ERR_CORRUPT, "the entry %s is of an index build without an id",
                       hf_optime_text(&entry->optime).text);
    }
    memcpy(uuid, id.value.data + 5, sizeof uuid);
    struct hf_replay_build *build = find(builds, uuid);
    bool commit = !start && !abort;
    if (commit && build != NULL) {
        forget(builds, build);
        return HF_ERR_OK;
    }
    if (build == NULL && remember(builds, entry, uuid, &build, err) != HF_ERR_OK) {
        return err->code;
    }
    build->committed = commit;
    if (commit) {
        return HF_ERR_OK;
    }
    *(start ? &build->start : &build->abort) = entry->optime;
    return HF_ERR_OK;
}
