/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pure halves of the backup cursor: what its replies mean. For this room and its tests.
 */
#ifndef HF_MONGO_BACKUP_INTERNAL_H
#define HF_MONGO_BACKUP_INTERNAL_H

#include "mongo/backup_cursor.h"
#include "mongo/client_internal.h"
#include "mongo/reply_internal.h"

/* What the documents of the cursor have told so far. */
struct hf_mongo_listing {
    bool has_metadata;
    struct hf_mongo_backup_metadata metadata;
    struct hf_mongo_backup_file *files; /* owned */
    size_t count, capacity, limit;
};

void hf_mongo_listing_fini(struct hf_mongo_listing *listing);
HF_CLEANUP_DEFINE_VALUE(hf_mongo_listing_fini, struct hf_mongo_listing)
/* One document: the metadata comes first, then the files. */
HF_MUST_CHECK enum hf_err hf_mongo_listing_add(struct hf_mongo_listing *listing,
                                               const bson_t *document, struct hf_error *err);
/* One reply's batch; *added is how many documents it had. */
HF_MUST_CHECK enum hf_err hf_mongo_listing_add_reply(struct hf_mongo_listing *listing,
                                                     const bson_t *reply, size_t *added,
                                                     struct hf_error *err);
/* After the last: sorted by path; a file named twice is CORRUPT, no metadata too. */
HF_MUST_CHECK enum hf_err hf_mongo_listing_finish(struct hf_mongo_listing *listing,
                                                  struct hf_error *err);

/* The part of an absolute file name below dbpath; refused (CORRUPT) unless it is below it and safe. Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_mongo_relative_path(const char *dbpath, const char *filename,
                                                 char **out, struct hf_error *err);

/* One document of $backupCursorExtend. */
HF_MUST_CHECK enum hf_err hf_mongo_names_add(struct hf_mongo_backup_names *names,
                                             const char *dbpath, const bson_t *document,
                                             struct hf_error *err);

/* The reply of killCursors: OK when id was killed, LOST when it was not there. */
HF_MUST_CHECK enum hf_err hf_mongo_parse_killed(const bson_t *reply, int64_t id,
                                                struct hf_error *err);

/* A document of $currentOp that belongs to a backup cursor. */
struct hf_mongo_cursor_seen {
    bool running;      /* a command on it runs just now, so that it has no cursor document */
    int64_t cursor_id; /* 0 while running */
    bool has_lsid;
    uint8_t lsid[16];
    int64_t created_ms, used_ms; /* 0: not told */
    char user[HF_MONGO_NAME_BYTES], client[HF_MONGO_NAME_BYTES];
};
/* False for a document of anything else. */
bool hf_mongo_parse_current_op(const bson_t *document, struct hf_mongo_cursor_seen *out);

/* The backup cursor that is open on this server, whosever; *found. allUsers first, own ones where that is refused. */
HF_MUST_CHECK enum hf_err hf_mongo_find_backup_cursor(struct hf_mongo_client *client,
                                                      const uint8_t *only_lsid,
                                                      struct hf_mongo_cursor_seen *out, bool *found,
                                                      struct hf_error *err);
/* "session 7b3a…, user admin.backup, open since 2026-11-25T03:31:17Z, last used …". */
void hf_mongo_describe_cursor(const struct hf_mongo_cursor_seen *seen, char *out, size_t out_len);

HF_MUST_CHECK enum hf_err hf_mongo_kill_cursor(struct hf_mongo_client *client,
                                               const struct hf_mongo_session *session, int64_t id,
                                               struct hf_error *err);

#endif
