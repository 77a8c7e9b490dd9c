/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore's link for downloads, on the command line.
 */
#ifndef HF_CLI_LINK_H
#define HF_CLI_LINK_H

#include "codec/json.h"

/* What is known of it, indented. */
void hf_cli_print_link(const struct hf_json *link);

#endif
