#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the data set of `make bench`: the files that an agent would read, written by the sandbox or a real mongod.

  make_data.py --mib 2048 --to DIR [--program build/holdfast-sandbox]

Text-like documents, incompressible ones and small ones with many indexes, in several collections, until the files have
that size; then what $backupCursor lists (WiredTiger.backup included, which names the checkpoints) and storage.bson are
copied to DIR/before while the cursor is open. Then 1 % of the documents of each collection change, those in the middle of
it, and the same is copied to DIR/after, where a file that is equal to the one before is the same file (a hard link).
DIR/about.json says how many documents there are and how many changed, and at which port the set's only member listens. DIR
appears whole or not at all. The same seed gives the same documents, not the same bytes: WiredTiger decides where pages go.
"""
import argparse
import contextlib
import ctypes
import filecmp
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import bson
import pymongo
import pymongo.errors

SEED = 20221115
BATCH_BYTES = 4 << 20
START_LIMIT_S = 60
CHECKPOINT_LIMIT_S = 300
# Practically never but when asked: with many indexes a checkpoint writes nearly every page of theirs anew.
CHECKPOINT_EVERY_S = 3600
CHANGED_SHARE = 0.01
UPDATES_AT_ONCE = 500


def tables_size(dbpath):
    """Of the tables alone: the engine's log comes and goes. What waits for a checkpoint is not in them."""
    total = 0
    for path in dbpath.glob("*.wt"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


class Texts:
    """Sentences of words that occur as words do: few often, most seldom."""

    def __init__(self, rng):
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        words = ["".join(rng.choices(letters, weights=range(26, 0, -1), k=rng.randint(2, 11))) for _ in range(20000)]
        weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
        self.rng = rng
        self.sentences = [" ".join(rng.choices(words, cum_weights=weights, k=rng.randint(6, 18))).capitalize() + "." for _ in range(40000)]

    def text(self, sentences):
        return " ".join(self.rng.choices(self.sentences, k=sentences))


class Maker:
    """Documents of three kinds; each collection gets its share of the bytes."""

    COLLECTIONS = [("library", "articles", "article", 30), ("library", "comments", "article", 15), ("shop", "orders", "event", 20),
                   ("shop", "events", "event", 10), ("media", "pictures", "blob", 20), ("media", "keys", "blob", 5)]
    # All end with `at`, which no other document has, and are unique: the sandbox writes entries of unique indexes only.
    INDEXES = {"article": ["author", "-at", "tags", "title", "score"],
               "event": ["customer", "state", "amount", "sku", "token", "place.city place.street", "-at", "reference"],
               "blob": ["digest", "at"]}

    @classmethod
    def indexes(cls, kind):
        for names in cls.INDEXES[kind]:
            keys = [(name.lstrip("-"), -1 if name.startswith("-") else 1) for name in names.split()]
            yield pymongo.IndexModel(keys if keys[-1][0] == "at" else [*keys, ("at", 1)], unique=True)

    def __init__(self):
        self.rng = random.Random(SEED)
        self.texts = Texts(self.rng)
        self.number = 0

    # Index keys grow with time or have few values, so that an insert finds its pages in the cache: with keys all over a
    # prefix-compressed tree the engine spends minutes on rebuilding keys.

    def near(self, every, spread):
        return self.number // every + self.rng.randint(0, spread)

    def article(self):
        rng, texts = self.rng, self.texts
        return {"title": f"No. {self.near(20, 5):07d} {texts.text(1)}", "author": f"author{int(rng.paretovariate(1)) % 5000}", "at": self.number, "score": rng.randint(0, 100),
                "tags": [f"tag{int(rng.paretovariate(0.8)) % 900}" for _ in range(4)], "body": texts.text(rng.randint(4, 60))}

    def event(self):
        rng = self.rng
        return {"customer": self.near(40, 50), "at": self.number, "state": rng.choice(["new", "paid", "sent", "done", "returned"]),
                "amount": self.near(1, 400) / 100, "sku": f"SKU-{self.near(300, 100):06d}",
                "token": f"{self.near(10, 20):08x}{rng.randbytes(8).hex()}", "reference": self.near(1, 1000) << 20 | rng.randint(0, 1 << 20),
                "place": {"city": f"city{self.near(20000, 3) % 900}", "street": f"street {rng.randint(0, 40)}"}, "note": self.texts.text(1)}

    def blob(self):
        rng = self.rng
        return {"digest": rng.randbytes(32).hex(), "at": self.number, "content": rng.randbytes(rng.randint(2000, 60000))}

    # What an application changes: a field or two, one of them in an index.

    def change(self, kind):
        rng = self.rng
        if kind == "article":
            return {"body": self.texts.text(rng.randint(4, 60)), "score": rng.randint(0, 100)}
        if kind == "event":
            return {"state": rng.choice(["new", "paid", "sent", "done", "returned"]), "note": self.texts.text(1)}
        return {"content": rng.randbytes(rng.randint(2000, 60000))}

    def batch(self, kind):
        made, size = [], 0
        while size < BATCH_BYTES:
            self.number += 1
            made.append(bson.encode({"_id": self.number, **getattr(self, kind)()}))
            size += len(made[-1])
        return [bson.raw_bson.RawBSONDocument(one) for one in made]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def member(program, dbpath, size):
    port = free_port()
    oplog_mb = max(64, size // (1 << 20) // 10)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # A cache that the indexes fit in: evicting their pages is what makes loading slow.
    cache_gb = min(max(size, 1 << 29), memory // 4) / (1 << 30)
    log = dbpath.with_suffix(".log")
    with open(log, "wb") as out:
        process = subprocess.Popen([program, "--dbpath", dbpath, "--port", str(port), "--replSet", "bench", "--syncdelay", str(CHECKPOINT_EVERY_S),
                                    "--oplogSize", str(oplog_mb), "--wiredTigerCacheSizeGB", f"{cache_gb:.2f}"], stdout=out, stderr=out, preexec_fn=die_with_parent)
    client = pymongo.MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=2000)
    try:
        deadline = time.monotonic() + START_LIMIT_S
        config = {"_id": "bench", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
        initiated = False
        while True:
            if process.poll() is not None:
                raise SystemExit(f"make_data: {program} ended with {process.returncode}; its log: {log}")
            try:
                if not initiated:
                    client.admin.command("replSetInitiate", config)
                    initiated = True
                if client.admin.command("hello").get("isWritablePrimary"):
                    break
            except pymongo.errors.PyMongoError as error:
                if time.monotonic() > deadline:
                    raise SystemExit(f"make_data: {program} is no primary after {START_LIMIT_S} s: {error}") from None
            time.sleep(0.1)
        yield client
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def load(client, dbpath, size, maker):
    put = dict.fromkeys(range(len(Maker.COLLECTIONS)), 0)
    for database, collection, kind, _ in Maker.COLLECTIONS:
        client[database][collection].create_indexes(list(Maker.indexes(kind)))
    began, raw, step = time.monotonic(), 0, size // 8
    while True:
        goal = raw + step
        while raw < goal:
            # The collection that is furthest behind its share.
            index = min(put, key=lambda i: put[i] / Maker.COLLECTIONS[i][3])
            database, collection, kind, _ = Maker.COLLECTIONS[index]
            client[database][collection].insert_many(maker.batch(kind), ordered=False)
            put[index] += BATCH_BYTES
            raw += BATCH_BYTES
        client.admin.command("fsync")
        have = tables_size(dbpath)
        print(f"make_data: {have >> 20} of {size >> 20} MiB after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if have >= size * 0.97:
            return
        # As many documents as the rest takes by what they took so far, in steps that the cache holds.
        step = min(size // 8, int((size - have) * raw / max(have, 1)))


def change(client, maker):
    """1 % of each collection, in the middle of it, in the order of their coming. How many documents there are, and how many changed."""
    documents = changed = 0
    for database, collection, kind, _ in Maker.COLLECTIONS:
        of = client[database][collection]
        count = of.estimated_document_count()
        share = max(1, round(count * CHANGED_SHARE))
        ids = [one["_id"] for one in of.find({}, {"_id": 1}).skip((count - share) // 2).limit(share)]
        if len(ids) != share:
            raise SystemExit(f"make_data: {len(ids)} documents of {database}.{collection} found where {share} are")
        for first in range(0, share, UPDATES_AT_ONCE):
            updates = [pymongo.UpdateOne({"_id": one}, {"$set": maker.change(kind)}) for one in ids[first:first + UPDATES_AT_ONCE]]
            changed += of.bulk_write(updates, ordered=False).modified_count
        documents += count
    return documents, changed


def share_equal_files(before, after):
    """A file of the later state that is equal to the earlier one's becomes the same file. How many are."""
    equal = 0
    for path in sorted(one for one in after.rglob("*") if one.is_file()):
        old = before / path.relative_to(after)
        if old.is_file() and filecmp.cmp(old, path, shallow=False):
            path.unlink()
            os.link(old, path)
            equal += 1
    return equal


@contextlib.contextmanager
def backup_cursor(client):
    """The cursor's documents so far. It stays open when all are read: the files are ours until it is killed."""
    with client.start_session() as session:
        cursor = client.admin.command({"aggregate": 1, "pipeline": [{"$backupCursor": {}}], "cursor": {}}, session=session)["cursor"]
        entries, batch = [], cursor["firstBatch"]
        try:
            while batch:
                entries += batch
                batch = client.admin.command({"getMore": cursor["id"], "collection": "$cmd.aggregate"}, session=session)["cursor"]["nextBatch"]
            yield entries[0]["metadata"], entries[1:]
        finally:
            client.admin.command({"killCursors": "$cmd.aggregate", "cursors": [cursor["id"]]}, session=session)


def copy_backup(client, to):
    """What an agent would read. Again until the checkpoint has all that was written."""
    last = client.local["oplog.rs"].find_one(sort=[("$natural", -1)])["ts"]
    deadline = time.monotonic() + CHECKPOINT_LIMIT_S
    while True:
        client.admin.command("fsync")
        with backup_cursor(client) as (metadata, files):
            if metadata["checkpointTimestamp"] >= last:
                dbpath = pathlib.Path(metadata["dbpath"])
                copied = sum(copy_file(dbpath, pathlib.Path(one["filename"]), to, one.get("fileSize")) for one in files)
                return copied + copy_file(dbpath, dbpath / "storage.bson", to, None)
        if time.monotonic() > deadline:
            raise SystemExit("make_data: no checkpoint has the last write")
        time.sleep(1)


def copy_file(dbpath, path, to, size):
    target = to / path.relative_to(dbpath)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    if size is not None:
        os.truncate(target, size)
    return os.stat(target).st_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, required=True)
    parser.add_argument("--to", type=pathlib.Path, required=True)
    parser.add_argument("--program", default=str(pathlib.Path(__file__).resolve().parent.parent / "build" / "holdfast-sandbox"))
    options = parser.parse_args()
    if options.to.exists():
        raise SystemExit(f"make_data: {options.to} is there already")
    if not os.access(options.program, os.X_OK):
        raise SystemExit(f"make_data: there is no {options.program}; hint: make build")
    work = options.to.with_name(options.to.name + ".making")
    shutil.rmtree(work, ignore_errors=True)
    dbpath, before, after = work / "member", work / "data" / "before", work / "data" / "after"
    for one in (dbpath, before, after):
        one.mkdir(parents=True)
    began = time.monotonic()
    maker = Maker()
    with member(options.program, dbpath, options.mib << 20) as client:
        load(client, dbpath, options.mib << 20, maker)
        copied = copy_backup(client, before)
        documents, changed = change(client, maker)
        copy_backup(client, after)
        about = {"documents": documents, "changed": changed, "address": client.admin.command("replSetGetConfig")["config"]["members"][0]["host"]}
    about["equal_files"] = share_equal_files(before, after)
    (work / "data" / "about.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    os.sync()
    (work / "data").rename(options.to)
    shutil.rmtree(work, ignore_errors=True)
    print(f"make_data: {copied >> 20} MiB in {options.to}, then {changed} of {documents} documents changed, {about['equal_files']} files stayed equal; "
          f"made in {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
