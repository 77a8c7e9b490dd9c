#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A stored oplog without a server: what it holds is found, what a restore would undo is counted, and a snapshot that was restored
from the store is brought to a point by the machine's own mongod."""
import shutil
import time

import harness
from bson import Timestamp
from harness import Member, TestCase, main, wait_for
from test_sandbox_recovery import QUIET, top_of


class OplogCommands(TestCase):
    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, agent_arguments=["--mongod", harness.member_binary()])
        cls.cli = cls.d.cli
        client = cls.d.set.members[0].client
        wait_for(lambda: any("/o/" in name for name in cls.d.server.objects()), "the oplog's first slice", 120, every=0.2)
        client.app.orders.insert_many([{"_id": i, "n": i} for i in range(100)])
        client.app.other.insert_one({"_id": "other"})
        cls.d.set.wait_checkpoint()
        cls.snapshot = cls.d.take()
        client.app.orders.insert_many([{"_id": 1000 + i} for i in range(50)])
        client.app.orders.update_one({"_id": 7}, {"$set": {"n": "good"}})
        cls.before = top_of(client)
        cls.good = client.app.command("dbHash")["collections"]
        time.sleep(2.1)  # the mistake lies in another second: a date is to stand before it
        client.app.orders.delete_many({"_id": {"$lt": 50}})
        client.app.other.drop()
        client.app.late.insert_one({"_id": "x"})
        cls.last = top_of(client)

        def saved():
            ranges = cls.cli("job", "ranges", "--set", cls.d.set.name)["results"]
            return any(Timestamp(one["end"]["seconds"], one["end"]["increment"]) >= cls.last for one in ranges)

        wait_for(saved, "the oplog to be stored", 120, every=0.5)

    def on_store(self, *words):
        """A command with the store's URL and key."""
        return self.cli("store", words[0], self.d.server.store, *self.d.server.key_arguments(), *words[1:])

    def test_the_moment_before_the_mistake_is_found(self):
        found = self.on_store("find", "--ns", "app.other", "--kind", "command")["results"]
        self.assertEqual([("create", "app.other"), ("drop", "app.other")], [(one["what"], one["namespace"]) for one in found])
        drop = found[-1]
        self.assertGreater(drop["seconds"], self.before.time)
        found = self.on_store("find", "--ns", "app.orders", "--id", "7")["results"]
        self.assertEqual(["insert", "update", "delete"], [one["kind"] for one in found])
        deletes = self.on_store("find", "--ns", "app.orders", "--kind", "delete", "--limit", "10")
        self.assertEqual((50, 10), (deletes["totalCount"], len(deletes["results"])))
        # 150 inserts, one update, 50 deletes, and the collection was made.
        minutes = self.on_store("find", "--ns", "app.orders", "--per-minute")
        self.assertEqual(202, sum(one["operations"] for one in minutes["results"]))
        after = self.on_store("find", "--ns", "app.orders", "--from", f"{self.before.time}.{self.before.inc}")
        self.assertEqual(50, after["totalCount"])
        self.cli.fails(2, "kind 'x' is none of", "store", "find", self.d.server.store, *self.d.server.key_arguments(), "--kind", "x")

    def test_what_a_restore_would_undo_is_counted(self):
        words = [f"{self.before.time}.{self.before.inc}", f"{self.last.time}.{self.last.inc}"]
        sums = {one["namespace"]: one for one in self.on_store("diff", *words)["results"]}
        self.assertEqual(50, sums["app.orders"]["delete"])
        self.assertEqual(0, sums["app.orders"]["insert"])
        self.assertEqual(1, sums["app.other"]["command"])
        self.assertEqual(1, sums["app.late"]["insert"])
        self.cli.fails(2, "is not before", "store", "diff", self.d.server.store, *words[::-1], *self.d.server.key_arguments())

    def test_a_restored_snapshot_is_brought_to_the_point(self):
        key = self.d.server.key_arguments()
        target = self.scratch.dir / "applied" / "db"
        target.parent.mkdir()
        self.cli("store", "restore", self.d.server.store, *key, "--snapshot", self.snapshot["id"], "--to", target)
        apply = ["oplog", "apply", "--dbpath", target, "--store", self.d.server.store, *key, "--mongod", harness.member_binary()]
        self.cli.fails(2, "which point", *apply)
        self.cli.fails(3, "cannot be restored", *apply, "--oplog-ts", f"{self.last.time + 100000}.1")
        self.cli.fails(2, "is not a program that can be started", *apply[:-1], "/nowhere/mongod", "--oplog-ts", f"{self.before.time}.{self.before.inc}")
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.before.time + 1))
        done = self.cli(*apply, "--until", until)
        self.assertFalse(done["doneBefore"])
        self.assertGreaterEqual(done["inserted"], 1)
        self.assertGreaterEqual(Timestamp(done["topS"], done["topIncrement"]), self.before)
        self.assertTrue(self.cli(*apply, "--until", until)["doneBefore"])
        self.cli.fails(6, "cannot be brought on to", *apply, "--oplog-ts", f"{self.last.time}.{self.last.inc}")
        member = Member(self.scratch, "applied", dbpath=target, arguments=QUIET)
        client = member.start().client
        self.assertEqual(self.good, client.app.command("dbHash")["collections"])
        self.assertEqual(150, client.app.orders.count_documents({}))
        member.close_client()
        self.assertEqual(0, member.stop())
        shutil.rmtree(target)


if __name__ == "__main__":
    main()
