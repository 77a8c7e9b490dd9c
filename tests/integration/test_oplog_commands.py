#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A stored oplog, straight in its store and over the API: what it holds is found, what a restore would undo is counted, and a
snapshot that was restored from the store is brought to a point by the machine's own mongod."""
import shutil
import socket
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
        # More than fits into the first two pages that a replay asks a server for.
        client.app.orders.insert_many([{"_id": 1000 + i, "pad": "p" * 8000} for i in range(50)])
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

    def on_store(self, verb, *words):
        """Straight in the store; the server must say the same."""
        there = self.cli("oplog", verb, *self.store_arguments(), *words)
        served = self.cli("oplog", verb, "--set", self.d.set.name, *words)
        served.pop("links", None)
        self.assertEqual(served, there)
        texts = [self.cli.run("oplog", verb, *where, *words).out for where in (self.store_arguments(), ["--set", self.d.set.name])]
        self.assertEqual(*texts)
        return there

    def store_arguments(self):
        return ["--store", self.d.server.store, *self.d.server.key_arguments()]

    def up_to_last(self):
        return ["--to", f"{self.last.time}.{self.last.inc}"]

    def test_the_moment_before_the_mistake_is_found(self):
        to = self.up_to_last()
        found = self.on_store("find", "--ns", "app.other", "--kind", "command", *to)["results"]
        self.assertEqual([("create", "app.other"), ("drop", "app.other")], [(one["command"], one["ns"]) for one in found])
        drop = found[-1]
        self.assertGreater(drop["seconds"], self.before.time)
        found = self.on_store("find", "--ns", "app.orders", "--id", "7", *to)["results"]
        self.assertEqual(["insert", "update", "delete"], [one["kind"] for one in found])
        deletes = self.on_store("find", "--ns", "app.orders", "--kind", "delete", "--limit", "10", *to)
        self.assertEqual((10, True), (len(deletes["results"]), deletes["more"]))
        deletes = self.on_store("find", "--ns", "app.orders", "--kind", "delete", "--limit", "50", *to)
        self.assertEqual((50, False), (len(deletes["results"]), deletes["more"]))
        # 150 inserts, one update, 50 deletes, and the collection was made.
        minutes = self.on_store("find", "--ns", "app.orders", "--per-minute", *to)["results"]
        kinds = ("insert", "update", "delete", "command")
        self.assertEqual([150, 1, 50, 1], [sum(one.get(kind, 0) for one in minutes) for kind in kinds])
        after = self.on_store("find", "--ns", "app.orders", "--from", f"{self.before.time}.{self.before.inc}", *to)
        self.assertEqual(50, after["totalCount"])
        for where in (self.store_arguments(), ["--set", self.d.set.name]):
            self.cli.fails(2, "kind 'x' is none of", "oplog", "find", *where, "--kind", "x")
        self.cli.fails(2, "a store does not know sets", "oplog", "find", "rs0", *self.store_arguments())
        self.cli.fails(2, "go with --store", "oplog", "find", "rs0", *self.d.server.key_arguments())
        self.cli.fails(2, "--set is missing, or --store", "oplog", "find")

    def test_what_a_restore_would_undo_is_counted(self):
        words = [f"{self.before.time}.{self.before.inc}", f"{self.last.time}.{self.last.inc}"]
        there = self.on_store("diff", "--from", words[0], "--to", words[1])
        self.assertEqual(there, self.cli("oplog", "diff", *self.store_arguments(), *words))
        self.assertEqual(there["results"], self.cli("oplog", "diff", self.d.set.name, *words)["results"])
        sums = {one["ns"]: one for one in there["results"]}
        self.assertEqual({"ns": "app.orders", "delete": 50}, sums["app.orders"])
        self.assertEqual(1, sums["app.other"]["command"])
        self.assertEqual(1, sums["app.late"]["insert"])
        self.cli.fails(2, "is not before", "oplog", "diff", *self.store_arguments(), *words[::-1])
        self.cli.fails(2, "say it in one way", "oplog", "diff", *self.store_arguments(), *words, "--to", words[1])

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
        self.expect_good(target)

    def expect_good(self, target):
        member = Member(self.scratch, target.parent.name, dbpath=target, arguments=QUIET)
        try:
            client = member.start().client
            self.assertEqual(self.good, client.app.command("dbHash")["collections"])
            self.assertEqual(150, client.app.orders.count_documents({}))
            member.close_client()
            self.assertEqual(0, member.stop())
        finally:
            member.kill()
        shutil.rmtree(target)

    def test_a_server_hands_out_the_entries_also_when_it_is_away_for_a_while(self):
        target, server = self.scratch.dir / "served" / "db", self.d.server
        target.parent.mkdir()
        self.cli("store", "restore", server.store, *server.key_arguments(), "--snapshot", self.snapshot["id"], "--to", target)
        # Its first start as a server, when no entry was asked for yet, waits until the test says so.
        program, go, here = (target.parent / name for name in ("mongod", "go", "here"))
        program.write_text(f"#!/bin/sh\ncase \"$*\" in *replay-fill*) : >'{here}'; while [ ! -e '{go}' ]; do sleep 0.05; done;; esac\n"
                           f"exec '{harness.member_binary()}' \"$@\"\n")
        program.chmod(0o755)
        apply = ["oplog", "apply", "--dbpath", target, "--mongod", program]
        to = ["--oplog-ts", f"{self.before.time}.{self.before.inc}"]
        self.cli.fails(2, "go with --store, which is missing", *apply, *to, *server.key_arguments())
        self.cli.fails(3, "cannot be restored: .*nearest instants", *apply, "--oplog-ts", f"{self.last.time + 100000}.1")
        self.cli.fails(3, "there is no snapshot|no snapshot", *apply, *to, "--snapshot", "5" * 24)
        self.assertFalse(here.exists())
        running = self.cli.begin(*apply, *to)
        try:
            wait_for(here.exists, "the replay's first server", 60, every=0.05)
            server.kill()
            with socket.create_server(("127.0.0.1", server.port)) as deaf:
                deaf.settimeout(60)
                go.touch()
                deaf.accept()[0].close()  # it has asked, and was hung up on
            server.start()
            done = self.cli.finish(running)
        finally:
            running.kill()
            if not server.alive():
                server.start()
        self.assertEqual(0, done.code, done.err)
        self.assertEqual((done.json["topS"], done.json["topIncrement"]), (self.before.time, self.before.inc))
        self.assertGreaterEqual(done.json["inserted"], 50)
        self.assertGreater(done.json["insertedBytes"], 400_000)
        self.expect_good(target)


if __name__ == "__main__":
    main()
