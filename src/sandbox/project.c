/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Projections: which fields of a document stay, and which are computed. The specification is kept as nested documents,
 * whatever dots it was written with, and followed beside the document.
 */
#include <string.h>

#include "base/alloc.h"
#include "sandbox/edit.h"
#include "sandbox/expression.h"

struct hf_sandbox_projection {
    bson_t *spec; /* owned */
    bool inclusion;
};

enum field_kind { FIELD_FLAG, FIELD_NESTED, FIELD_COMPUTED };

static enum field_kind kind_of(const bson_value_t *value)
{
    bson_t view;
    bson_iter_t iter;

    if (value->value_type == BSON_TYPE_BOOL || hf_sandbox_is_number(value)) {
        return FIELD_FLAG;
    }
    if (value->value_type == BSON_TYPE_DOCUMENT && hf_sandbox_value_doc(value, &view) &&
        bson_iter_init(&iter, &view) && bson_iter_next(&iter) && bson_iter_key(&iter)[0] != '$') {
        return FIELD_NESTED;
    }
    return FIELD_COMPUTED;
}

struct modes {
    const char *included; /* first field of its kind, NULL: none */
    const char *excluded;
    bool id_flag;
    bool id_shown;
};

static void find_modes(const bson_t *level, bool top, struct modes *modes)
{
    bson_iter_t iter;
    bson_t inner;

    if (!bson_iter_init(&iter, level)) {
        return;
    }
    while (bson_iter_next(&iter)) {
        const bson_value_t *value = bson_iter_value(&iter);
        enum field_kind kind = kind_of(value);
        const char *key = bson_iter_key(&iter);

        if (kind == FIELD_NESTED && hf_sandbox_value_doc(value, &inner)) {
            find_modes(&inner, false, modes);
        } else if (top && kind == FIELD_FLAG && strcmp(key, "_id") == 0) {
            modes->id_flag = true;
            modes->id_shown = hf_sandbox_is_true(value);
        } else if (kind == FIELD_COMPUTED || hf_sandbox_is_true(value)) {
            modes->included = modes->included == NULL ? key : modes->included;
        } else {
            modes->excluded = modes->excluded == NULL ? key : modes->excluded;
        }
    }
}

int32_t hf_sandbox_projection_create(const bson_t *spec, struct hf_sandbox_projection **out,
                                     struct hf_sandbox_refusal *no)
{
    HF_CLEANUP(hf_sandbox_projection_destroy)
    struct hf_sandbox_projection *made = hf_alloc_zero(sizeof *made);
    struct modes modes = {0};
    bson_iter_t iter;

    HF_ASSERT(made != NULL);
    made->spec = bson_new();
    if (!bson_iter_init(&iter, spec)) {
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed projection");
    }
    while (bson_iter_next(&iter)) {
        int32_t code =
            hf_sandbox_edit(&made->spec, bson_iter_key(&iter), bson_iter_value(&iter), no);
        if (code != 0) {
            return hf_sandbox_refuse(no, 31250, "Path collision at %s", bson_iter_key(&iter));
        }
    }
    find_modes(made->spec, true, &modes);
    if (modes.included != NULL && modes.excluded != NULL) {
        return hf_sandbox_refuse(
            no, 31254, "Cannot do exclusion on field %s in inclusion projection", modes.excluded);
    }
    made->inclusion =
        modes.included != NULL || (modes.excluded == NULL && modes.id_flag && modes.id_shown);
    *out = HF_TAKE(made);
    return 0;
}

void hf_sandbox_projection_destroy(struct hf_sandbox_projection *projection)
{
    if (projection != NULL) {
        bson_destroy(projection->spec);
        hf_free(projection);
    }
}

struct projecting {
    bool inclusion;
    const bson_t *root;
    struct hf_sandbox_refusal *no;
};

static int32_t project_level(const struct projecting *how, const bson_t *spec, const bson_t *in,
                             bool array, bool top, bson_t *out);

/* A document or array below: its kept part under key; a scalar there stays only in an exclusion. */
static int32_t project_below(const struct projecting *how, const bson_t *spec, const char *key,
                             const bson_value_t *value, bson_t *out)
{
    bson_t inner;
    bson_t child = BSON_INITIALIZER;
    int32_t code;

    if (!hf_sandbox_value_doc(value, &inner)) {
        if (!how->inclusion) {
            hf_sandbox_append(out, key, value);
        }
        bson_destroy(&child);
        return 0;
    }
    code = project_level(how, spec, &inner, value->value_type == BSON_TYPE_ARRAY, false, &child);
    if (code == 0) {
        bson_value_t view = hf_sandbox_value_of_doc(&child);
        view.value_type = value->value_type;
        hf_sandbox_append(out, key, &view);
    }
    bson_destroy(&child);
    return code;
}

static int32_t project_array(const struct projecting *how, const bson_t *spec, bson_iter_t *iter,
                             bson_t *out)
{
    uint32_t index = 0;
    int32_t code = 0;

    while (code == 0 && bson_iter_next(iter)) {
        bson_t one = BSON_INITIALIZER;
        bson_iter_t kept;
        code = project_below(how, spec, "0", bson_iter_value(iter), &one);
        if (code == 0 && bson_iter_init(&kept, &one) && bson_iter_next(&kept)) {
            hf_sandbox_append_element(out, &index, bson_iter_value(&kept));
        }
        bson_destroy(&one);
    }
    return code;
}

/* Computed fields come after those that were kept. */
static int32_t add_computed(const struct projecting *how, const bson_t *spec, const bson_t *in,
                            bson_t *out)
{
    bson_iter_t iter;
    int32_t code = 0;

    if (!bson_iter_init(&iter, spec)) {
        return 0;
    }
    while (code == 0 && bson_iter_next(&iter)) {
        const bson_value_t *value = bson_iter_value(&iter);
        enum field_kind kind = kind_of(value);
        bson_value_t computed = hf_sandbox_value_missing;

        if (kind == FIELD_COMPUTED) {
            code = hf_sandbox_evaluate(value, how->root, &computed, how->no);
            if (code == 0 && computed.value_type != BSON_TYPE_EOD) {
                hf_sandbox_append(out, bson_iter_key(&iter), &computed);
                bson_value_destroy(&computed);
            }
        } else if (kind == FIELD_NESTED && how->inclusion &&
                   !bson_has_field(in, bson_iter_key(&iter))) {
            bson_t nothing = BSON_INITIALIZER;
            bson_t child = BSON_INITIALIZER;
            bson_t inner;
            if (hf_sandbox_value_doc(value, &inner)) {
                code = add_computed(how, &inner, &nothing, &child);
            }
            if (code == 0 && !bson_empty(&child)) {
                bson_append_document(out, bson_iter_key(&iter), -1, &child);
            }
            bson_destroy(&child);
        }
    }
    return code;
}

static int32_t project_level(const struct projecting *how, const bson_t *spec, const bson_t *in,
                             bool array, bool top, bson_t *out)
{
    bson_iter_t iter;
    int32_t code = 0;

    if (!bson_iter_init(&iter, in)) {
        return hf_sandbox_refuse(how->no, HF_SANDBOX_INVALID_BSON, "malformed document");
    }
    if (array) {
        return project_array(how, spec, &iter, out);
    }
    while (code == 0 && bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        bson_value_t wanted;
        bson_t inner;

        if (!hf_sandbox_get(spec, key, &wanted)) {
            if (!how->inclusion || (top && strcmp(key, "_id") == 0)) {
                hf_sandbox_append(out, key, bson_iter_value(&iter));
            }
        } else if (kind_of(&wanted) == FIELD_FLAG) {
            if (hf_sandbox_is_true(&wanted)) {
                hf_sandbox_append(out, key, bson_iter_value(&iter));
            }
        } else if (kind_of(&wanted) == FIELD_NESTED && hf_sandbox_value_doc(&wanted, &inner)) {
            code = project_below(how, &inner, key, bson_iter_value(&iter), out);
        }
    }
    return code == 0 ? add_computed(how, spec, in, out) : code;
}

int32_t hf_sandbox_project(const struct hf_sandbox_projection *projection, const bson_t *doc,
                           bson_t **out, struct hf_sandbox_refusal *no)
{
    struct projecting how = {.inclusion = projection->inclusion, .root = doc, .no = no};
    bson_t *made = bson_new();
    int32_t code = project_level(&how, projection->spec, doc, false, true, made);

    if (code != 0) {
        bson_destroy(made);
        return code;
    }
    *out = made;
    return 0;
}
