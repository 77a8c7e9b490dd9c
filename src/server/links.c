/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of transfers under one mutex; there are as many as the server has threads for streams.
 */
#include "server/links.h"

#include "base/alloc.h"
#include "base/secret.h"
#include "base/thread.h"
#include "codec/hash.h"
#include "os/clock.h"
#include "os/fs.h"

#define SECRET_BYTES 32
#define SECRET_TEXT_BYTES (2 * SECRET_BYTES + 1) /* with its line's end */

struct hf_server_transfer {
    struct hf_server_transfer *next;
    struct hf_id link;
    bool cut, last;
};

struct hf_server_links {
    uint8_t secret[SECRET_BYTES];
    struct hf_mutex mutex;  /* guards: all below */
    struct hf_cond changed; /* a transfer ended */
    struct hf_server_transfer *transfers;
};

static enum hf_err make_secret(const char *path, struct hf_error *err)
{
    uint8_t random[SECRET_BYTES];
    char text[SECRET_TEXT_BYTES + 1];

    hf_random_bytes(random, sizeof random);
    hf_hex_encode(hf_bytes_of(random, sizeof random), text);
    text[SECRET_TEXT_BYTES - 1] = '\n';
    enum hf_err code = hf_fs_publish_new(path, hf_bytes_of(text, SECRET_TEXT_BYTES), 0600, err);
    hf_wipe(random, sizeof random);
    hf_wipe(text, sizeof text);
    return code;
}

static enum hf_err read_secret(const char *path, uint8_t out[SECRET_BYTES], struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(SECRET_TEXT_BYTES + 1);

    if (!hf_fs_exists(path) && make_secret(path, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_fs_read_whole(path, SECRET_TEXT_BYTES, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    bool good = text.len == SECRET_TEXT_BYTES &&
                hf_hex_decode((struct hf_str){(const char *)text.data, 2 * SECRET_BYTES}, out,
                              SECRET_BYTES);
    hf_wipe(text.data, text.len);
    return good ? HF_ERR_OK
                : hf_fail(err, HF_ERR_CORRUPT,
                          "%s does not hold 64 hexadecimal digits; hint: remove it for a new one "
                          "(links of before die)",
                          path);
}

enum hf_err hf_server_links_create(const char *key_path, struct hf_server_links **out,
                                   struct hf_error *err)
{
    struct hf_server_links *links = hf_alloc_zero(sizeof *links);

    if (links == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (read_secret(key_path, links->secret, err) != HF_ERR_OK) {
        hf_free(links);
        return hf_wrap(err, "the secret of links");
    }
    hf_mutex_init(&links->mutex);
    hf_cond_init(&links->changed);
    *out = links;
    return HF_ERR_OK;
}

void hf_server_links_destroy(struct hf_server_links *links)
{
    if (links != NULL) {
        HF_ASSERT(links->transfers == NULL);
        hf_cond_fini(&links->changed);
        hf_mutex_fini(&links->mutex);
        hf_wipe(links->secret, sizeof links->secret);
        hf_free(links);
    }
}

void hf_server_links_key(struct hf_server_links *links, const struct hf_link_record *link,
                         char out[HF_LINK_KEY_BYTES])
{
    HF_CLEANUP(hf_hmac_destroy) struct hf_hmac *hmac = NULL;
    const struct hf_bytes what = hf_bytes_of("link 1", sizeof "link 1");
    struct hf_hash key = {.bytes = {0}};
    struct hf_error err;

    out[0] = '\0';
    if (hf_hmac_create(hf_bytes_of(links->secret, SECRET_BYTES), &hmac, &err) != HF_ERR_OK) {
        return; /* no memory: a key that opens nothing */
    }
    hf_hmac_begin(hmac);
    hf_hmac_update(hmac, what);
    hf_hmac_update(hmac, hf_bytes_of(link->id.bytes, sizeof link->id.bytes));
    hf_hmac_update(hmac, hf_bytes_of(link->nonce, strlen(link->nonce)));
    hf_hmac_end(hmac, &key);
    hf_hex_encode(hf_bytes_of(key.bytes, sizeof key.bytes), out);
    hf_wipe(&key, sizeof key);
}

bool hf_server_links_key_is(struct hf_server_links *links, const struct hf_link_record *link,
                            const char *key)
{
    char right[HF_LINK_KEY_BYTES];

    hf_server_links_key(links, link, right);
    bool is =
        strlen(right) == HF_LINK_KEY_BYTES - 1 &&
        hf_secret_equal(hf_bytes_of(right, HF_LINK_KEY_BYTES - 1), hf_bytes_of(key, strlen(key)));
    hf_wipe(right, sizeof right);
    return is;
}

struct hf_server_transfer *hf_server_links_begin(struct hf_server_links *links,
                                                 const struct hf_id *link)
{
    struct hf_server_transfer *transfer = hf_alloc_zero(sizeof *transfer);

    if (transfer != NULL) {
        transfer->link = *link;
        HF_LOCKED(&links->mutex);
        transfer->next = links->transfers;
        links->transfers = transfer;
    }
    return transfer;
}

void hf_server_links_end(struct hf_server_links *links, struct hf_server_transfer *transfer)
{
    hf_mutex_lock(&links->mutex);
    struct hf_server_transfer **at = &links->transfers;
    while (*at != transfer) {
        at = &(*at)->next;
    }
    *at = transfer->next;
    hf_cond_broadcast(&links->changed);
    hf_mutex_unlock(&links->mutex);
    hf_free(transfer);
}

unsigned hf_server_links_under_way(struct hf_server_links *links, const struct hf_id *link)
{
    unsigned count = 0;

    if (links == NULL) {
        return 0;
    }
    HF_LOCKED(&links->mutex);
    for (const struct hf_server_transfer *one = links->transfers; one != NULL; one = one->next) {
        count += hf_id_equal(&one->link, link) ? 1 : 0;
    }
    return count;
}

void hf_server_links_cut(struct hf_server_links *links, const struct hf_id *link)
{
    if (links == NULL) {
        return;
    }
    HF_LOCKED(&links->mutex);
    for (struct hf_server_transfer *one = links->transfers; one != NULL; one = one->next) {
        one->cut = one->cut || hf_id_equal(&one->link, link);
    }
}

bool hf_server_links_is_cut(struct hf_server_links *links,
                            const struct hf_server_transfer *transfer)
{
    HF_LOCKED(&links->mutex);
    return transfer->cut;
}

static bool other_at_its_last(const struct hf_server_links *links,
                              const struct hf_server_transfer *transfer)
{
    for (const struct hf_server_transfer *one = links->transfers; one != NULL; one = one->next) {
        if (one != transfer && one->last && hf_id_equal(&one->link, &transfer->link)) {
            return true;
        }
    }
    return false;
}

void hf_server_links_last_byte(struct hf_server_links *links, struct hf_server_transfer *transfer)
{
    HF_LOCKED(&links->mutex);
    while (other_at_its_last(links, transfer)) {
        hf_cond_wait(&links->changed, &links->mutex);
    }
    transfer->last = true;
}
