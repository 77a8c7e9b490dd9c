/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stored oplog over the API. Each page says where it goes on, so nothing is lost with a connection.
 */
#include "cli/oplog_served.h"

#include <stdio.h>

#include "cli/api.h"
#include "os/clock.h"

/* A first page that comes at once, later ones that cost few calls. */
#define PAGE_FIRST_BYTES ((size_t)64 << 10)
#define PAGE_MOST_BYTES ((size_t)4 << 20)
#define AWAY_LIMIT_MS 120000
#define AGAIN_MS 1000
#define BSON_LEAST_BYTES 5

void hf_cli_served_close(struct hf_cli_served *served)
{
    hf_buf_fini(&served->page);
    hf_json_drop(HF_TAKE(served->plan));
    hf_cli_session_close(&served->session);
}

static enum hf_err take_optime(const struct hf_json *plan, const char *name, struct hf_optime *out,
                               struct hf_error *err)
{
    struct hf_json *value;
    uint64_t seconds = 0, increment = 0;

    *out = (struct hf_optime){.term = -1};
    if (hf_json_need_object(plan, name, &value, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_json_count(value) == 0) {
        return HF_ERR_OK;
    }
    if (hf_json_need_u64(value, "seconds", 1, UINT32_MAX, &seconds, err) != HF_ERR_OK ||
        hf_json_need_u64(value, "increment", 0, UINT32_MAX, &increment, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", name);
    }
    *out = (struct hf_optime){.seconds = (uint32_t)seconds,
                              .increment = (uint32_t)increment,
                              .term = hf_json_get_integer(value, "term", -1)};
    return HF_ERR_OK;
}

static enum hf_err take_plan(struct hf_cli_served *served, struct hf_error *err)
{
    struct hf_replay_point *point = &served->point;

    if (take_optime(served->plan, "checkpoint", &point->checkpoint, err) != HF_ERR_OK ||
        take_optime(served->plan, "copyHas", &point->copy_has, err) != HF_ERR_OK ||
        take_optime(served->plan, "readAfter", &point->read_after, err) != HF_ERR_OK ||
        take_optime(served->plan, "last", &point->last, err) != HF_ERR_OK ||
        take_optime(served->plan, "truncateAfter", &point->truncate_after, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_optime_is_none(&point->checkpoint) || hf_optime_is_none(&point->truncate_after)) {
        return hf_fail(err, HF_ERR_INVALID, "no checkpoint, or no point");
    }
    point->inserts = hf_json_get_bool(served->plan, "inserts", false);
    served->after = point->read_after;
    const char *version = hf_cli_text(served->plan, "serverVersion", "");
    served->server_version = version[0] == '\0' ? NULL : version;
    served->options = hf_json_get_object(served->plan, "engineOptions");
    return HF_ERR_OK;
}

enum hf_err hf_cli_served_open(const struct hf_cli_session_options *options,
                               const struct hf_id *snapshot, const struct hf_target *target,
                               struct hf_cli_served *out, struct hf_error *err)
{
    char path[640];

    hf_buf_init(&out->page, PAGE_MOST_BYTES + HF_SLICE_ENTRY_MAX_BYTES);
    out->page_bytes = PAGE_FIRST_BYTES;
    if (hf_cli_id_target(out->target, sizeof out->target, "snapshots", hf_id_text(snapshot).text,
                         "/oplog", err) != HF_ERR_OK ||
        hf_cli_session_open(options, &out->session, err) != HF_ERR_OK) {
        return err->code;
    }
    if (target->kind == HF_TARGET_DATE) {
        (void)snprintf(out->point_of, sizeof out->point_of, "pointInTimeUTCMillis=%llu000",
                       (unsigned long long)target->seconds);
    } else {
        (void)snprintf(out->point_of, sizeof out->point_of, "oplogTs=%lu&oplogInc=%lu",
                       (unsigned long)target->seconds, (unsigned long)target->increment);
    }
    (void)snprintf(path, sizeof path, "%s?%s", out->target, out->point_of);
    if (hf_cli_call(&out->session, "GET", path, NULL, &out->plan, err) != HF_ERR_OK) {
        return err->code;
    }
    return take_plan(out, err) == HF_ERR_OK
               ? HF_ERR_OK
               : hf_wrap(err, "%s%s: the answer", out->session.url, path);
}

/* ---- Pages ---- */

static enum hf_err into_page(void *context, struct hf_bytes piece, struct hf_error *err)
{
    return hf_buf_append(context, piece, err);
}

static void add_optime(char *path, size_t path_len, const char *name,
                       const struct hf_optime *optime)
{
    size_t used = strlen(path);

    (void)snprintf(path + used, path_len - used, "&%s=%lu.%lu.%lld", name,
                   (unsigned long)optime->seconds, (unsigned long)optime->increment,
                   (long long)optime->term);
}

static enum hf_err fetch_page(struct hf_cli_served *served, struct hf_error *err)
{
    const struct hf_http_sink sink = {.write = into_page, .context = &served->page};
    const uint64_t deadline_ms = hf_clock_mono_ms() + AWAY_LIMIT_MS;
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/entries?%s&bytes=%zu", served->target, served->point_of,
                   served->page_bytes);
    add_optime(path, sizeof path, "last", &served->point.last);
    if (!hf_optime_is_none(&served->after)) {
        add_optime(path, sizeof path, "after", &served->after);
    }
    for (;;) {
        hf_buf_clear(&served->page);
        served->at = 0;
        enum hf_err code = hf_cli_download(&served->session, path, &sink, err);
        bool away = code == HF_ERR_UNAVAILABLE || code == HF_ERR_TIMEOUT;
        if (!away || hf_clock_mono_ms() > deadline_ms) {
            served->page_bytes = served->page_bytes >= PAGE_MOST_BYTES / 2 ? PAGE_MOST_BYTES
                                                                           : served->page_bytes * 2;
            return code;
        }
        hf_cancel_sleep(served->session.cancel, AGAIN_MS);
    }
}

enum hf_err hf_cli_served_next(void *context, struct hf_bytes *entry, bool *more,
                               struct hf_error *err)
{
    struct hf_cli_served *served = context;
    struct hf_oplog_entry read;

    *more = !hf_optime_equal(&served->after, &served->point.last);
    if (!*more) {
        return HF_ERR_OK;
    }
    if (served->at == served->page.len && fetch_page(served, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t left = served->page.len - served->at;
    const uint8_t *data = served->page.data + served->at;
    size_t len = left < BSON_LEAST_BYTES ? 0 : hf_load_le32(data);
    if (len < BSON_LEAST_BYTES || len > left) {
        return hf_fail(err, HF_ERR_INVALID,
                       "%s: after the entry %s there are %zu bytes that are no entry",
                       served->session.url, hf_optime_text(&served->after).text, left);
    }
    *entry = hf_bytes_of(data, len);
    if (hf_oplog_entry_read(*entry, &read, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", served->session.url);
    }
    served->after = read.optime;
    served->at += len;
    return HF_ERR_OK;
}
