/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts about one server, each read with the command that needs the least rights. A fact that decides whether
 * the server can be backed up has to be read; one that only saves trouble may be missing, and then says so. Must not
 * decide: check.c does.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "codec/json.h"
#include "mongo/client_internal.h"
#include "mongo/hello_internal.h"

#define RESTORE_OPTIONS_MAX 65536

void hf_mongo_facts_fini(struct hf_mongo_facts *facts)
{
    hf_free(HF_TAKE(facts->dbpath));
    hf_free(HF_TAKE(facts->restore_options));
}

static void HF_PRINTF(2, 3) add_missing(struct hf_mongo_facts *facts, const char *format, ...)
{
    size_t len = strlen(facts->missing);
    va_list arguments;

    if (len > 0 && len + 2 < sizeof facts->missing) {
        (void)snprintf(facts->missing + len, sizeof facts->missing - len, "; ");
        len += 2;
    }
    va_start(arguments, format);
    (void)vsnprintf(facts->missing + len, sizeof facts->missing - len, format, arguments);
    va_end(arguments);
}

/* ---- Parsing ---- */

bool hf_mongo_parse_version(const char *text, uint32_t out[3])
{
    const char *at = text;

    memset(out, 0, 3 * sizeof *out);
    for (size_t i = 0; i < 3; i++) {
        struct hf_str digits = {at, strspn(at, "0123456789")};
        uint64_t number = 0;

        if (!hf_parse_u64(digits, &number) || number > UINT16_MAX) {
            return i > 0;
        }
        out[i] = (uint32_t)number;
        at += digits.len;
        if (*at != '.') {
            return true;
        }
        at++;
    }
    return true;
}

enum hf_err hf_mongo_parse_build_info(const bson_t *reply, struct hf_mongo_facts *out,
                                      struct hf_error *err)
{
    const char *version = hf_mongo_get_text(reply, "version");
    uint32_t numbers[3];
    bson_t modules;
    bson_iter_t iter;

    /* The text, not versionArray: that one calls 4.4.6-8 "4, 4, 7, -100". */
    if (version == NULL || !hf_mongo_parse_version(version, numbers)) {
        return hf_fail(err, HF_ERR_CORRUPT, "buildInfo: no version");
    }
    if (hf_mongo_copy_text(out->version, sizeof out->version, version, "version", err) !=
        HF_ERR_OK) {
        return hf_wrap(err, "buildInfo");
    }
    out->version_major = numbers[0];
    out->version_minor = numbers[1];
    out->version_patch = numbers[2];
    out->edition = HF_MONGO_COMMUNITY;
    if (hf_mongo_get_text(reply, "psmdbVersion") != NULL) {
        out->edition = HF_MONGO_PERCONA;
    } else if (hf_mongo_get_doc(reply, "modules", &modules) && bson_iter_init(&iter, &modules)) {
        while (bson_iter_next(&iter)) {
            const char *module = hf_mongo_get_text(&modules, bson_iter_key(&iter));
            if (module != NULL && strcmp(module, "enterprise") == 0) {
                out->edition = HF_MONGO_ENTERPRISE;
            }
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_parse_fcv(const bson_t *reply, struct hf_mongo_facts *out,
                               struct hf_error *err)
{
    bson_t document;
    uint32_t numbers[3];

    if (!hf_mongo_get_doc(reply, "featureCompatibilityVersion", &document)) {
        (void)bson_init_static(&document, bson_get_data(reply), reply->len);
    }
    const char *version = hf_mongo_get_text(&document, "version");
    if (version == NULL || !hf_mongo_parse_version(version, numbers)) {
        return hf_fail(err, HF_ERR_CORRUPT, "featureCompatibilityVersion: no version");
    }
    if (hf_mongo_copy_text(out->fcv, sizeof out->fcv, version, "version", err) != HF_ERR_OK ||
        hf_mongo_copy_text(out->fcv_target, sizeof out->fcv_target,
                           hf_mongo_get_text(&document, "targetVersion"), "targetVersion",
                           err) != HF_ERR_OK) {
        return hf_wrap(err, "featureCompatibilityVersion");
    }
    out->fcv_major = numbers[0];
    out->fcv_minor = numbers[1];
    return HF_ERR_OK;
}

enum hf_err hf_mongo_parse_server_status(const bson_t *reply, struct hf_mongo_facts *out,
                                         struct hf_error *err)
{
    int64_t pid = hf_mongo_get_int(reply, "pid", 0);
    const char *engine = hf_mongo_get_text(reply, "storageEngine.name");

    if (engine == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "serverStatus: no storageEngine.name");
    }
    if (hf_mongo_copy_text(out->engine, sizeof out->engine, engine, "storageEngine.name", err) !=
        HF_ERR_OK) {
        return hf_wrap(err, "serverStatus");
    }
    out->pid = pid > 0 ? (uint64_t)pid : 0;
    out->backup_cursor_open = hf_mongo_get_bool(reply, "storageEngine.backupCursorOpen", false);
    out->encrypted = hf_mongo_get_bool(reply, "encryptionAtRest.encryptionEnabled", false);
    if (hf_mongo_get_bool(reply, "storageEngine.readOnly", false)) {
        out->read_only = true;
    }
    return HF_ERR_OK;
}

/* Start options without which the files of a copy are not found or not understood. Never a secret or a path to one. */
static const char restore_paths[][56] = {
    "storage.engine",
    "storage.directoryPerDB",
    "storage.wiredTiger.engineConfig.directoryForIndexes",
    "storage.wiredTiger.engineConfig.configString",
    "storage.wiredTiger.collectionConfig.blockCompressor",
    "storage.wiredTiger.indexConfig.prefixCompression",
    "security.enableEncryption",
    "security.encryptionCipherMode",
};

static void set_value(struct hf_json *object, const char *key, const bson_t *doc, const char *path)
{
    bson_iter_t iter;

    if (!hf_mongo_get(doc, path, &iter)) {
        return;
    }
    if (BSON_ITER_HOLDS_BOOL(&iter)) {
        hf_json_set_bool(object, key, bson_iter_bool(&iter));
    } else if (BSON_ITER_HOLDS_UTF8(&iter)) {
        hf_json_set_text(object, key, hf_mongo_get_text(doc, path));
    } else if (BSON_ITER_HOLDS_DOUBLE(&iter)) {
        hf_json_set_real(object, key, hf_mongo_get_real(doc, path, 0));
    } else if (BSON_ITER_HOLDS_INT(&iter)) {
        hf_json_set_integer(object, key, hf_mongo_get_int(doc, path, 0));
    }
}

/* Copies one dotted path, making the objects on the way. */
static void copy_path(struct hf_json *object, const bson_t *parsed, const char *path)
{
    const char *at = path;
    const char *dot;
    bson_iter_t iter;

    if (!hf_mongo_get(parsed, path, &iter)) {
        return;
    }
    while ((dot = strchr(at, '.')) != NULL) {
        char name[64];
        (void)snprintf(name, sizeof name, "%.*s", (int)(dot - at), at);
        if (hf_json_get_object(object, name) == NULL) {
            hf_json_set_take(object, name, hf_json_object());
        }
        object = hf_json_get_object(object, name);
        if (object == NULL) {
            return; /* no memory: the encoder reports it */
        }
        at = dot + 1;
    }
    set_value(object, at, parsed, path);
}

static enum hf_err encode_restore_options(const bson_t *parsed, struct hf_mongo_facts *out,
                                          struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *options = hf_json_object();
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(RESTORE_OPTIONS_MAX);

    for (size_t i = 0; options != NULL && i < HF_ARRAY_LEN(restore_paths); i++) {
        copy_path(options, parsed, restore_paths[i]);
    }
    if (options == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start options");
    }
    if (hf_json_encode(options, 0, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "start options");
    }
    const char *encoded = hf_buf_text(&text);
    hf_free(out->restore_options);
    out->restore_options = encoded == NULL ? NULL : hf_strdup(encoded);
    return out->restore_options != NULL ? HF_ERR_OK
                                        : hf_fail(err, HF_ERR_NO_MEMORY, "start options");
}

enum hf_err hf_mongo_parse_cmd_line(const bson_t *reply, struct hf_mongo_facts *out,
                                    struct hf_error *err)
{
    bson_t parsed;

    if (!hf_mongo_get_doc(reply, "parsed", &parsed)) {
        return hf_fail(err, HF_ERR_CORRUPT, "getCmdLineOpts: no 'parsed'");
    }
    const char *dbpath = hf_mongo_get_text(&parsed, "storage.dbPath");
    const char *role = hf_mongo_get_text(&parsed, "sharding.clusterRole");

    if (dbpath == NULL && out->role != HF_MONGO_ROLE_MONGOS) {
        dbpath = "/data/db"; /* what a mongod takes when it is told nothing */
    }
    if (dbpath != NULL && dbpath[0] == '/') {
        hf_free(out->dbpath);
        out->dbpath = hf_strdup(dbpath);
        if (out->dbpath == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "getCmdLineOpts");
        }
    } else if (dbpath != NULL) {
        add_missing(out,
                    "dbPath is relative (%s); hint: start the mongod with an absolute --dbpath, or "
                    "the agent as "
                    "the mongod's user",
                    dbpath);
    }
    if (role != NULL && strcmp(role, "shardsvr") == 0) {
        out->shard_role = HF_MONGO_SHARD_SHARDSVR;
    } else if (role != NULL && strcmp(role, "configsvr") == 0) {
        out->shard_role = HF_MONGO_SHARD_CONFIGSVR;
    }
    out->directory_per_db = hf_mongo_get_bool(&parsed, "storage.directoryPerDB", false);
    out->directory_for_indexes =
        hf_mongo_get_bool(&parsed, "storage.wiredTiger.engineConfig.directoryForIndexes", false);
    out->options_known = true;
    return encode_restore_options(&parsed, out, err);
}

/* ---- Reading ---- */

static enum hf_err run(struct hf_mongo_client *client, const char *json, bson_t *reply,
                       struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;

    bson_destroy(&command);
    if (hf_mongo_json_to_bson(json, &command, err) != HF_ERR_OK) {
        return err->code;
    }
    bson_destroy(reply);
    return hf_mongo_command(client, "admin", &command, NULL, reply, err);
}

struct fcv_visit {
    struct hf_mongo_facts *facts;
    bool found;
};

static enum hf_err visit_fcv(void *argument, const bson_t *document, struct hf_error *err)
{
    struct fcv_visit *visit = argument;

    visit->found = true;
    return hf_mongo_parse_fcv(document, visit->facts, err);
}

/* getParameter needs clusterMonitor; the document behind it can be read by whoever may read `admin`. */
enum hf_err hf_mongo_read_fcv(struct hf_mongo_client *client, struct hf_mongo_facts *out,
                              struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t find = BSON_INITIALIZER;
    struct fcv_visit visit = {.facts = out};
    struct hf_error second;

    if (run(client, "{\"getParameter\": 1, \"featureCompatibilityVersion\": 1}", &reply, err) ==
        HF_ERR_OK) {
        return hf_mongo_parse_fcv(&reply, out, err);
    }
    if (err->code != HF_ERR_DENIED) {
        return err->code;
    }
    bson_destroy(&find);
    if (hf_mongo_json_to_bson("{\"find\": \"system.version\", "
                              "\"filter\": {\"_id\": \"featureCompatibilityVersion\"}}",
                              &find, &second) != HF_ERR_OK ||
        hf_mongo_walk(client, "admin", &find, visit_fcv, &visit, &second) != HF_ERR_OK ||
        !visit.found) {
        return err->code; /* the first refusal names the right that is meant to be there */
    }
    return HF_ERR_OK;
}

/* What only saves trouble: how long an idle cursor lives, where the files are, how the server was started. */
static enum hf_err read_comfort(struct hf_mongo_client *client, struct hf_mongo_facts *out,
                                struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t timeout = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t options = BSON_INITIALIZER;

    enum hf_err result =
        run(client, "{\"getParameter\": 1, \"cursorTimeoutMillis\": 1}", &timeout, err);
    if (result == HF_ERR_OK) {
        int64_t value = hf_mongo_get_int(&timeout, "cursorTimeoutMillis", 0);
        out->cursor_timeout_ms = value > 0 ? (uint64_t)value : 0;
    } else if (result == HF_ERR_DENIED || result == HF_ERR_UNSUPPORTED) {
        add_missing(out, "cursorTimeoutMillis not known: getParameter needs clusterMonitor");
    } else {
        return result;
    }
    result = run(client, "{\"getCmdLineOpts\": 1}", &options, err);
    if (result == HF_ERR_OK) {
        return hf_mongo_parse_cmd_line(&options, out, err);
    }
    if (result == HF_ERR_DENIED || result == HF_ERR_UNSUPPORTED) {
        add_missing(out, "start options and dbPath not known: getCmdLineOpts needs clusterMonitor");
        return HF_ERR_OK;
    }
    return result;
}

static void take_hello(const struct hf_mongo_hello *hello, struct hf_mongo_facts *out)
{
    out->role = hello->role;
    out->shard_role = hello->config_server ? HF_MONGO_SHARD_CONFIGSVR : HF_MONGO_SHARD_NONE;
    out->primary = hello->primary;
    out->secondary = hello->secondary;
    out->hidden = hello->hidden;
    out->arbiter = hello->arbiter;
    out->read_only = hello->read_only;
    out->last_write = hello->last_write;
    out->majority = hello->majority;
    memcpy(out->me, hello->me, sizeof out->me);
    memcpy(out->set_name, hello->set_name, sizeof out->set_name);
}

static enum hf_err read_all(struct hf_mongo_client *client, struct hf_mongo_facts *out,
                            struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t hello_reply = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t build = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t status = BSON_INITIALIZER;
    struct hf_mongo_hello hello;

    bson_destroy(&hello_reply);
    if (hf_mongo_hello(client, &hello_reply, err) != HF_ERR_OK ||
        hf_mongo_parse_hello(&hello_reply, &hello, err) != HF_ERR_OK) {
        return err->code;
    }
    take_hello(&hello, out);
    if (run(client, "{\"buildInfo\": 1}", &build, err) != HF_ERR_OK ||
        hf_mongo_parse_build_info(&build, out, err) != HF_ERR_OK) {
        return err->code;
    }
    /* These know no users, or not the rest of the questions; the check refuses them for what they are. */
    if (out->role == HF_MONGO_ROLE_MONGOS || out->role == HF_MONGO_ROLE_NOT_INITIATED ||
        out->arbiter) {
        return HF_ERR_OK;
    }
    if (hf_mongo_read_fcv(client, out, err) != HF_ERR_OK ||
        run(client,
            "{\"serverStatus\": 1, \"wiredTiger\": 0, \"metrics\": 0, \"locks\": 0, "
            "\"opLatencies\": 0, \"transactions\": 0, \"tcmalloc\": 0}",
            &status, err) != HF_ERR_OK ||
        hf_mongo_parse_server_status(&status, out, err) != HF_ERR_OK) {
        return err->code;
    }
    return read_comfort(client, out, err);
}

enum hf_err hf_mongo_facts_read(struct hf_mongo_client *client, struct hf_mongo_facts *out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};

    memset(out, 0, sizeof *out);
    memcpy(facts.host, client->host, sizeof facts.host);
    facts.restore_options = hf_strdup("{}");
    if (facts.restore_options == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "facts");
    }
    if (read_all(client, &facts, err) != HF_ERR_OK) {
        return hf_wrap(err, "facts");
    }
    *out = facts;
    facts.dbpath = NULL;
    facts.restore_options = NULL;
    return HF_ERR_OK;
}
