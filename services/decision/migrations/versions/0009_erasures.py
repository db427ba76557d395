"""Ids of persons who were erased, and ways to find the rest of what is theirs."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An index is built outside of the transaction: what stands before may have been done already.
    op.execute("ALTER TABLE customer_state ADD COLUMN IF NOT EXISTS erased_micros bigint")
    build_index(op, "open_pair_of_customer", "ON open_pair (customer)")
    build_index(op, "dead_letter_of_customer", "ON dead_letter (customer)")


def downgrade() -> None:
    op.execute("DROP INDEX open_pair_of_customer, dead_letter_of_customer")
    op.execute("ALTER TABLE customer_state DROP COLUMN erased_micros")
