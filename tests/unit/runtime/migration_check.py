"""What a migration must not do while the version before still runs over the same database.

An upgrade runs the migrations first and then swaps the roles one by one, so that for a while both versions
live on the new shape: it may grow (expand), and loses something (contract) only one release after the last
version that used it. Nothing may keep readers or writers from a table for longer than a moment.

Where the version before would do harm on the new shape, the migration takes a table's name from it, so that
it fails, and names the table or column: RENAMES = ("table", "table.column", …). Such an upgrade stops the old
roles first.
"""

import contextlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

_NAME = r'"?(?P<table>[a-z_][a-z_0-9]*)"?'
_MAKES = re.compile(rf"create table (?:if not exists )?{_NAME}", re.IGNORECASE)
_RENAMES = re.compile(rf"alter table {_NAME} rename (?:column (?P<column>\w+) )?to \w+", re.IGNORECASE)
_NAMES_TABLE = re.compile(
    rf"(?:alter table(?: only)?|create (?:unique )?index (?:concurrently )?(?:if not exists )?\w+ on"
    rf"|create trigger .*? on|insert into|update|delete from|truncate(?: table)?) (?:if exists )?{_NAME}",
    re.IGNORECASE | re.DOTALL,
)
_HARMLESS = re.compile(
    r"(create table|create function|create or replace function|create sequence|comment on|set lock_timeout"
    r"|create index concurrently|create unique index concurrently|drop index concurrently)\b",
    re.IGNORECASE,
)
_VOLATILE = r"clock_timestamp|random|gen_random_uuid|uuidv7|nextval|timeofday"


@dataclass(frozen=True, slots=True)
class _Ban:
    """Statements that match are a problem; `why` says what is wrong and what would be right."""

    pattern: re.Pattern[str]
    why: str


def _ban(pattern: str, why: str) -> _Ban:
    return _Ban(re.compile(pattern, re.IGNORECASE | re.DOTALL), why)


_ALWAYS = (
    _ban(r"\block table\b", "it locks a table; let each statement take what it needs"),
    _ban(r"\b(vacuum full|cluster|reindex (?!.*concurrently))\b", "it keeps everybody from a table"),
    _ban(r"\brename\b", "the version before knows the old name; add the new one, drop the old a release on"),
)
_ON_TABLES_IN_USE = (
    _ban(
        r"\bdrop (table|column|constraint|default)\b", "the version before may still need it; see CONTRACTS"
    ),
    _ban(r"\balter column \w+ (set data )?type\b", "it rewrites the table; add a column of the new type"),
    _ban(r"\bset not null\b", "the version before may write nulls; check it a release later"),
    _ban(
        r"\badd column\b(?!.*\bdefault\b).*\bnot null\b",
        "the version before does not fill it; give it a default",
    ),
    _ban(
        rf"\badd column\b.*\b(default\s+({_VOLATILE})\b|generated|serial)",
        "it rewrites the table; use a constant default, or fill it in batches",
    ),
    _ban(
        r"\badd (constraint|check|foreign|unique|primary)\b(?!.*\b(not valid|using index)\b)",
        "it reads the whole table under a lock; add it NOT VALID, or on an index built before",
    ),
    _ban(r"\badd column\b.*\b(references|unique|check)\b", "it reads the whole table under a lock"),
    _ban(r"^create (unique )?index (?!concurrently)", "it keeps writers out; use build_index"),
    _ban(r"^create trigger\b", "it changes what the version before writes"),
    _ban(
        r"^(update|delete|truncate|insert)\b", "it touches rows of a table in use; do it in batches at work"
    ),
)
_KNOWN = re.compile(
    r"(alter table|create (unique )?index|create trigger|drop table|drop function"
    r"|insert|update|delete|truncate)\b",
    re.IGNORECASE,
)


def check_migrations(folder: Path) -> list[str]:
    """A sentence for each thing that is wrong in the migrations of a folder, but the first, which is alone.

    A migration that drops what no version in use needs any more names it: CONTRACTS = ("table", …,
    "table.column", …).
    """
    problems: list[str] = []
    for path in sorted((folder / "versions").glob("*.py")):
        module = _load(path)
        if module.down_revision is not None:
            problems += [f"{path.name}: {problem}" for problem in check_migration(module)]
    return problems


def check_migration(module: Any) -> list[str]:
    """The same for one migration's module."""
    recorder = _Recorder()
    try:
        module.op = recorder  # the module was loaded for this alone
        module.upgrade()
    except AttributeError as error:
        return [f"it uses op.{error.name}, which cannot be checked; say it in SQL by op.execute"]
    contracts, renames = (tuple(getattr(module, name, ())) for name in ("CONTRACTS", "RENAMES"))
    return check_statements(recorder.statements, contracts, renames)


def check_statements(
    statements: list[str], contracts: tuple[str, ...] = (), renames: tuple[str, ...] = ()
) -> list[str]:
    """The same for SQL statements in order; `contracts` may be dropped, `renames` have another name since."""
    fresh: set[str] = set()
    problems: list[str] = []
    for statement in statements:
        text = " ".join(statement.split())
        made = _MAKES.match(text)
        if made is not None:
            fresh.add(made["table"].lower())
        renamed = _RENAMES.fullmatch(text)
        if renamed is not None and ".".join(filter(None, renamed.groups())).lower() in renames:
            continue
        why = _problem(text, fresh, contracts)
        if why:
            problems.append(f"{text[:80]!r}: {why}")
    return problems


def _problem(text: str, fresh: set[str], contracts: tuple[str, ...]) -> str:
    for ban in _ALWAYS:
        if ban.pattern.search(text):
            return ban.why
    if _HARMLESS.match(text):
        return ""
    if not _KNOWN.match(text):
        return "the check does not know such a statement; teach it, or do without"
    named = _NAMES_TABLE.match(text)
    if named is not None and named["table"].lower() in fresh:
        return ""
    if _drops(text, contracts):
        return ""
    return next((ban.why for ban in _ON_TABLES_IN_USE if ban.pattern.search(text)), "")


def _drops(text: str, contracts: tuple[str, ...]) -> bool:
    """Whether the statement drops what is named as needed no more, and nothing else."""
    table = re.fullmatch(rf"drop table (?:if exists )?{_NAME}", text, re.IGNORECASE)
    if table is not None:
        return table["table"].lower() in contracts
    column = re.fullmatch(
        rf"alter table {_NAME} drop column (?:if exists )?(?P<column>\w+)", text, re.IGNORECASE
    )
    return column is not None and f"{column['table']}.{column['column']}".lower() in contracts


@dataclass
class _Recorder:
    """Stands in for Alembic's `op`: keeps what would be executed."""

    statements: list[str] = field(default_factory=list)

    def execute(self, statement: str) -> None:
        self.statements.append(statement)

    def get_context(self) -> "_Recorder":
        return self

    def get_bind(self) -> "_Recorder":
        return self

    def exec_driver_sql(self, _question: str, _parameters: object = ()) -> "_Recorder":
        return self

    def scalar(self) -> None:
        return None

    @contextlib.contextmanager
    def autocommit_block(self) -> Iterator[None]:
        yield


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"migration_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
