#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lines of the checklist for restores (docs/design/acceptance-restore.md) that no other test carries, by their number."""
import json
import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import checkpoint_of, compare_states, state_of, wait_for


class Acceptance(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch)
        cls.cli = cls.d.cli
        cls.writer = harness.Writer(cls.d.set).load(2000)
        cls.d.set.wait_checkpoint()
        cls.snapshot = cls.d.take()
        cls.expected = cls.writer.settle().state_at(checkpoint_of(cls.snapshot))

    def held(self, directory):
        """A restore that cannot go on: its agent stands still. Its id."""
        agent = self.d.agents[0]
        agent.signal(signal.SIGSTOP)
        begun = self.cli.begin("restore", "start", "--snapshot", self.snapshot["id"], "--to", directory)
        self.addCleanup(agent.signal, signal.SIGCONT)

        def recorded():
            return next((one for one in self.cli("restore", "list")["results"] if one["directory"] == str(directory)), None)

        return begun, wait_for(recorded, "the restore's record")["id"]

    def state_of(self, restore_id):
        return self.cli("restore", "show", restore_id)["state"]

    def test_r17_7_a_snapshot_stays_pinned_through_a_restart_of_the_server(self):
        """R17.7: from the request to the end, and no longer."""
        extra = self.d.take()
        self.snapshot, before = extra, self.snapshot
        begun, restore_id = self.held(self.d.restore_root / "pinned")
        self.snapshot = before
        self.cli.fails(6, f"is being restored from.*{restore_id}", "snapshot", "delete", extra["id"])
        begun.terminate()  # the command only waits
        begun.communicate()
        self.d.server.stop()
        self.d.server.start()
        self.cli.fails(6, f"is being restored from.*{restore_id}", "snapshot", "delete", extra["id"])
        self.d.agents[0].signal(signal.SIGCONT)
        wait_for(lambda: self.state_of(restore_id) != "IN_PROGRESS", "the end of the restore", every=0.3)
        self.assertEqual(self.state_of(restore_id), "FINISHED")
        self.assertEqual(self.cli("snapshot", "delete", extra["id"])["deleted"], extra["id"])

    def test_r17_8_a_second_restore_to_the_same_directory_is_refused_by_the_first_ones_name(self):
        """R17.8, for a directory."""
        directory = self.d.restore_root / "twice"
        begun, restore_id = self.held(directory)
        self.cli.fails(6, restore_id, "restore", "start", "--snapshot", self.snapshot["id"], "--to", directory)
        self.d.agents[0].signal(signal.SIGCONT)
        self.assertEqual(self.cli.finish(begun).json["state"], "FINISHED")

    def test_r17_17_an_archive_needs_tar_a_mongod_and_its_own_info(self):
        """R17.17: plain tar, plain mongod, and what restoreInfo.txt says."""
        tar, into = self.scratch.dir / "plain.tar", self.scratch.dir / "plain"
        self.assertEqual(self.cli.run("restore", "start", "--snapshot", self.snapshot["id"], "--tar", tar).code, 0)
        into.mkdir()
        subprocess.run(["tar", "-xf", tar, "-C", into], check=True, capture_output=True)
        (directory,) = into.iterdir()
        info = (directory / "restoreInfo.txt").read_text()
        options = json.loads(re.search(r"^Startup Options: (.*)$", info, re.M).group(1))
        self.assertEqual(options.get("storage", {}).get("engine", "wiredTiger"), "wiredTiger", info)
        member = harness.Member(self.scratch, "plain-member", dbpath=directory)
        member.command = [harness.member_binary(), "--dbpath", str(directory), "--port", str(member.port), "--bind_ip", "127.0.0.1"]
        member.start()
        self.assertEqual(compare_states(self.expected, state_of(member.client, "app")), "")
        member.close_client()
        self.assertEqual(member.stop(), 0)


if __name__ == "__main__":
    harness.main()
