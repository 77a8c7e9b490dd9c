# SPDX-License-Identifier: Apache-2.0
"""What the bench aims at, held against what it measured.

Everything that is compared was measured in the same run on the same machine; nothing here is a number of seconds of another
day. An aim whose measurement was left out is listed as such.
"""
import statistics

from contest import GRAINS
from measure import MIB

MEMORY_BYTES = 128 * MIB
IDLE_BYTES = 64 * MIB
MANY_FILES = 100000
CHANGED_GRAIN = GRAINS[1]  # the smallest block that a snapshot is cut into


class Row:
    """One line: `ratio` is what was measured by what was aimed at, and above 1 is good."""

    def __init__(self, work, aim, measured=None, ratio=None, text=""):
        self.work, self.aim, self.measured, self.ratio, self.text = work, aim, measured, ratio, text

    @property
    def verdict(self):
        if self.ratio is None:
            return "not measured"
        return "held" if self.ratio >= 1 else f"missed by {(1 - self.ratio) * 100:.0f} %"

    def cells(self):
        return [self.work, self.aim, self.verdict, self.measured or "–", self.text]


def at_least(work, aim, value, wanted, show="{:.2f}", text=""):
    return Row(work, aim, show.format(value), value / wanted, text) if value is not None else Row(work, aim)


def at_most(work, aim, value, wanted, show="{:.2f}", text=""):
    return Row(work, aim, show.format(value), wanted / value if value > 0 else 2.0, text) if value is not None else Row(work, aim)


class Aims:
    def __init__(self, contest, limits, found):
        self.contest, self.limits = contest, limits
        self.server, self.source, self.many = found.get("server"), found.get("source"), found.get("memory")

    # ---- What the contest says ----

    def rate(self, tool, work):
        seconds = self.contest.seconds(tool, work)
        return self.contest.bytes / seconds if seconds else None

    def times(self, work, other):
        mine, theirs = self.contest.seconds("holdfast", work), self.contest.seconds(other, work)
        return theirs / mine if mine and theirs else None

    def of_limit(self, rate, limit):
        return rate / self.limits["all_cores"][limit] if rate and self.limits else None

    def stored(self):
        stored = {tool: statistics.median(sizes) for tool, sizes in self.contest.stored.items()}
        others = [stored[tool] for tool in ("restic", "borg") if tool in stored]
        return stored["holdfast"] / min(others) if "holdfast" in stored and others else None

    def full(self):
        mine = self.contest.seconds("holdfast", "full")
        together = self.of_limit(self.rate("holdfast", "full"), "hash_compress_seal")
        cpu = self.contest.median("holdfast", "full", "cpu_s")
        yield at_least("full capture", "at least 3 times restic's rate", self.times("full", "restic"), 3)
        yield at_most("full capture", "stored at most 1.1 times the smaller of restic's and borg's", self.stored(), 1.1, "{:.3f}")
        yield at_least("full capture", "at least 85 % of what hash, codec and cipher of all cores allow together, into a local store",
                       together, 0.85, "{:.0%}", f"{self.contest.bytes / mine / 1e6:.0f} MB/s; {self.contest.bytes / cpu / 1e6:.0f} MB a CPU second, of "
                       f"{self.limits['cpu_second']['hash_compress_seal'] / 1e6:.0f}" if together else "")
        through = self.source and self.of_limit(self.source["full"]["bytes"] / self.source["full"]["seconds"], "hash_compress_seal")
        yield at_least("full capture", "at least 70 % of it, agent and server sharing the cores", through, 0.70, "{:.0%}",
                       f"{self.source['full']['bytes'] / self.source['full']['seconds'] / 1e6:.0f} MB/s" if through else "")

    def same(self):
        yield at_most("nothing changed", "under 2 s with cursor and all", self.source and self.source["same"]["seconds"], 2, "{:.2f} s",
                      "from the command to COMPLETE, agent and server" if self.source else "")
        yield at_least("nothing changed, all read", "at least 90 % of the cores' hash rate", self.of_limit(self.rate("holdfast", "same_read"), "hmac_sha256"),
                       0.90, "{:.0%}")

    def changed(self):
        new, changes = self.contest.new_bytes.get("holdfast"), self.contest.changes
        by_grain = {grain: statistics.median(new) / changes.blocks[grain] for grain in GRAINS} if new else {}
        yield at_most("1 % of documents changed", "new bytes at most 1.3 times the changed blocks", by_grain.get(CHANGED_GRAIN), 1.3, "{:.2f}",
                      "of blocks of " + ", ".join(f"{grain >> 10} KiB: {ratio:.2f}" for grain, ratio in by_grain.items()) if new else "")
        mine = self.contest.seconds("holdfast", "changed")
        if not mine or not self.limits:
            yield Row("1 % of documents changed", "time at most 1.2 times reading and hashing plus compressing what is new")
            return
        cores = self.limits["all_cores"]
        ideal = changes.file_bytes / cores["read"] + changes.file_bytes / cores["hmac_sha256"] + statistics.median(new) / cores["zstd_1"]
        yield at_most("1 % of documents changed", "time at most 1.2 times reading and hashing plus compressing what is new", mine / ideal, 1.2, "{:.2f}",
                      f"{mine:.2f} s for the {changes.file_bytes / MIB:.0f} MiB of files that differ, {ideal:.2f} s by the limits of all cores")

    def restore(self):
        of_cp, of_restic = self.times("restore", "cp"), self.times("restore", "restic")
        aim = "at least 2 times restic's rate, or 80 % of cp's, synced"
        if of_cp is None and of_restic is None:
            yield Row("restore, empty directory", aim)
            return
        ratio = max((of_restic or 0) / 2, (of_cp or 0) / 0.8)
        shown = [f"{value:.2f} times {name}'s" for value, name in ((of_restic, "restic"), (of_cp, "cp")) if value]
        yield Row("restore, empty directory", aim, "; ".join(shown), ratio)
        onto = self.contest.seconds("holdfast", "onto")
        empty = self.contest.seconds("holdfast", "restore")
        yield at_least("restore onto 1 % difference", "at least 5 times faster than into an empty directory", empty / onto if onto and empty else None, 5)

    # ---- What the processes say ----

    def memory(self):
        for who in ("agent", "server"):
            peaks = []
            if self.source:
                peaks += [(f"captures of {self.source['bytes'] / MIB:.0f} MiB", self.source["peaks_captures"][who]), ("and a restore", self.source["peaks"][who])]
            if self.server and who == "server":
                peaks += [(f"{self.server['threads']} packs at a time", max(self.server["disk"]["peaks"].values()))]
            yield at_most("memory", f"{who} under 128 MiB resident", max(peak for _, peak in peaks) / MIB if peaks else None, MEMORY_BYTES / MIB, "{:.0f} MiB",
                          ", ".join(f"{what} {peak / MIB:.0f}" for what, peak in peaks))
        aim = f"each under 128 MiB at {MANY_FILES:,} files too"
        if not self.many:
            yield Row("memory", aim)
            return
        most, files = max(self.many["peaks"].values()), self.many["files"]
        yield Row("memory", aim, f"{most / MIB:.0f} MiB", MEMORY_BYTES / most if files >= MANY_FILES else None,
                  f"{files:,} files: " + ", ".join(f"{who} {self.many['peaks_captures'][who] / MIB:.0f} after two captures, {peak / MIB:.0f} after a restore"
                                                   for who, peak in self.many["peaks"].items()))
        if large := self.many["large"]:
            most = max(large["peaks"].values())
            yield Row("memory", f"each under 128 MiB at {large['bytes'] / (1 << 30):.0f} GiB too", f"{most / MIB:.0f} MiB", MEMORY_BYTES / most,
                      ", ".join(f"{who} {large['peaks_captures'][who] / MIB:.0f} after two captures, {large['peaks_verified'][who] / MIB:.0f} after a "
                                f"verification, {peak / MIB:.0f} after a restore" for who, peak in large["peaks"].items()))

    def way_through(self):
        disk = self.server and {way: statistics.median(rates) for way, rates in self.server["disk"]["rates"].items()}
        yield at_least("server as a way through", "packs over loopback at 85 % of the disk's own synced write rate", disk and disk["plain"] / disk["disk"], 0.85, "{:.0%}",
                       f"{disk['plain'] / 1e6:.0f} of {disk['disk'] / 1e6:.0f} MB/s; with TLS {disk['tls'] / disk['disk']:.0%}" if disk else "")
        memory = self.server and {way: one["bytes"] / one["server_cpu_seconds"] / 1e9 for way, one in self.server["memory"].items()}
        yield at_least("server as a way through", "at least 1 GB/s a core into mem", memory and memory["plain"], 1, "{:.2f} GB/s",
                       f"a CPU second of the server; with TLS {memory['tls']:.2f} GB/s" if memory else "")
        idle = self.server and {way: self.server[way]["after"] - self.server[way]["before"] for way in ("idle", "idle_tls")}
        yield at_most("server as a way through", "1,000 idle agents cost under 64 MiB", idle and idle["idle"] / MIB, IDLE_BYTES / MIB, "{:.0f} MiB",
                      f"{self.server['idle']['agents']:,} waiting polls, {self.server['idle']['threads']} threads more; with TLS {idle['idle_tls'] / MIB:.0f} MiB" if idle else "")

    def the_source(self):
        writes = self.source and self.source["writes"]
        lost = {way: statistics.median(one["lost"] for one in writes[way]) for way in ("flat_out", "half")} if writes else None
        aim = "at most 5 % of its write throughput lost with the default limits"
        if lost:
            rounds = ", ".join(f"{one['lost']:.0%}" for one in writes["flat_out"])
            yield Row("source", aim, f"{lost['flat_out']:.1%}", (1 - lost["flat_out"]) / 0.95,
                      f"writers, member, agent and server on the same cores, writing flat out (rounds: {rounds}); at half that rate {lost['half']:.1%}")
        else:
            yield Row("source", aim)
        cache = self.source and self.source["page_cache"]
        aim = "its page cache left as it was"
        if cache:
            changed = cache["added"] + cache["gone"]
            yield Row("source", aim, f"{changed} of {cache['pages']} pages differ", 1.0 if changed <= cache["pages"] // 100 else 0.0,
                      f"{cache['before']} resident before, {cache['after']} after a full capture: {cache['added']} more, {cache['gone']} gone; a hundredth counts as none")
        else:
            yield Row("source", aim)

    def rows(self):
        for part in (self.full, self.same, self.changed, self.restore, self.memory, self.way_through, self.the_source):
            yield from part()


def table(rows):
    lines = ["", "### Aims", "", "| work | aim | verdict | measured | |", "|---|---|---|---:|---|"]
    return lines + ["| " + " | ".join(row.cells()) + " |" for row in rows]
