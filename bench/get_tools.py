# SPDX-License-Identifier: Apache-2.0
"""The newest restic and kopia, where Go and its modules can be had; else what the system has.

RESTIC=PROGRAM and KOPIA=PROGRAM name one instead. What is installed goes to build/bench/tools, once; a module that could not
be had is noted there, and asked for again after that note was removed.
"""
import json
import os
import shutil
import subprocess
import sys

from contestants import Kopia, Restic
from measure import WORK

TOOLS = WORK / "tools"
# module, package of the program, and the newest version known when this was written: some proxies list old ones only.
MODULES = {Restic: ("github.com/restic/restic", "github.com/restic/restic/cmd/restic", "v0.18.1"),
           Kopia: ("github.com/kopia/kopia", "github.com/kopia/kopia", "v0.0.0")}
LIMIT_S = 900


def number(version):
    return [int(part) for part in version.lstrip("v").split("-")[0].split(".")]


def go(*words):
    try:
        return subprocess.run(["go", *words], cwd=TOOLS, env={**os.environ, "GOBIN": str(TOOLS)}, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    except subprocess.TimeoutExpired as expired:
        raise OSError(f"go {words[0]} took longer than {expired.timeout:.0f} s") from None
    except subprocess.CalledProcessError as failed:
        raise OSError((failed.stderr.strip().splitlines() or ["it says nothing"])[0]) from None


def install(tool):
    """The version that is there now, or an OSError that says why there is none."""
    module, package, known = MODULES[tool]
    if not shutil.which("go"):
        raise OSError("there is no go")
    latest = json.loads(go("list", "-m", "-json", f"{module}@latest"))["Version"]
    version = max(latest, known, key=number)
    print(f"bench: {tool.name} {version} is built from its Go module", file=sys.stderr, flush=True)
    go("install", f"{package}@{version}")
    return version


def program(tool):
    """Where the tool's program is and why it is that one."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    built, refused = TOOLS / tool.name, TOOLS / f"{tool.name}.refused"
    if named := os.environ.get(tool.name.upper()):
        return named, ""
    if not built.exists() and not refused.exists():
        try:
            install(tool)
        except OSError as error:
            # The reason may name a registry: the log is for it, not the results.
            refused.write_text(f"{error}\n", encoding="utf-8")
            print(f"bench: {tool.name} cannot be had as a Go module ({error}); it is asked for again when {refused} is gone", file=sys.stderr, flush=True)
    if built.exists():
        return str(built), ""
    return tool.name, f"The newest {tool.name} could not be had as a Go module here" + ("; Debian's is used." if shutil.which(tool.name) else ", nor is it installed: left out.")


def use_newest(names):
    """Points the contestants at their programs. What to say about those that are not the newest."""
    notes = []
    for tool in MODULES:
        if tool.name not in names:
            continue
        where, note = program(tool)
        tool.use(where)
        if note:
            notes.append(note)
    return notes
