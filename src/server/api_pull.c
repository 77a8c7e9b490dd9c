/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The download behind a link: GET and HEAD of …/pull/{JOB}/{KEY}/{FILE}, whole or in ranges.
 *
 * The archive's bytes are the same every time, so a broken download goes on where it broke (RFC 9110: Range, If-Range
 * with our ETag). It counts when its last byte went out: that byte is held back until the count allows it, and the
 * count goes up when the connection took it. A wrong key and an unknown job are told the same.
 *
 *   hf_api_pull     a worker of the API: who asks, may it begin; the catalog only
 *   run_pull        a thread of the streams: the archive's layout, the answer, the bytes, the count
 *
 * The archive's SHA-1 is made on its way when it goes out whole; a download in several ranges has it made afterwards, by
 * reading the archive once more. Nothing here writes a key anywhere.
 */
#include <inttypes.h>
#include <stdio.h>

#include "backup/link.h"
#include "base/alloc.h"
#include "base/fault.h"
#include "codec/gzip.h"
#include "codec/hash.h"
#include "os/clock.h"
#include "server/api.h"
#include "server/server_internal.h"
#include "snapshot/restore.h"

#define ETAG_BYTES 41
/* Raised when other bytes come out for the same snapshot, so that no download is put together of both. */
#define ARCHIVE_FORM "holdfast archive 1"

struct pull {
    struct hf_server *server;
    struct hf_server_app *app;
    struct hf_http_request *request; /* NULL once it was answered */
    struct hf_link_record link;
    bool head;
    char peer[64];
};

/* ---- The archive ---- */

struct archive {
    struct hf_flow_reading reading;
    struct hf_buf info;
    char top[HF_LINK_FILE_BYTES];
    uint64_t mtime_s;
    uint64_t tar_bytes, size_bytes;
    char etag[ETAG_BYTES];
};

static void archive_fini(struct archive *archive)
{
    hf_flow_reading_fini(&archive->reading);
    hf_buf_fini(&archive->info);
}
HF_CLEANUP_DEFINE_VALUE(archive_fini, struct archive)

static struct hf_restore_tar_options tar_options(struct hf_server_app *app, struct archive *archive)
{
    return (struct hf_restore_tar_options){
        .store = archive->reading.store,
        .keyring = &archive->reading.keyring,
        .root = &archive->reading.manifest.root,
        .top = archive->top,
        .restore_info = hf_buf_text(&archive->info),
        .mtime_s = archive->mtime_s,
        .cancel = app->cancel,
    };
}

static enum hf_err open_archive(struct hf_server_app *app, const struct hf_link_record *link,
                                struct archive *out, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf what = HF_BUF_INIT((size_t)2 << 20);
    char hex[65];

    if (hf_flow_open(app, &link->snapshot, &out->reading, err) != HF_ERR_OK ||
        hf_restore_info_text(&out->reading.manifest, &out->info, err) != HF_ERR_OK) {
        return err->code;
    }
    size_t len = strlen(link->file) - strlen(link->gzip ? ".tar.gz" : ".tar");
    (void)snprintf(out->top, sizeof out->top, "%.*s", (int)len, link->file);
    out->mtime_s = out->reading.manifest.facts.checkpoint.seconds;
    const struct hf_restore_tar_options options = tar_options(app, out);
    if (hf_restore_tar_size(&options, &out->tar_bytes, err) != HF_ERR_OK ||
        hf_buf_appendf(&what, err, ARCHIVE_FORM "\n%s\n%s\n%" PRIu64 "\n%" PRIu64 "\n%s",
                       link->file, hf_id_text(&link->snapshot).text, out->mtime_s, out->tar_bytes,
                       hf_buf_text(&out->info)) != HF_ERR_OK) {
        return err->code;
    }
    hf_sha256_hex(hf_buf_bytes(&what), hex);
    (void)snprintf(out->etag, sizeof out->etag, "%.40s", hex);
    out->size_bytes = link->gzip ? hf_gzip_size(out->tar_bytes) : out->tar_bytes;
    return HF_ERR_OK;
}

typedef enum hf_err (*sink_function)(void *context, struct hf_bytes bytes, struct hf_error *err);

struct stretch {
    uint64_t from, to;
    sink_function sink;
    void *context;
};

static enum hf_err into_gzip(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    return hf_gzip_write(context, bytes, err);
}

/* Bytes [from, to) of the archive. */
static enum hf_err make_stretch(struct hf_server_app *app, const struct hf_link_record *link,
                                struct archive *archive, const struct stretch *stretch,
                                struct hf_error *err)
{
    HF_CLEANUP(hf_gzip_destroy) struct hf_gzip *gzip = NULL;
    struct hf_restore_tar_options options = tar_options(app, archive);
    struct hf_restore_result result;

    if (!link->gzip) {
        options.from_bytes = stretch->from;
        options.to_bytes = stretch->to;
        options.sink = stretch->sink;
        options.context = stretch->context;
        return hf_restore_tar(&options, &result, err);
    }
    const struct hf_gzip_options envelope = {
        .content_bytes = archive->tar_bytes,
        .from = stretch->from,
        .to = stretch->to,
        .sink = stretch->sink,
        .context = stretch->context,
    };
    hf_gzip_content(&envelope, &options.from_bytes, &options.to_bytes);
    if (hf_gzip_create(&envelope, &gzip, err) != HF_ERR_OK) {
        return err->code;
    }
    options.sink = into_gzip;
    options.context = gzip;
    return hf_restore_tar(&options, &result, err);
}

/* ---- On its way ---- */

struct sending {
    const struct pull *pull;
    struct hf_server_transfer *transfer;
    struct hf_http_stream *stream;
    struct hf_sha1 *sha; /* owned; NULL: a part of the archive gives no hash of it */
    uint64_t left;       /* of what was promised */
    bool to_the_end;     /* its last byte is the archive's */
};

/* Whether the archive may be had once more: asked when all but its last byte is out. */
static enum hf_err take_last_byte(const struct sending *sending, struct hf_error *err)
{
    const struct pull *pull = sending->pull;
    struct hf_link_record link;

    hf_server_links_last_byte(pull->app->links, sending->transfer);
    if (hf_keep_link_get(pull->app->catalog, &pull->link.id, &link, NULL, err) != HF_ERR_OK) {
        return err->code;
    }
    if (link.downloads >= link.max_downloads) {
        return hf_fail(err, HF_ERR_CANCELLED, "others have used up its downloads meanwhile");
    }
    return HF_ERR_OK;
}

static enum hf_err send_bytes(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    struct sending *sending = context;
    bool last = bytes.len == sending->left && sending->to_the_end;

    if (hf_server_links_is_cut(sending->pull->app->links, sending->transfer)) {
        return hf_fail(err, HF_ERR_CANCELLED, "the link was withdrawn");
    }
    if (sending->sha != NULL) {
        hf_sha1_update(sending->sha, bytes);
    }
    sending->left -= bytes.len;
    if (!last) {
        return hf_http_stream_write(sending->stream, bytes, err);
    }
    struct hf_bytes end = hf_bytes_of(bytes.data + bytes.len - 1, 1);
    if (hf_http_stream_write(sending->stream, hf_bytes_of(bytes.data, bytes.len - 1), err) !=
            HF_ERR_OK ||
        take_last_byte(sending, err) != HF_ERR_OK) {
        return err->code;
    }
    return hf_http_stream_write(sending->stream, end, err);
}

static enum hf_err hash_bytes(void *context, struct hf_bytes bytes, struct hf_error *err)
{
    (void)err;
    hf_sha1_update(context, bytes);
    return HF_ERR_OK;
}

/* Of a download that came in ranges: the archive is read once more. */
static void hash_afterwards(struct hf_server_app *app, struct hf_link_record *link,
                            struct archive *archive)
{
    HF_CLEANUP(hf_sha1_destroy) struct hf_sha1 *sha = hf_sha1_create();
    struct hf_flow_link_news news = {.transfer = HF_LINK_READY, .etag = archive->etag};
    const struct stretch whole = {.to = archive->size_bytes, .sink = hash_bytes, .context = sha};
    struct hf_error err;
    char hex[41];

    if (sha == NULL) {
        return;
    }
    enum hf_err code = HF_FAULT("server.link.hash", &err) == HF_ERR_OK
                           ? make_stretch(app, link, archive, &whole, &err)
                           : err.code;
    if (code == HF_ERR_OK) {
        hf_sha1_end(sha, hex);
        news.sha1 = hex;
        code = hf_flow_link_note(app, &link->id, &news, link, &err);
    }
    if (code != HF_ERR_OK) {
        hf_log_warn(app->log, "link.hash.failed", HF_STR("restore", hf_id_text(&link->id).text),
                    HF_STR("error", err.message));
    }
}

static void note(struct pull *pull, const struct hf_flow_link_news *news)
{
    struct hf_error err;

    if (hf_flow_link_note(pull->app, &pull->link.id, news, &pull->link, &err) != HF_ERR_OK) {
        hf_log_warn(pull->app->log, "link.not_noted",
                    HF_STR("restore", hf_id_text(&pull->link.id).text),
                    HF_STR("error", err.message));
    }
}

static void note_broken(struct pull *pull, const struct hf_error *why)
{
    bool failed = why->code != HF_ERR_UNAVAILABLE && why->code != HF_ERR_CANCELLED;
    const struct hf_flow_link_news news = {
        .transfer = failed ? HF_LINK_FAILED : HF_LINK_INTERRUPTED, .error = why->message};

    note(pull, &news);
    if (failed) {
        hf_log_warn(pull->app->log, "link.failed",
                    HF_STR("restore", hf_id_text(&pull->link.id).text), HF_STR("peer", pull->peer),
                    HF_STR("error", why->message));
        return;
    }
    hf_log_warn(pull->app->log, "link.interrupted",
                HF_STR("restore", hf_id_text(&pull->link.id).text), HF_STR("peer", pull->peer),
                HF_STR("error", why->message));
}

static void note_sent(struct pull *pull, struct archive *archive, struct sending *sending)
{
    struct hf_flow_link_news news = {.transfer = HF_LINK_READY, .downloaded = sending->to_the_end};
    char hex[41];

    if (sending->sha != NULL && sending->to_the_end) {
        hf_sha1_end(sending->sha, hex);
        news.sha1 = hex;
        news.etag = archive->etag;
    }
    note(pull, &news);
    if (!sending->to_the_end) {
        return;
    }
    hf_log_info(pull->app->log, "link.downloaded",
                HF_STR("restore", hf_id_text(&pull->link.id).text), HF_STR("peer", pull->peer),
                HF_U64("bytes", archive->size_bytes), HF_U64("downloads", pull->link.downloads));
}

static void send_stretch(struct pull *pull, struct archive *archive, struct sending *sending,
                         uint64_t from, uint64_t to)
{
    const struct stretch stretch = {.from = from, .to = to, .sink = send_bytes, .context = sending};
    const struct hf_flow_link_news begun = {.transfer = HF_LINK_IN_PROGRESS};
    struct hf_error err;

    note(pull, &begun);
    enum hf_err code = make_stretch(pull->app, &pull->link, archive, &stretch, &err);
    bool sent = hf_http_stream_finish_sent(sending->stream, code == HF_ERR_OK);
    if (code == HF_ERR_OK && !sent) {
        code = hf_fail(&err, HF_ERR_UNAVAILABLE, "the client went away");
    }
    if (code != HF_ERR_OK) {
        note_broken(pull, &err);
        return;
    }
    note_sent(pull, archive, sending);
    if (sending->to_the_end && strcmp(pull->link.etag, archive->etag) != 0) {
        hash_afterwards(pull->app, &pull->link, archive);
    }
}

/* ---- The answer ---- */

static void answer_text(struct hf_http_request *request, int status, const char *text)
{
    (void)hf_http_respond_text(request, status, "text/plain; charset=utf-8", text);
}

static void answer_no_range(struct pull *pull, const struct archive *archive)
{
    char range[64];
    const struct hf_http_header headers[] = {{"Content-Range", range}, {"Accept-Ranges", "bytes"}};
    const struct hf_http_answer answer = {.status = 416, .headers = headers, .header_count = 2};

    (void)snprintf(range, sizeof range, "bytes */%" PRIu64, archive->size_bytes);
    (void)hf_http_respond(HF_TAKE(pull->request), &answer);
}

/* Which bytes: a range counts only when If-Range, where it is given, names these very bytes. */
static enum hf_link_range choose_range(const struct pull *pull, const struct archive *archive,
                                       uint64_t *from, uint64_t *to)
{
    const char *condition = hf_http_request_header(pull->request, "If-Range");
    const char *range = hf_http_request_header(pull->request, "Range");
    char etag[ETAG_BYTES + 2];

    (void)snprintf(etag, sizeof etag, "\"%s\"", archive->etag);
    if (condition != NULL && strcmp(condition, etag) != 0) {
        range = NULL;
    }
    return hf_link_parse_range(range, archive->size_bytes, from, to);
}

static struct hf_http_stream *begin_answer(struct pull *pull, const struct archive *archive,
                                           bool part, uint64_t from, uint64_t to)
{
    char etag[ETAG_BYTES + 2], disposition[HF_LINK_FILE_BYTES + 64], range[100];
    const struct hf_http_header headers[] = {
        {"Content-Type", pull->link.gzip ? "application/gzip" : "application/x-tar"},
        {"Content-Disposition", disposition},
        {"Accept-Ranges", "bytes"},
        {"ETag", etag},
        {"Cache-Control", "private, no-store"},
        {"X-MongoDB-Service-Version", HF_REPLY_VERSION},
        {"Content-Range", range},
    };
    const struct hf_http_answer answer = {.status = part ? 206 : 200,
                                          .headers = headers,
                                          .header_count = HF_ARRAY_LEN(headers) - (part ? 0 : 1)};

    (void)snprintf(etag, sizeof etag, "\"%s\"", archive->etag);
    (void)snprintf(disposition, sizeof disposition, "attachment; filename=\"%s\"", pull->link.file);
    (void)snprintf(range, sizeof range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from, to - 1,
                   archive->size_bytes);
    return hf_http_respond_stream(HF_TAKE(pull->request), &answer, to - from);
}

static void serve(struct pull *pull)
{
    HF_CLEANUP(archive_fini)
    struct archive archive = {.info = HF_BUF_INIT((size_t)1 << 20)};
    struct sending sending = {.pull = pull};
    uint64_t from = 0, to = 0;
    struct hf_error err;

    if (open_archive(pull->app, &pull->link, &archive, &err) != HF_ERR_OK) {
        note_broken(pull, &err);
        answer_text(HF_TAKE(pull->request), hf_err_http(err.code),
                    "the archive cannot be made; the server's log says why\n");
        return;
    }
    enum hf_link_range range = choose_range(pull, &archive, &from, &to);
    if (range == HF_LINK_RANGE_NONE) {
        answer_no_range(pull, &archive);
        return;
    }
    sending.stream = begin_answer(pull, &archive, range == HF_LINK_RANGE_PART, from, to);
    if (sending.stream == NULL) {
        return;
    }
    if (pull->head) {
        hf_http_stream_finish(sending.stream, false);
        return;
    }
    sending.left = to - from;
    sending.to_the_end = to == archive.size_bytes;
    sending.transfer = hf_server_links_begin(pull->app->links, &pull->link.id);
    sending.sha = from == 0 && sending.to_the_end ? hf_sha1_create() : NULL;
    if (sending.transfer == NULL) {
        hf_http_stream_finish(sending.stream, false);
    } else {
        send_stretch(pull, &archive, &sending, from, to);
        hf_server_links_end(pull->app->links, sending.transfer);
    }
    hf_sha1_destroy(sending.sha);
}

static void run_pull(void *argument)
{
    struct pull *pull = argument;

    serve(pull);
    HF_ASSERT(pull->request == NULL);
    hf_free(pull);
}

/* ---- After a restart ---- */

static void hash_one(struct hf_server_app *app, struct hf_link_record *link)
{
    HF_CLEANUP(archive_fini)
    struct archive archive = {.info = HF_BUF_INIT((size_t)1 << 20)};
    struct hf_error err;
    struct hf_server_transfer *transfer = hf_server_links_begin(app->links, &link->id);

    if (transfer == NULL) {
        return;
    }
    /* A snapshot that was deleted since gives no hash any more. */
    if (open_archive(app, link, &archive, &err) == HF_ERR_OK) {
        hash_afterwards(app, link, &archive);
    }
    hf_server_links_end(app->links, transfer);
}

static void run_hashes(void *argument)
{
    struct hf_server_app *app = argument;
    const struct hf_catalog_query query = {.limit = 100000};
    HF_CLEANUP(hf_keep_links_fini) struct hf_keep_links links = {0};
    struct hf_error err;

    if (hf_keep_link_find(app->catalog, &query, &links, &err) != HF_ERR_OK) {
        hf_log_warn(app->log, "link.hash.failed", HF_STR("restore", "all"),
                    HF_STR("error", err.message));
        return;
    }
    for (size_t i = 0; i < links.count && !hf_cancel_requested(app->cancel); i++) {
        if (links.items[i].downloads > 0 && links.items[i].sha1[0] == '\0') {
            hash_one(app, &links.items[i]);
        }
    }
}

void hf_server_hash_downloads(struct hf_server *server)
{
    /* A queue that is full at the start is none; without it the hashes wait for the next start. */
    (void)!hf_server_pool_try(server->streams, run_hashes, &server->app);
}

/* ---- Asked for ---- */

/* The link that the path names, when it has the right key and name. */
static bool find_link(struct hf_server_call *call, struct hf_link_record *out)
{
    struct hf_error ignored;
    struct hf_id id;

    return hf_id_parse(hf_str_of(call->parameters[0]), &id) && !hf_id_is_none(&id) &&
           hf_keep_link_get(call->app->catalog, &id, out, NULL, &ignored) == HF_ERR_OK &&
           hf_server_links_key_is(call->app->links, out, call->parameters[1]) &&
           strcmp(out->file, call->parameters[2]) == 0;
}

void hf_api_pull(struct hf_server_call *call)
{
    struct pull *pull = hf_alloc_zero(sizeof *pull);

    if (pull == NULL) {
        answer_text(HF_TAKE(call->request), 503, "no memory\n");
        return;
    }
    if (!find_link(call, &pull->link)) {
        answer_text(HF_TAKE(call->request), 404, "there is no such link\n");
        hf_free(pull);
        return;
    }
    if (!hf_link_is_open(&pull->link, hf_flow_now_s())) {
        bool used = pull->link.downloads >= pull->link.max_downloads;
        answer_text(HF_TAKE(call->request), 410,
                    used ? "the downloads of this link are used up\n" : "the link has expired\n");
        hf_free(pull);
        return;
    }
    pull->server = call->server;
    pull->app = call->app;
    pull->head = strcmp(call->method, "HEAD") == 0;
    (void)snprintf(pull->peer, sizeof pull->peer, "%s", hf_http_request_peer(call->request));
    pull->request = HF_TAKE(call->request);
    if (!hf_server_pool_try(pull->server->streams, run_pull, pull)) {
        const struct hf_http_header headers[] = {{"Retry-After", "5"}};
        const struct hf_http_answer answer = {.status = 503, .headers = headers, .header_count = 1};
        (void)hf_http_respond(HF_TAKE(pull->request), &answer);
        hf_free(pull);
    }
}
