# SPDX-License-Identifier: Apache-2.0
"""The tail as it is used, by agent and server into a store in a directory: how fast it catches up beside the plain speed of reading
the same oplog with the same driver, what that costs each process, how much memory it needs; how late an entry is while a member
writes flat out.
"""
import json
import os
import re
import struct
import subprocess
import sys

from measure import HERE, Failed
from oplog_stand import FULL_BYTES, READER, Stand, harness, new_scratch
from way_through import status_bytes

READS = 2  # before, and half of it after
LARGE_ENTRIES, LARGE_BYTES = 12, (16 << 20) - 4096
SLICE_AGE_S = 10.0  # the default
LATE_S = 2.0
WALL = re.compile(rb"\x09wall\x00(.{8})", re.S)
TS = re.compile(rb"\x11ts\x00(.{8})", re.S)


def read(how, member):
    return json.loads(subprocess.run([READER, how, member.address], check=True, capture_output=True, text=True).stdout)


# ---- Catching up ----


def catch_up(stand):
    """The backlog was written while no agent ran. Rates are of full slices: from when the first was acknowledged to the last."""
    before = stand.last_saved()
    runs = {how: [] for how in ("plain", "tail")}
    for _ in range(READS):
        for how in runs:
            runs[how].append(read(how, stand.member))
    last = stand.last_written()
    stand.agent.start()
    cpu = {"agent": 0.0, **{name: seconds for name, seconds in stand.cpu().items() if name != "agent"}}
    stand.wait_saved(last)
    after = stand.cpu()
    peaks = {name: status_bytes(pid, "VmHWM") for name, pid in stand.pids().items()}
    for how in runs:
        runs[how].append(read(how, stand.member))
    backlog = [(one, when) for one, when in stand.slices() if one.last > before]
    full = [(one, when) for one, when in backlog if len(one.data) >= FULL_BYTES]
    if len(full) < 3:
        raise Failed(f"the backlog makes {len(full)} full slices: too few to measure; ENTRIES= says how many")
    took = full[-1][1] - full[0][1]
    plain_bytes = sum(one.plain_bytes for one, _ in backlog)
    best = {how: min(of, key=lambda one: one["ms"]) for how, of in runs.items()}
    return {"entries": sum(one.entry_count for one, _ in backlog), "bytes": plain_bytes, "stored": sum(len(one.data) for one, _ in backlog), "slices": len(full),
            "seconds": took, "rate": sum(one.entry_count for one, _ in full[1:]) / took, "bytes_s": sum(one.plain_bytes for one, _ in full[1:]) / took,
            "read": {how: {"rate": one["entries"] / one["ms"] * 1000, "bytes_s": one["bytes"] / one["ms"] * 1000} for how, one in best.items()},
            "read_rates": [one["entries"] / one["ms"] * 1000 for one in runs["plain"]],
            "cpu_gb": {name: (after[name] - cpu[name]) / plain_bytes * 1e9 for name in after}, "peaks": peaks}


def large(stand):
    """Entries of 16 MB, by an agent that was just started."""
    stand.agent.stop()
    stand.fill(LARGE_ENTRIES, LARGE_BYTES, "large")
    last = stand.last_written()
    stand.agent.start()
    stand.wait_saved(last)
    return {"entries": LARGE_ENTRIES, "last": last, "peaks": {name: status_bytes(pid, "VmHWM") for name, pid in stand.pids().items()}}


# ---- Lag ----


def walls(member_entries):
    """(ts, wall in seconds) of each entry."""
    for entry in member_entries:
        ts, wall = TS.search(entry), WALL.search(entry)
        if ts is None or wall is None:
            raise Failed("an oplog entry without ts or wall")
        yield struct.unpack("<II", ts[1])[::-1], struct.unpack("<q", wall[1])[0] / 1000


def late(stand, after, slices):
    """How many seconds after its own each entry was acknowledged, sorted."""
    found, at = [], 0
    for ts, wall in walls(stand.entries({"ts": {"$gt": after}}, {"ts": 1, "wall": 1})):
        while at < len(slices) and slices[at][0].last[:2] < ts:
            at += 1
        if at == len(slices):
            break
        found.append(slices[at][1] - wall)
    return sorted(found)


def lag(scratch_dir, rate, seconds):
    """Under as many small writes a second as asked for, or as the member takes."""
    scratch = new_scratch("bench-lag", scratch_dir)
    try:
        stand = Stand(scratch)
        after = stand.last_written()
        writer = subprocess.Popen([sys.executable, HERE / "writer.py", str(stand.member.port), "--rate", str(rate), "--batch", "1000", "--body", "64", "--seconds",
                                   str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=harness._die_with_parent)
        lines = writer.stdout.read().splitlines()
        if writer.wait() != 0:
            raise Failed(f"the writer ended with {writer.returncode}")
        points = [tuple(map(float, line.split())) for line in lines]
        last = stand.last_written()
        stand.wait_saved(last)
        delays = late(stand, after, [one for one in stand.slices() if one[0].last[:2] > (after.time, after.inc)])
        at = {share: delays[min(int(len(delays) * share), len(delays) - 1)] for share in (0.5, 0.99, 0.999)}
        limit = SLICE_AGE_S + LATE_S
        return {"asked": rate, "written": points[-1][1] / (points[-1][0] - points[0][0]), "entries": len(delays), "most": delays[-1], "half": at[0.5], "p99": at[0.99],
                "p999": at[0.999], "in_time": sum(1 for one in delays if one <= limit) / len(delays), "limit": limit,
                "peaks": {name: status_bytes(pid, "VmHWM") for name, pid in stand.pids().items()}}
    except BaseException:
        scratch.show()
        raise
    finally:
        scratch.close()
