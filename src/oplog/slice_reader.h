/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the entries of one slice at a time out of a store, with the memory of one block and one entry. What is handed
 * out was proved: decrypted, its running hash recomputed and compared, its optimes in order.
 */
#ifndef HF_OPLOG_SLICE_READER_H
#define HF_OPLOG_SLICE_READER_H

#include <stdbool.h>

#include "base/error.h"
#include "format/slice.h"
#include "oplog/entry.h"
#include "store/store.h"

/* Header of a slice by name. keyring NULL: its HMAC is not checked. CORRUPT, NOT_FOUND and so on name the object. */
HF_MUST_CHECK enum hf_err hf_slice_fetch_header(struct hf_store *store,
                                                const struct hf_object_name *name,
                                                const struct hf_keyring *keyring,
                                                struct hf_slice_header *out, struct hf_error *err);

/* One thread at a time. */
struct hf_slice_reader;
/* Both are borrowed and outlive the reader. */
HF_MUST_CHECK enum hf_err hf_slice_reader_create(struct hf_store *store,
                                                 const struct hf_keyring *keyring,
                                                 struct hf_slice_reader **out,
                                                 struct hf_error *err);
void hf_slice_reader_destroy(struct hf_slice_reader *reader);
HF_CLEANUP_DEFINE(hf_slice_reader_destroy, struct hf_slice_reader *)

/* Stands before the slice's first entry. The slice that is open already is not fetched again. */
HF_MUST_CHECK enum hf_err hf_slice_reader_open(struct hf_slice_reader *reader,
                                               const struct hf_object_name *name,
                                               struct hf_error *err);
/* The same, but fetched anew in any case, and its head looked at: for a check. */
HF_MUST_CHECK enum hf_err hf_slice_reader_open_anew(struct hf_slice_reader *reader,
                                                    const struct hf_object_name *name,
                                                    struct hf_error *err);
/* Of the open slice; borrowed until the next open. */
const struct hf_slice_header *hf_slice_reader_header(const struct hf_slice_reader *reader);
HF_MUST_CHECK enum hf_err hf_slice_reader_index(struct hf_slice_reader *reader,
                                                struct hf_slice_index *out, struct hf_error *err);
/* Stands before the first entry whose timestamp is greater; blocks before it are not read. */
HF_MUST_CHECK enum hf_err hf_slice_reader_seek(struct hf_slice_reader *reader,
                                               const struct hf_optime *after, struct hf_error *err);
/* *more is false at the slice's end. The entry is borrowed until the next call. */
HF_MUST_CHECK enum hf_err hf_slice_reader_next(struct hf_slice_reader *reader,
                                               struct hf_oplog_entry *out, bool *more,
                                               struct hf_error *err);
/* Running hash after the entry that was handed out last (before the next one, after open and seek). */
void hf_slice_reader_hash(struct hf_slice_reader *reader, struct hf_hash *out);

#endif
