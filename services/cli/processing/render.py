"""Writes the record and the notice as Markdown, HTML without anything from outside, or JSON."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import jinja2
import orjson

from services.cli.processing.record import Kept, Record
from services.cli.processing.words import WORDS


class Document(StrEnum):
    """Which of the two."""

    RECORD = "record"
    NOTICE = "notice"


class Form(StrEnum):
    """How it is written."""

    MD = "md"
    HTML = "html"
    JSON = "json"


def render(document: Document, record: Record, form: Form) -> str:
    """The whole text; the record's locale is one of `LOCALES`."""
    if form is Form.JSON:
        return orjson.dumps(record.to_json(), option=orjson.OPT_INDENT_2).decode() + "\n"
    words = WORDS[record.locale]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = plain
    shown: dict[str, Any] = {
        "record": record,
        "words": words,
        "kept": lambda kept: _kept(words["days"], words["sums"], kept),
    }
    return environment.get_template(f"{document.value}.{form.value}.j2").render(shown)


def plain(name: str) -> str:
    """A name of the catalogue as people read it: `usage.data_used` is `usage: data used`."""
    return name.replace(".", ": ").replace("_", " ")


def _kept(days: str, sums: str, kept: Kept) -> str:
    return sums.format(days=kept.days, sums=kept.sum_days) if kept.sum_days else days.format(days=kept.days)
