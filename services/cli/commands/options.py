"""What options of several commands are given as: moments and shares of the customers."""

from __future__ import annotations

from typing import Any

import click

from services.vocabulary.values import ValueMistake, parse_time

WHOLE = 10_000
"""Shares of customers are told in so many parts of them."""


class Moment(click.ParamType[Any]):
    """A day or a moment with its zone, in micros since the epoch; a day begins at midnight UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """`2026-12-01` or `2026-12-01T08:00:00+01:00`."""
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            return parse_time(text if "T" in text else f"{text}T00:00:00Z")
        except ValueMistake as error:
            self.fail(f"{value!r} {error.message}; {error.suggestion}", param, ctx)


class Share(click.ParamType[Any]):
    """A part of the customers, more than none and at most all, in parts of `WHOLE`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """`10%` or `0.1`."""
        if isinstance(value, int):
            return value
        text = str(value)
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = 0.0
        if not 1 / WHOLE <= share <= 1:
            self.fail(f"{text!r} is no share of the customers; write 10% or 0.1", param, ctx)
        return round(share * WHOLE)
