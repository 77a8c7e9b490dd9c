/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of a restore onto a whole set as messages (docs/format/agent-protocol.md, "target").
 */
#include <string.h>

#include "base/alloc.h"
#include "format/field.h"
#include "format/message_internal.h"

static const char *const steps[HF_STEPS] = {
    [HF_STEP_CHECK] = "check", [HF_STEP_BUILD] = "build", [HF_STEP_STOP] = "stop",
    [HF_STEP_SWAP] = "swap",   [HF_STEP_START] = "start", [HF_STEP_PRIMARY] = "primary",
    [HF_STEP_CLEAN] = "clean", [HF_STEP_HALT] = "halt",   [HF_STEP_BACK] = "back",
};

const char *hf_target_step_name(enum hf_target_step step)
{
    return steps[step];
}

void hf_task_target_fini(struct hf_task_target *target)
{
    hf_tree_root_fini(&target->root);
    hf_free(target->restore_info);
    hf_free(target->config);
    hf_free(target->options);
    target->restore_info = target->config = target->options = NULL;
    hf_task_point_fini(&target->point);
}

struct hf_json *hf_task_target_to_json(const struct hf_task_target *target, struct hf_error *err)
{
    struct hf_json *json = hf_json_object();

    hf_json_set_text(json, "step", steps[target->step]);
    hf_field_set_id(json, "restore", &target->restore);
    hf_json_set_text(json, "member", target->member);
    hf_json_set_text(json, "set", target->set_name);
    hf_json_set_bool(json, "arbiter", target->arbiter);
    hf_json_set_bool(json, "inPlace", target->in_place);
    hf_field_set_id(json, "snapshot", &target->snapshot);
    hf_json_set_u64(json, "capture", target->capture);
    hf_field_set_optime(json, "checkpoint", &target->checkpoint);
    hf_json_set_text(json, "restoreInfo", target->restore_info);
    hf_json_set_text(json, "config", target->config);
    hf_json_set_text(json, "options", target->options);
    if (target->login_print[0] != '\0') {
        hf_json_set_text(json, "login", target->login_print);
    }
    if ((target->root.lists != NULL &&
         hf_field_set_root(json, "root", &target->root, err) != HF_ERR_OK) ||
        hf_task_point_set(json, &target->point, err) != HF_ERR_OK) {
        hf_json_drop(json);
        return NULL;
    }
    return json;
}

static enum hf_err take_text(const struct hf_json *json, const char *key, size_t max, char **out,
                             struct hf_error *err)
{
    const struct hf_json *value = hf_json_get(json, key);
    const char *text = hf_json_text(value);

    if (value == NULL) {
        return HF_ERR_OK;
    }
    if (text == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not a text", key);
    }
    if (strlen(text) > max) {
        return hf_fail(err, HF_ERR_INVALID, "%s: too long", key);
    }
    *out = hf_strdup(text);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "%s", key) : HF_ERR_OK;
}

static enum hf_err step_from_json(const struct hf_json *json, enum hf_target_step *out,
                                  struct hf_error *err)
{
    const char *step = NULL;

    if (hf_json_need_text(json, "step", &step, err) != HF_ERR_OK) {
        return err->code;
    }
    for (unsigned i = 0; i < HF_STEPS; i++) {
        if (strcmp(steps[i], step) == 0) {
            *out = (enum hf_target_step)i;
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_UNSUPPORTED, "unknown step \"%.40s\"", step);
}

enum hf_err hf_task_target_from_json(const struct hf_json *json, struct hf_task_target *out,
                                     struct hf_error *err)
{
    if (step_from_json(json, &out->step, err) != HF_ERR_OK ||
        hf_field_need_id(json, "restore", &out->restore, err) != HF_ERR_OK ||
        hf_field_text(json, "member", out->member, sizeof out->member, err) != HF_ERR_OK ||
        hf_field_text(json, "set", out->set_name, sizeof out->set_name, err) != HF_ERR_OK ||
        hf_field_bool(json, "arbiter", &out->arbiter, err) != HF_ERR_OK ||
        hf_field_bool(json, "inPlace", &out->in_place, err) != HF_ERR_OK ||
        hf_field_id(json, "snapshot", &out->snapshot, err) != HF_ERR_OK ||
        hf_field_u64(json, "capture", HF_CAPTURE_MAX, &out->capture, err) != HF_ERR_OK ||
        hf_field_optime(json, "checkpoint", &out->checkpoint, err) != HF_ERR_OK ||
        hf_task_point_get(json, &out->point, err) != HF_ERR_OK ||
        hf_field_text(json, "login", out->login_print, sizeof out->login_print, err) != HF_ERR_OK ||
        take_text(json, "restoreInfo", HF_MESSAGE_INFO_BYTES, &out->restore_info, err) !=
            HF_ERR_OK ||
        take_text(json, "config", HF_TARGET_MESSAGE_CONFIG_BYTES, &out->config, err) != HF_ERR_OK ||
        take_text(json, "options", HF_TARGET_MESSAGE_CONFIG_BYTES, &out->options, err) !=
            HF_ERR_OK) {
        return hf_wrap(err, "target");
    }
    /* It becomes a file's name at the agent. */
    if (out->member[0] == '\0' || out->member[0] == '.' || strchr(out->member, '/') != NULL) {
        return hf_fail(err, HF_ERR_INVALID, "target: member: \"%.60s\"", out->member);
    }
    return hf_json_get(json, "root") == NULL                           ? HF_ERR_OK
           : hf_field_root(json, "root", &out->root, err) == HF_ERR_OK ? HF_ERR_OK
                                                                       : hf_wrap(err, "target");
}

enum hf_err hf_msg_report_to_json(const struct hf_msg_finish *finish, struct hf_json *json,
                                  struct hf_error *err)
{
    struct hf_json *report = NULL;

    if (finish->report == NULL) {
        return HF_ERR_OK;
    }
    if (hf_json_decode(hf_str_of(finish->report), HF_TARGET_REPORT_BYTES, &report, err) !=
        HF_ERR_OK) {
        return hf_wrap(err, "report");
    }
    hf_json_set_take(json, "report", report);
    return HF_ERR_OK;
}

enum hf_err hf_msg_report_from_json(const struct hf_json *json, struct hf_msg_finish *out,
                                    struct hf_error *err)
{
    const struct hf_json *report = hf_json_get_object(json, "report");
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_TARGET_REPORT_BYTES);

    if (report == NULL) {
        return HF_ERR_OK;
    }
    if (hf_json_encode(report, 0, &text, err) != HF_ERR_OK) {
        return hf_fail(err, HF_ERR_INVALID, "report: too long");
    }
    out->report = hf_strndup((const char *)text.data, text.len);
    return out->report == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "report") : HF_ERR_OK;
}
