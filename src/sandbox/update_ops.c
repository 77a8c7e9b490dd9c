/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operators of updates, each from one old value to a new one. Documents and paths are update.c's.
 */
#include "sandbox/update_ops.h"

#include <string.h>

#include "sandbox/match.h"

struct op_row {
    const char *name;
    enum hf_sandbox_update_op op;
};

static const struct op_row op_rows[] = {
    {"$set", HF_SANDBOX_UPDATE_SET},
    {"$setOnInsert", HF_SANDBOX_UPDATE_SET_ON_INSERT},
    {"$unset", HF_SANDBOX_UPDATE_UNSET},
    {"$inc", HF_SANDBOX_UPDATE_INC},
    {"$mul", HF_SANDBOX_UPDATE_MUL},
    {"$min", HF_SANDBOX_UPDATE_MIN},
    {"$max", HF_SANDBOX_UPDATE_MAX},
    {"$push", HF_SANDBOX_UPDATE_PUSH},
    {"$addToSet", HF_SANDBOX_UPDATE_ADD_TO_SET},
    {"$pull", HF_SANDBOX_UPDATE_PULL},
    {"$pullAll", HF_SANDBOX_UPDATE_PULL_ALL},
    {"$pop", HF_SANDBOX_UPDATE_POP},
    {"$currentDate", HF_SANDBOX_UPDATE_CURRENT_DATE},
    {"$rename", HF_SANDBOX_UPDATE_RENAME_TO},
};

bool hf_sandbox_update_op_named(const char *name, enum hf_sandbox_update_op *out)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(op_rows); i++) {
        if (strcmp(op_rows[i].name, name) == 0) {
            *out = op_rows[i].op;
            return true;
        }
    }
    return false;
}

static const char *name_of(enum hf_sandbox_update_op op)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(op_rows); i++) {
        if (op_rows[i].op == op) {
            return op_rows[i].name;
        }
    }
    return "?";
}

static double combine_doubles(char operation, double a, double b)
{
    return operation == '+' ? a + b : operation == '-' ? a - b : operation == '*' ? a * b : a / b;
}

int32_t hf_sandbox_arithmetic(char operation, const bson_value_t *a, const bson_value_t *b,
                              bson_value_t *out, struct hf_sandbox_refusal *no)
{
    int64_t x;
    int64_t y;
    int64_t result;
    bool overflow;

    if (!hf_sandbox_is_number(a) || !hf_sandbox_is_number(b)) {
        return hf_sandbox_refuse(
            no, HF_SANDBOX_TYPE_MISMATCH, "only numbers are allowed, not %s",
            hf_sandbox_type_name((hf_sandbox_is_number(a) ? b : a)->value_type));
    }
    if (a->value_type == BSON_TYPE_DECIMAL128 || b->value_type == BSON_TYPE_DECIMAL128) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "arithmetic on decimals is not in the sandbox");
    }
    if (operation == '/' || a->value_type == BSON_TYPE_DOUBLE ||
        b->value_type == BSON_TYPE_DOUBLE) {
        *out = hf_sandbox_value_of_double(
            combine_doubles(operation, hf_sandbox_as_double(a), hf_sandbox_as_double(b)));
        return 0;
    }
    (void)hf_sandbox_as_int64(a, &x);
    (void)hf_sandbox_as_int64(b, &y);
    overflow = operation == '+'   ? __builtin_add_overflow(x, y, &result)
               : operation == '-' ? __builtin_sub_overflow(x, y, &result)
                                  : __builtin_mul_overflow(x, y, &result);
    if (overflow) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "integer overflow");
    }
    /* Two ints stay an int while the result fits. */
    if (a->value_type == BSON_TYPE_INT32 && b->value_type == BSON_TYPE_INT32 &&
        result >= INT32_MIN && result <= INT32_MAX) {
        *out = hf_sandbox_value_of_int32((int32_t)result);
    } else {
        *out = hf_sandbox_value_of_int64(result);
    }
    return 0;
}

static int32_t compute_arithmetic(const struct hf_sandbox_update_step *step,
                                  struct hf_sandbox_update_result *out,
                                  struct hf_sandbox_refusal *no)
{
    bool multiply = step->op == HF_SANDBOX_UPDATE_MUL;
    bson_value_t zero = hf_sandbox_value_of_int32(0);

    if (!hf_sandbox_is_number(step->argument)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                                 "Cannot %s with non-numeric argument: {%s: %s}",
                                 multiply ? "multiply" : "increment", step->path,
                                 hf_sandbox_type_name(step->argument->value_type));
    }
    if (step->old->value_type == BSON_TYPE_EOD) {
        return hf_sandbox_arithmetic(multiply ? '*' : '+', step->argument, &zero, &out->value, no);
    }
    if (!hf_sandbox_is_number(step->old)) {
        return hf_sandbox_refuse(
            no, HF_SANDBOX_TYPE_MISMATCH,
            "Cannot apply %s to a value of non-numeric type. The field '%s' is of type %s",
            name_of(step->op), step->path, hf_sandbox_type_name(step->old->value_type));
    }
    return hf_sandbox_arithmetic(multiply ? '*' : '+', step->old, step->argument, &out->value, no);
}

static void take_array(struct hf_sandbox_update_result *out, bson_t *array)
{
    bson_value_t view = hf_sandbox_value_of_doc(array);

    view.value_type = BSON_TYPE_ARRAY;
    bson_value_copy(&view, &out->value);
    out->owned = true;
    bson_destroy(array);
}

static int32_t need_array(const struct hf_sandbox_update_step *step, struct hf_sandbox_refusal *no)
{
    if (step->old->value_type != BSON_TYPE_EOD && step->old->value_type != BSON_TYPE_ARRAY) {
        return hf_sandbox_refuse(
            no, HF_SANDBOX_BAD_VALUE,
            "The field '%s' must be an array but is of type %s in the document", step->path,
            hf_sandbox_type_name(step->old->value_type));
    }
    return 0;
}

/* The values that $push or $addToSet adds: those of $each, or the argument itself. */
static int32_t values_to_add(const struct hf_sandbox_update_step *step, bson_t *out,
                             bson_t *modifiers, struct hf_sandbox_refusal *no)
{
    bson_value_t each;
    bson_t view;

    bson_init(out);
    bson_init(modifiers);
    if (step->argument->value_type == BSON_TYPE_DOCUMENT &&
        hf_sandbox_value_doc(step->argument, &view) && hf_sandbox_get(&view, "$each", &each)) {
        if (each.value_type != BSON_TYPE_ARRAY) {
            return hf_sandbox_refuse(
                no, HF_SANDBOX_BAD_VALUE,
                "The argument to $each in %s must be an array but it was of type %s",
                name_of(step->op), hf_sandbox_type_name(each.value_type));
        }
        if (hf_sandbox_value_doc(&each, &view)) {
            bson_concat(out, &view);
        }
        if (hf_sandbox_value_doc(step->argument, &view)) {
            bson_concat(modifiers, &view);
        }
        return bson_has_field(modifiers, "$sort")
                   ? hf_sandbox_refuse(no, HF_SANDBOX_NOT_IMPLEMENTED,
                                       "$sort in $push is not in the sandbox")
                   : 0;
    }
    hf_sandbox_append(out, "0", step->argument);
    return 0;
}

static void append_all(bson_t *array, uint32_t *index, const bson_t *from, int64_t skip,
                       int64_t limit)
{
    bson_iter_t iter;

    if (!bson_iter_init(&iter, from)) {
        return;
    }
    for (int64_t at = 0; bson_iter_next(&iter) && at < limit; at++) {
        if (at >= skip) {
            hf_sandbox_append_element(array, index, bson_iter_value(&iter));
        }
    }
}

static int32_t compute_push(const struct hf_sandbox_update_step *step,
                            struct hf_sandbox_update_result *out, struct hf_sandbox_refusal *no)
{
    bson_t old = BSON_INITIALIZER;
    bson_t added;
    bson_t modifiers;
    bson_t *joined = bson_new();
    uint32_t index = 0;
    int32_t code = need_array(step, no);

    (void)hf_sandbox_value_doc(step->old, &old);
    int32_t code_added = values_to_add(step, &added, &modifiers, no);
    code = code != 0 ? code : code_added;
    if (code == 0) {
        int64_t count = bson_count_keys(&old);
        int64_t place = hf_sandbox_get_int64(&modifiers, "$position", count);
        place = place < 0 ? (count + place < 0 ? 0 : count + place) : place > count ? count : place;
        append_all(joined, &index, &old, 0, place);
        append_all(joined, &index, &added, 0, INT64_MAX);
        append_all(joined, &index, &old, place, INT64_MAX);
        out->appended = step->old->value_type == BSON_TYPE_ARRAY && place == count;
        if (bson_has_field(&modifiers, "$slice")) {
            int64_t slice = hf_sandbox_get_int64(&modifiers, "$slice", 0);
            int64_t total = index;
            bson_t *cut = bson_new();
            index = 0;
            append_all(cut, &index, joined, slice < 0 && total + slice > 0 ? total + slice : 0,
                       slice < 0 ? INT64_MAX : slice);
            bson_destroy(joined);
            joined = cut;
            out->appended = false;
        }
        out->unchanged = step->old->value_type == BSON_TYPE_ARRAY && bson_equal(joined, &old);
        take_array(out, HF_TAKE(joined));
    }
    bson_destroy(joined);
    bson_destroy(&added);
    bson_destroy(&modifiers);
    return code;
}

static bool holds_value(const bson_t *array, const bson_value_t *value)
{
    bson_iter_t iter;

    if (bson_iter_init(&iter, array)) {
        while (bson_iter_next(&iter)) {
            if (hf_sandbox_value_compare(bson_iter_value(&iter), value) == 0) {
                return true;
            }
        }
    }
    return false;
}

static int32_t compute_add_to_set(const struct hf_sandbox_update_step *step,
                                  struct hf_sandbox_update_result *out,
                                  struct hf_sandbox_refusal *no)
{
    bson_t old = BSON_INITIALIZER;
    bson_t added;
    bson_t modifiers;
    bson_t *joined = bson_new();
    uint32_t index = 0;
    int32_t code = need_array(step, no);
    bson_iter_t iter;

    (void)hf_sandbox_value_doc(step->old, &old);
    int32_t code_added = values_to_add(step, &added, &modifiers, no);
    code = code != 0 ? code : code_added;
    if (code == 0) {
        append_all(joined, &index, &old, 0, INT64_MAX);
        uint32_t before = index;
        if (bson_iter_init(&iter, &added)) {
            while (bson_iter_next(&iter)) {
                if (!holds_value(joined, bson_iter_value(&iter))) {
                    hf_sandbox_append_element(joined, &index, bson_iter_value(&iter));
                }
            }
        }
        out->unchanged = step->old->value_type == BSON_TYPE_ARRAY && index == before;
        out->appended = step->old->value_type == BSON_TYPE_ARRAY;
        take_array(out, HF_TAKE(joined));
    }
    bson_destroy(joined);
    bson_destroy(&added);
    bson_destroy(&modifiers);
    return code;
}

/* Which elements $pull takes away: {$gt: 5} speaks of the element, {a: 1} of a document there, else it is a value. */
static int32_t pull_matcher(const bson_value_t *argument, struct hf_sandbox_matcher **out,
                            bool *of_documents, struct hf_sandbox_refusal *no)
{
    bson_t filter = BSON_INITIALIZER;
    bson_t view;
    bson_iter_t iter;
    int32_t code;

    *of_documents =
        argument->value_type == BSON_TYPE_DOCUMENT && hf_sandbox_value_doc(argument, &view) &&
        !(bson_iter_init(&iter, &view) && bson_iter_next(&iter) && bson_iter_key(&iter)[0] == '$');
    if (*of_documents) {
        return hf_sandbox_matcher_create(&view, out, no);
    }
    hf_sandbox_append(&filter, "x", argument);
    code = hf_sandbox_matcher_create(&filter, out, no);
    bson_destroy(&filter);
    return code;
}

static bool pulls(const struct hf_sandbox_matcher *matcher, bool of_documents,
                  const bson_value_t *element)
{
    bson_t probe = BSON_INITIALIZER;
    bson_t view;
    bool result;

    if (of_documents) {
        return element->value_type == BSON_TYPE_DOCUMENT && hf_sandbox_value_doc(element, &view) &&
               hf_sandbox_matcher_test(matcher, &view);
    }
    hf_sandbox_append(&probe, "x", element);
    result = hf_sandbox_matcher_test(matcher, &probe);
    bson_destroy(&probe);
    return result;
}

static int32_t compute_pull(const struct hf_sandbox_update_step *step,
                            struct hf_sandbox_update_result *out, struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(hf_sandbox_matcher_destroy) struct hf_sandbox_matcher *matcher = NULL;
    bool all = step->op == HF_SANDBOX_UPDATE_PULL_ALL;
    bool of_documents = false;
    bson_t old;
    bson_t values;
    bson_t *kept;
    uint32_t index = 0;
    bson_iter_t iter;
    int32_t code = need_array(step, no);

    if (code == 0 && all &&
        (step->argument->value_type != BSON_TYPE_ARRAY ||
         !hf_sandbox_value_doc(step->argument, &values))) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE,
                                 "$pullAll requires an array argument but was given a %s",
                                 hf_sandbox_type_name(step->argument->value_type));
    }
    if (code == 0 && !all) {
        code = pull_matcher(step->argument, &matcher, &of_documents, no);
    }
    if (code != 0) {
        return code;
    }
    out->unchanged = true;
    if (!hf_sandbox_value_doc(step->old, &old) || !bson_iter_init(&iter, &old)) {
        return 0;
    }
    kept = bson_new();
    while (bson_iter_next(&iter)) {
        const bson_value_t *element = bson_iter_value(&iter);
        if (all ? holds_value(&values, element) : pulls(matcher, of_documents, element)) {
            out->unchanged = false;
        } else {
            hf_sandbox_append_element(kept, &index, element);
        }
    }
    take_array(out, kept);
    return 0;
}

static int32_t compute_pop(const struct hf_sandbox_update_step *step,
                           struct hf_sandbox_update_result *out, struct hf_sandbox_refusal *no)
{
    bson_t old = BSON_INITIALIZER;
    bson_t *kept;
    uint32_t index = 0;
    int64_t side = 0;
    int32_t code = need_array(step, no);

    if (code == 0 && (!hf_sandbox_as_int64(step->argument, &side) || (side != 1 && side != -1))) {
        code = hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE, "$pop expects 1 or -1");
    }
    if (code != 0) {
        return code;
    }
    (void)hf_sandbox_value_doc(step->old, &old);
    if (bson_empty(&old)) {
        out->unchanged = true;
        return 0;
    }
    kept = bson_new();
    append_all(kept, &index, &old, side < 0 ? 1 : 0,
               side < 0 ? INT64_MAX : (int64_t)bson_count_keys(&old) - 1);
    take_array(out, kept);
    return 0;
}

static int32_t compute_current_date(const struct hf_sandbox_update_step *step,
                                    struct hf_sandbox_update_result *out,
                                    struct hf_sandbox_refusal *no)
{
    const char *type = "date";
    bson_t view;

    if (step->argument->value_type == BSON_TYPE_DOCUMENT &&
        hf_sandbox_value_doc(step->argument, &view)) {
        type = hf_sandbox_get_utf8(&view, "$type", "");
    } else if (step->argument->value_type != BSON_TYPE_BOOL) {
        type = "";
    }
    if (strcmp(type, "date") == 0) {
        out->value =
            (bson_value_t){.value_type = BSON_TYPE_DATE_TIME, .value.v_datetime = step->now_ms};
    } else if (strcmp(type, "timestamp") == 0) {
        out->value = (bson_value_t){.value_type = BSON_TYPE_TIMESTAMP};
        out->value.value.v_timestamp.timestamp = (uint32_t)(step->now_ms / 1000);
        out->value.value.v_timestamp.increment = 1;
    } else {
        return hf_sandbox_refuse(
            no, HF_SANDBOX_BAD_VALUE,
            "The '$type' string field is required to be 'date' or 'timestamp': "
            "{$currentDate: {field : {$type: 'date'}}}");
    }
    return 0;
}

int32_t hf_sandbox_update_compute(const struct hf_sandbox_update_step *step,
                                  struct hf_sandbox_update_result *out,
                                  struct hf_sandbox_refusal *no)
{
    bool missing = step->old->value_type == BSON_TYPE_EOD;

    switch (step->op) {
    case HF_SANDBOX_UPDATE_SET:
    case HF_SANDBOX_UPDATE_SET_ON_INSERT:
        out->value = *step->argument;
        return 0;
    case HF_SANDBOX_UPDATE_UNSET:
        out->unchanged = missing;
        return 0;
    case HF_SANDBOX_UPDATE_INC:
    case HF_SANDBOX_UPDATE_MUL:
        return compute_arithmetic(step, out, no);
    case HF_SANDBOX_UPDATE_MIN:
        out->value = *step->argument;
        out->unchanged = !missing && hf_sandbox_value_compare(step->argument, step->old) >= 0;
        return 0;
    case HF_SANDBOX_UPDATE_MAX:
        out->value = *step->argument;
        out->unchanged = !missing && hf_sandbox_value_compare(step->argument, step->old) <= 0;
        return 0;
    case HF_SANDBOX_UPDATE_PUSH:
        return compute_push(step, out, no);
    case HF_SANDBOX_UPDATE_ADD_TO_SET:
        return compute_add_to_set(step, out, no);
    case HF_SANDBOX_UPDATE_PULL:
    case HF_SANDBOX_UPDATE_PULL_ALL:
        return compute_pull(step, out, no);
    case HF_SANDBOX_UPDATE_POP:
        return compute_pop(step, out, no);
    case HF_SANDBOX_UPDATE_CURRENT_DATE:
        return compute_current_date(step, out, no);
    case HF_SANDBOX_UPDATE_RENAME_TO:
        break;
    }
    return hf_sandbox_refuse(no, HF_SANDBOX_INTERNAL_ERROR, "an operator that computes nothing");
}
