/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restores onto whole sets: asking before, waiting, showing members and obstacles.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "cli/point.h"
#include "cli/target.h"

#define PRIVATE HF_CLI_PRIVATE

/* ---- Showing ---- */

static void spent_text(const struct hf_json *member, char *out, size_t out_len)
{
    const struct hf_json *spent = hf_json_get_object(member, "spentS");
    struct hf_json *value = NULL;
    void *at = NULL;
    uint64_t sum = 0;

    while (hf_json_next(spent, &at, &value) != NULL) {
        sum += (uint64_t)hf_json_integer(value, 0);
    }
    (void)snprintf(out, out_len, "%llu s", (unsigned long long)sum);
}

static void print_members(const struct hf_json *target)
{
    static const char *const titles[] = {"MEMBER", "STATE", "TRIES", "BYTES", "WRITTEN",
                                         "REUSED", "RATE",  "TOOK",  "ERROR"};
    struct hf_cli_table *table = hf_cli_table_create(titles, HF_ARRAY_LEN(titles));
    const struct hf_json *members = hf_json_get_array(target, "members");

    for (size_t i = 0; i < hf_json_count(members); i++) {
        const struct hf_json *one = hf_json_at(members, i);
        const struct hf_json *progress = hf_json_get_object(one, "progress");
        uint64_t build_s = hf_json_get_u64(hf_json_get_object(one, "spentS"), "BUILD", 0);
        uint64_t bytes = hf_json_get_u64(one, "bytes", 0);
        uint64_t rate = progress != NULL ? hf_json_get_u64(progress, "rateBytesS", 0)
                        : build_s > 0    ? bytes / build_s
                                         : 0;
        char tries[24], size[24], written[24], reused[24], speed[24], speed_s[32], took[32];
        (void)snprintf(tries, sizeof tries, "%llu",
                       (unsigned long long)hf_json_get_u64(one, "tries", 0));
        hf_format_bytes(progress != NULL ? hf_json_get_u64(progress, "bytesDone", 0) : bytes, size,
                        sizeof size);
        hf_format_bytes(hf_json_get_u64(one, "writtenBytes", 0), written, sizeof written);
        hf_format_bytes(rate, speed, sizeof speed);
        hf_format_bytes(hf_json_get_u64(one, "reusedBytes", 0), reused, sizeof reused);
        (void)snprintf(speed_s, sizeof speed_s, "%s/s", speed);
        spent_text(one, took, sizeof took);
        const char *cells[] = {hf_cli_text(one, "host", ""),
                               hf_cli_text(one, "state", ""),
                               tries,
                               size,
                               written,
                               reused,
                               rate == 0 ? "" : speed_s,
                               took,
                               hf_cli_text(one, "error", "")};
        hf_cli_table_row(table, cells);
    }
    hf_cli_table_print(table);
}

static size_t print_obstacles(const struct hf_json *target)
{
    const struct hf_json *obstacles = hf_json_get_array(target, "obstacles");

    for (size_t i = 0; i < hf_json_count(obstacles); i++) {
        const struct hf_json *one = hf_json_at(obstacles, i);
        const char *member = hf_cli_text(one, "member", "");
        (void)printf("%s: %s%s%s\n", hf_cli_text(one, "kind", "?"), member,
                     member[0] == '\0' ? "" : ": ", hf_cli_text(one, "text", ""));
    }
    return hf_json_count(obstacles);
}

void hf_cli_print_set_target(const struct hf_json *restore)
{
    const struct hf_json *target = hf_json_get_object(restore, "target");

    (void)printf("  onto         %s\n", hf_cli_text(restore, "targetSet", "?"));
    (void)printf("  phase        %s\n", hf_cli_text(target, "phase", ""));
    if (hf_cli_text(target, "login", "")[0] != '\0') {
        (void)printf("  user kept    %s, which the agents log in with\n",
                     hf_cli_text(target, "login", ""));
    }
    (void)printf("\n");
    print_members(target);
    (void)print_obstacles(target);
}

/* ---- Starting ---- */

static enum hf_err newest_of(struct hf_cli_session *session, const char *set, char out[64],
                             struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *list = NULL;

    if (hf_cli_all_pages(session, PRIVATE "/snapshots", &list, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        const struct hf_json *one = hf_json_at(results, i);
        if (strcmp(hf_cli_text(one, "setName", ""), set) == 0 &&
            strcmp(hf_cli_text(one, "state", ""), "COMPLETE") == 0) {
            (void)snprintf(out, 64, "%s", hf_cli_text(one, "id", ""));
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_NOT_FOUND, "set %s has no complete snapshot", set);
}

/* The set's name has to be typed: a reflex confirms nothing. */
static enum hf_err ask(const struct hf_cli_set_target *wish, const char *snapshot,
                       struct hf_error *err)
{
    char line[256] = "";

    if (isatty(STDIN_FILENO) != 1) {
        return hf_fail(err, HF_ERR_INVALID,
                       "all data of set %s would be replaced; hint: --yes says that this is meant, "
                       "--dry-run what stands in the way",
                       wish->target_set);
    }
    (void)fprintf(stderr,
                  "All data of set %s will be replaced by %s%s, and its members are stopped "
                  "meanwhile.\n%sType the set's name to go on: ",
                  wish->target_set, snapshot[0] == '\0' ? "that point in time" : "snapshot ",
                  snapshot,
                  wish->reuse_space ? "Nothing of the old data is kept (--reuse-space): if this "
                                      "fails, the set is down until a restore succeeds.\n"
                                    : "");
    if (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
    }
    return strcmp(line, wish->target_set) == 0
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_CANCELLED, "not confirmed; nothing was done");
}

static enum hf_err show_end(const struct hf_cli_set_target *wish, const struct hf_json *ended,
                            struct hf_error *err)
{
    const struct hf_json *target = hf_json_get_object(ended, "target");
    size_t obstacles = hf_json_count(hf_json_get_array(target, "obstacles"));

    if (wish->json) {
        if (hf_cli_print_json(ended, err) != HF_ERR_OK) {
            return err->code;
        }
    } else if (wish->dry_run) {
        (void)print_obstacles(target);
        if (obstacles == 0) {
            (void)printf("nothing stands in the way\n");
        }
    } else {
        (void)printf("restore %s: %s\n", hf_cli_text(ended, "id", "?"),
                     hf_cli_text(ended, "state", "?"));
        hf_cli_print_set_target(ended);
    }
    if (hf_cli_ended(ended, "restore", err) != HF_ERR_OK) {
        return err->code;
    }
    return wish->dry_run && obstacles > 0
               ? hf_fail(err, HF_ERR_CONFLICT, "%zu things stand in the way of a restore onto %s",
                         obstacles, wish->target_set)
               : HF_ERR_OK;
}

enum hf_err hf_cli_restore_target(struct hf_cli_session *session,
                                  const struct hf_cli_set_target *wish, struct hf_error *err)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *begun = NULL;
    HF_CLEANUP(hf_json_drop) struct hf_json *ended = NULL;
    const char *set = wish->set != NULL ? wish->set : wish->target_set;
    char snapshot[64] = "", job[32];

    if (wish->snapshot != NULL) {
        (void)snprintf(snapshot, sizeof snapshot, "%s", wish->snapshot);
    } else if (wish->point != NULL) {
        if (hf_cli_find_job(session, set, job, err) != HF_ERR_OK) {
            return err->code;
        }
        hf_json_set_text(body, "jobId", job);
    } else if (newest_of(session, set, snapshot, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!wish->dry_run && !wish->yes && ask(wish, snapshot, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_json_set_text(body, "snapshotId", snapshot[0] == '\0' ? NULL : snapshot);
    if (wish->point != NULL) {
        hf_cli_target_set(body, wish->point);
    }
    hf_json_set_text(body, "target", wish->target_set);
    hf_json_set_bool(body, "dryRun", wish->dry_run);
    hf_json_set_bool(body, "reuseSpace", wish->reuse_space);
    if (hf_cli_call(session, "POST", PRIVATE "/restores", body, &begun, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *restore = hf_cli_text(begun, "id", "");
    if (wish->no_wait) {
        if (wish->json) {
            return hf_cli_print_json(begun, err);
        }
        (void)printf("restore %s has begun; hint: holdfast restore show %s\n", restore, restore);
        return HF_ERR_OK;
    }
    return hf_cli_watch(session, "restore", restore, &ended, err) != HF_ERR_OK
               ? err->code
               : show_end(wish, ended, err);
}
