"""The catalogue of this repository, and rule sets compiled against it."""

import json
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.compiler import compile_program
from services.decision.domain.language.nodes import plain
from services.decision.domain.program import Compilation, RuleSetText
from services.vocabulary.catalogue import Catalogue, load_catalogue
from tests.fuzz import writing

RULES = Path(__file__).resolve().parents[3] / "rules"
NOW = 1_780_000_000 * 1_000_000  # 2026-05-28T20:26:40Z


@cache
def catalogue() -> Catalogue:
    return load_catalogue(RULES)


def compiled(*texts: str) -> Compilation:
    """The texts compiled together against the catalogue of this repository."""
    sources = [RuleSetText(f"{number}.yaml", text, number) for number, text in enumerate(texts, 1)]
    return compile_program(sources, catalogue(), read_yaml)


def rule_sets() -> st.SearchStrategy[str]:
    """The text of one generated rule set, as JSON; a rule of it may contradict itself."""
    return writing.rule_sets().map(
        lambda one: json.dumps(plain(read_yaml(one.text).root), ensure_ascii=False)
    )
