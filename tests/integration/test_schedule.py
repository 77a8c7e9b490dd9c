#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots that are taken by themselves and go by themselves, through real processes; time is moved by the clock door of the
test build (src/os/clock.c) at the server alone, so that nothing waits for a quarter of an hour."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import wait_for
from test_api import Client
from test_world_clock import Clock

MINUTE, HOUR, DAY = 60, 3600, 86400
DAILY, WEEKLY, MONTHLY, YEARLY = 1, 2, 4, 8


class Schedules(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, schedule=True, first_snapshot=True, start_job=False, agent_arguments=["--workers", "2"])
        cls.cli, cls.server, cls.now = cls.d.cli, cls.d.server, 0
        cls.server.stop()
        cls.clock = Clock(cls.scratch.dir / "server.clock")
        cls.server.env["HOLDFAST_TEST_CLOCK"] = str(cls.clock.path)
        cls.server.start()
        cls.d.wait_members()

    def test_its_life(self):
        """One story, in the order of time: the first snapshot, a change, a quarter of an hour, a missed day, a clock set back."""
        self.cli("job", "start", "--set", "rs0")
        first = self.wait_complete(1)[0]
        self.assertTrue(first["automatic"])
        self.assertEqual(first["parentCapture"], 0)
        self.assertEqual(first["classes"], WEEKLY | MONTHLY)
        self.assertGreaterEqual(first["expiresS"], first["createdS"] + 28 * DAY)
        self.settled()
        policy = self.policy()
        self.assertEqual((policy["intervalMinutes"], policy["baseRetentionDays"], policy["weeklyRetentionWeeks"],
                          policy["monthlyRetentionMonths"], policy["fullDayOfWeek"]), (1440, 2, 2, 1, "SUNDAY"))
        self.assertTrue(first["createdS"] < policy["dueS"] <= first["createdS"] + DAY)

        planned = policy["dueS"]
        policy = self.cli("policy", "set", "rs0", "--interval", "15m", "--daily-days", "3", "--yearly-years", "1")
        self.assertEqual(policy["dueS"], planned)  # nothing is brought forward
        self.move_to(planned + 1)
        second = self.wait_complete(2)[1]
        self.assertTrue(second["automatic"])
        self.assertEqual(second["classes"] & (DAILY | YEARLY), DAILY | YEARLY)
        self.assertTrue(second["full"])  # as the yearly one is
        self.assertGreater(second["filesSkipped"] + 1, 0)
        self.settled()
        self.move_to(self.policy()["dueS"] + 1)  # a quarter of an hour at most
        third = self.wait_complete(3)[2]
        self.assertLessEqual(third["createdS"] - second["createdS"], 16 * MINUTE)
        self.assertFalse(third["full"])
        self.assertEqual(third["expiresS"], third["createdS"] + (3 * DAY if third["classes"] & DAILY else 2 * DAY))
        self.settled()

        self.move_to(self.policy()["dueS"] + DAY)  # a hundred were missed: one is taken
        fourth = self.wait_complete(4)[3]
        self.settled()
        self.assertGreater(self.policy()["dueS"], fourth["createdS"])
        self.assertEqual(len(self.complete()), 4)
        self.move_to(fourth["createdS"] - 3 * HOUR)  # and no silence of three hours
        due = wait_for(lambda: (lambda one: one["dueS"] if one["dueS"] < fourth["createdS"] - 2 * HOUR else None)(self.policy()), "a new time")
        self.move_to(due + 1)
        self.wait_complete(5)
        self.settled()

        # Nothing expires while the store's clock says something else, however long it is over.
        victim = self.complete()[2]
        self.move_to(fourth["createdS"] + 40 * DAY)
        wait_for(lambda: self.server.logged(r"expiry\.clocks_disagree .*store"), "the disagreement to be told")
        self.assertEqual(self.state(victim), "COMPLETE")

    def test_what_the_operator_asks_is_refused_in_words(self):
        for words, pattern in ((["--interval", "25m"], "do not divide a day"), (["--interval", "14m"], "interval"),
                               (["--daily-days", "366"], "0 and 365"), (["--pause", "SAT"], "'SAT' is none"),
                               (["--reference-time", "25:00"], "no time of the day"), ([], "nothing is to be changed")):
            self.cli.fails(2, pattern, "policy", "set", "rs0", *words)

    # ---- Pieces ----

    def move_to(self, when_s):
        """The server's clock shows that time now."""
        self.clock.set(when_s - time.time())

    def policy(self):
        return self.cli("policy", "show", "rs0")

    def complete(self):
        """Oldest first."""
        return [one for one in self.cli("snapshot", "list", "--all")["results"] if one["state"] == "COMPLETE"][::-1]

    def wait_complete(self, count):
        return wait_for(lambda: (lambda found: found if len(found) >= count else None)(self.complete()), f"{count} snapshots")

    def settled(self):
        """The schedule knows what came of its snapshot."""
        wait_for(lambda: "attemptId" not in self.policy() and not self.policy()["owedS"], "the schedule to be at rest")

    def state(self, snapshot):
        return self.d.snapshot(snapshot["id"])["state"]


class Retention(harness.TestCase):
    """No clock is moved: what is to go is given a past time."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, agent_arguments=["--workers", "2"], server_arguments=["--oplog-slice-age", "1s"])
        cls.cli = cls.d.cli
        cls.client, cls.base = Client(cls.d.server), f"/api/public/v1.0/groups/{cls.cli('server', 'status')['projectId']}"
        cls.cluster = cls.client.get(cls.base + "/clusters").json["results"][0]["id"]
        cls.schedule = f"{cls.base}/backupConfigs/{cls.cluster}/snapshotSchedule"

    def past(self, snapshot, when="2020-01-01T00:00:00Z"):
        return self.cli("snapshot", "set", snapshot["id"], "--expires", when)

    def wait_gone(self, snapshot):
        wait_for(lambda: self.state(snapshot) == "EXPIRED", "an expired snapshot to go")

    def state(self, snapshot):
        return self.d.snapshot(snapshot["id"])["state"]

    def test_what_has_expired_goes_and_the_promised_stays(self):
        for _ in range(5):
            self.d.set.client().app.things.insert_one({})
            self.d.set.wait_checkpoint()
            self.d.take()
        taken = [self.d.snapshot(one) for one in self.d.listed()][::-1]  # those of other tests too
        job = self.cli("job", "show", "rs0")["id"]

        def bases(newest):
            """Of the ranges whose stored oplog goes on behind the newest snapshot."""
            self.d.set.client().app.things.insert_one({})
            ranges = self.client.get(f"/api/private/v1.0/jobs/{job}/ranges").json["results"]
            stored = [one for one in ranges if one["storedOplog"]]
            return {one["snapshotId"] for one in stored if one["end"]["seconds"] > newest["checkpoint"]["seconds"]}

        found = wait_for(lambda: bases(taken[-1]), "points in time", every=0.5)
        self.assertEqual(len(found), 1)
        oldest = next(one for one in taken if one["id"] in found)
        # Of several at one checkpoint, nothing having been written between them, the newest does for all.
        base = [one for one in taken if one["checkpoint"] == oldest["checkpoint"]][-1]
        for one in taken:
            self.past(one)
        going = [one for one in taken[:-1] if one is not base]
        self.assertGreaterEqual(len(going), 2)
        for one in going:
            self.wait_gone(one)
        wait_for(lambda: all(self.d.snapshot(one["id"]).get("dropped") for one in going), "the manifests to go")
        self.assertEqual([self.state(base), self.state(taken[-1])], ["COMPLETE", "COMPLETE"])
        manifests = [name for name in self.d.server.objects() if "/m/" in name]
        self.assertEqual(len(manifests), len({base["id"], taken[-1]["id"]}))
        # An expired one can no longer be edited; a window of nothing promises nothing.
        self.cli.fails(6, "has expired already", "snapshot", "set", base["id"], "--keep")
        self.cli("policy", "set", "rs0", "--window-hours", "0")
        last = self.d.take()
        wait_for(lambda: bases(last), "points in time", every=0.5)
        self.past(last, "2001-01-01T00:00Z")
        self.wait_gone(base)
        self.wait_gone(taken[-1])
        self.assertEqual(self.state(last), "COMPLETE")
        self.assertTrue(self.cli("snapshot", "verify", last["id"])["ok"])
        self.cli("policy", "set", "rs0", "--window-hours", "server")

    def test_one_beside_the_schedule(self):
        begun = self.cli("snapshot", "start", "rs0", "--retention-days", "7")
        self.assertEqual(begun["expiresS"], begun["createdS"] + 7 * DAY)
        self.d.wait_ended(begun["id"])
        self.cli("policy", "set", "rs0", "--daily-days", "9")
        begun = self.cli("snapshot", "start", "rs0")
        self.assertEqual(begun["expiresS"], begun["createdS"] + 9 * DAY)
        self.assertFalse(begun["automatic"])
        ended = self.d.wait_ended(begun["id"])
        self.assertEqual(ended["state"], "COMPLETE")
        kept = self.cli("snapshot", "set", begun["id"], "--keep")
        self.assertEqual((kept["doNotDelete"], kept["expiresS"]), (True, 0))
        self.cli.fails(6, "marked to be kept", "snapshot", "delete", begun["id"])
        self.assertRegex(self.cli.run("snapshot", "show", begun["id"]).out, r"kept +for ever")
        self.cli.fails(2, "one of --expires and --keep", "snapshot", "set", begun["id"])

    def test_a_simulation_changes_nothing(self):
        self.d.take()
        self.d.take()
        wait_for(lambda: self.cli("policy", "show", "rs0")["dueS"], "the first look at the schedule")
        before = self.cli("policy", "show", "rs0")
        answer = self.cli("policy", "simulate", "rs0", "--interval", "1h", "--base-days", "3", "--weekly-weeks", "0", "--monthly-months", "0",
                          "--daily-days", "0")
        self.assertEqual((answer["snapshots"], answer["base"], answer["beginsPerDay"]), (72, 72, 24))
        self.assertGreater(answer["fullBytes"], 0)
        begun = {self.d.snapshot(one)["createdS"] for one in self.d.listed()}
        self.assertEqual(answer["measured"], len(begun) > 1)  # a change takes two that are not of one second
        self.assertEqual(answer["policy"]["intervalMinutes"], 60)
        after = self.cli("policy", "show", "rs0")
        self.assertEqual((after["intervalMinutes"], after["dueS"]), (before["intervalMinutes"], before["dueS"]))
        self.assertIn("72 at a time", self.cli.run("policy", "simulate", "rs0", "--interval", "1h", "--base-days", "3", "--weekly-weeks", "0",
                                                   "--monthly-months", "0", "--daily-days", "0").out)

    def test_the_public_schedule(self):
        reply = self.client.get(self.schedule)
        self.assertEqual(reply.status, 200)
        for key, value in {"snapshotIntervalHours": 24, "snapshotRetentionDays": 2, "weeklySnapshotRetentionWeeks": 2,
                           "monthlySnapshotRetentionMonths": 1, "pointInTimeWindowHours": 24, "fullIncrementalDayOfWeek": "SUNDAY",
                           "referenceTimeZoneOffset": "+0000", "clusterCheckpointIntervalMin": 0, "clusterId": self.cluster}.items():
            self.assertEqual(reply.json[key], value, key)
        # As it was answered, it may come back.
        self.assertEqual(self.client.call("PATCH", self.schedule, reply.json).json, reply.json)
        changed = self.client.call("PATCH", self.schedule, {"referenceHourOfDay": 5, "referenceMinuteOfHour": 30, "referenceTimeZoneOffset": "+0200",
                                                            "snapshotIntervalHours": 6, "snapshotRetentionDays": 5}).json
        self.assertEqual((changed["referenceHourOfDay"], changed["referenceMinuteOfHour"], changed["referenceTimeZoneOffset"]), (3, 30, "+0000"))
        self.assertEqual((changed["snapshotIntervalHours"], changed["snapshotRetentionDays"]), (6, 5))
        self.cli("policy", "set", "rs0", "--interval", "30m")
        shown = self.client.get(self.schedule).json
        self.assertEqual(shown["snapshotIntervalHours"], 6)
        self.client.call("PATCH", self.schedule, {"snapshotIntervalHours": 6})
        self.assertEqual(self.cli("policy", "show", "rs0")["intervalMinutes"], 30)
        for body, code in (({"snapshotIntervalHours": 7}, "INVALID_SNAPSHOT_INTERVAL"), ({"snapshotIntervalHours": 0}, "INVALID_SNAPSHOT_INTERVAL"),
                           ({"snapshotRetentionDays": 0}, "INVALID_SNAPSHOT_RETENTION_PERIOD"),
                           ({"dailySnapshotRetentionDays": 366}, "INVALID_DAILY_SNAPSHOT_RETENTION_PERIOD"),
                           ({"weeklySnapshotRetentionWeeks": -1}, "INVALID_WEEKLY_SNAPSHOT_RETENTION_PERIOD"),
                           ({"monthlySnapshotRetentionMonths": 85}, "INVALID_MONTHLY_SNAPSHOT_RETENTION_PERIOD"),
                           ({"referenceHourOfDay": 24}, "INVALID_REFERENCE_HOUR_OF_DAY"), ({"referenceMinuteOfHour": 60}, "INVALID_REFERENCE_MINUTE_OF_HOUR"),
                           ({"referenceTimeZoneOffset": "CET"}, "INVALID_REFERENCE_TIMEZONE_OFFSET"),
                           ({"clusterCheckpointIntervalMin": 20}, "INVALID_CLUSTER_CHECKPOINT_INTERVAL"),
                           ({"clusterCheckpointIntervalMin": 15}, "CANNOT_SET_CLUSTER_CHECKPOINT_INTERVAL_FOR_REPLICA_SET"),
                           ({"fullIncrementalDayOfWeek": "SOMEDAY"}, "INVALID_ENUM_VALUE"), ({"intervalMinutes": 15}, "INVALID_ATTRIBUTE"),
                           ({"clusterId": "0" * 24}, "GROUP_MISMATCH")):
            with self.subTest(body=body):
                reply = self.client.call("PATCH", self.schedule, body)
                self.assertEqual((reply.status, reply.json["errorCode"]), (400, code), reply.json)
        self.cli("policy", "set", "rs0", "--interval", "24h", "--base-days", "2")

    def test_the_public_expiry(self):
        taken = self.d.take()
        path = f"{self.base}/clusters/{self.cluster}/snapshots/{taken['id']}"
        changed = self.client.call("PATCH", path, {"expires": "2090-01-02T03:04:05+01:00"})
        self.assertEqual((changed.status, changed.json["expires"]), (200, "2090-01-02T02:04:05Z"))
        kept = self.client.call("PATCH", path, {"doNotDelete": True}).json
        self.assertEqual((kept["doNotDelete"], "expires" in kept), (True, False))
        for body, status, code in (({"doNotDelete": True, "expires": "2090-01-01"}, 400, "INVALID_ATTRIBUTE"),
                                   ({"expires": "2090-01-01T00:00:00.5Z"}, 400, "FRACTIONAL_TIMESTAMP"), ({"expires": "soon"}, 400, "INVALID_ATTRIBUTE"),
                                   ({}, 400, "MISSING_ONE_OF_ATTRIBUTES")):
            reply = self.client.call("PATCH", path, body)
            self.assertEqual((reply.status, reply.json["errorCode"]), (status, code), body)
        self.assertFalse(self.client.call("PATCH", path, {"expires": "2090-01-01"}).json["doNotDelete"])


if __name__ == "__main__":
    harness.main()
