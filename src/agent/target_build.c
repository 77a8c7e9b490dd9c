/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The new directory of a member: the snapshot's files, brought to the point, made a member of the new set, and given to
 * the owner of the old. An arbiter's is empty.
 *
 * Begun again after a death it goes on with what is there: blocks by their hashes, the replay by its own mark.
 */
#include "agent/point.h"
#include "agent/target.h"

#include "base/alloc.h"
#include "base/fault.h"
#include "mongo/recover.h"
#include "oplog/replay.h"
#include "os/fs.h"
#include "snapshot/restore.h"

struct builder {
    const struct hf_agent_work *work;
    struct hf_agent_target_note *note;
    const char *directory;
    const char *program;
    char *log_dir;  /* owned */
    char *log_path; /* owned */
    struct hf_replay_arguments arguments;
    struct hf_msg_replay *told;
};

static void builder_fini(struct builder *builder)
{
    hf_replay_arguments_fini(&builder->arguments);
    hf_free(builder->log_dir);
    hf_free(builder->log_path);
}
HF_CLEANUP_DEFINE_VALUE(builder_fini, struct builder)

static enum hf_err restore_files(struct builder *builder, struct hf_error *err)
{
    const struct hf_agent_context *context = builder->work->context;
    const struct hf_task *task = builder->work->task;
    HF_CLEANUP(hf_store_close) struct hf_store *store = NULL;
    struct hf_restore_result result = {0};

    if (hf_agent_store_open(builder->work, builder->work->cancel, 0, &store, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_restore_options options = {
        .store = store,
        .keyring = &task->keyring,
        .root = &task->target.root,
        .directory = builder->directory,
        .restore_info = task->target.restore_info,
        .workers = task->limits.workers != 0 ? task->limits.workers : context->workers,
        .rate_bytes_s = task->limits.rate_bytes_s,
        .progress = builder->work->progress,
        .cancel = builder->work->cancel,
        .log = context->log,
        .onto = true,
        .like = builder->note->in_place ? NULL : builder->note->db_path,
        .leave_foreign = true,
    };
    if (hf_restore_run(&options, &result, err) != HF_ERR_OK) {
        return err->code;
    }
    builder->note->files = result.files;
    builder->note->bytes = result.bytes;
    builder->note->written_bytes += result.written_bytes;
    builder->note->reused_bytes = result.reused_bytes;
    builder->note->fetched_bytes += result.read_bytes;
    return HF_FAULT("agent.target.files", err);
}

/* Blocks of the old files are taken where they are the snapshot's. What an earlier try left is built upon, if it is a
 * restore's; else it goes. */
static enum hf_err fill(struct builder *builder, struct hf_error *err)
{
    enum hf_err code = restore_files(builder, err);

    if (code == HF_ERR_CONFLICT && !builder->note->in_place) {
        /* What lies there is nothing that can be gone on with. */
        if (hf_fs_remove_tree(builder->directory, err) != HF_ERR_OK) {
            return err->code;
        }
        code = restore_files(builder, err);
    }
    return code;
}

/* ---- The point ---- */

static enum hf_err reach_point(struct builder *builder, struct hf_error *err)
{
    const struct hf_task_target *target = &builder->work->task->target;
    HF_CLEANUP(hf_store_close) struct hf_store *store = NULL;

    if (hf_agent_store_open(builder->work, builder->work->cancel, 0, &store, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_agent_reach reach = {
        .store = store,
        .directory = builder->directory,
        .snapshot = &target->snapshot,
        .capture = target->capture,
        .point = &target->point,
        .program = builder->program,
    };
    return hf_agent_reach_point(builder->work, &reach, builder->told, err) != HF_ERR_OK
               ? hf_wrap(err, "bring %s to its point", builder->directory)
               : HF_FAULT("agent.target.replayed", err);
}

static enum hf_err cut(struct builder *builder, struct hf_error *err)
{
    const struct hf_task_target *target = &builder->work->task->target;
    HF_CLEANUP(hf_replay_result_fini) struct hf_replay_result result = {.notes = NULL};
    const struct hf_replay_point point = {
        .checkpoint = target->checkpoint,
        .truncate_after = target->checkpoint,
    };
    const struct hf_replay_options options = {
        .program = builder->program,
        .dbpath = builder->directory,
        .arguments = (const char *const *)builder->arguments.values,
        .point = &point,
        .log_dir = builder->log_dir,
        .progress = builder->work->progress,
        .cancel = builder->work->cancel,
        .log = builder->work->context->log,
    };

    if (hf_replay_run(&options, &result, err) != HF_ERR_OK ||
        HF_FAULT("agent.target.replayed", err) != HF_ERR_OK) {
        return hf_wrap(err, "bring %s to its point", builder->directory);
    }
    for (size_t i = 0; i < result.note_count; i++) {
        hf_log_info(builder->work->context->log, "agent.target.replay_note",
                    HF_STR("member", builder->note->member),
                    HF_STR("collection", result.notes[i].name),
                    HF_STR("note", result.notes[i].text));
    }
    return hf_replay_forget(builder->directory, err);
}

/* ---- The set ---- */

static enum hf_err encoded(const struct hf_json *json, const char *key, char **out,
                           struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_TARGET_MESSAGE_CONFIG_BYTES);
    const struct hf_json *part = hf_json_get(json, key);

    if (part == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "the set's configuration has no %s", key);
    }
    if (hf_json_encode(part, 0, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    *out = hf_strndup((const char *)text.data, text.len);
    return *out == NULL ? hf_fail(err, HF_ERR_NO_MEMORY, "no memory") : HF_ERR_OK;
}

static enum hf_err join_set(struct builder *builder, struct hf_error *err)
{
    const struct hf_task_target *target = &builder->work->task->target;
    HF_CLEANUP(hf_json_drop) struct hf_json *config = NULL;
    HF_CLEANUP(hf_free) char *members = NULL;
    HF_CLEANUP(hf_free) char *settings = NULL;
    const struct hf_recover_options options = {
        .program = builder->program,
        .dbpath = builder->directory,
        .log_path = builder->log_path,
        .arguments = (const char *const *)builder->arguments.values,
        .cancel = builder->work->cancel,
    };

    if (target->config == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "the step has no configuration of the set");
    }
    if (hf_json_decode(hf_str_of(target->config), HF_TARGET_MESSAGE_CONFIG_BYTES, &config, err) !=
            HF_ERR_OK ||
        encoded(config, "members", &members, err) != HF_ERR_OK) {
        return hf_wrap(err, "the set's configuration");
    }
    /* The id stands beside: it is the restore's, and so the same for all members. */
    struct hf_json *own = hf_json_get_object(config, "settings");
    if (own != NULL) {
        hf_json_remove(own, "replicaSetId");
        if (encoded(config, "settings", &settings, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    struct hf_recover_set set = {.name = target->set_name,
                                 .members = members,
                                 .settings = settings,
                                 .login = &builder->note->login};
    memcpy(set.replica_set_id, target->restore.bytes, sizeof set.replica_set_id);
    if (hf_recover_set_config(&options, &set, err) != HF_ERR_OK) {
        return hf_wrap(err, "make %s a member of set %s", builder->directory, target->set_name);
    }
    return HF_FAULT("agent.target.configured", err);
}

static enum hf_err prepare(struct builder *builder, struct hf_error *err)
{
    const struct hf_task_target *target = &builder->work->task->target;
    const struct hf_agent_context *context = builder->work->context;
    HF_CLEANUP(hf_json_drop) struct hf_json *options = NULL;

    builder->program = context->mongod != NULL ? context->mongod : builder->note->program.path;
    builder->program = builder->program == NULL ? "mongod" : builder->program;
    if (hf_agent_state_recovery(context->state, target->member, &builder->log_dir, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    builder->log_path = hf_path_join(builder->log_dir, "configure.log");
    if (builder->log_path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (target->options != NULL &&
        hf_json_decode(hf_str_of(target->options), HF_TARGET_MESSAGE_CONFIG_BYTES, &options, err) !=
            HF_ERR_OK) {
        return hf_wrap(err, "storage options");
    }
    return hf_replay_arguments_make(options, &builder->arguments, err);
}

/* What they say is only of use while something is wrong. */
static void drop_logs(const struct builder *builder)
{
    struct hf_error ignored;

    (void)!hf_fs_remove_tree(builder->log_dir, &ignored);
}

enum hf_err hf_agent_target_build(const struct hf_agent_work *work,
                                  struct hf_agent_target_note *note,
                                  const struct hf_agent_target_built *built, struct hf_error *err)
{
    HF_CLEANUP(builder_fini)
    struct builder builder = {
        .work = work, .note = note, .directory = built->directory, .told = built->replay};
    const char *directory = built->directory;

    if (note->arbiter) {
        return hf_fs_make_dirs(directory, 0700, err) != HF_ERR_OK
                   ? err->code
                   : hf_fs_copy_owner(note->db_path, directory, err);
    }
    if (prepare(&builder, err) != HF_ERR_OK || fill(&builder, err) != HF_ERR_OK) {
        return hf_wrap(err, "build %s", directory);
    }
    hf_progress_phase(work->progress, "replay");
    if (work->task->target.point.wanted ? reach_point(&builder, err) != HF_ERR_OK
                                        : cut(&builder, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_progress_phase(work->progress, "configure");
    if (join_set(&builder, err) != HF_ERR_OK) {
        return err->code;
    }
    drop_logs(&builder);
    if (!note->in_place && hf_agent_target_own(note, directory, err) != HF_ERR_OK) {
        return hf_wrap(err, "build %s", directory);
    }
    return hf_fs_sync_dir(directory, err);
}
