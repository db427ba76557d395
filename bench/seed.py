"""Profiles as they are after weeks of use, written into the profile database in the service's own form."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import psycopg
from rapport.profile.v1 import stored_pb2

from bench.traffic import MIX, PLANS, event_data, msisdn
from services.cli.stack.layout import Layout
from services.cli.stack.state import Stack
from services.cli.stack.trust_files import keys_file
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packed_record import pack_record
from services.profile.adapters.packed_traits import HOT
from services.profile.adapters.packing import Kept, pack_hot
from services.profile.adapters.rows.identities import seal_identity
from services.profile.domain.consent import Consent
from services.profile.domain.customer import Customer, Record
from services.profile.domain.events import EventChecker, RawEvent
from services.runtime.data_keys import data_key_context
from services.runtime.keys import Keyring, Sealer
from services.vocabulary.catalogue import Catalogue, load_catalogue
from services.vocabulary.identities import Identity
from services.vocabulary.words import Channel, ConsentBy, ConsentState, Purpose

VARIANTS = 200
"""Different histories; each belongs to many customers, as packing 100,000 of them would only take time."""
_MADE_FOR = 1
"""The customer for whom histories are made, before they are others'."""
_SECOND = 1_000_000
_BACK_SECONDS = 28 * 86_400
"""How far the histories go back: within what is kept one by one."""


@dataclass(frozen=True, slots=True)
class History:
    """What one customer has behind it, as kept."""

    hot: bytes
    direct: bytes
    """What of it names a person, not sealed."""
    activity_bytes: int
    sequence: int
    traits: str


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was written."""

    profiles: int
    hot_bytes: int
    """Mean size of the value that every event rewrites."""
    activity_bytes: int
    entries: float
    """Mean number of events in a customer's activity."""


def make_history(catalogue: Catalogue, types: Types, activity_bytes: int, seed: int, now: int) -> History:
    """A customer with traits and as many events of the benchmark's mix as fill so many bytes of activity."""
    draw = random.Random(seed)
    checker = EventChecker(catalogue, orjson.loads, orjson.dumps, wall=False)
    traits = _traits(draw)
    begin = now - _BACK_SECONDS * _SECOND
    # find out how many events fill it, then spread them evenly over the weeks
    count = max(4, activity_bytes // 14)
    while True:
        customer = Customer(_MADE_FOR, 0, Kept(b"", b""))
        data = orjson.dumps({"traits": traits})
        raw = RawEvent("traits", "bench", "profile.updated", begin, "msisdn:+33600000001", data)
        customer.apply(checker.check(raw, now), catalogue)
        times = sorted(draw.randrange(begin, now - 60 * _SECOND) for _ in range(count))
        for number, micros in enumerate(times):
            kind = MIX[number % len(MIX)]
            cycle = datetime.fromtimestamp(micros / _SECOND, UTC).strftime("%Y-%m")
            fields = event_data(kind, f"b-{number}", draw, cycle)
            raw = RawEvent(f"{number}", "bench", kind, micros, "msisdn:+33600000001", fields)
            customer.apply(checker.check(raw, now), catalogue)
        hot = pack_hot(customer, types)
        size = sum(len(item.activity) for item in stored_pb2.StoredHot.FromString(hot).activity)
        if abs(size - activity_bytes) <= max(16, activity_bytes // 50):
            break
        step = (activity_bytes - size) // 14
        count = max(1, count + (step or (1 if size < activity_bytes else -1)))
        if count > 1000:
            break
    sealed = stored_pb2.StoredHot.FromString(hot).direct
    return History(
        hot,
        types.sealer.open(sealed, f"{HOT}/{_MADE_FOR}"),
        size,
        customer.sequence,
        orjson.dumps(traits).decode(),
    )


def _traits(draw: random.Random) -> dict[str, Any]:
    return {
        "name": draw.choice(("Camille", "Dominique", "Sacha", "Noa")),
        "language": "en",
        "zone": "Europe/Paris",
        "plan": draw.choice(PLANS),
        "plan_data_mb": draw.choice((50_000_000, 100_000_000)),  # no mark is ever crossed
        "plan_price": {"amount": str(Decimal(999 + 500 * draw.randrange(5)) / 100), "currency": "EUR"},
        "cycle_day": draw.randint(1, 28),
        "tenure_months": draw.randrange(120),
        "prepaid": False,
        "brand": "bench",
    }


def hot_of(history: History, customer: int, sealer: Sealer) -> bytes:
    """The history as this customer's: what names a person is sealed for that person alone."""
    hot = stored_pb2.StoredHot.FromString(history.hot)
    hot.direct = sealer.seal(history.direct, f"{HOT}/{customer}")
    return hot.SerializeToString()


def make_record(customer: int, now: int, sealer: Sealer) -> bytes:
    """Identity and consents of one customer, packed."""
    record = Record(identities=[(Identity("msisdn", msisdn(customer)), "")])
    for purpose in (Purpose.MARKETING, Purpose.PROFILING_USAGE):
        channel = Channel.SMS if purpose is Purpose.MARKETING else None
        record.consents.add(Consent(purpose, channel, ConsentState.GRANTED, now, ConsentBy.PERSON))
    return pack_record(record, now, customer, sealer)


def seed_profiles(stack: Stack, rules: Path, profiles: int, activity_bytes: int, now: int) -> Seeded:
    """Writes that many customers by COPY, ids from 1; the database must hold none yet. `now`: wall micros."""
    catalogue = load_catalogue(rules)
    with _connect(stack) as connection:
        sealer = _sealer(stack, connection)
    types = Types(catalogue, sealer)
    histories = [make_history(catalogue, types, activity_bytes, seed, now) for seed in range(VARIANTS)]
    draw = random.Random(activity_bytes)
    picks = [draw.randrange(VARIANTS) for _ in range(profiles)]
    customers = range(1, profiles + 1)
    with _connect(stack) as connection:
        _copy(
            connection,
            "customer (id, sequence, hot)",
            ("int8", "int8", "bytea"),
            (
                (customer, histories[pick].sequence, hot_of(histories[pick], customer, sealer))
                for customer, pick in zip(customers, picks, strict=True)
            ),
        )
        _copy(
            connection,
            "customer_record (customer, record)",
            ("int8", "bytea"),
            ((customer, make_record(customer, now, sealer)) for customer in customers),
        )
        _copy(
            connection,
            "identity (lookup, sealed, customer, line)",
            ("bytea", "bytea", "int8", "text"),
            ((*seal_identity(sealer, f"msisdn:{msisdn(customer)}"), customer, "") for customer in customers),
        )
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY customer_traits (customer, traits) FROM STDIN") as copy,
        ):
            for customer, pick in zip(customers, picks, strict=True):
                copy.write_row((customer, histories[pick].traits))
        connection.execute("SELECT setval('customer_id', %s)", (profiles,))
        for table in ("customer", "customer_record", "identity", "customer_traits"):
            connection.execute(f"VACUUM (ANALYZE) {table}".encode())
    chosen = [histories[pick] for pick in picks]
    return Seeded(
        profiles,
        _mean([len(history.hot) for history in chosen]),
        _mean([history.activity_bytes for history in chosen]),
        round(sum(history.sequence for history in chosen) / profiles, 1),
    )


def _sealer(stack: Stack, connection: psycopg.Connection[Any]) -> Sealer:
    """As the stack's own roles have it."""
    ring = Keyring.read(str(keys_file(Layout(stack.folder))))
    sealer = Sealer(ring)
    rows = connection.execute("SELECT number, wrapping, wrapped FROM data_key WHERE wrapped IS NOT NULL")
    keys = {
        number: ring.unwrap(name, bytes(wrapped), data_key_context("profile", number))
        for number, name, wrapped in rows
    }
    sealer.load(keys, max(keys))
    return sealer


def _mean(values: Sequence[int]) -> int:
    return round(sum(values) / len(values))


def _connect(stack: Stack) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(stack.database_socket),
        user="profile",
        password=stack.database_password("profile").read_text(encoding="utf-8").strip(),
        dbname="profile",
        autocommit=True,
    )


def _copy(connection: psycopg.Connection[Any], into: str, types: Sequence[str], rows: Any) -> None:
    statement = f"COPY {into} FROM STDIN (FORMAT BINARY)".encode()
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
