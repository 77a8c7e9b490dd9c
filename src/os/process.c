/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes and facts about this process and host.
 *
 * Between fork and exec the child of a process with threads may only call what is safe in a signal
 * handler: all that allocates or can fail with a story happens before, and the child reports the
 * errno of exec through a pipe.
 */
#include "os/process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/clock.h"

#define LONGEST_WAIT_STEP_MS 10
/* ioprio_set(2), which libc does not wrap: the calling thread; best effort, the last of eight levels. The class below it
 * ("idle") may wait for ever on a busy disk. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_LAST ((2 << 13) | 7)
#define LEAST_NICE 19
#define AUTOGROUP_TRIES 10
#define AUTOGROUP_PAUSE_MS 120

struct hf_process {
    pid_t pid;
    bool ended;
    int exit_code;
};

/* Everything the child needs, prepared before the fork. */
struct launch {
    char *const *argv; /* borrowed */
    char **env;        /* owned array, borrowed texts */
    int input;
    int output; /* -1: inherited */
    int report_read;
    int report_write;
    pid_t parent;
    bool die_with_parent;
};

static void close_if_open(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void launch_fini(struct launch *launch)
{
    hf_free(launch->env);
    close_if_open(launch->input);
    close_if_open(launch->output);
    close_if_open(launch->report_read);
    close_if_open(launch->report_write);
}
HF_CLEANUP_DEFINE_VALUE(launch_fini, struct launch)

static bool same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");
    return strncmp(a, b, len) == 0 && strcspn(b, "=") == len;
}

static bool is_replaced(const char *entry, const char *const *extra)
{
    for (; extra != NULL && *extra != NULL; extra++) {
        if (same_name(entry, *extra)) {
            return true;
        }
    }
    return false;
}

/* exec takes pointers to char that it does not write through. */
static char *without_const(const char *text)
{
    return (char *)(uintptr_t)text;
}

static char **make_env(const char *const *extra)
{
    size_t count = 1, used = 0;
    for (char **entry = environ; *entry != NULL; entry++) {
        count++;
    }
    for (size_t i = 0; extra != NULL && extra[i] != NULL; i++) {
        count++;
    }
    char **env = hf_alloc_array(count, sizeof *env);
    if (env == NULL) {
        return NULL;
    }
    for (char **entry = environ; *entry != NULL; entry++) {
        if (!is_replaced(*entry, extra)) {
            env[used++] = *entry;
        }
    }
    for (size_t i = 0; extra != NULL && extra[i] != NULL; i++) {
        env[used++] = without_const(extra[i]);
    }
    env[used] = NULL;
    return env;
}

static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigaction(SIGPIPE, &standard, NULL);
    (void)sigaction(SIGINT, &standard, NULL);
    (void)sigaction(SIGTERM, &standard, NULL);
    (void)sigaction(SIGHUP, &standard, NULL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

HF_NORETURN static void run_child(const struct launch *launch)
{
    int cause = 0;

    if (launch->die_with_parent) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
            cause = errno;
        } else if (getppid() != launch->parent) {
            _exit(127); /* the parent went before it could be asked for */
        }
    }
    if (cause == 0 && (dup2(launch->input, STDIN_FILENO) < 0 ||
                       (launch->output >= 0 && (dup2(launch->output, STDOUT_FILENO) < 0 ||
                                                dup2(launch->output, STDERR_FILENO) < 0)))) {
        cause = errno;
    }
    if (cause == 0) {
        /* Descriptors that a library opened without the flag; old kernels keep those. */
        (void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
        reset_signals();
        (void)execve(launch->argv[0], launch->argv, launch->env);
        cause = errno;
    }
    (void)!write(launch->report_write, &cause, sizeof cause);
    _exit(127);
}

static enum hf_err prepare(const struct hf_process_options *options, struct launch *launch,
                           struct hf_error *err)
{
    int report[2];

    launch->argv = (char *const *)(uintptr_t)options->argv;
    launch->die_with_parent = options->die_with_parent;
    launch->parent = getpid();
    if ((launch->env = make_env(options->extra_env)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the environment");
    }
    if ((launch->input = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) {
        return hf_fail_errno(err, errno, "open /dev/null");
    }
    if (options->output_path != NULL) {
        launch->output =
            open(options->output_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (launch->output < 0) {
            return hf_fail_errno(err, errno, "open %s", options->output_path);
        }
    }
    if (pipe2(report, O_CLOEXEC) != 0) {
        return hf_fail_errno(err, errno, "make a pipe");
    }
    launch->report_read = report[0];
    launch->report_write = report[1];
    return HF_ERR_OK;
}

static void reap(pid_t pid, int *status)
{
    while (waitpid(pid, status, 0) < 0) {
        HF_ASSERT(errno == EINTR);
    }
}

/* Forks and waits until the child runs the program or says why it cannot. */
static enum hf_err fork_and_exec(struct launch *launch, pid_t *out, struct hf_error *err)
{
    int cause = 0;
    ssize_t len;

    pid_t pid = fork();
    if (pid < 0) {
        return hf_fail_errno(err, errno, "fork");
    }
    if (pid == 0) {
        run_child(launch);
    }
    (void)close(launch->report_write);
    launch->report_write = -1;
    do {
        len = read(launch->report_read, &cause, sizeof cause);
    } while (len < 0 && errno == EINTR);
    if (len == (ssize_t)sizeof cause) {
        int status;
        reap(pid, &status);
        return hf_fail_errno(err, cause, "execute");
    }
    *out = pid;
    return HF_ERR_OK;
}

enum hf_err hf_process_start(const struct hf_process_options *options, struct hf_process **out,
                             struct hf_error *err)
{
    HF_CLEANUP(launch_fini)
    struct launch launch = {.input = -1, .output = -1, .report_read = -1, .report_write = -1};
    HF_CLEANUP(hf_free) struct hf_process *process = hf_alloc_zero(sizeof *process);

    if (process == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "start %s", options->argv[0]);
    }
    if (prepare(options, &launch, err) != HF_ERR_OK ||
        fork_and_exec(&launch, &process->pid, err) != HF_ERR_OK) {
        return hf_wrap(err, "start %s", options->argv[0]);
    }
    *out = HF_TAKE(process);
    return HF_ERR_OK;
}

uint64_t hf_process_id(void)
{
    return (uint64_t)getpid();
}

int hf_process_pid(const struct hf_process *process)
{
    return process->pid;
}

static void note_end(struct hf_process *process, int status)
{
    process->ended = true;
    process->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Looks once, without waiting. */
static enum hf_err look_for_end(struct hf_process *process, struct hf_error *err)
{
    int status;
    pid_t found;
    do {
        found = waitpid(process->pid, &status, WNOHANG);
    } while (found < 0 && errno == EINTR);
    if (found < 0) {
        return hf_fail_errno(err, errno, "wait for process %d", (int)process->pid);
    }
    if (found == process->pid) {
        note_end(process, status);
    }
    return HF_ERR_OK;
}

enum hf_err hf_process_wait(struct hf_process *process, uint64_t timeout_ms, bool *ended,
                            int *exit_code, struct hf_error *err)
{
    uint64_t started_ms = hf_clock_mono_ms();
    uint64_t step_ms = 1;

    while (!process->ended) {
        if (look_for_end(process, err) != HF_ERR_OK) {
            return err->code;
        }
        uint64_t waited_ms = hf_clock_mono_ms() - started_ms;
        if (process->ended || waited_ms >= timeout_ms) {
            break;
        }
        uint64_t left_ms = timeout_ms - waited_ms;
        uint64_t sleep_ms = step_ms < left_ms ? step_ms : left_ms;
        struct timespec pause = {.tv_sec = 0, .tv_nsec = (long)sleep_ms * 1000000};
        (void)nanosleep(&pause, NULL); /* waking early only looks once more */
        step_ms = step_ms < LONGEST_WAIT_STEP_MS ? step_ms * 2 : LONGEST_WAIT_STEP_MS;
    }
    *ended = process->ended;
    *exit_code = process->ended ? process->exit_code : 0;
    return HF_ERR_OK;
}

void hf_process_signal(struct hf_process *process, int signal_number)
{
    if (!process->ended) {
        (void)kill(process->pid, signal_number); /* it is ours until it was waited for */
    }
}

void hf_process_stop(struct hf_process *process, uint64_t grace_ms)
{
    struct hf_error ignored;
    bool ended;
    int exit_code, status;

    if (process == NULL) {
        return;
    }
    hf_process_signal(process, SIGTERM);
    /* Should waiting fail, nobody's child is left to kill. */
    if (hf_process_wait(process, grace_ms, &ended, &exit_code, &ignored) == HF_ERR_OK && !ended) {
        hf_process_signal(process, SIGKILL);
        reap(process->pid, &status);
    }
    hf_free(process);
}

enum hf_err hf_process_find_open(uint64_t pid, const char *name, char **out, struct hf_error *err)
{
    char directory[64], path[4096];
    size_t name_len = strlen(name);
    const struct dirent *entry;
    char *found = NULL;

    (void)snprintf(directory, sizeof directory, "/proc/%llu/fd", (unsigned long long)pid);
    DIR *dir = opendir(directory);
    while (dir != NULL && found == NULL && (entry = readdir(dir)) != NULL) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, path, sizeof path);
        if (len > 0 && (size_t)len < sizeof path && (size_t)len > name_len + 1 && path[0] == '/' &&
            path[(size_t)len - name_len - 1] == '/' &&
            memcmp(path + len - name_len, name, name_len) == 0) {
            found = hf_strndup(path, (size_t)len - name_len - 1);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    if (found == NULL) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "process %llu is not seen to hold a file %s open",
                       (unsigned long long)pid, name);
    }
    *out = found;
    return HF_ERR_OK;
}

enum hf_err hf_self_path(char **out, struct hf_error *err)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path);
    if (len < 0) {
        return hf_fail_errno(err, errno, "read /proc/self/exe");
    }
    if ((size_t)len == sizeof path) {
        return hf_fail(err, HF_ERR_LIMIT, "the path of this program is longer than %zu bytes",
                       sizeof path - 1);
    }
    *out = hf_strndup(path, (size_t)len);
    return *out != NULL ? HF_ERR_OK
                        : hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the path of this program");
}

void hf_host_name(char *out, size_t out_len)
{
    HF_ASSERT(out_len > 0);
    if (gethostname(out, out_len) != 0) {
        (void)snprintf(out, out_len, "localhost");
    }
    out[out_len - 1] = '\0';
}

/* "VmRSS:     1234 kB" in /proc/self/status, as bytes; 0 when it is not there. */
static uint64_t status_bytes(const char *field)
{
    char text[8192];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close_if_open(fd);
    if (len <= 0) {
        return 0;
    }
    text[len] = '\0';
    const char *at = strstr(text, field);
    if (at == NULL) {
        return 0;
    }
    at += strlen(field);
    at += strspn(at, " \t");
    uint64_t kib;
    return hf_parse_u64((struct hf_str){.data = at, .len = strspn(at, "0123456789")}, &kib)
               ? kib * 1024
               : 0;
}

uint64_t hf_resident_bytes(void)
{
    return status_bytes("\nVmRSS:");
}

uint64_t hf_resident_peak_bytes(void)
{
    return status_bytes("\nVmHWM:");
}

uint64_t hf_cpu_ms(void)
{
    struct timespec now = {.tv_sec = 0};

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* mutable: token_of_signals, because a signal handler gets no argument; set once, before any signal
 * is handled. */
static struct hf_cancel *token_of_signals;

static void request_stop(int signal_number)
{
    (void)signal_number;
    hf_cancel_request(token_of_signals); /* a lock-free store */
}

void hf_signals_cancel(struct hf_cancel *cancel)
{
    struct sigaction stop = {.sa_handler = request_stop};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    HF_ASSERT(token_of_signals == NULL && cancel != NULL);
    token_of_signals = cancel;
    (void)sigemptyset(&stop.sa_mask);
    (void)sigemptyset(&ignore.sa_mask);
    HF_ASSERT(sigaction(SIGTERM, &stop, NULL) == 0);
    /* A person who presses Ctrl-C twice means it: the second kills, which is safe at any instant.
     */
    stop.sa_flags = (int)SA_RESETHAND;
    HF_ASSERT(sigaction(SIGINT, &stop, NULL) == 0);
    HF_ASSERT(sigaction(SIGPIPE, &ignore, NULL) == 0);
}

void hf_files_limit_raise(void)
{
    struct rlimit limit;

    HF_ASSERT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    /* Refused where the hard limit is beyond what the kernel allows now: then the soft one stays. */
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

bool hf_stand_back_thread(unsigned nice)
{
    struct sched_param none = {.sched_priority = 0};
    pid_t self = (pid_t)syscall(SYS_gettid);
    int wanted = nice < LEAST_NICE ? (int)nice : LEAST_NICE;

    if (nice == 0) {
        return true;
    }
    bool batch = sched_setscheduler(self, SCHED_BATCH, &none) == 0;
    bool last = syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, self, IOPRIO_LAST) == 0;
    /* Whoever started the program may have asked for more. For Linux, a thread is a process here. */
    int now = getpriority(PRIO_PROCESS, (id_t)self);
    return (now >= wanted || setpriority(PRIO_PROCESS, (id_t)self, wanted) == 0) && batch && last;
}

bool hf_stand_back_session(unsigned nice)
{
    char text[8];

    if (getsid(0) != getpid()) {
        return false;
    }
    int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    int len = snprintf(text, sizeof text, "%u", nice < LEAST_NICE ? nice : (unsigned)LEAST_NICE);
    bool done = false;
    /* The kernel takes one such wish in a tenth of a second, from whomever. */
    for (int tries = 0; tries < AUTOGROUP_TRIES && !done; tries++) {
        done = write(fd, text, (size_t)len) == len;
        if (!done && errno != EAGAIN) {
            break;
        }
        if (!done) {
            hf_cancel_sleep(NULL, AUTOGROUP_PAUSE_MS);
        }
    }
    (void)close(fd);
    return done;
}

uint16_t hf_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    uint16_t port = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &len) == 0) {
        port = ntohs(address.sin_port);
    }
    (void)close(fd);
    return port;
}

bool hf_port_listens(uint16_t port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(port),
                                        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool taken = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    (void)close(fd);
    return taken;
}

bool hf_stdout_is_terminal(unsigned *columns)
{
    struct winsize size = {.ws_col = 0};
    bool terminal = isatty(STDOUT_FILENO) == 1;
    bool known = terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;

    if (columns != NULL) {
        *columns = known ? size.ws_col : 80;
    }
    return terminal;
}
