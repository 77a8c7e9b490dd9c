/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo's deployment: three members, a server with its store, an agent beside each member, a started job.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/api.h"
#include "cli/demo_internal.h"
#include "os/clock.h"
#include "os/fs.h"

#define START_LIMIT_MS 60000
#define STOP_GRACE_MS 20000

char *hf_demo_path(const struct hf_demo *demo, const char *name)
{
    return hf_path_join(demo->dir, name);
}

static enum hf_err find_programs(struct hf_demo *demo, struct hf_error *err)
{
    if (hf_self_path(&demo->holdfast, err) != HF_ERR_OK) {
        return err->code;
    }
    if (demo->mongod != NULL) {
        demo->program = hf_strdup(demo->mongod);
    } else {
        const char *slash = strrchr(demo->holdfast, '/');
        demo->program =
            hf_asprintf("%.*s/holdfast-sandbox", (int)(slash - demo->holdfast), demo->holdfast);
    }
    if (demo->program == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (!hf_fs_exists(demo->program)) {
        return hf_fail(err, HF_ERR_NOT_FOUND,
                       "there is no %s; hint: build with the sandbox, or --mongod PATH",
                       demo->program);
    }
    return HF_ERR_OK;
}

static enum hf_err start_members(struct hf_demo *demo, const struct hf_cancel *cancel,
                                 struct hf_error *err)
{
    /* Checkpoints every few seconds, so that a snapshot's time is never far behind; small oplog for a small disk. */
    static const char *const arguments[] = {"--syncdelay", "5", "--oplogSize", "1024", NULL};
    static const char members[] =
        "[{\"_id\":0,\"host\":\"%s\",\"priority\":2},{\"_id\":1,\"host\":\"%s\",\"priority\":1},"
        "{\"_id\":2,\"host\":\"%s\",\"priority\":0.5}]";
    const char *hosts[HF_DEMO_MEMBERS];

    for (unsigned i = 0; i < HF_DEMO_MEMBERS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "member%u", i);
        HF_CLEANUP(hf_free) char *dbpath = hf_demo_path(demo, name);
        HF_CLEANUP(hf_free) char *log = hf_asprintf("%s/member%u.log", demo->dir, i);
        if (dbpath == NULL || log == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        const struct hf_mongod_options options = {.program = demo->program,
                                                  .dbpath = dbpath,
                                                  .log_path = log,
                                                  .repl_set = HF_DEMO_SET,
                                                  .arguments = arguments};
        if (hf_mongod_start(&options, cancel, &demo->members[i], err) != HF_ERR_OK) {
            return err->code;
        }
        hosts[i] = hf_mongod_host(demo->members[i]);
    }
    HF_CLEANUP(hf_free) char *config = hf_asprintf(members, hosts[0], hosts[1], hosts[2]);
    if (config == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    return hf_mongod_initiate(HF_DEMO_SET, hosts, HF_DEMO_MEMBERS, config, START_LIMIT_MS, cancel,
                              demo->primary, err);
}

static enum hf_err spawn(struct hf_demo *demo, const char *const *argv, const char *log_name,
                         struct hf_process **out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *log = hf_demo_path(demo, log_name);
    HF_CLEANUP(hf_free) char *config = hf_asprintf("XDG_CONFIG_HOME=%s", demo->dir);
    const char *const environment[] = {config, NULL};
    const struct hf_process_options options = {
        .argv = argv, .extra_env = environment, .output_path = log, .die_with_parent = true};

    if (log == NULL || config == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    return hf_process_start(&options, out, err);
}

/* Waits for a file that a process writes when it is ready; says so when the process ends before. */
static enum hf_err wait_for_file(struct hf_process *process, const char *path, const char *what,
                                 const struct hf_cancel *cancel, struct hf_error *err)
{
    uint64_t until_ms = hf_clock_mono_ms() + START_LIMIT_MS;

    while (!hf_fs_exists(path)) {
        bool ended = false;
        int code = 0;
        if (hf_cancel_check(cancel, err) != HF_ERR_OK ||
            hf_process_wait(process, 20, &ended, &code, err) != HF_ERR_OK) {
            return err->code;
        }
        if (ended) {
            return hf_fail(err, HF_ERR_INTERNAL, "%s ended with %d", what, code);
        }
        if (hf_clock_mono_ms() > until_ms) {
            return hf_fail(err, HF_ERR_TIMEOUT, "%s was not ready in %d s", what,
                           START_LIMIT_MS / 1000);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err start_server(struct hf_demo *demo, const struct hf_cancel *cancel,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *data = hf_demo_path(demo, "server");
    HF_CLEANUP(hf_free) char *url_file = hf_demo_path(demo, "server/server.url");
    HF_CLEANUP(hf_free) char *profile = hf_demo_path(demo, "server/cli.profile");
    HF_CLEANUP(hf_buf_fini) struct hf_buf url = HF_BUF_INIT(sizeof demo->url);

    if (data == NULL || url_file == NULL || profile == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    (void)snprintf(demo->store_url, sizeof demo->store_url, "file://%s/store", demo->dir);
    const char *const argv[] = {demo->holdfast,
                                "server",
                                "--data-dir",
                                data,
                                "--store",
                                demo->store_url,
                                "--listen",
                                "127.0.0.1:0",
                                "--no-first-snapshot",
                                "--no-schedule",
                                NULL};
    if (spawn(demo, argv, "server.log", &demo->server, err) != HF_ERR_OK ||
        wait_for_file(demo->server, url_file, "the server", cancel, err) != HF_ERR_OK ||
        hf_fs_read_whole(url_file, sizeof demo->url - 1, &url, err) != HF_ERR_OK) {
        return hf_wrap(err, "start the server (log: %s/server.log)", demo->dir);
    }
    (void)snprintf(demo->url, sizeof demo->url, "%.*s", (int)strcspn(hf_buf_text(&url), "\n"),
                   (const char *)url.data);
    const struct hf_cli_session_options options = {.profile = profile};
    return hf_cli_session_open(&options, &demo->session, err);
}

static enum hf_err start_agents(struct hf_demo *demo, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *key = hf_demo_path(demo, "server/agent.key");
    char seeds[1024];

    demo->restore_root = hf_demo_path(demo, "restored");
    if (key == NULL || demo->restore_root == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_make_dirs(demo->restore_root, 0700, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(seeds, sizeof seeds, "%s,%s,%s", hf_mongod_host(demo->members[0]),
                   hf_mongod_host(demo->members[1]), hf_mongod_host(demo->members[2]));
    for (unsigned i = 0; i < HF_DEMO_MEMBERS; i++) {
        char name[32], log[32];
        (void)snprintf(name, sizeof name, "agent%u", i);
        (void)snprintf(log, sizeof log, "agent%u.log", i);
        HF_CLEANUP(hf_free) char *state = hf_demo_path(demo, name);
        if (state == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        const char *const argv[] = {demo->holdfast,
                                    "agent",
                                    "--server",
                                    demo->url,
                                    "--key-file",
                                    key,
                                    "--state-dir",
                                    state,
                                    "--seeds",
                                    seeds,
                                    "--member",
                                    hf_mongod_host(demo->members[i]),
                                    "--restore-root",
                                    demo->restore_root,
                                    "--mongod",
                                    demo->program,
                                    "--watch-interval",
                                    "1s",
                                    NULL};
        if (spawn(demo, argv, log, &demo->agents[i], err) != HF_ERR_OK) {
            return hf_wrap(err, "start agent %u", i);
        }
    }
    return HF_ERR_OK;
}

/* Members that agents report as usable. */
static size_t usable_members(const struct hf_json *agents)
{
    const struct hf_json *results = hf_json_get_array(agents, "results");
    size_t usable = 0;

    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *members = hf_json_get_array(hf_json_at(results, i), "members");
        for (size_t k = 0; k < hf_json_count(members); k++) {
            const char *state = hf_cli_text(hf_json_at(members, k), "state", "");
            usable += hf_json_get_text(hf_json_at(members, k), "refusal") == NULL &&
                      (strcmp(state, "PRIMARY") == 0 || strcmp(state, "SECONDARY") == 0);
        }
    }
    return usable;
}

static enum hf_err wait_for_agents(struct hf_demo *demo, const struct hf_cancel *cancel,
                                   struct hf_error *err)
{
    uint64_t until_ms = hf_clock_mono_ms() + START_LIMIT_MS;

    for (;;) {
        HF_CLEANUP(hf_json_drop) struct hf_json *agents = NULL;
        if (hf_cancel_check(cancel, err) != HF_ERR_OK ||
            hf_cli_call(&demo->session, "GET", HF_CLI_PRIVATE "/agents", NULL, &agents, err) !=
                HF_ERR_OK) {
            return err->code;
        }
        if (usable_members(agents) == HF_DEMO_MEMBERS) {
            return HF_ERR_OK;
        }
        if (hf_clock_mono_ms() > until_ms) {
            return hf_fail(
                err, HF_ERR_TIMEOUT,
                "the agents did not report %d usable members in %d s (logs: %s/agent*.log)",
                HF_DEMO_MEMBERS, START_LIMIT_MS / 1000, demo->dir);
        }
        hf_cancel_sleep(cancel, 100);
    }
}

static enum hf_err start_job(struct hf_demo *demo, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *clusters = NULL;
    char target[256];

    if (hf_cli_find_project(&demo->session, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(target, sizeof target, "/api/public/v1.0/groups/%s/clusters",
                   demo->session.project);
    if (hf_cli_all_pages(&demo->session, target, &clusters, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *cluster =
        hf_cli_text(hf_json_at(hf_json_get_array(clusters, "results"), 0), "id", "");
    (void)snprintf(target, sizeof target, "/api/public/v1.0/groups/%s/backupConfigs/%s",
                   demo->session.project, cluster);
    hf_json_set_text(body, "statusName", "STARTED");
    if (hf_cli_call(&demo->session, "PATCH", target, body, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_find_job(&demo->session, HF_DEMO_SET, demo->job, err);
}

enum hf_err hf_demo_start(struct hf_demo *demo, const struct hf_cancel *cancel,
                          struct hf_error *err)
{
    if (find_programs(demo, err) != HF_ERR_OK ||
        hf_fs_make_temp_dir("holdfast-demo", &demo->dir, err) != HF_ERR_OK ||
        start_members(demo, cancel, err) != HF_ERR_OK ||
        start_server(demo, cancel, err) != HF_ERR_OK || start_agents(demo, err) != HF_ERR_OK ||
        wait_for_agents(demo, cancel, err) != HF_ERR_OK) {
        return err->code;
    }
    return start_job(demo, err);
}

void hf_demo_stop(struct hf_demo *demo)
{
    struct hf_error ignored;

    hf_cli_session_close(&demo->session);
    for (unsigned i = 0; i < HF_DEMO_MEMBERS; i++) {
        hf_process_stop(demo->agents[i], STOP_GRACE_MS);
    }
    hf_process_stop(demo->server, STOP_GRACE_MS);
    for (unsigned i = HF_DEMO_MEMBERS; i-- > 0;) {
        if (demo->members[i] != NULL) {
            hf_mongod_kill(demo->members[i]);
        }
    }
    if (demo->dir != NULL) {
        (void)!hf_fs_remove_tree(demo->dir, &ignored);
    }
    hf_free(demo->restore_root);
    hf_free(demo->program);
    hf_free(demo->holdfast);
    hf_free(demo->dir);
    *demo = (struct hf_demo){0};
}

enum hf_err hf_demo_primary(struct hf_demo *demo, struct hf_mongo_client **out,
                            struct hf_error *err)
{
    const struct hf_mongo_options options = {.host = demo->primary, .socket_timeout_ms = 300000};

    return hf_mongo_client_open(&options, out, err);
}
