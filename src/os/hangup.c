/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGHUP on a thread of its own: the handler posts a semaphore, which a handler may do, and the thread waits for it.
 */
#include "os/hangup.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/thread.h"

struct hf_hangup {
    struct hf_thread *thread; /* owned */
    void (*handle)(void *context);
    void *context; /* borrowed */
    atomic_bool ends;
};

/* mutable: hung_up, because a signal handler gets no argument; made once, before any SIGHUP is handled, and kept. */
static sem_t hung_up;

static void post(int signal_number)
{
    int errno_before = errno;

    (void)signal_number;
    (void)sem_post(&hung_up);
    errno = errno_before;
}

static void run(void *argument)
{
    struct hf_hangup *hangup = argument;

    while (!atomic_load(&hangup->ends)) {
        if (sem_wait(&hung_up) != 0) {
            continue; /* interrupted */
        }
        while (sem_trywait(&hung_up) == 0) {
        }
        if (!atomic_load(&hangup->ends)) {
            hangup->handle(hangup->context);
        }
    }
}

enum hf_err hf_hangup_start(void (*handle)(void *context), void *context, struct hf_hangup **out,
                            struct hf_error *err)
{
    struct sigaction action = {.sa_handler = post, .sa_flags = SA_RESTART};
    HF_CLEANUP(hf_free) struct hf_hangup *hangup = hf_alloc_zero(sizeof *hangup);

    if (hangup == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    HF_ASSERT(sem_init(&hung_up, 0, 0) == 0);
    hangup->handle = handle;
    hangup->context = context;
    if (hf_thread_start("hf-hangup", run, hangup, &hangup->thread, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)sigemptyset(&action.sa_mask);
    HF_ASSERT(sigaction(SIGHUP, &action, NULL) == 0);
    *out = HF_TAKE(hangup);
    return HF_ERR_OK;
}

void hf_hangup_stop(struct hf_hangup *hangup)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    if (hangup == NULL) {
        return;
    }
    (void)sigemptyset(&ignore.sa_mask);
    HF_ASSERT(sigaction(SIGHUP, &ignore, NULL) == 0);
    atomic_store(&hangup->ends, true);
    (void)sem_post(&hung_up);
    hf_thread_join(hangup->thread);
    hf_free(hangup);
}

/* ---- The supervisor ---- */

void hf_supervisor_tell(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path == NULL ? 0 : strlen(path);

    if (len == 0 || len >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* an abstract name */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    (void)close(fd);
}

void hf_supervisor_tell_reloading(void)
{
    struct timespec now = {.tv_sec = 0};
    char text[64];

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld%06ld",
                   (long long)now.tv_sec, now.tv_nsec / 1000);
    hf_supervisor_tell(text);
}
