"""The runtime's tables and one to work on."""

from alembic import op

from services.runtime.tables import (
    add_audit_and_traces,
    add_installation,
    create_runtime_tables,
    drop_audit_and_traces,
    drop_installation,
    drop_runtime_tables,
)

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_runtime_tables(op)
    add_audit_and_traces(op)
    add_installation(op)
    op.execute("CREATE TABLE done (position bigint GENERATED ALWAYS AS IDENTITY, word text NOT NULL)")


def downgrade() -> None:
    op.execute("DROP TABLE done")
    drop_installation(op)
    drop_audit_and_traces(op)
    drop_runtime_tables(op)
