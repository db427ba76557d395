"""Signed links: what they hold, what they do not, and that nobody makes one up."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel.domain.links import Link, LinkKeys, Links, Purpose
from services.vocabulary.words import Channel

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = LinkKeys([NEW])
MESSAGE = "2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01"
LINK = Link(Purpose.OPT_OUT, 4711, Channel.EMAIL, MESSAGE)
ANY_LINK = st.builds(
    Link,
    st.sampled_from(Purpose),
    st.integers(0, 2**63 - 1),
    st.sampled_from(Channel),
    st.uuids().map(str),
)


@given(ANY_LINK)
def test_a_token_stands_for_its_link(link: Link) -> None:
    token = KEYS.token(link)
    assert KEYS.read_token(token, 0) == link
    assert KEYS.token(link) == token
    assert len(token) == 68
    assert token.replace("-", "").replace("_", "").isalnum()


@given(ANY_LINK, st.integers(0, 50), st.integers(1, 255))
def test_a_changed_token_is_none_of_ours(link: Link, place: int, change: int) -> None:
    from base64 import urlsafe_b64decode, urlsafe_b64encode

    octets = bytearray(urlsafe_b64decode(KEYS.token(link)))
    octets[place] ^= change
    assert KEYS.read_token(urlsafe_b64encode(bytes(octets)).decode(), 0) is None


@given(st.text(max_size=80))
def test_what_somebody_makes_up_is_none_of_ours(text: str) -> None:
    assert KEYS.read_token(text, 0) is None
    assert KEYS.read_return_tag(text) is None


def test_only_this_spelling_of_a_token_counts() -> None:
    token = KEYS.token(LINK)
    for other in (token + "=", token + "\n", token[:-1], f" {token}", token.swapcase(), token + "AAAA", ""):
        assert KEYS.read_token(other, 0) is None


def test_keys_change_one_after_the_other() -> None:
    old, both = LinkKeys([OLD]), LinkKeys([NEW, OLD])
    assert both.read_token(old.token(LINK), 0) == LINK
    assert KEYS.read_token(both.token(LINK), 0) == LINK, "the first key signs"
    assert KEYS.read_token(old.token(LINK), 0) is None
    assert both.read_return_tag(old.return_tag(MESSAGE)) == MESSAGE
    assert KEYS.read_return_tag(old.return_tag(MESSAGE)) is None


def test_a_time_that_runs_out() -> None:
    link = replace(LINK, purpose=Purpose.OPT_IN, until_micros=1_796_148_000_000_000)
    token = KEYS.token(link)
    assert KEYS.read_token(token, link.until_micros - 1) == link
    assert KEYS.read_token(token, link.until_micros) is None


def test_links_of_one_customer_cannot_be_told_by_looking() -> None:
    other = replace(LINK, reference=str(UUID(int=5)))
    first, second = KEYS.token(LINK), KEYS.token(other)
    same = sum(a == b for a, b in zip(first, second, strict=True))
    assert same < 30, "only the format, the key's name, the purpose and chance are the same"
    customer = LINK.customer.to_bytes(8, "big")
    from base64 import urlsafe_b64decode

    assert customer not in urlsafe_b64decode(first)


def test_a_link_for_one_thing_is_not_good_for_another() -> None:
    """The bit that says what a link does is signed, and so is the tag of a bounce, by a key of its own."""
    assert KEYS.token(LINK) != KEYS.token(replace(LINK, purpose=Purpose.OPT_IN))
    assert KEYS.read_return_tag(KEYS.token(LINK)) is None


@pytest.mark.parametrize("change", [str.upper, str.lower, str.swapcase])
def test_a_return_tag_survives_servers_that_change_case(change) -> None:
    tag = KEYS.return_tag(MESSAGE)
    assert len(tag) == 48
    assert KEYS.read_return_tag(change(tag)) == MESSAGE


def test_a_return_tag_cannot_be_made_for_another_message() -> None:
    tag = KEYS.return_tag(MESSAGE)
    other = KEYS.return_tag(str(UUID(int=7)))
    assert KEYS.read_return_tag(tag[:24] + other[24:]) is None
    assert KEYS.read_return_tag(tag[:-1] + ("a" if tag[-1] != "a" else "b")) is None


def test_key_files() -> None:
    file = f"{NEW.hex()}\n\n{OLD.hex()}\n"
    assert LinkKeys.read(file).read_token(LinkKeys([OLD]).token(LINK), 0) == LINK
    for text in ("", "abc", "secret", "ab" * 31, f"{NEW.hex()}\nsecret"):
        with pytest.raises(ValueError, match="64 hexadecimal digits") as caught:
            LinkKeys.read(text)
        assert "secret" not in str(caught.value)


def test_addresses_are_made_below_the_base() -> None:
    for base in ("https://links.operator.example", "https://links.operator.example/"):
        address = Links(KEYS, base).address(LINK)
        assert address == f"https://links.operator.example/l/{KEYS.token(LINK)}"
