/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator should know of, and what somebody changed: kept in the catalog for so many days, and logged. Knows no
 * cause. What is written when, docs/design/audit.md says.
 */
#ifndef HF_SERVER_EVENTS_H
#define HF_SERVER_EVENTS_H

#include "backup/records.h"
#include "server/app.h"

/* Of people and agents, and of the server itself: so that a busy server pushes out nothing that a person did. */
#define HF_EVENTS_MAX 100000
#define HF_EVENT_RETENTION_DAYS 400

struct hf_event_wish {
    struct hf_id
        id; /* none: a fresh one. The same id again: it was told already, and nothing is done */
    struct hf_id project; /* none: the job's */
    struct hf_id job;
    const char *set_name;
    const char *type;
    const char *text;
    /* Of an audit event. */
    struct hf_id target;
    const char *by;      /* HF_EVENT_BY_…; NULL: it happened by itself and is a warning */
    const char *user;    /* NULL: the server itself */
    const char *address; /* NULL: the same */
    const char *outcome; /* HF_EVENT_ASKED where hf_event_settle follows; else NULL */
};
#define HF_EVENT_BY_USER "USER"
#define HF_EVENT_BY_AGENT "AGENT"
#define HF_EVENT_BY_SERVER "SERVER"
#define HF_EVENT_ASKED "ASKED"
#define HF_EVENT_DONE "DONE"
#define HF_EVENT_FAILED "FAILED"

HF_MUST_CHECK enum hf_err hf_event_tell(struct hf_server_app *app, const struct hf_event_wish *wish,
                                        struct hf_error *err);
/* Fills the record as hf_event_tell does and writes it; what hf_event_settle needs afterwards. */
HF_MUST_CHECK enum hf_err hf_event_ask(struct hf_server_app *app, const struct hf_event_wish *wish,
                                       struct hf_event_record *out, struct hf_error *err);
/* What became of it: the record as it is to stay. */
HF_MUST_CHECK enum hf_err hf_event_settle(struct hf_server_app *app,
                                          const struct hf_event_record *event,
                                          struct hf_error *err);
/* Nothing was changed: the event goes again. */
HF_MUST_CHECK enum hf_err hf_event_withdraw(struct hf_server_app *app,
                                            const struct hf_event_record *event,
                                            struct hf_error *err);

/*
 * A change that the server makes by itself: told before it is made, by an id that follows from what is changed and
 * how, so that a change that was cut off and is made by the next round has one event.
 */
struct hf_event_own {
    const struct hf_id *job, *target;
    const char *set_name, *type, *text;
    uint64_t number; /* which of several changes of that type */
};
HF_MUST_CHECK enum hf_err hf_event_own(struct hf_server_app *app, const struct hf_event_own *own,
                                       struct hf_error *err);

/* Those that are older than the days, and the oldest above the maximum, go: some at each call. */
HF_MUST_CHECK enum hf_err hf_events_prune(struct hf_server_app *app, struct hf_error *err);

#endif
