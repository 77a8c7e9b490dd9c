/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that Debian's WiredTiger does what the sandbox stands on: a logged oplog beside unlogged tables with timestamps,
 * checkpoints at the stable time, a backup cursor with its "log:" duplicate, copied while writers go on, and both the
 * copy and the source opened again after kill -9.
 *
 *   wiredtiger_proof DIR [OPERATIONS]    DIR must not exist; prints one JSON object, ends with 1 when something does not hold
 *
 * A child writes until it is killed; operation n puts the key n into the table with the time n and into the oplog. So what
 * must be found is known: the table holds exactly 1..checkpoint, the oplog exactly 1..end. Knows nothing of Holdfast.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wiredtiger.h>

#define STABLE_LAG 1000 /* operations that are not majority committed yet */
#define FLUSH_EVERY 500
#define VALUE_BYTES 400
#define CHECKPOINT_EVERY_MS 100
#define CONFIG                                                                                     \
    "create,cache_size=256M,config_base=false,"                                                    \
    "log=(enabled=true,archive=true,path=journal,prealloc=false,compressor=snappy),"               \
    "extensions=[libwiredtiger_snappy.so]"

/* What the child tells: it lies in memory that both share, so that it survives the child's end. */
struct told {
    _Atomic uint64_t written;    /* committed */
    _Atomic uint64_t flushed;    /* and in the synced log */
    _Atomic uint64_t checkpoint; /* the stable time of the last checkpoint */
    uint64_t backup_checkpoint;  /* the copy's */
    uint64_t flushed_at_extend;  /* must be in the copy's oplog */
    uint64_t copied_bytes, copied_files, written_while_copying;
    double copy_s;
    _Atomic bool copied;
};

struct found {
    uint64_t checkpoint, table_end, oplog_end;
    bool whole; /* both without a gap */
};

static WT_CONNECTION *connection;
static struct told *told;
static pthread_mutex_t checkpoints =
    PTHREAD_MUTEX_INITIALIZER; /* a copy begins between two of them */

static _Noreturn void give_up(const char *what, int code)
{
    (void)fprintf(stderr, "wiredtiger_proof: %s: %s\n", what, wiredtiger_strerror(code));
    exit(1);
}

static void must(const char *what, int code)
{
    if (code != 0) {
        give_up(what, code);
    }
}

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static WT_SESSION *session_open(void)
{
    WT_SESSION *session;

    must("open a session", connection->open_session(connection, NULL, NULL, &session));
    return session;
}

static WT_CURSOR *cursor_open(WT_SESSION *session, const char *uri, const char *config)
{
    WT_CURSOR *cursor;

    must(uri, session->open_cursor(session, uri, NULL, config, &cursor));
    return cursor;
}

static uint64_t connection_time(const char *which)
{
    char text[32] = "0";

    int code = connection->query_timestamp(connection, text, which);
    return code == 0 ? strtoull(text, NULL, 16) : 0;
}

/* ---- The child ---- */

static void *checkpoint_loop(void *unused)
{
    WT_SESSION *session = session_open();

    (void)unused;
    for (;;) {
        (void)pthread_mutex_lock(&checkpoints);
        must("checkpoint", session->checkpoint(session, "use_timestamp=true"));
        atomic_store(&told->checkpoint, connection_time("get=last_checkpoint"));
        (void)pthread_mutex_unlock(&checkpoints);
        (void)usleep(CHECKPOINT_EVERY_MS * 1000);
    }
    return NULL;
}

static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    static char buffer[1 << 20];
    char from[8300], to[8300];
    ssize_t got;

    (void)snprintf(from, sizeof from, "%s/%s", from_dir, name);
    (void)snprintf(to, sizeof to, "%s/%s", to_dir, name);
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(from, in < 0 || out < 0 ? errno : 0);
    while ((got = read(in, buffer, sizeof buffer)) > 0) {
        must(to, write(out, buffer, (size_t)got) == got ? 0 : EIO);
        told->copied_bytes += (uint64_t)got;
    }
    must(from, got < 0 ? errno : 0);
    told->copied_files++;
    (void)close(in);
    (void)close(out);
}

static void copy_listed(WT_CURSOR *cursor, const char *from_dir, const char *to_dir)
{
    const char *name;
    char path[4096];
    int code;

    while ((code = cursor->next(cursor)) == 0) {
        must("name of a file", cursor->get_key(cursor, &name));
        /* The backup cursor names log files without their directory. */
        bool log = strncmp(name, "WiredTigerLog.", 14) == 0;
        (void)snprintf(path, sizeof path, "%s%s", log ? "journal/" : "", name);
        copy_file(from_dir, to_dir, path);
    }
    must("backup cursor", code == WT_NOTFOUND ? 0 : code);
}

static void copy(const char *from_dir, const char *to_dir)
{
    char journal[4096];
    WT_SESSION *session = session_open();
    uint64_t written = atomic_load(&told->written);
    double begun = now_s();

    (void)snprintf(journal, sizeof journal, "%s/journal", to_dir);
    must(to_dir, mkdir(to_dir, 0700) != 0 || mkdir(journal, 0700) != 0 ? errno : 0);
    (void)pthread_mutex_lock(&checkpoints);
    WT_CURSOR *cursor = cursor_open(session, "backup:", NULL);
    told->backup_checkpoint = atomic_load(&told->checkpoint);
    (void)pthread_mutex_unlock(&checkpoints);
    copy_listed(cursor, from_dir, to_dir);

    /* As $backupCursorExtend: the log up to now, by a duplicate that lists log files alone. */
    told->flushed_at_extend = atomic_load(&told->flushed);
    WT_CURSOR *log;
    must("duplicate of the backup cursor",
         session->open_cursor(session, NULL, cursor, "target=(\"log:\")", &log));
    copy_listed(log, from_dir, to_dir);
    must("close the duplicate", log->close(log));
    must("close the backup cursor", cursor->close(cursor));
    told->written_while_copying = atomic_load(&told->written) - written;
    told->copy_s = now_s() - begun;
    atomic_store(&told->copied, true);
}

struct copy_task {
    const char *from_dir, *to_dir;
    uint64_t from_operation;
};

static void *copy_loop(void *argument)
{
    const struct copy_task *task = argument;

    while (atomic_load(&told->written) < task->from_operation) {
        (void)usleep(1000);
    }
    copy(task->from_dir, task->to_dir);
    return NULL;
}

static void write_one(WT_SESSION *session, WT_CURSOR *table, WT_CURSOR *oplog, uint64_t number)
{
    static uint8_t bytes[VALUE_BYTES];
    char config[64];
    WT_ITEM value = {.data = bytes, .size = sizeof bytes};

    for (size_t i = 0; i < sizeof bytes / 2; i += 8) {
        uint64_t mixed = number * 0x9E3779B97F4A7C15U + i;
        memcpy(bytes + i, &mixed, sizeof mixed);
    }
    must("begin", session->begin_transaction(session, "isolation=snapshot"));
    (void)snprintf(config, sizeof config, "commit_timestamp=%" PRIx64, number);
    must("time", session->timestamp_transaction(session, config));
    table->set_key(table, number);
    table->set_value(table, &value);
    oplog->set_key(oplog, number);
    oplog->set_value(oplog, &value);
    must("insert", table->insert(table));
    must("insert into the oplog", oplog->insert(oplog));
    must("commit", session->commit_transaction(session, NULL));
}

static _Noreturn void child(const char *source, const char *target, uint64_t operations)
{
    char config[128];
    pthread_t checkpoint_thread, copy_thread;
    struct copy_task task = {source, target, operations / 2};

    must(source, wiredtiger_open(source, NULL, CONFIG, &connection));
    WT_SESSION *session = session_open();
    must("create the table",
         session->create(session, "table:data", "key_format=Q,value_format=u,log=(enabled=false)"));
    must("create the oplog",
         session->create(session, "table:oplog", "key_format=Q,value_format=u,log=(enabled=true)"));
    WT_CURSOR *table = cursor_open(session, "table:data", NULL);
    WT_CURSOR *oplog = cursor_open(session, "table:oplog", NULL);
    must("thread", pthread_create(&checkpoint_thread, NULL, checkpoint_loop, NULL));
    must("thread", pthread_create(&copy_thread, NULL, copy_loop, &task));
    for (uint64_t number = 1;; number++) {
        write_one(session, table, oplog, number);
        atomic_store(&told->written, number);
        if (number % FLUSH_EVERY == 0) {
            must("flush", session->log_flush(session, "sync=on"));
            atomic_store(&told->flushed, number);
            if (number > STABLE_LAG) {
                (void)snprintf(config, sizeof config,
                               "stable_timestamp=%" PRIx64 ",oldest_timestamp=%" PRIx64,
                               number - STABLE_LAG, number - STABLE_LAG);
                must("stable time", connection->set_timestamp(connection, config));
            }
        }
    }
}

/* ---- What is found afterwards ---- */

static uint64_t read_all(WT_SESSION *session, const char *uri, bool *whole)
{
    WT_CURSOR *cursor = cursor_open(session, uri, NULL);
    uint64_t last = 0, key;
    int code;

    while ((code = cursor->next(cursor)) == 0) {
        must(uri, cursor->get_key(cursor, &key));
        *whole = *whole && key == last + 1;
        last = key;
    }
    must(uri, code == WT_NOTFOUND ? 0 : code);
    return last;
}

static struct found look(const char *dir)
{
    struct found found = {.whole = true};

    must(dir, wiredtiger_open(dir, NULL, CONFIG, &connection));
    WT_SESSION *session = session_open();
    found.checkpoint = connection_time("get=recovery");
    found.table_end = read_all(session, "table:data", &found.whole);
    found.oplog_end = read_all(session, "table:oplog", &found.whole);
    must("close", connection->close(connection, NULL));
    return found;
}

static bool report(const char *name, struct found found, uint64_t checkpoint_least,
                   uint64_t checkpoint_most, uint64_t oplog_least)
{
    bool holds = found.whole && found.table_end == found.checkpoint &&
                 found.checkpoint >= checkpoint_least && found.checkpoint <= checkpoint_most &&
                 found.oplog_end >= oplog_least && found.oplog_end >= found.table_end;

    (void)printf("\"%s\": {\"checkpoint\": %" PRIu64 ", \"table_end\": %" PRIu64
                 ", \"oplog_end\": %" PRIu64 ", \"oplog_must_reach\": %" PRIu64
                 ", \"holds\": %s}, ",
                 name, found.checkpoint, found.table_end, found.oplog_end, oplog_least,
                 holds ? "true" : "false");
    return holds;
}

int main(int argc, char **argv)
{
    char source[4096], target[4096];
    uint64_t operations = argc > 2 ? strtoull(argv[2], NULL, 10) : 400000;

    if (argc < 2 || operations < 10 * (uint64_t)STABLE_LAG) {
        (void)fprintf(stderr, "usage: wiredtiger_proof DIR [OPERATIONS, at least %d]\n",
                      10 * STABLE_LAG);
        return 2;
    }
    (void)snprintf(source, sizeof source, "%s/source", argv[1]);
    (void)snprintf(target, sizeof target, "%s/copy", argv[1]);
    char journal[4200];
    (void)snprintf(journal, sizeof journal, "%s/journal", source);
    must(argv[1], mkdir(argv[1], 0700) != 0 || mkdir(source, 0700) != 0 || mkdir(journal, 0700) != 0
                      ? errno
                      : 0);
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must("share memory", told == MAP_FAILED ? errno : 0);
    double begun = now_s();
    pid_t pid = fork();
    must("fork", pid < 0 ? errno : 0);
    if (pid == 0) {
        child(source, target, operations);
    }
    int status = 0;
    while (atomic_load(&told->written) < operations || !atomic_load(&told->copied)) {
        if (waitpid(pid, &status, WNOHANG) != 0) {
            return 1; /* it said why */
        }
        (void)usleep(1000);
    }
    uint64_t checkpoint = atomic_load(&told->checkpoint);
    uint64_t flushed = atomic_load(&told->flushed);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    double seconds = now_s() - begun;

    (void)printf("{\"version\": \"%s\", \"operations\": %" PRIu64 ", \"operations_per_s\": %.0f, "
                 "\"copy\": {\"files\": %" PRIu64 ", \"bytes\": %" PRIu64
                 ", \"seconds\": %.2f, \"written_meanwhile\": %" PRIu64 "}, ",
                 wiredtiger_version(NULL, NULL, NULL), atomic_load(&told->written),
                 (double)atomic_load(&told->written) / seconds, told->copied_files,
                 told->copied_bytes, told->copy_s, told->written_while_copying);
    /* A checkpoint that had ended without being told yet may stand later, never above what was stable. */
    bool holds = report("copy_opened", look(target), told->backup_checkpoint,
                        told->backup_checkpoint, told->flushed_at_extend);
    holds = report("source_opened", look(source), checkpoint, flushed, flushed) && holds;
    (void)printf("\"ok\": %s}\n", holds ? "true" : "false");
    return holds ? 0 : 1;
}
