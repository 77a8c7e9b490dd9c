/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a store by its URL, the way operators name one. Knows which kinds exist, nothing of how
 * they work.
 */
#include "store/url.h"

#include "base/alloc.h"
#include "store/store.h"

#define PATH_MAX_BYTES 4096

static bool stays_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~/:@+,=!$&'()*;", c) != NULL);
}

enum hf_err hf_store_url_of_path(const char *path, char **out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf url = HF_BUF_INIT(3 * PATH_MAX_BYTES + 16);
    if (hf_buf_append_text(&url, "file://", err) != HF_ERR_OK) {
        return err->code;
    }
    for (const char *at = path; *at != '\0'; at++) {
        enum hf_err code = stays_plain(*at)
                               ? hf_buf_append(&url, hf_bytes_of(at, 1), err)
                               : hf_buf_appendf(&url, err, "%%%02X", (unsigned)(unsigned char)*at);
        if (code != HF_ERR_OK) {
            return code;
        }
    }
    *out = hf_strndup((const char *)url.data, url.len);
    return *out != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a URL");
}

enum hf_err hf_store_url_to_path(struct hf_str rest, char **out, struct hf_error *err)
{
    if (hf_str_starts_with(rest, hf_str_of("localhost/"))) {
        rest.data += strlen("localhost");
        rest.len -= strlen("localhost");
    }
    if (rest.len == 0 || rest.data[0] != '/') {
        return hf_fail(err, HF_ERR_INVALID,
                       "the path is not absolute; hint: file:///absolute/path, with three slashes");
    }
    if (rest.len > 3 * PATH_MAX_BYTES) {
        return hf_fail(err, HF_ERR_LIMIT, "the path is longer than %d bytes", PATH_MAX_BYTES);
    }
    HF_CLEANUP(hf_free) char *path = hf_alloc(rest.len + 1);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory for a path");
    }
    size_t len = 0;
    for (size_t i = 0; i < rest.len; i++) {
        char c = rest.data[i];
        if (c == '?' || c == '#') {
            return hf_fail(err, HF_ERR_INVALID,
                           "it has a query or fragment; hint: write %%3F for '?' and %%23 for '#'");
        }
        if (c == '%') {
            uint8_t byte = 0;
            if (rest.len - i < 3 ||
                !hf_hex_decode((struct hf_str){.data = rest.data + i + 1, .len = 2}, &byte, 1) ||
                byte == 0) {
                return hf_fail(err, HF_ERR_INVALID,
                               "'%%' is not followed by two hexadecimal digits");
            }
            c = (char)byte;
            i += 2;
        }
        path[len++] = c;
    }
    path[len] = '\0';
    *out = HF_TAKE(path);
    return HF_ERR_OK;
}

enum hf_err hf_store_open_url(const struct hf_store_url_options *options, struct hf_store **out,
                              struct hf_error *err)
{
    const char *separator = strstr(options->url, "://");
    struct hf_str kind = {.data = options->url,
                          .len = separator == NULL ? 0 : (size_t)(separator - options->url)};
    if (separator == NULL) {
        return hf_fail(err, HF_ERR_INVALID,
                       "open store %s: it is not a URL; hint: file:///absolute/path", options->url);
    }
    /* The rest of another kind's URL may hold a password: it is not shown. */
    if (!hf_str_equal_c(kind, "file")) {
        return hf_fail(err, HF_ERR_UNSUPPORTED,
                       "open store %.*s://...: this version has no stores of kind \"%.*s\"; "
                       "hint: file:///absolute/path",
                       HF_STR_ARG(kind), HF_STR_ARG(kind));
    }
    HF_CLEANUP(hf_free) char *path = NULL;
    if (hf_store_url_to_path(hf_str_of(separator + 3), &path, err) != HF_ERR_OK) {
        return hf_wrap(err, "open store %s", options->url);
    }
    return hf_store_fs_open(
        &(struct hf_store_fs_options){
            .root = path,
            .reserve_bytes = options->reserve_bytes,
            .create = options->create,
            .read_only = options->read_only,
        },
        out, err);
}
