"""Two who are one: the stricter consent wins, the latest word on traits, nothing twice; and parted again."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packed_record import pack_record
from services.profile.adapters.packing import Kept, pack_hot
from services.profile.domain.activity import Retention, TypeActivity, entries_of
from services.profile.domain.consent import Consent, Consents, project
from services.profile.domain.customer import Customer, Record
from services.profile.domain.events import CheckedEvent
from services.profile.domain.merged_consents import merge_consents, stricter
from services.profile.domain.merging import (
    join,
    line_with,
    lines_with,
    merge_activity,
    merge_records,
    merge_traits,
    opened,
    split_record,
    split_traits,
    take_out,
    without,
)
from services.profile.domain.traits import Trait
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.identities import Identity
from services.vocabulary.words import (
    CONSENT_STRICTNESS,
    Channel,
    ConsentBy,
    ConsentState,
    Purpose,
)
from tests.fakes.keys import sealer

CATALOGUE = load_catalogue(Path(__file__).parents[3] / "rules")
MARKETING = Purpose.MARKETING
SMS, EMAIL = Channel.SMS, Channel.EMAIL
FOREVER = Retention(1 << 60, 1 << 60, 1 << 60)
ANNA, BEN, SIM2 = (
    Identity("msisdn", "+33600000001"),
    Identity("msisdn", "+33600000002"),
    Identity("msisdn", "+336"),
)
CRM, MAIL = Identity("crm", "7"), Identity("email", "a@example.org")

words = st.builds(
    Consent,
    purpose=st.sampled_from([MARKETING, Purpose.SERVICE]),
    channel=st.sampled_from([None, SMS, EMAIL]),
    state=st.sampled_from(list(ConsentState)),
    time_micros=st.integers(1, 6),
    by=st.sampled_from(list(ConsentBy)),
    expiry_micros=st.sampled_from([0, 50, 60]),
).map(lambda word: word if word.state is ConsentState.GRANTED else replace(word, expiry_micros=0))
ledgers = st.lists(words, max_size=5).map(project)


def said(state: str, time: int, by: str = "person", channel: Channel | None = None) -> Consent:
    return Consent(MARKETING, channel, ConsentState(state), time, ConsentBy(by))


def everywhere(consents: Consents) -> dict[tuple[Purpose, Channel | None], tuple[object, ...] | None]:
    found: dict[tuple[Purpose, Channel | None], tuple[object, ...] | None] = {}
    for purpose in (MARKETING, Purpose.SERVICE):
        for channel in (None, *Channel):
            word = consents.prevailing(purpose, channel)
            found[purpose, channel] = None if word is None else kind_of(word)
    return found


def kind_of(word: Consent) -> tuple[object, ...]:
    return (word.state, word.expiry_micros, word.refuses and word.by is ConsentBy.PERSON)


def test_a_refusal_of_either_stands_whichever_came_later():
    granted, refused = project([said("granted", 9)]), project([said("withdrawn", 5, channel=SMS)])
    for merged in (merge_consents(granted, refused), merge_consents(refused, granted)):
        assert merged.effective(MARKETING, SMS, 10) is ConsentState.WITHDRAWN
        assert merged.effective(MARKETING, EMAIL, 10) is ConsentState.GRANTED
        assert merged.add(
            said("granted", 20, by="staff", channel=SMS)
        )  # the person's own: nobody else lifts it
        assert merged.effective(MARKETING, SMS, 30) is ConsentState.WITHDRAWN
        assert merged.add(said("granted", 21)) == ""
        assert merged.effective(MARKETING, SMS, 30) is ConsentState.GRANTED


def test_no_more_is_written_than_what_outweighs():
    merged = merge_consents(project([said("granted", 9)]), project([said("withdrawn", 5)]))
    assert list(merged.by_person) == [(MARKETING, None)]
    assert merged.by_person[MARKETING, None].time_micros == 9


def test_what_staff_noted_as_refused_stands_against_the_other_ones_own_grant():
    merged = merge_consents(project([said("granted", 9)]), project([said("denied", 5, by="staff")]))
    assert merged.effective(MARKETING, SMS, 10) is ConsentState.DENIED
    assert merged.add(said("granted", 11)) == ""


def test_who_said_nothing_takes_over_what_the_other_said():
    for merged in (
        merge_consents(project([said("granted", 9)]), Consents()),
        merge_consents(Consents(), project([said("granted", 9)])),
    ):
        assert merged.effective(MARKETING, SMS, 10) is ConsentState.GRANTED


@given(ledgers, ledgers)
def test_on_every_channel_the_stricter_counts_and_the_order_does_not(one, other):
    merged = merge_consents(one, other)
    for purpose in (MARKETING, Purpose.SERVICE):
        for channel in (None, *Channel):
            wanted = stricter(one.prevailing(purpose, channel), other.prevailing(purpose, channel))
            found = merged.prevailing(purpose, channel)
            assert (found is None) == (wanted is None)
            if found is not None and wanted is not None:
                assert kind_of(found) == kind_of(wanted)
    assert everywhere(merge_consents(other, one)) == everywhere(merged)
    assert everywhere(merge_consents(merged, one)) == everywhere(merged)


@given(ledgers, ledgers, ledgers)
def test_of_three_it_does_not_matter_which_two_come_first(one, two, three):
    left = merge_consents(merge_consents(one, two), three)
    right = merge_consents(one, merge_consents(two, three))
    assert everywhere(left) == everywhere(right)


@given(ledgers, ledgers)
def test_no_merge_makes_a_yes_of_a_no(one, other):
    merged = merge_consents(one, other)
    for side in (one, other):
        for purpose in (MARKETING, Purpose.SERVICE):
            for channel in Channel:
                before, after = side.effective(purpose, channel, 55), merged.effective(purpose, channel, 55)
                assert before is None or (
                    after is not None and CONSENT_STRICTNESS[after] >= min(CONSENT_STRICTNESS[before], 2)
                )


def test_lines_of_the_other_get_names_of_their_own():
    into = Record([(ANNA, ""), (CRM, "")])
    other = Record([(BEN, ""), (SIM2, "2"), (MAIL, "")])
    assert lines_with(into, other) == {"": "2", "2": "3"}
    assert lines_with(Record([(CRM, "")]), other) == {"": "", "2": "2"}
    merged = merge_records(into, other, 9, lines_with(into, other))
    assert merged.identities == [(ANNA, ""), (CRM, ""), (BEN, "2"), (SIM2, "3"), (MAIL, "")]
    assert merged.merged_customers == [9]
    assert line_with(merged, other, "2") == "3"
    assert line_with(merged, other, "") == "2"


def test_where_both_chose_the_one_who_stays_is_asked_first():
    merged = merge_records(
        Record(preferences={"topic": "on"}, merged_customers=[4]),
        Record(preferences={"topic": "off", "pause": "x"}, merged_customers=[5]),
        3,
        {},
    )
    assert merged.preferences == {"topic": "on", "pause": "x"}
    assert merged.merged_customers == [4, 3, 5]


traits = st.dictionaries(
    st.sampled_from([("plan", ""), ("stage", ""), ("plan", "2")]),
    st.tuples(st.integers(1, 3), st.sampled_from("ab")),
).map(lambda told: {key: Trait(key[0], text, time, "crm", key[1]) for key, (time, text) in told.items()})


@given(traits, traits, traits)
def test_of_each_trait_the_latest_word_in_any_order(one, two, three):
    def merged(mine, theirs):
        return merge_traits(mine, theirs, CATALOGUE)

    assert merged(one, two) == merged(two, one)
    assert merged(merged(one, two), three) == merged(one, merged(two, three))


entries = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([None, 1.5, 2.5])), max_size=8)


def active(told: list[tuple[int, float | None]], first: int) -> TypeActivity:
    activity = TypeActivity("usage.data_used")
    for place, (time, mb) in enumerate(told):
        activity.add(
            time * 86_400_000_000,
            first + place,
            {} if mb is None else {"mb": mb},
            FOREVER,
            lambda at: at // 86_400_000_000,
        )
    return activity


@given(entries, entries)
def test_activity_is_joined_by_time_and_taken_out_again(one, other):
    mine, theirs = active(one, 1), active(other, 1)
    new = {sequence: 100 + sequence for sequence in theirs.sequences}
    merged = merge_activity(active(one, 1), theirs, new, FOREVER, lambda at: at // 86_400_000_000)
    assert merged.times == sorted(mine.times + theirs.times)
    assert sorted(merged.sequences) == sorted([*mine.sequences, *new.values()])
    assert entries_of(without(merged, set(new.values()))) == entries_of(mine)


def test_what_is_older_than_kept_is_folded_into_days_that_are_added_up():
    day = 86_400_000_000
    short = Retention(5 * day, 400 * day, 1000)
    one, other = TypeActivity("usage.data_used"), TypeActivity("usage.data_used")
    for sequence, at in enumerate((1, 20), start=1):
        one.add(at * day, sequence, {"mb": 1.0}, short, lambda micros: micros // day)
        other.add(at * day, sequence, {"mb": 2.0}, short, lambda micros: micros // day)
    other.add(6 * day, 3, {"mb": 4.0}, FOREVER, lambda micros: micros // day)
    merged = merge_activity(one, other, {1: 11, 2: 12, 3: 13}, short, lambda micros: micros // day)
    assert (merged.days, merged.day_counts, merged.day_sums) == ([1, 6], [2, 1], {"mb": [3.0, 4.0]})
    assert merged.times == [20 * day, 20 * day]


def person(number: int, record: Record) -> Customer:
    customer = Customer(number, 0, Kept(b"", b""))
    customer.replace_record(record)
    return customer


def happen(customer: Customer, event_type: str, time: int, line: str = "", **fields: object) -> None:
    known = CATALOGUE.events[event_type]
    event = CheckedEvent(f"e{time}", "crm", known, time, b"{}", fields, customer=customer.id, line=line)  # type: ignore[arg-type]
    customer.apply(event, CATALOGUE)


def again(customer: Customer) -> Customer:
    """The same customer as read from the database."""
    return Customer(
        customer.id,
        customer.sequence,
        Kept(
            pack_hot(customer, Types(CATALOGUE, sealer())),
            pack_record(customer.record, 0, customer.id, sealer()),
            customer.id,
            sealer(),
        ),
    )


def test_a_person_is_joined_whole_and_the_other_stays_as_they_were():
    anna, ben = person(1, Record([(ANNA, "")])), person(2, Record([(BEN, "")]))
    happen(anna, "profile.updated", 5, traits={"plan": "s", "stage": "use"})
    happen(ben, "profile.updated", 9, traits={"plan": "l", "stage": "leave"})
    for at in (6, 8):
        happen(anna, "case.opened", at, case="a", topic="bill")
    happen(ben, "case.opened", 7, case="b", topic="bill")
    anna, ben = again(anna), again(ben)
    before = ben.sequence
    join(anna, ben, CATALOGUE)
    anna = again(anna)
    assert {key: trait.value for key, trait in anna.traits.items()} == {
        ("plan", ""): "s",
        ("plan", "2"): "l",
        ("stage", ""): "leave",
    }
    cases = opened(anna, "case.opened")
    assert cases is not None
    assert [time for time, _, _ in entries_of(cases)] == [6, 7, 8]
    assert anna.sequence == 5
    happen(anna, "case.opened", 7, case="c", topic="bill")
    assert anna.activity["case.opened"].sequences[2] == 6 or anna.sequence == 6
    assert (ben.sequence, ben.record.identities) == (before, [(BEN, "")])
    take_out(anna, {sequence for _, sequence, _ in entries_of(cases)})
    left = opened(anna, "case.opened")
    assert left is not None
    assert left.sequences == [6]


def test_who_is_told_apart_takes_refusals_along_and_no_grants():
    record = Record(
        [(ANNA, ""), (BEN, "2"), (MAIL, "")],
        project([said("granted", 5, channel=EMAIL), said("withdrawn", 6, channel=SMS)]),
        {"topic": "on"},
    )
    left, new, lines = split_record(record, {BEN, MAIL})
    assert left.identities == [(ANNA, "")]
    assert new.identities == [(BEN, ""), (MAIL, "")]
    assert lines == {"2": ""}
    assert new.consents.effective(MARKETING, SMS, 10) is ConsentState.WITHDRAWN
    assert new.consents.effective(MARKETING, EMAIL, 10) is None
    assert new.preferences == {}
    assert left.consents == record.consents
    known = {("plan", ""): Trait("plan", "s", 1, "crm"), ("plan", "2"): Trait("plan", "l", 1, "crm", "2")}
    known["stage", ""] = Trait("stage", "use", 1, "crm")
    stay, go = split_traits(known, lines, CATALOGUE)
    assert stay.keys() == {("plan", ""), ("stage", "")}
    assert {key: trait.value for key, trait in go.items()} == {("plan", ""): "l"}
