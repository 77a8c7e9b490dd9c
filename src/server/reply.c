/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the API in the forms of rest-api.md 1.2 and 1.6 to 1.8.
 */
#include <stdarg.h>
#include <stdio.h>

#include "server/audit.h"
#include "server/call.h"

#define REPLY_MAX_BYTES ((size_t)64 << 20)
#define PAGE_SIZE 100
#define PAGE_SIZE_MAX 500

static bool flag_of(const struct hf_server_call *call, const char *name)
{
    const char *value = hf_url_target_parameter(&call->target, name);

    return value != NULL && strcmp(value, "true") == 0;
}

static void send_text(struct hf_server_call *call, int status, const char *allow,
                      struct hf_buf *text)
{
    const struct hf_http_header headers[] = {
        {"Content-Type", "application/json"},
        {"X-MongoDB-Service-Version", HF_REPLY_VERSION},
        {"Allow", allow},
    };
    const struct hf_http_answer answer = {
        .status = status, .headers = headers, .header_count = allow == NULL ? 2 : 3};

    (void)hf_http_respond_buf_take(HF_TAKE(call->request), &answer, text);
}

static void send_document_allowing(struct hf_server_call *call, int status, const char *allow,
                                   const struct hf_json *document)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(REPLY_MAX_BYTES);
    struct hf_error err;

    hf_audit_settle(call, status, document);
    if (document == NULL ||
        hf_json_encode(document, flag_of(call, "pretty") ? 2 : 0, &text, &err) != HF_ERR_OK) {
        (void)hf_http_respond_text(
            HF_TAKE(call->request), 500, "application/json",
            "{\"error\":500,\"errorCode\":\"UNEXPECTED_ERROR\",\"detail\":\"no memory\","
            "\"reason\":\"Internal Server Error\"}");
        return;
    }
    send_text(call, status, allow, &text);
}

static void send_document(struct hf_server_call *call, int status, const struct hf_json *document)
{
    send_document_allowing(call, status, NULL, document);
}

void hf_reply_json(struct hf_server_call *call, int status, struct hf_json *document)
{
    HF_CLEANUP(hf_json_drop) struct hf_json *content = document;

    hf_audit_settle(call, status, content);
    if (!flag_of(call, "envelope") || content == NULL) {
        send_document(call, status, content);
        return;
    }
    /* A list carries the status itself, an entity is wrapped. */
    if (hf_json_get_array(content, "results") != NULL) {
        hf_json_set_integer(content, "status", status);
        send_document(call, 200, content);
        return;
    }
    HF_CLEANUP(hf_json_drop) struct hf_json *envelope = hf_json_object();
    hf_json_set_integer(envelope, "status", status);
    hf_json_set_take(envelope, "content", HF_TAKE(content));
    send_document(call, 200, envelope);
}

void hf_reply_empty(struct hf_server_call *call, int status)
{
    hf_reply_json(call, status, hf_json_object());
}

/* What fits a class when a handler has nothing more exact to say (rest-api.md 1.8). */
static const char *public_code_of(enum hf_err code)
{
    switch (code) {
    case HF_ERR_NOT_FOUND:
        return "RESOURCE_NOT_FOUND";
    case HF_ERR_INVALID:
        return "INVALID_ATTRIBUTE";
    case HF_ERR_UNAUTHENTICATED:
        return "NO_CURRENT_USER";
    case HF_ERR_DENIED:
        return "USER_UNAUTHORIZED";
    case HF_ERR_UNSUPPORTED:
        return "FEATURE_UNSUPPORTED";
    case HF_ERR_BUSY:
        return "RATE_LIMITED";
    case HF_ERR_CONFLICT:
    case HF_ERR_EXISTS:
        return "UNSUPPORTED_FOR_CURRENT_CONFIG";
    case HF_ERR_LIMIT:
        return "INVALID_JSON";
    case HF_ERR_OK:
    case HF_ERR_INTERNAL:
    case HF_ERR_UNAVAILABLE:
    case HF_ERR_CORRUPT:
    case HF_ERR_NO_SPACE:
    case HF_ERR_IO:
    case HF_ERR_NO_MEMORY:
    case HF_ERR_TIMEOUT:
    case HF_ERR_CANCELLED:
    case HF_ERR_LOST:
        break;
    }
    return "UNEXPECTED_ERROR";
}

static struct hf_json *error_document(int status, enum hf_err code, const char *public_code,
                                      const char *detail)
{
    struct hf_json *body = hf_json_object();

    hf_json_set_integer(body, "error", status);
    hf_json_set_text(body, "reason", hf_http_status_phrase(status));
    hf_json_set_text(body, "errorCode", public_code != NULL ? public_code : public_code_of(code));
    hf_json_set_text(body, "errorClass", hf_err_name(code));
    hf_json_set_text(body, "detail", detail);
    hf_json_set_take(body, "parameters", hf_json_array());
    return body;
}

void hf_reply_error(struct hf_server_call *call, const struct hf_error *err,
                    const char *public_code)
{
    int status = hf_err_http(err->code);
    HF_CLEANUP(hf_json_drop)
    struct hf_json *body = error_document(status, err->code, public_code, err->message);

    send_document(call, status, body);
}

void hf_reply_refuse(struct hf_server_call *call, const struct hf_reply_refusal *refusal)
{
    HF_CLEANUP(hf_json_drop)
    struct hf_json *body =
        error_document(refusal->status, HF_ERR_INVALID, refusal->public_code, refusal->detail);

    send_document_allowing(call, refusal->status, refusal->allow, body);
}

void hf_reply_fail(struct hf_server_call *call, enum hf_err code, const char *public_code,
                   const char *format, ...)
{
    struct hf_error err;
    char text[HF_ERROR_MESSAGE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)hf_fail(&err, code, "%s", text);
    hf_reply_error(call, &err, public_code);
}

bool hf_call_id(struct hf_server_call *call, size_t index, const char *public_code,
                struct hf_id *out)
{
    if (hf_id_parse(hf_str_of(call->parameters[index]), out) && !hf_id_is_none(out)) {
        return true;
    }
    hf_reply_fail(call, HF_ERR_NOT_FOUND, public_code,
                  "'%s' is not an id: 24 hexadecimal digits are", call->parameters[index]);
    return false;
}

bool hf_call_flag(struct hf_server_call *call, const char *name, bool fallback, bool *out)
{
    const char *value = hf_url_target_parameter(&call->target, name);

    *out = fallback;
    if (value == NULL) {
        return true;
    }
    *out = strcmp(value, "true") == 0;
    if (*out || strcmp(value, "false") == 0) {
        return true;
    }
    hf_reply_fail(call, HF_ERR_INVALID, "INVALID_QUERY_PARAMETER",
                  "query parameter %s is '%s', not true or false", name, value);
    return false;
}

bool hf_call_number(struct hf_server_call *call, const char *name, uint64_t min, uint64_t max,
                    uint64_t fallback, uint64_t *out)
{
    const char *value = hf_url_target_parameter(&call->target, name);

    *out = fallback;
    if (value == NULL || (hf_parse_u64(hf_str_of(value), out) && *out >= min && *out <= max)) {
        return true;
    }
    hf_reply_fail(call, HF_ERR_INVALID, "INVALID_QUERY_PARAMETER",
                  "query parameter %s is '%s', not a number from %llu to %llu", name, value,
                  (unsigned long long)min, (unsigned long long)max);
    return false;
}

static const char *type_words(enum hf_json_type type)
{
    switch (type) {
    case HF_JSON_TEXT:
        return "a text";
    case HF_JSON_INTEGER:
        return "an integer";
    case HF_JSON_BOOL:
        return "true or false";
    case HF_JSON_ARRAY:
        return "a list";
    case HF_JSON_OBJECT:
        return "an object";
    case HF_JSON_REAL:
        return "a number";
    case HF_JSON_NULL:
        break;
    }
    return "null";
}

bool hf_call_body_only(struct hf_server_call *call, const struct hf_call_member *members)
{
    void *at = NULL;
    struct hf_json *value;
    const char *key;

    if (call->body == NULL) {
        return true;
    }
    while ((key = hf_json_next(call->body, &at, &value)) != NULL) {
        size_t i = 0;
        while (members[i].name != NULL && strcmp(members[i].name, key) != 0) {
            i++;
        }
        if (members[i].name == NULL) {
            hf_reply_fail(call, HF_ERR_INVALID, "INVALID_ATTRIBUTE", "'%s' is no attribute here",
                          key);
            return false;
        }
        if (hf_json_type(value) != HF_JSON_NULL && members[i].type != HF_JSON_NULL &&
            hf_json_type(value) != members[i].type) {
            hf_reply_fail(call, HF_ERR_INVALID, "INVALID_JSON_ATTRIBUTE", "'%s' must be %s", key,
                          type_words(members[i].type));
            return false;
        }
    }
    return true;
}

bool hf_call_page(struct hf_server_call *call, struct hf_call_page *out)
{
    return hf_call_number(call, "pageNum", 1, 1000000000, 1, &out->number) &&
           hf_call_number(call, "itemsPerPage", 1, PAGE_SIZE_MAX, PAGE_SIZE, &out->size);
}

void hf_reply_base_url(const struct hf_server_call *call, char *out, size_t out_len)
{
    const char *host = hf_http_request_header(call->request, "Host");

    (void)snprintf(out, out_len, "%s://%.255s",
                   hf_http_request_is_tls(call->request) ? "https" : "http",
                   host == NULL ? "localhost" : host);
}

void hf_reply_link(struct hf_server_call *call, struct hf_json *document, const char *rel,
                   const char *path)
{
    struct hf_json *links = hf_json_get_array(document, "links");
    struct hf_json *link = hf_json_object();
    char base[300], href[4096];

    hf_reply_base_url(call, base, sizeof base);
    (void)snprintf(href, sizeof href, "%s%s", base, path);
    hf_json_set_text(link, "href", href);
    hf_json_set_text(link, "rel", rel);
    if (links == NULL) {
        hf_json_set_take(document, "links", hf_json_array());
        links = hf_json_get_array(document, "links");
    }
    hf_json_append_take(links, link);
}

/* The call's own path with its query, the page replaced. */
static void page_path(const struct hf_server_call *call, const struct hf_call_page *page,
                      uint64_t number, char *out, size_t out_len)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_URL_TARGET_MAX_BYTES);
    struct hf_error err;
    bool first = true;
    char digits[24];

    out[0] = '\0';
    if (hf_buf_append(&text, hf_bytes_of_str(call->target.path), &err) != HF_ERR_OK) {
        return;
    }
    for (size_t i = 0; i < call->target.parameter_count; i++) {
        const struct hf_url_parameter *one = &call->target.parameters[i];
        if (strcmp(one->name, "pageNum") != 0 && strcmp(one->name, "itemsPerPage") != 0 &&
            hf_url_add_parameter(&text, &first, one->name, hf_str_of(one->value), &err) !=
                HF_ERR_OK) {
            return;
        }
    }
    (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    if (hf_url_add_parameter(&text, &first, "pageNum", hf_str_of(digits), &err) != HF_ERR_OK) {
        return;
    }
    (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)page->size);
    if (hf_url_add_parameter(&text, &first, "itemsPerPage", hf_str_of(digits), &err) != HF_ERR_OK) {
        return;
    }
    (void)snprintf(out, out_len, "%.*s", (int)text.len, (const char *)text.data);
}

void hf_reply_list(struct hf_server_call *call, const struct hf_call_page *page,
                   struct hf_json *results, uint64_t total)
{
    struct hf_json *list = hf_json_object();
    char path[4096];

    hf_json_set_take(list, "results", results);
    hf_json_set_u64(list, "totalCount", total);
    page_path(call, page, page->number, path, sizeof path);
    hf_reply_link(call, list, "self", path);
    if (page->number > 1) {
        page_path(call, page, page->number - 1, path, sizeof path);
        hf_reply_link(call, list, "previous", path);
    }
    if (page->number * page->size < total) {
        page_path(call, page, page->number + 1, path, sizeof path);
        hf_reply_link(call, list, "next", path);
    }
    hf_reply_json(call, 200, list);
}
