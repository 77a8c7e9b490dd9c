/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room against a running set of two members, one of them hidden: the real mongod that HOLDFAST_TEST_MONGOD
 * names, else the sandbox built beside this program. Nothing in here knows which. Skipped when there is neither.
 */
#include "unit/mongo/recorded.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mongo/backup_cursor.h"
#include "mongo/data.h"
#include "mongo/mongod.h"
#include "mongo/oplog.h"
#include "mongo/topology.h"
#include "os/process.h"

#define MEMBERS 2
#define CURSOR_TIMEOUT_MS 2000
#define PATIENCE_MS 60000

struct fixture {
    char *program; /* NULL: nothing to test against */
    char *dir;
    struct hf_mongod *members[MEMBERS];
    char primary[HF_MONGO_HOST_BYTES];
    const char *hidden;
};

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != HF_ERR_OK) {                                                                 \
            fail_msg("%s: %s", #call, err.message);                                                \
        }                                                                                          \
    } while (0)

static void expect_words(const struct hf_error *err, const char *words)
{
    if (strstr(err->message, words) == NULL) {
        fail_msg("no '%s' in: %s", words, err->message);
    }
}

static char *find_program(void)
{
    const char *given = getenv("HOLDFAST_TEST_MONGOD");
    HF_CLEANUP(hf_free) char *self = NULL;
    struct hf_error err;

    if (given != NULL && given[0] != '\0') {
        return hf_strdup(given);
    }
    if (hf_self_path(&self, &err) != HF_ERR_OK || strrchr(self, '/') == NULL) {
        return NULL;
    }
    *strrchr(self, '/') = '\0';
    char *sandbox = hf_asprintf("%s/../src/holdfast-sandbox", self);
    if (sandbox != NULL && !hf_fs_exists(sandbox)) {
        hf_free(sandbox);
        return NULL;
    }
    return sandbox;
}

static enum hf_err generate(void *argument, uint64_t index, struct hf_mongo_doc *doc, bool *done,
                            struct hf_error *err)
{
    (void)argument;
    (void)err;
    *done = index == 2000;
    hf_mongo_doc_int64(doc, "_id", (int64_t)index);
    hf_mongo_doc_text(doc, "text", hf_str_of("some words, again and again"));
    return HF_ERR_OK;
}

static void start_member(struct fixture *f, size_t i)
{
    static const char *const parameters[] = {"cursorTimeoutMillis=2000", NULL};
    HF_CLEANUP(hf_free) char *dbpath = hf_asprintf("%s/n%zu", f->dir, i);
    struct hf_mongod_options options = {
        .program = f->program, .dbpath = dbpath, .repl_set = "rs0", .parameters = parameters};
    struct hf_error err;

    OK(hf_mongod_start(&options, NULL, &f->members[i], &err));
}

static struct hf_mongo_client *connect_to(const char *host)
{
    struct hf_mongo_options options = {.host = host};
    struct hf_mongo_client *client = NULL;
    struct hf_error err;

    OK(hf_mongo_client_open(&options, &client, &err));
    return client;
}
#define CLIENT HF_CLEANUP(hf_mongo_client_close) struct hf_mongo_client

static int set_up(void **state)
{
    struct fixture *f = hf_alloc_zero(sizeof *f);
    struct hf_error err;
    const char *hosts[MEMBERS];

    assert_non_null(f);
    *state = f;
    f->program = find_program();
    if (f->program == NULL) {
        return 0;
    }
    OK(hf_fs_make_temp_dir("hf-live", &f->dir, &err));
    for (size_t i = 0; i < MEMBERS; i++) {
        start_member(f, i);
        hosts[i] = hf_mongod_host(f->members[i]);
    }
    f->hidden = hosts[1];
    HF_CLEANUP(hf_free)
    char *list = hf_asprintf("[{\"_id\": 0, \"host\": \"%s\"}, {\"_id\": 1, \"host\": \"%s\", "
                             "\"priority\": 0, \"hidden\": true}]",
                             hosts[0], hosts[1]);
    OK(hf_mongod_initiate("rs0", hosts, MEMBERS, list, PATIENCE_MS, NULL, f->primary, &err));
    CLIENT *client = connect_to(f->primary);
    CLIENT *hidden = connect_to(f->hidden);
    struct hf_mongo_insert_options options = {
        .database = "app", .collection = "c", .batch_documents = 300};
    struct hf_mongo_insert_result result;
    OK(hf_mongo_insert_generated(client, &options, generate, NULL, &result, &err));
    assert_int_equal(result.documents, 2000);
    OK(hf_mongo_wait_majority(hidden, result.last.ts, PATIENCE_MS, NULL, NULL, &err));
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    struct hf_error err;

    for (size_t i = MEMBERS; f->program != NULL && i > 0; i--) {
        bool clean = false;
        OK(hf_mongod_stop(f->members[i - 1], 0, &clean, &err));
        assert_true(clean);
    }
    if (f->dir != NULL) {
        OK(hf_fs_remove_tree(f->dir, &err));
    }
    hf_free(f->dir);
    hf_free(f->program);
    hf_free(f);
    return 0;
}

static const struct fixture *fixture_or_skip(void **state)
{
    const struct fixture *f = *state;

    if (f->program == NULL) {
        skip();
    }
    return f;
}

static struct hf_mongo_backup *prepare(const char *host, uint32_t patience_ms)
{
    struct hf_mongo_options client = {.host = host};
    struct hf_mongo_backup_options options = {
        .client = &client, .patience_ms = patience_ms, .cursor_timeout_ms = CURSOR_TIMEOUT_MS};
    struct hf_mongo_backup *backup = NULL;
    struct hf_error err;

    OK(hf_mongo_backup_prepare(&options, &backup, &err));
    return backup;
}
#define BACKUP HF_CLEANUP(hf_mongo_backup_destroy) struct hf_mongo_backup

static bool cursor_is_open(const char *host)
{
    CLIENT *client = connect_to(host);
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    struct hf_error err;

    OK(hf_mongo_facts_read(client, &facts, &err));
    return facts.backup_cursor_open;
}

static void test_the_set_is_found_from_its_hidden_member(void **state)
{
    const struct fixture *f = fixture_or_skip(state);
    struct hf_mongo_options options = {.uri = NULL};
    struct hf_mongo_set set;
    struct hf_error err;

    OK(hf_mongo_set_find(f->hidden, &options, NULL, &set, &err));
    assert_string_equal(set.name, "rs0");
    assert_string_equal(set.primary, f->primary);
    assert_string_equal(set.answered, f->hidden);
    const struct hf_mongo_member *hidden = hf_mongo_set_member(&set, f->hidden);
    assert_non_null(hidden);
    assert_true(hidden->hidden && hidden->self && hidden->healthy);
    assert_int_equal(hidden->state, HF_MONGO_SECONDARY);
    assert_true(hidden->lag_s < 60);
}

static void test_both_members_can_give_a_cursor(void **state)
{
    const struct fixture *f = fixture_or_skip(state);
    const char *const hosts[] = {f->primary, f->hidden};
    struct hf_error err;

    for (size_t i = 0; i < MEMBERS; i++) {
        CLIENT *client = connect_to(hosts[i]);
        HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};

        OK(hf_mongo_facts_read(client, &facts, &err));
        OK(hf_mongo_backup_check(&facts, &err));
        assert_string_equal(facts.me, hosts[i]);
        assert_int_equal(facts.cursor_timeout_ms, CURSOR_TIMEOUT_MS);
        assert_non_null(facts.dbpath);
        assert_string_equal(facts.missing, "");
    }
}

static void test_a_cursor_lives_longer_than_its_idle_time_and_is_closed(void **state)
{
    const struct fixture *f = fixture_or_skip(state);
    BACKUP *backup = prepare(f->hidden, 1000);
    struct hf_error err;
    size_t count = 0;
    bool has_metadata_file = false;

    OK(hf_mongo_backup_open(backup, NULL, &err));
    const struct hf_mongo_backup_file *files = hf_mongo_backup_files(backup, &count);
    for (size_t i = 0; i < count; i++) {
        has_metadata_file = has_metadata_file || strcmp(files[i].path, "WiredTiger.backup") == 0;
    }
    assert_true(has_metadata_file);
    assert_true(cursor_is_open(f->hidden));
    hf_cancel_sleep(NULL, 4 * CURSOR_TIMEOUT_MS);
    OK(hf_mongo_backup_alive(backup, &err));
    OK(hf_mongo_backup_ping(backup, &err));
    OK(hf_mongo_backup_close(backup, &err));
    assert_false(cursor_is_open(f->hidden));
}

static void test_the_end_of_the_copied_oplog_is_confirmed_and_the_journal_extended(void **state)
{
    const struct fixture *f = fixture_or_skip(state);
    BACKUP *backup = prepare(f->hidden, 1000);
    CLIENT *hidden = connect_to(f->hidden);
    CLIENT *primary = connect_to(f->primary);
    HF_CLEANUP(hf_mongo_backup_names_fini) struct hf_mongo_backup_names names = {.count = 0};
    struct hf_mongo_optime last;
    struct hf_error err;

    OK(hf_mongo_backup_open(backup, NULL, &err));
    struct hf_mongo_optime end = hf_mongo_backup_metadata(backup)->oplog_end;
    OK(hf_mongo_wait_majority(hidden, end.ts, PATIENCE_MS, NULL, NULL, &err));
    OK(hf_mongo_oplog_confirm(hidden, end, &err));
    end.term += 5;
    assert_int_equal(hf_mongo_oplog_confirm(hidden, end, &err), HF_ERR_LOST);
    OK(hf_mongo_append_note(primary, "a note", &err));
    OK(hf_mongo_oplog_last(primary, &last, &err));
    struct hf_mongo_ts future = {last.ts.seconds + 100000, 1};
    assert_int_equal(hf_mongo_backup_extend(backup, future, &names, &err), HF_ERR_CONFLICT);
    OK(hf_mongo_wait_majority(hidden, last.ts, PATIENCE_MS, NULL, NULL, &err));
    OK(hf_mongo_backup_extend(backup, last.ts, &names, &err));
    assert_true(names.count > 0);
    assert_int_equal(strncmp(names.paths[0], "journal/WiredTigerLog.", 22), 0);
    OK(hf_mongo_backup_ping(backup, &err));
    OK(hf_mongo_backup_close(backup, &err));
}

static void test_anothers_cursor_is_named_and_left_alone(void **state)
{
    const struct fixture *f = fixture_or_skip(state);
    BACKUP *first = prepare(f->primary, 1000);
    BACKUP *second = prepare(f->primary, 100);
    struct hf_error err;

    OK(hf_mongo_backup_open(first, NULL, &err));
    assert_int_equal(hf_mongo_backup_open(second, NULL, &err), HF_ERR_BUSY);
    expect_words(&err, "another's backup cursor, not ours (session ");
    expect_words(&err, hf_mongo_backup_lsid(first));
    OK(hf_mongo_backup_ping(first, &err));
    OK(hf_mongo_backup_close(first, &err));
    OK(hf_mongo_backup_open(second, NULL, &err));
    OK(hf_mongo_backup_close(second, &err));
}

/* The child notes the session, opens and dies as by kill -9. */
static void open_and_die(const char *host, int note)
{
    struct hf_mongo_backup *backup = prepare(host, 1000);
    struct hf_error err;

    if (write(note, hf_mongo_backup_lsid(backup), HF_MONGO_LSID_BYTES) == HF_MONGO_LSID_BYTES &&
        hf_mongo_backup_open(backup, NULL, &err) == HF_ERR_OK) {
        (void)kill(getpid(), SIGKILL);
    }
    _exit(1);
}

static void test_what_a_dead_process_left_open_is_found_by_its_session(void **state)
{
    const struct fixture *f = fixture_or_skip(state);
    char lsid[HF_MONGO_LSID_BYTES];
    int note[2];
    int status = 0;
    bool found = true;
    struct hf_error err;

    assert_int_equal(pipe(note), 0);
    pid_t child = fork();
    if (child == 0) {
        open_and_die(f->hidden, note[1]);
    }
    assert_int_equal(read(note[0], lsid, sizeof lsid), HF_MONGO_LSID_BYTES);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    (void)close(note[0]);
    (void)close(note[1]);

    CLIENT *client = connect_to(f->hidden);
    OK(hf_mongo_backup_close_leftover(client, "0123456789abcdef0123456789abcdef", &found, &err));
    assert_false(found);
    OK(hf_mongo_backup_close_leftover(client, lsid, &found, &err));
    assert_true(found);
    assert_false(cursor_is_open(f->hidden));
}

static void test_both_members_hold_the_same_data(void **state)
{
    const struct fixture *f = fixture_or_skip(state);
    CLIENT *primary = connect_to(f->primary);
    CLIENT *hidden = connect_to(f->hidden);
    struct hf_mongo_data_options options = {.database = "app", .count = true};
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data one = {.database_count = 0};
    HF_CLEANUP(hf_mongo_data_fini) struct hf_mongo_data other = {.database_count = 0};
    struct hf_mongo_optime optime;
    struct hf_error err;

    OK(hf_mongo_write(primary, "app", "{\"insert\": \"w\", \"documents\": [{\"_id\": 1}]}", &optime,
                      NULL, &err));
    assert_true(optime.term > 0);
    assert_int_equal(hf_mongo_write(primary, "app",
                                    "{\"insert\": \"w\", \"documents\": [{\"_id\": 1}]}", &optime,
                                    NULL, &err),
                     HF_ERR_EXISTS);
    OK(hf_mongo_wait_majority(hidden, optime.ts, PATIENCE_MS, NULL, NULL, &err));
    OK(hf_mongo_data_read(primary, &options, &one, &err));
    OK(hf_mongo_data_read(hidden, &options, &other, &err));
    assert_string_equal(one.databases[0].md5, other.databases[0].md5);
    const struct hf_mongo_collection *c = hf_mongo_data_collection(&other, "app", "c");
    assert_non_null(c);
    assert_int_equal(c->count, 2000);
}

static void test_a_standalone_is_refused_by_name(void **state)
{
    const struct fixture *f = fixture_or_skip(state);
    HF_CLEANUP(hf_free) char *dbpath = hf_asprintf("%s/alone", f->dir);
    struct hf_mongod_options options = {
        .program = f->program, .dbpath = dbpath, .for_looking = true};
    struct hf_mongod *alone = NULL;
    HF_CLEANUP(hf_mongo_facts_fini) struct hf_mongo_facts facts = {0};
    struct hf_error err;
    bool clean = false;

    OK(hf_mongod_start(&options, NULL, &alone, &err));
    CLIENT *client = NULL;
    OK(hf_mongod_client(alone, &client, &err));
    OK(hf_mongo_facts_read(client, &facts, &err));
    OK(hf_mongod_stop(alone, 0, &clean, &err));
    assert_true(clean);
    assert_int_equal(hf_mongo_backup_check(&facts, &err), HF_ERR_UNSUPPORTED);
    expect_words(&err, "is a standalone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_set_is_found_from_its_hidden_member),
        cmocka_unit_test(test_both_members_can_give_a_cursor),
        cmocka_unit_test(test_a_cursor_lives_longer_than_its_idle_time_and_is_closed),
        cmocka_unit_test(test_the_end_of_the_copied_oplog_is_confirmed_and_the_journal_extended),
        cmocka_unit_test(test_anothers_cursor_is_named_and_left_alone),
        cmocka_unit_test(test_what_a_dead_process_left_open_is_found_by_its_session),
        cmocka_unit_test(test_both_members_hold_the_same_data),
        cmocka_unit_test(test_a_standalone_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
