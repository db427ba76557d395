"""Versions of texts, previews and tests, through the service over a real database."""

import asyncio
from typing import Any

import pytest
from rapport.channel.v1 import templates_pb2 as wire_templates
from rapport.types.v1 import vocabulary_pb2

from services.channel.adapters.storage.template_trials import PostgresTrials
from services.channel.adapters.storage.templates import TEMPLATES_NOTICE, PostgresVersions, TemplateKeeper
from services.channel.adapters.templates import JinjaRenderer
from services.channel.app.ports import Handed, HandOver, Outgoing, ToRender
from services.channel.app.preview import Previews
from services.channel.app.template_trials import Recipients, TrialSender
from services.channel.domain.errors import (
    InvalidTemplateError,
    RecipientRefusedError,
    TemplateChangedError,
    UnknownTemplateError,
)
from services.channel.domain.rate import Pace
from services.channel.entrypoints.template_loops import keep_templates
from services.channel.entrypoints.templates import TemplateServicer
from services.runtime.errors import InvalidArgumentError, NotFoundError
from services.vocabulary.words import Category, Channel
from tests.fakes.channel import SetTransport, make_action
from tests.integration.channel.conftest import ROOT, MakeRoad, Road, catalogue

SMS, EMAIL, APP = vocabulary_pb2.CHANNEL_SMS, vocabulary_pb2.CHANNEL_EMAIL, vocabulary_pb2.CHANNEL_APP
TEXT: dict[str, Any] = {"name": "data-top-up", "locale": "en", "channel": SMS}
STAFF = ("+33 600-000 001", "Ada@Operator.example")


class Desk:
    """One process that serves templates."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self.renderer = JinjaRenderer(ROOT / "rules/templates", "en", "Europe/Paris")
        self.keeper = TemplateKeeper(road.database, self.renderer)
        self.trials = PostgresTrials(road.database)
        self.service = TemplateServicer(
            road.database,
            lambda raw: PostgresVersions(raw, road.database),
            Previews(catalogue(), self.renderer, lambda: road.policies),
            self.renderer.file,
            self.trials,
            Recipients(STAFF),
        )
        self.requests = 0

    async def save(self, source: str, expected: int = 0, **more: Any) -> int:
        self.requests += 1
        asked = {"request_id": f"s{self.requests}", **TEXT, **more}
        request = wire_templates.SaveTemplateRequest(source=source, expected_version=expected, **asked)
        return (await self.service.SaveTemplate(request, None)).version  # type: ignore[arg-type]

    async def activate(self, version: int, **more: Any) -> int:
        self.requests += 1
        asked = {"request_id": f"a{self.requests}", **TEXT, **more}
        request = wire_templates.ActivateTemplateRequest(version=version, **asked)
        return (await self.service.ActivateTemplate(request, None)).previous_version  # type: ignore[arg-type]

    async def history(self) -> wire_templates.ListTemplateVersionsResponse:
        request = wire_templates.ListTemplateVersionsRequest(**TEXT)
        return await self.service.ListTemplateVersions(request, None)  # type: ignore[arg-type]

    async def send(self, recipient: str, channel: Any = SMS) -> str:
        self.requests += 1
        wish = wire_templates.PreviewTemplateRequest(name="data-top-up", channel=channel)
        request = wire_templates.SendTestRequest(
            request_id=f"t{self.requests}", preview=wish, recipient=recipient
        )
        return (await self.service.SendTest(request, None)).test_id  # type: ignore[arg-type]

    async def state(self, test_id: str) -> tuple[str, str]:
        answer = await self.service.GetTest(wire_templates.GetTestRequest(test_id=test_id), None)  # type: ignore[arg-type]
        return answer.state, answer.detail

    def said(self) -> str:
        answer = self.renderer.render(
            ToRender("data-top-up", "en", Channel.SMS, Category.SALES, parameters={"gb": 2})
        )
        return getattr(answer, "text", str(answer))


@pytest.fixture
def desk(road: Road) -> Desk:
    return Desk(road)


async def test_a_version_is_saved_put_in_force_everywhere_and_rolled_back(desk: Desk) -> None:
    other = Desk(desk.road)
    file = desk.said()
    assert await desk.save("One {{ gb }}. STOP") == 1
    assert await desk.save("Two {{ gb }}. STOP", expected=1) == 2
    assert not await other.keeper.refresh()
    assert other.said() == file

    assert await desk.activate(2) == 0
    for one in (desk, other):
        assert await one.keeper.refresh()
        assert one.said() == "Two 2. STOP"
    assert await desk.activate(1) == 2
    assert await other.keeper.refresh()
    assert other.said() == "One 2. STOP"
    assert await desk.activate(0) == 1
    assert await other.keeper.refresh()
    assert other.said() == file

    told = await desk.history()
    assert [(one.version, one.source, one.in_force) for one in told.versions] == [
        (2, "Two {{ gb }}. STOP", False),
        (1, "One {{ gb }}. STOP", False),
    ]
    assert told.file_in_force
    audited = await desk.road.rows("SELECT action, target, before, after FROM audit_entry ORDER BY id")
    assert [(action, after["version"]) for action, _, _, after in audited] == [
        ("templates.save", 1),
        ("templates.save", 2),
        ("templates.activate", 2),
        ("templates.activate", 1),
        ("templates.activate", 0),
    ]
    assert {target for _, target, _, _ in audited} == {"template/data-top-up/en.sms"}


async def test_another_process_hears_of_it_at_once(desk: Desk) -> None:
    other = Desk(desk.road)
    await desk.save("One {{ gb }}. STOP")
    heard = asyncio.Event()

    async def refresh() -> bool:
        changed = await other.keeper.refresh()
        if changed:
            heard.set()
        return changed

    keeping = asyncio.create_task(keep_templates(desk.road.database, TEMPLATES_NOTICE, refresh))
    await desk.activate(1)
    async with asyncio.timeout(2):
        await heard.wait()
    keeping.cancel()
    assert other.said() == "One 2. STOP"


async def test_the_second_of_two_who_save_at_once_is_told(desk: Desk) -> None:
    answers = await asyncio.gather(
        *(desk.save(f"{who} {{{{ gb }}}}. STOP") for who in ("Ada", "Bo")), return_exceptions=True
    )
    (late,) = [answer for answer in answers if isinstance(answer, BaseException)]
    assert isinstance(late, TemplateChangedError)
    assert "version 1" in str(late)
    assert len((await desk.history()).versions) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("Hi\n{{ gbb }} STOP", "line 2: {{ gbb }} is no parameter of data-top-up; did you mean gb?"),
        ("Hi\nthere\n\n", "line 2: the parameter gb is not said; write {{ gb }} where it belongs"),
        ("{{ gb }}\n{% if gb %}", "line 2:"),
        ("{% include 'x' %}", "include is not available"),
    ],
)
async def test_what_cannot_be_used_is_not_saved(desk: Desk, source: str, said: str) -> None:
    with pytest.raises(InvalidTemplateError) as caught:
        await desk.save(source)
    assert said in str(caught.value)
    assert not (await desk.history()).versions


async def test_a_megabyte_is_refused_and_so_is_what_nobody_knows(desk: Desk) -> None:
    with pytest.raises(InvalidArgumentError, match="64 kB"):
        await desk.save("a" * 1_000_000)
    with pytest.raises(UnknownTemplateError, match="did you mean data-top-up"):
        await desk.save("x", name="data-topup")
    with pytest.raises(InvalidArgumentError) as caught:
        await desk.save("{{ gb }}", locale="not a language")
    assert caught.value.field == "locale"
    with pytest.raises(UnknownTemplateError, match="no version 9"):
        await desk.activate(9)
    with pytest.raises(UnknownTemplateError, match="no file data-top-up/de"):
        await desk.activate(0, locale="de")


async def test_a_version_that_can_no_longer_be_used_leaves_what_was_in_force(desk: Desk) -> None:
    await desk.save("One {{ gb }}. STOP")
    await desk.activate(1)
    await desk.keeper.refresh()
    await desk.road.rows(
        "INSERT INTO template_version SELECT name, locale, channel, 2, '{% if %}', author "
        "FROM template_version RETURNING 1"
    )
    with pytest.raises(InvalidTemplateError):
        await desk.activate(2)
    await desk.road.rows("UPDATE template_active SET version = 2 RETURNING 1")
    assert await desk.keeper.refresh()
    assert desk.said() == "One 2. STOP"


async def test_the_message_remembers_which_version_said_it(make_road: MakeRoad) -> None:
    renderer = JinjaRenderer(ROOT / "rules/templates", "en", "Europe/Paris")
    road = make_road(renderer=renderer)
    desk = Desk(road)
    keeper = TemplateKeeper(road.database, renderer)
    await desk.save("x" * 161, name="goodwill-1gb")
    await desk.activate(1, name="goodwill-1gb")
    before = await road.take_one(make_action(1, name="goodwill-1gb", template="goodwill-1gb"))
    await keeper.refresh()
    after = await road.take_one(make_action(2, name="goodwill-1gb", template="goodwill-1gb"))
    assert (await road.stored(before)).template.startswith("goodwill-1gb/en.sms@file:")
    stored = await road.stored(after)
    assert (stored.template, stored.segments) == ("goodwill-1gb/en.sms@1", 2)


async def test_a_test_goes_to_staff_only_and_leaves_no_trace_of_a_customer(desk: Desk) -> None:
    transport = SetTransport()
    sender = TrialSender(desk.trials, transport, None)
    assert await sender.turn() == 0
    with pytest.raises(RecipientRefusedError) as caught:
        await desk.send("+33699999999")
    assert "+336" not in str(caught.value)
    with pytest.raises(RecipientRefusedError):
        await desk.send("ada@operator.example")  # no number
    with pytest.raises(InvalidArgumentError, match="app"):
        await desk.send("+33600000001", APP)

    test_id = await desk.send("+33600000001")
    assert await desk.state(test_id) == ("waiting", "")
    assert await sender.turn() == 1
    assert await desk.state(test_id) == ("sent", "")
    (sent,) = transport.sent
    assert (sent.address, sent.message_id, sent.customer) == ("+33600000001", test_id, 0)
    assert sent.text.startswith("[TEST] Your data is used up.")
    for table in ("message", "contact", "outbox", "customer_gate"):
        assert await desk.road.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    assert await desk.road.rows("SELECT address FROM template_test") == [("",)]
    audited = await desk.road.rows("SELECT action, after::text FROM audit_entry ORDER BY id")
    assert [action for action, _ in audited] == ["templates.test_refused"] * 2 + ["templates.test"]
    assert not any("33600000001" in after for _, after in audited)


async def test_a_test_of_a_mail_says_so_in_its_subject(desk: Desk) -> None:
    transport = SetTransport(Channel.EMAIL)
    await desk.send("ada@operator.example", EMAIL)
    assert await TrialSender(desk.trials, SetTransport(Channel.SMS), None).turn() == 0
    assert await TrialSender(desk.trials, transport, None).turn() == 1
    (sent,) = transport.sent
    assert sent.subject == "[TEST] More data for the rest of the month"
    assert sent.text.startswith("Hello,")


async def test_tests_take_from_the_pace_of_all_messages(desk: Desk) -> None:
    transport = SetTransport()
    sender = TrialSender(desk.trials, transport, Pace("provider:sms", 0.01, 2))
    for _ in range(3):
        await desk.send("+33600000001")
    assert [await sender.turn(), await sender.turn()] == [2, 0]
    assert len(transport.sent) == 2


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (HandOver.TRANSIENT, "waiting"),
        (HandOver.PERMANENT, "failed"),
        (HandOver.UNKNOWN, "failed"),
        (None, "failed"),
    ],
)
async def test_what_came_of_a_test_is_told(desk: Desk, outcome: HandOver | None, state: str) -> None:
    def answer(message: Outgoing) -> Handed | None:
        return None if outcome is None else Handed(message.message_id, outcome, detail="because")

    transport = SetTransport()
    transport.answer = answer
    test_id = await desk.send("+33600000001")
    await TrialSender(desk.trials, transport, None).turn()
    told, detail = await desk.state(test_id)
    assert told == state
    assert detail
    kept = await desk.road.rows("SELECT address <> '' FROM template_test")
    assert kept == [(state == "waiting",)]


async def test_a_test_that_waited_too_long_or_whose_sender_died_has_failed(desk: Desk) -> None:
    ids = [await desk.send("+33600000001") for _ in range(2)]
    await desk.road.rows(
        "UPDATE template_test SET asked_at = now() - interval '10 minutes', changed_at = now() - interval "
        "'10 minutes', state = CASE WHEN test_id::text = %s THEN 'sending' ELSE state END RETURNING 1",
        (ids[0],),
    )
    transport = SetTransport()
    assert await TrialSender(desk.trials, transport, None).turn() == 0
    assert [state for state, _ in [await desk.state(one) for one in ids]] == ["failed", "failed"]
    assert transport.sent == []
    await desk.road.rows("UPDATE template_test SET changed_at = now() - interval '31 days' RETURNING 1")
    await desk.send("+33600000001")
    await TrialSender(desk.trials, transport, None).turn()
    assert await desk.road.rows("SELECT count(*) FROM template_test") == [(1,)]
    with pytest.raises(NotFoundError):
        await desk.state("00000000-0000-4000-8000-000000000000")


async def test_texts_are_listed_with_their_versions_page_by_page(desk: Desk) -> None:
    await desk.save("One {{ gb }}. STOP")
    request = wire_templates.ListTemplatesRequest(name="data-top-up", page_size=4)
    first = await desk.service.ListTemplates(request, None)  # type: ignore[arg-type]
    request.page_token = first.next_page_token
    second = await desk.service.ListTemplates(request, None)  # type: ignore[arg-type]
    listed = [(one.channel, one.locale, one.newest_version) for one in (*first.texts, *second.texts)]
    assert listed == [
        *((APP, "en", 0), (APP, "fr", 0), (EMAIL, "en", 0)),
        *((EMAIL, "fr", 0), (SMS, "en", 1), (SMS, "fr", 0)),
    ]
    assert not second.next_page_token


async def test_a_preview_says_what_its_author_should_look_at(desk: Desk) -> None:
    wish = wire_templates.PreviewTemplateRequest(
        name="data-top-up",
        channel=SMS,
        source="{{ gb }} Go… http://a.example",
        locale="de",
        parameters='{"gb": 3}',
    )
    answer = await desk.service.PreviewTemplate(wish, None)  # type: ignore[arg-type]
    assert answer.text.text == "3 Go… http://a.example"
    assert answer.text.short_message.coding == "ucs2"
    assert [(one.character, one.suggestion) for one in answer.text.short_message.forced] == [("…", "...")]
    codes = [warning.code for warning in answer.text.warnings]
    assert codes == ["link_without_https", "stop_hint_missing", "alphabet"]
    assert [one.locale for one in answer.others] == ["en", "fr"]
    wish.parameters = '{"gb": "three"}'
    with pytest.raises(InvalidArgumentError) as caught:
        await desk.service.PreviewTemplate(wish, None)  # type: ignore[arg-type]
    assert caught.value.field == "parameters.gb"
    wish.parameters = "["
    with pytest.raises(InvalidArgumentError, match="no JSON"):
        await desk.service.PreviewTemplate(wish, None)  # type: ignore[arg-type]
