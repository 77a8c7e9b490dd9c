/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: fixed values of everything that has a format, so that the same bytes come out on every run.
 */
#ifndef HF_TESTS_FORMAT_KIT_H
#define HF_TESTS_FORMAT_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "format/block.h"
#include "format/keyring.h"
#include "format/manifest.h"
#include "format/pack.h"

#define EXPECT_OK(call, error)                                                                     \
    do {                                                                                           \
        enum hf_err code_ = (call);                                                                \
        if (code_ != HF_ERR_OK) {                                                                  \
            fail_msg("%s: %s: %s", #call, hf_err_name(code_), (error)->message);                   \
        }                                                                                          \
    } while (0)

/* The class, and a part of the message. */
#define EXPECT_ERROR(call, wanted, text, error)                                                    \
    do {                                                                                           \
        enum hf_err code_ = (call);                                                                \
        if (code_ != (wanted) || strstr((error)->message, (text)) == NULL) {                       \
            fail_msg("%s: %s: %s", #call, hf_err_name(code_),                                      \
                     code_ == HF_ERR_OK ? "" : (error)->message);                                  \
        }                                                                                          \
    } while (0)

static inline struct hf_id fixed_id(uint8_t first)
{
    struct hf_id id;
    for (size_t i = 0; i < sizeof id.bytes; i++) {
        id.bytes[i] = (uint8_t)(first + i);
    }
    return id;
}

static inline struct hf_keyring fixed_keyring(bool encrypted)
{
    struct hf_keyring ring = {.job = fixed_id(0x10), .encrypted = encrypted};
    memset(ring.hash_key, 0x21, sizeof ring.hash_key);
    if (encrypted) {
        ring.data_key_count = 2;
        ring.data_keys[0].version = 1;
        ring.data_keys[1].version = 3;
        memset(ring.data_keys[0].key, 0x31, HF_KEY_BYTES);
        memset(ring.data_keys[1].key, 0x33, HF_KEY_BYTES);
        memset(ring.seal_key, 0x41, sizeof ring.seal_key);
        ring.has_seal_key = true;
    }
    return ring;
}

static inline struct hf_ref fixed_ref(uint8_t seed)
{
    struct hf_ref ref = {
        .address = {.capture = 7, .pack = seed, .ordinal = (uint32_t)seed + 1},
        .stored_bytes = 1000 + (uint32_t)seed,
    };
    memset(ref.hash.bytes, seed, sizeof ref.hash.bytes);
    return ref;
}

static inline struct hf_block_coder *fixed_coder(const struct hf_keyring *ring)
{
    struct hf_error err;
    struct hf_block_coder *coder = NULL;
    struct hf_block_coder_options options = {.keyring = ring};
    EXPECT_OK(hf_block_coder_create(&options, &coder, &err), &err);
    return coder;
}

/* Bytes that compress well (kind 0) or not at all (kind 1). */
static inline void fill_block(uint8_t *out, size_t len, unsigned kind, uint64_t seed)
{
    uint64_t state = seed + 1;
    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out[i] = kind == 0 ? (uint8_t)(i / 97) : (uint8_t)(state >> 32);
    }
}

/* A pack of three blocks: one that compresses, one that does not, one byte. */
static inline void fixed_pack(const struct hf_keyring *ring, struct hf_buf *out)
{
    struct hf_error err;
    struct hf_pack_writer *writer = NULL;
    struct hf_pack_writer_options options = {.keyring = ring};
    struct hf_pack_begin begin = {.kind = HF_OBJECT_DATA, .capture = 7, .pack = 5};
    struct hf_block_coder *coder = fixed_coder(ring);
    uint8_t block[5000];
    const size_t lengths[] = {5000, 4096, 1};
    struct hf_bytes object;
    memset(begin.salt, 0x51, sizeof begin.salt);
    EXPECT_OK(hf_pack_writer_create(&options, &writer, &err), &err);
    EXPECT_OK(hf_pack_writer_begin(writer, &begin, &err), &err);
    for (unsigned i = 0; i < 3; i++) {
        struct hf_block_body body;
        struct hf_pack_slot slot;
        fill_block(block, lengths[i], i == 0 ? 0 : 1, i);
        EXPECT_OK(hf_block_compress(coder, hf_bytes_of(block, lengths[i]), &body, &err), &err);
        assert_true(hf_pack_writer_reserve(writer, &body, &slot));
        EXPECT_OK(hf_pack_writer_fill(writer, &slot, coder, &body, &err), &err);
    }
    EXPECT_OK(hf_pack_writer_finish(writer, &object, &err), &err);
    hf_buf_clear(out);
    EXPECT_OK(hf_buf_append(out, object, &err), &err);
    hf_pack_writer_destroy(writer);
    hf_block_coder_destroy(coder);
}

/* Fills out; its root has two lists. Free with hf_manifest_fini. */
static inline void fixed_manifest(const struct hf_keyring *ring, struct hf_manifest *out)
{
    *out = (struct hf_manifest){
        .job = ring->job,
        .capture = 42,
        .writer = fixed_id(0x20),
        .snapshot = fixed_id(0x30),
        .project = fixed_id(0x40),
        .cluster = fixed_id(0x50),
        .encrypted = ring->encrypted,
        .sharded = true,
        .created_s = 1795450521,
        .expires_s = 1796450521,
        .parent = 41,
        .adopted_count = 1,
        .predecessor = 41,
    };
    (void)snprintf(out->project_name, sizeof out->project_name, "Project");
    (void)snprintf(out->facts.set_name, sizeof out->facts.set_name, "rs0");
    (void)snprintf(out->facts.member, sizeof out->facts.member, "host-a.example.net:27017");
    (void)snprintf(out->facts.fcv, sizeof out->facts.fcv, "4.4");
    (void)snprintf(out->facts.server_version, sizeof out->facts.server_version, "4.4.6");
    (void)snprintf(out->facts.engine, sizeof out->facts.engine, "wiredTiger");
    out->facts.checkpoint = (struct hf_optime){.seconds = 1795377051, .increment = 550, .term = -1};
    out->facts.oplog_end = (struct hf_optime){.seconds = 1795377051, .increment = 551, .term = 1};
    out->facts.engine_options = hf_json_object();
    hf_json_set_bool(out->facts.engine_options, "directoryPerDB", true);
    out->adopted[0] = (struct hf_adopted){.capture = 40, .writer = fixed_id(0x60)};
    memset(out->predecessor_seal.bytes, 0x71, sizeof out->predecessor_seal.bytes);
    out->sets = hf_alloc_zero(sizeof *out->sets);
    assert_non_null(out->sets);
    out->set_count = 1;
    (void)snprintf(out->sets[0].set_name, sizeof out->sets[0].set_name, "rs0");
    out->sets[0].job = ring->job;
    out->sets[0].capture = 42;
    out->root.lists = hf_alloc_array(2, sizeof *out->root.lists);
    assert_non_null(out->root.lists);
    out->root.list_count = 2;
    out->root.lists[0] = fixed_ref(1);
    out->root.lists[1] = fixed_ref(2);
    out->root.sums = (struct hf_tree_sums){.files = 151, .bytes = 1 << 20, .blocks_new = 9};
}

static inline struct hf_str buf_str(const struct hf_buf *buf)
{
    return (struct hf_str){.data = (const char *)buf->data, .len = buf->len};
}

#endif
