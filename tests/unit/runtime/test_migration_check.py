"""What the check of migrations finds, and that ours pass it."""

from pathlib import Path

import pytest

from tests.unit.runtime.migration_check import check_migrations, check_statements

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("service", ["profile", "decision", "channel"])
def test_our_migrations_do_nothing_that_an_upgrade_cannot_bear(service):
    assert check_migrations(ROOT / "services" / service / "migrations") == []


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("ALTER TABLE message DROP COLUMN trace", "version before"),
        ("DROP TABLE message", "version before"),
        ("ALTER TABLE message RENAME COLUMN trace TO trail", "old name"),
        ("ALTER TABLE message RENAME TO letter", "old name"),
        ("ALTER TABLE message ALTER COLUMN number TYPE numeric", "rewrites"),
        ("ALTER TABLE message ALTER COLUMN trace SET NOT NULL", "nulls"),
        ("ALTER TABLE message ADD COLUMN trace text NOT NULL", "default"),
        ("ALTER TABLE message ADD COLUMN at timestamptz DEFAULT clock_timestamp()", "rewrites"),
        ("ALTER TABLE message ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY", "rewrites"),
        ("ALTER TABLE message ADD CONSTRAINT positive CHECK (number > 0)", "NOT VALID"),
        ("ALTER TABLE message ADD COLUMN other bigint REFERENCES customer", "whole table"),
        ("CREATE INDEX by_trace ON message (trace)", "build_index"),
        ("CREATE UNIQUE INDEX by_trace ON message (trace)", "build_index"),
        ("CREATE TRIGGER t BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION f()", "changes what"),
        ("UPDATE message SET trace = ''", "batches"),
        ("INSERT INTO message SELECT * FROM old", "batches"),
        ("LOCK TABLE message", "locks"),
        ("VACUUM FULL message", "everybody"),
        ("ALTER SYSTEM SET fsync = off", "does not know"),
    ],
)
def test_what_breaks_the_version_before_or_holds_a_table_is_found(statement, why):
    (problem,) = check_statements(["CREATE TABLE fresh (id bigint)", statement])
    assert why in problem
    assert statement[:30] in problem


def test_a_table_may_lose_its_name_only_where_the_migration_says_so():
    statement = "ALTER TABLE message RENAME TO letter"
    assert check_statements([statement], renames=("message",)) == []
    assert len(check_statements([statement, "DROP TABLE message"], renames=("message",))) == 1
    assert len(check_statements([statement], renames=("letter",))) == 1
    column = "ALTER TABLE message RENAME COLUMN trace TO trail"
    assert check_statements([column], renames=("message.trace",)) == []
    assert len(check_statements([column], renames=("message",))) == 1


def test_a_table_made_in_the_same_migration_may_be_treated_as_one_likes():
    assert (
        check_statements(
            [
                "CREATE TABLE fresh (\n id bigint PRIMARY KEY,\n at timestamptz DEFAULT clock_timestamp())",
                "CREATE INDEX by_at ON fresh (at)",
                "INSERT INTO fresh DEFAULT VALUES",
                "CREATE TRIGGER kept BEFORE DELETE ON fresh FOR EACH STATEMENT EXECUTE FUNCTION f()",
                "ALTER TABLE fresh ADD COLUMN note text NOT NULL",
            ]
        )
        == []
    )


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE message ADD COLUMN trace text",
        "ALTER TABLE message ADD COLUMN at timestamptz NOT NULL DEFAULT now(), ADD COLUMN trace text",
        "ALTER TABLE message ADD CONSTRAINT positive CHECK (number > 0) NOT VALID",
        "CREATE INDEX CONCURRENTLY by_trace ON message (trace)",
    ],
)
def test_what_only_adds_is_allowed(statement):
    assert check_statements([statement]) == []


def test_what_no_version_in_use_needs_may_go_when_it_is_named():
    drop = "ALTER TABLE message DROP COLUMN trace"
    assert check_statements([drop], ("message.trace",)) == []
    assert check_statements([drop], ("message.number",))
    assert check_statements(["DROP TABLE old_keys"], ("old_keys",)) == []


def test_what_cannot_be_read_as_sql_is_refused(tmp_path):
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "0002_x.py").write_text(
        "from alembic import op\n\ndown_revision = '0001'\n\n\ndef upgrade():\n    op.drop_column('a', 'b')\n"
    )
    (problem,) = check_migrations(tmp_path)
    assert (
        problem == "0002_x.py: it uses op.drop_column, which cannot be checked; say it in SQL by op.execute"
    )
