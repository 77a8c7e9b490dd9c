/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as its callers see it: checks names and sizes before a driver is asked, and puts call,
 * name and URL in front of what a driver reports. Must not know how any driver keeps its objects.
 *
 * Fault points stand around every call: "store.fs.put" fails before anything happens,
 * "store.fs.put.done" after it happened, as when the answer is lost on its way. "fs" is the
 * driver's kind; the calls are put, get, size, list, delete.
 */
#include "store/store.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "store/driver.h"

/* As much of a refused name as a message shows. */
#define SHOWN_NAME_BYTES 120

#ifdef HF_FAULTS
static enum hf_err fault(const struct hf_store *store, const char *call, const char *when,
                         struct hf_error *err)
{
    char point[64];
    snprintf(point, sizeof point, "store.%s.%s%s", store->driver->kind, call, when);
    return hf_fault_hit(point, err);
}
#else
static enum hf_err fault(const struct hf_store *store, const char *call, const char *when,
                         struct hf_error *err)
{
    (void)store, (void)call, (void)when, (void)err;
    return HF_ERR_OK;
}
#endif

/* The frame of every error of a store that names one object. */
static enum hf_err framed(const struct hf_store *store, const char *call, struct hf_str name,
                          struct hf_error *err)
{
    return hf_wrap(err, "%s %.*s: %s", call, HF_STR_ARG(name), store->url);
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* NULL when text is a name; else what is wrong. `whole` false: the beginning of a name is good as
 * well. */
static const char *name_fault(struct hf_str text, bool whole)
{
    if (text.len > HF_STORE_NAME_MAX_BYTES) {
        return "it is longer than 512 bytes";
    }
    size_t component = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '/') {
            if (component == 0) {
                return "a component is empty";
            }
            component = 0;
            continue;
        }
        if (!is_name_char(text.data[i])) {
            return "only letters, digits and . _ - / are allowed";
        }
        if (component == 0 && text.data[i] == '.') {
            return "a component begins with a dot";
        }
        component++;
        if (component > HF_STORE_COMPONENT_MAX_BYTES) {
            return "a component is longer than 255 bytes";
        }
    }
    if (whole && component == 0) {
        return text.len == 0 ? "it is empty" : "a component is empty";
    }
    return NULL;
}

/* what: "name", "prefix", "cursor". */
static enum hf_err check_text(const char *what, struct hf_str text, bool whole,
                              struct hf_error *err)
{
    const char *fault_text = name_fault(text, whole);
    if (fault_text == NULL) {
        return HF_ERR_OK;
    }
    char shown[SHOWN_NAME_BYTES + 1];
    size_t len = text.len < SHOWN_NAME_BYTES ? text.len : SHOWN_NAME_BYTES;
    for (size_t i = 0; i < len; i++) {
        shown[i] = text.data[i] > ' ' && text.data[i] <= '~' ? text.data[i] : '?';
    }
    shown[len] = '\0';
    return hf_fail(err, HF_ERR_INVALID, "%s \"%s%s\" is refused: %s", what, shown,
                   text.len > len ? "..." : "", fault_text);
}

enum hf_err hf_store_name_check(struct hf_str name, struct hf_error *err)
{
    return check_text("name", name, true, err);
}

enum hf_err hf_store_put(struct hf_store *store, struct hf_str name, struct hf_bytes content,
                         const struct hf_store_put_options *options, struct hf_error *err)
{
    static const struct hf_store_put_options defaults = {.use_reserve = false};
    if (hf_store_name_check(name, err) != HF_ERR_OK) {
        return hf_wrap(err, "put: %s", store->url);
    }
    if (content.len > HF_STORE_OBJECT_MAX_BYTES) {
        (void)hf_fail(err, HF_ERR_LIMIT, "%zu bytes are more than the %zu an object may have",
                      content.len, HF_STORE_OBJECT_MAX_BYTES);
        return framed(store, "put", name, err);
    }
    if (fault(store, "put", "", err) != HF_ERR_OK ||
        store->driver->put(store, name, content, options == NULL ? &defaults : options, err) !=
            HF_ERR_OK ||
        fault(store, "put", ".done", err) != HF_ERR_OK) {
        return framed(store, "put", name, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_get(struct hf_store *store, struct hf_str name, size_t max, struct hf_buf *out,
                         struct hf_error *err)
{
    hf_buf_clear(out);
    if (hf_store_name_check(name, err) != HF_ERR_OK) {
        return hf_wrap(err, "get: %s", store->url);
    }
    if (fault(store, "get", "", err) != HF_ERR_OK ||
        store->driver->get(store, name, max, out, err) != HF_ERR_OK) {
        return framed(store, "get", name, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_get_range(struct hf_store *store, struct hf_str name, uint64_t offset,
                               uint8_t *out, size_t len, struct hf_error *err)
{
    if (hf_store_name_check(name, err) != HF_ERR_OK) {
        return hf_wrap(err, "get: %s", store->url);
    }
    if (fault(store, "get", "", err) != HF_ERR_OK ||
        store->driver->get_range(store, name, offset, out, len, err) != HF_ERR_OK) {
        return framed(store, "get", name, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_get_tail(struct hf_store *store, struct hf_str name, size_t len,
                              struct hf_buf *out, uint64_t *size_bytes, struct hf_error *err)
{
    hf_buf_clear(out);
    if (hf_store_name_check(name, err) != HF_ERR_OK) {
        return hf_wrap(err, "get: %s", store->url);
    }
    if (fault(store, "get", "", err) != HF_ERR_OK ||
        store->driver->get_tail(store, name, len, out, size_bytes, err) != HF_ERR_OK) {
        return framed(store, "get", name, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_size(struct hf_store *store, struct hf_str name, uint64_t *size_bytes,
                          struct hf_error *err)
{
    if (hf_store_name_check(name, err) != HF_ERR_OK) {
        return hf_wrap(err, "size: %s", store->url);
    }
    if (fault(store, "size", "", err) != HF_ERR_OK ||
        store->driver->size(store, name, size_bytes, err) != HF_ERR_OK) {
        return framed(store, "size", name, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_delete(struct hf_store *store, struct hf_str name, struct hf_error *err)
{
    if (hf_store_name_check(name, err) != HF_ERR_OK) {
        return hf_wrap(err, "delete: %s", store->url);
    }
    if (fault(store, "delete", "", err) != HF_ERR_OK ||
        store->driver->remove(store, name, err) != HF_ERR_OK ||
        fault(store, "delete", ".done", err) != HF_ERR_OK) {
        return framed(store, "delete", name, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_list(struct hf_store *store, struct hf_str prefix, struct hf_str after,
                          size_t max_entries, struct hf_store_list *out, struct hf_error *err)
{
    *out = (struct hf_store_list){.entries = NULL, .count = 0, .more = false};
    if (check_text("prefix", prefix, false, err) != HF_ERR_OK ||
        check_text("cursor", after, false, err) != HF_ERR_OK) {
        return hf_wrap(err, "list: %s", store->url);
    }
    size_t max = max_entries == 0 ? 1000 : max_entries;
    if (fault(store, "list", "", err) != HF_ERR_OK ||
        store->driver->list(store, prefix, after, max, out, err) != HF_ERR_OK) {
        hf_store_list_fini(out);
        return framed(store, "list", prefix, err);
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_clock(struct hf_store *store, uint64_t *now_s, struct hf_error *err)
{
    if (store->driver->clock == NULL) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "%s has no clock", store->url);
    }
    if (fault(store, "clock", "", err) != HF_ERR_OK ||
        store->driver->clock(store, now_s, err) != HF_ERR_OK) {
        return hf_wrap(err, "clock of %s", store->url);
    }
    return HF_ERR_OK;
}

void hf_store_list_fini(struct hf_store_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        hf_free(list->entries[i].name);
    }
    hf_free(list->entries);
    *list = (struct hf_store_list){.entries = NULL, .count = 0, .more = false};
}

bool hf_store_lister_wants(const struct hf_store_lister *lister, struct hf_str name)
{
    return hf_str_starts_with(name, lister->prefix) && hf_str_compare(name, lister->after) > 0;
}

bool hf_store_lister_wants_below(const struct hf_store_lister *lister, struct hf_str dir)
{
    if (!hf_str_starts_with(dir, lister->prefix) && !hf_str_starts_with(lister->prefix, dir)) {
        return false;
    }
    return hf_str_starts_with(lister->after, dir) || hf_str_compare(dir, lister->after) > 0;
}

enum hf_err hf_store_lister_add(struct hf_store_lister *lister, struct hf_str name,
                                uint64_t size_bytes, struct hf_error *err)
{
    struct hf_store_list *list = lister->list;
    if (list->more || !hf_store_lister_wants(lister, name)) {
        return HF_ERR_OK;
    }
    if (list->count == lister->max_entries) {
        list->more = true;
        return HF_ERR_OK;
    }
    if (list->count == lister->capacity) {
        size_t capacity = lister->capacity == 0 ? 64 : lister->capacity * 2;
        struct hf_store_entry *entries =
            hf_realloc_array(list->entries, capacity, sizeof *list->entries);
        if (entries == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a list of %zu names", capacity);
        }
        list->entries = entries;
        lister->capacity = capacity;
    }
    char *copy = hf_strndup(name.data, name.len);
    if (copy == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a name of %zu bytes", name.len);
    }
    list->entries[list->count++] = (struct hf_store_entry){.name = copy, .size_bytes = size_bytes};
    return HF_ERR_OK;
}

const char *hf_store_url(const struct hf_store *store)
{
    return store->url;
}

struct hf_store_abilities hf_store_abilities(const struct hf_store *store)
{
    return store->abilities;
}

void hf_store_close(struct hf_store *store)
{
    if (store != NULL) {
        store->driver->close(store);
    }
}
