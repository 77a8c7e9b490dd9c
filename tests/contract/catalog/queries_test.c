/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver: queries and counts; then generated calls against a simple model. HOLDFAST_TEST_SEED
 * repeats a run.
 */
#include "contract/catalog/drivers.h"
#include "os/clock.h"

static struct hf_catalog_query by(const char *index)
{
    return (struct hf_catalog_query){.kind = "snapshot", .index = index};
}

static void test_an_empty_catalog_finds_nothing(void **state)
{
    struct fixture *f = *state;
    assert_found(f, &(struct hf_catalog_query){.kind = "job"}, "");
    struct hf_catalog_query query = by("job");
    assert_found(f, &query, "");
    query.equals_text = "x";
    assert_found(f, &query, "");
}

static void test_by_id_in_byte_order_both_ways(void **state)
{
    struct fixture *f = *state;
    const char *ids[] = {"b", "a", "B", "a-", "a/", "aa", "\xc3\xa4"};
    for (size_t i = 0; i < HF_ARRAY_LEN(ids); i++) {
        must_insert(f, "job", ids[i], "{}");
    }
    must_insert(f, "plain", "other", "{}");
    struct hf_catalog_query query = {.kind = "job"};
    assert_found(f, &query, "B a a- a/ aa b \xc3\xa4");
    query.descending = true;
    assert_found(f, &query, "\xc3\xa4 b aa a/ a- a B");
    query.skip = 2;
    query.limit = 3;
    assert_found(f, &query, "aa a/ a-");
    query.skip = 6;
    assert_found(f, &query, "B");
    query = (struct hf_catalog_query){.kind = "job", .after = "a-", .limit = 2};
    assert_found(f, &query, "a/ aa");
    query.after = "\xc3\xa4";
    assert_found(f, &query, "");
    query.after = "a.";
    query.descending = true;
    assert_found(f, &query, "a- a");
    query = (struct hf_catalog_query){.kind = "job", .descending = true};
    query.skip = 6;
    assert_found(f, &query, "B");
    query.skip = 7;
    assert_found(f, &query, "");
    query.skip = SIZE_MAX;
    query.limit = SIZE_MAX;
    assert_found(f, &query, "");
}

static void test_an_index_orders_integers_as_numbers_and_text_by_bytes(void **state)
{
    struct fixture *f = *state;
    must_insert(f, "snapshot", "1", "{'createdS': 10, 'any': 'b'}");
    must_insert(f, "snapshot", "2", "{'createdS': 9, 'any': 'B'}");
    must_insert(f, "snapshot", "3", "{'createdS': -1, 'any': ''}");
    must_insert(f, "snapshot", "4", "{'createdS': 9, 'any': 'ba'}");
    must_insert(f, "snapshot", "5", "{'createdS': 9223372036854775807, 'any': 5}");
    must_insert(f, "snapshot", "6", "{'createdS': -9223372036854775808, 'any': -5}");
    struct hf_catalog_query query = by("createdS");
    assert_found(f, &query, "6 3 2 4 1 5");
    query.descending = true;
    assert_found(f, &query, "5 1 4 2 3 6");
    query = by("any");
    assert_found(f, &query, "6 5 3 2 1 4"); /* integers before text */
    query.descending = true;
    query.skip = 1;
    query.limit = 2;
    assert_found(f, &query, "1 2");
}

static void test_a_document_without_the_member_is_not_in_the_index(void **state)
{
    struct fixture *f = *state;
    must_insert(f, "snapshot", "1", "{}");
    must_insert(f, "snapshot", "2", "{'any': null}");
    must_insert(f, "snapshot", "3", "{'any': 1.5}");
    must_insert(f, "snapshot", "4", "{'any': true}");
    must_insert(f, "snapshot", "5", "{'any': ['x']}");
    must_insert(f, "snapshot", "6", "{'x': {'any': 'x'}}");
    must_insert(f, "snapshot", "7", "{'any': 'x'}");
    struct hf_catalog_query query = by("any");
    assert_found(f, &query, "7");
    assert_found(f, &(struct hf_catalog_query){.kind = "snapshot"}, "1 2 3 4 5 6 7");
}

static void test_equal_text_only(void **state)
{
    struct fixture *f = *state;
    must_insert(f, "snapshot", "3", "{'job': 'a'}");
    must_insert(f, "snapshot", "1", "{'job': 'a'}");
    must_insert(f, "snapshot", "2", "{'job': 'A'}");
    must_insert(f, "snapshot", "4", "{'job': 'ab'}");
    must_insert(f, "snapshot", "5", "{'job': ''}");
    must_insert(f, "snapshot", "6", "{'job': 7}");
    must_insert(f, "snapshot", "7", "{'job': '7'}");
    struct hf_catalog_query query = by("job");
    query.equals_text = "a";
    assert_found(f, &query, "1 3");
    query.descending = true;
    assert_found(f, &query, "3 1");
    query.limit = 1;
    assert_found(f, &query, "3");
    query = by("job");
    query.equals_text = "";
    assert_found(f, &query, "5");
    query.equals_text = "7";
    assert_found(f, &query, "7");
    query.equals_text = "%";
    assert_found(f, &query, "");
}

static void test_a_range_has_both_ends(void **state)
{
    struct fixture *f = *state;
    for (int i = 1; i <= 9; i++) {
        char id[16];
        char text[32];
        snprintf(id, sizeof id, "%d", i);
        snprintf(text, sizeof text, "{'createdS': %d}", i * 10);
        must_insert(f, "snapshot", id, text);
    }
    must_insert(f, "snapshot", "text", "{'createdS': '50'}");
    struct hf_catalog_query query = by("createdS");
    query.has_range = true;
    query.minimum = 30;
    query.maximum = 50;
    assert_found(f, &query, "3 4 5");
    query.descending = true;
    assert_found(f, &query, "5 4 3");
    query.minimum = 31;
    query.maximum = 49;
    assert_found(f, &query, "4");
    query.minimum = 50;
    query.maximum = 30;
    assert_found(f, &query, "");
    query.minimum = INT64_MIN;
    query.maximum = INT64_MAX;
    query.descending = false;
    assert_found(f, &query, "1 2 3 4 5 6 7 8 9");
}

static void test_indexes_follow_every_change(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog_query a = by("job");
    struct hf_catalog_query b = by("job");
    struct hf_catalog_query sizes = by("size");
    a.equals_text = "a";
    b.equals_text = "b";
    must_insert(f, "snapshot", "1", "{'job': 'a', 'size': 5}");
    must_insert(f, "snapshot", "2", "{'job': 'a', 'size': 4}");
    assert_int_equal(replace(f, "snapshot", "1", 1, "{'job': 'b', 'size': 3}", &err), HF_ERR_OK);
    assert_found(f, &a, "2");
    assert_found(f, &b, "1");
    assert_found(f, &sizes, "1 2");
    assert_int_equal(replace(f, "snapshot", "1", 1, "{'job': 'a', 'size': 9}", &err),
                     HF_ERR_CONFLICT);
    assert_found(f, &a, "2");
    assert_int_equal(replace(f, "snapshot", "1", 2, "{'size': 'large'}", &err), HF_ERR_OK);
    assert_found(f, &b, "");
    assert_found(f, &sizes, "2 1");
    assert_int_equal(hf_catalog_remove(f->catalog, "snapshot", "2", 1, &err), HF_ERR_OK);
    assert_found(f, &a, "");
    assert_found(f, &sizes, "1");
    assert_int_equal(insert(f, "snapshot", "1", "{'job': 'a'}", &err), HF_ERR_EXISTS);
    assert_found(f, &a, "");
    must_insert(f, "snapshot", "2", "{'job': 'b'}");
    assert_found(f, &b, "2");
}

static void test_queries_that_make_no_sense_are_refused(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    struct hf_catalog_list list;
    uint64_t count;
    struct hf_catalog_query query = by("nonsense");
    assert_int_equal(hf_catalog_find(f->catalog, &query, &list, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "find snapshot: it has no index nonsense");
    assert_int_equal(hf_catalog_count(f->catalog, &query, &count, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "count snapshot: it has no index nonsense");
    query = by("job");
    query.equals_text = "x";
    query.has_range = true;
    assert_int_equal(hf_catalog_find(f->catalog, &query, &list, &err), HF_ERR_INVALID);
    query = by("createdS");
    query.after = "x";
    assert_int_equal(hf_catalog_find(f->catalog, &query, &list, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "find snapshot: behind an id, but not in the order of ids");
    query = by(NULL);
    query.equals_text = "x";
    assert_int_equal(hf_catalog_find(f->catalog, &query, &list, &err), HF_ERR_INVALID);
    query.kind = "nonsense";
    assert_int_equal(hf_catalog_find(f->catalog, &query, &list, &err), HF_ERR_INVALID);
    assert_string_equal(err.message, "find nonsense: no such kind of document");
    query = (struct hf_catalog_query){.kind = "job", .index = "job"}; /* another kind's index */
    assert_int_equal(hf_catalog_find(f->catalog, &query, &list, &err), HF_ERR_INVALID);
}

static void test_without_a_limit_a_thousand_come_and_the_count_tells_of_more(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list;
    uint64_t count = 0;
    for (int i = 0; i < 1010; i++) {
        char id[16];
        snprintf(id, sizeof id, "%04d", i);
        must_insert(f, "snapshot", id, i % 2 == 0 ? "{'job': 'even'}" : "{'job': 'odd'}");
    }
    struct hf_catalog_query query = {.kind = "snapshot"};
    assert_int_equal(hf_catalog_find(f->catalog, &query, &list, &err), HF_ERR_OK);
    assert_int_equal(list.count, 1000);
    assert_int_equal(hf_catalog_count(f->catalog, &query, &count, &err), HF_ERR_OK);
    assert_int_equal(count, 1010);
    query = by("job");
    query.equals_text = "odd";
    query.after = "1000";
    query.limit = 3;
    assert_found(f, &query, "1001 1003 1005");
    query.descending = true;
    assert_found(f, &query, "0999 0997 0995");
    query.descending = false;
    query.after = NULL;
    query.skip = 500;
    query.limit = 3;
    assert_found(f, &query, "1001 1003 1005");
    assert_int_equal(hf_catalog_count(f->catalog, &query, &count, &err), HF_ERR_OK);
    assert_int_equal(count, 505);
}

/* ---- The model ---- */

#define IDS 12
#define STEPS 2500

struct model {
    uint64_t revision[IDS]; /* 0: not there */
    int job[IDS];           /* 0 none, 1 "a", 2 "b", 3 the integer 3 */
    int64_t created[IDS];   /* INT64_MIN: none */
};

static uint64_t random_state;

static size_t pick(size_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % below);
}

static void step_write(struct fixture *f, struct model *model, size_t at)
{
    static const char *const jobs[] = {"", "'job': 'a', ", "'job': 'b', ", "'job': 3, "};
    struct hf_error err;
    char id[8];
    char text[96];
    char created_text[48] = "";
    int job = (int)pick(4);
    int64_t created = pick(4) == 0 ? INT64_MIN : (int64_t)pick(5) - 2;
    snprintf(id, sizeof id, "%02zu", at);
    if (created != INT64_MIN) {
        snprintf(created_text, sizeof created_text, "'createdS': %lld, ", (long long)created);
    }
    snprintf(text, sizeof text, "{%s%s'n': %zu}", jobs[job], created_text, pick(9));
    enum hf_err code;
    enum hf_err expected = HF_ERR_OK;
    if (pick(2) == 0) {
        code = insert(f, "snapshot", id, text, &err);
        expected = model->revision[at] != 0 ? HF_ERR_EXISTS : HF_ERR_OK;
    } else {
        uint64_t revision = pick(4) == 0 ? pick(4) : model->revision[at];
        code = replace(f, "snapshot", id, revision, text, &err);
        expected = model->revision[at] == 0          ? HF_ERR_NOT_FOUND
                   : model->revision[at] != revision ? HF_ERR_CONFLICT
                                                     : HF_ERR_OK;
    }
    assert_int_equal(code, expected);
    if (code == HF_ERR_OK) {
        model->revision[at]++;
        model->job[at] = job;
        model->created[at] = created;
    }
}

static void step_remove(struct fixture *f, struct model *model, size_t at)
{
    struct hf_error err;
    char id[8];
    snprintf(id, sizeof id, "%02zu", at);
    assert_int_equal(hf_catalog_remove(f->catalog, "snapshot", id, model->revision[at], &err),
                     model->revision[at] == 0 ? HF_ERR_NOT_FOUND : HF_ERR_OK);
    model->revision[at] = 0;
}

/* The value that the document is sorted by; false when the query does not match it. */
static bool model_key(const struct model *model, const struct hf_catalog_query *query, size_t at,
                      int64_t *key)
{
    if (model->revision[at] == 0) {
        return false;
    }
    *key = 0;
    if (query->index == NULL) {
        return true;
    }
    if (strcmp(query->index, "job") == 0) {
        *key = model->job[at] == 3 ? -1 : model->job[at]; /* the integer comes first */
        return query->equals_text == NULL
                   ? model->job[at] != 0
                   : model->job[at] == (query->equals_text[0] == 'a' ? 1 : 2);
    }
    *key = model->created[at];
    if (query->has_range && (*key < query->minimum || *key > query->maximum)) {
        return false;
    }
    return *key != INT64_MIN;
}

static void step_find(struct fixture *f, const struct model *model)
{
    struct hf_error err;
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list list;
    struct hf_catalog_query query = {
        .kind = "snapshot", .descending = pick(2) == 0, .skip = pick(4)};
    char after[8];
    query.limit = 1 + pick(IDS);
    switch (pick(5)) {
    case 0:
        break;
    case 1:
        query.index = "job";
        break;
    case 2:
        query.index = "job";
        query.equals_text = pick(2) == 0 ? "a" : "b";
        break;
    case 3:
        query.index = "createdS";
        break;
    default:
        query.index = "createdS";
        query.has_range = true;
        query.minimum = (int64_t)pick(6) - 3;
        query.maximum = (int64_t)pick(6) - 3;
        break;
    }
    size_t behind = pick(IDS * 2); /* an id, or from the start */
    if (behind < IDS && (query.index == NULL || query.equals_text != NULL)) {
        snprintf(after, sizeof after, "%02zu", behind);
        query.after = after;
    }
    /* Insertion sort of the few that match. */
    size_t order[IDS];
    int64_t keys[IDS];
    size_t count = 0, matching = 0;
    for (size_t at = 0; at < IDS; at++) {
        int64_t key;
        if (!model_key(model, &query, at, &key)) {
            continue;
        }
        matching++;
        if (query.after != NULL && (query.descending ? at >= behind : at <= behind)) {
            continue;
        }
        size_t to = count++;
        for (; to > 0 && keys[to - 1] > key; to--) {
            keys[to] = keys[to - 1];
            order[to] = order[to - 1];
        }
        keys[to] = key;
        order[to] = at;
    }
    uint64_t counted = 0;
    assert_int_equal(hf_catalog_count(f->catalog, &query, &counted, &err), HF_ERR_OK);
    assert_int_equal(counted, matching);
    assert_int_equal(hf_catalog_find(f->catalog, &query, &list, &err), HF_ERR_OK);
    size_t expected = count > query.skip ? count - query.skip : 0;
    assert_int_equal(list.count, expected < query.limit ? expected : query.limit);
    for (size_t i = 0; i < list.count; i++) {
        size_t place = query.skip + i;
        size_t at = order[query.descending ? count - 1 - place : place];
        char id[16];
        snprintf(id, sizeof id, "%02zu", at);
        assert_string_equal(list.documents[i].id, id);
        assert_int_equal(list.documents[i].revision, model->revision[at]);
    }
}

static void test_generated_calls_answer_as_the_model_does(void **state)
{
    struct fixture *f = *state;
    struct model model = {.revision = {0}};
    const char *seed = getenv("HOLDFAST_TEST_SEED");
    if (seed == NULL || !hf_parse_u64(hf_str_of(seed), &random_state) || random_state == 0) {
        hf_random_bytes(&random_state, sizeof random_state);
    }
    print_message("seed %llu\n", (unsigned long long)random_state);
    for (size_t step = 0; step < STEPS; step++) {
        size_t at = pick(IDS);
        switch (pick(5)) {
        case 0:
        case 1:
            step_write(f, &model, at);
            break;
        case 2:
            step_remove(f, &model, at);
            break;
        default:
            step_find(f, &model);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CATALOG(test_an_empty_catalog_finds_nothing),
        ON_CATALOG(test_by_id_in_byte_order_both_ways),
        ON_CATALOG(test_an_index_orders_integers_as_numbers_and_text_by_bytes),
        ON_CATALOG(test_a_document_without_the_member_is_not_in_the_index),
        ON_CATALOG(test_equal_text_only),
        ON_CATALOG(test_a_range_has_both_ends),
        ON_CATALOG(test_indexes_follow_every_change),
        ON_CATALOG(test_queries_that_make_no_sense_are_refused),
        ON_CATALOG(test_without_a_limit_a_thousand_come_and_the_count_tells_of_more),
        ON_CATALOG(test_generated_calls_answer_as_the_model_does),
    };
    return RUN_ON_EVERY_DRIVER(tests);
}
