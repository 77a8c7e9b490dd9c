/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job that nobody looks after: it waits for its approval, takes its snapshots when they are due, lets go what has
 * expired, is counted, groomed and checked, is late and tells of it, is stopped and terminated. Server and agent die
 * together at a fault point of any of that, or between any two changes of catalog and store, everything being kept or only
 * what was synced; others go on in the same minute. Whatever was cut off:
 *
 * - what was promised is there, restores to its bytes, and of an Active job there is always one that does;
 * - for each due time one snapshot was taken, not two and not none;
 * - what was to go is gone after two passes: record, manifest and, behind a groom, every byte;
 * - catalog and store agree on what there is, and no work is left half done;
 * - each thing that happened was told, under one name however often it was sent.
 *
 * One undisturbed life is lived first, and its world kept as it was before each phase: a death costs its own phase and the
 * ones behind it. In make test a share of the deaths (by the seed), all of them in a soak.
 */
#include "base/fault.h"
#include "crash/server/life.h"
#include "server/alerts.h"
#include "server/events.h"
#include "server/flow_groom.h"
#include "server/flow_schedule.h"
#include "server/notify.h"
#include "server/stores.h"
#include "snapshot/list.h"
#include "support/disk.h"
#include "support/oplog_kit.h"
#include "support/run.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define LIMIT_S 120
#define SHORT_DEATHS 8
#define NTH_MAX                                                                                    \
    24 /* so many passes of one point in a phase; of more, as many that are spread evenly */
#define ROUNDS_MAX 60
#define CAPTURES_MAX 256
#define INTERVAL_S UINT64_C(43200)
#define NOTICES_MAX 256

/*
 * Where a death is put; points of rooms that other programs here put one at are in theirs (tools/check_faults.py knows all).
 * Behind them what stands around every change of the catalog and the store.
 */
static const char *const points[] = {
    "server.job.checked",          "server.job.moved",           "server.job.assigned",
    "server.stores.made",          "server.job.swept",           "server.job.keys_made",
    "server.job.provisioned",      "server.schedule.looked",     "server.schedule.begun",
    "server.take.reserved",        "server.take.recorded",       "server.take.claimed",
    "server.finish.noted",         "server.finish.checked",      "server.finish.manifest_put",
    "server.finish.looked_again",  "server.finish.completed",    "server.finish.claims_dropped",
    "server.delete.expired",       "server.upkeep.groomed",      "server.terminate.expired",
    "server.terminate.deleted",    "server.terminate.emptied",   "server.terminate.head_gone",
    "server.terminate.keys_gone",  "server.terminate.gone",      "server.notice.sent",
    "snapshot.groom.put",          "snapshot.groom.delete",      "catalog.sqlite.insert.done",
    "catalog.sqlite.replace.done", "catalog.sqlite.remove.done", "store.fs.put.done",
    "store.fs.delete.done",        "server.alerts.written",      "server.alerts.event_told",
    "server.alerts.told",          "server.notify.queued",
};
#define POINTS HF_ARRAY_LEN(points)

enum phase {
    APPROVED,
    FIRST,
    SECOND,
    KEPT,
    EXPIRED,
    GROOMED,
    CHECKED,
    LATE,
    IN_TIME,
    STOPPED,
    GONE,
    PHASES
};
static const char *const phase_words[] = {"approved", "first",   "second",  "kept",
                                          "expired",  "groomed", "checked", "late",
                                          "in time",  "stopped", "gone",    "the end"};
/* When each begins, in intervals since the start. */
static const uint64_t phase_times[PHASES] = {0, 1, 2, 3, 4, 5, 6, 12, 12, 13, 20};

struct promise {
    struct hf_id id;
    uint64_t capture, until_s; /* until_s UINT64_MAX: for ever */
    unsigned source;           /* what the source was then */
};

/* Shared with the children; as it was before a phase it is kept with the world. */
struct story {
    size_t done; /* phases */
    uint64_t base_s;
    unsigned source;
    struct promise promises[CAPTURES_MAX];
    size_t promise_count;
    uint64_t slot_s; /* of this phase: the due time that a snapshot is taken for; 0: none */
    uint64_t passes[PHASES][POINTS];
};

/* What the receiver of notices has seen. */
struct mailbox {
    struct {
        char id[64], alert[64], what[16], type[64];
        unsigned times;
    } notices[NOTICES_MAX];
    size_t count;
    unsigned port;
    pid_t receiver;
};

struct fixture {
    char *dir, *world, *attic, *source, *templates, *restored; /* owned */
    struct story *story, *stories;                             /* the latter: before each phase */
    struct mailbox *mailbox;
    uint64_t seed, lives, deaths;
};

static struct hf_server_app *app_of(struct life *life)
{
    return &life->server.app;
}

/* ---- The source ---- */

static void fill_source(unsigned number, uint8_t *bytes, size_t len)
{
    fill_block(bytes, len / 2, 1, 7); /* always the same */
    fill_block(bytes + len / 2, len - len / 2, 2 + number, 7);
}
#define SOURCE_BYTES 40000

static void write_source(const struct fixture *f, unsigned number)
{
    struct hf_error err;
    HF_CLEANUP(hf_free) char *path = hf_path_join(f->source, "a.wt");
    uint8_t bytes[SOURCE_BYTES];
    fill_source(number, bytes, sizeof bytes);
    LIFE_OK(hf_fs_publish_replace(path, hf_bytes_of(bytes, sizeof bytes), 0600, &err), &err);
}

/* ---- The receiver: a web server of one thread in a process of its own ---- */

static void copy_value(const char *text, const char *key, char *out, size_t out_len)
{
    const char *at = strstr(text, key);
    size_t len = 0;
    if (at != NULL) {
        at += strlen(key);
        len = strcspn(at, "\"\r\n");
        len = len < out_len ? len : out_len - 1;
        memcpy(out, at, len);
    }
    out[len] = '\0';
}

static void note_notice(struct mailbox *mailbox, const char *text)
{
    char id[64];
    copy_value(text, "X-Holdfast-Notice: ", id, sizeof id);
    for (size_t i = 0; i < mailbox->count; i++) {
        if (strcmp(mailbox->notices[i].id, id) == 0) {
            mailbox->notices[i].times++;
            return;
        }
    }
    if (mailbox->count == NOTICES_MAX) {
        return;
    }
    size_t at = mailbox->count;
    (void)snprintf(mailbox->notices[at].id, sizeof id, "%s", id);
    copy_value(text, "\"alertId\":\"", mailbox->notices[at].alert, 64);
    copy_value(text, "\"what\":\"", mailbox->notices[at].what, 16);
    copy_value(text, "\"alertTypeName\":\"", mailbox->notices[at].type, 64);
    mailbox->notices[at].times = 1;
    mailbox->count = at + 1;
}

static void serve(int listener, struct mailbox *mailbox)
{
    static char text[65536];
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        size_t len = 0;
        const char *body = NULL;
        while (fd >= 0 && len < sizeof text - 1) {
            ssize_t got = recv(fd, text + len, sizeof text - 1 - len, 0);
            if (got <= 0) {
                break;
            }
            len += (size_t)got;
            text[len] = '\0';
            const char *length = strstr(text, "Content-Length: ");
            body = strstr(text, "\r\n\r\n");
            if (length != NULL && body != NULL &&
                len >= (size_t)(body + 4 - text) + strtoull(length + 16, NULL, 10)) {
                static const char answer[] =
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                note_notice(mailbox, text);
                (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
                break;
            }
        }
        (void)close(fd);
    }
}

static void start_receiver(struct mailbox *mailbox)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 64), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    mailbox->port = ntohs(address.sin_port);
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        serve(listener, mailbox);
    }
    mailbox->receiver = pid; /* not the child's word: it is in shared memory */
    (void)close(listener);
}

/* ---- What must be ---- */

static struct promise *promise_of(struct story *story, const struct hf_id *id)
{
    for (size_t i = 0; i < story->promise_count; i++) {
        if (hf_id_equal(&story->promises[i].id, id)) {
            return &story->promises[i];
        }
    }
    return NULL;
}

/* Whoever has seen a snapshot in the list relies on it from then on. */
static void note_promises(struct life *life, struct story *story)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        struct promise *promise = promise_of(story, &one->id);
        if (one->state != HF_SNAPSHOT_COMPLETE) {
            continue;
        }
        if (promise == NULL) {
            LIFE_CHECK(story->promise_count < CAPTURES_MAX);
            promise = &story->promises[story->promise_count++];
            *promise =
                (struct promise){.id = one->id, .capture = one->capture, .source = story->source};
        }
        promise->until_s = one->keep || one->expires_s == 0 ? UINT64_MAX : one->expires_s;
    }
}

static void expect_restores(struct fixture *f, struct life *life,
                            const struct hf_snapshot_record *one, unsigned source)
{
    struct hf_error err;
    HF_CLEANUP(hf_flow_reading_fini) struct hf_flow_reading reading = {0};
    struct hf_restore_result result = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf found = HF_BUF_INIT(2 * SOURCE_BYTES);
    HF_CLEANUP(hf_free) char *path = hf_path_join(f->restored, "a.wt");
    uint8_t bytes[SOURCE_BYTES];
    LIFE_OK(hf_fs_remove_tree(f->restored, &err), &err);
    LIFE_OK(hf_flow_open(app_of(life), &one->id, &reading, &err), &err);
    const struct hf_restore_options options = {.store = life_store(life),
                                               .keyring = &reading.keyring,
                                               .root = &reading.manifest.root,
                                               .directory = f->restored,
                                               .restore_info = "",
                                               .workers = 1};
    LIFE_OK(hf_restore_run(&options, &result, &err), &err);
    LIFE_OK(hf_fs_read_whole(path, 2 * SOURCE_BYTES, &found, &err), &err);
    fill_source(source, bytes, sizeof bytes);
    if (found.len != sizeof bytes || memcmp(found.data, bytes, sizeof bytes) != 0) {
        LIFE_FAIL("snapshot %llu is not of source %u", (unsigned long long)one->capture, source);
    }
}

/* At any moment, also before a life has done anything. */
static void expect_promises(struct fixture *f, struct life *life, bool restore)
{
    struct story *story = f->story;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    const uint64_t now_s = hf_flow_now_s();
    size_t good = 0;
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        const struct promise *promise = promise_of(story, &one->id);
        if (one->state == HF_SNAPSHOT_COMPLETE) {
            good++;
            if (restore) {
                expect_restores(f, life, one, promise == NULL ? story->source : promise->source);
            }
        }
    }
    if (story->done == GONE || story->done == PHASES) {
        return; /* it may be going */
    }
    LIFE_CHECK(good > 0 || story->promise_count == 0);
    for (size_t i = 0; i < story->promise_count; i++) {
        const struct promise *promise = &story->promises[i];
        bool there = false;
        for (size_t k = 0; k < snapshots.count; k++) {
            there = there || (hf_id_equal(&snapshots.items[k].id, &promise->id) &&
                              snapshots.items[k].state == HF_SNAPSHOT_COMPLETE);
        }
        if (promise->until_s > now_s && !there) {
            LIFE_FAIL("snapshot %llu was promised", (unsigned long long)promise->capture);
        }
    }
}

/* When nothing is to be done any more: records and manifests are the same snapshots, and no attempt is open. */
static void expect_agreement(struct life *life)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list manifests = {.entries = NULL};
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list claims = {.entries = NULL};
    const struct hf_object_text manifest = hf_object_prefix(HF_OBJECT_MANIFEST, &life->job.id);
    const struct hf_object_text claim = hf_object_prefix(HF_OBJECT_CLAIM, &life->job.id);
    size_t complete = 0, voids = 0;
    LIFE_OK(hf_store_list(life_store(life), hf_str_of(manifest.text), hf_str_of(""), 1000,
                          &manifests, &err),
            &err);
    LIFE_OK(
        hf_store_list(life_store(life), hf_str_of(claim.text), hf_str_of(""), 1000, &claims, &err),
        &err);
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        LIFE_CHECK(one->state != HF_SNAPSHOT_IN_PROGRESS);
        LIFE_CHECK(one->state != HF_SNAPSHOT_EXPIRED || one->dropped);
        complete += one->state == HF_SNAPSHOT_COMPLETE;
        voids += one->state == HF_SNAPSHOT_ABANDONED && !one->void_dropped;
    }
    if (manifests.count < complete || manifests.count > complete + voids) {
        LIFE_FAIL("%zu manifests, %zu snapshots, %zu voids", manifests.count, complete, voids);
    }
    const struct hf_job_record job = life_job(life);
    LIFE_CHECK(hf_id_is_none(&job.running));
    if (claims.count > 0 && voids == 0) {
        LIFE_FAIL("%zu claims are left", claims.count);
    }
}

/* The automatic ones that were complete, of a due time. */
static size_t taken_for(struct life *life, uint64_t slot_s)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    size_t count = 0;
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        bool was = one->state == HF_SNAPSHOT_COMPLETE || one->state == HF_SNAPSHOT_EXPIRED;
        count += was && one->automatic && one->created_s >= slot_s &&
                 one->created_s < slot_s + INTERVAL_S;
    }
    return count;
}

/* ---- What a server and an agent do ---- */

static void set_clock(struct story *story, size_t phase)
{
    const uint64_t wanted_s = story->base_s + phase_times[phase] * INTERVAL_S;
    const uint64_t now_s = hf_flow_now_s();
    if (now_s < wanted_s) {
        the_disk->clock_ahead_s += (int64_t)(wanted_s - now_s);
    }
}

static struct hf_schedule_record schedule_of(struct life *life)
{
    struct hf_error err;
    struct hf_schedule_record record = {.id = life->job.id};
    enum hf_err code =
        hf_keep_schedule_get(app_of(life)->catalog, &life->job.id, &record, NULL, &err);
    LIFE_CHECK(code == HF_ERR_OK || code == HF_ERR_NOT_FOUND);
    return record;
}

static bool tasks_open(struct life *life)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_tasks_fini) struct hf_keep_tasks tasks = {0};
    const struct hf_catalog_query all = {.limit = 1000};
    bool open = false;
    LIFE_OK(hf_keep_task_find(app_of(life)->catalog, &all, &tasks, &err), &err);
    for (size_t i = 0; i < tasks.count; i++) {
        open = open || tasks.items[i].state != HF_TASK_ENDED;
    }
    return open;
}

/* The server's periodic work, all of it, then the agent's. */
static void beat(struct life *life, bool agent)
{
    struct hf_error err;
    LIFE_OK(hf_flow_resume(app_of(life), &err), &err);
    enum hf_err code = hf_flow_jobs_tick(app_of(life), &err);
    LIFE_CHECK(code == HF_ERR_OK || code == HF_ERR_BUSY);
    LIFE_OK(hf_flow_schedule_tick(app_of(life), &err), &err);
    LIFE_OK(hf_flow_upkeep_tick(app_of(life), &err), &err);
    LIFE_OK(hf_alerts_pass(app_of(life), &err), &err);
    LIFE_OK(hf_notify_pass(app_of(life), HF_ALERT_BY_WEBHOOK, &err), &err);
    if (agent) {
        life_work(life);
    }
}

static bool upkeep_asked(struct life *life)
{
    struct hf_error err;
    struct hf_usage_record usage;
    return hf_keep_usage_get(app_of(life)->catalog, &life->job.id, &usage, NULL, &err) ==
               HF_ERR_OK &&
           (usage.asked_groom_s != 0 || usage.asked_count_s != 0 || usage.asked_check_s != 0);
}

/* Until there is nothing to do; what waits for a failed attempt is waited for, and what a life before holds. */
static void rest(struct life *life)
{
    for (unsigned i = 0; i < ROUNDS_MAX; i++) {
        hf_flow_schedule_wake(app_of(life), &life->job.id);
        beat(life, true);
        const struct hf_schedule_record schedule = schedule_of(life);
        bool due = schedule.active && (schedule.owed_s != 0 || !hf_id_is_none(&schedule.attempt));
        const struct hf_job_record job = life_job(life);
        bool moves = job.state == HF_JOB_TERMINATING || !hf_id_is_none(&job.running);
        if (i > 0 && !due && !moves && !tasks_open(life) && !upkeep_asked(life)) {
            return;
        }
        if (i > 2) {
            the_disk->clock_ahead_s += 61;
            hf_server_heard_listen(app_of(life)->heard, 61000);
            /* A life before held the queue: it is silent. And it is looked at again. */
            app_of(life)->queue_seen_ms -= 61000;
            app_of(life)->queue_idle.since_ms -= 61000;
        }
    }
    const struct hf_schedule_record schedule = schedule_of(life);
    const struct hf_job_record job = life_job(life);
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        (void)fprintf(stderr, "snapshot %llu of %llu: %s %s\n", (unsigned long long)one->capture,
                      (unsigned long long)one->created_s, hf_snapshot_state_word(one->state),
                      one->error);
    }
    LIFE_FAIL("no rest at %llu: %s (%s), running %s, owed %llu, failures %llu: %s",
              (unsigned long long)hf_flow_now_s(), hf_job_state_word(job.state), job.problem,
              hf_id_text(&job.running).text, (unsigned long long)schedule.owed_s,
              (unsigned long long)schedule.failures, schedule.problem);
}

/* ---- The phases ---- */

static void approve(struct life *life)
{
    struct hf_error err;
    life_start_job(life);
    for (unsigned i = 0; i < ROUNDS_MAX && life_job(life).state != HF_JOB_STARTED; i++) {
        const struct hf_job_record job = life_job(life);
        if (job.waiting && !job.approved) {
            LIFE_OK(hf_flow_move_job(app_of(life), &life->job.id, HF_JOB_APPROVE, &life->job, &err),
                    &err);
        }
        enum hf_err code = hf_flow_jobs_tick(app_of(life), &err);
        LIFE_CHECK(code == HF_ERR_OK || code == HF_ERR_BUSY);
    }
    LIFE_CHECK(life_job(life).state == HF_JOB_STARTED && life_job(life).approved);
}

static void set_policy(struct life *life, uint64_t base_s)
{
    struct hf_error err;
    struct hf_schedule_record ignored;
    const struct hf_job_record job = life_job(life);
    const struct hf_policy policy = {
        .interval_min = INTERVAL_S / 60, .reference_min = base_s % 86400 / 60, .base_days = 1};
    LIFE_OK(hf_flow_policy_set(app_of(life), &job, &policy, &ignored, &err), &err);
}

static void expect_one_taken(struct life *life, const struct story *story, size_t phase)
{
    const uint64_t slot_s = story->base_s + phase_times[phase] * INTERVAL_S;
    size_t taken = taken_for(life, slot_s);
    if (taken != 1) {
        LIFE_FAIL("%zu snapshots were taken for one time", taken);
    }
}

/* Two passes, and what has expired is gone, but for what the guarantee keeps. */
static void expect_expired_gone(struct life *life)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    uint64_t newest = 0;
    size_t gone = 0;
    rest(life);
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        newest =
            one->state == HF_SNAPSHOT_COMPLETE && one->capture > newest ? one->capture : newest;
    }
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        gone += one->state == HF_SNAPSHOT_EXPIRED;
        if (one->state == HF_SNAPSHOT_COMPLETE && one->capture != newest &&
            hf_retention_is_expired(one, hf_flow_now_s())) {
            LIFE_FAIL("snapshot %llu should be gone", (unsigned long long)one->capture);
        }
    }
    LIFE_CHECK(gone > 0);
}

/* One by hand that stays for a day, and an automatic one that is kept for ever. */
static void keep_some(struct life *life)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    const struct hf_flow_wish wish = {.project = app_of(life)->first_project,
                                      .set_name = LIFE_SET,
                                      .description = "2",
                                      .retention_days = 1};
    const struct hf_retention_wish for_ever = {.keep = true};
    struct hf_snapshot_record record;
    const struct hf_snapshot_record *first = NULL;
    bool by_hand = false;
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        by_hand = by_hand || (!one->automatic && one->state == HF_SNAPSHOT_COMPLETE);
        if (one->automatic && one->state == HF_SNAPSHOT_COMPLETE &&
            (first == NULL || one->capture > first->capture)) {
            first = one;
        }
    }
    if (!by_hand) {
        LIFE_OK(hf_flow_take(app_of(life), &wish, &record, &err), &err);
        rest(life);
    }
    LIFE_CHECK(first != NULL);
    LIFE_OK(hf_flow_expiry_set(app_of(life), &first->id, &for_ever, &record, &err), &err);
}

static void ask(struct life *life, enum hf_upkeep_work work)
{
    struct hf_error err;
    uint64_t count = 0;
    const struct hf_flow_upkeep_wish wish = {
        .job = life->job.id, .work = work, .living_percent = 100, .full = true};
    LIFE_OK(hf_flow_upkeep_ask(app_of(life), &wish, &count, &err), &err);
    LIFE_CHECK(count == 1);
}

static struct hf_usage_record usage_of(struct life *life)
{
    struct hf_error err;
    struct hf_usage_record usage;
    LIFE_OK(hf_keep_usage_get(app_of(life)->catalog, &life->job.id, &usage, NULL, &err), &err);
    return usage;
}

/* Two grooms of everything leave no byte that no snapshot needs. */
static void groom(struct life *life)
{
    struct hf_error err;
    struct hf_flow_upkeep_slots slots;
    the_disk->clock_ahead_s += 7200; /* what expires in this hour has */
    rest(life);
    for (unsigned i = 0; i < 2; i++) {
        ask(life, HF_UPKEEP_GROOM);
        rest(life);
    }
    ask(life, HF_UPKEEP_COUNT);
    rest(life);
    const struct hf_usage_record usage = usage_of(life);
    if (usage.dead_bytes != 0 || usage.unreadable_objects != 0 || usage.asked_groom_s != 0 ||
        usage.asked_count_s != 0 || usage.failures != 0) {
        LIFE_FAIL("%llu dead bytes, %llu unreadable, asked %llu %llu, failures %llu: %s",
                  (unsigned long long)usage.dead_bytes,
                  (unsigned long long)usage.unreadable_objects,
                  (unsigned long long)usage.asked_groom_s, (unsigned long long)usage.asked_count_s,
                  (unsigned long long)usage.failures, usage.error);
    }
    LIFE_CHECK(usage.groomed_s != 0);
    LIFE_OK(hf_flow_upkeep_slots(app_of(life), &usage.store, &slots, &err), &err);
    for (size_t i = 0; i < slots.count; i++) {
        LIFE_CHECK(hf_slot_is_free(&slots.items[i], &app_of(life)->process, false, 0));
    }
}

static void check(struct life *life)
{
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots snapshots = {0};
    ask(life, HF_UPKEEP_CHECK);
    rest(life);
    const struct hf_usage_record usage = usage_of(life);
    LIFE_CHECK(usage.asked_check_s == 0 && usage.checked_s != 0 && usage.checked_full);
    LIFE_CHECK(usage.damages == 0 && usage.damaged_snapshots == 0 && usage.failures == 0);
    life_snapshots(life, &snapshots);
    for (size_t i = 0; i < snapshots.count; i++) {
        const struct hf_snapshot_record *one = &snapshots.items[i];
        LIFE_CHECK(one->state != HF_SNAPSHOT_COMPLETE ||
                   (one->verified_s != 0 && one->verified_ok));
    }
}

/* Of alerts of that type: how many are open, and how many were ever. */
static size_t alerts_of(struct life *life, enum hf_alert_type type, size_t *open)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_alerts_fini) struct hf_keep_alerts alerts = {0};
    const struct hf_catalog_query all = {.limit = 1000};
    size_t count = 0;
    *open = 0;
    LIFE_OK(hf_keep_alert_find(app_of(life)->catalog, &all, &alerts, &err), &err);
    for (size_t i = 0; i < alerts.count; i++) {
        count += alerts.items[i].type == type;
        *open += alerts.items[i].type == type && alerts.items[i].status == HF_ALERT_OPEN;
    }
    return count;
}

static size_t events_of(struct life *life, const char *type)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_events_fini) struct hf_keep_events events = {0};
    const struct hf_catalog_query all = {.index = "createdS", .limit = 1000};
    size_t count = 0;
    LIFE_OK(hf_keep_event_find(app_of(life)->catalog, &all, &events, &err), &err);
    for (size_t i = 0; i < events.count; i++) {
        count += strcmp(events.items[i].type, type) == 0;
    }
    return count;
}

/* Sent at least once; never a second time under another name. */
static void expect_notices(const struct mailbox *mailbox, const char *type, const char *what)
{
    size_t found = 0;
    for (size_t i = 0; i < mailbox->count; i++) {
        found += strcmp(mailbox->notices[i].type, type) == 0 &&
                 strcmp(mailbox->notices[i].what, what) == 0;
    }
    if (found != 1) {
        LIFE_FAIL("%zu notices say that %s is %s", found, type, what);
    }
}

/* The agent is away for days: nothing is taken, all has expired, the newest stays, and people are told. */
static void be_late(struct fixture *f, struct life *life)
{
    size_t open = 0;
    for (unsigned i = 0; i < 3; i++) {
        hf_flow_schedule_wake(app_of(life), &life->job.id);
        beat(life, false);
    }
    LIFE_CHECK(alerts_of(life, HF_ALERT_LATE_SNAPSHOT, &open) == 1 && open == 1);
    LIFE_CHECK(events_of(life, "LATE_SNAPSHOT") == 1);
    expect_notices(f->mailbox, "LATE_SNAPSHOT", "OPEN");
}

static void be_in_time(struct fixture *f, struct life *life)
{
    size_t open = 0;
    rest(life);
    expect_one_taken(life, f->story, IN_TIME);
    LIFE_CHECK(alerts_of(life, HF_ALERT_LATE_SNAPSHOT, &open) == 1 && open == 0);
    LIFE_CHECK(events_of(life, "LATE_SNAPSHOT") == 1 && events_of(life, "TIMELY_SNAPSHOT") == 1);
    expect_notices(f->mailbox, "LATE_SNAPSHOT", "CLOSED");
}

static void stop(struct life *life)
{
    struct hf_error err;
    HF_CLEANUP(hf_keep_snapshots_fini) struct hf_keep_snapshots before = {0}, after = {0};
    size_t complete = 0;
    if (life_job(life).state == HF_JOB_STARTED) {
        LIFE_OK(hf_flow_move_job(app_of(life), &life->job.id, HF_JOB_STOP, &life->job, &err), &err);
    }
    life_snapshots(life, &before);
    the_disk->clock_ahead_s += 3 * 86400; /* all is over, and stays */
    rest(life);
    life_snapshots(life, &after);
    LIFE_CHECK(before.count == after.count);
    for (size_t i = 0; i < after.count; i++) {
        complete += after.items[i].state == HF_SNAPSHOT_COMPLETE;
        LIFE_CHECK(before.items[i].state == after.items[i].state ||
                   before.items[i].state != HF_SNAPSHOT_COMPLETE);
    }
    LIFE_CHECK(complete > 1);
}

static void terminate(struct life *life)
{
    struct hf_error err;
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list left = {.entries = NULL};
    if (life_job(life).state == HF_JOB_STOPPED) {
        LIFE_OK(hf_flow_move_job(app_of(life), &life->job.id, HF_JOB_TERMINATE, &life->job, &err),
                &err);
    }
    rest(life);
    LIFE_CHECK(life_job(life).state == HF_JOB_INACTIVE);
    LIFE_OK(hf_store_list(life_store(life), hf_str_of("j/"), hf_str_of(""), 1000, &left, &err),
            &err);
    if (left.count != 0) {
        LIFE_FAIL("%zu objects are left, %s", left.count, left.entries[0].name);
    }
}

/* Asked again, as an operator would: it is there, once, and works. */
static void add_store(struct life *life)
{
    struct hf_error err;
    struct hf_stores_add wish = {.record = {.name = "more", .load_factor = 1}, .plain = true};
    HF_CLEANUP(hf_store_views_fini) struct hf_store_views views = {.items = NULL};
    struct hf_store_record ignored;
    HF_CLEANUP(hf_free) char *key = NULL;
    size_t found = 0;
    (void)snprintf(wish.record.url, sizeof wish.record.url, "%s-more", life->store_url);
    enum hf_err code = hf_stores_add(app_of(life), &wish, &ignored, &key, &err);
    if (code != HF_ERR_OK && code != HF_ERR_EXISTS) {
        LIFE_FAIL("add a store: %s", err.message);
    }
    LIFE_OK(hf_stores_view(app_of(life), false, &views, &err), &err);
    for (size_t i = 0; i < views.count; i++) {
        if (strcmp(views.items[i].record.name, "more") == 0) {
            found++;
            LIFE_CHECK(views.items[i].store != NULL);
        }
    }
    LIFE_CHECK(found == 1);
}

static void run_phase(struct fixture *f, struct life *life, enum phase phase)
{
    struct story *story = f->story;
    set_clock(story, phase);
    switch (phase) {
    case APPROVED:
        approve(life);
        set_policy(life, story->base_s);
        rest(life);
        break;
    case FIRST:
    case SECOND:
        rest(life);
        expect_one_taken(life, story, phase);
        break;
    case KEPT:
        rest(life);
        expect_one_taken(life, story, phase);
        keep_some(life);
        break;
    case EXPIRED:
        rest(life);
        expect_one_taken(life, story, phase);
        expect_expired_gone(life);
        break;
    case GROOMED:
        rest(life);
        groom(life);
        break;
    case CHECKED:
        rest(life);
        check(life);
        break;
    case LATE:
        be_late(f, life);
        break;
    case IN_TIME:
        be_in_time(f, life);
        expect_expired_gone(life);
        groom(life);
        break;
    case STOPPED:
        rest(life);
        stop(life);
        break;
    case GONE:
        terminate(life);
        add_store(life);
        break;
    case PHASES:
        break;
    }
    if (phase != LATE) { /* there an attempt waits for its agent */
        expect_agreement(life);
    }
}

static void find_job(struct life *life)
{
    struct hf_error err;
    const struct hf_catalog_query query = {.index = "setName", .equals_text = LIFE_SET};
    HF_CLEANUP(hf_keep_clusters_fini) struct hf_keep_clusters clusters = {0};
    LIFE_OK(hf_keep_cluster_find(app_of(life)->catalog, &query, &clusters, &err), &err);
    LIFE_CHECK(clusters.count == 1);
    life->job.id = clusters.items[0].id;
}

static void live(struct fixture *f, size_t phases)
{
    struct life life;
    struct story *story = f->story;
    HF_CLEANUP(hf_free)
    char *url = hf_asprintf("http://127.0.0.1:%u/notices", f->mailbox->port);
    life_begin(&life, f->world);
    life.sources[1] = life.sources[2] = f->source;
    life.data_bytes = SOURCE_BYTES;
    life_start_server(&life);
    struct hf_server_app *app = app_of(&life);
    hf_mutex_init(&app->works_mutex);
    app->process = hf_flow_new_id();
    app->upkeep_slots = 1;
    app->upkeep = (struct hf_upkeep_policy){.living_percent = 100,
                                            .groom_every_s = 86400,
                                            .count_every_s = HF_UPKEEP_COUNT_EVERY_S,
                                            .check_every_s = 86400};
    app->schedules = true; /* the first snapshot is left to it: nothing tails here */
    app->snapshots_at_once = 4;
    app->provision_threshold_bytes = 1;
    app->alerts.limits = (struct hf_alert_limits){
        .of = {[HF_ALERT_LATE_SNAPSHOT] = hf_alert_kinds[HF_ALERT_LATE_SNAPSHOT].threshold,
               [HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD] = 100}};
    app->alerts.notify.webhook_url = url;
    (void)snprintf(app->alerts.host, sizeof app->alerts.host, "here");
    life_start_agent(&life);
    find_job(&life);
    expect_promises(f, &life, true);
    for (size_t last = story->done + phases; story->done < last && story->done < PHASES;) {
        uint64_t before[POINTS];
        for (size_t i = 0; i < POINTS; i++) {
            before[i] = hf_fault_passes(points[i]);
        }
        story->source = (unsigned)story->done;
        write_source(f, story->source);
        run_phase(f, &life, (enum phase)story->done);
        note_promises(&life, story);
        for (size_t i = 0; i < POINTS; i++) {
            story->passes[story->done][i] = hf_fault_passes(points[i]) - before[i];
        }
        expect_promises(f, &life, true);
        story->done++;
    }
    life_stop(&life);
}

/* ---- Dying ---- */

struct place {
    size_t phase, point;
    uint64_t nth;
};

/* place NULL: it lives on. True: it died where it was to. */
static bool run_child(struct fixture *f, const struct place *place, size_t phases)
{
    int status = 0;
    (void)fflush(NULL);
    f->lives++;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(LIMIT_S);
        if (place != NULL) {
            hf_fault_arm_death(points[place->point], place->nth);
        }
        live(f, phases);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (place != NULL && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        f->deaths++;
        return true;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("%s, in phase '%s', seed %llu: status %x", place != NULL ? "death" : "life",
                 phase_words[f->story->done], (unsigned long long)f->seed, (unsigned)status);
    }
    return false;
}

static void run_command(char *command_take)
{
    assert_non_null(command_take);
    if (system(command_take) != 0) {
        fail_msg("%s failed", command_take);
    }
    hf_free(command_take);
}

static void watch(struct fixture *f)
{
    struct hf_error err;
    disk_watch_nothing();
    assert_int_equal(hf_fs_remove_tree(f->attic, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs(f->attic, 0700, &err), HF_ERR_OK);
    disk_watch(f->world, f->attic);
}

/* As it was before that phase of the undisturbed life. */
static void begin_world(struct fixture *f, size_t phase)
{
    struct hf_error err;
    disk_watch_nothing();
    assert_int_equal(hf_fs_remove_tree(f->world, &err), HF_ERR_OK);
    run_command(hf_asprintf("cp -a '%s/%zu' '%s'", f->templates, phase, f->world));
    *f->story = f->stories[phase];
    f->mailbox->count = 0;
    /* The clock stands where the phase finds it: what was real time since is taken away. */
    the_disk->clock_ahead_s = 0;
    the_disk->clock_ahead_s =
        (int64_t)(f->story->base_s + phase_times[phase > 0 ? phase - 1 : 0] * INTERVAL_S) +
        (phase > STOPPED ? 4 * 86400 : 4 * 3600) - (int64_t)hf_flow_now_s();
    watch(f);
}

static void live_undisturbed(struct fixture *f)
{
    struct hf_error err;
    assert_int_equal(hf_fs_make_dirs(f->world, 0700, &err), HF_ERR_OK);
    f->story->base_s = hf_flow_now_s() / 60 * 60 + 120;
    for (size_t phase = 0; phase < PHASES; phase++) {
        f->stories[phase] = *f->story;
        disk_watch_nothing();
        run_command(hf_asprintf("cp -a '%s' '%s/%zu'", f->world, f->templates, phase));
        watch(f);
        assert_false(run_child(f, NULL, 1));
        assert_int_equal(f->story->done, phase + 1);
    }
    assert_int_equal(f->mailbox->count, 2); /* it was late, and it was not any more */
}

static void die_at(struct fixture *f, const struct place *place, enum disk_loss loss)
{
    begin_world(f, place->phase);
    if (!run_child(f, place, 1)) {
        return; /* another order of things: it never came there */
    }
    disk_cut_power(loss, disk_mix(f->seed, place->nth, 1));
    watch(f);
    print_message("died in phase '%s' at %s %llu, %s\n", phase_words[place->phase],
                  points[place->point], (unsigned long long)place->nth,
                  loss == DISK_LOSS_NONE ? "all is kept" : "only what was synced is kept");
    (void)run_child(f, NULL, PHASES);
    assert_int_equal(f->story->done, PHASES);
}

/* Of `total` passes the one that is tried as the i-th. */
static uint64_t pass_at(uint64_t total, uint64_t i)
{
    return total <= NTH_MAX ? i + 1 : 1 + i * (total - 1) / (NTH_MAX - 1);
}

static void test_a_job_goes_on_by_itself_whatever_dies(void **state)
{
#ifdef HF_FAULTS
    struct fixture *f = *state;
    uint64_t passes[PHASES][POINTS], total = 0, turn = f->seed;
    live_undisturbed(f);
    memcpy(passes, f->story->passes, sizeof passes);
    for (size_t i = 0; i < POINTS; i++) {
        uint64_t sum = 0;
        for (size_t phase = 0; phase < PHASES; phase++) {
            sum += passes[phase][i];
            total += passes[phase][i] < NTH_MAX ? passes[phase][i] : NTH_MAX;
        }
        if (sum == 0) {
            fail_msg("nothing passes %s", points[i]);
        }
    }
    uint64_t step = run_is_soak() ? 1 : 1 + total / SHORT_DEATHS;
    step = run_setting("HF_TEST_EVERY", step);
    for (size_t phase = 0; phase < PHASES; phase++) {
        for (size_t i = 0; i < POINTS; i++) {
            for (uint64_t k = 0; k < passes[phase][i] && k < NTH_MAX; k++) {
                if (turn++ % step != 0) {
                    continue;
                }
                const struct place place = {phase, i, pass_at(passes[phase][i], k)};
                die_at(f, &place, turn / step % 2 == 0 ? DISK_LOSS_NONE : DISK_LOSS_ALL);
                if (run_is_soak()) {
                    die_at(f, &place, turn / step % 2 == 0 ? DISK_LOSS_ALL : DISK_LOSS_NONE);
                }
            }
        }
    }
    print_message("%llu lives, %llu deaths, of %llu places\n", (unsigned long long)f->lives,
                  (unsigned long long)f->deaths, (unsigned long long)total);
    assert_true(f->deaths > 0);
#else
    (void)state;
    skip();
#endif
}

static void *shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    return memory;
}

static int make_fixture(void **state)
{
    struct hf_error err;
    struct fixture *f = hf_alloc_zero(sizeof *f);
    char *made = NULL;
    assert_non_null(f);
    run_in_memory((uint64_t)256 << 20);
    disk_make();
    f->story = shared(sizeof *f->story);
    f->mailbox = shared(sizeof *f->mailbox);
    f->stories = hf_alloc_zero(sizeof *f->stories * PHASES);
    assert_non_null(f->stories);
    assert_int_equal(hf_fs_make_temp_dir("hf-alone-test", &made, &err), HF_ERR_OK);
    assert_int_equal(hf_path_real(made, &f->dir, &err), HF_ERR_OK);
    hf_free(made);
    f->world = hf_path_join(f->dir, "world");
    f->attic = hf_path_join(f->dir, "attic");
    f->source = hf_path_join(f->dir, "source");
    f->templates = hf_path_join(f->dir, "templates");
    f->restored = hf_path_join(f->dir, "restored");
    assert_int_equal(hf_fs_make_dirs(f->source, 0700, &err), HF_ERR_OK);
    assert_int_equal(hf_fs_make_dirs(f->templates, 0700, &err), HF_ERR_OK);
    start_receiver(f->mailbox);
    f->seed = run_seed();
    print_message("seed %llu\n", (unsigned long long)f->seed);
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    struct hf_error err;
    struct fixture *f = *state;
    disk_watch_nothing();
    (void)kill(f->mailbox->receiver, SIGKILL);
    (void)waitpid(f->mailbox->receiver, NULL, 0);
    assert_int_equal(hf_fs_remove_tree(f->dir, &err), HF_ERR_OK);
    (void)munmap(f->story, sizeof *f->story);
    (void)munmap(f->mailbox, sizeof *f->mailbox);
    hf_free(f->stories);
    hf_free(f->dir);
    hf_free(f->world);
    hf_free(f->attic);
    hf_free(f->source);
    hf_free(f->templates);
    hf_free(f->restored);
    hf_free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_job_goes_on_by_itself_whatever_dies, make_fixture,
                                        drop_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
