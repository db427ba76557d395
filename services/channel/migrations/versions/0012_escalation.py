"""The turn of an action's next channel, and receipts that never came."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An index is built outside of the transaction: what stands before may have been done already.
    op.execute("ALTER TABLE message ADD COLUMN IF NOT EXISTS after_micros bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE message ADD COLUMN IF NOT EXISTS escalates_micros bigint NOT NULL DEFAULT 0")
    build_index(op, "message_escalating", "ON message (escalates_micros) WHERE escalates_micros > 0")
    build_index(
        op,
        "receipt_awaited_since",
        "ON receipt (noted_at) WHERE state = '' AND message_id IS NOT NULL AND time_micros = 0",
    )
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS receipt_overdue")


def downgrade() -> None:
    op.execute(
        "CREATE INDEX receipt_overdue ON receipt (noted_at) WHERE state = '' AND message_id IS NOT NULL"
    )
    op.execute("DROP INDEX message_escalating, receipt_awaited_since")
    op.execute("ALTER TABLE message DROP COLUMN after_micros, DROP COLUMN escalates_micros")
