"""Writes the parts of the rule language's reference that follow from the code: `make language`.

`docs/language.md` keeps its hand-written text; what stands between two markers is written anew.
`docs/rule-set.schema.json` is written as a whole.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import click

from services.cli.commands.rules import rules
from services.cli.stack.layout import CHECKOUT
from services.decision.domain.language import grammar
from services.decision.domain.language.ast import Window
from services.decision.domain.language.conditions import parse_line
from services.decision.domain.language.forms import (
    Anything,
    BlockOf,
    Choice,
    Conditions,
    Either,
    Flag,
    Form,
    Formula,
    Known,
    ListOf,
    Named,
    Number,
    OneOrList,
    Refer,
    Words,
)
from services.decision.domain.language.json_schema import rule_set_schema
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.meanings import CHECKS, REASONS
from services.decision.domain.language.scope import Scope
from services.decision.domain.language.types import Kind
from services.vocabulary.catalogue import CONSENTS, HOUSEHOLD_COUNTS, Catalogue, Trait, load_catalogue

REFERENCE = Path("docs/language.md")
SCHEMA = Path("docs/rule-set.schema.json")
_PART = re.compile(r"(<!-- make language: ([a-z -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LENGTH_OF_TIME = "a length of time, such as `24h`"
_SAID = {
    grammar.NAME: "a name",
    grammar.FACT: "a name",
    grammar.WINDOW: "a name",
    grammar.LENGTH: _LENGTH_OF_TIME,
    grammar.DAY: "a day, such as `2026-12-01`",
    grammar.SHARE: "a share, such as `10%`",
    f"{grammar.LENGTH}|{grammar.SPAN}": "`24h`, `7 days`, `6 cycles`",
    f"{grammar.LENGTH}|cycle|ever": "`30d`, `cycle`, `ever`",
}
_CATALOGUE = {
    "event": "an event type",
    "thing-event": "an event type of a thing",
    "question": "a question",
    "field": "an event type and a field: `TYPE.field`",
    "trait": "a trait",
    "household": "`members`, `lines` or a trait that a household shares",
    "offer": "an offer",
    "template": "a template",
    "topic": "a topic",
}
# For each type a path of it and a value to compare it with.
_SAMPLES: Mapping[Kind, tuple[str, str]] = {
    Kind.TEXT: ("profile.plan", "m-20gb"),
    Kind.INT: ("profile.plan_data_mb", "500"),
    Kind.NUMBER: ("profile.churn_risk", "0.6"),
    Kind.MONEY: ("profile.balance", "9.90"),
    Kind.BOOL: ("profile.adult", "true"),
    Kind.DATE: ("profile.contract_end", "2026-12-01"),
    Kind.TIME: ("event.eta", "2026-12-01T18:00:00Z"),
    Kind.DURATION: ("windows.quiet", "30d"),
    Kind.LIST: ("profile.products", "tv"),
}
_OPERATORS = {
    "`is a`, `is not a`": "{path} is {value}",
    "`is a or b`": "{path} is {value} or {value}",
    "`<` `<=` `>` `>=`": "{path} >= {value}",
    "`exists`, `missing`": "{path} exists",
    "`contains a or b`": "{path} contains {value}",
    "`starts with a`": "{path} starts with {value}",
    "`within next 60d`, `within last 30d`": "{path} within next 60d",
    "`+` `-` among themselves": "{path} - {path} exists",
    "`*` `/` with a number": "{path} * 1.5 exists",
}


def texts(catalogue: Catalogue, checkout: Path = CHECKOUT) -> dict[Path, str]:
    """What the two files have to say, by their place in the checkout."""
    parts = _parts(catalogue)
    written = (checkout / REFERENCE).read_text(encoding="utf-8")

    def renew(match: re.Match[str]) -> str:
        return f"{match[1]}{parts[match[2]]()}{match[3]}"

    return {
        REFERENCE: _PART.sub(renew, written),
        SCHEMA: json.dumps(rule_set_schema(catalogue), indent=1, ensure_ascii=False) + "\n",
    }


def part_names(catalogue: Catalogue) -> frozenset[str]:
    """The names that a marker may have."""
    return frozenset(_parts(catalogue))


def out_of_step(catalogue: Catalogue, checkout: Path = CHECKOUT) -> list[str]:
    """The files that `make language` would change."""
    return [
        str(place)
        for place, text in texts(catalogue, checkout).items()
        if not (checkout / place).exists() or (checkout / place).read_text(encoding="utf-8") != text
    ]


def _parts(catalogue: Catalogue) -> dict[str, Callable[[], str]]:
    parts: dict[str, Callable[[], str]] = {
        "operators": lambda: _operators(catalogue),
        "events": lambda: _events(catalogue),
        "traits": lambda: _traits(catalogue),
        "things": lambda: _things(catalogue),
        "questions": lambda: _questions(catalogue),
        "reasons": lambda: _table(
            ("Reason", "It was not said because"), ((f"`{reason}`", text) for reason, text in REASONS.items())
        ),
        "checks": lambda: _table(("Check", "Finds"), ((f"`{name}`", text) for name, text in CHECKS.items())),
        "commands": _commands,
        "channels": lambda: ", ".join(f"`{channel}`" for channel in grammar.CHANNELS) + ".\n",
    }
    for block in grammar.BLOCKS:
        parts[f"keys of {_plain(block.title)}"] = partial(_keys, block)
    return parts


def _plain(title: str) -> str:
    return title.replace("`", "")


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def _keys(block: BlockOf) -> str:
    rows = ((f"`{key.name}`{' *' if key.required else ''}", key.means, _said(key.form)) for key in block.keys)
    return _table(("Key", "Means", "What stands there"), rows)


def _said(form: Form) -> str:
    """A shape in words."""
    match form:
        case Words(pattern=pattern):
            return _SAID.get(pattern, "a text")
        case Choice(words=words):
            return ", ".join(f"`{word}`" for word in words)
        case Flag():
            return "`true` or `false`"
        case Number(least=least, most=most, whole=whole):
            bounds = f" from {least:.10g} to {most:.10g}" if abs(most) < 1e6 else ""
            return f"a {'whole ' if whole else ''}number{bounds}"
        case Formula(least=least, most=most):
            bounds = f" from {least:.10g} to {most:.10g}" if abs(most) < 1e6 else ""
            return f"a number{bounds}, or a formula"
        case Known(of=kind):
            return _CATALOGUE[kind]
        case Anything():
            return "a value"
        case Conditions():
            return "a list of conditions"
        case ListOf(item=item):
            return f"a list: {_said(item)}"
        case OneOrList(item=item):
            return f"{_said(item)}; or a list"
        case Named(value=value):
            return f"a block; for each name {_said(value)}"
        case Either(forms=forms):
            return " or ".join(_said(each) for each in forms)
        case Refer(name=name):
            return f"`{name}`, see there"
        case BlockOf(title=title):
            return f"the keys of {title}"


def _commands() -> str:
    rows = []
    for name, command in rules.commands.items():
        context = click.Context(command, info_name=f"rapport rules {name}")
        rows.append((f"`{name}`", (command.help or "").split("\n\n")[0].replace("\n", " "), _usage(context)))
    return _table(("`rapport rules …`", "Does", "Write"), iter(rows))


def _usage(context: click.Context) -> str:
    written = [
        parameter.make_metavar(context)
        for parameter in context.command.params
        if isinstance(parameter, click.Argument)
    ]
    written += [
        parameter.opts[-1]
        for parameter in context.command.params
        if isinstance(parameter, click.Option) and parameter.opts[-1] not in {"--catalogue", "--folder"}
    ]
    return " ".join(f"`{part}`" for part in written)


def _operators(catalogue: Catalogue) -> str:
    quiet = Window("since", "complaint.opened", "", "ever", 0, 0, True, None, Kind.DURATION)
    scope = Scope(catalogue, "example", (catalogue.events["order.delayed"],), windows={"quiet": quiet})

    def fits(pattern: str, kind: Kind) -> str:
        path, value = _SAMPLES[kind]
        try:
            parse_line(pattern.format(path=path, value=value), scope)
        except LineError:
            return ""
        return "✓"

    return _table(
        ("Operator", *_SAMPLES),
        ((sign, *(fits(line, kind) for kind in _SAMPLES)) for sign, line in _OPERATORS.items()),
    )


def _events(catalogue: Catalogue) -> str:
    def fields(name: str) -> str:
        event = catalogue.events[name]
        return ", ".join(
            f"`{field.name}`{'*' if field.required else ''}"
            + ("" if field.type == "text" else f" {field.type}")
            + ("" if field.name in event.keep.fields else " †")
            for field in event.fields.values()
        )

    rows = (
        (f"`{event.name}`", event.thing or "", event.purpose.value, fields(event.name))
        for event in catalogue.events.values()
    )
    return _table(("Event type", "About a", "Purpose", "Fields"), rows)


def _traits(catalogue: Catalogue) -> str:
    rows = [
        (_path_of(trait), _type_of(trait.type.value, trait.enum), trait.purpose.value)
        for trait in catalogue.traits.values()
        if not trait.sensitive and not trait.direct
    ]
    rows += [(f"`household.{name}`", "int", "service") for name in HOUSEHOLD_COUNTS]
    rows.append((f"`profile.{CONSENTS}`", "list: the purposes agreed to now on some channel", "service"))
    return _table(("Path", "Type", "Purpose"), iter(rows))


def _path_of(trait: Trait) -> str:
    return f"`{'household' if trait.household else 'profile'}.{trait.name}`"


def _type_of(name: str, enum: tuple[str, ...]) -> str:
    return f"{name}: {', '.join(enum)}" if enum else name


def _questions(catalogue: Catalogue) -> str:
    rows = (
        (
            f"`{question.name}`",
            question.title,
            ", ".join(
                f"`ask.{name}`{'*' if field.required else ''} {field.type}"
                for name, field in question.parameters.items()
            ),
        )
        for question in catalogue.questions.values()
    )
    return _table(("Question", "Asked when", "Its parameters"), rows)


def _things(catalogue: Catalogue) -> str:
    rows = (
        (f"`context.{thing.kind}.{name}`", value_type.value, thing.purpose.value)
        for thing in catalogue.things.values()
        for name, value_type in thing.attributes.items()
    )
    return _table(("Path", "Type", "Purpose"), rows)


def main() -> None:
    """Writes both files anew."""
    catalogue = load_catalogue(CHECKOUT / "rules")
    for place, text in texts(catalogue).items():
        (CHECKOUT / place).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {place}\n")


if __name__ == "__main__":
    main()
