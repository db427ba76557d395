"""Ids of persons who were erased, suppressions that stay known by look-up, and ways to find the rest."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # An index is built outside of the transaction: what stands before may have been done already.
    op.execute("ALTER TABLE customer_gate ADD COLUMN IF NOT EXISTS erased_micros bigint")
    # Keyed hashes of addresses whose owners were erased: whoever has one next is not contacted there.
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS suppressed_address (
            lookup bytea NOT NULL,
            channel text NOT NULL,
            reason text NOT NULL,
            time_micros bigint NOT NULL,
            PRIMARY KEY (lookup, channel, reason)
        )
        """
    )
    build_index(op, "receipt_of_customer", "ON receipt (customer) WHERE customer IS NOT NULL")
    build_index(op, "mail_report_of_customer", "ON mail_report (customer)")
    build_index(op, "dead_letter_of_customer", "ON dead_letter (customer)")


def downgrade() -> None:
    op.execute("DROP INDEX receipt_of_customer, mail_report_of_customer, dead_letter_of_customer")
    op.execute("DROP TABLE suppressed_address")
    op.execute("ALTER TABLE customer_gate DROP COLUMN erased_micros")
