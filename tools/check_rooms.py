#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds every #include of src/ against the table of rooms in src/meson.build.

A room includes its own headers and those of the rooms its line names; a third-party header stands only in the room
whose line names the library. The sandbox and main have rules of their own, below.
"""
import ast
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
source = root / "src"

LIBRARY_HEADERS = {
    "zstd": r"zstd.*\.h", "crypto": r"openssl/.*", "xxhash": r"xxh.*\.h", "jansson": r"jansson\.h",
    "curl": r"curl/.*", "microhttpd": r"microhttpd\.h|gnutls/.*", "mongoc": r"(mongoc|bson)/.*",
    "sqlite3": r"sqlite3\.h", "wiredtiger": r"wiredtiger.*\.h|snappy.*\.h", "bson": r"bson/.*",
}


def table():
    text = (source / "meson.build").read_text()
    body = re.search(r"^rooms = (\[.*?^\])", text, re.S | re.M).group(1)
    return {name: (set(rooms), set(libraries)) for name, rooms, libraries in ast.literal_eval(body)}


def main():
    rooms = table()
    everything = set(rooms)
    rooms["sandbox"] = ({"base", "os", "codec"}, {"wiredtiger", "bson", "crypto"})
    rooms["main"] = (everything, set())
    known = list(rooms)
    faults = []
    for path in sorted(source.rglob("*.[ch]")):
        room = path.relative_to(source).parts[0]
        if room not in rooms:
            faults.append(f"{path.relative_to(root)}: folder '{room}' is not in the table of rooms")
            continue
        allowed, libraries = rooms[room]
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            kind, target = match.groups()
            where = f"{path.relative_to(root)}:{number}"
            if kind == '"':
                other = target.split("/")[0]
                if "/" not in target or other not in known:
                    faults.append(f'{where}: "{target}" is no room/header.h')
                elif other != room and other not in allowed:
                    faults.append(f"{where}: room '{room}' must not know room '{other}'")
                elif other != room and target.endswith("_internal.h"):
                    faults.append(f"{where}: {target} is for siblings only")
                continue
            for library, pattern in LIBRARY_HEADERS.items():
                if re.fullmatch(pattern, target) and library not in libraries:
                    if any(re.fullmatch(LIBRARY_HEADERS[own], target) for own in libraries):
                        continue
                    faults.append(f"{where}: <{target}> belongs to a room whose line names '{library}'")
                    break
    for name, (below, _) in rooms.items():
        if name in ("main", "sandbox"):
            continue
        position = known.index(name)
        for other in below:
            if known.index(other) >= position:
                faults.append(f"src/meson.build: room '{name}' stands below '{other}' and must not use it")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


sys.exit(main())
