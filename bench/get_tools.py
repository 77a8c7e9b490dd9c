# SPDX-License-Identifier: Apache-2.0
"""The newest restic and kopia, where Go and its modules can be had, else what the system has; and a mongorestore of one version.

RESTIC=PROGRAM, KOPIA=PROGRAM and MONGORESTORE=PROGRAM name one instead. What is installed goes to build/bench/tools, once; a module that could not
be had is noted there, and asked for again after that note was removed.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from contestants import Kopia, Restic
from measure import WORK

TOOLS = WORK / "tools"
# module, package of the program, and the newest version known when this was written: some proxies list old ones only.
MODULES = {Restic: ("github.com/restic/restic", "github.com/restic/restic/cmd/restic", "v0.18.1"),
           Kopia: ("github.com/kopia/kopia", "github.com/kopia/kopia", "v0.0.0")}
# Its releases are no versions that Go's modules know: one of them, by time and commit. No checksum database lists it, so the sum of what was
# used here is held against what comes.
MONGORESTORE = ("github.com/mongodb/mongo-tools", "github.com/mongodb/mongo-tools/mongorestore/main", "v0.0.0-20240724183527-6d4f001be3fc",
                "h1:BOTtfrCNuPnXgnEDvmXYiP0K8WF5JzDh3dQwZ9QThF0=")
LIMIT_S = 900


def number(version):
    return [int(part) for part in version.lstrip("v").split("-")[0].split(".")]


def go(*words, cwd=TOOLS, env=None):
    try:
        return subprocess.run(["go", *words], cwd=cwd, env={**os.environ, "GOBIN": str(TOOLS), **(env or {})}, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
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


def build_mongorestore(built):
    module, package, version, known = MONGORESTORE
    if not shutil.which("go"):
        raise OSError("there is no go")
    env = {"GONOSUMDB": module, "GOFLAGS": "-mod=mod -buildvcs=false"}
    if json.loads(go("mod", "download", "-json", f"{module}@{version}", env=env))["Sum"] != known:
        raise OSError(f"{module} {version} is not what it was")
    print(f"bench: mongorestore {version} is built from its Go module", file=sys.stderr, flush=True)
    # In a module of its own: what `go install` asks for besides, a list of all versions, cannot be had everywhere.
    with tempfile.TemporaryDirectory(dir=TOOLS) as directory:
        go("mod", "init", "bench", cwd=directory)
        go("mod", "edit", f"-require={module}@{version}", cwd=directory)
        go("build", "-o", str(built), package, cwd=directory, env=env)


def mongorestore():
    """The program, or None and why."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    built, refused = TOOLS / "mongorestore", TOOLS / "mongorestore.refused"
    if named := os.environ.get("MONGORESTORE"):
        return named, ""
    if not built.exists() and not refused.exists():
        try:
            build_mongorestore(built)
        except OSError as error:
            refused.write_text(f"{error}\n", encoding="utf-8")
            print(f"bench: mongorestore cannot be had as a Go module ({error}); it is asked for again when {refused} is gone", file=sys.stderr, flush=True)
    found = str(built) if built.exists() else shutil.which("mongorestore")
    return found, "" if found else "mongorestore could not be had as a Go module here, nor is it installed."
