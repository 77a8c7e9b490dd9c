/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groom on a store that was made up: many snapshots, many blocks, small ones, so that what is measured is the groom and
 * not the disk.
 *
 *   groom_bench make STORE CAPTURES BLOCKS [BLOCK_BYTES]   each capture puts so many new blocks; all snapshots live
 *   groom_bench halve STORE                                every second block of the newest snapshot lives on, no other
 *   groom_bench look STORE                                 a groom that only looks: lists, mark, footers
 *   groom_bench groom STORE PERCENT                        a groom
 *
 * Prints one JSON object. The store is a directory without encryption. Blocks hold random bytes; lists and nodes are as a
 * capture makes them. Must not know how the groom does it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "codec/json.h"
#include "os/clock.h"
#include "os/process.h"
#include "snapshot/commit.h"
#include "snapshot/groom.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"
#include "snapshot/packer.h"
#include "snapshot/tree.h"

#define FILES 10
#define FILE_BLOCK_BYTES 65536
#define UNIT 1024 /* blocks: eight nodes of the first level */

struct opened {
    struct hf_store *store;
    struct hf_storemark mark;
    struct hf_store_key key;
    struct hf_keyring keyring;
    struct hf_block_coder *coder;
};

static const struct hf_id job_id = {{0x6b, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};

/* ---- Trees ---- */

struct tree {
    uint64_t blocks; /* of a file */
    unsigned depth;
    struct hf_ref *levels[HF_NODE_LEVELS_MAX +
                          1]; /* owned: [0] is not used; references to the nodes of each level */
};

static enum hf_err tree_init(struct tree *tree, uint64_t blocks, struct hf_error *err)
{
    tree->blocks = blocks;
    tree->depth = hf_tree_depth(blocks);
    for (unsigned level = 1; level <= tree->depth; level++) {
        size_t count = (size_t)hf_tree_nodes(blocks, level);
        tree->levels[level] = hf_alloc_array(count, sizeof(struct hf_ref));
        if (tree->levels[level] == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "tree");
        }
        for (size_t i = 0; i < count; i++) {
            tree->levels[level][i] = (struct hf_ref){.flags = HF_REF_ZERO};
        }
    }
    return HF_ERR_OK;
}

static enum hf_err put_node(const struct opened *opened, struct hf_packer *packer,
                            const struct hf_node *node, struct hf_ref *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_NODE_MAX_BYTES);
    struct hf_hash hash;
    if (hf_node_encode(node, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_block_hash(opened->coder, hf_buf_bytes(&bytes), &hash);
    return hf_packer_add(packer, HF_OBJECT_TREE, opened->coder, hf_buf_bytes(&bytes), &hash, out,
                         err);
}

/* The nodes above those of the first level that changed, all of which have one parent. */
static enum hf_err put_upper(const struct opened *opened, struct hf_packer *packer,
                             struct tree *tree, uint64_t index, struct hf_error *err)
{
    for (unsigned level = 2; level <= tree->depth; level++) {
        HF_CLEANUP(hf_free) struct hf_node *node = hf_alloc_zero(sizeof *node);
        if (node == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "node");
        }
        index /= HF_NODE_REFS;
        node->level = (uint8_t)level;
        node->count = (uint8_t)hf_tree_node_refs(tree->blocks, level, index);
        for (unsigned i = 0; i < node->count; i++) {
            node->refs[i] = tree->levels[level - 1][index * HF_NODE_REFS + i];
        }
        if (put_node(opened, packer, node, &tree->levels[level][index], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* A unit of new blocks. */
static enum hf_err put_unit(const struct opened *opened, struct hf_packer *packer,
                            struct tree *tree, uint64_t first, size_t block_bytes,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_free) struct hf_node *node = hf_alloc_zero(sizeof *node);
    HF_CLEANUP(hf_free) uint8_t *plain = hf_alloc(block_bytes);
    if (node == NULL || plain == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "unit");
    }
    for (uint64_t i = 0; i < UNIT / HF_NODE_REFS; i++) {
        node->level = 1;
        node->count = HF_NODE_REFS;
        for (unsigned k = 0; k < HF_NODE_REFS; k++) {
            struct hf_hash hash;
            hf_random_bytes(plain, block_bytes);
            hf_random_bytes(hash.bytes, sizeof hash.bytes); /* nobody reads a block here */
            node->refs[k].flags = 0;
            if (hf_packer_add(packer, HF_OBJECT_DATA, opened->coder,
                              hf_bytes_of(plain, block_bytes), &hash, &node->refs[k],
                              err) != HF_ERR_OK) {
                return err->code;
            }
        }
        struct hf_ref *ref = &tree->levels[1][first / HF_NODE_REFS + i];
        *ref = (struct hf_ref){.flags = 0};
        if (put_node(opened, packer, node, ref, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return put_upper(opened, packer, tree, first / HF_NODE_REFS, err);
}

static enum hf_err put_list(const struct opened *opened, struct hf_packer *packer,
                            const struct tree *trees, struct hf_tree_root *root,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf entries = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    HF_CLEANUP(hf_buf_fini) struct hf_buf list = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    struct hf_hash hash;
    for (unsigned i = 0; i < FILES; i++) {
        char path[32];
        (void)snprintf(path, sizeof path, "file-%02u", i);
        struct hf_file_entry entry = {.path = hf_str_of(path),
                                      .size_bytes = trees[i].blocks * FILE_BLOCK_BYTES,
                                      .block_bytes = FILE_BLOCK_BYTES,
                                      .mode = 0600,
                                      .depth = (uint8_t)trees[i].depth,
                                      .ref_count = 1,
                                      .refs = {trees[i].levels[trees[i].depth][0]}};
        if (hf_file_entry_encode(&entry, &entries, err) != HF_ERR_OK) {
            return err->code;
        }
        root->sums.files++;
        root->sums.bytes += entry.size_bytes;
    }
    if (hf_list_encode(hf_buf_bytes(&entries), FILES, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_block_hash(opened->coder, hf_buf_bytes(&list), &hash);
    root->lists = hf_alloc_zero(sizeof *root->lists);
    root->list_count = 1;
    return root->lists == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "root")
                               : hf_packer_add(packer, HF_OBJECT_TREE, opened->coder,
                                               hf_buf_bytes(&list), &hash, &root->lists[0], err);
}

static enum hf_err put_manifest(const struct opened *opened, uint64_t capture,
                                const struct hf_id *writer, struct hf_tree_root *root,
                                struct hf_error *err)
{
    struct hf_manifest manifest = {.job = job_id,
                                   .capture = capture,
                                   .writer = *writer,
                                   .parent = capture - 1,
                                   .created_s = 1795450521,
                                   .root = *root};
    hf_random_bytes(manifest.snapshot.bytes, sizeof manifest.snapshot.bytes);
    (void)snprintf(manifest.facts.set_name, sizeof manifest.facts.set_name, "rs0");
    (void)snprintf(manifest.facts.server_version, sizeof manifest.facts.server_version, "4.4.6");
    manifest.facts.checkpoint =
        (struct hf_optime){.seconds = 1795450521, .increment = 1, .term = -1};
    return hf_commit_manifest(opened->store, &opened->keyring, &manifest, err);
}

static enum hf_err put_capture(const struct opened *opened, struct tree *trees, uint64_t capture,
                               uint64_t units, size_t block_bytes, struct hf_error *err)
{
    HF_CLEANUP(hf_packer_destroy) struct hf_packer *packer = NULL;
    HF_CLEANUP(hf_tree_root_fini) struct hf_tree_root root = {.lists = NULL};
    struct hf_packer_sums sums;
    struct hf_packer_options options = {.store = opened->store,
                                        .keyring = &opened->keyring,
                                        .capture = capture,
                                        /* 256 blocks of 64 KiB fill a pack: so many here */
                                        .pack_bytes = 256 * block_bytes};
    struct tree *tree = &trees[(capture - 1) % FILES];
    hf_random_bytes(options.writer.bytes, sizeof options.writer.bytes);
    if (hf_packer_create(&options, &packer, err) != HF_ERR_OK) {
        return err->code;
    }
    for (uint64_t i = 0; i < units; i++) {
        uint64_t first = ((capture - 1) / FILES * units + i) * UNIT;
        if (put_unit(opened, packer, tree, first, block_bytes, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (put_list(opened, packer, trees, &root, err) != HF_ERR_OK ||
        hf_packer_finish(packer, &sums, err) != HF_ERR_OK) {
        return err->code;
    }
    return put_manifest(opened, capture, &options.writer, &root, err);
}

/* ---- Works ---- */

static enum hf_err open_store(const char *path, bool create, struct opened *out,
                              struct hf_error *err)
{
    struct hf_store_fs_options fs = {.root = path, .create = create};
    struct hf_store_create_options made = {.installation = job_id, .plain = true, .now_s = 1};
    struct hf_store_open_options open = {.key_file = NULL};
    if (hf_store_fs_open(&fs, &out->store, err) != HF_ERR_OK) {
        return err->code;
    }
    if (create) {
        if (hf_store_keys_create(out->store, &made, &out->mark, &out->key, err) != HF_ERR_OK ||
            hf_job_keys_create(out->store, &out->mark, &out->key, &job_id, &out->keyring, err) !=
                HF_ERR_OK) {
            return err->code;
        }
    } else if (hf_store_keys_open(out->store, &open, &out->mark, &out->key, err) != HF_ERR_OK ||
               hf_job_keys_load(out->store, &out->key, &job_id, &out->keyring, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_block_coder_create(&(struct hf_block_coder_options){.keyring = &out->keyring},
                                 &out->coder, err);
}

static enum hf_err make(const char *path, char *const *numbers, int count, struct hf_error *err)
{
    struct opened opened = {.store = NULL};
    struct tree trees[FILES];
    uint64_t captures = strtoull(numbers[0], NULL, 10);
    uint64_t units = strtoull(numbers[1], NULL, 10) / UNIT;
    size_t block_bytes = count > 2 ? strtoull(numbers[2], NULL, 10) : 16;
    units = units == 0 ? 1 : units;
    if (open_store(path, true, &opened, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned i = 0; i < FILES; i++) {
        if (tree_init(&trees[i], (captures + FILES - 1) / FILES * units * UNIT, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    for (uint64_t i = 1; i <= captures; i++) {
        if (put_capture(&opened, trees, i, units, block_bytes, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    (void)printf("{\"captures\": %llu, \"blocks\": %llu}\n", (unsigned long long)captures,
                 (unsigned long long)(captures * units * UNIT));
    return HF_ERR_OK;
}

/* A snapshot without every second block of the newest one, and the end of all others. */
static enum hf_err halve(const char *path, struct hf_error *err)
{
    struct opened opened = {.store = NULL};
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list captures = {.captures = NULL};
    HF_CLEANUP(hf_packer_destroy) struct hf_packer *packer = NULL;
    HF_CLEANUP(hf_tree_root_fini) struct hf_tree_root root = {.lists = NULL};
    struct hf_manifest newest = {.capture = 0};
    struct hf_manifest_read read;
    struct hf_tree_reader *reader = NULL;
    struct hf_file_walk *walk = NULL;
    struct tree trees[FILES];
    struct hf_packer_sums sums;
    if (open_store(path, false, &opened, err) != HF_ERR_OK ||
        hf_list_captures(opened.store, &job_id, &captures, err) != HF_ERR_OK) {
        return err->code;
    }
    struct hf_packer_options packing = {.store = opened.store,
                                        .keyring = &opened.keyring,
                                        .capture = captures.captures[captures.count - 1] + 1};
    struct hf_tree_reader_options reading = {.store = opened.store, .keyring = &opened.keyring};
    hf_random_bytes(packing.writer.bytes, sizeof packing.writer.bytes);
    if (hf_list_read_manifest(opened.store, &job_id, captures.captures[captures.count - 1],
                              &opened.keyring, &newest, &read, err) != HF_ERR_OK ||
        hf_tree_reader_create(&reading, &reader, err) != HF_ERR_OK ||
        hf_file_walk_create(reader, opened.coder, &newest.root, &walk, err) != HF_ERR_OK ||
        hf_packer_create(&packing, &packer, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned i = 0; i < FILES; i++) {
        const struct hf_file_entry *entry = NULL;
        if (hf_file_walk_next(walk, &entry, err) != HF_ERR_OK ||
            tree_init(&trees[i], hf_block_count(entry->size_bytes, entry->block_bytes), err) !=
                HF_ERR_OK) {
            return err->code;
        }
        for (uint64_t n = 0; n < hf_tree_nodes(trees[i].blocks, 1); n++) {
            HF_CLEANUP(hf_free) struct hf_node *node = hf_alloc_zero(sizeof *node);
            if (node == NULL ||
                hf_tree_file_refs(reader, opened.coder, entry, n, node, err) != HF_ERR_OK) {
                return err->code;
            }
            for (unsigned k = 1; k < node->count; k += 2) {
                node->refs[k] = (struct hf_ref){.flags = HF_REF_ZERO};
            }
            if (!hf_ref_is_zero(&node->refs[0]) &&
                put_node(&opened, packer, node, &trees[i].levels[1][n], err) != HF_ERR_OK) {
                return err->code;
            }
        }
        for (uint64_t n = 0; n < hf_tree_nodes(trees[i].blocks, 1); n += HF_NODE_REFS) {
            if (put_upper(&opened, packer, &trees[i], n, err) != HF_ERR_OK) {
                return err->code;
            }
        }
    }
    if (put_list(&opened, packer, trees, &root, err) != HF_ERR_OK ||
        hf_packer_finish(packer, &sums, err) != HF_ERR_OK ||
        put_manifest(&opened, packing.capture, &packing.writer, &root, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < captures.count; i++) {
        if (hf_commit_delete_manifest(opened.store, &job_id, captures.captures[i], err) !=
            HF_ERR_OK) {
            return err->code;
        }
    }
    (void)printf("{\"deleted\": %zu}\n", captures.count);
    return HF_ERR_OK;
}

/* VmHWM and not ru_maxrss: the latter remembers the size of whoever started this program. */
static uint64_t peak_bytes(void)
{
    char line[256];
    uint64_t kib = 0;
    FILE *status = fopen("/proc/self/status", "re");

    while (status != NULL && kib == 0 && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kib = strtoull(line + 6, NULL, 10);
        }
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return kib * 1024;
}

static enum hf_err groom(const char *path, bool only_look, const char *percent,
                         struct hf_error *err)
{
    struct opened opened = {.store = NULL};
    struct hf_groom_result result;
    if (open_store(path, false, &opened, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_groom_options options = {
        .store = opened.store,
        .keyring = &opened.keyring,
        .living_percent = percent == NULL ? 0 : (unsigned)strtoul(percent, NULL, 10),
        .only_look = only_look,
    };
    uint64_t began_ms = hf_clock_mono_ms();
    if (!only_look) {
        (void)!hf_stand_back_thread(10); /* as the server's */
    }
    if (hf_groom_job(&options, &result, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)printf(
        "{\"seconds\": %.3f, \"peak_bytes\": %llu, \"marks_bytes\": %llu, \"snapshots\": %llu, "
        "\"objects\": %llu, \"living_blocks\": %llu, \"dead_blocks\": %llu, "
        "\"living_bytes\": %llu, \"dead_bytes\": %llu, \"deleted\": %llu, \"written\": %llu, "
        "\"bytes_before\": %llu, \"bytes_after\": %llu}\n",
        (double)(hf_clock_mono_ms() - began_ms) / 1e3, (unsigned long long)peak_bytes(),
        (unsigned long long)result.marks_bytes, (unsigned long long)result.manifests,
        (unsigned long long)result.objects_seen, (unsigned long long)result.living_blocks,
        (unsigned long long)result.dead_blocks, (unsigned long long)result.living_bytes,
        (unsigned long long)result.dead_bytes, (unsigned long long)result.objects_deleted,
        (unsigned long long)result.objects_written, (unsigned long long)result.bytes_before,
        (unsigned long long)result.bytes_after);
    return HF_ERR_OK;
}

int main(int argc, char **argv)
{
    struct hf_error err = {.code = HF_ERR_INVALID};
    enum hf_err code = HF_ERR_INVALID;
    const char *work = argc > 2 ? argv[1] : "";

    (void)hf_fail(&err, HF_ERR_INVALID, "usage: groom_bench make|halve|look|groom STORE ...");
    if (strcmp(work, "make") == 0 && argc >= 5) {
        code = make(argv[2], argv + 3, argc - 3, &err);
    } else if (strcmp(work, "halve") == 0) {
        code = halve(argv[2], &err);
    } else if (strcmp(work, "look") == 0) {
        code = groom(argv[2], true, NULL, &err);
    } else if (strcmp(work, "groom") == 0 && argc == 4) {
        code = groom(argv[2], false, argv[3], &err);
    }
    if (code != HF_ERR_OK) {
        (void)fprintf(stderr, "groom_bench: %s\n", err.message);
    }
    return code == HF_ERR_OK ? 0 : 1;
}
