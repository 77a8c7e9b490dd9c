#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tours of a member with the official Node driver and with mongosh, where `npm ci` in tours/ has installed them."""
import os
import pathlib
import shutil
import subprocess
import unittest

os.environ.pop("HOLDFAST_TEST_MONGOD", None)  # what is tested here is the sandbox itself

from harness import ReplicaSet, TestCase, main

TOURS = pathlib.Path(__file__).resolve().parent / "tours"


@unittest.skipUnless(shutil.which("node") and (TOURS / "node_modules" / "mongodb").is_dir(), "the drivers are not installed")
class Drivers(TestCase):
    @classmethod
    def deploy(cls):
        member = ReplicaSet(cls.scratch, 1, "rs0").members[0]
        cls.uri = f"mongodb://{member.host}/?replicaSet=rs0"

    def tour(self, *command):
        done = subprocess.run(command, cwd=TOURS, env=self.scratch.env, capture_output=True, text=True, timeout=180, check=False)
        self.assertEqual("good", done.stdout.strip().split("\n")[-1], done.stdout + done.stderr)

    def test_node_driver(self):
        self.tour("node", "node_tour.js", self.uri)

    @unittest.skipUnless((TOURS / "node_modules" / "mongosh").is_dir(), "mongosh is not installed")
    def test_mongosh(self):
        self.tour("node", "node_modules/mongosh/bin/mongosh.js", "--quiet", self.uri, "mongosh_tour.js")


if __name__ == "__main__":
    main()
