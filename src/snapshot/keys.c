/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and opening a store, and the keys of its jobs. Everything that is put here is durable before the next step:
 * key file, then mark; a job's keys before its first pack.
 */
#include "snapshot/keys.h"

#include <inttypes.h>
#include <string.h>

#include "os/clock.h"
#include "os/fs.h"

#define KEY_FILE_MAX_BYTES ((size_t)4096)
#define KEY_FILE_MODE 0600
#define MARKS_MAX 1000
#define KEY_OBJECTS_MAX 1000

/* Zero bytes have a meaning of their own ("none"). */
static struct hf_id new_id(void)
{
    struct hf_id id;
    do {
        hf_random_bytes(id.bytes, sizeof id.bytes);
    } while (hf_id_is_none(&id));
    return id;
}

static enum hf_err read_key_file(const char *path, struct hf_store_key *key, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(KEY_FILE_MAX_BYTES);
    enum hf_err code = hf_fs_read_whole(path, KEY_FILE_MAX_BYTES, &text, err);
    if (code == HF_ERR_OK) {
        struct hf_str content = {.data = (const char *)text.data, .len = text.len};
        code = hf_store_key_decode(content, key, err);
        if (code != HF_ERR_OK) {
            (void)hf_wrap(err, "%s", path);
        }
    }
    if (text.data != NULL) {
        hf_wipe(text.data, text.capacity);
    }
    return code;
}

static enum hf_err write_key_file(const char *path, const struct hf_store_key *key,
                                  struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(KEY_FILE_MAX_BYTES);
    /* Room at once: growing would leave copies of the key behind. */
    enum hf_err code = hf_buf_reserve(&text, 512, err);
    if (code == HF_ERR_OK) {
        code = hf_store_key_encode(key, &text, err);
    }
    if (code == HF_ERR_OK) {
        code = hf_fs_publish_new(path, hf_buf_bytes(&text), KEY_FILE_MODE, err);
    }
    if (text.data != NULL) {
        hf_wipe(text.data, text.capacity);
    }
    return code;
}

/* A key file that lies there already is from a start that died before the mark: it is taken. */
static enum hf_err make_key(const char *path, struct hf_store_key *key, struct hf_error *err)
{
    if (path == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "no path for the key file");
    }
    if (hf_fs_exists(path)) {
        return read_key_file(path, key, err);
    }
    key->store = new_id();
    hf_random_bytes(key->key, sizeof key->key);
    return write_key_file(path, key, err);
}

/* The mark with the highest epoch; its number 0 when there is none. */
static enum hf_err newest_mark(struct hf_store *store, struct hf_object_name *out,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_MARK, NULL);
    *out = (struct hf_object_name){.kind = HF_OBJECT_MARK};
    if (hf_store_list(store, hf_str_of(prefix.text), hf_str_of(""), MARKS_MAX, &list, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (list.more) {
        return hf_fail(err, HF_ERR_LIMIT, "%s: more than %d marks", hf_store_url(store), MARKS_MAX);
    }
    if (list.count > 0) {
        const char *name = list.entries[list.count - 1].name;
        return hf_object_name_parse(hf_str_of(name), out, err);
    }
    return HF_ERR_OK;
}

static enum hf_err put_mark(struct hf_store *store, const struct hf_storemark *mark,
                            struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    struct hf_object_text name =
        hf_object_name_text(&(struct hf_object_name){.kind = HF_OBJECT_MARK, .epoch = mark->epoch});
    if (hf_storemark_encode(mark, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_store_put(store, hf_str_of(name.text), hf_buf_bytes(&bytes), NULL, err);
}

enum hf_err hf_store_keys_create(struct hf_store *store,
                                 const struct hf_store_create_options *options,
                                 struct hf_storemark *mark, struct hf_store_key *key,
                                 struct hf_error *err)
{
    struct hf_object_name newest;
    HF_CLEANUP(hf_store_key_wipe) struct hf_store_key made = {.key = {0}};
    struct hf_storemark ours = {
        .installation = options->installation,
        .epoch = 1,
        .encrypted = !options->plain,
        .oplog_only = options->oplog_only,
        .created_s = options->now_s,
    };
    if (newest_mark(store, &newest, err) != HF_ERR_OK) {
        return hf_wrap(err, "create a store");
    }
    if (newest.epoch != 0) {
        return hf_fail(err, HF_ERR_EXISTS, "create a store: %s is one already",
                       hf_store_url(store));
    }
    if (options->plain) {
        ours.store = hf_id_is_none(&options->store) ? new_id() : options->store;
    } else {
        if (make_key(options->key_file, &made, err) != HF_ERR_OK ||
            hf_store_key_check(&made, &ours.key_check, err) != HF_ERR_OK) {
            return hf_wrap(err, "create a store");
        }
        ours.store = made.store;
    }
    if (put_mark(store, &ours, err) != HF_ERR_OK) {
        return hf_wrap(err, "create a store");
    }
    *mark = ours;
    *key = made;
    return HF_ERR_OK;
}

enum hf_err hf_store_keys_create_oplog(struct hf_store *store, const struct hf_storemark *of,
                                       uint64_t now_s, struct hf_storemark *mark,
                                       struct hf_error *err)
{
    struct hf_object_name newest;
    struct hf_storemark ours = *of;

    ours.epoch = 1;
    ours.created_s = now_s;
    ours.oplog_only = true;
    if (newest_mark(store, &newest, err) != HF_ERR_OK) {
        return hf_wrap(err, "create an oplog store");
    }
    if (newest.epoch != 0) {
        return hf_fail(err, HF_ERR_EXISTS, "create an oplog store: %s is a store already",
                       hf_store_url(store));
    }
    if (put_mark(store, &ours, err) != HF_ERR_OK) {
        return hf_wrap(err, "create an oplog store");
    }
    *mark = ours;
    return HF_ERR_OK;
}

static enum hf_err load_store_key(const struct hf_store *store,
                                  const struct hf_store_open_options *options,
                                  const struct hf_storemark *mark, struct hf_store_key *key,
                                  struct hf_error *err)
{
    if (!mark->encrypted || (options->key_file == NULL && options->key_optional)) {
        return HF_ERR_OK;
    }
    if (options->key_file == NULL) {
        return hf_fail(err, HF_ERR_DENIED,
                       "%s is encrypted and its key is missing; hint: give --key-file",
                       hf_store_url(store));
    }
    struct hf_hash check;
    if (read_key_file(options->key_file, key, err) != HF_ERR_OK ||
        hf_store_key_check(key, &check, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!hf_id_equal(&key->store, &mark->store) || !hf_hash_equal(&check, &mark->key_check)) {
        return hf_fail(err, HF_ERR_DENIED, "%s holds the key of store %s, this is store %s",
                       options->key_file, hf_id_text(&key->store).text,
                       hf_id_text(&mark->store).text);
    }
    return HF_ERR_OK;
}

enum hf_err hf_store_keys_open(struct hf_store *store, const struct hf_store_open_options *options,
                               struct hf_storemark *mark, struct hf_store_key *key,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_store_key_wipe) struct hf_store_key found_key = {.key = {0}};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    struct hf_object_name newest;
    struct hf_storemark found;
    if (newest_mark(store, &newest, err) != HF_ERR_OK) {
        return hf_wrap(err, "open store");
    }
    if (newest.epoch == 0) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "open store: %s holds no mark of a store",
                       hf_store_url(store));
    }
    struct hf_object_text name = hf_object_name_text(&newest);
    if (hf_store_get(store, hf_str_of(name.text), bytes.max, &bytes, err) != HF_ERR_OK ||
        hf_storemark_decode(hf_buf_bytes(&bytes), &found, err) != HF_ERR_OK) {
        return hf_wrap(err, "open store %s: %s", hf_store_url(store), name.text);
    }
    if (found.epoch != newest.epoch) {
        return hf_fail(err, HF_ERR_CORRUPT, "open store %s: %s holds the mark of epoch %" PRIu32,
                       hf_store_url(store), name.text, found.epoch);
    }
    if (load_store_key(store, options, &found, &found_key, err) != HF_ERR_OK) {
        return hf_wrap(err, "open store");
    }
    *mark = found;
    *key = found_key;
    return HF_ERR_OK;
}

/* Names of a job's key objects, ascending. */
static enum hf_err list_keys(struct hf_store *store, const struct hf_id *job,
                             struct hf_store_list *out, struct hf_error *err)
{
    struct hf_object_text prefix = hf_object_prefix(HF_OBJECT_KEYS, job);
    if (hf_store_list(store, hf_str_of(prefix.text), hf_str_of(""), KEY_OBJECTS_MAX, out, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (out->more) {
        return hf_fail(err, HF_ERR_LIMIT, "job %s: more than %d key objects", hf_id_text(job).text,
                       KEY_OBJECTS_MAX);
    }
    return HF_ERR_OK;
}

static void make_ring(const struct hf_storemark *mark, const struct hf_id *job,
                      struct hf_keyring *ring)
{
    ring->job = *job;
    ring->encrypted = mark->encrypted;
    hf_random_bytes(ring->hash_key, sizeof ring->hash_key);
    if (ring->encrypted) {
        ring->data_key_count = 1;
        ring->data_keys[0].version = 1;
        hf_random_bytes(ring->data_keys[0].key, sizeof ring->data_keys[0].key);
        ring->has_seal_key = true;
        hf_random_bytes(ring->seal_key, sizeof ring->seal_key);
    }
}

/* There are two copies: without them nothing of the job can be read, so that one flipped bit must not take them. */
#define KEY_COPIES 2

static enum hf_err put_copy(struct hf_store *store, const struct hf_storemark *mark,
                            const struct hf_store_key *key, const struct hf_keyring *ring,
                            uint32_t number, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    struct hf_wrap_options wrap = {.store_key = mark->encrypted ? key : NULL, .store = mark->store};
    const struct hf_object_text name = hf_object_name_text(&(struct hf_object_name){
        .kind = HF_OBJECT_KEYS, .job = ring->job, .key = 1, .wrap = number});

    hf_random_bytes(wrap.salt, sizeof wrap.salt);
    if (hf_keyring_wrap(ring, &wrap, &bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_store_put(store, hf_str_of(name.text), hf_buf_bytes(&bytes), NULL, err);
}

enum hf_err hf_job_keys_create(struct hf_store *store, const struct hf_storemark *mark,
                               const struct hf_store_key *key, const struct hf_id *job,
                               struct hf_keyring *out, struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    HF_CLEANUP(hf_keyring_wipe) struct hf_keyring ring = {.encrypted = false};
    if (list_keys(store, job, &list, err) != HF_ERR_OK) {
        return hf_wrap(err, "make keys");
    }
    if (list.count > 0) {
        return hf_fail(err, HF_ERR_EXISTS, "make keys: job %s has keys in %s", hf_id_text(job).text,
                       hf_store_url(store));
    }
    make_ring(mark, job, &ring);
    /* The first decides: two servers at once put different keys under one name, and the second is told EXISTS and loads. */
    for (uint32_t number = 1; number <= KEY_COPIES; number++) {
        if (put_copy(store, mark, key, &ring, number, err) != HF_ERR_OK) {
            return hf_wrap(err, "make keys");
        }
    }
    *out = ring;
    return HF_ERR_OK;
}

enum hf_err hf_job_keys_put(struct hf_store *store, const struct hf_storemark *mark,
                            const struct hf_store_key *key, const struct hf_keyring *ring,
                            struct hf_error *err)
{
    for (uint32_t number = 1; number <= KEY_COPIES; number++) {
        enum hf_err code = put_copy(store, mark, key, ring, number, err);
        /* It has the same keys already, locked with other salt. */
        if (code != HF_ERR_OK && code != HF_ERR_EXISTS) {
            return hf_wrap(err, "put keys of job %s", hf_id_text(&ring->job).text);
        }
    }
    return HF_ERR_OK;
}

enum hf_err hf_job_keys_load(struct hf_store *store, const struct hf_store_key *key,
                             const struct hf_id *job, struct hf_keyring *out, struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list list = {.entries = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    if (list_keys(store, job, &list, err) != HF_ERR_OK) {
        return hf_wrap(err, "load keys");
    }
    if (key != NULL && hf_id_is_none(&key->store)) {
        key = NULL; /* as hf_store_keys_open gives it for a store without a key */
    }
    if (list.count == 0) {
        return hf_fail(err, HF_ERR_NOT_FOUND, "load keys: job %s has none in %s",
                       hf_id_text(job).text, hf_store_url(store));
    }
    enum hf_err code = HF_ERR_OK;
    for (size_t i = list.count; i > 0; i--) {
        const char *name = list.entries[i - 1].name;
        code = hf_store_get(store, hf_str_of(name), bytes.max, &bytes, err);
        if (code == HF_ERR_OK) {
            code = hf_keyring_unwrap(hf_buf_bytes(&bytes), job, key, out, err);
        }
        if (code == HF_ERR_OK) {
            return HF_ERR_OK;
        }
        (void)hf_wrap(err, "load keys of job %s: %s", hf_id_text(job).text, name);
    }
    return code;
}

enum hf_err hf_job_keys_copy(struct hf_store *from, struct hf_store *to, const struct hf_id *job,
                             struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list there = {.entries = NULL};
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list have = {.entries = NULL};
    HF_CLEANUP(hf_buf_fini) struct hf_buf bytes = HF_BUF_INIT((size_t)64 << 10);
    size_t k = 0;

    if (list_keys(from, job, &have, err) != HF_ERR_OK ||
        list_keys(to, job, &there, err) != HF_ERR_OK) {
        return hf_wrap(err, "copy keys of job %s", hf_id_text(job).text);
    }
    for (size_t i = 0; i < have.count; i++) {
        const char *name = have.entries[i].name;
        while (k < there.count && strcmp(there.entries[k].name, name) < 0) {
            k++;
        }
        if (k < there.count && strcmp(there.entries[k].name, name) == 0) {
            continue;
        }
        if (hf_store_get(from, hf_str_of(name), bytes.max, &bytes, err) != HF_ERR_OK ||
            hf_store_put(to, hf_str_of(name), hf_buf_bytes(&bytes), NULL, err) != HF_ERR_OK) {
            return hf_wrap(err, "copy keys of job %s", hf_id_text(job).text);
        }
    }
    return HF_ERR_OK;
}
