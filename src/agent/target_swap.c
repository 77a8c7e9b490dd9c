/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The member's directory steps aside for the new one, by names only, and back again.
 *
 *   beside   /data/db -> /data/db.holdfast-old, /data/db.holdfast-new -> /data/db; then what is not a database's follows
 *   inside   (a mount point) entries of the database -> .holdfast-old/, noted, then .holdfast-new/ entries -> dbPath
 *
 * Which names are there says how far it came: every function may be called again after a death anywhere within. Inside,
 * where names are not enough, the note says in which direction entries go.
 */
#include <stdio.h>

#include "agent/target.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs.h"

#define NAMES_MAX 1000000
#define NEW_NAME ".holdfast-new"
#define OLD_NAME ".holdfast-old"
#define DEEPEST 4 /* dbPath, database, collection or index */

static char *dir_of(const struct hf_agent_target_note *note, const char *name)
{
    return note->inside ? hf_path_join(note->db_path, name)
                        : hf_asprintf("%s%s", note->db_path, name);
}

char *hf_agent_target_new_dir(const struct hf_agent_target_note *note)
{
    return dir_of(note, NEW_NAME);
}

char *hf_agent_target_old_dir(const struct hf_agent_target_note *note)
{
    return dir_of(note, OLD_NAME);
}

/* ---- Whose is a name? ---- */

static bool ends_with(const char *text, const char *with)
{
    size_t len = strlen(text);

    return len >= strlen(with) && strcmp(text + len - strlen(with), with) == 0;
}

static bool is_database_name(const char *name)
{
    static const char *const own[] = {"mongod.lock", "storage.bson",    "journal",        "_tmp",
                                      "key.db",      "diagnostic.data", "restoreInfo.txt"};

    for (size_t i = 0; i < HF_ARRAY_LEN(own); i++) {
        if (strcmp(name, own[i]) == 0) {
            return true;
        }
    }
    return strncmp(name, "WiredTiger", 10) == 0 || ends_with(name, ".wt") ||
           strncmp(name, ".holdfast-restore", 17) == 0 || strncmp(name, "holdfast-replay", 15) == 0;
}

/* A directory of a database or its indexes: some table lies in it. */
static bool holds_tables(const char *path, unsigned depth)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    struct hf_file_info info;
    struct hf_error ignored;

    if (depth == DEEPEST || hf_fs_lstat(path, &info, &ignored) != HF_ERR_OK ||
        info.kind != HF_FILE_DIR || hf_fs_list(path, NAMES_MAX, &list, &ignored) != HF_ERR_OK) {
        return false;
    }
    for (size_t i = 0; i < list.count; i++) {
        HF_CLEANUP(hf_free) char *below = hf_path_join(path, list.names[i]);
        if (ends_with(list.names[i], ".wt") || (below != NULL && holds_tables(below, depth + 1))) {
            return true;
        }
    }
    return false;
}

/* What is not a database's is the operator's (a configuration, a key file): it stays with the dbPath. */
static bool is_databases(const char *dir, const char *name)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, name);

    return is_database_name(name) || (path != NULL && holds_tables(path, 1));
}

static bool is_ours(const char *name)
{
    return strcmp(name, NEW_NAME) == 0 || strcmp(name, OLD_NAME) == 0;
}

static bool has(const char *dir, const char *name)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(dir, name);

    return path == NULL || hf_fs_exists(path);
}

enum hf_err hf_agent_target_check_directory(const char *db_path, struct hf_error *err)
{
    static const char *const needed[] = {"mongod.lock", "WiredTiger", "WiredTiger.wt",
                                         "storage.bson"};
    struct hf_file_info info;

    if (db_path[0] != '/' || db_path[1] == '\0') {
        return hf_fail(err, HF_ERR_CONFLICT, "%s is no dbPath that may be replaced", db_path);
    }
    if (hf_fs_stat(db_path, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(needed); i++) {
        if (info.kind != HF_FILE_DIR || !has(db_path, needed[i])) {
            return hf_fail(err, HF_ERR_CONFLICT,
                           "%s does not look like a dbPath: it has no %s; it is left alone",
                           db_path, needed[i]);
        }
    }
    return HF_ERR_OK;
}

static uint64_t disk_bytes(const char *path, unsigned depth)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    struct hf_file_info info;
    struct hf_error ignored;
    uint64_t sum = 0;

    if (hf_fs_lstat(path, &info, &ignored) != HF_ERR_OK) {
        return 0;
    }
    if (info.kind != HF_FILE_DIR) {
        return info.disk_bytes;
    }
    if (depth == DEEPEST || hf_fs_list(path, NAMES_MAX, &list, &ignored) != HF_ERR_OK) {
        return 0;
    }
    for (size_t i = 0; i < list.count; i++) {
        HF_CLEANUP(hf_free) char *below = hf_path_join(path, list.names[i]);
        sum += below == NULL ? 0 : disk_bytes(below, depth + 1);
    }
    return sum;
}

uint64_t hf_agent_target_data_bytes(const char *db_path)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};
    struct hf_error ignored;
    uint64_t sum = 0;

    if (hf_fs_list(db_path, NAMES_MAX, &list, &ignored) != HF_ERR_OK) {
        return 0;
    }
    for (size_t i = 0; i < list.count; i++) {
        HF_CLEANUP(hf_free) char *path = hf_path_join(db_path, list.names[i]);
        sum += path != NULL && is_databases(db_path, list.names[i]) ? disk_bytes(path, 1) : 0;
    }
    return sum;
}

/* ---- Moving ---- */

enum which { DATABASES, FOREIGN, ALL };

/* Moves the entries of one directory into another, and leaves those that are there already. */
static enum hf_err move_entries(const char *from, const char *to, enum which which,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};

    if (hf_fs_list(from, NAMES_MAX, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < list.count; i++) {
        const char *name = list.names[i];
        HF_CLEANUP(hf_free) char *source = hf_path_join(from, name);
        HF_CLEANUP(hf_free) char *target = hf_path_join(to, name);
        if (source == NULL || target == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        if (is_ours(name) || (which == DATABASES && !is_databases(from, name)) ||
            (which == FOREIGN && (is_databases(from, name) || hf_fs_exists(target)))) {
            continue;
        }
        if (hf_fs_move(source, target, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err make_like(const struct hf_agent_target_note *note, const char *dir,
                             struct hf_error *err)
{
    return hf_fs_make_dirs(dir, 0700, err) != HF_ERR_OK ||
                   hf_fs_copy_owner(note->db_path, dir, err) != HF_ERR_OK
               ? err->code
               : HF_ERR_OK;
}

static enum hf_err swap_beside(const struct hf_agent_target_note *note, const char *new_dir,
                               const char *old_dir, struct hf_error *err)
{
    if (!hf_fs_exists(old_dir) && hf_fs_exists(new_dir) &&
        hf_fs_move(note->db_path, old_dir, err) != HF_ERR_OK) {
        return err->code;
    }
    if (HF_FAULT("agent.target.old_aside", err) != HF_ERR_OK ||
        (hf_fs_exists(new_dir) && hf_fs_move(new_dir, note->db_path, err) != HF_ERR_OK)) {
        return err->code;
    }
    return move_entries(old_dir, note->db_path, FOREIGN, err);
}

static enum hf_err swap_inside(const struct hf_agent_context *context,
                               struct hf_agent_target_note *note, const char *new_dir,
                               const char *old_dir, struct hf_error *err)
{
    if (!note->entries_in) {
        if (make_like(note, old_dir, err) != HF_ERR_OK ||
            move_entries(note->db_path, old_dir, DATABASES, err) != HF_ERR_OK ||
            HF_FAULT("agent.target.old_aside", err) != HF_ERR_OK) {
            return err->code;
        }
        note->entries_in = true;
        if (hf_agent_target_note_write(context->state, note, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (!hf_fs_exists(new_dir)) {
        return HF_ERR_OK;
    }
    return move_entries(new_dir, note->db_path, ALL, err) != HF_ERR_OK
               ? err->code
               : hf_fs_remove_dir(new_dir, err);
}

enum hf_err hf_agent_target_swap(const struct hf_agent_context *context,
                                 struct hf_agent_target_note *note, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *new_dir = hf_agent_target_new_dir(note);
    HF_CLEANUP(hf_free) char *old_dir = hf_agent_target_old_dir(note);

    if (new_dir == NULL || old_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code = note->inside ? swap_inside(context, note, new_dir, old_dir, err)
                                    : swap_beside(note, new_dir, old_dir, err);
    return code == HF_ERR_OK ? HF_ERR_OK
                             : hf_wrap(err, "put the new directory in place of %s", note->db_path);
}

/* ---- Back ---- */

static enum hf_err back_beside(const struct hf_agent_target_note *note, const char *new_dir,
                               const char *old_dir, struct hf_error *err)
{
    if (!hf_fs_exists(old_dir)) {
        return HF_ERR_OK;
    }
    if (hf_fs_exists(note->db_path) && !hf_fs_exists(new_dir)) {
        if (move_entries(note->db_path, old_dir, FOREIGN, err) != HF_ERR_OK ||
            hf_fs_move(note->db_path, new_dir, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (HF_FAULT("agent.target.new_aside", err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_fs_move(old_dir, note->db_path, err);
}

static enum hf_err back_inside(const struct hf_agent_context *context,
                               struct hf_agent_target_note *note, const char *new_dir,
                               const char *old_dir, struct hf_error *err)
{
    if (!hf_fs_exists(old_dir)) {
        return HF_ERR_OK;
    }
    if (note->entries_in && !note->entries_back) {
        if (make_like(note, new_dir, err) != HF_ERR_OK ||
            move_entries(note->db_path, new_dir, DATABASES, err) != HF_ERR_OK ||
            HF_FAULT("agent.target.new_aside", err) != HF_ERR_OK) {
            return err->code;
        }
    }
    if (!note->entries_back) {
        note->entries_back = true;
        if (hf_agent_target_note_write(context->state, note, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return move_entries(old_dir, note->db_path, ALL, err) != HF_ERR_OK
               ? err->code
               : hf_fs_remove_dir(old_dir, err);
}

enum hf_err hf_agent_target_swap_back(const struct hf_agent_context *context,
                                      struct hf_agent_target_note *note, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *new_dir = hf_agent_target_new_dir(note);
    HF_CLEANUP(hf_free) char *old_dir = hf_agent_target_old_dir(note);

    if (new_dir == NULL || old_dir == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    enum hf_err code = note->inside ? back_inside(context, note, new_dir, old_dir, err)
                                    : back_beside(note, new_dir, old_dir, err);
    return code == HF_ERR_OK ? HF_ERR_OK
                             : hf_wrap(err, "put the old directory back to %s", note->db_path);
}

/* ---- Owner and modes ---- */

static enum hf_err own_tree(const char *like_dir, const char *like_file, const char *dir,
                            unsigned depth, struct hf_error *err)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list list = {.names = NULL};

    if (hf_fs_copy_owner(like_dir, dir, err) != HF_ERR_OK ||
        hf_fs_list(dir, NAMES_MAX, &list, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < list.count; i++) {
        HF_CLEANUP(hf_free) char *path = hf_path_join(dir, list.names[i]);
        struct hf_file_info info;
        if (path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        if (hf_fs_lstat(path, &info, err) != HF_ERR_OK) {
            return err->code;
        }
        bool is_dir = info.kind == HF_FILE_DIR;
        if (is_dir && depth < DEEPEST
                ? own_tree(like_dir, like_file, path, depth + 1, err) != HF_ERR_OK
                : hf_fs_copy_owner(is_dir ? like_dir : like_file, path, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_agent_target_own(const struct hf_agent_target_note *note, const char *dir,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *like = hf_path_join(note->db_path, "WiredTiger");

    if (like == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    return own_tree(note->db_path, like, dir, 1, err);
}
