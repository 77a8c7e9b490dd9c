/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any text as the Range header of a download. The first 8 bytes are the archive's size. A part lies inside the archive and
 * holds a byte; who asks for it by its own numbers gets it again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup/link.h"
#include "base/alloc.h"
#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *header, uint64_t size_bytes)
{
    uint64_t from = 0, to = 0, from_again = 0, to_again = 0;
    char text[64];

    switch (hf_link_parse_range(header, size_bytes, &from, &to)) {
    case HF_LINK_RANGE_WHOLE:
        HF_ASSERT(from == 0 && to == size_bytes);
        break;
    case HF_LINK_RANGE_PART:
        HF_ASSERT(from < to && to <= size_bytes);
        (void)snprintf(text, sizeof text, "bytes=%" PRIu64 "-%" PRIu64, from, to - 1);
        HF_ASSERT(hf_link_parse_range(text, size_bytes, &from_again, &to_again) ==
                  HF_LINK_RANGE_PART);
        HF_ASSERT(from_again == from && to_again == to);
        break;
    case HF_LINK_RANGE_NONE:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_free) char *header = NULL;

    if (size < 8) {
        return 0;
    }
    header = hf_asprintf("%.*s", (int)(size - 8), (const char *)data + 8);
    if (header != NULL) {
        check(header, hf_load_le64(data));
    }
    return 0;
}
