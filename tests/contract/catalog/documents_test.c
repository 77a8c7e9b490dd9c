/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver: documents one at a time, and their revisions.
 */
#include "contract/catalog/drivers.h"

static void test_what_was_inserted_comes_back_with_revision_one(void **state)
{
    struct fixture *f = *state;
    const char text[] =
        "{'name': 'a', 'n': -3, 'big': 9007199254740993, 'real': 1.5, 'list': [1, null, true], "
        "'deep': {'x': 'ä\\n'}}";
    must_insert(f, "job", "64b0", text);
    assert_document(f, "job", "64b0", 1, text);
    must_insert(f, "plain", "an id with spaces/and#signs", "{}");
    assert_document(f, "plain", "an id with spaces/and#signs", 1, "{}");
}

static void test_a_taken_id_is_refused_and_kinds_have_ids_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    must_insert(f, "job", "1", "{'a': 1}");
    assert_int_equal(insert(f, "job", "1", "{'a': 2}", &err), HF_ERR_EXISTS);
    assert_string_equal(err.message, "insert job 1: there is one already");
    assert_document(f, "job", "1", 1, "{'a': 1}");
    must_insert(f, "plain", "1", "{'a': 3}");
    assert_document(f, "job", "1", 1, "{'a': 1}");
}

static void test_what_is_missing_is_named(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog_document document;
    must_insert(f, "job", "1", "{}");
    assert_int_equal(hf_catalog_get(f->catalog, "plain", "1", &document, &err), HF_ERR_NOT_FOUND);
    assert_string_equal(err.message, "get plain 1: no such document");
    assert_null(document.json);
    assert_int_equal(replace(f, "plain", "1", 1, "{}", &err), HF_ERR_NOT_FOUND);
    assert_string_equal(err.message, "replace plain 1: no such document");
    assert_int_equal(hf_catalog_remove(f->catalog, "plain", "1", 1, &err), HF_ERR_NOT_FOUND);
    assert_string_equal(err.message, "remove plain 1: no such document");
}

static void test_a_replacement_needs_the_revision_that_was_seen(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    must_insert(f, "job", "1", "{'a': 1}");
    assert_int_equal(replace(f, "job", "1", 1, "{'a': 2}", &err), HF_ERR_OK);
    assert_document(f, "job", "1", 2, "{'a': 2}");
    assert_int_equal(replace(f, "job", "1", 1, "{'a': 3}", &err), HF_ERR_CONFLICT);
    assert_string_equal(err.message, "replace job 1: its revision is 2, no longer 1");
    assert_int_equal(replace(f, "job", "1", 3, "{'a': 3}", &err), HF_ERR_CONFLICT);
    assert_int_equal(replace(f, "job", "1", 0, "{'a': 3}", &err), HF_ERR_CONFLICT);
    assert_document(f, "job", "1", 2, "{'a': 2}");
    assert_int_equal(replace(f, "job", "1", 2, "{'a': 2}", &err), HF_ERR_OK);
    assert_document(f, "job", "1", 3, "{'a': 2}");
}

static void test_removal_needs_the_revision_and_frees_the_id(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    must_insert(f, "job", "1", "{'a': 1}");
    assert_int_equal(replace(f, "job", "1", 1, "{'a': 2}", &err), HF_ERR_OK);
    assert_int_equal(hf_catalog_remove(f->catalog, "job", "1", 1, &err), HF_ERR_CONFLICT);
    assert_document(f, "job", "1", 2, "{'a': 2}");
    assert_int_equal(hf_catalog_remove(f->catalog, "job", "1", 2, &err), HF_ERR_OK);
    assert_int_equal(hf_catalog_remove(f->catalog, "job", "1", 2, &err), HF_ERR_NOT_FOUND);
    must_insert(f, "job", "1", "{'a': 3}");
    assert_document(f, "job", "1", 1, "{'a': 3}");
}

static void test_documents_given_and_taken_are_copies(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_json_drop) struct hf_json *json = json_of("{'a': {'b': 1}}");
    assert_int_equal(hf_catalog_insert(f->catalog, "job", "1", json, HF_CATALOG_SYNCED, &err),
                     HF_ERR_OK);
    hf_json_set_integer(hf_json_get(json, "a"), "b", 2);
    assert_document(f, "job", "1", 1, "{'a': {'b': 1}}");
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document;
    assert_int_equal(hf_catalog_get(f->catalog, "job", "1", &document, &err), HF_ERR_OK);
    hf_json_set_integer(hf_json_get(document.json, "a"), "b", 3);
    assert_document(f, "job", "1", 1, "{'a': {'b': 1}}");
}

static void test_what_cannot_be_stored_is_refused(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog_document document;
    HF_CLEANUP(hf_json_drop) struct hf_json *list = json_of("[1]");
    char long_id[HF_CATALOG_ID_MAX_BYTES + 2];
    memset(long_id, 'i', sizeof long_id);
    long_id[HF_CATALOG_ID_MAX_BYTES] = '\0';
    must_insert(f, "job", long_id, "{}");
    assert_document(f, "job", long_id, 1, "{}");
    long_id[HF_CATALOG_ID_MAX_BYTES] = 'i';
    long_id[HF_CATALOG_ID_MAX_BYTES + 1] = '\0';
    assert_int_equal(insert(f, "job", long_id, "{}", &err), HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "1 to 200 bytes"));
    assert_int_equal(insert(f, "job", "", "{}", &err), HF_ERR_INVALID);
    assert_int_equal(insert(f, "job", "a\nb", "{}", &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "insert job a?b: the id holds a control character");
    assert_int_equal(insert(f, "nonsense", "1", "{}", &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "insert nonsense 1: no such kind of document");
    assert_int_equal(hf_catalog_get(f->catalog, "nonsense", "1", &document, &err), HF_ERR_INVALID);
    assert_int_equal(hf_catalog_remove(f->catalog, "nonsense", "1", 1, &err), HF_ERR_INVALID);
    assert_int_equal(hf_catalog_insert(f->catalog, "job", "1", list, HF_CATALOG_SYNCED, &err),
                     HF_ERR_INVALID);
    assert_non_null(strstr(err.message, "a document is an object"));
}

static void test_documents_up_to_the_limit(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    size_t overhead = strlen("{\"t\":\"\"}");
    char *text = hf_alloc(HF_CATALOG_DOCUMENT_MAX_BYTES + 1);
    assert_non_null(text);
    memset(text, 'x', HF_CATALOG_DOCUMENT_MAX_BYTES);
    text[HF_CATALOG_DOCUMENT_MAX_BYTES - overhead] = '\0';
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    hf_json_set_text(json, "t", text);
    assert_int_equal(hf_catalog_insert(f->catalog, "plain", "1", json, HF_CATALOG_SYNCED, &err),
                     HF_ERR_OK);
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document;
    assert_int_equal(hf_catalog_get(f->catalog, "plain", "1", &document, &err), HF_ERR_OK);
    assert_string_equal(hf_json_get_text(document.json, "t"), text);
    text[HF_CATALOG_DOCUMENT_MAX_BYTES - overhead] = 'x';
    text[HF_CATALOG_DOCUMENT_MAX_BYTES - overhead + 1] = '\0';
    hf_json_set_text(json, "t", text);
    assert_int_equal(hf_catalog_replace(f->catalog, "plain", "1", 1, json, HF_CATALOG_SYNCED, &err),
                     HF_ERR_LIMIT);
    assert_non_null(strstr(err.message, "replace plain 1: a document has at most 16777216 bytes"));
    hf_free(text);
}

static void test_faults_before_and_after_the_effect(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    struct hf_error err;
    char point[64];
    snprintf(point, sizeof point, "catalog.%s.insert", current_driver->name);
    hf_fault_arm(point, HF_ERR_NO_SPACE);
    assert_int_equal(insert(f, "job", "1", "{}", &err), HF_ERR_NO_SPACE);
    assert_non_null(strstr(err.message, "insert job 1: "));
    must_insert(f, "job", "1", "{}");
    snprintf(point, sizeof point, "catalog.%s.replace.done", current_driver->name);
    hf_fault_arm(point, HF_ERR_TIMEOUT);
    assert_int_equal(replace(f, "job", "1", 1, "{'a': 1}", &err), HF_ERR_TIMEOUT);
    assert_document(f, "job", "1", 2, "{'a': 1}");
    snprintf(point, sizeof point, "catalog.%s.remove", current_driver->name);
    hf_fault_arm(point, HF_ERR_IO);
    assert_int_equal(hf_catalog_remove(f->catalog, "job", "1", 2, &err), HF_ERR_IO);
    assert_document(f, "job", "1", 2, "{'a': 1}");
#else
    (void)state;
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CATALOG(test_what_was_inserted_comes_back_with_revision_one),
        ON_CATALOG(test_a_taken_id_is_refused_and_kinds_have_ids_of_their_own),
        ON_CATALOG(test_what_is_missing_is_named),
        ON_CATALOG(test_a_replacement_needs_the_revision_that_was_seen),
        ON_CATALOG(test_removal_needs_the_revision_and_frees_the_id),
        ON_CATALOG(test_documents_given_and_taken_are_copies),
        ON_CATALOG(test_what_cannot_be_stored_is_refused),
        ON_CATALOG(test_documents_up_to_the_limit),
        ON_CATALOG(test_faults_before_and_after_the_effect),
    };
    return RUN_ON_EVERY_DRIVER(tests);
}
