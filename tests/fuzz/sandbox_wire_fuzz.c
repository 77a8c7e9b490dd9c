/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message from anywhere: what is let in is sound BSON of bounded depth, and its text can be written.
 */
#include "sandbox/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_sandbox_message_fini) struct hf_sandbox_message message = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(1 << 20);
    struct hf_sandbox_refusal no;
    size_t len;

    if (size >= HF_SANDBOX_WIRE_HEADER_BYTES) {
        (void)!hf_sandbox_wire_length(data, &len, &no);
    }
    if (hf_sandbox_wire_parse(hf_bytes_of(data, size), &message, &no) == 0) {
        HF_ASSERT(hf_sandbox_doc_valid(message.command));
        hf_sandbox_doc_text(message.command, &text);
        (void)hf_sandbox_doc_compare(message.command, message.command);
    }
    return 0;
}
