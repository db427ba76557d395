"""What `rapport campaigns` draws and says of a run."""

from io import StringIO

import pytest
from rapport.decision.v1 import campaign_pb2, rule_set_pb2
from rich.console import Console

from services.cli.commands.campaign_picture import bar, picture, summary
from services.cli.commands.campaigns import _asked, _progress, _stands, called_for, followed, what_happened

RUN = campaign_pb2.RunProgress(
    run=rule_set_pb2.Run(
        number=7,
        rule_set="autumn",
        run="2026-12-11T09:00",
        zone="Europe/Paris",
        state=rule_set_pb2.RUN_STATE_OPEN,
        asked=2000,
        walked=0.41,
    ),
    decided=1900,
    on_their_way=280,
    sent=1500,
    refused=[campaign_pb2.RunRefused(reason="CAPPED", by_channel=True, count=120)],
    per_second=48,
)


DONE = rule_set_pb2.RUN_STATE_DONE


def at(state=rule_set_pb2.RUN_STATE_OPEN, **more):
    run = rule_set_pb2.Run(state=state, asked=10)
    return campaign_pb2.RunProgress(run=run, **more)


def drawn(found):
    console = Console(file=StringIO(), width=100)
    console.print(picture(found))
    return console.file.getvalue()


def test_the_picture_says_how_far_how_fast_and_what_came_of_it():
    text = drawn(RUN)
    for told in (
        "run 7",
        "autumn",
        "Europe/Paris",
        "41%",
        "2,000",
        "1,500",
        "280",
        "CAPPED",
        "gates",
        "48.0 a second",
    ):
        assert told in text
    assert "waits" not in text


def test_a_run_that_waits_says_for_what():
    waiting = campaign_pb2.RunProgress()
    waiting.CopyFrom(RUN)
    waiting.run.waits = rule_set_pb2.RUN_WAIT_CARE
    waiting.run.waits_for = "care queue calls has 300 waiting, over 200"
    assert "care queue calls has 300" in drawn(waiting)
    assert "waits: care queue calls has 300" in summary(waiting)
    assert _progress(waiting)["waits"] == "care"
    assert (_stands(waiting.run), _stands(RUN.run)) == ("waits for care", "open")


def test_a_run_by_hand_is_listed_without_the_id_in_its_name():
    by_hand = rule_set_pb2.Run(run="2026-11-22T23:08:02Z by hand ff7613c5")
    assert (called_for(by_hand), called_for(RUN.run)) == ("2026-11-22T23:08:02Z by hand", "2026-12-11T09:00")


@pytest.mark.parametrize(
    ("count", "columns"), [(0, ""), (50, "█" * 16), (100, "█" * 32), (51, "█" * 16 + "▍")]
)
def test_a_bar_is_as_long_as_its_share(count, columns):
    assert bar(count, 100) == columns


def test_a_number_means_a_run_and_a_word_a_rule_set():
    by_number = _asked(campaign_pb2.PauseRunRequest, "12", "")
    by_word = _asked(campaign_pb2.PauseRunRequest, "autumn", "")
    assert (by_number.run, by_number.rule_set) == (12, "")
    assert (by_word.run, by_word.rule_set) == (0, "autumn")


@pytest.mark.parametrize(
    ("course", "looks"),
    [
        # a run that still asks is looked at however long nothing happens
        ([*[at()] * 30, at(DONE, decided=10)], 31),
        # its end is not the end: people come back, messages go out
        ([at(DONE, decided=4), at(DONE, decided=10, on_their_way=3), at(DONE, decided=10, sent=3)], 3),
        # what waits for the morning is not waited for
        ([at(DONE, decided=10, on_their_way=3, per_second=n) for n in range(1, 40)], 11),
        ([at(rule_set_pb2.RUN_STATE_CANCELLED, decided=10)], 1),
    ],
)
async def test_a_run_is_watched_until_what_came_of_it_is_known_or_nothing_happens(course, looks):
    left, pauses = list(course), []

    async def look():
        return left.pop(0)

    async def pause(seconds):
        pauses.append(seconds)

    seen = [found async for found in followed(look, pause)]
    assert (len(seen), len(pauses)) == (looks, looks - 1)


def test_that_time_passes_is_no_change():
    later = campaign_pb2.RunProgress()
    later.CopyFrom(RUN)
    later.per_second = 47
    later.end_time.seconds = 5
    assert what_happened(later) == what_happened(RUN)
    later.sent += 1
    assert what_happened(later) != what_happened(RUN)
