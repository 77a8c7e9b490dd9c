/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents of the catalog as records; the first byte chooses which. What was decoded, and a record whose texts are any
 * bytes at all, encodes into what decodes again: one that does not would take every list that it stands in with it.
 */
#include "backup/head.h"
#include "backup/member.h"
#include "backup/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define AGAIN(kind, record)                                                                        \
    do {                                                                                           \
        HF_CLEANUP(hf_json_drop) struct hf_json *coded = hf_##kind##_record_encode(record);        \
        struct hf_##kind##_record again;                                                           \
        HF_ASSERT(coded != NULL && hf_##kind##_record_decode(coded, &again, &err) == HF_ERR_OK);   \
    } while (0)

#define DECODE(kind)                                                                               \
    do {                                                                                           \
        struct hf_##kind##_record record;                                                          \
        if (hf_##kind##_record_decode(json, &record, &err) == HF_ERR_OK) {                         \
            AGAIN(kind, &record);                                                                  \
        }                                                                                          \
    } while (0)

static void decode(unsigned which, const struct hf_json *json)
{
    struct hf_error err;
    switch (which) {
    case 0:
        DECODE(cluster);
        break;
    case 1:
        DECODE(job);
        break;
    case 2:
        DECODE(snapshot);
        break;
    case 3:
        DECODE(restore);
        break;
    case 4:
        DECODE(task);
        break;
    case 5:
        DECODE(agent);
        break;
    case 'e':
        DECODE(event);
        break;
    case 'h':
        DECODE(head);
        break;
    case 'l':
        DECODE(link);
        break;
    default:
        DECODE(member);
        break;
    }
}

/* As snprintf leaves a text that did not fit. */
static void fill(char *to, size_t capacity, const uint8_t *data, size_t size)
{
    size_t len = size < capacity ? size : capacity - 1;
    for (size_t i = 0; i < len; i++) {
        to[i] = (char)data[i];
    }
    to[len] = '\0';
}

static bool is_letter(unsigned which)
{
    return which == 'e' || which == 'h' || which == 'l';
}

static void encode_any_text(const uint8_t *data, size_t size)
{
    static const struct hf_id id = {{1}};
    struct hf_error err;
    struct hf_member_record member = {.agent = id};
    struct hf_snapshot_record snapshot = {
        .id = id, .job = id, .project = id, .cluster = id, .store = id, .writer = id};
    struct hf_task_record task = {.id = id, .project = id, .job = id, .attempt = id};
    HF_ASSERT(size > 0 && data[0] != '\0');
    fill(member.host, sizeof member.host, data, size);
    fill(member.set_name, sizeof member.set_name, data, size);
    fill(member.state, sizeof member.state, data, size);
    fill(member.refusal, sizeof member.refusal, data, size);
    AGAIN(member, &member);
    fill(snapshot.set_name, sizeof snapshot.set_name, data, size);
    fill(snapshot.error, sizeof snapshot.error, data, size);
    fill(snapshot.fcv, sizeof snapshot.fcv, data, size);
    AGAIN(snapshot, &snapshot);
    fill(task.error, sizeof task.error, data, size);
    AGAIN(task, &task);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    struct hf_error err;
    if (size < 2) {
        return 0;
    }
    if (!is_letter(data[0]) && data[0] % 8 == 7) {
        if (data[1] != '\0') {
            encode_any_text(data + 1, size - 1);
        }
        return 0;
    }
    struct hf_str text = {.data = (const char *)data + 1, .len = size - 1};
    if (hf_json_decode(text, (size_t)1 << 20, &json, &err) == HF_ERR_OK) {
        decode(is_letter(data[0]) ? data[0] : data[0] % 8, json);
    }
    return 0;
}
