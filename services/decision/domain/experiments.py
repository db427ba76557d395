"""Who is left alone and who gets which arm: by hash, and for good once it was used."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.decision.domain.program import Experiment, RuleSet

HOLDOUT = "holdout"
"""The arm of those left alone."""

NO_ARM = ""
"""Neither held out nor in an arm: the shares did not add up to everybody."""

_BUCKETS = 10_000


def bucket_of(experiment: str, customer: int) -> int:
    """0 to 9,999, evenly spread, independent between experiments, the same on every machine."""
    digest = blake2b(f"{experiment}\x1f{customer}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _BUCKETS


def hashed_arm(experiment: Experiment, customer: int) -> str:
    """The arm by the present shares: the holdout first, then the arms in the order written."""
    bucket = bucket_of(experiment.id, customer)
    edge = experiment.holdout
    if bucket < edge:
        return HOLDOUT
    for arm, share in experiment.arms.items():
        edge += share
        if bucket < edge:
            return arm
    return NO_ARM


def arms_for(rule_sets: Iterable[RuleSet], customer: int, stored: Mapping[str, str]) -> dict[str, str]:
    """The customer's arm in each experiment of these rule sets; a stored one holds, whatever the shares."""
    arms: dict[str, str] = {}
    for rule_set in rule_sets:
        experiment = rule_set.experiment
        if experiment is not None:
            arm = stored.get(experiment.id)
            arms[experiment.id] = hashed_arm(experiment, customer) if arm is None else arm
    return arms
