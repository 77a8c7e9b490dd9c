/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which collections the replayed entries touch: those whose counts may be wrong afterwards (mongodb-observed.md 6). A
 * sorted list without doubles; in doubt it is all of them. Must not know how they are looked at.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "oplog/replay_internal.h"

void hf_replay_names_fini(struct hf_replay_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        hf_free(names->names[i]);
    }
    hf_free(names->names);
    *names = (struct hf_replay_names){.count = 0};
}

static int compare(struct hf_str a, const char *b)
{
    size_t len = strlen(b);
    int order = memcmp(a.data, b, a.len < len ? a.len : len);

    return order != 0 ? order : a.len < len ? -1 : a.len > len ? 1 : 0;
}

static bool make_room(struct hf_replay_names *names)
{
    size_t room = names->room == 0 ? 64 : names->room * 2;

    if (names->count < names->room) {
        return true;
    }
    if (names->count >= HF_REPLAY_NAMES_MAX) {
        return false;
    }
    char **grown = hf_realloc_array(names->names, room, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    names->names = grown;
    names->room = room;
    return true;
}

static void add_name(struct hf_replay_names *names, struct hf_str name)
{
    size_t low = 0;
    size_t high = names->count;

    /* Entries come in stretches of one collection. */
    if (names->last < names->count && compare(name, names->names[names->last]) == 0) {
        return;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(name, names->names[middle]);
        if (order == 0) {
            names->last = middle;
            return;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    char *copy = make_room(names) ? hf_asprintf("%.*s", (int)name.len, name.data) : NULL;
    if (copy == NULL) {
        names->all = true;
        return;
    }
    memmove(names->names + low + 1, names->names + low,
            (names->count - low) * sizeof *names->names);
    names->names[low] = copy;
    names->count++;
    names->last = low;
}

static void add_spaces(struct hf_replay_names *names, const struct hf_oplog_entry *entry)
{
    unsigned count = hf_oplog_space_count(entry);

    for (unsigned i = 0; i < count; i++) {
        char room[HF_OPLOG_SPACE_BYTES];
        struct hf_str name;
        if (!hf_oplog_space(entry, i, room, &name)) {
            names->all = true; /* a name that is too long to be told */
        } else if (memchr(name.data, '.', name.len) != NULL) {
            add_name(names, name); /* without a dot: a database, which is gone */
        }
    }
}

void hf_replay_names_add(struct hf_replay_names *names, const struct hf_oplog_entry *entry)
{
    struct hf_oplog_inner inner;
    struct hf_error ignored;
    bool more = true;

    if (names->all || entry->kind == HF_OPLOG_NOOP) {
        return;
    }
    add_spaces(names, entry);
    if (entry->txn_number >= 0) {
        /* The server notes what it replayed of a session. */
        add_name(names, hf_str_of("config.transactions"));
    }
    hf_oplog_inner_begin(entry, &inner);
    while (more) {
        struct hf_oplog_entry operation;
        if (hf_oplog_inner_next(&inner, &operation, &more, &ignored) != HF_ERR_OK) {
            names->all = true;
            return;
        }
        if (more) {
            add_spaces(names, &operation);
        }
    }
}
