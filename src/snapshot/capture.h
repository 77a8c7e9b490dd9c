/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source's side of a capture (store-format.md section 4): files become blocks, packs and a
 * tree.
 *
 * A bounded, parallel pipeline: memory does not grow with the data, one large file keeps every
 * worker busy, a byte is read once and hashed once. Writes packs and nothing else: claims and
 * manifests are the server's (commit.h).
 */
#ifndef HF_SNAPSHOT_CAPTURE_H
#define HF_SNAPSHOT_CAPTURE_H

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

#define HF_LISTED_UNKNOWN UINT64_MAX

struct hf_capture_file {
    char *path;            /* owned by the list; relative to the root directory, safe */
    uint64_t listed_bytes; /* fileSize of the cursor: that much counts; HF_LISTED_UNKNOWN: the size
                              on disk */
    bool has_line;         /* the engine's line names a checkpoint (hf_capture_read_lines) */
    struct hf_hash line_hash;
    bool always_read;
    bool optional; /* known to no cursor (storage.bson): left out when it is not there */
};

struct hf_capture_files {
    struct hf_capture_file *items; /* owned */
    size_t count;
    size_t capacity;
};
void hf_capture_files_fini(struct hf_capture_files *files);
HF_CLEANUP_DEFINE_VALUE(hf_capture_files_fini, struct hf_capture_files)
/* Copies path. INVALID when it is not a safe relative path; LIMIT beyond HF_SNAPSHOT_FILES_MAX. */
HF_MUST_CHECK enum hf_err hf_capture_files_add(struct hf_capture_files *files, const char *path,
                                               uint64_t listed_bytes,
                                               struct hf_capture_file **added,
                                               struct hf_error *err);
/*
 * Reads the engine's lines out of root/WiredTiger.backup (streamed: it grows by 2 KB a file) and
 * notes them with the files they speak of. A line without a checkpoint proves nothing and is left
 * out. A missing file: nothing is noted.
 */
HF_MUST_CHECK enum hf_err hf_capture_read_lines(struct hf_capture_files *files, const char *root,
                                                const struct hf_keyring *keyring,
                                                struct hf_error *err);

struct hf_capture_parent {
    uint64_t capture;                /* 0: none */
    const struct hf_tree_root *root; /* borrowed */
};

struct hf_capture_options {
    struct hf_store *store;           /* borrowed; takes the packs, gives the parent's nodes */
    const struct hf_keyring *keyring; /* borrowed */
    uint64_t capture;
    struct hf_id writer;
    const char *root;                     /* directory of the source */
    const struct hf_capture_files *files; /* in any order, no path twice */
    struct hf_capture_parent parent;
    const struct hf_adopted
        *adopted; /* attempts whose claims stand: packs named in the journal of one are reused */
    size_t adopted_count;
    /*
     * The journal of finished nodes: read first, where it was written by an adopted attempt, then
     * written anew. NULL: no journal. Its loss costs work, never truth.
     */
    const char *journal_path;
    const char *cache_dir; /* for the parent's nodes; NULL: none */
    unsigned workers;      /* 0: one a core */
    unsigned nice; /* the workers stand back for the source: 1 hardly, 19 most, 0 not at all */
    int level;     /* zstd; 0: 1 */
    uint64_t rate_bytes_s; /* of reading; 0: no limit */
    uint32_t block_bytes;  /* of new files; 0: by their size */
    bool read_all;
    /*
     * A verification found damage: every file is read, and a block or node of the parent is taken over only when the
     * store (no kept copy) shows it whole. The others are stored anew, and the check before the manifest puts them again
     * under their old addresses (commit.h).
     */
    bool prove_parent;
    size_t pack_bytes;              /* 0: 16 MiB; smaller for tests */
    struct hf_progress *progress;   /* may be NULL */
    const struct hf_cancel *cancel; /* may be NULL */
    struct hf_log *log;             /* may be NULL */
    /*
     * Called on the caller's thread when all files were read: may add files that the source has
     * named since
     * ($backupCursorExtend). They are read now; one that was read before counts as of now. NULL:
     * nothing follows.
     */
    enum hf_err (*more)(void *context, struct hf_capture_files *add, struct hf_error *err);
    void *context;
};

struct hf_capture_result {
    struct hf_tree_root root;                  /* owned */
    struct hf_adopted adopted[HF_ADOPTED_MAX]; /* attempts whose blocks the tree uses */
    size_t adopted_count;
    uint64_t
        damaged_parent_nodes; /* missing or damaged, and blocks with prove_parent: stored anew */
    uint64_t packs;
};
void hf_capture_result_fini(struct hf_capture_result *result);
HF_CLEANUP_DEFINE_VALUE(hf_capture_result_fini, struct hf_capture_result)

/*
 * On success everything that the root reaches is durable in the store (keeps I3). Else *out is
 * untouched; what was put stays as garbage of this writer, to be adopted or groomed. NOT_FOUND  a
 * listed file is gone        CONFLICT  a file is shorter than listed, or shrank while it was read
 *   CANCELLED, NO_SPACE, UNAVAILABLE, …     as the store or the system said, with file and object
 * named
 */
HF_MUST_CHECK enum hf_err hf_capture_run(const struct hf_capture_options *options,
                                         struct hf_capture_result *out, struct hf_error *err);

#endif
