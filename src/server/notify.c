/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue is a document for each notice and receiver. Who sends one first puts it off by a compare-and-set, so that of
 * several servers one sends; one that dies between sending and removing it sends it again: at least once, by design. The
 * same notice has the same Message-ID and X-Holdfast-Notice.
 */
#include "server/notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backup/job.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "base/secret.h"
#include "codec/hash.h"
#include "net/http_client.h"
#include "net/mail.h"
#include "os/clock.h"
#include "os/fs.h"
#include "server/flow.h"
#include "server/keep.h"

#define AT_ONCE 100
#define LEASE_S 120
#define SECRET_MAX_BYTES 4096
#define MESSAGE_MAX_BYTES ((size_t)64 * 1024)
#define WEBHOOK_TIMEOUT_MS 30000
#define LINE_MAX 900 /* of a mail; SMTP allows 998 */
#define HEADERS_MAX 16

uint64_t hf_notify_wait_s(uint64_t failures)
{
    return hf_retry_wait_s(failures, HF_NOTICE_RETRY_S, HF_NOTICE_RETRY_MAX_S);
}

enum hf_err hf_notify_check(const struct hf_notify_options *options, struct hf_error *err)
{
    if (options->smtp_url != NULL && (options->smtp_from == NULL || options->smtp_to_count == 0)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "--smtp-url is given: say whom mails come from and go to, --smtp-from and "
                       "--smtp-to");
    }
    if (options->smtp_url == NULL && options->smtp_to_count > 0) {
        return hf_fail(err, HF_ERR_INVALID, "--smtp-to is given without --smtp-url");
    }
    for (size_t i = 0; i < options->webhook_header_count; i++) {
        const char *colon = strchr(options->webhook_headers[i], ':');
        if (colon == NULL || colon == options->webhook_headers[i] ||
            strpbrk(options->webhook_headers[i], "\r\n") != NULL) {
            return hf_fail(err, HF_ERR_INVALID, "--webhook-header is not 'Name: value'");
        }
    }
    return options->webhook_header_count > HEADERS_MAX
               ? hf_fail(err, HF_ERR_LIMIT, "at most %d --webhook-header", HEADERS_MAX)
               : HF_ERR_OK;
}

/* ---- The queue ---- */

static struct hf_json *notice_document(const struct hf_alert_record *alert, const struct hf_id *id,
                                       const char *channel, const char *what)
{
    static const char *const scope_words[] = {"PROJECT", "GLOBAL", "SYSTEM"};
    const struct hf_alert_kind *kind = &hf_alert_kinds[alert->type];
    struct hf_json *notice = hf_json_object(), *body = hf_json_object();
    char time[HF_TIME_TEXT_BYTES];

    hf_json_set_text(body, "id", hf_id_text(id).text);
    hf_json_set_text(body, "alertId", hf_id_text(&alert->id).text);
    hf_json_set_text(body, "groupId", hf_id_text(&alert->project).text);
    hf_json_set_text(body, "eventTypeName",
                     alert->status == HF_ALERT_CLOSED ? kind->over : kind->name);
    hf_json_set_text(body, "alertTypeName", kind->name);
    hf_json_set_text(body, "status", hf_alert_status_word(alert->status));
    hf_json_set_text(body, "what", what);
    hf_json_set_text(body, "scope", scope_words[kind->scope]);
    if (alert->set_name[0] != '\0') {
        hf_json_set_text(body, "replicaSetName", alert->set_name);
    }
    if (alert->host[0] != '\0') {
        hf_json_set_text(body, "hostnameAndPort", alert->host);
    }
    hf_time_format(alert->created_s, time);
    hf_json_set_text(body, "created", time);
    if (alert->resolved_s != 0) {
        hf_time_format(alert->resolved_s, time);
        hf_json_set_text(body, "resolved", time);
    }
    hf_json_set_u64(body, "notices", alert->notices);
    hf_json_set_text(body, "text", alert->text);
    hf_json_set_text(notice, "channel", channel);
    hf_json_set_u64(notice, "createdS", alert->notified_s);
    hf_json_set_u64(notice, "dueS", alert->notified_s);
    hf_json_set_u64(notice, "failures", 0);
    hf_json_set_take(notice, "body", body);
    return notice;
}

static enum hf_err queue_for(struct hf_server_app *app, const struct hf_alert_record *alert,
                             const struct hf_id *id, const char *channel, const char *what,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop)
    struct hf_json *notice = notice_document(alert, id, channel, what);
    char key[64];

    (void)snprintf(key, sizeof key, "%s-%s", hf_id_text(id).text, channel);
    enum hf_err code =
        hf_catalog_insert(app->catalog, HF_KIND_NOTICE, key, notice, HF_CATALOG_SYNCED, err);
    return code == HF_ERR_EXISTS ? HF_ERR_OK : code;
}

enum hf_err hf_notify_queue(struct hf_server_app *app, const struct hf_alert_record *alert,
                            const struct hf_id *id, const char *what, struct hf_error *err)
{
    const struct hf_notify_options *options = &app->alerts.notify;

    if (options->smtp_url != NULL && queue_for(app, alert, id, "mail", what, err) != HF_ERR_OK) {
        return err->code;
    }
    return options->webhook_url == NULL ? HF_ERR_OK
                                        : queue_for(app, alert, id, "webhook", what, err);
}

/* ---- Sending ---- */

/* The first line of a file; *out is empty without one. Wiped by the caller. */
static enum hf_err read_secret(const char *path, struct hf_buf *out, const char **text,
                               struct hf_error *err)
{
    *text = NULL;
    if (path == NULL) {
        return HF_ERR_OK;
    }
    if (hf_fs_read_whole(path, SECRET_MAX_BYTES, out, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t len = 0;
    while (len < out->len && out->data[len] != '\n' && out->data[len] != '\r') {
        len++;
    }
    out->len = len;
    *text = hf_buf_text(out);
    return *text == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

static const char *text_of(const struct hf_json *json, const char *key)
{
    const char *text = hf_json_get_text(json, key);

    return text == NULL ? "" : text;
}

/* A header's value: one line, plain characters. */
static void plain(const char *text, char *out, size_t out_len)
{
    size_t at = 0;

    for (; *text != '\0' && at + 1 < out_len; text++) {
        out[at++] = *text < ' ' || *text > '~' ? '?' : *text;
    }
    out[at] = '\0';
}

/* "Mon, 30 Nov 2026 20:17:44 +0000" */
static void mail_date(uint64_t seconds, char out[48])
{
    static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char iso[HF_TIME_TEXT_BYTES];

    hf_time_format(seconds, iso);
    unsigned month = (unsigned)(iso[5] - '0') * 10 + (unsigned)(iso[6] - '0');
    (void)snprintf(out, 48, "%s, %.2s %s %.4s %.8s +0000", days[seconds / 86400 % 7], iso + 8,
                   months[(month - 1) % 12], iso, iso + 11);
}

static enum hf_err add_wrapped(struct hf_buf *out, const char *text, struct hf_error *err)
{
    for (size_t len = strlen(text); len > 0;) {
        size_t part = len < LINE_MAX ? len : LINE_MAX;
        /* Between two characters, not within one. */
        while (part < len && part > 1 && ((uint8_t)text[part] & 0xc0) == 0x80) {
            part--;
        }
        if (hf_buf_appendf(out, err, "%.*s\r\n", (int)part, text) != HF_ERR_OK) {
            return err->code;
        }
        text += part;
        len -= part;
    }
    return HF_ERR_OK;
}

static enum hf_err write_mail(const struct hf_server_app *app, const struct hf_json *notice,
                              struct hf_buf *out, struct hf_error *err)
{
    static const struct {
        const char *title, *key;
    } lines[] = {{"alert", "alertId"},      {"type", "alertTypeName"},   {"status", "status"},
                 {"set", "replicaSetName"}, {"host", "hostnameAndPort"}, {"since", "created"},
                 {"over", "resolved"}};
    const struct hf_notify_options *options = &app->alerts.notify;
    const struct hf_json *body = hf_json_get_object(notice, "body");
    char what[32], type[64], where[256], date[48];
    const char *place = text_of(body, "replicaSetName");

    plain(text_of(body, "what"), what, sizeof what);
    plain(text_of(body, "alertTypeName"), type, sizeof type);
    plain(place[0] != '\0' ? place : text_of(body, "hostnameAndPort"), where, sizeof where);
    mail_date(hf_json_get_u64(notice, "createdS", 0), date);
    if (hf_buf_appendf(out, err, "Date: %s\r\nFrom: %s\r\nTo: ", date, options->smtp_from) !=
        HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < options->smtp_to_count; i++) {
        if (hf_buf_appendf(out, err, "%s%s", i == 0 ? "" : ",\r\n ", options->smtp_to[i]) !=
            HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_buf_appendf(out, err,
                       "\r\nSubject: [holdfast] %s %s%s%s\r\nMessage-ID: <%s@holdfast>\r\n"
                       "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                       "Content-Type: text/plain; charset=utf-8\r\n"
                       "Content-Transfer-Encoding: 8bit\r\n\r\n",
                       what, type, where[0] == '\0' ? "" : ": ", where,
                       text_of(body, "id")) != HF_ERR_OK ||
        add_wrapped(out, text_of(body, "text"), err) != HF_ERR_OK ||
        hf_buf_append_text(out, "\r\n", err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(lines); i++) {
        const char *text = text_of(body, lines[i].key);
        if (text[0] != '\0' &&
            hf_buf_appendf(out, err, "%-7s %s\r\n", lines[i].title, text) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_buf_appendf(out, err, "\r\nholdfast alert acknowledge %s\r\n",
                          text_of(body, "alertId"));
}

static enum hf_err send_mail(struct hf_server_app *app, const struct hf_json *notice,
                             struct hf_error *err)
{
    const struct hf_notify_options *options = &app->alerts.notify;
    HF_CLEANUP(hf_buf_fini) struct hf_buf message = HF_BUF_INIT(MESSAGE_MAX_BYTES);
    HF_CLEANUP(hf_buf_fini) struct hf_buf file = HF_BUF_INIT(SECRET_MAX_BYTES + 1);
    struct hf_mail_options mail = {.url = options->smtp_url,
                                   .ca_file = options->smtp_ca_file,
                                   .user = options->smtp_user,
                                   .from = options->smtp_from,
                                   .to = options->smtp_to,
                                   .to_count = options->smtp_to_count,
                                   .cancel = app->cancel};

    if (read_secret(options->smtp_password_file, &file, &mail.password, err) != HF_ERR_OK ||
        write_mail(app, notice, &message, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code =
        hf_mail_send(&mail, (struct hf_str){(const char *)message.data, message.len}, err);
    hf_wipe(file.data, file.len);
    return code;
}

/* hex of HMAC-SHA-256 over the body. */
static enum hf_err sign(const char *secret, struct hf_bytes body, char out[80],
                        struct hf_error *err)
{
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = NULL;
    struct hf_hash hash;

    if (hf_hmac_create(hf_bytes_of(secret, strlen(secret)), &hmac, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_hmac_sha256(hmac, body, &hash);
    size_t at = (size_t)snprintf(out, 80, "sha256=");
    for (size_t i = 0; i < sizeof hash.bytes; i++) {
        at += (size_t)snprintf(out + at, 80 - at, "%02x", hash.bytes[i]);
    }
    return HF_ERR_OK;
}

/* "https://host:port/path" in two: an address, and what is asked for there. */
static void split_url(const char *url, char *base, size_t base_len, const char **target)
{
    const char *host = strstr(url, "://");
    const char *path = host == NULL ? NULL : strchr(host + 3, '/');

    *target = path == NULL ? "/" : path;
    (void)snprintf(base, base_len, "%.*s", path == NULL ? (int)strlen(url) : (int)(path - url),
                   url);
}

static enum hf_err post(struct hf_server_app *app, const struct hf_http_call *call,
                        const char *base, struct hf_error *err)
{
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = NULL;
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const struct hf_http_client_options options = {.base_url = base,
                                                   .ca_file = app->alerts.notify.webhook_ca_file,
                                                   .cancel = app->cancel,
                                                   .total_timeout_ms = WEBHOOK_TIMEOUT_MS};

    hf_http_reply_init(&reply, MESSAGE_MAX_BYTES);
    if (hf_http_client_create(&options, &client, err) != HF_ERR_OK ||
        hf_http_client_call(client, call, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    return reply.status >= 200 && reply.status < 300
               ? HF_ERR_OK
               : hf_http_client_fail_status(client, call, &reply, err);
}

static enum hf_err send_webhook(struct hf_server_app *app, const struct hf_json *notice,
                                struct hf_error *err)
{
    const struct hf_notify_options *options = &app->alerts.notify;
    const struct hf_json *body = hf_json_get_object(notice, "body");
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(MESSAGE_MAX_BYTES);
    HF_CLEANUP(hf_buf_fini) struct hf_buf file = HF_BUF_INIT(SECRET_MAX_BYTES + 1);
    struct hf_http_header headers[HEADERS_MAX + 3] = {{"Content-Type", "application/json"},
                                                      {"X-Holdfast-Notice", text_of(body, "id")}};
    char names[HEADERS_MAX][128], base[4096], signature[80];
    const char *secret = NULL;
    struct hf_http_call call = {.method = "POST", .headers = headers, .header_count = 2};

    if (read_secret(options->webhook_secret_file, &file, &secret, err) != HF_ERR_OK ||
        hf_json_encode(body, 0, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    call.body = hf_bytes_of(text.data, text.len);
    if (secret != NULL) {
        enum hf_err code = sign(secret, call.body, signature, err);
        hf_wipe(file.data, file.len);
        if (code != HF_ERR_OK) {
            return code;
        }
        headers[call.header_count++] = (struct hf_http_header){"X-Holdfast-Signature", signature};
    }
    for (size_t i = 0; i < options->webhook_header_count; i++) {
        const char *header = options->webhook_headers[i];
        size_t len = strcspn(header, ":");
        (void)snprintf(names[i], sizeof names[i], "%.*s", (int)len, header);
        header += len + 1;
        headers[call.header_count++] =
            (struct hf_http_header){names[i], header + strspn(header, " ")};
    }
    split_url(options->webhook_url, base, sizeof base, &call.target);
    return post(app, &call, base, err);
}

/* A receiver that nobody names any more gets nothing: its notices go. */
static enum hf_err send(struct hf_server_app *app, const struct hf_json *notice,
                        struct hf_error *err)
{
    const struct hf_notify_options *options = &app->alerts.notify;
    bool mail = strcmp(text_of(notice, "channel"), "mail") == 0;

    if ((mail ? options->smtp_url : options->webhook_url) == NULL) {
        return HF_ERR_OK;
    }
    return mail ? send_mail(app, notice, err) : send_webhook(app, notice, err);
}

static enum hf_err put_off(struct hf_server_app *app, struct hf_catalog_document *notice,
                           uint64_t due_s, struct hf_error *err)
{
    hf_json_set_u64(notice->json, "dueS", due_s);
    if (hf_catalog_replace(app->catalog, HF_KIND_NOTICE, notice->id, notice->revision, notice->json,
                           HF_CATALOG_SYNCED, err) != HF_ERR_OK) {
        return err->code;
    }
    notice->revision++;
    return HF_ERR_OK;
}

static enum hf_err deliver(struct hf_server_app *app, struct hf_catalog_document *notice,
                           struct hf_error *err)
{
    uint64_t now_s = hf_flow_now_s();
    const char *channel = text_of(notice->json, "channel");
    const char *id = text_of(hf_json_get_object(notice->json, "body"), "alertId");
    struct hf_error ignored;

    if (put_off(app, notice, now_s + LEASE_S, &ignored) != HF_ERR_OK) {
        return HF_ERR_OK; /* another server sends it */
    }
    enum hf_err code = send(app, notice->json, err);
    if (code == HF_ERR_OK) {
        code = HF_FAULT("server.notice.sent", err);
    }
    if (code == HF_ERR_OK) {
        hf_log_info(app->log, "notice.sent", HF_STR("alert", id), HF_STR("by", channel));
        return hf_catalog_remove(app->catalog, HF_KIND_NOTICE, notice->id, notice->revision, err);
    }
    if (code == HF_ERR_CANCELLED) {
        (void)!put_off(app, notice, now_s, &ignored);
        return code;
    }
    uint64_t failures = hf_json_get_u64(notice->json, "failures", 0) + 1;
    hf_log_warn(app->log, "notice.failed", HF_STR("alert", id), HF_STR("by", channel),
                HF_U64("failures", failures), HF_STR("error", err->message));
    if (hf_json_get_u64(notice->json, "createdS", 0) + HF_NOTICE_KEPT_S < now_s) {
        (void)!hf_catalog_remove(app->catalog, HF_KIND_NOTICE, notice->id, notice->revision,
                                 &ignored);
        return code;
    }
    hf_json_set_u64(notice->json, "failures", failures);
    hf_json_set_text(notice->json, "error", err->message);
    (void)!put_off(app, notice, now_s + hf_notify_wait_s(failures), &ignored);
    return code;
}

enum hf_err hf_notify_pass(struct hf_server_app *app, struct hf_error *err)
{
    const struct hf_catalog_query due = {.kind = HF_KIND_NOTICE,
                                         .index = "dueS",
                                         .has_range = true,
                                         .maximum = (int64_t)hf_flow_now_s(),
                                         .limit = AT_ONCE};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list notices = {.documents = NULL};
    enum hf_err code = HF_ERR_OK;

    if (hf_catalog_find(app->catalog, &due, &notices, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < notices.count && !hf_cancel_requested(app->cancel); i++) {
        struct hf_error why;
        enum hf_err one = deliver(app, &notices.documents[i], &why);
        if (one != HF_ERR_OK) {
            code = one;
            *err = why;
        }
    }
    return code;
}
