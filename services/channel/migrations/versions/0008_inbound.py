"""What customers write: each message once, and its text for as long as texts are kept."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE inbound (
            inbound_id uuid PRIMARY KEY,
            number bigint GENERATED ALWAYS AS IDENTITY,
            provider text NOT NULL,
            channel text NOT NULL,
            time_micros bigint NOT NULL,
            customer bigint NOT NULL,
            intent text NOT NULL,
            message_id text NOT NULL,
            action_id text NOT NULL,
            answer_id text NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX inbound_of_customer ON inbound (customer, time_micros) WHERE customer <> 0")
    op.execute("CREATE INDEX inbound_of_message ON inbound (message_id) WHERE message_id <> ''")
    op.execute(
        """
        CREATE TABLE inbound_text (
            inbound_id uuid PRIMARY KEY REFERENCES inbound ON DELETE CASCADE,
            time_micros bigint NOT NULL,
            recipient text NOT NULL,
            text text NOT NULL
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE inbound, inbound_text")
