/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matching: the filter's own bytes are followed beside each document. It knows nothing of collections or indexes.
 *
 * Every operator checks its operand before it looks at a value, and no part of a filter is skipped because the outcome
 * is known: so one test of an empty document finds all that is malformed.
 */
#include "sandbox/match.h"

#include <string.h>

struct test {
    struct hf_sandbox_refusal *no; /* NULL: the filter was found good before */
    int32_t code;                  /* of what is malformed */
};

struct op {
    struct test *test;
    const char *name;
    const bson_value_t *operand;
};

static bool test_filter(struct test *test, const bson_value_t *filter, const bson_value_t *root);
static bool test_predicate(struct test *test, const bson_value_t *root, const char *path,
                           const bson_value_t *predicate);

/* True for { $gt: .. } and its like, but not for { $ref: .., $id: .. }. */
static bool is_operators(const bson_value_t *value)
{
    bson_iter_t iter;

    return hf_sandbox_value_iter(value, BSON_TYPE_DOCUMENT, &iter) && bson_iter_next(&iter) &&
           bson_iter_key(&iter)[0] == '$' && strcmp(bson_iter_key(&iter), "$ref") != 0;
}

static bool is_logical(const char *key)
{
    return strcmp(key, "$and") == 0 || strcmp(key, "$or") == 0 || strcmp(key, "$nor") == 0;
}

static bool bad(struct test *test, const char *name, const char *what)
{
    if (test->no != NULL) {
        test->code = hf_sandbox_refuse(test->no, HF_SANDBOX_BAD_VALUE, "%s %s", name, what);
    }
    return false;
}

/* ---- Operators, on one value: an array is taken as a whole ---- */

static bool is(const struct op *op, const char *name)
{
    return strcmp(op->name, name) == 0;
}

static bool test_equal(struct test *test, const bson_value_t *wanted, const bson_value_t *value)
{
    if (wanted->value_type == BSON_TYPE_REGEX) {
        return bad(test, "a regular expression", "is not in the sandbox");
    }
    if (wanted->value_type == BSON_TYPE_NULL) {
        return hf_sandbox_is_nullish(value);
    }
    return value->value_type != BSON_TYPE_EOD && hf_sandbox_value_compare(value, wanted) == 0;
}

/* $gt, $gte, $lt, $lte: within the operand's type, unless it is MinKey or MaxKey. */
static bool test_order(const struct op *op, const bson_value_t *value)
{
    const bson_type_t type = op->operand->value_type;
    bool or_equal = op->name[3] == 'e';
    int order = hf_sandbox_value_compare(value, op->operand);

    if (type == BSON_TYPE_NULL) {
        return or_equal && hf_sandbox_is_nullish(value);
    }
    if (type != BSON_TYPE_MINKEY && type != BSON_TYPE_MAXKEY &&
        hf_sandbox_type_rank(value->value_type) != hf_sandbox_type_rank(type)) {
        return false;
    }
    return order == 0 ? or_equal : (order > 0) == (op->name[1] == 'g');
}

static bool test_in(const struct op *op, const bson_value_t *value)
{
    bson_iter_t iter;
    bool found = false;

    if (!hf_sandbox_value_iter(op->operand, BSON_TYPE_ARRAY, &iter)) {
        return bad(op->test, op->name, "needs an array");
    }
    while (bson_iter_next(&iter)) {
        found |= test_equal(op->test, bson_iter_value(&iter), value);
    }
    return found;
}

static bool test_type(const struct op *op, const bson_value_t *value)
{
    if (op->operand->value_type != BSON_TYPE_UTF8) {
        return bad(op->test, op->name, "needs a name");
    }
    return strcmp(op->operand->value.v_utf8.str, "number") == 0
               ? hf_sandbox_is_number(value)
               : strcmp(op->operand->value.v_utf8.str, hf_sandbox_type_name(value->value_type)) ==
                     0;
}

static bool test_mod(const struct op *op, const bson_value_t *value)
{
    bson_iter_t iter;
    int64_t divisor = 0;
    int64_t remainder = 0;
    int64_t number = 0;

    if (!hf_sandbox_value_iter(op->operand, BSON_TYPE_ARRAY, &iter) || !bson_iter_next(&iter) ||
        !hf_sandbox_as_int64(bson_iter_value(&iter), &divisor) || !bson_iter_next(&iter) ||
        !hf_sandbox_as_int64(bson_iter_value(&iter), &remainder) || divisor < 1) {
        return bad(op->test, op->name, "needs a positive divisor and a remainder");
    }
    return hf_sandbox_as_int64(value, &number) && number % divisor == remainder;
}

static bool test_size(const struct op *op, const bson_value_t *value)
{
    int64_t size = 0;
    bson_t array;

    if (!hf_sandbox_as_int64(op->operand, &size) || size < 0) {
        return bad(op->test, op->name, "needs a whole number that is not negative");
    }
    return value->value_type == BSON_TYPE_ARRAY && hf_sandbox_value_doc(value, &array) &&
           (int64_t)bson_count_keys(&array) == size;
}

/* { $gt: .. } speaks of elements, anything else of documents among them. */
static bool test_elem_match(const struct op *op, const bson_value_t *value)
{
    bson_iter_t iter;
    bson_t inner;
    bool found = false;

    if (!hf_sandbox_value_iter(op->operand, BSON_TYPE_DOCUMENT, &iter)) {
        return bad(op->test, op->name, "needs an Object");
    }
    bool of_values =
        is_operators(op->operand) && bson_iter_next(&iter) && !is_logical(bson_iter_key(&iter));
    if (!hf_sandbox_value_iter(value, BSON_TYPE_ARRAY, &iter)) {
        /* For the operands inside. */
        (void)(of_values ? test_predicate(op->test, value, NULL, op->operand)
                         : test_filter(op->test, op->operand, value));
        return false;
    }
    while (!found && bson_iter_next(&iter)) {
        const bson_value_t *element = bson_iter_value(&iter);
        found = of_values ? test_predicate(op->test, element, NULL, op->operand)
                          : hf_sandbox_value_doc(element, &inner) &&
                                test_filter(op->test, op->operand, element);
    }
    return found;
}

static bool test_value(const struct op *op, const bson_value_t *value)
{
    return is(op, "$eq") || is(op, "$ne")    ? test_equal(op->test, op->operand, value)
           : is(op, "$in") || is(op, "$nin") ? test_in(op, value)
           : is(op, "$gt") || is(op, "$gte") || is(op, "$lt") || is(op, "$lte")
               ? test_order(op, value)
           : is(op, "$exists")    ? value->value_type != BSON_TYPE_EOD
           : is(op, "$type")      ? test_type(op, value)
           : is(op, "$mod")       ? test_mod(op, value)
           : is(op, "$size")      ? test_size(op, value)
           : is(op, "$elemMatch") ? test_elem_match(op, value)
                                  : bad(op->test, "unknown operator:", op->name);
}

/* ---- Paths, predicates, filters ---- */

/* A value at the end of a path: an array counts as itself and, but for operators on arrays, as each of its elements. */
static bool visit(const bson_value_t *value, void *context)
{
    const struct op *op = context;
    bool found = test_value(op, value);
    bson_iter_t iter;

    if (hf_sandbox_value_iter(value, BSON_TYPE_ARRAY, &iter) && !is(op, "$size") &&
        !is(op, "$elemMatch")) {
        while (!found && bson_iter_next(&iter)) {
            found = test_value(op, bson_iter_value(&iter));
        }
    }
    return found;
}

static bool test_all(struct test *test, const bson_value_t *root, const char *path,
                     const bson_value_t *operand)
{
    bson_iter_t iter;
    bool holds = false;

    if (!hf_sandbox_value_iter(operand, BSON_TYPE_ARRAY, &iter)) {
        return bad(test, "$all", "needs an array");
    }
    for (bool first = true; bson_iter_next(&iter); first = false) {
        holds = test_predicate(test, root, path, bson_iter_value(&iter)) && (first || holds);
    }
    return holds;
}

static bool test_operator(struct test *test, const bson_value_t *root, const char *path,
                          const char *name, const bson_value_t *operand)
{
    struct op op = {.test = test, .name = name, .operand = operand};
    /* These hold when no value passes. */
    bool negated =
        is(&op, "$ne") || is(&op, "$nin") || (is(&op, "$exists") && !hf_sandbox_is_true(operand));

    if (is(&op, "$all")) {
        return test_all(test, root, path, operand);
    }
    if (is(&op, "$not")) {
        return is_operators(operand) ? !test_predicate(test, root, path, operand)
                                     : bad(test, name, "needs a document of operators");
    }
    return hf_sandbox_path_walk(root, path, visit, &op) != negated;
}

/* What stands behind a path: operators, or a value to be equal to. */
static bool test_predicate(struct test *test, const bson_value_t *root, const char *path,
                           const bson_value_t *predicate)
{
    bson_iter_t iter;
    bool holds = true;

    if (!is_operators(predicate) || !hf_sandbox_value_iter(predicate, BSON_TYPE_DOCUMENT, &iter)) {
        return test_operator(test, root, path, "$eq", predicate);
    }
    while (bson_iter_next(&iter)) {
        holds &= test_operator(test, root, path, bson_iter_key(&iter), bson_iter_value(&iter));
    }
    return holds;
}

static bool test_logical(struct test *test, const char *name, const bson_value_t *value,
                         const bson_value_t *root)
{
    bson_iter_t iter;
    bool all = true;
    bool any = false;

    if (!hf_sandbox_value_iter(value, BSON_TYPE_ARRAY, &iter) || !bson_iter_next(&iter)) {
        return bad(test, name, "must be a nonempty array");
    }
    do {
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter)) {
            return bad(test, "$or/$and/$nor", "entries need to be full objects");
        }
        bool holds = test_filter(test, bson_iter_value(&iter), root);
        all &= holds;
        any |= holds;
    } while (bson_iter_next(&iter));
    return name[1] == 'a' ? all : any == (name[1] == 'o');
}

static bool test_filter(struct test *test, const bson_value_t *filter, const bson_value_t *root)
{
    bson_iter_t iter;
    bool holds = hf_sandbox_value_iter(filter, BSON_TYPE_DOCUMENT, &iter);

    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);

        if (is_logical(key)) {
            holds &= test_logical(test, key, bson_iter_value(&iter), root);
        } else if (key[0] != '$') {
            holds &= test_predicate(test, root, key, bson_iter_value(&iter));
        } else if (strcmp(key, "$comment") != 0) {
            return bad(test, "unknown top level operator:", key);
        }
    }
    return holds;
}

int32_t hf_sandbox_filter_check(const bson_t *filter, struct hf_sandbox_refusal *no)
{
    bson_value_t value = hf_sandbox_value_of_doc(filter);
    struct test test = {.no = no};

    (void)test_filter(&test, &value, &hf_sandbox_value_missing);
    return test.code;
}

bool hf_sandbox_filter_test(const bson_t *filter, const bson_t *doc)
{
    bson_value_t value = hf_sandbox_value_of_doc(filter);
    bson_value_t root = hf_sandbox_value_of_doc(doc);

    return test_filter(&(struct test){.no = NULL}, &value, &root);
}

bool hf_sandbox_filter_bound(const bson_t *filter, const char *path, const char *name,
                             bson_value_t *out)
{
    bson_iter_t iter;
    bson_iter_t op;

    if (!bson_iter_init_find(&iter, filter, path)) {
        return false;
    }
    *out = *bson_iter_value(&iter);
    if (!is_operators(out) || !bson_iter_recurse(&iter, &op)) {
        return true;
    }
    while (bson_iter_next(&op)) {
        *out = *bson_iter_value(&op);
        if (strcmp(bson_iter_key(&op), "$eq") == 0 || strncmp(bson_iter_key(&op), name, 3) == 0) {
            return true;
        }
    }
    return false;
}
