/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading blocks and nodes of a job. Every block is proved by its hash, every copy of it is tried, and "not found" is
 * said only after a new list of objects (keeps I9, I10).
 */
#include "snapshot/tree.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "snapshot/finder.h"
#include "snapshot/object_cache.h"

#define DEFAULT_MEMORY_BYTES ((size_t)48 << 20)
#define NODE_WAYS 4
/* How often a reader looks again for a block whose object went while it was read. */
#define READ_ROUNDS 8

struct kept_node {
    struct hf_ref ref; /* address 0/0/0: empty */
    uint64_t used;
    struct hf_node node;
};

struct hf_tree_reader {
    const struct hf_keyring *keyring; /* borrowed: outlives us */
    struct hf_object_cache *cache;    /* owned */
    struct hf_finder *finder;         /* owned */
    struct hf_mutex mutex;            /* guards: listed */
    bool listed;
    struct hf_mutex node_mutex; /* guards: nodes, uses */
    struct kept_node *nodes;    /* owned; node_sets * NODE_WAYS */
    size_t node_sets;
    uint64_t uses;
};

enum hf_err hf_tree_reader_create(const struct hf_tree_reader_options *options,
                                  struct hf_tree_reader **out, struct hf_error *err)
{
    struct hf_tree_reader *made = hf_alloc_zero(sizeof *made);
    if (made == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "tree reader");
    }
    hf_mutex_init(&made->mutex);
    hf_mutex_init(&made->node_mutex);
    HF_CLEANUP(hf_tree_reader_destroy) struct hf_tree_reader *reader = made;
    size_t memory =
        options->memory_max_bytes == 0 ? DEFAULT_MEMORY_BYTES : options->memory_max_bytes;
    struct hf_object_cache_options cache = {.store = options->store,
                                            .dir = options->cache_dir,
                                            .max_bytes = options->cache_dir_max_bytes};
    reader->keyring = options->keyring;
    if (hf_object_cache_create(&cache, &reader->cache, err) != HF_ERR_OK) {
        return hf_wrap(err, "tree reader");
    }
    struct hf_finder_options finder = {.store = options->store,
                                       .cache = reader->cache,
                                       .job = options->keyring->job,
                                       .footers_max_bytes = memory / 2};
    reader->node_sets = memory / 2 / (NODE_WAYS * sizeof *reader->nodes) + 1;
    reader->nodes = hf_alloc_zero(reader->node_sets * NODE_WAYS * sizeof *reader->nodes);
    if (reader->nodes == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "tree reader");
    }
    if (hf_finder_create(&finder, &reader->finder, err) != HF_ERR_OK) {
        return hf_wrap(err, "tree reader");
    }
    *out = HF_TAKE(reader);
    return HF_ERR_OK;
}

void hf_tree_reader_destroy(struct hf_tree_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    hf_finder_destroy(reader->finder);
    hf_object_cache_destroy(reader->cache);
    hf_mutex_fini(&reader->mutex);
    hf_mutex_fini(&reader->node_mutex);
    hf_free(reader->nodes);
    hf_free(reader);
}

enum hf_err hf_tree_reader_refresh(struct hf_tree_reader *reader, struct hf_error *err)
{
    if (hf_finder_refresh(reader->finder, err) != HF_ERR_OK) {
        return hf_wrap(err, "list objects of job %s", hf_id_text(&reader->keyring->job).text);
    }
    HF_LOCKED(&reader->mutex);
    reader->listed = true;
    return HF_ERR_OK;
}

static bool is_listed(struct hf_tree_reader *reader)
{
    HF_LOCKED(&reader->mutex);
    return reader->listed;
}

/* Finds; what is in no object is looked for once more after a new list. keeps I10 */
static enum hf_err find(struct hf_tree_reader *reader, const struct hf_find *wanted,
                        struct hf_found_block *out, struct hf_error *err)
{
    bool fresh = false;
    if (!is_listed(reader)) {
        if (hf_tree_reader_refresh(reader, err) != HF_ERR_OK) {
            return err->code;
        }
        fresh = true;
    }
    enum hf_err code = hf_finder_find(reader->finder, wanted, out, err);
    if (code == HF_ERR_NOT_FOUND && wanted->candidate == 0 && !fresh) {
        if (hf_tree_reader_refresh(reader, err) != HF_ERR_OK) {
            return err->code;
        }
        code = hf_finder_find(reader->finder, wanted, out, err);
    }
    return code;
}

enum hf_err hf_tree_find(struct hf_tree_reader *reader, const struct hf_address *address,
                         unsigned candidate, struct hf_found_block *out, struct hf_error *err)
{
    return find(
        reader,
        &(struct hf_find){.address = *address, .first = HF_OBJECT_DATA, .candidate = candidate},
        out, err);
}

enum hf_err hf_tree_find_of_writer(struct hf_tree_reader *reader, const struct hf_address *address,
                                   const struct hf_id *writer, struct hf_found_block *out,
                                   struct hf_error *err)
{
    return find(reader,
                &(struct hf_find){.address = *address, .first = HF_OBJECT_DATA, .writer = writer},
                out, err);
}

enum hf_err hf_tree_read_range(struct hf_tree_reader *reader, const struct hf_object_name *object,
                               uint64_t offset, uint8_t *out, size_t len, struct hf_error *err)
{
    return hf_object_cache_range(reader->cache, object, offset, out, len, err);
}

static enum hf_err read_found(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                              const struct hf_ref *ref, const struct hf_found_block *found,
                              struct hf_buf *plain, struct hf_error *err)
{
    HF_CLEANUP(hf_free) uint8_t *stored = hf_alloc(found->block.stored_bytes);
    if (stored == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%" PRIu32 " stored bytes",
                       found->block.stored_bytes);
    }
    hf_buf_clear(plain);
    if (found->block.plain_bytes > plain->max) {
        return hf_fail(err, HF_ERR_CORRUPT, "%" PRIu32 " bytes where at most %zu belong",
                       found->block.plain_bytes, plain->max);
    }
    if (hf_buf_reserve(plain, found->block.plain_bytes, err) != HF_ERR_OK ||
        hf_object_cache_range(reader->cache, &found->object, found->block.place, stored,
                              found->block.stored_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_stored_block block = {
        .ordinal = found->block.address.ordinal,
        .plain_bytes = found->block.plain_bytes,
        .codec = found->block.codec,
        .stored = hf_bytes_of(stored, found->block.stored_bytes),
    };
    enum hf_err code = hf_block_open(coder, &found->origin, &block, &ref->hash, plain->data, err);
    if (code == HF_ERR_OK) {
        plain->len = found->block.plain_bytes;
    } else if (code == HF_ERR_CORRUPT) {
        hf_object_cache_forget(reader->cache, &found->object);
    }
    return code;
}

/* Tries one copy after the other. *again is set when an object went under the reader. */
static enum hf_err read_any_copy(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                                 const struct hf_ref *ref, enum hf_object_kind first,
                                 struct hf_buf *plain, bool *again, struct hf_error *err)
{
    struct hf_find wanted = {.address = ref->address, .first = first};
    struct hf_error worst;
    bool damaged = false;
    for (;; wanted.candidate++) {
        struct hf_found_block found;
        enum hf_err code = find(reader, &wanted, &found, err);
        if (code == HF_ERR_NOT_FOUND && damaged) {
            *err = worst;
            return err->code;
        }
        if (code != HF_ERR_OK) {
            return code;
        }
        code = read_found(reader, coder, ref, &found, plain, err);
        if (code == HF_ERR_NOT_FOUND) {
            *again = true;
            return code;
        }
        if (code != HF_ERR_CORRUPT) {
            return code;
        }
        (void)hf_wrap(err, "block %s in %s", hf_address_text(&ref->address).text,
                      hf_object_name_text(&found.object).text);
        worst = *err;
        damaged = true;
    }
}

static enum hf_err read_block(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                              const struct hf_ref *ref, enum hf_object_kind first,
                              struct hf_buf *plain, struct hf_error *err)
{
    HF_ASSERT(!hf_ref_is_zero(ref));
    enum hf_err code = HF_ERR_OK;
    for (unsigned round = 0; round < READ_ROUNDS; round++) {
        bool again = false;
        code = read_any_copy(reader, coder, ref, first, plain, &again, err);
        if (!again) {
            return code;
        }
        if (hf_tree_reader_refresh(reader, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return hf_fail(err, HF_ERR_UNAVAILABLE, "block %s: its objects go while they are read",
                   hf_address_text(&ref->address).text);
}

enum hf_err hf_tree_read_block(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                               const struct hf_ref *ref, struct hf_buf *plain, struct hf_error *err)
{
    return read_block(reader, coder, ref, HF_OBJECT_DATA, plain, err);
}

enum hf_err hf_tree_read_tree_block(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                                    const struct hf_ref *ref, struct hf_buf *plain,
                                    struct hf_error *err)
{
    return read_block(reader, coder, ref, HF_OBJECT_TREE, plain, err);
}

/* ---- nodes ---- */

static struct kept_node *node_set(struct hf_tree_reader *reader, const struct hf_ref *ref)
{
    uint64_t mixed = hf_load_le64(ref->hash.bytes); /* a hash is mixed enough */
    return &reader->nodes[mixed % reader->node_sets * NODE_WAYS];
}

static bool take_kept_node(struct hf_tree_reader *reader, const struct hf_ref *ref,
                           struct hf_node *out)
{
    HF_LOCKED(&reader->node_mutex);
    struct kept_node *set = node_set(reader, ref);
    for (size_t i = 0; i < NODE_WAYS; i++) {
        if (set[i].used != 0 && hf_hash_equal(&set[i].ref.hash, &ref->hash) &&
            hf_address_equal(&set[i].ref.address, &ref->address)) {
            set[i].used = ++reader->uses;
            *out = set[i].node;
            return true;
        }
    }
    return false;
}

static void keep_node(struct hf_tree_reader *reader, const struct hf_ref *ref,
                      const struct hf_node *node)
{
    HF_LOCKED(&reader->node_mutex);
    struct kept_node *set = node_set(reader, ref);
    struct kept_node *oldest = &set[0];
    for (size_t i = 1; i < NODE_WAYS; i++) {
        if (set[i].used < oldest->used) {
            oldest = &set[i];
        }
    }
    oldest->ref = *ref;
    oldest->node = *node;
    oldest->used = ++reader->uses;
}

enum hf_err hf_tree_read_node(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                              const struct hf_ref *ref, unsigned level, struct hf_node *out,
                              struct hf_error *err)
{
    if (!take_kept_node(reader, ref, out)) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf plain = HF_BUF_INIT(HF_NODE_MAX_BYTES);
        if (hf_tree_read_tree_block(reader, coder, ref, &plain, err) != HF_ERR_OK ||
            hf_node_decode(hf_buf_bytes(&plain), out, err) != HF_ERR_OK) {
            return hf_wrap(err, "node");
        }
        keep_node(reader, ref, out);
    }
    if (out->level != level) {
        return hf_fail(err, HF_ERR_CORRUPT, "node %s of level %u where level %u belongs",
                       hf_address_text(&ref->address).text, (unsigned)out->level, level);
    }
    return HF_ERR_OK;
}

enum hf_err hf_tree_node_ref(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                             const struct hf_file_entry *entry, const struct hf_node_place *place,
                             struct hf_ref *out, bool *there, struct hf_error *err)
{
    uint64_t blocks = hf_block_count(entry->size_bytes, entry->block_bytes);
    *there = place->level <= entry->depth && place->index < hf_tree_nodes(blocks, place->level);
    if (!*there) {
        return HF_ERR_OK;
    }
    struct hf_ref ref = entry->refs[0];
    for (unsigned level = entry->depth; level > place->level && !hf_ref_is_zero(&ref); level--) {
        struct hf_node node;
        /* The node of this level that holds the place, and the place's child in it. */
        uint64_t child = place->index;
        for (unsigned i = place->level; i + 1 < level; i++) {
            child /= HF_NODE_REFS;
        }
        uint64_t index = child / HF_NODE_REFS;
        if (hf_tree_read_node(reader, coder, &ref, level, &node, err) != HF_ERR_OK) {
            return hf_wrap(err, "%.*s", HF_STR_ARG(entry->path));
        }
        if (node.count != hf_tree_node_refs(blocks, level, index)) {
            return hf_fail(err, HF_ERR_CORRUPT, "%.*s: node %s holds %u references, not %" PRIu32,
                           HF_STR_ARG(entry->path), hf_address_text(&ref.address).text,
                           (unsigned)node.count, hf_tree_node_refs(blocks, level, index));
        }
        ref = node.refs[child % HF_NODE_REFS];
    }
    *out = ref;
    return HF_ERR_OK;
}

enum hf_err hf_tree_file_refs(struct hf_tree_reader *reader, struct hf_block_coder *coder,
                              const struct hf_file_entry *entry, uint64_t node, struct hf_node *out,
                              struct hf_error *err)
{
    uint64_t blocks = hf_block_count(entry->size_bytes, entry->block_bytes);
    HF_ASSERT(node < hf_tree_nodes(blocks, 1));
    uint32_t count = hf_tree_node_refs(blocks, 1, node);
    out->level = 1;
    out->count = (uint8_t)count;
    if (entry->depth == 0) {
        memcpy(out->refs, entry->refs, count * sizeof out->refs[0]);
        return HF_ERR_OK;
    }
    struct hf_ref ref;
    bool there = false;
    struct hf_node_place place = {.level = 1, .index = node};
    if (hf_tree_node_ref(reader, coder, entry, &place, &ref, &there, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_ref_is_zero(&ref)) {
        for (uint32_t i = 0; i < count; i++) {
            out->refs[i] = ref;
        }
        return HF_ERR_OK;
    }
    if (hf_tree_read_node(reader, coder, &ref, 1, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "%.*s", HF_STR_ARG(entry->path));
    }
    if (out->count != count) {
        return hf_fail(err, HF_ERR_CORRUPT, "%.*s: node %s holds %u references, not %" PRIu32,
                       HF_STR_ARG(entry->path), hf_address_text(&ref.address).text,
                       (unsigned)out->count, count);
    }
    return HF_ERR_OK;
}
