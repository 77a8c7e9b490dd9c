# SPDX-License-Identifier: Apache-2.0
"""The product as it is used: a member, an agent and a server as processes of their own. How fast a snapshot is taken and how
much memory that needs; what it costs the member (write throughput, page cache).
"""
import bisect
import ctypes
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from measure import HERE, MIB, Failed, chill, files_below, size_below, warm
from way_through import cpu_seconds, harness, status_bytes

ROUNDS = 3
HALF_ROUNDS = 2
SNAPSHOT_LIMIT_S = 3600
BASE_S = (3.0, 20.0)  # least and most of a window without a capture
SETTLE_S = 2.0        # what a window leaves out after the writer began
PAGE = mmap.PAGESIZE


# ---- The member ----


def start_member(scratch, data, address="127.0.0.1"):
    """A member on a copy of the data set, as the primary that it was. The address is where it listens; the set calls it by 127.0.0.1."""
    port = int(data.about["address"].rpartition(":")[2])
    dbpath = scratch.dir / "member" / "db"
    shutil.copytree(data.before, dbpath)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cache_gb = min(max(size_below(dbpath) // 2, 1 << 28), memory // 8) / (1 << 30)
    process = harness.Process(scratch, "member", [data.program, "--dbpath", dbpath, "--port", port, "--bind_ip", address, "--replSet", "bench",
                                                  "--wiredTigerCacheSizeGB", f"{cache_gb:.2f}"])
    process.out = process.log
    process.start()
    client = scratch.client(address, port, directConnection=True)
    def primary():
        if not process.alive():
            raise Failed(f"the member ended with {process.popen.returncode}: {process.tail(5)}")
        return client.admin.command("hello").get("isWritablePrimary")
    harness.wait_for(primary, "the member to be primary", 300)
    return dbpath, port, client


class Deployed:
    """A new server with a new store, an agent with default limits, a job that has begun."""

    made = 0

    def __init__(self, scratch, port, agent_arguments=()):
        Deployed.made += 1
        self.server = harness.Server(scratch, f"server-{Deployed.made}").start()
        restored = scratch.dir / f"restored-{Deployed.made}"
        self.agent = harness.Agent(scratch, f"agent-{Deployed.made}", self.server, f"127.0.0.1:{port}", [f"127.0.0.1:{port}"], restored,
                                   arguments=agent_arguments).start()
        self.restored = restored
        self.cli = harness.Cli(scratch, self.server.data / "cli.profile")
        harness.wait_for(lambda: [one for agent in self.cli("agent", "list")["results"] for one in agent["members"] if not one.get("refusal")],
                         "the member at the server", every=0.2)
        self.cli("job", "start", "--set", "bench")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.agent, self.server):
            process.stop()
        shutil.rmtree(self.server.store_dir, ignore_errors=True)
        shutil.rmtree(self.restored, ignore_errors=True)

    def pids(self):
        return {"agent": self.agent.popen.pid, "server": self.server.popen.pid}

    def take(self):
        """A snapshot; when it began and ended by the monotonic clock, and the CPU seconds of both processes."""
        cpu = {name: cpu_seconds(pid) for name, pid in self.pids().items()}
        began = time.monotonic()
        snapshot = self.cli("snapshot", "take", "--set", "bench", limit=SNAPSHOT_LIMIT_S)
        ended = time.monotonic()
        if snapshot["state"] != "COMPLETE":
            raise Failed(f"the snapshot ended {snapshot['state']}: {snapshot}")
        return {"began": began, "ended": ended, "seconds": ended - began, **{name: snapshot[name] for name in ("id", "bytes", "files")},
                "cpu_seconds": {name: cpu_seconds(pid) - cpu[name] for name, pid in self.pids().items()}}

    def restore(self, snapshot):
        """Into a directory on the agent's host."""
        began = time.monotonic()
        record = self.cli("restore", "start", "--snapshot", snapshot, "--to", self.restored / "all", limit=SNAPSHOT_LIMIT_S)
        if record["state"] != "FINISHED":
            raise Failed(f"the restore ended {record['state']}: {record}")
        return time.monotonic() - began

    def peaks(self):
        return {name: status_bytes(pid, "VmHWM") for name, pid in self.pids().items()}


# ---- Page cache ----


def tables(dbpath):
    """The files that a database caches; those of its log come and go."""
    return [path for path in files_below(dbpath) if path.endswith(".wt")]


def resident(paths):
    """Which pages of each file are in the page cache: path to bytes, one a page."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    found = {}
    for path in paths:
        size = os.path.getsize(path)
        if size == 0:
            continue
        pages = (ctypes.c_ubyte * (-(-size // PAGE)))()
        handle = os.open(path, os.O_RDONLY)
        address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, handle, 0)
        os.close(handle)
        if address in (None, ctypes.c_void_p(-1).value):
            raise Failed(f"mmap {path}: {os.strerror(ctypes.get_errno())}")
        failed = libc.mincore(address, size, pages)
        libc.munmap(address, size)
        if failed:
            raise Failed(f"mincore {path}: {os.strerror(ctypes.get_errno())}")
        found[path] = bytes(page & 1 for page in pages)
    return found


def page_cache(scratch, dbpath, port, client):
    """Half of every file is cached, as a database's would be; then a full snapshot reads all of it."""
    client.admin.command("fsync")
    paths = tables(dbpath)
    chill(paths)
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            left = os.path.getsize(path) // 2
            while left > 0 and (piece := file.read(min(MIB, left))):
                left -= len(piece)
    with Deployed(scratch, port) as deployed:
        before = resident(paths)
        deployed.take()
        after = resident(paths)
    pairs = [(was, now) for path, pages in before.items() for was, now in zip(pages, after[path])]
    return {"pages": sum(map(len, before.values())), "before": sum(map(sum, before.values())), "after": sum(map(sum, after.values())),
            "added": sum(1 for was, now in pairs if now and not was), "gone": sum(1 for was, now in pairs if was and not now)}


# ---- Write throughput ----


class Writer:
    def __init__(self, port, rate=0.0):
        self.out = tempfile.TemporaryFile("w+")  # a pipe that nobody reads is full after two minutes
        self.process = subprocess.Popen([sys.executable, HERE / "writer.py", str(port), "--rate", str(rate)], stdin=subprocess.PIPE, stdout=self.out,
                                        text=True, preexec_fn=harness._die_with_parent)

    def stop(self):
        """How far it was, and when."""
        self.process.communicate("")
        with self.out:
            self.out.seek(0)
            lines = self.out.read().splitlines()
        if self.process.returncode != 0:
            raise Failed(f"the writer ended with {self.process.returncode}")
        self.points = [tuple(map(float, line.split())) for line in lines]

    def documents_at(self, moment):
        at = bisect.bisect([when for when, _ in self.points], moment)
        if at in (0, len(self.points)):
            raise Failed("the writer said nothing at a moment that is measured")
        (t0, n0), (t1, n1) = self.points[at - 1:at + 1]
        return n0 + (n1 - n0) * (moment - t0) / (t1 - t0)

    def rate(self, began, ended):
        return (self.documents_at(ended) - self.documents_at(began)) / (ended - began)


def write_round(scratch, port, expected_s, rate):
    """Documents a second before, while and after a full snapshot is taken."""
    base_s = min(max(expected_s, BASE_S[0]), BASE_S[1])
    with Deployed(scratch, port) as deployed:
        writer = Writer(port, rate)
        try:
            time.sleep(SETTLE_S)
            began = time.monotonic()
            time.sleep(base_s)
            taken = deployed.take()
            time.sleep(base_s + 0.2)
        finally:
            writer.stop()
    before = writer.rate(began, began + base_s)
    during = writer.rate(taken["began"], taken["ended"])
    after = writer.rate(taken["ended"], taken["ended"] + base_s)
    return {"before": before, "during": during, "after": after, "seconds": taken["seconds"], "lost": 1 - during / ((before + after) / 2)}


def write_rounds(scratch, port, expected_s):
    flat_out = [write_round(scratch, port, expected_s, 0.0) for _ in range(ROUNDS)]
    half = statistics.median((one["before"] + one["after"]) / 2 for one in flat_out) / 2
    return {"flat_out": flat_out, "half": [write_round(scratch, port, expected_s, half) for _ in range(HALF_ROUNDS)], "half_rate": half}


def measure(data, scratch_dir):
    os.environ["HOLDFAST_TEST_TMP"] = str(scratch_dir)
    scratch = harness.Scratch("bench-source")
    scratch.env.pop("HOLDFAST_NICE")  # the tests' agents do not stand back: no default
    try:
        dbpath, port, client = start_member(scratch, data)
        client.admin.command("fsync")
        with Deployed(scratch, port) as deployed:
            warm(tables(dbpath))
            full = deployed.take()
            same = deployed.take()
            captured = deployed.peaks()
            restore_s = deployed.restore(full["id"])
            peaks = deployed.peaks()
        found = {"bytes": size_below(dbpath), "full": full, "same": same, "peaks_captures": captured, "restore_seconds": restore_s, "peaks": peaks,
                 "page_cache": page_cache(scratch, dbpath, port, client), "writes": write_rounds(scratch, port, full["seconds"])}
        return found
    except BaseException:
        scratch.show()
        raise
    finally:
        scratch.close()
