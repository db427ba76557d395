"""Which migrations a database lacks."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from services.cli.stack.layout import CHECKOUT
from services.cli.stack.options import SERVICES
from services.runtime.schema_versions import missing_migrations


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    versions = tmp_path / "versions"
    versions.mkdir()
    chain = {"c": None, "a": "c", "b": "a"}  # the names of the files say nothing about their order
    for name, before in chain.items():
        (versions / f"{name}.py").write_text(f"revision = {name!r}\ndown_revision: str | None = {before!r}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("present", "missing"),
    [([], ["c", "a", "b"]), (["c"], ["a", "b"]), (["a"], ["b"]), (["b"], []), (["newer"], [])],
)
def test_they_are_told_in_their_order(folder, present, missing):
    assert missing_migrations(folder, present) == missing


def test_a_file_that_says_nothing_is_named(folder):
    (folder / "versions/d.py").write_text("revision = 'd'\ndown_revision = ('a', 'b')\n")
    with pytest.raises(ValueError, match=r"versions/d\.py"):
        missing_migrations(folder, [])


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_the_order_in_which_they_are_run(service):
    folder = CHECKOUT / "services" / service / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    runs = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    assert missing_migrations(folder, []) == runs
    assert missing_migrations(folder, runs[:2]) == runs[2:]
