/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP client over libcurl: one easy handle in a multi handle of its own, so that the waiting is ours
 * and a cancel, a deadline or silence ends it at once. Every curl code ends here.
 *
 * A handle serves one call. Used again, libcurl before 8.1.1 writes into a freed header of the call before when an
 * answer's first header line begins with a blank; and connections are the multi handle's anyway.
 */
#include "net/http_client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "base/secret.h"
#include "net/http_client_internal.h"
#include "os/clock.h"

#define DEFAULT_CONNECT_TIMEOUT_MS 10000
#define DEFAULT_IDLE_TIMEOUT_MS 60000
#define HF_HTTP_BASES_MAX 16
#define WAIT_MS 50 /* how long a cancel may go unnoticed */
#define UPLOAD_BUFFER_BYTES (2L * 1024 * 1024)
#define DOWNLOAD_BUFFER_BYTES (512L * 1024)

struct hf_http_client {
    CURL *model;                    /* owned: holds the options of all calls, makes none */
    CURL *easy;                     /* owned: of the call under way; NULL between calls */
    CURLM *multi;                   /* owned: holds the connection */
    char *bases[HF_HTTP_BASES_MAX]; /* owned, without slashes at their ends */
    size_t base_count, base_at;
    const char *base_url;           /* borrowed from bases: where the last call went */
    char *authorization;            /* owned: the whole header line, or NULL */
    const struct hf_cancel *cancel; /* borrowed: outlives us */
    uint32_t connect_timeout_ms, total_timeout_ms, idle_timeout_ms;
    bool curl_is_up;
    bool refused_address; /* of the call under way: it was a private one */
    char curl_text[CURL_ERROR_SIZE];
};

/* A call under way. */
struct exchange {
    struct hf_http_client *client;
    const struct hf_http_call *call;
    struct hf_http_reply *reply;
    struct curl_slist *headers; /* owned */
    char *url;                  /* owned */
    size_t body_at;
    struct hf_error *err;
    bool failed; /* a callback has set *err */
    uint64_t began_ms, moved_ms, moved_bytes;
    uint32_t total_timeout_ms, idle_timeout_ms;
};

/* By address, not by the look of a name: "127.0.0.1.example" is somebody else's. */
static bool host_is_loopback(const char *host)
{
    struct in_addr address;

    if (inet_pton(AF_INET, host, &address) == 1) {
        return ntohl(address.s_addr) >> 24 == 127;
    }
    return hf_http_name_equal(host, "localhost") || strcmp(host, "[::1]") == 0;
}

/* Refuses what is not "http[s]://host[:port][/path]", and credentials that anyone on the way could read. */
static enum hf_err check_url(const struct hf_http_client_options *options, const char *base_url,
                             struct hf_error *err)
{
    char *scheme = NULL, *host = NULL, *query = NULL, *user = NULL;
    CURLU *url = curl_url();
    enum hf_err code = HF_ERR_OK;

    if (url == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "http client: no memory");
    }
    if (curl_url_set(url, CURLUPART_URL, base_url, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        (!hf_http_name_equal(scheme, "http") && !hf_http_name_equal(scheme, "https"))) {
        code =
            hf_fail(err, HF_ERR_INVALID, "%s: not a URL of the form http(s)://host:port", base_url);
    } else if (curl_url_get(url, CURLUPART_QUERY, &query, 0) != CURLUE_NO_QUERY ||
               curl_url_get(url, CURLUPART_USER, &user, 0) != CURLUE_NO_USER) {
        /* The text may hold a password: it is not repeated. */
        code = hf_fail(err, HF_ERR_INVALID,
                       "base URL for host %s: a query or a user is not allowed", host);
    } else if (options->bearer != NULL && hf_http_name_equal(scheme, "http") &&
               !host_is_loopback(host) && !options->allow_insecure) {
        code = hf_fail(err, HF_ERR_DENIED,
                       "%s: a token is not sent over plain HTTP to another host (hint: use https)",
                       base_url);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(query);
    curl_free(user);
    curl_url_cleanup(url);
    return code;
}

static enum hf_err check_options(const struct hf_http_client_options *options, struct hf_error *err)
{
    if (options->base_url == NULL) {
        return hf_fail(err, HF_ERR_INVALID, "http client: no URL");
    }
    if (options->bearer != NULL && options->user != NULL) {
        return hf_fail(err, HF_ERR_INVALID, "%s: a token and a user together", options->base_url);
    }
    if ((options->user == NULL) != (options->password == NULL)) {
        return hf_fail(err, HF_ERR_INVALID, "%s: a user needs a password", options->base_url);
    }
    struct hf_http_header token = {.name = "Authorization",
                                   .value = options->bearer == NULL ? "" : options->bearer};
    if (!hf_http_header_valid(&token)) {
        return hf_fail(err, HF_ERR_INVALID, "%s: the token holds a control character",
                       options->base_url);
    }
    return HF_ERR_OK;
}

/* "a,b" in two, each checked. */
static enum hf_err split_bases(struct hf_http_client *client,
                               const struct hf_http_client_options *options, struct hf_error *err)
{
    const char *at = options->base_url;

    for (bool more = true; more;) {
        size_t len = strcspn(at, ",");
        more = at[len] == ',';
        const char *next = at + len + more;
        while (len > 0 && at[len - 1] == '/') {
            len--;
        }
        if (client->base_count == HF_HTTP_BASES_MAX) {
            return hf_fail(err, HF_ERR_INVALID, "%s: more than %d addresses", options->base_url,
                           HF_HTTP_BASES_MAX);
        }
        char *base = hf_strndup(at, len);
        if (base == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "http client: no memory");
        }
        client->bases[client->base_count++] = base;
        if (check_url(options, base, err) != HF_ERR_OK) {
            return err->code;
        }
        at = next;
    }
    client->base_url = client->bases[0];
    return HF_ERR_OK;
}

static enum hf_err copy_options(struct hf_http_client *client,
                                const struct hf_http_client_options *options, struct hf_error *err)
{
    if (options->bearer != NULL) {
        client->authorization = hf_asprintf("Authorization: Bearer %s", options->bearer);
    }
    if (options->bearer != NULL && client->authorization == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "http client: no memory");
    }
    client->cancel = options->cancel;
    client->connect_timeout_ms =
        options->connect_timeout_ms == 0 ? DEFAULT_CONNECT_TIMEOUT_MS : options->connect_timeout_ms;
    client->idle_timeout_ms =
        options->idle_timeout_ms == 0 ? DEFAULT_IDLE_TIMEOUT_MS : options->idle_timeout_ms;
    client->total_timeout_ms = options->total_timeout_ms;
    return HF_ERR_OK;
}

/* A process that is started meanwhile must not inherit the connection. */
static int on_socket(void *context, curl_socket_t fd, curlsocktype purpose)
{
    (void)context;
    (void)purpose;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? CURL_SOCKOPT_OK : CURL_SOCKOPT_ERROR;
}

/* Of a private network, of this host, of the link, or of nobody. */
static bool is_private_v4(uint32_t address)
{
    static const struct {
        uint32_t net, bits;
    } nets[] = {{0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},
                {0xa9fe0000, 16}, {0xac100000, 12}, {0xc0000000, 24}, {0xc0a80000, 16},
                {0xc6120000, 15}, {0xe0000000, 3}};

    for (size_t i = 0; i < HF_ARRAY_LEN(nets); i++) {
        if (address >> (32 - nets[i].bits) == nets[i].net >> (32 - nets[i].bits)) {
            return true;
        }
    }
    return false;
}

static bool is_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return is_private_v4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family != AF_INET6) {
        return true;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    const uint8_t *bytes = in6.sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) ||
        memcmp(bytes, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12) == 0) {
        return is_private_v4((uint32_t)bytes[12] << 24 | (uint32_t)bytes[13] << 16 |
                             (uint32_t)bytes[14] << 8 | bytes[15]);
    }
    /* Of the whole room of IPv6, 2000::/3 is what is routed. */
    return bytes[0] >> 5 != 1;
}

/* Where the connection really goes: a name may resolve to anything, and to something else the next time. */
static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct hf_http_client *client = context;

    (void)purpose;
    if (is_private(&address->addr)) {
        client->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* What stays the same for all calls. Every option is checked: one that is not understood must not go
 * unnoticed where it protects something. */
static CURLcode set_up(struct hf_http_client *client, const struct hf_http_client_options *options)
{
    CURL *easy = client->model;
    CURLcode code = CURLE_OK;

#define SET(option, value) (code = code == CURLE_OK ? curl_easy_setopt(easy, option, value) : code)
    SET(CURLOPT_ERRORBUFFER, client->curl_text);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    if (options->no_private_address) {
        SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
        SET(CURLOPT_OPENSOCKETDATA, client);
    }
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_timeout_ms);
    SET(CURLOPT_BUFFERSIZE, DOWNLOAD_BUFFER_BYTES);
    SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
    SET(CURLOPT_USERAGENT,
        options->user_agent == NULL ? "holdfast/" HF_VERSION : options->user_agent);
    SET(CURLOPT_PROXY, options->proxy == NULL ? "" : options->proxy);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (options->ca_file != NULL) {
        SET(CURLOPT_CAINFO, options->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (options->pinned_key != NULL) {
        SET(CURLOPT_PINNEDPUBLICKEY, options->pinned_key);
        if (options->ca_file == NULL) {
            /* The key itself is what is trusted; who signed it and for which name proves nothing more. */
            SET(CURLOPT_SSL_VERIFYPEER, 0L);
            SET(CURLOPT_SSL_VERIFYHOST, 0L);
        }
    }
    if (options->user != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_DIGEST);
        SET(CURLOPT_USERNAME, options->user);
        SET(CURLOPT_PASSWORD, options->password);
    }
#undef SET
    return code;
}

enum hf_err hf_http_client_create(const struct hf_http_client_options *options,
                                  struct hf_http_client **out, struct hf_error *err)
{
    HF_CLEANUP(hf_http_client_destroy)
    struct hf_http_client *client = hf_alloc_zero(sizeof *client);

    if (client == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "http client: no memory");
    }
    /* Counted, and safe from any thread in this version of curl. */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return hf_fail(err, HF_ERR_INTERNAL, "http client: curl does not start");
    }
    client->curl_is_up = true;
    if (check_options(options, err) != HF_ERR_OK ||
        split_bases(client, options, err) != HF_ERR_OK ||
        copy_options(client, options, err) != HF_ERR_OK) {
        return err->code;
    }
    client->model = curl_easy_init();
    client->multi = curl_multi_init();
    if (client->model == NULL || client->multi == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "http client: no memory");
    }
    CURLcode code = set_up(client, options);
    if (code != CURLE_OK) {
        return hf_fail(err, code == CURLE_OUT_OF_MEMORY ? HF_ERR_NO_MEMORY : HF_ERR_INVALID,
                       "%s: %s", client->base_url, curl_easy_strerror(code));
    }
    *out = HF_TAKE(client);
    return HF_ERR_OK;
}

void hf_http_client_destroy(struct hf_http_client *client)
{
    if (client == NULL) {
        return;
    }
    curl_easy_cleanup(client->model);
    curl_multi_cleanup(client->multi);
    if (client->authorization != NULL) {
        hf_wipe(client->authorization, strlen(client->authorization));
    }
    hf_free(client->authorization);
    for (size_t i = 0; i < client->base_count; i++) {
        hf_free(client->bases[i]);
    }
    if (client->curl_is_up) {
        curl_global_cleanup();
    }
    hf_free(client);
}

static size_t on_read(char *buffer, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    const struct hf_http_call *call = exchange->call;
    size_t len = 0;

    if (call->source != NULL) {
        if (call->source->read(call->source->context, (uint8_t *)buffer, size * count, &len,
                               exchange->err) != HF_ERR_OK) {
            exchange->failed = true;
            return CURL_READFUNC_ABORT;
        }
        HF_ASSERT(len <= size * count);
        return len;
    }
    len = call->body.len - exchange->body_at;
    if (len > size * count) {
        len = size * count;
    }
    memcpy(buffer, call->body.data + exchange->body_at, len);
    exchange->body_at += len;
    return len;
}

/* Curl asks for it when the first answer was a challenge, or a kept connection turned out to be dead. */
static int on_seek(void *context, curl_off_t offset, int origin)
{
    struct exchange *exchange = context;
    const struct hf_http_call *call = exchange->call;

    if (origin != SEEK_SET || offset < 0) {
        return CURL_SEEKFUNC_FAIL;
    }
    if (call->source == NULL) {
        if ((uint64_t)offset > call->body.len) {
            return CURL_SEEKFUNC_FAIL;
        }
        exchange->body_at = (size_t)offset;
        return CURL_SEEKFUNC_OK;
    }
    if (offset != 0 || call->source->rewind == NULL) {
        return CURL_SEEKFUNC_FAIL;
    }
    if (call->source->rewind(call->source->context, exchange->err) != HF_ERR_OK) {
        exchange->failed = true;
        return CURL_SEEKFUNC_FAIL;
    }
    return CURL_SEEKFUNC_OK;
}

static size_t on_write(char *buffer, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;
    const struct hf_http_call *call = exchange->call;
    struct hf_bytes piece = hf_bytes_of(buffer, size * count);
    long status = 0;
    enum hf_err code;

    (void)curl_easy_getinfo(exchange->client->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->sink != NULL && status / 100 == 2) {
        code = call->sink->write(call->sink->context, piece, exchange->err);
    } else {
        code = hf_buf_append(&exchange->reply->body, piece, exchange->err);
        if (code == HF_ERR_LIMIT) {
            code = hf_fail(exchange->err, HF_ERR_LIMIT, "the answer is longer than %zu bytes",
                           exchange->reply->body.max);
        }
    }
    if (code != HF_ERR_OK) {
        exchange->failed = true;
        return CURL_WRITEFUNC_ERROR;
    }
    exchange->reply->body_length_bytes += piece.len;
    return piece.len;
}

static size_t on_header(char *buffer, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;

    if (hf_http_reply_add_line(exchange->reply,
                               (struct hf_str){.data = buffer, .len = size * count},
                               exchange->err) != HF_ERR_OK) {
        exchange->failed = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return size * count;
}

static bool add_header(struct exchange *exchange, const char *line)
{
    struct curl_slist *longer = curl_slist_append(exchange->headers, line);

    if (longer != NULL) {
        exchange->headers = longer;
    }
    return longer != NULL;
}

static enum hf_err build_headers(struct exchange *exchange, struct hf_error *err)
{
    const struct hf_http_call *call = exchange->call;
    const char *authorization = exchange->client->authorization;

    /* A server that wants to refuse a body says so while it arrives; waiting for "continue" would cost
     * a round trip, or a second where the server does not know it. */
    bool added = add_header(exchange, "Expect:") &&
                 (authorization == NULL || add_header(exchange, authorization));
    for (size_t i = 0; added && i < call->header_count; i++) {
        const struct hf_http_header *header = &call->headers[i];
        if (!hf_http_header_valid(header)) {
            return hf_fail(err, HF_ERR_INVALID, "header %zu holds a character that headers cannot",
                           i);
        }
        /* Curl sends a header without a value only when it ends in a semicolon. */
        HF_CLEANUP(hf_free)
        char *line = header->value[0] == '\0' ? hf_asprintf("%s;", header->name)
                                              : hf_asprintf("%s: %s", header->name, header->value);
        added = line != NULL && add_header(exchange, line);
    }
    return added ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
}

static bool method_has_body(const struct hf_http_call *call)
{
    return call->source != NULL || call->body.len > 0 || strcmp(call->method, "PUT") == 0 ||
           strcmp(call->method, "POST") == 0 || strcmp(call->method, "PATCH") == 0;
}

static CURLcode set_up_call(struct exchange *exchange)
{
    CURL *easy = exchange->client->easy;
    const struct hf_http_call *call = exchange->call;
    uint64_t size = call->source != NULL ? call->source->size_bytes : call->body.len;
    bool is_head = strcmp(call->method, "HEAD") == 0, has_body = method_has_body(call);
    CURLcode code = CURLE_OK;

#define SET(option, value) (code = code == CURLE_OK ? curl_easy_setopt(easy, option, value) : code)
    SET(CURLOPT_URL, exchange->url);
    SET(CURLOPT_HTTPHEADER, exchange->headers);
    SET(CURLOPT_HTTPGET, 1L); /* undoes what an earlier call set */
    SET(CURLOPT_UPLOAD, has_body ? 1L : 0L);
    SET(CURLOPT_NOBODY, is_head ? 1L : 0L);
    SET(CURLOPT_CUSTOMREQUEST, call->method);
    SET(CURLOPT_INFILESIZE_LARGE,
        has_body && size <= INT64_MAX ? (curl_off_t)size : (curl_off_t)-1);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, exchange);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, exchange);
    SET(CURLOPT_WRITEFUNCTION, on_write);
    SET(CURLOPT_WRITEDATA, exchange);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, exchange);
#undef SET
    exchange->client->curl_text[0] = '\0';
    return code;
}

/* OK as long as the call may go on. */
static enum hf_err check_patience(struct exchange *exchange, struct hf_error *err)
{
    CURL *easy = exchange->client->easy;
    curl_off_t up = 0, down = 0;
    long headers = 0;

    if (hf_cancel_check(exchange->client->cancel, err) != HF_ERR_OK ||
        hf_cancel_check(exchange->call->interrupt, err) != HF_ERR_OK) {
        return err->code;
    }
    uint64_t now_ms = hf_clock_mono_ms();
    (void)curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &up);
    (void)curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    (void)curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &headers);
    uint64_t moved = (uint64_t)up + (uint64_t)down + (uint64_t)headers;
    if (moved != exchange->moved_bytes) {
        exchange->moved_bytes = moved;
        exchange->moved_ms = now_ms;
    }
    if (exchange->total_timeout_ms != 0 &&
        now_ms - exchange->began_ms > exchange->total_timeout_ms) {
        return hf_fail(err, HF_ERR_TIMEOUT, "not finished within %u ms",
                       exchange->total_timeout_ms);
    }
    if (now_ms - exchange->moved_ms > exchange->idle_timeout_ms) {
        return hf_fail(err, HF_ERR_TIMEOUT, "no byte moved for %u ms", exchange->idle_timeout_ms);
    }
    return HF_ERR_OK;
}

static enum hf_err drive(struct exchange *exchange, struct hf_error *err)
{
    CURLM *multi = exchange->client->multi;
    int running = 1, left;

    while (running > 0) {
        CURLMcode code = curl_multi_perform(multi, &running);
        if (code != CURLM_OK) {
            return hf_fail(err, code == CURLM_OUT_OF_MEMORY ? HF_ERR_NO_MEMORY : HF_ERR_INTERNAL,
                           "%s", curl_multi_strerror(code));
        }
        if (running > 0) {
            if (check_patience(exchange, err) != HF_ERR_OK) {
                return err->code;
            }
            (void)curl_multi_poll(multi, NULL, 0, WAIT_MS, NULL);
        }
    }
    const CURLMsg *message = curl_multi_info_read(multi, &left);
    HF_ASSERT(message != NULL && message->msg == CURLMSG_DONE);
    if (exchange->failed) {
        return err->code;
    }
    long os_error = 0;
    (void)curl_easy_getinfo(exchange->client->easy, CURLINFO_OS_ERRNO, &os_error);
    return hf_http_client_fail_curl(message->data.result, exchange->client->curl_text,
                                    (int)os_error, err);
}

/* OpenSSL writes without MSG_NOSIGNAL: a broken connection must not kill a process that did not ask for
 * SIGPIPE to be ignored. */
static enum hf_err drive_without_sigpipe(struct exchange *exchange, struct hf_error *err)
{
    const struct timespec no_time = {0};
    sigset_t pipe_only, before, pending;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigemptyset(&pending);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    enum hf_err code = drive(exchange, err);
    if (!sigismember(&pending, SIGPIPE)) {
        (void)sigtimedwait(&pipe_only, NULL, &no_time);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static enum hf_err exchange_run(struct exchange *exchange, struct hf_error *err)
{
    struct hf_http_client *client = exchange->client;

    if (build_headers(exchange, err) != HF_ERR_OK) {
        return err->code;
    }
    client->easy = curl_easy_duphandle(client->model);
    if (client->easy == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    CURLcode code = set_up_call(exchange);
    if (code != CURLE_OK) {
        return hf_http_client_fail_curl(code, "", 0, err);
    }
    if (curl_multi_add_handle(client->multi, client->easy) != CURLM_OK) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    exchange->began_ms = exchange->moved_ms = hf_clock_mono_ms();
    client->refused_address = false;
    enum hf_err result = drive_without_sigpipe(exchange, err);
    if (result == HF_ERR_UNAVAILABLE && client->refused_address) {
        result =
            hf_fail(err, HF_ERR_DENIED, "its address is one of a private network or of this host");
    }
    long status = 0;
    (void)curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
    exchange->reply->status = (int)status;
    /* Also breaks off a call that is not over. */
    (void)curl_multi_remove_handle(client->multi, client->easy);
    return result;
}

enum hf_err hf_http_client_call(struct hf_http_client *client, const struct hf_http_call *call,
                                struct hf_http_reply *reply, struct hf_error *err)
{
    struct hf_http_call filled = *call;
    struct exchange exchange = {
        .client = client,
        .call = &filled,
        .reply = reply,
        .err = err,
        .total_timeout_ms =
            call->total_timeout_ms == 0 ? client->total_timeout_ms : call->total_timeout_ms,
        .idle_timeout_ms =
            call->idle_timeout_ms == 0 ? client->idle_timeout_ms : call->idle_timeout_ms,
    };

    filled.method = call->method == NULL ? "GET" : call->method;
    client->base_url = client->bases[client->base_at];
    hf_http_reply_clear(reply);
    if (call->target == NULL || call->target[0] != '/') {
        return hf_fail(err, HF_ERR_INVALID, "%s %s: the target does not begin with \"/\"",
                       filled.method, client->base_url);
    }
    HF_CLEANUP(hf_free) char *url = hf_asprintf("%s%s", client->base_url, call->target);
    if (url == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "http client: no memory");
    }
    exchange.url = url;
    /* What a caller cannot tell apart from here: the call never left, or its answer never came. */
    enum hf_err code = HF_FAULT("net.client.send", err);
    code = code != HF_ERR_OK ? code : exchange_run(&exchange, err);
    code = code != HF_ERR_OK ? code : HF_FAULT("net.client.answer", err);
    curl_easy_cleanup(client->easy);
    client->easy = NULL;
    curl_slist_free_all(exchange.headers);
    if (code == HF_ERR_UNAVAILABLE || code == HF_ERR_TIMEOUT ||
        (code == HF_ERR_OK && reply->status == 503)) {
        client->base_at = (client->base_at + 1) % client->base_count;
    }
    return code == HF_ERR_OK ? HF_ERR_OK : hf_wrap(err, "%s %s", filled.method, url);
}

enum hf_err hf_http_client_fail_status(const struct hf_http_client *client,
                                       const struct hf_http_call *call,
                                       const struct hf_http_reply *reply, struct hf_error *err)
{
    char line[201];

    hf_http_reply_first_line(reply, line, sizeof line);
    return hf_fail(err, hf_http_status_class(reply->status), "%s %s%s: %d %s%s%s",
                   call->method == NULL ? "GET" : call->method, client->base_url, call->target,
                   reply->status, hf_http_status_phrase(reply->status), line[0] == '\0' ? "" : ": ",
                   line);
}
