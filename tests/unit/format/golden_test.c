/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden copies of every format that was ever written (tests/golden/): read, and where the bytes do not hang on a
 * compressor's version, written again and compared. A changed byte here is a changed format: it needs a new version and a
 * new golden file beside the old one.
 *
 * HF_GOLDEN_WRITE=1 writes the files that are missing.
 */
#include "support/slice_kit.h"

#include "format/claim.h"
#include "format/message.h"
#include "format/storemark.h"
#include "format/wrapped.h"

static char *golden_path(const char *name)
{
    const char *fixtures = getenv("HF_TEST_FIXTURES");
    assert_non_null(fixtures);
    return hf_asprintf("%s/../golden/%s", fixtures, name);
}

/* The golden file; written from `fresh` when it is missing and that is asked for. */
static void load_golden(const char *name, const struct hf_buf *fresh, struct hf_buf *out)
{
    struct hf_error err;
    char *path = golden_path(name);
    FILE *file = fopen(path, "rb");
    uint8_t chunk[4096];
    size_t got;
    if (file == NULL && getenv("HF_GOLDEN_WRITE") != NULL) {
        file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(fresh->data, 1, fresh->len, file), fresh->len);
        fclose(file);
        file = fopen(path, "rb");
    }
    if (file == NULL) {
        fail_msg("%s is missing", path);
    }
    hf_buf_clear(out);
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        EXPECT_OK(hf_buf_append(out, hf_bytes_of(chunk, got), &err), &err);
    }
    fclose(file);
    hf_free(path);
}

/* Compares what this program writes with the golden bytes. */
static void expect_golden(const char *name, const struct hf_buf *fresh, struct hf_buf *golden)
{
    load_golden(name, fresh, golden);
    if (!hf_bytes_equal(hf_buf_bytes(fresh), hf_buf_bytes(golden))) {
        fail_msg("%s: this program writes other bytes", name);
    }
}

static void test_packs(void **state)
{
    static const char *const names[] = {"pack-1-clear.bin", "pack-1-aes.bin"};
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct hf_error err;
        struct hf_keyring ring = fixed_keyring(encrypted == 1);
        HF_CLEANUP(hf_buf_fini) struct hf_buf fresh = HF_BUF_INIT((size_t)1 << 20);
        HF_CLEANUP(hf_buf_fini) struct hf_buf golden = HF_BUF_INIT((size_t)1 << 20);
        HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
        struct hf_block_coder *coder = fixed_coder(&ring);
        const size_t lengths[] = {5000, 4096, 1};
        uint64_t need = 0;
        uint8_t back[5000];
        uint8_t wanted[5000];
        fixed_pack(&ring, &fresh);
        /* zstd's output may change between its versions: the golden pack is only read. */
        load_golden(names[encrypted], &fresh, &golden);
        EXPECT_OK(hf_object_check_header(hf_buf_bytes(&golden), &ring.job, &err), &err);
        EXPECT_OK(hf_footer_decode(hf_buf_bytes(&golden), golden.len, &need, &footer, &err), &err);
        assert_int_equal(footer.block_count, 3);
        for (uint32_t i = 0; i < 3; i++) {
            const struct hf_footer_block *found = &footer.blocks[i];
            struct hf_hash hash;
            struct hf_stored_block block = {
                .ordinal = i,
                .plain_bytes = found->plain_bytes,
                .codec = found->codec,
                .stored = hf_bytes_of(golden.data + found->place, found->stored_bytes),
            };
            fill_block(wanted, lengths[i], i == 0 ? 0 : 1, i);
            hf_block_hash(coder, hf_bytes_of(wanted, lengths[i]), &hash);
            EXPECT_OK(hf_block_open(coder, &footer.runs[0], &block, &hash, back, &err), &err);
            assert_memory_equal(back, wanted, lengths[i]);
        }
        hf_block_coder_destroy(coder);
    }
}

static void test_node_list_and_root(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf fresh = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_buf_fini) struct hf_buf golden = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_buf_fini) struct hf_buf entries = HF_BUF_INIT((size_t)1 << 20);
    struct hf_node node = {.level = 1, .count = 3};
    struct hf_node back;
    struct hf_file_entry entry = {.path = hf_str_of("journal/WiredTigerLog.0000000001"),
                                  .size_bytes = 5000,
                                  .block_bytes = 4096,
                                  .mode = 0600,
                                  .ref_count = 2};
    struct hf_list_reader list;
    bool more = false;
    (void)state;
    node.refs[0] = fixed_ref(1);
    node.refs[1] = (struct hf_ref){.flags = HF_REF_ZERO};
    node.refs[2] = (struct hf_ref){.flags = HF_REF_HOLE};
    EXPECT_OK(hf_node_encode(&node, &fresh, &err), &err);
    expect_golden("node-1.bin", &fresh, &golden);
    EXPECT_OK(hf_node_decode(hf_buf_bytes(&golden), &back, &err), &err);
    assert_true(hf_ref_equal(&back.refs[0], &node.refs[0]));

    entry.refs[0] = fixed_ref(1);
    entry.refs[1] = fixed_ref(2);
    entry.witness.has_line = true;
    entry.witness.inode = 77;
    EXPECT_OK(hf_file_entry_encode(&entry, &entries, &err), &err);
    EXPECT_OK(hf_list_encode(hf_buf_bytes(&entries), 1, &fresh, &err), &err);
    expect_golden("list-1.bin", &fresh, &golden);
    EXPECT_OK(hf_list_open(hf_buf_bytes(&golden), &list, &err), &err);
    EXPECT_OK(hf_list_next(&list, &entry, &more, &err), &err);
    assert_int_equal(entry.witness.inode, 77);

    struct hf_ref lists[] = {fixed_ref(1), fixed_ref(2)};
    struct hf_tree_root root = {.lists = lists, .list_count = 2};
    root.sums.files = 5;
    hf_buf_clear(&fresh);
    EXPECT_OK(hf_tree_root_encode(&root, &fresh, &err), &err);
    expect_golden("root-1.bin", &fresh, &golden);
    HF_CLEANUP(hf_tree_root_fini) struct hf_tree_root again = {.lists = NULL};
    EXPECT_OK(hf_tree_root_decode(hf_buf_bytes(&golden), &again, &err), &err);
    assert_int_equal(again.sums.files, 5);
}

static void test_manifests_and_void(void **state)
{
    static const char *const names[] = {"manifest-1-checksum.bin", "manifest-1-sealed.bin"};
    struct hf_error err;
    struct hf_manifest_read read;
    HF_CLEANUP(hf_buf_fini) struct hf_buf fresh = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_buf_fini) struct hf_buf golden = HF_BUF_INIT((size_t)1 << 20);
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct hf_keyring ring = fixed_keyring(encrypted == 1);
        HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest;
        HF_CLEANUP(hf_manifest_fini) struct hf_manifest back = {.capture = 0};
        fixed_manifest(&ring, &manifest);
        EXPECT_OK(hf_manifest_encode(&manifest, &ring, &fresh, &err), &err);
        expect_golden(names[encrypted], &fresh, &golden);
        EXPECT_OK(hf_manifest_decode(hf_buf_bytes(&golden), &ring, &back, &read, &err), &err);
        assert_int_equal(read.seal_state, HF_SEAL_PROVED);
        assert_int_equal(back.root.list_count, 2);
    }
    struct hf_id job = fixed_id(0x10);
    struct hf_manifest back = {.capture = 0};
    EXPECT_OK(hf_void_encode(&job, 42, &fresh, &err), &err);
    expect_golden("void-1.bin", &fresh, &golden);
    EXPECT_OK(hf_manifest_decode(hf_buf_bytes(&golden), NULL, &back, &read, &err), &err);
    assert_int_equal(read.kind, HF_MANIFEST_VOID);
}

static void test_mark_claim_and_keys(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf fresh = HF_BUF_INIT((size_t)64 << 10);
    HF_CLEANUP(hf_buf_fini) struct hf_buf golden = HF_BUF_INIT((size_t)64 << 10);
    struct hf_storemark mark = {.store = fixed_id(1), .installation = fixed_id(2), .epoch = 3};
    struct hf_claim claim = {
        .job = fixed_id(0x10), .writer = fixed_id(0x20), .capture = 9, .started_s = 77};
    struct hf_store_key key = {.store = fixed_id(0x80)};
    struct hf_wrap_options wrap = {.store_key = &key, .store = key.store};
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_keyring back;
    (void)state;
    mark.encrypted = true;
    memset(mark.key_check.bytes, 0x61, sizeof mark.key_check.bytes);
    memset(key.key, 0x81, sizeof key.key);
    memset(wrap.salt, 0x91, sizeof wrap.salt);
    EXPECT_OK(hf_storemark_encode(&mark, &fresh, &err), &err);
    expect_golden("mark-1.bin", &fresh, &golden);
    EXPECT_OK(hf_storemark_decode(hf_buf_bytes(&golden), &mark, &err), &err);
    EXPECT_OK(hf_claim_encode(&claim, &fresh, &err), &err);
    expect_golden("claim-1.bin", &fresh, &golden);
    EXPECT_OK(hf_claim_decode(hf_buf_bytes(&golden), &claim, &err), &err);
    EXPECT_OK(hf_keyring_wrap(&ring, &wrap, &fresh, &err), &err);
    expect_golden("keys-1-aes.bin", &fresh, &golden);
    EXPECT_OK(hf_keyring_unwrap(hf_buf_bytes(&golden), &ring.job, &key, &back, &err), &err);
    assert_memory_equal(back.seal_key, ring.seal_key, HF_KEY_BYTES);
    hf_buf_clear(&fresh);
    EXPECT_OK(hf_store_key_encode(&key, &fresh, &err), &err);
    expect_golden("store-key-1.txt", &fresh, &golden);
    EXPECT_OK(hf_store_key_decode(buf_str(&golden), &key, &err), &err);
}

static void test_oplog_slices(void **state)
{
    static const char *const names[] = {"slice-1-clear.bin", "slice-1-aes.bin"};
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct hf_error err;
        struct hf_keyring ring = fixed_keyring(encrypted == 1);
        HF_CLEANUP(hf_buf_fini) struct hf_buf fresh = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
        HF_CLEANUP(hf_buf_fini) struct hf_buf golden = HF_BUF_INIT(HF_SLICE_OBJECT_MAX_BYTES);
        HF_CLEANUP(hf_slice_header_fini) struct hf_slice_header header = {.blocks = NULL};
        uint64_t need = 0;
        fixed_slice(&ring, &fresh);
        /* zstd's output may change between its versions: the golden slice is only read. */
        load_golden(names[encrypted], &fresh, &golden);
        assert_true(slice_is_whole(&ring, &golden));
        EXPECT_OK(
            hf_slice_header_decode(hf_buf_bytes(&golden), golden.len, &ring, &need, &header, &err),
            &err);
        assert_int_equal(header.sequence, 77);
        assert_int_equal(header.term_count, 2);
        expect_fixed_entries(&ring, &header, &golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packs),
        cmocka_unit_test(test_node_list_and_root),
        cmocka_unit_test(test_manifests_and_void),
        cmocka_unit_test(test_mark_claim_and_keys),
        cmocka_unit_test(test_oplog_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
