#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three members: which one is captured, and what elections, deaths and other people's cursors do to a capture."""
import math
import pathlib
import re
import shutil
import signal
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import checkpoint_of, compare_states, opened, state_of, wait_for

MARK = ".holdfast-restore-incomplete"
STOPPED = "the agent was stopped while it worked on this"


class Line(harness.Proxy):
    """An agent's line to the server. After allow(n) n more objects are PUT (or: GET), and the next wait; all else passes."""

    def __init__(self, agent, server, method):
        self.request, self.left_over, self.changed = f"{method} /agent/v1/objects/".encode(), math.inf, threading.Condition()
        super().__init__(server.port)
        agent.stop()
        agent.command[agent.command.index(server.url)] = self.url
        agent.start()

    def passes(self, source, sink, up, piece):
        if up and piece.startswith(self.request):
            with self.changed:
                self.changed.wait_for(lambda: self.left_over > 0)
                self.left_over -= 1

    def allow(self, count=math.inf):
        with self.changed:
            self.left_over = count
            self.changed.notify_all()


class SetOfThree(harness.TestCase):
    """The first member has the highest priority; the last one the lowest, so that it is the source."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, 3, config={0: {"priority": 10}, 1: {"priority": 2}, 2: {"priority": 1}},
                                   agent_arguments=["--cursor-patience", "3s"])
        cls.cli, cls.set = cls.d.cli, cls.d.set
        cls.source = cls.set.members[2]
        cls.restorer, cls.capturer = cls.d.agents[0], cls.d.agents[2]
        cls.restore_line, cls.capture_line = Line(cls.restorer, cls.d.server, "GET"), Line(cls.capturer, cls.d.server, "PUT")
        cls.writer = harness.Writer(cls.set, pause=0.01).load(2000)
        cls.writer.start()
        cls.set.wait_checkpoint()
        cls.first = cls.d.take()

    def setUp(self):
        self.back_in_order()

    def tearDown(self):
        self.back_in_order()
        self.d.wait_no_cursor()
        # Where the tail was cut off for too long, the server takes a snapshot of its own accord.
        wait_for(lambda: self.cli("job", "show", "--set", "rs0").get("runningSnapshotId") is None, "an end of the job's snapshot")

    def back_in_order(self):
        self.restore_line.allow()
        self.capture_line.allow()
        for process in (*self.set.members, *self.d.agents):
            if not process.alive():
                process.start()
        wait_for(lambda: self.set.members[0].is_primary() and len(self.set.secondaries()) == 2, "the set in order", 90)
        self.d.wait_states()

    def begin(self, let=0):
        """A take that copies, and ends only when capture_line allows it: its id."""
        self.capture_line.allow(let)
        snapshot_id = self.d.begin_take()
        self.d.wait_phase(snapshot_id)
        return snapshot_id

    def go_on(self, snapshot_id):
        """The record of a take that was held until now."""
        self.assertEqual(self.d.snapshot(snapshot_id)["state"], "IN_PROGRESS")
        self.assertEqual(self.d.cursors_open(), [self.source.host])
        self.capture_line.allow()
        return self.d.wait_ended(snapshot_id)

    def check_restores(self, record, name):
        self.assertEqual(record["state"], "COMPLETE", record.get("error"))
        directory = self.d.restore(record["id"], name)
        self.writer.settle()
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(checkpoint_of(record)), state_of(member.client, "app")), "")

    def test_the_secondary_of_lowest_priority_is_chosen_and_the_reason_said(self):
        record = self.d.take()
        for one, reason in ((self.first, "the secondary with the lowest priority"), (record, "the secondary of the previous snapshot")):
            self.assertEqual((one["member"], one["memberState"]), (self.source.host, "SECONDARY"))
            self.assertEqual(one["reason"], f"{self.source.host}, {reason}")
            self.assertIn(one["reason"], self.cli.run("snapshot", "show", one["id"]).out)
        self.check_restores(record, "chosen")

    def test_failover_during_a_capture_does_not_disturb_it(self):
        snapshot_id = self.begin()
        primary = self.set.members[0]
        primary.kill()
        self.set.wait_primary(other_than=primary)
        self.writer.wait_writes(20)
        primary.start()
        record = self.go_on(snapshot_id)
        self.check_restores(record, "failover")

    def test_step_down_during_a_capture_does_not_disturb_it(self):
        """The captured member itself becomes the primary meanwhile: its cursor stays."""
        self.set.members[1].stop()
        snapshot_id = self.begin()
        self.set.members[0].client.admin.command({"replSetStepDown": 8, "secondaryCatchUpPeriodSecs": 5, "force": True})
        self.assertIs(self.set.wait_primary(other_than=self.set.members[0]), self.source)
        self.writer.wait_writes(20)
        record = self.go_on(snapshot_id)
        self.assertEqual(record["member"], self.source.host)
        self.set.members[1].start()
        self.check_restores(record, "stepdown")

    def test_the_captured_member_killed_ends_clearly_and_the_next_take_adopts(self):
        self.d.take()
        self.writer.load(1000, name="log", pad=20000)
        self.set.wait_checkpoint()
        before = set(self.d.server.packs())
        snapshot_id = self.begin(let=2)
        wait_for(lambda: len(set(self.d.server.packs()) - before) == 2, "the first packs of the capture")
        self.source.kill()
        self.source.start()
        self.capture_line.allow()
        record = self.d.wait_ended(snapshot_id, 90)
        self.assertEqual((record["state"], record["errorClass"]), ("ABANDONED", "LOST"), record)
        self.assertRegex(record["error"], f"^capture of rs0 from {self.source.host}: .*backup cursor lost")
        self.assertNotIn(snapshot_id, self.d.listed())
        self.cli.fails(6, f"snapshot {snapshot_id} is ABANDONED", "restore", "start", "--snapshot", snapshot_id, "--to",
                       self.d.restore_root / "never")
        sent = set(self.d.server.packs()) - before
        self.back_in_order()
        again = self.d.take()
        self.assertEqual((again["member"], again["adoptedCapture"]), (self.source.host, record["capture"]))
        packs = self.d.server.packs()
        self.assertLessEqual(sent, set(packs))
        # The new documents, random bytes, stand in the collection and in the oplog; what was sent of them is not sent again.
        self.assertLess(sum(size for name, size in packs.items() if name not in before | sent), 2 * 1000 * 20000, (sent, packs))
        self.check_restores(again, "adopted")
        self.assertTrue(self.cli("snapshot", "verify", again["id"])["ok"])

    def test_only_one_of_two_simultaneous_takes_wins(self):
        def both():
            """Not both lost: that is so while a third one runs, which the job wanted after an election."""
            takes = [self.cli.begin("snapshot", "take", "--set", "rs0") for _ in range(2)]
            answers = [self.cli.finish(take) for take in takes]
            return answers if any(answer.code == 0 for answer in answers) else None

        answers = wait_for(both, "a job that takes none by itself")
        self.assertEqual(sorted(answer.code for answer in answers), [0, 6], [answer.err for answer in answers])
        won, lost = sorted(answers, key=lambda answer: answer.code)
        self.assertEqual(won.json["state"], "COMPLETE")
        self.assertRegex(lost.err, f"snapshot {won.json['id']} of set rs0 is still being taken")

    def open_foreign_cursor(self):
        client = self.scratch.client(self.source.host, directConnection=True)
        session = client.start_session()
        reply = client.admin.command({"aggregate": 1, "pipeline": [{"$backupCursor": {}}], "cursor": {}}, session=session)
        return session, reply["cursor"]["id"]

    def close_foreign_cursor(self, session, cursor_id):
        reply = session.client.admin.command({"killCursors": "$cmd.aggregate", "cursors": [cursor_id]}, session=session)
        self.assertEqual(reply["cursorsKilled"], [cursor_id], "our agent must not have touched it")
        session.end_session()

    def test_another_ones_cursor_is_waited_for_then_named(self):
        session, cursor_id = self.open_foreign_cursor()
        try:
            answer = self.cli.run("snapshot", "take", "--set", "rs0")
            self.assertEqual(answer.code, 15, answer.err)
            self.assertRegex(answer.err, r"(?m)^holdfast: snapshot \w{24}: ABANDONED: .*waited 3 s: .*existing backup cursor must be closed")
            self.assertIn(f"it is another's backup cursor, not ours (session {session.session_id['id'].hex()}, open since 2", answer.err)
        finally:
            self.close_foreign_cursor(session, cursor_id)
        self.d.take()

    def test_a_take_goes_on_when_another_ones_cursor_is_closed_in_time(self):
        agent = self.capturer
        waited = len(agent.tail(100000).split("backup.cursor.retry"))
        session, cursor_id = self.open_foreign_cursor()
        take = self.cli.begin("snapshot", "take", "--set", "rs0")
        wait_for(lambda: len(agent.tail(100000).split("backup.cursor.retry")) > waited, "the agent to wait for the cursor")
        self.close_foreign_cursor(session, cursor_id)
        answer = self.cli.finish(take)
        self.assertEqual(answer.code, 0, answer.err)

    def test_a_stopped_agent_closes_its_cursor_and_says_so(self):
        snapshot_id = self.begin()
        self.capturer.signal(signal.SIGTERM)
        self.assertEqual(self.capturer.wait(), 0)
        self.assertEqual(self.source.idle_backup_cursors(), [])
        record = self.d.wait_ended(snapshot_id)  # before it starts again: it has told its end
        self.assertEqual((record["state"], record["errorClass"]), ("ABANDONED", "CANCELLED"), record)
        self.assertRegex(record["error"], f"^the agent was stopped: capture of rs0 from {self.source.host}: ")

    def kill_in_a_capture(self):
        """The source's agent dies with its cursor open: the snapshot, and the id of the cursor."""
        snapshot_id = self.begin()
        self.capturer.kill()
        self.capture_line.allow()
        self.log_read = self.capturer.log.stat().st_size
        cursor = wait_for(self.source.idle_backup_cursors, "the dead agent's cursor")[0]["cursor"]
        self.assertTrue(self.source.backup_cursor_open())
        return snapshot_id, cursor["cursorId"]

    def check_ended_by_death(self, snapshot_id):
        record = self.d.wait_ended(snapshot_id)
        self.assertEqual((record["state"], record["errorClass"], record["error"]), ("ABANDONED", "LOST", STOPPED))
        self.assertNotIn(snapshot_id, self.d.listed())

    def wait_leftover(self, found):
        """Whether the agent that is back found its cursor, and that it has forgotten it."""
        line = rf"agent\.cursor\.leftover_closed member={self.source.host} found=(\w+)"
        look = lambda: re.search(line, self.capturer.log.read_text()[self.log_read:])
        self.assertEqual(wait_for(look, "the agent to look for its cursor").group(1), found)
        self.assertEqual(list((self.capturer.state / "cursors").iterdir()), [])

    def test_a_killed_agent_closes_its_own_cursor_when_it_is_back(self):
        snapshot_id, _ = self.kill_in_a_capture()
        with self.source.client.app.get_collection("orders").find(batch_size=500) as another:
            next(another)
            self.capturer.start()
            self.wait_leftover("yes")
            self.assertEqual(self.source.idle_backup_cursors(), [])
            self.assertGreater(len(list(another)), 1000, "another's ordinary cursor must go on")
        self.check_ended_by_death(snapshot_id)
        self.check_restores(self.d.take(), "after-kill")

    def test_a_killed_agent_leaves_another_ones_cursor_alone_when_it_is_back(self):
        """An operator has closed what the dead agent left, and somebody else has a backup cursor there now."""
        snapshot_id, ours = self.kill_in_a_capture()
        self.assertEqual(self.source.client.admin.command({"killCursors": "$cmd.aggregate", "cursors": [ours]})["cursorsKilled"], [ours])
        session, cursor_id = self.open_foreign_cursor()
        try:
            self.capturer.start()
            self.wait_leftover("no")
            self.check_ended_by_death(snapshot_id)
        finally:
            self.close_foreign_cursor(session, cursor_id)
        self.d.take()

    def test_a_cursor_that_could_not_be_closed_is_closed_before_the_next_take(self):
        """The member does not answer when the killed agent is back."""
        snapshot_id, ours = self.kill_in_a_capture()
        self.source.signal(signal.SIGSTOP)
        try:
            self.capturer.start()
            wait_for(lambda: "agent.cursor.leftover " in self.capturer.log.read_text()[self.log_read:], "the agent to fail to close its cursor")
        finally:
            self.source.signal(signal.SIGCONT)
        self.check_ended_by_death(snapshot_id)
        self.back_in_order()
        self.assertEqual([op["cursor"]["cursorId"] for op in self.source.idle_backup_cursors()], [ours])
        self.assertEqual(self.d.take()["member"], self.source.host)
        self.wait_leftover("yes")

    def begin_restore(self, directory):
        """A restore of the first snapshot that has written something, and goes on only when restore_line allows it: its id."""
        self.restore_line.allow(0)
        restore_id = self.cli("restore", "start", "--snapshot", self.first["id"], "--to", directory, "--no-wait")["id"]

        def begun():
            self.restore_line.allow(1)
            return directory.exists() and len(list(directory.iterdir())) > 1

        wait_for(begun, "the first restored file", every=0.1)
        self.assertTrue((directory / MARK).exists())
        return restore_id

    def wait_restore(self, restore_id):
        def ended():
            record = next(one for one in self.cli("restore", "list")["results"] if one["id"] == restore_id)
            return record if record["state"] != "IN_PROGRESS" else None

        return wait_for(ended, "the end of the restore", every=0.2)

    def test_a_killed_agent_ends_its_restore_when_it_is_back(self):
        directory = self.d.restore_root / "killed"
        restore_id = self.begin_restore(directory)
        self.restorer.kill()
        self.restore_line.allow()
        self.restorer.start()
        record = self.wait_restore(restore_id)
        self.assertEqual((record["state"], record["errorClass"], record["error"]), ("BROKEN", "LOST", STOPPED))
        self.assertFalse((directory / "restoreInfo.txt").exists())
        self.cli.fails(4, f"{directory} holds a restore that did not end; hint: empty it first", "restore", "start", "--snapshot",
                       self.first["id"], "--to", directory)
        shutil.rmtree(directory)
        self.check_restores(self.first, "killed")
        self.assertFalse((directory / MARK).exists())

    def test_a_stopped_agent_takes_its_restore_back(self):
        directory = self.d.restore_root / "stopped"
        restore_id = self.begin_restore(directory)
        self.restorer.signal(signal.SIGTERM)
        self.assertEqual(self.restorer.wait(), 0)
        record = self.wait_restore(restore_id)
        self.assertEqual((record["state"], record["errorClass"]), ("KILLED", "CANCELLED"))
        self.assertRegex(record["error"], "^the agent was stopped: ")
        self.assertFalse(directory.exists())


class Choice(harness.TestCase):
    """A primary, a hidden secondary without a vote, a secondary, an arbiter; the tests go on from each other."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, 4, config={0: {"priority": 10}, 1: {"priority": 0, "votes": 0, "hidden": True},
                                                           3: {"arbiterOnly": True}})
        cls.primary, cls.hidden, cls.plain, cls.arbiter = cls.d.set.members
        harness.Writer(cls.d.set).load(500)

    def take(self, member, reason):
        record = self.d.take()
        self.assertEqual(record["member"], member.host)
        self.assertRegex(record["reason"], f"^{member.host}, {reason}")
        self.assertIn(f"{self.arbiter.host}: it is an arbiter and holds no data", record["reason"])
        return record

    def tearDown(self):
        self.d.wait_no_cursor()
        self.assertIsNone(self.d.cli("job", "show", "--set", "rs0").get("runningSnapshotId"))

    def wait_down(self, member):
        def known():
            states = {m["host"]: m["state"] for a in self.d.cli("agent", "list")["results"] for m in a["members"]}
            return states.get(member.host) not in ("SECONDARY", "PRIMARY")

        wait_for(known, f"the server to know that {member.name} is down", every=0.2)

    def test_1_the_hidden_secondary_is_taken_and_the_arbiter_never(self):
        self.take(self.hidden, "the secondary with the lowest priority; not ")

    def test_2_another_secondary_is_taken_when_it_is_down(self):
        self.hidden.stop()
        self.wait_down(self.hidden)
        self.take(self.plain, f"the secondary with the lowest priority; not .*{self.hidden.host}: .+")

    def test_3_the_primary_is_taken_only_when_no_secondary_will_do(self):
        self.plain.stop()
        self.wait_down(self.plain)
        self.take(self.primary, f"the primary: no secondary will do; not .*{self.plain.host}: .+")

    def test_4_nothing_is_taken_when_nobody_answers(self):
        self.primary.stop()
        self.wait_down(self.primary)
        said = self.d.cli.fails(5, f"no member of set rs0 can be captured.*{self.primary.host}: ", "snapshot", "take", "--set", "rs0")
        self.assertIn(self.hidden.host, said)


if __name__ == "__main__":
    harness.main()
