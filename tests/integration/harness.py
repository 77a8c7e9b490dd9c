# SPDX-License-Identifier: Apache-2.0
"""What the tests with real processes share: members, server, agents, command line, a writer that keeps a journal.

Nothing here knows whether a member is the sandbox or the mongod that HOLDFAST_TEST_MONGOD names. Every process has its
own directory below one scratch directory, runs in its own process group, and dies with the test, however that ends.
"""
import atexit
import contextlib
import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest

import bson
import pymongo
import pymongo.errors
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

LIMIT_S = 60  # for a thing that takes a second or two; the machine may be busy
FAST = {"serverSelectionTimeoutMS": 5000, "connectTimeoutMS": 5000, "socketTimeoutMS": 60000}


def binary(name):
    path = os.environ.get(name)
    if not path or not os.access(path, os.X_OK):
        raise SystemExit(f"set {name} to the executable of the test build (tools/test.py does)")
    return path


def member_binary():
    return os.environ.get("HOLDFAST_TEST_MONGOD") or binary("HOLDFAST_SANDBOX")


def wait_for(condition, what, limit=LIMIT_S, every=0.05):
    """The first true value of condition(); an AssertionError that says what was waited for, and why it was not there."""
    deadline, problem = time.monotonic() + limit, None
    while True:
        try:
            value = condition()
            if value:
                return value
            problem = None
        except (OSError, pymongo.errors.PyMongoError) as error:
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit} s in vain for {what}" + (f": {problem}" if problem else ""))
        time.sleep(every)


_ports_given = set()
_any = random.SystemRandom()


def free_port():
    """A port that nobody listens on now and that no earlier call gave: of those that the system gives to no connection (from
    32768 on it does), since seconds may pass until somebody listens."""
    while True:
        port = _any.randrange(15000, 32000)
        if port in _ports_given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            _ports_given.add(port)
            return port


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


# ---- Processes ----


class Process:
    """A program with a directory of its own; its output goes to files there."""

    def __init__(self, scratch, name, command, env=None, cwd=None):
        self.name, self.command = name, [str(word) for word in command]
        self.dir = scratch.dir / name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.env = {**scratch.env, **(env or {})}
        self.cwd = cwd or self.dir
        self.popen = None
        self.log = self.dir / "stderr.log"
        self.out = self.dir / "stdout.log"
        scratch.processes.append(self)

    def start(self, env=None, arguments=()):
        assert self.popen is None or self.popen.poll() is not None, f"{self.name} runs already"
        with open(self.out, "wb") as out, open(self.log, "ab") as log:
            log.write(f"---- {' '.join(self.command)} {env or ''}\n".encode())
            log.flush()
            self.popen = subprocess.Popen([*self.command, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=self.cwd,
                                          env={**self.env, **(env or {})}, start_new_session=True, preexec_fn=_die_with_parent)
        return self

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def line(self, pattern, limit=LIMIT_S):
        """The match of pattern in what the process wrote to its standard output since its start."""

        def look():
            found = re.search(pattern, self.out.read_text(errors="replace"), re.M)
            if not found and not self.alive():
                raise AssertionError(f"{self.name} ended with {self.popen.returncode}:\n{self.tail()}")
            return found

        return wait_for(look, f"'{pattern}' of {self.name}", limit)

    def wait(self, limit=LIMIT_S):
        """The exit code, negative for a signal."""
        return wait_for(lambda: self.popen.poll() is not None and (self.popen.returncode,), f"the end of {self.name}", limit)[0]

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, number)

    def kill(self):
        if self.popen is not None:
            self.signal(signal.SIGKILL)
            self.popen.wait()

    def stop(self, limit=LIMIT_S):
        """SIGTERM and the exit code; None when it was not running."""
        if not self.alive():
            return None
        self.signal(signal.SIGTERM)
        return self.wait(limit)

    def tail(self, count=60):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:]) if self.log.exists() else ""

    def logged(self, pattern):
        """The last match in the log, or None."""
        found = None
        for found in re.finditer(pattern, self.log.read_text(errors="replace"), re.M):
            pass
        return found


class Scratch:
    """One directory for everything that a test class makes; gone afterwards unless a test failed."""

    def __init__(self, label):
        base = pathlib.Path(os.environ.get("HOLDFAST_TEST_TMP") or tempfile.gettempdir())
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"holdfast-{label}-", dir=base))
        home = self.dir / "home"
        home.mkdir()
        keep = ("PATH", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH")
        self.env = {name: os.environ[name] for name in keep if name in os.environ}
        self.env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
        # Tests write while they capture, on machines where much else runs: an agent that stood back would never catch up.
        self.env["HOLDFAST_NICE"] = "0"
        self.env.update(HOME=str(home), XDG_CONFIG_HOME=str(home / ".config"), TMPDIR=str(self.dir), LC_ALL="C.UTF-8")
        self.processes, self.clients, self.writers = [], [], []
        self.keep = False
        atexit.register(self.close)

    def client(self, *args, **kwargs):
        client = pymongo.MongoClient(*args, **{**FAST, **kwargs})
        self.clients.append(client)
        return client

    def show(self):
        """The ends of all logs, for a failed test."""
        for process in self.processes:
            state = "running" if process.alive() else f"ended with {process.popen.returncode if process.popen else 'nothing'}"
            print(f"==== {process.name} ({state}): {process.log}\n{process.tail(25)}", file=sys.stderr, flush=True)

    def check_sanitizers(self):
        """A report of a sanitizer in any log is a failure, whatever the test saw."""
        for process in self.processes:
            text = process.log.read_text(errors="replace") if process.log.exists() else ""
            found = re.search(r"^.*(?:ERROR: AddressSanitizer|runtime error:|Assertion|assertion failed|ThreadSanitizer).*$", text, re.M)
            if found:
                raise AssertionError(f"{process.name}: {found.group(0)}\n{text[found.start():found.start() + 3000]}")

    def close(self):
        atexit.unregister(self.close)
        for writer in self.writers:
            writer.stop()
        for process in reversed(self.processes):
            process.kill()
        # Closing a client wants to tell its server, which is gone: nobody waits for that.
        for client in self.clients:
            threading.Thread(target=client.close, daemon=True).start()
        if self.keep or os.environ.get("HOLDFAST_TEST_KEEP"):
            print(f"kept: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


class TestCase(unittest.TestCase):
    """A class of tests with one scratch directory; failed tests show the logs. deploy() builds what the class shares."""

    longMessage = True

    @classmethod
    def setUpClass(cls):
        cls.scratch = Scratch(cls.__name__.lower())
        try:
            cls.deploy()
        except BaseException:
            cls.scratch.show()
            cls.scratch.keep = bool(os.environ.get("HOLDFAST_TEST_KEEP"))
            cls.scratch.close()
            raise

    @classmethod
    def deploy(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        try:
            cls.scratch.check_sanitizers()
        finally:
            cls.scratch.close()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result is not None else 0
        outcome = super().run(result)
        if result is not None and len(result.failures) + len(result.errors) > before:
            print(f"---- {self.id()} failed; the logs end so:", file=sys.stderr)
            self.scratch.show()
            self.scratch.keep = self.scratch.keep or bool(os.environ.get("HOLDFAST_TEST_KEEP"))
        return outcome


# ---- Members and sets ----


class Member(Process):
    """One member, or a standalone: a server process on a data directory."""

    def __init__(self, scratch, name, set_name=None, dbpath=None, port=None, arguments=()):
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"  # where it listens
        self.host = self.address  # what the set calls it; a test may put something in between
        self.dbpath = pathlib.Path(dbpath or scratch.dir / name / "db")
        self.dbpath.mkdir(parents=True, exist_ok=True)
        command = [member_binary(), "--dbpath", self.dbpath, "--port", self.port, "--bind_ip", "127.0.0.1",
                   "--wiredTigerCacheSizeGB", "0.25", "--setParameter", "ttlMonitorEnabled=false"]
        if set_name:
            command += ["--replSet", set_name, "--oplogSize", "64", "--syncdelay", "1"]
        super().__init__(scratch, name, [*command, *arguments])
        self.out = self.log  # mongod logs to its standard output
        self.scratch = scratch
        self._client = None

    def start(self, env=None, arguments=()):
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen([*self.command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                                          env={**self.env, **(env or {})}, start_new_session=True, preexec_fn=_die_with_parent)

        def listens():
            if not self.alive():
                raise AssertionError(f"{self.name} ended with {self.popen.returncode}:\n{self.tail()}")
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True

        wait_for(listens, f"{self.name} to listen")
        return self

    @property
    def client(self):
        if self._client is None:
            self._client = self.scratch.client(self.address, directConnection=True, retryWrites=False, retryReads=False)
        return self._client

    def close_client(self):
        if self._client is not None:
            self._client.close()
            self._client = None

    def hello(self):
        return self.client.admin.command("isMaster")

    def is_primary(self):
        return bool(self.hello().get("ismaster"))

    def backup_cursor_open(self):
        return self.client.admin.command("serverStatus")["storageEngine"]["backupCursorOpen"]

    def idle_backup_cursors(self):
        """What $currentOp shows of open backup cursors."""
        pipeline = [{"$currentOp": {"allUsers": True, "idleCursors": True}}, {"$match": {"type": "idleCursor"}}]
        with self.client.admin.aggregate(pipeline) as cursor:
            return [op for op in cursor if "$backupCursor" in str(op.get("cursor", {}).get("originatingCommand", ""))]


class ReplicaSet:
    """Members of one set, initiated. config: by position, fields of the member's entry (priority, hidden, arbiterOnly).
    through: may put something before a member, and returns the host that the set shall call it by."""

    def __init__(self, scratch, count=1, name="rs0", config=None, settings=None, arguments=(), through=None):
        self.scratch, self.name = scratch, name
        self.members = [Member(scratch, f"{name}-{i}", name, arguments=arguments) for i in range(count)]
        for member in self.members:
            member.start()
            member.host = through(member) if through else member.host
        entries = [{"_id": i, "host": member.host, **(config or {}).get(i, {})} for i, member in enumerate(self.members)]
        document = {"_id": name, "members": entries,
                    "settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500, **(settings or {})}}
        self.members[0].client.admin.command("replSetInitiate", document)
        wait_for(lambda: self.states() <= {"PRIMARY", "SECONDARY", "ARBITER"} and self.primary(), "all members of the set")
        # A cursor needs a stable checkpoint.
        self.wait_checkpoint()

    def primary(self):
        for member in self.members:
            with contextlib.suppress(pymongo.errors.PyMongoError, OSError):
                if member.alive() and member.is_primary():
                    return member
        return None

    def wait_primary(self, other_than=None, limit=LIMIT_S):
        def found():
            primary = self.primary()
            return primary if primary is not other_than else None

        return wait_for(found, "a primary", limit)

    def secondaries(self):
        return [member for member in self.members if member.alive() and member.hello().get("secondary")]

    def states(self):
        states = set()
        for member in self.members:
            if member.alive():
                states.add(member.client.admin.command("replSetGetStatus")["members"][self.members.index(member)]["stateStr"])
        return states

    def by_host(self, host):
        return next(member for member in self.members if member.host == host)

    def wait_checkpoint(self, after=None, limit=LIMIT_S):
        """All data-bearing members have a stable checkpoint at or after that time (default: of now)."""
        after = after or self.wait_primary().client.admin.command("replSetGetStatus")["optimes"]["appliedOpTime"]["ts"]

        def there():
            for member in self.members:
                if not member.alive():
                    continue
                status = member.client.admin.command("replSetGetStatus")
                if status["myState"] == 7:
                    continue
                stable = status.get("lastStableRecoveryTimestamp") or status.get("lastStableCheckpointTimestamp")
                if stable is None or stable < after:
                    return False
            return True

        wait_for(there, f"a checkpoint at {after} on every member", limit)

    def client(self, **options):
        return self.scratch.client([member.host for member in self.members], replicaSet=self.name, retryWrites=False, **options)


# ---- A journal of writes ----


class Writer:
    """Writes to the set's primary, one document a command, and knows afterwards what stood there at any time.

    The truth is the journal: (optime, namespace, _id, document or None). A command whose answer was lost is looked up in
    the oplog afterwards; with w: majority an answer that came is never taken back.
    """

    def __init__(self, replica_set, database="app", collections=("orders", "people", "log"), seed=1, pad=200, pause=0.002):
        import random

        self.set, self.database, self.collections = replica_set, database, collections
        self.random, self.pad, self.pause = random.Random(seed), pad, pause
        self.journal, self.live, self.unsure = [], {name: [] for name in collections}, []
        self.next_id, self.lock = seed * 1_000_000, threading.Lock()
        self.thread, self.going, self.problem = None, threading.Event(), None
        self.client = replica_set.client(serverSelectionTimeoutMS=20000)  # an election is not a failure
        replica_set.scratch.writers.append(self)

    def document(self, key):
        return {"_id": key, "n": self.random.randrange(1000), "text": "%x" % self.random.getrandbits(4 * self.pad),
                "list": [key, {"deep": key * 2}], "when": bson.datetime.datetime.utcfromtimestamp(1_700_000_000 + key % 1000)}

    def _note(self, reply, name, key, document):
        with self.lock:
            self.journal.append((reply["opTime"]["ts"], f"{self.database}.{name}", key, document))

    def _run(self, command, name, key, document):
        db = self.client.get_database(self.database)
        try:
            reply = db.command({**command, "writeConcern": {"w": "majority", "wtimeout": 20000}})
            errors = reply.get("writeErrors") or reply.get("writeConcernError")
            if errors:
                raise pymongo.errors.OperationFailure(str(errors), 0, reply)
        except pymongo.errors.PyMongoError:
            with self.lock:
                self.unsure.append((f"{self.database}.{name}", key, document))
            raise
        if reply["n"] == 1:  # else the document was never there: its insert was lost
            self._note(reply, name, key, document)

    def write(self):
        """One insert, update or delete."""
        name = self.random.choice(self.collections)
        live, kind = self.live[name], self.random.random()
        if kind < 0.6 or not live:
            key, self.next_id = self.next_id, self.next_id + 1
            document = self.document(key)
            live.append(key)
            self._run({"insert": name, "documents": [document]}, name, key, document)
        elif kind < 0.9:
            key = self.random.choice(live)
            document = self.document(key)
            self._run({"update": name, "updates": [{"q": {"_id": key}, "u": document}]}, name, key, document)
        else:
            key = live.pop(self.random.randrange(len(live)))
            self._run({"delete": name, "deletes": [{"q": {"_id": key}, "limit": 1}]}, name, key, None)

    def load(self, count, name=None, pad=1000):
        """Many documents before anything is captured; each batch is one entry of the journal for each of its documents."""
        name = name or self.collections[0]
        for start in range(0, count, 500):
            documents = []
            for _ in range(min(500, count - start)):
                key, self.next_id = self.next_id, self.next_id + 1
                documents.append({"_id": key, "blob": self.random.randbytes(pad), "text": "%d " % key * (pad // 20)})
            reply = self.client[self.database].command(
                {"insert": name, "documents": documents, "ordered": True, "writeConcern": {"w": "majority"}})
            assert reply["n"] == len(documents) and "writeErrors" not in reply, reply
            for document in documents:
                self._note(reply, name, document["_id"], document)
                self.live[name].append(document["_id"])
        return self

    def _loop(self):
        while self.going.is_set():
            try:
                self.write()
            except pymongo.errors.PyMongoError as error:
                self.problem = error  # a failover; the next write finds the new primary
                time.sleep(0.05)
            time.sleep(self.pause)

    def start(self):
        self.going.set()
        self.thread = threading.Thread(target=self._loop, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        if self.thread is not None:
            self.going.clear()
            self.thread.join()
            self.thread = None
        return self

    def count(self):
        with self.lock:
            return len(self.journal)

    def wait_writes(self, more):
        goal = self.count() + more

        def there():
            assert self.thread.is_alive(), f"the writer has ended: {self.problem}"
            return self.count() >= goal

        wait_for(there, f"{more} more writes (last problem: {self.problem})")

    def settle(self):
        """Looks up what became of commands whose answers were lost; the writer waits meanwhile."""
        oplog = self.set.wait_primary().client.local["oplog.rs"]
        with self.lock:
            for namespace, key, document in self.unsure:
                for entry in oplog.find({"ns": namespace, "$or": [{"o._id": key}, {"o2._id": key}]}):
                    known = any(ts == entry["ts"] for ts, ns, _id, _ in self.journal if ns == namespace and _id == key)
                    op = entry["op"]
                    same = (op == "d" and document is None) or (op in "iu" and document is not None and entry["o"].get("text") == document["text"])
                    if not known and same:
                        self.journal.append((entry["ts"], namespace, key, document))
            self.unsure = []
            self.journal.sort(key=lambda item: item[0])
        return self

    def state_at(self, ts):
        """{namespace: {_id: document}} as of that time, this entry included. Call settle() first."""
        with self.lock:
            journal = list(self.journal)
        state = {}
        for when, namespace, key, document in journal:
            if when <= ts:
                state.setdefault(namespace, {})[key] = document
        return {ns: {key: doc for key, doc in docs.items() if doc is not None} for ns, docs in state.items()}


def state_of(client, database):
    """The same form as Writer.state_at, read from a server."""
    db = client[database]
    return {f"{database}.{name}": {document["_id"]: document for document in db[name].find()} for name in db.list_collection_names()}


def compare_states(expected, found):
    """'' when equal, else what differs, in few words."""
    problems = []
    for namespace in sorted(set(expected) | set(found)):
        want, have = expected.get(namespace, {}), found.get(namespace, {})
        missing, extra = sorted(set(want) - set(have)), sorted(set(have) - set(want))
        other = [key for key in want if key in have and want[key] != have[key]]
        if missing or extra or other:
            problems.append(f"{namespace}: {len(want)} expected, {len(have)} there; missing {missing[:5]} ({len(missing)}), "
                            f"too many {extra[:5]} ({len(extra)}), other content {other[:5]} ({len(other)})")
    return "; ".join(problems)


def hashes_of(client, database):
    reply = client[database].command("dbHash")
    return reply["collections"]


# ---- Our own processes ----


class CliError(AssertionError):
    pass


class Answer:
    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    @property
    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise CliError(f"{' '.join(self.command)}: no JSON document on standard output ({error}):\n{self.out}\n{self.err}") from error


class Cli:
    """holdfast, as an operator calls it."""

    def __init__(self, scratch, profile=None):
        self.scratch, self.profile = scratch, profile

    def command(self, *words):
        command = [binary("HOLDFAST"), *(str(word) for word in words)]
        if self.profile and words[0] in ("job", "policy", "snapshot", "restore", "agent", "server"):
            command += ["--profile", str(self.profile)]
        return command

    def run(self, *words, limit=120, env=None, **kwargs):
        command = self.command(*words)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=limit,
                              env={**self.scratch.env, **(env or {})}, preexec_fn=_die_with_parent, cwd=self.scratch.dir, **kwargs)
        for report in ("ERROR: AddressSanitizer", "runtime error:"):
            if report in done.stderr:
                raise CliError(f"{' '.join(command)}:\n{done.stderr}")
        return Answer(command, done.returncode, done.stdout, done.stderr)

    def __call__(self, *words, limit=120, env=None):
        """The JSON document that the command prints; it must succeed."""
        answer = self.run(*words, "--json", limit=limit, env=env)
        if answer.code != 0:
            raise CliError(f"{' '.join(answer.command)}: exit code {answer.code}\n{answer.out}\n{answer.err}")
        return answer.json

    def fails(self, code, pattern, *words, limit=120):
        """The command must end with that exit code and one line 'holdfast: ...' that matches."""
        answer = self.run(*words, limit=limit)
        said = [line for line in answer.err.splitlines() if line.startswith("holdfast: ")]
        if answer.code != code or len(said) != 1 or not re.search(pattern, said[0]):
            raise CliError(f"{' '.join(answer.command)}: exit code {answer.code}, wanted {code} and '{pattern}':\n{answer.err}{answer.out}")
        return said[0]

    def begin(self, *words):
        """Starts the command and returns at once; finish() with the Popen gives the Answer."""
        return subprocess.Popen(self.command(*words, "--json"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, errors="replace", env=self.scratch.env, preexec_fn=_die_with_parent, cwd=self.scratch.dir)

    def finish(self, popen, limit=120):
        try:
            out, err = popen.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            popen.kill()
            out, err = popen.communicate()
            raise CliError(f"{' '.join(popen.args)}: took longer than {limit} s\n{out}\n{err}") from None
        return Answer(popen.args, popen.returncode, out, err)


class Server(Process):
    """holdfast server. Its port stays the same over restarts."""

    def __init__(self, scratch, name="server", store=None, arguments=(), first_snapshot=False, schedule=False):
        self.data = scratch.dir / name / "data"
        self.store_dir = pathlib.Path(store) if store else scratch.dir / name / "store"
        self.store = f"file://{self.store_dir}"
        self.port = free_port()
        super().__init__(scratch, name, [binary("HOLDFAST"), "server", "--data-dir", self.data, "--store", self.store,
                                         "--listen", f"127.0.0.1:{self.port}", *([] if first_snapshot else ["--no-first-snapshot"]),
                                         *([] if schedule else ["--no-schedule"]), *arguments])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, env=None, arguments=()):
        super().start(env, arguments)
        self.line(r"^listening on (\S+)$")
        return self

    @property
    def key_file(self):
        found = sorted(self.data.glob("store*.key"))
        assert len(found) == 1, found
        return found[0]

    def key_arguments(self):
        return ["--key-file", str(self.key_file)]

    def keys(self):
        text = (self.data / "cli.profile").read_text()
        return re.search(r"public_key = (\S+)", text).group(1), re.search(r"private_key = (\S+)", text).group(1)

    def objects(self):
        """Objects of the store by path, with their sizes; scratch files left out."""
        return {str(path.relative_to(self.store_dir)): path.stat().st_size for path in self.store_dir.rglob("*")
                if path.is_file() and not path.name.startswith(".")}

    def packs(self):
        return {name: size for name, size in self.objects().items() if "/p/" in name}


class Agent(Process):
    def __init__(self, scratch, name, server, seeds, members=(), restore_root=None, url=None, key_file=None, arguments=()):
        self.state = scratch.dir / name / "state"
        self.restore_root = restore_root
        command = [binary("HOLDFAST"), "agent", "--server", url or server.url, "--key-file", key_file or server.data / "agent.key",
                   "--state-dir", self.state, "--watch-interval", "1s", "--seeds", seeds]
        for member in members:
            command += ["--member", member]
        if restore_root:
            pathlib.Path(restore_root).mkdir(parents=True, exist_ok=True)
            command += ["--restore-root", restore_root]
        super().__init__(scratch, name, [*command, *arguments])

    def start(self, env=None, arguments=(), ready=True):
        super().start(env, arguments)
        if ready:
            self.line(r"^serving .*$|^registered; .*$")
        return self

    def id(self):
        return (self.state / "agent.id").read_text().strip()


def wait_tail(agents, limit=LIMIT_S):
    """A job's oplog is being saved."""
    wait_for(lambda: any("agent.tail.begun" in agent.log.read_text(errors="replace") for agent in agents), "a tail", limit)


class Deployment:
    """A set, a server, an agent for each member or the first so many (the first restores), and the command line."""

    def __init__(self, scratch, members=1, set_name="rs0", config=None, server_arguments=(), agent_arguments=(), store=None,
                 settings=None, member_arguments=(), start_job=True, through=None, agents=None, first_snapshot=False, schedule=False):
        self.scratch = scratch
        self.server = Server(scratch, store=store, arguments=server_arguments, first_snapshot=first_snapshot, schedule=schedule).start()
        self.set = ReplicaSet(scratch, members, set_name, config, settings, member_arguments, through)
        self.restore_root = scratch.dir / "restored"
        seeds = ",".join(member.host for member in self.set.members)
        self.agents = []
        for i, member in enumerate(self.set.members[:agents]):
            self.agents.append(Agent(scratch, f"agent-{i}", self.server, seeds, [member.host], self.restore_root if i == 0 else None,
                                     arguments=agent_arguments).start())
        self.cli = Cli(scratch)
        if start_job:
            self.wait_members()
            self.cli("job", "start", "--set", set_name)

    def agent_of(self, host):
        return self.agents[self.set.members.index(self.set.by_host(host))]

    def wait_members(self, count=None):
        """The server has heard of that many members that can be captured, or are arbiters."""
        want = count or len(self.set.members)

        def there():
            members = [one for agent in self.cli("agent", "list")["results"] for one in agent["members"]]
            return len([one for one in members if not one.get("refusal") or one["state"] == "ARBITER"]) >= want

        wait_for(there, f"{want} members at the server", every=0.3)

    def wait_states(self, limit=LIMIT_S):
        """What the server knows of the members is what they are now, and stays so: an agent's look that was under way when a member
        restarted may still come in and say what was true before."""
        looks = []

        def same():
            members = [one for agent in self.cli("agent", "list")["results"] for one in agent["members"]]
            known = {one["host"]: one["state"] for one in members if not one.get("refusal") or one["state"] == "ARBITER"}
            for member in self.set.members:
                if not member.alive():
                    continue
                status = member.client.admin.command("replSetGetStatus")
                mine = next(one for one in status["members"] if one.get("self"))["stateStr"]
                if known.get(member.host) != mine:
                    return False
            return True

        def settled():
            looks.append(same())
            return looks[-6:] == [True] * 6

        wait_for(settled, "the server to know the members' states", limit, every=0.4)

    def take(self, *words):
        snapshot = self.cli("snapshot", "take", "--set", self.set.name, *words)
        assert snapshot["state"] == "COMPLETE", snapshot
        return snapshot

    def begin_take(self):
        """A snapshot that runs: its id."""
        return self.cli("snapshot", "take", "--set", self.set.name, "--no-wait")["id"]

    def snapshot(self, snapshot_id):
        return self.cli("snapshot", "show", "--snapshot", snapshot_id)

    def wait_ended(self, snapshot_id, limit=LIMIT_S):
        def ended():
            record = self.snapshot(snapshot_id)
            return record if record["state"] != "IN_PROGRESS" else None

        return wait_for(ended, f"the end of snapshot {snapshot_id}", limit, every=0.2)

    def wait_phase(self, snapshot_id, phase="capture", limit=LIMIT_S):
        """The capture is that far, and not at its end."""

        def there():
            record = self.snapshot(snapshot_id)
            assert record["state"] == "IN_PROGRESS", record
            return record.get("progress", {}).get("phase") == phase

        wait_for(there, f"snapshot {snapshot_id} to be {phase}", limit, every=0.1)

    def listed(self):
        return [one["id"] for one in self.cli("snapshot", "list")["results"] if one["state"] == "COMPLETE"]

    def restore(self, snapshot_id, name, *words):
        directory = self.restore_root / name
        record = self.cli("restore", "start", "--snapshot", snapshot_id, "--to", directory, *words)
        assert record["state"] == "FINISHED", record
        return directory

    def cursors_open(self):
        return [member.host for member in self.set.members if member.alive() and member.hello().get("arbiterOnly") is None
                and member.backup_cursor_open()]

    def wait_no_cursor(self, limit=LIMIT_S):
        wait_for(lambda: not self.cursors_open(), "no backup cursor to be open", limit)
        for member in self.set.members:
            if member.alive() and not member.hello().get("arbiterOnly"):
                assert member.idle_backup_cursors() == [], member.idle_backup_cursors()


def checkpoint_of(snapshot):
    """The time of a snapshot record as a BSON timestamp."""
    return bson.Timestamp(snapshot["checkpoint"]["seconds"], snapshot["checkpoint"]["increment"])


@contextlib.contextmanager
def opened(scratch, directory, name="restored", arguments=("--setParameter", "disableLogicalSessionCacheRefresh=true")):
    """A fresh standalone on a copy of a restored directory, so that looking does not change it; yields the Member."""
    label = f"{name}-{time.monotonic_ns()}"
    copy = scratch.dir / f"open-{label}"
    shutil.copytree(directory, copy)
    member = Member(scratch, f"opened-{label}", dbpath=copy, arguments=arguments)
    try:
        member.start()
        yield member
        member.close_client()
        assert member.stop() == 0, f"{member.name} did not end cleanly:\n{member.tail()}"
    finally:
        member.kill()
        shutil.rmtree(copy, ignore_errors=True)


def unpack(tar_path, into):
    """Unpacks a download; the directory that it holds."""
    into = pathlib.Path(into)
    into.mkdir(parents=True)
    with tarfile.open(tar_path) as archive:
        archive.extractall(into)
    tops = list(into.iterdir())
    assert len(tops) == 1, tops
    return tops[0]


def trees_equal(left, right, ignore=()):
    """'' when two directories hold the same files with the same bytes."""

    def content(top):
        return {str(path.relative_to(top)): path.read_bytes() for path in sorted(pathlib.Path(top).rglob("*"))
                if path.is_file() and path.name not in ignore}

    a, b = content(left), content(right)
    return "; ".join([f"only in {left}: {name}" for name in sorted(set(a) - set(b))] + [f"only in {right}: {name}" for name in sorted(set(b) - set(a))]
                     + [f"{name} differs" for name in sorted(set(a) & set(b)) if a[name] != b[name]])


# ---- A bad line between agent and server ----


class Proxy:
    """TCP in between: cut() drops every connection and refuses new ones, resume() lets them through again; after(n) cuts once
    n bytes have gone from client to server; delay slows each piece."""

    def __init__(self, target_port):
        self.target_port, self.delay = target_port, 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.lock, self.pairs, self.is_cut, self.left, self.cuts, self.upstream = threading.Lock(), set(), False, None, 0, 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), 5)
                server.settimeout(None)  # a long poll is silent for long
            except OSError:
                client.close()
                continue
            with self.lock:
                self.pairs.add((client, server))
            for source, sink, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, up), daemon=True).start()

    def passes(self, source, sink, up, piece):
        """Called with each piece before it goes on; for those who want to look, or to hold it up."""

    def _pump(self, source, sink, up):
        try:
            while True:
                piece = source.recv(65536)
                if not piece:
                    break
                if self.delay:
                    time.sleep(self.delay)
                self.passes(source, sink, up, piece)
                if up:
                    self.upstream += len(piece)
                    if self.left is not None:
                        self.left -= len(piece)
                        if self.left < 0:
                            self.left = None
                            self.drop()
                            break
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def drop(self):
        """Every connection that is open breaks; new ones may come."""
        with self.lock:
            pairs, self.pairs = self.pairs, set()
        self.cuts += 1
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def cut(self):
        self.is_cut = True
        self.drop()

    def resume(self):
        self.is_cut = False

    def after(self, count):
        self.left = count

    def close(self):
        self.listener.close()
        self.cut()


def main():
    unittest.main(verbosity=2)
