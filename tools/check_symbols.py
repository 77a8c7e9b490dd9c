#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks at what each room's library exports: names begin with hf_, stand in a header of the room, and none is mutable.

usage: check_symbols.py BUILD_DIR
"""
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
# The log sink and the fault points may keep state (style.md 7); WHY each other one may is said beside it in the code.
MUTABLE_ROOMS_FILES = {"fault.c.o", "log.c.o"}


def main():
    build = pathlib.Path(sys.argv[1])
    faults = []
    for library in sorted((build / "src").glob("libhf_*.a")):
        room = library.stem.removeprefix("libhf_")
        headers = "\n".join(p.read_text(errors="replace") for p in (root / "src" / room).rglob("*.h"))
        names = set(re.findall(r"\bhf_\w+", headers))
        out = subprocess.run(["nm", "--defined-only", "-A", str(library)], capture_output=True, text=True, check=True)
        for line in out.stdout.splitlines():
            match = re.match(r"(.*?):(?:([0-9a-f]+)\s+)?(?:[0-9a-f]+\s+)?(\w)\s+(\S+)$", line)
            if not match:
                continue
            member, kind, name = match.group(1).split(":")[-1], match.group(3), match.group(4)
            if name.startswith(("__asan", "__odr_asan", "__ubsan", "_ZN", "asan.", "__tsan")) or ".asan" in name:
                continue
            if kind in "TDBCRVW" and kind.isupper() and kind not in "U":
                if not name.startswith("hf_"):
                    faults.append(f"{room}: {member} exports {name}, which does not begin with hf_")
                elif name not in names:
                    faults.append(f"{room}: {member} exports {name}, which no header of the room declares: make it static")
            writable = kind in "DdBbC"
            if writable and not any(member.endswith(file) for file in MUTABLE_ROOMS_FILES):
                allowed = re.search(rf"mutable: {re.escape(name.split('.')[0])}\b", headers + sources(room))
                if not allowed:
                    faults.append(f"{room}: {member} has the mutable global {name}; say why in a comment 'mutable: {name.split('.')[0]} ...'")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def sources(room):
    return "\n".join(p.read_text(errors="replace") for p in (root / "src" / room).rglob("*.c"))


sys.exit(main())
