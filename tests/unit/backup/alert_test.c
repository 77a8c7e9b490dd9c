/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditions of alerts, and the life of one.
 */
#include "backup/alert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW ((uint64_t)1800000000)

static struct hf_alert_limits limits;

static const struct hf_alert_finding *of(const struct hf_alert_findings *findings,
                                         enum hf_alert_type type)
{
    for (size_t i = 0; i < findings->count; i++) {
        if (findings->items[i].type == type) {
            return &findings->items[i];
        }
    }
    return NULL;
}

/* A finding that does not apply holds least of all. */
static bool holds(const struct hf_alert_findings *findings, enum hf_alert_type type)
{
    const struct hf_alert_finding *one = of(findings, type);

    return one != NULL && one->holds;
}

/* ---- A job's conditions ---- */

struct job_facts {
    struct hf_job_record job;
    struct hf_head_record head;
    struct hf_usage_record usage;
    struct hf_alert_job facts;
};

static void good(struct job_facts *f)
{
    *f = (struct job_facts){
        .job = {.state = HF_JOB_STARTED, .set_name = "rs0", .started_s = NOW - 100000},
        .head = {.last = {.seconds = NOW - 5}, .member = "m0:1"},
        .facts = {.interval_s = 86400, .last_snapshot_s = NOW - 86400},
    };
    f->facts.job = &f->job;
    f->facts.head = &f->head;
    f->facts.usage = &f->usage;
}

static struct hf_alert_findings judge(const struct job_facts *f)
{
    struct hf_alert_findings out;

    hf_alert_judge_job(&f->facts, &limits, NOW, &out);
    return out;
}

/* What is wrong, and nothing else. NONE: HF_ALERT_TYPES. */
static void expect_only(const struct job_facts *f, enum hf_alert_type type)
{
    struct hf_alert_findings findings = judge(f);

    for (size_t i = 0; i < findings.count; i++) {
        if (findings.items[i].holds != (findings.items[i].type == type)) {
            fail_msg("%s: %s", hf_alert_kinds[findings.items[i].type].name, findings.items[i].text);
        }
    }
    assert_true(type == HF_ALERT_TYPES || holds(&findings, type));
}

static void test_each_condition_of_a_job_has_its_edge(void **state)
{
    (void)state;
    struct job_facts f;
    good(&f);
    expect_only(&f, HF_ALERT_TYPES);

    f.head.last.seconds = NOW - 75 * 60;
    expect_only(&f, HF_ALERT_TYPES);
    f.head.last.seconds--;
    expect_only(&f, HF_ALERT_OPLOG_BEHIND);
    struct hf_alert_findings behind = judge(&f);
    assert_int_equal(of(&behind, HF_ALERT_OPLOG_BEHIND)->value, 75 * 60 + 1);
    /* A job that was started just now has an old head, and is not behind. */
    f.job.started_s = NOW - 60;
    expect_only(&f, HF_ALERT_TYPES);

    good(&f);
    f.head.told_window = true;
    expect_only(&f, HF_ALERT_OPLOG_WINDOW_SHORT);
    good(&f);
    f.facts.last_snapshot_s = NOW - 86400 * 3 / 2;
    expect_only(&f, HF_ALERT_TYPES);
    f.facts.last_snapshot_s--;
    expect_only(&f, HF_ALERT_LATE_SNAPSHOT);
    f.facts.interval_s = 0;
    expect_only(&f, HF_ALERT_TYPES);
    good(&f);
    f.job.failures = 2;
    expect_only(&f, HF_ALERT_TYPES);
    f.job.failures = 3;
    expect_only(&f, HF_ALERT_SNAPSHOTS_ABORTED);
    good(&f);
    f.head.failures = 9;
    expect_only(&f, HF_ALERT_TYPES);
    f.head.failures = 10;
    expect_only(&f, HF_ALERT_BACKUP_TOO_MANY_RETRIES);
    good(&f);
    f.usage.damaged_snapshots = 1;
    expect_only(&f, HF_ALERT_SNAPSHOTS_DAMAGED);
    good(&f);
    f.usage.failures = 2;
    expect_only(&f, HF_ALERT_TYPES);
    f.usage.failures = 3;
    expect_only(&f, HF_ALERT_BLOCKSTORE_JOB_TOO_MANY_RETRIES);
    good(&f);
    f.facts.groom_due = true;
    expect_only(&f, HF_ALERT_GROOM_LATE);
}

static void test_a_range_that_ended_needs_a_snapshot(void **state)
{
    (void)state;
    struct job_facts f;
    good(&f);
    (void)snprintf(f.head.next_cause, sizeof f.head.next_cause, "gap");
    expect_only(&f, HF_ALERT_RESYNC_REQUIRED);
    good(&f);
    (void)snprintf(f.job.snapshot_wanted, sizeof f.job.snapshot_wanted, "the oplog rolled over");
    expect_only(&f, HF_ALERT_RESYNC_REQUIRED);
    struct hf_alert_findings findings = judge(&f);
    assert_non_null(strstr(of(&findings, HF_ALERT_RESYNC_REQUIRED)->text, "rolled over"));
    /* The first one of all is wanted too, and nothing is broken. */
    f.facts.last_snapshot_s = 0;
    f.facts.interval_s = 0;
    expect_only(&f, HF_ALERT_TYPES);
}

static void test_a_job_that_does_nothing_is_late_with_nothing(void **state)
{
    (void)state;
    struct job_facts f;
    good(&f);
    f.head.last.seconds = 1;
    f.facts.last_snapshot_s = 1;
    f.job.state = HF_JOB_STOPPED;
    struct hf_alert_findings findings = judge(&f);
    assert_null(of(&findings, HF_ALERT_OPLOG_BEHIND));
    assert_null(of(&findings, HF_ALERT_LATE_SNAPSHOT));
    f.job.state = HF_JOB_INACTIVE;
    findings = judge(&f);
    assert_int_equal(findings.count, 0);

    f.job.state = HF_JOB_PROVISIONING;
    (void)snprintf(f.job.problem, sizeof f.job.problem, "no store");
    expect_only(&f, HF_ALERT_RS_BIND_ERROR);
    f.job.waiting = true; /* for a person, who knows */
    expect_only(&f, HF_ALERT_TYPES);
    f.job.state = HF_JOB_TERMINATING;
    expect_only(&f, HF_ALERT_BACKUP_IN_UNEXPECTED_STATE);
    f.job.problem[0] = '\0';
    expect_only(&f, HF_ALERT_TYPES);
}

/* ---- The others' ---- */

static void test_agents(void **state)
{
    (void)state;
    struct hf_agent_record agent = {.host = "db1", .release = "0.9.12"};
    struct hf_alert_agent facts = {.agent = &agent, .silent_s = 3600, .release = "0.9.12"};
    struct hf_alert_findings out;
    hf_alert_judge_agent(&facts, &limits, &out);
    assert_false(holds(&out, HF_ALERT_BACKUP_AGENT_DOWN));
    assert_false(holds(&out, HF_ALERT_BACKUP_AGENT_VERSION_BEHIND));
    facts.silent_s++;
    (void)snprintf(agent.release, sizeof agent.release, "0.9.9");
    hf_alert_judge_agent(&facts, &limits, &out);
    assert_true(holds(&out, HF_ALERT_BACKUP_AGENT_DOWN));
    assert_true(holds(&out, HF_ALERT_BACKUP_AGENT_VERSION_BEHIND));

    assert_true(hf_alert_release_before("1.2", "1.10"));
    assert_true(hf_alert_release_before("1", "1.1"));
    assert_false(hf_alert_release_before("1.10", "1.2"));
    assert_false(hf_alert_release_before("1.1", "1"));
    assert_false(hf_alert_release_before("1.2.3-rc1", "1.2.3"));
    assert_false(hf_alert_release_before("", "1.0"));
    assert_false(hf_alert_release_before("weekly", "1.0"));
}

static void test_disks_servers_and_periodic_work(void **state)
{
    (void)state;
    struct hf_alert_findings out;
    struct hf_alert_space space = {.url = "file:///s", .free_bytes = 15, .total_bytes = 100};
    hf_alert_judge_store(&space, &limits, &out);
    assert_false(holds(&out, HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD));
    space.free_bytes = 14;
    hf_alert_judge_store(&space, &limits, &out);
    assert_true(holds(&out, HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD));
    space.total_bytes = 0;
    hf_alert_judge_store(&space, &limits, &out);
    assert_int_equal(out.count, 0);
    space = (struct hf_alert_space){.url = "/d", .free_bytes = 10, .total_bytes = 100};
    hf_alert_judge_catalog(&space, &limits, &out);
    assert_false(holds(&out, HF_ALERT_LOW_CATALOG_FREE_SPACE));
    space.free_bytes = 9;
    hf_alert_judge_catalog(&space, &limits, &out);
    assert_true(holds(&out, HF_ALERT_LOW_CATALOG_FREE_SPACE));

    hf_alert_judge_server("h", 900, false, &limits, &out);
    assert_false(holds(&out, HF_ALERT_DAEMON_DOWN));
    hf_alert_judge_server("h", 901, false, &limits, &out);
    assert_true(holds(&out, HF_ALERT_DAEMON_DOWN));
    hf_alert_judge_server("h", 901, true, &limits, &out);
    assert_false(holds(&out, HF_ALERT_DAEMON_DOWN));
    hf_alert_judge_work("tail", 2, "e", &limits, &out);
    assert_false(holds(&out, HF_ALERT_CRON_JOB_FAILED));
    hf_alert_judge_work("tail", 3, "the store is away", &limits, &out);
    assert_true(holds(&out, HF_ALERT_CRON_JOB_FAILED));
    assert_non_null(strstr(out.items[0].text, "'tail' failed 3 times in a row: the store is away"));
}

/* ---- The life of one ---- */

static enum hf_alert_step follow(struct hf_alert_record *alert, enum hf_alert_type type, bool is,
                                 uint64_t now_s, bool *fresh)
{
    const struct hf_alert_finding finding = {.type = type, .holds = is, .value = 7, .text = "t"};

    const struct hf_alert_rules rules = {.patience_s = hf_alert_kinds[type].patience_s,
                                         .repeat_s = 3600};

    return hf_alert_follow(alert, &finding, &rules, now_s, fresh);
}

static void test_an_alert_opens_repeats_and_closes(void **state)
{
    (void)state;
    struct hf_alert_record alert = {.target = "x", .status = HF_ALERT_CLOSED};
    struct hf_error err;
    bool fresh = true;
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, false, NOW, &fresh), HF_ALERT_SAME);
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, true, NOW, &fresh), HF_ALERT_OPENED);
    assert_true(fresh);
    assert_int_equal(alert.number, 1);
    struct hf_id first = alert.id;
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, true, NOW + 299, &fresh), HF_ALERT_SAME);
    assert_false(fresh);
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, true, NOW + 300, &fresh),
                     HF_ALERT_UPDATED);
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, true, NOW + 3600, &fresh),
                     HF_ALERT_REPEATED);
    assert_int_equal(alert.notices, 2);
    /* Acknowledged until then it is not told, afterwards it is. */
    assert_int_equal(hf_alert_acknowledge(&alert, "who", NOW + 20000, "why", NOW + 4000, &err),
                     HF_ERR_OK);
    alert.updated_s = NOW + 19999;
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, true, NOW + 19999, &fresh),
                     HF_ALERT_SAME);
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, true, NOW + 20000, &fresh),
                     HF_ALERT_REPEATED);
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, false, NOW + 20001, &fresh),
                     HF_ALERT_RESOLVED);
    assert_int_equal(alert.status, HF_ALERT_CLOSED);
    assert_int_equal(alert.resolved_s, NOW + 20001);
    assert_int_equal(hf_alert_acknowledge(&alert, "who", NOW + 90000, "", NOW + 20002, &err),
                     HF_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "is CLOSED"));
    /* The next time is another one, and nobody has acknowledged it. */
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, true, NOW + 20010, &fresh),
                     HF_ALERT_OPENED);
    assert_true(fresh);
    assert_int_equal(alert.number, 2);
    assert_false(hf_id_equal(&alert.id, &first));
    assert_false(hf_alert_is_acknowledged(&alert, NOW + 20010));
    assert_true(hf_alert_cancel(&alert, NOW + 20020));
    assert_false(hf_alert_cancel(&alert, NOW + 20021));
    assert_int_equal(alert.status, HF_ALERT_CANCELLED);
}

static void test_patience_comes_before_an_alert(void **state)
{
    (void)state;
    struct hf_alert_record alert = {.target = "x", .status = HF_ALERT_CLOSED};
    bool fresh = false;
    assert_int_equal(follow(&alert, HF_ALERT_RS_BIND_ERROR, true, NOW, &fresh), HF_ALERT_BEGUN);
    assert_int_equal(alert.status, HF_ALERT_TRACKING);
    assert_int_equal(follow(&alert, HF_ALERT_RS_BIND_ERROR, true, NOW + 200, &fresh),
                     HF_ALERT_SAME);
    struct hf_alert_record other = alert;
    assert_int_equal(follow(&other, HF_ALERT_RS_BIND_ERROR, false, NOW + 250, &fresh),
                     HF_ALERT_DROPPED);
    assert_int_equal(follow(&alert, HF_ALERT_RS_BIND_ERROR, true, NOW + 600, &fresh),
                     HF_ALERT_OPENED);
    assert_int_equal(alert.created_s, NOW);
    /* A clock that is set back mutes nothing. */
    alert.updated_s = alert.notified_s = NOW + 1000000;
    assert_int_equal(follow(&alert, HF_ALERT_RS_BIND_ERROR, true, NOW + 700, &fresh),
                     HF_ALERT_REPEATED);
}

static void test_an_acknowledgement_is_taken_back(void **state)
{
    (void)state;
    struct hf_alert_record alert = {.target = "x", .status = HF_ALERT_CLOSED};
    struct hf_error err;
    bool fresh = false;
    assert_int_equal(follow(&alert, HF_ALERT_OPLOG_BEHIND, true, NOW, &fresh), HF_ALERT_OPENED);
    assert_int_equal(hf_alert_acknowledge(&alert, "who", NOW + 9, "why", NOW, &err), HF_ERR_OK);
    assert_true(hf_alert_is_acknowledged(&alert, NOW + 8));
    assert_false(hf_alert_is_acknowledged(&alert, NOW + 9));
    assert_string_equal(alert.comment, "why");
    assert_int_equal(hf_alert_acknowledge(&alert, "who", NOW, "x", NOW, &err), HF_ERR_OK);
    assert_false(hf_alert_is_acknowledged(&alert, NOW));
    assert_string_equal(alert.acknowledged_by, "");
}

static void test_the_id_is_the_same_on_every_server(void **state)
{
    (void)state;
    struct hf_id one = hf_alert_id(HF_ALERT_OPLOG_BEHIND, "x", 1);
    struct hf_id same = hf_alert_id(HF_ALERT_OPLOG_BEHIND, "x", 1);
    struct hf_id next = hf_alert_id(HF_ALERT_OPLOG_BEHIND, "x", 2);
    struct hf_id other = hf_alert_id(HF_ALERT_LATE_SNAPSHOT, "x", 1);
    assert_true(hf_id_equal(&one, &same));
    assert_false(hf_id_equal(&one, &next));
    assert_false(hf_id_equal(&one, &other));
}

static void test_a_record_comes_back_as_it_was(void **state)
{
    (void)state;
    struct hf_alert_record alert = {.target = "x", .status = HF_ALERT_CLOSED}, again;
    struct hf_error err;
    bool fresh = false;
    assert_int_equal(follow(&alert, HF_ALERT_GROOM_LATE, true, NOW, &fresh), HF_ALERT_BEGUN);
    alert.project = alert.id;
    assert_int_equal(hf_alert_acknowledge(&alert, "who", NOW + 9, "why", NOW, &err), HF_ERR_OK);
    HF_CLEANUP(hf_json_drop) struct hf_json *json = hf_alert_record_encode(&alert);
    assert_int_equal(hf_alert_record_decode(json, &again, &err), HF_ERR_OK);
    assert_memory_equal(&alert, &again, sizeof alert);
}

int main(void)
{
    hf_alert_limits_init(&limits);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_condition_of_a_job_has_its_edge),
        cmocka_unit_test(test_a_range_that_ended_needs_a_snapshot),
        cmocka_unit_test(test_a_job_that_does_nothing_is_late_with_nothing),
        cmocka_unit_test(test_agents),
        cmocka_unit_test(test_disks_servers_and_periodic_work),
        cmocka_unit_test(test_an_alert_opens_repeats_and_closes),
        cmocka_unit_test(test_patience_comes_before_an_alert),
        cmocka_unit_test(test_an_acknowledgement_is_taken_back),
        cmocka_unit_test(test_the_id_is_the_same_on_every_server),
        cmocka_unit_test(test_a_record_comes_back_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
