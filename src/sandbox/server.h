/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire side of a member: listens, reads messages, runs commands. main.c starts it last and
 * stops it first.
 */
#ifndef HF_SANDBOX_SERVER_H
#define HF_SANDBOX_SERVER_H

#include "base/log.h"
#include "sandbox/engine.h"
#include "sandbox/options.h"
#include "sandbox/repl.h"

struct hf_sandbox_server;

struct hf_sandbox_server_options {
    const struct hf_sandbox_options *options; /* all borrowed: they outlive the server */
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_repl *repl;
    struct hf_log *log;
    struct hf_cancel *shutdown; /* the command `shutdown` requests it; main.c waits for it */
};

/* Listens when it returns. */
HF_MUST_CHECK enum hf_err hf_sandbox_server_start(const struct hf_sandbox_server_options *options,
                                                  struct hf_sandbox_server **out,
                                                  struct hf_error *err);
/* No new connections; operations are interrupted (11600), then everything is joined. NULL does
 * nothing. */
void hf_sandbox_server_stop(struct hf_sandbox_server *server);

#endif
