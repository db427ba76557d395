"""Withheld: whatever the customer did not agree to have used leaves no value of it in a snapshot."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapport.types.v1 import stream_pb2

from services.profile.adapters.packing import Kept, Types
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.domain.consent import DATA_PURPOSES, Consent
from services.profile.domain.customer import Customer, precedence_of
from services.profile.domain.events import CheckedEvent
from services.profile.domain.things import ThingState
from services.profile.domain.traits import Trait
from services.vocabulary.catalogue import EventType
from services.vocabulary.values import DAY, ValueType
from services.vocabulary.wire import PURPOSES
from services.vocabulary.words import Channel, ConsentBy, ConsentState, Purpose

NOW = 1_790_000_000_000_000
MARK = "secret-{}-"
SAID = {"consent.changed", "preference.changed"}


@pytest.fixture(scope="session")
def types(catalogue_types) -> Types:
    """The shipped catalogue, in which also fields and places need purposes of their own."""
    catalogue = catalogue_types.catalogue
    events = dict(catalogue.events)
    events["order.placed"] = _with_field_purpose(events["order.placed"], "product", Purpose.PROFILING_WEB)
    events["usage.data_used"] = _with_field_purpose(
        events["usage.data_used"], "country", Purpose.PROFILING_LOCATION
    )
    things = {**catalogue.things, "cell": replace(catalogue.things["cell"], purpose=Purpose.SERVICE)}
    return Types(replace(catalogue, events=events, things=things), catalogue_types.sealer)


def _with_field_purpose(event: EventType, name: str, purpose: Purpose) -> EventType:
    field = replace(event.fields[name], purpose=purpose)
    kept = tuple(dict.fromkeys((*event.keep.fields, name)))
    return replace(event, fields={**event.fields, name: field}, keep=replace(event.keep, fields=kept))


consents = st.lists(
    st.builds(
        Consent,
        st.sampled_from(DATA_PURPOSES),
        st.sampled_from([None, None, Channel.SMS]),
        st.sampled_from(ConsentState),
        st.integers(NOW - 9, NOW),
        st.sampled_from(ConsentBy),
        st.sampled_from([0, 0, NOW - 5, NOW + DAY]),
    ),
    max_size=6,
)


def needs(types: Types) -> dict[str, frozenset[Purpose]]:
    """Everything of a text type that can stand in a snapshot, and what it needs."""
    catalogue = types.catalogue
    found = {
        f"trait {trait.name}": frozenset({trait.purpose})
        for trait in catalogue.traits.values()
        if trait.type is ValueType.TEXT and not trait.household and not trait.direct
    }
    for event in catalogue.events.values():
        for name in event.keep.fields:
            if not event.thing and event.name not in SAID and event.fields[name].type is ValueType.TEXT:
                found[f"event {event.name} {name}"] = frozenset({event.purpose, event.fields[name].purpose})
    found["thing cell"] = frozenset({catalogue.things["cell"].purpose, catalogue.traits["last_cell"].purpose})
    return found


def customer_with_everything(types: Types) -> tuple[Customer, dict[tuple[str, str], ThingState]]:
    customer = Customer(1, 0, Kept(b"", b""))
    catalogue = types.catalogue
    for what in needs(types):
        kind, name, *rest = what.split(" ")
        text = MARK.format(what.replace(" ", "/"))
        if kind == "trait":
            trait = Trait(name, text, NOW - DAY, "crm")
            customer._set_trait(trait, precedence_of(name, catalogue))
        elif kind == "event":
            event_type = catalogue.events[name]
            event = CheckedEvent(what, "test", event_type, NOW - 2 * DAY, b"{}", {rest[0]: text})
            customer.apply(event, catalogue)
    cell = ThingState("cell", MARK.format("trait/last_cell"))
    cell.attributes["incident"] = (MARK.format("thing/cell"), NOW)
    return customer, {("cell", cell.key): cell}


@given(consents)
def test_no_value_of_what_is_withheld_stands_in_a_snapshot_and_all_else_does(types, ledger):
    customer, things = customer_with_everything(types)
    for consent in ledger:
        customer.add_consent(consent)
    packed = SnapshotPacker(types).snapshot(customer, things, NOW, NOW)
    withheld = set(customer.record.consents.withheld_purposes(NOW))
    snapshot = stream_pb2.Snapshot.FromString(packed)
    assert {PURPOSES.from_wire(number) for number in snapshot.withheld_purposes} == withheld
    for what, purposes in needs(types).items():
        stands = MARK.format(what.replace(" ", "/")).encode() in packed
        assert stands is withheld.isdisjoint(purposes), what
    hidden = {trait.name for trait in snapshot.traits if trait.withheld}
    assert hidden == {
        name
        for name, trait in types.catalogue.traits.items()
        if trait.type is ValueType.TEXT
        and not (trait.household or trait.direct)
        and trait.purpose in withheld
    }
    for activity in snapshot.activity:
        assert activity.withheld is (types.purpose_of(activity.type) in withheld)
        if activity.withheld:
            assert activity == stream_pb2.TypeActivity(type=activity.type, withheld=True)


def test_unknown_withholds_all_but_usage(types):
    customer, things = customer_with_everything(types)
    packed = SnapshotPacker(types).snapshot(customer, things, NOW, NOW)
    assert b"secret-trait/better_plan-" in packed
    assert b"secret-event/usage.data_used/country-" not in packed
    assert b"secret-thing/cell-" not in packed
