"""Merged customers: who leads to whom, what merges rest on, under which id events came; who may be one."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # 0: a customer of their own.
    "ALTER TABLE customer ADD COLUMN IF NOT EXISTS merged_into bigint NOT NULL DEFAULT 0",
    # The customer whose it would be without the merges that hold; 0: the customer's own.
    "ALTER TABLE event ADD COLUMN IF NOT EXISTS via bigint NOT NULL DEFAULT 0",
    "ALTER TABLE identity ADD COLUMN IF NOT EXISTS via bigint NOT NULL DEFAULT 0",
    "ALTER TABLE identity_past ADD COLUMN IF NOT EXISTS via bigint NOT NULL DEFAULT 0",
    # `other` was merged into `customer`, or is new. `base`: the customer as they were before, sealed.
    """
    CREATE TABLE IF NOT EXISTS customer_merge (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL,
        customer bigint NOT NULL,
        other bigint NOT NULL,
        time_micros bigint NOT NULL,
        said_by text NOT NULL,
        reason text NOT NULL,
        into_sequence bigint NOT NULL,
        into_lines bigint NOT NULL,
        undone_micros bigint NOT NULL DEFAULT 0,
        undone_by text NOT NULL DEFAULT '',
        undone_reason text NOT NULL DEFAULT '',
        base bytea
    )
    """,
    "CREATE INDEX IF NOT EXISTS customer_merge_other ON customer_merge (other)",
    "CREATE INDEX IF NOT EXISTS customer_merge_customer ON customer_merge (customer)",
    # Two customers whose identities one event named (`sealed`); `low` and `high` are the pair, asked once.
    """
    CREATE TABLE IF NOT EXISTS identity_suggestion (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer bigint NOT NULL,
        other bigint NOT NULL,
        low bigint NOT NULL,
        high bigint NOT NULL,
        state text NOT NULL,
        time_micros bigint NOT NULL,
        sealed bytea NOT NULL,
        decided_by text NOT NULL DEFAULT '',
        decided_micros bigint NOT NULL DEFAULT 0,
        merge bigint NOT NULL DEFAULT 0,
        UNIQUE (low, high)
    )
    """,
    "CREATE INDEX IF NOT EXISTS identity_suggestion_state ON identity_suggestion (state, id)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
    build_index(op, "identity_past_customer", "ON identity_past (customer)")


def downgrade() -> None:
    op.execute("DROP TABLE identity_suggestion, customer_merge")
    op.execute("DROP INDEX identity_past_customer")
    for table in ("identity_past", "identity", "event"):
        op.execute(f"ALTER TABLE {table} DROP COLUMN via")
    op.execute("ALTER TABLE customer DROP COLUMN merged_into")
