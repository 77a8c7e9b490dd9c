/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upkeep of the snapshot store: living and dead bytes of each job are counted, jobs are groomed and checked, when
 * backup/groom.h says so. Beside captures and restores, without a lock on either.
 */
#ifndef HF_SERVER_FLOW_GROOM_H
#define HF_SERVER_FLOW_GROOM_H

#include "backup/groom.h"
#include "server/app.h"

/*
 * Does what is due, one job after the other, until nothing is or no slot is free. Hours, where there is much: on a thread of
 * its own. Work that fails is logged and remembered in the job's record; work that the server's end breaks off is due again
 * at the next start. An error: the catalog cannot be read.
 */
HF_MUST_CHECK enum hf_err hf_flow_upkeep_tick(struct hf_server_app *app, struct hf_error *err);

struct hf_flow_upkeep_wish {
    struct hf_id job; /* none: all jobs of the project */
    enum hf_upkeep_work work;
    unsigned living_percent; /* of a groom or a count; 0: the policy's */
    bool full;               /* of a check */
};
/* Writes down that it is asked for; *count jobs. NOT_FOUND for a job that is none of the project's. */
HF_MUST_CHECK enum hf_err hf_flow_upkeep_ask(struct hf_server_app *app,
                                             const struct hf_flow_upkeep_wish *wish,
                                             uint64_t *count, struct hf_error *err);

/* What is worked on in one store at this moment. */
struct hf_flow_upkeep_slots {
    struct hf_slot_record items[HF_UPKEEP_SLOTS_MAX];
    uint64_t revisions[HF_UPKEEP_SLOTS_MAX]; /* 0: there is no such record yet */
    bool free[HF_UPKEEP_SLOTS_MAX];          /* nobody works under it, or who did is dead */
    size_t count;
};
HF_MUST_CHECK enum hf_err hf_flow_upkeep_slots(struct hf_server_app *app, const struct hf_id *store,
                                               struct hf_flow_upkeep_slots *out,
                                               struct hf_error *err);

/* The outcome of a verification goes into the snapshot's record, whatever else changes there meanwhile; problem: empty when
 * it is whole. One that cannot be written down is left out. */
void hf_flow_keep_verified(struct hf_server_app *app, const struct hf_id *snapshot,
                           const char *level, const char *problem);

#endif
