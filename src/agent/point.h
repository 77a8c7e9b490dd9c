/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a restored snapshot to a point in time on this host: the plan out of the stored slices, and its replay. For every
 * task that restores.
 */
#ifndef HF_AGENT_POINT_H
#define HF_AGENT_POINT_H

#include "agent/task.h"
#include "store/store.h"

/* All borrowed for the call. */
struct hf_agent_reach {
    struct hf_store *store; /* as the task sees it */
    const char *directory;  /* holds the files of the base, and no server has it open */
    const struct hf_id *snapshot;
    uint64_t capture;
    const struct hf_task_point *point;
    const char *program; /* mongod; NULL: from PATH */
};
/*
 * Plans for that base alone, compares with what the server planned, replays. The directory keeps no trace of it but the data.
 * CONFLICT: another plan, or the source rolled back after the snapshot.
 */
HF_MUST_CHECK enum hf_err hf_agent_reach_point(const struct hf_agent_work *work,
                                               const struct hf_agent_reach *reach,
                                               struct hf_msg_replay *out, struct hf_error *err);

#endif
