"""Gate 8: a campaign says no more and costs no more than it may."""

from services.channel.domain.actions import Action
from services.channel.domain.campaigns import CampaignState, Limit, Measure, Span
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.values import format_duration
from services.vocabulary.words import Category, RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses when any limit of volume or money of any campaign of the action has no room for it.

    Names the one without room for longest. Mandatory messages are counted and never refused.
    """
    if not is_contact(action, state.channel) or action.category is Category.MANDATORY:
        return PASSED
    worst: Refused | None = None
    for one in state.campaigns:
        for limit in one.campaign.limits:
            refused = _judge(one, limit, now_micros)
            if refused is not None and (worst is None or _waits_longer(refused, worst)):
                worst = refused
    return worst or PASSED


def without_room(one: CampaignState, now_micros: int) -> str:
    """Of a campaign's limits the first without room for one more message of that cost; empty: none."""
    found = (_judge(one, limit, now_micros) for limit in one.campaign.limits)
    return next((refused.detail for refused in found if refused is not None), "")


def _judge(one: CampaignState, limit: Limit, now_micros: int) -> Refused | None:
    wanted = 1 if limit.measure is Measure.MESSAGES else one.cost_micros
    used = one.use.used(limit, now_micros, one.zone)
    if not wanted or used + wanted <= limit.most:
        return None
    over = {
        Span.TOTAL: "in all",
        Span.DAY: f"a day in {one.zone}",
        Span.WINDOW: f"in {format_duration(limit.window_micros)}",
    }[limit.span]
    if limit.measure is Measure.MESSAGES:
        told = f"{used} of at most {limit.most} messages {over}"
    else:
        told = f"{_money(used)} of at most {_money(limit.most)} {over}, and this costs {_money(wanted)}"
    detail = f"campaign {one.campaign.name}: {told}"
    return Refused(RefusalReason.BUDGET, detail, one.use.free_again(limit, wanted, now_micros, one.zone))


def _money(micros: int) -> str:
    whole, part = divmod(micros, 1_000_000)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def _waits_longer(one: Refused, other: Refused) -> bool:
    if other.next_micros is None:
        return False
    return one.next_micros is None or one.next_micros > other.next_micros
