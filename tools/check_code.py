#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House rules that can be seen in the text of src/: licence line, opening paragraph, banned functions, sizes.

Limits (docs/design/style.md 2, architecture.md): 1000 lines a file, 100 a function, 11,500 of code in the sandbox; longer ones are listed, with the reason, in
tools/size_exceptions.txt as "path" or "path:function".
"""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES = 1000, 100
ROOM_LINES = {"sandbox": 11500}  # of code: comments and blank lines are free. A test source must not grow into a database.
BANNED = ("strcpy strcat strncpy sprintf vsprintf strtok atoi atol gets alloca rand srand localtime gmtime "
          "strerror system popen tmpnam").split()
DURABLE = "link linkat rename renameat renameat2 fsync fdatasync".split()


def strip(text):
    """Blanks comments, strings and character constants, keeping line breaks."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def functions(lines):
    """Yields (name, first line, length) of each function: its braces stand in column 0."""
    start = name = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
            head = " ".join(lines[max(0, number - 8):number - 1])
            found = re.findall(r"(\w+)\s*\(", head)
            name = found[-1] if found else "?"
            for candidate in found:
                if candidate.startswith(("hf_", "main")):
                    name = candidate
        elif line == "}" and start:
            yield name, start, number - start + 1
            start = None


def main():
    exceptions = set()
    path = root / "tools" / "size_exceptions.txt"
    if path.exists():
        exceptions = {line.split("#")[0].strip() for line in path.read_text().splitlines()}
    faults, room_lines = [], {}
    for path in sorted((root / "src").rglob("*.[ch]")):
        where = path.relative_to(root)
        text = path.read_text(errors="replace")
        if not text.startswith("/* SPDX-License-Identifier: Apache-2.0 */\n"):
            faults.append(f"{where}:1: the SPDX line is missing")
        elif not text.split("\n", 2)[1].startswith("/*"):
            faults.append(f"{where}:2: the paragraph that says what the file is for is missing")
        code = strip(text)
        lines = code.splitlines()
        counted = re.sub(r"/\*.*?\*/", "", text, flags=re.S).splitlines()
        room_lines[where.parts[1]] = room_lines.get(where.parts[1], 0) + sum(bool(line.strip()) for line in counted)
        for number, line in enumerate(lines, 1):
            for word in BANNED:
                if re.search(rf"(?<![\w.>]){word}\s*\(", line):
                    faults.append(f"{where}:{number}: {word} is banned")
            if where.parts[1] not in ("os",):
                for word in DURABLE:
                    if re.search(rf"(?<![\w.>]){word}\s*\(", line):
                        faults.append(f"{where}:{number}: only the room os calls {word}")
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text):
            faults.append(f"{where}: unfinished by its own words")
        if len(lines) > FILE_LINES and str(where) not in exceptions:
            faults.append(f"{where}: {len(lines)} lines, {FILE_LINES} is the end")
        if path.suffix == ".c":
            for name, start, length in functions(lines):
                if length > FUNCTION_LINES and f"{where}:{name}" not in exceptions:
                    faults.append(f"{where}:{start}: {name} has {length} lines, {FUNCTION_LINES} is the end")
    for room, most in ROOM_LINES.items():
        if room_lines.get(room, 0) > most:
            faults.append(f"src/{room}: {room_lines[room]} lines of code, {most} is the end")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


sys.exit(main())
