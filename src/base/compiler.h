/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiler helpers: must-check, cleanup on scope exit, hand-over of ownership, assertions.
 * Knows nothing of the product; every other header may include it.
 */
#ifndef HF_BASE_COMPILER_H
#define HF_BASE_COMPILER_H

#define HF_MUST_CHECK __attribute__((warn_unused_result))
#define HF_PRINTF(format_index, first_arg) __attribute__((format(printf, format_index, first_arg)))
#define HF_NORETURN __attribute__((noreturn))
#define HF_UNUSED __attribute__((unused))

/* Runs fn when the variable leaves its scope. fn needs one HF_CLEANUP_DEFINE* line in its header. */
#define HF_CLEANUP(fn) __attribute__((cleanup(fn##_on_exit)))

/* For `void fn(type)` where type is a pointer; fn(NULL) must do nothing. */
#define HF_CLEANUP_DEFINE(fn, type)                                                                \
    static inline void fn##_on_exit(type *variable)                                                \
    {                                                                                              \
        fn(*variable);                                                                             \
    }
/* For `void fn(type *)` on a plain value in the caller's storage. */
#define HF_CLEANUP_DEFINE_VALUE(fn, type)                                                          \
    static inline void fn##_on_exit(type *variable)                                                \
    {                                                                                              \
        fn(variable);                                                                              \
    }

/* Hands a pointer over: yields its value and leaves NULL behind. */
#define HF_TAKE(pointer)                                                                           \
    __extension__({                                                                                \
        __auto_type hf_taken_ = (pointer);                                                         \
        (pointer) = NULL;                                                                          \
        hf_taken_;                                                                                 \
    })

#define HF_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* For our own bugs only; stays on in release builds: stopping is safe, going on is not. */
#define HF_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            hf_assert_failed(#condition, __FILE__, __LINE__);                                      \
        }                                                                                          \
    } while (0)

HF_NORETURN void hf_assert_failed(const char *condition, const char *file, int line);

#endif
