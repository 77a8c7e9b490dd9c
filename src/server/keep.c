/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same four moves for every kind of record.
 */
#include "server/keep.h"

#include "base/alloc.h"

#define HF_KEEP_DEFINE(word, type, kind_name)                                                      \
    enum hf_err hf_keep_##word##_get(struct hf_catalog *catalog, const struct hf_id *id,           \
                                     type *out, uint64_t *revision, struct hf_error *err)          \
    {                                                                                              \
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL}; \
        if (hf_catalog_get(catalog, kind_name, hf_id_text(id).text, &document, err) !=             \
            HF_ERR_OK) {                                                                           \
            return err->code;                                                                      \
        }                                                                                          \
        if (hf_##word##_record_decode(document.json, out, err) != HF_ERR_OK) {                     \
            return hf_wrap(err, "catalog: %s %s", kind_name, document.id);                         \
        }                                                                                          \
        if (revision != NULL) {                                                                    \
            *revision = document.revision;                                                         \
        }                                                                                          \
        return HF_ERR_OK;                                                                          \
    }                                                                                              \
    enum hf_err hf_keep_##word##_insert(struct hf_catalog *catalog, const type *record,            \
                                        struct hf_error *err)                                      \
    {                                                                                              \
        HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_##word##_record_encode(record);         \
        if (json == NULL) {                                                                        \
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");                                    \
        }                                                                                          \
        return hf_catalog_insert(catalog, kind_name, hf_id_text(&record->id).text, json,           \
                                 HF_CATALOG_SYNCED, err);                                          \
    }                                                                                              \
    enum hf_err hf_keep_##word##_replace(struct hf_catalog *catalog, const type *record,           \
                                         uint64_t *revision, struct hf_error *err)                 \
    {                                                                                              \
        HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_##word##_record_encode(record);         \
        if (json == NULL) {                                                                        \
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");                                    \
        }                                                                                          \
        if (hf_catalog_replace(catalog, kind_name, hf_id_text(&record->id).text, *revision, json,  \
                               HF_CATALOG_SYNCED, err) != HF_ERR_OK) {                             \
            return err->code;                                                                      \
        }                                                                                          \
        *revision += 1;                                                                            \
        return HF_ERR_OK;                                                                          \
    }                                                                                              \
    void hf_keep_##word##s_fini(struct hf_keep_##word##s *list)                                    \
    {                                                                                              \
        hf_free(list->items);                                                                      \
        *list = (struct hf_keep_##word##s){.items = NULL};                                         \
    }                                                                                              \
    enum hf_err hf_keep_##word##_find(struct hf_catalog *catalog,                                  \
                                      const struct hf_catalog_query *query,                        \
                                      struct hf_keep_##word##s *out, struct hf_error *err)         \
    {                                                                                              \
        HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list found = {.documents = NULL};       \
        HF_CLEANUP(hf_keep_##word##s_fini) struct hf_keep_##word##s list = {.items = NULL};        \
        struct hf_catalog_query asked = *query;                                                    \
        asked.kind = kind_name;                                                                    \
        if (hf_catalog_find(catalog, &asked, &found, err) != HF_ERR_OK) {                          \
            return err->code;                                                                      \
        }                                                                                          \
        list.items = hf_alloc_array(found.count + 1, sizeof *list.items);                          \
        if (list.items == NULL) {                                                                  \
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");                                    \
        }                                                                                          \
        for (size_t i = 0; i < found.count; i++) {                                                 \
            if (hf_##word##_record_decode(found.documents[i].json, &list.items[i], err) !=         \
                HF_ERR_OK) {                                                                       \
                return hf_wrap(err, "catalog: %s %s", kind_name, found.documents[i].id);           \
            }                                                                                      \
        }                                                                                          \
        list.count = found.count;                                                                  \
        *out = list;                                                                               \
        list = (struct hf_keep_##word##s){.items = NULL};                                          \
        return HF_ERR_OK;                                                                          \
    }

HF_KEEP_TABLE(HF_KEEP_DEFINE)

#define SNAPSHOTS_MAX 1000000

enum hf_err hf_keep_snapshots_of(struct hf_catalog *catalog, const struct hf_id *job,
                                 struct hf_keep_snapshots *out, struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(job);
    const struct hf_catalog_query query = {
        .index = "jobId", .equals_text = id.text, .limit = SNAPSHOTS_MAX};

    return hf_keep_snapshot_find(catalog, &query, out, err);
}
