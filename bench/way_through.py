# SPDX-License-Identifier: Apache-2.0
"""The server as a way through: packs over loopback into a store on a disk, beside the disk's own synced rate, and into memory,
beside the server's CPU time; and what a thousand agents cost that have nothing to do.

The agents are this file's own: they speak docs/format/agent-protocol.md, so that nothing but the server is measured.
"""
import http.client
import json
import os
import re
import resource
import secrets
import select
import ssl
import subprocess
import sys
import time

from measure import MIB, PROGRAMS, ROOT, Failed, clear, status_bytes

os.environ.setdefault("HOLDFAST", str(ROOT / "build" / "holdfast"))
sys.path.insert(0, str(ROOT / "tests" / "integration"))
import harness  # noqa: E402

PACK_BYTES = 16 * MIB
THREADS = 4
ROUNDS = 3
AGENTS = 1000
USUAL_FILES = 1024  # open files that a shell or a service allows, unless told otherwise
WAIT_MS = 30000
SAMPLE_S = 1.0
TASK_LIMIT_S = 60


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_certificate(directory):
    certificate, key = directory / "server.crt", directory / "server.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "7", "-keyout", key,
                    "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return certificate, key


class TheServer(harness.Process):
    """holdfast server with a store on the disk that is measured, or mem_server."""

    def __init__(self, scratch, name, tls=None, memory=False):
        self.data, self.store_dir = scratch.dir / name / "data", scratch.dir / name / "store"
        self.port = harness.free_port()
        self.tls, address = tls, f"127.0.0.1:{self.port}"
        if memory:
            command = [PROGRAMS / "mem_server", self.data, address, *(tls or ())]
        else:
            command = [harness.binary("HOLDFAST"), "server", "--data-dir", self.data, "--store", f"file://{self.store_dir}", "--listen", address, "--no-first-snapshot", "--no-schedule"]
            command += ["--tls-cert", tls[0], "--tls-key", tls[1]] if tls else []
        super().__init__(scratch, name, command)
        self.url = f"{'https' if tls else 'http'}://{address}"
        self.start()
        self.line(r"^listening on (\S+)$")
        self.cli = harness.Cli(scratch, self.data / "cli.profile")

    def say(self, *words):
        return self.cli(*words, *(("--ca-file", self.tls[0]) if self.tls else ()))

    def key(self):
        return (self.data / "agent.key").read_text(encoding="ascii").strip()

    def rss(self):
        return status_bytes(self.popen.pid, "VmRSS")

    def peak(self):
        return status_bytes(self.popen.pid, "VmHWM")

    def context(self):
        return ssl.create_default_context(cafile=self.tls[0]) if self.tls else None


def member(number):
    return {"address": f"member{number}.example.net:27017", "set": f"set{number}", "dbPath": "/data/db", "state": "SECONDARY",
            "primary": f"primary{number}.example.net:27017", "hidden": False, "priority": 1.0, "readable": True, "setMembers": 3, "fcv": "4.4",
            "version": "4.4.6", "engine": "wiredTiger", "lagS": 0, "dataBytes": 1 << 36, "problem": ""}


class FakeAgent:
    """One agent with one member, on one connection."""

    def __init__(self, server, number, context=None):
        self.id, self.members = secrets.token_hex(12), [member(number)]
        self.head = {"Authorization": f"Bearer {server.key()}", "Holdfast-Protocol": "1"}
        where = ("127.0.0.1", server.port)
        self.connection = http.client.HTTPSConnection(*where, context=context, timeout=60) if server.tls else http.client.HTTPConnection(*where, timeout=60)
        self.session = self.ask("hello", {"protocol": 1, "agent": self.id, "host": f"host{number}", "release": "0.1.0", "restoreRoot": "",
                                          "members": self.members})["session"]

    def send(self, path, body):
        self.connection.request("POST", f"/agent/v1/{path}", json.dumps(body), self.head)

    def answer(self):
        reply = self.connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise Failed(f"the server answered an agent {reply.status}: {body[:300].decode(errors='replace')}")
        return json.loads(body)

    def ask(self, path, body):
        self.send(path, body)
        return self.answer()

    def poll_body(self, wait_ms, running=()):
        return {"protocol": 1, "agent": self.id, "session": self.session, "waitMs": wait_ms, "members": self.members, "running": list(running), "ended": []}


# ---- Packs ----


class Capture:
    """A capture that never ends: the right to put packs."""

    def __init__(self, server):
        self.server, self.agent = server, FakeAgent(server, 1, server.context())
        harness.wait_for(lambda: [one for agent in server.say("agent", "list")["results"] for one in agent["members"] if not one.get("refusal")],
                         "the member at the server", every=0.1)
        server.say("job", "start", "--set", "set1")
        server.say("snapshot", "take", "--set", "set1", "--no-wait")
        self.task = harness.wait_for(lambda: self.agent.ask("poll", self.agent.poll_body(0))["tasks"], "a task", TASK_LIMIT_S, every=0.1)[0]
        self.stay()

    def stay(self):
        """Names the task as running, so that the server does not give it up."""
        progress = {"phase": "capture", "current": "", "bytesTotal": 0, "bytesDone": 0, "filesTotal": 0, "filesDone": 0, "bytesNew": 0,
                    "bytesStored": 0, "elapsedMs": 0, "rateBytesS": 0}
        self.agent.ask("poll", self.agent.poll_body(0, [{"task": self.task["task"], "attempt": self.task["attempt"], "progress": progress}]))

    def send(self, count):
        server, task = self.server, self.task
        before = cpu_seconds(server.popen.pid)
        result = run_sender("server", server.url, server.data / "agent.key", task["task"], task["attempt"], task["keys"]["job"], task["capture"]["writer"], task["capture"]["capture"], count, THREADS,
                            *(server.tls[:1] if server.tls else ()))
        result["server_cpu_seconds"] = cpu_seconds(server.popen.pid) - before
        self.stay()
        return result


def run_sender(*words):
    done = subprocess.run([str(word) for word in (PROGRAMS / "send_packs", *words)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"send_packs {words[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def rate(result):
    return result["bytes"] / result["seconds"]


def stored_packs(server):
    return [path for path in server.store_dir.rglob("*") if path.is_file() and path.stat().st_size >= PACK_BYTES]


def onto_disk(scratch, tls, count):
    """Rounds of: the disk alone, the server, the server with TLS; each at the same place, emptied before."""
    plain, secure = TheServer(scratch, "disk"), TheServer(scratch, "disk-tls", tls)
    captures = {"plain": Capture(plain), "tls": Capture(secure)}
    alone = scratch.dir / "alone"
    rates = {"disk": [], "plain": [], "tls": []}
    for number in range(ROUNDS):
        order = ["disk", "plain", "tls"]
        for way in order[number % 3:] + order[:number % 3]:
            os.sync()
            if way == "disk":
                alone.mkdir()
                rates[way].append(rate(run_sender("disk", alone, count, THREADS)))
                clear(alone)
                continue
            rates[way].append(rate(captures[way].send(count)))
            packs = stored_packs(captures[way].server)
            if len(packs) != count:
                raise Failed(f"{len(packs)} packs are in the store after {count} were sent")
            for path in packs:
                path.unlink()
    peaks = {"plain": plain.peak(), "tls": secure.peak()}
    for server in (plain, secure):
        server.stop()
    return {"rates": rates, "peaks": peaks, "count": count}


def into_memory(scratch, tls, count):
    results = {}
    for way in ("plain", "tls"):
        server = TheServer(scratch, f"memory-{way}", tls if way == "tls" else None, memory=True)
        results[way] = Capture(server).send(count)
        held = server.rss()
        if held < count * PACK_BYTES:
            raise Failed(f"the server holds {held >> 20} MiB after {count} packs of 16 MiB: they are not in its memory")
        server.stop()
    return results


# ---- A thousand idle agents ----


def allow_files(count):
    """The soft limit, of this process and those that it starts."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def idle(scratch, tls, name):
    allow_files(USUAL_FILES)
    server = TheServer(scratch, name, tls)
    allow_files(4 * AGENTS)
    threads = status_number(server, "Threads")
    before = server.rss()
    context = server.context()
    agents = [FakeAgent(server, number, context) for number in range(AGENTS)]
    for agent in agents:
        agent.connection.close()  # a poll opens it again: the server closes one that says nothing for long
    first_sent = time.monotonic()
    for agent in agents:
        agent.send("poll", agent.poll_body(WAIT_MS))
    # The server has read all of them, and a last one, which does not wait, has come through behind them.
    harness.wait_for(lambda: unread_bytes(server.port) == 0, "the server to read all polls", every=0.05)
    last = FakeAgent(server, AGENTS, context)
    last.ask("poll", last.poll_body(0))
    after, until = 0, time.monotonic() + SAMPLE_S
    while time.monotonic() < until:
        after = max(after, server.rss())
        time.sleep(0.05)
    threads_after = status_number(server, "Threads")
    # What is not answered now waits: an error, or nothing to say and no wait, would have been answered.
    answered = select_any(agents)
    if answered:
        raise Failed(f"{len(answered)} of {AGENTS} polls did not wait, {time.monotonic() - first_sent:.1f} s after the first")
    for agent in agents:
        agent.connection.close()
    server.stop()
    return {"agents": AGENTS, "before": before, "after": after, "threads": threads_after - threads}


def status_number(server, name):
    return int(re.search(rf"^{name}:\s+(\d+)", open(f"/proc/{server.popen.pid}/status", encoding="ascii").read(), re.M)[1])


def unread_bytes(port):
    """What lies in the receive queues of the connections to this port."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01")


def select_any(agents):
    poller = select.poll()
    for agent in agents:
        poller.register(agent.connection.sock, select.POLLIN)
    return poller.poll(0)


def measure(scratch_dir, data_bytes):
    """All of it. What is found as a dictionary; Failed or an AssertionError when something goes wrong."""
    os.environ["HOLDFAST_TEST_TMP"] = str(scratch_dir)
    scratch = harness.Scratch("bench-server")
    count = min(max(data_bytes // PACK_BYTES // 2, 8), 64)
    try:
        tls = make_certificate(scratch.dir)
        return {"threads": THREADS, "disk": onto_disk(scratch, tls, count), "memory": into_memory(scratch, tls, count * 2), "idle": idle(scratch, None, "idle"),
                "idle_tls": idle(scratch, tls, "idle-tls")}
    finally:
        scratch.close()
