/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A direct connection to one MongoDB server, and how its errors become ours.
 *
 * One client belongs to one job on one thread at a time. It never fails over to another member: who
 * wants another one opens another client. Must not know what the commands are for.
 */
#ifndef HF_MONGO_CLIENT_H
#define HF_MONGO_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/error.h"
#include "mongo/types.h"

struct hf_mongo_client;

/* All text is borrowed for the call. Zero is the default everywhere. */
struct hf_mongo_options {
    /* "mongodb://[user:password@]host:port[,host:port...][/?options]": credentials, authSource,
     * authMechanism, tls* options and time-outs are taken from it. NULL: none of these. */
    const char *uri;
    /* The member to talk to, "host:port" or "host" (27017). NULL: the only host of uri (several are
     * INVALID). */
    const char *host;
    const char *user;            /* wins over the URI's */
    const char *password_file;   /* first line is the password; read at every open; needs user */
    const char *auth_source;     /* default: the URI's, else "admin" */
    uint32_t connect_timeout_ms; /* default: the URI's, else 5,000; also for finding the server */
    uint32_t socket_timeout_ms;  /* default: the URI's, else 60,000; give more for long commands
                                    (dbHash) */
};

/*
 * libmongoc keeps counters in shared memory under the process's id from the moment it is loaded. A process that is killed
 * leaves the name behind, and the next one with that id complains. This takes the name away: to be called once, first.
 */
void hf_mongo_unname_counters(void);

/*
 * Connects, says hello, authenticates. UNAVAILABLE when nothing answers, UNAUTHENTICATED when it
 * does not know us, INVALID for options that cannot be. Every message names host:port.
 */
HF_MUST_CHECK enum hf_err hf_mongo_client_open(const struct hf_mongo_options *options,
                                               struct hf_mongo_client **out, struct hf_error *err);
/* NULL does nothing. Backup cursors are not closed by this (no server does that): see
 * backup_cursor.h. */
void hf_mongo_client_close(struct hf_mongo_client *client);
HF_CLEANUP_DEFINE(hf_mongo_client_close, struct hf_mongo_client *)

/* "host:port" it talks to. */
const char *hf_mongo_client_host(const struct hf_mongo_client *client);

/* Frees what the driver library holds globally; once, as the last thing of a process, for leak
 * checkers. */
void hf_mongo_cleanup(void);

/* The hosts of a seed list: a mongodb:// URI or "host:port,host:port". INVALID names what is wrong.
 */
struct hf_mongo_hosts {
    size_t count;
    char names[HF_MONGO_MAX_MEMBERS][HF_MONGO_HOST_BYTES];
};
HF_MUST_CHECK enum hf_err hf_mongo_parse_seeds(const char *seeds, struct hf_mongo_hosts *out,
                                               struct hf_error *err);

/*
 * Runs one command: canonical or relaxed extended JSON in, canonical extended JSON (one line) out;
 * out is cleared first and may be NULL. ok: 0, a write error or a write concern error is an error
 * here. Never retried by the driver.
 */
HF_MUST_CHECK enum hf_err hf_mongo_run(struct hf_mongo_client *client, const char *database,
                                       const char *command, struct hf_buf *out,
                                       struct hf_error *err);

/* Gets each document as canonical extended JSON (ends in NUL); anything but OK ends the walk and is
 * its result. */
typedef enum hf_err (*hf_mongo_visit)(void *argument, struct hf_str document, struct hf_error *err);
/* Runs a command that answers with a cursor (find, aggregate, listCollections...) and walks all its
 * batches. */
HF_MUST_CHECK enum hf_err hf_mongo_run_cursor(struct hf_mongo_client *client, const char *database,
                                              const char *command, hf_mongo_visit visit,
                                              void *argument, struct hf_error *err);

/*
 * What a server's error code means for us (0: a reply without code). The rule behind every message
 * of this room: network, not primary, shutting down, 50915, 50917 .... UNAVAILABLE (again after a
 * moment) 18, 13 before authentication ......................... UNAUTHENTICATED 13
 * ................................................... DENIED 43, 50738, 29094, 31403
 * .............................. LOST (the cursor; start the work again) 50886, 50887, 50884,
 * 29098, 29099 .................... BUSY (another's cursor, lock or backup) 40324, 268, 59, 13436,
 * 29144, 50912, 50914, 51033.. .. UNSUPPORTED 50, 24, 89
 * ........................................... TIMEOUT 11000
 * ................................................ EXISTS; 26 NOT_FOUND; 112 CONFLICT
 */
enum hf_err hf_mongo_error_class(int64_t code, const char *server_text);

#endif
