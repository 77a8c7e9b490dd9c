/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An automated restore: a snapshot's files into a directory of this host, below the root that the agent's owner allowed.
 */
#include <stdio.h>

#include "agent/point.h"
#include "agent/task.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs.h"
#include "os/process.h"
#include "snapshot/restore.h"

/* The longest existing part of an absolute path, links resolved, with the rest appended. */
static enum hf_err resolve(const char *path, char **out, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *head = hf_strdup(path);
    size_t len = strlen(path);

    if (head == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    while (len > 1 && !hf_fs_exists(head)) {
        while (len > 1 && head[len - 1] != '/') {
            len--;
        }
        while (len > 1 && head[len - 1] == '/') {
            len--;
        }
        head[len] = '\0';
    }
    HF_CLEANUP(hf_free) char *real = NULL;
    if (hf_path_real(head, &real, err) != HF_ERR_OK) {
        return err->code;
    }
    const char *rest = path + len;
    while (*rest == '/') {
        rest++;
    }
    if (*rest == '\0') {
        *out = HF_TAKE(real);
        return HF_ERR_OK;
    }
    *out = hf_path_join(real, rest);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

static bool has_dot_component(const char *path)
{
    while (*path != '\0') {
        size_t len = strcspn(path, "/");
        if ((len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.')) {
            return true;
        }
        path += len;
        path += *path == '/';
    }
    return false;
}

enum hf_err hf_agent_check_directory(const char *root, const char *directory, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *real_root = NULL;
    HF_CLEANUP(hf_free) char *real_directory = NULL;

    if (root == NULL || root[0] == '\0') {
        return hf_fail(err, HF_ERR_DENIED,
                       "this agent restores nothing; hint: start it with --restore-root DIR");
    }
    if (directory[0] != '/' || has_dot_component(directory)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "restore directory %s is not an absolute path without . and ..", directory);
    }
    if (resolve(root, &real_root, err) != HF_ERR_OK ||
        resolve(directory, &real_directory, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t len = strlen(real_root);
    if (strncmp(real_directory, real_root, len) != 0 ||
        (strcmp(real_root, "/") != 0 && real_directory[len] != '/')) {
        return hf_fail(err, HF_ERR_DENIED,
                       "restore directory %s is not below %s, where this agent may restore",
                       directory, root);
    }
    return HF_ERR_OK;
}

enum hf_err hf_agent_restore(const struct hf_agent_work *work, struct hf_msg_finish *finish,
                             struct hf_error *err)
{
    const struct hf_agent_context *context = work->context;
    const struct hf_task *task = work->task;
    HF_CLEANUP(hf_store_close) struct hf_store *store = NULL;
    struct hf_restore_result result = {0};

    if (hf_agent_check_directory(context->restore_root, task->restore.directory, err) !=
            HF_ERR_OK ||
        hf_agent_store_open(work, work->cancel, 0, &store, err) != HF_ERR_OK) {
        return hf_wrap(err, "restore into %s", task->restore.directory);
    }
    const struct hf_restore_options options = {
        .store = store,
        .keyring = &task->keyring,
        .root = &task->restore.root,
        .directory = task->restore.directory,
        .restore_info = task->restore.restore_info,
        .workers = task->limits.workers != 0 ? task->limits.workers : context->workers,
        .rate_bytes_s = task->limits.rate_bytes_s,
        .progress = work->progress,
        .cancel = work->cancel,
        .log = context->log,
        .onto = task->restore.onto,
        .leave_foreign = task->restore.leave_foreign,
    };
    const struct hf_agent_reach reach = {
        .store = store,
        .directory = task->restore.directory,
        .snapshot = &task->restore.snapshot,
        .capture = task->restore.capture,
        .point = &task->restore.point,
        .program = context->mongod,
    };
    if (hf_restore_run(&options, &result, err) != HF_ERR_OK ||
        (reach.point->wanted &&
         (HF_FAULT("agent.restore.files", err) != HF_ERR_OK ||
          hf_agent_reach_point(work, &reach, &finish->replay, err) != HF_ERR_OK)) ||
        HF_FAULT("agent.restore.done", err) != HF_ERR_OK) {
        char host[256];
        hf_host_name(host, sizeof host);
        return hf_wrap(err, "agent on %s", host);
    }
    finish->restored_files = result.files;
    finish->restored_bytes = result.bytes;
    finish->written_bytes = result.written_bytes;
    finish->removed_files = result.removed_files;
    return HF_ERR_OK;
}
