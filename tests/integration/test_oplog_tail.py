#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The oplog of a started job, saved by agents through a server, while everything on the way goes and comes back.

Judged by the store alone, read by a second hand (slices.py): the chain that the job ends with holds the set's own entries byte for
byte, none missing and none twice, and never one that the set took back.
"""
import os
import pathlib
import signal
import sys
import time
import unittest

import pymongo
from bson import Timestamp
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import wait_for
from proxy import Proxy
from slices import NONE, Slice

SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
FAST = ("--plain-store", "--oplog-slice-age", "1s", "--minimum-oplog-window", "0")
SLICE = r"POST /agent/v1/tasks/\w+/slice"
PUT = r"PUT /agent/v1/objects/j/\w+/o/"


def raw_oplog(member):
    collection = member.client.get_database("local", codec_options=CodecOptions(document_class=RawBSONDocument))["oplog.rs"]
    return [one.raw for one in collection.find({}, sort=[("$natural", 1)])]


class Tailed(harness.TestCase):
    members, arguments = 1, ()

    @classmethod
    def deploy(cls):
        cls.world = harness.Deployment(cls.scratch, cls.members, server_arguments=FAST)
        cls.set, cls.server = cls.world.set, cls.world.server

    def slices(self):
        """All slices in the store."""
        found = []
        for name in self.server.objects():
            if "/o/" in name:
                data = (self.server.store_dir / name).read_bytes()
                found.append(Slice(data, name))
        return found

    def chains(self):
        """Each chain as a list of slices, from its start to the furthest end that hangs on it. What a tail had put and could not tell
        is another's stretch once more: a branch that ends."""
        by_place = {}
        for one in self.slices():
            by_place.setdefault((one.previous, one.hash_before), []).append(one)

        def longest(one):
            best, stack = [one], [[one]]
            while stack:
                path = stack.pop()
                nexts = by_place.get((path[-1].last, path[-1].hash_after), [])
                if not nexts and path[-1].last > best[-1].last:
                    best = path
                stack += [[*path, further] for further in nexts]
            return best

        starts = [one for one in self.slices() if one.previous == NONE]
        return sorted((longest(one) for one in starts), key=lambda chain: chain[0].first)

    def mark(self):
        """Writes something for the majority; its optime."""
        while True:
            try:
                client = self.set.wait_primary().client
                reply = client["app"].command({"insert": "marks", "documents": [{"n": 1}], "writeConcern": {"w": "majority", "wtimeout": 30000}})
                return reply["opTime"]["ts"].time, reply["opTime"]["ts"].inc
            except pymongo.errors.PyMongoError:
                time.sleep(0.1)  # a failover

    def wait_saved(self, limit=120):
        goal = self.mark()
        return wait_for(lambda: next((chain for chain in self.chains() if chain[-1].last[:2] >= goal), None), f"{goal} to be saved", limit, every=0.5)

    def check(self, chain, member=None):
        saved = [entry for one in chain for entry in one.entries()]
        there = raw_oplog(member or self.set.wait_primary())
        at = there.index(saved[0])
        for i, entry in enumerate(saved):
            self.assertLess(at + i, len(there), "more is saved than there is")
            self.assertEqual(entry, there[at + i], f"entry {i} of {len(saved)}")

    def head(self):
        """What the server's log says of the tail that it made last."""
        return self.server.logged(r"oplog\.tail\.begun set=\S+ member=(\S+) task=(\S+)")


class OfThree(Tailed):
    members = 3

    @classmethod
    def deploy(cls):
        cls.server = harness.Server(cls.scratch, arguments=FAST).start()
        cls.set = harness.ReplicaSet(cls.scratch, 3)
        cls.line = Proxy(cls.server.port)
        seeds = ",".join(member.host for member in cls.set.members)
        cls.agents = {member.host: harness.Agent(cls.scratch, f"agent-{i}", cls.server, seeds, [member.host], url=cls.line.url).start()
                      for i, member in enumerate(cls.set.members)}
        cls.cli = harness.Cli(cls.scratch)
        wait_for(lambda: len([one for agent in cls.cli("agent", "list")["results"] for one in agent["members"] if not one.get("refusal")]) == 3,
                 "the members at the server", every=0.3)
        cls.cli("job", "start", "--set", "rs0")

    def tailed(self):
        return self.head().group(1)

    def test_one_chain_whatever_goes_and_comes_back(self):
        writer = harness.Writer(self.set, collections=("c",)).start()
        chain = self.wait_saved()
        self.assertEqual(chain[0].cause, "first")
        # Answers of the server that do not come: everything is sent again.
        for request in (PUT, SLICE, SLICE):
            self.line.wait(self.line.lose_answer(request))
        self.wait_saved()
        # The line is cut, and the server restarts meanwhile.
        self.line.cut()
        self.server.kill()
        writer.wait_writes(50)
        self.server.start()
        self.line.mend()
        self.wait_saved()
        # The agent is killed, and comes back.
        agent = self.agents[self.tailed()]
        agent.kill()
        writer.wait_writes(50)
        agent.start()
        self.wait_saved()
        # The primary steps down.
        primary = self.set.wait_primary()
        try:
            primary.client.admin.command("replSetStepDown", 10, secondaryCatchUpPeriodSecs=5)
        except pymongo.errors.AutoReconnect:
            pass  # old servers close the connection
        self.set.wait_primary(other_than=primary)
        self.wait_saved()
        if SOAK:
            self.stop_and_roll_back()
        writer.stop()
        chain = self.wait_saved()
        self.check(chain)
        self.assertEqual(len(self.chains()), 1)
        self.assertGreaterEqual(len({one.writer for one in chain}), 2)
        if SOAK:
            self.assertGreater(len({one.member for one in chain}), 1)

    def stop_and_roll_back(self):
        # The tailed member stops: another one is tailed, once its own agent has waited for it.
        member = self.set.by_host(self.tailed())
        member.close_client()
        member.stop()
        wait_for(lambda: self.tailed() != member.host, "another member to be tailed", 90, every=0.5)
        self.wait_saved()
        member.start()
        # What the tailed member had alone is taken back, and was never saved.
        self.roll_back()

    def roll_back(self):
        wait_for(lambda: len(self.set.secondaries()) == 2, "all members")
        primary = self.set.wait_primary()
        others = [member for member in self.set.members if member is not primary]
        for member in others:
            member.signal(signal.SIGSTOP)
        alone = primary.client["app"].command({"insert": "alone", "documents": [{"n": i} for i in range(5)], "writeConcern": {"w": 1}})
        self.assertEqual(alone["n"], 5)
        ts = alone["opTime"]["ts"]
        primary.close_client()
        primary.kill()
        for member in others:
            member.signal(signal.SIGCONT)
        self.set.wait_primary(other_than=primary)
        self.mark()
        primary.start()
        wait_for(lambda: len(self.set.secondaries()) == 2, "the member to come back", 120)
        self.assertEqual(self.set.wait_primary().client["app"]["alone"].count_documents({}), 0)
        self.wait_saved()
        for one in self.slices():
            if one.first[:2] <= (ts.time, ts.inc) <= one.last[:2]:
                self.assertNotIn(b"app.alone", b"".join(one.entries()))


class Alone(Tailed):
    def test_an_oplog_that_rolled_over_begins_a_chain_and_says_so(self):
        self.wait_saved()
        agent, primary = self.world.agents[0], self.set.wait_primary()
        agent.stop()
        first = raw_oplog(primary)[0]
        documents, rounds = [{"blob": b"x" * 1_000_000} for _ in range(20)], 0
        while raw_oplog_has(primary, first):
            primary.client["app"]["big"].insert_many([dict(one) for one in documents])
            primary.client["app"]["big"].drop()
            rounds += 1
            self.assertLess(rounds, 60)
        while self.last_saved_is_there(primary):
            primary.client["app"]["big"].insert_many([dict(one) for one in documents])
            primary.client["app"]["big"].drop()
            rounds += 1
            self.assertLess(rounds, 120)
        agent.start()
        chain = self.wait_saved()
        chains = self.chains()
        self.assertEqual(len(chains), 2)
        self.assertEqual((chain[0].cause, chain[0].broken_after), ("rolledOver", chains[0][-1].last))
        self.check(chain)
        wait_for(lambda: agent.logged(r"warn agent\.tail\.broken .*cause=rolledOver"), "the agent to say so")

    def last_saved_is_there(self, member):
        seconds, increment, _ = self.chains()[0][-1].last
        return member.client.local["oplog.rs"].find_one({"ts": Timestamp(seconds, increment)}) is not None


def raw_oplog_has(member, entry):
    collection = member.client.get_database("local", codec_options=CodecOptions(document_class=RawBSONDocument))["oplog.rs"]
    return collection.find_one(sort=[("$natural", 1)]).raw == entry


if not SOAK:
    del Alone

if __name__ == "__main__":
    unittest.main(verbosity=2)
