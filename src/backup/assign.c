/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First what rules a resource out, then which of the rest has the least to do.
 */
#include "backup/assign.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[HF_RESOURCE_KINDS] = {"server", "snapshot store", "oplog store"};

static bool is_among(const char *const *list, const char *text)
{
    for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
        if (strcmp(list[i], text) == 0) {
            return true;
        }
    }
    return false;
}

/* The first label of the filter that the resource lacks; NULL: it carries all. */
static const char *lacks(const struct hf_resource *resource, const struct hf_assign_filter *filter)
{
    for (size_t i = 0; filter != NULL && filter->labels != NULL && filter->labels[i] != NULL; i++) {
        if (!is_among(resource->labels, filter->labels[i])) {
            return filter->labels[i];
        }
    }
    return NULL;
}

/* Text of what rules the resource out, or NULL. */
static const char *ruled_out(const struct hf_resource *resource, const struct hf_assign_wish *wish,
                             char *text, size_t text_len)
{
    const struct hf_assign_filter *filter = wish->filter;
    const char *const *ids = filter == NULL ? NULL : filter->ids[wish->kind];
    const char *label = lacks(resource, filter);

    if (resource->unfit != NULL) {
        return resource->unfit;
    }
    if (resource->closed) {
        return "it takes no new jobs";
    }
    if (label != NULL) {
        (void)snprintf(text, text_len, "it has no label %s", label);
        return text;
    }
    if (ids != NULL && ids[0] != NULL && !is_among(ids, resource->id)) {
        return "the project's filter leaves it out";
    }
    if (wish->need_bytes > resource->free_bytes) {
        (void)snprintf(text, text_len, "it has %llu bytes free, and %llu may be needed",
                       (unsigned long long)resource->free_bytes,
                       (unsigned long long)wish->need_bytes);
        return text;
    }
    return NULL;
}

/* a's work with one job more against b's, by their load factors: (jobs + 1) / factor. */
static bool better(const struct hf_resource *a, const struct hf_resource *b)
{
    const double a_load =
        (double)(a->jobs + 1) / (double)(a->load_factor == 0 ? 1 : a->load_factor);
    const double b_load =
        (double)(b->jobs + 1) / (double)(b->load_factor == 0 ? 1 : b->load_factor);

    if (a_load < b_load || a_load > b_load) {
        return a_load < b_load;
    }
    if (a->free_bytes != b->free_bytes) {
        return a->free_bytes > b->free_bytes;
    }
    return strcmp(a->id, b->id) < 0;
}

enum hf_err hf_assign_choose(const struct hf_resource *resources, size_t count,
                             const struct hf_assign_wish *wish, size_t *out, struct hf_error *err)
{
    char against[900] = "", text[160];
    size_t best = SIZE_MAX, of_kind = 0;

    for (size_t i = 0; i < count; i++) {
        if (resources[i].kind != wish->kind) {
            continue;
        }
        const char *why = ruled_out(&resources[i], wish, text, sizeof text);
        of_kind++;
        if (why != NULL) {
            size_t used = strlen(against);
            (void)snprintf(against + used, sizeof against - used, "%s%s: %s", used == 0 ? "" : "; ",
                           resources[i].id, why);
        } else if (best == SIZE_MAX || better(&resources[i], &resources[best])) {
            best = i;
        }
    }
    if (of_kind == 0) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "there is no %s", kinds[wish->kind]);
    }
    if (best == SIZE_MAX) {
        return hf_fail(err, HF_ERR_CONFLICT, "no %s will do: %s", kinds[wish->kind], against);
    }
    *out = best;
    return HF_ERR_OK;
}

void hf_assign_why(const struct hf_resource *resources, size_t count,
                   const struct hf_assign_wish *wish, size_t chosen, char *out, size_t out_len)
{
    const struct hf_resource *best = &resources[chosen];
    char against[700] = "", text[160];
    size_t would_do = 0;

    for (size_t i = 0; i < count; i++) {
        if (resources[i].kind != wish->kind) {
            continue;
        }
        const char *why = ruled_out(&resources[i], wish, text, sizeof text);
        would_do += why == NULL;
        if (why != NULL) {
            size_t used = strlen(against);
            (void)snprintf(against + used, sizeof against - used, "; not %s: %s", resources[i].id,
                           why);
        }
    }
    if (would_do == 1) {
        (void)snprintf(out, out_len, "%s %s: the only one that will do%s", kinds[wish->kind],
                       best->id, against);
        return;
    }
    (void)snprintf(out, out_len, "%s %s: the least work of %zu (%llu jobs, load factor %llu)%s",
                   kinds[wish->kind], best->id, would_do, (unsigned long long)best->jobs,
                   (unsigned long long)(best->load_factor == 0 ? 1 : best->load_factor), against);
}

enum hf_err hf_assign_check(const struct hf_resource *resources, size_t count,
                            const struct hf_assign_filter *filter, struct hf_error *err)
{
    for (size_t i = 0; filter->labels != NULL && filter->labels[i] != NULL; i++) {
        bool on[HF_RESOURCE_KINDS] = {false};
        for (size_t k = 0; k < count; k++) {
            on[resources[k].kind] =
                on[resources[k].kind] || is_among(resources[k].labels, filter->labels[i]);
        }
        for (size_t kind = 0; kind < HF_RESOURCE_KINDS; kind++) {
            if (!on[kind]) {
                return hf_fail(err, HF_ERR_CONFLICT, "no %s has the label %s", kinds[kind],
                               filter->labels[i]);
            }
        }
    }
    return HF_ERR_OK;
}
