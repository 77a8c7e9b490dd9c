/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to value, by type.
 */
#include <sys/stat.h>

#include "base/alloc.h"
#include "os/fs.h"
#include "unit/config/sample.h"

static int set_up(void **state)
{
    struct sample *values = hf_alloc_zero(sizeof *values);
    *state = values;
    return values == NULL;
}

static int tear_down(void **state)
{
    hf_option_fini(&table, *state);
    hf_free(*state);
    return 0;
}

static enum hf_err set(struct sample *values, const char *name, const char *text,
                       struct hf_error *err)
{
    const struct hf_option *option = hf_option_find(&table, hf_str_of(name));
    assert_non_null(option);
    return hf_option_set(option, text, true, name, values, err);
}

static void test_sizes(void **state)
{
    struct sample *values = *state;
    struct hf_error err;
    struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"65536", 65536},
                {"512B", 512},
                {"64KiB", 65536},
                {"3 MiB", 3145728},
                {"2GiB", 2147483648},
                {"1TiB", 1099511627776},
                {"18446744073709551615", UINT64_MAX},
                {"16777215TiB", 18446742974197923840U}};
    for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
        assert_int_equal(set(values, "quota", good[i].text, &err), HF_ERR_OK);
        assert_true(values->quota == good[i].bytes);
    }
    const char *bad[] = {"",
                         "x",
                         "-1",
                         "+1",
                         "1.5GiB",
                         "1KB",
                         "1kib",
                         "1  MiB",
                         "MiB",
                         "1MiB ",
                         "18446744073709551616",
                         "16777216TiB",
                         "auto",
                         " 1"};
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        assert_int_equal(set(values, "quota", bad[i], &err), HF_ERR_INVALID);
        assert_non_null(strstr(err.message, "quota: \""));
        assert_non_null(
            strstr(err.message, "is not a size; allowed: bytes, or with KiB, MiB, GiB or TiB"));
        assert_true(values->quota == 18446742974197923840U); /* what was there stays */
    }
}

static void test_bounds_are_named_in_the_option_s_own_unit(void **state)
{
    struct sample *values = *state;
    struct hf_error err;
    assert_int_equal(set(values, "block_size_bytes", "64KiB", &err), HF_ERR_OK);
    assert_int_equal(set(values, "block_size_bytes", "16MiB", &err), HF_ERR_OK);
    assert_int_equal(set(values, "block_size_bytes", "65535", &err), HF_ERR_INVALID);
    assert_string_equal(
        err.message, "block_size_bytes: \"65535\" is too small; allowed: 64KiB to 16MiB, or auto");
    assert_int_equal(set(values, "block_size_bytes", "17MiB", &err), HF_ERR_INVALID);
    assert_string_equal(
        err.message, "block_size_bytes: \"17MiB\" is too large; allowed: 64KiB to 16MiB, or auto");
    assert_int_equal(values->block_size_bytes, 16777216);
    assert_int_equal(set(values, "block_size_bytes", "auto", &err), HF_ERR_OK);
    assert_int_equal(values->block_size_bytes, 0);
}

static void test_durations(void **state)
{
    struct sample *values = *state;
    struct hf_error err;
    struct {
        const char *text;
        uint64_t seconds;
    } good[] = {{"90", 90}, {"90s", 90}, {"15m", 900}, {"2h", 7200}, {"1d", 86400}, {"2 h", 7200}};
    for (size_t i = 0; i < HF_ARRAY_LEN(good); i++) {
        assert_int_equal(set(values, "lag_warn", good[i].text, &err), HF_ERR_OK);
        assert_int_equal(values->lag_warn, good[i].seconds);
    }
    const char *bad[] = {"", "m", "1w", "1ms", "1h30m", "0", "0s", "2d", "86401", "1MiB"};
    for (size_t i = 0; i < HF_ARRAY_LEN(bad); i++) {
        assert_int_equal(set(values, "lag_warn", bad[i], &err), HF_ERR_INVALID);
        assert_non_null(strstr(err.message, "1s to 1d"));
    }
}

static void test_numbers(void **state)
{
    struct sample *values = *state;
    struct hf_error err;
    assert_int_equal(set(values, "workers", "64", &err), HF_ERR_OK);
    assert_int_equal(values->workers, 64);
    assert_int_equal(set(values, "workers", "65", &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "workers: \"65\" is too large; allowed: 1 to 64");
    assert_int_equal(set(values, "workers", "0", &err), HF_ERR_INVALID);
    assert_int_equal(set(values, "workers", "4s", &err), HF_ERR_INVALID);
    assert_int_equal(set(values, "workers", "0x10", &err), HF_ERR_INVALID);
}

static void test_flags(void **state)
{
    struct sample *values = *state;
    struct hf_error err;
    const char *yes[] = {"true", "yes", "on", "1"};
    const char *no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(set(values, "verbose", yes[i], &err), HF_ERR_OK);
        assert_true(values->verbose);
        assert_int_equal(set(values, "verbose", no[i], &err), HF_ERR_OK);
        assert_false(values->verbose);
    }
    assert_int_equal(set(values, "verbose", "True", &err), HF_ERR_INVALID);
    assert_int_equal(set(values, "verbose", "", &err), HF_ERR_INVALID);
}

static void test_texts(void **state)
{
    struct sample *values = *state;
    struct hf_error err;
    char text[66];
    memset(text, 'x', sizeof text);
    text[64] = '\0';
    assert_int_equal(set(values, "listen", text, &err), HF_ERR_OK);
    text[64] = 'x';
    text[65] = '\0';
    assert_int_equal(set(values, "listen", text, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "is too long; allowed: 1 to 64 characters"));
    assert_int_equal(strlen(values->listen), 64);
    assert_int_equal(set(values, "listen", "a\nb", &err), HF_ERR_INVALID);
    assert_string_equal(err.message,
                        "listen: \"a?b\" holds a control character; allowed: printable "
                        "text, 1 to 64 characters");
    assert_int_equal(set(values, "data_dir", "\xc3\xa4", &err), HF_ERR_OK);
    HF_CLEANUP(hf_free) char *huge = hf_alloc(65538);
    assert_non_null(huge);
    memset(huge, 'x', 65537);
    huge[65537] = '\0';
    assert_int_equal(set(values, "data_dir", huge, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "x...\" is too long; allowed: at most 65536 characters"));
}

static void test_a_list_is_replaced_whole_or_not_at_all(void **state)
{
    struct sample *values = *state;
    struct hf_error err;
    const struct hf_option *option = hf_option_find(&table, hf_str_of("member"));
    assert_int_equal(set(values, "member", "a,b", &err), HF_ERR_OK);
    assert_int_equal(hf_option_append(option, "c,d", "member", values, &err), HF_ERR_OK);
    assert_int_equal(values->member.count, 3);
    assert_string_equal(values->member.values[2], "c,d");
    assert_int_equal(set(values, "member", "x,\x01", &err), HF_ERR_INVALID);
    assert_int_equal(values->member.count, 3);
    assert_int_equal(hf_option_set(option, "x,y", false, "member", values, &err), HF_ERR_OK);
    assert_int_equal(values->member.count, 1);
    assert_string_equal(values->member.values[0], "x,y");
    assert_int_equal(set(values, "member", "", &err), HF_ERR_OK);
    assert_int_equal(values->member.count, 0);
    for (int i = 0; i < 1024; i++) {
        assert_int_equal(hf_option_append(option, "m", "member", values, &err), HF_ERR_OK);
    }
    assert_int_equal(hf_option_append(option, "m", "member", values, &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "allowed: at most 1024"));
}

struct secret_case {
    const char *content;
    uint32_t mode;
    enum hf_err code;
    const char *message; /* or the secret */
};

static void test_secrets_come_from_files_that_only_the_owner_reads(void **state)
{
    struct sample *values = *state;
    struct hf_error err;
    HF_CLEANUP(hf_free) char *dir = NULL;
    assert_int_equal(hf_fs_make_temp_dir("hf-secret", &dir, &err), HF_ERR_OK);
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, "key");
    const struct secret_case cases[] = {
        {"hunter2\n", 0600, HF_ERR_OK, "hunter2"},
        {" \t hunter 3 \r\n\n", 0400, HF_ERR_OK, "hunter 3"},
        {"x", 0640, HF_ERR_DENIED,
         "has mode 640, others may read or change it; allowed: 600 or less"},
        {"x", 0604, HF_ERR_DENIED, "hint: chmod 600 "},
        {"x", 0620, HF_ERR_DENIED, "mode 620"},
        {" \n", 0600, HF_ERR_INVALID, "is empty"},
        {"", 0600, HF_ERR_INVALID, "is empty"},
    };
    for (size_t i = 0; i < HF_ARRAY_LEN(cases); i++) {
        const struct secret_case *c = &cases[i];
        assert_int_equal(
            hf_fs_publish_replace(path, hf_bytes_of_str(hf_str_of(c->content)), 0600, &err),
            HF_ERR_OK);
        assert_int_equal(chmod(path, c->mode), 0);
        assert_int_equal(set(values, "key_file", path, &err), c->code);
        if (c->code == HF_ERR_OK) {
            assert_string_equal(values->key_file.path, path);
            assert_true(hf_bytes_equal(
                hf_bytes_of(values->key_file.secret.data, values->key_file.secret.len),
                hf_bytes_of_str(hf_str_of(c->message))));
        } else {
            assert_non_null(strstr(err.message, c->message));
            assert_non_null(strstr(err.message, "key_file: "));
            assert_non_null(strstr(err.message, path));
            assert_null(strstr(err.message, "hunter"));
            assert_int_equal(values->key_file.secret.len, 8); /* the one before stays */
        }
    }
    uint8_t large[HF_SECRET_MAX_BYTES + 2];
    memset(large, 'k', sizeof large);
    large[HF_SECRET_MAX_BYTES] = '\n';
    assert_int_equal(
        hf_fs_publish_replace(path, hf_bytes_of(large, HF_SECRET_MAX_BYTES + 1), 0600, &err),
        HF_ERR_OK);
    assert_int_equal(set(values, "key_file", path, &err), HF_ERR_OK);
    assert_int_equal(values->key_file.secret.len, HF_SECRET_MAX_BYTES);
    large[HF_SECRET_MAX_BYTES] = 'k';
    assert_int_equal(
        hf_fs_publish_replace(path, hf_bytes_of(large, HF_SECRET_MAX_BYTES + 1), 0600, &err),
        HF_ERR_OK);
    assert_int_equal(set(values, "key_file", path, &err), HF_ERR_LIMIT);
    assert_int_equal(set(values, "key_file", dir, &err), HF_ERR_INVALID);
    assert_int_equal(hf_fs_remove_tree(dir, &err), HF_ERR_OK);
    assert_int_equal(set(values, "key_file", path, &err), HF_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "key_file: "));
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_sizes),
        WITH(test_bounds_are_named_in_the_option_s_own_unit),
        WITH(test_durations),
        WITH(test_numbers),
        WITH(test_flags),
        WITH(test_texts),
        WITH(test_a_list_is_replaced_whole_or_not_at_all),
        WITH(test_secrets_come_from_files_that_only_the_owner_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
