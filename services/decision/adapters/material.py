"""The recorded input of a decision: its event and snapshot, framed and compressed."""

from __future__ import annotations

import struct

import zstandard

_LENGTH = struct.Struct("<I")
_LEVEL = 1
_MOST = 1 << 20


def pack_material(event: bytes, snapshot: bytes) -> bytes:
    """The serialised TakenEvent and Snapshot as one compressed value."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(_LENGTH.pack(len(event)) + event + snapshot)


def unpack_material(material: bytes) -> tuple[bytes, bytes]:
    """The serialised TakenEvent and Snapshot."""
    plain = zstandard.ZstdDecompressor().decompress(material, max_output_size=_MOST)
    (length,) = _LENGTH.unpack_from(plain)
    start = _LENGTH.size
    return plain[start : start + length], plain[start + length :]
