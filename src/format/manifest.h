/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest of a part of a snapshot, which describes itself (store-format.md section 3), and the
 * void that stands in its place when an attempt was given up (section 5).
 */
#ifndef HF_FORMAT_MANIFEST_H
#define HF_FORMAT_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/json.h"
#include "format/filelist.h"
#include "format/ids.h"
#include "format/keyring.h"

#define HF_MANIFEST_MAX_BYTES ((size_t)16 << 20)
#define HF_NAME_BYTES 256 /* names of sets, members, projects; NUL included */
#define HF_WORD_BYTES 64  /* versions, engines */
#define HF_ADOPTED_MAX 16
#define HF_SETS_MAX 256

/* What the agent found out about the source. Unknown text is empty, unknown optimes are zero. */
struct hf_facts {
    char set_name[HF_NAME_BYTES];
    char member[HF_NAME_BYTES]; /* host:port */
    char fcv[HF_WORD_BYTES];
    char server_version[HF_WORD_BYTES];
    char server_modules[HF_WORD_BYTES]; /* edition, as buildInfo names it */
    char engine[HF_WORD_BYTES];
    char agent_release[HF_WORD_BYTES];
    char backup_id[HF_WORD_BYTES];   /* UUID text of the cursor */
    char backup_name[HF_NAME_BYTES]; /* thisBackupName; empty without incremental options */
    struct hf_json *engine_options;  /* owned; startup options that the data needs, or NULL */
    struct hf_optime checkpoint;     /* what the snapshot shows; term -1 */
    struct hf_optime oplog_start, oplog_end;
    struct hf_optime committed; /* up to this entry the copy's oplog is known to be committed */
    uint64_t started_s, finished_s;
};
void hf_facts_fini(struct hf_facts *facts);
HF_CLEANUP_DEFINE_VALUE(hf_facts_fini, struct hf_facts)
HF_MUST_CHECK enum hf_err hf_facts_copy(const struct hf_facts *facts, struct hf_facts *out,
                                        struct hf_error *err);
/* NULL on no memory. */
HF_MUST_CHECK struct hf_json *hf_facts_to_json(const struct hf_facts *facts);
HF_MUST_CHECK enum hf_err hf_facts_from_json(const struct hf_json *json, struct hf_facts *out,
                                             struct hf_error *err);

struct hf_adopted {
    uint64_t capture;
    struct hf_id writer;
};

/* One part of a sharded snapshot. */
struct hf_snapshot_set {
    char set_name[HF_NAME_BYTES];
    struct hf_id job;
    uint64_t capture;
};

struct hf_seal {
    uint8_t bytes[HF_HASH_BYTES];
};

struct hf_manifest {
    struct hf_id job;
    uint64_t capture;
    struct hf_id writer;
    struct hf_id snapshot;
    struct hf_id project;
    struct hf_id cluster;
    char project_name[HF_NAME_BYTES];
    char cluster_name[HF_NAME_BYTES];
    bool encrypted;
    bool sharded;
    struct hf_facts facts;
    struct hf_json *policy; /* owned: the job's policy as the server wrote it, or NULL */
    uint64_t created_s;     /* the snapshot's own time, for lists */
    uint64_t expires_s;     /* planned; 0: never */
    uint64_t parent;        /* capture number; 0: a full capture */
    struct hf_adopted adopted[HF_ADOPTED_MAX];
    size_t adopted_count;
    struct hf_snapshot_set *sets; /* owned: all sets of a sharded snapshot */
    size_t set_count;
    uint64_t predecessor; /* capture number of the newest manifest before this one; 0: none */
    struct hf_seal predecessor_seal;
    struct hf_tree_root root;
    struct hf_seal seal; /* filled by encode and decode */
};
void hf_manifest_fini(struct hf_manifest *manifest);
HF_CLEANUP_DEFINE_VALUE(hf_manifest_fini, struct hf_manifest)

/* Seals with the ring's seal key (it must be there), or with a checksum for a job without
 * encryption. */
HF_MUST_CHECK enum hf_err hf_manifest_encode(struct hf_manifest *manifest,
                                             const struct hf_keyring *keyring, struct hf_buf *out,
                                             struct hf_error *err);

enum hf_manifest_kind { HF_MANIFEST_SNAPSHOT, HF_MANIFEST_VOID };
enum hf_seal_state {
    HF_SEAL_PROVED,    /* by the seal key, or a checksum where there is none */
    HF_SEAL_UNCHECKED, /* keyed, and no key was given: the transport checksum holds, nothing more is
                          known */
};
struct hf_manifest_read {
    enum hf_manifest_kind kind;
    enum hf_seal_state seal_state;
};
/*
 * keyring may be NULL, or have no seal key: then a keyed seal is not checked. CORRUPT when checksum
 * or seal do not match, UNSUPPORTED for another version. Of a void only job and capture are filled.
 */
HF_MUST_CHECK enum hf_err hf_manifest_decode(struct hf_bytes in, const struct hf_keyring *keyring,
                                             struct hf_manifest *out, struct hf_manifest_read *read,
                                             struct hf_error *err);
/* The same bytes whoever puts it. */
HF_MUST_CHECK enum hf_err hf_void_encode(const struct hf_id *job, uint64_t capture,
                                         struct hf_buf *out, struct hf_error *err);

#endif
