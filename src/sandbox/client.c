/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calling side between members: a socket, OP_MSG, SCRAM-SHA-256 with the key file's content as password.
 *
 * It knows no member and no command. A reply is checked before it is believed.
 */
#include "sandbox/client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "codec/base64.h"
#include "os/clock.h"
#include "sandbox/optime.h"
#include "sandbox/value.h"
#include "sandbox/wire.h"

#define OP_MSG 2013
#define HEADER_BYTES 21 /* message header, flags, kind of the one section */
#define MIN_ITERATIONS 4096
#define MAX_ITERATIONS 1000000
#define DIGEST 32

struct hf_sandbox_client {
    int fd;
    uint32_t request_id;
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

static enum hf_err send_all(struct hf_sandbox_client *client, const uint8_t *data, size_t len,
                            struct hf_error *err)
{
    for (ssize_t sent; len > 0; data += sent, len -= (size_t)sent) {
        sent = send(client->fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: the connection broke", client->host);
        }
    }
    return HF_ERR_OK;
}

static enum hf_err receive_all(struct hf_sandbox_client *client, uint8_t *data, size_t len,
                               struct hf_error *err)
{
    for (ssize_t got; len > 0; data += got, len -= (size_t)got) {
        got = recv(client->fd, data, len, MSG_WAITALL);
        if (got <= 0) {
            return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: %s", client->host,
                           got == 0 ? "the connection broke" : "no answer in time");
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

static int connect_to(const char *host, uint64_t timeout_ms)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(host, ':');
    struct addrinfo *list;
    char name[256];
    int one = 1;
    int fd = -1;

    (void)snprintf(name, sizeof name, "%.*s", colon == NULL ? 0 : (int)(colon - host), host);
    if (colon == NULL || getaddrinfo(name, colon + 1, &hints, &list) != 0) {
        return -1;
    }
    for (struct addrinfo *at = list; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) {
            set_timeout(fd, timeout_ms); /* of connect too */
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

static enum hf_err exchange(struct hf_sandbox_client *client, const bson_t *command, const char *db,
                            bson_t **reply, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy) bson_t *whole = bson_copy(command);
    HF_CLEANUP(hf_free) uint8_t *body = NULL;
    uint8_t header[HEADER_BYTES] = {0};
    uint32_t len;

    (void)BSON_APPEND_UTF8(whole, "$db", db);
    hf_store_le32(header, HEADER_BYTES + whole->len);
    hf_store_le32(header + 4, ++client->request_id);
    hf_store_le32(header + 12, OP_MSG);
    if (send_all(client, header, sizeof header, err) != HF_ERR_OK ||
        send_all(client, bson_get_data(whole), whole->len, err) != HF_ERR_OK ||
        receive_all(client, header, sizeof header, err) != HF_ERR_OK) {
        return err->code;
    }
    len = hf_load_le32(header);
    if (len < HEADER_BYTES + 5 || len > HF_SANDBOX_MESSAGE_MAX_BYTES ||
        hf_load_le32(header + 12) != OP_MSG || header[20] != 0) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: an answer is malformed", client->host);
    }
    len -= HEADER_BYTES;
    body = hf_alloc(len);
    if (body == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "%s: an answer of %u bytes", client->host, len);
    }
    if (receive_all(client, body, len, err) != HF_ERR_OK) {
        return err->code;
    }
    *reply = bson_new_from_data(body, len);
    if (*reply == NULL || !hf_sandbox_doc_valid(*reply)) {
        bson_destroy(HF_TAKE(*reply));
        return hf_fail(err, HF_ERR_CORRUPT, "%s: an answer is malformed", client->host);
    }
    if (!hf_sandbox_get_true(*reply, "ok")) {
        (void)hf_fail(err, HF_ERR_INVALID, "%s: %s", client->host,
                      hf_sandbox_get_utf8(*reply, "errmsg", "refused"));
        bson_destroy(HF_TAKE(*reply));
        return HF_ERR_INVALID;
    }
    return HF_ERR_OK;
}

/* ---- SCRAM-SHA-256 ---- */

/* One step of the conversation: sends the text, *answer (hf_free) is the server's. */
static enum hf_err say(struct hf_sandbox_client *client, const char *step, const char *text,
                       char **answer, struct hf_error *err)
{
    HF_CLEANUP(bson_destroy)
    bson_t *command =
        BCON_NEW(step, BCON_INT32(1), "mechanism", "SCRAM-SHA-256", "payload",
                 BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)text, (uint32_t)strlen(text)),
                 "conversationId", BCON_INT32(1));
    HF_CLEANUP(bson_destroy) bson_t *reply = NULL;
    bson_value_t value;

    if (exchange(client, command, "local", &reply, err) != HF_ERR_OK) {
        return hf_wrap(err, "authenticate");
    }
    if (!hf_sandbox_get(reply, "payload", &value) || value.value_type != BSON_TYPE_BINARY ||
        (*answer = hf_strndup((const char *)value.value.v_binary.data,
                              value.value.v_binary.data_len)) == NULL) {
        return hf_fail(err, HF_ERR_CORRUPT, "%s: authenticate: no payload", client->host);
    }
    return HF_ERR_OK;
}

static void hmac(const uint8_t key[DIGEST], const char *text, uint8_t out[DIGEST])
{
    unsigned len = DIGEST;

    (void)HMAC(EVP_sha256(), key, DIGEST, (const uint8_t *)text, strlen(text), out, &len);
}

/* The client's last message for the server's first, "r=nonce,s=salt,i=iterations"; NULL when that makes no sense. */
static char *prove(const struct hf_secret *key, const char *client_first, const char *server_first)
{
    const char *salt_at = strstr(server_first, ",s=");
    const char *count_at = salt_at == NULL ? NULL : strstr(salt_at, ",i=");
    unsigned long count = count_at == NULL ? 0 : strtoul(count_at + 3, NULL, 10);
    const char *nonce = strstr(client_first, ",r=") + 1;
    uint8_t salt[96], salted[DIGEST], proof[DIGEST], stored[DIGEST], signature[DIGEST];
    char text[HF_BASE64_LEN(DIGEST) + 1];
    HF_CLEANUP(hf_free) char *message = NULL;
    size_t salt_len;
    struct hf_error err;

    if (count < MIN_ITERATIONS || count > MAX_ITERATIONS ||
        strncmp(server_first, nonce, strlen(nonce)) != 0 ||
        hf_base64_decode((struct hf_str){salt_at + 3, (size_t)(count_at - salt_at) - 3}, salt,
                         sizeof salt, &salt_len, &err) != HF_ERR_OK ||
        PKCS5_PBKDF2_HMAC((const char *)key->data, (int)key->len, salt, (int)salt_len, (int)count,
                          EVP_sha256(), DIGEST, salted) != 1) {
        return NULL;
    }
    message = hf_asprintf("%s,%s,c=biws,%.*s", client_first, server_first,
                          (int)(salt_at - server_first), server_first);
    if (message == NULL) {
        return NULL;
    }
    hmac(salted, "Client Key", proof);
    (void)EVP_Digest(proof, DIGEST, stored, NULL, EVP_sha256(), NULL);
    hmac(stored, message, signature);
    for (size_t i = 0; i < DIGEST; i++) {
        proof[i] ^= signature[i];
    }
    hf_base64_encode(hf_bytes_of(proof, DIGEST), text);
    return hf_asprintf("c=biws,%.*s,p=%s", (int)(salt_at - server_first), server_first, text);
}

static enum hf_err authenticate(struct hf_sandbox_client *client, const struct hf_secret *key,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_free) char *challenge = NULL;
    HF_CLEANUP(hf_free) char *last = NULL;
    HF_CLEANUP(hf_free) char *verdict = NULL;
    uint8_t random[18];
    char nonce[HF_BASE64_LEN(sizeof random) + 1];
    char first[96];

    hf_random_bytes(random, sizeof random);
    hf_base64_encode(hf_bytes_of(random, sizeof random), nonce);
    (void)snprintf(first, sizeof first, "n,,n=__system,r=%s", nonce);
    if (say(client, "saslStart", first, &challenge, err) != HF_ERR_OK) {
        return err->code;
    }
    last = prove(key, first + 3, challenge);
    return last == NULL ? hf_fail(err, HF_ERR_CORRUPT,
                                  "%s: authenticate: a challenge makes no sense", client->host)
                        : say(client, "saslContinue", last, &verdict, err);
}

static enum hf_err open_client(const struct hf_sandbox_peer *peer, struct hf_sandbox_client **out,
                               struct hf_error *err)
{
    HF_CLEANUP(hf_sandbox_client_close) struct hf_sandbox_client *client = NULL;
    int fd = connect_to(peer->host, peer->timeout_ms);

    if (fd < 0) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: Connection refused", peer->host);
    }
    client = hf_alloc_zero(sizeof *client);
    HF_ASSERT(client != NULL);
    client->fd = fd;
    (void)snprintf(client->host, sizeof client->host, "%s", peer->host);
    if (peer->key != NULL && authenticate(client, peer->key, err) != HF_ERR_OK) {
        return err->code;
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
        result = exchange(*client, command, "admin", reply, err);
    }
    if (result != HF_ERR_OK && result != HF_ERR_INVALID) {
        hf_sandbox_client_close(HF_TAKE(*client));
    }
    return result;
}
