#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`make bench`: Holdfast beside restic, borg, tar with zstd and cp, on the same files, in one run.

Works: a full capture, one with nothing changed (twice: as the tool decides what to read, and reading all), a restore into
an empty directory, a verification that reads all content. The restored trees are hashed: a difference, or a command that
fails, makes the exit code 1. Speed never does.

Environment (or `make bench NAME=value`):
  SIZE=2GiB    size of the data set, made by the sandbox and kept in build/bench
  DBPATH=DIR   files that a real server wrote (and that nobody writes now), instead
  RUNS=3       how often each tool does each work; the order of the tools moves on with each run; medians are shown
  COLD=1       drop the pages of the files from the page cache before each work; else all are read once before
  TOOLS=a,b    only these of: holdfast restic borg tar cp
  SCRATCH=DIR  where repositories and restored trees go (build/bench/scratch): the disk that is measured

Holdfast and restic sync what they store, cp and tar do not, and only Holdfast syncs what it restores: so for every tool the
time of a capture and of a restore ends when each file that it wrote is synced.
"""
import hashlib
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / "build" / "bench"
PROGRAMS = WORK / "programs" / "bench"
MIB = 1 << 20
WORKS = {"full": "full capture", "same": "nothing changed", "same_read": "nothing changed, all read", "restore": "restore, empty directory",
         "verify": "verify all content"}


UNITS = {"": 1, "k": 1 << 10, "m": MIB, "g": 1 << 30, "t": 1 << 40}


def parse_size(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if not match:
        raise SystemExit(f"bench: '{text}' is not a size: 2GiB, 256M, 20g")
    return int(float(match[1]) * UNITS[match[2]])


# ---- Files ----


def files_below(top):
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(files):
            yield os.path.join(directory, name)


def size_below(top):
    return sum(os.lstat(path).st_size for path in files_below(top))


def tree_hash(top):
    """One hash over path, mode and content of every file."""
    whole = hashlib.sha256()
    for path in files_below(top):
        one = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(MIB):
                one.update(piece)
        mode = os.stat(path).st_mode & 0o7777
        whole.update(f"{os.path.relpath(path, top)}\0{mode:o}\0{one.hexdigest()}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def sync_below(top):
    for path in list(files_below(top)) + [directory for directory, _, _ in os.walk(top)]:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def warm(top):
    for path in files_below(top):
        with open(path, "rb", buffering=0) as file:
            while file.read(MIB):
                pass


def chill(top):
    """Drops the files' pages from the page cache; no right is needed for one's own files, and nobody else's pages go."""
    sync_below(top)
    for path in files_below(top):
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def clear(path):
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


# ---- Running ----


class Failed(Exception):
    pass


class Cost:
    def __init__(self, seconds, cpu_s, peak_bytes):
        self.seconds, self.cpu_s, self.peak_bytes = seconds, cpu_s, peak_bytes


def call(argv, cwd=None, env=None, written=None, log=None):
    """Runs it; the time ends when what it wrote (a directory) is synced. CPU and memory are its own and its children's."""
    with open(log or os.devnull, "ab") as err:
        began = time.monotonic()
        process = subprocess.Popen([str(word) for word in argv], cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=err)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        if process.returncode != 0:
            raise Failed(f"{' '.join(map(str, argv))[:200]} ended with {process.returncode}; log: {log}")
        if written:
            sync_below(written)
        seconds = time.monotonic() - began
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024), output


class Tool:
    """One contestant: `store` is its repository, below a directory of its own."""

    needs = ()
    works = tuple(WORKS)

    def __init__(self, scratch, source):
        self.dir, self.source = scratch / self.name, source
        self.store = self.dir / "store"
        self.log = WORK / f"{self.name}.log"
        self.env = {}

    def missing(self):
        return [program for program in self.needs if not shutil.which(program)]

    def prepare(self):
        clear(self.dir)
        self.store.mkdir(parents=True)

    def call(self, argv, **more):
        return call(argv, env=self.env, log=self.log, **more)[0]


class Holdfast(Tool):
    name, title = "holdfast", "Holdfast (zstd 1, AES-256-GCM)"
    needs = (str(PROGRAMS / "store_bench"),)

    def prepare(self):
        clear(self.dir)
        self.dir.mkdir(parents=True)
        self.details = {}

    def bench(self, work, *arguments, **more):
        cost, output = call([PROGRAMS / "store_bench", *arguments], log=self.log, **more)
        self.details[work] = json.loads(output)
        cost.peak_bytes = self.details[work]["peak_bytes"]
        return cost

    def full(self):
        cost = self.bench("full", "capture", self.source, self.store, written=self.dir)
        self.snapshot = self.details["full"]["id"]
        return cost

    def same(self):
        return self.bench("same", "capture", self.source, self.store, "--parent", written=self.dir)

    def same_read(self):
        return self.bench("same_read", "capture", self.source, self.store, "--parent", "--read-all", written=self.dir)

    def restore(self, to):
        return self.bench("restore", "restore", self.store, self.snapshot, to, written=to)

    def verify(self):
        return self.bench("verify", "verify", self.store)


class Restic(Tool):
    name, title = "restic", "restic (zstd auto, AES-256-CTR)"
    needs = ("restic",)

    def prepare(self):
        super().prepare()
        self.env = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self.store), "RESTIC_CACHE_DIR": str(self.dir / "cache")}
        self.call(["restic", "init", "--repository-version", "2", "-q"])

    def full(self):
        return self.call(["restic", "backup", "-q", "."], cwd=self.source, written=self.store)

    def same(self):
        return self.call(["restic", "backup", "-q", "."], cwd=self.source, written=self.store)

    def same_read(self):
        return self.call(["restic", "backup", "-q", "--force", "."], cwd=self.source, written=self.store)

    def restore(self, to):
        return self.call(["restic", "restore", "-q", "latest", "--target", to], written=to)

    def verify(self):
        return self.call(["restic", "check", "-q", "--read-data"])


class Borg(Tool):
    name, title = "borg", "borg (zstd 1, AES-256-CTR)"
    needs = ("borg",)

    def prepare(self):
        super().prepare()
        self.env = {"BORG_PASSPHRASE": "bench", "BORG_REPO": str(self.store), "BORG_BASE_DIR": str(self.dir / "base")}
        (self.dir / "base").mkdir()
        self.call(["borg", "init", "-e", "repokey"])

    def create(self, name, *more):
        return self.call(["borg", "create", "--compression", "zstd,1", *more, f"::{name}", "."], cwd=self.source, written=self.store)

    def full(self):
        return self.create("full")

    def same(self):
        return self.create("same")

    def same_read(self):
        return self.create("same_read", "--files-cache=disabled")

    def restore(self, to):
        return self.call(["borg", "extract", "::full"], cwd=to, written=to)

    def verify(self):
        return self.call(["borg", "check", "--verify-data"])


class Tar(Tool):
    name, title = "tar", "tar, zstd -1 -T0"
    needs = ("tar", "zstd", "bash")
    works = ("full", "restore", "verify")

    def shell(self, script, **more):
        return self.call(["bash", "-c", "set -o pipefail; " + script, "bash", self.source, self.store / "all.tar.zst"], **more)

    def full(self):
        return self.shell('tar -C "$1" -cf - . | zstd -q -1 -T0 -o "$2"', written=self.store)

    def restore(self, to):
        return self.shell('zstd -q -dc "$2" | tar -xf -', cwd=to, written=to)

    def verify(self):
        return self.shell('zstd -q -t "$2"')


class Copy(Tool):
    name, title = "cp", "cp -a"
    needs = ("cp",)
    works = ("full", "restore")

    def full(self):
        return self.call(["cp", "-a", "--reflink=never", f"{self.source}/.", self.store], written=self.store)

    def restore(self, to):
        return self.call(["cp", "-a", "--reflink=never", f"{self.store}/.", to], written=to)


TOOLS = [Holdfast, Restic, Borg, Tar, Copy]


# ---- The bench ----


class Bench:
    def __init__(self, source, scratch, runs, cold, names):
        self.source, self.scratch, self.runs, self.cold = source, scratch, runs, cold
        self.problems, self.costs, self.stored, self.details = [], {}, {}, {}
        self.tools = [tool(scratch, source) for tool in TOOLS if tool.name in names]
        self.bytes = size_below(source)
        self.files = sum(1 for _ in files_below(source))
        self.hash = tree_hash(source)

    def problem(self, text):
        self.problems.append(text)
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def once(self, tool, work, *arguments):
        for top in ((self.source,) if work in ("full", "same", "same_read") else (tool.store,)):
            (chill if self.cold else warm)(top)
        cost = getattr(tool, work)(*arguments)
        self.costs.setdefault((tool.name, work), []).append(cost)
        print(f"bench: {tool.name:9} {WORKS[work]:27} {cost.seconds:8.2f} s {cost.cpu_s:8.2f} CPU s {cost.peak_bytes / MIB:6.0f} MiB",
              file=sys.stderr, flush=True)

    def run_tool(self, tool):
        restored = self.scratch / "restored"
        tool.prepare()
        try:
            for work in tool.works:
                if work == "restore":
                    clear(restored)
                    restored.mkdir()
                    self.once(tool, work, restored)
                    if tree_hash(restored) != self.hash:
                        self.problem(f"{tool.name}: what it restored differs from the source")
                    clear(restored)
                else:
                    self.once(tool, work)
                if work == "full":
                    self.stored.setdefault(tool.name, []).append(size_below(tool.store))
        except Failed as failed:
            self.problem(f"{tool.name}: {failed}")
        finally:
            self.details[tool.name] = getattr(tool, "details", None)
            clear(tool.dir)
            clear(restored)

    def run(self):
        usable = []
        for tool in self.tools:
            if missing := tool.missing():
                self.problem(f"{tool.name} is left out: there is no {', '.join(missing)}; hint: make setup")
            else:
                tool.log.unlink(missing_ok=True)
                usable.append(tool)
        for number in range(self.runs):
            turn = number % max(len(usable), 1)
            for tool in usable[turn:] + usable[:turn]:
                self.run_tool(tool)
        if tree_hash(self.source) != self.hash:
            self.problem("the source changed while it was measured: the numbers mean nothing")

    def median(self, tool, work, field):
        costs = self.costs.get((tool, work))
        return statistics.median(getattr(cost, field) for cost in costs) if costs else None

    def rows(self, work):
        seconds = {tool.name: self.median(tool.name, work, "seconds") for tool in self.tools}
        for tool in self.tools:
            mine = seconds[tool.name]
            if mine is None:
                continue
            times = [cost.seconds for cost in self.costs[(tool.name, work)]]

            def beside(other):
                return f"{seconds[other] / mine:.2f}" if seconds.get(other) else "–"

            stored = statistics.median(self.stored[tool.name]) if work == "full" and tool.name in self.stored else None
            yield [tool.title, f"{mine:.2f}", f"{min(times):.2f}–{max(times):.2f}", f"{self.bytes / mine / 1e6:.0f}", beside("cp"), beside("restic"),
                   f"{self.median(tool.name, work, 'cpu_s'):.2f}", f"{self.median(tool.name, work, 'peak_bytes') / MIB:.0f}",
                   f"{stored / MIB:.0f} ({stored / self.bytes:.3f})" if stored else ""]


def table(title, heads, rows):
    lines = [f"\n### {title}\n", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def limits_lines(limits):
    if not limits:
        return []
    rows = [[name.replace("_", " "), *(f"{limits[kind][name] / 1e6:.0f}" for kind in ("one_core", "all_cores", "cpu_second"))]
            for name in limits["one_core"]]
    return table("The machine's own limits on these files, MB/s", ["work", "one core", f"all {limits['cores']}", "a CPU second"],
                 rows + [["write, synced objects of 16 MiB", f"{limits['write_synced'] / 1e6:.0f}", "", ""]])


def measure_limits(bench):
    scratch = bench.scratch / "limits"
    clear(scratch)
    scratch.mkdir(parents=True)
    warm(bench.source)
    try:
        return json.loads(call([PROGRAMS / "machine_limits", bench.source, scratch], log=WORK / "limits.log")[1])
    except Failed as failed:
        bench.problem(str(failed))
        return None
    finally:
        clear(scratch)


def versions():
    out = []
    for argv in (["restic", "version"], ["borg", "--version"], ["zstd", "--version"], ["cp", "--version"]):
        if shutil.which(argv[0]):
            out.append(subprocess.run(argv, stdout=subprocess.PIPE, check=False).stdout.decode().splitlines()[0].strip(" *"))
    return out


def cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def report(bench, limits, loads):
    heads = ["tool", "seconds", "range", "MB/s", "times cp", "times restic", "CPU s", "peak MiB", "stored MiB (of source)"]
    lines = [f"## {bench.files} files, {bench.bytes / MIB:.0f} MiB, {'cold' if bench.cold else 'warm'} page cache, median of {bench.runs}", "",
             f"{os.cpu_count()} cores ({cpu_model()}), Linux {platform.release()}; load before {loads[0]:.1f}, after {loads[1]:.1f}. {'; '.join(versions())}.",
             "A rate is source bytes by seconds; a time ends when what was written is synced. \"times cp\" 0.5: half of cp's rate.",
             # Linux counts what a process was before it became the program that is measured: this one.
             f"Memory below {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // MIB + 1} MiB is seen of Holdfast only."]
    for work, title in WORKS.items():
        lines += table(title, heads, bench.rows(work))
    lines += limits_lines(limits)
    lines += ["", "Every restored tree equals its source (sha256 of paths, modes and contents)." if not bench.problems else
              "PROBLEMS: " + "; ".join(bench.problems)]
    return "\n".join(lines) + "\n"


def find_source():
    if named := os.environ.get("DBPATH"):
        source = pathlib.Path(named).resolve()
        if not source.is_dir():
            raise SystemExit(f"bench: there is no directory {source}")
        lock = source / "mongod.lock"
        if lock.exists() and lock.stat().st_size > 0:
            raise SystemExit(f"bench: a server runs on {source} (mongod.lock is not empty), or died there; copy the files first")
        odd = [path for path in files_below(source) if os.path.islink(path) or not os.path.isfile(path)]
        if odd:
            raise SystemExit(f"bench: {odd[0]} is no regular file")
        return source
    mib = parse_size(os.environ.get("SIZE") or "2GiB") // MIB
    source = WORK / f"data-{mib}m"
    if not source.exists():
        sandbox = ROOT / "build" / "holdfast-sandbox"
        subprocess.run([sys.executable, HERE / "make_data.py", "--mib", str(mib), "--to", source, "--program", sandbox], check=True)
    return source


def main():
    os.environ["LC_ALL"] = "C.UTF-8"
    WORK.mkdir(parents=True, exist_ok=True)
    subprocess.run([ROOT / "tools" / "build.sh", "bench"], check=True)
    names = [name for name in (os.environ.get("TOOLS") or ",".join(tool.name for tool in TOOLS)).split(",") if name]
    if unknown := set(names) - {tool.name for tool in TOOLS}:
        raise SystemExit(f"bench: no tool named {', '.join(sorted(unknown))}")
    source = find_source()
    scratch = pathlib.Path(os.environ.get("SCRATCH") or WORK / "scratch").resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    bench = Bench(source, scratch, int(os.environ.get("RUNS") or 3), os.environ.get("COLD", "") not in ("", "0"), names)
    need = 3 * bench.bytes
    if shutil.disk_usage(scratch).free < need:
        raise SystemExit(f"bench: {scratch} needs {need // MIB} MiB free")
    load_before = os.getloadavg()[0]
    limits = measure_limits(bench)
    bench.run()
    text = report(bench, limits, (load_before, os.getloadavg()[0]))
    (WORK / "results.md").write_text(text, encoding="utf-8")
    costs = {f"{tool} {work}": [vars(cost) for cost in costs] for (tool, work), costs in bench.costs.items()}
    (WORK / "results.json").write_text(json.dumps({"bytes": bench.bytes, "files": bench.files, "costs": costs, "stored": bench.stored,
                                                   "holdfast": bench.details.get("holdfast"), "limits": limits,
                                                   "problems": bench.problems}, indent=1), encoding="utf-8")
    print(text)
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
