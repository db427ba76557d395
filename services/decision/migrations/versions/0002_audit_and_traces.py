"""An audit log, the age of the outbox, traces that go down the road with it, and the end of `once` slots."""

from alembic import op

from services.runtime.tables import add_audit_and_traces, drop_audit_and_traces

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_audit_and_traces(op)
    # from when on a slot means nothing, so that it can be pruned; 0: never, or not known
    op.execute("ALTER TABLE once_slot ADD COLUMN ends_micros bigint NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.execute("ALTER TABLE once_slot DROP COLUMN ends_micros")
    drop_audit_and_traces(op)
