"""What recovery after a restore needs: a state, and finding events by when they were accepted."""

from alembic import op

from services.runtime.migrations import build_index
from services.runtime.tables import add_installation, drop_installation

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index(op, "event_accepted", "ON event USING brin (accepted_micros) WITH (autosummarize = on)")
    add_installation(op)


def downgrade() -> None:
    drop_installation(op)
    op.execute("DROP INDEX event_accepted")
