/* SPDX-License-Identifier: Apache-2.0 */
#include "support/format_kit.h"

#include "format/claim.h"
#include "format/storemark.h"

static void encode(const struct hf_keyring *ring, struct hf_buf *out)
{
    struct hf_error err;
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest;
    fixed_manifest(ring, &manifest);
    EXPECT_OK(hf_manifest_encode(&manifest, ring, out, &err), &err);
}

static void test_a_manifest_describes_itself(void **state)
{
    struct hf_error err;
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct hf_keyring ring = fixed_keyring(encrypted == 1);
        HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
        HF_CLEANUP(hf_manifest_fini) struct hf_manifest back = {.capture = 0};
        HF_CLEANUP(hf_manifest_fini) struct hf_manifest wanted;
        struct hf_manifest_read read;
        encode(&ring, &bytes);
        fixed_manifest(&ring, &wanted);
        EXPECT_OK(hf_manifest_decode(hf_buf_bytes(&bytes), &ring, &back, &read, &err), &err);
        assert_int_equal(read.kind, HF_MANIFEST_SNAPSHOT);
        assert_int_equal(read.seal_state, HF_SEAL_PROVED);
        assert_int_equal(back.capture, 42);
        assert_true(hf_id_equal(&back.snapshot, &wanted.snapshot));
        assert_true(hf_id_equal(&back.project, &wanted.project));
        assert_true(hf_id_equal(&back.cluster, &wanted.cluster));
        assert_string_equal(back.project_name, "Project");
        assert_string_equal(back.facts.member, "host-a.example.net:27017");
        assert_string_equal(back.facts.engine, "wiredTiger");
        assert_true(hf_json_get_bool(back.facts.engine_options, "directoryPerDB", false));
        assert_int_equal(hf_optime_compare(&back.facts.checkpoint, &wanted.facts.checkpoint), 0);
        assert_int_equal(hf_optime_compare(&back.facts.oplog_end, &wanted.facts.oplog_end), 0);
        assert_true(hf_optime_is_none(&back.facts.committed));
        assert_int_equal(back.parent, 41);
        assert_int_equal(back.adopted_count, 1);
        assert_int_equal(back.adopted[0].capture, 40);
        assert_int_equal(back.set_count, 1);
        assert_string_equal(back.sets[0].set_name, "rs0");
        assert_int_equal(back.predecessor, 41);
        assert_memory_equal(&back.predecessor_seal, &wanted.predecessor_seal,
                            sizeof back.predecessor_seal);
        assert_int_equal(back.root.list_count, 2);
        assert_int_equal(back.root.sums.files, 151);
    }
}

static void test_every_flipped_bit_is_noticed(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    (void)state;
    encode(&ring, &bytes);
    for (size_t bit = 0; bit < bytes.len * 8; bit += 3) {
        struct hf_manifest back = {.capture = 0};
        struct hf_manifest_read read;
        bytes.data[bit / 8] = (uint8_t)(bytes.data[bit / 8] ^ 1u << bit % 8);
        assert_true(hf_manifest_decode(hf_buf_bytes(&bytes), &ring, &back, &read, &err) !=
                    HF_ERR_OK);
        bytes.data[bit / 8] = (uint8_t)(bytes.data[bit / 8] ^ 1u << bit % 8);
    }
}

/* Puts the right checksum on a changed envelope. */
static void seal_envelope(struct hf_buf *bytes)
{
    hf_store_le64(bytes->data + bytes->len - 8, hf_xxh3(hf_bytes_of(bytes->data, bytes->len - 8)));
}

static void test_a_forged_manifest_is_refused(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_keyring forger = ring;
    struct hf_keyring clear = fixed_keyring(false);
    struct hf_manifest back = {.capture = 0};
    struct hf_manifest_read read;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    (void)state;
    forger.seal_key[0] ^= 1;
    encode(&forger, &bytes);
    EXPECT_ERROR(hf_manifest_decode(hf_buf_bytes(&bytes), &ring, &back, &read, &err),
                 HF_ERR_CORRUPT, "its seal does not match", &err);
    /* A forger without any key seals with a checksum, as a job without encryption does. */
    encode(&clear, &bytes);
    EXPECT_ERROR(hf_manifest_decode(hf_buf_bytes(&bytes), &ring, &back, &read, &err),
                 HF_ERR_CORRUPT, "no key sealed it", &err);
    /* Someone changes a byte and puts the transport checksum right. */
    encode(&ring, &bytes);
    bytes.data[60] ^= 1;
    seal_envelope(&bytes);
    EXPECT_ERROR(hf_manifest_decode(hf_buf_bytes(&bytes), &ring, &back, &read, &err),
                 HF_ERR_CORRUPT, "its seal does not match", &err);
}

static void test_without_the_seal_key_a_manifest_is_read_but_not_proved(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_keyring agent = ring;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest back = {.capture = 0};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest again = {.capture = 0};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest mine;
    struct hf_manifest_read read;
    (void)state;
    agent.has_seal_key = false;
    encode(&ring, &bytes);
    EXPECT_OK(hf_manifest_decode(hf_buf_bytes(&bytes), NULL, &back, &read, &err), &err);
    assert_int_equal(read.seal_state, HF_SEAL_UNCHECKED);
    EXPECT_OK(hf_manifest_decode(hf_buf_bytes(&bytes), &agent, &again, &read, &err), &err);
    assert_int_equal(read.seal_state, HF_SEAL_UNCHECKED);
    fixed_manifest(&ring, &mine);
    EXPECT_ERROR(hf_manifest_encode(&mine, &agent, &bytes, &err), HF_ERR_DENIED,
                 "the seal key is not at hand", &err);
}

static void test_a_manifest_of_another_job_or_version_is_refused(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(false);
    struct hf_keyring other = ring;
    struct hf_manifest back = {.capture = 0};
    struct hf_manifest_read read;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_MANIFEST_MAX_BYTES);
    (void)state;
    other.job.bytes[3] ^= 1;
    encode(&ring, &bytes);
    EXPECT_ERROR(hf_manifest_decode(hf_buf_bytes(&bytes), &other, &back, &read, &err),
                 HF_ERR_CORRUPT, "manifest of another job", &err);
    bytes.data[8] = 7;
    EXPECT_ERROR(hf_manifest_decode(hf_buf_bytes(&bytes), &ring, &back, &read, &err),
                 HF_ERR_UNSUPPORTED, "manifest of format version 7", &err);
    bytes.data[8] = 1;
    bytes.data[16] = 3;
    seal_envelope(&bytes);
    EXPECT_ERROR(hf_manifest_decode(hf_buf_bytes(&bytes), &ring, &back, &read, &err),
                 HF_ERR_UNSUPPORTED, "manifest of unknown kind 3", &err);
}

static void test_a_void_is_the_same_whoever_puts_it(void **state)
{
    struct hf_error err;
    struct hf_keyring ring = fixed_keyring(true);
    struct hf_manifest back = {.capture = 0};
    struct hf_manifest_read read;
    HF_CLEANUP(hf_buf_fini) struct hf_buf one = HF_BUF_INIT(4096);
    HF_CLEANUP(hf_buf_fini) struct hf_buf two = HF_BUF_INIT(4096);
    (void)state;
    EXPECT_OK(hf_void_encode(&ring.job, 42, &one, &err), &err);
    EXPECT_OK(hf_void_encode(&ring.job, 42, &two, &err), &err);
    assert_true(hf_bytes_equal(hf_buf_bytes(&one), hf_buf_bytes(&two)));
    EXPECT_OK(hf_manifest_decode(hf_buf_bytes(&one), &ring, &back, &read, &err), &err);
    assert_int_equal(read.kind, HF_MANIFEST_VOID);
    assert_int_equal(back.capture, 42);
    assert_true(hf_id_equal(&back.job, &ring.job));
}

/* ---- the small ones ---- */

static void test_a_claim_comes_back(void **state)
{
    struct hf_error err;
    struct hf_claim claim = {
        .job = fixed_id(1), .writer = fixed_id(2), .capture = 9, .started_s = 77};
    struct hf_claim back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_SMALL_OBJECT_MAX_BYTES);
    (void)state;
    EXPECT_OK(hf_claim_encode(&claim, &bytes, &err), &err);
    EXPECT_OK(hf_claim_decode(hf_buf_bytes(&bytes), &back, &err), &err);
    assert_true(hf_id_equal(&back.job, &claim.job) && hf_id_equal(&back.writer, &claim.writer));
    assert_int_equal(back.capture, 9);
    assert_int_equal(back.started_s, 77);
    bytes.data[20] ^= 1;
    EXPECT_ERROR(hf_claim_decode(hf_buf_bytes(&bytes), &back, &err), HF_ERR_CORRUPT,
                 "claim: checksum does not match", &err);
    EXPECT_ERROR(hf_claim_decode(hf_bytes_of("x", 1), &back, &err), HF_ERR_CORRUPT, "not a claim",
                 &err);
}

static void test_a_mark_names_what_a_reader_does_not_know(void **state)
{
    struct hf_error err;
    struct hf_storemark mark = {
        .store = fixed_id(1), .installation = fixed_id(2), .epoch = 3, .encrypted = true};
    struct hf_storemark back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    memset(mark.key_check.bytes, 0x61, sizeof mark.key_check.bytes);
    EXPECT_OK(hf_storemark_encode(&mark, &bytes, &err), &err);
    EXPECT_OK(hf_storemark_decode(hf_buf_bytes(&bytes), &back, &err), &err);
    assert_int_equal(back.epoch, 3);
    assert_true(back.encrypted);
    assert_true(hf_hash_equal(&back.key_check, &mark.key_check));
    assert_false(back.oplog_only);
    char *features = memmem(bytes.data, bytes.len, "\"features\":[]", 13);
    assert_non_null(features);
    /* A later release: the same length, so that the envelope fits. */
    char *format = memmem(bytes.data, bytes.len, "\"format\":1", 10);
    assert_non_null(format);
    format[9] = '2';
    seal_envelope(&bytes);
    EXPECT_ERROR(hf_storemark_decode(hf_buf_bytes(&bytes), &back, &err), HF_ERR_UNSUPPORTED,
                 "store of format 2, this program reads format 1", &err);
}

static void test_the_mark_of_an_oplog_store_says_so(void **state)
{
    struct hf_error err;
    struct hf_storemark mark = {
        .store = fixed_id(1), .installation = fixed_id(2), .epoch = 1, .oplog_only = true};
    struct hf_storemark back;
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(4096);
    (void)state;
    EXPECT_OK(hf_storemark_encode(&mark, &bytes, &err), &err);
    EXPECT_OK(hf_storemark_decode(hf_buf_bytes(&bytes), &back, &err), &err);
    assert_true(back.oplog_only);
    char *feature = memmem(bytes.data, bytes.len, "oplogOnly", 9);
    assert_non_null(feature);
    feature[0] = 'X';
    seal_envelope(&bytes);
    EXPECT_ERROR(hf_storemark_decode(hf_buf_bytes(&bytes), &back, &err), HF_ERR_UNSUPPORTED,
                 "the store uses the feature \"XplogOnly\", which this program does not know",
                 &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_manifest_describes_itself),
        cmocka_unit_test(test_every_flipped_bit_is_noticed),
        cmocka_unit_test(test_a_forged_manifest_is_refused),
        cmocka_unit_test(test_without_the_seal_key_a_manifest_is_read_but_not_proved),
        cmocka_unit_test(test_a_manifest_of_another_job_or_version_is_refused),
        cmocka_unit_test(test_a_void_is_the_same_whoever_puts_it),
        cmocka_unit_test(test_a_claim_comes_back),
        cmocka_unit_test(test_a_mark_names_what_a_reader_does_not_know),
        cmocka_unit_test(test_the_mark_of_an_oplog_store_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
