/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Updates: each operator becomes one change of one path, in the order of the paths, which is also the order in which
 * new fields and the parts of the oplog entry appear. It knows nothing of collections.
 */
#include "sandbox/update.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct change {
    const struct op_row *op;
    const char *path;
    bson_value_t value;
};

struct application {
    const bson_t *original;
    bson_t *doc;     /* owned: as changed so far */
    bson_t parts[2]; /* what the oplog entry says: $set, $unset */
    unsigned first;  /* that was needed */
    struct hf_sandbox_refusal *no;
    struct change change; /* under way */
    bson_value_t old;
    bson_t made; /* {v: new value}, empty where the field is to go */
};

/* ---- A document with one path changed ---- */

struct edit {
    const char *path; /* what is left of it */
    const bson_value_t *value;
    struct hf_sandbox_refusal *no;
};

/* Writes what becomes of in, a document, an array or missing: the field that the path begins with is changed in its
 * place, or comes last where it is new. */
static int32_t edit_level(struct edit edit, const bson_value_t *in, bson_t *out)
{
    const char *const path = edit.path;
    const size_t len = strcspn(path, ".");
    const bool array = in->value_type == BSON_TYPE_ARRAY;
    bool found = false, more = true;
    bson_iter_t iter;
    int32_t code = 0;

    if (!hf_sandbox_value_iter(in, in->value_type, &iter)) {
        more = false;
        if (in->value_type != BSON_TYPE_EOD) {
            return hf_sandbox_refuse(edit.no, HF_SANDBOX_PATH_NOT_VIABLE,
                                     "Cannot create field '%.*s' in an element of type %s",
                                     (int)len, path, hf_sandbox_type_name(in->value_type));
        }
    }
    for (uint32_t count = 0; code == 0 && (more || !found); count++) {
        bson_value_t old = hf_sandbox_value_missing, made;
        bson_t child = BSON_INITIALIZER;

        more = more && bson_iter_next(&iter);
        if (more) {
            const char *key = bson_iter_key(&iter);
            old = *bson_iter_value(&iter);
            if (found || strlen(key) != len || memcmp(key, path, len) != 0) {
                hf_sandbox_append(out, key, &old);
                continue;
            }
        } else if (found) {
            break;
        } else if (array &&
                   (!hf_sandbox_path_is_index(path, len) || strtoul(path, NULL, 10) != count)) {
            return hf_sandbox_refuse(edit.no, HF_SANDBOX_PATH_NOT_VIABLE,
                                     "Cannot create field '%.*s' in an array", (int)len, path);
        }
        found = true;
        made = *edit.value;
        if (path[len] == '.') {
            edit.path = path + len + 1;
            code = edit_level(edit, &old, &child);
            made = hf_sandbox_value_of_doc(&child);
            made.value_type =
                old.value_type == BSON_TYPE_ARRAY ? BSON_TYPE_ARRAY : BSON_TYPE_DOCUMENT;
        } else if (array && made.value_type == BSON_TYPE_EOD) {
            made.value_type = BSON_TYPE_NULL;
        }
        if (made.value_type != BSON_TYPE_EOD) {
            bson_append_value(out, path, (int)len, &made);
        }
        bson_destroy(&child);
    }
    return code;
}

int32_t hf_sandbox_edit(bson_t **doc, const char *path, const bson_value_t *value,
                        struct hf_sandbox_refusal *no)
{
    bson_value_t in = hf_sandbox_value_of_doc(*doc);
    bson_t *out = bson_new();
    int32_t code = edit_level((struct edit){path, value, no}, &in, out);

    bson_destroy(*doc);
    *doc = out;
    return code;
}

/* ---- Operators: each appends the new value to app->made ---- */

static int32_t set(struct application *app)
{
    hf_sandbox_append(&app->made, "v", &app->change.value);
    return 0;
}

static int32_t increment(struct application *app)
{
    const bson_value_t zero = hf_sandbox_value_of_int32(0);
    const bson_value_t *old = app->old.value_type == BSON_TYPE_EOD ? &zero : &app->old;
    const bson_value_t *by = &app->change.value;
    bson_value_t sum;

    if (!hf_sandbox_is_number(old) || !hf_sandbox_is_number(by) ||
        !hf_sandbox_value_add(old, by, &sum)) {
        return hf_sandbox_refuse(app->no, HF_SANDBOX_TYPE_MISMATCH,
                                 "Cannot increment '%s' of type %s by a value of type %s",
                                 app->change.path, hf_sandbox_type_name(old->value_type),
                                 hf_sandbox_type_name(by->value_type));
    }
    hf_sandbox_append(&app->made, "v", &sum);
    return 0;
}

/* The argument, or what its $each lists. */
static int32_t push(struct application *app)
{
    const bson_value_t *argument = &app->change.value;
    bson_iter_t iter;
    bson_iter_t each;
    bson_t array;
    uint32_t index = 0;

    bson_append_array_begin(&app->made, "v", 1, &array);
    bool fits = app->old.value_type == BSON_TYPE_EOD;
    if (hf_sandbox_value_iter(&app->old, BSON_TYPE_ARRAY, &iter)) {
        for (fits = true; bson_iter_next(&iter);) {
            hf_sandbox_append_element(&array, &index, bson_iter_value(&iter));
        }
    }
    if (hf_sandbox_value_iter(argument, BSON_TYPE_DOCUMENT, &iter) && bson_iter_next(&iter) &&
        bson_iter_key(&iter)[0] == '$') {
        fits = fits && strcmp(bson_iter_key(&iter), "$each") == 0 && BSON_ITER_HOLDS_ARRAY(&iter) &&
               bson_iter_recurse(&iter, &each) && !bson_iter_next(&iter);
        while (fits && bson_iter_next(&each)) {
            hf_sandbox_append_element(&array, &index, bson_iter_value(&each));
        }
    } else {
        hf_sandbox_append_element(&array, &index, argument);
    }
    bson_append_array_end(&app->made, &array);
    return fits ? 0
                : hf_sandbox_refuse(app->no, HF_SANDBOX_BAD_VALUE,
                                    "$push to '%s' needs an array, and $each alone if at all",
                                    app->change.path);
}

static const struct op_row {
    const char *name;
    int32_t (*compute)(struct application *app); /* NULL: there is no new value */
} op_rows[] = {{"$set", set}, {"$unset", NULL}, {"$inc", increment}, {"$push", push}};

static const struct op_row *op_named(const char *name)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(op_rows); i++) {
        if (strcmp(op_rows[i].name, name) == 0) {
            return &op_rows[i];
        }
    }
    return NULL;
}

/* ---- Reading ---- */

/* The dot and the end of a path sort before whatever a longer name goes on with. */
static int rank(char c)
{
    return c == '\0' ? 0 : c == '.' ? 1 : (unsigned char)c + 2;
}

static int compare_paths(const char *a, const char *b)
{
    for (; *a != '\0' && *a == *b; a++, b++) {
    }
    return rank(*a) - rank(*b);
}

/* The first change in the order of paths behind the last one: its path is NULL at the end, its op where two change one
 * path. */
static int32_t next_change(const bson_t *spec, const char *last, struct change *out,
                           struct hf_sandbox_refusal *no)
{
    bson_iter_t field;

    *out = (struct change){0};
    HF_SANDBOX_EACH (iter, spec, true) {
        const struct op_row *op = op_named(bson_iter_key(&iter));

        if (op == NULL || !BSON_ITER_HOLDS_DOCUMENT(&iter) || !bson_iter_recurse(&iter, &field)) {
            return hf_sandbox_refuse(no, HF_SANDBOX_FAILED_TO_PARSE, "Unknown modifier: %s",
                                     bson_iter_key(&iter));
        }
        while (bson_iter_next(&field)) {
            const char *path = bson_iter_key(&field);
            int order = out->path == NULL ? -1 : compare_paths(path, out->path);

            if (last != NULL && compare_paths(path, last) <= 0) {
                continue;
            }
            if (order < 0) {
                *out = (struct change){op, path, *bson_iter_value(&field)};
            } else if (order == 0) {
                out->op = NULL;
            }
        }
    }
    return 0;
}

bool hf_sandbox_update_is_replacement(const bson_t *spec)
{
    bson_iter_t iter;

    return !bson_iter_init(&iter, spec) || !bson_iter_next(&iter) || bson_iter_key(&iter)[0] != '$';
}

void hf_sandbox_updated_fini(struct hf_sandbox_updated *updated)
{
    bson_destroy(updated->doc);
    bson_destroy(updated->o);
    *updated = (struct hf_sandbox_updated){0};
}

/* ---- Applying ---- */

/* A $push that only grew an array is written element by element. */
static void record(struct application *app, const bson_value_t *new)
{
    const char *path = app->change.path;
    bool unset = new->value_type == BSON_TYPE_EOD;
    bson_iter_t iter;
    bson_t before;

    if (bson_empty(&app->parts[0]) && bson_empty(&app->parts[1])) {
        app->first = unset;
    }
    if (app->change.op->compute == push && hf_sandbox_value_doc(&app->old, &before) &&
        hf_sandbox_value_iter(new, BSON_TYPE_ARRAY, &iter)) {
        uint32_t skip = bson_count_keys(&before);
        for (uint32_t at = 0; bson_iter_next(&iter); at++) {
            char *key = hf_asprintf("%s.%u", path, at);
            HF_ASSERT(key != NULL);
            hf_sandbox_append(&app->parts[0], key,
                              at < skip ? &hf_sandbox_value_missing : bson_iter_value(&iter));
            hf_free(key);
        }
    } else {
        const bson_value_t truth = hf_sandbox_value_of_bool(true);
        hf_sandbox_append(&app->parts[unset], path, unset ? &truth : new);
    }
}

static int32_t apply_change(struct application *app)
{
    bson_value_t new = hf_sandbox_value_missing;
    bson_t before = BSON_INITIALIZER;
    int32_t code;

    app->old = hf_sandbox_value_missing;
    (void)hf_sandbox_get_path(app->doc, app->change.path, &app->old);
    hf_sandbox_append(&before, "v", &app->old);
    bson_reinit(&app->made);
    code = app->change.op->compute == NULL ? 0 : app->change.op->compute(app);
    if (code == 0 && !bson_equal(&before, &app->made)) {
        (void)hf_sandbox_get(&app->made, "v", &new);
        record(app, &new);
        code = hf_sandbox_edit(&app->doc, app->change.path, &new, app->no);
    }
    bson_destroy(&before);
    return code;
}

/* The document with that _id, if any, as its first field. */
static bson_t *with_id(const bson_t *doc, const bson_value_t *id)
{
    bson_t *out = bson_new();

    hf_sandbox_append(out, "_id", id);
    bson_copy_to_excluding_noinit(doc, out, "_id", NULL);
    return out;
}

static int32_t check_id(const struct application *app)
{
    bson_value_t old;
    bson_value_t new = hf_sandbox_value_missing;

    (void)hf_sandbox_get(app->doc, "_id", &new);
    return !hf_sandbox_get(app->original, "_id", &old) || hf_sandbox_value_compare(&old, &new) == 0
               ? 0
               : hf_sandbox_refuse(app->no, HF_SANDBOX_IMMUTABLE_FIELD,
                                   "Performing an update on the path '_id' would modify the "
                                   "immutable field '_id'");
}

static int32_t refuse_dollar(const struct application *app, const char *path)
{
    return hf_sandbox_refuse(app->no, HF_SANDBOX_DOLLAR_PREFIXED_FIELD_NAME,
                             "The dollar ($) prefixed field in '%s' is not valid for storage.",
                             path);
}

/* The replacement with the old document's _id in front. */
static int32_t replace(struct application *app, const bson_t *spec)
{
    bson_value_t id = hf_sandbox_value_missing;

    HF_SANDBOX_EACH (iter, spec, true) {
        if (bson_iter_key(&iter)[0] == '$') {
            return refuse_dollar(app, bson_iter_key(&iter));
        }
    }
    (void)(hf_sandbox_get(spec, "_id", &id) || hf_sandbox_get(app->original, "_id", &id));
    app->doc = with_id(spec, &id);
    return 0;
}

static int32_t modify(struct application *app, const bson_t *spec)
{
    const char *last = NULL;
    int32_t code;

    app->doc = bson_copy(app->original);
    for (;;) {
        code = next_change(spec, last, &app->change, app->no);
        const char *path = app->change.path;
        if (code != 0 || path == NULL) {
            return code;
        }
        if (path[0] == '$' || strstr(path, ".$") != NULL) {
            return refuse_dollar(app, path);
        }
        if (app->change.op == NULL ||
            (last != NULL && strncmp(path, last, strlen(last)) == 0 && path[strlen(last)] == '.')) {
            return hf_sandbox_refuse(app->no, HF_SANDBOX_CONFLICTING_UPDATE_OPERATORS,
                                     "Updating the path '%s' would create a conflict", path);
        }
        code = apply_change(app);
        if (code != 0) {
            return code;
        }
        last = path;
    }
}

int32_t hf_sandbox_update_apply(const bson_t *spec, const bson_t *doc,
                                struct hf_sandbox_updated *out, struct hf_sandbox_refusal *no)
{
    static const char *const names[] = {"$set", "$unset"};
    struct application app = {.original = doc, .no = no};
    bool replacement = hf_sandbox_update_is_replacement(spec);
    int32_t code;

    bson_init(&app.parts[0]);
    bson_init(&app.parts[1]);
    bson_init(&app.made);
    code = replacement ? replace(&app, spec) : modify(&app, spec);
    code = code != 0 ? code : check_id(&app);
    *out = (struct hf_sandbox_updated){0};
    if (code == 0) {
        out->changed = !bson_equal(app.doc, doc);
        out->o = replacement ? bson_copy(app.doc) : BCON_NEW("$v", BCON_INT32(1));
        for (unsigned i = 0; i < 2; i++) {
            unsigned part = i ^ app.first;
            if (!bson_empty(&app.parts[part])) {
                bson_append_document(out->o, names[part], -1, &app.parts[part]);
            }
        }
        out->doc = HF_TAKE(app.doc);
    }
    bson_destroy(app.doc);
    bson_destroy(&app.parts[0]);
    bson_destroy(&app.parts[1]);
    bson_destroy(&app.made);
    return code;
}

/* ---- Upsert ---- */

bson_t *hf_sandbox_doc_with_id(const bson_t *doc)
{
    bson_value_t id = {.value_type = BSON_TYPE_OID};

    if (!hf_sandbox_get(doc, "_id", &id)) {
        bson_oid_init(&id.value.v_oid, NULL);
    }
    return with_id(doc, &id);
}

int32_t hf_sandbox_update_insert(const bson_t *spec, const bson_t *query, bson_t **out,
                                 struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(hf_sandbox_updated_fini) struct hf_sandbox_updated updated = {0};
    bson_t *seed = bson_new();
    bson_value_t value;
    int32_t code = 0;

    HF_SANDBOX_EACH (iter, query, code == 0) {
        const char *path = bson_iter_key(&iter);
        if (path[0] != '$' && hf_sandbox_filter_bound(query, path, "$eq", &value)) {
            code = hf_sandbox_edit(&seed, path, &value, no);
        }
    }
    code = code != 0 ? code : hf_sandbox_update_apply(spec, seed, &updated, no);
    if (code == 0) {
        *out = hf_sandbox_doc_with_id(updated.doc);
    }
    bson_destroy(seed);
    return code;
}
