"""The 200 rules that `bench.decide` asks: what a care desk wants to know of a caller, in ten rule sets.

All of them look at every question, at windows, traits, facts and the caller's topic; which of them fire
is the customer's doing. What they ask for is of every kind: offers with formulas for what they are worth,
messages, tasks, sentences to say and what to avoid. They take slots of `once`, and compete for one
conversation.
"""

QUESTION = "care-call"
SETS = 10
_HEAD = """\
ruleset: {name}
title: What to say to a caller, {place}
owner: bench
stage: assist
active: {{from: 2020-01-01}}
trigger: {{ask: care-call}}
windows:
  mb_7d: {{sum: usage.data_used.mb, last: 7d}}
  sessions_24h: {{count: usage.data_used, last: 24h}}
  drops_7d: {{count: network.call_dropped, last: 7d}}
  topped_up_30d: {{sum: topup.received.amount, last: 30d}}
  payments_30d: {{count: payment.received, last: 30d}}
infer:
  - fact: heavy
    when: [windows.mb_7d >= {megabytes}]
    because: "{{windows.mb_7d}} MB in the last 7 days"
  - fact: loyal
    when: [profile.tenure_months >= {loyal}]
    because: "a customer for {{profile.tenure_months}} months"
  - fact: bad_line
    when: [windows.drops_7d >= {drops}, not fact loyal]
    because: "{{windows.drops_7d}} dropped calls in the last 7 days"
rules:
"""
_RULES = (
    (
        "fact heavy, profile.tenure_months >= {low}, profile.tenure_months < {high}",
        (
            "{{offer: data-top-up, with: {{gb: 2}}, category: sales, value: profile.plan_price * 0.2, "
            "cost: 0.10, expires: 24h}}"
        ),
    ),
    (
        "profile.plan is {plan}, windows.topped_up_30d >= {many}, fact loyal",
        (
            "{{offer: data-top-up, with: {{gb: {number}}}, category: sales, "
            "value: windows.topped_up_30d / windows.payments_30d, expires: 48h}}"
        ),
    ),
    (
        "fact bad_line, profile.plan is {plan}",
        "{{offer: goodwill-1gb, category: retention, value: 6.00, cost: 1.20, expires: 7d}}",
    ),
    (
        "fact bad_line, ask.topic is network",
        '{{say: "We see {{windows.drops_7d}} dropped calls this week."}}',
    ),
    ("windows.drops_7d >= {many}, ask.topic is network", "{{avoid: [sales]}}"),
    (
        "windows.drops_7d >= {many}, profile.prepaid is false",
        (
            '{{task: call-back, with: {{queue: care, note: "{{windows.drops_7d}} drops"}}, '
            "category: service, due: 4h}}"
        ),
    ),
    (
        "windows.mb_7d >= profile.plan_data_mb * 0.8, ask.topic is usage, not fact loyal",
        "{{message: quota-80, category: service, channels: [sms]}}",
    ),
    (
        "profile.plan_price > {price}, windows.sessions_24h >= {many}",
        "{{message: quota-50, category: service, channels: [sms]}}",
    ),
    (
        "fact loyal, profile.plan is {plan}, profile.cycle_day >= {number}",
        '{{say: "Thank you for {{profile.tenure_months}} months with us."}}',
    ),
    (
        "windows.payments_30d >= {many}, profile.cycle_day >= {number}, not fact heavy",
        "{{message: quota-100, category: service, channels: [sms]}}",
    ),
)
_RULE = """\
  - id: rule-{number:02}
    priority: {priority}
    when: [{conditions}]
    do: {action}
{once}"""
_PLANS = ("s-5gb", "m-10gb", "m-20gb", "l-50gb")
_DISPATCHED = ("{{offer", "{{message", "{{task")


def rule_sets() -> dict[str, str]:
    """The rule sets by file name."""
    return {f"bench-desk-{place}.yaml": _rule_set(place) for place in range(SETS)}


def count_rules() -> int:
    """How many rules they hold, those that infer facts left out."""
    return sum(text.count("\n  - id: ") for text in rule_sets().values())


def _rule_set(place: int) -> str:
    text = _HEAD.format(
        name=f"bench-desk-{place}",
        place=place,
        megabytes=200 + 100 * place,
        loyal=24 + 8 * place,
        drops=1 + place,
    )
    for number in range(2 * len(_RULES)):
        conditions, action = _RULES[number % len(_RULES)]
        low = (12 * place + 6 * number) % 120
        filled = {
            "number": number + 1,
            "low": low,
            "high": low + 6,
            "many": 20 + number,
            "price": 40 + number,
            "plan": _PLANS[(place + number) % len(_PLANS)],
        }
        text += _RULE.format(
            number=number,
            priority=10 + number,
            conditions=conditions.format(**filled),
            action=action.format(**filled),
            once="    once: 7d\n" if action.startswith(_DISPATCHED) else "",
        )
    return text
