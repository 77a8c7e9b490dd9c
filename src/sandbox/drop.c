/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of collections and indexes that are gone, and the plain facts about those that are there.
 *
 * A dropped table's file stays until the stable checkpoint is past its drop: a recovery from an older checkpoint finds
 * it in its catalog and needs it. While a backup cursor is open the engine keeps it anyway (EBUSY): it is tried again.
 */
#include <stdio.h>

#include "os/fs.h"
#include "sandbox/engine_internal.h"

void hf_sandbox_drop_later(struct hf_sandbox_engine *engine, const char *ident, uint64_t ts,
                           struct hf_sandbox_table *table)
{
    struct hf_sandbox_pending_drop *drop;

    HF_LOCKED(&engine->catalog);
    if (!HF_SANDBOX_ROOM(engine->pending, engine->pending_count, engine->pending_capacity)) {
        return; /* the next start finds the table without an owner */
    }
    drop = &engine->pending[engine->pending_count++];
    (void)snprintf(drop->ident, sizeof drop->ident, "%s", ident);
    drop->ts = ts;
    drop->table = table;
    if (table != NULL) {
        atomic_fetch_add(&table->references, 1);
    }
}

/* Removes one table; false when it has to stay for now. */
static bool drop_one(WT_SESSION *session, const struct hf_sandbox_pending_drop *drop)
{
    char uri[HF_SANDBOX_IDENT_BYTES + 8];

    (void)snprintf(uri, sizeof uri, "table:%s", drop->ident);
    return session->drop(session, uri, "force=true,checkpoint_wait=false") != EBUSY;
}

void hf_sandbox_drop_pending(struct hf_sandbox_engine *engine)
{
    struct hf_error err;
    WT_SESSION *session;
    uint64_t checkpoint_ts;

    hf_mutex_lock(&engine->state);
    checkpoint_ts = engine->checkpoint_ts;
    hf_mutex_unlock(&engine->state);
    if (hf_sandbox_session_take(engine, &session, &err) != HF_ERR_OK) {
        return;
    }
    hf_mutex_lock(&engine->catalog);
    for (size_t i = 0; i < engine->pending_count;) {
        struct hf_sandbox_pending_drop *drop = &engine->pending[i];
        bool in_use = drop->table != NULL && atomic_load(&drop->table->references) > 1;

        if (drop->ts <= checkpoint_ts && !in_use && drop_one(session, drop)) {
            hf_free(drop->table);
            *drop = engine->pending[--engine->pending_count];
        } else {
            i++;
        }
    }
    hf_mutex_unlock(&engine->catalog);
    hf_sandbox_session_give(engine, session);
}

/* ---- Facts ---- */

const char *hf_sandbox_coll_ns(const struct hf_sandbox_coll *coll)
{
    return coll->ns;
}

const char *hf_sandbox_coll_name(const struct hf_sandbox_coll *coll)
{
    return coll->name;
}

const uint8_t *hf_sandbox_coll_uuid(const struct hf_sandbox_coll *coll)
{
    return coll->uuid;
}

const bson_t *hf_sandbox_coll_options(const struct hf_sandbox_coll *coll)
{
    return coll->options;
}

const char *hf_sandbox_coll_ident(const struct hf_sandbox_coll *coll)
{
    return coll->table->ident;
}

bool hf_sandbox_coll_capped(const struct hf_sandbox_coll *coll)
{
    return coll->capped;
}

int64_t hf_sandbox_coll_records(const struct hf_sandbox_coll *coll)
{
    return atomic_load(&coll->table->records);
}

int64_t hf_sandbox_coll_bytes(const struct hf_sandbox_coll *coll)
{
    return atomic_load(&coll->table->bytes);
}

static int64_t file_bytes(const struct hf_sandbox_engine *engine, const char *ident)
{
    HF_CLEANUP(hf_free) char *path = hf_asprintf("%s/%s.wt", engine->dbpath, ident);
    struct hf_file_info info;
    struct hf_error err;

    if (path == NULL || hf_fs_stat(path, &info, &err) != HF_ERR_OK) {
        return 0;
    }
    return (int64_t)info.size_bytes;
}

int64_t hf_sandbox_coll_disk_bytes(const struct hf_sandbox_coll *coll, bool with_indexes)
{
    int64_t sum = file_bytes(coll->engine, coll->table->ident);

    for (size_t i = 0; with_indexes && i < coll->index_count; i++) {
        sum += file_bytes(coll->engine, coll->indexes[i]->ident);
    }
    return sum;
}

size_t hf_sandbox_coll_index_count(const struct hf_sandbox_coll *coll)
{
    return coll->index_count;
}

const bson_t *hf_sandbox_coll_index(const struct hf_sandbox_coll *coll, size_t at)
{
    return at < coll->index_count ? coll->indexes[at]->spec : NULL;
}

bool hf_sandbox_coll_index_multikey(const struct hf_sandbox_coll *coll, size_t at)
{
    return at < coll->index_count && atomic_load(&coll->indexes[at]->multikey);
}

const char *hf_sandbox_coll_index_ident(const struct hf_sandbox_coll *coll, size_t at)
{
    return at < coll->index_count ? coll->indexes[at]->ident : NULL;
}

bool hf_sandbox_coll_index_usable(const struct hf_sandbox_coll *coll, size_t at)
{
    return at < coll->index_count && coll->indexes[at]->usable;
}
