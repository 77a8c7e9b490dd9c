/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a server with catalog and store in memory, and jobs whose slices a tailer of chain_kit.h makes.
 */
#ifndef HF_TESTS_SERVER_KIT_H
#define HF_TESTS_SERVER_KIT_H

#include "support/chain_kit.h"

#include "server/keep.h"
#include "server/points.h"
#include "server/server_internal.h"
#include "snapshot/keys.h"
#include "store/faulty.h"

struct server_kit {
    struct hf_server_app app;
    struct hf_log *log;
    struct hf_cancel cancel;
};

/* The store counts and fails its calls as store/faulty.h says. */
static inline void server_kit_begin(struct server_kit *kit)
{
    struct hf_error err;
    const struct hf_catalog_options catalog = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    const struct hf_store_create_options create = {
        .installation = fixed_id(1), .plain = true, .now_s = 1};
    struct hf_server_app *app = &kit->app;
    *kit = (struct server_kit){.log = hf_log_create(stderr, HF_LOG_ERROR, false)};
    hf_cancel_init(&kit->cancel);
    app->cancel = &kit->cancel;
    app->first_project = fixed_id(5);
    app->log = kit->log;
    EXPECT_OK(hf_catalog_mem_create(&catalog, &app->catalog, &err), &err);
    EXPECT_OK(hf_store_mem_create(&app->store, &err), &err);
    EXPECT_OK(hf_store_faulty_create_take(app->store, &app->store, &err), &err);
    app->oplog_store = app->store;
    EXPECT_OK(hf_points_cache_create(&app->points, &err), &err);
    EXPECT_OK(hf_store_keys_create(app->store, &create, &app->mark, &app->key, &err), &err);
}

static inline void server_kit_end(struct server_kit *kit)
{
    hf_points_cache_destroy(kit->app.points);
    hf_catalog_close(kit->app.catalog);
    hf_store_close(kit->app.store);
    hf_log_destroy(kit->log);
}

/* A started job of set rs0, in cluster fixed_id(3). */
struct kit_job {
    struct hf_id id;
    struct world world;
    struct tailer tailer;
};

static inline void kit_job_begin(struct server_kit *kit, struct kit_job *job, uint8_t id)
{
    struct hf_server_app *app = &kit->app;
    struct hf_error err;
    job->id = fixed_id(id);
    EXPECT_OK(
        hf_job_keys_create(app->store, &app->mark, &app->key, &job->id, &job->world.ring, &err),
        &err);
    job->world.store = app->store;
    job->world.next_writer = 0x20;
    EXPECT_OK(hf_slice_reader_create(app->store, &job->world.ring, &job->world.reader, &err), &err);
    tailer_begin(&job->tailer, &job->world, NULL);
    const struct hf_job_record record = {.id = job->id,
                                         .project = app->first_project,
                                         .cluster = fixed_id(3),
                                         .store = fixed_id(6),
                                         .set_name = "rs0",
                                         .state = HF_JOB_STARTED,
                                         .next_capture = 100};
    EXPECT_OK(hf_keep_job_insert(app->catalog, &record, &err), &err);
}

static inline void kit_job_end(struct kit_job *job)
{
    tailer_end(&job->tailer);
    hf_slice_reader_destroy(job->world.reader);
}

#endif
