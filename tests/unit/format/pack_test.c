/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pack writer, footer and object writer: what one writes the other reads.
 */
#include "support/format_kit.h"

#include "base/thread.h"

static void test_a_pack_holds_what_was_added(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_block_coder *coder = fixed_coder(&ring);
    HF_CLEANUP(hf_buf_fini) struct hf_buf pack = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    uint64_t need = 1;
    uint8_t wanted[5000];
    uint8_t back[5000];
    const size_t lengths[] = {5000, 4096, 1};
    (void)state;
    fixed_pack(&ring, &pack);
    EXPECT_OK(hf_object_check_header(hf_buf_bytes(&pack), &ring.job, &err), &err);
    EXPECT_OK(hf_footer_decode(hf_buf_bytes(&pack), pack.len, &need, &footer, &err), &err);
    assert_int_equal(need, 0);
    assert_int_equal(footer.run_count, 1);
    assert_int_equal(footer.block_count, 3);
    assert_int_equal(footer.runs[0].key_version, 3); /* the newest key */
    for (uint32_t i = 0; i < 3; i++) {
        struct hf_address address = {.capture = 7, .pack = 5, .ordinal = i};
        const struct hf_footer_block *found = hf_footer_find(&footer, &address);
        assert_non_null(found);
        struct hf_stored_block block = {
            .ordinal = i,
            .plain_bytes = found->plain_bytes,
            .codec = found->codec,
            .stored = hf_bytes_of(pack.data + found->place, found->stored_bytes),
        };
        assert_int_equal(found->plain_bytes, lengths[i]);
        assert_int_equal(found->checksum, hf_xxh3(block.stored));
        EXPECT_OK(hf_block_open(coder, &footer.runs[0], &block, NULL, back, &err), &err);
        fill_block(wanted, lengths[i], i == 0 ? 0 : 1, i);
        assert_memory_equal(back, wanted, lengths[i]);
    }
    struct hf_address beyond = {.capture = 7, .pack = 5, .ordinal = 3};
    assert_null(hf_footer_find(&footer, &beyond));
    hf_block_coder_destroy(coder);
}

static void test_a_tail_that_is_too_short_says_what_is_needed(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(false);
    HF_CLEANUP(hf_buf_fini) struct hf_buf pack = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    uint64_t need = 0;
    (void)state;
    fixed_pack(&ring, &pack);
    struct hf_bytes tail = hf_bytes_of(pack.data + pack.len - 30, 30);
    EXPECT_OK(hf_footer_decode(tail, pack.len, &need, &footer, &err), &err);
    assert_true(need > 30 && need < pack.len);
    assert_null(footer.runs);
    tail = hf_bytes_of(pack.data + pack.len - need, (size_t)need);
    EXPECT_OK(hf_footer_decode(tail, pack.len, &need, &footer, &err), &err);
    assert_int_equal(footer.block_count, 3);
}

static void test_every_flipped_bit_of_a_footer_is_noticed(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(false);
    HF_CLEANUP(hf_buf_fini) struct hf_buf pack = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_footer_fini) struct hf_footer good = {.runs = NULL};
    uint64_t need = 0;
    (void)state;
    fixed_pack(&ring, &pack);
    EXPECT_OK(hf_footer_decode(hf_buf_bytes(&pack), pack.len, &need, &good, &err), &err);
    for (size_t bit = (pack.len - (size_t)good.footer_bytes) * 8; bit < pack.len * 8; bit++) {
        struct hf_footer footer = {.runs = NULL};
        pack.data[bit / 8] = (uint8_t)(pack.data[bit / 8] ^ 1u << bit % 8);
        enum hf_err code = hf_footer_decode(hf_buf_bytes(&pack), pack.len, &need, &footer, &err);
        assert_true(code == HF_ERR_CORRUPT);
        pack.data[bit / 8] = (uint8_t)(pack.data[bit / 8] ^ 1u << bit % 8);
    }
    for (size_t bit = 0; bit < (size_t)HF_OBJECT_HEADER_BYTES * 8; bit++) {
        pack.data[bit / 8] = (uint8_t)(pack.data[bit / 8] ^ 1u << bit % 8);
        assert_int_equal(hf_object_check_header(hf_buf_bytes(&pack), &ring.job, &err),
                         HF_ERR_CORRUPT);
        pack.data[bit / 8] = (uint8_t)(pack.data[bit / 8] ^ 1u << bit % 8);
    }
}

/* Puts the right checksum on a changed footer. */
static void seal_again(struct hf_buf *pack, size_t footer_bytes)
{
    size_t start = pack->len - footer_bytes;
    size_t trailer = pack->len - HF_OBJECT_TRAILER_BYTES;
    hf_store_le64(pack->data + trailer + 8,
                  hf_xxh3(hf_bytes_of(pack->data + start, trailer + 8 - start)));
}

static void test_what_a_footer_says_is_checked_beyond_its_checksum(void **state)
{
    const struct {
        size_t at; /* from the footer's start */
        uint8_t value;
        enum hf_err code;
        const char *text;
    } changes[] = {
        {8, 9, HF_ERR_UNSUPPORTED, "footer of format version 9"},
        {10, 3, HF_ERR_CORRUPT, "runs and"},
        {24, 2, HF_ERR_CORRUPT, "2 runs and 3 blocks"},
        {32 + 12, 7, HF_ERR_UNSUPPORTED, "unknown cipher 7"},
        {32 + 48 + 6, 9, HF_ERR_UNSUPPORTED, "block 7/5/0 with unknown codec 9"},
        {32 + 48 + 4, 9, HF_ERR_CORRUPT, "out of order"},
        {32 + 48, 1, HF_ERR_CORRUPT, "block of run 1 of 1"},
        {32 + 48 + 11, 0x7f, HF_ERR_CORRUPT, "block 7/5/0 lies at"},
        {32 + 48 + 15, 0x7f, HF_ERR_CORRUPT, "block 7/5/0 lies at"},
        {32 + 48 + 19, 0x7f, HF_ERR_CORRUPT, "block 7/5/0 lies at"},
    };
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(false);
    HF_CLEANUP(hf_buf_fini) struct hf_buf pack = HF_BUF_INIT((size_t)1 << 20);
    size_t footer_bytes = 32 + 48 + (size_t)3 * 28 + HF_OBJECT_TRAILER_BYTES;
    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(changes); i++) {
        struct hf_footer footer = {.runs = NULL};
        uint64_t need = 0;
        fixed_pack(&ring, &pack);
        pack.data[pack.len - footer_bytes + changes[i].at] = changes[i].value;
        seal_again(&pack, footer_bytes);
        EXPECT_ERROR(hf_footer_decode(hf_buf_bytes(&pack), pack.len, &need, &footer, &err),
                     changes[i].code, changes[i].text, &err);
    }
}

static void test_an_object_of_another_job_is_refused(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(false);
    struct hf_id other = fixed_id(0x77);
    HF_CLEANUP(hf_buf_fini) struct hf_buf pack = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    uint64_t need = 0;
    struct hf_object_name name = {.kind = HF_OBJECT_DATA, .job = other};
    (void)state;
    fixed_pack(&ring, &pack);
    EXPECT_ERROR(hf_object_check_header(hf_buf_bytes(&pack), &other, &err), HF_ERR_CORRUPT,
                 "another job", &err);
    EXPECT_OK(hf_footer_decode(hf_buf_bytes(&pack), pack.len, &need, &footer, &err), &err);
    EXPECT_ERROR(hf_footer_check_name(&footer, &name, &err), HF_ERR_CORRUPT, "is not the name's",
                 &err);
}

/* As an agent puts it: what the test of the lying agent tries over the wire, here where each change has its place. */
static void test_what_is_put_is_a_pack_of_its_name(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    HF_CLEANUP(hf_buf_fini) struct hf_buf pack = HF_BUF_INIT((size_t)1 << 20);
    struct hf_object_name name = {.kind = HF_OBJECT_DATA,
                                  .job = ring.job,
                                  .first = hf_position(7, 5),
                                  .last = hf_position(7, 5)};
    (void)state;
    fixed_pack(&ring, &pack);
    EXPECT_OK(hf_object_check_put(hf_buf_bytes(&pack), &name, &err), &err);
    name.last = hf_position(7, 6);
    EXPECT_OK(hf_object_check_put(hf_buf_bytes(&pack), &name, &err), &err);
    name.first = name.last;
    assert_int_equal(hf_object_check_put(hf_buf_bytes(&pack), &name, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "blocks of capture 7, pack 5, which the name does not"));
    name.first = hf_position(7, 4);
    name.last = hf_position(7, 4);
    assert_int_equal(hf_object_check_put(hf_buf_bytes(&pack), &name, &err), HF_ERR_INVALID);
    name.first = name.last = hf_position(7, 5);
    name.kind = HF_OBJECT_TREE;
    assert_int_equal(hf_object_check_put(hf_buf_bytes(&pack), &name, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "job or kind is not the name's"));
    name.kind = HF_OBJECT_DATA;
    for (size_t len = 0; len < pack.len; len += 7) {
        struct hf_bytes cut = hf_bytes_of(pack.data, len);
        assert_int_equal(hf_object_check_put(cut, &name, &err), HF_ERR_INVALID);
    }
}

static void test_a_pack_is_full_at_its_target_but_takes_one_block_always(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_pack_writer *writer = NULL;
    struct hf_pack_writer_options options = {.keyring = &ring, .target_bytes = 1000};
    struct hf_pack_begin begin = {.kind = HF_OBJECT_TREE, .capture = 1};
    static uint8_t bytes[5000];
    struct hf_block_body large = {.bytes = {.data = bytes, .len = 5000}, .plain_bytes = 5000};
    struct hf_block_body small = {.bytes = {.data = bytes, .len = 484}, .plain_bytes = 484};
    struct hf_pack_slot slot;
    (void)state;
    EXPECT_OK(hf_pack_writer_create(&options, &writer, &err), &err);
    EXPECT_OK(hf_pack_writer_begin(writer, &begin, &err), &err);
    assert_true(hf_pack_writer_reserve(writer, &large, &slot));
    assert_int_equal(slot.stored_bytes, 5016);
    assert_false(hf_pack_writer_reserve(writer, &small, &slot));
    EXPECT_OK(hf_pack_writer_begin(writer, &begin, &err), &err);
    assert_true(hf_pack_writer_reserve(writer, &small, &slot));
    assert_true(hf_pack_writer_reserve(writer, &small, &slot)); /* 2 * 500 is just the target */
    assert_int_equal(hf_pack_writer_bytes(writer), 1000);
    assert_false(hf_pack_writer_reserve(writer, &small, &slot));
    assert_int_equal(hf_pack_writer_count(writer), 2);
    hf_pack_writer_destroy(writer);
}

struct filler {
    struct hf_pack_writer *writer;
    const struct hf_keyring *ring;
    struct hf_mutex *mutex;
    unsigned number;
};

static void fill_some(void *argument)
{
    const struct filler *filler = argument;
    struct hf_error err;
    struct hf_block_coder *coder = fixed_coder(filler->ring);
    uint8_t block[3000];
    for (unsigned i = 0; i < 50; i++) {
        struct hf_block_body body;
        struct hf_pack_slot slot;
        fill_block(block, sizeof block, 1, filler->number * 1000 + i);
        EXPECT_OK(hf_block_compress(coder, hf_bytes_of(block, sizeof block), &body, &err), &err);
        hf_mutex_lock(filler->mutex);
        bool taken = hf_pack_writer_reserve(filler->writer, &body, &slot);
        hf_mutex_unlock(filler->mutex);
        assert_true(taken);
        EXPECT_OK(hf_pack_writer_fill(filler->writer, &slot, coder, &body, &err), &err);
    }
    hf_block_coder_destroy(coder);
}

static void test_threads_fill_one_pack_at_once(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_pack_writer *writer = NULL;
    struct hf_pack_writer_options options = {.keyring = &ring};
    struct hf_pack_begin begin = {.kind = HF_OBJECT_DATA, .capture = 1, .pack = 2};
    struct hf_mutex mutex;
    struct filler fillers[3];
    struct hf_thread *threads[3];
    struct hf_bytes object;
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    uint64_t need = 0;
    uint8_t back[3000];
    (void)state;
    hf_mutex_init(&mutex);
    EXPECT_OK(hf_pack_writer_create(&options, &writer, &err), &err);
    EXPECT_OK(hf_pack_writer_begin(writer, &begin, &err), &err);
    for (unsigned i = 0; i < 3; i++) {
        fillers[i] = (struct filler){.writer = writer, .ring = &ring, .mutex = &mutex, .number = i};
        EXPECT_OK(hf_thread_start("fill", fill_some, &fillers[i], &threads[i], &err), &err);
    }
    for (unsigned i = 0; i < 3; i++) {
        hf_thread_join(threads[i]);
    }
    EXPECT_OK(hf_pack_writer_finish(writer, &object, &err), &err);
    EXPECT_OK(hf_footer_decode(object, object.len, &need, &footer, &err), &err);
    assert_int_equal(footer.block_count, 150);
    struct hf_block_coder *coder = fixed_coder(&ring);
    for (uint32_t i = 0; i < 150; i++) {
        struct hf_stored_block block = {
            .ordinal = i,
            .plain_bytes = footer.blocks[i].plain_bytes,
            .codec = footer.blocks[i].codec,
            .stored =
                hf_bytes_of(object.data + footer.blocks[i].place, footer.blocks[i].stored_bytes),
        };
        EXPECT_OK(hf_block_open(coder, &footer.runs[0], &block, NULL, back, &err), &err);
    }
    hf_block_coder_destroy(coder);
    hf_pack_writer_destroy(writer);
    hf_mutex_fini(&mutex);
}

/* ---- objects put together from stored blocks ---- */

static void test_stored_blocks_move_unchanged_into_another_object(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_block_coder *coder = fixed_coder(&ring);
    HF_CLEANUP(hf_buf_fini) struct hf_buf pack = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_footer_fini) struct hf_footer old = {.runs = NULL};
    HF_CLEANUP(hf_footer_fini) struct hf_footer merged = {.runs = NULL};
    struct hf_object_writer *writer = NULL;
    struct hf_object_writer_options options = {
        .kind = HF_OBJECT_DATA, .job = ring.job, .max_bytes = (size_t)1 << 20};
    struct hf_bytes object;
    uint64_t need = 0;
    uint8_t back[5000];
    uint8_t wanted[5000];
    (void)state;
    fixed_pack(&ring, &pack);
    EXPECT_OK(hf_footer_decode(hf_buf_bytes(&pack), pack.len, &need, &old, &err), &err);
    EXPECT_OK(hf_object_writer_create(&options, &writer, &err), &err);
    /* The last block first: the footer is sorted all the same. */
    for (uint32_t i = 3; i > 1; i--) {
        const struct hf_footer_block *block = &old.blocks[i - 1];
        struct hf_bytes stored = hf_bytes_of(pack.data + block->place, block->stored_bytes);
        EXPECT_OK(hf_object_writer_add(writer, &old.runs[0], block, stored, &err), &err);
    }
    struct hf_pack_origin healed = old.runs[0];
    healed.salt[0] ^= 1; /* a healed pack: another salt, another run */
    EXPECT_OK(hf_object_writer_add(
                  writer, &healed, &old.blocks[2],
                  hf_bytes_of(pack.data + old.blocks[2].place, old.blocks[2].stored_bytes), &err),
              &err);
    EXPECT_OK(hf_object_writer_finish(writer, &object, &err), &err);
    EXPECT_OK(hf_footer_decode(object, object.len, &need, &merged, &err), &err);
    assert_int_equal(merged.run_count, 2);
    assert_int_equal(merged.block_count, 3);
    struct hf_address address = {.capture = 7, .pack = 5, .ordinal = 1};
    const struct hf_footer_block *found = hf_footer_find(&merged, &address);
    assert_non_null(found);
    struct hf_stored_block block = {
        .ordinal = 1,
        .plain_bytes = found->plain_bytes,
        .codec = found->codec,
        .stored = hf_bytes_of(object.data + found->place, found->stored_bytes),
    };
    EXPECT_OK(hf_block_open(coder, &merged.runs[found->run], &block, NULL, back, &err), &err);
    fill_block(wanted, 4096, 1, 1);
    assert_memory_equal(back, wanted, 4096);
    hf_object_writer_destroy(writer);
    hf_block_coder_destroy(coder);
}

static void test_a_damaged_block_is_not_copied(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    HF_CLEANUP(hf_buf_fini) struct hf_buf pack = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_footer_fini) struct hf_footer old = {.runs = NULL};
    HF_CLEANUP(hf_object_writer_destroy) struct hf_object_writer *writer = NULL;
    struct hf_object_writer_options options = {
        .kind = HF_OBJECT_DATA, .job = ring.job, .max_bytes = (size_t)1 << 20};
    uint64_t need = 0;
    (void)state;
    fixed_pack(&ring, &pack);
    EXPECT_OK(hf_footer_decode(hf_buf_bytes(&pack), pack.len, &need, &old, &err), &err);
    EXPECT_OK(hf_object_writer_create(&options, &writer, &err), &err);
    pack.data[old.blocks[1].place + 7] ^= 4;
    EXPECT_ERROR(hf_object_writer_add(
                     writer, &old.runs[0], &old.blocks[1],
                     hf_bytes_of(pack.data + old.blocks[1].place, old.blocks[1].stored_bytes),
                     &err),
                 HF_ERR_CORRUPT, "block 7/5/1: stored bytes do not match their checksum", &err);
    assert_int_equal(hf_object_writer_count(writer), 0);
}

static void test_an_object_keeps_its_limit(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    HF_CLEANUP(hf_object_writer_destroy) struct hf_object_writer *writer = NULL;
    struct hf_object_writer_options options = {
        .kind = HF_OBJECT_DATA, .job = ring.job, .max_bytes = 4096};
    (void)state;
    EXPECT_OK(hf_object_writer_create(&options, &writer, &err), &err);
    assert_true(hf_object_writer_fits(writer, 3900));
    assert_false(hf_object_writer_fits(writer, 4000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pack_holds_what_was_added),
        cmocka_unit_test(test_a_tail_that_is_too_short_says_what_is_needed),
        cmocka_unit_test(test_every_flipped_bit_of_a_footer_is_noticed),
        cmocka_unit_test(test_what_a_footer_says_is_checked_beyond_its_checksum),
        cmocka_unit_test(test_an_object_of_another_job_is_refused),
        cmocka_unit_test(test_what_is_put_is_a_pack_of_its_name),
        cmocka_unit_test(test_a_pack_is_full_at_its_target_but_takes_one_block_always),
        cmocka_unit_test(test_threads_fill_one_pack_at_once),
        cmocka_unit_test(test_stored_blocks_move_unchanged_into_another_object),
        cmocka_unit_test(test_a_damaged_block_is_not_copied),
        cmocka_unit_test(test_an_object_keeps_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
