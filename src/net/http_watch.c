/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch thread: accepts connections and hands them to the event loops, and minds what these do not:
 * deadlines of kept requests, clients that leave while their request is suspended, requests that arrive
 * too slowly. 1,000 waiting long polls are 1,000 entries in its epoll set and no thread.
 *
 * It sees every peer hang up, because the event loops may not: libmicrohttpd does not look at a suspended
 * connection at all, and of one where the last bytes and the end come together its edge-triggered loop
 * reads the bytes and waits for another edge.
 *
 * Accepting is ours because the library's own, with several loops, cannot be stopped without a race
 * (MHD_quiesce_daemon panics when a loop takes the socket off its set at the same moment).
 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/http_server_internal.h"
#include "os/clock.h"

#define BATCH 64
#define BREATHER_MS 100     /* without accepting, when descriptors or memory are short */
#define SHORT_TOLD_MS 60000 /* that they are short is said once a minute */
#define TICK_MS 1000 /* slow requests, and a count that went wrong, are looked for this often */

/* What to do once the mutex is free. */
struct notice {
    struct hf_http_request *request; /* held */
    bool is_gone;                    /* else its deadline has passed */
};

struct work {
    struct notice notices[BATCH];
    size_t notice_count;
    bool accept;
};

void hf_http_watch_wake(struct hf_http_server *server)
{
    const uint64_t one = 1;

    /* Fails only when the counter is full: then it is awake. */
    ssize_t written = write(server->wake_fd, &one, sizeof one);
    (void)written;
}

static void on_connected(struct hf_http_server *server, struct MHD_Connection *connection,
                         void **socket_context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct hf_http_connection *peer = hf_alloc_zero(sizeof *peer);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data = {.ptr = peer}};

    *socket_context = peer;
    if (peer == NULL) {
        return;
    }
    peer->fd = info->connect_fd;
    peer->receiving_since_ms = hf_clock_mono_ms();
    HF_LOCKED(&server->mutex);
    peer->next = server->connections;
    if (peer->next != NULL) {
        peer->next->previous = peer;
    }
    server->connections = peer;
    /* Should this fail for want of memory, the end is noticed when an answer is sent. */
    (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, peer->fd, &event);
}

static void on_closing(struct hf_http_server *server, struct hf_http_connection *peer)
{
    HF_LOCKED(&server->mutex);
    if (peer != NULL) {
        *(peer->previous != NULL ? &peer->previous->next : &server->connections) = peer->next;
        if (peer->next != NULL) {
            peer->next->previous = peer->previous;
        }
        (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, peer->fd, NULL);
    }
    if (server->stats.connections > 0) {
        server->stats.connections--;
    }
    if (!server->accepting) {
        hf_http_watch_wake(server);
    }
}

void hf_http_watch_on_connection(void *server, struct MHD_Connection *connection,
                                 void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        on_connected(server, connection, socket_context);
        return;
    }
    on_closing(server, *socket_context);
    hf_free(*socket_context);
    *socket_context = NULL;
}

/* The mutex is held. */
static void set_accepting(struct hf_http_server *server, bool accepting)
{
    struct epoll_event event = {.events = accepting ? EPOLLIN : 0, .data = {.ptr = server}};

    if (server->accepting != accepting) {
        server->accepting = accepting;
        (void)epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->listen_fd, &event);
    }
}

/* New connections wait in the backlog until descriptors or memory are there again. */
static void tell_shortage(struct hf_http_server *server, int error)
{
    struct hf_error err;
    uint64_t now_ms = hf_clock_mono_ms();

    if (server->short_told_ms == 0 || now_ms - server->short_told_ms >= SHORT_TOLD_MS) {
        server->short_told_ms = now_ms;
        (void)hf_fail_errno(&err, error, "accept a connection");
        hf_log_warn(server->log, "http.cannot_accept", HF_STR("error", err.message));
    }
}

static void accept_some(struct hf_http_server *server)
{
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage address;
        socklen_t len = sizeof address;

        hf_mutex_lock(&server->mutex);
        bool room = server->stats.connections < server->connection_limit;
        set_accepting(server, room);
        server->stats.connections += room;
        hf_mutex_unlock(&server->mutex);
        if (!room) {
            return; /* the others wait in the backlog until one closes */
        }
        int fd = accept4(server->listen_fd, (struct sockaddr *)&address, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        int error = fd < 0 ? errno : 0;
        /* On failure the library has closed the socket. */
        bool added = fd >= 0 && MHD_add_connection(server->daemon, fd, (struct sockaddr *)&address,
                                                   len) == MHD_YES;
        if (added) {
            continue;
        }
        hf_mutex_lock(&server->mutex);
        server->stats.connections--;
        if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS) {
            set_accepting(server, false);
            server->accept_again_ms = hf_clock_mono_ms() + BREATHER_MS;
        }
        hf_mutex_unlock(&server->mutex);
        if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS) {
            tell_shortage(server, error);
        }
        if (error != 0 && error != ECONNABORTED && error != EINTR) {
            return;
        }
    }
}

static void add_notice(struct work *work, struct hf_http_request *request, bool is_gone)
{
    request->holders++;
    request->told = true;
    work->notices[work->notice_count++] = (struct notice){.request = request, .is_gone = is_gone};
}

/* Back to its event loop, which closes it; a stream's reader sees that it is gone. The mutex is held. */
static void give_up(struct hf_http_server *server, struct work *work,
                    struct hf_http_request *request)
{
    atomic_store(&request->gone, true);
    if (!request->answered) {
        server->stats.kept--;
        add_notice(work, request, true);
    }
    hf_http_request_resume(request);
}

/* The mutex is held: a connection leaves the set under it, so that what the set reports now is there. */
static void collect_events(struct hf_http_server *server, struct work *work)
{
    struct epoll_event events[BATCH];
    int count = epoll_wait(server->epoll_fd, events, BATCH, 0);
    uint64_t ignored;

    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == server) {
            work->accept = true;
        } else if (events[i].data.ptr == &server->wake_fd) {
            ssize_t got = read(server->wake_fd, &ignored, sizeof ignored);
            (void)got;
        } else {
            struct hf_http_connection *peer = events[i].data.ptr;
            peer->hung_up = true;
            server->look |= peer->suspended != NULL;
        }
    }
}

/* Requests whose client has gone, and deadlines that have passed. The mutex is held. */
static void collect_suspended(struct hf_http_server *server, struct work *work, uint64_t now_ms)
{
    struct hf_http_request *next;

    server->wake_at_ms = now_ms + TICK_MS;
    server->look = false;
    for (struct hf_http_request *request = server->suspended; request != NULL; request = next) {
        next = request->next;
        if (work->notice_count == BATCH) {
            server->look = true; /* the rest in the next round, at once */
            server->wake_at_ms = now_ms;
            return;
        }
        if (request->peer_connection->hung_up) {
            give_up(server, work, request);
        } else if (request->deadline_ms != 0 && !request->told && !request->answered) {
            if (request->deadline_ms <= now_ms) {
                add_notice(work, request, false);
            } else if (request->deadline_ms < server->wake_at_ms) {
                server->wake_at_ms = request->deadline_ms;
            }
        }
    }
}

/* The mutex is held: a connection leaves the list before its socket is closed. */
static void end_receiving(struct hf_http_server *server, uint64_t now_ms)
{
    uint64_t limit_ms = (uint64_t)server->receive_timeout_s * 1000;

    for (struct hf_http_connection *peer = server->connections; peer != NULL; peer = peer->next) {
        if (peer->receiving_since_ms != 0 && now_ms > peer->receiving_since_ms + limit_ms) {
            peer->receiving_since_ms = 0;
            (void)shutdown(peer->fd, SHUT_RDWR);
        } else if (peer->receiving_since_ms != 0 && peer->hung_up) {
            /* The end is there already; this makes it an edge once more. */
            (void)shutdown(peer->fd, SHUT_RD);
        }
    }
}

/* The mutex is held. A connection that fails for want of memory inside the library is not reported as
 * closed: at the limit the library's own count decides. */
static void tick(struct hf_http_server *server, uint64_t now_ms)
{
    end_receiving(server, now_ms);
    if (!server->accepting) {
        const union MHD_DaemonInfo *info =
            MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        if (info != NULL && info->num_connections < server->stats.connections) {
            server->stats.connections = info->num_connections;
        }
    }
}

/* The mutex is held. */
static void accept_again(struct hf_http_server *server, uint64_t now_ms)
{
    if (server->accepting) {
        return;
    }
    if (now_ms < server->accept_again_ms) {
        server->wake_at_ms = server->accept_again_ms < server->wake_at_ms ? server->accept_again_ms
                                                                          : server->wake_at_ms;
    } else if (server->stats.connections < server->connection_limit) {
        set_accepting(server, true);
    }
}

static void give_notice(struct hf_http_server *server, const struct notice *notice)
{
    const struct hf_http_handler *handler = &server->handler;

    if (notice->is_gone) {
        if (handler->on_gone != NULL) {
            handler->on_gone(handler->context, notice->request);
        }
    } else if (handler->on_deadline != NULL) {
        handler->on_deadline(handler->context, notice->request);
    } else {
        hf_http_request_refuse(notice->request, HF_HTTP_REFUSE_DEADLINE);
    }
    hf_http_request_let_go(notice->request);
}

void hf_http_watch_run(void *context)
{
    struct hf_http_server *server = context;
    uint64_t ticked_ms = hf_clock_mono_ms();
    int wait_ms = TICK_MS;

    while (!atomic_load(&server->stopping)) {
        struct pollfd any = {.fd = server->epoll_fd, .events = POLLIN};
        struct work work = {.notice_count = 0};

        /* Takes no event out of the set: that is done under the mutex. */
        (void)poll(&any, 1, wait_ms);
        uint64_t now_ms = hf_clock_mono_ms();
        hf_mutex_lock(&server->mutex);
        if (!atomic_load(&server->stopping)) {
            collect_events(server, &work);
            if (server->look || server->wake_at_ms <= now_ms) {
                collect_suspended(server, &work, now_ms);
            }
        }
        if (now_ms - ticked_ms >= TICK_MS) {
            ticked_ms = now_ms;
            tick(server, now_ms);
        }
        accept_again(server, now_ms);
        wait_ms = server->wake_at_ms > now_ms ? (int)(server->wake_at_ms - now_ms) : 0;
        hf_mutex_unlock(&server->mutex);
        if (work.accept) {
            accept_some(server);
        }
        for (size_t i = 0; i < work.notice_count; i++) {
            give_notice(server, &work.notices[i]);
        }
    }
}
