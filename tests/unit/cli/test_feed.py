"""Feeding: batches, steps of business time, going on after a break, and what is said of each line."""

import asyncio
import json

import grpc
import pytest

from services.cli.feed import BATCH_EVENTS, EVENT_BYTES, STEP_MICROS, FeedReport, advance, feed, read_events
from services.cli.quiet import StillBusyError, wait_quiet
from services.runtime.errors import OverloadedError
from services.runtime.status import DETAILS_KEY, failure_status
from services.vocabulary import wire
from tests.fakes.road import FakeRoad, away

DAY = 1_800_000_000_000_000 // (4 * STEP_MICROS) * (4 * STEP_MICROS)
HOUR = STEP_MICROS // 6


def line(number, micros=DAY):
    time = wire.timestamp(micros).ToJsonString()
    told = {"id": f"e{number}", "source": "t", "type": "usage.data_used", "time": time, "subject": "crm:1"}
    return json.dumps(told).encode()


def at(*hours):
    return [line(number, DAY + int(hour * HOUR)) for number, hour in enumerate(hours, start=1)]


async def fed(road, told, stream_id="s", **options):
    report = FeedReport()
    return await feed(road.connections(), read_events(told, report), report, stream_id=stream_id, **options)


async def test_every_event_is_taken_once_in_order_in_batches():
    road = FakeRoad()
    report = await fed(road, [line(n) for n in range(1, 1_202)])
    assert (report.read, report.accepted, report.rejections) == (1_201, 1_201, [])
    assert [len(batch.events) for batch in road.batches] == [BATCH_EVENTS, BATCH_EVENTS, 201]
    assert list(road.taken) == [f"e{n}" for n in range(1, 1_202)]
    assert road.advances == []


async def test_rejections_name_the_line_whoever_found_them():
    road = FakeRoad(rejected=frozenset({"e4"}))
    report = await fed(road, [line(1), b"", b"{", line(4), line(5), line(1)])
    assert (report.read, report.accepted, report.duplicates) == (5, 2, 1)
    assert [(r.line, r.field) for r in report.rejections] == [(3, ""), (4, "data.mb")]


async def test_a_line_too_large_to_be_sent_is_rejected_with_the_limit():
    big = json.loads(line(1))
    big["data"] = {"country": "x" * EVENT_BYTES}
    report = await fed(FakeRoad(), [json.dumps(big).encode(), line(2)])
    assert report.accepted == 1
    assert [(r.line, r.field) for r in report.rejections] == [(1, "data")]
    assert "64,000" in report.rejections[0].reason


async def test_history_is_marked_and_moves_no_clock():
    road = FakeRoad()
    await fed(road, at(1, 8), history=True)
    assert {batch.history for batch in road.batches} == {True}
    assert road.advances == []


async def test_events_come_when_business_time_stands_at_their_step():
    road = FakeRoad()
    await fed(road, at(1, 5, 7, 40), step=True)
    assert list(road.taken.values()) == [DAY, DAY, DAY + STEP_MICROS, DAY + 6 * STEP_MICROS]
    assert road.clock_micros == DAY + 7 * STEP_MICROS


async def test_empty_steps_are_passed_over_unless_something_is_planned():
    road = FakeRoad()
    await fed(road, at(1, 100), step=True)
    assert road.advances == [DAY, DAY + 16 * STEP_MICROS, DAY + 17 * STEP_MICROS]
    road = FakeRoad(planned=1)
    await fed(road, at(1, 25), step=True)
    assert road.advances == [DAY + n * STEP_MICROS for n in range(6)]


async def test_business_time_moves_on_only_when_nothing_is_on_its_way():
    road = FakeRoad(work_looks=3)
    await fed(road, at(1, 8, 14), step=True)
    assert road.busy_at_advance == [0, 0, 0, 0]


async def test_business_time_that_is_further_already_stays():
    road = FakeRoad(clock_micros=DAY + 50 * STEP_MICROS)
    report = await fed(road, at(1, 8), step=True)
    assert report.accepted == 2
    assert road.advances == []


async def test_the_same_stream_again_sends_nothing():
    road = FakeRoad()
    await fed(road, at(1, 8, 20), step=True)
    batches, looks = len(road.batches), road.looks
    report = await fed(road, at(1, 8, 20), step=True)
    assert (report.accepted, report.skipped) == (0, 3)
    assert len(road.batches) == batches
    assert road.looks - looks <= 3


async def test_another_attempt_goes_on_behind_what_was_acknowledged():
    road = FakeRoad()
    road.positions["s"] = 2
    report = await fed(road, at(1, 2, 3, 8), step=True)
    assert (report.skipped, report.accepted) == (2, 2)
    assert list(road.taken) == ["e3", "e4"]
    assert road.batches[0].first_sequence == 3


def full(*, retry_seconds=0.01):
    """What a service says that has no room."""
    status = failure_status(OverloadedError("too much waits", retry_seconds=retry_seconds), {})
    trailing = grpc.aio.Metadata((DETAILS_KEY, status.SerializeToString()))
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=status.message)


async def test_a_service_that_is_full_is_left_in_peace_for_as_long_as_it_says():
    road = FakeRoad(fail_after=2, broken=full(retry_seconds=0.2))
    began = asyncio.get_running_loop().time()
    report = await fed(road, [line(n) for n in range(1, 2_001)])
    assert asyncio.get_running_loop().time() - began >= 0.2
    assert list(road.taken) == [f"e{n}" for n in range(1, 2_001)]
    assert report.rests == 1


async def test_a_service_that_is_full_without_a_word_of_when_to_come_back_is_an_error():
    silent = grpc.aio.AioRpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), grpc.aio.Metadata()
    )
    with pytest.raises(grpc.aio.AioRpcError):
        await fed(FakeRoad(fail_after=2, broken=silent), [line(n) for n in range(1, 2_001)])


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("broken", [away(), away(grpc.StatusCode.INTERNAL, "Internal error from Core")])
async def test_a_broken_stream_is_opened_again_and_nothing_is_lost_or_doubled(after, broken):
    """The second is what gRPC itself says when the stream broke in the middle of a write."""
    road = FakeRoad(fail_after=after, broken=broken)
    report = await fed(road, [line(n) for n in range(1, 2_001)])
    assert road.streams == 2
    assert list(road.taken) == [f"e{n}" for n in range(1, 2_001)]
    assert report.accepted + report.skipped == 2_000
    assert report.duplicates == 0
    assert report.skipped >= BATCH_EVENTS


async def test_a_stream_that_is_refused_is_not_tried_again():
    road = FakeRoad()
    connections = road.connections()
    stream = connections.profile.StreamEvents()
    stream.read = refuse
    connections.profile.StreamEvents = lambda: stream
    report = FeedReport()
    with pytest.raises(grpc.aio.AioRpcError, match="refused"):
        await feed(connections, read_events([line(1)], report), report, stream_id="s")
    assert road.streams == 1


async def refuse():
    raise away(grpc.StatusCode.INVALID_ARGUMENT, "refused")


async def test_quiet_is_told_only_after_two_looks_without_movement():
    road = FakeRoad(work_looks=2)
    road.taken["x"] = 0
    road._pending = 2
    look = await wait_quiet(road.connections())
    assert look.pending == 0
    assert road.looks >= 4
    assert look.total("profile", "events") == 1
    assert look.total("profile", "nothing") == 0


async def test_receipts_are_waited_for_only_when_asked():
    road = FakeRoad(awaiting_receipt=2)
    assert (await wait_quiet(road.connections())).awaiting_receipt == 2
    with pytest.raises(StillBusyError, match="2 without receipt"):
        await wait_quiet(road.connections(), receipts=True, patience_seconds=0.1)


async def test_quiet_waits_for_every_clock():
    road = FakeRoad(clock_micros=DAY)
    with pytest.raises(StillBusyError, match="nothing moved"):
        await wait_quiet(road.connections(), since_micros=DAY + 1, patience_seconds=0.1)


async def test_a_service_that_is_away_for_a_moment_is_waited_for():
    road = FakeRoad(failures=[away(), away()])
    look = await advance(road.connections(), DAY)
    assert look.business_micros == DAY


async def test_another_failure_is_not_waited_for():
    road = FakeRoad(failures=[away(grpc.StatusCode.INTERNAL, "broken")])
    with pytest.raises(grpc.aio.AioRpcError, match="broken"):
        await wait_quiet(road.connections())
