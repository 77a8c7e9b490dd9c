/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grooming of one job.
 *
 *   list objects -> list claims -> list, then read manifests (one gone: again) -> mark -> count the living bytes of every
 *   listed object whose writer has no claim -> delete the wholly dead -> copy the living blocks of those below the ratio,
 *   and of runs of small neighbours, into new objects; delete each input when the output is durable
 *
 * The order of the lists is what makes it safe beside captures and other grooms (keeps I6): an object that was listed
 * and whose writer has no claim afterwards is either reached by a manifest that is listed later still, or by none for
 * ever: dead stays dead.
 */
#include "snapshot/groom.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "format/pack.h"
#include "os/clock.h"
#include "snapshot/groom_internal.h"
#include "snapshot/list.h"
#include "snapshot/marks.h"
#include "snapshot/retry.h"
#include "snapshot/visit.h"

#define PAGE_NAMES 1000
#define OBJECTS_MAX ((size_t)16 << 20)
#define CLAIMS_MAX ((size_t)100000)
#define LIST_ROUNDS 20
/* Footers and nodes in memory: a tree is walked once, so that little is looked at again. */
#define READER_BYTES ((size_t)24 << 20)
#define DEFAULT_LIVING_PERCENT 65

/* ---- lists ---- */

static enum hf_err list_page(const struct hf_groom *groom, enum hf_object_kind kind,
                             struct hf_object_text *after, struct hf_store_list *page,
                             struct hf_error *err)
{
    struct hf_object_text prefix = hf_object_prefix(kind, &groom->options->keyring->job);
    struct hf_retry retry = {.cancel = groom->options->cancel};
    enum hf_err code;
    do {
        code = hf_store_list(groom->options->store, hf_str_of(prefix.text), hf_str_of(after->text),
                             PAGE_NAMES, page, err);
    } while (code != HF_ERR_OK && hf_retry_again(&retry, code));
    after->text[0] = '\0';
    if (code == HF_ERR_OK && page->more && page->count > 0) {
        (void)snprintf(after->text, sizeof after->text, "%s", page->entries[page->count - 1].name);
    }
    return code;
}

static enum hf_err add_object(struct hf_groom *groom, const struct hf_store_entry *entry,
                              struct hf_error *err)
{
    struct hf_object_name name;
    struct hf_error ignored;
    if (hf_object_name_parse(hf_str_of(entry->name), &name, &ignored) != HF_ERR_OK ||
        entry->size_bytes > HF_STORE_OBJECT_MAX_BYTES) {
        return HF_ERR_OK; /* not ours: it stays */
    }
    if (groom->count == groom->capacity) {
        size_t wanted = groom->capacity + groom->capacity / 4 + 256;
        struct hf_groom_object *grown =
            wanted > OBJECTS_MAX ? NULL : hf_realloc_array(groom->objects, wanted, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "list of %zu objects", wanted);
        }
        groom->objects = grown;
        groom->capacity = wanted;
    }
    groom->objects[groom->count++] = (struct hf_groom_object){
        .first = name.first,
        .last = name.last,
        .writer = name.writer,
        .round = (uint16_t)name.round,
        .tree = name.kind == HF_OBJECT_TREE,
        .size_bytes = (uint32_t)entry->size_bytes,
    };
    groom->result.objects_seen++;
    groom->result.bytes_before += entry->size_bytes;
    return HF_ERR_OK;
}

struct hf_object_name hf_groom_name(const struct hf_groom *groom,
                                    const struct hf_groom_object *object)
{
    return (struct hf_object_name){
        .kind = object->tree ? HF_OBJECT_TREE : HF_OBJECT_DATA,
        .job = groom->options->keyring->job,
        .writer = object->writer,
        .first = object->first,
        .last = object->last,
        .round = object->round,
    };
}

static enum hf_err list_objects(struct hf_groom *groom, enum hf_object_kind kind,
                                struct hf_error *err)
{
    struct hf_object_text after = {.text = ""};
    do {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        if (list_page(groom, kind, &after, &page, err) != HF_ERR_OK) {
            return err->code;
        }
        for (size_t i = 0; i < page.count; i++) {
            if (add_object(groom, &page.entries[i], err) != HF_ERR_OK) {
                return err->code;
            }
        }
    } while (after.text[0] != '\0');
    return HF_ERR_OK;
}

static int by_id(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct hf_id));
}

/* Marks the objects whose writer has a claim: they are left alone. */
static enum hf_err list_claims(struct hf_groom *groom, struct hf_error *err)
{
    struct hf_object_text after = {.text = ""};
    HF_CLEANUP(hf_free) struct hf_id *writers = NULL;
    size_t count = 0;
    do {
        HF_CLEANUP(hf_store_list_fini) struct hf_store_list page = {.entries = NULL};
        if (list_page(groom, HF_OBJECT_CLAIM, &after, &page, err) != HF_ERR_OK) {
            return err->code;
        }
        struct hf_id *grown =
            count > CLAIMS_MAX ? NULL
                               : hf_realloc_array(writers, count + page.count + 1, sizeof *writers);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "list of claims");
        }
        writers = grown;
        for (size_t i = 0; i < page.count; i++) {
            struct hf_object_name name;
            /* A claim that cannot be read could be anyone's. keeps I7 */
            if (hf_object_name_parse(hf_str_of(page.entries[i].name), &name, err) != HF_ERR_OK) {
                return err->code;
            }
            writers[count++] = name.writer;
        }
    } while (after.text[0] != '\0');
    if (count > 0) {
        qsort(writers, count, sizeof *writers, by_id);
    }
    for (size_t i = 0; count > 0 && i < groom->count; i++) {
        struct hf_groom_object *object = &groom->objects[i];
        object->claimed = bsearch(&object->writer, writers, count, sizeof *writers, by_id) != NULL;
        groom->result.objects_claimed += object->claimed ? 1 : 0;
    }
    return HF_ERR_OK;
}

/* ---- mark ---- */

static bool skip(void *context, const struct hf_ref *ref)
{
    const struct hf_groom *groom = context;
    return hf_marks_has(groom->marks, &ref->address);
}

static enum hf_err mark(void *context, const struct hf_visit_place *place, const struct hf_ref *ref,
                        struct hf_error *err)
{
    struct hf_groom *groom = context;
    (void)place;
    groom->living_count += hf_marks_has(groom->marks, &ref->address) ? 0 : 1;
    return hf_marks_set(groom->marks, &ref->address, err);
}

/* The snapshot went while its tree was walked, and another groom took what it had: that is no damage. */
static bool went_meanwhile(const struct hf_groom *groom, uint64_t capture)
{
    const struct hf_groom_options *options = groom->options;
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_manifest_read read;
    struct hf_error ignored;
    return hf_list_read_manifest(options->store, &options->keyring->job, capture, options->keyring,
                                 &manifest, &read, &ignored) == HF_ERR_NOT_FOUND;
}

static enum hf_err mark_manifest(struct hf_groom *groom, uint64_t capture, bool *gone,
                                 struct hf_error *err)
{
    const struct hf_groom_options *options = groom->options;
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_manifest_read read;
    enum hf_err code = hf_list_read_manifest(options->store, &options->keyring->job, capture,
                                             options->keyring, &manifest, &read, err);
    if (code == HF_ERR_NOT_FOUND) {
        *gone = true;
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK || read.kind == HF_MANIFEST_VOID) {
        return code;
    }
    struct hf_visitor visitor = {
        .skip = skip,
        .block = mark,
        .done = mark,
        .context = groom,
        .cancel = options->cancel,
    };
    groom->result.manifests++;
    code = hf_visit_tree(groom->reader, groom->coder, &manifest.root, &visitor, err);
    if ((code == HF_ERR_NOT_FOUND || code == HF_ERR_CORRUPT) && went_meanwhile(groom, capture)) {
        *gone = true;
        return HF_ERR_OK;
    }
    return code;
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static bool is_listed(const struct hf_capture_list *captures, uint64_t capture)
{
    return captures->count > 0 && bsearch(&capture, captures->captures, captures->count,
                                          sizeof capture, by_number) != NULL;
}

/* A manifest that the catalog knows and the list does not show: the list is not to be trusted. keeps I7
 * One that was deleted since the catalog was asked is known no longer. */
static enum hf_err check_known(const struct hf_groom *groom, const struct hf_capture_list *captures,
                               struct hf_error *err)
{
    const struct hf_groom_options *options = groom->options;
    for (size_t i = 0; i < options->known_count; i++) {
        uint64_t capture = options->known_captures[i];
        bool known = !is_listed(captures, capture);
        if (known && options->is_known != NULL &&
            options->is_known(options->context, capture, &known, err) != HF_ERR_OK) {
            return err->code;
        }
        if (known) {
            return hf_fail(err, HF_ERR_CORRUPT,
                           "snapshot %" PRIu64 " is known and its manifest is not listed", capture);
        }
    }
    return HF_ERR_OK;
}

/* Marks what every manifest reaches. Marks of an earlier try stay: they only keep more. */
static enum hf_err mark_all(struct hf_groom *groom, struct hf_error *err)
{
    const struct hf_groom_options *options = groom->options;
    for (unsigned round = 0; round < LIST_ROUNDS; round++) {
        HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list captures = {.captures = NULL};
        bool gone = false;
        groom->result.manifests = 0;
        if (hf_list_captures(options->store, &options->keyring->job, &captures, err) != HF_ERR_OK ||
            check_known(groom, &captures, err) != HF_ERR_OK) {
            return err->code;
        }
        for (size_t i = 0; i < captures.count; i++) {
            /* keeps I7: the first thing that cannot be read ends it, before anything was deleted */
            if (mark_manifest(groom, captures.captures[i], &gone, err) != HF_ERR_OK) {
                return hf_wrap(err, "snapshot %" PRIu64, captures.captures[i]);
            }
        }
        if (!gone) {
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_BUSY, "manifests go while they are read");
}

/* ---- count ---- */

static enum hf_err note_seen(struct hf_groom *groom, const struct hf_address *address,
                             struct hf_error *err)
{
    bool again = false;
    if (hf_marks_see(groom->marks, address, &again, err) != HF_ERR_OK) {
        return err->code;
    }
    groom->seen_count += again ? 0 : 1;
    groom->doubled_count += again ? 1 : 0;
    return again ? hf_marks_set(groom->doubled, address, err) : HF_ERR_OK;
}

/* A footer that cannot be read leaves the object alone: something living may lie there. */
static enum hf_err count_living(struct hf_groom *groom, struct hf_groom_object *object,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    enum hf_err code = hf_groom_read_footer(groom, object, &footer, err);
    if (code == HF_ERR_CORRUPT || code == HF_ERR_UNSUPPORTED || code == HF_ERR_NOT_FOUND) {
        object->unreadable = true;
        object->corrupt = code == HF_ERR_CORRUPT;
        groom->result.objects_unreadable++;
        return HF_ERR_OK;
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    for (uint32_t i = 0; i < footer.block_count; i++) {
        const struct hf_address *address = &footer.blocks[i].address;
        if (hf_marks_has(groom->marks, address)) {
            object->living_bytes += footer.blocks[i].stored_bytes;
            object->living_blocks++;
            if (note_seen(groom, address, err) != HF_ERR_OK) {
                return err->code;
            }
        } else {
            object->dead_blocks++;
            groom->result.dead_bytes += footer.blocks[i].stored_bytes;
        }
    }
    groom->result.living_bytes += object->living_bytes;
    groom->result.living_blocks += object->living_blocks;
    groom->result.dead_blocks += object->dead_blocks;
    return HF_ERR_OK;
}

/* Of an object with blocks that stand in two footers (one was healed, or two grooms were at work): are they whole here? */
static enum hf_err look_at_doubled(struct hf_groom *groom, struct hf_groom_object *object,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_footer_fini) struct hf_footer footer = {.runs = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    struct hf_object_name full = hf_groom_name(groom, object);
    struct hf_object_text name = hf_object_name_text(&full);
    enum hf_err code = hf_groom_read_footer(groom, object, &footer, err);
    for (uint32_t i = 0; code == HF_ERR_OK && i < footer.block_count; i++) {
        const struct hf_footer_block *block = &footer.blocks[i];
        if (!hf_marks_has(groom->doubled, &block->address)) {
            continue;
        }
        if (bytes.len == 0) {
            code = hf_store_get(groom->options->store, hf_str_of(name.text),
                                HF_STORE_OBJECT_MAX_BYTES, &bytes, err);
        }
        if (code == HF_ERR_OK && bytes.len == footer.object_bytes &&
            hf_xxh3(hf_bytes_of(bytes.data + block->place, block->stored_bytes)) !=
                block->checksum) {
            object->replaced = true;
        }
    }
    /* Another groom was here, or it can be read no more: then nothing is done with it. */
    return code == HF_ERR_NOT_FOUND || code == HF_ERR_CORRUPT || code == HF_ERR_IO ? HF_ERR_OK
                                                                                   : code;
}

static enum hf_err look_at_all_doubled(struct hf_groom *groom, struct hf_error *err)
{
    for (size_t i = 0; groom->doubled_count > 0 && i < groom->count; i++) {
        struct hf_groom_object *object = &groom->objects[i];
        if (hf_cancel_check(groom->options->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!object->claimed && !object->unreadable && object->living_blocks > 0 &&
            look_at_doubled(groom, object, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err count_all(struct hf_groom *groom, struct hf_error *err)
{
    for (size_t i = 0; i < groom->count; i++) {
        if (hf_cancel_check(groom->options->cancel, err) != HF_ERR_OK) {
            return err->code;
        }
        if (!groom->objects[i].claimed &&
            count_living(groom, &groom->objects[i], err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return look_at_all_doubled(groom, err);
}

/* ---- the run ---- */

/* One whose footer is damaged may go when all that lives stands in the footers of others. */
static bool is_dead(const struct hf_groom *groom, const struct hf_groom_object *object)
{
    if (object->unreadable) {
        return object->corrupt && groom->seen_count == groom->living_count;
    }
    return object->living_blocks == 0;
}

static enum hf_err delete_dead(struct hf_groom *groom, struct hf_error *err)
{
    for (size_t i = 0; i < groom->count; i++) {
        struct hf_groom_object *object = &groom->objects[i];
        if (object->claimed || !is_dead(groom, object)) {
            continue;
        }
        if (hf_groom_delete(groom, object, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static void groom_fini(struct hf_groom *groom)
{
    hf_block_coder_destroy(groom->coder);
    hf_tree_reader_destroy(groom->reader);
    hf_marks_destroy(groom->marks);
    hf_marks_destroy(groom->doubled);
    hf_free(groom->objects);
}
HF_CLEANUP_DEFINE_VALUE(groom_fini, struct hf_groom)

static enum hf_err open_parts(struct hf_groom *groom, struct hf_error *err)
{
    const struct hf_groom_options *options = groom->options;
    struct hf_tree_reader_options reader = {
        .store = options->store, .keyring = options->keyring, .memory_max_bytes = READER_BYTES};
    struct hf_block_coder_options coding = {.keyring = options->keyring};
    if (!hf_store_abilities(options->store).consistent_list) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "the store's lists are not consistent");
    }
    if (options->living_percent > 100) {
        return hf_fail(err, HF_ERR_INVALID, "a living ratio of %u %%", options->living_percent);
    }
    groom->living_percent =
        options->living_percent == 0 ? DEFAULT_LIVING_PERCENT : options->living_percent;
    if (hf_marks_create(&groom->marks, err) != HF_ERR_OK ||
        hf_marks_create(&groom->doubled, err) != HF_ERR_OK ||
        hf_tree_reader_create(&reader, &groom->reader, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_block_coder_create(&coding, &groom->coder, err);
}

enum hf_err hf_groom_job(const struct hf_groom_options *options, struct hf_groom_result *out,
                         struct hf_error *err)
{
    HF_CLEANUP(groom_fini) struct hf_groom groom = {.options = options};
    hf_progress_phase(options->progress, "groom");
    /* keeps I6: objects, then claims, then manifests */
    if (open_parts(&groom, err) != HF_ERR_OK ||
        list_objects(&groom, HF_OBJECT_DATA, err) != HF_ERR_OK ||
        list_objects(&groom, HF_OBJECT_TREE, err) != HF_ERR_OK ||
        list_claims(&groom, err) != HF_ERR_OK || mark_all(&groom, err) != HF_ERR_OK ||
        count_all(&groom, err) != HF_ERR_OK) {
        return hf_wrap(err, "groom job %s", hf_id_text(&options->keyring->job).text);
    }
    groom.result.bytes_after = groom.result.bytes_before;
    if (delete_dead(&groom, err) != HF_ERR_OK || hf_groom_merge(&groom, err) != HF_ERR_OK) {
        return hf_wrap(err, "groom job %s", hf_id_text(&options->keyring->job).text);
    }
    groom.result.marks_bytes = hf_marks_memory(groom.marks);
    *out = groom.result;
    return HF_ERR_OK;
}
