/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every driver against a simple model: generated sequences of calls on few names, so that they
 * meet. What the model says, the store says. HOLDFAST_TEST_SEED repeats a run.
 */
#include "contract/store/drivers.h"
#include "os/clock.h"

#define NAMES 24
#define STEPS 4000
#define CONTENT_MAX 40

/* Names that sort differently with and without their directories; none is another's directory. */
static const char *const names[NAMES] = {
    "a-",   "a-b", "a.c/d",  "a/-",   "a/0",   "a/a-b", "a/a/b", "a/a/c",
    "a/a0", "a/b", "a/c-/x", "a/c.d", "a/c/x", "a0",    "aa",    "b",
    "b-/0", "b-0", "b.0",    "b0",    "c/d-e", "c/d/e", "c/d/f", "c/d0",
};

struct model {
    bool there[NAMES]; /* in the order of names, which is ascending */
    size_t len[NAMES];
    char content[NAMES][CONTENT_MAX];
};

static uint64_t random_state;

/* xorshift: the same sequence everywhere. */
static size_t pick(size_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state % below);
}

static void step_put(struct fixture *f, struct model *model, size_t at)
{
    struct hf_error err;
    char content[CONTENT_MAX];
    size_t len = pick(3);
    for (size_t i = 0; i < len; i++) {
        content[i] = (char)('a' + pick(2));
    }
    enum hf_err expected = HF_ERR_OK;
    if (model->there[at]) {
        bool equal = len == model->len[at] && memcmp(content, model->content[at], len) == 0;
        expected = equal ? HF_ERR_OK : HF_ERR_EXISTS;
    } else {
        model->there[at] = true;
        model->len[at] = len;
        memcpy(model->content[at], content, len);
    }
    assert_int_equal(
        hf_store_put(f->store, hf_str_of(names[at]), hf_bytes_of(content, len), NULL, &err),
        expected);
}

static void step_delete(struct fixture *f, struct model *model, size_t at)
{
    struct hf_error err;
    assert_int_equal(hf_store_delete(f->behind, hf_str_of(names[at]), &err),
                     model->there[at] ? HF_ERR_OK : HF_ERR_NOT_FOUND);
    model->there[at] = false;
}

static void step_get(struct fixture *f, const struct model *model, size_t at)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf out = HF_BUF_INIT(CONTENT_MAX);
    uint64_t size_bytes = 0;
    struct hf_str name = hf_str_of(names[at]);
    enum hf_err expected = model->there[at] ? HF_ERR_OK : HF_ERR_NOT_FOUND;
    assert_int_equal(hf_store_get(f->store, name, CONTENT_MAX, &out, &err), expected);
    if (model->there[at]) {
        assert_int_equal(out.len, model->len[at]);
        assert_memory_equal(out.data, model->content[at], out.len);
    }
    size_t tail = pick(4);
    assert_int_equal(hf_store_get_tail(f->store, name, tail, &out, &size_bytes, &err), expected);
    if (model->there[at]) {
        assert_int_equal(size_bytes, model->len[at]);
        assert_int_equal(out.len, tail < model->len[at] ? tail : model->len[at]);
        assert_memory_equal(out.data, model->content[at] + model->len[at] - out.len, out.len);
    }
}

/* The beginning of a name, cut anywhere that a prefix may be cut. */
static struct hf_str pick_beginning(void)
{
    const char *name = names[pick(NAMES)];
    return (struct hf_str){.data = name, .len = pick(strlen(name) + 1)};
}

static void step_list(struct fixture *f, const struct model *model)
{
    struct hf_error err = {.message = ""};
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL, .count = 0};
    struct hf_str prefix = pick(2) == 0 ? hf_str_of("") : pick_beginning();
    struct hf_str after = pick(2) == 0 ? hf_str_of("") : pick_beginning();
    size_t max = 1 + pick(NAMES);
    assert_int_equal(hf_store_list(f->store, prefix, after, max, &list, &err), HF_ERR_OK);
    size_t seen = 0;
    bool more = false;
    for (size_t i = 0; i < NAMES && !more; i++) {
        struct hf_str name = hf_str_of(names[i]);
        if (!model->there[i] || !hf_str_starts_with(name, prefix) ||
            hf_str_compare(name, after) <= 0) {
            continue;
        }
        if (seen == max) {
            more = true;
            break;
        }
        assert_true(seen < list.count);
        assert_string_equal(list.entries[seen].name, names[i]);
        assert_int_equal(list.entries[seen].size_bytes, model->len[i]);
        seen++;
    }
    assert_int_equal(list.count, seen);
    assert_int_equal(list.more, more);
}

static void test_generated_calls_answer_as_the_model_does(void **state)
{
    struct fixture *f = *state;
    struct model model = {.there = {false}};
    const char *seed = getenv("HOLDFAST_TEST_SEED");
    if (seed == NULL || !hf_parse_u64(hf_str_of(seed), &random_state) || random_state == 0) {
        hf_random_bytes(&random_state, sizeof random_state);
    }
    print_message("seed %llu\n", (unsigned long long)random_state);
    for (size_t i = 1; i < NAMES; i++) {
        assert_true(strcmp(names[i - 1], names[i]) < 0);
    }
    for (size_t step = 0; step < STEPS; step++) {
        size_t at = pick(NAMES);
        switch (pick(5)) {
        case 0:
        case 1:
            step_put(f, &model, at);
            break;
        case 2:
            step_delete(f, &model, at);
            break;
        case 3:
            step_get(f, &model, at);
            break;
        default:
            step_list(f, &model);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {ON_STORE(test_generated_calls_answer_as_the_model_does)};
    return RUN_ON_EVERY_DRIVER(tests);
}
