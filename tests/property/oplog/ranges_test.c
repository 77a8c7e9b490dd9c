/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replica set's oplog as a tree of entries (a rollback is a fork), several tailers that cut where they like, die,
 * fall behind and find another history; snapshots; slices that get lost or damaged; pruning. After every few steps:
 *
 * - whatever instant a range promises can be read: every entry from the base to the target, none doubled, none missing,
 *   none of another history, and the last one is the last that the history has up to the target;
 * - the running hash is that of the entries alone, wherever slices were cut;
 * - a flipped bit is found by the load or by a check, and names its slice;
 * - what was restorable in the window before pruning is so after any part of it was done;
 * - merging small slices changes no chain and no promise, wherever it dies.
 *
 * HF_TEST_SEED and HF_TEST_STEPS choose another run; the seed is printed. HOLDFAST_SOAK runs more seeds.
 */
#include "support/chain_kit.h"

#include "base/fault.h"
#include "oplog/merge.h"
#include "oplog/ranges.h"

#define NODES_MAX 20000
#define TAILERS 3
#define SNAPSHOTS_MAX 40
#define BAD_MAX 400

/* An entry of the set, in one history or another; node 0 is before all. */
struct node {
    struct hf_optime optime;
    size_t parent;
    bool fcv;
};

struct tail {
    bool is_on;
    struct tailer tailer;
    size_t node; /* the last one that it took */
};

struct shot {
    size_t checkpoint, committed, oplog_end; /* nodes */
};

struct counts {
    uint64_t slices, rollbacks, breaks, damaged, lost, pruned, ranges, targets, entries, diverged;
    uint64_t merged, replaced, deaths;
};

struct model {
    uint64_t random;
    struct world world;
    struct node nodes[NODES_MAX];
    size_t node_count, head; /* head: the newest entry of the history that the set has now */
    int64_t term;
    struct tail tails[TAILERS];
    struct shot shots[SNAPSHOTS_MAX];
    size_t shot_count;
    struct hf_object_name bad[BAD_MAX];
    size_t bad_count;
    struct counts counts;
};

static uint64_t pick(struct model *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (m->random >> 11) % below;
}

/* ---- The set ---- */

static void write_entry(struct model *m, bool fcv)
{
    const struct hf_optime *last = &m->nodes[m->head].optime;
    struct node *node = &m->nodes[m->node_count];
    assert_true(m->node_count < NODES_MAX);
    bool later = pick(m, 4) == 0;
    *node = (struct node){
        .optime = {.seconds = last->seconds + (later ? 1 + (uint32_t)pick(m, 3) : 0),
                   .increment = later ? 1 : last->increment + 1 + (uint32_t)pick(m, 2),
                   .term = m->term},
        .parent = m->head,
        .fcv = fcv,
    };
    m->head = m->node_count++;
}

static bool is_ancestor(const struct model *m, size_t old, size_t young)
{
    while (young > old) {
        young = m->nodes[young].parent;
    }
    return young == old;
}

/* The set loses its newest entries, and goes on in another term. */
static void roll_back(struct model *m)
{
    for (uint64_t n = 1 + pick(m, 12); n > 0 && m->nodes[m->head].parent > 0; n--) {
        m->head = m->nodes[m->head].parent;
    }
    m->term++;
    write_entry(m, false);
    m->counts.rollbacks++;
}

static void encode(const struct model *m, size_t node, struct hf_buf *out)
{
    if (!m->nodes[node].fcv) {
        history_entry(&m->nodes[node].optime, node, out);
        return;
    }
    hf_buf_clear(out);
    size_t start = bson_begin(out);
    bson_text(out, "op", "u");
    bson_text(out, "ns", "admin.system.version");
    size_t o = bson_nested(out, HF_BSON_DOCUMENT, "o");
    bson_int64(out, "_id", (int64_t)node);
    bson_end(out, o);
    o = bson_nested(out, HF_BSON_DOCUMENT, "o2");
    bson_text(out, "_id", "featureCompatibilityVersion");
    bson_end(out, o);
    bson_timestamp(out, "ts", m->nodes[node].optime.seconds, m->nodes[node].optime.increment);
    bson_int64(out, "t", m->nodes[node].optime.term);
    bson_end(out, start);
}

static size_t node_of(const struct model *m, const struct hf_optime *optime)
{
    for (size_t i = 1; i < m->node_count; i++) {
        if (hf_optime_equal(&m->nodes[i].optime, optime)) {
            return i;
        }
    }
    fail_msg("no entry %s was ever written", hf_optime_text(optime).text);
    return 0;
}

/* ---- Tailers ---- */

static void tail_stop(struct tail *tail)
{
    if (tail->is_on) {
        tailer_end(&tail->tailer);
        tail->is_on = false;
    }
}

static void load(struct model *m, struct hf_chains *out)
{
    struct hf_error err;
    struct hf_chains_options options = {.store = m->world.store,
                                        .keyring = &m->world.ring,
                                        .bad = m->bad,
                                        .bad_count = m->bad_count};
    EXPECT_OK(hf_chains_load(&options, out, &err), &err);
}

/* Goes on from what the store holds, if that is the set's history; else begins a chain somewhere near the head. */
static void tail_start(struct model *m, struct tail *tail)
{
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    struct hf_chain_point point = {.cause = HF_CHAIN_ROLLED_OVER};
    load(m, &chains);
    tail->node = m->head;
    for (uint64_t n = pick(m, 20); n > 0 && m->nodes[tail->node].parent > 0; n--) {
        tail->node = m->nodes[tail->node].parent;
    }
    for (size_t i = chains.count; i-- > 0 && pick(m, 8) > 0;) {
        const struct hf_chain *chain = &chains.items[i];
        if (chain->end == HF_CHAIN_DIVERGED) {
            continue;
        }
        size_t last = node_of(m, &chain->last);
        if (is_ancestor(m, last, m->head)) {
            point = hf_chain_head(&chains, chain);
            tail->node = last;
            break;
        }
        point.broken_after = chain->last;
    }
    tailer_begin(&tail->tailer, &m->world, &point);
    /* Its writer is its own, though there be more than 256 of them. */
    tail->is_on = true;
}

static void put(struct model *m, struct tail *tail)
{
    if (!hf_slicer_is_empty(tail->tailer.slicer)) {
        tailer_put(&tail->tailer);
        m->counts.slices++;
    }
}

/* The child of `from` on the way to `to`. */
static size_t next_towards(const struct model *m, size_t from, size_t to)
{
    while (m->nodes[to].parent != from) {
        to = m->nodes[to].parent;
    }
    return to;
}

static void tail_some(struct model *m, struct tail *tail)
{
    struct hf_error err;
    HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT((size_t)1 << 20);
    for (uint64_t n = 1 + pick(m, 15); n > 0 && tail->node != m->head; n--) {
        bool taken = false;
        if (!is_ancestor(m, tail->node, m->head)) { /* what it took was rolled back */
            put(m, tail);
            hf_slicer_break(tail->tailer.slicer, HF_CHAIN_ROLLBACK, NULL);
            m->counts.breaks++;
            while (!is_ancestor(m, tail->node, m->head)) {
                tail->node = m->nodes[tail->node].parent;
            }
            if (tail->node == m->head) {
                break;
            }
        }
        size_t next = next_towards(m, tail->node, m->head);
        encode(m, next, &entry);
        EXPECT_OK(hf_slicer_add(tail->tailer.slicer, hf_buf_bytes(&entry), 0, &taken, &err), &err);
        if (!taken) {
            put(m, tail);
            EXPECT_OK(hf_slicer_add(tail->tailer.slicer, hf_buf_bytes(&entry), 0, &taken, &err),
                      &err);
            assert_true(taken);
        }
        tail->node = next;
    }
    if (pick(m, 3) > 0) {
        put(m, tail);
    }
}

/* It was away too long: a piece is missing, and it says so. */
static void tail_fall_behind(struct model *m, struct tail *tail)
{
    put(m, tail);
    hf_slicer_break(tail->tailer.slicer, HF_CHAIN_ROLLED_OVER, NULL);
    tail->node = m->head;
    m->counts.breaks++;
}

/* ---- Snapshots and damage ---- */

static void take_snapshot(struct model *m)
{
    size_t end = m->head;
    size_t committed = end;
    if (m->shot_count == SNAPSHOTS_MAX) {
        memmove(m->shots, m->shots + 1, sizeof m->shots - sizeof m->shots[0]);
        m->shot_count--;
    }
    for (uint64_t n = pick(m, 2) * pick(m, 6); n > 0 && m->nodes[committed].parent > 0; n--) {
        committed = m->nodes[committed].parent;
    }
    size_t checkpoint = committed;
    for (uint64_t n = pick(m, 10); n > 0 && m->nodes[checkpoint].parent > 0; n--) {
        checkpoint = m->nodes[checkpoint].parent;
    }
    m->shots[m->shot_count++] =
        (struct shot){.checkpoint = checkpoint, .committed = committed, .oplog_end = end};
}

static bool any_slice(struct model *m, struct hf_object_name *name)
{
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    load(m, &chains);
    if (chains.link_count == 0) {
        return false;
    }
    *name = chains.links[pick(m, chains.link_count)].name;
    return true;
}

static void damage_one(struct model *m)
{
    struct hf_error err;
    struct hf_object_name name;
    uint64_t size = 0;
    if (!any_slice(m, &name)) {
        return;
    }
    if (pick(m, 2) == 0) {
        remove_slice(&m->world, &name);
        m->counts.lost++;
        return;
    }
    EXPECT_OK(
        hf_store_size(m->world.store, hf_str_of(hf_object_name_text(&name).text), &size, &err),
        &err);
    spoil_slice(&m->world, &name, (long)pick(m, size));
    /* What a reader keeps of a slice is believed until it is fetched anew: begin with a new one. */
    hf_slice_reader_destroy(m->world.reader);
    m->world.reader = NULL;
    EXPECT_OK(hf_slice_reader_create(m->world.store, &m->world.ring, &m->world.reader, &err), &err);
    m->counts.damaged++;
}

/* Every damaged slice that a chain reads from becomes known: loads and checks until nothing is found. */
static void load_checked(struct model *m, struct hf_chains *out)
{
    struct hf_error err;
    for (;;) {
        bool found = false;
        hf_chains_fini(out);
        load(m, out);
        for (size_t i = 0; i < out->count; i++) {
            HF_CLEANUP(hf_chain_report_fini) struct hf_chain_report report = {.faults = NULL};
            EXPECT_OK(hf_chain_check(out, &out->items[i], m->world.reader, &report, &err), &err);
            for (size_t f = 0; f < report.fault_count; f++) {
                struct hf_object_name *name = &out->links[report.faults[f].link].name;
                assert_non_null(strstr(report.faults[f].text, hf_object_name_text(name).text));
                assert_true(m->bad_count < BAD_MAX);
                m->bad[m->bad_count++] = *name;
                found = true;
            }
            m->counts.diverged += out->items[i].end == HF_CHAIN_DIVERGED;
        }
        if (!found) {
            return;
        }
    }
}

/* ---- What is promised ---- */

static void fill_snapshots(const struct model *m, struct hf_base_snapshot *out)
{
    for (size_t i = 0; i < m->shot_count; i++) {
        out[i] = (struct hf_base_snapshot){
            .capture = i + 1,
            .checkpoint = m->nodes[m->shots[i].checkpoint].optime,
            .oplog_end = m->nodes[m->shots[i].oplog_end].optime,
            .committed = m->nodes[m->shots[i].committed].optime,
        };
        out[i].id.bytes[0] = (uint8_t)(i + 1);
        out[i].checkpoint.term = -1;
    }
}

static size_t read_node(const struct model *m, const struct hf_oplog_entry *entry)
{
    size_t node = node_of(m, &entry->optime);
    HF_CLEANUP(hf_buf_fini) struct hf_buf wanted = HF_BUF_INIT((size_t)1 << 20);
    encode(m, node, &wanted);
    assert_true(hf_bytes_equal(hf_buf_bytes(&wanted), entry->bytes));
    return node;
}

/* The target can be restored, and to the right state. */
static void expect_restorable(struct model *m, const struct hf_ranges *ranges,
                              const struct hf_target *target)
{
    struct hf_error err;
    HF_CLEANUP(hf_plan_fini) struct hf_plan plan = {.links = NULL};
    EXPECT_OK(hf_ranges_plan(ranges, target, NULL, m->world.reader, &plan, &err), &err);
    const struct hf_range *range = &ranges->items[plan.range];
    const struct shot *shot = &m->shots[ranges->snapshots[plan.snapshot].capture - 1];
    struct hf_optime limit = hf_target_limit(target);
    const struct hf_optime *checkpoint = &m->nodes[shot->checkpoint].optime;
    assert_true(hf_optime_compare_ts(checkpoint, &limit) <= 0);
    assert_true(hf_optime_compare_ts(&plan.truncate_after, checkpoint) >= 0);
    m->counts.targets++;
    size_t last = shot->committed; /* the newest entry that the restored state has */
    while (hf_optime_compare_ts(&m->nodes[last].optime, &limit) > 0) {
        last = m->nodes[last].parent;
    }
    if (plan.link_count > 0) {
        HF_CLEANUP(hf_chain_reader_close) struct hf_chain_reader *reader = NULL;
        struct hf_chain_reader_options options = {.chains = ranges->chains,
                                                  .chain = range->chain,
                                                  .reader = m->world.reader,
                                                  .after = plan.read_after,
                                                  .to = plan.last};
        size_t before = hf_optime_is_none(&plan.read_after) ? 0 : node_of(m, &plan.read_after);
        size_t seen = 0;
        bool more = true;
        EXPECT_OK(hf_chain_reader_open(&options, &reader, &err), &err);
        while (more) {
            struct hf_oplog_entry entry;
            EXPECT_OK(hf_chain_reader_next(reader, &entry, &more, &err), &err);
            if (!more) {
                break;
            }
            size_t node = read_node(m, &entry);
            assert_false(m->nodes[node].fcv);
            if (before != 0) {
                assert_int_equal(m->nodes[node].parent, before); /* no gap, no other history */
            } else {
                assert_true(is_ancestor(m, node, shot->committed));
            }
            before = node;
            seen++;
        }
        assert_true(seen > 0 && hf_optime_equal(&m->nodes[before].optime, &plan.last));
        /* Copy and slices are one history; together they reach from the checkpoint to the last entry. */
        assert_true(is_ancestor(m, shot->checkpoint, before));
        assert_true(is_ancestor(m, shot->committed, before) ||
                    is_ancestor(m, before, shot->committed));
        /* What the copy holds beyond that either is the same history, or is cut off. */
        assert_true(is_ancestor(m, shot->oplog_end, before) ||
                    is_ancestor(m, before, shot->oplog_end));
        last = before > last && is_ancestor(m, last, before) ? before : last;
        m->counts.entries += seen;
    }
    /* Nothing is replayed across a change of version that any chain tells of. */
    for (size_t node = last; node > shot->checkpoint; node = m->nodes[node].parent) {
        for (size_t c = 0; c < ranges->chains->count; c++) {
            assert_false(m->nodes[node].fcv &&
                         hf_optime_equal(&ranges->chains->items[c].first, &m->nodes[node].optime));
        }
    }
    /* Nothing between that entry and the target was left out of the history that the range ends with. */
    size_t end = range->chain == HF_NO_CHAIN
                     ? shot->committed
                     : node_of(m, &ranges->chains->items[range->chain].last);
    assert_true(is_ancestor(m, last, end));
    if (last != end) {
        size_t next = next_towards(m, last, end);
        assert_true(hf_optime_compare_ts(&m->nodes[next].optime, &limit) > 0);
    }
}

static struct hf_target random_target(struct model *m, const struct hf_range *range)
{
    struct hf_target target = {.kind = pick(m, 2) == 0 ? HF_TARGET_DATE : HF_TARGET_TIMESTAMP};
    target.seconds =
        range->start.seconds + (uint32_t)pick(m, range->end.seconds - range->start.seconds + 2U);
    target.increment = (uint32_t)pick(m, 12);
    if (pick(m, 4) == 0) { /* an edge */
        const struct hf_optime *edge = pick(m, 2) == 0 ? &range->start : &range->end;
        target.seconds = edge->seconds;
        target.increment = edge->increment;
    }
    return target;
}

static bool is_promised(const struct hf_ranges *ranges, const struct hf_target *target)
{
    for (size_t i = 0; i < ranges->count; i++) {
        if (hf_range_has(&ranges->items[i], target)) {
            return true;
        }
    }
    return false;
}

/* From the chain's first entry, if that is a start: the hash hangs on entries alone. */
static void expect_hash(struct model *m, const struct hf_chain *chain)
{
    struct hf_error err;
    struct hf_chain_hasher *hasher = NULL;
    struct hf_hash hash = chain->hash_after;
    HF_CLEANUP(hf_buf_fini) struct hf_buf entry = HF_BUF_INIT((size_t)1 << 20);
    size_t end = node_of(m, &chain->last);
    size_t node = node_of(m, &chain->first);
    EXPECT_OK(hf_chain_hasher_create(&m->world.ring, &hasher, &err), &err);
    for (;;) {
        encode(m, node, &entry);
        hf_chain_hash(hasher, &hash, hf_buf_bytes(&entry));
        if (node == end) {
            break;
        }
        node = next_towards(m, node, end);
    }
    assert_true(hf_hash_equal(&hash, &chain->hash_last));
    hf_chain_hasher_destroy(hasher);
}

static void compute(struct model *m, struct hf_chains *chains, struct hf_ranges *out)
{
    struct hf_error err;
    struct hf_base_snapshot snapshots[SNAPSHOTS_MAX];
    fill_snapshots(m, snapshots);
    struct hf_ranges_options options = {.chains = chains,
                                        .snapshots = snapshots,
                                        .snapshot_count = m->shot_count,
                                        .reader = m->world.reader};
    EXPECT_OK(hf_ranges_compute(&options, out, &err), &err);
}

static void expect_promises(struct model *m)
{
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    HF_CLEANUP(hf_ranges_fini) struct hf_ranges ranges = {.chains = NULL};
    load_checked(m, &chains);
    compute(m, &chains, &ranges);
    for (size_t i = 0; i < chains.count; i++) {
        expect_hash(m, &chains.items[i]);
    }
    for (size_t i = 0; i < ranges.count; i++) {
        m->counts.ranges++;
        for (unsigned n = 0; n < 6; n++) {
            struct hf_target target = random_target(m, &ranges.items[i]);
            if (is_promised(&ranges, &target)) {
                expect_restorable(m, &ranges, &target);
            } else {
                struct hf_nearest nearest;
                hf_ranges_nearest(&ranges, &target, &nearest);
                assert_true(!nearest.has_before || is_promised(&ranges, &nearest.before));
                assert_true(!nearest.has_after || is_promised(&ranges, &nearest.after));
                assert_true(nearest.why[0] != '\0');
            }
        }
    }
    /* Each snapshot has its own instants in some range. */
    for (size_t i = 0; i < ranges.snapshot_count; i++) {
        struct hf_target target = {.kind = HF_TARGET_TIMESTAMP,
                                   .seconds = ranges.snapshots[i].checkpoint.seconds,
                                   .increment = ranges.snapshots[i].checkpoint.increment};
        assert_true(is_promised(&ranges, &target));
    }
}

/* ---- Pruning ---- */

static void prune(struct model *m)
{
    struct hf_error err;
    HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
    HF_CLEANUP(hf_ranges_fini) struct hf_ranges ranges = {.chains = NULL};
    HF_CLEANUP(hf_free) size_t *links = NULL;
    struct hf_target kept[30];
    size_t kept_count = 0;
    size_t count = 0;
    uint32_t now = m->nodes[m->head].optime.seconds;
    struct hf_prune_options options = {.window_start_s = now - pick(m, now - 999)};
    load_checked(m, &chains);
    compute(m, &chains, &ranges);
    for (size_t i = 0; i < ranges.count; i++) {
        for (unsigned n = 0; n < 3 && kept_count < HF_ARRAY_LEN(kept); n++) {
            struct hf_target target = random_target(m, &ranges.items[i]);
            if (hf_target_limit(&target).seconds >= options.window_start_s &&
                is_promised(&ranges, &target)) {
                kept[kept_count++] = target;
            }
        }
    }
    EXPECT_OK(hf_ranges_prunable(&ranges, &options, &links, &count, &err), &err);
    size_t done = count == 0 ? 0 : (size_t)pick(m, count + 1); /* death half way */
    for (size_t i = 0; i < done; i++) {
        assert_true(chains.links[links[i]].name.last_optime.seconds < options.window_start_s);
        remove_slice(&m->world, &chains.links[links[i]].name);
        m->counts.pruned++;
    }
    hf_ranges_fini(&ranges);
    hf_chains_fini(&chains);
    load_checked(m, &chains);
    compute(m, &chains, &ranges);
    for (size_t i = 0; i < kept_count; i++) {
        if (!is_promised(&ranges, &kept[i])) {
            fail_msg("%s was in the window and is no longer restorable",
                     hf_target_text(&kept[i]).text);
        }
        expect_restorable(m, &ranges, &kept[i]);
    }
}

/* ---- Merging ---- */

/* A damaged slice whose entries others have may be gone afterwards: where it was the reason of an end, something is now
 * missing there. */
static bool same_chain(const struct hf_chain *a, const struct hf_chain *b)
{
    bool same_end = a->end == b->end || (a->end == HF_CHAIN_DAMAGED && b->end == HF_CHAIN_MISSING);
    return hf_optime_equal(&a->first, &b->first) && hf_optime_equal(&a->last, &b->last) &&
           hf_optime_equal(&a->after, &b->after) && hf_hash_equal(&a->hash_after, &b->hash_after) &&
           hf_hash_equal(&a->hash_last, &b->hash_last) && a->start == b->start && same_end &&
           a->start_cause == b->start_cause && a->end_cause == b->end_cause &&
           hf_optime_equal(&a->broken_after, &b->broken_after);
}

static void expect_same_chains(const struct hf_chains *before, const struct hf_chains *after)
{
    assert_int_equal(after->count, before->count);
    for (size_t i = 0; i < before->count; i++) {
        bool found = false;
        for (size_t k = 0; k < after->count && !found; k++) {
            found = same_chain(&before->items[i], &after->items[k]);
        }
        if (!found) {
            fail_msg("the chain %s to %s is another one after merging",
                     hf_optime_text(&before->items[i].first).text,
                     hf_optime_text(&before->items[i].last).text);
        }
    }
}

/* What is leased is there as it was. */
static void expect_leased(const struct hf_chains *before, const struct hf_chains *after,
                          const struct hf_optime *lease)
{
    for (size_t i = 0; i < before->link_count && !hf_optime_is_none(lease); i++) {
        const struct hf_object_text text = hf_object_name_text(&before->links[i].name);
        bool found = hf_optime_compare_ts(&before->links[i].name.last_optime, lease) < 0;
        for (size_t k = 0; k < after->link_count && !found; k++) {
            found = strcmp(hf_object_name_text(&after->links[k].name).text, text.text) == 0;
        }
        assert_true(found);
    }
}

static enum hf_err leased_from(void *context, struct hf_optime *from, struct hf_error *err)
{
    (void)err;
    *from = *(const struct hf_optime *)context;
    return HF_ERR_OK;
}

/* Perhaps with a lease, perhaps with a death at one of its steps; then once more, to its end. */
static void merge(struct model *m)
{
    static const char *const points[] = {"oplog.merge.put", "oplog.merge.written",
                                         "oplog.merge.deleted"};
    HF_CLEANUP(hf_chains_fini) struct hf_chains before = {.links = NULL};
    struct hf_optime lease = {.seconds = 0};
    struct hf_merge_result result;
    struct hf_error err;
    struct hf_merge_options options = {
        .store = m->world.store,
        .keyring = &m->world.ring,
        .in_use = leased_from,
        .context = &lease,
        .before_s = UINT32_MAX,
        .least = 2 + pick(m, 4),
        .runs_max = pick(m, 4),
    };
    if (pick(m, 3) == 0) {
        lease = m->nodes[1 + pick(m, m->node_count - 1)].optime;
    }
    load_checked(m, &before);
    bool dies = pick(m, 2) == 0;
    if (dies) {
        hf_fault_arm_nth(points[pick(m, 3)], HF_ERR_UNAVAILABLE, 1 + pick(m, 5), 1);
    }
    for (unsigned i = 0; i < 2; i++) {
        HF_CLEANUP(hf_chains_fini) struct hf_chains chains = {.links = NULL};
        HF_CLEANUP(hf_chains_fini) struct hf_chains after = {.links = NULL};
        load_checked(m, &chains);
        enum hf_err code = hf_merge_slices(&options, &chains, &result, &err);
        hf_fault_disarm_all();
        if (code != HF_ERR_OK) {
            assert_true(dies && i == 0 && code == HF_ERR_UNAVAILABLE);
            m->counts.deaths++;
        }
        m->counts.merged += result.written;
        m->counts.replaced += result.deleted;
        load_checked(m, &after);
        expect_leased(&chains, &after, &lease);
        expect_same_chains(&before, &after);
    }
    expect_promises(m);
}

/* ---- A run ---- */

static void one_step(struct model *m)
{
    struct tail *tail = &m->tails[pick(m, TAILERS)];
    uint64_t what = pick(m, 100);
    if (what < 35) {
        for (uint64_t n = 1 + pick(m, 12); n > 0; n--) {
            write_entry(m, false);
        }
    } else if (what < 75) {
        if (!tail->is_on) {
            tail_start(m, tail);
        }
        tail_some(m, tail);
    } else if (what < 82) {
        take_snapshot(m);
    } else if (what < 87) {
        tail_stop(tail); /* what it had not put is gone with it */
    } else if (what < 90) {
        roll_back(m);
    } else if (what < 92 && tail->is_on) {
        tail_fall_behind(m, tail);
    } else if (what < 94) {
        damage_one(m);
    } else if (what < 95) {
        write_entry(m, true);
    } else if (what < 96) {
        m->term++;
        write_entry(m, false); /* an election, with nothing lost */
    } else if (what < 97) {
        prune(m);
    } else if (what < 98) {
        merge(m);
    } else {
        expect_promises(m);
    }
}

static uint64_t setting(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    uint64_t value = 0;
    return text != NULL && hf_parse_u64(hf_str_of(text), &value) ? value : fallback;
}

static void run(uint64_t seed, uint64_t steps, struct counts *sum)
{
    struct model *m = hf_alloc_zero(sizeof *m);
    assert_non_null(m);
    m->random = seed * 0x9e3779b97f4a7c15ULL + 1;
    m->node_count = 1;
    m->nodes[0].optime = (struct hf_optime){.seconds = 1000, .term = -1};
    m->term = 1;
    world_begin(&m->world);
    for (unsigned i = 0; i < 5; i++) {
        write_entry(m, false);
    }
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < steps; i++) {
        one_step(m);
    }
    expect_promises(m);
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)&m->counts;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) {
        to[i] += from[i];
    }
    for (size_t i = 0; i < TAILERS; i++) {
        tail_stop(&m->tails[i]);
    }
    world_end(&m->world);
    hf_free(m);
}

static void test_ranges_promise_only_what_can_be_read(void **state)
{
    const char *soak = getenv("HOLDFAST_SOAK");
    uint64_t runs = soak != NULL && soak[0] != '\0' ? 300 : 12;
    uint64_t seed = setting("HF_TEST_SEED", 1);
    uint64_t steps = setting("HF_TEST_STEPS", 300);
    struct counts sum = {0};
    (void)state;
    for (uint64_t i = 0; i < runs; i++) {
        run(seed + i, steps, &sum);
    }
    print_message(
        "slices %llu, rollbacks %llu, breaks %llu, diverged %llu, damaged %llu, lost %llu, "
        "pruned %llu, merged into %llu, replaced %llu, deaths %llu, ranges %llu, targets %llu, "
        "entries read %llu\n",
        (unsigned long long)sum.slices, (unsigned long long)sum.rollbacks,
        (unsigned long long)sum.breaks, (unsigned long long)sum.diverged,
        (unsigned long long)sum.damaged, (unsigned long long)sum.lost,
        (unsigned long long)sum.pruned, (unsigned long long)sum.merged,
        (unsigned long long)sum.replaced, (unsigned long long)sum.deaths,
        (unsigned long long)sum.ranges, (unsigned long long)sum.targets,
        (unsigned long long)sum.entries);
    /* A run that met none of it proves nothing. */
    if (getenv("HF_TEST_STEPS") == NULL) {
        assert_true(sum.targets > 500 && sum.entries > 2000 && sum.diverged > 0 &&
                    sum.damaged > 10 && sum.pruned > 20 && sum.merged > 20 && sum.deaths > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_promise_only_what_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
