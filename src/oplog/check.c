/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check: lists, reads every slice, lists again what went meanwhile; then the chains of what is sound are judged.
 */
#include "oplog/check.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "oplog/chain_internal.h"

#define LISTS_MAX 5

struct check {
    const struct hf_check_options *options;
    struct hf_slice_reader *reader; /* owned */
    struct hf_chains chains;
    struct hf_chain_cache *read; /* held; sound slices that were read; NULL: none yet */
    struct hf_check_report report;
};

static void check_fini(struct check *check)
{
    hf_check_report_fini(&check->report);
    hf_chains_fini(&check->chains);
    hf_chain_cache_drop(check->read);
    hf_slice_reader_destroy(check->reader);
}
HF_CLEANUP_DEFINE_VALUE(check_fini, struct check)

void hf_check_report_fini(struct hf_check_report *report)
{
    hf_free(report->faults);
    report->faults = NULL;
    report->fault_count = 0;
}

static enum hf_err add_fault(struct check *check, const struct hf_check_fault *fault,
                             struct hf_error *err)
{
    struct hf_check_report *report = &check->report;
    size_t count = report->fault_count;

    report->fault_total++;
    if (count == HF_CHECK_FAULTS_MAX) {
        return HF_ERR_OK;
    }
    struct hf_check_fault *grown = hf_realloc_array(report->faults, count + 1, sizeof *grown);
    if (grown == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "check of an oplog");
    }
    report->faults = grown;
    grown[report->fault_count++] = *fault;
    return HF_ERR_OK;
}

static void name_object(struct hf_check_fault *fault, const struct hf_object_name *name)
{
    (void)snprintf(fault->object, sizeof fault->object, "%s", hf_object_name_text(name).text);
}

/* ---- Every slice, whole ---- */

/* *gone: it is not there any more. A damaged one gets its problem. */
static enum hf_err read_slice(struct check *check, struct hf_slice_link *link, bool *gone,
                              struct hf_error *err)
{
    struct hf_chain_report read = {.faults = NULL};

    enum hf_err code = hf_chain_check_slice(link, check->reader, &read, err);
    if (code == HF_ERR_NOT_FOUND) {
        *gone = true;
        return HF_ERR_OK;
    }
    if (hf_chain_is_damage(code)) {
        return hf_chain_mark(link, err->message, err);
    }
    check->report.slices += code == HF_ERR_OK;
    check->report.entries += read.entries;
    check->report.bytes += read.bytes;
    return code;
}

/* One pass over what is listed now. *gone: some went meanwhile, so the list is an old one. */
static enum hf_err read_all(struct check *check, bool *gone, struct hf_error *err)
{
    const struct hf_check_options *options = check->options;
    const struct hf_chains_options load = {.store = options->store, .keyring = options->keyring};

    *gone = false;
    hf_chains_fini(&check->chains);
    if (hf_chains_load(&load, &check->chains, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < check->chains.link_count; i++) {
        struct hf_slice_link *link = &check->chains.links[i];
        if (hf_cancel_check(options->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        if (link->problem != NULL ||
            (check->read != NULL &&
             hf_chain_cache_find(check->read, &link->name, link->object_bytes) != NULL)) {
            continue;
        }
        if (read_slice(check, link, gone, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    hf_chain_cache_drop(check->read);
    check->read = NULL;
    return hf_chain_cache_create(&check->chains, &check->read, err);
}

/* ---- What is lost ---- */

static bool is_covered(const struct hf_chains *chains, const struct hf_object_name *name)
{
    for (size_t i = 0; i < chains->count; i++) {
        if (hf_optime_compare_ts(&chains->items[i].first, &name->first_optime) <= 0 &&
            hf_optime_compare_ts(&name->last_optime, &chains->items[i].last) <= 0) {
            return true;
        }
    }
    return false;
}

/* Between the chains around the slice. */
static void lose_slice(const struct hf_chains *chains, const struct hf_object_name *name,
                       struct hf_check_fault *fault)
{
    fault->loses = true;
    fault->lost_after = fault->lost_until = (struct hf_optime){.term = -1};
    for (size_t i = 0; i < chains->count; i++) {
        const struct hf_chain *one = &chains->items[i];
        if (hf_optime_compare_ts(&one->last, &name->last_optime) < 0 &&
            hf_optime_compare_ts(&one->last, &fault->lost_after) > 0) {
            fault->lost_after = one->last;
        }
        if (hf_optime_compare_ts(&one->first, &name->first_optime) > 0 &&
            hf_optime_compare_ts(&one->last, &name->last_optime) > 0 &&
            (hf_optime_is_none(&fault->lost_until) ||
             hf_optime_compare_ts(&one->first, &fault->lost_until) < 0)) {
            fault->lost_until = one->first;
        }
    }
}

static enum hf_err tell_damaged(struct check *check, struct hf_error *err)
{
    const struct hf_chains *chains = &check->chains;

    for (size_t i = 0; i < chains->link_count; i++) {
        const struct hf_slice_link *link = &chains->links[i];
        struct hf_check_fault fault = {.kind = HF_CHECK_DAMAGED};
        if (link->problem == NULL) {
            continue;
        }
        name_object(&fault, &link->name);
        (void)snprintf(fault.text, sizeof fault.text, "%s", link->problem);
        if (!is_covered(chains, &link->name)) {
            lose_slice(chains, &link->name, &fault);
        }
        if (add_fault(check, &fault, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- What joins them ---- */

/* A chain that ends where nobody ended it. */
static enum hf_err tell_end(struct check *check, const struct hf_chain *chain, struct hf_error *err)
{
    const struct hf_chain *next = hf_chain_next(&check->chains, chain);
    struct hf_check_fault fault = {.kind = HF_CHECK_MISSING,
                                   .loses = true,
                                   .lost_after = chain->last,
                                   .lost_until = {.term = -1}};

    if (chain->end == HF_CHAIN_DIVERGED) {
        fault = (struct hf_check_fault){.kind = HF_CHECK_DIVERGED};
        name_object(&fault,
                    &check->chains.links[chain->segments[chain->segment_count - 1].link].name);
        (void)snprintf(fault.text, sizeof fault.text, "%s", chain->end_text);
        return add_fault(check, &fault, err);
    }
    if (chain->end != HF_CHAIN_MISSING || next == NULL) {
        return HF_ERR_OK;
    }
    const struct hf_object_name *behind = &check->chains.links[next->segments[0].link].name;
    fault.lost_until = next->first;
    if (next->start != HF_CHAIN_CAUSE && hf_optime_equal(&next->after, &chain->last)) {
        fault.kind = HF_CHECK_FORGED;
        name_object(&fault, behind);
        (void)snprintf(
            fault.text, sizeof fault.text,
            "it goes on behind %s with another running hash than the slice that ends "
            "there (%s): one of them was made by somebody else",
            hf_optime_text(&chain->last).text,
            hf_object_name_text(
                &check->chains.links[chain->segments[chain->segment_count - 1].link].name)
                .text);
    } else {
        (void)snprintf(fault.text, sizeof fault.text, "%.*s; %s comes next",
                       HF_CHAIN_TEXT_BYTES - HF_OBJECT_NAME_BYTES - 20, chain->end_text,
                       hf_object_name_text(behind).text);
    }
    return add_fault(check, &fault, err);
}

/* The number of entries before a slice is nowhere hashed: it must be the sum of those before. */
static enum hf_err tell_numbers(struct check *check, const struct hf_chain *chain,
                                struct hf_error *err)
{
    for (size_t i = 0; i < chain->segment_count; i++) {
        const struct hf_slice_link *link = &check->chains.links[chain->segments[i].link];
        const struct hf_slice_link *before =
            i == 0 ? NULL : &check->chains.links[chain->segments[i - 1].link];
        struct hf_check_fault fault = {.kind = HF_CHECK_FORGED};
        uint64_t due = before == NULL ? 0 : before->sequence + before->entry_count;
        bool joins = before == NULL
                         ? link->cause != HF_CHAIN_NONE
                         : hf_optime_equal(&link->previous, &before->name.last_optime) &&
                               hf_optime_equal(&chain->segments[i - 1].to, &link->previous);
        if (!joins || link->sequence == due) {
            continue;
        }
        name_object(&fault, &link->name);
        (void)snprintf(fault.text, sizeof fault.text,
                       "it begins with entry %" PRIu64 " of the chain by its own word, and %" PRIu64
                       " come before it",
                       link->sequence, due);
        if (add_fault(check, &fault, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- The head ---- */

static bool is_damaged_at(const struct hf_chains *chains, const struct hf_optime *optime)
{
    for (size_t i = 0; i < chains->link_count; i++) {
        if (chains->links[i].problem != NULL &&
            hf_optime_compare_ts(&chains->links[i].name.last_optime, optime) >= 0) {
            return true;
        }
    }
    return false;
}

static enum hf_err tell_head(struct check *check, struct hf_error *err)
{
    const struct hf_check_head *head = &check->options->head;
    const struct hf_chains *chains = &check->chains;
    struct hf_check_fault fault = {.kind = HF_CHECK_MISSING,
                                   .loses = true,
                                   .lost_after = {.term = -1},
                                   .lost_until = {.term = -1}};
    bool other = false;

    if (hf_optime_is_none(&head->last)) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < chains->count; i++) {
        struct hf_hash hash;
        bool found = false;
        if (hf_chain_hash_at(chains, &chains->items[i], check->reader, &head->last, &found, &hash,
                             err) != HF_ERR_OK) {
            return err->code;
        }
        if (found && hf_hash_equal(&hash, &head->hash)) {
            return HF_ERR_OK;
        }
        other = other || found;
        if (hf_optime_compare_ts(&chains->items[i].last, &fault.lost_after) > 0) {
            fault.lost_after = chains->items[i].last;
        }
    }
    if (other) {
        fault = (struct hf_check_fault){.kind = HF_CHECK_FORGED};
        (void)snprintf(fault.text, sizeof fault.text,
                       "the entries up to %s, where the catalog says that the chain stands, have "
                       "another running hash than was stored",
                       hf_optime_text(&head->last).text);
    } else if (is_damaged_at(chains, &head->last)) {
        return HF_ERR_OK; /* told already */
    } else {
        (void)snprintf(fault.text, sizeof fault.text,
                       "no slice holds %s, up to which the catalog says that the oplog is stored",
                       hf_optime_text(&head->last).text);
    }
    (void)snprintf(fault.object, sizeof fault.object, "%s", head->object);
    return add_fault(check, &fault, err);
}

/* ---- The whole ---- */

static enum hf_err judge(struct check *check, struct hf_error *err)
{
    struct hf_chains *chains = &check->chains;

    if (hf_chains_rebuild(chains, check->reader, err) != HF_ERR_OK ||
        tell_damaged(check, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < chains->count; i++) {
        if (tell_numbers(check, &chains->items[i], err) != HF_ERR_OK ||
            tell_end(check, &chains->items[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return tell_head(check, err);
}

enum hf_err hf_oplog_check(const struct hf_check_options *options, struct hf_check_report *out,
                           struct hf_error *err)
{
    HF_CLEANUP(check_fini) struct check check = {.options = options};
    bool gone = true;

    if (hf_slice_reader_create(options->store, options->keyring, &check.reader, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned list = 0; gone; list++) {
        if (list == LISTS_MAX) {
            return hf_fail(err, HF_ERR_UNAVAILABLE,
                           "oplog slices of job %s: they go while they are being checked",
                           hf_id_text(&options->keyring->job).text);
        }
        if (read_all(&check, &gone, err) != HF_ERR_OK) {
            return hf_wrap(err, "check of an oplog");
        }
    }
    if (judge(&check, err) != HF_ERR_OK) {
        return hf_wrap(err, "check of an oplog");
    }
    *out = check.report;
    check.report = (struct hf_check_report){.faults = NULL};
    return HF_ERR_OK;
}
