"""What an operator throws, reports, limits and puts into force while everything runs."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # One row: whoever sees its number grow reads the tables below anew.
    "CREATE TABLE control_state (one boolean PRIMARY KEY DEFAULT true CHECK (one), revision bigint NOT NULL)",
    "INSERT INTO control_state (revision) VALUES (0)",
    """
    CREATE TABLE kill_switch (
        scope text NOT NULL,
        name text NOT NULL,
        hold boolean NOT NULL,
        reason text NOT NULL,
        author text NOT NULL,
        since_micros bigint NOT NULL,
        until_micros bigint NOT NULL,
        PRIMARY KEY (scope, name)
    )
    """,
    """
    CREATE TABLE care_load (
        queue text PRIMARY KEY,
        depth bigint NOT NULL,
        time_micros bigint NOT NULL,
        valid_micros bigint NOT NULL,
        author text NOT NULL
    ) WITH (fillfactor = 50)
    """,
    # Every version that was ever in force in the place of files; the newest is. Documents by file name.
    """
    CREATE TABLE policy_version (
        version int PRIMARY KEY,
        documents jsonb NOT NULL,
        reverts_to int,
        comment text NOT NULL,
        author text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE campaign_use (
        name text PRIMARY KEY,
        count bigint NOT NULL DEFAULT 0,
        cost_micros bigint NOT NULL DEFAULT 0
    ) WITH (fillfactor = 20)
    """,
    """
    CREATE TABLE campaign_bucket (
        name text NOT NULL,
        bucket_micros bigint NOT NULL,
        count bigint NOT NULL,
        cost_micros bigint NOT NULL,
        PRIMARY KEY (name, bucket_micros)
    ) WITH (fillfactor = 50)
    """,
    "ALTER TABLE contact ADD COLUMN campaign text NOT NULL DEFAULT ''",
    "ALTER TABLE contact ADD COLUMN cost_micros bigint NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN campaign text NOT NULL DEFAULT ''",
    "ALTER TABLE message ADD COLUMN cost_micros bigint NOT NULL DEFAULT 0",
)


def upgrade() -> None:
    # What a switch holds, to be found when it is lifted.
    build_index(op, "message_held", "ON message (number) WHERE state = 'deferred' AND reason = 'KILLED'")
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE message DROP COLUMN cost_micros")
    op.execute("ALTER TABLE message DROP COLUMN campaign")
    op.execute("ALTER TABLE contact DROP COLUMN cost_micros")
    op.execute("ALTER TABLE contact DROP COLUMN campaign")
    op.execute(
        "DROP TABLE campaign_bucket, campaign_use, policy_version, care_load, kill_switch, control_state"
    )
    op.execute("DROP INDEX message_held")
