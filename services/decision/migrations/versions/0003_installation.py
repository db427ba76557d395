"""What recovery after a restore needs."""

from alembic import op

from services.runtime.tables import add_installation, drop_installation

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_installation(op)


def downgrade() -> None:
    drop_installation(op)
