/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store URLs and file paths, one into the other. For the drivers; everyone else calls
 * hf_store_open_url.
 */
#ifndef HF_STORE_URL_H
#define HF_STORE_URL_H

#include "base/bytes.h"
#include "base/error.h"

/* "file:///back%20up" of "/back up"; free with hf_free. */
HF_MUST_CHECK enum hf_err hf_store_url_of_path(const char *path, char **out, struct hf_error *err);
/* "/back up" of what follows "file://"; INVALID for another host, a relative path, a query or a
 * fragment. */
HF_MUST_CHECK enum hf_err hf_store_url_to_path(struct hf_str rest, char **out,
                                               struct hf_error *err);

#endif
