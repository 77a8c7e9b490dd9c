/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demo's mistake and the way back: a collection is dropped while the writer goes on, and an agent restores the set as
 * it was one entry of the oplog before.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/api.h"
#include "cli/demo_internal.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"

#define RANGE_LIMIT_MS 120000
#define SHOW_LIMIT_MS 60000
#define SHOWN_BYTES ((size_t)1 << 16)
#define WORDS_MAX 16

/* ---- The mistake ---- */

static enum hf_err take_drop(void *argument, struct hf_str document, struct hf_error *err)
{
    struct hf_mongo_ts *last = argument;
    HF_CLEANUP(hf_json_drop) struct hf_json *entry = NULL;

    if (hf_json_decode(document, (size_t)1 << 24, &entry, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *dropped = hf_json_get_text(hf_json_get_object(entry, "o"), "drop");
    if (dropped != NULL && strcmp(dropped, HF_DEMO_LOST) == 0) {
        const struct hf_json *ts =
            hf_json_get_object(hf_json_get_object(entry, "ts"), "$timestamp");
        last->seconds = (uint32_t)hf_json_get_u64(ts, "t", 0);
        last->increment = (uint32_t)hf_json_get_u64(ts, "i", 0);
    }
    return HF_ERR_OK;
}

enum hf_err hf_demo_mistake(struct hf_demo *demo, struct hf_mongo_ts *out, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;

    *out = (struct hf_mongo_ts){0};
    if (hf_demo_primary(demo, &client, err) != HF_ERR_OK ||
        hf_mongo_run(client, HF_DEMO_LOST_DATABASE, "{\"drop\":\"" HF_DEMO_LOST "\"}", NULL, err) !=
            HF_ERR_OK ||
        hf_mongo_run_cursor(client, "local",
                            "{\"find\":\"oplog.rs\",\"filter\":{\"op\":\"c\",\"ns\":"
                            "\"" HF_DEMO_LOST_DATABASE ".$cmd\"}}",
                            take_drop, out, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_mongo_ts_is_null(*out)
               ? hf_fail(err, HF_ERR_INTERNAL, "the oplog does not show the drop of " HF_DEMO_LOST)
               : HF_ERR_OK;
}

/* ---- Until the server has it ---- */

static struct hf_mongo_ts instant(const struct hf_json *range, const char *key)
{
    const struct hf_json *at = hf_json_get_object(range, key);

    return (struct hf_mongo_ts){.seconds = (uint32_t)hf_json_get_u64(at, "seconds", 0),
                                .increment = (uint32_t)hf_json_get_u64(at, "increment", 0)};
}

enum hf_err hf_demo_wait_range(struct hf_demo *demo, struct hf_mongo_ts point, struct hf_error *err)
{
    uint64_t until_ms = hf_clock_mono_ms() + RANGE_LIMIT_MS;
    char target[128], why[512] = "it has none";

    if (hf_cli_id_target(target, sizeof target, "jobs", demo->job, "/ranges", err) != HF_ERR_OK) {
        return err->code;
    }
    for (;;) {
        HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

        if (hf_cancel_check(hf_cli_cancel(), err) != HF_ERR_OK ||
            hf_cli_call(&demo->session, "GET", target, NULL, &list, err) != HF_ERR_OK) {
            return err->code;
        }
        const struct hf_json *ranges = hf_json_get_array(list, "results");
        for (size_t i = 0; i < hf_json_count(ranges); i++) {
            const struct hf_json *range = hf_json_at(ranges, i);
            if (hf_mongo_ts_compare(instant(range, "start"), point) <= 0 &&
                hf_mongo_ts_compare(instant(range, "end"), point) >= 0) {
                return HF_ERR_OK;
            }
            (void)snprintf(why, sizeof why, "%.500s", hf_cli_text(range, "endText", ""));
        }
        if (hf_clock_mono_ms() > until_ms) {
            return hf_fail(err, HF_ERR_TIMEOUT,
                           "no range of the job reached (%u, %u) in %d s: %.500s (logs: "
                           "%.400s/agent*.log)",
                           point.seconds, point.increment, RANGE_LIMIT_MS / 1000, why, demo->dir);
        }
        hf_cancel_sleep(hf_cli_cancel(), 250);
    }
}

/* ---- What an operator would type ---- */

/* Shows "holdfast WORDS" and what it prints. */
static enum hf_err show(struct hf_demo *demo, const char *const *words, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *profile = hf_demo_path(demo, "server/cli.profile");
    HF_CLEANUP(hf_free) char *path = hf_demo_path(demo, "shown.out");
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(SHOWN_BYTES);
    const char *argv[WORDS_MAX + 4] = {demo->holdfast};
    struct hf_process *process = NULL;
    bool ended = false;
    int code = 0;
    size_t count = 0;

    if (profile == NULL || path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    (void)fprintf(stderr, "         $ holdfast");
    for (; words[count] != NULL && count < WORDS_MAX; count++) {
        argv[count + 1] = words[count];
        (void)fprintf(stderr, " %s", words[count]);
    }
    (void)fprintf(stderr, "\n");
    argv[count + 1] = "--profile";
    argv[count + 2] = profile;
    const struct hf_process_options options = {
        .argv = argv, .output_path = path, .die_with_parent = true};
    if (hf_process_start(&options, &process, err) != HF_ERR_OK) {
        return err->code;
    }
    enum hf_err result = hf_process_wait(process, SHOW_LIMIT_MS, &ended, &code, err);
    hf_process_stop(process, 0);
    if (result != HF_ERR_OK || hf_fs_read_whole(path, SHOWN_BYTES - 1, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!ended || code != 0) {
        return hf_fail(err, HF_ERR_INTERNAL, "'holdfast %s %s' ended with %d: %.400s", words[0],
                       words[1], code, hf_buf_text(&text));
    }
    for (const char *line = hf_buf_text(&text); *line != '\0';) {
        int len = (int)strcspn(line, "\n");
        (void)fprintf(stderr, "         %.*s\n", len, line);
        line += len + (line[len] == '\n');
    }
    return HF_ERR_OK;
}

enum hf_err hf_demo_show_ranges(struct hf_demo *demo, struct hf_error *err)
{
    static const char *const words[] = {"job", "ranges", "--set", HF_DEMO_SET, NULL};

    return show(demo, words, err);
}
