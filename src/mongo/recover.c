/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A temporary mongod on a restored directory: which program it is, its start in one of the modes, what it holds, the
 * point for its recovery, its clean end. Must not know what is put in.
 */
#include "mongo/recover_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"

/* A recovery replays before it answers, and a clean stop writes out all that was replayed: both take as long as they take. */
#define START_LIMIT_MS 604800000
#define STOP_LIMIT_MS 86400000
#define VERSION_LIMIT_MS 30000
#define VERSION_OUTPUT_MAX ((size_t)65536)
#define TRUNCATE "replset.oplogTruncateAfterPoint"

/* ---- The program ---- */

/* The path of a program that may stand in PATH; free with hf_free. */
static enum hf_err find_program(const char *program, char **out, struct hf_error *err)
{
    if (strchr(program, '/') != NULL) {
        if (access(program, X_OK) != 0) {
            return hf_fail(err, HF_ERR_INVALID,
                           "%s is not a program that can be started; hint: name the mongod of the "
                           "snapshot's version",
                           program);
        }
        *out = hf_strdup(program);
        return *out != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "%s", program);
    }
    enum hf_err code = hf_path_search(program, out, err);
    if (code != HF_ERR_NOT_FOUND) {
        return code;
    }
    return hf_fail(err, HF_ERR_INVALID,
                   "no program %s in PATH; hint: name the mongod of the snapshot's version by its "
                   "path",
                   program);
}

/* "db version v4.4.6-8" somewhere in the text. */
static bool version_in(const char *text, char out[HF_MONGO_NAME_BYTES])
{
    const char *at = strstr(text, "db version v");

    if (at == NULL) {
        return false;
    }
    at += strlen("db version v");
    size_t len = strcspn(at, " \r\n\t");
    if (len == 0 || len >= HF_MONGO_NAME_BYTES || at[0] < '0' || at[0] > '9') {
        return false;
    }
    (void)snprintf(out, HF_MONGO_NAME_BYTES, "%.*s", (int)len, at);
    return true;
}

static enum hf_err run_version(const char *program, const char *output, struct hf_error *err)
{
    const char *const argv[] = {program, "--version", NULL};
    struct hf_process_options options = {
        .argv = argv, .output_path = output, .die_with_parent = true};
    struct hf_process *process = NULL;
    bool ended = false;
    int exit_code = 0;

    if (hf_process_start(&options, &process, err) != HF_ERR_OK) {
        struct hf_error why = *err;
        return hf_fail(err, HF_ERR_INVALID, "%s cannot be started: %s", program, why.message);
    }
    enum hf_err result = hf_process_wait(process, VERSION_LIMIT_MS, &ended, &exit_code, err);
    hf_process_stop(process, 0);
    if (result == HF_ERR_OK && (!ended || exit_code != 0)) {
        result = hf_fail(err, HF_ERR_INVALID, "%s --version %s", program,
                         ended ? "failed: it is no mongod" : "did not end");
    }
    return result;
}

enum hf_err hf_recover_version(const char *program, const char *log_path,
                               char out[HF_MONGO_NAME_BYTES], struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = NULL;
    HF_CLEANUP(hf_free) char *output = hf_asprintf("%s.version", log_path);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(VERSION_OUTPUT_MAX);

    if (output == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", program);
    }
    if (find_program(program, &path, err) != HF_ERR_OK ||
        hf_fs_remove_scratch(output, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err result = run_version(path, output, err);
    if (result == HF_ERR_OK) {
        result = hf_fs_read_whole(output, VERSION_OUTPUT_MAX, &text, err);
    }
    struct hf_error ignored;
    (void)!hf_fs_remove_scratch(output, &ignored); /* a scratch file */
    if (result != HF_ERR_OK) {
        return result;
    }
    const char *said = hf_buf_text(&text);
    return said != NULL && version_in(said, out)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_INVALID,
                         "%s --version does not name a \"db version\": it is "
                         "no mongod",
                         path);
}

static bool release_of(const char *version, unsigned *major, unsigned *minor)
{
    return sscanf(version, "%u.%u.", major, minor) == 2;
}

enum hf_err hf_recover_check_version(const char *program_version, const char *files_version,
                                     struct hf_error *err)
{
    unsigned own_major, own_minor, major, minor;

    if (!release_of(program_version, &own_major, &own_minor) ||
        !release_of(files_version, &major, &minor)) {
        return hf_fail(err, HF_ERR_INVALID, "\"%s\" or \"%s\" is no version of a mongod",
                       program_version, files_version);
    }
    if (own_major != major || own_minor != minor) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "the program is version %s and the files are of %s; hint: an oplog is "
                       "replayed by a mongod %u.%u only",
                       program_version, files_version, major, minor);
    }
    return HF_ERR_OK;
}

/* ---- Start and stop ---- */

void hf_recover_drop(struct hf_recover *recover)
{
    if (recover != NULL) {
        hf_mongo_client_close(recover->client);
        hf_mongod_drop(recover->mongod);
        hf_free(recover);
    }
}

/*
 * Ends of a start that the next one will meet as well: the data are ahead of the oplog, entries came after a run, an
 * entry that it starts from is not there (mechanics 9.2, 9.3; observed 6); and 50853, seen after a kill in the middle of
 * the first start on a copy, which changes the settings of every table.
 */
static bool ended_for_good(const char *message)
{
    static const char *const assertions[] = {"31229", "31362", "31363", "31364", "31365", "31366",
                                             "40292", "40293", "40296", "40313", "50853"};

    for (size_t i = 0; i < HF_ARRAY_LEN(assertions); i++) {
        char real[32];
        char logged[32];
        char sandbox[32];
        (void)snprintf(real, sizeof real, "\"msgid\":%s", assertions[i]);
        (void)snprintf(logged, sizeof logged, "\"id\":%s,", assertions[i]);
        (void)snprintf(sandbox, sizeof sandbox, "assertion %s", assertions[i]);
        if (strstr(message, real) != NULL || strstr(message, logged) != NULL ||
            strstr(message, sandbox) != NULL) {
            return true;
        }
    }
    return false;
}

static enum hf_err explain_start(struct hf_error *err)
{
    if (ended_for_good(err->message)) {
        struct hf_error why = *err;
        return hf_fail(
            err, HF_ERR_LOST,
            "the server cannot go on from these files: %s; hint: restore the directory anew",
            why.message);
    }
    return err->code;
}

enum hf_err hf_recover_start(const struct hf_recover_options *options, enum hf_recover_mode mode,
                             struct hf_recover **out, struct hf_error *err)
{
    static const char *const plain[] = {NULL};
    static const char *const large[] = {"enableTestCommands=1", NULL};
    static const char *const replay[] = {"recoverFromOplogAsStandalone=true",
                                         "takeUnstableCheckpointOnShutdown=true", NULL};
    static const char *const many[] = {"recoverFromOplogAsStandalone=true",
                                       "takeUnstableCheckpointOnShutdown=true",
                                       "startupRecoveryForRestore=true", NULL};
    static const char *const *const parameters[] = {[HF_RECOVER_PLAIN] = plain,
                                                    [HF_RECOVER_PLAIN_LARGE] = large,
                                                    [HF_RECOVER_REPLAY] = replay,
                                                    [HF_RECOVER_REPLAY_MANY] = many};
    HF_CLEANUP(hf_free) char *program = NULL;
    HF_CLEANUP(hf_recover_drop) struct hf_recover *recover = hf_alloc_zero(sizeof *recover);

    if (recover == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start %s", options->program);
    }
    if (find_program(options->program, &program, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_mongod_options start = {
        .program = program,
        .dbpath = options->dbpath,
        .log_path = options->log_path,
        .parameters = parameters[mode],
        .arguments = options->arguments,
        .for_looking = true,
        .start_limit_ms = START_LIMIT_MS,
    };
    hf_recover_remove_log(options->log_path); /* the server would keep an older one beside it */
    recover->cancel = options->cancel;
    recover->writable = mode == HF_RECOVER_PLAIN || mode == HF_RECOVER_PLAIN_LARGE;
    if (hf_mongod_start(&start, options->cancel, &recover->mongod, err) != HF_ERR_OK ||
        hf_mongod_client(recover->mongod, &recover->client, err) != HF_ERR_OK) {
        return explain_start(err);
    }
    *out = HF_TAKE(recover);
    return HF_ERR_OK;
}

void hf_recover_remove_log(const char *log_path)
{
    HF_CLEANUP(hf_free) char *output = hf_asprintf("%s.out", log_path);
    struct hf_error ignored;

    /* What stays is in nobody's way. */
    (void)!hf_fs_remove_scratch(log_path, &ignored);
    if (output != NULL) {
        (void)!hf_fs_remove_scratch(output, &ignored);
    }
}

struct hf_mongo_client *hf_recover_client(struct hf_recover *recover)
{
    return recover->client;
}

enum hf_err hf_recover_stop(struct hf_recover *recover, struct hf_error *err)
{
    bool clean = false;

    hf_mongo_client_close(HF_TAKE(recover->client));
    enum hf_err result = hf_mongod_stop(HF_TAKE(recover->mongod), STOP_LIMIT_MS, &clean, err);
    hf_free(recover);
    return result;
}

/* ---- Commands ---- */

enum hf_err hf_recover_command(struct hf_recover *recover, const char *database,
                               const bson_t *command, bson_t *reply, struct hf_error *err)
{
    struct hf_mongo_client *client = recover->client;

    if (hf_cancel_check(recover->cancel, err) != HF_ERR_OK) {
        bson_init(reply);
        return err->code;
    }
    enum hf_err result = hf_mongo_command(client, database, command, NULL, reply, err);
    return result == HF_ERR_UNAVAILABLE || result == HF_ERR_TIMEOUT
               ? hf_mongod_explain(recover->mongod, err)
               : result;
}

enum hf_err hf_recover_run(struct hf_recover *recover, const char *database, const char *command,
                           struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t request = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;

    bson_destroy(&request);
    if (hf_mongo_json_to_bson(command, &request, err) != HF_ERR_OK) {
        return err->code;
    }
    bson_destroy(&reply);
    return hf_recover_command(recover, database, &request, &reply, err);
}

/* ---- State ---- */

/* The first document of a find in `local`; *found false when there is none. reply holds what *out borrows. */
static enum hf_err find_first(struct hf_recover *recover, const char *command, bson_t *reply,
                              bson_t *out, bool *found, struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t request = BSON_INITIALIZER;

    bson_destroy(&request);
    if (hf_mongo_json_to_bson(command, &request, err) != HF_ERR_OK) {
        return err->code;
    }
    bson_destroy(reply);
    if (hf_recover_command(recover, "local", &request, reply, err) != HF_ERR_OK) {
        return err->code;
    }
    *found = hf_mongo_get_doc(reply, "cursor.firstBatch.0", out);
    return HF_ERR_OK;
}

static enum hf_err read_edge(struct hf_recover *recover, int direction, struct hf_mongo_optime *out,
                             struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    char command[256];
    bool found = false;
    bson_t entry;

    (void)snprintf(
        command, sizeof command,
        "{\"find\": \"oplog.rs\", \"sort\": {\"$natural\": %d}, \"projection\": {\"ts\": "
        "1, \"t\": 1}, \"limit\": 1, \"singleBatch\": true}",
        direction);
    if (find_first(recover, command, &reply, &entry, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = (struct hf_mongo_optime){.term = -1};
    if (found) {
        out->ts = hf_mongo_get_ts(&entry, "ts");
        out->term = hf_mongo_get_int(&entry, "t", -1);
    }
    return HF_ERR_OK;
}

static enum hf_err read_version(struct hf_recover *recover, struct hf_recover_state *out,
                                struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    struct hf_error refused;

    (void)BSON_APPEND_INT32(&command, "buildInfo", 1);
    bson_destroy(&reply);
    if (hf_recover_command(recover, "admin", &command, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    out->version_major = (uint32_t)hf_mongo_get_int(&reply, "versionArray.0", 0);
    out->version_minor = (uint32_t)hf_mongo_get_int(&reply, "versionArray.1", 0);
    out->version_patch = (uint32_t)hf_mongo_get_int(&reply, "versionArray.2", 0);
    if (out->version_major == 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: buildInfo has no versionArray",
                       recover->client->host);
    }
    /* A server that does not know a parameter says no; so nobody has to know which release brought it. */
    out->knows_many =
        hf_recover_run(recover, "admin", "{\"getParameter\": 1, \"startupRecoveryForRestore\": 1}",
                       &refused) == HF_ERR_OK;
    return HF_ERR_OK;
}

enum hf_err hf_recover_state_read(struct hf_recover *recover, struct hf_recover_state *out,
                                  struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t found;

    *out = (struct hf_recover_state){.has_min_valid = false};
    if (read_version(recover, out, err) != HF_ERR_OK ||
        read_edge(recover, 1, &out->first, err) != HF_ERR_OK ||
        read_edge(recover, -1, &out->last, err) != HF_ERR_OK ||
        find_first(recover, "{\"find\": \"replset.minvalid\", \"limit\": 1, \"singleBatch\": true}",
                   &reply, &found, &out->has_min_valid, err) != HF_ERR_OK) {
        return hf_wrap(err, "look at the copy");
    }
    if (out->has_min_valid) {
        bson_iter_t begin;
        out->min_valid = (struct hf_mongo_optime){.ts = hf_mongo_get_ts(&found, "ts"),
                                                  .term = hf_mongo_get_int(&found, "t", -1)};
        out->has_begin = hf_mongo_get(&found, "begin", &begin);
        out->begin = hf_mongo_get_optime(&found, "begin");
    }
    bool has_point = false;
    if (find_first(recover, "{\"find\": \"" TRUNCATE "\", \"limit\": 1, \"singleBatch\": true}",
                   &reply, &found, &has_point, err) != HF_ERR_OK) {
        return hf_wrap(err, "look at the copy");
    }
    if (has_point) {
        out->truncate_after = hf_mongo_get_ts(&found, "oplogTruncateAfterPoint");
    }
    return HF_ERR_OK;
}

struct hf_mongo_ts hf_recover_truncate_point(const struct hf_recover_state *version,
                                             struct hf_mongo_ts last)
{
    if (version->version_major < 4 || (version->version_major == 4 && version->version_minor < 4)) {
        /* Removed is what is at or after the point: it stands behind the last entry that stays. */
        last.seconds += last.increment == UINT32_MAX ? 1 : 0;
        last.increment++;
    }
    return last;
}

enum hf_err hf_recover_set_truncate(struct hf_recover *recover, struct hf_mongo_ts last,
                                    struct hf_error *err)
{
    struct hf_recover_state version = {.version_major = 0};
    char command[512];

    if (read_version(recover, &version, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_mongo_ts point = hf_recover_truncate_point(&version, last);
    (void)snprintf(
        command, sizeof command,
        "{\"update\": \"" TRUNCATE
        "\", \"updates\": [{\"q\": {\"_id\": \"oplogTruncateAfterPoint\"}, \"u\": {\"$set\": "
        "{\"oplogTruncateAfterPoint\": {\"$timestamp\": {\"t\": %u, \"i\": %u}}}}, "
        "\"upsert\": true}]}",
        point.seconds, point.increment);
    return hf_recover_run(recover, "local", command, err);
}
