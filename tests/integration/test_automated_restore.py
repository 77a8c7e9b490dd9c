#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Restores onto whole sets by the agents of their members: the same set, another one, and everything that goes wrong in between.

After each of them a set runs, on its old data or on the restored, and never on a mixture.
"""
import contextlib
import os
import pathlib
import re
import shlex
import signal
import threading
import unittest

import harness
from test_api import PUBLIC, Client
from harness import checkpoint_of, compare_states, state_of, wait_for

LIMIT_S = 240
SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
ENDED = ("FINISHED", "BROKEN", "KILLED")


def pid_of(member):
    """The process on the member's directory, whoever started it."""
    text = (member.dbpath / "mongod.lock").read_text().strip() if (member.dbpath / "mongod.lock").exists() else ""
    if not text.isdigit():
        return None
    with contextlib.suppress(OSError):
        state = pathlib.Path(f"/proc/{text}/stat").read_text().rsplit(")", 1)[1].split()[0]
        command = pathlib.Path(f"/proc/{text}/cmdline").read_bytes().split(b"\0")
        if state != "Z" and str(member.dbpath).encode() in command:
            return int(text)
    return None


def command_line(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()


class Set(harness.ReplicaSet):
    """A set whose members may be started by an agent, and an agent for each of them."""

    def __init__(self, scratch, server, count=1, name="rs1", config=None, agents=None, member_arguments=()):
        super().__init__(scratch, count, name, config, arguments=member_arguments)
        self.server = server
        seeds = ",".join(member.host for member in self.members)
        self.restored = scratch.dir / f"restored-{name}"
        own = ["--mongod", harness.member_binary()]  # the others find what their member runs
        self.agents = [harness.Agent(scratch, f"agent-{name}-{i}", server, seeds, [member.host], self.restored if i == 0 else None,
                                     arguments=own if i == 0 else []).start()
                       for i, member in enumerate(self.members[:agents])]

    def lock(self, key, user):
        """From now on the members ask for a log-in, and the tests do it as that user (name and password)."""
        for member in self.members:
            member.close_client()
            assert member.stop() == 0, member.tail()
            member.command += ["--keyFile", key]
            member.start()
        self.log_in(user)

    def log_in(self, user):
        for member in self.members:
            member.close_client()
            member._client = self.scratch.client(member.address, directConnection=True, retryWrites=False, retryReads=False,
                                                 username=user[0], password=user[1])

    def pids(self):
        return [pid_of(member) for member in self.members]

    def settle(self, limit=LIMIT_S):
        """All members run, and one is primary."""

        def settled():
            states = []
            for member in self.members:
                reply = member.client.admin.command("isMaster")
                if reply.get("setName") != self.name or not reply.get("primary"):
                    return False
                states.append("P" if reply.get("ismaster") else "A" if reply.get("arbiterOnly") else "S" if reply.get("secondary") else "?")
            return "?" not in states and states.count("P") == 1

        wait_for(settled, f"set {self.name} to have its members and a primary", limit, every=0.2)

    def data_members(self):
        return [member for member in self.members if not member.hello().get("arbiterOnly")]

    def primary_client(self):
        for member in self.members:
            if member.client.admin.command("isMaster").get("ismaster"):
                return member.client
        raise AssertionError("no primary")

    def end(self):
        for agent in self.agents:
            agent.kill()
        for member in self.members:
            member.close_client()
            pid = pid_of(member)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            member.kill()

    def leftovers(self):
        return [path.name for member in self.members for path in [*member.dbpath.parent.iterdir(), *member.dbpath.iterdir()]
                if ".holdfast-" in path.name]


class Base(harness.TestCase):
    SOURCE_MEMBERS = 1
    USERS = {}

    @classmethod
    def deploy(cls):
        cls.sets = []
        cls.server = harness.Server(cls.scratch, arguments=["--task-silence", "20s", "--oplog-slice-age", "1s", "--minimum-oplog-window", "0"]).start()
        cls.cli = harness.Cli(cls.scratch)
        cls.client = Client(cls.server)
        cls.addClassCleanup(cls.end_sets)
        cls.source = cls.make_set(cls.SOURCE_MEMBERS, "rs0")
        cls.wait_known(cls.source)
        for user, password in cls.USERS.items():
            cls.source.primary_client().admin.command("createUser", user, pwd=password, roles=["root"])
        cls.cli("job", "start", "--set", "rs0")
        harness.wait_tail(cls.source.agents)
        cls.writer = harness.Writer(cls.source).load(1500)
        for _ in range(30):
            cls.writer.write()
        cls.source.wait_checkpoint()
        cls.snapshot = cls.cli("snapshot", "take", "--set", "rs0")
        assert cls.snapshot["state"] == "COMPLETE", cls.snapshot
        cls.expected = cls.writer.settle().state_at(checkpoint_of(cls.snapshot))

    @classmethod
    def make_set(cls, count, name, **kwargs):
        one = Set(cls.scratch, cls.server, count, name, **kwargs)
        cls.sets.append(one)
        return one

    @classmethod
    def end_sets(cls):
        for one in cls.sets:
            one.end()

    @classmethod
    def wait_known(cls, one, members=None):
        hosts = {member.host for member in members or one.members}

        def known():
            members = [m for agent in cls.cli("agent", "list")["results"] if agent["connected"] for m in agent["members"]]
            return hosts <= {m["host"] for m in members if m["state"] in ("PRIMARY", "SECONDARY", "ARBITER") and m["setName"] == one.name}

        wait_for(known, f"the server to know {one.name}", every=0.3)

    def restore(self, target, *words):
        return self.cli("restore", "start", "--snapshot", self.snapshot["id"], "--target-set", target.name, "--yes", *words, limit=LIMIT_S)

    def cluster(self, target):
        found = self.client.get(f"{PUBLIC}/groups/{self.snapshot['projectId']}/clusters").json["results"]
        return next(one["id"] for one in found if one["replicaSetName"] == target.name)

    def order(self, target, delivery=None, **source):
        """The public POST, as a client of anybody's sends it."""
        delivery = {"methodName": "AUTOMATED_RESTORE", "targetGroupId": self.snapshot["projectId"],
                    "targetClusterId": self.cluster(target), **(delivery or {})}
        return self.client.call("POST", f"{PUBLIC}/groups/{self.snapshot['projectId']}/clusters/{self.snapshot['clusterId']}/restoreJobs",
                                {**source, "delivery": delivery})

    def begin(self, target, *words):
        return self.restore(target, "--no-wait", *words)["id"]

    def show(self, restore):
        return self.cli("restore", "show", restore)

    def wait_ended(self, restore, limit=LIMIT_S):
        def ended():
            record = self.show(restore)
            return record if record["state"] in ENDED else None

        return wait_for(ended, f"the end of restore {restore}", limit, every=0.3)

    def check_new(self, target):
        """Every member has the snapshot's data, the same oplog end, the new configuration; and the set takes writes."""
        target.settle()
        hashes, ends, uuids = [], [], []
        for member in target.data_members():
            uuids.append({one["name"]: one["info"]["uuid"] for one in member.client.app.list_collections()})
            found = state_of(member.client, "app")
            self.assertEqual(compare_states(self.expected, found), "", member.name)
            self.assertNotIn("old", member.client.list_database_names())
            hashes.append(harness.hashes_of(member.client, "app"))
            ends.append(member.client.local["system.replset"].find_one()["settings"]["replicaSetId"])
        self.assertTrue(all(one == hashes[0] for one in hashes))
        self.assertTrue(uuids[0] and all(one == uuids[0] for one in uuids), uuids)  # R17.15
        self.assertEqual(len(set(ends)), 1)
        target.primary_client().get_database("after").things.insert_one({"_id": 1})
        self.assertEqual(target.leftovers(), [])

    def gaps(self):
        return [one for one in self.cli("event", "list")["results"] if one["type"] == "OPLOG_GAP"]

    def check_cut(self):
        """The oplog before the restore and the one after it are two chains, and the second has a snapshot of its own."""
        wait_for(self.gaps, "the event of the cut chain", LIMIT_S, every=0.3)
        self.assertEqual([one["text"].split(";")[0] for one in self.gaps()], ["restored: the set was itself restored"])

        def based():
            found = self.cli("snapshot", "list", "--set", self.source.name)["results"]
            return [one for one in found if one["state"] == "COMPLETE" and one.get("description", "").startswith("restored: ")]

        wait_for(based, "the snapshot that the new chain asks for", LIMIT_S, every=0.3)
        self.assertEqual(self.show_snapshot(self.snapshot["id"])["state"], "COMPLETE")
        ends = [one.get("endCause") or one.get("why") or str(one) for one in self.cli("job", "ranges", "--set", self.source.name)["results"]]
        self.assertIn("restored", " ".join(ends))

    def show_snapshot(self, snapshot):
        return self.cli("snapshot", "show", "--snapshot", snapshot)


class Sets(Base):
    """Each way once, to its end."""

    USERS = {"clerk": "of the source", "holdfast": "of the source"}  # which asks nobody for them

    @classmethod
    def deploy(cls):
        super().deploy()
        cls.target = cls.make_set(3, "rs1", config={2: {"arbiterOnly": True}})
        cls.wait_known(cls.target)

    def test_1_what_stands_in_the_way_is_listed_and_nothing_touched(self):
        before = self.target.pids()
        record = self.cli("restore", "start", "--snapshot", self.snapshot["id"], "--target-set", "rs1", "--dry-run")
        self.assertEqual((record["state"], record["target"]["obstacles"], record["target"]["phase"]), ("FINISHED", [], "DONE"))
        self.cli.fails(2, "all data of set rs1 would be replaced; hint: --yes", "restore", "start", "--snapshot", self.snapshot["id"],
                       "--target-set", "rs1")
        self.cli.fails(3, "no agent has reported a set rs7", "restore", "start", "--snapshot", self.snapshot["id"], "--target-set", "rs7", "--yes")
        real = bool(os.environ.get("HOLDFAST_TEST_MONGOD"))  # the sandbox has one layout only
        lonely = self.make_set(2, "rs2", agents=0, member_arguments=["--directoryperdb"] if real else ["--setParameter", "sandboxVersion=6.0.1"])
        member = lonely.members[0]
        lonely.agents = [harness.Agent(self.scratch, "agent-rs2", self.server, member.host, [member.host]).start(
            env={"HOLDFAST_FAULTS": ";".join(f"agent.target.room:{n}=NO_SPACE" for n in (1, 2, 3))})]
        self.wait_known(lonely, lonely.members[:1])
        (lonely.members[0].dbpath / "storage.bson").rename(lonely.members[0].dbpath / "storage.bson.gone")
        out = self.cli.run("restore", "start", "--snapshot", self.snapshot["id"], "--target-set", "rs2", "--dry-run").out
        self.assertRegex(out, f"(?m)^AGENT: .*{lonely.members[1].host}, which no agent serves")
        self.assertRegex(out, "(?m)^DIRECTORY: .*does not look like a dbPath: it has no storage.bson")
        self.assertEqual("storage.directoryPerDB is true there, the snapshot has false" in out, real, out)
        if not real:
            self.assertRegex(out, f"(?m)^VERSION: {member.host}: it runs 6.0.1, which does not open files of FCV 4.4$")
        room = f"(?m)^SPACE: {member.host}: 0 MiB are free for its data, (\\d+) MiB are needed"
        self.assertRegex(out, room)
        beside = int(re.search(room, out).group(1))
        out = self.cli.run("restore", "start", "--snapshot", self.snapshot["id"], "--target-set", "rs2", "--dry-run", "--reuse-space").out
        self.assertLess(int(re.search(room, out).group(1)), beside)  # the old files are room, too
        self.cli.fails(6, "restore .*: BROKEN: .*and more; see restore show", "restore", "start", "--snapshot", self.snapshot["id"],
                       "--target-set", "rs2", "--yes")
        (lonely.members[0].dbpath / "storage.bson.gone").rename(lonely.members[0].dbpath / "storage.bson")
        self.assertEqual(lonely.leftovers(), [])
        self.assertEqual(self.target.pids(), before)
        lonely.end()

    def test_2_another_set_with_other_hosts_and_an_arbiter(self):
        self.target.primary_client().old.things.insert_one({"_id": "old"})
        (self.target.members[0].dbpath / "mongod.conf").write_text("mine\n")
        modes = [os.stat(member.dbpath / "WiredTiger").st_mode for member in self.target.members]
        commands = [command_line(pid) for pid in self.target.pids()]
        reply = self.order(self.target, snapshotId=self.snapshot["id"])
        self.assertEqual((reply.status, reply.json["totalCount"]), (200, 1), reply.body)
        job, = reply.json["results"]
        restore = job["id"]
        self.assertEqual((job["statusName"], job["pointInTime"], job["snapshotId"]), ("IN_PROGRESS", False, self.snapshot["id"]))
        self.assertEqual((job["delivery"]["methodName"], job["delivery"]["targetClusterId"]), ("AUTOMATED_RESTORE", self.cluster(self.target)))
        reply = self.order(self.target, snapshotId=self.snapshot["id"])
        self.assertEqual((reply.status, reply.json["errorCode"]), (409, "CONCURRENT_RESTORES_JOB_IDS"), reply.body)
        self.assertIn(restore, reply.json["detail"])
        for delivery, status, code in (({"targetClusterId": None}, 400, "MISSING_ATTRIBUTE"), ({"targetGroupId": None}, 400, "MISSING_ATTRIBUTE"),
                                       ({"targetClusterId": "f" * 24}, 404, "CLUSTER_NOT_FOUND"), ({"targetGroupId": "f" * 24}, 404, "GROUP_NOT_FOUND")):
            reply = self.order(self.target, delivery, snapshotId=self.snapshot["id"])
            self.assertEqual((reply.status, reply.json["errorCode"]), (status, code), delivery)
        self.cli.fails(6, f"restore {restore} onto set rs1 is under way", "restore", "start", "--snapshot", self.snapshot["id"],
                       "--target-set", "rs1", "--yes")
        self.cli.fails(6, f"is being restored from .restore {restore}", "snapshot", "delete", "--snapshot", self.snapshot["id"])
        record = self.wait_ended(restore)
        self.assertEqual((record["state"], record["targetSet"], record["target"]["phase"]), ("FINISHED", "rs1", "DONE"), record)
        self.check_new(self.target)
        self.assertEqual(sorted(one["bytes"] > 0 for one in record["target"]["members"]), [False, True, True])
        self.assertEqual([command_line(pid) for pid in self.target.pids()], commands)  # the agents found them by themselves
        self.assertEqual((self.target.members[0].dbpath / "mongod.conf").read_text(), "mine\n")
        self.assertEqual([os.stat(member.dbpath / "WiredTiger").st_mode for member in self.target.members], modes)

    if SOAK:  # else Points, onto the same set too

        def test_3_a_set_becomes_its_snapshot_again(self):
            self.source.primary_client().old.things.insert_one({"_id": "later"})
            before = self.source.pids()
            self.restore(self.source)
            self.assertNotEqual(self.source.pids(), before)
            self.check_new(self.source)
            self.check_cut()

    def test_4_in_place(self):
        self.source.primary_client().old.things.insert_one({"_id": "later"})
        record = self.restore(self.source, "--reuse-space")
        self.assertLess(record["writtenBytes"], record["bytes"])
        self.check_new(self.source)

    def command_of(self, member):
        return " ".join(shlex.quote(str(word)) for word in member.command) + f" >>{member.log} 2>&1"

    def make_systemctl(self, member):
        """A directory with one that does as if the member were its unit."""
        program = self.scratch.dir / "bin" / "systemctl"
        program.parent.mkdir()
        program.write_text(f"""#!/bin/sh
echo "$@" >>{self.scratch.dir}/systemctl.log
case $1 in
stop)
    pid=$(cat {member.dbpath}/mongod.lock)
    kill "$pid"
    while grep -q '^State:.[^Z]' "/proc/$pid/status" 2>/dev/null; do sleep 0.05; done ;;
start)
    setsid {self.command_of(member)} </dev/null & ;;
esac
""")
        program.chmod(0o755)
        return str(program.parent)

    def test_5_agents_that_log_in(self):
        """Afterwards the target's agents go on with their user, and all others are the source's. One member is a unit of systemd, one is
        started by a command."""
        target = self.make_set(2, "rs3", agents=0)
        admin = target.primary_client().admin
        concern = {"writeConcern": {"w": "majority"}}
        admin.command("createRole", "onlooker", privileges=[{"resource": {"cluster": True}, "actions": ["serverStatus"]}], roles=[], **concern)
        admin.command("createUser", "boss", pwd="of the target", roles=["root"], **concern)
        admin.command("createUser", "holdfast", pwd="of the target", roles=["backup", "clusterMonitor", "onlooker"], **concern)
        key, password = self.scratch.dir / "key", self.scratch.dir / "password"
        key.write_text("aG9sZGZhc3Q=\n")
        key.chmod(0o600)
        password.write_text("of the target\n")
        target.lock(key, ("boss", "of the target"))
        target.settle()
        stored = [target.primary_client().admin["system.users"].find_one({"user": "holdfast"}),
                  target.primary_client().admin["system.roles"].find_one({"role": "onlooker"})]
        seeds = ",".join(member.host for member in target.members)
        ways = [["--member-unit", f"{target.members[0].host}=mongod-a.service"],
                ["--member-start", f"{target.members[1].host}=echo begun >>{self.scratch.dir}/begun; exec {self.command_of(target.members[1])}"]]
        # One of them is treated as if its dbPath were a mount point.
        how = [{}, {"HOLDFAST_FAULTS": ";".join(f"agent.target.inside:{n}=DENIED" for n in (1, 2))}]
        path = self.make_systemctl(target.members[0]) + ":" + os.environ["PATH"]
        target.agents = [harness.Agent(self.scratch, f"agent-rs3-{i}", self.server, seeds, [member.host],
                                       arguments=["--user", "holdfast", "--password-file", password, *ways[i]]).start(env={"PATH": path, **how[i]})
                         for i, member in enumerate(target.members)]
        self.wait_known(target)
        inodes = [os.stat(member.dbpath).st_ino for member in target.members]
        record = self.restore(target)
        self.assertEqual((record["state"], record["target"]["login"]), ("FINISHED", "admin.holdfast"), record)
        self.assertEqual([os.stat(member.dbpath).st_ino == inode for member, inode in zip(target.members, inodes)], [False, True])
        self.assertEqual((self.scratch.dir / "systemctl.log").read_text(), "stop mongod-a.service\nstart mongod-a.service\n")
        self.assertEqual((self.scratch.dir / "begun").read_text(), "begun\n")
        target.log_in(("clerk", "of the source"))
        self.check_new(target)
        for member in target.members:
            users = {user["_id"]: user for user in member.client.admin["system.users"].find()}
            self.assertEqual(sorted(users), ["admin.clerk", "admin.holdfast"])
            self.assertEqual(list(users["admin.holdfast"].items()), list(stored[0].items()))
            self.assertEqual(member.client.admin["system.roles"].find_one({"role": "onlooker"}), stored[1])
            with self.assertRaises(harness.pymongo.errors.OperationFailure):
                self.scratch.client(member.address, directConnection=True, username="holdfast", password="of the source").admin.command("serverStatus")
        uuids = [{one["name"]: one["info"]["uuid"] for one in member.client.admin.list_collections()} for member in target.members]
        self.assertIn("system.roles", uuids[0])  # the source has none: it was made
        self.assertEqual(uuids[0], uuids[1])
        secret = stored[0]["credentials"]["SCRAM-SHA-256"]["storedKey"]
        for agent in target.agents:
            self.assertNotIn(secret, agent.log.read_text(errors="replace"))
            self.assertEqual([path.name for path in (agent.state / "targets").glob("*")], [])
        self.assertIn("user kept    admin.holdfast", self.cli.run("restore", "show", record["id"]).out)
        self.cli("job", "start", "--set", "rs3")
        harness.wait_tail(target.agents)
        self.assertEqual(self.cli("snapshot", "take", "--set", "rs3")["state"], "COMPLETE")
        target.end()


class Points(Base):
    """A mistake on a set, and the set as it was before it."""

    SOURCE_MEMBERS = 3

    def last_entry(self):
        return self.source.primary_client().local["oplog.rs"].find_one(sort=[("$natural", -1)])["ts"]

    def wait_saved(self, ts):
        def saved():
            ranges = self.cli("job", "ranges", "--set", self.source.name)["results"]
            return any((one["end"]["seconds"], one["end"]["increment"]) >= (ts.time, ts.inc) for one in ranges)

        wait_for(saved, f"a range that reaches {ts}", LIMIT_S, every=0.3)

    def test_a_set_as_it_was_before_the_mistake(self):
        for _ in range(200):
            self.writer.write()
        self.writer.settle()
        good = self.last_entry()
        type(self).expected = state_of(self.source.primary_client(), "app")
        app = self.source.primary_client().app
        app.orders.update_many({}, {"$set": {"oops": 1}})
        app.people.drop()
        self.source.primary_client().old.things.insert_one({"_id": "later"})
        mistake, with_mistake = self.last_entry(), state_of(self.source.primary_client(), "app")
        self.wait_saved(mistake)
        point = ("--set", "rs0", "--oplog-ts", f"{good.time}.{good.inc}")
        self.cli.fails(3, "nearest", "restore", "start", "--set", "rs0", "--target-set", "rs0", "--yes", "--oplog-ts", "1000000000.1")
        record = self.cli("restore", "start", "--target-set", "rs0", "--dry-run", *point)
        self.assertEqual((record["state"], record["target"]["obstacles"]), ("FINISHED", []), record)
        reply = self.order(self.source, oplogTs="1000000000", oplogInc=1)
        self.assertEqual((reply.status, reply.json["errorCode"]), (404, "NO_CHECKPOINT_FOR_PIT_RESTORE"), reply.body)
        reply = self.order(self.source, oplogTs=str(good.time), oplogInc=good.inc)
        self.assertEqual(reply.status, 200, reply.body)
        job, = reply.json["results"]
        self.assertEqual((job["pointInTime"], job["timestamp"]["increment"]), (True, good.inc), job)
        record = self.wait_ended(job["id"])
        self.assertEqual(record["state"], "FINISHED", record)
        self.assertGreater(record["replayInserted"], 100, record)
        self.check_new(self.source)
        self.check_cut()
        self.check_both_histories(mistake, with_mistake)

    def check_both_histories(self, mistake, with_mistake):
        """R17.18: points in the new range and none across. R17.19: the history that the restore ended is still there."""
        orders = self.source.primary_client().app.get_collection("orders", write_concern=harness.WriteConcern("majority"))
        orders.insert_many([{"_id": f"new-{i}"} for i in range(30)])
        later, now = self.last_entry(), state_of(self.source.primary_client(), "app")
        orders.delete_many({})

        def ranges():
            found = self.cli("job", "ranges", "--set", "rs0")["results"]
            return found if len(found) > 1 and (found[-1]["end"]["seconds"], found[-1]["end"]["increment"]) > (later.time, later.inc) else None

        old, new = wait_for(ranges, f"a second range that reaches {later}", LIMIT_S, every=0.3)[-2:]
        across = f"{old['end']['seconds']}.{old['end']['increment'] + 1}"
        self.assertLess((old["end"]["seconds"], old["end"]["increment"] + 1), (new["start"]["seconds"], new["start"]["increment"]))
        self.cli.fails(3, "cannot be restored: the set was itself restored; hint: the nearest", "restore", "start", "--set", "rs0", "--to", self.source.restored / "across", "--oplog-ts", across)
        for ts, expected in ((later, now), (mistake, with_mistake)):
            directory = self.source.restored / f"{ts.time}.{ts.inc}"
            record = self.cli("restore", "start", "--set", "rs0", "--to", directory, "--oplog-ts", f"{ts.time}.{ts.inc}", limit=LIMIT_S)
            self.assertEqual(record["state"], "FINISHED", record)
            with harness.opened(self.scratch, directory) as member:
                self.assertEqual(compare_states(expected, state_of(member.client, "app")), "", ts)


class Failing(Base):
    """Something dies, or is cancelled, in each phase: afterwards a set runs, old or new."""

    AGENT = ["agent.target.checked", "agent.target.files", "agent.target.replayed", "agent.target.configured", "agent.target.built", "agent.target.stopped",
             "agent.target.old_aside", "agent.target.swapped", "agent.target.starting", "agent.target.launch", "agent.target.started",
             "agent.target.primary", "agent.target.cleaned", "agent.target.noted:3", "os.fs.moved:2", "snapshot.restore.reuse:9"]
    BACK = ["agent.target.halted", "agent.target.new_aside", "agent.target.put_back", "agent.target.undone"]
    SERVER = ["server.target.noted:1", "server.target.noted:4", "server.target.moved:2", "server.target.moved:4", "server.target.moved:6",
              "server.target.cut", "server.target.ended"]

    @classmethod
    def deploy(cls):
        super().deploy()
        cls.target = cls.make_set(2, "rs1")
        cls.wait_known(cls.target)

    first_fetched = None

    def check_reuse(self, record):
        """Every restore but the first finds blocks of the same snapshot in the old files."""
        members = record["target"]["members"]
        fetched = max(one["fetchedBytes"] for one in members)
        if self.first_fetched is None:
            type(self).first_fetched = fetched
            return
        for one in members:
            self.assertGreater(one["reusedBytes"], 1 << 20, record)
            self.assertLess(one["fetchedBytes"], self.first_fetched * 0.7, record)

    def share(self, points, count):
        """All of them in a soak, else so many of them."""
        if SOAK:
            return points
        return [points[(1 + 5 * i) % len(points)] for i in range(count)]

    def mark(self, marker):
        self.target.settle()
        things = self.target.primary_client().old.get_collection("things", write_concern=harness.WriteConcern("majority", wtimeout=60000))
        things.delete_many({})
        things.insert_one({"_id": marker})

    def with_faults(self, faults):
        agent = self.target.agents[0]
        agent.stop()
        agent.start(env={"HOLDFAST_FAULTS": faults})
        self.wait_known(self.target)
        return agent

    def plain(self, agent):
        agent.kill()
        agent.start()
        self.wait_known(self.target)

    def test_an_agent_dies_in_a_step(self):
        for point in self.share(self.AGENT, 1):
            with self.subTest(point):
                self.mark("a")
                agent = self.with_faults(point + "=die")
                restore = self.begin(self.target)
                self.assertEqual(agent.wait(LIMIT_S), -signal.SIGKILL)
                agent.start()
                record = self.wait_ended(restore)
                self.assertEqual(record["state"], "FINISHED", record)
                self.check_reuse(record)
                self.check_new(self.target)
        if SOAK:
            self.a_step_fails()
            self.an_agent_dies_on_the_way_back()

    def a_step_fails(self):
        for point in [one for one in self.AGENT if one not in ("agent.target.cleaned", "agent.target.noted:3", "os.fs.moved:2", "snapshot.restore.reuse:9")]:
            with self.subTest(point):
                self.restore(self.target)
                self.check_new(self.target)
                self.mark("b")
                before = [harness.hashes_of(member.client, "app") for member in self.target.members]
                agent = self.with_faults(point + "=CORRUPT")
                record = self.wait_ended(self.begin(self.target))
                self.assertEqual((record["state"], record["errorClass"]), ("BROKEN", "CORRUPT"), record)
                self.assertIn(point, record["error"])
                self.target.settle()
                for member in self.target.members:
                    self.assertEqual(member.client.old.things.find_one(), {"_id": "b"})
                self.assertEqual([harness.hashes_of(member.client, "app") for member in self.target.members], before)
                self.assertEqual(self.target.leftovers(), [])
                self.plain(agent)

    def an_agent_dies_on_the_way_back(self):
        for point in self.BACK:
            with self.subTest(point):
                self.mark("c")
                agent = self.with_faults(f"agent.target.primary=CORRUPT;{point}=die")
                restore = self.begin(self.target)
                self.assertEqual(agent.wait(LIMIT_S), -signal.SIGKILL)
                agent.start()
                record = self.wait_ended(restore)
                self.assertEqual(record["state"], "BROKEN", record)
                self.target.settle()
                for member in self.target.members:
                    self.assertEqual(member.client.old.things.find_one(), {"_id": "c"})
                self.assertEqual(self.target.leftovers(), [])

    def test_the_server_dies(self):
        for point in self.share(self.SERVER, 1):
            with self.subTest(point):
                self.mark("d")
                self.server.stop()
                self.server.start(env={"HOLDFAST_FAULTS": point + "=die"})
                self.wait_known(self.target)
                restore = self.begin(self.target)
                self.assertEqual(self.server.wait(LIMIT_S), -signal.SIGKILL)
                self.server.start()
                record = self.wait_ended(restore)
                self.assertEqual(record["state"], "FINISHED", record)
                self.check_reuse(record)
                self.check_new(self.target)

    if SOAK:

        def test_the_server_dies_before_it_answers(self):
            """Nothing is asked of the agents, and nothing stands in the way of the next one."""
            for point in ("server.target.locked", "server.target.recorded"):
                with self.subTest(point):
                    self.mark("g")
                    self.server.stop()
                    self.server.start(env={"HOLDFAST_FAULTS": point + "=die"})
                    self.wait_known(self.target)
                    words = ("restore", "start", "--snapshot", self.snapshot["id"], "--target-set", "rs1", "--yes", "--no-wait", "--json")
                    self.assertNotEqual(self.cli.run(*words).code, 0)
                    self.assertEqual(self.server.wait(LIMIT_S), -signal.SIGKILL)
                    self.server.start()
                    self.wait_known(self.target)

                    def accepted():
                        answer = self.cli.run(*words)
                        return answer.code == 0 and answer.json["id"]

                    record = self.wait_ended(wait_for(accepted, "the next restore to be accepted", LIMIT_S, every=0.5))
                    self.assertEqual(record["state"], "FINISHED", record)
                    self.check_new(self.target)

    def begin_writing(self):
        """A thread that writes with w: majority; the ids that were acknowledged, and what ends it."""
        acknowledged, going = set(), threading.Event()
        written = self.target.client(serverSelectionTimeoutMS=500).old.get_collection(
            "written", write_concern=harness.WriteConcern("majority", wtimeout=20000))
        written.delete_many({})

        def write():
            number = 0
            while not going.is_set():
                number += 1
                with contextlib.suppress(harness.pymongo.errors.PyMongoError):
                    written.insert_one({"_id": number})
                    acknowledged.add(number)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()

        def stop():
            going.set()
            thread.join(LIMIT_S)

        return acknowledged, stop

    def test_cancelled_in_a_phase(self):
        """What was acknowledged up to the stop is there afterwards: clients may write as long as they can."""
        phases = ["CHECK", "BUILD", "STOP", "SWAP", "START", "PRIMARY"]
        for phase in phases if SOAK else ["STOP"]:
            with self.subTest(phase):
                self.mark("e")
                acknowledged, stop = self.begin_writing()
                restore = self.begin(self.target)

                def reached():
                    record = self.show(restore)
                    return record["state"] in ENDED or record["target"]["phase"] not in phases[:phases.index(phase)]

                wait_for(reached, f"phase {phase}", LIMIT_S, every=0.02)
                answer = self.cli.run("restore", "cancel", restore)
                record = self.wait_ended(restore)
                stop()
                if record["state"] == "FINISHED":
                    self.assertEqual(answer.code, 6, answer.err)
                    self.check_new(self.target)
                    continue
                self.assertEqual((record["state"], record["error"]), ("KILLED", "cancelled by the operator"), record)
                self.target.settle()
                for member in self.target.members:
                    self.assertEqual(member.client.old.things.find_one(), {"_id": "e"})
                there = {one["_id"] for one in self.target.primary_client().old.written.find()}
                self.assertGreater(len(acknowledged), 10)
                self.assertEqual(acknowledged - there, set())
                self.assertEqual(self.target.leftovers(), [])

    if SOAK:  # else a server that comes back

        def test_the_server_is_gone_for_good(self):
            """A member that was only stopped goes back alone; the restore is led back when the server returns."""
            self.mark("f")
            for agent in self.target.agents:
                agent.stop()
                agent.start(env={"HOLDFAST_RESTORE_PATIENCE": "3s"})
            self.server.stop()
            self.server.start(env={"HOLDFAST_FAULTS": "server.target.noted:5=die"})
            self.wait_known(self.target)
            restore = self.begin(self.target)
            self.assertEqual(self.server.wait(LIMIT_S), -signal.SIGKILL)
            self.target.settle()
            for member in self.target.members:
                self.assertEqual(member.client.old.things.find_one(), {"_id": "f"})
            self.server.start()
            record = self.wait_ended(restore)
            self.assertEqual(record["state"], "BROKEN", record)
            self.assertIn("back on its old data already, as its agent lost the server", record["error"])
            self.target.settle()
            self.assertEqual(self.target.leftovers(), [])


if __name__ == "__main__":
    unittest.main()
