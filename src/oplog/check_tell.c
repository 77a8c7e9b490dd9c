/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report of a check as a document, and what is read out of one again.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "oplog/check.h"
#include "os/clock.h"

static const char *const kind_words[] = {"damaged", "missing", "forged", "diverged"};

const char *hf_check_fault_word(enum hf_check_fault_kind kind)
{
    return kind_words[kind];
}

static void set_instant(struct hf_json *json, const char *key, const struct hf_optime *optime)
{
    struct hf_json *instant = hf_json_object();
    char date[HF_TIME_TEXT_BYTES];

    if (hf_optime_is_none(optime)) {
        hf_json_drop(instant);
        return;
    }
    hf_time_format(optime->seconds, date);
    hf_json_set_text(instant, "date", date);
    hf_json_set_u64(instant, "seconds", optime->seconds);
    hf_json_set_u64(instant, "increment", optime->increment);
    hf_json_set_integer(instant, "term", optime->term);
    hf_json_set_take(json, key, instant);
}

static struct hf_json *fault_to_json(const struct hf_check_fault *fault)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "kind", kind_words[fault->kind]);
    hf_json_set_text(json, "object", fault->object[0] == '\0' ? NULL : fault->object);
    hf_json_set_text(json, "text", fault->text);
    hf_json_set_bool(json, "loses", fault->loses);
    if (fault->loses) {
        set_instant(json, "lostAfter", &fault->lost_after);
        set_instant(json, "lostUntil", &fault->lost_until);
    }
    return json;
}

struct hf_json *hf_check_to_json(const struct hf_check_report *report)
{
    struct hf_json *json = hf_json_object();
    struct hf_json *faults = hf_json_array();

    hf_json_set_bool(json, "ok", report->fault_total == 0);
    hf_json_set_u64(json, "slices", report->slices);
    hf_json_set_u64(json, "entries", report->entries);
    hf_json_set_u64(json, "bytes", report->bytes);
    hf_json_set_u64(json, "faultCount", report->fault_total);
    for (size_t i = 0; i < report->fault_count; i++) {
        hf_json_append_take(faults, fault_to_json(&report->faults[i]));
    }
    hf_json_set_take(json, "faults", faults);
    return json;
}

enum hf_err hf_check_bad_from_json(const struct hf_json *json, struct hf_object_name **names,
                                   size_t *count, struct hf_error *err)
{
    const struct hf_json *faults = hf_json_get_array(json, "faults");
    HF_CLEANUP(hf_free)
    struct hf_object_name *found = hf_alloc_array(hf_json_count(faults) + 1, sizeof *found);
    struct hf_error ignored;

    *count = 0;
    if (found == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "damaged oplog slices");
    }
    for (size_t i = 0; i < hf_json_count(faults); i++) {
        const struct hf_json *fault = hf_json_at(faults, i);
        const char *kind = hf_json_get_text(fault, "kind");
        const char *object = hf_json_get_text(fault, "object");
        if (kind != NULL && object != NULL && strcmp(kind, kind_words[HF_CHECK_DAMAGED]) == 0 &&
            hf_object_name_parse(hf_str_of(object), &found[*count], &ignored) == HF_ERR_OK) {
            *count += 1;
        }
    }
    *names = HF_TAKE(found);
    return HF_ERR_OK;
}

static bool same_text(const struct hf_json *a, const struct hf_json *b, const char *key)
{
    const char *left = hf_json_get_text(a, key);
    const char *right = hf_json_get_text(b, key);

    return left == NULL || right == NULL ? left == right : strcmp(left, right) == 0;
}

bool hf_check_has_news(const struct hf_json *before, const struct hf_json *now)
{
    const struct hf_json *old = before == NULL ? NULL : hf_json_get_array(before, "faults");
    const struct hf_json *faults = hf_json_get_array(now, "faults");

    for (size_t i = 0; i < hf_json_count(faults); i++) {
        const struct hf_json *fault = hf_json_at(faults, i);
        bool known = false;
        for (size_t k = 0; k < hf_json_count(old) && !known; k++) {
            const struct hf_json *one = hf_json_at(old, k);
            known = same_text(one, fault, "kind") && same_text(one, fault, "object") &&
                    same_text(one, fault, "text");
        }
        if (!known) {
            return true;
        }
    }
    return false;
}
