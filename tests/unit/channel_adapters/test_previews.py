"""How texts look to their authors: length, cost, what is wrong; and that the shipped ones are right."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from rapport.channel.v1 import templates_pb2

from services.channel.adapters.templates import JinjaRenderer
from services.channel.app.ports import MissingTemplate, Rendered
from services.channel.app.preview import Filled, Previews, PreviewWish
from services.channel.app.template_trials import Recipients
from services.channel.domain.campaigns import Campaigns
from services.channel.domain.errors import RecipientRefusedError, UnknownTemplateError
from services.channel.domain.policies import Policies
from services.channel.domain.short_text import short_text
from services.cli.commands.template_frames import framed
from services.vocabulary.catalogue import Catalogue, load_catalogue
from services.vocabulary.short_message import Coding
from services.vocabulary.values import FieldError
from services.vocabulary.words import Category, Channel
from tests.unit.channel_adapters.template_making import renderer

RULES = Path(__file__).parents[3] / "rules"
COSTS = Policies(campaigns=Campaigns(costs={Channel.SMS: 50_000}, currency="EUR"))
HTML_LINK = (
    "{% block subject %}s{% endblock %}{% block text %}t{% endblock %}"
    "{% block html %}<a href='{{ gb }}'>{% endblock %}"
)
Made = Callable[..., Previews[object]]


@cache
def catalogue() -> Catalogue:
    return load_catalogue(RULES)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Previews of the templates given, which stand in for those of the catalogue."""

    def make(**files: str) -> Previews[object]:
        return Previews(catalogue(), renderer(tmp_path, **files), lambda: COSTS)

    return make


async def look(previews: Previews[object], channel: Channel = Channel.SMS, **wish: object) -> Filled:
    name = str(wish.pop("name", "data-top-up"))
    first, _ = await previews.preview(PreviewWish(name, channel, **wish))  # type: ignore[arg-type]
    return first


def codes(filled: Filled) -> set[str]:
    return {warning.code for warning in filled.warnings}


async def test_the_shipped_texts_give_no_cause_for_warnings() -> None:
    shipped = JinjaRenderer(RULES / "templates", "en", "Europe/Paris")
    assert shipped.problems == ()
    previews = Previews(catalogue(), shipped, Policies)
    found = {str(one.key): one.warnings for one in previews.listed() if one.warnings}
    assert found == {}
    for key in shipped.texts():
        wish = PreviewWish(key.name, key.channel, key.locale)
        filled, _ = await previews.preview(wish)
        assert isinstance(filled.said, Rendered), filled.said
        assert codes(filled) <= {"sample"}


async def test_a_preview_costs_by_segments(made: Made) -> None:
    filled = await look(made(data_top_up__en_sms="STOP {{ gb }} " + "x" * 160), parameters={"gb": 5})
    assert filled.short is not None
    assert (filled.cost, filled.currency) == (Decimal("0.1"), "EUR")
    assert (filled.short.coding, filled.short.length, filled.short.left) == (Coding.GSM7, 167, 139)
    assert [len(segment) for segment in filled.short.segments] == [153, 14]
    unpriced = await look(made(data_top_up__en_app="{{ gb }}"), Channel.APP)
    assert unpriced.cost is None


@pytest.mark.parametrize(
    ("channel", "source", "code"),
    [
        (Channel.SMS, "{{ gb }} http://a.example STOP", "link_without_https"),
        (Channel.SMS, "{{ gb }}", "stop_hint_missing"),
        (Channel.SMS, "{{ gb }} STOP…", "alphabet"),
        (Channel.SMS, "{{ gb }} STOP " + "x" * 400, "many_segments"),
        (Channel.SMS, "STOP", "parameter_missing"),
        (Channel.SMS, "{{ gb }} {{ mb }} STOP", "unknown_parameter"),
        (Channel.SMS, "{{ gb }} {{ profile.shoe_size }} STOP", "unknown_trait"),
        (Channel.SMS, "{{ gb | plural(other='#') }} STOP", "plural_form_missing"),
        (Channel.EMAIL, "{{ gb }}", "subject_missing"),
        (Channel.EMAIL, "Subject: " + "x" * 71 + "\n\n{{ gb }}", "subject_too_long"),
        (
            Channel.EMAIL,
            HTML_LINK,
            "link_nowhere",
        ),
    ],
)
async def test_what_its_author_should_look_at_is_named(
    made: Made, channel: Channel, source: str, code: str
) -> None:
    previews = made(**{f"data_top_up__en_{channel.value}": source})
    right = "Subject: s\n\n{{ gb }}" if channel is Channel.EMAIL else "{{ gb }} STOP"
    assert code in codes(await look(previews, channel))
    assert codes(await look(previews, channel, source=right)) == {"sample"}


async def test_a_language_that_another_channel_has_is_missed(made: Made) -> None:
    previews = made(data_top_up__fr_sms="{{ gb }} STOP", data_top_up__de_app="{{ gb }}")
    filled = await look(previews, locale="fr")
    (warning,) = [one for one in filled.warnings if one.code == "locale_missing"]
    assert "data-top-up/de.sms.j2, data-top-up/en.sms.j2" in warning.message
    assert {
        one.key.channel for one in previews.listed() if "locale_missing" in {w.code for w in one.warnings}
    } == {*(Channel.SMS, Channel.APP)}


async def test_only_what_sells_or_asks_says_stop(made: Made) -> None:
    previews = made(data_top_up__en_sms="{{ gb }}")
    assert "stop_hint_missing" not in codes(await look(previews, category=Category.SERVICE))
    assert "stop_hint_missing" in codes(await look(previews, category=Category.SURVEY))


async def test_what_would_not_be_said_says_why(made: Made) -> None:
    filled = await look(made(data_top_up__en_sms="{{ gb | money }}"))
    assert isinstance(filled.said, MissingTemplate)
    assert "money('EUR')" in filled.said.detail


async def test_parameters_are_typed_as_the_catalogue_says(made: Made) -> None:
    previews = made(outage_notice__en_app="{{ eta | time }}", data_top_up__en_app="{{ gb }}")
    eta = "2026-12-01T18:00:00Z"
    filled = await look(
        previews, Channel.APP, name="outage-notice", parameters={"eta": eta}, zone="Asia/Tokyo"
    )
    assert isinstance(filled.said, Rendered)
    assert filled.said.text == "3:00\u202fAM"
    for wrong in ({"eta": "soon"}, {"gb": 2}):
        with pytest.raises(FieldError, match="parameters"):
            await look(previews, Channel.APP, name="outage-notice", parameters=wrong)
    with pytest.raises(UnknownTemplateError, match="did you mean data-top-up"):
        await look(previews, name="data-topup")


@pytest.mark.parametrize(
    ("text", "left", "instead"),
    [
        ("a" * 160, 0, []),
        ("a" * 161, 145, []),
        ("€" * 80, 0, []),
        ("’", 69, [("’", "'")]),
        ("œuf ê ç", 63, [("œ", "oe"), ("ê", "e"), ("ç", "c")]),
        ("😀", 68, [("😀", None)]),
        ("ж" * 71, 63, [("ж", None)]),
    ],
)
def test_room_and_what_takes_it(text: str, left: int, instead: list[tuple[str, str | None]]) -> None:
    short = short_text(text)
    assert short.left == left
    assert [(one.character, one.instead) for one in short.forced] == instead
    assert "".join(short.segments) == text


@pytest.mark.parametrize(
    ("address", "channel", "place"),
    [
        ("+33 6 00 00 00 01", Channel.SMS, 1),
        ("ADA@operator.example ", Channel.EMAIL, 2),
        ("+33600000002", Channel.SMS, 0),
        ("ada@operator.example", Channel.SMS, 0),
        ("+33600000001", Channel.EMAIL, 0),
        ("", Channel.SMS, 0),
        ("", Channel.EMAIL, 0),
    ],
)
def test_only_staff_who_are_listed_are_sent_tests(address: str, channel: Channel, place: int) -> None:
    recipients = Recipients(("+33600000001", "Ada@Operator.example"))
    if place:
        assert recipients.place(address, channel) == place
        return
    with pytest.raises(RecipientRefusedError) as caught:
        recipients.place(address, channel)
    assert not address or address not in str(caught.value)


def test_a_terminal_shows_each_segment_in_a_frame() -> None:
    text = templates_pb2.FilledText(
        template="a/en.sms@3",
        text="x",
        cost="0.1",
        currency="EUR",
        short_message=templates_pb2.ShortMessage(
            coding="ucs2",
            length=82,
            left=52,
            segments=["word " * 14, "日本 …"],
            forced=[templates_pb2.ForcedCharacter(character="…", suggestion="...")],
        ),
        warnings=[templates_pb2.TemplateWarning(code="alphabet", message="look")],
    )
    shown = framed(text).splitlines()
    assert shown[0] == "a/en.sms@3"
    assert shown[1].startswith("  ┌ segment 1 of 2 ──")
    assert shown[2] == "  │ " + ("word " * 13).rstrip() + " │"
    assert "  length   82 in UCS-2, 52 left in the last segment" in shown
    assert "  UCS-2    because of … (horizontal ellipsis); ... would do" in shown
    assert "  cost     0.1 EUR" in shown
    assert "  ! look" in shown
    boxes = [line for line in shown if line.startswith(("  ┌", "  └"))]
    assert {len(line) for line in boxes} == {70}
