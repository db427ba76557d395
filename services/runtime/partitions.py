"""All roles agree on the number of partitions; it is changed only when nothing of the old one waits."""

from dataclasses import dataclass

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError as NoConsumerError

from services.runtime.audit import Change, newest_audit, write_audit
from services.runtime.database import Database, Transaction
from services.runtime.errors import SettingError
from services.runtime.streams import WORK_STREAMS, consumer_name

PARTITIONS_KEY = "rapport.partitions"
"""Under this name a stream's metadata says by how many partitions its messages are dealt out."""
_TARGET = "configuration/partitions"
_FIELD = "RAPPORT_PARTITIONS"
_LOCK = 0x5261_7070_04


@dataclass(frozen=True, slots=True)
class _Stream:
    """A work stream as it stands: the number agreed (None: none yet), and how many ask by consumer."""

    name: str
    agreed: int | None
    waiting: int
    asking: dict[str, int]


async def settle_partitions(database: Database, jetstream: JetStreamContext, partitions: int) -> None:
    """Agree to this number once the streams are there, before anything is taken or published.

    SettingError while the service's outbox or a stream holds what was put there for another number, or while
    a role of another number runs. Otherwise consumers beyond the number are removed; a change stands in the
    streams' metadata and in the audit log.
    """
    async with database.transaction() as transaction:
        await transaction.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        before = await _agreed(transaction)
        if before != partitions:
            await _check_outbox(transaction, before, partitions)
        streams = [await _look(jetstream, name) for name in WORK_STREAMS]
        for stream in streams:
            _check_stream(stream, before, partitions)
        for stream in streams:
            await _agree(jetstream, stream, partitions)
        if before != partitions:
            await write_audit(
                transaction,
                Change(
                    "configuration.partitions",
                    _TARGET,
                    before=None if before is None else {"partitions": before},
                    after={"partitions": partitions},
                ),
            )


async def _agreed(transaction: Transaction) -> int | None:
    newest = await newest_audit(transaction, _TARGET)
    return None if newest is None or newest.after is None else int(newest.after["partitions"])


async def _check_outbox(transaction: Transaction, before: int | None, partitions: int) -> None:
    row = await transaction.row(
        # what was written before any number was agreed to fits if its partition is there
        "SELECT count(*) FROM outbox WHERE %(before)s::int IS NOT NULL OR partition >= %(partitions)s",
        {"before": before, "partitions": partitions},
    )
    if row is not None and row[0]:
        old = "more" if before is None else str(before)
        raise SettingError(
            f"{row[0]} messages of {old} partitions wait in the outbox, and {partitions} are set",
            field=_FIELD,
            suggestion=_way_back(old),
        )


async def _look(jetstream: JetStreamContext, name: str) -> _Stream:
    asking: dict[str, int] = {}
    while found := await jetstream.consumers_info(name, offset=len(asking)):
        known = len(asking)
        asking |= {info.name: info.num_waiting or 0 for info in found}
        if len(asking) == known:
            break
    info = await jetstream.stream_info(name)
    agreed = (info.config.metadata or {}).get(PARTITIONS_KEY, "")
    return _Stream(name, int(agreed) if agreed.isdecimal() else None, int(info.state.messages), asking)


def _beyond(stream: _Stream, partitions: int) -> set[str]:
    return stream.asking.keys() - {consumer_name(number) for number in range(partitions)}


def _check_stream(stream: _Stream, before: int | None, partitions: int) -> None:
    if stream.agreed == partitions:
        return
    beyond = _beyond(stream, partitions)
    old = stream.agreed or before or (len(stream.asking) if beyond else partitions)
    if old == partitions:
        return  # of an install that had not written its number down
    if stream.waiting:
        raise SettingError(
            f"{stream.waiting} messages of {old} partitions wait on {stream.name}, and {partitions} are set",
            field=_FIELD,
            suggestion=_way_back(str(old)),
        )
    if any(stream.asking.values()):
        raise SettingError(
            f"a role still takes messages of {stream.name} by {old} partitions, and {partitions} are set",
            field=_FIELD,
            suggestion="stop every role of every service, then start them with the new number",
        )


async def _agree(jetstream: JetStreamContext, stream: _Stream, partitions: int) -> None:
    for name in sorted(_beyond(stream, partitions)):
        try:
            await jetstream.delete_consumer(stream.name, name)
        except NoConsumerError:
            continue  # another role was faster
    if stream.agreed != partitions:
        config = (await jetstream.stream_info(stream.name)).config
        config.metadata = {**(config.metadata or {}), PARTITIONS_KEY: str(partitions)}
        await jetstream.update_stream(config)


def _way_back(old: str) -> str:
    return (
        f"start with {old} again, send nothing more and wait until nothing is on its way, stop every role, "
        "then start with the new number"
    )
