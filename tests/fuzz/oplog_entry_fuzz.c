/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Oplog entries: every part that is read lies in the entry; namespaces have at most 255 bytes; inner operations end.
 */
#include "oplog/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_inside(struct hf_bytes whole, struct hf_bytes part)
{
    HF_ASSERT(part.len == 0 || (part.data >= whole.data && part.len <= whole.len &&
                                part.data + part.len <= whole.data + whole.len));
}

static void look_at(struct hf_bytes whole, const struct hf_oplog_entry *entry)
{
    expect_inside(whole, entry->o);
    expect_inside(whole, entry->o2);
    expect_inside(whole, entry->ui);
    expect_inside(whole, entry->lsid);
    expect_inside(whole, entry->apply_ops);
    expect_inside(whole, hf_bytes_of_str(entry->ns));
    expect_inside(whole, hf_bytes_of_str(entry->command));
    expect_inside(whole, entry->id.value);
    for (unsigned i = 0; i < hf_oplog_space_count(entry); i++) {
        char room[HF_OPLOG_SPACE_BYTES];
        struct hf_str name;
        if (hf_oplog_space(entry, i, room, &name)) {
            HF_ASSERT(name.len <= HF_SLICE_NAMESPACE_MAX_BYTES);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hf_bytes whole = hf_bytes_of(data, size);
    struct hf_oplog_entry entry;
    struct hf_oplog_entry operation;
    struct hf_oplog_inner inner;
    struct hf_error err;
    bool more = true;
    size_t count = 0;
    if (hf_oplog_entry_read(whole, &entry, &err) != HF_ERR_OK) {
        return 0;
    }
    look_at(whole, &entry);
    hf_oplog_inner_begin(&entry, &inner);
    while (hf_oplog_inner_next(&inner, &operation, &more, &err) == HF_ERR_OK && more) {
        look_at(whole, &operation);
        count++;
        HF_ASSERT(count <= size && operation.depth <= HF_OPLOG_DEPTH_MAX);
    }
    return 0;
}
