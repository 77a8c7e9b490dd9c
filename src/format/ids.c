/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names are parsed field by field at fixed places and then made again: only what we would have written passes.
 */
#include "format/ids.h"

#include <inttypes.h>
#include <stdio.h>

bool hf_id_parse(struct hf_str text, struct hf_id *out)
{
    struct hf_id id;
    if (text.len != (size_t)2 * HF_ID_BYTES || !hf_hex_decode(text, id.bytes, HF_ID_BYTES)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 'A' && text.data[i] <= 'F') {
            return false;
        }
    }
    *out = id;
    return true;
}

struct hf_id_text hf_id_text(const struct hf_id *id)
{
    struct hf_id_text out;
    hf_hex_encode(hf_bytes_of(id->bytes, HF_ID_BYTES), out.text);
    return out;
}

bool hf_id_equal(const struct hf_id *a, const struct hf_id *b)
{
    return memcmp(a->bytes, b->bytes, HF_ID_BYTES) == 0;
}

bool hf_id_is_none(const struct hf_id *id)
{
    static const struct hf_id none;
    return hf_id_equal(id, &none);
}

bool hf_optime_is_none(const struct hf_optime *optime)
{
    return optime->seconds == 0 && optime->increment == 0;
}

int hf_optime_compare(const struct hf_optime *a, const struct hf_optime *b)
{
    if (a->seconds != b->seconds) {
        return a->seconds < b->seconds ? -1 : 1;
    }
    if (a->increment != b->increment) {
        return a->increment < b->increment ? -1 : 1;
    }
    if (a->term != b->term) {
        return a->term < b->term ? -1 : 1;
    }
    return 0;
}

static char kind_letter(enum hf_object_kind kind)
{
    switch (kind) {
    case HF_OBJECT_KEYS:
        return 'k';
    case HF_OBJECT_CLAIM:
        return 'c';
    case HF_OBJECT_DATA:
        return 'p';
    case HF_OBJECT_TREE:
        return 't';
    case HF_OBJECT_MANIFEST:
        return 'm';
    case HF_OBJECT_OPLOG:
        return 'o';
    case HF_OBJECT_MARK:
        break;
    }
    return '\0';
}

struct hf_object_text hf_object_prefix(enum hf_object_kind kind, const struct hf_id *job)
{
    struct hf_object_text out;
    if (kind == HF_OBJECT_MARK) {
        (void)snprintf(out.text, sizeof out.text, "holdfast/");
    } else {
        (void)snprintf(out.text, sizeof out.text, "j/%s/%c/", hf_id_text(job).text,
                       kind_letter(kind));
    }
    return out;
}

/* term + 1 is written: -1 stands for "none" and must sort first. */
static void format_optime(const struct hf_optime *optime, char out[33])
{
    HF_ASSERT(optime->term >= -1 && optime->term < INT64_MAX);
    (void)snprintf(out, 33, "%08" PRIx32 "%08" PRIx32 "%016" PRIx64, optime->seconds,
                   optime->increment, (uint64_t)(optime->term + 1));
}

struct hf_object_text hf_object_name_text(const struct hf_object_name *name)
{
    struct hf_object_text out = hf_object_prefix(name->kind, &name->job);
    size_t at = strlen(out.text);
    char *to = out.text + at;
    size_t room = sizeof out.text - at;
    switch (name->kind) {
    case HF_OBJECT_MARK:
        (void)snprintf(to, room, "%08" PRIx32, name->epoch);
        break;
    case HF_OBJECT_KEYS:
        (void)snprintf(to, room, "%08" PRIx32 "-%08" PRIx32, name->key, name->wrap);
        break;
    case HF_OBJECT_CLAIM:
        (void)snprintf(to, room, "%s", hf_id_text(&name->writer).text);
        break;
    case HF_OBJECT_DATA:
    case HF_OBJECT_TREE:
        HF_ASSERT(name->first <= name->last && name->round <= HF_ROUND_MAX);
        (void)snprintf(to, room, "%016" PRIx64 "-%016" PRIx64 "-%04" PRIx32 "-%s", name->last,
                       name->last - name->first, name->round, hf_id_text(&name->writer).text);
        break;
    case HF_OBJECT_MANIFEST:
        HF_ASSERT(name->capture <= HF_CAPTURE_MAX);
        (void)snprintf(to, room, "%010" PRIx64, name->capture);
        break;
    case HF_OBJECT_OPLOG: {
        char first[33];
        char last[33];
        HF_ASSERT(name->round <= HF_ROUND_MAX);
        format_optime(&name->first_optime, first);
        format_optime(&name->last_optime, last);
        (void)snprintf(to, room, "%s-%s-%04" PRIx32 "-%s", last, first, name->round,
                       hf_id_text(&name->writer).text);
        break;
    }
    }
    return out;
}

/* Takes the next fields off a name; remembers the first failure. */
struct name_cursor {
    struct hf_str left;
    bool failed;
};

static struct hf_str take(struct name_cursor *cursor, size_t len)
{
    if (cursor->failed || cursor->left.len < len) {
        cursor->failed = true;
        return (struct hf_str){.data = NULL, .len = 0};
    }
    struct hf_str taken = {.data = cursor->left.data, .len = len};
    cursor->left.data += len;
    cursor->left.len -= len;
    return taken;
}

static void take_char(struct name_cursor *cursor, char wanted)
{
    struct hf_str taken = take(cursor, 1);
    if (taken.len != 1 || taken.data[0] != wanted) {
        cursor->failed = true;
    }
}

static uint64_t take_hex(struct name_cursor *cursor, size_t digits)
{
    uint64_t value = 0;
    struct hf_str taken = take(cursor, digits);
    if (cursor->failed || !hf_parse_hex_u64(taken, &value)) {
        cursor->failed = true;
        return 0;
    }
    return value;
}

static void take_id(struct name_cursor *cursor, struct hf_id *out)
{
    struct hf_str taken = take(cursor, (size_t)2 * HF_ID_BYTES);
    if (cursor->failed || !hf_id_parse(taken, out)) {
        cursor->failed = true;
    }
}

static void take_optime(struct name_cursor *cursor, struct hf_optime *out)
{
    out->seconds = (uint32_t)take_hex(cursor, 8);
    out->increment = (uint32_t)take_hex(cursor, 8);
    uint64_t term = take_hex(cursor, 16);
    if (term > (uint64_t)INT64_MAX) {
        cursor->failed = true;
        term = 0;
    }
    out->term = (int64_t)term - 1;
}

static void take_round_and_writer(struct name_cursor *cursor, struct hf_object_name *out)
{
    take_char(cursor, '-');
    out->round = (uint32_t)take_hex(cursor, 4);
    take_char(cursor, '-');
    take_id(cursor, &out->writer);
}

static void take_pack_range(struct name_cursor *cursor, struct hf_object_name *out)
{
    out->last = take_hex(cursor, 16);
    take_char(cursor, '-');
    uint64_t span = take_hex(cursor, 16);
    if (span > out->last) {
        cursor->failed = true;
        span = 0;
    }
    out->first = out->last - span;
    take_round_and_writer(cursor, out);
}

static void take_job_object(struct name_cursor *cursor, struct hf_object_name *out)
{
    take_char(cursor, 'j');
    take_char(cursor, '/');
    take_id(cursor, &out->job);
    take_char(cursor, '/');
    struct hf_str letter = take(cursor, 1);
    take_char(cursor, '/');
    switch (letter.len == 1 ? letter.data[0] : '\0') {
    case 'k':
        out->kind = HF_OBJECT_KEYS;
        out->key = (uint32_t)take_hex(cursor, 8);
        take_char(cursor, '-');
        out->wrap = (uint32_t)take_hex(cursor, 8);
        break;
    case 'c':
        out->kind = HF_OBJECT_CLAIM;
        take_id(cursor, &out->writer);
        break;
    case 'p':
        out->kind = HF_OBJECT_DATA;
        take_pack_range(cursor, out);
        break;
    case 't':
        out->kind = HF_OBJECT_TREE;
        take_pack_range(cursor, out);
        break;
    case 'm':
        out->kind = HF_OBJECT_MANIFEST;
        out->capture = take_hex(cursor, 10);
        break;
    case 'o':
        out->kind = HF_OBJECT_OPLOG;
        take_optime(cursor, &out->last_optime);
        take_char(cursor, '-');
        take_optime(cursor, &out->first_optime);
        take_round_and_writer(cursor, out);
        break;
    default:
        cursor->failed = true;
        break;
    }
}

enum hf_err hf_object_name_parse(struct hf_str text, struct hf_object_name *out,
                                 struct hf_error *err)
{
    struct hf_object_name name = {.kind = HF_OBJECT_MARK};
    struct name_cursor cursor = {.left = text, .failed = false};
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_MARK, NULL);
    if (hf_str_starts_with(text, hf_str_of(prefix.text))) {
        (void)take(&cursor, strlen(prefix.text));
        name.epoch = (uint32_t)take_hex(&cursor, 8);
    } else {
        take_job_object(&cursor, &name);
    }
    if (!cursor.failed && cursor.left.len == 0) {
        struct hf_object_text again = hf_object_name_text(&name);
        if (hf_str_equal_c(text, again.text)) {
            *out = name;
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "no name of an object: %.*s",
                   (int)(text.len < 200 ? text.len : 200), text.data == NULL ? "" : text.data);
}
