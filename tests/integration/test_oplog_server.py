#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tail of a job from the server's side, with real agents: whatever goes away, the chain has every entry once.

That is counted: the head says how many entries its chain has, and the source's oplog how many there are from the chain's first entry to
the head's.
"""
import json
import pathlib
import sqlite3
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import bson
import harness
from harness import wait_for


class OplogServer(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.store = cls.scratch.dir / "oplog"
        cls.d = harness.Deployment(cls.scratch, 3, server_arguments=["--oplog-store", f"file://{cls.store}", "--oplog-slice-age", "1s", "--oplog-check-interval", "1s"])
        cls.cli, cls.server, cls.set = cls.d.cli, cls.d.server, cls.d.set
        cls.writer = harness.Writer(cls.set)
        cls.writer.load(50)

    def head(self):
        return self.cli("job", "show", "--set", "rs0").get("oplog", {})

    def write(self, count=20):
        """So many documents, known to a majority; the timestamp of an entry that came after them."""
        self.set.wait_primary()
        client = self.set.client(w="majority")
        client.app.marks.insert_many([{"n": i} for i in range(count)])
        return list(client.local["oplog.rs"].find({"ns": "app.marks"}).sort("$natural", -1).limit(1))[0]["ts"]

    def saved(self, ts, limit=120):
        """Waits until the entry is saved, and counts."""
        def there():
            head = self.head()
            last = head.get("last", {"seconds": 0, "increment": 0})
            return head if (last["seconds"], last["increment"]) >= (ts.time, ts.inc) else None
        head = wait_for(there, f"entry {ts} to be saved", limit, every=0.2)
        first, last = (bson.Timestamp(one["seconds"], one["increment"]) for one in (head["chainFirst"], head["last"]))
        count = len(list(self.set.wait_primary().client.local["oplog.rs"].find({"ts": {"$gte": first, "$lte": last}})))
        self.assertEqual(head["sequence"], count, "entries of the chain, and of the source")
        return head

    def check_unbroken(self, before, after):
        self.assertEqual(after["chainFirst"], before["chainFirst"])
        self.assertEqual(self.cli("event", "list", "--kind", "OPLOG_GAP")["results"], [])

    def test_a_member_that_is_killed_is_followed_by_another(self):
        before = self.saved(self.write())
        member = self.set.by_host(before["member"])
        self.assertFalse(member.is_primary(), "a secondary is tailed where there is one")
        member.kill()
        after = self.saved(self.write())
        self.assertNotEqual(after["member"], before["member"])
        self.check_unbroken(before, after)
        member.start()
        self.d.wait_states()

    def test_the_server_goes_and_comes_back(self):
        before = self.saved(self.write())
        self.server.stop()
        self.write()
        self.server.start()
        self.check_unbroken(before, self.saved(self.write()))

    def test_a_killed_server_whose_catalog_lost_the_head_finds_it_in_the_store(self):
        before = self.saved(self.write())
        self.server.kill()
        with sqlite3.connect(self.server.data / "catalog.sqlite") as catalog:
            tables = [name for name, in catalog.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            lost = 0
            for table in tables:
                columns = [row[1] for row in catalog.execute(f"PRAGMA table_info('{table}')")]
                for column in columns:
                    lost += catalog.execute(f"DELETE FROM \"{table}\" WHERE CAST(\"{column}\" AS TEXT) LIKE '%chainFirst%'").rowcount
        catalog.close()
        self.assertEqual(lost, 1)
        ts = self.write()
        self.server.start()
        after = self.saved(ts)
        self.check_unbroken(before, after)
        self.assertTrue(self.server.logged(r"oplog\.head\.found set=rs0"))

    def test_a_store_that_is_away_makes_the_tail_wait(self):
        before = self.saved(self.write())
        away = self.store.with_name("away")
        self.store.rename(away)
        try:
            ts = self.write()
            wait_for(lambda: "has no mark" in self.head().get("problem", ""), "the store to be missed", 120)
            last = self.head()["last"]
            self.assertLess((last["seconds"], last["increment"]), (ts.time, ts.inc), "nothing of it counts as saved")
        finally:
            if self.store.exists():
                self.fail(f"something was made where the store was: {list(self.store.rglob('*'))}")
            away.rename(self.store)
        after = self.saved(ts)
        self.check_unbroken(before, after)

    def test_the_oplog_store_alone_has_the_keys(self):
        self.saved(self.write())
        names = sorted(str(path.relative_to(self.store)) for path in self.store.rglob("*") if path.is_file() and not path.name.startswith("."))
        kinds = {name.split("/")[2] for name in names if name.startswith("j/")}
        self.assertEqual(kinds, {"k", "o"})
        self.assertEqual(kinds & {name.split("/")[2] for name in self.server.objects() if name.startswith("j/")}, {"k"})
        shown = self.cli.run("job", "show", "--set", "rs0")
        self.assertIn("unbroken", shown.out)
        self.assertTrue(json.dumps(self.cli("server", "status")["stores"]).count("oplog") >= 1)

    def check(self):
        """By hand; one on schedule may be under way."""
        def ended():
            answer = self.cli.run("oplog", "check", "--set", "rs0", "--json")
            return None if "is under way" in answer.err else answer
        return wait_for(ended, "a check", 120)

    def check_store(self):
        return self.cli.run("oplog", "check", "--store", self.server.store, "--oplog-store", f"file://{self.store}", "--json", *self.server.key_arguments())

    def fault(self, kind):
        """The one that both ways of checking find."""
        answers = [self.check(), self.check_store()]
        for answer in answers:
            self.assertEqual((answer.code, answer.json["ok"], [one["kind"] for one in answer.json["faults"]]), (8, False, [kind]), answer.err)
            self.assertIn("1 faults", answer.err)
        return answers[0].json["faults"][0]

    def spans(self, ts):
        """A range promises the instant."""
        at = (ts.time, ts.inc)
        edge = lambda one: (one["seconds"], one["increment"])
        return [one for one in self.cli("job", "ranges", "--set", "rs0")["results"] if edge(one["start"]) <= at < edge(one["end"])]

    def test_z_a_check_finds_what_is_damaged_and_what_is_missing(self):
        self.saved(self.write())
        self.cli("snapshot", "take", "--set", "rs0")
        first, ts, last = (self.saved(self.write()) and self.write() for _ in range(3))
        head = self.saved(last)
        whole = self.check()
        self.assertEqual((whole.code, whole.json["faults"]), (0, []), whole.err)
        self.assertGreaterEqual(whole.json["entries"], head["sequence"])
        self.assertEqual(self.check_store().code, 0)
        self.assertTrue(self.spans(ts))
        wait_for(lambda: not self.cli("job", "show", "--set", "rs0")["oplogCheck"]["byHand"], "a check on schedule", 120)
        # The slice that holds the entry, as names say.
        path = min(path for path in self.store.rglob("*") if path.parent.name == "o" and path.name[:16] >= f"{ts.time:08x}{ts.inc:08x}")
        name = str(path.relative_to(self.store))
        sound = path.read_bytes()
        damaged = bytearray(sound)
        damaged[40] ^= 1
        aside = path.with_name(".aside")
        aside.write_bytes(damaged)
        aside.rename(path)
        fault = self.fault("damaged")
        self.assertEqual(fault["object"], name)
        self.assertLess((fault["lostAfter"]["seconds"], fault["lostAfter"]["increment"]), (ts.time, ts.inc))
        self.assertGreater((fault["lostUntil"]["seconds"], fault["lostUntil"]["increment"]), (ts.time, ts.inc))
        self.assertEqual(self.spans(ts), [], "a range over a slice that cannot be read")
        events = self.cli("event", "list", "--kind", "OPLOG_DAMAGED")["results"]
        self.assertEqual([name in one["text"] for one in events], [True], events)
        wait_for(lambda: [one for one in self.cli("snapshot", "list")["results"] if one["state"] == "COMPLETE" and name in one.get("description", "")],
                 "the snapshot that the damage asks for", 120)
        # It comes back; another one goes.
        aside.write_bytes(sound)
        aside.rename(path)
        self.assertEqual(self.check().json["faults"], [])
        self.assertTrue(self.spans(ts))
        path.rename(aside)
        fault = self.fault("missing")
        self.assertIn("no slice holds the entries after", fault["text"])
        self.assertEqual(self.spans(ts), [])
        self.assertRegex(self.cli.run("job", "show", "rs0").out, r"checked +20.* UTC, \d+ slices, .*: 1 faults")
        aside.rename(path)
        self.assertEqual(self.check().code, 0)
        self.assertRegex(self.cli.run("oplog", "check", "rs0").out, r"^\d+ slices, \d+ entries, .*: whole\n$")


if __name__ == "__main__":
    harness.main()
