/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slice is EMPTY, FILLING or LOST.
 *
 *   EMPTY   -- begin_slice (hf_slicer_add) -->  FILLING
 *   FILLING -- hf_slicer_close            -->  EMPTY, standing behind the slice's last entry
 *   EMPTY   -- hf_slicer_break            -->  EMPTY, standing at a chain's start
 *   FILLING -- an add that failed half way -->  LOST, for good
 */
#include "oplog/slicer.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "oplog/entry.h"
#include "oplog/tally.h"
#include "os/clock.h"

enum phase { EMPTY, FILLING, LOST };

struct hf_slicer {
    enum phase phase;
    uint64_t target_bytes, age_ms, noop_age_ms;
    struct hf_slice_writer *writer; /* owned */
    struct hf_tally *tally;         /* owned */
    struct hf_chain_point point;    /* before the slice that is being filled */
    struct hf_slice_header header;  /* of it; texts are kept from one to the next */
    uint64_t first_ms, deed_ms; /* first entry, first one that is no no-op (while has_deed) came */
    bool has_deed;
};

static enum hf_err set_text(char *out, size_t capacity, const char *text, const char *what,
                            struct hf_error *err)
{
    int len = snprintf(out, capacity, "%s", text == NULL ? "" : text);
    if (len < 0 || (size_t)len >= capacity) {
        return hf_fail(err, HF_ERR_LIMIT, "oplog slices: %s of %d bytes", what, len);
    }
    return HF_ERR_OK;
}

enum hf_err hf_slicer_create(const struct hf_slicer_options *options, struct hf_slicer **out,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_slicer_destroy) struct hf_slicer *slicer = hf_alloc_zero(sizeof *slicer);
    if (slicer == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "prepare to write oplog slices");
    }
    slicer->target_bytes =
        options->target_bytes == 0 ? HF_SLICER_TARGET_BYTES : options->target_bytes;
    slicer->age_ms = options->age_ms == 0 ? HF_SLICER_AGE_MS : options->age_ms;
    slicer->noop_age_ms = options->noop_age_ms == 0 ? HF_SLICER_NOOP_AGE_MS : options->noop_age_ms;
    slicer->point = options->start;
    slicer->header.job = options->keyring->job;
    slicer->header.writer = options->writer;
    slicer->header.round = options->round;
    if (slicer->target_bytes > HF_SLICER_TARGET_MAX_BYTES) {
        return hf_fail(err, HF_ERR_INVALID,
                       "oplog slices of %" PRIu64 " bytes, %" PRIu64 " are allowed",
                       slicer->target_bytes, HF_SLICER_TARGET_MAX_BYTES);
    }
    if (hf_chain_point_check(&options->start, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog slices");
    }
    if (set_text(slicer->header.set_name, HF_NAME_BYTES, options->set_name, "set name", err) !=
            HF_ERR_OK ||
        set_text(slicer->header.member, HF_NAME_BYTES, options->member, "member", err) !=
            HF_ERR_OK ||
        set_text(slicer->header.fcv, HF_WORD_BYTES, options->fcv, "FCV", err) != HF_ERR_OK ||
        hf_slice_writer_create(options->keyring, &slicer->writer, err) != HF_ERR_OK ||
        hf_tally_create(&slicer->tally, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = HF_TAKE(slicer);
    return HF_ERR_OK;
}

void hf_slicer_destroy(struct hf_slicer *slicer)
{
    if (slicer != NULL) {
        hf_slice_writer_destroy(slicer->writer);
        hf_tally_destroy(slicer->tally);
        hf_free(slicer);
    }
}

bool hf_slicer_is_empty(const struct hf_slicer *slicer)
{
    return slicer->phase == EMPTY;
}

/* The entry that the next one must follow: the last one taken; none at a chain's start. */
static struct hf_optime last_optime(const struct hf_slicer *slicer)
{
    return slicer->phase == FILLING ? slicer->header.last : slicer->point.previous;
}

static enum hf_err check_order(const struct hf_slicer *slicer, const struct hf_optime *optime,
                               struct hf_error *err)
{
    struct hf_optime last = last_optime(slicer);
    if (hf_optime_is_none(&last)) {
        return HF_ERR_OK;
    }
    if (hf_optime_compare_ts(&last, optime) >= 0 || optime->term < last.term) {
        return hf_fail(err, HF_ERR_CONFLICT,
                       "oplog entry %s does not come after %s: the source's history changed",
                       hf_optime_text(optime).text, hf_optime_text(&last).text);
    }
    return HF_ERR_OK;
}

static bool new_term(const struct hf_slicer *slicer, const struct hf_optime *optime)
{
    return slicer->header.term_count == 0 ||
           slicer->header.terms[slicer->header.term_count - 1].term != optime->term;
}

/* The slice that is being filled keeps all its limits with this entry. */
static bool fits(const struct hf_slicer *slicer, const struct hf_oplog_entry *entry)
{
    const struct hf_slice_header *header = &slicer->header;
    uint32_t minutes = entry->optime.seconds / 60 - header->first.seconds / 60;
    return !entry->fcv && hf_slice_writer_bytes(slicer->writer) < slicer->target_bytes &&
           hf_slice_writer_has_room(slicer->writer, entry->bytes.len) &&
           minutes < HF_SLICE_MINUTES_MAX &&
           (header->term_count < HF_SLICE_TERMS_MAX || !new_term(slicer, &entry->optime));
}

static void begin_slice(struct hf_slicer *slicer, const struct hf_oplog_entry *entry,
                        uint64_t now_ms)
{
    uint8_t salt[HF_PACK_SALT_BYTES];
    struct hf_chain_point *point = &slicer->point;
    if (entry->fcv) {
        /* Also at a start: that nothing is replayed across it matters more than its cause. */
        hf_slicer_break(slicer, HF_CHAIN_FCV_CHANGED, hf_oplog_fcv(entry).text);
    }
    hf_random_bytes(salt, sizeof salt);
    hf_slice_writer_begin(slicer->writer, &point->hash, salt);
    hf_tally_clear(slicer->tally);
    slicer->header.first = entry->optime;
    slicer->header.previous = point->previous;
    slicer->header.cause = point->cause;
    slicer->header.broken_after = point->broken_after;
    slicer->header.sequence = point->sequence;
    slicer->header.noop_count = 0;
    slicer->header.term_count = 0;
    slicer->first_ms = now_ms;
    slicer->has_deed = false;
    slicer->phase = FILLING;
}

static void note_entry(struct hf_slicer *slicer, const struct hf_oplog_entry *entry,
                       const struct hf_slice_spot *spot, uint64_t now_ms)
{
    struct hf_slice_header *header = &slicer->header;
    hf_tally_add(slicer->tally, entry, spot);
    if (new_term(slicer, &entry->optime)) {
        header->terms[header->term_count++] =
            (struct hf_slice_term){.term = entry->optime.term,
                                   .seconds = entry->optime.seconds,
                                   .increment = entry->optime.increment};
    }
    if (entry->kind == HF_OPLOG_NOOP) {
        header->noop_count++;
    } else if (!slicer->has_deed) {
        slicer->has_deed = true;
        slicer->deed_ms = now_ms;
    }
    header->last = entry->optime;
}

enum hf_err hf_slicer_add(struct hf_slicer *slicer, struct hf_bytes bytes, uint64_t now_ms,
                          bool *taken, struct hf_error *err)
{
    struct hf_oplog_entry entry;
    struct hf_slice_spot spot;
    *taken = false;
    if (slicer->phase == LOST) {
        return hf_fail(err, HF_ERR_LOST, "the oplog slice was lost when memory ran out");
    }
    if (hf_oplog_entry_read(bytes, &entry, err) != HF_ERR_OK ||
        check_order(slicer, &entry.optime, err) != HF_ERR_OK) {
        return err->code;
    }
    if (slicer->phase == FILLING && !fits(slicer, &entry)) {
        return HF_ERR_OK;
    }
    if (slicer->phase == EMPTY) {
        begin_slice(slicer, &entry, now_ms);
    }
    if (hf_slice_writer_add(slicer->writer, bytes, &entry.optime, &spot, err) != HF_ERR_OK) {
        slicer->phase = LOST;
        return err->code;
    }
    note_entry(slicer, &entry, &spot, now_ms);
    *taken = true;
    return HF_ERR_OK;
}

/* When it is due by age. */
static uint64_t due_ms(const struct hf_slicer *slicer)
{
    uint64_t by_first = slicer->first_ms + slicer->noop_age_ms;
    uint64_t by_deed = slicer->deed_ms + slicer->age_ms;
    return slicer->has_deed && by_deed < by_first ? by_deed : by_first;
}

uint64_t hf_slicer_wait_ms(const struct hf_slicer *slicer, uint64_t now_ms)
{
    if (slicer->phase != FILLING) {
        return UINT64_MAX;
    }
    uint64_t due = due_ms(slicer);
    return due > now_ms ? due - now_ms : 0;
}

bool hf_slicer_due(const struct hf_slicer *slicer, uint64_t now_ms)
{
    return slicer->phase == FILLING &&
           (hf_slice_writer_bytes(slicer->writer) >= slicer->target_bytes ||
            hf_slicer_wait_ms(slicer, now_ms) == 0);
}

enum hf_err hf_slicer_close(struct hf_slicer *slicer, struct hf_object_name *name,
                            struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_slice_index_fini) struct hf_slice_index index = {.namespaces = NULL};
    uint32_t blocks = 0;
    if (slicer->phase == LOST) {
        return hf_fail(err, HF_ERR_LOST, "the oplog slice was lost when memory ran out");
    }
    HF_ASSERT(slicer->phase == FILLING);
    if (hf_slice_writer_close(slicer->writer, &blocks, err) != HF_ERR_OK ||
        hf_tally_index(slicer->tally, blocks, &index, err) != HF_ERR_OK ||
        hf_slice_writer_finish(slicer->writer, &slicer->header, &index, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog slice up to %s", hf_optime_text(&slicer->header.last).text);
    }
    *name = hf_slice_name(&slicer->header);
    slicer->point = (struct hf_chain_point){
        .previous = slicer->header.last,
        .hash = *hf_slice_writer_hash(slicer->writer),
        .sequence = slicer->header.sequence + hf_slice_writer_entries(slicer->writer),
        .cause = HF_CHAIN_NONE,
    };
    slicer->phase = EMPTY;
    return HF_ERR_OK;
}

struct hf_chain_point hf_slicer_point(const struct hf_slicer *slicer)
{
    return slicer->point;
}

void hf_slicer_break(struct hf_slicer *slicer, enum hf_chain_cause cause, const char *fcv)
{
    HF_ASSERT(slicer->phase == EMPTY && cause != HF_CHAIN_NONE);
    struct hf_optime after = hf_optime_is_none(&slicer->point.previous) ? slicer->point.broken_after
                                                                        : slicer->point.previous;
    slicer->point = (struct hf_chain_point){.cause = cause, .broken_after = after};
    hf_slicer_set_fcv(slicer, fcv);
}

void hf_slicer_set_fcv(struct hf_slicer *slicer, const char *fcv)
{
    struct hf_error ignored;
    if (set_text(slicer->header.fcv, sizeof slicer->header.fcv, fcv, "FCV", &ignored) !=
        HF_ERR_OK) {
        slicer->header.fcv[0] = '\0'; /* no version is that long: not known */
    }
}
