/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounds of the periodic work: each looks at a few of many, the next one goes on behind them and begins anew at the end, so
 * that a round costs the same however large the catalog is. Where there are few, each round looks at all of them.
 *
 * What somebody waits for need not wait for its turn: a job that was woken is in the next round of every work. Woken is
 * told within this process alone; what another one changed is seen when its turn comes.
 */
#ifndef HF_SERVER_ROUNDS_H
#define HF_SERVER_ROUNDS_H

#include "base/thread.h"
#include "server/app.h"
#include "server/keep.h"

/* So many of 10,000 jobs every two seconds: each job within 80 s. */
#define HF_ROUND_JOBS 256
#define HF_ROUND_WOKEN 256

enum hf_round_of {
    HF_ROUND_RESUME,
    HF_ROUND_TAILS,
    HF_ROUND_MOVES,
    HF_ROUND_PRUNE,
    HF_ROUND_TASKS_WAITING,
    HF_ROUND_TASKS_RUNNING,
    HF_ROUND_TASKS_FINISHING,
    HF_ROUND_GIVEN_UP,
    HF_ROUND_OPENED,
};
#define HF_ROUND_COUNT 9

struct hf_rounds {
    struct hf_mutex mutex; /* guards: all below */
    struct hf_round {
        char after[HF_CATALOG_ID_MAX_BYTES + 1]; /* empty: from the start */
        struct hf_id woken[HF_ROUND_WOKEN];
        size_t woken_count;
    } rounds[HF_ROUND_COUNT];
};

void hf_rounds_init(struct hf_rounds *rounds);
void hf_rounds_fini(struct hf_rounds *rounds);

/* Any thread. With more than HF_ROUND_WOKEN at a time it is their turn that brings the others. rounds may be NULL. */
void hf_rounds_wake(struct hf_rounds *rounds, const struct hf_id *job);

/* The jobs of this round of that work, so many whose turn it is and those that were woken; no job twice. Without rounds, in
 * a test say, all of them. One thread at a time for each work. */
HF_MUST_CHECK enum hf_err hf_rounds_jobs(struct hf_server_app *app, enum hf_round_of which,
                                         size_t most, struct hf_keep_jobs *out,
                                         struct hf_error *err);
/* The next round begins anew. */
bool hf_rounds_is_over(struct hf_server_app *app, enum hf_round_of which);
/*
 * For other lists: makes the query one of so many documents behind where the last round ended; then hf_rounds_went says how
 * many came, and which was the last. The query is by id, or has equals_text.
 */
struct hf_rounds_place {
    char after[HF_CATALOG_ID_MAX_BYTES + 1];
};
void hf_rounds_begin(struct hf_server_app *app, enum hf_round_of which, size_t most,
                     struct hf_rounds_place *place, struct hf_catalog_query *query);
void hf_rounds_went(struct hf_server_app *app, enum hf_round_of which,
                    const struct hf_catalog_query *query, size_t count, const char *last);

#endif
