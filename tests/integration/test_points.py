#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Points in time from request to result: ranges, targets at the edges of slices, refusals, leases, and whoever dies on the way.

A set with a writer that knows what it wrote when, its oplog tailed by a real agent; what comes out of a restore is opened and
compared with what the writer knows.
"""
import collections
import datetime
import re
import shlex
import subprocess
import time

import bson

import harness
from harness import compare_states, state_of, wait_for
from test_api import Client, PRIVATE, PUBLIC

MARK = "holdfast-replay.json"


def stamp(text):
    """'1795450667.68'."""
    seconds, increment = text.split(".")
    return bson.Timestamp(int(seconds), int(increment))


def dotted(ts):
    return f"{ts.time}.{ts.inc}"


def date(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Points(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, server_arguments=["--minimum-oplog-window", "0", "--task-silence", "20s"],
                                   agent_arguments=["--mongod", harness.member_binary()])
        cls.cli, cls.server, cls.agent = cls.d.cli, cls.d.server, cls.d.agents[0]
        cls.api = Client(cls.server)
        cls.writer = harness.Writer(cls.d.set, pause=0.01).load(300)
        cls.writer.start()
        wait_for(lambda: cls.agent.logged(r"agent\.tail\.begun"), "the tail to have begun", every=0.1)
        cls.d.set.wait_checkpoint()
        cls.first = cls.d.take()
        cls.writer.wait_writes(300)
        cls.d.set.wait_checkpoint()
        cls.second = cls.d.take()
        cls.wait_slices(2)
        cls.writer.wait_writes(100)
        cls.writer.stop().settle()
        cls.last = cls.writer.journal[-1][0]
        cls.wait_end(cls.last)
        cls.job = cls.cli("job", "show", "--set", "rs0")["id"]

    # ---- What is stored ----

    @classmethod
    def slices(cls):
        """(first, last) of each slice, as timestamps."""
        found = []
        for name in cls.server.objects():
            if "/o/" in name:
                last, first = name.rsplit("/", 1)[1].split("-")[:2]
                found.append(tuple(bson.Timestamp(int(one[:8], 16), int(one[8:16], 16)) for one in (first, last)))
        return sorted(found, key=lambda one: (one[0].time, one[0].inc))

    @classmethod
    def wait_slices(cls, more):
        goal = len(cls.slices()) + more
        wait_for(lambda: len(cls.slices()) >= goal, f"{more} more slices", every=0.3)

    @classmethod
    def ranges(cls):
        return cls.cli("job", "ranges", "--set", "rs0")["results"]

    @classmethod
    def wait_end(cls, ts):
        wait_for(lambda: any((one["end"]["seconds"], one["end"]["increment"]) >= (ts.time, ts.inc) for one in cls.ranges()),
                 f"a range up to {ts}", every=0.5)

    # ---- Restores ----

    def start(self, name, *words):
        return ["restore", "start", "--set", "rs0", "--to", self.d.restore_root / name, *words]

    def check(self, name, ts, inclusive=True):
        """The directory shows what the writer had written by then."""
        until = ts if inclusive else bson.Timestamp(ts.time - 1, 0xFFFFFFFF)
        directory = self.d.restore_root / name
        self.assertFalse((directory / MARK).exists())
        with harness.opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(until), state_of(member.client, "app")), "")
            top = member.client.local["oplog.rs"].find().sort("$natural", -1).limit(1).next()["ts"]
        self.assertLessEqual(top, until)
        return top

    def restored(self, name, ts, *words):
        record = self.cli(*self.start(name, *words))
        self.assertEqual(record["state"], "FINISHED", record)
        self.assertTrue(record["pointInTime"])
        top = self.check(name, ts, not record["pointIsDate"])
        self.assertEqual((record["replayTop"]["seconds"], record["replayTop"]["increment"]), (top.time, top.inc))
        return record

    def journal_between(self, low, high):
        return [ts for ts, *_ in self.writer.journal if low < ts <= high]

    # ---- The tests ----

    def test_ranges_are_listed_with_why_they_end(self):
        ranges = self.ranges()
        self.assertEqual(len(ranges), 1, ranges)
        one = ranges[0]
        self.assertEqual((one["start"]["seconds"], one["start"]["increment"]),
                         (self.first["checkpoint"]["seconds"], self.first["checkpoint"]["increment"]))
        self.assertEqual((one["snapshotId"], one["snapshots"], one["endReason"]), (self.first["id"], 2, "open"))
        self.assertTrue(one["storedOplog"])
        self.assertEqual(one["start"]["date"], date(one["start"]["seconds"]))
        text = self.cli.run("job", "ranges", "rs0").out
        self.assertRegex(text, rf"\({one['start']['seconds']}\.{one['start']['increment']}\) .* {self.first['id']} +2 +.* is the newest entry")
        cluster = self.cli("job", "show", "--set", "rs0")["clusterId"]
        project = self.cli("server", "status")["projectId"]
        path = f"{PUBLIC}/groups/{project}/clusters/{cluster}/restoreJobs/restorableTimeRanges"
        reply = self.api.call("POST", path)
        self.assertEqual(reply.status, 200)
        self.assertIsInstance(reply.json, list)  # bare: rest-api.md 1.7
        self.assertEqual(len(reply.json), 1)
        self.assertEqual(reply.json[0]["snapshotId"], self.first["id"])
        self.assertEqual(reply.json[0]["start"], {"date": one["start"]["date"], "increment": one["start"]["increment"]})
        self.assertGreaterEqual(reply.json[0]["end"]["date"], date(self.last.time))

    def test_targets_at_the_edges_of_slices(self):
        after = harness.checkpoint_of(self.second)
        edges = [one for one in self.slices() if one[0] > after and one[1] <= self.last]
        self.assertTrue(edges, "no slice between the snapshot and the last write")
        record = self.restored("edge-last", edges[0][1], "--oplog-ts", dotted(edges[0][1]))
        self.assertEqual(record["snapshotId"], self.second["id"])
        self.assertGreater(record["replayInserted"], 0)
        self.assertGreater(record["replayCompared"], 0)
        record = self.restored("edge-first", edges[-1][0], "--oplog-ts", dotted(edges[-1][0]), "--snapshot", self.first["id"])
        self.assertEqual(record["snapshotId"], self.first["id"])
        project = self.cli("server", "status")["projectId"]
        public = self.api.get(f"{PUBLIC}/groups/{project}/clusters/{record['clusterId']}/restoreJobs/{record['id']}").json
        self.assertTrue(public["pointInTime"])
        self.assertEqual(public["timestamp"], {"date": date(edges[-1][0].time), "increment": edges[-1][0].inc})
        self.assertEqual((public["statusName"], public["snapshotId"]), ("FINISHED", self.first["id"]))
        shown = self.cli.run("restore", "show", record["id"]).out
        self.assertRegex(shown, rf"point +{re.escape(dotted(edges[-1][0]))} \(including that entry\)")
        self.assertRegex(shown, r"brought to .*: the oplog there ends with \d+\.\d+; \d+ entries of the copy were compared, \d+ added")

    def test_a_date_takes_what_is_before_its_second(self):
        # A second in which something was written, and before it too.
        after = harness.checkpoint_of(self.first)
        seconds = sorted({ts.time for ts in self.journal_between(after, self.last)})
        second = seconds[len(seconds) // 2]
        self.assertTrue([ts for ts in self.journal_between(after, self.last) if ts.time == second])
        self.restored("date", bson.Timestamp(second, 0), "--until", date(second))

    def test_a_point_in_the_copy_itself_needs_no_slice(self):
        """The base's own checkpoint: its oplog is cut there."""
        ts = harness.checkpoint_of(self.first)
        self.restored("own", ts, "--oplog-ts", dotted(ts))

    def test_what_is_outside_is_refused_with_the_nearest(self):
        early = self.first["checkpoint"]["seconds"] - 100
        begin = f"{self.first['checkpoint']['seconds']}.{self.first['checkpoint']['increment']}"
        self.cli.fails(3, rf"{early}\.1 cannot be restored: no snapshot is that old; hint: the nearest instants are none before and "
                       rf"{re.escape(begin)} after it", *self.start("no", "--oplog-ts", f"{early}.1"))
        self.cli.fails(3, rf"cannot be restored: .* is the newest entry that is stored; hint: the nearest instants are \S+Z before and none",
                       *self.start("no", "--until", date(int(time.time()) + 86400)))
        self.cli.fails(2, "name two points", *self.start("no", "--until", date(early), "--oplog-ts", "1.1"))
        self.cli.fails(2, "is no point in time; hint", *self.start("no", "--until", "yesterday"))
        self.cli.fails(2, "is no timestamp; hint", *self.start("no", "--oplog-ts", "5"))
        self.cli.fails(2, "--set belongs to", *self.start("no", "--snapshot", self.first["id"]))
        self.cli.fails(2, "which set", "restore", "start", "--to", self.d.restore_root / "no", "--oplog-ts", "5.1")
        self.cli.fails(2, "an archive holds a snapshot", "restore", "start", "--snapshot", self.first["id"], "--tar", "x.tar",
                       "--oplog-ts", "5.1")
        self.cli.fails(2, f"snapshot {self.second['id']} is no base", *self.start("no", "--oplog-ts", begin, "--snapshot", self.second["id"]))
        reply = self.api.call("POST", PRIVATE + "/restores", {"jobId": self.job, "directory": "/x", "pointInTimeUTCMillis": early * 1000.0})
        self.assertEqual((reply.status, reply.json["errorCode"]), (404, "NO_CHECKPOINT_FOR_PIT_RESTORE"))
        reply = self.api.call("POST", PRIVATE + "/restores", {"jobId": self.job, "directory": "/x", "oplogTs": "5"})
        self.assertEqual((reply.status, reply.json["errorCode"]), (400, "INVALID_ATTRIBUTE"))
        self.assertFalse((self.d.restore_root / "no").exists())

    def test_the_stored_oplog_is_searched_without_a_restore(self):
        """The writer's journal says what there is to be found."""
        between = self.journal_between(harness.checkpoint_of(self.first), self.last)
        low, high = between[len(between) // 3], between[len(between) // 2]
        journal = [one for one in self.writer.journal if low < one[0] <= high]
        found = self.cli("oplog", "find", "--set", "rs0", "--from", dotted(low), "--to", dotted(high), "--ns", "app", "--limit", "10000")
        self.assertFalse(found["more"])
        self.assertEqual([(one["seconds"], one["increment"], one["ns"], one["id"]) for one in found["results"]],
                         [(ts.time, ts.inc, namespace, str(key)) for ts, namespace, key, _ in journal])
        deleted = [one for one in journal if one[3] is None]
        gone = self.cli("oplog", "find", "--set", "rs0", "--from", dotted(low), "--to", dotted(high), "--kind", "delete", "--limit", "10000")
        self.assertEqual([one["id"] for one in gone["results"]], [str(key) for _, _, key, _ in deleted])
        ts, namespace, key, _ = journal[len(journal) // 2]
        one = self.cli("oplog", "find", "--set", "rs0", "--ns", namespace, "--id", key, "--from", dotted(low), "--limit", "10000")
        times = [when for when, ns, _id, _ in self.writer.journal if (ns, _id) == (namespace, key)]
        self.assertEqual([(found["seconds"], found["increment"]) for found in one["results"]],
                         [(when.time, when.inc) for when in times if when > low])
        text = self.cli.run("oplog", "find", "rs0", "--from", dotted(low), "--ns", "app", "--limit", "1").out
        self.assertRegex(text, rf"{re.escape(dotted(journal[0][0]))} +1 +(insert|update|delete) +{re.escape(journal[0][1])} +{journal[0][2]}")
        self.assertIn("and more", text)
        # Counted: per minute, and between two points.
        diff = self.cli("oplog", "diff", "--set", "rs0", "--from", dotted(low), "--to", dotted(high), "--ns", "app")
        counts = {one["ns"]: sum(one.get(kind, 0) for kind in ("insert", "update", "delete")) for one in diff["results"]}
        self.assertEqual(counts, collections.Counter(namespace for _, namespace, _, _ in journal))
        minutes = self.cli("oplog", "find", "--set", "rs0", "--from", dotted(low), "--to", dotted(high), "--ns", "app", "--per-minute")
        self.assertEqual(sum(one.get("delete", 0) for one in minutes["results"]), len(deleted))
        self.assertEqual({one["minute"] for one in minutes["results"]}, {date(ts.time // 60 * 60) for ts, *_ in journal})
        self.cli.fails(2, "kind 'drop' is none of", "oplog", "find", "--set", "rs0", "--kind", "drop")
        self.cli.fails(2, "say from which point", "oplog", "diff", "--set", "rs0")

    def test_base_and_slices_are_held_through_a_restart_of_the_server(self):
        """The agent is asked while it cannot move, so the restore waits; the server dies meanwhile."""
        ts = self.writer.journal[-1][0]
        self.agent.signal(19)
        try:
            begun = self.cli(*self.start("held", "--oplog-ts", dotted(ts), "--no-wait"))
            self.assertEqual(begun["snapshotId"], self.second["id"])
            self.assertTrue(begun["leaseFrom"]["seconds"])
            held = rf"snapshot {self.second['id']} is being restored from \(restore {begun['id']}\)"
            self.cli.fails(6, held, "snapshot", "delete", self.second["id"])
            self.server.kill()
            self.server.start()
            self.cli.fails(6, held, "snapshot", "delete", self.second["id"])
        finally:
            self.agent.signal(18)
        record = self.wait_restore(begun["id"])
        self.assertEqual(record["state"], "FINISHED", record)
        self.assertEqual(record["pointSeconds"], ts.time)
        self.check("held", ts)

    def deliver(self, link, command, label):
        """Downloads, unpacks, runs the command that came with it; the directory that is at the point then."""
        archive = self.scratch.dir / f"{label}.tar"
        subprocess.run(["curl", "-sSf", "--max-time", "120", "-o", archive, link["url"]], check=True, timeout=150)
        top = harness.unpack(archive, self.scratch.dir / f"unpacked-{label}")
        archive.unlink()
        words = {"DIR": str(top), "KEY_FILE": str(self.server.key_file), "PROFILE": str(self.server.data / "cli.profile")}
        program, *command = [words.get(word, word) for word in shlex.split(command)]
        self.assertEqual(program, "holdfast")
        self.cli(*command, "--mongod", harness.member_binary())
        return top

    def check_delivered(self, top, until):
        with harness.opened(self.scratch, top, "delivered") as member:
            self.assertEqual(compare_states(self.writer.state_at(until), state_of(member.client, "app")), "")
            newest = member.client.local["oplog.rs"].find().sort("$natural", -1).limit(1).next()["ts"]
        self.assertLessEqual(newest, until)

    def test_a_link_gives_the_base_and_the_command_that_brings_it_to_the_point(self):
        between = self.journal_between(harness.checkpoint_of(self.second), self.last)
        ts = between[len(between) // 2]
        self.assertNotEqual(self.writer.state_at(ts), self.writer.state_at(harness.checkpoint_of(self.second)))
        made = self.cli("restore", "link", "--set", "rs0", "--oplog-ts", dotted(ts))
        self.assertEqual((made["snapshotId"], made["pointInTime"], made["state"]), (self.second["id"], True, "FINISHED"))
        command, on_store = made["link"]["applyCommand"], made["link"]["applyCommandOnStore"]
        begin = f"holdfast oplog apply --dbpath DIR --oplog-ts {dotted(ts)} --snapshot {self.second['id']}"
        self.assertEqual(command, f"{begin} --server {self.server.url} --profile PROFILE")
        self.assertEqual(on_store, f"{begin} --store {shlex.quote(self.server.store)} --key-file KEY_FILE")
        self.check_delivered(self.deliver(made["link"], command, "link"), ts)
        # Its download is used up; base and command stay until the link expires.
        wait_for(lambda: self.cli("restore", "show", made["id"])["link"]["status"] == "MAX_DOWNLOADS_EXCEEDED", "the download to be counted")
        self.assertRegex(self.cli.run("restore", "show", made["id"]).out, rf"(?m)^  then         {re.escape(command)}$\n^  or           {re.escape(on_store)}$")
        self.cli.fails(6, rf"a download of snapshot {self.second['id']} may be brought to a point in time until .* \(restore {made['id']}\)",
                       "snapshot", "delete", self.second["id"])
        self.cli("restore", "cancel", made["id"])
        self.assertNotIn("applyCommandOnStore", self.cli("restore", "show", made["id"])["link"])
        self.cli.fails(2, "which set", "restore", "link", "--oplog-ts", "5.1")
        self.cli.fails(2, "--set belongs to", "restore", "link", "--set", "rs0")
        self.cli.fails(3, "no snapshot is that old", "restore", "link", "--set", "rs0", "--oplog-ts", "5.1")

    def test_a_public_job_with_a_point_is_delivered(self):
        second = self.journal_between(harness.checkpoint_of(self.second), self.last)[-1].time
        path = f"{PUBLIC}/groups/{self.first['projectId']}/clusters/{self.first['clusterId']}/restoreJobs"
        http = {"methodName": "HTTP"}
        reply = self.api.call("POST", path, {"pointInTimeUTCMillis": second * 1000.0, "delivery": http})
        self.assertEqual(reply.status, 200, reply.body)
        job, = reply.json["results"]
        self.assertEqual((job["statusName"], job["pointInTime"], job["timestamp"]["date"]), ("FINISHED", True, date(second)))
        self.assertIn(f" --until {date(second)} ", job["applyCommand"])
        self.assertIn(f" --snapshot {job['snapshotId']}", job["applyCommand"])
        top = self.deliver(job["delivery"], job["applyCommandOnStore"], "public")
        self.check_delivered(top, bson.Timestamp(second - 1, 0xFFFFFFFF))
        self.cli("restore", "cancel", job["id"])
        for body, status, code in (({"oplogTs": 5, "oplogInc": 1}, 404, "NO_CHECKPOINT_FOR_PIT_RESTORE"),
                                   ({"oplogTs": 5}, 400, "INVALID_ATTRIBUTE"),
                                   ({"checkpointId": "a"}, 501, "FEATURE_UNSUPPORTED")):
            reply = self.api.call("POST", path, {**body, "delivery": http})
            self.assertEqual((reply.status, reply.json["errorCode"]), (status, code), body)

    def wait_restore(self, restore):
        def ended():
            record = self.cli("restore", "show", restore)
            return record if record["state"] != "IN_PROGRESS" else None

        return wait_for(ended, f"the end of restore {restore}", every=0.3)

    def wait_phase(self, restore, phases):
        def there():
            record = self.cli("restore", "show", restore)
            return record["state"] != "IN_PROGRESS" or record.get("progress", {}).get("phase") in phases

        wait_for(there, f"restore {restore} to be at {phases}", every=0.05)

    def test_an_agent_that_dies_in_the_replay_and_a_second_restore_onto_what_it_left(self):
        ts = self.writer.journal[-1][0]
        directory = self.d.restore_root / "died"
        begun = self.cli(*self.start("died", "--oplog-ts", dotted(ts), "--no-wait"))
        wait_for(lambda: (directory / MARK).exists(), "the replay to have begun", every=0.01)
        self.agent.kill()
        self.agent.start()
        record = self.wait_restore(begun["id"])
        self.assertEqual((record["state"], record["errorClass"]), ("BROKEN", "LOST"), record)
        # Whatever lies there is made right by the next one.
        self.cli.fails(4, "is not empty; hint: .*--onto", *self.start("died", "--oplog-ts", dotted(ts)))
        wait_for(lambda: not self.in_use(directory), "the temporary server to be gone", every=0.2)
        self.restored("died", ts, "--oplog-ts", dotted(ts), "--onto")

    def in_use(self, directory):
        lock = directory / "mongod.lock"
        if not lock.exists() or not lock.read_text().strip():
            return False
        try:
            command = open(f"/proc/{int(lock.read_text())}/cmdline", "rb").read()
        except OSError:
            return False
        return str(directory).encode() in command

    def test_a_cancelled_replay_ends_killed(self):
        ts = self.writer.journal[-1][0]
        directory = self.d.restore_root / "cancelled"
        begun = self.cli(*self.start("cancelled", "--oplog-ts", dotted(ts), "--no-wait"))
        wait_for(lambda: (directory / MARK).exists(), "the replay to have begun", every=0.01)
        self.assertEqual(self.api.call("POST", f"{PRIVATE}/restores/{begun['id']}/cancel").status, 202)
        record = self.wait_restore(begun["id"])
        self.assertIn(record["state"], ("KILLED", "FINISHED"), record)  # it may have been at its very end
        self.cli("restore", "show", begun["id"])
        self.assertFalse(self.in_use(directory))


if __name__ == "__main__":
    harness.main()
