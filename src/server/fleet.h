/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This server process among others on the same catalog (docs/design/servers.md): it announces itself and raises its beat,
 * watches those of the others, takes over what a dead or drained one had, and says whose work is whose. Must not know what
 * the work is.
 *
 * A server without others, in a test say, has no fleet: with app->fleet NULL all is its own.
 */
#ifndef HF_SERVER_FLEET_H
#define HF_SERVER_FLEET_H

#include "backup/fleet.h"
#include "server/app.h"
#include "server/keep.h"

/* A server that is silent for so long is taken for dead. */
#define HF_FLEET_SILENCE_S 30

struct hf_fleet_options {
    const char *data_dir;
    const char *name;
    uint64_t silence_s;          /* 0: HF_FLEET_SILENCE_S */
    bool (*busy)(void *context); /* whether work is under way that a drain waits for; may be NULL */
    void *context;
};
/*
 * Announces this process and looks at the others for the first time; app->fleet is set on success. CONFLICT when a process
 * of that name lives. The catalog is open, app->process drawn.
 */
HF_MUST_CHECK enum hf_err hf_fleet_join(struct hf_server_app *app,
                                        const struct hf_fleet_options *options,
                                        struct hf_error *err);
/* Tells where it serves, and starts its thread: beats and looks until hf_fleet_leave. */
HF_MUST_CHECK enum hf_err hf_fleet_start(struct hf_server_app *app, const char *url,
                                         struct hf_error *err);
/* Ends the thread and says that this server has ended. May be called twice, and without a fleet. */
void hf_fleet_leave(struct hf_server_app *app);
void hf_fleet_destroy(struct hf_fleet *fleet);
HF_CLEANUP_DEFINE(hf_fleet_destroy, struct hf_fleet *)

/* All below: any thread. */

/* Another process has our name, or our record was removed: this one must end. */
bool hf_fleet_is_lost(struct hf_server_app *app);
/* Whether another server's process lives, as its lock file says. For the start. */
bool hf_fleet_has_others(struct hf_server_app *app);

/*
 * The jobs whose periodic work is this server's now, by their ids. None while this server has not looked around for long: it
 * slept, and others may have them by now.
 */
HF_MUST_CHECK enum hf_err hf_fleet_jobs(struct hf_server_app *app, struct hf_keep_jobs *out,
                                        struct hf_error *err);
/* The query for them, with room for its text; false: none are ours now. */
HF_MUST_CHECK bool hf_fleet_own_jobs(struct hf_server_app *app, struct hf_catalog_query *query,
                                     struct hf_id_text *text);
bool hf_fleet_is_own(struct hf_server_app *app, const struct hf_job_record *job);
/* The same of a job by its id, as the catalog says now; what is of no job any more is one server's for all. */
bool hf_fleet_owns(struct hf_server_app *app, const struct hf_id *job);
/* Among them: `jobs` is a list of hf_fleet_jobs. */
bool hf_fleet_has(const struct hf_keep_jobs *jobs, const struct hf_id *job);
/* Whether work for the job may go on: it is bound to this server still, as the catalog says now. For long work, step by
 * step. True too when the catalog cannot be read: what comes next says so. */
bool hf_fleet_keeps(struct hf_server_app *app, const struct hf_id *job);
/* This server does the work that is of no job. */
bool hf_fleet_leads(struct hf_server_app *app, enum hf_fleet_work work);
/* This server is switched on for it, and not drained. */
bool hf_fleet_does(struct hf_server_app *app, enum hf_server_switch which);
bool hf_fleet_is_draining(struct hf_server_app *app);
/* There is a living server that is not drained. */
bool hf_fleet_has_undrained(struct hf_server_app *app);
/* No living server is that process. */
bool hf_fleet_process_is_gone(struct hf_server_app *app, const struct hf_id *process);

/* There may be something for this agent, which may wait at another server. */
void hf_fleet_wake(struct hf_server_app *app, const struct hf_id *agent);

/*
 * Whether a snapshot of the job may begin: CONFLICT when its server is switched to begin none; BUSY when it is to begin by
 * itself, and as many of that server's jobs are being captured as it has workers.
 */
HF_MUST_CHECK enum hf_err hf_fleet_check_take(struct hf_server_app *app,
                                              const struct hf_job_record *job, bool by_itself,
                                              struct hf_error *err);
/* UNAVAILABLE when no restore may be begun at this server. */
HF_MUST_CHECK enum hf_err hf_fleet_check_restore(struct hf_server_app *app, struct hf_error *err);

/* All servers, by their ids, as this one saw them last. */
struct hf_fleet_list {
    struct hf_fleet_member items[HF_FLEET_MAX];
    size_t count;
};
void hf_fleet_list(struct hf_server_app *app, struct hf_fleet_list *out);
/* That the job is bound to, or NULL. */
const struct hf_fleet_member *hf_fleet_find(const struct hf_fleet_list *list,
                                            const struct hf_id *server);

/* A server for a new job, by the project's labels, load factor and switches: into job->server. CONFLICT when none takes new
 * jobs. */
HF_MUST_CHECK enum hf_err hf_fleet_assign(struct hf_server_app *app, struct hf_job_record *job,
                                          struct hf_error *err);

/* ---- By hand ---- */

/* Changes what is asked of a server, by its name. NOT_FOUND, BUSY. */
struct hf_fleet_wish {
    bool change[HF_SERVER_SWITCHES], on[HF_SERVER_SWITCHES];
    const uint64_t *workers, *load_factor; /* NULL: as it is */
    const char *labels;                    /* the same */
    bool drain, undrain;
};
HF_MUST_CHECK enum hf_err hf_fleet_set(struct hf_server_app *app, const struct hf_id *server,
                                       const struct hf_fleet_wish *wish,
                                       struct hf_server_record *out, struct hf_error *err);
/* A dead server is forgotten. CONFLICT while it lives or has jobs. */
HF_MUST_CHECK enum hf_err hf_fleet_remove(struct hf_server_app *app, const struct hf_id *server,
                                          struct hf_error *err);

#endif
