/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading replies: typed look-ups that believe nothing, shared by the files of this room. Everything here is pure, so
 * that recorded replies and a fuzzer can be fed to it.
 */
#ifndef HF_MONGO_REPLY_INTERNAL_H
#define HF_MONGO_REPLY_INTERNAL_H

#include <bson/bson.h>

#include "base/error.h"
#include "mongo/types.h"

HF_CLEANUP_DEFINE_VALUE(bson_destroy, bson_t)
#define HF_BSON_CLEANUP HF_CLEANUP(bson_destroy)

/* Dotted path ("storageEngine.name") to a value; false when missing. Array steps are decimal. */
bool hf_mongo_get(const bson_t *doc, const char *path, bson_iter_t *out);

/* Each gives fallback, or NULL, when the field is missing or of another type. */
/* int32, int64, or a double that is a whole number within int64_t. */
int64_t hf_mongo_get_int(const bson_t *doc, const char *path, int64_t fallback);
/* int32, int64, double. */
double hf_mongo_get_real(const bson_t *doc, const char *path, double fallback);
/* bool, or a number other than 0. */
bool hf_mongo_get_bool(const bson_t *doc, const char *path, bool fallback);
/* Borrowed from doc; valid UTF-8 without NUL. */
const char *hf_mongo_get_text(const bson_t *doc, const char *path);
/* {0, 0} when missing. */
struct hf_mongo_ts hf_mongo_get_ts(const bson_t *doc, const char *path);
/* {ts, t}; also a bare Timestamp, as very old servers have it. Term -1 when missing. */
struct hf_mongo_optime hf_mongo_get_optime(const bson_t *doc, const char *path);
/* A sub-document or an array; *out borrows from doc and needs no destroy. */
bool hf_mongo_get_doc(const bson_t *doc, const char *path, bson_t *out);
/* The value of an iterator that stands on a document or an array. */
bool hf_mongo_iter_doc(const bson_iter_t *iter, bson_t *out);
/* A UUID: 16 bytes, binary subtype 4. */
bool hf_mongo_get_uuid(const bson_t *doc, const char *path, uint8_t out[16]);

/* Copies text that has to fit; LIMIT names the field. A NULL text gives "". */
HF_MUST_CHECK enum hf_err hf_mongo_copy_text(char *out, size_t out_len, const char *text,
                                             const char *field, struct hf_error *err);

/*
 * Turns a reply that says "no" into an error: ok other than 1, writeErrors, writeConcernError. what names the
 * command, host the server; both go into the message.
 */
HF_MUST_CHECK enum hf_err hf_mongo_reply_check(const char *host, const char *what,
                                               const bson_t *reply, struct hf_error *err);
/* The code of a refusing reply, 0 when it has none or is none. */
int64_t hf_mongo_reply_code(const bson_t *reply);
/* What to call the command in messages: its name, or "$backupCursor" for an aggregate that begins with it. */
const char *hf_mongo_command_name(const bson_t *command);

#endif
