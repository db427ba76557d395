"""The consent ledger: the latest time wins, on a tie the stricter; only the person lifts the person's no."""

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.consent import Consent, Consents, project
from services.profile.domain.customer import Record
from services.profile.domain.permission import permissions
from services.vocabulary.identities import Identity
from services.vocabulary.words import (
    Category,
    Channel,
    ConsentBy,
    ConsentState,
    Purpose,
    RefusalReason,
)

MARKETING = Purpose.MARKETING
SMS, EMAIL = Channel.SMS, Channel.EMAIL


def said(
    state: str,
    time: int,
    by: str = "person",
    channel: Channel | None = None,
    purpose: Purpose = MARKETING,
    expiry: int = 0,
) -> Consent:
    return Consent(purpose, channel, ConsentState(state), time, ConsentBy(by), expiry)


def test_the_latest_word_wins_whatever_arrives_first():
    late, early = said("granted", 9), said("denied", 5)
    for ledger in ([early, late], [late, early]):
        assert project(ledger).effective(MARKETING, SMS, 10) is ConsentState.GRANTED


def test_on_a_tie_the_stricter_word_wins():
    for ledger in ([said("granted", 5), said("withdrawn", 5)], [said("withdrawn", 5), said("granted", 5)]):
        assert project(ledger).effective(MARKETING, SMS, 10) is ConsentState.WITHDRAWN


def test_staff_and_imports_do_not_lift_a_persons_refusal_and_the_person_does():
    consents = project([said("withdrawn", 5)])
    assert "person" in consents.add(said("granted", 6, by="staff"))
    assert consents.add(said("granted", 7, by="import"))
    assert consents.effective(MARKETING, SMS, 10) is ConsentState.WITHDRAWN
    assert consents.add(said("granted", 8)) == ""
    assert consents.effective(MARKETING, SMS, 10) is ConsentState.GRANTED


def test_a_persons_refusal_that_arrives_late_still_stands_against_staff():
    consents = project([said("granted", 9, by="staff"), said("withdrawn", 5)])
    assert consents.effective(MARKETING, SMS, 10) is ConsentState.WITHDRAWN


def test_staff_may_lift_what_staff_recorded():
    consents = project([said("denied", 5, by="staff"), said("granted", 6, by="staff")])
    assert consents.effective(MARKETING, SMS, 10) is ConsentState.GRANTED


def test_no_channel_means_every_channel_until_something_later_names_one():
    consents = project([said("granted", 5), said("withdrawn", 6, channel=SMS)])
    assert consents.effective(MARKETING, SMS, 10) is ConsentState.WITHDRAWN
    assert consents.effective(MARKETING, EMAIL, 10) is ConsentState.GRANTED
    consents.add(said("withdrawn", 7))
    assert consents.effective(MARKETING, EMAIL, 10) is ConsentState.WITHDRAWN
    consents.add(said("granted", 8, channel=EMAIL))
    assert consents.effective(MARKETING, EMAIL, 10) is ConsentState.GRANTED
    assert consents.effective(MARKETING, SMS, 10) is ConsentState.WITHDRAWN


def test_a_grant_ends_when_it_says():
    consents = project([said("granted", 5, expiry=20)])
    assert consents.effective(MARKETING, SMS, 19) is ConsentState.GRANTED
    assert consents.effective(MARKETING, SMS, 20) is ConsentState.EXPIRED
    assert consents.next_expiry_micros(6) == 20
    assert consents.next_expiry_micros(20) == 0


def test_usage_may_be_used_until_objected_and_location_only_when_agreed():
    consents = Consents()
    assert consents.withheld_purposes(10) == (
        Purpose.PROFILING_LOCATION,
        Purpose.PROFILING_WEB,
        Purpose.PROFILING_SOCIAL,
    )
    consents.add(said("objected", 5, purpose=Purpose.PROFILING_USAGE))
    consents.add(said("granted", 5, purpose=Purpose.PROFILING_LOCATION))
    assert Purpose.PROFILING_USAGE in consents.withheld_purposes(10)
    assert Purpose.PROFILING_LOCATION not in consents.withheld_purposes(10)
    assert consents.may_use(Purpose.SERVICE, 10)


consents_ = st.builds(
    said,
    st.sampled_from(["granted", "denied", "withdrawn", "objected", "expired"]),
    st.integers(0, 4),
    st.sampled_from(["person", "staff", "import"]),
    st.sampled_from([None, SMS, EMAIL]),
)


@given(st.lists(consents_, max_size=8), st.randoms(use_true_random=False))
def test_no_order_of_the_ledger_changes_what_is_in_force(ledger, random):
    shuffled = list(ledger)
    random.shuffle(shuffled)
    one, other = project(ledger), project(shuffled)
    for channel in (None, SMS, EMAIL):
        assert one.effective(MARKETING, channel, 10) == other.effective(MARKETING, channel, 10)


@given(st.lists(consents_, max_size=8))
def test_nothing_but_a_later_word_of_the_person_lifts_the_persons_refusal(ledger):
    refusal = said("withdrawn", 2)
    after = [c for c in ledger if not (c.by is ConsentBy.PERSON and c.time_micros >= 2)]
    assert project([*after, refusal]).effective(MARKETING, SMS, 10) is ConsentState.WITHDRAWN


@given(st.lists(consents_, max_size=8))
def test_an_entry_that_does_not_count_is_told_why(ledger):
    consents = Consents()
    for consent in ledger:
        reason = consents.add(consent)
        assert bool(reason) == (consents.prevailing(consent.purpose, consent.channel) != consent)


def record(*consents: Consent) -> Record:
    identities = [(Identity("msisdn", "+33600000001"), ""), (Identity("msisdn", "+33600000002"), "2")]
    return Record(identities=identities, consents=project(consents))


def of(channel: Channel, category: Category, *consents: Consent, line: str = ""):
    found, _ = permissions(record(*consents), category, line, 10)
    return next(permission for permission in found if permission.channel is channel)


def test_unknown_means_no_for_sales_retention_and_surveys_and_yes_for_service():
    for category in (Category.SALES, Category.RETENTION, Category.SURVEY):
        assert of(SMS, category).reason is RefusalReason.CONSENT_UNKNOWN
    assert of(SMS, Category.SERVICE).allowed
    assert of(SMS, Category.MANDATORY).allowed


def test_a_refusal_says_no_consent_and_passes_what_is_mandatory():
    refused = said("objected", 5, purpose=Purpose.SERVICE)
    assert of(SMS, Category.SERVICE, refused).reason is RefusalReason.NO_CONSENT
    assert of(SMS, Category.MANDATORY, refused).allowed
    assert permissions(record(refused), Category.SERVICE, "", 10)[1]


def test_without_an_address_a_channel_is_refused_and_each_line_has_its_own():
    assert of(EMAIL, Category.SERVICE).reason is RefusalReason.NO_ADDRESS
    assert of(SMS, Category.SERVICE).address == "+33600000001"
    assert of(SMS, Category.SERVICE, line="2").address == "+33600000002"
