/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates from anywhere: what is read lies within the years that are shown, and reads back the same.
 */
#include "os/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_str text = {.data = (const char *)data, .len = size};
    char shown[HF_TIME_TEXT_BYTES];
    uint64_t seconds, again;

    if (hf_time_parse(text, &seconds) && seconds <= UINT64_C(253402300799)) {
        hf_time_format(seconds, shown);
        HF_ASSERT(hf_time_parse(hf_str_of(shown), &again) && again == seconds);
    }
    return 0;
}
