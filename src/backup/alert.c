/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of alerts, their conditions, and how one goes on.
 */
#include "backup/alert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "backup/fields.h"
#include "backup/job.h"
#include "codec/hash.h"

const struct hf_alert_kind hf_alert_kinds[HF_ALERT_TYPES] = {
#define ALERT_KIND(type, ending, of, about, seconds, elsewhere, counts, least)                     \
    {.name = #type,                                                                                \
     .over = (ending),                                                                             \
     .scope = HF_ALERT_##of,                                                                       \
     .target = HF_ALERT_OF_##about,                                                                \
     .patience_s = (seconds),                                                                      \
     .told = (elsewhere),                                                                          \
     .unit = HF_ALERT_##counts,                                                                    \
     .threshold = (least)},
    HF_ALERT_TABLE(ALERT_KIND)
#undef ALERT_KIND
};

static const char *const type_words[] = {
#define ALERT_WORD(type, ending, of, about, seconds, elsewhere, counts, least) #type,
    HF_ALERT_TABLE(ALERT_WORD)
#undef ALERT_WORD
        NULL};
static const char *const status_words[] = {"TRACKING", "OPEN", "CLOSED", "CANCELLED", NULL};

const char *const hf_alert_scope_words[] = {"PROJECT", "GLOBAL", "SYSTEM", NULL};

const char *hf_alert_status_word(enum hf_alert_status status)
{
    return status_words[status];
}

bool hf_alert_type_parse(const char *name, enum hf_alert_type *out)
{
    for (enum hf_alert_type type = 0; type < HF_ALERT_TYPES; type++) {
        if (strcmp(name, type_words[type]) == 0) {
            *out = type;
            return true;
        }
    }
    return false;
}

void hf_alert_limits_init(struct hf_alert_limits *out)
{
    for (size_t i = 0; i < HF_ALERT_TYPES; i++) {
        out->of[i] = hf_alert_kinds[i].threshold;
    }
}

#define R struct hf_alert_record
static const struct hf_field alert_fields[] = {
    HF_FIELDS_ID(R, id, "id", true),
    HF_FIELDS_ID(R, project, "projectId", true),
    HF_FIELDS_ID(R, job, "jobId", false),
    HF_FIELDS_ID(R, cluster, "clusterId", false),
    HF_FIELDS_WORD(R, type, "type", type_words),
    HF_FIELDS_TEXT(R, target, "target", true),
    HF_FIELDS_U64(R, number, "number"),
    HF_FIELDS_TEXT(R, set_name, "setName", false),
    HF_FIELDS_TEXT(R, host, "host", false),
    HF_FIELDS_WORD(R, status, "status", status_words),
    HF_FIELDS_U64(R, created_s, "createdS"),
    HF_FIELDS_U64(R, opened_s, "openedS"),
    HF_FIELDS_U64(R, updated_s, "updatedS"),
    HF_FIELDS_U64(R, resolved_s, "resolvedS"),
    HF_FIELDS_U64(R, notified_s, "notifiedS"),
    HF_FIELDS_U64(R, notices, "notices"),
    HF_FIELDS_TEXT(R, owed, "owed", false),
    HF_FIELDS_BOOL(R, owed_event, "owedEvent"),
    HF_FIELDS_BOOL(R, owed_notice, "owedNotice"),
    HF_FIELDS_U64(R, value, "value"),
    HF_FIELDS_TEXT(R, text, "text", false),
    HF_FIELDS_U64(R, acknowledged_s, "acknowledgedS"),
    HF_FIELDS_U64(R, acknowledged_until_s, "acknowledgedUntilS"),
    HF_FIELDS_TEXT(R, acknowledged_by, "acknowledgedBy", false),
    HF_FIELDS_TEXT(R, comment, "comment", false),
};
#undef R
static const struct hf_fields alert_record = {
    .record = "alert",
    .fields = alert_fields,
    .count = HF_ARRAY_LEN(alert_fields),
    .size_bytes = sizeof(struct hf_alert_record),
};

struct hf_json *hf_alert_record_encode(const struct hf_alert_record *record)
{
    return hf_fields_encode(&alert_record, record);
}

enum hf_err hf_alert_record_decode(const struct hf_json *json, struct hf_alert_record *out,
                                   struct hf_error *err)
{
    return hf_fields_decode(&alert_record, json, out, err);
}

struct hf_id hf_alert_id(enum hf_alert_type type, const char *target, uint64_t number)
{
    char text[HF_NAME_BYTES + 128];
    struct hf_id id;

    (void)snprintf(text, sizeof text, "%s %" PRIu64 " %s", hf_alert_kinds[type].name, number,
                   target);
    uint64_t first = hf_xxh3(hf_bytes_of(text, strlen(text)));
    text[0] = '2';
    uint64_t second = hf_xxh3(hf_bytes_of(text, strlen(text)));
    memcpy(id.bytes, &first, 8);
    memcpy(id.bytes + 8, &second, HF_ID_BYTES - 8);
    return id;
}

/* ---- Conditions ---- */

/* A time that lies ahead counts as now: the clock was set back. */
static uint64_t passed_s(uint64_t from_s, uint64_t now_s)
{
    return from_s < now_s ? now_s - from_s : 0;
}

static struct hf_alert_finding *add(struct hf_alert_findings *out, enum hf_alert_type type,
                                    bool holds, uint64_t value)
{
    struct hf_alert_finding *one = &out->items[out->count++];

    *one = (struct hf_alert_finding){.type = type, .holds = holds, .value = value};
    return one;
}
#define SAY(finding, ...) ((void)snprintf((finding)->text, sizeof(finding)->text, __VA_ARGS__))

static void judge_oplog(const struct hf_alert_job *facts, const struct hf_alert_limits *limits,
                        uint64_t now_s, struct hf_alert_findings *out)
{
    const struct hf_job_record *job = facts->job;
    const struct hf_head_record *head = facts->head;
    uint64_t began_s = job->started_s != 0 ? job->started_s : job->created_s;
    uint64_t newest_s =
        head == NULL || hf_optime_is_none(&head->last) || head->last.seconds < began_s
            ? began_s
            : head->last.seconds;
    uint64_t behind_s = passed_s(newest_s, now_s);
    const char *problem = head == NULL ? "" : head->problem;

    uint64_t most_s = limits->of[HF_ALERT_OPLOG_BEHIND];

    if (most_s != 0) {
        SAY(add(out, HF_ALERT_OPLOG_BEHIND, behind_s > most_s, behind_s),
            "the newest stored entry of the oplog of set %s is %" PRIu64 " s old, at most %" PRIu64
            " s are allowed%s%.300s",
            job->set_name, behind_s, most_s, problem[0] == '\0' ? "" : ": ", problem);
    }
    if (head == NULL) {
        return;
    }
    SAY(add(out, HF_ALERT_OPLOG_WINDOW_SHORT, head->told_window, 0),
        "the oplog of %s reaches back less far than --minimum-oplog-window; hint: enlarge it with "
        "replSetResizeOplog",
        head->member);
    /* The chain broke, and no snapshot was taken since that begins another range. */
    bool first = hf_optime_is_none(&head->last) && head->next_cause[0] == '\0';
    bool broken = head->next_cause[0] != '\0' || !hf_id_is_none(&head->gap) ||
                  (job->snapshot_wanted[0] != '\0' && !first && facts->last_snapshot_s != 0);
    SAY(add(out, HF_ALERT_RESYNC_REQUIRED, broken, 0),
        "the restorable range of set %s has ended, and the next one begins with a snapshot that is "
        "still to be taken: %.300s",
        job->set_name,
        head->gap_text[0] != '\0'         ? head->gap_text
        : job->snapshot_wanted[0] != '\0' ? job->snapshot_wanted
                                          : head->next_cause);
}

static void judge_snapshots(const struct hf_alert_job *facts, const struct hf_alert_limits *limits,
                            uint64_t now_s, struct hf_alert_findings *out)
{
    const struct hf_job_record *job = facts->job;
    uint64_t since_s = facts->last_snapshot_s != 0 ? facts->last_snapshot_s
                       : job->started_s != 0       ? job->started_s
                                                   : job->created_s;
    uint64_t age_s = passed_s(since_s, now_s);
    uint64_t aborted = limits->of[HF_ALERT_SNAPSHOTS_ABORTED];
    uint64_t late = limits->of[HF_ALERT_LATE_SNAPSHOT];
    uint64_t tries = limits->of[HF_ALERT_BACKUP_TOO_MANY_RETRIES];

    if (aborted != 0) {
        SAY(add(out, HF_ALERT_SNAPSHOTS_ABORTED, job->failures >= aborted, job->failures),
            "the last %" PRIu64 " snapshots of set %s failed; hint: holdfast job log --set %s",
            job->failures, job->set_name, job->set_name);
    }
    if (facts->interval_s != 0 && late != 0) {
        SAY(add(out, HF_ALERT_LATE_SNAPSHOT, age_s > facts->interval_s * late / 100, age_s),
            "the newest snapshot of set %s is %" PRIu64 " s old, and one is to be taken every "
            "%" PRIu64 " s",
            job->set_name, age_s, facts->interval_s);
    }
    uint64_t retries = facts->head == NULL || facts->head->failures < job->failures
                           ? job->failures
                           : facts->head->failures;
    if (tries == 0) {
        return;
    }
    SAY(add(out, HF_ALERT_BACKUP_TOO_MANY_RETRIES, retries >= tries, retries),
        "the backup of set %s was tried %" PRIu64 " times in a row in vain: %.300s", job->set_name,
        retries, retries == job->failures ? "see holdfast job log" : facts->head->problem);
}

/*
 * Members answer, and none of them can be captured for what it is: its edition, release, engine, or where its files are. One
 * that does not answer says nothing about that.
 */
static void judge_members(const struct hf_alert_job *facts, struct hf_alert_findings *out)
{
    char why[HF_ALERT_TEXT_BYTES - 256] = "";
    size_t used = 0, refused = 0, fit = 0;

    for (size_t i = 0; i < facts->member_count; i++) {
        const struct hf_member_record *one = &facts->members[i];
        if (!hf_id_equal(&one->project, &facts->job->project) ||
            strcmp(one->set_name, facts->job->set_name) != 0 ||
            one->silent_s > HF_AGENT_SILENT_MAX_S || one->engine[0] == '\0') {
            continue;
        }
        fit += one->refusal[0] == '\0';
        if (one->refusal[0] != '\0') {
            refused++;
            if (used < sizeof why) {
                used += (size_t)snprintf(why + used, sizeof why - used, "%s%s: %s",
                                         used == 0 ? "" : "; ", one->host, one->refusal);
            }
        }
    }
    SAY(add(out, HF_ALERT_INCONSISTENT_BACKUP_CONFIGURATION, fit == 0 && refused > 0, refused),
        "no member of set %.100s can be backed up as it is: %s", facts->job->set_name, why);
}

static void judge_upkeep(const struct hf_alert_job *facts, const struct hf_alert_limits *limits,
                         struct hf_alert_findings *out)
{
    const struct hf_usage_record *usage = facts->usage;
    uint64_t tries = limits->of[HF_ALERT_BLOCKSTORE_JOB_TOO_MANY_RETRIES];

    if (usage == NULL) {
        return;
    }
    SAY(add(out, HF_ALERT_SNAPSHOTS_DAMAGED, usage->damaged_snapshots > 0,
            usage->damaged_snapshots),
        "%" PRIu64 " snapshots of set %s are damaged in the store; hint: holdfast snapshot list "
        "names them, the next snapshot heals what the source still has",
        usage->damaged_snapshots, usage->set_name);
    SAY(add(out, HF_ALERT_BLOCKSTORE_JOB_TOO_MANY_RETRIES, tries != 0 && usage->failures >= tries,
            usage->failures),
        "%s of set %s in the store failed %" PRIu64 " times in a row: %.300s", usage->failed_work,
        usage->set_name, usage->failures, usage->error);
    SAY(add(out, HF_ALERT_GROOM_LATE, facts->groom_due, 0),
        "set %s is to be groomed, and is not; hint: holdfast store usage, and more "
        "--maintenance-jobs",
        usage->set_name);
}

void hf_alert_judge_job(const struct hf_alert_job *facts, const struct hf_alert_limits *limits,
                        uint64_t now_s, struct hf_alert_findings *out)
{
    const struct hf_job_record *job = facts->job;
    struct hf_job_does does = hf_job_does(job);

    *out = (struct hf_alert_findings){.count = 0};
    if (does.tails_oplog) {
        judge_oplog(facts, limits, now_s, out);
    }
    if (does.takes_snapshots) {
        judge_snapshots(facts, limits, now_s, out);
        judge_members(facts, out);
    }
    if (does.keeps_snapshots) {
        judge_upkeep(facts, limits, out);
    }
    if (job->state == HF_JOB_PROVISIONING) {
        SAY(add(out, HF_ALERT_RS_BIND_ERROR, job->problem[0] != '\0' && !job->waiting, 0),
            "the job of set %s cannot begin: %.300s", job->set_name, job->problem);
    }
    if (job->state == HF_JOB_TERMINATING || job->leftover) {
        SAY(add(out, HF_ALERT_BACKUP_IN_UNEXPECTED_STATE, job->problem[0] != '\0' || job->leftover,
                0),
            "what the ended job of set %s had stored cannot be deleted: %.300s", job->set_name,
            job->problem);
    }
}

bool hf_alert_release_before(const char *release, const char *other)
{
    for (;;) {
        char *left = NULL, *right = NULL;
        unsigned long a = strtoul(release, &left, 10), b = strtoul(other, &right, 10);
        if (left == release || right == other) {
            return false; /* not known: no reason to alarm anybody */
        }
        if (a != b) {
            return a < b;
        }
        if (*left != '.' || *right != '.') {
            return *right == '.' && *left != '.';
        }
        release = left + 1;
        other = right + 1;
    }
}

void hf_alert_judge_agent(const struct hf_alert_agent *facts, const struct hf_alert_limits *limits,
                          struct hf_alert_findings *out)
{
    const struct hf_agent_record *agent = facts->agent;

    *out = (struct hf_alert_findings){.count = 0};
    uint64_t down_s = limits->of[HF_ALERT_BACKUP_AGENT_DOWN];
    uint64_t calls = limits->of[HF_ALERT_BACKUP_AGENT_CONF_CALL_FAILURE];

    if (down_s != 0) {
        SAY(add(out, HF_ALERT_BACKUP_AGENT_DOWN, facts->silent_s > down_s, facts->silent_s),
            "nothing was heard of the agent on %s for %" PRIu64 " s; hint: see that holdfast agent "
            "runs there and reaches the server",
            agent->host, facts->silent_s);
    }
    if (calls != 0) {
        SAY(add(out, HF_ALERT_BACKUP_AGENT_CONF_CALL_FAILURE, facts->failed_calls > calls,
                facts->failed_calls),
            "the agent on %s asked %" PRIu64 " times in a row for what it is to do, and was "
            "refused: %.300s",
            agent->host, facts->failed_calls, facts->call_error);
    }
    SAY(add(out, HF_ALERT_BACKUP_AGENT_VERSION_BEHIND,
            hf_alert_release_before(agent->release, facts->release), 0),
        "the agent on %s has release %s, the server %s; hint: update the agent", agent->host,
        agent->release, facts->release);
}

static uint64_t percent_of(uint64_t part, uint64_t whole)
{
    return (uint64_t)((double)part * 100 / (double)whole);
}

void hf_alert_judge_store(const struct hf_alert_space *facts, const struct hf_alert_limits *limits,
                          struct hf_alert_findings *out)
{
    *out = (struct hf_alert_findings){.count = 0};
    if (facts->total_bytes == 0 || facts->free_bytes > facts->total_bytes) {
        return;
    }
    uint64_t used = percent_of(facts->total_bytes - facts->free_bytes, facts->total_bytes);
    uint64_t most = limits->of[HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD];
    SAY(add(out, HF_ALERT_OUTSIDE_SPACE_USED_THRESHOLD, used > most, used),
        "%" PRIu64 " %% of the disk of store %.300s is used, at most %" PRIu64 " %% should be",
        used, facts->url, most);
}

void hf_alert_judge_catalog(const struct hf_alert_space *facts,
                            const struct hf_alert_limits *limits, struct hf_alert_findings *out)
{
    *out = (struct hf_alert_findings){.count = 0};
    if (facts->total_bytes == 0) {
        return;
    }
    uint64_t left = percent_of(facts->free_bytes, facts->total_bytes);
    uint64_t least = limits->of[HF_ALERT_LOW_CATALOG_FREE_SPACE];
    SAY(add(out, HF_ALERT_LOW_CATALOG_FREE_SPACE, left < least, left),
        "%" PRIu64 " %% of the disk of the data directory %.300s is free, at least %" PRIu64
        " %% should be; without room the catalog cannot be written, and no backup is taken",
        left, facts->url, least);
}

void hf_alert_judge_server(const char *host, uint64_t silent_s, bool ended,
                           const struct hf_alert_limits *limits, struct hf_alert_findings *out)
{
    *out = (struct hf_alert_findings){.count = 0};
    uint64_t down_s = limits->of[HF_ALERT_DAEMON_DOWN];
    if (down_s != 0) {
        SAY(add(out, HF_ALERT_DAEMON_DOWN, !ended && silent_s > down_s, silent_s),
            "the server on %s did not work for %" PRIu64 " s, and nobody had stopped it", host,
            silent_s);
    }
}

void hf_alert_judge_work(const char *work, uint64_t failures, const char *error,
                         const struct hf_alert_limits *limits, struct hf_alert_findings *out)
{
    uint64_t most = limits->of[HF_ALERT_CRON_JOB_FAILED];

    *out = (struct hf_alert_findings){.count = 0};
    SAY(add(out, HF_ALERT_CRON_JOB_FAILED, most != 0 && failures >= most, failures),
        "the server's periodic work '%s' failed %" PRIu64 " times in a row: %.300s", work, failures,
        error);
}

void hf_alert_judge_receiver(const struct hf_alert_receiver *facts,
                             const struct hf_alert_limits *limits, struct hf_alert_findings *out)
{
    uint64_t most = limits->of[HF_ALERT_NOTICES_UNDELIVERED];

    *out = (struct hf_alert_findings){.count = 0};
    SAY(add(out, HF_ALERT_NOTICES_UNDELIVERED, most != 0 && facts->failures >= most,
            facts->failures),
        "%.300s could not be told of alerts, for %" PRIu64 " tries: %.300s", facts->name,
        facts->failures, facts->error);
    if (facts->has_template) {
        SAY(add(out, HF_ALERT_WEBHOOK_TEMPLATE_FAILED, facts->unrendered[0] != '\0', 0),
            "the template of the webhook's bodies cannot be used, and the usual body is sent: "
            "%.500s",
            facts->unrendered);
    }
}

/* ---- The life of one ---- */

bool hf_alert_goes_on(const struct hf_alert_record *alert)
{
    return alert->number != 0 &&
           (alert->status == HF_ALERT_TRACKING || alert->status == HF_ALERT_OPEN);
}

bool hf_alert_is_acknowledged(const struct hf_alert_record *alert, uint64_t now_s)
{
    return alert->acknowledged_until_s > now_s;
}

static void begin(struct hf_alert_record *alert, const struct hf_alert_finding *finding,
                  uint64_t now_s)
{
    alert->type = finding->type;
    alert->number++;
    alert->id = hf_alert_id(alert->type, alert->target, alert->number);
    alert->status = HF_ALERT_TRACKING;
    alert->created_s = now_s;
    alert->opened_s = alert->resolved_s = alert->notified_s = alert->notices = 0;
    alert->acknowledged_s = alert->acknowledged_until_s = 0;
    alert->acknowledged_by[0] = alert->comment[0] = alert->owed[0] = '\0';
    alert->owed_event = alert->owed_notice = false;
}

static void note(struct hf_alert_record *alert, const struct hf_alert_finding *finding,
                 uint64_t now_s)
{
    alert->updated_s = now_s;
    alert->value = finding->value;
    (void)snprintf(alert->text, sizeof alert->text, "%s", finding->text);
}

static void owe(struct hf_alert_record *alert, const char *what, bool event, bool notice,
                uint64_t now_s)
{
    (void)snprintf(alert->owed, sizeof alert->owed, "%s", what);
    alert->owed_event = event;
    alert->owed_notice = notice;
    if (notice) {
        alert->notified_s = now_s;
        alert->notices++;
    }
}

/* Is an open one to be told now? */
static bool is_due(const struct hf_alert_record *alert, const struct hf_alert_rules *rules,
                   uint64_t now_s)
{
    if (rules->quiet || hf_alert_is_acknowledged(alert, now_s)) {
        return false;
    }
    return alert->notices == 0 ||
           (rules->repeat_s != 0 &&
            (alert->notified_s > now_s || now_s - alert->notified_s >= rules->repeat_s));
}

static enum hf_alert_step follow_held(struct hf_alert_record *alert,
                                      const struct hf_alert_finding *finding,
                                      const struct hf_alert_rules *rules, uint64_t now_s,
                                      bool fresh)
{
    if (alert->status == HF_ALERT_TRACKING) {
        /* A clock that was set back begins the patience anew. */
        alert->created_s = alert->created_s > now_s ? now_s : alert->created_s;
        if (now_s - alert->created_s >= rules->patience_s) {
            alert->status = HF_ALERT_OPEN;
            alert->opened_s = now_s;
            note(alert, finding, now_s);
            owe(alert, "OPEN", true, !rules->quiet, now_s);
            return HF_ALERT_OPENED;
        }
        if (fresh) {
            note(alert, finding, now_s);
            return HF_ALERT_BEGUN;
        }
    } else if (is_due(alert, rules, now_s)) {
        note(alert, finding, now_s);
        owe(alert, alert->notices == 0 ? "OPEN" : "REPEATED", false, true, now_s);
        return HF_ALERT_REPEATED;
    }
    if (alert->updated_s > now_s || now_s - alert->updated_s >= HF_ALERT_UPDATE_S) {
        note(alert, finding, now_s);
        return HF_ALERT_UPDATED;
    }
    return HF_ALERT_SAME;
}

enum hf_alert_step hf_alert_follow(struct hf_alert_record *alert,
                                   const struct hf_alert_finding *finding,
                                   const struct hf_alert_rules *rules, uint64_t now_s, bool *fresh)
{
    *fresh = false;
    if (finding->holds) {
        if (!hf_alert_goes_on(alert)) {
            begin(alert, finding, now_s);
            *fresh = true;
        }
        return follow_held(alert, finding, rules, now_s, *fresh);
    }
    if (!hf_alert_goes_on(alert)) {
        return HF_ALERT_SAME;
    }
    if (alert->status == HF_ALERT_TRACKING) {
        return HF_ALERT_DROPPED;
    }
    alert->status = HF_ALERT_CLOSED;
    alert->resolved_s = alert->updated_s = now_s;
    owe(alert, "CLOSED", true, alert->notices > 0, now_s);
    return HF_ALERT_RESOLVED;
}

bool hf_alert_cancel(struct hf_alert_record *alert, uint64_t now_s)
{
    if (!hf_alert_goes_on(alert)) {
        return false;
    }
    alert->status = HF_ALERT_CANCELLED;
    alert->resolved_s = alert->updated_s = now_s;
    return true;
}

enum hf_err hf_alert_acknowledge(struct hf_alert_record *alert, const char *who, uint64_t until_s,
                                 const char *comment, uint64_t now_s, struct hf_error *err)
{
    if (!hf_alert_goes_on(alert)) {
        return hf_fail(err, HF_ERR_CONFLICT, "alert %s is %s: there is nothing to acknowledge",
                       hf_id_text(&alert->id).text, hf_alert_status_word(alert->status));
    }
    bool back = until_s <= now_s;
    alert->acknowledged_s = back ? 0 : now_s;
    alert->acknowledged_until_s = back ? 0 : until_s;
    (void)snprintf(alert->acknowledged_by, sizeof alert->acknowledged_by, "%s", back ? "" : who);
    (void)snprintf(alert->comment, sizeof alert->comment, "%s", back ? "" : comment);
    return HF_ERR_OK;
}
