/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where each round ended, and who was woken since. Must not know what a round does.
 */
#include "server/rounds.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "server/fleet.h"

#define ALL 1000000 /* without rounds */

void hf_rounds_init(struct hf_rounds *rounds)
{
    memset(rounds, 0, sizeof *rounds);
    hf_mutex_init(&rounds->mutex);
}

void hf_rounds_fini(struct hf_rounds *rounds)
{
    hf_mutex_fini(&rounds->mutex);
}

void hf_rounds_wake(struct hf_rounds *rounds, const struct hf_id *job)
{
    if (rounds == NULL) {
        return;
    }
    HF_LOCKED(&rounds->mutex);
    for (size_t i = 0; i < HF_ROUND_COUNT; i++) {
        struct hf_round *round = &rounds->rounds[i];
        bool there = round->woken_count == HF_ARRAY_LEN(round->woken);
        for (size_t k = 0; k < round->woken_count && !there; k++) {
            there = hf_id_equal(&round->woken[k], job);
        }
        if (!there) {
            round->woken[round->woken_count++] = *job;
        }
    }
}

void hf_rounds_begin(struct hf_server_app *app, enum hf_round_of which, size_t most,
                     struct hf_rounds_place *place, struct hf_catalog_query *query)
{
    query->limit = ALL;
    if (app->rounds == NULL) {
        return;
    }
    HF_LOCKED(&app->rounds->mutex);
    (void)snprintf(place->after, sizeof place->after, "%s", app->rounds->rounds[which].after);
    query->after = place->after[0] == '\0' ? NULL : place->after;
    query->limit = most;
}

void hf_rounds_went(struct hf_server_app *app, enum hf_round_of which,
                    const struct hf_catalog_query *query, size_t count, const char *last)
{
    if (app->rounds == NULL) {
        return;
    }
    HF_LOCKED(&app->rounds->mutex);
    struct hf_round *round = &app->rounds->rounds[which];
    (void)snprintf(round->after, sizeof round->after, "%s", count < query->limit ? "" : last);
}

bool hf_rounds_is_over(struct hf_server_app *app, enum hf_round_of which)
{
    if (app->rounds == NULL) {
        return true;
    }
    HF_LOCKED(&app->rounds->mutex);
    return app->rounds->rounds[which].after[0] == '\0';
}

static bool is_among(const struct hf_keep_jobs *jobs, const struct hf_id *id)
{
    for (size_t i = 0; i < jobs->count; i++) {
        if (hf_id_equal(&jobs->items[i].id, id)) {
            return true;
        }
    }
    return false;
}

/* Those that were woken and whose turn it is not. */
static enum hf_err add_woken(struct hf_server_app *app, enum hf_round_of which,
                             struct hf_keep_jobs *jobs, struct hf_error *err)
{
    struct hf_id woken[HF_ROUND_WOKEN];
    size_t count = 0;

    if (app->rounds != NULL) {
        HF_LOCKED(&app->rounds->mutex);
        struct hf_round *round = &app->rounds->rounds[which];
        count = round->woken_count;
        memcpy(woken, round->woken, count * sizeof *woken);
        round->woken_count = 0;
    }
    struct hf_job_record *more =
        hf_realloc_array(jobs->items, jobs->count + count + 1, sizeof *more);
    if (more == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    jobs->items = more;
    for (size_t i = 0; i < count; i++) {
        if (is_among(jobs, &woken[i])) {
            continue;
        }
        enum hf_err code =
            hf_keep_job_get(app->catalog, &woken[i], &jobs->items[jobs->count], NULL, err);
        if (code != HF_ERR_OK && code != HF_ERR_NOT_FOUND) {
            return code;
        }
        jobs->count += code == HF_ERR_OK && hf_fleet_is_own(app, &jobs->items[jobs->count]);
    }
    return HF_ERR_OK;
}

static enum hf_err find_jobs(struct hf_server_app *app, enum hf_round_of which, size_t most,
                             struct hf_keep_jobs *out, struct hf_error *err)
{
    struct hf_catalog_query query = {.index = NULL};
    struct hf_rounds_place place;
    struct hf_id_text server;

    if (!hf_fleet_own_jobs(app, &query, &server)) {
        return HF_ERR_OK;
    }
    hf_rounds_begin(app, which, most, &place, &query);
    if (hf_keep_job_find(app->catalog, &query, out, err) != HF_ERR_OK) {
        return err->code;
    }
    if (query.after != NULL && out->count == 0) { /* the last round ended with the last job */
        hf_keep_jobs_fini(out);
        query.after = NULL;
        if (hf_keep_job_find(app->catalog, &query, out, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    hf_rounds_went(app, which, &query, out->count,
                   out->count == 0 ? "" : hf_id_text(&out->items[out->count - 1].id).text);
    return HF_ERR_OK;
}

enum hf_err hf_rounds_jobs(struct hf_server_app *app, enum hf_round_of which, size_t most,
                           struct hf_keep_jobs *out, struct hf_error *err)
{
    HF_CLEANUP(hf_keep_jobs_fini) struct hf_keep_jobs jobs = {.items = NULL};

    if (find_jobs(app, which, most, &jobs, err) != HF_ERR_OK ||
        add_woken(app, which, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = jobs;
    jobs = (struct hf_keep_jobs){.items = NULL};
    return HF_ERR_OK;
}
