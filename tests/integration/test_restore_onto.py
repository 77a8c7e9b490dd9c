#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A restore onto files that a database has used since: through the agent, and from the store alone.

A snapshot is restored, a member runs on the files and changes them, stops, and the snapshot is restored onto them: what was
written is little, and the data are the snapshot's again.
"""
import os
import pathlib
import signal
import unittest

import harness
from harness import checkpoint_of, compare_states, state_of, wait_for

MARK = ".holdfast-restore-incomplete"
PLAIN = ["--setParameter", "disableLogicalSessionCacheRefresh=true"]
# What a database may leave that is no part of its data.
KEPT = ("diagnostic.data",)


def content_of(directory):
    directory = pathlib.Path(directory)
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*"))
            if path.is_file() and path.relative_to(directory).parts[0] not in KEPT}


class RestoreOnto(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch)
        cls.cli = cls.d.cli
        cls.writer = harness.Writer(cls.d.set).load(4000)
        cls.d.set.wait_checkpoint()
        cls.first = cls.d.take()
        cls.writer.load(2000)
        cls.d.set.wait_checkpoint()
        cls.second = cls.d.take()

    def alone(self, directory, name):
        return harness.Member(self.scratch, name, dbpath=directory, arguments=PLAIN).start()

    def end(self, member):
        member.close_client()
        self.assertEqual(member.stop(), 0, member.tail())

    def change(self, member):
        """Some documents, a collection more and one less: files of all sorts come, change and go."""
        orders = member.client.app.orders
        for document in list(orders.find().limit(40)):
            orders.update_one({"_id": document["_id"]}, {"$set": {"touched": "x" * 300}})
        member.client.more.things.insert_many([{"_id": i, "pad": os.urandom(100)} for i in range(300)])
        member.client.app.people.drop()
        member.client.admin.command("fsync")

    def onto(self, snapshot, directory, *words):
        record = self.cli("restore", "start", "--snapshot", snapshot["id"], "--to", directory, "--onto", *words)
        self.assertEqual(record["state"], "FINISHED", record)
        return record

    def check(self, directory, snapshot, clean, hashes):
        self.assertEqual(content_of(directory), clean)
        with harness.opened(self.scratch, directory) as member:
            self.assertEqual(harness.hashes_of(member.client, "app"), hashes)
            self.assertEqual(compare_states(self.writer.state_at(checkpoint_of(snapshot)), state_of(member.client, "app")), "")
            self.assertNotIn("more", member.client.list_database_names())

    def test_a_used_directory_becomes_the_snapshot_again(self):
        directory = self.d.restore(self.second["id"], "used")
        clean = content_of(directory)
        with harness.opened(self.scratch, directory) as member:
            hashes = harness.hashes_of(member.client, "app")
        member = self.alone(directory, "user")
        self.change(member)
        self.assertNotEqual(harness.hashes_of(member.client, "app"), hashes)
        # While it runs it is left alone.
        before = {path for path in directory.rglob("*.wt")}
        self.cli.fails(6, "a database or a restore uses the directory: lock .*mongod.lock: process", "restore", "start", "--snapshot",
                       self.second["id"], "--to", directory, "--onto")
        self.assertFalse((directory / MARK).exists())
        self.assertEqual({path for path in directory.rglob("*.wt")}, before)
        self.assertEqual(member.client.more.things.count_documents({}), 300)
        self.end(member)
        record = self.onto(self.second, directory)
        self.assertEqual((record["files"], record["bytes"]), (len(clean) - 1, self.second["bytes"]))
        self.assertLess(record["writtenBytes"], self.second["bytes"])
        self.assertGreater(record["removedFiles"], 0)
        self.check(directory, self.second, clean, hashes)
        # Nothing is left to be written but what was made unreadable meanwhile.
        again = self.onto(self.second, directory)
        self.assertLess(again["writtenBytes"], 1024)
        self.check(directory, self.second, clean, hashes)

    def test_from_one_snapshot_to_the_other_and_after_a_kill(self):
        key = self.d.server.key_arguments()
        directory = self.d.restore(self.first["id"], "other")
        clean = content_of(self.d.restore(self.second["id"], "clean"))
        with harness.opened(self.scratch, self.d.restore_root / "clean") as member:
            hashes = harness.hashes_of(member.client, "app")
        member = self.alone(directory, "killed")
        self.change(member)
        member.close_client()
        member.kill()
        wait_for(lambda: not member.alive(), "the member to be gone")
        result = self.cli("store", "restore", self.d.server.store, *key, "--snapshot", self.second["id"], "--to", directory, "--onto")
        self.assertTrue(result["onto"])
        self.check(directory, self.second, clean, hashes)
        text = self.cli.run("store", "restore", self.d.server.store, *key, "--snapshot", self.second["id"], "--to", directory, "--onto").out
        self.assertRegex(text, r"files, [\d.]+ MiB \(\d+ B written\)\n$")

    def test_a_database_does_not_start_on_a_mixture(self):
        """What a death in the middle leaves. Only the real server reads storage.bson so strictly that it refuses."""
        key = self.d.server.key_arguments()
        directory = self.d.restore(self.second["id"], "mixture")
        clean = content_of(directory)
        words = ("store", "restore", self.d.server.store, *key, "--snapshot", self.second["id"], "--to", directory, "--onto")
        name = max((name for name in clean if name.endswith(".wt")), key=lambda name: len(clean[name]))
        (directory / name).write_bytes(b"no table")
        died = self.cli.run(*words, env={"HOLDFAST_FAULTS": "snapshot.restore.write:2=die"})
        self.assertEqual(died.code, -signal.SIGKILL, died.err)
        self.assertTrue((directory / MARK).exists())
        if os.environ.get("HOLDFAST_TEST_MONGOD"):
            with self.assertRaises(AssertionError):
                self.alone(directory, "mixed")
        self.cli.fails(4, "holds a restore that did not end; hint: .*--onto", *words[:-1])
        self.cli(*words)
        self.assertEqual(content_of(directory), clean)

    def test_what_is_not_a_databases_is_named(self):
        directory = self.d.restore(self.second["id"], "notes")
        clean = content_of(directory)
        (directory / "notes.txt").write_text("mine\n")
        start = ("restore", "start", "--snapshot", self.second["id"], "--to", directory)
        self.cli.fails(6, "not the snapshot's: notes.txt; hint: ", *start, "--onto")
        self.onto(self.second, directory, "--leave-foreign")
        self.assertEqual(content_of(directory), {**clean, "notes.txt": b"mine\n"})
        empty = self.d.restore_root / "nothing"
        empty.mkdir()
        self.cli.fails(6, "holds neither an earlier restore nor a database's files", "restore", "start", "--snapshot", self.second["id"],
                       "--to", empty, "--onto")
        self.cli.fails(2, "--leave-foreign to --onto", *start, "--leave-foreign")


if __name__ == "__main__":
    unittest.main()
