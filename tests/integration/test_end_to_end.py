#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One member, one agent, the server and the command line: the whole way there and back, and wrong inputs."""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import checkpoint_of, compare_states, opened, state_of, trees_equal, unpack, wait_for

MARK = ".holdfast-restore-incomplete"


class EndToEnd(harness.TestCase):
    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch)
        cls.cli = cls.d.cli
        cls.writer = harness.Writer(cls.d.set).load(3000)
        client = cls.d.set.primary().client
        # A database with definitions of all sorts, before the first snapshot.
        client.shape.create_collection("capped", capped=True, size=65536, max=50)
        client.shape.capped.insert_many([{"_id": i} for i in range(40)])
        client.shape.gone.insert_one({"_id": 1})
        client.shape.drop_collection("gone")
        client.shape.old_name.insert_many([{"_id": i, "u": i, "v": i % 7} for i in range(300)])
        client.shape.old_name.rename("new_name")
        client.shape.new_name.create_index("u", unique=True, name="u_once")
        client.shape.new_name.create_index([("v", -1), ("u", 1)], name="v_u")
        client.shape.create_collection("empty")
        cls.shape = cls.shape_of(client)
        cls.d.set.wait_checkpoint()
        cls.writer.start()
        cls.writer.wait_writes(100)
        cls.d.set.wait_checkpoint()
        cls.first = cls.d.take("--description", "the first")
        cls.writer.wait_writes(150)
        cls.d.set.wait_checkpoint()
        cls.second = cls.d.take("--retention-days", "3")
        cls.writer.wait_writes(20)
        cls.writer.stop().settle()

    @staticmethod
    def shape_of(client):
        db = client.shape
        return {name: (sorted(db[name].index_information()), db[name].options(), list(db[name].find().sort("_id", 1)))
                for name in sorted(db.list_collection_names())}

    def check_content(self, directory, snapshot):
        """What a plain start of the files shows is what the journal says for the snapshot's time."""
        expected = self.writer.state_at(checkpoint_of(snapshot))
        self.assertGreater(sum(len(documents) for documents in expected.values()), 3000, "the snapshot is older than the writes")
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(expected, state_of(member.client, "app")), "")
            self.assertEqual(self.shape_of(member.client), self.shape)
            for name in member.client.app.list_collection_names():
                report = member.client.app.command("validate", name, full=True)
                self.assertTrue(report["valid"], report)

    # ---- What was taken ----

    def test_record_tells_what_was_done(self):
        first, member = self.first, self.d.set.members[0]
        self.assertEqual(first["setName"], "rs0")
        self.assertEqual(first["member"], member.host)
        self.assertEqual(first["reason"], f"{member.host}, the primary: no secondary will do")
        self.assertEqual(first["description"], "the first")
        self.assertTrue(first["encrypted"])
        self.assertEqual((first["parentCapture"], first["blocksReused"]), (0, 0))
        self.assertEqual(first["fcv"], "4.4")
        self.assertEqual(first["serverVersion"], member.client.server_info()["version"])
        self.assertEqual(first["expiresS"], 0)
        self.assertEqual(self.second["expiresS"], self.second["createdS"] + 3 * 86400)
        self.assertLess(checkpoint_of(first), checkpoint_of(self.second))
        for one in (first, self.second):
            self.assertGreaterEqual(one["oplogEnd"]["seconds"], one["checkpoint"]["seconds"])
            self.assertEqual(one["committed"], one["oplogEnd"])

    def test_second_take_reuses_blocks(self):
        self.assertEqual(self.second["parentCapture"], self.first["capture"])
        self.assertGreater(self.second["blocksReused"], 0)
        self.assertGreater(self.second["filesSkipped"], 0)
        self.assertLess(self.second["storedBytes"], self.first["storedBytes"])

    def test_list_and_show_tell_the_same(self):
        listed = {one["id"]: one for one in self.cli("snapshot", "list", "--set", "rs0")["results"]}
        for one in (self.first, self.second):
            shown = self.cli("snapshot", "show", one["id"])
            self.assertEqual({**shown, "verifyProgress": None, **{k: None for k in shown if k.startswith("verified")}},
                             {**listed[one["id"]], "verifyProgress": None, **{k: None for k in shown if k.startswith("verified")}})
            self.assertEqual(shown["checkpoint"], one["checkpoint"])
        self.assertEqual(self.cli("snapshot", "list", "--set", "another")["results"], [])
        text = self.cli.run("snapshot", "list").out
        self.assertRegex(text, rf"(?m)^{self.second['id']} +rs0 +COMPLETE +\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d ")
        text = self.cli.run("snapshot", "show", self.first["id"]).out
        self.assertIn("the primary: no secondary will do", text)
        job = self.cli("job", "list")["results"][0]
        self.assertEqual((job["setName"], job["state"], job.get("runningSnapshotId")), ("rs0", "STARTED", None))
        self.assertEqual(self.cli("server", "status")["jobs"], 1)

    def test_verify_at_every_level(self):
        for level in ("references", "stored", "content"):
            report = self.cli("snapshot", "verify", self.second["id"], "--level", level)
            self.assertEqual((report["ok"], report["damageCount"], report["level"]), (True, 0, level))
            self.assertGreater(report["blocks"], 0)
        record = self.d.snapshot(self.second["id"])
        self.assertEqual((record["verifiedOk"], record["verifiedLevel"]), (True, "content"))
        self.assertNotIn("verifyProgress", record)

    def test_no_cursor_stays_open(self):
        self.d.wait_no_cursor()

    # ---- The way back ----

    def test_restored_directory_equals_the_journal_at_the_checkpoint(self):
        for name, snapshot in (("one", self.first), ("two", self.second)):
            directory = self.d.restore(snapshot["id"], name)
            self.assertFalse((directory / MARK).exists())
            self.check_content(directory, snapshot)
        restores = self.cli("restore", "list")["results"]
        self.assertEqual({one["state"] for one in restores if one["directory"] in (str(self.d.restore_root / "one"), str(self.d.restore_root / "two"))},
                         {"FINISHED"})

    def test_restore_info_says_of_which_moment_it_is(self):
        directory = self.d.restore(self.first["id"], "info")
        text = (directory / "restoreInfo.txt").read_text()
        at = self.first["checkpoint"]
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at["seconds"]))
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.first["createdS"]))
        lines = text.splitlines()
        self.assertEqual(lines[:6], ["Restore Information", "Group Name: default", "Replica Set: rs0", f"Snapshot Id: {self.first['id']}",
                                     f"Snapshot timestamp: {created}",
                                     f"Restore timestamp: {date} ({at['seconds']}, {at['increment']})"])
        self.assertIn(f"Last Oplog Applied: {date} ({at['seconds']}, {at['increment']})", lines)
        self.assertIn(f"MongoDB Version: {self.first['serverVersion']}", lines)
        self.assertIn("Storage Engine: wiredTiger", lines)
        json.loads(next(line for line in lines if line.startswith("Startup Options: ")).partition(": ")[2])
        self.assertEqual(stat.S_IMODE((directory / "restoreInfo.txt").stat().st_mode) & 0o077, 0)

    def test_tar_holds_the_same_files_as_the_directory(self):
        directory = self.d.restore(self.second["id"], "for-tar")
        tar = self.scratch.dir / "snapshot.tar"
        answer = self.cli.run("restore", "start", "--snapshot", self.second["id"], "--tar", tar)
        self.assertEqual(answer.code, 0, answer.err)
        self.assertEqual(stat.S_IMODE(tar.stat().st_mode), 0o600)
        top = unpack(tar, self.scratch.dir / "untarred")
        self.assertEqual(top.name, f"rs0-{self.second['checkpoint']['seconds']}-{self.second['id']}")
        self.assertEqual(trees_equal(directory, top), "")
        piped = subprocess.run(self.cli.command("restore", "start", "--snapshot", self.second["id"], "--tar", "-"), capture_output=True,
                               env=self.scratch.env, timeout=120)
        self.assertEqual(piped.returncode, 0, piped.stderr)
        self.assertEqual(piped.stdout, tar.read_bytes())
        self.cli.fails(4, "exists|is there", "restore", "start", "--snapshot", self.second["id"], "--tar", tar)

    def test_new_replica_set_from_a_restored_directory(self):
        """Recipe G of the observations: drop `local` on a standalone, start with --replSet, initiate."""
        directory = self.d.restore(self.second["id"], "new-set")
        alone = harness.Member(self.scratch, "alone", dbpath=directory, arguments=["--setParameter", "disableLogicalSessionCacheRefresh=true"]).start()
        before = harness.hashes_of(alone.client, "app")
        alone.client.drop_database("local")
        alone.close_client()
        self.assertEqual(alone.stop(), 0)
        member = harness.Member(self.scratch, "new-set", "fresh", dbpath=directory).start()
        member.client.admin.command("replSetInitiate", {"_id": "fresh", "members": [{"_id": 0, "host": member.host}]})
        wait_for(member.is_primary, "the new set's primary")
        self.assertEqual(harness.hashes_of(member.client, "app"), before)
        self.assertEqual(compare_states(self.writer.state_at(checkpoint_of(self.second)), state_of(member.client, "app")), "")
        member.client.app.command({"insert": "orders", "documents": [{"_id": "new"}], "writeConcern": {"w": "majority"}})
        self.assertEqual(member.stop(), 0)

    # ---- With no server ----

    def test_store_commands_need_no_server(self):
        reference = self.d.restore(self.first["id"], "reference")
        self.d.server.stop()
        try:
            key = self.d.server.key_arguments()
            bare = harness.Cli(self.scratch, profile="/nonexistent")
            listed = {one["id"]: one for one in bare("store", "list", self.d.server.store, *key)["results"] if "id" in one}
            for snapshot in (self.first, self.second):
                found = listed[snapshot["id"]]
                self.assertEqual((found["setName"], found["member"], found["sealed"]), ("rs0", snapshot["member"], True))
                self.assertEqual((found["checkpointS"], found["checkpointIncrement"]),
                                 (snapshot["checkpoint"]["seconds"], snapshot["checkpoint"]["increment"]))
                self.assertEqual(found["bytes"], snapshot["bytes"])
            report = bare("store", "verify", self.d.server.store, *key)
            self.assertEqual((report["ok"], report["damageCount"]), (True, 0))
            self.assertGreaterEqual(report["snapshots"], 2)
            # Without the key: what needs none is looked at.
            self.assertTrue(bare("store", "verify", self.d.server.store, "--level", "stored")["ok"])
            target = self.scratch.dir / "store-restored"
            bare("store", "restore", self.d.server.store, *key, "--snapshot", self.first["id"], "--to", target)
            self.assertEqual(trees_equal(reference, target), "")
            bare.fails(4, "empty|lies", "store", "restore", self.d.server.store, *key, "--snapshot", self.first["id"], "--to", target)
            bare.fails(3, "0{23}1", "store", "restore", self.d.server.store, *key, "--snapshot", "0" * 23 + "1", "--to",
                       self.scratch.dir / "x")
            bare.fails(7, "is encrypted and its key is missing; hint: give --key-file", "store", "restore", self.d.server.store, "--snapshot",
                       self.first["id"], "--to", self.scratch.dir / "x")
            bare.fails(7, "is encrypted and its key is missing", "store", "groom", self.d.server.store)
            wrong = self.scratch.dir / "wrong.key"
            wrong.write_bytes(re.sub(rb"[0-9a-f]{16}", lambda m: m.group(0)[::-1], self.d.server.key_file.read_bytes()))
            answer = bare.run("store", "list", self.d.server.store, "--key-file", wrong)
            self.assertNotEqual(answer.code, 0, answer.out)
            self.assertIn("key", answer.err)
        finally:
            self.d.server.start()
            self.d.wait_members()

    def test_groom_gives_back_what_a_deleted_snapshot_alone_needed(self):
        client = self.d.set.primary().client
        client.bulk.big.insert_many([{"_id": i, "blob": os.urandom(60000)} for i in range(200)])
        self.d.set.wait_checkpoint()
        fat = self.d.take()

        def table_bytes():
            return sum(f.stat().st_size for f in self.d.set.members[0].dbpath.glob("collection-*.wt"))

        full = table_bytes()
        client.drop_database("bulk")
        self.d.set.wait_checkpoint()
        # The dropped files go from the disk once no checkpoint needs them.
        wait_for(lambda: table_bytes() < full - 10_000_000, "the drop")
        lean = self.d.take()
        key = self.d.server.key_arguments()
        before = sum(self.d.server.objects().values())
        deleted = self.cli("snapshot", "delete", fat["id"])
        self.assertEqual(deleted["deleted"], fat["id"])
        self.assertNotIn(fat["id"], self.d.listed())
        self.cli.fails(3, fat["id"], "restore", "start", "--snapshot", fat["id"], "--to", self.d.restore_root / "gone")
        self.assertEqual(next(one for one in self.cli("snapshot", "list", "--all")["results"] if one["id"] == fat["id"])["state"], "EXPIRED")
        held = self.d.server.packs()
        look = self.cli("store", "groom", self.d.server.store, *key, "--living-percent", "100", "--dry-run")
        self.assertGreater(look["objectsDeleted"], 0, look)
        self.assertEqual(self.d.server.packs(), held)
        # The server says the same of it, and does it.
        [usage] = self.cli("store", "groom", "--dry-run", "--living-percent", "100")["results"]
        self.assertEqual((usage["goingObjects"], usage["copiedObjects"]), (look["objectsDeleted"], look["objectsCopied"]), usage)
        self.assertEqual((usage["livingBytes"], usage["deadBytes"]), (look["livingBytes"], look["deadBytes"]), usage)
        self.assertEqual(self.d.server.packs(), held)
        shown = self.cli.run("store", "usage").out
        self.assertIn("ACCURATE", shown)
        self.assertIn(f"{usage['livingRatio']:.2f}", shown)
        [groomed] = self.cli("store", "groom", "--living-percent", "100")["results"]
        self.assertGreater(groomed["groomedDeleted"], 0, groomed)
        after = sum(self.d.server.objects().values())
        self.assertLess(after, before - 10_000_000, groomed)
        wait_for(lambda: self.cli("store", "usage")["results"][0]["state"] == "ACCURATE", "the count after the groom")
        self.assertEqual(self.cli("store", "usage")["results"][0]["deadBytes"], 0)
        [checked] = self.cli("store", "check", "--full")["results"]
        self.assertEqual((checked["damagedSnapshots"], checked["checkedSnapshots"]), (0, usage["snapshots"]), checked)
        [checked] = self.cli("store", "check")["results"]
        self.assertEqual((checked["damagedSnapshots"], checked["checkShare"]), (0, 1), checked)
        again = self.cli("store", "groom", self.d.server.store, *key, "--living-percent", "100")
        self.assertEqual((again["objectsDeleted"], again["objectsWritten"]), (0, 0))
        for snapshot in (self.first, self.second, lean):
            self.assertTrue(self.cli("snapshot", "verify", snapshot["id"])["ok"])
        self.check_content(self.d.restore(self.second["id"], "after-groom"), self.second)
        directory = self.d.restore(lean["id"], "lean")
        with opened(self.scratch, directory) as member:
            self.assertEqual(compare_states(self.writer.state_at(checkpoint_of(lean)), state_of(member.client, "app")), "")

    # ---- Wrong inputs ----

    def test_wrong_names_and_ids_are_refused_clearly(self):
        fails, snapshot = self.cli.fails, self.first["id"]
        fails(3, "set nowhere has no backup job; hint: holdfast job start --set nowhere", "snapshot", "take", "--set", "nowhere")
        fails(3, "no agent has reported a set named nowhere", "job", "start", "--set", "nowhere")
        fails(6, "the job of set rs0 is STARTED already", "job", "start", "--set", "rs0")
        fails(2, "'17' is not an id", "snapshot", "show", "17")
        fails(3, "0{22}42", "snapshot", "show", "0" * 22 + "42")
        fails(3, "0{22}42", "snapshot", "delete", "0" * 22 + "42")
        fails(3, "0{22}42", "restore", "start", "--snapshot", "0" * 22 + "42", "--to", self.d.restore_root / "no")
        fails(3, "0{22}42", "restore", "start", "--snapshot", "0" * 22 + "42", "--tar", self.scratch.dir / "no.tar")
        self.assertFalse((self.scratch.dir / "no.tar").exists())
        fails(2, "--set is missing", "snapshot", "take")
        fails(2, "say where to: --to DIR .*--tar FILE", "restore", "start", "--snapshot", snapshot)
        fails(2, "level 'all' is none of", "snapshot", "verify", snapshot, "--level", "all")
        fails(2, "unknown option|--nonsense", "snapshot", "list", "--nonsense")
        fails(2, "needs one of: take, list", "snapshot", "fetch")
        fails(2, "there is no command 'fetch'", "fetch")
        fails(13, "no stores of kind \"ftp\"; hint: file:///absolute/path", "store", "list", "ftp://somewhere")
        fails(3, "nothing-here|no store", "store", "list", f"file://{self.scratch.dir}/nothing-here")

    def test_restore_goes_only_where_it_may(self):
        snapshot = self.first["id"]
        used = self.d.restore_root / "used"
        used.mkdir()
        (used / "precious").write_text("mine")
        self.cli.fails(4, "used", "restore", "start", "--snapshot", snapshot, "--to", used)
        self.assertEqual([path.name for path in used.iterdir()], ["precious"])
        self.cli.fails(7, "not below .*restored, where this agent may restore", "restore", "start", "--snapshot", snapshot, "--to",
                       self.scratch.dir / "elsewhere")
        self.assertFalse((self.scratch.dir / "elsewhere").exists())
        self.cli.fails(2, "without \\. and \\.\\.", "restore", "start", "--snapshot", snapshot, "--to", f"{self.d.restore_root}/x/../../y")
        self.cli.fails(2, "absolute path", "restore", "start", "--snapshot", snapshot, "--to", "relative")
        outside = self.scratch.dir / "outside"
        outside.mkdir()
        (self.d.restore_root / "link").symlink_to(outside)
        self.cli.fails(7, "not below", "restore", "start", "--snapshot", snapshot, "--to", self.d.restore_root / "link" / "x")
        self.assertEqual(list(outside.iterdir()), [])
        self.cli.fails(3, "0{22}42", "restore", "start", "--snapshot", snapshot, "--to", self.d.restore_root / "y", "--agent", "0" * 22 + "42")

    def test_wrong_keys_are_refused_clearly(self):
        profile = self.scratch.dir / "wrong.profile"
        public, _ = self.d.server.keys()
        profile.write_text(f"server = {self.d.server.url}\npublic_key = {public}\nprivate_key = 00000000-0000-0000-0000-000000000000\n")
        harness.Cli(self.scratch, profile).fails(17, "does not know this API key", "snapshot", "list")
        profile.write_text(f"server = {self.d.server.url}\npublic_key = nobodysx\nprivate_key = x\n")
        harness.Cli(self.scratch, profile).fails(17, "does not know this API key", "snapshot", "list")
        profile.write_text("colour = blue\n")
        harness.Cli(self.scratch, profile).fails(2, "line 1 is none of server, public_key, private_key", "snapshot", "list")
        harness.Cli(self.scratch, self.scratch.dir / "none.profile").fails(3, "none.profile", "snapshot", "list")
        profile.write_text(f"server = http://127.0.0.1:{harness.free_port()}\npublic_key = {public}\nprivate_key = x\n")
        harness.Cli(self.scratch, profile).fails(5, "127.0.0.1", "snapshot", "list")
        key = self.scratch.dir / "wrong-agent.key"
        key.write_text("hfa_" + "0" * 64 + "\n")
        agent = harness.Agent(self.scratch, "agent-wrong", self.d.server, self.d.set.members[0].host, key_file=key).start(ready=False)
        self.assertEqual(agent.wait(), 17)
        self.assertRegex(agent.tail(), r"(?m)^holdfast: .*agent key")

    def test_a_second_agent_for_the_same_member_is_refused(self):
        host = self.d.set.members[0].host
        agent = harness.Agent(self.scratch, "agent-second", self.d.server, host, [host]).start(ready=False)
        self.assertEqual(agent.wait(), 6)
        self.assertRegex(agent.tail(), rf"(?m)^holdfast: .*member {host} is served by agent {self.d.agents[0].id()} already")

    def test_a_second_server_of_the_same_name_is_refused(self):
        name = f"127.0.0.1:{self.d.server.port}"
        other = harness.Process(self.scratch, "server-second", [harness.binary("HOLDFAST"), "server", "--data-dir", self.d.server.data, "--store",
                                                                self.d.server.store, "--listen", "127.0.0.1:0", "--name", name]).start()
        self.assertEqual(other.wait(), 6)
        self.assertIn("runs already", other.tail())

    def test_a_killed_process_would_leave_nothing_in_shared_memory(self):
        for process in (self.d.server, *self.d.agents):
            self.assertEqual(list(pathlib.Path("/dev/shm").glob(f"*-{process.popen.pid}")), [], process.name)

    def test_secrets_are_for_their_owner_only(self):
        for name in ("agent.key", "cli.profile", self.d.server.key_file.name):
            self.assertEqual(stat.S_IMODE((self.d.server.data / name).stat().st_mode), 0o600, name)
        secret = (self.d.server.data / "agent.key").read_text().strip()
        private = self.d.server.keys()[1]
        for process in self.scratch.processes:
            for log in {process.log, process.out}:
                if log.exists():
                    text = log.read_text(errors="replace")
                    self.assertNotIn(secret, text, log)
                    self.assertNotIn(private, text, log)


if __name__ == "__main__":
    harness.main()
