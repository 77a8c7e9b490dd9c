/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this caller use this route, and in which project? Asked before every handler. Knows no HTTP.
 */
#ifndef HF_SERVER_DOOR_H
#define HF_SERVER_DOOR_H

#include "base/error.h"
#include "server/app.h"
#include "server/roles.h"

struct hf_route; /* server_internal.h */

struct hf_door_call {
    const struct hf_route *route;
    const struct hf_grants *grants;
    const char *const *parameters; /* of the path */
    const char *named;  /* a project's id or name, of a route whose path has none; NULL: not said */
    struct hf_id usual; /* the key's own project; none: it has none */
};
struct hf_door_answer {
    struct hf_id project;    /* what the call is about; of routes about no project the key's own */
    struct hf_id org;        /* of the path; none: it has none */
    uint32_t rights;         /* there */
    const char *public_code; /* of a refusal; NULL: one that fits the class */
};
/*
 * What the caller may not see and what does not exist give one answer: UNAUTHENTICATED with NOT_IN_GROUP for a project of the
 * path (rest-api.md 1.4), NOT_FOUND for one that was named. A right that is missing: UNAUTHENTICATED, USER_UNAUTHORIZED.
 */
HF_MUST_CHECK enum hf_err hf_door_open(struct hf_server_app *app, const struct hf_door_call *call,
                                       struct hf_door_answer *out, struct hf_error *err);

#endif
