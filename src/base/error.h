/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: few classes, each telling the caller what can be done, and a message that reads from the
 * outside in. The caller provides the struct (never NULL), nothing is allocated.
 */
#ifndef HF_BASE_ERROR_H
#define HF_BASE_ERROR_H

#include <stdbool.h>

#include "base/compiler.h"

/*        name             retry  http exit  what the caller may conclude */
#define HF_ERR_TABLE(X)                                                                            \
    X(OK, false, 200, 0, "success")                                                                \
    X(INTERNAL, false, 500, 1, "a fault of this program, or of something it did not foresee")      \
    X(INVALID, false, 400, 2, "the request or an option is wrong; nothing was changed")            \
    X(NOT_FOUND, false, 404, 3, "the named thing does not exist")                                  \
    X(EXISTS, false, 409, 4, "the name is taken by something else")                                \
    X(UNAVAILABLE, true, 503, 5, "the other side may answer later")                                \
    X(CONFLICT, false, 409, 6, "the thing's state, or another change, does not allow this now")    \
    X(DENIED, false, 403, 7, "the right is missing")                                               \
    X(CORRUPT, false, 500, 8, "stored or received bytes do not match their checksum or form")      \
    X(NO_SPACE, false, 507, 9, "the disk, quota or store is full")                                 \
    X(IO, false, 500, 10, "the system refused to read or write")                                   \
    X(NO_MEMORY, true, 503, 11, "memory ran out")                                                  \
    X(TIMEOUT, true, 504, 12, "it took longer than allowed; it may have happened or not")          \
    X(UNSUPPORTED, false, 501, 13, "a version, engine or feature this program does not handle")    \
    X(CANCELLED, false, 409, 14, "someone asked to stop it")                                       \
    X(BUSY, true, 429, 15, "too much at once; again after a while")                                \
    X(LIMIT, false, 413, 16, "larger than a limit allows")                                         \
    X(UNAUTHENTICATED, false, 401, 17, "who asks is not known")                                    \
    X(LOST, false, 409, 18, "a lease, claim, cursor or session was lost; the work starts again")

enum hf_err {
#define HF_ERR_ENUM(name, retry, http, exit, what) HF_ERR_##name,
    HF_ERR_TABLE(HF_ERR_ENUM)
#undef HF_ERR_ENUM
};

#define HF_ERROR_MESSAGE_BYTES 1024

struct hf_error {
    enum hf_err code;
    char message[HF_ERROR_MESSAGE_BYTES];
};

/* Sets *err and returns code. Lower case, no full stop; a remedy follows as "hint: ...". */
enum hf_err hf_fail(struct hf_error *err, enum hf_err code, const char *format, ...)
    HF_PRINTF(3, 4);

/* As hf_fail, the class chosen from errno (ENOENT NOT_FOUND, ENOSPC and EDQUOT NO_SPACE, EACCES and EPERM and
 * EROFS DENIED, EEXIST EXISTS, ENOMEM NO_MEMORY, EMFILE and ENFILE BUSY, with a hint, ECONN* and EPIPE UNAVAILABLE, else
 * IO), and ": <errno text>" appended. */
enum hf_err hf_fail_errno(struct hf_error *err, int errno_value, const char *format, ...)
    HF_PRINTF(3, 4);

/* Puts "frame: " in front of the message and returns its code; a frame that no longer fits is dropped. */
enum hf_err hf_wrap(struct hf_error *err, const char *format, ...) HF_PRINTF(2, 3);

/* Appends "; hint: text", unless a deeper frame gave one or it does not fit; returns the code. */
enum hf_err hf_hint(struct hf_error *err, const char *text);

void hf_error_clear(struct hf_error *err);

/* "NOT_FOUND"; the table's other columns. */
const char *hf_err_name(enum hf_err code);
const char *hf_err_meaning(enum hf_err code);
bool hf_err_retry(enum hf_err code);
int hf_err_http(enum hf_err code);
int hf_err_exit(enum hf_err code);
/* The class of that name; HF_ERR_INTERNAL for a name that is not in the table. */
enum hf_err hf_err_from_name(const char *name);

#endif
