/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evaluates expressions over one document. The few operators are those that tours and tests use; another one is
 * refused by name.
 */
#include "sandbox/expression.h"

#include <string.h>

#include "base/alloc.h"
#include "sandbox/update_ops.h"

#define MAX_OPERANDS 64

/* Follows a field path; through an array it gathers what each document inside has. */
static void follow(const bson_t *doc, const char *path, bson_value_t *out)
{
    const char *dot = strchr(path, '.');
    size_t len = dot == NULL ? strlen(path) : (size_t)(dot - path);
    bson_iter_t iter;
    bson_t inner;

    *out = hf_sandbox_value_missing;
    if (!bson_iter_init(&iter, doc) || !bson_iter_find_w_len(&iter, path, (int)len)) {
        return;
    }
    const bson_value_t *value = bson_iter_value(&iter);
    if (dot == NULL) {
        bson_value_copy(value, out);
        return;
    }
    if (!hf_sandbox_value_doc(value, &inner)) {
        return;
    }
    if (value->value_type == BSON_TYPE_DOCUMENT) {
        follow(&inner, dot + 1, out);
        return;
    }
    bson_t gathered = BSON_INITIALIZER;
    uint32_t index = 0;
    if (bson_iter_init(&iter, &inner)) {
        while (bson_iter_next(&iter)) {
            bson_t element;
            bson_value_t found = hf_sandbox_value_missing;
            if (BSON_ITER_HOLDS_DOCUMENT(&iter) &&
                hf_sandbox_value_doc(bson_iter_value(&iter), &element)) {
                follow(&element, dot + 1, &found);
            }
            if (found.value_type != BSON_TYPE_EOD) {
                hf_sandbox_append_element(&gathered, &index, &found);
                bson_value_destroy(&found);
            }
        }
    }
    bson_value_t view = hf_sandbox_value_of_doc(&gathered);
    view.value_type = BSON_TYPE_ARRAY;
    bson_value_copy(&view, out);
    bson_destroy(&gathered);
}

struct operands {
    bson_value_t items[MAX_OPERANDS]; /* owned */
    size_t count;
};

static void operands_fini(struct operands *operands)
{
    for (size_t i = 0; i < operands->count; i++) {
        if (operands->items[i].value_type != BSON_TYPE_EOD) {
            bson_value_destroy(&operands->items[i]);
        }
    }
}

static int32_t read_operands(const bson_value_t *argument, const bson_t *doc, struct operands *out,
                             struct hf_sandbox_refusal *no)
{
    bson_iter_t iter;
    bson_t list;
    int32_t code = 0;

    out->count = 0;
    if (argument->value_type != BSON_TYPE_ARRAY) {
        code = hf_sandbox_evaluate(argument, doc, &out->items[0], no);
        out->count = code == 0 ? 1 : 0;
        return code;
    }
    if (!hf_sandbox_value_doc(argument, &list) || !bson_iter_init(&iter, &list)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed expression");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        if (out->count == MAX_OPERANDS) {
            return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE,
                                     "an expression of more than %d operands", MAX_OPERANDS);
        }
        code = hf_sandbox_evaluate(bson_iter_value(&iter), doc, &out->items[out->count], no);
        out->count += code == 0;
    }
    return code;
}

static bool any_nullish(const struct operands *operands)
{
    for (size_t i = 0; i < operands->count; i++) {
        if (operands->items[i].value_type == BSON_TYPE_EOD ||
            operands->items[i].value_type == BSON_TYPE_NULL) {
            return true;
        }
    }
    return false;
}

static int32_t need_count(const char *name, const struct operands *operands, size_t wanted,
                          struct hf_sandbox_refusal *no)
{
    return operands->count == wanted
               ? 0
               : hf_sandbox_refuse(no, 16020,
                                   "Expression %s takes exactly %zu arguments. %zu were passed in.",
                                   name, wanted, operands->count);
}

static int32_t apply_arithmetic(const char *name, char operation, const struct operands *operands,
                                bson_value_t *out, struct hf_sandbox_refusal *no)
{
    bson_value_t result = hf_sandbox_value_of_int32(operation == '*');
    int32_t code = operation == '-' || operation == '/' ? need_count(name, operands, 2, no) : 0;

    if (code == 0 && any_nullish(operands)) {
        *out = (bson_value_t){.value_type = BSON_TYPE_NULL};
        return 0;
    }
    for (size_t i = 0; code == 0 && i < operands->count; i++) {
        bool first = i == 0 && (operation == '-' || operation == '/');
        bson_value_t next;
        code =
            first ? 0 : hf_sandbox_arithmetic(operation, &result, &operands->items[i], &next, no);
        result = first ? operands->items[i] : next;
    }
    if (code == 0) {
        bson_value_copy(&result, out);
    }
    return code;
}

static int32_t apply_operator(const char *name, const struct operands *operands, bson_value_t *out,
                              struct hf_sandbox_refusal *no)
{
    static const struct {
        const char *name;
        char operation;
    } rows[] = {{"$add", '+'}, {"$subtract", '-'}, {"$multiply", '*'}, {"$divide", '/'}};

    for (size_t i = 0; i < HF_ARRAY_LEN(rows); i++) {
        if (strcmp(name, rows[i].name) == 0) {
            return apply_arithmetic(name, rows[i].operation, operands, out, no);
        }
    }
    return hf_sandbox_refuse(no, 168, "Unrecognized expression '%s'", name);
}

/* A document or array of expressions. */
static int32_t evaluate_container(const bson_value_t *expression, const bson_t *view,
                                  const bson_t *doc, bson_value_t *out,
                                  struct hf_sandbox_refusal *no)
{
    bool array = expression->value_type == BSON_TYPE_ARRAY;
    bson_t made = BSON_INITIALIZER;
    bson_iter_t iter;
    int32_t code = 0;

    if (!bson_iter_init(&iter, view)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed expression");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        bson_value_t value = hf_sandbox_value_missing;
        code = hf_sandbox_evaluate(bson_iter_value(&iter), doc, &value, no);
        if (code == 0 && value.value_type == BSON_TYPE_EOD && array) {
            value.value_type = BSON_TYPE_NULL;
        }
        if (code == 0) {
            hf_sandbox_append(&made, bson_iter_key(&iter), &value);
        }
        if (value.value_type != BSON_TYPE_EOD) {
            bson_value_destroy(&value);
        }
    }
    if (code == 0) {
        bson_value_t made_view = hf_sandbox_value_of_doc(&made);
        made_view.value_type = expression->value_type;
        bson_value_copy(&made_view, out);
    }
    bson_destroy(&made);
    return code;
}

static int32_t evaluate_path(const char *path, const bson_t *doc, bson_value_t *out,
                             struct hf_sandbox_refusal *no)
{
    if (strncmp(path, "$$ROOT", 6) == 0 || strncmp(path, "$$CURRENT", 9) == 0) {
        const char *rest = strchr(path, '.');
        if (rest != NULL) {
            follow(doc, rest + 1, out);
        } else {
            bson_value_t view = hf_sandbox_value_of_doc(doc);
            bson_value_copy(&view, out);
        }
        return 0;
    }
    if (path[1] == '$' || path[1] == '\0') {
        return hf_sandbox_refuse(no, 17276, "Use of undefined variable: %s",
                                 path[1] == '\0' ? "" : path + 2);
    }
    follow(doc, path + 1, out);
    return 0;
}

int32_t hf_sandbox_evaluate(const bson_value_t *expression, const bson_t *doc, bson_value_t *out,
                            struct hf_sandbox_refusal *no)
{
    bson_t view;
    bson_iter_t iter;

    *out = hf_sandbox_value_missing;
    if (expression->value_type == BSON_TYPE_UTF8 && expression->value.v_utf8.str[0] == '$') {
        return evaluate_path(expression->value.v_utf8.str, doc, out, no);
    }
    if (!hf_sandbox_value_doc(expression, &view)) {
        bson_value_copy(expression, out);
        return 0;
    }
    if (expression->value_type == BSON_TYPE_DOCUMENT && bson_iter_init(&iter, &view) &&
        bson_iter_next(&iter) && bson_iter_key(&iter)[0] == '$') {
        struct operands operands;
        int32_t code;
        if (strcmp(bson_iter_key(&iter), "$literal") == 0) {
            bson_value_copy(bson_iter_value(&iter), out);
            return 0;
        }
        code = read_operands(bson_iter_value(&iter), doc, &operands, no);
        if (code == 0) {
            code = apply_operator(bson_iter_key(&iter), &operands, out, no);
        }
        operands_fini(&operands);
        return code;
    }
    return evaluate_container(expression, &view, doc, out, no);
}
