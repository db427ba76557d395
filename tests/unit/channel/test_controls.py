"""Kill switches, campaigns and care queues by themselves, and how campaigns.yaml is read."""

from pathlib import Path

import pytest

from services.channel.adapters.policies.campaigns import read_campaigns
from services.channel.adapters.policies.folder import PolicyFolder
from services.channel.adapters.policies.reading import Document
from services.channel.domain.actions import Action
from services.channel.domain.campaigns import (
    BUCKET_MICROS,
    Campaign,
    Campaigns,
    CampaignState,
    CampaignUse,
    CareState,
    Limit,
    Measure,
    Span,
    Turn,
    day_start,
)
from services.channel.domain.controls import CareLoad, CareQueue, CareStage, KillSwitch, SwitchScope
from services.channel.domain.errors import PolicyError
from services.channel.domain.gates import campaign, campaign_rate, care, killed
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict
from services.channel.domain.quiet_hours import QuietHours
from services.vocabulary.values import DAY, HOUR, MINUTE, SECOND, parse_time
from services.vocabulary.words import ActionKind, Category, Channel, RefusalReason
from tests.fakes.channel import NOON, make_action, reachable

SALES = make_action(1, category=Category.SALES, name="autumn", topic="devices")
TASK = make_action(2, kind=ActionKind.TASK, channels=(), name="autumn")
QUEUE = CareQueue("calls", slow_above=50, slow_to=2.0, stop_above=200)


def state(**kwargs) -> GateState:
    return GateState(Channel.SMS, reachable(1), QuietHours(), **kwargs)


def told(verdict: Verdict) -> tuple[RefusalReason, str, int | None]:
    assert isinstance(verdict, Refused)
    return verdict.reason, verdict.detail, verdict.next_micros


def switch(scope: SwitchScope = SwitchScope.ALL, name: str = "", **kwargs) -> KillSwitch:
    return KillSwitch(scope, name, **kwargs)


def test_a_switch_that_refuses_goes_before_one_that_holds_and_the_last_end_counts() -> None:
    def judge(*switches: KillSwitch, action: Action = SALES) -> Verdict:
        return killed.judge(action, state(switches=switches), NOON)

    early, late = switch(hold=True, until_micros=NOON + 1), switch(hold=True, until_micros=NOON + DAY)
    endless = switch(SwitchScope.CATEGORY, "sales", hold=True)
    assert told(judge(late, early))[2] == NOON + DAY
    assert told(judge(late, endless)) == (
        RefusalReason.KILLED,
        "kill switch category sales, held",
        NOON + HOUR,
    )
    refuses = switch(SwitchScope.ACTION, "autumn", until_micros=NOON + 5)
    assert told(judge(endless, refuses, late)) == (
        RefusalReason.KILLED,
        "kill switch action autumn until 2026-09-21T12:00:00.000005Z",
        None,
    )
    assert judge(switch(until_micros=NOON), switch(SwitchScope.RULE_SET, "other")) is PASSED
    brief = make_action(3, expires_micros=NOON + MINUTE)
    assert told(judge(late, action=brief))[2] == NOON + MINUTE - 1
    assert told(killed.judge(brief, state(switches=[late]), NOON + MINUTE - 1))[2] is None


def spent(*times: int, cost: int = 0) -> CampaignUse:
    use = CampaignUse()
    for moment in times:
        use.take(moment, cost)
    return use


def judged(use: CampaignUse, *limits: Limit, cost: int = 0, now: int = NOON) -> Verdict:
    one = CampaignState(Campaign("autumn", limits=limits), use, cost, "Europe/Paris")
    return campaign.judge(SALES, state(campaigns=[one]), now)


def test_the_limit_without_room_for_longest_is_told() -> None:
    day, total = Limit(Measure.MESSAGES, 1, Span.DAY), Limit(Measure.MESSAGES, 1)
    hour = Limit(Measure.MESSAGES, 1, Span.WINDOW, HOUR)
    use = spent(NOON - 10 * MINUTE)
    assert told(judged(use, hour, day))[1:] == (
        "campaign autumn: 1 of at most 1 messages a day in Europe/Paris",
        NOON + 10 * HOUR,
    )
    assert told(judged(use, total, day))[1:] == ("campaign autumn: 1 of at most 1 messages in all", None)
    # a bucket leaves the window with its end, not with its start
    _, _, again = told(judged(use, hour))
    assert again == NOON - 10 * MINUTE + BUCKET_MICROS + HOUR
    assert isinstance(judged(use, hour, now=again - 1), Refused)
    assert judged(use, hour, now=again) is PASSED


def test_money_that_is_not_needed_is_not_refused_and_more_than_all_never_fits() -> None:
    budget = Limit(Measure.MONEY, 100, Span.DAY)
    full = spent(NOON, cost=100)
    assert judged(full, budget, cost=0) is PASSED
    assert told(judged(full, budget, cost=1))[2] == NOON + 10 * HOUR
    assert told(judged(CampaignUse(), budget, cost=101))[2] is None
    assert judged(CampaignUse(), budget, cost=100) is PASSED


def test_days_follow_the_zone_through_its_changes() -> None:
    # Paris sets its clocks back on 2026-10-25: that day has 25 hours
    start = parse_time("2026-10-24T22:00:00Z")
    assert day_start(start, "Europe/Paris") == start
    assert day_start(start + 24 * HOUR, "Europe/Paris") == start
    assert day_start(start, "Europe/Paris", days=1) == start + 25 * HOUR
    # Beirut skips midnight on 2026-03-29
    skipped = parse_time("2026-03-28T22:00:00Z")
    assert day_start(skipped + HOUR, "Asia/Beirut") == skipped
    for zone in ("Asia/Kathmandu", "Australia/Eucla", "Pacific/Chatham"):
        assert day_start(NOON, zone) % BUCKET_MICROS == 0


def test_tasks_and_mandatory_messages_pass_what_campaigns_refuse() -> None:
    over = CampaignState(
        Campaign("autumn", limits=(Limit(Measure.MESSAGES, 0),)), CampaignUse(), turn=Turn(False)
    )
    full = CareState(QUEUE, None)
    for gate in (campaign.judge, campaign_rate.judge, care.judge):
        assert gate(TASK, state(campaigns=[over], care=[full]), NOON) is PASSED
    for category in Category:
        action = make_action(1, category=category)
        passes = campaign.judge(action, state(campaigns=[over]), NOON) is PASSED
        assert passes is (category is Category.MANDATORY)
        passes = care.judge(action, state(care=[full]), NOON) is PASSED
        assert passes is (category in {Category.MANDATORY, Category.SERVICE})


def test_a_campaigns_rate_says_when_it_has_a_turn() -> None:
    slow = CampaignState(Campaign("autumn", per_second=0.5), CampaignUse(), turn=Turn(False, NOON + SECOND))
    verdict = campaign_rate.judge(SALES, state(campaigns=[slow]), NOON)
    assert told(verdict) == (
        RefusalReason.RATE_LIMITED,
        "campaign autumn goes at 0.5 a second",
        NOON + SECOND,
    )
    free = CampaignState(Campaign("autumn", per_second=0.5), CampaignUse(), turn=Turn(True))
    assert campaign_rate.judge(SALES, state(campaigns=[free]), NOON) is PASSED


@pytest.mark.parametrize(
    ("depth", "stage"),
    [(0, "free"), (50, "free"), (51, "slowed"), (200, "slowed"), (201, "stopped")],
)
def test_the_depth_of_a_queue_decides(depth: int, stage: str) -> None:
    load = CareLoad("calls", depth, NOON - MINUTE, 2 * MINUTE)
    assert QUEUE.stage(load, NOON).value == stage
    assert QUEUE.stage(load, NOON + MINUTE - 1).value == stage
    assert QUEUE.stage(load, NOON + MINUTE) is CareStage.STOPPED  # it counts no more
    assert QUEUE.stage(None, NOON) is CareStage.STOPPED
    turns = {
        turn: care.judge(SALES, state(care=[CareState(QUEUE, load, turn)]), NOON)
        for turn in (None, Turn(True), Turn(False, NOON + HOUR))
    }
    passed = {turn for turn, verdict in turns.items() if verdict is PASSED}
    assert len(passed) == {"free": 3, "slowed": 2, "stopped": 0}[stage]
    if stage != "free":
        assert told(turns[Turn(False, NOON + HOUR)])[2] == NOON + HOUR
    if stage == "stopped":
        assert told(turns[None])[2] == NOON + MINUTE


def test_all_that_match_says_must_fit() -> None:
    def owns(**kwargs) -> bool:
        return Campaign("c", **{name: frozenset(words) for name, words in kwargs.items()}).owns(SALES)

    assert owns(names=["other", "autumn"])
    assert owns(rule_sets=["tests"], categories=[Category.SALES], topics=["devices"])
    assert not owns(rule_sets=["tests"], categories=[Category.SERVICE])
    assert not owns(names=["autumn"], topics=["tariffs"])
    assert not owns(rule_sets=["other"])
    both = Campaigns((Campaign("a", names=frozenset({"autumn"})), Campaign("b", names=frozenset({"x"}))))
    assert [one.name for one in both.of(SALES)] == ["a"]
    assert [one.name for one in both.of(SALES, known=("b",))] == ["a", "b"]


WHOLE = """\
costs: {sms: 0.045 EUR, email: 0 EUR}
care:
  calls: {slow_above: 5, slow_to: 0.5, stop_above: 9, unknown: slow}
campaigns:
  b:
    match: {rule_set: [autumn], name: [offer], category: [sales, retention], topic: [devices]}
    most: 10000
    most_per_day: 100
    most_within: {7d: 400, 1h: 20}
    budget: 500.50 EUR
    budget_per_day: 20 EUR
    budget_within: {2d: 30 EUR}
    per_second: 2.5
    causes_calls: calls
  a: {match: {category: [survey]}}
"""


def test_campaigns_are_read() -> None:
    found = read_campaigns(Document("campaigns.yaml", WHOLE), "Europe/Paris")
    assert found.costs == {Channel.SMS: 45_000, Channel.EMAIL: 0}
    assert (found.cost(Channel.SMS, 3), found.cost(Channel.APP, 1), found.currency) == (135_000, 0, "EUR")
    assert found.queues == {"calls": CareQueue("calls", 5, 0.5, 9, CareStage.SLOWED)}
    first, second = found.campaigns
    assert first == Campaign("a", categories=frozenset({Category.SURVEY}))
    assert second.limits == (
        Limit(Measure.MESSAGES, 10_000),
        Limit(Measure.MESSAGES, 100, Span.DAY),
        Limit(Measure.MESSAGES, 400, Span.WINDOW, 7 * DAY),
        Limit(Measure.MESSAGES, 20, Span.WINDOW, HOUR),
        Limit(Measure.MONEY, 500_500_000),
        Limit(Measure.MONEY, 20_000_000, Span.DAY),
        Limit(Measure.MONEY, 30_000_000, Span.WINDOW, 2 * DAY),
    )
    assert (second.per_second, second.care_queue) == (2.5, "calls")
    assert second.topics == {"devices"}


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        ("sms: 0.045 EUR", "fax: 0.045 EUR", "1: 'fax' is no channel; use sms"),
        ("sms: 0.045 EUR", "sms: 0.045", "1: sms is 0.045; write an amount and a currency"),
        ("sms: 0.045 EUR", "sms: -1 EUR", "1: sms is '-1 EUR'; write an amount from 0"),
        ("budget: 500.50 EUR", "budget: 500 USD", "10: budget is in USD, others in EUR; use one currency"),
        ("most: 10000", "most: many", "7: most is 'many'; write a whole number from 0"),
        ("most: 10000", "most: -1", "7: most is -1"),
        ("most: 10000", "moist: 1", "7: 'moist' is unknown; use match, most"),
        ("7d: 400", "soon: 400", "9: 'soon' is not a length of time"),
        ("7d: 400", "60d: 400", "9: 60d is no window for most_within; write 5m to 31d"),
        ("{7d: 400, 1h: 20}", "5", "9: most_within is not a map"),
        ("per_second: 2.5", "per_second: 0", "13: per_second is 0; write messages a second"),
        ("causes_calls: calls", "causes_calls: shop", "14: 'shop' is no queue under care; use calls"),
        ("rule_set: [autumn]", "rule_set: autumn", "6: rule_set is not a list of names"),
        ("category: [sales, retention]", "category: [sale]", "6: 'sale' is unknown; use mandatory"),
        ("topic: [devices]", "subject: [devices]", "6: 'subject' is unknown; use rule_set"),
        ("{match: {category: [survey]}}", "{most: 3}", "15: campaign a does not say what belongs to it"),
        ("{match: {category: [survey]}}", "{match: {}}", "15: campaign a does not say what belongs to it"),
        ("  a: {", "  A b: {", "15: 'A b' is no name; use small letters"),
        ("stop_above: 9", "stop_above: 4", "3: stop_above is 4, less than slow_above; write 5 or more"),
        (", stop_above: 9", "", "3: calls has no stop_above; it needs slow_above"),
        ("unknown: slow", "unknown: maybe", "3: unknown is 'maybe'; write stop, slow, pass"),
        ("slow_to: 0.5", "slow_to: fast", "3: slow_to is 'fast'; write messages a second"),
    ],
)
def test_a_mistake_in_campaigns_is_told_with_its_line(before: str, after: str, mistake: str) -> None:
    assert before in WHOLE
    with pytest.raises(PolicyError) as raised:
        read_campaigns(Document("campaigns.yaml", WHOLE.replace(before, after, 1)), "UTC")
    assert str(raised.value).startswith(f"policies/campaigns.yaml:{mistake}")


def test_a_document_that_could_not_be_read_is_tried_again_when_a_file_changes(tmp_path: Path) -> None:
    (tmp_path / "caps.yaml").write_text("caps: {}\n")
    (tmp_path / "quiet_hours.yaml").write_text("quiet: {}\n")
    policies = PolicyFolder(tmp_path, "UTC")
    before = policies.digests()
    (tmp_path / "quiet_hours.yaml").write_text("quiet: wrong\n")
    with pytest.raises(PolicyError):
        policies.refresh()
    with pytest.raises(PolicyError, match="quiet is not a map"):
        policies.put({"campaigns.yaml": WHOLE})
    assert (policies.current().campaigns.campaigns, policies.digests()) == ((), before)
    (tmp_path / "quiet_hours.yaml").write_text("quiet: {}\nclosed: []\n")
    assert policies.refresh()
    assert len(policies.current().campaigns.campaigns) == 2
    assert set(policies.digests()) == {"campaigns.yaml", "caps.yaml", "quiet_hours.yaml"}
    policies.put({})
    assert policies.current().campaigns.campaigns == ()
