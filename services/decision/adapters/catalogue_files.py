"""The files of a catalogue as one compressed text: a decision is run again with that of its time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import zstandard

from services.vocabulary.catalogue import Catalogue, load_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATTERNS = ("catalogue/*.yaml", "policies/arbitration.yaml", "templates/**/*")
_MOST = 1 << 26


def pack_catalogue(rules: Path) -> bytes:
    """Every file of a rules folder that counts into the catalogue's version."""
    files = {path.relative_to(rules).as_posix(): path.read_text(encoding="utf-8") for path in _files(rules)}
    return zstandard.ZstdCompressor(level=9).compress(orjson.dumps(files, option=orjson.OPT_SORT_KEYS))


def open_catalogue(packed: bytes) -> Catalogue:
    """The catalogue as this release reads those files; its version is that of the files."""
    files = orjson.loads(zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MOST))
    with tempfile.TemporaryDirectory(prefix="rapport-catalogue-") as folder:
        rules = Path(folder) / "rules"
        for name, text in files.items():
            path = rules / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return load_catalogue(rules)


def _files(rules: Path) -> Iterator[Path]:
    for pattern in _PATTERNS:
        yield from sorted(path for path in rules.glob(pattern) if path.is_file())
