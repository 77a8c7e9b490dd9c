/* SPDX-License-Identifier: Apache-2.0 */
/*
 * {filter, update, pipeline, sort, doc} from anywhere: whatever a client may ask of a document.
 */
#include "sandbox/pipeline.h"
#include "sandbox/update.h"
#include "sandbox/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void update(const bson_t *spec, const bson_t *doc, const bson_t *filter)
{
    HF_CLEANUP(hf_sandbox_updated_fini) struct hf_sandbox_updated updated = {0};
    struct hf_sandbox_refusal no;
    bson_t *made = NULL;

    if (hf_sandbox_update_apply(spec, doc, &updated, &no) == 0) {
        HF_ASSERT(hf_sandbox_doc_valid(updated.doc) && hf_sandbox_doc_valid(updated.o));
    }
    if (hf_sandbox_update_insert(spec, filter, &made, &no) == 0) {
        HF_ASSERT(bson_has_field(made, "_id"));
        bson_destroy(made);
    }
}

static void aggregate(const bson_t *stages, const bson_t *doc)
{
    HF_CLEANUP(hf_sandbox_docs_fini) struct hf_sandbox_docs docs = {0};
    struct hf_sandbox_refusal no;

    if (hf_sandbox_docs_add_take(&docs, bson_copy(doc), &no) == 0) {
        (void)!hf_sandbox_pipeline_run(stages, 0, &docs, &no);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_sandbox_refusal no;
    bson_t input;
    bson_t part;
    bson_t filter = BSON_INITIALIZER;
    bson_t doc = BSON_INITIALIZER;

    if (size > 1 << 16 || !bson_init_static(&input, data, size) || !hf_sandbox_doc_valid(&input)) {
        return 0;
    }
    (void)hf_sandbox_get_doc(&input, "doc", &doc);
    (void)hf_sandbox_get_doc(&input, "filter", &filter);
    if (hf_sandbox_filter_check(&filter, &no) == 0) {
        (void)hf_sandbox_filter_test(&filter, &doc);
        if (hf_sandbox_get_doc(&input, "update", &part)) {
            update(&part, &doc, &filter);
        }
    }
    if (hf_sandbox_get_doc(&input, "pipeline", &part)) {
        aggregate(&part, &doc);
    }
    if (hf_sandbox_get_doc(&input, "sort", &part)) {
        HF_ASSERT(hf_sandbox_sort_compare(&part, &doc, &doc) == 0);
    }
    return 0;
}
