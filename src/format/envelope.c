/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 0 magic (8), 8 version LE16, 10 zero LE16, 12 body length LE32, 16 body, then XXH3-64 of all before it, LE64.
 */
#include "format/envelope.h"

#include "codec/hash.h"

enum hf_err hf_envelope_write(const struct hf_envelope *envelope, struct hf_bytes body,
                              struct hf_buf *out, struct hf_error *err)
{
    HF_ASSERT(strlen(envelope->magic) == HF_MAGIC_BYTES);
    if (body.len > envelope->max_bytes - HF_ENVELOPE_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "%s: %zu bytes, %zu are allowed", envelope->what,
                       body.len, envelope->max_bytes - HF_ENVELOPE_BYTES);
    }
    hf_buf_clear(out);
    if (hf_buf_append(out, hf_bytes_of(envelope->magic, HF_MAGIC_BYTES), err) != HF_ERR_OK ||
        hf_buf_append_le(out, envelope->version, 2, err) != HF_ERR_OK ||
        hf_buf_append_le(out, 0, 2, err) != HF_ERR_OK ||
        hf_buf_append_blob(out, body, err) != HF_ERR_OK ||
        hf_buf_append_le(out, hf_xxh3(hf_buf_bytes(out)), 8, err) != HF_ERR_OK) {
        return hf_wrap(err, "encode %s", envelope->what);
    }
    return HF_ERR_OK;
}

enum hf_err hf_envelope_read(const struct hf_envelope *envelope, struct hf_bytes in,
                             struct hf_bytes *body, struct hf_error *err)
{
    if (in.len > envelope->max_bytes) {
        return hf_fail(err, HF_ERR_LIMIT, "%s: %zu bytes, %zu are allowed", envelope->what, in.len,
                       envelope->max_bytes);
    }
    if (in.len < HF_ENVELOPE_BYTES || memcmp(in.data, envelope->magic, HF_MAGIC_BYTES) != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "not a %s", envelope->what);
    }
    unsigned version = hf_load_le16(in.data + 8);
    if (version != envelope->version) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "%s of format version %u, this program reads version %u", envelope->what,
                       version, (unsigned)envelope->version);
    }
    size_t before_sum = in.len - 8;
    if (hf_load_le16(in.data + 10) != 0 ||
        hf_load_le32(in.data + 12) != before_sum - HF_ENVELOPE_HEADER_BYTES) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: its header does not fit its length",
                       envelope->what);
    }
    if (hf_xxh3(hf_bytes_of(in.data, before_sum)) != hf_load_le64(in.data + before_sum)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: checksum does not match", envelope->what);
    }
    *body = hf_bytes_of(in.data + HF_ENVELOPE_HEADER_BYTES, before_sum - HF_ENVELOPE_HEADER_BYTES);
    return HF_ERR_OK;
}

enum hf_err hf_envelope_write_json(const struct hf_envelope *envelope, const struct hf_json *body,
                                   struct hf_buf *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(envelope->max_bytes);
    if (hf_json_encode(body, 0, &text, err) != HF_ERR_OK) {
        return hf_wrap(err, "encode %s", envelope->what);
    }
    return hf_envelope_write(envelope, hf_buf_bytes(&text), out, err);
}

enum hf_err hf_envelope_read_json(const struct hf_envelope *envelope, struct hf_bytes in,
                                  struct hf_json **body, struct hf_error *err)
{
    struct hf_bytes bytes;
    if (hf_envelope_read(envelope, in, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_str text = {.data = (const char *)bytes.data, .len = bytes.len};
    enum hf_err code = hf_json_decode(text, envelope->max_bytes, &json, err);
    if (code == HF_ERR_NO_MEMORY) {
        return hf_wrap(err, "%s", envelope->what); /* says nothing about what is stored */
    }
    if (code != HF_ERR_OK || hf_json_type(json) != HF_JSON_OBJECT) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: its body is no JSON object", envelope->what);
    }
    *body = HF_TAKE(json);
    return HF_ERR_OK;
}
