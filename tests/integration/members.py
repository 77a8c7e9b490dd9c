# SPDX-License-Identifier: Apache-2.0
"""Members of replica sets for tests: the sandbox, or the mongod that HOLDFAST_TEST_MONGOD names.

Nothing here knows which of the two answers. A raw client speaks the wire protocol itself, so that a test can send
what a driver would not.
"""
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import bson
from bson.codec_options import CodecOptions
from bson.son import SON

TYPED = CodecOptions(document_class=SON, uuid_representation=bson.binary.STANDARD)


def server_binary():
    for name in ("HOLDFAST_TEST_MONGOD", "HOLDFAST_SANDBOX"):
        if os.environ.get(name):
            return os.environ[name]
    raise SystemExit("set HOLDFAST_SANDBOX to the sandbox's executable, or HOLDFAST_TEST_MONGOD to a mongod")


def is_sandbox():
    return not os.environ.get("HOLDFAST_TEST_MONGOD")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Raw:
    """One connection; command() sends a document as it is and gives the answer as it came."""

    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.request_id = 0

    def send(self, body):
        self.request_id += 1
        head = struct.pack("<iiii", 16 + len(body), self.request_id, 0, 2013)
        self.socket.sendall(head + body)

    def receive(self):
        head = self._exactly(16)
        length = struct.unpack("<i", head[:4])[0]
        return self._exactly(length - 16)

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("connection closed")
            data += piece
        return data

    def command(self, document, db="admin"):
        if "$db" not in document:
            document = SON(document)
            document["$db"] = db
        encoded = bson.BSON.encode(document, codec_options=TYPED)
        self.send(struct.pack("<I", 0) + b"\0" + encoded)
        return bson.BSON(self.receive()[5:]).decode(TYPED)

    def ok(self, document, db="admin"):
        answer = self.command(document, db)
        assert answer["ok"] == 1, (document, answer)
        return answer

    def login(self, user, password, db="admin"):
        """SCRAM-SHA-256, step by step."""
        import base64
        import hashlib
        import hmac

        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = "n=%s,r=%s" % (user, nonce)
        first = self.command(SON([("saslStart", 1), ("mechanism", "SCRAM-SHA-256"), ("payload", ("n,," + bare).encode())]), db)
        if first["ok"] != 1:
            return first
        challenge = bytes(first["payload"]).decode()
        parts = dict(part.split("=", 1) for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = "c=biws,r=" + parts["r"]
        message = ",".join((bare, challenge, without)).encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        last = self.command(SON([("saslContinue", 1), ("conversationId", 1), ("payload", (without + ",p=" + proof).encode())]), db)
        if last["ok"] == 1 and not last["done"]:
            last = self.command(SON([("saslContinue", 1), ("conversationId", 1), ("payload", b"")]), db)
        return last

    def close(self):
        self.socket.close()


class Member:
    """A server process with a data directory of its own."""

    def __init__(self, *arguments, dbpath=None, port=None):
        self.port = port or free_port()
        self.root = tempfile.mkdtemp(prefix="holdfast-member-")
        self.dbpath = dbpath or os.path.join(self.root, "data")
        os.makedirs(self.dbpath, exist_ok=True)
        self.arguments = list(arguments)
        self.process = None
        self.start()

    def start(self):
        self.log = open(os.path.join(self.root, "log"), "ab")
        self.process = subprocess.Popen(
            [server_binary(), "--dbpath", self.dbpath, "--port", str(self.port), "--bind_ip", "127.0.0.1"] + self.arguments,
            stdout=self.log, stderr=self.log)
        deadline = time.time() + 60
        while True:
            try:
                Raw(self.port).close()
                return
            except OSError:
                if self.process.poll() is not None or time.time() > deadline:
                    raise SystemExit("the member did not start:\n" + self.log_text())
                time.sleep(0.05)

    def raw(self):
        return Raw(self.port)

    def log_text(self):
        with open(os.path.join(self.root, "log"), errors="replace") as log:
            return log.read()[-4000:]

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.log.close()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def wait_for(condition, what, seconds=60):
    deadline = time.time() + seconds
    while not condition():
        if time.time() > deadline:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.1)


def initiate(members, name="rs0", config=None):
    """Makes a set of the members and waits for its primary. config: extra fields for each member."""
    listed = []
    for at, member in enumerate(members):
        one = SON([("_id", at), ("host", "127.0.0.1:%d" % member.port)])
        one.update((config or {}).get(at, {}))
        listed.append(one)
    first = members[0].raw()
    first.ok(SON([("replSetInitiate", SON([("_id", name), ("members", listed)]))]))
    wait_for(lambda: first.command({"hello": 1}).get("isWritablePrimary"), "a primary")
    for member in members[1:]:
        raw = member.raw()
        wait_for(lambda raw=raw: (lambda hello: hello.get("secondary") or hello.get("arbiterOnly"))(raw.command({"hello": 1})),
                 "the other members")
        raw.close()
    first.close()
