/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that several commands make.
 */
#include "cli/api.h"

#include <stdio.h>
#include <string.h>

#include "cli/define.h"

#define WATCH_EVERY_MS 250

static bool id_is_plain(const char *id)
{
    return strlen(id) == 24 && strspn(id, "0123456789abcdefABCDEF") == 24;
}

enum hf_err hf_cli_id_target(char *out, size_t out_len, const char *noun, const char *id,
                             const char *tail, struct hf_error *err)
{
    if (!id_is_plain(id)) {
        return hf_fail(err, HF_ERR_INVALID, "'%s' is not an id: 24 hexadecimal digits are", id);
    }
    (void)snprintf(out, out_len, HF_CLI_PRIVATE "/%s/%s%s", noun, id, tail);
    return HF_ERR_OK;
}

enum hf_err hf_cli_find_project(struct hf_cli_session *session, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *status = NULL;

    if (hf_cli_call(session, "GET", HF_CLI_PRIVATE "/status", NULL, &status, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *project = hf_json_get_text(status, "projectId");
    if (project == NULL || strlen(project) >= sizeof session->project) {
        return hf_fail(err, HF_ERR_INTERNAL, "%s did not say its project", session->url);
    }
    (void)snprintf(session->project, sizeof session->project, "%s", project);
    return HF_ERR_OK;
}

enum hf_err hf_cli_all_pages(struct hf_cli_session *session, const char *target,
                             struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *all = NULL;
    char paged[1024];

    for (unsigned page = 1;; page++) {
        HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;
        (void)snprintf(paged, sizeof paged, "%s%citemsPerPage=500&pageNum=%u", target,
                       strchr(target, '?') == NULL ? '?' : '&', page);
        if (hf_cli_call(session, "GET", paged, NULL, &list, err) != HF_ERR_OK) {
            return err->code;
        }
        struct hf_json *results = hf_json_get_array(list, "results");
        size_t count = hf_json_count(results);
        if (all == NULL) {
            all = hf_json_hold(list);
        } else {
            struct hf_json *into = hf_json_get_array(all, "results");
            for (size_t i = 0; i < count; i++) {
                hf_json_append_take(into, hf_json_hold(hf_json_at(results, i)));
            }
        }
        if (count < 500 || hf_json_count(hf_json_get_array(all, "results")) >=
                               hf_json_get_u64(all, "totalCount", 0)) {
            hf_json_remove(all, "links");
            *out = HF_TAKE(all);
            return HF_ERR_OK;
        }
    }
}

enum hf_err hf_cli_list(const struct hf_cli_session_options *server, const char *target,
                        const struct hf_cli_listing *listing, bool as_json, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    return hf_cli_session_open(server, &session, err) != HF_ERR_OK ||
                   hf_cli_all_pages(&session, target, &list, err) != HF_ERR_OK
               ? err->code
               : hf_cli_show_list(list, listing, as_json, err);
}

static enum hf_err one_target(char *out, size_t out_len, const char *noun, const char *id,
                              const char *tail, struct hf_error *err)
{
    char nouns[32];

    (void)snprintf(nouns, sizeof nouns, "%ss", noun);
    return hf_cli_id_target(out, out_len, nouns, id, tail, err);
}

enum hf_err hf_cli_call_one(const struct hf_cli_one *one, const struct hf_option_rest *rest,
                            const char **id, struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    char target[128];

    return hf_cli_need(one->given, rest, one->noun, id, err) != HF_ERR_OK ||
                   one_target(target, sizeof target, one->noun, *id, one->tail, err) != HF_ERR_OK ||
                   hf_cli_session_open(&one->server, &session, err) != HF_ERR_OK
               ? err->code
               : hf_cli_call(&session, one->method, target, NULL, out, err);
}

enum hf_err hf_cli_watch(struct hf_cli_session *session, const char *noun, const char *id,
                         struct hf_json **out, struct hf_error *err)
{
    struct hf_cli_progress shown = {.said_ms = 0};
    char target[128];

    if (one_target(target, sizeof target, noun, id, "", err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        HF_CLEANUP(hf_json_drop) struct hf_json *record = NULL;
        if (hf_cli_call(session, "GET", target, NULL, &record, err) != HF_ERR_OK) {
            hf_cli_progress_end(&shown);
            return err->code;
        }
        if (strcmp(hf_cli_text(record, "state", ""), "IN_PROGRESS") != 0) {
            hf_cli_progress_end(&shown);
            *out = HF_TAKE(record);
            return HF_ERR_OK;
        }
        const struct hf_json *progress = hf_json_get_object(record, "progress");
        if (progress != NULL) {
            struct hf_progress_view view;
            hf_cli_progress_from_json(progress, &view);
            hf_cli_progress_show(&shown, noun, &view);
        }
        hf_cancel_sleep(session->cancel, WATCH_EVERY_MS);
        if (hf_cancel_requested(session->cancel)) {
            hf_cli_progress_end(&shown);
            return hf_fail(err, HF_ERR_CANCELLED, "no longer watching; it goes on (%s)", target);
        }
    }
}

enum hf_err hf_cli_ended(const struct hf_json *record, const char *noun, struct hf_error *err)
{
    const char *state = hf_cli_text(record, "state", "?");
    enum hf_err code = hf_err_from_name(hf_cli_text(record, "errorClass", "INTERNAL"));

    if (strcmp(state, "COMPLETE") == 0 || strcmp(state, "FINISHED") == 0) {
        return HF_ERR_OK;
    }
    return hf_fail(err, code == HF_ERR_OK ? HF_ERR_INTERNAL : code, "%s %s: %s: %s", noun,
                   hf_cli_text(record, "id", "?"), state,
                   hf_cli_text(record, "error", "no reason given"));
}

const char *hf_cli_text(const struct hf_json *json, const char *key, const char *fallback)
{
    const char *text = hf_json_get_text(json, key);

    return text == NULL ? fallback : text;
}

enum hf_err hf_cli_job_of(struct hf_cli_session *session, const char *set, struct hf_json **out,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    if (hf_cli_all_pages(session, HF_CLI_PRIVATE "/jobs", &list, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        struct hf_json *one = hf_json_at(results, i);
        if (strcmp(hf_cli_text(one, "setName", ""), set) == 0) {
            *out = hf_json_hold(one);
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_NOT_FOUND,
                   "set %s has no backup job; hint: holdfast job start --set %s", set, set);
}

enum hf_err hf_cli_find_job(struct hf_cli_session *session, const char *set, char out[32],
                            struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *job = NULL;

    if (hf_cli_job_of(session, set, &job, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(out, 32, "%s", hf_cli_text(job, "id", ""));
    return HF_ERR_OK;
}
