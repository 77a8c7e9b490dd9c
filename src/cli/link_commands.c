/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links for downloads: made, shown.
 */
#include "cli/link.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/api.h"
#include "cli/define.h"
#include "cli/output.h"
#include "cli/point.h"

#define PRIVATE HF_CLI_PRIVATE
#define NO_LIMIT 2147483647 /* downloads, as the API says it */

#define LINK_OPTIONS(OPT)                                                                          \
    OPT(snapshot, TEXT, "", 0, 100, OPT_NONE, "Id of the snapshot")                                \
    OPT(set, TEXT, "", 0, 200, OPT_NONE,                                                           \
        "With a point in time: the replica set, of which the newest base before it is taken")      \
    HF_CLI_TARGET_OPTIONS(OPT)                                                                     \
    OPT(hours, NUMBER, "1", 1, 87600, OPT_NONE,                                                    \
        "How long the link can be used; at most until the snapshot expires")                       \
    OPT(downloads, NUMBER, "1", 1, 2147483647, OPT_NONE,                                           \
        "How often the archive can be downloaded to its end")                                      \
    OPT(no_limit, FLAG, "false", 0, 0, OPT_NONE, "As often as you like until it expires")          \
    OPT(gzip, FLAG, "false", 0, 0, OPT_NONE,                                                       \
        "A .tar.gz for those who unpack with tar xzf; it is not smaller")                          \
    HF_CLI_OPTIONS(OPT)
#define LINK_ROW(...) HF_OPTION_ROW(struct link_values, __VA_ARGS__)
HF_CLI_VALUES(link, LINK_OPTIONS, LINK_ROW)

void hf_cli_print_link(const struct hf_json *link)
{
    uint64_t max = hf_json_get_u64(link, "maxDownloads", 0);
    char expires[32];

    hf_cli_time(hf_json_get_u64(link, "expiresS", 0), expires);
    (void)printf("  status       %s\n", hf_cli_text(link, "status", "?"));
    (void)printf("  expires      %s UTC\n", expires);
    if (max == NO_LIMIT) {
        (void)printf("  downloads    %" PRIu64 "\n", hf_json_get_u64(link, "downloads", 0));
    } else {
        (void)printf("  downloads    %" PRIu64 " of %" PRIu64 "\n",
                     hf_json_get_u64(link, "downloads", 0), max);
    }
    (void)printf("  file         %s\n", hf_cli_text(link, "file", "?"));
    if (hf_json_get_text(link, "sha1") != NULL) {
        (void)printf("  sha1         %s\n", hf_cli_text(link, "sha1", ""));
    }
    if (hf_json_get_text(link, "error") != NULL) {
        (void)printf("  error        %s\n", hf_cli_text(link, "error", ""));
    }
    if (hf_json_get_text(link, "url") != NULL) {
        (void)printf("  url          %s\n", hf_cli_text(link, "url", ""));
    }
    if (hf_json_get_text(link, "applyCommand") != NULL) {
        (void)printf("  then         %s\n", hf_cli_text(link, "applyCommand", ""));
        (void)printf("  or           %s\n", hf_cli_text(link, "applyCommandOnStore", ""));
    }
}

static enum hf_err restore_link(const struct link_values *values, const struct hf_option_rest *rest,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_cli_session_close) struct hf_cli_session session = {.client = NULL};
    HF_CLEANUP(hf_json_drop) struct hf_json *body = hf_json_object();
    HF_CLEANUP(hf_json_drop) struct hf_json *made = NULL;
    const char *id = NULL;
    struct hf_target point;
    bool wanted = false;
    char job[32];

    if (hf_cli_target(values->until, values->oplog_ts, &wanted, &point, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!wanted && values->set[0] != '\0') {
        return hf_fail(err, HF_ERR_INVALID, "--set belongs to --until or --oplog-ts");
    }
    bool any_base = wanted && values->set[0] != '\0' && values->snapshot[0] == '\0' &&
                    rest->arguments.count == 0;
    if (!any_base && hf_cli_need(values->snapshot, rest, "snapshot", &id, err) != HF_ERR_OK) {
        return wanted ? hf_wrap(err, "say which set (--set), or which base") : err->code;
    }
    hf_json_set_text(body, "snapshotId", id);
    if (wanted) {
        hf_cli_target_set(body, &point);
    }
    /* One hour is the server's own default, which ends with a snapshot that does not live that long. */
    if (values->hours != 1) {
        hf_json_set_u64(body, "hours", values->hours);
    }
    hf_json_set_u64(body, "maxDownloads", values->no_limit ? NO_LIMIT : values->downloads);
    hf_json_set_bool(body, "gzip", values->gzip);
    if (HF_CLI_OPEN(values, &session, err) != HF_ERR_OK ||
        (values->set[0] != '\0' && hf_cli_find_job(&session, values->set, job, err) != HF_ERR_OK)) {
        return err->code;
    }
    if (values->set[0] != '\0') {
        hf_json_set_text(body, "jobId", job);
    }
    if (hf_cli_call(&session, "POST", PRIVATE "/links", body, &made, err) != HF_ERR_OK) {
        return err->code;
    }
    if (values->json) {
        return hf_cli_print_json(made, err);
    }
    const struct hf_json *link = hf_json_get_object(made, "link");
    (void)printf("restore %s\n", hf_cli_text(made, "id", "?"));
    hf_cli_print_link(link);
    (void)printf(
        "Whoever has the url can download. A download that breaks goes on where it broke:\n"
        "curl -C - -O URL\n");
    if (wanted) {
        (void)printf("The archive is the snapshot. Unpacked into DIR, the command brings it to the "
                     "point, until the link expires.\n");
    }
    return HF_ERR_OK;
}

/* ---- The table ---- */

#define COMMANDS(VERB)                                                                             \
    VERB(                                                                                          \
        restore_link, link, "restore", "link", "[SNAPSHOT]", 0, 1, "Make a link for a download",   \
        "Makes a link by which a snapshot can be downloaded as an archive, with no login; with a " \
        "point in time, also the command that brings the archive there.")
HF_CLI_TABLE(hf_cli_link_commands, COMMANDS)
