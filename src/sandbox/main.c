/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holdfast-sandbox: one member, as mongod is one process. Started by `holdfast sandbox`, by tests, or by hand.
 *
 * It opens the data, joins its set, listens, and waits for the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "os/process.h"
#include "sandbox/server_internal.h"

#define EXIT_BAD_OPTIONS 2
#define EXIT_ABRUPT 14    /* mongod's: a fatal assertion */
#define EXIT_UNCAUGHT 100 /* mongod's: the data directory cannot be used */

static enum hf_err start(struct hf_sandbox_server *server, struct hf_error *err)
{
    const struct hf_sandbox_options *options = &server->options;
    const struct hf_sandbox_engine_options engine_options = {
        .dbpath = options->dbpath,
        .replicated = options->repl_set != NULL,
        .recover_from_oplog = hf_sandbox_options_is_set(options, "recoverFromOplogAsStandalone"),
        .unstable_checkpoint =
            hf_sandbox_options_is_set(options, "takeUnstableCheckpointOnShutdown"),
        .queryable = options->queryable != NULL,
        .recover_to_ts = options->recover_to_ts,
        .oplog_bytes = options->oplog_size_mb << 20,
        .checkpoint_every_ms = options->sync_delay_s * 1000,
        .cache_bytes = options->cache_gb == NULL
                           ? 0
                           : (uint64_t)(strtod(options->cache_gb, NULL) * 1073741824.0),
        .log = server->log,
    };

    if (hf_sandbox_engine_open(&engine_options, &server->engine, err) != HF_ERR_OK ||
        hf_sandbox_repl_start(server->engine, options, server->log, &server->repl, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_server_start(server, err);
}

/* In the order in which nobody misses what is gone. */
static enum hf_err stop(struct hf_sandbox_server *server, struct hf_error *err)
{
    hf_sandbox_server_stop(server);
    hf_sandbox_repl_stop(server->repl);
    return server->engine == NULL ? HF_ERR_OK : hf_sandbox_engine_close(server->engine, err);
}

/* A primary that goes lets a successor catch up while others can still fetch from it. */
static void hand_over(struct hf_sandbox_repl *repl)
{
    OWNED_DOC *command = BCON_NEW("replSetStepDown", BCON_INT32(10), "secondaryCatchUpPeriodSecs",
                                  BCON_INT32(2), "force", BCON_BOOL(true));
    OWNED_DOC *reply = bson_new();
    struct hf_sandbox_refusal no;
    const struct hf_sandbox_ask ask = {
        .name = "replSetStepDown", .command = command, .reply = reply, .no = &no};

    if (hf_sandbox_repl_state(repl) == HF_SANDBOX_PRIMARY) {
        (void)hf_sandbox_repl_command(repl, &ask);
    }
}

static int report(const struct hf_error *err, int exit_code)
{
    (void)fprintf(stderr, "holdfast-sandbox: %s\n", err->message);
    return exit_code;
}

static enum hf_err open_log(const char *path, struct hf_log **out, struct hf_error *err)
{
    FILE *stream = path == NULL ? stdout : fopen(path, "ae");

    if (stream == NULL) {
        return hf_fail_errno(err, errno, "log file %s", path);
    }
    *out = hf_log_create(stream, HF_LOG_INFO, 0);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "open the log") : HF_ERR_OK;
}

int main(int argc, char **argv)
{
    static struct hf_cancel shutdown; /* signal handlers reach it for ever */
    struct hf_sandbox_server server = {.shutdown = &shutdown};
    const char *faults = getenv("HOLDFAST_FAULTS");
    struct hf_error err;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("db version v%s\n", HF_SANDBOX_VERSION);
        return fflush(stdout) == 0 ? 0 : EXIT_UNCAUGHT;
    }
    hf_signals_cancel(&shutdown);
    if (hf_fault_parse(faults == NULL ? "" : faults, &err) != HF_ERR_OK ||
        hf_sandbox_options_parse(argc, (const char *const *)argv, &server.options, &err) !=
            HF_ERR_OK ||
        open_log(server.options.log_path, &server.log, &err) != HF_ERR_OK) {
        return report(&err, EXIT_BAD_OPTIONS);
    }
    hf_log_info(server.log, "sandbox.starting", HF_U64("pid", (uint64_t)getpid()),
                HF_U64("port", server.options.port), HF_STR("dbpath", server.options.dbpath));
    if (start(&server, &err) != HF_ERR_OK) {
        struct hf_error ignored;

        hf_log_error(server.log, "sandbox.not_started", HF_STR("error", err.message));
        (void)stop(&server, &ignored); /* the first error is the one to tell */
        return report(&err,
                      strstr(err.message, "fatal assertion") != NULL ? EXIT_ABRUPT : EXIT_UNCAUGHT);
    }
    while (!hf_cancel_requested(&shutdown)) {
        hf_cancel_sleep(&shutdown, 1000);
    }
    hand_over(server.repl);
    hf_log_info(server.log, "sandbox.stopping");
    if (stop(&server, &err) != HF_ERR_OK) {
        return report(&err, EXIT_ABRUPT);
    }
    hf_log_info(server.log, "sandbox.stopped");
    hf_log_destroy(server.log);
    bson_destroy(&server.options.set_parameters);
    return 0;
}
