#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The member during a capture: stopped for longer than its cursor lives, restarted, killed, rolled back.

What must hold: nothing is sealed that the member may have changed under the copy; a snapshot lists majority-committed time
only; what goes wrong is said with the member's name; the next take is COMPLETE. Elections and deaths in a set of three:
test_set_of_three.py.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import sys
import time

import pymongo.errors

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import checkpoint_of, compare_states, opened, state_of, wait_for
from proxy import OnALine

SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
LIFE_S = 3  # of an idle cursor


class Case(OnALine, harness.TestCase):
    """The agent of the first member, by a line on which a capture can be held."""

    @classmethod
    def deploy_with(cls, members, driver, agent_arguments=(), **kwargs):
        cls.d = harness.Deployment(cls.scratch, members, start_job=False, agents=1, **kwargs)
        cls.cli, cls.server, cls.member = cls.d.cli, cls.d.server, cls.d.set.members[0]
        cls.agent = cls.d.agents[0]
        cls.agent.stop()
        cls.put_between()
        place = cls.agent.command.index("--seeds")
        seeds = ",".join(member.host for member in cls.d.set.members)
        cls.agent.command[place:place + 2] = ["--mongodb", f"mongodb://{seeds}/?{driver}", *agent_arguments]
        cls.agent.start()
        cls.writer = harness.Writer(cls.d.set)
        cls.load()
        cls.wait_member()
        cls.cli("job", "start", "--set", "rs0")
        cls.restores = 0

    @classmethod
    def load(cls, megabytes=2):
        for _ in range(megabytes):
            cls.writer.load(25, pad=40000)
        cls.d.set.wait_checkpoint()

    @classmethod
    def wait_member(cls, states=("PRIMARY", "SECONDARY")):
        """The server knows the agent's member so."""

        def there():
            known = [one for agent in cls.cli("agent", "list")["results"] for one in agent["members"] if one["host"] == cls.member.host]
            return known and known[0]["state"] in states and (not known[0].get("refusal") or "PRIMARY" not in states)

        wait_for(there, f"the member to be {states}", 90, every=0.2)

    def setUp(self):
        self.line.mend()
        self.wait_member()

    def check_restores(self, record):
        self.assertEqual(record["state"], "COMPLETE", record.get("error"))
        type(self).restores += 1
        directory = self.d.restore(record["id"], f"r{self.restores}")
        self.writer.settle()
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(checkpoint_of(record)), state_of(member.client, "app")), "")
        shutil.rmtree(directory)

    def check_lost(self, snapshot_id, pattern="backup cursor lost"):
        record = self.d.wait_ended(snapshot_id, 90)
        self.assertEqual((record["state"], record["errorClass"]), ("ABANDONED", "LOST"), record)
        self.assertRegex(record["error"], rf"^capture of rs0 from {self.member.host}: .*{pattern}")
        self.assertNotIn(snapshot_id, self.d.listed())
        self.assertEqual([one for one in self.cli("store", "list", self.server.store, *self.server.key_arguments())["results"]
                          if one.get("id") == snapshot_id], [], "nothing was sealed")
        return record

    def check_next(self, restore=SOAK):
        self.wait_member()
        self.d.wait_no_cursor()
        wait_for(lambda: not self.cli("job", "show", "--set", "rs0").get("runningSnapshotId"), "the job to be free", every=0.2)
        record = self.d.take()
        self.assertTrue(self.cli("snapshot", "verify", record["id"])["ok"])
        if restore:
            self.check_restores(record)
        return record


class Alone(Case):
    """One member, whose idle cursors live for seconds."""

    driver = "socketTimeoutMS=1000&connectTimeoutMS=1000"

    @classmethod
    def deploy(cls):
        cls.deploy_with(1, cls.driver, member_arguments=["--setParameter", f"cursorTimeoutMillis={LIFE_S * 1000}"])

    def setUp(self):
        if not self.member.alive():
            self.member.start()
        super().setUp()

    def test_stopped_for_longer_than_the_cursor_lives(self):
        """The agent finds out while the member stands still, and seals nothing though the member would go on."""
        snapshot_id, release = self.hold()
        self.member.signal(signal.SIGSTOP)
        try:
            self.wait_logged("backup.cursor.lost")
        finally:
            self.member.signal(signal.SIGCONT)
        self.load(1)
        release()
        self.check_lost(snapshot_id, r"backup cursor lost: no answer for \d+ s, longer than it lives idle: ")
        self.check_next()

    def test_stopped_under_a_driver_that_waits_longer_than_the_cursor_lives(self):
        """The member goes on first: it has closed the cursor, or it answers and has kept it. Only then may the copy be good."""
        place = next(i for i, word in enumerate(self.agent.command) if word.startswith("mongodb://"))
        usual = self.agent.command[place]
        self.agent.command[place] = usual.replace(self.driver, "socketTimeoutMS=60000&connectTimeoutMS=60000")
        self.agent.stop()
        self.agent.start()
        self.wait_member()
        snapshot_id, release = self.hold()
        self.member.signal(signal.SIGSTOP)
        until = time.monotonic() + LIFE_S + 2
        wait_for(lambda: time.monotonic() > until, "the life of the cursor")
        self.member.signal(signal.SIGCONT)
        for _ in range(3):  # files change as soon as they may
            self.load(1)
        release()
        record = self.d.wait_ended(snapshot_id)
        if record["state"] == "COMPLETE":
            self.check_restores(record)
        else:
            self.check_lost(snapshot_id)
        self.agent.command[place] = usual
        self.agent.stop()
        self.agent.start()
        self.check_next()

    def test_stopped_at_the_very_end(self):
        """The last object is sent, and the member stands still when the agent asks for the last time after its cursor."""
        snapshot_id, release = self.hold()
        self.member.signal(signal.SIGSTOP)
        release()
        try:
            self.wait_logged("backup.cursor.lost|agent.task.failed")
        finally:
            self.member.signal(signal.SIGCONT)
        record = self.d.wait_ended(snapshot_id)
        self.assertEqual(record["state"], "ABANDONED", record)
        self.assertRegex(record["error"], rf"^capture of rs0 from {self.member.host}: .*backup cursor")
        self.check_next()

    def test_restarted_and_killed(self):
        for how in ("stopped", "killed") if SOAK else ("stopped",):
            with self.subTest(how=how):
                self.load(1)
                snapshot_id, release = self.hold()
                if how == "stopped":
                    self.member.stop()
                else:
                    self.member.kill()
                self.member.start()
                wait_for(self.member.is_primary, "the member to be the primary again")
                self.load(1)
                release()
                record = self.check_lost(snapshot_id)
                again = self.check_next(restore=True)
                self.assertEqual(again["adoptedCapture"], record["capture"])


class Isolated(Case):
    """A primary whose secondaries hear nothing, with writes that only it has, and that are undone later."""

    @classmethod
    def deploy(cls):
        cls.deploy_with(3, "socketTimeoutMS=2000&connectTimeoutMS=1000", ["--majority-wait", "1s"],
                        config={0: {"priority": 1}, 1: {"priority": 1}, 2: {"priority": 0}},
                        settings={"electionTimeoutMillis": 3000})
        cls.others = cls.d.set.members[1:]

    @contextlib.contextmanager
    def others_stopped(self):
        for other in self.others:
            other.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for other in self.others:
                other.signal(signal.SIGCONT)

    def setUp(self):
        if not self.member.alive():
            self.member.start()
        wait_for(lambda: len(self.d.set.secondaries()) == 2 and self.d.set.primary(), "the set in order", 120)
        if not self.member.is_primary():
            primary = self.d.set.primary()
            with contextlib.suppress(pymongo.errors.PyMongoError):
                primary.client.admin.command({"replSetStepDown": 20, "secondaryCatchUpPeriodSecs": 10})
            self.d.set.wait_primary(other_than=primary)
        wait_for(self.member.is_primary, "the first member to be the primary", 90)
        self.load(1)
        super().setUp()

    def orphan(self, count=20):
        """Writes that no other member has."""
        rows = [{"_id": f"{time.monotonic_ns()}-{i}", "blob": os.urandom(20000)} for i in range(count)]
        self.member.client.app.orphans.insert_many(rows)
        return self.member.client.admin.command("isMaster")["lastWrite"]["opTime"]["ts"]

    def newest_committed(self):
        return self.member.client.admin.command("replSetGetStatus")["optimes"]["lastCommittedOpTime"]["ts"]

    def undo(self):
        """The others go on without it, so that what only it has is not in the set's history."""
        wait_for(lambda: any(other.is_primary() for other in self.others), "another primary", 90)
        for _ in range(2):
            self.writer.load(25, pad=4000)

    def wait_undone(self):
        """It follows the others again and its own writes are gone."""

        def gone():
            if not self.member.alive():
                self.member.start()
            return self.member.hello().get("secondary") and self.member.client.app.orphans.count_documents({}) == 0

        wait_for(gone, "the first member to have taken its writes back", 120, every=0.3)
        self.d.set.wait_checkpoint()

    def take_isolated(self):
        """A snapshot of the isolated primary, and the time of a write that must not be in it."""
        committed = self.newest_committed()
        orphan = self.orphan()
        self.assertGreater(orphan, committed)
        record = self.d.take()
        self.assertLess(checkpoint_of(record), orphan)
        self.assertLess((record["committed"]["seconds"], record["committed"]["increment"]), (orphan.time, orphan.inc))
        self.assertGreaterEqual((record["oplogEnd"]["seconds"], record["oplogEnd"]["increment"]), (orphan.time, orphan.inc),
                                "what is undone later is in the copy's oplog")
        return record, orphan

    def test_it_lists_committed_time_only_and_is_undone_under_an_open_cursor(self):
        """Its snapshot is as of what the majority had; then it wakes up in a set that went on, with a capture under way."""
        with self.others_stopped():
            record, orphan = self.take_isolated()
            snapshot_id, release = self.hold()
            self.member.signal(signal.SIGSTOP)
        try:
            self.undo()
        finally:
            self.member.signal(signal.SIGCONT)
        # It is not waited for until all is undone: the cursor may keep it from that.
        wait_for(lambda: not self.member.alive() or not self.member.is_primary(), "the first member to step down", 60)
        release()
        second = self.d.wait_ended(snapshot_id, 120)
        if second["state"] == "COMPLETE":
            self.assertLess(checkpoint_of(second), orphan)
            self.check_restores(second)
        else:
            self.assertEqual(second["state"], "ABANDONED", second)
            self.assertRegex(second["error"], rf"^capture of rs0 from {self.member.host}: ")
        self.wait_undone()
        self.check_restores(record)
        self.check_next(restore=True)

    if SOAK:
        def test_it_is_killed_and_undone_when_it_is_back(self):
            with self.others_stopped():
                record, _ = self.take_isolated()
                self.member.kill()
            self.undo()
            self.member.start()
            self.wait_undone()
            self.check_restores(record)
            self.check_next()


if __name__ == "__main__":
    harness.main()
