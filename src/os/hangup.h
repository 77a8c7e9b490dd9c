/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program does when it is told to read its files again (SIGHUP), and how it tells its supervisor what it is at.
 */
#ifndef HF_OS_HANGUP_H
#define HF_OS_HANGUP_H

#include "base/error.h"

struct hf_hangup;

/*
 * From now on each SIGHUP calls handle on a thread of its own, never two at once; several that come together may be one.
 * Once per process, before other threads start.
 */
HF_MUST_CHECK enum hf_err hf_hangup_start(void (*handle)(void *context), void *context,
                                          struct hf_hangup **out, struct hf_error *err);
/* Waits for a call that runs; later SIGHUPs do nothing. NULL does nothing. */
void hf_hangup_stop(struct hf_hangup *hangup);
HF_CLEANUP_DEFINE(hf_hangup_stop, struct hf_hangup *)

/*
 * One datagram to $NOTIFY_SOCKET, as systemd's Type=notify and notify-reload read it: "READY=1", "STOPPING=1". Nobody who
 * waits for it, or who does not take it, is no failure.
 */
void hf_supervisor_tell(const char *state);
/* "RELOADING=1" with the time that systemd wants beside it. */
void hf_supervisor_tell_reloading(void);

#endif
