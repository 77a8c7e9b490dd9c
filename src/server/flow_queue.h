/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of due snapshots: what waits is in the schedules' documents, what runs in the snapshots', the order is
 * backup/turns.h.
 *
 * One process at a time begins snapshots: it holds the catalog's one document of the queue, which has the projects' turns too.
 * Each beginning is a compare-and-set of it, before: so several processes keep the limits together, and one that slept while
 * another took the queue over begins nothing. A holder whose document does not change for half a minute of our own clock has
 * died.
 */
#ifndef HF_SERVER_FLOW_QUEUE_H
#define HF_SERVER_FLOW_QUEUE_H

#include "backup/turns.h"
#include "server/flow_schedule.h"

/* Begins the first of the queue, as many as may run at once. From the server's periodic work. */
HF_MUST_CHECK enum hf_err hf_flow_queue_begin(struct hf_server_app *app, struct hf_error *err);

/*
 * What is due and has not begun: {"waiting": N, "running": N, "jobs": [{"jobId", "setName", "projectId", "place", "waitsFor",
 * "owedS", "latestS", "host"}]}; place, from 1, of the whole installation and of those alone that may begin; in the order of
 * the places, the others last. Only those of the project. NULL and *err where it cannot be said.
 */
HF_MUST_CHECK struct hf_json *hf_flow_queue_show(struct hf_server_app *app,
                                                 const struct hf_id *project, struct hf_error *err);

#endif
