#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What breaks a set's history, from the member to the restore behind it: the range ends with its cause, an event tells, the snapshot that
the next range needs is taken by itself, and a point behind it is restored.

The other causes: `resumed` in test_job_states.py, `restored` in test_automated_restore.py, `rollback` (which takes an agent to the edge by
hand) in test_agent_tail.py, `storeLost` in tests/unit/server/tail_test.c. All of this file with HOLDFAST_SOAK, one cause without; the
resized oplog needs a real server (HOLDFAST_TEST_MONGOD), as the sandbox does not know that command.
"""
import os
import shutil

import bson

import harness
from harness import wait_for

REAL = bool(os.environ.get("HOLDFAST_TEST_MONGOD"))
SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
LIMIT_S = 120


def stamp(place):
    return bson.Timestamp(place["seconds"], place["increment"])


class Gaps(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, server_arguments=["--plain-store", "--minimum-oplog-window", "0", "--oplog-slice-age", "1s"],
                                   agent_arguments=["--mongod", harness.member_binary()])
        cls.cli, cls.agent, cls.member = cls.d.cli, cls.d.agents[0], cls.d.set.members[0]
        cls.marks = 0
        wait_for(lambda: cls.cli("job", "show", "--set", "rs0").get("oplog", {}).get("last"), "the first slice", LIMIT_S, every=0.2)
        cls.d.take()

    def mark(self):
        """One document more in app.marks; its timestamp."""
        reply = self.d.set.wait_primary().client["app"].command(
            {"insert": "marks", "documents": [{"_id": self.marks}], "writeConcern": {"w": "majority", "wtimeout": 60000}})
        type(self).marks += 1
        return reply["opTime"]["ts"]

    def ranges(self):
        return self.cli("job", "ranges", "--set", "rs0")["results"]

    def wait_range(self, ts):
        """The range that has the entry."""
        def there():
            return next((one for one in self.ranges() if stamp(one["start"]) <= ts <= stamp(one["end"])), None)
        return wait_for(there, f"a range with {ts}", LIMIT_S, every=0.3)

    def gaps(self):
        return [one["text"].split(":")[0] for one in self.cli("event", "list", "--kind", "OPLOG_GAP")["results"]]

    def based(self, cause, but):
        """The snapshot that was taken by itself for the cause."""
        def there():
            job = self.cli("job", "show", "--set", "rs0")
            found = [one for one in self.cli("snapshot", "list")["results"]
                     if one["state"] == "COMPLETE" and one["id"] not in but and one.get("description", "").startswith(f"{cause}: ")]
            return found and not job.get("snapshotWanted") and not job.get("runningSnapshotId") and found[0]
        return wait_for(there, f"the snapshot behind {cause}", LIMIT_S, every=0.3)

    def check_broken(self, cause, how, gaps=1):
        last = self.mark()
        old = self.wait_range(last)
        snapshots = {one["id"] for one in self.cli("snapshot", "list")["results"]}
        told = self.gaps().count(cause)
        how()
        self.mark()  # an entry for the next slice
        self.based(cause, snapshots)
        ts = self.mark()
        new = self.wait_range(ts)
        ended = next(one for one in self.ranges() if one["snapshotId"] == old["snapshotId"])
        self.assertEqual((ended["start"], ended["endCause"]), (old["start"], cause))
        self.assertGreaterEqual(stamp(ended["end"]), last)
        self.assertGreater(stamp(new["start"]), stamp(ended["end"]))
        self.assertNotIn(new["snapshotId"], snapshots)
        self.assertEqual(self.gaps().count(cause), told + gaps)
        directory = self.d.restore_root / f"{cause}-{ts.time}"
        record = self.cli("restore", "start", "--set", "rs0", "--oplog-ts", f"{ts.time}.{ts.inc}", "--to", directory)
        self.assertEqual(record["state"], "FINISHED", record)
        with harness.opened(self.scratch, directory) as member:
            self.assertEqual(sorted(one["_id"] for one in member.client.app.marks.find()), list(range(self.marks)))

    def set_fcv(self, version):
        self.d.set.wait_primary().client.admin.command("setFeatureCompatibilityVersion", version)

    def test_a_change_of_the_version(self):
        def there_and_back():
            self.set_fcv("4.2")
            self.set_fcv("4.4")
        # A server writes the document twice for each: that it begins, and that it is done.
        self.check_broken("fcvChanged", there_and_back, gaps=4)

    def test_no_snapshot_is_taken_for_a_change_of_the_version_where_the_policy_says_so(self):
        self.assertTrue(self.cli("policy", "show", "rs0")["snapshotOnFcvChange"])
        self.assertFalse(self.cli("policy", "set", "rs0", "--fcv-snapshot", "off")["snapshotOnFcvChange"])
        self.addCleanup(self.cli, "policy", "set", "rs0", "--fcv-snapshot", "on")
        self.wait_range(self.mark())
        taken, told = self.cli("snapshot", "list", "--all")["results"], self.gaps().count("fcvChanged")
        self.set_fcv("4.2")
        self.set_fcv("4.4")
        ts = self.mark()  # an entry for the next slice
        wait_for(lambda: self.gaps().count("fcvChanged") == told + 4, "the gaps to be told", LIMIT_S)
        saved = self.d.wait_tail(ts) if hasattr(self.d, "wait_tail") else None
        job = self.cli("job", "show", "rs0")
        self.assertNotIn("snapshotWanted", job, saved)
        self.assertEqual([one["id"] for one in self.cli("snapshot", "list", "--all")["results"]], [one["id"] for one in taken])
        self.cli.fails(3, "", "restore", "start", "--set", "rs0", "--oplog-ts", f"{ts.time}.{ts.inc}", "--to", self.d.restore_root / "none")
        # The next one, of the schedule or by hand, begins the range.
        self.d.take()
        self.wait_range(self.mark())

    def test_an_oplog_of_another_size_breaks_nothing_and_one_made_anew_does(self):
        if REAL:
            told = self.gaps()
            self.d.set.wait_primary().client.admin.command({"replSetResizeOplog": 1, "size": 990.0})
            self.wait_range(self.mark())
            self.assertEqual(self.gaps(), told)

        def made_anew():
            self.member.close_client()
            self.assertEqual(self.member.stop(), 0)
            shutil.rmtree(self.member.dbpath)
            self.member.dbpath.mkdir()
            self.member.start()
            self.member.client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": self.member.host}]})
            self.d.set.wait_primary()
            type(self).marks = 0
        self.check_broken("recreated", made_anew)

    def test_an_agent_that_was_stopped_for_too_long(self):
        def roll_over():
            self.agent.stop()
            head = stamp(self.cli("job", "show", "--set", "rs0")["oplog"]["last"])
            client, rounds = self.d.set.wait_primary().client, 0
            while client.local["oplog.rs"].find_one({"ts": head}) is not None:
                client.app.big.insert_many([{"blob": b"x" * 1_000_000} for _ in range(20)])
                client.app.big.drop()
                rounds += 1
                self.assertLess(rounds, 120)
            self.agent.start()
        self.check_broken("rolledOver", roll_over)


if not SOAK:
    del Gaps.test_an_agent_that_was_stopped_for_too_long, Gaps.test_an_oplog_of_another_size_breaks_nothing_and_one_made_anew_does

if __name__ == "__main__":
    harness.main()
