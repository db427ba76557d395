"""Messages keep the topic of what they say: a customer may switch it off before the hand-over."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # planned before: without one, as they went through the gates
    op.execute("ALTER TABLE message ADD COLUMN topic text NOT NULL DEFAULT ''")


def downgrade() -> None:
    op.execute("ALTER TABLE message DROP COLUMN topic")
