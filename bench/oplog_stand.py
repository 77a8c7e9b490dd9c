# SPDX-License-Identifier: Apache-2.0
"""What the parts of the bench that look at the oplog stand on: a set of one member, a server, an agent that tails; what the server
acknowledged and when; what each process cost.
"""
import calendar
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from measure import PROGRAMS, ROOT, Failed, status_bytes
from way_through import cpu_seconds, harness

sys.path.insert(0, str(ROOT / "tests" / "integration"))
from slices import Slice  # noqa: E402

READER = PROGRAMS / "oplog_read"
FULL_BYTES = 7 << 20  # a slice that was closed by its size
SAVED_LIMIT_S = 900
SAMPLE_S = 0.02
SET = "bench"


def use_program(program):
    """The members of the harness are this one."""
    os.environ["HOLDFAST_SANDBOX"] = os.environ["HOLDFAST_TEST_MONGOD"] = str(program)


def new_scratch(label, scratch_dir):
    """The tests' agents do not stand back; these do, as by default."""
    os.environ["HOLDFAST_TEST_TMP"] = str(scratch_dir)
    scratch = harness.Scratch(label)
    scratch.env.pop("HOLDFAST_NICE", None)
    return scratch


def seconds_of(stamp):
    """A stamp of our log."""
    day, _, fraction = stamp.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(day, "%Y-%m-%dT%H:%M:%S")) + int(fraction) / 1000


class Watch(threading.Thread):
    """The most that processes had resident, for such as may end before they are asked."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.going = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.going.wait(SAMPLE_S):
            try:
                self.peak = max(self.peak, status_bytes(self.pid, "VmHWM"))
            except (Failed, OSError):
                return

    def stop(self):
        self.going.set()
        self.join()
        return self.peak


class Stand:
    """The job has begun and its first slice is saved."""

    def __init__(self, scratch, server_arguments=(), member_arguments=()):
        self.scratch = scratch
        self.server = harness.Server(scratch, arguments=["--minimum-oplog-window", "0", "--log-level", "debug", *server_arguments]).start()
        self.member = harness.Member(scratch, "member", arguments=["--replSet", SET, "--oplogSize", "8192", *member_arguments]).start()
        self.member.client.admin.command("replSetInitiate", {"_id": SET, "members": [{"_id": 0, "host": self.member.host}]})
        harness.wait_for(self.member.is_primary, "the primary", 300)
        self.agent = harness.Agent(scratch, "agent", self.server, self.member.host, [self.member.host]).start()
        self.cli = harness.Cli(scratch, self.server.data / "cli.profile")
        harness.wait_for(lambda: [one for agent in self.cli("agent", "list")["results"] for one in agent["members"] if not one.get("refusal")],
                         "the member at the server", every=0.2)
        self.cli("job", "start", "--set", SET)
        harness.wait_for(self.acknowledged, "the first slice", 120, every=0.2)

    def pids(self):
        return {"source": self.member.popen.pid, "agent": self.agent.popen.pid, "server": self.server.popen.pid}

    def cpu(self):
        return {name: cpu_seconds(pid) for name, pid in self.pids().items()}

    # ---- Slices ----

    def acknowledged(self):
        """(object name, when the head was moved to it), in order."""
        text = self.server.log.read_text(errors="replace")
        return [(match[2], seconds_of(match[1])) for match in re.finditer(r"^(\S+) debug oplog\.slice .*?\bslice=\"?([^\s\"]+)", text, re.M)]

    def slices(self):
        """(Slice, when it was acknowledged), in order."""
        return [(Slice((self.server.store_dir / name).read_bytes(), name), when) for name, when in self.acknowledged()]

    def last_saved(self):
        name, _ = self.acknowledged()[-1]
        return Slice((self.server.store_dir / name).read_bytes(), name).last

    def last_written(self):
        return self.member.client["app"].command({"insert": "mark", "documents": [{}], "writeConcern": {"w": "majority"}})["opTime"]["ts"]

    def wait_saved(self, last):
        harness.wait_for(lambda: self.last_saved()[:2] >= (last.time, last.inc), "all to be saved", SAVED_LIMIT_S, every=0.5)

    # ---- Entries ----

    def entries(self, query, projection=None):
        """As bytes."""
        oplog = self.member.client.local.get_collection("oplog.rs", codec_options=CodecOptions(document_class=RawBSONDocument))
        return (entry.raw for entry in oplog.find(query, projection))

    def fill_mixed(self, entries):
        """So many operations on documents of 300 bytes: 70 % inserts, 20 % updates, 10 % deletes. The last entry's time."""
        db, done, key = self.scratch.client(self.member.address, directConnection=True, retryWrites=False)["app"], 0, 0
        reply = None
        while done < entries:
            count = min(1000, entries - done)
            fresh = [{"_id": key + i, "n": i, "name": "a customer of ours", "blob": os.urandom(250)} for i in range(max(count * 7 // 10, 1))]
            reply = db.command("insert", "mixed", documents=fresh, ordered=False)
            old = [max(key - i * 7919 % (key + 1), 0) for i in range(count * 2 // 10)]
            if old:
                reply = db.command("update", "mixed", updates=[{"q": {"_id": one}, "u": {"$inc": {"n": 1}, "$set": {"seen": done}}} for one in old])
            gone = [key + i * 5 + 1 for i in range(count // 10)]
            if gone:
                reply = db.command("delete", "mixed", deletes=[{"q": {"_id": one}, "limit": 1} for one in gone])
            key += len(fresh)
            done += count
        return reply["opTime"]["ts"]

    def fill(self, entries, size=250, name="inserted"):
        """So many inserts."""
        collection, done = self.scratch.client(self.member.address, directConnection=True, retryWrites=False)["app"][name], 0
        batch = max(min(5000, (32 << 20) // size), 1)
        while done < entries:
            count = min(batch, entries - done)
            collection.insert_many([{"n": done + i, "name": "a customer of ours", "blob": os.urandom(size)} for i in range(count)], ordered=False)
            done += count


def run_peak(argv, env, log, limit=1800):
    """Runs it: standard output, seconds, CPU seconds, the most that it had resident."""
    with open(log, "ab") as err:
        began = time.monotonic()
        process = subprocess.Popen([str(word) for word in argv], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, text=True)
        watch = Watch(process.pid)
        killer = threading.Timer(limit, process.kill)
        killer.start()
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        killer.cancel()
        process.stdout.close()
        peak = watch.stop()
    if process.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv))[:200]} ended with {process.returncode}: {pathlib.Path(log).read_text(errors='replace')[-600:]}")
    return {"out": out, "seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak": peak}

