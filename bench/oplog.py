# SPDX-License-Identifier: Apache-2.0
"""The parts of the bench about the oplog, in order: tail and replay stand on one set and one backlog of entries; lag and load have
a set of their own. And the tables of what they found.
"""
import os
import sys

import get_tools
import oplog_load
import oplog_replay
import oplog_stand
import oplog_tail
from aims import Row, at_least, at_most
from measure import MIB, Failed
from report import table

PARTS = ("tail", "replay", "lag", "load")
ENTRIES, OPERATIONS = 1000000, 100000
REPLAY_ENTRIES, REAL_OPERATIONS = 200000, 20000  # a real server, and mongorestore, need long for them
LAG_RATE, LAG_S = 50000, 30
MEMORY_BYTES = 64 * MIB
AIM_MEMORY = "{} under 64 MiB resident, whatever the length"


# ---- Measuring ----


def tail_and_replay(parts, scratch_dir, program, real):
    """The base is a snapshot from before the backlog; of the backlog, the first operations are of all kinds, the rest are inserts."""
    oplog_stand.use_program(program)
    entries = int(os.environ.get("ENTRIES") or (ENTRIES if "tail" in parts or not real else REPLAY_ENTRIES))
    operations = min(int(os.environ.get("OPERATIONS") or (REAL_OPERATIONS if real else OPERATIONS)), entries // 2)
    found = {}
    scratch = oplog_stand.new_scratch("bench-oplog", scratch_dir)
    try:
        stand = oplog_stand.Stand(scratch)
        base = stand.cli("snapshot", "take", "--set", oplog_stand.SET)
        stand.agent.stop()
        mixed_last = stand.fill_mixed(operations)
        stand.fill(entries - operations)
        last = stand.last_written()
        if "tail" in parts:
            found["tail"] = oplog_tail.catch_up(stand)
        else:
            stand.agent.start()
            stand.wait_saved(last)
        if "replay" in parts:
            theirs, note = get_tools.mongorestore() if real else (None, "mongorestore needs a server that knows applyOps: REPLAY_MONGOD= names one")
            found["replay"] = {**oplog_replay.measure(stand, base, mixed_last, last, theirs), "note": note, "program": os.path.basename(program) if real else "the sandbox"}
        large = oplog_tail.large(stand)
        if "tail" in parts:
            found["tail"]["large"] = large
        if "replay" in parts:
            found["replay"]["large"] = oplog_replay.large(stand, base, large["last"])
    except BaseException:
        scratch.show()
        raise
    finally:
        scratch.close()
    return found


def measure(data, scratch_dir, parts, say):
    """What each part found; one that fails is told to say() and left out."""
    real, other = bool(os.environ.get("MONGOD")), os.environ.get("REPLAY_MONGOD")
    works = {("lag",): lambda _: {"lag": oplog_tail.lag(scratch_dir, LAG_RATE, float(os.environ.get("SECONDS") or LAG_S))},
             ("load",): lambda _: {"load": oplog_load.measure(data, scratch_dir)}}
    if other:
        works = {("tail",): lambda asked: tail_and_replay(asked, scratch_dir, data.program, real),
                 ("replay",): lambda asked: tail_and_replay(asked, scratch_dir, other, True), **works}
    else:
        works = {("tail", "replay"): lambda asked: tail_and_replay(asked, scratch_dir, data.program, real), **works}
    found = {}
    for names, work in works.items():
        asked = [name for name in names if name in parts]
        if not asked:
            continue
        print(f"bench: {', '.join(asked)} ...", file=sys.stderr, flush=True)
        oplog_stand.use_program(data.program)
        try:
            found.update(work(asked))
        except (Failed, AssertionError, OSError) as error:
            say(f"{', '.join(asked)}: {error}")
    return found


# ---- Telling ----


def mib(count):
    return f"{count / MIB:.0f}"


def tail_rows(tail):
    aim = "at least 0.9 of the plain speed of reading the oplog with the same driver"
    if not tail:
        return [Row("tail", aim), Row("memory", AIM_MEMORY.format("tail"))]
    plain = tail["read"]["plain"]
    text = (f"{tail['rate']:,.0f} entries/s, {tail['bytes_s'] / 1e6:.1f} MB/s over {tail['slices']} slices in {tail['seconds']:.1f} s; read plainly "
            f"{plain['rate']:,.0f} entries/s, {plain['bytes_s'] / 1e6:.1f} MB/s, by the tail's reader {tail['read']['tail']['rate']:,.0f}")
    peak = max(tail["peaks"]["agent"], tail["large"]["peaks"]["agent"])
    return [at_least("tail", aim, tail["bytes_s"] / plain["bytes_s"], 0.9, "{:.2f}", text),
            at_most("memory", AIM_MEMORY.format("tail"), peak / MIB, MEMORY_BYTES / MIB, "{:.0f} MiB",
                    f"the whole agent: {tail['entries']:,} entries {mib(tail['peaks']['agent'])}, {tail['large']['entries']} entries of 16 MB "
                    f"{mib(tail['large']['peaks']['agent'])}; the server {mib(tail['peaks']['server'])} and {mib(tail['large']['peaks']['server'])}")]


def median_rate(runs):
    return sorted(run["rate"] for run in runs)[len(runs) // 2] if len(runs) % 2 else sum(sorted(run["rate"] for run in runs)[len(runs) // 2 - 1:][:2]) / 2


def replay_rows(replay):
    aim = "at least 3 times the operations/s of mongorestore --oplogReplay"
    if not replay:
        return [Row("replay", aim), Row("memory", AIM_MEMORY.format("replay"))]
    ours = median_rate(replay["apply"])
    mine = f"{ours:,.0f} operations/s for {replay['apply'][0]['operations']:,} operations, {replay['long']['rate']:,.0f} for {replay['long']['operations']:,}"
    if replay["mongorestore"]:
        theirs = median_rate(replay["mongorestore"])
        row = at_least("replay", aim, ours / theirs, 3, "{:.2f}", f"{mine}; mongorestore {theirs:,.0f}")
    else:
        row = Row("replay", aim, text=f"{mine}; {replay['note']}")
    peak = max(replay["long"]["peak"], replay["large"]["peak"])
    return [row, at_most("memory", AIM_MEMORY.format("replay"), peak / MIB, MEMORY_BYTES / MIB, "{:.0f} MiB",
                         f"oplog apply without its servers: {replay['long']['operations']:,} operations {mib(replay['long']['peak'])}, and entries of 16 MB "
                         f"{mib(replay['large']['peak'])}")]


def lag_rows(lag):
    aim = "99 % of entries durable within 2 s of the slice's age"
    if not lag:
        return [Row("lag", aim)]
    return [at_least("lag", f"{aim}, under {lag['asked']:,} small writes/s or as many as the source manages", lag["in_time"], 0.99, "{:.1%}",
                     f"{lag['written']:,.0f} writes/s; an entry was acknowledged {lag['half']:.1f} s after it was written (half of them), {lag['p99']:.1f} s (99 %), "
                     f"{lag['most']:.1f} s (the last of {lag['entries']:,}); {lag['limit']:.0f} s are allowed")]


def losses(load, way, mode):
    return [window["lost"] for windows in load[way] for window in windows if window["mode"] == mode]


def load_rows(load):
    aim = "at most 5 % of the source's write throughput lost while tailing and capturing with a rate limit"
    if not load:
        return [Row("source", aim)]
    rows = []
    for way, conditions in (("apart", "member and agent on one core, writer and server on the other"), ("shared", "writer, member, agent and server on the same cores")):
        if not load[way]:
            continue
        lost = {mode: sum(losses(load, way, mode)) / len(load[way]) for mode in oplog_load.MODES}
        rows.append(Row("source", aim, f"{lost['limited']:.1%}", (1 - lost["limited"]) / 0.95,
                        f"{conditions}, written to flat out, limit {mib(load['limit'])} MiB/s; tail alone {lost['tail']:.1%}, with a capture without limit "
                        f"{lost['capture']:.1%}"))
    return rows


def cost_lines(tail):
    cpu = tail["cpu_gb"]
    whole = sum(cpu.values())
    return table("The tail: CPU seconds for a GB of entries", ["process", "CPU s", "share"],
                 [[name, f"{cpu[name]:.2f}", f"{cpu[name] / whole:.0%}"] for name in ("source", "agent", "server")]) + [
        "", f"All on the same cores: {os.cpu_count()} of them give {os.cpu_count() * 1e3 / whole:.0f} MB/s at most. {tail['bytes'] / tail['entries']:.0f} bytes an entry, "
            f"stored {tail['stored'] / tail['bytes']:.0%} of it. Plain readings: {', '.join(f'{rate:,.0f}' for rate in tail['read_rates'])} entries/s."]


def load_lines(load):
    rows = []
    for way in ("apart", "shared"):
        for number, windows in enumerate(load[way], 1):
            rows.append([f"{way}, round {number}", " ".join(f"{window['rate']:,.0f}" for window in windows if window["mode"] == "alone"),
                         *(next(f"{window['rate']:,.0f} ({-window['lost']:+.1%})" for window in windows if window["mode"] == mode) for mode in oplog_load.MODES)])
    return table("Documents a second in each window", ["round", "alone", "tail", "tail, capture", "tail, capture, limit"], rows)


def replay_lines(replay):
    rows = [["oplog apply", f"{run['operations']:,}", f"{run['seconds']:.1f}", f"{run['rate']:,.0f}", f"{run['cpu_seconds']:.1f}"] for run in replay["apply"]]
    rows += [["mongorestore", f"{run['operations']:,}", f"{run['seconds']:.1f}", f"{run['rate']:,.0f}", f"{run['cpu_seconds']:.1f}"]
             for run in replay["mongorestore"] or []]
    rows.append(["oplog apply, all", f"{replay['long']['operations']:,}", f"{replay['long']['seconds']:.1f}", f"{replay['long']['rate']:,.0f}",
                 f"{replay['long']['cpu_seconds']:.1f}"])
    return table(f"Replay, by {replay['program']}", ["by", "operations", "seconds", "operations/s", "CPU s with its servers"], rows) + [
        "", "Of all kinds: 70 % inserts, 20 % updates, 10 % deletes; behind them, in the row of all, inserts. oplog apply starts its server three times within its seconds; "
            "mongorestore's has run before."]


def lines(found, load_before, load_after, program):
    """The section of the oplog."""
    member = f"a mongod ({program})" if os.environ.get("MONGOD") else "the sandbox"
    text = ["## The oplog", "", f"The member is {member}; {os.cpu_count()} cores; load before {load_before:.1f}, after {load_after:.1f}.", "", "### Aims of the oplog", "",
            "| work | aim | verdict | measured | |", "|---|---|---|---:|---|"]
    rows = tail_rows(found.get("tail")) + replay_rows(found.get("replay")) + lag_rows(found.get("lag")) + load_rows(found.get("load"))
    text += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    for part, tell in (("tail", cost_lines), ("replay", replay_lines), ("load", load_lines)):
        if found.get(part):
            text += tell(found[part])
    return text
