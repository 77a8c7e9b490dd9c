/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server process on a member's directory: found by the lock that it holds, stopped cleanly, started again the way it
 * was or as the operator said. Knows nothing of restores.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/target.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "codec/json.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"

/* A primary first hands over, a large cache is written out. */
#define STOP_LIMIT_MS ((uint64_t)30 * 60 * 1000)
#define START_LIMIT_MS ((uint64_t)15 * 60 * 1000)
/* Started, it holds its directory within that, or it has ended. */
#define UP_LIMIT_MS 30000
#define PRIMARY_LIMIT_MS ((uint64_t)10 * 60 * 1000)
#define POLL_MS 200
#define CONNECT_MS 3000
#define COMMAND_LIMIT_MS 120000
#define LOCK_MAX_BYTES 4096

/* ---- Words of the operator ---- */

/* "h:27017=x" is for that member, "x" for all. */
static const char *word_for(const char *const *words, size_t count, const char *member)
{
    const char *general = NULL;
    size_t len = strlen(member);

    for (size_t i = 0; i < count; i++) {
        if (strncmp(words[i], member, len) == 0 && words[i][len] == '=') {
            return words[i] + len + 1;
        }
        const char *equals = strchr(words[i], '=');
        const char *colon = strchr(words[i], ':');
        bool names_other = equals != NULL && colon != NULL && colon < equals &&
                           strcspn(words[i], " /") > (size_t)(equals - words[i]);
        general = names_other ? general : words[i];
    }
    return general;
}

const char *hf_agent_target_unit(const struct hf_agent_context *context, const char *member)
{
    return word_for(context->member_units, context->member_unit_count, member);
}

const char *hf_agent_target_command(const struct hf_agent_context *context, const char *member)
{
    return word_for(context->member_starts, context->member_start_count, member);
}

/* ---- Who has the directory ---- */

enum hf_err hf_agent_target_is_free(const char *db_path, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *lock_path = hf_path_join(db_path, "mongod.lock");
    HF_CLEANUP(hf_free) char *engine = hf_path_join(db_path, "WiredTiger.lock");
    HF_CLEANUP(hf_lock_file_drop) struct hf_lock_file *lock = NULL;

    if (lock_path == NULL || engine == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code = hf_lock_file_borrow(lock_path, &lock, err);
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    return code != HF_ERR_OK ? code : hf_lock_file_check_records(engine, err);
}

static enum hf_err locked_by(const char *db_path, uint64_t *pid, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(db_path, "mongod.lock");
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(LOCK_MAX_BYTES);

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_read_whole(path, LOCK_MAX_BYTES - 1, &text, err) != HF_ERR_OK ||
        hf_buf_append_text(&text, "", err) != HF_ERR_OK) {
        return err->code;
    }
    char number[24] = "";
    memcpy(number, text.data, text.len < sizeof number - 1 ? text.len : sizeof number - 1);
    *pid = strtoull(number, NULL, 10);
    return *pid == 0 ? hf_fail(err, HF_ERR_NOT_FOUND, "%s names no process", path) : HF_ERR_OK;
}

/* The number in the lock file may be an old one, or one of another container: what holds the lock file open is it. */
enum hf_err hf_agent_target_find(const char *db_path, struct hf_program *out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *held = NULL;
    HF_CLEANUP(hf_free) char *real = NULL;
    uint64_t pid = 0;

    if (locked_by(db_path, &pid, err) != HF_ERR_OK ||
        hf_process_find_open(pid, "mongod.lock", &held, err) != HF_ERR_OK ||
        hf_path_real(held, &real, err) != HF_ERR_OK) {
        return err->code;
    }
    if (strcmp(real, db_path) != 0) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "process %" PRIu64 " runs on %s, not on %s", pid,
                       real, db_path);
    }
    return hf_program_look(pid, out, err);
}

/* ---- Commands ---- */

static enum hf_err run_command(const char *const *argv, struct hf_error *err)
{
    const struct hf_process_options options = {.argv = argv};
    struct hf_process *process = NULL;
    bool ended = false;
    int exit_code = 0;

    if (hf_process_start(&options, &process, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_process_wait(process, COMMAND_LIMIT_MS, &ended, &exit_code, err);
    hf_process_stop(process, 0);
    if (code == HF_ERR_OK && !ended) {
        code = hf_fail(err, HF_ERR_TIMEOUT, "%s %s: not done after %d s", argv[0], argv[1],
                       COMMAND_LIMIT_MS / 1000);
    } else if (code == HF_ERR_OK && exit_code != 0) {
        code =
            hf_fail(err, HF_ERR_IO, "%s %s %s: exit code %d", argv[0], argv[1], argv[2], exit_code);
    }
    return code;
}

static enum hf_err systemctl(const char *verb, const char *unit, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *program = NULL;

    if (hf_path_search("systemctl", &program, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s unit %s", verb, unit);
    }
    const char *const argv[] = {program, verb, unit, NULL};
    return run_command(argv, err);
}

/* ---- Stopping ---- */

static enum hf_err wait_free(const struct hf_agent_work *work, const char *db_path,
                             const struct hf_program *program, struct hf_error *err)
{
    uint64_t deadline_ms = hf_clock_mono_ms() + STOP_LIMIT_MS;

    for (;;) {
        bool runs = program->pid != 0 && hf_program_runs(program->pid, program->started);
        if (!runs && hf_agent_target_is_free(db_path, err) == HF_ERR_OK) {
            return HF_ERR_OK;
        }
        if (hf_clock_mono_ms() >= deadline_ms) {
            return hf_fail(err, HF_ERR_TIMEOUT, "it still has %s after %d minutes", db_path,
                           (int)(STOP_LIMIT_MS / 60000));
        }
        if (hf_cancel_check(work->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_cancel_sleep(work->cancel, POLL_MS);
    }
}

static enum hf_err stop_what_runs(const struct hf_agent_work *work,
                                  const struct hf_agent_target_note *note, struct hf_error *err)
{
    HF_CLEANUP(hf_program_fini) struct hf_program program = {.path = NULL};
    const char *unit = hf_agent_target_unit(work->context, note->member);

    /* A unit that restarts what ends is told even if nothing runs just now. */
    if (unit != NULL && systemctl("stop", unit, err) != HF_ERR_OK) {
        return hf_wrap(err, "stop %s", note->member);
    }
    if (hf_agent_target_is_free(note->db_path, err) == HF_ERR_OK) {
        return HF_ERR_OK;
    }
    if (hf_agent_target_find(note->db_path, &program, err) != HF_ERR_OK ||
        hf_program_signal(program.pid, program.started, SIGTERM, err) != HF_ERR_OK) {
        /* It may have ended in between. */
        struct hf_error ignored;
        return hf_agent_target_is_free(note->db_path, &ignored) == HF_ERR_OK
                   ? HF_ERR_OK
                   : hf_wrap(err, "stop %s", note->member);
    }
    return wait_free(work, note->db_path, &program, err) == HF_ERR_OK
               ? HF_ERR_OK
               : hf_wrap(err, "stop %s (process %" PRIu64 ")", note->member, program.pid);
}

static enum hf_err note_coming(const struct hf_agent_context *context,
                               struct hf_agent_target_note *note, bool coming, struct hf_error *err)
{
    note->coming = coming;
    return hf_agent_target_note_write(context->state, note, err);
}

/* An agent that died behind the launch has seen nothing of it: what is to be stopped must be there first. */
static enum hf_err await_coming(const struct hf_agent_work *work, struct hf_agent_target_note *note,
                                struct hf_error *err)
{
    uint64_t deadline_ms = hf_clock_mono_ms() + UP_LIMIT_MS;

    while (hf_agent_target_is_free(note->db_path, err) == HF_ERR_OK &&
           hf_clock_mono_ms() < deadline_ms) {
        if (hf_cancel_check(work->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_cancel_sleep(work->cancel, POLL_MS);
    }
    return HF_ERR_OK;
}

enum hf_err hf_agent_target_stop(const struct hf_agent_work *work,
                                 struct hf_agent_target_note *note, struct hf_error *err)
{
    if (note->coming && await_coming(work, note, err) != HF_ERR_OK) {
        return hf_wrap(err, "stop %s", note->member);
    }
    note->going = true;
    if (hf_agent_target_note_write(work->context->state, note, err) != HF_ERR_OK ||
        stop_what_runs(work, note, err) != HF_ERR_OK) {
        return err->code;
    }
    note->going = false;
    return note_coming(work->context, note, false, err);
}

/* ---- Starting ---- */

static enum hf_err launch(const struct hf_agent_context *context,
                          const struct hf_agent_target_note *note, struct hf_error *err)
{
    const char *unit = hf_agent_target_unit(context, note->member);
    const char *command = hf_agent_target_command(context, note->member);

    if (HF_FAULT("agent.target.launch", err) != HF_ERR_OK) {
        return err->code;
    }
    if (unit != NULL) {
        return systemctl("start", unit, err);
    }
    if (command == NULL) {
        return note->program.path == NULL
                   ? hf_fail(err, HF_ERR_INVALID,
                             "how it is started is not known; hint: give the "
                             "agent --member-unit or --member-start")
                   : hf_program_start(&note->program, err);
    }
    char shell[] = "/bin/sh", option[] = "-c", top[] = "/";
    HF_CLEANUP(hf_free) char *text = hf_strdup(command);
    char *argv[] = {shell, option, text, NULL};
    const struct hf_program program = {.path = shell,
                                       .argv = argv,
                                       .directory = top,
                                       .output = note->program.output,
                                       .user = geteuid(),
                                       .group = 0};
    return text == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory")
                        : hf_program_start(&program, err);
}

/* Any answer will do: whoever refuses us is up. */
static enum hf_err ask(const struct hf_agent_context *context,
                       const struct hf_agent_target_note *note, struct hf_buf *reply,
                       struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    struct hf_mongo_options options = context->mongo;

    options.host = note->member;
    options.connect_timeout_ms = CONNECT_MS;
    if (note->arbiter && options.uri == NULL) {
        options.user = options.password_file = NULL; /* it knows no users */
    }
    if (hf_mongo_client_open(&options, &client, err) != HF_ERR_OK) {
        return err->code;
    }
    return reply == NULL ? HF_ERR_OK
                         : hf_mongo_run(client, "admin", "{\"isMaster\": 1}", reply, err);
}

static enum hf_err fail_start(const struct hf_agent_target_note *note, const char *why,
                              struct hf_error *err)
{
    return hf_fail(err, HF_ERR_IO, "start %s: %s; hint: its log says more%s%s", note->member, why,
                   note->program.output == NULL ? "" : ": ",
                   note->program.output == NULL ? "" : note->program.output);
}

/* coming: launched, and has not taken its directory yet. */
static enum hf_err wait_up(const struct hf_agent_context *context,
                           const struct hf_agent_target_note *note, bool coming,
                           const struct hf_cancel *cancel, struct hf_error *err)
{
    uint64_t began_ms = hf_clock_mono_ms(), held_ms = began_ms;

    for (;;) {
        enum hf_err code = ask(context, note, NULL, err);
        uint64_t now_ms = hf_clock_mono_ms();
        if (code == HF_ERR_OK || code == HF_ERR_UNAUTHENTICATED || code == HF_ERR_DENIED) {
            return HF_ERR_OK;
        }
        struct hf_error ignored;
        if (hf_agent_target_is_free(note->db_path, &ignored) != HF_ERR_OK) {
            held_ms = now_ms;
            coming = false;
        }
        if (now_ms - held_ms > UP_LIMIT_MS) {
            return fail_start(note, "it does not run", err);
        }
        if (now_ms - began_ms > START_LIMIT_MS) {
            return fail_start(note, "it does not answer", err);
        }
        /* Who stops it next must see it: nobody may change the directories under one that is just coming. */
        if (!coming && hf_cancel_check(cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_cancel_sleep(coming ? NULL : cancel, POLL_MS);
    }
}

enum hf_err hf_agent_target_start(const struct hf_agent_context *context,
                                  struct hf_agent_target_note *note, const struct hf_cancel *cancel,
                                  struct hf_error *err)
{
    const struct hf_agent_work work = {.context = context, .cancel = cancel};
    struct hf_error ignored;

    /* Told to end by a step that was cut off: told once more, for who died may not have come so far. */
    if (note->going && hf_agent_target_stop(&work, note, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_agent_target_is_free(note->db_path, &ignored) != HF_ERR_OK) {
        return wait_up(context, note, false, cancel, err);
    }
    if (note_coming(context, note, true, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = launch(context, note, err) == HF_ERR_OK
                           ? wait_up(context, note, true, cancel, err)
                           : hf_wrap(err, "start %s", note->member);
    /* What became of it is known. An older note that stays costs a wait. */
    enum hf_err noted = note_coming(context, note, false, code == HF_ERR_OK ? err : &ignored);
    return code == HF_ERR_OK ? noted : code;
}

/* ---- A member of a set again ---- */

static bool is_settled(struct hf_str reply)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_error ignored;

    if (hf_json_decode(reply, (size_t)1 << 20, &json, &ignored) != HF_ERR_OK) {
        return false;
    }
    const char *primary = hf_json_get_text(json, "primary");
    return primary != NULL && primary[0] != '\0' &&
           (hf_json_get_bool(json, "ismaster", false) ||
            hf_json_get_bool(json, "secondary", false) ||
            hf_json_get_bool(json, "arbiterOnly", false));
}

enum hf_err hf_agent_target_wait_primary(const struct hf_agent_work *work,
                                         const struct hf_agent_target_note *note,
                                         struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf reply = HF_BUF_INIT((size_t)1 << 20);
    uint64_t began_ms = hf_clock_mono_ms();

    for (;;) {
        enum hf_err code = ask(work->context, note, &reply, err);
        if (code == HF_ERR_OK && is_settled((struct hf_str){(const char *)reply.data, reply.len})) {
            return HF_ERR_OK;
        }
        if (code == HF_ERR_UNAUTHENTICATED) {
            return hf_wrap(err,
                           "%s runs on the restored data, and what the agent logs in with is "
                           "not known there",
                           note->member);
        }
        if (hf_clock_mono_ms() - began_ms > PRIMARY_LIMIT_MS) {
            return hf_fail(err, HF_ERR_IO,
                           "%s is no member of a set with a primary after %d "
                           "minutes",
                           note->member, (int)(PRIMARY_LIMIT_MS / 60000));
        }
        if (hf_cancel_check(work->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_cancel_sleep(work->cancel, POLL_MS);
    }
}
