/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backup cursors that others opened, or we did before a crash: found in $currentOp, closed only when they are ours.
 */
#include <string.h>

#include "mongo/backup_internal.h"
#include "os/clock.h"

/* How long a command of the dead process may still be opening its cursor. */
#define SETTLE_LIMIT_MS 30000

struct search {
    const uint8_t *only_lsid; /* NULL: anybody's */
    struct hf_mongo_cursor_seen *out;
    bool *found;
};

static enum hf_err visit(void *argument, const bson_t *document, struct hf_error *err)
{
    struct search *search = argument;
    struct hf_mongo_cursor_seen seen;

    (void)err;
    if (!hf_mongo_parse_current_op(document, &seen)) {
        return HF_ERR_OK;
    }
    if (search->only_lsid != NULL &&
        (!seen.has_lsid || memcmp(seen.lsid, search->only_lsid, sizeof seen.lsid) != 0)) {
        return HF_ERR_OK;
    }
    /* One that waits for its next command says more than one that is just being served. */
    if (!*search->found || search->out->running) {
        *search->out = seen;
        *search->found = true;
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_find_backup_cursor(struct hf_mongo_client *client, const uint8_t *only_lsid,
                                        struct hf_mongo_cursor_seen *out, bool *found,
                                        struct hf_error *err)
{
    static const char pipelines[][96] = {
        "{\"aggregate\": 1, \"pipeline\": [{\"$currentOp\": {\"idleCursors\": true, "
        "\"allUsers\": true",
        "{\"aggregate\": 1, \"pipeline\": [{\"$currentOp\": {\"idleCursors\": true"};
    struct search search = {.only_lsid = only_lsid, .out = out, .found = found};
    enum hf_err result = HF_ERR_OK;

    for (size_t i = 0; i < HF_ARRAY_LEN(pipelines); i++) {
        HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
        char json[256];

        (void)snprintf(json, sizeof json, "%s}}], \"cursor\": {}}", pipelines[i]);
        *found = false;
        bson_destroy(&command);
        if (hf_mongo_json_to_bson(json, &command, err) != HF_ERR_OK) {
            return err->code;
        }
        result = hf_mongo_walk(client, "admin", &command, visit, &search, err);
        if (result != HF_ERR_DENIED) {
            break;
        }
    }
    return result;
}

enum hf_err hf_mongo_kill_cursor(struct hf_mongo_client *client,
                                 const struct hf_mongo_session *session, int64_t id,
                                 struct hf_error *err)
{
    HF_BSON_CLEANUP bson_t command = BSON_INITIALIZER;
    HF_BSON_CLEANUP bson_t reply = BSON_INITIALIZER;
    bson_t ids;

    (void)BSON_APPEND_UTF8(&command, "killCursors", "$cmd.aggregate");
    (void)BSON_APPEND_ARRAY_BEGIN(&command, "cursors", &ids);
    (void)BSON_APPEND_INT64(&ids, "0", id);
    (void)bson_append_array_end(&command, &ids);
    if (hf_mongo_command(client, "admin", &command, session, &reply, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_mongo_parse_killed(&reply, id, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", client->host);
    }
    return HF_ERR_OK;
}

enum hf_err hf_mongo_backup_close_leftover(struct hf_mongo_client *client, const char *lsid,
                                           bool *found, struct hf_error *err)
{
    uint8_t bytes[16];
    struct hf_mongo_cursor_seen seen = {0};
    uint64_t deadline = hf_clock_mono_ms() + SETTLE_LIMIT_MS;

    *found = false;
    if (!hf_hex_decode(hf_str_of(lsid), bytes, sizeof bytes)) {
        return hf_fail(err, HF_ERR_INVALID, "session '%s' is not 32 hexadecimal digits", lsid);
    }
    for (;;) {
        if (hf_mongo_find_backup_cursor(client, bytes, &seen, found, err) != HF_ERR_OK) {
            return hf_wrap(err, "left-over backup cursor");
        }
        if (!*found) {
            return HF_ERR_OK;
        }
        if (seen.cursor_id != 0) {
            break;
        }
        /* The dead process' command is still at work: its cursor will be there in a moment. */
        if (hf_clock_mono_ms() >= deadline) {
            return hf_fail(err, HF_ERR_TIMEOUT, "%s: session %s is still opening its backup cursor",
                           client->host, lsid);
        }
        hf_cancel_sleep(NULL, 500);
    }
    enum hf_err result = hf_mongo_kill_cursor(client, NULL, seen.cursor_id, err);
    if (result == HF_ERR_LOST) {
        return HF_ERR_OK; /* it timed out between the two commands: what was wanted */
    }
    return result == HF_ERR_OK ? result : hf_wrap(err, "left-over backup cursor");
}
