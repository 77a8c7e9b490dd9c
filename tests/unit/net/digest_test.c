/* SPDX-License-Identifier: Apache-2.0 */
/* Digest authentication: the vectors of rest-api 1.3, what each known client sends, and what attackers do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "codec/hash.h"
#include "net/digest.h"

#define USER "abcdefgh"
#define PASSWORD "11111111-2222-3333-4444-555555555555"
#define REALM "MMS Public API"
#define TARGET                                                                                     \
    "/api/public/v1.0/groups/64b000000000000000000001/backupConfigs?itemsPerPage=100&pageNum=1"
#define NOW_MS UINT64_C(1700000000000)
#define NONCE_CHARS 64

static bool find_user(void *context, struct hf_str user, enum hf_digest_algorithm algorithm,
                      struct hf_digest_credential *out)
{
    (void)context;
    (void)algorithm;
    return hf_str_equal_c(user, USER) &&
           hf_secret_set(&out->value, hf_bytes_of(PASSWORD, strlen(PASSWORD)));
}

static const struct hf_digest_users users = {.find = find_user};

static int set_up(void **state)
{
    const struct hf_digest_options options = {.secret = {(const uint8_t *)"a secret", 8}};
    struct hf_digest *digest = NULL;
    struct hf_error err;

    if (hf_digest_create(&options, &digest, &err) != HF_ERR_OK) {
        return -1;
    }
    *state = digest;
    return 0;
}

static int tear_down(void **state)
{
    hf_digest_destroy(*state);
    return 0;
}

static void challenge_nonce(struct hf_digest *digest, uint64_t now_ms, char nonce[NONCE_CHARS + 1])
{
    char challenge[HF_DIGEST_CHALLENGE_BYTES];

    hf_digest_challenge(digest, now_ms, false, challenge);
    const char *at = strstr(challenge, "nonce=\"");
    assert_non_null(at);
    memcpy(nonce, at + 7, NONCE_CHARS);
    nonce[NONCE_CHARS] = '\0';
}

struct answer {
    const char *nonce, *nc, *cnonce, *password, *user, *uri, *method, *algorithm;
    bool no_qop, sha256;
};

/* What a client computes, by its own code: not by the one under test. */
static void hash(bool sha256, const char *text, char out[65])
{
    struct hf_bytes bytes = hf_bytes_of(text, strlen(text));

    if (sha256) {
        hf_sha256_hex(bytes, out);
    } else {
        hf_md5_hex(bytes, out);
    }
}

static void build(const struct answer *a, char *out, size_t size)
{
    char text[2048], ha1[65], ha2[65], response[65];

    (void)snprintf(text, sizeof text, "%s:%s:%s", a->user, REALM, a->password);
    hash(a->sha256, text, ha1);
    (void)snprintf(text, sizeof text, "%s:%s", a->method, a->uri);
    hash(a->sha256, text, ha2);
    if (a->no_qop) {
        (void)snprintf(text, sizeof text, "%s:%s:%s", ha1, a->nonce, ha2);
        hash(a->sha256, text, response);
        (void)snprintf(
            out, size,
            "Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", response=\"%s\"",
            a->user, REALM, a->nonce, a->uri, response);
        return;
    }
    (void)snprintf(text, sizeof text, "%s:%s:%s:%s:auth:%s", ha1, a->nonce, a->nc, a->cnonce, ha2);
    hash(a->sha256, text, response);
    (void)snprintf(
        out, size,
        "Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", response=\"%s\", "
        "algorithm=%s, cnonce=\"%s\", qop=auth, nc=%s",
        a->user, REALM, a->nonce, a->uri, response, a->algorithm, a->cnonce, a->nc);
}

static struct answer good_answer(const char *nonce)
{
    return (struct answer){.nonce = nonce,
                           .nc = "00000001",
                           .cnonce = "00112233445566ff",
                           .password = PASSWORD,
                           .user = USER,
                           .uri = TARGET,
                           .method = "GET",
                           .algorithm = "MD5"};
}

static enum hf_digest_outcome check_at(struct hf_digest *digest, const char *header,
                                       uint64_t now_ms)
{
    const struct hf_digest_request request = {
        .method = "GET", .target = TARGET, .authorization = header, .now_ms = now_ms};
    char user[HF_DIGEST_USER_MAX_BYTES];
    const char *why = NULL;
    enum hf_digest_outcome outcome = hf_digest_check(digest, &request, &users, user, &why);

    assert_non_null(why);
    assert_string_equal(user, outcome == HF_DIGEST_ACCEPTED ? USER : "");
    return outcome;
}

static enum hf_digest_outcome check_answer(struct hf_digest *digest, const struct answer *answer)
{
    char header[2048];

    build(answer, header, sizeof header);
    return check_at(digest, header, NOW_MS);
}

/* The vectors have a nonce that is not ours: right in all but that is STALE, wrong is REFUSED. */
static void vector(struct hf_digest *digest, const char *more, const char *response, bool right)
{
    char header[1024];

    (void)snprintf(header, sizeof header,
                   "Digest username=\"" USER "\", realm=\"" REALM
                   "\", nonce=\"0123456789abcdef0123456789abcdef\", "
                   "uri=\"" TARGET "\", response=\"%s\"%s",
                   response, more);
    assert_int_equal(check_at(digest, header, NOW_MS), right ? HF_DIGEST_STALE : HF_DIGEST_REFUSED);
}

static void test_the_vectors_of_the_specification_hold(void **state)
{
    const char *qop = ", cnonce=\"00112233445566ff\", qop=auth, nc=00000001";
    const char *short_nc = ", cnonce=\"00112233445566ff\", qop=auth, nc=1";
    const char *sha256 = ", algorithm=SHA-256, cnonce=\"00112233445566ff\", qop=auth, nc=00000001";

    vector(*state, qop, "e48a3992d309c924525b0d1448730053", true);
    vector(*state, short_nc, "ac4a75c953915466c26188598ffc3de2", true);
    vector(*state, "", "6645a5540abf7895cd5a791a8b90b9f6", true);
    vector(*state, sha256, "f01ec579cf26e530121402e07ba8c99c8a0d5500700049aaebcfaacdc7b62cde",
           true);
    vector(*state, short_nc, "e48a3992d309c924525b0d1448730053", false);
    vector(*state, qop, "ac4a75c953915466c26188598ffc3de2", false);
}

static void test_the_challenge_reads_as_the_clients_need_it(void **state)
{
    char challenge[HF_DIGEST_CHALLENGE_BYTES], expected[HF_DIGEST_CHALLENGE_BYTES],
        nonce[NONCE_CHARS + 1];

    hf_digest_challenge(*state, NOW_MS, false, challenge);
    memcpy(nonce, strstr(challenge, "nonce=\"") + 7, NONCE_CHARS);
    nonce[NONCE_CHARS] = '\0';
    assert_int_equal(strspn(nonce, "0123456789abcdef"), NONCE_CHARS);
    (void)snprintf(
        expected, sizeof expected,
        "Digest realm=\"MMS Public API\", domain=\"\", nonce=\"%s\", algorithm=MD5, qop=\"auth\", "
        "stale=false",
        nonce);
    assert_string_equal(challenge, expected);
    hf_digest_challenge(*state, NOW_MS, true, challenge);
    assert_non_null(strstr(challenge, ", stale=true"));
    assert_null(strstr(challenge, nonce)); /* another one each time */
}

static void test_a_right_answer_is_accepted_once(void **state)
{
    char nonce[NONCE_CHARS + 1];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_STALE);
    answer.cnonce = "another";
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_STALE);
}

static void test_a_nonce_serves_again_with_a_rising_nc(void **state)
{
    char nonce[NONCE_CHARS + 1], nc[17];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    answer.nc = nc;
    for (unsigned i = 1; i < 300; i++) {
        (void)snprintf(nc, sizeof nc, "%08x", i);
        assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);
    }
}

/* Parallel connections of one client overtake each other. */
static void test_an_nc_that_comes_late_is_accepted_once_within_the_window(void **state)
{
    char nonce[NONCE_CHARS + 1];
    const char *order[] = {"00000005", "00000003", "00000041", "00000004"};
    const char *refused[] = {"00000003", "00000005", "00000001", "00000041"};

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    for (size_t i = 0; i < HF_ARRAY_LEN(order); i++) {
        answer.nc = order[i];
        assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(refused); i++) {
        answer.nc = refused[i];
        assert_int_equal(check_answer(*state, &answer), HF_DIGEST_STALE);
    }
    answer.nc = "ffffffffffffffff";
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);
    answer.nc = "00000042";
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_STALE);
}

static void test_the_same_nc_spelled_otherwise_is_still_used(void **state)
{
    char nonce[NONCE_CHARS + 1];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    answer.nc = "1";
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);
    answer.nc = "00000001";
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_STALE);
}

static void test_without_qop_a_nonce_serves_once(void **state)
{
    char nonce[NONCE_CHARS + 1];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    answer.no_qop = true;
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_STALE);
}

/* The Go client quotes the algorithm, others quote qop and nc. */
static void test_every_known_spelling_is_understood(void **state)
{
    const char *algorithms[] = {"MD5", "\"MD5\"", "md5"};
    char nonce[NONCE_CHARS + 1], header[2048];

    for (size_t i = 0; i < HF_ARRAY_LEN(algorithms); i++) {
        challenge_nonce(*state, NOW_MS, nonce);
        struct answer answer = good_answer(nonce);
        answer.algorithm = algorithms[i];
        assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);
    }
    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    answer.algorithm = "SHA-256";
    answer.sha256 = true;
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);

    challenge_nonce(*state, NOW_MS, nonce);
    answer = good_answer(nonce);
    build(&answer, header, sizeof header);
    memcpy(header, "dIGEST", 6);
    assert_int_equal(check_at(*state, header, NOW_MS), HF_DIGEST_ACCEPTED);
}

static void test_a_wrong_password_and_an_unknown_user_look_the_same(void **state)
{
    char nonce[NONCE_CHARS + 1];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer wrong = good_answer(nonce), unknown = good_answer(nonce);
    wrong.password = "guess";
    unknown.user = "nobody";
    assert_int_equal(check_answer(*state, &wrong), HF_DIGEST_REFUSED);
    assert_int_equal(check_answer(*state, &unknown), HF_DIGEST_REFUSED);
    /* And use nothing up. */
    struct answer right = good_answer(nonce);
    assert_int_equal(check_answer(*state, &right), HF_DIGEST_ACCEPTED);
}

static void test_an_answer_for_another_method_is_refused(void **state)
{
    char nonce[NONCE_CHARS + 1];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    answer.method = "DELETE";
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_REFUSED);
}

static void test_an_answer_for_another_target_is_malformed(void **state)
{
    char nonce[NONCE_CHARS + 1];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    answer.uri = "/api/public/v1.0/groups/64b000000000000000000001/backupConfigs";
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_MALFORMED);
}

static void test_an_old_nonce_is_stale(void **state)
{
    char nonce[NONCE_CHARS + 1], header[2048];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    build(&answer, header, sizeof header);
    assert_int_equal(check_at(*state, header, NOW_MS + 300001), HF_DIGEST_STALE);
    assert_int_equal(check_at(*state, header, NOW_MS - 300001), HF_DIGEST_STALE);
    assert_int_equal(check_at(*state, header, NOW_MS + 300000), HF_DIGEST_ACCEPTED);
}

static void test_a_forged_nonce_is_stale(void **state)
{
    char nonce[NONCE_CHARS + 1];

    challenge_nonce(*state, NOW_MS, nonce);
    nonce[0] = nonce[0] == '0' ? '1' : '0'; /* the time */
    struct answer answer = good_answer(nonce);
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_STALE);
}

static void test_servers_that_share_the_secret_accept_each_others_nonces(void **state)
{
    const struct hf_digest_options other_options = {.replay_slots = 1};
    HF_CLEANUP(hf_digest_destroy) struct hf_digest *other = NULL;
    struct hf_digest *twin = NULL;
    char nonce[NONCE_CHARS + 1];
    struct hf_error err;

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    assert_int_equal(hf_digest_create(&other_options, &other, &err), HF_ERR_OK);
    assert_int_equal(check_answer(other, &answer), HF_DIGEST_STALE);
    assert_int_equal(set_up((void **)&twin), 0);
    assert_int_equal(check_answer(twin, &answer), HF_DIGEST_ACCEPTED);
    hf_digest_destroy(twin);
}

/* With a table of four places, the first nonce of twelve was pushed out: it must not serve again. */
static void test_a_nonce_that_was_forgotten_is_stale_not_new(void **state)
{
    const struct hf_digest_options options = {.replay_slots = 4};
    HF_CLEANUP(hf_digest_destroy) struct hf_digest *digest = NULL;
    char nonces[12][NONCE_CHARS + 1];
    struct hf_error err;

    (void)state;
    assert_int_equal(hf_digest_create(&options, &digest, &err), HF_ERR_OK);
    for (size_t i = 0; i < HF_ARRAY_LEN(nonces); i++) {
        challenge_nonce(digest, NOW_MS + i, nonces[i]);
        struct answer answer = good_answer(nonces[i]);
        assert_int_equal(check_answer(digest, &answer), HF_DIGEST_ACCEPTED);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(nonces); i++) {
        struct answer answer = good_answer(nonces[i]);
        assert_int_equal(check_answer(digest, &answer), HF_DIGEST_STALE);
        answer.nc = "00000002";
        assert_int_equal(check_answer(digest, &answer),
                         i < 8 ? HF_DIGEST_STALE : HF_DIGEST_ACCEPTED);
    }
}

static void test_no_digest_is_absent(void **state)
{
    assert_int_equal(check_at(*state, NULL, NOW_MS), HF_DIGEST_ABSENT);
    assert_int_equal(check_at(*state, "", NOW_MS), HF_DIGEST_ABSENT);
    assert_int_equal(check_at(*state, "Basic YTpi", NOW_MS), HF_DIGEST_ABSENT);
    assert_int_equal(check_at(*state, "Bearer abc", NOW_MS), HF_DIGEST_ABSENT);
    assert_int_equal(check_at(*state, "Digestion a=b", NOW_MS), HF_DIGEST_ABSENT);
}

static void test_malformed_headers_are_refused(void **state)
{
    const char *headers[] = {
        "Digest  ",
        "Digest username",
        "Digest username=",
        "Digest =x",
        "Digest username=\"abc",
        "Digest username=\"abc\\",
        "Digest username=\"a\" realm=\"b\"",
        "Digest username=\"a\", username=\"b\"",
        "Digest username=a=b",
        "Digest \"username\"=a",
        "Digest ,,,,,,,",
    };

    for (size_t i = 0; i < HF_ARRAY_LEN(headers); i++) {
        if (check_at(*state, headers[i], NOW_MS) != HF_DIGEST_MALFORMED) {
            fail_msg("taken for well-formed: %s", headers[i]);
        }
    }
}

static void test_a_header_without_one_of_its_fields_is_malformed(void **state)
{
    const char *fields[] = {"username", "realm", "nonce", "uri", "response", "cnonce", "nc"};
    char nonce[NONCE_CHARS + 1], header[2048];

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    for (size_t i = 0; i < HF_ARRAY_LEN(fields); i++) {
        char name[32];
        build(&answer, header, sizeof header);
        (void)snprintf(name, sizeof name, " %s=", fields[i]);
        char *at = strstr(header, name);
        assert_non_null(at);
        at[1] = 'X';
        assert_int_equal(check_at(*state, header, NOW_MS), HF_DIGEST_MALFORMED);
    }
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_ACCEPTED);
}

static void test_values_nobody_may_send_are_malformed(void **state)
{
    char nonce[NONCE_CHARS + 1];
    const char *ncs[] = {"0", "00000000", "", "x", "11111111111111111", "-1"};
    char long_name[HF_DIGEST_USER_MAX_BYTES + 1];

    challenge_nonce(*state, NOW_MS, nonce);
    for (size_t i = 0; i < HF_ARRAY_LEN(ncs); i++) {
        struct answer answer = good_answer(nonce);
        answer.nc = ncs[i];
        assert_int_equal(check_answer(*state, &answer), HF_DIGEST_MALFORMED);
    }
    struct answer answer = good_answer(nonce);
    answer.algorithm = "MD5-sess";
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_MALFORMED);
    memset(long_name, 'u', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    answer = good_answer(nonce);
    answer.user = long_name;
    assert_int_equal(check_answer(*state, &answer), HF_DIGEST_MALFORMED);
}

static void test_a_header_beyond_the_limit_is_malformed(void **state)
{
    static char header[64 * 1024];

    memset(header, 'a', sizeof header - 1);
    memcpy(header, "Digest username=", 16);
    assert_int_equal(check_at(*state, header, NOW_MS), HF_DIGEST_MALFORMED);
}

static bool find_hash(void *context, struct hf_str user, enum hf_digest_algorithm algorithm,
                      struct hf_digest_credential *out)
{
    char ha1[65];

    hf_digest_ha1(context, algorithm, user, hf_bytes_of(PASSWORD, strlen(PASSWORD)), ha1);
    out->is_ha1 = true;
    return hf_secret_set(&out->value, hf_bytes_of(ha1, strlen(ha1)));
}

static void test_a_stored_hash_serves_as_well_as_the_password(void **state)
{
    const struct hf_digest_users hashed = {.find = find_hash, .context = *state};
    char nonce[NONCE_CHARS + 1], header[2048], user[HF_DIGEST_USER_MAX_BYTES];
    const char *why;

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    build(&answer, header, sizeof header);
    const struct hf_digest_request request = {
        .method = "GET", .target = TARGET, .authorization = header, .now_ms = NOW_MS};
    assert_int_equal(hf_digest_check(*state, &request, &hashed, user, &why), HF_DIGEST_ACCEPTED);
    assert_string_equal(why, "accepted");
}

static void test_a_realm_the_clients_cannot_read_is_refused(void **state)
{
    const char *realms[] = {"", "a,b", "a\"b", "a\\b", "a:b", "a\r\nb"};

    (void)state;
    for (size_t i = 0; i < HF_ARRAY_LEN(realms); i++) {
        const struct hf_digest_options options = {.realm = realms[i]};
        struct hf_digest *digest = NULL;
        struct hf_error err;
        assert_int_equal(hf_digest_create(&options, &digest, &err), HF_ERR_INVALID);
        assert_non_null(strstr(err.message, "digest realm: empty, too long, or with"));
        assert_null(digest);
    }
}

static void test_without_memory_nobody_gets_in_and_nothing_leaks(void **state)
{
    char nonce[NONCE_CHARS + 1], header[2048];
    const struct hf_digest_options options = {.replay_slots = 4};
    struct hf_digest *digest = NULL;
    struct hf_error err;

    challenge_nonce(*state, NOW_MS, nonce);
    struct answer answer = good_answer(nonce);
    build(&answer, header, sizeof header);
    for (uint64_t nth = 1;; nth++) {
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        enum hf_digest_outcome outcome = check_at(*state, header, NOW_MS);
        hf_fault_disarm_all();
        if (outcome == HF_DIGEST_ACCEPTED) {
            assert_true(nth > 1);
            break;
        }
        assert_true(outcome == HF_DIGEST_MALFORMED || outcome == HF_DIGEST_REFUSED);
    }
    for (uint64_t nth = 1; digest == NULL; nth++) {
        hf_fault_arm_nth("base.alloc", HF_ERR_NO_MEMORY, nth, 1);
        enum hf_err code = hf_digest_create(&options, &digest, &err);
        hf_fault_disarm_all();
        assert_true(code == (digest == NULL ? HF_ERR_NO_MEMORY : HF_ERR_OK));
    }
    hf_digest_destroy(digest);
}

#define DIGEST_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DIGEST_TEST(test_the_vectors_of_the_specification_hold),
        DIGEST_TEST(test_the_challenge_reads_as_the_clients_need_it),
        DIGEST_TEST(test_a_right_answer_is_accepted_once),
        DIGEST_TEST(test_a_nonce_serves_again_with_a_rising_nc),
        DIGEST_TEST(test_an_nc_that_comes_late_is_accepted_once_within_the_window),
        DIGEST_TEST(test_the_same_nc_spelled_otherwise_is_still_used),
        DIGEST_TEST(test_without_qop_a_nonce_serves_once),
        DIGEST_TEST(test_every_known_spelling_is_understood),
        DIGEST_TEST(test_a_wrong_password_and_an_unknown_user_look_the_same),
        DIGEST_TEST(test_an_answer_for_another_method_is_refused),
        DIGEST_TEST(test_an_answer_for_another_target_is_malformed),
        DIGEST_TEST(test_an_old_nonce_is_stale),
        DIGEST_TEST(test_a_forged_nonce_is_stale),
        DIGEST_TEST(test_servers_that_share_the_secret_accept_each_others_nonces),
        DIGEST_TEST(test_a_nonce_that_was_forgotten_is_stale_not_new),
        DIGEST_TEST(test_no_digest_is_absent),
        DIGEST_TEST(test_malformed_headers_are_refused),
        DIGEST_TEST(test_a_header_without_one_of_its_fields_is_malformed),
        DIGEST_TEST(test_values_nobody_may_send_are_malformed),
        DIGEST_TEST(test_a_header_beyond_the_limit_is_malformed),
        DIGEST_TEST(test_a_stored_hash_serves_as_well_as_the_password),
        DIGEST_TEST(test_without_memory_nobody_gets_in_and_nothing_leaks),
        DIGEST_TEST(test_a_realm_the_clients_cannot_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
