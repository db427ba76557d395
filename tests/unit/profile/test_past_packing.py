"""A customer of the past is packed as a live one, also where a live one is too large and loses the oldest."""

import random

import orjson

from services.profile.adapters.packing import MAX_HOT_BYTES, Kept, pack_hot
from services.profile.adapters.past_packing import PastSnapshots
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.domain.customer import Customer, Record
from services.profile.domain.events import EventChecker, RawEvent

NOW = 1_790_000_000_000_000
HOUR = 3_600_000_000


def orders(catalogue, count: int, chance: random.Random):
    """Orders with long names, and now and then something else."""
    checker = EventChecker(catalogue, orjson.loads, orjson.dumps, wall=False)
    for number in range(count):
        kind, data = "order.placed", {"order": f"{number:04d}" * chance.randrange(80, 200), "product": "p"}
        if number % 7 == 0:
            kind, data = "profile.updated", {"traits": {"stage": chance.choice(["use", None]), "name": "A"}}
        time = NOW + number * HOUR - chance.randrange(3 * HOUR)
        raw = RawEvent(f"e{number}", "test", kind, time, "", orjson.dumps(data))
        yield checker.check_own(raw, 1, NOW, hops=0, line="")


def test_who_is_too_large_loses_the_same_entries_as_a_live_customer(catalogue_types):
    types, catalogue = catalogue_types, catalogue_types.catalogue
    live_packer, packer = SnapshotPacker(types), PastSnapshots(types)
    hot, sequence, largest = b"", 0, 0
    past = packer.nobody(1)
    past.replace_record(Record())
    chance = random.Random(4)
    for event in orders(catalogue, 220, chance):
        live = Customer(1, sequence, Kept(hot, b"", 1, types.sealer))
        live.replace_record(Record())
        live.apply(event, catalogue)
        past.apply(event, catalogue)
        packer.touched(past, event.type.name)
        when = (event.time_micros, NOW)
        if chance.random() < 0.1:
            assert packer.snapshot(past, {}, *when) == live_packer.snapshot(live, {}, *when)
        hot, sequence = pack_hot(live, types), live.sequence
        packer.settle(past)
        largest = max(largest, len(hot))
    assert MAX_HOT_BYTES * 0.9 < largest <= MAX_HOT_BYTES
    kept = Kept(hot, b"", 1, types.sealer).open_activity("order.placed")
    assert kept is not None
    assert len(kept.times) < 150
    assert past.activity["order.placed"] == kept
