/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of restoreInfo.txt: a title, then "Key: value" lines (restore.md 7.3).
 *
 * "Restore timestamp" is what a plain start of the files shows, the checkpoint. "Last Oplog Applied" is the same entry:
 * a restore to the snapshot cuts the later ones that the copy's oplog may hold.
 */
#include <inttypes.h>

#include "os/clock.h"
#include "snapshot/restore.h"

static enum hf_err line(struct hf_buf *out, const char *key, const char *value,
                        struct hf_error *err)
{
    if (value[0] == '\0') {
        return HF_ERR_OK;
    }
    return hf_buf_appendf(out, err, "%s: %s\n", key, value);
}

static enum hf_err optime_line(struct hf_buf *out, const char *key, const struct hf_optime *optime,
                               struct hf_error *err)
{
    char date[HF_TIME_TEXT_BYTES];
    if (hf_optime_is_none(optime)) {
        return HF_ERR_OK;
    }
    hf_time_format(optime->seconds, date);
    return hf_buf_appendf(out, err, "%s: %s (%" PRIu32 ", %" PRIu32 ")\n", key, date,
                          optime->seconds, optime->increment);
}

enum hf_err hf_restore_info_text(const struct hf_manifest *manifest, struct hf_buf *out,
                                 struct hf_error *err)
{
    const struct hf_facts *facts = &manifest->facts;
    HF_CLEANUP(hf_buf_fini) struct hf_buf options = HF_BUF_INIT((size_t)32 << 10);
    char created[HF_TIME_TEXT_BYTES];
    hf_time_format(manifest->created_s, created);
    if (facts->engine_options == NULL) {
        if (hf_buf_append_text(&options, "{}", err) != HF_ERR_OK) {
            return err->code;
        }
    } else if (hf_json_encode(facts->engine_options, 0, &options, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *options_text = hf_buf_text(&options);
    if (options_text == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "restoreInfo.txt");
    }
    if (hf_buf_append_text(out, "Restore Information\n", err) != HF_ERR_OK ||
        line(out, "Group Name", manifest->project_name, err) != HF_ERR_OK ||
        line(out, "Replica Set", facts->set_name, err) != HF_ERR_OK ||
        (manifest->sharded &&
         line(out, "Cluster Id", hf_id_text(&manifest->cluster).text, err) != HF_ERR_OK) ||
        line(out, HF_RESTORE_INFO_SNAPSHOT, hf_id_text(&manifest->snapshot).text, err) !=
            HF_ERR_OK ||
        line(out, "Snapshot timestamp", created, err) != HF_ERR_OK ||
        optime_line(out, "Restore timestamp", &facts->checkpoint, err) != HF_ERR_OK ||
        optime_line(out, "Last Oplog Applied", &facts->checkpoint, err) != HF_ERR_OK ||
        line(out, "MongoDB Version", facts->server_version, err) != HF_ERR_OK ||
        line(out, "Storage Engine", facts->engine, err) != HF_ERR_OK ||
        line(out, "Startup Options", options_text, err) != HF_ERR_OK) {
        return hf_wrap(err, "restoreInfo.txt");
    }
    return HF_ERR_OK;
}
