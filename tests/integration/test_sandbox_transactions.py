#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Transactions of several statements, on the sandbox or on the mongod that HOLDFAST_TEST_MONGOD names: with the driver's own sessions, and word by
word as a shard's coordinator sends them; what they leave in the oplog, on the other members, and after a death."""
import threading
import uuid

import bson
import pymongo
from bson.son import SON
from bson import Int64, Timestamp
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from harness import ReplicaSet, TestCase, main, wait_for
from raw_client import Raw

ARGUMENTS = ("--setParameter", "enableTestCommands=1", "--setParameter", "maxNumberOfTransactionOperationsInSingleOplogEntry=4")
MAJORITY = pymongo.WriteConcern(w="majority", wtimeout=30000)
TRANSIENT = ["TransientTransactionError"]


class Words:
    """A session that sends its commands word by word."""

    def __init__(self, port, session=None):
        self.raw, self.lsid, self.number = Raw(port), session or {"id": bson.Binary(uuid.uuid4().bytes, 4)}, 0

    def ask(self, command, start=False, database="app", number=None, **more):
        command = SON([*command, ("lsid", self.lsid), ("txnNumber", Int64(self.number if number is None else number)),
                       ("autocommit", False), *more.items()])
        if start:
            command["startTransaction"] = True
        return self.raw.command(command, database)

    def begin(self, command):
        self.number += 1
        answer = self.ask(command, start=True)
        assert answer["ok"] == 1, answer
        return answer

    def insert(self, key, **more):
        return [("insert", "c"), ("documents", [{"_id": key, **more}])]

    def end(self, name, **more):
        return self.ask([(name, 1)], database="admin", **more)

    def commit(self, **more):
        return self.end("commitTransaction", **more)

    def abort(self):
        return self.end("abortTransaction")

    def prepare(self):
        answer = self.end("prepareTransaction")
        assert answer["ok"] == 1, answer
        return answer["prepareTimestamp"]

    def commit_prepared(self, ts):
        """As a coordinator does: again until the prepare is majority committed."""
        return wait_for(lambda: (lambda answer: answer if answer["ok"] == 1 else None)(self.commit(commitTimestamp=ts)), "the commit")


def entries_of(client, words):
    found = client.local["oplog.rs"].find({"lsid.id": words.lsid["id"], "txnNumber": words.number})
    return list(found)


class OneMember(TestCase):
    @classmethod
    def deploy(cls):
        cls.set = ReplicaSet(cls.scratch, 1, "multi", arguments=ARGUMENTS)
        cls.member = cls.set.members[0]

    def setUp(self):
        self.client = self.scratch.client(self.member.host, directConnection=True, retryWrites=True)
        self.db = self.client.app
        self.db.c.drop()
        self.db.c.insert_many([{"_id": i, "n": 0} for i in range(10)])
        self.words = Words(self.member.port)

    def refused(self, answer, code, labels=TRANSIENT):
        self.assertEqual((0, code), (answer["ok"], answer.get("code")), answer)
        self.assertEqual(labels, answer.get("errorLabels", []), answer)

    def test_a_driver_commits_and_aborts(self):
        c = self.db.c
        with self.client.start_session() as session:
            with session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=MAJORITY):
                c.insert_one({"_id": "a"}, session=session)
                self.assertEqual(1, c.update_one({"_id": "a"}, {"$set": {"x": 1}}, session=session).modified_count)
                self.assertEqual({"_id": "a", "x": 1}, c.find_one({"_id": "a"}, session=session))
                self.assertIsNone(c.find_one({"_id": "a"}))
                self.assertEqual(5, c.update_many({"_id": {"$lt": 5}}, {"$inc": {"n": 1}}, session=session).modified_count)
                self.assertEqual(1, c.delete_one({"_id": 9}, session=session).deleted_count)
                self.assertEqual("up", c.find_one_and_update({"_id": "b"}, {"$set": {"v": "up"}}, upsert=True, session=session,
                                                             return_document=pymongo.ReturnDocument.AFTER)["v"])
                self.assertEqual([{"_id": 1, "k": 5}], list(c.aggregate([{"$match": {"n": 1}}, {"$group": {"_id": "$n", "k": {"$sum": 1}}}],
                                                                        session=session)))
                self.assertEqual(11, len(list(c.find({}, session=session).batch_size(3))))
            self.assertEqual(11, c.count_documents({}))
            with self.assertRaises(ZeroDivisionError), session.start_transaction():
                c.delete_many({}, session=session)
                raise ZeroDivisionError
            self.assertEqual(11, c.count_documents({}))
            with session.start_transaction():
                list(c.find({}, session=session))  # one that only reads
        # What is taken back leaves no trace, and the session is free for another kind of write.
        self.assertEqual(11, c.count_documents({}))

    def test_two_that_change_the_same_conflict_and_with_transaction_wins_in_the_end(self):
        c = self.db.c

        def add(session):
            value = c.find_one({"_id": 1}, session=session)["n"]
            c.update_one({"_id": 1}, {"$set": {"n": value + 1}}, session=session)

        def many():
            with self.client.start_session() as session:
                for _ in range(10):
                    session.with_transaction(add)

        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(40, c.find_one({"_id": 1})["n"])
        other = Words(self.member.port)
        change = [("update", "c"), ("updates", [SON([("q", {"_id": 2}), ("u", {"$set": {"n": 1}})])])]
        self.words.begin(change)
        other.begin([("find", "c"), ("filter", {"_id": 3})])
        self.refused(other.ask(change), 112)
        self.refused(other.ask(other.insert("x")), 251)
        self.assertEqual(1, self.words.commit()["ok"])

    def test_a_snapshot_does_not_see_what_comes_later(self):
        self.words.begin([("find", "c"), ("filter", {"_id": 1})])
        self.db.c.update_one({"_id": 1}, {"$set": {"n": 5}})
        found = self.words.ask([("find", "c"), ("filter", {"_id": 1})])["cursor"]["firstBatch"]
        self.assertEqual([{"_id": 1, "n": 0}], found)
        self.words.abort()

    def test_a_definition_waits_for_what_is_prepared(self):
        words = self.words
        words.begin(words.insert("p"))
        at = words.prepare()
        done = threading.Event()

        def define():
            self.db.c.rename("d")
            done.set()

        thread = threading.Thread(target=define)
        thread.start()
        self.assertFalse(done.wait(0.3))
        words.commit_prepared(at)
        self.assertTrue(done.wait(30))
        thread.join()
        self.assertEqual(11, self.db.d.count_documents({}))
        self.db.d.rename("c")

    def test_who_writes_beside_a_transaction_waits_for_its_end(self):
        self.words.begin([("delete", "c"), ("deletes", [SON([("q", {"_id": 4}), ("limit", 1)])])])
        done = threading.Event()

        def write():
            self.db.c.update_one({"_id": 4}, {"$set": {"n": 9}}, upsert=True)
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        self.assertFalse(done.wait(0.3))
        self.words.abort()
        self.assertTrue(done.wait(30))
        writer.join()
        self.assertEqual(9, self.db.c.find_one({"_id": 4})["n"])

    def test_the_words_of_refusals(self):
        words = self.words
        words.number = 1
        self.refused(words.ask(words.insert(1)), 251)
        words.begin(words.insert("a"))
        self.refused(words.ask(words.insert("b"), start=True), 117, [])
        self.refused(words.ask([("count", "c")]), 263, [])
        words.begin(words.insert("a"))
        duplicate = words.ask(words.insert(1))
        self.assertEqual((1, 11000), (duplicate["ok"], duplicate["writeErrors"][0]["code"]))
        self.refused(words.ask(words.insert("b")), 251)
        self.refused(words.commit(), 251)
        self.refused(words.abort(), 251)
        words.begin(words.insert("a"))
        for _ in range(2):
            self.assertEqual(1, words.commit()["ok"])
        self.refused(words.abort(), 256, [])
        self.refused(words.ask(words.insert("b")), 256, [])
        self.refused(words.ask(words.insert("b"), number=1), 225, [])
        words.begin(words.insert("b"))
        self.assertEqual(1, words.abort()["ok"])
        self.refused(words.abort(), 251)
        self.refused(words.commit(), 251)
        words.begin(words.insert("b"))
        self.refused(words.ask([("find", "c")], readConcern={"level": "local"}), 72, [])
        words.begin(words.insert("b"))
        self.refused(words.commit(commitTimestamp=Timestamp(1, 1)), 72, [])
        self.refused(words.commit(), 251)
        words.number += 1
        self.refused(words.ask(words.insert("b"), start=True, writeConcern={"w": 1}), 72, [])
        self.refused(words.ask([("commitTransaction", 1)]), 13, [])
        self.refused(words.ask([("drop", "c")], start=True), 263, [])
        self.db.command("create", "ring", capped=True, size=4096)
        words.number += 1
        capped = words.ask([("insert", "ring"), ("documents", [{"_id": 1}])], start=True)
        self.assertEqual(263, capped["writeErrors"][0]["code"])
        self.db.ring.drop()
        retry = words.raw.command(SON([*words.insert("q"), ("lsid", words.lsid), ("txnNumber", Int64(words.number))]), "app")
        self.assertIn(retry["ok"], (0, 1))

    def test_what_small_ones_leave_in_the_oplog(self):
        words = self.words
        before = self.client.local["oplog.rs"].count_documents({"op": "c"})
        words.begin(words.insert("no"))
        words.abort()
        self.assertEqual(before, self.client.local["oplog.rs"].count_documents({"op": "c"}))
        words.begin(words.insert("t1"))
        words.ask([("update", "c"), ("updates", [SON([("q", {"_id": "t1"}), ("u", {"$set": {"k": 1}})])])])
        words.ask([("delete", "c"), ("deletes", [SON([("q", {"_id": 1}), ("limit", 1)])])])
        self.assertEqual(1, words.commit()["ok"])
        entry, = entries_of(self.client, words)
        self.assertEqual(["lsid", "txnNumber", "op", "ns", "o", "ts", "t", "wall", "v", "prevOpTime"], list(entry))
        self.assertEqual(("c", "admin.$cmd", Timestamp(0, 0)), (entry["op"], entry["ns"], entry["prevOpTime"]["ts"]))
        self.assertEqual(["applyOps"], list(entry["o"]))
        self.assertEqual([("i", {"_id": "t1"}, None), ("u", {"$v": 1, "$set": {"k": 1}}, {"_id": "t1"}), ("d", {"_id": 1}, None)],
                         [(op["op"], op["o"], op.get("o2")) for op in entry["o"]["applyOps"]])
        session = self.client.config.transactions.find_one({"_id.id": words.lsid["id"]})
        self.assertEqual(["_id", "txnNum", "lastWriteOpTime", "lastWriteDate", "state"], list(session))
        self.assertEqual((words.number, entry["ts"], entry["wall"], "committed"),
                         (session["txnNum"], session["lastWriteOpTime"]["ts"], session["lastWriteDate"], session["state"]))

    def test_large_ones_take_several_entries_and_reserve_their_times(self):
        words = self.words
        words.begin([("insert", "c"), ("documents", [{"_id": f"big{i}"} for i in range(8)])])
        words.ask([("update", "c"), ("updates", [SON([("q", {"_id": {"$in": ["big0", "big1"]}}), ("u", {"$set": {"n": -1}}), ("multi", True)])])])
        self.assertEqual(1, words.commit()["ok"])
        first, second, last = entries_of(self.client, words)
        self.assertEqual([(4, True, None), (4, True, None), (2, None, 10)],
                         [(len(e["o"]["applyOps"]), e["o"].get("partialTxn"), e["o"].get("count")) for e in (first, second, last)])
        self.assertEqual([first["ts"], second["ts"]], [second["prevOpTime"]["ts"], last["prevOpTime"]["ts"]])
        self.assertEqual([1, 1], [second["ts"].inc - first["ts"].inc, last["ts"].inc - second["ts"].inc])
        self.db.c.insert_one({"_id": "next"})
        following = self.client.local["oplog.rs"].find({"o._id": "next"}).sort("$natural", -1)[0]["ts"]
        self.assertTrue(following.time > first["ts"].time or following.inc >= first["ts"].inc + 10, following)
        self.assertEqual(8, len([doc for doc in self.db.c.find() if str(doc["_id"]).startswith("big")]))

    def test_a_collection_and_its_index_are_made_inside(self):
        words = self.words
        for name in ("made", "made2"):
            self.db.drop_collection(name)
        words.begin([("create", "made")])
        self.assertEqual(1, words.ask([("createIndexes", "made"), ("indexes", [SON([("key", {"a": 1}), ("name", "a_1")])])])["ok"])
        self.assertEqual(1, words.ask([("insert", "made"), ("documents", [{"_id": 1, "a": 1}])])["ok"])
        self.assertEqual(1, words.ask([("insert", "made2"), ("documents", [{"_id": 1}])])["ok"])
        self.assertNotIn("made", self.db.list_collection_names())
        self.assertEqual(1, words.commit()["ok"])
        self.assertEqual(["_id_", "a_1"], sorted(self.db.made.index_information()))
        self.assertEqual([1, 1], [self.db.made.count_documents({}), self.db.made2.count_documents({})])
        kinds = [next(iter(op["o"])) for entry in entries_of(self.client, words) for op in entry["o"]["applyOps"] if op["op"] == "c"]
        self.assertEqual(["create", "createIndexes", "create"], kinds)
        words.begin(words.insert("y"))
        self.refused(words.ask([("createIndexes", "c"), ("indexes", [SON([("key", {"a": 1}), ("name", "a_1")])])]), 263, [])

    def test_prepared_ones_as_a_coordinator_ends_them(self):
        words, c = self.words, self.db.c
        words.begin([("insert", "c"), ("documents", [{"_id": f"p{i}"} for i in range(9)])])
        at = words.prepare()
        self.assertEqual(at, words.prepare())
        self.refused(words.ask(words.insert("late")), 267)
        self.refused(words.commit(), 72, [])
        self.refused(words.commit(commitTimestamp=Timestamp(1, 1)), 72, [])
        session = self.client.config.transactions.find_one({"_id.id": words.lsid["id"]})
        first, second, prepared = entries_of(self.client, words)
        self.assertEqual(["_id", "txnNum", "startOpTime", "lastWriteOpTime", "lastWriteDate", "state"], list(session))
        self.assertEqual(("prepared", first["ts"], at), (session["state"], session["startOpTime"]["ts"], session["lastWriteOpTime"]["ts"]))
        self.assertEqual({"applyOps": [prepared["o"]["applyOps"][0]], "prepare": True, "count": 9}, prepared["o"])
        self.assertEqual((at, 1, 8), (prepared["ts"], second["ts"].inc - first["ts"].inc, prepared["ts"].inc - first["ts"].inc))
        words.commit_prepared(at)
        self.assertEqual(1, words.commit(commitTimestamp=at)["ok"])
        end = entries_of(self.client, words)[-1]
        self.assertEqual({"commitTransaction": 1, "commitTimestamp": at}, end["o"])
        self.assertEqual(at, end["prevOpTime"]["ts"])
        self.assertTrue(c.find_one({"_id": "p8"}))
        words.begin(words.insert("gone"))
        words.prepare()
        self.assertEqual(1, words.abort()["ok"])
        self.assertEqual({"abortTransaction": 1}, entries_of(self.client, words)[-1]["o"])
        self.assertIsNone(c.find_one({"_id": "gone"}))
        self.assertEqual("aborted", self.client.config.transactions.find_one({"_id.id": words.lsid["id"]})["state"])

    def test_after_a_death_open_ones_are_gone_and_prepared_ones_are_there(self):
        committed, open_one, prepared = Words(self.member.port), Words(self.member.port), Words(self.member.port)
        committed.begin([("insert", "c"), ("documents", [{"_id": f"k{i}"} for i in range(9)])])
        self.assertEqual(1, committed.commit(writeConcern={"w": "majority", "j": True})["ok"])
        open_one.begin(open_one.insert("open"))
        prepared.begin([("insert", "c"), ("documents", [{"_id": f"d{i}"} for i in range(6)])])
        at = prepared.prepare()
        self.client.admin.command("appendOplogNote", data={"a": 1}, writeConcern={"w": "majority", "j": True})
        self.member.kill()
        self.member.close_client()
        self.member.start()
        wait_for(self.member.is_primary, "the member to be primary again")
        c = self.scratch.client(self.member.host, directConnection=True).app.c
        keys = {str(doc["_id"]) for doc in c.find()}
        self.assertTrue({"k0", "k8"} <= keys and not keys & {"open", "d0"}, keys)
        again = [Words(self.member.port, words.lsid) for words in (committed, open_one, prepared)]
        for words, before in zip(again, (committed, open_one, prepared)):
            words.number = before.number
        self.assertEqual(1, again[0].commit()["ok"])  # a retry that finds its commit
        self.refused(again[1].commit(), 251)
        again[2].commit_prepared(at)
        self.assertEqual(6, len([doc for doc in c.find() if str(doc["_id"]).startswith("d")]))


class OldAge(TestCase):
    def test_one_that_nobody_ends_is_ended(self):
        member = ReplicaSet(self.scratch, 1, "old", arguments=("--setParameter", "transactionLifetimeLimitSeconds=1")).members[0]
        member.client.app.c.insert_one({"_id": 1})
        words = Words(member.port)
        words.begin([("delete", "c"), ("deletes", [SON([("q", {"_id": 1}), ("limit", 1)])])])
        member.client.app.c.update_one({"_id": 1}, {"$set": {"n": 1}})  # waits for it
        self.assertEqual(251, words.commit()["code"])
        self.assertEqual({"_id": 1, "n": 1}, member.client.app.c.find_one())


class ThreeMembers(TestCase):
    @classmethod
    def deploy(cls):
        cls.set = ReplicaSet(cls.scratch, 3, "multi3", arguments=ARGUMENTS)

    def hashes(self):
        return [member.client.get_database(name, read_preference=pymongo.ReadPreference.SECONDARY_PREFERRED).command("dbHash")["md5"]
                for member in self.set.members for name in ("app", "config")]

    def same_everywhere(self):
        def equal():
            found = self.hashes()
            return found[0::2] == [found[0]] * 3 and found[1::2] == [found[1]] * 3

        wait_for(equal, "the same data and sessions on all members")

    def test_members_apply_them_as_one_and_a_new_primary_ends_what_was_prepared(self):
        primary = self.set.wait_primary()
        words, prepared, dropped = (Words(primary.port) for _ in range(3))
        primary.client.get_database("app", write_concern=MAJORITY).c.insert_one({"_id": "first"})
        words.begin([("insert", "c"), ("documents", [{"_id": f"k{i}"} for i in range(9)])])
        self.assertEqual(1, words.commit(writeConcern={"w": 3, "wtimeout": 30000})["ok"])
        self.same_everywhere()
        prepared.begin([("insert", "c"), ("documents", [{"_id": f"d{i}"} for i in range(6)])])
        at = prepared.prepare()
        dropped.begin(dropped.insert("lost"))
        primary.client.get_database("app", write_concern=pymongo.WriteConcern(w=3, wtimeout=30000)).c.insert_one({"_id": "seen"})
        try:
            primary.client.admin.command(SON([("replSetStepDown", 60), ("secondaryCatchUpPeriodSecs", 10)]))
        except PyMongoError:
            pass
        new = self.set.wait_primary(other_than=primary)
        after = Words(new.port, prepared.lsid)
        after.number = prepared.number
        with self.assertRaises(OperationFailure) as blocked:  # nobody else may have what is prepared
            new.client.app.command(SON([("insert", "c"), ("documents", [{"_id": "d0"}]), ("maxTimeMS", 500)]))
        self.assertEqual(50, blocked.exception.code)
        after.commit_prepared(at)
        lost = Words(new.port, dropped.lsid)
        lost.number = dropped.number
        self.assertEqual(251, lost.commit()["code"])
        again = Words(new.port, words.lsid)
        again.number = words.number
        self.assertEqual(1, again.commit(writeConcern={"w": "majority"})["ok"])
        keys = {doc["_id"] for doc in new.client.app.c.find()}
        self.assertTrue({"first", "seen", "k0", "k8", "d0", "d5"} <= keys and "lost" not in keys, keys)
        self.same_everywhere()


if __name__ == "__main__":
    main()
