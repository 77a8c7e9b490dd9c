#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A bad network between agent and server, and between agent and member, at each place where it can hurt.

The network is a TCP proxy of the tests' own and not network namespaces (proxy.py says why, and what "reordered" means
above TCP). Whatever it does: the capture ends COMPLETE when the network is back, or FAILED or ABANDONED with the host and
the cause in its message; no finished pack is sent again; no cursor stays open; what is listed verifies and restores; the
next take is COMPLETE. What takes long, and the other pairs of place and fault, run in a soak.

Lines that are cut once, again and again, for a while, or stall in an upload: test_crashes.py.
"""
import contextlib
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import compare_states, opened, state_of, wait_for
from proxy import FINISH, GET, POLL, PUT, MongoProxy, OnALine

SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
PATIENCE_S = 2  # of the agent with a connection on which nothing moves


class Case(OnALine, harness.TestCase):
    """One member that nobody writes to between takes; the agent's line to the server is the proxy's."""

    member_arguments = ()
    agent_arguments = ()
    through = None

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, server_arguments=["--task-silence", "60s"], member_arguments=cls.member_arguments,
                                   agent_arguments=["--workers", "2", "--server-patience", f"{PATIENCE_S}s", *cls.agent_arguments],
                                   through=cls.through)
        cls.cli, cls.server, cls.agent, cls.member = cls.d.cli, cls.d.server, cls.d.agents[0], cls.d.set.members[0]
        cls.writer = harness.Writer(cls.d.set)
        cls.agent.stop()
        cls.put_between()
        cls.agent.start()
        cls.restores = 0

    def setUp(self):
        self.line.mend()
        self.line.forget()
        if not self.agent.alive():
            self.agent.start()

    def load(self, megabytes=6):
        for _ in range(megabytes):
            self.writer.load(25, pad=40000)
        self.d.set.wait_checkpoint()

    def check_restores(self, record):
        type(self).restores += 1
        directory = self.d.restore(record["id"], f"r{self.restores}")
        self.check_directory(directory, record)

    def check_directory(self, directory, record):
        files = [path for path in directory.rglob("*") if path.is_file() and path.name != "restoreInfo.txt"]
        self.assertEqual((len(files), sum(path.stat().st_size for path in files)), (record["files"], record["bytes"]))
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(harness.checkpoint_of(record)), state_of(member.client, "app")), "")
        shutil.rmtree(directory)

    def check_complete(self, snapshot_id, limit=120):
        """It ended well, although; nothing was sent without need."""
        record = self.d.wait_ended(snapshot_id, limit)
        self.assertEqual(record["state"], "COMPLETE", record.get("error"))
        self.assertEqual(self.line.sent_without_need(), {}, f"sent again without need; no answer had: {self.line.broken}")
        self.d.wait_no_cursor()
        self.assertTrue(self.cli("snapshot", "verify", snapshot_id)["ok"])
        return record

    def check_given_up(self, snapshot_id, pattern, states=("ABANDONED",)):
        record = self.d.wait_ended(snapshot_id)
        self.assertIn(record["state"], states, record)
        self.assertRegex(record["error"], pattern)
        self.assertNotIn(snapshot_id, self.d.listed())
        return record

    def check_next(self, restore=SOAK):
        """The next take is all it should be. Restored once a class, and each time in a soak."""
        self.d.wait_no_cursor()
        wait_for(lambda: not self.cli("job", "show", "--set", "rs0").get("runningSnapshotId"), "the job to be free", every=0.2)
        record = self.d.take()
        self.assertTrue(self.cli("snapshot", "verify", record["id"])["ok"])
        if restore:
            self.check_restores(record)
        return record


class AgentAndServer(Case):
    DEAD = ("half open", "refused", "answers cut", "requests cut")

    def spoil(self, fault):
        """What the agent has handed over lies in buffers of the system, megabytes here: a slow line must empty them within the
        agent's patience."""
        up, down = self.line.up, self.line.down
        if fault == "slow":
            up.rate = down.rate = 6 << 20
        elif fault == "reordered":
            up.jitter_s = down.jitter_s = 0.02
        elif fault == "in pieces":
            up.pieces, down.pieces, up.jitter_s, down.jitter_s = (1, 60000), (1, 60000), 0.002, 0.002
        elif fault == "delayed":
            up.delay_s = down.delay_s = 0.005
        else:
            {"half open": self.line.half_open, "refused": self.line.refuse, "answers cut": lambda: self.line.cut(up=False),
             "requests cut": lambda: self.line.cut(down=False)}[fault]()

    def bad_at(self, pattern, fault, wait_end, nth=1):
        """From the nth such request on the line has that fault: a dead one until the agent has noticed, another one until the
        end. What wait_end() gives."""
        noticed = r"agent\.poll\.failed|agent\.server\.unreachable"
        log = self.agent.log.stat().st_size
        rule = self.line.at(pattern, lambda connection: self.spoil(fault), nth)
        self.line.wait(rule)
        if fault in self.DEAD:
            wait_for(lambda: re.search(noticed, self.agent.log.read_text()[log:]), f"the agent to notice a line that is {fault}")
            self.line.mend()
        ended = wait_end()
        self.line.mend()
        return ended

    def faults(self, share):
        return ["half open", "refused", "answers cut", "requests cut", "slow", "reordered", "in pieces", "delayed"] if SOAK else share

    def test_in_the_middle_of_an_upload(self):
        for fault in self.faults(["half open"]):
            with self.subTest(fault=fault):
                self.load()
                self.line.forget()
                snapshot_id = self.d.begin_take()
                self.bad_at(PUT, fault, lambda: self.check_complete(snapshot_id), nth=2)
        self.check_next()

    def test_at_a_finish(self):
        for fault in self.faults(["requests cut"]):
            with self.subTest(fault=fault):
                snapshot_id = self.d.begin_take()
                self.bad_at(FINISH, fault, lambda: self.check_complete(snapshot_id))
        self.d.take()

    def test_a_whole_capture_over_a_bad_line(self):
        """Requests overtake each other, come late and in pieces."""
        self.load(4)
        self.line.forget()
        self.line.up.pieces, self.line.down.pieces = (1, 60000), (1, 2000)
        self.line.up.jitter_s, self.line.down.jitter_s = 0.01, 0.003
        self.check_complete(self.d.begin_take())
        self.line.mend()
        self.check_next(restore=True)

    def test_answers_that_are_lost_after_the_server_has_acted(self):
        """Hello, poll, put and finish come twice."""
        self.agent.stop()
        hello = self.line.lose_answer(r"POST /agent/v1/hello", times=2)
        self.agent.start()
        self.line.wait(hello)
        self.d.wait_members()
        self.load(4)
        self.line.forget()
        rules = [self.line.lose_answer(POLL, nth=2, times=3), self.line.lose_answer(PUT, times=3), self.line.lose_answer(FINISH, times=3)]
        snapshot_id = self.d.begin_take()
        self.check_complete(snapshot_id)
        for rule in rules:
            self.line.wait(rule)
        self.assertGreaterEqual(sum(count - 1 for name, count in self.line.sent.items() if name.startswith("PUT")), 3)
        self.assertEqual(len([one for one in self.d.listed() if one == snapshot_id]), 1)
        self.check_next()

    def test_in_a_restore(self):
        self.load(4)
        record = self.d.take()
        for fault in self.faults(["half open"]) + (["cut", "answers lost"] if SOAK else ["answers lost"]):
            with self.subTest(fault=fault):
                type(self).restores += 1
                directory = self.d.restore_root / f"r{self.restores}"
                if fault == "cut":
                    rule = self.line.at(GET, lambda connection: connection.close(), nth=2, times=3)
                elif fault == "answers lost":
                    rule = self.line.lose_answer(GET, nth=2, times=3)

                def wait_end():
                    return wait_for(lambda: next((one for one in self.cli("restore", "list")["results"]
                                                  if one["id"] == restore_id and one["state"] != "IN_PROGRESS"), None), "the end of the restore")

                restore_id = self.cli("restore", "start", "--snapshot", record["id"], "--to", directory, "--no-wait")["id"]
                if fault in ("cut", "answers lost"):
                    self.line.wait(rule)
                ended = wait_end() if fault in ("cut", "answers lost") else self.bad_at(GET, fault, wait_end, nth=2)
                self.assertEqual(ended["state"], "FINISHED", ended)
                self.check_directory(directory, record)

    def test_a_line_that_dies_while_nothing_is_done(self):
        """The poll that waits is swallowed: a take is begun all the same, when the agent has found out."""
        if SOAK:  # a poll waits for 30 s
            self.line.half_open()
            snapshot_id = self.d.begin_take()
            self.line.mend()
            self.check_complete(snapshot_id)
        for fault in ("refused", "drop") if SOAK else ("drop",):
            with self.subTest(fault=fault):
                if fault == "drop":
                    self.line.drop()
                else:
                    log = self.agent.log.stat().st_size
                    self.line.refuse()
                    wait_for(lambda: "agent.poll.failed" in self.agent.log.read_text()[log:], "the agent to notice")
                snapshot_id = self.d.begin_take()
                self.line.mend()
                self.check_complete(snapshot_id)
        self.d.take()

    def rss(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.server.popen.pid}/status").read_text()).group(1)) << 10

    def test_many_half_open_connections_cost_the_server_little(self):
        """Silent ones, half a head, a head whose body never comes, an answer that nobody reads; beside them a take goes on."""
        key = (self.server.data / "agent.key").read_text().strip()
        head = f"Host: x\r\nAuthorization: Bearer {key}\r\nHoldfast-Protocol: 1\r\n"
        kinds = [b"", b"GET /api/public/v1.0 HTTP/1.1\r\nHost: x\r\nX-Half: ",
                 f"POST /agent/v1/hello HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: 8000000\r\n\r\n{{".encode(),
                 b"GET /api/public/v1.0 HTTP/1.1\r\nHost: x\r\n\r\n" * 50]
        self.d.take()
        before, ends = self.rss(), []
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard != resource.RLIM_INFINITY else 4096, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.addCleanup(lambda: [end.close() for end in ends])
        count = 800
        for i in range(count):
            end = socket.create_connection(("127.0.0.1", self.server.port), 10)
            ends.append(end)
            with contextlib.suppress(OSError):
                end.sendall(kinds[i % len(kinds)])
        record = self.check_next()
        self.assertEqual(record["state"], "COMPLETE")
        grown = self.rss() - before
        print(f"{count} half-open connections: {grown / count / 1024:.0f} KiB each", file=sys.stderr)
        self.assertLess(grown, 150 << 20)
        if SOAK:  # after a minute of silence the server gives them up
            def closed():
                gone = 0
                for end in ends:
                    end.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        try:
                            gone += end.recv(1 << 20) == b""
                        except ConnectionError:
                            gone += 1
                return gone == count

            wait_for(closed, "all of them to be closed", 900, every=1)


LIFE_S = 8  # of an idle cursor at the member
DRIVER = "socketTimeoutMS=2000&connectTimeoutMS=2000"


class AgentAndMember(Case):
    """The set calls its member by the proxy's address, so that the driver, which goes by the set's own names, comes through."""

    member_arguments = ("--setParameter", f"cursorTimeoutMillis={LIFE_S * 1000}")

    @staticmethod
    def through(member):
        AgentAndMember.wire = MongoProxy(member)
        return AgentAndMember.wire.host

    @classmethod
    def deploy(cls):
        super().deploy()
        place = cls.agent.command.index("--seeds")
        cls.agent.command[place:place + 2] = ["--mongodb", f"mongodb://{cls.member.host}/?{DRIVER}"]
        cls.agent.stop()
        cls.agent.start()

    @classmethod
    def tearDownClass(cls):
        cls.wire.close()
        super().tearDownClass()

    def setUp(self):
        self.wire.mend()
        super().setUp()
        self.d.wait_members()

    def test_in_the_middle_of_a_capture(self):
        """Shorter than the cursor lives: the capture does not mind."""
        for fault in ("half open", "late and in pieces") + (("drop", "refused", "answers cut", "requests cut") if SOAK else ()):
            with self.subTest(fault=fault):
                snapshot_id, release = self.hold()
                if fault == "late and in pieces":
                    self.wire.up.pieces, self.wire.down.pieces = (1, 9), (1, 50)
                    self.wire.up.jitter_s = self.wire.down.jitter_s = 0.004
                    asked = self.wire.count("getMore")
                    wait_for(lambda: self.wire.count("getMore") >= asked + 3, "the agent to ask after its cursor")
                else:
                    {"drop": self.wire.drop, "refused": self.wire.refuse, "half open": self.wire.half_open,
                     "answers cut": lambda: self.wire.cut(up=False), "requests cut": lambda: self.wire.cut(down=False)}[fault]()
                    self.wait_logged("backup.cursor.unreachable")
                self.assertEqual(self.d.snapshot(snapshot_id)["state"], "IN_PROGRESS")
                self.wire.mend()
                release()
                self.check_complete(snapshot_id)
                # The look at the members may have met the bad line too; the next one finds the member again.
                self.d.wait_members()
        self.check_next(restore=True)

    if SOAK:  # it takes as long as a cursor lives; test_world_member.py stops the member
        def test_longer_than_the_cursor_lives(self):
            """Nothing is sealed that the member may have changed under the copy."""
            snapshot_id, release = self.hold()
            self.wire.half_open()
            self.wait_logged("backup.cursor.lost")
            release()
            wait_for(lambda: self.cli("agent", "list")["results"][0]["members"][0]["state"] == "UNREACHABLE", "the member to be known as unreachable")
            said = self.cli.run("snapshot", "take", "--set", "rs0").err
            self.assertIn(self.member.host, said)
            self.wire.mend()
            self.check_given_up(snapshot_id, rf"^capture of rs0 from {self.member.host}: .*backup cursor lost: no answer for \d+ s, longer than it lives")
            self.d.wait_members()
            self.check_next()

    def test_answers_of_the_member_that_are_lost(self):
        """The cursor was opened and nobody was told; a question after it; the cursor was closed and nobody was told."""
        lost = self.wire.lose_answer(r"aggregate \$backupCursor")
        snapshot_id = self.d.begin_take()
        self.wire.wait(lost)
        self.check_given_up(snapshot_id, rf"^capture of rs0 from {self.member.host}: open the backup cursor: {self.member.host}: \$backupCursor: ")
        self.d.wait_no_cursor()
        snapshot_id, release = self.hold()
        lost = self.wire.lose_answer("getMore", times=2)
        self.wire.wait(lost)
        release()
        self.check_complete(snapshot_id)
        lost = self.wire.lose_answer("killCursors")
        snapshot_id = self.d.begin_take()
        self.wire.wait(lost)
        record = self.d.wait_ended(snapshot_id)
        if record["state"] != "COMPLETE":
            self.check_given_up(snapshot_id, rf"^capture of rs0 from {self.member.host}: close the backup cursor: ")
        self.check_next()

    def test_an_agent_that_is_stopped_ends_though_nobody_answers(self):
        """Its cursor is left then, and closed by its next start, or by the member in time."""
        for lines in ((self.line,), (self.wire,), (self.line, self.wire)) if SOAK else ((self.line,),):
            with self.subTest(lines=len(lines)):
                snapshot_id, release = self.hold()
                for line in lines:
                    line.half_open()
                self.agent.signal(signal.SIGTERM)
                self.assertEqual(self.agent.wait(80), 0)
                if lines == (self.line,):
                    self.assertEqual(self.member.idle_backup_cursors(), [])
                release()
                for line in lines:
                    line.mend()
                self.agent.start()
                self.check_given_up(snapshot_id, "the agent was stopped")
                self.d.wait_members()
                self.check_next()


if __name__ == "__main__":
    harness.main()
