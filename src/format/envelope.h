/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of every small object: magic, version, length, body, checksum (docs/format/objects.md). For the files of
 * this room; knows no body.
 */
#ifndef HF_FORMAT_ENVELOPE_H
#define HF_FORMAT_ENVELOPE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "codec/json.h"

#define HF_MAGIC_BYTES 8
#define HF_ENVELOPE_HEADER_BYTES 16
#define HF_ENVELOPE_BYTES (HF_ENVELOPE_HEADER_BYTES + 8)

struct hf_envelope {
    const char *magic; /* 8 characters */
    const char *what;  /* for messages: "claim" */
    uint16_t version;
    size_t max_bytes; /* of the whole object */
};

/* Clears out, then writes the whole object. */
HF_MUST_CHECK enum hf_err hf_envelope_write(const struct hf_envelope *envelope,
                                            struct hf_bytes body, struct hf_buf *out,
                                            struct hf_error *err);
/* The body is borrowed from in. CORRUPT, or UNSUPPORTED naming the version. */
HF_MUST_CHECK enum hf_err hf_envelope_read(const struct hf_envelope *envelope, struct hf_bytes in,
                                           struct hf_bytes *body, struct hf_error *err);
/* The same around one JSON object. */
HF_MUST_CHECK enum hf_err hf_envelope_write_json(const struct hf_envelope *envelope,
                                                 const struct hf_json *body, struct hf_buf *out,
                                                 struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_envelope_read_json(const struct hf_envelope *envelope,
                                                struct hf_bytes in, struct hf_json **body,
                                                struct hf_error *err);

#endif
