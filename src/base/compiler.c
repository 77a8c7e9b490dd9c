/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens when an assertion fails: one line on stderr and abort. It must not allocate, lock or
 * log, because any of these may be what is broken.
 */
#include "base/compiler.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

HF_NORETURN void hf_assert_failed(const char *condition, const char *file, int line)
{
    (void)dprintf(STDERR_FILENO, "holdfast: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}
