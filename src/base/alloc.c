/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation: malloc behind one fault point. Knows nothing of limits: whoever sizes memory by a
 * value from outside has checked it before.
 */
#include "base/alloc.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/bytes.h"
#include "base/fault_internal.h"

/* Of x86-64 and AArch64. Fresh memory for one object of 16 MiB is four thousand faults with small pages, eight with these. */
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define HUGE_FROM_BYTES ((size_t)8 << 20)

/* A batch of a tail, a body of a request. The heap's own bound grows with what is freed, up to 32 MiB. */
#define MAPPED_FROM_BYTES (1 << 20)

void hf_alloc_settle(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES); /* without it all works, with more memory */
#endif
}

static bool refused(void)
{
#ifdef HF_FAULTS
    return hf_fault_pass("base.alloc") != HF_ERR_OK;
#else
    return false;
#endif
}

void *hf_alloc(size_t size)
{
    return refused() ? NULL : malloc(size == 0 ? 1 : size);
}

void *hf_alloc_zero(size_t size)
{
    return refused() ? NULL : calloc(1, size == 0 ? 1 : size);
}

static void *at_boundary(size_t size, size_t boundary)
{
    void *memory = NULL;
    if (refused() || posix_memalign(&memory, boundary, size == 0 ? 1 : size) != 0) {
        return NULL;
    }
    return memory;
}

void *hf_alloc_pages(size_t size)
{
    return at_boundary(size, HF_PAGE_BYTES);
}

void *hf_alloc_huge(size_t size)
{
    if (size < HUGE_FROM_BYTES) {
        return at_boundary(size, HF_PAGE_BYTES);
    }
    void *memory = at_boundary(size, HUGE_PAGE_BYTES);
    if (memory != NULL) {
        /* Where the kernel does not have them, small ones serve. */
        (void)madvise(memory, size - size % HUGE_PAGE_BYTES, MADV_HUGEPAGE);
    }
    return memory;
}

void *hf_alloc_array(size_t count, size_t size)
{
    size_t total;
    return hf_mul_size(count, size, &total) ? hf_alloc(total) : NULL;
}

void *hf_realloc_array(void *old, size_t count, size_t size)
{
    size_t total;
    if (!hf_mul_size(count, size, &total) || refused()) {
        return NULL;
    }
    return realloc(old, total == 0 ? 1 : total);
}

char *hf_strdup(const char *text)
{
    return hf_strndup(text, strlen(text));
}

char *hf_strndup(const char *text, size_t len)
{
    size_t used = len == 0 ? 0 : strnlen(text, len);
    size_t size;
    char *copy = hf_add_size(used, 1, &size) ? hf_alloc(size) : NULL;
    if (copy != NULL) {
        if (used > 0) {
            memcpy(copy, text, used);
        }
        copy[used] = '\0';
    }
    return copy;
}

char *hf_asprintf(const char *format, ...)
{
    va_list arguments, again;

    va_start(arguments, format);
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = len < 0 ? NULL : hf_alloc((size_t)len + 1);
    if (text != NULL && vsnprintf(text, (size_t)len + 1, format, again) != len) {
        hf_free(text);
        text = NULL;
    }
    va_end(again);
    return text;
}

void hf_free(void *memory)
{
    free(memory);
}
