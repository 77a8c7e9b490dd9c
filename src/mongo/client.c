/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to one server. Commands go out once: no retry by the driver, because a second $backupCursor is
 * refused as somebody else's, and because who calls knows best whether to try again. Must not know any command but
 * hello.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "mongo/client_internal.h"
#include "mongo/reply_internal.h"
#include "os/fs.h"

#define CONNECT_TIMEOUT_MS 5000
#define SOCKET_TIMEOUT_MS 60000
#define PASSWORD_FILE_MAX 4096

HF_CLEANUP_DEFINE(mongoc_uri_destroy, mongoc_uri_t *)
HF_CLEANUP_DEFINE(bson_free, void *)

/* The driver's own log would go to standard error; what matters comes back as an error. */
static void swallow_log(mongoc_log_level_t level, const char *domain, const char *message,
                        void *user_data)
{
    (void)level;
    (void)domain;
    (void)message;
    (void)user_data;
}

void hf_mongo_cleanup(void)
{
    mongoc_cleanup();
}

const char *hf_mongo_client_host(const struct hf_mongo_client *client)
{
    return client->host;
}

static void set_timeout(mongoc_uri_t *uri, const char *option, uint32_t asked, int32_t fallback)
{
    if (asked != 0) {
        (void)mongoc_uri_set_option_as_int32(uri, option,
                                             asked > INT32_MAX ? INT32_MAX : (int32_t)asked);
    } else if (!mongoc_uri_has_option(uri, option)) {
        (void)mongoc_uri_set_option_as_int32(uri, option, fallback);
    }
}

static enum hf_err set_password(mongoc_uri_t *uri, const char *path, struct hf_error *err)
{
    struct hf_buf content = HF_BUF_INIT(PASSWORD_FILE_MAX);
    enum hf_err result = hf_fs_read_whole(path, PASSWORD_FILE_MAX - 1, &content, err);

    if (result == HF_ERR_OK) {
        const char *text = hf_buf_text(&content);
        if (text == NULL) {
            result = hf_fail(err, HF_ERR_NO_MEMORY, "password file %s", path);
        } else {
            content.data[strcspn(text, "\r\n")] = '\0';
            if (text[0] == '\0' || !mongoc_uri_set_password(uri, text)) {
                result = hf_fail(err, HF_ERR_INVALID,
                                 "password file %s: its first line is empty or not UTF-8", path);
            }
        }
    } else {
        (void)hf_wrap(err, "password file");
    }
    if (content.data != NULL) {
        hf_wipe(content.data, content.capacity);
    }
    hf_buf_fini(&content);
    return result;
}

static enum hf_err set_credentials(mongoc_uri_t *uri, const struct hf_mongo_options *options,
                                   struct hf_error *err)
{
    if (options->user != NULL && !mongoc_uri_set_username(uri, options->user)) {
        return hf_fail(err, HF_ERR_INVALID, "the user name is not UTF-8");
    }
    if (options->password_file != NULL) {
        if (mongoc_uri_get_username(uri) == NULL) {
            return hf_fail(err, HF_ERR_INVALID, "a password file without a user");
        }
        if (set_password(uri, options->password_file, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (options->auth_source != NULL && !mongoc_uri_set_auth_source(uri, options->auth_source)) {
        return hf_fail(err, HF_ERR_INVALID, "the authentication database is not UTF-8");
    }
    return HF_ERR_OK;
}

static enum hf_err make_uri(const struct hf_mongo_options *options, const char *host,
                            mongoc_uri_t **out, struct hf_error *err)
{
    char *text = NULL;
    bson_error_t error = {0};

    if (hf_mongo_member_uri(options->uri, host, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_CLEANUP(mongoc_uri_destroy) mongoc_uri_t *uri = mongoc_uri_new_with_error(text, &error);
    hf_wipe(text, strlen(text));
    hf_free(text);
    if (uri == NULL) {
        /* The driver's message quotes options, never credentials. */
        return hf_fail(err, HF_ERR_INVALID, "%s: %s", host, error.message);
    }
    if (set_credentials(uri, options, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", host);
    }
    set_timeout(uri, MONGOC_URI_CONNECTTIMEOUTMS, options->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    set_timeout(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, options->connect_timeout_ms,
                CONNECT_TIMEOUT_MS);
    set_timeout(uri, MONGOC_URI_SOCKETTIMEOUTMS, options->socket_timeout_ms, SOCKET_TIMEOUT_MS);
    (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_DIRECTCONNECTION, true);
    (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, false);
    (void)mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
    (void)mongoc_uri_set_appname(uri, "holdfast");
    *out = HF_TAKE(uri);
    return HF_ERR_OK;
}

/* The one member that is meant. */
static enum hf_err choose_host(const struct hf_mongo_options *options,
                               char out[HF_MONGO_HOST_BYTES], struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_mongo_hosts *hosts = hf_alloc_zero(sizeof *hosts);

    if (hosts == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "connect");
    }
    if (hf_mongo_parse_seeds(options->host != NULL ? options->host : options->uri, hosts, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (hosts->count != 1) {
        return hf_fail(err, HF_ERR_INVALID, "%zu hosts where one is meant", hosts->count);
    }
    memcpy(out, hosts->names[0], HF_MONGO_HOST_BYTES);
    return HF_ERR_OK;
}

void hf_mongo_unname_counters(void)
{
    char name[32];

    (void)snprintf(name, sizeof name, "/mongoc-%ld", (long)getpid());
    (void)shm_unlink(name); /* not there: nothing to do */
}

enum hf_err hf_mongo_client_open(const struct hf_mongo_options *options,
                                 struct hf_mongo_client **out, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_error_t error = {0};

    mongoc_log_set_handler(swallow_log, NULL);
    mongoc_init();
    HF_CLEANUP(hf_mongo_client_close)
    struct hf_mongo_client *client = hf_alloc_zero(sizeof *client);
    if (client == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "connect");
    }
    if (choose_host(options, client->host, err) != HF_ERR_OK) {
        return hf_wrap(err, "connect");
    }
    HF_CLEANUP(mongoc_uri_destroy) mongoc_uri_t *uri = NULL;
    if (make_uri(options, client->host, &uri, err) != HF_ERR_OK) {
        return hf_wrap(err, "connect");
    }
    client->driver = mongoc_client_new_from_uri_with_error(uri, &error);
    if (client->driver == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "connect: %s: %s", client->host, error.message);
    }
    (void)mongoc_client_set_error_api(client->driver, MONGOC_ERROR_API_VERSION_2);
    bson_destroy(&reply);
    if (hf_mongo_hello(client, &reply, err) != HF_ERR_OK) {
        return hf_wrap(err, "connect");
    }
    *out = HF_TAKE(client);
    return HF_ERR_OK;
}

void hf_mongo_client_close(struct hf_mongo_client *client)
{
    if (client == NULL) {
        return;
    }
    if (client->driver != NULL) {
        mongoc_client_destroy(client->driver);
    }
    hf_free(client);
}

enum hf_err hf_mongo_command(struct hf_mongo_client *client, const char *database,
                             const bson_t *command, const struct hf_mongo_session *session,
                             bson_t *reply, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t opts = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t in_session = BSON_INITIALIZER;
    bson_error_t error = {0};
    bson_iter_t iter;
    const char *what = hf_mongo_command_name(command);

    if (session != NULL) {
        (void)bson_concat(&in_session, command);
        if (!hf_mongo_session_append(session, &in_session, &opts, &error)) {
            bson_init(reply);
            return hf_mongo_fail_driver(err, client->host, what, &error);
        }
        command = &in_session;
    }
    bool ok = mongoc_client_command_with_opts(client->driver, database, command, NULL, &opts, reply,
                                              &error);
    /* A reply of the server says more than the driver's words for it. */
    if (hf_mongo_get(reply, "ok", &iter)) {
        return hf_mongo_reply_check(client->host, what, reply, err);
    }
    if (!ok) {
        return hf_mongo_fail_driver(err, client->host, what, &error);
    }
    return hf_fail(err, HF_ERR_CORRUPT, "%s: %s: a reply without 'ok'", client->host, what);
}

enum hf_err hf_mongo_hello(struct hf_mongo_client *client, bson_t *reply, struct hf_error *err)
{
    static const char names[][12] = {"hello", "isMaster"};

    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;

        (void)BSON_APPEND_INT32(&command, names[i], 1);
        if (i > 0) {
            bson_destroy(reply);
        }
        if (hf_mongo_command(client, "admin", &command, NULL, reply, err) == HF_ERR_OK) {
            return HF_ERR_OK;
        }
        if (hf_mongo_reply_code(reply) != 59) {
            break;
        }
    }
    return err->code;
}

enum hf_err hf_mongo_json_to_bson(const char *json, bson_t *out, struct hf_error *err)
{
    bson_error_t error = {0};

    if (!bson_init_from_json(out, json, -1, &error)) {
        bson_init(out);
        return hf_fail(err, HF_ERR_INVALID, "not extended JSON: %s", error.message);
    }
    return HF_ERR_OK;
}

static enum hf_err append_json(const bson_t *doc, struct hf_buf *out, struct hf_error *err)
{
    size_t len = 0;
    char *text = bson_as_canonical_extended_json(doc, &len);

    if (text == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "a document that is not valid BSON");
    }
    enum hf_err result = hf_buf_append(out, hf_bytes_of(text, len), err);
    bson_free(text);
    return result;
}

enum hf_err hf_mongo_run(struct hf_mongo_client *client, const char *database, const char *command,
                         struct hf_buf *out, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t request = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    if (out != NULL) {
        hf_buf_clear(out);
    }
    if (hf_mongo_json_to_bson(command, &request, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s: command", client->host);
    }
    if (hf_mongo_command(client, database, &request, NULL, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (out != NULL && append_json(&reply, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s: %s: reply", client->host, hf_mongo_command_name(&request));
    }
    return HF_ERR_OK;
}

/* ---- Cursors ---- */

/* A cursor being walked. */
struct walk {
    struct hf_mongo_client *client;
    const struct hf_mongo_session *session; /* borrowed; NULL where the server has none */
    const char *what;
    int64_t id; /* 0: exhausted */
    char database[HF_MONGO_NAME_BYTES];
    char collection[512];
};

/* The place of a cursor, from its ns: a getMore names both halves. */
static enum hf_err read_namespace(struct walk *walk, const bson_t *reply, struct hf_error *err)
{
    const char *ns = hf_mongo_get_text(reply, "cursor.ns");
    const char *dot = ns == NULL ? NULL : strchr(ns, '.');

    if (dot == NULL || (size_t)(dot - ns) >= sizeof walk->database) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: %s: a cursor without a namespace",
                       walk->client->host, walk->what);
    }
    memcpy(walk->database, ns, (size_t)(dot - ns));
    walk->database[dot - ns] = '\0';
    return hf_mongo_copy_text(walk->collection, sizeof walk->collection, dot + 1, "cursor.ns", err);
}

static enum hf_err visit_batch(const bson_t *reply, const char *path, hf_mongo_visit_bson visit,
                               void *argument, struct hf_error *err)
{
    bson_t batch;
    bson_iter_t iter;

    if (!hf_mongo_get_doc(reply, path, &batch) || !bson_iter_init(&iter, &batch)) {
        return hf_fail(err, HF_ERR_CORRUPT, "a cursor's reply without %s", path);
    }
    while (bson_iter_next(&iter)) {
        bson_t document;
        if (!hf_mongo_iter_doc(&iter, &document)) {
            return hf_fail(err, HF_ERR_CORRUPT, "%s has something that is no document", path);
        }
        if (visit(argument, &document, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err next_batch(struct walk *walk, bson_t *reply, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;

    (void)BSON_APPEND_INT64(&command, "getMore", walk->id);
    (void)BSON_APPEND_UTF8(&command, "collection", walk->collection);
    bson_destroy(reply);
    return hf_mongo_command(walk->client, walk->database, &command, walk->session, reply, err);
}

static void kill_cursor(struct walk *walk)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t ids;
    struct hf_error ignored;

    (void)BSON_APPEND_UTF8(&command, "killCursors", walk->collection);
    (void)BSON_APPEND_ARRAY_BEGIN(&command, "cursors", &ids);
    (void)BSON_APPEND_INT64(&ids, "0", walk->id);
    (void)bson_append_array_end(&command, &ids);
    /* The walk has failed already; the server forgets an idle cursor by itself. */
    (void)!hf_mongo_command(walk->client, walk->database, &command, walk->session, &reply,
                            &ignored);
}

enum hf_err hf_mongo_walk(struct hf_mongo_client *client, const char *database,
                          const bson_t *command, hf_mongo_visit_bson visit, void *argument,
                          struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    struct walk walk = {.client = client, .what = hf_mongo_command_name(command)};
    struct hf_error ignored;
    const char *batch = "cursor.firstBatch";

    /* A getMore has to come from the session of its cursor (50738). A member that is not initiated has none. */
    HF_CLEANUP(hf_mongo_session_fini) struct hf_mongo_session session = {.driver = NULL};
    if (hf_mongo_session_start(client, &session, &ignored) == HF_ERR_OK) {
        walk.session = &session;
    }
    if (hf_mongo_command(client, database, command, walk.session, &reply, err) != HF_ERR_OK ||
        read_namespace(&walk, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        walk.id = hf_mongo_get_int(&reply, "cursor.id", 0);
        if (visit_batch(&reply, batch, visit, argument, err) != HF_ERR_OK) {
            if (walk.id != 0) {
                kill_cursor(&walk);
            }
            return hf_wrap(err, "%s: %s", client->host, walk.what);
        }
        if (walk.id == 0) {
            return HF_ERR_OK;
        }
        batch = "cursor.nextBatch";
        if (next_batch(&walk, &reply, err) != HF_ERR_OK) {
            return hf_wrap(err, "%s", walk.what);
        }
    }
}

struct json_visit {
    hf_mongo_visit visit;
    void *argument;
};

static enum hf_err visit_as_json(void *argument, const bson_t *document, struct hf_error *err)
{
    struct json_visit *visit = argument;
    size_t len = 0;
    HF_CLEANUP(bson_free) void *text = bson_as_canonical_extended_json(document, &len);

    if (text == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "a document that is not valid BSON");
    }
    return visit->visit(visit->argument, (struct hf_str){text, len}, err);
}

enum hf_err hf_mongo_run_cursor(struct hf_mongo_client *client, const char *database,
                                const char *command, hf_mongo_visit visit, void *argument,
                                struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t request = BSON_INITIALIZER;
    struct json_visit as_json = {.visit = visit, .argument = argument};

    if (hf_mongo_json_to_bson(command, &request, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s: command", client->host);
    }
    return hf_mongo_walk(client, database, &request, visit_as_json, &as_json, err);
}
