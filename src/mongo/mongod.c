/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server process of our own, from the start to a clean stop. Real mongod and sandbox take the same options, so
 * nothing here knows which it is.
 */
#include "mongo/mongod.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "mongo/client_internal.h"
#include "mongo/reply_internal.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"

#define START_LIMIT_MS 120000
#define STOP_LIMIT_MS 60000
#define DROP_GRACE_MS 10000
#define DEATH_MS 5000
#define POLL_MS 25
/* One try to connect while it starts; a refused connection comes back at once anyway. */
#define CONNECT_MS 2000
/* dbHash and validate of a large copy take long. */
#define SOCKET_MS 3600000
#define MAX_ARGUMENTS 128
#define LOG_TAIL_BYTES 600
#define LOG_LOOK_BYTES ((size_t)128 << 10)

struct hf_mongod {
    struct hf_process *process; /* owned */
    char host[HF_MONGO_HOST_BYTES];
    char *log_path; /* owned */
};

/* The command line while it is put together. */
struct arguments {
    const char *values[MAX_ARGUMENTS + 1];
    size_t count;
};

static void add(struct arguments *arguments, const char *value)
{
    if (arguments->count < MAX_ARGUMENTS) {
        arguments->values[arguments->count] = value;
    }
    arguments->count++;
}

static void add_option(struct arguments *arguments, const char *name, const char *value)
{
    if (value != NULL) {
        add(arguments, name);
        add(arguments, value);
    }
}

static void add_parameters(struct arguments *arguments, const char *const *parameters)
{
    for (size_t i = 0; parameters != NULL && parameters[i] != NULL; i++) {
        add_option(arguments, "--setParameter", parameters[i]);
    }
}

const char *hf_mongod_host(const struct hf_mongod *mongod)
{
    return mongod->host;
}

int hf_mongod_pid(const struct hf_mongod *mongod)
{
    return hf_process_pid(mongod->process);
}

bool hf_mongod_running(struct hf_mongod *mongod)
{
    struct hf_error ignored;
    bool ended = false;
    int exit_code = 0;

    return hf_process_wait(mongod->process, 0, &ended, &exit_code, &ignored) == HF_ERR_OK && !ended;
}

static void free_mongod(struct hf_mongod *mongod)
{
    hf_process_stop(mongod->process, 0);
    hf_free(mongod->log_path);
    hf_free(mongod);
}

void hf_mongod_kill(struct hf_mongod *mongod)
{
    struct hf_error ignored;
    bool ended = false;
    int exit_code = 0;

    hf_process_signal(mongod->process, SIGKILL);
    /* Nothing outlives SIGKILL for long; the wait only collects it. */
    (void)!hf_process_wait(mongod->process, DROP_GRACE_MS, &ended, &exit_code, &ignored);
    free_mongod(mongod);
}

void hf_mongod_drop(struct hf_mongod *mongod)
{
    if (mongod != NULL) {
        hf_process_stop(HF_TAKE(mongod->process), DROP_GRACE_MS);
        free_mongod(mongod);
    }
}

/* ---- Starting ---- */

static enum hf_err launch(struct hf_mongod *mongod, const struct hf_mongod_options *options,
                          const char *host, uint16_t port, struct hf_error *err)
{
    struct arguments arguments = {.count = 0};
    char port_text[8];
    HF_CLEANUP(hf_free) char *output = hf_asprintf("%s.out", mongod->log_path);

    (void)snprintf(port_text, sizeof port_text, "%u", port);
    add(&arguments, options->program);
    add_option(&arguments, "--dbpath", options->dbpath);
    add_option(&arguments, "--logpath", mongod->log_path);
    add_option(&arguments, "--bind_ip", host);
    add_option(&arguments, "--port", port_text);
    add_option(&arguments, "--replSet", options->repl_set);
    add_option(&arguments, "--keyFile", options->key_file);
    if (options->for_looking) {
        add_option(&arguments, "--setParameter", "ttlMonitorEnabled=false");
        add_option(&arguments, "--setParameter", "disableLogicalSessionCacheRefresh=true");
    }
    add_parameters(&arguments, options->parameters);
    for (size_t i = 0; options->arguments != NULL && options->arguments[i] != NULL; i++) {
        add(&arguments, options->arguments[i]);
    }
    if (arguments.count > MAX_ARGUMENTS) {
        return hf_fail(err, HF_ERR_LIMIT, "more than %d arguments", MAX_ARGUMENTS);
    }
    if (output == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start");
    }
    arguments.values[arguments.count] = NULL;
    struct hf_process_options process = {
        .argv = arguments.values,
        .output_path = output,
        .die_with_parent = !options->outlive_parent,
    };
    return hf_process_start(&process, &mongod->process, err);
}

/* The end of a text file in `room`, which ends in NUL; false when it cannot be read. */
static bool read_end(const char *path, char *room, size_t room_bytes)
{
    struct hf_error ignored;
    struct hf_file_info info;
    HF_CLEANUP(hf_file_drop) struct hf_file *file = NULL;
    size_t got = 0;

    room[0] = '\0';
    if (hf_file_open(path, HF_OPEN_READ, 0, &file, &ignored) != HF_ERR_OK ||
        hf_file_info(file, &info, &ignored) != HF_ERR_OK) {
        return false;
    }
    uint64_t from = info.size_bytes < room_bytes ? 0 : info.size_bytes - (room_bytes - 1);
    if (hf_file_read_at(file, from, room, room_bytes - 1, &got, &ignored) != HF_ERR_OK) {
        got = 0;
    }
    while (got > 0 && (room[got - 1] == '\n' || room[got - 1] == '\r')) {
        got--;
    }
    room[got] = '\0';
    for (size_t i = 0; i < got; i++) {
        if (room[i] == '\0') {
            room[i] = ' ';
        }
    }
    return got > 0;
}

/* The first line of that severity in mongod's own log, from "id" on; NULL when there is none. */
static char *find_line(char *text, const char *severity)
{
    char *at = strstr(text, severity);

    if (at == NULL) {
        return NULL;
    }
    char *end = strchr(at, '\n');
    if (end != NULL) {
        *end = '\0';
    }
    char *id = strstr(at, "\"id\":");
    return id != NULL ? id : at;
}

/* Why a server ended, on one line: what its log calls fatal, or an error, else the log's end; "" when it has none. */
static void read_tail(const char *path, char out[LOG_TAIL_BYTES])
{
    HF_CLEANUP(hf_free) char *text = hf_alloc(LOG_LOOK_BYTES);

    out[0] = '\0';
    if (text == NULL || !read_end(path, text, LOG_LOOK_BYTES)) {
        return;
    }
    const char *said = find_line(text, "\"s\":\"F\"");
    if (said == NULL) {
        said = find_line(text, "\"s\":\"E\"");
    }
    if (said == NULL) {
        size_t len = strlen(text);
        said = len < LOG_TAIL_BYTES ? text : text + len - (LOG_TAIL_BYTES - 1);
    }
    (void)snprintf(out, LOG_TAIL_BYTES, "%s", said);
    for (size_t i = 0; out[i] != '\0'; i++) {
        if ((unsigned char)out[i] < ' ') {
            out[i] = ' ';
        }
    }
}

static enum hf_err fail_ended(const struct hf_mongod *mongod, int exit_code, struct hf_error *err)
{
    char tail[LOG_TAIL_BYTES];
    HF_CLEANUP(hf_free) char *output = hf_asprintf("%s.out", mongod->log_path);

    read_tail(mongod->log_path, tail);
    if (tail[0] == '\0' && output != NULL) {
        read_tail(output, tail); /* it died before it had a log */
    }
    return hf_fail(err, HF_ERR_INTERNAL, "ended with exit code %d; %s: %s", exit_code,
                   mongod->log_path, tail[0] != '\0' ? tail : "(nothing)");
}

enum hf_err hf_mongod_explain(struct hf_mongod *mongod, struct hf_error *err)
{
    struct hf_error ignored;
    bool ended = false;
    int exit_code = 0;

    /* The connection of a server that dies breaks before the process is gone. */
    if (hf_process_wait(mongod->process, DEATH_MS, &ended, &exit_code, &ignored) == HF_ERR_OK &&
        ended) {
        return fail_ended(mongod, exit_code, err);
    }
    return err->code;
}

static enum hf_err connect_to(const struct hf_mongod *mongod, uint32_t connect_ms,
                              struct hf_mongo_client **out, struct hf_error *err)
{
    struct hf_mongo_options options = {
        .host = mongod->host,
        .connect_timeout_ms = connect_ms,
        .socket_timeout_ms = SOCKET_MS,
    };
    return hf_mongo_client_open(&options, out, err);
}

enum hf_err hf_mongod_client(struct hf_mongod *mongod, struct hf_mongo_client **out,
                             struct hf_error *err)
{
    return connect_to(mongod, 0, out, err);
}

static enum hf_err wait_ready(struct hf_mongod *mongod, uint64_t limit_ms,
                              const struct hf_cancel *cancel, struct hf_error *err)
{
    uint64_t deadline = hf_clock_mono_ms() + limit_ms;
    const bool near = strncmp(mongod->host, "127.0.0.1:", 10) == 0;
    const uint16_t port = (uint16_t)strtoul(strrchr(mongod->host, ':') + 1, NULL, 10);

    for (;;) {
        HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
        struct hf_error waited;
        bool ended = false;
        int exit_code = 0;

        if (hf_process_wait(mongod->process, POLL_MS, &ended, &exit_code, err) != HF_ERR_OK) {
            return err->code;
        }
        if (ended) {
            return fail_ended(mongod, exit_code, err);
        }
        /* The driver waits half a second and more after a connection that was refused. */
        if (near && !hf_port_listens(port)) {
            (void)hf_fail(err, HF_ERR_UNAVAILABLE, "%s: not listening", mongod->host);
        } else if (connect_to(mongod, CONNECT_MS, &client, err) == HF_ERR_OK) {
            return HF_ERR_OK;
        }
        if (hf_clock_mono_ms() >= deadline) {
            waited = *err;
            return hf_fail(err, HF_ERR_TIMEOUT, "no answer within %llu ms: %s",
                           (unsigned long long)limit_ms, waited.message);
        }
        if (hf_cancel_check(cancel, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

enum hf_err hf_mongod_start(const struct hf_mongod_options *options, const struct hf_cancel *cancel,
                            struct hf_mongod **out, struct hf_error *err)
{
    const char *host = options->host != NULL ? options->host : "127.0.0.1";
    uint16_t port = options->port != 0 ? options->port : hf_free_port();
    uint32_t limit_ms = options->start_limit_ms != 0 ? options->start_limit_ms : START_LIMIT_MS;
    HF_CLEANUP(hf_mongod_drop) struct hf_mongod *mongod = hf_alloc_zero(sizeof *mongod);

    if (mongod == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start %s", options->program);
    }
    if (port == 0) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "start %s: no free port", options->program);
    }
    (void)snprintf(mongod->host, sizeof mongod->host, "%s:%u", host, port);
    mongod->log_path = options->log_path != NULL ? hf_strdup(options->log_path)
                                                 : hf_asprintf("%s.log", options->dbpath);
    if (mongod->log_path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start %s", options->program);
    }
    if (hf_fs_make_dirs(options->dbpath, 0700, err) != HF_ERR_OK ||
        launch(mongod, options, host, port, err) != HF_ERR_OK ||
        wait_ready(mongod, limit_ms, cancel, err) != HF_ERR_OK) {
        return hf_wrap(err, "start %s on %s", options->program, options->dbpath);
    }
    *out = HF_TAKE(mongod);
    return HF_ERR_OK;
}

/* ---- Stopping ---- */

/* The command has no reply when it works: the connection just ends. False when the server refused it. */
static bool ask_shutdown(struct hf_mongod *mongod)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_error error;

    if (connect_to(mongod, CONNECT_MS, &client, &error) != HF_ERR_OK) {
        return false;
    }
    /* force: a primary without electable secondaries would refuse to go. */
    enum hf_err result =
        hf_mongo_run(client, "admin", "{\"shutdown\": 1, \"force\": true}", NULL, &error);
    return result == HF_ERR_OK || result == HF_ERR_UNAVAILABLE;
}

enum hf_err hf_mongod_stop(struct hf_mongod *mongod, uint64_t limit_ms, bool *clean,
                           struct hf_error *err)
{
    uint64_t limit = limit_ms != 0 ? limit_ms : STOP_LIMIT_MS;
    uint64_t deadline = hf_clock_mono_ms() + limit;
    bool ended = false;
    int exit_code = 0;

    *clean = false;
    enum hf_err result = hf_process_wait(mongod->process, 0, &ended, &exit_code, err);
    if (result == HF_ERR_OK && !ended) {
        bool asked = ask_shutdown(mongod);
        /* Half of the time for the command's way, the other half for the signal's. */
        result = hf_process_wait(mongod->process, asked ? limit / 2 : 0, &ended, &exit_code, err);
    }
    if (result == HF_ERR_OK && !ended) {
        uint64_t now = hf_clock_mono_ms();
        hf_process_signal(mongod->process, SIGTERM);
        result = hf_process_wait(mongod->process, now < deadline ? deadline - now : 0, &ended,
                                 &exit_code, err);
    }
    if (result == HF_ERR_OK && !ended) {
        result = hf_fail(err, HF_ERR_TIMEOUT, "it did not stop within %llu ms and was killed",
                         (unsigned long long)limit);
    } else if (result == HF_ERR_OK && exit_code != 0) {
        result = fail_ended(mongod, exit_code, err);
    }
    *clean = result == HF_ERR_OK;
    if (result != HF_ERR_OK) {
        (void)hf_wrap(err, "stop %s", mongod->host);
    }
    hf_mongod_kill(mongod);
    return result;
}

/* ---- A set ---- */

static enum hf_err member_list(const char *const *hosts, size_t host_count, struct hf_buf *out,
                               struct hf_error *err)
{
    for (size_t i = 0; i < host_count; i++) {
        if (hf_buf_appendf(out, err, "%s{\"_id\": %zu, \"host\": \"%s\"}", i > 0 ? ", " : "[", i,
                           hosts[i]) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_buf_append_text(out, "]", err);
}

static enum hf_err wait_primary(const char *const *hosts, size_t host_count, uint64_t limit_ms,
                                const struct hf_cancel *cancel, char primary[HF_MONGO_HOST_BYTES],
                                struct hf_error *err)
{
    uint64_t deadline = hf_clock_mono_ms() + limit_ms;

    for (size_t i = 0;; i = (i + 1) % host_count) {
        HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
        HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
        struct hf_mongo_options options = {.host = hosts[i], .connect_timeout_ms = CONNECT_MS};
        struct hf_error error;

        bson_destroy(&reply);
        bson_init(&reply);
        if (hf_mongo_client_open(&options, &client, &error) == HF_ERR_OK &&
            hf_mongo_hello(client, &reply, &error) == HF_ERR_OK &&
            hf_mongo_get_bool(&reply, "isWritablePrimary",
                              hf_mongo_get_bool(&reply, "ismaster", false))) {
            return hf_mongo_copy_text(primary, HF_MONGO_HOST_BYTES, hosts[i], "host", err);
        }
        if (hf_clock_mono_ms() >= deadline) {
            return hf_fail(err, HF_ERR_TIMEOUT, "no primary within %llu ms",
                           (unsigned long long)limit_ms);
        }
        hf_cancel_sleep(cancel, POLL_MS);
        if (hf_cancel_check(cancel, err) != HF_ERR_OK) {
            return err->code;
        }
    }
}

enum hf_err hf_mongod_initiate(const char *set_name, const char *const *hosts, size_t host_count,
                               const char *members, uint64_t limit_ms,
                               const struct hf_cancel *cancel, char primary[HF_MONGO_HOST_BYTES],
                               struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf list = HF_BUF_INIT(65536);
    HF_CLEANUP(hf_free) char *command = NULL;
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;

    HF_ASSERT(host_count > 0);
    if (members == NULL) {
        if (member_list(hosts, host_count, &list, err) != HF_ERR_OK) {
            return hf_wrap(err, "initiate %s", set_name);
        }
        members = hf_buf_text(&list);
    }
    if (members != NULL) {
        command =
            hf_asprintf("{\"replSetInitiate\": {\"_id\": \"%s\", \"version\": 1, \"members\": %s}}",
                        set_name, members);
    }
    if (command == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "initiate %s", set_name);
    }
    struct hf_mongo_options options = {.host = hosts[0]};
    if (hf_mongo_client_open(&options, &client, err) != HF_ERR_OK ||
        hf_mongo_run(client, "admin", command, NULL, err) != HF_ERR_OK ||
        wait_primary(hosts, host_count, limit_ms, cancel, primary, err) != HF_ERR_OK) {
        return hf_wrap(err, "initiate %s", set_name);
    }
    return HF_ERR_OK;
}
