/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads an entry in one pass over its top level and one over the start of `o`.
 *
 * A field that is there twice is refused where it would decide something, since BSON's readers differ in which one
 * they take.
 */
#include "oplog/entry.h"

#include <stdio.h>

#define FCV_SPACE "admin.system.version"
#define FCV_ID "featureCompatibilityVersion"

static enum hf_err refuse(const char *field, struct hf_error *err)
{
    return hf_fail(err, HF_ERR_CORRUPT, "oplog entry: field %s is of another type", field);
}

static enum hf_oplog_kind kind_of(struct hf_str op)
{
    static const struct {
        char letter;
        enum hf_oplog_kind kind;
    } kinds[] = {{'i', HF_OPLOG_INSERT},
                 {'u', HF_OPLOG_UPDATE},
                 {'d', HF_OPLOG_DELETE},
                 {'c', HF_OPLOG_COMMAND},
                 {'n', HF_OPLOG_NOOP}};
    for (size_t i = 0; i < HF_ARRAY_LEN(kinds) && op.len == 1; i++) {
        if (op.data[0] == kinds[i].letter) {
            return kinds[i].kind;
        }
    }
    return HF_OPLOG_OTHER;
}

/* Which of the fields that decide something were seen. */
enum {
    SEEN_TS = 1,
    SEEN_TERM = 2,
    SEEN_OP = 4,
    SEEN_NS = 8,
    SEEN_O = 16,
    SEEN_O2 = 32,
};

static bool is_document(const struct hf_bson_element *element)
{
    return element->type == HF_BSON_DOCUMENT;
}

static bool read_optime(const struct hf_bson_element *element, struct hf_optime *out)
{
    struct hf_bson_element part;
    *out = (struct hf_optime){.term = -1};
    if (!is_document(element) || !hf_bson_find(element->value, "ts", &part) ||
        !hf_bson_timestamp(&part, &out->seconds, &out->increment)) {
        return false;
    }
    return !hf_bson_find(element->value, "t", &part) ||
           (hf_bson_integer(&part, &out->term) && out->term >= -1 && out->term < INT64_MAX);
}

/* Fields that only help to search: what is of another type counts as not there. */
static void read_helpful(const struct hf_bson_element *element, struct hf_oplog_entry *entry)
{
    if (hf_bson_key_is(element, "ui")) {
        /* Binary, subtype 4, 16 bytes behind length and subtype. */
        if (element->type == HF_BSON_BINARY && element->value.len == 21) {
            entry->ui = hf_bytes_of(element->value.data + 5, 16);
        }
    } else if (hf_bson_key_is(element, "wall")) {
        if (element->type == HF_BSON_DATE) {
            entry->wall_ms = (int64_t)hf_load_le64(element->value.data);
        }
    } else if (hf_bson_key_is(element, "lsid")) {
        if (is_document(element)) {
            entry->lsid = element->value;
        }
    } else if (hf_bson_key_is(element, "txnNumber")) {
        if (!hf_bson_integer(element, &entry->txn_number)) {
            entry->txn_number = -1;
        }
    } else if (hf_bson_key_is(element, "prevOpTime")) {
        entry->has_previous = read_optime(element, &entry->previous);
    }
}

/* One field of the top level; *seen gains its bit. */
static enum hf_err read_field(const struct hf_bson_element *element, struct hf_oplog_entry *entry,
                              unsigned *seen, struct hf_error *err)
{
    unsigned bit = 0;
    bool good = true;
    if (hf_bson_key_is(element, "ts")) {
        bit = SEEN_TS;
        good = entry->depth > 0 ||
               hf_bson_timestamp(element, &entry->optime.seconds, &entry->optime.increment);
    } else if (hf_bson_key_is(element, "t")) {
        bit = SEEN_TERM;
        good = entry->depth > 0 || (hf_bson_integer(element, &entry->optime.term) &&
                                    entry->optime.term >= -1 && entry->optime.term < INT64_MAX);
    } else if (hf_bson_key_is(element, "op")) {
        bit = SEEN_OP;
        good = hf_bson_text(element, &entry->op);
    } else if (hf_bson_key_is(element, "ns")) {
        bit = SEEN_NS;
        good = hf_bson_text(element, &entry->ns);
    } else if (hf_bson_key_is(element, "o")) {
        bit = SEEN_O;
        good = is_document(element);
        entry->o = element->value;
    } else if (hf_bson_key_is(element, "o2")) {
        bit = SEEN_O2;
        if (is_document(element)) {
            entry->o2 = element->value;
        }
    } else {
        read_helpful(element, entry);
    }
    if (!good) {
        char name[16];
        (void)snprintf(name, sizeof name, "%.*s", (int)element->key.len, element->key.data);
        return refuse(name, err);
    }
    if ((*seen & bit) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "oplog entry: field %.*s stands there twice",
                       HF_STR_ARG(element->key));
    }
    *seen |= bit;
    return HF_ERR_OK;
}

/* The command's name is the first field of o; what it says of a transaction stands behind. */
static enum hf_err read_command(struct hf_oplog_entry *entry, struct hf_error *err)
{
    struct hf_bson_walk walk;
    struct hf_bson_element element;
    bool first = true;
    if (hf_bson_begin(entry->o, &walk, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog entry: o");
    }
    while (hf_bson_next(&walk, &element)) {
        if (first) {
            entry->command = element.key;
            entry->commit = hf_bson_key_is(&element, "commitTransaction");
            entry->abort = hf_bson_key_is(&element, "abortTransaction");
            if (hf_bson_key_is(&element, "applyOps")) {
                if (element.type != HF_BSON_ARRAY) {
                    return refuse("o.applyOps", err);
                }
                entry->apply_ops = element.value;
            }
            first = false;
        } else if (hf_bson_key_is(&element, "partialTxn")) {
            entry->partial_txn = hf_bson_true(&element);
        } else if (hf_bson_key_is(&element, "prepare")) {
            entry->prepare = hf_bson_true(&element);
        } else if (hf_bson_key_is(&element, "commitTimestamp")) {
            if (!hf_bson_timestamp(&element, &entry->commit_seconds, &entry->commit_increment)) {
                return refuse("o.commitTimestamp", err);
            }
        }
    }
    if (hf_bson_end(&walk, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog entry: o");
    }
    return HF_ERR_OK;
}

static enum hf_err finish(struct hf_oplog_entry *entry, unsigned seen, struct hf_error *err)
{
    struct hf_str id;
    unsigned wanted = SEEN_OP | SEEN_NS | SEEN_O | (entry->depth == 0 ? SEEN_TS : 0);
    if ((seen & wanted) != wanted) {
        return hf_fail(err, HF_ERR_CORRUPT, "oplog entry: no field %s",
                       (seen & SEEN_OP) == 0   ? "op"
                       : (seen & SEEN_NS) == 0 ? "ns"
                       : (seen & SEEN_O) == 0  ? "o"
                                               : "ts");
    }
    if (entry->depth == 0 && hf_optime_is_none(&entry->optime)) {
        return hf_fail(err, HF_ERR_CORRUPT, "oplog entry: its ts is (0,0)");
    }
    entry->kind = kind_of(entry->op);
    if (entry->kind == HF_OPLOG_COMMAND) {
        return read_command(entry, err);
    }
    bool update = entry->kind == HF_OPLOG_UPDATE;
    struct hf_bytes holder = update ? entry->o2 : entry->o;
    if (entry->kind == HF_OPLOG_NOOP || holder.len == 0 ||
        !hf_bson_find(holder, "_id", &entry->id)) {
        entry->id = (struct hf_bson_element){.key = {.data = NULL}};
    }
    entry->fcv = entry->id.key.data != NULL && hf_str_equal_c(entry->ns, FCV_SPACE) &&
                 hf_bson_text(&entry->id, &id) && hf_str_equal_c(id, FCV_ID);
    return HF_ERR_OK;
}

/* Where a whole document, a modifier ($v: 1) or a difference ($v: 2) has what it sets. */
static bool find_set(struct hf_bytes o, const char *key, struct hf_bson_element *out)
{
    struct hf_bson_element inside, part;

    return hf_bson_find(o, key, out) ||
           (hf_bson_find(o, "$set", &inside) && inside.type == HF_BSON_DOCUMENT &&
            hf_bson_find(inside.value, key, out)) ||
           (hf_bson_find(o, "diff", &inside) && inside.type == HF_BSON_DOCUMENT &&
            ((hf_bson_find(inside.value, "u", &part) && part.type == HF_BSON_DOCUMENT &&
              hf_bson_find(part.value, key, out)) ||
             (hf_bson_find(inside.value, "i", &part) && part.type == HF_BSON_DOCUMENT &&
              hf_bson_find(part.value, key, out))));
}

struct hf_oplog_fcv hf_oplog_fcv(const struct hf_oplog_entry *entry)
{
    struct hf_oplog_fcv fcv = {.text = ""};
    struct hf_bson_element element;
    struct hf_str version;

    if (entry->o.len > 0 && !find_set(entry->o, "targetVersion", &element) &&
        find_set(entry->o, "version", &element) && hf_bson_text(&element, &version) &&
        version.len < sizeof fcv.text) {
        (void)snprintf(fcv.text, sizeof fcv.text, "%.*s", HF_STR_ARG(version));
    }
    return fcv;
}

static enum hf_err read_operation(struct hf_bytes bytes, struct hf_oplog_entry *entry,
                                  struct hf_error *err)
{
    struct hf_bson_walk walk;
    struct hf_bson_element element;
    unsigned seen = 0;
    if (hf_bson_begin(bytes, &walk, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog entry");
    }
    while (hf_bson_next(&walk, &element)) {
        if (read_field(&element, entry, &seen, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (hf_bson_end(&walk, err) != HF_ERR_OK) {
        return hf_wrap(err, "oplog entry");
    }
    return finish(entry, seen, err);
}

enum hf_err hf_oplog_entry_read(struct hf_bytes bytes, struct hf_oplog_entry *out,
                                struct hf_error *err)
{
    struct hf_oplog_entry entry = {.bytes = bytes, .optime = {.term = -1}, .txn_number = -1};
    if (bytes.len > HF_SLICE_ENTRY_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "oplog entry of %zu bytes, %zu are allowed", bytes.len,
                       HF_SLICE_ENTRY_MAX_BYTES);
    }
    if (read_operation(bytes, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = entry;
    return HF_ERR_OK;
}

/* ---- Namespaces ---- */

static bool is_rename(const struct hf_oplog_entry *entry)
{
    return hf_str_equal_c(entry->command, "renameCollection");
}

unsigned hf_oplog_space_count(const struct hf_oplog_entry *entry)
{
    if (entry->apply_ops.len > 0) {
        return 0;
    }
    return entry->kind == HF_OPLOG_COMMAND && is_rename(entry) ? 2 : 1;
}

static bool short_enough(struct hf_str name, struct hf_str *out)
{
    *out = name;
    return name.len <= HF_SLICE_NAMESPACE_MAX_BYTES;
}

bool hf_oplog_space(const struct hf_oplog_entry *entry, unsigned i, char room[HF_OPLOG_SPACE_BYTES],
                    struct hf_str *out)
{
    struct hf_bson_walk walk;
    struct hf_bson_element first;
    struct hf_error ignored;
    struct hf_str name = {.data = NULL};
    HF_ASSERT(i < hf_oplog_space_count(entry));
    if (entry->kind != HF_OPLOG_COMMAND) {
        return short_enough(entry->ns, out);
    }
    if (is_rename(entry) && i == 1) {
        return hf_bson_find(entry->o, "to", &first) && hf_bson_text(&first, &name) &&
               short_enough(name, out);
    }
    const char *dot = entry->ns.len == 0 ? NULL : memchr(entry->ns.data, '.', entry->ns.len);
    struct hf_str database = {.data = entry->ns.data,
                              .len = dot == NULL ? entry->ns.len : (size_t)(dot - entry->ns.data)};
    if (hf_bson_begin(entry->o, &walk, &ignored) != HF_ERR_OK || !hf_bson_next(&walk, &first) ||
        !hf_bson_text(&first, &name)) {
        return short_enough(database, out);
    }
    if (is_rename(entry)) {
        return short_enough(name, out);
    }
    size_t len = database.len + 1 + name.len;
    if (len >= HF_OPLOG_SPACE_BYTES) {
        return false;
    }
    memcpy(room, database.data, database.len);
    room[database.len] = '.';
    memcpy(room + database.len + 1, name.data, name.len);
    *out = (struct hf_str){.data = room, .len = len};
    return true;
}

/* ---- applyOps ---- */

void hf_oplog_inner_begin(const struct hf_oplog_entry *entry, struct hf_oplog_inner *inner)
{
    struct hf_error ignored;
    inner->entry = entry;
    inner->depth = entry->apply_ops.len > 0 &&
                           hf_bson_begin(entry->apply_ops, &inner->walks[0], &ignored) == HF_ERR_OK
                       ? 1
                       : 0;
}

enum hf_err hf_oplog_inner_next(struct hf_oplog_inner *inner, struct hf_oplog_entry *out,
                                bool *more, struct hf_error *err)
{
    struct hf_bson_element element;
    *more = false;
    while (inner->depth > 0) {
        struct hf_bson_walk *walk = &inner->walks[inner->depth - 1];
        if (!hf_bson_next(walk, &element)) {
            if (hf_bson_end(walk, err) != HF_ERR_OK) {
                return hf_wrap(err, "oplog entry: o.applyOps");
            }
            inner->depth--;
            continue;
        }
        if (!is_document(&element)) {
            return refuse("o.applyOps[]", err);
        }
        struct hf_oplog_entry entry = {.bytes = element.value,
                                       .optime = inner->entry->optime,
                                       .wall_ms = inner->entry->wall_ms,
                                       .lsid = inner->entry->lsid,
                                       .txn_number = inner->entry->txn_number,
                                       .depth = inner->depth};
        if (read_operation(element.value, &entry, err) != HF_ERR_OK) {
            return hf_wrap(err, "in o.applyOps");
        }
        if (entry.apply_ops.len > 0 && inner->depth < HF_OPLOG_DEPTH_MAX) {
            if (hf_bson_begin(entry.apply_ops, &inner->walks[inner->depth], err) != HF_ERR_OK) {
                return hf_wrap(err, "in o.applyOps");
            }
            inner->depth++;
            continue;
        }
        *out = entry;
        *more = true;
        return HF_ERR_OK;
    }
    return HF_ERR_OK;
}
