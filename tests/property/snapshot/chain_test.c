/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences against a simple model: a directory changes at random; it is captured against random parents, by
 * attempts that sometimes die and are adopted; snapshots are restored, verified, deleted; the store is groomed, by grooms
 * that sometimes die. Grooms, captures and restores also fall asleep at any of their calls of the store, while everything
 * else goes on, several at once; nothing keeps a groom from a capture (backup-domain 4.9). Deleted is whatever no restore
 * reads (the lease of the server). What went in comes out. From time to time all wake, and after two grooms at 100 % the
 * store holds the blocks that the snapshots reach, and no other.
 *
 * HF_TEST_SEED and HF_TEST_STEPS choose another run; the seed is printed. HOLDFAST_SOAK: 100,000 steps.
 */
#include "support/run.h"
#include "support/snapshot_kit.h"

#include "base/fault.h"
#include "format/block.h"
#include "snapshot/visit.h"
#include "store/driver.h"

#define FILES 8
#define SNAPSHOTS_MAX 12
#define BLOCK_BYTES 4096
#define SLEEPERS 3
#define ERA_STEPS 1000 /* between the looks at all that the store holds */

/* Large files have trees of two levels; small ones leave time for many steps. */
struct scale {
    size_t file_max_bytes, pack_bytes;
};
static const struct scale large = {.file_max_bytes = (size_t)3 << 20,
                                   .pack_bytes = (size_t)96 << 10};
static const struct scale small = {.file_max_bytes = (size_t)80 << 10,
                                   .pack_bytes = (size_t)24 << 10};

struct model_file {
    bool there;
    size_t size;
    char hash[65];
};

struct model_snapshot {
    struct hf_manifest manifest;
    struct model_file files[FILES];
    unsigned leases; /* of restores that sleep */
    bool deleted;
    struct model_snapshot *next; /* of those that are deleted, kept for who sleeps over it */
};

/* ---- Work that falls asleep at a call of the store ---- */

enum sleeper_work { SLEEPS_GROOM, SLEEPS_CAPTURE, SLEEPS_RESTORE };

struct world;
struct sleeper {
    struct hf_store base; /* its own way to the store */
    struct hf_store *inner;
    struct world *world;
    enum sleeper_work work;
    struct hf_thread *thread;
    struct hf_mutex mutex; /* guards: all of these */
    struct hf_cond cond;
    uint64_t calls_left; /* until it sleeps */
    bool asleep, awake, done;
    bool dies; /* instead of waking: every call fails from there on */
    bool died;
    /* What it does, and what came of it. */
    unsigned living_percent;
    struct kit_attempt attempt;
    struct model_snapshot
        *snapshot; /* of a capture, its own until it is complete; of a restore, the world's */
    struct model_snapshot *parent; /* the world's, or deleted */
    char *dir;
    struct hf_capture_result captured;
    uint64_t known[SNAPSHOTS_MAX];
    size_t known_count;
    enum hf_err code;
    struct hf_error err;
};

struct world {
    struct kit kit;
    char *source;
    uint64_t random;
    const struct scale *scale;
    struct sleeper *sleepers[SLEEPERS]; /* owned; NULL: nobody */
    struct model_snapshot *graves;      /* owned */
    struct model_snapshot *snapshots[SNAPSHOTS_MAX];
    size_t snapshot_count;
    struct hf_adopted adopted[HF_ADOPTED_MAX];
    size_t adopted_count;
    uint64_t restores, captures, deaths, adoptions, grooms, deleted;
    uint64_t slept[3], died_grooms, lost_captures, verified, blocks_compared;
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
        return below(world, world->scale->file_max_bytes / 4);
    default:
        return below(world, world->scale->file_max_bytes);
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

static void expect_files(const struct model_snapshot *snapshot, const char *dir)
{
    struct model_file found[FILES];
    describe(dir, found);
    for (size_t i = 0; i < FILES; i++) {
        assert_int_equal(found[i].there, snapshot->files[i].there);
        if (found[i].there) {
            assert_int_equal(found[i].size, snapshot->files[i].size);
            assert_string_equal(found[i].hash, snapshot->files[i].hash);
        }
    }
}

static void restore_one(struct world *world)
{
    struct hf_error err;
    if (world->snapshot_count == 0) {
        return;
    }
    const struct model_snapshot *snapshot = world->snapshots[below(world, world->snapshot_count)];
    char *dir = kit_path(&world->kit, "restored");
    kit_restore(&world->kit, &snapshot->manifest, dir);
    expect_files(snapshot, dir);
    KIT_OK(hf_fs_remove_tree(dir, &err), &err);
    hf_free(dir);
    world->restores++;
}

static void delete_one(struct world *world)
{
    struct hf_error err;
    size_t number = below(world, world->snapshot_count);
    struct model_snapshot *snapshot = world->snapshots[number];
    if (snapshot->leases > 0) {
        return; /* as the server refuses it */
    }
    KIT_OK(hf_commit_delete_manifest(world->kit.store, &world->kit.job, snapshot->manifest.capture,
                                     &err),
           &err);
    snapshot->deleted = true;
    snapshot->next = world->graves;
    world->graves = snapshot;
    world->snapshots[number] = world->snapshots[--world->snapshot_count];
    world->deleted++;
}

/* Asked while the world stands still, or by the world itself. */
static enum hf_err is_known(void *context, uint64_t capture, bool *known, struct hf_error *err)
{
    const struct world *world = context;
    (void)err;
    *known = false;
    for (size_t i = 0; i < world->snapshot_count; i++) {
        *known = *known || world->snapshots[i]->manifest.capture == capture;
    }
    return HF_ERR_OK;
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
        .is_known = is_known,
        .context = world,
    };
    struct hf_groom_result result;
    KIT_OK(hf_groom_job(&options, &result, &err), &err);
    world->grooms++;
}

/* ---- Sleepers ---- */

static struct sleeper *sleeper_of(struct hf_store *store)
{
    return (struct sleeper *)store;
}

/* Every call comes by here: once it stands still, all threads of the work do. */
static bool pass(struct hf_store *store)
{
    struct sleeper *sleeper = sleeper_of(store);
    HF_LOCKED(&sleeper->mutex);
    if (!sleeper->asleep && !sleeper->awake && --sleeper->calls_left == 0) {
        sleeper->asleep = true;
        hf_cond_broadcast(&sleeper->cond);
    }
    while (sleeper->asleep && !sleeper->awake) {
        hf_cond_wait(&sleeper->cond, &sleeper->mutex);
    }
    return !sleeper->died;
}

#define PASS(store, error)                                                                         \
    do {                                                                                           \
        if (!pass(store)) {                                                                        \
            return hf_fail(error, HF_ERR_IO, "it died");                                           \
        }                                                                                          \
    } while (0)

static enum hf_err sleepy_put(struct hf_store *store, struct hf_str name, struct hf_bytes content,
                              const struct hf_store_put_options *options, struct hf_error *err)
{
    PASS(store, err);
    return hf_store_put(sleeper_of(store)->inner, name, content, options, err);
}

static enum hf_err sleepy_get(struct hf_store *store, struct hf_str name, size_t max,
                              struct hf_buf *out, struct hf_error *err)
{
    PASS(store, err);
    return hf_store_get(sleeper_of(store)->inner, name, max, out, err);
}

static enum hf_err sleepy_get_range(struct hf_store *store, struct hf_str name, uint64_t offset,
                                    uint8_t *out, size_t len, struct hf_error *err)
{
    PASS(store, err);
    return hf_store_get_range(sleeper_of(store)->inner, name, offset, out, len, err);
}

static enum hf_err sleepy_get_tail(struct hf_store *store, struct hf_str name, size_t len,
                                   struct hf_buf *out, uint64_t *size_bytes, struct hf_error *err)
{
    PASS(store, err);
    return hf_store_get_tail(sleeper_of(store)->inner, name, len, out, size_bytes, err);
}

static enum hf_err sleepy_size(struct hf_store *store, struct hf_str name, uint64_t *size_bytes,
                               struct hf_error *err)
{
    PASS(store, err);
    return hf_store_size(sleeper_of(store)->inner, name, size_bytes, err);
}

/* Small pages, so that it may fall asleep between two of them. */
static enum hf_err sleepy_list(struct hf_store *store, struct hf_str prefix, struct hf_str after,
                               size_t max_entries, struct hf_store_list *out, struct hf_error *err)
{
    PASS(store, err);
    return hf_store_list(sleeper_of(store)->inner, prefix, after, max_entries < 7 ? max_entries : 7,
                         out, err);
}

static enum hf_err sleepy_remove(struct hf_store *store, struct hf_str name, struct hf_error *err)
{
    PASS(store, err);
    return hf_store_delete(sleeper_of(store)->inner, name, err);
}

static const struct hf_store_driver sleepy = {.kind = "sleepy",
                                              .put = sleepy_put,
                                              .get = sleepy_get,
                                              .get_range = sleepy_get_range,
                                              .get_tail = sleepy_get_tail,
                                              .size = sleepy_size,
                                              .list = sleepy_list,
                                              .remove = sleepy_remove};

static enum hf_err sleeping_groom(struct sleeper *sleeper)
{
    struct hf_groom_options options = {
        .store = &sleeper->base,
        .keyring = &sleeper->world->kit.keyring,
        .living_percent = sleeper->living_percent,
        .known_captures = sleeper->known,
        .known_count = sleeper->known_count,
        .is_known = is_known,
        .context = sleeper->world,
    };
    struct hf_groom_result result;
    return hf_groom_job(&options, &result, &sleeper->err);
}

static enum hf_err sleeping_capture(struct sleeper *sleeper)
{
    struct kit kit = sleeper->world->kit;
    kit.store = &sleeper->base;
    kit.journal_path = NULL;
    kit.cache_dir = NULL;
    kit.adopted_count = 0;
    kit.workers = 1;
    const struct hf_manifest *parent = sleeper->parent == NULL ? NULL : &sleeper->parent->manifest;
    enum hf_err code = kit_run_capture(&kit, &sleeper->attempt, sleeper->dir, parent,
                                       &sleeper->captured, &sleeper->err);
    if (code == HF_ERR_OK) {
        code = kit_commit(&kit, &sleeper->attempt, parent, &sleeper->captured,
                          &sleeper->snapshot->manifest, &sleeper->err);
    }
    return code;
}

static enum hf_err sleeping_restore(struct sleeper *sleeper)
{
    struct hf_restore_options options = {
        .store = &sleeper->base,
        .keyring = &sleeper->world->kit.keyring,
        .root = &sleeper->snapshot->manifest.root,
        .directory = sleeper->dir,
        .workers = 1,
    };
    struct hf_restore_result result;
    return hf_restore_run(&options, &result, &sleeper->err);
}

static void run_sleeper(void *argument)
{
    struct sleeper *sleeper = argument;
    enum hf_err code = sleeper->work == SLEEPS_GROOM     ? sleeping_groom(sleeper)
                       : sleeper->work == SLEEPS_CAPTURE ? sleeping_capture(sleeper)
                                                         : sleeping_restore(sleeper);
    HF_LOCKED(&sleeper->mutex);
    sleeper->code = code;
    sleeper->done = true;
    hf_cond_broadcast(&sleeper->cond);
}

static void copy_files(const char *from, const char *to)
{
    struct hf_error err;
    KIT_OK(hf_fs_make_dirs(to, 0700, &err), &err);
    for (size_t i = 0; i < FILES; i++) {
        HF_CLEANUP(hf_free) char *source = file_path(from, i);
        HF_CLEANUP(hf_free) char *target = file_path(to, i);
        HF_CLEANUP(hf_free) char *dir = hf_strndup(target, (size_t)(strrchr(target, '/') - target));
        HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)8 << 20);
        struct hf_file *file = NULL;
        if (!hf_fs_exists(source)) {
            continue;
        }
        KIT_OK(hf_fs_make_dirs(dir, 0700, &err), &err);
        KIT_OK(hf_fs_read_whole(source, (size_t)8 << 20, &bytes, &err), &err);
        KIT_OK(hf_file_open(target, HF_OPEN_CREATE, 0600, &file, &err), &err);
        KIT_OK(hf_file_write_at(file, 0, hf_buf_bytes(&bytes), &err), &err);
        hf_file_drop(file);
    }
}

static void prepare_sleeper(struct world *world, struct sleeper *sleeper, size_t place)
{
    static const unsigned ratios[] = {0, 30, 100};
    switch (sleeper->work) {
    case SLEEPS_GROOM:
        sleeper->living_percent = ratios[below(world, HF_ARRAY_LEN(ratios))];
        for (size_t i = 0; i < world->snapshot_count; i++) {
            sleeper->known[sleeper->known_count++] = world->snapshots[i]->manifest.capture;
        }
        break;
    case SLEEPS_CAPTURE:
        sleeper->snapshot = hf_alloc_zero(sizeof *sleeper->snapshot);
        assert_non_null(sleeper->snapshot);
        sleeper->dir = hf_asprintf("%s/sleeping-%zu", world->kit.dir, place);
        copy_files(world->source, sleeper->dir);
        describe(sleeper->dir, sleeper->snapshot->files);
        if (world->snapshot_count > 0 && below(world, 8) != 0) {
            sleeper->parent = world->snapshots[below(world, world->snapshot_count)];
        }
        sleeper->attempt = kit_begin(&world->kit);
        break;
    case SLEEPS_RESTORE:
    default:
        sleeper->dir = hf_asprintf("%s/sleeping-%zu", world->kit.dir, place);
        sleeper->snapshot = world->snapshots[below(world, world->snapshot_count)];
        sleeper->snapshot->leases++;
        break;
    }
}

static void wait_for_sleep(struct sleeper *sleeper)
{
    HF_LOCKED(&sleeper->mutex);
    while (!sleeper->done && !sleeper->asleep) {
        hf_cond_wait(&sleeper->cond, &sleeper->mutex);
    }
}

/* A capture's end, as the server writes it down. */
static void end_capture(struct world *world, struct sleeper *sleeper)
{
    struct hf_error err;
    enum hf_give_up_outcome outcome;
    struct model_snapshot *snapshot = sleeper->snapshot;
    if (sleeper->code == HF_ERR_OK) {
        assert_true(world->snapshot_count < SNAPSHOTS_MAX);
        world->snapshots[world->snapshot_count++] = snapshot;
        world->captures++;
        return;
    }
    /* It fails for one reason alone: its parent went. */
    if (sleeper->parent == NULL || !sleeper->parent->deleted) {
        fail_msg("a capture that slept: %s: %s", hf_err_name(sleeper->code), sleeper->err.message);
    }
    KIT_OK(hf_commit_drop_failed(world->kit.store, &world->kit.job, sleeper->attempt.capture, &err),
           &err);
    KIT_OK(hf_commit_give_up(world->kit.store, &world->kit.job, sleeper->attempt.capture, &outcome,
                             &err),
           &err);
    assert_int_equal(outcome, HF_GIVEN_UP);
    KIT_OK(hf_commit_drop_claim(world->kit.store, &world->kit.job, &sleeper->attempt.writer, &err),
           &err);
    hf_manifest_fini(&snapshot->manifest);
    hf_free(snapshot);
    world->lost_captures++;
}

static void end_sleeper(struct world *world, size_t place)
{
    struct hf_error err;
    struct sleeper *sleeper = world->sleepers[place];
    hf_thread_join(sleeper->thread);
    if (sleeper->work == SLEEPS_CAPTURE) {
        end_capture(world, sleeper);
    } else if (sleeper->work == SLEEPS_RESTORE) {
        KIT_OK(sleeper->code, &sleeper->err);
        expect_files(sleeper->snapshot, sleeper->dir);
        sleeper->snapshot->leases--;
        world->restores++;
    } else if (!sleeper->died) {
        KIT_OK(sleeper->code, &sleeper->err);
        world->grooms++;
    }
    world->died_grooms += sleeper->died ? 1 : 0;
    world->slept[sleeper->work]++;
    hf_capture_result_fini(&sleeper->captured);
    if (sleeper->dir != NULL) {
        KIT_OK(hf_fs_remove_tree(sleeper->dir, &err), &err);
    }
    hf_free(sleeper->dir);
    hf_cond_fini(&sleeper->cond);
    hf_mutex_fini(&sleeper->mutex);
    hf_free(sleeper);
    world->sleepers[place] = NULL;
}

static void wake(struct world *world, size_t place)
{
    struct sleeper *sleeper = world->sleepers[place];
    if (sleeper == NULL) {
        return;
    }
    hf_mutex_lock(&sleeper->mutex);
    sleeper->awake = true;
    sleeper->died = sleeper->dies;
    hf_cond_broadcast(&sleeper->cond);
    hf_mutex_unlock(&sleeper->mutex);
    end_sleeper(world, place);
}

static size_t sleeping_captures(const struct world *world)
{
    size_t count = 0;
    for (size_t i = 0; i < SLEEPERS; i++) {
        count += world->sleepers[i] != NULL && world->sleepers[i]->work == SLEEPS_CAPTURE ? 1 : 0;
    }
    return count;
}

/* Begins some work, which runs until its nth call of the store, or to its end. */
static void fall_asleep(struct world *world)
{
    struct hf_error err;
    size_t place = below(world, SLEEPERS);
    enum sleeper_work work = (enum sleeper_work)below(world, 3);
    if (world->sleepers[place] != NULL) {
        wake(world, place);
        return;
    }
    if ((work == SLEEPS_CAPTURE &&
         world->snapshot_count + sleeping_captures(world) >= SNAPSHOTS_MAX) ||
        (work == SLEEPS_RESTORE && world->snapshot_count == 0)) {
        return;
    }
    struct sleeper *sleeper = hf_alloc_zero(sizeof *sleeper);
    assert_non_null(sleeper);
    sleeper->base.driver = &sleepy;
    sleeper->base.abilities = world->kit.store->abilities;
    sleeper->base.url = world->kit.store->url;
    sleeper->inner = world->kit.store;
    sleeper->world = world;
    sleeper->work = work;
    sleeper->calls_left = 1 + below(world, below(world, 2) == 0 ? 12 : 120);
    sleeper->dies = work == SLEEPS_GROOM && below(world, 3) == 0;
    hf_mutex_init(&sleeper->mutex);
    hf_cond_init(&sleeper->cond);
    prepare_sleeper(world, sleeper, place);
    world->sleepers[place] = sleeper;
    KIT_OK(hf_thread_start("sleeper", run_sleeper, sleeper, &sleeper->thread, &err), &err);
    wait_for_sleep(sleeper);
    if (sleeper->done) {
        sleeper->dies = false;
        end_sleeper(world, place);
    }
}

static void one_step(struct world *world)
{
    switch (below(world, 16)) {
    case 0:
    case 1:
    case 2:
        if (world->snapshot_count + sleeping_captures(world) < SNAPSHOTS_MAX) {
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
    case 6:
        if (world->snapshot_count > 1) {
            delete_one(world);
        }
        break;
    case 7: {
        static const unsigned ratios[] = {0, 30, 100};
        groom(world, ratios[below(world, HF_ARRAY_LEN(ratios))]);
        break;
    }
    case 8:
        kit_expect_no_damage(&world->kit, HF_VERIFY_CONTENT);
        world->verified++;
        break;
    case 9:
    case 10:
    case 11:
        fall_asleep(world);
        break;
    default:
        change_one_file(world);
        break;
    }
}

/* ---- All that the store holds ---- */

struct addresses {
    struct hf_address *items; /* owned */
    size_t count, capacity;
};

static void add_address(struct addresses *list, const struct hf_address *address)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity * 2 + 64;
        list->items = hf_realloc_array(list->items, list->capacity, sizeof *list->items);
        assert_non_null(list->items);
    }
    list->items[list->count++] = *address;
}

static int by_address(const void *a, const void *b)
{
    return hf_address_compare(a, b);
}

static void sort_out(struct addresses *list)
{
    size_t kept = 0;
    if (list->count > 0) {
        qsort(list->items, list->count, sizeof *list->items, by_address);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (kept == 0 || by_address(&list->items[kept - 1], &list->items[i]) != 0) {
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
}

static bool skip_nothing(void *context, const struct hf_ref *ref)
{
    (void)context;
    (void)ref;
    return false;
}

static enum hf_err note_reached(void *context, const struct hf_visit_place *place,
                                const struct hf_ref *ref, struct hf_error *err)
{
    (void)place;
    (void)err;
    add_address(context, &ref->address);
    return HF_ERR_OK;
}

static void add_reached(struct world *world, struct addresses *out)
{
    struct hf_error err;
    struct hf_tree_reader *reader = NULL;
    struct hf_block_coder *coder = NULL;
    struct hf_tree_reader_options reading = {.store = world->kit.store,
                                             .keyring = &world->kit.keyring,
                                             .memory_max_bytes = (size_t)1 << 20};
    struct hf_block_coder_options coding = {.keyring = &world->kit.keyring};
    const struct hf_visitor visitor = {
        .skip = skip_nothing, .block = note_reached, .done = note_reached, .context = out};
    KIT_OK(hf_tree_reader_create(&reading, &reader, &err), &err);
    KIT_OK(hf_block_coder_create(&coding, &coder, &err), &err);
    for (size_t i = 0; i < world->snapshot_count; i++) {
        KIT_OK(hf_visit_tree(reader, coder, &world->snapshots[i]->manifest.root, &visitor, &err),
               &err);
    }
    hf_tree_reader_destroy(reader);
    hf_block_coder_destroy(coder);
}

/* Out of the footers of all objects. */
static void add_stored(struct world *world, enum hf_object_kind kind, struct addresses *out)
{
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    struct hf_object_text prefix = hf_object_prefix(kind, &world->kit.job);
    KIT_OK(
        hf_store_list(world->kit.store, hf_str_of(prefix.text), hf_str_of(""), 100000, &list, &err),
        &err);
    assert_false(list.more);
    for (size_t i = 0; i < list.count; i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
        HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
        uint64_t need = 0;
        KIT_OK(hf_store_get(world->kit.store, hf_str_of(list.entries[i].name),
                            HF_STORE_OBJECT_MAX_BYTES, &bytes, &err),
               &err);
        KIT_OK(hf_footer_decode(hf_buf_bytes(&bytes), bytes.len, &need, &footer, &err), &err);
        for (uint32_t k = 0; k < footer.block_count; k++) {
            add_address(out, &footer.blocks[k].address);
        }
    }
}

/* Everybody wakes, what was given up is dropped; then the store is what the snapshots reach, and no more. keeps I11 */
static void expect_only_promises(struct world *world)
{
    struct hf_error err;
    struct addresses reached = {.items = NULL}, stored = {.items = NULL};
    for (size_t i = 0; i < SLEEPERS; i++) {
        wake(world, i);
    }
    drop_old_claims(world);
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list captures = {.captures = NULL};
    KIT_OK(hf_list_captures(world->kit.store, &world->kit.job, &captures, &err), &err);
    for (size_t i = 0; i < captures.count; i++) {
        KIT_OK(hf_commit_drop_void(world->kit.store, &world->kit.job, captures.captures[i], &err),
               &err);
    }
    groom(world, 100);
    groom(world, 100);
    add_reached(world, &reached);
    add_stored(world, HF_OBJECT_DATA, &stored);
    add_stored(world, HF_OBJECT_TREE, &stored);
    sort_out(&reached);
    sort_out(&stored);
    for (size_t i = 0; i < reached.count && i < stored.count; i++) {
        if (by_address(&reached.items[i], &stored.items[i]) != 0) {
            fail_msg("block %s is reached, %s is stored", hf_address_text(&reached.items[i]).text,
                     hf_address_text(&stored.items[i]).text);
        }
    }
    assert_int_equal(reached.count, stored.count);
    world->blocks_compared += reached.count;
    hf_free(reached.items);
    hf_free(stored.items);
    kit_expect_no_damage(&world->kit, HF_VERIFY_CONTENT);
    while (world->graves != NULL) {
        struct model_snapshot *snapshot = world->graves;
        world->graves = snapshot->next;
        hf_manifest_fini(&snapshot->manifest);
        hf_free(snapshot);
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

static void tell(const struct world *world)
{
    print_message(
        "captures %llu (%llu slept, %llu of those lost their parent), deaths %llu, "
        "adoptions %llu, restores %llu (%llu slept), deleted %llu, verified %llu\n"
        "grooms %llu (%llu slept or died, %llu died), blocks compared %llu\n",
        (unsigned long long)world->captures, (unsigned long long)world->slept[SLEEPS_CAPTURE],
        (unsigned long long)world->lost_captures, (unsigned long long)world->deaths,
        (unsigned long long)world->adoptions, (unsigned long long)world->restores,
        (unsigned long long)world->slept[SLEEPS_RESTORE], (unsigned long long)world->deleted,
        (unsigned long long)world->verified, (unsigned long long)world->grooms,
        (unsigned long long)world->slept[SLEEPS_GROOM], (unsigned long long)world->died_grooms,
        (unsigned long long)world->blocks_compared);
}

struct run_options {
    uint64_t seed, steps;
    const struct scale *scale;
    bool plain;
};

static void run(const struct run_options *options)
{
    struct world world = {.random = options->seed, .scale = options->scale};
    kit_open(&world.kit, &(struct kit_options){.plain = options->plain});
    world.source = kit_path(&world.kit, "source");
    char *journal = kit_path(&world.kit, "journal");
    char *cache = kit_path(&world.kit, "cache");
    struct hf_error err;
    KIT_OK(hf_fs_make_dirs(world.source, 0700, &err), &err);
    world.kit.journal_path = journal;
    world.kit.cache_dir = cache;
    world.kit.block_bytes = BLOCK_BYTES;
    world.kit.pack_bytes = options->scale->pack_bytes;
    print_message("seed %llu, %llu steps\n", (unsigned long long)options->seed,
                  (unsigned long long)options->steps);
    for (uint64_t i = 1; i <= options->steps; i++) {
        one_step(&world);
        if (i % ERA_STEPS == 0) {
            expect_only_promises(&world);
        }
        if (i % (10 * ERA_STEPS) == 0) {
            print_message("step %llu\n", (unsigned long long)i);
        }
    }
    expect_only_promises(&world);
    restore_one(&world);
    tell(&world);
    while (world.snapshot_count > 0) {
        delete_one(&world);
    }
    expect_only_promises(&world);
    assert_int_equal(count_objects(&world, HF_OBJECT_DATA), 0); /* I11 */
    assert_int_equal(count_objects(&world, HF_OBJECT_TREE), 0);
    assert_int_equal(count_objects(&world, HF_OBJECT_MANIFEST), 0);
    assert_int_equal(count_objects(&world, HF_OBJECT_CLAIM), 0);
    hf_free(journal);
    hf_free(cache);
    hf_free(world.source);
    kit_close(&world.kit);
}

static void test_random_chains_of_captures_restore_what_was_there(void **state)
{
    (void)state;
    uint64_t seed = run_setting("HF_TEST_SEED", 1);
    uint64_t steps = run_setting("HF_TEST_STEPS", run_is_soak() ? 2000 : 60);
    run(&(struct run_options){.seed = seed, .steps = steps, .scale = &large});
    run(&(struct run_options){.seed = seed + 1, .steps = steps, .scale = &large, .plain = true});
}

static void test_many_steps_lose_nothing_and_leave_nothing(void **state)
{
    (void)state;
    uint64_t seed = run_setting("HF_TEST_SEED", 1);
    uint64_t steps = run_setting("HF_TEST_STEPS", run_is_soak() ? 100000 : 300);
    run(&(struct run_options){.seed = seed, .steps = steps, .scale = &small});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_chains_of_captures_restore_what_was_there),
        cmocka_unit_test(test_many_steps_lose_nothing_and_leave_nothing),
    };
    const char *only = getenv("HF_TEST_ONLY");
    kit_use_all();
    run_in_memory((uint64_t)1 << 30);
    cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
