# SPDX-License-Identifier: Apache-2.0
"""Memory of agent and server where a member has 100,000 files, or files of many GiB.

A member that has made so many tables itself takes hours; this one lists them and has a small data set: a proxy in front of it
adds them to what $backupCursor answers. For the agent there is no difference: it is told of files below dbPath, and they are
there.
"""
import os
import random
import shutil
import socket
import struct
import threading

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from measure import MIB, Failed, tree_hash
from source import SNAPSHOT_LIMIT_S, Deployed, harness, start_member

SEED = 4
FOLDER = "many"
OP_MSG = 2013
LARGE_BYTES = 2 << 30
AS_IT_CAME = CodecOptions(document_class=bson.SON, uuid_representation=bson.binary.STANDARD)


def make_tree(top, count):
    """Small tables: a page or three, most of it text-like, a thousand files a directory, as with directoryPerDB."""
    rng = random.Random(SEED)
    words = [rng.randbytes(5).hex() for _ in range(500)]
    listed = []
    for number in range(count):
        directory = top / f"db{number // 1000:04d}"
        if number % 1000 == 0:
            directory.mkdir(parents=True)
        text = f"{number:012d} " + " ".join(rng.choices(words, k=300))
        size = rng.choice((4096, 4096, 8192, 12288))
        path = directory / f"collection-{number}.wt"
        path.write_bytes((text * (size // len(text) + 1)).encode()[:size])
        listed.append({"filename": str(path), "fileSize": bson.Int64(size)})
    return listed


def make_large(top, size):
    """Files of 2 GiB, three quarters of them text-like. Every 64 KiB begin with a number of their own: no block is another's."""
    rng = random.Random(SEED)
    words = [rng.randbytes(5).hex().encode() for _ in range(500)]
    piece = bytearray(b" ".join(rng.choices(words, k=80000))[:3 * MIB // 4] + rng.randbytes(MIB // 4))
    listed, stamp = [], 0
    top.mkdir()
    for number in range(-(-size // LARGE_BYTES)):
        path = top / f"collection-{number}.wt"
        length = min(LARGE_BYTES, size - number * LARGE_BYTES)
        with open(path, "wb") as file:
            for _ in range(length // MIB):
                for place in range(0, MIB, 1 << 16):
                    stamp += 1
                    struct.pack_into("<Q", piece, place, stamp)
                file.write(piece)
        listed.append({"filename": str(path), "fileSize": bson.Int64(path.stat().st_size)})
    return listed


class Proxy:
    """Passes everything between the agent and the member, but adds documents to the answer that opens a backup cursor."""

    def __init__(self, port, member, added):
        self.member, self.added, self.times = member, [RawBSONDocument(bson.encode(one)) for one in added], 0
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.member)
            for run in (self.pass_on, self.answer):
                threading.Thread(target=run, args=(client, server), daemon=True).start()

    @staticmethod
    def pass_on(client, server):
        try:
            while piece := client.recv(1 << 16):
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the agent or the member has gone: the other direction ends too

    def answer(self, client, server):
        try:
            with server.makefile("rb") as stream, client:
                while len(head := stream.read(16)) == 16:
                    length, request, response, code = struct.unpack("<iiii", head)
                    body = stream.read(length - 16)
                    if code == OP_MSG and b"backupId" in body:
                        body = self.add(body)
                    client.sendall(struct.pack("<iiii", 16 + len(body), request, response, code) + body)
        except OSError:
            pass  # as above

    def add(self, body):
        """body: flags, the kind of the one section, a document."""
        document = bson.decode(body[5:], AS_IT_CAME)
        batch = document.get("cursor", {}).get("firstBatch", [])
        if not batch or "metadata" not in batch[0]:
            return body
        batch.extend(self.added)
        self.times += 1
        return struct.pack("<IB", 0, 0) + bson.encode(document, codec_options=AS_IT_CAME)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts: as long as that one waits, the port is taken
        self.listener.close()


def measure(data, scratch_dir, make):
    """The most memory that agent and server had: two captures, a verification, and a restore, which is compared. make(directory) writes the
    files and says what to list; they go before the restore, which needs their room."""
    os.environ["HOLDFAST_TEST_TMP"] = str(scratch_dir)
    scratch = harness.Scratch("bench-many")
    scratch.env.pop("HOLDFAST_NICE")  # the tests' agents do not stand back: no default
    try:
        dbpath, port, _ = start_member(scratch, data, "127.0.0.2")
        added = make(dbpath / FOLDER)
        proxy = Proxy(port, ("127.0.0.2", port), added)
        with Deployed(scratch, port) as deployed:
            taken = [deployed.take(), deployed.take()]
            captured = deployed.peaks()
            if proxy.times < 2 or taken[1]["files"] < len(added):
                raise Failed(f"the member listed more files {proxy.times} times, and the snapshot has {taken[1]['files']} of {len(added)}")
            if not deployed.cli("snapshot", "verify", taken[1]["id"], limit=SNAPSHOT_LIMIT_S)["ok"]:
                raise Failed("of many files, the snapshot does not verify")
            verified = deployed.peaks()
            content = tree_hash(dbpath / FOLDER)
            shutil.rmtree(dbpath / FOLDER)
            restore_s = deployed.restore(taken[1]["id"])
            peaks = deployed.peaks()
            if tree_hash(deployed.restored / "all" / FOLDER) != content:
                raise Failed("of many files, what was restored differs from its source")
        proxy.close()
        return {"files": len(added), "bytes": taken[1]["bytes"], "peaks_captures": captured, "peaks_verified": verified, "peaks": peaks,
                "seconds": [one["seconds"] for one in taken], "restore_seconds": restore_s}
    except BaseException:
        scratch.show()
        raise
    finally:
        scratch.close()


def measure_all(data, scratch_dir, count, large):
    """So many small files; and so many bytes in large ones, unless 0."""
    found = measure(data, scratch_dir, lambda top: make_tree(top, count))
    found["large"] = large and measure(data, scratch_dir, lambda top: make_large(top, large))
    return found
