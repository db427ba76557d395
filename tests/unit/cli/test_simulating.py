"""A simulation's result on its page and in the terminal, and what of a request is refused."""

import re
from html.parser import HTMLParser

import click
import orjson
import pytest
from click.testing import CliRunner
from rapport.decision.v1 import simulation_pb2

from services.cli.commands.options import Moment, Share
from services.cli.commands.rules.life import approve, reject
from services.cli.commands.rules.reviewing import key_numbers, tell_simulation
from services.cli.simulating.command import _tell, simulate
from services.cli.simulating.page import render_page
from services.cli.simulating.telling import REASONS, deltas, headline, losses, verdict
from services.cli.stack.errors import StackError
from services.decision.app.versions import digest_of
from services.decision.entrypoints.simulation_servicer import SimulationServicer
from services.runtime.errors import InvalidArgumentError, NotFoundError, TooLargeError
from services.vocabulary.values import DAY, parse_time
from services.vocabulary.wire import timestamp
from services.vocabulary.words import RefusalReason
from tests.fakes.hand_clock import HandClock
from tests.unit.decision.test_simulation import CATALOGUE, NOON, Bench, batch, event, rule, text

OFFER = "{offer: goodwill-1gb, category: retention, value: 6.00, cost: 1.20, expires: 7d}"
STRICT = text(rule(when="profile.tenure_months >= 12"), rule("make-good", do=OFFER))


@pytest.fixture(scope="module")
def result():
    pasts = [(n, batch(event(n, at=NOON + n * DAY // 4), tenure_months=n)) for n in range(1, 31)]
    bench = Bench([STRICT], pasts, live=[text(rule())], kept_since_micros=NOON - DAY)
    return bench.run(groups=("tenure_months",))


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href"}]


def test_the_page_stands_alone_and_draws_what_came_out(result):
    html = render_page(result, "some-id")
    page = Page(html)
    assert page.links == []
    assert "url(" not in html
    assert page.tags.count("svg") == 4  # the way, contacts and cost by day, groups; nothing was refused
    assert "What calls would have done" in html
    assert "some-id" in html
    assert "kept no more" in html
    assert f"<b>{result['draft']['funnel']['sent']}</b>" in html
    assert "Pressure on the caps" not in html
    assert "goodwill-1gb" in html


def test_the_page_of_drafts_alone_says_nothing_of_what_is_live(result):
    html = render_page({**result, "live": None, "displaced": None}, "some-id")
    assert "live today" not in html
    assert "What changes" not in html
    assert "no longer" not in re.sub("kept no more", "", html)


def test_a_reviewer_is_told_the_numbers_that_matter_beside_what_is_live(result, capsys):
    assert result["digests"] == {"calls": digest_of(STRICT)}
    numbers = key_numbers(result)
    draft, live = numbers["draft"], numbers["live"]
    assert (draft["sent"], live["sent"]) == (
        result["draft"]["funnel"]["sent"],
        result["live"]["funnel"]["sent"],
    )
    assert numbers["no_longer_sent"] - numbers["newly_sent"] == live["sent"] - draft["sent"]
    kept = simulation_pb2.GetSimulationResponse(
        result=simulation_pb2.SimulationResult(simulation_id="some-id", json=orjson.dumps(result).decode()),
        caller="ann",
    )
    tell_simulation(kept)
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "simulation some-id, by ann",
        f"! {result['notices'][0]}",
        f"would be sent {draft['sent']} {live['sent']} {draft['sent'] - live['sent']:+d}",
        f"{numbers['newly_sent']} of them are new, and {numbers['no_longer_sent']} of today's",
        "calls/make-good goodwill-1gb",
    ):
        assert words in said
    alone = key_numbers({**result, "live": None, "displaced": None})
    assert "live" not in alone
    assert alone["draft"] == draft


def test_a_group_that_is_offered_less_than_chance_explains_is_named(result):
    def group(name, low, high):
        return {"group": name, "ratio": {"value": 0.5, "low": low, "high": high}}

    groups = [{"trait": "brand", "groups": [group("a", 0.3, 0.8), group("b", 0.8, 1.2)]}]
    (uneven,) = key_numbers({**result, "groups": groups})["uneven"]
    assert (uneven["trait"], uneven["group"], uneven["high"]) == ("brand", "a", 0.8)


@pytest.mark.parametrize(("command", "more"), [(approve, ()), (reject, ("--reason", "why"))])
def test_who_reviews_says_which_version_was_read(command, more):
    found = CliRunner().invoke(command, ["bill-shock", *more])
    assert found.exit_code == 2
    assert "--version" in found.output


def test_the_page_answers_first_what_changes(result):
    found = list(headline(result))
    sent, live = result["draft"]["funnel"]["sent"], result["live"]["funnel"]["sent"]
    assert (sent, live) == (49, 30)
    assert found[0] == "49 contacts with 30 customers would be made, 19 more (+63 %) than what is live today."
    assert found[1] == "30 of them are new, and 11 of today's would not be made any more."
    assert found[-1] == "It would cost 36.00 EUR, 36.00 more than today."
    one = {**result, "displaced": {"gained": [{"actions": 1}], "lost": []}}
    assert list(headline(one))[1] == "1 of them is new, and 0 of today's would not be made any more."
    same = {**result, "draft": result["live"], "displaced": {"gained": [], "lost": []}}
    assert list(headline(same))[:2] == [
        "30 contacts with 30 customers would be made, as many as what is live today.",
        "They are the very same contacts.",
    ]
    assert all(sentence in render_page(result, "x").replace("&#39;", "'") for sentence in found)


def test_what_was_lost_after_each_stage_is_told_in_words():
    funnel = {
        "refused": {"ONCE": 3, "SERVICE_FIRST": 9},
        "outranked": 2,
        "planned": 0,
        "done": 4,
        "gates": {"CAPPED": 5, "NEW_WORD": 1},
        "unjudged": 0,
    }
    world = {"funnel": funnel}
    assert losses(world, "asked") == [("trouble goes before selling", 9), ("had it already", 3)]
    assert losses(world, "eligible") == [
        ("done at once, without a contact", 4),
        ("something else mattered more", 2),
    ]
    assert losses(world, "decided") == [("contacted often enough", 5), ("NEW_WORD", 1)]
    assert REASONS.keys() >= {reason.value for reason in RefusalReason}


def test_only_groups_that_certainly_differ_are_said_to():
    def row(group, low, high):
        return {"group": group, "ratio": {"low": low, "value": 1.0, "high": high}}

    rows = [row("a", 0.2, 0.8), row("b", 0.9, 1.1), row("c", 1.2, 2.0), {"group": "d", "ratio": None}]
    assert verdict(rows) == [
        "a is offered something less often than the others",
        "c is offered something more often than the others",
    ]


def test_nothing_written_by_a_rule_author_becomes_markup(result):
    evil = orjson.loads(orjson.dumps(result).replace(b"goodwill-1gb", b"<script>x</script>"))
    assert "<script>" not in render_page(evil, "some-id")


def test_the_terminal_is_told_the_same(result, capsys):
    _tell(result, "some-id", None)
    said = capsys.readouterr().out
    for words in (
        "would be sent",
        "no longer sent",
        "newly sent",
        "offered, by tenure_months",
        "some-id",
        "! ",
    ):
        assert words in said
    assert [row[:2] for row in deltas(result)] == [
        ("calls/make-good", "goodwill-1gb"),
        ("calls/call", "call-back"),
    ]


def test_times_and_shares_are_read_and_mistakes_told():
    assert Moment().convert("2026-12-10", None, None) == parse_time("2026-12-10T00:00:00Z")
    assert [Share().convert(share, None, None) for share in ("10%", "0.1", "100%")] == [1000, 1000, 10_000]
    for kind, wrong in (
        (Moment(), "yesterday"),
        (Share(), "0%"),
        (Share(), "200%"),
        (Share(), "some"),
    ):
        with pytest.raises(click.BadParameter):
            kind.convert(wrong, None, None)


def test_files_and_a_beginning_are_all_that_has_to_be_said(tmp_path):
    draft = tmp_path / "draft.yaml"
    draft.write_text(text(rule()))
    told = CliRunner().invoke(simulate, [str(draft), "--since", "2026-10-01", "--folder", str(tmp_path)])
    assert isinstance(told.exception, StackError), told.output  # nothing runs there
    assert CliRunner().invoke(simulate, [str(draft)]).exit_code == 2


def request(**more):
    given = {"drafts": [simulation_pb2.Draft(source=text(rule()))], "since": timestamp(NOON)} | more
    return simulation_pb2.SimulateRequest(**given)


class Runs:
    async def run(self, wanted):
        yield wanted


class Empty:
    async def find(self, simulation_id):
        assert simulation_id


def servicer():
    return SimulationServicer(Runs(), Empty(), HandClock((NOON + 10 * DAY) / 1e6), CATALOGUE)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"drafts": []}, "drafts"),
        ({"since": None}, "since"),
        ({"since": timestamp(NOON + 20 * DAY)}, "since"),
        ({"until": timestamp(NOON - DAY)}, "until"),
        ({"sample": 10_001}, "sample"),
        ({"groups": ["no-such-trait"]}, "groups[0]"),
        ({"groups": ["brand"] * 6}, "groups"),
        ({"drafts": [simulation_pb2.Draft(source="x" * 1_000_001)]}, "drafts[0].source"),
    ],
)
async def test_what_is_wrong_with_a_request_is_named(given, field):
    with pytest.raises((InvalidArgumentError, TooLargeError)) as raised:
        await anext(servicer().Simulate(request(**given), None))
    assert raised.value.field == field


@pytest.mark.parametrize("simulation_id", ["", "nonsense", "00000000-0000-4000-8000-000000000000"])
async def test_a_simulation_that_nobody_kept_is_not_found(simulation_id):
    with pytest.raises(NotFoundError):
        await servicer().GetSimulation(simulation_pb2.GetSimulationRequest(simulation_id=simulation_id), None)
