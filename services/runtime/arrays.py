"""Lists as PostgreSQL's binary arrays, a column at a time: psycopg's own way takes them value by value."""

from collections.abc import Callable
from struct import Struct, pack
from typing import Any

from psycopg import postgres
from psycopg.abc import AdaptContext
from psycopg.adapt import PyFormat
from psycopg.types.array import BaseListDumper, ListBinaryDumper

_BEYOND = 1 << 63
_HEAD = Struct(">iiiii")  # dimensions, whether there are nulls, element's type, length, lower bound
_LENGTH = Struct(">i").pack


def _integers(values: list[int]) -> bytes:
    flat = [8] * (2 * len(values))
    flat[1::2] = values
    return pack(">" + "iq" * len(values), *flat)


def _booleans(values: list[bool]) -> bytes:
    return b"".join([b"\0\0\0\1\1" if value else b"\0\0\0\1\0" for value in values])


def _texts(values: list[str]) -> bytes:
    framed = {}  # a column often says the same again and again
    for value in set(values):
        octets = value.encode()
        framed[value] = _LENGTH(len(octets)) + octets
    return b"".join([framed[value] for value in values])


def _octets(values: list[bytes]) -> bytes:
    return b"".join([part for value in values for part in (_LENGTH(len(value)), value)])


_KINDS: dict[type, tuple[str, Callable[[list[Any]], bytes]]] = {
    int: ("int8", _integers),
    bool: ("bool", _booleans),
    str: ("text", _texts),
    bytes: ("bytea", _octets),
}


class ColumnDumper(ListBinaryDumper):
    """A list of integers (of 64 bits), truth values, texts or octets at once; any other as psycopg does."""

    def get_key(self, obj: list[Any], format: PyFormat) -> Any:  # noqa: A002 - psycopg's name
        """One dumper for each kind of list."""
        kind = _kind(obj)
        return super().get_key(obj, format) if kind is None else (self.cls, ColumnDumper, kind)

    def upgrade(self, obj: list[Any], format: PyFormat) -> BaseListDumper:  # noqa: A002 - psycopg's name
        """The dumper for lists of this kind."""
        kind = _kind(obj)
        return super().upgrade(obj, format) if kind is None else _OfKind(self.cls, self._tx, kind)


class _OfKind(ListBinaryDumper):
    """Lists whose values are all of one kind."""

    def __init__(self, cls: type, context: AdaptContext | None, kind: type) -> None:
        super().__init__(cls, context)
        name, self._write = _KINDS[kind]
        info = postgres.types[name]
        self.oid = info.array_oid
        self._element_oid = info.oid

    def dump(self, obj: list[Any]) -> bytes:
        """The array."""
        return _HEAD.pack(1, 0, self._element_oid, len(obj), 1) + self._write(obj)


def _kind(values: list[Any]) -> type | None:
    kinds = set(map(type, values))
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if kind is int and not (min(values) >= -_BEYOND and max(values) < _BEYOND):
        return None
    return kind if kind in _KINDS else None
