#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A tour with Debian's pymongo: what an application does to a replica set, on one member and on three."""
import os
import socket
import struct
import threading
import time
import uuid

import bson
import pymongo
from bson.son import SON
from pymongo import ReadPreference, ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

os.environ.pop("HOLDFAST_TEST_MONGOD", None)  # what is tested here is the sandbox itself

from harness import ReplicaSet, TestCase, main, wait_for
from raw_client import Raw


def refused(call, code):
    try:
        call()
    except OperationFailure as error:
        assert error.code == code, error
        return error
    raise AssertionError("not refused")


def writes(db):
    coll = db.tour
    coll.insert_many([{"_id": i, "a": i % 5, "t": {"x": i}, "l": [i, i + 1]} for i in range(1000)])
    assert coll.count_documents({}) == coll.estimated_document_count() == 1000
    done = coll.update_one({"_id": 5}, {"$set": {"b.c": 1}, "$inc": {"a": 10}, "$push": {"l": 7}})
    assert (done.matched_count, done.modified_count) == (1, 1)
    assert coll.find_one({"_id": 5}) == {"_id": 5, "a": 10, "t": {"x": 5}, "l": [5, 6, 7], "b": {"c": 1}}
    assert coll.update_many({"a": 1}, {"$set": {"s": True}}).modified_count == 200
    assert coll.update_one({"_id": 6}, {"$set": {"s": True}}).modified_count == 0
    assert coll.replace_one({"_id": 7777}, {"q": 1}, upsert=True).upserted_id == 7777
    assert coll.find_one_and_update({"_id": 7}, {"$set": {"z": 1}}, return_document=ReturnDocument.AFTER)["z"] == 1
    assert coll.find_one_and_delete({"a": 3}, sort=[("_id", -1)])["_id"] == 998
    duplicate = refused(lambda: coll.insert_one({"_id": 5}), 11000)
    assert duplicate.details["keyValue"] == {"_id": 5}
    mixed = coll.bulk_write([pymongo.InsertOne({"_id": "b1"}), pymongo.UpdateOne({"_id": "b1"}, {"$set": {"v": 1}}),
                             pymongo.DeleteOne({"_id": "b1"})])
    assert (mixed.inserted_count, mixed.modified_count, mixed.deleted_count) == (1, 1, 1)
    try:
        coll.insert_many([{"_id": 2000}, {"_id": 5}, {"_id": 2001}], ordered=False)
        raise AssertionError("a duplicate was taken")
    except pymongo.errors.BulkWriteError as error:
        assert error.details["nInserted"] == 2 and error.details["writeErrors"][0]["index"] == 1
    assert coll.delete_many({"a": 2}).deleted_count == 200


def reads(db):
    coll = db.tour
    assert [doc["_id"] for doc in coll.find({"a": 0}).sort("_id", -1).limit(3)] == [995, 990, 985]
    assert len(list(coll.find({"_id": {"$type": "number"}}).batch_size(10))) == coll.count_documents({"_id": {"$type": "number"}})
    assert list(coll.find({"_id": 10}, {"t.x": 1, "_id": 0})) == [{"t": {"x": 10}}]
    assert coll.count_documents({"l": {"$elemMatch": {"$gt": 990}}, "$or": [{"a": 4}, {"a": 0}]}) == 4
    assert coll.count_documents({"a": {"$in": [0, 4]}}, skip=10, limit=5) == 5
    assert coll.distinct("a", {"_id": {"$lt": 100}}) == [0, 1, 3, 4, 10]
    grouped = list(coll.aggregate([{"$match": {"_id": {"$lt": 50}}}, {"$group": {"_id": "$a", "n": {"$sum": 1}, "m": {"$avg": "$t.x"}}},
                                   {"$sort": {"n": -1, "_id": 1}}, {"$limit": 1}]))
    assert grouped == [{"_id": 1, "n": 10, "m": 23.5}]
    assert list(coll.aggregate([{"$match": {"a": 3}}, {"$count": "n"}])) == [{"n": 199}]
    refused(lambda: list(coll.find({"$foo": 1})), 2)
    refused(lambda: list(coll.aggregate([{"$lookup": {}}])), 40324)


def definitions(client, db):
    coll = db.tour
    assert coll.create_index([("a", 1), ("t.x", -1)]) == "a_1_t.x_-1"
    assert coll.count_documents({"a": 3}) == 199
    db.unique.create_index("u", unique=True)
    db.unique.insert_one({"u": 1})
    refused(lambda: db.unique.insert_one({"u": 1}), 11000)
    coll.drop_index("a_1_t.x_-1")
    assert list(coll.index_information()) == ["_id_"]
    db.create_collection("capped", capped=True, size=4096, max=10)
    db.capped.insert_many([{"_id": i} for i in range(25)])
    assert [doc["_id"] for doc in db.capped.find()] == list(range(15, 25))
    refused(lambda: db.command("create", "capped"), 48)
    db.unique.rename("renamed")
    assert sorted(db.list_collection_names()) == ["capped", "renamed", "tour"]
    db.renamed.drop()
    assert db.command("validate", "tour", full=True)["valid"]
    client.drop_database("gone")
    client.gone.a.insert_one({})
    client.drop_database("gone")
    assert "gone" not in client.list_database_names()


def oplog(client, db):
    last = client.local.oplog.rs.find().sort("$natural", -1).limit(1)[0]["ts"]
    cursor = client.local.oplog.rs.find({"ts": {"$gte": last}}, cursor_type=pymongo.CursorType.TAILABLE_AWAIT,
                                        oplog_replay=True).max_await_time_ms(300)
    assert next(cursor)["ts"] == last
    while True:  # what was under way already
        try:
            next(cursor)
        except StopIteration:
            break
    writer = threading.Timer(0.1, lambda: db.tour.insert_one({"_id": "tailed"}))
    writer.start()
    assert next(cursor)["o"] == {"_id": "tailed"}
    writer.join()
    client.admin.command("appendOplogNote", data={"msg": "a note"})
    assert next(cursor)["o"] == {"msg": "a note"}
    cursor.close()


def retries(member):
    """The same retryable write twice, as a driver sends it again when it lost the answer."""
    raw, lsid = Raw(member.port), {"id": uuid.uuid4()}

    def ask(number, command):
        command.update([("lsid", lsid), ("txnNumber", bson.Int64(number))])
        return raw.command(command, "app")

    insert = SON([("insert", "tour"), ("documents", [{"_id": "r1"}, {"_id": "r2"}])])
    modify = SON([("findAndModify", "tour"), ("query", {"_id": "r1"}), ("update", {"$inc": {"n": 1}}), ("new", True)])
    upsert = SON([("update", "tour"), ("updates", [SON([("q", {"_id": "r3"}), ("u", {"$set": {"x": 1}}), ("upsert", True)])])])
    remove = SON([("delete", "tour"), ("deletes", [SON([("q", {"_id": "r2"}), ("limit", 1)])])])
    for _ in range(2):
        assert ask(1, insert)["n"] == 2
    for _ in range(2):
        assert ask(2, modify)["value"] == {"_id": "r1", "n": 1}
    for _ in range(2):
        assert ask(3, upsert)["upserted"] == [{"index": 0, "_id": "r3"}]
    for _ in range(2):
        assert ask(4, remove)["n"] == 1
    assert ask(1, insert)["code"] == 225
    raw.close()


def concerns(db):
    safe = db.get_collection("tour", write_concern=WriteConcern(w="majority", j=True, wtimeout=20000))
    safe.insert_one({"_id": "safe"})
    seen = db.get_collection("tour", read_concern=pymongo.read_concern.ReadConcern("majority"))
    assert seen.find_one({"_id": "safe"})
    with db.client.start_session(causal_consistency=True) as session:
        db.tour.insert_one({"_id": "causal"}, session=session)
        assert db.tour.find_one({"_id": "causal"}, session=session)


def failover(client):
    majority = client.get_database("app", write_concern=WriteConcern(w="majority", wtimeout=30000))
    written, stop = [], threading.Event()

    def write():
        while not stop.is_set():
            key = time.time()
            try:
                majority.f.insert_one({"_id": key})
                written.append(key)
            except PyMongoError as error:
                assert not isinstance(error, DuplicateKeyError), error
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    wait_for(lambda: len(written) > 20, "writes")
    old = client.primary
    try:
        client.admin.command(SON([("replSetStepDown", 20), ("secondaryCatchUpPeriodSecs", 10)]))
    except PyMongoError:
        pass
    wait_for(lambda: client.primary not in (None, old), "another primary")
    count = len(written)
    wait_for(lambda: len(written) > count + 20, "writes to the new primary")
    stop.set()
    writer.join()
    found = {doc["_id"] for doc in majority.f.find()}
    assert found.issuperset(written)


class Tour(TestCase):
    def test_one_member(self):
        member = ReplicaSet(self.scratch, 1, "one").members[0]
        client = self.scratch.client(member.host, replicaSet="one")
        db = client.app
        writes(db)
        reads(db)
        definitions(client, db)
        oplog(client, db)
        retries(member)
        concerns(db)
        before = db.command("dbHash")["md5"]
        client.close()
        self.assertEqual(0, member.stop())
        member.start()
        wait_for(member.is_primary, "the member to be primary again")
        self.assertEqual(before, member.client.app.command("dbHash")["md5"])

    def test_three_members(self):
        members = ReplicaSet(self.scratch, 3, "three", {0: {"priority": 2}, 2: {"priority": 0, "hidden": True}}).members
        client = self.scratch.client([member.host for member in members[:2]], replicaSet="three", serverSelectionTimeoutMS=30000)
        everywhere = client.get_database("app", write_concern=WriteConcern(w=3, wtimeout=30000))
        for _ in range(10):
            everywhere.c.insert_many([{"a": i, "p": "x" * 100} for i in range(200)])
        everywhere.c.create_index("a")
        everywhere.c.update_many({"a": {"$lt": 10}}, {"$set": {"b": 1}})
        hashes = {member.client.get_database("app", read_preference=ReadPreference.SECONDARY_PREFERRED).command("dbHash")["md5"]
                  for member in members}
        self.assertEqual(1, len(hashes))
        self.assertEqual(10107, Raw(members[1].port).command(SON([("insert", "c"), ("documents", [{}])]), "app")["code"])
        failover(client)

    def test_a_primary_that_hears_of_a_newer_term_keeps_the_id_of_its_own_election(self):
        raw = Raw(ReplicaSet(self.scratch, 1, "elected").members[0].port)

        def hears():
            before = raw.ok({"isMaster": 1})
            if not before["ismaster"]:
                return False
            term = int.from_bytes(before["electionId"].binary[4:], "big")
            raw.command({"_sandboxFetchOplog": 1, "term": bson.Int64(term + 1)})
            after = raw.ok({"isMaster": 1}).get("electionId")
            self.assertNotEqual(f"7fffffff{term + 1:016x}", str(after), "nobody was elected in that term")
            return after == before["electionId"]  # else it has stepped down already

        wait_for(hears, "a primary that has heard of a newer term")

    def test_hostile_bytes_close_only_their_own_connection(self):
        member = ReplicaSet(self.scratch, 1, "hostile").members[0]
        good = Raw(member.port)
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\xff" * 64, struct.pack("<iiii", 16, 1, 0, 2013),
                     struct.pack("<iiiiI", 48000000, 1, 0, 2013, 0), struct.pack("<iiiiIBi", 25, 1, 0, 2013, 0, 0, 5)):
            raw = Raw(member.port, timeout=5)
            raw.socket.sendall(data)
            raw.socket.shutdown(socket.SHUT_WR)
            self.assertRaises(ConnectionError, raw.receive)
            raw.close()
            self.assertEqual(1, good.command({"ping": 1})["ok"])


if __name__ == "__main__":
    main()
