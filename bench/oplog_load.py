# SPDX-License-Identifier: Apache-2.0
"""What tail and capture take from a member that is written to flat out: windows in turn, without anything, with a tail, with a tail
while a full snapshot is taken, and the same with a limit of the capture's reading. Each window is held against the two beside it, in
which no agent and no server runs.

Twice: all processes share all cores; and with member and agent on one core, as on a host of their own, writer and server on the others.
"""
import contextlib
import os
import subprocess
import sys
import time

import oplog_stand
from measure import MIB, Failed
from source import Deployed, Writer, harness, start_member

ROUNDS = {"apart": 2, "shared": 1}
WINDOW_S = 5.0
SETTLE_S = 1.5
LIMIT_BYTES_S = 32 * MIB
MODES = ("tail", "capture", "limited")


def pin(pid, cores):
    """All its threads, and those it will start."""
    if cores is not None:
        subprocess.run(["taskset", "-a", "-c", "-p", ",".join(map(str, cores)), str(pid)], check=True, stdout=subprocess.DEVNULL)


def cores_of(apart):
    """Of member and agent; of writer and server."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[:1], cores[1:]) if apart and len(cores) > 1 else (None, None)


def with_product(scratch, port, mode, places):
    """A window while the product runs: when it began and ended, and the seconds of a snapshot that came to its end."""
    arguments = ["--rate-limit", str(LIMIT_BYTES_S)] if mode == "limited" else []
    with Deployed(scratch, port, arguments) as deployed:
        pin(deployed.agent.popen.pid, places[0])
        pin(deployed.server.popen.pid, places[1])
        harness.wait_tail([deployed.agent])
        time.sleep(SETTLE_S)
        began, state = time.monotonic(), None
        if mode != "tail":
            snapshot = deployed.cli("snapshot", "take", "--set", "bench", "--no-wait")["id"]
        while time.monotonic() < began + WINDOW_S:
            time.sleep(0.2)
            if mode != "tail":
                state = deployed.cli("snapshot", "show", "--snapshot", snapshot)["state"]
                if state != "IN_PROGRESS":
                    break
        ended = time.monotonic()
        if state not in (None, "IN_PROGRESS", "COMPLETE"):
            raise Failed(f"the snapshot is {state}")
    return {"mode": mode, "began": began, "ended": ended, "complete": state == "COMPLETE"}


def alone():
    time.sleep(SETTLE_S)
    began = time.monotonic()
    time.sleep(WINDOW_S)
    return {"mode": "alone", "began": began, "ended": time.monotonic()}


def one_round(scratch, port, places, modes):
    writer = Writer(port)
    try:
        pin(writer.process.pid, places[1])
        time.sleep(SETTLE_S)
        windows = [alone()]
        for mode in modes:
            windows += [with_product(scratch, port, mode, places), alone()]
        time.sleep(0.2)
    finally:
        writer.stop()
    for window in windows:
        window["rate"] = writer.rate(window["began"], window["ended"])
    for i in range(1, len(windows), 2):
        windows[i]["lost"] = 1 - windows[i]["rate"] / ((windows[i - 1]["rate"] + windows[i + 1]["rate"]) / 2)
    return windows


def measure(data, scratch_dir):
    scratch = oplog_stand.new_scratch("bench-load", scratch_dir)
    try:
        _, port, client = start_member(scratch, data)
        client.admin.command("fsync")
        member = next(process for process in scratch.processes if process.name == "member")
        found = {"limit": LIMIT_BYTES_S, "shared": [], "apart": []}
        for way, rounds in ROUNDS.items():
            places = cores_of(way == "apart")
            if way == "apart" and places[0] is None:
                continue
            pin(member.popen.pid, places[0] or sorted(os.sched_getaffinity(0)))
            for number in range(rounds):
                print(f"bench: load, {way}, round {number + 1} ...", file=sys.stderr, flush=True)
                found[way].append(one_round(scratch, port, places, MODES if number % 2 == 0 else MODES[::-1]))
        return found
    except BaseException:
        with contextlib.suppress(OSError):
            scratch.show()
        raise
    finally:
        scratch.close()
