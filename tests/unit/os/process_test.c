/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children start, end, are told apart and stopped; facts about this process are true.
 */
#include "room.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/process.h"

#define PATIENCE_MS 20000

static struct hf_process *start_shell(const char *script, const char *output,
                                      const char *const *env)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct hf_process_options options = {.argv = argv, .extra_env = env, .output_path = output};
    struct hf_process *process = NULL;
    struct hf_error err;
    if (hf_process_start(&options, &process, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    assert_true(hf_process_pid(process) > 0);
    return process;
}

static int end_of(struct hf_process *process)
{
    struct hf_error err;
    bool ended = false;
    int exit_code = -1;
    assert_int_equal(hf_process_wait(process, PATIENCE_MS, &ended, &exit_code, &err), HF_ERR_OK);
    assert_true(ended);
    return exit_code;
}

static void test_the_exit_code_comes_back_and_stays(void **state)
{
    (void)state;
    struct hf_process *process = start_shell("exit 7", NULL, NULL);
    assert_int_equal(end_of(process), 7);
    assert_int_equal(end_of(process), 7);
    hf_process_signal(process, SIGKILL); /* nobody is hit */
    hf_process_stop(process, 0);
    hf_process_stop(NULL, 0);
}

static void test_a_signal_shows_in_the_exit_code(void **state)
{
    (void)state;
    struct hf_process *process = start_shell("kill -9 $$", NULL, NULL);
    assert_int_equal(end_of(process), 128 + SIGKILL);
    hf_process_stop(process, 0);
}

static void test_looking_does_not_wait(void **state)
{
    struct hf_error err;
    bool ended = true;
    int exit_code = -1;
    (void)state;
    struct hf_process *process = start_shell("exec sleep 1000", NULL, NULL);
    assert_int_equal(hf_process_wait(process, 0, &ended, &exit_code, &err), HF_ERR_OK);
    assert_false(ended);
    assert_int_equal(exit_code, 0);
    assert_int_equal(hf_process_wait(process, 3, &ended, &exit_code, &err), HF_ERR_OK);
    assert_false(ended);
    hf_process_signal(process, SIGTERM);
    assert_int_equal(end_of(process), 128 + SIGTERM);
    hf_process_stop(process, 0);
}

static void test_stopping_asks_first_and_then_kills(void **state)
{
    struct room *room = *state;
    const char *path = at(room, "out");
    (void)state;
    struct hf_process *polite = start_shell(
        "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done", path, NULL);
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(1000);
    struct hf_error err;
    while (buf.len == 0) { /* until its trap is set */
        assert_int_equal(hf_fs_read_whole(path, 1000, &buf, &err), HF_ERR_OK);
    }
    hf_process_stop(polite, PATIENCE_MS);
    assert_content(path, "up\nbye\n");

    struct hf_process *deaf = start_shell("trap '' TERM; echo up >&2; while :; do sleep 0.01; done",
                                          at(room, "deaf"), NULL);
    int pid = hf_process_pid(deaf);
    hf_buf_clear(&buf);
    while (buf.len == 0) {
        assert_int_equal(hf_fs_read_whole(at(room, "deaf"), 1000, &buf, &err), HF_ERR_OK);
    }
    hf_process_stop(deaf, 1);
    assert_int_equal(kill(pid, 0), -1);
}

static void test_output_is_appended_and_input_is_empty(void **state)
{
    struct room *room = *state;
    const char *path = at(room, "out");
    put(path, "before\n");
    struct hf_process *process = start_shell("echo out; echo err >&2; cat", path, NULL);
    assert_int_equal(end_of(process), 0);
    hf_process_stop(process, 0);
    assert_content(path, "before\nout\nerr\n");
}

static void test_the_environment_is_extended_and_overridden(void **state)
{
    struct room *room = *state;
    const char *path = at(room, "out");
    const char *const env[] = {"HF_TEST_A=new", "HF_TEST_B=2", NULL};
    assert_int_equal(setenv("HF_TEST_A", "old", 1), 0);
    assert_int_equal(setenv("HF_TEST_AB", "kept", 1), 0);
    struct hf_process *process = start_shell(
        "echo $HF_TEST_A $HF_TEST_B $HF_TEST_AB; env | grep -c '^HF_TEST_A='", path, env);
    assert_int_equal(end_of(process), 0);
    hf_process_stop(process, 0);
    assert_content(path, "new 2 kept\n1\n");
}

static void test_what_cannot_start_says_why(void **state)
{
    struct room *room = *state;
    struct hf_error err;
    struct hf_process *process = NULL;
    const char *program = at(room, "absent");
    const char *const argv[] = {program, NULL};
    const char *const good[] = {"/bin/sh", NULL};
    struct hf_process_options options = {.argv = argv};
    assert_int_equal(hf_process_start(&options, &process, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "start ", program, ": execute: No such file or directory");
    put(program, "no program");
    assert_int_equal(hf_process_start(&options, &process, &err), HF_ERR_DENIED);
    assert_message(&err, "start ", program, ": execute: Permission denied");
    const char *output = at(room, "absent-dir/out");
    options = (struct hf_process_options){.argv = good, .output_path = output};
    assert_int_equal(hf_process_start(&options, &process, &err), HF_ERR_NOT_FOUND);
    assert_message(&err, "start /bin/sh: open ", output, ": No such file or directory");
    for (uint64_t nth = 1; nth <= 2; nth++) {
        hf_fault_disarm_all();
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        assert_int_equal(hf_process_start(&options, &process, &err), HF_ERR_NO_MEMORY);
        assert_int_equal(strncmp(err.message, "start /bin/sh", 13), 0);
    }
    assert_null(process);
}

static void test_a_child_has_no_descriptors_or_signals_of_ours(void **state)
{
    struct room *room = *state;
    const char *path = at(room, "out");
    int leaked = dup(STDIN_FILENO); /* without close-on-exec, as a library might */
    sigset_t block, before;
    (void)sigemptyset(&block);
    (void)sigaddset(&block, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &block, &before);
    void (*pipe_before)(int) = signal(SIGPIPE, SIG_IGN);
    /* Each in the shell's place: while a shell waits or pipes, it blocks signals and holds descriptors itself. */
    struct hf_process *list = start_shell("exec ls /proc/self/fd", at(room, "list"), NULL);
    struct hf_process *process =
        start_shell("exec grep -E '^Sig(Blk|Ign)' /proc/self/status", path, NULL);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)signal(SIGPIPE, pipe_before);
    assert_int_equal(end_of(process), 0);
    assert_int_equal(end_of(list), 0);
    hf_process_stop(process, 0);
    hf_process_stop(list, 0);
    (void)close(leaked);
    assert_content(at(room, "list"), "0\n1\n2\n3\n"); /* 3 is the directory that ls reads */
    HF_CLEANUP(hf_buf_fini) struct hf_buf buf = HF_BUF_INIT(1000);
    struct hf_error err;
    assert_int_equal(hf_fs_read_whole(path, 1000, &buf, &err), HF_ERR_OK);
    const char *text = hf_buf_text(&buf);
    assert_non_null(strstr(text, "SigBlk:\t0000000000000000"));
    const char *ignored = strstr(text, "SigIgn:\t");
    assert_non_null(ignored);
    assert_int_equal(strtoul(ignored + 8, NULL, 16) & (1u << (SIGPIPE - 1)), 0);
}

static void test_a_child_dies_with_its_parent_when_told(void **state)
{
    struct room *room = *state;
    const char *path = at(room, "pid");
    int status, ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        const char *const argv[] = {"/bin/sh", "-c", "exec sleep 1000", NULL};
        struct hf_process_options options = {
            .argv = argv, .output_path = path, .die_with_parent = true};
        struct hf_process *process;
        struct hf_error err;
        if (hf_process_start(&options, &process, &err) != HF_ERR_OK) {
            _exit(1);
        }
        int pid = hf_process_pid(process);
        _exit(write(ends[1], &pid, sizeof pid) == (ssize_t)sizeof pid ? 0 : 1);
    }
    int pid = 0;
    (void)close(ends[1]);
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
    /* The pipe is held by nobody else; the orphan is gone or a zombie of the machine's first process. */
    assert_int_equal(read(ends[0], &byte, 1), 0);
    char name[64], line[64] = "";
    (void)snprintf(name, sizeof name, "/proc/%d/stat", pid);
    for (int i = 0; i < 1000; i++) {
        FILE *stream = fopen(name, "r");
        if (stream == NULL) {
            break;
        }
        const char *got = fgets(line, sizeof line, stream);
        (void)fclose(stream);
        if (got == NULL || strstr(line, ") Z") != NULL) {
            break;
        }
        assert_true(i < 999);
        (void)usleep(10000);
    }
    (void)close(ends[0]);
}

static void test_facts_about_this_process_and_host(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = NULL;
    char host[256] = "", tiny[2];
    unsigned columns = 0;
    (void)state;
    assert_int_equal(hf_self_path(&path, &err), HF_ERR_OK);
    assert_int_equal(path[0], '/');
    assert_string_equal(strrchr(path, '/') + 1, program_invocation_short_name);
    char *none = NULL;
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_int_equal(hf_self_path(&none, &err), HF_ERR_NO_MEMORY);
    hf_host_name(host, sizeof host);
    assert_true(strlen(host) > 0);
    hf_host_name(tiny, sizeof tiny);
    assert_int_equal(tiny[1], '\0');
    uint64_t resident = hf_resident_bytes();
    assert_true(resident > 100000);
    assert_true(hf_resident_peak_bytes() >= resident);
    (void)hf_stdout_is_terminal(&columns);
    assert_true(columns > 0);
}

static void test_the_directory_of_a_file_that_a_process_holds_open_is_found(void **state)
{
    HF_CLEANUP(hf_free) char *found = NULL;
    struct hf_error err;
    char path[4096];

    const struct room *room = *state;

    (void)snprintf(path, sizeof path, "%s/held.lock", room->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(hf_process_find_open((uint64_t)getpid(), "held.lock", &found, &err),
                     HF_ERR_OK);
    assert_string_equal(found, room->dir);
    (void)close(fd);
    char *gone = NULL;
    assert_int_equal(hf_process_find_open((uint64_t)getpid(), "held.lock", &gone, &err),
                     HF_ERR_NOT_FOUND);
    /* Of a longer name only the whole last part counts. */
    assert_int_equal(hf_process_find_open((uint64_t)getpid(), "eld.lock", &gone, &err),
                     HF_ERR_NOT_FOUND);
    assert_int_equal(hf_process_find_open(UINT64_MAX, "held.lock", &gone, &err), HF_ERR_NOT_FOUND);
    assert_null(gone);
}

static void test_stdout_that_is_a_file_is_no_terminal(void **state)
{
    unsigned columns = 0;
    (void)state;
    int before = dup(STDOUT_FILENO), ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(stdout);
    (void)dup2(ends[1], STDOUT_FILENO);
    bool is_terminal = hf_stdout_is_terminal(&columns) || hf_stdout_is_terminal(NULL);
    (void)dup2(before, STDOUT_FILENO);
    (void)close(before);
    (void)close(ends[0]);
    (void)close(ends[1]);
    assert_false(is_terminal);
    assert_int_equal(columns, 80);
}

static void test_a_terminal_tells_its_width(void **state)
{
    struct winsize size = {.ws_row = 50, .ws_col = 132};
    unsigned columns = 0;
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        skip();
    }
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    (void)fflush(stdout);
    int before = dup(STDOUT_FILENO);
    (void)dup2(terminal, STDOUT_FILENO);
    bool is_terminal = hf_stdout_is_terminal(&columns) && hf_stdout_is_terminal(NULL);
    (void)dup2(before, STDOUT_FILENO);
    (void)close(before);
    (void)close(terminal);
    (void)close(master);
    assert_true(is_terminal);
    assert_int_equal(columns, 132);
}

static void test_waiting_for_a_child_that_was_taken_away_fails(void **state)
{
    struct hf_error err;
    char expected[100];
    bool ended;
    int exit_code, status;
    (void)state;
    struct hf_process *process = start_shell("exit 0", NULL, NULL);
    int pid = hf_process_pid(process);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(hf_process_wait(process, 10, &ended, &exit_code, &err), HF_ERR_IO);
    (void)snprintf(expected, sizeof expected, "wait for process %d: No child processes", pid);
    assert_string_equal(err.message, expected);
    hf_process_stop(process, 10);
}

static void test_the_limit_of_open_files_goes_up_to_the_hard_one(void **state)
{
    struct rlimit before, low, after;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    hf_files_limit_raise();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
    assert_true(after.rlim_cur == before.rlim_max && after.rlim_max == before.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void test_a_free_port_can_be_bound_and_listened_on(void **state)
{
    (void)state;
    uint16_t port = hf_free_port();
    assert_true(port > 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_false(hf_port_listens(port));
    assert_int_equal(listen(fd, 1), 0);
    assert_true(hf_port_listens(port));
    (void)close(fd);
    assert_false(hf_port_listens(port));
}

/* In a child, because the choice holds for the whole process. */
static void test_signals_request_the_token_and_a_second_ctrl_c_kills(void **state)
{
    int status;
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static struct hf_cancel cancel;
        hf_cancel_init(&cancel);
        hf_signals_cancel(&cancel);
        (void)raise(SIGPIPE);
        bool before = hf_cancel_requested(&cancel);
        (void)raise(SIGTERM);
        (void)raise(SIGTERM);
        bool after = hf_cancel_requested(&cancel);
        hf_cancel_init(&cancel);
        (void)raise(SIGINT);
        if (before || !after || !hf_cancel_requested(&cancel)) {
            _exit(1);
        }
        (void)raise(SIGINT);
        _exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

/* ---- Standing back ---- */

static int own_nice(void)
{
    return getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
}

struct stander {
    unsigned nice;
    bool done;
    int found_nice, found_policy;
    long found_turn;
};

static void stand_back(void *argument)
{
    struct stander *stander = argument;
    stander->done = hf_stand_back_thread(stander->nice);
    stander->found_nice = own_nice();
    stander->found_policy = sched_getscheduler(0);
    stander->found_turn = syscall(SYS_ioprio_get, 1, 0);
}

static struct stander stand_back_in_a_thread(unsigned nice)
{
    struct stander stander = {.nice = nice};
    struct hf_thread *thread = NULL;
    struct hf_error err;
    assert_int_equal(hf_thread_start("stander", stand_back, &stander, &thread, &err), HF_ERR_OK);
    hf_thread_join(thread);
    return stander;
}

static void test_a_thread_stands_back_and_others_do_not(void **state)
{
    (void)state;
    int nice_before = own_nice(), policy_before = sched_getscheduler(0);
    struct stander most = stand_back_in_a_thread(19);
    assert_true(most.done);
    assert_int_equal(most.found_nice, 19);
    assert_int_equal(most.found_policy, SCHED_BATCH);
    assert_int_equal(most.found_turn & 7, 7);
    assert_int_equal(most.found_turn >> 13, 2); /* best effort: it comes to its turn */
    struct stander little = stand_back_in_a_thread(1);
    assert_int_equal(little.found_nice, nice_before > 1 ? nice_before : 1);
    assert_int_equal(stand_back_in_a_thread(1000).found_nice, 19);
    struct stander none = stand_back_in_a_thread(0);
    assert_true(none.done);
    assert_int_equal(none.found_nice, nice_before);
    assert_int_equal(none.found_policy, policy_before);
    assert_int_equal(own_nice(), nice_before);
    assert_int_equal(sched_getscheduler(0), policy_before);
}

/* What /proc says of this process's session, or "" where the kernel does not group sessions. */
static void read_autogroup(char out[128])
{
    int fd = open("/proc/self/autogroup", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, out, 127);
    out[len < 0 ? 0 : len] = '\0';
    (void)close(fd);
}

static void test_a_session_stands_back_only_for_its_leader(void **state)
{
    (void)state;
    char before[128], after[128];
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        read_autogroup(before);
        bool refused = !hf_stand_back_session(19);
        read_autogroup(after);
        if (!refused || strcmp(before, after) != 0) {
            _exit(1); /* it was not ours to change */
        }
        if (setsid() < 0) {
            _exit(2);
        }
        bool done = hf_stand_back_session(19);
        read_autogroup(after);
        /* A container may show the file and refuse to have it written. */
        bool shown = strstr(after, " nice 19") != NULL;
        if (done != shown) {
            _exit(3);
        }
        bool back = hf_stand_back_session(0);
        read_autogroup(after);
        _exit(back == done && (!back || strstr(after, " nice 0") != NULL) ? 0 : 4);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_exit_code_comes_back_and_stays),
        cmocka_unit_test(test_a_signal_shows_in_the_exit_code),
        cmocka_unit_test(test_looking_does_not_wait),
        IN_ROOM(test_stopping_asks_first_and_then_kills),
        IN_ROOM(test_output_is_appended_and_input_is_empty),
        IN_ROOM(test_the_environment_is_extended_and_overridden),
        IN_ROOM(test_what_cannot_start_says_why),
        IN_ROOM(test_a_child_has_no_descriptors_or_signals_of_ours),
        IN_ROOM(test_a_child_dies_with_its_parent_when_told),
        IN_ROOM(test_facts_about_this_process_and_host),
        IN_ROOM(test_the_directory_of_a_file_that_a_process_holds_open_is_found),
        cmocka_unit_test(test_stdout_that_is_a_file_is_no_terminal),
        cmocka_unit_test(test_a_terminal_tells_its_width),
        cmocka_unit_test(test_waiting_for_a_child_that_was_taken_away_fails),
        cmocka_unit_test(test_the_limit_of_open_files_goes_up_to_the_hard_one),
        cmocka_unit_test(test_a_free_port_can_be_bound_and_listened_on),
        cmocka_unit_test(test_a_thread_stands_back_and_others_do_not),
        cmocka_unit_test(test_a_session_stands_back_only_for_its_leader),
        cmocka_unit_test(test_signals_request_the_token_and_a_second_ctrl_c_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
