/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few facts of an oplog entry that capturing, searching and planning need, read straight from its bytes
 * (mongodb-observed.md 5). All else in an entry stays opaque; the entry itself is never changed.
 */
#ifndef HF_OPLOG_ENTRY_H
#define HF_OPLOG_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "format/ids.h"
#include "format/slice.h"
#include "oplog/bson.h"

/* applyOps inside applyOps is looked into this deep, counted from the entry's own. */
#define HF_OPLOG_DEPTH_MAX 2
/* Room for a database's and a collection's name; longer ones are not named. */
#define HF_OPLOG_SPACE_BYTES 256

struct hf_oplog_entry {
    struct hf_bytes bytes;   /* borrowed: the whole entry, as are all parts below */
    struct hf_optime optime; /* of an inner operation: the entry's around it */
    enum hf_oplog_kind kind;
    struct hf_str op;          /* as it stands there: "i", "u", "d", "c", "n" or another */
    struct hf_str ns;          /* as it stands there: "shop.$cmd" for commands; may be empty */
    struct hf_bytes ui;        /* 16 bytes, or empty */
    int64_t wall_ms;           /* 0: not there */
    struct hf_bytes o, o2;     /* documents; o2 may be empty */
    struct hf_str command;     /* of a command: its name, the first field of o */
    struct hf_bson_element id; /* _id of the document concerned; key.data NULL: none */
    struct hf_bytes apply_ops; /* the array of an applyOps, or empty */
    bool partial_txn, prepare; /* marks of an applyOps */
    bool commit, abort;        /* commitTransaction, abortTransaction */
    uint32_t commit_seconds, commit_increment;
    struct hf_bytes lsid;      /* document, or empty */
    int64_t txn_number;        /* -1: none */
    bool has_previous;         /* prevOpTime is there */
    struct hf_optime previous; /* prevOpTime: of the same session; seconds and increment 0: none */
    bool fcv;                  /* writes the document of the feature compatibility version */
    unsigned depth;            /* 0: the entry itself */
};

/* CORRUPT, naming the field, when the bytes are no oplog entry. An unknown op, command or field is none of our business. */
HF_MUST_CHECK enum hf_err hf_oplog_entry_read(struct hf_bytes bytes, struct hf_oplog_entry *out,
                                              struct hf_error *err);

/* Of an entry with fcv: the version that it leaves, "" while it is being changed, or where the entry does not say. */
struct hf_oplog_fcv {
    char text[HF_WORD_BYTES];
};
struct hf_oplog_fcv hf_oplog_fcv(const struct hf_oplog_entry *entry);

/* How many namespaces the operation is about: 0 for applyOps, 2 for a rename, else 1. */
unsigned hf_oplog_space_count(const struct hf_oplog_entry *entry);
/*
 * The i-th: the namespace of an insert, update, delete or no-op; of a command the collection it is about, or its
 * database. Borrowed from the entry or from room. False when it has no name of at most 255 bytes.
 */
HF_MUST_CHECK bool hf_oplog_space(const struct hf_oplog_entry *entry, unsigned i,
                                  char room[HF_OPLOG_SPACE_BYTES], struct hf_str *out);

/* The operations inside an applyOps, in order; those of an inner applyOps come in its place, to HF_OPLOG_DEPTH_MAX. */
struct hf_oplog_inner {
    const struct hf_oplog_entry *entry; /* borrowed */
    struct hf_bson_walk walks[HF_OPLOG_DEPTH_MAX];
    unsigned depth; /* of walks in use; 0: at the end */
};
/* An entry that is no applyOps has none. */
void hf_oplog_inner_begin(const struct hf_oplog_entry *entry, struct hf_oplog_inner *inner);
/* *more is false at the end. CORRUPT: what follows cannot be read. */
HF_MUST_CHECK enum hf_err hf_oplog_inner_next(struct hf_oplog_inner *inner,
                                              struct hf_oplog_entry *out, bool *more,
                                              struct hf_error *err);

#endif
