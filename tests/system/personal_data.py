"""Looks for people in what a running stack writes about itself, in every spelling that they might be in."""

import base64
import http.client
import json
import re
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from services.cli.stack.options import ROLES
from services.cli.stack.state import Stack

TEST_NUMBER = re.compile(rb"(?<![0-9a-zA-Z.])\+?336[0-9]{8}(?![0-9a-zA-Z.])")
"""A subscriber number as tests make them, in any file."""


@dataclass(frozen=True)
class Found:
    """Somebody, and where."""

    what: str
    where: str
    line: bytes


def spellings(text: str) -> set[bytes]:
    """How a text may stand in a file: as it is, escaped for JSON or an address, or in base 64."""
    plain = text.encode()
    # at each of the three places where the first byte may come in base 64, without what its neighbours change
    shifted = {base64.b64encode(b"x" * shift + plain)[4 if shift else 0 : -4] for shift in range(3)}
    return {
        plain,
        plain.lower(),
        plain.upper(),
        json.dumps(text)[1:-1].encode(),
        quote(text).encode(),
        plain.hex().encode(),
        *(piece for piece in shifted if len(piece) >= 8),
    }


def people_in(texts: Iterable[tuple[str, bytes]], people: Iterable[str]) -> list[Found]:
    """Each of the people in each of the texts (where it stands, and what it says)."""
    wanted = {person: spellings(person) for person in people}
    return [
        Found(person, where, _line_of(text, spelling))
        for where, text in texts
        for person, spelt in wanted.items()
        for spelling in spelt
        if spelling in text
    ]


def numbers_in_logs(folder: Path) -> list[Found]:
    """Numbers of any test in the logs of a stack."""
    return [
        Found(found.group().decode(), where, _line_of(text, found.group()))
        for where, text in logs_of(folder)
        for found in TEST_NUMBER.finditer(text)
    ]


def logs_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every log of a stack: of each role, PostgreSQL, NATS, the providers and the supervisor."""
    for path in sorted((folder / "log").glob("*")):
        yield f"log of {path.name}", path.read_bytes()


def metrics_of(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """What each role tells Prometheus."""
    secrets = stack.layout
    context = ssl.create_default_context(cafile=str(secrets.secret("ca.crt")))
    context.load_cert_chain(secrets.secret("profile.crt"), secrets.secret("profile.key"))
    for role in ROLES:
        host, _, port = stack.address(f"{role}-metrics").rpartition(":")
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200
        assert b"rapport_build_info" in body, "an empty scrape proves nothing"
        yield f"metrics of {role}", body


def _line_of(text: bytes, wanted: bytes) -> bytes:
    at = text.index(wanted)
    return text[text.rfind(b"\n", 0, at) + 1 : at + 200].splitlines()[0][:600]
