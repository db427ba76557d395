"""Campaigns: runs that people start, pause, resume and cancel, that wait for room, and are watched."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # What part of its audience a run has walked over, as estimated: from 0 to 1.
    "ALTER TABLE audience_run ADD COLUMN walked double precision NOT NULL DEFAULT 0",
    # Two earlier moments, each with how many had been asked by then: what its rate is computed from.
    "ALTER TABLE audience_run ADD COLUMN marks bigint[] NOT NULL DEFAULT '{}'",
    # For what it waits, in a word and in a sentence, and since when; empty: for nothing.
    "ALTER TABLE audience_run ADD COLUMN waits text NOT NULL DEFAULT ''",
    "ALTER TABLE audience_run ADD COLUMN waits_for text NOT NULL DEFAULT ''",
    "ALTER TABLE audience_run ADD COLUMN waits_micros bigint NOT NULL DEFAULT 0",
    # Who started, paused, resumed or cancelled it last, why, and when.
    "ALTER TABLE audience_run ADD COLUMN actor text NOT NULL DEFAULT ''",
    "ALTER TABLE audience_run ADD COLUMN reason text NOT NULL DEFAULT ''",
    "ALTER TABLE audience_run ADD COLUMN changed_micros bigint NOT NULL DEFAULT 0",
    # What came of those asked, counted in shards, so that transactions that count do not wait for each other.
    """
    CREATE TABLE run_count (
        number bigint NOT NULL REFERENCES audience_run ON DELETE CASCADE,
        what text NOT NULL,
        shard smallint NOT NULL,
        value bigint NOT NULL,
        PRIMARY KEY (number, what, shard)
    ) WITH (fillfactor = 70)
    """,
    # Which run called for an action, for what comes of it later.
    "CREATE TABLE run_action (action_id uuid PRIMARY KEY, number bigint NOT NULL)",
)
_COLUMNS = (
    *("walked", "marks", "waits", "waits_for", "waits_micros"),
    *("actor", "reason", "changed_micros"),
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE run_action, run_count")
    # what was stopped by a person is not taken up again by itself
    op.execute("UPDATE audience_run SET state = 'stopped' WHERE state IN ('paused', 'cancelled')")
    for column in _COLUMNS:
        op.execute(f"ALTER TABLE audience_run DROP COLUMN {column}")
