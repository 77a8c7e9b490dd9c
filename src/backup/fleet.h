/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server processes that share a catalog ("daemons" in backup-domain.md 6.3): what each says of itself, what it is switched to
 * do, who leads a work that is of no job, and who takes over what a dead one had. Plain values and decisions; knows no clock:
 * whether a server is dead is told by whoever watches its beat (docs/design/servers.md).
 */
#ifndef HF_BACKUP_FLEET_H
#define HF_BACKUP_FLEET_H

#include "backup/assign.h"
#include "backup/records.h"

#define HF_KIND_FLEET "fleet" /* by hf_fleet_server_id */
#define HF_KIND_LEASE "lease" /* by hf_fleet_lease_id */
#define HF_KIND_WAKE "wake"   /* by server: whom it has something for, server/wakes.h */

#define HF_SERVER_NAME_BYTES 128
#define HF_SERVER_LABELS_BYTES 1024
#define HF_FLEET_MAX 64

/* Kinds of work that are switched one by one; a new server does all of them. */
enum hf_server_switch {
    HF_SERVER_BACKUP,     /* begins snapshots of its jobs; the oplog is saved anyway */
    HF_SERVER_GROOM,      /* grooms and merges, checks, deletes what is expired */
    HF_SERVER_USAGE,      /* counts living and dead bytes */
    HF_SERVER_RESTORE,    /* begins restores and deliveries */
    HF_SERVER_ASSIGNMENT, /* is given new jobs */
};
#define HF_SERVER_SWITCHES 5
/* "backup" */
const char *hf_server_switch_word(enum hf_server_switch which);
bool hf_server_switch_for(const char *word, enum hf_server_switch *out);

struct hf_server_record {
    struct hf_id id; /* of the name: a process that starts again takes its old place */
    char name[HF_SERVER_NAME_BYTES];
    struct hf_id process; /* drawn at each start */
    char host[256];
    char release[HF_WORD_BYTES];
    char url[512];
    uint64_t pid;
    uint64_t created_s, started_s, seen_s; /* for people: dead is who stops raising its beat */
    uint64_t beat;
    bool ended; /* stopped by somebody who wanted it */
    bool off[HF_SERVER_SWITCHES];
    uint64_t
        workers; /* snapshots of its jobs that it begins at once by itself; 0: no limit of its own */
    uint64_t load_factor;                /* 0: 1 */
    char labels[HF_SERVER_LABELS_BYTES]; /* "a,b" */
    bool draining;
    uint64_t drained_s; /* it has nothing left to do; 0: not yet */
};
HF_MUST_CHECK struct hf_json *hf_server_record_encode(const struct hf_server_record *record);
HF_MUST_CHECK enum hf_err hf_server_record_decode(const struct hf_json *json,
                                                  struct hf_server_record *out,
                                                  struct hf_error *err);

/* INVALID for what is no name: 1 to HF_SERVER_NAME_BYTES - 1 of letters, digits and . : - _ [ ] */
HF_MUST_CHECK enum hf_err hf_server_name_check(const char *name, struct hf_error *err);
struct hf_id hf_fleet_server_id(const char *name);

/* ---- Work that is of no job ---- */

enum hf_fleet_work {
    HF_FLEET_SCHEDULE, /* looks, queue and limits are one for all jobs */
    HF_FLEET_ALERTS,
    HF_FLEET_NOTICES,
    HF_FLEET_RESTORES, /* onto whole sets */
};
#define HF_FLEET_WORKS 4
const char *hf_fleet_work_word(enum hf_fleet_work work);
struct hf_id hf_fleet_lease_id(enum hf_fleet_work work);

/* Held for as long as its holder lives: a lease has no beat of its own. */
struct hf_lease_record {
    struct hf_id id;
    char work[HF_WORD_BYTES];
    struct hf_id server, process; /* none: free */
    uint64_t term;                /* raised whenever it changes hands */
    uint64_t taken_s;
};
HF_MUST_CHECK struct hf_json *hf_lease_record_encode(const struct hf_lease_record *record);
HF_MUST_CHECK enum hf_err hf_lease_record_decode(const struct hf_json *json,
                                                 struct hf_lease_record *out, struct hf_error *err);

/* ---- Who takes what over ---- */

/* A server as another one sees it. */
struct hf_fleet_member {
    struct hf_server_record record;
    uint64_t silent_s; /* its beat was not raised for so long, as we saw it */
    bool gone;         /* too long: what it had goes to others */
    bool alive;        /* neither that nor ended */
    uint64_t jobs;     /* bound to it */
};

/* Does that kind of work: alive, not ending, not draining, and switched on. */
bool hf_fleet_member_does(const struct hf_fleet_member *member, enum hf_server_switch which);
/* May be given jobs that have no server: new ones only where it takes assignments. */
bool hf_fleet_member_takes(const struct hf_fleet_member *member, bool is_new);
/* Jobs of that server are to be taken over: it is gone, or drained. One that ended may be back before it counts as gone. */
bool hf_fleet_member_loses(const struct hf_fleet_member *member);

/* How many of so many jobs without a living server the one at `rank` of `takers` takes at once, and from which on. */
struct hf_fleet_share {
    size_t first, count;
};
struct hf_fleet_share hf_fleet_share(size_t orphans, size_t rank, size_t takers);

/* As resources for hf_assign_choose; labels: room for the texts and lists, borrowed by the resources. */
struct hf_fleet_labels {
    char text[HF_SERVER_LABELS_BYTES];
    const char *list[64];
};
void hf_fleet_resource(const struct hf_fleet_member *member, struct hf_fleet_labels *labels,
                       struct hf_resource *out);

#endif
