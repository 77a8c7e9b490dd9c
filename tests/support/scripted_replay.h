/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a replay on a directory of the server that plays a part. The copy holds the entries 100.1 to 100.9 with its
 * checkpoint at 100.5; the history goes on to 100.20, all of term 3.
 */
#ifndef HF_TESTS_SCRIPTED_REPLAY_H
#define HF_TESTS_SCRIPTED_REPLAY_H

#include "support/chain_kit.h"
#include "support/scripted_mongod.h"

#include "oplog/replay_internal.h"
#include "os/fs.h"
#include "os/process.h"

#define SCRIPTED_CHECKPOINT 5u
#define SCRIPTED_COPY 9u
#define SCRIPTED_LAST 20u
#define SCRIPTED_TERM 3

struct scripted_case {
    int version[3];
    bool many;
    const char *lie;      /* NULL: none */
    uint32_t rolled_back; /* the copy's entries from this one on are of another term; 0: none */
    uint32_t build_at;    /* this entry of the history is of an index build; 0: none */
    const char *build;    /* "startIndexBuild" and the like; NULL: that one */
    bool half;            /* the copy shows that build under way at its checkpoint */
};

/* A directory, and what is handed in. */
struct scripted_replay {
    char *base, *dir, *self; /* base holds dir, and the logs beside it */
    struct hf_replay_point point;
    struct hf_buf entry;
    const char *build;
    uint32_t at, build_at; /* at: the next increment that is handed out */
};

static inline struct hf_optime scripted_optime(uint32_t increment)
{
    return (struct hf_optime){.seconds = 100, .increment = increment, .term = SCRIPTED_TERM};
}

/* build NULL: a plain entry. */
static inline void scripted_make(uint32_t increment, const char *build, int64_t term,
                                 struct hf_buf *out)
{
    struct made_entry made = {.optime = scripted_optime(increment),
                              .op = increment % 4 == 0 ? "n" : "i",
                              .ns = increment % 4 == 0 ? "" : "shop.orders",
                              .id = increment};
    made.optime.term = term;
    hf_buf_clear(out);
    if (build == NULL) {
        make_entry(&made, out);
        return;
    }
    size_t start = bson_begin(out);
    struct hf_error err;
    bson_text(out, "op", "c");
    bson_text(out, "ns", "shop.$cmd");
    size_t o = bson_nested(out, HF_BSON_DOCUMENT, "o");
    bson_text(out, build, "orders");
    bson_key(out, HF_BSON_BINARY, "indexBuildUUID");
    EXPECT_OK(hf_buf_append_le(out, 16, 4, &err), &err);
    EXPECT_OK(hf_buf_append_le(out, 4, 1, &err), &err);
    EXPECT_OK(hf_buf_append(out, hf_bytes_of("0123456789abcdef", 16), &err), &err);
    size_t indexes = bson_nested(out, HF_BSON_ARRAY, "indexes");
    size_t index = bson_nested(out, HF_BSON_DOCUMENT, "0");
    bson_text(out, "name", "by_n");
    bson_end(out, index);
    bson_end(out, indexes);
    bson_end(out, o);
    bson_timestamp(out, "ts", 100, increment);
    bson_int64(out, "t", term);
    bson_int64(out, "v", 2);
    bson_end(out, start);
}

/* Writes the copy anew. */
static inline void scripted_replay_reset(const struct scripted_replay *replay,
                                         const struct scripted_case *one)
{
    static struct scripted s;
    HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT(4096);
    HF_CLEANUP(hf_free) char *engine = hf_path_join(replay->dir, "WiredTiger");
    HF_CLEANUP(hf_free) char *arguments = hf_path_join(replay->dir, SCRIPTED_ARGUMENTS);
    struct hf_error err;

    memset(&s, 0, sizeof s);
    (void)snprintf(s.dir, sizeof s.dir, "%s", replay->dir);
    memcpy(s.version, one->version, sizeof s.version);
    s.many = one->many;
    s.half = one->half;
    s.by_n = one->half ? 1 : 0;
    (void)snprintf(s.lie, sizeof s.lie, "%s", one->lie != NULL ? one->lie : "");
    s.checkpoint = (struct scripted_ts){100, SCRIPTED_CHECKPOINT};
    for (uint32_t i = 1; i <= SCRIPTED_COPY; i++) {
        bool other = one->rolled_back != 0 && i >= one->rolled_back;
        scripted_make(i, NULL, SCRIPTED_TERM - (other ? 1 : 0), &entry);
        scripted_add_take(&s, bson_new_from_data(entry.data, entry.len));
    }
    scripted_write(&s);
    scripted_fini(&s);
    EXPECT_OK(hf_replay_forget(replay->dir, &err), &err);
    EXPECT_OK(hf_fs_publish_replace(engine, hf_bytes_of("x", 1), 0600, &err), &err);
    (void)remove(arguments);
}

static inline void scripted_replay_begin(struct scripted_replay *replay,
                                         const struct scripted_case *one)
{
    struct hf_error err;
    *replay = (struct scripted_replay){
        .build_at = one->build_at, .build = one->build != NULL ? one->build : "startIndexBuild"};
    hf_buf_init(&replay->entry, 4096);
    EXPECT_OK(hf_fs_make_temp_dir("hf-scripted", &replay->base, &err), &err);
    replay->dir = hf_path_join(replay->base, "db");
    EXPECT_OK(hf_fs_make_dirs(replay->dir, 0700, &err), &err);
    EXPECT_OK(hf_self_path(&replay->self, &err), &err);
    replay->point = (struct hf_replay_point){
        .checkpoint = {100, SCRIPTED_CHECKPOINT, -1},
        .copy_has = scripted_optime(SCRIPTED_COPY - 1),
        .read_after = scripted_optime(SCRIPTED_CHECKPOINT),
        .last = scripted_optime(SCRIPTED_LAST),
        .truncate_after = scripted_optime(SCRIPTED_LAST),
        .inserts = true,
    };
    scripted_replay_reset(replay, one);
}

static inline void scripted_replay_end(struct scripted_replay *replay)
{
    struct hf_error err;
    hf_buf_fini(&replay->entry);
    EXPECT_OK(hf_fs_remove_tree(replay->base, &err), &err);
    hf_free(replay->base);
    hf_free(replay->dir);
    hf_free(replay->self);
}

/* A hf_replay_next; no allocation of it can fail. */
static inline enum hf_err scripted_replay_next(void *context, struct hf_bytes *entry, bool *more,
                                               struct hf_error *err)
{
    struct scripted_replay *replay = context;
    (void)err;
    *more = replay->at <= replay->point.last.increment;
    if (*more) {
        scripted_make(replay->at, replay->at == replay->build_at ? replay->build : NULL,
                      SCRIPTED_TERM, &replay->entry);
        replay->at++;
        *entry = hf_buf_bytes(&replay->entry);
    }
    return HF_ERR_OK;
}

static inline enum hf_err scripted_replay_run(struct scripted_replay *replay,
                                              struct hf_replay_result *result, struct hf_error *err)
{
    const bool reads = !hf_optime_is_none(&replay->point.last);
    const struct hf_replay_options options = {.program = replay->self,
                                              .server_version = "4.4.6-8",
                                              .dbpath = replay->dir,
                                              .point = &replay->point,
                                              .next = reads ? scripted_replay_next : NULL,
                                              .next_context = replay};
    replay->at = replay->point.read_after.increment + 1;
    return hf_replay_run(&options, result, err);
}

/* What stands in the directory; end with scripted_fini. */
static inline struct scripted *scripted_replay_look(const struct scripted_replay *replay)
{
    static struct scripted s;
    scripted_read(&s, replay->dir);
    return &s;
}

#endif
