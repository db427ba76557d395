"""A provider's report held against messages in a real database."""

from collections.abc import AsyncIterator

import pytest
from rapport.channel.v1.channel_pb2 import (
    MESSAGE_STATE_FAILED,
    MESSAGE_STATE_SENT,
)
from rapport.channel.v1.reconciliation_pb2 import (
    FINDING_KIND_DIFFERS,
    FINDING_KIND_UNKNOWN_HERE,
    FINDING_KIND_UNKNOWN_THERE,
    REPORTED_STATE_DELIVERED,
    REPORTED_STATE_FAILED,
    REPORTED_STATE_UNSPECIFIED,
    CompareReportRequest,
    Finding,
    ReportBatch,
    ReportEnd,
    ReportLine,
    ReportStart,
)

from services.channel.adapters.storage import reconciliation as storage
from services.channel.adapters.storage.reconciliation import open_books
from services.channel.app import reconciliation as use_case
from services.channel.app.ports import Receipt, ReceiptState
from services.channel.app.receipts import take_receipts
from services.channel.domain.messages import Message
from services.channel.entrypoints.reconciliation import ReconciliationServicer
from services.runtime.errors import InvalidArgumentError, NotFoundError
from services.vocabulary.words import Category, MessageState
from tests.fakes.channel import NOON, make_action
from tests.integration.channel.conftest import Road

HOUR = 3_600_000_000
DELIVERED, FAILED = REPORTED_STATE_DELIVERED, REPORTED_STATE_FAILED


async def sent(road: Road, *numbers: int) -> list[Message]:
    """Messages that the provider took, in order."""
    taken = await road.take(*(make_action(number, number) for number in numbers))
    await road.sender.turn()
    return [one.message for one in taken]


def line(number: int, message: Message | None = None, state: int = DELIVERED, **ids: str) -> ReportLine:
    """A line that names the message by the provider's id, unless told otherwise."""
    ids = ids or ({} if message is None else {"provider_id": f"p-{message.message_id}"})
    return ReportLine(line=number, state=state, **ids)  # type: ignore[arg-type]


async def compare(
    road: Road, *lines: ReportLine, apply: bool = False, span: tuple[int, int] | None = None, each: int = 1000
) -> tuple[int, list[Finding]]:
    """What a report comes to: how many lines agreed, and the rest."""

    async def steps() -> AsyncIterator[CompareReportRequest]:
        yield CompareReportRequest(start=ReportStart(provider="fake", apply=apply))
        for first in range(0, len(lines), each):
            yield CompareReportRequest(batch=ReportBatch(lines=lines[first : first + each]))
        end = ReportEnd()
        if span is not None:
            end.from_time.FromMicroseconds(span[0])
            end.to_time.FromMicroseconds(span[1])
        yield CompareReportRequest(end=end)

    servicer = ReconciliationServicer(road.database, road.store, open_books(road.database), road.clock)
    answers = [answer async for answer in servicer.CompareReport(steps(), None)]  # type: ignore[arg-type]
    assert answers[-1].complete
    return sum(answer.agreed for answer in answers), [one for answer in answers for one in answer.findings]


async def test_each_way_of_not_agreeing_is_named(road: Road) -> None:
    agreed, silent, differing, dropped = await sent(road, 1, 2, 3, 4)
    done = [(agreed, ReceiptState.DELIVERED), (differing, ReceiptState.FAILED)]
    await take_receipts(
        road.store, road.clock, [Receipt("fake", f"p-{one.message_id}", state) for one, state in done]
    )
    count, findings = await compare(
        road,
        line(2, agreed),
        line(3, silent),
        line(4, differing),
        line(5, provider_id="theirs-alone"),
        line(6, agreed, REPORTED_STATE_UNSPECIFIED),
        span=(NOON, NOON),
        each=2,
    )
    assert count == 2
    assert [(one.kind, one.line, one.message_id, one.here, one.there) for one in findings] == [
        (FINDING_KIND_DIFFERS, 3, silent.message_id, MESSAGE_STATE_SENT, DELIVERED),
        (FINDING_KIND_DIFFERS, 4, differing.message_id, MESSAGE_STATE_FAILED, DELIVERED),
        (FINDING_KIND_UNKNOWN_HERE, 5, "", 0, DELIVERED),
        (FINDING_KIND_UNKNOWN_THERE, 0, dropped.message_id, MESSAGE_STATE_SENT, 0),
    ]
    assert not any(one.applied for one in findings)
    assert (await road.stored(silent)).state is MessageState.SENT  # only compared


async def test_applied_they_are_receipts_once(road: Road) -> None:
    silent, lost, final = await sent(road, 1, 2, 3)
    await take_receipts(
        road.store, road.clock, [Receipt("fake", f"p-{final.message_id}", ReceiptState.DELIVERED)]
    )
    report = (
        line(1, silent),
        line(2, state=FAILED, reference=lost.message_id.upper()),  # by our id alone
        line(3, final, FAILED),  # we have a final word already: it stays
    )
    _, findings = await compare(road, *report, apply=True)
    assert [(one.line, one.applied) for one in findings] == [(1, True), (2, True), (3, False)]
    assert [(await road.stored(one)).state.value for one in (silent, lost, final)] == [
        "delivered",
        "failed",
        "delivered",
    ]
    assert await road.slots() == 2  # what failed gave its slot back
    (waiting,) = await road.rows("SELECT count(*) FROM receipt WHERE state = ''")
    assert waiting == (0,)
    told = await road.told()
    agreed, findings = await compare(road, *report, apply=True)
    assert (agreed, [one.line for one in findings]) == (2, [3])
    assert await road.told() == told
    entries = await road.rows("SELECT target, after FROM audit_entry WHERE action = 'messages.reconcile'")
    assert entries == [("provider/fake", {"receipts": 2})]


async def test_a_part_of_a_long_message_tells_only_that_it_was_taken(road: Road) -> None:
    (long,) = await sent(road, 1)
    first_part = line(1, state=FAILED, provider_id="part-1", reference=long.message_id)
    assert await compare(road, first_part, line(2, long), apply=True) == (
        1,
        [
            Finding(
                kind=FINDING_KIND_DIFFERS,
                line=2,
                message_id=long.message_id,
                here=MESSAGE_STATE_SENT,
                there=DELIVERED,
                provider_id=f"p-{long.message_id}",
                applied=True,
            )
        ],
    )
    assert (await road.stored(long)).state is MessageState.DELIVERED


async def test_what_we_believe_was_never_taken_is_found_in_their_report(road: Road) -> None:
    road.transport.answer = lambda _: None  # no answer: nobody knows
    message = await road.take_one(make_action(1, category=Category.SALES))
    await road.sender.turn()
    await sent(road, 2)
    road.transport.answer = road.transport.accept
    await sent(road, 3)
    agreed, findings = await compare(
        road, line(1, provider_id="p-x", reference=message.message_id), apply=True
    )
    assert agreed == 0
    assert [(one.here, one.applied) for one in findings] == [(MESSAGE_STATE_FAILED, False)]


async def test_only_hand_overs_of_that_time_are_missed_page_by_page(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_case, "_PAGE", 2)
    early = await sent(road, 1, 2, 3)
    road.clock.now += HOUR
    late = await sent(road, 4, 5, 6, 7)
    agreed, findings = await compare(
        road, *(line(place, one, 0) for place, one in enumerate(early, 1)), span=(NOON, road.clock.now)
    )
    assert agreed == 3
    assert sorted(one.message_id for one in findings) == sorted(one.message_id for one in late)
    _, findings = await compare(road, span=(NOON, road.clock.now - 1))
    assert sorted(one.message_id for one in findings) == sorted(one.message_id for one in early)


async def test_a_provider_that_nothing_went_to_is_said_with_those_there_are(road: Road) -> None:
    with pytest.raises(NotFoundError):
        await compare(road)
    await sent(road, 1)
    async with road.database.transaction() as raw:
        await raw.execute("INSERT INTO receipt (provider, provider_id) VALUES ('a', '1'), ('z', '1')")
        assert await storage.PostgresBook(raw).providers() == ["a", "fake", "z"]
    servicer = ReconciliationServicer(road.database, road.store, open_books(road.database), road.clock)

    async def steps() -> AsyncIterator[CompareReportRequest]:
        yield CompareReportRequest(start=ReportStart(provider="fakee"))

    with pytest.raises(NotFoundError) as raised:
        _ = [answer async for answer in servicer.CompareReport(steps(), None)]  # type: ignore[arg-type]
    assert "a, fake, z" in str(raised.value.suggestion)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (ReportLine(line=1), "batch.lines[0].provider_id"),
        (ReportLine(line=1, provider_id="x" * 201), "batch.lines[0].provider_id"),
        (ReportLine(line=1, provider_id="x", state=9), "batch.lines[0].state"),  # type: ignore[arg-type]
    ],
)
async def test_a_line_that_names_nothing_is_refused(road: Road, wrong: ReportLine, field: str) -> None:
    await sent(road, 1)
    with pytest.raises(InvalidArgumentError) as raised:
        await compare(road, wrong)
    assert raised.value.field == field
