"""What is written of a decision comes back as it was."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import orjson
import pytest
import zstandard

from services.decision.adapters.material import pack_material, unpack_material
from services.decision.adapters.personal import PERSONAL
from services.decision.adapters.records import (
    Record,
    open_record,
    pack_candidate,
    pack_record,
    unpack_candidate,
    unpack_record,
)
from services.decision.domain.arbitration import Circumstances, Standing, Won, arbitrate
from services.decision.domain.decide import Evaluation, Planned
from services.decision.domain.once import Taken
from services.decision.domain.program import ChannelChoice
from services.decision.domain.scoring import BY_OFFER, BY_POLICY, BY_RULE, Origin
from services.vocabulary.arbitration_policy import Terms
from services.vocabulary.values import HOUR, Money, ValueType
from services.vocabulary.words import Category, Channel, RefusalReason
from tests.unit.decision.test_arbitration import NOW, SLOT, avoids, offer

FULL = offer(
    "full",
    Category.RETENTION,
    slot=SLOT,
    channels=(ChannelChoice(None), ChannelChoice(Channel.SMS, 2 * HOUR)),
    parameters={
        "text": (ValueType.TEXT, "é"),
        "int": (ValueType.INT, 2),
        "number": (ValueType.NUMBER, 2.5),
        "money": (ValueType.MONEY, Money(Decimal("12.50"), "EUR")),
        "bool": (ValueType.BOOL, True),
        "time": (ValueType.TIME, NOW),
        "date": (ValueType.DATE, date(2026, 12, 1)),
        "duration": (ValueType.DURATION, 3 * HOUR),
        "list": (ValueType.LIST, ("a", "b")),
    },
    planned_micros=NOW + HOUR,
    expires_micros=NOW + 2 * HOUR,
    unless=("complaint.opened",),
    value=3.5,
    experiment="x",
    arm="one",
    avoid=(Category.SALES,),
    value_from=BY_RULE,
    propensity=0.5,
    propensity_from=BY_POLICY,
    cost_from=Origin(detail="formula divided by zero"),
    excludes=("tv",),
)


def test_a_candidate_with_every_kind_of_value_comes_back():
    assert unpack_candidate(pack_candidate(FULL)) == FULL


def test_a_bare_candidate_comes_back_and_is_small():
    assert unpack_candidate(pack_candidate(offer())) == offer()
    assert len(pack_candidate(offer())) < 200


def test_a_whole_record_comes_back():
    terms = Terms(1.0, HOUR, most_sales=0.5, stated=("pressure",))
    circumstances = Circumstances(NOW, "why", True, 2, False, None, 1, 77, terms)
    evaluation = Evaluation(("f",), (FULL, offer("b")), circumstances, {"x": "one"})
    standing = Standing({SLOT.name: Taken(NOW, ("h",))}, (Won("w", NOW),), {"x": "one"})
    actions = arbitrate(evaluation.candidates, evaluation.circumstances, standing).actions
    gates = {"b": (RefusalReason.NO_CONSENT, "")}
    record = Record(
        evaluation,
        standing,
        actions,
        planned=Planned(FULL, NOW, 7),
        gates=gates,
        line="l",
        hops=2,
        sequence=9,
    )
    again = unpack_record(pack_record(record))
    for part in Record.__slots__:
        assert getattr(again, part) == getattr(record, part), part


@pytest.mark.parametrize("origin", [BY_RULE, BY_OFFER, BY_POLICY, Origin(detail="x"), Origin()])
@pytest.mark.parametrize("value", [0.0, 2.0])
def test_who_said_a_number_comes_back(origin, value):
    candidate = offer(value=value, value_from=origin)
    assert unpack_candidate(pack_candidate(candidate)) == candidate


def test_a_record_from_before_factors_were_written_is_read_as_it_was_decided():
    evaluation = Evaluation((), (offer("a", value=2.0, value_from=BY_RULE),), Circumstances(NOW, pressure=2))
    actions = arbitrate(evaluation.candidates, evaluation.circumstances, Standing()).actions
    body = open_record(pack_record(Record(evaluation, Standing(), actions)))
    (written,) = body["actions"]
    assert written.pop("factors")
    assert set(written["candidate"]) == {
        "action_id", "rule_set", "version", "rule", "position", "kind", "name", "category", "priority",
        "value",
    }  # fmt: skip
    assert body["circumstances"].pop("heeds_avoid")
    assert body["circumstances"].keys() == {
        "time_micros", "service_first", "vulnerable", "pressure", "was_planned",
    }  # fmt: skip
    again = unpack_record(zstandard.compress(orjson.dumps(body)))
    assert not again.evaluation.circumstances.heeds_avoid
    assert replace(again.evaluation.circumstances, heeds_avoid=True) == evaluation.circumstances
    assert (again.evaluation.candidates, again.actions) == (evaluation.candidates, actions)


def test_event_and_snapshot_come_back():
    assert unpack_material(pack_material(b"event", b"snapshot" * 500)) == (b"event", b"snapshot" * 500)
    assert unpack_material(pack_material(b"", b"")) == (b"", b"")


def test_a_person_is_shown_what_every_score_was_made_of_and_who_said_so():
    evaluation = Evaluation((), (FULL, avoids(Category.SALES)), Circumstances(NOW))
    actions = arbitrate(evaluation.candidates, evaluation.circumstances, Standing()).actions
    packed = pack_record(Record(evaluation, Standing(), actions))
    read = next(section.read for each in PERSONAL for section in each.shown if section.section == "decisions")
    (told,) = read({"record": packed, "material": b""})
    first, second = told["actions"]
    assert first["factors"]["propensity"] == {"value": 0.5, "source": "policy"}
    assert first["factors"]["cost"] == {
        "value": 0.0,
        "source": "default",
        "detail": "formula divided by zero",
    }
    assert list(first["factors"]) == ["propensity", "value", "cost", "urgency", "pressure"]
    assert "factors" not in second
