"""Lines of a person as they are kept, in the person's own record and in the household's."""

from collections.abc import Iterable

from rapport.profile.v1 import stored_pb2

from services.profile.domain.accounts import Line


def pack_lines(lines: Iterable[Line]) -> list[stored_pb2.StoredLine]:
    """Lines of a person."""
    return [
        stored_pb2.StoredLine(
            line=line.line,
            payer=line.payer,
            subscription=line.subscription,
            from_micros=line.from_micros,
            until_micros=line.until_micros,
            account=line.account,
        )
        for line in lines
    ]


def unpack_lines(stored: Iterable[stored_pb2.StoredLine]) -> list[Line]:
    """The same the other way round."""
    return [
        Line(one.line, one.subscription, one.account, one.payer, one.from_micros, one.until_micros)
        for one in stored
    ]
