#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The periodic work of a server over the catalog of a large installation: how long its passes take while nothing is due, what
lists and the page of metrics cost, and how much memory the process has.

The catalog is made once by scheduler_bench, beside what a first start made, and its jobs are brought to now before each run. No
agent runs: the server listens for less than the 90 s after which it would take them for gone, so that what is measured is
looking, and not the outage of ten thousand sets.

    python3 bench/scheduler.py DIRECTORY [JOBS SNAPSHOTS]    alone, with the server of HOLDFAST
"""
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

from measure import PROGRAMS, ROOT, status_bytes

JOBS = 10000
SNAPSHOTS = 1000000
WATCHED_S = 60
ASKED = 20  # times that each list is asked for
START_LIMIT_S = 120
PASSES = ("resume", "tails", "schedule", "jobs", "alerts")
SAMPLE = re.compile(r'^holdfast_(pass_last_seconds|passes_total)\{pass="(\w+)"\} (\S+)$', re.M)


class Server:
    """As an operator runs it, with its schedules; alerts are looked for every five seconds."""

    def __init__(self, top):
        self.data = top / "data"
        command = [os.environ.get("HOLDFAST", ROOT / "build" / "holdfast"), "server", "--data-dir", self.data, "--store", f"file://{top / 'store'}",
                   "--listen", "127.0.0.1:0", "--alert-check-interval", "5s"]
        with open(top / "server.log", "ab") as log:
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "HOME": str(top)})
        url, until = self.data / "server.url", time.monotonic() + START_LIMIT_S
        before = url.stat().st_mtime_ns if url.exists() else 0
        while self.popen.poll() is None and time.monotonic() < until and not (url.exists() and url.stat().st_mtime_ns != before):
            time.sleep(0.02)
        assert self.popen.poll() is None, f"the server did not start, see {top / 'server.log'}"
        self.url = url.read_text(encoding="ascii").strip()

    def stop(self):
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait()

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.popen.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def scrape(self):
        began = time.monotonic()
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        return time.monotonic() - began, {(which, name): float(value) for which, name, value in SAMPLE.findall(text)}

    def ask(self, path):
        """The document, and the seconds of the request that had it: the one before only asked for the nonce."""
        profile = dict(line.split(" = ", 1) for line in (self.data / "cli.profile").read_text(encoding="ascii").splitlines())
        manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        manager.add_password(None, self.url, profile["public_key"], profile["private_key"])
        took = []

        class Timed(urllib.request.HTTPHandler):
            def http_open(self, request):
                began = time.monotonic()
                answer = super().http_open(request)
                took.append(time.monotonic() - began)
                return answer

        with urllib.request.build_opener(Timed, urllib.request.HTTPDigestAuthHandler(manager)).open(f"{self.url}{path}", timeout=60) as answer:
            return json.load(answer), took[-1]


def watch(server):
    """Each pass's times but for the first one, which reads a cold disk; what scrapes cost, and memory."""
    passes, counts, scrapes, most = {name: [] for name in PASSES}, {}, [], 0
    begun, until = server.cpu_seconds(), time.monotonic() + WATCHED_S
    while time.monotonic() < until:
        seconds, values = server.scrape()
        scrapes.append(seconds)
        for name in PASSES:
            count = values["passes_total", name]
            if count > 1 and counts.get(name) != count:
                passes[name].append(values["pass_last_seconds", name])
            counts[name] = count
        most = max(most, status_bytes(server.popen.pid, "VmRSS"))
        time.sleep(1)
    return {"passes": passes, "scrapes": scrapes, "resident": most, "cpu_share": (server.cpu_seconds() - begun) / WATCHED_S}


def lists(server):
    """Median seconds of the public API's lists and single things; none for one that took longer than a minute."""
    base = "/api/public/v1.0"
    group = server.ask(f"{base}/groups")[0]["results"][0]["id"]
    cluster = server.ask(f"{base}/groups/{group}/clusters?itemsPerPage=100")[0]["results"][-1]["id"]
    one = f"{base}/groups/{group}/clusters/{cluster}/snapshots"
    snapshot = server.ask(f"{one}?itemsPerPage=100")[0]["results"][0]["id"]
    paths = {"clusters, first page": f"{base}/groups/{group}/clusters?itemsPerPage=100", "configs, first page": f"{base}/groups/{group}/backupConfigs?itemsPerPage=100",
             "a config": f"{base}/groups/{group}/backupConfigs/{cluster}", "snapshots, first page": f"{one}?itemsPerPage=100", "a snapshot": f"{one}/{snapshot}",
             "alerts, first page": f"{base}/groups/{group}/alerts?itemsPerPage=100"}
    found = {}
    for name, path in paths.items():
        try:
            found[name] = statistics.median(server.ask(path)[1] for _ in range(ASKED))
        except TimeoutError:
            found[name] = None
    return found


def prepare(top, jobs, snapshots):
    catalog = top / "data" / "catalog.sqlite"
    made = top / f"made-{jobs}-{snapshots}"
    top.mkdir(parents=True, exist_ok=True)
    if not made.exists():
        Server(top).stop()
    subprocess.run([PROGRAMS / "scheduler_bench", catalog, str(jobs), str(snapshots), *(["again"] if made.exists() else [])], check=True, stdout=subprocess.DEVNULL)
    made.touch()
    return catalog


def measure(top, jobs=JOBS, snapshots=SNAPSHOTS):
    catalog = prepare(top, jobs, snapshots)
    server = Server(top)
    try:
        found = watch(server)
        found["lists"] = lists(server)
        found["peak"] = status_bytes(server.popen.pid, "VmHWM")
    finally:
        server.stop()
    return {**found, "jobs": jobs, "snapshots": snapshots, "catalog_bytes": catalog.stat().st_size}


if __name__ == "__main__":
    print(json.dumps(measure(pathlib.Path(sys.argv[1]).resolve(), *(int(word) for word in sys.argv[2:4])), indent=1))
