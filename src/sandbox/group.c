/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups are kept sorted by their key, which finds them and makes the answer's order the same every time.
 */
#include "sandbox/group.h"

#include <string.h>

#include "base/alloc.h"
#include "sandbox/expression.h"
#include "sandbox/update_ops.h"

#define MAX_FIELDS 32

enum accumulator { ACC_SUM, ACC_AVG, ACC_MIN, ACC_MAX, ACC_FIRST, ACC_LAST, ACC_PUSH };

static const char *const accumulator_names[] = {"$sum",   "$avg",  "$min", "$max",
                                                "$first", "$last", "$push"};

struct field {
    const char *name; /* borrowed from the specification */
    enum accumulator kind;
    bson_value_t expression; /* borrowed */
};

struct cell {
    bson_value_t value; /* owned */
    int64_t count;
    bson_t *list; /* owned: $push */
};

struct member {
    bson_value_t id;    /* owned */
    struct cell *cells; /* owned */
};

struct hf_sandbox_group {
    bson_value_t id; /* borrowed: the key's expression */
    struct field fields[MAX_FIELDS];
    size_t field_count;
    struct member *members; /* owned */
    size_t count, capacity;
};

static void drop_value(bson_value_t *value)
{
    if (value->value_type != BSON_TYPE_EOD) {
        bson_value_destroy(value);
    }
    *value = hf_sandbox_value_missing;
}

static int32_t read_field(struct hf_sandbox_group *group, const char *name,
                          const bson_value_t *value, struct hf_sandbox_refusal *no)
{
    struct field *field = &group->fields[group->field_count];
    bson_t view;
    bson_iter_t iter;

    if (value->value_type != BSON_TYPE_DOCUMENT || !hf_sandbox_value_doc(value, &view) ||
        !bson_iter_init(&iter, &view) || !bson_iter_next(&iter)) {
        return hf_sandbox_refuse(no, 40234, "The field '%s' must be an accumulator object", name);
    }
    if (group->field_count == MAX_FIELDS) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE, "a $group of more than %d fields",
                                 MAX_FIELDS);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(accumulator_names); i++) {
        if (strcmp(bson_iter_key(&iter), accumulator_names[i]) == 0) {
            *field = (struct field){
                .name = name, .kind = (enum accumulator)i, .expression = *bson_iter_value(&iter)};
            group->field_count++;
            return 0;
        }
    }
    return hf_sandbox_refuse(no, 15952, "unknown group operator '%s'", bson_iter_key(&iter));
}

int32_t hf_sandbox_group_create(const bson_t *spec, struct hf_sandbox_group **out,
                                struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(hf_sandbox_group_destroy)
    struct hf_sandbox_group *group = hf_alloc_zero(sizeof *group);
    bson_iter_t iter;
    bool id_found = false;

    HF_ASSERT(group != NULL);
    if (!bson_iter_init(&iter, spec)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed $group");
    }
    while (bson_iter_next(&iter)) {
        if (strcmp(bson_iter_key(&iter), "_id") == 0) {
            group->id = *bson_iter_value(&iter);
            id_found = true;
            continue;
        }
        int32_t code = read_field(group, bson_iter_key(&iter), bson_iter_value(&iter), no);
        if (code != 0) {
            return code;
        }
    }
    if (!id_found) {
        return hf_sandbox_refuse(no, 15955, "a group specification must include an _id");
    }
    *out = HF_TAKE(group);
    return 0;
}

void hf_sandbox_group_destroy(struct hf_sandbox_group *group)
{
    if (group == NULL) {
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        drop_value(&group->members[i].id);
        for (size_t f = 0; f < group->field_count; f++) {
            drop_value(&group->members[i].cells[f].value);
            bson_destroy(group->members[i].cells[f].list);
        }
        hf_free(group->members[i].cells);
    }
    hf_free(group->members);
    hf_free(group);
}

/* Takes id. */
static struct member *find_member_take(struct hf_sandbox_group *group, bson_value_t *id)
{
    size_t low = 0;
    size_t high = group->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = hf_sandbox_value_compare(&group->members[middle].id, id);
        if (order == 0) {
            drop_value(id);
            return &group->members[middle];
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    if (group->count == group->capacity) {
        size_t capacity = group->capacity == 0 ? 16 : group->capacity * 2;
        struct member *grown = hf_realloc_array(group->members, capacity, sizeof *grown);
        HF_ASSERT(grown != NULL);
        group->members = grown;
        group->capacity = capacity;
    }
    memmove(group->members + low + 1, group->members + low,
            (group->count - low) * sizeof *group->members);
    group->count++;
    group->members[low].id = *id;
    group->members[low].cells = hf_alloc_zero((group->field_count + 1) * sizeof(struct cell));
    HF_ASSERT(group->members[low].cells != NULL);
    return &group->members[low];
}

/* Takes value. */
static int32_t accumulate_take(struct cell *cell, enum accumulator kind, bson_value_t *value,
                               struct hf_sandbox_refusal *no)
{
    bool nullish = value->value_type == BSON_TYPE_EOD || value->value_type == BSON_TYPE_NULL;
    bool replace = false;
    int32_t code = 0;

    switch (kind) {
    case ACC_SUM:
    case ACC_AVG:
        if (hf_sandbox_is_number(value)) {
            bson_value_t before = cell->count == 0 ? hf_sandbox_value_of_int32(0) : cell->value;
            code = hf_sandbox_arithmetic('+', &before, value, &cell->value, no);
            cell->count++;
        }
        break;
    case ACC_MIN:
    case ACC_MAX: {
        int order = cell->count == 0 ? 0 : hf_sandbox_value_compare(value, &cell->value);
        replace = !nullish && (cell->count == 0 || (kind == ACC_MIN ? order < 0 : order > 0));
        cell->count += replace;
        break;
    }
    case ACC_FIRST:
        replace = cell->count++ == 0;
        break;
    case ACC_LAST:
        replace = true;
        break;
    case ACC_PUSH:
        cell->list = cell->list == NULL ? bson_new() : cell->list;
        if (value->value_type != BSON_TYPE_EOD) {
            uint32_t index = (uint32_t)cell->count++;
            hf_sandbox_append_element(cell->list, &index, value);
        }
        break;
    }
    if (replace) {
        drop_value(&cell->value);
        cell->value = *value;
    } else {
        drop_value(value);
    }
    return code;
}

int32_t hf_sandbox_group_add(struct hf_sandbox_group *group, const bson_t *doc,
                             struct hf_sandbox_refusal *no)
{
    struct member *member;
    bson_value_t id;
    int32_t code = hf_sandbox_evaluate(&group->id, doc, &id, no);

    if (code != 0) {
        return code;
    }
    if (id.value_type == BSON_TYPE_EOD) {
        id.value_type = BSON_TYPE_NULL;
    }
    member = find_member_take(group, &id);
    for (size_t i = 0; code == 0 && i < group->field_count; i++) {
        bson_value_t value;
        code = hf_sandbox_evaluate(&group->fields[i].expression, doc, &value, no);
        if (code == 0) {
            code = accumulate_take(&member->cells[i], group->fields[i].kind, &value, no);
        }
    }
    return code;
}

size_t hf_sandbox_group_count(const struct hf_sandbox_group *group)
{
    return group->count;
}

bson_t *hf_sandbox_group_doc(const struct hf_sandbox_group *group, size_t at)
{
    const struct member *member = &group->members[at];
    bson_t *doc = bson_new();

    hf_sandbox_append(doc, "_id", &member->id);
    for (size_t i = 0; i < group->field_count; i++) {
        const struct cell *cell = &member->cells[i];
        bson_value_t value = cell->value;

        if (group->fields[i].kind == ACC_PUSH) {
            bson_append_array(doc, group->fields[i].name, -1, cell->list);
            continue;
        }
        if (group->fields[i].kind == ACC_AVG && cell->count > 0) {
            value = hf_sandbox_value_of_double(hf_sandbox_as_double(&cell->value) /
                                               (double)cell->count);
        } else if (value.value_type == BSON_TYPE_EOD) {
            value = group->fields[i].kind == ACC_SUM ? hf_sandbox_value_of_int32(0)
                                                     : (bson_value_t){.value_type = BSON_TYPE_NULL};
        }
        hf_sandbox_append(doc, group->fields[i].name, &value);
    }
    return doc;
}
