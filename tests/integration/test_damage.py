#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Damage in a store, from the bit that turns to the store that is whole again."""
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import trees_equal


def flip(path, at):
    """Flips one bit; again: mends it."""
    os.chmod(path, 0o640)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))
    os.chmod(path, 0o440)


class Healing(harness.TestCase):
    """A collection that does not change between the snapshots: the source has what the store has lost."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch)
        cls.cli, cls.server = cls.d.cli, cls.d.server
        harness.Writer(cls.d.set).load(400, name="people", pad=8000)
        cls.d.set.wait_checkpoint()

    def verified(self, snapshot_id):
        answer = self.cli.run("snapshot", "verify", snapshot_id, "--json")
        self.assertIn(answer.code, (0, 8), answer.err)
        return answer.json

    def damage_a_collection(self, snapshot_id):
        """Flips a bit in a block of a collection's file, wherever that lies: the object's name and the file's path."""
        name = max(self.server.objects(), key=self.server.objects().get)
        path = self.server.store_dir / name
        size = path.stat().st_size
        for part in range(1, 40):
            flip(path, size * part // 40)
            damages = self.verified(snapshot_id)["damages"]
            if damages and (damages[0]["path"] or "").startswith("collection-"):
                return name, damages[0]["path"]
            flip(path, size * part // 40)
        self.fail(f"no block of a collection in {name}")

    def test_the_next_snapshot_heals_what_the_source_still_has(self):
        first = self.d.take()
        before = self.d.restore(first["id"], "before")
        name, path = self.damage_a_collection(first["id"])
        self.cli.fails(8, path, "restore", "start", "--snapshot", first["id"], "--to", self.d.restore_root / "damaged")

        second = self.d.take()
        self.assertEqual(second["filesSkipped"], 0, "every file is read")
        self.assertTrue(self.server.logged(rf"snapshot\.healed snapshot={second['id']} set=rs0 blocks=1$"))
        self.assertTrue(self.verified(second["id"])["ok"])
        self.assertTrue(self.verified(first["id"])["ok"], "the older one is whole again")
        after = self.d.restore(first["id"], "after")
        trees_equal(before, after)
        for directory in (before, after):
            shutil.rmtree(directory)

        # It was looked at once: the next one believes again.
        third = self.d.take()
        self.assertGreater(third["filesSkipped"], 0)

        # The bad copy lies there still, until it is groomed away.
        verify = ["store", "verify", self.server.store, *self.server.key_arguments(), "--json"]
        answer = self.cli.run(*verify)
        self.assertEqual(answer.code, 8)
        self.assertEqual([(one["object"], one.get("snapshotId")) for one in answer.json["damages"]], [(name, None)])
        self.cli("store", "groom", self.server.store, *self.server.key_arguments())
        self.assertEqual(self.cli.run(*verify).code, 0)
        self.assertNotIn(name, self.server.objects())
        for snapshot in (first, second, third):
            self.assertTrue(self.verified(snapshot["id"])["ok"])


if __name__ == "__main__":
    harness.main()
