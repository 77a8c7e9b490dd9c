/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first start makes everything, each thing once and whole; a start that died half-way is taken up by the next one.
 *
 *   catalog -> project -> store (key file, then mark) -> agent key -> API key and the profile that holds it
 *
 * What cannot be told twice (a key's secret) is written to its file before the catalog knows that it was made, and made
 * anew when the catalog does not.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "codec/hash.h"
#include "os/clock.h"
#include "os/fs.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/server_internal.h"
#include "server/stores.h"

#define SETTING_INSTALLATION "installation"

/* As agents and people reach it. */
static const char *address_of(const struct hf_server *server)
{
    return server->central_url[0] != '\0' ? server->central_url : server->url;
}

static enum hf_err path_in(const struct hf_server *server, const char *name, char **out,
                           struct hf_error *err)
{
    *out = hf_path_join(server->options->data_dir, name);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

/* ---- Installation and project ---- */

static enum hf_err read_installation(struct hf_server *server, struct hf_id *installation,
                                     bool *found, struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_server_app *app = &server->app;

    enum hf_err code =
        hf_catalog_get(app->catalog, HF_KIND_SETTING, SETTING_INSTALLATION, &document, err);
    *found = code == HF_ERR_OK;
    if (code == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    const char *id = hf_json_get_text(document.json, "id");
    const char *project = hf_json_get_text(document.json, "projectId");
    if (id == NULL || project == NULL || !hf_id_parse(hf_str_of(id), installation) ||
        !hf_id_parse(hf_str_of(project), &app->first_project)) {
        return hf_fail(err, HF_ERR_CORRUPT, "catalog: the installation's document cannot be read");
    }
    return HF_ERR_OK;
}

static enum hf_err make_installation(struct hf_server *server, struct hf_id *installation,
                                     struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *setting = hf_json_object();
    struct hf_server_app *app = &server->app;
    const char *name = server->options->project == NULL ? "default" : server->options->project;

    if (hf_people_check_name(name, err) != HF_ERR_OK) {
        return hf_wrap(err, "the first project");
    }
    *installation = hf_flow_new_id();
    app->first_project = hf_flow_new_id();
    struct hf_project_record project = {.id = app->first_project, .created_s = hf_flow_now_s()};
    (void)snprintf(project.name, sizeof project.name, "%s", name);
    hf_json_set_text(setting, "id", hf_id_text(installation).text);
    hf_json_set_text(setting, "projectId", hf_id_text(&app->first_project).text);
    if (hf_keep_project_insert(app->catalog, &project, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_catalog_insert(app->catalog, HF_KIND_SETTING, SETTING_INSTALLATION, setting,
                             HF_CATALOG_SYNCED, err);
}

/* Of the projects that name none. Its id follows from the first project's: servers that start at once make one. */
static enum hf_err open_org(struct hf_server_app *app, struct hf_error *err)
{
    struct hf_org_record org = {.name = "default", .created_s = hf_flow_now_s()};
    char text[64];
    struct hf_hash hash;

    (void)snprintf(text, sizeof text, "organization of %s", hf_id_text(&app->first_project).text);
    hf_sha256(hf_bytes_of(text, strlen(text)), &hash);
    memcpy(org.id.bytes, hash.bytes, sizeof org.id.bytes);
    app->first_org = org.id;
    struct hf_org_record there;
    enum hf_err code = hf_keep_org_get(app->catalog, &org.id, &there, NULL, err);
    if (code == HF_ERR_NOT_FOUND) {
        code = hf_keep_org_insert(app->catalog, &org, err);
    }
    return code == HF_ERR_EXISTS ? HF_ERR_OK : code;
}

/* ---- Keys for people and agents ---- */

static enum hf_err write_agent_key(struct hf_server *server, struct hf_buf *news,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;
    char token[HF_AGENT_KEY_BYTES], line[HF_AGENT_KEY_BYTES + 1];

    if (path_in(server, "agent.key", &path, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_fs_exists(path)) {
        return HF_ERR_OK;
    }
    const struct hf_server_key_wish wish = {
        .id = hf_flow_new_id(), .project = server->app.first_project, .desc = "of the first start"};
    if (hf_server_auth_make_agent_key(server->auth, &wish, token, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(line, sizeof line, "%s\n", token);
    enum hf_err code = hf_fs_publish_new(path, hf_bytes_of(line, strlen(line)), 0600, err);
    hf_wipe(token, sizeof token);
    hf_wipe(line, sizeof line);
    return code == HF_ERR_OK
               ? hf_buf_appendf(news, err,
                                "agent key   %s  (copy it to every agent's host, mode 0600)\n",
                                path)
               : code;
}

static enum hf_err write_profile(struct hf_server *server, struct hf_buf *news,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(4096);
    struct hf_server_api_key key;
    const struct hf_grants owner = {.items = {{.role = hf_role_of("GLOBAL_OWNER")}}, .count = 1};
    const struct hf_server_key_wish wish = {.id = hf_flow_new_id(),
                                            .project = server->app.first_project,
                                            .desc = "of the first start",
                                            .grants = &owner};

    if (path_in(server, "cli.profile", &path, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_fs_exists(path)) {
        return HF_ERR_OK;
    }
    if (hf_server_auth_make_api_key(server->auth, &wish, &key, err) != HF_ERR_OK ||
        hf_buf_appendf(&text, err, "server = %s\npublic_key = %s\nprivate_key = %s\n",
                       address_of(server), key.public_key, key.private_key) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err code = hf_fs_publish_new(path, hf_buf_bytes(&text), 0600, err);
    hf_wipe(&key, sizeof key);
    hf_wipe(text.data, text.len);
    return code == HF_ERR_OK
               ? hf_buf_appendf(news, err, "profile     %s  (the API key of the command line)\n",
                                path)
               : code;
}

static enum hf_err open_stores(struct hf_server *server, const struct hf_id *installation,
                               struct hf_buf *news, struct hf_error *err)
{
    const struct hf_stores_wish wish = {.data_dir = server->options->data_dir,
                                        .installation = *installation,
                                        .url = server->options->store_url,
                                        .oplog_url = server->options->oplog_store_url,
                                        .plain = server->options->plain_store};

    return hf_stores_open(&server->app, &wish, news, err);
}

enum hf_err hf_server_open(struct hf_server *server, struct hf_buf *news, struct hf_error *err)
{
    struct hf_server_app *app = &server->app;
    HF_CLEANUP(hf_free) char *catalog = NULL;
    HF_CLEANUP(hf_free) char *link_key = NULL;
    struct hf_id installation = {0};
    bool found = false;

    if (path_in(server, "catalog.sqlite", &catalog, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_catalog_options options = {
        .path = catalog, .kinds = hf_backup_kinds, .kind_count = hf_backup_kind_count};
    if (hf_catalog_sqlite_open(&options, &app->catalog, err) != HF_ERR_OK ||
        read_installation(server, &installation, &found, err) != HF_ERR_OK ||
        (!found && make_installation(server, &installation, err) != HF_ERR_OK) ||
        open_org(app, err) != HF_ERR_OK ||
        open_stores(server, &installation, news, err) != HF_ERR_OK ||
        hf_server_auth_create(app->catalog, &server->auth, err) != HF_ERR_OK) {
        return err->code;
    }
    if (path_in(server, "link.key", &link_key, err) != HF_ERR_OK ||
        hf_server_links_create(link_key, &app->links, err) != HF_ERR_OK) {
        return err->code;
    }
    return write_agent_key(server, news, err);
}

/* ---- Once the address is known ---- */

/* The profile with its first line, the address, renewed. */
static enum hf_err renew_profile(struct hf_server *server, const char *path, struct hf_buf *text,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf old = HF_BUF_INIT(4096);

    if (hf_fs_read_whole(path, 4095, &old, err) != HF_ERR_OK) {
        return err->code;
    }
    const uint8_t *end = memchr(old.data, '\n', old.len);
    if (end == NULL || old.len < 9 || memcmp(old.data, "server = ", 9) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT,
                       "%s does not begin with 'server = '; hint: remove it for a new key", path);
    }
    size_t rest = old.len - (size_t)(end + 1 - old.data);
    if (hf_buf_appendf(text, err, "server = %s\n", address_of(server)) != HF_ERR_OK ||
        hf_buf_append(text, hf_bytes_of(end + 1, rest), err) != HF_ERR_OK) {
        return err->code;
    }
    if (text->len == old.len && memcmp(text->data, old.data, old.len) == 0) {
        return HF_ERR_OK;
    }
    return hf_fs_publish_replace(path, hf_buf_bytes(text), 0600, err);
}

/* A copy where the command line looks for it: over an earlier copy of ours, never over somebody else's profile. */
static enum hf_err copy_profile(struct hf_server *server, const struct hf_buf *text,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf there = HF_BUF_INIT(4096);
    const char *path = server->options->profile_path;
    const char *slash = path == NULL ? NULL : strrchr(path, '/');

    if (slash == NULL || slash == path) {
        return HF_ERR_OK;
    }
    HF_CLEANUP(hf_free) char *dir = hf_strndup(path, (size_t)(slash - path));
    if (dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code = hf_fs_read_whole(path, 4095, &there, err);
    if (code == HF_ERR_NOT_FOUND) {
        if (hf_fs_make_dirs(dir, 0700, err) != HF_ERR_OK) {
            return err->code;
        }
        return hf_fs_publish_new(path, hf_buf_bytes(text), 0600, err);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    /* Ours has the same keys behind the first line. */
    const uint8_t *keys = memchr(text->data, '\n', text->len);
    size_t keys_len = keys == NULL ? 0 : text->len - (size_t)(keys - text->data);
    if (keys_len == 0 || there.len < keys_len ||
        memcmp(there.data + there.len - keys_len, keys, keys_len) != 0) {
        return HF_ERR_OK;
    }
    return hf_fs_publish_replace(path, hf_buf_bytes(text), 0600, err);
}

enum hf_err hf_server_publish_url(struct hf_server *server, struct hf_buf *news,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf line = HF_BUF_INIT(1024);
    HF_CLEANUP(hf_buf_fini) struct hf_buf profile = HF_BUF_INIT(8192);
    HF_CLEANUP(hf_free) char *url_path = NULL;
    HF_CLEANUP(hf_free) char *profile_path = NULL;

    /* A command line that talks to a server that lives goes on talking to it. */
    if (hf_fleet_has_others(&server->app)) {
        return HF_ERR_OK;
    }
    if (path_in(server, "server.url", &url_path, err) != HF_ERR_OK ||
        path_in(server, "cli.profile", &profile_path, err) != HF_ERR_OK ||
        write_profile(server, news, err) != HF_ERR_OK ||
        renew_profile(server, profile_path, &profile, err) != HF_ERR_OK ||
        hf_buf_appendf(&line, err, "%s\n", address_of(server)) != HF_ERR_OK ||
        hf_fs_publish_replace(url_path, hf_buf_bytes(&line), 0644, err) != HF_ERR_OK) {
        return err->code;
    }
    /* A home directory that cannot be written must not keep a server from serving. */
    if (copy_profile(server, &profile, err) != HF_ERR_OK) {
        hf_log_warn(server->app.log, "server.profile.not_copied", HF_STR("error", err->message));
    }
    return HF_ERR_OK;
}
