/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recorded oplog of a real server as slices, and the recorded copies of its files: what is planned must be just the
 * entries that the recording counted. Where HOLDFAST_TEST_MONGOD names a real server, which alone can open these files,
 * it is replayed as well, and every collection must have the recorded hash.
 */
#include "support/replay_kit.h"

#include "codec/json.h"

#define JSON_MAX ((size_t)4 << 20)

struct fixture {
    struct world world;
    struct hf_json *after;
    char *dir;
};

static struct hf_json *read_json(const char *name)
{
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/%s", getenv("HF_TEST_FIXTURES"), name);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(JSON_MAX);
    struct hf_json *json = NULL;
    struct hf_error err;
    EXPECT_OK(hf_fs_read_whole(path, JSON_MAX, &text, &err), &err);
    struct hf_str content = {(const char *)text.data, text.len};
    EXPECT_OK(hf_json_decode(content, JSON_MAX, &json, &err), &err);
    return json;
}

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_error err;
    assert_non_null(f);
    *state = f;
    world_begin(&f->world);
    HF_CLEANUP(hf_free) uint8_t *bytes = recorded_oplog();
    put_entries(&f->world, hf_bytes_of(bytes, RECORDED_BYTES), 700);
    f->after = read_json("expect-after.json");
    EXPECT_OK(hf_fs_make_temp_dir("hf-replay", &f->dir, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    hf_json_drop(f->after);
    world_end(&f->world);
    EXPECT_OK(hf_fs_remove_tree(f->dir, &err), &err);
    hf_free(f->dir);
    hf_free(f);
    return 0;
}

/* {"$timestamp": {"t": …, "i": …}} */
static struct hf_optime timestamp(const struct hf_json *value, int64_t term)
{
    const struct hf_json *inner = hf_json_get_object(value, "$timestamp");
    assert_non_null(inner);
    return (struct hf_optime){.seconds = (uint32_t)hf_json_get_u64(inner, "t", 0),
                              .increment = (uint32_t)hf_json_get_u64(inner, "i", 0),
                              .term = term};
}

static uint64_t number(const struct hf_json *object, const char *key)
{
    const char *text = hf_json_get_text(hf_json_get_object(object, key), "$numberInt");
    assert_non_null(text);
    return strtoull(text, NULL, 10);
}

static struct hf_base_snapshot base_of(const char *copy)
{
    HF_CLEANUP(hf_free) char *name = hf_asprintf("%s/expect.json", copy);
    HF_CLEANUP(hf_json_drop) struct hf_json *expect = read_json(name);
    struct hf_json *metadata = hf_json_get_object(expect, "metadata");
    struct hf_json *last = hf_json_get_object(hf_json_get_object(expect, "oplogInCopy"), "last");
    struct hf_optime end = timestamp(hf_json_get_object(last, "ts"), 1);
    return (struct hf_base_snapshot){
        .id = fixed_id(0x51),
        .capture = 1,
        .checkpoint = timestamp(hf_json_get_object(metadata, "checkpointTimestamp"), -1),
        .oplog_end = end,
        .committed = end,
    };
}

static void unpack(const struct fixture *f, const char *copy, const char *to)
{
    HF_CLEANUP(hf_free)
    char *command = hf_asprintf("mkdir '%s' && zstd -dcq '%s/%s/data.tar.zst' | tar -x -C '%s'", to,
                                getenv("HF_TEST_FIXTURES"), copy, to);
    (void)f;
    assert_int_equal(system(command), 0);
}

static const struct hf_json *collection_of(const struct hf_json *databases, const char *database,
                                           const char *collection)
{
    return hf_json_get_object(
        hf_json_get_object(hf_json_get_object(databases, database), "collections"), collection);
}

/* The hash that the replayed copy must have; NULL: not recorded. */
static const char *expected_hash(const struct hf_json *point, const char *copy,
                                 const char *database, const char *collection)
{
    HF_CLEANUP(hf_free) char *name = hf_asprintf("%s.%s", database, collection);
    const struct hf_json *capped = hf_json_get_object(
        hf_json_get_object(hf_json_get_object(point, "cappedAfterReplay"), copy), name);
    const struct hf_json *plain =
        collection_of(hf_json_get_object(point, "databases"), database, collection);
    return hf_json_get_text(capped != NULL ? capped : plain, "dbHash");
}

static void expect_hashes(const char *program, const char *dbpath, const struct hf_json *point,
                          const char *copy)
{
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data data = {.database_count = 0};
    struct hf_recover *server = look_into(program, dbpath);
    struct hf_mongo_data_options options = {.count = false};
    struct hf_error err;
    size_t compared = 0;

    EXPECT_OK(hf_mongo_data_read(hf_recover_client(server), &options, &data, &err), &err);
    EXPECT_OK(hf_recover_stop(server, &err), &err);
    for (size_t i = 0; i < data.database_count; i++) {
        const struct hf_mongo_database *database = &data.databases[i];
        for (size_t j = 0; j < database->collection_count; j++) {
            const struct hf_mongo_collection *one = &database->collections[j];
            const char *wanted = expected_hash(point, copy, database->name, one->name);
            if (wanted == NULL) {
                if (one->md5[0] != '\0' && strcmp(database->name, "config") != 0) {
                    fail_msg("%s.%s is not among the recorded ones", database->name, one->name);
                }
                continue;
            }
            if (strcmp(one->md5, wanted) != 0) {
                fail_msg("%s to %s: %s.%s has %s, not %s", copy, hf_json_get_text(point, "name"),
                         database->name, one->name, one->md5, wanted);
            }
            compared++;
        }
    }
    assert_int_equal(data.database_count, hf_json_count(hf_json_get_object(point, "databases")));
    assert_true(compared > 45);
}

static void expect_notes(const struct hf_replay_result *result)
{
    bool audit = false;
    for (size_t i = 0; i < result->note_count; i++) {
        const struct hf_replay_note *note = &result->notes[i];
        audit = audit || (strcmp(note->name, "shop.audit") == 0 && !note->mended &&
                          strstr(note->text, "capped") != NULL);
    }
    assert_true(audit); /* 593 documents where 500 may be */
    assert_true(result->validated > 0);
}

static void replay_one(struct fixture *f, const char *copy, size_t index)
{
    struct hf_json *point = hf_json_at(hf_json_get_array(f->after, "points"), index);
    struct hf_optime last = timestamp(hf_json_get_object(point, "ts"), 1);
    struct hf_target target = {
        .kind = HF_TARGET_TIMESTAMP, .seconds = last.seconds, .increment = last.increment};
    struct hf_base_snapshot base = base_of(copy);
    struct planned planned;
    struct hf_error err;
    uint64_t beyond = 0;

    planned_begin(&planned, &f->world, &base, &target);
    assert_true(planned.point.inserts);
    assert_true(hf_optime_equal(&planned.point.last, &last));
    for (bool more = true; more;) {
        struct hf_bytes bytes;
        struct hf_oplog_entry entry;
        EXPECT_OK(hf_replay_chain_next(planned.reader, &bytes, &more, &err), &err);
        if (more) {
            EXPECT_OK(hf_oplog_entry_read(bytes, &entry, &err), &err);
            beyond += hf_optime_compare_ts(&entry.optime, &base.oplog_end) > 0 ? 1 : 0;
        }
    }
    assert_int_equal(beyond, number(hf_json_get_object(point, "entriesFrom"), copy));
    if (real_mongod() != NULL) {
        HF_CLEANUP(hf_free) char *dbpath = hf_asprintf("%s/%s-%zu", f->dir, copy, index);
        HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.note_count = 0};
        unpack(f, copy, dbpath);
        planned_rewind(&f->world, &planned);
        EXPECT_OK(replay_with(real_mongod(), dbpath, &planned, &result, &err), &err);
        assert_int_equal(result.inserted, beyond);
        assert_true(result.compared > 0);
        expect_notes(&result);
        expect_hashes(real_mongod(), dbpath, point, copy);
    }
    planned_end(&planned);
}

static void test_a_secondarys_copy_reaches_the_recorded_points(void **state)
{
    for (size_t i = 0; i < 3; i++) {
        replay_one(*state, "dbpath-4.4", i);
    }
}

static void test_a_primarys_extended_copy_reaches_the_recorded_points(void **state)
{
    for (size_t i = 0; i < 3; i++) {
        replay_one(*state, "dbpath-4.4-extended", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_secondarys_copy_reaches_the_recorded_points, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_primarys_extended_copy_reaches_the_recorded_points,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests_name("oplog/replay_recorded", tests, NULL, NULL);
}
