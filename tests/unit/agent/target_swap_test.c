/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member's directory steps aside and comes back, beside and inside (as for a mount point), with a death at every place:
 * whoever looks next brings it to its end, what is not a database's stays, and never do old and new lie mixed.
 */
#include "agent/target.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/state.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != HF_ERR_OK) {                                                                 \
            fail_msg("%s", err.message);                                                           \
        }                                                                                          \
    } while (0)

struct fixture {
    char *dir, *db_path; /* owned */
    struct hf_agent_state *state;
    struct hf_agent_context context;
    struct hf_agent_target_note note;
};

static const char *const old_files[] = {"WiredTiger",   "WiredTiger.wt", "mongod.lock",
                                        "storage.bson", "a.wt",          "app/b.wt",
                                        "journal/log"};
static const char *const new_files[] = {"WiredTiger", "WiredTiger.wt", "storage.bson",
                                        "a.wt",       "shop/c.wt",     "journal/log"};
static const char *const foreign[] = {"mongod.conf", "log/mongod.log"};

static char *below(const char *dir, const char *name)
{
    char *path = hf_path_join(dir, name);

    assert_non_null(path);
    return path;
}

static void put(const char *dir, const char *name, const char *text)
{
    HF_CLEANUP(hf_free) char *path = below(dir, name);
    char *slash = path;

    /* Without syncing, which would take most of the time. */
    while ((slash = strchr(slash + 1, '/')) != NULL) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool holds(const char *dir, const char *name, const char *text)
{
    HF_CLEANUP(hf_free) char *path = below(dir, name);
    HF_CLEANUP(hf_buf_fini) struct hf_buf got = HF_BUF_INIT(64);
    struct hf_error err;

    return hf_fs_read_whole(path, 64, &got, &err) == HF_ERR_OK && got.len == strlen(text) &&
           memcmp(got.data, text, got.len) == 0;
}

static void make(struct fixture *f, bool inside)
{
    struct hf_error err;

    OK(hf_fs_make_temp_dir("hf-swap", &f->dir, &err));
    f->db_path = below(f->dir, "db");
    HF_CLEANUP(hf_free) char *state = below(f->dir, "state");
    OK(hf_agent_state_open(state, &f->state, &err));
    f->context = (struct hf_agent_context){.state = f->state};
    f->note = (struct hf_agent_target_note){
        .member = "h:1", .set_name = "rs", .inside = inside, .stage = HF_AGENT_TARGET_SWAPPING};
    (void)snprintf(f->note.db_path, sizeof f->note.db_path, "%s", f->db_path);
    HF_CLEANUP(hf_free) char *fresh = hf_agent_target_new_dir(&f->note);
    for (size_t i = 0; i < HF_ARRAY_LEN(old_files); i++) {
        put(f->db_path, old_files[i], "old");
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(foreign); i++) {
        put(f->db_path, foreign[i], "mine");
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(new_files); i++) {
        put(fresh, new_files[i], "new");
    }
    OK(hf_agent_target_note_write(f->state, &f->note, &err));
}

static void unmake(struct fixture *f)
{
    struct hf_error err;

    hf_agent_state_close(f->state);
    OK(hf_fs_remove_tree(f->dir, &err));
    hf_free(f->dir);
    hf_free(f->db_path);
    hf_agent_target_note_fini(&f->note);
}

/* As the agent does it: by what the note on the disk says. */
static enum hf_err run(struct fixture *f, bool back, struct hf_error *err)
{
    HF_CLEANUP(hf_agent_target_note_fini) struct hf_agent_target_note note = {.member = ""};

    return hf_agent_target_note_read(f->state, "h:1", &note, err) != HF_ERR_OK ? err->code
           : back ? hf_agent_target_swap_back(&f->context, &note, err)
                  : hf_agent_target_swap(&f->context, &note, err);
}

/* True when it died at its nth fault point. */
static bool dies(struct fixture *f, bool back, uint64_t nth)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        struct hf_error err;
        hf_fault_arm_death("*", nth);
        _exit(run(f, back, &err) == HF_ERR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

static void expect(const char *dir, const char *const *names, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (!holds(dir, names[i], text)) {
            fail_msg("%s/%s is not '%s'", dir, names[i], text);
        }
    }
}

static void expect_absent(const char *dir, const char *name)
{
    HF_CLEANUP(hf_free) char *path = below(dir, name);

    if (hf_fs_exists(path)) {
        fail_msg("%s is there", path);
    }
}

static void expect_new(const struct fixture *f)
{
    HF_CLEANUP(hf_free) char *old = hf_agent_target_old_dir(&f->note);

    expect(f->db_path, new_files, HF_ARRAY_LEN(new_files), "new");
    expect(f->db_path, foreign, HF_ARRAY_LEN(foreign), "mine");
    expect(old, old_files, HF_ARRAY_LEN(old_files), "old");
    expect_absent(f->db_path, "app");
    expect_absent(f->db_path, "mongod.lock");
    expect_absent(f->db_path, ".holdfast-new");
}

static void expect_old(const struct fixture *f)
{
    HF_CLEANUP(hf_free) char *old = hf_agent_target_old_dir(&f->note);

    expect(f->db_path, old_files, HF_ARRAY_LEN(old_files), "old");
    expect(f->db_path, foreign, HF_ARRAY_LEN(foreign), "mine");
    expect_absent(f->db_path, "shop");
    assert_false(hf_fs_exists(old));
}

static void swap_with_deaths(bool inside)
{
    unsigned deaths = 0;
    bool died = true;
    struct hf_error err;

    for (uint64_t nth = 1; died; nth++) {
        struct fixture f = {.dir = NULL};
        make(&f, inside);
        died = dies(&f, false, nth);
        deaths += died;
        OK(run(&f, false, &err));
        expect_new(&f);
        OK(run(&f, false, &err)); /* done is done */
        expect_new(&f);
        unmake(&f);
    }
    print_message("%u deaths\n", deaths);
    assert_true(deaths > 3);
}

static void back_with_deaths(bool inside)
{
    unsigned deaths = 0;
    bool died = true;
    struct hf_error err;

    for (uint64_t nth = 1; died; nth++) {
        struct fixture f = {.dir = NULL};
        make(&f, inside);
        OK(run(&f, false, &err));
        died = dies(&f, true, nth);
        deaths += died;
        OK(run(&f, true, &err));
        expect_old(&f);
        OK(run(&f, true, &err));
        expect_old(&f);
        unmake(&f);
    }
    print_message("%u deaths\n", deaths);
    assert_true(deaths > 3);
}

/* The way back from wherever a swap died, with a death on the way back too. */
static void both_with_deaths(bool inside)
{
    bool died = true;
    struct hf_error err;

    for (uint64_t nth = 1; died; nth++) {
        struct fixture f = {.dir = NULL};
        make(&f, inside);
        died = dies(&f, false, nth);
        for (uint64_t back = 1 + nth % 5; dies(&f, true, back); back += 7) {
        }
        OK(run(&f, true, &err));
        expect_old(&f);
        unmake(&f);
    }
}

static void test_beside(void **state)
{
    (void)state;
    swap_with_deaths(false);
    back_with_deaths(false);
    both_with_deaths(false);
}

static void test_inside_a_mount_point(void **state)
{
    (void)state;
    swap_with_deaths(true);
    back_with_deaths(true);
    both_with_deaths(true);
}

/* The member died in its first BUILD: nothing was changed, and the way back changes nothing. */
static void test_back_from_before_the_swap(void **state)
{
    struct hf_error err;

    (void)state;
    for (unsigned inside = 0; inside < 2; inside++) {
        struct fixture f = {.dir = NULL};
        make(&f, inside == 1);
        OK(run(&f, true, &err));
        expect_old(&f);
        unmake(&f);
    }
}

static void test_what_counts_as_data(void **state)
{
    struct fixture f = {.dir = NULL};

    (void)state;
    make(&f, false);
    uint64_t before = hf_agent_target_data_bytes(f.db_path);
    assert_true(before >= HF_ARRAY_LEN(old_files) * 512);
    put(f.db_path, "mongod.conf", "some more of what is not a database's, in some more bytes");
    assert_int_equal(hf_agent_target_data_bytes(f.db_path), before);
    put(f.db_path, "other/d.wt", "old");
    assert_true(hf_agent_target_data_bytes(f.db_path) > before);
    unmake(&f);
}

/* What a server does that was launched and takes its time: only then does anybody see it. */
static void come_late(const struct fixture *f)
{
    HF_CLEANUP(hf_free) char *path = below(f->db_path, "mongod.lock");
    char text[24];

    (void)usleep(300000);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        _exit(1);
    }
    int len = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (write(fd, text, (size_t)len) != len) {
        _exit(1);
    }
    for (;;) {
        (void)pause();
    }
}

/* The agent died behind the launch, and the way back begins before the server has its directory. */
static void test_a_stop_waits_for_what_was_launched(void **state)
{
    HF_CLEANUP(hf_agent_target_note_fini) struct hf_agent_target_note note = {.member = ""};
    struct fixture f = {.dir = NULL};
    struct hf_cancel cancel;
    struct hf_error err;
    int status = 0;

    (void)state;
    make(&f, false);
    f.note.coming = true;
    OK(hf_agent_target_note_write(f.state, &f.note, &err));
    OK(hf_agent_target_note_read(f.state, "h:1", &note, &err));
    hf_cancel_init(&cancel);
    const struct hf_agent_work work = {.context = &f.context, .cancel = &cancel};
    pid_t pid = fork();
    if (pid == 0) {
        come_late(&f);
    }
    OK(hf_agent_target_stop(&work, &note, &err));
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
    hf_agent_target_note_fini(&note);
    OK(hf_agent_target_note_read(f.state, "h:1", &note, &err));
    assert_false(note.coming);
    unmake(&f);
}

/* A stop that was cut off after it had told the server to end: the way back must not take it for one that runs. */
static void test_a_start_waits_for_the_end_of_what_was_told_to(void **state)
{
    HF_CLEANUP(hf_agent_target_note_fini) struct hf_agent_target_note note = {.member = ""};
    struct fixture f = {.dir = NULL};
    struct hf_cancel cancel;
    struct hf_error err;
    int status = 0;

    (void)state;
    make(&f, false);
    hf_cancel_init(&cancel);
    const struct hf_agent_work work = {.context = &f.context, .cancel = &cancel};
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGTERM, SIG_IGN); /* it takes its time */
        come_late(&f);
    }
    while (hf_agent_target_is_free(f.db_path, &err) == HF_ERR_OK) {
        (void)usleep(10000);
    }
    OK(hf_agent_target_note_write(f.state, &f.note, &err));
    OK(hf_agent_target_note_read(f.state, "h:1", &note, &err));
    hf_cancel_request(&cancel);
    assert_int_equal(hf_agent_target_stop(&work, &note, &err), HF_ERR_CANCELLED);
    hf_agent_target_note_fini(&note);
    OK(hf_agent_target_note_read(f.state, "h:1", &note, &err));
    assert_true(note.going);
    /* It is waited for, with the patience that is left: none here. */
    assert_int_equal(hf_agent_target_start(&f.context, &note, &cancel, &err), HF_ERR_CANCELLED);
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    /* Gone: now it is to be started; nobody said how. */
    hf_cancel_init(&cancel);
    assert_int_equal(hf_agent_target_start(&f.context, &note, &cancel, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "how it is started is not known"));
    hf_agent_target_note_fini(&note);
    OK(hf_agent_target_note_read(f.state, "h:1", &note, &err));
    assert_false(note.going);
    unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beside),
        cmocka_unit_test(test_inside_a_mount_point),
        cmocka_unit_test(test_back_from_before_the_swap),
        cmocka_unit_test(test_what_counts_as_data),
        cmocka_unit_test(test_a_stop_waits_for_what_was_launched),
        cmocka_unit_test(test_a_start_waits_for_the_end_of_what_was_told_to),
    };

    /* Thousands of syncs, which mean nothing where a process dies and not its host. */
    if (access("/dev/shm", W_OK) == 0) {
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
