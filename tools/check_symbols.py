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
MUTABLE_FILES = ("base_fault.c.o", "base_log.c.o")


def main():
    build = pathlib.Path(sys.argv[1])
    faults = []
    for library in sorted((build / "src").glob("libhf_*.a")):
        room = library.stem.removeprefix("libhf_")
        headers = "\n".join(p.read_text(errors="replace") for p in (root / "src" / room).rglob("*.h"))
        names = set(re.findall(r"\bhf_\w+", headers))
        # A table in a header makes names too: hf_keep_##word##_get.
        made = [re.compile(re.sub(r"##\w+?##|##\w+$", r"\\w+", token)) for token in re.findall(r"\bhf_\w*##[\w#]+", headers)]
        for member, section, kind, name in symbols(library):
            if name.startswith((".", "__asan", "__odr_asan", "__ubsan", "_ZN", "asan.", "__tsan", "_sub_")) or ".asan" in name:
                continue
            if kind == "g":
                if not name.startswith("hf_"):
                    faults.append(f"{room}: {member} exports {name}, which does not begin with hf_")
                elif name not in names and not any(pattern.fullmatch(name) for pattern in made):
                    faults.append(f"{room}: {member} exports {name}, which no header of the room declares: make it static")
            writable = section.startswith((".data", ".bss", ".tbss", ".tdata", "*COM*")) and not section.startswith(".data.rel.ro")
            if writable and not member.endswith(MUTABLE_FILES):
                bare = name.split(".")[0]
                if not re.search(rf"mutable: {re.escape(bare)}\b", sources(room)):
                    faults.append(f"{room}: {member} has the mutable global {bare}; say why in a comment 'mutable: {bare} ...'")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def symbols(library):
    """(member, section, "g" or "l", name) of every defined object and function."""
    out = subprocess.run(["objdump", "-t", str(library)], capture_output=True, text=True, check=True).stdout
    member = ""
    for line in out.splitlines():
        if line.endswith(":     file format elf64-x86-64") or ": " in line and "file format" in line:
            member = line.split(":")[0].split("/")[-1]
            continue
        match = re.match(r"^[0-9a-f]+ (.{7}) (\S+)\s+[0-9a-f]+ (?:\.hidden )?(\S+)$", line)
        if match and match.group(1)[6] in "FO" and match.group(2) != "*UND*":
            yield member, match.group(2), "g" if match.group(1)[0] in "gu" else "l", match.group(3)


def sources(room):
    return "\n".join(p.read_text(errors="replace") for p in (root / "src" / room).rglob("*.c"))


sys.exit(main())
