/* SPDX-License-Identifier: Apache-2.0 */
#include "support/format_kit.h"

#include "format/filelist.h"

static struct hf_file_entry small_entry(const char *path)
{
    struct hf_file_entry entry = {
        .path = hf_str_of(path),
        .size_bytes = 2 * 4096 + 1,
        .block_bytes = 4096,
        .mode = 0600,
        .ref_count = 3,
        .refs = {fixed_ref(1), {.flags = HF_REF_HOLE}, fixed_ref(3)},
    };
    entry.witness = (struct hf_witness){
        .has_line = true,
        .device = 1,
        .inode = UINT64_MAX,
        .disk_bytes = 9000,
        .listed_bytes = UINT64_MAX,
        .mtime_ns = -5,
        .ctime_ns = 1795377051000000000,
        .seen_ms = 1795377051000,
    };
    memset(entry.witness.line_hash.bytes, 0x5a, sizeof entry.witness.line_hash.bytes);
    return entry;
}

static struct hf_file_entry large_entry(const char *path)
{
    return (struct hf_file_entry){
        .path = hf_str_of(path),
        .size_bytes = HF_FILE_MAX_BYTES,
        .block_bytes = HF_BLOCK_MAX_BYTES,
        .mode = 0,
        .depth = 3,
        .ref_count = 1,
        .refs = {fixed_ref(9)},
    };
}

static void encode_list(const struct hf_file_entry *entries, uint32_t count, struct hf_buf *out)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        EXPECT_OK(hf_file_entry_encode(&entries[i], &bytes, &err), &err);
    }
    EXPECT_OK(hf_list_encode(hf_buf_bytes(&bytes), count, out, &err), &err);
}

static enum hf_err read_all(struct hf_bytes list, struct hf_error *err)
{
    struct hf_list_reader reader;
    struct hf_file_entry entry;
    bool more = true;
    if (hf_list_open(list, &reader, err) != HF_ERR_OK) {
        return err->code;
    }
    while (more) {
        if (hf_list_next(&reader, &entry, &more, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static void test_entries_come_back(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf list = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    struct hf_file_entry entries[] = {small_entry("a/b.wt"), large_entry("a/c.wt")};
    struct hf_list_reader reader;
    struct hf_file_entry back;
    bool more = false;
    (void)state;
    encode_list(entries, 2, &list);
    EXPECT_OK(hf_list_open(hf_buf_bytes(&list), &reader, &err), &err);
    EXPECT_OK(hf_list_next(&reader, &back, &more, &err), &err);
    assert_true(more);
    assert_true(hf_str_equal_c(back.path, "a/b.wt"));
    assert_int_equal(back.size_bytes, entries[0].size_bytes);
    assert_int_equal(back.block_bytes, 4096);
    assert_int_equal(back.mode, 0600);
    assert_int_equal(back.ref_count, 3);
    assert_true(hf_ref_equal(&back.refs[1], &entries[0].refs[1]));
    assert_true(hf_ref_equal(&back.refs[2], &entries[0].refs[2]));
    assert_memory_equal(&back.witness.line_hash, &entries[0].witness.line_hash, HF_HASH_BYTES);
    assert_int_equal(back.witness.inode, UINT64_MAX);
    assert_int_equal(back.witness.mtime_ns, -5);
    assert_int_equal(back.witness.listed_bytes, UINT64_MAX);
    EXPECT_OK(hf_list_next(&reader, &back, &more, &err), &err);
    assert_int_equal(back.size_bytes, HF_FILE_MAX_BYTES);
    assert_int_equal(back.depth, 3);
    assert_false(back.witness.has_line);
    EXPECT_OK(hf_list_next(&reader, &back, &more, &err), &err);
    assert_false(more);
}

/* A restore would write there. */
static void test_paths_that_leave_their_directory_are_refused(void **state)
{
    static const char *const paths[] = {"",     "/etc/passwd", "..",  "../x", "a/../b",
                                        "a//b", "a/b/.",       "./a", "a/..", "a/"};
    struct hf_error err;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(paths); i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_LIST_MAX_BYTES);
        struct hf_file_entry entry = small_entry(paths[i]);
        EXPECT_ERROR(hf_file_entry_encode(&entry, &bytes, &err), HF_ERR_LIMIT,
                     "no snapshot may hold", &err);
        /* The same, from a list that someone else wrote. */
        HF_CLEANUP(hf_buf_fini) struct hf_buf list = HF_BUF_INIT(HF_LIST_MAX_BYTES);
        size_t len = strlen(paths[i]);
        char stand_in[32];
        memset(stand_in, 'x', sizeof stand_in);
        if (len == 0) {
            continue;
        }
        entry.path = (struct hf_str){.data = stand_in, .len = len};
        encode_list(&entry, 1, &list);
        memcpy(list.data + 14, paths[i], len);
        EXPECT_ERROR(read_all(hf_buf_bytes(&list), &err), HF_ERR_CORRUPT, "cannot be read", &err);
    }
}

static void test_a_list_that_does_not_fit_itself_is_refused(void **state)
{
    const struct {
        size_t at;
        uint8_t value;
        enum hf_err code;
        const char *text;
    } changes[] = {
        {0, 'x', HF_ERR_CORRUPT, "not a file list"},
        {4, 2, HF_ERR_UNSUPPORTED, "file list of format version 2"},
        {5, 1, HF_ERR_CORRUPT, "file list of 1 entries"},
        {8, 0, HF_ERR_CORRUPT, "file list of 0 entries"},
        {8, 2, HF_ERR_CORRUPT, "cannot be read"},
        {9, 4, HF_ERR_CORRUPT, "file list of 1025 entries"},
        {12, 200, HF_ERR_CORRUPT, "cannot be read"},
        {12 + 2 + 1 + 8, 11, HF_ERR_CORRUPT, "a: size, block size or mode is out of range"},
        {12 + 2 + 1 + 8, 25, HF_ERR_CORRUPT, "a: size, block size or mode is out of range"},
        {12 + 2 + 1 + 8, 13, HF_ERR_CORRUPT, "a: 3 references do not fit its size"},
        {12 + 2 + 1 + 9, 1, HF_ERR_CORRUPT, "a: 3 references do not fit its size"},
        {12 + 2 + 1 + 10, 9, HF_ERR_CORRUPT, "a: 9 references do not fit its size"},
        {12 + 2 + 1 + 11, 2, HF_ERR_CORRUPT, "cannot be read"},
        {12 + 2 + 1 + 14, 1, HF_ERR_CORRUPT, "a: size, block size or mode is out of range"},
        {12 + 2 + 1 + 76 + 32 + 46, 8, HF_ERR_CORRUPT, "a: reference 0 cannot be read"},
    };
    struct hf_error err;
    struct hf_file_entry entry = small_entry("a");
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(changes); i++) {
        HF_CLEANUP(hf_buf_fini) struct hf_buf list = HF_BUF_INIT(HF_LIST_MAX_BYTES);
        encode_list(&entry, 1, &list);
        list.data[changes[i].at] = changes[i].value;
        EXPECT_ERROR(read_all(hf_buf_bytes(&list), &err), changes[i].code, changes[i].text, &err);
    }
    HF_CLEANUP(hf_buf_fini) struct hf_buf list = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    encode_list(&entry, 1, &list);
    EXPECT_OK(hf_buf_append_le(&list, 0, 1, &err), &err);
    EXPECT_ERROR(read_all(hf_buf_bytes(&list), &err), HF_ERR_CORRUPT, "bytes after its last entry",
                 &err);
}

static void test_entries_out_of_order_are_refused(void **state)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf list = HF_BUF_INIT(HF_LIST_MAX_BYTES);
    struct hf_file_entry twice[] = {small_entry("b"), small_entry("b")};
    struct hf_file_entry back[] = {small_entry("b"), small_entry("a")};
    (void)state;
    encode_list(twice, 2, &list);
    EXPECT_ERROR(read_all(hf_buf_bytes(&list), &err), HF_ERR_CORRUPT, "b is out of order", &err);
    encode_list(back, 2, &list);
    EXPECT_ERROR(read_all(hf_buf_bytes(&list), &err), HF_ERR_CORRUPT, "a is out of order", &err);
}

static void test_lists_are_cut_about_every_hundredth_path(void **state)
{
    unsigned cuts = 0;
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        char path[40];
        (void)snprintf(path, sizeof path, "collection-%u--123456789.wt", i);
        cuts += hf_list_cuts_after(hf_str_of(path)) ? 1 : 0;
    }
    assert_in_range(cuts, 140, 260);
}

/* ---- the root ---- */

static void test_a_root_comes_back_and_is_checked(void **state)
{
    struct hf_error err;
    struct hf_ref lists[] = {fixed_ref(1), fixed_ref(2)};
    struct hf_tree_root root = {.lists = lists, .list_count = 2};
    HF_CLEANUP(hf_tree_root_fini) struct hf_tree_root back = {.lists = NULL};
    HF_CLEANUP(hf_tree_root_fini) struct hf_tree_root copy = {.lists = NULL};
    struct hf_tree_root none;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    root.sums = (struct hf_tree_sums){.files = 1, .bytes = 2, .files_skipped = UINT64_MAX};
    EXPECT_OK(hf_tree_root_encode(&root, &bytes, &err), &err);
    EXPECT_OK(hf_tree_root_decode(hf_buf_bytes(&bytes), &back, &err), &err);
    assert_int_equal(back.list_count, 2);
    assert_true(hf_ref_equal(&back.lists[1], &lists[1]));
    assert_memory_equal(&back.sums, &root.sums, sizeof root.sums);
    EXPECT_OK(hf_tree_root_copy(&back, &copy, &err), &err);
    assert_true(hf_ref_equal(&copy.lists[0], &lists[0]));
    EXPECT_ERROR(hf_tree_root_decode(hf_bytes_of(bytes.data, bytes.len - 1), &none, &err),
                 HF_ERR_CORRUPT, "root of 2 lists in", &err);
    bytes.data[8] = 3;
    EXPECT_ERROR(hf_tree_root_decode(hf_buf_bytes(&bytes), &none, &err), HF_ERR_CORRUPT,
                 "root of 3 lists", &err);
    bytes.data[8] = 2;
    bytes.data[15] = 0x80; /* must not size an allocation */
    EXPECT_ERROR(hf_tree_root_decode(hf_buf_bytes(&bytes), &none, &err), HF_ERR_CORRUPT, "root of",
                 &err);
    bytes.data[15] = 0;
    bytes.data[4] = 9;
    EXPECT_ERROR(hf_tree_root_decode(hf_buf_bytes(&bytes), &none, &err), HF_ERR_UNSUPPORTED,
                 "root of format version 9", &err);
}

static void test_a_list_is_never_a_zero_reference(void **state)
{
    struct hf_error err;
    struct hf_ref lists[] = {{.flags = HF_REF_ZERO}};
    struct hf_tree_root root = {.lists = lists, .list_count = 1};
    struct hf_tree_root back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    EXPECT_OK(hf_tree_root_encode(&root, &bytes, &err), &err);
    EXPECT_ERROR(hf_tree_root_decode(hf_buf_bytes(&bytes), &back, &err), HF_ERR_CORRUPT,
                 "list 0 cannot be read", &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_come_back),
        cmocka_unit_test(test_paths_that_leave_their_directory_are_refused),
        cmocka_unit_test(test_a_list_that_does_not_fit_itself_is_refused),
        cmocka_unit_test(test_entries_out_of_order_are_refused),
        cmocka_unit_test(test_lists_are_cut_about_every_hundredth_path),
        cmocka_unit_test(test_a_root_comes_back_and_is_checked),
        cmocka_unit_test(test_a_list_is_never_a_zero_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
