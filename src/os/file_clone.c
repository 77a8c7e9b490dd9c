/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that share their blocks, on file systems that can (XFS, Btrfs, bcachefs, ...).
 */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "os/fs_internal.h"

bool hf_file_clone(struct hf_file *from, struct hf_file *to)
{
    return ioctl(to->fd, FICLONE, from->fd) == 0;
}
