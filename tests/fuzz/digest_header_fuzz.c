/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an Authorization header: no crash, and never in. Credentials in the corpus carry the fixed vectors' nonce,
 * which no server here has made. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "net/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool find_user(void *context, struct hf_str user, enum hf_digest_algorithm algorithm,
                      struct hf_digest_credential *out)
{
    (void)context;
    (void)algorithm;
    return user.len != 1 &&
           hf_secret_set(&out->value, hf_bytes_of("11111111-2222-3333-4444-555555555555", 36));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct hf_digest_options options = {.secret = hf_bytes_of("secret", 6),
                                              .replay_slots = 8};
    const struct hf_digest_users users = {.find = find_user};
    HF_CLEANUP(hf_digest_destroy) struct hf_digest *digest = NULL;
    HF_CLEANUP(hf_free) char *header = hf_strndup((const char *)data, size);
    char user[HF_DIGEST_USER_MAX_BYTES];
    struct hf_error err;
    const char *why = NULL;

    if (header == NULL || hf_digest_create(&options, &digest, &err) != HF_ERR_OK) {
        return 0;
    }
    const struct hf_digest_request request = {
        .method = "GET",
        .target = "/api/public/v1.0/groups/64b000000000000000000001/"
                  "backupConfigs?itemsPerPage=100&pageNum=1",
        .authorization = header,
        .now_ms = UINT64_C(1700000000000),
    };
    if (hf_digest_check(digest, &request, &users, user, &why) == HF_DIGEST_ACCEPTED ||
        why == NULL || user[0] != '\0') {
        abort();
    }
    return 0;
}
