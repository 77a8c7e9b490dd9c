/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire protocol: OP_MSG, and OP_QUERY for the first handshake of older drivers. Everything is checked here, so that
 * what comes out is sound BSON of bounded depth.
 */
#include "sandbox/wire.h"

#include "sandbox/value.h"

#define OP_REPLY 1
#define OP_QUERY 2004
#define OP_MSG 2013

#define FLAG_MORE_TO_COME 2U

static bool level_valid(bson_iter_t *iter, unsigned depth)
{
    while (bson_iter_next(iter)) {
        const bson_value_t *value = bson_iter_value(iter);
        bool scoped = BSON_ITER_HOLDS_CODEWSCOPE(iter);
        bson_iter_t child;
        bson_t inner;

        if ((scoped || BSON_ITER_HOLDS_DOCUMENT(iter) || BSON_ITER_HOLDS_ARRAY(iter)) &&
            (depth == 0 ||
             !(scoped ? bson_init_static(&inner, value->value.v_codewscope.scope_data,
                                         value->value.v_codewscope.scope_len)
                      : hf_sandbox_value_doc(value, &inner)) ||
             !bson_iter_init(&child, &inner) || !level_valid(&child, depth - 1))) {
            return false;
        }
    }
    return iter->err_off == 0;
}

bool hf_sandbox_doc_valid(const bson_t *doc)
{
    bson_iter_t iter;

    return bson_iter_init(&iter, doc) && level_valid(&iter, HF_SANDBOX_DOC_DEPTH_MAX);
}

/* The next document of the reader, as a view. */
static bool read_doc(struct hf_reader *reader, bson_t *out)
{
    struct hf_bytes bytes;

    if (hf_reader_left(reader) < 5) {
        return false;
    }
    bytes = hf_reader_bytes(reader, hf_load_le32(reader->data + reader->at));
    return bytes.len >= 5 && bson_init_static(out, bytes.data, bytes.len) &&
           hf_sandbox_doc_valid(out);
}

static bool read_text(struct hf_reader *reader, const char **out)
{
    size_t left = hf_reader_left(reader);

    *out = (const char *)reader->data + reader->at;
    return left > 0 && memchr(*out, 0, left) != NULL &&
           hf_reader_bytes(reader, strlen(*out) + 1).len > 0;
}

/* Kind 1: a name and documents, which become an array of that name in the command. */
static bool read_sequence(struct hf_reader *reader, bson_t *command)
{
    uint64_t size = hf_reader_le(reader, 4);
    struct hf_reader inner = hf_reader_of(hf_reader_bytes(reader, size < 5 ? 0 : size - 4));
    const char *name;
    bson_t array, doc;
    uint32_t index = 0;
    bool good = true;

    if (!read_text(&inner, &name) || bson_has_field(command, name)) {
        return false;
    }
    bson_append_array_begin(command, name, -1, &array);
    while (good && hf_reader_left(&inner) > 0) {
        good = read_doc(&inner, &doc);
        if (good) {
            hf_sandbox_append_doc(&array, &index, &doc);
        }
    }
    bson_append_array_end(command, &array);
    return good;
}

/* Flags, the body, and what goes with it. Checksums, which no driver sends unasked, are not taken. */
static bool read_msg(struct hf_reader *reader, struct hf_sandbox_message *out)
{
    uint64_t flags = hf_reader_le(reader, 4);
    bool good = (flags & ~FLAG_MORE_TO_COME & 0xffffU) == 0;
    bson_t body;

    out->no_reply = (flags & FLAG_MORE_TO_COME) != 0;
    good = good && hf_reader_u8(reader) == 0 && read_doc(reader, &body);
    out->command = good ? bson_copy(&body) : NULL;
    while (good && hf_reader_left(reader) > 0) {
        good = hf_reader_u8(reader) == 1 && read_sequence(reader, out->command);
    }
    return good;
}

/* Only commands come this way: the collection is "db.$cmd", and the query may be wrapped in $query. */
static bool read_query(struct hf_reader *reader, struct hf_sandbox_message *out)
{
    const char *ns;
    bson_t query, inner;
    size_t len;

    (void)hf_reader_le(reader, 4);
    if (!read_text(reader, &ns)) {
        return false;
    }
    (void)hf_reader_bytes(reader, 8);
    len = strlen(ns);
    if (!read_doc(reader, &query) || len < 5 || strcmp(ns + len - 5, ".$cmd") != 0) {
        return false;
    }
    out->legacy = true;
    out->command = bson_copy(hf_sandbox_get_doc(&query, "$query", &inner) ? &inner : &query);
    if (!bson_has_field(out->command, "$db")) {
        bson_append_utf8(out->command, "$db", -1, ns, (int)len - 5);
    }
    return true;
}

bool hf_sandbox_wire_parse(struct hf_bytes bytes, struct hf_sandbox_message *out)
{
    struct hf_reader reader = hf_reader_of(bytes);
    uint64_t len = hf_reader_le(&reader, 4);
    uint64_t op;

    *out = (struct hf_sandbox_message){.request_id = (uint32_t)hf_reader_le(&reader, 4)};
    (void)hf_reader_le(&reader, 4);
    op = hf_reader_le(&reader, 4);
    return !reader.failed && len == bytes.len &&
           (op == OP_MSG     ? read_msg(&reader, out)
            : op == OP_QUERY ? read_query(&reader, out)
                             : false);
}

void hf_sandbox_message_fini(struct hf_sandbox_message *message)
{
    bson_destroy(HF_TAKE(message->command));
}

enum hf_err hf_sandbox_wire_reply(const struct hf_sandbox_message *message, uint32_t request_id,
                                  const bson_t *reply, struct hf_buf *out, struct hf_error *err)
{
    size_t len = HF_SANDBOX_WIRE_HEADER_BYTES + (message->legacy ? 20 : 5);
    uint8_t head[HF_SANDBOX_WIRE_HEADER_BYTES + 20] = {0};

    hf_store_le32(head, (uint32_t)len + reply->len);
    hf_store_le32(head + 4, request_id);
    hf_store_le32(head + 8, message->request_id);
    hf_store_le32(head + 12, message->legacy ? OP_REPLY : OP_MSG);
    if (message->legacy) {
        hf_store_le32(head + 16, 8); /* AwaitCapable, as every server says */
        hf_store_le32(head + 32, 1); /* one document */
    }
    if (hf_buf_append(out, hf_bytes_of(head, len), err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_buf_append(out, hf_bytes_of(bson_get_data(reply), reply->len), err);
}
