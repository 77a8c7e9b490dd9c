/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo: the main job before one's eyes, with evidence.
 *
 *   members, server, agents -> load -> writer starts -> snapshot -> changes -> snapshot -> verify both -> restore both
 *   -> open each restored directory -> compare every collection with what was recorded
 *
 * and after the second snapshot a mistake: a collection is dropped, and the set restored to the instant before.
 *
 * And `sandbox`, which starts the executable beside this one.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/api.h"
#include "cli/define.h"
#include "cli/demo_internal.h"
#include "cli/output.h"
#include "os/clock.h"
#include "os/fs.h"

#define SNAPSHOTS 2
#define TAKE_TRIES 5
#define WRITES_BEFORE 500 /* of the writer, before the first snapshot */
#define HF_DEMO_PATH_BYTES 4400

#define DEMO_OPTIONS(OPT)                                                                          \
    OPT(once, FLAG, "false", 0, 0, OPT_NONE, "Exit when it is done, also on a terminal")           \
    OPT(json, FLAG, "false", 0, 0, OPT_NONE,                                                       \
        "Print the evidence as one JSON object on the last line")                                  \
    OPT(mongod, PATH, "", 0, 4096, OPT_NONE,                                                       \
        "A real mongod with $backupCursor; otherwise the sandbox")                                 \
    OPT(size, SIZE, "192MiB", 1048576, 1099511627776, OPT_NONE, "How much data is loaded")
#define DEMO_ROW(...) HF_OPTION_ROW(struct demo_values, __VA_ARGS__)
HF_CLI_VALUES(demo, DEMO_OPTIONS, DEMO_ROW)

/* What is known of one snapshot in the end. */
struct evidence {
    char id[32];
    char as_of[32];
    struct hf_mongo_ts ts;
    uint64_t files, bytes, new_bytes, stored_bytes, blocks_new, blocks_reused, blocks_zero,
        files_skipped;
    uint64_t took_ms, verify_ms, restore_ms;
    bool verified;
    struct hf_demo_verdict verdict;
    char member[HF_MONGO_HOST_BYTES];
    char directory[HF_DEMO_PATH_BYTES];
};

/* A mistake, and the restore to the entry before it. */
struct point {
    struct hf_mongo_ts mistake, ts; /* ts: the last instant before it */
    uint64_t restore_ms;
    char base[32];
    struct hf_demo_verdict verdict;
    char directory[HF_DEMO_PATH_BYTES];
};

struct show {
    bool json;
    uint64_t started_ms;
};

static void step(const struct show *show, const char *format, ...) HF_PRINTF(2, 3);
static void step(const struct show *show, const char *format, ...)
{
    va_list arguments;
    uint64_t elapsed_ms = hf_clock_mono_ms() - show->started_ms;

    va_start(arguments, format);
    (void)fprintf(stderr, "%5.1f s  ", (double)elapsed_ms / 1000);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
}

/* ---- Snapshots ---- */

static void fill_evidence(const struct hf_json *record, struct evidence *out)
{
    const struct hf_json *checkpoint = hf_json_get_object(record, "checkpoint");

    (void)snprintf(out->id, sizeof out->id, "%.24s", hf_cli_text(record, "id", ""));
    (void)snprintf(out->member, sizeof out->member, "%.200s", hf_cli_text(record, "member", ""));
    out->ts =
        (struct hf_mongo_ts){.seconds = (uint32_t)hf_json_get_u64(checkpoint, "seconds", 0),
                             .increment = (uint32_t)hf_json_get_u64(checkpoint, "increment", 0)};
    hf_cli_time(out->ts.seconds, out->as_of);
    out->files = hf_json_get_u64(record, "files", 0);
    out->bytes = hf_json_get_u64(record, "bytes", 0);
    out->new_bytes = hf_json_get_u64(record, "newBytes", 0);
    out->stored_bytes = hf_json_get_u64(record, "storedBytes", 0);
    out->blocks_new = hf_json_get_u64(record, "blocksNew", 0);
    out->blocks_reused = hf_json_get_u64(record, "blocksReused", 0);
    out->blocks_zero = hf_json_get_u64(record, "blocksZero", 0);
    out->files_skipped = hf_json_get_u64(record, "filesSkipped", 0);
}

static enum hf_err take_once(struct hf_demo *demo, struct evidence *out, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *begun = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *ended = NULL;
    uint64_t started_ms = hf_clock_mono_ms();

    hf_json_set_text(body, "set", HF_DEMO_SET);
    if (hf_cli_call(&demo->session, "POST", HF_CLI_PRIVATE "/snapshots", body, &begun, err) !=
            HF_ERR_OK ||
        hf_cli_watch(&demo->session, "snapshot", hf_cli_text(begun, "id", ""), &ended, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    out->took_ms = hf_clock_mono_ms() - started_ms;
    fill_evidence(ended, out);
    return hf_cli_ended(ended, "snapshot", err);
}

/* Of a time when the phase's writes were there: checkpoints are made first, and looked at again afterwards. */
static enum hf_err take(struct hf_demo *demo, const struct hf_demo_loaded *loaded,
                        struct evidence *out, struct hf_error *err)
{
    for (unsigned tries = 0; tries < TAKE_TRIES; tries++) {
        if (hf_demo_checkpoint(demo, err) != HF_ERR_OK || take_once(demo, out, err) != HF_ERR_OK) {
            return err->code;
        }
        if (hf_mongo_ts_compare(out->ts, loaded->last) >= 0) {
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INTERNAL,
                   "the snapshots stay older than the data that was loaded before");
}

static enum hf_err verify(struct hf_demo *demo, struct evidence *evidence, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *report = NULL;
    uint64_t started_ms = hf_clock_mono_ms();
    char target[128];

    hf_json_set_text(body, "level", "content");
    if (hf_cli_id_target(target, sizeof target, "snapshots", evidence->id, "/verify", err) !=
            HF_ERR_OK ||
        hf_cli_call(&demo->session, "POST", target, body, &report, err) != HF_ERR_OK) {
        return err->code;
    }
    evidence->verify_ms = hf_clock_mono_ms() - started_ms;
    evidence->verified = hf_json_get_bool(report, "ok", false);
    return HF_ERR_OK;
}

/* What and to which point stands in body; into the directory of that name. */
static enum hf_err run_restore(struct hf_demo *demo, struct hf_json *body, const char *name,
                               char directory[HF_DEMO_PATH_BYTES], uint64_t *took_ms,
                               struct hf_json **record, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *begun = NULL;
    uint64_t started_ms = hf_clock_mono_ms();

    (void)snprintf(directory, HF_DEMO_PATH_BYTES, "%.4000s/%.30s", demo->restore_root, name);
    hf_json_set_text(body, "directory", directory);
    if (hf_cli_call(&demo->session, "POST", HF_CLI_PRIVATE "/restores", body, &begun, err) !=
            HF_ERR_OK ||
        hf_cli_watch(&demo->session, "restore", hf_cli_text(begun, "id", ""), record, err) !=
            HF_ERR_OK) {
        return err->code;
    }
    *took_ms = hf_clock_mono_ms() - started_ms;
    return hf_cli_ended(*record, "restore", err);
}

static enum hf_err restore(struct hf_demo *demo, struct evidence *evidence, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *record = NULL;

    hf_json_set_text(body, "snapshotId", evidence->id);
    return run_restore(demo, body, evidence->id, evidence->directory, &evidence->restore_ms,
                       &record, err);
}

/* ---- The mistake ---- */

static enum hf_err make_mistake(struct hf_demo *demo, struct hf_demo_writer *writer,
                                const struct show *show, struct point *out, struct hf_error *err)
{
    char when[32];

    if (hf_demo_writer_wait(writer, hf_demo_writer_count(writer) + WRITES_BEFORE, hf_cli_cancel(),
                            err) != HF_ERR_OK ||
        hf_demo_mistake(demo, &out->mistake, err) != HF_ERR_OK) {
        return err->code;
    }
    out->ts = (struct hf_mongo_ts){out->mistake.seconds, out->mistake.increment - 1};
    hf_cli_time(out->mistake.seconds, when);
    step(show,
         "a mistake: " HF_DEMO_LOST_DATABASE "." HF_DEMO_LOST " is dropped at %s UTC, entry %u.%u",
         when, out->mistake.seconds, out->mistake.increment);
    return hf_demo_writer_wait(writer, hf_demo_writer_count(writer) + WRITES_BEFORE,
                               hf_cli_cancel(), err);
}

/* loaded: what stood there when the second snapshot was taken, and until the mistake. */
static enum hf_err undo_mistake(struct hf_demo *demo, const struct hf_demo_loaded *loaded,
                                const struct hf_demo_writer *writer, const struct show *show,
                                struct point *point, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *record = NULL;

    if (hf_demo_wait_range(demo, point->mistake, err) != HF_ERR_OK) {
        return err->code;
    }
    step(show, "the saved oplog reaches beyond the mistake:");
    if (hf_demo_show_ranges(demo, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_text(body, "jobId", demo->job);
    hf_json_set_u64(body, "oplogTs", point->ts.seconds);
    hf_json_set_u64(body, "oplogInc", point->ts.increment);
    if (run_restore(demo, body, "before-the-mistake", point->directory, &point->restore_ms, &record,
                    err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(point->base, sizeof point->base, "%.24s",
                   hf_cli_text(record, "snapshotId", "?"));
    step(show, "restored to %u.%u, the instant before, into %s", point->ts.seconds,
         point->ts.increment, point->directory);
    const struct hf_demo_expectation expected = {
        .directory = point->directory, .ts = point->ts, .loaded = loaded, .writer = writer};
    if (hf_demo_compare(demo, &expected, &point->verdict, err) != HF_ERR_OK) {
        return err->code;
    }
    step(show, "opened by a fresh process: %u of %u collections equal", point->verdict.equal,
         point->verdict.collections);
    return HF_ERR_OK;
}

/* ---- What is shown in the end ---- */

static bool is_equal(const struct hf_demo_verdict *verdict)
{
    return verdict->collections > 0 && verdict->equal == verdict->collections;
}

static bool holds(const struct evidence *evidence)
{
    return evidence->verified && is_equal(&evidence->verdict);
}

static void rate_text(uint64_t bytes, uint64_t ms, char *out, size_t out_len)
{
    char text[24];

    hf_format_bytes(bytes * 1000 / (ms == 0 ? 1 : ms), text, sizeof text);
    (void)snprintf(out, out_len, "%s/s", text);
}

static void print_table(const struct evidence *all)
{
    static const char *const titles[] = {
        "SNAPSHOT", "AS OF (UTC)", "SIZE",  "NEW",      "STORED",           "BLOCKS NEW/REUSED",
        "TOOK",     "RATE",        "WHOLE", "RESTORED", "COLLECTIONS EQUAL"};
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));

    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        const struct evidence *one = &all[i];
        char size[24], fresh[24], stored[24], blocks[64], took[24], rate[32], restored[64],
            rate2[32], equal[32];
        hf_format_bytes(one->bytes, size, sizeof size);
        hf_format_bytes(one->new_bytes, fresh, sizeof fresh);
        hf_format_bytes(one->stored_bytes, stored, sizeof stored);
        (void)snprintf(blocks, sizeof blocks, "%llu / %llu", (unsigned long long)one->blocks_new,
                       (unsigned long long)one->blocks_reused);
        (void)snprintf(took, sizeof took, "%.1f s", (double)one->took_ms / 1000);
        rate_text(one->bytes, one->took_ms, rate, sizeof rate);
        rate_text(one->bytes, one->restore_ms, rate2, sizeof rate2);
        (void)snprintf(restored, sizeof restored, "%.1f s, %s", (double)one->restore_ms / 1000,
                       rate2);
        (void)snprintf(equal, sizeof equal, "%u of %u", one->verdict.equal,
                       one->verdict.collections);
        const char *cells[] = {one->id,  one->as_of, size,
                               fresh,    stored,     blocks,
                               took,     rate,       one->verified ? "yes" : "NO",
                               restored, equal};
        hf_cli_table_row(table, cells);
    }
    (void)putchar('\n');
    hf_cli_table_print(table);
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        if (all[i].verdict.first_difference[0] != '\0') {
            (void)printf("DIFFERENT in %s: %s\n", all[i].id, all[i].verdict.first_difference);
        }
    }
}

static void print_point(const struct point *point)
{
    char when[32];

    hf_cli_time(point->mistake.seconds, when);
    (void)printf(
        "\n" HF_DEMO_LOST_DATABASE "." HF_DEMO_LOST
        " was dropped at %s UTC; restored to %u.%u, the instant before, from snapshot %s and "
        "the oplog: %.1f s, %u of %u collections equal\n",
        when, point->ts.seconds, point->ts.increment, point->base, (double)point->restore_ms / 1000,
        point->verdict.equal, point->verdict.collections);
    if (point->verdict.first_difference[0] != '\0') {
        (void)printf("DIFFERENT: %s\n", point->verdict.first_difference);
    }
}

static struct hf_json *point_to_json(const struct point *point)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_u64(json, "seconds", point->ts.seconds);
    hf_json_set_u64(json, "increment", point->ts.increment);
    hf_json_set_text(json, "base", point->base);
    hf_json_set_u64(json, "restore_ms", point->restore_ms);
    hf_json_set_bool(json, "restored_equal", is_equal(&point->verdict));
    hf_json_set_u64(json, "collections", point->verdict.collections);
    return json;
}

static enum hf_err print_json_line(const struct evidence *all, const struct point *point, bool ok,
                                   struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 20);
    struct hf_json *snapshots = hf_json_array();

    hf_json_set_bool(json, "ok", ok);
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        const struct evidence *one = &all[i];
        struct hf_json *snapshot = hf_json_object();
        hf_json_set_text(snapshot, "id", one->id);
        hf_json_set_text(snapshot, "asOf", one->as_of);
        hf_json_set_text(snapshot, "member", one->member);
        hf_json_set_u64(snapshot, "files", one->files);
        hf_json_set_u64(snapshot, "bytes", one->bytes);
        hf_json_set_u64(snapshot, "new_bytes", one->new_bytes);
        hf_json_set_u64(snapshot, "stored_bytes", one->stored_bytes);
        hf_json_set_u64(snapshot, "blocks_new", one->blocks_new);
        hf_json_set_u64(snapshot, "blocks_reused", one->blocks_reused);
        hf_json_set_u64(snapshot, "blocks_zero", one->blocks_zero);
        hf_json_set_u64(snapshot, "files_skipped", one->files_skipped);
        hf_json_set_u64(snapshot, "took_ms", one->took_ms);
        hf_json_set_u64(snapshot, "restore_ms", one->restore_ms);
        hf_json_set_bool(snapshot, "verified", one->verified);
        hf_json_set_bool(snapshot, "restored_equal", is_equal(&one->verdict));
        hf_json_set_u64(snapshot, "collections", one->verdict.collections);
        hf_json_append_take(snapshots, snapshot);
    }
    hf_json_set_take(json, "snapshots", snapshots);
    hf_json_set_take(json, "point", point_to_json(point));
    if (hf_json_encode(json, 0, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)printf("%.*s\n", (int)text.len, (const char *)text.data);
    return HF_ERR_OK;
}

static void stay_up(const struct hf_demo *demo)
{
    (void)printf("\nIt stays up until Ctrl-C. To explore:\n"
                 "  the set      mongosh 'mongodb://%s,%s,%s/?replicaSet=" HF_DEMO_SET "'\n"
                 "  the server   %s\n"
                 "  commands     export HOLDFAST_PROFILE=%s/server/cli.profile; %s snapshot list\n"
                 "  the store    %s store list %s --key-file %s/server/store.key\n"
                 "  logs         %s/*.log\n",
                 hf_mongod_host(demo->members[0]), hf_mongod_host(demo->members[1]),
                 hf_mongod_host(demo->members[2]), demo->url, demo->dir, demo->holdfast,
                 demo->holdfast, demo->store_url, demo->dir, demo->dir);
    (void)fflush(stdout);
    while (!hf_cancel_requested(hf_cli_cancel())) {
        hf_cancel_sleep(hf_cli_cancel(), 1000);
    }
}

/* ---- The run ---- */

static enum hf_err run_phases(struct hf_demo *demo, const struct demo_values *values,
                              const struct show *show, struct hf_demo_loaded *loaded,
                              struct hf_demo_writer **writer, struct evidence *all,
                              struct point *point, struct hf_error *err)
{
    char bytes[24];

    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        step(show, i == 0 ? "loading data" : "changing about one document in a hundred");
        if (hf_demo_load(demo, i, values->size, &loaded[i], err) != HF_ERR_OK) {
            return err->code;
        }
        hf_format_bytes(loaded[i].bytes, bytes, sizeof bytes);
        step(show, "%llu documents, %s", (unsigned long long)loaded[i].documents, bytes);
        if ((*writer == NULL && hf_demo_writer_start(demo, writer, err) != HF_ERR_OK) ||
            hf_demo_writer_wait(*writer, WRITES_BEFORE, hf_cli_cancel(), err) != HF_ERR_OK) {
            return err->code;
        }
        step(show, "taking snapshot %u while a writer goes on (%llu writes so far)", i + 1,
             (unsigned long long)hf_demo_writer_count(*writer));
        if (take(demo, &loaded[i], &all[i], err) != HF_ERR_OK) {
            return err->code;
        }
        hf_format_bytes(all[i].new_bytes, bytes, sizeof bytes);
        step(show, "snapshot %s from %s: %s new, %llu blocks reused", all[i].id, all[i].member,
             bytes, (unsigned long long)all[i].blocks_reused);
    }
    if (make_mistake(demo, *writer, show, point, err) != HF_ERR_OK) {
        return err->code;
    }
    step(show, "the writer made %llu writes", (unsigned long long)hf_demo_writer_count(*writer));
    if (hf_demo_writer_stop(*writer, err) != HF_ERR_OK ||
        hf_demo_writer_find_definitions(*writer, demo, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        if (verify(demo, &all[i], err) != HF_ERR_OK) {
            return err->code;
        }
        step(show, "snapshot %u is %s", i + 1,
             all[i].verified ? "whole: every block decrypts and has its hash" : "DAMAGED");
        if (restore(demo, &all[i], err) != HF_ERR_OK) {
            return err->code;
        }
        step(show, "restored into %s", all[i].directory);
        const struct hf_demo_expectation expected = {.directory = all[i].directory,
                                                     .ts = all[i].ts,
                                                     .loaded = &loaded[i],
                                                     .writer = *writer};
        if (hf_demo_compare(demo, &expected, &all[i].verdict, err) != HF_ERR_OK) {
            return err->code;
        }
        step(show, "opened by a fresh process: %u of %u collections equal", all[i].verdict.equal,
             all[i].verdict.collections);
    }
    return undo_mistake(demo, &loaded[SNAPSHOTS - 1], *writer, show, point, err);
}

static enum hf_err run_demo(struct hf_demo *demo, const struct demo_values *values,
                            struct hf_error *err)
{
    const struct show show = {.json = values->json, .started_ms = hf_clock_mono_ms()};
    struct hf_demo_loaded loaded[SNAPSHOTS] = {{.documents = 0}};
    struct evidence all[SNAPSHOTS] = {{.id = ""}};
    struct point point = {.base = ""};
    struct hf_demo_writer *writer = NULL;

    step(&show, "starting three members (%s), a server and three agents",
         demo->mongod == NULL ? "sandbox" : demo->mongod);
    enum hf_err code = hf_demo_start(demo, hf_cli_cancel(), err);
    if (code == HF_ERR_OK) {
        step(&show, "up in %s; store %s", demo->dir, demo->store_url);
        code = run_phases(demo, values, &show, loaded, &writer, all, &point, err);
    }
    hf_demo_writer_destroy(writer);
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        hf_mongo_data_fini(&loaded[i].data);
    }
    if (code != HF_ERR_OK) {
        return code;
    }
    bool ok = holds(&all[0]) && holds(&all[1]) && is_equal(&point.verdict);
    print_table(all);
    print_point(&point);
    if (!values->json && !values->once && hf_stdout_is_terminal(NULL)) {
        stay_up(demo);
    }
    if (values->json && print_json_line(all, &point, ok, err) != HF_ERR_OK) {
        return err->code;
    }
    return ok ? HF_ERR_OK : hf_fail(err, HF_ERR_CORRUPT, "the restored data is not what it was");
}

static enum hf_err demo(const struct demo_values *values, const struct hf_option_rest *rest,
                        struct hf_error *err)
{
    struct hf_demo deployment = {.mongod = values->mongod[0] == '\0' ? NULL : values->mongod};

    (void)rest;
    enum hf_err code = run_demo(&deployment, values, err);
    if (code != HF_ERR_OK && deployment.dir != NULL && code != HF_ERR_CANCELLED) {
        (void)fprintf(stderr, "logs of the failed demo are kept in %s\n", deployment.dir);
        hf_free(HF_TAKE(deployment.dir));
    }
    hf_demo_stop(&deployment);
    hf_mongo_cleanup();
    return code;
}

/* ---- sandbox ---- */

/* Becomes the sandbox: the same arguments, the same process. */
static enum hf_err sandbox_command(int argc, char *const *argv, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *self = NULL;

    if (hf_self_path(&self, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *slash = strrchr(self, '/');
    HF_CLEANUP(hf_free)
    char *program = hf_asprintf("%.*s/holdfast-sandbox", (int)(slash - self), self);
    HF_CLEANUP(hf_free) char **words = hf_alloc_array((size_t)argc + 2, sizeof(char *));
    if (program == NULL || words == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    words[0] = program;
    for (int i = 0; i < argc; i++) {
        words[i + 1] = argv[i];
    }
    words[argc + 1] = NULL;
    (void)execv(program, words);
    return hf_fail_errno(err, errno, "start %s", program);
}

HF_CLI_COMMAND(
    demo, demo, "holdfast demo", "", 0, 0,
    "Starts a small replica set, a server and agents in a temporary directory, takes two snapshots "
    "while data changes, verifies and restores them, undoes a mistake by a restore to the instant "
    "before it, and compares every collection with what was recorded.")

const struct hf_command hf_cli_demo_commands[] = {
    {"demo", NULL,
     "See it work: two snapshots and a point in time of a changing set, restored and compared",
     demo_command, &demo_table},
    {"sandbox", NULL, "Run a member of a small MongoDB-like set to try things on", sandbox_command,
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
