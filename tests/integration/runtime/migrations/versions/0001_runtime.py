"""The runtime's tables and one to work on."""

from alembic import op

from services.runtime.tables import create_runtime_tables, drop_runtime_tables

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_runtime_tables(op)
    op.execute("CREATE TABLE done (position bigint GENERATED ALWAYS AS IDENTITY, word text NOT NULL)")


def downgrade() -> None:
    op.execute("DROP TABLE done")
    drop_runtime_tables(op)
