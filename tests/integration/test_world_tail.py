#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tail of a job in a bad world: a line that loses, delays and doubles, processes that die at each step, slices that are damaged,
missing or forged in the store.

Whatever happens: the job's chain holds the member's own entries byte for byte, none missing and none twice, it never breaks for the
network or a death, and where the store has lost something, the ranges end there and say why.
"""
import os
import pathlib
import re
import signal
import sys

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness
from harness import wait_for
from proxy import OnALine
from slices import NONE, Slice

SOAK = bool(os.environ.get("HOLDFAST_SOAK"))
PUT_SLICE = r"PUT /agent/v1/objects/j/\w+/o/"
TELL = r"POST /agent/v1/tasks/\w+/slice"
LIMIT_S = 120
MIB = 1 << 20


class Case(OnALine, harness.TestCase):
    """One member; the agent's line to the server is the proxy's. A slice is closed by its size, so that nobody waits for its age."""

    @classmethod
    def deploy(cls):
        cls.d = harness.Deployment(cls.scratch, server_arguments=["--task-silence", "60s", "--plain-store"], agent_arguments=["--server-patience", "2s"])
        cls.cli, cls.server, cls.agent, cls.member = cls.d.cli, cls.d.server, cls.d.agents[0], cls.d.set.members[0]
        cls.agent.stop()
        cls.put_between()
        cls.agent.start()
        cls.job = cls.cli("job", "show", "--set", "rs0")["id"]
        cls.pushed, cls.seen = 0, []
        cls.push()
        cls.wait_saved()
        cls.first = cls.d.take()  # on the chain, which begins with what was the newest entry when the tail began

    def setUp(self):
        self.line.mend()
        for process in (self.server, self.agent):
            if not process.alive():
                process.start()

    @classmethod
    def push(cls, megabytes=10):
        """More than one slice takes."""
        collection = cls.scratch.client(cls.member.host, directConnection=True).noise.noise
        for _ in range(megabytes):
            collection.insert_many([{"_id": cls.pushed + i, "pad": os.urandom(MIB // 5)} for i in range(5)])
            cls.pushed += 5

    @classmethod
    def oplog(cls):
        client = cls.scratch.client(cls.member.host, directConnection=True)
        collection = client.get_database("local", codec_options=CodecOptions(document_class=RawBSONDocument))["oplog.rs"]
        return [one.raw for one in collection.find({}, sort=[("$natural", 1)])]

    @classmethod
    def slices(cls):
        return [Slice((cls.server.store_dir / name).read_bytes(), name) for name in sorted(cls.server.objects()) if name.startswith(f"j/{cls.job}/o/")]

    @classmethod
    def head(cls):
        return (cls.cli("job", "show", "--set", "rs0").get("oplog") or {}).get("object")

    @classmethod
    def chain(cls):
        """From the first slice to the head, as the slices say it themselves."""
        head, found = cls.head(), cls.slices()
        by_end = {(one.last, one.hash_after): one for one in found}
        chain = [one for one in found if one.name == head]
        while chain and chain[0].previous != NONE:
            chain.insert(0, by_end[(chain[0].previous, chain[0].hash_before)])
        return chain

    @classmethod
    def wait_saved(cls):
        """Up to what is there now, but for what waits for its age."""
        newest = bson.decode(next(one for one in reversed(cls.oplog()) if bson.decode(one)["ns"] == "noise.noise"))["ts"]
        def saved():
            chain = cls.chain()
            return chain and chain[-1].last[:2] >= (newest.time, newest.inc)
        wait_for(saved, f"{newest} to be saved", LIMIT_S, every=0.3)

    @classmethod
    def all_oplog(cls):
        """What the member has had in its oplog, which is short, since the last look too."""
        there = cls.oplog()
        at = there.index(cls.seen[-1]) + 1 if cls.seen else 0
        cls.seen += there[at:]
        return cls.seen

    def check_chain(self):
        chain, there = self.chain(), self.all_oplog()
        entries = [entry for one in chain for entry in one.entries()]
        self.assertEqual([one.cause for one in chain], ["first"] + ["none"] * (len(chain) - 1))
        at = there.index(entries[0])
        self.assertEqual(len(set(entries)), len(entries), "none is there twice")
        for i, (mine, its) in enumerate(zip(entries, there[at:])):
            self.assertEqual(mine, its, f"entry {i}")
        events = self.cli("event", "list", "--set", "rs0")["results"]
        events = [one["type"] for one in events if not one["type"].endswith("_AUDIT")]
        self.assertEqual([one for one in events if one != "OPLOG_WINDOW_SHORT"], [])  # it is short, and rolls over here
        return chain


class Line(Case):
    def trouble(self):
        """What the line does, one after the other; each is undone."""
        def lose_puts():
            self.line.lose_answer(PUT_SLICE, times=2)
            self.push()

        def lose_told():
            self.line.lose_answer(TELL, times=2)
            self.push()

        def slow():
            self.line.up.rate, self.line.down.jitter_s, self.line.up.pieces = 12 * MIB, 0.05, (1, 5000)
            self.push(5)

        def drop():
            self.push(5)
            self.line.drop()
            self.push(5)

        def refuse():
            self.line.refuse()
            self.push()
            refused = len(re.findall("agent.tail.waiting|agent.server.unreachable", self.agent.log.read_text()))
            wait_for(lambda: len(re.findall("agent.tail.waiting|agent.server.unreachable", self.agent.log.read_text())) > refused or not self.agent.alive(),
                     "the agent to miss the server", LIMIT_S)

        def half_open():
            self.line.half_open()
            self.push()

        return [lose_told, drop] + ([lose_puts, refuse, half_open, slow] if SOAK else [])

    def test_a_bad_line(self):
        before = len(self.chain())
        for step in self.trouble():
            with self.subTest(line=step.__name__):
                step()
                self.line.mend()
                self.push()
                self.wait_saved()
                self.check_chain()
        self.assertGreater(len(self.chain()), before)


class Deaths(Case):
    """Whoever dies, wherever: what was put and not told is taken up or written again, and nothing is lost."""

    AGENT = ["agent.tail.put", "agent.tail.told", "agent.tail.closed", "agent.tail.begun", "agent.tail.read"]
    SERVER = ["server.tail.head_moved", "server.tail.slice_read", "server.tail.named", "server.tail.made", "server.tail.caught_up", "server.tail.released"]
    # Where a tail ends or begins: the other side's death brings one there.
    BEGINNINGS = {"agent.tail.begun", "agent.tail.read", "server.tail.named", "server.tail.made", "server.tail.caught_up", "server.tail.released"}

    def die(self, point):
        process, other = (self.agent, self.server) if point.startswith("agent") else (self.server, self.agent)
        process.stop()
        process.start(env={"HOLDFAST_FAULTS": f"{point}=die"}, **({"ready": False} if process is self.agent else {}))
        if point in self.BEGINNINGS and process is self.server:
            other.kill()  # its tail ends, another begins
            other.start()
        self.push()
        wait_for(lambda: not process.alive(), f"the death at {point}", LIMIT_S)
        self.assertEqual(process.wait(), -signal.SIGKILL)
        process.start()

    def test_deaths(self):
        for point in (self.AGENT + self.SERVER) if SOAK else (self.AGENT[:1] + self.SERVER[:1]):
            with self.subTest(point=point):
                self.die(point)
                self.push()
                self.wait_saved()
                self.check_chain()


class Store(Case):
    """A chain of some slices, of which one is damaged, taken away or exchanged."""

    def ranges(self):
        answer = self.cli("job", "ranges", "--set", "rs0")
        return answer["results"] if "results" in answer else answer["ranges"]

    def test_what_the_store_has_lost_ends_the_range_and_is_named(self):
        for _ in range(3):
            self.push()
        self.wait_saved()
        chain = self.check_chain()
        self.agent.stop()  # the chain stands
        whole = self.ranges()
        middle = chain[len(chain) // 2]
        path = self.server.store_dir / middle.name
        content = path.read_bytes()

        def flipped(at):
            return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1:]

        end = {"seconds": middle.previous[0], "increment": middle.previous[1]}
        forged = bytearray(content)
        forged[-60:-24] = bytes(36)  # of the MAC, and the checksum is none either
        for what, changed, reasons in (("missing", None, ("missing",)), ("flipped in its header", flipped(len(content) - 100), ("damaged",)),
                                       ("cut", content[:-7], ("damaged",)), ("forged", bytes(forged), ("damaged",)),
                                       ("another's", (self.server.store_dir / chain[0].name).read_bytes(), ("damaged",))):
            with self.subTest(slice=what):
                path.unlink(missing_ok=True)
                if changed is not None:
                    path.write_bytes(changed)
                found = self.ranges()
                at = [one for one in found if (one["end"]["seconds"], one["end"]["increment"]) == tuple(end.values())]
                self.assertEqual(len(at), 1, found)
                self.assertIn(at[0]["endReason"], reasons, found)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        self.assertEqual(self.ranges(), whole, "as if nothing had been")


if __name__ == "__main__":
    harness.main()
