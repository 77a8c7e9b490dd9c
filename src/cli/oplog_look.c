/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a stored oplog, with no server: which operations there are, and what a restore to an earlier point would
 * undo. Documents are not shown, only what they are: namespace, kind, _id, time.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/define.h"
#include "cli/oplog_store.h"
#include "cli/output.h"
#include "cli/point.h"
#include "oplog/search.h"

#define NAMES_MAX ((size_t)100000)
#define ID_BYTES 256

static const char *const kinds[] = {"?", "insert", "update", "delete", "command", "noop", "other"};

#define LOOK_OPTIONS(OPT)                                                                          \
    OPT(key_file, PATH, "", 0, 4096, OPT_NONE, "The store's key file")                             \
    OPT(oplog_store, TEXT, "", 0, 4096, OPT_NONE,                                                  \
        "URL of the store that has the oplog, where it is another one")                            \
    OPT(job, TEXT, "", 0, 100, OPT_NONE, "Id of the job, where the store has several")             \
    OPT(json, FLAG, "false", 0, 0, OPT_NONE, "Print one JSON document")

static enum hf_err open_job(const struct hf_cli_oplog_wish *wish, struct hf_cli_oplog *out,
                            struct hf_error *err)
{
    struct hf_id job;

    if (hf_cli_oplog_open(wish, out, err) != HF_ERR_OK ||
        hf_cli_oplog_job(out, wish->job, &job, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_cli_oplog_load(out, &job, err);
}

/* "2026-11-30T14:03:07Z", or "1795450667.68": the greatest timestamp that a restore to it keeps. */
static enum hf_err limit_of(const char *text, struct hf_optime *out, struct hf_error *err)
{
    bool date = strchr(text, ':') != NULL;
    struct hf_target target;
    bool wanted = false;

    *out = (struct hf_optime){.term = -1};
    if (hf_cli_target(date ? text : "", date ? "" : text, &wanted, &target, err) != HF_ERR_OK) {
        return err->code;
    }
    if (wanted) {
        *out = hf_target_limit(&target);
    }
    return HF_ERR_OK;
}

static struct hf_str name_of(const struct hf_oplog_entry *operation,
                             char room[HF_OPLOG_SPACE_BYTES])
{
    struct hf_str name = {"", 0};

    if (hf_oplog_space_count(operation) == 0 || !hf_oplog_space(operation, 0, room, &name)) {
        return (struct hf_str){"", 0};
    }
    return name;
}

/* An _id as people write it: hexadecimal digits, a number, a text; "" where it is none of these. */
static void id_text(const struct hf_bson_element *id, char out[ID_BYTES])
{
    struct hf_str text;
    int64_t number = 0;

    out[0] = '\0';
    if (id->key.data == NULL) {
        return;
    }
    if (id->type == HF_BSON_OBJECT_ID && id->value.len == 12) {
        for (size_t i = 0; i < 12; i++) {
            (void)snprintf(out + 2 * i, 3, "%02x", id->value.data[i]);
        }
    } else if (hf_bson_integer(id, &number)) {
        (void)snprintf(out, ID_BYTES, "%lld", (long long)number);
    } else if (hf_bson_text(id, &text)) {
        (void)snprintf(out, ID_BYTES, "%.*s", (int)(text.len < ID_BYTES ? text.len : ID_BYTES - 1),
                       text.data);
    }
}

/* ---- find ---- */

#define FIND_OPTIONS(OPT)                                                                          \
    OPT(from, TEXT, "", 0, 64, OPT_NONE,                                                           \
        "From this second on (2026-11-30T14:03:07Z), or behind this entry (SECONDS.INCREMENT)")    \
    OPT(to, TEXT, "", 0, 64, OPT_NONE, "Before this second, or up to and with this entry")         \
    OPT(ns, TEXT, "", 0, 255, OPT_NONE, "Only operations on this namespace: shop.orders")          \
    OPT(kind, TEXT, "", 0, 20, OPT_NONE, "Only insert, update, delete, command, noop or other")    \
    OPT(id, TEXT, "", 0, 255, OPT_NONE,                                                            \
        "Only on the document with this _id: an ObjectId's digits, a number, a text")              \
    OPT(per_minute, FLAG, "false", 0, 0, OPT_NONE, "Count them per minute instead")                \
    OPT(limit, NUMBER, "100", 1, 1000000, OPT_NONE, "Show at most so many")                        \
    LOOK_OPTIONS(OPT)
HF_CLI_VALUES(oplog_find, FIND_OPTIONS)

struct finding {
    const struct oplog_find_values *values;
    struct hf_json *results; /* owned by the document that is printed */
    struct hf_cli_table *table;
    uint64_t found, shown;
    uint64_t minute, in_minute;
};

static void flush_minute(struct finding *finding)
{
    char time[32], count[24];

    if (finding->in_minute == 0) {
        return;
    }
    hf_cli_time(finding->minute * 60, time);
    (void)snprintf(count, sizeof count, "%llu", (unsigned long long)finding->in_minute);
    const char *cells[] = {time, count};
    struct hf_json *json = hf_json_object();
    hf_json_set_u64(json, "minuteS", finding->minute * 60);
    hf_json_set_u64(json, "operations", finding->in_minute);
    hf_json_append_take(finding->results, json);
    hf_cli_table_row(finding->table, cells);
    finding->in_minute = 0;
}

static void show(struct finding *finding, const struct hf_oplog_entry *operation, const char *id)
{
    char room[HF_OPLOG_SPACE_BYTES], time[32], at[32], name[HF_OPLOG_SPACE_BYTES], what[64];
    struct hf_str space = name_of(operation, room);

    (void)snprintf(name, sizeof name, "%.*s", (int)space.len, space.data);
    hf_cli_time(operation->optime.seconds, time);
    (void)snprintf(at, sizeof at, "%u.%u", operation->optime.seconds, operation->optime.increment);
    (void)snprintf(what, sizeof what, "%s", kinds[operation->kind]);
    if (operation->kind == HF_OPLOG_COMMAND) {
        size_t len = operation->command.len < sizeof what ? operation->command.len : 60;
        (void)snprintf(what, sizeof what, "%.*s", (int)len, operation->command.data);
    }
    struct hf_json *json = hf_json_object();
    hf_json_set_u64(json, "seconds", operation->optime.seconds);
    hf_json_set_u64(json, "increment", operation->optime.increment);
    hf_json_set_text(json, "kind", kinds[operation->kind]);
    hf_json_set_text(json, "what", what);
    hf_json_set_text(json, "namespace", name);
    hf_json_set_text(json, "documentId", id);
    hf_json_set_bool(json, "inTransaction", operation->depth > 0);
    hf_json_append_take(finding->results, json);
    const char *cells[] = {time, at, what, name, id};
    hf_cli_table_row(finding->table, cells);
    finding->shown++;
}

static enum hf_err take(void *context, const struct hf_oplog_entry *operation, struct hf_error *err)
{
    struct finding *finding = context;
    const struct oplog_find_values *values = finding->values;
    char id[ID_BYTES];

    (void)err;
    id_text(&operation->id, id);
    if ((values->kind[0] != '\0' && strcmp(values->kind, kinds[operation->kind]) != 0) ||
        (values->id[0] != '\0' && strcmp(values->id, id) != 0)) {
        return HF_ERR_OK;
    }
    finding->found++;
    if (!values->per_minute) {
        if (finding->shown < values->limit) {
            show(finding, operation, id);
        }
        return HF_ERR_OK;
    }
    if (finding->minute != operation->optime.seconds / 60) {
        flush_minute(finding);
        finding->minute = operation->optime.seconds / 60;
    }
    finding->in_minute++;
    return HF_ERR_OK;
}

static bool is_kind(const char *text)
{
    for (size_t i = 1; i < HF_ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i], text) == 0) {
            return true;
        }
    }
    return text[0] == '\0';
}

static enum hf_err oplog_find(const struct oplog_find_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    static const char *const one_titles[] = {"TIME (UTC)", "ENTRY", "WHAT", "NAMESPACE", "_ID"};
    static const char *const minute_titles[] = {"MINUTE (UTC)", "OPERATIONS"};
    HF_CLEANUP(hf_cli_oplog_close) struct hf_cli_oplog oplog = {.store = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    const struct hf_cli_oplog_wish wish = {.url = rest->arguments.values[0],
                                           .oplog_url = values->oplog_store,
                                           .key_file = values->key_file,
                                           .job = values->job};
    struct hf_oplog_search search = {.space = values->ns[0] == '\0' ? NULL : values->ns,
                                     .cancel = hf_cli_cancel(),
                                     .found = take};
    struct finding finding = {.values = values};

    if (!is_kind(values->kind)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "kind '%s' is none of insert, update, delete, command, noop, other",
                       values->kind);
    }
    if (limit_of(values->from, &search.after, err) != HF_ERR_OK ||
        limit_of(values->to, &search.to, err) != HF_ERR_OK ||
        open_job(&wish, &oplog, err) != HF_ERR_OK) {
        return err->code;
    }
    finding.results = hf_json_array();
    finding.table = values->per_minute
                        ? hf_cli_table_create(minute_titles, HF_ARRAY_LEN(minute_titles))
                        : hf_cli_table_create(one_titles, HF_ARRAY_LEN(one_titles));
    search.chains = &oplog.chains;
    search.reader = oplog.reader;
    search.context = &finding;
    enum hf_err code = hf_oplog_search_run(&search, err);
    flush_minute(&finding);
    hf_json_set_take(json, "results", finding.results);
    hf_json_set_u64(json, "totalCount", finding.found);
    hf_json_set_u64(json, "blocksRead", search.blocks_read);
    hf_json_set_u64(json, "blocksPassed", search.blocks_passed);
    if (code != HF_ERR_OK || values->json) {
        hf_cli_table_drop(finding.table);
        return code != HF_ERR_OK ? code : hf_cli_print_json(json, err);
    }
    hf_cli_table_print(finding.table);
    if (!values->per_minute && finding.found > finding.shown) {
        (void)printf("%llu more; --limit shows them\n",
                     (unsigned long long)(finding.found - finding.shown));
    }
    return HF_ERR_OK;
}

/* ---- diff ---- */

HF_CLI_VALUES(oplog_diff, LOOK_OPTIONS)

struct space_sum {
    char *name; /* owned */
    uint64_t counts[HF_OPLOG_KIND_MAX + 1];
};
struct sums {
    struct space_sum *items; /* owned */
    size_t count;
};

static void sums_fini(struct sums *sums)
{
    for (size_t i = 0; i < sums->count; i++) {
        hf_free(sums->items[i].name);
    }
    hf_free(sums->items);
}
HF_CLEANUP_DEFINE_VALUE(sums_fini, struct sums)

static enum hf_err count_one(void *context, const struct hf_oplog_entry *operation,
                             struct hf_error *err)
{
    struct sums *sums = context;
    char room[HF_OPLOG_SPACE_BYTES];
    struct hf_str name = name_of(operation, room);
    size_t i = 0;

    if (operation->kind == HF_OPLOG_NOOP || name.len == 0) {
        return HF_ERR_OK;
    }
    while (i < sums->count && !hf_str_equal_c(name, sums->items[i].name)) {
        i++;
    }
    if (i == sums->count) {
        struct space_sum *grown =
            i == NAMES_MAX ? NULL : hf_realloc_array(sums->items, i + 1, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "%zu namespaces", i);
        }
        sums->items = grown;
        grown[i] = (struct space_sum){.name = hf_asprintf("%.*s", (int)name.len, name.data)};
        if (grown[i].name == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "%zu namespaces", i);
        }
        sums->count++;
    }
    sums->items[i].counts[operation->kind]++;
    return HF_ERR_OK;
}

static enum hf_err print_sums(const struct sums *sums, bool as_json, struct hf_error *err)
{
    static const char *const titles[] = {"NAMESPACE", "INSERTS",  "UPDATES",
                                         "DELETES",   "COMMANDS", "OTHERS"};
    static const enum hf_oplog_kind order[] = {HF_OPLOG_INSERT, HF_OPLOG_UPDATE, HF_OPLOG_DELETE,
                                               HF_OPLOG_COMMAND, HF_OPLOG_OTHER};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    struct hf_json *results = hf_json_array();
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));

    for (size_t i = 0; i < sums->count; i++) {
        const struct space_sum *one = &sums->items[i];
        char texts[HF_ARRAY_LEN(order)][24];
        const char *cells[1 + HF_ARRAY_LEN(order)] = {one->name};
        struct hf_json *row = hf_json_object();
        hf_json_set_text(row, "namespace", one->name);
        for (size_t j = 0; j < HF_ARRAY_LEN(order); j++) {
            uint64_t count = one->counts[order[j]];
            (void)snprintf(texts[j], sizeof texts[j], "%llu", (unsigned long long)count);
            cells[1 + j] = texts[j];
            hf_json_set_u64(row, kinds[order[j]], count);
        }
        hf_json_append_take(results, row);
        hf_cli_table_row(table, cells);
    }
    hf_json_set_take(json, "results", results);
    hf_json_set_u64(json, "totalCount", sums->count);
    if (as_json) {
        hf_cli_table_drop(table);
        return hf_cli_print_json(json, err);
    }
    hf_cli_table_print(table);
    return HF_ERR_OK;
}

static enum hf_err oplog_diff(const struct oplog_diff_values *values,
                              const struct hf_option_rest *rest, struct hf_error *err)
{
    HF_CLEANUP(hf_cli_oplog_close) struct hf_cli_oplog oplog = {.store = NULL};
    HF_CLEANUP(sums_fini) struct sums sums = {.count = 0};
    const struct hf_cli_oplog_wish wish = {.url = rest->arguments.values[0],
                                           .oplog_url = values->oplog_store,
                                           .key_file = values->key_file,
                                           .job = values->job};
    struct hf_oplog_search search = {
        .cancel = hf_cli_cancel(), .found = count_one, .context = &sums};

    if (limit_of(rest->arguments.values[1], &search.after, err) != HF_ERR_OK ||
        limit_of(rest->arguments.values[2], &search.to, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_optime_compare_ts(&search.after, &search.to) >= 0) {
        return hf_fail(err, HF_ERR_INVALID, "%s is not before %s", rest->arguments.values[1],
                       rest->arguments.values[2]);
    }
    if (open_job(&wish, &oplog, err) != HF_ERR_OK) {
        return err->code;
    }
    search.chains = &oplog.chains;
    search.reader = oplog.reader;
    return hf_oplog_search_run(&search, err) == HF_ERR_OK ? print_sums(&sums, values->json, err)
                                                          : err->code;
}

/* ---- The table ---- */

#define ROW(type, ...) HF_OPTION_ROW(struct type##_values, __VA_ARGS__)
#define FIND_ROW(...) ROW(oplog_find, __VA_ARGS__)
#define DIFF_ROW(...) ROW(oplog_diff, __VA_ARGS__)

HF_CLI_COMMAND(oplog_find, FIND_OPTIONS(FIND_ROW), "holdfast store find", "URL",
               "Lists operations of a stored oplog, with no server and without a restore.", 1, 1)
HF_CLI_COMMAND(oplog_diff, LOOK_OPTIONS(DIFF_ROW), "holdfast store diff", "URL T1 T2",
               "Counts, for each namespace, what a restore from T2 back to T1 would undo.", 3, 3)

const struct hf_command hf_cli_oplog_look_commands[] = {
    {"store", "find", "Find operations in a stored oplog", oplog_find_command, &oplog_find_table},
    {"store", "diff", "What a restore to a point would undo", oplog_diff_command,
     &oplog_diff_table},
    {NULL, NULL, NULL, NULL, NULL},
};
