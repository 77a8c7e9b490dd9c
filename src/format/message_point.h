/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a restore's messages that speaks of a point in time: what the agent brings the snapshot to, and what came of
 * it (docs/format/agent-protocol.md). Plain values; knows no chain, no plan and no mongod.
 */
#ifndef HF_FORMAT_MESSAGE_POINT_H
#define HF_FORMAT_MESSAGE_POINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "codec/json.h"
#include "format/ids.h"
#include "format/manifest.h"

/* A text of all that a replay had to set right, or could not. */
#define HF_REPLAY_NOTES_BYTES 4096

/* In a task: what the snapshot is brought to once its files lie there. */
struct hf_task_point {
    bool wanted; /* false: the snapshot as it is, and all below is zero */
    bool date;   /* up to and not including that second; else up to and including that entry */
    uint32_t seconds, increment;
    /* What the server planned, with its term: the agent, which plans again, must come to the same. None: the base's own
     * oplog is enough. */
    struct hf_optime last;
    /* Of the base, as its manifest has them. */
    struct hf_optime checkpoint, oplog_end, committed;
    char fcv[HF_WORD_BYTES];
    char server_version[HF_WORD_BYTES];
    struct hf_json *engine_options; /* owned; startup options that the data needs, or NULL */
};
void hf_task_point_fini(struct hf_task_point *point);
/* Adds "point" and "base" to a restore's content; nothing when no point is wanted. */
HF_MUST_CHECK enum hf_err hf_task_point_set(struct hf_json *json, const struct hf_task_point *point,
                                            struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_task_point_get(const struct hf_json *json, struct hf_task_point *out,
                                            struct hf_error *err);

/* In a finish: what the replay did. */
struct hf_msg_replay {
    bool done;            /* false: there was none, and all below is zero */
    struct hf_optime top; /* last entry of the oplog in the restored files */
    uint64_t compared;    /* entries that the copy held too */
    uint64_t inserted, inserted_bytes;
    uint64_t validated; /* collections */
    uint64_t wrong;     /* things that recovery left wrong and nothing could set right */
    char notes[HF_REPLAY_NOTES_BYTES]; /* a line each: what was set right, and what was not */
};
/* Adds "replay"; nothing when none was done. */
void hf_msg_replay_set(struct hf_json *json, const struct hf_msg_replay *replay);
HF_MUST_CHECK enum hf_err hf_msg_replay_get(const struct hf_json *json, struct hf_msg_replay *out,
                                            struct hf_error *err);

#endif
