"""Who is written to where that is not the customer, and the household in which a contact counts."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An index is built outside of the transaction: what stands before may have been done already.
    op.execute("ALTER TABLE message ADD COLUMN IF NOT EXISTS recipient bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE message ADD COLUMN IF NOT EXISTS household bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE contact ADD COLUMN IF NOT EXISTS household bigint NOT NULL DEFAULT 0")
    build_index(op, "message_recipient", "ON message (recipient) WHERE recipient <> 0")
    build_index(op, "contact_household", "ON contact (household, time_micros) WHERE household <> 0")


def downgrade() -> None:
    op.execute("DROP INDEX message_recipient, contact_household")
    op.execute("ALTER TABLE contact DROP COLUMN household")
    op.execute("ALTER TABLE message DROP COLUMN household, DROP COLUMN recipient")
