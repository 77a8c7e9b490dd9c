/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's refusals become our errors here, and only here: class, the server's own words and code, and what an
 * operator can do about it. Must not know who asked.
 */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "mongo/client.h"
#include "mongo/client_internal.h"
#include "mongo/reply_internal.h"

struct code_class {
    int32_t code;
    enum hf_err class;
};

/* mongodb-mechanics.md 5 and what was observed; codes that are not here are INTERNAL: not foreseen. */
static const struct code_class code_classes[] = {
    /* network, step-down, shut-down: the same server, or another one, answers again soon */
    {6, HF_ERR_UNAVAILABLE},     /* HostUnreachable */
    {7, HF_ERR_UNAVAILABLE},     /* HostNotFound */
    {91, HF_ERR_UNAVAILABLE},    /* ShutdownInProgress */
    {133, HF_ERR_UNAVAILABLE},   /* FailedToSatisfyReadPreference */
    {189, HF_ERR_UNAVAILABLE},   /* PrimarySteppedDown */
    {9001, HF_ERR_UNAVAILABLE},  /* SocketException */
    {10058, HF_ERR_UNAVAILABLE}, /* legacy not primary */
    {10107, HF_ERR_UNAVAILABLE}, /* NotWritablePrimary */
    {11600, HF_ERR_UNAVAILABLE}, /* InterruptedAtShutdown */
    {11602, HF_ERR_UNAVAILABLE}, /* InterruptedDueToReplStateChange */
    {13435, HF_ERR_UNAVAILABLE}, /* NotPrimaryNoSecondaryOk */
    {50915, HF_ERR_UNAVAILABLE}, /* a checkpoint took place while opening a backup cursor */
    {50917, HF_ERR_UNAVAILABLE}, /* the oplog rolled over while opening one */
    /* time */
    {24, HF_ERR_TIMEOUT},  /* LockTimeout */
    {50, HF_ERR_TIMEOUT},  /* MaxTimeMSExpired */
    {64, HF_ERR_TIMEOUT},  /* WriteConcernFailed (wtimeout) */
    {89, HF_ERR_TIMEOUT},  /* NetworkTimeout */
    {202, HF_ERR_TIMEOUT}, /* NetworkInterfaceExceededTimeLimit */
    {262, HF_ERR_TIMEOUT}, /* ExceededTimeLimit */
    /* who, and what he may */
    {13, HF_ERR_DENIED},          /* Unauthorized */
    {18, HF_ERR_UNAUTHENTICATED}, /* AuthenticationFailed */
    {11, HF_ERR_UNAUTHENTICATED}, /* UserNotFound */
    /* the cursor, or what belongs to it, is gone */
    {43, HF_ERR_LOST},    /* CursorNotFound */
    {237, HF_ERR_LOST},   /* CursorKilled */
    {29094, HF_ERR_LOST}, /* backupId is not the open one */
    {31403, HF_ERR_LOST}, /* the size of a listed file could not be read */
    {50738, HF_ERR_LOST}, /* getMore from another session */
    /* another's cursor, lock or backup */
    {29098, HF_ERR_BUSY},
    {29099, HF_ERR_BUSY},
    {50884, HF_ERR_BUSY},
    {50886, HF_ERR_BUSY},
    {50887, HF_ERR_BUSY},
    /* not here, not with this server */
    {59, HF_ERR_UNSUPPORTED},    /* CommandNotFound */
    {76, HF_ERR_UNSUPPORTED},    /* NoReplicationEnabled */
    {94, HF_ERR_UNSUPPORTED},    /* NotYetInitialized */
    {115, HF_ERR_UNSUPPORTED},   /* CommandNotSupported */
    {268, HF_ERR_UNSUPPORTED},   /* CannotBackup */
    {13436, HF_ERR_UNSUPPORTED}, /* NotPrimaryOrSecondary: arbiter, or not yet initiated */
    {29144, HF_ERR_UNSUPPORTED}, /* no replication */
    {31401, HF_ERR_UNSUPPORTED}, /* in-memory engine */
    {40324, HF_ERR_UNSUPPORTED}, /* no such stage */
    {50912, HF_ERR_UNSUPPORTED}, /* no oplog */
    {50914, HF_ERR_UNSUPPORTED}, /* the oplog is empty */
    {51033, HF_ERR_UNSUPPORTED},
    {51034, HF_ERR_UNSUPPORTED},
    /* data */
    {26, HF_ERR_NOT_FOUND}, /* NamespaceNotFound */
    {48, HF_ERR_EXISTS},    /* NamespaceExists */
    {11000, HF_ERR_EXISTS}, /* DuplicateKey */
    {112, HF_ERR_CONFLICT}, /* WriteConflict */
    {20, HF_ERR_CONFLICT},  /* IllegalOperation: a server in read-only mode, and the like */
    /* our own request */
    {2, HF_ERR_INVALID},     /* BadValue */
    {9, HF_ERR_INVALID},     /* FailedToParse */
    {14, HF_ERR_INVALID},    /* TypeMismatch */
    {72, HF_ERR_INVALID},    /* InvalidOptions */
    {73, HF_ERR_INVALID},    /* InvalidNamespace */
    {121, HF_ERR_INVALID},   /* DocumentValidationFailure */
    {40415, HF_ERR_INVALID}, /* an unknown field of a command */
    {10334, HF_ERR_LIMIT},   /* BSONObjectTooLarge */
    {17280, HF_ERR_LIMIT},
    {14031, HF_ERR_NO_SPACE}, /* OutOfDiskSpace */
};

static bool mentions(const char *text, const char *part)
{
    return text != NULL && strstr(text, part) != NULL;
}

enum hf_err hf_mongo_error_class(int64_t code, const char *server_text)
{
    if (code == 13 && mentions(server_text, "requires authentication")) {
        return HF_ERR_UNAUTHENTICATED;
    }
    /* The extend answers an absent cursor with the code of a present one. */
    if (code == 50886 && mentions(server_text, "is not open")) {
        return HF_ERR_LOST;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(code_classes); i++) {
        if (code_classes[i].code == code) {
            return code_classes[i].class;
        }
    }
    if (code == 0 && (mentions(server_text, "not supported through mongos") ||
                      mentions(server_text, "no option found to get"))) {
        return HF_ERR_UNSUPPORTED;
    }
    return HF_ERR_INTERNAL;
}

struct command_right {
    char command[24];
    char right[88];
};

/* mongodb-mechanics.md 13, and observed 6 for the cursor. */
static const struct command_right command_rights[] = {
    {"$backupCursor", "the role backup (other builds: also the action fsync on the cluster)"},
    {"$backupCursorExtend", "the role backup (other builds: also the action fsync on the cluster)"},
    {"$currentOp", "the role clusterMonitor"},
    {"killCursors", "a role with the action killAnyCursor on the cluster"},
    {"find", "the role backup"},
    {"getMore", "the role backup"},
    {"appendOplogNote", "the role backup"},
    {"shutdown", "the role hostManager"},
    {"dbHash", "the role readAnyDatabase"},
    {"listDatabases", "the role clusterMonitor or readAnyDatabase"},
    {"listCollections", "the role readAnyDatabase"},
    {"getCmdLineOpts", "the role clusterMonitor"},
    {"getParameter", "the role clusterMonitor"},
    {"serverStatus", "the role clusterMonitor"},
    {"replSetGetStatus", "the role clusterMonitor"},
    {"replSetGetConfig", "the role clusterMonitor"},
};

static const char *right_for(const char *what)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(command_rights); i++) {
        if (strcmp(command_rights[i].command, what) == 0) {
            return command_rights[i].right;
        }
    }
    return NULL;
}

/* What an operator can do; writes "" when there is nothing to say. */
static void make_hint(enum hf_err class, int64_t code, const char *what, char *out, size_t out_len)
{
    out[0] = '\0';
    if (class == HF_ERR_UNAUTHENTICATED) {
        (void)snprintf(out, out_len, "; hint: check user, password file and authSource");
    } else if (class == HF_ERR_DENIED && right_for(what) != NULL) {
        (void)snprintf(out, out_len, "; hint: %s needs %s", what, right_for(what));
    } else if (code == 40324 || code == 268) {
        (void)snprintf(out, out_len,
                       "; hint: a mongos, or a server without this stage (MongoDB Community): "
                       "connect to a member of a set that runs Enterprise or Percona Server");
    } else if (code == 13436) {
        (void)snprintf(out, out_len, "; hint: an arbiter, or a member that is not initiated");
    } else if (code == 50887 || code == 50884) {
        (void)snprintf(out, out_len, "; hint: fsyncLock and a backup cursor exclude each other");
    } else if (code == 50886 && class == HF_ERR_BUSY) {
        (void)snprintf(out, out_len, "; hint: it is another's backup cursor, not ours");
    }
}

/* The server repeats a refused command with session and signature: no help, and it fills the message. */
static size_t useful_length(const char *text)
{
    const char *command = strstr(text, "to execute command {");

    return command != NULL ? (size_t)(command - text) + strlen("to execute command") : strlen(text);
}

static enum hf_err fail_server(struct hf_error *err, const char *host, const char *what,
                               int64_t code, const char *code_name, const char *text)
{
    enum hf_err class = hf_mongo_error_class(code, text);
    char hint[256];
    char number[96] = "";

    make_hint(class, code, what, hint, sizeof hint);
    if (code != 0) {
        (void)snprintf(number, sizeof number, " (code %lld%s%.60s)", (long long)code,
                       code_name != NULL ? " " : "", code_name != NULL ? code_name : "");
    }
    return hf_fail(err, class, "%s: %s: %.*s%s%s", host, what, (int)useful_length(text), text,
                   number, hint);
}

int64_t hf_mongo_reply_code(const bson_t *reply)
{
    bson_iter_t iter;

    if (hf_mongo_get(reply, "ok", &iter) && hf_mongo_get_int(reply, "ok", 0) != 1) {
        return hf_mongo_get_int(reply, "code", 0);
    }
    int64_t code = hf_mongo_get_int(reply, "writeErrors.0.code", 0);
    return code != 0 ? code : hf_mongo_get_int(reply, "writeConcernError.code", 0);
}

enum hf_err hf_mongo_reply_check(const char *host, const char *what, const bson_t *reply,
                                 struct hf_error *err)
{
    static const char paths[][20] = {"", "writeErrors.0", "writeConcernError"};

    for (size_t i = 0; i < HF_ARRAY_LEN(paths); i++) {
        bson_t part;

        if (i == 0) {
            if (hf_mongo_get_int(reply, "ok", 0) == 1) {
                continue;
            }
            (void)bson_init_static(&part, bson_get_data(reply), reply->len);
        } else if (!hf_mongo_get_doc(reply, paths[i], &part)) {
            continue;
        }
        const char *text = hf_mongo_get_text(&part, "errmsg");
        if (text == NULL) {
            text = hf_mongo_get_text(&part, "$err");
        }
        return fail_server(err, host, what, hf_mongo_get_int(&part, "code", 0),
                           hf_mongo_get_text(&part, "codeName"),
                           text != NULL ? text : "refused without a reason");
    }
    return HF_ERR_OK;
}

/* The driver calls a connection that fails on its hello or in its login an error of the client: by its words it is the
 * network's. */
static enum hf_err client_class(const bson_error_t *error)
{
    switch (error->code) {
    case MONGOC_ERROR_STREAM_NAME_RESOLUTION:
    case MONGOC_ERROR_STREAM_SOCKET:
    case MONGOC_ERROR_STREAM_CONNECT:
    case MONGOC_ERROR_STREAM_NOT_ESTABLISHED:
        return HF_ERR_UNAVAILABLE;
    case MONGOC_ERROR_CLIENT_AUTHENTICATE:
        return mentions(error->message, "Failed to send \"") ? HF_ERR_UNAVAILABLE
                                                             : HF_ERR_UNAUTHENTICATED;
    case MONGOC_ERROR_CLIENT_SESSION_FAILURE:
        return HF_ERR_UNSUPPORTED;
    default:
        return HF_ERR_INTERNAL;
    }
}

enum hf_err hf_mongo_fail_driver(struct hf_error *err, const char *host, const char *what,
                                 const bson_error_t *error)
{
    enum hf_err class = HF_ERR_INTERNAL;
    char hint[256];

    switch (error->domain) {
    case MONGOC_ERROR_STREAM:
    case MONGOC_ERROR_SERVER_SELECTION:
        class = HF_ERR_UNAVAILABLE;
        break;
    case MONGOC_ERROR_CLIENT:
        class = client_class(error);
        break;
    case MONGOC_ERROR_PROTOCOL:
        class = error->code == MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION ? HF_ERR_UNSUPPORTED
                                                                      : HF_ERR_CORRUPT;
        break;
    case MONGOC_ERROR_BSON:
        class = HF_ERR_CORRUPT;
        break;
    case MONGOC_ERROR_SASL:
    case MONGOC_ERROR_SCRAM:
        class = HF_ERR_UNAUTHENTICATED;
        break;
    case MONGOC_ERROR_COMMAND:
        class = error->code == MONGOC_ERROR_COMMAND_INVALID_ARG ? HF_ERR_INVALID : HF_ERR_INTERNAL;
        break;
    case MONGOC_ERROR_SERVER:
        return fail_server(err, host, what, (int64_t)error->code, NULL, error->message);
    default:
        break;
    }
    make_hint(class, 0, what, hint, sizeof hint);
    return hf_fail(err, class, "%s: %s: %s%s", host, what, error->message, hint);
}

const char *hf_mongo_command_name(const bson_t *command)
{
    bson_iter_t iter;

    if (!bson_iter_init(&iter, command) || !bson_iter_next(&iter)) {
        return "(empty command)";
    }
    const char *name = bson_iter_key(&iter);
    if (strcmp(name, "aggregate") == 0) {
        bson_t stage;
        bson_iter_t first;

        if (hf_mongo_get_doc(command, "pipeline.0", &stage) && bson_iter_init(&first, &stage) &&
            bson_iter_next(&first)) {
            return bson_iter_key(&first);
        }
    }
    return name;
}
