/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire protocol: OP_MSG, and OP_QUERY for the first handshake of older drivers. Everything is checked here, so that
 * what comes out is sound BSON of bounded depth.
 */
#include "sandbox/wire.h"

#include <string.h>

#define OP_REPLY 1
#define OP_QUERY 2004
#define OP_MSG 2013

#define FLAG_CHECKSUM 1U
#define FLAG_MORE_TO_COME 2U
#define FLAG_EXHAUST_ALLOWED (1U << 16)

static bool level_valid(bson_iter_t *iter, unsigned depth)
{
    while (bson_iter_next(iter)) {
        bson_iter_t child;

        if (BSON_ITER_HOLDS_DOCUMENT(iter) || BSON_ITER_HOLDS_ARRAY(iter)) {
            if (depth == 0 || !bson_iter_recurse(iter, &child) || !level_valid(&child, depth - 1)) {
                return false;
            }
        } else if (BSON_ITER_HOLDS_CODEWSCOPE(iter)) {
            const bson_value_t *value = bson_iter_value(iter);
            bson_t scope;
            if (depth == 0 ||
                !bson_init_static(&scope, value->value.v_codewscope.scope_data,
                                  value->value.v_codewscope.scope_len) ||
                !bson_iter_init(&child, &scope) || !level_valid(&child, depth - 1)) {
                return false;
            }
        }
    }
    return iter->err_off == 0;
}

bool hf_sandbox_doc_valid(const bson_t *doc)
{
    bson_iter_t iter;

    return bson_iter_init(&iter, doc) && level_valid(&iter, HF_SANDBOX_DOC_DEPTH_MAX);
}

int32_t hf_sandbox_wire_length(const uint8_t header[HF_SANDBOX_WIRE_HEADER_BYTES], size_t *out,
                               struct hf_sandbox_refusal *no)
{
    uint32_t length = hf_load_le32(header);

    if (length < HF_SANDBOX_WIRE_HEADER_BYTES || length > HF_SANDBOX_MESSAGE_MAX_BYTES) {
        return hf_sandbox_refuse(no, HF_SANDBOX_PROTOCOL_ERROR, "message of %u bytes", length);
    }
    *out = length;
    return 0;
}

/* The next document of the reader, as a view. */
static bool read_doc(struct hf_reader *reader, bson_t *out)
{
    struct hf_bytes bytes;
    size_t len;

    if (hf_reader_left(reader) < 5) {
        return false;
    }
    len = hf_load_le32(reader->data + reader->at);
    bytes = hf_reader_bytes(reader, len);
    return len >= 5 && !reader->failed && bson_init_static(out, bytes.data, bytes.len) &&
           hf_sandbox_doc_valid(out);
}

static bool read_text(struct hf_reader *reader, const char **out)
{
    size_t left = hf_reader_left(reader);
    const uint8_t *start = reader->data + reader->at;
    const uint8_t *end = left == 0 ? NULL : memchr(start, 0, left);

    if (end == NULL) {
        return false;
    }
    *out = (const char *)start;
    (void)hf_reader_bytes(reader, (size_t)(end - start) + 1);
    return true;
}

/* Kind 1: a name and documents, which become an array of that name in the command. */
static bool read_sequence(struct hf_reader *reader, bson_t *command)
{
    uint64_t size = hf_reader_le(reader, 4);
    struct hf_reader inner;
    const char *name;
    bson_t array;
    bson_t doc;
    uint32_t index = 0;
    bool good = true;

    if (reader->failed || size < 5) {
        return false;
    }
    inner = hf_reader_of(hf_reader_bytes(reader, (size_t)size - 4));
    if (reader->failed || !read_text(&inner, &name) || bson_has_field(command, name)) {
        return false;
    }
    bson_append_array_begin(command, name, -1, &array);
    while (good && hf_reader_left(&inner) > 0) {
        good = read_doc(&inner, &doc);
        if (good) {
            bson_value_t value = hf_sandbox_value_of_doc(&doc);
            hf_sandbox_append_element(&array, &index, &value);
        }
    }
    bson_append_array_end(command, &array);
    return good;
}

/* CRC-32C, bit by bit: no driver sends it unasked. */
static uint32_t crc32c(struct hf_bytes bytes)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= bytes.data[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1U) != 0 ? UINT32_C(0x82f63b78) : 0);
        }
    }
    return ~crc;
}

static bool read_msg(struct hf_bytes bytes, struct hf_sandbox_message *out)
{
    struct hf_reader reader = hf_reader_of(bytes);
    uint32_t flags;
    bool body_found = false;
    bson_t body;
    struct hf_reader again;

    (void)hf_reader_bytes(&reader, HF_SANDBOX_WIRE_HEADER_BYTES);
    flags = (uint32_t)hf_reader_le(&reader, 4);
    if (reader.failed || (flags & ~(FLAG_CHECKSUM | FLAG_MORE_TO_COME) & 0xffffU) != 0) {
        return false;
    }
    if ((flags & FLAG_CHECKSUM) != 0) {
        if (hf_reader_left(&reader) < 4 || crc32c((struct hf_bytes){bytes.data, bytes.len - 4}) !=
                                               hf_load_le32(bytes.data + bytes.len - 4)) {
            return false;
        }
        reader.len -= 4;
    }
    out->no_reply = (flags & FLAG_MORE_TO_COME) != 0;
    out->command = bson_new();
    /* The body first, wherever it stands: a sequence becomes one of its fields. */
    again = reader;
    while (hf_reader_left(&reader) > 0) {
        uint8_t kind = hf_reader_u8(&reader);
        if (kind == 0) {
            if (body_found || !read_doc(&reader, &body)) {
                return false;
            }
            body_found = true;
            bson_concat(out->command, &body);
        } else if (kind == 1 && hf_reader_left(&reader) >= 4) {
            (void)hf_reader_bytes(&reader, hf_load_le32(reader.data + reader.at));
        } else {
            return false;
        }
    }
    while (body_found && !reader.failed && hf_reader_left(&again) > 0) {
        if (hf_reader_u8(&again) == 0 ? !read_doc(&again, &body)
                                      : !read_sequence(&again, out->command)) {
            return false;
        }
    }
    return body_found && !reader.failed;
}

/* Only commands come this way: the collection is "db.$cmd", and the query may be wrapped in $query. */
static bool read_query(struct hf_bytes bytes, struct hf_sandbox_message *out)
{
    struct hf_reader reader = hf_reader_of(bytes);
    const char *ns;
    bson_t query;
    bson_t inner;
    size_t db_len;

    (void)hf_reader_bytes(&reader, HF_SANDBOX_WIRE_HEADER_BYTES + 4);
    if (reader.failed || !read_text(&reader, &ns)) {
        return false;
    }
    (void)hf_reader_bytes(&reader, 8);
    db_len = strlen(ns);
    if (reader.failed || !read_doc(&reader, &query) || db_len < 5 ||
        strcmp(ns + db_len - 5, ".$cmd") != 0) {
        return false;
    }
    out->legacy = true;
    out->command = bson_copy(hf_sandbox_get_doc(&query, "$query", &inner) ? &inner : &query);
    if (!bson_has_field(out->command, "$db")) {
        bson_append_utf8(out->command, "$db", -1, ns, (int)db_len - 5);
    }
    return true;
}

int32_t hf_sandbox_wire_parse(struct hf_bytes bytes, struct hf_sandbox_message *out,
                              struct hf_sandbox_refusal *no)
{
    bool good = false;
    int32_t op;

    *out = (struct hf_sandbox_message){0};
    if (bytes.len < HF_SANDBOX_WIRE_HEADER_BYTES || hf_load_le32(bytes.data) != bytes.len) {
        return hf_sandbox_refuse(no, HF_SANDBOX_PROTOCOL_ERROR,
                                 "message of another length than it says");
    }
    out->request_id = (int32_t)hf_load_le32(bytes.data + 4);
    op = (int32_t)hf_load_le32(bytes.data + 12);
    if (op == OP_MSG) {
        good = read_msg(bytes, out);
    } else if (op == OP_QUERY) {
        good = read_query(bytes, out);
    } else {
        return hf_sandbox_refuse(no, HF_SANDBOX_PROTOCOL_ERROR, "operation %d is not known", op);
    }
    if (!good || out->command->len > HF_SANDBOX_MESSAGE_MAX_BYTES + 16384) {
        hf_sandbox_message_fini(out);
        return hf_sandbox_refuse(no, HF_SANDBOX_INVALID_BSON, "malformed message");
    }
    return 0;
}

void hf_sandbox_message_fini(struct hf_sandbox_message *message)
{
    bson_destroy(message->command);
    message->command = NULL;
}

enum hf_err hf_sandbox_wire_reply(const struct hf_sandbox_message *message, int32_t request_id,
                                  const bson_t *reply, struct hf_buf *out, struct hf_error *err)
{
    size_t extra = message->legacy ? 20 : 5;
    uint8_t head[HF_SANDBOX_WIRE_HEADER_BYTES + 20] = {0};

    hf_store_le32(head, (uint32_t)(HF_SANDBOX_WIRE_HEADER_BYTES + extra + reply->len));
    hf_store_le32(head + 4, (uint32_t)request_id);
    hf_store_le32(head + 8, (uint32_t)message->request_id);
    hf_store_le32(head + 12, message->legacy ? OP_REPLY : OP_MSG);
    if (message->legacy) {
        hf_store_le32(head + 16, 8);      /* AwaitCapable, as every server says */
        hf_store_le32(head + 16 + 16, 1); /* one document */
    }
    if (hf_buf_append(out, hf_bytes_of(head, HF_SANDBOX_WIRE_HEADER_BYTES + extra), err) !=
            HF_ERR_OK ||
        hf_buf_append(out, hf_bytes_of(bson_get_data(reply), reply->len), err) != HF_ERR_OK) {
        return hf_wrap(err, "answer");
    }
    return HF_ERR_OK;
}
