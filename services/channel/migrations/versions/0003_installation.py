"""What recovery after a restore needs: a state, and messages that are held back."""

from alembic import op

from services.runtime.migrations import build_index
from services.runtime.tables import add_installation, drop_installation

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index(op, "message_quarantined", "ON message (number) WHERE state = 'quarantined'")
    op.execute("ALTER TABLE message ADD COLUMN in_gap boolean NOT NULL DEFAULT false")
    add_installation(op)


def downgrade() -> None:
    drop_installation(op)
    op.execute("ALTER TABLE message DROP COLUMN in_gap")
    op.execute("DROP INDEX message_quarantined")
