/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that read a whole snapshot: the download as tar, and verification. Each takes a thread of the stream pool for
 * as long as it lasts; nothing the size of the data is ever held or written here.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "server/api.h"
#include "server/flow_groom.h"
#include "server/server_internal.h"
#include "snapshot/restore.h"
#include "snapshot/verify.h"

#define PROGRESS_EVERY_MS 500

/* ---- tar ---- */

static enum hf_err to_stream(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    return hf_http_stream_write(context, bytes, err);
}

void hf_api_tar(struct hf_server_call *call)
{
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf info = HF_BUF_INIT((size_t)1 << 20);
    struct hf_snapshot_record snapshot;
    struct hf_restore_result result = {0};
    uint64_t size_bytes = 0;
    char top[HF_NAME_BYTES + 64], disposition[HF_NAME_BYTES + 128];
    struct hf_error err;

    if (!hf_api_find_snapshot(call, 0, &snapshot)) {
        return;
    }
    if (hf_flow_open(call->app, &snapshot.id, &reading, &err) != HF_ERR_OK ||
        hf_restore_info_text(&reading.manifest, &info, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_flow_archive_name(&snapshot, &snapshot.id, top, sizeof top);
    struct hf_restore_tar_options options = {
        .store = reading.store,
        .keyring = &reading.keyring,
        .root = &reading.manifest.root,
        .top = top,
        .restore_info = hf_buf_text(&info),
        .mtime_s = snapshot.checkpoint.seconds,
        .cancel = call->app->cancel,
        .sink = to_stream,
    };
    if (hf_restore_tar_size(&options, &size_bytes, &err) != HF_ERR_OK) {
        hf_reply_error(call, &err, NULL);
        return;
    }
    (void)snprintf(disposition, sizeof disposition, "attachment; filename=\"%s.tar\"", top);
    const struct hf_http_header headers[] = {
        {"Content-Type", "application/x-tar"},
        {"Content-Disposition", disposition},
        {"X-MongoDB-Service-Version", HF_REPLY_VERSION},
    };
    const struct hf_http_answer answer = {
        .status = 200, .headers = headers, .header_count = HF_ARRAY_LEN(headers)};
    struct hf_http_stream *stream =
        hf_http_respond_stream(HF_TAKE(call->request), &answer, size_bytes);
    if (stream == NULL) {
        return;
    }
    options.context = stream;
    enum hf_err code = hf_restore_tar(&options, &result, &err);
    if (code != HF_ERR_OK) {
        hf_log_warn(call->app->log, "snapshot.download.failed",
                    HF_STR("snapshot", hf_id_text(&snapshot.id).text),
                    HF_STR("error", err.message));
    }
    hf_http_stream_finish(stream, code == HF_ERR_OK);
}

/* ---- Verification ---- */

struct teller {
    struct hf_server_app *app;
    struct hf_progress *progress;
    char id[64];
    struct hf_cancel stop;
};

static void keep_progress(struct hf_server_app *app, const char *id,
                          const struct hf_progress_view *view)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};
    HF_CLEANUP(hf_json_drop)
    struct hf_json *json = view == NULL ? NULL : hf_msg_progress_to_json(view);
    struct hf_error ignored;

    /* Progress that is lost is no loss. */
    bool there = hf_catalog_get(app->catalog, HF_KIND_PROGRESS, id, &old, &ignored) == HF_ERR_OK;
    if (json == NULL) {
        if (there) {
            (void)!hf_catalog_remove(app->catalog, HF_KIND_PROGRESS, id, old.revision, &ignored);
        }
    } else if (there) {
        (void)!hf_catalog_replace(app->catalog, HF_KIND_PROGRESS, id, old.revision, json,
                                  HF_CATALOG_UNSYNCED, &ignored);
    } else {
        (void)!hf_catalog_insert(app->catalog, HF_KIND_PROGRESS, id, json, HF_CATALOG_UNSYNCED,
                                 &ignored);
    }
}

static void tell_loop(void *argument)
{
    struct teller *teller = argument;

    while (!hf_cancel_requested(&teller->stop)) {
        struct hf_progress_view view;
        hf_progress_view(teller->progress, hf_clock_mono_ms(), &view);
        keep_progress(teller->app, teller->id, &view);
        hf_cancel_sleep(&teller->stop, PROGRESS_EVERY_MS);
    }
}

static struct hf_json *damage_document(const struct hf_damage *damage)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "object", damage->object[0] == '\0' ? NULL : damage->object);
    hf_json_set_text(json, "path", damage->path[0] == '\0' ? NULL : damage->path);
    hf_json_set_u64(json, "offset", damage->offset);
    hf_json_set_text(json, "block", hf_address_text(&damage->address).text);
    hf_json_set_text(json, "errorClass", hf_err_name(damage->code));
    hf_json_set_text(json, "message", damage->message);
    return json;
}

static struct hf_json *report_document(const struct hf_verify_report *report, const char *level)
{
    struct hf_json *json = hf_json_object(), *damages = hf_json_array();

    hf_json_set_text(json, "level", level);
    hf_json_set_bool(json, "ok", report->damage_count == 0);
    hf_json_set_u64(json, "files", report->files);
    hf_json_set_u64(json, "blocks", report->blocks);
    hf_json_set_u64(json, "bytes", report->bytes);
    hf_json_set_u64(json, "damageCount", report->damage_count);
    for (size_t i = 0; i < report->kept_count; i++) {
        hf_json_append_take(damages, damage_document(&report->damages[i]));
    }
    hf_json_set_take(json, "damages", damages);
    return json;
}

static bool parse_level(const char *text, enum hf_verify_level *out)
{
    static const char *const words[] = {"references", "stored", "content"};

    for (size_t i = 0; i < HF_ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (enum hf_verify_level)i;
            return true;
        }
    }
    return false;
}

/* Reads with a thread beside it that keeps the progress for everyone else to see. */
static enum hf_err verify(struct hf_server_call *call, const struct hf_flow_reading *reading,
                          enum hf_verify_level level, struct hf_verify_report *report,
                          struct hf_error *err)
{
    HF_CLEANUP(hf_progress_fini) struct hf_progress progress = {0};
    struct teller teller = {.app = call->app, .progress = &progress};
    struct hf_thread *thread = NULL;
    const struct hf_verify_options options = {.store = reading->store,
                                              .level = level,
                                              .progress = &progress,
                                              .cancel = call->app->cancel};

    hf_progress_init(&progress);
    hf_progress_start(&progress, hf_clock_mono_ms());
    hf_progress_phase(&progress, "verifying");
    hf_cancel_init(&teller.stop);
    (void)snprintf(teller.id, sizeof teller.id, "verify-%s",
                   hf_id_text(&reading->manifest.snapshot).text);
    if (hf_thread_start("hf-progress", tell_loop, &teller, &thread, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code =
        hf_verify_snapshot(&options, &reading->keyring, &reading->manifest, report, err);
    hf_cancel_request(&teller.stop);
    hf_thread_join(thread);
    keep_progress(call->app, teller.id, NULL);
    return code;
}

/* Answers when it is done: the caller sees progress in the snapshot's document meanwhile. */
void hf_api_verify(struct hf_server_call *call)
{
    static const struct hf_call_member members[] = {{"level", HF_JSON_TEXT}, {NULL, HF_JSON_NULL}};
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    HF_CLEANUP(hf_verify_report_fini) struct hf_verify_report report = {0};
    struct hf_snapshot_record snapshot;
    enum hf_verify_level level = HF_VERIFY_CONTENT;
    struct hf_error err;

    if (!hf_call_body_only(call, members) || !hf_api_find_snapshot(call, 0, &snapshot)) {
        return;
    }
    const char *word = hf_json_get_text(call->body, "level");
    word = word == NULL ? "content" : word;
    if (!parse_level(word, &level)) {
        hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ENUM_VALUE",
                      "level '%s' is none of references, stored, content", word);
        return;
    }
    enum hf_err code = hf_flow_open(call->app, &snapshot.id, &reading, &err);
    if (code == HF_ERR_OK) {
        code = verify(call, &reading, level, &report, &err);
    }
    if (code != HF_ERR_OK) {
        if (code == HF_ERR_CORRUPT) {
            hf_flow_keep_verified(call->app, &snapshot.id, word, err.message);
        }
        hf_reply_error(call, &err, NULL);
        return;
    }
    hf_flow_keep_verified(call->app, &snapshot.id, word,
                          report.damage_count == 0 ? "" : report.damages[0].message);
    hf_log_info(call->app->log, "snapshot.verified",
                HF_STR("snapshot", hf_id_text(&snapshot.id).text), HF_STR("level", word),
                HF_U64("damages", report.damage_count));
    hf_reply_json(call, 200, report_document(&report, word));
}
