/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every pure reader of a server's reply, on bytes that a server could send.
 */
#include <stddef.h>
#include <stdint.h>

#include "mongo/backup_internal.h"
#include "mongo/hello_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Results are looked at only so far as that reading them touches the memory behind them. */
static void read_backup(const bson_t *doc)
{
    HF_CLEANUP(hf_mongo_listing_fini) struct hf_mongo_listing listing = {.limit = 1000};
    HF_CLEANUP(hf_mongo_backup_names_fini) struct hf_mongo_backup_names names = {.paths = NULL};
    struct hf_mongo_cursor_seen seen;
    struct hf_error err;
    char text[512];
    size_t added = 0;

    if (hf_mongo_listing_add_reply(&listing, doc, &added, &err) == HF_ERR_OK) {
        (void)!hf_mongo_listing_finish(&listing, &err);
    }
    (void)!hf_mongo_listing_add(&listing, doc, &err);
    (void)!hf_mongo_names_add(&names, "/data/db", doc, &err);
    (void)!hf_mongo_parse_killed(doc, 5, &err);
    if (hf_mongo_parse_current_op(doc, &seen)) {
        hf_mongo_describe_cursor(&seen, text, sizeof text);
    }
}

static void read_topology(const bson_t *doc)
{
    struct hf_mongo_hello hello;
    struct hf_mongo_set set;
    struct hf_mongo_hosts hosts = {.count = 0};
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {.host = "h"};
    struct hf_error err;

    (void)!hf_mongo_parse_hello(doc, &hello, &err);
    hf_mongo_parse_hello_hosts(doc, &hosts);
    (void)!hf_mongo_parse_set(doc, doc, &hello, &set, &err);
    (void)!hf_mongo_parse_build_info(doc, &facts, &err);
    (void)!hf_mongo_parse_fcv(doc, &facts, &err);
    (void)!hf_mongo_parse_server_status(doc, &facts, &err);
    (void)!hf_mongo_parse_cmd_line(doc, &facts, &err);
    (void)!hf_mongo_backup_check(&facts, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_t doc;
    struct hf_error err;

    if (!bson_init_static(&doc, data, size)) {
        return 0;
    }
    (void)!hf_mongo_reply_check("h:1", hf_mongo_command_name(&doc), &doc, &err);
    (void)hf_mongo_reply_code(&doc);
    read_topology(&doc);
    read_backup(&doc);
    return 0;
}
