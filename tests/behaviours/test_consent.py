"""Behaviours 14 to 22: consent and suppression.

14  test_14_no_consent_known_means_no_for_sales_retention_and_surveys
    test_14_a_suppressed_person_does_not_stop_the_batch_and_the_reason_is_kept
15  test_15_suppression_is_per_channel_and_tells_its_reason
16  test_16_a_suppressed_channel_is_not_chosen_even_as_the_second_choice
17  test_17_a_persons_own_opt_out_is_not_lifted_by_staff_or_a_merge
    test_17_a_persons_own_no_is_not_lifted_by_staff_or_an_import
18  test_18_stop_in_any_language_case_and_punctuation_stops_what_sells_and_the_reply_says_so
    test_18_start_lifts_only_that
    test_18_staff_can_send_a_link_with_which_the_person_opts_in_again
19  test_19_a_post_unsubscribes_once_and_a_link_scanner_changes_nothing
20  test_20_mail_that_sells_carries_the_ways_out_and_mandatory_mail_does_not
21  test_21_a_forwarded_link_affects_the_original_person_only
22  test_22_consent_withdrawn_between_decision_and_dispatch_stops_the_message
    test_22_an_opt_out_between_decision_and_dispatch_stops_the_message
"""

from email import message_from_bytes
from uuid import uuid4

import pytest
from rapport.types.v1 import vocabulary_pb2 as words

from services.channel.adapters.mail import Letterhead, mail_of
from services.channel.adapters.templates import JinjaRenderer
from services.channel.app.ports import Outgoing
from services.channel.app.suppression import opt_in, opt_out
from services.channel.domain.caps import Cap
from services.channel.domain.contact import Permission, Reach, SuppressedFor
from services.channel.domain.inbound import Owner
from services.channel.domain.links import Link, Links
from services.channel.domain.links import Purpose as LinkPurpose
from services.channel.domain.policies import Policies
from services.channel.domain.suppression import LiftedBy
from services.vocabulary import ids
from services.vocabulary.values import DAY
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import make_action, reachable
from tests.integration.channel.conftest import ROOT, MakeRoad, Road
from tests.integration.channel.test_inbound import take, written
from tests.integration.channel.test_web_links import AGAIN, KEYS, ONE_CLICK, Web
from tests.integration.profile.asking import at, event, ingest
from tests.integration.profile.test_consents import ask, change, on, record

PLANNED, REFUSED = MessageState.PLANNED, MessageState.REFUSED
BOTH = (Channel.SMS, Channel.EMAIL)
NEEDS_CONSENT = (Category.SALES, Category.RETENTION, Category.SURVEY)
NO = Permission(False, RefusalReason.NO_CONSENT, "sms-address")


async def put_out(
    road: Road, reason: SuppressedFor, channel: Channel = Channel.SMS, customer: int = 1
) -> None:
    async with road.store.transaction() as tx:
        await opt_out(tx, road.clock, customer=customer, channel=channel, reason=reason, evidence="test")


async def test_14_no_consent_known_means_no_for_sales_retention_and_surveys(road: Road) -> None:
    # an address, and not a word about whether it may be used
    road.profile.reaches[1] = Reach(
        True, 0, {Channel.SMS: Permission(False, RefusalReason.CONSENT_UNKNOWN, "sms-address-1")}
    )
    road.profile.reaches[2] = Reach(True, 0, {})
    for customer in (1, 2):
        for category in NEEDS_CONSENT:
            message = await road.take_one(make_action(f"{customer}{category}", customer, category=category))
            assert message.state is REFUSED, category
    road.profile.away = True  # nobody can be asked: it waits, and is not sent
    waiting = await road.take_one(make_action("later", 3, category=Category.SALES))
    assert (waiting.state, waiting.reason) == (MessageState.ACCEPTED, RefusalReason.CONSENT_UNKNOWN)
    await road.sender.turn()
    assert road.transport.sent == []


async def test_14_a_suppressed_person_does_not_stop_the_batch_and_the_reason_is_kept(road: Road) -> None:
    await put_out(road, SuppressedFor.COMPLAINED, customer=2)
    taken = await road.take(*(make_action(n, n, category=Category.SALES) for n in (1, 2, 3)))
    await road.sender.turn()
    assert [one.message.state for one in taken] == [PLANNED, REFUSED, PLANNED]
    assert [one.customer for one in road.transport.sent] == [1, 3]
    kept = await road.stored(taken[1].message)
    assert kept.reason is RefusalReason.SUPPRESSED
    assert "complained" in kept.detail
    assert ("action.refused", "SUPPRESSED") in await road.told()


@pytest.mark.parametrize("reason", SuppressedFor)
async def test_15_suppression_is_per_channel_and_tells_its_reason(road: Road, reason: SuppressedFor) -> None:
    await put_out(road, reason)
    by_sms = await road.take_one(make_action(1, category=Category.SALES))
    by_mail = await road.take_one(make_action(2, category=Category.SALES, channels=(Channel.EMAIL,)))
    assert (by_sms.state, by_sms.reason) == (REFUSED, RefusalReason.SUPPRESSED)
    assert by_sms.detail == f"sms is suppressed for this customer: {reason.value}"
    assert by_mail.state is PLANNED


async def test_16_a_suppressed_channel_is_not_chosen_even_as_the_second_choice(road: Road) -> None:
    await put_out(road, SuppressedFor.UNSUBSCRIBED, Channel.EMAIL)
    road.profile.reaches[1] = reachable(1, channels=(Channel.EMAIL,))  # no number: mail is what is left
    message = await road.take_one(make_action(1, category=Category.SALES, channels=BOTH))
    assert message.state is REFUSED
    road.profile.reaches[1] = reachable(1, preferred=Channel.EMAIL)
    preferred = await road.take_one(make_action(2, category=Category.SALES, channels=(None, Channel.SMS)))
    assert (preferred.state, preferred.channel) == (PLANNED, Channel.SMS)  # though mail is preferred


async def test_17_a_persons_own_opt_out_is_not_lifted_by_staff_or_a_merge(road: Road) -> None:
    await put_out(road, SuppressedFor.UNSUBSCRIBED, customer=2)
    await put_out(road, SuppressedFor.MANUAL, customer=2)
    async with road.store.transaction() as tx:
        await opt_in(tx, road.clock, customer=2, channel=Channel.SMS, by=LiftedBy.STAFF)
    still = await road.take_one(make_action(1, 2, category=Category.SALES))
    assert (still.state, "unsubscribed" in still.detail) == (REFUSED, True)

    road.profile.reaches[1] = reachable(1, merged=(2,))  # the one who opted out is found to be customer 1 too
    assert (await road.take_one(make_action(2, 1, category=Category.SALES))).state is REFUSED

    async with road.store.transaction() as tx:
        assert await opt_in(tx, road.clock, customer=2, channel=Channel.SMS, by=LiftedBy.PERSON)
    assert (await road.take_one(make_action(3, 2, category=Category.SALES))).state is PLANNED


async def test_17_a_persons_own_no_is_not_lifted_by_staff_or_an_import(profile) -> None:
    await profile.profile.IngestEvents(ingest(event("e1")))
    answer = await record(profile, "r1", change("WITHDRAWN", channel="SMS"))
    for number, by in enumerate(("STAFF", "IMPORT"), start=1):
        lifted = change("GRANTED", by=by, channel="SMS", time=at(hours=number))
        await record(profile, f"by-{by}", lifted)
    (found,) = await ask(profile, (answer.customer, "SALES"))
    assert on(found, "SMS").reason == words.REFUSAL_REASON_NO_CONSENT


STOPS = ("STOP", "stop!", " Stop. ", "«\u00a0ARRÊT\u00a0»", "Désinscription", "ALTO…", "stopp", "S.T.O.P")


async def test_18_stop_in_any_language_case_and_punctuation_stops_what_sells_and_the_reply_says_so(
    make_road: MakeRoad,
) -> None:
    road = make_road(renderer=JinjaRenderer(ROOT / "rules/templates", "en", "UTC"))
    people = {customer: f"+3361234{customer:04d}" for customer in range(1, len(STOPS) + 1)}
    road.profile.numbers |= {f"msisdn:{number}": Owner((customer,)) for customer, number in people.items()}
    await take(
        road,
        *(written(text, str(customer), people[customer]) for customer, text in enumerate(STOPS, start=1)),
    )
    await road.sender.turn()
    assert sorted((one.customer, one.name) for one in road.transport.sent) == [
        (customer, "reply-stop") for customer in people
    ]
    # it says what has stopped, and how to begin again
    assert all("START" in one.text for one in road.transport.sent)
    for customer in people:
        name = "quota-50"
        refused = [
            await road.take_one(make_action(f"{customer}{category}", customer, category=category, name=name))
            for category in NEEDS_CONSENT
        ]
        assert [one.reason for one in refused] == [RefusalReason.SUPPRESSED] * 3, STOPS[customer - 1]
    notice = make_action("notice", category=Category.MANDATORY, name="surcharge-notice")
    assert (await road.take_one(notice)).state is PLANNED
    assert (await road.take_one(make_action("bill", name="quota-50"))).state is PLANNED
    by_mail = make_action("mail", category=Category.SALES, name="quota-50", channels=(Channel.EMAIL,))
    assert (await road.take_one(by_mail)).reason is not RefusalReason.SUPPRESSED


async def test_18_start_lifts_only_that(road: Road) -> None:
    await put_out(road, SuppressedFor.UNSUBSCRIBED, Channel.EMAIL)
    await put_out(road, SuppressedFor.MANUAL)
    await take(road, written("STOP", "1"), written("Start!", "2"))
    async with road.store.transaction() as tx:
        assert await tx.suppressed([1]) == {
            (1, Channel.SMS): {SuppressedFor.MANUAL},
            (1, Channel.EMAIL): {SuppressedFor.UNSUBSCRIBED},
        }


async def test_18_staff_can_send_a_link_with_which_the_person_opts_in_again(web: Web) -> None:
    await web.ask("POST", (await web.link(7))[1], data=ONE_CLICK)
    _, again = await web.link(7, purpose=LinkPurpose.OPT_IN)
    await web.ask("GET", again)
    assert await web.listed() == [(7, "email", "unsubscribed")]  # the link alone lifts nothing
    assert (await web.ask("POST", again, data=AGAIN))[0] == 200
    assert await web.listed() == []


async def test_19_a_post_unsubscribes_once_and_a_link_scanner_changes_nothing(web: Web) -> None:
    _, path = await web.link(7)
    for method in ("GET", "HEAD", "OPTIONS"):
        await web.ask(method, path)
    assert (await web.listed(), await web.audited()) == ([], 0)
    told = [await web.ask("POST", path, data=ONE_CLICK) for _ in range(3)]
    assert {status for status, _ in told} == {200}
    assert (await web.listed(), await web.audited()) == ([(7, "email", "unsubscribed")], 1)


@pytest.mark.parametrize("category", Category)
async def test_20_mail_that_sells_carries_the_ways_out_and_mandatory_mail_does_not(
    category: Category,
) -> None:
    letterhead = Letterhead(
        "Operator <hello@operator.example>", Links(KEYS, "https://links.operator.example")
    )
    outgoing = Outgoing(
        ids.message_id(str(uuid4())),
        7,
        "a@example.org",
        "text",
        "subject",
        "",
        "",
        category,
        "n",
        0,
        again=False,
    )
    mail = message_from_bytes(mail_of(outgoing, letterhead, 0).content)
    one_click = mail["List-Unsubscribe-Post"]
    if category in NEEDS_CONSENT:
        assert one_click == "List-Unsubscribe=One-Click"
        token = mail["List-Unsubscribe"].strip("<>").rpartition("/")[2]
        assert KEYS.read_token(token, 0) == Link(LinkPurpose.OPT_OUT, 7, Channel.EMAIL, outgoing.message_id)
    else:
        assert (mail["List-Unsubscribe"], one_click) == (None, None)


async def test_21_a_forwarded_link_affects_the_original_person_only(web: Web) -> None:
    _, path = await web.link(7)
    await web.link(8)  # who got it forwarded, is a customer too, and is known to the browser
    await web.ask("POST", path, data=ONE_CLICK, headers={"Cookie": "customer=8", "From": "b@example.org"})
    assert await web.listed() == [(7, "email", "unsubscribed")]
    for_another = path.replace("/l/", "/l/8")
    assert (await web.ask("POST", for_another, data=ONE_CLICK))[0] == 404
    assert await web.listed() == [(7, "email", "unsubscribed")]


async def test_22_consent_withdrawn_between_decision_and_dispatch_stops_the_message(
    make_road: MakeRoad,
) -> None:
    commercial = frozenset({Category.SALES})
    road = make_road(Policies(caps=(Cap("day", 1, DAY, commercial, commercial),)))
    message = await road.take_one(make_action(1, category=Category.SALES))
    assert message.state is PLANNED
    road.profile.reaches[1] = Reach(True, 0, {Channel.SMS: NO})
    road.clock.wall += 2_000_001
    await road.sender.turn()
    assert road.transport.sent == []
    stored = await road.stored(message)
    assert (stored.state, stored.reason) == (REFUSED, RefusalReason.NO_CONSENT)
    assert await road.slots() == 0  # what was not said leaves room for what may be


@pytest.mark.parametrize("by_another_id", [False, True])
async def test_22_an_opt_out_between_decision_and_dispatch_stops_the_message(
    road: Road, *, by_another_id: bool
) -> None:
    road.profile.reaches[1] = reachable(1, merged=(2,))
    message = await road.take_one(make_action(1, category=Category.SALES))
    await put_out(road, SuppressedFor.UNSUBSCRIBED, customer=2 if by_another_id else 1)
    # at once, while the profile's word is fresh; that they are one person is heard when it is asked again
    road.clock.wall += 2_000_001 if by_another_id else 0
    await road.sender.turn()
    assert road.transport.sent == []
    assert (await road.stored(message)).reason is RefusalReason.SUPPRESSED
