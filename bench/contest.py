# SPDX-License-Identifier: Apache-2.0
"""The contest: every tool does every work on the same files, in turn, and what it restores is compared with what it read.

Knows no tool by name, but for who is compared with whom.
"""
import os
import resource
import statistics
import sys

from contestants import TOOLS
from measure import MIB, Failed, chill, clear, files_below, link_tree, size_below, tree_hash, warm

WORKS = {"full": "full capture", "same": "nothing changed", "same_read": "nothing changed, all read", "changed": "1 % of documents changed",
         "restore": "restore, empty directory", "onto": "restore onto 1 % difference", "verify": "verify all content"}
READS_SOURCE = ("full", "same", "same_read", "changed")
# A page of the engine, a block of a small file, a block of a large one.
GRAINS = (4 << 10, 64 << 10, 256 << 10)


class Changes:
    """What differs between two states of a directory: by blocks at the same place, those full of zeros left out."""

    def __init__(self, before, after):
        self.files = self.file_bytes = 0
        self.blocks = dict.fromkeys(GRAINS, 0)
        for path in files_below(after):
            old = os.path.join(before, os.path.relpath(path, after))
            if not os.path.exists(old):
                old = os.devnull
            if not os.path.samefile(path, old):
                self.compare(old, path)

    def compare(self, old, new):
        differs = os.path.getsize(old) != os.path.getsize(new)
        with open(old, "rb") as old_file, open(new, "rb") as new_file:
            while piece := new_file.read(MIB):
                was = old_file.read(MIB)
                if was == piece:
                    continue
                differs = True
                for grain in GRAINS:
                    for at in range(0, len(piece), grain):
                        block = piece[at:at + grain]
                        if block != was[at:at + grain] and block.count(0) != len(block):
                            self.blocks[grain] += len(block)
        if differs:
            self.files += 1
            self.file_bytes += os.path.getsize(new)


class Contest:
    """source: what is captured; after: another state of the same directory, or None."""

    def __init__(self, source, after, scratch, runs, cold, names):
        self.scratch, self.runs, self.cold, self.after = scratch, runs, cold, after
        self.before = source
        self.source = scratch / "source" if after else source
        self.restored = scratch / "restored"
        self.problems, self.costs, self.stored, self.details = [], {}, {}, {}
        self.grown, self.new_bytes = {}, {}  # by tool, of the capture of the other state: bytes in the repository, and before compression
        self.own_peak = 0
        self.tools = [tool(scratch, self.source) for tool in TOOLS if tool.name in names]
        self.bytes = size_below(source)
        self.files = sum(1 for _ in files_below(source))
        self.hash = tree_hash(source)
        self.after_hash = tree_hash(after) if after else None
        self.changes = Changes(source, after) if after else None

    def problem(self, text):
        self.problems.append(text)
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def show(self, state):
        """The directory that is captured becomes that state: same path, and the same inodes for what did not change."""
        if self.after is None:
            return
        for path in list(files_below(self.source)):
            other = state / os.path.relpath(path, self.source)
            if not other.exists() or not os.path.samefile(path, other):
                os.unlink(path)
        link_tree(state, self.source)

    def once(self, tool, work, *arguments):
        (chill if self.cold else warm)(files_below(self.source if work in READS_SOURCE else tool.store))
        cost = getattr(tool, work)(*arguments)
        self.costs.setdefault((tool.name, work), []).append(cost)
        print(f"bench: {tool.name:9} {WORKS[work]:27} {cost.seconds:8.2f} s {cost.cpu_s:8.2f} CPU s {cost.peak_bytes / MIB:6.0f} MiB",
              file=sys.stderr, flush=True)

    def check_restored(self, tool, what, wanted):
        if tree_hash(self.restored) != wanted:
            self.problem(f"{tool.name}: what it restored of {what} differs from it")

    def restore(self, tool):
        clear(self.restored)
        self.restored.mkdir()
        self.once(tool, "restore", self.restored)
        self.check_restored(tool, "the source", self.hash)

    def capture_changed(self, tool):
        """Then what was captured is restored: onto what the first state's restore left, if the tool has a way for that, by the
        clock; else into an empty directory, only to compare it."""
        self.show(self.after)
        size = size_below(tool.store)
        self.once(tool, "changed")
        self.grown.setdefault(tool.name, []).append(size_below(tool.store) - size)
        if tool.new_bytes is not None:
            self.new_bytes.setdefault(tool.name, []).append(tool.new_bytes)
        if tool.can_restore_onto():
            (chill if self.cold else warm)(files_below(self.restored))
            self.once(tool, "onto", self.restored)
        else:
            clear(self.restored)
            self.restored.mkdir()
            tool.restore_changed(self.restored)
        self.check_restored(tool, "the changed source", self.after_hash)

    def run_tool(self, tool):
        self.show(self.before)
        tool.prepare()
        try:
            for work in tool.works:
                if work == "restore":
                    self.restore(tool)
                elif work == "changed":
                    if self.after:
                        self.capture_changed(tool)
                else:
                    self.once(tool, work)
                if work == "full":
                    self.stored.setdefault(tool.name, []).append(size_below(tool.store))
        except Failed as failed:
            self.problem(f"{tool.name}: {failed}")
        finally:
            self.details[tool.name] = getattr(tool, "details", None)
            clear(tool.dir)
            clear(self.restored)

    def run(self):
        usable = []
        for tool in self.tools:
            if missing := tool.missing():
                self.problem(f"{tool.name} is left out: there is no {', '.join(missing)}; hint: make setup")
            else:
                tool.log.unlink(missing_ok=True)
                usable.append(tool)
        clear(self.scratch / "source")
        for number in range(self.runs):
            turn = number % max(len(usable), 1)
            for tool in usable[turn:] + usable[:turn]:
                self.run_tool(tool)
        clear(self.scratch / "source")
        self.own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if tree_hash(self.before) != self.hash or (self.after and tree_hash(self.after) != self.after_hash):
            self.problem("the source changed while it was measured: the numbers mean nothing")

    def median(self, tool, work, field):
        costs = self.costs.get((tool, work))
        return statistics.median(getattr(cost, field) for cost in costs) if costs else None

    def seconds(self, tool, work):
        return self.median(tool, work, "seconds")
