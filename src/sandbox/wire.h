/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the wire protocol: bytes to a command document and back. Knows no socket and no command.
 */
#ifndef HF_SANDBOX_WIRE_H
#define HF_SANDBOX_WIRE_H

#include <bson/bson.h>

#include "base/buf.h"

#define HF_SANDBOX_WIRE_HEADER_BYTES 16
#define HF_SANDBOX_MESSAGE_MAX_BYTES 48000000
#define HF_SANDBOX_DOC_DEPTH_MAX 200

struct hf_sandbox_message {
    uint32_t request_id;
    bool legacy;     /* OP_QUERY: answered by OP_REPLY */
    bool no_reply;   /* moreToCome: unacknowledged writes */
    bson_t *command; /* owned; sections of kind 1 stand in it as arrays; legacy: with $db */
};

/* A whole message, header included. False for anything malformed; *out is to be ended in any case. */
HF_MUST_CHECK bool hf_sandbox_wire_parse(struct hf_bytes bytes, struct hf_sandbox_message *out);
void hf_sandbox_message_fini(struct hf_sandbox_message *message);
HF_CLEANUP_DEFINE_VALUE(hf_sandbox_message_fini, struct hf_sandbox_message)
/* The answer to message, header included; appended to out. */
HF_MUST_CHECK enum hf_err hf_sandbox_wire_reply(const struct hf_sandbox_message *message,
                                                uint32_t request_id, const bson_t *reply,
                                                struct hf_buf *out, struct hf_error *err);
/* True when every element can be read to its end and nothing nests deeper than the server allows. */
bool hf_sandbox_doc_valid(const bson_t *doc);

#endif
