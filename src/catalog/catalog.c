/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog as its callers see it: checks kinds, ids, queries and sizes before a driver is asked,
 * and puts call, kind and id in front of what a driver reports. Must not know how a driver keeps
 * documents.
 *
 * Fault points stand around every call: "catalog.sqlite.insert" fails before anything happens,
 * "catalog.sqlite.insert.done" after it happened, as when a process dies before it could use the
 * answer.
 */
#include "catalog/catalog.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "catalog/driver.h"

#define DEFAULT_LIMIT 1000
#define KIND_MAX_BYTES 64
#define FIELD_MAX_BYTES 64
#define KIND_MAX_COUNT 256

#ifdef HF_FAULTS
static enum hf_err fault(const struct hf_catalog *catalog, const char *call, const char *when,
                         struct hf_error *err)
{
    char point[64];
    snprintf(point, sizeof point, "catalog.%s.%s%s", catalog->driver->name, call, when);
    return hf_fault_hit(point, err);
}
#else
static enum hf_err fault(const struct hf_catalog *catalog, const char *call, const char *when,
                         struct hf_error *err)
{
    (void)catalog, (void)call, (void)when, (void)err;
    return HF_ERR_OK;
}
#endif

/* ---- Checks ---- */

static bool is_word(const char *text, size_t max, bool upper)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        bool ok =
            (text[i] >= 'a' && text[i] <= 'z') || text[i] == '_' ||
            (upper && ((text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= '0' && text[i] <= '9')));
        if (!ok) {
            return false;
        }
    }
    return len > 0 && len <= max;
}

static enum hf_err check_kind(const struct hf_catalog_options *options, size_t at,
                              struct hf_error *err)
{
    const struct hf_catalog_kind *kind = &options->kinds[at];
    if (!is_word(kind->name, KIND_MAX_BYTES, false)) {
        return hf_fail(err, HF_ERR_INVALID, "kind \"%s\" is not a name of [a-z_]", kind->name);
    }
    for (size_t i = 0; i < at; i++) {
        if (strcmp(options->kinds[i].name, kind->name) == 0) {
            return hf_fail(err, HF_ERR_INVALID, "kind %s is declared twice", kind->name);
        }
    }
    for (size_t i = 0; i < HF_CATALOG_INDEX_MAX && kind->indexes[i] != NULL; i++) {
        if (!is_word(kind->indexes[i], FIELD_MAX_BYTES, true)) {
            return hf_fail(err, HF_ERR_INVALID,
                           "index \"%s\" of kind %s is not a name of [A-Za-z0-9_]",
                           kind->indexes[i], kind->name);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(kind->indexes[j], kind->indexes[i]) == 0) {
                return hf_fail(err, HF_ERR_INVALID, "index %s of kind %s is declared twice",
                               kind->indexes[i], kind->name);
            }
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_catalog_check_kinds(const struct hf_catalog_options *options, struct hf_error *err)
{
    if (options->kind_count > KIND_MAX_COUNT) {
        return hf_fail(err, HF_ERR_INVALID, "more than %d kinds", KIND_MAX_COUNT);
    }
    for (size_t i = 0; i < options->kind_count; i++) {
        if (check_kind(options, i, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err find_kind(const struct hf_catalog *catalog, const char *name,
                             const struct hf_catalog_kind **out, struct hf_error *err)
{
    for (size_t i = 0; i < catalog->kind_count; i++) {
        if (strcmp(catalog->kinds[i].name, name) == 0) {
            *out = &catalog->kinds[i];
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "no such kind of document");
}

/* An id may come from a URL: printable, and short. */
static enum hf_err check_id(const char *id, struct hf_error *err)
{
    size_t len = strlen(id);
    if (len == 0 || len > HF_CATALOG_ID_MAX_BYTES) {
        return hf_fail(err, HF_ERR_INVALID, "an id has 1 to %d bytes", HF_CATALOG_ID_MAX_BYTES);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)id[i] < ' ' || id[i] == '\x7f') {
            return hf_fail(err, HF_ERR_INVALID, "the id holds a control character");
        }
    }
    return HF_ERR_OK;
}

static enum hf_err check_query(const struct hf_catalog_kind *kind,
                               const struct hf_catalog_query *query, struct hf_error *err)
{
    if (query->after != NULL && query->index != NULL && query->equals_text == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "behind an id, but not in the order of ids");
    }
    if (query->index == NULL) {
        return query->equals_text == NULL && !query->has_range
                   ? HF_ERR_OK
                   : hf_fail(err, HF_ERR_INVALID, "a text or range to look for, but no index");
    }
    if (query->equals_text != NULL && query->has_range) {
        return hf_fail(err, HF_ERR_INVALID, "a text and a range of one index: nothing is both");
    }
    for (size_t i = 0; i < HF_CATALOG_INDEX_MAX && kind->indexes[i] != NULL; i++) {
        if (strcmp(kind->indexes[i], query->index) == 0) {
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "it has no index %s", query->index);
}

/* ---- Calls ---- */

/* Ids that were refused may be long or hold anything. */
static enum hf_err framed(const char *call, const char *kind, const char *id, struct hf_error *err)
{
    char shown[HF_CATALOG_ID_MAX_BYTES + 1];
    size_t i = 0;
    for (; i < sizeof shown - 1 && id[i] != '\0'; i++) {
        shown[i] = (unsigned char)id[i] < ' ' || id[i] == '\x7f' ? '?' : id[i];
    }
    shown[i] = '\0';
    return hf_wrap(err, "%s %s %s", call, kind, shown);
}

enum hf_err hf_catalog_get(struct hf_catalog *catalog, const char *kind, const char *id,
                           struct hf_catalog_document *out, struct hf_error *err)
{
    const struct hf_catalog_kind *found = NULL;
    *out = (struct hf_catalog_document){.json = NULL};
    if (find_kind(catalog, kind, &found, err) != HF_ERR_OK || check_id(id, err) != HF_ERR_OK ||
        fault(catalog, "get", "", err) != HF_ERR_OK ||
        catalog->driver->get(catalog, found, id, out, err) != HF_ERR_OK) {
        hf_catalog_document_fini(out);
        return framed("get", kind, id, err);
    }
    return HF_ERR_OK;
}

static enum hf_err encode(const struct hf_json *json, struct hf_buf *text, struct hf_error *err)
{
    if (json == NULL || hf_json_type(json) != HF_JSON_OBJECT) {
        return hf_fail(err, HF_ERR_INVALID, "a document is an object");
    }
    enum hf_err code = hf_json_encode(json, 0, text, err);
    return code == HF_ERR_LIMIT ? hf_fail(err, HF_ERR_LIMIT, "a document has at most %zu bytes",
                                          HF_CATALOG_DOCUMENT_MAX_BYTES)
                                : code;
}

enum hf_err hf_catalog_insert(struct hf_catalog *catalog, const char *kind, const char *id,
                              const struct hf_json *json, enum hf_catalog_durability durability,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_CATALOG_DOCUMENT_MAX_BYTES);
    struct hf_catalog_write write = {.id = id, .json = json, .durability = durability};
    if (find_kind(catalog, kind, &write.kind, err) != HF_ERR_OK || check_id(id, err) != HF_ERR_OK ||
        encode(json, &text, err) != HF_ERR_OK) {
        return framed("insert", kind, id, err);
    }
    write.text = hf_buf_bytes(&text);
    if (fault(catalog, "insert", "", err) != HF_ERR_OK ||
        catalog->driver->insert(catalog, &write, err) != HF_ERR_OK ||
        fault(catalog, "insert", ".done", err) != HF_ERR_OK) {
        return framed("insert", kind, id, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_catalog_replace(struct hf_catalog *catalog, const char *kind, const char *id,
                               uint64_t expected, const struct hf_json *json,
                               enum hf_catalog_durability durability, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_CATALOG_DOCUMENT_MAX_BYTES);
    struct hf_catalog_write write = {
        .id = id, .expected = expected, .json = json, .durability = durability};
    if (find_kind(catalog, kind, &write.kind, err) != HF_ERR_OK || check_id(id, err) != HF_ERR_OK ||
        encode(json, &text, err) != HF_ERR_OK) {
        return framed("replace", kind, id, err);
    }
    write.text = hf_buf_bytes(&text);
    if (fault(catalog, "replace", "", err) != HF_ERR_OK ||
        catalog->driver->replace(catalog, &write, err) != HF_ERR_OK ||
        fault(catalog, "replace", ".done", err) != HF_ERR_OK) {
        return framed("replace", kind, id, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_catalog_remove(struct hf_catalog *catalog, const char *kind, const char *id,
                              uint64_t expected, struct hf_error *err)
{
    struct hf_catalog_write write = {
        .id = id, .expected = expected, .durability = HF_CATALOG_SYNCED};
    if (find_kind(catalog, kind, &write.kind, err) != HF_ERR_OK || check_id(id, err) != HF_ERR_OK ||
        fault(catalog, "remove", "", err) != HF_ERR_OK ||
        catalog->driver->remove(catalog, &write, err) != HF_ERR_OK ||
        fault(catalog, "remove", ".done", err) != HF_ERR_OK) {
        return framed("remove", kind, id, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_catalog_find(struct hf_catalog *catalog, const struct hf_catalog_query *query,
                            struct hf_catalog_list *out, struct hf_error *err)
{
    const struct hf_catalog_kind *kind = NULL;
    struct hf_catalog_query asked = *query;
    *out = (struct hf_catalog_list){.documents = NULL, .count = 0};
    asked.limit = query->limit == 0 ? DEFAULT_LIMIT : query->limit;
    if (find_kind(catalog, query->kind, &kind, err) != HF_ERR_OK ||
        check_query(kind, query, err) != HF_ERR_OK ||
        fault(catalog, "find", "", err) != HF_ERR_OK ||
        catalog->driver->find(catalog, kind, &asked, out, err) != HF_ERR_OK) {
        hf_catalog_list_fini(out);
        return hf_wrap(err, "find %s", query->kind);
    }
    return HF_ERR_OK;
}

enum hf_err hf_catalog_count(struct hf_catalog *catalog, const struct hf_catalog_query *query,
                             uint64_t *count, struct hf_error *err)
{
    const struct hf_catalog_kind *kind = NULL;
    if (find_kind(catalog, query->kind, &kind, err) != HF_ERR_OK ||
        check_query(kind, query, err) != HF_ERR_OK ||
        fault(catalog, "count", "", err) != HF_ERR_OK ||
        catalog->driver->count(catalog, kind, query, count, err) != HF_ERR_OK) {
        return hf_wrap(err, "count %s", query->kind);
    }
    return HF_ERR_OK;
}

void hf_catalog_close(struct hf_catalog *catalog)
{
    if (catalog != NULL) {
        catalog->driver->close(catalog);
    }
}

/* ---- Values ---- */

void hf_catalog_document_fini(struct hf_catalog_document *document)
{
    hf_json_drop(document->json);
    *document = (struct hf_catalog_document){.json = NULL};
}

void hf_catalog_list_fini(struct hf_catalog_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        hf_catalog_document_fini(&list->documents[i]);
    }
    hf_free(list->documents);
    *list = (struct hf_catalog_list){.documents = NULL, .count = 0};
}

struct hf_catalog_document *hf_catalog_list_add(struct hf_catalog_list *list, size_t *capacity)
{
    if (list->count == *capacity) {
        size_t larger = *capacity == 0 ? 16 : *capacity * 2;
        struct hf_catalog_document *documents =
            hf_realloc_array(list->documents, larger, sizeof *list->documents);
        if (documents == NULL) {
            return NULL;
        }
        list->documents = documents;
        *capacity = larger;
    }
    struct hf_catalog_document *document = &list->documents[list->count++];
    *document = (struct hf_catalog_document){.json = NULL};
    return document;
}

enum hf_err hf_catalog_document_set(struct hf_catalog_document *document, struct hf_str id,
                                    uint64_t revision, struct hf_str text, struct hf_error *err)
{
    if (id.len > HF_CATALOG_ID_MAX_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "an id of %zu bytes is stored", id.len);
    }
    enum hf_err code = hf_json_decode(text, HF_CATALOG_DOCUMENT_MAX_BYTES, &document->json, err);
    if (code != HF_ERR_OK) {
        return code == HF_ERR_NO_MEMORY
                   ? code
                   : hf_fail(err, HF_ERR_CORRUPT, "what is stored for %.*s is no document",
                             HF_STR_ARG(id));
    }
    memcpy(document->id, id.data, id.len);
    document->id[id.len] = '\0';
    document->revision = revision;
    return HF_ERR_OK;
}

struct hf_catalog_value hf_catalog_value_of(const struct hf_json *json, const char *field)
{
    const struct hf_json *member = hf_json_get(json, field);
    struct hf_catalog_value value = {.type = HF_CATALOG_VALUE_NONE};
    if (member != NULL && hf_json_type(member) == HF_JSON_TEXT) {
        value.type = HF_CATALOG_VALUE_TEXT;
        value.text = hf_json_text(member);
    } else if (member != NULL && hf_json_type(member) == HF_JSON_INTEGER) {
        value.type = HF_CATALOG_VALUE_INTEGER;
        value.integer = hf_json_integer(member, 0);
    }
    return value;
}

bool hf_catalog_value_equal(const struct hf_catalog_value *a, const struct hf_catalog_value *b)
{
    if (a->type != b->type) {
        return false;
    }
    return a->type == HF_CATALOG_VALUE_TEXT ? strcmp(a->text, b->text) == 0
                                            : a->integer == b->integer;
}
