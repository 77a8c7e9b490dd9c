# SPDX-License-Identifier: Apache-2.0
"""One connection that speaks the wire protocol itself, so that a test can send what a driver would not."""
import base64
import hashlib
import hmac
import os
import socket
import struct

import bson
from bson.codec_options import CodecOptions
from bson.son import SON

TYPED = CodecOptions(document_class=SON, uuid_representation=bson.binary.STANDARD)


class Raw:
    """command() sends a document as it is and gives the answer as it came."""

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

    def __del__(self):
        if hasattr(self, "socket"):
            self.close()
