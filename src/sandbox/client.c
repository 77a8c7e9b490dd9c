/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calling side between members: a socket, OP_MSG, SCRAM-SHA-256 with the key file's content as password.
 *
 * It knows no member and no command. A reply is checked before it is believed.
 */
#include "sandbox/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "os/clock.h"
#include "sandbox/value.h"
#include "sandbox/wire.h"

#define OP_MSG 2013
#define HEADER_BYTES 21 /* message header, flags, kind of the one section */
#define MIN_ITERATIONS 4096
#define MAX_ITERATIONS 1000000

struct hf_sandbox_client {
    int fd;
    int32_t request_id;
    char host[256];
};

void hf_sandbox_client_close(struct hf_sandbox_client *client)
{
    if (client != NULL) {
        (void)close(client->fd);
        hf_free(client);
    }
}

/* ---- The socket ---- */

static enum hf_err wait_for(struct hf_sandbox_client *client, short events, uint64_t deadline_ms,
                            struct hf_error *err)
{
    struct pollfd poll_fd = {.fd = client->fd, .events = events};
    uint64_t now = hf_clock_mono_ms();
    int ready = poll(&poll_fd, 1, deadline_ms > now ? (int)(deadline_ms - now) : 0);

    if (ready < 0 && errno == EINTR) {
        return HF_ERR_OK;
    }
    if (ready == 0 || now >= deadline_ms) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: no answer in time", client->host);
    }
    return ready > 0 ? HF_ERR_OK : hf_fail_errno(err, errno, "%s", client->host);
}

static enum hf_err send_all(struct hf_sandbox_client *client, const uint8_t *data, size_t len,
                            uint64_t deadline_ms, struct hf_error *err)
{
    while (len > 0) {
        ssize_t sent = send(client->fd, data, len, MSG_NOSIGNAL);

        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
        } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: the connection broke", client->host);
        } else if (wait_for(client, POLLOUT, deadline_ms, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err receive_all(struct hf_sandbox_client *client, uint8_t *data, size_t len,
                               uint64_t deadline_ms, struct hf_error *err)
{
    while (len > 0) {
        ssize_t got = recv(client->fd, data, len, 0);

        if (got > 0) {
            data += got;
            len -= (size_t)got;
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: the connection broke", client->host);
        } else if (wait_for(client, POLLIN, deadline_ms, err) != HF_ERR_OK) {
            return err->code;
        }
    }
    return HF_ERR_OK;
}

static enum hf_err connect_to(struct hf_sandbox_client *client, const struct addrinfo *address,
                              uint64_t deadline_ms, struct hf_error *err)
{
    int one = 1;
    int failure = 0;
    socklen_t len = sizeof failure;

    client->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client->fd < 0) {
        return hf_fail_errno(err, errno, "%s", client->host);
    }
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->fd, address->ai_addr, address->ai_addrlen) == 0) {
        return HF_ERR_OK;
    }
    if (errno == EINPROGRESS && wait_for(client, POLLOUT, deadline_ms, err) == HF_ERR_OK &&
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &failure, &len) == 0 && failure == 0) {
        return HF_ERR_OK;
    }
    (void)close(client->fd);
    client->fd = -1;
    return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: Connection refused", client->host);
}

static enum hf_err resolve_and_connect(struct hf_sandbox_client *client, uint64_t deadline_ms,
                                       struct hf_error *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    char *colon = strrchr(client->host, ':');
    char name[256];
    enum hf_err result = HF_ERR_UNAVAILABLE;

    if (colon == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "%s: no port", client->host);
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)(colon - client->host), client->host);
    if (getaddrinfo(name, colon + 1, &hints, &list) != 0) {
        return hf_fail(err, HF_ERR_UNAVAILABLE, "%s: the name is not known", client->host);
    }
    for (struct addrinfo *at = list; at != NULL && result != HF_ERR_OK; at = at->ai_next) {
        result = connect_to(client, at, deadline_ms, err);
    }
    freeaddrinfo(list);
    return result;
}

/* ---- Messages ---- */

static enum hf_err exchange(struct hf_sandbox_client *client, const bson_t *command,
                            uint64_t timeout_ms, bson_t **reply, struct hf_error *err)
{
    uint64_t deadline_ms = hf_clock_mono_ms() + timeout_ms;
    uint8_t header[HEADER_BYTES] = {0};
    HF_CLEANUP(hf_free) uint8_t *body = NULL;
    uint32_t len;

    hf_store_le32(header, HEADER_BYTES + command->len);
    hf_store_le32(header + 4, (uint32_t)++client->request_id);
    hf_store_le32(header + 12, OP_MSG);
    if (send_all(client, header, sizeof header, deadline_ms, err) != HF_ERR_OK ||
        send_all(client, bson_get_data(command), command->len, deadline_ms, err) != HF_ERR_OK ||
        receive_all(client, header, sizeof header, deadline_ms, err) != HF_ERR_OK) {
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
    if (receive_all(client, body, len, deadline_ms, err) != HF_ERR_OK) {
        return err->code;
    }
    *reply = bson_new_from_data(body, len);
    if (*reply == NULL || !bson_validate(*reply, BSON_VALIDATE_NONE, NULL)) {
        bson_destroy(*reply);
        return hf_fail(err, HF_ERR_CORRUPT, "%s: an answer is malformed", client->host);
    }
    return HF_ERR_OK;
}

static enum hf_err run_on(struct hf_sandbox_client *client, const bson_t *command, const char *db,
                          uint64_t timeout_ms, bson_t **reply, struct hf_error *err)
{
    bson_t *whole = bson_copy(command);
    enum hf_err result;

    (void)BSON_APPEND_UTF8(whole, "$db", db);
    result = exchange(client, whole, timeout_ms, reply, err);
    bson_destroy(whole);
    if (result != HF_ERR_OK) {
        return result;
    }
    if (!hf_sandbox_get_true(*reply, "ok")) {
        (void)hf_fail(err, HF_ERR_INVALID, "%s: %s", client->host,
                      hf_sandbox_get_utf8(*reply, "errmsg", "refused"));
        bson_destroy(*reply);
        *reply = NULL;
        return HF_ERR_INVALID;
    }
    return HF_ERR_OK;
}

enum hf_err hf_sandbox_client_run(struct hf_sandbox_client *client, const bson_t *command,
                                  uint64_t timeout_ms, bson_t **reply, struct hf_error *err)
{
    return run_on(client, command, "admin", timeout_ms, reply, err);
}

/* ---- SCRAM-SHA-256 ---- */

static void hmac(const uint8_t *key, size_t key_len, const char *text, uint8_t out[32])
{
    unsigned len = 32;

    (void)HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), out,
               &len);
}

/* One step of the conversation: sends payload, *answer (hf_free) is the server's, as text. */
static enum hf_err say(struct hf_sandbox_client *client, bson_t *command, const char *payload,
                       int32_t conversation, uint64_t timeout_ms, char **answer,
                       struct hf_error *err)
{
    bson_t *reply = NULL;
    bson_value_t value;

    (void)BSON_APPEND_BINARY(command, "payload", BSON_SUBTYPE_BINARY, (const uint8_t *)payload,
                             (uint32_t)strlen(payload));
    if (conversation != 0) {
        (void)BSON_APPEND_INT32(command, "conversationId", conversation);
    }
    *answer = NULL;
    if (run_on(client, command, "local", timeout_ms, &reply, err) != HF_ERR_OK) {
        return hf_wrap(err, "authenticate");
    }
    if (hf_sandbox_get(reply, "payload", &value) && value.value_type == BSON_TYPE_BINARY) {
        *answer =
            hf_strndup((const char *)value.value.v_binary.data, value.value.v_binary.data_len);
    }
    bson_destroy(reply);
    return *answer != NULL ? HF_ERR_OK
                           : hf_fail(err, HF_ERR_CORRUPT, "%s: no payload", client->host);
}

/* The value behind "x=" up to the next comma, copied. */
static bool attribute(const char *text, char name, char *out, size_t out_len)
{
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, ",");

        if (text[0] == name && text[1] == '=' && len - 2 < out_len) {
            (void)snprintf(out, out_len, "%.*s", (int)(len - 2), text + 2);
            return true;
        }
        text += len + (text[len] == ',' ? 1 : 0);
    }
    return false;
}

/* The client's last message from the server's first; false when that makes no sense. */
static bool prove(const struct hf_secret *key, const char *client_first, const char *server_first,
                  const char *nonce, char *out, size_t out_len)
{
    char server_nonce[128];
    char salt_text[128];
    char iterations_text[16];
    char message[768];
    uint8_t salt[96];
    uint8_t salted[32];
    uint8_t client_key[32];
    uint8_t stored_key[32];
    uint8_t signature[32];
    unsigned char proof[64];
    unsigned long iterations;
    int salt_len;

    if (!attribute(server_first, 'r', server_nonce, sizeof server_nonce) ||
        !attribute(server_first, 's', salt_text, sizeof salt_text) ||
        !attribute(server_first, 'i', iterations_text, sizeof iterations_text) ||
        strncmp(server_nonce, nonce, strlen(nonce)) != 0 || strlen(salt_text) % 4 != 0) {
        return false;
    }
    iterations = strtoul(iterations_text, NULL, 10);
    salt_len = EVP_DecodeBlock(salt, (const unsigned char *)salt_text, (int)strlen(salt_text));
    if (salt_len < 3 || iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS) {
        return false;
    }
    for (size_t end = strlen(salt_text); end > 0 && salt_text[end - 1] == '='; end--) {
        salt_len--;
    }
    if (PKCS5_PBKDF2_HMAC((const char *)key->data, (int)key->len, salt, salt_len, (int)iterations,
                          EVP_sha256(), 32, salted) != 1) {
        return false;
    }
    hmac(salted, 32, "Client Key", client_key);
    (void)EVP_Digest(client_key, 32, stored_key, NULL, EVP_sha256(), NULL);
    (void)snprintf(message, sizeof message, "%s,%s,c=biws,r=%s", client_first, server_first,
                   server_nonce);
    hmac(stored_key, 32, message, signature);
    for (size_t i = 0; i < 32; i++) {
        client_key[i] ^= signature[i];
    }
    (void)EVP_EncodeBlock(proof, client_key, 32);
    (void)snprintf(out, out_len, "c=biws,r=%s,p=%s", server_nonce, (const char *)proof);
    return true;
}

static enum hf_err authenticate(struct hf_sandbox_client *client, const struct hf_secret *key,
                                uint64_t timeout_ms, struct hf_error *err)
{
    bson_t start = BSON_INITIALIZER;
    bson_t go_on = BSON_INITIALIZER;
    HF_CLEANUP(hf_free) char *challenge = NULL;
    HF_CLEANUP(hf_free) char *verdict = NULL;
    uint8_t random[18];
    unsigned char nonce[32];
    char first[96];
    char with_header[100];
    char last[512];
    enum hf_err result;

    hf_random_bytes(random, sizeof random);
    (void)EVP_EncodeBlock(nonce, random, sizeof random);
    (void)snprintf(first, sizeof first, "n=__system,r=%s", (const char *)nonce);
    (void)snprintf(with_header, sizeof with_header, "n,,%s", first);
    (void)BSON_APPEND_INT32(&start, "saslStart", 1);
    (void)BSON_APPEND_UTF8(&start, "mechanism", "SCRAM-SHA-256");
    result = say(client, &start, with_header, 0, timeout_ms, &challenge, err);
    if (result == HF_ERR_OK &&
        !prove(key, first, challenge, (const char *)nonce, last, sizeof last)) {
        result = hf_fail(err, HF_ERR_CORRUPT, "%s: authenticate: a challenge makes no sense",
                         client->host);
    }
    if (result == HF_ERR_OK) {
        (void)BSON_APPEND_INT32(&go_on, "saslContinue", 1);
        result = say(client, &go_on, last, 1, timeout_ms, &verdict, err);
    }
    bson_destroy(&start);
    bson_destroy(&go_on);
    return result;
}

enum hf_err hf_sandbox_client_open(const char *host, const struct hf_secret *key,
                                   uint64_t timeout_ms, struct hf_sandbox_client **out,
                                   struct hf_error *err)
{
    struct hf_sandbox_client *client = hf_alloc_zero(sizeof *client);

    if (client == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "connect to %s", host);
    }
    client->fd = -1;
    (void)snprintf(client->host, sizeof client->host, "%s", host);
    if (resolve_and_connect(client, hf_clock_mono_ms() + timeout_ms, err) != HF_ERR_OK) {
        hf_free(client);
        return err->code;
    }
    if (key != NULL && authenticate(client, key, timeout_ms, err) != HF_ERR_OK) {
        hf_sandbox_client_close(client);
        return err->code;
    }
    *out = client;
    return HF_ERR_OK;
}
