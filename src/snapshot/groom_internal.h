/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of grooming share: groom.c lists, marks and counts, groom_merge.c copies and deletes.
 */
#ifndef HF_SNAPSHOT_GROOM_INTERNAL_H
#define HF_SNAPSHOT_GROOM_INTERNAL_H

#include "format/pack.h"
#include "snapshot/groom.h"
#include "snapshot/marks.h"
#include "snapshot/tree.h"

/* One of many: what its name has beside the job stands here, and no more. */
struct hf_groom_object {
    uint64_t first, last; /* positions */
    struct hf_id writer;
    uint16_t round;
    bool tree : 1;       /* HF_OBJECT_TREE, else HF_OBJECT_DATA */
    bool claimed : 1;    /* its writer is at work */
    bool unreadable : 1; /* nothing is known of it: it stays */
    bool corrupt : 1;    /* unreadable because its footer is damaged */
    bool replaced : 1;   /* has a damaged living block of which another object has a copy */
    bool deleted : 1;
    uint32_t size_bytes;
    uint32_t living_bytes; /* stored */
    uint32_t living_blocks, dead_blocks;
};

struct hf_groom {
    const struct hf_groom_options *options; /* borrowed */
    unsigned living_percent;
    struct hf_tree_reader *reader; /* owned */
    struct hf_block_coder *coder;  /* owned */
    struct hf_marks *marks;        /* owned: what lives, and what of it stands in a footer */
    struct hf_marks *doubled;      /* owned: of that, what stands in two */
    uint64_t living_count, seen_count, doubled_count;
    struct hf_groom_object *objects; /* owned; data, then trees, each ascending by name */
    size_t count, capacity;
    struct hf_groom_result result;
};

struct hf_object_name hf_groom_name(const struct hf_groom *groom,
                                    const struct hf_groom_object *object);
/* Free with hf_footer_fini. */
HF_MUST_CHECK enum hf_err hf_groom_read_footer(struct hf_groom *groom,
                                               const struct hf_groom_object *object,
                                               struct hf_footer *out, struct hf_error *err);
/* Deletes the object (nothing with only_look) and counts it. */
HF_MUST_CHECK enum hf_err hf_groom_delete(struct hf_groom *groom, struct hf_groom_object *object,
                                          struct hf_error *err);
/* Copies living blocks together, and deletes the objects that they came from. */
HF_MUST_CHECK enum hf_err hf_groom_merge(struct hf_groom *groom, struct hf_error *err);

#endif
