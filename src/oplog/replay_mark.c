/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a replay came, as a file in the directory that it works on: who restores the directory anew removes it with
 * everything else, and nobody else needs to know of it. Must not know what the phases do.
 */
#include <string.h>

#include "base/alloc.h"
#include "oplog/replay_internal.h"
#include "os/fs.h"

#define MARK_MAX ((size_t)4096)
#define FORMAT 1

static const char *const words[] = {[HF_REPLAY_FRESH] = "fresh",
                                    [HF_REPLAY_FILLING] = "filling",
                                    [HF_REPLAY_RECOVERING] = "recovering",
                                    [HF_REPLAY_RECOVERED] = "recovered",
                                    [HF_REPLAY_DONE] = "done"};

struct hf_replay_mark hf_replay_mark_of(const struct hf_replay_point *point)
{
    return (struct hf_replay_mark){
        .phase = HF_REPLAY_FRESH,
        .checkpoint = point->checkpoint,
        .last = point->last,
        .truncate_after = point->truncate_after,
    };
}

bool hf_replay_mark_same_point(const struct hf_replay_mark *a, const struct hf_replay_mark *b)
{
    return hf_optime_compare_ts(&a->checkpoint, &b->checkpoint) == 0 &&
           hf_optime_equal(&a->last, &b->last) &&
           hf_optime_compare_ts(&a->truncate_after, &b->truncate_after) == 0;
}

static void set_optime(struct hf_json *object, const char *key, const struct hf_optime *optime)
{
    struct hf_json *value = hf_json_object();

    hf_json_set_u64(value, "seconds", optime->seconds);
    hf_json_set_u64(value, "increment", optime->increment);
    hf_json_set_integer(value, "term", optime->term);
    hf_json_set_take(object, key, value);
}

static enum hf_err need_optime(const struct hf_json *object, const char *key, struct hf_optime *out,
                               struct hf_error *err)
{
    struct hf_json *value;
    uint64_t seconds;
    uint64_t increment;

    if (hf_json_need_object(object, key, &value, err) != HF_ERR_OK ||
        hf_json_need_u64(value, "seconds", 0, UINT32_MAX, &seconds, err) != HF_ERR_OK ||
        hf_json_need_u64(value, "increment", 0, UINT32_MAX, &increment, err) != HF_ERR_OK) {
        return hf_wrap(err, "%s", key);
    }
    *out = (struct hf_optime){.seconds = (uint32_t)seconds,
                              .increment = (uint32_t)increment,
                              .term = hf_json_get_integer(value, "term", -1)};
    return HF_ERR_OK;
}

static enum hf_err decode(const struct hf_json *json, struct hf_replay_mark *out,
                          struct hf_error *err)
{
    const char *phase;
    uint64_t format;

    if (hf_json_type(json) != HF_JSON_OBJECT) {
        return hf_fail(err, HF_ERR_INVALID, "no object");
    }
    if (hf_json_need_u64(json, "format", FORMAT, FORMAT, &format, err) != HF_ERR_OK ||
        hf_json_need_text(json, "phase", &phase, err) != HF_ERR_OK ||
        need_optime(json, "checkpoint", &out->checkpoint, err) != HF_ERR_OK ||
        need_optime(json, "last", &out->last, err) != HF_ERR_OK ||
        need_optime(json, "truncateAfter", &out->truncate_after, err) != HF_ERR_OK ||
        need_optime(json, "top", &out->top, err) != HF_ERR_OK) {
        return err->code;
    }
    out->applies = hf_json_get_bool(json, "applies", true);
    out->many = hf_json_get_bool(json, "many", false);
    for (size_t i = HF_REPLAY_FILLING; i < HF_ARRAY_LEN(words); i++) {
        if (strcmp(words[i], phase) == 0) {
            out->phase = (enum hf_replay_phase)i;
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "phase \"%s\"", phase);
}

enum hf_err hf_replay_mark_read(const char *dbpath, struct hf_replay_mark *out,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(dbpath, HF_REPLAY_MARK);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(MARK_MAX);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_replay_mark mark = {.phase = HF_REPLAY_FRESH};

    *out = mark;
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", dbpath);
    }
    enum hf_err result = hf_fs_read_whole(path, MARK_MAX, &text, err);
    if (result == HF_ERR_NOT_FOUND) {
        return HF_ERR_OK;
    }
    if (result == HF_ERR_OK) {
        struct hf_str content = {(const char *)text.data, text.len};
        result = hf_json_decode(content, MARK_MAX, &json, err);
    }
    if (result == HF_ERR_OK) {
        result = decode(json, &mark, err);
    }
    if (result == HF_ERR_INVALID || result == HF_ERR_LIMIT) {
        struct hf_error why = *err;
        return hf_fail(err, HF_ERR_LOST,
                       "%s tells how far an earlier replay came and cannot be read: %s; hint: "
                       "restore the directory anew",
                       path, why.message);
    }
    if (result == HF_ERR_OK) {
        *out = mark;
    }
    return result;
}

enum hf_err hf_replay_mark_write(const char *dbpath, const struct hf_replay_mark *mark,
                                 struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(dbpath, HF_REPLAY_MARK);
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(MARK_MAX);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", dbpath);
    }
    hf_json_set_u64(json, "format", FORMAT);
    hf_json_set_text(json, "phase", words[mark->phase]);
    set_optime(json, "checkpoint", &mark->checkpoint);
    set_optime(json, "last", &mark->last);
    set_optime(json, "truncateAfter", &mark->truncate_after);
    set_optime(json, "top", &mark->top);
    hf_json_set_bool(json, "applies", mark->applies);
    hf_json_set_bool(json, "many", mark->many);
    if (hf_json_encode(json, 1, &text, err) != HF_ERR_OK ||
        hf_fs_publish_replace(path, hf_buf_bytes(&text), 0600, err) != HF_ERR_OK) {
        return hf_wrap(err, "note how far the replay came");
    }
    return HF_ERR_OK;
}

enum hf_err hf_replay_forget(const char *dbpath, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(dbpath, HF_REPLAY_MARK);

    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s", dbpath);
    }
    enum hf_err result = hf_fs_remove(path, err);
    return result == HF_ERR_NOT_FOUND ? HF_ERR_OK : result;
}
