# SPDX-License-Identifier: Apache-2.0
"""Replay: `holdfast oplog apply` on a restored snapshot beside `mongorestore --oplogReplay` with the same entries, on a server of the
same program on a copy of the same snapshot; both end with the same data. How much memory `oplog apply` needs, however much it replays.

Both replay with their server on the same cores. Ours ends when its last server has stopped cleanly; mongorestore's server has run
before the clock starts, and what it was given is synced when the clock stops.
"""
import json
import os
import shutil
import time

from bson import Timestamp
from measure import Failed, clear
from oplog_stand import harness, run_peak
from way_through import cpu_seconds

ROUNDS = 2


def oplog_file(stand, after, last, path):
    """The entries behind `after` up to `last`, as mongodump would have written them; how many."""
    count = 0
    with open(path, "wb") as out:
        for entry in stand.entries({"ts": {"$gt": after, "$lte": last}}):
            out.write(entry)
            count += 1
    return count


def hashes(stand, name, dbpath):
    """What every collection of the application holds."""
    member = harness.Member(stand.scratch, name, dbpath=dbpath).start()
    try:
        found = member.client["app"].command("dbHash")["collections"]
        member.close_client()
        member.stop(300)
    finally:
        member.kill()
    return {space: one for space, one in found.items() if space != "mark"}


class Replay:
    def __init__(self, stand, base, mongorestore):
        self.stand, self.base, self.mongorestore = stand, base, mongorestore
        self.dir = stand.scratch.dir / "replay"
        clear(self.dir)
        self.dir.mkdir()
        self.copy = self.dir / "base"
        self.store = ["--store", f"file://{stand.server.store_dir}", *stand.server.key_arguments()]
        run_peak([harness.binary("HOLDFAST"), "store", "restore", f"file://{stand.server.store_dir}", *stand.server.key_arguments(), "--snapshot", base["id"],
                  "--to", self.copy], stand.scratch.env, self.dir / "restore.log")

    def fresh(self, name):
        path = self.dir / name
        clear(path)
        shutil.copytree(self.copy, path)
        return path

    def apply(self, last, name):
        path = self.fresh(name)
        ran = run_peak([harness.binary("HOLDFAST"), "oplog", "apply", "--dbpath", path, "--oplog-ts", f"{last.time}.{last.inc}", *self.store, "--mongod",
                        harness.member_binary(), "--json"], self.stand.scratch.env, self.dir / "apply.log")
        found = json.loads(ran["out"])
        return {"operations": found["inserted"], "bytes": found["insertedBytes"], "seconds": ran["seconds"], "cpu_seconds": ran["cpu_seconds"], "peak": ran["peak"],
                "rate": found["inserted"] / ran["seconds"]}

    def restore(self, entries, dump, name):
        """By mongorestore, onto a server without a set: so its entries are not written to an oplog once more."""
        path = self.fresh(name)
        member = harness.Member(self.stand.scratch, name, dbpath=path).start()
        try:
            server = cpu_seconds(member.popen.pid)
            ran = run_peak([self.mongorestore, "--host", member.address, "--oplogReplay", "--quiet", dump], self.stand.scratch.env, self.dir / "mongorestore.log")
            began = time.monotonic()
            member.client.admin.command("fsync")
            synced = time.monotonic() - began
            server = cpu_seconds(member.popen.pid) - server
            member.close_client()
            member.stop(300)
        finally:
            member.kill()
        seconds = ran["seconds"] + synced
        return {"operations": entries, "seconds": seconds, "cpu_seconds": ran["cpu_seconds"] + server, "rate": entries / seconds}


def checkpoint_end(snapshot):
    end = snapshot["oplogEnd"]
    return Timestamp(end["seconds"], end["increment"])


def measure(stand, base, mixed_last, last, mongorestore):
    """Both ways in turn up to mixed_last; then apply alone up to last, for its memory."""
    replay = Replay(stand, base, mongorestore)
    found = {"mongorestore": None, "apply": [], "problem": ""}
    dump = replay.dir / "dump"
    dump.mkdir()
    entries = oplog_file(stand, checkpoint_end(base), mixed_last, dump / "oplog.bson")
    theirs = []
    for number in range(ROUNDS):
        for way in ("apply", "mongorestore") if number % 2 == 0 else ("mongorestore", "apply"):
            if way == "apply":
                found["apply"].append(replay.apply(mixed_last, "applied"))
            elif mongorestore:
                theirs.append(replay.restore(entries, dump, "restored"))
    if theirs:
        found["mongorestore"] = theirs
        ours, other = hashes(stand, "look-applied", replay.dir / "applied"), hashes(stand, "look-restored", replay.dir / "restored")
        if ours != other or "mixed" not in ours:
            raise Failed(f"oplog apply and mongorestore end with other data: {ours} and {other}")
    found["long"] = replay.apply(last, "applied")
    found["real"] = os.path.basename(harness.member_binary()) != "holdfast-sandbox"
    return found


def large(stand, base, last):
    """Only the memory: entries of 16 MB."""
    return Replay(stand, base, None).apply(last, "applied")
