"""`rapport rules test`: run the tests inside rule sets, and see what they reach."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from services.cli.commands.rules.sources import (
    catalogue_option,
    compile_files,
    files_argument,
    tell_problems,
)
from services.cli.commands.support import json_option, print_json, print_table
from services.decision.adapters.checking import arbitrator
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.domain.coverage import Coverage, coverage_of
from services.decision.domain.engine import RulesEngine
from services.decision.domain.program import Program, RuleSet
from services.decision.domain.run import run_program
from services.decision.domain.trial import TestResult, run_tests, situation_of, where_it_stands
from services.decision.domain.why import why_it_failed


@click.command("test")
@files_argument
@catalogue_option
@click.option("--coverage", "details", is_flag=True, help="Also what no test has shown, line by line.")
@click.option(
    "--fail-under",
    type=click.FloatRange(0, 100),
    help="Fail when a rule set's tests reach less than this percentage.",
)
@json_option
def run_embedded_tests(
    files: tuple[Path, ...], catalogue: Path, fail_under: float | None, *, details: bool, as_json: bool
) -> None:
    """Run the tests inside rule sets on the engine that runs them live; nothing else needs to run.

    A table says how much of each rule set the tests reach: rules that fired in some test, and conditions that
    held in one and did not hold in another.

    Exit codes: 0 all passed; 1 some failed, a rule set does not compile, or its tests reach too little.
    """
    compilation = compile_files(files, catalogue)
    if compilation.program is None:
        tell_problems(compilation.errors, as_json=as_json)
        sys.exit(1)
    names = {str(file) for file in files}
    engine = SievingEngine()
    try:
        passed, failed, reached = _run(compilation.program, names, engine, as_json=as_json)
    finally:
        engine.close()
    if not as_json:
        click.echo(f"{passed} passed, {failed} failed")
    _tell_coverage(reached, as_json=as_json, details=details)
    short = [each for each in reached if fail_under is not None and each.percent < fail_under]
    for each in short:
        text = f"{each.file}: its tests reach {each.percent:.1f} %, less than {fail_under:g} %"
        click.echo(text, err=True)
    sys.exit(1 if failed or short else 0)


def _run(
    program: Program, names: set[str], engine: RulesEngine, *, as_json: bool
) -> tuple[int, int, list[Coverage]]:
    arbitrate = arbitrator(program, program.catalogue)
    passed = failed = 0
    reached: list[Coverage] = []
    for rule_set in program.rule_sets:
        if rule_set.file not in names:
            continue
        for result in run_tests(program, rule_set, engine, arbitrate):
            failed += not result.passed
            passed += result.passed
            why = () if result.passed else _why(program, rule_set, result.name, engine)
            _tell_test(rule_set.name, result, why, as_json=as_json)
        reached.append(coverage_of(program, rule_set, engine))
    return passed, failed, reached


def _why(program: Program, rule_set: RuleSet, name: str, engine: RulesEngine) -> tuple[str, ...]:
    case = next(case for case in rule_set.tests if case.name == name)
    situation = situation_of(case, rule_set, program.catalogue)
    outcome = where_it_stands(case, rule_set, run_program(program, engine, situation, case.facts))
    return why_it_failed(case, program, rule_set, situation, outcome)


def _tell_test(rule_set: str, result: TestResult, why: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        told = {"rule_set": rule_set, "name": result.name, "passed": result.passed}
        print_json({**told, "message": result.message, "why": list(why)})
        return
    click.echo(f"{'✓' if result.passed else '✗'} {rule_set}: {result.name}")
    if not result.passed:
        click.echo(f"    {result.message}")
    for sentence in why:
        click.echo(f"    {sentence}")


def _tell_coverage(reached: Sequence[Coverage], *, as_json: bool, details: bool) -> None:
    if as_json:
        for each in reached if details else ():
            print_json(_coverage_json(each))
        return
    click.echo()
    print_table(
        ("rule set", "rules fired", "conditions true and false", "reached"),
        [
            (
                each.rule_set,
                f"{sum(rule.fired for rule in each.rules)} of {len(each.rules)}",
                f"{sum(condition.both for condition in each.conditions)} of {len(each.conditions)}",
                f"{each.percent:.0f} %",
            )
            for each in reached
        ],
        empty="no rule sets",
    )
    for each in reached if details else ():
        gaps = list(each.gaps())
        click.echo(
            f"\n{each.file}: " + ("not seen in any test" if gaps else "everything is seen in some test")
        )
        for line, text in gaps:
            click.echo(f"  line {line}: {text}" if line else f"  {text}")


def _coverage_json(coverage: Coverage) -> dict[str, object]:
    return {
        "rule_set": coverage.rule_set,
        "file": coverage.file,
        "percent": round(coverage.percent, 1),
        "rules": [
            {"kind": rule.what, "name": rule.name, "line": rule.line, "fired": rule.fired}
            for rule in coverage.rules
        ],
        "conditions": [
            {
                "in": condition.owner,
                "line": condition.line,
                "condition": condition.source,
                "seen_true": condition.true,
                "seen_false": condition.false,
            }
            for condition in coverage.conditions
        ],
    }
