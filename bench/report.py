# SPDX-License-Identifier: Apache-2.0
"""Tables: what the parts of the bench measured, the ratios first."""
import os
import platform
import statistics

from contest import GRAINS, WORKS
from measure import MIB


def table(title, heads, rows):
    lines = [f"\n### {title}\n", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def mib(count):
    return f"{count / MIB:.1f}" if count < 100 * MIB else f"{count / MIB:.0f}"


def limits_lines(limits):
    if not limits:
        return []
    rows = [[name.replace("_", " "), *(f"{limits[kind][name] / 1e6:.0f}" for kind in ("one_core", "all_cores", "cpu_second"))]
            for name in limits["one_core"]]
    return table("The machine's own limits on these files, MB/s", ["work", "one core", f"all {limits['cores']}", "a CPU second"],
                 rows + [["write, synced objects of 16 MiB", f"{limits['write_synced'] / 1e6:.0f}", "", ""]])


def work_rows(contest, work):
    seconds = {tool.name: contest.seconds(tool.name, work) for tool in contest.tools}
    for tool in contest.tools:
        mine = seconds[tool.name]
        if mine is None:
            continue
        times = [cost.seconds for cost in contest.costs[(tool.name, work)]]

        def beside(other):
            return f"{seconds[other] / mine:.2f}" if seconds.get(other) else "–"

        stored = statistics.median(contest.stored[tool.name]) if work == "full" and tool.name in contest.stored else None
        yield [tool.title, beside("restic"), beside("cp"), f"{mine:.2f}", f"{min(times):.2f}–{max(times):.2f}", f"{contest.bytes / mine / 1e6:.0f}",
               f"{contest.median(tool.name, work, 'cpu_s'):.2f}", f"{contest.median(tool.name, work, 'peak_bytes') / MIB:.0f}",
               f"{stored / MIB:.0f} ({stored / contest.bytes:.3f})" if stored else ""]


def changed_lines(contest):
    if not contest.grown:
        return []
    blocks = contest.changes.blocks
    rows = []
    for tool in contest.tools:
        if tool.name not in contest.grown:
            continue
        new = statistics.median(contest.new_bytes[tool.name]) if tool.name in contest.new_bytes else None
        grown = statistics.median(contest.grown[tool.name])
        rows.append([tool.title, *(f"{new / blocks[grain]:.2f}" if new is not None else "–" for grain in GRAINS), mib(new) if new is not None else "–", mib(grown),
                     f"{grown / blocks[GRAINS[0]]:.2f}"])
    sizes = ", ".join(f"{mib(blocks[grain])} MiB in blocks of {grain >> 10} KiB" for grain in GRAINS)
    return table("1 % of documents changed: what is new", ["tool", *(f"new by changed {grain >> 10} KiB" for grain in GRAINS), "new MiB", "stored MiB",
                                                             f"stored by changed {GRAINS[0] >> 10} KiB"], rows) + [
        "", f"Between the two states {contest.changes.files} files of {mib(contest.changes.file_bytes)} MiB differ: {sizes}, those full of zeros left out. "
            "New is what the tool says it had not, before compression (kopia and borg do not say); stored is what its repository grew by."]


def cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def head_lines(contest, loads):
    versions = [text for tool in contest.tools if (text := tool.version())]
    return [f"## {contest.files} files, {contest.bytes / MIB:.0f} MiB, {'cold' if contest.cold else 'warm'} page cache, median of {contest.runs}", "",
            f"{os.cpu_count()} cores ({cpu_model()}), Linux {platform.release()}; load before {loads[0]:.1f}, after {loads[1]:.1f}. {'; '.join(versions)}."]


def contest_lines(contest):
    if not contest.costs:
        return []
    heads = ["tool", "times restic", "times cp", "seconds", "range", "MB/s", "CPU s", "peak MiB", "stored MiB (of source)"]
    lines = ["", "A rate is source bytes by seconds; a time ends when what was written is synced. \"times cp\" 0.5: half of cp's rate.",
             # Linux counts what a process was before it became the program that is measured: this one.
             f"Memory below {contest.own_peak // MIB + 1} MiB is seen of Holdfast only."]
    for work, title in WORKS.items():
        if rows := list(work_rows(contest, work)):
            lines += table(title, heads, rows)
    return lines + changed_lines(contest)
