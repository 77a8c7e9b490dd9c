/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing for people.
 */
#include "cli/output.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/process.h"

#define LINE_EVERY_MS 2000
#define BAR_EVERY_MS 100
#define ROWS_MAX 100000

enum hf_err hf_cli_print_json(const struct hf_json *json, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT((size_t)256 << 20);

    if (hf_json_encode(json, 2, &text, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)fwrite(text.data, 1, text.len, stdout);
    (void)fputc('\n', stdout);
    return HF_ERR_OK;
}

/* ---- Tables ---- */

struct hf_cli_table {
    size_t columns;
    size_t widths[HF_CLI_COLUMNS_MAX];
    char **cells; /* owned, rows * columns */
    size_t rows, capacity;
};

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return width;
}

struct hf_cli_table *hf_cli_table_create(const char *const *titles, size_t columns)
{
    struct hf_cli_table *table = hf_alloc_zero(sizeof *table);

    HF_ASSERT(columns <= HF_CLI_COLUMNS_MAX);
    if (table != NULL) {
        table->columns = columns;
        hf_cli_table_row(table, titles);
    }
    return table;
}

void hf_cli_table_row(struct hf_cli_table *table, const char *const *cells)
{
    if (table == NULL || table->rows == ROWS_MAX) {
        return;
    }
    if (table->rows == table->capacity) {
        size_t capacity = table->capacity == 0 ? 16 : table->capacity * 2;
        char **more = hf_realloc_array(table->cells, capacity * table->columns, sizeof(char *));
        if (more == NULL) {
            return;
        }
        table->cells = more;
        table->capacity = capacity;
    }
    for (size_t i = 0; i < table->columns; i++) {
        char *copy = hf_strdup(cells[i] == NULL ? "" : cells[i]);
        size_t width = copy == NULL ? 0 : width_of(copy);
        table->cells[table->rows * table->columns + i] = copy;
        if (width > table->widths[i]) {
            table->widths[i] = width;
        }
    }
    table->rows++;
}

void hf_cli_table_drop(struct hf_cli_table *table)
{
    for (size_t i = 0; table != NULL && i < table->rows * table->columns; i++) {
        hf_free(table->cells[i]);
    }
    if (table != NULL) {
        hf_free(table->cells);
        hf_free(table);
    }
}

void hf_cli_table_print(struct hf_cli_table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t i = 0; i < table->columns; i++) {
            char *cell = table->cells[row * table->columns + i];
            const char *text = cell == NULL ? "" : cell;
            bool last = i + 1 == table->columns;
            (void)printf("%s%*s%s", text, last ? 0 : (int)(table->widths[i] - width_of(text)), "",
                         last ? "\n" : "  ");
            hf_free(cell);
        }
    }
    hf_free(table->cells);
    hf_free(table);
}

enum hf_err hf_cli_show_list(const struct hf_json *list, const struct hf_cli_listing *listing,
                             bool as_json, struct hf_error *err)
{
    if (as_json) {
        return hf_cli_print_json(list, err);
    }
    struct hf_cli_table *table = hf_cli_table_create(listing->titles, listing->columns);
    const struct hf_json *results = hf_json_get_array(list, "results");
    for (size_t i = 0; i < hf_json_count(results); i++) {
        listing->row(table, hf_json_at(results, i));
    }
    hf_cli_table_print(table);
    return HF_ERR_OK;
}

void hf_cli_bytes(const struct hf_json *json, const char *key, char out[24])
{
    hf_format_bytes(hf_json_get_u64(json, key, 0), out, 24);
}

void hf_cli_time(uint64_t seconds, char out[32])
{
    out[0] = '\0';
    if (seconds != 0) {
        hf_time_format(seconds, out);
        out[10] = ' ';
        out[19] = '\0';
    }
}

/* ---- Progress ---- */

/* Of a restore onto files it counts how much of them had to be written. */
static void format_view(const struct hf_progress_view *view, char *out, size_t out_len)
{
    char text[480], written[24];

    hf_progress_format(view, text, sizeof text);
    hf_format_bytes(view->bytes_new, written, sizeof written);
    bool onto = strcmp(view->phase, HF_PROGRESS_ONTO) == 0;
    (void)snprintf(out, out_len, "%s%s%s", onto ? written : "", onto ? " written, " : "", text);
}

static void draw_bar(const char *what, const struct hf_progress_view *view)
{
    enum { WIDTH = 24 };
    char text[544], bar[WIDTH + 1];
    unsigned columns = 80, filled = 0;

    format_view(view, text, sizeof text);
    (void)hf_stdout_is_terminal(&columns);
    if (view->bytes_total > 0) {
        filled = view->bytes_done >= view->bytes_total
                     ? WIDTH
                     : (unsigned)(view->bytes_done * WIDTH / view->bytes_total);
    }
    memset(bar, '.', WIDTH);
    memset(bar, '#', filled);
    bar[WIDTH] = '\0';
    int room = (int)columns - WIDTH - (int)strlen(what) - 6;
    (void)fprintf(stderr, "\r\033[K%s [%s] %.*s", what, bar, room > 0 ? room : 0, text);
    (void)fflush(stderr);
}

void hf_cli_progress_show(struct hf_cli_progress *progress, const char *what,
                          const struct hf_progress_view *view)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    uint64_t now_ms = hf_clock_mono_ms();
    bool new_phase = strcmp(progress->said_phase, view->phase) != 0;
    bool due = now_ms - progress->said_ms >= (terminal ? BAR_EVERY_MS : LINE_EVERY_MS);
    char text[544];

    if (!new_phase && (!due || (!terminal && progress->said_bytes == view->bytes_done))) {
        return;
    }
    progress->said_ms = now_ms;
    progress->said_bytes = view->bytes_done;
    (void)snprintf(progress->said_phase, sizeof progress->said_phase, "%s", view->phase);
    if (terminal) {
        draw_bar(what, view);
        progress->drawn = true;
        return;
    }
    format_view(view, text, sizeof text);
    (void)fprintf(stderr, "%s: %s%s%s\n", what, view->phase, view->phase[0] == '\0' ? "" : ": ",
                  text);
}

void hf_cli_progress_end(struct hf_cli_progress *progress)
{
    if (progress->drawn) {
        (void)fprintf(stderr, "\r\033[K");
        (void)fflush(stderr);
        progress->drawn = false;
    }
}

void hf_cli_progress_from_json(const struct hf_json *json, struct hf_progress_view *out)
{
    const char *phase = hf_json_get_text(json, "phase"),
               *current = hf_json_get_text(json, "current");

    *out = (struct hf_progress_view){
        .bytes_total = hf_json_get_u64(json, "bytesTotal", 0),
        .bytes_done = hf_json_get_u64(json, "bytesDone", 0),
        .files_total = hf_json_get_u64(json, "filesTotal", 0),
        .files_done = hf_json_get_u64(json, "filesDone", 0),
        .bytes_new = hf_json_get_u64(json, "bytesNew", 0),
        .bytes_stored = hf_json_get_u64(json, "bytesStored", 0),
        .elapsed_ms = hf_json_get_u64(json, "elapsedMs", 0),
        .rate_bytes_s = hf_json_get_u64(json, "rateBytesS", 0),
        .left_s = hf_json_get_u64(json, "leftS", UINT64_MAX),
    };
    (void)snprintf(out->phase, sizeof out->phase, "%s", phase == NULL ? "" : phase);
    (void)snprintf(out->current, sizeof out->current, "%s", current == NULL ? "" : current);
}

void hf_cli_print_restored(const struct hf_json *json)
{
    char bytes[24], written[24];
    uint64_t removed = hf_json_get_u64(json, "removedFiles", 0);
    const char *snapshot = hf_json_get_text(json, "snapshotId");
    const char *directory = hf_json_get_text(json, "directory");

    hf_format_bytes(hf_json_get_u64(json, "bytes", 0), bytes, sizeof bytes);
    hf_format_bytes(hf_json_get_u64(json, "writtenBytes", 0), written, sizeof written);
    (void)printf("snapshot %s is restored into %s: %llu files, %s",
                 snapshot == NULL ? "?" : snapshot, directory == NULL ? "?" : directory,
                 (unsigned long long)hf_json_get_u64(json, "files", 0), bytes);
    if (hf_json_get_bool(json, "onto", false)) {
        (void)printf(" (%s written)", written);
    }
    if (removed > 0) {
        (void)printf(", %llu that it does not have removed", (unsigned long long)removed);
    }
    (void)printf("\n");
}
