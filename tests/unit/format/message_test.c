/* SPDX-License-Identifier: Apache-2.0 */
#include "support/format_kit.h"

#include "format/message.h"

static struct hf_msg_member fixed_member(const char *address)
{
    struct hf_msg_member member = {.hidden = true,
                                   .readable = true,
                                   .set_members = 3,
                                   .priority = 0.5,
                                   .lag_s = 7,
                                   .oplog_first_s = 1000,
                                   .oplog_last_s = 5000};
    (void)snprintf(member.address, sizeof member.address, "%s", address);
    (void)snprintf(member.set_name, sizeof member.set_name, "rs0");
    (void)snprintf(member.db_path, sizeof member.db_path, "/data/db");
    (void)snprintf(member.state, sizeof member.state, "SECONDARY");
    return member;
}

static void test_hello_comes_back(void **state)
{
    struct hf_error err;
    struct hf_msg_member members[] = {fixed_member("a:1"), fixed_member("b:2")};
    struct hf_msg_hello hello = {.agent = fixed_id(1),
                                 .host = "h",
                                 .release = "0.1.0",
                                 .restore_root = "/srv",
                                 .members = {.items = members, .count = 2}};
    HF_CLEANUP(hf_msg_hello_fini) struct hf_msg_hello back = {.host = ""};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    (void)state;
    EXPECT_OK(hf_msg_hello_encode(&hello, &bytes, &err), &err);
    EXPECT_OK(hf_msg_hello_decode(buf_str(&bytes), &back, &err), &err);
    assert_true(hf_id_equal(&back.agent, &hello.agent));
    assert_string_equal(back.restore_root, "/srv");
    assert_int_equal(back.members.count, 2);
    assert_string_equal(back.members.items[1].address, "b:2");
    assert_string_equal(back.members.items[1].state, "SECONDARY");
    assert_true(back.members.items[0].hidden);
    assert_int_equal(back.members.items[0].set_members, 3);
    assert_true(back.members.items[0].priority > 0.4 && back.members.items[0].priority < 0.6);
    assert_int_equal(back.members.items[0].lag_s, 7);
    assert_int_equal(back.members.items[1].oplog_first_s, 1000);
    assert_int_equal(back.members.items[1].oplog_last_s, 5000);
}

static void test_answer_to_hello_comes_back(void **state)
{
    struct hf_error err;
    struct hf_msg_hello_answer answer = {
        .session = "s", .now_ms = 5, .poll_wait_ms = 30000, .progress_ms = 1000};
    struct hf_msg_hello_answer back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    EXPECT_OK(hf_msg_hello_answer_encode(&answer, &bytes, &err), &err);
    EXPECT_OK(hf_msg_hello_answer_decode(buf_str(&bytes), &back, &err), &err);
    assert_string_equal(back.session, "s");
    assert_int_equal(back.poll_wait_ms, 30000);
    EXPECT_ERROR(hf_msg_hello_answer_decode(hf_str_of("{\"protocol\":1}"), &back, &err),
                 HF_ERR_INVALID, "answer to hello: session: missing", &err);
}

static void test_another_protocol_is_refused_by_name(void **state)
{
    struct hf_error err;
    struct hf_msg_hello hello;
    struct hf_msg_poll poll;
    (void)state;
    EXPECT_ERROR(hf_msg_hello_decode(hf_str_of("{\"protocol\":2}"), &hello, &err),
                 HF_ERR_UNSUPPORTED, "hello: protocol version 2, this program speaks version 1",
                 &err);
    EXPECT_ERROR(hf_msg_poll_decode(hf_str_of("{}"), &poll, &err), HF_ERR_UNSUPPORTED,
                 "poll: protocol version 0", &err);
    EXPECT_ERROR(hf_msg_poll_decode(hf_str_of("[]"), &poll, &err), HF_ERR_INVALID,
                 "poll: not an object", &err);
    EXPECT_ERROR(hf_msg_poll_decode(hf_str_of("{"), &poll, &err), HF_ERR_INVALID, "poll", &err);
}

static struct hf_task capture_task(struct hf_ref *lists)
{
    struct hf_task task = {
        .id = fixed_id(1),
        .attempt = fixed_id(2),
        .kind = HF_TASK_CAPTURE,
        .limits = {.workers = 2,
                   .rate_bytes_s = 1000,
                   .compression_level = -3,
                   .block_bytes = 65536},
        .keyring = fixed_keyring(true),
    };
    (void)snprintf(task.capture.member, sizeof task.capture.member, "a:1");
    (void)snprintf(task.capture.set_name, sizeof task.capture.set_name, "rs0");
    task.capture.capture = 17;
    task.capture.writer = fixed_id(3);
    task.capture.snapshot = fixed_id(4);
    task.capture.parent = 16;
    task.capture.parent_root = (struct hf_tree_root){.lists = lists, .list_count = 2};
    task.capture.adopted[0] = (struct hf_adopted){.capture = 15, .writer = fixed_id(5)};
    task.capture.adopted_count = 1;
    task.capture.read_all = true;
    task.capture.prove_parent = true;
    return task;
}

static void test_tasks_come_back_in_a_poll_answer(void **state)
{
    struct hf_error err;
    struct hf_ref lists[] = {fixed_ref(1), fixed_ref(2)};
    char info[] = "Restore Information\n";
    struct hf_task tasks[2] = {capture_task(lists)};
    struct hf_id cancels[] = {fixed_id(9)};
    struct hf_msg_outcome outcomes[] = {
        {.task = fixed_id(8), .code = HF_ERR_LOST, .message = "given up"}};
    struct hf_msg_poll_answer answer = {.tasks = tasks,
                                        .task_count = 2,
                                        .cancels = cancels,
                                        .cancel_count = 1,
                                        .outcomes = outcomes,
                                        .outcome_count = 1};
    HF_CLEANUP(hf_msg_poll_answer_fini) struct hf_msg_poll_answer back = {.tasks = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    (void)state;
    tasks[1] = tasks[0];
    tasks[1].kind = HF_TASK_RESTORE;
    tasks[1].restore = (struct hf_task_restore){.restore = fixed_id(6),
                                                .snapshot = fixed_id(4),
                                                .capture = 16,
                                                .directory = "/srv/x",
                                                .restore_info = info,
                                                .root = {.lists = lists, .list_count = 1}};
    EXPECT_OK(hf_msg_poll_answer_encode(&answer, &bytes, &err), &err);
    assert_null(memmem(bytes.data, bytes.len, "sealKey", 7)); /* the server keeps it */
    EXPECT_OK(hf_msg_poll_answer_decode(buf_str(&bytes), &back, &err), &err);
    assert_int_equal(back.task_count, 2);
    const struct hf_task *capture = &back.tasks[0];
    assert_int_equal(capture->kind, HF_TASK_CAPTURE);
    assert_int_equal(capture->limits.compression_level, -3);
    assert_int_equal(capture->limits.block_bytes, 65536);
    assert_int_equal(capture->capture.capture, 17);
    assert_int_equal(capture->capture.parent_root.list_count, 2);
    assert_true(hf_ref_equal(&capture->capture.parent_root.lists[1], &lists[1]));
    assert_int_equal(capture->capture.adopted[0].capture, 15);
    assert_true(capture->capture.read_all);
    assert_true(capture->capture.prove_parent);
    assert_int_equal(capture->keyring.data_key_count, 2);
    assert_false(capture->keyring.has_seal_key);
    const struct hf_task *restore = &back.tasks[1];
    assert_int_equal(restore->kind, HF_TASK_RESTORE);
    assert_string_equal(restore->restore.directory, "/srv/x");
    assert_string_equal(restore->restore.restore_info, info);
    assert_int_equal(restore->restore.root.list_count, 1);
    assert_true(hf_id_equal(&back.cancels[0], &cancels[0]));
    assert_int_equal(back.outcomes[0].code, HF_ERR_LOST);
    assert_string_equal(back.outcomes[0].message, "given up");
}

static void test_a_restore_to_a_point_comes_back(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_json_drop) struct hf_json *options = hf_json_object();
    struct hf_task task = {.id = fixed_id(2), .attempt = fixed_id(3), .kind = HF_TASK_RESTORE};
    HF_CLEANUP(hf_task_fini) struct hf_task back = {.kind = HF_TASK_CAPTURE};
    (void)state;
    hf_json_set_bool(options, "directoryPerDB", true);
    task.restore = (struct hf_task_restore){
        .restore = fixed_id(6),
        .snapshot = fixed_id(4),
        .capture = 16,
        .directory = "/srv/x",
        .point = {.wanted = true,
                  .seconds = 1795450667,
                  .increment = 68,
                  .last = {.seconds = 1795450667, .increment = 60, .term = 3},
                  .checkpoint = {.seconds = 1795450600, .increment = 1, .term = -1},
                  .oplog_end = {.seconds = 1795450602, .increment = 2, .term = 3},
                  .committed = {.seconds = 1795450603, .increment = 9, .term = 3},
                  .fcv = "4.4",
                  .server_version = "4.4.6-8",
                  .engine_options = options}};
    HF_CLEANUP(hf_json_drop)
    struct hf_json *json =
        hf_task_to_json(&task, &(struct hf_task_json_options){.with_keys = false});
    assert_non_null(json);
    EXPECT_OK(hf_task_from_json(json, &back, &err), &err);
    const struct hf_task_point *point = &back.restore.point;
    assert_true(point->wanted);
    assert_false(point->date);
    assert_int_equal(point->seconds, 1795450667);
    assert_int_equal(point->increment, 68);
    assert_int_equal(point->last.increment, 60);
    assert_int_equal(point->last.term, 3);
    assert_int_equal(point->checkpoint.seconds, 1795450600);
    assert_int_equal(point->checkpoint.term, -1);
    assert_int_equal(point->oplog_end.increment, 2);
    assert_int_equal(point->committed.increment, 9);
    assert_string_equal(point->fcv, "4.4");
    assert_string_equal(point->server_version, "4.4.6-8");
    assert_true(hf_json_get_bool(point->engine_options, "directoryPerDB", false));
    hf_json_set_text(hf_json_get(hf_json_get(json, "restore"), "point"), "kind", "moon");
    struct hf_task refused;
    EXPECT_ERROR(hf_task_from_json(json, &refused, &err), HF_ERR_UNSUPPORTED, "point: kind", &err);
    hf_json_set_text(hf_json_get(hf_json_get(json, "restore"), "point"), "kind", "date");
    hf_json_remove(hf_json_get(json, "restore"), "base");
    EXPECT_ERROR(hf_task_from_json(json, &refused, &err), HF_ERR_INVALID, "base", &err);
}

static void test_a_task_is_noted_without_its_keys(void **state)
{
    struct hf_error err;
    struct hf_ref lists[] = {fixed_ref(1), fixed_ref(2)};
    struct hf_task task = capture_task(lists);
    HF_CLEANUP(hf_task_fini) struct hf_task back = {.kind = HF_TASK_CAPTURE};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    (void)state;
    HF_CLEANUP(hf_json_drop)
    struct hf_json *json =
        hf_task_to_json(&task, &(struct hf_task_json_options){.with_keys = false});
    EXPECT_OK(hf_json_encode(json, 0, &bytes, &err), &err);
    assert_null(memmem(bytes.data, bytes.len, "hashKey", 7));
    EXPECT_OK(hf_task_from_json(json, &back, &err), &err);
    assert_true(hf_id_is_none(&back.keyring.job));
    assert_int_equal(back.capture.capture, 17);
}

static void test_poll_comes_back(void **state)
{
    struct hf_error err;
    struct hf_msg_member members[] = {fixed_member("a:1")};
    struct hf_msg_running running[] = {{.task = fixed_id(1), .attempt = fixed_id(2)}};
    struct hf_id ended[] = {fixed_id(3)};
    struct hf_msg_poll poll = {.agent = fixed_id(4),
                               .session = "s",
                               .wait_ms = 30000,
                               .members = {.items = members, .count = 1},
                               .running = running,
                               .running_count = 1,
                               .ended = ended,
                               .ended_count = 1};
    HF_CLEANUP(hf_msg_poll_fini) struct hf_msg_poll back = {.session = ""};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    (void)state;
    running[0].progress = (struct hf_progress_view){.bytes_total = 10,
                                                    .bytes_done = 5,
                                                    .left_s = UINT64_MAX,
                                                    .phase = "capture",
                                                    .current = "collection-7.wt"};
    EXPECT_OK(hf_msg_poll_encode(&poll, &bytes, &err), &err);
    EXPECT_OK(hf_msg_poll_decode(buf_str(&bytes), &back, &err), &err);
    assert_int_equal(back.wait_ms, 30000);
    assert_int_equal(back.running_count, 1);
    assert_int_equal(back.running[0].progress.bytes_done, 5);
    assert_int_equal(back.running[0].progress.left_s, UINT64_MAX);
    assert_string_equal(back.running[0].progress.current, "collection-7.wt");
    assert_true(hf_id_equal(&back.ended[0], &ended[0]));
    assert_int_equal(back.members.count, 1);
}

static void test_finish_comes_back(void **state)
{
    struct hf_error err;
    struct hf_ref lists[] = {fixed_ref(1)};
    struct hf_msg_finish finish = {
        .agent = fixed_id(1),
        .session = "s",
        .task = fixed_id(2),
        .attempt = fixed_id(3),
        .kind = HF_TASK_CAPTURE,
        .root = {.lists = lists, .list_count = 1},
        .adopted_count = 1,
        .times = {.open_ms = 1, .list_ms = 2, .copy_ms = 3, .confirm_ms = 4},
        .damaged_parent_nodes = 4};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    HF_CLEANUP(hf_msg_finish_fini) struct hf_msg_finish back = {.session = ""};
    (void)state;
    finish.adopted[0] = (struct hf_adopted){.capture = 15, .writer = fixed_id(5)};
    finish.facts.committed = (struct hf_optime){.seconds = 5, .increment = 6, .term = 7};
    finish.root.sums.files = 12;
    EXPECT_OK(hf_msg_finish_encode(&finish, &bytes, &err), &err);
    EXPECT_OK(hf_msg_finish_decode(buf_str(&bytes), &back, &err), &err);
    assert_int_equal(back.code, HF_ERR_OK);
    assert_int_equal(back.root.sums.files, 12);
    assert_int_equal(back.facts.committed.term, 7);
    assert_int_equal(back.adopted_count, 1);
    assert_int_equal(back.damaged_parent_nodes, 4);
    assert_memory_equal(&back.times, &finish.times, sizeof back.times);
}

static void test_a_failure_needs_no_result(void **state)
{
    struct hf_error err;
    struct hf_msg_finish finish = {.agent = fixed_id(1),
                                   .session = "s",
                                   .task = fixed_id(2),
                                   .attempt = fixed_id(3),
                                   .kind = HF_TASK_CAPTURE,
                                   .code = HF_ERR_CONFLICT,
                                   .message = "collection-7.wt: shorter than listed"};
    struct hf_msg_finish restored = finish;
    struct hf_msg_finish back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    EXPECT_OK(hf_msg_finish_encode(&finish, &bytes, &err), &err);
    EXPECT_OK(hf_msg_finish_decode(buf_str(&bytes), &back, &err), &err);
    assert_int_equal(back.code, HF_ERR_CONFLICT);
    assert_string_equal(back.message, finish.message);
    restored.kind = HF_TASK_RESTORE;
    restored.code = HF_ERR_OK;
    restored.restored_files = 3;
    hf_buf_clear(&bytes);
    EXPECT_OK(hf_msg_finish_encode(&restored, &bytes, &err), &err);
    EXPECT_OK(hf_msg_finish_decode(buf_str(&bytes), &back, &err), &err);
    assert_int_equal(back.restored_files, 3);
    assert_false(back.replay.done);
    restored.replay = (struct hf_msg_replay){
        .done = true,
        .top = {.seconds = 7, .increment = 8, .term = 2},
        .compared = 1,
        .inserted = 20,
        .inserted_bytes = 300,
        .validated = 4,
        .wrong = 5,
        .notes = "shop.log: 3 documents more than it may hold",
    };
    hf_buf_clear(&bytes);
    EXPECT_OK(hf_msg_finish_encode(&restored, &bytes, &err), &err);
    EXPECT_OK(hf_msg_finish_decode(buf_str(&bytes), &back, &err), &err);
    assert_true(back.replay.done);
    assert_int_equal(back.replay.top.increment, 8);
    assert_int_equal(back.replay.top.term, 2);
    assert_int_equal(back.replay.compared, 1);
    assert_int_equal(back.replay.inserted, 20);
    assert_int_equal(back.replay.inserted_bytes, 300);
    assert_int_equal(back.replay.validated, 4);
    assert_int_equal(back.replay.wrong, 5);
    assert_string_equal(back.replay.notes, restored.replay.notes);
    restored.kind = HF_TASK_TAIL; /* has no result, whatever it ends with */
    hf_buf_clear(&bytes);
    EXPECT_OK(hf_msg_finish_encode(&restored, &bytes, &err), &err);
    assert_null(memmem(bytes.data, bytes.len, "files", 5));
    EXPECT_OK(hf_msg_finish_decode(buf_str(&bytes), &back, &err), &err);
    assert_int_equal(back.kind, HF_TASK_TAIL);
    EXPECT_ERROR(hf_msg_finish_decode(
                     hf_str_of("{\"protocol\":1,\"agent\":\"0102030405060708090a0b0c\",\"task\":"
                               "\"0102030405060708090a0b0c\",\"attempt\":"
                               "\"0102030405060708090a0b0c\",\"kind\":\"tale\",\"error\":\"OK\"}"),
                     &back, &err),
                 HF_ERR_INVALID, "finish: kind: \"tale\"", &err);
}

static void test_lists_of_objects_come_back(void **state)
{
    struct hf_error err;
    struct hf_msg_object items[] = {{.name = "j/x", .size_bytes = 5}};
    struct hf_msg_objects objects = {.items = items, .count = 1, .more = true};
    HF_CLEANUP(hf_msg_objects_fini) struct hf_msg_objects back = {.items = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    EXPECT_OK(hf_msg_objects_encode(&objects, &bytes, &err), &err);
    static const char *const cut[] = {
        "{\"protocol\":1,\"more\":false}",
        "{\"protocol\":1,\"objects\":[]}",
        "{\"protocol\":1,\"objects\":[{\"size\":1}],\"more\":false}",
        "{\"protocol\":1,\"objects\":[{\"name\":\"j/x\"}],\"more\":false}",
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cut); i++) {
        struct hf_msg_objects none = {.items = NULL};
        assert_int_equal(hf_msg_objects_decode(hf_str_of(cut[i]), &none, &err), HF_ERR_INVALID);
    }
    EXPECT_OK(hf_msg_objects_decode(buf_str(&bytes), &back, &err), &err);
    assert_true(back.more);
    assert_string_equal(back.items[0].name, "j/x");
    assert_int_equal(back.items[0].size_bytes, 5);
}

static void test_errors_travel_and_foreign_pages_do_not_pass_for_them(void **state)
{
    struct hf_error err;
    struct hf_error sent;
    struct hf_error got;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    (void)hf_fail(&sent, HF_ERR_NO_SPACE, "put j/x: the disk is full");
    EXPECT_OK(hf_msg_error_encode(&sent, &bytes, &err), &err);
    hf_msg_error_decode(buf_str(&bytes), 507, &got);
    assert_int_equal(got.code, HF_ERR_NO_SPACE);
    assert_string_equal(got.message, "put j/x: the disk is full");
    hf_msg_error_decode(hf_str_of("<html>Bad Gateway</html>"), 502, &got);
    assert_int_equal(got.code, HF_ERR_UNAVAILABLE);
    assert_string_equal(got.message, "HTTP status 502");
    hf_msg_error_decode(hf_str_of("{\"error\":\"OK\",\"message\":\"\"}"), 404, &got);
    assert_int_equal(got.code, HF_ERR_NOT_FOUND);
    static const struct {
        int status;
        enum hf_err code;
    } bare[] = {{429, HF_ERR_BUSY},        {401, HF_ERR_UNAUTHENTICATED}, {403, HF_ERR_DENIED},
                {409, HF_ERR_CONFLICT},    {413, HF_ERR_LIMIT},           {418, HF_ERR_INVALID},
                {302, HF_ERR_UNSUPPORTED}, {500, HF_ERR_UNAVAILABLE},     {200, HF_ERR_INTERNAL}};
    for (size_t i = 0; i < HF_ARRAY_LEN(bare); i++) {
        hf_msg_error_decode(hf_str_of(""), bare[i].status, &got);
        assert_int_equal(got.code, bare[i].code);
    }
}

/* Each with the message that names what is wrong. */
static void test_what_is_wrong_is_named(void **state)
{
#define HEAD "{\"protocol\":1,\"agent\":\"0102030405060708090a0b0c\""
    static const struct {
        const char *text;
        const char *message;
    } polls[] = {
        {"{\"protocol\":1}", "poll: agent: missing"},
        {"{\"protocol\":1,\"agent\":5}", "poll: agent: not an id"},
        {HEAD ",\"waitMs\":-1}", "waitMs"},
        {HEAD ",\"waitMs\":\"1\"}", "waitMs"},
        {HEAD ",\"members\":{}}", "poll: members: not a list of at most 64"},
        {HEAD ",\"members\":[{}]}", "poll: members: address: missing"},
        {HEAD ",\"members\":[{\"address\":7}]}", "poll: members: address: not a text"},
        {HEAD ",\"members\":[{\"address\":\"a\",\"hidden\":1}]}",
         "poll: members: hidden: neither true nor false"},
        {HEAD ",\"running\":[{}]}", "poll: running: task: missing"},
        {HEAD ",\"ended\":[\"x\"]}", "poll: ended: not an id"},
    };
    struct hf_error err;
    struct hf_msg_poll poll;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(polls); i++) {
        EXPECT_ERROR(hf_msg_poll_decode(hf_str_of(polls[i].text), &poll, &err), HF_ERR_INVALID,
                     polls[i].message, &err);
    }
}

static void test_a_task_without_keys_is_refused_on_the_wire(void **state)
{
    static const char text[] =
        "{\"protocol\":1,\"tasks\":[{\"task\":\"0102030405060708090a0b0c\",\"attempt\":"
        "\"0102030405060708090a0b0c\",\"kind\":\"capture\",\"limits\":{},\"capture\":{"
        "\"member\":\"a\",\"set\":\"s\",\"capture\":2,\"writer\":\"0102030405060708090a0b0c\","
        "\"snapshot\":\"0102030405060708090a0b0c\"}}]}";
    struct hf_error err;
    struct hf_msg_poll_answer answer;
    (void)state;
    EXPECT_ERROR(hf_msg_poll_answer_decode(hf_str_of(text), &answer, &err), HF_ERR_INVALID,
                 "tasks: keys: missing", &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_comes_back),
        cmocka_unit_test(test_answer_to_hello_comes_back),
        cmocka_unit_test(test_another_protocol_is_refused_by_name),
        cmocka_unit_test(test_tasks_come_back_in_a_poll_answer),
        cmocka_unit_test(test_a_restore_to_a_point_comes_back),
        cmocka_unit_test(test_a_task_is_noted_without_its_keys),
        cmocka_unit_test(test_poll_comes_back),
        cmocka_unit_test(test_finish_comes_back),
        cmocka_unit_test(test_a_failure_needs_no_result),
        cmocka_unit_test(test_lists_of_objects_come_back),
        cmocka_unit_test(test_errors_travel_and_foreign_pages_do_not_pass_for_them),
        cmocka_unit_test(test_what_is_wrong_is_named),
        cmocka_unit_test(test_a_task_without_keys_is_refused_on_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
