# SPDX-License-Identifier: Apache-2.0
"""Objects, lists, nodes and roots made by hand, after docs/format, for a store without encryption. Each can be told to lie."""
import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import struct

BLOCK = 65536
ALL_ONES = (1 << 64) - 1


def xxh3(data):
    """XXH3-64, by the library that the product links."""
    library = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
    library.XXH3_64bits.restype = ctypes.c_uint64
    library.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return library.XXH3_64bits(data, len(data))


def checksum(data):
    return f"{xxh3(data):016x}"


def reference(key, plain, capture, pack, ordinal, stored_bytes):
    address = capture.to_bytes(5, "little") + pack.to_bytes(3, "little") + ordinal.to_bytes(2, "little")
    return hmac.digest(key, plain, "sha256") + address + struct.pack("<IBB", stored_bytes, 0, 0)


HOLE = bytes(46) + b"\2\0"


class Pack:
    """One pack: add() gives the reference of a block, object() the bytes to put. kind 1: blocks, 2: lists and nodes."""

    def __init__(self, job, key, capture, pack=0, kind=1):
        self.job, self.key, self.capture, self.pack, self.kind = job, key, capture, pack, kind
        self.stored, self.blocks = b"", []

    def add(self, content, stored_bytes=None, **lies):
        stored = content if stored_bytes is None else stored_bytes
        ordinal = len(self.blocks)
        self.blocks.append({"run": 0, "ordinal": ordinal, "codec": 0, "place": 32 + len(self.stored), "stored": len(stored), "plain": len(content),
                            "sum": xxh3(stored), **lies})
        self.stored += stored
        return reference(self.key, content, self.capture, self.pack, ordinal, len(stored))

    def name(self, by, /, **lies):
        f = {"kind": "pt"[self.kind - 1], "job": self.job, "capture": self.capture, "pack": self.pack, "span": 0, "round": 0, "writer": by, **lies}
        return f"j/{f['job']}/{f['kind']}/{(f['capture'] << 24) + f['pack']:016x}-{f['span']:016x}-{f['round']:04x}-{f['writer']}"

    def object(self, **lies):
        f = {"magic": b"HFobject", "version": 1, "kind": self.kind, "job": self.job, "footer_magic": b"HFfooter", "footer_version": 1,
             "footer_kind": self.kind, "footer_job": self.job, "cipher": 0, "key_version": 0, "runs": [(self.capture, self.pack)],
             "run_count": None, "block_count": None, "blocks": self.blocks, "end": b"HFobjend", "footer_length": None, "header_sum": None,
             "footer_sum": None, **lies}
        header = f["magic"] + struct.pack("<HBB", f["version"], f["kind"], 0) + bytes.fromhex(f["job"])
        header += struct.pack("<Q", xxh3(header) if f["header_sum"] is None else f["header_sum"])
        footer = f["footer_magic"] + struct.pack("<HBB", f["footer_version"], f["footer_kind"], 0) + bytes.fromhex(f["footer_job"])
        footer += struct.pack("<II", len(f["runs"]) if f["run_count"] is None else f["run_count"],
                              len(f["blocks"]) if f["block_count"] is None else f["block_count"])
        for capture, pack in f["runs"]:
            footer += capture.to_bytes(5, "little") + pack.to_bytes(3, "little") + struct.pack("<II", f["key_version"], f["cipher"]) + bytes(32)
        footer += b"".join(struct.pack("<IHBBIIIQ", one["run"], one["ordinal"], one["codec"], 0, one["place"], one["stored"], one["plain"], one["sum"])
                           for one in f["blocks"])
        tail = struct.pack("<II", len(footer) if f["footer_length"] is None else f["footer_length"], 0)
        tail += struct.pack("<Q", xxh3(footer + tail) if f["footer_sum"] is None else f["footer_sum"])
        return header + self.stored + footer + tail + f["end"]


def depth_of(blocks):
    depth = 0
    if blocks > 8:
        while blocks > 1:
            blocks, depth = -(-blocks // 128), depth + 1
    return depth


def entry(path, size, references, depth=None, log2=16, count=None):
    path = path if isinstance(path, bytes) else path.encode()
    depth = depth_of(-(-size // (1 << log2))) if depth is None else depth
    return (struct.pack("<H", len(path)) + path + struct.pack("<QBBBBI", size, log2, depth, len(references) if count is None else count, 0, 0o600)
            + struct.pack("<QQQQQQQI", 1, 2, size, ALL_ONES, 3, 4, 5, 0) + b"".join(references))


def file_list(entries, count=None):
    return b"HFls" + struct.pack("<BBHI", 1, 0, 0, len(entries) if count is None else count) + b"".join(entries)


def node(level, references):
    return b"HFnd" + struct.pack("<BBBB", 1, level, len(references), 0) + b"".join(references)


def root(lists, files, size, count=None, sums=(0,) * 7):
    """As messages carry it."""
    body = b"HFrt" + struct.pack("<IQ", 1, len(lists) if count is None else count) + struct.pack("<9Q", files, size, *sums)
    return base64.b64encode(body + b"".join(lists)).decode()


def hash_of(data):
    return hashlib.sha256(data).hexdigest()


# ---- Oplog slices ----

NO_OPTIME = (0, 0, -1)
CAUSES = {"none": 0, "first": 1, "rolledOver": 2, "rollback": 3, "fcvChanged": 4}


def slice_key(hash_key, job, info):
    """HKDF-SHA-256 with the job as salt."""
    return hmac.digest(hmac.digest(bytes.fromhex(job), hash_key, "sha256"), info + b"\1", "sha256")


def oplog_entries(first_s, count, term=1):
    """No-ops as a member writes them: (optime, bytes) each."""
    entries = []
    for i in range(1, count + 1):
        body = b"\x11ts\0" + struct.pack("<II", i, first_s) + b"\x12t\0" + struct.pack("<q", term) + b"\x02op\0" + struct.pack("<i", 2) + b"n\0" + b"\x02ns\0" + struct.pack("<i", 1) + b"\0"
        body += b"\x03o\0" + struct.pack("<i", 5) + b"\0"
        entries.append(((first_s, i, term), struct.pack("<i", len(body) + 5) + body + b"\0"))
    return entries


class HandSlice:
    """One slice of one block, without compression. Lies go into the header before it gets its MAC, unless they are about that."""

    def __init__(self, task, entries, **lies):
        tail, keys = task["tail"], task["keys"]
        start = tail["start"]
        previous = start.get("previous")
        f = {"job": keys["job"], "writer": tail["writer"], "set": tail["set"], "member": tail["member"], "fcv": "4.4", "round": 0,
             "first": entries[0][0], "last": entries[-1][0], "previous": (previous["s"], previous["i"], previous["t"]) if previous else NO_OPTIME,
             "cause": start["cause"], "broken_after": NO_OPTIME, "sequence": start.get("sequence", 0), "count": len(entries), "noops": len(entries),
             "hash_before": base64.b64decode(start.get("hash", "")) or bytes(32), "blocks": 1, "terms": 1, "plain": None, "key": base64.b64decode(keys["hashKey"]),
             "mac": None, "block_count": len(entries), **lies}
        self.first, self.last, self.fields = f["first"], f["last"], f
        chain = slice_key(f["key"], f["job"], b"holdfast oplog chain 1")
        self.hash_after = f["hash_before"]
        for _, entry_bytes in entries:
            self.hash_after = hmac.digest(chain, self.hash_after + entry_bytes, "sha256")
        content = b"".join(entry_bytes for _, entry_bytes in entries)
        index = b"HFsx" + struct.pack("<IIII", 1, 0, 1, 1) + b"\1" + struct.pack("<IHBBI", f["first"][0] // 60, 0, 5, 0, len(entries))
        head = b"HFslice_" + struct.pack("<HH", 1, 0) + bytes.fromhex(f["job"])
        head += struct.pack("<Q", xxh3(head))
        header = b"HFslhead" + struct.pack("<HH", 1, 0) + bytes.fromhex(f["job"]) + bytes.fromhex(f["writer"]) + struct.pack("<I", f["round"])
        header += b"".join(map(self.optime, (f["first"], f["last"], f["previous"]))) + struct.pack("<Q", CAUSES.get(f["cause"], f["cause"]))
        header += self.optime(f["broken_after"]) + struct.pack("<QIIQ", f["sequence"], f["count"], f["noops"], len(content) if f["plain"] is None else f["plain"])
        header += f["hash_before"] + self.hash_after + struct.pack("<II", 0, 0) + bytes(32) + struct.pack("<II", f["terms"], f["blocks"])
        header += b"".join(struct.pack("<H", len(text)) + text.encode() for text in (f["set"], f["member"], f["fcv"]))
        header += self.optime(f["first"])
        header += struct.pack("<IIIIBBHQ", 32, len(content), len(content), f["block_count"], 0, 0, 0, xxh3(content)) + self.optime(f["last"]) + self.hash_after
        header += struct.pack("<IIIBBHQ", 32 + len(content), len(index), len(index), 0, 0, 0, xxh3(index))
        header += hmac.digest(slice_key(f["key"], f["job"], b"holdfast oplog header 1"), header, "sha256") if f["mac"] is None else f["mac"]
        trailer = struct.pack("<II", len(header), 0)
        self.object = head + content + index + header + trailer + struct.pack("<Q", xxh3(header + trailer)) + b"HFslend_"

    @staticmethod
    def optime(value):
        return struct.pack("<IIQ", value[0], value[1], (value[2] + 1) & ALL_ONES)

    @property
    def name(self):
        def words(optime):
            return self.optime(optime)[:4][::-1].hex() + self.optime(optime)[4:8][::-1].hex() + f"{(optime[2] + 1) & ALL_ONES:016x}"
        f = self.fields
        return f"j/{f['job']}/o/{words(self.last)}-{words(self.first)}-{f['round']:04x}-{f['writer']}"
