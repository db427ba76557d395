"""Turns the usage records of `mobile_usage_2018` into CloudEvents, in time order, and reads its known truth.

The records carry dates without a time: each event takes noon in the operator's zone, so that its local day is
its date. Ids recur across files, so the file's name is the source.
"""

import argparse
import csv
import datetime as dt
import json
import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPERATOR_ZONE = "America/New_York"
THRESHOLDS = (50, 80, 100)

Crossing = tuple[str, str, int, str]
"""(user, month, per cent, first day)."""


def usage_events(folder: Path) -> Iterator[dict[str, Any]]:
    """Every user's introduction, then every internet session, in the order of their days."""
    with (folder / "plans.csv").open(newline="") as file:
        quotas = {row["plan_name"]: int(row["mb_per_month_included"]) for row in csv.DictReader(file)}
    with (folder / "internet.csv").open(newline="") as file:
        sessions = sorted(csv.DictReader(file), key=lambda row: row["session_date"])
    first_day = sessions[0]["session_date"]
    with (folder / "users.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            traits = {
                "plan": row["plan_name"],
                "plan_data_mb": quotas[row["plan_name"]],
                "cycle_day": 1,
                "zone": OPERATOR_ZONE,
                "language": "en",
            }
            yield _event(
                "users",
                row["user_id"],
                "profile.updated",
                _time(first_day, 0),
                row["user_id"],
                {"traits": traits},
            )
    for row in sessions:
        yield _event(
            "internet",
            row["id"],
            "usage.data_used",
            _time(row["session_date"], 12),
            row["user_id"],
            {"mb": float(row["mb_used"])},
        )


def known_crossings(folder: Path) -> set[Crossing]:
    """On which day each user's month passed each share of the quota."""
    found: set[Crossing] = set()
    with (folder / "quota_crossings.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for threshold in THRESHOLDS:
                if day := row[f"first_day_{threshold}pct"]:
                    found.add((row["user_id"], row["month"], threshold, day))
    return found


def local_day(time: str) -> str:
    """The day in the operator's zone of an RFC 3339 time."""
    return dt.datetime.fromisoformat(time).astimezone(zoneinfo.ZoneInfo(OPERATOR_ZONE)).date().isoformat()


def _time(day: str, hour: int) -> str:
    moment = dt.datetime.combine(dt.date.fromisoformat(day), dt.time(hour), zoneinfo.ZoneInfo(OPERATOR_ZONE))
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _event(source: str, key: str, kind: str, time: str, user: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": key,
        "source": f"mobile_usage_2018/{source}",
        "type": kind,
        "time": time,
        "subject": f"crm:{user}",
        "data": fields,
    }


def main() -> None:
    """Writes the events to standard output, one a line, ready for `rapport ingest -`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the folder with internet.csv, users.csv and plans.csv")
    for event in usage_events(parser.parse_args().folder):
        sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
