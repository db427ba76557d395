"""An import into a running profile service: stopped halfway, gone on, and run again."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rapport.profile.v1 import profile_pb2

from services.cli.feed import FeedReport, NumberedEvent, feed
from services.cli.importing.checking import taken_events
from services.cli.importing.mapping_reader import read_mapping
from services.cli.importing.reading import Unreadable, opened
from services.cli.importing.rows import RowReader
from services.vocabulary.catalogue import load_catalogue
from tests.integration.profile.conftest import RULES

ROWS = 1_700
MAPPING = """\
source: billing
subject: {crm: id}
time: 2026-11-02
traits: {plan: plan}
events: [{type: topup.received, fields: {amount: {column: paid, currency: EUR}}}]
"""


class StoppedError(Exception):
    """Somebody pulled the plug."""


def events(folder: Path) -> Iterator[NumberedEvent]:
    mapping = read_mapping(folder / "mapping.yaml", "UTC").of(folder / "bills.csv")
    assert mapping is not None
    with opened(folder / "bills.csv", mapping) as rows:
        reader = RowReader(mapping, rows.columns, load_catalogue(RULES))
        yield from taken_events(rows, reader, Unreadable())


def halfway(all_events: Iterator[NumberedEvent]) -> Iterator[NumberedEvent]:
    for number, event in enumerate(all_events):
        if number == 2 * ROWS - 399:  # between the two events of a row; four batches are in flight at most
            raise StoppedError
        yield event


async def taken(profile, feeding: Iterator[NumberedEvent], stream_id: str) -> FeedReport:
    connections: Any = SimpleNamespace(profile=profile.profile)
    return await feed(connections, feeding, FeedReport(), stream_id=stream_id, history=True)


async def test_an_import_stopped_halfway_goes_on_and_run_again_changes_nothing(profile, tmp_path):
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    lines = [f"{number},m,{number}.50\n" for number in range(ROWS)]
    (tmp_path / "bills.csv").write_text("id,plan,paid\n" + "".join(lines))
    with pytest.raises(StoppedError):
        await taken(profile, halfway(events(tmp_path)), "one")
    went_on = await taken(profile, events(tmp_path), "one")
    assert went_on.skipped + went_on.accepted + went_on.duplicates == 2 * ROWS
    assert went_on.skipped > 0
    assert not went_on.rejections
    again = await taken(profile, events(tmp_path), "another")
    assert (again.accepted, again.duplicates) == (0, 2 * ROWS)
    for number in (0, ROWS // 2, ROWS - 1):
        request = profile_pb2.GetProfileRequest(subject=f"crm:{number}")
        found = (await profile.profile.GetProfile(request)).profile
        assert [(one.name, one.source) for one in found.traits] == [("plan", "billing")]
        assert {one.type: one.entries for one in found.activity} == {
            "profile.updated": 1,
            "topup.received": 1,
        }
