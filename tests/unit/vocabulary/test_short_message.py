"""Texts in GSM 03.38 and UCS-2, against published vectors and against themselves."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vocabulary.short_message import (
    Coding,
    coding_of,
    count_segments,
    decode_gsm7,
    decode_ucs2,
    encode_gsm7,
    letters,
    split,
)

VECTORS = Path(__file__).parents[4] / "shared" / "data" / "sms"
LETTERS = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./09:;<=>?¡AZÄÖÑÜ§¿azäöñüà^{}\\[~]|€\f"


def vectors(name: str) -> Any:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"the published vectors {name} are not on this machine")
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_alphabet_is_the_published_one() -> None:
    table = vectors("gsm0338_table.json")
    for row in table["default_alphabet"]:
        if row["code"] != 0x1B:
            assert encode_gsm7(row["char"]) == bytes([row["code"]])
            assert decode_gsm7(bytes([row["code"]])) == row["char"]
    for row in table["extension_0x1B"]:
        assert encode_gsm7(row["char"]) == bytes([0x1B, row["code"]])
        assert decode_gsm7(bytes([0x1B, row["code"]])) == row["char"]
    known = {row["char"] for rows in (table["default_alphabet"], table["extension_0x1B"]) for row in rows}
    others = [chr(code) for code in range(0x3000) if chr(code) not in known - {"\x1b"}]
    assert all(coding_of(character) is Coding.UCS2 for character in others)


def test_segments_are_the_published_ones() -> None:
    for case in vectors("segmentation.json")["cases"]:
        assert count_segments(case["body"]) == case["segments"], case["testDescription"]
        expected = {"GSM-7": Coding.GSM7, "UCS-2": Coding.UCS2}[case["encoding"]]
        assert coding_of(case["body"]) is expected, case["testDescription"]


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 158 + "€", 1),
        ("x" * 159 + "€", 2),
        ("x" * 152 + "€" + "x" * 8, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("😜" * 35, 1),
        ("😜" * 36, 2),
    ],
)
def test_how_many_messages_a_text_takes(text: str, segments: int) -> None:
    assert count_segments(text) == segments


@given(st.text(alphabet=LETTERS, max_size=700))
def test_gsm7_parts_join_to_the_text_and_fit(text: str) -> None:
    parts = split(text)
    assert parts.coding is Coding.GSM7
    # Each part reads by itself: no escape is torn from its character.
    assert "".join(decode_gsm7(payload) for payload in parts.payloads) == text
    room = 160 if len(parts.payloads) == 1 else 153
    assert all(len(payload) <= room for payload in parts.payloads)
    # None could have been left out: two neighbours never fit into one.
    assert all(len(a) + len(b) > room for a, b in zip(parts.payloads, parts.payloads[1:], strict=False))


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=300).map(lambda text: text + "ж"))
def test_ucs2_parts_join_to_the_text_and_fit(text: str) -> None:
    parts = split(text)
    assert parts.coding is Coding.UCS2
    assert "".join(decode_ucs2(payload) for payload in parts.payloads) == text
    room = 140 if len(parts.payloads) == 1 else 134
    assert all(len(payload) <= room for payload in parts.payloads)


def test_what_is_not_in_the_alphabet_is_refused() -> None:
    with pytest.raises(ValueError, match="UCS-2"):
        encode_gsm7("ç")


def test_broken_octets_are_shown_as_such() -> None:
    assert decode_gsm7(b"a\x1b") == "a\ufffd"
    assert decode_gsm7(b"\xff") == "\ufffd"
    assert decode_gsm7(b"\x1ba") == "a"
    assert decode_ucs2(b"\x00a\xd8") == "a\ufffd"


@pytest.mark.parametrize(
    "letter",
    [
        "🏳️\u200d🌈",
        "👩\u200d👩\u200d👧\u200d👦",
        "👍🏽",
        "🇮🇹",
        "e\u0301",
        "ก็",
        "हि",
        "1\ufe0f\u20e3",
        "شَّ",
        "🏴\U000e0067\U000e007f",
        "\r\n",
    ],
)
def test_what_is_read_as_one_letter_stays_in_one_part(letter: str) -> None:
    assert list(letters(f"a{letter}b")) == ["a", letter, "b"]
    for before in range(60, 68):
        text = "ж" * before + letter + "ж" * 70
        parts = [decode_ucs2(payload) for payload in split(text, Coding.UCS2).payloads]
        assert "".join(parts) == text
        assert sum(letter in part for part in parts) == 1


def test_flags_are_paired_from_their_first() -> None:
    assert list(letters("🇮🇹🇫🇷🇩")) == ["🇮🇹", "🇫🇷", "🇩"]


def test_a_letter_that_no_part_holds_is_cut_between_its_characters() -> None:
    text = "e" + "\u0301" * 200
    parts = split(text)
    assert "".join(map(decode_ucs2, parts.payloads)) == text
    assert max(map(len, parts.payloads)) <= 134


@given(st.text(max_size=400), st.sampled_from([6, 7]))
def test_any_text_comes_out_of_its_parts_as_it_went_in(text: str, header_octets: int) -> None:
    parts = split(text, header_octets=header_octets)
    decode = decode_gsm7 if parts.coding is Coding.GSM7 else decode_ucs2
    assert "".join(decode(payload) for payload in parts.payloads) == text
    if len(parts.payloads) > 1:
        room = 140 - header_octets if parts.coding is Coding.UCS2 else (140 - header_octets) * 8 // 7
        assert max(map(len, parts.payloads)) <= room
