/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server over a store in memory: what it costs apart from the disk. No operator's option leads there, so this program
 * stands in for `holdfast server`: everything is the product's own but the function that opens a store by its URL, which
 * the linker exchanges (bench/meson.build).
 *
 *   mem_server DATA_DIR HOST:PORT [CERTIFICATE KEY]     runs until SIGTERM
 */
#include <signal.h>
#include <stdio.h>

#include "server/server.h"
#include "store/store.h"

HF_MUST_CHECK enum hf_err __wrap_hf_store_open_url(const struct hf_store_url_options *options,
                                                   struct hf_store **out, struct hf_error *err);

enum hf_err __wrap_hf_store_open_url(const struct hf_store_url_options *options,
                                     struct hf_store **out, struct hf_error *err)
{
    (void)options;
    return hf_store_mem_create(out, err);
}

static struct hf_cancel stop;

static void on_signal(int number)
{
    (void)number;
    hf_cancel_request(&stop);
}

static void tell(const char *text)
{
    (void)printf("%s\n", text);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_handler = on_signal};
    struct hf_error err;

    if (argc != 3 && argc != 5) {
        (void)fprintf(stderr, "usage: mem_server DATA_DIR HOST:PORT [CERTIFICATE KEY]\n");
        return 2;
    }
    const struct hf_server_options options = {
        .data_dir = argv[1],
        .store_url = "mem:",
        .listen = argv[2],
        .tls_cert = argc == 5 ? argv[3] : NULL,
        .tls_key = argc == 5 ? argv[4] : NULL,
        .ready = tell,
    };
    hf_cancel_init(&stop);
    (void)sigaction(SIGTERM, &action, NULL);
    hf_error_clear(&err);
    if (hf_server_run(&options, &stop, &err) != HF_ERR_OK) {
        (void)fprintf(stderr, "mem_server: %s\n", err.message);
        return 1;
    }
    return 0;
}
