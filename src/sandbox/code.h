/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals as a MongoDB client sees them: a number, its name, a message. Every function of the
 * query language and every command answers with one; 0 is success.
 */
#ifndef HF_SANDBOX_CODE_H
#define HF_SANDBOX_CODE_H

#include <stdint.h>

#include "base/compiler.h"

#define HF_SANDBOX_CODE_TABLE(X)                                                                   \
    X(INTERNAL_ERROR, 1, "InternalError")                                                          \
    X(BAD_VALUE, 2, "BadValue")                                                                    \
    X(NO_SUCH_KEY, 4, "NoSuchKey")                                                                 \
    X(UNKNOWN_ERROR, 8, "UnknownError")                                                            \
    X(FAILED_TO_PARSE, 9, "FailedToParse")                                                         \
    X(UNAUTHORIZED, 13, "Unauthorized")                                                            \
    X(TYPE_MISMATCH, 14, "TypeMismatch")                                                           \
    X(AUTHENTICATION_FAILED, 18, "AuthenticationFailed")                                           \
    X(ILLEGAL_OPERATION, 20, "IllegalOperation")                                                   \
    X(NAMESPACE_NOT_FOUND, 26, "NamespaceNotFound")                                                \
    X(INDEX_NOT_FOUND, 27, "IndexNotFound")                                                        \
    X(PATH_NOT_VIABLE, 28, "PathNotViable")                                                        \
    X(CURSOR_NOT_FOUND, 43, "CursorNotFound")                                                      \
    X(MAX_TIME_MS_EXPIRED, 50, "MaxTimeMSExpired")                                                 \
    X(CONFLICTING_UPDATE_OPERATORS, 40, "ConflictingUpdateOperators")                              \
    X(NAMESPACE_EXISTS, 48, "NamespaceExists")                                                     \
    X(DOLLAR_PREFIXED_FIELD_NAME, 52, "DollarPrefixedFieldName")                                   \
    X(COMMAND_NOT_FOUND, 59, "CommandNotFound")                                                    \
    X(WRITE_CONCERN_FAILED, 64, "WriteConcernFailed")                                              \
    X(IMMUTABLE_FIELD, 66, "ImmutableField")                                                       \
    X(CANNOT_CREATE_INDEX, 67, "CannotCreateIndex")                                                \
    X(INVALID_OPTIONS, 72, "InvalidOptions")                                                       \
    X(INVALID_NAMESPACE, 73, "InvalidNamespace")                                                   \
    X(NO_REPLICATION_ENABLED, 76, "NoReplicationEnabled")                                          \
    X(UNSATISFIABLE_WRITE_CONCERN, 100, "UnsatisfiableWriteConcern")                               \
    X(NOT_YET_INITIALIZED, 94, "NotYetInitialized")                                                \
    X(WRITE_CONFLICT, 112, "WriteConflict")                                                        \
    X(CONFLICTING_OPERATION_IN_PROGRESS, 117, "ConflictingOperationInProgress")                    \
    X(INCOMPLETE_TRANSACTION_HISTORY, 217, "IncompleteTransactionHistory")                         \
    X(TRANSACTION_TOO_OLD, 225, "TransactionTooOld")                                               \
    X(NOT_IMPLEMENTED, 238, "NotImplemented")                                                      \
    X(NO_SUCH_TRANSACTION, 251, "NoSuchTransaction")                                               \
    X(TRANSACTION_COMMITTED, 256, "TransactionCommitted")                                          \
    X(OPERATION_NOT_SUPPORTED_IN_TRANSACTION, 263, "OperationNotSupportedInTransaction")           \
    X(PREPARED_TRANSACTION_IN_PROGRESS, 267, "PreparedTransactionInProgress")                      \
    X(NOT_WRITABLE_PRIMARY, 10107, "NotWritablePrimary")                                           \
    X(BSON_OBJECT_TOO_LARGE, 10334, "BSONObjectTooLarge")                                          \
    X(DUPLICATE_KEY, 11000, "DuplicateKey")                                                        \
    X(INTERRUPTED_AT_SHUTDOWN, 11600, "InterruptedAtShutdown")                                     \
    X(INTERRUPTED, 11601, "Interrupted")                                                           \
    X(NOT_PRIMARY_NO_SECONDARY_OK, 13435, "NotPrimaryNoSecondaryOk")                               \
    X(NOT_PRIMARY_OR_SECONDARY, 13436, "NotPrimaryOrSecondary")

enum hf_sandbox_code {
#define HF_SANDBOX_CODE_ENUM(name, number, text) HF_SANDBOX_##name = (number),
    HF_SANDBOX_CODE_TABLE(HF_SANDBOX_CODE_ENUM)
#undef HF_SANDBOX_CODE_ENUM
};

#define HF_SANDBOX_MESSAGE_BYTES 4096

/* Filled by whoever refuses; the caller provides it. */
struct hf_sandbox_refusal {
    int32_t code;
    char message[HF_SANDBOX_MESSAGE_BYTES];
};

/* Fills the refusal and returns code. */
int32_t hf_sandbox_refuse(struct hf_sandbox_refusal *out, int32_t code, const char *format, ...)
    HF_PRINTF(3, 4);
/* "BadValue"; "Location50886" for numbers without a name, written into out. */
#define HF_SANDBOX_CODE_NAME_BYTES 48
const char *hf_sandbox_code_name(int32_t code, char out[HF_SANDBOX_CODE_NAME_BYTES]);

#endif
