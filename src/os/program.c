/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks through /proc; starts by two forks, so that whoever adopts orphans becomes the parent.
 */
#include "os/program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"

#define COMMAND_MAX_BYTES ((size_t)256 << 10)
#define GROUPS_MAX 256
#define OUR_PREFIX "HOLDFAST_"

void hf_program_fini(struct hf_program *program)
{
    for (size_t i = 0; program->argv != NULL && program->argv[i] != NULL; i++) {
        hf_free(program->argv[i]);
    }
    hf_free(program->argv);
    hf_free(program->path);
    hf_free(program->directory);
    hf_free(program->output);
    *program = (struct hf_program){.path = NULL};
}

/* ---- Looking ---- */

static void proc_path(uint64_t pid, const char *name, char out[64])
{
    (void)snprintf(out, 64, "/proc/%" PRIu64 "/%s", pid, name);
}

static enum hf_err read_link(uint64_t pid, const char *name, char **out, struct hf_error *err)
{
    char link[64], path[PATH_MAX];

    proc_path(pid, name, link);
    ssize_t len = readlink(link, path, sizeof path);
    if (len < 0) {
        return hf_fail_errno(err, errno, "look at process %" PRIu64 ": %s", pid, name);
    }
    *out = (size_t)len == sizeof path ? NULL : hf_strndup(path, (size_t)len);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "path of process %" PRIu64, pid)
                        : HF_ERR_OK;
}

/* Reads a small file of /proc; *len is what came. */
static bool read_proc(uint64_t pid, const char *name, char *out, size_t capacity, size_t *len)
{
    char path[64];
    size_t got = 0;

    proc_path(pid, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    for (;;) {
        ssize_t more = read(fd, out + got, capacity - got);
        if (more < 0 && errno == EINTR) {
            continue;
        }
        if (more <= 0) {
            break;
        }
        got += (size_t)more;
    }
    (void)close(fd);
    *len = got;
    return true;
}

/* State letter and start time, which follow on the name in brackets. */
static bool read_stat(uint64_t pid, char *state, uint64_t *started)
{
    char text[1024];
    size_t len = 0;

    if (!read_proc(pid, "stat", text, sizeof text - 1, &len)) {
        return false;
    }
    text[len] = '\0';
    const char *at = strrchr(text, ')');
    return at != NULL &&
           sscanf(at + 1,
                  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                  "%*d %" SCNu64,
                  state, started) == 2;
}

bool hf_program_runs(uint64_t pid, uint64_t started)
{
    char state = 'Z';
    uint64_t began = 0;

    return read_stat(pid, &state, &began) && state != 'Z' && state != 'X' &&
           (started == 0 || began == started);
}

static enum hf_err read_arguments(uint64_t pid, struct hf_program *out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *text = hf_alloc_zero(COMMAND_MAX_BYTES);
    size_t len = 0, count = 0;

    out->argv = hf_alloc_zero((HF_PROGRAM_ARGUMENTS_MAX + 1) * sizeof *out->argv);
    if (text == NULL || out->argv == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "command line of process %" PRIu64, pid);
    }
    if (!read_proc(pid, "cmdline", text, COMMAND_MAX_BYTES - 1, &len) || len == 0) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "process %" PRIu64 " shows no command line", pid);
    }
    for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
        if (count == HF_PROGRAM_ARGUMENTS_MAX || len == COMMAND_MAX_BYTES - 1) {
            return hf_fail(err, HF_ERR_LIMIT, "the command line of process %" PRIu64 " is too long",
                           pid);
        }
        if ((out->argv[count++] = hf_strdup(text + at)) == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "command line of process %" PRIu64, pid);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_program_look(uint64_t pid, struct hf_program *out, struct hf_error *err)
{
    HF_CLEANUP(hf_program_fini) struct hf_program program = {.pid = pid};
    HF_CLEANUP(hf_free) char *output = NULL;
    char path[64], state = 'Z';
    struct hf_error ignored;
    struct stat about;

    proc_path(pid, "", path);
    if (stat(path, &about) != 0 || !read_stat(pid, &state, &program.started)) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "there is no process %" PRIu64, pid);
    }
    program.user = about.st_uid;
    program.group = about.st_gid;
    if (read_arguments(pid, &program, err) != HF_ERR_OK ||
        read_link(pid, "exe", &program.path, err) != HF_ERR_OK ||
        read_link(pid, "cwd", &program.directory, err) != HF_ERR_OK) {
        return err->code;
    }
    if (read_link(pid, "fd/1", &output, &ignored) == HF_ERR_OK && output[0] == '/' &&
        stat(output, &about) == 0 && S_ISREG(about.st_mode)) {
        program.output = HF_TAKE(output);
    }
    *out = program;
    program = (struct hf_program){.path = NULL};
    return HF_ERR_OK;
}

enum hf_err hf_program_signal(uint64_t pid, uint64_t started, int signal_number,
                              struct hf_error *err)
{
    if (pid <= 1 || pid > INT_MAX || !hf_program_runs(pid, started)) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "process %" PRIu64 " does not run", pid);
    }
    if (kill((pid_t)pid, signal_number) != 0) {
        return hf_fail_errno(err, errno, "signal process %" PRIu64, pid);
    }
    return HF_ERR_OK;
}

/* ---- Starting ---- */

/* Everything the child needs, prepared before the fork: after it only what is safe in a signal handler may be called. */
struct launch {
    const struct hf_program *program;
    char **env; /* owned array, borrowed texts */
    gid_t groups[GROUPS_MAX];
    int group_count;
    bool other_user;
    int input, output, report[2];
};

static void launch_fini(struct launch *launch)
{
    int *const fds[] = {&launch->input, &launch->output, &launch->report[0], &launch->report[1]};

    for (size_t i = 0; i < HF_ARRAY_LEN(fds); i++) {
        if (*fds[i] >= 0) {
            (void)close(*fds[i]);
        }
    }
    hf_free(launch->env);
}
HF_CLEANUP_DEFINE_VALUE(launch_fini, struct launch)

static char **environment(void)
{
    size_t count = 0, used = 0;

    while (environ[count] != NULL) {
        count++;
    }
    char **env = hf_alloc_zero((count + 1) * sizeof *env);
    for (size_t i = 0; env != NULL && i < count; i++) {
        if (strncmp(environ[i], OUR_PREFIX, sizeof OUR_PREFIX - 1) != 0) {
            env[used++] = environ[i];
        }
    }
    return env;
}

static enum hf_err find_groups(struct launch *launch, struct hf_error *err)
{
    char text[16384];
    struct passwd entry, *found = NULL;

    launch->other_user = launch->program->user != geteuid();
    if (!launch->other_user) {
        return HF_ERR_OK;
    }
    if (geteuid() != 0) {
        return hf_fail(
            err, HF_ERR_DENIED,
            "it runs as user %u and the agent as %u; hint: run the agent as that user or "
            "as root, or give it --member-unit or --member-start",
            launch->program->user, (unsigned)geteuid());
    }
    launch->groups[0] = launch->program->group;
    launch->group_count = 1;
    if (getpwuid_r(launch->program->user, &entry, text, sizeof text, &found) == 0 &&
        found != NULL) {
        launch->group_count = GROUPS_MAX;
        if (getgrouplist(found->pw_name, launch->program->group, launch->groups,
                         &launch->group_count) < 0) {
            return hf_fail(err, HF_ERR_LIMIT, "user %s is in more than %d groups", found->pw_name,
                           GROUPS_MAX);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err prepare(struct launch *launch, struct hf_error *err)
{
    const char *output = launch->program->output;

    if (find_groups(launch, err) != HF_ERR_OK) {
        return err->code;
    }
    if ((launch->env = environment()) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for the environment");
    }
    launch->input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    launch->output = open(output == NULL ? "/dev/null" : output,
                          O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (launch->input < 0 || launch->output < 0) {
        return hf_fail_errno(err, errno, "open %s", output == NULL ? "/dev/null" : output);
    }
    return pipe2(launch->report, O_CLOEXEC) != 0 ? hf_fail_errno(err, errno, "make a pipe")
                                                 : HF_ERR_OK;
}

static void reset_signals(void)
{
    static const int numbers[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP};
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    (void)sigemptyset(&none);
    for (size_t i = 0; i < HF_ARRAY_LEN(numbers); i++) {
        (void)sigaction(numbers[i], &standard, NULL);
    }
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool become(const struct launch *launch)
{
    const struct hf_program *program = launch->program;

    return !launch->other_user || (setgroups((size_t)launch->group_count, launch->groups) == 0 &&
                                   setgid(program->group) == 0 && setuid(program->user) == 0);
}

HF_NORETURN static void run_child(const struct launch *launch)
{
    int cause = 0;

    if (setsid() < 0 || !become(launch) || chdir(launch->program->directory) != 0 ||
        dup2(launch->input, STDIN_FILENO) < 0 || dup2(launch->output, STDOUT_FILENO) < 0 ||
        dup2(launch->output, STDERR_FILENO) < 0) {
        cause = errno;
    }
    if (cause == 0) {
        pid_t pid = fork();
        if (pid > 0) {
            _exit(0);
        }
        if (pid == 0) {
            (void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
            reset_signals();
            (void)execve(launch->program->path, launch->program->argv, launch->env);
        }
        cause = errno;
    }
    (void)!write(launch->report[1], &cause, sizeof cause);
    _exit(127);
}

enum hf_err hf_program_start(const struct hf_program *program, struct hf_error *err)
{
    HF_CLEANUP(launch_fini)
    struct launch launch = {.program = program, .input = -1, .output = -1, .report = {-1, -1}};
    int cause = 0, status = 0;
    ssize_t len;

    if (prepare(&launch, err) != HF_ERR_OK) {
        return hf_wrap(err, "start %s", program->path);
    }
    pid_t pid = fork();
    if (pid < 0) {
        return hf_fail_errno(err, errno, "start %s: fork", program->path);
    }
    if (pid == 0) {
        run_child(&launch);
    }
    (void)close(launch.report[1]);
    launch.report[1] = -1;
    do {
        len = read(launch.report[0], &cause, sizeof cause);
    } while (len < 0 && errno == EINTR);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return len == (ssize_t)sizeof cause ? hf_fail_errno(err, cause, "start %s", program->path)
                                        : HF_ERR_OK;
}
