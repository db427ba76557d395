"""`rapport rules diff`: what a change of a rule set means, and whose outcome it changes."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from services.cli.commands.rules.sources import catalogue_option, is_shared, tell_problems
from services.cli.commands.support import print_json
from services.decision.adapters.engine import DurableEngine
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.compiler import compile_program
from services.decision.domain.customers import Asked, Customer, CustomerMistake, Version
from services.decision.domain.differences import differences
from services.decision.domain.generated_customers import generated_customers
from services.decision.domain.language.nodes import Block
from services.decision.domain.language.report import Report
from services.decision.domain.language.rule_set_reader import read_rule_set, shared_facts_of
from services.decision.domain.outcomes import Change, Comparison, Met, Tally
from services.decision.domain.program import RuleSetText
from services.vocabulary.catalogue import Catalogue, CatalogueError, load_catalogue
from services.vocabulary.values import ValueMistake, format_time, parse_time

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("old", metavar="OLD", type=_FILE)
@click.argument("new", metavar="NEW", type=_FILE)
@click.option("--snapshots", type=_FILE, help="Customers to meet: a JSON object {given, when} a line.")
@click.option("--generated", type=click.IntRange(0), help="How many customers to make up.  [default: 1000]")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other customers.")
@catalogue_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def diff(
    old: Path,
    new: Path,
    snapshots: Path | None,
    generated: int | None,
    seed: int,
    catalogue: Path,
    *,
    as_json: bool,
) -> None:
    """Say what differs between two versions of a rule set, and whose outcome it changes.

    Both versions meet the same customers, beside the shared rule sets in NEW's folder: those of --snapshots,
    or made-up ones, most of them right at what either version asks for. A line of --snapshots describes a
    customer as tests do: {"given": {"profile": {"plan": "m-5gb"}}, "when": {"mb": 20}}; "at" gives a time.

    Exit codes: 0 the same outcome for all of them; 1 another for some; 2 a version does not compile, or a
    customer cannot be read.
    """
    try:
        known = load_catalogue(catalogue)
    except CatalogueError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    before, after = (_version(file, new, known, as_json=as_json) for file in (old, new))
    if before is None or after is None:
        sys.exit(2)
    changes = differences(before.rule_set, after.rule_set)
    if not as_json:
        _tell_changes(changes)
    count = 0 if snapshots is not None and generated is None else 1000 if generated is None else generated
    engine = DurableEngine()
    try:
        comparison = Comparison(before, after, engine)
        tally = Tally()
        if snapshots is not None:
            tally = comparison.tally(_read(snapshots), strict=True)
        if count:
            with click.progressbar(
                generated_customers((before, after), count, seed),
                length=count,
                label="meeting customers",
                file=sys.stderr,
                hidden=not sys.stderr.isatty(),
            ) as customers:
                tally = tally.joined(comparison.tally(customers, strict=False))
    except CustomerMistake as mistake:
        click.echo(str(mistake), err=True)
        sys.exit(2)
    finally:
        engine.close()
    if as_json:
        print_json(_json(changes, tally))
    else:
        _tell_tally(tally)
    sys.exit(1 if tally.differs else 0)


def _version(file: Path, new: Path, catalogue: Catalogue, *, as_json: bool) -> Version | None:
    """The version in its program, beside the shared sets of NEW's folder; None when it does not compile."""
    text = file.read_text(encoding="utf-8")
    document = read_yaml(text)
    name = _name(text)
    beside = [
        RuleSetText(str(other), other.read_text(encoding="utf-8"))
        for other in sorted(new.parent.glob("*.yaml"))
        if is_shared(other) and _name(other.read_text(encoding="utf-8")) != name
    ]
    source = RuleSetText(str(file), text)
    compilation = compile_program([*beside, source], catalogue, read_yaml)
    if compilation.program is None or document.root is None:
        tell_problems(compilation.errors, as_json=as_json)
        return None
    facts = [fact for each in (*beside, source) for fact in shared_facts_of(read_yaml(each.text).root)]
    draft = read_rule_set(source, document.root, catalogue, tuple(dict.fromkeys(facts)), Report(str(file)))
    rule_set = next(known for known in compilation.program.rule_sets if known.file == str(file))
    assert draft is not None
    return Version(compilation.program, rule_set, draft.scope)


def _name(text: str) -> str:
    root = read_yaml(text).root
    node = root.get("ruleset") if isinstance(root, Block) else None
    return str(getattr(node, "text", ""))


def _read(file: Path) -> Iterator[Customer]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            yield _customer(orjson.loads(line), where)
        except orjson.JSONDecodeError:
            raise CustomerMistake(f"{where}: this is no JSON object; write {{given: …, when: …}}") from None
        except ValueMistake as mistake:
            raise CustomerMistake(f"{where}: a customer {mistake.message}; {mistake.suggestion}") from None


def _customer(written: Any, where: str) -> Customer:
    if not isinstance(written, dict):
        raise ValueMistake("is a JSON object", "write {given: …, when: …}")
    for key in ("given", "when"):
        if not isinstance(written.get(key) or {}, dict):
            raise ValueMistake(f"has a `{key}` that is no object", f'write "{key}": {{…}}')
    unknown = set(written) - {"given", "when", "at"}
    if unknown:
        raise ValueMistake(f"has no key `{min(unknown)}`", "given, when and at describe one")
    at = written.get("at")
    moment = None if at is None else parse_time(str(at))
    return Customer(written.get("given") or {}, written.get("when") or {}, moment, where)


# --- told -------------------------------------------------------------------------------------------------


def _tell_changes(changes: Sequence[str]) -> None:
    if not changes:
        click.echo("Nothing differs in what the two say (tests are not compared).")
        return
    click.echo("What differs:")
    for change in changes:
        click.echo(f"  - {change}")


def _tell_tally(tally: Tally) -> None:
    total = sum(tally.counts.values())
    click.echo(f"\nOf {total} customers:")
    for change in Change:
        click.echo(f"  {tally.counts[change]:>7}  {change}")
    if tally.unread:
        click.echo(f"  ({tally.unread} more were made up that the rule sets cannot read)")
    for number, met in enumerate(tally.examples, 1):
        click.echo(f"\n{number}. {met.change}")
        for key, value in _written(met).items():
            click.echo(f"   {key}: {_flow(value)}")
        click.echo(f"   old: {_asks(met.old, met.new)}")
        click.echo(f"   new: {_asks(met.new, met.old)}")


def _written(met: Met) -> dict[str, Any]:
    customer = met.customer
    found: dict[str, Any] = {}
    if customer.given:
        found["given"] = customer.given
    if customer.when:
        found["when"] = customer.when
    if customer.at_micros is not None:
        found["at"] = format_time(customer.at_micros)
    return found


def _flow(value: object) -> str:
    """A value as a test in a rule set would have it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case str() if (
            value.replace("-", "").replace("_", "").replace(".", "").isalnum() and not value[0].isdigit()
        ):
            return value
        case _:
            return json.dumps(value, ensure_ascii=False)


def _asks(asked: Sequence[Asked], others: Sequence[Asked]) -> str:
    """What is asked for; where the other version asks for the same by name, what is different about it."""
    parts = []
    for each in asked:
        text = f"{each.text} [{each.rule}]" if each.rule else each.text
        twin = next((other for other in others if other.text == each.text), None)
        if twin is not None:
            text += "".join(
                f", {name} {_detail(value)}"
                for name, value in each.details.items()
                if value != twin.details.get(name)
            )
        parts.append(text)
    return "; ".join(parts) or "nothing"


def _detail(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_detail, value)) or "none"
    return "none" if value is None else str(value)


def _json(changes: Sequence[str], tally: Tally) -> dict[str, Any]:
    return {
        "changes": list(changes),
        "customers": sum(tally.counts.values()),
        "counts": {change.value: tally.counts[change] for change in Change},
        "examples": [
            {
                "change": met.change.value,
                **_written(met),
                "old": [{"rule": each.rule, "does": each.text} for each in met.old],
                "new": [{"rule": each.rule, "does": each.text} for each in met.new],
            }
            for met in tally.examples
        ],
    }
