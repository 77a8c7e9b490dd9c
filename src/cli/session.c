/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles and calls.
 */
#include "cli/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "net/url.h"
#include "os/fs.h"
#include "os/process.h"

#define PRIVATE "/api/private/v1.0/"
#define ANSWER_MAX_BYTES ((size_t)64 << 20)
/* A verification answers when it is done: that may take hours with no byte on the line. */
#define IDLE_MS 86400000u

struct hf_cancel *hf_cli_cancel(void)
{
    static struct hf_cancel token; /* mutable: token, set by signals */
    static bool made;              /* mutable: made, so that signals are caught once */

    if (!made) {
        made = true;
        hf_cancel_init(&token);
        hf_signals_cancel(&token);
    }
    return &token;
}

void hf_cli_session_close(struct hf_cli_session *session)
{
    hf_http_client_destroy(session->client);
    session->client = NULL;
}

struct profile {
    char server[4096];
    char public_key[128];
    char private_key[128];
    char project[256];
};

/* One "name = value" line into its place; false for a name that is none. */
static bool take_line(struct profile *profile, struct hf_str line)
{
    static const char *const names[] = {"server", "public_key", "private_key", "project"};
    char *const places[] = {profile->server, profile->public_key, profile->private_key,
                            profile->project};
    const size_t sizes[] = {sizeof profile->server, sizeof profile->public_key,
                            sizeof profile->private_key, sizeof profile->project};
    size_t equals = 0;

    while (equals < line.len && line.data[equals] != '=') {
        equals++;
    }
    struct hf_str name = {line.data, equals};
    while (name.len > 0 && name.data[name.len - 1] == ' ') {
        name.len--;
    }
    if (equals == line.len) {
        return name.len == 0 || name.data[0] == '#';
    }
    struct hf_str value = {line.data + equals + 1, line.len - equals - 1};
    while (value.len > 0 && value.data[0] == ' ') {
        value = (struct hf_str){value.data + 1, value.len - 1};
    }
    while (value.len > 0 &&
           (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\r')) {
        value.len--;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        if (hf_str_equal_c(name, names[i]) && value.len < sizes[i]) {
            (void)snprintf(places[i], sizes[i], "%.*s", HF_STR_ARG(value));
            return true;
        }
    }
    return name.len > 0 && name.data[0] == '#';
}

static enum hf_err read_profile(const char *path, struct profile *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)64 << 10);

    if (hf_fs_read_whole(path, (size_t)64 << 10, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *at = (const char *)text.data, *end = at + text.len;
    for (unsigned number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        if (!take_line(out, (struct hf_str){at, (size_t)(stop - at)})) {
            return hf_fail(err, HF_ERR_INVALID,
                           "%s line %u is none of server, public_key, private_key, project = ...",
                           path, number);
        }
        at = stop + 1;
    }
    hf_wipe(text.data, text.len);
    if (out->public_key[0] == '\0' || out->private_key[0] == '\0') {
        return hf_fail(err, HF_ERR_INVALID, "%s has no public_key and private_key", path);
    }
    return HF_ERR_OK;
}

static char *home_profile(void)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

    if (config != NULL && config[0] != '\0') {
        return hf_asprintf("%s/holdfast/profile", config);
    }
    return home == NULL || home[0] == '\0' ? NULL
                                           : hf_asprintf("%s/.config/holdfast/profile", home);
}

static enum hf_err find_profile(const char *given, struct profile *out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *home = home_profile();
    const char *named = given != NULL && given[0] != '\0' ? given : getenv("HOLDFAST_PROFILE");

    if (named != NULL && named[0] != '\0') {
        return read_profile(named, out, err);
    }
    if (home != NULL) {
        enum hf_err code = read_profile(home, out, err);
        if (code != HF_ERR_NOT_FOUND) {
            return code;
        }
    }
    enum hf_err code = read_profile("/var/lib/holdfast/cli.profile", out, err);
    if (code == HF_ERR_NOT_FOUND) {
        return hf_fail(err, HF_ERR_NOT_FOUND,
                       "no profile with an API key in %s or /var/lib/holdfast/cli.profile; hint: "
                       "--profile FILE, the "
                       "server's first start wrote one as cli.profile into its data directory",
                       home == NULL ? "~/.config/holdfast/profile" : home);
    }
    return code;
}

enum hf_err hf_cli_session_open(const struct hf_cli_session_options *options,
                                struct hf_cli_session *out, struct hf_error *err)
{
    struct profile profile = {.server = ""};

    *out = (struct hf_cli_session){.cancel = hf_cli_cancel()};
    if (find_profile(options->profile, &profile, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *url =
        options->server != NULL && options->server[0] != '\0' ? options->server : profile.server;
    if (url[0] == '\0') {
        return hf_fail(err, HF_ERR_INVALID, "the profile names no server; hint: --server URL");
    }
    (void)snprintf(out->url, sizeof out->url, "%s", url);
    bool named = options->project != NULL && options->project[0] != '\0';
    (void)snprintf(out->scope, sizeof out->scope, "%s", named ? options->project : profile.project);
    const struct hf_http_client_options http = {
        .base_url = url,
        .ca_file =
            options->ca_file != NULL && options->ca_file[0] != '\0' ? options->ca_file : NULL,
        .user = profile.public_key,
        .password = profile.private_key,
        .cancel = out->cancel,
        .idle_timeout_ms = IDLE_MS,
    };
    enum hf_err code = hf_http_client_create(&http, &out->client, err);
    hf_wipe(&profile, sizeof profile);
    return code;
}

/* Our class and words out of an error body; what is no such body is told by its status. */
static enum hf_err take_error(struct hf_cli_session *session, const struct hf_http_call *call,
                              const struct hf_http_reply *reply, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = NULL;
    struct hf_str text = {(const char *)reply->body.data, reply->body.len};

    bool told = hf_json_decode(text, ANSWER_MAX_BYTES, &body, err) == HF_ERR_OK;
    const char *word = told ? hf_json_get_text(body, "errorCode") : NULL;
    if (reply->status == 401 && (word == NULL || strcmp(word, "NO_CURRENT_USER") == 0)) {
        return hf_fail(err, HF_ERR_UNAUTHENTICATED,
                       "%s does not know this API key; hint: use the profile that it wrote",
                       session->url);
    }
    if (!told) {
        return hf_http_client_fail_status(session->client, call, reply, err);
    }
    const char *class = hf_json_get_text(body, "errorClass");
    const char *detail = hf_json_get_text(body, "detail");
    if (class == NULL || detail == NULL) {
        return hf_http_client_fail_status(session->client, call, reply, err);
    }
    enum hf_err code = hf_err_from_name(class);
    return hf_fail(err, code == HF_ERR_OK ? HF_ERR_INTERNAL : code, "%s", detail);
}

/* Our own calls have no project in their path: it is added where one was named. */
static enum hf_err scoped(const struct hf_cli_session *session, const char *target,
                          struct hf_buf *out, struct hf_error *err)
{
    bool first = strchr(target, '?') == NULL;

    if (hf_buf_append(out, hf_bytes_of(target, strlen(target)), err) != HF_ERR_OK) {
        return err->code;
    }
    if (session->scope[0] != '\0' && strncmp(target, PRIVATE, sizeof PRIVATE - 1) == 0 &&
        hf_url_add_parameter(out, &first, "project", hf_str_of(session->scope), err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_buf_append(out, hf_bytes_of("", 1), err);
}

enum hf_err hf_cli_call(struct hf_cli_session *session, const char *method, const char *target,
                        const struct hf_json *body, struct hf_json **out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_buf_fini) struct hf_buf path = HF_BUF_INIT(HF_URL_TARGET_MAX_BYTES);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;
    const struct hf_http_header headers[] = {{"Content-Type", "application/json"}};

    hf_http_reply_init(&reply, ANSWER_MAX_BYTES);
    if (scoped(session, target, &path, err) != HF_ERR_OK ||
        (body != NULL && hf_json_encode(body, 0, &text, err) != HF_ERR_OK)) {
        return err->code;
    }
    const struct hf_http_call call = {.method = method,
                                      .target = (const char *)path.data,
                                      .headers = headers,
                                      .header_count = 1,
                                      .body = hf_buf_bytes(&text)};
    if (hf_http_client_call(session->client, &call, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (reply.status / 100 != 2) {
        return take_error(session, &call, &reply, err);
    }
    struct hf_str answer = {(const char *)reply.body.data, reply.body.len};
    struct hf_json *json = NULL;
    if (hf_json_decode(answer, ANSWER_MAX_BYTES, &json, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s %s%s: the answer", method, session->url, target);
    }
    if (out == NULL) {
        hf_json_drop(json);
    } else {
        *out = json;
    }
    return HF_ERR_OK;
}

enum hf_err hf_cli_download(struct hf_cli_session *session, const char *target,
                            const struct hf_http_sink *sink, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf path = HF_BUF_INIT(HF_URL_TARGET_MAX_BYTES);
    HF_CLEANUP(hf_http_reply_fini) struct hf_http_reply reply;

    hf_http_reply_init(&reply, (size_t)1 << 20);
    if (scoped(session, target, &path, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_http_call call = {
        .method = "GET", .target = (const char *)path.data, .sink = sink};
    if (hf_http_client_call(session->client, &call, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    return reply.status / 100 == 2 ? HF_ERR_OK : take_error(session, &call, &reply, err);
}
