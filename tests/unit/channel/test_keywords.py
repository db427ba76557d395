"""STOP, START, HELP, yes and no, as people write them; and ordinary sentences, which are none of these."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel.adapters.policies.replies import read_replies
from services.channel.domain.errors import PolicyError
from services.channel.domain.inbound import Replies, understand
from services.channel.domain.keywords import keywords_of, plain_words
from services.channel.domain.messages import accept
from services.channel.domain.replies import Intent
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionKind
from tests.fakes.channel import make_action

ROOT = Path(__file__).parents[3]
SHIPPED = read_replies(ROOT / "rules/policies/replies.yaml")
AROUND = st.text(
    " \t\n\r.,;:!?-–—…\"'«»“”‘’()[]{}*_/\\#@&+=|~<>¡¿。！？\u00a0\u200b\u200f\u202b👍🙏", max_size=6
)
STOPS = sorted(
    {"stop", "STOP", "arrêt", "ARRET", "arrêtez", "Stopp", "baja", "afmelden", "إيقاف", "ايقاف", "REZYGNUJĘ"}
)


@st.composite
def bent(draw: st.DrawFn, words: list[str]) -> str:
    """A word in any case, its accents written in either form or left out, wide letters, marks around it."""
    letters = []
    for letter in draw(st.sampled_from(words)):
        shape = draw(st.sampled_from(["as it is", "upper", "lower", "apart", "bare"]))
        if shape == "upper":
            letters.append(letter.upper())
        elif shape == "lower":
            letters.append(letter.lower())
        elif shape == "apart":
            letters.append(unicodedata.normalize("NFD", letter))
        elif shape == "bare":
            apart = unicodedata.normalize("NFD", letter)
            letters.append("".join(part for part in apart if not unicodedata.combining(part)))
        else:
            letters.append(letter)
    return draw(AROUND) + "".join(letters) + draw(AROUND)


@given(bent(STOPS))
def test_a_stop_word_is_stop_however_it_is_written(text: str) -> None:
    assert SHIPPED.keywords.hear(text).intent is Intent.STOP


@given(
    bent(STOPS),
    st.sampled_from(["please", "svp", "s'il vous plaît", "bitte", "por favor", "من فضلك", "36111"]),
)
def test_a_polite_word_beside_it_changes_nothing(text: str, polite: str) -> None:
    assert SHIPPED.keywords.hear(f"{text} {polite}").intent is Intent.STOP
    assert SHIPPED.keywords.hear(f"{polite}, {text}").intent is Intent.STOP


@given(
    bent(STOPS),
    st.sampled_from(
        ["not", "don't", "why", "by", "the bus", "pas", "nicht", "no", "tomorrow", "your competitor"]
    ),
)
def test_another_word_beside_it_makes_it_a_sentence(text: str, other: str) -> None:
    assert SHIPPED.keywords.hear(f"{other} {text}").intent is Intent.OTHER
    assert SHIPPED.keywords.hear(f"{text} {other}").intent is Intent.OTHER


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Please stop sending me SMS!", Intent.STOP),
        ("STOP ALL", Intent.STOP),
        ("S.T.O.P.", Intent.STOP),
        ("ＳＴＯＰ", Intent.STOP),
        ("opt-out", Intent.STOP),
        ("Désabonnement", Intent.STOP),
        ("الغاء الاشتراك", Intent.STOP),
        ("start", Intent.START),
        ("Wznów", Intent.START),
        ("wznow", Intent.START),
        ("ابدأ", Intent.START),
        ("Help?", Intent.HELP),
        ("AIDE svp", Intent.HELP),
        ("oui", Intent.YES),
        ("d’accord !", Intent.YES),
        ("si", Intent.YES),
        ("Yes please", Intent.YES),
        ("não", Intent.NO),
        ("No thanks.", Intent.NO),
        ("", Intent.OTHER),
        ("👍", Intent.OTHER),
        ("12345", Intent.OTHER),
        ("please", Intent.OTHER),
        ("Can you stop by the shop tomorrow?", Intent.OTHER),
        ("Don't stop", Intent.OTHER),
        ("Please don't stop the messages", Intent.OTHER),
        ("nonstop", Intent.OTHER),
        ("stop" + " please" * 60, Intent.OTHER),
    ],
)
def test_what_it_means(text: str, intent: Intent) -> None:
    assert SHIPPED.keywords.hear(text).intent is intent


@given(st.text(max_size=400))
def test_any_text_is_understood_without_harm(text: str) -> None:
    heard = SHIPPED.keywords.hear(text)
    assert heard.intent in Intent
    assert plain_words(text) == plain_words(text.strip())


def test_nine_languages_have_words_and_answers_for_stop_start_and_help() -> None:
    languages = {"en", "fr", "de", "es", "it", "nl", "pt", "pl", "ar"}
    for intent in (Intent.STOP, Intent.START, Intent.HELP):
        heard = [one for one in SHIPPED.keywords.intents.values() if one.intent is intent]
        assert frozenset().union(*(one.languages for one in heard)) == languages
        folder = ROOT / "rules/templates" / f"reply-{intent.value}"
        assert {path.name.partition(".")[0] for path in folder.glob("*.sms.j2")} == languages


def test_stop_counts_without_any_file() -> None:
    assert Replies().keywords.hear(" stop. ").intent is Intent.STOP
    assert Replies().keywords.hear("arrêt").intent is Intent.OTHER


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("answers: soon", "replies.yaml:1: answers is 'soon'; write 72h"),
        ("answers_a_day: -1", "answers_a_day is -1; write a whole number"),
        ("word: {}", "'word' is unknown; use answers"),
        ("words: {halt: {}}", "'halt' is unknown; use yes"),
        ("words: {stop: [STOP]}", "stop is not a map"),
        ("words: {stop: {en: STOP}}", "en is not a list of words"),
        ("words: {stop: {en: [GO]}, start: {de: [go!]}}", "'go!' stands for stop and start"),
        ("words: {yes: {en: [STOP]}}", "'STOP' stands for stop and yes"),
        ("words: {stop: {en: ['!']}}", "neither a letter nor a digit"),
        ("words: {stop: {en: [now]}}\nidle: {en: [NOW]}", "'now' is a keyword and an idle word"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path, said: str, told: str) -> None:
    file = tmp_path / "replies.yaml"
    file.write_text(said)
    with pytest.raises(PolicyError) as raised:
        read_replies(file)
    assert told in str(raised.value)


def test_the_file_says_how_long_and_how_often(tmp_path: Path) -> None:
    file = tmp_path / "replies.yaml"
    file.write_text("answers: 2d\nanswers_a_day: 1\nnever_answer: ['+33600000001']")
    replies = read_replies(file)
    assert (replies.answers_micros, replies.answers_a_day) == (2 * DAY, 1)
    assert replies.answers_micros != Replies().answers_micros == 72 * HOUR
    assert replies.may_answer("+33600000002", "36111", 0)
    assert not replies.may_answer("+33600000002", "36111", 1)
    for machine in ("+33600000001", "36111", "+36111", "RAPPORT", "0612345678", "+3361234a678"):
        assert not replies.may_answer(machine, "36111", 0)
    assert not replies.may_answer("+33600000002", "33600000002", 0)  # from our own number


def test_a_yes_answers_the_offer_although_a_notice_came_after_it() -> None:
    offer = accept(make_action(1, kind=ActionKind.OFFER, name="top-up"), "m-1", 0)
    notice = accept(make_action(2, name="notice"), "m-2", 0)
    replies = Replies(keywords_of({Intent.YES: {"en": ["YES"]}}, ["please"]))
    accepted = {"top-up": ("JE PRENDS", "YES")}

    def told(text: str) -> tuple[Intent, str]:
        heard, message = understand(replies, text, [notice, offer], accepted)
        assert message is not None
        return heard.intent, message.message_id

    assert told("yes, please") == (Intent.YES, "m-1")
    assert told("Je prends !") == (Intent.YES, "m-1")
    assert told("what is this") == (Intent.OTHER, "m-2")
    assert told("no") == (Intent.NO, "m-2")
    assert told("stop") == (Intent.STOP, "m-2")
    assert understand(replies, "yes", [notice], accepted)[1] is notice
    assert understand(replies, "yes", [], accepted)[1] is None
    survey = accept(make_action(3, kind=ActionKind.SURVEY, name="how-was-it"), "m-3", 0)
    assert understand(replies, "yes", [notice, survey, offer], accepted)[1] is notice  # it may answer either
    assert understand(replies, "je prends", [notice, survey, offer], accepted)[1] is offer
