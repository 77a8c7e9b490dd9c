#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A job's states, end to end: started, stopped, restarted, terminated, started again, over the command line and the public API; which
member a snapshot is taken from; the record of each attempt."""
import unittest

import harness
from harness import wait_for
from test_api import Client



class JobStates(harness.TestCase):
    @classmethod
    def deploy(cls):
        config = {0: {"priority": 2}, 1: {"priority": 1}, 2: {"priority": 0.5}}
        cls.d = harness.Deployment(cls.scratch, 3, config=config, start_job=False, first_snapshot=True,
                                   server_arguments=("--oplog-slice-age", "1s", "--provision-threshold", "1MiB"))
        cls.cli = cls.d.cli
        cls.d.wait_members()
        cls.writer = harness.Writer(cls.d.set, pause=0.02).start()
        cls.writer.wait_writes(50)

    def job(self):
        return self.cli("job", "show", "--set", "rs0")

    def wait_job(self, what, condition, limit=120):
        return wait_for(lambda: (job := self.job()) and condition(job) and job, what, limit, every=0.3)

    def snapshots(self, state="COMPLETE"):
        return [one for one in self.cli("snapshot", "list")["results"] if one["state"] == state]

    def wait_snapshot(self, other_than=()):
        """A complete one that was not there, and nothing under way."""
        def there():
            fresh = [one for one in self.snapshots() if one["id"] not in other_than]
            job = self.job()
            return not job.get("runningSnapshotId") and not job.get("snapshotWanted") and fresh
        return wait_for(there, "a snapshot that is taken by itself", 180, every=0.3)[0]

    def stored(self):
        return [name for name in self.d.server.objects() if name.startswith("j/")]

    def test_from_start_to_start(self):
        cli, fails = self.cli, self.cli.fails
        fails(3, "set rs0 has no backup job", "job", "restart", "--set", "rs0")

        # Above the threshold it waits, and takes no room.
        started = cli("job", "start", "--set", "rs0")
        self.assertEqual((started["statusName"], started["provisioned"]), ("PROVISIONING", False))
        fails(6, "the job of set rs0 is PROVISIONING already", "job", "start", "--set", "rs0")
        fails(6, "is PROVISIONING: it has not begun yet", "job", "stop", "--set", "rs0")
        self.assertRegex(cli.run("job", "show", "rs0").out, r"waits +its data, .* are above --provision-threshold")
        self.assertEqual(self.stored(), [])
        cli("job", "set", "--set", "rs0", "--deny")
        self.assertEqual(self.job()["state"], "INACTIVE")
        cli("job", "start", "--set", "rs0")
        cli("job", "set", "--set", "rs0", "--approve")
        self.wait_job("the job to be started", lambda job: job["state"] == "STARTED")

        # The first snapshot comes by itself, full, from the secondary with the lowest priority, with oplog before it.
        first = self.wait_snapshot()
        self.assertEqual((first["member"], first["memberState"]), (self.d.set.members[2].host, "SECONDARY"))
        self.assertEqual(first["parentCapture"], 0)
        ranges = cli("job", "ranges", "--set", "rs0")["results"]
        self.assertEqual([one["snapshotId"] for one in ranges], [first["id"]])
        self.assertTrue(ranges[0]["storedOplog"])
        fails(6, "the job of set rs0 is STARTED already", "job", "start", "--set", "rs0")
        fails(6, "is STARTED; hint: stop it first", "job", "terminate", "--set", "rs0", "--yes")
        fails(6, "a STOPPED one is restarted", "job", "restart", "--set", "rs0")
        fails(6, "only a termination that does not come to its end is forced", "job", "terminate", "--set", "rs0", "--yes", "--force")

        # Stopped: the snapshot under way ends, what there is stays, and nothing happens.
        begun = cli("snapshot", "take", "--set", "rs0", "--no-wait")["id"]
        self.assertEqual(cli("job", "stop", "--set", "rs0", "--wait")["state"], "STOPPED")
        self.assertIn(cli("snapshot", "show", begun)["state"], ("ABANDONED", "COMPLETE"))
        kept = {one["id"] for one in self.snapshots()}
        self.assertIn(first["id"], kept)
        stored = sorted(name for name in self.stored() if "/o/" in name)
        fails(6, "the job of set rs0 is STOPPED", "snapshot", "take", "--set", "rs0")
        writes = self.writer.count()
        self.writer.wait_writes(60)
        self.assertGreater(self.writer.count(), writes)
        self.assertEqual(sorted(name for name in self.stored() if "/o/" in name), stored)
        self.assertEqual({one["id"] for one in self.snapshots()}, kept)
        self.assertEqual([agent["members"] and task for agent in cli("agent", "list")["results"] for task in agent.get("tasks", [])], [])

        # Restarted: another range, with a base of its own, and the time between is named as lost.
        self.assertEqual(cli("job", "restart", "--set", "rs0", "--wait")["state"], "STARTED")
        second = self.wait_snapshot(kept)
        self.assertNotEqual(second["parentCapture"], 0)  # the member knows what it had
        job = self.job()
        self.assertEqual(job["oplog"]["cause"], "resumed")
        ranges = wait_for(lambda: [one for one in cli("job", "ranges", "--set", "rs0")["results"] if one["snapshotId"] == second["id"]],
                          "the new range", every=0.5)
        old = [one for one in cli("job", "ranges", "--set", "rs0")["results"] if one["snapshotId"] == first["id"]]
        self.assertLess(old[0]["end"]["seconds"], ranges[0]["start"]["seconds"])
        self.assertEqual(old[0].get("endCause"), "resumed")
        events = cli("event", "list", "--profile", self.d.server.data / "cli.profile")["results"]
        self.assertTrue([one for one in events if one["type"] == "OPLOG_GAP" and "the job had been stopped" in one["text"]])

        # Terminated: asked for with a word, and then nothing is left of it.
        cli("job", "stop", "--set", "rs0", "--wait")
        fails(2, "every snapshot of set rs0 and its whole stored oplog would be deleted; hint: say --yes", "job", "terminate", "--set", "rs0")
        link = cli("restore", "link", "--snapshot", first["id"])
        fails(6, "a link to snapshot .* can be used until", "job", "terminate", "--set", "rs0", "--yes")
        cli("restore", "cancel", "--restore", link["id"])
        self.assertNotEqual(self.stored(), [])
        self.assertEqual(cli("job", "terminate", "--set", "rs0", "--yes", "--wait")["state"], "INACTIVE")
        self.assertEqual(self.stored(), [])
        self.assertEqual(self.snapshots(), [])
        fails(3, "is EXPIRED", "restore", "start", first["id"], "--to", self.d.restore_root / "gone")
        fails(6, "INACTIVE: nothing of it is stored", "job", "ranges", "--set", "rs0")

        # And again from the beginning, full.
        cli("job", "start", "--set", "rs0")
        cli("job", "set", "--set", "rs0", "--approve")
        third = self.wait_snapshot()
        self.assertEqual((third["parentCapture"], third["blocksReused"]), (0, 0))
        self.assertGreater(third["capture"], second["capture"])

        self.check_members(third)
        self.check_log({first["id"], begun, second["id"], third["id"]})
        self.check_api()

    def check_members(self, snapshot):
        cli, hosts = self.cli, [member.host for member in self.d.set.members]
        why = cli("job", "why-member", "--set", "rs0")
        self.assertEqual((why["member"], why["previousMember"]), (hosts[2], hosts[2]))
        said = {one["host"]: one["why"] for one in why["members"]}
        self.assertEqual(said[hosts[0]], "not needed: it is the primary")
        self.assertRegex(said[hosts[1]], "not needed: ")
        self.assertRegex(said[hosts[2]], "chosen: ")
        cli.fails(2, "no agent has reported a member", "job", "set", "--set", "rs0", "--preferred-member", "h:1")
        cli("job", "set", "--set", "rs0", "--preferred-member", hosts[1])
        why = cli("job", "why-member", "--set", "rs0")
        self.assertRegex(why["reason"], f"^{hosts[1]}, the preferred member")
        send = {one["host"]: one["sendBytes"] for one in why["members"]}
        self.assertGreater(send[hosts[1]], 4 * send[hosts[2]])
        other = cli("snapshot", "take", "--set", "rs0", limit=240)
        # What a change costs: nothing of the other member's files is known, so all is sent again.
        self.assertEqual((other["member"], other["blocksReused"]), (hosts[1], 0))
        cli("job", "set", "--set", "rs0", "--preferred-member", "none")
        again = cli("snapshot", "take", "--set", "rs0", limit=240)
        print(f"new bytes: {snapshot['newBytes']} full, {other['newBytes']} after a change of the member, {again['newBytes']} from "
              f"{'the same' if again['member'] == other['member'] else 'the first'} one again")
        self.assertGreater(again["blocksReused"], 0)

    def check_log(self, expected):
        log = self.cli("job", "log", "--set", "rs0")["results"]
        self.assertLessEqual(expected, {one["id"] for one in log})
        self.assertEqual([one["capture"] for one in log], sorted((one["capture"] for one in log), reverse=True))
        record = log[0]["record"]
        self.assertEqual((record["state"], record["rsId"], record["sourceMongodHostName"]), ("COMPLETE", "rs0", log[0]["member"]))
        for name in ("startTimeTs", "descriptionCreatedAtTs", "dataTransferStartedAtTs", "endTimeTs"):
            self.assertRegex(record[name], r"^20\d\d-")
        self.assertGreater(record["dataBlockUploadDuration"], 0)
        self.assertGreater(record["numFiles"], 5)
        text = self.cli.run("job", "log", "rs0").out
        self.assertIn("full", text)
        self.assertRegex(self.cli.run("snapshot", "show", log[0]["id"]).out, r"phases +cursor \d+\.\d s, file list .* data .* check \d+ s")

    def check_api(self):
        client = Client(self.d.server)
        group = client.call("GET", "/api/public/v1.0/groups").json["results"][0]["id"]
        config = client.call("GET", f"/api/public/v1.0/groups/{group}/backupConfigs").json["results"][0]
        path = f"/api/public/v1.0/groups/{group}/backupConfigs/{config['clusterId']}"
        self.assertEqual((config["statusName"], config["provisioned"]), ("STARTED", True))
        members = client.call("GET", path + "/availableMembers").json["availableMembers"]
        self.assertEqual(sorted(members), sorted(member.host for member in self.d.set.members))
        for status, http, code in (("STARTED", 409, "CANNOT_START_BACKUP_INVALID_STATE"), ("TERMINATING", 409, "CANNOT_TERMINATE_BACKUP_INVALID_STATE"),
                                   ("INACTIVE", 403, "UNSUPPORTED_SET_BACKUP_STATE")):
            reply = client.call("PATCH", path, {"statusName": status})
            self.assertEqual((reply.status, reply.json["errorCode"]), (http, code))
        # As the operator of a known client sends it, with what it read.
        body = {"clusterId": config["clusterId"], "groupId": group, "encryptionEnabled": True, "excludedNamespaces": [], "includedNamespaces": None,
                "provisioned": True, "statusName": "STOPPED", "storageEngineName": "WIRED_TIGER", "syncSource": "PRIMARY"}
        reply = client.call("PATCH", path, body)
        self.assertEqual((reply.status, reply.json["statusName"]), (200, "STOPPED"))
        reply = client.call("PATCH", path, {"statusName": "STOPPED"})
        self.assertEqual((reply.status, reply.json["errorCode"]), (409, "CANNOT_STOP_BACKUP_INVALID_STATE"))
        reply = client.call("PATCH", path, {"statusName": "TERMINATING"})
        self.assertEqual((reply.status, reply.json["statusName"]), (200, "TERMINATING"))
        wait_for(lambda: client.call("GET", path).json["statusName"] == "INACTIVE", "the end of the job", every=0.3)
        self.assertEqual(self.stored(), [])


if __name__ == "__main__":
    unittest.main()
