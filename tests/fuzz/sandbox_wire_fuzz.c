/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message from anywhere: what is let in is sound BSON of bounded depth, and its text can be written.
 */
#include "sandbox/value.h"
#include "sandbox/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_sandbox_message_fini) struct hf_sandbox_message message = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(1 << 20);

    if (hf_sandbox_wire_parse(hf_bytes_of(data, size), &message)) {
        HF_ASSERT(hf_sandbox_doc_valid(message.command));
        hf_sandbox_doc_text(message.command, &text);
        (void)hf_sandbox_doc_compare(message.command, message.command);
    }
    return 0;
}
