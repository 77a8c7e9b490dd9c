#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every fault point of what works by itself is one at which some test dies.

A new HF_FAULT in one of ROOMS belongs into a list of a program below tests/crash (alone_test.c: what a server does by itself;
states_test.c: moves of a job; tail_test.c: the oplog; points_test.c: restores to a point), or is named by a test of processes.
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("server", "backup", "catalog", "snapshot", "oplog", "agent")
# More programs that die at points by name.
OTHERS = ("tests/contract/oplog/replay_test.c", "tests/unit/snapshot/restore_onto_test.c")
# tests/unit/snapshot/restore_onto_test.c dies at each call to the disk, which is more than these.
FINER = {"snapshot.restore.compare", "snapshot.restore.cut", "snapshot.restore.extra", "snapshot.restore.fence"}

# No test dies here yet: the point stands in front of the one change of the catalog, so a death leaves nothing begun.
NOTHING_BEGUN = {"server.fleet.take"}


def main():
    named = set()
    tests = [*(root / "tests/crash").rglob("*.[ch]"), *(root / "tests/integration").glob("*.py"), *(root / other for other in OTHERS)]
    for path in tests:
        named.update(re.findall(r"[a-z_]+(?:\.[a-z_]+)+", path.read_text()))
    points, faults = 0, []
    for room in ROOMS:
        for path in sorted((root / "src" / room).rglob("*.c")):
            text = path.read_text()
            for match in re.finditer(r'\bHF_FAULT\(\s*"([^"]+)"', text):
                points += 1
                if match[1] not in named and match[1] not in FINER | NOTHING_BEGUN:
                    line = text.count("\n", 0, match.start()) + 1
                    faults.append(f"{path.relative_to(root)}:{line}: no test dies at fault point {match[1]}")
    if points == 0:
        faults.append("no fault point was found")
    print("\n".join(faults) if faults else f"{points} fault points")
    return 1 if faults else 0


sys.exit(main())
