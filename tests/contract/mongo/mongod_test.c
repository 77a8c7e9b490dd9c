/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and stopping a server process, with programs that are none: what they do wrong is told with their own
 * last words. (With a real one: the integration tests.)
 */
#include "unit/mongo/recorded.h"

#include <string.h>

#include "mongo/mongod.h"

struct fixture {
    char *dir;
    char *program;
    char *dbpath;
};

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_error err;

    assert_non_null(f);
    assert_int_equal(hf_fs_make_temp_dir("hf-mongod", &f->dir, &err), HF_ERR_OK);
    f->program = hf_asprintf("%s/program", f->dir);
    f->dbpath = hf_asprintf("%s/db", f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;

    assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    hf_free(f->dir);
    hf_free(f->program);
    hf_free(f->dbpath);
    hf_free(f);
    return 0;
}

static void write_program(const struct fixture *f, const char *script)
{
    struct hf_error err;

    assert_int_equal(
        hf_fs_publish_replace(f->program, hf_bytes_of_str(hf_str_of(script)), 0700, &err),
        HF_ERR_OK);
}

static enum hf_err start(const struct fixture *f, uint32_t limit_ms, const struct hf_cancel *cancel,
                         struct hf_error *err)
{
    static const char *const parameters[] = {"a=1", NULL};
    struct hf_mongod_options options = {
        .program = f->program,
        .dbpath = f->dbpath,
        .repl_set = "rs0",
        .parameters = parameters,
        .for_looking = true,
        .start_limit_ms = limit_ms,
    };
    HF_CLEANUP(hf_mongod_drop) struct hf_mongod *mongod = NULL;

    enum hf_err result = hf_mongod_start(&options, cancel, &mongod, err);
    assert_null(mongod);
    return result;
}

static void expect_words(const struct hf_error *err, const char *words)
{
    if (strstr(err->message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err->message);
    }
}

static void test_one_that_dies_is_told_with_its_exit_code_and_last_words(void **state)
{
    const struct fixture *f = *state;
    struct hf_error err;

    write_program(f, "#!/bin/sh\necho 'exception: no storage.bson'\nexit 100\n");
    assert_int_equal(start(f, 0, NULL, &err), HF_ERR_INTERNAL);
    expect_words(&err, "start /");
    expect_words(&err, "ended with exit code 100; ");
    expect_words(&err, "/db.log: exception: no storage.bson");
}

static void test_its_own_log_is_quoted_first(void **state)
{
    const struct fixture *f = *state;
    struct hf_error err;

    write_program(f, "#!/bin/sh\nprintf 'one\\nfatal: two\\n' > \"$4\"\nexit 14\n");
    assert_int_equal(start(f, 0, NULL, &err), HF_ERR_INTERNAL);
    expect_words(&err, "exit code 14");
    expect_words(&err, ": one fatal: two");
}

static void test_the_command_line_is_mongods(void **state)
{
    const struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_free) char *expected = NULL;

    write_program(f, "#!/bin/sh\necho \"$1 $2 $3 $4 $5 $6 $7 $9 ${10} ${11} ${12} ${13} ${14} "
                     "${15} ${16}\"\nexit 1\n");
    assert_int_equal(start(f, 0, NULL, &err), HF_ERR_INTERNAL);
    expected = hf_asprintf("--dbpath %s --logpath %s.log --bind_ip 127.0.0.1 --port --replSet rs0 "
                           "--setParameter ttlMonitorEnabled=false --setParameter "
                           "disableLogicalSessionCacheRefresh=true --setParameter a=1",
                           f->dbpath, f->dbpath);
    expect_words(&err, expected);
}

static void test_one_that_never_answers_is_given_up_and_ended(void **state)
{
    const struct fixture *f = *state;
    struct hf_error err;
    struct hf_buf pid = HF_BUF_INIT(64);
    HF_CLEANUP(hf_free) char *pid_path = hf_asprintf("%s/pid", f->dir);
    HF_CLEANUP(hf_free)
    char *script = hf_asprintf("#!/bin/sh\necho $$ > %s\nexec sleep 1000\n", pid_path);

    write_program(f, script);
    assert_int_equal(start(f, 300, NULL, &err), HF_ERR_TIMEOUT);
    expect_words(&err, "no answer within 300 ms: 127.0.0.1:");
    assert_int_equal(hf_fs_read_whole(pid_path, 32, &pid, &err), HF_ERR_OK);
    HF_CLEANUP(hf_free)
    char *proc = hf_asprintf("/proc/%.*s", (int)pid.len - 1, (const char *)pid.data);
    assert_false(hf_fs_exists(proc));
    hf_buf_fini(&pid);
}

static void test_a_start_can_be_cancelled(void **state)
{
    const struct fixture *f = *state;
    struct hf_cancel cancel;
    struct hf_error err;

    write_program(f, "#!/bin/sh\nexec sleep 1000\n");
    hf_cancel_init(&cancel);
    hf_cancel_request(&cancel);
    assert_int_equal(start(f, 0, &cancel, &err), HF_ERR_CANCELLED);
}

static void test_a_program_that_is_not_there_is_named(void **state)
{
    const struct fixture *f = *state;
    struct hf_error err;

    assert_int_equal(start(f, 0, NULL, &err), HF_ERR_NOT_FOUND);
    expect_words(&err, "/program on /");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_one_that_dies_is_told_with_its_exit_code_and_last_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_its_own_log_is_quoted_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_command_line_is_mongods, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_that_never_answers_is_given_up_and_ended, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_start_can_be_cancelled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_program_that_is_not_there_is_named, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
