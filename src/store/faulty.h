/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wrapper around any store for tests: fails chosen calls, before or after they took effect,
 * counts them, and can call back before each so that a test puts something in between.
 */
#ifndef HF_STORE_FAULTY_H
#define HF_STORE_FAULTY_H

#include "store/store.h"

enum hf_store_call {
    HF_STORE_CALL_PUT,
    HF_STORE_CALL_GET, /* whole, range and tail */
    HF_STORE_CALL_SIZE,
    HF_STORE_CALL_LIST,
    HF_STORE_CALL_DELETE,
    HF_STORE_CALL_COUNT, /* no call; how many there are */
};

struct hf_store_fault {
    enum hf_store_call call;
    const char *prefix; /* borrowed for the wrapper's life: only names (of a list: prefixes) that
                           begin so; NULL: all */
    uint64_t nth;       /* the nth such call from now; 0 and 1 are the next */
    uint64_t times;     /* so many in a row; 0: all later ones */
    enum hf_err code;   /* HF_ERR_OK: only waits */
    uint64_t delay_ms;  /* waited before the call */
    bool after_effect;  /* the call is done, and then reported as failed: a lost answer */
    bool flip_bit;      /* instead of failing, a get changes the first byte it read */
};

/* Takes over inner, also on failure. Any thread. */
HF_MUST_CHECK enum hf_err hf_store_faulty_create_take(struct hf_store *inner, struct hf_store **out,
                                                      struct hf_error *err);
/* These accept only what hf_store_faulty_create_take made. At most 16 faults are kept. */
void hf_store_faulty_add(struct hf_store *store, const struct hf_store_fault *fault);
void hf_store_faulty_clear(struct hf_store *store);
uint64_t hf_store_faulty_calls(struct hf_store *store, enum hf_store_call call);
/* Called with no lock held, before every call; argument is borrowed. */
void hf_store_faulty_hook(struct hf_store *store,
                          void (*hook)(void *argument, enum hf_store_call call, struct hf_str name),
                          void *argument);

#endif
