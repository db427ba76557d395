"""What customers write, over a real database: once each, with suppression, event and answer in one commit."""

import asyncio
from collections.abc import Sequence

import pytest

from services.channel.adapters.policies.replies import read_replies
from services.channel.adapters.storage.sealed import open_written
from services.channel.adapters.templates import JinjaRenderer
from services.channel.app.inbound import InboundDesk
from services.channel.app.ports import Inbound
from services.channel.domain.caps import Cap
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.inbound import Owner
from services.channel.domain.policies import Policies
from services.channel.domain.quiet_hours import QuietHours, QuietWindow, Week
from services.channel.domain.suppression import Suppression
from services.channel.entrypoints.loops import InboundLoop
from services.channel.entrypoints.translate import action_record
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionKind, Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import make_action, reachable
from tests.integration.channel.conftest import ROOT, MakeRoad, Road, catalogue

NUMBER = "+33612345678"
SMS = Channel.SMS
NIGHT = QuietHours(Week(((QuietWindow(0, 24 * 60),),) * 7))
SHIPPED = read_replies(ROOT / "rules/policies/replies.yaml")


def written(text: str, key: str = "1", sender: str = NUMBER) -> Inbound:
    return Inbound("fake", key, SMS, sender, "36111", text)


def desk(road: Road) -> InboundDesk:
    road.profile.numbers.setdefault(f"msisdn:{NUMBER}", Owner((1,)))
    return InboundDesk(
        road.store,
        road.profile,
        road.admission,
        catalogue(),
        lambda: SHIPPED,
        action_record,
        road.clock,
    )


async def take(road: Road, *batch: Inbound) -> None:
    await desk(road).take(batch)


async def replies(road: Road) -> list[dict[str, str]]:
    return [fields for event, fields in await road.events() if event.type == "message.replied"]


async def standing(road: Road, customer: int = 1) -> frozenset[SuppressedFor]:
    async with road.store.transaction() as tx:
        return (await tx.suppressed([customer])).get((customer, SMS), frozenset())


async def answers(road: Road) -> Sequence[str]:
    found = await road.rows("SELECT name FROM message WHERE rule_set = 'replies' ORDER BY number")
    return [name for (name,) in found]


async def sent(road: Road, number: int, **kwargs: object) -> str:
    message = await road.take_one(make_action(number, **kwargs))  # type: ignore[arg-type]
    await road.sender.turn()
    assert (await road.stored(message)).was_sent
    return message.action_id


async def test_stop_ends_sales_and_surveys_by_sms_and_says_so(make_road: MakeRoad) -> None:
    # at night, for one who has just got a message: he wrote, so he is answered
    road = make_road(renderer=JinjaRenderer(ROOT / "rules/templates", "en", "UTC"))
    road.profile.reaches[1] = reachable(1, language="fr-CA")
    road.policies = Policies(quiet_hours=NIGHT)
    await take(road, written("Arrêt, s'il vous plaît !"))
    assert await standing(road) == {SuppressedFor.UNSUBSCRIBED}
    assert await replies(road) == [{"text": "Arrêt, s'il vous plaît !", "intent": "stop"}]
    await road.sender.turn()
    (answer,) = road.transport.sent
    assert (answer.name, answer.sender, answer.category) == ("reply-stop", "36111", Category.MANDATORY)
    assert "plus d'offres" in answer.text
    assert "START" in answer.text
    road.policies = Policies()
    categories = [Category.SALES, Category.RETENTION, Category.SURVEY, Category.SERVICE]
    taken = await road.take(
        *(make_action(n, category=category, name="quota-50") for n, category in enumerate(categories))
    )
    assert [one.message.reason for one in taken] == [RefusalReason.SUPPRESSED] * 3 + [None]
    notice = await road.take_one(make_action(9, category=Category.MANDATORY, name="surcharge-notice"))
    assert notice.state is MessageState.PLANNED


async def test_one_whose_language_is_not_known_is_answered_in_that_of_the_word(make_road: MakeRoad) -> None:
    road = make_road(renderer=JinjaRenderer(ROOT / "rules/templates", "en", "UTC"))
    await take(road, written("Abmelden", "1"), written("STOP", "2"))
    await road.sender.turn()
    assert sorted(one.text.partition(":")[0] for one in road.transport.sent) == ["Done", "Erledigt"]


async def test_start_lifts_that_and_nothing_else(road: Road) -> None:
    async with road.store.transaction() as tx:
        await tx.suppress([Suppression(1, SMS, SuppressedFor.COMPLAINED, road.clock.now)])
        await tx.suppress([Suppression(1, Channel.EMAIL, SuppressedFor.UNSUBSCRIBED, road.clock.now)])
    await take(road, written("STOP", "1"), written("start", "2"))
    assert await standing(road) == {SuppressedFor.COMPLAINED}
    assert [fields["intent"] for fields in await replies(road)] == ["stop", "start"]
    assert await road.rows("SELECT channel FROM suppression_entry ORDER BY channel") == [("email",), ("sms",)]


async def test_start_reaches_an_opt_out_under_another_id_of_the_person(road: Road) -> None:
    await take(road, written("STOP"))
    road.profile.numbers[f"msisdn:{NUMBER}"] = Owner((2, 1))  # merged since
    await take(road, written("START", "2"))
    assert await standing(road) == frozenset()


async def test_the_same_key_counts_once_whoever_meets_it(road: Road) -> None:
    desks = [desk(road) for _ in range(6)]

    async def persist(one: InboundDesk) -> None:
        for _ in range(10):
            try:
                await one.take([written("STOP"), written("STOP")])
            except Exception:  # noqa: BLE001 - the loop tries again
                await asyncio.sleep(0)
            else:
                return
        pytest.fail("what was taken before cannot be acknowledged")

    await asyncio.gather(*(persist(one) for one in desks))
    assert len(await replies(road)) == 1
    assert await answers(road) == ["reply-stop"]
    assert await road.rows("SELECT count(*) FROM inbound") == [(1,)]
    totals = await road.totals()
    assert (totals["inbound.taken"], totals["inbound.stop"], totals["inbound.answered"]) == (1, 1, 1)


async def test_a_reply_names_what_it_answers(road: Road) -> None:
    offer = await sent(road, 1, kind=ActionKind.OFFER, name="data-top-up", category=Category.SALES)
    notice = await sent(road, 2)
    await take(road, written("help", "0"))  # our answer to this is no message that one answers
    await road.sender.turn()
    await take(road, written("oui", "1"), written("what is this?", "2"))
    assert [(fields["intent"], fields["action"]) for fields in (await replies(road))[1:]] == [
        ("yes", offer),
        ("other", notice),
    ]
    road.clock.now += 72 * HOUR
    await take(road, written("yes", "3"))
    assert (await replies(road))[-1] == {"text": "yes", "intent": "yes"}
    async with road.store.transaction() as tx:
        found = await tx.replies_to((await road.rows("SELECT message_id::text FROM message"))[0][0])
    assert [(one.text, one.customer, one.answer_id) for one in found] == [("oui", 1, "")]


async def test_nobody_is_made_of_a_number_that_nobody_has(road: Road) -> None:
    stranger = "+33699999999"
    await take(road, written("STOP", sender=stranger), written("hi", "2", sender="x crm:1"))
    assert await road.events() == []
    assert await answers(road) == []
    assert await road.rows("SELECT customer, intent FROM inbound ORDER BY number") == [
        (0, "stop"),
        (0, "other"),
    ]
    assert (await road.totals())["inbound.of_nobody"] == 2
    for table in ("inbound", "inbound_text", "audit_entry", "suppression_entry"):
        assert stranger not in str(await road.rows(f"SELECT * FROM {table}"))


async def test_machines_are_not_answered_and_nobody_too_often(make_road: MakeRoad) -> None:
    road = make_road()
    road.profile.numbers["msisdn:36222"] = Owner((2,))
    await take(road, written("HELP", "m", sender="36222"))
    assert await answers(road) == []
    await take(road, *(written("HELP", str(n)) for n in range(4)))
    await take(road, *(written("HELP", str(n)) for n in range(4, 9)))
    assert len(await answers(road)) == SHIPPED.answers_a_day
    road.clock.now += DAY
    await take(road, written("HELP", "later"))
    assert len(await answers(road)) == SHIPPED.answers_a_day + 1


async def test_an_answer_passes_all_gates_but_the_caps(make_road: MakeRoad) -> None:
    mandatory = frozenset({Category.MANDATORY})
    road = make_road(Policies(caps=(Cap("repeat", 2, DAY, mandatory, mandatory, same_name=True),)))
    await take(road, *(written("STOP", str(n)) for n in range(3)))
    reasons = await road.rows("SELECT reason FROM message ORDER BY number")
    assert reasons == [("",)] * 3  # no cap: the person asked for each
    assert await road.slots() == 3  # and each counts
    async with road.store.transaction() as tx:
        await tx.suppress([Suppression(1, SMS, SuppressedFor.MANUAL, road.clock.now)])
    await take(road, written("START", "a"))
    assert (await road.rows("SELECT reason FROM message WHERE name = 'reply-start'")) == [("SUPPRESSED",)]


async def test_while_the_profile_is_away_a_message_waits_and_is_not_acknowledged(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.channel.entrypoints import loops

    tried = asyncio.Event()
    real_sleep = asyncio.sleep

    async def no_sleep(_seconds: float) -> None:
        tried.set()
        await real_sleep(0)

    road.profile.away = True
    loop = asyncio.create_task(InboundLoop(desk(road), road.transport).run())
    monkeypatch.setattr(loops.asyncio, "sleep", no_sleep)
    await road.transport.written.put([written("STOP")])
    await road.transport.written.put([written("START", "2")])
    async with asyncio.timeout(10):
        await tried.wait()
        assert road.transport.written.qsize() == 1  # the next batch was not asked for
        assert await standing(road) == frozenset()
        road.profile.away = False
        while len(await replies(road)) < 2:
            await real_sleep(0)
    loop.cancel()
    assert [fields["intent"] for fields in await replies(road)] == ["stop", "start"]


async def test_a_text_that_no_database_takes_is_kept_as_far_as_it_goes(road: Road) -> None:
    await take(road, written("a\0b\ud800" + "c" * 5_000))
    ((own, sealed),) = await road.rows("SELECT inbound_id::text, sealed FROM inbound_text")
    _, text = open_written(road.store.sealer, own, ("", "", sealed))
    assert text.startswith("ab?ccc")
    assert len(text) < 2_001
