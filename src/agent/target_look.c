/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a member is, before anything is touched: its directory, how it runs, what we log in with; for the server in the
 * report of CHECK, for the steps in the note.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/target.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "codec/hash.h"
#include "codec/json.h"
#include "mongo/recover.h"
#include "mongo/topology.h"
#include "os/fs.h"
#include "os/process.h"

struct look {
    const struct hf_agent_work *work;
    const struct hf_task_target *target;
    struct hf_agent_target_note *note;
};

/* ---- What the member is ---- */

static enum hf_err read_facts(const struct look *look, struct hf_mongo_facts *facts,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_mongo_options options = look->work->context->mongo;

    options.host = look->target->member;
    if (look->target->arbiter && options.uri == NULL) {
        options.user = options.password_file = NULL;
    }
    return hf_mongo_client_open(&options, &client, err) != HF_ERR_OK
               ? err->code
               : hf_mongo_facts_read(client, facts, err);
}

/* All that the restored data must go on to know us by. An arbiter knows no users. */
static enum hf_err read_login(struct look *look, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_mongo_options options = look->work->context->mongo;

    if (look->target->arbiter) {
        return HF_ERR_OK;
    }
    options.host = look->target->member;
    return hf_mongo_client_open(&options, &client, err) != HF_ERR_OK ||
                   hf_mongo_login_read(client, &look->note->login, err) != HF_ERR_OK
               ? hf_wrap(err,
                         "what its agent logs in with cannot be read, and would not be known after "
                         "the restore; hint: give its user the role backup")
               : HF_ERR_OK;
}

/* Tells two logins apart and says nothing of them: there is salt in what it is of. */
static void print_login(const struct hf_mongo_login *login, char out[HF_LOGIN_PRINT_BYTES])
{
    struct hf_hash hash;

    (void)snprintf(out, HF_LOGIN_PRINT_BYTES, "none");
    if (login->name[0] != '\0') {
        hf_sha256(hf_bytes_of(login->documents, login->len), &hash);
        for (size_t i = 0; i < HF_HASH_BYTES; i++) {
            (void)snprintf(out + 2 * i, 3, "%02x", hash.bytes[i]);
        }
    }
}

/* Beside the dbPath a directory can be made and names be changed; else it is done inside. */
static bool must_be_inside(const char *db_path)
{
    HF_CLEANUP(hf_free) char *parent = hf_asprintf("%s/..", db_path);
    struct hf_file_info above, here;
    struct hf_error ignored;

    if (HF_FAULT("agent.target.inside", &ignored) != HF_ERR_OK) {
        return true;
    }
    return parent == NULL || hf_fs_stat(parent, &above, &ignored) != HF_ERR_OK ||
           hf_fs_stat(db_path, &here, &ignored) != HF_ERR_OK || above.device != here.device ||
           access(parent, W_OK | X_OK) != 0;
}

/* An arbiter's facts have no dbPath: it knows no users, and is asked only without them. */
static char *arbiters_db_path(const struct look *look)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf reply = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    const struct hf_mongo_options options = {.host = look->target->member};
    struct hf_error ignored;

    if (hf_mongo_client_open(&options, &client, &ignored) != HF_ERR_OK ||
        hf_mongo_run(client, "admin", "{\"getCmdLineOpts\": 1}", &reply, &ignored) != HF_ERR_OK ||
        hf_json_decode((struct hf_str){(const char *)reply.data, reply.len}, reply.len, &json,
                       &ignored) != HF_ERR_OK) {
        return NULL;
    }
    const char *path = hf_json_get_text(
        hf_json_get_object(hf_json_get_object(json, "parsed"), "storage"), "dbPath");
    return path == NULL || path[0] != '/' ? NULL : hf_strdup(path);
}

/* Of a member that runs: its directory, and how it was started. */
static enum hf_err look_at_member(struct look *look, const struct hf_mongo_facts *facts,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *found = NULL;
    HF_CLEANUP(hf_free) char *real = NULL;
    const char *db_path = facts->dbpath;

    if (db_path == NULL && facts->arbiter) {
        db_path = found = arbiters_db_path(look);
    } else if (db_path == NULL && facts->pid != 0 &&
               hf_process_find_open(facts->pid, "mongod.lock", &found, err) == HF_ERR_OK) {
        db_path = found;
    }
    if (db_path == NULL) {
        return hf_fail(err, HF_ERR_CONFLICT, "its dbPath is not known: %.300s",
                       facts->arbiter ? "it does not tell without a log-in, and knows no users"
                                      : facts->missing);
    }
    if (hf_path_real(db_path, &real, err) != HF_ERR_OK) {
        return err->code;
    }
    if (strlen(real) + 32 > sizeof look->note->db_path) {
        return hf_fail(err, HF_ERR_LIMIT, "its dbPath is too long");
    }
    (void)snprintf(look->note->db_path, sizeof look->note->db_path, "%s", real);
    look->note->inside = must_be_inside(real);
    return hf_agent_target_find(real, &look->note->program, err);
}

/* ---- The report ---- */

static void add_problem(struct hf_json *problems, const char *kind, const char *text)
{
    struct hf_json *one = hf_json_object();

    hf_json_set_text(one, "kind", kind);
    hf_json_set_text(one, "text", text);
    hf_json_append_take(problems, one);
}

static void report_config(const struct look *look, struct hf_json *report, struct hf_json *problems)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf reply = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_mongo_options options = look->work->context->mongo;
    struct hf_error err;

    options.host = look->target->member;
    if (hf_mongo_client_open(&options, &client, &err) != HF_ERR_OK ||
        hf_mongo_run(client, "admin", "{\"replSetGetConfig\": 1}", &reply, &err) != HF_ERR_OK ||
        hf_json_decode((struct hf_str){(const char *)reply.data, reply.len}, reply.len, &json,
                       &err) != HF_ERR_OK ||
        hf_json_get_object(json, "config") == NULL) {
        add_problem(problems, "MEMBERS", err.message);
        return;
    }
    hf_json_set_take(report, "config", hf_json_copy(hf_json_get_object(json, "config")));
}

static void report_login(const struct look *look, struct hf_json *report)
{
    struct hf_json *login = hf_json_object();
    char print[HF_LOGIN_PRINT_BYTES];

    print_login(&look->note->login, print);
    hf_json_set_text(login, "user", look->note->login.name);
    hf_json_set_text(login, "print", print);
    hf_json_set_take(report, "login", login);
}

static void report_ways(const struct look *look, struct hf_json *report, struct hf_json *problems)
{
    const struct hf_agent_target_note *note = look->note;
    const struct hf_agent_context *context = look->work->context;
    const char *unit = hf_agent_target_unit(context, note->member);
    const char *command = hf_agent_target_command(context, note->member);

    hf_json_set_text(report, "startedBy",
                     unit != NULL      ? "unit"
                     : command != NULL ? "command"
                                       : "as it was");
    if (unit == NULL && command == NULL && note->program.path != NULL && geteuid() != 0 &&
        note->program.user != geteuid()) {
        add_problem(problems, "START",
                    "it runs as another user than the agent, which could not start it again; hint: "
                    "run the agent as root or as that user, or give it --member-unit or "
                    "--member-start");
    }
}

static void report_directory(const struct look *look, struct hf_json *report,
                             struct hf_json *problems)
{
    const char *db_path = look->note->db_path;
    uint64_t free_bytes = 0, total_bytes = 0;
    struct hf_error err;

    hf_json_set_text(report, "dbPath", db_path);
    hf_json_set_bool(report, "inside", look->note->inside);
    if (!look->target->in_place && hf_agent_target_check_directory(db_path, &err) != HF_ERR_OK) {
        add_problem(problems, "DIRECTORY", err.message);
    }
    if (access(db_path, W_OK | X_OK) != 0) {
        add_problem(problems, "DIRECTORY",
                    "the agent may not write to its dbPath; hint: run the agent as root, or as the "
                    "user that the member runs as");
    }
    if (hf_fs_space(db_path, &free_bytes, &total_bytes, &err) == HF_ERR_OK) {
        bool full = HF_FAULT("agent.target.room", &err) != HF_ERR_OK;
        hf_json_set_u64(report, "freeBytes", full ? 0 : free_bytes);
        hf_json_set_u64(report, "dataBytes", hf_agent_target_data_bytes(db_path));
        hf_json_set_u64(report, "totalBytes", total_bytes);
    }
}

/* Another program than the member's own replays, if one was named. One that does not run is found out by the step. */
static void report_replay(const struct look *look, struct hf_json *report)
{
    const struct hf_agent_context *context = look->work->context;
    HF_CLEANUP(hf_free) char *dir = NULL;
    char version[HF_MONGO_NAME_BYTES];
    struct hf_error ignored;

    if (context->mongod == NULL || hf_agent_state_recovery(context->state, look->target->member,
                                                           &dir, &ignored) != HF_ERR_OK) {
        return;
    }
    HF_CLEANUP(hf_free) char *log = hf_path_join(dir, "look");
    if (log != NULL && hf_recover_version(context->mongod, log, version, &ignored) == HF_ERR_OK) {
        hf_json_set_text(report, "replayVersion", version);
    }
}

/* The member answers: its facts, and what it is started with. */
static void report_member(struct look *look, struct hf_json *report, struct hf_json *problems)
{
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    HF_CLEANUP(hf_json_drop) struct hf_json *options = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *config = NULL;
    struct hf_error err;

    if (read_facts(look, &facts, &err) != HF_ERR_OK) {
        /* One that a restore in place left without its data does not run, and is known from then. */
        if (look->note->program.path == NULL || look->note->config == NULL) {
            add_problem(problems, "MEMBERS", err.message);
        } else if (hf_json_decode(hf_str_of(look->note->config), HF_TARGET_MESSAGE_CONFIG_BYTES,
                                  &config, &err) == HF_ERR_OK) {
            hf_json_set_take(report, "config", HF_TAKE(config));
            report_login(look, report);
        }
        return;
    }
    hf_json_set_text(report, "version", facts.version);
    report_replay(look, report);
    if (facts.fcv[0] != '\0') {
        hf_json_set_text(report, "fcv", facts.fcv);
    }
    if (facts.shard_role != HF_MONGO_SHARD_NONE) {
        add_problem(problems, "MEMBERS",
                    "it belongs to a sharded cluster, which is restored as a "
                    "whole only");
    }
    if (facts.options_known && hf_json_decode(hf_str_of(facts.restore_options), (size_t)1 << 20,
                                              &options, &err) == HF_ERR_OK) {
        hf_json_set_take(report, "options", HF_TAKE(options));
    }
    if (!look->target->arbiter) {
        report_config(look, report, problems);
    }
    if (read_login(look, &err) == HF_ERR_OK) {
        report_login(look, report);
    } else {
        add_problem(problems, "LOGIN", err.message);
    }
    hf_program_fini(&look->note->program);
    if (look_at_member(look, &facts, &err) != HF_ERR_OK) {
        add_problem(problems, "START", err.message);
    }
}

enum hf_err hf_agent_target_report(const struct hf_agent_work *work,
                                   struct hf_agent_target_note *note, struct hf_msg_finish *finish,
                                   struct hf_error *err)
{
    struct look of = {.work = work, .target = &work->task->target, .note = note};
    struct look *look = &of;
    HF_CLEANUP(hf_json_drop) struct hf_json *report = hf_json_object();
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_TARGET_REPORT_BYTES);
    struct hf_json *problems = hf_json_array();

    report_member(look, report, problems);
    if (look->note->db_path[0] != '\0') {
        report_directory(look, report, problems);
        report_ways(look, report, problems);
    }
    hf_json_set_take(report, "problems", problems);
    if (hf_json_encode(report, 0, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "report of %s", look->target->member);
    }
    finish->report = hf_strndup((const char *)text.data, text.len);
    return finish->report == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                                  : HF_FAULT("agent.target.checked", err);
}

/* ---- For the steps ---- */

enum hf_err hf_agent_target_know(const struct hf_agent_work *work,
                                 struct hf_agent_target_note *note, struct hf_error *err)
{
    struct look of = {.work = work, .target = &work->task->target, .note = note};
    struct look *look = &of;
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    char print[HF_LOGIN_PRINT_BYTES];

    enum hf_err code = read_facts(look, &facts, err);
    if (code == HF_ERR_OK) {
        hf_program_fini(&look->note->program);
        code = look_at_member(look, &facts, err);
    } else if (look->note->program.path != NULL && look->target->in_place) {
        return HF_ERR_OK; /* as the broken one before knew it */
    }
    if (code == HF_ERR_OK && !look->target->in_place) {
        code = hf_agent_target_check_directory(look->note->db_path, err);
    }
    if (code == HF_ERR_OK) {
        code = read_login(look, err);
    }
    print_login(&look->note->login, print);
    if (code == HF_ERR_OK && !look->target->arbiter && look->target->login_print[0] != '\0' &&
        strcmp(print, look->target->login_print) != 0) {
        code = hf_fail(err, HF_ERR_CONFLICT,
                       "user %.200s was changed since %s was checked; hint: restore again",
                       look->note->login.name, look->target->member);
    }
    return code;
}
