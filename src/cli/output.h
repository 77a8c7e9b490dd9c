/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people read: tables, bytes, times, progress. On a terminal a bar that is drawn over itself, else plain lines.
 */
#ifndef HF_CLI_OUTPUT_H
#define HF_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "codec/json.h"

/* Pretty JSON and a line end on stdout. */
HF_MUST_CHECK enum hf_err hf_cli_print_json(const struct hf_json *json, struct hf_error *err);

/* A table whose columns are as wide as what is in them. */
struct hf_cli_table;
#define HF_CLI_COLUMNS_MAX 12
HF_MUST_CHECK struct hf_cli_table *hf_cli_table_create(const char *const *titles, size_t columns);
/* Cells are copied; NULL is empty. Without memory the row is left out. */
void hf_cli_table_row(struct hf_cli_table *table, const char *const *cells);
/* Frees, prints nothing. NULL does nothing. */
void hf_cli_table_drop(struct hf_cli_table *table);
/* Prints and frees. */
void hf_cli_table_print(struct hf_cli_table *table);

/* How a list of the API is shown: its columns, and the row or rows of one element. */
struct hf_cli_listing {
    const char *const *titles;
    size_t columns;
    void (*row)(struct hf_cli_table *table, const struct hf_json *element);
};
/* The "results" of list as a table, or the list as it is. */
HF_MUST_CHECK enum hf_err hf_cli_show_list(const struct hf_json *list,
                                           const struct hf_cli_listing *listing, bool as_json,
                                           struct hf_error *err);

/* "1.5 MiB", of a member of json. */
void hf_cli_bytes(const struct hf_json *json, const char *key, char out[24]);
/* "2026-11-25 03:31:17"; empty for 0. */
void hf_cli_time(uint64_t seconds, char out[32]);

/* Progress on stderr. Zero-initialise; bar only where stderr is a terminal, else a line every 2 s when it moved. */
struct hf_cli_progress {
    uint64_t said_ms;
    uint64_t said_bytes;
    char said_phase[32];
    bool drawn;
};
void hf_cli_progress_show(struct hf_cli_progress *progress, const char *what,
                          const struct hf_progress_view *view);
/* Ends the bar's line. */
void hf_cli_progress_end(struct hf_cli_progress *progress);
/* The line after a restore into a directory; json as of the API's restore, or of `store restore`. */
void hf_cli_print_restored(const struct hf_json *json);
/* Out of the API's "progress" document. */
void hf_cli_progress_from_json(const struct hf_json *json, struct hf_progress_view *out);

#endif
