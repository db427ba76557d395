"""Rates that hold for all workers together."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A few rows, each rewritten with every batch: room for new versions beside the old.
    op.execute(
        """
        CREATE TABLE rate (
            name text PRIMARY KEY,
            interval_nanos bigint NOT NULL,
            burst bigint NOT NULL,
            wanted bigint NOT NULL,
            queued bigint NOT NULL,
            granted bigint NOT NULL,
            free_nanos bigint NOT NULL,
            queue_nanos bigint NOT NULL
        ) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500)
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE rate")
