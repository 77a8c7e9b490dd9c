/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calling side between members: a socket, OP_MSG, a proof that the key file is the same.
 *
 * It knows no member. A reply is checked before it is believed.
 */
#include "sandbox/client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "sandbox/optime.h"
#include "sandbox/value.h"
#include "sandbox/wire.h"

#define OP_MSG 2013
#define HEADER_BYTES 21 /* message header, flags, kind of the one section */
#define PROOF_BYTES 32
#define PROOF_GOOD_MS 60000

struct hf_sandbox_client {
    int fd;
    char host[256];
};

void hf_sandbox_client_close(struct hf_sandbox_client *client)
{
    if (client != NULL) {
        (void)close(client->fd);
        hf_free(client);
    }
}

/* ---- The socket, whose time-outs the kernel keeps ---- */

/* Sends or receives all. */
static enum hf_err move(struct hf_sandbox_client *client, bool out, uint8_t *data, size_t len,
                        struct hf_error *err)
{
    for (ssize_t moved; len > 0; data += moved, len -= (size_t)moved) {
        moved = out ? send(client->fd, data, len, MSG_NOSIGNAL)
                    : recv(client->fd, data, len, MSG_WAITALL);
        if (moved <= 0) {
            return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: %s", client->host,
                           moved == 0 ? "the connection broke" : "no answer in time");
        }
    }
    return HF_ERR_OK;
}

static void set_timeout(int fd, uint64_t timeout_ms)
{
    const struct timeval limit = {.tv_sec = (time_t)(timeout_ms / 1000),
                                  .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int connect_to(const struct hf_sandbox_peer *peer)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(peer->host, ':');
    struct addrinfo *list;
    char name[256];
    int one = 1;
    int fd = -1;

    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(peer->host, ":"), peer->host);
    if (colon == NULL || getaddrinfo(name, colon + 1, &hints, &list) != 0) {
        return -1;
    }
    for (struct addrinfo *at = list; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) {
            set_timeout(fd, peer->timeout_ms); /* of connect too */
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            if (connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
                (void)close(fd);
                fd = -1;
            }
        }
    }
    freeaddrinfo(list);
    return fd;
}

/* ---- Messages ---- */

static enum hf_err exchange(struct hf_sandbox_client *client, const bson_t *command, bson_t **reply,
                            struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *whole = bson_copy(command);
    HF_CLEANUP(bson_destroy) bson_t *got = NULL;
    HF_CLEANUP(hf_free) uint8_t *message = NULL;
    uint8_t header[HEADER_BYTES] = {0};
    size_t len;

    (void)BSON_APPEND_UTF8(whole, "$db", "admin");
    len = HEADER_BYTES + whole->len;
    message = hf_alloc_zero(len);
    HF_ASSERT(message != NULL);
    hf_store_le32(message, (uint32_t)len);
    hf_store_le32(message + 12, OP_MSG);
    memcpy(message + HEADER_BYTES, bson_get_data(whole), whole->len);
    if (move(client, true, message, len, err) != HF_ERR_OK ||
        move(client, false, header, sizeof header, err) != HF_ERR_OK) {
        return err->code;
    }
    hf_free(HF_TAKE(message));
    len = hf_load_le32(header);
    if (len < HEADER_BYTES + 5 || len > HF_SANDBOX_MESSAGE_MAX_BYTES ||
        hf_load_le32(header + 12) != OP_MSG || header[20] != 0 ||
        (message = hf_alloc(len - HEADER_BYTES)) == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: an answer is malformed", client->host);
    }
    if (move(client, false, message, len - HEADER_BYTES, err) != HF_ERR_OK) {
        return err->code;
    }
    got = bson_new_from_data(message, len - HEADER_BYTES);
    if (got == NULL || !hf_sandbox_doc_valid(got)) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: an answer is malformed", client->host);
    }
    if (!hf_sandbox_get_true(got, "ok")) {
        return hf_fail(err, HF_ERR_INVALID, "%s: %s", client->host,
                       hf_sandbox_get_utf8(got, "errmsg", "refused"));
    }
    *reply = HF_TAKE(got);
    return HF_ERR_OK;
}

static void prove(const struct hf_secret *key, int64_t now_ms, uint8_t out[PROOF_BYTES])
{
    uint8_t moment[8];

    hf_store_le64(moment, (uint64_t)now_ms);
    HF_ASSERT(HMAC(EVP_sha256(), key->data, (int)key->len, moment, sizeof moment, out, NULL) !=
              NULL);
}

bool hf_sandbox_client_proves(const bson_t *command, const struct hf_secret *key)
{
    uint8_t proof[PROOF_BYTES];
    bson_value_t moment, given;
    int64_t age_ms;

    if (!hf_sandbox_get(command, "_sandboxJoin", &moment) ||
        moment.value_type != BSON_TYPE_DATE_TIME || !hf_sandbox_get(command, "proof", &given) ||
        given.value_type != BSON_TYPE_BINARY || given.value.v_binary.data_len != PROOF_BYTES) {
        return false;
    }
    age_ms = (int64_t)hf_clock_wall_ms() - moment.value.v_datetime;
    prove(key, moment.value.v_datetime, proof);
    return age_ms > -PROOF_GOOD_MS && age_ms < PROOF_GOOD_MS &&
           CRYPTO_memcmp(proof, given.value.v_binary.data, sizeof proof) == 0;
}

static enum hf_err open_client(const struct hf_sandbox_peer *peer, struct hf_sandbox_client **out,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
    HF_CLEANUP(bson_destroy) bson_t *reply = NULL;
    int fd = connect_to(peer);

    if (fd < 0) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: Connection refused", peer->host);
    }
    client = hf_alloc_zero(sizeof *client);
    HF_ASSERT(client != NULL);
    client->fd = fd;
    (void)snprintf(client->host, sizeof client->host, "%s", peer->host);
    if (peer->key != NULL) {
        int64_t now_ms = (int64_t)hf_clock_wall_ms();
        uint8_t proof[PROOF_BYTES];

        prove(peer->key, now_ms, proof);
        HF_CLEANUP(bson_destroy)
        bson_t *join = BCON_NEW("_sandboxJoin", BCON_DATE_TIME(now_ms), "proof",
                                BCON_BIN(BSON_SUBTYPE_BINARY, proof, sizeof proof));
        if (exchange(client, join, &reply, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    *out = HF_TAKE(client);
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_client_run(struct hf_sandbox_client **client,
                                  const struct hf_sandbox_peer *peer, const bson_t *command,
                                  bson_t **reply, struct hf_error *err)
{
    enum hf_err result = HF_ERR_OK;

    *reply = NULL;
    if (*client != NULL && strcmp((*client)->host, peer->host) != 0) {
        hf_sandbox_client_close(HF_TAKE(*client));
    }
    if (*client == NULL) {
        result = open_client(peer, client, err);
    }
    if (result == HF_ERR_OK) {
        set_timeout((*client)->fd, peer->timeout_ms);
        result = exchange(*client, command, reply, err);
    }
    if (result != HF_ERR_OK && result != HF_ERR_INVALID) {
        hf_sandbox_client_close(HF_TAKE(*client));
    }
    return result;
}
