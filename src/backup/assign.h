/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which store, or server, a new job is given (backup-domain.md 6.1): labels and filters are AND-ed, and among those that
 * are left the one with the least work for its load factor. For new jobs only. Knows what a resource says of itself, not
 * what it is.
 */
#ifndef HF_BACKUP_ASSIGN_H
#define HF_BACKUP_ASSIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum hf_resource_kind {
    HF_RESOURCE_SERVER, /* "daemon" in the public API */
    HF_RESOURCE_SNAPSHOT_STORE,
    HF_RESOURCE_OPLOG_STORE,
};
#define HF_RESOURCE_KINDS 3

struct hf_resource {
    enum hf_resource_kind kind;
    const char *id;
    const char *const *labels; /* NULL at the end; NULL: none */
    bool closed;               /* takes no new jobs (assignmentEnabled is false) */
    uint64_t load_factor;      /* share of the work against others of its kind; 0: 1 */
    uint64_t jobs;             /* that it has */
    uint64_t free_bytes;       /* UINT64_MAX: unknown */
    const char *unfit;         /* why it will not do, whatever is wished; NULL: it may */
};

/* Of a project. */
struct hf_assign_filter {
    const char *const *labels;                 /* NULL at the end; NULL or empty: any */
    const char *const *ids[HF_RESOURCE_KINDS]; /* the same; only these of that kind */
};

struct hf_assign_wish {
    enum hf_resource_kind kind;
    const struct hf_assign_filter *filter; /* NULL: any */
    uint64_t need_bytes;                   /* room that the first snapshot may take; 0: not asked */
};

/* CONFLICT when nothing will do: the message says for each one of the kind why; NOT_FOUND when there is none. */
HF_MUST_CHECK enum hf_err hf_assign_choose(const struct hf_resource *resources, size_t count,
                                           const struct hf_assign_wish *wish, size_t *out,
                                           struct hf_error *err);
/* Why that one was chosen, or why the others were not: for people. Of what hf_assign_choose was given. */
void hf_assign_why(const struct hf_resource *resources, size_t count,
                   const struct hf_assign_wish *wish, size_t chosen, char *out, size_t out_len);
/* CONFLICT, naming the first, when a label of the filter is on no resource of some kind. */
HF_MUST_CHECK enum hf_err hf_assign_check(const struct hf_resource *resources, size_t count,
                                          const struct hf_assign_filter *filter,
                                          struct hf_error *err);

#endif
