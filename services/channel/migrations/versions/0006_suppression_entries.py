"""Several reasons may stand for which a channel of a customer is suppressed, each with its proof."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE suppression_entry (
            customer bigint NOT NULL,
            channel text NOT NULL,
            reason text NOT NULL,
            time_micros bigint NOT NULL,
            evidence text NOT NULL DEFAULT '',
            message_id text NOT NULL DEFAULT '',
            number bigint GENERATED ALWAYS AS IDENTITY,
            PRIMARY KEY (customer, channel, reason)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX suppression_entry_by_number ON suppression_entry (number)")
    # The version before only reads `suppression`; this one goes on to write it, see adapters/storage.
    op.execute(
        "INSERT INTO suppression_entry (customer, channel, reason, time_micros) "
        "SELECT customer, channel, reason, time_micros FROM suppression ORDER BY time_micros"
    )


def downgrade() -> None:
    op.execute("DROP TABLE suppression_entry")
