#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clocks that are wrong, disagree, and jump both ways in the middle of the work; a server that time passed by.

The wall clock of a process is moved by the clock door of the test build (HOLDFAST_TEST_CLOCK, src/os/clock.c), for agent and
server each by its own; the members, the store's files and what was slept keep the true time. "No clock decides what is safe to
delete" (store-format.md, I10).
"""
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import compare_states, opened, state_of, wait_for
from proxy import POLL, OnALine

SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
HOUR, TEN_YEARS = 3600, 10 * 365 * 86400
SILENT = "nothing was heard of the agent for too long"


class Clock:
    """A wall clock that is wrong by so many seconds, from set() on."""

    def __init__(self, path):
        self.path = path
        self.set(0)

    def set(self, seconds):
        new = self.path.with_suffix(".new")
        new.write_text(str(int(seconds * 1000)))
        new.rename(self.path)


class Clocks(OnALine, harness.TestCase):
    silence = "3s"

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, server_arguments=["--task-silence", cls.silence], agent_arguments=["--workers", "2"])
        cls.cli, cls.server, cls.agent, cls.member = cls.d.cli, cls.d.server, cls.d.agents[0], cls.d.set.members[0]
        cls.put_between()
        cls.clocks = {}
        for process in (cls.server, cls.agent):
            cls.clocks[process.name] = clock = Clock(cls.scratch.dir / f"{process.name}.clock")
            process.stop()
            process.env["HOLDFAST_TEST_CLOCK"] = str(clock.path)
            process.start()
        cls.server_clock, cls.agent_clock = cls.clocks["server"], cls.clocks["agent-0"]
        cls.d.wait_members()
        cls.writer = harness.Writer(cls.d.set)
        cls.load()
        cls.restores = 0

    def setUp(self):
        self.line.mend()
        for clock in self.clocks.values():
            clock.set(0)
        if not self.agent.alive():
            self.agent.start()
        self.d.wait_members()

    @classmethod
    def load(cls, megabytes=3):
        for _ in range(megabytes):
            cls.writer.load(25, pad=40000)
        cls.d.set.wait_checkpoint()

    def check(self, record, restore=False):
        self.assertEqual(record["state"], "COMPLETE", record)
        self.assertTrue(self.cli("snapshot", "verify", record["id"])["ok"])
        if restore:
            type(self).restores += 1
            directory = self.d.restore(record["id"], f"r{self.restores}")
            with opened(self.scratch, directory) as member:
                self.assertEqual(compare_states(self.writer.state_at(harness.checkpoint_of(record)), state_of(member.client, "app")), "")
            shutil.rmtree(directory)

    def hold(self):
        """A capture that waits with its first object, until the release() that is returned."""
        self.load(1)
        return super().hold()

    def polls(self, more=3):
        """Time for the server to look at what is silent (every 2 s) while the agent polls every second."""
        goal = self.line.count(POLL) + more
        wait_for(lambda: self.line.count(POLL) >= goal, "more polls", every=0.2)

    def test_clocks_that_disagree_by_two_hours(self):
        for server, agent in ((HOUR, -HOUR), (-HOUR, HOUR)):
            with self.subTest(server=server):
                self.server_clock.set(server)
                self.agent_clock.set(agent)
                # At once: agents are not silent because the clock says that they were heard of an hour ago.
                self.check(self.d.take(), restore=SOAK)
                agents = self.cli("agent", "list")["results"]
                self.assertEqual([one["connected"] for one in agents], [True])

    def test_jumps_in_the_middle_of_a_capture_give_nobody_up(self):
        self.server_clock.set(HOUR)
        snapshot_id, release = self.hold()
        for seconds in (TEN_YEARS, -HOUR, 0) if SOAK else (TEN_YEARS, 0):
            self.server_clock.set(seconds)
            self.agent_clock.set(-seconds / 2)
            self.polls()
            self.assertEqual(self.d.snapshot(snapshot_id)["state"], "IN_PROGRESS")
        release()
        self.check(self.d.wait_ended(snapshot_id))
        # It ended before it began.
        self.assertRegex(self.cli.run("snapshot", "show", snapshot_id).out, r"(?m)^  took         0 s$")

    def test_a_clock_that_never_rests(self):
        """Both clocks jump all the time, through captures with a limited rate and a restore."""
        self.load(1)
        dice, over = random.Random(5), threading.Event()

        def jump():
            while not over.wait(0.02):
                dice.choice(list(self.clocks.values())).set(dice.uniform(-HOUR, HOUR))

        self.agent.stop()
        self.agent.start(arguments=["--rate-limit", "20MiB"])
        jumper = threading.Thread(target=jump, daemon=True)
        jumper.start()
        try:
            for _ in range(4 if SOAK else 1):
                self.check(self.d.take())
            self.check(self.d.take(), restore=True)
        finally:
            over.set()
            jumper.join()
        self.agent.stop()

    def test_a_clock_that_was_set_back_gives_a_dead_agent_up_all_the_same(self):
        self.server_clock.set(HOUR)
        snapshot_id, release = self.hold()
        self.polls(1)
        self.server_clock.set(-HOUR)
        self.agent.kill()
        release()
        record = self.d.wait_ended(snapshot_id, 30)
        self.assertEqual((record["state"], record["errorClass"], record["error"]), ("ABANDONED", "LOST", SILENT))
        # And the one that comes back is heard at once.
        self.agent.start()
        self.d.wait_members()
        self.d.wait_no_cursor()
        self.check(self.d.take())

    def test_a_server_that_stood_still_gives_nobody_up(self):
        """Stopped, or a machine asleep: it could hear nobody for longer than it lets a task be silent."""
        snapshot_id, release = self.hold()
        self.server.signal(signal.SIGSTOP)
        until = time.monotonic() + int(self.silence[:-1]) + 2
        wait_for(lambda: time.monotonic() > until, "the time of a task's silence")
        self.server.signal(signal.SIGCONT)
        self.polls()
        self.assertEqual(self.d.snapshot(snapshot_id)["state"], "IN_PROGRESS")
        release()
        self.check(self.d.wait_ended(snapshot_id))

    def test_the_order_of_snapshots_is_that_of_their_making(self):
        taken = []
        for seconds in (HOUR, 0, -HOUR, 10):
            self.server_clock.set(seconds)
            record = self.d.take()
            if taken:
                self.assertEqual(record["parentCapture"], taken[-1]["capture"])
            taken.append(record)
        self.assertEqual(len({one["id"] for one in taken}), len(taken))
        captures = [one["capture"] for one in taken]
        self.assertEqual(captures, sorted(captures))
        newest_first = [one["id"] for one in reversed(taken)]
        self.assertEqual(self.d.listed()[:len(taken)], newest_first)
        in_store = [one["id"] for one in self.cli("store", "list", self.server.store, *self.server.key_arguments())["results"] if "id" in one]
        self.assertEqual([one for one in in_store if one in newest_first], newest_first[::-1])
        said = self.cli.run("snapshot", "show", taken[-1]["id"]).out
        self.assertRegex(said, r"(?m)^  took         \d{1,2} s$")

    def test_damage_is_healed_though_it_was_found_before_the_snapshot_was_made(self):
        """By the clock, that is: which was set back in between."""
        self.server_clock.set(HOUR)
        self.load(1)
        had = set(self.server.packs()) | set(self.server.objects())
        record = self.d.take()
        objects = {name: size for name, size in self.server.objects().items() if name not in had and ("/p/" in name or "/t/" in name)}
        path = self.server.store_dir / max(objects, key=objects.get)
        os.chmod(path, 0o640)
        with open(path, "r+b") as file:
            file.seek(objects[str(path.relative_to(self.server.store_dir))] // 3)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0x10]))
        os.chmod(path, 0o440)
        self.server_clock.set(-HOUR)
        self.assertEqual(self.cli.run("snapshot", "verify", record["id"]).code, 8)
        self.check(self.d.take())
        self.assertTrue(self.cli("snapshot", "verify", record["id"])["ok"], "the next take has healed it")

    def test_nonces_do_not_live_by_the_wall_clock(self):
        """One that a clock an hour ahead made would shut out all that come after the clock was set right."""

        def issued_ms():
            try:
                urllib.request.urlopen(self.server.url + "/api/public/v1.0", timeout=30)
            except urllib.error.HTTPError as error:
                with error:
                    nonce = re.search('nonce="([0-9a-f]+)"', error.headers["WWW-Authenticate"]).group(1)
                    return int.from_bytes(bytes.fromhex(nonce[:16]), "little")
            raise AssertionError("answered without a login")

        self.server_clock.set(HOUR)
        ahead = issued_ms()
        self.server_clock.set(-HOUR)
        behind = issued_ms()
        self.assertGreaterEqual(behind, ahead)
        self.assertLess(behind - ahead, 60_000)
        self.cli("server", "status")

    def test_a_groom_deletes_nothing_that_is_promised_whatever_its_clock_says(self):
        doomed = self.d.take()
        kept = self.d.take("--retention-days", "1")
        self.cli("snapshot", "delete", doomed["id"])
        snapshot_id, release = self.hold()  # what it has sent is reached by nothing but its claim
        for seconds in (TEN_YEARS, -HOUR):
            self.server_clock.set(seconds)
            clock = self.clocks["groom"] = Clock(self.scratch.dir / "groom.clock")
            clock.set(seconds)
            answer = self.cli.run("store", "groom", self.server.store, *self.server.key_arguments(), "--living-percent", "100",
                                  env={"HOLDFAST_TEST_CLOCK": str(clock.path)})
            self.assertEqual(answer.code, 0, answer.err)
            self.assertEqual(self.d.snapshot(kept["id"])["state"], "COMPLETE")
            self.assertIn(kept["id"], self.d.listed())
        release()
        self.check(self.d.wait_ended(snapshot_id))
        for one in self.d.listed():
            self.assertTrue(self.cli("snapshot", "verify", one)["ok"])


if __name__ == "__main__":
    harness.main()
