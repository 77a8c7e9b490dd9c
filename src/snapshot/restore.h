/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a snapshot's tree back to files: into an empty directory, onto files that differ a little, or as a tar stream
 * (store-format.md section 3).
 *
 * Every block is proved by its hash before a byte of it is written. Memory does not grow with the
 * data.
 */
#ifndef HF_SNAPSHOT_RESTORE_H
#define HF_SNAPSHOT_RESTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/thread.h"
#include "format/filelist.h"
#include "format/keyring.h"
#include "format/manifest.h"
#include "store/store.h"

#define HF_RESTORE_INFO_NAME "restoreInfo.txt"
#define HF_RESTORE_INFO_SNAPSHOT "Snapshot Id" /* key of the line with it */
/* Stands in the directory while the restore is not finished; a database must not be started on it.
 */
#define HF_RESTORE_MARK_NAME ".holdfast-restore-incomplete"

struct hf_restore_options {
    struct hf_store *store;
    const struct hf_keyring *keyring;
    const struct hf_tree_root *root;
    const char *directory; /* made when missing; EXISTS when anything lies in it (but see onto) */
    const char *restore_info; /* text of restoreInfo.txt; NULL: none is written */
    unsigned workers;         /* 0: one a core */
    uint64_t rate_bytes_s;    /* of writing; 0: no limit */
    struct hf_progress *progress;
    const struct hf_cancel *cancel;
    struct hf_log *log;
    bool onto; /* the directory holds an earlier restore, or a database's files: only what
                           differs is written */
    /* onto: another directory, in use or not, whose blocks are taken where they are the snapshot's, by place and hash, before
     * any is fetched. The directory may be empty or missing then. NULL: none. */
    const char *like;
    bool leave_foreign; /* onto: what is not a database's stays; else its name is refused */
};
struct hf_restore_result {
    uint64_t files, bytes;
    uint64_t read_bytes; /* from the store */
    uint64_t written_bytes;
    /* onto: of the files that lay there */
    uint64_t compared_bytes, equal_bytes, removed_files;
    uint64_t reused_bytes; /* equal, or taken from `like`; without zeros, which are nowhere */
};
/*
 * Reads in address order, joins near ranges, writes in place, leaves holes, syncs files and
 * directories. On failure what it wrote is removed again; after a death the mark stays.
 *
 * Onto files: CONFLICT or NOT_FOUND, with nothing changed, when the directory is in use, holds no database, or holds
 * what is in the way. Once writing began, a failure as well as a death leaves a mixture with the mark; the next restore
 * onto it goes on. What the snapshot does not have is removed at the end, as far as it is a database's.
 */
HF_MUST_CHECK enum hf_err hf_restore_run(const struct hf_restore_options *options,
                                         struct hf_restore_result *out, struct hf_error *err);

struct hf_restore_tar_options {
    struct hf_store *store;
    const struct hf_keyring *keyring;
    const struct hf_tree_root *root;
    const char *top;          /* the one top directory of the archive, a single safe component */
    const char *restore_info; /* NULL: none */
    uint64_t mtime_s;         /* of everything in the archive */
    /* Only these bytes of the archive, to excluded; to 0: until its end. What lies before is not read. */
    uint64_t from_bytes, to_bytes;
    unsigned workers; /* 0: one a core */
    struct hf_progress *progress;
    const struct hf_cancel *cancel;
    /* Takes the next bytes of the archive; called on the caller's thread, in order. */
    enum hf_err (*sink)(void *context, struct hf_bytes bytes, struct hf_error *err);
    void *context;
};
/* POSIX tar (pax headers where a name or size needs them), files in order of their paths, read
 * ahead in parallel. The same options give the same bytes, every time. INVALID when from_bytes lies behind the end. */
HF_MUST_CHECK enum hf_err hf_restore_tar(const struct hf_restore_tar_options *options,
                                         struct hf_restore_result *out, struct hf_error *err);
/* Bytes of that archive, known beforehand: for Content-Length. */
HF_MUST_CHECK enum hf_err hf_restore_tar_size(const struct hf_restore_tar_options *options,
                                              uint64_t *out, struct hf_error *err);

/* The text of restoreInfo.txt (restore.md 7.3) for a manifest; appended to out. */
HF_MUST_CHECK enum hf_err hf_restore_info_text(const struct hf_manifest *manifest,
                                               struct hf_buf *out, struct hf_error *err);

#endif
