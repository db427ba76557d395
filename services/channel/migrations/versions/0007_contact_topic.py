"""Slots keep the topic of what was said, for caps by topic."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE contact ADD COLUMN topic text NOT NULL DEFAULT ''")


def downgrade() -> None:
    op.execute("ALTER TABLE contact DROP COLUMN topic")
