/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of server and agent, and their start.
 */
#include "main/services.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/alloc.h"
#include "config/option.h"
#include "main/logging.h"
#include "os/hangup.h"
#include "os/process.h"
#include "server/server.h"
#include "server/settings.h"

extern char **environ;

/* ---- What both have ---- */

static void say_ready(const char *text)
{
    (void)printf("%s\n", text);
    (void)fflush(stdout);
    hf_supervisor_tell("READY=1");
}

static const char *or_null(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

static enum hf_err print_help(const struct hf_option_table *table, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 20);

    if (hf_option_help(table, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)fwrite(text.data, 1, text.len, stdout);
    return HF_ERR_OK;
}

/* The token lives as long as the process: signals may come until its last instruction. */
static struct hf_cancel *stop_token(void)
{
    static struct hf_cancel token; /* mutable: token, set by signals */

    hf_cancel_init(&token);
    hf_signals_cancel(&token);
    return &token;
}

/* ---- SIGHUP ---- */

/* What a running service was started with. */
struct service {
    const struct hf_option_table *table;
    const struct hf_option_input *input;
    const void *values; /* as it was started */
    struct hf_logging *logging;
    struct hf_settings *settings; /* the server's; NULL: the agent */
};

/* Names of the options that read differently now, by whether they can change while the service runs. */
static void compare(const struct service *service, const void *fresh, bool reloads, char *out,
                    size_t out_len)
{
    out[0] = '\0';
    for (size_t i = 0; i < service->table->count; i++) {
        const struct hf_option *option = &service->table->options[i];
        if (((option->flags & OPT_RELOAD) != 0) == reloads &&
            !hf_option_same(option, service->values, fresh)) {
            size_t used = strlen(out);
            (void)snprintf(out + used, out_len - used, "%s%s", used == 0 ? "" : " ", option->name);
        }
    }
}

static enum hf_err take_files(const struct service *service, const void *fresh,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    const struct hf_option *option = hf_option_find(service->table, hf_str_of("log_level"));
    const char *const *word =
        (const void *)((const unsigned char *)fresh + option->offset); /* a TEXT */
    enum hf_log_level level = HF_LOG_INFO;
    char changed[1024], restart[1024];

    if (hf_logging_level(*word, &level, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_log_set_level(service->logging->log, level);
    if (service->settings != NULL) {
        hf_settings_put(service->settings, &rest->options, &rest->settings);
    }
    compare(service, fresh, true, changed, sizeof changed);
    compare(service, fresh, false, restart, sizeof restart);
    hf_log_info(service->logging->log, "reload.done", HF_STR("changed", changed),
                HF_STR("needs_restart", restart));
    return HF_ERR_OK;
}

/* The log's file first, so that what is wrong with the others is said in the new one. */
static void reload(void *context)
{
    struct service *service = context;
    HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest = {.help = false};
    HF_CLEANUP(hf_free) void *fresh = hf_alloc_zero(service->table->values_bytes);
    struct hf_error err;

    hf_supervisor_tell_reloading();
    if (hf_logging_reopen(service->logging, &err) != HF_ERR_OK) {
        hf_log_error(service->logging->log, "reload.failed", HF_STR("error", err.message));
    }
    enum hf_err code = fresh == NULL
                           ? hf_fail(&err, HF_ERR_NO_MEMORY, "no memory")
                           : hf_option_parse(service->table, service->input, fresh, &rest, &err);
    if (code == HF_ERR_OK) {
        code = take_files(service, fresh, &rest, &err);
        hf_option_fini(service->table, fresh);
    }
    if (code != HF_ERR_OK) {
        hf_log_error(service->logging->log, "reload.failed", HF_STR("error", err.message));
    }
    hf_supervisor_tell("READY=1");
}

/* ---- server ---- */

#define SERVER_OPTIONS(OPT)                                                                        \
    OPT(data_dir, PATH, "", 1, 4096, OPT_REQUIRED,                                                 \
        "Directory of the catalog and the keys; made when missing")                                \
    OPT(store, TEXT, "", 1, 4096, OPT_REQUIRED, "Where snapshots go: file:///absolute/path")       \
    OPT(oplog_store, TEXT, "", 0, 4096, OPT_NONE,                                                  \
        "Where the oplog goes: a store of its own; otherwise beside the snapshots")                \
    OPT(listen, TEXT, "127.0.0.1:8080", 1, 300, OPT_NONE,                                          \
        "Address and port to serve on; port 0 picks one")                                          \
    OPT(name, TEXT, "", 0, 127, OPT_NONE,                                                          \
        "Name of this server among those that share the data directory; otherwise --listen")       \
    OPT(server_silence, SECONDS, "30s", 1, 3600, OPT_NONE,                                         \
        "Take over the jobs of another server that was silent for so long")                        \
    OPT(tls_cert, PATH, "", 0, 0, OPT_NONE,                                                        \
        "Certificate chain (PEM); needed to serve other hosts' agents")                            \
    OPT(tls_key, PATH, "", 0, 0, OPT_NONE, "Private key of the certificate (PEM)")                 \
    OPT(plain_http, FLAG, "false", 0, 0, OPT_NONE,                                                 \
        "Serve other hosts without TLS: only behind a proxy that has it")                          \
    OPT(project, TEXT, "default", 1, 200, OPT_NEW_ONLY,                                            \
        "Name of the project that the first start makes")                                          \
    OPT(plain_store, FLAG, "false", 0, 0, OPT_NEW_ONLY, "Make a new store without encryption")     \
    OPT(workers, NUMBER, "auto", 1, 256, OPT_NONE,                                                 \
        "Threads that move objects; auto goes by the cores")                                       \
    OPT(task_silence, SECONDS, "5m", 1, 86400, OPT_NONE,                                           \
        "Give up a task that its agent has not named for so long")                                 \
    OPT(point_in_time_window, SECONDS, "1d", 0, 315360000, OPT_RELOAD,                             \
        "Any second of so long stays restorable, where a snapshot before it is kept; older "       \
        "slices of the oplog are deleted. 0: never")                                               \
    OPT(minimum_oplog_window, SECONDS, "3h", 0, 31536000, OPT_RELOAD,                              \
        "A set whose oplog is full and reaches back less far gets no job, and an event; 0: any "   \
        "will do")                                                                                 \
    OPT(oplog_slice_age, SECONDS, "10s", 1, 3600, OPT_NONE,                                        \
        "Store a slice of the oplog when its first write is that old, however small it is")        \
    OPT(groom_interval, SECONDS, "14d", 0, 315360000, OPT_NONE,                                    \
        "A job is groomed by itself at most so often, when less than 75 % of its bytes live; 0: "  \
        "never by itself")                                                                         \
    OPT(integrity_check_interval, SECONDS, "7d", 0, 315360000, OPT_NONE,                           \
        "How often the snapshots of a job are checked by sampling; 0: never by itself")            \
    OPT(maintenance_jobs, NUMBER, "1", 1, 8, OPT_NONE,                                             \
        "Load factor: so many counts, grooms and checks run on the store at a time")               \
    OPT(provision_threshold, SIZE, "0", 0, 1125899906842624, OPT_NONE,                             \
        "The job of a set with more data waits for approval before it begins; 0: none waits")      \
    OPT(no_first_snapshot, FLAG, "false", 0, 0, OPT_NONE,                                          \
        "Leave a new job's first snapshot to whoever asks for it; else it is taken by itself")     \
    OPT(oplog_check_interval, SECONDS, "1d", 0, 31536000, OPT_NONE,                                \
        "Read a job's stored oplog whole so often, and tell what is damaged or missing; 0: only "  \
        "by hand")                                                                                 \
    OPT(alert_check_interval, SECONDS, "1m", 1, 3600, OPT_NONE,                                    \
        "Look so often for what is to be an alert, or is over")                                    \
    OPT(alert_repeat_interval, SECONDS, "1h", 0, 31536000, OPT_NONE,                               \
        "Tell an open alert again so often until it is acknowledged; 0: once")                     \
    OPT(agent_down_after, SECONDS, "1h", 0, 31536000, OPT_NONE,                                    \
        "An agent that an active job needs and that is silent for longer is an alert; 0: never")   \
    OPT(server_down_after, SECONDS, "15m", 0, 31536000, OPT_NONE,                                  \
        "The same for a server that nobody stopped")                                               \
    OPT(maximum_aborted_snapshots, NUMBER, "3", 0, 1000, OPT_NONE,                                 \
        "So many snapshots of a set that fail in a row are an alert; 0: never")                    \
    OPT(maximum_space_used_percent, NUMBER, "85", 0, 100, OPT_RELOAD,                              \
        "A store whose disk is fuller is an alert; 100: never")                                    \
    OPT(minimum_free_percent, NUMBER, "10", 0, 100, OPT_NONE,                                      \
        "A data directory whose disk has less room is an alert; 0: never")                         \
    OPT(smtp_url, TEXT, "", 0, 1024, OPT_NONE,                                                     \
        "Mail alerts through this server: smtp://host:587 (STARTTLS) or smtps://host:465; "        \
        "without TLS only on this host")                                                           \
    OPT(smtp_from, TEXT, "", 0, 320, OPT_NONE, "Sender of the mails")                              \
    OPT(smtp_to, LIST, "", 0, 320, OPT_NONE, "Who gets them")                                      \
    OPT(smtp_user, TEXT, "", 0, 320, OPT_NONE, "User at the mail server")                          \
    OPT(smtp_password_file, PATH, "", 0, 0, OPT_NONE, "File with that user's password")            \
    OPT(smtp_ca_file, PATH, "", 0, 0, OPT_NONE,                                                    \
        "Certificates (PEM) that the mail server's is checked with; the system's otherwise")       \
    OPT(webhook_url, TEXT, "", 0, 2048, OPT_NONE, "Post alerts as JSON to this address")           \
    OPT(webhook_header, LIST, "", 0, 1024, OPT_NONE,                                               \
        "Send this header with them: Name: value, or Name: @FILE for a value that is secret")      \
    OPT(webhook_template, PATH, "", 0, 0, OPT_NONE,                                                \
        "File with the bodies' text, {{name}} where something of the alert is to stand")           \
    OPT(private_webhooks, FLAG, "true", 0, 0, OPT_NONE,                                            \
        "Post to addresses of private networks and of this host, too; without, they are refused")  \
    OPT(webhook_secret_file, PATH, "", 0, 0, OPT_NONE,                                             \
        "File with the key that the bodies are signed with, in X-Holdfast-Signature")              \
    OPT(webhook_ca_file, PATH, "", 0, 0, OPT_NONE,                                                 \
        "Certificates (PEM) that the receiver's is checked with; the system's otherwise")          \
    OPT(metrics_token_file, PATH, "", 0, 0, OPT_NONE,                                              \
        "File with the token that other hosts read /metrics with; without, only this host may")    \
    OPT(schedule, FLAG, "true", 0, 0, OPT_NONE,                                                    \
        "Take snapshots as each job's policy says; without, only when somebody asks")              \
    OPT(snapshots_at_once, NUMBER, "16", 1, 1000, OPT_NONE,                                        \
        "Begin no snapshot by itself while so many are being taken")                               \
    OPT(snapshots_per_host, NUMBER, "1", 0, 1000, OPT_NONE,                                        \
        "Nor on a host where so many are being taken; 0: no such limit")                           \
    OPT(snapshots_per_store, NUMBER, "0", 0, 1000, OPT_NONE,                                       \
        "Nor into a store that gets so many just now; 0: no such limit")                           \
    OPT(capture_limit, SIZE, "auto", 1048576, 1125899906842624, OPT_NONE,                          \
        "Most that one capture may put into the store; never above auto: a quarter more than "     \
        "the member's data as its agent says, and 1GiB")                                           \
    OPT(event_retention_days, NUMBER, "400", 0, 36500, OPT_NONE,                                   \
        "Keep events so many days; 0: until there are 100000 of people and agents, and as many "   \
        "of the server itself, which is the limit in any case")                                    \
    HF_LOG_OPTIONS(OPT)

struct server_values {
    HF_OPTION_MEMBERS(SERVER_OPTIONS)
};
#define SERVER_ROW(...) HF_OPTION_ROW(struct server_values, __VA_ARGS__)
static const struct hf_option server_rows[] = {SERVER_OPTIONS(SERVER_ROW)};
const struct hf_option_table hf_main_server_options = {
    .command = "holdfast server",
    .arguments = "",
    .summary = "Serves the API and the agents, keeps the catalog, writes the store. The first "
               "start makes what is missing.",
    .options = server_rows,
    .count = HF_ARRAY_LEN(server_rows),
    .values_bytes = sizeof(struct server_values),
    .config_file = true,
    .has_settings = true,
};

static char *profile_path(void)
{
    const char *config = or_null(getenv("XDG_CONFIG_HOME")), *home = or_null(getenv("HOME"));

    if (config != NULL) {
        return hf_asprintf("%s/holdfast/profile", config);
    }
    return home == NULL ? NULL : hf_asprintf("%s/.config/holdfast/profile", home);
}

static enum hf_err run_server(const struct server_values *values, struct service *service,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *profile = profile_path();
    HF_CLEANUP(hf_hangup_stop) struct hf_hangup *hangup = NULL;
    struct hf_log *log = service->logging->log;

    if (hf_hangup_start(reload, service, &hangup, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_files_limit_raise();
    const struct hf_notify_options notify = {
        .smtp_url = or_null(values->smtp_url),
        .smtp_from = or_null(values->smtp_from),
        .smtp_user = or_null(values->smtp_user),
        .smtp_password_file = or_null(values->smtp_password_file),
        .smtp_ca_file = or_null(values->smtp_ca_file),
        .smtp_to = (const char *const *)values->smtp_to.values,
        .smtp_to_count = values->smtp_to.count,
        .webhook_url = or_null(values->webhook_url),
        .webhook_secret_file = or_null(values->webhook_secret_file),
        .webhook_ca_file = or_null(values->webhook_ca_file),
        .webhook_headers = (const char *const *)values->webhook_header.values,
        .webhook_header_count = values->webhook_header.count,
        .webhook_template_file = or_null(values->webhook_template),
        .no_private_webhooks = !values->private_webhooks,
    };
    const struct hf_server_options options = {
        .data_dir = values->data_dir,
        .store_url = values->store,
        .oplog_store_url = or_null(values->oplog_store),
        .listen = values->listen,
        .name = or_null(values->name),
        .server_silence_s = values->server_silence,
        .tls_cert = or_null(values->tls_cert),
        .tls_key = or_null(values->tls_key),
        .plain_http = values->plain_http,
        .project = values->project,
        .plain_store = values->plain_store,
        .task_silence_s = values->task_silence,
        .oplog_kept_s = values->point_in_time_window,
        .groom_every_s = values->groom_interval,
        .check_every_s = values->integrity_check_interval,
        .upkeep_slots = (unsigned)values->maintenance_jobs,
        .oplog_window_min_s = values->minimum_oplog_window,
        .oplog_age_s = values->oplog_slice_age,
        .provision_threshold_bytes = values->provision_threshold,
        .notify = &notify,
        .metrics_token_file = or_null(values->metrics_token_file),
        .alerts = {.check_s = values->alert_check_interval,
                   .repeat_s = values->alert_repeat_interval,
                   .agent_down_s = values->agent_down_after,
                   .server_down_s = values->server_down_after,
                   .aborted_snapshots = values->maximum_aborted_snapshots,
                   .space_used_percent = values->maximum_space_used_percent,
                   .disk_free_percent = values->minimum_free_percent},
        .no_first_snapshot = values->no_first_snapshot,
        .oplog_check_s = values->oplog_check_interval,
        .schedules = values->schedule,
        .event_days = values->event_retention_days,
        .settings = service->settings,
        .snapshots_at_once = values->snapshots_at_once,
        .snapshots_per_host = values->snapshots_per_host,
        .snapshots_per_store = values->snapshots_per_store,
        .capture_limit_bytes = values->capture_limit,
        .workers = (unsigned)values->workers,
        .profile_path = profile,
        .log = log,
        .ready = say_ready,
    };
    enum hf_err code = hf_server_run(&options, stop_token(), err);
    hf_supervisor_tell("STOPPING=1");
    return code;
}

static enum hf_err start_server(const struct server_values *values,
                                const struct hf_option_input *input,
                                const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_logging_close) struct hf_logging logging = {.log = NULL};
    HF_CLEANUP(hf_settings_destroy) struct hf_settings *settings = NULL;
    const struct hf_logging_options log = {
        .level = values->log_level, .format = values->log_format, .file = values->log_file};

    if (hf_logging_open(&log, &logging, err) != HF_ERR_OK ||
        hf_settings_create(&settings, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_settings_put(settings, &rest->options, &rest->settings);
    struct service service = {.table = &hf_main_server_options,
                              .input = input,
                              .values = values,
                              .logging = &logging,
                              .settings = settings};
    return run_server(values, &service, err);
}

enum hf_err hf_main_server(int argc, char *const *argv, struct hf_error *err)
{
    const struct hf_option_input input = {
        .argc = argc, .argv = argv, .environment = (const char *const *)environ};
    HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest = {.help = false};
    struct server_values values = {0};

    if (hf_option_parse(&hf_main_server_options, &input, &values, &rest, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = rest.help ? print_help(&hf_main_server_options, err)
                                 : start_server(&values, &input, &rest, err);
    hf_option_fini(&hf_main_server_options, &values);
    return code;
}

/* ---- agent ---- */

#define AGENT_OPTIONS(OPT)                                                                         \
    OPT(server, TEXT, "", 1, 4096, OPT_REQUIRED,                                                   \
        "Address of the server: https://host:port; http only on this host. Of several, with "      \
        "commas, the next one when one does not answer or is drained")                             \
    OPT(key_file, PATH, "", 1, 4096, OPT_REQUIRED,                                                 \
        "File with the agent key that the server wrote")                                           \
    OPT(state_dir, PATH, "", 1, 4096, OPT_REQUIRED,                                                \
        "Directory for what the agent remembers; made when missing")                               \
    OPT(mongodb, TEXT, "", 0, 8192, OPT_NONE,                                                      \
        "Seed list as a URI with credentials and TLS options: "                                    \
        "mongodb://user:password@host:port/?…")                                                    \
    OPT(seeds, TEXT, "", 0, 8192, OPT_NONE, "Seed list without a URI: host:port,host:port")        \
    OPT(member, LIST, "", 0, 300, OPT_NONE,                                                        \
        "Serve this member, host:port as the set calls it; otherwise those on this host whose "    \
        "files can be read")                                                                       \
    OPT(user, TEXT, "", 0, 1024, OPT_NONE, "User of the database; wins over the URI's")            \
    OPT(password_file, PATH, "", 0, 0, OPT_NONE,                                                   \
        "File with that user's password on its first line")                                        \
    OPT(restore_root, PATH, "", 0, 4096, OPT_NONE,                                                 \
        "Restore below this directory when the server asks; not given: never")                     \
    OPT(member_unit, LIST, "", 0, 512, OPT_NONE,                                                   \
        "Systemd unit that runs the member: NAME, or HOST:PORT=NAME; otherwise it is stopped by "  \
        "a signal and started as it was")                                                          \
    OPT(member_start, LIST, "", 0, 8192, OPT_NONE,                                                 \
        "Command that starts the member: COMMAND, or HOST:PORT=COMMAND")                           \
    OPT(mongod, PATH, "", 0, 0, OPT_NONE,                                                          \
        "Program that replays the oplog after a restore; otherwise mongod from PATH, and onto a "  \
        "whole set the one that its member runs")                                                  \
    OPT(restore_patience, SECONDS, "10m", 1, 86400, OPT_NONE,                                      \
        "Start a member again that was stopped for a restore whose server is silent for so long")  \
    OPT(ca_file, PATH, "", 0, 0, OPT_NONE,                                                         \
        "Certificates (PEM) that the server's is checked with; the system's otherwise")            \
    OPT(workers, NUMBER, "auto", 1, 256, OPT_NONE,                                                 \
        "Threads of a capture or restore; auto is one a core")                                     \
    OPT(nice, NUMBER, "19", 0, 19, OPT_NONE,                                                       \
        "What a capture leaves to the database on its host: 19 all it wants, 0 an equal share")    \
    OPT(rate_limit, SIZE, "0", 0, 0, OPT_NONE,                                                     \
        "Read at most so many bytes a second; 0 is no limit")                                      \
    OPT(cursor_patience, SECONDS, "2m", 1, 86400, OPT_NONE,                                        \
        "Wait so long for somebody else's backup cursor on the member to close")                   \
    OPT(majority_wait, SECONDS, "30s", 1, 3600, OPT_NONE,                                          \
        "Wait so long for the end of the copied oplog to be majority committed")                   \
    OPT(server_patience, SECONDS, "1m", 1, 3600, OPT_NONE,                                         \
        "Take a connection to the server for dead when nothing moved on it for so long")           \
    OPT(watch_interval, SECONDS, "5s", 1, 60, OPT_NONE, "How often the members are asked")         \
    HF_LOG_OPTIONS(OPT)

struct agent_values {
    HF_OPTION_MEMBERS(AGENT_OPTIONS)
};
#define AGENT_ROW(...) HF_OPTION_ROW(struct agent_values, __VA_ARGS__)
static const struct hf_option agent_rows[] = {AGENT_OPTIONS(AGENT_ROW)};
const struct hf_option_table hf_main_agent_options = {
    .command = "holdfast agent",
    .arguments = "",
    .summary = "Copies the files of the members on this host when the server asks, and restores.",
    .options = agent_rows,
    .count = HF_ARRAY_LEN(agent_rows),
    .values_bytes = sizeof(struct agent_values),
    .config_file = true,
};

static enum hf_err run_agent(const struct agent_values *values, const struct hf_option_input *input,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_logging_close) struct hf_logging logging = {.log = NULL};
    HF_CLEANUP(hf_hangup_stop) struct hf_hangup *hangup = NULL;
    const struct hf_logging_options log = {
        .level = values->log_level, .format = values->log_format, .file = values->log_file};
    struct service service = {
        .table = &hf_main_agent_options, .input = input, .values = values, .logging = &logging};
    const char *seeds = or_null(values->mongodb) != NULL ? values->mongodb : values->seeds;

    if (or_null(seeds) == NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "say where the set is: --mongodb mongodb://host:port or --seeds host:port");
    }
    if (or_null(values->mongodb) != NULL && or_null(values->seeds) != NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "--mongodb and --seeds say the same thing twice; give one");
    }
    if (hf_logging_open(&log, &logging, err) != HF_ERR_OK ||
        hf_hangup_start(reload, &service, &hangup, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_agent_options options = {
        .server_url = values->server,
        .key_file = values->key_file,
        .ca_file = or_null(values->ca_file),
        .state_dir = values->state_dir,
        .seeds = seeds,
        .members = (const char *const *)values->member.values,
        .member_count = values->member.count,
        .user = or_null(values->user),
        .password_file = or_null(values->password_file),
        .restore_root = or_null(values->restore_root),
        .member_units = (const char *const *)values->member_unit.values,
        .member_unit_count = values->member_unit.count,
        .member_starts = (const char *const *)values->member_start.values,
        .member_start_count = values->member_start.count,
        .mongod = or_null(values->mongod),
        .restore_patience_ms = values->restore_patience * 1000,
        .workers = (unsigned)values->workers,
        .nice = (unsigned)values->nice,
        .rate_bytes_s = values->rate_limit,
        .patience_ms = values->cursor_patience * 1000,
        .watch_ms = values->watch_interval * 1000,
        .majority_wait_ms = values->majority_wait * 1000,
        .silence_ms = (uint32_t)(values->server_patience * 1000),
        .log = logging.log,
        .ready = say_ready,
    };
    return hf_agent_run(&options, stop_token(), err);
}

enum hf_err hf_main_agent(int argc, char *const *argv, struct hf_error *err)
{
    const struct hf_option_input input = {
        .argc = argc, .argv = argv, .environment = (const char *const *)environ};
    HF_CLEANUP(hf_option_rest_fini) struct hf_option_rest rest = {.help = false};
    struct agent_values values = {0};

    if (hf_option_parse(&hf_main_agent_options, &input, &values, &rest, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code =
        rest.help ? print_help(&hf_main_agent_options, err) : run_agent(&values, &input, err);
    hf_option_fini(&hf_main_agent_options, &values);
    return code;
}
