/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent's state directory as an earlier life, or anybody, left it; the first byte chooses the file: a note of a task,
 * of a cursor, or the agent's id.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/state.h"
#include "base/alloc.h"
#include "os/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *directory;

static void remove_directory(void)
{
    struct hf_error err;
    (void)!hf_fs_remove_tree(directory, &err);
}

static void write_file(const char *name, const uint8_t *data, size_t size)
{
    HF_CLEANUP(hf_free) char *path = hf_path_join(directory, name);
    FILE *file = fopen(path, "wb");
    HF_ASSERT(file != NULL && fwrite(data, 1, size, file) == size);
    fclose(file);
}

static void read_all(void)
{
    HF_CLEANUP(hf_agent_state_close) struct hf_agent_state *state = NULL;
    HF_CLEANUP(hf_agent_noted_fini) struct hf_agent_noted noted = {.count = 0};
    HF_CLEANUP(hf_agent_cursors_fini) struct hf_agent_cursors cursors = {.count = 0};
    struct hf_error err;
    if (hf_agent_state_open(directory, &state, &err) != HF_ERR_OK) {
        return;
    }
    HF_ASSERT(!hf_id_is_none(hf_agent_state_id(state)));
    HF_ASSERT(hf_agent_state_tasks(state, &noted, &err) == HF_ERR_OK);
    HF_ASSERT(hf_agent_state_cursors(state, &cursors, &err) == HF_ERR_OK);
    for (size_t i = 0; i < noted.count; i++) {
        HF_ASSERT(noted.tasks[i].keyring.data_key_count == 0); /* keys are never noted */
    }
    for (size_t i = 0; i < cursors.count; i++) {
        HF_ASSERT(strlen(cursors.notes[i].lsid) < sizeof cursors.notes[i].lsid);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"tasks/aaaaaaaaaaaaaaaaaaaaaaaa",
                                        "cursors/aaaaaaaaaaaaaaaaaaaaaaaa", "agent.id"};
    struct hf_error err;
    if (size < 1) {
        return 0;
    }
    if (directory == NULL) {
        HF_ASSERT(hf_fs_make_temp_dir("hf-fuzz", &directory, &err) == HF_ERR_OK);
        (void)atexit(remove_directory);
        read_all();
    }
    write_file("agent.id", (const uint8_t *)"bbbbbbbbbbbbbbbbbbbbbbbb\n", 25);
    for (size_t i = 0; i < HF_ARRAY_LEN(names); i++) {
        if (i != 2) {
            HF_CLEANUP(hf_free) char *path = hf_path_join(directory, names[i]);
            (void)!hf_fs_remove(path, &err);
        }
    }
    write_file(names[data[0] % HF_ARRAY_LEN(names)], data + 1, size - 1);
    read_all();
    return 0;
}
