/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What agents were refused, for the log: who asked, from where, within which job. An agent in good order is refused
 * nothing, so the operator should look; one that is refused all the time fills no disk.
 */
#ifndef HF_SERVER_REFUSALS_H
#define HF_SERVER_REFUSALS_H

#include "net/http_server.h"
#include "server/app.h"

struct hf_server_refusals;

HF_MUST_CHECK enum hf_err hf_server_refusals_create(struct hf_server_app *app,
                                                    struct hf_server_refusals **out,
                                                    struct hf_error *err);
void hf_server_refusals_destroy(struct hf_server_refusals *refusals);
HF_CLEANUP_DEFINE(hf_server_refusals_destroy, struct hf_server_refusals *)

/* Before the request is answered. What a good agent may meet as well (NOT_FOUND, a session that is gone, an overloaded
 * server) is left out. Reads the catalog; any thread. */
void hf_server_refusals_note(struct hf_server_refusals *refusals,
                             const struct hf_http_request *request, const struct hf_error *why);

#endif
