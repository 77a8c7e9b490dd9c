/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time of a job: which instants can be restored from what the stores hold now, the plan for one of them, and what
 * running restores need of the oplog. Reads catalog and stores, waits for both; keeps only what headers of slices said.
 * How a point is reached is not known here.
 */
#ifndef HF_SERVER_POINTS_H
#define HF_SERVER_POINTS_H

#include "backup/records.h"
#include "codec/json.h"
#include "oplog/ranges.h"
#include "server/app.h"
#include "server/stores.h"

/* Headers of the slices of every job that was asked for, so that a list costs only the new ones. Any thread. */
struct hf_points_cache;
HF_MUST_CHECK enum hf_err hf_points_cache_create(struct hf_points_cache **out,
                                                 struct hf_error *err);
void hf_points_cache_destroy(struct hf_points_cache *cache);

/* What a job's stores hold at one moment. One thread at a time: the reader is shared by all that is asked of it. */
struct hf_points {
    struct hf_job_record job;
    struct hf_job_stores stores;
    struct hf_keyring keyring;
    struct hf_slice_reader *reader; /* owned */
    struct hf_chains chains;
    struct hf_ranges ranges;
};
/* NOT_FOUND: there is no such job. A snapshot that a verification found damaged is no base. */
HF_MUST_CHECK enum hf_err hf_points_load(struct hf_server_app *app, const struct hf_id *job,
                                         struct hf_points **out, struct hf_error *err);
void hf_points_destroy(struct hf_points *points);
HF_CLEANUP_DEFINE(hf_points_destroy, struct hf_points *)
/*
 * From when on instants are promised, when so many seconds are. The window ends with the newest entry that is stored: a tail
 * that stands still, or a clock that jumps ahead, takes nothing away.
 */
uint64_t hf_points_window_start_s(const struct hf_points *points, uint64_t kept_s);
/* Of a job, for whoever reads its slices without ranges. */
HF_MUST_CHECK enum hf_err hf_points_load_chains(struct hf_server_app *app, const struct hf_id *job,
                                                struct hf_points **out, struct hf_error *err);

/*
 * What a request for a restore says of time (restore.md 4.1, rest-api.md 2.7): pointInTimeUTCMillis, a number of any kind, of
 * which whole seconds count; or oplogTs with oplogInc, each a number or a text. *wanted false: it says nothing. INVALID: both,
 * half of a pair, a checkpoint, or what is no such number.
 */
HF_MUST_CHECK enum hf_err hf_points_target_from_json(const struct hf_json *body, bool *wanted,
                                                     struct hf_target *out, struct hf_error *err);
/* A range for people and programs: the private API's form. NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_points_range_to_json(const struct hf_points *points, size_t range);

/*
 * From which entries on the slices of a job are in use: by restores under way, by links with a point in time until they
 * expire, and by snapshots that are being taken, which may become a base. For whoever deletes slices, right before each deletion. *leases is the caller's to free with hf_free.
 */
HF_MUST_CHECK enum hf_err hf_points_leases(struct hf_server_app *app, const struct hf_id *job,
                                           struct hf_optime **leases, size_t *count,
                                           struct hf_error *err);

#endif
