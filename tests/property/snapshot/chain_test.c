/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences against a simple model: a directory changes at random; it is captured against random parents, by
 * attempts that sometimes die and are adopted; snapshots are restored, verified, deleted; the store is groomed. What
 * went in comes out, and when all is deleted nothing stays.
 *
 * HF_TEST_SEED and HF_TEST_STEPS choose another run; the seed is printed.
 */
#include "support/run.h"
#include "support/snapshot_kit.h"

#include "base/fault.h"
#include "format/block.h"

#define FILES 8
#define SNAPSHOTS_MAX 12
#define BLOCK_BYTES 4096
#define PACK_BYTES ((size_t)96 << 10)
#define FILE_MAX_BYTES ((size_t)3 << 20)

struct model_file {
    bool there;
    size_t size;
    char hash[65];
};

struct model_snapshot {
    struct hf_manifest manifest;
    struct model_file files[FILES];
};

struct world {
    struct kit kit;
    char *source;
    uint64_t random;
    struct model_snapshot *snapshots[SNAPSHOTS_MAX];
    size_t snapshot_count;
    struct hf_adopted adopted[HF_ADOPTED_MAX];
    size_t adopted_count;
    uint64_t restores, captures, deaths, adoptions, grooms, deleted;
};

static size_t below(struct world *world, size_t limit)
{
    return (size_t)(run_random(&world->random) % limit);
}

static char *file_path(const char *dir, size_t number)
{
    return hf_asprintf("%s/%sfile-%zu", dir, number % 3 == 0 ? "sub/dir/" : "", number);
}

static void write_random(struct world *world, struct hf_file *file, uint64_t at, size_t len)
{
    struct hf_error err;
    uint8_t *bytes = hf_alloc(len + 8);
    bool compressible = below(world, 2) == 0;
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i += 8) {
        hf_store_le64(bytes + i, compressible ? i / 64 : run_random(&world->random));
    }
    if (below(world, 5) == 0) {
        memset(bytes, 0, len);
    }
    KIT_OK(hf_file_write_at(file, at, hf_bytes_of(bytes, len), &err), &err);
    hf_free(bytes);
}

static size_t random_size(struct world *world)
{
    switch (below(world, 4)) {
    case 0:
        return below(world, 3) * BLOCK_BYTES;
    case 1:
        return below(world, 5 * BLOCK_BYTES);
    case 2:
        return below(world, 200 * BLOCK_BYTES);
    default:
        return below(world, FILE_MAX_BYTES);
    }
}

static void change_one_file(struct world *world)
{
    struct hf_error err;
    struct hf_file *file = NULL;
    size_t number = below(world, FILES);
    HF_CLEANUP(hf_free) char *path = file_path(world->source, number);
    HF_CLEANUP(hf_free) char *dir = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
    if (hf_fs_exists(path) && below(world, 6) == 0) {
        KIT_OK(hf_fs_remove(path, &err), &err);
        return;
    }
    KIT_OK(hf_fs_make_dirs(dir, 0700, &err), &err);
    KIT_OK(hf_file_open(path, HF_OPEN_CREATE, 0600, &file, &err), &err);
    struct hf_file_info info;
    KIT_OK(hf_file_info(file, &info, &err), &err);
    if (info.size_bytes == 0 || below(world, 4) == 0) {
        KIT_OK(hf_file_truncate(file, random_size(world), &err), &err);
        KIT_OK(hf_file_info(file, &info, &err), &err);
    }
    for (size_t i = below(world, 6); i > 0 && info.size_bytes > 0; i--) {
        uint64_t at = below(world, (size_t)info.size_bytes);
        size_t most = (size_t)(info.size_bytes - at);
        size_t len = 1 + below(world, most < 40 * BLOCK_BYTES ? most : 40 * BLOCK_BYTES);
        write_random(world, file, at, len);
    }
    hf_file_drop(file);
}

static void describe(const char *dir, struct model_file *files)
{
    struct hf_error err;
    for (size_t i = 0; i < FILES; i++) {
        HF_CLEANUP(hf_free) char *path = file_path(dir, i);
        files[i] = (struct model_file){.there = hf_fs_exists(path)};
        if (files[i].there) {
            struct hf_file_info info;
            KIT_OK(hf_fs_stat(path, &info, &err), &err);
            files[i].size = (size_t)info.size_bytes;
            kit_file_hash(path, files[i].hash);
        }
    }
}

static const struct hf_manifest *random_parent(struct world *world)
{
    if (world->snapshot_count == 0 || below(world, 8) == 0) {
        return NULL;
    }
    return &world->snapshots[below(world, world->snapshot_count)]->manifest;
}

/* An attempt that dies in the middle of its packs and is given up; its claim stays, for the next one to adopt. */
static void die_in_a_capture(struct world *world)
{
    struct hf_error err;
    struct hf_capture_result result = {.packs = 0};
    struct kit_attempt attempt = kit_begin(&world->kit);
    enum hf_give_up_outcome outcome;
    world->kit.adopted = world->adopted;
    world->kit.adopted_count = world->adopted_count;
    hf_fault_arm_nth("snapshot.packer.put", HF_ERR_IO, 1 + below(world, 8), 0);
    enum hf_err code =
        kit_run_capture(&world->kit, &attempt, world->source, random_parent(world), &result, &err);
    hf_fault_disarm_all();
    hf_capture_result_fini(&result);
    /* A capture that had nothing to store does not die; it is given up all the same. */
    assert_true(code == HF_ERR_OK || code == HF_ERR_IO);
    KIT_OK(hf_commit_give_up(world->kit.store, &world->kit.job, attempt.capture, &outcome, &err),
           &err);
    assert_int_equal(outcome, HF_GIVEN_UP);
    world->adopted[world->adopted_count++] =
        (struct hf_adopted){.capture = attempt.capture, .writer = attempt.writer};
    world->deaths++;
}

/* Claims of attempts that were not adopted, as the reaper drops them. */
static void drop_old_claims(struct world *world)
{
    struct hf_error err;
    for (size_t i = 0; i < world->adopted_count; i++) {
        KIT_OK(hf_commit_drop_claim(world->kit.store, &world->kit.job, &world->adopted[i].writer,
                                    &err),
               &err);
    }
    world->adopted_count = 0;
}

static void capture(struct world *world)
{
    struct model_snapshot *snapshot = hf_alloc_zero(sizeof *snapshot);
    assert_non_null(snapshot);
    describe(world->source, snapshot->files);
    world->kit.adopted = world->adopted;
    world->kit.adopted_count = world->adopted_count;
    world->kit.workers = 1 + (unsigned)below(world, 4);
    kit_snapshot(&world->kit, world->source, random_parent(world), &snapshot->manifest);
    world->adoptions += snapshot->manifest.adopted_count;
    drop_old_claims(world);
    world->snapshots[world->snapshot_count++] = snapshot;
    world->captures++;
}

static void restore_one(struct world *world)
{
    struct hf_error err;
    if (world->snapshot_count == 0) {
        return;
    }
    const struct model_snapshot *snapshot = world->snapshots[below(world, world->snapshot_count)];
    struct model_file found[FILES];
    char *dir = kit_path(&world->kit, "restored");
    kit_restore(&world->kit, &snapshot->manifest, dir);
    describe(dir, found);
    for (size_t i = 0; i < FILES; i++) {
        assert_int_equal(found[i].there, snapshot->files[i].there);
        if (found[i].there) {
            assert_int_equal(found[i].size, snapshot->files[i].size);
            assert_string_equal(found[i].hash, snapshot->files[i].hash);
        }
    }
    KIT_OK(hf_fs_remove_tree(dir, &err), &err);
    hf_free(dir);
    world->restores++;
}

static void delete_one(struct world *world)
{
    struct hf_error err;
    size_t number = below(world, world->snapshot_count);
    struct model_snapshot *snapshot = world->snapshots[number];
    KIT_OK(hf_commit_delete_manifest(world->kit.store, &world->kit.job, snapshot->manifest.capture,
                                     &err),
           &err);
    hf_manifest_fini(&snapshot->manifest);
    hf_free(snapshot);
    world->snapshots[number] = world->snapshots[--world->snapshot_count];
    world->deleted++;
}

static void groom(struct world *world, unsigned living_percent)
{
    struct hf_error err;
    uint64_t known[SNAPSHOTS_MAX];
    for (size_t i = 0; i < world->snapshot_count; i++) {
        known[i] = world->snapshots[i]->manifest.capture;
    }
    struct hf_groom_options options = {
        .store = world->kit.store,
        .keyring = &world->kit.keyring,
        .living_percent = living_percent,
        .known_captures = known,
        .known_count = world->snapshot_count,
    };
    struct hf_groom_result result;
    KIT_OK(hf_groom_job(&options, &result, &err), &err);
    world->grooms++;
}

static void one_step(struct world *world)
{
    switch (below(world, 12)) {
    case 0:
    case 1:
    case 2:
        if (world->snapshot_count < SNAPSHOTS_MAX) {
            capture(world);
        }
        break;
    case 3:
        if (world->adopted_count < 3) {
            die_in_a_capture(world);
        }
        break;
    case 4:
        restore_one(world);
        break;
    case 5:
        if (world->snapshot_count > 1) {
            delete_one(world);
        }
        break;
    case 6: {
        static const unsigned ratios[] = {0, 30, 100};
        groom(world, ratios[below(world, HF_ARRAY_LEN(ratios))]);
        break;
    }
    case 7:
        kit_expect_no_damage(&world->kit, HF_VERIFY_CONTENT);
        break;
    default:
        change_one_file(world);
        break;
    }
}

/* Objects under a kind of the job. */
static size_t count_objects(struct world *world, enum hf_object_kind kind)
{
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    struct hf_object_text prefix = hf_object_prefix(kind, &world->kit.job);
    KIT_OK(
        hf_store_list(world->kit.store, hf_str_of(prefix.text), hf_str_of(""), 1000, &list, &err),
        &err);
    return list.count;
}

static void run(uint64_t seed, uint64_t steps, bool plain)
{
    struct world world = {.random = seed};
    kit_open(&world.kit, &(struct kit_options){.plain = plain});
    world.source = kit_path(&world.kit, "source");
    char *journal = kit_path(&world.kit, "journal");
    char *cache = kit_path(&world.kit, "cache");
    struct hf_error err;
    KIT_OK(hf_fs_make_dirs(world.source, 0700, &err), &err);
    world.kit.journal_path = journal;
    world.kit.cache_dir = cache;
    world.kit.block_bytes = BLOCK_BYTES;
    world.kit.pack_bytes = PACK_BYTES;
    print_message("seed %llu, %llu steps\n", (unsigned long long)seed, (unsigned long long)steps);
    for (uint64_t i = 0; i < steps; i++) {
        one_step(&world);
    }
    kit_expect_no_damage(&world.kit, HF_VERIFY_CONTENT);
    restore_one(&world);
    print_message("captures %llu, deaths %llu, adoptions %llu, restores %llu, deleted %llu, "
                  "grooms %llu\n",
                  (unsigned long long)world.captures, (unsigned long long)world.deaths,
                  (unsigned long long)world.adoptions, (unsigned long long)world.restores,
                  (unsigned long long)world.deleted, (unsigned long long)world.grooms);
    drop_old_claims(&world);
    while (world.snapshot_count > 0) {
        delete_one(&world);
    }
    groom(&world, 100);
    groom(&world, 100);
    assert_int_equal(count_objects(&world, HF_OBJECT_DATA), 0); /* I11 */
    assert_int_equal(count_objects(&world, HF_OBJECT_TREE), 0);
    hf_free(journal);
    hf_free(cache);
    hf_free(world.source);
    kit_close(&world.kit);
}

static void test_random_chains_of_captures_restore_what_was_there(void **state)
{
    (void)state;
    uint64_t seed = run_setting("HF_TEST_SEED", 1);
    uint64_t steps = run_setting("HF_TEST_STEPS", 120);
    run(seed, steps, false);
    run(seed + 1, steps, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_chains_of_captures_restore_what_was_there),
    };
    kit_use_all();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
