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

#include "base/alloc.h"
#include "base/fault.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"
#include "sandbox/engine_internal.h"
#include "sandbox/server.h"

#define EXIT_BAD_OPTIONS 2
#define EXIT_ABRUPT 14    /* mongod's: a fatal assertion */
#define EXIT_UNCAUGHT 100 /* mongod's: the data directory cannot be used */
#define STARTUP_LOG_NS "local.startup_log"

struct member {
    struct hf_sandbox_options options;
    struct hf_log *log;
    struct hf_sandbox_engine *engine;
    struct hf_sandbox_repl *repl;
    struct hf_sandbox_server *server;
};

static void append_startup(const struct member *member, bson_t *doc)
{
    char host[256];
    char text[HF_TIME_TEXT_BYTES];
    uint64_t now = hf_clock_wall_ms();
    HF_CLEANUP(hf_free) char *id = NULL;
    bson_t inner;

    hf_host_name(host, sizeof host);
    hf_time_format(now / 1000, text);
    id = hf_asprintf("%s-%llu", host, (unsigned long long)now);
    (void)BSON_APPEND_UTF8(doc, "_id", id == NULL ? host : id);
    (void)BSON_APPEND_UTF8(doc, "hostname", host);
    (void)BSON_APPEND_DATE_TIME(doc, "startTime", (int64_t)now);
    (void)BSON_APPEND_UTF8(doc, "startTimeLocal", text);
    (void)BSON_APPEND_DOCUMENT_BEGIN(doc, "cmdLine", &inner);
    hf_sandbox_options_append_parsed(&member->options, &inner);
    (void)bson_append_document_end(doc, &inner);
    (void)BSON_APPEND_INT64(doc, "pid", getpid());
}

/* Each start leaves a document, as mongod's does; in no oplog. */
static enum hf_err write_startup_log(struct member *member, struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_txn_abort) struct hf_sandbox_txn *txn = NULL;
    bson_t options = BSON_INITIALIZER;
    bson_t doc = BSON_INITIALIZER;
    enum hf_err result;

    (void)BSON_APPEND_BOOL(&options, "capped", true);
    (void)BSON_APPEND_INT32(&options, "size", 10485760);
    append_startup(member, &doc);
    result = hf_sandbox_local_create(member->engine, STARTUP_LOG_NS, &options, err);
    if (result == HF_ERR_OK) {
        result = hf_sandbox_txn_begin_keeping(member->engine, &txn, err);
    }
    if (result == HF_ERR_OK) {
        result =
            hf_sandbox_coll_insert(txn, hf_sandbox_txn_find(txn, STARTUP_LOG_NS), &doc, NULL, err);
    }
    if (result == HF_ERR_OK) {
        result = hf_sandbox_txn_commit(HF_TAKE(txn), NULL, err);
    }
    bson_destroy(&options);
    bson_destroy(&doc);
    return result;
}

static enum hf_err open_engine(struct member *member, struct hf_error *err)
{
    const struct hf_sandbox_options *options = &member->options;
    const struct hf_sandbox_engine_options engine_options = {
        .dbpath = options->dbpath,
        .replicated = options->repl_set != NULL,
        .recover_from_oplog = options->recover_from_oplog_as_standalone,
        .unstable_checkpoint = options->take_unstable_checkpoint_on_shutdown,
        .recover_to_ts = options->recover_to_ts,
        .oplog_bytes = options->oplog_size_mb << 20,
        .checkpoint_every_ms = options->sync_delay_s * 1000,
        .cache_bytes = options->cache_bytes,
        .log = member->log,
    };
    HF_CLEANUP(hf_free) char *storage = hf_path_join(options->dbpath, "storage.bson");

    if (options->queryable_backup_mode && (storage == NULL || !hf_fs_exists(storage))) {
        return hf_fail(err, HF_ERR_NOT_FOUND,
                       "Server was started in read-only mode, but the storage metadata file was "
                       "not found.");
    }
    if (hf_sandbox_engine_open(&engine_options, &member->engine, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_sandbox_engine_read_only(member->engine) ? HF_ERR_OK : write_startup_log(member, err);
}

static enum hf_err start(struct member *member, struct hf_cancel *shutdown, struct hf_error *err)
{
    if (open_engine(member, err) != HF_ERR_OK ||
        hf_sandbox_repl_start(member->engine, &member->options, member->log, &member->repl, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    const struct hf_sandbox_server_options server_options = {.options = &member->options,
                                                             .engine = member->engine,
                                                             .repl = member->repl,
                                                             .log = member->log,
                                                             .shutdown = shutdown};
    return hf_sandbox_server_start(&server_options, &member->server, err);
}

/* In the order in which nobody misses what is gone. */
static enum hf_err stop(struct member *member, struct hf_error *err)
{
    hf_sandbox_server_stop(member->server);
    hf_sandbox_repl_stop(member->repl);
    return hf_sandbox_engine_close(member->engine, err);
}

/* A primary that goes lets a successor catch up while others can still fetch from it. */
static void hand_over(struct member *member)
{
    bson_t *command = BCON_NEW("replSetStepDown", BCON_INT32(10), "secondaryCatchUpPeriodSecs",
                               BCON_INT32(2), "force", BCON_BOOL(true));
    struct hf_sandbox_refusal no;
    bson_t reply = BSON_INITIALIZER;

    if (hf_sandbox_repl_state(member->repl) == HF_SANDBOX_PRIMARY) {
        (void)hf_sandbox_repl_step_down(member->repl, command, &reply, &no);
    }
    bson_destroy(&reply);
    bson_destroy(command);
}

static int report(const char *what, const struct hf_error *err, int exit_code)
{
    (void)fprintf(stderr, "%s: %s\n", what, err->message);
    return exit_code;
}

static enum hf_err open_log(struct member *member, struct hf_error *err)
{
    FILE *stream = stdout;

    if (member->options.log_path != NULL &&
        (stream = fopen(member->options.log_path, "ae")) == NULL) {
        return hf_fail_errno(err, errno, "log file %s", member->options.log_path);
    }
    member->log = hf_log_create(stream, HF_LOG_INFO, 0);
    return member->log == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "open the log") : HF_ERR_OK;
}

static enum hf_err write_pid_file(const struct member *member, struct hf_error *err)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());

    if (member->options.pid_file == NULL) {
        return HF_ERR_OK;
    }
    return hf_fs_publish_replace(member->options.pid_file, hf_bytes_of(text, (size_t)len), 0644,
                                 err);
}

int main(int argc, char **argv)
{
    static struct hf_cancel shutdown; /* signal handlers reach it for ever */
    struct member member = {.log = NULL};
    struct hf_error err;

    hf_cancel_init(&shutdown);
    hf_signals_cancel(&shutdown);
    if (hf_fault_parse(getenv("HOLDFAST_FAULTS") == NULL ? "" : getenv("HOLDFAST_FAULTS"), &err) !=
            HF_ERR_OK ||
        hf_sandbox_options_parse(argc, (const char *const *)argv, &member.options, &err) !=
            HF_ERR_OK ||
        open_log(&member, &err) != HF_ERR_OK || write_pid_file(&member, &err) != HF_ERR_OK) {
        return report("holdfast-sandbox", &err, EXIT_BAD_OPTIONS);
    }
    hf_log_info(member.log, "sandbox.starting", HF_U64("pid", (uint64_t)getpid()),
                HF_U64("port", member.options.port), HF_STR("dbpath", member.options.dbpath));
    if (start(&member, &shutdown, &err) != HF_ERR_OK) {
        struct hf_error ignored;
        int code = strstr(err.message, "fatal assertion") != NULL ? EXIT_ABRUPT : EXIT_UNCAUGHT;

        hf_log_error(member.log, "sandbox.not_started", HF_STR("error", err.message));
        hf_sandbox_ignore(stop(&member, &ignored));
        return report("holdfast-sandbox", &err, code);
    }
    while (!hf_cancel_requested(&shutdown)) {
        hf_cancel_sleep(&shutdown, 1000);
    }
    hand_over(&member);
    hf_log_info(member.log, "sandbox.stopping");
    if (stop(&member, &err) != HF_ERR_OK) {
        return report("holdfast-sandbox", &err, EXIT_ABRUPT);
    }
    hf_log_info(member.log, "sandbox.stopped");
    hf_log_destroy(member.log);
    hf_sandbox_options_fini(&member.options);
    return 0;
}
