/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole directories under other names, and whose they are.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "os/fs_internal.h"

enum hf_err hf_fs_move(const char *from, const char *to, struct hf_error *err)
{
    if (HF_FAULT("os.fs.move", err) != HF_ERR_OK) {
        return hf_wrap(err, "move %s to %s", from, to);
    }
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) != 0 &&
        !(errno == ENOENT && !hf_fs_exists(from) && hf_fs_exists(to))) {
        return hf_fail_errno(err, errno, "move %s to %s", from, to);
    }
    if (HF_FAULT("os.fs.moved", err) != HF_ERR_OK || hf_fs_sync_parent(to, err) != HF_ERR_OK ||
        hf_fs_sync_parent(from, err) != HF_ERR_OK) {
        return hf_wrap(err, "move %s to %s", from, to);
    }
    return HF_ERR_OK;
}

enum hf_err hf_fs_copy_owner(const char *from, const char *to, struct hf_error *err)
{
    struct stat is, wanted;

    if (lstat(from, &wanted) != 0) {
        return hf_fail_errno(err, errno, "look at %s", from);
    }
    if (lstat(to, &is) != 0) {
        return hf_fail_errno(err, errno, "look at %s", to);
    }
    if ((is.st_uid != wanted.st_uid || is.st_gid != wanted.st_gid) &&
        lchown(to, wanted.st_uid, wanted.st_gid) != 0) {
        return hf_fail_errno(err, errno, "give %s to the owner of %s", to, from);
    }
    mode_t mode = wanted.st_mode & 07777;
    if ((is.st_mode & 07777) != mode && !S_ISLNK(is.st_mode) && chmod(to, mode) != 0) {
        return hf_fail_errno(err, errno, "give %s the permissions of %s", to, from);
    }
    return HF_ERR_OK;
}
