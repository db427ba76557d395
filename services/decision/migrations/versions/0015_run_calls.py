"""Which run over an audience called for a customer, until they come back."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # By the id of the call; it stands here and not in the event, whose shape older versions know.
    op.execute(
        """
        CREATE TABLE run_call (
            event_id text PRIMARY KEY,
            number bigint NOT NULL REFERENCES audience_run ON DELETE CASCADE,
            customer bigint NOT NULL,
            called timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    op.execute("CREATE INDEX run_call_number ON run_call (number)")


def downgrade() -> None:
    op.execute("DROP TABLE run_call")
