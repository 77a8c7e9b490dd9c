#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An agent with a valid key that lies: in what it says, in what it puts, and in how it sends it.

Each lie is refused by name, in the answer and in the log; it costs the server bounded memory and disk; and the snapshots of others, in
other jobs and in the very job that the liar was let into, verify and restore byte for byte afterwards, after a groom too.
"""
import base64
import contextlib
import json
import os
import pathlib
import re
import socket
import struct
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import handmade
import harness
from handmade import BLOCK, HOLE, HandSlice, Pack, entry, file_list, node, oplog_entries, root
from harness import wait_for
from slices import NONE, Slice
from test_api import PRIVATE, PUBLIC, Client, FakeAgent, Reply

LIAR, OTHER = "f" * 24, "e" * 24
NO_ID = "0" * 22 + "42"
LIMIT_BYTES = 64 << 20  # --capture-limit
SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
# Packs of one task, messages of one address, what the object threads work on, and a margin for the sanitizer's own.
MEMORY_BYTES = (160 + 64 + 160) << 20


class Liar(FakeAgent):
    """Its words and its objects; the key is the project's own."""

    def __init__(self, server, agent_id=LIAR, sets=("alpha",)):
        super().__init__(server, agent_id, sets)
        self.states = {}

    def members(self):
        return [{**one, "address": f"liar-{one['set']}:27017", "primary": "", "state": self.states.get(one["set"], "PRIMARY"), "dataBytes": 1 << 50}
                for one in super().members()]

    def hello(self, **changes):
        return super().hello(**{"host": "liars-host", **changes})

    def raw(self, head, *pieces, timeout=60):
        """Sends bytes as they are; the answer's first line and body, whatever comes."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout) as connection:
            connection.sendall(head)
            with contextlib.suppress(OSError):
                for piece in pieces:
                    connection.sendall(piece)
            received = b""
            with contextlib.suppress(OSError):
                while piece := connection.recv(65536):
                    received += piece
                    if b"\r\n\r\n" in received and received.endswith(b"}"):
                        break
        return received

    def head(self, method, path, task=None, **headers):
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.key}", "Holdfast-Protocol: 1"]
        if task:
            lines += [f"Holdfast-Task: {task['task']}", f"Holdfast-Attempt: {task['attempt']}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Tree:
    """What a capture of a few files looks like, in two packs; every part can be exchanged before it is put."""

    def __init__(self, task, files):
        self.job, self.capture = task["keys"]["job"], task["capture"]["capture"]
        self.writer, self.key = task["capture"]["writer"], base64.b64decode(task["keys"]["hashKey"])
        self.data, self.tree = Pack(self.job, self.key, self.capture), Pack(self.job, self.key, self.capture, 1, 2)
        self.entries = []
        for path, content in files.items():
            blocks = [self.data.add(content[at:at + BLOCK]) for at in range(0, len(content), BLOCK)]
            self.entries.append(entry(path, len(content), blocks))
        self.files, self.size = len(files), sum(map(len, files.values()))

    def root(self, entries=None, files=None, size=None, **changes):
        listed = self.tree.add(file_list(self.entries if entries is None else entries))
        return root([listed], self.files if files is None else files, self.size if size is None else size, **changes)


class LyingAgent(harness.TestCase):
    open = None

    @classmethod
    def deploy(cls):
        cls.scratch.env["ASAN_OPTIONS"] += ":quarantine_size_mb=4:malloc_context_size=5"
        cls.d = harness.Deployment(cls.scratch, 1, server_arguments=["--plain-store", "--capture-limit", str(LIMIT_BYTES)])
        cls.server, cls.cli = cls.d.server, cls.d.cli
        cls.client = Client(cls.server)
        harness.Writer(cls.d.set).load(300)
        cls.d.set.wait_checkpoint()
        cls.honest = {cls.d.take()["id"]: None}
        harness.Writer(cls.d.set, seed=2).load(100)
        cls.d.set.wait_checkpoint()
        second = cls.d.take()
        cls.honest[second["id"]] = None
        cls.honest_agent = cls.d.agents[0].id()
        cls.job = second["jobId"]
        cls.captures = [cls.d.snapshot(one)["capture"] for one in cls.honest]
        cls.liar = Liar(cls.server)
        assert cls.liar.hello().status == 200
        cls.start_job("alpha")
        for snapshot in cls.honest:
            cls.honest[snapshot] = cls.restore(snapshot, "before")

    @classmethod
    def start_job(cls, name):
        project = cls.client.get(PUBLIC + "/groups").json["results"][0]["id"]
        group = f"{PUBLIC}/groups/{project}"
        cluster = next(one["id"] for one in cls.client.get(group + "/clusters").json["results"] if one["clusterName"] == name)
        reply = cls.client.call("PATCH", f"{group}/backupConfigs/{cluster}", {"statusName": "STARTED"})
        assert reply.status == 200, reply.body

    @classmethod
    def restore(cls, snapshot, name):
        target = cls.scratch.dir / f"{name}-{snapshot}"
        answer = cls.cli.run("store", "restore", cls.server.store, "--snapshot", snapshot, "--to", target)
        assert answer.code == 0, answer.err
        return target

    # ---- What must hold whatever was tried ----

    def check_honest(self, name):
        """The server lives, and all of the others' snapshots are what they were; the next capture succeeds too."""
        self.assertTrue(self.server.alive(), self.server.tail())
        for snapshot, before in self.honest.items():
            self.assertTrue(self.cli("snapshot", "verify", snapshot, "--level", "content")["ok"])
            after = self.restore(snapshot, name)
            self.assertEqual(harness.trees_equal(before, after), "", f"{name}: snapshot {snapshot}")

    def high_water(self, reset=False):
        """VmHWM of the server; the kernel begins anew when it is told."""
        process = pathlib.Path("/proc") / str(self.server.popen.pid)
        if reset:
            with contextlib.suppress(OSError):
                (process / "clear_refs").write_text("5")
        return int(re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text()).group(1)) << 10

    @contextlib.contextmanager
    def bounded(self, what, disk_bytes=1 << 20):
        before, objects = self.high_water(reset=True), sum(self.server.objects().values())
        started = time.monotonic()
        yield
        grown, more = self.high_water() - before, sum(self.server.objects().values()) - objects
        print(f"      {what}: memory +{grown >> 20} MiB, store +{more >> 10} KiB, {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        self.assertLess(grown, MEMORY_BYTES, what)
        self.assertLessEqual(more, disk_bytes, what)

    def refused(self, reply, status, name, message=None, job=None, agent=LIAR):
        """By name, and the log says of whom: job is that of the task it came within."""
        if isinstance(reply, bytes):
            head, _, body = reply.partition(b"\r\n\r\n")
            self.assertTrue(head, "no answer at all")
            reply = Reply(int(head.split()[1]), {}, body)
        self.assertEqual((reply.status, reply.json["error"]), (status, name), reply.body)
        if message:
            self.assertRegex(reply.json["message"], message)
        text = re.escape(json.dumps(reply.json["message"])[1:-1]).replace("\\\\", "\\\\\\\\")
        host = rf'agent={agent} host=liars-host job={job or "[0-9a-f]+"} task=[0-9a-f]+ ' if job else "agent="
        wait_for(lambda: self.server.logged(rf'agent\.refused peer=127\.0\.0\.1 {host}.*class={name} error="?{text}'),
                 f"the line about {reply.json['message']}", limit=20)

    def take(self, name="alpha", liar=None):
        """A snapshot that the liar was asked to take: its id, the task."""
        liar = liar or self.liar
        self.end_open()
        self.assertEqual(liar.poll().status, 200)
        reply = self.client.call("POST", PRIVATE + "/snapshots", {"set": name})
        self.assertEqual(reply.status, 201, reply.body)
        tasks = [one for one in liar.poll().json["tasks"] if one["kind"] == "capture" and one["capture"]["snapshot"] == reply.json["id"]]
        self.assertEqual(len(tasks), 1, reply.json)
        type(self).open = (reply.json["id"], tasks[0], liar)
        return self.open[:2]

    def record(self, snapshot):
        return self.client.get(f"{PRIVATE}/snapshots/{snapshot}").json

    def ended(self, snapshot, task, liar=None):
        record = wait_for(lambda: self.record(snapshot)["state"] != "IN_PROGRESS" and self.record(snapshot), f"the end of {snapshot}")
        (liar or self.liar).poll(ended=[task["task"]])
        return record

    def end_open(self):
        """What a test that failed has left."""
        if self.open and self.record(self.open[0])["state"] == "IN_PROGRESS":
            self.give_up(*self.open)
        type(self).open = None

    def tearDown(self):
        self.end_open()

    def give_up(self, snapshot, task, liar=None):
        (liar or self.liar).finish(task, error="DENIED", message="the test is over")
        return self.ended(snapshot, task, liar)

    def facts(self, task, **changes):
        when = {"s": 1_700_000_000, "i": 1, "t": 1}
        return {"set": task["capture"]["set"], "member": task["capture"]["member"], "fcv": "4.4", "version": "4.4.6", "modules": "", "engine": "wiredTiger",
                "agentRelease": "0", "backupId": "", "backupName": "", "engineOptions": {}, "checkpoint": when, "oplogStart": when, "oplogEnd": when,
                "committed": when, "startedS": 1_700_000_000, "finishedS": 1_700_000_001, **changes}

    def put(self, pack, task, liar=None, **lies):
        return (liar or self.liar).object("PUT", "/" + pack.name(task["capture"]["writer"]), task, pack.object(**lies))

    def finish(self, task, tree_root, liar=None, **changes):
        return (liar or self.liar).finish(task, **{"error": "OK", "message": "", "facts": self.facts(task), "root": tree_root, "adopted": [], **changes})

    # ---- Who it says that it is ----

    def test_names_of_others(self):
        honest, member = self.honest_agent, self.d.set.members[0].host
        mine = self.liar.members()
        stolen = {**mine[0], "address": member, "set": "rs0"}
        with self.bounded("names of others"):
            self.refused(self.liar.hello(members=[stolen]), 409, "CONFLICT", f"member {member} is served by agent {honest} already")
            self.refused(self.liar.poll(members=mine + [stolen]), 409, "CONFLICT", f"member {member} is served by agent {honest} already")
            for session in ("0" * 64, "", self.liar.session):
                reply = self.liar.poll(agent=honest, session=session)
                self.assertEqual((reply.status, reply.json["error"]), (401, "UNAUTHENTICATED"), "a session is its agent's")
            self.assertEqual(self.liar.poll(agent=OTHER).status, 401)
            for agent_id in ("", "0" * 23, "Z" * 24, 17, None, "0" * 25):
                self.assertEqual(self.liar.call("POST", "/agent/v1/hello", {"protocol": 1, "agent": agent_id, "host": "h", "members": []}).status, 400)
            # With the other's id it gets a session of that name: the key does not tell agents apart. The other says hello again.
            thief = Liar(self.server, honest, ())
            self.assertEqual(thief.hello().status, 200)
            self.assertEqual([one["kind"] for one in thief.poll(members=[stolen]).json["tasks"] if one["kind"] != "tail"], [])
        self.honest_take()
        self.assertEqual(thief.poll().status, 401, "the honest agent is back")
        self.check_honest("names")

    def honest_take(self):
        snapshot = self.d.take()["id"]
        self.assertTrue(self.cli("snapshot", "verify", snapshot, "--level", "content")["ok"])

    # ---- What it says ----

    def test_absurd_words(self):
        big = (1 << 63) - 1
        with self.bounded("absurd words"):
            for name, change in {"priority": 1e308, "lagS": big, "dataBytes": big, "setMembers": (1 << 32) - 1}.items():
                self.assertEqual(self.liar.poll(members=[{**one, name: change} for one in self.liar.members()]).status, 200, name)
            for change in ({"lagS": -1}, {"lagS": 1 << 63}, {"dataBytes": 1.5}, {"address": ""}, {"address": "x" * 256}, {"hidden": "no"}, {"setMembers": 1 << 32}):
                self.assertEqual(self.liar.poll(members=[{**one, **change} for one in self.liar.members()]).status, 400, change)
            self.refused(self.liar.poll(members=self.liar.members() * 65), 400, "INVALID", "at most 64")
            self.refused(self.liar.poll(running=[self.liar.running({"task": NO_ID, "attempt": NO_ID})] * 65), 400, "INVALID", "at most 64")
            self.refused(self.liar.poll(ended=[NO_ID] * 65), 400, "INVALID", "at most 64")
            self.assertEqual(self.liar.poll(ended=[NO_ID] * 64, waitMs=0).status, 200)
            reply = self.liar.poll(running=[self.liar.running({"task": f"{i:024x}", "attempt": NO_ID}) for i in range(1, 65)])
            self.assertEqual(len(reply.json["cancel"]), 64)
            self.assertEqual(self.liar.poll(waitMs=1 << 64).status, 400)
            for name, text in {"deep": b"[" * 100000, "wide": b"[" + b"1," * (3 << 20) + b"1]", "names": b'{"a":' * 40, "twice": b'{"protocol":1,"protocol":1}',
                               "members": b'{"protocol":1,"members":[' + b"[]," * 100000 + b"[]]}"}.items():
                for path in ("/agent/v1/hello", "/agent/v1/poll", f"/agent/v1/tasks/{NO_ID}/finish"):
                    reply = self.liar.call("POST", path, text)
                    self.assertIn((reply.status, reply.json["error"]), ((400, "INVALID"), (413, "LIMIT")), (name, path))
            self.refused(self.liar.call("POST", "/agent/v1/poll", b'{"protocol":1,"x":[' + b"1," * 70000 + b"1]}"), 413, "LIMIT", "more than 65536 values")
            self.refused(self.liar.call("POST", "/agent/v1/poll", b'{"protocol":1,"x":"' + b"x" * (8 << 20) + b'"}'), 413, "LIMIT", "longer than is taken")
            # A text that fits as it comes and not any more once a character of it was cut in two: the record must be read again.
            for length in range(505, 513):
                self.assertEqual(self.liar.poll(members=[{**one, "problem": "x" * length + "\u00e9\u20ac" * 8} for one in self.liar.members()]).status, 200)
                agents = self.cli("agent", "list")["results"]
                self.assertEqual(len([one for agent in agents if agent["id"] == LIAR for one in agent["members"]]), 1, f"problem of {length} bytes")
                self.assertTrue([one for agent in agents if agent["id"] == self.honest_agent for one in agent["members"]])
            self.assertEqual(self.liar.poll().status, 200)
            # So must one that names nothing.
            self.refused(self.liar.hello(agent="0" * 24), 400, "INVALID", "zeros alone")
            nameless = Liar(self.server, "d" * 24, ())
            self.assertEqual(nameless.hello(host="", release="", restoreRoot="").status, 200)
            self.assertIn("d" * 24, [agent["id"] for agent in self.cli("agent", "list")["results"]])
        self.honest_take()

    def test_sets_without_end(self):
        """Names that nobody uses any more are forgotten when there are too many; that takes 10,000, so this looks at a share of it."""
        rounds = 170 if SOAK else 4
        with self.bounded("sets without end"):
            other = Liar(self.server, OTHER, ())
            self.assertEqual(other.hello().status, 200)
            for i in range(rounds):
                other.sets = [f"set-{i}-{k}" for k in range(64)]
                self.assertEqual(other.poll().status, 200)
            other.sets = ()
            self.assertEqual(other.poll().status, 200)
        clusters = self.client.get(f"{PUBLIC}/groups/{self.client.get(PUBLIC + '/groups').json['results'][0]['id']}/clusters?itemsPerPage=1").json
        self.assertLessEqual(clusters["totalCount"], 10000)
        self.honest_take()

    def test_a_thousand_sessions(self):
        count = 1000 if SOAK else 250
        connections = []
        with self.bounded("sessions"):
            try:
                liars = [Liar(self.server, f"{0xabc000 + i:024x}", ()) for i in range(count)]
                for one in liars:
                    self.assertEqual(one.hello().status, 200)
                # All at once: the server answers each within its own limit of waiting.
                for one in liars:
                    body = json.dumps({"protocol": 1, "agent": one.id, "session": one.session, "waitMs": 1 << 40, "members": [], "running": [], "ended": []}).encode()
                    connections.append(socket.create_connection(("127.0.0.1", self.server.port), 60))
                    connections[-1].sendall(one.head("POST", "/agent/v1/poll", Content_Length=len(body)) + body)
                wait_for(lambda: self.cli("server", "status")["waitingPolls"] >= count, "the polls to wait")
                self.honest_take()
            finally:
                for one in connections:
                    one.close()

    # ---- What it says of the oplog ----

    def tail(self, go_on=None):
        """The tail that the liar is asked for, after the one that has ended."""
        def given():
            answer = self.liar.poll(ended=[go_on] if go_on else []).json
            return next((one for one in answer["tasks"] if one["kind"] == "tail" and one["task"] != go_on), None)
        return wait_for(given, "a tail of alpha", every=0.2)

    def tell(self, task, name, **changes):
        return self.liar.call("POST", f"/agent/v1/tasks/{task['task']}/slice", {
            "protocol": 1, "agent": self.liar.id, "session": self.liar.session, "task": task["task"], "attempt": task["attempt"], "object": name,
            "lagS": 0, "lagEntries": 0, **changes})

    def put_slice(self, task, one, name=None):
        return self.liar.object("PUT", "/" + (name or one.name), task, one.object)

    @staticmethod
    def stands_at(task):
        previous = task["tail"]["start"].get("previous")
        return tuple(previous[word] for word in "sit") if previous else NONE

    @staticmethod
    def behind(task, one):
        """The task, as it is after that slice."""
        start = {"previous": dict(zip("sit", one.last)), "hash": base64.b64encode(one.hash_after).decode(), "cause": "none",
                 "sequence": task["tail"]["start"].get("sequence", 0) + one.fields["count"]}
        return {**task, "tail": {**task["tail"], "start": start}}

    def chain(self, job):
        """The slices of a job, which must be one chain."""
        found = [Slice((self.server.store_dir / name).read_bytes(), name) for name in sorted(self.server.objects()) if name.startswith(f"j/{job}/o/")]
        by_previous = {(one.previous, one.hash_before): one for one in found if one.previous != NONE}
        one = next((one for one in found if one.previous == NONE), None)
        chain = [one] if one else []
        while chain and (one := by_previous.get((chain[-1].last, chain[-1].hash_after))):
            chain.append(one)
        self.assertEqual(len(chain), len(found))
        return chain

    LIES = (
        ("a MAC of its own", {"mac": bytes(32)}, 500, "CORRUPT", "forged"),
        ("another key", {"key": b"k" * 32}, 500, "CORRUPT", "forged"),
        ("more entries than there are", {"count": (1 << 32) - 1, "noops": 0}, 400, "INVALID", "header"),
        ("blocks without end", {"blocks": (1 << 32) - 1}, 400, "INVALID", "header"),
        ("terms without end", {"terms": 65}, 400, "INVALID", "header"),
        ("bytes without end", {"plain": 1 << 60}, 400, "INVALID", "header"),
        ("a cause that nobody knows", {"cause": 77, "previous": NONE, "sequence": 0, "hash_before": bytes(32)}, 501, "UNSUPPORTED", "cause"),
        ("another set", {"set": "rs0"}, 400, "INVALID", "of set rs0"),
        ("another predecessor", {"previous": (1_600_000_000, 1, 1)}, 409, "CONFLICT", "."),
        ("another hash", {"hash_before": b"h" * 32}, 409, "CONFLICT", "."),
        ("a break after an entry that is not the last", {"cause": "rollback", "previous": NONE, "sequence": 0, "hash_before": bytes(32),
                                                         "broken_after": (1_600_000_000, 1, 1)}, 409, "CONFLICT", "."),
        # Under the job's key, and it goes on where the chain ends: who was to bring it is all that is wrong, so the next tail may go on from it.
        ("another member", {"member": "other:27017"}, 400, "INVALID", "it is of member other:27017"),
    )

    def test_slices_that_lie(self):
        seconds, task, last = 1_700_000_000, self.tail(), None
        honest = wait_for(lambda: self.chain(self.job), "the honest tail's first slice")
        with self.bounded("slices that lie"):
            for what, lies, status, name, words in self.LIES if SOAK else self.LIES[3::4]:
                self.assertEqual(self.stands_at(task), last.last if last else NONE, f"{what}: the head stands where it stood")
                good = HandSlice(task, oplog_entries(seconds, 3))
                self.assertEqual(self.put_slice(task, good).status, 201)
                for _ in range(2):  # the second time nothing happens
                    reply = self.tell(task, good.name)
                    self.assertEqual(reply.status, 200, reply.body)
                last, seconds = good, seconds + 10
                after = self.behind(task, good)
                lie = HandSlice(after, oplog_entries(seconds, 2), **lies)
                seconds += 10
                reply = self.put_slice(task, lie)
                if reply.status == 201:
                    reply = self.tell(task, lie.name)
                else:  # what can be seen without the job's key
                    self.assertEqual(self.tell(task, lie.name).json["error"], "NOT_FOUND")
                self.assertEqual((reply.status, reply.json["error"]), (status, name), (what, reply.body))
                self.assertRegex(reply.json["message"], words)
                if status == 409:  # another may have been first: the tail's own agent ends it
                    self.liar.finish(task, error=name, message="the test says so")
                task = self.tail(task["task"])
            # Nothing was put; an object of another kind; of another job; from another task, agent or attempt.
            never = HandSlice(task, oplog_entries(seconds, 1))
            for name, changes, statuses in ((f"j/{task['keys']['job']}/p/x", {}, (400,)), (honest[0].name, {}, (403,)), (never.name, {"attempt": NO_ID}, (409,)),
                                            (never.name, {"agent": OTHER}, (401, 409)), (never.name, {"session": "0" * 64}, (401,))):
                reply = self.tell(task, name, **changes)
                self.assertIn(reply.status, statuses, reply.body)
            for lies in ({"job": self.job}, {"writer": NO_ID}, {"round": 1}):
                self.assertIn(self.put_slice(task, HandSlice(task, oplog_entries(seconds, 1), **lies)).status, (400, 403), lies)
            reply = self.tell(task, never.name)
            self.assertEqual((reply.status, reply.json["error"]), (404, "NOT_FOUND"), reply.body)
            task = self.tail(task["task"])
            self.assertIn(self.stands_at(task), (last.last, lie.last))
        longer = self.chain(self.job)
        self.assertEqual([one.name for one in longer[:len(honest)]], [one.name for one in honest], "the honest chain goes on")
        self.check_honest("slices")

    # ---- Where it may put, and what ----

    def test_objects_of_others(self):
        snapshot, task = self.take()
        job, capture, writer = task["keys"]["job"], task["capture"]["capture"], task["capture"]["writer"]
        pack = Pack(job, b"k", capture)
        pack.add(b"mine")
        body = pack.object()
        before = self.server.objects()
        honest = [name for name in before if f"j/{self.job}/" in name]
        with self.bounded("objects of others"):
            for lies in ({"job": self.job}, {"writer": NO_ID}, {"capture": capture + 1}, {"capture": max(capture - 1, 1)}, {"capture": (1 << 40) - 1},
                         {"round": 1}, {"round": 0xffff}, {"span": capture << 24}, {"span": 1 << 24, "pack": 0}, {"kind": "o"}):
                with self.subTest(name=lies):
                    name = pack.name(writer, **lies)
                    reply = self.liar.object("PUT", "/" + name, task, body)
                    self.assertIn(reply.status, (400, 403), reply.body)
                    self.refused(reply, reply.status, reply.json["error"], job=job)
            for name in (f"j/{job}/m/{capture:010x}", f"j/{job}/c/{writer}", f"j/{job}/k/00000001-00000003", "holdfast/00000002", *honest):
                with self.subTest(name=name):
                    reply = self.liar.object("PUT", "/" + name, task, body)
                    self.refused(reply, 403, "DENIED", "may not put", job=job)
            for name in [*honest, f"j/{job}/c/{writer}", f"j/{job}/k/00000001-00000001", "holdfast/00000001"]:
                with self.subTest(read=name):
                    self.refused(self.liar.object("GET", "/" + name, task), 403, "DENIED", "may not read", job=job)
                    self.refused(self.liar.object("GET", "/" + name, task, headers={"Range": "bytes=-1"}), 403, "DENIED", job=job)
                    self.assertEqual(self.liar.object("HEAD", "/" + name, task).status, 403)
            for name in honest + [pack.name(writer)]:
                for method in ("DELETE", "POST", "PATCH"):
                    self.assertEqual(self.liar.object(method, "/" + name, task).status, 403, (method, name))
            for prefix in ("", "j/", f"j/{self.job}/p/", f"j/{self.job}/", f"j/{job}/k/", "holdfast/", "j/../"):
                self.refused(self.liar.object("GET", f"?prefix={prefix}", task), 403, "DENIED", "may not list", job=job)
            for name in ("/../catalog.sqlite", "/%2e%2e/x", "/j//p", "/", "/" + "x" * 5000, "/j/" + "%00"):
                self.assertIn(self.liar.object("GET", name, task).status, (400, 403, 404), name)
            self.refused(self.liar.object("PUT", "/" + pack.name(writer), {**task, "attempt": NO_ID}, body), 409, "LOST", job=job)
            self.assertEqual(self.liar.object("PUT", "/" + pack.name(writer), {**task, "task": NO_ID}, body).status, 404)
            self.assertEqual(set(self.server.objects()) - set(before), set(), "nothing was put")
        self.give_up(snapshot, task)

    def test_packs_that_are_not_what_they_say(self):
        snapshot, task = self.take()
        job, capture, writer = task["keys"]["job"], task["capture"]["capture"], task["capture"]["writer"]
        before = self.server.objects()

        def made(**change):
            pack = Pack(job, b"k", capture)
            for i in range(3):
                pack.add(bytes([i]) * 5000, **change)
            return pack

        whole = made().object()
        doubled = made()
        doubled.blocks = doubled.blocks * 2
        doubled.blocks.sort(key=lambda one: one["ordinal"])
        backwards = made()
        backwards.blocks.reverse()
        overlapping = made()
        for one in overlapping.blocks:
            one.update(place=32, stored=15000, sum=0)
        many = made()
        many.blocks = [{**many.blocks[0], "ordinal": 0, "place": 32, "stored": 1}] * 140000
        lies = {
            "nothing": (b"", "not an object"), "text": (b"hello " * 100, "not an object"), "zeros": (bytes(4096), "not an object"),
            "no end": (whole[:-1], "does not end in a footer"), "cut in its blocks": (whole[:5000], "does not end in a footer"),
            "cut in its head": (whole[:20], "not an object"), "tail behind": (whole + b"x", "does not end in a footer"),
            "other magic": (made().object(magic=b"HFobjecT"), "not an object"), "version": (made().object(version=2), "version 2"),
            "header's sum": (made().object(header_sum=1), "header: checksum"), "header of another job": (made().object(job=self.job), "object of another job"),
            "footer of another job": (made().object(footer_job=self.job), "job or kind is not the name's"),
            "footer of another kind": (made().object(footer_kind=2), "job or kind is not the name's"),
            "footer's kind": (made().object(footer_kind=9), "footer: "), "footer's version": (made().object(footer_version=7), "version 7"),
            "footer's sum": (made().object(footer_sum=1), "checksum does not match"), "footer's magic": (made().object(footer_magic=b"HFfootex"), "footer: "),
            "footer length of all": (made().object(footer_length=0xffffffff), "a footer of"), "footer length of nothing": (made().object(footer_length=0), "a footer of"),
            "more runs": (made().object(run_count=2), "footer: "), "runs without end": (made().object(run_count=0xffffffff), "footer: "),
            "more blocks": (made().object(block_count=4), "footer: "), "blocks without end": (made().object(block_count=0xffffffff), "footer: "),
            "140,000 blocks": (many.object(), "a footer of"), "no block": (made().object(blocks=[]), "no blocks"),
            "another capture's run": (made().object(runs=[(capture - 1 or 5, 0)]), "which the name does not cover"),
            "another pack's run": (made().object(runs=[(capture, 1)]), "which the name does not cover"),
            "a run too many": (made().object(runs=[(capture, 0), (1, 0)]), "footer|which the name does not cover"),
            "capture 0": (made().object(runs=[(0, 0)]), "contradicts itself"), "cipher": (made().object(cipher=9), "unknown cipher"),
            "key without cipher": (made().object(key_version=1), "contradicts itself"), "codec": (made(codec=7).object(), "unknown codec"),
            "place before": (made(place=0).object(), "lies at"), "place behind": (made(place=1 << 30).object(), "lies at"),
            "place at the edge": (made(place=0xffffffff).object(), "lies at"), "stored length": (made(stored=1 << 31).object(), "lies at"),
            "no stored bytes": (made(stored=0).object(), "lies at"), "plain length": (made(plain=0xffffffff).object(), "lies at"),
            "no plain bytes": (made(plain=0).object(), "lies at"), "run that is not there": (made(run=5).object(), "of run 5|run 5 of"),
            "an address twice": (doubled.object(), "twice"), "out of order": (backwards.object(), "out of order"),
            "bytes shared": (overlapping.object(), "with room for"),
        }
        with self.bounded("packs that lie"):
            for what, (body, pattern) in lies.items():
                with self.subTest(pack=what):
                    reply = self.liar.object("PUT", "/" + made().name(writer), task, body)
                    self.assertIn((reply.status, reply.json["error"]), ((400, "INVALID"), (501, "UNSUPPORTED")), (what, reply.body))
                    self.refused(reply, reply.status, reply.json["error"], pattern, job=job)
            wrong = self.liar.object("PUT", "/" + made().name(writer), task, whole, {"Holdfast-Checksum": "0" * 16})
            self.refused(wrong, 400, "INVALID", "does not have the checksum", job=job)
            self.assertEqual(set(self.server.objects()) - set(before), set(), "nothing was put")
            self.assertEqual(self.liar.object("PUT", "/" + made().name(writer), task, whole).status, 201, "the truth is taken")
            self.assertEqual(self.liar.object("PUT", "/" + made().name(writer), task, whole).status, 201, "twice is once")
            other = made()
            other.add(b"more")
            self.refused(self.liar.object("PUT", "/" + made().name(writer), task, other.object()), 409, "EXISTS", job=job)
        self.give_up(snapshot, task)

    # ---- How it sends ----

    def test_bodies_that_do_not_end(self):
        snapshot, task = self.take()
        job = task["keys"]["job"]
        pack = Pack(job, b"k", task["capture"]["capture"])
        pack.add(os.urandom(1 << 20))
        body = pack.object()
        path = "/agent/v1/objects/" + pack.name(task["capture"]["writer"])
        sums = {"Holdfast_Checksum": handmade.checksum(body)}
        liar, held = self.liar, []
        with self.bounded("bodies that do not end", 3 << 20):
            for length in ((20 << 20) + 1, 64 << 20, 1 << 40):
                self.refused(liar.raw(liar.head("PUT", path, task, Content_Length=length, Expect="100-continue", **sums)), 413, "LIMIT", "longer than is taken here", job=job)
            for length in (1 << 65, "-5", "5x", "0x10"):
                self.assertRegex(liar.raw(liar.head("PUT", path, task, Content_Length=length, **sums)), rb"^HTTP/1\.1 4(00|13) ")
            # Longer than it says: what is left over is no request.
            reply = liar.raw(liar.head("PUT", path, task, Content_Length=100, **sums), body[:100])
            self.refused(reply, 400, "INVALID", "does not have the checksum", job=job)
            # Chunks with no end are cut off where an object ends.
            chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
            reply = liar.raw(liar.head("PUT", path, task, Transfer_Encoding="chunked", **sums), *[chunk] * 24, b"0\r\n\r\n")
            self.refused(reply, 413, "LIMIT", "longer than is taken here", job=job)
            self.assertNotIn(b" 201 ", liar.raw(liar.head("PUT", path, task, Transfer_Encoding="chunked", **sums), *[chunk] * 100))
            self.assertNotIn(b" 201 ", liar.raw(liar.head("PUT", path, task, Content_Length=ALL, **sums), *[chunk] * 100))
            # Shorter than it says, and slow: each holds its room until it is over, and one task gets no more than its share.
            answers = []
            for _ in range(20):
                connection = socket.create_connection(("127.0.0.1", self.server.port), 60)
                held.append(connection)
                connection.sendall(liar.head("PUT", path, task, Content_Length=20 << 20, Expect="100-continue", **sums))
                answers.append(connection.recv(65536).split(b"\r\n")[0])
                with contextlib.suppress(OSError):
                    connection.sendall(b"x" * 1000)
            self.assertIn(b"HTTP/1.1 100 Continue", answers)
            self.assertIn(b"HTTP/1.1 429 Too Many Requests", answers, "one task's share")
            self.assertEqual([answers.count(b"HTTP/1.1 100 Continue"), answers.count(b"HTTP/1.1 429 Too Many Requests")], [8, 12])
            answers = []
            for _ in range(12):
                connection = socket.create_connection(("127.0.0.1", self.server.port), 60)
                held.append(connection)
                connection.sendall(liar.head("POST", "/agent/v1/poll", Content_Length=8 << 20, Expect="100-continue"))
                answers.append(connection.recv(65536).split(b"\r\n")[0])
            self.assertGreaterEqual(answers.count(b"HTTP/1.1 429 Too Many Requests"), 4, "one address's share")
            # Meanwhile another connection trickles; the others' work goes on. The honest agent shares the liar's address here, so its messages
            # wait for room: the liar lets go of those.
            for connection in held[20:]:
                connection.close()
            self.honest_take()
            for connection in held[:20]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
                connection.close()
            wait_for(lambda: liar.object("PUT", path[len("/agent/v1/objects"):], task, body).status == 201, "the share to be free again", every=0.2)
        self.give_up(snapshot, task)

    def test_answers_that_nobody_reads(self):
        snapshot, task = self.take()
        pack = Pack(task["keys"]["job"], b"k", task["capture"]["capture"])
        pack.add(os.urandom(16 << 20))
        self.assertEqual(self.put(pack, task).status, 201)
        held, path = [], "/agent/v1/objects/" + pack.name(task["capture"]["writer"])
        try:
            with self.bounded("answers that nobody reads"):
                for _ in range(40):
                    connection = socket.socket()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    connection.settimeout(60)
                    connection.connect(("127.0.0.1", self.server.port))
                    connection.sendall(self.liar.head("GET", path, task))
                    held.append(connection)
                heads = [connection.recv(12) for connection in held]
                self.assertIn(b"HTTP/1.1 429", heads)
                self.assertLessEqual(heads.count(b"HTTP/1.1 200"), 11)
                self.honest_take()
        finally:
            for connection in held:
                connection.close()
        self.give_up(snapshot, task)

    def test_more_than_it_may(self):
        """16 MiB at a time, then the smallest objects: the store has what the attempt may put, and a groom takes it away."""
        writers = []
        for what, size in (("large objects", 16 << 20), ("small objects", 1)):
            snapshot, task = self.take()
            writers.append(task["capture"]["writer"])
            job = task["keys"]["job"]
            self.assertEqual(self.record(snapshot)["putMaxBytes"], LIMIT_BYTES)
            with self.bounded(what, LIMIT_BYTES):
                for number in range(400):
                    pack = Pack(job, b"k", task["capture"]["capture"], number)
                    pack.add(os.urandom(size))
                    reply = self.put(pack, task)
                    if reply.status != 201:
                        break
                    if number == 0:  # as often as it likes: it is the same object
                        self.assertEqual({self.put(pack, task).status for _ in range(5)}, {201})
                self.refused(reply, 413, "LIMIT", rf"capture \d+ may put {LIMIT_BYTES} bytes into the store", job=job)
                self.assertIn(number, (3, LIMIT_BYTES // (256 << 10)))
            # A server that begins anew asks the store.
            if size == 1:
                self.server.stop()
                self.server.start()
                wait_for(lambda: self.liar.hello().status == 200, "the server to be back")
                pack = Pack(job, b"k", task["capture"]["capture"], number + 1)
                pack.add(b"x")
                self.refused(self.put(pack, task), 413, "LIMIT", "may put", job=job)
            self.assertEqual(self.give_up(snapshot, task)["state"], "FAILED")
        self.cli("store", "groom", self.server.store)
        self.cli("store", "groom", self.server.store)
        left = [name for name in self.server.objects() if name.endswith(tuple(writers))]
        self.assertEqual(left, [])
        self.d.wait_members(1)
        self.d.wait_states()
        self.honest_take()

    # ---- What it says that it has done ----

    def test_finishes_that_lie(self):
        small = {"a.wt": b"a" * 5000, "b.wt": b"b" * 70000}
        foreign = handmade.reference(b"k", b"x", self.captures[0], 0, 0, 10)

        def bomb(tree):
            """A file of 2^32 blocks in five nodes: each refers to the one below 128 times."""
            reference = tree.data.add(bytes(4095) + b"x")
            for level in range(1, 6):
                reference = tree.tree.add(node(level, [reference] * (128 if level < 5 else 16)))
            size = 4096 * 128 ** 4 * 16
            return tree.root(entries=[entry("bomb", size, [reference], log2=12)], files=1, size=size)

        def wrong_hash(tree):
            tree.tree.add(file_list(tree.entries))
            return root([handmade.reference(tree.key, b"something else", tree.capture, 1, 0, 20)], 2, 75000)

        def hollow(tree):
            """A list whose stored bytes are not what its hash says."""
            text = file_list(tree.entries)
            return root([tree.tree.add(text, text[:-1] + b"?")], 2, 75000)

        def inflated(tree):
            """A zstd frame that says 16 MiB, and is not one."""
            text = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", 16 << 20) + b"\x02\0\0" * 10
            return root([tree.tree.add(text, codec=1, plain=16 << 20)], 2, 75000)

        entries = {
            "..": [entry("../x", 0, [])], "absolute": [entry("/etc/passwd", 0, [])], "dots inside": [entry("a/../b", 0, [])], "empty part": [entry("a//b", 0, [])],
            "NUL": [entry(b"a\0b", 0, [])], "no name": [entry("", 0, [])], "twice": [entry("a", 0, [])] * 2, "backwards": [entry("b", 0, []), entry("a", 0, [])],
            "long": [entry("x" * 5000, 0, [])], "size": [entry("a", 1 << 60, [HOLE])], "block size": [entry("a", 5, [HOLE], log2=40)],
            "references": [entry("a", 5, [HOLE] * 9, count=9)], "depth": [entry("a", 5, [HOLE], depth=4)], "none": [],
        }
        lies = {
            "a root that does not exist": (lambda t: root([handmade.reference(b"k", b"x", t.capture, 1, 0, 5)], 1, 1), "stands in no footer|in no object"),
            "another capture's": (lambda t: root([handmade.reference(b"k", b"x", t.capture + 7, 1, 0, 5)], 1, 1), "neither the parent's nor of this"),
            "a million lists": (lambda t: root([], 1, 1, count=1 << 20), None), "lists without end": (lambda t: root([HOLE], 1, 1, count=ALL), None),
            "no text": (lambda t: "?", None), "too short": (lambda t: base64.b64encode(b"HFrt").decode(), None),
            "one list 1000 times": (lambda t: root([t.tree.add(file_list(t.entries))] * 1000, 2000, 75_000_000), "referred to twice"),
            "counts": (lambda t: t.root(files=1 << 62), "its root says"), "bytes": (lambda t: t.root(size=(1 << 63) + 5), "its root says"),
            "blocks of others": (lambda t: t.root(entries=[entry("a", 10, [foreign])]), "neither the parent's nor of this"),
            "a block twice": (lambda t: t.root(entries=[entry("a", 5000, [t.data.add(b"z" * 5000)] * 1), entry("b", 5000, [handmade.reference(t.key, b"z" * 5000, t.capture, 0, 3, 5000)])]),
                              "referred to twice"),
            "lengths": (lambda t: t.root(entries=[entry("a", 300, [t.data.add(b"z" * 200)])]), "holds 200 bytes, not 300"),
            "hash": (wrong_hash, "does not match|hash"), "hollow": (hollow, "hash|match"), "inflated": (inflated, "16777216 bytes where at most"),
            "bomb": (bomb, "referred to twice"), "no list at all": (lambda t: root([], 2, 75000), "its root says"),
            **{f"entry: {what}": (lambda t, e=e: t.root(entries=e, files=len(e), size=5), "list|entry|path|its root says") for what, e in entries.items()},
            "a node of another level": (lambda t: t.root(entries=[entry("a", BLOCK * 9, [t.tree.add(node(2, [HOLE] * 9))])], files=1, size=BLOCK * 9), "level|node"),
            "a node too short": (lambda t: t.root(entries=[entry("a", BLOCK * 9, [t.tree.add(node(1, [HOLE] * 8))])], files=1, size=BLOCK * 9), "holds 8 references"),
        }
        facts = {
            "another set": ({"set": "rs0"}, "the facts are of member"), "another member": ({"member": self.d.set.members[0].host}, "the facts are of member"),
            "the oplog backwards": ({"oplogStart": {"s": 4_000_000_000, "i": 1, "t": 1}}, "ends before it starts"),
        }
        bad_facts = ({"fcv": "x" * 100}, {"startedS": -1}, {"checkpoint": {"s": 1 << 40, "i": 0, "t": 0}}, {"checkpoint": "now"}, {"engineOptions": []}, {"set": 5})
        with self.bounded("finishes that lie", 4 << 20):
            for what, (make, pattern) in lies.items():
                with self.subTest(finish=what):
                    snapshot, task = self.take()
                    tree = Tree(task, small)
                    text = make(tree)
                    self.assertEqual(self.put(tree.data, task).status, 201)
                    if tree.tree.blocks:
                        self.assertEqual(self.put(tree.tree, task).status, 201)
                    reply = self.finish(task, text)
                    if pattern is None:
                        self.refused(reply, 400, "INVALID", "root", job=task["keys"]["job"])
                        self.give_up(snapshot, task)
                        continue
                    self.assertEqual(reply.status, 200, reply.body)
                    record = self.ended(snapshot, task)
                    self.assertEqual((record["state"], record["errorClass"]), ("FAILED", "CORRUPT"), record)
                    self.assertRegex(record["error"], pattern)
                    line = rf"snapshot\.failed snapshot={snapshot} set=alpha job={task['keys']['job']} member=liar-alpha:27017 agent={LIAR} "
                    wait_for(lambda: self.server.logged(line), f"the line about {snapshot}")
            for what, (change, pattern) in facts.items():
                with self.subTest(facts=what):
                    snapshot, task = self.take()
                    tree = Tree(task, small)
                    text = tree.root()
                    self.assertEqual((self.put(tree.data, task).status, self.put(tree.tree, task).status), (201, 201))
                    self.assertEqual(self.finish(task, text, facts=self.facts(task, **change)).status, 200)
                    record = self.ended(snapshot, task)
                    self.assertEqual((record["state"], record["errorClass"]), ("FAILED", "CORRUPT"), record)
                    self.assertRegex(record["error"], pattern)
            snapshot, task = self.take()
            job = task["keys"]["job"]
            tree = Tree(task, small)
            text = tree.root()
            self.assertEqual((self.put(tree.data, task).status, self.put(tree.tree, task).status), (201, 201))
            for change in bad_facts:
                self.refused(self.finish(task, text, facts=self.facts(task, **change)), 400, "INVALID", job=job)
            self.refused(self.finish(task, text, kind="restore"), 400, "INVALID", f"task {task['task']} is a capture", job=job)
            self.refused(self.finish(task, text, adopted=[{"capture": 1 << 41, "writer": NO_ID}]), 400, "INVALID", job=job)
            self.refused(self.finish(task, text, attempt=NO_ID), 409, "LOST", job=job)
            self.assertEqual(self.finish({**task, "task": NO_ID}, text).status, 404, "a task that it never got")
            self.assertEqual(self.finish(task, text, session="0" * 64).status, 401)
            self.assertEqual(self.finish(task, text, agent=self.honest_agent).status, 401)
            swelling = {"protocol": 1, "agent": LIAR, "session": self.liar.session, "task": task["task"], "attempt": task["attempt"], "kind": "capture",
                        "error": "OK", "message": "", "root": text, "facts": self.facts(task, engineOptions={"x": "\x7f" * (2 << 20)})}
            reply = self.liar.call("POST", f"/agent/v1/tasks/{task['task']}/finish", json.dumps(swelling, ensure_ascii=False).encode())
            self.refused(reply, 413, "LIMIT", "finish: ", job=job)
            # Says two things: the first counts.
            self.assertEqual(self.finish(task, text).status, 200)
            for change in ({"error": "CORRUPT"}, {"facts": self.facts(task, version="9.9")}, {"error": "OK"}):
                self.assertIn(self.finish(task, text, **change).status, (200, 404))
            record = self.ended(snapshot, task)
            self.assertEqual((record["state"], record["serverVersion"], record["files"]), ("COMPLETE", "4.4.6", 2), "a liar may tell the truth")
            self.assertIn(self.finish(task, text, error="DENIED").status, (200, 404))
            self.assertEqual(self.record(snapshot)["state"], "COMPLETE")
            adopted = self.take()
            self.assertEqual(self.finish(adopted[1], text, adopted=[{"capture": self.captures[0], "writer": NO_ID}]).status, 200)
            record = self.ended(*adopted)
            self.assertEqual((record["state"], record["errorClass"]), ("FAILED", "CORRUPT"))
            self.assertRegex(record["error"], "which was not offered to it")
        self.check_honest("finishes")

    # ---- Inside the others' own job ----

    def test_z_a_liar_in_the_job_of_others(self):
        """It says that it has a secondary of rs0, and so is asked: it has that job's keys and may read its objects. It must not harm it."""
        other = Liar(self.server, OTHER, ("rs0",))
        other.states["rs0"] = "SECONDARY"
        self.assertEqual(other.hello().status, 200)
        snapshot, task = self.take("rs0", other)
        self.assertEqual(task["keys"]["job"], self.job)
        job, capture, writer = self.job, task["capture"]["capture"], task["capture"]["writer"]
        key = base64.b64decode(task["keys"]["hashKey"])
        with self.bounded("in the job of others", 1 << 20):
            for name in [name for name in self.server.objects() if f"j/{job}/p/" in name or f"j/{job}/t/" in name]:
                reply = other.object("GET", "/" + name, task)
                self.assertEqual(reply.status, 200)
                # The others' very blocks, spoilt, with right checksums, under a name that readers and grooms would look into first.
                capture_of = int(name.split("/")[3].split("-")[0], 16) >> 24
                spoilt = Pack(job, key, capture_of, 0, 1 if "/p/" in name else 2)
                for i in range(20):
                    spoilt.add(bytes([i]) * 4000)
                for lies in ({}, {"round": 1}, {"round": 0xffff}, {"capture": capture, "span": capture << 24}, {"capture": capture, "span": 0},
                             {"capture": capture, "span": (capture - capture_of) << 24, "round": 7}):
                    reply = other.object("PUT", "/" + spoilt.name(writer, **lies), task, spoilt.object())
                    self.assertIn(reply.status, (400, 403), (name, lies, reply.body))
                    self.refused(reply, reply.status, reply.json["error"], job=job, agent=OTHER)
                self.assertIn(other.object("PUT", "/" + name, task, spoilt.object()).status, (403,), "over what is there")
            # The greatest number: the job would have none left.
            last = Pack(job, key, (1 << 40) - 1)
            last.add(b"x")
            self.refused(other.object("PUT", "/" + last.name(writer), task, last.object()), 403, "DENIED", job=job, agent=OTHER)
            # What it does to its own attempt is its own affair.
            own = Pack(job, key, capture, 0)
            own.add(b"garbage")
            self.assertEqual(self.put(own, task, other).status, 201)
        self.give_up(snapshot, task, other)
        other.sets = ()
        self.assertEqual(other.poll().status, 200)
        self.honest_take()
        self.cli("store", "groom", self.server.store, "--living-percent", "100")
        self.check_honest("inside")
        report = self.cli("store", "verify", self.server.store)
        self.assertTrue(report["ok"], report)
        self.assertGreater(len(self.d.listed()), len(self.honest))


ALL = handmade.ALL_ONES

if __name__ == "__main__":
    harness.main()
