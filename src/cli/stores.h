/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of stores, for `store list` without a URL.
 */
#ifndef HF_CLI_STORES_H
#define HF_CLI_STORES_H

#include "cli/session.h"

HF_MUST_CHECK enum hf_err hf_cli_list_stores(const struct hf_cli_session_options *server,
                                             bool as_json, struct hf_error *err);

#endif
