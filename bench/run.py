#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make bench`: Holdfast beside restic, kopia, borg, tar with zstd and cp, on the same files, in one run; what it says, and
how to read that: bench/README.md.

Environment (or `make bench NAME=value`):
  SIZE=2GiB      size of the data set, made by the sandbox and kept in build/bench; 64M where no part that was asked for needs it
  MONGOD=FILE    a real mongod makes it, and is the member that is captured, instead of the sandbox
  REPLAY_MONGOD=FILE    a real mongod for the part replay alone, which has mongorestore only with one
  DBPATH=DIR     files that a real server wrote (and that nobody writes now), instead: for the contest only
  CHANGED=DIR    with DBPATH: the same files in a later state
  RUNS=3         how often each tool does each work; the order of the tools moves on with each run; medians are shown
  COLD=1         drop the pages of the files from the page cache before each work; else all are read once before
  TOOLS=a,b      only these of: holdfast restic kopia borg tar cp
  RESTIC=FILE, KOPIA=FILE, MONGORESTORE=FILE    these programs instead of those that can be had
  PARTS=a,b      only these of: contest server source memory tail replay lag load
  FILES=100000   how many files the part memory has; 5000 where SIZE is below 1 GiB
  LARGE=20GiB    the part memory captures so much in large files too; 1.6 times that is needed on the disk
  ENTRIES=1000000    how many oplog entries the parts tail and replay have, OPERATIONS=100000 how many of them replay has beside mongorestore
                 (200000 and 20000 with a real mongod); SECONDS=30 how long the part lag writes
  RESULTS=FILE   where the tables go (bench/results.md); of its two sections, snapshots and oplog, one that was not asked for stays as it is
  SCRATCH=DIR    where repositories and restored trees go (build/bench/scratch): the disk that is measured
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import aims
import get_tools
import many_files
import oplog
import report
import source
import way_through
from contest import Contest
from contestants import TOOLS
from measure import HERE, MIB, PROGRAMS, ROOT, WORK, Failed, call, clear, files_below, parse_size, warm

SNAPSHOT_PARTS = ("contest", "server", "source", "memory")
PARTS = SNAPSHOT_PARTS + oplog.PARTS
SMALL_SIZE = "64M"
OPLOG_HEAD = "## The oplog"
FEW_FILES = 5000


def check_files(top):
    if not top.is_dir():
        raise SystemExit(f"bench: there is no directory {top}")
    lock = top / "mongod.lock"
    if lock.exists() and lock.stat().st_size > 0:
        raise SystemExit(f"bench: a server runs on {top} (mongod.lock is not empty), or died there; copy the files first")
    odd = [path for path in files_below(top) if os.path.islink(path) or not os.path.isfile(path)]
    if odd:
        raise SystemExit(f"bench: {odd[0]} is no regular file")
    return top


class Data:
    """What is captured: `before`, its later state `after` or None, and the data set's directory where the bench made it."""

    def __init__(self, parts):
        self.program = pathlib.Path(os.environ.get("MONGOD") or ROOT / "build" / "holdfast-sandbox").resolve()
        self.made = self.after = None
        if named := os.environ.get("DBPATH"):
            self.before = check_files(pathlib.Path(named).resolve())
            if later := os.environ.get("CHANGED"):
                self.after = check_files(pathlib.Path(later).resolve())
            return
        size_mib = parse_size(os.environ.get("SIZE") or ("2GiB" if {*SNAPSHOT_PARTS, "load"} & set(parts) else SMALL_SIZE)) // MIB
        self.made = WORK / f"data-{size_mib}m{'-mongod' if os.environ.get('MONGOD') else ''}"
        if not self.made.exists():
            subprocess.run([sys.executable, HERE / "make_data.py", "--mib", str(size_mib), "--to", self.made, "--program", self.program], check=True)
        self.before, self.after = self.made / "before", self.made / "after"
        self.about = json.loads((self.made / "about.json").read_text(encoding="utf-8"))


def listed(name, allowed):
    """Words of an environment variable, all by default."""
    words = [word for word in os.environ.get(name, "").split(",") if word] or list(allowed)
    if unknown := set(words) - set(allowed):
        raise SystemExit(f"bench: {name} knows no {', '.join(sorted(unknown))}, only {' '.join(allowed)}")
    return words


def measure_limits(contest):
    scratch = contest.scratch / "limits"
    clear(scratch)
    scratch.mkdir(parents=True)
    warm(files_below(contest.before))
    try:
        return json.loads(call([PROGRAMS / "machine_limits", contest.before, scratch], log=WORK / "limits.log")[1])
    except Failed as failed:
        contest.problem(str(failed))
        return None
    finally:
        clear(scratch)


def better(one, other):
    """Of two looks at the machine the faster one of each: whatever disturbed it then was not its limit."""
    if one is None or other is None:
        return one or other
    return {name: better(value, other[name]) if isinstance(value, dict) else max(value, other[name]) for name, value in one.items()}


def measure_parts(contest, data, parts):
    """What the parts beside the contest found, by part; one that fails is a problem and is left out."""
    files = int(os.environ.get("FILES") or (aims.MANY_FILES if contest.bytes >= 1 << 30 else FEW_FILES))
    works = {"server": lambda: way_through.measure(contest.scratch, contest.bytes), "source": lambda: source.measure(data, contest.scratch),
             "memory": lambda: many_files.measure_all(data, contest.scratch, files, parse_size(os.environ.get("LARGE") or "0"))}
    found = {}
    for part, work in works.items():
        if part not in parts:
            continue
        if part in ("source", "memory") and data.made is None:
            print(f"bench: {part} is left out: with DBPATH there is no member", file=sys.stderr, flush=True)
            continue
        print(f"bench: {part} ...", file=sys.stderr, flush=True)
        try:
            found[part] = work()
        except (Failed, AssertionError, OSError) as error:
            contest.problem(f"{part}: {error}")
    return found


def snapshot_section(contest, data, parts, notes):
    load_before = os.getloadavg()[0]
    limits = measure_limits(contest)
    if "contest" in parts:
        contest.run()
        limits = better(limits, measure_limits(contest))
    found = measure_parts(contest, data, parts)
    lines = report.head_lines(contest, (load_before, os.getloadavg()[0])) + notes
    lines += aims.table(aims.Aims(contest, limits, found).rows())
    lines += report.contest_lines(contest) + report.limits_lines(limits)
    lines += ["", "Every restored tree equals its source (sha256 of paths, modes and contents)." if not contest.problems else
              "PROBLEMS: " + "; ".join(contest.problems)]
    return lines, limits, found


def oplog_section(contest, data, parts):
    load_before, problems = os.getloadavg()[0], []
    if data.made is None:
        problems.append("with DBPATH there is no member")
        found = {}
    else:
        found = oplog.measure(data, contest.scratch, parts, problems.append)
    lines = oplog.lines(found, load_before, os.getloadavg()[0], data.program.name)
    if problems:
        lines += ["", "PROBLEMS: " + "; ".join(problems)]
        contest.problems += problems
    return lines, found


def write_results(snapshots, of_oplog):
    """None: what the file says stays."""
    path = pathlib.Path(os.environ.get("RESULTS") or HERE / "results.md")
    before, _, after = (path.read_text(encoding="utf-8") if path.exists() else "").partition(OPLOG_HEAD)
    sections = [snapshots if snapshots is not None else before.strip(), of_oplog if of_oplog is not None else f"{OPLOG_HEAD}{after}".strip() if after else ""]
    path.write_text("\n\n".join(section for section in sections if section) + "\n", encoding="utf-8")


def main():
    os.environ["LC_ALL"] = "C.UTF-8"
    WORK.mkdir(parents=True, exist_ok=True)
    subprocess.run([ROOT / "tools" / "build.sh", "bench"], check=True)
    names = listed("TOOLS", [tool.name for tool in TOOLS])
    parts = listed("PARTS", PARTS)
    data = Data(parts)
    scratch = pathlib.Path(os.environ.get("SCRATCH") or WORK / "scratch").resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    notes = get_tools.use_newest(names) if "contest" in parts else []
    # Nobody can be asked to install the one that Debian does not have.
    if not os.environ.get("TOOLS") and any(tool.name == "kopia" and tool.missing() for tool in TOOLS):
        names.remove("kopia")
    contest = Contest(data.before, data.after, scratch, int(os.environ.get("RUNS") or 3), os.environ.get("COLD", "") not in ("", "0"), names)
    need = 3 * contest.bytes
    if shutil.disk_usage(scratch).free < need:
        raise SystemExit(f"bench: {scratch} needs {need // MIB} MiB free")
    snapshots = of_oplog = limits = None
    found = {}
    if set(SNAPSHOT_PARTS) & set(parts):
        snapshots, limits, found = snapshot_section(contest, data, parts, notes)
    if set(oplog.PARTS) & set(parts):
        of_oplog, of_parts = oplog_section(contest, data, parts)
        found.update(of_parts)
    texts = ["\n".join(lines) if lines is not None else None for lines in (snapshots, of_oplog)]
    write_results(*texts)
    costs = {f"{tool} {work}": [vars(cost) for cost in costs] for (tool, work), costs in contest.costs.items()}
    (WORK / "results.json").write_text(json.dumps({"bytes": contest.bytes, "files": contest.files, "costs": costs, "stored": contest.stored, "grown": contest.grown,
                                                   "new_bytes": contest.new_bytes, "holdfast": contest.details.get("holdfast"), "limits": limits, "parts": found,
                                                   "problems": contest.problems}, indent=1, default=str), encoding="utf-8")
    print("\n\n".join(text for text in texts if text))
    return 1 if contest.problems else 0


if __name__ == "__main__":
    sys.exit(main())
