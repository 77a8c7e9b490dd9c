/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths: joining, resolving, and judging those that come from outside.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/fs.h"

#define LONGEST_RELATIVE 4096

char *hf_path_join(const char *dir, const char *name)
{
    size_t len = strlen(dir);
    if (len == 0) {
        return hf_strdup(name);
    }
    return hf_asprintf(dir[len - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

enum hf_err hf_path_real(const char *path, char **out, struct hf_error *err)
{
    char *resolved = realpath(path, NULL);
    if (resolved == NULL) {
        return hf_fail_errno(err, errno, "resolve %s", path);
    }
    *out = hf_strdup(resolved);
    free(resolved);
    return *out != NULL ? HF_ERR_OK : hf_fail(err, HF_ERR_NO_MEMORY, "resolve %s", path);
}

static bool is_safe_component(struct hf_str component)
{
    return component.len > 0 && !hf_str_equal_c(component, ".") &&
           !hf_str_equal_c(component, "..") && memchr(component.data, '\0', component.len) == NULL;
}

bool hf_path_is_safe_relative(struct hf_str path)
{
    size_t start = 0;
    if (path.len == 0 || path.len > LONGEST_RELATIVE) {
        return false;
    }
    for (size_t i = 0; i <= path.len; i++) {
        if (i == path.len || path.data[i] == '/') {
            struct hf_str component = {.data = path.data + start, .len = i - start};
            if (!is_safe_component(component)) {
                return false;
            }
            start = i + 1;
        }
    }
    return true;
}

enum hf_err hf_fs_make_temp_dir(const char *prefix, char **out, struct hf_error *err)
{
    const char *root = getenv("TMPDIR");
    if (root == NULL || root[0] == '\0') {
        root = "/tmp";
    }
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/%sXXXXXX", root, prefix);
    if (path == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "make a temporary directory in %s", root);
    }
    if (mkdtemp(path) == NULL) {
        return hf_fail_errno(err, errno, "make a temporary directory in %s", root);
    }
    *out = HF_TAKE(path);
    return HF_ERR_OK;
}

enum hf_err hf_path_search(const char *name, char **out, struct hf_error *err)
{
    const char *search = getenv("PATH");
    const char *at = search != NULL ? search : "/usr/bin:/bin";

    while (*at != '\0') {
        size_t len = strcspn(at, ":");
        HF_CLEANUP(hf_free) char *path = hf_asprintf("%.*s/%s", (int)len, at, name);
        if (path == NULL) {
            return hf_fail(err, HF_ERR_NO_MEMORY, "%s", name);
        }
        if (len > 0 && access(path, X_OK) == 0) {
            *out = HF_TAKE(path);
            return HF_ERR_OK;
        }
        at += len + (at[len] == ':' ? 1 : 0);
    }
    return hf_fail(err, HF_ERR_NOT_FOUND, "no program %s in PATH", name);
}
