/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The note of a member in a restore onto its set: one small JSON file a member, published whole.
 */
#include <stdio.h>

#include "agent/target.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "base/secret.h"
#include "codec/base64.h"
#include "codec/json.h"
#include "os/fs.h"

#define NOTE_MAX_BYTES ((size_t)1 << 20)
#define STAGES 9

static const char *const stages[STAGES] = {
    [HF_AGENT_TARGET_BUILDING] = "building", [HF_AGENT_TARGET_BUILT] = "built",
    [HF_AGENT_TARGET_STOPPING] = "stopping", [HF_AGENT_TARGET_STOPPED] = "stopped",
    [HF_AGENT_TARGET_SWAPPING] = "swapping", [HF_AGENT_TARGET_SWAPPED] = "swapped",
    [HF_AGENT_TARGET_STARTED] = "started",   [HF_AGENT_TARGET_UNDOING] = "undoing",
    [HF_AGENT_TARGET_UNDONE] = "undone",
};

void hf_agent_target_note_fini(struct hf_agent_target_note *note)
{
    hf_program_fini(&note->program);
    hf_free(note->config);
    note->config = NULL;
    hf_mongo_login_fini(&note->login);
}

static enum hf_err note_path(struct hf_agent_state *state, const char *member, char **out,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *dir = NULL;

    if (hf_agent_state_targets(state, &dir, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = hf_path_join(dir, member);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

/* ---- Writing ---- */

static struct hf_json *program_to_json(const struct hf_program *program)
{
    struct hf_json *json = hf_json_object(), *argv = hf_json_array();

    for (size_t i = 0; program->argv != NULL && program->argv[i] != NULL; i++) {
        hf_json_append_text(argv, program->argv[i]);
    }
    hf_json_set_take(json, "argv", argv);
    hf_json_set_text(json, "path", program->path);
    hf_json_set_text(json, "directory", program->directory);
    hf_json_set_text(json, "output", program->output);
    hf_json_set_u64(json, "user", program->user);
    hf_json_set_u64(json, "group", program->group);
    return json;
}

/* Its documents as they are: JSON would sort their fields. */
static enum hf_err login_to_json(const struct hf_mongo_login *login, struct hf_json *out,
                                 struct hf_error *err)
{
    size_t len = HF_BASE64_LEN(login->len) + 1;
    HF_CLEANUP(hf_free) char *text = hf_alloc(len);
    struct hf_json *json = hf_json_object();

    if (text == NULL) {
        hf_json_drop(json);
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_base64_encode(hf_bytes_of(login->documents, login->len), text);
    hf_json_set_text(json, "user", login->name);
    hf_json_set_text(json, "documents", text);
    hf_json_set_take(out, "login", json);
    hf_wipe(text, len);
    return HF_ERR_OK;
}

enum hf_err hf_agent_target_note_write(struct hf_agent_state *state,
                                       const struct hf_agent_target_note *note,
                                       struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(NOTE_MAX_BYTES);
    HF_CLEANUP(hf_free) char *path = NULL;

    hf_json_set_text(json, "restore", hf_id_text(&note->restore).text);
    hf_json_set_text(json, "member", note->member);
    hf_json_set_text(json, "set", note->set_name);
    hf_json_set_text(json, "dbPath", note->db_path);
    hf_json_set_text(json, "stage", stages[note->stage]);
    hf_json_set_bool(json, "arbiter", note->arbiter);
    hf_json_set_bool(json, "inPlace", note->in_place);
    hf_json_set_bool(json, "inside", note->inside);
    hf_json_set_bool(json, "entriesIn", note->entries_in);
    hf_json_set_bool(json, "entriesBack", note->entries_back);
    hf_json_set_bool(json, "stoppedByUs", note->stopped_by_us);
    hf_json_set_bool(json, "coming", note->coming);
    hf_json_set_bool(json, "going", note->going);
    hf_json_set_text(json, "config", note->config);
    hf_json_set_u64(json, "files", note->files);
    hf_json_set_u64(json, "bytes", note->bytes);
    hf_json_set_u64(json, "writtenBytes", note->written_bytes);
    hf_json_set_u64(json, "reusedBytes", note->reused_bytes);
    hf_json_set_u64(json, "fetchedBytes", note->fetched_bytes);
    hf_json_set_take(json, "program", program_to_json(&note->program));
    if (note_path(state, note->member, &path, err) != HF_ERR_OK ||
        login_to_json(&note->login, json, err) != HF_ERR_OK ||
        hf_json_encode(json, 2, &text, err) != HF_ERR_OK ||
        hf_fs_publish_replace(path, hf_bytes_of(text.data, text.len), 0600, err) != HF_ERR_OK ||
        HF_FAULT("agent.target.noted", err) != HF_ERR_OK) {
        return hf_wrap(err, "note of the restore of %s", note->member);
    }
    return HF_ERR_OK;
}

/* ---- Reading ---- */

static enum hf_err copy_text(const struct hf_json *json, const char *key, char **out,
                             struct hf_error *err)
{
    const char *text = hf_json_get_text(json, key);

    *out = text == NULL ? NULL : hf_strdup(text);
    return text != NULL && *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

static enum hf_err program_from_json(const struct hf_json *json, struct hf_program *out,
                                     struct hf_error *err)
{
    const struct hf_json *argv = hf_json_get_array(json, "argv");
    size_t count = hf_json_count(argv);

    out->user = (uint32_t)hf_json_get_u64(json, "user", 0);
    out->group = (uint32_t)hf_json_get_u64(json, "group", 0);
    out->argv = hf_alloc_zero((count + 1) * sizeof *out->argv);
    if (out->argv == NULL || copy_text(json, "path", &out->path, err) != HF_ERR_OK ||
        copy_text(json, "directory", &out->directory, err) != HF_ERR_OK ||
        copy_text(json, "output", &out->output, err) != HF_ERR_OK) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = hf_json_text(hf_json_at(argv, i));
        if ((out->argv[i] = hf_strdup(text == NULL ? "" : text)) == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
    }
    return HF_ERR_OK;
}

static enum hf_err need_word(const struct hf_json *json, const char *key, char *out,
                             size_t capacity, struct hf_error *err)
{
    const char *text = hf_json_get_text(json, key);

    if (text == NULL || strlen(text) >= capacity) {
        return hf_fail(err, HF_ERR_CORRUPT, "'%s' is missing or too long", key);
    }
    (void)snprintf(out, capacity, "%s", text);
    return HF_ERR_OK;
}

/* Older notes have none. */
static enum hf_err login_from_json(const struct hf_json *json, struct hf_mongo_login *out,
                                   struct hf_error *err)
{
    const char *user = hf_json_get_text(json, "user");
    const char *text = hf_json_get_text(json, "documents");
    size_t len = text == NULL ? 0 : strlen(text), got = 0;
    HF_CLEANUP(hf_free) uint8_t *documents = NULL;

    if (user == NULL || text == NULL) {
        return HF_ERR_OK;
    }
    documents = hf_alloc(len + 1);
    if (documents == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code = hf_base64_decode((struct hf_str){text, len}, documents, len, &got, err);
    if (code == HF_ERR_OK) {
        code = hf_mongo_login_set(out, user, hf_bytes_of(documents, got), err);
    }
    hf_wipe(documents, len + 1);
    return code;
}

static enum hf_err note_from_json(const struct hf_json *json, struct hf_agent_target_note *out,
                                  struct hf_error *err)
{
    char stage[32] = "", restore[HF_ID_TEXT_BYTES] = "";

    if (need_word(json, "restore", restore, sizeof restore, err) != HF_ERR_OK ||
        need_word(json, "member", out->member, sizeof out->member, err) != HF_ERR_OK ||
        need_word(json, "set", out->set_name, sizeof out->set_name, err) != HF_ERR_OK ||
        need_word(json, "dbPath", out->db_path, sizeof out->db_path, err) != HF_ERR_OK ||
        need_word(json, "stage", stage, sizeof stage, err) != HF_ERR_OK) {
        return err->code;
    }
    unsigned at = 0;
    while (at < STAGES && strcmp(stages[at], stage) != 0) {
        at++;
    }
    if (at == STAGES || !hf_id_parse(hf_str_of(restore), &out->restore)) {
        return hf_fail(err, HF_ERR_CORRUPT, "stage '%s' of restore '%s'", stage, restore);
    }
    out->stage = (enum hf_agent_target_stage)at;
    out->arbiter = hf_json_get_bool(json, "arbiter", false);
    out->in_place = hf_json_get_bool(json, "inPlace", false);
    out->inside = hf_json_get_bool(json, "inside", false);
    out->entries_in = hf_json_get_bool(json, "entriesIn", false);
    out->entries_back = hf_json_get_bool(json, "entriesBack", false);
    out->stopped_by_us = hf_json_get_bool(json, "stoppedByUs", false);
    out->coming = hf_json_get_bool(json, "coming", false);
    out->going = hf_json_get_bool(json, "going", false);
    out->files = hf_json_get_u64(json, "files", 0);
    out->bytes = hf_json_get_u64(json, "bytes", 0);
    out->written_bytes = hf_json_get_u64(json, "writtenBytes", 0);
    out->reused_bytes = hf_json_get_u64(json, "reusedBytes", 0);
    out->fetched_bytes = hf_json_get_u64(json, "fetchedBytes", 0);
    return copy_text(json, "config", &out->config, err) != HF_ERR_OK ||
                   login_from_json(hf_json_get_object(json, "login"), &out->login, err) != HF_ERR_OK
               ? err->code
               : program_from_json(hf_json_get_object(json, "program"), &out->program, err);
}

enum hf_err hf_agent_target_note_read(struct hf_agent_state *state, const char *member,
                                      struct hf_agent_target_note *out, struct hf_error *err)
{
    HF_CLEANUP(hf_agent_target_note_fini) struct hf_agent_target_note note = {.member = ""};
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(NOTE_MAX_BYTES);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    HF_CLEANUP(hf_free) char *path = NULL;

    if (note_path(state, member, &path, err) != HF_ERR_OK ||
        hf_fs_read_whole(path, NOTE_MAX_BYTES, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_json_decode((struct hf_str){(const char *)text.data, text.len}, NOTE_MAX_BYTES, &json,
                       err) != HF_ERR_OK ||
        note_from_json(json, &note, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", path);
    }
    *out = note;
    note = (struct hf_agent_target_note){.member = ""};
    return HF_ERR_OK;
}

enum hf_err hf_agent_target_note_forget(struct hf_agent_state *state, const char *member,
                                        struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;

    if (note_path(state, member, &path, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_fs_remove(path, err);
    return code == HF_ERR_NOT_FOUND ? HF_ERR_OK : code;
}
