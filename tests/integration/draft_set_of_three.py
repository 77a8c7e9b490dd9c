#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three members: which one is captured, and what elections, deaths and other people's cursors do to a capture."""
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import checkpoint_of, compare_states, opened, state_of, wait_for

ENDED_BADLY = {"FAILED", "ABANDONED"}


class SetOfThree(harness.TestCase):
    """The first member has the highest priority; the last one the lowest, so that it is the source."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, 3, config={0: {"priority": 10}, 1: {"priority": 2}, 2: {"priority": 1}},
                                   agent_arguments=["--rate-limit", "10M", "--cursor-patience", "3s"])
        cls.cli, cls.set = cls.d.cli, cls.d.set
        cls.source = cls.set.members[2]
        cls.writer = harness.Writer(cls.set, pause=0.01).load(4000)
        cls.writer.start()

    def setUp(self):
        self.back_in_order()

    def tearDown(self):
        self.back_in_order()
        self.d.wait_no_cursor()
        self.assertIsNone(self.cli("job", "show", "--set", "rs0").get("runningSnapshotId"))

    def back_in_order(self):
        for member in self.set.members:
            if not member.alive():
                member.start()
        wait_for(lambda: self.set.members[0].is_primary() and len(self.set.secondaries()) == 2, "the set in order", 90)
        self.d.wait_states()

    def begin(self):
        """A take that copies, and has some seconds to go."""
        snapshot_id = self.d.begin_take()
        self.d.wait_phase(snapshot_id)
        return snapshot_id

    def change_much(self):
        """So much that the next capture takes some seconds."""
        self.writer.load(12000, name="log")
        self.set.wait_checkpoint()

    def check_restores(self, record, name):
        self.assertEqual(record["state"], "COMPLETE", record.get("error"))
        directory = self.d.restore(record["id"], name)
        self.writer.settle()
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(checkpoint_of(record)), state_of(member.client, "app")), "")

    def test_the_secondary_of_lowest_priority_is_chosen_and_the_reason_said(self):
        record = self.d.take()
        self.assertEqual(record["member"], self.source.host)
        self.assertEqual(record["memberState"], "SECONDARY")
        self.assertIn(record["reason"], (f"{self.source.host}, the secondary with the lowest priority",
                                         f"{self.source.host}, the secondary of the previous snapshot"))
        self.assertIn(record["reason"], self.cli.run("snapshot", "show", record["id"]).out)
        first = self.cli("snapshot", "list", "--all")["results"][-1]
        self.assertEqual(first["reason"], f"{self.source.host}, the secondary with the lowest priority")
        self.check_restores(record, "chosen")

    def test_failover_during_a_capture_does_not_disturb_it(self):
        self.change_much()
        snapshot_id = self.begin()
        primary = self.set.members[0]
        primary.kill()
        self.set.wait_primary(other_than=primary)
        self.writer.wait_writes(20)
        primary.start()
        record = self.d.wait_ended(snapshot_id)
        self.check_restores(record, "failover")

    def test_step_down_during_a_capture_does_not_disturb_it(self):
        """The captured member itself becomes the primary meanwhile: its cursor stays."""
        self.change_much()
        snapshot_id = self.begin()
        self.set.members[1].client.admin.command("replSetFreeze", 20)
        self.set.members[0].client.admin.command({"replSetStepDown": 8, "secondaryCatchUpPeriodSecs": 5, "force": True})
        self.assertIs(self.set.wait_primary(other_than=self.set.members[0]), self.source)
        record = self.d.wait_ended(snapshot_id)
        self.assertEqual(record["member"], self.source.host)
        self.set.members[1].client.admin.command("replSetFreeze", 0)
        self.check_restores(record, "stepdown")

    def test_captured_member_killed_ends_clearly_and_the_next_take_adopts(self):
        self.change_much()
        snapshot_id = self.begin()
        wait_for(lambda: self.d.snapshot(snapshot_id).get("progress", {}).get("bytesStored", 0) > 1_000_000, "stored bytes", every=0.1)
        self.source.kill()
        self.source.start()
        record = self.d.wait_ended(snapshot_id, 90)
        self.assertIn(record["state"], ENDED_BADLY)
        self.assertIn(self.source.host, record["error"])
        self.assertRegex(record["error"], "cursor")
        self.assertNotIn(snapshot_id, self.d.listed())
        self.cli.fails(6, f"snapshot {snapshot_id} is {record['state']}", "restore", "start", "--snapshot", snapshot_id, "--to",
                       self.d.restore_root / "never")
        self.back_in_order()
        record = self.d.take()
        self.assertEqual((record["member"], record["adoptedCapture"]), (self.source.host, self.d.snapshot(snapshot_id)["capture"]))
        self.check_restores(record, "adopted")
        self.assertTrue(self.cli("snapshot", "verify", record["id"])["ok"])

    def test_only_one_of_two_simultaneous_takes_wins(self):
        takes = [self.cli.begin("snapshot", "take", "--set", "rs0") for _ in range(2)]
        answers = [self.cli.finish(take) for take in takes]
        self.assertEqual(sorted(answer.code for answer in answers), [0, 6], [answer.err for answer in answers])
        won, lost = sorted(answers, key=lambda answer: answer.code)
        self.assertEqual(won.json["state"], "COMPLETE")
        self.assertRegex(lost.err, f"snapshot {won.json['id']} of set rs0 is still being taken")

    def open_foreign_cursor(self):
        client = self.scratch.client(self.source.host, directConnection=True, appname="somebody-elses-backup")
        reply = client.admin.command({"aggregate": 1, "pipeline": [{"$backupCursor": {}}], "cursor": {}})
        return client, reply["cursor"]["id"]

    def close_foreign_cursor(self, client, cursor_id):
        reply = client.admin.command({"killCursors": "$cmd.aggregate", "cursors": [cursor_id]})
        self.assertEqual(reply["cursorsKilled"], [cursor_id], "our agent must not have touched it")

    def test_another_ones_cursor_is_waited_for_then_named(self):
        client, cursor_id = self.open_foreign_cursor()
        try:
            answer = self.cli.run("snapshot", "take", "--set", "rs0")
            self.assertEqual(answer.code, 15, answer.err)
            self.assertRegex(answer.err, r"(?m)^holdfast: snapshot \w{24}: (ABANDONED|FAILED): .*waited 3 s: .*existing backup cursor must be closed")
            self.assertIn("somebody-elses-backup", answer.err)
        finally:
            self.close_foreign_cursor(client, cursor_id)
        self.d.take()

    def test_a_take_goes_on_when_another_ones_cursor_is_closed_in_time(self):
        agent = self.d.agent_of(self.source.host)
        waited = len(agent.tail(100000).split("backup.cursor.retry"))
        client, cursor_id = self.open_foreign_cursor()
        take = self.cli.begin("snapshot", "take", "--set", "rs0")
        wait_for(lambda: len(agent.tail(100000).split("backup.cursor.retry")) > waited, "the agent to wait for the cursor")
        self.close_foreign_cursor(client, cursor_id)
        answer = self.cli.finish(take)
        self.assertEqual(answer.code, 0, answer.err)

    def test_a_stopped_agent_closes_its_cursor_and_says_so(self):
        self.change_much()
        snapshot_id = self.begin()
        agent = self.d.agent_of(self.source.host)
        agent.signal(signal.SIGTERM)
        self.assertEqual(agent.wait(), 0)
        self.d.wait_no_cursor()
        agent.start()
        record = self.d.wait_ended(snapshot_id)
        self.assertEqual((record["state"], record["errorClass"]), ("ABANDONED", "CANCELLED"), record)

    def test_a_member_without_an_agent_that_may_read_it_is_not_chosen(self):
        """The lag, the states and the refusals of the others stand in the reason."""
        self.source.stop()
        self.d.wait_states()
        wait_for(lambda: any(m["host"] == self.source.host and m["state"] not in ("SECONDARY", "PRIMARY")
                             for a in self.cli("agent", "list")["results"] for m in a["members"]), "the server to see it down", every=0.3)
        record = self.d.take()
        self.assertEqual(record["member"], self.set.members[1].host)
        self.assertRegex(record["reason"], f"^{self.set.members[1].host}, the secondary with the lowest priority; not {self.source.host}: .+")


class Arbiter(harness.TestCase):
    """A primary, a hidden secondary, an arbiter."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, 3, config={1: {"priority": 0, "hidden": True}, 2: {"arbiterOnly": True}})
        harness.Writer(cls.d.set).load(500)

    def test_the_hidden_secondary_is_taken_and_the_arbiter_never(self):
        record = self.d.take()
        self.assertEqual(record["member"], self.d.set.members[1].host)
        self.assertIn(f"not {self.d.set.members[2].host}: it is an arbiter and holds no data", record["reason"])
        self.d.wait_no_cursor()

    def test_the_primary_is_taken_only_when_no_secondary_will_do(self):
        hidden = self.d.set.members[1]
        hidden.stop()

        def known_as_down():
            states = {m["host"]: m["state"] for a in self.d.cli("agent", "list")["results"] for m in a["members"]}
            return states.get(hidden.host) not in ("SECONDARY", "PRIMARY")

        wait_for(known_as_down, "the server to see it down", every=0.3)
        answer = self.d.cli.run("snapshot", "take", "--set", "rs0", "--json")
        self.assertEqual(answer.code, 0, answer.err)
        record = answer.json
        self.assertEqual(record["member"], self.d.set.members[0].host)
        self.assertIn(f"{self.d.set.members[0].host}, the primary: no secondary will do; not {hidden.host}: ", record["reason"])
        hidden.start()
        self.d.wait_no_cursor()


if __name__ == "__main__":
    harness.main()
