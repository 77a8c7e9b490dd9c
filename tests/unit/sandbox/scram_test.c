/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM against the exchanges of the RFCs' own examples where they fix the server's nonce, and against itself.
 */
#include "sandbox/server_internal.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/base64.h"

struct client {
    uint8_t salted[32];
    const EVP_MD *md;
    size_t len;
};

static void client_hmac(const struct client *client, const uint8_t *key, const char *text,
                        uint8_t *out)
{
    unsigned len = 0;

    assert_non_null(
        HMAC(client->md, key, (int)client->len, (const uint8_t *)text, strlen(text), out, &len));
}

/* The client's last message for a password, from the server's challenge. */
static char *client_final(const char *password, const char *first_bare, const char *challenge)
{
    struct client client = {.md = EVP_sha256(), .len = 32};
    const char *salt_at = strstr(challenge, ",s=") + 3;
    const char *rounds_at = strstr(challenge, ",i=") + 3;
    uint8_t salt[64], key[32], stored[32], signature[32];
    char proof[HF_BASE64_LEN(32) + 1];
    size_t salt_len = 0;
    uint64_t rounds = 0;
    struct hf_error err;

    assert_int_equal(hf_base64_decode((struct hf_str){salt_at, (size_t)(rounds_at - 3 - salt_at)},
                                      salt, sizeof salt, &salt_len, &err),
                     HF_ERR_OK);
    assert_true(hf_parse_u64(hf_str_of(rounds_at), &rounds));
    assert_int_equal(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)salt_len,
                                       (int)rounds, client.md, 32, client.salted),
                     1);
    char *without =
        hf_asprintf("c=biws,%.*s", (int)(strstr(challenge, ",s=") - challenge), challenge);
    char *message = hf_asprintf("%s,%s,%s", first_bare, challenge, without);
    client_hmac(&client, client.salted, "Client Key", key);
    assert_int_equal(EVP_Digest(key, 32, stored, NULL, client.md, NULL), 1);
    client_hmac(&client, stored, message, signature);
    for (size_t i = 0; i < 32; i++) {
        key[i] ^= signature[i];
    }
    hf_base64_encode(hf_bytes_of(key, 32), proof);
    char *final = hf_asprintf("%s,p=%s", without, proof);
    hf_free(without);
    hf_free(message);
    return final;
}

static bool log_in(const char *stored_password, const char *password)
{
    const char *first = "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL";
    bson_t all = BSON_INITIALIZER;
    char challenge[HF_SANDBOX_SCRAM_TEXT_BYTES], last[HF_SANDBOX_SCRAM_TEXT_BYTES];
    struct hf_sandbox_scram scram;

    assert_true(hf_sandbox_scram_start(&scram, "SCRAM-SHA-256", hf_bytes_of(first, strlen(first))));
    assert_string_equal(scram.user, "user");
    hf_sandbox_scram_append_credentials(&all, "user", stored_password);
    assert_true(hf_sandbox_scram_challenge(&scram, &all, challenge));
    char *final = client_final(password, first + 3, challenge);
    bool good = hf_sandbox_scram_finish(&scram, hf_bytes_of(final, strlen(final)), last);
    assert_true(!good || strncmp(last, "v=", 2) == 0);
    assert_false(hf_sandbox_scram_finish(&scram, hf_bytes_of(final, strlen(final)), last));
    hf_free(final);
    bson_destroy(&all);
    return good;
}

static void test_the_right_password_is_let_in_and_a_wrong_one_is_not(void **state)
{
    (void)state;
    assert_true(log_in("pencil", "pencil"));
    assert_false(log_in("pencil", "pencil "));
}

static void test_stored_credentials_have_the_recorded_form(void **state)
{
    bson_t all = BSON_INITIALIZER;
    bson_value_t value;

    (void)state;
    hf_sandbox_scram_append_credentials(&all, "u", "p");
    assert_true(hf_sandbox_get_path(&all, "credentials.SCRAM-SHA-1.iterationCount", &value));
    assert_int_equal(value.value.v_int32, 10000);
    assert_true(hf_sandbox_get_path(&all, "credentials.SCRAM-SHA-256.storedKey", &value));
    assert_int_equal(value.value.v_utf8.len, 44);
    assert_true(hf_sandbox_get_path(&all, "credentials.SCRAM-SHA-1.salt", &value));
    assert_int_equal(value.value.v_utf8.len, 24);
    bson_destroy(&all);
}

static void test_malformed_first_messages_start_nothing(void **state)
{
    static const char *const bad[] = {"",
                                      "n,,",
                                      "n,,n=u",
                                      "y,,n=u,r=abcdefghijk",
                                      "n,,n=,r=abcdefghijk",
                                      "n,,n=u,r=a",
                                      "n,,n=u=,r=abcdefghijk",
                                      "n,,n=u=XX,r=abcdefghijk"};
    struct hf_sandbox_scram scram;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(
            hf_sandbox_scram_start(&scram, "SCRAM-SHA-256", hf_bytes_of(bad[i], strlen(bad[i]))));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_right_password_is_let_in_and_a_wrong_one_is_not),
        cmocka_unit_test(test_stored_credentials_have_the_recorded_form),
        cmocka_unit_test(test_malformed_first_messages_start_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
