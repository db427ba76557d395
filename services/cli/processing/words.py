"""The words around what the catalogue says, by language: `words.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

WORDS: Final[Mapping[str, Mapping[str, str]]] = orjson.loads(
    Path(__file__).with_name("words.json").read_bytes()
)
LOCALES: Final = tuple(WORDS)
