/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between agent and server as JSON.
 */
#include "format/message_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "format/field.h"

#define RUNNING_MAX HF_MESSAGE_TASKS_MAX
#define OBJECTS_MAX 1000

/* ---- what all messages share ---- */

struct hf_json *hf_msg_begin(void)
{
    struct hf_json *json = hf_json_object();
    hf_json_set_u64(json, "protocol", HF_AGENT_PROTOCOL);
    return json;
}

enum hf_err hf_msg_end(struct hf_json *json, struct hf_buf *out, struct hf_error *err)
{
    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "message");
    }
    return hf_json_encode(json, 0, out, err);
}

enum hf_err hf_msg_open(struct hf_str in, const char *what, struct hf_json **out,
                        struct hf_error *err)
{
    static const struct hf_json_limits limits = {.bytes = HF_MESSAGE_MAX_BYTES,
                                                 .values = HF_MESSAGE_VALUES_MAX};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    if (hf_json_decode_within(in, &limits, &json, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", what);
    }
    if (hf_json_type(json) != HF_JSON_OBJECT) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not an object", what);
    }
    int64_t protocol = hf_json_get_integer(json, "protocol", 0);
    if (protocol != HF_AGENT_PROTOCOL) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s: protocol version %" PRId64 ", this program speaks version %d", what,
                       protocol, HF_AGENT_PROTOCOL);
    }
    *out = HF_TAKE(json);
    return HF_ERR_OK;
}

/* An array of at most max items; missing counts as empty. *items has room for them, zeroed. */
static enum hf_err open_array(const struct hf_json *json, const char *key, size_t max,
                              size_t item_bytes, struct hf_json **array, void **items,
                              size_t *count, struct hf_error *err)
{
    *array = hf_json_get(json, key);
    *items = NULL;
    *count = 0;
    if (*array == NULL) {
        return HF_ERR_OK;
    }
    size_t found = hf_json_count(*array);
    if (hf_json_type(*array) != HF_JSON_ARRAY || found > max) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not a list of at most %zu", key, max);
    }
    *items = hf_alloc_zero((found == 0 ? 1 : found) * item_bytes);
    if (*items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: %zu items", key, found);
    }
    *count = found;
    return HF_ERR_OK;
}

static enum hf_err ids_from_json(const struct hf_json *json, const char *key, struct hf_id **ids,
                                 size_t *count, struct hf_error *err)
{
    struct hf_json *array = NULL;
    void *items = NULL;
    if (open_array(json, key, HF_MESSAGE_TASKS_MAX, sizeof **ids, &array, &items, count, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    *ids = items;
    for (size_t i = 0; i < *count; i++) {
        const char *text = hf_json_text(hf_json_at(array, i));
        if (text == NULL || !hf_id_parse(hf_str_of(text), &(*ids)[i])) {
            return hf_fail(err, HF_ERR_INVALID, "%s: not an id of 24 hexadecimal digits", key);
        }
    }
    return HF_ERR_OK;
}

static void set_ids(struct hf_json *json, const char *key, const struct hf_id *ids, size_t count)
{
    struct hf_json *array = hf_json_array();
    for (size_t i = 0; i < count; i++) {
        hf_json_append_text(array, hf_id_text(&ids[i]).text);
    }
    hf_json_set_take(json, key, array);
}

static enum hf_err code_from_json(const struct hf_json *json, enum hf_err *code,
                                  struct hf_error *err)
{
    const char *name = NULL;
    if (hf_json_need_text(json, "error", &name, err) != HF_ERR_OK) {
        return err->code;
    }
    *code = hf_err_from_name(name);
    return HF_ERR_OK;
}

/* ---- members ---- */

static void set_members(struct hf_json *json, const struct hf_msg_members *members)
{
    struct hf_json *array = hf_json_array();
    for (size_t i = 0; i < members->count; i++) {
        const struct hf_msg_member *member = &members->items[i];
        struct hf_json *item = hf_json_object();
        hf_json_set_text(item, "address", member->address);
        hf_field_set_text(item, "set", member->set_name);
        hf_field_set_text(item, "dbPath", member->db_path);
        hf_field_set_text(item, "state", member->state);
        hf_field_set_text(item, "primary", member->primary);
        hf_field_set_text(item, "fcv", member->fcv);
        hf_field_set_text(item, "version", member->server_version);
        hf_field_set_text(item, "engine", member->engine);
        hf_field_set_text(item, "problem", member->problem);
        hf_json_set_bool(item, "hidden", member->hidden);
        hf_json_set_bool(item, "readable", member->readable);
        hf_json_set_u64(item, "setMembers", member->set_members);
        hf_json_set_real(item, "priority", member->priority);
        hf_json_set_u64(item, "lagS", member->lag_s);
        hf_json_set_u64(item, "dataBytes", member->data_bytes);
        hf_json_set_u64(item, "oplogFirstS", member->oplog_first_s);
        hf_json_set_u64(item, "oplogLastS", member->oplog_last_s);
        hf_json_append_take(array, item);
    }
    hf_json_set_take(json, "members", array);
}

static enum hf_err member_from_json(const struct hf_json *json, struct hf_msg_member *out,
                                    struct hf_error *err)
{
    const struct {
        const char *key;
        char *to;
        size_t capacity;
    } texts[] = {
        {"address", out->address, sizeof out->address},
        {"set", out->set_name, sizeof out->set_name},
        {"dbPath", out->db_path, sizeof out->db_path},
        {"state", out->state, sizeof out->state},
        {"primary", out->primary, sizeof out->primary},
        {"fcv", out->fcv, sizeof out->fcv},
        {"version", out->server_version, sizeof out->server_version},
        {"engine", out->engine, sizeof out->engine},
        {"problem", out->problem, sizeof out->problem},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(texts); i++) {
        if (hf_field_text(json, texts[i].key, texts[i].to, texts[i].capacity, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (out->address[0] == '\0') {
        return hf_fail(err, HF_ERR_INVALID, "address: missing");
    }
    /* A whole number may come as an integer. */
    double whole = (double)hf_json_get_integer(json, "priority", 0);
    out->priority = hf_json_get_real(json, "priority", whole);
    if (hf_field_bool(json, "hidden", &out->hidden, err) != HF_ERR_OK ||
        hf_field_bool(json, "readable", &out->readable, err) != HF_ERR_OK ||
        hf_field_u32(json, "setMembers", &out->set_members, err) != HF_ERR_OK ||
        hf_field_u64(json, "lagS", INT64_MAX, &out->lag_s, err) != HF_ERR_OK ||
        hf_field_u64(json, "dataBytes", INT64_MAX, &out->data_bytes, err) != HF_ERR_OK ||
        hf_field_u64(json, "oplogFirstS", INT64_MAX, &out->oplog_first_s, err) != HF_ERR_OK ||
        hf_field_u64(json, "oplogLastS", INT64_MAX, &out->oplog_last_s, err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_ERR_OK;
}

static enum hf_err members_from_json(const struct hf_json *json, struct hf_msg_members *out,
                                     struct hf_error *err)
{
    struct hf_json *array = NULL;
    void *items = NULL;
    if (open_array(json, "members", HF_MESSAGE_MEMBERS_MAX, sizeof *out->items, &array, &items,
                   &out->count, err) != HF_ERR_OK) {
        return err->code;
    }
    out->items = items;
    for (size_t i = 0; i < out->count; i++) {
        if (member_from_json(hf_json_at(array, i), &out->items[i], err) != HF_ERR_OK) {
            return hf_wrap(err, "members");
        }
    }
    return HF_ERR_OK;
}

static void members_fini(struct hf_msg_members *members)
{
    hf_free(members->items);
    members->items = NULL;
    members->count = 0;
}

/* ---- hello ---- */

void hf_msg_hello_fini(struct hf_msg_hello *hello)
{
    members_fini(&hello->members);
}

enum hf_err hf_msg_hello_encode(const struct hf_msg_hello *hello, struct hf_buf *out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_begin();
    hf_field_set_id(json, "agent", &hello->agent);
    hf_json_set_text(json, "host", hello->host);
    hf_json_set_text(json, "release", hello->release);
    hf_field_set_text(json, "restoreRoot", hello->restore_root);
    set_members(json, &hello->members);
    return hf_msg_end(json, out, err);
}

enum hf_err hf_msg_hello_decode(struct hf_str in, struct hf_msg_hello *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    HF_CLEANUP(hf_msg_hello_fini) struct hf_msg_hello hello = {.host = ""};
    if (hf_msg_open(in, "hello", &json, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_field_need_id(json, "agent", &hello.agent, err) != HF_ERR_OK ||
        hf_field_text(json, "host", hello.host, sizeof hello.host, err) != HF_ERR_OK ||
        hf_field_text(json, "release", hello.release, sizeof hello.release, err) != HF_ERR_OK ||
        hf_field_text(json, "restoreRoot", hello.restore_root, sizeof hello.restore_root, err) !=
            HF_ERR_OK ||
        members_from_json(json, &hello.members, err) != HF_ERR_OK) {
        return hf_wrap(err, "hello");
    }
    *out = hello;
    hello.members = (struct hf_msg_members){.items = NULL};
    return HF_ERR_OK;
}

enum hf_err hf_msg_hello_answer_encode(const struct hf_msg_hello_answer *answer, struct hf_buf *out,
                                       struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_begin();
    hf_json_set_text(json, "session", answer->session);
    hf_json_set_text(json, "release", answer->server_release);
    hf_json_set_u64(json, "nowMs", answer->now_ms);
    hf_json_set_u64(json, "pollWaitMs", answer->poll_wait_ms);
    hf_json_set_u64(json, "progressMs", answer->progress_ms);
    return hf_msg_end(json, out, err);
}

enum hf_err hf_msg_hello_answer_decode(struct hf_str in, struct hf_msg_hello_answer *out,
                                       struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_msg_hello_answer answer = {.session = ""};
    if (hf_msg_open(in, "hello", &json, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_field_text(json, "session", answer.session, sizeof answer.session, err) != HF_ERR_OK ||
        hf_field_text(json, "release", answer.server_release, sizeof answer.server_release, err) !=
            HF_ERR_OK ||
        hf_field_u64(json, "nowMs", INT64_MAX, &answer.now_ms, err) != HF_ERR_OK ||
        hf_field_u64(json, "pollWaitMs", INT64_MAX, &answer.poll_wait_ms, err) != HF_ERR_OK ||
        hf_field_u64(json, "progressMs", INT64_MAX, &answer.progress_ms, err) != HF_ERR_OK) {
        return hf_wrap(err, "answer to hello");
    }
    if (answer.session[0] == '\0') {
        return hf_fail(err, HF_ERR_INVALID, "answer to hello: session: missing");
    }
    *out = answer;
    return HF_ERR_OK;
}

/* ---- poll ---- */

struct hf_json *hf_msg_progress_to_json(const struct hf_progress_view *view)
{
    struct hf_json *json = hf_json_object();
    hf_field_set_text(json, "phase", view->phase);
    hf_field_set_text(json, "current", view->current);
    hf_json_set_u64(json, "bytesTotal", view->bytes_total);
    hf_json_set_u64(json, "bytesDone", view->bytes_done);
    hf_json_set_u64(json, "filesTotal", view->files_total);
    hf_json_set_u64(json, "filesDone", view->files_done);
    hf_json_set_u64(json, "bytesNew", view->bytes_new);
    hf_json_set_u64(json, "bytesStored", view->bytes_stored);
    hf_json_set_u64(json, "elapsedMs", view->elapsed_ms);
    hf_json_set_u64(json, "rateBytesS", view->rate_bytes_s);
    if (view->left_s != UINT64_MAX) {
        hf_json_set_u64(json, "leftS", view->left_s);
    }
    return json;
}

static enum hf_err progress_from_json(const struct hf_json *json, struct hf_progress_view *out,
                                      struct hf_error *err)
{
    const struct {
        const char *key;
        uint64_t *to;
    } numbers[] = {
        {"bytesTotal", &out->bytes_total}, {"bytesDone", &out->bytes_done},
        {"filesTotal", &out->files_total}, {"filesDone", &out->files_done},
        {"bytesNew", &out->bytes_new},     {"bytesStored", &out->bytes_stored},
        {"elapsedMs", &out->elapsed_ms},   {"rateBytesS", &out->rate_bytes_s},
        {"leftS", &out->left_s},
    };
    out->left_s = UINT64_MAX;
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers); i++) {
        if (hf_field_u64(json, numbers[i].key, INT64_MAX, numbers[i].to, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_field_text(json, "phase", out->phase, sizeof out->phase, err) != HF_ERR_OK ||
        hf_field_text(json, "current", out->current, sizeof out->current, err) != HF_ERR_OK) {
        return err->code;
    }
    return HF_ERR_OK;
}

void hf_msg_poll_fini(struct hf_msg_poll *poll)
{
    members_fini(&poll->members);
    hf_free(poll->running);
    hf_free(poll->ended);
    poll->running = NULL;
    poll->ended = NULL;
}

enum hf_err hf_msg_poll_encode(const struct hf_msg_poll *poll, struct hf_buf *out,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_begin();
    hf_field_set_id(json, "agent", &poll->agent);
    hf_json_set_text(json, "session", poll->session);
    hf_json_set_u64(json, "waitMs", poll->wait_ms);
    set_members(json, &poll->members);
    struct hf_json *array = hf_json_array();
    for (size_t i = 0; i < poll->running_count; i++) {
        const struct hf_msg_running *running = &poll->running[i];
        struct hf_json *item = hf_json_object();
        hf_field_set_id(item, "task", &running->task);
        hf_field_set_id(item, "attempt", &running->attempt);
        hf_json_set_take(item, "progress", hf_msg_progress_to_json(&running->progress));
        hf_json_append_take(array, item);
    }
    hf_json_set_take(json, "running", array);
    set_ids(json, "ended", poll->ended, poll->ended_count);
    return hf_msg_end(json, out, err);
}

static enum hf_err running_from_json(const struct hf_json *json, struct hf_msg_poll *poll,
                                     struct hf_error *err)
{
    struct hf_json *array = NULL;
    void *items = NULL;
    if (open_array(json, "running", RUNNING_MAX, sizeof *poll->running, &array, &items,
                   &poll->running_count, err) != HF_ERR_OK) {
        return err->code;
    }
    poll->running = items;
    for (size_t i = 0; i < poll->running_count; i++) {
        const struct hf_json *item = hf_json_at(array, i);
        struct hf_msg_running *running = &poll->running[i];
        struct hf_json *progress = NULL;
        if (hf_field_need_id(item, "task", &running->task, err) != HF_ERR_OK ||
            hf_field_need_id(item, "attempt", &running->attempt, err) != HF_ERR_OK ||
            hf_json_need_object(item, "progress", &progress, err) != HF_ERR_OK ||
            progress_from_json(progress, &running->progress, err) != HF_ERR_OK) {
            return hf_wrap(err, "running");
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_msg_poll_decode(struct hf_str in, struct hf_msg_poll *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    HF_CLEANUP(hf_msg_poll_fini) struct hf_msg_poll poll = {.session = ""};
    if (hf_msg_open(in, "poll", &json, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_field_need_id(json, "agent", &poll.agent, err) != HF_ERR_OK ||
        hf_field_text(json, "session", poll.session, sizeof poll.session, err) != HF_ERR_OK ||
        hf_field_u64(json, "waitMs", INT64_MAX, &poll.wait_ms, err) != HF_ERR_OK ||
        members_from_json(json, &poll.members, err) != HF_ERR_OK ||
        running_from_json(json, &poll, err) != HF_ERR_OK ||
        ids_from_json(json, "ended", &poll.ended, &poll.ended_count, err) != HF_ERR_OK) {
        return hf_wrap(err, "poll");
    }
    *out = poll;
    poll = (struct hf_msg_poll){.session = ""};
    return HF_ERR_OK;
}

void hf_msg_poll_answer_fini(struct hf_msg_poll_answer *answer)
{
    for (size_t i = 0; i < answer->task_count; i++) {
        hf_task_fini(&answer->tasks[i]);
    }
    hf_free(answer->tasks);
    hf_free(answer->cancels);
    hf_free(answer->outcomes);
    *answer = (struct hf_msg_poll_answer){.tasks = NULL};
}

enum hf_err hf_msg_poll_answer_encode(const struct hf_msg_poll_answer *answer, struct hf_buf *out,
                                      struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_begin();
    struct hf_json *tasks = hf_json_array();
    hf_json_set_take(json, "tasks", tasks);
    for (size_t i = 0; i < answer->task_count; i++) {
        struct hf_json *task =
            hf_task_to_json(&answer->tasks[i], &(struct hf_task_json_options){.with_keys = true});
        if (task == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "task");
        }
        hf_json_append_take(tasks, task);
    }
    set_ids(json, "cancel", answer->cancels, answer->cancel_count);
    struct hf_json *outcomes = hf_json_array();
    for (size_t i = 0; i < answer->outcome_count; i++) {
        const struct hf_msg_outcome *outcome = &answer->outcomes[i];
        struct hf_json *item = hf_json_object();
        hf_field_set_id(item, "task", &outcome->task);
        hf_json_set_text(item, "error", hf_err_name(outcome->code));
        hf_json_set_text(item, "message", outcome->message);
        hf_json_append_take(outcomes, item);
    }
    hf_json_set_take(json, "outcomes", outcomes);
    return hf_msg_end(json, out, err);
}

static enum hf_err tasks_from_json(const struct hf_json *json, struct hf_msg_poll_answer *answer,
                                   struct hf_error *err)
{
    struct hf_json *array = NULL;
    void *items = NULL;
    if (open_array(json, "tasks", HF_MESSAGE_TASKS_MAX, sizeof *answer->tasks, &array, &items,
                   &answer->task_count, err) != HF_ERR_OK) {
        return err->code;
    }
    answer->tasks = items;
    for (size_t i = 0; i < answer->task_count; i++) {
        const struct hf_json *item = hf_json_at(array, i);
        if (hf_task_from_json(item, &answer->tasks[i], err) != HF_ERR_OK) {
            return hf_wrap(err, "tasks");
        }
        /* Of a restore onto a set only the steps that build read a store. */
        bool reads =
            answer->tasks[i].kind != HF_TASK_TARGET || answer->tasks[i].target.root.lists != NULL;
        if (reads && hf_id_is_none(&answer->tasks[i].keyring.job)) {
            return hf_fail(err, HF_ERR_INVALID, "tasks: keys: missing");
        }
    }
    return HF_ERR_OK;
}

static enum hf_err outcomes_from_json(const struct hf_json *json, struct hf_msg_poll_answer *answer,
                                      struct hf_error *err)
{
    struct hf_json *array = NULL;
    void *items = NULL;
    if (open_array(json, "outcomes", HF_MESSAGE_TASKS_MAX, sizeof *answer->outcomes, &array, &items,
                   &answer->outcome_count, err) != HF_ERR_OK) {
        return err->code;
    }
    answer->outcomes = items;
    for (size_t i = 0; i < answer->outcome_count; i++) {
        const struct hf_json *item = hf_json_at(array, i);
        struct hf_msg_outcome *outcome = &answer->outcomes[i];
        if (hf_field_need_id(item, "task", &outcome->task, err) != HF_ERR_OK ||
            code_from_json(item, &outcome->code, err) != HF_ERR_OK ||
            hf_field_text(item, "message", outcome->message, sizeof outcome->message, err) !=
                HF_ERR_OK) {
            return hf_wrap(err, "outcomes");
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_msg_poll_answer_decode(struct hf_str in, struct hf_msg_poll_answer *out,
                                      struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    HF_CLEANUP(hf_msg_poll_answer_fini) struct hf_msg_poll_answer answer = {.tasks = NULL};
    if (hf_msg_open(in, "answer to poll", &json, err) != HF_ERR_OK) {
        return err->code;
    }
    if (tasks_from_json(json, &answer, err) != HF_ERR_OK ||
        ids_from_json(json, "cancel", &answer.cancels, &answer.cancel_count, err) != HF_ERR_OK ||
        outcomes_from_json(json, &answer, err) != HF_ERR_OK) {
        return hf_wrap(err, "answer to poll");
    }
    *out = answer;
    answer = (struct hf_msg_poll_answer){.tasks = NULL};
    return HF_ERR_OK;
}

/* ---- finish ---- */

void hf_msg_finish_fini(struct hf_msg_finish *finish)
{
    hf_facts_fini(&finish->facts);
    hf_tree_root_fini(&finish->root);
    hf_free(finish->report);
    finish->report = NULL;
}

static struct hf_json *times_to_json(const struct hf_capture_times *times)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_u64(json, "openMs", times->open_ms);
    hf_json_set_u64(json, "listMs", times->list_ms);
    hf_json_set_u64(json, "copyMs", times->copy_ms);
    hf_json_set_u64(json, "confirmMs", times->confirm_ms);
    return json;
}

/* An agent of before says nothing of them. */
static enum hf_err times_from_json(const struct hf_json *json, struct hf_capture_times *out,
                                   struct hf_error *err)
{
    const struct hf_json *times = hf_json_get_object(json, "times");

    if (times == NULL) {
        return HF_ERR_OK;
    }
    if (hf_field_u64(times, "openMs", INT64_MAX, &out->open_ms, err) != HF_ERR_OK ||
        hf_field_u64(times, "listMs", INT64_MAX, &out->list_ms, err) != HF_ERR_OK ||
        hf_field_u64(times, "copyMs", INT64_MAX, &out->copy_ms, err) != HF_ERR_OK ||
        hf_field_u64(times, "confirmMs", INT64_MAX, &out->confirm_ms, err) != HF_ERR_OK) {
        return hf_wrap(err, "times");
    }
    return HF_ERR_OK;
}

enum hf_err hf_msg_finish_encode(const struct hf_msg_finish *finish, struct hf_buf *out,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_begin();
    hf_field_set_id(json, "agent", &finish->agent);
    hf_json_set_text(json, "session", finish->session);
    hf_field_set_id(json, "task", &finish->task);
    hf_field_set_id(json, "attempt", &finish->attempt);
    hf_json_set_text(json, "kind", hf_task_kind_name(finish->kind));
    hf_json_set_text(json, "error", hf_err_name(finish->code));
    hf_json_set_text(json, "message", finish->message);
    if (finish->kind == HF_TASK_CAPTURE) {
        hf_json_set_take(json, "times", times_to_json(&finish->times));
    }
    if (finish->code == HF_ERR_OK && finish->kind == HF_TASK_CAPTURE) {
        hf_json_set_take(json, "facts", hf_facts_to_json(&finish->facts));
        hf_field_set_adopted(json, "adopted", finish->adopted, finish->adopted_count);
        hf_json_set_u64(json, "damagedParentNodes", finish->damaged_parent_nodes);
        if (hf_field_set_root(json, "root", &finish->root, err) != HF_ERR_OK) {
            return hf_wrap(err, "finish");
        }
    }
    if (finish->code == HF_ERR_OK &&
        (finish->kind == HF_TASK_RESTORE || finish->kind == HF_TASK_TARGET)) {
        hf_json_set_u64(json, "files", finish->restored_files);
        hf_json_set_u64(json, "bytes", finish->restored_bytes);
        hf_json_set_u64(json, "writtenBytes", finish->written_bytes);
        hf_json_set_u64(json, "removedFiles", finish->removed_files);
        hf_msg_replay_set(json, &finish->replay);
    }
    if (hf_msg_report_to_json(finish, json, err) != HF_ERR_OK) {
        return hf_wrap(err, "finish");
    }
    return hf_msg_end(json, out, err);
}

static enum hf_err finish_result_from_json(const struct hf_json *json, struct hf_msg_finish *out,
                                           struct hf_error *err)
{
    if (out->code != HF_ERR_OK || out->kind == HF_TASK_TAIL) {
        return HF_ERR_OK;
    }
    if (out->kind != HF_TASK_CAPTURE) {
        if (hf_msg_report_from_json(json, out, err) != HF_ERR_OK ||
            hf_field_u64(json, "files", INT64_MAX, &out->restored_files, err) != HF_ERR_OK ||
            hf_field_u64(json, "bytes", INT64_MAX, &out->restored_bytes, err) != HF_ERR_OK ||
            hf_field_u64(json, "writtenBytes", INT64_MAX, &out->written_bytes, err) != HF_ERR_OK ||
            hf_msg_replay_get(json, &out->replay, err) != HF_ERR_OK) {
            return err->code;
        }
        return hf_field_u64(json, "removedFiles", INT64_MAX, &out->removed_files, err);
    }
    struct hf_json *facts = NULL;
    if (hf_json_need_object(json, "facts", &facts, err) != HF_ERR_OK ||
        hf_facts_from_json(facts, &out->facts, err) != HF_ERR_OK ||
        hf_field_adopted(json, "adopted", out->adopted, &out->adopted_count, err) != HF_ERR_OK ||
        hf_field_u64(json, "damagedParentNodes", INT64_MAX, &out->damaged_parent_nodes, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    return hf_field_root(json, "root", &out->root, err);
}

enum hf_err hf_msg_finish_decode(struct hf_str in, struct hf_msg_finish *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    HF_CLEANUP(hf_msg_finish_fini) struct hf_msg_finish finish = {.session = ""};
    const char *kind = NULL;
    if (hf_msg_open(in, "finish", &json, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_field_need_id(json, "agent", &finish.agent, err) != HF_ERR_OK ||
        hf_field_text(json, "session", finish.session, sizeof finish.session, err) != HF_ERR_OK ||
        hf_field_need_id(json, "task", &finish.task, err) != HF_ERR_OK ||
        hf_field_need_id(json, "attempt", &finish.attempt, err) != HF_ERR_OK ||
        hf_json_need_text(json, "kind", &kind, err) != HF_ERR_OK ||
        code_from_json(json, &finish.code, err) != HF_ERR_OK ||
        hf_field_text(json, "message", finish.message, sizeof finish.message, err) != HF_ERR_OK) {
        return hf_wrap(err, "finish");
    }
    if (!hf_task_kind_parse(kind, &finish.kind)) {
        return hf_fail(err, HF_ERR_INVALID, "finish: kind: \"%.40s\"", kind);
    }
    if (times_from_json(json, &finish.times, err) != HF_ERR_OK ||
        finish_result_from_json(json, &finish, err) != HF_ERR_OK) {
        return hf_wrap(err, "finish");
    }
    *out = finish;
    finish = (struct hf_msg_finish){.session = ""};
    return HF_ERR_OK;
}

/* ---- list of objects ---- */

void hf_msg_objects_fini(struct hf_msg_objects *objects)
{
    hf_free(objects->items);
    objects->items = NULL;
    objects->count = 0;
}

enum hf_err hf_msg_objects_encode(const struct hf_msg_objects *objects, struct hf_buf *out,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_msg_begin();
    struct hf_json *array = hf_json_array();
    for (size_t i = 0; i < objects->count; i++) {
        struct hf_json *item = hf_json_object();
        hf_json_set_text(item, "name", objects->items[i].name);
        hf_json_set_u64(item, "size", objects->items[i].size_bytes);
        hf_json_append_take(array, item);
    }
    hf_json_set_take(json, "objects", array);
    hf_json_set_bool(json, "more", objects->more);
    return hf_msg_end(json, out, err);
}

static enum hf_err need_bool(const struct hf_json *json, const char *key, bool *out,
                             struct hf_error *err)
{
    return hf_json_get(json, key) == NULL ? hf_fail(err, HF_ERR_INVALID, "%s: missing", key)
                                          : hf_field_bool(json, key, out, err);
}

enum hf_err hf_msg_objects_decode(struct hf_str in, struct hf_msg_objects *out,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    HF_CLEANUP(hf_msg_objects_fini) struct hf_msg_objects objects = {.items = NULL};
    struct hf_json *array = NULL;
    void *items = NULL;
    if (hf_msg_open(in, "list of objects", &json, err) != HF_ERR_OK) {
        return err->code;
    }
    /* Nothing may be left out: a list that was cut short must not pass for "nothing is there". */
    if (hf_json_need_array(json, "objects", &array, err) != HF_ERR_OK ||
        open_array(json, "objects", OBJECTS_MAX, sizeof *objects.items, &array, &items,
                   &objects.count, err) != HF_ERR_OK ||
        need_bool(json, "more", &objects.more, err) != HF_ERR_OK) {
        hf_free(items);
        return hf_wrap(err, "list of objects");
    }
    objects.items = items;
    for (size_t i = 0; i < objects.count; i++) {
        const struct hf_json *item = hf_json_at(array, i);
        struct hf_msg_object *object = &objects.items[i];
        const char *name = NULL;
        if (hf_json_need_text(item, "name", &name, err) != HF_ERR_OK ||
            hf_field_text(item, "name", object->name, sizeof object->name, err) != HF_ERR_OK ||
            hf_json_need_u64(item, "size", 0, INT64_MAX, &object->size_bytes, err) != HF_ERR_OK) {
            return hf_wrap(err, "list of objects");
        }
    }
    *out = objects;
    objects.items = NULL;
    return HF_ERR_OK;
}

/* ---- errors ---- */

enum hf_err hf_msg_error_encode(const struct hf_error *error, struct hf_buf *out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "error", hf_err_name(error->code));
    hf_json_set_text(json, "message", error->message);
    return hf_msg_end(json, out, err);
}

/* What an answer without our body tells: a proxy's page, another program on that port, or nothing at all. */
static enum hf_err class_of_status(int status)
{
    switch (status) {
    case 401:
        return HF_ERR_UNAUTHENTICATED;
    case 403:
        return HF_ERR_DENIED;
    case 404:
    case 410:
        return HF_ERR_NOT_FOUND;
    case 409:
        return HF_ERR_CONFLICT;
    case 413:
        return HF_ERR_LIMIT;
    case 429:
        return HF_ERR_BUSY;
    default:
        break;
    }
    return status >= 500   ? HF_ERR_UNAVAILABLE
           : status >= 400 ? HF_ERR_INVALID
           : status >= 300 ? HF_ERR_UNSUPPORTED
                           : HF_ERR_INTERNAL;
}

void hf_msg_error_decode(struct hf_str in, int http_status, struct hf_error *error)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_error ignored;
    if (hf_json_decode(in, (size_t)64 << 10, &json, &ignored) == HF_ERR_OK) {
        const char *name = hf_json_get_text(json, "error");
        const char *message = hf_json_get_text(json, "message");
        if (name != NULL && message != NULL && strcmp(name, "OK") != 0) {
            (void)hf_fail(error, hf_err_from_name(name), "%s", message);
            return;
        }
    }
    (void)hf_fail(error, class_of_status(http_status), "HTTP status %d", http_status);
}
