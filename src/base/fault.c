/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault points: a table of names with counters, and a short list of what is armed.
 *
 * A pass with nothing armed takes no lock and allocates nothing, so that points may stand in hot
 * paths and in the allocator. Names enter the table once and stay; only their counters are reset.
 * This is one of the two mutable globals that the house allows.
 */
#include "base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault_internal.h"
#include "base/thread.h"

#define POINT_SLOTS 256 /* a power of two, several times the points of the product */
#define POINT_NAME_BYTES 64
#define ARMED_SLOTS 64

struct fault_point {
    atomic_bool taken; /* set last: whoever sees it may read name */
    char name[POINT_NAME_BYTES];
    atomic_uint_fast64_t passes;
};

struct armed_fault {
    bool used;
    bool any;                        /* counts passes of every point */
    const struct fault_point *point; /* when not any */
    uint64_t skip;                   /* passes still to let through */
    uint64_t times;                  /* failures left; UINT64_MAX for good */
    enum hf_err code;                /* HF_ERR_OK: die instead */
};

static struct {
    struct fault_point points[POINT_SLOTS];
    struct armed_fault armed[ARMED_SLOTS];
    atomic_uint armed_count;
    pthread_mutex_t mutex; /* guards: new names in points, armed */
} faults = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lock_faults(void)
{
    HF_ASSERT(pthread_mutex_lock(&faults.mutex) == 0);
}

static void unlock_faults(void)
{
    HF_ASSERT(pthread_mutex_unlock(&faults.mutex) == 0);
}

static size_t first_slot(struct hf_str name)
{
    uint32_t hash = 2166136261u; /* FNV-1a: names are short */
    for (size_t i = 0; i < name.len; i++) {
        hash = (hash ^ (uint8_t)name.data[i]) * 16777619u;
    }
    return hash % POINT_SLOTS;
}

/* The point of that name, or the free slot where it belongs; NULL when the table is full. */
static struct fault_point *find_slot(struct hf_str name)
{
    size_t start = first_slot(name);
    for (size_t i = 0; i < POINT_SLOTS; i++) {
        struct fault_point *point = &faults.points[(start + i) % POINT_SLOTS];
        if (!atomic_load_explicit(&point->taken, memory_order_acquire) ||
            hf_str_equal_c(name, point->name)) {
            return point;
        }
    }
    return NULL;
}

static bool is_taken(struct fault_point *point)
{
    return point != NULL && atomic_load_explicit(&point->taken, memory_order_acquire);
}

/* Under the mutex. NULL when the table is full or the name too long. */
static struct fault_point *point_locked(struct hf_str name)
{
    struct fault_point *point = find_slot(name);
    if (point == NULL || name.len == 0 || name.len >= POINT_NAME_BYTES) {
        return NULL;
    }
    if (!is_taken(point)) {
        memcpy(point->name, name.data, name.len);
        point->name[name.len] = '\0';
        atomic_store_explicit(&point->taken, true, memory_order_release);
    }
    return point;
}

static struct fault_point *point_of(struct hf_str name)
{
    struct fault_point *point = find_slot(name);
    if (!is_taken(point)) {
        lock_faults();
        point = point_locked(name);
        unlock_faults();
    }
    return point;
}

/* Every allocation passes base.alloc; counting them as "any point" would drown the places that
 * matter. */
static bool counts_as_any(const struct fault_point *point)
{
    return strcmp(point->name, "base.alloc") != 0;
}

static enum hf_err fire_locked(struct armed_fault *fault)
{
    if (fault->code == HF_ERR_OK) {
        (void)raise(SIGKILL);
    }
    if (fault->times != UINT64_MAX && --fault->times == 0) {
        fault->used = false;
        atomic_fetch_sub(&faults.armed_count, 1);
    }
    return fault->code;
}

enum hf_err hf_fault_pass(const char *name)
{
    struct fault_point *point = point_of(hf_str_of(name));
    HF_ASSERT(point != NULL);
    atomic_fetch_add_explicit(&point->passes, 1, memory_order_relaxed);
    if (atomic_load_explicit(&faults.armed_count, memory_order_acquire) == 0) {
        return HF_ERR_OK;
    }
    enum hf_err code = HF_ERR_OK;
    lock_faults();
    for (size_t i = 0; i < ARMED_SLOTS; i++) {
        struct armed_fault *fault = &faults.armed[i];
        if (!fault->used || (fault->any ? !counts_as_any(point) : fault->point != point)) {
            continue;
        }
        if (fault->skip > 0) {
            fault->skip--;
        } else if (code == HF_ERR_OK) {
            code = fire_locked(fault);
        }
    }
    unlock_faults();
    return code;
}

enum hf_err hf_fault_hit(const char *point, struct hf_error *err)
{
    enum hf_err code = hf_fault_pass(point);
    return code == HF_ERR_OK ? HF_ERR_OK : hf_fail(err, code, "injected fault at %s", point);
}

struct arming {
    struct hf_str point; /* "*" for any */
    enum hf_err code;
    uint64_t nth;
    uint64_t times;
};

/* False when a table is full or the name too long. */
static bool arm(const struct arming *arming)
{
    bool any = hf_str_equal_c(arming->point, "*");
    bool done = false;

    lock_faults();
    const struct fault_point *point = any ? NULL : point_locked(arming->point);
    for (size_t i = 0; i < ARMED_SLOTS && !done && (any || point != NULL); i++) {
        if (!faults.armed[i].used) {
            faults.armed[i] =
                (struct armed_fault){.used = true,
                                     .any = any,
                                     .point = point,
                                     .skip = arming->nth - 1,
                                     .times = arming->times == 0 ? UINT64_MAX : arming->times,
                                     .code = arming->code};
            atomic_fetch_add(&faults.armed_count, 1);
            done = true;
        }
    }
    unlock_faults();
    return done;
}

void hf_fault_arm(const char *point, enum hf_err code)
{
    hf_fault_arm_nth(point, code, 1, 1);
}

void hf_fault_arm_nth(const char *point, enum hf_err code, uint64_t nth, uint64_t times)
{
    struct arming arming = {.point = hf_str_of(point), .code = code, .nth = nth, .times = times};
    HF_ASSERT(code != HF_ERR_OK && nth > 0);
    HF_ASSERT(arm(&arming));
}

void hf_fault_arm_death(const char *point, uint64_t nth)
{
    struct arming arming = {.point = hf_str_of(point), .code = HF_ERR_OK, .nth = nth, .times = 1};
    HF_ASSERT(nth > 0);
    HF_ASSERT(arm(&arming));
}

void hf_fault_disarm_all(void)
{
    lock_faults();
    memset(faults.armed, 0, sizeof faults.armed);
    atomic_store(&faults.armed_count, 0);
    for (size_t i = 0; i < POINT_SLOTS; i++) {
        atomic_store(&faults.points[i].passes, 0);
    }
    unlock_faults();
}

uint64_t hf_fault_passes(const char *name)
{
    uint64_t sum = 0;
    if (name != NULL) {
        struct fault_point *point = find_slot(hf_str_of(name));
        return is_taken(point) ? atomic_load(&point->passes) : 0;
    }
    for (size_t i = 0; i < POINT_SLOTS; i++) {
        struct fault_point *point = &faults.points[i];
        if (is_taken(point) && counts_as_any(point)) {
            sum += atomic_load(&point->passes);
        }
    }
    return sum;
}

/* The part before the first separator; *rest is what follows it, or empty. */
static struct hf_str split(struct hf_str text, char separator, struct hf_str *rest)
{
    const char *at = text.len == 0 ? NULL : memchr(text.data, separator, text.len);
    size_t len = at == NULL ? text.len : (size_t)(at - text.data);
    size_t skipped = at == NULL ? len : len + 1;
    *rest = (struct hf_str){.data = text.data + skipped, .len = text.len - skipped};
    return (struct hf_str){.data = text.data, .len = len};
}

static enum hf_err parse_action(struct hf_str action, enum hf_err *code, struct hf_error *err)
{
    char name[POINT_NAME_BYTES];
    if (hf_str_equal_c(action, "die")) {
        *code = HF_ERR_OK;
        return HF_ERR_OK;
    }
    if (action.len < sizeof name) {
        memcpy(name, action.data, action.len);
        name[action.len] = '\0';
        *code = hf_err_from_name(name);
        if (*code != HF_ERR_OK && (*code != HF_ERR_INTERNAL || strcmp(name, "INTERNAL") == 0)) {
            return HF_ERR_OK;
        }
    }
    return hf_fail(err, HF_ERR_INVALID, "%.*s is neither die nor the name of an error",
                   HF_STR_ARG(action));
}

static enum hf_err parse_one(struct hf_str entry, struct hf_error *err)
{
    struct arming arming = {.nth = 1, .times = 1};
    struct hf_str action, nth;
    struct hf_str left = split(entry, '=', &action);

    arming.point = split(left, ':', &nth);
    if (action.len == 0 || arming.point.len == 0) {
        return hf_fail(err, HF_ERR_INVALID, "point=ERROR or point:pass=die is expected");
    }
    if (arming.point.len < left.len && (!hf_parse_u64(nth, &arming.nth) || arming.nth == 0)) {
        return hf_fail(err, HF_ERR_INVALID, "%.*s is not the number of a pass", HF_STR_ARG(nth));
    }
    if (parse_action(action, &arming.code, err) != HF_ERR_OK) {
        return err->code;
    }
    if (!arm(&arming)) {
        return hf_fail(err, HF_ERR_LIMIT, "too many faults, or too long a name");
    }
    return HF_ERR_OK;
}

enum hf_err hf_fault_parse(const char *text, struct hf_error *err)
{
    struct hf_str rest = hf_str_of(text);
#ifndef HF_FAULTS
    if (rest.len > 0) {
        return hf_fail(err, HF_ERR_UNSUPPORTED, "faults: this build has no fault points");
    }
#endif
    while (rest.len > 0) {
        struct hf_str entry = split(rest, ';', &rest);
        if (entry.len > 0 && parse_one(entry, err) != HF_ERR_OK) {
            return hf_wrap(err, "fault %.*s", HF_STR_ARG(entry));
        }
    }
    return HF_ERR_OK;
}
