/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation: the one place that asks for memory, so that tests can refuse it (fault point "base.alloc").
 */
#ifndef HF_BASE_ALLOC_H
#define HF_BASE_ALLOC_H

#include <stddef.h>

#include "base/compiler.h"

#define HF_PAGE_BYTES ((size_t)4096)

/* Once, first thing in main: large memory goes back to the system when it is freed, instead of filling every thread's heap. */
void hf_alloc_settle(void);

/* All return NULL when memory ran out; size 0 gives a pointer that may be freed. Free with hf_free. */
HF_MUST_CHECK void *hf_alloc(size_t size);
HF_MUST_CHECK void *hf_alloc_zero(size_t size);
/* Begins at a page, as what is written past the page cache must: for large buffers. */
HF_MUST_CHECK void *hf_alloc_pages(size_t size);
/* The same in huge pages, from 8 MiB on: fresh small ones cost more than filling them. For what is filled once and given
 * back; what is kept would hold up to 2 MiB more than it uses. */
HF_MUST_CHECK void *hf_alloc_huge(size_t size);
/* count * size is checked for overflow. */
HF_MUST_CHECK void *hf_alloc_array(size_t count, size_t size);
/* On failure the old memory stays valid. */
HF_MUST_CHECK void *hf_realloc_array(void *old, size_t count, size_t size);
HF_MUST_CHECK char *hf_strdup(const char *text);
HF_MUST_CHECK char *hf_strndup(const char *text, size_t len);
HF_MUST_CHECK char *hf_asprintf(const char *format, ...) HF_PRINTF(1, 2);
void hf_free(void *memory);

/* HF_CLEANUP(hf_free) frees whatever pointer the variable holds. */
static inline void hf_free_on_exit(void *variable)
{
    hf_free(*(void **)variable);
}

#endif
