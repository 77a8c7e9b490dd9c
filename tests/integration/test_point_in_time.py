#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Any second: a set that is written to by several clients, through elections and a rollback, its oplog tailed, snapshots taken
meanwhile; then points in time, restored by an agent, compared with what the history says."""
import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from bson import Timestamp
from chronicle import ARGUMENTS, Chronicle
from harness import checkpoint_of, wait_for
from history import GROUPS, compare, pick, read_state, told
from test_sandbox_recovery import QUIET, top_of

SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
REAL = bool(os.environ.get("HOLDFAST_TEST_MONGOD"))
SEED = int(os.environ.get("HOLDFAST_TEST_SEED") or (random.SystemRandom().randrange(1 << 30) if SOAK else 17))
POINTS = int(os.environ.get("HOLDFAST_TEST_POINTS") or (200 if SOAK else 8 if REAL else 20))


def optime_of(text):
    return Timestamp(int(text[:8], 16), int(text[8:16], 16))


class PointInTime(harness.TestCase):
    @classmethod
    def deploy(cls):
        print(f"seed {SEED}", flush=True)
        cls.d = harness.Deployment(cls.scratch, members=3, server_arguments=["--oplog-slice-age", "1s"], member_arguments=ARGUMENTS,
                                   agent_arguments=["--mongod", harness.member_binary()])
        cls.cli = cls.d.cli
        cls.steps = 60 if SOAK else 12
        cls.chronicle = c = Chronicle(cls.d.set, SEED)
        c.start()
        c.wait_steps(cls.steps)
        c.look()
        cls.snapshots = [cls.take()]
        c.wait_steps(cls.steps)
        c.elect()
        c.wait_steps(cls.steps)
        cls.snapshots.append(cls.take())
        c.wait_steps(cls.steps)
        c.roll_back()
        cls.d.wait_members()
        c.wait_steps(cls.steps)
        cls.snapshots.append(cls.take())
        c.wait_steps(cls.steps)
        c.elect()
        c.wait_steps(cls.steps)
        cls.history = c.settle()
        cls.last = cls.history.times[-1]
        cls.wait_saved(cls.last)

    @classmethod
    def take(cls):
        cls.d.set.wait_checkpoint()
        return cls.d.take()

    @classmethod
    def ranges(cls):
        return [(stamp(one["start"]), stamp(one["end"]), one) for one in cls.cli("job", "ranges", "--set", cls.d.set.name)["results"]]

    @classmethod
    def wait_saved(cls, ts):
        wait_for(lambda: any(end >= ts for _, end, _ in cls.ranges()), f"a range that reaches {ts}", 120, every=0.5)

    @classmethod
    def slices(cls):
        """First and last entry of each slice in the store."""
        found = []
        for name in cls.d.server.objects():
            match = re.search(r"/o/(?:.*/)?([0-9a-f]{32})-([0-9a-f]{32})-", name)
            if match:
                found.append((optime_of(match.group(2)), optime_of(match.group(1))))
        return sorted(found)

    def by_agent(self, target, name):
        directory = self.d.restore_root / name
        record = self.cli("restore", "start", "--set", self.d.set.name, "--to", directory, *words_of(target), limit=300)
        self.assertEqual(record["state"], "FINISHED", record)
        return directory

    def reach(self, numbered):
        """'' when the restored data are what the history says. The others go on where one fails."""
        number, target = numbered
        try:
            return self.judge(target, number)
        except Exception as error:  # pylint: disable=broad-exception-caught
            return f"{target}: point-{number}: {error}"

    def judge(self, target, number):
        directory = self.by_agent(target, f"point-{number}")
        member = harness.Member(self.scratch, f"look-{number}", dbpath=directory, arguments=QUIET)
        try:
            client = member.start().client
            found, top = read_state(client), top_of(client)
            member.close_client()
            self.assertEqual(member.stop(), 0)
        finally:
            member.kill()
        if not os.environ.get("HOLDFAST_TEST_KEEP"):
            shutil.rmtree(directory)
        problem = compare(self.states[target.until], found)
        expected = self.history.times[self.history.position(target.until) - 1]
        if top != expected:
            problem = f"the oplog ends at {top} instead of {expected}; {problem}"
        return f"{target}: {problem}" if problem else ""

    def test_r17_1_points_of_every_kind_are_what_the_history_says(self):
        """R17.1: a date is exclusive of its second, a timestamp inclusive."""
        first = min(start for start, _, _ in self.ranges())
        slices = self.slices()
        self.assertGreater(len(slices), 1)
        moments = {"a slice's first entry": [one for one, _ in slices], "a slice's last entry": [one for _, one in slices],
                   "an election": self.chronicle.elections, "a rollback": self.chronicle.rollbacks,
                   "a base's checkpoint": [checkpoint_of(one) for one in self.snapshots],
                   "a base's end": [stamp(one["oplogEnd"]) for one in self.snapshots]}
        targets = pick(random.Random(SEED), self.history, first, self.last, POINTS, moments)
        type(self).states = self.history.states([target.until for target in targets])
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:  # mostly it waits for a server to start
            problems = [one for one in pool.map(self.reach, enumerate(targets)) if one]
        counts = told(targets)
        print(f"{len(targets)} points in {time.monotonic() - began:.1f} s over {len(self.history.entries)} entries in {len(slices)} slices, "
              f"{len(self.snapshots)} snapshots, seed {SEED}: {counts}", flush=True)
        if len(targets) >= 100:  # fewer cannot have all of them
            self.assertEqual([name for name in ("dates", *GROUPS) if not counts[name]], [], f"no such target, seed {SEED}")
        self.assertEqual(problems, [], f"seed {SEED}")

    def test_r17_2_a_point_outside_every_range_is_refused_with_the_nearest_ones(self):
        """R17.2: before the first range, and after the last one."""
        ranges = self.ranges()
        first, last = min(start for start, _, _ in ranges), max(end for _, end, _ in ranges)
        directory = self.d.restore_root / "nowhere"
        outside = (first.time - 3600, rf"before and {first.time}\.{first.inc} after"), (last.time + 3600, r"are (\d+)\.(\d+) before and none after")
        for seconds, nearest in outside:
            said = self.cli.fails(3, nearest, "restore", "start", "--set", self.d.set.name, "--to", directory, "--oplog-ts", f"{seconds}.1")
            self.assertIn(f"{seconds}.1 cannot be restored: ", said)
        self.assertGreaterEqual(Timestamp(*map(int, re.search(outside[1][1], said).groups())), last)  # it grows meanwhile
        self.assertFalse(directory.exists())


def stamp(instant):
    return Timestamp(instant["seconds"], instant["increment"])


def words_of(target):
    if target.timestamp is not None:
        return "--oplog-ts", f"{target.timestamp.time}.{target.timestamp.inc}"
    return "--until", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(target.seconds))


if __name__ == "__main__":
    harness.main()
