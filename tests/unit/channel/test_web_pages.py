"""Pages behind links: every language says all of it, and nothing runs in them."""

import re
from string import Formatter

import pytest

from services.channel.domain.links import Purpose
from services.channel.entrypoints.web import HEADERS, Paces
from services.channel.entrypoints.web_pages import LANGUAGES, STYLE_SOURCE, language_of, page
from services.channel.entrypoints.web_words import CHANNELS, PAGES, Page
from services.vocabulary.words import Channel


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_says_all_of_it(language: str) -> None:
    words = PAGES[language]
    assert words.keys() == set(Page)
    assert CHANNELS[language].keys() == {Channel.EMAIL, Channel.SMS}
    for which, said in words.items():
        assert bool(said.button) == (which in {Page.ASK_OUT, Page.ASK_IN})
        assert {name for _, name, _, _ in Formatter().parse(said.text) if name} <= {"channel"}
        text = page(which, language, Channel.SMS)
        assert f'<html lang="{language}">' in text
        assert "{" not in re.sub("<style>.*</style>", "", text, flags=re.DOTALL)


def test_a_page_has_no_script_no_picture_and_nothing_from_elsewhere() -> None:
    text = page(Page.ASK_OUT, "en", Channel.EMAIL, Purpose.OPT_OUT)
    assert not re.search(r"<script|<img|<link|javascript|http|//| on[a-z]+=", text)
    assert text.count("<button>") == text.count('<form method="post">') == 1
    assert "<form" not in page(Page.OUT, "en")


def test_the_only_style_let_through_is_the_page_s_own() -> None:
    import hashlib
    from base64 import b64encode

    (style,) = re.findall("<style>(.*)</style>", page(Page.BAD, "fr"), flags=re.DOTALL)
    assert f"'sha256-{b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" == STYLE_SOURCE
    assert STYLE_SOURCE in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("wanted", "accepted", "language"),
    [
        ("fr", "de", "fr"),
        ("fr-CA", "", "fr"),
        ("", "de-AT,de;q=0.9,en;q=0.5", "de"),
        ("xx", "yy,it;q=0.3", "it"),
        ("", "", "es"),
        ("", "*;q=0.1", "es"),
        ("", "<script>" * 400, "es"),
    ],
)
def test_whose_language(wanted: str, accepted: str, language: str) -> None:
    assert language_of(wanted, accepted, "es-ES") == language
    assert language_of("", "", "xx") == "en"


def test_a_peer_that_asks_too_often_waits_and_nobody_else() -> None:
    now = 0.0
    paces = Paces(lambda: now)
    assert sum(paces.lets("a") for _ in range(1000)) == 400
    assert paces.lets("b")
    now = 0.1
    assert sum(paces.lets("a") for _ in range(50)) == 10


def test_many_peers_do_not_fill_the_memory() -> None:
    paces = Paces(lambda: 0.0)
    for number in range(10_000):
        paces.lets(str(number))
    assert len(paces._room) == 4096
