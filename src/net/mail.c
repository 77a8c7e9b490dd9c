/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMTP over libcurl, one connection a message.
 */
#include "net/mail.h"

#include <curl/curl.h>
#include <string.h>

#include "base/alloc.h"

#define CONNECT_MS 10000L
#define TIMEOUT_MS 60000L

struct sending {
    struct hf_str left;
    const struct hf_cancel *cancel;
};

static size_t read_message(char *buffer, size_t size, size_t count, void *context)
{
    struct sending *sending = context;
    size_t len = size * count < sending->left.len ? size * count : sending->left.len;

    memcpy(buffer, sending->left.data, len);
    sending->left.data += len;
    sending->left.len -= len;
    return len;
}

static int look_for_cancel(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct sending *sending = context;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return sending->cancel != NULL && hf_cancel_requested(sending->cancel) ? 1 : 0;
}

/* "smtp://127.0.0.1:25" and the like: nobody on the way can read. */
static bool is_loopback(const char *url)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
    const char *host = strstr(url, "://");

    for (size_t i = 0; host != NULL && i < HF_ARRAY_LEN(hosts); i++) {
        size_t len = strlen(hosts[i]);
        if (strncmp(host + 3, hosts[i], len) == 0 && strchr(":/", host[3 + len]) != NULL) {
            return true;
        }
    }
    return false;
}

/* Without proxy, whatever the environment says, and with no other protocol. */
static CURLcode set_up(CURL *curl, const struct hf_mail_options *options,
                       struct curl_slist *recipients, struct sending *sending, char *text)
{
    CURLcode code = CURLE_OK;
#define SET(option, value) (code = code == CURLE_OK ? curl_easy_setopt(curl, option, value) : code)
    SET(CURLOPT_ERRORBUFFER, text);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    SET(CURLOPT_URL, options->url);
    SET(CURLOPT_USE_SSL, (long)(is_loopback(options->url) ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (options->ca_file != NULL) {
        SET(CURLOPT_CAINFO, options->ca_file);
    }
    if (options->user != NULL) {
        SET(CURLOPT_USERNAME, options->user);
        SET(CURLOPT_PASSWORD, options->password == NULL ? "" : options->password);
    }
    SET(CURLOPT_MAIL_FROM, options->from);
    SET(CURLOPT_MAIL_RCPT, recipients);
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_READFUNCTION, read_message);
    SET(CURLOPT_READDATA, sending);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, look_for_cancel);
    SET(CURLOPT_XFERINFODATA, sending);
    SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, options->timeout_ms == 0 ? TIMEOUT_MS : (long)options->timeout_ms);
#undef SET
    return code;
}

static enum hf_err fail(CURL *curl, CURLcode code, const char *text,
                        const struct hf_mail_options *options, struct hf_error *err)
{
    long answer = 0;
    const char *words = text[0] != '\0' ? text : curl_easy_strerror(code);

    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer);
    switch ((int)code) {
    case CURLE_ABORTED_BY_CALLBACK:
        (void)hf_fail(err, HF_ERR_CANCELLED, "cancelled");
        break;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        (void)hf_fail(err, HF_ERR_INVALID, "%s; hint: smtp://host:587 or smtps://host:465", words);
        break;
    case CURLE_OUT_OF_MEMORY:
        (void)hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        break;
    case CURLE_OPERATION_TIMEDOUT:
        (void)hf_fail(err, HF_ERR_TIMEOUT, "%s", words);
        break;
    case CURLE_LOGIN_DENIED:
    case CURLE_USE_SSL_FAILED:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_REMOTE_ACCESS_DENIED:
        (void)hf_fail(err, HF_ERR_DENIED, "%s", words);
        break;
    default:
        (void)hf_fail(err, HF_ERR_UNAVAILABLE, "%s", words);
    }
    if (answer >= 400) {
        return hf_wrap(err, "mail to %s: it answers %ld", options->url, answer);
    }
    return hf_wrap(err, "mail to %s", options->url);
}

enum hf_err hf_mail_send(const struct hf_mail_options *options, struct hf_str message,
                         struct hf_error *err)
{
    char text[CURL_ERROR_SIZE] = "";
    struct sending sending = {.left = message, .cancel = options->cancel};
    struct curl_slist *recipients = NULL;
    CURL *curl = NULL;
    CURLcode code = CURLE_OUT_OF_MEMORY;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    curl = curl_easy_init();
    for (size_t i = 0; curl != NULL && i < options->to_count; i++) {
        struct curl_slist *more = curl_slist_append(recipients, options->to[i]);
        if (more == NULL) {
            curl_slist_free_all(recipients);
            curl_easy_cleanup(curl);
            curl_global_cleanup();
            return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
        }
        recipients = more;
    }
    if (curl != NULL) {
        code = set_up(curl, options, recipients, &sending, text);
        code = code == CURLE_OK ? curl_easy_perform(curl) : code;
    }
    enum hf_err result = code == CURLE_OK ? HF_ERR_OK : fail(curl, code, text, options, err);
    curl_slist_free_all(recipients);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return result;
}
