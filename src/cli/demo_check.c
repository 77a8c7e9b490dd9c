/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it what it was? The restored directory, opened by a fresh process, against what was recorded.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/demo_internal.h"
#include "os/fs.h"

static bool is_system(const char *database)
{
    return strcmp(database, "admin") == 0 || strcmp(database, "config") == 0 ||
           strcmp(database, "local") == 0;
}

static bool is_journal(const char *database)
{
    return strcmp(database, "journal") == 0;
}

static void differ(struct hf_demo_verdict *verdict, const char *database, const char *collection,
                   const char *how)
{
    if (verdict->first_difference[0] == '\0') {
        (void)snprintf(verdict->first_difference, sizeof verdict->first_difference,
                       "%.100s.%.200s %.100s", database, collection, how);
    }
}

/* Every collection of expected (of the journal only, or of all others) stands in restored with the same hash. */
static void compare_side(const struct hf_mongo_data *expected, const struct hf_mongo_data *restored,
                         bool journal, struct hf_demo_verdict *verdict)
{
    for (size_t i = 0; i < expected->database_count; i++) {
        const struct hf_mongo_database *database = &expected->databases[i];
        if (is_system(database->name) || is_journal(database->name) != journal) {
            continue;
        }
        for (size_t k = 0; k < database->collection_count; k++) {
            const struct hf_mongo_collection *want = &database->collections[k];
            const struct hf_mongo_collection *have =
                hf_mongo_data_collection(restored, database->name, want->name);
            verdict->collections++;
            if (have == NULL) {
                differ(verdict, database->name, want->name, "is missing");
            } else if (strcmp(have->md5, want->md5) != 0) {
                differ(verdict, database->name, want->name, "has another content");
            } else {
                verdict->equal++;
            }
        }
    }
}

/* What is in restored and should not be there. */
static void find_surplus(const struct hf_mongo_data *restored, const struct hf_mongo_data *loaded,
                         const struct hf_mongo_data *journal, struct hf_demo_verdict *verdict)
{
    for (size_t i = 0; i < restored->database_count; i++) {
        const struct hf_mongo_database *database = &restored->databases[i];
        if (is_system(database->name)) {
            continue;
        }
        const struct hf_mongo_data *expected = is_journal(database->name) ? journal : loaded;
        for (size_t k = 0; k < database->collection_count; k++) {
            if (hf_mongo_data_collection(expected, database->name, database->collections[k].name) ==
                NULL) {
                verdict->collections++;
                differ(verdict, database->name, database->collections[k].name,
                       "should not be there");
            }
        }
    }
}

/* Starts a process on the directory, reads, stops. The directory is only looked at. */
static enum hf_err read_directory(struct hf_demo *demo, const char *directory,
                                  struct hf_mongo_data *out, struct hf_error *err)
{
    HF_CLEANUP(hf_mongod_drop) struct hf_mongod *mongod = NULL;
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    HF_CLEANUP(hf_free) char *log = hf_asprintf("%s.log", directory);
    const struct hf_mongod_options options = {
        .program = demo->program, .dbpath = directory, .log_path = log, .for_looking = true};
    const struct hf_mongo_data_options all = {.cancel = hf_cli_cancel()};

    if (hf_mongod_start(&options, hf_cli_cancel(), &mongod, err) != HF_ERR_OK ||
        hf_mongod_client(mongod, &client, err) != HF_ERR_OK ||
        hf_mongo_data_read(client, &all, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "open %s", directory);
    }
    return HF_ERR_OK;
}

/* The journal's state at the time, in a server of its own. */
static enum hf_err read_journal(struct hf_demo *demo, const struct hf_demo_expectation *expected,
                                struct hf_mongo_data *out, struct hf_error *err)
{
    HF_CLEANUP(hf_mongod_drop) struct hf_mongod *mongod = NULL;
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    HF_CLEANUP(hf_free) char *dbpath = hf_demo_path(demo, "journal");
    HF_CLEANUP(hf_free) char *log = hf_demo_path(demo, "journal.log");
    const struct hf_mongod_options options = {
        .program = demo->program, .dbpath = dbpath, .log_path = log};
    const struct hf_mongo_data_options all = {.cancel = hf_cli_cancel()};

    if (dbpath == NULL || log == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_mongod_start(&options, hf_cli_cancel(), &mongod, err) != HF_ERR_OK ||
        hf_mongod_client(mongod, &client, err) != HF_ERR_OK ||
        hf_demo_writer_replay(expected->writer, expected->ts, client, err) != HF_ERR_OK ||
        hf_mongo_data_read(client, &all, out, err) != HF_ERR_OK) {
        return hf_wrap(err, "replay the journal");
    }
    hf_mongod_drop(HF_TAKE(mongod));
    return hf_fs_remove_tree(dbpath, err);
}

enum hf_err hf_demo_compare(struct hf_demo *demo, const struct hf_demo_expectation *expected,
                            struct hf_demo_verdict *out, struct hf_error *err)
{
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data restored = {0};
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data journal = {0};

    *out = (struct hf_demo_verdict){.collections = 0};
    if (read_directory(demo, expected->directory, &restored, err) != HF_ERR_OK ||
        read_journal(demo, expected, &journal, err) != HF_ERR_OK) {
        return err->code;
    }
    compare_side(&expected->loaded->data, &restored, false, out);
    compare_side(&journal, &restored, true, out);
    find_surplus(&restored, &expected->loaded->data, &journal, out);
    return HF_ERR_OK;
}
