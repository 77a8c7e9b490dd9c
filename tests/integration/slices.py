# SPDX-License-Identifier: Apache-2.0
"""Oplog slices as docs/format/oplog-slice.md has them, read by a second hand: of a job without encryption, HMACs passed over."""
import ctypes
import functools
import struct

HEAD_BYTES, TRAILER_BYTES = 32, 24


@functools.lru_cache(None)
def _zstd():
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = library.ZSTD_isError.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    return library


def unpack_zstd(stored, plain_bytes):
    out = ctypes.create_string_buffer(max(plain_bytes, 1))
    got = _zstd().ZSTD_decompress(out, plain_bytes, stored, len(stored))
    assert not _zstd().ZSTD_isError(got) and got == plain_bytes, (got, plain_bytes)
    return out.raw[:plain_bytes]


NONE = (0, 0, -1)


def optime(data, at):
    seconds, increment, term = struct.unpack_from("<IIQ", data, at)
    return (seconds, increment, term - 1) if seconds or increment else NONE


CAUSES = ["none", "first", "rolledOver", "rollback", "fcvChanged", "recreated", "restored", "topology", "storeChanged", "storeLost", "resumed"]


class Slice:
    """Header fields by name, and entries(): the raw documents."""

    def __init__(self, data, name=""):
        self.data, self.name = data, name
        assert data[:8] == b"HFslice_" and data[-8:] == b"HFslend_", name
        (header_bytes,) = struct.unpack_from("<I", data, len(data) - TRAILER_BYTES)
        head = data[len(data) - TRAILER_BYTES - header_bytes:-TRAILER_BYTES]
        assert head[:8] == b"HFslhead", name
        self.job, self.writer = head[12:24].hex(), head[24:36].hex()
        (self.round,) = struct.unpack_from("<I", head, 36)
        self.first, self.last, self.previous = (optime(head, at) for at in (40, 56, 72))
        self.cause = CAUSES[struct.unpack_from("<Q", head, 88)[0]]
        self.broken_after = optime(head, 96)
        self.sequence, self.entry_count, self.noop_count, self.plain_bytes = struct.unpack_from("<QIIQ", head, 112)
        self.hash_before, self.hash_after = head[136:168], head[168:200]
        self.cipher = struct.unpack_from("<I", head, 204)[0]
        terms, blocks = struct.unpack_from("<II", head, 240)
        at, texts = 248, []
        for _ in range(3):
            (length,) = struct.unpack_from("<H", head, at)
            texts.append(head[at + 2:at + 2 + length].decode())
            at += 2 + length
        self.set, self.member, self.fcv = texts
        self.terms = [optime(head, at + 16 * i) for i in range(terms)]
        at += 16 * terms
        self.blocks = [struct.unpack_from("<IIIIBB", head, at + 76 * i) for i in range(blocks)]

    def entries(self):
        assert self.cipher == 0, "encrypted"
        plain = b""
        for place, stored, length, _, codec, _ in self.blocks:
            piece = self.data[place:place + stored]
            plain += unpack_zstd(piece, length) if codec == 1 else piece
        found, at = [], 0
        while at < len(plain):
            (length,) = struct.unpack_from("<i", plain, at)
            found.append(plain[at:at + length])
            at += length
        assert len(found) == self.entry_count and at == self.plain_bytes, (self.name, len(found), self.entry_count)
        return found
