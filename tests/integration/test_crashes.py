#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that die at each step, lines that break, a full disk, flipped bits: what is left, what is said, what comes next.

Wherever something dies here: a snapshot ends COMPLETE, FAILED or ABANDONED with its reason, is listed only when it restores,
no cursor stays open, and the next take is COMPLETE, verifies, and restores what the database held.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import disks
import harness
from harness import compare_states, opened, state_of, trees_equal, wait_for

SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
MARK = ".holdfast-restore-incomplete"
STOPPED = "the agent was stopped while it worked on this"
NEVER_ASKED = "the server stopped before an agent was asked"
SILENT = "nothing was heard of the agent for too long"
ENDED = {"COMPLETE", "FAILED", "ABANDONED"}


class Case(harness.TestCase):
    """One member that nobody writes to between takes, a server that gives up soon."""

    documents, pad = 400, 1000
    silence = "4s"
    server_arguments = ()
    agent_arguments = ()
    store = None

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, server_arguments=["--task-silence", cls.silence, *cls.server_arguments],
                                   agent_arguments=cls.agent_arguments, store=cls.store)
        cls.cli, cls.server, cls.agent, cls.member = cls.d.cli, cls.d.server, cls.d.agents[0], cls.d.set.members[0]
        cls.writer = harness.Writer(cls.d.set).load(cls.documents, pad=cls.pad)
        cls.d.set.wait_checkpoint()
        cls.restores = 0

    def setUp(self):
        for process in (self.server, self.agent):
            if not process.alive():
                process.start()

    def record(self, snapshot_id):
        return next((one for one in self.cli("snapshot", "list", "--all")["results"] if one["id"] == snapshot_id), None)

    def records(self):
        return {one["id"]: one for one in self.cli("snapshot", "list", "--all")["results"]}

    def is_idle(self):
        return not self.cli("job", "show", "--set", "rs0").get("runningSnapshotId")

    def wait_idle(self):
        wait_for(self.is_idle, "the job to be free again", every=0.2)

    def restart(self, process, **faults):
        """Kills it, if it has not died already, and starts it; faults: the points to die at."""
        process.kill()
        text = ";".join(f"{point}=die" for point in faults.pop("die", ()))
        process.start(env={"HOLDFAST_FAULTS": text} if text else None)

    def wait_death(self, process):
        self.assertEqual(process.wait(), -signal.SIGKILL, f"{process.name} must die at its fault point:\n{process.tail()}")

    def restore_equals(self, snapshot_id):
        type(self).restores += 1
        directory = self.d.restore(snapshot_id, f"r{self.restores}")
        self.assertFalse((directory / MARK).exists())
        record = self.d.snapshot(snapshot_id)
        files = [path for path in directory.rglob("*") if path.is_file() and path.name != "restoreInfo.txt"]
        self.assertEqual((len(files), sum(path.stat().st_size for path in files)), (record["files"], record["bytes"]))
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(harness.checkpoint_of(record)), state_of(member.client, "app")), "")
        shutil.rmtree(directory)

    def check_listed(self):
        """What is offered is whole; what is not cannot be restored."""
        key = self.server.key_arguments()
        offered = set(self.d.listed())
        for one in self.records().values():
            self.assertIn(one["state"], ENDED | {"EXPIRED"}, one)
            if one["state"] != "COMPLETE":
                self.assertNotIn(one["id"], offered)
        in_store = {one["id"] for one in self.cli("store", "list", self.server.store, *key)["results"] if "id" in one}
        self.assertEqual(in_store, offered, "store and catalog offer the same")

    def check_after(self, restore=True):
        """No cursor, a free job, and a next take that is all it should be. A restore takes seconds: in a soak for each point,
        else once for each test."""
        self.d.wait_no_cursor()
        self.wait_idle()
        record = self.d.take()
        self.assertTrue(self.cli("snapshot", "verify", record["id"])["ok"])
        if restore:
            self.restore_equals(record["id"])
        self.check_listed()
        return record


class Capture(Case):
    """Each step of a capture, on both sides (store-format.md 5)."""

    def take_until_death(self, process, point, start_again=True):
        """The id of the snapshot that was being taken when the process died, or None when nobody was told of one."""
        before = set(self.records())
        self.restart(process, die=[point])
        answer = self.cli.run("snapshot", "take", "--set", "rs0", "--no-wait", "--json")
        self.wait_death(process)
        if start_again:
            process.start()
        if answer.code == 0:
            return answer.json["id"]
        self.assertEqual(answer.code, 5, answer.err)
        self.assertRegex(answer.err, rf"(?m)^holdfast: .*127\.0\.0\.1:{self.server.port}")
        new = set(self.records()) - before
        self.assertLessEqual(len(new), 1)
        return next(iter(new), None)

    def server_dies(self, point, state, error=None):
        with self.subTest(point=point):
            snapshot_id = self.take_until_death(self.server, point)
            if state is None:
                self.assertIsNone(snapshot_id)
            else:
                record = self.d.wait_ended(snapshot_id)
                self.assertEqual(record["state"], state, record)
                if state == "COMPLETE":
                    self.assertTrue(self.cli("snapshot", "verify", snapshot_id)["ok"])
                    self.assertIn(snapshot_id, self.d.listed())
                else:
                    self.assertEqual((record["errorClass"], record["error"]), ("LOST", error))
                    self.cli.fails(6, f"snapshot {snapshot_id} is {state}", "restore", "start", "--snapshot", snapshot_id, "--to",
                                   self.d.restore_root / "never")
            self.check_after(restore=SOAK)
            return snapshot_id

    def test_the_server_dies_before_an_agent_was_asked(self):
        self.server_dies("server.take.reserved", None)
        self.server_dies("server.take.recorded", "ABANDONED", NEVER_ASKED)
        self.server_dies("server.take.claimed", "ABANDONED", NEVER_ASKED)
        self.check_after()

    def test_the_server_dies_while_objects_come(self):
        for point in ("server.object.received", "server.object.stored"):
            self.server_dies(point, "COMPLETE")
        self.check_after()

    def first_after_start(self, point):
        """The number of the first pass of a point that the server's start does not make itself."""
        for nth in range(1, 50):
            self.server.kill()
            with contextlib.suppress(AssertionError):
                self.server.start(env={"HOLDFAST_FAULTS": f"{point}:{nth}=die"})
                return nth
        raise AssertionError(f"the server never starts with {point} armed")

    def test_the_server_dies_between_the_steps_of_a_put(self):
        """Claim, object, manifest: each before it has its name, and before the name is durable."""
        for point in ("os.fs.publish.link", "os.fs.publish.dirsync"):
            first = self.first_after_start(point)
            for nth, state in ((first, "ABANDONED"), (first + 1, "COMPLETE"), (first + 2, "COMPLETE")):
                self.server.kill()
                self.server.start()
                self.server_dies(f"{point}:{nth}", state, NEVER_ASKED)
        self.check_after()

    def test_the_server_dies_while_it_finishes(self):
        for point in ("server.finish.noted", "server.finish.checked", "snapshot.commit.before_manifest", "snapshot.commit.after_manifest",
                      "server.finish.manifest_put", "server.finish.looked_again", "server.finish.completed", "server.finish.claims_dropped"):
            self.server_dies(point, "COMPLETE")
        self.check_after()
        claims = {name.rsplit("/", 1)[1] for name in self.server.objects() if "/c/" in name}
        abandoned = {one["writer"] for one in self.records().values() if one["state"] == "ABANDONED"}
        self.assertLessEqual(claims, abandoned, "claims stay only for what may be adopted")

    def test_a_failed_second_look_leaves_no_manifest_however_the_server_dies(self):
        """The claim is gone when the server looks again: FAILED, manifest, claim, in this order (store-format.md 5)."""
        before = set(self.server.objects())
        snapshot_id = self.take_until_death(self.server, "server.finish.manifest_put", start_again=False)
        claims = [name for name in self.server.objects() if "/c/" in name and name not in before]
        self.assertEqual(len(claims), 1)
        (self.server.store_dir / claims[0]).unlink()
        self.server.start(env={"HOLDFAST_FAULTS": "server.fail.recorded=die"})
        self.wait_death(self.server)
        self.server.start()
        record = self.d.wait_ended(snapshot_id)
        self.assertEqual((record["state"], record["errorClass"]), ("FAILED", "LOST"), record)
        self.assertRegex(record["error"], r"^second look at \d+: the claim of writer \w{24} is gone$")
        self.wait_idle()
        self.check_after()

    def test_the_agent_dies_and_its_next_start_closes_the_cursor(self):
        for point, cursor in (("agent.capture.noted", "no"), ("mongo.backup.open", "no"), ("agent.capture.opened", "yes"),
                              ("snapshot.capture.read:3", "yes"), ("snapshot.packer.put", "yes"), ("agent.capture.copied", "yes"),
                              ("mongo.backup.close", "yes")):
            with self.subTest(point=point):
                log = len(self.agent.tail(10**6))
                snapshot_id = self.take_until_death(self.agent, point)
                record = self.d.wait_ended(snapshot_id)
                self.assertEqual((record["state"], record["errorClass"], record["error"]), ("ABANDONED", "LOST", STOPPED))
                self.assertRegex(self.agent.tail(10**6)[log:], rf"agent\.cursor\.leftover_closed member={self.member.host} found={cursor}")
                self.check_after(restore=SOAK)
        self.check_after()

    def test_an_agent_that_stays_away_is_given_up(self):
        self.restart(self.agent, die=["agent.capture.opened"])
        snapshot_id = self.d.begin_take()
        self.wait_death(self.agent)
        # The server dies as well, between the void and the record.
        self.restart(self.server, die=["server.give_up.void_put"])
        self.wait_death(self.server)
        self.server.start()
        record = self.d.wait_ended(snapshot_id)
        self.assertEqual((record["state"], record["errorClass"], record["error"]), ("ABANDONED", "LOST", SILENT))
        self.assertNotEqual(self.d.cursors_open(), [], "nobody closed the cursor yet")
        self.agent.start()
        self.check_after()

    def dies_somewhere(self, process, points):
        """A take with each of the points armed in turn, which may or may not come; whatever it hits, all is well afterwards."""
        for point in points:
            with self.subTest(process=process.name, point=point):
                self.restart(process)
                before = set(self.records())
                process.kill()
                with contextlib.suppress(AssertionError):  # it may die before it serves
                    process.start(env={"HOLDFAST_FAULTS": f"{point}=die"})
                answer = self.cli.run("snapshot", "take", "--set", "rs0", "--no-wait")
                self.assertIn(answer.code, (0, 5), answer.err)
                with contextlib.suppress(AssertionError):
                    wait_for(lambda: not process.alive() or self.is_idle(), "the end of it", 20, every=0.2)
                self.restart(process)
                self.wait_idle()
                for snapshot_id in set(self.records()) - before:
                    self.assertIn(self.d.wait_ended(snapshot_id)["state"], ("COMPLETE", "ABANDONED"))
                self.check_after(restore=SOAK)
        self.check_after()

    def test_death_at_any_point(self):
        """The nth fault point of all, whichever that is."""
        for process in (self.server, self.agent):
            self.dies_somewhere(process, [f"*:{nth}" for nth in (range(10, 900, 7) if SOAK else (30, 70))])

    def test_the_server_dies_between_writes_to_its_catalog(self):
        first = self.first_after_start("catalog.sqlite.commit")
        self.dies_somewhere(self.server, [f"catalog.sqlite.commit:{nth}" for nth in range(first, first + (16 if SOAK else 5))])


class RestoreAndDelete(Case):
    @classmethod
    def deploy(cls):
        super().deploy()
        cls.snapshot = cls.d.take()

    def tearDown(self):
        self.setUp()
        self.assertEqual([one for one in self.cli("restore", "list")["results"] if one["state"] == "IN_PROGRESS"], [])
        self.restore_equals(self.snapshot["id"])

    def begin(self, name):
        directory = self.d.restore_root / name
        answer = self.cli.run("restore", "start", "--snapshot", self.snapshot["id"], "--to", directory, "--no-wait", "--json")
        return directory, answer

    def wait_restore(self, directory):
        def ended():
            found = [one for one in self.cli("restore", "list")["results"] if one["directory"] == str(directory)]
            return found[0] if found and found[0]["state"] != "IN_PROGRESS" else None

        return wait_for(ended, f"the end of the restore into {directory}", every=0.2)

    def test_the_agent_dies_while_it_restores(self):
        for point in ("snapshot.restore.write", "snapshot.restore.write:5", "snapshot.restore.end"):
            with self.subTest(point=point):
                self.restart(self.agent, die=[point])
                directory, answer = self.begin(point.replace(":", "-"))
                self.assertEqual(answer.code, 0, answer.err)
                self.wait_death(self.agent)
                self.assertTrue((directory / MARK).is_file(), "what is not whole says so")
                self.agent.start()
                record = self.wait_restore(directory)
                self.assertEqual((record["state"], record["errorClass"], record["error"]), ("BROKEN", "LOST", STOPPED))
                self.cli.fails(4, "holds a restore that did not end; hint: empty it first", "restore", "start", "--snapshot",
                               self.snapshot["id"], "--to", directory)
                self.cli.fails(4, "holds a restore that did not end", "store", "restore", self.server.store, *self.server.key_arguments(),
                               "--snapshot", self.snapshot["id"], "--to", directory)

    def test_the_agent_dies_when_all_is_written(self):
        self.restart(self.agent, die=["agent.restore.done"])
        directory, _ = self.begin("done")
        self.wait_death(self.agent)
        self.agent.start()
        record = self.wait_restore(directory)
        self.assertEqual((record["state"], record["errorClass"]), ("BROKEN", "LOST"))
        self.assertFalse((directory / MARK).exists(), "it is whole; only the record does not know")
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(harness.checkpoint_of(self.snapshot)), state_of(member.client, "app")), "")

    def test_the_server_dies_around_a_restore(self):
        self.restart(self.server, die=["server.restore.recorded"])
        directory, answer = self.begin("recorded")
        self.assertEqual(answer.code, 5, answer.err)
        self.wait_death(self.server)
        self.server.start()
        record = self.wait_restore(directory)
        self.assertEqual((record["state"], record["errorClass"], record["error"]), ("BROKEN", "LOST", NEVER_ASKED))
        self.assertFalse(directory.exists())
        # The finish is told again until somebody has it.
        self.restart(self.server, die=["server.finish.noted"])
        directory, answer = self.begin("noted")
        self.wait_death(self.server)
        self.server.start()
        self.assertEqual(self.wait_restore(directory)["state"], "FINISHED")

    def test_the_server_dies_while_it_deletes(self):
        other = self.d.take()
        self.restart(self.server, die=["server.delete.expired"])
        self.cli.fails(5, f"127.0.0.1:{self.server.port}", "snapshot", "delete", other["id"])
        self.wait_death(self.server)
        self.server.start()
        self.assertEqual(self.record(other["id"])["state"], "EXPIRED")
        self.assertNotIn(other["id"], self.d.listed())
        self.cli.fails(3, f"snapshot {other['id']} is EXPIRED", "restore", "start", "--snapshot", other["id"], "--to", self.d.restore_root / "x")
        self.assertEqual(self.cli("snapshot", "delete", other["id"])["deleted"], other["id"])
        self.check_listed()

    def test_a_groom_dies_at_each_step(self):
        for _ in range(3):
            doomed = self.d.take()
            self.cli("snapshot", "delete", doomed["id"])
        keep = self.d.take()
        groom = ("store", "groom", self.server.store, *self.server.key_arguments(), "--living-percent", "100")
        for point in ("snapshot.groom.put", "snapshot.groom.delete", "snapshot.groom.delete:2"):
            with self.subTest(point=point):
                answer = self.cli.run(*groom, env={"HOLDFAST_FAULTS": f"{point}=die"})
                self.assertIn(answer.code, (-signal.SIGKILL, 0), answer.err)
                for snapshot in (self.snapshot, keep):
                    self.assertTrue(self.cli("snapshot", "verify", snapshot["id"])["ok"])
        self.cli(*groom)
        again = self.cli(*groom)
        self.assertEqual((again["objectsDeleted"], again["objectsWritten"]), (0, 0))
        self.restore_equals(keep["id"])


class Line(harness.Proxy):
    """The agent's line to the server, which knows what was put: how often each object was sent, and what was under way when
    the line broke. hold() lets bytes pile up, as a dead line does, until release()."""

    def __init__(self, target_port):
        self.going, self.sent, self.under_way, self.cut_at = threading.Event(), {}, {}, {}
        self.going.set()
        super().__init__(target_port)

    def passes(self, source, sink, up, piece):
        self.going.wait()
        if up:
            put = re.match(rb"PUT /agent/v1/objects/(\S+) HTTP/1", piece)
            if put:
                name = put.group(1).decode()
                with self.lock:
                    self.sent[name] = self.sent.get(name, 0) + 1
                    self.under_way[source] = name
        elif re.match(rb"HTTP/1\.1 [2-5]", piece):
            with self.lock:
                self.under_way.pop(sink, None)

    def drop(self):
        with self.lock:
            for name in self.under_way.values():
                self.cut_at[name] = self.cut_at.get(name, 0) + 1
            self.under_way = {}
        super().drop()

    def hold(self):
        self.going.clear()

    def release(self):
        self.going.set()

    def forget(self):
        with self.lock:
            self.sent, self.cut_at, self.under_way, self.cuts, self.upstream = {}, {}, {}, 0, 0


class Upload(Case):
    """Some ten megabytes on their way, over a line that can break."""

    silence = "8s"
    documents, pad = 800, 20000
    agent_arguments = ("--workers", "1")

    @classmethod
    def deploy(cls):
        super().deploy()
        cls.line = Line(cls.server.port)
        cls.agent.command[cls.agent.command.index("--server") + 1] = cls.line.url
        cls.agent.stop()
        cls.agent.start()
        cls.first = cls.d.take()

    @classmethod
    def tearDownClass(cls):
        cls.line.release()
        cls.line.close()
        super().tearDownClass()

    def load(self):
        for name in self.writer.collections:
            self.writer.load(400, name=name, pad=20000)
        self.d.set.wait_checkpoint()

    def begin(self):
        """A capture that has tens of megabytes to send, and has begun to."""
        self.load()
        self.line.forget()
        self.server_had = set(self.server.packs())
        return self.d.begin_take()

    def wait_first_pack(self):
        wait_for(self.new_packs, "the first pack", every=0.01)

    def new_packs(self):
        return {name: size for name, size in self.server.packs().items() if name not in self.server_had}

    def check_complete(self, snapshot_id, restore=SOAK):
        record = self.d.wait_ended(snapshot_id, 120)
        self.assertEqual(record["state"], "COMPLETE", record)
        twice = {name: count for name, count in self.line.sent.items() if count > 1 + self.line.cut_at.get(name, 0)}
        self.assertEqual(twice, {}, f"sent again without need; under way at a cut: {self.line.cut_at}")
        self.assertGreater(len(self.line.sent), 0)
        self.assertTrue(self.cli("snapshot", "verify", snapshot_id)["ok"])
        self.check_listed()
        self.d.wait_no_cursor()
        if restore:
            self.restore_equals(snapshot_id)

    def test_a_line_that_is_cut_once(self):
        snapshot_id = self.begin()
        self.line.after(8 << 20)
        self.check_complete(snapshot_id)
        self.assertEqual(self.line.cuts, 1)
        self.assertGreater(sum(self.line.cut_at.values()), 0, "it was cut while something was under way")

    def test_a_line_that_is_cut_again_and_again(self):
        snapshot_id = self.begin()
        for n in range(1, 5):
            self.line.after(3 << 20)
            wait_for(lambda: self.line.cuts == n, f"cut {n}", every=0.01)
        self.check_complete(snapshot_id, restore=True)

    def test_a_line_that_is_down_for_a_while(self):
        snapshot_id = self.begin()
        self.line.after(5 << 20)
        wait_for(lambda: self.line.cuts == 1, "the cut", every=0.01)
        self.line.cut()
        self.assertIsNotNone(wait_for(lambda: self.agent.logged("agent.poll.failed"), "the agent to notice"))
        self.assertEqual(self.d.snapshot(snapshot_id)["state"], "IN_PROGRESS")
        self.line.resume()
        self.check_complete(snapshot_id)

    def test_a_line_that_stalls(self):
        snapshot_id = self.begin()
        self.line.after(None)
        wait_for(lambda: self.line.upstream > 5 << 20, "some megabytes", every=0.01)
        self.line.hold()
        before = self.line.upstream
        with self.assertRaises(AssertionError):
            wait_for(lambda: self.d.snapshot(snapshot_id)["state"] != "IN_PROGRESS", "nothing at all", 3, every=0.2)
        self.assertLess(self.line.upstream - before, 1 << 20)
        self.line.release()
        self.check_complete(snapshot_id)
        self.assertEqual(self.line.cuts, 0)

    def kill_server(self):
        self.server.kill()
        self.line.drop()

    def test_the_server_is_killed_while_objects_come(self):
        snapshot_id = self.begin()
        self.wait_first_pack()
        self.kill_server()
        self.server.start()
        self.check_complete(snapshot_id)

    def test_a_server_that_was_away_for_long_gives_nobody_up(self):
        """Its own absence is not the agent's silence."""
        snapshot_id = self.begin()
        self.wait_first_pack()
        self.kill_server()
        with self.assertRaises(AssertionError):
            wait_for(lambda: not self.agent.alive(), "nothing: more than the silence that is allowed", 10)
        self.server.start()
        self.check_complete(snapshot_id)

    def test_the_agent_is_killed_and_what_it_sent_is_not_sent_twice(self):
        snapshot_id = self.begin()
        wait_for(lambda: len(self.new_packs()) >= 3, "three packs", every=0.01)
        self.agent.kill()
        self.agent.start()
        record = self.d.wait_ended(snapshot_id)
        self.assertEqual((record["state"], record["errorClass"], record["error"]), ("ABANDONED", "LOST", STOPPED))
        sent = self.new_packs()
        self.line.forget()
        again = self.d.take()
        self.assertEqual(again["adoptedCapture"], record["capture"])
        self.check_complete(again["id"], restore=True)
        both = self.new_packs()
        self.assertLessEqual(set(sent), set(both))
        # As much once more, undisturbed, is the measure. What lay in finished nodes (128 blocks) is not sent again.
        self.server_had |= set(both)
        self.load()
        self.d.take()
        clean = sum(self.new_packs().values())
        self.assertLess(sum(both.values()), clean + sum(sent.values()) - (4 << 20), (sent, both, clean))

    def test_the_server_is_killed_while_a_tar_is_streamed(self):
        slow = harness.Proxy(self.server.port)
        slow.delay = 0.01
        self.addCleanup(slow.close)
        tar = self.scratch.dir / "broken.tar"
        for target in (tar, "-"):
            with self.subTest(target=str(target)):
                with open(self.scratch.dir / "stdout.tar", "wb") as out:
                    command = self.cli.command("restore", "start", "--snapshot", self.first["id"], "--tar", target, "--server", slow.url)
                    download = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, text=True,
                                                env=self.scratch.env, cwd=self.scratch.dir)
                grown = tar if target != "-" else self.scratch.dir / "stdout.tar"
                wait_for(lambda: grown.exists() and grown.stat().st_size > 2 << 20, "some megabytes of the tar", every=0.01)
                self.server.kill()
                _, said = download.communicate(timeout=60)
                self.assertEqual(download.returncode, 5, said)
                self.assertRegex(said, rf"(?m)^holdfast: .*{slow.url}")
                if target != "-":
                    self.assertFalse(tar.exists(), "a part of a tar must not look like one")
                self.server.start()
        self.cli.run("restore", "start", "--snapshot", self.first["id"], "--tar", tar)
        self.assertEqual(trees_equal(harness.unpack(tar, self.scratch.dir / "untarred"), self.d.restore(self.first["id"], "as-tar")), "")


class FullDisk(Case):
    """The store has a small disk of its own. Two objects' room, 128 MiB, is kept free for grooming."""

    kind = None  # as the machine allows

    @classmethod
    def deploy(cls):
        cls.disks = disks.Disks(cls.scratch, cls.kind)
        cls.addClassCleanup(cls.disks.close)
        cls.scratch.env.update(cls.disks.env)
        cls.disk = cls.disks.make("disk", 180 << 20)
        cls.disk.resize(180 << 20)
        cls.store = cls.disk.dir / "store"
        cls.server_arguments = ["--oplog-store", f"file://{cls.scratch.dir / 'oplog-store'}"]  # what fills is what the test fills
        super().deploy()
        cls.first = cls.d.take()

    @classmethod
    def tearDownClass(cls):
        cls.disks.close()  # what the processes wrote lies under the mounts
        super().tearDownClass()

    def fails(self, pattern):
        """A take that ends with NO_SPACE; its record."""
        before = set(self.records())
        said = self.cli.fails(9, pattern, "snapshot", "take", "--set", "rs0")
        self.assertIn(str(self.store), said)
        self.assertTrue(self.server.alive())
        new = set(self.records()) - before
        self.assertEqual(len(new), 1)
        record = self.record(new.pop())
        self.assertEqual((record["state"], record["errorClass"]), ("FAILED", "NO_SPACE"), record)
        self.assertIn("hint: make room, or delete snapshots and groom", record["error"])
        self.d.wait_no_cursor()
        self.wait_idle()
        self.check_listed()
        # What was whole stays whole.
        self.assertTrue(self.cli("snapshot", "verify", self.first["id"])["ok"])
        self.restore_equals(self.first["id"])
        return record

    def groom(self):
        return self.cli("store", "groom", self.server.store, *self.server.key_arguments(), "--living-percent", "100")

    def test_a_full_disk_ends_the_take_clearly_and_room_mends_it(self):
        self.writer.load(2500, pad=20000)
        self.d.set.wait_checkpoint()
        self.fails(r"^holdfast: snapshot \w{24}: FAILED: capture of rs0 from 127\.0\.0\.1:\d+: .*\d+ bytes are free, of which 134217728 are kept "
                   r"for grooming; hint: make room, or delete snapshots and groom")
        # What the failed one had sent is no one's, and goes with the groom.
        with_garbage = self.disk.used()
        self.groom()
        self.assertLess(self.disk.used(), with_garbage)
        # Nothing at all is free: not even the claim can be put.
        self.disk.resize(self.disk.used())
        self.fails(r"^holdfast: .*take a snapshot of set rs0: claim of capture \d+: .*hint: make room, or delete snapshots and groom")
        self.disk.resize(700 << 20)
        record = self.check_after()
        self.assertGreater(record["storedBytes"], 40_000_000)


class FullDiskWithoutMounts(FullDisk):
    """The same where nothing may be mounted."""

    kind = "shim"


def flip(path, at=None):
    """Flips one bit, in the middle or there; again: mends it."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        os.chmod(path, 0o640)
        file.seek(size // 2 if at is None else at)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x10]))


class Damage(Case):
    """One bit of the store turns."""

    pad = 3000

    @classmethod
    def deploy(cls):
        super().deploy()
        cls.old = cls.d.take()
        had = set(cls.server.objects())
        cls.writer.load(800, name="people", pad=20000)
        cls.d.set.wait_checkpoint()
        cls.new = cls.d.take()
        cls.objects = {name: size for name, size in cls.server.objects().items() if name not in had}

    def largest(self, kind):
        return self.server.store_dir / max((name for name in self.objects if f"/{kind}/" in name), key=self.objects.get)

    def damaged(self, path, at=None):
        """A context in which that object has a flipped bit."""
        flip(path, at)
        self.addCleanup(lambda: self.assertTrue(self.cli("snapshot", "verify", self.new["id"])["ok"], "mended again"))
        self.addCleanup(flip, path, at)

    def check_old_is_untouched(self):
        self.assertTrue(self.cli("snapshot", "verify", self.old["id"])["ok"])
        self.restore_equals(self.old["id"])

    def check_no_restore(self, pattern):
        snapshot = self.new["id"]
        directory = self.d.restore_root / f"damaged-{self.id().rsplit('.', 1)[1]}"
        self.cli.fails(8, pattern, "restore", "start", "--snapshot", snapshot, "--to", directory)
        self.assertFalse(directory.exists(), "nothing is left that looks like a restore")
        record = next(one for one in self.cli("restore", "list")["results"] if one["directory"] == str(directory))
        self.assertEqual((record["state"], record["errorClass"], record["snapshotId"]), ("BROKEN", "CORRUPT", snapshot))
        own = self.scratch.dir / directory.name
        self.cli.fails(8, pattern, "store", "restore", self.server.store, *self.server.key_arguments(), "--snapshot", snapshot, "--to", own)
        self.assertFalse(own.exists())
        tar = self.scratch.dir / f"{directory.name}.tar"
        answer = self.cli.run("restore", "start", "--snapshot", snapshot, "--tar", tar)
        self.assertIn(answer.code, (5, 8), answer.err)  # 5: the transfer had begun, and broke
        self.assertFalse(tar.exists())
        self.assertTrue(self.server.alive())

    def test_a_flipped_bit_in_a_pack_is_named_and_never_restored(self):
        path = self.largest("p")
        name = str(path.relative_to(self.server.store_dir))
        self.damaged(path)
        answer = self.cli.run("snapshot", "verify", self.new["id"], "--json")
        self.assertEqual(answer.code, 8, answer.err)
        self.assertRegex(answer.err, rf"(?m)^holdfast: snapshot {self.new['id']} has 1 damaged blocks$")
        report = answer.json
        self.assertEqual((report["ok"], report["damageCount"]), (False, 1))
        damage = report["damages"][0]
        self.assertEqual(damage["errorClass"], "CORRUPT")
        self.assertIn(f"block {damage['block']} in {name}", damage["message"])
        self.assertRegex(damage["path"], r"^(collection-.*\.wt|journal/.*|sizeStorer\.wt|_mdb_catalog\.wt|index-.*\.wt)$")
        self.assertRegex(damage["block"], r"^\d+/\d+/\d+$")
        text = self.cli.run("snapshot", "verify", self.new["id"]).out
        self.assertIn(f"damaged: {damage['path']} at {damage['offset']}: ", text)
        record = self.d.snapshot(self.new["id"])
        self.assertIs(record["verifiedOk"], False)
        self.assertRegex(self.cli.run("snapshot", "list").out, rf"(?m)^{self.new['id']} .*DAMAGED")
        # The whole store's verification names the snapshot too; without the key the object.
        answer = self.cli.run("store", "verify", self.server.store, *self.server.key_arguments(), "--json")
        self.assertEqual(answer.code, 8, answer.err)
        self.assertEqual({one.get("snapshotId") for one in answer.json["damages"] if one["path"]}, {self.new["id"]})
        answer = self.cli.run("store", "verify", self.server.store, "--level", "stored", "--json")
        self.assertEqual(answer.code, 8, answer.err)
        self.assertEqual({one["object"] for one in answer.json["damages"]}, {name})
        self.check_no_restore(re.escape(damage["path"]))
        self.check_old_is_untouched()
        # References are all there: that is what this level says, and all it says.
        self.assertTrue(self.cli("snapshot", "verify", self.new["id"], "--level", "references")["ok"])

    def test_a_flipped_bit_in_a_tree_is_named_and_never_restored(self):
        path = self.largest("t")
        self.damaged(path)
        answer = self.cli.run("snapshot", "verify", self.new["id"], "--json")
        self.assertEqual(answer.code, 8, answer.err)
        damage = answer.json["damages"][0]
        self.assertIn(f"block {damage['block']} in {path.relative_to(self.server.store_dir)}", damage["message"])
        self.check_no_restore(rf"block {damage['block']} in {path.relative_to(self.server.store_dir)}")
        self.check_old_is_untouched()

    def test_a_flipped_bit_in_a_manifest_is_named_and_never_restored(self):
        path = self.largest("m")
        name = str(path.relative_to(self.server.store_dir))
        self.damaged(path)
        self.cli.fails(8, re.escape(name), "snapshot", "verify", self.new["id"])
        self.check_no_restore(re.escape(name))
        listed = self.cli.run("store", "list", self.server.store, *self.server.key_arguments())
        self.assertRegex(listed.out, rf"(?m)^\? .* {re.escape(name)}: manifest: checksum does not match$")
        self.assertIn(self.old["id"], listed.out)
        answer = self.cli.run("store", "verify", self.server.store, *self.server.key_arguments(), "--json")
        self.assertEqual(answer.code, 8, answer.err)
        self.assertIn(name, str(answer.json["damages"]))
        self.check_old_is_untouched()
        # The next take cannot build on it: it says so, and is captured whole.
        record = self.d.take()
        self.assertEqual(record["blocksReused"], 0)
        self.assertIsNotNone(self.server.logged(rf"snapshot\.parent\.unreadable snapshot={record['id']}"))
        self.assertTrue(self.cli("snapshot", "verify", record["id"])["ok"])
        self.restore_equals(record["id"])
        # Nothing of the job is groomed while a manifest cannot be read.
        before = self.server.objects()
        self.cli.run("store", "groom", self.server.store, *self.server.key_arguments(), "--living-percent", "100")
        self.assertEqual(self.server.objects(), before)


if __name__ == "__main__":
    harness.main()
