/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came back: the headers of an answer, kept and looked up, and curl's codes turned into ours.
 */
#include "net/http_client_internal.h"

#include <strings.h>

void hf_http_reply_init(struct hf_http_reply *reply, size_t body_max_bytes)
{
    *reply = (struct hf_http_reply){
        .body = HF_BUF_INIT(body_max_bytes),
        .headers = HF_BUF_INIT(HF_HTTP_REPLY_HEADERS_MAX_BYTES),
    };
}

void hf_http_reply_fini(struct hf_http_reply *reply)
{
    hf_buf_fini(&reply->body);
    hf_buf_fini(&reply->headers);
}

void hf_http_reply_clear(struct hf_http_reply *reply)
{
    hf_buf_clear(&reply->body);
    hf_buf_clear(&reply->headers);
    reply->status = 0;
    reply->body_length_bytes = 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct hf_str trim(struct hf_str text)
{
    while (text.len > 0 && is_space(text.data[0])) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && is_space(text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* Curl takes a line that only begins like one for "200". */
static bool is_status_line(struct hf_str line)
{
    static const char shape[] = "HTTP/d.d ddd";
    for (size_t i = 0; i < sizeof shape - 1; i++) {
        if (i >= line.len || (shape[i] == 'd' ? line.data[i] < '0' || line.data[i] > '9'
                                              : line.data[i] != shape[i])) {
            return false;
        }
    }
    return line.len == sizeof shape - 1 || is_space(line.data[sizeof shape - 1]);
}

enum hf_err hf_http_reply_add_line(struct hf_http_reply *reply, struct hf_str line,
                                   struct hf_error *err)
{
    const struct hf_bytes end = hf_bytes_of("", 1);

    if (line.len >= 5 && strncasecmp(line.data, "HTTP/", 5) == 0) {
        /* An interim answer, or a challenge that curl answers by itself, leaves nothing behind. */
        hf_buf_clear(&reply->headers);
        hf_buf_clear(&reply->body);
        reply->body_length_bytes = 0;
        return is_status_line(line)
                   ? HF_ERR_OK
                   : hf_fail(err, HF_ERR_CORRUPT, "the answer is not HTTP: malformed status line");
    }
    const char *colon = line.len == 0 ? NULL : memchr(line.data, ':', line.len);
    if (colon == NULL || memchr(line.data, '\0', line.len) != NULL) {
        return HF_ERR_OK;
    }
    struct hf_str name = {.data = line.data, .len = (size_t)(colon - line.data)};
    struct hf_str value = trim((struct hf_str){.data = colon + 1, .len = line.len - name.len - 1});
    if (hf_buf_append(&reply->headers, hf_bytes_of_str(name), err) != HF_ERR_OK ||
        hf_buf_append(&reply->headers, end, err) != HF_ERR_OK ||
        hf_buf_append(&reply->headers, hf_bytes_of_str(value), err) != HF_ERR_OK ||
        hf_buf_append(&reply->headers, end, err) != HF_ERR_OK) {
        return hf_wrap(err, "headers of the answer");
    }
    return HF_ERR_OK;
}

const char *hf_http_reply_header(const struct hf_http_reply *reply, const char *name)
{
    const char *at = (const char *)reply->headers.data;
    const char *end = at == NULL ? NULL : at + reply->headers.len;

    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (hf_http_name_equal(at, name)) {
            return value;
        }
        at = value + strlen(value) + 1;
    }
    return NULL;
}

void hf_http_reply_first_line(const struct hf_http_reply *reply, char *out, size_t out_len)
{
    size_t len = 0;

    while (len < reply->body.len && len + 1 < out_len) {
        uint8_t byte = reply->body.data[len];
        if (byte == '\r' || byte == '\n') {
            break;
        }
        if (byte < 0x20 || byte == 0x7f) {
            len = 0;
            break;
        }
        out[len++] = (char)byte;
    }
    out[len] = '\0';
}

struct curl_meaning {
    CURLcode code;
    enum hf_err class;
    const char *text; /* instead of curl's; NULL: curl's own */
    const char *hint;
};

static const struct curl_meaning meanings[] = {
    {CURLE_COULDNT_RESOLVE_HOST, HF_ERR_UNAVAILABLE, NULL, NULL},
    {CURLE_COULDNT_RESOLVE_PROXY, HF_ERR_UNAVAILABLE, NULL, NULL},
    {CURLE_COULDNT_CONNECT, HF_ERR_UNAVAILABLE, NULL, NULL},
    {CURLE_OPERATION_TIMEDOUT, HF_ERR_TIMEOUT, NULL, NULL},
    {CURLE_GOT_NOTHING, HF_ERR_UNAVAILABLE, "the connection was closed without an answer", NULL},
    {CURLE_SEND_ERROR, HF_ERR_UNAVAILABLE, NULL, NULL},
    {CURLE_RECV_ERROR, HF_ERR_UNAVAILABLE, NULL, NULL},
    {CURLE_PARTIAL_FILE, HF_ERR_UNAVAILABLE, NULL, NULL},
    {CURLE_SEND_FAIL_REWIND, HF_ERR_UNAVAILABLE,
     "the body would have to be sent again and its source cannot", NULL},
    {CURLE_PEER_FAILED_VERIFICATION, HF_ERR_DENIED, NULL,
     "name the certificate's authority as CA file, or pin its key"},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, HF_ERR_DENIED, "the server's key is not the pinned one", NULL},
    {CURLE_SSL_ISSUER_ERROR, HF_ERR_DENIED, NULL, NULL},
    {CURLE_SSL_CONNECT_ERROR, HF_ERR_UNAVAILABLE, NULL, "does the server speak TLS on this port?"},
    {CURLE_SSL_CACERT_BADFILE, HF_ERR_INVALID, NULL, NULL},
    {CURLE_SSL_CERTPROBLEM, HF_ERR_INVALID, NULL, NULL},
    {CURLE_OUT_OF_MEMORY, HF_ERR_NO_MEMORY, NULL, NULL},
    {CURLE_URL_MALFORMAT, HF_ERR_INVALID, NULL, NULL},
    {CURLE_UNSUPPORTED_PROTOCOL, HF_ERR_CORRUPT, "the answer is not HTTP", NULL},
    {CURLE_WEIRD_SERVER_REPLY, HF_ERR_CORRUPT, "the answer is not HTTP", NULL},
    /* A header line that is none; all options of ours were taken when they were set. */
    {CURLE_BAD_FUNCTION_ARGUMENT, HF_ERR_CORRUPT, "the answer is not HTTP", NULL},
    {CURLE_BAD_CONTENT_ENCODING, HF_ERR_CORRUPT, NULL, NULL},
};

enum hf_err hf_http_client_fail_curl(CURLcode code, const char *text, int os_error,
                                     struct hf_error *err)
{
    static const struct curl_meaning other = {.class = HF_ERR_INTERNAL};
    const struct curl_meaning *meaning = &other;

    if (code == CURLE_OK) {
        return HF_ERR_OK;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(meanings); i++) {
        if (meanings[i].code == code) {
            meaning = &meanings[i];
        }
    }
    const char *words = text[0] != '\0' ? text : curl_easy_strerror(code);
    if (code == CURLE_COULDNT_CONNECT && os_error != 0) {
        /* "connection refused" says more than curl's words do. */
        (void)hf_fail_errno(err, os_error, "%s", words);
        err->code = meaning->class;
        return err->code;
    }
    return hf_fail(err, meaning->class, "%s%s%s%s", meaning->text != NULL ? meaning->text : words,
                   meaning->hint != NULL ? " (hint: " : "",
                   meaning->hint != NULL ? meaning->hint : "", meaning->hint != NULL ? ")" : "");
}
