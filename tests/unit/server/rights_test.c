/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task may do with objects and how much of it, over a catalog and stores in memory.
 */
#include "format/slice.h"
#include "server/keep.h"
#include "server/rights.h"
#include "server/server_internal.h"
#include "store/store.h"
#include "support/format_kit.h"

#define CAPTURE 7
#define LIMIT ((uint64_t)4 << 20)
#define LEAST ((uint64_t)256 << 10) /* what a tiny object counts as */

enum { PROJECT = 1, JOB, WRITER, ATTEMPT, TASK_CAPTURE, TASK_TAIL, TASK_RESTORE, SNAPSHOT, OTHER };

struct rig {
    struct hf_server_app app;
    struct hf_server_rights *rights;
};

static void add_task(struct rig *rig, unsigned id, enum hf_task_kind kind, enum hf_task_state state)
{
    struct hf_error err;
    const struct hf_task_record task = {.id = fixed_id((uint8_t)id),
                                        .project = fixed_id(PROJECT),
                                        .job = fixed_id(JOB),
                                        .agent = fixed_id(OTHER),
                                        .snapshot = fixed_id(SNAPSHOT),
                                        .kind = kind,
                                        .state = state,
                                        .writer = fixed_id(WRITER),
                                        .attempt = fixed_id(ATTEMPT)};
    EXPECT_OK(hf_keep_task_insert(rig->app.catalog, &task, &err), &err);
}

static void add_snapshot(struct rig *rig, uint64_t put_max_bytes)
{
    struct hf_error err;
    const struct hf_snapshot_record snapshot = {.id = fixed_id(SNAPSHOT),
                                                .job = fixed_id(JOB),
                                                .project = fixed_id(PROJECT),
                                                .state = HF_SNAPSHOT_IN_PROGRESS,
                                                .capture = CAPTURE,
                                                .writer = fixed_id(WRITER),
                                                .put_max_bytes = put_max_bytes};
    EXPECT_OK(hf_keep_snapshot_insert(rig->app.catalog, &snapshot, &err), &err);
}

static void rig_begin(struct rig *rig, uint64_t put_max_bytes)
{
    struct hf_error err;
    const struct hf_catalog_options options = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    *rig = (struct rig){.rights = NULL};
    EXPECT_OK(hf_catalog_mem_create(&options, &rig->app.catalog, &err), &err);
    EXPECT_OK(hf_store_mem_create(&rig->app.store, &err), &err);
    EXPECT_OK(hf_store_mem_create(&rig->app.oplog_store, &err), &err);
    EXPECT_OK(hf_server_rights_create(&rig->app, &rig->rights, &err), &err);
    add_snapshot(rig, put_max_bytes);
    add_task(rig, TASK_CAPTURE, HF_TASK_CAPTURE, HF_TASK_RUNNING);
    add_task(rig, TASK_TAIL, HF_TASK_TAIL, HF_TASK_RUNNING);
    add_task(rig, TASK_RESTORE, HF_TASK_RESTORE, HF_TASK_RUNNING);
}

/* A server that starts again knows nothing of what was put before. */
static void forget(struct rig *rig)
{
    struct hf_error err;
    hf_server_rights_destroy(rig->rights);
    rig->rights = NULL;
    EXPECT_OK(hf_server_rights_create(&rig->app, &rig->rights, &err), &err);
}

static void rig_end(struct rig *rig)
{
    hf_server_rights_destroy(rig->rights);
    hf_store_close(rig->app.oplog_store);
    hf_store_close(rig->app.store);
    hf_catalog_close(rig->app.catalog);
}

/* ---- Calls ---- */

static struct hf_object_name pack(uint32_t number)
{
    return (struct hf_object_name){.kind = HF_OBJECT_DATA,
                                   .job = fixed_id(JOB),
                                   .writer = fixed_id(WRITER),
                                   .first = hf_position(CAPTURE, number),
                                   .last = hf_position(CAPTURE, number)};
}

static struct hf_object_name slice(void)
{
    return (struct hf_object_name){.kind = HF_OBJECT_OPLOG,
                                   .job = fixed_id(JOB),
                                   .writer = fixed_id(WRITER),
                                   .first_optime = {.seconds = 5, .increment = 1, .term = 1},
                                   .last_optime = {.seconds = 6, .increment = 1, .term = 1}};
}

static struct hf_object_name of_kind(enum hf_object_kind kind)
{
    struct hf_object_name name = kind == HF_OBJECT_OPLOG ? slice() : pack(1);
    name.kind = kind;
    name.capture = kind == HF_OBJECT_MANIFEST ? CAPTURE : 0;
    name.key = name.wrap = kind == HF_OBJECT_KEYS ? 1 : 0;
    return name;
}

static enum hf_err call(struct rig *rig, unsigned task, const struct hf_server_object_call *more,
                        struct hf_server_permit *out, struct hf_error *err)
{
    const struct hf_id task_id = fixed_id((uint8_t)task), attempt_id = fixed_id(ATTEMPT);
    const struct hf_id_text task_text = hf_id_text(&task_id), attempt = hf_id_text(&attempt_id);
    struct hf_server_object_call made = *more;

    made.project = fixed_id(PROJECT);
    made.task = task_text.text;
    made.attempt = attempt.text;
    return hf_server_rights_allow(rig->rights, &made, out, err);
}

static enum hf_err on_object(struct rig *rig, unsigned task, bool put,
                             const struct hf_object_name *name, struct hf_server_permit *out)
{
    const struct hf_object_text text = hf_object_name_text(name);
    const struct hf_server_object_call more = {.name = hf_str_of(text.text), .put = put};
    struct hf_error err;
    enum hf_err code = call(rig, task, &more, out, &err);

    if (code != HF_ERR_OK) {
        assert_int_equal(code, HF_ERR_DENIED);
        assert_non_null(strstr(err.message, put ? "may not put j/" : "may not read "));
    }
    return code;
}

static void assert_put(struct rig *rig, unsigned task, struct hf_object_name name, bool allowed)
{
    struct hf_server_permit permit;
    assert_int_equal(on_object(rig, task, true, &name, &permit),
                     allowed ? HF_ERR_OK : HF_ERR_DENIED);
}

static struct hf_server_permit permit_of(struct rig *rig, unsigned task)
{
    struct hf_server_permit permit;
    const struct hf_object_name name = task == TASK_TAIL ? slice() : pack(1);
    assert_int_equal(on_object(rig, task, true, &name, &permit), HF_ERR_OK);
    return permit;
}

/* ---- Who ---- */

static void test_a_call_names_a_task_and_its_attempt(void **state)
{
    static const char *const wrong[] = {NULL, "", "0123", "zzzzzzzzzzzzzzzzzzzzzzzz"};
    const struct hf_id id = fixed_id(TASK_CAPTURE);
    const struct hf_id_text text = hf_id_text(&id);
    struct rig rig;
    struct hf_server_permit permit;
    struct hf_error err;

    (void)state;
    rig_begin(&rig, LIMIT);
    for (size_t i = 0; i < HF_ARRAY_LEN(wrong); i++) {
        const struct hf_server_object_call no_task = {.task = wrong[i], .attempt = text.text};
        const struct hf_server_object_call no_attempt = {.task = text.text, .attempt = wrong[i]};
        EXPECT_ERROR(hf_server_rights_allow(rig.rights, &no_task, &permit, &err), HF_ERR_INVALID,
                     "Holdfast-Task and Holdfast-Attempt must name a task", &err);
        EXPECT_ERROR(hf_server_rights_allow(rig.rights, &no_attempt, &permit, &err), HF_ERR_INVALID,
                     "Holdfast-Task and Holdfast-Attempt must name a task", &err);
    }
    rig_end(&rig);
}

static void test_only_a_task_that_runs_has_rights(void **state)
{
    const struct hf_id other = fixed_id(OTHER), capture = fixed_id(TASK_CAPTURE);
    const struct hf_id_text other_text = hf_id_text(&other), task = hf_id_text(&capture);
    const struct hf_object_name name = pack(1);
    const struct hf_object_text text = hf_object_name_text(&name);
    const struct hf_server_object_call more = {.name = hf_str_of(text.text), .put = true};
    const struct hf_server_object_call late = {.project = fixed_id(PROJECT),
                                               .task = task.text,
                                               .attempt = other_text.text,
                                               .name = more.name,
                                               .put = true};
    struct hf_server_object_call foreign = late;
    const struct hf_id attempt = fixed_id(ATTEMPT);
    const struct hf_id_text attempt_text = hf_id_text(&attempt);
    struct rig rig;
    struct hf_server_permit permit;
    struct hf_error err;

    (void)state;
    rig_begin(&rig, LIMIT);
    EXPECT_ERROR(call(&rig, 0x77, &more, &permit, &err), HF_ERR_NOT_FOUND, "", &err);
    add_task(&rig, 0x78, HF_TASK_CAPTURE, HF_TASK_ENDED);
    EXPECT_ERROR(call(&rig, 0x78, &more, &permit, &err), HF_ERR_LOST, "has ended or gone", &err);
    EXPECT_ERROR(hf_server_rights_allow(rig.rights, &late, &permit, &err), HF_ERR_LOST,
                 "has ended or gone to another attempt", &err);
    foreign.project = other;
    foreign.attempt = attempt_text.text;
    EXPECT_ERROR(hf_server_rights_allow(rig.rights, &foreign, &permit, &err), HF_ERR_DENIED,
                 "belongs to another project", &err);
    rig_end(&rig);
}

/* ---- What ---- */

static void test_a_capture_puts_packs_of_its_own_number_and_writer_alone(void **state)
{
    struct hf_object_name tree = of_kind(HF_OBJECT_TREE), foreign = pack(1), groomed = pack(1),
                          before = pack(1), after = pack(1), job = pack(1);
    struct rig rig;

    (void)state;
    foreign.writer = fixed_id(OTHER);
    groomed.round = 1;
    before.first = hf_position(CAPTURE - 1, 9);
    after.last = hf_position(CAPTURE + 1, 0);
    job.job = fixed_id(OTHER);
    rig_begin(&rig, LIMIT);
    assert_put(&rig, TASK_CAPTURE, pack(1), true);
    assert_put(&rig, TASK_CAPTURE, tree, true);
    assert_put(&rig, TASK_CAPTURE, foreign, false);
    assert_put(&rig, TASK_CAPTURE, groomed, false);
    assert_put(&rig, TASK_CAPTURE, before, false);
    assert_put(&rig, TASK_CAPTURE, after, false);
    assert_put(&rig, TASK_CAPTURE, job, false);
    assert_put(&rig, TASK_CAPTURE, slice(), false);
    assert_put(&rig, TASK_CAPTURE, of_kind(HF_OBJECT_MANIFEST), false);
    assert_put(&rig, TASK_CAPTURE, of_kind(HF_OBJECT_CLAIM), false);
    assert_put(&rig, TASK_CAPTURE, of_kind(HF_OBJECT_KEYS), false);
    rig_end(&rig);
}

static void test_a_tail_puts_slices_of_its_own_writer_alone_and_a_restore_nothing(void **state)
{
    struct hf_object_name foreign = slice(), merged = slice();
    struct rig rig;

    (void)state;
    foreign.writer = fixed_id(OTHER);
    merged.round = 1;
    rig_begin(&rig, LIMIT);
    assert_put(&rig, TASK_TAIL, slice(), true);
    assert_put(&rig, TASK_TAIL, foreign, false);
    assert_put(&rig, TASK_TAIL, merged, false);
    assert_put(&rig, TASK_TAIL, pack(1), false);
    assert_put(&rig, TASK_RESTORE, slice(), false);
    assert_put(&rig, TASK_RESTORE, pack(1), false);
    rig_end(&rig);
}

/* Claims and keys are the server's; nobody else reads them. */
static void test_what_each_task_reads_and_lists_and_where_it_lies(void **state)
{
    static const struct {
        enum hf_object_kind kind;
        bool capture, tail, restore;
    } rows[] = {
        {HF_OBJECT_DATA, true, false, true},     {HF_OBJECT_TREE, true, false, true},
        {HF_OBJECT_MANIFEST, true, false, true}, {HF_OBJECT_OPLOG, false, true, true},
        {HF_OBJECT_CLAIM, false, false, false},  {HF_OBJECT_KEYS, false, false, false},
    };
    const struct hf_id job = fixed_id(JOB), other = fixed_id(OTHER);
    struct rig rig;

    (void)state;
    rig_begin(&rig, LIMIT);
    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        const struct hf_object_name name = of_kind(rows[i].kind);
        const bool allowed[] = {rows[i].capture, rows[i].tail, rows[i].restore};
        const struct hf_object_text prefix = hf_object_prefix(rows[i].kind, &job),
                                    foreign = hf_object_prefix(rows[i].kind, &other);
        for (unsigned k = 0; k < 3; k++) {
            const unsigned task = TASK_CAPTURE + k;
            const enum hf_err want = allowed[k] ? HF_ERR_OK : HF_ERR_DENIED;
            const struct hf_server_object_call list = {.name = hf_str_of(prefix.text),
                                                       .list = true},
                                               others = {.name = hf_str_of(foreign.text),
                                                         .list = true};
            struct hf_store *store =
                rows[i].kind == HF_OBJECT_OPLOG ? rig.app.oplog_store : rig.app.store;
            struct hf_server_permit permit = {.store = NULL};
            struct hf_error err;
            assert_int_equal(on_object(&rig, task, false, &name, &permit), want);
            assert_true(!allowed[k] || permit.store == store);
            permit.store = NULL;
            assert_int_equal(call(&rig, task, &list, &permit, &err), want);
            assert_true(!allowed[k] || permit.store == store);
            EXPECT_ERROR(call(&rig, task, &others, &permit, &err), HF_ERR_DENIED, "may not list",
                         &err);
        }
    }
    rig_end(&rig);
}

static void test_a_name_that_is_none_is_refused(void **state)
{
    static const char *const names[] = {"", "holdfast", "../keys", "j/x/p/1"};
    struct rig rig;
    struct hf_server_permit permit;
    struct hf_error err;

    (void)state;
    rig_begin(&rig, LIMIT);
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        const struct hf_server_object_call more = {.name = hf_str_of(names[i])};
        EXPECT_ERROR(call(&rig, TASK_RESTORE, &more, &permit, &err), HF_ERR_INVALID, "", &err);
    }
    rig_end(&rig);
}

/* ---- How much ---- */

static void put_in_store(struct rig *rig, struct hf_object_name name, size_t bytes)
{
    static const uint8_t zeros[(size_t)1 << 20];
    const struct hf_object_text text = hf_object_name_text(&name);
    struct hf_error err;

    assert_true(bytes <= sizeof zeros);
    EXPECT_OK(
        hf_store_put(rig->app.store, hf_str_of(text.text), hf_bytes_of(zeros, bytes), NULL, &err),
        &err);
}

static void test_a_capture_puts_as_much_as_its_record_allows(void **state)
{
    struct rig rig;
    struct hf_error err;

    (void)state;
    rig_begin(&rig, LIMIT);
    const struct hf_server_permit permit = permit_of(&rig, TASK_CAPTURE);
    assert_int_equal(permit.put_max_bytes, LIMIT);
    assert_int_equal(permit.capture, CAPTURE);
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, LIMIT - LEAST, &err), &err);
    /* A tiny object counts as one of LEAST. */
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, 1, &err), &err);
    EXPECT_ERROR(hf_server_rights_book(rig.rights, &permit, 1, &err), HF_ERR_LIMIT,
                 "capture 7 may put 4194304 bytes into the store, and has", &err);
    /* One that failed makes room for another. */
    hf_server_rights_unbook(rig.rights, &permit, 1);
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, LEAST, &err), &err);
    EXPECT_ERROR(hf_server_rights_book(rig.rights, &permit, 1, &err), HF_ERR_LIMIT,
                 "--capture-limit", &err);
    rig_end(&rig);
}

static void test_more_than_all_that_it_may_is_refused_at_once(void **state)
{
    struct rig rig;
    struct hf_error err;

    (void)state;
    rig_begin(&rig, LIMIT);
    const struct hf_server_permit permit = permit_of(&rig, TASK_CAPTURE);
    EXPECT_ERROR(hf_server_rights_book(rig.rights, &permit, LIMIT + 1, &err), HF_ERR_LIMIT, "",
                 &err);
    EXPECT_ERROR(hf_server_rights_book(rig.rights, &permit, UINT64_MAX, &err), HF_ERR_LIMIT, "",
                 &err);
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, LIMIT, &err), &err);
    rig_end(&rig);
}

static void test_what_it_put_before_the_server_started_again_counts(void **state)
{
    struct hf_object_name foreign = pack(3), earlier = pack(4), tree = of_kind(HF_OBJECT_TREE);
    struct rig rig;
    struct hf_error err;

    (void)state;
    foreign.writer = fixed_id(OTHER);
    earlier.first = earlier.last = hf_position(CAPTURE - 1, 4);
    rig_begin(&rig, LIMIT);
    put_in_store(&rig, pack(1), (size_t)1 << 20);
    put_in_store(&rig, tree, 1);
    put_in_store(&rig, foreign, (size_t)1 << 20); /* neither of this attempt ... */
    put_in_store(&rig, earlier, (size_t)1 << 20); /* ... nor of this capture */
    forget(&rig);
    const struct hf_server_permit permit = permit_of(&rig, TASK_CAPTURE);
    const uint64_t left = LIMIT - ((uint64_t)1 << 20) - LEAST;
    EXPECT_ERROR(hf_server_rights_book(rig.rights, &permit, left + 1, &err), HF_ERR_LIMIT, "",
                 &err);
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, left, &err), &err);
    EXPECT_ERROR(hf_server_rights_book(rig.rights, &permit, 1, &err), HF_ERR_LIMIT, "", &err);
    rig_end(&rig);
}

/* A store lists a thousand names at a time. */
static void test_every_page_of_the_list_counts(void **state)
{
    enum { PACKS = 1003 };
    struct rig rig;
    struct hf_error err;

    (void)state;
    rig_begin(&rig, (PACKS + 1) * LEAST);
    for (uint32_t i = 0; i < PACKS; i++) {
        put_in_store(&rig, pack(i), 1);
    }
    const struct hf_server_permit permit = permit_of(&rig, TASK_CAPTURE);
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, LEAST, &err), &err);
    EXPECT_ERROR(hf_server_rights_book(rig.rights, &permit, 1, &err), HF_ERR_LIMIT, "", &err);
    rig_end(&rig);
}

static void test_a_record_of_before_limits_has_none(void **state)
{
    struct rig rig;
    struct hf_error err;

    (void)state;
    rig_begin(&rig, 0);
    const struct hf_server_permit permit = permit_of(&rig, TASK_CAPTURE);
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, UINT64_MAX / 2, &err), &err);
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, UINT64_MAX / 2, &err), &err);
    rig_end(&rig);
}

static void test_a_tail_runs_ahead_of_its_head_by_a_few_slices_only(void **state)
{
    const struct hf_id task = fixed_id(TASK_TAIL);
    struct rig rig;
    struct hf_error err;

    (void)state;
    rig_begin(&rig, LIMIT);
    const struct hf_server_permit permit = permit_of(&rig, TASK_TAIL);
    for (unsigned i = 0; i < 4; i++) {
        EXPECT_OK(hf_server_rights_book(rig.rights, &permit, HF_SLICE_OBJECT_MAX_BYTES, &err),
                  &err);
    }
    EXPECT_ERROR(hf_server_rights_book(rig.rights, &permit, 1, &err), HF_ERR_LIMIT,
                 "the tail has put 201326592 bytes of slices and more, and told of none", &err);
    hf_server_rights_told(rig.rights, &task);
    EXPECT_OK(hf_server_rights_book(rig.rights, &permit, HF_SLICE_OBJECT_MAX_BYTES, &err), &err);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call_names_a_task_and_its_attempt),
        cmocka_unit_test(test_only_a_task_that_runs_has_rights),
        cmocka_unit_test(test_a_capture_puts_packs_of_its_own_number_and_writer_alone),
        cmocka_unit_test(test_a_tail_puts_slices_of_its_own_writer_alone_and_a_restore_nothing),
        cmocka_unit_test(test_what_each_task_reads_and_lists_and_where_it_lies),
        cmocka_unit_test(test_a_name_that_is_none_is_refused),
        cmocka_unit_test(test_a_capture_puts_as_much_as_its_record_allows),
        cmocka_unit_test(test_more_than_all_that_it_may_is_refused_at_once),
        cmocka_unit_test(test_what_it_put_before_the_server_started_again_counts),
        cmocka_unit_test(test_every_page_of_the_list_counts),
        cmocka_unit_test(test_a_record_of_before_limits_has_none),
        cmocka_unit_test(test_a_tail_runs_ahead_of_its_head_by_a_few_slices_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
