/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links in the catalog: made, counted, withdrawn. A link is a restore job that is FINISHED when it is made, and holds its
 * snapshot while a download may begin or is under way.
 *
 *   hf_flow_link            1 the link's record, with the lease of a point's slices, 2 the snapshot is touched (below), and
 *                           the oldest slice is looked for again, 3 the job
 *
 * A deletion looks for links and then moves the snapshot by compare-and-set; step 2 raises the snapshot's revision after
 * the link is there. So either the deletion sees the link, or it fails, or step 2 sees the deletion.
 */
#include <stdio.h>

#include "backup/link.h"
#include "base/fault.h"
#include "os/clock.h"
#include "server/fleet.h"
#include "server/flow.h"
#include "server/flow_internal.h"

#define TRIES 16
#define DEFAULT_HOURS 1 /* restore.md 7.2 */

void hf_flow_archive_name(const struct hf_snapshot_record *snapshot, const struct hf_id *id,
                          char *out, size_t out_len)
{
    (void)snprintf(out, out_len, "%s-%u-%s", snapshot->set_name,
                   (unsigned)snapshot->checkpoint.seconds, hf_id_text(id).text);
    for (char *at = out; *at != '\0'; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                     (*at >= '0' && *at <= '9') || *at == '-' || *at == '_' ||
                     (*at == '.' && at != out);
        *at = plain ? *at : '_';
    }
}

/* Until when, by the wish and by the snapshot's own end. */
static enum hf_err choose_end(const struct hf_flow_link_wish *wish,
                              const struct hf_snapshot_record *snapshot, struct hf_link_record *out,
                              struct hf_error *err)
{
    bool said = wish->expires_s != 0 || wish->hours != 0;
    uint64_t hours = wish->hours != 0 ? wish->hours : DEFAULT_HOURS;
    uint64_t snapshot_s = snapshot->keep ? 0 : snapshot->expires_s;

    out->hours = wish->expires_s != 0 ? 0 : hours;
    out->expires_s = wish->expires_s != 0 ? wish->expires_s : out->created_s + hours * 3600;
    if (out->expires_s <= out->created_s) {
        return hf_fail(err, HF_ERR_INVALID, "the link would have expired already");
    }
    if (snapshot_s != 0 && out->expires_s > snapshot_s) {
        char text[HF_TIME_TEXT_BYTES];
        hf_time_format(snapshot_s, text);
        if (said || snapshot_s <= out->created_s) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "the link would outlive snapshot %s, which expires at %s; hint: ask for "
                           "less",
                           hf_id_text(&snapshot->id).text, text);
        }
        out->expires_s = snapshot_s;
        out->hours = 0;
    }
    return HF_ERR_OK;
}

static void make_nonce(char out[33])
{
    uint8_t random[16];

    hf_random_bytes(random, sizeof random);
    hf_hex_encode(hf_bytes_of(random, sizeof random), out);
}

/* Nobody was told of it. An error here leaves a link that holds its snapshot until it expires, and the caller's error is
 * the one that counts. */
static void forget_link(struct hf_server_app *app, const struct hf_id *id)
{
    HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document document = {.json = NULL};
    struct hf_error ignored;
    const struct hf_id_text text = hf_id_text(id);

    if (hf_catalog_get(app->catalog, HF_KIND_LINK, text.text, &document, &ignored) == HF_ERR_OK) {
        (void)!hf_catalog_remove(app->catalog, HF_KIND_LINK, text.text, document.revision,
                                 &ignored);
    }
}

/* Step 2. */
static enum hf_err touch_snapshot(struct hf_server_app *app, const struct hf_id *id,
                                  struct hf_error *err)
{
    enum hf_err code = HF_ERR_CONFLICT;

    for (unsigned tries = 0; tries < TRIES && code == HF_ERR_CONFLICT; tries++) {
        struct hf_snapshot_record snapshot;
        uint64_t revision = 0;
        if (hf_keep_snapshot_get(app->catalog, id, &snapshot, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        if (snapshot.state != HF_SNAPSHOT_COMPLETE) {
            return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s was deleted meanwhile",
                           hf_id_text(id).text);
        }
        code = hf_keep_snapshot_replace(app->catalog, &snapshot, &revision, err);
    }
    return code;
}

enum hf_err hf_flow_link(struct hf_server_app *app, const struct hf_flow_link_wish *wish,
                         struct hf_restore_record *out, struct hf_link_record *link,
                         struct hf_error *err)
{
    const struct hf_flow_restore_wish planned = {.project = wish->project,
                                                 .snapshot = wish->snapshot,
                                                 .point = wish->point,
                                                 .target = wish->target,
                                                 .job = wish->job};
    struct hf_flow_plan plan = {.snapshot = wish->snapshot};
    struct hf_snapshot_record snapshot;
    char top[HF_LINK_FILE_BYTES - 8];

    if (hf_fleet_check_restore(app, err) != HF_ERR_OK ||
        hf_flow_check_project(app, &planned, err) != HF_ERR_OK ||
        (wish->point && hf_flow_plan_point(app, &planned, &plan, err) != HF_ERR_OK) ||
        hf_flow_need_complete(app, &plan.snapshot, &snapshot, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    *link = (struct hf_link_record){
        .id = hf_flow_new_id(),
        .snapshot = snapshot.id,
        .job = snapshot.job,
        .project = snapshot.project,
        .gzip = wish->gzip,
        .created_s = hf_flow_now_s(),
        .max_downloads = wish->max_downloads != 0 ? wish->max_downloads : 1,
        /* The base itself is needed afterwards too, even where no slice is. */
        .lease_from = wish->point ? snapshot.checkpoint : (struct hf_optime){.seconds = 0},
    };
    if (choose_end(wish, &snapshot, link, err) != HF_ERR_OK) {
        return err->code;
    }
    make_nonce(link->nonce);
    hf_flow_archive_name(&snapshot, &link->id, top, sizeof top);
    (void)snprintf(link->file, sizeof link->file, "%s.tar%s", top, link->gzip ? ".gz" : "");
    *out = (struct hf_restore_record){
        .id = link->id,
        .snapshot = snapshot.id,
        .job = snapshot.job,
        .project = snapshot.project,
        .cluster = snapshot.cluster,
        .state = HF_RESTORE_FINISHED,
        .link = true,
        .point = plan.point,
        .lease_from = plan.lease_from,
        .files = snapshot.files,
        .bytes = snapshot.bytes,
        .created_s = link->created_s,
        .finished_s = link->created_s,
    };
    if (hf_keep_link_insert(app->catalog, link, err) != HF_ERR_OK ||
        HF_FAULT("server.link.recorded", err) != HF_ERR_OK) {
        return err->code;
    }
    if (touch_snapshot(app, &snapshot.id, err) != HF_ERR_OK ||
        hf_flow_plan_still_there(&plan, err) != HF_ERR_OK ||
        hf_keep_restore_insert(app->catalog, out, err) != HF_ERR_OK) {
        forget_link(app, &link->id);
        return err->code;
    }
    hf_log_info(app->log, "link.made", HF_STR("restore", hf_id_text(&out->id).text),
                HF_STR("snapshot", hf_id_text(&snapshot.id).text),
                HF_U64("expires_s", link->expires_s), HF_U64("max_downloads", link->max_downloads));
    return HF_ERR_OK;
}

enum hf_err hf_flow_check_no_link(struct hf_server_app *app, const struct hf_id *snapshot,
                                  struct hf_error *err)
{
    const struct hf_id_text id = hf_id_text(snapshot);
    const struct hf_catalog_query query = {
        .index = "snapshotId", .equals_text = id.text, .limit = 100000};
    HF_CLEANUP(hf_keep_links_fini) struct hf_keep_links links = {0};

    if (hf_keep_link_find(app->catalog, &query, &links, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < links.count; i++) {
        const struct hf_link_record *one = &links.items[i];
        char until[HF_TIME_TEXT_BYTES];
        if (hf_server_links_under_way(app->links, &one->id) > 0) {
            return hf_fail(err, HF_ERR_CONFLICT, "snapshot %s is being downloaded (restore %s)",
                           id.text, hf_id_text(&one->id).text);
        }
        if (hf_link_is_open(one, hf_flow_now_s())) {
            hf_time_format(one->expires_s, until);
            return hf_fail(
                err, HF_ERR_CONFLICT,
                "a link to snapshot %s can be used until %s (restore %s); hint: holdfast "
                "restore cancel --restore %s",
                id.text, until, hf_id_text(&one->id).text, hf_id_text(&one->id).text);
        }
        if (hf_link_leases(one, hf_flow_now_s())) {
            hf_time_format(one->expires_s, until);
            return hf_fail(err, HF_ERR_CONFLICT,
                           "a download of snapshot %s may be brought to a point in time until %s "
                           "(restore %s); hint: holdfast restore cancel --restore %s",
                           id.text, until, hf_id_text(&one->id).text, hf_id_text(&one->id).text);
        }
    }
    return HF_ERR_OK;
}

/* Reads, changes, writes, until nobody else did meanwhile. */
static enum hf_err change(struct hf_server_app *app, const struct hf_id *id,
                          void (*apply)(struct hf_link_record *link, const void *what),
                          const void *what, struct hf_link_record *out, struct hf_error *err)
{
    enum hf_err code = HF_ERR_CONFLICT;

    for (unsigned tries = 0; tries < TRIES && code == HF_ERR_CONFLICT; tries++) {
        uint64_t revision = 0;
        if (hf_keep_link_get(app->catalog, id, out, &revision, err) != HF_ERR_OK) {
            return err->code;
        }
        apply(out, what);
        code = hf_keep_link_replace(app->catalog, out, &revision, err);
    }
    return code;
}

static void apply_news(struct hf_link_record *link, const void *what)
{
    const struct hf_flow_link_news *news = what;

    link->transfer = news->transfer;
    (void)snprintf(link->error, sizeof link->error, "%s", news->error == NULL ? "" : news->error);
    if (news->downloaded) {
        link->downloads++;
        link->downloaded_s = hf_flow_now_s();
    }
    if (news->sha1 != NULL) {
        (void)snprintf(link->sha1, sizeof link->sha1, "%s", news->sha1);
        (void)snprintf(link->etag, sizeof link->etag, "%s", news->etag);
    }
}

enum hf_err hf_flow_link_note(struct hf_server_app *app, const struct hf_id *id,
                              const struct hf_flow_link_news *news, struct hf_link_record *out,
                              struct hf_error *err)
{
    return change(app, id, apply_news, news, out, err);
}

static void apply_end(struct hf_link_record *link, const void *what)
{
    uint64_t now_s = *(const uint64_t *)what;

    link->expires_s = link->expires_s < now_s ? link->expires_s : now_s;
}

enum hf_err hf_flow_link_withdraw(struct hf_server_app *app, const struct hf_id *id,
                                  struct hf_error *err)
{
    const uint64_t now_s = hf_flow_now_s();
    struct hf_link_record link;

    if (hf_keep_link_get(app->catalog, id, &link, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_link_is_open(&link, now_s) && !hf_link_leases(&link, now_s) &&
        hf_server_links_under_way(app->links, id) == 0) {
        return hf_fail(err, HF_ERR_CONFLICT, "the link of restore %s is %s already",
                       hf_id_text(id).text, hf_link_status_word(hf_link_status(&link, now_s, 0)));
    }
    if (change(app, id, apply_end, &now_s, &link, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_server_links_cut(app->links, id);
    hf_log_info(app->log, "link.withdrawn", HF_STR("restore", hf_id_text(id).text));
    return HF_ERR_OK;
}
