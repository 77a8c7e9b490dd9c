/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "sqlite", shared by its files: sqlite.c (open, pool, errors), sqlite_schema.c (the file's
 * tables), sqlite_write.c (the writer thread), sqlite_read.c (queries).
 *
 * Kinds and index fields have numbers in the file, which never change: documents and entries refer
 * to these.
 *   names      number <-> kind and field; the empty field stands for the kind itself
 *   documents  kind, id -> revision, json
 *   entries    the indexes: field, value, id -> document, in the order of queries
 *   tallies    how many documents a kind, a field, and each text of a field has, so that counting 10^6 costs a lookup
 */
#ifndef HF_CATALOG_SQLITE_INTERNAL_H
#define HF_CATALOG_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "base/thread.h"
#include "catalog/driver.h"

#define HF_CATALOG_READERS_KEPT 8

/* Statements of a reading connection, prepared when first used. */
enum hf_catalog_read {
    HF_CATALOG_READ_GET,
    HF_CATALOG_READ_NUMBER,
    HF_CATALOG_READ_IDS,
    HF_CATALOG_READ_IDS_DESCENDING,
    HF_CATALOG_READ_ALL,
    HF_CATALOG_READ_ALL_DESCENDING,
    HF_CATALOG_READ_EQUAL,
    HF_CATALOG_READ_EQUAL_DESCENDING,
    HF_CATALOG_READ_RANGE,
    HF_CATALOG_READ_RANGE_DESCENDING,
    HF_CATALOG_READ_TOTAL,
    HF_CATALOG_READ_TALLY,
    HF_CATALOG_READ_RANGE_COUNT,
    HF_CATALOG_READ_COUNT,
};

struct hf_catalog_reader {
    sqlite3 *db;
    sqlite3_stmt *statements[HF_CATALOG_READ_COUNT];
};

/* Numbers of a declared kind and its index fields, by their places in the declaration. */
struct hf_catalog_numbers {
    int64_t kind;
    int64_t fields[HF_CATALOG_INDEX_MAX];
};

struct hf_catalog_writer;  /* sqlite_write.c */
struct hf_catalog_request; /* sqlite_write.c: a write that waits, in its caller's frame */

struct hf_catalog_sqlite {
    struct hf_catalog base;
    char *path;                         /* owned; absolute */
    struct hf_catalog_numbers *numbers; /* owned; as base.kinds */
    struct hf_catalog_writer *writer;   /* owned; the writer thread's alone while it runs */
    struct hf_thread *thread;
    struct hf_mutex mutex;            /* guards: all below */
    struct hf_cond work;              /* something was queued, or closing */
    struct hf_catalog_request *first; /* borrowed: the callers wait */
    struct hf_catalog_request *last;
    bool closing;
    struct hf_catalog_reader *idle[HF_CATALOG_READERS_KEPT]; /* owned */
    size_t idle_count;
};

/* ---- sqlite.c ---- */

/* Sets *err from a result of SQLite: "what: <SQLite's message>". */
enum hf_err hf_catalog_sqlite_fail(sqlite3 *db, int result, const char *what, struct hf_error *err);
/* Statements without rows or parameters. */
HF_MUST_CHECK enum hf_err hf_catalog_sqlite_exec(sqlite3 *db, const char *sql,
                                                 struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_catalog_sqlite_prepare(sqlite3 *db, const char *sql,
                                                    sqlite3_stmt **out, struct hf_error *err);
/* *row: there is one. The statement must be reset afterwards, also on failure. */
HF_MUST_CHECK enum hf_err hf_catalog_sqlite_step(sqlite3_stmt *statement, bool *row,
                                                 struct hf_error *err);
void hf_catalog_sqlite_reset(sqlite3_stmt *statement);
void hf_catalog_sqlite_bind_text(sqlite3_stmt *statement, int at, const char *text);
struct hf_str hf_catalog_sqlite_text(sqlite3_stmt *statement, int column);

/* ---- sqlite_schema.c ---- */

/* Makes the tables in a new file, refuses what is not ours or newer, gives all declared kinds and
 * fields numbers and builds indexes that are new. */
HF_MUST_CHECK enum hf_err hf_catalog_sqlite_schema(sqlite3 *db,
                                                   const struct hf_catalog_options *options,
                                                   struct hf_catalog_numbers *numbers,
                                                   struct hf_error *err);

/* ---- sqlite_write.c ---- */

/* Takes db over, also on failure. */
HF_MUST_CHECK enum hf_err hf_catalog_sqlite_start(struct hf_catalog_sqlite *catalog, sqlite3 *db,
                                                  struct hf_error *err);
/* Waits for the writer thread; nothing may be queued any more. */
void hf_catalog_sqlite_stop(struct hf_catalog_sqlite *catalog);
enum hf_err hf_catalog_sqlite_insert(struct hf_catalog *catalog,
                                     const struct hf_catalog_write *write, struct hf_error *err);
enum hf_err hf_catalog_sqlite_replace(struct hf_catalog *catalog,
                                      const struct hf_catalog_write *write, struct hf_error *err);
enum hf_err hf_catalog_sqlite_remove(struct hf_catalog *catalog,
                                     const struct hf_catalog_write *write, struct hf_error *err);

/* ---- sqlite_read.c ---- */

void hf_catalog_reader_free(struct hf_catalog_reader *reader);
/* Another connection to the file, set up. */
HF_MUST_CHECK enum hf_err hf_catalog_sqlite_connect(const char *path, sqlite3 **out,
                                                    struct hf_error *err);
enum hf_err hf_catalog_sqlite_get(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                                  const char *id, struct hf_catalog_document *out,
                                  struct hf_error *err);
enum hf_err hf_catalog_sqlite_find(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                                   const struct hf_catalog_query *query,
                                   struct hf_catalog_list *out, struct hf_error *err);
enum hf_err hf_catalog_sqlite_count(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                                    const struct hf_catalog_query *query, uint64_t *count,
                                    struct hf_error *err);

#endif
