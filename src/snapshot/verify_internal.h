/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What verify.c (trees) gives to verify_store.c (everything).
 */
#ifndef HF_SNAPSHOT_VERIFY_INTERNAL_H
#define HF_SNAPSHOT_VERIFY_INTERNAL_H

#include "snapshot/verify.h"

/* Notes damage; what->object and what->path are copied, code and message come from damage. */
HF_MUST_CHECK enum hf_err hf_verify_note(struct hf_verify_report *report,
                                         const struct hf_damage *what,
                                         const struct hf_error *damage, struct hf_error *err);

/* Verifies snapshots of one job, one after the other; passes over what an earlier one proved. */
struct hf_tree_verifier;
HF_MUST_CHECK enum hf_err hf_tree_verifier_create(const struct hf_verify_options *options,
                                                  const struct hf_keyring *keyring,
                                                  struct hf_verify_report *report,
                                                  struct hf_tree_verifier **out,
                                                  struct hf_error *err);
void hf_tree_verifier_destroy(struct hf_tree_verifier *verifier);
HF_CLEANUP_DEFINE(hf_tree_verifier_destroy, struct hf_tree_verifier *)
HF_MUST_CHECK enum hf_err hf_tree_verifier_run(struct hf_tree_verifier *verifier,
                                               const struct hf_manifest *manifest,
                                               struct hf_error *err);

#endif
