/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a member in a restore onto its set. Each looks at the note first: a step that was done already says so
 * again, one that does not fit the stage is refused.
 */
#include "agent/target.h"

#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "codec/hash.h"
#include "codec/json.h"
#include "mongo/topology.h"
#include "os/fs.h"
#include "os/process.h"

struct step {
    const struct hf_agent_work *work;
    const struct hf_task_target *target;
    struct hf_agent_target_note note;
    bool noted; /* there is a note of this restore */
    struct hf_msg_replay replay;
};

static void step_fini(struct step *step)
{
    hf_agent_target_note_fini(&step->note);
}
HF_CLEANUP_DEFINE_VALUE(step_fini, struct step)

static enum hf_err move_to(const struct hf_agent_context *context,
                           struct hf_agent_target_note *note, enum hf_agent_target_stage stage,
                           struct hf_error *err)
{
    note->stage = stage;
    return hf_agent_target_note_write(context->state, note, err);
}

/* ---- What the member is ---- */

static enum hf_err read_facts(const struct step *step, struct hf_mongo_facts *facts,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_mongo_options options = step->work->context->mongo;

    options.host = step->target->member;
    if (step->target->arbiter && options.uri == NULL) {
        options.user = options.password_file = NULL;
    }
    return hf_mongo_client_open(&options, &client, err) != HF_ERR_OK
               ? err->code
               : hf_mongo_facts_read(client, facts, err);
}

/* All that the restored data must go on to know us by. An arbiter knows no users. */
static enum hf_err read_login(struct step *step, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_mongo_options options = step->work->context->mongo;

    if (step->target->arbiter) {
        return HF_ERR_OK;
    }
    options.host = step->target->member;
    return hf_mongo_client_open(&options, &client, err) != HF_ERR_OK ||
                   hf_mongo_login_read(client, &step->note.login, err) != HF_ERR_OK
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

    return parent == NULL || hf_fs_stat(parent, &above, &ignored) != HF_ERR_OK ||
           hf_fs_stat(db_path, &here, &ignored) != HF_ERR_OK || above.device != here.device ||
           access(parent, W_OK | X_OK) != 0;
}

/* An arbiter's facts have no dbPath: it knows no users, and is asked only without them. */
static char *arbiters_db_path(const struct step *step)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf reply = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    const struct hf_mongo_options options = {.host = step->target->member};
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
static enum hf_err look_at_member(struct step *step, const struct hf_mongo_facts *facts,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *found = NULL;
    HF_CLEANUP(hf_free) char *real = NULL;
    const char *db_path = facts->dbpath;

    if (db_path == NULL && facts->arbiter) {
        db_path = found = arbiters_db_path(step);
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
    if (strlen(real) + 32 > sizeof step->note.db_path) {
        return hf_fail(err, HF_ERR_LIMIT, "its dbPath is too long");
    }
    (void)snprintf(step->note.db_path, sizeof step->note.db_path, "%s", real);
    step->note.inside = must_be_inside(real);
    return hf_agent_target_find(real, &step->note.program, err);
}

static struct hf_agent_target_note fresh_note(const struct hf_task_target *target)
{
    struct hf_agent_target_note note = {
        .restore = target->restore, .arbiter = target->arbiter, .in_place = target->in_place};

    (void)snprintf(note.member, sizeof note.member, "%s", target->member);
    (void)snprintf(note.set_name, sizeof note.set_name, "%s", target->set_name);
    return note;
}

/*
 * The note of this restore, or a fresh one. An earlier restore's that was left in between keeps the member's ways: one in
 * place that broke off left a member that does not run and cannot tell them.
 */
static enum hf_err open_note(struct step *step, struct hf_error *err)
{
    const struct hf_task_target *target = step->target;
    enum hf_err code =
        hf_agent_target_note_read(step->work->context->state, target->member, &step->note, err);

    if (code == HF_ERR_NOT_FOUND) {
        step->note = fresh_note(target);
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    if (hf_id_equal(&step->note.restore, &target->restore)) {
        step->noted = true;
        return HF_ERR_OK;
    }
    if (!step->note.in_place && step->note.stage >= HF_AGENT_TARGET_STOPPING &&
        step->note.stage != HF_AGENT_TARGET_UNDONE) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "restore %s was given up while %s stood between its old and new data; hint: "
                       "%s holds the old, and the agent's note in its state directory says how far "
                       "it was",
                       hf_id_text(&step->note.restore).text, target->member, step->note.db_path);
    }
    struct hf_agent_target_note fresh = fresh_note(target);
    memcpy(fresh.db_path, step->note.db_path, sizeof fresh.db_path);
    fresh.inside = step->note.inside;
    fresh.program = step->note.program;
    fresh.config = step->note.config;
    fresh.login = step->note.login;
    step->note = fresh;
    return HF_ERR_OK;
}

/* ---- CHECK ---- */

static void add_problem(struct hf_json *problems, const char *kind, const char *text)
{
    struct hf_json *one = hf_json_object();

    hf_json_set_text(one, "kind", kind);
    hf_json_set_text(one, "text", text);
    hf_json_append_take(problems, one);
}

static void report_config(const struct step *step, struct hf_json *report, struct hf_json *problems)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf reply = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_mongo_options options = step->work->context->mongo;
    struct hf_error err;

    options.host = step->target->member;
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

static void report_login(const struct step *step, struct hf_json *report)
{
    struct hf_json *login = hf_json_object();
    char print[HF_LOGIN_PRINT_BYTES];

    print_login(&step->note.login, print);
    hf_json_set_text(login, "user", step->note.login.name);
    hf_json_set_text(login, "print", print);
    hf_json_set_take(report, "login", login);
}

static void report_ways(const struct step *step, struct hf_json *report, struct hf_json *problems)
{
    const struct hf_agent_target_note *note = &step->note;
    const struct hf_agent_context *context = step->work->context;
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

static void report_directory(const struct step *step, struct hf_json *report,
                             struct hf_json *problems)
{
    const char *db_path = step->note.db_path;
    uint64_t free_bytes = 0, total_bytes = 0;
    struct hf_error err;

    hf_json_set_text(report, "dbPath", db_path);
    hf_json_set_bool(report, "inside", step->note.inside);
    if (!step->target->in_place && hf_agent_target_check_directory(db_path, &err) != HF_ERR_OK) {
        add_problem(problems, "DIRECTORY", err.message);
    }
    if (access(db_path, W_OK | X_OK) != 0) {
        add_problem(problems, "DIRECTORY",
                    "the agent may not write to its dbPath; hint: run the agent as root, or as the "
                    "user that the member runs as");
    }
    if (hf_fs_space(db_path, &free_bytes, &total_bytes, &err) == HF_ERR_OK) {
        hf_json_set_u64(report, "freeBytes", free_bytes);
        hf_json_set_u64(report, "totalBytes", total_bytes);
    }
}

/* The member answers: its facts, and what it is started with. */
static void report_member(struct step *step, struct hf_json *report, struct hf_json *problems)
{
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    HF_CLEANUP(hf_json_drop) struct hf_json *options = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *config = NULL;
    struct hf_error err;

    if (read_facts(step, &facts, &err) != HF_ERR_OK) {
        /* One that a restore in place left without its data does not run, and is known from then. */
        if (step->note.program.path == NULL || step->note.config == NULL) {
            add_problem(problems, "MEMBERS", err.message);
        } else if (hf_json_decode(hf_str_of(step->note.config), HF_TARGET_MESSAGE_CONFIG_BYTES,
                                  &config, &err) == HF_ERR_OK) {
            hf_json_set_take(report, "config", HF_TAKE(config));
            report_login(step, report);
        }
        return;
    }
    hf_json_set_text(report, "version", facts.version);
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
    if (!step->target->arbiter) {
        report_config(step, report, problems);
    }
    if (read_login(step, &err) == HF_ERR_OK) {
        report_login(step, report);
    } else {
        add_problem(problems, "LOGIN", err.message);
    }
    hf_program_fini(&step->note.program);
    if (look_at_member(step, &facts, &err) != HF_ERR_OK) {
        add_problem(problems, "START", err.message);
    }
}

static enum hf_err check(struct step *step, struct hf_msg_finish *finish, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *report = hf_json_object();
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_TARGET_REPORT_BYTES);
    struct hf_json *problems = hf_json_array();

    report_member(step, report, problems);
    if (step->note.db_path[0] != '\0') {
        report_directory(step, report, problems);
        report_ways(step, report, problems);
    }
    hf_json_set_take(report, "problems", problems);
    if (hf_json_encode(report, 0, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "report of %s", step->target->member);
    }
    finish->report = hf_strndup((const char *)text.data, text.len);
    return finish->report == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                                  : HF_FAULT("agent.target.checked", err);
}

/* ---- BUILD ---- */

/* A step that comes first finds out what CHECK did. */
static enum hf_err know_member(struct step *step, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    char print[HF_LOGIN_PRINT_BYTES];

    if (step->noted) {
        return HF_ERR_OK;
    }
    enum hf_err code = read_facts(step, &facts, err);
    if (code == HF_ERR_OK) {
        hf_program_fini(&step->note.program);
        code = look_at_member(step, &facts, err);
    } else if (step->note.program.path != NULL && step->target->in_place) {
        return HF_ERR_OK; /* as the broken one before knew it */
    }
    if (code == HF_ERR_OK && !step->target->in_place) {
        code = hf_agent_target_check_directory(step->note.db_path, err);
    }
    if (code == HF_ERR_OK) {
        code = read_login(step, err);
    }
    print_login(&step->note.login, print);
    if (code == HF_ERR_OK && !step->target->arbiter && step->target->login_print[0] != '\0' &&
        strcmp(print, step->target->login_print) != 0) {
        code = hf_fail(err, HF_ERR_CONFLICT,
                       "user %.200s was changed since %s was checked; hint: restore again",
                       step->note.login.name, step->target->member);
    }
    return code;
}

static enum hf_err build(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;

    if (step->noted && step->note.stage == HF_AGENT_TARGET_BUILT) {
        return HF_ERR_OK;
    }
    if (know_member(step, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_CLEANUP(hf_free) char *new_dir = hf_agent_target_new_dir(&step->note);
    HF_CLEANUP(hf_free) char *old_dir = hf_agent_target_old_dir(&step->note);
    if (new_dir == NULL || old_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    const struct hf_agent_target_built built = {.directory = new_dir, .replay = &step->replay};
    /* A leftover of a restore whose last step could not remove it: the set ran on without it. */
    if (!step->noted && hf_fs_remove_tree(old_dir, err) != HF_ERR_OK) {
        return err->code;
    }
    return move_to(context, &step->note, HF_AGENT_TARGET_BUILDING, err) != HF_ERR_OK ||
                   hf_agent_target_build(step->work, &step->note, &built, err) != HF_ERR_OK ||
                   HF_FAULT("agent.target.built", err) != HF_ERR_OK ||
                   move_to(context, &step->note, HF_AGENT_TARGET_BUILT, err) != HF_ERR_OK
               ? err->code
               : HF_ERR_OK;
}

/* ---- STOP, SWAP, START ---- */

static enum hf_err refuse(const struct step *step, struct hf_error *err)
{
    return hf_fail(err, HF_ERR_CONFLICT, "step %s of restore %s does not fit: %s is %s",
                   hf_target_step_name(step->target->step), hf_id_text(&step->target->restore).text,
                   step->target->member,
                   !step->noted                                  ? "not in it"
                   : step->note.stage == HF_AGENT_TARGET_UNDOING ? "on its way back"
                   : step->note.stage == HF_AGENT_TARGET_UNDONE
                       ? "back on its old data already, as its agent lost the server"
                       : "not that far");
}

static enum hf_err stop(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;
    const char *config = step->target->config;

    if (step->noted
            ? step->note.stage < HF_AGENT_TARGET_BUILT || step->note.stage > HF_AGENT_TARGET_STOPPED
            : !step->target->in_place) {
        return refuse(step, err);
    }
    if (know_member(step, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_free(step->note.config);
    step->note.config = config == NULL ? NULL : hf_strdup(config);
    return move_to(context, &step->note, HF_AGENT_TARGET_STOPPING, err) != HF_ERR_OK ||
                   hf_agent_target_stop(step->work, &step->note, err) != HF_ERR_OK ||
                   HF_FAULT("agent.target.stopped", err) != HF_ERR_OK ||
                   move_to(context, &step->note, HF_AGENT_TARGET_STOPPED, err) != HF_ERR_OK
               ? err->code
               : HF_ERR_OK;
}

static enum hf_err swap(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;

    if (step->noted && step->note.stage == HF_AGENT_TARGET_SWAPPED) {
        return HF_ERR_OK;
    }
    if (!step->noted || step->note.stage < HF_AGENT_TARGET_STOPPED ||
        step->note.stage > HF_AGENT_TARGET_SWAPPED) {
        return refuse(step, err);
    }
    const struct hf_agent_target_built built = {.directory = step->note.db_path,
                                                .replay = &step->replay};
    if (move_to(context, &step->note, HF_AGENT_TARGET_SWAPPING, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = step->note.in_place
                           ? hf_agent_target_build(step->work, &step->note, &built, err)
                           : hf_agent_target_swap(context, &step->note, err);
    return code != HF_ERR_OK || HF_FAULT("agent.target.swapped", err) != HF_ERR_OK
               ? err->code
               : move_to(context, &step->note, HF_AGENT_TARGET_SWAPPED, err);
}

static enum hf_err start(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;

    if (!step->noted || (step->note.stage != HF_AGENT_TARGET_SWAPPED &&
                         step->note.stage != HF_AGENT_TARGET_STARTED)) {
        return refuse(step, err);
    }
    /* Noted first: the server has decided, and we may be alone from here on. */
    return move_to(context, &step->note, HF_AGENT_TARGET_STARTED, err) != HF_ERR_OK ||
                   HF_FAULT("agent.target.starting", err) != HF_ERR_OK ||
                   hf_agent_target_start(context, &step->note, step->work->cancel, err) != HF_ERR_OK
               ? err->code
               : HF_FAULT("agent.target.started", err);
}

static enum hf_err primary(struct step *step, struct hf_error *err)
{
    if (!step->noted || step->note.stage != HF_AGENT_TARGET_STARTED) {
        return refuse(step, err);
    }
    return hf_agent_target_wait_primary(step->work, &step->note, err) == HF_ERR_OK
               ? HF_FAULT("agent.target.primary", err)
               : err->code;
}

static enum hf_err clean(struct step *step, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *old_dir = hf_agent_target_old_dir(&step->note);

    if (!step->noted) {
        return HF_ERR_OK; /* done, and told in vain */
    }
    if (step->note.stage != HF_AGENT_TARGET_STARTED) {
        return refuse(step, err);
    }
    if (old_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_remove_tree(old_dir, err) != HF_ERR_OK ||
        HF_FAULT("agent.target.cleaned", err) != HF_ERR_OK) {
        return hf_wrap(err, "remove the old data; hint: %s is not needed any more", old_dir);
    }
    return hf_agent_target_note_forget(step->work->context->state, step->target->member, err);
}

/* ---- The way back ---- */

static enum hf_err halt(struct step *step, struct hf_error *err)
{
    if (!step->noted || step->note.stage < HF_AGENT_TARGET_SWAPPED ||
        step->note.stage > HF_AGENT_TARGET_STARTED) {
        return HF_ERR_OK;
    }
    /* No guard may start it again while the others stop. */
    return move_to(step->work->context, &step->note, HF_AGENT_TARGET_SWAPPED, err) != HF_ERR_OK ||
                   hf_agent_target_stop(step->work, &step->note, err) != HF_ERR_OK
               ? err->code
               : HF_FAULT("agent.target.halted", err);
}

enum hf_err hf_agent_target_back(const struct hf_agent_context *context,
                                 struct hf_agent_target_note *note, const struct hf_cancel *cancel,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *new_dir = hf_agent_target_new_dir(note);
    bool was_stopped = note->stage >= HF_AGENT_TARGET_STOPPING || note->stopped_by_us;

    if (note->stage == HF_AGENT_TARGET_UNDONE) {
        return HF_ERR_OK;
    }
    if (new_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (note->stage != HF_AGENT_TARGET_UNDOING) {
        note->stopped_by_us = was_stopped;
        if (move_to(context, note, HF_AGENT_TARGET_UNDOING, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (note->stopped_by_us) {
        if (hf_agent_target_swap_back(context, note, err) != HF_ERR_OK ||
            HF_FAULT("agent.target.put_back", err) != HF_ERR_OK ||
            hf_agent_target_start(context, note, cancel, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_fs_remove_tree(new_dir, err) != HF_ERR_OK ||
        HF_FAULT("agent.target.undone", err) != HF_ERR_OK) {
        return err->code;
    }
    return move_to(context, note, HF_AGENT_TARGET_UNDONE, err);
}

static enum hf_err back(struct step *step, struct hf_error *err)
{
    const struct hf_agent_context *context = step->work->context;

    if (!step->noted) {
        return HF_ERR_OK; /* it never got so far as to note anything */
    }
    return hf_agent_target_back(context, &step->note, step->work->cancel, err) != HF_ERR_OK
               ? err->code
               : hf_agent_target_note_forget(context->state, step->target->member, err);
}

/* ---- The task ---- */

static enum hf_err run_step(struct step *step, struct hf_msg_finish *finish, struct hf_error *err)
{
    switch (step->target->step) {
    case HF_STEP_CHECK:
        return check(step, finish, err);
    case HF_STEP_BUILD:
        return build(step, err);
    case HF_STEP_STOP:
        return stop(step, err);
    case HF_STEP_SWAP:
        return swap(step, err);
    case HF_STEP_START:
        return start(step, err);
    case HF_STEP_PRIMARY:
        return primary(step, err);
    case HF_STEP_CLEAN:
        return clean(step, err);
    case HF_STEP_HALT:
        return halt(step, err);
    case HF_STEP_BACK:
        break;
    }
    return back(step, err);
}

enum hf_err hf_agent_target(const struct hf_agent_work *work, struct hf_msg_finish *finish,
                            struct hf_error *err)
{
    HF_CLEANUP(step_fini)
    struct step step = {.work = work, .target = &work->task->target};
    struct hf_agent_targets *targets = work->context->targets;
    const char *member = step.target->member;
    char host[256];

    hf_progress_phase(work->progress, hf_target_step_name(step.target->step));
    if (!hf_agent_targets_take(targets, member, work->cancel)) {
        return hf_fail(err, HF_ERR_CANCELLED, "cancelled");
    }
    enum hf_err code = open_note(&step, err);
    if (code == HF_ERR_OK) {
        code = run_step(&step, finish, err);
    }
    hf_agent_targets_give(targets, member);
    if (code != HF_ERR_OK) {
        hf_host_name(host, sizeof host);
        return hf_wrap(err, "agent on %s", host);
    }
    finish->replay = step.replay;
    finish->restored_files = step.note.files;
    finish->restored_bytes = step.note.bytes;
    finish->written_bytes = step.note.written_bytes;
    return HF_ERR_OK;
}
