"""An audit log, the age of what waits in the outbox, and traces that go down the road with it."""

from alembic import op

from services.runtime.tables import add_audit_and_traces, drop_audit_and_traces

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_audit_and_traces(op)
    op.execute("ALTER TABLE message ADD COLUMN trace text")


def downgrade() -> None:
    op.execute("ALTER TABLE message DROP COLUMN trace")
    drop_audit_and_traces(op)
