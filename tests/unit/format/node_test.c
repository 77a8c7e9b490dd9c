/* SPDX-License-Identifier: Apache-2.0 */
#include "support/format_kit.h"

#include "format/node.h"

static void test_nodes_come_back(void **state)
{
    struct hf_error err;
    struct hf_node node = {.level = 2, .count = HF_NODE_REFS};
    struct hf_node back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_NODE_MAX_BYTES);
    (void)state;
    for (unsigned i = 0; i < HF_NODE_REFS; i++) {
        node.refs[i] = i % 5 == 0 ? (struct hf_ref){.flags = HF_REF_ZERO} : fixed_ref((uint8_t)i);
    }
    EXPECT_OK(hf_node_encode(&node, &bytes, &err), &err);
    assert_int_equal(bytes.len, HF_NODE_MAX_BYTES);
    EXPECT_OK(hf_node_decode(hf_buf_bytes(&bytes), &back, &err), &err);
    assert_int_equal(back.level, 2);
    assert_int_equal(back.count, HF_NODE_REFS);
    for (unsigned i = 0; i < HF_NODE_REFS; i++) {
        assert_true(hf_ref_equal(&node.refs[i], &back.refs[i]));
    }
}

static void test_what_is_no_node_is_refused(void **state)
{
    struct hf_error err;
    struct hf_node node = {.level = 1, .count = 2, .refs = {fixed_ref(1), fixed_ref(2)}};
    struct hf_node back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_NODE_MAX_BYTES);
    (void)state;
    EXPECT_OK(hf_node_encode(&node, &bytes, &err), &err);
    EXPECT_ERROR(hf_node_decode(hf_bytes_of(bytes.data, 7), &back, &err), HF_ERR_CORRUPT,
                 "not a node", &err);
    EXPECT_ERROR(hf_node_decode(hf_bytes_of(bytes.data, bytes.len - 1), &back, &err),
                 HF_ERR_CORRUPT, "2 references in 103 bytes", &err);
    bytes.data[4] = 2;
    EXPECT_ERROR(hf_node_decode(hf_buf_bytes(&bytes), &back, &err), HF_ERR_UNSUPPORTED,
                 "node of format version 2", &err);
    bytes.data[4] = 1;
    bytes.data[5] = 0;
    EXPECT_ERROR(hf_node_decode(hf_buf_bytes(&bytes), &back, &err), HF_ERR_CORRUPT,
                 "node of level 0", &err);
    bytes.data[5] = HF_NODE_LEVELS_MAX + 1;
    EXPECT_ERROR(hf_node_decode(hf_buf_bytes(&bytes), &back, &err), HF_ERR_CORRUPT,
                 "node of level 7", &err);
    bytes.data[5] = 1;
    bytes.data[8 + 46] = 0x40;
    EXPECT_ERROR(hf_node_decode(hf_buf_bytes(&bytes), &back, &err), HF_ERR_CORRUPT,
                 "node, reference 0", &err);
}

static void test_the_shape_follows_from_the_number_of_blocks(void **state)
{
    (void)state;
    assert_int_equal(hf_block_count(0, 4096), 0);
    assert_int_equal(hf_block_count(1, 4096), 1);
    assert_int_equal(hf_block_count(4096, 4096), 1);
    assert_int_equal(hf_block_count(4097, 4096), 2);
    assert_int_equal(hf_block_length(4097, 4096, 0), 4096);
    assert_int_equal(hf_block_length(4097, 4096, 1), 1);
    assert_int_equal(hf_tree_depth(0), 0);
    assert_int_equal(hf_tree_depth(8), 0);
    assert_int_equal(hf_tree_depth(9), 1);
    assert_int_equal(hf_tree_depth(128), 1);
    assert_int_equal(hf_tree_depth(129), 2);
    assert_int_equal(hf_tree_depth(128 * 128), 2);
    assert_int_equal(hf_tree_depth(128 * 128 + 1), 3);
    assert_int_equal(hf_tree_nodes(129, 1), 2);
    assert_int_equal(hf_tree_node_refs(129, 1, 0), 128);
    assert_int_equal(hf_tree_node_refs(129, 1, 1), 1);
    assert_int_equal(hf_tree_node_refs(129, 2, 0), 2);
    /* The largest file in the smallest blocks fits. */
    assert_true(hf_tree_depth(((uint64_t)16 << 40) / HF_BLOCK_MIN_BYTES) <= HF_NODE_LEVELS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_come_back),
        cmocka_unit_test(test_what_is_no_node_is_refused),
        cmocka_unit_test(test_the_shape_follows_from_the_number_of_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
