/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: entries as slices in a store, a plan over them, and a replay on a directory by a server: the mongod that
 * HOLDFAST_TEST_MONGOD names, else the sandbox.
 */
#ifndef HF_TESTS_REPLAY_KIT_H
#define HF_TESTS_REPLAY_KIT_H

#include "support/chain_kit.h"

#include <string.h>

#include "mongo/data.h"
#include "mongo/recover.h"
#include "oplog/ranges.h"
#include "oplog/replay.h"
#include "os/fs.h"
#include "os/process.h"

/* The real server, or NULL. */
static inline const char *real_mongod(void)
{
    const char *given = getenv("HOLDFAST_TEST_MONGOD");
    return given != NULL && given[0] != '\0' ? given : NULL;
}

/* Free with hf_free. */
static inline char *find_mongod(void)
{
    HF_CLEANUP(hf_free) char *self = NULL;
    struct hf_error err;

    if (real_mongod() != NULL) {
        return hf_strdup(real_mongod());
    }
    EXPECT_OK(hf_self_path(&self, &err), &err);
    *strrchr(self, '/') = '\0';
    char *sandbox = hf_asprintf("%s/../src/holdfast-sandbox", self);
    assert_non_null(sandbox);
    if (!hf_fs_exists(sandbox)) {
        fail_msg("no %s beside this program", sandbox);
    }
    return sandbox;
}

/* Puts the entries, one behind the other, as slices of that many. */
static inline void put_entries(struct world *world, struct hf_bytes entries, size_t each)
{
    struct tailer tailer;
    size_t count = 0;

    tailer_begin(&tailer, world, NULL);
    for (size_t at = 0; at < entries.len;) {
        size_t len = hf_load_le32(entries.data + at);
        struct hf_error err;
        bool taken = false;
        EXPECT_OK(
            hf_slicer_add(tailer.slicer, hf_bytes_of(entries.data + at, len), 0, &taken, &err),
            &err);
        if (!taken) {
            tailer_put(&tailer);
            continue;
        }
        at += len;
        if (++count % each == 0) {
            tailer_put(&tailer);
        }
    }
    tailer_put(&tailer);
    tailer_end(&tailer);
}

/* Chains, ranges and the plan for one target. */
struct planned {
    struct hf_chains chains;
    struct hf_ranges ranges;
    struct hf_plan plan;
    struct hf_replay_point point;
    struct hf_chain_reader *reader; /* NULL when nothing is read */
};

static inline void planned_end(struct planned *planned)
{
    hf_chain_reader_close(planned->reader);
    hf_plan_fini(&planned->plan);
    hf_ranges_fini(&planned->ranges);
    hf_chains_fini(&planned->chains);
}

/* Opens the reader anew: a replay reads once. */
static inline void planned_rewind(struct world *world, struct planned *planned)
{
    struct hf_error err;
    hf_chain_reader_close(planned->reader);
    planned->reader = NULL;
    if (hf_optime_is_none(&planned->point.last)) {
        return;
    }
    struct hf_chain_reader_options options = {
        .chains = &planned->chains,
        .chain = planned->ranges.items[planned->plan.range].chain,
        .reader = world->reader,
        .after = planned->point.read_after,
        .to = planned->point.last,
    };
    EXPECT_OK(hf_chain_reader_open(&options, &planned->reader, &err), &err);
}

static inline void planned_begin(struct planned *planned, struct world *world,
                                 const struct hf_base_snapshot *base,
                                 const struct hf_target *target)
{
    struct hf_error err;
    *planned = (struct planned){.reader = NULL};
    load_chains(world, &planned->chains);
    struct hf_ranges_options options = {.chains = &planned->chains,
                                        .snapshots = base,
                                        .snapshot_count = 1,
                                        .reader = world->reader};
    EXPECT_OK(hf_ranges_compute(&options, &planned->ranges, &err), &err);
    EXPECT_OK(hf_ranges_plan(&planned->ranges, target, NULL, world->reader, &planned->plan, &err),
              &err);
    planned->point =
        hf_replay_point_of(&planned->plan, &planned->ranges.snapshots[planned->plan.snapshot]);
    planned_rewind(world, planned);
}

static inline enum hf_err replay_with(const char *program, const char *dbpath,
                                      struct planned *planned, struct hf_replay_result *result,
                                      struct hf_error *err)
{
    struct hf_replay_options options = {
        .program = program,
        .dbpath = dbpath,
        .point = &planned->point,
        .next = hf_replay_chain_next,
        .next_context = planned->reader,
    };
    return hf_replay_run(&options, result, err);
}

/* A plain server on the directory, for looking; end it with hf_recover_stop. */
static inline struct hf_recover *look_into(const char *program, const char *dbpath)
{
    HF_CLEANUP(hf_free) char *log = hf_asprintf("%s.look.log", dbpath);
    struct hf_recover_options options = {.program = program, .dbpath = dbpath, .log_path = log};
    struct hf_recover *server = NULL;
    struct hf_error err;
    EXPECT_OK(hf_recover_start(&options, HF_RECOVER_PLAIN, &server, &err), &err);
    return server;
}

static inline void copy_directory(const char *from, const char *to)
{
    const char *const argv[] = {"/bin/cp", "-a", from, to, NULL};
    struct hf_process_options options = {.argv = argv};
    struct hf_process *process = NULL;
    struct hf_error err;
    bool ended = false;
    int code = 1;
    EXPECT_OK(hf_process_start(&options, &process, &err), &err);
    EXPECT_OK(hf_process_wait(process, 60000, &ended, &code, &err), &err);
    hf_process_stop(process, 0);
    assert_true(ended);
    assert_int_equal(code, 0);
}

#endif
