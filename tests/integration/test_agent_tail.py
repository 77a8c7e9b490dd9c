#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent's tail alone: a real agent and members, and in the server's place one written here, which keeps to the protocol and does
what a server may do to a tail: answers that are lost or late, a full store, 429, another tailer's head, a task that nobody wants.

Whatever happens, the slices that the stand-in was told of, in their order, hold the member's own entries byte for byte, none missing
and none twice.
"""
import base64
import collections
import http.server
import json
import os
import pathlib
import re
import secrets
import signal
import sys
import threading
import time
import unittest

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import wait_for
from slices import NONE, Slice

KEY = "hf_" + "a" * 40
SOAK = bool(os.environ.get("HOLDFAST_SOAK"))


def new_id():
    return secrets.token_hex(12)


class StandIn:
    """As much of a server as a tail needs. The chain's head moves as docs/format/agent-protocol.md says."""

    def __init__(self):
        self.job, self.hash_key = new_id(), secrets.token_bytes(32)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects, self.chain, self.calls = {}, [], collections.Counter()
        self.tasks, self.finished, self.cancels, self.running, self.members = {}, {}, set(), set(), []
        self.session, self.polls = "", []
        self.trouble = {}  # kind of call -> list of what is done to the next ones
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"stand_in": self}))
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # an agent that goes, or is killed
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def give(self, member, set_name="rs0", start=None, age_ms=300, noop_age_ms=600, target_bytes=0):
        """A new task at the head of the chain, or at `start`; its id."""
        with self.lock:
            head = self.chain[-1] if self.chain else None
            if start is None and head:
                start = {"previous": {"s": head.last[0], "i": head.last[1], "t": head.last[2]}, "cause": "none",
                         "hash": base64.b64encode(head.hash_after).decode(), "sequence": head.sequence + head.entry_count}
            task = {"task": new_id(), "attempt": new_id(), "kind": "tail", "limits": {},
                    "keys": {"job": self.job, "encrypted": False, "dataKeys": [], "hashKey": base64.b64encode(self.hash_key).decode()},
                    "tail": {"member": member, "set": set_name, "fcv": head.fcv if head else "", "writer": new_id(), "targetBytes": target_bytes,
                             "start": start or {"cause": "first"}, "ageMs": age_ms, "noopAgeMs": noop_age_ms}}
            self.tasks[task["task"]] = task
            self.changed.notify_all()
            return task["task"]

    def cancel(self, task):
        with self.lock:
            self.cancels.add(task)
            self.changed.notify_all()

    def ended(self, task, limit=90):
        """How the agent ended it: class and message."""
        finish = wait_for(lambda: self.finished.get(task), f"the end of tail {task}", limit)
        return finish["error"], finish["message"]

    def next_trouble(self, kind):
        with self.lock:
            self.calls[kind] += 1
            waiting = self.trouble.get(kind)
            return waiting.pop(0) if waiting else None

    # What the calls do.

    def poll(self, message):
        if message["session"] != self.session:
            return 401, {"error": "UNAUTHENTICATED", "message": "no such session"}
        until = time.monotonic() + message["waitMs"] / 1000
        with self.lock:
            self.polls.append((time.monotonic(), message["waitMs"]))
            self.members = message["members"]
            named = {one["task"] for one in message["running"]}
            self.running = named
            self.progress = {one["task"]: one["progress"] for one in message["running"]}
            for task in message["ended"]:
                self.tasks.pop(task, None)
            while True:
                given = [task for key, task in self.tasks.items() if key not in named and key not in self.finished]
                cancel = [task for task in self.cancels if task in named and task not in self.finished]
                outcomes = [{"task": key, "error": one["error"], "message": one["message"]} for key, one in self.finished.items()
                            if key in self.tasks]
                left = until - time.monotonic()
                if given or cancel or outcomes or left <= 0:
                    return 200, {"protocol": 1, "tasks": given, "cancel": cancel, "outcomes": outcomes}
                self.changed.wait(left)

    def slice(self, message):
        if message["session"] != self.session:
            return 401, {"error": "UNAUTHENTICATED", "message": "no such session"}
        with self.lock:
            one = Slice(self.objects[message["object"]], message["object"])
            if any(known.name == one.name for known in self.chain):
                return 200, {"protocol": 1}
            head = self.chain[-1] if self.chain else None
            follows = head and one.previous == head.last and one.hash_before == head.hash_after
            begins = one.previous == NONE and one.cause != "none" and one.broken_after == (head.last if head else NONE)
            if not follows and not begins:
                return 409, {"error": "CONFLICT", "message": "the head is another tailer's"}
            one.lag_s, one.lag_entries = message["lagS"], message["lagEntries"]
            self.chain.append(one)
            return 200, {"protocol": 1}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, document, headers=()):
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle_call(self, kind, work):
        """Trouble: (status, class) instead of the work; "lose": the work is done, its answer does not come."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        trouble = self.stand_in.next_trouble(kind)
        if isinstance(trouble, tuple):
            return self.answer(trouble[0], {"error": trouble[1], "message": "trouble"}, [("Retry-After", "1")] if trouble[0] == 429 else [])
        if callable(trouble):
            trouble()
        status, document = work(body)
        if trouble == "lose":
            self.close_connection = True
            return self.connection.close()
        return self.answer(status, document)

    def do_POST(self):
        server, path = self.stand_in, self.path
        if path == "/agent/v1/hello":
            def hello(body):
                server.session = new_id()
                return 200, {"protocol": 1, "session": server.session, "release": "stand-in", "nowMs": 0, "pollWaitMs": 30000, "progressMs": 1000}
            return self.handle_call("hello", hello)
        if path == "/agent/v1/poll":
            return self.handle_call("poll", lambda body: server.poll(json.loads(body)))
        if path.endswith("/slice"):
            return self.handle_call("slice", lambda body: server.slice(json.loads(body)))

        def finish(body):
            message = json.loads(body)
            with server.lock:
                server.finished[message["task"]] = message
                server.changed.notify_all()
            return 200, {"protocol": 1}
        return self.handle_call("finish", finish)

    def do_PUT(self):
        def put(body):
            name = self.path.removeprefix("/agent/v1/objects/")
            with self.stand_in.lock:
                if self.stand_in.objects.setdefault(name, body) != body:
                    return 409, {"error": "EXISTS", "message": name}
            return 201, {}
        return self.handle_call("put", put)


class Tail(harness.TestCase):
    members = 1

    @classmethod
    def deploy(cls):
        cls.set = harness.ReplicaSet(cls.scratch, cls.members)
        (cls.scratch.dir / "key").write_text(KEY + "\n")

    def setUp(self):
        self.server = StandIn()
        self.addCleanup(self.server.close)
        self.agent = self.new_agent()
        self.primary = self.set.wait_primary()
        self.next = 0

    def new_agent(self):
        name = f"agent-{self.id().rsplit('.', 1)[-1]}"
        agent = harness.Agent(self.scratch, name, None, ",".join(member.host for member in self.set.members),
                              [member.host for member in self.set.members], url=self.server.url, key_file=self.scratch.dir / "key")
        self.addCleanup(agent.kill)
        return agent.start()

    def write(self, count, pad=100, w=1):
        collection = self.set.client(w=w)["app"]["c"]
        collection.insert_many([{"_id": f"{self.id()}-{self.next + i}", "pad": "x" * pad} for i in range(count)])
        self.next += count

    def oplog(self):
        client = self.primary.client
        collection = client.get_database("local", codec_options=CodecOptions(document_class=RawBSONDocument))["oplog.rs"]
        return [one.raw for one in collection.find({}, sort=[("$natural", 1)])]

    def newest(self):
        return self.primary.client.local["oplog.rs"].find_one(sort=[("$natural", -1)])

    def saved(self):
        return [entry for one in list(self.server.chain) for entry in one.entries()]

    def wait_saved(self, limit=90):
        """All that is there now is saved."""
        last = self.newest()
        goal = (last["ts"].time, last["ts"].inc)
        wait_for(lambda: self.server.chain and self.server.chain[-1].last[:2] >= goal, f"{goal} to be saved", limit)

    def check_saved(self):
        """Each chain is one stretch of the set's oplog, byte for byte; where it begins is free."""
        there, chains = self.oplog(), []
        for one in list(self.server.chain):
            if one.cause != "none" or not chains:
                chains.append([])
            chains[-1] += one.entries()
        for saved in chains:
            self.assertIn(saved[0], there)
            at = there.index(saved[0])
            self.assertLessEqual(len(saved), len(there) - at)
            for i, (mine, its) in enumerate(zip(saved, there[at:])):
                self.assertEqual(mine, its, f"entry {i}: {bson.decode(mine)} is not {bson.decode(its)}")


class Alone(Tail):
    def test_every_entry_is_saved_once_and_in_order(self):
        task = self.server.give(self.primary.host)
        self.write(500)
        self.wait_saved()
        self.write(500, pad=3000)
        self.set.client()["app"]["c"].delete_many({"_id": {"$gte": f"{self.id()}-9"}})
        self.wait_saved()
        self.check_saved()
        first = self.server.chain[0]
        self.assertEqual((first.cause, first.previous, first.set, first.member), ("first", NONE, "rs0", self.primary.host))
        self.assertEqual(first.fcv, self.primary.client.admin.command({"getParameter": 1, "featureCompatibilityVersion": 1})
                         ["featureCompatibilityVersion"]["version"])
        self.assertTrue(all(one.lag_s <= 5 for one in self.server.chain))
        # The members' windows are told, so that the server can see that an oplog is short.
        member = wait_for(lambda: next((one for one in self.server.members if one["address"] == self.primary.host and one.get("oplogLastS")), None), "a window")
        there = [bson.decode(entry)["ts"].time for entry in self.oplog()]
        self.assertEqual(member["oplogFirstS"], there[0])
        self.assertLessEqual(member["oplogLastS"], there[-1])
        # A running tail alone makes calm polls, and yet hears of its end at once.
        wait_for(lambda: any(wait >= 5000 for _, wait in self.server.polls), "a calm poll")
        self.assertEqual(self.server.progress.get(task, {}).get("phase", "tail"), "tail")
        began = time.monotonic()
        self.server.cancel(task)
        self.assertEqual(self.server.ended(task)[0], "CANCELLED")
        self.assertLess(time.monotonic() - began, 8)


    def test_answers_that_are_lost_late_or_bad_cost_nothing(self):
        self.server.trouble = {"put": ["lose", (503, "UNAVAILABLE"), (429, "BUSY")], "slice": ["lose", (503, "UNAVAILABLE"), (429, "BUSY"), "lose"]}
        self.server.give(self.primary.host, age_ms=100)
        for _ in range(8):
            self.write(100)
            self.wait_saved()
        self.assertEqual(self.server.trouble, {"put": [], "slice": []})
        # A server that was restarted knows no session.
        with self.server.lock:
            self.server.session = new_id()
        self.write(100)
        self.wait_saved()
        self.check_saved()
        self.assertEqual(len({one.name for one in self.server.chain}), len(self.server.chain))

    def test_a_store_without_room_is_waited_for(self):
        self.server.trouble = {"put": [(507, "NO_SPACE")]}
        task = self.server.give(self.primary.host)
        self.write(100)
        wait_for(lambda: self.agent.logged(r"warn agent\.tail\.waiting .*NO_SPACE|warn agent\.tail\.waiting .*trouble"), "the tail to say that it waits")
        self.wait_saved()
        self.check_saved()
        self.assertNotIn(task, self.server.finished)

    def test_one_of_two_tailers_goes_on(self):
        task = self.server.give(self.primary.host)
        self.write(10)
        self.wait_saved()
        with self.server.lock:  # as if another one had moved it
            head, stolen = self.server.chain[-1], Slice(self.server.chain[-1].data, "stolen")
            stolen.last, stolen.hash_after = (head.last[0], head.last[1] + 1, head.last[2]), b"x" * 32
            self.server.chain.append(stolen)
        self.write(10)
        error, message = self.server.ended(task)
        self.assertEqual(error, "CONFLICT")
        self.assertIn("the head is another tailer's", message)

    def test_an_agent_that_was_killed_goes_on_at_the_head(self):
        for point in range(3):
            task = self.server.give(self.primary.host, age_ms=100)
            self.write(200)
            wait_for(lambda: task in self.server.running or self.server.chain, "the tail to run")
            if point:
                # What is put and not told is nobody's, and is written again under another name.
                self.server.trouble = {"slice": [threading.Event().wait]} if point == 1 else {"put": [threading.Event().wait]}
                self.write(200)
                wait_for(lambda: not any(self.server.trouble.values()), "the call that hangs")
            self.agent.kill()
            self.write(50)
            self.agent.start()
            self.assertEqual(self.server.ended(task)[0], "LOST")
        self.server.give(self.primary.host, age_ms=100)
        self.wait_saved()
        self.check_saved()

    def begin_at(self, seconds, increment, term):
        """A new stand-in whose chain is said to end there; how the next chain began."""
        self.server.chain, self.server.objects = [], {}
        start = {"previous": {"s": seconds, "i": increment, "t": term}, "hash": base64.b64encode(b"h" * 32).decode(), "sequence": 7, "cause": "none"}
        ghost = type("Ghost", (), {"name": "", "last": (seconds, increment, term), "hash_after": b"h" * 32, "sequence": 0, "entry_count": 7,
                                   "fcv": "4.4", "entries": lambda self: []})()
        self.server.chain.append(ghost)
        task = self.server.give(self.primary.host, start=start, age_ms=100)
        self.write(20)
        wait_for(lambda: len(self.server.chain) > 1, "the chain to go on")
        self.server.chain.remove(ghost)
        self.wait_saved()
        one = self.server.chain[0]
        self.check_saved()
        self.server.cancel(task)
        self.server.ended(task)
        return one

    def test_a_history_that_changed_begins_a_chain_with_its_cause(self):
        self.write(5)
        last = self.newest()
        ts, term = last["ts"], last["t"]
        first = bson.decode(self.oplog()[0])["ts"]
        same = self.begin_at(ts.time, ts.inc, term)
        self.assertEqual((same.cause, same.previous, same.sequence), ("none", (ts.time, ts.inc, term), 7))
        for place, cause in (((ts.time, ts.inc, term + 1), "rollback"), ((first.time - 50, 1, 1), "recreated"), ((ts.time + 100000, 1, term), "recreated")):
            one = self.begin_at(*place)
            self.assertEqual((one.cause, one.previous, one.broken_after, one.sequence), (cause, NONE, place, 0))



class Long(Tail):
    """What takes its time; in soak only."""

    def test_a_slow_store_makes_the_tail_wait_and_costs_no_memory(self):
        gate, count = threading.Event(), 40000
        self.server.trouble = {"put": [gate.wait]}
        self.server.give(self.primary.host, age_ms=100, target_bytes=1 << 20)
        for _ in range(count // 2000):
            self.write(2000, pad=2000)
        status = pathlib.Path(f"/proc/{self.agent.popen.pid}/status")
        last = self.newest()["ts"]
        polls = len(self.server.polls)
        wait_for(lambda: len(self.server.polls) > polls, "a poll")  # the agent lives meanwhile
        gate.set()
        wait_for(lambda: self.server.chain and self.server.chain[-1].last[:2] >= (last.time, last.inc), "the tail to catch up", 120)
        self.check_saved()
        lags = [one.lag_entries for one in self.server.chain]
        self.assertGreater(max(lags), 500)
        self.assertLess(lags[-1], max(lags))
        if "asan" not in self.scratch.env.get("ASAN_OPTIONS", "") and "build/test" not in os.environ["HOLDFAST"]:
            peak_kb = int(re.search(r"VmHWM:\s+(\d+)", status.read_text()).group(1))
            print(f"resident at most: {peak_kb >> 10} MiB")
            self.assertLess(peak_kb, 96 << 10)

    def test_a_member_that_restarts_is_waited_for_and_one_that_stays_away_is_not(self):
        task = self.server.give(self.primary.host, age_ms=100)
        self.write(50)
        self.wait_saved()
        self.primary.close_client()
        self.primary.stop()
        self.primary.start()
        self.set.wait_primary()
        self.write(50)
        self.wait_saved()
        self.check_saved()
        self.assertNotIn(task, self.server.finished)
        self.primary.close_client()
        self.primary.stop()
        try:
            error, message = self.server.ended(task)
        finally:
            self.primary.start()
            self.set.wait_primary()
        self.assertEqual(error, "UNAVAILABLE")
        self.assertIn(self.primary.host, message)


class OfThree(Tail):
    members = 3

    def test_what_the_tailed_primary_takes_back_was_never_saved(self):
        task = self.server.give(self.primary.host, age_ms=100)
        self.write(100, w="majority")
        self.wait_saved()
        others = [member for member in self.set.members if member is not self.primary]
        for member in others:
            member.signal(signal.SIGSTOP)
        alone = self.primary.client["app"].command({"insert": "alone", "documents": [{"n": i} for i in range(5)], "writeConcern": {"w": 1}})
        self.assertEqual(alone["n"], 5)
        polls = len(self.server.polls)
        wait_for(lambda: len(self.server.polls) > polls + 1, "polls")  # time to read them, if it would
        self.primary.close_client()
        self.primary.kill()
        for member in others:
            member.signal(signal.SIGCONT)
        gone, self.primary = self.primary, self.set.wait_primary(other_than=self.primary)
        gone.start()
        self.write(100, w="majority")
        wait_for(lambda: len(self.set.secondaries()) == 2, "the member to come back", 120)
        if task in self.server.finished:  # it took too long: the server gives another one
            self.server.give(gone.host, age_ms=100)
        self.write(100, w="majority")
        self.wait_saved()
        self.check_saved()
        # The sandbox rolls back by copying all from another member: its oplog then begins later, and the chain breaks by name.
        real = bool(os.environ.get("HOLDFAST_TEST_MONGOD"))
        self.assertEqual([one.cause for one in self.server.chain if one.cause != "none"], ["first"] if real else ["first", "rolledOver"])
        self.assertNotIn(b"app.alone", b"".join(self.saved()))


if not SOAK:
    del Long, OfThree

if __name__ == "__main__":
    unittest.main(verbosity=2)
