/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thin thread without a network: a real server's data directory is captured into a store, verified, restored, and
 * compared with the hashes that were recorded with it.
 */
#include "support/snapshot_kit.h"
#include "support/untar.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "codec/json.h"
#include "store/faulty.h"

static char *fixture_path(const char *set, const char *name)
{
    const char *fixtures = getenv("HF_TEST_FIXTURES");
    assert_non_null(fixtures);
    return hf_asprintf("%s/%s/%s", fixtures, set, name);
}

static char *unpack(struct kit *kit, const char *set, const char *as)
{
    char *archive = fixture_path(set, "data.tar.zst");
    char *dir = kit_path(kit, as);
    assert_true(untar(archive, dir) > 100);
    hf_free(archive);
    return dir;
}

/* The restored directory is what files.json says, byte by byte. */
static void expect_recorded(const char *set, const char *dir)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)1 << 20);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = NULL;
    HF_CLEANUP(hf_capture_files_fini) struct hf_capture_files found = {.items = NULL};
    char *path = fixture_path(set, "files.json");
    KIT_OK(hf_fs_read_whole(path, text.max, &text, &err), &err);
    KIT_OK(hf_json_decode((struct hf_str){.data = (const char *)text.data, .len = text.len},
                          text.max, &json, &err),
           &err);
    const struct hf_json *files = hf_json_get_array(json, "files");
    kit_list_files(dir, "", &found);
    assert_int_equal(found.count, hf_json_count(files));
    for (size_t i = 0; i < hf_json_count(files); i++) {
        const struct hf_json *file = hf_json_at(files, i);
        char hash[65];
        struct hf_file_info info;
        char *restored = hf_path_join(dir, hf_json_get_text(file, "name"));
        KIT_OK(hf_fs_stat(restored, &info, &err), &err);
        assert_int_equal(info.size_bytes, hf_json_get_u64(file, "size", 0));
        kit_file_hash(restored, hash);
        assert_string_equal(hash, hf_json_get_text(file, "sha256"));
        hf_free(restored);
    }
    hf_free(path);
}

static void whole_thread(bool plain)
{
    struct kit kit;
    struct hf_manifest first;
    struct hf_manifest second;
    struct hf_manifest third;
    kit_open(&kit, &(struct kit_options){.on_disk = true, .plain = plain});
    char *source = unpack(&kit, "dbpath-4.4", "source");
    char *later = unpack(&kit, "dbpath-4.4-extended", "later");
    char *restored = kit_path(&kit, "restored");

    kit_snapshot(&kit, source, NULL, &first);
    assert_true(kit.last.root.sums.blocks_new > 0);
    assert_int_equal(kit.last.root.sums.blocks_reused, 0);
    /* The journals are mostly zeros: what is stored is far less than what the files show. */
    assert_true(kit.last.root.sums.stored_bytes < kit.last.root.sums.bytes / 10);
    kit_restore(&kit, &first, restored);
    expect_recorded("dbpath-4.4", restored);

    /* Nothing changed: files with a line are not read at all, the others bring no new block. */
    kit_snapshot(&kit, source, &first, &second);
    assert_int_equal(kit.last.root.sums.blocks_new, 0);
    assert_true(kit.last.root.sums.files_skipped > 100);
    assert_true(kit.last.root.sums.read_bytes < kit.last.root.sums.bytes);

    /* Another member's copy: some blocks are equal, most are new. */
    kit_snapshot(&kit, later, &second, &third);
    assert_true(kit.last.root.sums.blocks_reused > 0);
    assert_true(kit.last.root.sums.blocks_new > 0);

    kit_expect_no_damage(&kit, HF_VERIFY_CONTENT);
    char *restored_later = kit_path(&kit, "restored-later");
    kit_restore(&kit, &third, restored_later);
    expect_recorded("dbpath-4.4-extended", restored_later);

    hf_manifest_fini(&first);
    hf_manifest_fini(&second);
    hf_manifest_fini(&third);
    hf_free(source);
    hf_free(later);
    hf_free(restored);
    hf_free(restored_later);
    kit_close(&kit);
}

static void test_a_real_data_directory_comes_back_byte_by_byte(void **state)
{
    (void)state;
    whole_thread(false);
}

static void test_the_same_without_encryption(void **state)
{
    (void)state;
    whole_thread(true);
}

/* ---- Standing back ---- */

struct niceness {
    struct hf_mutex mutex;        /* guards: all below */
    int workers, putters, others; /* the least that was seen; 99: none */
};

static void look_at_nice(void *argument, enum hf_store_call call, struct hf_str name)
{
    struct niceness *seen = argument;
    char thread[16] = "";
    int nice = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));
    (void)call;
    (void)name;
    assert_int_equal(prctl(PR_GET_NAME, thread), 0);
    HF_LOCKED(&seen->mutex);
    int *least = strcmp(thread, "hf-capture") == 0 ? &seen->workers
                 : strcmp(thread, "hf-put") == 0   ? &seen->putters
                                                   : &seen->others;
    *least = nice < *least ? nice : *least;
}

static void test_the_threads_of_a_capture_stand_back_and_nobody_else_does(void **state)
{
    (void)state;
    struct kit kit;
    struct hf_error err;
    struct hf_manifest first = {.capture = 0};
    struct hf_manifest second = {.capture = 0};
    static uint8_t content[1 << 20];
    struct niceness seen = {.workers = 99, .putters = 99, .others = 99};
    int own = getpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid));

    kit_open(&kit, &(struct kit_options){.on_disk = true});
    KIT_OK(hf_store_faulty_create_take(kit.store, &kit.store, &err), &err);
    hf_mutex_init(&seen.mutex);
    char *source = kit_path(&kit, "source");
    HF_CLEANUP(hf_free) char *file = hf_path_join(source, "collection.wt");
    KIT_OK(hf_fs_make_dirs(source, 0700, &err), &err);
    hf_random_bytes(content, sizeof content);
    KIT_OK(hf_fs_publish_new(file, hf_bytes_of(content, sizeof content), 0600, &err), &err);
    kit.nice = 11;
    kit.pack_bytes =
        (size_t)256 << 10; /* several: the only pack of a small capture is put by the caller */
    hf_store_faulty_hook(kit.store, look_at_nice, &seen);
    kit_snapshot(&kit, source, NULL, &first);
    kit.read_all = kit.prove_parent = true; /* so that the workers read the store */
    content[0] ^= 1;
    KIT_OK(hf_fs_publish_replace(file, hf_bytes_of(content, sizeof content), 0600, &err), &err);
    kit_snapshot(&kit, source, &first, &second);
    hf_store_faulty_hook(kit.store, NULL, NULL);
    assert_int_equal(seen.workers, own > 11 ? own : 11);
    assert_int_equal(seen.putters, own > 11 ? own : 11);
    assert_int_equal(seen.others, own);
    hf_manifest_fini(&first);
    hf_manifest_fini(&second);
    hf_mutex_fini(&seen.mutex);
    hf_free(source);
    kit_close(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_real_data_directory_comes_back_byte_by_byte),
        cmocka_unit_test(test_the_same_without_encryption),
        cmocka_unit_test(test_the_threads_of_a_capture_stand_back_and_nobody_else_does),
    };
    kit_use_all();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
