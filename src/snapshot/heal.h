/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Healing (store-format.md section 7): content that a capture has read again is put again under the address of a block
 * of which no copy is whole. What is put was proved by its hash here, whoever sent it.
 */
#ifndef HF_SNAPSHOT_HEAL_H
#define HF_SNAPSHOT_HEAL_H

#include "base/error.h"
#include "format/keyring.h"
#include "snapshot/tree.h"
#include "store/store.h"

struct hf_healer;
/* All are borrowed and outlive the healer. One thread. */
HF_MUST_CHECK enum hf_err hf_healer_create(struct hf_store *store, const struct hf_keyring *keyring,
                                           struct hf_tree_reader *reader, struct hf_healer **out,
                                           struct hf_error *err);
void hf_healer_destroy(struct hf_healer *healer);
HF_CLEANUP_DEFINE(hf_healer_destroy, struct hf_healer *)
/* Puts the content of `good` again under the address of `old`, which names the same content; nothing when a copy of
 * `old` is whole. Durable after hf_healer_finish. */
HF_MUST_CHECK enum hf_err hf_healer_heal(struct hf_healer *healer, const struct hf_ref *old,
                                         const struct hf_ref *good, struct hf_error *err);
HF_MUST_CHECK enum hf_err hf_healer_finish(struct hf_healer *healer, uint64_t *healed,
                                           struct hf_error *err);

#endif
