/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage (store-format.md 7 and 11): single bits are flipped in, and bytes cut off, the objects of a store that holds
 * several jobs and snapshots, one at a time. After each: verification names the object and every snapshot, file and block
 * that it touches, and nothing else; what is not touched restores byte for byte; what is touched refuses, by the object's
 * name; the next capture is whole, and makes whole again what the source still has.
 *
 * What to expect is computed from the whole store, before the damage: which bytes are which block, and who reaches it.
 *
 * A share runs unless HOLDFAST_SOAK is set; HF_TEST_SEED chooses another run, and the seed is printed.
 */
#include "support/run.h"
#include "support/snapshot_kit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/filelist.h"
#include "format/pack.h"
#include "snapshot/visit.h"

#define JOBS 3
#define SNAPSHOTS_MAX 4 /* of a job */
#define BLOCK_BYTES 4096
#define PACK_BYTES ((size_t)96 << 10)
#define NAMES_MAX 10000
#define ROOM_BYTES ((uint64_t)2 << 30)

/* ---- what is known of the whole store ---- */

struct saved_file {
    char *path;     /* owned */
    uint8_t *bytes; /* owned */
    size_t len;
};

/* The content of a directory. */
struct state {
    struct saved_file *files; /* owned, ascending by path */
    size_t count;
};

/* A list, node or block of a tree, before all below it. */
struct item {
    struct hf_address address;
    char *path; /* owned; empty for a list */
    uint64_t offset;
    uint32_t len; /* of a block; 0 for others */
    size_t end;   /* the first item that is not below this one */
    bool is_block;
};

struct snapshot {
    struct hf_manifest manifest;
    struct state state;
    struct item *items; /* owned */
    size_t count, capacity;
};

struct job {
    struct kit kit; /* shares store, mark and key with the others */
    char *source;   /* owned */
    struct state now;
    struct snapshot snapshots[SNAPSHOTS_MAX];
    size_t snapshot_count;
};

struct object {
    struct hf_object_name name;
    char *text;     /* owned */
    uint8_t *bytes; /* owned */
    size_t len;
    struct hf_footer footer; /* of data and trees */
    struct job *job;         /* borrowed; NULL: of none that has snapshots */
};

struct counts {
    uint64_t flips, truncations, found, restored, refused, captures, healed, groomed;
};

struct world {
    struct kit kit; /* owns the store */
    struct job jobs[JOBS];
    struct object *objects; /* owned */
    size_t object_count;
    size_t *turns; /* owned: the objects in the order of their turns */
    uint64_t random;
    struct counts counts;
};

/* One damage, and what it takes away. */
struct damage {
    const struct object *object;
    bool truncates;
    size_t at; /* byte, or length after the cut */
    uint8_t bit;
    bool whole_footer;                   /* no block of the object can be found any more */
    const struct hf_footer_block *block; /* the one that is hit; NULL: none */
    struct hf_address *healed;           /* owned: addresses that are whole again */
    size_t healed_count;
};

static size_t below(struct world *world, size_t limit)
{
    return (size_t)(run_random(&world->random) % limit);
}

/* ---- directories ---- */

static void put_file(const char *dir, const char *name, const uint8_t *bytes, size_t len)
{
    struct hf_error err;
    struct hf_file *file = NULL;
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, name);
    HF_CLEANUP(hf_free) char *parent = hf_strndup(path, (size_t)(strrchr(path, '/') - path));
    KIT_OK(hf_fs_make_dirs(parent, 0700, &err), &err);
    KIT_OK(hf_file_open(path, HF_OPEN_CREATE, 0600, &file, &err), &err);
    KIT_OK(hf_file_truncate(file, len, &err), &err);
    if (len > 0) {
        KIT_OK(hf_file_write_at(file, 0, hf_bytes_of(bytes, len), &err), &err);
    }
    KIT_OK(hf_file_close(file, &err), &err);
}

static void read_state(const char *dir, struct state *out)
{
    struct hf_error err;
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files files = {.items = NULL};
    kit_list_files(dir, "", &files);
    out->count = files.count;
    out->files = hf_alloc_zero((files.count + 1) * sizeof *out->files);
    assert_non_null(out->files);
    for (size_t i = 0; i < files.count; i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)16 << 20);
        HF_CLEANUP(hf_free) char *path = hf_path_join(dir, files.items[i].path);
        struct saved_file *file = &out->files[i];
        KIT_OK(hf_fs_read_whole(path, bytes.max, &bytes, &err), &err);
        file->path = hf_strdup(files.items[i].path);
        file->len = bytes.len;
        file->bytes = hf_alloc(bytes.len + 1);
        assert_non_null(file->bytes);
        if (bytes.len > 0) {
            memcpy(file->bytes, bytes.data, bytes.len);
        }
    }
}

static void state_fini(struct state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        hf_free(state->files[i].path);
        hf_free(state->files[i].bytes);
    }
    hf_free(state->files);
    *state = (struct state){.files = NULL};
}

static const struct saved_file *find_file(const struct state *state, const char *path)
{
    for (size_t i = 0; i < state->count; i++) {
        if (strcmp(state->files[i].path, path) == 0) {
            return &state->files[i];
        }
    }
    return NULL;
}

static bool same_state(const struct state *a, const struct state *b)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct saved_file *left = &a->files[i];
        const struct saved_file *right = find_file(b, left->path);
        if (right == NULL || left->len != right->len ||
            memcmp(left->bytes, right->bytes, left->len) != 0) {
            return false;
        }
    }
    return a->count == b->count;
}

/* Random bytes in every other block, text in the others. */
static void fill(struct world *world, uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool text = i / BLOCK_BYTES % 2 == 0;
        bytes[i] = (uint8_t)(text ? 'a' + i / 50 % 26 : run_random(&world->random));
    }
    for (size_t i = 0; i + 8 <= len; i += BLOCK_BYTES) {
        hf_store_le64(bytes + i, run_random(&world->random)); /* no two blocks are equal */
    }
}

static void make_file(struct world *world, const char *dir, const char *name, size_t len)
{
    uint8_t *bytes = hf_alloc(len + 1);
    assert_non_null(bytes);
    fill(world, bytes, len);
    put_file(dir, name, bytes, len);
    hf_free(bytes);
}

/* A name behind which a list of files ends, so that a snapshot has several. */
static void make_cutting_file(struct world *world, const char *dir, const char *stem, size_t len)
{
    char name[64];
    unsigned number = 0;
    do {
        (void)snprintf(name, sizeof name, "%s-%u.wt", stem, number++);
    } while (!hf_list_cuts_after(hf_str_of(name)));
    make_file(world, dir, name, len);
}

static void make_source(struct world *world, const char *dir)
{
    static const uint8_t zeros[5 * BLOCK_BYTES];
    put_file(dir, "empty", zeros, 0);
    put_file(dir, "zeros", zeros, sizeof zeros);
    make_file(world, dir, "WiredTiger", 50);
    make_file(world, dir, "few-blocks.wt", 5 * BLOCK_BYTES + 7);
    make_file(world, dir, "journal/WiredTigerLog.0000000001", 3 * BLOCK_BYTES);
    make_file(world, dir, "one-node.wt", 20 * BLOCK_BYTES);
    make_file(world, dir, "two-levels.wt", 140 * BLOCK_BYTES + 1);
    make_cutting_file(world, dir, "collection", 12 * BLOCK_BYTES);
    make_cutting_file(world, dir, "index", 700);
    make_file(world, dir, "sub/last.wt", 2 * BLOCK_BYTES);
}

/* Some blocks of each file change; `number` comes as a new one. */
static void change_source(struct world *world, const char *dir, unsigned number)
{
    struct state state;
    char name[64];
    read_state(dir, &state);
    for (size_t i = 0; i < state.count; i++) {
        struct saved_file *file = &state.files[i];
        size_t blocks = file->len / BLOCK_BYTES;
        for (size_t b = 0; b < blocks; b++) {
            if (below(world, 6) == 0 && strcmp(file->path, "zeros") != 0) {
                hf_store_le64(file->bytes + b * BLOCK_BYTES, run_random(&world->random));
            }
        }
        put_file(dir, file->path, file->bytes, file->len);
    }
    (void)snprintf(name, sizeof name, "new-%u.wt", number);
    make_file(world, dir, name, (3 + number) * BLOCK_BYTES);
    state_fini(&state);
}

/* ---- trees ---- */

struct record {
    struct snapshot *snapshot;
    const struct hf_file_entry *entry;
    char *path; /* owned */
    size_t open[8];
    size_t open_count;
};

static struct item *add_item(struct record *record, const struct hf_ref *ref)
{
    struct snapshot *snapshot = record->snapshot;
    if (snapshot->count == snapshot->capacity) {
        snapshot->capacity = snapshot->capacity == 0 ? 256 : snapshot->capacity * 2;
        snapshot->items =
            hf_realloc_array(snapshot->items, snapshot->capacity, sizeof *snapshot->items);
        assert_non_null(snapshot->items);
    }
    struct item *item = &snapshot->items[snapshot->count++];
    *item = (struct item){.address = ref->address};
    return item;
}

static bool record_open(void *context, const struct hf_ref *ref)
{
    struct record *record = context;
    assert_true(record->open_count < HF_ARRAY_LEN(record->open));
    record->open[record->open_count++] = record->snapshot->count;
    (void)add_item(record, ref);
    return false;
}

static enum hf_err record_block(void *context, const struct hf_visit_place *place,
                                const struct hf_ref *ref, struct hf_error *err)
{
    struct record *record = context;
    struct item *item = add_item(record, ref);
    (void)err;
    item->path = hf_strndup(place->entry->path.data, place->entry->path.len);
    item->offset = place->block * place->entry->block_bytes;
    item->len = hf_block_length(place->entry->size_bytes, place->entry->block_bytes, place->block);
    item->end = record->snapshot->count;
    item->is_block = true;
    return HF_ERR_OK;
}

static enum hf_err record_done(void *context, const struct hf_visit_place *place,
                               const struct hf_ref *ref, struct hf_error *err)
{
    struct record *record = context;
    struct item *item = &record->snapshot->items[record->open[--record->open_count]];
    const struct hf_file_entry *entry = place->entry;
    (void)err;
    assert_true(hf_address_equal(&item->address, &ref->address));
    /* A list is done last, when the entry of its last file may still be there: it has neither path nor offset. */
    bool is_list = record->open_count == 0;
    item->path = is_list ? hf_strdup("") : hf_strndup(entry->path.data, entry->path.len);
    item->offset = is_list ? 0 : place->block * entry->block_bytes;
    item->end = record->snapshot->count;
    return HF_ERR_OK;
}

static void record_tree(struct job *job, struct snapshot *snapshot)
{
    struct hf_error err;
    HF_CLEANUP(hf_tree_reader_destroy) struct hf_tree_reader *reader = NULL;
    HF_CLEANUP(hf_block_coder_destroy) struct hf_block_coder *coder = NULL;
    struct hf_tree_reader_options reading = {.store = job->kit.store, .keyring = &job->kit.keyring};
    struct hf_block_coder_options coding = {.keyring = &job->kit.keyring};
    struct record record = {.snapshot = snapshot};
    struct hf_visitor visitor = {
        .skip = record_open, .block = record_block, .done = record_done, .context = &record};
    KIT_OK(hf_tree_reader_create(&reading, &reader, &err), &err);
    KIT_OK(hf_block_coder_create(&coding, &coder, &err), &err);
    KIT_OK(hf_visit_tree(reader, coder, &snapshot->manifest.root, &visitor, &err), &err);
    assert_int_equal(record.open_count, 0);
}

static void snapshot_fini(struct snapshot *snapshot)
{
    hf_manifest_fini(&snapshot->manifest);
    state_fini(&snapshot->state);
    for (size_t i = 0; i < snapshot->count; i++) {
        hf_free(snapshot->items[i].path);
    }
    hf_free(snapshot->items);
    *snapshot = (struct snapshot){.items = NULL};
}

/* ---- the store ---- */

static void take_snapshot(struct job *job)
{
    struct snapshot *snapshot = &job->snapshots[job->snapshot_count++];
    const struct hf_manifest *parent = job->snapshot_count == 1 ? NULL : &snapshot[-1].manifest;
    read_state(job->source, &snapshot->state);
    kit_snapshot(&job->kit, job->source, parent, &snapshot->manifest);
}

static void delete_snapshot(struct job *job, size_t number)
{
    struct hf_error err;
    KIT_OK(hf_commit_delete_manifest(job->kit.store, &job->kit.job,
                                     job->snapshots[number].manifest.capture, &err),
           &err);
    snapshot_fini(&job->snapshots[number]);
    job->snapshot_count--;
    memmove(&job->snapshots[number], &job->snapshots[number + 1],
            (job->snapshot_count - number) * sizeof job->snapshots[0]);
}

static void groom(struct job *job)
{
    struct hf_error err;
    struct hf_groom_options options = {
        .store = job->kit.store, .keyring = &job->kit.keyring, .living_percent = 100};
    struct hf_groom_result result;
    KIT_OK(hf_groom_job(&options, &result, &err), &err);
    assert_true(result.objects_written > 0);
}

/* An attempt that put its packs and was given up: its objects, its claim and a void stay. */
static void give_one_up(struct job *job)
{
    struct hf_error err;
    struct hf_capture_result result = {.packs = 0};
    struct kit_attempt attempt = kit_begin(&job->kit);
    enum hf_give_up_outcome outcome;
    KIT_OK(kit_run_capture(&job->kit, &attempt, job->source, NULL, &result, &err), &err);
    hf_capture_result_fini(&result);
    KIT_OK(hf_commit_give_up(job->kit.store, &job->kit.job, attempt.capture, &outcome, &err), &err);
    assert_int_equal(outcome, HF_GIVEN_UP);
}

static void make_job(struct world *world, size_t number)
{
    struct hf_error err;
    struct job *job = &world->jobs[number];
    char name[32];
    job->kit = world->kit;
    job->kit.job = kit_id();
    job->kit.workers = 1; /* the same packs in each run */
    job->kit.block_bytes = BLOCK_BYTES;
    job->kit.pack_bytes = PACK_BYTES;
    KIT_OK(hf_job_keys_create(world->kit.store, &world->kit.mark, &world->kit.key, &job->kit.job,
                              &job->kit.keyring, &err),
           &err);
    (void)snprintf(name, sizeof name, "source-%zu", number);
    job->source = kit_path(&world->kit, name);
    (void)snprintf(name, sizeof name, "cache-%zu", number);
    job->kit.cache_dir = kit_path(&world->kit, name);
    make_source(world, job->source);
    take_snapshot(job);
    for (unsigned i = 1; i < SNAPSHOTS_MAX; i++) {
        change_source(world, job->source, i);
        if (number == 1 && i == 2) {
            give_one_up(job);
        }
        take_snapshot(job);
    }
    if (number == 2) {
        delete_snapshot(job, 1);
        groom(job);
    }
    change_source(world, job->source, SNAPSHOTS_MAX);
    read_state(job->source, &job->now);
    for (size_t i = 0; i < job->snapshot_count; i++) {
        record_tree(job, &job->snapshots[i]);
    }
}

static struct job *job_of(struct world *world, const struct hf_object_name *name)
{
    for (size_t i = 0; i < JOBS; i++) {
        if (name->kind != HF_OBJECT_MARK && hf_id_equal(&name->job, &world->jobs[i].kit.job)) {
            return &world->jobs[i];
        }
    }
    return NULL;
}

static void list_all(struct world *world, struct hf_store_list *out)
{
    struct hf_error err;
    KIT_OK(hf_store_list(world->kit.store, hf_str_of(""), hf_str_of(""), NAMES_MAX, out, &err),
           &err);
    assert_false(out->more);
}

/* The same order for a seed, although ids of jobs and writers are new in each run. */
static int by_part(const void *left, const void *right)
{
    const struct object *a = left;
    const struct object *b = right;
    if (a->job != b->job) {
        return a->job < b->job ? -1 : 1;
    }
    size_t id = a->name.kind == HF_OBJECT_MARK ? 0 : sizeof "j/" - 1 + (size_t)2 * HF_ID_BYTES;
    size_t other = b->name.kind == HF_OBJECT_MARK ? 0 : sizeof "j/" - 1 + (size_t)2 * HF_ID_BYTES;
    int order = strcmp(a->text + id, b->text + other);
    return order != 0 ? order : (a->len < b->len ? -1 : a->len > b->len);
}

static void read_objects(struct world *world)
{
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    list_all(world, &list);
    world->objects = hf_alloc_zero(list.count * sizeof *world->objects);
    world->object_count = list.count;
    world->turns = hf_alloc_array(list.count, sizeof *world->turns);
    assert_non_null(world->objects);
    assert_non_null(world->turns);
    for (size_t i = 0; i < list.count; i++) {
        world->turns[i] = i;
        struct object *object = &world->objects[i];
        HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
        struct hf_str name = hf_str_of(list.entries[i].name);
        uint64_t need = 0;
        KIT_OK(hf_store_get(world->kit.store, name, bytes.max, &bytes, &err), &err);
        KIT_OK(hf_object_name_parse(name, &object->name, &err), &err);
        object->text = hf_strdup(name.data);
        object->len = bytes.len;
        object->bytes = hf_alloc(bytes.len);
        assert_non_null(object->bytes);
        memcpy(object->bytes, bytes.data, bytes.len);
        object->job = job_of(world, &object->name);
        if (object->name.kind == HF_OBJECT_DATA || object->name.kind == HF_OBJECT_TREE) {
            KIT_OK(hf_footer_decode(hf_buf_bytes(&bytes), bytes.len, &need, &object->footer, &err),
                   &err);
        }
    }
    qsort(world->objects, world->object_count, sizeof *world->objects, by_part);
}

static void open_world(struct world *world, uint64_t seed, bool plain)
{
    world->random = seed;
    kit_open(&world->kit, &(struct kit_options){.on_disk = true, .plain = plain});
    for (size_t i = 0; i < JOBS; i++) {
        make_job(world, i);
    }
    read_objects(world);
}

static void close_world(struct world *world)
{
    for (size_t i = 0; i < JOBS; i++) {
        struct job *job = &world->jobs[i];
        for (size_t s = 0; s < job->snapshot_count; s++) {
            snapshot_fini(&job->snapshots[s]);
        }
        state_fini(&job->now);
        hf_capture_result_fini(&job->kit.last);
        hf_free((char *)(uintptr_t)job->kit.cache_dir);
        hf_free(job->source);
    }
    for (size_t i = 0; i < world->object_count; i++) {
        hf_free(world->objects[i].text);
        hf_free(world->objects[i].bytes);
        hf_footer_fini(&world->objects[i].footer);
    }
    hf_free(world->objects);
    hf_free(world->turns);
    kit_close(&world->kit);
}

/* ---- damaging ---- */

/* Every object has one turn in each round, in an order that is new for each. */
static const struct object *next_object(struct world *world, size_t number)
{
    size_t turn = number % world->object_count;
    size_t other = turn + below(world, world->object_count - turn);
    size_t chosen = world->turns[other];
    world->turns[other] = world->turns[turn];
    world->turns[turn] = chosen;
    return &world->objects[chosen];
}

static void choose_damage(struct world *world, size_t number, struct damage *out)
{
    /* The places are random, the ends more often than chance would have it. */
    const struct object *object = next_object(world, number);
    size_t edge = object->len < 200 ? object->len : 200;
    *out = (struct damage){.object = object, .truncates = number % 6 == 5};
    switch (below(world, 5)) {
    case 0:
        out->at = below(world, edge);
        break;
    case 1:
        out->at = object->len - 1 - below(world, edge);
        break;
    default:
        out->at = below(world, object->len);
        break;
    }
    out->bit = (uint8_t)(1u << below(world, 8));
    if (object->footer.block_count == 0) {
        return;
    }
    out->whole_footer = out->truncates || out->at >= object->len - object->footer.footer_bytes;
    for (uint32_t i = 0; i < object->footer.block_count && !out->whole_footer; i++) {
        const struct hf_footer_block *block = &object->footer.blocks[i];
        if (out->at >= block->place && out->at - block->place < block->stored_bytes) {
            out->block = block;
        }
    }
}

/* The object's file gets these bytes, as a failing disk would do it: below the store. */
static void write_object(struct world *world, const char *name, const uint8_t *bytes, size_t len)
{
    HF_CLEANUP(hf_free) char *root = kit_path(&world->kit, "store");
    HF_CLEANUP(hf_free) char *path = hf_path_join(root, name);
    assert_int_equal(chmod(path, 0640), 0);
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, bytes + done, len - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    assert_int_equal(close(fd), 0);
    assert_int_equal(chmod(path, 0440), 0);
}

static void do_damage(struct world *world, const struct damage *damage)
{
    const struct object *object = damage->object;
    uint8_t *bytes = hf_alloc(object->len);
    assert_non_null(bytes);
    memcpy(bytes, object->bytes, object->len);
    bytes[damage->at] ^= damage->bit;
    write_object(world, object->text, bytes, damage->truncates ? damage->at : object->len);
    hf_free(bytes);
}

static bool was_there(const struct world *world, const char *name)
{
    for (size_t i = 0; i < world->object_count; i++) {
        if (strcmp(world->objects[i].text, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Everything is as before. */
static void undo_damage(struct world *world, const struct damage *damage)
{
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    uint64_t size = 0;
    if (hf_store_size(world->kit.store, hf_str_of(damage->object->text), &size, &err) ==
        HF_ERR_OK) {
        write_object(world, damage->object->text, damage->object->bytes, damage->object->len);
    }
    list_all(world, &list);
    for (size_t i = 0; i < list.count; i++) {
        if (!was_there(world, list.entries[i].name)) {
            KIT_OK(hf_store_delete(world->kit.store, hf_str_of(list.entries[i].name), &err), &err);
        }
    }
    for (size_t i = 0; i < world->object_count; i++) {
        const struct object *object = &world->objects[i];
        KIT_OK(hf_store_put(world->kit.store, hf_str_of(object->text),
                            hf_bytes_of(object->bytes, object->len), NULL, &err),
               &err);
    }
}

/* ---- what is to be expected ---- */

static bool in_footer(const struct hf_footer *footer, const struct hf_address *address)
{
    return footer->block_count > 0 && hf_footer_find(footer, address) != NULL;
}

static bool is_lost(const struct world *world, const struct damage *damage, const struct job *job,
                    const struct hf_address *address)
{
    if (damage->object->job != job ||
        !(damage->whole_footer
              ? in_footer(&damage->object->footer, address)
              : damage->block != NULL && hf_address_equal(&damage->block->address, address))) {
        return false;
    }
    for (size_t i = 0; i < damage->healed_count; i++) {
        if (hf_address_equal(&damage->healed[i], address)) {
            return false;
        }
    }
    for (size_t i = 0; i < world->object_count; i++) {
        const struct object *other = &world->objects[i];
        if (other != damage->object && other->job == job && in_footer(&other->footer, address)) {
            return false; /* a second copy serves */
        }
    }
    return true;
}

static bool hits_manifest(const struct damage *damage, const struct job *job,
                          const struct snapshot *snapshot)
{
    return damage->object->name.kind == HF_OBJECT_MANIFEST && damage->object->job == job &&
           damage->object->name.capture == snapshot->manifest.capture;
}

/* The next lost item at or after *at, above which nothing is lost; NULL at the end. */
static const struct item *next_lost(const struct world *world, const struct damage *damage,
                                    const struct job *job, const struct snapshot *snapshot,
                                    size_t *at)
{
    while (*at < snapshot->count) {
        const struct item *item = &snapshot->items[*at];
        if (is_lost(world, damage, job, &item->address)) {
            *at = item->end;
            return item;
        }
        (*at)++;
    }
    return NULL;
}

static bool is_touched(const struct world *world, const struct damage *damage,
                       const struct job *job, const struct snapshot *snapshot)
{
    size_t at = 0;
    return hits_manifest(damage, job, snapshot) ||
           next_lost(world, damage, job, snapshot, &at) != NULL;
}

/* ---- verification ---- */

struct checked {
    const struct damage *damage;
    struct hf_verify_report report;
    bool *taken; /* owned; entries of the report that were expected */
};

#define FAIL(checked, ...)                                                                         \
    do {                                                                                           \
        print_message("damaged: %s, %s %zu of %zu\n", (checked)->damage->object->text,             \
                      (checked)->damage->truncates ? "cut at" : "bit in byte",                     \
                      (checked)->damage->at, (checked)->damage->object->len);                      \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

/* Takes the one entry that says so. Its message names the object. */
static void expect_damage(struct checked *checked, const struct hf_damage *wanted)
{
    for (size_t i = 0; i < checked->report.kept_count; i++) {
        const struct hf_damage *found = &checked->report.damages[i];
        if (checked->taken[i] || found->capture != wanted->capture ||
            !hf_id_equal(&found->job, &wanted->job) ||
            !hf_id_equal(&found->snapshot, &wanted->snapshot) ||
            strcmp(found->path, wanted->path) != 0 || found->offset != wanted->offset ||
            !hf_address_equal(&found->address, &wanted->address) ||
            strcmp(found->object, wanted->object) != 0) {
            continue;
        }
        checked->taken[i] = true;
        if (found->object[0] == '\0' &&
            strstr(found->message, checked->damage->object->text) == NULL) {
            FAIL(checked, "the message does not name the object: %s", found->message);
        }
        assert_true(found->code == HF_ERR_CORRUPT || found->code == HF_ERR_UNSUPPORTED);
        return;
    }
    for (size_t i = 0; i < checked->report.kept_count; i++) {
        const struct hf_damage *found = &checked->report.damages[i];
        print_message("named: object '%s' snapshot %llu path '%s' block %s: %s\n", found->object,
                      (unsigned long long)found->capture, found->path,
                      hf_address_text(&found->address).text, found->message);
    }
    FAIL(checked, "not named: object '%s' snapshot %llu path '%s' offset %llu block %s",
         wanted->object, (unsigned long long)wanted->capture, wanted->path,
         (unsigned long long)wanted->offset, hf_address_text(&wanted->address).text);
}

static void expect_object(struct checked *checked)
{
    static char none[] = "";
    const struct object *object = checked->damage->object;
    struct hf_damage wanted = {.object = object->text, .path = none};
    if (object->name.kind != HF_OBJECT_MARK) {
        wanted.job = object->name.job;
    }
    if (object->name.kind == HF_OBJECT_MANIFEST) {
        wanted.capture = object->name.capture;
    }
    expect_damage(checked, &wanted);
}

static void expect_snapshot(const struct world *world, struct checked *checked,
                            const struct job *job, const struct snapshot *snapshot)
{
    static char none[] = "";
    struct hf_damage wanted = {
        .capture = snapshot->manifest.capture,
        .job = job->kit.job,
        .snapshot = snapshot->manifest.snapshot,
        .object = none,
        .path = none,
    };
    if (hits_manifest(checked->damage, job, snapshot)) {
        return; /* expected with the object */
    }
    size_t at = 0;
    const struct item *item;
    while ((item = next_lost(world, checked->damage, job, snapshot, &at)) != NULL) {
        wanted.path = item->path;
        wanted.offset = item->offset;
        wanted.address = item->address;
        expect_damage(checked, &wanted);
    }
}

/* All that is damaged is named, and nothing else. */
static void verify_names_it(struct world *world, const struct damage *damage)
{
    struct hf_error err;
    struct hf_verify_options options = {
        .store = world->kit.store, .level = HF_VERIFY_CONTENT, .workers = 2};
    struct checked checked = {.damage = damage};
    KIT_OK(hf_verify_store(&options, &world->kit.key, &checked.report, &err), &err);
    assert_int_equal(checked.report.damage_count, checked.report.kept_count);
    checked.taken = hf_alloc_zero((checked.report.kept_count + 1) * sizeof *checked.taken);
    assert_non_null(checked.taken);
    expect_object(&checked);
    for (size_t j = 0; j < JOBS; j++) {
        for (size_t s = 0; s < world->jobs[j].snapshot_count; s++) {
            expect_snapshot(world, &checked, &world->jobs[j], &world->jobs[j].snapshots[s]);
        }
    }
    for (size_t i = 0; i < checked.report.kept_count; i++) {
        if (!checked.taken[i]) {
            const struct hf_damage *found = &checked.report.damages[i];
            FAIL(&checked, "named without need: object '%s' snapshot %llu path '%s' block %s: %s",
                 found->object, (unsigned long long)found->capture, found->path,
                 hf_address_text(&found->address).text, found->message);
        }
    }
    hf_free(checked.taken);
    hf_verify_report_fini(&checked.report);
}

/* ---- restores ---- */

/* As `holdfast store restore` does it, by what lies in the store. */
static enum hf_err restore(struct world *world, const struct job *job, uint64_t capture,
                           const char *dir, struct hf_error *err)
{
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_manifest_read read;
    struct hf_restore_result result;
    if (hf_job_keys_load(world->kit.store, &world->kit.key, &job->kit.job, &keyring, err) !=
            HF_ERR_OK ||
        hf_list_read_manifest(world->kit.store, &job->kit.job, capture, &keyring, &manifest, &read,
                              err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_restore_options options = {
        .store = world->kit.store,
        .keyring = &keyring,
        .root = &manifest.root,
        .directory = dir,
        .workers = 2,
    };
    return hf_restore_run(&options, &result, err);
}

static void restore_gives(struct world *world, const struct damage *damage, const struct job *job,
                          uint64_t capture, const struct state *wanted)
{
    struct hf_error err;
    struct state found;
    struct checked checked = {.damage = damage};
    HF_CLEANUP(hf_free) char *dir = kit_path(&world->kit, "restored");
    if (restore(world, job, capture, dir, &err) != HF_ERR_OK) {
        FAIL(&checked, "snapshot %llu is not touched: %s", (unsigned long long)capture,
             err.message);
    }
    read_state(dir, &found);
    if (!same_state(wanted, &found)) {
        FAIL(&checked, "snapshot %llu was restored wrongly", (unsigned long long)capture);
    }
    state_fini(&found);
    KIT_OK(hf_fs_remove_tree(dir, &err), &err);
    world->counts.restored++;
}

/* True when the message has the path of something that is lost. */
static bool names_a_file(const struct world *world, const struct damage *damage,
                         const struct job *job, const struct snapshot *snapshot,
                         const char *message)
{
    size_t at = 0;
    const struct item *item;
    while ((item = next_lost(world, damage, job, snapshot, &at)) != NULL) {
        if (strstr(message, item->path[0] == '\0' ? "file list" : item->path) != NULL) {
            return true;
        }
    }
    return false;
}

static void restore_refuses(struct world *world, const struct damage *damage, const struct job *job,
                            const struct snapshot *snapshot)
{
    struct hf_error err;
    struct checked checked = {.damage = damage};
    HF_CLEANUP(hf_free) char *dir = kit_path(&world->kit, "restored");
    enum hf_err code = restore(world, job, snapshot->manifest.capture, dir, &err);
    if (code != HF_ERR_CORRUPT && code != HF_ERR_UNSUPPORTED) {
        FAIL(&checked, "snapshot %llu is touched: %s",
             (unsigned long long)snapshot->manifest.capture, hf_err_name(code));
    }
    if (strstr(err.message, damage->object->text) == NULL) {
        FAIL(&checked, "the object is not named: %s", err.message);
    }
    if (!hits_manifest(damage, job, snapshot) &&
        !names_a_file(world, damage, job, snapshot, err.message)) {
        FAIL(&checked, "the file is not named: %s", err.message);
    }
    assert_false(hf_fs_exists(dir));
    world->counts.refused++;
}

static void restore_each(struct world *world, const struct damage *damage)
{
    for (size_t j = 0; j < JOBS; j++) {
        const struct job *job = &world->jobs[j];
        for (size_t s = 0; s < job->snapshot_count; s++) {
            const struct snapshot *snapshot = &job->snapshots[s];
            if (is_touched(world, damage, job, snapshot)) {
                restore_refuses(world, damage, job, snapshot);
            } else {
                restore_gives(world, damage, job, snapshot->manifest.capture, &snapshot->state);
            }
        }
    }
}

/* ---- the next capture ---- */

/* What the parent's tree still leads to, and the source still has at the same place. */
static void expect_healing(const struct world *world, struct damage *damage, const struct job *job,
                           const struct snapshot *parent)
{
    size_t at = 0;
    const struct item *item;
    struct hf_address *healed = hf_alloc((parent->count + 1) * sizeof *healed);
    size_t count = 0;
    assert_non_null(healed);
    while ((item = next_lost(world, damage, job, parent, &at)) != NULL) {
        const struct saved_file *then = find_file(&parent->state, item->path);
        const struct saved_file *now = find_file(&job->now, item->path);
        if (item->is_block && now != NULL && now->len >= item->offset + item->len &&
            (now->len == then->len || item->len == BLOCK_BYTES) &&
            memcmp(now->bytes + item->offset, then->bytes + item->offset, item->len) == 0) {
            healed[count++] = item->address;
        }
    }
    damage->healed = healed;
    damage->healed_count = count;
}

static void next_capture_heals(struct world *world, struct damage *damage)
{
    struct hf_error err;
    struct job *job = damage->object->job;
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
    struct hf_manifest made;
    if (job == NULL) {
        return; /* the mark, or the keys of a job without a snapshot */
    }
    if (hf_job_keys_load(world->kit.store, &world->kit.key, &job->kit.job, &keyring, &err) !=
        HF_ERR_OK) {
        struct checked checked = {.damage = damage};
        FAIL(&checked, "the next capture: %s", err.message);
    }
    /* As the server does it: a parent that cannot be read is none. */
    const struct snapshot *parent = &job->snapshots[job->snapshot_count - 1];
    if (hits_manifest(damage, job, parent)) {
        parent = NULL;
    } else {
        expect_healing(world, damage, job, parent);
    }
    job->kit.prove_parent = true;
    kit_snapshot(&job->kit, job->source, parent == NULL ? NULL : &parent->manifest, &made);
    job->kit.prove_parent = false;
    verify_names_it(world, damage);
    restore_gives(world, damage, job, made.capture, &job->now);
    for (size_t s = 0; s < job->snapshot_count; s++) {
        const struct snapshot *snapshot = &job->snapshots[s];
        if (is_touched(world, damage, job, snapshot)) {
            restore_refuses(world, damage, job, snapshot);
        } else {
            restore_gives(world, damage, job, snapshot->manifest.capture, &snapshot->state);
        }
    }
    world->counts.captures++;
    world->counts.healed += damage->healed_count;
    hf_manifest_fini(&made);
}

static bool is_claimed(const struct world *world, const struct object *object)
{
    for (size_t i = 0; i < world->object_count; i++) {
        const struct object *other = &world->objects[i];
        if (other->name.kind == HF_OBJECT_CLAIM &&
            hf_id_equal(&other->name.writer, &object->name.writer)) {
            return true;
        }
    }
    return false;
}

/* Once all is healed a groom takes the bad copies away, and nothing else. */
static void groom_drops_what_is_healed(struct world *world, const struct damage *damage)
{
    struct hf_error err;
    const struct job *job = damage->object->job;
    struct hf_groom_result result;
    uint64_t size = 0;
    if (damage->healed_count == 0 || is_claimed(world, damage->object)) {
        return;
    }
    for (size_t s = 0; s < job->snapshot_count; s++) {
        if (is_touched(world, damage, job, &job->snapshots[s])) {
            return;
        }
    }
    struct hf_groom_options options = {.store = world->kit.store, .keyring = &job->kit.keyring};
    KIT_OK(hf_groom_job(&options, &result, &err), &err);
    assert_int_equal(hf_store_size(world->kit.store, hf_str_of(damage->object->text), &size, &err),
                     HF_ERR_NOT_FOUND);
    kit_expect_no_damage(&world->kit, HF_VERIFY_CONTENT);
    for (size_t s = 0; s < job->snapshot_count; s++) {
        const struct snapshot *snapshot = &job->snapshots[s];
        restore_gives(world, damage, job, snapshot->manifest.capture, &snapshot->state);
    }
    world->counts.groomed++;
}

/* ---- the run ---- */

static void one_damage(struct world *world, size_t number)
{
    struct damage damage;
    choose_damage(world, number, &damage);
    do_damage(world, &damage);
    world->counts.flips += damage.truncates ? 0 : 1;
    world->counts.truncations += damage.truncates ? 1 : 0;
    verify_names_it(world, &damage);
    world->counts.found++; /* else it has failed */
    restore_each(world, &damage);
    next_capture_heals(world, &damage);
    groom_drops_what_is_healed(world, &damage);
    undo_damage(world, &damage);
    hf_free(damage.healed);
}

/* One in six is a truncation, the others are flips. */
static void run(uint64_t seed, size_t damages, bool plain)
{
    struct world world = {.random = 0};
    open_world(&world, seed, plain);
    print_message("seed %llu: %zu objects\n", (unsigned long long)seed, world.object_count);
    kit_expect_no_damage(&world.kit, HF_VERIFY_CONTENT);
    for (size_t i = 0; i < damages; i++) {
        one_damage(&world, i);
    }
    kit_expect_no_damage(&world.kit, HF_VERIFY_CONTENT);
    const struct counts *counts = &world.counts;
    print_message("flips %llu, truncations %llu, found %llu; restores %llu whole, %llu refused; "
                  "captures %llu healed %llu blocks; bad copies groomed away %llu\n",
                  (unsigned long long)counts->flips, (unsigned long long)counts->truncations,
                  (unsigned long long)counts->found, (unsigned long long)counts->restored,
                  (unsigned long long)counts->refused, (unsigned long long)counts->captures,
                  (unsigned long long)counts->healed, (unsigned long long)counts->groomed);
    assert_int_equal(counts->found, damages);
    close_world(&world);
}

static void test_damage_is_named_and_healed(void **state)
{
    (void)state;
    run(run_setting("HF_TEST_SEED", 1), run_setting("HF_TEST_DAMAGES", run_is_soak() ? 900 : 36),
        false);
}

static void test_damage_is_named_and_healed_without_encryption(void **state)
{
    (void)state;
    run(run_setting("HF_TEST_SEED", 1) + 1,
        run_setting("HF_TEST_DAMAGES", run_is_soak() ? 300 : 12), true);
}

/* One damaged object with keys is named and does no harm (above); with both gone, the job's snapshots are, and no others. */
static void test_a_job_without_whole_keys_is_named_with_all_its_snapshots(void **state)
{
    struct world world = {.random = 0};
    struct hf_error err;
    HF_CLEANUP(hf_verify_report_fini) struct hf_verify_report report = {.damages = NULL};
    HF_CLEANUP(hf_free) char *dir = NULL;
    size_t keys = 0;
    size_t snapshots = 0;
    (void)state;
    open_world(&world, 5, false);
    dir = kit_path(&world.kit, "restored");
    const struct job *job = &world.jobs[0];
    struct damage damage = {.bit = 1, .at = 100};
    for (size_t i = 0; i < world.object_count; i++) {
        damage.object = &world.objects[i];
        if (damage.object->name.kind == HF_OBJECT_KEYS && damage.object->job == job) {
            do_damage(&world, &damage);
            keys++;
        }
    }
    assert_int_equal(keys, 2);
    struct hf_verify_options options = {.store = world.kit.store, .level = HF_VERIFY_REFERENCES};
    KIT_OK(hf_verify_store(&options, &world.kit.key, &report, &err), &err);
    assert_int_equal(report.damage_count, keys + job->snapshot_count);
    for (size_t i = 0; i < report.kept_count; i++) {
        const struct hf_damage *found = &report.damages[i];
        assert_true(hf_id_equal(&found->job, &job->kit.job));
        assert_int_equal(found->code, HF_ERR_CORRUPT);
        assert_true(found->object[0] != '\0' || strstr(found->message, "/k/") != NULL);
        for (size_t s = 0; s < job->snapshot_count; s++) {
            snapshots +=
                hf_id_equal(&found->snapshot, &job->snapshots[s].manifest.snapshot) ? 1 : 0;
        }
    }
    assert_int_equal(snapshots, job->snapshot_count);
    assert_int_equal(restore(&world, job, job->snapshots[0].manifest.capture, dir, &err),
                     HF_ERR_CORRUPT);
    assert_non_null(strstr(err.message, "/k/"));
    const struct job *other = &world.jobs[1];
    restore_gives(&world, &damage, other, other->snapshots[0].manifest.capture,
                  &other->snapshots[0].state);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage_is_named_and_healed),
        cmocka_unit_test(test_damage_is_named_and_healed_without_encryption),
        cmocka_unit_test(test_a_job_without_whole_keys_is_named_with_all_its_snapshots),
    };
    kit_use_all();
    run_in_memory(ROOM_BYTES);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
