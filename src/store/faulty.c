/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrapper driver "faulty". Must change nothing of what the store inside does when no fault is
 * due.
 */
#include "store/faulty.h"

#include "base/alloc.h"
#include "base/thread.h"
#include "store/driver.h"

#define FAULTS_MAX 16

struct pending {
    struct hf_store_fault fault;
    uint64_t passes;
};

struct faulty_store {
    struct hf_store base;
    struct hf_store *inner; /* owned */
    struct hf_mutex mutex;  /* guards: all below */
    struct pending faults[FAULTS_MAX];
    size_t fault_count;
    uint64_t calls[HF_STORE_CALL_COUNT];
    void (*hook)(void *argument, enum hf_store_call call, struct hf_str name);
    void *hook_argument; /* borrowed */
};

static struct faulty_store *faulty_of(struct hf_store *store)
{
    return (struct faulty_store *)store;
}

static bool is_due(struct pending *pending, enum hf_store_call call, struct hf_str name)
{
    const struct hf_store_fault *fault = &pending->fault;
    if (fault->call != call ||
        (fault->prefix != NULL && !hf_str_starts_with(name, hf_str_of(fault->prefix)))) {
        return false;
    }
    uint64_t first = fault->nth == 0 ? 1 : fault->nth;
    pending->passes++;
    return pending->passes >= first &&
           (fault->times == 0 || pending->passes - first < fault->times);
}

/* Counts the call; what is due, or a fault that does nothing. */
static struct hf_store_fault begin(struct faulty_store *faulty, enum hf_store_call call,
                                   struct hf_str name)
{
    struct hf_store_fault due = {.call = call, .code = HF_ERR_OK};
    hf_mutex_lock(&faulty->mutex);
    faulty->calls[call]++;
    for (size_t i = 0; i < faulty->fault_count; i++) {
        if (is_due(&faulty->faults[i], call, name)) {
            due = faulty->faults[i].fault;
        }
    }
    void (*hook)(void *, enum hf_store_call, struct hf_str) = faulty->hook;
    void *argument = faulty->hook_argument;
    hf_mutex_unlock(&faulty->mutex);
    if (hook != NULL) {
        hook(argument, call, name);
    }
    if (due.delay_ms > 0) {
        hf_cancel_sleep(NULL, due.delay_ms);
    }
    return due;
}

static enum hf_err before(const struct hf_store_fault *due, struct hf_error *err)
{
    return due->code == HF_ERR_OK || due->after_effect
               ? HF_ERR_OK
               : hf_fail(err, due->code, "made to fail before it was done");
}

static enum hf_err after(const struct hf_store_fault *due, struct hf_error *err)
{
    return due->code == HF_ERR_OK || !due->after_effect
               ? HF_ERR_OK
               : hf_fail(err, due->code, "made to fail after it was done");
}

static enum hf_err faulty_put(struct hf_store *store, struct hf_str name, struct hf_bytes content,
                              const struct hf_store_put_options *options, struct hf_error *err)
{
    struct faulty_store *faulty = faulty_of(store);
    struct hf_store_fault due = begin(faulty, HF_STORE_CALL_PUT, name);
    if (before(&due, err) != HF_ERR_OK ||
        faulty->inner->driver->put(faulty->inner, name, content, options, err) != HF_ERR_OK) {
        return err->code;
    }
    return after(&due, err);
}

static enum hf_err faulty_get(struct hf_store *store, struct hf_str name, size_t max,
                              struct hf_buf *out, struct hf_error *err)
{
    struct faulty_store *faulty = faulty_of(store);
    struct hf_store_fault due = begin(faulty, HF_STORE_CALL_GET, name);
    if (before(&due, err) != HF_ERR_OK ||
        faulty->inner->driver->get(faulty->inner, name, max, out, err) != HF_ERR_OK) {
        return err->code;
    }
    if (due.flip_bit && out->len > 0) {
        out->data[0] ^= 1;
    }
    return after(&due, err);
}

static enum hf_err faulty_get_range(struct hf_store *store, struct hf_str name, uint64_t offset,
                                    uint8_t *out, size_t len, struct hf_error *err)
{
    struct faulty_store *faulty = faulty_of(store);
    struct hf_store_fault due = begin(faulty, HF_STORE_CALL_GET, name);
    if (before(&due, err) != HF_ERR_OK ||
        faulty->inner->driver->get_range(faulty->inner, name, offset, out, len, err) != HF_ERR_OK) {
        return err->code;
    }
    if (due.flip_bit && len > 0) {
        out[0] ^= 1;
    }
    return after(&due, err);
}

static enum hf_err faulty_get_tail(struct hf_store *store, struct hf_str name, size_t len,
                                   struct hf_buf *out, uint64_t *size_bytes, struct hf_error *err)
{
    struct faulty_store *faulty = faulty_of(store);
    struct hf_store_fault due = begin(faulty, HF_STORE_CALL_GET, name);
    if (before(&due, err) != HF_ERR_OK ||
        faulty->inner->driver->get_tail(faulty->inner, name, len, out, size_bytes, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    if (due.flip_bit && out->len > 0) {
        out->data[0] ^= 1;
    }
    return after(&due, err);
}

static enum hf_err faulty_size(struct hf_store *store, struct hf_str name, uint64_t *size_bytes,
                               struct hf_error *err)
{
    struct faulty_store *faulty = faulty_of(store);
    struct hf_store_fault due = begin(faulty, HF_STORE_CALL_SIZE, name);
    if (before(&due, err) != HF_ERR_OK ||
        faulty->inner->driver->size(faulty->inner, name, size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    return after(&due, err);
}

static enum hf_err faulty_list(struct hf_store *store, struct hf_str prefix,
                               struct hf_str after_name, size_t max_entries,
                               struct hf_store_list *out, struct hf_error *err)
{
    struct faulty_store *faulty = faulty_of(store);
    struct hf_store_fault due = begin(faulty, HF_STORE_CALL_LIST, prefix);
    if (before(&due, err) != HF_ERR_OK ||
        faulty->inner->driver->list(faulty->inner, prefix, after_name, max_entries, out, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    return after(&due, err);
}

static enum hf_err faulty_remove(struct hf_store *store, struct hf_str name, struct hf_error *err)
{
    struct faulty_store *faulty = faulty_of(store);
    struct hf_store_fault due = begin(faulty, HF_STORE_CALL_DELETE, name);
    if (before(&due, err) != HF_ERR_OK ||
        faulty->inner->driver->remove(faulty->inner, name, err) != HF_ERR_OK) {
        return err->code;
    }
    return after(&due, err);
}

static void faulty_close(struct hf_store *store)
{
    struct faulty_store *faulty = faulty_of(store);
    hf_store_close(faulty->inner);
    hf_mutex_fini(&faulty->mutex);
    hf_free(faulty->base.url);
    hf_free(faulty);
}

static const struct hf_store_driver faulty_driver = {
    .kind = "faulty",
    .put = faulty_put,
    .get = faulty_get,
    .get_range = faulty_get_range,
    .get_tail = faulty_get_tail,
    .size = faulty_size,
    .list = faulty_list,
    .remove = faulty_remove,
    .close = faulty_close,
};

enum hf_err hf_store_faulty_create_take(struct hf_store *inner, struct hf_store **out,
                                        struct hf_error *err)
{
    struct faulty_store *faulty = hf_alloc_zero(sizeof *faulty);
    char *url = hf_strdup(inner->url);
    if (faulty == NULL || url == NULL) {
        hf_free(faulty);
        hf_free(url);
        hf_store_close(inner);
        return hf_fail(err, HF_ERR_NO_MEMORY, "wrap a store");
    }
    faulty->base.driver = &faulty_driver;
    faulty->base.url = url;
    faulty->base.abilities = inner->abilities;
    faulty->inner = inner;
    hf_mutex_init(&faulty->mutex);
    *out = &faulty->base;
    return HF_ERR_OK;
}

void hf_store_faulty_add(struct hf_store *store, const struct hf_store_fault *fault)
{
    HF_ASSERT(store->driver == &faulty_driver);
    struct faulty_store *faulty = faulty_of(store);
    HF_LOCKED(&faulty->mutex);
    HF_ASSERT(faulty->fault_count < FAULTS_MAX);
    faulty->faults[faulty->fault_count++] = (struct pending){.fault = *fault, .passes = 0};
}

void hf_store_faulty_clear(struct hf_store *store)
{
    HF_ASSERT(store->driver == &faulty_driver);
    HF_LOCKED(&faulty_of(store)->mutex);
    faulty_of(store)->fault_count = 0;
}

uint64_t hf_store_faulty_calls(struct hf_store *store, enum hf_store_call call)
{
    HF_ASSERT(store->driver == &faulty_driver && call < HF_STORE_CALL_COUNT);
    HF_LOCKED(&faulty_of(store)->mutex);
    return faulty_of(store)->calls[call];
}

void hf_store_faulty_hook(struct hf_store *store,
                          void (*hook)(void *argument, enum hf_store_call call, struct hf_str name),
                          void *argument)
{
    HF_ASSERT(store->driver == &faulty_driver);
    struct faulty_store *faulty = faulty_of(store);
    HF_LOCKED(&faulty->mutex);
    faulty->hook = hook;
    faulty->hook_argument = argument;
}
