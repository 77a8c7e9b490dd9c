/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alerts at the server: facts out of catalog, disks and periodic work, judged by backup/alert.h, one document for each
 * alert, an event when it begins and when it is over, and a notice to whoever is to be told.
 */
#ifndef HF_SERVER_ALERTS_H
#define HF_SERVER_ALERTS_H

#include "backup/alert.h"
#include "server/app.h"

/* Looks at everything once, and writes down that this server works. Waits for catalog and disks: on a worker. */
HF_MUST_CHECK enum hf_err hf_alerts_pass(struct hf_server_app *app, struct hf_error *err);
/* The server ends because somebody wants it to: that it is silent from now on alarms nobody. */
void hf_alerts_leave(struct hf_server_app *app);

/* How a round of periodic work ended. Any thread. */
void hf_alerts_note_work(struct hf_server_app *app, enum hf_server_work work, enum hf_err code,
                         const char *message);

/* How this server answered an agent that asked what it is to do. Any thread. */
void hf_alerts_note_call(struct hf_server_app *app, const struct hf_id *agent, enum hf_err code,
                         const char *message);

/* Acknowledged until a time that lies ahead, else taken back. NOT_FOUND, CONFLICT. */
struct hf_alerts_acknowledgement {
    const char *who, *comment;
    uint64_t until_s;
};
HF_MUST_CHECK enum hf_err hf_alerts_acknowledge(struct hf_server_app *app, const struct hf_id *id,
                                                const struct hf_alerts_acknowledgement *wish,
                                                struct hf_alert_record *out, struct hf_error *err);

/* Newest complete snapshot of a job: what the job remembers of it, else looked for. snapshot is none when there is none. */
HF_MUST_CHECK enum hf_err hf_alerts_newest(struct hf_server_app *app,
                                           const struct hf_job_record *job, struct hf_job_last *out,
                                           struct hf_error *err);

#endif
