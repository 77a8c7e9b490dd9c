/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The long-lived processes, from the command line to their rooms.
 */
#ifndef HF_MAIN_SERVICES_H
#define HF_MAIN_SERVICES_H

#include "base/error.h"
#include "config/option.h"

enum hf_err hf_main_server(int argc, char *const *argv, struct hf_error *err);
enum hf_err hf_main_agent(int argc, char *const *argv, struct hf_error *err);

extern const struct hf_option_table hf_main_server_options;
extern const struct hf_option_table hf_main_agent_options;

#endif
