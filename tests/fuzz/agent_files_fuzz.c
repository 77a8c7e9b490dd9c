/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark of a replay; the agent's journal as it is, with its header put right, and with the checksums of its records as well; and the engine's
 * lines, from a file of the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "oplog/replay_internal.h"
#include "os/fs.h"
#include "snapshot/capture.h"
#include "snapshot/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *directory;

static void remove_directory(void)
{
    struct hf_error err;
    if (hf_fs_remove_tree(directory, &err) != HF_ERR_OK) {
        fprintf(stderr, "%s\n", err.message);
    }
}

/* A file of head, then the input. */
static char *write_file(const char *name, struct hf_bytes head, struct hf_bytes rest)
{
    struct hf_error err;
    if (directory == NULL) {
        HF_ASSERT(hf_fs_make_temp_dir("hf-fuzz", &directory, &err) == HF_ERR_OK);
        (void)atexit(remove_directory);
    }
    char *path = hf_path_join(directory, name);
    FILE *file = fopen(path, "wb");
    HF_ASSERT(file != NULL);
    HF_ASSERT(fwrite(head.data, 1, head.len, file) == head.len);
    HF_ASSERT(fwrite(rest.data, 1, rest.len, file) == rest.len);
    fclose(file);
    return path;
}

static void find_nodes(struct hf_journal_reader *journal)
{
    static const char *const paths[] = {"a", "b/c.wt"};
    struct hf_error err;
    struct hf_node node;
    for (size_t p = 0; p < HF_ARRAY_LEN(paths); p++) {
        for (uint64_t at = 0; at < 2; at++) {
            bool there = false;
            const struct hf_journal_place place = {
                .path = hf_str_of(paths[p]), .block_bytes = 65536, .node = at};
            HF_ASSERT(hf_journal_find(journal, &place, &node, &there, &err) == HF_ERR_OK);
            for (unsigned i = 0; there && i < node.count; i++) {
                uint64_t capture = node.refs[i].address.capture;
                HF_ASSERT(capture == 0 || capture == 5);
            }
        }
    }
}

static void read_journal(struct hf_bytes input)
{
    const struct hf_journal_id id = {.capture = 5};
    uint8_t head[56] = "HFjournl\1";
    struct hf_error err;
    HF_CLEANUP(hf_journal_drop) struct hf_journal_reader *journal = NULL;
    hf_store_le64(head + 24, id.capture);
    hf_store_le64(head + 48, hf_xxh3(hf_bytes_of(head, 48)));
    HF_CLEANUP(hf_free) char *path = write_file("journal", hf_bytes_of(head, sizeof head), input);
    HF_ASSERT(hf_journal_open(path, &id, &journal, &err) == HF_ERR_OK);
    find_nodes(journal);
}

/* A journal that may be of another attempt, cut off, or none. */
static void read_any_journal(struct hf_bytes input)
{
    const struct hf_journal_id id = {.capture = 5};
    const struct hf_bytes nothing = {.data = (const uint8_t *)""};
    struct hf_error err;
    HF_CLEANUP(hf_journal_drop) struct hf_journal_reader *journal = NULL;
    HF_CLEANUP(hf_free) char *path = write_file("journal", nothing, input);
    if (hf_journal_open(path, &id, &journal, &err) == HF_ERR_OK) {
        find_nodes(journal);
    } else {
        HF_ASSERT(err.code == HF_ERR_NOT_FOUND);
    }
}

/* The checksum of each record that is whole. */
static void mend_records(uint8_t *bytes, size_t size)
{
    size_t at = 0;
    while (size - at >= 12 && hf_load_le32(bytes + at) <= size - at - 12) {
        size_t len = hf_load_le32(bytes + at);
        hf_store_le64(bytes + at + 4, hf_xxh3(hf_bytes_of(bytes + at + 12, len)));
        at += 12 + len;
    }
}

/* Of a replay: what is believed can be written again. */
static void read_mark(struct hf_bytes input)
{
    const struct hf_bytes nothing = {.data = (const uint8_t *)""};
    struct hf_replay_mark mark;
    struct hf_error err;
    hf_free(write_file(HF_REPLAY_MARK, nothing, input));
    if (hf_replay_mark_read(directory, &mark, &err) == HF_ERR_OK) {
        HF_ASSERT(hf_replay_mark_write(directory, &mark, &err) == HF_ERR_OK);
    } else {
        HF_ASSERT(err.code == HF_ERR_LOST);
    }
}

static void read_lines(struct hf_bytes input)
{
    static const struct hf_keyring ring;
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files files = {.items = NULL};
    struct hf_error err;
    hf_free(write_file("WiredTiger.backup", (struct hf_bytes){.data = (const uint8_t *)""}, input));
    HF_ASSERT(hf_capture_files_add(&files, "a.wt", 1, NULL, &err) == HF_ERR_OK);
    HF_ASSERT(hf_capture_read_lines(&files, directory, &ring, &err) == HF_ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 20) {
        return 0;
    }
    HF_CLEANUP(hf_free) uint8_t *copy = hf_alloc(size + 1);
    HF_ASSERT(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    if (size <= 8192) {
        read_mark(hf_bytes_of(data, size));
    }
    read_any_journal(hf_bytes_of(data, size));
    read_journal(hf_bytes_of(data, size));
    mend_records(copy, size);
    read_journal(hf_bytes_of(copy, size));
    read_lines(hf_bytes_of(data, size));
    return 0;
}
