/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a backup cursor: prepare -> (caller notes the session id on disk) -> open -> copy ->
 * ping -> close.
 *
 * The object has a client and a thread of its own that keeps the cursor alive while the caller
 * copies files. It must not know what becomes of the files. A cursor outlives its connection and
 * its client: after kill -9 the caller finds its own again by the session id it noted.
 */
#ifndef HF_MONGO_BACKUP_CURSOR_H
#define HF_MONGO_BACKUP_CURSOR_H

#include "base/log.h"
#include "base/thread.h"
#include "mongo/client.h"

struct hf_mongo_backup;

struct hf_mongo_backup_options {
    const struct hf_mongo_options *client; /* the member; borrowed for prepare */
    struct hf_log *log;                    /* borrowed: outlives the object; may be NULL */
    uint32_t tries;       /* of opening, when a checkpoint or the oplog is in the way; default 10 */
    uint32_t patience_ms; /* for another's open cursor or lock; default 120,000 */
    uint64_t cursor_timeout_ms; /* the server's cursorTimeoutMillis (facts); 0 not known */
    uint32_t file_limit;        /* default 10,000,000 */
};

struct hf_mongo_backup_metadata {
    uint8_t backup_id[16];
    char *dbpath; /* owned by the cursor object */
    struct hf_mongo_optime oplog_start, oplog_end;
    struct hf_mongo_ts checkpoint;
    /* Absent on 4.4 without names: has_incremental false. */
    bool has_incremental, incremental, disable_incremental;
    uint32_t block_size_mb;
    char this_backup_name[HF_MONGO_NAME_BYTES], src_backup_name[HF_MONGO_NAME_BYTES];
};

struct hf_mongo_backup_file {
    char *path; /* owned by the cursor object; below dbpath, relative, hf_path_is_safe_relative
                   holds */
    uint64_t size_bytes; /* copy at most this much */
    bool has_range;      /* a changed range of an incremental cursor */
    uint64_t offset, length;
};

/* Connects and starts the session; nothing is open yet on the server. */
HF_MUST_CHECK enum hf_err hf_mongo_backup_prepare(const struct hf_mongo_backup_options *options,
                                                  struct hf_mongo_backup **out,
                                                  struct hf_error *err);
/* To be noted durably before open. Lives as long as the object. */
const char *hf_mongo_backup_lsid(const struct hf_mongo_backup *backup);
/*
 * Opens the cursor, reads all of its documents, starts keeping it alive. UNAVAILABLE when the
 * server was always at a checkpoint, BUSY when somebody else's cursor or lock stayed (the message
 * says whose if rights allow), CANCELLED. On failure no cursor of ours is left open, as far as the
 * server can be reached.
 */
HF_MUST_CHECK enum hf_err hf_mongo_backup_open(struct hf_mongo_backup *backup,
                                               const struct hf_cancel *cancel,
                                               struct hf_error *err);
/* From a successful open until destroy. */
const struct hf_mongo_backup_metadata *
hf_mongo_backup_metadata(const struct hf_mongo_backup *backup);
const struct hf_mongo_backup_file *hf_mongo_backup_files(const struct hf_mongo_backup *backup,
                                                         size_t *count);

/* What the keep-alive thread knows, without asking: OK, or LOST with its error. Any thread, cheap:
 * poll it. */
HF_MUST_CHECK enum hf_err hf_mongo_backup_alive(struct hf_mongo_backup *backup,
                                                struct hf_error *err);
/* Asks the server now (getMore): once more after the last byte was read. LOST: all that was copied
 * is worthless. Any thread. */
HF_MUST_CHECK enum hf_err hf_mongo_backup_ping(struct hf_mongo_backup *backup,
                                               struct hf_error *err);

struct hf_mongo_backup_names {
    char **paths; /* owned; relative to dbpath */
    size_t count;
};
void hf_mongo_backup_names_fini(struct hf_mongo_backup_names *names);
HF_CLEANUP_DEFINE_VALUE(hf_mongo_backup_names_fini, struct hf_mongo_backup_names)
/*
 * All journal files, to be copied (again) whole. CONFLICT unless ts is majority committed on this
 * node already: the server dies when its wait for it is interrupted (observed 2), so it never has
 * to wait. See hf_mongo_wait_majority.
 */
HF_MUST_CHECK enum hf_err hf_mongo_backup_extend(struct hf_mongo_backup *backup,
                                                 struct hf_mongo_ts ts,
                                                 struct hf_mongo_backup_names *out,
                                                 struct hf_error *err);

/*
 * Stops the thread, closes the cursor, checks that the server says so. OK or LOST (it was gone before): nothing is
 * open any more, and a further call is OK. Anything else, most likely UNAVAILABLE: it may be open still, also after
 * an open that failed; call again, or let the noted session id find it later.
 */
HF_MUST_CHECK enum hf_err hf_mongo_backup_close(struct hf_mongo_backup *backup,
                                                struct hf_error *err);
/* Closes if still open (a failure is logged), frees. NULL does nothing. */
void hf_mongo_backup_destroy(struct hf_mongo_backup *backup);
HF_CLEANUP_DEFINE(hf_mongo_backup_destroy, struct hf_mongo_backup *)

/*
 * Closes the backup cursor of the session lsid (32 hexadecimal digits) if there is one: ours from
 * before a crash, never anybody else's. *found tells whether there was one.
 */
HF_MUST_CHECK enum hf_err hf_mongo_backup_close_leftover(struct hf_mongo_client *client,
                                                         const char *lsid, bool *found,
                                                         struct hf_error *err);

/* How often the thread asks, from cursorTimeoutMillis: a tenth of it, at most 30 s, at least 0.2 s;
 * 5 s for 0. */
uint64_t hf_mongo_keep_alive_ms(uint64_t cursor_timeout_ms);

#endif
