"""The life of a version: who wrote, submitted and approved it, for whom it runs, when it is to go live."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE rule_set ADD COLUMN author text NOT NULL DEFAULT ''",
    "ALTER TABLE rule_set ADD COLUMN submitter text NOT NULL DEFAULT ''",
    "ALTER TABLE rule_set ADD COLUMN approver text NOT NULL DEFAULT ''",
    # In ten-thousandths of the customers; 0: it is no canary.
    "ALTER TABLE rule_set ADD COLUMN canary_share integer NOT NULL DEFAULT 0",
    "ALTER TABLE rule_set ADD COLUMN scheduled_micros bigint",
    "ALTER TABLE rule_set ADD COLUMN scheduler text NOT NULL DEFAULT ''",
    # It was live, and was taken back or replaced.
    "ALTER TABLE rule_set ADD COLUMN taken_back boolean NOT NULL DEFAULT false",
    # What was attached when it was submitted.
    "ALTER TABLE rule_set ADD COLUMN differences text[] NOT NULL DEFAULT '{}'",
    "ALTER TABLE rule_set ADD COLUMN compared_version integer NOT NULL DEFAULT 0",
    "ALTER TABLE rule_set ADD COLUMN simulation_id text NOT NULL DEFAULT ''",
    # Versions that a share of the customers meets beside those that are live.
    "ALTER TABLE program ADD COLUMN canary_names text[] NOT NULL DEFAULT '{}'",
    "ALTER TABLE program ADD COLUMN canary_versions integer[] NOT NULL DEFAULT '{}'",
    "ALTER TABLE program ADD COLUMN canary_shares integer[] NOT NULL DEFAULT '{}'",
    # Every step that a version took; `program`: the one that began to run by it, 0: what runs is the same.
    """
    CREATE TABLE rule_set_step (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL,
        version integer NOT NULL,
        action text NOT NULL,
        actor text NOT NULL,
        time_micros bigint NOT NULL,
        from_state text NOT NULL,
        to_state text NOT NULL,
        comment text NOT NULL,
        program bigint NOT NULL
    )
    """,
    "CREATE INDEX rule_set_step_of_version ON rule_set_step (name, version, number)",
)
_COLUMNS = (
    *("author", "submitter", "approver", "canary_share", "scheduled_micros", "scheduler", "taken_back"),
    *("differences", "compared_version", "simulation_id"),
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE rule_set_step")
    # what was met by a share of the customers is met by nobody again, and needs its steps anew
    op.execute("UPDATE rule_set SET state = 'tested' WHERE state IN ('in_review', 'approved', 'canary')")
    for column in ("canary_names", "canary_versions", "canary_shares"):
        op.execute(f"ALTER TABLE program DROP COLUMN {column}")
    for column in _COLUMNS:
        op.execute(f"ALTER TABLE rule_set DROP COLUMN {column}")
