/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator should know of: kept in the catalog, newest HF_EVENTS_MAX of them, and logged. Knows no cause.
 */
#ifndef HF_SERVER_EVENTS_H
#define HF_SERVER_EVENTS_H

#include "backup/records.h"
#include "server/app.h"

#define HF_EVENTS_MAX 10000

struct hf_event_wish {
    struct hf_id
        id; /* none: a fresh one. The same id again: it was told already, and nothing is done */
    struct hf_id job;
    const char *set_name;
    const char *type;
    const char *text;
};
HF_MUST_CHECK enum hf_err hf_event_tell(struct hf_server_app *app, const struct hf_event_wish *wish,
                                        struct hf_error *err);

#endif
