/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalog as a large installation has it, put beside what the first start of a server made.
 *
 *   scheduler_bench CATALOG JOBS SNAPSHOTS          makes it, which takes minutes
 *   scheduler_bench CATALOG JOBS SNAPSHOTS again    brings the jobs of one that was made so to now
 *
 * Every job is STARTED, has its tail, and as many snapshots as the others, the last one an hour old; one in ten of the
 * snapshots is past its time and gone, one in a hundred was given up. Nothing is due for days. Must not know what a server
 * does with it.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "backup/groom.h"
#include "backup/head.h"
#include "backup/member.h"
#include "backup/records.h"
#include "backup/schedule.h"
#include "base/alloc.h"
#include "base/thread.h"
#include "os/clock.h"

#define WRITERS 32
#define EVENTS_A_JOB 10
#define MEMBERS_A_SET 3
#define SETS_A_HOST 10 /* an agent serves a member of each */
#define DAY_S ((uint64_t)86400)

struct fill {
    struct hf_catalog *catalog;
    uint64_t jobs, snapshots_a_job, now_s;
    struct hf_id project;
    atomic_ullong next, agents;
    atomic_bool failed;
    bool again;
};

/* Ids that begin with the time, as the server's do. */
static struct hf_id make_id(uint64_t second, char kind, uint64_t number)
{
    struct hf_id id;

    for (size_t i = 0; i < 4; i++) {
        id.bytes[i] = (uint8_t)(second >> (24 - 8 * i));
        id.bytes[8 + i] = (uint8_t)(number >> (24 - 8 * i));
    }
    memset(id.bytes + 4, kind, 4);
    return id;
}

static struct hf_id job_id(uint64_t number)
{
    /* Hashes in the product: spread. */
    return make_id(number * 2654435761U & 0xffffffff, 'j', number);
}

static void put(struct fill *fill, const char *kind, const struct hf_id *id, struct hf_json *json)
{
    struct hf_error err;

    enum hf_err code = json == NULL ? HF_ERR_NO_MEMORY
                                    : hf_catalog_insert(fill->catalog, kind, hf_id_text(id).text,
                                                        json, HF_CATALOG_UNSYNCED, &err);
    if (code == HF_ERR_EXISTS && fill->again) {
        HF_CLEANUP(hf_catalog_document_fini) struct hf_catalog_document old = {.json = NULL};
        code = hf_catalog_get(fill->catalog, kind, hf_id_text(id).text, &old, &err);
        code = code != HF_ERR_OK
                   ? code
                   : hf_catalog_replace(fill->catalog, kind, hf_id_text(id).text, old.revision,
                                        json, HF_CATALOG_UNSYNCED, &err);
    }
    if (code != HF_ERR_OK) {
        if (!atomic_exchange(&fill->failed, true)) {
            (void)fprintf(stderr, "scheduler_bench: %s\n",
                          json == NULL ? "no memory" : err.message);
        }
    }
    hf_json_drop(json);
}

static void put_snapshot(struct fill *fill, const struct hf_job_record *job, uint64_t number)
{
    uint64_t age = fill->snapshots_a_job - number; /* in intervals of 6 h */
    struct hf_snapshot_record record = {
        .id = make_id(fill->now_s - age * 6 * 3600 + 3600, 's',
                      job->id.bytes[11] | (uint64_t)job->id.bytes[10] << 8 | number << 16),
        .job = job->id,
        .project = job->project,
        .cluster = job->cluster,
        .store = job->store,
        .state = HF_SNAPSHOT_COMPLETE,
        .capture = number + 1,
        .writer = make_id(1, 'w', number),
        .task = make_id(2, 't', number),
        .agent = make_id(3, 'a', number),
        .parent_capture = number,
        .created_s = fill->now_s - age * 6 * 3600 + 3600,
        .automatic = true,
        .encrypted = true,
        .checkpoint = {.seconds = 1, .increment = 1, .term = 1},
        .oplog_end = {.seconds = 1, .increment = 1, .term = 1},
        .committed = {.seconds = 1, .increment = 1, .term = 1},
        .files = 90,
        .bytes = 20000000000,
        .new_bytes = 300000000,
        .stored_bytes = 100000000,
        .read_bytes = 20000000000,
        .blocks_reused = 100000,
        .blocks_new = 3000,
    };

    record.given_s = record.created_s + 1;
    record.sent_s = record.manifest_s = record.finished_s = record.created_s + 600;
    record.expires_s = fill->now_s + (number + 30) * DAY_S;
    (void)snprintf(record.set_name, sizeof record.set_name, "%s", job->set_name);
    (void)snprintf(record.member, sizeof record.member, "%s-b.example.net:27017", job->set_name);
    (void)snprintf(record.member_state, sizeof record.member_state, "SECONDARY");
    (void)snprintf(record.reason, sizeof record.reason,
                   "a secondary, lowest priority, 0 s behind, the member of the snapshot before");
    (void)snprintf(record.description, sizeof record.description, "by schedule");
    (void)snprintf(record.fcv, sizeof record.fcv, "4.4");
    (void)snprintf(record.server_version, sizeof record.server_version, "4.4.6-8");
    (void)snprintf(record.engine, sizeof record.engine, "wiredTiger");
    if (age > 1 && number % 10 == 3) {
        record.state = HF_SNAPSHOT_EXPIRED;
        record.dropped = true;
    } else if (age > 1 && number % 100 == 7) {
        record.state = HF_SNAPSHOT_ABANDONED;
        record.claim_dropped = record.void_dropped = true;
        (void)snprintf(record.error_class, sizeof record.error_class, "LOST");
        (void)snprintf(record.error, sizeof record.error,
                       "nothing was heard of the agent for too long");
    }
    put(fill, HF_KIND_SNAPSHOT, &record.id, hf_snapshot_record_encode(&record));
}

static void put_tail(struct fill *fill, const struct hf_job_record *job, const struct hf_id *agent)
{
    struct hf_task_record task = {
        .id = make_id(4, 't',
                      job->next_capture ^ (uint64_t)job->id.bytes[11] << 16 ^
                          (uint64_t)job->id.bytes[10] << 24),
        .project = job->project,
        .job = job->id,
        .agent = *agent,
        .kind = HF_TASK_TAIL,
        .state = HF_TASK_RUNNING,
        .created_s = fill->now_s - DAY_S,
        .seen_s = fill->now_s,
    };
    struct hf_head_record head = {
        .id = job->id,
        .project = job->project,
        .task = task.id,
        .agent = *agent,
        .begun_s = fill->now_s - DAY_S,
        .last = {.seconds = (uint32_t)fill->now_s, .increment = 1, .term = 1},
        .chain_first = {.seconds = (uint32_t)(fill->now_s - 30 * DAY_S), .increment = 1, .term = 1},
        .sequence = 1000000,
        .base_seen = true,
        .slices = 100000,
        .bytes = 1000000000,
        .moved_s = fill->now_s,
    };

    task.writer = head.writer = make_id(5, 'w', 1);
    task.attempt = make_id(6, 'p', 1);
    (void)snprintf(task.member, sizeof task.member, "%s-b.example.net:27017", job->set_name);
    (void)snprintf(head.member, sizeof head.member, "%s", task.member);
    (void)snprintf(head.set_name, sizeof head.set_name, "%s", job->set_name);
    (void)snprintf(head.hash, sizeof head.hash, "%064d", 0);
    (void)snprintf(head.store, sizeof head.store, "file:///backup");
    (void)snprintf(head.fcv, sizeof head.fcv, "4.4");
    (void)snprintf(head.cause, sizeof head.cause, "first");
    put(fill, HF_KIND_TASK, &task.id, hf_task_record_encode(&task));
    put(fill, HF_KIND_HEAD, &head.id, hf_head_record_encode(&head));
}

static void put_job(struct fill *fill, uint64_t number)
{
    struct hf_job_record job = {
        .id = job_id(number),
        .project = fill->project,
        .store = make_id(7, 'o', 1),
        .state = HF_JOB_STARTED,
        .next_capture = fill->snapshots_a_job + 1,
        .created_s = fill->now_s - 400 * DAY_S,
        .moved_s = fill->now_s - 400 * DAY_S,
        .started_s = fill->now_s - 400 * DAY_S,
        .last = {.snapshot = make_id(9, 's', number),
                 .created_s = fill->now_s - 5 * 3600,
                 .finished_s = fill->now_s - 5 * 3600 + 600,
                 .bytes = 20000000000,
                 .stored_bytes = 100000000},
    };
    struct hf_schedule_record schedule;
    struct hf_id agent = make_id(8, 'a', (number / SETS_A_HOST) * MEMBERS_A_SET + 1);

    (void)snprintf(job.set_name, sizeof job.set_name, "set%06llu", (unsigned long long)number);
    job.cluster = job.id;
    struct hf_cluster_record cluster = {
        .id = job.id, .project = job.project, .created_s = job.created_s};
    struct hf_usage_record usage = {.id = job.id,
                                    .project = job.project,
                                    .store = job.store,
                                    .created_s = job.created_s,
                                    .counted_s = fill->now_s - 3600,
                                    .groomed_s = fill->now_s - DAY_S,
                                    .checked_s = fill->now_s - DAY_S,
                                    .snapshots = fill->snapshots_a_job,
                                    .objects = 10000,
                                    .object_bytes = 30000000000,
                                    .living_bytes = 29000000000,
                                    .dead_bytes = 1000000,
                                    .living_blocks = 300000};
    (void)snprintf(cluster.set_name, sizeof cluster.set_name, "%s", job.set_name);
    (void)snprintf(usage.set_name, sizeof usage.set_name, "%s", job.set_name);
    hf_schedule_init(&schedule, &job, fill->now_s);
    schedule.policy.interval_min = 360;
    schedule.wake_s = fill->now_s + 600 + number % 3000;
    schedule.due_s = fill->now_s + 5 * 3600;
    schedule.took_s = fill->now_s - 3600;
    schedule.active = true;
    schedule.seen_s = fill->now_s;
    schedule.expire_s = fill->now_s + 3600;
    put(fill, HF_KIND_CLUSTER, &cluster.id, hf_cluster_record_encode(&cluster));
    put(fill, HF_KIND_JOB, &job.id, hf_job_record_encode(&job));
    put(fill, HF_KIND_SCHEDULE, &schedule.id, hf_schedule_record_encode(&schedule));
    put(fill, HF_KIND_USAGE, &usage.id, hf_usage_record_encode(&usage));
    put_tail(fill, &job, &agent);
    for (uint64_t i = 0; i < fill->snapshots_a_job && !fill->again; i++) {
        put_snapshot(fill, &job, i);
    }
    for (uint64_t i = 0; i < EVENTS_A_JOB && !fill->again; i++) {
        struct hf_event_record event = {
            .id = make_id(fill->now_s - i * DAY_S, 'e', number << 8 | i),
            .project = job.project,
            .job = job.id,
            .created_s = fill->now_s - i * DAY_S,
        };
        (void)snprintf(event.set_name, sizeof event.set_name, "%s", job.set_name);
        (void)snprintf(event.type, sizeof event.type, "%s", HF_EVENT_OPLOG_GAP);
        (void)snprintf(event.text, sizeof event.text, "the newest entry that is stored is old");
        put(fill, HF_KIND_EVENT, &event.id, hf_event_record_encode(&event));
    }
}

/* The agents of ten sets: one a host, each with one member of every set. */
static void put_agents(struct fill *fill, uint64_t first_job)
{
    static const char *const states[MEMBERS_A_SET] = {"PRIMARY", "SECONDARY", "SECONDARY"};

    for (uint64_t host = 0; host < MEMBERS_A_SET; host++) {
        uint64_t number = first_job / SETS_A_HOST * MEMBERS_A_SET + host;
        struct hf_agent_record agent = {.id = make_id(8, 'a', number),
                                        .project = fill->project,
                                        .created_s = fill->now_s - 400 * DAY_S,
                                        .seen_s = fill->now_s};
        struct hf_json *json = hf_json_object();
        struct hf_json *members = hf_json_array();
        (void)snprintf(agent.host, sizeof agent.host, "host%06llu.example.net",
                       (unsigned long long)number);
        (void)snprintf(agent.release, sizeof agent.release, "%s", HF_VERSION);
        hf_json_set_text(json, "agentId", hf_id_text(&agent.id).text);
        hf_json_set_u64(json, "seenS", fill->now_s);
        for (uint64_t i = first_job; i < first_job + SETS_A_HOST && i < fill->jobs; i++) {
            struct hf_member_record member = {.priority_millis = 1000,
                                              .data_bytes = 20000000000,
                                              .oplog_first_s = fill->now_s - 20 * DAY_S,
                                              .oplog_last_s = fill->now_s,
                                              .agent = agent.id,
                                              .seen_s = fill->now_s};
            (void)snprintf(member.host, sizeof member.host, "set%06llu-%c.example.net:27017",
                           (unsigned long long)i, (int)('a' + host));
            (void)snprintf(member.primary, sizeof member.primary, "set%06llu-a.example.net:27017",
                           (unsigned long long)i);
            (void)snprintf(member.set_name, sizeof member.set_name, "set%06llu",
                           (unsigned long long)i);
            (void)snprintf(member.state, sizeof member.state, "%s", states[host]);
            (void)snprintf(member.fcv, sizeof member.fcv, "4.4");
            (void)snprintf(member.server_version, sizeof member.server_version, "4.4.6-8");
            (void)snprintf(member.engine, sizeof member.engine, "wiredTiger");
            hf_json_append_take(members, hf_member_record_encode(&member));
        }
        hf_json_set_take(json, "members", members);
        put(fill, HF_KIND_AGENT, &agent.id, hf_agent_record_encode(&agent));
        put(fill, HF_KIND_MEMBERS, &agent.id, json);
        atomic_fetch_add(&fill->agents, 1);
    }
}

static void run_writer(void *argument)
{
    struct fill *fill = argument;
    uint64_t number;

    while (!atomic_load(&fill->failed) &&
           (number = atomic_fetch_add(&fill->next, 1)) < fill->jobs) {
        put_job(fill, number);
        if (number % SETS_A_HOST == 0) {
            put_agents(fill, number);
        }
    }
}

static enum hf_err find_project(struct fill *fill, struct hf_error *err)
{
    HF_CLEANUP(hf_catalog_list_fini) struct hf_catalog_list found = {.documents = NULL};

    if (hf_catalog_find(fill->catalog, &(struct hf_catalog_query){.kind = HF_KIND_PROJECT}, &found,
                        err) != HF_ERR_OK) {
        return err->code;
    }
    return found.count > 0 && hf_id_parse(hf_str_of(found.documents[0].id), &fill->project)
               ? HF_ERR_OK
               : hf_fail(err, HF_ERR_NOT_FOUND, "a server has not been started on it yet");
}

int main(int argc, char **argv)
{
    struct fill fill = {.now_s = hf_clock_wall_ms() / 1000};
    struct hf_thread *threads[WRITERS] = {NULL};
    struct hf_error err;

    fill.again = argc == 5 && strcmp(argv[4], "again") == 0;
    if (argc != 4 && !fill.again) {
        (void)fprintf(stderr, "usage: scheduler_bench CATALOG JOBS SNAPSHOTS [again]\n");
        return 2;
    }
    fill.jobs = strtoull(argv[2], NULL, 10);
    fill.snapshots_a_job = fill.jobs == 0 ? 0 : strtoull(argv[3], NULL, 10) / fill.jobs;
    const struct hf_catalog_options options = {
        .path = argv[1], .kinds = hf_backup_kinds, .kind_count = hf_backup_kind_count};
    if (hf_catalog_sqlite_open(&options, &fill.catalog, &err) != HF_ERR_OK ||
        find_project(&fill, &err) != HF_ERR_OK) {
        (void)fprintf(stderr, "scheduler_bench: %s\n", err.message);
        hf_catalog_close(fill.catalog);
        return 1;
    }
    for (size_t i = 0; i < WRITERS; i++) {
        if (hf_thread_start("fill", run_writer, &fill, &threads[i], &err) != HF_ERR_OK) {
            atomic_store(&fill.failed, true);
        }
    }
    for (size_t i = 0; i < WRITERS; i++) {
        hf_thread_join(threads[i]);
    }
    hf_catalog_close(fill.catalog);
    (void)printf("{\"jobs\": %llu, \"snapshots\": %llu, \"agents\": %llu}\n",
                 (unsigned long long)fill.jobs,
                 (unsigned long long)(fill.jobs * fill.snapshots_a_job),
                 (unsigned long long)atomic_load(&fill.agents));
    return atomic_load(&fill.failed) ? 1 : 0;
}
