/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that change something leave an event: who, what, when, on what, from where. Written as ASKED before the handler
 * runs, settled before the answer goes out; a refusal changed nothing and leaves none (docs/design/audit.md).
 */
#ifndef HF_SERVER_AUDIT_H
#define HF_SERVER_AUDIT_H

#include "backup/records.h"
#include "server/call.h"

struct hf_route; /* server_internal.h */

/* False: the event could not be written, and the call was answered; nothing may be changed then. */
HF_MUST_CHECK bool hf_audit_begin(struct hf_server_call *call, const struct hf_route *route);
/* Just before the answer goes out. answer may be NULL. */
void hf_audit_settle(struct hf_server_call *call, int status, const struct hf_json *answer);
void hf_audit_drop(struct hf_server_call *call);

/* What the handler knows. Each does nothing in a call that is not audited. */
void hf_audit_about_job(struct hf_server_call *call, const struct hf_id *job, const char *set_name);
/* Something is changed already, whatever is refused from here on. */
void hf_audit_changed(struct hf_server_call *call);

/* The event's type for a route's handler; NULL: it changes nothing. */
const char *hf_audit_type(const struct hf_route *route, const struct hf_json *body);

#endif
