/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's notes: what one life wrote, the next one finds.
 */
#include "agent/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "os/fs.h"

struct fixture {
    char *dir;
};

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_error err;

    if (f == NULL || hf_fs_make_temp_dir("agent-state", &f->dir, &err) != HF_ERR_OK) {
        return -1;
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;

    (void)!hf_fs_remove_tree(f->dir, &err);
    hf_free(f->dir);
    hf_free(f);
    return 0;
}

static struct hf_agent_state *open_state(const struct fixture *f)
{
    struct hf_agent_state *state = NULL;
    struct hf_error err;

    if (hf_agent_state_open(f->dir, &state, &err) != HF_ERR_OK) {
        fail_msg("%s", err.message);
    }
    return state;
}

static void test_the_agent_keeps_its_id_over_restarts(void **state)
{
    struct hf_agent_state *agent = open_state(*state);
    struct hf_id id = *hf_agent_state_id(agent);

    assert_false(hf_id_is_none(&id));
    hf_agent_state_close(agent);
    agent = open_state(*state);
    assert_true(hf_id_equal(&id, hf_agent_state_id(agent)));
    hf_agent_state_close(agent);
}

static void test_a_second_agent_is_kept_off_the_directory(void **state)
{
    struct fixture *f = *state;
    struct hf_agent_state *agent = open_state(f), *second = NULL;
    struct hf_error err;

    assert_int_equal(hf_agent_state_open(f->dir, &second, &err), HF_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "is in use by another agent"));
    assert_null(second);
    hf_agent_state_close(agent);
}

static void test_an_id_file_with_other_content_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_free) char *path = hf_path_join(f->dir, "agent.id");
    struct hf_agent_state *agent = NULL;
    struct hf_error err;

    assert_int_equal(hf_fs_publish_new(path, hf_bytes_of("nonsense\n", 9), 0600, &err), HF_ERR_OK);
    assert_int_equal(hf_agent_state_open(f->dir, &agent, &err), HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "agent.id does not hold an agent id"));
}

static void test_a_cursor_is_found_again_until_it_is_forgotten(void **state)
{
    struct hf_agent_state *agent = open_state(*state);
    struct hf_agent_cursor_note note = {.task = {{1, 2}}};
    HF_CLEANUP(hf_agent_cursors_fini) struct hf_agent_cursors cursors = {0};
    struct hf_error err;

    (void)snprintf(note.member, sizeof note.member, "h:27017");
    (void)snprintf(note.lsid, sizeof note.lsid, "00112233445566778899aabbccddeeff");
    assert_int_equal(hf_agent_state_note_cursor(agent, &note, &err), HF_ERR_OK);
    hf_agent_state_close(agent);
    agent = open_state(*state);
    assert_int_equal(hf_agent_state_cursors(agent, &cursors, &err), HF_ERR_OK);
    assert_int_equal(cursors.count, 1);
    assert_string_equal(cursors.notes[0].member, "h:27017");
    assert_string_equal(cursors.notes[0].lsid, note.lsid);
    assert_true(hf_id_equal(&cursors.notes[0].task, &note.task));
    hf_agent_cursors_fini(&cursors);
    assert_int_equal(hf_agent_state_forget_cursor(agent, &note.task, &err), HF_ERR_OK);
    assert_int_equal(hf_agent_state_forget_cursor(agent, &note.task, &err), HF_ERR_OK);
    assert_int_equal(hf_agent_state_cursors(agent, &cursors, &err), HF_ERR_OK);
    assert_int_equal(cursors.count, 0);
    hf_agent_state_close(agent);
}

static struct hf_task make_task(void)
{
    struct hf_task task = {.id = {{7}}, .attempt = {{8}}, .kind = HF_TASK_RESTORE};

    task.keyring.job = (struct hf_id){{9}};
    task.keyring.encrypted = true;
    task.keyring.data_key_count = 1;
    task.keyring.data_keys[0].version = 1;
    memset(task.keyring.data_keys[0].key, 'K', HF_KEY_BYTES);
    task.restore.restore = (struct hf_id){{10}};
    task.restore.snapshot = (struct hf_id){{11}};
    task.restore.capture = 3;
    (void)snprintf(task.restore.directory, sizeof task.restore.directory, "/restore/x");
    task.restore.restore_info = hf_strdup("Restore Information\n");
    return task;
}

static void test_a_noted_task_comes_back_without_its_keys(void **state)
{
    struct fixture *f = *state;
    struct hf_agent_state *agent = open_state(f);
    HF_CLEANUP(hf_task_fini) struct hf_task task = make_task();
    HF_CLEANUP(hf_agent_noted_fini) struct hf_agent_noted noted = {0};
    HF_CLEANUP(hf_free) char *tasks = hf_path_join(f->dir, "tasks");
    HF_CLEANUP(hf_free) char *path = hf_path_join(tasks, hf_id_text(&task.id).text);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(1 << 20);
    struct hf_error err;

    assert_false(hf_agent_state_has_task(agent, &task.id));
    assert_int_equal(hf_agent_state_note_task(agent, &task, &err), HF_ERR_OK);
    assert_true(hf_agent_state_has_task(agent, &task.id));
    assert_int_equal(hf_fs_read_whole(path, 1 << 20, &text, &err), HF_ERR_OK);
    /* 32 times 'K' in base64 begins so; the keys must not be on disk. */
    assert_null(memmem(text.data, text.len, "S0tLS0", 6));
    assert_int_equal(hf_agent_state_tasks(agent, &noted, &err), HF_ERR_OK);
    assert_int_equal(noted.count, 1);
    assert_true(hf_id_equal(&noted.tasks[0].id, &task.id));
    assert_true(hf_id_equal(&noted.tasks[0].attempt, &task.attempt));
    assert_string_equal(noted.tasks[0].restore.directory, "/restore/x");
    assert_int_equal(noted.tasks[0].keyring.data_key_count, 0);
    hf_agent_state_close(agent);
}

static void test_a_torn_note_is_removed_and_the_rest_is_read(void **state)
{
    struct fixture *f = *state;
    struct hf_agent_state *agent = open_state(f);
    HF_CLEANUP(hf_task_fini) struct hf_task task = make_task();
    HF_CLEANUP(hf_agent_noted_fini) struct hf_agent_noted noted = {0};
    HF_CLEANUP(hf_free) char *tasks = hf_path_join(f->dir, "tasks");
    HF_CLEANUP(hf_free) char *torn = hf_path_join(tasks, "0a0000000000000000000000");
    struct hf_error err;

    assert_int_equal(hf_agent_state_note_task(agent, &task, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_publish_new(torn, hf_bytes_of("{\"task\":", 8), 0600, &err), HF_ERR_OK);
    assert_int_equal(hf_agent_state_tasks(agent, &noted, &err), HF_ERR_OK);
    assert_int_equal(noted.count, 1);
    assert_false(hf_fs_exists(torn));
    hf_agent_state_close(agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_agent_keeps_its_id_over_restarts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_second_agent_is_kept_off_the_directory, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_id_file_with_other_content_is_refused_by_name,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cursor_is_found_again_until_it_is_forgotten, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_noted_task_comes_back_without_its_keys, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_torn_note_is_removed_and_the_rest_is_read, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
