/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share: names as each source spells them, limits in words.
 */
#ifndef HF_CONFIG_OPTION_INTERNAL_H
#define HF_CONFIG_OPTION_INTERNAL_H

#include "config/option.h"

#define HF_OPTION_NAME_BYTES 80

/* How many letters must be changed, added or dropped; names are short. */
size_t hf_option_distance(struct hf_str a, struct hf_str b);
/* "data-dir"; "HOLDFAST_DATA_DIR". out holds HF_OPTION_NAME_BYTES. */
void hf_option_dashed(const char *name, char *out);
void hf_option_environment_name(const char *name, char *out);
/* "1s to 1d", "at most 16MiB", "" without bounds. */
void hf_option_range(const struct hf_option *option, char *out, size_t out_len);
/* "PATH"; "" for a flag. "text", as in the schema. */
const char *hf_option_value_name(enum hf_option_type type);
const char *hf_option_type_name(enum hf_option_type type);
/* Where the option's value stands in the struct. */
void *hf_option_member(const struct hf_option *option, void *values);

#endif
