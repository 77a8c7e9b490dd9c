/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Driver "mem": documents in memory, lost with the process. It is the model that the other drivers
 * are held against, so a query looks at every document of its kind. Must not know about files.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "catalog/driver.h"

struct document {
    const struct hf_catalog_kind *kind;
    char *id; /* owned */
    uint64_t revision;
    struct hf_json *json; /* owned */
};

struct mem_catalog {
    struct hf_catalog base;
    struct hf_mutex mutex;       /* guards: all below */
    struct document **documents; /* owned; ascending by kind's place, then id */
    size_t count;
    size_t capacity;
};

/* One that a query matches, with what it is sorted by. */
struct match {
    const struct document *document;
    struct hf_catalog_value value;
};

static struct mem_catalog *mem_of(struct hf_catalog *catalog)
{
    return (struct mem_catalog *)catalog;
}

static void document_free(struct document *document)
{
    if (document != NULL) {
        hf_free(document->id);
        hf_json_drop(document->json);
        hf_free(document);
    }
}
HF_CLEANUP_DEFINE(document_free, struct document *)

static int compare_place(const struct document *document, const struct hf_catalog_kind *kind,
                         const char *id)
{
    if (document->kind != kind) {
        return document->kind < kind ? -1 : 1;
    }
    return strcmp(document->id, id);
}

static size_t place_of(const struct mem_catalog *mem, const struct hf_catalog_kind *kind,
                       const char *id)
{
    size_t low = 0;
    size_t high = mem->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_place(mem->documents[middle], kind, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct document *find_one(const struct mem_catalog *mem, const struct hf_catalog_kind *kind,
                                 const char *id)
{
    size_t at = place_of(mem, kind, id);
    return at < mem->count && compare_place(mem->documents[at], kind, id) == 0 ? mem->documents[at]
                                                                               : NULL;
}

static enum hf_err need(const struct mem_catalog *mem, const struct hf_catalog_kind *kind,
                        const char *id, struct document **out, struct hf_error *err)
{
    *out = find_one(mem, kind, id);
    return *out != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NOT_FOUND, "no such document");
}

static enum hf_err need_revision(const struct mem_catalog *mem,
                                 const struct hf_catalog_write *write, struct document **out,
                                 struct hf_error *err)
{
    if (need(mem, write->kind, write->id, out, err) != HF_ERR_OK) {
        return err->code;
    }
    if ((*out)->revision != write->expected) {
        return hf_fail(err, HF_ERR_CONFLICT, "its revision is %llu, no longer %llu",
                       (unsigned long long)(*out)->revision, (unsigned long long)write->expected);
    }
    return HF_ERR_OK;
}

/* Documents given out are the caller's to change, so each is a copy. */
static enum hf_err copy_out(const struct document *document, struct hf_catalog_document *out,
                            struct hf_error *err)
{
    out->json = hf_json_copy(document->json);
    if (out->json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a document");
    }
    memcpy(out->id, document->id, strlen(document->id) + 1);
    out->revision = document->revision;
    return HF_ERR_OK;
}

static enum hf_err mem_get(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                           const char *id, struct hf_catalog_document *out, struct hf_error *err)
{
    struct mem_catalog *mem = mem_of(catalog);
    HF_LOCKED(&mem->mutex);
    struct document *document;
    if (need(mem, kind, id, &document, err) != HF_ERR_OK) {
        return err->code;
    }
    return copy_out(document, out, err);
}

static enum hf_err mem_insert(struct hf_catalog *catalog, const struct hf_catalog_write *write,
                              struct hf_error *err)
{
    struct mem_catalog *mem = mem_of(catalog);
    HF_CLEANUP(document_free) struct document *document = hf_alloc_zero(sizeof *document);
    if (document == NULL || (document->id = hf_strdup(write->id)) == NULL ||
        (document->json = hf_json_copy(write->json)) == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a document");
    }
    document->kind = write->kind;
    document->revision = 1;

    HF_LOCKED(&mem->mutex);
    if (find_one(mem, write->kind, write->id) != NULL) {
        return hf_fail(err, HF_ERR_EXISTS, "there is one already");
    }
    if (mem->count == mem->capacity) {
        size_t capacity = mem->capacity == 0 ? 64 : mem->capacity * 2;
        struct document **documents =
            hf_realloc_array(mem->documents, capacity, sizeof *mem->documents);
        if (documents == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for %zu documents", capacity);
        }
        mem->documents = documents;
        mem->capacity = capacity;
    }
    size_t at = place_of(mem, write->kind, write->id);
    memmove(mem->documents + at + 1, mem->documents + at,
            (mem->count - at) * sizeof *mem->documents);
    mem->documents[at] = HF_TAKE(document);
    mem->count++;
    return HF_ERR_OK;
}

static enum hf_err mem_replace(struct hf_catalog *catalog, const struct hf_catalog_write *write,
                               struct hf_error *err)
{
    struct mem_catalog *mem = mem_of(catalog);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_copy(write->json);
    if (json == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a document");
    }
    HF_LOCKED(&mem->mutex);
    struct document *document;
    if (need_revision(mem, write, &document, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_drop(document->json);
    document->json = HF_TAKE(json);
    document->revision++;
    return HF_ERR_OK;
}

static enum hf_err mem_remove(struct hf_catalog *catalog, const struct hf_catalog_write *write,
                              struct hf_error *err)
{
    struct mem_catalog *mem = mem_of(catalog);
    HF_LOCKED(&mem->mutex);
    struct document *document;
    if (need_revision(mem, write, &document, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t at = place_of(mem, write->kind, write->id);
    mem->count--;
    memmove(mem->documents + at, mem->documents + at + 1,
            (mem->count - at) * sizeof *mem->documents);
    document_free(document);
    return HF_ERR_OK;
}

static bool matches(const struct hf_catalog_query *query, const struct hf_catalog_value *value)
{
    if (query->index == NULL) {
        return true;
    }
    if (query->equals_text != NULL) {
        return value->type == HF_CATALOG_VALUE_TEXT && strcmp(value->text, query->equals_text) == 0;
    }
    if (query->has_range) {
        return value->type == HF_CATALOG_VALUE_INTEGER && value->integer >= query->minimum &&
               value->integer <= query->maximum;
    }
    return value->type != HF_CATALOG_VALUE_NONE;
}

/* Integers before texts, as a document may have either under one name; then by id. */
static int compare_matches(const void *left, const void *right)
{
    const struct match *a = left;
    const struct match *b = right;
    int order = 0;
    if (a->value.type != b->value.type) {
        order = a->value.type < b->value.type ? -1 : 1;
    } else if (a->value.type == HF_CATALOG_VALUE_TEXT) {
        order = strcmp(a->value.text, b->value.text);
    } else if (a->value.integer != b->value.integer) {
        order = a->value.integer < b->value.integer ? -1 : 1;
    }
    return order != 0 ? order : strcmp(a->document->id, b->document->id);
}

static bool is_behind(const struct hf_catalog_query *query, const struct document *document)
{
    if (query->after == NULL) {
        return true;
    }
    int order = strcmp(document->id, query->after);
    return query->descending ? order < 0 : order > 0;
}

/* Under the mutex; from: what lies before query->after is left out. Free with hf_free. */
static enum hf_err collect(const struct mem_catalog *mem, const struct hf_catalog_kind *kind,
                           const struct hf_catalog_query *query, bool from, struct match **out,
                           size_t *count, struct hf_error *err)
{
    struct match *found = hf_alloc_array(mem->count + 1, sizeof *found);
    if (found == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a query");
    }
    *count = 0;
    for (size_t i = place_of(mem, kind, ""); i < mem->count && mem->documents[i]->kind == kind;
         i++) {
        struct match match = {.document = mem->documents[i]};
        if (query->index != NULL) {
            match.value = hf_catalog_value_of(mem->documents[i]->json, query->index);
        }
        if (matches(query, &match.value) && (!from || is_behind(query, match.document))) {
            found[(*count)++] = match;
        }
    }
    qsort(found, *count, sizeof *found, compare_matches);
    *out = found;
    return HF_ERR_OK;
}

static enum hf_err mem_find(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                            const struct hf_catalog_query *query, struct hf_catalog_list *out,
                            struct hf_error *err)
{
    struct mem_catalog *mem = mem_of(catalog);
    HF_CLEANUP(hf_free) struct match *found = NULL;
    size_t count = 0;
    size_t capacity = 0;
    HF_LOCKED(&mem->mutex);
    if (collect(mem, kind, query, true, &found, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = query->skip; i < count && out->count < query->limit; i++) {
        const struct match *match = &found[query->descending ? count - 1 - i : i];
        struct hf_catalog_document *document = hf_catalog_list_add(out, &capacity);
        if (document == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a list of documents");
        }
        if (copy_out(match->document, document, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err mem_count(struct hf_catalog *catalog, const struct hf_catalog_kind *kind,
                             const struct hf_catalog_query *query, uint64_t *out,
                             struct hf_error *err)
{
    struct mem_catalog *mem = mem_of(catalog);
    HF_CLEANUP(hf_free) struct match *found = NULL;
    size_t count = 0;
    HF_LOCKED(&mem->mutex);
    if (collect(mem, kind, query, false, &found, &count, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = count;
    return HF_ERR_OK;
}

static void mem_close(struct hf_catalog *catalog)
{
    struct mem_catalog *mem = mem_of(catalog);
    for (size_t i = 0; i < mem->count; i++) {
        document_free(mem->documents[i]);
    }
    hf_free(mem->documents);
    hf_mutex_fini(&mem->mutex);
    hf_free(mem);
}

static const struct hf_catalog_driver mem_driver = {
    .name = "mem",
    .get = mem_get,
    .insert = mem_insert,
    .replace = mem_replace,
    .remove = mem_remove,
    .find = mem_find,
    .count = mem_count,
    .close = mem_close,
};

enum hf_err hf_catalog_mem_create(const struct hf_catalog_options *options, struct hf_catalog **out,
                                  struct hf_error *err)
{
    if (hf_catalog_check_kinds(options, err) != HF_ERR_OK) {
        return hf_wrap(err, "create a catalog in memory");
    }
    struct mem_catalog *mem = hf_alloc_zero(sizeof *mem);
    if (mem == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "create a catalog in memory");
    }
    mem->base = (struct hf_catalog){
        .driver = &mem_driver, .kinds = options->kinds, .kind_count = options->kind_count};
    hf_mutex_init(&mem->mutex);
    *out = &mem->base;
    return HF_ERR_OK;
}
