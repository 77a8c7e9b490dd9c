/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several stores in one installation: the first ones at a start, others that are added, one that is away, and which of them a
 * job is given.
 */
#include "base/alloc.h"
#include "os/fs.h"
#include "server/flow.h"
#include "server/keep.h"
#include "server/stores_internal.h"
#include "snapshot/keys.h"
#include "support/format_kit.h"

struct rig {
    struct hf_server_app app;
    char *dir; /* owned */
    struct hf_buf news;
};

static char *path_of(const struct rig *rig, const char *name)
{
    char *path = hf_path_join(rig->dir, name);
    assert_non_null(path);
    return path;
}

/* "file://DIR/name" in one of a few places. */
static const char *url_of(const struct rig *rig, const char *name)
{
    static char urls[4][600];
    static unsigned next;
    char *out = urls[next++ % 4];
    (void)snprintf(out, sizeof urls[0], "file://%s/%s", rig->dir, name);
    return out;
}

static enum hf_err open_stores(struct rig *rig, struct hf_server_app *app, const char *oplog,
                               struct hf_error *err)
{
    char oplog_url[600];
    const struct hf_stores_wish wish = {.data_dir = rig->dir,
                                        .installation = fixed_id(1),
                                        .url = url_of(rig, "first"),
                                        .oplog_url = oplog == NULL ? NULL : oplog_url};
    (void)snprintf(oplog_url, sizeof oplog_url, "file://%s/%s", rig->dir,
                   oplog == NULL ? "" : oplog);
    return hf_stores_open(app, &wish, &rig->news, err);
}

static void rig_begin(struct rig *rig, const char *oplog)
{
    struct hf_error err;
    const struct hf_catalog_options options = {.kinds = hf_backup_kinds,
                                               .kind_count = hf_backup_kind_count};
    *rig = (struct rig){.news = HF_BUF_INIT(4096)};
    EXPECT_OK(hf_fs_make_temp_dir("stores", &rig->dir, &err), &err);
    EXPECT_OK(hf_catalog_mem_create(&options, &rig->app.catalog, &err), &err);
    EXPECT_OK(open_stores(rig, &rig->app, oplog, &err), &err);
}

static void rig_end(struct rig *rig)
{
    struct hf_error err;
    hf_stores_close(&rig->app);
    hf_catalog_close(rig->app.catalog);
    EXPECT_OK(hf_fs_remove_tree(rig->dir, &err), &err);
    hf_free(rig->dir);
    hf_buf_fini(&rig->news);
}

/* The server ends, and starts again. */
static enum hf_err again(struct rig *rig, const char *oplog, struct hf_error *err)
{
    hf_stores_close(&rig->app);
    rig->app.mark = (struct hf_storemark){.epoch = 0};
    return open_stores(rig, &rig->app, oplog, err);
}

static struct hf_store_record add(struct rig *rig, const char *name, bool oplog, bool plain)
{
    struct hf_error err;
    struct hf_store_record out;
    struct hf_stores_add wish = {.plain = plain, .record = {.oplog = oplog, .load_factor = 1}};
    char *key_path = NULL;
    (void)snprintf(wish.record.name, sizeof wish.record.name, "%s", name);
    (void)snprintf(wish.record.url, sizeof wish.record.url, "%s", url_of(rig, name));
    EXPECT_OK(hf_stores_add(&rig->app, &wish, &out, &key_path, &err), &err);
    assert_int_equal(key_path != NULL, !plain);
    hf_free(key_path);
    return out;
}

static enum hf_err try_add(struct rig *rig, const char *name, const char *at, struct hf_error *err)
{
    struct hf_store_record out;
    struct hf_stores_add wish = {.record = {.load_factor = 1}};
    char *key_path = NULL;
    (void)snprintf(wish.record.name, sizeof wish.record.name, "%s", name);
    (void)snprintf(wish.record.url, sizeof wish.record.url, "%s", at);
    enum hf_err code = hf_stores_add(&rig->app, &wish, &out, &key_path, err);
    hf_free(key_path);
    return code;
}

static void add_job(struct rig *rig, uint8_t number, const struct hf_id *store,
                    const struct hf_id *oplog)
{
    struct hf_error err;
    const struct hf_id none = {{0}};
    struct hf_job_record job = {.id = fixed_id(number),
                                .project = fixed_id(5),
                                .cluster = fixed_id(number),
                                .store = *store,
                                .oplog_store = oplog == NULL ? none : *oplog,
                                .state = HF_JOB_STARTED,
                                .next_capture = 1};
    (void)snprintf(job.set_name, sizeof job.set_name, "rs%u", number);
    EXPECT_OK(hf_keep_job_insert(rig->app.catalog, &job, &err), &err);
}

/* The next call looks at the disk, as it does after a second. */
static void forget_looks(struct rig *rig)
{
    for (size_t i = 0; i < rig->app.stores->count; i++) {
        rig->app.stores->entries[i]->seen_ms = 0;
    }
}

static void move(struct rig *rig, const char *from, const char *to)
{
    char *a = path_of(rig, from), *b = path_of(rig, to);
    assert_int_equal(rename(a, b), 0);
    hf_free(a);
    hf_free(b);
    forget_looks(rig);
}

/* ---- The first ones ---- */

static void test_a_first_start_makes_a_store_and_a_second_finds_it(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_open_store at;
    (void)state;
    rig_begin(&rig, "slices");
    const struct hf_id id = rig.app.mark.store;
    assert_non_null(strstr(hf_buf_text(&rig.news), "store.key"));
    EXPECT_OK(again(&rig, "slices", &err), &err);
    assert_true(hf_id_equal(&id, &rig.app.mark.store));
    EXPECT_OK(hf_stores_get(&rig.app, &id, &at, &err), &err);
    assert_string_equal(at.name, "default");
    assert_ptr_equal(at.store, rig.app.store);
    /* A record of before names no oplog store: it is that of the option. */
    add_job(&rig, 7, &id, NULL);
    const struct hf_id job = fixed_id(7);
    EXPECT_OK(hf_stores_oplog_of_job_id(&rig.app, &job, &at, &err), &err);
    assert_string_equal(at.name, "default-oplog");
    /* Without the option they lie beside the snapshots. */
    EXPECT_OK(again(&rig, NULL, &err), &err);
    EXPECT_OK(hf_stores_oplog_of_job_id(&rig.app, &job, &at, &err), &err);
    assert_string_equal(at.name, "default");
    rig_end(&rig);
}

static void test_an_empty_directory_is_no_new_store_while_a_job_has_one_there(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_open_store at;
    (void)state;
    rig_begin(&rig, NULL);
    const struct hf_id id = rig.app.mark.store;
    /* Nothing lay in it: it is made anew, and is the same store. */
    move(&rig, "first", "gone");
    EXPECT_OK(again(&rig, NULL, &err), &err);
    assert_true(hf_id_equal(&id, &rig.app.mark.store));
    EXPECT_OK(hf_stores_get(&rig.app, &id, &at, &err), &err);

    add_job(&rig, 7, &id, NULL);
    move(&rig, "first", "away");
    EXPECT_ERROR(hf_stores_get(&rig.app, &id, &at, &err), HF_ERR_UNAVAILABLE,
                 "store default is not there: file://", &err);
    EXPECT_OK(again(&rig, NULL, &err), &err); /* the server starts all the same */
    char *first = path_of(&rig, "first");
    assert_false(hf_fs_exists(first));
    EXPECT_OK(hf_fs_make_dirs(first, 0700, &err), &err);
    EXPECT_OK(again(&rig, NULL, &err), &err);
    EXPECT_ERROR(hf_stores_get(&rig.app, &id, &at, &err), HF_ERR_UNAVAILABLE,
                 "has no mark; hint: mount its file system", &err);
    assert_true(rig.app.mark.encrypted);
    assert_true(hf_stores_encrypt(&rig.app, &rig.app.mark.store));
    EXPECT_OK(hf_fs_remove_tree(first, &err), &err);
    move(&rig, "away", "first");
    EXPECT_OK(hf_stores_get(&rig.app, &id, &at, &err), &err);
    hf_free(first);
    rig_end(&rig);
}

/* ---- Others ---- */

static void test_each_store_has_a_key_of_its_own_that_nothing_writes_over(void **state)
{
    struct rig rig;
    struct hf_error err;
    (void)state;
    rig_begin(&rig, NULL);
    const struct hf_store_record fast = add(&rig, "fast", false, false);
    assert_string_equal(fast.key_file, "store-fast.key");
    assert_false(hf_id_equal(&fast.id, &rig.app.mark.store));
    const struct hf_store_record open = add(&rig, "open", false, true);
    assert_string_equal(open.key_file, "");
    EXPECT_ERROR(try_add(&rig, "fast", url_of(&rig, "x"), &err), HF_ERR_EXISTS,
                 "a store named fast", &err);
    EXPECT_ERROR(try_add(&rig, "x", url_of(&rig, "fast"), &err), HF_ERR_EXISTS,
                 "is the store named fast already", &err);
    EXPECT_ERROR(try_add(&rig, "default", url_of(&rig, "x"), &err), HF_ERR_EXISTS, "default", &err);
    EXPECT_ERROR(try_add(&rig, "default-oplog", url_of(&rig, "x"), &err), HF_ERR_INVALID,
                 "--oplog-store", &err);
    EXPECT_ERROR(try_add(&rig, "../x", url_of(&rig, "x"), &err), HF_ERR_INVALID, "a store's name",
                 &err);
    EXPECT_ERROR(try_add(&rig, "x", "s3://bucket", &err), HF_ERR_UNSUPPORTED, "kind \"s3\"", &err);
    /* Its directory and its key are what it is: taken up again with both, and not with a new directory. */
    EXPECT_OK(hf_stores_remove(&rig.app, "fast", &err), &err);
    EXPECT_ERROR(try_add(&rig, "fast", url_of(&rig, "other"), &err), HF_ERR_CONFLICT,
                 "store-fast.key lies there already", &err);
    EXPECT_OK(try_add(&rig, "fast", url_of(&rig, "fast"), &err), &err);
    EXPECT_OK(try_add(&rig, "again", url_of(&rig, "other"), &err), &err);
    rig_end(&rig);
}

static void test_another_process_learns_of_a_store_when_it_is_asked_for(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_open_store at;
    struct hf_server_app other = {.log = NULL};
    (void)state;
    rig_begin(&rig, NULL);
    other.catalog = rig.app.catalog;
    EXPECT_OK(open_stores(&rig, &other, NULL, &err), &err);
    const struct hf_store_record fast = add(&rig, "fast", false, false);
    EXPECT_OK(hf_stores_get(&other, &fast.id, &at, &err), &err);
    assert_string_equal(at.name, "fast");
    assert_true(at.mark->encrypted);
    /* And of its end when it looks at all of them. */
    EXPECT_OK(hf_stores_remove(&rig.app, "fast", &err), &err);
    struct hf_store_views views = {.items = NULL};
    EXPECT_OK(hf_stores_view(&other, true, &views, &err), &err);
    assert_int_equal(views.count, 1);
    hf_store_views_fini(&views);
    EXPECT_ERROR(hf_stores_get(&other, &fast.id, &at, &err), HF_ERR_NOT_FOUND, "is not known here",
                 &err);
    hf_stores_close(&other);
    rig_end(&rig);
}

static void test_directories_that_were_exchanged_are_not_taken_for_each_other(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_open_store at;
    (void)state;
    rig_begin(&rig, NULL);
    const struct hf_store_record a = add(&rig, "a", false, true), b = add(&rig, "b", false, true);
    hf_stores_close(&rig.app);
    char *from = path_of(&rig, "a"), *to = path_of(&rig, "b"), *between = path_of(&rig, "c");
    assert_int_equal(rename(from, between) + rename(to, from) + rename(between, to), 0);
    EXPECT_OK(open_stores(&rig, &rig.app, NULL, &err), &err);
    EXPECT_ERROR(hf_stores_get(&rig.app, &a.id, &at, &err), HF_ERR_CONFLICT,
                 "two directories were exchanged", &err);
    /* Said where they are, both are found. */
    const struct hf_stores_change to_b = {.url = url_of(&rig, "b")};
    struct hf_store_record out;
    EXPECT_OK(hf_stores_set(&rig.app, "a", &to_b, &out, &err), &err);
    EXPECT_OK(hf_stores_get(&rig.app, &a.id, &at, &err), &err);
    EXPECT_ERROR(hf_stores_set(&rig.app, "b", &to_b, &out, &err), HF_ERR_CONFLICT, "exchanged",
                 &err);
    EXPECT_ERROR(hf_stores_get(&rig.app, &b.id, &at, &err), HF_ERR_CONFLICT, "exchanged", &err);
    hf_free(from);
    hf_free(to);
    hf_free(between);
    rig_end(&rig);
}

static void test_a_store_that_is_needed_is_not_forgotten(void **state)
{
    struct rig rig;
    struct hf_error err;
    (void)state;
    rig_begin(&rig, NULL);
    const struct hf_store_record a = add(&rig, "a", false, true), b = add(&rig, "b", false, true);
    const struct hf_store_record o = add(&rig, "o", true, true);
    add_job(&rig, 7, &a.id, &o.id);
    EXPECT_ERROR(hf_stores_remove(&rig.app, "a", &err), HF_ERR_CONFLICT, "the job of set rs7",
                 &err);
    EXPECT_ERROR(hf_stores_remove(&rig.app, "o", &err), HF_ERR_CONFLICT, "the job of set rs7",
                 &err);
    struct hf_assignment_record filter = {.project = fixed_id(5),
                                          .snapshot_stores = {.items = {"b"}, .count = 1}};
    EXPECT_OK(hf_stores_assignment_put(&rig.app, &filter, &err), &err);
    EXPECT_ERROR(hf_stores_remove(&rig.app, "b", &err), HF_ERR_CONFLICT, "the filter of project",
                 &err);
    filter.snapshot_stores.count = 0;
    EXPECT_OK(hf_stores_assignment_put(&rig.app, &filter, &err), &err);
    /* A snapshot of a job that has another store by now. */
    struct hf_job_record gone = {.id = fixed_id(9),
                                 .project = fixed_id(5),
                                 .cluster = fixed_id(9),
                                 .set_name = "rs9",
                                 .next_capture = 2};
    struct hf_snapshot_record snapshot = {.id = fixed_id(0x55),
                                          .job = gone.id,
                                          .project = fixed_id(5),
                                          .cluster = fixed_id(9),
                                          .store = b.id,
                                          .set_name = "rs9",
                                          .state = HF_SNAPSHOT_COMPLETE,
                                          .capture = 1,
                                          .writer = fixed_id(0x56)};
    uint64_t revision = 1;
    EXPECT_OK(hf_keep_job_insert(rig.app.catalog, &gone, &err), &err);
    EXPECT_OK(hf_keep_snapshot_insert(rig.app.catalog, &snapshot, &err), &err);
    EXPECT_ERROR(hf_stores_remove(&rig.app, "b", &err), HF_ERR_CONFLICT, "of set rs9", &err);
    snapshot.state = HF_SNAPSHOT_EXPIRED;
    EXPECT_OK(hf_keep_snapshot_replace(rig.app.catalog, &snapshot, &revision, &err), &err);
    EXPECT_OK(hf_stores_remove(&rig.app, "b", &err), &err);
    EXPECT_ERROR(hf_stores_remove(&rig.app, "b", &err), HF_ERR_NOT_FOUND, "no store named b", &err);
    EXPECT_ERROR(hf_stores_remove(&rig.app, "default", &err), HF_ERR_CONFLICT, "and stays", &err);
    rig_end(&rig);
}

static void test_a_lost_store_is_forgotten_once_its_jobs_were_ended_by_force(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_cancel cancel;
    struct hf_job_record job;
    uint64_t revision = 0;
    const struct hf_id id = fixed_id(7);
    (void)state;
    rig_begin(&rig, NULL);
    hf_cancel_init(&cancel);
    hf_mutex_init(&rig.app.ending_mutex);
    rig.app.cancel = &cancel;
    const struct hf_store_record a = add(&rig, "a", false, true);
    add_job(&rig, 7, &a.id, NULL);
    EXPECT_OK(hf_keep_job_get(rig.app.catalog, &id, &job, &revision, &err), &err);
    job.state = HF_JOB_INACTIVE;
    job.leftover = true;
    EXPECT_OK(hf_keep_job_replace(rig.app.catalog, &job, &revision, &err), &err);
    EXPECT_ERROR(hf_stores_remove(&rig.app, "a", &err), HF_ERR_CONFLICT, "has left something there",
                 &err);
    move(&rig, "a", "lost");
    EXPECT_OK(hf_stores_remove(&rig.app, "a", &err), &err);
    EXPECT_OK(hf_flow_jobs_tick(&rig.app, &err), &err);
    EXPECT_OK(hf_keep_job_get(rig.app.catalog, &id, &job, &revision, &err), &err);
    assert_false(job.leftover);
    hf_mutex_fini(&rig.app.ending_mutex);
    rig_end(&rig);
}

/* ---- Which one ---- */

static const char *assigned(struct rig *rig, uint64_t need_bytes, struct hf_error *err)
{
    static struct hf_job_record job;
    job = (struct hf_job_record){.id = fixed_id(0x70), .project = fixed_id(5), .set_name = "rs"};
    if (hf_stores_assign(&rig->app, &job, need_bytes, err) != HF_ERR_OK) {
        assert_true(hf_id_is_none(&job.store));
        return NULL;
    }
    return job.assigned;
}

static void test_a_new_job_is_given_what_labels_load_and_room_leave(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_store_record out;
    (void)state;
    rig_begin(&rig, NULL);
    const struct hf_id first = rig.app.mark.store;
    assert_string_equal(assigned(&rig, 0, &err),
                        "snapshot store default: the only one that will do");
    add_job(&rig, 7, &first, NULL);
    (void)add(&rig, "big", false, false);
    /* (1 + 1) / 1 against (0 + 1) / 1 */
    assert_string_equal(assigned(&rig, 0, &err),
                        "snapshot store big: the least work of 2 (0 jobs, load factor 1)");
    const uint64_t four = 4, capacity = 1000;
    EXPECT_OK(hf_stores_set(&rig.app, "default", &(struct hf_stores_change){.load_factor = &four},
                            &out, &err),
              &err);
    assert_string_equal(assigned(&rig, 0, &err),
                        "snapshot store default: the least work of 2 (1 jobs, load factor 4)");
    EXPECT_OK(hf_stores_set(&rig.app, "default",
                            &(struct hf_stores_change){.max_capacity_bytes = &capacity}, &out,
                            &err),
              &err);
    struct hf_usage_record usage = {
        .id = fixed_id(7), .project = fixed_id(5), .store = first, .object_bytes = 900};
    EXPECT_OK(hf_keep_usage_insert(rig.app.catalog, &usage, &err), &err);
    assert_string_equal(assigned(&rig, 200, &err),
                        "snapshot store big: the only one that will do; not default: it has 100 "
                        "bytes free, and 200 may be needed");
    const struct hf_assignment_record filter = {
        .project = fixed_id(5), .snapshot_stores = {.items = {"default"}, .count = 1}};
    EXPECT_OK(hf_stores_assignment_put(&rig.app, &filter, &err), &err);
    /* No agent's word keeps a job from its start; a store that has nothing left does. */
    assert_string_equal(assigned(&rig, UINT64_MAX / 2, &err),
                        "snapshot store default: the only one that will do; not big: the "
                        "project's filter leaves it out");
    const uint64_t full = 900;
    EXPECT_OK(hf_stores_set(&rig.app, "default",
                            &(struct hf_stores_change){.max_capacity_bytes = &full}, &out, &err),
              &err);
    assert_null(assigned(&rig, 200, &err));
    assert_string_equal(err.message,
                        "no snapshot store will do: default: it has 0 bytes free, and 1 may be "
                        "needed; big: the project's filter leaves it out");
    rig_end(&rig);
}

static void test_slices_go_to_an_oplog_store_that_is_locked_as_the_snapshots_are(void **state)
{
    struct rig rig;
    struct hf_error err;
    (void)state;
    rig_begin(&rig, NULL);
    (void)add(&rig, "clear", true, true);
    assert_null(assigned(&rig, 0, &err));
    assert_string_equal(err.message, "no oplog store will do: clear: it is not encrypted, and the "
                                     "snapshots are");
    (void)add(&rig, "locked", true, false);
    assert_string_equal(assigned(&rig, 0, &err),
                        "snapshot store default: the only one that will do; oplog store locked: "
                        "the only one that will do; not clear: it is not encrypted, and the "
                        "snapshots are");
    /* One that is away is given to nobody. */
    move(&rig, "locked", "elsewhere");
    assert_null(assigned(&rig, 0, &err));
    assert_non_null(strstr(err.message, "locked: it is not there now"));
    rig_end(&rig);
}

static void test_a_label_must_be_on_a_store_of_each_kind(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_store_record out;
    const struct hf_store_words ssd = {.items = {"ssd"}, .count = 1};
    const struct hf_assignment_record filter = {.project = fixed_id(5), .labels = ssd};
    (void)state;
    rig_begin(&rig, NULL);
    EXPECT_ERROR(hf_stores_assignment_put(&rig.app, &filter, &err), HF_ERR_CONFLICT,
                 "no snapshot store has the label ssd", &err);
    EXPECT_OK(
        hf_stores_set(&rig.app, "default", &(struct hf_stores_change){.labels = &ssd}, &out, &err),
        &err);
    EXPECT_OK(hf_stores_assignment_put(&rig.app, &filter, &err), &err);
    (void)add(&rig, "slices", true, false);
    EXPECT_ERROR(hf_stores_assignment_put(&rig.app, &filter, &err), HF_ERR_CONFLICT,
                 "no oplog store has the label ssd", &err);
    assert_null(assigned(&rig, 0, &err));
    assert_string_equal(err.message, "no oplog store will do: slices: it has no label ssd");
    rig_end(&rig);
}

/* ---- Keys ---- */

static void test_the_oplog_store_has_the_jobs_keys_locked_with_its_own(void **state)
{
    struct rig rig;
    struct hf_error err;
    struct hf_job_stores at;
    struct hf_open_store oplog;
    struct hf_keyring made = {0}, there = {0}, again_there = {0};
    const struct hf_id job = fixed_id(7);
    (void)state;
    rig_begin(&rig, NULL);
    const struct hf_id first = rig.app.mark.store;
    const struct hf_store_record o = add(&rig, "o", true, false);
    add_job(&rig, 7, &first, &o.id);
    EXPECT_OK(hf_stores_of_job_id(&rig.app, &job, &at, &err), &err);
    EXPECT_OK(hf_job_keys_create(at.snapshots.store, at.snapshots.mark, at.snapshots.key, &job,
                                 &made, &err),
              &err);
    EXPECT_OK(hf_stores_share_keys(&at, &job, &err), &err);
    EXPECT_OK(hf_stores_share_keys(&at, &job, &err), &err); /* as a start that was cut off does */
    EXPECT_OK(hf_stores_load_keys(&at.oplog, &job, &there, &err), &err);
    assert_memory_equal(made.hash_key, there.hash_key, sizeof made.hash_key);
    assert_memory_equal(made.data_keys[0].key, there.data_keys[0].key,
                        sizeof made.data_keys[0].key);
    EXPECT_ERROR(hf_job_keys_load(at.oplog.store, at.snapshots.key, &job, &again_there, &err),
                 HF_ERR_DENIED, "", &err);
    /* With the snapshot store away the tail goes on with them. */
    move(&rig, "first", "away");
    EXPECT_OK(hf_stores_open_oplog(&rig.app, &job, &oplog, &again_there, &err), &err);
    assert_memory_equal(made.hash_key, again_there.hash_key, sizeof made.hash_key);
    EXPECT_ERROR(hf_stores_of_job_id(&rig.app, &job, &at, &err), HF_ERR_UNAVAILABLE,
                 "store default is not there", &err);
    hf_keyring_wipe(&made);
    hf_keyring_wipe(&there);
    hf_keyring_wipe(&again_there);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_first_start_makes_a_store_and_a_second_finds_it),
        cmocka_unit_test(test_an_empty_directory_is_no_new_store_while_a_job_has_one_there),
        cmocka_unit_test(test_each_store_has_a_key_of_its_own_that_nothing_writes_over),
        cmocka_unit_test(test_another_process_learns_of_a_store_when_it_is_asked_for),
        cmocka_unit_test(test_directories_that_were_exchanged_are_not_taken_for_each_other),
        cmocka_unit_test(test_a_store_that_is_needed_is_not_forgotten),
        cmocka_unit_test(test_a_lost_store_is_forgotten_once_its_jobs_were_ended_by_force),
        cmocka_unit_test(test_a_new_job_is_given_what_labels_load_and_room_leave),
        cmocka_unit_test(test_slices_go_to_an_oplog_store_that_is_locked_as_the_snapshots_are),
        cmocka_unit_test(test_a_label_must_be_on_a_store_of_each_kind),
        cmocka_unit_test(test_the_oplog_store_has_the_jobs_keys_locked_with_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
