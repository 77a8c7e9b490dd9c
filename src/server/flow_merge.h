/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping the oplog stores tidy: slices of every job that have become many and small are merged.
 */
#ifndef HF_SERVER_FLOW_MERGE_H
#define HF_SERVER_FLOW_MERGE_H

#include "server/app.h"

/* Slices of a job below which merging is not looked at: so few cost nobody anything. */
#define HF_MERGE_MANY 64
/* A slice that is younger is left alone: the tail, or who follows it, may still be at it. */
#define HF_MERGE_AGE_S 3600

/* A few merges for each job that has many slices. A job that fails hinders no other; the first error is returned. Waits for
 * the stores, minutes where there is much: on a worker. */
HF_MUST_CHECK enum hf_err hf_flow_merge_tick(struct hf_server_app *app, struct hf_error *err);

#endif
