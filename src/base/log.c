/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line an event, built in a buffer on the stack and given to the system in one write,
 * so that lines of several threads and processes never mix. It allocates nothing, because it is
 * needed most when memory runs out.
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"

#define LINE_BYTES 8192
/* Kept free at the end for the note that something was left out, and the line's end. */
#define TAIL_BYTES 32

struct hf_log {
    FILE *stream; /* borrowed: outlives the log */
    atomic_uint lowest;
    bool json;
};

struct line {
    char text[LINE_BYTES];
    size_t len;
    bool cut; /* something did not fit; nothing is added any more */
};

struct hf_log *hf_log_create(FILE *stream, enum hf_log_level lowest, int json)
{
    struct hf_log *log = hf_alloc_zero(sizeof *log);
    if (log != NULL) {
        log->stream = stream;
        atomic_store(&log->lowest, lowest);
        log->json = json != 0;
    }
    return log;
}

void hf_log_set_level(struct hf_log *log, enum hf_log_level lowest)
{
    atomic_store(&log->lowest, lowest);
}

void hf_log_destroy(struct hf_log *log)
{
    hf_free(log);
}

static void add(struct line *line, const char *bytes, size_t len)
{
    if (line->cut || len > sizeof line->text - TAIL_BYTES - line->len) {
        line->cut = true;
        return;
    }
    memcpy(line->text + line->len, bytes, len);
    line->len += len;
}

static void add_text(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

/* Length of the well-formed UTF-8 character at text (NUL ends the text), 0 for a byte that begins
 * none. */
static size_t utf8_length(const unsigned char *text)
{
    unsigned char first = text[0];
    size_t len = first < 0x80   ? 1
                 : first < 0xC2 ? 0
                 : first < 0xE0 ? 2
                 : first < 0xF0 ? 3
                 : first < 0xF5 ? 4
                                : 0;
    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    /* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
    if ((first == 0xE0 && text[1] < 0xA0) || (first == 0xED && text[1] > 0x9F) ||
        (first == 0xF0 && text[1] < 0x90) || (first == 0xF4 && text[1] > 0x8F)) {
        return 0;
    }
    return len;
}

/* U+0080 to U+009F steer terminals too. */
static bool is_control(const unsigned char *at, size_t len)
{
    return (len == 1 && (at[0] < 0x20 || at[0] == 0x7F)) ||
           (len == 2 && at[0] == 0xC2 && at[1] < 0xA0);
}

static void add_escaped(struct line *line, const char *text, bool json)
{
    const unsigned char *at = (const unsigned char *)text;
    char escape[8];

    while (*at != '\0' && !line->cut) {
        size_t len = utf8_length(at);
        if (len == 0) {
            /* JSON cannot hold a stray byte; a line for people shows which one it was. */
            (void)snprintf(escape, sizeof escape, json ? "\\ufffd" : "\\x%02x", *at);
            len = 1;
        } else if (*at == '"' || *at == '\\') {
            (void)snprintf(escape, sizeof escape, "\\%c", *at);
        } else if (*at == '\n' || *at == '\t' || *at == '\r') {
            (void)snprintf(escape, sizeof escape, "\\%c",
                           *at == '\n'   ? 'n'
                           : *at == '\t' ? 't'
                                         : 'r');
        } else if (is_control(at, len)) {
            (void)snprintf(escape, sizeof escape, json ? "\\u%04x" : "\\x%02x",
                           (unsigned)at[len - 1]);
        } else {
            add(line, (const char *)at, len);
            at += len;
            continue;
        }
        add_text(line, escape);
        at += len;
    }
}

static void add_quoted(struct line *line, const char *text, bool json)
{
    add_text(line, "\"");
    add_escaped(line, text, json);
    add_text(line, "\"");
}

static bool needs_quotes(const char *text)
{
    if (*text == '\0') {
        return true;
    }
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at <= ' ' || *at >= 0x7F || *at == '"' || *at == '=' || *at == '\\') {
            return true;
        }
    }
    return false;
}

static void add_field(struct line *line, const struct hf_log_field *field, bool json)
{
    char number[24];
    size_t before = line->len;
    const char *text = field->text == NULL ? "" : field->text;

    if (line->cut) {
        return;
    }
    if (json) {
        add_text(line, ",");
        add_quoted(line, field->name, true);
        add_text(line, ":");
    } else {
        add_text(line, " ");
        add_escaped(line, field->name, false);
        add_text(line, "=");
    }
    if (field->type == HF_LOG_NUMBER) {
        (void)snprintf(number, sizeof number, "%" PRIu64, field->number);
        add_text(line, number);
    } else if (json || needs_quotes(text)) {
        add_quoted(line, text, json);
    } else {
        add_text(line, text);
    }
    if (line->cut) {
        line->len = before; /* a field is there whole or not at all */
    }
}

static void add_head(struct line *line, enum hf_log_level level, const char *event, bool json)
{
    static const char *const level_names[] = {[HF_LOG_DEBUG] = "debug",
                                              [HF_LOG_INFO] = "info",
                                              [HF_LOG_WARN] = "warn",
                                              [HF_LOG_ERROR] = "error"};
    struct timespec now;
    struct tm parts;
    char day[32], stamp[48];

    HF_ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    HF_ASSERT(gmtime_r(&now.tv_sec, &parts) != NULL);
    (void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(stamp, sizeof stamp, "%s.%03dZ", day, (int)(now.tv_nsec / 1000000));
    if (json) {
        add_text(line, "{\"time\":\"");
        add_text(line, stamp);
        add_text(line, "\",\"level\":\"");
        add_text(line, level_names[level]);
        add_text(line, "\",\"event\":");
        add_quoted(line, event, true);
    } else {
        add_text(line, stamp);
        add_text(line, " ");
        add_text(line, level_names[level]);
        add_text(line, " ");
        add_escaped(line, event, false);
    }
}

static void write_line(struct hf_log *log, const struct line *line)
{
    int fd = fileno(log->stream);
    size_t at = 0;

    if (fd < 0) {
        /* A stream without a descriptor (memory, in a test). Nobody is left to tell about a failure
         * here. */
        (void)fwrite(line->text, 1, line->len, log->stream);
        (void)fflush(log->stream);
        return;
    }
    while (at < line->len) {
        ssize_t written = write(fd, line->text + at, line->len - at);
        if (written == 0 || (written < 0 && errno != EINTR)) {
            return; /* a log that cannot be written has nowhere to say so */
        }
        at += written > 0 ? (size_t)written : 0;
    }
}

void hf_log_event(struct hf_log *log, enum hf_log_level level, const char *event,
                  const struct hf_log_field *fields)
{
    if (log == NULL || (unsigned)level < atomic_load(&log->lowest)) {
        return;
    }
    int errno_before = errno;
    struct line line;
    line.len = 0;
    line.cut = false;
    add_head(&line, level, event, log->json);
    HF_ASSERT(!line.cut); /* event names are short words of ours */
    for (const struct hf_log_field *field = fields; field->type != HF_LOG_END; field++) {
        add_field(&line, field, log->json);
    }
    const char *tail = log->json ? (line.cut ? ",\"truncated\":true}\n" : "}\n")
                                 : (line.cut ? " truncated=true\n" : "\n");
    size_t tail_len = strlen(tail);
    HF_ASSERT(tail_len <= sizeof line.text - line.len);
    memcpy(line.text + line.len, tail, tail_len);
    line.len += tail_len;
    write_line(log, &line);
    errno = errno_before;
}
