/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hello tells, and the pure halves of topology and facts, for this room and its tests.
 */
#ifndef HF_MONGO_HELLO_INTERNAL_H
#define HF_MONGO_HELLO_INTERNAL_H

#include "mongo/reply_internal.h"
#include "mongo/topology.h"

struct hf_mongo_hello {
    enum hf_mongo_role role;
    bool config_server;
    bool primary, secondary, hidden, arbiter, read_only;
    char set_name[HF_MONGO_NAME_BYTES];
    char me[HF_MONGO_HOST_BYTES];
    char primary_host[HF_MONGO_HOST_BYTES];
    struct hf_mongo_optime last_write, majority;
};

/* Understands hello and isMaster. */
HF_MUST_CHECK enum hf_err hf_mongo_parse_hello(const bson_t *reply, struct hf_mongo_hello *out,
                                               struct hf_error *err);
/* hosts, then passives; those that are none are left out. */
void hf_mongo_parse_hello_hosts(const bson_t *reply, struct hf_mongo_hosts *out);

/* replSetGetConfig and replSetGetStatus together; hello may be NULL. answered is left to the caller. */
HF_MUST_CHECK enum hf_err hf_mongo_parse_set(const bson_t *config, const bson_t *status,
                                             const struct hf_mongo_hello *hello,
                                             struct hf_mongo_set *out, struct hf_error *err);

/* Each fills its part of *out. */
HF_MUST_CHECK enum hf_err hf_mongo_parse_build_info(const bson_t *reply, struct hf_mongo_facts *out,
                                                    struct hf_error *err);
/* Of getParameter: {version, targetVersion} below "featureCompatibilityVersion", or the document of
 * admin.system.version itself. */
HF_MUST_CHECK enum hf_err hf_mongo_parse_fcv(const bson_t *reply, struct hf_mongo_facts *out,
                                             struct hf_error *err);
HF_MUST_CHECK enum hf_err
hf_mongo_parse_server_status(const bson_t *reply, struct hf_mongo_facts *out, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_mongo_parse_cmd_line(const bson_t *reply, struct hf_mongo_facts *out,
                                                  struct hf_error *err);
/* "4.4.6-8" gives 4, 4, 6; missing parts are 0. False when it does not begin with a number. */
bool hf_mongo_parse_version(const char *text, uint32_t out[3]);

/* fcv and fcv_target of *out, with getParameter or, where that is refused, from the document itself. */
HF_MUST_CHECK enum hf_err hf_mongo_read_fcv(struct hf_mongo_client *client,
                                            struct hf_mongo_facts *out, struct hf_error *err);

#endif
