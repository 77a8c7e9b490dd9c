/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue is a document for each notice and receiver. Who sends one first puts it off by a compare-and-set, so that of
 * several servers one sends; one that dies between sending and removing it sends it again: at least once, by design. The
 * same notice has the same Message-ID and X-Holdfast-Notice.
 */
#include "server/notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
#include "server/notify_template.h"

#define AT_ONCE 100
#define LEASE_S 120
#define SECRET_MAX_BYTES 4096
#define MESSAGE_MAX_BYTES ((size_t)64 * 1024)
#define WEBHOOK_TIMEOUT_MS 15000
#define WAITING_MAX 10000
#define LINE_MAX 900 /* of a mail; SMTP allows 998 */
#define HEADERS_MAX 16

uint64_t hf_notify_wait_s(uint64_t failures)
{
    return hf_retry_wait_s(failures, HF_NOTICE_RETRY_S, HF_NOTICE_RETRY_MAX_S);
}

/* A password in an address would stand in logs and answers. */
static bool has_user(const char *url)
{
    const char *host = url == NULL ? NULL : strstr(url, "://");

    return host != NULL && memchr(host + 3, '@', strcspn(host + 3, "/?#")) != NULL;
}

enum hf_err hf_notify_check(const struct hf_notify_options *options, struct hf_error *err)
{
    if (has_user(options->smtp_url) || has_user(options->webhook_url)) {
        return hf_fail(err, HF_ERR_INVALID, "%s holds a user: it would stand in logs; hint: %s",
                       has_user(options->smtp_url) ? "--smtp-url" : "--webhook-url",
                       has_user(options->smtp_url) ? "--smtp-user and --smtp-password-file"
                                                   : "--webhook-header 'Authorization: @FILE'");
    }
    if (options->webhook_template_file != NULL && options->webhook_url == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "--webhook-template is given without --webhook-url");
    }
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

static struct hf_json *notice_body(const struct hf_alert_record *alert, const struct hf_id *id)
{
    const struct hf_alert_kind *kind = &hf_alert_kinds[alert->type];
    struct hf_json *body = hf_json_object();
    char time[HF_TIME_TEXT_BYTES];

    hf_json_set_text(body, "id", hf_id_text(id).text);
    hf_json_set_text(body, "alertId", hf_id_text(&alert->id).text);
    hf_json_set_text(body, "groupId", hf_id_text(&alert->project).text);
    hf_json_set_text(body, "eventTypeName",
                     alert->status == HF_ALERT_CLOSED ? kind->over : kind->name);
    hf_json_set_text(body, "alertTypeName", kind->name);
    hf_json_set_text(body, "status", hf_alert_status_word(alert->status));
    hf_json_set_text(body, "what", alert->owed);
    hf_json_set_text(body, "scope", hf_alert_scope_words[kind->scope]);
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
    return body;
}

static const char *const way_words[] = {"mail", "webhook"};

/* "webhook", or "webhook-" and a hash of whom: in keys of documents. */
static void way_key(enum hf_alert_way way, const char *to, char out[40])
{
    if (to[0] == '\0') {
        (void)snprintf(out, 40, "%s", way_words[way]);
        return;
    }
    (void)snprintf(out, 40, "%s-%016" PRIx64, way_words[way], hf_xxh3(hf_bytes_of(to, strlen(to))));
}

/* The server has no way to it: nobody is told that way. */
static bool is_open_way(const struct hf_notify_options *options, const struct hf_alert_way_to *one)
{
    return one->way == HF_ALERT_BY_MAIL ? options->smtp_url != NULL
                                        : one->to[0] != '\0' || options->webhook_url != NULL;
}

static enum hf_err queue_for(struct hf_server_app *app, const struct hf_alert_record *alert,
                             const struct hf_id *id, const struct hf_alert_way_to *one,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *notice = hf_json_object();
    char way[40], key[96];

    hf_json_set_text(notice, "channel", way_words[one->way]);
    if (one->to[0] != '\0') {
        hf_json_set_text(notice, "to", one->to);
    }
    hf_json_set_u64(notice, "createdS", alert->notified_s);
    hf_json_set_u64(notice, "dueS", alert->notified_s);
    hf_json_set_u64(notice, "failures", 0);
    hf_json_set_take(notice, "body", notice_body(alert, id));
    way_key(one->way, one->to, way);
    (void)snprintf(key, sizeof key, "%s-%s", hf_id_text(id).text, way);
    enum hf_err code =
        hf_catalog_insert(app->catalog, HF_KIND_NOTICE, key, notice, HF_CATALOG_SYNCED, err);
    return code == HF_ERR_EXISTS ? HF_ERR_OK : code;
}

enum hf_err hf_notify_queue(struct hf_server_app *app, const struct hf_alert_record *alert,
                            const struct hf_id *id, const struct hf_alert_config_record *config,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_alert_ways *ways = hf_alloc_zero(sizeof *ways);

    if (ways == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_alert_ways_parse(config->notify, ways, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < ways->count; i++) {
        if (is_open_way(&app->alerts.notify, &ways->items[i]) &&
            (queue_for(app, alert, id, &ways->items[i], err) != HF_ERR_OK ||
             HF_FAULT("server.notify.queued", err) != HF_ERR_OK)) {
            return err->code;
        }
    }
    return HF_ERR_OK;
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
                              const struct hf_mail_options *mail, struct hf_buf *out,
                              struct hf_error *err)
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
    for (size_t i = 0; i < mail->to_count; i++) {
        if (hf_buf_appendf(out, err, "%s%s", i == 0 ? "" : ",\r\n ", mail->to[i]) != HF_ERR_OK) {
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
    const char *own = hf_json_get_text(notice, "to");

    if (own != NULL) {
        mail.to = &own;
        mail.to_count = 1;
    }
    if (read_secret(options->smtp_password_file, &file, &mail.password, err) != HF_ERR_OK ||
        write_mail(app, notice, &mail, &message, err) != HF_ERR_OK) {
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

/* The path of a webhook's address is its secret with many receivers: errors name the host alone. */
static void hide_path(struct hf_error *err, const char *target)
{
    static const char hidden[] = "/...";
    size_t len = strlen(target);

    for (char *at = err->message; len > 1 && (at = strstr(at, target)) != NULL;) {
        if (len < sizeof hidden - 1) {
            memset(at, '.', len);
            at += len;
            continue;
        }
        memcpy(at, hidden, sizeof hidden - 1);
        at += sizeof hidden - 1;
        memmove(at, at + len - (sizeof hidden - 1), strlen(at + len - (sizeof hidden - 1)) + 1);
    }
}

static enum hf_err post(struct hf_server_app *app, const struct hf_http_call *call,
                        const char *base, struct hf_error *err)
{
    HF_CLEANUP(hf_http_client_destroy) struct hf_http_client *client = NULL;
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const struct hf_http_client_options options = {.base_url = base,
                                                   .ca_file = app->alerts.notify.webhook_ca_file,
                                                   .cancel = app->cancel,
                                                   .total_timeout_ms = WEBHOOK_TIMEOUT_MS,
                                                   .no_private_address =
                                                       app->alerts.notify.no_private_webhooks};

    hf_http_reply_init(&reply, MESSAGE_MAX_BYTES);
    if (hf_http_client_create(&options, &client, err) != HF_ERR_OK ||
        hf_http_client_call(client, call, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (reply.status >= 200 && reply.status < 300) {
        return HF_ERR_OK;
    }
    hf_buf_clear(&reply.body); /* what a receiver answers may repeat what it was sent */
    return hf_http_client_fail_status(client, call, &reply, err);
}

/* ---- A webhook's body ---- */

static bool is_content_type(const char *header)
{
    static const char name[] = "content-type:";

    return strncasecmp(header, name, sizeof name - 1) == 0;
}

/* The operator's own content type, or ours. */
static const char *content_type(const struct hf_notify_options *options)
{
    for (size_t i = 0; i < options->webhook_header_count; i++) {
        if (is_content_type(options->webhook_headers[i])) {
            const char *value = strchr(options->webhook_headers[i], ':') + 1;
            return value + strspn(value, " ");
        }
    }
    return "application/json";
}

/* *version: of the template's text; 0 for one that cannot be read. */
static enum hf_err render(const struct hf_notify_options *options, const struct hf_json *body,
                          uint64_t *version, struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf file = HF_BUF_INIT(HF_NOTICE_TEMPLATE_MAX_BYTES);

    if (hf_fs_read_whole(options->webhook_template_file, HF_NOTICE_TEMPLATE_MAX_BYTES, &file,
                         err) != HF_ERR_OK) {
        *version = 0;
        return err->code;
    }
    *version = hf_xxh3(hf_bytes_of(file.data, file.len));
    return hf_notice_render((struct hf_str){(const char *)file.data, file.len}, body,
                            strstr(content_type(options), "json") != NULL, out, err);
}

/* The usual body where the template gives none: that is an alert of its own, and no reason to be silent about this one. */
static enum hf_err write_body(struct hf_server_app *app, const struct hf_json *body, bool servers,
                              bool *usual, struct hf_buf *out, struct hf_error *err)
{
    const struct hf_notify_options *options = &app->alerts.notify;
    struct hf_error why;

    *usual = true;
    if (servers && options->webhook_template_file != NULL) {
        uint64_t version = 0;
        enum hf_err code = render(options, body, &version, out, &why);
        *usual = code != HF_ERR_OK;
        if (*usual) {
            hf_log_warn(app->log, "notice.template.failed", HF_STR("error", why.message));
            hf_buf_clear(out);
        }
        HF_LOCKED(&app->works_mutex);
        (void)snprintf(app->unrendered, sizeof app->unrendered, "%s", *usual ? why.message : "");
        app->unrendered_version = version;
    }
    return *usual ? hf_json_encode(body, 0, out, err) : HF_ERR_OK;
}

/* ---- A webhook's headers ---- */

struct posting {
    struct hf_http_header headers[HEADERS_MAX + 3];
    size_t header_count;
    char names[HEADERS_MAX][128];
    char *values[HEADERS_MAX]; /* owned, wiped: out of files */
    char signature[80];
};

static void posting_fini(struct posting *posting)
{
    for (size_t i = 0; i < HEADERS_MAX; i++) {
        if (posting->values[i] != NULL) {
            hf_wipe(posting->values[i], strlen(posting->values[i]));
            hf_free(posting->values[i]);
        }
    }
}
HF_CLEANUP_DEFINE_VALUE(posting_fini, struct posting)

static void add_header(struct posting *posting, const char *name, const char *value)
{
    posting->headers[posting->header_count++] = (struct hf_http_header){name, value};
}

/* "Name: value", or "Name: @file" with a value that nobody else is to see. */
static enum hf_err add_own_header(struct posting *posting, size_t i, const char *header,
                                  struct hf_error *err)
{
    size_t len = strcspn(header, ":");
    const char *value = header + len + 1;

    value += strspn(value, " ");
    (void)snprintf(posting->names[i], sizeof posting->names[i], "%.*s", (int)len, header);
    if (*value == '@') {
        HF_CLEANUP(hf_buf_fini) struct hf_buf file = HF_BUF_INIT(SECRET_MAX_BYTES + 1);
        const char *text = NULL;
        if (read_secret(value + 1, &file, &text, err) != HF_ERR_OK) {
            return hf_wrap(err, "header %s", posting->names[i]);
        }
        posting->values[i] = hf_strdup(text);
        hf_wipe(file.data, file.len);
        if (posting->values[i] == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        value = posting->values[i];
    }
    add_header(posting, posting->names[i], value);
    return HF_ERR_OK;
}

/* A receiver of one kind of alert alone gets the signature, and none of the headers, which are the other's secret. */
static enum hf_err add_headers(const struct hf_notify_options *options, struct hf_bytes body,
                               bool servers, bool usual, struct posting *posting,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf file = HF_BUF_INIT(SECRET_MAX_BYTES + 1);
    const char *secret = NULL;

    add_header(posting, "Content-Type", usual ? "application/json" : content_type(options));
    if (read_secret(options->webhook_secret_file, &file, &secret, err) != HF_ERR_OK) {
        return err->code;
    }
    if (secret != NULL) {
        enum hf_err code = sign(secret, body, posting->signature, err);
        hf_wipe(file.data, file.len);
        if (code != HF_ERR_OK) {
            return code;
        }
        add_header(posting, "X-Holdfast-Signature", posting->signature);
    }
    for (size_t i = 0; servers && i < options->webhook_header_count; i++) {
        if (!is_content_type(options->webhook_headers[i]) &&
            add_own_header(posting, i, options->webhook_headers[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err send_webhook(struct hf_server_app *app, const struct hf_json *notice,
                                struct hf_error *err)
{
    const struct hf_notify_options *options = &app->alerts.notify;
    const struct hf_json *body = hf_json_get_object(notice, "body");
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(MESSAGE_MAX_BYTES * 2);
    HF_CLEANUP(posting_fini) struct posting posting = {.header_count = 0};
    struct hf_http_call call = {.method = "POST"};
    const char *own = hf_json_get_text(notice, "to");
    char base[4096];
    bool usual = true;

    if (write_body(app, body, own == NULL, &usual, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    call.body = hf_bytes_of(text.data, text.len);
    add_header(&posting, "X-Holdfast-Notice", text_of(body, "id"));
    if (add_headers(options, call.body, own == NULL, usual, &posting, err) != HF_ERR_OK) {
        return err->code;
    }
    call.headers = posting.headers;
    call.header_count = posting.header_count;
    split_url(own != NULL ? own : options->webhook_url, base, sizeof base, &call.target);
    enum hf_err code = post(app, &call, base, err);
    if (code != HF_ERR_OK) {
        hide_path(err, call.target);
    }
    return code;
}

/* A receiver that nobody names any more gets nothing: its notices go. */
static enum hf_err send(struct hf_server_app *app, const struct hf_json *notice,
                        struct hf_error *err)
{
    const struct hf_notify_options *options = &app->alerts.notify;
    bool mail = strcmp(text_of(notice, "channel"), "mail") == 0;
    bool own = hf_json_get_text(notice, "to") != NULL;

    if (mail ? options->smtp_url == NULL : !own && options->webhook_url == NULL) {
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

/* Those that failed least come first: a receiver that hangs keeps back nothing but what is for itself. */
static int by_failures(const void *left, const void *right)
{
    const struct hf_catalog_document *a = left, *b = right;
    uint64_t x = hf_json_get_u64(a->json, "failures", 0);
    uint64_t y = hf_json_get_u64(b->json, "failures", 0);

    return x != y ? (x > y) - (x < y) : strcmp(a->id, b->id);
}

static bool same_receiver(const struct hf_catalog_document *a, const struct hf_catalog_document *b)
{
    return strcmp(text_of(a->json, "to"), text_of(b->json, "to")) == 0;
}

enum hf_err hf_notify_pass(struct hf_server_app *app, enum hf_alert_way way, struct hf_error *err)
{
    const struct hf_catalog_query due = {.kind = HF_KIND_NOTICE,
                                         .index = "dueS",
                                         .has_range = true,
                                         .maximum = (int64_t)hf_flow_now_s(),
                                         .limit = WAITING_MAX};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list notices = {.documents = NULL};
    const struct hf_catalog_document *down[AT_ONCE];
    size_t tried = 0, down_count = 0;

    if (hf_catalog_find(app->catalog, &due, &notices, err) != HF_ERR_OK) {
        return err->code;
    }
    if (notices.count == 0) {
        return HF_ERR_OK;
    }
    qsort(notices.documents, notices.count, sizeof *notices.documents, by_failures);
    for (size_t i = 0; i < notices.count && tried < AT_ONCE && !hf_cancel_requested(app->cancel);
         i++) {
        struct hf_catalog_document *one = &notices.documents[i];
        struct hf_error ignored; /* logged, and told as an alert */
        bool is_down = strcmp(text_of(one->json, "channel"), way_words[way]) != 0;
        for (size_t j = 0; j < down_count && !is_down; j++) {
            is_down = same_receiver(one, down[j]);
        }
        if (!is_down) {
            tried++;
            if (deliver(app, one, &ignored) != HF_ERR_OK) {
                down[down_count++] = one;
            }
        }
    }
    return HF_ERR_OK;
}

/* ---- Receivers ---- */

void hf_notify_receivers_fini(struct hf_notify_receivers *receivers)
{
    hf_free(receivers->items);
    *receivers = (struct hf_notify_receivers){.items = NULL};
}

/* "https://host:port/..." : the rest may be a secret. */
void hf_notify_name(enum hf_alert_way way, const char *to, char *out, size_t out_len)
{
    const char *host = strstr(to, "://");
    size_t len = way == HF_ALERT_BY_MAIL || host == NULL
                     ? strlen(to)
                     : (size_t)(host - to) + 3 + strcspn(host + 3, "/?#");

    (void)snprintf(out, out_len, "%s%s%.*s%s", way_words[way], to[0] == '\0' ? "" : ":",
                   (int)(len < 200 ? len : 200), to, len < strlen(to) ? "/..." : "");
}

static struct hf_notify_receiver *receiver_of(struct hf_notify_receivers *receivers,
                                              enum hf_alert_way way, const char *to)
{
    char key[40];

    way_key(way, to, key);
    for (size_t i = 0; i < receivers->count; i++) {
        if (strcmp(receivers->items[i].target, key) == 0) {
            return &receivers->items[i];
        }
    }
    if (receivers->count == HF_NOTIFY_RECEIVERS_MAX) {
        return NULL;
    }
    struct hf_notify_receiver *one = &receivers->items[receivers->count++];
    *one = (struct hf_notify_receiver){.failures = 0};
    (void)snprintf(one->target, sizeof one->target, "%s", key);
    hf_notify_name(way, to, one->name, sizeof one->name);
    return one;
}

/* As it would be for an alert that has everything. */
static void try_template(struct hf_server_app *app, struct hf_notify_receiver *out)
{
    static const struct hf_alert_record sample = {.set_name = "rs0",
                                                  .host = "db1:27017",
                                                  .status = HF_ALERT_CLOSED,
                                                  .owed = "CLOSED",
                                                  .resolved_s = 1,
                                                  .text = "a \"text\""};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = notice_body(&sample, &sample.id);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(MESSAGE_MAX_BYTES * 2);
    struct hf_error why;

    out->has_template = app->alerts.notify.webhook_template_file != NULL;
    if (!out->has_template) {
        return;
    }
    uint64_t version = 0;
    if (render(&app->alerts.notify, body, &version, &text, &why) != HF_ERR_OK) {
        (void)snprintf(out->unrendered, sizeof out->unrendered, "%s", why.message);
        return;
    }
    /* What an alert of another kind met; a template that was changed since has to show itself. */
    HF_LOCKED(&app->works_mutex);
    if (app->unrendered_version == version) {
        (void)snprintf(out->unrendered, sizeof out->unrendered, "%s", app->unrendered);
    }
}

static enum hf_err add_configured(const struct hf_notify_options *options,
                                  const struct hf_alert_config_record *config,
                                  struct hf_notify_receivers *out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_alert_ways *ways = hf_alloc_zero(sizeof *ways);

    if (ways == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_alert_ways_parse(config->notify, ways, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < ways->count; i++) {
        if (is_open_way(options, &ways->items[i])) {
            (void)receiver_of(out, ways->items[i].way, ways->items[i].to);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_notify_receivers(struct hf_server_app *app, const struct hf_alert_settings *settings,
                                struct hf_notify_receivers *out, struct hf_error *err)
{
    const struct hf_catalog_query all = {.kind = HF_KIND_NOTICE, .limit = WAITING_MAX};
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list notices = {.documents = NULL};

    out->count = 0;
    out->items = hf_alloc_array(HF_NOTIFY_RECEIVERS_MAX, sizeof *out->items);
    if (out->items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < HF_ALERT_TYPES; i++) {
        if (add_configured(&app->alerts.notify, &settings->configs[i], out, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_catalog_find(app->catalog, &all, &notices, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < notices.count; i++) {
        const struct hf_json *notice = notices.documents[i].json;
        enum hf_alert_way way = strcmp(text_of(notice, "channel"), "mail") == 0
                                    ? HF_ALERT_BY_MAIL
                                    : HF_ALERT_BY_WEBHOOK;
        struct hf_notify_receiver *one = receiver_of(out, way, text_of(notice, "to"));
        uint64_t failures = hf_json_get_u64(notice, "failures", 0);
        if (one != NULL && failures > one->failures) {
            one->failures = failures;
            (void)snprintf(one->error, sizeof one->error, "%s", text_of(notice, "error"));
        }
    }
    for (size_t i = 0; i < out->count; i++) {
        if (strcmp(out->items[i].target, way_words[HF_ALERT_BY_WEBHOOK]) == 0) {
            try_template(app, &out->items[i]);
        }
    }
    return HF_ERR_OK;
}
