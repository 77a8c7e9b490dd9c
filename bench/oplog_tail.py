#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast a tail catches up, beside the plain speed of reading the same oplog, and how late it is while a member writes flat out.

    HOLDFAST=build/holdfast HOLDFAST_SANDBOX=build/holdfast-sandbox HOLDFAST_TEST_MONGOD=/usr/bin/mongod python3 bench/oplog_tail.py [ENTRIES]

needs `tools/build.sh product` and `tools/build.sh bench`. Member, agent and server share the machine. The tail's rate is taken between
the first slice of the backlog and the last, from when the server had each one; the two ways of reading take turns, best of two.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "integration"))
import harness
from slices import Slice

READER = HERE.parent / "build/bench/programs/bench/oplog_read"
WRITERS, LOAD_S = 2, 15
FULL_BYTES = 7 << 20  # a slice that was closed by its size


def member_of(scratch):
    member = harness.Member(scratch, "member", arguments=["--replSet", "rs0", "--oplogSize", "4096"]).start()
    member.client.admin.command("replSetInitiate", {"_id": "rs0", "members": [{"_id": 0, "host": member.host}]})
    harness.wait_for(member.is_primary, "the primary")
    return member


def write(member, count, until=None):
    """So many small documents, or as many as until then."""
    collection, done = member.scratch.client(member.address, directConnection=True)["app"]["c"], 0
    while done < count and (until is None or time.monotonic() < until):
        collection.insert_many([{"n": done + i, "name": "a customer of ours", "blob": os.urandom(250)} for i in range(5000)], ordered=False)
        done += 5000
    return done


def slices(server):
    found = [(path, path.stat().st_mtime) for path in server.store_dir.rglob("*") if path.is_file() and "/o/" in str(path) and not path.name.startswith(".")]
    return sorted(((Slice(path.read_bytes(), path.name), when) for path, when in found), key=lambda one: one[0].last)


def wait_saved(member, server):
    last = member.client["app"].command({"insert": "mark", "documents": [{}], "writeConcern": {"w": "majority"}})["opTime"]["ts"]
    harness.wait_for(lambda: slices(server)[-1][0].last[:2] >= (last.time, last.inc), "all to be saved", 600, every=1)


def read(how, member):
    return json.loads(subprocess.run([READER, how, member.address], check=True, capture_output=True, text=True).stdout)


def peak_mib(agent):
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{agent.popen.pid}/status").read_text()).group(1)) >> 10


def main():
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
    scratch = harness.Scratch("bench-oplog")
    server = harness.Server(scratch, arguments=["--plain-store", "--minimum-oplog-window", "0"]).start()
    member = member_of(scratch)
    member.host = member.address
    agent = harness.Agent(scratch, "agent", server, member.host, [member.host]).start()
    cli = harness.Cli(scratch)
    harness.wait_for(lambda: [one for agent_ in cli("agent", "list")["results"] for one in agent_["members"] if not one.get("refusal")], "the member", every=0.3)
    cli("job", "start", "--set", "rs0")
    harness.wait_for(lambda: slices(server), "the first slice", 120, every=0.5)
    agent.stop()
    before = slices(server)[-1][0].last
    write(member, entries)
    runs = {how: [] for how in ("plain", "tail")}
    for _ in range(2):
        for how in runs:
            runs[how].append(read(how, member))
    best = {how: min(of, key=lambda one: one["ms"]) for how, of in runs.items()}
    rate = {how: one["entries"] / one["ms"] * 1000 for how, one in best.items()}
    agent.start()
    wait_saved(member, server)
    backlog = [(one, when) for one, when in slices(server) if one.last > before]
    full = [(one, when) for one, when in backlog if len(one.data) >= FULL_BYTES]
    if len(full) < 3:
        raise SystemExit("the backlog is too small: more entries are needed")
    took = full[-1][1] - full[0][1]
    tailed = sum(one.entry_count for one, _ in full[1:]) / took
    plain_bytes = sum(one.plain_bytes for one, _ in full[1:]) / took
    peak = peak_mib(agent)
    print(f"oplog of {best['plain']['entries']} entries, {best['plain']['bytes'] / best['plain']['entries']:.0f} bytes each")
    print(f"read, driver's cursor   {rate['plain']:9.0f} entries/s")
    print(f"read, the tail's reader {rate['tail']:9.0f} entries/s  {rate['tail'] / rate['plain']:.2f} of it")
    print(f"tail, to the store      {tailed:9.0f} entries/s  {tailed / rate['plain']:.2f} of it, {plain_bytes / 1e6:.1f} MB/s, over {len(full)} slices and {took:.1f} s")
    after = slices(server)[-1][0].last
    until, done = time.monotonic() + LOAD_S, []
    threads = [threading.Thread(target=lambda: done.append(write(member, 1 << 40, until))) for _ in range(WRITERS)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    wait_saved(member, server)
    late = [when - one.first[0] for one, when in slices(server) if one.last > after and one.entry_count > 1000]
    print(f"under load of {sum(done) / LOAD_S:.0f} writes/s: a slice was durable at most {max(late):.1f} s after its first entry's second")
    print(f"agent resident at most {peak} MiB while it caught up, {peak_mib(agent)} MiB in the end")
    scratch.close()


if __name__ == "__main__":
    main()
