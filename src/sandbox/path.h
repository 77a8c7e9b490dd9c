/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dotted paths as queries follow them: into documents, and through arrays into each of their
 * documents.
 */
#ifndef HF_SANDBOX_PATH_H
#define HF_SANDBOX_PATH_H

#include "sandbox/value.h"

/* What a walk shows: a value the path reaches (missing included), and the place in the first array
 * it went through. */
struct hf_sandbox_path_hit {
    const bson_value_t *value;
    int32_t array_index; /* -1: no array on the way */
};

/* Returns true to end the walk. */
typedef bool (*hf_sandbox_path_visit)(const struct hf_sandbox_path_hit *hit, void *context);

/* Shows every value; an array at the end of the path is shown as it is. True when a visit ended the
 * walk. */
bool hf_sandbox_path_walk(const bson_t *doc, const char *path, hf_sandbox_path_visit visit,
                          void *context);
/* True for a component that names an array element: digits only. */
bool hf_sandbox_path_is_index(const char *component, size_t len);

#endif
