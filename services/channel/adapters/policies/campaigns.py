"""Reads campaigns.yaml."""

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.reading import Mistakes, Source, line_of, only, read, words
from services.channel.domain.campaigns import (
    BUCKET_MICROS,
    LONGEST_WINDOW_MICROS,
    Campaign,
    Campaigns,
    Limit,
    Measure,
    Span,
)
from services.channel.domain.controls import CareQueue, CareStage
from services.vocabulary.values import Money, ValueMistake, format_duration, parse_duration, parse_money
from services.vocabulary.words import Category, Channel

_MATCH = ("rule_set", "name", "category", "topic")
_MESSAGES = ("most", "most_per_day", "most_within")
_MONEY = ("budget", "budget_per_day", "budget_within")
_CAMPAIGN = ("match", *_MESSAGES, *_MONEY, "per_second", "causes_calls")
_QUEUE = ("slow_above", "slow_to", "stop_above", "unknown")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_STAGES = {"stop": CareStage.STOPPED, "slow": CareStage.SLOWED, "pass": CareStage.FREE}
_MOST = 2**53


def read_campaigns(file: Source, zone: str) -> Campaigns:
    """The campaigns in the file, with days of that zone; raises PolicyError."""
    content, mistakes = read(file)
    only(content, ("costs", "care", "campaigns"), mistakes, content)
    reader = _Reader(mistakes)
    costs = {
        reader.channel(listed, name): reader.cost(listed, name)
        for listed, name in reader.entries(content, "costs")
    }
    queues = {name: reader.queue(listed, name) for listed, name in reader.entries(content, "care")}
    campaigns = tuple(
        sorted(
            (reader.campaign(listed, name, queues) for listed, name in reader.entries(content, "campaigns")),
            key=lambda campaign: campaign.name,
        )
    )
    return Campaigns(campaigns, costs, reader.currency, queues, zone)


class _Reader:
    """Reads the parts; `currency` is that of the first amount, which all others must have."""

    def __init__(self, mistakes: Mistakes) -> None:
        self._mistakes = mistakes
        self.currency = ""

    def entries(self, content: CommentedMap, key: str) -> Iterator[tuple[CommentedMap, str]]:
        """The map under a key and each of its names; nothing when it is left out."""
        listed = content.get(key)
        if listed is None or listed == {}:
            return
        if not isinstance(listed, CommentedMap):
            raise self._mistakes.at(
                line_of(content, key), f"{key} is not a map", f"write {key}: {{}} for none"
            )
        for name in listed:
            yield listed, name

    def channel(self, listed: CommentedMap, name: str) -> Channel:
        """A channel by its word."""
        try:
            return Channel(str(name))
        except ValueError as error:
            known = ", ".join(channel.value for channel in Channel)
            raise self._wrong(listed, name, f"{name!r} is no channel", f"use {known}") from error

    def cost(self, listed: CommentedMap, key: str) -> int:
        """An amount of money, in millionths."""
        amount = self._amount(listed, key)
        if amount < 0:
            raise self._wrong(listed, key, f"{key} is {listed[key]!r}", "write an amount from 0: 0.045 EUR")
        return amount

    def queue(self, listed: CommentedMap, name: str) -> CareQueue:
        """A queue of the care desk."""
        raw = self._map(listed, name, _QUEUE, "{slow_above: 50, slow_to: 2, stop_above: 200}")
        self._named(listed, name)
        for key in _QUEUE[:3]:
            if key not in raw:
                raise self._wrong(listed, name, f"{name} has no {key}", f"it needs {', '.join(_QUEUE[:3])}")
        slow, stop = self._whole(raw, "slow_above"), self._whole(raw, "stop_above")
        if stop < slow:
            raise self._wrong(
                raw, "stop_above", f"stop_above is {stop}, less than slow_above", f"write {slow} or more"
            )
        unknown = raw.get("unknown", "stop")
        if unknown not in _STAGES:
            raise self._wrong(raw, "unknown", f"unknown is {unknown!r}", f"write {', '.join(_STAGES)}")
        return CareQueue(str(name), slow, self._rate(raw, "slow_to"), stop, _STAGES[unknown])

    def campaign(self, listed: CommentedMap, name: str, queues: dict[str, CareQueue]) -> Campaign:
        """A campaign."""
        raw = self._map(listed, name, _CAMPAIGN, "{match: {rule_set: [autumn]}, most: 10000}")
        self._named(listed, name)
        match = raw.get("match")
        if not isinstance(match, CommentedMap) or not match:
            line = "match" if "match" in raw else None
            raise self._mistakes.at(
                line_of(raw, line) if line else line_of(listed, name),
                f"campaign {name} does not say what belongs to it",
                f"write match: {{rule_set: [autumn]}} with one or more of {', '.join(_MATCH)}",
            )
        only(match, _MATCH, self._mistakes, match)
        queue = raw.get("causes_calls", "")
        if queue and queue not in queues:
            known = ", ".join(queues) or "none: name it under care first"
            raise self._wrong(raw, "causes_calls", f"{queue!r} is no queue under care", f"use {known}")
        return Campaign(
            name=str(name),
            rule_sets=self._texts(match, "rule_set"),
            names=self._texts(match, "name"),
            categories=(
                words(match, "category", Category, self._mistakes) if "category" in match else frozenset()
            ),
            topics=self._texts(match, "topic"),
            limits=(*self._limits(raw, _MESSAGES), *self._limits(raw, _MONEY)),
            per_second=self._rate(raw, "per_second") if "per_second" in raw else 0.0,
            care_queue=str(queue),
        )

    def _limits(self, raw: CommentedMap, keys: tuple[str, str, str]) -> Iterator[Limit]:
        total, day, within = keys
        measure = Measure.MESSAGES if keys is _MESSAGES else Measure.MONEY
        read_most = self._whole if measure is Measure.MESSAGES else self.cost
        if total in raw:
            yield Limit(measure, read_most(raw, total))
        if day in raw:
            yield Limit(measure, read_most(raw, day), Span.DAY)
        for listed, period in self.entries(raw, within):
            try:
                window = parse_duration(str(period))
            except ValueMistake as error:
                raise self._wrong(listed, period, f"{period!r} {error.message}", error.suggestion) from error
            if not BUCKET_MICROS <= window <= LONGEST_WINDOW_MICROS:
                least, most = format_duration(BUCKET_MICROS), format_duration(LONGEST_WINDOW_MICROS)
                raise self._wrong(
                    listed, period, f"{period} is no window for {within}", f"write {least} to {most}: 7d"
                )
            yield Limit(measure, read_most(listed, period), Span.WINDOW, window)

    def _amount(self, raw: CommentedMap, key: str) -> int:
        try:
            money: Money = parse_money(str(raw[key]))
        except ValueMistake as error:
            right = "write an amount and a currency: 500.00 EUR"
            raise self._wrong(raw, key, f"{key} is {raw[key]!r}", right) from error
        self.currency = self.currency or money.currency
        if money.currency != self.currency:
            raise self._wrong(
                raw, key, f"{key} is in {money.currency}, others in {self.currency}", "use one currency"
            )
        return int(money.amount * 1_000_000)

    def _whole(self, raw: CommentedMap, key: str) -> int:
        number = raw[key]
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _MOST:
            raise self._wrong(raw, key, f"{key} is {number!r}", "write a whole number from 0")
        return number

    def _rate(self, raw: CommentedMap, key: str) -> float:
        number: Any = raw[key]
        if not isinstance(number, int | float) or isinstance(number, bool) or not 0.001 <= number <= 100_000:
            right = "write messages a second, from 0.001 to 100000"
            raise self._wrong(raw, key, f"{key} is {number!r}", right)
        return float(number)

    def _texts(self, raw: CommentedMap, key: str) -> frozenset[str]:
        if key not in raw:
            return frozenset()
        listed = raw[key]
        if (
            not isinstance(listed, list)
            or not listed
            or not all(isinstance(one, str) and one for one in listed)
        ):
            raise self._wrong(raw, key, f"{key} is not a list of names", f"write {key}: [one, another]")
        return frozenset(str(one) for one in listed)

    def _map(self, listed: CommentedMap, name: str, keys: tuple[str, ...], right: str) -> CommentedMap:
        raw = listed[name]
        if not isinstance(raw, CommentedMap):
            raise self._wrong(listed, name, f"{name} is not a map", f"write {right}")
        only(raw, keys, self._mistakes, raw)
        return raw

    def _named(self, listed: CommentedMap, name: object) -> None:
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            right = "use small letters, digits, - and _, 63 at most"
            raise self._wrong(listed, name, f"{name!r} is no name", right)

    def _wrong(self, raw: CommentedMap, key: Any, wrong: str, right: str) -> Exception:
        return self._mistakes.at(line_of(raw, key), wrong, right)
