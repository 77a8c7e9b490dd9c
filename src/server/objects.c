/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agents' calls on objects: the store behind the server, seen through the rights of a task.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "base/fault.h"
#include "codec/hash.h"
#include "format/message.h"
#include "format/pack.h"
#include "format/slice.h"
#include "server/server_internal.h"

#define PATH_HEAD "/agent/v1/objects/"
#define LIST_MAX 1000

/* An answer stays in memory until its reader has taken it, so it counts before it is given. */
static enum hf_err answer_bytes(struct hf_server_object_work *work, int status, const char *range,
                                struct hf_buf *body, struct hf_error *err)
{
    char checksum[17];
    struct hf_http_header headers[3] = {{"Content-Type", "application/octet-stream"}};
    struct hf_http_answer answer = {.status = status, .headers = headers, .header_count = 2};

    if (hf_server_front_charge(work->server, work->request, body->len, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(checksum, sizeof checksum, "%016llx",
                   (unsigned long long)hf_xxh3(hf_buf_bytes(body)));
    headers[1] = (struct hf_http_header){"Holdfast-Checksum", checksum};
    if (range != NULL) {
        headers[2] = (struct hf_http_header){"Content-Range", range};
        answer.header_count = 3;
    }
    (void)hf_http_respond_buf_take(work->request, &answer, body);
    return HF_ERR_OK;
}

/* The body is what the agent meant to send: compared at memory speed before anything is written. */
static enum hf_err check_body(const struct hf_http_request *request, struct hf_error *err)
{
    const char *header = hf_http_request_header(request, "Holdfast-Checksum");
    uint64_t want = 0;

    if (header == NULL || strlen(header) != 16 || !hf_parse_hex_u64(hf_str_of(header), &want)) {
        return hf_fail(err, HF_ERR_INVALID,
                       "header Holdfast-Checksum must hold 16 hexadecimal digits");
    }
    if (hf_xxh3(hf_http_request_body(request)) != want) {
        return hf_fail(err, HF_ERR_INVALID,
                       "the body does not have the checksum %s; it was changed on its way", header);
    }
    return HF_ERR_OK;
}

static enum hf_err check_object(struct hf_bytes body, const struct hf_object_name *name,
                                struct hf_error *err)
{
    return name->kind == HF_OBJECT_OPLOG ? hf_slice_check_put(body, name, err)
                                         : hf_object_check_put(body, name, err);
}

/* Counts the object, unless it is there: sent again after a lost answer it takes no more room. */
static enum hf_err book(struct hf_server_object_work *work, const struct hf_server_permit *permit,
                        struct hf_str name, uint64_t bytes, bool *booked, struct hf_error *err)
{
    uint64_t there = 0;

    enum hf_err code = hf_store_size(permit->store, name, &there, err);
    if (code != HF_ERR_NOT_FOUND) {
        return code;
    }
    code = hf_server_rights_book(work->server->rights, permit, bytes, err);
    *booked = code == HF_ERR_OK;
    return code;
}

static enum hf_err put(struct hf_server_object_work *work, const struct hf_server_permit *permit,
                       struct hf_str name, struct hf_error *err)
{
    const struct hf_store_put_options options = {.use_reserve = false};
    struct hf_bytes body = hf_http_request_body(work->request);
    bool booked = false;

    if (check_body(work->request, err) != HF_ERR_OK ||
        HF_FAULT("server.object.received", err) != HF_ERR_OK ||
        check_object(body, &permit->name, err) != HF_ERR_OK ||
        book(work, permit, name, body.len, &booked, err) != HF_ERR_OK) {
        return err->code;
    }
    if (hf_store_put(permit->store, name, body, &options, err) != HF_ERR_OK) {
        if (booked) {
            hf_server_rights_unbook(work->server->rights, permit, body.len);
        }
        return err->code;
    }
    if (HF_FAULT("server.object.stored", err) != HF_ERR_OK) {
        return err->code;
    }
    (void)hf_http_respond_text(work->request, 201, "application/json", "{}");
    return HF_ERR_OK;
}

struct range {
    bool tail;
    uint64_t first, last; /* tail: last bytes in first */
};

/* "bytes=A-B" or "bytes=-N"; false for anything else. */
static bool parse_range(const char *header, struct range *out)
{
    const char *dash;

    if (strncmp(header, "bytes=", 6) != 0 || (dash = strchr(header + 6, '-')) == NULL) {
        return false;
    }
    struct hf_str first = {header + 6, (size_t)(dash - header - 6)};
    struct hf_str last = hf_str_of(dash + 1);
    out->tail = first.len == 0;
    if (out->tail) {
        return hf_parse_u64(last, &out->first) && out->first > 0;
    }
    return hf_parse_u64(first, &out->first) && hf_parse_u64(last, &out->last) &&
           out->last >= out->first;
}

static enum hf_err get_range(struct hf_server_object_work *work, struct hf_store *store,
                             struct hf_str name, const char *header, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf body = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    struct range range;
    uint64_t size_bytes = 0;
    char text[96];

    if (!parse_range(header, &range)) {
        return hf_fail(err, HF_ERR_INVALID, "range '%.64s' is none of bytes=A-B and bytes=-N",
                       header);
    }
    if (range.tail) {
        size_t len = range.first > HF_STORE_OBJECT_MAX_BYTES ? HF_STORE_OBJECT_MAX_BYTES
                                                             : (size_t)range.first;
        if (hf_store_get_tail(store, name, len, &body, &size_bytes, err) != HF_ERR_OK) {
            return err->code;
        }
        range.first = size_bytes - body.len;
    } else {
        uint64_t len = range.last - range.first + 1;
        if (len > HF_STORE_OBJECT_MAX_BYTES) {
            return hf_fail(err, HF_ERR_LIMIT, "range '%.64s' is longer than an object", header);
        }
        if (hf_store_size(store, name, &size_bytes, err) != HF_ERR_OK ||
            hf_buf_reserve(&body, (size_t)len, err) != HF_ERR_OK ||
            hf_store_get_range(store, name, range.first, body.data, (size_t)len, err) !=
                HF_ERR_OK) {
            return err->code;
        }
        body.len = (size_t)len;
    }
    (void)snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)range.first,
                   (unsigned long long)(range.first + body.len - (body.len > 0)),
                   (unsigned long long)size_bytes);
    return answer_bytes(work, 206, text, &body, err);
}

static enum hf_err get(struct hf_server_object_work *work, struct hf_store *store,
                       struct hf_str name, struct hf_error *err)
{
    HF_CLEANUP(hf_buf_fini) struct hf_buf body = HF_BUF_INIT(HF_STORE_OBJECT_MAX_BYTES);
    const char *range = hf_http_request_header(work->request, "Range");

    if (range != NULL) {
        return get_range(work, store, name, range, err);
    }
    if (hf_store_get(store, name, HF_STORE_OBJECT_MAX_BYTES, &body, err) != HF_ERR_OK) {
        return err->code;
    }
    return answer_bytes(work, 200, NULL, &body, err);
}

/* The size goes in a header of our own as well: libmicrohttpd counts the (empty) body for Content-Length. */
static enum hf_err head(struct hf_server_object_work *work, struct hf_store *store,
                        struct hf_str name, struct hf_error *err)
{
    uint64_t size_bytes = 0;
    char text[24];

    if (hf_store_size(store, name, &size_bytes, err) != HF_ERR_OK) {
        return err->code;
    }
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)size_bytes);
    const struct hf_http_header headers[] = {{"Holdfast-Size", text}};
    const struct hf_http_answer answer = {.status = 200, .headers = headers, .header_count = 1};
    (void)hf_http_respond(work->request, &answer);
    return HF_ERR_OK;
}

static enum hf_err list(struct hf_server_object_work *work, struct hf_store *store,
                        const struct hf_url_target *target, struct hf_error *err)
{
    HF_CLEANUP(hf_store_list_fini) struct hf_store_list found = {0};
    HF_CLEANUP(hf_msg_objects_fini) struct hf_msg_objects objects = {0};
    HF_CLEANUP(hf_buf_fini) struct hf_buf text = HF_BUF_INIT(HF_MESSAGE_MAX_BYTES);
    const char *prefix = hf_url_target_parameter(target, "prefix");
    const char *after = hf_url_target_parameter(target, "after");
    const char *max = hf_url_target_parameter(target, "max");
    uint64_t count = LIST_MAX;

    if (max != NULL && (!hf_parse_u64(hf_str_of(max), &count) || count == 0 || count > LIST_MAX)) {
        return hf_fail(err, HF_ERR_INVALID, "query parameter max must be 1 to %d", LIST_MAX);
    }
    if (hf_store_list(store, hf_str_of(prefix), hf_str_of(after == NULL ? "" : after),
                      (size_t)count, &found, err) != HF_ERR_OK) {
        return err->code;
    }
    objects.items = hf_alloc_zero((found.count + 1) * sizeof *objects.items);
    if (objects.items == NULL) {
        return hf_fail(err, HF_ERR_NO_MEMORY, "no memory");
    }
    for (size_t i = 0; i < found.count; i++) {
        if (strlen(found.entries[i].name) >= sizeof objects.items[0].name) {
            continue;
        }
        struct hf_msg_object *object = &objects.items[objects.count++];
        (void)snprintf(object->name, sizeof object->name, "%s", found.entries[i].name);
        object->size_bytes = found.entries[i].size_bytes;
    }
    objects.more = found.more;
    if (hf_msg_objects_encode(&objects, &text, err) != HF_ERR_OK ||
        hf_server_front_charge(work->server, work->request, text.len, err) != HF_ERR_OK) {
        return err->code;
    }
    const struct hf_http_header headers[] = {{"Content-Type", "application/json"}};
    const struct hf_http_answer answer = {.status = 200, .headers = headers, .header_count = 1};
    (void)hf_http_respond_buf_take(work->request, &answer, &text);
    return HF_ERR_OK;
}

/* What is asked, and whether it may be; target is to be ended by the caller. */
static enum hf_err allow(struct hf_server *server, const struct hf_http_request *request,
                         const struct hf_id *project, struct hf_url_target *target,
                         struct hf_server_object_call *call, struct hf_server_permit *permit,
                         struct hf_error *err)
{
    const char *method = hf_http_request_method(request);

    if (hf_url_target_parse(target, hf_str_of(hf_http_request_target(request)), err) != HF_ERR_OK) {
        return err->code;
    }
    *call = (struct hf_server_object_call){
        .project = *project,
        .task = hf_http_request_header(request, "Holdfast-Task"),
        .attempt = hf_http_request_header(request, "Holdfast-Attempt"),
        .put = strcmp(method, "PUT") == 0,
        .list = target->segment_count == 3,
    };
    if (call->list) {
        const char *prefix = hf_url_target_parameter(target, "prefix");
        if (prefix == NULL || strcmp(method, "GET") != 0) {
            return hf_fail(err, HF_ERR_INVALID, "a list is GET " PATH_HEAD "?prefix=...");
        }
        call->name = hf_str_of(prefix);
    } else {
        /* Names hold nothing that needs percent-encoding: the raw path is the name. */
        call->name = (struct hf_str){target->path.data + sizeof PATH_HEAD - 1,
                                     target->path.len - (sizeof PATH_HEAD - 1)};
    }
    return hf_server_rights_allow(server->rights, call, permit, err);
}

uint64_t hf_server_object_max_bytes(struct hf_str path)
{
    const struct hf_str text = {path.data + sizeof PATH_HEAD - 1,
                                path.len - (sizeof PATH_HEAD - 1)};
    struct hf_object_name name;
    struct hf_error ignored;

    if (!hf_str_starts_with(path, hf_str_of(PATH_HEAD)) ||
        hf_object_name_parse(text, &name, &ignored) != HF_ERR_OK) {
        return HF_PACK_OBJECT_MAX_BYTES;
    }
    return name.kind == HF_OBJECT_OPLOG ? HF_SLICE_OBJECT_MAX_BYTES : HF_PACK_OBJECT_MAX_BYTES;
}

enum hf_err hf_server_object_may_put(struct hf_server *server,
                                     const struct hf_http_request *request,
                                     const struct hf_id *project, struct hf_error *err)
{
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};
    struct hf_server_object_call call;
    struct hf_server_permit permit;

    return allow(server, request, project, &target, &call, &permit, err);
}

static enum hf_err run(struct hf_server_object_work *work, struct hf_error *err)
{
    HF_CLEANUP(hf_url_target_fini) struct hf_url_target target = {0};
    const char *method = hf_http_request_method(work->request);
    struct hf_server_object_call call;
    struct hf_server_permit permit;

    if (allow(work->server, work->request, &work->project, &target, &call, &permit, err) !=
        HF_ERR_OK) {
        return err->code;
    }
    if (call.list) {
        return list(work, permit.store, &target, err);
    }
    if (call.put) {
        return put(work, &permit, call.name, err);
    }
    if (strcmp(method, "GET") == 0) {
        return get(work, permit.store, call.name, err);
    }
    if (strcmp(method, "HEAD") == 0) {
        return head(work, permit.store, call.name, err);
    }
    return hf_fail(err, HF_ERR_DENIED, "%s on objects is the server's own", method);
}

void hf_server_object_run(struct hf_server_object_work *work)
{
    struct hf_error err;

    if (run(work, &err) != HF_ERR_OK) {
        hf_server_refusals_note(work->server->refusals, work->request, &err);
        hf_server_agent_error(work->request, &err);
    }
}
