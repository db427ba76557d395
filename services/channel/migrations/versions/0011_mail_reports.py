"""Which bounces and complaints were acted on: each once, and how many messages failed softly."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE mail_report (
            key text PRIMARY KEY,
            kind text NOT NULL,
            status text NOT NULL,
            customer bigint NOT NULL,
            message_id text NOT NULL,
            time_micros bigint NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX mail_report_soft ON mail_report (customer, time_micros) WHERE kind = 'soft'")


def downgrade() -> None:
    op.execute("DROP TABLE mail_report")
