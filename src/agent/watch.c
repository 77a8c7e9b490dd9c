/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look at the members: the set as a seed knows it, then each member that may be here, asked directly.
 */
#include "agent/watch.h"

#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "mongo/oplog.h"
#include "mongo/topology.h"
#include "os/fs.h"
#include "os/process.h"

struct hf_agent_watch {
    struct hf_agent_watch_options options;
    struct hf_thread *thread;
    struct hf_cancel cancel;
    struct hf_mutex mutex; /* guards: members */
    struct hf_msg_members members;
    struct hf_cancel news;             /* members have changed since they were copied */
    char said[HF_ERROR_MESSAGE_BYTES]; /* the last problem that was logged: the thread's own */
};

/* Copies text that is at most as long as what both sides allow; longer text is cut. */
static void put_text(char *to, size_t to_len, const char *from)
{
    (void)snprintf(to, to_len, "%.*s", (int)to_len - 1, from == NULL ? "" : from);
}

static bool host_is_listed(const struct hf_agent_watch *watch, const char *host)
{
    for (size_t i = 0; i < watch->options.member_count; i++) {
        if (strcmp(watch->options.members[i], host) == 0) {
            return true;
        }
    }
    return false;
}

/* The host part names this machine: loopback, or our own host name. Only a hint: the dbPath decides. */
static bool host_may_be_here(const char *host)
{
    char own[256], name[HF_MONGO_HOST_BYTES];
    char *colon;

    put_text(name, sizeof name, host);
    colon = strrchr(name, ':');
    if (colon != NULL) {
        *colon = '\0';
    }
    hf_host_name(own, sizeof own);
    return strcmp(name, "localhost") == 0 || strncmp(name, "127.", 4) == 0 ||
           strcmp(name, "::1") == 0 || strcmp(name, "[::1]") == 0 || strcmp(name, own) == 0 ||
           (strncmp(name, own, strlen(own)) == 0 && name[strlen(own)] == '.') ||
           (strncmp(own, name, strlen(name)) == 0 && own[strlen(name)] == '.');
}

static bool db_path_is_readable(const char *path)
{
    HF_CLEANUP(hf_free) char *engine = hf_path_join(path, "WiredTiger");

    return engine != NULL && access(path, R_OK | X_OK) == 0 && access(engine, R_OK) == 0;
}

#define DATA_DEPTH 4 /* dbPath, database, collection or index */

/* Bytes of the files below the dbPath, for planning and for the server's limit. Databases and indexes may have
 * directories of their own, and any of these may be a symbolic link. */
static uint64_t data_bytes(const char *path, unsigned depth)
{
    HF_CLEANUP(hf_dir_list_fini) struct hf_dir_list names = {0};
    struct hf_error ignored;
    uint64_t sum = 0;

    if (hf_fs_list(path, 1000000, &names, &ignored) != HF_ERR_OK) {
        return 0;
    }
    for (size_t i = 0; i < names.count; i++) {
        HF_CLEANUP(hf_free) char *file = hf_path_join(path, names.names[i]);
        struct hf_file_info info;
        if (file == NULL || hf_fs_stat(file, &info, &ignored) != HF_ERR_OK) {
            continue;
        }
        if (info.kind == HF_FILE_REGULAR) {
            sum += info.size_bytes;
        } else if (info.kind == HF_FILE_DIR && depth < DATA_DEPTH) {
            sum += data_bytes(file, depth + 1);
        }
    }
    return sum;
}

/* A mongod whose dbPath was given as a relative one does not tell from where; its open lock file does. */
static void find_db_path(const char *host, struct hf_mongo_facts *facts)
{
    struct hf_error ignored;

    if (facts->dbpath == NULL && facts->pid != 0 && host_may_be_here(host)) {
        (void)!hf_process_find_open(facts->pid, "mongod.lock", &facts->dbpath, &ignored);
    }
}

/* How far back its oplog reaches. That it cannot be read is said by the tail that needs it. */
static void find_window(struct hf_mongo_client *client, struct hf_msg_member *out)
{
    struct hf_mongo_oplog_window window;
    struct hf_error ignored;

    if (hf_mongo_oplog_window(client, &window, &ignored) == HF_ERR_OK) {
        out->oplog_first_s = window.oldest.ts.seconds;
        out->oplog_last_s = window.newest.ts.seconds;
    }
}

/* The facts that only the member itself can give. */
static void ask_member(struct hf_agent_watch *watch, const char *host, struct hf_msg_member *out)
{
    HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client *client = NULL;
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    struct hf_mongo_options options = watch->options.mongo;
    struct hf_error err;

    options.host = host;
    if (hf_mongo_client_open(&options, &client, &err) != HF_ERR_OK ||
        hf_mongo_facts_read(client, &facts, &err) != HF_ERR_OK) {
        put_text(out->problem, sizeof out->problem, err.message);
        return;
    }
    find_db_path(host, &facts);
    find_window(client, out);
    put_text(out->fcv, sizeof out->fcv, facts.fcv);
    put_text(out->server_version, sizeof out->server_version, facts.version);
    put_text(out->engine, sizeof out->engine, facts.engine);
    put_text(out->db_path, sizeof out->db_path, facts.dbpath);
    if (hf_mongo_backup_check(&facts, &err) != HF_ERR_OK && err.code != HF_ERR_CONFLICT) {
        put_text(out->problem, sizeof out->problem, err.message);
    }
    if (facts.dbpath != NULL) {
        out->readable = db_path_is_readable(facts.dbpath);
        out->data_bytes = out->readable ? data_bytes(facts.dbpath, 0) : 0;
    }
    if (!out->readable && out->problem[0] == '\0') {
        if (facts.dbpath == NULL) {
            (void)snprintf(out->problem, sizeof out->problem, "its dbPath is not known: %.400s",
                           facts.missing);
        } else {
            (void)snprintf(out->problem, sizeof out->problem,
                           "the agent cannot read its dbPath %s; hint: run the agent on the "
                           "member's host, as a user who "
                           "may read the files",
                           facts.dbpath);
        }
    }
}

static enum hf_err fill_member(struct hf_agent_watch *watch, const struct hf_mongo_set *set,
                               const struct hf_mongo_member *member, struct hf_msg_member *out,
                               struct hf_error *err)
{
    *out = (struct hf_msg_member){0};
    if (strlen(member->host) >= sizeof out->address) {
        return hf_fail(err, HF_ERR_LIMIT, "host name too long: %s", member->host);
    }
    put_text(out->address, sizeof out->address, member->host);
    put_text(out->set_name, sizeof out->set_name, set->name);
    put_text(out->state, sizeof out->state, hf_mongo_state_name(member->state));
    put_text(out->primary, sizeof out->primary, set->primary);
    out->hidden = member->hidden;
    out->priority = member->priority;
    out->set_members = (uint32_t)set->member_count;
    out->lag_s = member->lag_s == HF_MONGO_LAG_UNKNOWN ? 0 : member->lag_s;
    if (member->delay_s > 0) {
        (void)snprintf(out->problem, sizeof out->problem, "it is delayed by %llu s",
                       (unsigned long long)member->delay_s);
        return HF_ERR_OK;
    }
    if (member->state == HF_MONGO_ARBITER) {
        put_text(out->problem, sizeof out->problem, "it is an arbiter and holds no data");
        return HF_ERR_OK;
    }
    ask_member(watch, member->host, out);
    return HF_ERR_OK;
}

/* Lag and sizes change all the time and are told with the next poll. */
static bool same_for_choosing(const struct hf_msg_members *a, const struct hf_msg_members *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        const struct hf_msg_member *one = &a->items[i], *other = &b->items[i];
        if (strcmp(one->address, other->address) != 0 || strcmp(one->state, other->state) != 0 ||
            strcmp(one->primary, other->primary) != 0 || one->hidden != other->hidden ||
            one->readable != other->readable || one->priority > other->priority ||
            one->priority < other->priority ||
            (one->problem[0] == '\0') != (other->problem[0] == '\0')) {
            return false;
        }
    }
    return true;
}

static void publish(struct hf_agent_watch *watch, struct hf_msg_members *members)
{
    HF_LOCKED(&watch->mutex);
    if (!same_for_choosing(&watch->members, members)) {
        hf_cancel_request(&watch->news);
    }
    hf_free(watch->members.items);
    watch->members = *members;
    *members = (struct hf_msg_members){0};
}

/* Nobody of the set answers: what was known stays, as unreachable. */
static void publish_unreachable(struct hf_agent_watch *watch, const char *why)
{
    HF_LOCKED(&watch->mutex);
    for (size_t i = 0; i < watch->members.count; i++) {
        if (strcmp(watch->members.items[i].state, "UNREACHABLE") != 0) {
            hf_cancel_request(&watch->news);
        }
        put_text(watch->members.items[i].state, sizeof watch->members.items[i].state,
                 "UNREACHABLE");
        put_text(watch->members.items[i].problem, sizeof watch->members.items[i].problem, why);
    }
}

/* What the seeds say may change for each look; the same problem is said once. */
static void say(struct hf_agent_watch *watch, const char *problem)
{
    if (strcmp(watch->said, problem) != 0) {
        put_text(watch->said, sizeof watch->said, problem);
        if (problem[0] == '\0') {
            hf_log_info(watch->options.log, "agent.members.reachable");
        } else {
            hf_log_warn(watch->options.log, "agent.members.unreachable", HF_STR("error", problem));
        }
    }
}

static void look(struct hf_agent_watch *watch)
{
    struct hf_msg_members members = {0};
    struct hf_mongo_set *set = hf_alloc_zero(sizeof *set);
    struct hf_error err;

    if (set == NULL) {
        return;
    }
    if (hf_mongo_set_find(watch->options.seeds, &watch->options.mongo, &watch->cancel, set, &err) !=
        HF_ERR_OK) {
        if (err.code != HF_ERR_CANCELLED) {
            say(watch, err.message);
            publish_unreachable(watch, err.message);
        }
        hf_free(set);
        return;
    }
    members.items = hf_alloc_array(set->member_count + 1, sizeof *members.items);
    for (size_t i = 0;
         members.items != NULL && i < set->member_count && members.count < HF_MESSAGE_MEMBERS_MAX;
         i++) {
        const struct hf_mongo_member *member = &set->members[i];
        bool listed = watch->options.member_count > 0;
        struct hf_msg_member *one = &members.items[members.count];

        if (listed ? !host_is_listed(watch, member->host) : !host_may_be_here(member->host)) {
            continue;
        }
        if (fill_member(watch, set, member, one, &err) == HF_ERR_OK &&
            (listed || one->readable || one->db_path[0] == '\0')) {
            members.count++;
        }
    }
    hf_free(set);
    say(watch, members.count == 0 ? "none of the set's members is served here" : "");
    publish(watch, &members);
    hf_free(members.items);
}

static void watch_loop(void *argument)
{
    struct hf_agent_watch *watch = argument;

    while (!hf_cancel_requested(&watch->cancel)) {
        hf_cancel_sleep(&watch->cancel, watch->options.interval_ms);
        if (!hf_cancel_requested(&watch->cancel)) {
            look(watch);
        }
    }
}

enum hf_err hf_agent_watch_start(const struct hf_agent_watch_options *options,
                                 struct hf_agent_watch **out, struct hf_error *err)
{
    struct hf_agent_watch *watch = hf_alloc_zero(sizeof *watch);

    if (watch == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    watch->options = *options;
    hf_cancel_init(&watch->cancel);
    hf_cancel_init(&watch->news);
    hf_mutex_init(&watch->mutex);
    look(watch);
    if (hf_thread_start("hf-watch", watch_loop, watch, &watch->thread, err) != HF_ERR_OK) {
        hf_agent_watch_stop(watch);
        return err->code;
    }
    *out = watch;
    return HF_ERR_OK;
}

void hf_agent_watch_stop(struct hf_agent_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    hf_cancel_request(&watch->cancel);
    hf_thread_join(watch->thread);
    hf_mutex_fini(&watch->mutex);
    hf_free(watch->members.items);
    hf_free(watch);
}

const struct hf_cancel *hf_agent_watch_news(const struct hf_agent_watch *watch)
{
    return &watch->news;
}

enum hf_err hf_agent_watch_members(struct hf_agent_watch *watch, struct hf_msg_members *out,
                                   struct hf_error *err)
{
    HF_LOCKED(&watch->mutex);
    *out = (struct hf_msg_members){0};
    out->items = hf_alloc_array(watch->members.count + 1, sizeof *out->items);
    if (out->items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    if (watch->members.count > 0) {
        memcpy(out->items, watch->members.items, watch->members.count * sizeof *out->items);
    }
    out->count = watch->members.count;
    atomic_store(&watch->news.requested, false);
    return HF_ERR_OK;
}
