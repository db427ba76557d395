"""Figures beside their references."""

import json

import pytest

from bench.measure import Measure, percentile, table, write_json


def test_a_ratio_is_value_by_reference():
    measure = Measure("road.events_per_s", 2500.0, "events/s", "empty_grpc_calls", 5000.0)
    assert measure.to_json() == {
        "name": "road.events_per_s",
        "value": 2500.0,
        "unit": "events/s",
        "reference": "empty_grpc_calls",
        "reference_value": 5000.0,
        "ratio": 0.5,
    }


def test_without_a_reference_there_is_no_ratio():
    told = Measure("road.handover_p50_ms", 12.34567, "ms").to_json()
    assert told["value"] == 12.35
    assert told["reference"] is None
    assert told["reference_value"] is None
    assert told["ratio"] is None


def test_the_file_holds_a_list(tmp_path):
    file = tmp_path / "new" / "road.json"
    write_json([Measure("a", 1.0, "s"), Measure("b", 2.0, "s", "a", 4.0)], file)
    assert [entry["ratio"] for entry in json.loads(file.read_text())] == [None, 0.5]


def test_the_table_lines_up():
    lines = table([Measure("a", 12345.6, "events/s"), Measure("long.name", 0.5, "ms", "a", 2.0)]).splitlines()
    assert lines[0].split() == ["value", "unit", "beside", "its", "value", "ratio"]
    assert lines[1].split() == ["a", "12,346", "events/s"]
    assert lines[2].split() == ["long.name", "0.5", "ms", "a", "2", "0.25"]
    assert lines[1].index("events/s") == lines[2].index("ms")


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1), (0.5, 1)])
def test_percentiles_by_nearest_rank(percent, value):
    assert percentile([*range(100, 0, -1)], percent) == value


def test_of_few_values_the_highest_percentile_is_the_largest():
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0


def test_nothing_has_no_percentile():
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)
