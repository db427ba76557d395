"""The recorded input of a decision: its event and snapshot, framed and compressed."""

from __future__ import annotations

import struct

import zstandard

_LENGTH = struct.Struct("<I")
# As small as at level 1 for what is that short, in 40 % of its time. Making one costs more than using it; one
# thread only.
_COMPRESSOR = zstandard.ZstdCompressor(level=-1)
_DECOMPRESSOR = zstandard.ZstdDecompressor()
_MOST = 1 << 20


def pack_material(event: bytes, snapshot: bytes) -> bytes:
    """The serialised TakenEvent and Snapshot as one compressed value."""
    return _COMPRESSOR.compress(_LENGTH.pack(len(event)) + event + snapshot)


def unpack_material(material: bytes) -> tuple[bytes, bytes]:
    """The serialised TakenEvent and Snapshot."""
    plain = _DECOMPRESSOR.decompress(material, max_output_size=_MOST)
    (length,) = _LENGTH.unpack_from(plain)
    start = _LENGTH.size
    return plain[start : start + length], plain[start + length :]
