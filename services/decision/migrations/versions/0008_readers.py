"""Who looked at which customer."""

from alembic import op

from services.runtime.access_log import TABLE

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE access_entry")
