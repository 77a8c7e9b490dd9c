#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that fill and free, that become read-only and come back, descriptors that run out, files that change under a capture.

All of it in the middle of the work, on processes that go on afterwards without a restart. Whatever happens: what failed, where,
and what to do is said; what is listed restores; nothing half written has a final name; the next one succeeds.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import sys
import threading

import pymongo.errors

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import disks
import harness
from harness import compare_states, opened, state_of, wait_for

MARK = ".holdfast-restore-incomplete"
SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
LIMIT_S = 120
PAGE = 20000
# Two objects' room that a store keeps for grooming, and as much again to work in.
STORE_SIZE = "400m"


class Gate(harness.Proxy):
    """The agent's line to the server. Once so many bytes of objects have gone up, or down, they wait for open(); messages pass."""

    def __init__(self, target_port):
        self.carries, self.up, self.down, self.limit = set(), 0, 0, {}
        self.reached, self.going = threading.Event(), threading.Event()
        self.going.set()
        super().__init__(target_port)

    def hold(self, up=None, down=None):
        self.up = self.down = 0
        self.limit = {True: up, False: down}
        self.reached.clear()
        self.going.clear()

    def wait(self):
        assert self.reached.wait(LIMIT_S), f"{self.up} bytes went up and {self.down} down, wanted {self.limit}"

    def open(self):
        self.limit = {}
        self.going.set()

    def passes(self, source, sink, up, piece):
        # Those of a capture or a restore; the tail's slices pass.
        if up and re.match(rb"(PUT|GET) /agent/v1/objects(?!\S*/o/)", piece):
            self.carries.add(source)
        if (source if up else sink) not in self.carries:
            return
        if up:
            self.up += len(piece)
        else:
            self.down += len(piece)
        limit = self.limit.get(up)
        if limit is not None and (self.up if up else self.down) > limit:
            self.reached.set()
            self.going.wait(LIMIT_S)


class Case(harness.TestCase):
    """One member, a server and an agent, each directory on a small disk of its own."""

    kind = None
    silence = "2m"

    @classmethod
    def deploy(cls):
        cls.disks = disks.Disks(cls.scratch, cls.kind)
        cls.addClassCleanup(cls.unmount)
        cls.scratch.env.update(cls.disks.env)
        cls.store_disk = cls.disks.make("server/store", STORE_SIZE)
        cls.data_disk = cls.disks.make("server/data", "64m")
        cls.state_disk = cls.disks.make("agent-0/state", "64m")
        cls.restore_disk = cls.disks.make("restored", "600m")
        cls.db_disk = cls.disks.make("rs0-0/db", "1200m")
        # The oplog has room of its own: what fills here is what the test fills.
        cls.d = harness.Deployment(cls.scratch, start_job=False, server_arguments=[
            "--task-silence", cls.silence, "--oplog-store", f"file://{cls.scratch.dir / 'oplog-store'}"])
        cls.cli, cls.server, cls.agent, cls.member = cls.d.cli, cls.d.server, cls.d.agents[0], cls.d.set.members[0]
        cls.gate = Gate(cls.server.port)
        cls.addClassCleanup(cls.gate.close)
        cls.addClassCleanup(cls.gate.open)
        cls.agent.command[cls.agent.command.index("--server") + 1] = cls.gate.url
        cls.agent.command += ["--workers", "1"]
        cls.agent.env["HOLDFAST_SHIM_BREAKS"] = "1"
        words = disks.obeying()
        cls.obeys = words is not None
        for process in (cls.server, cls.agent):
            process.stop()
            process.command[:0] = words or []
            process.start()
        cls.d.wait_members()
        cls.cli("job", "start", "--set", "rs0")
        cls.writer = harness.Writer(cls.d.set)
        cls.load(300)
        cls.first = cls.d.take()
        cls.restores = 0

    @classmethod
    def unmount(cls):
        """After everything else: what the processes wrote lies under the mounts."""
        cls.disks.close()
        if not cls.scratch.keep:
            shutil.rmtree(cls.scratch.dir, ignore_errors=True)

    @classmethod
    def load(cls, documents):
        cls.writer.load(documents, pad=PAGE)
        cls.d.set.wait_checkpoint()

    # ---- What must hold ----

    def records(self):
        return {one["id"]: one for one in self.cli("snapshot", "list", "--all")["results"]}

    def is_idle(self):
        return not self.cli("job", "show", "--set", "rs0").get("runningSnapshotId")

    def restore_equals(self, record):
        type(self).restores += 1
        directory = self.d.restore(record["id"], f"r{self.restores}")
        self.assertFalse((directory / MARK).exists())
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(harness.checkpoint_of(record)), state_of(member.client, "app")), "")
        shutil.rmtree(directory)

    def check_listed(self):
        """The store offers what the catalog offers, each whole; nothing is left that a crash would leave."""
        offered = set(self.d.listed())
        self.assertIn(self.first["id"], offered)
        key = self.server.key_arguments()
        self.assertEqual({one["id"] for one in self.cli("store", "list", self.server.store, *key)["results"] if "id" in one}, offered)
        for one in sorted(offered)[-2:] + [self.first["id"]]:
            self.assertTrue(self.cli("snapshot", "verify", one)["ok"])
        self.assertEqual([str(path) for path in self.server.store_dir.rglob(".hf-tmp-*")], [])

    def check_alive(self):
        """Both have lived through it, and answer."""
        for process in (self.server, self.agent):
            self.assertTrue(process.alive(), f"{process.name}:\n{process.tail()}")
        self.assertIn(self.first["id"], self.d.listed())

    def check_after(self, restore=SOAK):
        """Without a restart of either: the next take is all it should be. verify reads all of it; a restore takes seconds."""
        self.check_alive()
        wait_for(self.is_idle, "the job to be free again", LIMIT_S, every=0.2)
        record = self.d.take()
        self.check_listed()
        if restore:
            self.restore_equals(record)
        self.d.wait_no_cursor()
        return record

    # ---- What is done ----

    def begin_take(self):
        """A capture that has some megabytes to send, held when a part of them has gone."""
        self.load(100)
        self.gate.hold(up=1 << 20)
        snapshot = self.d.begin_take()
        self.gate.wait()
        return snapshot

    def begin_reading(self):
        """A capture, held when it has the cursor and asks for the parent's tree: it has read nothing of a listed file yet."""
        self.load(20)
        shutil.rmtree(self.agent.state / "cache")  # else it need not ask
        self.gate.hold(down=0)
        snapshot = self.d.begin_take()
        self.gate.wait()
        return snapshot

    def failed(self, snapshot_id, error_class, *patterns):
        record = self.d.wait_ended(snapshot_id, LIMIT_S)
        self.assertEqual((record["state"], record["errorClass"]), ("FAILED", error_class), record)
        for pattern in patterns:
            self.assertRegex(record["error"], pattern)
        self.assertNotIn(snapshot_id, self.d.listed())
        return record

    VICTIM = "sizeStorer.wt"  # changes with every checkpoint

    def changes(self, change):
        """The record of a capture of which that file is changed before it is read, and put back afterwards."""
        path = self.member.dbpath / self.VICTIM
        snapshot = self.begin_reading()
        undo = change(path)
        self.gate.open()
        record = self.d.wait_ended(snapshot, LIMIT_S)
        undo()
        self.check_alive()
        return record

    def fails_by_name(self, change, error_class, pattern):
        record = self.changes(change)
        self.assertEqual((record["state"], record["errorClass"]), ("FAILED", error_class), record)
        self.assertRegex(record["error"], rf"^capture of rs0 from {self.member.host}: .*{self.VICTIM}.*{pattern}")

    @staticmethod
    def aside(path, size=None):
        """Moved away, a copy of another size in its place; who has it open keeps it."""
        kept = path.with_name(path.name + ".aside")
        path.rename(kept)
        if size is not None:
            shutil.copyfile(kept, path)
            os.truncate(path, size)
        return lambda: kept.rename(path)

    def fill_data_disk(self):
        """So that the catalog cannot take another change: its log keeps the room that it once had, and begins again at its front."""
        with contextlib.closing(sqlite3.connect(self.server.data / "catalog.sqlite", timeout=60)) as catalog:
            catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.data_disk.fill()


class World(Case):
    def server_with(self, task_silence):
        self.server.stop()
        self.server.command[self.server.command.index("--task-silence") + 1] = task_silence
        self.server.start()
        self.d.wait_members()

    # ---- The store ----

    def test_the_store_fills_while_packs_come(self):
        snapshot = self.begin_take()
        self.store_disk.fill()
        self.gate.open()
        self.failed(snapshot, "NO_SPACE", rf"^capture of rs0 from {self.member.host}: .*{self.server.store_dir}.*: ",
                    "hint: make room, or delete snapshots and groom")
        self.check_alive()
        # The full store still gives what it has.
        self.restore_equals(self.first)
        self.store_disk.free()
        self.check_after(restore=True)

    def test_the_store_becomes_read_only_while_packs_come(self):
        snapshot = self.begin_take()
        self.store_disk.read_only()
        self.gate.open()
        self.failed(snapshot, "DENIED", rf"^capture of rs0 from {self.member.host}: .*{self.server.store_dir}.*: Read-only file system")
        self.check_alive()
        self.restore_equals(self.first)
        self.store_disk.writable()
        self.check_after()

    # ---- The server's data directory ----

    def polls_failed(self):
        return len(re.findall(r"agent\.poll\.failed .*catalog", self.agent.log.read_text(errors="replace")))

    def test_the_catalog_fills_and_what_was_captured_meanwhile_is_told_when_there_is_room(self):
        """For longer than an agent may be silent: it was not silent, it could not be noted."""
        self.server_with(task_silence="4s")
        self.addCleanup(self.server_with, task_silence=self.silence)
        snapshot = self.begin_take()
        before = self.polls_failed()
        self.fill_data_disk()
        self.gate.open()
        wait_for(lambda: self.polls_failed() - before >= 8, "the agent to have been refused for long", LIMIT_S)
        self.assertEqual(self.d.snapshot(snapshot)["state"], "IN_PROGRESS")
        self.data_disk.free()
        record = self.d.wait_ended(snapshot, LIMIT_S)
        self.assertEqual(record["state"], "COMPLETE", record)
        self.restore_equals(record)
        self.check_after()

    def test_nothing_new_begins_while_the_catalog_is_full(self):
        self.fill_data_disk()
        said = rf"{self.server.data}/catalog\.sqlite: database or disk is full; hint: make room on its disk"
        self.cli.fails(9, said, "snapshot", "take", "--set", "rs0")
        self.cli.fails(9, said, "restore", "start", "--snapshot", self.first["id"], "--to", self.d.restore_root / "never")
        self.check_alive()
        self.assertFalse((self.d.restore_root / "never").exists())
        self.assertTrue(self.cli("store", "verify", self.server.store, *self.server.key_arguments())["ok"])
        self.data_disk.free()
        self.check_after()

    # ---- The agent's state directory ----

    def test_the_agents_state_fills_which_a_capture_needs_for_speed_only(self):
        snapshot = self.begin_take()
        self.state_disk.fill()
        self.gate.open()
        record = self.d.wait_ended(snapshot, LIMIT_S)
        self.assertEqual(record["state"], "COMPLETE", record)
        # The next one could not be found again after a death, so it does not begin.
        lines = len(self.agent.tail(10**6).splitlines())
        self.cli.fails(9, rf"FAILED: the agent on \S+: note {self.agent.state}/tasks/\w+: .*: No space left on device; "
                       "hint: make room on the disk of the agent's state directory", "snapshot", "take", "--set", "rs0")
        self.cli.fails(9, rf"BROKEN: the agent on \S+: note {self.agent.state}/tasks/\w+: .*: No space left on device", "restore", "start",
                       "--snapshot", self.first["id"], "--to", self.d.restore_root / "never")
        self.assertLess(len(self.agent.tail(10**6).splitlines()) - lines, 30, "said once, not all the time")
        self.assertFalse((self.d.restore_root / "never").exists())
        self.assertEqual([path.name for path in (self.agent.state / "tasks").iterdir() if '"tail"' not in path.read_text()], [])
        self.state_disk.free()
        self.check_after()

    # ---- The target of a restore ----

    def test_the_target_fills_while_a_restore_writes(self):
        directory = self.d.restore_root / "full"
        self.gate.hold(down=1 << 20)
        popen = self.cli.begin("restore", "start", "--snapshot", self.first["id"], "--to", directory)
        self.gate.wait()
        self.assertTrue((directory / MARK).exists())
        self.restore_disk.fill()
        self.gate.open()
        answer = self.cli.finish(popen)
        self.assertEqual(answer.code, 9, answer.err)
        self.assertRegex(answer.err, rf"BROKEN: agent on \S+: restore into {directory}: .*: No space left on device; "
                         "hint: make room on its disk, or restore into another directory")
        self.assertFalse(directory.exists(), "nothing is left that looks like a restore")
        self.check_alive()
        # Before there is room, too: refused, and nothing left.
        self.cli.fails(9, f"restore into {directory}: ", "restore", "start", "--snapshot", self.first["id"], "--to", directory)
        self.cli.fails(9, f"restore into {directory}: .*hint: make room", "store", "restore", self.server.store, *self.server.key_arguments(),
                       "--snapshot", self.first["id"], "--to", directory)
        self.assertFalse(directory.exists())
        self.restore_disk.free()
        self.d.restore(self.first["id"], "full")
        shutil.rmtree(directory)
        self.check_after()

    # ---- What an earlier life left must not stand in the way of the next ----

    def test_a_restore_that_died_before_its_mark_had_a_name(self):
        directory = self.d.restore_root / "died"
        self.agent.stop()
        # The first name is that of the tail's note, the second that of the restore's, the third the mark's.
        tail = self.agent.logged(r"agent\.tail\.begun.*").start()
        self.agent.start(env={"HOLDFAST_FAULTS": "os.fs.publish.link:3=die"})
        wait_for(lambda: self.agent.logged(r"agent\.tail\.begun.*").start() > tail, "the tail")
        self.cli("restore", "start", "--snapshot", self.first["id"], "--to", directory, "--no-wait")
        self.assertEqual(self.agent.wait(), -signal.SIGKILL)
        left = os.listdir(directory)
        self.agent.start()
        self.assertEqual(len(left), 1)
        self.assertRegex(left[0], r"^\.hf-tmp-[0-9a-f]{16}$")
        wait_for(lambda: all(one["state"] != "IN_PROGRESS" for one in self.cli("restore", "list")["results"]), "its end", LIMIT_S)
        self.d.restore(self.first["id"], "died")
        self.assertFalse((directory / left[0]).exists())
        shutil.rmtree(directory)
        # Beside anything else it is not ours to judge.
        directory.mkdir()
        for name in (left[0], "notes.txt"):
            (directory / name).write_text("somebody's")
        self.cli.fails(4, f"{directory} is not empty", "restore", "start", "--snapshot", self.first["id"], "--to", directory)
        self.assertEqual(sorted(os.listdir(directory)), [left[0], "notes.txt"])
        shutil.rmtree(directory)

    def test_a_damaged_claim_is_named_and_stops_nothing(self):
        snapshot = self.begin_take()
        self.agent.kill()
        self.gate.open()
        self.agent.start()
        self.assertEqual(self.d.wait_ended(snapshot, LIMIT_S)["state"], "ABANDONED")
        claims = list(self.server.store_dir.glob("j/*/c/*"))
        self.assertEqual(len(claims), 1)
        claims[0].chmod(0o640)
        claims[0].write_bytes(claims[0].read_bytes()[:-1] + b"?")
        name = claims[0].relative_to(self.server.store_dir)
        record = self.check_after()
        self.assertEqual(record["adoptedCapture"], self.d.snapshot(snapshot)["capture"], "its packs are known by its name")
        self.assertIsNotNone(self.server.logged(rf"warn job\.claim_damaged object={name} error=.*checksum"))
        self.assertEqual(list(self.server.store_dir.glob("j/*/c/*")), [], "it went with the attempt that adopted it")

    # ---- The member's dbPath ----

    def fill_until_the_member_notices(self):
        """Writes until one is refused; a server that cannot write its journal ends itself."""
        self.db_disk.fill()
        collection = self.scratch.client(self.member.host, directConnection=True, retryWrites=False).noise.noise

        def refused():
            try:
                collection.insert_many([{"pad": os.urandom(PAGE)} for _ in range(50)])
            except pymongo.errors.PyMongoError:
                return True
            return not self.member.alive()

        wait_for(refused, "a write to be refused", LIMIT_S, every=0.01)

    def room_for_the_member(self):
        self.db_disk.free()
        if not self.member.alive() or not self.answers():
            self.member.kill()
            self.member.close_client()
            self.member.start()
        self.d.set.wait_primary(limit=LIMIT_S)
        self.d.set.wait_checkpoint()
        self.d.wait_states()

    def answers(self):
        try:
            return self.member.is_primary()
        except pymongo.errors.PyMongoError:
            return False

    def test_the_members_disk_fills_while_it_is_captured(self):
        snapshot = self.begin_reading()
        self.fill_until_the_member_notices()
        self.gate.open()
        record = self.d.wait_ended(snapshot, LIMIT_S)
        if record["state"] == "COMPLETE":
            self.restore_equals(record)
        else:
            self.assertRegex(record["error"], rf"^capture of rs0 from {self.member.host}: ")
        self.check_alive()
        self.room_for_the_member()
        self.check_after(restore=True)

    # ---- Descriptors ----

    def test_the_server_runs_out_of_descriptors_while_packs_come(self):
        snapshot = self.begin_take()
        before = disks.limit_descriptors(self.server, 0)
        self.addCleanup(disks.lift_limit, self.server, before)
        self.gate.open()
        waiting = self.cli.begin("snapshot", "list")
        wait_for(lambda: self.server.logged(r"warn http\.cannot_accept error=.*Too many open files; hint: raise the limit"), "it to be said")
        self.assertEqual(len(re.findall("http.cannot_accept", self.server.log.read_text())), 1, "said once")
        disks.lift_limit(self.server, before)
        self.assertEqual(self.cli.finish(waiting).code, 0, "it was not refused, it waited")
        self.assertEqual(self.d.wait_ended(snapshot, LIMIT_S)["state"], "COMPLETE", "packs that could not be put were sent again")
        # A few are left: calls are answered, and say what is missing.
        before = disks.limit_descriptors(self.server, 1)
        self.cli.fails(15, "Too many open files; hint: raise the limit of open files", "snapshot", "take", "--set", "rs0")
        disks.lift_limit(self.server, before)
        self.check_after()

    def test_the_agent_runs_out_of_descriptors_while_it_captures(self):
        snapshot = self.begin_reading()
        before = disks.limit_descriptors(self.agent, 0)
        self.addCleanup(disks.lift_limit, self.agent, before)
        self.gate.open()
        record = self.d.wait_ended(snapshot, LIMIT_S)
        self.assertEqual(record["state"], "ABANDONED", "what was sent is kept for the next")
        self.assertRegex(record["error"], rf"^capture of rs0 from {self.member.host}: .*Too many open files; hint: raise the limit of open files")
        self.check_alive()
        disks.lift_limit(self.agent, before)
        self.d.wait_states()
        self.check_after()

    # ---- Files that change while they are captured ----

    def test_a_listed_file_disappears_or_is_cut_short(self):
        self.fails_by_name(self.aside, "NOT_FOUND", "No such file or directory")
        size = (self.member.dbpath / self.VICTIM).stat().st_size
        self.fails_by_name(lambda path: self.aside(path, size // 2), "CONFLICT", f"{size // 2}")
        self.check_after()

    def test_a_listed_file_grows_and_is_taken_to_its_listed_length(self):
        size = 0

        def grow(path):
            nonlocal size
            size = path.stat().st_size  # under the cursor: until then a checkpoint may cut it
            return self.aside(path, size + 12345)

        record = self.changes(grow)
        self.assertEqual(record["state"], "COMPLETE", record)
        directory = self.d.restore(record["id"], "grown")
        self.assertEqual((directory / self.VICTIM).stat().st_size, size)
        shutil.rmtree(directory)
        self.restore_equals(record)
        self.check_after()

    def test_a_listed_file_that_may_not_be_read(self):
        def forbid(path):
            path.chmod(0)
            return lambda: path.chmod(0o600)

        self.assertTrue(self.obeys, "an agent that obeys permission bits cannot be had here")
        self.fails_by_name(forbid, "DENIED", "Permission denied")
        self.check_after()


class WithoutMounts(Case):
    """The same where nothing may be mounted, and a disk that gives errors."""

    kind = "shim"

    test_the_store_fills_while_packs_come = World.test_the_store_fills_while_packs_come
    test_the_store_becomes_read_only_while_packs_come = World.test_the_store_becomes_read_only_while_packs_come
    test_nothing_new_begins_while_the_catalog_is_full = World.test_nothing_new_begins_while_the_catalog_is_full
    test_the_target_fills_while_a_restore_writes = World.test_the_target_fills_while_a_restore_writes

    def test_a_listed_file_that_the_disk_cannot_read(self):
        def broken(path):
            self.disks.shim.add("broken", path)
            return lambda: self.disks.shim.remove("broken", path)

        self.fails_by_name(broken, "IO", "Input/output error")
        self.check_after()


if __name__ == "__main__":
    harness.main()
