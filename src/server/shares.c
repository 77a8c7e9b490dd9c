/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A short list of holders under one mutex: there are as many as tasks and agents have something on its way just now.
 */
#include "server/shares.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/thread.h"

struct holder {
    char whose[HF_SHARE_NAME_BYTES];
    uint64_t bytes;
};

struct hf_server_shares {
    struct hf_mutex mutex;  /* guards: all below */
    struct holder *holders; /* owned */
    size_t count, capacity;
};

enum hf_err hf_server_shares_create(struct hf_server_shares **out, struct hf_error *err)
{
    struct hf_server_shares *shares = hf_alloc_zero(sizeof *shares);

    if (shares == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    hf_mutex_init(&shares->mutex);
    *out = shares;
    return HF_ERR_OK;
}

void hf_server_shares_destroy(struct hf_server_shares *shares)
{
    if (shares != NULL) {
        hf_mutex_fini(&shares->mutex);
        hf_free(shares->holders);
        hf_free(shares);
    }
}

/* Under the mutex. */
static struct holder *find(struct hf_server_shares *shares, const char *whose)
{
    for (size_t i = 0; i < shares->count; i++) {
        if (strcmp(shares->holders[i].whose, whose) == 0) {
            return &shares->holders[i];
        }
    }
    return NULL;
}

/* Under the mutex. NULL when memory ran out. */
static struct holder *add(struct hf_server_shares *shares, const char *whose)
{
    if (shares->count == shares->capacity) {
        size_t capacity = shares->capacity == 0 ? 16 : shares->capacity * 2;
        struct holder *more = hf_realloc_array(shares->holders, capacity, sizeof *more);
        if (more == NULL) {
            return NULL;
        }
        shares->holders = more;
        shares->capacity = capacity;
    }
    struct holder *holder = &shares->holders[shares->count++];
    *holder = (struct holder){.bytes = 0};
    (void)snprintf(holder->whose, sizeof holder->whose, "%s", whose);
    return holder;
}

bool hf_server_shares_enter(struct hf_server_shares *shares, const char *whose, uint64_t bytes,
                            uint64_t max_bytes)
{
    if (bytes == 0) {
        return true;
    }
    HF_LOCKED(&shares->mutex);
    struct holder *holder = find(shares, whose);

    if (holder == NULL) {
        holder = add(shares, whose);
    } else if (bytes > max_bytes || holder->bytes > max_bytes - bytes) {
        return false;
    }
    if (holder == NULL) {
        return false;
    }
    holder->bytes += bytes;
    return true;
}

void hf_server_shares_leave(struct hf_server_shares *shares, const char *whose, uint64_t bytes)
{
    HF_LOCKED(&shares->mutex);
    struct holder *holder = find(shares, whose);

    HF_ASSERT(holder != NULL && holder->bytes >= bytes);
    holder->bytes -= bytes;
    if (holder->bytes == 0) {
        *holder = shares->holders[--shares->count];
    }
}
