/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reading and writing JSON text shares with the values: the cast to Jansson's type and the note of a failure.
 */
#ifndef HF_CODEC_JSON_INTERNAL_H
#define HF_CODEC_JSON_INTERNAL_H

#include <jansson.h>

#include "codec/json.h"

#define HF_JSON_DEEPEST 64

/* A struct hf_json is a json_t under another name. */
static inline json_t *hf_json_inside(const struct hf_json *value)
{
    return (json_t *)(uintptr_t)value;
}

static inline struct hf_json *hf_json_outside(const json_t *value)
{
    return (struct hf_json *)(uintptr_t)value;
}

/* True for an object or array that a building step failed to extend because memory ran out. */
bool hf_json_is_incomplete(const json_t *container);

/* Whether Jansson was refused memory on this thread since it was last watched. */
void hf_json_watch_memory(void);
bool hf_json_memory_ran_out(void);

/* Length of the well-formed UTF-8 character at the start of the text, 0 when there is none. NUL is none. */
size_t hf_json_utf8_length(struct hf_str text);

#endif
