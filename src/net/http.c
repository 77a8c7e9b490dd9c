/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header syntax and the table of statuses. Knows neither the client nor the server.
 */
#include "net/http.h"

#include <stddef.h>
#include <string.h>

struct status_entry {
    int status;
    enum hf_err class;
    const char *phrase;
};

static const struct status_entry statuses[] = {
    {200, HF_ERR_OK, "OK"},
    {201, HF_ERR_OK, "Created"},
    {202, HF_ERR_OK, "Accepted"},
    {204, HF_ERR_OK, "No Content"},
    {206, HF_ERR_OK, "Partial Content"},
    {301, HF_ERR_UNSUPPORTED, "Moved Permanently"},
    {302, HF_ERR_UNSUPPORTED, "Found"},
    {304, HF_ERR_UNSUPPORTED, "Not Modified"},
    {307, HF_ERR_UNSUPPORTED, "Temporary Redirect"},
    {400, HF_ERR_INVALID, "Bad Request"},
    {401, HF_ERR_UNAUTHENTICATED, "Unauthorized"},
    {403, HF_ERR_DENIED, "Forbidden"},
    {404, HF_ERR_NOT_FOUND, "Not Found"},
    {405, HF_ERR_UNSUPPORTED, "Method Not Allowed"},
    {406, HF_ERR_INVALID, "Not Acceptable"},
    {407, HF_ERR_UNAUTHENTICATED, "Proxy Authentication Required"},
    {408, HF_ERR_TIMEOUT, "Request Timeout"},
    {409, HF_ERR_CONFLICT, "Conflict"},
    {410, HF_ERR_NOT_FOUND, "Gone"},
    {411, HF_ERR_INVALID, "Length Required"},
    {412, HF_ERR_CONFLICT, "Precondition Failed"},
    {413, HF_ERR_LIMIT, "Content Too Large"},
    {414, HF_ERR_LIMIT, "URI Too Long"},
    {415, HF_ERR_INVALID, "Unsupported Media Type"},
    {416, HF_ERR_INVALID, "Range Not Satisfiable"},
    {422, HF_ERR_INVALID, "Unprocessable Content"},
    {429, HF_ERR_BUSY, "Too Many Requests"},
    {431, HF_ERR_LIMIT, "Request Header Fields Too Large"},
    {500, HF_ERR_INTERNAL, "Internal Server Error"},
    {501, HF_ERR_UNSUPPORTED, "Not Implemented"},
    {502, HF_ERR_UNAVAILABLE, "Bad Gateway"},
    {503, HF_ERR_UNAVAILABLE, "Service Unavailable"},
    {504, HF_ERR_TIMEOUT, "Gateway Timeout"},
    {507, HF_ERR_NO_SPACE, "Insufficient Storage"},
};

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool hf_http_header_valid(const struct hf_http_header *header)
{
    if (header->name == NULL || header->value == NULL || header->name[0] == '\0') {
        return false;
    }
    for (const char *at = header->name; *at != '\0'; at++) {
        if (!is_token_char(*at)) {
            return false;
        }
    }
    for (const char *at = header->value; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* strcasecmp depends on the locale. */
bool hf_http_name_equal(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return lower(*a) == lower(*b);
}

static const struct status_entry *find_status(int status)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(statuses); i++) {
        if (statuses[i].status == status) {
            return &statuses[i];
        }
    }
    return NULL;
}

enum hf_err hf_http_status_class(int status)
{
    const struct status_entry *entry = find_status(status);
    if (entry != NULL) {
        return entry->class;
    }
    switch (status / 100) {
    case 2:
        return HF_ERR_OK;
    case 4:
        return HF_ERR_INVALID;
    case 5:
        return HF_ERR_INTERNAL;
    default:
        return HF_ERR_UNSUPPORTED;
    }
}

const char *hf_http_status_phrase(int status)
{
    const struct status_entry *entry = find_status(status);
    return entry == NULL ? "Unknown" : entry->phrase;
}
