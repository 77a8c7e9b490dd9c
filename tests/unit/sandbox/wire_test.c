/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: what drivers send becomes a command, what is malformed is refused.
 */
#include "sandbox/value.h"
#include "sandbox/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct message {
    uint8_t bytes[4096];
    size_t len;
};

static void put(struct message *message, const void *bytes, size_t len)
{
    memcpy(message->bytes + message->len, bytes, len);
    message->len += len;
}

static void put_le32(struct message *message, uint32_t value)
{
    uint8_t bytes[4];

    hf_store_le32(bytes, value);
    put(message, bytes, 4);
}

static struct message begin(uint32_t op)
{
    struct message message = {.len = 0};

    put_le32(&message, 0);
    put_le32(&message, 77);
    put_le32(&message, 0);
    put_le32(&message, op);
    return message;
}

static bool parse(struct message *message, struct hf_sandbox_message *out)
{
    hf_store_le32(message->bytes, (uint32_t)message->len);
    return hf_sandbox_wire_parse(hf_bytes_of(message->bytes, message->len), out);
}

static void put_body(struct message *message, const bson_t *doc)
{
    put(message, "\0", 1);
    put(message, bson_get_data(doc), doc->len);
}

static void test_a_sequence_becomes_an_array_of_the_command(void **state)
{
    bson_t *body = BCON_NEW("insert", BCON_UTF8("c"), "$db", BCON_UTF8("app"));
    bson_t *doc = BCON_NEW("_id", BCON_INT32(1));
    struct message message = begin(2013);
    struct hf_sandbox_message parsed;
    bson_value_t value;

    (void)state;
    put_le32(&message, 0);
    put_body(&message, body);
    put(&message, "\1", 1);
    put_le32(&message, (uint32_t)(4 + sizeof "documents" + 2 * doc->len));
    put(&message, "documents", sizeof "documents");
    put(&message, bson_get_data(doc), doc->len);
    put(&message, bson_get_data(doc), doc->len);
    assert_true(parse(&message, &parsed));
    assert_int_equal(parsed.request_id, 77);
    assert_string_equal(hf_sandbox_get_utf8(parsed.command, "insert", ""), "c");
    assert_true(hf_sandbox_get_path(parsed.command, "documents.1._id", &value));
    hf_sandbox_message_fini(&parsed);
    bson_destroy(body);
    bson_destroy(doc);
}

static void test_a_message_with_a_checksum_is_refused(void **state)
{
    bson_t *body = BCON_NEW("ping", BCON_INT32(1), "$db", BCON_UTF8("admin"));
    struct message message = begin(2013);
    struct hf_sandbox_message parsed;

    (void)state;
    put_le32(&message, 1);
    put_body(&message, body);
    put_le32(&message, UINT32_C(0x70cfe1b2));
    assert_false(parse(&message, &parsed));
    hf_sandbox_message_fini(&parsed);
    bson_destroy(body);
}

static void test_the_legacy_handshake_is_understood(void **state)
{
    bson_t *query = BCON_NEW("isMaster", BCON_INT32(1));
    struct message message = begin(2004);
    struct hf_sandbox_message parsed;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(4096);
    struct hf_error err;

    (void)state;
    put_le32(&message, 0);
    put(&message, "admin.$cmd", sizeof "admin.$cmd");
    put_le32(&message, 0);
    put_le32(&message, 1);
    put(&message, bson_get_data(query), query->len);
    assert_true(parse(&message, &parsed));
    assert_true(parsed.legacy);
    assert_string_equal(hf_sandbox_get_utf8(parsed.command, "$db", ""), "admin");
    assert_int_equal(hf_sandbox_wire_reply(&parsed, 5, query, &out, &err), HF_ERR_OK);
    assert_int_equal(hf_load_le32(out.data), out.len);
    assert_int_equal(hf_load_le32(out.data + 8), 77);
    assert_int_equal(hf_load_le32(out.data + 12), 1);
    assert_int_equal(hf_load_le32(out.data + 32), 1);
    hf_sandbox_message_fini(&parsed);
    bson_destroy(query);
}

static void test_every_cut_of_a_good_message_is_refused(void **state)
{
    bson_t *body = BCON_NEW("ping", BCON_INT32(1), "a", "{", "b", "[", BCON_UTF8("x"), "]", "}");
    struct message whole = begin(2013);
    struct hf_sandbox_message parsed;

    (void)state;
    put_le32(&whole, 0);
    put_body(&whole, body);
    for (size_t len = 0; len < whole.len; len++) {
        struct message cut = whole;
        cut.len = len;
        if (len >= 4) {
            assert_false(parse(&cut, &parsed));
            hf_sandbox_message_fini(&parsed);
        }
        /* And one that lies about its length. */
        assert_false(hf_sandbox_wire_parse(hf_bytes_of(whole.bytes, len), &parsed));
        hf_sandbox_message_fini(&parsed);
    }
    bson_destroy(body);
}

static void test_documents_nested_too_deeply_are_refused(void **state)
{
    bson_t *doc = bson_new();
    struct message message = begin(2013);
    struct hf_sandbox_message parsed;

    (void)state;
    for (unsigned i = 0; i < HF_SANDBOX_DOC_DEPTH_MAX + 1; i++) {
        bson_t *outer = BCON_NEW("a", BCON_DOCUMENT(doc));
        bson_destroy(doc);
        doc = outer;
    }
    put_le32(&message, 0);
    put_body(&message, doc);
    assert_false(parse(&message, &parsed));
    hf_sandbox_message_fini(&parsed);
    bson_destroy(doc);
}

static void test_a_document_inside_without_its_end_is_refused(void **state)
{
    bson_t *body = BCON_NEW("ping", BCON_INT32(1), "a", "{", "b", BCON_INT32(1), "}");
    struct message message = begin(2013);
    struct hf_sandbox_message parsed;

    (void)state;
    put_le32(&message, 0);
    put_body(&message, body);
    message.bytes[message.len - 2] = 1;
    assert_false(parse(&message, &parsed));
    hf_sandbox_message_fini(&parsed);
    bson_destroy(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sequence_becomes_an_array_of_the_command),
        cmocka_unit_test(test_a_message_with_a_checksum_is_refused),
        cmocka_unit_test(test_the_legacy_handshake_is_understood),
        cmocka_unit_test(test_every_cut_of_a_good_message_is_refused),
        cmocka_unit_test(test_documents_nested_too_deeply_are_refused),
        cmocka_unit_test(test_a_document_inside_without_its_end_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
