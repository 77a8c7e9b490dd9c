#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The judge of restores is tried first, without the product: a copy of a member's files is brought to points in time by hand, with the
command lines that the server itself has (mongodb-observed.md 3C and 3E), and the replay of the oplog in memory must say the same."""
import concurrent.futures
import os
import random
import shutil
import unittest

import bson
from bson import Timestamp
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.son import SON

from chronicle import ARGUMENTS, Chronicle
from harness import Member, ReplicaSet, TestCase, main
from history import Replay, compare, decoded, encoded, pick, read_state, updated
from test_sandbox_recovery import KEEP, QUIET, RECOVER, top_of

SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
SEED = int(os.environ.get("HOLDFAST_TEST_SEED") or (random.SystemRandom().randrange(1 << 30) if SOAK else 5))
POINTS = 60 if SOAK else 4
BATCH = 500


def copy_with_cursor(member, target):
    """What the backup cursor names, and its journal extended; (checkpoint, top of the copied oplog at least)."""
    client = member.client
    cursor = client.admin.command(SON([("aggregate", 1), ("pipeline", [{"$backupCursor": {}}]), ("cursor", {"batchSize": 10000})]))["cursor"]
    metadata = cursor["firstBatch"][0]["metadata"]
    majority = client.admin.command("isMaster")["lastWrite"]["majorityOpTime"]["ts"]
    extended = client.admin.command(SON([("aggregate", 1), ("cursor", {}), ("pipeline", [
        {"$backupCursorExtend": {"backupId": bson.Binary(metadata["backupId"].bytes, 4), "timestamp": majority}}])]))["cursor"]
    names = {document["filename"] for document in [*cursor["firstBatch"], *extended["firstBatch"]] if "filename" in document}
    for name in names:
        path = target / os.path.relpath(name, metadata["dbpath"])
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(name, path)
    client.admin.command(SON([("killCursors", "$cmd.aggregate"), ("cursors", [cursor["id"]])]))
    return metadata["checkpointTimestamp"], majority


def noop(entry):
    changed = decoded(entry.raw)
    changed["op"] = "n"
    return RawBSONDocument(encoded(changed))


class Judge(unittest.TestCase):
    """The replay on its own, where what it must say is written down."""

    def test_updates_as_the_server_logs_them(self):
        document = SON([("_id", 1), ("list", [1, SON([("a", 1)])]), ("gone", 1)])
        found = updated(document, SON([("$v", 1), ("$unset", SON([("gone", True), ("not.there", True)])),
                                       ("$set", SON([("list.1.a", 2), ("list.3", 9), ("new.deep", 5)]))]))
        self.assertEqual(list(found.items()), [("_id", 1), ("list", [1, {"a": 2}, None, 9]), ("new", {"deep": 5})])
        self.assertEqual(updated(SON([("_id", 1), ("x", 1)]), SON([("_id", 1), ("y", 2)])), {"_id": 1, "y": 2})

    @staticmethod
    def entry(number, op, o, **more):
        return SON([("op", op), ("ns", "d.$cmd" if op == "c" else "d.c"), ("o", o), *more.items(), ("ts", Timestamp(1, number)),
                    *([("lsid", {"id": 1}), ("txnNumber", 1)] if "applyOps" in o or op == "c" and "create" not in o else [])])

    def test_parts_of_a_transaction_take_effect_at_its_end(self):
        replay = Replay()
        insert = [SON([("op", "i"), ("ns", "d.c"), ("o", {"_id": i})]) for i in range(4)]
        replay.apply(self.entry(1, "c", SON(create="c")))
        replay.apply(self.entry(2, "c", SON(applyOps=insert[:1], partialTxn=True)))
        replay.apply(self.entry(3, "c", SON(applyOps=insert[1:2], prepare=True, count=2)))
        self.assertEqual(len(replay.collections["d.c"].documents), 0)
        replay.apply(self.entry(4, "c", SON(commitTransaction=1)))
        self.assertEqual(len(replay.collections["d.c"].documents), 2)
        replay.apply(self.entry(5, "c", SON(applyOps=insert[2:], prepare=True)))
        replay.apply(self.entry(6, "c", SON(abortTransaction=1)))
        self.assertEqual((len(replay.collections["d.c"].documents), replay.prepared), (2, {}))

    def test_what_does_not_fit_is_an_error(self):
        replay = Replay()
        replay.apply(self.entry(1, "c", SON(create="c")))
        replay.apply(self.entry(2, "i", {"_id": 1}))
        for wrong in (self.entry(3, "i", {"_id": 1}), self.entry(3, "d", {"_id": 2}), self.entry(3, "u", {"x": 1}, o2={"_id": 2}),
                      self.entry(3, "c", SON(frobnicate=1)), self.entry(3, "c", SON(applyOps=[], count=1))):
            with self.assertRaises(AssertionError):
                replay.apply(wrong)

    def test_the_comparison_sees_every_difference(self):
        def state(*entries):
            replay = Replay()
            replay.apply(self.entry(1, "c", SON(create="c", idIndex={"name": "_id_"}), ui=1))
            for number, entry in enumerate(entries):
                replay.apply(self.entry(number + 2, *entry))
            return replay.state()

        one = state(("i", SON(_id=1, x=1, y=1)))
        self.assertEqual(compare(one, state(("i", SON(_id=1, x=1, y=1)))), "")
        self.assertIn("missing: 1", compare(one, state()))
        self.assertIn("too many: 2", compare(one, state(("i", SON(_id=1, x=1, y=1)), ("i", {"_id": 2}))))
        self.assertIn("other content: 1", compare(one, state(("i", SON(_id=1, x=2, y=1)))))
        self.assertIn("other content: 1", compare(one, state(("i", SON(_id=1, y=1, x=1)))))
        self.assertIn("d.c is missing", compare(one, {}))
        self.assertIn("d.c should not be there", compare({}, one))
        for change, message in ((lambda c: c.indexes.update(k={"key": {"k": 1}}), "an index k that"), (lambda c: c.indexes.clear(), "no index _id_"),
                                (lambda c: c.indexes.update(_id_={"name": "_id_", "unique": True}), "index _id_ is"),
                                (lambda c: c.options.update(max=4), "options"), (lambda c: setattr(c, "uuid", 2), "UUID")):
            other = state(("i", SON(_id=1, x=1, y=1)))
            change(other["d.c"])
            self.assertIn(message, compare(one, other))


class ByHand(TestCase):
    @classmethod
    def deploy(cls):
        print(f"seed {SEED}", flush=True)
        cls.set = ReplicaSet(cls.scratch, 3, "byhand", arguments=ARGUMENTS)
        cls.chronicle = Chronicle(cls.set, SEED).start()
        cls.chronicle.wait_steps(15)
        cls.chronicle.look()
        cls.chronicle.wait_steps(5)
        cls.base = cls.scratch.dir / "base"
        source = cls.set.secondaries()[0]
        cls.checkpoint, cls.copied = copy_with_cursor(source, cls.base)
        cls.chronicle.wait_steps(5)
        cls.chronicle.elect()
        cls.chronicle.wait_steps(10)
        cls.chronicle.look()
        cls.history = cls.chronicle.settle()
        raw = cls.set.wait_primary().client.local.get_collection("oplog.rs", codec_options=CodecOptions(document_class=RawBSONDocument))
        cls.raw = list(raw.find({"ts": {"$gt": cls.checkpoint}}))
        for member in cls.set.members:
            member.kill()

    def bring(self, until, name, without=None):
        """The base as of then, by the server's own recovery; what it holds, and the top of its oplog."""
        dbpath = self.scratch.dir / name / "db"
        shutil.copytree(self.base, dbpath)
        member = Member(self.scratch, name, dbpath=dbpath, arguments=QUIET)
        try:
            client = member.start().client
            point, top = client.local["replset.oplogTruncateAfterPoint"], top_of(client)
            point.delete_many({})
            # A recovery of 4.4 that finds the beginning of an index build without its end dies, and so it does of a build's abort: such
            # entries become no-ops.
            builds = self.history.unfinished_builds(until)
            for ts in builds:
                client.local["oplog.rs"].update_one({"ts": ts}, {"$set": {"op": "n"}})
            later = [noop(entry) if entry["ts"] in builds else entry for entry in self.raw if top < entry["ts"] <= until and entry["ts"] != without]
            for start in range(0, len(later), BATCH):
                answer = client.local.command("insert", "oplog.rs", documents=later[start:start + BATCH])
                self.assertNotIn("writeErrors", answer)
            if until < top:
                cut = self.history.times[self.history.position(until) - 1]
                point.update_one({"_id": "oplogTruncateAfterPoint"}, {"$set": {"oplogTruncateAfterPoint": cut}}, upsert=True)
            member.close_client()
            self.assertEqual(0, member.stop())
            member.start(arguments=(*RECOVER, *KEEP))
            member.close_client()
            self.assertEqual(0, member.stop())
            client = member.start().client
            return read_state(client), top_of(client)
        finally:
            member.kill()
            shutil.rmtree(dbpath, ignore_errors=True)

    def test_points_that_recovery_reaches_are_what_the_replay_says(self):
        chosen = random.Random(SEED)
        targets = pick(chosen, self.history, self.checkpoint, self.history.times[-1], POINTS,
                       {"the checkpoint": [self.checkpoint], "the copy's end": [self.copied], "an election": self.chronicle.elections})
        states = self.history.states([target.until for target in targets])
        with concurrent.futures.ThreadPoolExecutor(2) as pool:  # mostly it waits for a server to start
            results = list(pool.map(lambda numbered: self.bring(numbered[1].until, f"point-{numbered[0]}"), enumerate(targets)))
        for target, (found, top) in zip(targets, results, strict=True):
            with self.subTest(target=str(target)):
                self.assertEqual(compare(states[target.until], found), "", f"seed {SEED}, {target}")
                self.assertEqual(top, self.history.times[self.history.position(target.until) - 1])

    def test_an_entry_that_is_left_out_is_seen(self):
        """The comparison can fail: one insert of the later entries is kept back."""
        inserts = [entry for entry in self.history.entries if entry["ts"] > self.copied and entry["op"] == "i" and entry["ns"] == "app.orders"
                   and not any(other["op"] in "ud" and other["ts"] > entry["ts"] and entry["o"]["_id"] in (other.get("o2", other["o"]).get("_id"),)
                               for other in self.history.entries)]
        lost = inserts[-1]
        found, _ = self.bring(self.history.times[-1], "lost", without=lost["ts"])
        problem = compare(self.history.state(self.history.times[-1]), found)
        self.assertEqual(problem, f"app.orders: missing: {lost['o']['_id']!r} (1)")


if __name__ == "__main__":
    main()
