#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The start as recovery (mongodb-observed.md 3 and 6), on the sandbox or on the mongod that HOLDFAST_TEST_MONGOD names: what a copy shows
plainly, what the two parameters make of it, entries added by hand, points in time, a set from restored files, and the fatal ends."""
import shutil

import bson
import pymongo
from bson import ObjectId, Timestamp
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.son import SON
from pymongo.errors import OperationFailure

from harness import Member, ReplicaSet, TestCase, main, wait_for
from test_sandbox_transactions import ARGUMENTS, Words

RECOVER = ("--setParameter", "recoverFromOplogAsStandalone=true")
KEEP = ("--setParameter", "takeUnstableCheckpointOnShutdown=true")
QUIET = ("--setParameter", "disableLogicalSessionCacheRefresh=true")
CAPPED = "ring"


def top_of(client):
    return client.local["oplog.rs"].find().sort("$natural", -1).limit(1)[0]["ts"]


def hashes(client):
    """Collection hashes of the database that was written to; a capped one that overflowed does not come back exactly."""
    found = client.app.command("dbHash")["collections"]
    return {name: value for name, value in found.items() if name != CAPPED}


def write_more(client, mark):
    """Every kind of change that a command of ours can make."""
    app = client.app
    app.a.insert_many([{"_id": f"{mark}-{i}", "n": i} for i in range(50)])
    app.a.update_many({"n": {"$lt": 10}}, {"$set": {"mark": mark}, "$unset": {"gone": 1}})
    app.a.delete_many({"n": {"$gte": 40}})
    app.a.replace_one({"_id": 1}, {"whole": mark})
    app[CAPPED].insert_many([{"m": mark, "i": i} for i in range(20)])
    app[f"new_{mark}"].insert_one({"_id": 1})
    app.a.create_index([(f"by_{mark}", 1)], name=f"by_{mark}")
    app[f"new_{mark}"].rename(f"renamed_{mark}")
    app[f"lost_{mark}"].insert_one({"_id": 1})
    app[f"lost_{mark}"].drop()
    client[f"db_{mark}"].c.insert_one({"_id": 1})
    client.drop_database(f"db_{mark}")
    with client.start_session() as session:
        for count in (3, 20):  # in one entry, in several
            with session.start_transaction():
                app.a.insert_many([{"_id": f"t{count}-{mark}-{i}"} for i in range(count)], session=session)
                app.a.update_one({"_id": 1}, {"$set": {"t": mark}}, session=session)
    words = Words(client.address[1])
    words.begin([("insert", "a"), ("documents", [{"_id": f"p-{mark}-{i}"} for i in range(9)])])
    words.commit_prepared(words.prepare())
    words.begin([("insert", "a"), ("documents", [{"_id": f"no-{mark}"}])])
    words.prepare()
    words.abort()


class Recovery(TestCase):
    @classmethod
    def deploy(cls):
        """A copy through the backup cursor, extended; the source goes on afterwards, and what it wrote is read from its oplog."""
        source = ReplicaSet(cls.scratch, 1, "recover", arguments=ARGUMENTS).members[0]
        client = source.client
        client.app.create_collection(CAPPED, capped=True, size=4096, max=10)
        write_more(client, "checkpoint")
        client.admin.command("appendOplogNote", data={"the": "checkpoint is to pass this"})
        passed = top_of(client)

        def stable():
            status = client.admin.command("serverStatus")["storageEngine"]
            return status["oldestRequiredTimestampForCrashRecovery"] >= passed

        wait_for(stable, "a checkpoint")
        cursor = client.admin.command(SON([("aggregate", 1), ("pipeline", [{"$backupCursor": {}}]), ("cursor", {})]))["cursor"]
        documents = [document for document in cursor["firstBatch"] if "filename" in document]
        cls.checkpoint = cursor["firstBatch"][0]["metadata"]["checkpointTimestamp"]
        cls.at_checkpoint = hashes(client)
        client.app.a.insert_many([{"_id": f"early-{i}"} for i in range(5)])
        client.app.a.update_one({"_id": 1}, {"$set": {"early": 1}})
        cls.early, cls.at_early = top_of(client), hashes(client)
        write_more(client, "copied")
        cls.middle, cls.at_middle = top_of(client), hashes(client)
        write_more(client, "also")
        backup_id = cursor["firstBatch"][0]["metadata"]["backupId"]
        majority = client.admin.command("hello")["lastWrite"]["majorityOpTime"]["ts"]
        extended = client.admin.command(SON([("aggregate", 1), ("cursor", {}), ("pipeline", [
            {"$backupCursorExtend": {"backupId": bson.Binary(backup_id.bytes, 4), "timestamp": majority}}])]))["cursor"]
        cls.end, cls.at_end = top_of(client), hashes(client)
        names = {document["filename"] for document in documents} | {document["filename"] for document in extended["firstBatch"]}
        cls.copied = cls.scratch.dir / "copied"
        for name in names:
            target = cls.copied / name[len(str(source.dbpath.resolve())) + 1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)
        client.admin.command(SON([("killCursors", "$cmd.aggregate"), ("cursors", [cursor["id"]])]))
        write_more(client, "later")
        cls.last, cls.at_last = top_of(client), hashes(client)
        raw = client.local.get_collection("oplog.rs", codec_options=CodecOptions(document_class=RawBSONDocument))
        cls.entries = list(raw.find({"ts": {"$lte": cls.last}}))
        source.kill()

    def copy(self, name):
        """A plain standalone on a fresh copy, not started."""
        dbpath = self.scratch.dir / name / "db"
        shutil.copytree(self.copied, dbpath)
        return Member(self.scratch, name, dbpath=dbpath, arguments=QUIET)

    def restart(self, member, *arguments):
        member.close_client()
        if member.alive():
            self.assertEqual(0, member.stop())
        return member.start(arguments=arguments).client

    def fails(self, member, *arguments):
        """What a start that ends by itself says."""
        member.close_client()
        if member.alive():
            self.assertEqual(0, member.stop())
        member.log.unlink(missing_ok=True)
        with self.assertRaises(AssertionError):
            member.start(arguments=arguments)
        self.assertNotEqual(0, member.wait())
        said = member.log.read_text(errors="replace")
        member.log.unlink()  # its own words about its end are no finding
        return said

    def add_later_entries(self, client):
        top = top_of(client)
        later = [entry for entry in self.entries if entry["ts"] > top]
        self.assertTrue(later)
        client.local.command("insert", "oplog.rs", documents=later)
        client.local["replset.oplogTruncateAfterPoint"].delete_many({})
        self.assertEqual(self.last, top_of(client))

    def test_a_copy_shows_the_checkpoint_and_the_parameters_its_top(self):
        member = self.copy("b")
        client = self.restart(member)
        self.assertEqual(self.at_checkpoint, hashes(client))
        self.assertGreaterEqual(top_of(client), self.end)
        self.assertGreater(self.end, self.checkpoint)
        client.local["replset.oplogTruncateAfterPoint"].delete_many({})  # a primary's may lie below the end
        client = self.restart(member, *RECOVER, *KEEP)
        self.assertEqual(self.at_end, hashes(client))
        with self.assertRaises(OperationFailure) as refused:
            client.app.a.insert_one({"_id": "no"})
        self.assertEqual(20, refused.exception.code)
        client = self.restart(member)
        self.assertEqual(self.at_end, hashes(client))
        client = self.restart(member, *RECOVER, *KEEP)  # again is harmless
        self.assertEqual(self.at_end, hashes(client))

    def test_without_the_second_parameter_nothing_is_kept(self):
        """The real server cannot be asked for more on such a copy: an index that was built meanwhile is in its catalog, unfinished."""
        member = self.copy("passing")
        client = self.restart(member)
        client.local["replset.oplogTruncateAfterPoint"].delete_many({})
        client = self.restart(member, *RECOVER)
        self.assertEqual(self.at_end, hashes(client))
        client = self.restart(member)
        self.assertEqual(self.at_checkpoint, hashes(client))

    def test_a_point_in_time(self):
        member = self.copy("c")
        client = self.restart(member)
        client.local["replset.oplogTruncateAfterPoint"].update_one(
            {"_id": "oplogTruncateAfterPoint"}, {"$set": {"oplogTruncateAfterPoint": self.middle}}, upsert=True)
        client = self.restart(member, *RECOVER, *KEEP)
        self.assertEqual(self.at_middle, hashes(client))
        client = self.restart(member)
        self.assertEqual(self.at_middle, hashes(client))
        self.assertEqual(self.middle, top_of(client))
        point = client.local["replset.oplogTruncateAfterPoint"].find_one()
        self.assertEqual(Timestamp(0, 0), point["oplogTruncateAfterPoint"])

    def test_a_look_at_a_point_in_time(self):
        """One before the first index build: the real server dies of one that it has to do while it is read-only."""
        member = self.copy("d")
        at = f"recoverToOplogTimestamp={{timestamp: Timestamp({self.early.time}, {self.early.inc})}}"
        look = ("--queryableBackupMode", "--setParameter", at)
        self.assertIn("the storage metadata file was not found", self.fails(member, *look))
        self.restart(member)
        client = self.restart(member, *look)
        self.assertEqual(self.at_early, hashes(client))
        self.assertGreaterEqual(top_of(client), self.end)
        with self.assertRaises(OperationFailure) as refused:
            client.app.a.insert_one({"_id": "no"})
        self.assertEqual(20, refused.exception.code)
        client = self.restart(member)  # it looks read-only, but a clean stop keeps what was replayed
        self.assertEqual(self.at_early, hashes(client))
        self.assertGreaterEqual(top_of(client), self.end)

    def test_entries_beyond_the_copy(self):
        member = self.copy("e")
        client = self.restart(member)
        self.add_later_entries(client)
        client = self.restart(member, *RECOVER, *KEEP)
        self.assertEqual(self.at_last, hashes(client))
        self.assertEqual(self.last, top_of(client))
        minimum = client.local["replset.minvalid"].find_one()
        self.assertEqual(self.last, minimum["begin"]["ts"])
        client = self.restart(member)
        self.assertEqual(self.at_last, hashes(client))
        self.assertTrue(client.app.command("validate", "a", full=True)["valid"])

    def test_a_set_from_the_restored_files(self):
        member = self.copy("f")
        client = self.restart(member)
        self.add_later_entries(client)
        self.restart(member, *RECOVER, *KEEP)
        client = self.restart(member)
        local = client.local
        for name in ("election", "minvalid", "initialSyncId", "oplogTruncateAfterPoint"):
            local.drop_collection(f"replset.{name}")
        with self.assertRaises(OperationFailure) as refused:
            local.drop_collection("system.replset")
        self.assertEqual(20, refused.exception.code)
        local["system.replset"].delete_many({})
        local["system.replset"].insert_one(SON([
            ("_id", "restored"), ("version", 1), ("term", bson.Int64(1)), ("protocolVersion", bson.Int64(1)),
            ("writeConcernMajorityJournalDefault", True), ("members", [{"_id": 0, "host": member.host}]),
            ("settings", {"replicaSetId": ObjectId()})]))
        local["replset.minvalid"].insert_one(SON([("_id", ObjectId()), ("t", bson.Int64(-1)), ("ts", Timestamp(0, 1))]))
        client = self.restart(member, "--replSet", "restored")
        wait_for(member.is_primary, "a primary on the restored files")
        self.assertEqual(self.at_last, hashes(client))
        client.get_database("app", write_concern=pymongo.WriteConcern(w="majority")).a.insert_one({"_id": "after"})

    def test_a_new_set_without_the_old_history(self):
        member = self.copy("g")
        client = self.restart(member)
        client.local["replset.oplogTruncateAfterPoint"].delete_many({})
        self.restart(member, *RECOVER, *KEEP)
        client = self.restart(member)
        client.drop_database("local")
        client = self.restart(member, "--replSet", "fresh")
        client.admin.command("replSetInitiate", {"_id": "fresh", "members": [{"_id": 0, "host": member.host}]})
        wait_for(member.is_primary, "a primary of the new set")
        self.assertEqual(self.at_end, hashes(client))

    def test_entries_added_after_a_first_run_end_the_next(self):
        member = self.copy("late")
        client = self.restart(member)
        client.local["replset.oplogTruncateAfterPoint"].delete_many({})
        self.restart(member, *RECOVER, *KEEP)
        client = self.restart(member)
        self.add_later_entries(client)
        self.assertIn("31365", self.fails(member, *RECOVER, *KEEP))
        self.assertIn("31229", self.fails(member, *RECOVER))

    def test_a_point_before_the_checkpoint_is_raised_to_it(self):
        member = self.copy("before")
        client = self.restart(member)
        point = client.local["replset.oplogTruncateAfterPoint"]
        point.update_one({"_id": "oplogTruncateAfterPoint"}, {"$set": {"oplogTruncateAfterPoint": Timestamp(1, 1)}}, upsert=True)
        client = self.restart(member, *RECOVER)
        self.assertEqual(self.at_checkpoint, hashes(client))
        self.assertEqual(self.checkpoint, top_of(client))

    def test_an_entry_that_nobody_knows_is_fatal(self):
        member = self.copy("unknown")
        client = self.restart(member)
        client.local["replset.oplogTruncateAfterPoint"].delete_many({})
        top = top_of(client)
        entry = SON([("op", "c"), ("ns", "app.$cmd"), ("o", {"frobnicate": 1}), ("ts", Timestamp(top.time, top.inc + 1)), ("t", bson.Int64(1)),
                     ("wall", next(iter(self.entries))["wall"]), ("v", bson.Int64(2))])
        client.local.command("insert", "oplog.rs", documents=[entry])
        self.assertIn("Unknown oplog entry command type: frobnicate", self.fails(member, *RECOVER, *KEEP))

    def test_a_directory_that_another_server_has(self):
        first = self.copy("held").start()
        second = Member(self.scratch, "second", dbpath=first.dbpath, arguments=QUIET)
        self.assertIn("lock", self.fails(second))
        self.assertEqual(100, second.popen.returncode)
        self.assertEqual(1, first.client.admin.command("ping")["ok"])

    def test_what_the_command_line_refuses(self):
        member = self.copy("refused")
        self.assertIn("startupRecoveryForRestore", self.fails(member, "--setParameter", "startupRecoveryForRestore=true"))
        self.assertIn("ecoverFromOplogAsStandalone", self.fails(member, *RECOVER, "--replSet", "any"))


if __name__ == "__main__":
    main()
