"""The chain of a customer's ledger: whatever is changed, left out, put in or cut off is found."""

from dataclasses import replace
from hashlib import sha256
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.ledger import Entry, Head, append, first_break
from tests.unit.profile.test_consent import said

OURS = b"the key"


def mac(part: bytes) -> bytes:
    return sha256(OURS + part).digest()


def theirs(part: bytes) -> bytes:
    return sha256(b"another key" + part).digest()


def entry(number: int, customer: int = 7) -> Entry:
    return Entry(
        customer, said("granted", number), "crm", f"e{number}", f"form {number}", "v2", recorded_micros=number
    )


def salts():
    numbers = count(1)
    return lambda: next(numbers).to_bytes(16)


def chain(length: int, head: Head | None = None):
    return append(head or Head(), [entry(number) for number in range(1, length + 1)], salts(), mac)


def forgotten(line):
    gone = replace(line.entry, evidence="", wording="", event_id="")
    return replace(line, entry=gone, salt=b"")


def test_a_chain_is_whole_however_it_was_added_to_and_in_whatever_order_it_is_read():
    first, head = chain(2)
    more, longer = append(head, [entry(3)], salts(), mac)
    assert [line.number for line in (*first, *more)] == [1, 2, 3]
    assert first_break(7, [*more, *first], longer, mac) is None
    assert append(longer, [], salts(), mac) == ([], longer)


def test_erased_texts_leave_the_chain_whole_and_cannot_be_guessed():
    lines, head = chain(3)
    assert first_break(7, [forgotten(line) for line in lines], head, mac) is None
    twin, _ = append(Head(), [entry(1)], lambda: b"another salt....", mac)
    assert twin[0].texts != lines[0].texts  # the same texts: without the salt nobody can try them


@given(st.integers(1, 5), st.data())
def test_whatever_is_done_to_a_chain_is_found_at_the_line_where_it_was_done(length, data):
    lines, head = chain(length)
    place = data.draw(st.integers(0, length - 1))
    line = lines[place]
    consent = line.entry.consent
    forged = {
        "state": replace(line.entry, consent=said("withdrawn", consent.time_micros)),
        "time": replace(line.entry, consent=replace(consent, time_micros=99)),
        "by": replace(line.entry, consent=said("granted", consent.time_micros, by="staff")),
        "expiry": replace(line.entry, consent=replace(consent, expiry_micros=5)),
        "evidence": replace(line.entry, evidence="form 8"),
        "event": replace(line.entry, event_id="e9"),
        "source": replace(line.entry, source="web"),
        "recorded": replace(line.entry, recorded_micros=0),
        "whose": replace(line.entry, customer=8),
        "half erased": replace(line.entry, evidence=""),
    }
    done = data.draw(st.sampled_from([*forged, "left out", "twice", "no salt"]))
    if done == "left out":
        changed = [other for other in lines if other is not line]
    elif done == "twice":
        changed = [*lines, line]
    elif done == "no salt":
        changed = [replace(other, salt=b"") if other is line else other for other in lines]
    else:
        changed = [replace(other, entry=forged[done]) if other is line else other for other in lines]
    broken = first_break(7, changed, head, mac)
    assert broken is not None
    assert (broken.customer, broken.number) == (7, line.number)


def test_a_chain_written_anew_does_not_fit_the_seal():
    lines, _ = chain(3)
    anew, forged = append(Head(), [entry(1), entry(9)], salts(), theirs)
    assert first_break(7, anew, forged, mac) is not None
    kept = Head(2, lines[1].hash, b"")
    assert "seal" in first_break(7, lines[:2], kept, mac).why
    with_old_seal = Head(2, lines[1].hash, chain(3)[1].seal)
    assert "seal" in first_break(7, lines[:2], with_old_seal, mac).why


def test_a_seal_is_one_customers_own():
    lines, head = chain(1)
    others, _ = append(Head(), [entry(1, customer=8)], salts(), mac)
    assert first_break(8, others, head, mac) is not None
    assert first_break(7, lines, head, mac) is None


@pytest.mark.parametrize(
    ("head", "number"), [(None, 1), (Head(2, b"", b""), 2), (Head(5, b"", b""), 4), (Head(), 1)]
)
def test_an_end_that_does_not_fit_is_found(head, number):
    lines, _ = chain(3)
    if head is not None and head.length == 2:
        number = 3
    assert first_break(7, lines, head, mac).number == number


def test_a_customer_without_a_ledger_has_nothing_to_break_and_a_head_without_lines_has():
    assert first_break(7, [], None, mac) is None
    assert first_break(7, [], chain(2)[1], mac).number == 1
