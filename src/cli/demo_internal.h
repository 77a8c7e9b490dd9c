/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the demo, for siblings: the deployment, the data with its journal, the comparison.
 */
#ifndef HF_CLI_DEMO_INTERNAL_H
#define HF_CLI_DEMO_INTERNAL_H

#include "cli/session.h"
#include "mongo/client.h"
#include "mongo/data.h"
#include "mongo/mongod.h"
#include "os/process.h"

#define HF_DEMO_MEMBERS 3
#define HF_DEMO_SET "demo"
/* What is dropped by mistake. */
#define HF_DEMO_LOST_DATABASE "shop"
#define HF_DEMO_LOST "orders"

/* ---- The deployment ---- */

struct hf_demo {
    const char *mongod; /* a real one; NULL: the sandbox */
    char *dir;          /* owned: everything is below it */
    char *holdfast;     /* owned: this executable */
    char *program;      /* owned: mongod, or the sandbox */
    struct hf_mongod *members[HF_DEMO_MEMBERS];
    struct hf_process *server;
    struct hf_process *agents[HF_DEMO_MEMBERS];
    char primary[HF_MONGO_HOST_BYTES];
    char url[512]; /* of the server */
    char store_url[4200];
    char *restore_root; /* owned */
    char job[32];
    struct hf_cli_session session;
};

/* Members, set, server, agents, job. What was started is stopped by hf_demo_stop, also after a failure. */
HF_MUST_CHECK enum hf_err hf_demo_start(struct hf_demo *demo, const struct hf_cancel *cancel,
                                        struct hf_error *err);
void hf_demo_stop(struct hf_demo *demo);
/* A client of the primary. */
HF_MUST_CHECK enum hf_err hf_demo_primary(struct hf_demo *demo, struct hf_mongo_client **out,
                                          struct hf_error *err);
/* A path below the demo's directory; NULL on no memory. */
HF_MUST_CHECK char *hf_demo_path(const struct hf_demo *demo, const char *name);

/* ---- Data and journal ---- */

/* One write of the writer, as the server acknowledged it. */
struct hf_demo_write {
    struct hf_mongo_ts ts;
    enum { HF_DEMO_PUT, HF_DEMO_REMOVE, HF_DEMO_CREATE, HF_DEMO_DROP } kind;
    uint32_t collection; /* of a definition: number of the collection made_<n> */
    int64_t id;
    int64_t value;
};

/* A thread that writes and keeps a journal of it. */
struct hf_demo_writer;
HF_MUST_CHECK enum hf_err hf_demo_writer_start(struct hf_demo *demo, struct hf_demo_writer **out,
                                               struct hf_error *err);
/* Until it has made so many writes in all: so a snapshot has some of them. */
HF_MUST_CHECK enum hf_err hf_demo_writer_wait(struct hf_demo_writer *writer, uint64_t writes,
                                              const struct hf_cancel *cancel, struct hf_error *err);
/* Ends the writing; the journal stays. The error is the writer's own, if it had one. */
HF_MUST_CHECK enum hf_err hf_demo_writer_stop(struct hf_demo_writer *writer, struct hf_error *err);
void hf_demo_writer_destroy(struct hf_demo_writer *writer);
uint64_t hf_demo_writer_count(struct hf_demo_writer *writer);
/* The optimes of the definitions, which no reply tells, out of the oplog. After stop. */
HF_MUST_CHECK enum hf_err hf_demo_writer_find_definitions(struct hf_demo_writer *writer,
                                                          struct hf_demo *demo,
                                                          struct hf_error *err);
/* Makes what the journal says was there at ts, in a server of its own. */
HF_MUST_CHECK enum hf_err hf_demo_writer_replay(const struct hf_demo_writer *writer,
                                                struct hf_mongo_ts ts, struct hf_mongo_client *into,
                                                struct hf_error *err);

struct hf_demo_loaded {
    uint64_t documents, bytes;
    struct hf_mongo_ts first, last; /* of this phase's writes */
    struct hf_mongo_data
        data; /* hashes at its end, of the databases that the writer leaves alone */
};
/* Loads (phase 0) or changes (later phases) the databases shop, metrics and files. */
HF_MUST_CHECK enum hf_err hf_demo_load(struct hf_demo *demo, unsigned phase, uint64_t size_bytes,
                                       struct hf_demo_loaded *out, struct hf_error *err);

/* Waits until every member has made a checkpoint at or after ts. */
HF_MUST_CHECK enum hf_err hf_demo_checkpoint(struct hf_demo *demo, struct hf_error *err);

/* ---- A mistake, and the way back ---- */

/* Drops the collection; *out is the oplog's entry of it. */
HF_MUST_CHECK enum hf_err hf_demo_mistake(struct hf_demo *demo, struct hf_mongo_ts *out,
                                          struct hf_error *err);
/* Until a range of the job reaches the point: slices come with some seconds of delay. */
HF_MUST_CHECK enum hf_err hf_demo_wait_range(struct hf_demo *demo, struct hf_mongo_ts point,
                                             struct hf_error *err);
/* Shows the command that lists what can be restored, and what it prints. */
HF_MUST_CHECK enum hf_err hf_demo_show_ranges(struct hf_demo *demo, struct hf_error *err);

/* ---- Comparison ---- */

struct hf_demo_verdict {
    unsigned collections, equal;
    char first_difference[512];
};
/*
 * Opens the restored directory with a fresh process and compares every collection with what loaded and the journal say
 * for ts.
 */
struct hf_demo_expectation {
    const char *directory;
    struct hf_mongo_ts ts;
    const struct hf_demo_loaded *loaded;
    const struct hf_demo_writer *writer;
};
HF_MUST_CHECK enum hf_err hf_demo_compare(struct hf_demo *demo,
                                          const struct hf_demo_expectation *expected,
                                          struct hf_demo_verdict *out, struct hf_error *err);

#endif
