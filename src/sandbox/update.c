/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Updates: each operator becomes one change of one path, in the order of the paths, which is also the order in which
 * new fields and the parts of the oplog entry appear. It knows nothing of collections.
 */
#include "sandbox/update.h"

#include <string.h>

#include "base/alloc.h"
#include "sandbox/edit.h"
#include "sandbox/path.h"
#include "sandbox/update_ops.h"

struct change {
    enum hf_sandbox_update_op op;
    const char *path;   /* borrowed from the copied specification */
    bson_value_t value; /* borrowed; for RENAME_TO the source's path */
};

struct hf_sandbox_update {
    bson_t *spec;    /* owned */
    bson_t *filters; /* owned: the arrayFilters, may be NULL */
    bool replacement;
    struct change *changes; /* owned */
    size_t count;
};

/* ---- Reading ---- */

static int compare_paths(const char *a, const char *b)
{
    for (; *a != '\0' && *a == *b; a++, b++) {
    }
    /* The end of a component sorts before whatever a longer one goes on with. */
    int x = *a == '\0' ? 0 : *a == '.' ? 1 : (unsigned char)*a + 2;
    int y = *b == '\0' ? 0 : *b == '.' ? 1 : (unsigned char)*b + 2;
    return x - y;
}

static int32_t add_change(struct hf_sandbox_update *update, const struct change *change,
                          struct hf_sandbox_refusal *no)
{
    struct change *grown;
    size_t at = update->count;

    if (change->path[0] == '\0' || strstr(change->path, "..") != NULL || change->path[0] == '.' ||
        change->path[strlen(change->path) - 1] == '.') {
        return hf_sandbox_refuse(
            no, 56, "The update path '%s' contains an empty field name, which is not allowed.",
            change->path);
    }
    for (size_t i = 0; i < update->count; i++) {
        const char *other = update->changes[i].path;
        size_t shorter =
            strlen(other) < strlen(change->path) ? strlen(other) : strlen(change->path);
        bool prefix = strncmp(other, change->path, shorter) == 0 &&
                      (other[shorter] == '\0' || other[shorter] == '.') &&
                      (change->path[shorter] == '\0' || change->path[shorter] == '.');
        if (prefix) {
            return hf_sandbox_refuse(no, HF_SANDBOX_CONFLICTING_UPDATE_OPERATORS,
                                     "Updating the path '%s' would create a conflict at '%.*s'",
                                     change->path, (int)shorter, change->path);
        }
    }
    grown = hf_realloc_array(update->changes, update->count + 1, sizeof *grown);
    HF_ASSERT(grown != NULL);
    update->changes = grown;
    while (at > 0 && compare_paths(grown[at - 1].path, change->path) > 0) {
        grown[at] = grown[at - 1];
        at--;
    }
    grown[at] = *change;
    update->count++;
    return 0;
}

static int32_t read_rename(struct hf_sandbox_update *update, const char *from,
                           const bson_value_t *to, struct hf_sandbox_refusal *no)
{
    struct change set = {.op = HF_SANDBOX_UPDATE_RENAME_TO};
    struct change unset = {.op = HF_SANDBOX_UPDATE_UNSET, .path = from};
    int32_t code;

    if (to->value_type != BSON_TYPE_UTF8) {
        return hf_sandbox_refuse(no, HF_SANDBOX_BAD_VALUE,
                                 "The 'to' field for $rename must be a string: %s", from);
    }
    set.path = to->value.v_utf8.str;
    set.value = hf_sandbox_value_of_utf8(from);
    code = add_change(update, &set, no);
    return code != 0 ? code : add_change(update, &unset, no);
}

static int32_t read_modifiers(struct hf_sandbox_update *update, struct hf_sandbox_refusal *no)
{
    bson_iter_t iter;
    int32_t code = 0;

    if (!bson_iter_init(&iter, update->spec)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed update");
    }
    while (code == 0 && bson_iter_next(&iter)) {
        const char *name = bson_iter_key(&iter);
        struct change change = {0};
        bson_iter_t field;

        if (!hf_sandbox_update_op_named(name, &change.op)) {
            return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE, "Unknown modifier: %s", name);
        }
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter) || !bson_iter_recurse(&iter, &field)) {
            return hf_sandbox_refuse(
                no, HF_SANDBOX_FAILED_TO_PARSE,
                "Modifiers operate on fields but we found type %s instead. For example: {$mod: "
                "{<field>: ...}} not {%s: ...}",
                hf_sandbox_type_name(bson_iter_type(&iter)), name);
        }
        while (code == 0 && bson_iter_next(&field)) {
            change.path = bson_iter_key(&field);
            change.value = *bson_iter_value(&field);
            code = change.op == HF_SANDBOX_UPDATE_RENAME_TO
                       ? read_rename(update, change.path, &change.value, no)
                       : add_change(update, &change, no);
        }
    }
    return code;
}

static int32_t read_replacement(struct hf_sandbox_update *update, struct hf_sandbox_refusal *no)
{
    bson_iter_t iter;

    update->replacement = true;
    if (bson_iter_init(&iter, update->spec)) {
        while (bson_iter_next(&iter)) {
            if (bson_iter_key(&iter)[0] == '$') {
                return hf_sandbox_refuse(
                    no, HF_SANDBOX_DOLLAR_PREFIXED_FIELD_NAME,
                    "The dollar ($) prefixed field '%s' in '%s' is not valid for storage.",
                    bson_iter_key(&iter), bson_iter_key(&iter));
            }
        }
    }
    return 0;
}

int32_t hf_sandbox_update_create(const bson_value_t *spec, const bson_t *array_filters,
                                 struct hf_sandbox_update **out, struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(hf_sandbox_update_destroy)
    struct hf_sandbox_update *update = hf_alloc_zero(sizeof *update);
    bson_t view;
    bson_iter_t iter;
    int32_t code;

    HF_ASSERT(update != NULL);
    if (spec->value_type == BSON_TYPE_ARRAY) {
        return hf_sandbox_refuse(no, HF_SANDBOX_NOT_IMPLEMENTED,
                                 "updates with a pipeline are not in the sandbox");
    }
    if (spec->value_type != BSON_TYPE_DOCUMENT || !hf_sandbox_value_doc(spec, &view)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE,
                                 "Update argument must be either an object or an array");
    }
    update->spec = bson_copy(&view);
    update->filters = array_filters == NULL ? NULL : bson_copy(array_filters);
    if (bson_iter_init(&iter, update->spec) && bson_iter_next(&iter) &&
        bson_iter_key(&iter)[0] == '$') {
        code = read_modifiers(update, no);
    } else {
        code = read_replacement(update, no);
    }
    if (code == 0) {
        *out = HF_TAKE(update);
    }
    return code;
}

void hf_sandbox_update_destroy(struct hf_sandbox_update *update)
{
    if (update != NULL) {
        hf_free(update->changes);
        bson_destroy(update->spec);
        bson_destroy(update->filters);
        hf_free(update);
    }
}

bool hf_sandbox_update_is_replacement(const struct hf_sandbox_update *update)
{
    return update->replacement;
}

void hf_sandbox_updated_fini(struct hf_sandbox_updated *updated)
{
    bson_destroy(updated->doc);
    bson_destroy(updated->o);
    *updated = (struct hf_sandbox_updated){0};
}

/* ---- Applying ---- */

struct application {
    const struct hf_sandbox_update *update;
    const bson_t *original;
    int32_t array_index;
    int64_t now_ms;
    bool inserting;
    bson_t *doc;    /* owned: as changed so far */
    bson_t set;     /* what the oplog entry says; owned */
    bson_t unset;   /* owned */
    bool set_first; /* $set was needed before $unset */
    struct hf_sandbox_refusal *no;
};

static void record(struct application *app, const char *path, const bson_value_t *value)
{
    if (bson_empty(&app->set) && bson_empty(&app->unset)) {
        app->set_first = value->value_type != BSON_TYPE_EOD;
    }
    if (value->value_type == BSON_TYPE_EOD) {
        bson_append_bool(&app->unset, path, -1, true);
    } else {
        hf_sandbox_append(&app->set, path, value);
    }
}

static bool same_value(const bson_value_t *a, const bson_value_t *b)
{
    if (a->value_type != b->value_type) {
        return false;
    }
    if (a->value_type == BSON_TYPE_DOCUMENT || a->value_type == BSON_TYPE_ARRAY) {
        return a->value.v_doc.data_len == b->value.v_doc.data_len &&
               memcmp(a->value.v_doc.data, b->value.v_doc.data, a->value.v_doc.data_len) == 0;
    }
    return hf_sandbox_value_compare(a, b) == 0;
}

/* A $push that only grew an array is written element by element. */
static void record_push(struct application *app, const char *path, const bson_value_t *old,
                        const bson_value_t *new)
{
    bson_t before;
    bson_t after;
    bson_iter_t iter;
    uint32_t skip;
    uint32_t at = 0;

    if (!hf_sandbox_value_doc(old, &before) || !hf_sandbox_value_doc(new, &after) ||
        !bson_iter_init(&iter, &after)) {
        record(app, path, new);
        return;
    }
    skip = bson_count_keys(&before);
    while (bson_iter_next(&iter)) {
        if (at++ >= skip) {
            char *key = hf_asprintf("%s.%s", path, bson_iter_key(&iter));
            HF_ASSERT(key != NULL);
            record(app, key, bson_iter_value(&iter));
            hf_free(key);
        }
    }
}

/* One change at a path without positional parts. */
static int32_t apply_at(struct application *app, const struct change *change, const char *path,
                        bool quiet)
{
    struct hf_sandbox_update_result result = {.value = hf_sandbox_value_missing};
    bson_value_t old = hf_sandbox_value_missing;
    struct hf_sandbox_update_step step = {
        .op = change->op,
        .path = path,
        .old = &old,
        .argument = &change->value,
        .now_ms = app->now_ms,
    };
    int32_t code;

    (void)hf_sandbox_get_path(app->doc, path, &old);
    if (change->op == HF_SANDBOX_UPDATE_SET_ON_INSERT && !app->inserting) {
        return 0;
    }
    if (change->op == HF_SANDBOX_UPDATE_RENAME_TO) {
        /* From the document as it was: the source's own removal may have come before. */
        if (!hf_sandbox_get_path(app->original, change->value.value.v_utf8.str, &result.value)) {
            return 0;
        }
        code = 0;
    } else {
        code = hf_sandbox_update_compute(&step, &result, app->no);
    }
    if (code == 0 && !result.unchanged && !same_value(&old, &result.value)) {
        if (!quiet && result.appended) {
            record_push(app, path, &old, &result.value);
        } else if (!quiet) {
            record(app, path, &result.value);
        }
        code = hf_sandbox_edit(&app->doc, path, &result.value, app->no);
    }
    if (result.owned) {
        bson_value_destroy(&result.value);
    }
    return code;
}

/* The filter among arrayFilters whose fields begin with the identifier. */
static bool find_filter(const bson_t *filters, const char *identifier, size_t len, bson_t *out)
{
    bson_iter_t iter;

    if (filters == NULL || !bson_iter_init(&iter, filters)) {
        return false;
    }
    while (bson_iter_next(&iter)) {
        bson_iter_t field;
        if (!hf_sandbox_value_doc(bson_iter_value(&iter), out) || !bson_iter_init(&field, out) ||
            !bson_iter_next(&field)) {
            continue;
        }
        const char *key = bson_iter_key(&field);
        if (strncmp(key, identifier, len) == 0 && (key[len] == '\0' || key[len] == '.')) {
            return true;
        }
    }
    return false;
}

static int32_t apply_positional(struct application *app, const struct change *change,
                                const char *path, bool quiet);

/* Element `at` of the array under prefix, where the positional part stood. */
static int32_t apply_element(struct application *app, const struct change *change,
                             const char *prefix, uint32_t at, const char *rest, bool quiet)
{
    char *path = hf_asprintf("%s.%u%s", prefix, at, rest);
    int32_t code;

    HF_ASSERT(path != NULL);
    code = apply_positional(app, change, path, quiet);
    hf_free(path);
    return code;
}

/* `$[]` or `$[name]` after prefix: every element that the filter lets through. */
static int32_t apply_filtered(struct application *app, const struct change *change,
                              const char *prefix, const char *part, const char *rest)
{
    HF_CLEANUP(hf_sandbox_matcher_destroy) struct hf_sandbox_matcher *matcher = NULL;
    size_t name_len = strcspn(part + 2, "]");
    bson_value_t array;
    bson_t view;
    bson_t filter;
    int32_t code = 0;

    if (name_len > 0) {
        if (!find_filter(app->update->filters, part + 2, name_len, &filter)) {
            return hf_sandbox_refuse(app->no, HF_SANDBOX_BAD_VALUE,
                                     "No array filter found for identifier '%.*s' in path '%s'",
                                     (int)name_len, part + 2, change->path);
        }
        code = hf_sandbox_matcher_create(&filter, &matcher, app->no);
    }
    if (code != 0) {
        return code;
    }
    if (!hf_sandbox_get_path(app->doc, prefix, &array) || array.value_type != BSON_TYPE_ARRAY ||
        !hf_sandbox_value_doc(&array, &view)) {
        return hf_sandbox_refuse(
            app->no, HF_SANDBOX_BAD_VALUE,
            "The path '%s' must exist in the document in order to apply array updates.", prefix);
    }
    bson_t *elements = bson_copy(&view); /* the document changes under the walk */
    bson_iter_t iter;
    uint32_t at = 0;
    bool walking = bson_iter_init(&iter, elements);
    for (; code == 0 && walking && bson_iter_next(&iter); at++) {
        bool fits = true;
        if (matcher != NULL) {
            bson_t probe = BSON_INITIALIZER;
            bson_append_value(&probe, part + 2, (int)name_len, bson_iter_value(&iter));
            fits = hf_sandbox_matcher_test(matcher, &probe);
            bson_destroy(&probe);
        }
        if (fits) {
            code = apply_element(app, change, prefix, at, rest, true);
        }
    }
    bson_destroy(elements);
    return code;
}

static int32_t apply_positional(struct application *app, const struct change *change,
                                const char *path, bool quiet)
{
    const char *part = strstr(path, ".$");
    size_t part_len;
    char *prefix;
    int32_t code;

    if (part == NULL) {
        return apply_at(app, change, path, quiet);
    }
    prefix = hf_strndup(path, (size_t)(part - path));
    HF_ASSERT(prefix != NULL);
    part++;
    part_len = strcspn(part, ".");
    if (part_len == 1) {
        code = app->array_index < 0
                   ? hf_sandbox_refuse(
                         app->no, HF_SANDBOX_BAD_VALUE,
                         "The positional operator did not find the match needed from the query.")
                   : apply_element(app, change, prefix, (uint32_t)app->array_index, part + part_len,
                                   quiet);
    } else if (part[1] == '[' && part[part_len - 1] == ']') {
        bson_value_t after;
        code = apply_filtered(app, change, prefix, part, part + part_len);
        /* The server writes the whole array, however few elements changed. */
        if (code == 0 && !quiet && hf_sandbox_get_path(app->doc, prefix, &after)) {
            bson_value_t before = hf_sandbox_value_missing;
            (void)hf_sandbox_get_path(app->original, prefix, &before);
            if (!same_value(&before, &after)) {
                record(app, prefix, &after);
            }
        }
    } else {
        code = hf_sandbox_refuse(
            app->no, HF_SANDBOX_DOLLAR_PREFIXED_FIELD_NAME,
            "The dollar ($) prefixed field '%.*s' in '%s' is not valid for storage.", (int)part_len,
            part, change->path);
    }
    hf_free(prefix);
    return code;
}

static int32_t check_id(const bson_t *before, const bson_t *after, struct hf_sandbox_refusal *no)
{
    bson_value_t old;
    bson_value_t new = hf_sandbox_value_missing;

    (void)hf_sandbox_get(after, "_id", &new);
    if (hf_sandbox_get(before, "_id", &old) && !same_value(&old, &new)) {
        return hf_sandbox_refuse(
            no, HF_SANDBOX_IMMUTABLE_FIELD,
            "Performing an update on the path '_id' would modify the immutable field '_id'");
    }
    return 0;
}

/* Runs all changes over app->doc. */
static int32_t apply_changes(struct application *app)
{
    int32_t code = 0;

    for (size_t i = 0; code == 0 && i < app->update->count; i++) {
        code = apply_positional(app, &app->update->changes[i], app->update->changes[i].path, false);
    }
    return code;
}

static bson_t *entry_of(const struct application *app)
{
    bson_t *o = bson_new();

    bson_append_int32(o, "$v", -1, 1);
    if (app->set_first && !bson_empty(&app->set)) {
        bson_append_document(o, "$set", -1, &app->set);
    }
    if (!bson_empty(&app->unset)) {
        bson_append_document(o, "$unset", -1, &app->unset);
    }
    if (!app->set_first && !bson_empty(&app->set)) {
        bson_append_document(o, "$set", -1, &app->set);
    }
    return o;
}

/* The replacement with the old document's _id in front. */
static int32_t replace(const bson_t *replacement, const bson_t *old, bson_t **out,
                       struct hf_sandbox_refusal *no)
{
    bson_t *doc = bson_new();
    bson_value_t id;
    bson_iter_t iter;
    int32_t code;

    if (hf_sandbox_get(old, "_id", &id) || hf_sandbox_get(replacement, "_id", &id)) {
        hf_sandbox_append(doc, "_id", &id);
    }
    if (bson_iter_init(&iter, replacement)) {
        while (bson_iter_next(&iter)) {
            if (strcmp(bson_iter_key(&iter), "_id") != 0) {
                hf_sandbox_append(doc, bson_iter_key(&iter), bson_iter_value(&iter));
            }
        }
    }
    code = bson_has_field(replacement, "_id") ? check_id(old, replacement, no) : 0;
    if (code != 0) {
        bson_destroy(doc);
        return code;
    }
    *out = doc;
    return 0;
}

int32_t hf_sandbox_update_apply(const struct hf_sandbox_update *update, const bson_t *doc,
                                int32_t array_index, int64_t now_ms, struct hf_sandbox_updated *out,
                                struct hf_sandbox_refusal *no)
{
    struct application app = {
        .update = update,
        .original = doc,
        .array_index = array_index,
        .now_ms = now_ms,
        .no = no,
    };
    int32_t code;

    *out = (struct hf_sandbox_updated){0};
    if (update->replacement) {
        code = replace(update->spec, doc, &out->doc, no);
        if (code == 0) {
            out->o = bson_copy(out->doc);
            out->changed = !bson_equal(out->doc, doc);
        }
        return code;
    }
    app.doc = bson_copy(doc);
    bson_init(&app.set);
    bson_init(&app.unset);
    code = apply_changes(&app);
    if (code == 0) {
        code = check_id(doc, app.doc, no);
    }
    if (code == 0) {
        out->o = entry_of(&app);
        out->changed = !bson_empty(&app.set) || !bson_empty(&app.unset);
        out->doc = HF_TAKE(app.doc);
    }
    bson_destroy(app.doc);
    bson_destroy(&app.set);
    bson_destroy(&app.unset);
    return code;
}

/* ---- Upsert ---- */

struct seed {
    bson_t *doc;
    int32_t code;
    struct hf_sandbox_refusal *no;
};

static void plant(const char *path, const bson_value_t *value, void *context)
{
    struct seed *seed = context;

    if (seed->code == 0) {
        seed->code = hf_sandbox_edit(&seed->doc, path, value, seed->no);
    }
}

bson_t *hf_sandbox_doc_with_id(const bson_t *doc)
{
    bson_t *out;
    bson_value_t id;
    bson_iter_t iter;

    if (bson_iter_init(&iter, doc) && bson_iter_next(&iter) &&
        strcmp(bson_iter_key(&iter), "_id") == 0) {
        return bson_copy(doc);
    }
    out = bson_new();
    if (hf_sandbox_get(doc, "_id", &id)) {
        hf_sandbox_append(out, "_id", &id);
    } else {
        bson_oid_t oid;
        bson_oid_init(&oid, NULL);
        bson_append_oid(out, "_id", -1, &oid);
    }
    if (bson_iter_init(&iter, doc)) {
        while (bson_iter_next(&iter)) {
            if (strcmp(bson_iter_key(&iter), "_id") != 0) {
                hf_sandbox_append(out, bson_iter_key(&iter), bson_iter_value(&iter));
            }
        }
    }
    return out;
}

int32_t hf_sandbox_update_insert(const struct hf_sandbox_update *update,
                                 const struct hf_sandbox_matcher *query, int64_t now_ms,
                                 bson_t **out, struct hf_sandbox_refusal *no)
{
    struct seed seed = {.doc = bson_new(), .no = no};
    bson_t *made = NULL;

    hf_sandbox_matcher_each_equality(query, plant, &seed);
    if (seed.code == 0 && update->replacement) {
        seed.code = replace(update->spec, seed.doc, &made, no);
    } else if (seed.code == 0) {
        struct application app = {
            .update = update,
            .original = seed.doc,
            .array_index = -1,
            .now_ms = now_ms,
            .inserting = true,
            .doc = bson_copy(seed.doc),
            .no = no,
        };
        bson_init(&app.set);
        bson_init(&app.unset);
        seed.code = apply_changes(&app);
        if (seed.code == 0) {
            seed.code = check_id(seed.doc, app.doc, no);
        }
        bson_destroy(&app.set);
        bson_destroy(&app.unset);
        made = app.doc;
    }
    if (seed.code == 0) {
        *out = hf_sandbox_doc_with_id(made);
    }
    bson_destroy(made);
    bson_destroy(seed.doc);
    return seed.code;
}
