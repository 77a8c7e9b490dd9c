/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of finished nodes: what an attempt had made when it died, so that the next one sends nothing twice
 * (store-format.md section 5; docs/format/objects.md). It is believed no more than a parent: a reference from it is used
 * only where the content just read has its hash, and only for packs that the journal says were durable.
 */
#ifndef HF_SNAPSHOT_JOURNAL_H
#define HF_SNAPSHOT_JOURNAL_H

#include <stdint.h>

#include "base/error.h"
#include "format/manifest.h"
#include "format/node.h"

struct hf_journal_id {
    struct hf_id job;
    uint64_t capture;
    struct hf_id writer;
};

/* A stretch of a file: the references of its blocks from 128 * node on. */
struct hf_journal_place {
    struct hf_str path;
    uint32_t block_bytes;
    uint64_t node;
};

/* ---- Writing: any thread. A failed write ends the journal quietly: its loss costs work, never truth. ---- */

struct hf_journal_writer;
HF_MUST_CHECK enum hf_err hf_journal_create(const char *path, const struct hf_journal_id *id,
                                            struct hf_journal_writer **out, struct hf_error *err);
void hf_journal_close(struct hf_journal_writer *journal);
HF_CLEANUP_DEFINE(hf_journal_close, struct hf_journal_writer *)
void hf_journal_note_node(struct hf_journal_writer *journal, const struct hf_journal_place *place,
                          const struct hf_node *node);
void hf_journal_note_durable(struct hf_journal_writer *journal, uint32_t pack);

/* ---- Reading: any thread ---- */

struct hf_journal_reader;
/* NOT_FOUND when there is none, or it is of another attempt. A torn end is left out. */
HF_MUST_CHECK enum hf_err hf_journal_open(const char *path, const struct hf_journal_id *id,
                                          struct hf_journal_reader **out, struct hf_error *err);
void hf_journal_drop(struct hf_journal_reader *journal);
HF_CLEANUP_DEFINE(hf_journal_drop, struct hf_journal_reader *)
/* *there false: nothing is known. References that may not be used come back as zero bytes (capture 0, no flag). */
HF_MUST_CHECK enum hf_err hf_journal_find(struct hf_journal_reader *journal,
                                          const struct hf_journal_place *place, struct hf_node *out,
                                          bool *there, struct hf_error *err);

#endif
