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


class Stores(harness.TestCase):
    """Two sets, and stores of their own for both: what is saved lies where the labels say, and a store that is away is missed by its own
    jobs only."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, 1, start_job=False, server_arguments=("--oplog-slice-age", "1s"),
                                   agent_arguments=("--mongod", harness.member_binary()))
        cls.other = harness.ReplicaSet(cls.scratch, 1, "rs1")
        host = cls.other.members[0].host
        harness.Agent(cls.scratch, "agent-rs1", cls.d.server, host, [host], cls.scratch.dir / "restored-rs1").start()
        cls.cli, cls.server = cls.d.cli, cls.d.server
        cls.d.wait_members(2)
        cls.writers = {"rs0": harness.Writer(cls.d.set), "rs1": harness.Writer(cls.other, seed=2)}
        for writer in cls.writers.values():
            writer.load(40)

    def path(self, name):
        return self.scratch.dir / f"store-{name}"

    def add(self, name, *words):
        return self.cli("store", "add", name, f"file://{self.path(name)}", *words)

    def kinds(self, directory):
        """What lies there, by job: {job: {"p", "m", "o", ...}}."""
        found = {}
        for path in directory.rglob("*"):
            parts = path.relative_to(directory).parts
            if path.is_file() and parts[0] == "j" and not path.name.startswith("."):
                found.setdefault(parts[1], set()).add(parts[2])
        return found

    def job(self, set_name):
        return self.cli("job", "show", "--set", set_name)

    def wait_job(self, set_name, what, condition):
        return wait_for(lambda: (job := self.job(set_name)) and condition(job) and job, what, 120, every=0.3)

    def take(self, set_name):
        snapshot = self.cli("snapshot", "take", "--set", set_name, limit=240)
        self.assertEqual(snapshot["state"], "COMPLETE", snapshot)
        return snapshot

    def wait_saved(self, set_name):
        """A write of now is in a slice."""
        client = self.writers[set_name].set.client(w="majority")
        client.marks.mark.insert_one({})
        ts = list(client.local["oplog.rs"].find({"ns": "marks.mark"}).sort("$natural", -1).limit(1))[0]["ts"]
        self.wait_job(set_name, "the oplog to be saved", lambda job: (last := job.get("oplog", {}).get("last"))
                      and (last["seconds"], last["increment"]) >= (ts.time, ts.inc))
        return ts

    def restored(self, set_name, snapshot, *words):
        root = self.d.restore_root if set_name == "rs0" else self.scratch.dir / "restored-rs1"
        directory = root / f"{snapshot['id']}{len(words)}"
        record = self.cli("restore", "start", "--snapshot", snapshot["id"], "--to", directory, *words)
        self.assertEqual(record["state"], "FINISHED", record)
        return directory

    def check_restored(self, set_name, snapshot):
        with harness.opened(self.scratch, self.restored(set_name, snapshot)) as member:
            self.assertEqual(harness.compare_states(self.writers[set_name].state_at(harness.checkpoint_of(snapshot)),
                                                    harness.state_of(member.client, "app")), "")

    def test_each_job_has_its_stores(self):
        cli, fails = self.cli, self.cli.fails

        # Each with a key of its own.
        fast = self.add("fast", "--label", "ssd", "--load-factor", "2")
        self.assertEqual((fast["keyPath"], fast["encrypted"]), (str(self.server.data / "store-fast.key"), True))
        self.add("big", "--label", "hdd")
        self.add("slices", "--oplog", "--label", "ssd", "--label", "hdd")
        self.assertEqual(len({path.read_text() for path in self.server.data.glob("store*.key")}), 4)
        fails(4, "there is a store named fast", "store", "add", "fast", f"file://{self.path('x')}")
        fails(4, "is the store named big already", "store", "add", "x", f"file://{self.path('big')}")
        fails(13, "no stores of kind \"s3\"", "store", "add", "x", "s3://bucket/x")
        (self.path("full") / "some").mkdir(parents=True)
        (self.path("full") / "some" / "thing").touch()
        fails(6, "holds some/thing and no mark", "store", "add", "full", f"file://{self.path('full')}")

        # Labels say which.
        fails(6, "no snapshot store has the label tape", "assignment", "set", "--label", "tape")
        fails(3, "no oplog store named fast", "assignment", "set", "--oplog-store", "fast")
        cli("assignment", "set", "--label", "ssd")
        cli("job", "start", "--set", "rs0")
        cli("assignment", "set", "--label", "hdd")
        cli("job", "start", "--set", "rs1")
        first = {name: self.take(name) for name in ("rs0", "rs1")}
        points = {name: self.wait_saved(name) for name in ("rs0", "rs1")}
        ids = {name: self.job(name)["id"] for name in ("rs0", "rs1")}
        for name, store, reason in (("rs0", "fast", "not big: it has no label ssd"), ("rs1", "big", "not fast: it has no label hdd")):
            job = self.job(name)
            self.assertEqual((job["storeName"], job["oplogStoreName"]), (store, "slices"))
            self.assertRegex(job["assignedBecause"], f"snapshot store {store}: the only one that will do; .*{reason}.*oplog store slices")
            self.assertRegex(cli.run("job", "show", name).out, f"stores +snapshots in {store}, oplog in slices")
            self.assertEqual(set(self.kinds(self.path(store))), {ids[name]})
            self.assertLessEqual({"k", "m", "t"}, self.kinds(self.path(store))[ids[name]])
            self.assertNotIn("o", self.kinds(self.path(store))[ids[name]])
        self.assertEqual(self.kinds(self.path("slices")), {job: {"k", "o"} for job in ids.values()})
        self.assertEqual(self.kinds(self.server.store_dir), {})
        listed = {one["name"]: one for one in cli("store", "list")["results"]}
        self.assertEqual({name: (one["holds"], one["jobs"]) for name, one in listed.items()},
                         {"default": ("snapshots", 0), "fast": ("snapshots", 1), "big": ("snapshots", 1), "slices": ("oplog", 2)})

        # Restored from each, to a point in time too, by the server and from the stores alone.
        for name in ("rs0", "rs1"):
            self.check_restored(name, first[name])
        with harness.opened(self.scratch, self.restored("rs0", first["rs0"], "--oplog-ts", f"{points['rs0'].time}.{points['rs0'].inc}")) as member:
            self.assertEqual(member.client.marks.mark.count_documents({}), 1)
        key = ["--key-file", self.server.data / "store-fast.key"]
        self.assertTrue(cli("store", "verify", f"file://{self.path('fast')}", *key)["ok"])
        cli("oplog", "check", "--store", f"file://{self.path('fast')}", "--oplog-store", f"file://{self.path('slices')}", *key, "--job", ids["rs0"])
        cli("oplog", "check", "--store", f"file://{self.path('slices')}", "--key-file", self.server.data / "store-slices.key", "--job", ids["rs1"])
        fails(7, "this is store", "store", "restore", f"file://{self.path('big')}", "--snapshot", first["rs1"]["id"], "--to",
              self.scratch.dir / "no", *key)
        [groomed] = [one for one in cli("store", "groom", "--living-percent", "100")["results"] if one["setName"] == "rs1"]
        self.assertEqual(groomed["storeName"], "big")

        # Needed ones are not forgotten.
        fails(6, "store fast is that of the job of set rs0, which is STARTED", "store", "remove", "fast")
        fails(6, "store slices is that of the job", "store", "remove", "slices")
        fails(6, "is that of --store", "store", "remove", "default")

        self.check_away()
        self.check_another_beginning(ids)

    def check_away(self):
        cli, fails = self.cli, self.cli.fails
        away = self.path("fast").with_name("away")
        self.path("fast").rename(away)
        wait_for(lambda: "not there" in {one["name"]: one for one in cli("store", "list")["results"]}["fast"].get("away", ""), "the store to be missed")
        fails(5, "store fast is not there: .* has no mark; hint: mount", "snapshot", "take", "--set", "rs0")
        self.take("rs1")
        self.wait_saved("rs0")  # the oplog has a store of its own
        # So it is after a start, which makes nothing where the store was.
        self.assertEqual(self.server.stop(), 0)
        self.path("fast").mkdir()
        self.server.start()
        self.assertTrue(self.server.logged(r"store\.away store=fast"))
        fails(5, "store fast is not there", "snapshot", "take", "--set", "rs0")
        self.take("rs1")
        self.wait_saved("rs0")
        self.path("fast").rmdir()  # empty still
        away.rename(self.path("fast"))
        wait_for(lambda: cli.run("snapshot", "take", "--set", "rs0", "--no-wait").code == 0, "the store to be back", every=0.5)
        self.wait_job("rs0", "the snapshot's end", lambda job: not job.get("runningSnapshotId"))
        [newest] = [one for one in cli("snapshot", "list", "--set", "rs0")["results"] if one["state"] == "COMPLETE"][:1]
        self.check_restored("rs0", newest)

    def check_another_beginning(self, ids):
        cli, fails = self.cli, self.cli.fails
        # Stopped and restarted, it keeps its stores; terminated and started, it is given others.
        cli("job", "stop", "--set", "rs1", "--wait")
        cli("assignment", "set", "--label", "none", "--snapshot-store", "fast")
        cli("job", "restart", "--set", "rs1", "--wait")
        self.assertEqual(self.job("rs1")["storeName"], "big")
        cli("job", "stop", "--set", "rs1", "--wait")
        cli("job", "terminate", "--set", "rs1", "--yes", "--wait")
        self.assertEqual(self.kinds(self.path("big")), {})
        self.assertEqual(set(self.kinds(self.path("slices"))), {ids["rs0"]})
        cli("store", "set", "fast", "--assignment", "off")
        self.assertEqual(cli("job", "start", "--set", "rs1")["statusName"], "PROVISIONING")
        self.wait_job("rs1", "why it waits", lambda job: "fast: it takes no new jobs" in job.get("problem", ""))
        cli("store", "set", "fast", "--assignment", "on")
        self.assertEqual(self.wait_job("rs1", "the job to be started", lambda job: job["state"] == "STARTED")["storeName"], "fast")
        self.check_restored("rs1", self.take("rs1"))
        cli("store", "remove", "big")
        self.assertEqual([one["name"] for one in cli("store", "list")["results"]], ["default", "fast", "slices"])
        fails(6, "store-big.key lies there already", "store", "add", "big", f"file://{self.path('bigger')}")
        cli("store", "add", "big", f"file://{self.path('big')}")  # taken up again, with the key it has


if __name__ == "__main__":
    unittest.main()
