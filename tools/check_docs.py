#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the documents against the code.

docs/user/events.md has every log event with its levels and fields; docs/user/troubleshooting.md every error class with
its exit code; docs/user/options.md every option of every command; docs/design/threads.md every kind of thread. Relative
links lead to something, and no document names a path of the machine that it was written on.
"""
import pathlib
import re
import subprocess
import sys
import urllib.parse

root = pathlib.Path(__file__).resolve().parent.parent
source = root / "src"
EVENTS, CLASSES = "docs/user/events.md", "docs/user/troubleshooting.md"
OPTIONS, THREADS = "docs/user/options.md", "docs/design/threads.md"
ROLES = "docs/user/roles.md"
# Where people build and log in; what an operator's machine has is written with other names.
MACHINE_PATHS = r"(?<![\w.~-])/(?:work|opt|home|root)/[\w.]"


def strip_comments(text):
    """Blanks comments, keeps strings and line breaks."""
    pattern = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.S)
    return pattern.sub(lambda m: m[0] if m[0][0] == '"' else re.sub(r"[^\n]", " ", m[0]), text)


def sources():
    for path in sorted(source.rglob("*.[ch]")):
        yield path.relative_to(root), strip_comments(path.read_text(errors="replace"))


def call_text(text, start):
    """What stands between the parenthesis at start and the one that closes it; strings may hold others."""
    depth = 0
    for match in re.compile(r'"(?:\\.|[^"\\\n])*"|[()]').finditer(text, start):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return text[start + 1:match.start()]
    return text[start + 1:]


def read(name, faults):
    path = root / name
    if not path.exists():
        faults.append(f"{name}: there is no such document")
        return ""
    return path.read_text()


def rows(text):
    """The cells of each row of each table, with the line's number; escaped bars stay inside."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("| "):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            yield number, [cell.strip() for cell in cells]


def words(cell):
    return re.findall(r"`([^`]+)`", cell)


# ---- Events ----


def logged_events(faults):
    """Event -> (levels, fields) of all calls."""
    events = {}
    for where, text in sources():
        if where.parts[1] == "base":
            continue
        for match in re.finditer(r"\bhf_log_(debug|info|warn|error)\(|\b(?:HF_LOG_AT|hf_log_event)\(", text):
            call = call_text(text, match.end() - 1)
            name = re.search(r'"([^"]*)"', call)
            line = text.count("\n", 0, match.start()) + 1
            if match[1] is None or name is None or not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", name[1]):
                faults.append(f"{where}:{line}: log with hf_log_<level> and an event's name, room.thing.what, as a literal")
                continue
            levels, fields = events.setdefault(name[1], (set(), set()))
            levels.add(match[1])
            fields.update(re.findall(r'\bHF_(?:STR|U64)\(\s*"([^"]+)"', call))
    return events


def check_events(faults):
    events, listed = logged_events(faults), {}
    for number, cells in rows(read(EVENTS, faults)):
        names = words(cells[0])
        if len(cells) != 4 or len(names) != 1:
            continue
        if names[0] in listed:
            faults.append(f"{EVENTS}:{number}: {names[0]} stands there twice")
        listed[names[0]] = number
        levels, fields = events.get(names[0], (None, None))
        if levels is None:
            faults.append(f"{EVENTS}:{number}: nothing logs {names[0]}")
            continue
        for what, have, want in (("level", set(re.findall(r"\w+", cells[1])), levels), ("fields", set(words(cells[2])), fields)):
            if have != want:
                faults.append(f"{EVENTS}:{number}: {names[0]} has the {what} {' '.join(sorted(want)) or '(none)'}")
        if not cells[3]:
            faults.append(f"{EVENTS}:{number}: {names[0]}: what is to be done?")
    for name in sorted(set(events) - set(listed)):
        faults.append(f"{EVENTS}: {name} is missing")


# ---- Error classes ----


def check_classes(faults):
    text = (source / "base" / "error.h").read_text()
    classes = dict(re.findall(r"X\((\w+), (?:true|false), \d+, (\d+),", text))
    listed = {}
    for number, cells in rows(read(CLASSES, faults)):
        names = words(cells[0])
        if len(names) == 1 and re.fullmatch(r"[A-Z_]+", names[0]) and len(cells) >= 2:
            listed[names[0]] = number
            if names[0] not in classes:
                faults.append(f"{CLASSES}:{number}: there is no error class {names[0]}")
            elif cells[1] != classes[names[0]]:
                faults.append(f"{CLASSES}:{number}: {names[0]} ends with exit code {classes[names[0]]}")
    if not classes:
        faults.append("src/base/error.h: the table of error classes was not found")
    for name in classes:
        if name not in listed:
            faults.append(f"{CLASSES}: error class {name} is missing")


# ---- Options ----


def option_tables():
    """Command -> names of its options, out of the tables in the code."""
    macros, tables = {}, {}
    texts = [(where, text.replace("\\\n", "\n")) for where, text in sources() if where.parts[1] in ("main", "cli")]
    for where, text in texts:
        for match in re.finditer(r"^#define (\w*OPTIONS)\(OPT\)(.*?)(?=^#|^[A-Za-z}]|^$)", text, re.S | re.M):
            local = macros.setdefault(where, {})
            local[match[1]] = match[2]
    shared = {name: body for where, local in macros.items() if where.suffix == ".h" for name, body in local.items()}

    def expand(where, name):
        body = macros.get(where, {}).get(name, shared.get(name, ""))
        names = [m[1] for m in re.finditer(r"\bOPT\(\s*(\w+),", body) if "OPT_HIDDEN" not in call_text(body, m.start() + 3)]
        for other in re.findall(r"\b(\w*OPTIONS)\(OPT\)", body):
            names += expand(where, other)
        return names

    for where, text in texts:
        if where.suffix == ".h":
            continue  # they tell how tables are made
        values = dict(re.findall(r"HF_CLI_VALUES\((\w+),\s*(\w*OPTIONS),", text))
        for match in re.finditer(r'HF_CLI_COMMAND\(\s*\w+,\s*(\w+),\s*"([^"]+)"', text):
            tables[match[2]] = expand(where, values[match[1]])
        for match in re.finditer(r'VERB\(\s*\w+,\s*(\w+),\s*"(\w+)",\s*"(\w+)"', text):
            tables[f"holdfast {match[2]} {match[3]}"] = expand(where, values[match[1]])
        for match in re.finditer(r"struct hf_option \w+\[\] = \{(\w*OPTIONS)\(\w+\)\};.*?\.command = \"([^\"]+)\"", text, re.S):
            tables[match[2]] = expand(where, match[1])
    return tables


def check_options(faults):
    tables, text = option_tables(), read(OPTIONS, faults)
    sections = dict(re.findall(r"^## (holdfast [\w ]+)\n(.*?)(?=^## |\Z)", text, re.S | re.M))
    if len(tables) < 10:
        faults.append("tools/check_docs.py: the tables of options were not found in src/")
    for command, names in sorted(tables.items()):
        if command not in sections:
            faults.append(f"{OPTIONS}: '{command}' is missing; paste what 'holdfast manual' prints")
            continue
        want = {"--" + name.replace("_", "-") for name in names}
        have = set(re.findall(r"^\| `(--[\w-]+)", sections[command], re.M)) - {"--config"}
        for name in sorted(want - have):
            faults.append(f"{OPTIONS}: {command} {name} is missing; paste what 'holdfast manual' prints")
        for name in sorted(have - want):
            faults.append(f"{OPTIONS}: {command} has no option {name}")
    for command in sorted(set(sections) - set(tables)):
        faults.append(f"{OPTIONS}: there is no command '{command}'")


# ---- Threads ----


def check_threads(faults):
    text, names = read(THREADS, faults), {}
    for where, code in sources():
        for match in re.finditer(r'\bhf_thread_start\(\s*"([^"]+)"|\.name = "(hf-[a-z]+)"', code):
            names.setdefault(match[1] or match[2], f"{where}:{code.count(chr(10), 0, match.start()) + 1}")
    listed = {name for _, cells in rows(text) for name in words(cells[0])}
    for name, where in sorted(names.items()):
        if name not in listed:
            faults.append(f"{THREADS}: thread {name} is missing ({where})")
    for name in sorted(listed - set(names)):
        if re.fullmatch(r"(hf|http)-[a-z]+", name):
            faults.append(f"{THREADS}: nothing starts a thread {name}")


# ---- Roles ----


def roles_tables():
    """What docs/user/roles.md has between its marks, out of the tables that the server runs."""
    code = strip_comments(pathlib.Path("src/server/roles.c").read_text())
    routes = pathlib.Path("src/server/routes.c").read_text()
    words = dict(re.findall(r'\[HF_RIGHT_(\w+)\] = "([^"]+)"', code))
    groups = {name: set(re.findall(r"CAN\((\w+)\)", body)) for name, body in re.findall(r"#define (OF_\w+)((?:.*\\\n)*.*)\n", code)}
    asked = [right for right in words if right not in ("UNSAID", "OPEN", "CALLER")]
    out = ["| role | may |", "|---|---|"]
    for name, level, body in re.findall(r'\{"(\w+)",\s*HF_ROLE_(\w+),\s*([^}]*)\}', code):
        have = set(re.findall(r"CAN\((\w+)\)", body)).union(*(groups[one] for one in groups if one in body))
        have = set(asked) if "EVERYTHING" in body else have
        out.append(f"| `{name}` | {'; '.join(words[one] for one in asked if one in have) or 'nothing of a backup'} |")
    macros = {name: value for name, value in re.findall(r"#define (\w+) (.+)", routes)}

    def path(text):
        parts = re.findall(r'"([^"]*)"|(\w+)', text)
        return "".join(path(macros[macro]) if macro else literal for literal, macro in parts)

    macros["HF_API_PULL_PATH"] = '"/backup/restore/v2/pull/"'
    out += ["", "| call | needs the right to |", "|---|---|"]
    for method, where, right in re.findall(r'\{"([A-Z]+)",\s*([^,]+),\s*hf_api_\w+,\s*HF_ROUTE_\w+,\s*HF_RIGHT_(\w+)\}', routes):
        out.append(f"| `{method} {path(where)}` | {words[right]} |")
    return "\n".join(out) + "\n"


def check_roles(faults):
    want, text = roles_tables(), read(ROLES, faults)
    if f"<!-- tables -->\n{want}<!-- end -->" not in text:
        faults.append(f"{ROLES}: the tables are not those of src/server/roles.c and routes.c; hint: tools/check_docs.py --write-roles")


def write_roles():
    path = pathlib.Path(ROLES)
    text = path.read_text()
    path.write_text(re.sub(r"<!-- tables -->\n.*?<!-- end -->", lambda _: f"<!-- tables -->\n{roles_tables()}<!-- end -->", text, flags=re.S))


# ---- Links and paths ----


def documents():
    """Markdown files that belong to the project: those that git knows or would take; in an exported tree all of them."""
    listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], cwd=root,
                             capture_output=True, text=True)
    names = listing.stdout.split("\0") if listing.returncode == 0 else [str(path.relative_to(root)) for path in root.rglob("*.md")]
    foreign = {"node_modules", "build"}
    return [root / name for name in sorted(names) if name and (root / name).is_file() and not foreign & set(name.split("/"))]


def anchors(text):
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_links(faults):
    for path in documents():
        where, text = path.relative_to(root), path.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(MACHINE_PATHS, line):
                faults.append(f"{where}:{number}: names a path of this machine: {line.strip()[:80]}")
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z][a-z+.-]*:", target):
                    continue
                name, _, anchor = target.partition("#")
                other = path if name == "" else (path.parent / urllib.parse.unquote(name))
                if not other.exists():
                    faults.append(f"{where}:{number}: the link to {target} leads nowhere")
                elif anchor and other.suffix == ".md" and anchor not in anchors(other.read_text()):
                    faults.append(f"{where}:{number}: {target}: no heading makes that anchor")
            for name in re.findall(r"`((?:docs|src|tools|tests|bench|packaging|changelog)/[\w./-]+\.\w+)`", line):
                if where.parts[0] in ("docs", "README.md") and where.parts[:2] != ("docs", "design") and not (root / name).exists():
                    faults.append(f"{where}:{number}: there is no {name}")


def main():
    if sys.argv[1:] == ["--write-roles"]:
        write_roles()
    faults = []
    for check in (check_events, check_classes, check_options, check_threads, check_roles, check_links):
        check(faults)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


sys.exit(main())
