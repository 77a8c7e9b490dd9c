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
        cls.d = harness.Deployment(cls.scratch, 3, server_arguments=["--oplog-store", f"file://{cls.store}", "--oplog-slice-age", "1s"])
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
        self.assertEqual(self.cli("event", "list", "--type", "OPLOG_GAP")["results"], [])

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


if __name__ == "__main__":
    harness.main()
