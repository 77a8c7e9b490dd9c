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

    def oplog(self, member=None):
        client = (member or self.primary).client
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

    def check_saved(self, member=None):
        """One stretch of the member's oplog, byte for byte; where it begins is free."""
        saved, there = self.saved(), self.oplog(member)
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
