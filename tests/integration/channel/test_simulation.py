"""The simulated gates say what the real ones say, over the same random sequence of actions."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.channel.app.simulation import Simulation, Tried
from services.channel.app.speech import Speech
from services.channel.domain.actions import Action
from services.channel.domain.campaigns import Campaign, Campaigns, Limit, Measure, Span
from services.channel.domain.caps import Cap, Reserve
from services.channel.domain.choice import Chosen, Dropped, Waits
from services.channel.domain.contact import Contact, Permission, Reach, SuppressedFor
from services.channel.domain.controls import Controls, KillSwitch, SwitchScope
from services.channel.domain.policies import Policies
from services.channel.domain.quiet_hours import QuietHours, QuietWindow, Week
from services.channel.domain.suppression import Suppression
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import ActionKind, Category, Channel, RefusalReason
from tests.fakes.channel import NOON, make_action, reachable
from tests.integration.channel.conftest import MakeRoad, Road, catalogue, with_record

ALL = frozenset(Category)
SELLING = frozenset({Category.SALES, Category.RETENTION})
POLICIES = Policies(
    caps=(
        Cap("day", 2, DAY, SELLING, SELLING, reserve=Reserve(1, from_priority=80)),
        Cap("service", 2, 3 * HOUR, frozenset({Category.SERVICE}), frozenset({Category.SERVICE})),
        Cap("roaming", 1, 2 * DAY, ALL, ALL, topics=frozenset({"roaming"})),
        Cap("sms", 3, 6 * HOUR, SELLING, ALL, channels=frozenset({Channel.SMS})),
        Cap("repeat", 1, DAY, ALL, ALL, same_name=True),
        Cap("house", 1, DAY, SELLING, SELLING, household=True),
    ),
    quiet_hours=QuietHours(Week(((QuietWindow(21 * 60, 8 * 60),),) * 7)),
    campaigns=Campaigns(
        campaigns=(
            Campaign(
                "spring",
                names=frozenset("abc"),
                limits=(Limit(Measure.MESSAGES, 9), Limit(Measure.MESSAGES, 2, Span.DAY)),
            ),
            Campaign(
                "sold",
                categories=SELLING,
                limits=(Limit(Measure.MONEY, 300_000, Span.WINDOW, 12 * HOUR),),
            ),
        ),
        costs={Channel.SMS: 70_000, Channel.EMAIL: 1_000},
    ),
    controls=Controls((KillSwitch(SwitchScope.ACTION, "g"), KillSwitch(SwitchScope.ACTION, "f", hold=True))),
)
PEOPLE = 8


def some_actions(drawn: random.Random) -> list[tuple[int, list[Action]]]:
    """Batches with the time at which each is tried; some actions come twice."""
    now, batches, made = NOON, [], []
    for step in range(40):
        now += drawn.choice([0, MINUTE, HOUR, 5 * HOUR])
        batch = [
            make_action(
                f"{step}-{number}",
                drawn.randint(1, PEOPLE),
                category=drawn.choice(list(Category)),
                kind=drawn.choice([ActionKind.MESSAGE, ActionKind.OFFER, ActionKind.TASK]),
                name=drawn.choice("abcdefgh"),
                topic=drawn.choice(["", "roaming"]),
                channels=drawn.choice([(Channel.SMS,), (Channel.SMS, Channel.EMAIL), (Channel.EMAIL,), ()]),
                priority=drawn.choice([0, 80]),
                score=drawn.random(),
                expires_micros=drawn.choice([0, 0, now + 4 * HOUR]),
            )
            for number in range(drawn.randint(1, 5))
        ]
        if made and drawn.random() < 0.3:
            batch.append(drawn.choice(made))
        made += batch
        batches.append((now, batch))
    return batches


def some_people(road: Road) -> None:
    for number in range(1, PEOPLE + 1):
        road.profile.reaches[number] = reachable(
            number, zone=("UTC", "Asia/Tokyo", "America/New_York")[number % 3], preferred=Channel.EMAIL
        )
    road.profile.reaches[1] = replace(road.profile.reaches[1], merged=(2,))
    road.profile.reaches[2] = replace(road.profile.reaches[2], merged=(1,))
    elsewhere = Contact(3, "", Channel.SMS, None, "", NOON - HOUR)
    road.profile.reaches[3] = replace(road.profile.reaches[3], contacts=(elsewhere,))
    road.profile.reaches[4] = Reach(
        True, 0, {Channel.SMS: Permission(False, RefusalReason.NO_CONSENT, "sms-address-4")}
    )
    for member in (5, 6, 7):
        road.profile.reaches[member] = reachable(member, household=900)
    # what is for the eighth goes to one who pays, of the same household
    road.profile.reaches[8] = reachable(80, household=900, recipient=80)


class Imagined:
    """A simulation with the due loop that whoever asks it has to play."""

    def __init__(self, road: Road, waiting: Sequence[tuple[int, Action]] = (), *, stored: bool) -> None:
        self.simulation = Simulation(
            POLICIES,
            Speech(catalogue(), road.renderer),
            profile=road.profile,
            store=road.store if stored else None,
        )
        self.waiting = list(waiting)
        self.said: dict[str, object] = {}

    async def step(self, now: int, batch: Sequence[Action]) -> list[tuple[bool, object]]:
        due = sorted((until, action.action_id, action) for until, action in self.waiting if until <= now)
        self.waiting = [(until, action) for until, action in self.waiting if until > now]
        await self._take(now, [action for _, _, action in due])
        return await self._take(now, batch)

    async def _take(self, now: int, batch: Sequence[Action]) -> list[tuple[bool, object]]:
        taken = await self.simulation.take([Tried(action, now) for action in batch])
        for action, one in zip(batch, taken, strict=True):
            if one.choice is not None:
                self.said[action.action_id] = one.choice
            if isinstance(one.choice, Waits):
                self.waiting.append((one.choice.until_micros, action))
        return [(one.duplicate, one.choice) for one in taken]


async def final(road: Road) -> dict[str, tuple[str, str, str]]:
    """What became of every action: its state, reason and detail."""
    rows = await road.rows("SELECT action_id::text, state, reason, detail FROM message")
    return {action_id: (state, reason, detail) for action_id, state, reason, detail in rows}


def as_stored(choice: object) -> tuple[str, str, str]:
    match choice:
        case Chosen(channel):
            return ("sent" if channel is Channel.TASK else "planned", "", "")
        case Waits(_, reason, detail, _):
            return "deferred", reason.value if reason else "", detail
        case Dropped(_, reason, detail):
            return "expired" if reason is RefusalReason.EXPIRED else "refused", reason.value, detail
    raise AssertionError(choice)


@pytest.mark.parametrize(("seed", "stored"), [(1, True), (2, False)])
async def test_the_same_sequence_gets_the_same_answers(
    make_road: MakeRoad, seed: int, *, stored: bool
) -> None:
    road = make_road(POLICIES)
    some_people(road)
    road.renderer.missing.add(("h", Channel.EMAIL))
    if stored:  # the suppression list is read; all else is as empty there
        async with road.store.transaction() as tx:
            await tx.suppress([Suppression(5, Channel.SMS, SuppressedFor.BOUNCED, NOON - DAY, "550")])
    imagined = Imagined(road, stored=stored)
    batches = some_actions(random.Random(seed))
    seen, reasons = set(), set()
    for now, batch in batches:
        road.clock.now = now
        # asked first: what the real gates take now must not be seen as stored before
        answers = await imagined.step(now, [with_record(action) for action in batch])
        await road.due()
        real = await road.take(*batch)
        assert answers == [(one.duplicate, one.choice) for one in real], now
        seen.update(type(one.choice) for one in real)
        reasons.update(one.message.reason for one in real)
    assert seen == {type(None), Chosen, Waits, Dropped}
    assert reasons >= {
        RefusalReason.CAPPED,
        RefusalReason.BUDGET,
        RefusalReason.KILLED,
        RefusalReason.QUIET_HOURS,
    }
    assert {key: as_stored(choice) for key, choice in imagined.said.items()} == await final(road)
    assert await road.rows("SELECT 1 FROM message WHERE detail LIKE 'cap house: %'")


async def test_it_goes_on_from_what_is_stored_and_writes_nothing(make_road: MakeRoad) -> None:
    road = make_road(POLICIES)
    some_people(road)
    batches = some_actions(random.Random(3))
    waiting: dict[str, tuple[int, Action]] = {}
    for now, batch in batches[:20]:
        road.clock.now = now
        await road.due()
        for action, one in zip(batch, await road.take(*batch), strict=True):
            waiting[one.message.message_id] = (0, action)
    still = [
        (message.due_micros, waiting[message_id][1])
        for message_id in waiting
        if (message := await road.stored(message_id)).waits
    ]
    before = await everything(road)
    imagined = Imagined(road, still, stored=True)
    for now, batch in batches[20:]:
        await imagined.step(now, batch)
    assert await everything(road) == before
    for now, batch in batches[20:]:
        road.clock.now = now
        await road.due()
        await road.take(*batch)
    stored = await final(road)
    assert imagined.said
    assert {key: as_stored(choice) for key, choice in imagined.said.items()} == {
        key: stored[key] for key in imagined.said
    }


async def everything(road: Road) -> dict[str, tuple]:
    """A count and a digest of every table."""
    tables = await road.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    digest = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} AS t"
    return {name: (await road.rows(digest.format(name)))[0] for (name,) in tables}
