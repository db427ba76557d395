"""Events that were taken by mistake are marked when they are taken back."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # when it was taken back, in business time; 0: it stands
    op.execute("ALTER TABLE event ADD COLUMN retracted_micros bigint NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.execute("ALTER TABLE event DROP COLUMN retracted_micros")
