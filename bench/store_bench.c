/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rooms at work with no agent, no server and no network: a directory into a store and back, measured.
 *
 *   store_bench capture DIR STORE [--parent] [--read-all] [--workers N]
 *   store_bench restore STORE ID DIR [--onto] [--workers N]
 *   store_bench verify STORE [--workers N]
 *
 * Prints one JSON object. The steps are the agent's and the server's (store-format.md 5): claim, capture, check,
 * manifest, second look, end of the claim; compressed and encrypted. STORE is a directory, made when missing; its key
 * lies beside it in STORE.key, what an agent keeps in STORE.state. --parent captures against the newest snapshot.
 * Must not know how the rooms do it: whatever is measured here is what the product does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "codec/json.h"
#include "format/claim.h"
#include "os/clock.h"
#include "os/fs.h"
#include "snapshot/capture.h"
#include "snapshot/commit.h"
#include "snapshot/keys.h"
#include "snapshot/list.h"
#include "snapshot/restore.h"
#include "snapshot/verify.h"

#define NAMES_MAX ((size_t)1000000)
#define DEPTH_MAX 64

struct wish {
    const char *work;
    const char *places[3];
    size_t place_count;
    bool parent, read_all, onto;
    unsigned workers;
};

/* ---- What a run cost ---- */

struct cost {
    uint64_t began_ms;
    double began_cpu_s;
};

static double cpu_seconds(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static struct cost cost_begin(void)
{
    return (struct cost){.began_ms = hf_clock_mono_ms(), .began_cpu_s = cpu_seconds()};
}

static double seconds_since(uint64_t began_ms)
{
    return (double)(hf_clock_mono_ms() - began_ms) / 1e3;
}

/* VmHWM and not ru_maxrss: the latter remembers the size of whoever started this program. */
static uint64_t peak_bytes(void)
{
    char line[256];
    uint64_t kib = 0;
    FILE *status = fopen("/proc/self/status", "re");

    while (status != NULL && kib == 0 && fgets(line, sizeof line, status) != NULL) {
        struct hf_str text = hf_str_of(line);
        if (hf_str_starts_with(text, hf_str_of("VmHWM:"))) {
            kib = strtoull(line + strlen("VmHWM:"), NULL, 10);
        }
    }
    if (status != NULL) {
        (void)fclose(status);
    }
    return kib * 1024;
}

static void cost_end(const struct cost *cost, uint64_t bytes, struct hf_json *json)
{
    hf_json_set_u64(json, "bytes", bytes);
    hf_json_set_real(json, "seconds", seconds_since(cost->began_ms));
    hf_json_set_real(json, "cpu_seconds", cpu_seconds() - cost->began_cpu_s);
    hf_json_set_u64(json, "peak_bytes", peak_bytes());
}

static enum hf_err print(const struct hf_json *json, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 20);

    if (hf_json_encode(json, 0, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)printf("%s\n", hf_buf_text(&text));
    return HF_ERR_OK;
}

/* ---- Store and keys ---- */

struct opened {
    struct hf_store *store;
    struct hf_storemark mark;
    struct hf_store_key key;
};

static void opened_fini(struct opened *opened)
{
    hf_store_close(opened->store);
    hf_store_key_wipe(&opened->key);
}
HF_CLEANUP_DEFINE_VALUE(opened_fini, struct opened)

/* As the server makes them: time, then random. */
static struct hf_id new_id(void)
{
    struct hf_id id;
    uint64_t now_s = hf_clock_wall_ms() / 1000;

    hf_random_bytes(id.bytes, sizeof id.bytes);
    for (size_t i = 0; i < 4; i++) {
        id.bytes[i] = (uint8_t)(now_s >> (24 - 8 * i));
    }
    return id;
}

static enum hf_err open_store(const char *path, bool create, struct opened *out,
                              struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *key_file = hf_asprintf("%s.key", path);
    const struct hf_store_fs_options fs = {.root = path, .create = create};

    if (key_file == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_store_fs_open(&fs, &out->store, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_store_open_options open = {.key_file = key_file};
    enum hf_err code = hf_store_keys_open(out->store, &open, &out->mark, &out->key, err);
    if (code != HF_ERR_NOT_FOUND || !create) {
        return code;
    }
    const struct hf_store_create_options make = {
        .installation = new_id(), .key_file = key_file, .now_s = hf_clock_wall_ms() / 1000};
    return hf_store_keys_create(out->store, &make, &out->mark, &out->key, err);
}

/* A store of the bench has one job. */
static enum hf_err open_job(struct opened *opened, bool create, struct hf_keyring *out,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_job_list_fini) struct hf_job_list jobs = {.jobs = NULL};

    if (hf_list_jobs(opened->store, &jobs, err) != HF_ERR_OK) {
        return err->code;
    }
    if (jobs.count > 0) {
        return hf_job_keys_load(opened->store, &opened->key, &jobs.jobs[0], out, err);
    }
    if (!create) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "the store holds no job");
    }
    struct hf_id job = new_id();
    return hf_job_keys_create(opened->store, &opened->mark, &opened->key, &job, out, err);
}

/* ---- Files ---- */

static enum hf_err add_dir(struct hf_capture_files *files, const char *root, const char *below,
                           unsigned depth, struct hf_error *err);

static enum hf_err add_path(struct hf_capture_files *files, const char *root, const char *path,
                            unsigned depth, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *full = hf_path_join(root, path);
    struct hf_capture_file *added = NULL;
    struct hf_file_info info;

    if (full == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (hf_fs_lstat(full, &info, err) != HF_ERR_OK) {
        return err->code;
    }
    if (info.kind == HF_FILE_DIR) {
        return add_dir(files, root, path, depth + 1, err);
    }
    if (info.kind != HF_FILE_REGULAR) {
        return hf_fail(err, HF_ERR_INVALID, "%s: not a regular file", full);
    }
    if (hf_capture_files_add(files, path, info.size_bytes, &added, err) != HF_ERR_OK) {
        return err->code;
    }
    added->always_read = strncmp(path, "journal/", 8) == 0 || strcmp(path, "WiredTiger") == 0 ||
                         strcmp(path, "WiredTiger.backup") == 0;
    return HF_ERR_OK;
}

static enum hf_err add_dir(struct hf_capture_files *files, const char *root, const char *below,
                           unsigned depth, struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *full = *below == '\0' ? hf_strdup(root) : hf_path_join(root, below);
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {.names = NULL};

    if (full == NULL || depth > DEPTH_MAX) {
        return hf_fail(err, HF_ERR_LIMIT, "%s: too deep, or no memory", below);
    }
    if (hf_fs_list(full, NAMES_MAX, &names, err) != HF_ERR_OK) {
        return err->code;
    }
    for (size_t i = 0; i < names.count; i++) {
        HF_CLEANUP(hf_free)
        char *path =
            *below == '\0' ? hf_strdup(names.names[i]) : hf_path_join(below, names.names[i]);
        if (path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        if (add_path(files, root, path, depth, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

/* ---- Capture ---- */

static enum hf_err read_parent(const struct opened *opened, const struct hf_keyring *keyring,
                               struct hf_manifest *out, struct hf_error *err)
{
    HF_CLEANUP(hf_capture_list_fini) struct hf_capture_list captures = {.captures = NULL};
    struct hf_manifest_read read;

    if (hf_list_captures(opened->store, &keyring->job, &captures, err) != HF_ERR_OK) {
        return err->code;
    }
    if (captures.count == 0) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "the store holds no snapshot to be the parent");
    }
    return hf_list_read_manifest(opened->store, &keyring->job,
                                 captures.captures[captures.count - 1], keyring, out, &read, err);
}

/* What the agent keeps on its disk between captures. */
struct agent_state {
    char *journal, *cache; /* owned */
};

static void agent_state_fini(struct agent_state *state)
{
    hf_free(state->journal);
    hf_free(state->cache);
}
HF_CLEANUP_DEFINE_VALUE(agent_state_fini, struct agent_state)

static enum hf_err make_state(const char *store, struct agent_state *out, struct hf_error *err)
{
    out->journal = hf_asprintf("%s.state/journal", store);
    out->cache = hf_asprintf("%s.state/cache", store);
    if (out->journal == NULL || out->cache == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    return hf_fs_make_dirs(out->cache, 0700, err);
}

struct steps {
    double list_s, capture_s, check_s, end_s;
};

static enum hf_err run_capture(const struct wish *wish, struct opened *opened,
                               const struct hf_keyring *keyring, struct hf_manifest *manifest,
                               const struct hf_manifest *parent, struct steps *steps,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files files = {.items = NULL};
    HF_CLEANUP(hf_capture_result_fini) struct hf_capture_result result = {.packs = 0};
    HF_CLEANUP(agent_state_fini) struct agent_state state = {.journal = NULL};
    struct hf_keyring agents = *keyring;
    uint64_t at_ms = hf_clock_mono_ms();

    agents.has_seal_key = false;
    if (make_state(wish->places[1], &state, err) != HF_ERR_OK ||
        add_dir(&files, wish->places[0], "", 0, err) != HF_ERR_OK ||
        hf_capture_read_lines(&files, wish->places[0], &agents, err) != HF_ERR_OK) {
        return err->code;
    }
    steps->list_s = seconds_since(at_ms);
    const struct hf_capture_options options = {
        .store = opened->store,
        .keyring = &agents,
        .capture = manifest->capture,
        .writer = manifest->writer,
        .root = wish->places[0],
        .files = &files,
        .parent = {.capture = parent->capture, .root = &parent->root},
        .journal_path = state.journal,
        .cache_dir = state.cache,
        .workers = wish->workers,
        .read_all = wish->read_all,
    };
    at_ms = hf_clock_mono_ms();
    enum hf_err code = hf_capture_run(&options, &result, err);
    hf_keyring_wipe(&agents);
    if (code != HF_ERR_OK) {
        return code;
    }
    steps->capture_s = seconds_since(at_ms);
    manifest->root = result.root;
    result.root = (struct hf_tree_root){.lists = NULL};
    return HF_ERR_OK;
}

static enum hf_err commit(struct opened *opened, const struct hf_keyring *keyring,
                          struct hf_manifest *manifest, const struct hf_manifest *parent,
                          struct steps *steps, struct hf_error *err)
{
    struct hf_commit_check_result found = {.files = 0};
    uint64_t at_ms = hf_clock_mono_ms();
    const struct hf_commit_check_options check = {
        .store = opened->store,
        .keyring = keyring,
        .capture = manifest->capture,
        .writer = manifest->writer,
        .root = &manifest->root,
        .parent = parent->capture == 0 ? NULL : &parent->root,
    };

    if (hf_commit_check(&check, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    steps->check_s = seconds_since(at_ms);
    at_ms = hf_clock_mono_ms();
    manifest->predecessor = parent->capture;
    manifest->predecessor_seal = parent->seal;
    if (hf_commit_manifest(opened->store, keyring, manifest, err) != HF_ERR_OK ||
        hf_commit_look_again(opened->store, manifest, err) != HF_ERR_OK ||
        hf_commit_drop_claim(opened->store, &manifest->job, &manifest->writer, err) != HF_ERR_OK) {
        return err->code;
    }
    steps->end_s = seconds_since(at_ms);
    return HF_ERR_OK;
}

static void describe(const struct hf_manifest *manifest, const struct steps *steps,
                     struct hf_json *json)
{
    const struct hf_tree_sums *sums = &manifest->root.sums;
    struct hf_json *parts = hf_json_object();

    hf_json_set_text(json, "id", hf_id_text(&manifest->snapshot).text);
    hf_json_set_u64(json, "files", sums->files);
    hf_json_set_u64(json, "files_skipped", sums->files_skipped);
    hf_json_set_u64(json, "new_bytes", sums->new_bytes);
    hf_json_set_u64(json, "stored_bytes", sums->stored_bytes);
    hf_json_set_u64(json, "read_bytes", sums->read_bytes);
    hf_json_set_u64(json, "blocks_new", sums->blocks_new);
    hf_json_set_u64(json, "blocks_reused", sums->blocks_reused);
    hf_json_set_u64(json, "blocks_zero", sums->blocks_zero);
    hf_json_set_real(parts, "list", steps->list_s);
    hf_json_set_real(parts, "capture", steps->capture_s);
    hf_json_set_real(parts, "check", steps->check_s);
    hf_json_set_real(parts, "end", steps->end_s);
    hf_json_set_take(json, "steps_seconds", parts);
}

static enum hf_err capture(const struct wish *wish, struct hf_json *json, struct hf_error *err)
{
    HF_CLEANUP(opened_fini) struct opened opened = {.store = NULL};
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest parent = {.capture = 0};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct steps steps = {.list_s = 0};
    struct cost cost = cost_begin();

    if (open_store(wish->places[1], true, &opened, err) != HF_ERR_OK ||
        open_job(&opened, true, &keyring, err) != HF_ERR_OK ||
        (wish->parent && read_parent(&opened, &keyring, &parent, err) != HF_ERR_OK)) {
        return err->code;
    }
    manifest.job = keyring.job;
    manifest.writer = new_id();
    manifest.snapshot = new_id();
    manifest.encrypted = keyring.encrypted;
    manifest.created_s = hf_clock_wall_ms() / 1000;
    manifest.parent = parent.capture;
    const struct hf_commit_next above = {.store = opened.store, .job = &keyring.job};
    if (hf_commit_next_capture(&above, &manifest.capture, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_claim claim = {.job = keyring.job,
                                   .writer = manifest.writer,
                                   .capture = manifest.capture,
                                   .started_s = manifest.created_s};
    if (hf_commit_claim(opened.store, &claim, err) != HF_ERR_OK ||
        run_capture(wish, &opened, &keyring, &manifest, &parent, &steps, err) != HF_ERR_OK ||
        commit(&opened, &keyring, &manifest, &parent, &steps, err) != HF_ERR_OK) {
        return err->code;
    }
    cost_end(&cost, manifest.root.sums.bytes, json);
    describe(&manifest, &steps, json);
    return HF_ERR_OK;
}

/* ---- Restore and verify ---- */

static enum hf_err restore(const struct wish *wish, struct hf_json *json, struct hf_error *err)
{
    HF_CLEANUP(opened_fini) struct opened opened = {.store = NULL};
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring keyring = {.encrypted = false};
    HF_CLEANUP(hf_manifest_fini) struct hf_manifest manifest = {.capture = 0};
    struct hf_restore_result result = {.files = 0};
    struct hf_id snapshot;
    struct cost cost = cost_begin();

    if (!hf_id_parse(hf_str_of(wish->places[1]), &snapshot)) {
        return hf_fail(err, HF_ERR_INVALID, "'%s' is not an id", wish->places[1]);
    }
    if (open_store(wish->places[0], false, &opened, err) != HF_ERR_OK ||
        open_job(&opened, false, &keyring, err) != HF_ERR_OK ||
        hf_list_find_snapshot(opened.store, &opened.key, &snapshot, &manifest, err) != HF_ERR_OK) {
        return err->code;
    }
    /* No restoreInfo.txt: the bench compares the trees. */
    const struct hf_restore_options options = {
        .store = opened.store,
        .keyring = &keyring,
        .root = &manifest.root,
        .directory = wish->places[2],
        .workers = wish->workers,
        .onto = wish->onto,
    };
    if (hf_restore_run(&options, &result, err) != HF_ERR_OK) {
        return err->code;
    }
    cost_end(&cost, result.bytes, json);
    hf_json_set_u64(json, "files", result.files);
    hf_json_set_u64(json, "read_bytes", result.read_bytes);
    hf_json_set_u64(json, "written_bytes", result.written_bytes);
    hf_json_set_u64(json, "compared_bytes", result.compared_bytes);
    return HF_ERR_OK;
}

static enum hf_err verify(const struct wish *wish, struct hf_json *json, struct hf_error *err)
{
    HF_CLEANUP(opened_fini) struct opened opened = {.store = NULL};
    HF_CLEANUP(hf_verify_report_fini) struct hf_verify_report report = {.snapshots = 0};
    struct cost cost = cost_begin();

    if (open_store(wish->places[0], false, &opened, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_verify_options options = {
        .store = opened.store, .level = HF_VERIFY_CONTENT, .workers = wish->workers};
    if (hf_verify_store(&options, &opened.key, &report, err) != HF_ERR_OK) {
        return err->code;
    }
    if (report.damage_count > 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "%llu damages, the first: %s",
                       (unsigned long long)report.damage_count,
                       report.kept_count == 0 ? "" : report.damages[0].message);
    }
    cost_end(&cost, report.bytes, json);
    hf_json_set_u64(json, "snapshots", report.snapshots);
    hf_json_set_u64(json, "files", report.files);
    hf_json_set_u64(json, "blocks", report.blocks);
    hf_json_set_u64(json, "objects", report.objects);
    return HF_ERR_OK;
}

/* ---- Command line ---- */

static bool read_arguments(int argc, char **argv, struct wish *out)
{
    for (int i = 2; i < argc; i++) {
        uint64_t number = 0;
        if (strcmp(argv[i], "--parent") == 0) {
            out->parent = true;
        } else if (strcmp(argv[i], "--read-all") == 0) {
            out->read_all = true;
        } else if (strcmp(argv[i], "--onto") == 0) {
            out->onto = true;
        } else if (strcmp(argv[i], "--workers") == 0) {
            if (++i == argc || !hf_parse_u64(hf_str_of(argv[i]), &number) || number > 64) {
                return false;
            }
            out->workers = (unsigned)number;
        } else if (argv[i][0] == '-' || out->place_count == HF_ARRAY_LEN(out->places)) {
            return false;
        } else {
            out->places[out->place_count++] = argv[i];
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        size_t places;
        enum hf_err (*run)(const struct wish *wish, struct hf_json *json, struct hf_error *err);
    } works[] = {{"capture", 2, capture}, {"restore", 3, restore}, {"verify", 1, verify}};
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_json_object();
    struct wish wish = {.work = argc > 1 ? argv[1] : ""};
    bool good = read_arguments(argc, argv, &wish);
    struct hf_error err;

    for (size_t i = 0; good && i < HF_ARRAY_LEN(works); i++) {
        if (strcmp(works[i].word, wish.work) == 0 && works[i].places == wish.place_count) {
            hf_error_clear(&err);
            hf_json_set_text(json, "work", wish.work);
            if (works[i].run(&wish, json, &err) == HF_ERR_OK && print(json, &err) == HF_ERR_OK) {
                return 0;
            }
            (void)fprintf(stderr, "store_bench %s: %s\n", wish.work, err.message);
            return 1;
        }
    }
    (void)fprintf(stderr,
                  "usage: store_bench capture DIR STORE [--parent] [--read-all] [--workers N]\n"
                  "       store_bench restore STORE ID DIR [--onto] [--workers N]\n"
                  "       store_bench verify STORE [--workers N]\n");
    return 2;
}
