"""Reads policies/arbitration.yaml."""

from collections.abc import Collection
from difflib import get_close_matches

from services.vocabulary.arbitration_policy import TERMS, ArbitrationPolicy, Terms
from services.vocabulary.catalogue import CYCLE_DAYS
from services.vocabulary.values import DAY, format_duration
from services.vocabulary.words import Category
from services.vocabulary.yaml_section import Section

_LONGEST = 13 * CYCLE_DAYS * DAY
"""Contacts are kept no longer in a customer's activity."""


def read_arbitration(file: Section, offers: Collection[str] | None) -> ArbitrationPolicy:
    """The policy of a file; what is wrong is noted with it, and stands at its default in what is returned.

    ``offers``: those that may be named; None: whoever reads it knows no offers.
    """
    default, by_category, by_offer = _propensities(file, offers)
    stated = tuple(name for name in ("pressure", "urgency") if file.content.get(name) is not None)
    pressure, urgency, share = (file.section(name) for name in ("pressure", "urgency", "sales_share"))
    file.done()
    weight, window = TERMS.pressure_weight, TERMS.pressure_micros
    if pressure is not None:
        weight = _number(pressure, "weight", 0, 1e6, weight)
        window = _within(pressure, window)
        pressure.done()
    most, halfway = TERMS.most_urgent, TERMS.halfway_micros
    if urgency is not None:
        most = _number(urgency, "most", 1, 100, most)
        halfway = _length(urgency, "halfway", halfway)
        urgency.done()
    most_sales, share_window = TERMS.most_sales, TERMS.share_micros
    if share is not None:
        most_sales = _number(share, "most", 0, 1, 1.0, above=True)
        if share.content.get("most") is None:
            share.wrong("most", "is missing", "write the share of contacts that may be sales: 0.5")
        share_window = _within(share, share_window)
        share.done()
    terms = Terms(weight, window, most, halfway, most_sales, share_window, stated)
    return ArbitrationPolicy(default, by_category, by_offer, terms)


def _propensities(
    file: Section, offers: Collection[str] | None
) -> tuple[float | None, dict[Category, float], dict[str, float]]:
    section = file.section("propensity")
    if section is None:
        return None, {}, {}
    default = _likely(section, "default")
    by_category = {
        category: found for category in Category if (found := _likely(section, category.value)) is not None
    }
    by_offer: dict[str, float] = {}
    below = section.section("offers")
    for name in () if below is None else map(str, below.content):
        assert below is not None
        found = _likely(below, name)
        if offers is not None and name not in offers:
            near = get_close_matches(name, sorted(offers), n=1)
            below.wrong(
                name, "is no offer", f"did you mean {near[0]}?" if near else "name one of offers.yaml"
            )
        elif found is not None:
            by_offer[name] = found
    section.done()
    return default, by_category, by_offer


def _likely(section: Section, key: str) -> float | None:
    return None if section.take(key) is None else _number(section, key, 0, 1, 1.0)


def _number(
    section: Section, key: str, least: float, most: float, default: float, *, above: bool = False
) -> float:
    """A number between two bounds, both included; ``above``: the lower one is not."""
    found = section.number(key)
    if found is None:
        return default
    if not least <= found <= most or (above and found == least):
        bounds = f"above {least:g} and at most {most:g}" if above else f"from {least:g} to {most:g}"
        section.wrong(key, f"is {found:g}", f"write a number {bounds}")
        return default
    return found


def _within(section: Section, default: int) -> int:
    found = _length(section, "within", default)
    if found > _LONGEST:
        section.wrong(
            "within",
            f"is {format_duration(found)}, and contacts are known for {format_duration(_LONGEST)}",
            "write 30d",
        )
        return default
    return found


def _length(section: Section, key: str, default: int) -> int:
    found = section.duration(key, default)
    if found <= 0:
        section.wrong(key, "is no length of time", f"write {format_duration(default)}")
        return default
    return found
