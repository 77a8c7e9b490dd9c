/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes, signals, facts about this process and host.
 */
#ifndef HF_OS_PROCESS_H
#define HF_OS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/thread.h"

struct hf_process; /* one thread at a time */

struct hf_process_options {
    const char *const *argv;      /* NULL at the end; argv[0] is the program's path */
    const char *const *extra_env; /* "NAME=value", NULL at the end; may be NULL */
    const char *output_path;      /* stdout and stderr are appended there; NULL: inherited */
    bool die_with_parent;         /* SIGKILL when the parent's thread goes (PR_SET_PDEATHSIG) */
};

HF_MUST_CHECK enum hf_err hf_process_start(const struct hf_process_options *options,
                                           struct hf_process **out, struct hf_error *err);
int hf_process_pid(const struct hf_process *process);
/* Our own number. */
uint64_t hf_process_id(void);
/* *ended false while it runs. exit_code: 0 to 255, or 128 + signal. Waits at most timeout_ms (0: only looks). */
HF_MUST_CHECK enum hf_err hf_process_wait(struct hf_process *process, uint64_t timeout_ms,
                                          bool *ended, int *exit_code, struct hf_error *err);
void hf_process_signal(struct hf_process *process, int signal_number);
/* SIGTERM, waits up to grace_ms, SIGKILL; frees. NULL does nothing. */
void hf_process_stop(struct hf_process *process, uint64_t grace_ms);

/* The directory of a file of that name that the process holds open. NOT_FOUND when it holds none or may not be looked at
 * (which takes its user, or root). Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_process_find_open(uint64_t pid, const char *name, char **out,
                                               struct hf_error *err);

/* Absolute path of this executable. Free with hf_free. */
HF_MUST_CHECK enum hf_err hf_self_path(char **out, struct hf_error *err);
/* Host name as the system says; out at least 256 bytes. */
void hf_host_name(char *out, size_t out_len);
/* Resident memory of this process (VmRSS) and its peak (VmHWM), bytes. */
uint64_t hf_resident_bytes(void);
uint64_t hf_resident_peak_bytes(void);
/* Processor time of this process so far. */
uint64_t hf_cpu_ms(void);
/* SIGINT and SIGTERM request the token (borrowed for ever), a second SIGINT kills; SIGPIPE is ignored. Once per process,
 * before other threads start. */
void hf_signals_cancel(struct hf_cancel *cancel);
/* As many open files as the system lets this process ask for: the usual soft limit is 1024, kept for programs that call
 * select, and every connection takes one. */
void hf_files_limit_raise(void);
/*
 * The calling thread stands back for others: nice 1 (hardly) to 19 (the least weight), no preempting of whoever runs, the
 * last turn at the disk. 0 does nothing. For good. False when the system refused any of it.
 */
bool hf_stand_back_thread(unsigned nice);
/*
 * The same for this process's whole session where the kernel groups sessions (sched_autogroup), in which the weight of a
 * thread counts among the threads of its session only; 0: an equal share again. Does nothing, and says false, unless the
 * process leads its session: others may live in it.
 */
bool hf_stand_back_session(unsigned nice);
/* A free TCP port of 127.0.0.1, as the kernel picked it a moment ago. 0 when none. */
uint16_t hf_free_port(void);
/* Whether someone takes connections on that port of 127.0.0.1 now. */
bool hf_port_listens(uint16_t port);
/* True when stdout is a terminal; its width in columns (80 when unknown), unless columns is NULL. */
bool hf_stdout_is_terminal(unsigned *columns);

#endif
