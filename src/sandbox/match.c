/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matching: a filter becomes a tree of conditions, each on one path. It knows nothing of
 * collections or indexes.
 *
 * Negations ($ne, $nin, $not, $nor) are a NOT above the positive condition, so that "no element
 * matches" comes by itself.
 */
#include "sandbox/match.h"

#include <regex.h>
#include <string.h>

#include "base/alloc.h"
#include "sandbox/path.h"

enum condition_kind {
    COND_AND,
    COND_OR,
    COND_NOT,
    COND_EQ,
    COND_GT,
    COND_GTE,
    COND_LT,
    COND_LTE,
    COND_IN,
    COND_EXISTS,
    COND_TYPE,
    COND_REGEX,
    COND_SIZE,
    COND_ELEM_OBJECT,
    COND_ELEM_VALUE,
    COND_MOD,
};

struct condition {
    enum condition_kind kind;
    const char *path;   /* borrowed from the filter; NULL for AND, OR, NOT and inside $elemMatch */
    bson_value_t value; /* borrowed from the filter */
    struct condition *child; /* owned, the first */
    struct condition *next;  /* owned */
    uint32_t type_mask;
    int64_t divisor, remainder;
    bool regex_ready;
    regex_t regex;
};

struct hf_sandbox_matcher {
    bson_t *filter;         /* owned */
    struct condition *root; /* owned */
};

static void condition_destroy(struct condition *condition)
{
    while (condition != NULL) {
        struct condition *next = condition->next;

        condition_destroy(condition->child);
        if (condition->regex_ready) {
            regfree(&condition->regex);
        }
        hf_free(condition);
        condition = next;
    }
}

/* ---- Reading a filter ---- */

static struct condition *condition_create(enum condition_kind kind, const char *path,
                                          const bson_value_t *value)
{
    struct condition *condition = hf_alloc_zero(sizeof *condition);

    HF_ASSERT(condition != NULL); /* libbson aborts without memory just the same */
    condition->kind = kind;
    condition->path = path;
    if (value != NULL) {
        condition->value = *value;
    }
    return condition;
}

static void adopt(struct condition *parent, struct condition *child)
{
    struct condition **end = &parent->child;

    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = child;
}

/* Puts NOT above and hands back what stands under it. */
static struct condition *adopt_negated(struct condition *parent, struct condition *child)
{
    struct condition *negation = condition_create(COND_NOT, NULL, NULL);

    negation->child = child;
    adopt(parent, negation);
    return child;
}

static int32_t read_filter(const bson_t *filter, struct condition *parent,
                           struct hf_sandbox_refusal *no);
static int32_t read_operators(const char *path, const bson_t *operators, struct condition *parent,
                              struct hf_sandbox_refusal *no);

/* POSIX has no \d and \D; the other classes are in the C library's syntax. */
static int32_t read_regex(struct condition *condition, const char *pattern, const char *options,
                          struct hf_sandbox_refusal *no)
{
    struct hf_buf HF_CLEANUP(hf_buf_fini) text = HF_BUF_INIT(1U << 16);
    struct hf_error err;
    int flags = REG_EXTENDED | REG_NOSUB;
    enum hf_err rc = HF_ERR_OK;
    const char *posix;

    for (const char *at = pattern; *at != '\0' && rc == HF_ERR_OK; at++) {
        if (at[0] == '\\' && (at[1] == 'd' || at[1] == 'D')) {
            rc = hf_buf_append_text(&text, at[1] == 'd' ? "[0-9]" : "[^0-9]", &err);
            at++;
        } else if (at[0] == '\\' && at[1] != '\0') {
            rc = hf_buf_append(&text, hf_bytes_of(at, 2), &err);
            at++;
        } else {
            rc = hf_buf_append(&text, hf_bytes_of(at, 1), &err);
        }
    }
    for (const char *option = options; *option != '\0'; option++) {
        if (*option == 'i') {
            flags |= REG_ICASE;
        } else if (*option == 'm') {
            flags |= REG_NEWLINE;
        } else if (*option != 's' && *option != 'x' && *option != 'u') {
            return hf_sandbox_refuse(no, 51108, "invalid flag in regex options: %c", *option);
        }
    }
    posix = rc == HF_ERR_OK ? hf_buf_text(&text) : NULL;
    if (posix == NULL || regcomp(&condition->regex, posix, flags) != 0) {
        return hf_sandbox_refuse(no, 51091, "Regular expression is invalid: %s", pattern);
    }
    condition->regex_ready = true;
    return 0;
}

static int32_t add_equal(const char *path, const bson_value_t *value, struct condition *parent,
                         struct hf_sandbox_refusal *no)
{
    struct condition *condition;

    if (value->value_type == BSON_TYPE_REGEX) {
        condition = condition_create(COND_REGEX, path, value);
        adopt(parent, condition);
        return read_regex(condition, value->value.v_regex.regex, value->value.v_regex.options, no);
    }
    adopt(parent, condition_create(COND_EQ, path, value));
    return 0;
}

static int32_t read_in(const char *path, const bson_value_t *value, const char *name,
                       struct condition *parent, struct hf_sandbox_refusal *no)
{
    struct condition *in = condition_create(COND_IN, path, value);
    bson_iter_t iter;
    bson_t list;

    adopt(parent, in);
    if (value->value_type != BSON_TYPE_ARRAY || !hf_sandbox_value_doc(value, &list) ||
        !bson_iter_init(&iter, &list)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "%s needs an array", name);
    }
    /* Linked by the tail here: adopt would walk a long list once for each value. */
    for (struct condition **end = &in->child; bson_iter_next(&iter); end = &(*end)->next) {
        struct condition holder = {0};
        int32_t code = add_equal(NULL, bson_iter_value(&iter), &holder, no);

        *end = holder.child;
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static bool type_bit(bson_type_t type, uint32_t *mask)
{
    int number = (int)type;

    if (type == BSON_TYPE_MINKEY) {
        *mask |= UINT32_C(1) << 31;
    } else if (type == BSON_TYPE_MAXKEY) {
        *mask |= UINT32_C(1) << 30;
    } else if (number > 0 && number <= (int)BSON_TYPE_DECIMAL128) {
        *mask |= UINT32_C(1) << number;
    } else {
        return false;
    }
    return true;
}

static int32_t read_type(const bson_value_t *value, uint32_t *mask, struct hf_sandbox_refusal *no)
{
    bson_type_t type;
    int64_t number;
    bson_t list;
    bson_iter_t iter;

    if (value->value_type == BSON_TYPE_ARRAY && hf_sandbox_value_doc(value, &list) &&
        bson_iter_init(&iter, &list)) {
        while (bson_iter_next(&iter)) {
            const bson_value_t *item = bson_iter_value(&iter);
            int32_t code =
                item->value_type == BSON_TYPE_ARRAY
                    ? hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                                        "type must be represented as a number or a string")
                    : read_type(item, mask, no);
            if (code != 0) {
                return code;
            }
        }
        return 0;
    }
    if (value->value_type == BSON_TYPE_UTF8) {
        const char *name = value->value.v_utf8.str;
        if (strcmp(name, "number") == 0) {
            return (int32_t) !(type_bit(BSON_TYPE_DOUBLE, mask) &&
                               type_bit(BSON_TYPE_INT32, mask) && type_bit(BSON_TYPE_INT64, mask) &&
                               type_bit(BSON_TYPE_DECIMAL128, mask));
        }
        if (hf_sandbox_type_from_name(name, &type) && type_bit(type, mask)) {
            return 0;
        }
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "Unknown type name alias: %s", name);
    }
    if (!hf_sandbox_as_int64(value, &number)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_TYPE_MISMATCH,
                                 "type must be represented as a number or a string");
    }
    if (number == -1) {
        return (int32_t)!type_bit(BSON_TYPE_MINKEY, mask);
    }
    if (number < 0 || number > 127 || !type_bit((bson_type_t)number, mask)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "Invalid numerical type code: %d",
                                 (int)number);
    }
    return 0;
}

static int32_t read_mod(struct condition *condition, const bson_value_t *value,
                        struct hf_sandbox_refusal *no)
{
    bson_value_t divisor;
    bson_value_t remainder;
    bson_t list;

    if (value->value_type != BSON_TYPE_ARRAY || !hf_sandbox_value_doc(value, &list) ||
        !hf_sandbox_get(&list, "0", &divisor) || !hf_sandbox_get(&list, "1", &remainder) ||
        bson_count_keys(&list) != 2) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE,
                                 "malformed mod, needs to be an array of two numbers");
    }
    if (!hf_sandbox_as_int64(&divisor, &condition->divisor) ||
        !hf_sandbox_as_int64(&remainder, &condition->remainder)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE,
                                 "malformed mod, divisor or remainder not a number");
    }
    if (condition->divisor == 0) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "divisor cannot be 0");
    }
    return 0;
}

/* True for { $gt: .. } and its like; { $and: .. } inside $elemMatch speaks of documents. */
static bool is_operator_doc(const bson_t *doc)
{
    bson_iter_t iter;

    return bson_iter_init(&iter, doc) && bson_iter_next(&iter) && bson_iter_key(&iter)[0] == '$' &&
           strcmp(bson_iter_key(&iter), "$ref") != 0 && strcmp(bson_iter_key(&iter), "$id") != 0;
}

static bool is_logical(const bson_t *doc)
{
    return bson_has_field(doc, "$and") || bson_has_field(doc, "$or") || bson_has_field(doc, "$nor");
}

static int32_t read_elem_match(const char *path, const bson_value_t *value,
                               struct condition *parent, struct hf_sandbox_refusal *no)
{
    struct condition *condition;
    bson_t inner;

    if (value->value_type != BSON_TYPE_DOCUMENT || !hf_sandbox_value_doc(value, &inner)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "$elemMatch needs an Object");
    }
    if (is_operator_doc(&inner) && !is_logical(&inner)) {
        condition = condition_create(COND_ELEM_VALUE, path, value);
        adopt(parent, condition);
        return read_operators(NULL, &inner, condition, no);
    }
    condition = condition_create(COND_ELEM_OBJECT, path, value);
    adopt(parent, condition);
    return read_filter(&inner, condition, no);
}

static int32_t read_all(const char *path, const bson_value_t *value, struct condition *parent,
                        struct hf_sandbox_refusal *no)
{
    struct condition *all = condition_create(COND_AND, NULL, NULL);
    bson_iter_t iter;
    bson_t list;
    int32_t code = 0;

    adopt(parent, all);
    if (value->value_type != BSON_TYPE_ARRAY || !hf_sandbox_value_doc(value, &list) ||
        !bson_iter_init(&iter, &list)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "$all needs an array");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        const bson_value_t *item = bson_iter_value(&iter);
        bson_value_t elem;
        bson_t inner;

        if (item->value_type == BSON_TYPE_DOCUMENT && hf_sandbox_value_doc(item, &inner) &&
            hf_sandbox_get(&inner, "$elemMatch", &elem)) {
            code = read_elem_match(path, &elem, all, no);
        } else {
            code = add_equal(path, item, all, no);
        }
    }
    if (code == 0 && all->child == NULL) {
        adopt(all, condition_create(COND_OR, NULL, NULL)); /* $all: [] matches nothing */
    }
    return code;
}

static int32_t read_not(const char *path, const bson_value_t *value, struct condition *parent,
                        struct hf_sandbox_refusal *no)
{
    struct condition *inside = adopt_negated(parent, condition_create(COND_AND, NULL, NULL));
    bson_t operators;

    if (value->value_type == BSON_TYPE_REGEX) {
        return add_equal(path, value, inside, no);
    }
    if (value->value_type != BSON_TYPE_DOCUMENT || !hf_sandbox_value_doc(value, &operators)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "$not needs a regex or a document");
    }
    if (!is_operator_doc(&operators)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "$not needs a document of operators");
    }
    return read_operators(path, &operators, inside, no);
}

struct compare_row {
    const char *name;
    enum condition_kind kind;
};

static const struct compare_row compare_rows[] = {
    {"$gt", COND_GT},
    {"$gte", COND_GTE},
    {"$lt", COND_LT},
    {"$lte", COND_LTE},
};

static int32_t read_rarer_operator(const char *path, const char *name, const bson_value_t *value,
                                   const bson_t *operators, struct condition *parent,
                                   struct hf_sandbox_refusal *no)
{
    struct condition *condition;

    if (strcmp(name, "$type") == 0) {
        condition = condition_create(COND_TYPE, path, value);
        adopt(parent, condition);
        return read_type(value, &condition->type_mask, no);
    }
    if (strcmp(name, "$regex") == 0) {
        const char *options = hf_sandbox_get_utf8(operators, "$options", "");
        condition = condition_create(COND_REGEX, path, value);
        adopt(parent, condition);
        if (value->value_type == BSON_TYPE_REGEX) {
            return read_regex(condition, value->value.v_regex.regex,
                              options[0] != '\0' ? options : value->value.v_regex.options, no);
        }
        if (value->value_type != BSON_TYPE_UTF8) {
            return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "$regex has to be a string");
        }
        return read_regex(condition, value->value.v_utf8.str, options, no);
    }
    if (strcmp(name, "$options") == 0) {
        return bson_has_field(operators, "$regex")
                   ? 0
                   : hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "$options needs a $regex");
    }
    if (strcmp(name, "$size") == 0) {
        condition = condition_create(COND_SIZE, path, value);
        adopt(parent, condition);
        if (!hf_sandbox_as_int64(value, &condition->divisor) || condition->divisor < 0) {
            return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE,
                                     "$size must be a whole number that is not negative");
        }
        return 0;
    }
    if (strcmp(name, "$mod") == 0) {
        condition = condition_create(COND_MOD, path, value);
        adopt(parent, condition);
        return read_mod(condition, value, no);
    }
    return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "unknown operator: %s", name);
}

static int32_t read_operator(const char *path, const char *name, const bson_value_t *value,
                             const bson_t *operators, struct condition *parent,
                             struct hf_sandbox_refusal *no)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(compare_rows); i++) {
        if (strcmp(name, compare_rows[i].name) == 0) {
            adopt(parent, condition_create(compare_rows[i].kind, path, value));
            return 0;
        }
    }
    if (strcmp(name, "$eq") == 0) {
        adopt(parent, condition_create(COND_EQ, path, value));
        return 0;
    }
    if (strcmp(name, "$ne") == 0) {
        (void)adopt_negated(parent, condition_create(COND_EQ, path, value));
        return 0;
    }
    if (strcmp(name, "$in") == 0) {
        return read_in(path, value, name, parent, no);
    }
    if (strcmp(name, "$nin") == 0) {
        return read_in(path, value, name,
                       adopt_negated(parent, condition_create(COND_AND, NULL, NULL)), no);
    }
    if (strcmp(name, "$exists") == 0) {
        struct condition *exists = condition_create(COND_EXISTS, path, value);
        if (hf_sandbox_is_true(value)) {
            adopt(parent, exists);
        } else {
            (void)adopt_negated(parent, exists);
        }
        return 0;
    }
    if (strcmp(name, "$all") == 0) {
        return read_all(path, value, parent, no);
    }
    if (strcmp(name, "$elemMatch") == 0) {
        return read_elem_match(path, value, parent, no);
    }
    if (strcmp(name, "$not") == 0) {
        return read_not(path, value, parent, no);
    }
    return read_rarer_operator(path, name, value, operators, parent, no);
}

static int32_t read_operators(const char *path, const bson_t *operators, struct condition *parent,
                              struct hf_sandbox_refusal *no)
{
    bson_iter_t iter;
    int32_t code = 0;

    if (!bson_iter_init(&iter, operators)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed operators");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        code = read_operator(path, bson_iter_key(&iter), bson_iter_value(&iter), operators, parent,
                             no);
    }
    return code;
}

static int32_t read_logical(const char *name, const bson_value_t *value, struct condition *parent,
                            struct hf_sandbox_refusal *no)
{
    struct condition *group =
        condition_create(strcmp(name, "$and") == 0 ? COND_AND : COND_OR, NULL, NULL);
    bson_iter_t iter;
    bson_t list;

    if (strcmp(name, "$nor") == 0) {
        (void)adopt_negated(parent, group);
    } else {
        adopt(parent, group);
    }
    if (value->value_type != BSON_TYPE_ARRAY || !hf_sandbox_value_doc(value, &list) ||
        bson_empty(&list) || !bson_iter_init(&iter, &list)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "%s must be a nonempty array", name);
    }
    while (bson_iter_next(&iter)) {
        struct condition *each = condition_create(COND_AND, NULL, NULL);
        bson_t inner;
        int32_t code;

        adopt(group, each);
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) ||
            !hf_sandbox_value_doc(bson_iter_value(&iter), &inner)) {
            return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE,
                                     "$or/$and/$nor entries need to be full objects");
        }
        code = read_filter(&inner, each, no);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static int32_t read_filter(const bson_t *filter, struct condition *parent,
                           struct hf_sandbox_refusal *no)
{
    bson_iter_t iter;
    int32_t code = 0;

    if (!bson_iter_init(&iter, filter)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed filter");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        const bson_value_t *value = bson_iter_value(&iter);
        bson_t inner;

        if (strcmp(key, "$and") == 0 || strcmp(key, "$or") == 0 || strcmp(key, "$nor") == 0) {
            code = read_logical(key, value, parent, no);
        } else if (key[0] == '$' && strcmp(key, "$comment") != 0) {
            code =
                hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "unknown top level operator: %s", key);
        } else if (key[0] == '$') {
            continue;
        } else if (value->value_type == BSON_TYPE_DOCUMENT && hf_sandbox_value_doc(value, &inner) &&
                   is_operator_doc(&inner)) {
            code = read_operators(key, &inner, parent, no);
        } else {
            code = add_equal(key, value, parent, no);
        }
    }
    return code;
}

int32_t hf_sandbox_matcher_create(const bson_t *filter, struct hf_sandbox_matcher **out,
                                  struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(hf_sandbox_matcher_destroy)
    struct hf_sandbox_matcher *matcher = hf_alloc_zero(sizeof *matcher);
    int32_t code;

    HF_ASSERT(matcher != NULL);
    matcher->filter = bson_copy(filter);
    matcher->root = condition_create(COND_AND, NULL, NULL);
    code = read_filter(matcher->filter, matcher->root, no);
    if (code == 0) {
        *out = HF_TAKE(matcher);
    }
    return code;
}

void hf_sandbox_matcher_destroy(struct hf_sandbox_matcher *matcher)
{
    if (matcher != NULL) {
        condition_destroy(matcher->root);
        bson_destroy(matcher->filter);
        hf_free(matcher);
    }
}

/* ---- Testing ---- */

struct test {
    const struct condition *condition;
    int32_t array_index;
};

static bool test_doc(const struct condition *condition, const bson_t *doc, int32_t *array_index);
static bool test_reached(const struct condition *condition, const bson_value_t *value,
                         int32_t *array_index);

static bool is_nullish(const bson_value_t *value)
{
    return value->value_type == BSON_TYPE_NULL || value->value_type == BSON_TYPE_UNDEFINED ||
           value->value_type == BSON_TYPE_EOD;
}

static bool equals(const bson_value_t *value, const bson_value_t *wanted)
{
    if (wanted->value_type == BSON_TYPE_NULL) {
        return is_nullish(value);
    }
    return value->value_type != BSON_TYPE_EOD && hf_sandbox_value_compare(value, wanted) == 0;
}

static bool test_order(const struct condition *condition, const bson_value_t *value)
{
    const bson_value_t *wanted = &condition->value;
    bool extreme = wanted->value_type == BSON_TYPE_MINKEY || wanted->value_type == BSON_TYPE_MAXKEY;
    int order;

    if (wanted->value_type == BSON_TYPE_NULL) {
        return (condition->kind == COND_GTE || condition->kind == COND_LTE) && is_nullish(value);
    }
    if (!extreme &&
        hf_sandbox_type_rank(value->value_type) != hf_sandbox_type_rank(wanted->value_type)) {
        return false;
    }
    order = hf_sandbox_value_compare(value, wanted);
    if (condition->kind == COND_GT) {
        return order > 0;
    }
    if (condition->kind == COND_GTE) {
        return order >= 0;
    }
    return condition->kind == COND_LT ? order < 0 : order <= 0;
}

static bool test_regex(const struct condition *condition, const bson_value_t *value)
{
    if (value->value_type == BSON_TYPE_UTF8) {
        return regexec(&condition->regex, value->value.v_utf8.str, 0, NULL, 0) == 0;
    }
    return value->value_type == BSON_TYPE_REGEX && condition->value.value_type == BSON_TYPE_REGEX &&
           hf_sandbox_value_compare(value, &condition->value) == 0;
}

static bool test_elements(const struct condition *condition, const bson_value_t *value,
                          int32_t *array_index)
{
    bson_iter_t iter;
    bson_t array;
    int32_t place = 0;

    if (value->value_type != BSON_TYPE_ARRAY || !hf_sandbox_value_doc(value, &array) ||
        !bson_iter_init(&iter, &array)) {
        return false;
    }
    if (condition->kind == COND_SIZE) {
        return (int64_t)bson_count_keys(&array) == condition->divisor;
    }
    for (; bson_iter_next(&iter); place++) {
        const bson_value_t *element = bson_iter_value(&iter);
        bool holds = true;
        bson_t inner;

        if (condition->kind == COND_ELEM_OBJECT && !hf_sandbox_value_doc(element, &inner)) {
            continue;
        }
        for (const struct condition *child = condition->child; child != NULL && holds;
             child = child->next) {
            holds = condition->kind == COND_ELEM_OBJECT
                        ? test_doc(child, &inner, &(int32_t){-1})
                        : test_reached(child, element, &(int32_t){-1});
        }
        if (holds) {
            *array_index = *array_index >= 0 ? *array_index : place;
            return true;
        }
    }
    return false;
}

/* One value, an array taken as a whole. */
static bool test_value(const struct condition *condition, const bson_value_t *value)
{
    int64_t number;

    switch (condition->kind) {
    case COND_EQ:
        return equals(value, &condition->value);
    case COND_GT:
    case COND_GTE:
    case COND_LT:
    case COND_LTE:
        return test_order(condition, value);
    case COND_IN:
        for (const struct condition *child = condition->child; child != NULL; child = child->next) {
            if (test_value(child, value)) {
                return true;
            }
        }
        return false;
    case COND_EXISTS:
        return value->value_type != BSON_TYPE_EOD;
    case COND_TYPE: {
        uint32_t bit = 0;
        return type_bit(value->value_type, &bit) && (bit & condition->type_mask) != 0;
    }
    case COND_REGEX:
        return test_regex(condition, value);
    case COND_MOD:
        return hf_sandbox_as_int64(value, &number) && condition->divisor != -1
                   ? number % condition->divisor == condition->remainder
                   : condition->divisor == -1 && hf_sandbox_is_number(value) &&
                         condition->remainder == 0;
    case COND_SIZE:
    case COND_ELEM_OBJECT:
    case COND_ELEM_VALUE:
    case COND_AND:
    case COND_OR:
    case COND_NOT:
        break;
    }
    return false;
}

/* A value at the end of a path: an array counts as itself and as each of its elements. */
static bool test_reached(const struct condition *condition, const bson_value_t *value,
                         int32_t *array_index)
{
    bson_iter_t iter;
    bson_t array;
    int32_t place = 0;

    if (condition->kind == COND_NOT) {
        return !test_reached(condition->child, value, array_index);
    }
    if (condition->kind == COND_AND || condition->kind == COND_OR) {
        for (const struct condition *child = condition->child; child != NULL; child = child->next) {
            if (test_reached(child, value, array_index) != (condition->kind == COND_AND)) {
                return condition->kind == COND_OR;
            }
        }
        return condition->kind == COND_AND;
    }
    if (condition->kind == COND_SIZE || condition->kind == COND_ELEM_OBJECT ||
        condition->kind == COND_ELEM_VALUE) {
        return test_elements(condition, value, array_index);
    }
    if (value->value_type == BSON_TYPE_ARRAY && hf_sandbox_value_doc(value, &array) &&
        bson_iter_init(&iter, &array)) {
        for (; bson_iter_next(&iter); place++) {
            if (test_value(condition, bson_iter_value(&iter))) {
                *array_index = *array_index >= 0 ? *array_index : place;
                return true;
            }
        }
    }
    return test_value(condition, value);
}

static bool visit_hit(const struct hf_sandbox_path_hit *hit, void *context)
{
    struct test *test = context;
    int32_t place = hit->array_index;

    if (!test_reached(test->condition, hit->value, &place)) {
        return false;
    }
    test->array_index = place;
    return true;
}

static bool test_doc(const struct condition *condition, const bson_t *doc, int32_t *array_index)
{
    struct test test = {.condition = condition, .array_index = -1};

    if (condition->kind == COND_NOT) {
        return !test_doc(condition->child, doc, &(int32_t){-1});
    }
    if (condition->kind == COND_AND || condition->kind == COND_OR) {
        for (const struct condition *child = condition->child; child != NULL; child = child->next) {
            if (test_doc(child, doc, array_index) != (condition->kind == COND_AND)) {
                return condition->kind == COND_OR;
            }
        }
        return condition->kind == COND_AND;
    }
    if (!hf_sandbox_path_walk(doc, condition->path, visit_hit, &test)) {
        return false;
    }
    if (test.array_index >= 0) {
        *array_index = test.array_index;
    }
    return true;
}

bool hf_sandbox_matcher_test(const struct hf_sandbox_matcher *matcher, const bson_t *doc)
{
    return test_doc(matcher->root, doc, &(int32_t){-1});
}

bool hf_sandbox_matcher_test_place(const struct hf_sandbox_matcher *matcher, const bson_t *doc,
                                   int32_t *array_index)
{
    *array_index = -1;
    return test_doc(matcher->root, doc, array_index);
}

/* ---- What a filter says for certain ---- */

static bool find_bound(const struct condition *and_group, const char *path, bool equal_only,
                       bson_value_t *out)
{
    for (const struct condition *child = and_group->child; child != NULL; child = child->next) {
        bool fits = child->kind == COND_EQ ||
                    (!equal_only && (child->kind == COND_GTE || child->kind == COND_GT));

        if (fits && child->path != NULL && strcmp(child->path, path) == 0 &&
            child->value.value_type != BSON_TYPE_ARRAY && !is_nullish(&child->value)) {
            *out = child->value;
            return true;
        }
        if (child->kind == COND_AND && find_bound(child, path, equal_only, out)) {
            return true;
        }
    }
    return false;
}

bool hf_sandbox_matcher_equal_to(const struct hf_sandbox_matcher *matcher, const char *path,
                                 bson_value_t *out)
{
    return find_bound(matcher->root, path, true, out);
}

bool hf_sandbox_matcher_at_least(const struct hf_sandbox_matcher *matcher, const char *path,
                                 bson_value_t *out)
{
    return find_bound(matcher->root, path, false, out);
}

static void show_equalities(const struct condition *and_group,
                            void (*show)(const char *path, const bson_value_t *value,
                                         void *context),
                            void *context)
{
    for (const struct condition *child = and_group->child; child != NULL; child = child->next) {
        if (child->kind == COND_EQ && child->path != NULL) {
            show(child->path, &child->value, context);
        } else if (child->kind == COND_AND) {
            show_equalities(child, show, context);
        }
    }
}

void hf_sandbox_matcher_each_equality(const struct hf_sandbox_matcher *matcher,
                                      void (*show)(const char *path, const bson_value_t *value,
                                                   void *context),
                                      void *context)
{
    show_equalities(matcher->root, show, context);
}
