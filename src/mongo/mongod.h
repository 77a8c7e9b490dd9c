/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server process of our own: a real mongod or the sandbox, started on a directory, asked, stopped
 * cleanly. For opening restored copies, for tests and for the demo. It must not know why.
 */
#ifndef HF_MONGO_MONGOD_H
#define HF_MONGO_MONGOD_H

#include "base/thread.h"
#include "mongo/client.h"

struct hf_mongod;

struct hf_mongod_options {
    const char *program;  /* path of mongod, or of an executable that takes the same options */
    const char *dbpath;   /* made when missing */
    const char *log_path; /* default: <dbpath>.log, beside the directory */
    const char *host;     /* to listen on and to call; default 127.0.0.1 */
    uint16_t port;        /* 0: a free one */
    const char *repl_set; /* --replSet; NULL: standalone */
    const char *key_file; /* --keyFile */
    const char *const *parameters; /* "ttlMonitorEnabled=false", NULL at the end; may be NULL */
    const char *const *arguments;  /* further ones, as they are, NULL at the end; may be NULL */
    bool for_looking; /* at a restored copy (observed 3): no TTL deletes, no session refresh */
    uint32_t start_limit_ms; /* until it answers hello; default 120,000 (recovery takes time) */
    bool outlive_parent;     /* default: killed when the thread that started it goes */
};

/* Starts it and waits until it answers hello. When it dies the error has its exit code and the end
 * of its log. */
HF_MUST_CHECK enum hf_err hf_mongod_start(const struct hf_mongod_options *options,
                                          const struct hf_cancel *cancel, struct hf_mongod **out,
                                          struct hf_error *err);
/* "127.0.0.1:27301". */
const char *hf_mongod_host(const struct hf_mongod *mongod);
int hf_mongod_pid(const struct hf_mongod *mongod);
/* A client without credentials; the caller closes it. */
HF_MUST_CHECK enum hf_err hf_mongod_client(struct hf_mongod *mongod, struct hf_mongo_client **out,
                                           struct hf_error *err);
/* After a failed command: when the process has ended, *err says how instead; returns its code. */
enum hf_err hf_mongod_explain(struct hf_mongod *mongod, struct hf_error *err);
/* False when the process has ended. */
bool hf_mongod_running(struct hf_mongod *mongod);
/*
 * Clean stop: the shutdown command, SIGTERM when it is refused or too slow, SIGKILL at the end of
 * limit_ms (0: 60,000). *clean is true only for exit code 0. The object is gone either way.
 */
HF_MUST_CHECK enum hf_err hf_mongod_stop(struct hf_mongod *mongod, uint64_t limit_ms, bool *clean,
                                         struct hf_error *err);
/* SIGKILL, as a crash. Frees. */
void hf_mongod_kill(struct hf_mongod *mongod);
/* SIGTERM with a short grace, then SIGKILL; for clean-up after another error. NULL does nothing. */
void hf_mongod_drop(struct hf_mongod *mongod);
HF_CLEANUP_DEFINE(hf_mongod_drop, struct hf_mongod *)

/*
 * Makes a set of running members (hosts[0] asked) with replSetInitiate and waits for a primary
 * within limit_ms; its address goes to primary. members: the configuration's array as JSON, or NULL
 * for plain members.
 */
HF_MUST_CHECK enum hf_err hf_mongod_initiate(const char *set_name, const char *const *hosts,
                                             size_t host_count, const char *members,
                                             uint64_t limit_ms, const struct hf_cancel *cancel,
                                             char primary[HF_MONGO_HOST_BYTES],
                                             struct hf_error *err);

#endif
