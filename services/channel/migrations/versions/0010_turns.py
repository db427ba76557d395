"""What goes first when not all can go at once, how long a message is tried, and receipts that never came."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_REPLACED = ("message_planned", "receipt_awaited")
"""Indexes whose place others take; the version before does without them, only slower."""


def upgrade() -> None:
    # An index is built outside of the transaction: what stands before may have been done already.
    op.execute("ALTER TABLE message ADD COLUMN IF NOT EXISTS turn bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE message ADD COLUMN IF NOT EXISTS ends_micros bigint NOT NULL DEFAULT 0")
    # Senders read it from its beginning; what rests is passed over without a look at its row.
    build_index(
        op, "message_turn", "ON message (channel, turn, number, retry_wall_micros) WHERE state = 'planned'"
    )
    build_index(op, "message_ending", "ON message (ends_micros) WHERE state = 'planned'")
    build_index(op, "receipt_overdue", "ON receipt (noted_at) WHERE state = '' AND message_id IS NOT NULL")
    with op.get_context().autocommit_block():
        for name in _REPLACED:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def downgrade() -> None:
    op.execute(
        "CREATE INDEX message_planned ON message (channel, retry_wall_micros, number) WHERE state = 'planned'"
    )
    op.execute(
        "CREATE INDEX receipt_awaited ON receipt (provider) WHERE state = '' AND message_id IS NOT NULL"
    )
    op.execute("DROP INDEX message_turn, message_ending, receipt_overdue")
    op.execute("ALTER TABLE message DROP COLUMN turn, DROP COLUMN ends_micros")
