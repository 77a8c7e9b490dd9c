/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain values that the room hands up: times of a replica set, in MongoDB's own terms. No BSON, no
 * library type.
 */
#ifndef HF_MONGO_TYPES_H
#define HF_MONGO_TYPES_H

#include <stdbool.h>
#include <stdint.h>

/* "host:port", NUL included; a DNS name has at most 253 characters. */
#define HF_MONGO_HOST_BYTES 272
/* The server's own limit of members in a set. */
#define HF_MONGO_MAX_MEMBERS 50
/* Names of sets, versions and the like; longer ones are refused, never cut. */
#define HF_MONGO_NAME_BYTES 128
/* A session id (UUID) as 32 lower-case hexadecimal digits and NUL. */
#define HF_MONGO_LSID_BYTES 33

/* A BSON Timestamp; {0, 0} is "none". */
struct hf_mongo_ts {
    uint32_t seconds, increment;
};

/* An entry of the oplog: its timestamp and term. The first entry of a set, and old protocol
 * versions, have term -1. */
struct hf_mongo_optime {
    struct hf_mongo_ts ts;
    int64_t term;
};

/* Negative, 0, positive, as a is before, equal to, after b. */
int hf_mongo_ts_compare(struct hf_mongo_ts a, struct hf_mongo_ts b);
static inline bool hf_mongo_ts_is_null(struct hf_mongo_ts ts)
{
    return ts.seconds == 0 && ts.increment == 0;
}

#endif
