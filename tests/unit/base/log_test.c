/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of the log is one line whatever it holds, and reads as text or as JSON.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/thread.h"

struct fixture {
    int read_end;
    FILE *stream; /* the write end of a pipe: what comes at once was one write */
    char text[65536];
};

static int open_pipe(void **state)
{
    int ends[2];
    struct fixture *f = hf_alloc_zero(sizeof *f);
    if (f == NULL || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -1;
    }
    f->read_end = ends[0];
    f->stream = fdopen(ends[1], "w");
    *state = f;
    return f->stream == NULL ? -1 : 0;
}

static int close_pipe(void **state)
{
    struct fixture *f = *state;
    hf_fault_disarm_all();
    (void)fclose(f->stream);
    (void)close(f->read_end);
    hf_free(f);
    return 0;
}

/* What was written since the last call. */
static const char *written(struct fixture *f)
{
    ssize_t len = read(f->read_end, f->text, sizeof f->text - 1);
    f->text[len < 0 ? 0 : len] = '\0';
    return f->text;
}

/* Behind the time: "2026-11-25T03:31:17.123Z". */
static const char *after_time(const char *line)
{
    static const char shape[] = "0000-00-00T00:00:00.000Z";
    for (size_t i = 0; i < sizeof shape - 1; i++) {
        if (shape[i] == '0') {
            assert_in_range(line[i], '0', '9');
        } else {
            assert_int_equal(line[i], shape[i]);
        }
    }
    return line + sizeof shape - 1;
}

static void test_a_text_line_holds_time_level_event_and_fields(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_log_destroy) struct hf_log *log = hf_log_create(f->stream, HF_LOG_DEBUG, 0);
    hf_log_warn(log, "oplog.lagging", HF_STR("source", "rs0"), HF_U64("lag_s", 61));
    assert_string_equal(after_time(written(f)), " warn oplog.lagging source=rs0 lag_s=61\n");
    hf_log_debug(log, "a");
    assert_string_equal(after_time(written(f)), " debug a\n");
    hf_log_info(log, "b", HF_U64("n", UINT64_MAX));
    assert_string_equal(after_time(written(f)), " info b n=18446744073709551615\n");
    hf_log_error(log, "c", HF_STR("what", NULL));
    assert_string_equal(after_time(written(f)), " error c what=\"\"\n");
}

static void test_text_values_are_quoted_and_escaped_where_needed(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_log_destroy) struct hf_log *log = hf_log_create(f->stream, HF_LOG_DEBUG, 0);
    hf_log_info(log, "e", HF_STR("a", "two words"), HF_STR("b", "x=1"),
                HF_STR("c", "line\nbreak\ttab\r\"q\" back\\slash"));
    assert_string_equal(after_time(written(f)),
                        " info e a=\"two words\" b=\"x=1\""
                        " c=\"line\\nbreak\\ttab\\r\\\"q\\\" back\\\\slash\"\n");
    hf_log_info(log, "e", HF_STR("a", "\x1b[31m\x7f"), HF_STR("b", "caf\xC3\xA9"),
                HF_STR("c", "bad\xFF\xC3"), HF_STR("d", "\xC2\x9b"));
    assert_string_equal(after_time(written(f)),
                        " info e a=\"\\x1b[31m\\x7f\" b=\"caf\xC3\xA9\" c=\"bad\\xff\\xc3\""
                        " d=\"\\x9b\"\n");
}

static void test_a_json_line_is_one_object(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_log_destroy) struct hf_log *log = hf_log_create(f->stream, HF_LOG_INFO, 1);
    hf_log_error(log, "store.full", HF_STR("store", "s\"1\\\n\x01\x7f"), HF_U64("left", 12),
                 HF_STR("none", NULL));
    const char *line = written(f);
    assert_int_equal(strncmp(line, "{\"time\":\"", 9), 0);
    assert_string_equal(after_time(line + 9),
                        "\",\"level\":\"error\",\"event\":\"store.full\","
                        "\"store\":\"s\\\"1\\\\\\n\\u0001\\u007f\",\"left\":12,\"none\":\"\"}\n");
}

static void test_json_holds_only_utf8(void **state)
{
    static const struct {
        const char *text;
        const char *expected;
    } table[] = {
        {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
        {"\xE2\x82\xAC", "\xE2\x82\xAC"},
        {"\xC0\x80", "\\ufffd\\ufffd"},            /* overlong */
        {"\xE0\x80\x80", "\\ufffd\\ufffd\\ufffd"}, /* overlong */
        {"\xED\xA0\x80", "\\ufffd\\ufffd\\ufffd"}, /* a surrogate */
        {"\xF0\x80\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {"\xF4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"}, /* beyond U+10FFFF */
        {"\xF8", "\\ufffd"},
        {"a\xE2\x82", "a\\ufffd\\ufffd"},
        {"\xC2\x85", "\\u0085"},
    };
    struct fixture *f = *state;
    HF_CLEANUP(hf_log_destroy) struct hf_log *log = hf_log_create(f->stream, HF_LOG_INFO, 1);
    for (size_t i = 0; i < HF_ARRAY_LEN(table); i++) {
        char expected[64];
        hf_log_info(log, "e", HF_STR("t", table[i].text));
        (void)snprintf(expected, sizeof expected, "\"t\":\"%s\"}\n", table[i].expected);
        const char *line = written(f);
        assert_string_equal(line + strlen(line) - strlen(expected), expected);
    }
}

static void test_what_does_not_fit_is_left_out_whole_and_noted(void **state)
{
    struct fixture *f = *state;
    char large[9000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    HF_CLEANUP(hf_log_destroy) struct hf_log *text = hf_log_create(f->stream, HF_LOG_INFO, 0);
    HF_CLEANUP(hf_log_destroy) struct hf_log *json = hf_log_create(f->stream, HF_LOG_INFO, 1);
    hf_log_info(text, "e", HF_STR("a", "kept"), HF_STR("b", large), HF_STR("c", "late"));
    assert_string_equal(after_time(written(f)), " info e a=kept truncated=true\n");
    hf_log_info(json, "e", HF_STR("a", "kept"), HF_STR("b", large), HF_STR("c", "late"));
    assert_string_equal(
        after_time(written(f) + 9),
        "\",\"level\":\"info\",\"event\":\"e\",\"a\":\"kept\",\"truncated\":true}\n");
    large[7000] = '\0';
    hf_log_info(text, "e", HF_STR("b", large));
    assert_int_equal(strlen(written(f)), 24 + strlen(" info e b=\n") + 7000);
}

static void test_lower_levels_are_swallowed_and_so_is_no_log(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_log_destroy) struct hf_log *log = hf_log_create(f->stream, HF_LOG_WARN, 0);
    hf_log_debug(log, "e");
    hf_log_info(log, "e");
    hf_log_error(NULL, "e");
    hf_log_destroy(NULL);
    assert_string_equal(written(f), "");
    hf_log_warn(log, "e");
    assert_string_equal(after_time(written(f)), " warn e\n");
}

static void test_a_reader_that_is_gone_or_slow_does_no_harm(void **state)
{
    struct fixture *f = *state;
    HF_CLEANUP(hf_log_destroy) struct hf_log *log = hf_log_create(f->stream, HF_LOG_INFO, 0);
    errno = 77;
    for (int i = 0; i < 10000; i++) {
        hf_log_info(log, "filling.the.pipe", HF_U64("i", (uint64_t)i));
    }
    assert_int_equal(errno, 77);
    assert_int_equal(strncmp(after_time(written(f)), " info filling.the.pipe i=0\n", 27), 0);
}

static void test_a_stream_without_a_descriptor_works_too(void **state)
{
    char *text = NULL;
    size_t len = 0;
    (void)state;
    FILE *stream = open_memstream(&text, &len);
    assert_non_null(stream);
    struct hf_log *log = hf_log_create(stream, HF_LOG_INFO, 0);
    hf_log_info(log, "e", HF_U64("n", 1));
    assert_string_equal(after_time(text), " info e n=1\n");
    hf_log_destroy(log);
    (void)fclose(stream);
    free(text);
}

static void test_creation_fails_without_memory(void **state)
{
    struct fixture *f = *state;
    hf_fault_arm("base.alloc", HF_ERR_NO_MEMORY);
    assert_null(hf_log_create(f->stream, HF_LOG_INFO, 0));
}

static void log_many(void *argument)
{
    struct hf_log *log = argument;
    for (int i = 0; i < 100; i++) {
        hf_log_info(log, "thread.line", HF_STR("text", "abcdefghijklmnopqrstuvwxyz"));
    }
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    struct fixture *f = *state;
    struct hf_thread *threads[4];
    struct hf_error err;
    HF_CLEANUP(hf_log_destroy) struct hf_log *log = hf_log_create(f->stream, HF_LOG_INFO, 0);
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        assert_int_equal(hf_thread_start("logs", log_many, log, &threads[i], &err), HF_ERR_OK);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(threads); i++) {
        hf_thread_join(threads[i]);
    }
    const char *at = written(f);
    for (int i = 0; i < 400; i++) {
        const char *line = " info thread.line text=abcdefghijklmnopqrstuvwxyz\n";
        at = after_time(at);
        assert_int_equal(strncmp(at, line, strlen(line)), 0);
        at += strlen(line);
    }
    assert_int_equal(*at, '\0');
}

int main(void)
{
#define WITH_PIPE(test) cmocka_unit_test_setup_teardown(test, open_pipe, close_pipe)
    const struct CMUnitTest tests[] = {
        WITH_PIPE(test_a_text_line_holds_time_level_event_and_fields),
        WITH_PIPE(test_text_values_are_quoted_and_escaped_where_needed),
        WITH_PIPE(test_a_json_line_is_one_object),
        WITH_PIPE(test_json_holds_only_utf8),
        WITH_PIPE(test_what_does_not_fit_is_left_out_whole_and_noted),
        WITH_PIPE(test_lower_levels_are_swallowed_and_so_is_no_log),
        WITH_PIPE(test_a_reader_that_is_gone_or_slow_does_no_harm),
        cmocka_unit_test(test_a_stream_without_a_descriptor_works_too),
        WITH_PIPE(test_creation_fails_without_memory),
        WITH_PIPE(test_lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
