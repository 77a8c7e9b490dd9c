/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes on disk, each a small file published whole: a reader sees all of one or nothing.
 */
#include "agent/state.h"

#include <stdio.h>

#include "base/alloc.h"
#include "codec/json.h"
#include "os/clock.h"
#include "os/fs.h"

#define NOTES_MAX ((size_t)100000)

struct hf_agent_state {
    char *dir, *tasks, *cursors, *journal, *cache, *targets; /* owned */
    struct hf_lock_file *lock;
    struct hf_id id;
};

void hf_agent_state_close(struct hf_agent_state *state)
{
    if (state == NULL) {
        return;
    }
    hf_lock_file_drop(state->lock);
    hf_free(state->dir);
    hf_free(state->tasks);
    hf_free(state->cursors);
    hf_free(state->journal);
    hf_free(state->cache);
    hf_free(state->targets);
    hf_free(state);
}

const struct hf_id *hf_agent_state_id(const struct hf_agent_state *state)
{
    return &state->id;
}

static enum hf_err make_sub_dir(const char *dir, const char *name, char **out, struct hf_error *err)
{
    *out = hf_path_join(dir, name);
    if (*out == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_make_dirs(*out, 0700, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fs_sweep_temporaries(*out, err);
}

static enum hf_err read_or_make_id(struct hf_agent_state *state, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(256);
    HF_CLEANUP(hf_free) char *path = hf_path_join(state->dir, "agent.id");

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_read_whole(path, 255, &text, err) == HF_ERR_OK) {
        struct hf_str line = {(const char *)text.data, text.len};
        while (line.len > 0 &&
               (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == ' ')) {
            line.len--;
        }
        if (!hf_id_parse(line, &state->id)) {
            return hf_fail(err, HF_ERR_CORRUPT,
                           "%s does not hold an agent id; hint: remove it to become a new agent",
                           path);
        }
        return HF_ERR_OK;
    }
    if (err->code != HF_ERR_NOT_FOUND) {
        return err->code;
    }
    do {
        hf_random_bytes(state->id.bytes, sizeof state->id.bytes);
    } while (hf_id_is_none(&state->id));
    hf_buf_clear(&text);
    if (hf_buf_appendf(&text, err, "%s\n", hf_id_text(&state->id).text) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fs_publish_new(path, hf_buf_bytes(&text), 0600, err);
}

enum hf_err hf_agent_state_open(const char *dir, struct hf_agent_state **out, struct hf_error *err)
{
    HF_CLEANUP(hf_agent_state_close) struct hf_agent_state *state = hf_alloc_zero(sizeof *state);

    if (state == NULL || (state->dir = hf_strdup(dir)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "open state directory %s", dir);
    }
    HF_CLEANUP(hf_free) char *lock_path = hf_path_join(dir, "agent.lock");
    if (lock_path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "open state directory %s", dir);
    }
    if (hf_fs_make_dirs(dir, 0700, err) != HF_ERR_OK) {
        return hf_wrap(err, "open state directory %s", dir);
    }
    if (hf_lock_file_take(lock_path, &state->lock, err) != HF_ERR_OK) {
        return hf_wrap(err, "state directory %s is in use by another agent", dir);
    }
    if (make_sub_dir(dir, "tasks", &state->tasks, err) != HF_ERR_OK ||
        make_sub_dir(dir, "cursors", &state->cursors, err) != HF_ERR_OK ||
        make_sub_dir(dir, "journal", &state->journal, err) != HF_ERR_OK ||
        make_sub_dir(dir, "cache", &state->cache, err) != HF_ERR_OK ||
        make_sub_dir(dir, "targets", &state->targets, err) != HF_ERR_OK ||
        read_or_make_id(state, err) != HF_ERR_OK) {
        return hf_wrap(err, "open state directory %s", dir);
    }
    *out = HF_TAKE(state);
    return HF_ERR_OK;
}

/* Writes a note, over an earlier one of the same name: a task may be noted again after a lost answer. */
static enum hf_err note(const char *dir, const struct hf_id *task, struct hf_json *json,
                        struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, hf_id_text(task).text);

    if (path == NULL || json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_json_encode(json, 0, &text, err) != HF_ERR_OK ||
        hf_fs_publish_replace(path, hf_buf_bytes(&text), 0600, err) != HF_ERR_OK) {
        if (err->code == HF_ERR_NO_SPACE) {
            (void)hf_hint(err, "make room on the disk of the agent's state directory");
        }
        return hf_wrap(err, "note %s", path);
    }
    return HF_ERR_OK;
}

static enum hf_err forget(const char *dir, const struct hf_id *task, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, hf_id_text(task).text);

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_remove(path, err) != HF_ERR_OK && err->code != HF_ERR_NOT_FOUND) {
        return hf_wrap(err, "forget %s", path);
    }
    return HF_ERR_OK;
}

/* *json is NULL when the note was unreadable and is gone now. */
static enum hf_err read_note(const char *dir, const char *name, struct hf_json **json,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, name);

    *json = NULL;
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_read_whole(path, HF_MESSAGE_MAX_BYTES, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_str content = {(const char *)text.data, text.len};
    if (hf_json_decode(content, HF_MESSAGE_MAX_BYTES, json, err) != HF_ERR_OK) {
        return err->code == HF_ERR_NO_MEMORY ? err->code : hf_fs_remove(path, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_agent_state_note_task(struct hf_agent_state *state, const struct hf_task *task,
                                     struct hf_error *err)
{
    struct hf_task_json_options options = {.with_keys = false};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_task_to_json(task, &options);

    return note(state->tasks, &task->id, json, err);
}

enum hf_err hf_agent_state_forget_task(struct hf_agent_state *state, const struct hf_id *task,
                                       struct hf_error *err)
{
    return forget(state->tasks, task, err);
}

bool hf_agent_state_has_task(const struct hf_agent_state *state, const struct hf_id *task)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(state->tasks, hf_id_text(task).text);

    return path != NULL && hf_fs_exists(path);
}

void hf_agent_noted_fini(struct hf_agent_noted *noted)
{
    for (size_t i = 0; i < noted->count; i++) {
        hf_task_fini(&noted->tasks[i]);
    }
    hf_free(noted->tasks);
    *noted = (struct hf_agent_noted){0};
}

enum hf_err hf_agent_state_tasks(struct hf_agent_state *state, struct hf_agent_noted *out,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {0};
    HF_CLEANUP(hf_agent_noted_fini) struct hf_agent_noted noted = {0};

    if (hf_fs_list(state->tasks, NOTES_MAX, &names, err) != HF_ERR_OK) {
        return err->code;
    }
    noted.tasks = hf_alloc_array(names.count + 1, sizeof *noted.tasks);
    if (noted.tasks == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < names.count; i++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
        struct hf_id id;

        if (!hf_id_parse(hf_str_of(names.names[i]), &id)) {
            continue;
        }
        if (read_note(state->tasks, names.names[i], &json, err) != HF_ERR_OK) {
            return err->code;
        }
        if (json == NULL) {
            continue;
        }
        if (hf_task_from_json(json, &noted.tasks[noted.count], err) == HF_ERR_OK) {
            noted.count++;
        } else if (err->code == HF_ERR_NO_MEMORY || forget(state->tasks, &id, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    *out = noted;
    noted = (struct hf_agent_noted){0};
    return HF_ERR_OK;
}

enum hf_err hf_agent_state_note_cursor(struct hf_agent_state *state,
                                       const struct hf_agent_cursor_note *cursor,
                                       struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "member", cursor->member);
    hf_json_set_text(json, "lsid", cursor->lsid);
    return note(state->cursors, &cursor->task, json, err);
}

enum hf_err hf_agent_state_forget_cursor(struct hf_agent_state *state, const struct hf_id *task,
                                         struct hf_error *err)
{
    return forget(state->cursors, task, err);
}

void hf_agent_cursors_fini(struct hf_agent_cursors *cursors)
{
    hf_free(cursors->notes);
    *cursors = (struct hf_agent_cursors){0};
}

enum hf_err hf_agent_state_cursors(struct hf_agent_state *state, struct hf_agent_cursors *out,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {0};
    HF_CLEANUP(hf_agent_cursors_fini) struct hf_agent_cursors cursors = {0};

    if (hf_fs_list(state->cursors, NOTES_MAX, &names, err) != HF_ERR_OK) {
        return err->code;
    }
    cursors.notes = hf_alloc_array(names.count + 1, sizeof *cursors.notes);
    if (cursors.notes == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < names.count; i++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
        struct hf_agent_cursor_note *one = &cursors.notes[cursors.count];
        const char *member, *lsid;

        *one = (struct hf_agent_cursor_note){0};
        if (!hf_id_parse(hf_str_of(names.names[i]), &one->task)) {
            continue;
        }
        if (read_note(state->cursors, names.names[i], &json, err) != HF_ERR_OK) {
            return err->code;
        }
        member = json == NULL ? NULL : hf_json_get_text(json, "member");
        lsid = json == NULL ? NULL : hf_json_get_text(json, "lsid");
        if (member != NULL && lsid != NULL && strlen(member) < sizeof one->member &&
            strlen(lsid) < sizeof one->lsid) {
            memcpy(one->member, member, strlen(member) + 1);
            memcpy(one->lsid, lsid, strlen(lsid) + 1);
            cursors.count++;
        }
    }
    *out = cursors;
    cursors = (struct hf_agent_cursors){0};
    return HF_ERR_OK;
}

enum hf_err hf_agent_state_journal(struct hf_agent_state *state, const struct hf_id *job,
                                   char **path, struct hf_error *err)
{
    *path = hf_path_join(state->journal, hf_id_text(job).text);
    return *path == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

enum hf_err hf_agent_state_cache(struct hf_agent_state *state, const struct hf_id *job, char **path,
                                 struct hf_error *err)
{
    return make_sub_dir(state->cache, hf_id_text(job).text, path, err);
}

enum hf_err hf_agent_state_targets(struct hf_agent_state *state, char **path, struct hf_error *err)
{
    *path = hf_strdup(state->targets);
    return *path == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

enum hf_err hf_agent_state_recovery(struct hf_agent_state *state, const char *member, char **path,
                                    struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *dir = NULL;

    return make_sub_dir(state->dir, "recovery", &dir, err) != HF_ERR_OK
               ? err->code
               : make_sub_dir(dir, member, path, err);
}
